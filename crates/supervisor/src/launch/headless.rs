//! Starts workers without a terminal, as children of the supervisor. Called by the team's launcher. Each worker runs in
//! its own session, so that it outlives the supervisor.

use std::ffi::OsString;

use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::placement::Placement;
use agent_team_system::spawn::ProgramSpec;

use super::order::LaunchOrder;
use super::report::StartedWorker;
use crate::machine::Machine;

pub(super) fn start(machine: &dyn Machine, order: &LaunchOrder) -> Result<StartedWorker, String> {
    let spec = ProgramSpec {
        program: order.program.clone(),
        args: order.arguments(),
        env: environment(order),
        cwd: "/".into(),
    };
    let process = machine
        .start(&spec)
        .map_err(|error| format!("{}: {error}", order.program.display()))?;
    Ok(StartedWorker {
        process,
        placement: Placement::Headless,
        pane: None,
    })
}

/// The environment of the worker process itself; the member's environment is in the launch file.
fn environment(order: &LaunchOrder) -> Vec<(OsString, OsString)> {
    own_environment()
        .chain([(LAUNCH_MARKER.into(), order.launch.as_str().into())])
        .collect()
}

/// A few variables of the supervisor's environment, for headless workers and for the host process.
pub(super) fn own_environment() -> impl Iterator<Item = (OsString, OsString)> {
    let names = ["PATH", "HOME", "LANG", "AGENT_TEAM_LOG", "RUST_BACKTRACE"];
    let variable = |name: &str| Some((name.into(), std::env::var_os(name)?));
    names.into_iter().filter_map(variable)
}
