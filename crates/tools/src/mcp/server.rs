//! One MCP server with reconnects. Called by the server's tools.
//!
//! A call that was in flight when the server died is never repeated, since it may have taken effect. The next call
//! restarts the server, unless it has died several times soon after its start.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResponse, Tool as ForeignTool};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::{Connection, Endpoint};

/// The largest number of consecutive quick reconnects.
const QUICK_RECONNECTS_MAX: u32 = 3;

/// A reconnect this long after the previous one resets the count.
const RESET_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Server {
    endpoint: Endpoint,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Arc<Connection>,
    since: Instant,
    quick_reconnects: u32,
}

impl Server {
    /// Connects to the server. Returns it with its tools and the first line on stdout that is not JSON-RPC. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// If the connection fails, with the reason.
    pub(super) async fn connect(
        endpoint: Endpoint,
    ) -> Result<(Self, Vec<ForeignTool>, Option<String>), String> {
        let (connection, tools) = Connection::to(&endpoint).await?;
        let stray = connection.stray();
        let state = State {
            connection: Arc::new(connection),
            since: Instant::now(),
            quick_reconnects: 0,
        };
        let server = Self {
            endpoint,
            state: Mutex::new(state),
        };
        Ok((server, tools, stray))
    }

    pub(super) fn name(&self) -> &str {
        &self.endpoint.server.name
    }

    /// Calls a tool of the server; reconnects first if the connection is gone.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses the call, or does not respond.
    pub(super) async fn call(
        &self,
        params: CallToolRequestParams,
    ) -> Result<CallToolResponse, String> {
        let answered = match self.connection().await {
            Ok(connection) => connection.call(params).await,
            Err(why) => Err(why),
        };
        answered.map_err(|why| format!("the MCP server {} {why}", self.name()))
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
        let (connection, _tools) = Connection::to(&self.endpoint)
            .await
            .map_err(|why| format!("has exited and cannot be restarted: {why}"))?;
        state.connection = Arc::new(connection);
        state.since = Instant::now();
        Ok(Arc::clone(&state.connection))
    }
}
