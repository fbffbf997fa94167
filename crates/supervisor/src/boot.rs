//! From exec to serving, and to the end.
//!
//! Lock, stale socket away, bind, restore, readiness: in this order, so that nobody ever sees two supervisors, and
//! whoever is told that this one is ready can be served. The socket goes before the lock is released.

use std::io::Write;
use std::rc::Rc;

use agent_team_protocol::exit::{ExitCode, SYNC_FAILED};
use agent_team_protocol::notification::GoodbyeReason;
use agent_team_system::directories::{Directories, DirectoriesError};
use agent_team_system::lock::FileLock;
use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::signals::{SignalEvent, Signals};
use agent_team_system::{daemon, descriptors, private_file, spawn};
use anyhow::Context;

use crate::driver::Notice;
use crate::server::Ending;
use crate::serving::Serving;
use crate::settings_file::{self, SettingsError};

/// Threads that read history or look at processes, over all teams. A reader that has just ended is not idle at once, so that
/// a flood of reads would otherwise start many more threads than there are readers.
const BLOCKING_THREADS_MAX: usize = 32;

/// Runs a supervisor to its end. `foreground` logs to stderr.
pub fn run(foreground: bool) -> u8 {
    let mut ready = spawn::ready_fd();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let result = runtime
        .context("cannot start a runtime")
        .and_then(|runtime| {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, serve(foreground, &mut ready))
        });
    match result {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the supervisor cannot serve");
            let code = exit_code(&error) as u8;
            if let Some(mut ready) = ready {
                // Whoever waits for readiness is told why there is none.
                let _starter_gone = match error.downcast::<SettingsError>() {
                    Ok(error) => ready.write_all(daemon::settings_report(error.into()).as_bytes()),
                    Err(error) if error.is::<AlreadyRunning>() => {
                        writeln!(ready, "{}", daemon::TAKEN)
                    }
                    Err(error) => writeln!(ready, "error: {error:#}"),
                };
            } else {
                let _no_stderr = writeln!(std::io::stderr(), "error: {error:#}");
            }
            code
        }
    }
}

/// Another supervisor holds the lock.
#[derive(Debug, thiserror::Error)]
#[error("another supervisor is running: {} is held", .0.display())]
struct AlreadyRunning(std::path::PathBuf);

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<AlreadyRunning>() || error.is::<DirectoriesError>() {
        ExitCode::Refused
    } else if error.is::<SettingsError>() {
        ExitCode::Usage
    } else {
        ExitCode::Failed
    }
}

/// How long a supervisor without a team waits for its first client.
const UNCLAIMED_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

async fn serve(foreground: bool, ready: &mut Option<std::fs::File>) -> anyhow::Result<u8> {
    let directories = Rc::new(Directories::from_environment()?);
    directories.prepare()?;
    let _log = crate::log::start(&directories, foreground);
    let Some(mut lock) = FileLock::try_acquire(&directories.supervisor_lock())? else {
        return Err(AlreadyRunning(directories.supervisor_lock()).into());
    };
    if let Some(other) = daemon::without_lock(&directories).await {
        // That one creates its lock file again, and must be able to take it.
        drop(lock);
        tracing::warn!(pid = other.pid, "another supervisor lost its lock file");
        other.signal(Signal::SIGHUP)?;
        return Err(AlreadyRunning(directories.supervisor_lock()).into());
    }
    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "cannot raise the limit of descriptors");
    }
    let mut signals = Signals::install().context("cannot listen to signals")?;
    let durability = settings_file::durability(&directories)?;
    let mut serving = Serving::start(&lock, &directories, durability, None).await?;
    let server = serving.server.clone();
    let socket = directories.socket();
    let announced = daemon::Announced {
        socket: socket.clone(),
        process: Some(ProcessId::current()?),
    };
    announced.write(&mut lock, &directories.supervisor_lock())?;
    tracing::info!(pid = std::process::id(), socket = %socket.display(), ?durability, "serving");
    if let Some(mut ready) = ready.take() {
        // A starter that is gone does not need to know.
        let _starter_gone = writeln!(ready, "ready");
    }

    // Whoever started this may be gone before it connects. Dropped once it is over, so that it wakes nobody at rest.
    let unclaimed = tokio::time::timeout(UNCLAIMED_LIMIT, server.claimed());
    let mut unclaimed = Some(Box::pin(unclaimed));
    let (goodbye, code) = loop {
        tokio::select! {
            () = over(&mut unclaimed) => unclaimed = None,
            Some(notice) = serving.notices.recv() => match notice {
                Notice::WentDown => {}
                // No goodbye: a worker starts a supervisor that reads what is really there.
                Notice::SyncFailed => break (None, SYNC_FAILED),
            },
            Some(ending) = serving.endings.recv() => match ending {
                Ending::ClientGone => {}
                Ending::Stop => break (Some(GoodbyeReason::Stopped), 0),
                Ending::Restart => break (Some(GoodbyeReason::Restarting), 0),
            },
            signal = signals.next() => match signal {
                SignalEvent::Shutdown | SignalEvent::Interrupt => break (Some(GoodbyeReason::Stopped), 0),
                SignalEvent::Hangup => {
                    serving.restore_socket(&lock);
                    restore_lock(&mut lock, &announced, &directories);
                }
                SignalEvent::WindowChanged | SignalEvent::Info => {}
            },
        }
        if server.teams.all_down() && !server.has_clients() {
            break (Some(GoodbyeReason::Stopped), 0);
        }
    };
    tracing::info!(?goodbye, code, "ending");
    if let Some(goodbye) = goodbye {
        server.close(goodbye).await;
    }
    private_file::discard(&socket).context("cannot remove the socket")?;
    daemon::Announced::withdraw(&mut lock, &directories.supervisor_lock())?;
    Ok(code)
}

/// Locks and writes the lock file again where it was removed. A starter that holds it meanwhile finds this process, and
/// signals again.
fn restore_lock(lock: &mut FileLock, announced: &daemon::Announced, directories: &Directories) {
    let path = directories.supervisor_lock();
    if lock.is_at(&path) {
        return;
    }
    let restored = FileLock::try_acquire(&path).and_then(|taken| match taken {
        Some(taken) => {
            *lock = taken;
            announced.write(lock, &path).map(|()| true)
        }
        None => Ok(false),
    });
    match restored {
        Ok(true) => {
            tracing::warn!(lock = %path.display(), "the lock file was removed: created again")
        }
        Ok(false) => {
            tracing::warn!(lock = %path.display(), "the lock file was removed, and is in use")
        }
        Err(error) => {
            tracing::error!(lock = %path.display(), %error, "cannot create the lock file again");
        }
    }
}

/// Waits for what is waited for, whatever it comes to.
async fn over<T>(wait: &mut Option<impl Future<Output = T> + Unpin>) {
    match wait {
        Some(wait) => drop(wait.await),
        None => std::future::pending().await,
    }
}
