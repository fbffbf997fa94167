//! One MCP server with reconnects. Called by the parent module, and by `remote`, `resources` and `prompts`.
//!
//! A call that was in flight when the server died is never repeated, since the call may have taken effect. The next
//! call restarts the server, unless the server has died several times soon after its start.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, GetPromptResult, Prompt, ReadResourceResult,
    Resource, ResourceTemplate, ServerCapabilities, Tool as ForeignTool,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::calling::{Called, Caller};
use super::connection::{Connection, Endpoint};
use super::elicitation::{FormCaller, UserForms};
use super::server_events::ServerEvents;
use crate::adapter::Call;

/// The largest number of consecutive quick reconnects.
const QUICK_RECONNECTS_MAX: u32 = 3;

/// A reconnect at least this long after the previous reconnect resets the count.
const RESET_AFTER: Duration = Duration::from_secs(60);

/// The default time limit of a call without progress.
const CALL_LIMIT: Duration = Duration::from_secs(300);

/// The time limit of a list that is read between two steps of the model.
const LIST_LIMIT: Duration = Duration::from_secs(5);

/// The largest number of pages of a list of resources.
const PAGES_MAX: usize = 10;

#[derive(Debug)]
pub(super) struct Server {
    endpoint: Endpoint,
    pub(super) events: Arc<ServerEvents>,
    pub(super) capabilities: ServerCapabilities,
    /// The text with which the server describes its use.
    pub(super) instructions: Option<String>,
    forms: UserForms,
    state: Mutex<State>,
}

/// A server's resources, and templates for the addresses of resources.
#[derive(Debug, Default)]
pub(super) struct Resources {
    pub(super) resources: Vec<Resource>,
    pub(super) templates: Vec<ResourceTemplate>,
}

#[derive(Debug)]
struct State {
    connection: Arc<Connection>,
    since: Instant,
    quick_reconnects: u32,
}

impl Server {
    /// Connects to the server. Returns the server, its tools and the first line on stdout that is not JSON-RPC. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// If the connection fails, with the reason.
    pub(super) async fn connect(
        endpoint: Endpoint,
        forms: UserForms,
    ) -> Result<(Self, Vec<ForeignTool>, Option<String>), String> {
        let events = ServerEvents::new(endpoint.root.clone());
        let (connection, tools) = Connection::to(&endpoint, &events).await?;
        let stray = connection.stray();
        let server = Self {
            events,
            capabilities: connection.capabilities(),
            instructions: connection.instructions(),
            forms,
            endpoint,
            state: Mutex::new(State {
                connection: Arc::new(connection),
                since: Instant::now(),
                quick_reconnects: 0,
            }),
        };
        Ok((server, tools, stray))
    }

    pub(super) fn name(&self) -> &str {
        &self.endpoint.server.name
    }

    /// The setting `search` of the server.
    pub(super) fn search(&self) -> Option<bool> {
        self.endpoint.server.search
    }

    fn limit(&self) -> Duration {
        let seconds = self.endpoint.server.timeout_s;
        seconds.map_or(CALL_LIMIT, |seconds| Duration::from_secs(seconds.into()))
    }

    /// Calls a tool of the server; reconnects first if the connection is gone.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses the call, or does not respond.
    pub(super) async fn call(
        &self,
        params: CallToolRequestParams,
        call: Call<'_>,
    ) -> Result<Called, String> {
        let caller = Caller {
            form_caller: FormCaller {
                server: self.name(),
                tool: call.tool,
                secrets: &call.context.secrets,
            },
            limit: self.limit(),
            forms: &self.forms,
            progress: call.progress,
        };
        let answered = match self.connection().await {
            Ok(connection) => connection.call(&self.events, params, caller).await,
            Err(why) => Err(why),
        };
        self.named(answered)
    }

    /// Reads the list of tools again. Returns `None` if the server is not connected: the next call reconnects.
    ///
    /// # Errors
    /// If the server does not respond in time, or refuses.
    pub(super) async fn tools(&self) -> Result<Option<Vec<ForeignTool>>, String> {
        let Some(connection) = self.current().await else {
            return Ok(None);
        };
        let listed = self.within(LIST_LIMIT, connection.tools()).await;
        self.named(listed.map(Some))
    }

    /// Lists the prompts. Returns `None` if the server is not connected: the next call reconnects.
    ///
    /// # Errors
    /// As [`Server::tools`].
    pub(super) async fn prompts(&self) -> Result<Option<Vec<Prompt>>, String> {
        let Some(connection) = self.current().await else {
            return Ok(None);
        };
        let listed = self.within(LIST_LIMIT, connection.prompts()).await;
        self.named(listed.map(Some))
    }

    /// # Errors
    /// As [`Server::call`].
    pub(super) async fn prompt(
        &self,
        params: GetPromptRequestParams,
    ) -> Result<GetPromptResult, String> {
        let answered = match self.connection().await {
            Ok(connection) => self.within(self.limit(), connection.prompt(params)).await,
            Err(why) => Err(why),
        };
        self.named(answered)
    }

    /// Lists the resources of at most [`PAGES_MAX`] pages.
    ///
    /// # Errors
    /// As [`Server::call`].
    pub(super) async fn resources(&self) -> Result<Resources, String> {
        let listed = async {
            let connection = self.connection().await?;
            let (mut all, mut cursor) = (Resources::default(), None);
            for _ in 0..PAGES_MAX {
                let (resources, templates, next) = connection.resources(cursor).await?;
                all.resources.extend(resources);
                all.templates.extend(templates);
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            Ok(all)
        };
        let listed = self.within(self.limit(), listed).await;
        self.named(listed)
    }

    /// # Errors
    /// As [`Server::call`].
    pub(super) async fn read_resource(&self, uri: &str) -> Result<ReadResourceResult, String> {
        let read = match self.connection().await {
            Ok(connection) => {
                self.within(self.limit(), connection.read_resource(uri))
                    .await
            }
            Err(why) => Err(why),
        };
        self.named(read)
    }

    fn named<T>(&self, result: Result<T, String>) -> Result<T, String> {
        result.map_err(|why| format!("the MCP server {} {why}", self.name()))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        match tokio::time::timeout(limit, request).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("did not respond within {} s", limit.as_secs())),
        }
    }

    /// The connection, unless it is gone.
    async fn current(&self) -> Option<Arc<Connection>> {
        let state = self.state.lock().await;
        (!state.connection.is_gone()).then(|| Arc::clone(&state.connection))
    }

    /// Returns the current connection, or reconnects. Concurrent calls wait for the reconnect.
    async fn connection(&self) -> Result<Arc<Connection>, String> {
        let mut state = self.state.lock().await;
        if !state.connection.is_gone() {
            return Ok(Arc::clone(&state.connection));
        }
        if state.since.elapsed() >= RESET_AFTER {
            state.quick_reconnects = 0;
        }
        if state.quick_reconnects == QUICK_RECONNECTS_MAX {
            return Err(format!(
                "exited {} times soon after its start and is not restarted until this member restarts",
                QUICK_RECONNECTS_MAX + 1
            ));
        }
        state.quick_reconnects += 1;
        state.since = Instant::now();
        let (connection, _tools) = Connection::to(&self.endpoint, &self.events)
            .await
            .map_err(|why| format!("has exited and cannot be restarted: {why}"))?;
        state.connection = Arc::new(connection);
        state.since = Instant::now();
        // After a reconnect, the server may have other tools and prompts.
        self.events.set_changed();
        Ok(Arc::clone(&state.connection))
    }
}
