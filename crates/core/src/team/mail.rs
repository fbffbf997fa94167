//! Inboxes of members, and the order in which the messages of an inbox are offered on a connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{MessageId, Party};
use agent_team_protocol::value::MessageNote;

/// Maximum number of unread messages of one member.
pub const INBOX_MAX: usize = 1_000;

/// How often in a row a lower lane with messages may be skipped.
pub const FAIRNESS: u32 = 16;

/// An accepted message that its recipient has not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub from: Party,
    pub text: Arc<str>,
    pub urgent: bool,
    pub reply_to: Option<MessageId>,
    pub note: MessageNote,
}

/// Priority classes of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Interrupts the recipient's turn.
    Control,
    /// Messages of the user, the lead and the system.
    Lead,
    Peers,
}

const LANES: usize = 3;

impl Lane {
    const ALL: [Self; LANES] = [Self::Control, Self::Lead, Self::Peers];
}

/// One member's unread messages; within a lane in the order of their acceptance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inbox {
    lanes: [BTreeMap<MessageId, Unread>; LANES],
}

impl Inbox {
    pub fn len(&self) -> usize {
        self.lanes.iter().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(BTreeMap::is_empty)
    }

    pub fn get(&self, message: MessageId) -> Option<&Unread> {
        self.lanes.iter().find_map(|lane| lane.get(&message))
    }

    pub(crate) fn with_lanes(&self) -> impl Iterator<Item = (MessageId, Lane, &Unread)> {
        Lane::ALL.into_iter().flat_map(|lane| {
            let messages = self.lanes[lane as usize].iter();
            messages.map(move |(id, unread)| (*id, lane, unread))
        })
    }

    /// Every unread message, in the order of their acceptance.
    pub fn iter(&self) -> impl Iterator<Item = (MessageId, &Unread)> {
        let mut all: Vec<_> = self
            .lanes
            .iter()
            .flatten()
            .map(|(id, unread)| (*id, unread))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter()
    }

    pub(crate) fn insert(&mut self, message: MessageId, lane: Lane, unread: Unread) {
        self.lanes[lane as usize].insert(message, unread);
    }

    pub(crate) fn remove(&mut self, message: MessageId) -> Option<Unread> {
        self.lanes.iter_mut().find_map(|lane| lane.remove(&message))
    }
}

/// Picks the next message to offer on a connection. Each connection has its own cursor, so a new connection is offered
/// every unread message again.
#[derive(Debug, Clone, Default)]
pub struct InboxCursor {
    /// The last message offered in each lane.
    offered: [Option<MessageId>; LANES],
    /// How often in a row each lane with messages was skipped.
    waited: [u32; LANES],
}

impl InboxCursor {
    /// The next message to offer: from the highest lane with messages, unless a lower lane was skipped too often.
    pub fn next<'a>(&mut self, inbox: &'a Inbox) -> Option<(MessageId, &'a Unread)> {
        let heads: [Option<(MessageId, &Unread)>; LANES] = std::array::from_fn(|lane| {
            let from = self.offered[lane].map_or(MessageId(0), |last| MessageId(last.0 + 1));
            inbox.lanes[lane]
                .range(from..)
                .next()
                .map(|(id, unread)| (*id, unread))
        });
        let starved = (0..LANES)
            .rev()
            .find(|lane| heads[*lane].is_some() && self.waited[*lane] + 1 >= FAIRNESS);
        let chosen = starved.or_else(|| (0..LANES).find(|lane| heads[*lane].is_some()))?;
        for (lane, (waited, head)) in self.waited.iter_mut().zip(&heads).enumerate() {
            *waited = if lane == chosen || head.is_none() {
                0
            } else {
                *waited + 1
            };
        }
        let (id, unread) = heads[chosen]?;
        self.offered[chosen] = Some(id);
        Some((id, unread))
    }

    /// Whether the message is unread and was offered on this connection.
    pub fn has_offered(&self, message: MessageId, inbox: &Inbox) -> bool {
        (0..LANES).any(|lane| {
            inbox.lanes[lane].contains_key(&message)
                && self.offered[lane].is_some_and(|last| message <= last)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inbox(lanes: &[usize]) -> Inbox {
        let mut inbox = Inbox::default();
        for (n, lane) in (1..).zip(lanes) {
            inbox.insert(
                MessageId(n),
                Lane::ALL[*lane],
                Unread {
                    from: Party::User,
                    text: "x".into(),
                    urgent: false,
                    reply_to: None,
                    note: MessageNote::default(),
                },
            );
        }
        inbox
    }

    proptest! {
        #[test]
        fn each_message_is_offered_once_in_lane_order(lanes in prop::collection::vec(0_usize..3, 0..200)) {
            let inbox = inbox(&lanes);
            let mut cursor = InboxCursor::default();
            let offered: Vec<MessageId> = std::iter::from_fn(|| cursor.next(&inbox).map(|(id, _)| id)).collect();
            prop_assert_eq!(offered.len(), lanes.len());
            for lane in 0..LANES {
                let of_lane: Vec<u64> =
                    offered.iter().map(|id| id.0).filter(|n| lanes[*n as usize - 1] == lane).collect();
                prop_assert!(of_lane.is_sorted());
                prop_assert_eq!(of_lane.len(), lanes.iter().filter(|l| **l == lane).count());
            }
        }

        #[test]
        fn no_lane_is_starved(lanes in prop::collection::vec(0_usize..3, 0..300)) {
            let mut rest = inbox(&lanes);
            let mut cursor = InboxCursor::default();
            let mut waited = [0_u32; LANES];
            while let Some(id) = cursor.next(&rest).map(|(id, _)| id) {
                let chosen = lanes[id.0 as usize - 1];
                for (lane, waited) in waited.iter_mut().enumerate() {
                    let has = !rest.lanes[lane].is_empty();
                    *waited = if lane == chosen || !has { 0 } else { *waited + 1 };
                    // Two lower lanes can come due at the same time; one of them is then skipped once more.
                    prop_assert!(*waited <= FAIRNESS, "lane {lane} was skipped {waited} times");
                }
                rest.remove(id);
            }
        }
    }

    #[test]
    fn the_control_lane_is_offered_first() {
        let inbox = inbox(&[2, 2, 1, 0, 2]);
        let mut cursor = InboxCursor::default();
        let offered: Vec<u64> =
            std::iter::from_fn(|| cursor.next(&inbox).map(|(id, _)| id.0)).collect();
        assert_eq!(offered, [4, 3, 1, 2, 5]);
    }

    #[test]
    fn a_new_connection_is_offered_old_messages_again() {
        let inbox = inbox(&[2, 2]);
        let mut first = InboxCursor::default();
        first.next(&inbox);
        assert!(
            first.has_offered(MessageId(1), &inbox) && !first.has_offered(MessageId(2), &inbox)
        );
        assert_eq!(
            InboxCursor::default().next(&inbox).map(|(id, _)| id),
            Some(MessageId(1))
        );
    }
}
