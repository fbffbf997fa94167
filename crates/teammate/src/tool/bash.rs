//! `bash`, `bash_output` and `bash_kill`: shell commands, waited for or in the background.

mod jobs;
mod line;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use self::jobs::{Job, Jobs};
use self::line::Line;
use super::capture::Capture;
use super::confine::{Confinement, Held};
use super::permit::Permission;
use super::program::Program;
use super::{Bench, Output, Running, Tool, ToolError, arguments};
use crate::model::ToolSpec;

/// Seconds that a command may take when the model does not say how many, and at most.
const TIMEOUT: u64 = 120;
const TIMEOUT_MAX: u64 = 600;

/// Seconds that a call waits for a job at most.
const WAIT_MAX: u64 = 60;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BashArguments {
    /// The command, as for `bash -c`. It has no terminal and no input.
    command: String,
    /// Seconds after which it is ended. Default: 120; at most 600. In the background: none by default.
    timeout_seconds: Option<u64>,
    /// Return at once with the id of a job that goes on. Default: false.
    #[serde(default)]
    background: bool,
    /// Run outside the sandbox, which the person is asked about. Default: false.
    #[serde(default)]
    outside_sandbox: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OutputArguments {
    /// The job.
    id: u32,
    /// Seconds to wait until it prints something new or ends. Default: 0; at most 60.
    #[serde(default)]
    wait_seconds: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KillArguments {
    /// The job.
    id: u32,
}

/// The name of the first of them.
pub(crate) const BASH: &str = "bash";

/// The three tools, which share their jobs.
pub(super) fn tools(
    permission: Permission,
    confinement: Option<Arc<Confinement>>,
) -> [Box<dyn Tool>; 3] {
    let jobs = Arc::new(Jobs::default());
    let networked = confinement.as_ref().is_some_and(|it| it.has_network());
    let network = if networked {
        ""
    } else {
        ", and have no network"
    };
    [
        Box::new(Bash {
            spec: arguments::spec::<BashArguments>(
                BASH,
                &format!(
                    "Runs a shell command in the working directory; each call begins there anew. When the command is \
                     over, everything that it started is ended. What must go on longer, such as a server, is run with \
                     `background`. A long output loses its middle; the whole is kept in a file. Where there is a \
                     sandbox, commands write in the project and in $TMPDIR alone{network}; what cannot do without \
                     asks for `outside_sandbox`."
                ),
            ),
            jobs: Arc::clone(&jobs),
            permission,
            confinement,
        }),
        Box::new(BashOutput {
            spec: arguments::spec::<OutputArguments>(
                "bash_output",
                "Shows what a job in the background has printed since the last call, and whether it still runs.",
            ),
            jobs: Arc::clone(&jobs),
        }),
        Box::new(BashKill {
            spec: arguments::spec::<KillArguments>(
                "bash_kill",
                "Ends a job in the background with everything that it started, and shows what it printed last.",
            ),
            jobs,
        }),
    ]
}

#[derive(Debug)]
struct Bash {
    spec: ToolSpec,
    jobs: Arc<Jobs>,
    permission: Permission,
    confinement: Option<Arc<Confinement>>,
}

impl Bash {
    /// What holds a command.
    async fn held(&self, outside: bool, shown: &(dyn Fn(&str) + Send + Sync)) -> Option<Held> {
        let confinement = self.confinement.as_ref().filter(|_| !outside)?;
        let held = confinement.held().await;
        held.inspect_err(|why| shown(&format!("there is no sandbox here: {why}\n")))
            .ok()
    }
}

impl Tool for Bash {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        input: Value,
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let arguments: BashArguments = arguments::parse(&self.spec, input.clone())?;
            let limit = match arguments.timeout_seconds {
                Some(seconds @ 1..=TIMEOUT_MAX) => Some(Duration::from_secs(seconds)),
                Some(seconds) => {
                    return Err(ToolError::Input(format!(
                        "`timeout_seconds`: {seconds} is not from 1 to {TIMEOUT_MAX}; what takes longer is run with \
                         `background`"
                    )));
                }
                None if arguments.background => None,
                None => Some(Duration::from_secs(TIMEOUT)),
            };
            if arguments.command.contains('\0') {
                return Err(ToolError::Input("`command` has a NUL".to_owned()));
            }
            let name = &self.spec.name;
            let held = self.held(arguments.outside_sandbox, shown).await;
            let asked = self
                .permission
                .ask(name, &input, held.is_some(), bench, shown);
            let mut permit = asked.await?;
            let line = match permit.run.take() {
                Some(run) => Line::words(run),
                None => Line::text(&arguments.command),
            };
            if arguments.background {
                let id = self.jobs.start(bench, line, held, limit).await?;
                return Ok(said(format!(
                    "job {id} runs: bash_output shows what it prints, bash_kill ends it"
                )));
            }
            let mut program = shell(bench, line, held).await?;
            let mut capture = Capture::new(bench);
            let ended = program
                .finish(limit, std::future::pending(), |bytes| {
                    shown(&capture.push(bytes));
                })
                .await
                .map_err(|error| ToolError::Failed(format!("the command was lost: {error}")))?;
            shown(&capture.end());
            Ok(said(format!("{}({ended})", lines(capture.take()))))
        })
    }
}

#[derive(Debug)]
struct BashOutput {
    spec: ToolSpec,
    jobs: Arc<Jobs>,
}

impl Tool for BashOutput {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        // What was shown is not shown again.
        false
    }

    fn run<'a>(
        &'a self,
        input: Value,
        _bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let arguments: OutputArguments = arguments::parse(&self.spec, input)?;
            let wait = Duration::from_secs(arguments.wait_seconds.min(WAIT_MAX));
            let job = self.jobs.find(arguments.id)?;
            Ok(news(&job, wait, shown).await)
        })
    }
}

#[derive(Debug)]
struct BashKill {
    spec: ToolSpec,
    jobs: Arc<Jobs>,
}

impl Tool for BashKill {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        input: Value,
        _bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let arguments: KillArguments = arguments::parse(&self.spec, input)?;
            let job = self.jobs.find(arguments.id)?;
            job.stop().await;
            Ok(news(&job, Duration::ZERO, shown).await)
        })
    }
}

/// Starts a command on its own.
async fn shell(bench: &Bench, line: Line, held: Option<Held>) -> Result<Program, ToolError> {
    let shell = find_bash(&bench.env);
    let env = line.env(&bench.env);
    let directory = line.directory.unwrap_or_else(|| bench.cwd.clone());
    Program::start(held, shell.clone(), line.args, env, directory)
        .await
        .map_err(|error| ToolError::Failed(format!("{} did not start: {error}", shell.display())))
}

/// Bash where there is one; every system has `/bin/sh`.
fn find_bash(env: &[(OsString, OsString)]) -> PathBuf {
    let path = env.iter().find(|(name, _)| name == "PATH");
    path.map(|(_, value)| std::env::split_paths(value))
        .into_iter()
        .flatten()
        .map(|directory| directory.join("bash"))
        .find(|bash| bash.is_absolute() && bash.is_file())
        .unwrap_or_else(|| "/bin/sh".into())
}

/// What a job printed since it was last looked at, shown and said, and how it is.
async fn news(job: &Job, wait: Duration, shown: &(dyn Fn(&str) + Send + Sync)) -> Output {
    let (printed, state) = job.news(wait).await;
    shown(&printed);
    said(format!("{}({state})", lines(printed)))
}

fn said(text: String) -> Output {
    Output { text, diff: None }
}

/// Ends with a newline, unless there is nothing.
fn lines(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
