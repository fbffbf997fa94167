//! Decoded calls that the server sends to the driver of a team. The core decides changes. The driver answers queries
//! from the state, once all events before them are stored.

use std::fmt;

use agent_team_core::{Call, Caller, Origin};
use agent_team_protocol::method::{MethodEntry, SetMode, Spawn};
use agent_team_protocol::request::{AskRequest, DecideRequest, Decision, ProposePlan};
use agent_team_protocol::spec::TeamSpec;

use super::Driver;
use crate::environment::Environment;
use crate::outbox::Reply;
use crate::settings::TeamPlacement;

/// One call for one team.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) by: Origin,
    /// The launch or the client that makes the call. The idempotency key is unique only for this caller.
    pub(crate) caller: Caller,
    pub(crate) key: Option<String>,
    /// Hash of the method and its arguments.
    pub(crate) digest: u64,
    pub(crate) reply: Reply,
    pub(crate) method: MethodEntry,
    pub(crate) kind: RequestKind,
}

#[derive(Debug)]
pub(crate) enum RequestKind {
    Change(Change),
    Query(Query),
}

#[derive(Debug)]
pub(crate) enum Change {
    /// A call that the server has already converted to a call of the core.
    Call(Box<Call>),
    Up(Box<UpRequest>),
    Spawn(Spawn),
    Ask(Box<AskRequest>),
    Propose(ProposePlan),
    Decide(Box<DecideRequest>),
    ForgetRule(String),
    SetMode(SetMode),
}

/// A call that stores nothing, as the function that answers it.
pub(crate) struct Query(Box<Answer>);

type Answer = dyn FnOnce(&mut Driver, &Origin, Reply);

impl Query {
    pub(crate) fn new(answer: impl FnOnce(&mut Driver, &Origin, Reply) + 'static) -> Self {
        Self(Box::new(answer))
    }

    pub(super) fn answer(self, driver: &mut Driver, by: &Origin, reply: Reply) {
        (self.0)(driver, by, reply);
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Query")
    }
}

/// An `up` call: the team specification and the parameters that are not part of the team file.
#[derive(Debug)]
pub(crate) struct UpRequest {
    pub(crate) spec: TeamSpec,
    pub(crate) environment: Environment,
    pub(crate) team_placement: TeamPlacement,
    pub(crate) dry_run: bool,
}

impl RequestKind {
    /// Whether the call stops, kills or removes a member, takes the team down, denies a request, removes a rule or
    /// reports an exit. Such calls are accepted even when the disk is full.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::Change(Change::Call(call)) => matches!(
                **call,
                Call::Stop { .. }
                    | Call::Remove { .. }
                    | Call::Kill { .. }
                    | Call::Down { .. }
                    | Call::ReportExit { .. }
            ),
            Self::Change(Change::Decide(decide)) => {
                !matches!(decide.decision, Decision::Allow { .. })
            }
            Self::Change(Change::ForgetRule(_)) => true,
            Self::Change(
                Change::Up(_)
                | Change::Spawn(_)
                | Change::Ask(_)
                | Change::Propose(_)
                | Change::SetMode(_),
            )
            | Self::Query(_) => false,
        }
    }
}
