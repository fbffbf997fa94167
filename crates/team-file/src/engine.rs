//! `engine`: what does a member's work. Called for members, roles and `[defaults]`.
//!
//! An external agent is named by a word of `protocol/external`, or by its command: `engine = { acp = ["program", "argument"] }`.
//! A program with a terminal interface is named by its command: `engine = { terminal = ["program", "argument"] }`.
//! A known agent runs in its own terminal interface with `engine = { terminal = "WORD" }`.

use std::path::Path;

use agent_team_protocol::engine::{ENGINE_WORDS, Engine};
use agent_team_protocol::external::{EXTERNAL, KnownAgent, known};
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
    let external = EXTERNAL.iter();
    let external = external.map(|external| (external.word, Engine::External));
    engines.chain(external).collect()
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
        keys.external = word.and_then(known).map(KnownAgent::agent);
        return Some(found);
    }
    let mut inner = table.table(KEY, Level::Engine)?;
    let at = inner.at;
    if let Some(agent) = in_terminal(source, &mut inner) {
        inner.finish();
        keys.external = agent;
        let value = Engine::External;
        return keys.external.is_some().then_some(At { value, at });
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

/// A known agent in its own terminal interface: `terminal` is a word. The outer `None`: it is not a word.
fn in_terminal(source: &Source<'_>, inner: &mut Table<'_>) -> Option<Option<ExternalAgent>> {
    inner.string_at("terminal")?;
    let word = inner.string("terminal")?;
    let agent = known(word.value).and_then(KnownAgent::agent_in_terminal);
    if agent.is_none() {
        let known = EXTERNAL.iter().filter(|known| known.terminal.is_some());
        let known: Vec<_> = known.map(|known| format!("{:?}", known.word)).collect();
        source.fault_with_hint(
            word.at,
            format!(
                "`terminal` = {:?} is not an agent whose own terminal interface is supported",
                word.value
            ),
            format!(
                "use {}, or a list of the program and its arguments",
                known.join(", ")
            ),
        );
    }
    Some(agent)
}
