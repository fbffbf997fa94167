//! The attach helper: lends a terminal to a running member. `agent-teammate --hold SOCKET TEAM LAUNCH` is the command
//! of a new pane; `--attach` and `--watch` run in a user's own terminal.
//!
//! The attach helper keeps the terminal open and forwards the kernel's signals to the worker: resizes, ^C and hangups.
//! The worker reads and writes the terminal. The attach helper writes only after the worker has released the terminal
//! or exited: a killed worker cannot reset the modes that its member's program has set.
//!
//! ```text
//! request ── the worker's process ───► holding ── ^\, hangup: notify the worker ──► wait 1 s ──► exit
//!                                         └── the worker releases it (SIGTERM), or exits ──────►
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent_team_client::{CallError, Client, ConnectError};
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{LendTerminal, LendTerminalAnswer, PaneHold};
use agent_team_protocol::notification::{Attachment, ShowPane};
use agent_team_protocol::rpc::{Call, TeamRef};
use agent_team_protocol::{LaunchId, TeamId};
use agent_team_system::process::{ExitWatch, ProcessId, Signal};
use agent_team_system::signals::{QuitKey, SignalEvent, Signals};
use agent_team_system::terminal::{self, SavedModes, Tty};
use signal_hook::consts::SIGTSTP;
use tokio::time::Instant;

use crate::pane::RESET_MODES;
use crate::timer::sleep_until;

/// The delay after the first attempt to reach a restarting supervisor. The delay doubles with each attempt.
const FIRST_RETRY: Duration = Duration::from_millis(25);

/// The number of attempts to reach a restarting supervisor.
const ATTEMPTS: u32 = 8;

/// How long to wait until the worker has released the terminal.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// Why the terminal could not be lent.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("stdin is not a terminal")]
    NoTerminal(#[source] io::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("cannot lend the terminal")]
    System(#[from] io::Error),
}

/// Lends this process's terminal to the worker of a launch, until the worker exits or releases it, until the user
/// presses `^\` outside a pane, or until the terminal is closed. Called once, by a process that does nothing else.
///
/// # Errors
/// If there is no terminal, no supervisor, or no such running member, or if a system call fails.
pub fn run(
    attachment: Attachment,
    socket: &Path,
    team: TeamId,
    launch: LaunchId,
) -> Result<(), AttachError> {
    let terminal = terminal::name(io::stdin()).map_err(AttachError::NoTerminal)?;
    // Restore the terminal's modes here: a worker that is killed cannot restore them.
    let _modes = SavedModes::of(io::stdin())?;
    let own = ProcessId::current()?;
    let request = LendTerminal {
        launch,
        show: ShowPane {
            terminal: terminal.clone(),
            pid: own.pid,
            start_time: own.start_time,
            attachment,
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Install signal handlers before the worker knows the id of this process.
        let signals = Signals::install()?;
        let quit = QuitKey::listen()?;
        // Install a handler that does nothing. Without a handler, ^Z in cooked mode suspends this process, which then
        // forwards no signals to the worker.
        signal_hook::flag::register(SIGTSTP, Arc::new(AtomicBool::new(false)))?;
        let worker = ask(socket, team, request).await?;
        let served = match ExitWatch::open(worker)? {
            Some(worker) => serve(attachment, worker, signals, quit).await,
            None => Ok(()),
        };
        if attachment != Attachment::Pane {
            let _closed = Tty::open_path(&terminal).map(|tty| tty.write_now(RESET_MODES));
        }
        Ok(served?)
    })
}

/// Registers this terminal for the member. Returns the process of the member's worker.
async fn ask(socket: &Path, team: TeamId, request: LendTerminal) -> Result<ProcessId, AttachError> {
    let initialize = Initialize::client(format!("{}-hold", request.show.pid));
    let call = Call {
        team: Some(TeamRef::Id(team)),
        key: None,
        args: request,
    };
    let mut pause = FIRST_RETRY;
    for attempt in 1.. {
        let error = match register(socket, &initialize, &call).await {
            Ok(LendTerminalAnswer {
                pid, start_time, ..
            }) => return Ok(ProcessId { pid, start_time }),
            Err(
                error @ (AttachError::Connect(
                    ConnectError::Unreachable { .. } | ConnectError::Ended,
                )
                | AttachError::Call(CallError::Disconnected)),
            ) => error,
            Err(error) => return Err(error),
        };
        if attempt == ATTEMPTS {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    unreachable!("the last attempt returns")
}

async fn register(
    socket: &Path,
    initialize: &Initialize,
    call: &Call<LendTerminal>,
) -> Result<LendTerminalAnswer, AttachError> {
    // Notifications are dropped when the connection is closed.
    let (client, _incoming) = Client::connect(socket, initialize).await?;
    Ok(client.call::<PaneHold>(call).await?)
}

/// Forwards signals to the worker until the worker exits, or this process must release the terminal.
async fn serve(
    attachment: Attachment,
    mut worker: ExitWatch,
    mut signals: Signals,
    mut quit: QuitKey,
) -> io::Result<()> {
    let mut until = None;
    loop {
        let signal = tokio::select! {
            ended = worker.exited() => return ended,
            () = sleep_until(until) => return Ok(()),
            // In a pane, `^\` is an ordinary keystroke.
            () = quit.pressed(), if attachment != Attachment::Pane => Signal::SIGHUP,
            signal = signals.next() => match signal {
                SignalEvent::Shutdown => return Ok(()),
                SignalEvent::Hangup => Signal::SIGHUP,
                SignalEvent::Interrupt => Signal::SIGINT,
                SignalEvent::WindowChanged => Signal::SIGWINCH,
                SignalEvent::Info => continue,
            },
        };
        if signal == Signal::SIGHUP {
            until.get_or_insert_with(|| Instant::now() + RELEASE_LIMIT);
        }
        worker.signal(signal)?;
    }
}
