//! One connection to an MCP server: its start, the handshake and calls. A connection starts the server's program,
//! connects to the host of shared servers, or calls the URL. Called by `server`, which reconnects when the connection
//! is gone.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_team_llm::http_client;
use agent_team_protocol::spec::{McpServer, McpTransport};
use agent_team_protocol::with_causes;
use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    PaginatedRequestParams, Prompt, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource, ResourceTemplate, ServerCapabilities, Tool as ForeignTool,
};
use rmcp::service::{ClientServiceExt, Peer, RoleClient, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokio::task::JoinSet;

use super::calling::{self, CallError, Called, Caller};
use super::headers;
use super::revision::{Refusal, Revision, Running, introduced, watch_lists};
use super::server_events::{Handler, ServerEvents};
use super::server_program::{ServerProgram, explained};
use super::shared::{Hello, SERVER_GONE};
use crate::context::{ToolContext, variable};

/// The time limit of the start, the handshake and the list of tools. Some commands download their server first.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The largest number of pages of a tool list.
const PAGES_MAX: usize = 50;

/// The parameters of a connection; reconnects use them again.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) server: McpServer,
    project: PathBuf,
    /// The member's working directory, which is declared as the root.
    pub(super) root: PathBuf,
    env: Vec<(OsString, OsString)>,
    /// The socket of the host of shared servers.
    host: Option<PathBuf>,
    /// Whether the server has refused `initialize` and answered `server/discover`.
    is_discovered: AtomicBool,
}

/// An initialized connection. Dropping this value terminates the server's program.
pub(super) struct Connection {
    running: Running,
    program: Option<ServerProgram>,
    /// The task that watches the lists; it is aborted on drop.
    _watching: JoinSet<()>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

type Handshake = Pin<Box<dyn Future<Output = Result<Running, Refusal>> + Send>>;

impl Endpoint {
    pub(super) fn new(server: &McpServer, context: &ToolContext, host: Option<&Path>) -> Self {
        Self {
            server: server.clone(),
            host: host.map(Path::to_owned),
            project: context.project.clone(),
            root: context.cwd.clone(),
            env: context.env.clone(),
            is_discovered: AtomicBool::new(false),
        }
    }

    /// Starts the program, or prepares to connect to the host or to call the URL, without sending anything yet.
    fn start(
        &self,
        events: &Arc<ServerEvents>,
        revision: Revision,
    ) -> Result<(Handshake, Option<ServerProgram>), String> {
        let handler = Handler(Arc::clone(events));
        let lifecycle = revision.lifecycle();
        match &self.server.via {
            McpTransport::Program { .. } if self.server.shared => {
                // Without a host, the team runs in an embedding program, which refuses shared servers.
                let host = self.host.clone().ok_or("no process hosts shared servers")?;
                let hello = Hello::new(&self.server, &self.project, &self.root, &self.env);
                let handshake = async move {
                    let connected = hello.connect(&host).await?;
                    introduced(handler.serve_with_lifecycle(connected, lifecycle).await)
                };
                Ok((Box::pin(handshake), None))
            }
            McpTransport::Program { .. } => {
                let (program, messages, stdin) =
                    ServerProgram::launch(&self.server, &self.env, &self.project)?;
                let connected = (messages, stdin);
                let handshake = async move {
                    introduced(handler.serve_with_lifecycle(connected, lifecycle).await)
                };
                Ok((Box::pin(handshake), Some(program)))
            }
            McpTransport::Http { url, headers } => {
                let variable = |name: &str| variable(&self.env, name);
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                config.custom_headers = headers::expanded(headers, variable)?;
                let transport =
                    StreamableHttpClientTransport::with_client(client(variable)?, config);
                let handshake = async move {
                    introduced(handler.serve_with_lifecycle(transport, lifecycle).await)
                };
                Ok((Box::pin(handshake), None))
            }
        }
    }
}

impl Connection {
    /// Connects, initializes, and lists the tools. Connects a second time to a server that refuses `initialize`; see
    /// `revision`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the connection fails, with the reason.
    pub(super) async fn to(
        endpoint: &Endpoint,
        events: &Arc<ServerEvents>,
    ) -> Result<(Self, Vec<ForeignTool>), String> {
        let discovered = || Self::open(endpoint, events, Revision::Discovered);
        if endpoint.is_discovered.load(Ordering::Relaxed) {
            return discovered().await.map_err(Refusal::into_text);
        }
        let refused = match Self::open(endpoint, events, Revision::Initialized).await {
            Err(Refusal::Refused(why)) => why,
            outcome => return outcome.map_err(Refusal::into_text),
        };
        let connected = discovered().await.map_err(|refusal| {
            let why = refusal.into_text();
            format!("it refused `initialize` ({refused}) and `server/discover` ({why})")
        })?;
        endpoint.is_discovered.store(true, Ordering::Relaxed);
        Ok(connected)
    }

    async fn open(
        endpoint: &Endpoint,
        events: &Arc<ServerEvents>,
        revision: Revision,
    ) -> Result<(Self, Vec<ForeignTool>), Refusal> {
        let (handshake, program) = endpoint.start(events, revision)?;
        let introduced = async {
            let running = handshake.await?;
            let mut watching = JoinSet::new();
            watch_lists(running.peer(), events, &mut watching);
            let tools = tools_of(running.peer()).await?;
            Ok((running, watching, tools))
        };
        let outcome = match tokio::time::timeout(START_LIMIT, introduced).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::Failed(format!(
                "no list of tools within {} s",
                START_LIMIT.as_secs()
            ))),
        };
        match outcome {
            Ok((running, watching, tools)) => {
                let connection = Self {
                    running,
                    program,
                    _watching: watching,
                };
                Ok((connection, tools))
            }
            // The second connection follows at once. If it fails too, its error contains the output of the program.
            Err(Refusal::Refused(why)) if revision == Revision::Initialized => {
                Err(Refusal::Refused(why))
            }
            Err(refusal) => {
                let why = explained(refusal.into_text(), program.as_ref()).await;
                Err(Refusal::Failed(why))
            }
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.running.is_closed()
            || self.running.is_transport_closed()
            || self.program.as_ref().is_some_and(ServerProgram::has_ended)
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
            Err(CallError::Unsupported(why)) => Err(why),
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
        match self.running.peer().get_prompt_once(params).await {
            Ok(GetPromptResponse::Complete(prompt)) => Ok(prompt),
            Ok(_) => Err(needs_input("the prompt")),
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
        match self.running.peer().read_resource_once(params).await {
            Ok(ReadResourceResponse::Complete(read)) => Ok(read),
            Ok(_) => Err(needs_input("the resource")),
            Err(error) => Err(self.failed("the resource", error).await),
        }
    }

    async fn failed(&self, what: &str, error: ServiceError) -> String {
        if let ServiceError::McpError(refusal) = error {
            return match refusal.code == SERVER_GONE {
                true => format!("did not respond: {}", refusal.message),
                false => format!("refused {what}: {}", refusal.message),
            };
        }
        let why = explained(with_causes(&error), self.program.as_ref()).await;
        format!("did not respond: {why}")
    }

    /// The first line on stdout that is not JSON-RPC.
    pub(super) fn stray(&self) -> Option<String> {
        self.program.as_ref()?.stray()
    }
}

/// The error for a server that requests input outside a call of a tool. Input is supported only for calls of tools, as
/// with `initialize`.
fn needs_input(what: &str) -> String {
    format!("requested input for {what}, which is supported only for calls of tools")
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
