//! Identity of the tmux server behind a socket, and the life of agent-team's server. Used by [`super`].
//!
//! Agent-team's server starts with the first session of any team and exits with the last session. Teams share the
//! server, so a launcher holds [`OWN_SERVER`] while it creates a session, and while it closes all panes of its team.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome};
use agent_team_system::directories::Directories;
use agent_team_system::process::{ExitWatch, ProcessId, Signal};
use agent_team_system::{clock, private_file};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::call::LIMIT;

/// Interval between checks for a socket that the server was asked to bind again.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long the server may take to bind its socket again. A busy server needs milliseconds. `down --force` waits for
/// the server at most this long.
const BIND_LIMIT: Duration = Duration::from_secs(1);

/// Held while agent-team's server may be started, and while it ends and its socket is removed.
pub(super) static OWN_SERVER: Mutex<()> = Mutex::const_new(());

/// The configuration of agent-team's server, which does not use the user's configuration. Each session sets its own
/// status line.
///
/// `default-terminal`: if the name begins with "screen", tmux shows italics in reverse video. So `screen-256color`,
/// which every terminfo database contains, is only the fallback. `focus-events`: a pane that has the focus shows no
/// notification. `status-interval`: 0, because setting an option already redraws the status line.
const CONFIGURATION: &str = r##"# Written by agent-team for its own tmux server; changes are overwritten.
set -s escape-time 10
set -s set-clipboard off
set -s exit-empty on
set -sq extended-keys on
set -s focus-events on
set -g default-terminal screen-256color
if-shell 'infocmp tmux-256color >/dev/null 2>&1' 'set -g default-terminal tmux-256color'
set -g mouse on
set -g history-limit 5000
set -g destroy-unattached off
set -g status-interval 0
set -g status-left-length 60
set -g status-right-length 120
setw -g window-status-format "#{?#{==:#{session_windows},1},, #I #W }"
setw -g window-status-current-format "#{?#{==:#{session_windows},1},,#[bold] #I #W #[nobold]}"
setw -g window-status-separator ""
setw -g automatic-rename off
setw -g allow-rename off
setw -gq allow-passthrough off
"##;

/// The files of agent-team's server, shared by its teams.
#[derive(Debug, Clone)]
pub(super) struct OwnFiles {
    /// The configuration file, in the runtime directory.
    pub(super) configuration: PathBuf,
    /// The file that records the server's process. It is in the state directory, so that a supervisor that starts after
    /// the runtime directory was deleted still finds the server.
    process: PathBuf,
    directories: Directories,
}

/// The content of [`OwnFiles::process`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RecordedServer {
    boot: String,
    process: ProcessId,
    socket: PathBuf,
}

impl OwnFiles {
    pub(super) fn within(directories: &Directories) -> Self {
        Self {
            configuration: directories.run.join("tmux.conf"),
            process: directories.state.join("tmux.process"),
            directories: directories.clone(),
        }
    }

    /// Writes the configuration file. Its directory must exist.
    pub(super) fn write_configuration(&self) -> io::Result<()> {
        // Write the file only if its text differs: the write syncs to disk, which would delay each start of a team.
        match private_file::read(&self.configuration) {
            Ok(existing) if existing == CONFIGURATION.as_bytes() => Ok(()),
            Ok(_) | Err(_) => private_file::replace(&self.configuration, CONFIGURATION.as_bytes()),
        }
    }

    /// Records the server's process. Does not sync the file: a power cut ends the server as well.
    pub(super) fn record(&self, process: ProcessId, socket: &Path) {
        if self.recorded(socket) == Some(process) {
            return;
        }
        let written = clock::boot_id().and_then(|boot| {
            let socket = socket.to_owned();
            let bytes = serde_json::to_vec(&RecordedServer {
                boot,
                process,
                socket,
            })?;
            private_file::discard(&self.process)?;
            private_file::create(&self.process, &bytes)
        });
        if let Err(error) = written {
            tracing::warn!(%error, "cannot record the tmux server: it cannot be found again if its socket is deleted");
        }
    }

    /// The process last recorded for this socket, if it is alive.
    fn recorded(&self, socket: &Path) -> Option<ProcessId> {
        let bytes = private_file::read(&self.process).ok()?;
        let recorded: RecordedServer = serde_json::from_slice(&bytes).ok()?;
        let is_here = recorded.socket == socket
            && clock::boot_id().is_ok_and(|boot| boot == recorded.boot)
            && recorded.process.is_alive().unwrap_or(false);
        is_here.then_some(recorded.process)
    }

    /// Makes the server bind its deleted socket again, with SIGUSR1. Starting a second server instead would leave the
    /// first one, and its panes, unreachable.
    pub(super) async fn bind_again(&self, socket: &Path) {
        let Some(process) = self.recorded(socket) else {
            return;
        };
        // The server does not create the socket's directory, and does not retry a failed bind.
        if let Err(error) = self.directories.prepare() {
            tracing::warn!(%error, "cannot create the directory of tmux's socket");
            return;
        }
        if !matches!(process.signal(Signal::SIGUSR1), Ok(true)) {
            return;
        }
        // The server does not report that it has bound the socket.
        let mut polls = tokio::time::interval(POLL_INTERVAL);
        let bound = async {
            while !socket.exists() && process.is_alive().unwrap_or(false) {
                polls.tick().await;
            }
        };
        if tokio::time::timeout(BIND_LIMIT, bound).await.is_err() {
            tracing::warn!(
                pid = process.pid,
                "tmux did not bind its deleted socket again"
            );
        }
    }

    fn discard(&self) -> io::Result<()> {
        private_file::discard(&self.configuration)?;
        private_file::discard(&self.process)?;
        Ok(())
    }
}

/// One tmux server at its socket. The next server assigns the same pane ids to other panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) process: ProcessId,
    /// Device and inode: after the socket was deleted, another server can bind the same path while this server runs.
    socket: (u64, u64),
}

impl Server {
    /// `None` if the process has ended or the socket does not exist.
    pub(super) fn of(pid: u32, socket: &Path) -> Option<Self> {
        let process = ProcessId::of(pid).ok().flatten()?;
        Some(Self {
            process,
            socket: identity(socket)?,
        })
    }

    /// Whether a call to the socket still reaches this server.
    pub(super) fn serves(&self, socket: &Path) -> bool {
        identity(socket) == Some(self.socket) && self.process.is_alive().unwrap_or(false)
    }
}

fn identity(socket: &Path) -> Option<(u64, u64)> {
    let file = socket.metadata().ok()?;
    Some((file.dev(), file.ino()))
}

/// Waits for the end of agent-team's server after its last session was closed. Removes the server's files and its
/// socket, which tmux leaves behind. The caller must hold [`OWN_SERVER`]: another team could otherwise start a server
/// in between and lose its socket. `None` if there was nothing to remove.
pub(super) async fn clean_up_server(
    server: Option<Server>,
    socket: &Path,
    own: &OwnFiles,
) -> Option<Receipt> {
    let receipt = |outcome| Receipt {
        kind: ReceiptKind::Socket,
        what: socket.display().to_string(),
        outcome,
    };
    if let Some(server) = server {
        let ended = match ExitWatch::open(server.process) {
            Ok(Some(mut watch)) => watch.exited_within(LIMIT).await,
            Ok(None) => Ok(true),
            Err(error) => Err(error),
        };
        if !matches!(ended, Ok(true)) {
            return Some(receipt(ReceiptOutcome::Survived));
        }
    }
    if let Err(error) = own.discard() {
        tracing::warn!(%error, "cannot remove a file of the tmux server");
    }
    match private_file::discard(socket) {
        Ok(removed) => (removed || server.is_some()).then(|| receipt(ReceiptOutcome::Removed)),
        Err(_) => Some(receipt(ReceiptOutcome::Survived)),
    }
}

/// The content of `$TMUX`: `socket,pid,session`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TmuxVariable {
    pub(super) socket: PathBuf,
    /// The server's pid.
    pub(super) pid: u32,
    /// The session in which the pane was created; the pane can have been moved since.
    pub(super) session: String,
}

impl TmuxVariable {
    /// `None` if the value does not have tmux's format.
    pub(super) fn parse(tmux: &str) -> Option<Self> {
        // Split from the right: a path can contain commas.
        let mut fields = tmux.rsplitn(3, ',');
        let session = fields.next()?.parse::<u32>().ok()?;
        let pid = fields.next()?.parse().ok()?;
        let socket = PathBuf::from(fields.next()?);
        socket.is_absolute().then(|| Self {
            socket,
            pid,
            session: format!("${session}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tmux_variable_parses_with_commas_in_its_path() {
        let inside = TmuxVariable::parse("/tmp/a,b/default,4711,3").unwrap();
        assert_eq!(inside.socket, PathBuf::from("/tmp/a,b/default"));
        assert_eq!((inside.pid, inside.session.as_str()), (4711, "$3"));
        for bad in [
            "",
            "/tmp/x",
            "/tmp/x,1",
            "relative,1,2",
            "/tmp/x,1,$2",
            ",1,2",
        ] {
            assert_eq!(TmuxVariable::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_new_server_at_the_same_socket_is_detected() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let server = Server::of(std::process::id(), &socket).unwrap();
        assert!(server.serves(&socket));

        std::fs::remove_file(&socket).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(!server.serves(&socket));
    }
}
