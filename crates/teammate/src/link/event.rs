//! The events of a link, and the ends of its connections.

use agent_team_protocol::Refusal;
use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::notification::{
    Abandon, Allowance, Assignment, Deliver, GoalEnded, NotifyUser, RequestNotice, SendPrompt,
    ShowPane, StopMember,
};
use serde_json::value::RawValue;

use super::request::Ticket;

/// An event for the worker: a change of the connection, a notification of the supervisor, or the answer to a request.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Connected(Welcome),
    Start(Assignment),
    Abandon(Abandon),
    Deliver(Deliver),
    Stop(StopMember),
    /// The user has interrupted the current turn.
    Interrupt,
    /// A shell line that the user has typed in another terminal.
    RunLine(String),
    /// The user asks to compact the conversation.
    Compact,
    SendPrompt(SendPrompt),
    Allowance(Allowance),
    Show(ShowPane),
    RequestNotice(RequestNotice),
    GoalEnded(GoalEnded),
    NotifyUser(NotifyUser),
    Answered(Ticket, Result<Box<RawValue>, Refusal>),
    /// The first failed attempt to connect since the start or the last connection. Later failures are not reported.
    Unreachable(String),
    /// The link is over: no further connection is made.
    Over(LinkEnd),
}

#[derive(Debug)]
pub(crate) enum LinkEnd {
    /// The supervisor was stopped on purpose.
    Stopped,
    /// This launch is no longer the current launch of the member, or the supervisor has closed its connection without
    /// an error.
    Retired(String),
}

/// The end of a connection.
pub(super) enum ConnectionEnd {
    Lost,
    Restarting,
    Over(LinkEnd),
    /// The worker has exited.
    Abandoned,
}
