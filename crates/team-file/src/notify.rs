//! `notify`: how the user is notified when a member waits for the user, or when a goal ends. Read from the user's
//! `config.toml`, or else from the team file.

use agent_team_protocol::spec::{Notify, NotifyCommand};

use super::source::Source;
use super::table::Table;
use super::unsupported::Level;

const KEY: &str = "notify";

#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    Desktop,
    Bell,
    Off,
}

pub(super) const WORDS: &[(&str, Word)] = &[
    ("desktop", Word::Desktop),
    ("bell", Word::Bell),
    ("off", Word::Off),
];

/// Reads `notify = "word"` or `notify = { command = ["program", "argument"] }`.
pub(super) fn read(source: &Source<'_>, root: &mut Table<'_>) -> Option<Notify> {
    if !root.is_table(KEY) {
        return root.word(KEY, WORDS).map(|found| match found.value {
            Word::Desktop => Notify::Desktop,
            Word::Bell => Notify::Bell,
            Word::Off => Notify::Off,
        });
    }
    let mut table = root.table(KEY, Level::Notify)?;
    let at = table.at;
    let is_set = table.position_of("command").is_some();
    let argv = table.strings("command");
    table.finish();
    let argv: Vec<String> = argv
        .into_iter()
        .flatten()
        .map(|found| found.value.to_owned())
        .collect();
    if argv.first().is_none_or(String::is_empty) {
        if !is_set || argv.is_empty() {
            source.fault_with_hint(
                at,
                "`notify` needs `command`, a program and its arguments",
                "set notify = { command = [\"notify-send\", \"agent-team\"] }",
            );
        } else {
            source.fault(at, "the program of `notify.command` is empty");
        }
        return None;
    }
    let files = Vec::new();
    Some(Notify::Command(NotifyCommand { argv, files }))
}
