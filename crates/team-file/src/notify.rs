//! `notify`: how the user is notified when a member waits for the user, or when a goal ends. Read from the user's
//! `config.toml`, else from the team file.

use std::path::Path;

use agent_team_protocol::spec::{Notify, NotifyCommand};
use toml::de::DeTable;

use super::source::{Fault, Source};
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

/// Reads the user's `config.toml`. Ignores a file that cannot be read or parsed: the supervisor refuses to start with
/// it and reports the reason.
pub(super) fn from_settings(settings: &Path) -> Result<Option<Notify>, Vec<Fault>> {
    let file = settings.join("config.toml");
    let Ok(text) = super::open::read_text(&file) else {
        return Ok(None);
    };
    let shown = file.display().to_string();
    let source = Source::new(&*shown, &text);
    let Ok(document) = DeTable::parse(&text) else {
        return Ok(None);
    };
    let mut root = Table::new(&source, document.get_ref(), Level::Root, 0);
    let notify = read(&source, &mut root);
    match source.take_faults() {
        faults if faults.is_empty() => Ok(notify),
        faults => Err(faults),
    }
}

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
