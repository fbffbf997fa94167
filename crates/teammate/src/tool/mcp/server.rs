//! One MCP server as its tools know it: a connection, and another one when that is gone. Called by those tools.
//!
//! A call that was under way when the server ended is never made again: nobody knows what it did. The next one starts
//! the server anew, unless it ends so soon and so often that this helps nobody.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResponse, Tool as ForeignTool};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::{Connection, Origin};

/// Connections anew, each soon after the one before, after which it is not tried again.
const AGAIN_MAX: u32 = 3;

/// One that was there for so long has not ended soon.
const STEADY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Server {
    origin: Origin,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Arc<Connection>,
    since: Instant,
    /// Times in a row that it was connected anew soon.
    again: u32,
}

impl Server {
    /// The server, what it offers, and the first line that it printed on stdout which is no message. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) async fn connect(
        origin: Origin,
    ) -> Result<(Self, Vec<ForeignTool>, Option<String>), String> {
        let (connection, tools) = Connection::to(&origin).await?;
        let stray = connection.stray();
        let state = State {
            connection: Arc::new(connection),
            since: Instant::now(),
            again: 0,
        };
        let server = Self {
            origin,
            state: Mutex::new(state),
        };
        Ok((server, tools, stray))
    }

    pub(super) fn name(&self) -> &str {
        &self.origin.server.name
    }

    /// # Errors
    /// Why there is no answer.
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

    /// The connection that there is, or another one. Calls that come meanwhile wait for it.
    async fn connection(&self) -> Result<Arc<Connection>, String> {
        let mut state = self.state.lock().await;
        if !state.connection.is_gone() {
            return Ok(Arc::clone(&state.connection));
        }
        if state.since.elapsed() >= STEADY {
            state.again = 0;
        }
        if state.again == AGAIN_MAX {
            return Err(format!(
                "has ended {} times, each time soon after it was started: it is left alone until this member is \
                 restarted",
                AGAIN_MAX + 1
            ));
        }
        state.again += 1;
        state.since = Instant::now();
        let (connection, _tools) = Connection::to(&self.origin)
            .await
            .map_err(|why| format!("has ended and does not start again: {why}"))?;
        state.connection = Arc::new(connection);
        state.since = Instant::now();
        Ok(Arc::clone(&state.connection))
    }
}
