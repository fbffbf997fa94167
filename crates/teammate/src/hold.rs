//! A terminal lent to a member that lost its own, or never had one: `agent-teammate --hold SOCKET TEAM LAUNCH`, the
//! command of a new pane, or what a person becomes who attaches.
//!
//! It keeps the terminal open, and passes on to the worker what the kernel says of it: its size, ^C, and that it has
//! gone. What is shown there and what is typed is the worker's alone. It reads nothing and writes nothing.
//!
//! ```text
//! asking ── lent to whom? ──► holding ── ^\, hangup: the worker is told ──► waiting, 1 s ──► over
//!                                └── the worker lets go (SIGTERM), or ends ────────────────►
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{HoldAnswer, HoldPane, PaneHold};
use agent_team_protocol::notification::{Hold, ShowPane};
use agent_team_protocol::rpc::{Call, TeamRef};
use agent_team_protocol::{LaunchId, TeamId};
use agent_team_system::client::{CallError, Client, ConnectError};
use agent_team_system::process::{ExitWatch, ProcessId, Signal};
use agent_team_system::signals::{QuitKey, SignalEvent, Signals};
use agent_team_system::terminal::{self, Modes};
use signal_hook::consts::SIGTSTP;
use tokio::time::Instant;

use crate::sleep_until;

/// Between two looks for a supervisor that is being started anew, doubling; and how often.
const FIRST_LOOK: Duration = Duration::from_millis(25);
const LOOKS: u32 = 8;

/// How long the worker may take to let go of the terminal.
const LET_GO: Duration = Duration::from_secs(1);

/// Why the terminal was not lent.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    #[error("there is no terminal here to lend")]
    NoTerminal(#[source] io::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("cannot hold the terminal")]
    System(#[from] io::Error),
}

/// Lends this process's terminal to the worker of a launch, until either gives it up. Called once, by a process that
/// does nothing else.
///
/// # Errors
/// When there is no terminal, no supervisor, or nobody who would be shown.
pub fn hold(hold: Hold, socket: &Path, team: TeamId, launch: LaunchId) -> Result<(), HoldError> {
    let terminal = terminal::name(io::stdin()).map_err(HoldError::NoTerminal)?;
    // A worker that is killed cannot restore them.
    let _modes = Modes::of(io::stdin())?;
    let own = ProcessId::current()?;
    let asked = HoldPane {
        launch,
        show: ShowPane {
            terminal,
            pid: own.pid,
            start_time: own.start_time,
            hold,
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before the worker knows of us.
        let signals = Signals::install()?;
        let quit = QuitKey::listen()?;
        signal_hook::flag::register(SIGTSTP, Arc::new(AtomicBool::new(false)))?;
        let worker = ask(socket, team, asked).await?;
        if let Some(worker) = ExitWatch::open(worker)? {
            serve(hold, worker, signals, quit).await?;
        }
        Ok(())
    })
}

/// Who is shown here from now on.
async fn ask(socket: &Path, team: TeamId, asked: HoldPane) -> Result<ProcessId, HoldError> {
    let initialize = Initialize::client(format!("{}-hold", asked.show.pid));
    let call = Call {
        team: Some(TeamRef::Id(team)),
        key: None,
        args: asked,
    };
    let mut pause = FIRST_LOOK;
    for look in 1.. {
        let again = match lent(socket, &initialize, &call).await {
            Ok(HoldAnswer {
                pid, start_time, ..
            }) => return Ok(ProcessId { pid, start_time }),
            Err(
                error @ (HoldError::Connect(ConnectError::Unreachable { .. } | ConnectError::Ended)
                | HoldError::Call(CallError::Disconnected)),
            ) => error,
            Err(error) => return Err(error),
        };
        if look == LOOKS {
            return Err(again);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    unreachable!("the last look returns")
}

async fn lent(
    socket: &Path,
    initialize: &Initialize,
    call: &Call<HoldPane>,
) -> Result<HoldAnswer, HoldError> {
    // What the supervisor says of its own accord is not for us, and drops with the connection.
    let (client, _incoming) = Client::connect(socket, initialize).await?;
    Ok(client.call::<PaneHold>(call).await?)
}

async fn serve(
    hold: Hold,
    mut worker: ExitWatch,
    mut signals: Signals,
    mut quit: QuitKey,
) -> io::Result<()> {
    let mut until = None;
    loop {
        let told = tokio::select! {
            ended = worker.exited() => return ended,
            () = sleep_until(until) => return Ok(()),
            // In a pane it is a key like others.
            () = quit.pressed(), if hold != Hold::Pane => Signal::SIGHUP,
            signal = signals.next() => match signal {
                SignalEvent::Shutdown => return Ok(()),
                SignalEvent::Hangup => Signal::SIGHUP,
                SignalEvent::Interrupt => Signal::SIGINT,
                SignalEvent::WindowChanged => Signal::SIGWINCH,
                SignalEvent::Info => continue,
            },
        };
        if told == Signal::SIGHUP {
            until.get_or_insert_with(|| Instant::now() + LET_GO);
        }
        worker.signal(told)?;
    }
}
