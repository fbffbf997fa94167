//! The team files that most tests begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agent_team_file::Reading;
use agent_team_protocol::method::Up;
use agent_team_protocol::placement::CallerTerminal;
use agent_team_tests::Rig;

/// Headless members that claim ready tasks; `rest` is appended to the file.
pub(crate) fn headless(members: &[&str], rest: &str) -> Rig {
    Rig::with_team(&file(members, "headless", "ready", rest))
}

/// Headless members that take only assigned tasks.
pub(crate) fn assigned(members: &[&str], rest: &str) -> Rig {
    Rig::with_team(&file(members, "headless", "assigned", rest))
}

pub(crate) fn in_panes(members: &[&str], rest: &str) -> Rig {
    Rig::with_team(&file(members, "tmux", "ready", rest))
}

pub(crate) fn file(members: &[&str], placement: &str, claim: &str, rest: &str) -> String {
    let mut file = format!(
        "name = \"demo\"\n\
         [panes]\nplacement = \"{placement}\"\n\
         [defaults]\nengine = \"command\"\nclaim = \"{claim}\"\n"
    );
    for member in members {
        file.push_str(&format!("[[member]]\nname = \"{member}\"\n"));
    }
    file + rest
}

/// A task of the file; `more` contains further keys.
pub(crate) fn task(title: &str, run: &str, more: &str) -> String {
    format!("[[task]]\ntitle = {title:?}\nrun = {run:?}\n{more}\n")
}

/// The arguments of `team/up` for a team whose members take only assigned tasks. Tests use them to call the supervisor
/// without the command line, for example with invalid arguments, which `agent-team up` would refuse before the call.
pub(crate) fn up_call(project: &Path, name: &str, members: &[&str]) -> Up {
    let project = project.canonicalize().expect("the project exists");
    let text = file(members, "headless", "assigned", "").replace("demo", name);
    let reading = Reading {
        here: &project,
        settings: None,
        variables: None,
        overrides: None,
    };
    Up {
        spec: agent_team_file::of_text(&text, &project, reading).expect("the file is valid"),
        environment: BTreeMap::new(),
        named: BTreeSet::new(),
        secrets: BTreeMap::new(),
        terminal: CallerTerminal::default(),
        dry_run: false,
        fresh: false,
    }
}
