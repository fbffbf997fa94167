//! The requests and notifications that the worker sends to the supervisor.

use agent_team_protocol::method::Method;
use agent_team_protocol::notification::{
    MemberModel, MemberPrompts, MemberScreen, MemberWaits, PaneShown, TaskOutput, TaskSession,
};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

/// Identifies a request. Tickets are issued in request order and are the idempotency keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(super) u64);

/// A request of the worker to the supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// JSON of the method's arguments.
    pub(crate) args: Box<RawValue>,
}

impl Request {
    pub(crate) fn of<M: Method>(args: &M::Args) -> Self {
        Self {
            method: M::NAME,
            args: serde_json::value::to_raw_value(args)
                .expect("wire types have string keys and no failing serializers"),
        }
    }
}

/// A notification of the worker. Without a connection, the notification waits for the next connection.
#[derive(Debug)]
pub(crate) enum Notice {
    Session(TaskSession),
    /// Output, with a permit that is held until the output is sent: see
    /// [`Link::output_slot`](super::Link::output_slot). Output that must precede a request is sent without a permit.
    Output(TaskOutput, Option<OwnedSemaphorePermit>),
    PaneLost,
    PaneShown(PaneShown),
    PaneTooSmall,
    PaneGrown,
    Waits(MemberWaits),
    Model(MemberModel),
    Prompts(MemberPrompts),
    /// A screen, with a permit that is held until the screen is sent.
    Screen(MemberScreen, OwnedSemaphorePermit),
}
