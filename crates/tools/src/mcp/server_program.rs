//! The program of an MCP server: its start, its stdout and stderr, and its exit. Called by `connection` for a member's own
//! server, and by `host` for a shared server.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use agent_team_protocol::spec::{McpServer, McpTransport};
use agent_team_protocol::text::visible_label;
use agent_team_system::trusted;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::program::Program;
use crate::tail::Tail;
use crate::vt::Plain;

/// The number of bytes of a server's last output that are kept for an error.
const TAIL_BYTES: usize = 1 << 10;

/// The number of characters of a server's output in an error.
const SHOWN: usize = 200;

/// After a failed handshake or call, the time to wait for the program's exit, so that the error can contain its exit
/// status.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Adds the program's last output to an error. If the program has exited, replaces the error by its exit status.
pub(super) async fn explained(why: String, program: Option<&ServerProgram>) -> String {
    let Some(program) = program else {
        return why;
    };
    let mut ended = program.ended.clone();
    // Wait only briefly: the program may still be running.
    let _waited = tokio::time::timeout(END_LIMIT, ended.wait_for(Option::is_some)).await;
    let mut why = match &*program.ended.borrow() {
        Some(how) => format!("the program exited ({how})"),
        None => why,
    };
    let printed = lock(&program.printed).text();
    if !printed.is_empty() {
        why.push_str(&format!(
            "; its last output: {}",
            visible_label(&printed, SHOWN)
        ));
    }
    if let Some(stray) = program.stray() {
        why.push_str(&format!(
            "; it wrote a line that is not JSON-RPC to stdout: {stray}"
        ));
    }
    why
}

/// A server's program and its output other than messages. Dropping this value terminates the program and all processes
/// that it started.
pub(super) struct ServerProgram {
    /// The tail of the program's stderr.
    printed: Arc<Mutex<Tail>>,
    stray: Arc<Mutex<Stray>>,
    /// The exit status, once the program has exited.
    ended: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl ServerProgram {
    /// Starts a server's program in the project. Returns it with its stdout and stdin. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// If the program has changed since the user trusted it, or cannot be started.
    pub(super) fn launch(
        server: &McpServer,
        environment: &[(OsString, OsString)],
        project: &Path,
    ) -> Result<(Self, Messages, pipe::Sender), String> {
        let McpTransport::Program { command, args, env } = &server.via else {
            return Err("it has no program".to_owned());
        };
        trusted::check(&server.files).map_err(|changed| changed.to_string())?;
        let mut environment = environment.to_vec();
        environment.retain(|(name, _)| name.to_str().is_none_or(|name| !env.contains_key(name)));
        environment.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
        let args = args.iter().map(Into::into).collect();
        let (program, stdin, stdout) =
            Program::start_with_stdio(command.into(), args, environment, project.to_owned())
                .map_err(|error| format!("cannot start {command}: {error}"))?;
        let (program, messages) = Self::start(program, stdout);
        Ok((program, messages, stdin))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    fn start(mut program: Program, stdout: pipe::Receiver) -> (Self, Messages) {
        let printed = Arc::new(Mutex::new(Tail::new(TAIL_BYTES)));
        let stray = Arc::new(Mutex::new(Stray::default()));
        let (sender, ended) = watch::channel(None);
        let tail = Arc::clone(&printed);
        let task = tokio::spawn(async move {
            let mut plain = Plain::default();
            let finished = program.finish(None, std::future::pending(), |bytes| {
                let mut text = String::new();
                plain.feed(bytes, &mut text);
                lock(&tail).push(&text);
            });
            let ended = match finished.await {
                Ok(ended) => ended.to_string(),
                Err(error) => format!("cannot wait for the server: {error}"),
            };
            sender.send_replace(Some(ended));
        });
        let messages = Messages {
            stdout,
            stray: Arc::clone(&stray),
        };
        let watched = Self {
            printed,
            stray,
            ended,
            task,
        };
        (watched, messages)
    }

    /// The first line on stdout that is not JSON-RPC. An incomplete line is cut.
    pub(super) fn stray(&self) -> Option<String> {
        let stray = lock(&self.stray);
        let text = String::from_utf8_lossy(&stray.line);
        (!stray.line.is_empty()).then(|| visible_label(&text, SHOWN).to_string())
    }
}

impl Drop for ServerProgram {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A program's stdout, with a check for lines that are not messages.
pub(super) struct Messages {
    stdout: pipe::Receiver,
    stray: Arc<Mutex<Stray>>,
}

impl AsyncRead for Messages {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stdout).poll_read(context, buffer))?;
        lock(&self.stray).scan(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

/// Finds the first line that does not begin like a message.
#[derive(Debug, Default)]
struct Stray {
    line: Vec<u8>,
    at: At,
}

#[derive(Debug, Default, Clone, Copy)]
enum At {
    #[default]
    Beginning,
    Message,
    Stray,
    /// A stray line was found. Later stray lines are not reported.
    Done,
}

impl Stray {
    fn scan(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.at = match (self.at, byte) {
                (At::Done, _) => return,
                (At::Stray, b'\n') => At::Done,
                (_, b'\n') | (At::Beginning, b' ' | b'\t' | b'\r') => At::Beginning,
                (At::Message, _) | (At::Beginning, b'{') => At::Message,
                (At::Beginning | At::Stray, byte) => {
                    if self.line.len() < 4 * SHOWN {
                        self.line.push(byte);
                    }
                    At::Stray
                }
            };
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stray_line_is_found_across_reads() {
        let stdout = "{\"jsonrpc\": 1}\n\n  Listening on stdio\n{}\nmore\n";
        for piece in 1..stdout.len() {
            let mut stray = Stray::default();
            for piece in stdout.as_bytes().chunks(piece) {
                stray.scan(piece);
            }
            assert_eq!(stray.line, b"Listening on stdio");
        }
    }
}
