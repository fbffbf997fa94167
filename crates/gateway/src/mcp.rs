//! `/mcp`: an MCP server over streamable HTTP. `agent-team serve` provides the server, this file the transport:
//! sessions, their number and their end.
//!
//! The checks of `security.rs` come first: host, origin and token. A request needs the permission `steer`, because a
//! session acts for the user: it joins and creates teams.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::any;
use rmcp::handler::server::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::Service;
use crate::access::Permission;
use crate::call::{self, BODY_MAX};
use crate::problem::Problem;

/// Maximum number of sessions. Each can be the connection of a joined member.
const SESSIONS_MAX: usize = 32;

/// A session without requests ends after this time: a client that was killed does not end its session.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

const SESSION_ID: &str = "mcp-session-id";

/// The route, and the server behind it.
pub struct McpRoute(Router<Arc<Service>>);

impl std::fmt::Debug for McpRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpRoute").finish_non_exhaustive()
    }
}

impl McpRoute {
    /// `server` makes the server of one session.
    pub fn new<S: ServerHandler>(server: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(IDLE_LIMIT);
        let sessions = Arc::new(sessions);
        // `security.rs` has already checked the host, which can be an address in the network. No page uses this route,
        // so requests with an origin are refused.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .enforce_origin_validation()
            .with_max_request_body_bytes(BODY_MAX);
        let service =
            StreamableHttpService::new(move || Ok(server()), Arc::clone(&sessions), config);
        let answer = move |request: Request| {
            let (service, sessions) = (service.clone(), Arc::clone(&sessions));
            async move {
                let permissions = call::permissions(request.extensions());
                if let Err(problem) = call::check_permission(permissions, Permission::Steer) {
                    return problem.into_response();
                }
                let is_new = !request.headers().contains_key(SESSION_ID);
                if is_new && sessions.sessions.read().await.len() >= SESSIONS_MAX {
                    let detail = format!("{SESSIONS_MAX} MCP sessions are open");
                    let status = StatusCode::TOO_MANY_REQUESTS;
                    return Problem::new(status, "too_many_calls", detail).into_response();
                }
                service.handle(request).await.into_response()
            }
        };
        Self(Router::new().route("/mcp", any(answer)))
    }

    pub(crate) fn add_to(self, router: Router<Arc<Service>>) -> Router<Arc<Service>> {
        router.merge(self.0)
    }
}
