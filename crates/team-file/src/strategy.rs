//! The keys of the modes that work in rounds. Called when the team is read.

use agent_team_protocol::spec::Strategy;
use agent_team_protocol::template::{PLACEHOLDERS, placeholders};

use super::agent::{self, Reader};
use super::member::Member;
use super::mode::Mode;
use super::source::Source;
use super::table::{At, Table, suggest};

/// Default and maximum number of rounds of a run.
const ROUNDS: u32 = 5;
const ROUNDS_MAX: i32 = 100;

/// The strategy of the lead; `None` for the modes without rounds.
pub(super) fn read(
    source: &Source<'_>,
    root: &mut Table<'_>,
    mode: Option<At<Mode>>,
    reader: Reader<'_>,
) -> Option<Strategy> {
    let rounds = root.integer("max_rounds", 1..=ROUNDS_MAX);
    let prompt = root.string("coordinator_prompt");
    let mode = mode.map(|found| found.value);
    if mode != Some(Mode::Coordinator) {
        let positions = [
            rounds.and(root.position_of("max_rounds")),
            prompt.map(|found| found.at),
        ];
        for (key, at) in ["max_rounds", "coordinator_prompt"]
            .into_iter()
            .zip(positions)
        {
            if let Some(at) = at {
                source.fault_with_hint(
                    at,
                    format!("`{key}` requires `mode = \"coordinator\"`"),
                    "set mode = \"coordinator\", or remove the key",
                );
            }
        }
    }
    match mode? {
        Mode::Coordinator => Some(Strategy::Coordinator {
            max_rounds: rounds.map_or(ROUNDS, i32::unsigned_abs),
            prompt: prompt.map(|found| template(source, found, reader)),
        }),
        Mode::Collaborate => Some(Strategy::Collaborate),
        Mode::Lead | Mode::Manual => None,
    }
}

/// The coordinator's prompt. Reports unknown placeholders.
fn template(source: &Source<'_>, found: At<&str>, reader: Reader<'_>) -> String {
    for (_, word) in placeholders(found.value) {
        if !PLACEHOLDERS.contains(&word) {
            source.fault_with_hint(
                source.find(found.at, &["{", word]).unwrap_or(found.at),
                format!("`coordinator_prompt`: unknown placeholder {{{word}}}"),
                suggest(word, &PLACEHOLDERS),
            );
        }
    }
    agent::prompt(source, found, reader.variables)
}

/// Checks that a team with rounds has an agent besides the lead, and that the lead sets no key about tools, because the
/// lead has no tools.
pub(super) fn check(source: &Source<'_>, mode: Option<At<Mode>>, members: &[Member]) {
    let Some(At { value: mode, at }) = mode else {
        return;
    };
    match mode {
        Mode::Lead | Mode::Manual => return,
        Mode::Coordinator | Mode::Collaborate => {}
    }
    let word = mode.word();
    let is_worker = |member: &Member| !member.spec.lead && member.spec.engine.uses_model();
    if !members.iter().any(is_worker) {
        source.fault_with_hint(
            at,
            format!("`mode = \"{word}\"` needs at least one agent besides the lead"),
            "add [[member]] with name = \"ada\" and engine = \"native\"",
        );
    }
    let lead = members.iter().find(|member| member.spec.lead);
    if let Some(At { value: key, at }) = lead.and_then(|lead| lead.tools_at) {
        source.fault_with_hint(
            at,
            format!("`{key}` has no effect: with `mode = \"{word}\"` the lead has no tools"),
            "remove the key",
        );
    }
}
