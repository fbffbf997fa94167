//! `[hooks]`: the shell lines that run at events of the board and of agents. Both kinds are read from the team file,
//! and the hooks of agents also from the user's `config.toml`.

use agent_team_protocol::hook::{HOOK_SECONDS, HookEvent, check_matcher};
use agent_team_protocol::spec::{HookSpec, Hooks};

use super::source::Source;
use super::table::Table;
use super::unsupported::Level;

/// The longest time limit of a hook, in seconds.
const SECONDS_MAX: i32 = 600;

/// Reads `[hooks]` of the team file: the supervisor's hooks, and the hooks of agents.
pub(super) fn read(source: &Source<'_>, table: Option<Table<'_>>) -> (Hooks, Vec<HookSpec>) {
    let mut hooks = Hooks::default();
    let mut of_agents = Vec::new();
    if let Some(mut table) = table {
        let mut line = |key| table.string(key).map(|found| found.value.to_owned());
        hooks.task_completed = line("task_completed");
        hooks.teammate_idle = line("teammate_idle");
        of_agents = lifecycle(source, &mut table);
        table.finish();
    }
    (hooks, of_agents)
}

/// Reads `[hooks]` of the user's settings.
pub(super) fn of_user(source: &Source<'_>, table: Option<Table<'_>>) -> Vec<HookSpec> {
    let Some(mut table) = table else {
        return Vec::new();
    };
    let hooks = lifecycle(source, &mut table);
    table.finish();
    hooks
}

fn lifecycle(source: &Source<'_>, table: &mut Table<'_>) -> Vec<HookSpec> {
    let mut hooks = Vec::new();
    for event in HookEvent::ALL {
        for table in table.tables(event.name(), Level::Hook) {
            hooks.extend(hook(source, event, table));
        }
    }
    hooks
}

fn hook(source: &Source<'_>, event: HookEvent, mut table: Table<'_>) -> Option<HookSpec> {
    let at = table.at;
    let is_set = table.position_of("run").is_some();
    let run = table.string("run");
    let matcher = table.string("matcher");
    let seconds = table.integer("timeout_seconds", 1..=SECONDS_MAX);
    table.finish();
    if let Some(matcher) = &matcher {
        if !event.has_subject() {
            let text = format!("a {} hook has no `matcher`: it always runs", event.name());
            source.fault(matcher.at, text);
        } else if let Err(invalid) = check_matcher(matcher.value) {
            source.fault(matcher.at, format!("`matcher` is not valid: {invalid}"));
        }
    }
    let Some(run) = run.filter(|run| !run.value.trim().is_empty()) else {
        let message = match is_set {
            true => "`run` is empty",
            false => "a hook needs `run`, a shell line",
        };
        source.fault_with_hint(at, message, "set run = \"scripts/hook.sh\"");
        return None;
    };
    Some(HookSpec {
        event,
        run: run.value.to_owned(),
        matcher: matcher.map_or_else(String::new, |found| found.value.to_owned()),
        timeout_seconds: seconds.map_or(HOOK_SECONDS, i32::unsigned_abs),
        files: Vec::new(),
    })
}
