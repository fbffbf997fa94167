//! The messages that the user has not read, and the questions that wait for an answer of the user. Changed when the
//! team applies events; read by the decider and the driver.
//!
//! A message counts as read when a client reports it as read, as `agent-team messages` does, or when the user writes
//! only to the member that sent it. The text of a message is in the journal and not here. Only the newest
//! [`UNREAD_MAX`] messages are kept; older messages count as read. This bounds the memory of a team whose user never
//! reads messages.
//!
//! A question is a message of a member to the user that wants a reply. It is open until the user writes only to this
//! member, or the member asks another question, ends its turn or leaves the team. Reading does not answer it.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_protocol::id::{MemberName, MessageId, Party};
use serde::{Deserialize, Serialize};

/// Maximum number of unread messages.
pub const UNREAD_MAX: usize = 1_000;

/// An open question to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserQuestion {
    pub message: MessageId,
    pub member: MemberName,
    pub text: Arc<str>,
    /// Unix time in milliseconds.
    pub asked_at: u64,
}

/// The unread messages of the user with their senders, and the open questions: at most one of each member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserMail {
    unread: BTreeMap<MessageId, Party>,
    questions: BTreeMap<MemberName, UserQuestion>,
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

    pub fn question_of(&self, member: &MemberName) -> Option<&UserQuestion> {
        self.questions.get(member)
    }

    pub fn questions(&self) -> impl Iterator<Item = &UserQuestion> {
        self.questions.values()
    }

    /// The newest unread message from this member.
    pub fn newest_from(&self, member: &MemberName) -> Option<MessageId> {
        let mut newest_first = self.unread.iter().rev();
        let found =
            newest_first.find(|(_, from)| matches!(from, Party::Member(name) if name == member));
        found.map(|(message, _)| *message)
    }

    /// The unread messages, in the order of their acceptance.
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

    pub(crate) fn ask(&mut self, question: UserQuestion) {
        self.questions.insert(question.member.clone(), question);
    }

    /// Removes the member's question: the member no longer waits for an answer.
    pub(crate) fn withdraw(&mut self, member: &MemberName) {
        self.questions.remove(member);
    }

    /// The user wrote only to this member: the member's messages count as read and its question as answered.
    pub(crate) fn answer(&mut self, member: &MemberName) {
        self.withdraw(member);
        self.unread
            .retain(|_, from| !matches!(from, Party::Member(name) if name == member));
    }
}
