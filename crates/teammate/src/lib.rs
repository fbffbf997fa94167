//! The worker process of one member.
//!
//! ```text
//!  supervisor ◄── socket ──► link (own thread) ◄─ events ─► worker ◄─► engine ── task's pty ── /bin/sh -c LINE
//!                                                             │ ▲
//!                                                        log ◄┘ └─► pane ── the person's terminal
//! ```
//! A reader who looks for …
//! - what the process is told at its start: `launch`
//! - what it is doing, and why it ends: `worker`
//! - pings, reconnecting, repeating what was not answered: `link`
//! - how a task's line is run and ended: `engine`
//! - what a model can do in its team, and what it is told of it: `team_tool`
//! - what stands in the pane, and what is typed there: `pane`, `typed`
//!
//! Nothing runs before the supervisor has answered; nothing that runs outlives its claim.

pub mod desk;
mod engine;
mod launch;
mod link;
mod log;
pub mod model;
mod pane;
pub mod team_tool;
pub mod tool;
mod typed;
mod vt;
mod worker;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::text::visible_line;
use agent_team_system::directories::Directories;
use agent_team_system::signals::Signals;
use agent_team_system::spawn;
use signal_hook::consts::{SIGQUIT, SIGTSTP};
use tokio::task::LocalSet;
use tracing_subscriber::EnvFilter;

use crate::engine::Place;
use crate::launch::TakeLaunchError;
use crate::link::Link;
use crate::log::MemberLog;
use crate::pane::Pane;
use crate::typed::Typed;
use crate::worker::{LastWords, Parts, Worker};

/// Why this process cannot be a worker.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot use this launch file")]
    Launch(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot start working")]
    System(#[from] io::Error),
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// Another process is this launch's worker: there was nothing to do.
    NotOurs,
    /// It worked, and this is its exit code.
    Exited(u8),
}

/// Takes the launch and works until it is over. Called once, by a process that does nothing else.
///
/// # Errors
/// When the file cannot be used, or the system gives no threads, signals or directories.
pub fn run(launch_file: &Path) -> Result<Ran, RunError> {
    let launch = match launch::take(launch_file) {
        Ok(launch) => launch,
        Err(TakeLaunchError::Taken(_)) => return Ok(Ran::NotOurs),
        Err(error) => return Err(RunError::Launch(Box::new(error))),
    };
    log_panics(&launch);
    start_tracing(&launch);
    let directories = launch::directories(launch_file, &launch)?;
    let initialize = Initialize::member(
        launch.team.clone(),
        launch.launch.clone(),
        launch.token.clone(),
    );
    // Before anything that can be built while the supervisor answers.
    let link = Link::start(directories.clone(), initialize)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Local, because a terminal's saved modes do not go from thread to thread.
    LocalSet::new().block_on(&runtime, async {
        let worker = prepare(&launch, directories, link)?;
        Ok(Ran::Exited(worker.run().await))
    })
}

fn prepare(launch: &LaunchFile, directories: Directories, link: Link) -> Result<Worker, RunError> {
    let signals = Signals::install()?;
    // Handled by doing nothing, rather than ignored, which children would inherit: keys at the prompt end no worker.
    for signal in [SIGQUIT, SIGTSTP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    spawn::become_subreaper()?;
    let pane = Pane::open(launch.member.clone());
    let term = std::env::var_os("TERM").filter(|_| pane.is_open());
    let place = Arc::new(Place {
        env: launch::child_environment(launch, term),
        cwd: launch.cwd.clone(),
        marker: launch.launch.to_string(),
    });
    reap();
    let parts = Parts {
        log: MemberLog::new(launch.log.clone()),
        link,
        typed: Typed::start(directories, launch),
        coloured: launch
            .environment
            .get("NO_COLOR")
            .is_none_or(String::is_empty),
        place,
        pane,
        signals,
    };
    Ok(Worker::new(parts, go_to_work(&launch.cwd).err()))
}

/// The worker stands where its member works; somewhere else it does nothing.
fn go_to_work(cwd: &Path) -> Result<(), LastWords> {
    std::env::set_current_dir(cwd).map_err(|error| {
        let place = cwd.display().to_string();
        let place = visible_line(&place);
        let reason = if error.kind() == io::ErrorKind::NotFound {
            format!("cwd {place} is not there")
        } else {
            format!("cwd {place} cannot be used: {error}")
        };
        LastWords {
            code: ExitCode::NotFound as u8,
            reason,
            hold: true,
        }
    })
}

/// What tasks left behind and has ended is this process's to reap.
fn reap() {
    tokio::spawn(async {
        let error = spawn::reap_orphans().await;
        tracing::warn!(%error, "orphans are not reaped any more");
    });
}

/// A trace beside the member's log, when `RUST_LOG` asks for one, in our environment or the member's.
fn start_tracing(launch: &LaunchFile) {
    let filter = std::env::var("RUST_LOG").ok();
    let Some(filter) = filter.or_else(|| launch.environment.get("RUST_LOG").cloned()) else {
        return;
    };
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(launch.log.with_extension("trace"));
    if let Ok(file) = file {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_ansi(false)
            .with_writer(Mutex::new(file))
            .init();
    }
}

/// A panic unwinds, which restores the terminal and ends the process abnormally; what it said is kept in the log.
fn log_panics(launch: &LaunchFile) {
    let log = launch.log.clone();
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut file) = OpenOptions::new().append(true).open(&log) {
            // There is nowhere left to complain to.
            let _written = writeln!(file, "\na bug in agent-teammate: {panic}");
        }
        print(panic);
    }));
}
