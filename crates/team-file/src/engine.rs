//! `engine`: the part of a worker that does the member's work. Called for members, roles and `[defaults]`.
//!
//! An external agent is named by a word of `protocol/external`, or by its command: `engine = { acp = ["program", "argument"] }`.
//! A program with a terminal interface is named by its command: `engine = { terminal = ["program", "argument"] }`.

use std::path::Path;

use agent_team_protocol::engine::{ENGINE_WORDS, Engine};
use agent_team_protocol::external::{self, KnownAgent, known, selected};
use agent_team_protocol::spec::ExternalAgent;
use agent_team_protocol::text::visible_label;

use super::agent::AgentKeys;
use super::source::Source;
use super::table::{At, Table};
use super::unsupported::Level;

/// The number of characters of a program's name that are shown.
const NAME_MAX: usize = 40;

/// Whether the engine needs a `command`, because its name does not determine the program.
pub(super) fn needs_command(engine: Engine) -> bool {
    engine.is_external() || engine.shows_program()
}

/// The words that `engine` accepts, with their engines.
pub(super) fn engine_words() -> Vec<(&'static str, Engine)> {
    let engines = ENGINE_WORDS.iter().copied();
    let engines = engines.filter(|(_, engine)| !needs_command(*engine));
    let agents = external::engine_words().map(|word| (word, Engine::External));
    engines.chain(agents).collect()
}

/// Reads `engine` from a table of the team file. The program of an external agent is stored in `keys`.
pub(super) fn read(
    source: &Source<'_>,
    table: &mut Table<'_>,
    keys: &mut AgentKeys,
) -> Option<At<Engine>> {
    const KEY: &str = "engine";
    if !table.is_table(KEY) {
        let word = table.string_at(KEY);
        if word == Some(Engine::Terminal.name()) {
            let at = table.string(KEY)?.at;
            source.fault_with_hint(
                at,
                "`engine = \"terminal\"` names no program",
                "set engine = { terminal = [\"vi\"] }",
            );
            return None;
        }
        let found = table.word(KEY, &engine_words())?;
        keys.external = word.and_then(selected);
        return Some(found);
    }
    let mut inner = table.table(KEY, Level::Engine)?;
    let at = inner.at;
    let acp = inner.string_at("acp").and_then(known);
    let terminal = inner.string_at("terminal").and_then(known);
    let word = acp.map(KnownAgent::word_over_acp);
    if let Some(word) = word.or_else(|| Some(terminal?.word)) {
        source.fault_with_hint(
            at,
            "`acp` and `terminal` are lists of a program and its arguments",
            format!("set engine = {word:?}"),
        );
        return None;
    }
    let commands = ["acp", "terminal"].map(|key| inner.strings(key));
    inner.finish();
    let (engine, command) = match commands {
        [Some(command), None] => (Engine::External, command),
        [None, Some(command)] => (Engine::Terminal, command),
        [Some(_), Some(_)] => {
            source.fault_with_hint(
                at,
                "`engine` has both `acp` and `terminal`",
                "remove one of them",
            );
            return None;
        }
        [None, None] => (Engine::External, Vec::new()),
    };
    let command = command.into_iter();
    let command: Vec<String> = command.map(|word| word.value.to_owned()).collect();
    let program = command.first().map(Path::new).and_then(Path::file_name);
    let Some(program) = program else {
        source.fault_with_hint(
            at,
            "`engine` needs `acp` or `terminal`, with a program and its arguments",
            "set engine = { acp = [\"gemini\", \"--acp\"] }, or engine = { terminal = [\"vi\"] }",
        );
        return None;
    };
    keys.external = Some(ExternalAgent {
        name: visible_label(&program.to_string_lossy(), NAME_MAX),
        command,
        ..ExternalAgent::default()
    });
    Some(At { value: engine, at })
}
