//! `[hooks]`: the shell lines that run at events of the board and of agents. Hooks of the board are read from the team
//! file. Hooks of agents are read from the team file and from the user's `config.toml`.

use agent_team_protocol::hook::{HOOK_SECONDS, HookEvent, check_matcher};
use agent_team_protocol::spec::{HookSpec, Hooks};

use super::source::Source;
use super::table::Table;
use super::unsupported::Level;

/// The longest time limit of a hook, in seconds.
const SECONDS_MAX: i32 = 600;

/// `[hooks]` of the team file.
#[derive(Default)]
pub(super) struct HooksOfFile {
    /// The hooks that the supervisor runs.
    pub(super) hooks: Hooks,
    pub(super) of_agents: Vec<HookSpec>,
    /// The name and the position of a hook of agents.
    of_agents_at: Option<(&'static str, usize)>,
}

impl HooksOfFile {
    /// Reports hooks of agents in a file whose members are all command members. Command members have no model, no tools
    /// and no turns, so these hooks never run.
    pub(super) fn check(&self, source: &Source<'_>, has_agents: bool, has_members: bool) {
        if let (Some((name, at)), false, true) = (self.of_agents_at, has_agents, has_members) {
            let text = format!("the hook {name} never runs: no member of this file is an agent");
            let hint = "remove it, or use task_completed or teammate_idle, which run for command members too";
            source.fault_with_hint(at, text, hint);
        }
    }
}

/// Reads `[hooks]` of the team file.
pub(super) fn read(source: &Source<'_>, table: Option<Table<'_>>) -> HooksOfFile {
    let mut hooks = Hooks::default();
    let mut of_agents = Vec::new();
    let mut of_agents_at = None;
    if let Some(mut table) = table {
        let mut line = |key| table.string(key).map(|found| found.value.to_owned());
        hooks.task_completed = line("task_completed");
        hooks.teammate_idle = line("teammate_idle");
        let position = |event: HookEvent| Some((event.name(), table.position_of(event.name())?));
        of_agents_at = HookEvent::ALL.into_iter().find_map(position);
        of_agents = lifecycle(source, &mut table);
        table.finish();
    }
    HooksOfFile {
        hooks,
        of_agents,
        of_agents_at,
    }
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
