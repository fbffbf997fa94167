//! A real tmux server on a private socket, for tests. Dropping [`Server`] kills the tmux server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The tmux binary for a test. `None` only if `AGENT_TEAM_TEST_NO_TMUX` is set: the test is then skipped.
pub(crate) fn tmux_or_skip() -> Option<PathBuf> {
    if std::env::var_os("AGENT_TEAM_TEST_NO_TMUX").is_some() {
        println!("SKIPPED: AGENT_TEAM_TEST_NO_TMUX is set");
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("tmux"))
        .find(|tmux| tmux.is_file());
    Some(found.expect("tmux is in PATH, or AGENT_TEAM_TEST_NO_TMUX is set"))
}

pub(crate) struct Server {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) binary: PathBuf,
    socket: PathBuf,
}

impl Server {
    /// A socket for a server that is not running yet.
    pub(crate) fn not_started(binary: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("tmux.sock");
        Self {
            directory,
            binary,
            socket,
        }
    }

    /// A user's server: session `$0` with one pane, `%0`.
    pub(crate) fn start(binary: PathBuf) -> Self {
        let server = Self::not_started(binary);
        server.tmux(&[
            "new-session",
            "-d",
            "-s",
            "theirs",
            // Without a name, tmux names the window after its process, which for a moment is tmux itself.
            "-n",
            "window",
            "-x",
            "200",
            "-y",
            "50",
            "--",
            "sleep",
            "600",
        ]);
        server
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A PATH that contains this tmux.
    pub(crate) fn path(&self) -> String {
        self.binary.parent().unwrap().display().to_string()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.tmux(&["display-message", "-p", "#{pid}"])
            .parse()
            .unwrap()
    }

    /// The output of a successful command.
    pub(crate) fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end_matches('\n')
            .to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("-S")
            .arg(&self.socket)
            .args(["-f", "/dev/null"])
            .args(arguments);
        command
            .env_remove("TMUX")
            .env_remove("TMUX_PANE")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Each pane in the given format.
    pub(crate) fn panes(&self, format: &str) -> Vec<String> {
        self.tmux(&["list-panes", "-a", "-F", format])
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended or never started.
        let _ended = self
            .command(&["kill-server"])
            .stderr(Stdio::null())
            .status();
    }
}
