//! The team's tools for the programs of an external agent: an MCP server at a Unix socket. Opened by the loop. The agent
//! starts [`connect`] as its MCP server.
//!
//! Only programs of the agent may connect, and they can act only as this member.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::text::visible_line;
use agent_team_system::process::ProcessId;
use agent_team_system::socket::{Listener, Stream};
use agent_team_tools::ToolError;
use rmcp::ServiceExt;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities,
    ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;
use tokio::sync::watch;

use super::agent_socket::{AgentSocket, SocketService};
use crate::hosted::team_tools::TeamTools;

/// Connects stdin and stdout to the socket of a member, until stdout or the socket is closed.
///
/// # Errors
/// If the socket cannot be reached, or copying fails.
pub(crate) fn connect(socket: &Path) -> std::io::Result<()> {
    let mut requests = UnixStream::connect(socket)?;
    let mut answers = requests.try_clone()?;
    std::thread::spawn(move || {
        let copied = std::io::copy(&mut std::io::stdin().lock(), &mut requests);
        // The member answers the requests that it has received, and closes the connection.
        let _closed = requests.shutdown(Shutdown::Write);
        copied
    });
    let mut stdout = std::io::stdout().lock();
    let mut buffer = [0; 16 << 10];
    loop {
        let read = answers.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        stdout.write_all(&buffer[..read])?;
        stdout.flush()?;
    }
}

/// The interval of progress notifications. Clients end a call that makes no progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The largest number of connections.
const CONNECTIONS_MAX: usize = 16;

/// The open socket of the tools. Dropping this value closes it.
pub(in crate::agent) struct TeamSocket {
    _socket: AgentSocket,
    is_listed: watch::Receiver<bool>,
}

impl TeamSocket {
    /// Waits until the agent has requested the list of the tools. Cancel-safe.
    pub(super) async fn listed(&mut self) {
        // The sender lives as long as the socket.
        let _closed = self.is_listed.wait_for(|is_listed| *is_listed).await;
    }
}

/// Serves the tools at this path. Must be called within a tokio runtime.
pub(super) fn open(
    socket: &Path,
    agent: ProcessId,
    tools: TeamTools,
) -> std::io::Result<TeamSocket> {
    let listener = Listener::bind_own(socket)?;
    let (listed, is_listed) = watch::channel(false);
    let server = TeamServer { tools, listed };
    let service = SocketService {
        name: "the team's tools",
        agent,
        connections_max: CONNECTIONS_MAX,
    };
    let socket = AgentSocket::open(listener, socket, service, move |stream| {
        serve(stream, server.clone())
    });
    Ok(TeamSocket {
        _socket: socket,
        is_listed,
    })
}

async fn serve(stream: Stream, server: TeamServer) {
    match server.serve(stream.into_halves()).await {
        Ok(running) => {
            let _ended = running.waiting().await;
        }
        Err(error) => tracing::debug!(%error, "the MCP handshake failed"),
    }
}

/// Serves one connection.
#[derive(Clone)]
struct TeamServer {
    tools: TeamTools,
    listed: watch::Sender<bool>,
}

impl ServerHandler for TeamServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_instructions("The tools of your team: its board, its messages and its memory.")
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.specs().into_iter().map(|spec| {
            let input = spec.input.as_object().cloned().unwrap_or_default();
            // Agents ask about each call of a tool that may be destructive, or that reaches external systems.
            let annotations = ToolAnnotations::new().destructive(false).open_world(false);
            let mut tool = Tool::new(spec.name, spec.description, Arc::new(input));
            tool.annotations = Some(annotations);
            // Without this mark, Claude Code loads the tools only after a search.
            let mut meta = rmcp::model::MetaObject::default();
            meta.0
                .insert("anthropic/alwaysLoad".to_owned(), Value::Bool(true));
            tool.meta = Some(meta);
            tool
        });
        self.listed.send_replace(true);
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let input = Value::Object(request.arguments.unwrap_or_default());
        let called = self.tools.call(&request.name, input);
        let mut called = std::pin::pin!(called);
        let token = context.meta.get_progress_token();
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        let mut done = 0.0;
        let called = loop {
            tokio::select! {
                called = &mut called => break called,
                () = context.ct.cancelled() => {
                    return Err(ErrorData::internal_error("the call was cancelled", None));
                }
                _ = ticks.tick() => if let Some(token) = &token {
                    done += 1.0;
                    let progress = ProgressNotificationParam::new(token.clone(), done);
                    let _gone = context.peer.notify_progress(progress).await;
                },
            }
        };
        let result = match called {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(ToolError::Input(text) | ToolError::Failed(text)) => {
                tracing::debug!(error = %visible_line(&text), "a team tool failed");
                CallToolResult::error(vec![ContentBlock::text(text)])
            }
        };
        Ok(result.into())
    }
}
