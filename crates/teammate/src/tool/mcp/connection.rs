//! One connection to an MCP server: its program started or its URL called, introduced to, and asked. Called by `server`,
//! which makes another one when this is gone.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use agent_team_protocol::spec::{McpServer, McpTransport};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::with_causes;
use agent_team_system::trusted;
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

use super::super::program::Program;
use super::super::{Bench, variable};
use super::headers;
use crate::engine::output::Tail;
use crate::http;
use crate::vt::Plain;

/// Until a server has said what it offers. One that is downloaded first takes its time.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Bytes of what a server printed last that are told when it fails.
const TAIL_BYTES: usize = 1 << 10;

/// Characters of what a server printed that are told.
const SHOWN: usize = 200;

/// Pages of a list of tools.
const PAGES_MAX: usize = 50;

/// How long an end of the program is waited for when it closes its stdout, for the sake of saying so.
const END_LIMIT: Duration = Duration::from_millis(500);

/// How one is reached: all that another connection needs.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) server: McpServer,
    project: PathBuf,
    env: Vec<(OsString, OsString)>,
}

/// A server that has introduced itself. Dropping it ends its program.
pub(super) struct Connection {
    running: RunningService<RoleClient, ClientConfig>,
    program: Option<Watched>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

type Serving = Pin<
    Box<
        dyn Future<Output = Result<RunningService<RoleClient, ClientConfig>, ClientInitializeError>>
            + Send,
    >,
>;

impl Origin {
    pub(super) fn new(server: &McpServer, bench: &Bench) -> Self {
        Self {
            server: server.clone(),
            project: bench.project.clone(),
            env: bench.env.clone(),
        }
    }

    /// Starts a program, or prepares to call a URL; nobody is spoken to yet.
    fn start(&self) -> Result<(Serving, Option<Watched>), String> {
        let implementation = Implementation::new("agent-team", env!("CARGO_PKG_VERSION"));
        let us = ClientConfig::new(ClientCapabilities::default(), implementation);
        match &self.server.via {
            McpTransport::Program { command, args, env } => {
                trusted::check(&self.server.files).map_err(|changed| changed.to_string())?;
                let mut environment = self.env.clone();
                environment
                    .retain(|(name, _)| name.to_str().is_none_or(|name| !env.contains_key(name)));
                environment.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
                let args = args.iter().map(Into::into).collect();
                let (program, said_to, said) =
                    Program::start_talking(command.into(), args, environment, self.project.clone())
                        .map_err(|error| format!("{command} did not start: {error}"))?;
                let (watched, messages) = Watched::start(program, said);
                let serving = async move { us.serve((messages, said_to)).await };
                Ok((Box::pin(serving), Some(watched)))
            }
            McpTransport::Http { url, headers } => {
                let variable = |name: &str| variable(&self.env, name);
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                config.custom_headers = headers::filled(headers, variable)?;
                let transport =
                    StreamableHttpClientTransport::with_client(client(variable)?, config);
                let serving = async move { us.serve(transport).await };
                Ok((Box::pin(serving), None))
            }
        }
    }
}

impl Connection {
    /// Connects, introduces us, and asks what there is. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) async fn to(origin: &Origin) -> Result<(Self, Vec<ForeignTool>), String> {
        let (serving, program) = origin.start()?;
        let introduced = async {
            let running = serving.await.map_err(|error| unserved(&error))?;
            let tools = tools_of(running.peer()).await?;
            Ok((running, tools))
        };
        let outcome = match tokio::time::timeout(START_LIMIT, introduced).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!(
                "it did not say what it offers within {} s",
                START_LIMIT.as_secs()
            )),
        };
        match outcome {
            Ok((running, tools)) => Ok((Self { running, program }, tools)),
            Err(why) => Err(explained(why, program.as_ref()).await),
        }
    }

    /// Nobody is there any more.
    pub(super) fn is_gone(&self) -> bool {
        let ended = |program: &Watched| program.ended.borrow().is_some();
        self.running.is_closed()
            || self.running.is_transport_closed()
            || self.program.as_ref().is_some_and(ended)
    }

    /// # Errors
    /// Why there is no answer, after the server's name.
    pub(super) async fn call(
        &self,
        params: CallToolRequestParams,
    ) -> Result<CallToolResponse, String> {
        match self.running.peer().call_tool_once(params).await {
            Ok(response) => Ok(response),
            Err(ServiceError::McpError(refusal)) => Err(format!("refused: {}", refusal.message)),
            Err(error) => {
                let why = explained(with_causes(&error), self.program.as_ref()).await;
                Err(format!("did not answer: {why}"))
            }
        }
    }

    /// The first line of what it printed on stdout that is no message.
    pub(super) fn stray(&self) -> Option<String> {
        self.program.as_ref()?.stray()
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

fn client<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<reqwest::Client, String> {
    let proxies = http::proxies(variable).map_err(|error| error.to_string())?;
    proxies
        .into_iter()
        .fold(http::client(), |builder, proxy| builder.proxy(proxy))
        // A connection that is used again after a body that was not read stalls for a moment.
        .pool_max_idle_per_host(0)
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
