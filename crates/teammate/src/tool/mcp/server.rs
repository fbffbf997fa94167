//! One MCP server: started or called over HTTP, introduced to, and asked. Called by the tools that it offers.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use agent_team_protocol::spec::{McpServer, McpTransport};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::with_causes;
use reqwest::redirect::Policy;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, Implementation,
    PaginatedRequestParams, Tool as ForeignTool,
};
use rmcp::service::{
    ClientInitializeError, Peer, RoleClient, RunningService, ServiceError, ServiceExt,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::Bench;
use super::super::program::Program;
use crate::engine::output::Tail;
use crate::vt::Plain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of what a server printed last that are told when it fails.
const TAIL_BYTES: usize = 1 << 10;

/// Characters of what a server printed that are told.
const SHOWN: usize = 200;

/// Pages of a list of tools.
const PAGES_MAX: usize = 50;

/// How long an end of the program is waited for when it closes its stdout, for the sake of saying so.
const END_LIMIT: Duration = Duration::from_millis(500);

/// A server that has introduced itself. Dropping it ends its program.
pub(super) struct Server {
    pub(super) name: String,
    running: RunningService<RoleClient, ClientConfig>,
    program: Option<Watched>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A server that nobody has spoken to yet. Dropping it ends its program.
pub(super) struct Starting {
    name: String,
    serving: Serving,
    program: Option<Watched>,
}

type Serving = Pin<
    Box<
        dyn Future<Output = Result<RunningService<RoleClient, ClientConfig>, ClientInitializeError>>
            + Send,
    >,
>;

impl Server {
    /// Must be called within a tokio runtime.
    pub(super) fn start(server: &McpServer, bench: &Bench) -> Result<Starting, String> {
        let implementation = Implementation::new("agent-team", env!("CARGO_PKG_VERSION"));
        let us = ClientConfig::new(ClientCapabilities::default(), implementation);
        let (serving, program): (Serving, _) = match &server.via {
            McpTransport::Program { command, args, env } => {
                let mut environment = bench.env.clone();
                environment
                    .retain(|(name, _)| name.to_str().is_none_or(|name| !env.contains_key(name)));
                environment.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
                let args = args.iter().map(Into::into).collect();
                let cwd = bench.project.clone();
                let (program, said_to, said) =
                    Program::start_talking(command.into(), args, environment, cwd)
                        .map_err(|error| format!("{command} did not start: {error}"))?;
                let (watched, messages) = Watched::start(program, said);
                let serving = async move { us.serve((messages, said_to)).await };
                (Box::pin(serving), Some(watched))
            }
            McpTransport::Http { url } => {
                let config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                let transport = StreamableHttpClientTransport::with_client(client()?, config);
                (Box::pin(async move { us.serve(transport).await }), None)
            }
        };
        Ok(Starting {
            name: server.name.clone(),
            serving,
            program,
        })
    }

    /// # Errors
    /// Why there is no answer.
    pub(super) async fn call(
        &self,
        params: CallToolRequestParams,
    ) -> Result<CallToolResponse, String> {
        match self.running.peer().call_tool_once(params).await {
            Ok(response) => Ok(response),
            Err(ServiceError::McpError(refusal)) => Err(format!(
                "the MCP server {} refused: {}",
                self.name, refusal.message
            )),
            Err(error) => {
                let why = explained(with_causes(&error), self.program.as_ref()).await;
                Err(format!(
                    "the MCP server {} did not answer: {why}",
                    self.name
                ))
            }
        }
    }

    /// The first line of what it printed on stdout that is no message.
    pub(super) fn stray(&self) -> Option<String> {
        self.program.as_ref()?.stray()
    }
}

impl Starting {
    /// Introduces us, and asks what there is.
    pub(super) async fn offered(
        self,
        limit: Duration,
    ) -> Result<(Server, Vec<ForeignTool>), String> {
        let Self {
            name,
            serving,
            program,
        } = self;
        let introduced = async {
            let running = serving.await.map_err(|error| unserved(&error))?;
            let tools = tools_of(running.peer()).await?;
            Ok((running, tools))
        };
        let outcome = match tokio::time::timeout(limit, introduced).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!(
                "it did not say what it offers within {} s",
                limit.as_secs()
            )),
        };
        match outcome {
            Ok((running, tools)) => {
                let server = Server {
                    name,
                    running,
                    program,
                };
                Ok((server, tools))
            }
            Err(why) => Err(explained(why, program.as_ref()).await),
        }
    }
}

/// Why there was no introduction; what the SDK calls its transport is nothing to a reader.
fn unserved(error: &ClientInitializeError) -> String {
    if let ClientInitializeError::TransportError { error, context } = error {
        return format!("{} ({context})", with_causes(&*error.error));
    }
    with_causes(error)
}

async fn tools_of(peer: &Peer<RoleClient>) -> Result<Vec<ForeignTool>, String> {
    let (mut tools, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let mut page = PaginatedRequestParams::default();
        page.cursor = cursor;
        let page = peer.list_tools(Some(page)).await;
        let page =
            page.map_err(|error| format!("it does not list its tools: {}", with_causes(&error)))?;
        tools.extend(page.tools);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(tools);
        }
    }
    Err(format!("its list of tools has more than {PAGES_MAX} pages"))
}

fn client() -> Result<reqwest::Client, String> {
    // Whoever was first has set the same one.
    let _already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("agent-team/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        // A connection that is used again after a body that was not read stalls for a moment.
        .pool_max_idle_per_host(0)
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| with_causes(&error))
}

/// Why it failed, from what is known of its program where there is one.
async fn explained(why: String, program: Option<&Watched>) -> String {
    let Some(program) = program else {
        return why;
    };
    let mut ended = program.ended.clone();
    // One that goes on is no reason to wait longer.
    let _waited = tokio::time::timeout(END_LIMIT, ended.wait_for(Option::is_some)).await;
    let mut why = match &*program.ended.borrow() {
        Some(how) => format!("it has ended ({how})"),
        None => why,
    };
    let printed = lock(&program.printed).text();
    if !printed.is_empty() {
        why.push_str(&format!("; it said: {}", visible_label(&printed, SHOWN)));
    }
    if let Some(stray) = program.stray() {
        why.push_str(&format!(
            "; it prints what is no message on stdout: {stray}"
        ));
    }
    why
}

/// A server's program and what it says besides messages. Dropping it ends the program, with all that it started.
struct Watched {
    /// The end of its stderr.
    printed: Arc<Mutex<Tail>>,
    stray: Arc<Mutex<Stray>>,
    /// How it ended, once it has.
    ended: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl Watched {
    fn start(mut program: Program, said: pipe::Receiver) -> (Self, Messages) {
        let printed = Arc::new(Mutex::new(Tail::new(TAIL_BYTES)));
        let stray = Arc::new(Mutex::new(Stray::default()));
        let (tell, ended) = watch::channel(None);
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
                Err(error) => format!("it was lost: {error}"),
            };
            tell.send_replace(Some(ended));
        });
        let messages = Messages {
            said,
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

    fn stray(&self) -> Option<String> {
        let stray = lock(&self.stray);
        let text = String::from_utf8_lossy(&stray.line);
        (!stray.line.is_empty()).then(|| visible_label(&text, SHOWN).to_string())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A program's stdout on its way to who reads the messages, with an eye on what is none.
struct Messages {
    said: pipe::Receiver,
    stray: Arc<Mutex<Stray>>,
}

impl AsyncRead for Messages {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.said).poll_read(context, buffer))?;
        lock(&self.stray).look(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

/// The first line that does not begin as a message does.
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
    /// One is enough.
    Done,
}

impl Stray {
    fn look(&mut self, bytes: &[u8]) {
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
    fn the_first_line_that_is_no_message_is_kept_however_it_is_cut() {
        let said = "{\"jsonrpc\": 1}\n\n  Listening on stdio\n{}\nmore\n";
        for piece in 1..said.len() {
            let mut stray = Stray::default();
            for piece in said.as_bytes().chunks(piece) {
                stray.look(piece);
            }
            assert_eq!(stray.line, b"Listening on stdio");
        }
    }
}
