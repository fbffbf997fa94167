//! What a member wants to do, and what of it is judged. Made by whoever passes a call on; called by the judge.

use std::collections::BTreeMap;

use serde_json::Value;

use super::place::{Place, Places};
use super::shell::{self, Line, Target};

/// Paths of a call that are looked up; a rule that forbids still reads the others as they are written.
const PATHS_MAX: usize = 256;

/// Separators of an argument of which all that follows is looked at: a file's name may contain some.
const RESTS_MAX: usize = 16;

/// Letters of a cluster of options behind which a value is looked for.
const LETTERS_MAX: usize = 64;

/// One call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// As the model calls it.
    pub tool: String,
    /// As the tool will be given them.
    pub arguments: Value,
    /// Where it runs.
    pub directory: Place,
    /// Whether a sandbox holds the programs that it starts.
    pub confined: bool,
    /// What it would change of the member's environment.
    pub environment: BTreeMap<String, String>,
    /// What [`Action::paths`] asks for. What is missing is not allowed by any rule.
    pub places: Places,
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A line for bash.
    Run(String),
    /// Looks at this file, or at what is below this directory.
    Read(String),
    /// Makes, changes or removes this file.
    Edit(String),
    /// Asks this address.
    Fetch(String),
    /// Asks whoever searches the web for the member.
    Search,
    /// A tool of an MCP server, by its whole name.
    Mcp(String),
    /// Touches nothing but what the member alone has.
    Own,
    /// This crate does not know what it does.
    Unknown,
}

impl Action {
    /// What a tool does with such arguments.
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
            "write" | "edit" => text("path").map(Action::Edit),
            "fetch" => text("url").map(Action::Fetch),
            "web_search" => Some(Action::Search),
            "todo" | "bash_output" | "bash_kill" => Some(Action::Own),
            tool if tool.starts_with("mcp__") => Some(Action::Mcp(tool.to_owned())),
            _ => None,
        };
        action.unwrap_or(Action::Unknown)
    }

    /// The paths that the judge wants as [`Places`], as they are given from the call's directory on.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = match self {
            Action::Read(path) | Action::Edit(path) => vec![path.clone()],
            Action::Run(line) => {
                shell::read(line.as_bytes()).map_or_else(|_| Vec::new(), |line| of(&line))
            }
            Action::Fetch(_) | Action::Search | Action::Mcp(_) | Action::Own | Action::Unknown => {
                Vec::new()
            }
        };
        paths.truncate(PATHS_MAX);
        paths
    }
}

impl Call {
    pub fn action(&self) -> Action {
        Action::of(&self.tool, &self.arguments)
    }

    /// Whether the tool starts git, which runs programs that a repository names.
    pub(crate) fn runs_git(&self) -> bool {
        matches!(self.tool.as_str(), "git_status" | "git_diff")
    }

    /// The place of a path that was looked up, and is where its text leads.
    pub(crate) fn known(&self, given: &str) -> Option<&Place> {
        let place = self.places.find(given)?;
        (place.path == Place::lexical(&self.directory.path, given)).then_some(place)
    }

    /// The place of a path as the call says it, looked up or by its text.
    pub(crate) fn place(&self, given: &str) -> Place {
        self.known(given).cloned().unwrap_or_else(|| {
            let path = Place::lexical(&self.directory.path, given);
            Place {
                given: given.to_owned(),
                resolved: path.clone(),
                path,
            }
        })
    }
}

/// Where the leading `cd`s of a line lead, from the call's directory on, and how many steps they are. `None` when a
/// `cd` stands where it may or may not have been carried out.
pub(crate) fn moves(line: &Line) -> Option<(Option<String>, usize)> {
    let cd = |index: usize| match line.steps[index].pipeline.as_slice() {
        [command] if command.argv[0] == "cd" => Some(command),
        _ => None,
    };
    let mut to: Option<String> = None;
    let mut steps = 0;
    while steps < line.steps.len() {
        let Some(command) = cd(steps) else { break };
        let [_, directory] = command.argv.as_slice() else {
            return None;
        };
        let plain =
            command.redirects.is_empty() && !directory.is_empty() && !directory.starts_with('-');
        if !plain {
            return None;
        }
        to = Some(join(to.as_deref(), directory));
        steps += 1;
    }
    let later = line.steps[steps..]
        .iter()
        .flat_map(|step| &step.pipeline)
        .any(|command| command.argv[0] == "cd");
    let unsure = steps > 0
        && line.steps[1..]
            .iter()
            .any(|step| step.join != shell::Join::And);
    (!later && !unsure).then_some((to, steps))
}

/// A path that is given within a directory that is itself given.
pub(crate) fn join(directory: Option<&str>, path: &str) -> String {
    match directory {
        Some(directory) if !path.starts_with('/') => {
            format!("{}/{path}", directory.trim_end_matches('/'))
        }
        _ => path.to_owned(),
    }
}

/// What may be a path in an argument: all of it, what follows an option's letters (`-f.env`, `-nf.env`), and what stands
/// after and between separators (`--file=.env`, `HEAD:.env`, `-d@.env`, `host:.env`).
pub(crate) fn paths_in(argument: &str) -> impl Iterator<Item = &str> {
    let parts = std::iter::once(argument)
        .chain(after_letters(argument))
        .flat_map(parts_of);
    std::iter::once(argument)
        .chain(parts)
        .filter(|path| !path.is_empty())
}

/// What a cluster of options may have as its value: the text behind each of its letters.
fn after_letters(argument: &str) -> impl Iterator<Item = &str> {
    let cluster = argument
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))
        .unwrap_or_default();
    let letters = cluster.find(|c: char| !c.is_ascii_alphanumeric());
    let letters = letters.unwrap_or(cluster.len());
    // Of a long run only its ends: the value begins behind the first letter, or near the first sign of a path.
    (1..=letters)
        .filter(move |at| *at == 1 || *at + LETTERS_MAX >= letters)
        .map(|at| &cluster[at..])
}

fn parts_of(text: &str) -> impl Iterator<Item = &str> {
    const SEPARATORS: [char; 7] = ['=', ':', '@', ',', ';', '<', '>'];
    let rests = text
        .match_indices(SEPARATORS)
        .map(|(at, separator)| &text[at + separator.len()..]);
    rests.take(RESTS_MAX).chain(text.split(SEPARATORS))
}

fn of(line: &Line) -> Vec<String> {
    let to = moves(line).and_then(|(to, _)| to);
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
    // Whole arguments first: parts of some do not use up what is looked up of others.
    let arguments = || line.commands().flat_map(|command| &command.argv[1..]);
    paths.extend(arguments().map(|path| join(directory, path)));
    let parts = arguments().flat_map(|argument| paths_in(argument));
    paths.extend(parts.map(|path| join(directory, path)));
    let mut seen = std::collections::HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}
