//! The host process of a team's hosted members: started on demand, exits with its last member. Called by the team's
//! launcher.
//!
//! Each order uses a new connection, so that a restarted supervisor can continue with the running host process. For an
//! order to watch or to end a member, the end of the connection means that the member, or the whole process, has ended.
//! If nothing listens at the socket, the process itself is watched, because the socket file may have been removed.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use agent_team_protocol::LaunchId;
use agent_team_protocol::codec::FIRST_FRAME_MAX;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::host::{HostAnswer, HostOrder};
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome};
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::private_file;
use agent_team_system::process::{ExitWatch, ProcessId, Signal};
use agent_team_system::sibling_binary::sibling_binary;
use agent_team_system::socket::{Stream, bind_for};
use agent_team_system::spawn::{ProgramSpec, spawn_session_with};
use tokio::sync::oneshot;

use super::headless;
use super::order::{LaunchOrder, ProgramTask};
use super::report::{LaunchReport, ReportSender, StartedWorker};

/// How long a member that was ordered to end may take before the host process is killed with all members in it.
const END_LIMIT: Duration = Duration::from_secs(1);

/// How long the host process may take to exit after its last member.
const GONE_LIMIT: Duration = Duration::from_secs(5);

/// Number of attempts to start a member: the host process may be exiting with its last member when the order arrives.
const ATTEMPTS: u32 = 3;

#[derive(Debug)]
pub(super) struct HostProcess {
    socket: PathBuf,
    /// The host process, known after the first start or end of a member.
    process: Cell<Option<ProcessId>>,
    reports: ReportSender,
}

impl HostProcess {
    pub(super) fn new(socket: PathBuf, reports: ReportSender) -> Self {
        Self {
            socket,
            process: Cell::new(None),
            reports,
        }
    }

    pub(super) async fn start(&self, order: &LaunchOrder) -> Result<StartedWorker, String> {
        let ProgramTask::Launch { file } = &order.task else {
            return Err("a hosted member has no terminal".to_owned());
        };
        let start = HostOrder::Start { file: file.clone() };
        let mut fault = String::new();
        for _ in 0..ATTEMPTS {
            match self.request(&start).await {
                Ok(HostAnswer {
                    failed: Some(why), ..
                }) => return Err(why),
                Ok(HostAnswer {
                    pid, start_time, ..
                }) => {
                    let process = ProcessId { pid, start_time };
                    self.process.set(Some(process));
                    self.watch(order.launch.clone(), process);
                    return Ok(StartedWorker {
                        process,
                        placement: Placement::Hosted,
                        pane: None,
                    });
                }
                Err(error) => fault = error.to_string(),
            }
        }
        Err(format!("the host process does not respond: {fault}"))
    }

    async fn request(&self, order: &HostOrder) -> io::Result<HostAnswer> {
        let stream = match Stream::connect(&self.socket).await {
            Err(error) if is_not_listening(&error) => {
                self.launch()?;
                Stream::connect(&self.socket).await?
            }
            connected => connected?,
        };
        let mut reader = send(stream, order).await?;
        let answer = reader.next().await.map_err(io::Error::other)?;
        let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(serde_json::from_str(&answer)?)
    }

    fn launch(&self) -> io::Result<()> {
        let program = sibling_binary(Engine::Native.worker()).map_err(io::Error::other)?;
        let listener = bind_for(&self.socket)?;
        let null = std::fs::File::options().write(true).open("/dev/null")?;
        let spec = ProgramSpec {
            program,
            args: vec!["--host".into()],
            env: headless::own_environment().collect(),
            cwd: "/".into(),
        };
        let stdio = [listener, null.try_clone()?.into(), null.into()];
        let mut child = spawn_session_with(&spec, stdio)?;
        tokio::task::spawn_local(async move {
            if let Err(error) = child.wait().await {
                tracing::warn!(%error, "cannot reap the host process");
            }
        });
        Ok(())
    }

    /// Reports when the member has ended. `process` is the member's host process.
    pub(super) fn watch(&self, launch: LaunchId, process: ProcessId) {
        let (socket, reports) = (self.socket.clone(), self.reports.clone());
        tokio::task::spawn_local(async move {
            let watch = HostOrder::Watch {
                launch: launch.clone(),
            };
            match closed(&socket, &watch, Some(process)).await {
                Ok(()) => reports.send(LaunchReport::Exited(launch)),
                // The member may still run: report nothing.
                Err(error) => tracing::error!(%launch, %error, "cannot watch a hosted member"),
            }
        });
    }

    /// Ends the member. `process` is the member's host process; without it, the host process of the last order is
    /// assumed. Answers when the member has ended. After a timeout or an error, the member may still run: the host
    /// process is killed if it is known, and the order is repeated until the end is certain.
    pub(super) fn end(
        &self,
        launch: LaunchId,
        process: Option<ProcessId>,
        ended: oneshot::Sender<()>,
    ) {
        let socket = self.socket.clone();
        let process = process.or(self.process.get());
        self.process.set(process);
        tokio::task::spawn_local(async move {
            let order = HostOrder::End {
                launch: launch.clone(),
            };
            loop {
                let in_time = tokio::time::timeout(END_LIMIT, closed(&socket, &order, process));
                if matches!(in_time.await, Ok(Ok(()))) {
                    break;
                }
                match process {
                    Some(process) => {
                        tracing::warn!(%launch, pid = process.pid, "the hosted member does not end: killing the host process; its other members restart");
                        match kill(process).await {
                            Ok(()) => break,
                            Err(error) => {
                                tracing::error!(pid = process.pid, %error, "cannot kill the host process");
                            }
                        }
                    }
                    None => {
                        tracing::error!(%launch, "it is unknown whether the hosted member has ended");
                    }
                }
                // An immediate error would otherwise repeat the order without a pause.
                tokio::time::sleep(END_LIMIT).await;
            }
            let _asker_gone = ended.send(());
        });
    }

    /// Waits at most [`GONE_LIMIT`] until the host process has exited after its last member, and then removes its
    /// socket. `None` if no host process is known and none is left.
    pub(super) async fn wait_gone(&self) -> Option<Receipt> {
        let gone = async {
            loop {
                match Stream::connect(&self.socket).await {
                    Err(error) if is_not_listening(&error) => return true,
                    Ok(stream) => {
                        // The host process sends nothing on this connection; reading returns when it exits.
                        let (read, _write) = stream.into_halves();
                        let _ended = FrameReader::new(read, FIRST_FRAME_MAX).next().await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot connect to the host process");
                        return false;
                    }
                }
            }
        };
        let in_time = matches!(tokio::time::timeout(GONE_LIMIT, gone).await, Ok(true));
        if in_time && let Err(error) = private_file::discard(&self.socket) {
            tracing::warn!(%error, "cannot remove the socket of the host process");
        }
        let outcome = match in_time {
            true => ReceiptOutcome::Ended,
            false => ReceiptOutcome::Survived,
        };
        const NAME: &str = "host process";
        let what = match (self.process.take(), outcome) {
            (Some(process), _) => format!("{} ({NAME})", process.pid),
            (None, ReceiptOutcome::Survived) => NAME.to_owned(),
            (None, _) => return None,
        };
        Some(Receipt {
            kind: ReceiptKind::Process,
            what,
            outcome,
        })
    }
}

async fn kill(process: ProcessId) -> io::Result<()> {
    if let Some(mut watch) = ExitWatch::open(process)? {
        watch.signal(Signal::SIGKILL)?;
        watch.exited().await?;
    }
    Ok(())
}

/// Returns when the host process closes the connection. If nothing listens, waits for the process to end instead:
/// without its socket file, the host process may still run.
async fn closed(
    socket: &std::path::Path,
    order: &HostOrder,
    process: Option<ProcessId>,
) -> io::Result<()> {
    let stream = match Stream::connect(socket).await {
        Err(error) if is_not_listening(&error) => {
            let watch = process.map(ExitWatch::open).transpose()?.flatten();
            return match watch {
                Some(mut watch) => watch.exited().await,
                None => Ok(()),
            };
        }
        connected => connected?,
    };
    let Ok(mut reader) = send(stream, order).await else {
        // The connection was closed before the order was read: the member has ended.
        return Ok(());
    };
    let _closed = reader.next().await;
    Ok(())
}

async fn send(stream: Stream, order: &HostOrder) -> io::Result<FrameReader> {
    let (read, write) = stream.into_halves();
    let mut writer = FrameWriter::new(write);
    writer.queue(&format!("{}\n", serde_json::to_string(order)?));
    writer.flush().await?;
    Ok(FrameReader::new(read, FIRST_FRAME_MAX))
}

fn is_not_listening(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosted_member_of_unknown_state_is_not_reported_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("host");
            let listener = tokio::net::UnixListener::bind(&socket).unwrap();
            let host = HostProcess::new(socket, ReportSender::new(|_| {}));
            let (ended, mut end) = oneshot::channel();
            host.end(LaunchId::from_bits(1), None, ended);
            // The host process accepts the order and does not carry it out: the order is repeated.
            let mut connections = Vec::new();
            while connections.len() < 2 {
                tokio::select! {
                    accepted = listener.accept() => connections.push(accepted.unwrap()),
                    end = &mut end => panic!("reported {end:?} while the member may run"),
                }
            }
            drop(connections);
            end.await.unwrap();
        });
    }
}
