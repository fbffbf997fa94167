//! What a model can do: one trait, and the tools of the domain. Called by the native engine.
//!
//! A tool is given the model's arguments as parsed JSON and answers with text for the model. Whatever goes wrong is
//! text that the model can act on, never a panic and never the end of its member.
//!
//! A reader who looks for …
//! - what becomes of a model's arguments: `arguments`
//! - which paths may be used: `place`, and how they are opened: `beneath`; replacing a file: `file`, `change` (diffs)
//! - files by name or content: `walk`, `ignored` (what git ignores)
//! - the tools of somebody else: `mcp`; who searches the web: `web_search`
//! - running programs and ending them, and what they print: `program`, `capture`
//! - what they may do: `permit` (who is asked), `guard` (what is not simply read), `plan_first` (what waits for a plan),
//!   `confine` (what they are held to)

pub(crate) mod arguments;
pub(crate) mod bash;
mod beneath;
mod capture;
mod change;
pub mod confine;
mod edit;
mod fetch;
mod file;
mod git;
mod glob;
mod grep;
pub mod guard;
mod ignored;
pub mod mcp;
mod permit;
mod place;
mod plan_first;
pub(crate) mod program;
mod read;
mod todo;
mod walk;
pub(crate) mod web_search;
mod write;

pub(crate) use permit::Open;
pub use permit::Permission;
pub(crate) use plan_first::plan_first;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use agent_team_protocol::spec::AgentSpec;
use serde_json::Value;

use self::confine::Confinement;
use self::guard::Guard;
use crate::model::ToolSpec;
use crate::secret::Secrets;

/// A tool's answer on its way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Output, ToolError>> + Send + 'a>>;

/// Something that a model can call.
pub trait Tool: Send + Sync + std::fmt::Debug {
    fn spec(&self) -> &ToolSpec;

    /// It changes nothing, so several such calls may run at once.
    fn reads_only(&self) -> bool;

    /// Carries one call out. `shown` takes what the person may watch meanwhile, and must not block. Dropping the
    /// future ends the call with everything that it started.
    fn run<'a>(
        &'a self,
        input: Value,
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a>;
}

/// What a call came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// For the model, within [`Bench::output_max`].
    pub text: String,
    /// A unified diff for the person, of what was changed.
    pub diff: Option<String>,
}

/// Why a call came to nothing; the text goes to the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not fit the schema: which, and what would.
    #[error("{0}")]
    Input(String),
    #[error("{0}")]
    Failed(String),
}

/// Where one member's tools work, the same for all of its calls.
#[derive(Debug)]
pub struct Bench {
    /// Canonical; nothing outside of it is read or written.
    pub project: PathBuf,
    /// Canonical, within the project; relative paths start here.
    pub cwd: PathBuf,
    /// Of the programs that tools start, complete: nothing else is passed on.
    pub env: Vec<(OsString, OsString)>,
    /// What of `env` is shown to nobody: hidden in every result, and in whatever is kept.
    pub secrets: Secrets,
    /// Where outputs that were cut are kept whole. Only the member's own.
    pub outputs: PathBuf,
    /// Bytes of a result that a model is shown at most; the middle is cut out of longer ones.
    pub output_max: usize,
    /// The files that the model has seen, as they were then: it may not overwrite what it does not know.
    pub seen: Mutex<HashMap<PathBuf, Version>>,
    /// What of the project is not simply read.
    pub guard: Guard,
}

impl Bench {
    /// The value of a variable that programs are given, unless it is empty. It may be a secret.
    fn variable(&self, name: &str) -> Option<&str> {
        variable(&self.env, name)
    }
}

fn variable<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a str> {
    let found = env.iter().find(|(variable, _)| variable == name);
    let value = found.and_then(|(_, value)| value.to_str());
    value.map(str::trim).filter(|value| !value.is_empty())
}

/// A file's state when the model saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub len: u64,
    pub modified: Option<SystemTime>,
}

impl Version {
    pub fn of(metadata: &Metadata) -> Version {
        Version {
            len: metadata.len(),
            // Where the file system keeps no time, the length alone must do.
            modified: metadata.modified().ok(),
        }
    }
}

/// Which tools there are, and how far they reach.
#[derive(Debug, Clone)]
pub struct Options {
    pub permission: Permission,
    /// Holds the commands that no call asks to run outside of it. `None`: nothing holds them.
    pub confinement: Option<Arc<Confinement>>,
    /// `fetch` may ask this machine and its local network.
    pub private_addresses: bool,
}

/// The tools of the domain, new: what they remember is one member's.
pub fn domain_tools(options: Options) -> Vec<Box<dyn Tool>> {
    let git = git::Runner::new(options.permission.clone(), options.confinement.clone());
    let mut tools: Vec<Box<dyn Tool>> = vec![
        Box::new(read::ReadFile::new(options.permission.clone())),
        Box::new(write::WriteFile::new(options.permission.clone())),
        Box::new(edit::EditFile::new(options.permission.clone())),
        Box::new(glob::Glob::new()),
        Box::new(grep::Grep::new(options.permission.clone())),
        Box::new(git::GitStatus::new(git.clone())),
        Box::new(git::GitDiff::new(git)),
        Box::new(todo::Todo::new()),
    ];
    tools.extend(bash::tools(options.permission.clone(), options.confinement));
    let fetch = fetch::Fetch::new(options.permission, options.private_addresses);
    tools.push(Box::new(fetch));
    tools
}

/// Whether role and member let a member have the tool of this name.
pub(crate) fn may_use(agent: &AgentSpec, name: &str) -> bool {
    let names = |list: &[String]| list.iter().any(|tool| tool == name);
    agent.tools.as_deref().is_none_or(names) && !names(&agent.deny_tools)
}

/// Does what may block away from the runtime's thread. It goes on when the future is dropped.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ToolError::Failed(format!("a bug in this tool: {error}"))),
    }
}

/// A name that nobody else uses.
fn unique() -> std::io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}
