//! A member's connection to a server that the team shares, through the process of `host`. Called by `connection`.
//!
//! The member sends a [`Hello`], and the host answers with a [`Welcome`]; each is a line of JSON. After that, both
//! sides send the messages of MCP. The member applies permissions, limits and the rules for untrusted text, as it does
//! for its own servers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::spec::McpServer;
use agent_team_system::socket::{ReadHalf, Stream, WriteHalf};
use rmcp::model::ErrorCode;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::Instant;

/// The error code with which the host answers requests whose server has exited. The message contains the reason.
pub(super) const SERVER_GONE: ErrorCode = ErrorCode(-32099);

/// The notification with which the host reports the first line on the server's stdout that is not JSON-RPC.
pub(super) const STRAY: &str = "notifications/agent-team/stray";

/// The time limit for a connection to the supervisor's socket for the host, after the supervisor was killed.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// The largest answer of the host, in bytes.
const ANSWER_MAX: u64 = 64 << 10;

/// Variables that differ between members, terminals or logins. A shared server does not receive them: otherwise members
/// that are started after an `up` in another terminal could not share the server.
const NOT_SHARED: [&str; 7] = [
    "TERM",
    "COLORTERM",
    "XDG_SESSION_ID",
    "XDG_SEAT",
    "XDG_VTNR",
    "AGENT_TEAM_MEMBER",
    LAUNCH_MARKER,
];

/// The server to which a member connects, with all data on which the server's process depends. Contains secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) server: McpServer,
    /// The working directory of the server.
    pub(super) project: PathBuf,
    /// The root that the member declares to the server.
    pub(super) root: PathBuf,
    /// The environment of the server, without the variables in the server's own table.
    pub(super) env: BTreeMap<String, String>,
}

/// The host's answer to a [`Hello`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// The reason why the server cannot be used.
    pub(super) failed: Option<String>,
}

impl Hello {
    pub(super) fn new(
        server: &McpServer,
        project: &Path,
        root: &Path,
        env: &[(OsString, OsString)],
    ) -> Self {
        let text = |(name, value): &(OsString, OsString)| {
            Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
        };
        let env = env.iter().filter_map(text);
        Self {
            server: server.clone(),
            project: project.to_owned(),
            root: root.to_owned(),
            env: env
                .filter(|(name, _)| !NOT_SHARED.contains(&name.as_str()))
                .collect(),
        }
    }

    /// The reason why these two members cannot use the same process. `None`: they can use it.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.server.via != other.server.via || self.server.files != other.server.files {
            return Some("command".to_owned());
        }
        if (&self.project, &self.root) != (&other.project, &other.root) {
            return Some("working directory".to_owned());
        }
        let names = self.env.keys().chain(other.env.keys());
        let mut differing = names.filter(|name| self.env.get(*name) != other.env.get(*name));
        differing.next().map(|name| format!("value of {name}"))
    }

    /// Connects to the host at this socket, and through it to the server.
    ///
    /// # Errors
    /// If the host cannot be reached, or cannot start the server.
    pub(super) async fn connect(
        &self,
        host: &Path,
    ) -> Result<(BufReader<ReadHalf>, WriteHalf), String> {
        let connected = async {
            let (read, mut write) = connect(host).await?.into_halves();
            let hello = format!("{}\n", serde_json::to_string(self)?);
            write.write_all(hello.as_bytes()).await?;
            let mut read = BufReader::new(read);
            let mut answer = String::new();
            (&mut read).take(ANSWER_MAX).read_line(&mut answer).await?;
            if answer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok((serde_json::from_str(&answer)?, read, write))
        };
        let connected: io::Result<(Welcome, _, _)> = connected.await;
        let (welcome, read, write) = connected
            .map_err(|error| format!("cannot connect to the host of shared servers: {error}"))?;
        match welcome.failed {
            Some(why) => Err(why),
            None => Ok((read, write)),
        }
    }
}

/// Connects as soon as a supervisor listens. If no host runs, the connection waits in the socket's queue until the
/// supervisor has started a host.
async fn connect(host: &Path) -> io::Result<Stream> {
    let deadline = Instant::now() + LISTEN_LIMIT;
    loop {
        match Stream::connect(host).await {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) && Instant::now() < deadline => {}
            connected => return connected,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::spec::McpTransport;

    use super::*;

    fn hello(env: &[(&str, &str)]) -> Hello {
        let server = McpServer {
            name: "db".to_owned(),
            via: McpTransport::Program {
                command: "db".to_owned(),
                args: Vec::new(),
                env: BTreeMap::new(),
            },
            timeout_s: None,
            search: None,
            shared: true,
            files: Vec::new(),
        };
        let env = env.iter().map(|(name, value)| (name.into(), value.into()));
        let env: Vec<(OsString, OsString)> = env.collect();
        Hello::new(&server, Path::new("/p"), Path::new("/p"), &env)
    }

    #[test]
    fn members_of_different_terminals_can_share() {
        let ada = hello(&[("HOME", "/h"), ("COLORTERM", "truecolor")]);
        let ben = hello(&[("HOME", "/h"), ("XDG_SESSION_ID", "7")]);
        let cleo = hello(&[("HOME", "/other")]);
        assert_eq!(ada.difference(&ben), None);
        assert_eq!(ada.difference(&cleo).as_deref(), Some("value of HOME"));
    }
}
