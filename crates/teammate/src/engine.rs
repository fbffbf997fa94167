//! Engines that work on one task at a time: the worker starts a [`ProgramRun`] and receives its events. To add an engine, add
//! a file in this directory and an arm in [`task_engine`].
//!
//! An engine neither calls the supervisor nor writes to the pane.

mod command;
mod run;

use agent_team_protocol::engine::Engine;

pub(crate) use self::run::{
    Claim, Event, HEADLESS_SIZE, Lines, ProgramContext, ProgramRun, RunOutcome, Size, TAIL_BYTES,
    TaskEngine,
};

/// The engine that runs the lines of tasks for members of this kind. `None` if such a member runs no lines (an agent, a
/// terminal program), or if this version does not know the engine.
pub(crate) fn task_engine(engine: Engine) -> Option<Box<dyn TaskEngine>> {
    match engine {
        Engine::Command => Some(Box::new(command::Command)),
        Engine::Native | Engine::External | Engine::Joined | Engine::Terminal | Engine::Unknown => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::engine::ENGINES;

    use super::*;

    #[test]
    fn every_engine_that_runs_lines_does_tasks() {
        for info in ENGINES {
            let does_tasks = task_engine(info.engine).is_some();
            assert_eq!(does_tasks, info.runs_lines, "{}", info.name);
        }
    }
}
