//! One connection to an MCP server: starting its program or calling its URL, the handshake, and calls. Called by
//! `server`, which reconnects when the connection is gone.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use agent_team_llm::http_client;
use agent_team_protocol::spec::{McpServer, McpTransport};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::with_causes;
use agent_team_system::trusted;
use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, GetPromptResult, PaginatedRequestParams, Prompt,
    ReadResourceRequestParams, ReadResourceResult, Resource, ResourceTemplate, ServerCapabilities,
    Tool as ForeignTool,
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

use super::calling::{self, CallError, Called, Caller};
use super::headers;
use super::server_events::{Handler, ServerEvents};
use crate::context::{ToolContext, variable};
use crate::program::Program;
use crate::tail::Tail;
use crate::vt::Plain;

/// The time limit of the start, the handshake and the list of tools. Some commands download their server first.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The number of bytes of a server's last output that are kept for an error.
const TAIL_BYTES: usize = 1 << 10;

/// The number of characters of a server's output in an error.
const SHOWN: usize = 200;

/// The largest number of pages of a tool list.
const PAGES_MAX: usize = 50;

/// After a failed handshake or call, the time to wait for the program's exit, so that the error can contain its exit
/// status.
const END_LIMIT: Duration = Duration::from_millis(500);

/// The parameters of a connection; reconnects use them again.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) server: McpServer,
    project: PathBuf,
    /// The member's working directory, which is declared as the root.
    pub(super) root: PathBuf,
    env: Vec<(OsString, OsString)>,
}

/// An initialized connection. Dropping it terminates the server's program.
pub(super) struct Connection {
    running: RunningService<RoleClient, Handler>,
    program: Option<ServerProgram>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

type Handshake = Pin<
    Box<
        dyn Future<Output = Result<RunningService<RoleClient, Handler>, ClientInitializeError>>
            + Send,
    >,
>;

impl Endpoint {
    pub(super) fn new(server: &McpServer, context: &ToolContext) -> Self {
        Self {
            server: server.clone(),
            project: context.project.clone(),
            root: context.cwd.clone(),
            env: context.env.clone(),
        }
    }

    /// Starts the program, or prepares to call the URL, without sending anything yet.
    fn start(
        &self,
        events: &Arc<ServerEvents>,
    ) -> Result<(Handshake, Option<ServerProgram>), String> {
        let handler = Handler(Arc::clone(events));
        match &self.server.via {
            McpTransport::Program { command, args, env } => {
                trusted::check(&self.server.files).map_err(|changed| changed.to_string())?;
                let mut environment = self.env.clone();
                environment
                    .retain(|(name, _)| name.to_str().is_none_or(|name| !env.contains_key(name)));
                environment.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
                let args = args.iter().map(Into::into).collect();
                let (program, stdin, stdout) = Program::start_with_stdio(
                    command.into(),
                    args,
                    environment,
                    self.project.clone(),
                )
                .map_err(|error| format!("cannot start {command}: {error}"))?;
                let (watched, messages) = ServerProgram::start(program, stdout);
                let handshake = async move { handler.serve((messages, stdin)).await };
                Ok((Box::pin(handshake), Some(watched)))
            }
            McpTransport::Http { url, headers } => {
                let variable = |name: &str| variable(&self.env, name);
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                config.custom_headers = headers::expanded(headers, variable)?;
                let transport =
                    StreamableHttpClientTransport::with_client(client(variable)?, config);
                let handshake = async move { handler.serve(transport).await };
                Ok((Box::pin(handshake), None))
            }
        }
    }
}

impl Connection {
    /// Connects, initializes, and lists the tools. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the connection fails, with the reason.
    pub(super) async fn to(
        endpoint: &Endpoint,
        events: &Arc<ServerEvents>,
    ) -> Result<(Self, Vec<ForeignTool>), String> {
        let (handshake, program) = endpoint.start(events)?;
        let introduced = async {
            let running = handshake.await.map_err(|error| handshake_error(&error))?;
            let tools = tools_of(running.peer()).await?;
            Ok((running, tools))
        };
        let outcome = match tokio::time::timeout(START_LIMIT, introduced).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!(
                "no list of tools within {} s",
                START_LIMIT.as_secs()
            )),
        };
        match outcome {
            Ok((running, tools)) => Ok((Self { running, program }, tools)),
            Err(why) => Err(explained(why, program.as_ref()).await),
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        let ended = |program: &ServerProgram| program.ended.borrow().is_some();
        self.running.is_closed()
            || self.running.is_transport_closed()
            || self.program.as_ref().is_some_and(ended)
    }

    /// The text with which the server describes its use.
    pub(super) fn instructions(&self) -> Option<String> {
        self.running.peer().peer_info()?.instructions.clone()
    }

    pub(super) fn capabilities(&self) -> ServerCapabilities {
        let info = self.running.peer().peer_info();
        info.map(|info| info.capabilities.clone())
            .unwrap_or_default()
    }

    /// Calls a tool of the server.
    ///
    /// # Errors
    /// If the server refuses the call or does not respond. The text continues a sentence that begins with the server's
    /// name.
    pub(super) async fn call(
        &self,
        events: &Arc<ServerEvents>,
        params: CallToolRequestParams,
        caller: Caller<'_>,
    ) -> Result<Called, String> {
        match calling::call(self.running.peer(), events, params, caller).await {
            Ok(called) => Ok(called),
            Err(CallError::Service(error)) => Err(self.failed("the call", error).await),
            Err(CallError::TimedOut(after)) => Err(format!(
                "did not respond within {} s; it is unknown whether the call took effect",
                after.as_secs()
            )),
        }
    }

    /// Reads the list of tools again.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub(super) async fn tools(&self) -> Result<Vec<ForeignTool>, String> {
        tools_of(self.running.peer()).await
    }

    /// # Errors
    /// As [`Connection::call`].
    pub(super) async fn prompts(&self) -> Result<Vec<Prompt>, String> {
        let listed = self.running.peer().list_prompts(None).await;
        listed
            .map(|page| page.prompts)
            .map_err(|error| format!("cannot list its prompts: {}", with_causes(&error)))
    }

    /// # Errors
    /// As [`Connection::call`].
    pub(super) async fn prompt(
        &self,
        params: GetPromptRequestParams,
    ) -> Result<GetPromptResult, String> {
        match self.running.get_prompt(params).await {
            Ok(prompt) => Ok(prompt),
            Err(error) => Err(self.failed("the prompt", error).await),
        }
    }

    /// The page of resources at `cursor`. The first page, without `cursor`, includes templates for the addresses of
    /// resources.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub(super) async fn resources(
        &self,
        cursor: Option<String>,
    ) -> Result<(Vec<Resource>, Vec<ResourceTemplate>, Option<String>), String> {
        let peer = self.running.peer();
        let mut page = PaginatedRequestParams::default();
        let is_first = cursor.is_none();
        page.cursor = cursor;
        let listed = match peer.list_resources(Some(page)).await {
            Ok(listed) => listed,
            Err(error) => return Err(self.failed("the list of resources", error).await),
        };
        // Servers without templates may not know the method.
        let templates = match is_first {
            true => peer.list_resource_templates(None).await.ok(),
            false => None,
        };
        let templates = templates.map(|listed| listed.resource_templates);
        Ok((
            listed.resources,
            templates.unwrap_or_default(),
            listed.next_cursor,
        ))
    }

    /// # Errors
    /// As [`Connection::call`].
    pub(super) async fn read_resource(&self, uri: &str) -> Result<ReadResourceResult, String> {
        let params = ReadResourceRequestParams::new(uri);
        match self.running.read_resource(params).await {
            Ok(read) => Ok(read),
            Err(error) => Err(self.failed("the resource", error).await),
        }
    }

    async fn failed(&self, what: &str, error: ServiceError) -> String {
        if let ServiceError::McpError(refusal) = error {
            return format!("refused {what}: {}", refusal.message);
        }
        let why = explained(with_causes(&error), self.program.as_ref()).await;
        format!("did not respond: {why}")
    }

    /// The first line on stdout that is not JSON-RPC.
    pub(super) fn stray(&self) -> Option<String> {
        self.program.as_ref()?.stray()
    }
}

/// Formats a failed handshake. The SDK's description of the transport does not help the user.
fn handshake_error(error: &ClientInitializeError) -> String {
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
            page.map_err(|error| format!("cannot list its tools: {}", with_causes(&error)))?;
        tools.extend(page.tools);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(tools);
        }
    }
    Err(format!("has more than {PAGES_MAX} pages of tools"))
}

fn client<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<reqwest::Client, String> {
    let proxies = http_client::proxies(variable).map_err(|error| error.to_string())?;
    proxies
        .into_iter()
        .fold(http_client::client(), |builder, proxy| builder.proxy(proxy))
        // A request stalls briefly if it reuses a connection whose last response body was not read.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| with_causes(&error))
}

/// Adds the program's last output to an error. If the program has exited, replaces the error by its exit status.
async fn explained(why: String, program: Option<&ServerProgram>) -> String {
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

/// A server's program and its output other than messages. Dropping it terminates the program and all processes that it
/// started.
struct ServerProgram {
    /// The tail of its stderr.
    printed: Arc<Mutex<Tail>>,
    stray: Arc<Mutex<Stray>>,
    /// The exit status, once the program has exited.
    ended: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl ServerProgram {
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

    fn stray(&self) -> Option<String> {
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
struct Messages {
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
    /// After the first stray line: later ones are not reported.
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
