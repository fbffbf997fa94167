//! A member's tool call, and the parts of it that are judged. The supervisor builds the call; the judge and the offers
//! read it. Workers and `rules check` call [`Action::paths`] to resolve its paths.

use std::collections::BTreeMap;

use agent_team_protocol::note::{NOTE_TOOL, NoteLevel};
use agent_team_protocol::request::Containment;
use serde_json::Value;

use super::path::{CallPath, CallPaths, RuleContext};
use super::shell::{self, Line, Target};

/// Maximum number of paths of a call that are resolved. Deny and ask rules still match further paths as written.
const PATHS_MAX: usize = 256;

/// For up to this many separators of an argument, the whole text after the separator is also treated as a path: a file
/// name can contain separators.
const SUFFIXES_MAX: usize = 16;

/// In a cluster of options, the text after the first letter, and after each of up to this many last letters, is treated
/// as a path.
const LETTERS_MAX: usize = 64;

/// One call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The name that the model uses.
    pub tool: String,
    /// The arguments that the tool will receive.
    pub arguments: Value,
    /// The working directory.
    pub directory: CallPath,
    /// Whether a sandbox confines the programs that the call starts.
    pub confined: bool,
    /// The guarantees of that sandbox.
    pub containment: Containment,
    /// Changes to the member's environment.
    pub environment: BTreeMap<String, String>,
    /// The resolved paths of [`Action::paths`]. An allow rule never matches a path that is missing here.
    pub paths: CallPaths,
}

/// The action of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs a bash line.
    Run(String),
    /// Reads this file, or files below this directory.
    Read(String),
    /// Creates, changes or removes these files.
    Edit(Vec<String>),
    /// Fetches this URL.
    Fetch(String),
    /// Searches the web.
    Search,
    /// Calls a tool of an MCP server. Contains the full name of the tool.
    Mcp(String),
    /// Affects only the state of the member, or a note of its team.
    Own,
    /// The effect of the tool is unknown to this crate.
    Unknown,
}

impl Action {
    /// The action of a tool with these arguments.
    pub fn of(tool: &str, arguments: &Value) -> Action {
        let text = |name: &str| arguments[name].as_str().map(str::to_owned);
        let path = || match arguments["path"].is_null() {
            true => Some(".".to_owned()),
            false => text("path"),
        };
        let action = match tool {
            "bash" => text("command").map(Action::Run),
            "read" => text("path").map(Action::Read),
            "glob" | "grep" | "git_status" | "git_diff" => path().map(Action::Read),
            NOTE_TOOL if arguments["level"] == NoteLevel::Team.word() => Some(Action::Own),
            "write" | "edit" | NOTE_TOOL => text("path").map(|path| Action::Edit(vec![path])),
            "apply_patch" => paths(&arguments["paths"]).map(Action::Edit),
            "fetch" => text("url").map(Action::Fetch),
            "web_search" => Some(Action::Search),
            "todo" | "bash_output" | "bash_kill" => Some(Action::Own),
            tool if tool.starts_with("mcp__") => Some(Action::Mcp(tool.to_owned())),
            _ => None,
        };
        action.unwrap_or(Action::Unknown)
    }

    /// The paths that the judge needs resolved, relative to the call's directory.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = match self {
            Action::Read(path) => vec![path.clone()],
            Action::Edit(paths) => paths.clone(),
            Action::Run(line) => shell::read(line.as_bytes())
                .map_or_else(|_| Vec::new(), |line| paths_in_line(&line)),
            Action::Fetch(_) | Action::Search | Action::Mcp(_) | Action::Own | Action::Unknown => {
                Vec::new()
            }
        };
        paths.truncate(PATHS_MAX);
        paths
    }
}

/// The paths of a list. `None` if the list is empty or contains a value that is not a text.
fn paths(list: &Value) -> Option<Vec<String>> {
    let list = list.as_array().filter(|list| !list.is_empty())?;
    let paths = list.iter().map(|path| path.as_str().map(str::to_owned));
    paths.collect()
}

impl ToolCall {
    pub fn action(&self) -> Action {
        Action::of(&self.tool, &self.arguments)
    }

    /// Whether the tool starts git, which runs programs that a repository configures.
    pub(crate) fn runs_git(&self) -> bool {
        matches!(self.tool.as_str(), "git_status" | "git_diff")
    }

    /// Whether the call changes a note of the user, which agents in all projects of the user read.
    pub(crate) fn changes_user_note(&self) -> bool {
        self.tool == NOTE_TOOL && self.arguments["level"] == NoteLevel::User.word()
    }

    /// Whether this path of the call is protected. The tool for notes may change the notes of the project, although
    /// their directory is protected.
    pub(crate) fn is_protected(&self, call_path: &CallPath, context: &RuleContext) -> bool {
        match self.tool == NOTE_TOOL && call_path.is_project_note(context) {
            true => call_path.is_script(context),
            false => call_path.is_protected(context),
        }
    }

    /// The path as the worker resolved it. `None` if the worker did not resolve the path, or reported an absolute path
    /// that does not follow from the text.
    pub(crate) fn known(&self, given: &str) -> Option<&CallPath> {
        let call_path = self.paths.find(given)?;
        (call_path.path == CallPath::lexical(&self.directory.path, given)).then_some(call_path)
    }

    /// The resolved path or, if it was not resolved, the path derived from the text.
    pub(crate) fn path_of(&self, given: &str) -> CallPath {
        self.known(given).cloned().unwrap_or_else(|| {
            let path = CallPath::lexical(&self.directory.path, given);
            CallPath {
                given: given.to_owned(),
                resolved: path.clone(),
                path,
            }
        })
    }
}

/// The directory to which the leading `cd`s of a line lead, relative to the call's directory, and the number of these
/// pipelines. `None` if the directory of a command is uncertain: the line joins pipelines with another operator than
/// `&&`, or a `cd` is not at the start, has an option or a redirection, or does not have exactly one argument.
pub(crate) fn leading_cds(line: &Line) -> Option<(Option<String>, usize)> {
    let cd = |index: usize| match line.pipelines[index].commands.as_slice() {
        [command] if command.argv[0] == "cd" => Some(command),
        _ => None,
    };
    let mut to: Option<String> = None;
    let mut cds = 0;
    while cds < line.pipelines.len() {
        let Some(command) = cd(cds) else { break };
        let [_, directory] = command.argv.as_slice() else {
            return None;
        };
        let plain =
            command.redirects.is_empty() && !directory.is_empty() && !directory.starts_with('-');
        if !plain {
            return None;
        }
        to = Some(join(to.as_deref(), directory));
        cds += 1;
    }
    let later = line.pipelines[cds..]
        .iter()
        .flat_map(|pipeline| &pipeline.commands)
        .any(|command| command.argv[0] == "cd");
    let may_not_run = cds > 0
        && line.pipelines[1..]
            .iter()
            .any(|pipeline| pipeline.join != shell::Join::And);
    (!later && !may_not_run).then_some((to, cds))
}

/// A path relative to a directory that is itself relative.
pub(crate) fn join(directory: Option<&str>, path: &str) -> String {
    match directory {
        Some(directory) if !path.starts_with('/') => {
            format!("{}/{path}", directory.trim_end_matches('/'))
        }
        _ => path.to_owned(),
    }
}

/// The parts of an argument that can be paths: the whole argument, the text after an option's letters (`-f.env`,
/// `-nf.env`), and the text after and between separators (`--file=.env`, `HEAD:.env`, `-d@.env`, `host:.env`).
pub(crate) fn paths_in(argument: &str) -> impl Iterator<Item = &str> {
    let parts = std::iter::once(argument)
        .chain(after_letters(argument))
        .flat_map(parts_of);
    std::iter::once(argument)
        .chain(parts)
        .filter(|path| !path.is_empty())
}

/// The possible values in a cluster of options: the text after a letter. In a long cluster, [`LETTERS_MAX`] limits the
/// letters.
fn after_letters(argument: &str) -> impl Iterator<Item = &str> {
    let cluster = argument
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))
        .unwrap_or_default();
    let letters = cluster.find(|c: char| !c.is_ascii_alphanumeric());
    let letters = letters.unwrap_or(cluster.len());
    (1..=letters)
        .filter(move |at| *at == 1 || *at + LETTERS_MAX >= letters)
        .map(|at| &cluster[at..])
}

fn parts_of(text: &str) -> impl Iterator<Item = &str> {
    const SEPARATORS: [char; 7] = ['=', ':', '@', ',', ';', '<', '>'];
    let suffixes = text
        .match_indices(SEPARATORS)
        .map(|(at, separator)| &text[at + separator.len()..]);
    suffixes.take(SUFFIXES_MAX).chain(text.split(SEPARATORS))
}

/// The paths in the redirections, `cd`s and arguments of a line.
fn paths_in_line(line: &Line) -> Vec<String> {
    let to = leading_cds(line).and_then(|(to, _)| to);
    let directory = to.as_deref();
    let mut paths = Vec::new();
    for command in line.commands() {
        for redirect in &command.redirects {
            match &redirect.to {
                Target::Read(path) | Target::Write(path) | Target::Append(path) => {
                    paths.push(join(directory, path));
                }
                Target::Fd(_) => {}
            }
        }
    }
    paths.extend(to.clone());
    // Whole arguments first: parts of one argument must not use up the limit for other arguments.
    let arguments = || line.commands().flat_map(|command| &command.argv[1..]);
    paths.extend(arguments().map(|path| join(directory, path)));
    let parts = arguments().flat_map(|argument| paths_in(argument));
    paths.extend(parts.map(|path| join(directory, path)));
    let mut seen = std::collections::HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}
