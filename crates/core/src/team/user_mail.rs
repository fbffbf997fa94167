//! The messages that the user has not read. Changed when the team applies events; read by the decider and the driver.
//!
//! A message counts as read when a client reports it as read, as `agent-team messages` does, or when the user sends a
//! message only to its sender. The text of a message is in the journal and not here. Only the newest [`UNREAD_MAX`]
//! messages are kept; older messages count as read. This bounds the memory of a team whose user never reads messages.

use std::collections::BTreeMap;

use agent_team_protocol::id::{MemberName, MessageId, Party};

/// Maximum number of unread messages.
pub const UNREAD_MAX: usize = 1_000;

/// The unread messages of the user, with their senders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserMail {
    unread: BTreeMap<MessageId, Party>,
}

impl UserMail {
    pub fn is_unread(&self, message: MessageId) -> bool {
        self.unread.contains_key(&message)
    }

    pub fn len(&self) -> usize {
        self.unread.len()
    }

    pub fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// The newest unread message from this member.
    pub fn newest_from(&self, member: &MemberName) -> Option<MessageId> {
        let mut newest_first = self.unread.iter().rev();
        let found =
            newest_first.find(|(_, from)| matches!(from, Party::Member(name) if name == member));
        found.map(|(message, _)| *message)
    }

    /// In the order of their acceptance.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, &Party)> {
        self.unread.iter().map(|(message, from)| (*message, from))
    }

    pub(crate) fn receive(&mut self, message: MessageId, from: Party) {
        self.unread.insert(message, from);
        if self.unread.len() > UNREAD_MAX {
            self.unread.pop_first();
        }
    }

    pub(crate) fn read(&mut self, messages: &[MessageId]) {
        for message in messages {
            self.unread.remove(message);
        }
    }

    /// The user has written to this member and so has seen the messages from it.
    pub(crate) fn answer(&mut self, member: &MemberName) {
        self.unread
            .retain(|_, from| !matches!(from, Party::Member(name) if name == member));
    }
}
