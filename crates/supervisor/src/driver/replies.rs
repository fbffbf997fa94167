//! Calls that were decided and are answered once their events are stored. Called by the driver.

use std::collections::HashMap;

use agent_team_core::{CallKey, ReplyTo};
use agent_team_protocol::MemberName;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::request::Permission;

use crate::outbox::Reply;

/// How the core's answer is turned into the method's answer.
#[derive(Debug)]
pub(super) enum ReplyShape {
    Plain,
    Up {
        placement: Placement,
        placement_reason: String,
    },
    Down,
    /// The answer of `transcript/append` of this member.
    Append(MemberName),
    /// The answer of a permission call that was allowed or denied without a request.
    Permit(Permission),
    /// The answer of a plan proposal.
    Plan,
}

/// A call that was decided; its reply is sent when the events are stored.
#[derive(Debug)]
pub(super) struct PendingReply {
    pub(super) reply: Reply,
    pub(super) shape: ReplyShape,
    pub(super) key: Option<CallKey>,
}

/// The decided calls that are not yet answered, by the ids that the core uses for them.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pending: HashMap<ReplyTo, PendingReply>,
    next: u64,
}

impl Replies {
    pub(super) fn add(&mut self, reply: Reply, shape: ReplyShape, key: Option<CallKey>) -> ReplyTo {
        let to = ReplyTo(self.next);
        self.next += 1;
        self.pending.insert(to, PendingReply { reply, shape, key });
        to
    }

    /// Removes the call and returns it, `None` if the call was already answered.
    pub(super) fn take(&mut self, to: ReplyTo) -> Option<PendingReply> {
        self.pending.remove(&to)
    }
}
