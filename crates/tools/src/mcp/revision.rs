//! The revision of MCP that a connection speaks, and the differences before and after 2026-07-28. Called by
//! `connection`.
//!
//! The first request is `initialize`, the handshake of the revisions up to 2025-11-25. If the server answers it with an
//! error, a second connection begins with `server/discover` of 2026-07-28. Reasons for this order:
//!
//! - Almost all servers know `initialize`, so they start only once.
//! - Some servers exit at an unknown first request. If `server/discover` came first, they would have to start twice,
//!   and for a server that ignores it, the client would wait until the time limit.
//! - A server that knows both revisions accepts `initialize`. It then sends its forms as requests, so no function is
//!   lost.
//!
//! The second request needs a new connection, because servers of 2026-07-28 may exit after they refused `initialize`
//! (those of the SDK, rmcp 3.9, do). A server that exits without an answer is not started again: most such servers fail
//! for another reason.

use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::with_causes;
use rmcp::model::{ProtocolVersion, SubscriptionFilter};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, Peer, RoleClient, RunningService};
use tokio::task::JoinSet;

use super::server_events::{Handler, ServerEvents};
use super::shared::SERVER_GONE;

/// The pause before a subscription that has ended is renewed.
const LISTEN_PAUSE: Duration = Duration::from_secs(5);

pub(super) type Running = RunningService<RoleClient, Handler>;

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revision {
    /// The connection begins with `initialize`: revisions up to 2025-11-25.
    Initialized,
    /// The connection begins with `server/discover`: revision 2026-07-28.
    Discovered,
}

impl Revision {
    pub(super) fn lifecycle(self) -> ClientLifecycleMode {
        match self {
            Self::Initialized => ClientLifecycleMode::Initialize,
            Self::Discovered => ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            },
        }
    }
}

/// Why a connection failed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The server answered the first request with an error.
    Refused(String),
    Failed(String),
}

impl Refusal {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Refused(why) | Self::Failed(why) => why,
        }
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Formats the error of a failed handshake. The SDK's description of the transport does not help the user.
pub(super) fn introduced(
    handshake: Result<Running, ClientInitializeError>,
) -> Result<Running, Refusal> {
    let error = match handshake {
        Ok(running) => return Ok(running),
        Err(error) => error,
    };
    if let ClientInitializeError::TransportError { error, context } = &error {
        let why = format!("{} ({context})", with_causes(&*error.error));
        return Err(Refusal::Failed(why));
    }
    if let ClientInitializeError::JsonRpcError(refusal) = &error {
        return Err(match refusal.code == SERVER_GONE {
            true => Refusal::Failed(refusal.message.to_string()),
            false => Refusal::Refused(with_causes(&error)),
        });
    }
    Err(Refusal::Failed(with_causes(&error)))
}

/// Subscribes to changes of the lists, which a server of 2026-07-28 reports only to subscribers. Servers of earlier
/// revisions report these changes to every client.
pub(super) fn watch_lists(
    peer: &Peer<RoleClient>,
    events: &Arc<ServerEvents>,
    tasks: &mut JoinSet<()>,
) {
    let Some(info) = peer.peer_info() else {
        return;
    };
    let has = |changes: Option<bool>| changes == Some(true);
    let tools = info.capabilities.tools.as_ref();
    let prompts = info.capabilities.prompts.as_ref();
    let mut filter = SubscriptionFilter::new();
    filter.tools_list_changed = tools.and_then(|it| it.list_changed).filter(|it| *it);
    filter.prompts_list_changed = prompts.and_then(|it| it.list_changed).filter(|it| *it);
    let is_wanted = has(filter.tools_list_changed) || has(filter.prompts_list_changed);
    if info.protocol_version.has_initialize() || !is_wanted {
        return;
    }
    let (peer, events) = (peer.clone(), Arc::clone(events));
    tasks.spawn(async move {
        while let Ok(mut subscription) = peer.listen(filter.clone()).await {
            // A change before the acknowledgment was not reported.
            events.set_changed();
            while let Ok(Some(_changed)) = subscription.next().await {
                events.set_changed();
            }
            tokio::time::sleep(LISTEN_PAUSE).await;
        }
    });
}
