//! The HTTP service of a team: a client of the supervisor, which it reaches like any other client. Called by
//! `agent-team serve`.
//!
//! Where to look:
//! - the routes: [`resources`], a table; performing a row: [`call`], [`typed_call`]
//! - server-sent events: [`events`], [`sse`], [`follow`]
//! - AG-UI: [`ag_ui`]; NexAU: [`nexau`]; MCP: [`mcp`]
//! - the checks of each request: [`security`]; tokens: [`access`]; the requests of a client per second: [`rate`]
//! - bodies: [`json`]; errors: [`problem`]
//! - connections and their limits: [`listen`], [`stall`]; certificates: [`tls`]
//! - the page: [`static_files`]; Prometheus: [`metrics`]; OpenTelemetry: [`telemetry`]
//!
//! The service stores nothing on disk and decides nothing about teams: it passes calls to the supervisor.

mod access;
mod ag_ui;
mod call;
mod events;
mod follow;
mod json;
mod listen;
mod mcp;
mod metrics;
mod nexau;
mod problem;
mod rate;
#[cfg(test)]
mod reference;
mod resources;
mod security;
mod sse;
mod stall;
mod static_files;
mod telemetry;
mod tls;
mod typed_call;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use agent_team_client::{Session, SharedSession};
use agent_team_protocol::method::Up;
use agent_team_protocol::rpc::TeamRef;
use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, get, on, post};
use tokio::sync::{Mutex, Semaphore};

pub use access::{TokenFileError, Tokens};
pub use listen::Listen;
pub use mcp::McpRoute;
pub use rate::RATE_DEFAULT;
pub use static_files::STYLE as PAGE_STYLE;
pub use telemetry::{InvalidVariable, Telemetry, TelemetrySettings};
pub use tls::{Tls, TlsError};

use access::Permissions;
use listen::Listener;
use problem::Problem;
use rate::RateLimit;
use resources::{BASE, RESOURCES, Verb};
use security::{Entry, Guard, Hosts};

/// The OpenAPI document, generated from the table of resources and the types of the protocol.
const OPENAPI: &str = include_str!("../schema/openapi.json");

/// Maximum number of calls in progress. The supervisor answers each call within milliseconds, except stops.
const CALLS_MAX: usize = 64;

/// Maximum number of clients that follow events.
const STREAMS_MAX: usize = 2048;

/// Maximum number of clients that read stored events which the ring no longer has.
const REPLAYS_MAX: usize = 4;

/// Maximum number of clients that follow a run through AG-UI or NexAU; each has its own subscription.
const RUNS_MAX: usize = 64;

/// Maximum number of connections; further connections wait.
const CONNECTIONS_MAX: usize = STREAMS_MAX + 256;

/// The shared state of all requests.
#[derive(Debug)]
pub(crate) struct Service {
    session: SharedSession,
    team: TeamRef,
    calls: Semaphore,
    streams: Arc<Semaphore>,
    replays: Arc<Semaphore>,
    runs: Arc<Semaphore>,
    recent_requests: ag_ui::RecentRequests,
    sessions: Option<nexau::Sessions>,
    feeds: Arc<events::Feeds>,
    /// Held while a feed opens.
    opening: Mutex<()>,
}

impl Service {
    /// The team that the query names, else the team of the service.
    fn team_of(&self, query: &mut call::Query) -> TeamRef {
        let named = query.take(call::TEAM).map(TeamRef::Name);
        named.unwrap_or_else(|| self.team.clone())
    }
}

/// The configuration of the service.
#[derive(Debug)]
pub struct Settings {
    pub listen: Listen,
    /// `None`: connections are not encrypted.
    pub tls: Option<Tls>,
    pub tokens: Tokens,
    /// Whether all requests that change something are refused.
    pub read_only: bool,
    /// The template for the teams of the sessions at `/team`: each team gets its own name. `None`: there are no
    /// sessions.
    pub sessions: Option<Box<Up>>,
    /// Maximum number of requests of one client per second.
    pub rate: NonZeroU32,
    pub mcp: Option<McpRoute>,
}

/// A service that listens.
#[derive(Debug)]
pub struct Gateway {
    listener: Listener,
    tls: Option<Tls>,
    address: Option<SocketAddr>,
    guard: Arc<Guard>,
    router: Router,
}

impl Gateway {
    /// Binds the address. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is in use or cannot be bound.
    pub async fn bind(settings: Settings, team: TeamRef, session: Session) -> io::Result<Self> {
        let Settings {
            listen,
            tls,
            tokens,
            read_only,
            sessions,
            rate,
            mcp,
        } = settings;
        let listener = Listener::bind(&listen).await?;
        let address = match &listener {
            Listener::Tcp(listener) => Some(listener.local_addr()?),
            Listener::Unix(..) => None,
        };
        let (scheme, default_port) = match &tls {
            Some(_) => ("https", 443),
            None => ("http", 80),
        };
        let entry = match address {
            Some(address) => Entry::Tcp {
                hosts: Hosts::of(address, default_port),
                scheme,
                tokens,
            },
            None => Entry::Unix,
        };
        let most = match read_only {
            true => Permissions::READ_ONLY,
            false => Permissions::ALL,
        };
        let guard = Arc::new(Guard {
            entry,
            most,
            rate: RateLimit::new(rate),
        });
        let service = Arc::new(Service {
            session: SharedSession::new(session),
            team,
            calls: Semaphore::new(CALLS_MAX),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            replays: Arc::new(Semaphore::new(REPLAYS_MAX)),
            runs: Arc::new(Semaphore::new(RUNS_MAX)),
            recent_requests: ag_ui::RecentRequests::default(),
            sessions: sessions.map(|template| nexau::Sessions::new(*template)),
            feeds: Arc::default(),
            opening: Mutex::default(),
        });
        let router = router(service, Arc::clone(&guard), mcp);
        Ok(Self {
            listener,
            tls,
            address,
            guard,
            router,
        })
    }

    /// The URL of the page. Its fragment, which browsers do not send, contains the random token. The URL never contains
    /// a token of a file. `None` on a Unix socket.
    pub fn url(&self) -> Option<String> {
        let Entry::Tcp { scheme, tokens, .. } = &self.guard.entry else {
            return None;
        };
        let url = format!("{scheme}://{}/", self.address?);
        Some(match tokens.to_print() {
            Some(token) => format!("{url}#{token}"),
            None => url,
        })
    }

    /// The path of the Unix socket.
    pub fn socket(&self) -> Option<&Path> {
        match &self.listener {
            Listener::Unix(_, file) => Some(&file.path),
            Listener::Tcp(_) => None,
        }
    }

    /// Serves until the future is dropped.
    pub async fn serve(&self) {
        let router = self.router.clone();
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let tls = self.tls.as_ref();
        self.listener.serve(router, connections, tls).await;
    }
}

fn router(service: Arc<Service>, guard: Arc<Guard>, mcp: Option<McpRoute>) -> Router {
    let mut router = Router::new()
        .route(&format!("{BASE}/events"), get(events::answer))
        .route("/ag-ui", post(ag_ui::answer))
        .route(
            &format!("{BASE}/openapi.json"),
            get(async || call::json(OPENAPI.to_owned())),
        );
    for resource in RESOURCES {
        let method = match resource.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Patch => MethodFilter::PATCH,
            Verb::Delete => MethodFilter::DELETE,
        };
        let answer =
            move |State(service): State<Arc<Service>>,
                  path: Result<RawPathParams, _>,
                  request: Request| { call::answer(service, resource, path, request) };
        router = router.route(&format!("{BASE}{}", resource.path), on(method, answer));
    }
    if let Some(mcp) = mcp {
        router = mcp.add_to(router);
    }
    let requests = Arc::<metrics::Requests>::default();
    metrics::add_to(static_files::add_to(nexau::add_to(router)), &requests)
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found", "unknown path"))
        .with_state(service)
        .layer(from_fn_with_state(guard, security::guard))
        .layer(from_fn_with_state(requests, metrics::count))
}
