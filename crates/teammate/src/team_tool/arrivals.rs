//! The messages, and the requests to decide, that have arrived and that the model has not seen yet. The loop puts them in and takes them for the
//! next step; `read_messages` may be quicker, and `wait` ends when one comes.
//!
//! ```text
//! deliver ──► unread ──take (loop)──────────► its step's append ──► acknowledged
//!                └────take (read_messages)──► shown ──► the append that holds its result ──► acknowledged
//! ```
//! The supervisor offers a message again on every connection until it is acknowledged; here it arrives once.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_protocol::notification::DeliveredMessage;
use agent_team_protocol::{MessageId, Party, RequestId};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// One member's inbox on this side of the wire. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    inbox: Mutex<Inbox>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Inbox {
    unread: VecDeque<DeliveredMessage>,
    /// Shown by a tool since the loop asked last.
    shown: Vec<MessageId>,
    /// Everything that arrived and is not acknowledged yet.
    known: HashSet<MessageId>,
    /// Messages whose senders wait for a reply, until it is sent.
    awaiting_reply: BTreeMap<MessageId, Party>,
    /// Requests that this member may decide and that the model has not seen, as one line each.
    requests: VecDeque<String>,
    /// Those that arrived: a new connection informs of them again.
    known_requests: HashSet<RequestId>,
}

impl Arrivals {
    /// Messages as the supervisor delivers them; those that are here already change nothing.
    pub fn deliver(&self, messages: Vec<DeliveredMessage>) {
        let mut inbox = self.inbox();
        for message in messages {
            if inbox.known.insert(message.id) {
                if message.wants_reply {
                    inbox
                        .awaiting_reply
                        .insert(message.id, message.from.clone());
                }
                inbox.unread.push_back(message);
            }
        }
        drop(inbox);
        self.0.arrived.notify_waiters();
    }

    /// A request that this member may decide. Returns false if it is known already.
    pub fn ask_for_decision(&self, request: RequestId, line: String) -> bool {
        let mut inbox = self.inbox();
        let is_new = inbox.known_requests.insert(request);
        if is_new {
            inbox.requests.push_back(line);
        }
        drop(inbox);
        self.0.arrived.notify_waiters();
        is_new
    }

    /// The requests to decide that the model has not seen, for the loop to show at its next step.
    pub fn take_requests(&self) -> Vec<String> {
        self.inbox().requests.drain(..).collect()
    }

    /// The same, left where they are.
    pub(super) fn requests(&self) -> Vec<String> {
        self.inbox().requests.iter().cloned().collect()
    }

    /// Everything that is unread, for the loop to show at its next step. What it takes it must have acknowledged.
    pub fn take(&self) -> Vec<DeliveredMessage> {
        self.inbox().unread.drain(..).collect()
    }

    /// The messages that results of tools have shown since the last call. The append that stores those results
    /// acknowledges them.
    pub fn shown(&self) -> Vec<MessageId> {
        std::mem::take(&mut self.inbox().shown)
    }

    /// These will not be delivered again.
    pub fn acknowledged(&self, messages: &[MessageId]) {
        let mut inbox = self.inbox();
        for message in messages {
            inbox.known.remove(message);
        }
    }

    /// Everything that is unread, for the result of a tool or an engine in the middle of its work.
    pub(crate) fn show(&self) -> Vec<DeliveredMessage> {
        let mut inbox = self.inbox();
        let messages: Vec<_> = inbox.unread.drain(..).collect();
        inbox
            .shown
            .extend(messages.iter().map(|message| message.id));
        messages
    }

    /// Who wrote what is unread, each once.
    pub(super) fn senders(&self) -> Vec<Party> {
        let mut senders: Vec<Party> = Vec::new();
        for message in &self.inbox().unread {
            if !senders.contains(&message.from) {
                senders.push(message.from.clone());
            }
        }
        senders
    }

    /// A message was sent. Returns the message that one of its recipients waits to have answered, if this one answers
    /// none.
    pub(super) fn sent(&self, to: &[Party], reply_to: Option<MessageId>) -> Option<MessageId> {
        let mut inbox = self.inbox();
        if let Some(answered) = reply_to {
            inbox.awaiting_reply.remove(&answered);
            return None;
        }
        let mut awaiting = inbox.awaiting_reply.iter();
        let unanswered = awaiting.find(|(_, sender)| to.contains(sender));
        unanswered.map(|(message, _)| *message)
    }

    /// Ends when something is delivered after this call.
    pub(crate) fn arrived(&self) -> Notified<'_> {
        self.0.arrived.notified()
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
