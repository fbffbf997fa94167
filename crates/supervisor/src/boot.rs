//! The life of the daemon, from exec to exit. Called by `program`.
//!
//! Start-up order: lock, remove a stale socket, bind, restore teams, report readiness. Taking the lock first excludes
//! two supervisors, and a starter that reads `ready` can connect at once. At exit the socket is removed before the
//! lock is released; afterwards the socket at this path may be the successor's.

use std::io::Write;
use std::rc::Rc;

use agent_team_protocol::exit::{ExitCode, SYNC_FAILED};
use agent_team_protocol::notification::GoodbyeReason;
use agent_team_system::announcement;
use agent_team_system::directories::{Directories, DirectoriesError};
use agent_team_system::lock::FileLock;
use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::signals::{SignalEvent, Signals};
use agent_team_system::{descriptors, private_file, spawn};
use anyhow::Context;

use crate::driver::Notice;
use crate::server::ShutdownTrigger;
use crate::settings_file::{self, SettingsError};
use crate::socket_server::SocketServer;

/// Threads for blocking work (reading history, inspecting processes) over all teams. tokio's own limit is 512. A flood
/// of reads approaches this limit although each team runs few reads at a time: tokio starts a thread whenever no thread
/// is marked idle, and marks a thread only some time after it has sent its result. Work beyond the limit waits in
/// tokio's queue.
const BLOCKING_THREADS_MAX: usize = 32;

/// Runs the supervisor until it exits, and returns the exit code. `foreground`: log to stderr.
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
            // Most errors occur before the supervisor serves; removing its files at the end can fail, too.
            tracing::error!(error = format!("{error:#}"), "the supervisor failed");
            let code = exit_code(&error) as u8;
            if let Some(mut ready) = ready {
                // Report the start-up error to the parent through the readiness pipe.
                let _starter_gone = match error.downcast::<SettingsError>() {
                    Ok(error) => {
                        ready.write_all(announcement::settings_report(error.into()).as_bytes())
                    }
                    Err(error) if error.is::<AlreadyRunning>() => {
                        writeln!(ready, "{}", announcement::LOCK_TAKEN_LINE)
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
#[error("another supervisor is running: it holds the lock {}", .0.display())]
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

/// How long a supervisor whose teams are all down waits for its first client.
const FIRST_CLIENT_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

async fn serve(foreground: bool, ready: &mut Option<std::fs::File>) -> anyhow::Result<u8> {
    let directories = Rc::new(Directories::from_environment()?);
    directories.prepare()?;
    let _log = crate::log::start(&directories, foreground);
    let Some(mut lock) = FileLock::try_acquire(&directories.supervisor_lock())? else {
        return Err(AlreadyRunning(directories.supervisor_lock()).into());
    };
    if let Some(other) = announcement::find_without_lock(&directories).await {
        // The other supervisor's lock file was removed. On SIGHUP that supervisor creates the file again, and must
        // then be able to lock it.
        drop(lock);
        tracing::warn!(pid = other.pid, "another supervisor lost its lock file");
        other.signal(Signal::SIGHUP)?;
        return Err(AlreadyRunning(directories.supervisor_lock()).into());
    }
    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    // Install the handlers before the process is announced: a client that finds no socket sends SIGHUP to the announced
    // process, and without a handler that signal terminates it.
    let mut signals = Signals::install().context("cannot install signal handlers")?;
    let durability = settings_file::durability(&directories)?;
    let mut serving = SocketServer::start(&lock, &directories, durability, None).await?;
    let server = serving.server.clone();
    let socket = directories.socket();
    let announced = announcement::Announced {
        socket: socket.clone(),
        process: Some(ProcessId::current()?),
    };
    announced.write(&mut lock, &directories.supervisor_lock())?;
    tracing::info!(pid = std::process::id(), socket = %socket.display(), ?durability, "serving");
    if let Some(mut ready) = ready.take() {
        // A starter that has exited does not need the report.
        let _starter_gone = writeln!(ready, "ready");
    }

    // The starter may exit before it connects, so a supervisor without clients must not run for ever. The timer is
    // dropped when a client has connected or the limit has passed, so that an idle supervisor has no timer.
    let first_client = tokio::time::timeout(FIRST_CLIENT_LIMIT, server.first_client());
    let mut first_client = Some(Box::pin(first_client));
    let (goodbye, code) = loop {
        tokio::select! {
            () = wait_optional(&mut first_client) => first_client = None,
            Some(notice) = serving.notices.recv() => match notice {
                Notice::WentDown => {}
                // Send no goodbye: a worker that loses its connection without a goodbye starts a new supervisor, which
                // restores the team from the disk.
                Notice::SyncFailed => break (None, SYNC_FAILED),
            },
            Some(trigger) = serving.triggers.recv() => match trigger {
                ShutdownTrigger::ClientGone => {}
                ShutdownTrigger::Stop => break (Some(GoodbyeReason::Stopped), 0),
                ShutdownTrigger::Restart => break (Some(GoodbyeReason::Restarting), 0),
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
    tracing::info!(?goodbye, code, "exiting");
    if let Some(goodbye) = goodbye {
        server.close(goodbye).await;
    }
    private_file::discard(&socket).context("cannot remove the socket")?;
    announcement::Announced::withdraw(&mut lock, &directories.supervisor_lock())?;
    Ok(code)
}

/// Creates and locks the lock file again if it was removed. Locking fails if a starter holds the new file at this
/// moment; the starter then finds this process and sends another SIGHUP.
fn restore_lock(
    lock: &mut FileLock,
    announced: &announcement::Announced,
    directories: &Directories,
) {
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
            tracing::warn!(lock = %path.display(), "created the removed lock file again")
        }
        Ok(false) => {
            tracing::warn!(lock = %path.display(), "the lock file was removed, and the new one is locked by another process")
        }
        Err(error) => {
            tracing::error!(lock = %path.display(), %error, "cannot create the lock file again");
        }
    }
}

/// Waits for the future and drops its result. Without a future, never returns.
async fn wait_optional<T>(wait: &mut Option<impl Future<Output = T> + Unpin>) {
    match wait {
        Some(wait) => drop(wait.await),
        None => std::future::pending().await,
    }
}
