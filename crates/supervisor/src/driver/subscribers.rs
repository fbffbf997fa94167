//! Event subscribers of one team: history first, then each event as it is committed, without a gap or a duplicate.
//! Called by the driver, which reads the history for them.

use std::collections::VecDeque;
use std::sync::Arc;

use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::notification::{EventNotice, Goodbye, GoodbyeReason, TransientNotice};
use agent_team_protocol::{ErrorCode, Refusal, Revision, TeamId, codec, rpc};
use agent_team_store::JournalEntry;

use crate::client_event::client_event;
use crate::outbox::{Outbox, QueueFull};

/// Number of committed events kept in memory for subscribers that have nearly caught up.
const RECENT_MAX: usize = 1_024;

#[derive(Debug)]
pub(super) struct Subscribers {
    team: TeamId,
    /// Subscribers that receive every event as it is committed.
    attached: Vec<Subscriber>,
    recent: VecDeque<JournalEntry>,
}

#[derive(Debug)]
struct Subscriber {
    outbox: Outbox,
    transient: bool,
}

/// A subscriber that still reads history.
#[derive(Debug)]
pub(crate) struct CatchUp {
    pub(super) outbox: Outbox,
    pub(super) after: Revision,
    pub(super) transient: bool,
}

/// How a subscriber continues.
#[derive(Debug)]
pub(super) enum Progress {
    /// The subscriber receives every further event, or its connection has closed.
    Settled,
    /// The subscriber must first read history, up to a recent event.
    Behind(CatchUp),
    /// The subscriber's queue is full. It continues when there is room.
    Full(CatchUp),
}

impl Subscribers {
    pub(super) fn new(team: TeamId) -> Self {
        Self {
            team,
            attached: Vec::new(),
            recent: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.attached.len()
    }

    pub(super) fn outboxes(&self) -> impl Iterator<Item = &Outbox> {
        self.attached.iter().map(|subscriber| &subscriber.outbox)
    }

    /// Attaches a subscriber that is near the head. Runs in the driver between two commits: no event can be published
    /// between the last event sent here and the attachment, so there is neither a gap nor a duplicate.
    pub(super) fn catch_up(&mut self, mut reader: CatchUp, head: Revision) -> Progress {
        if reader.outbox.is_closed() {
            return Progress::Settled;
        }
        let oldest = self
            .recent
            .front()
            .map_or(head.0 + 1, |entry| entry.revision.0);
        if reader.after.0 + 1 < oldest {
            return Progress::Behind(reader);
        }
        for entry in &self.recent {
            if entry.revision <= reader.after {
                continue;
            }
            if reader.outbox.send(line(&self.team, entry.clone())).is_err() {
                // The subscriber is not attached yet, so a full queue only delays it.
                return Progress::Full(reader);
            }
            reader.after = entry.revision;
        }
        self.attached.push(Subscriber {
            outbox: reader.outbox,
            transient: reader.transient,
        });
        Progress::Settled
    }

    /// Sends a committed event to all subscribers.
    pub(super) fn publish(&mut self, entry: JournalEntry) {
        if !self.attached.is_empty() {
            let line = line(&self.team, entry.clone());
            self.send(&line, false);
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
    }

    pub(super) fn want_transient(&self) -> bool {
        self.attached.iter().any(|subscriber| subscriber.transient)
    }

    pub(super) fn publish_transient(&mut self, notice: &TransientNotice) {
        self.send(&rpc::notification(notice).into(), true);
    }

    fn send(&mut self, line: &Arc<str>, transient: bool) {
        self.attached.retain(|subscriber| {
            if subscriber.outbox.is_closed() {
                return false;
            }
            // Transient events may be dropped: they use at most half of the queue, so that durable events find room.
            if transient && !(subscriber.transient && subscriber.outbox.is_half_empty()) {
                return true;
            }
            match subscriber.outbox.send(line.clone()) {
                Ok(()) => true,
                Err(QueueFull) => {
                    cut_off(&subscriber.outbox);
                    false
                }
            }
        });
    }
}

/// Disconnects a subscriber that does not read. The client can subscribe again after the last received revision.
fn cut_off(outbox: &Outbox) {
    tracing::info!("disconnecting a subscriber that fell behind");
    let error = Refusal::new(
        ErrorCode::SlowConsumer,
        "the client did not read events fast enough",
    )
    .hint("subscribe again after the last revision received");
    outbox.send_goodbye(&Goodbye {
        reason: GoodbyeReason::Closed,
        error: Some(error),
    });
}

/// The event notification. An event that exceeds the limits of a frame is published as [`ClientEvent::Unknown`]:
/// otherwise every client would close its connection at this frame, and receive the frame again after it reconnects.
pub(super) fn line(team: &TeamId, entry: JournalEntry) -> Arc<str> {
    let mut notice = EventNotice {
        team: team.clone(),
        revision: entry.revision,
        at: entry.at,
        event: entry.event.map_or(ClientEvent::Unknown, client_event),
    };
    let line = rpc::notification(&notice);
    if codec::is_within_limits(line.trim_end()) {
        return line.into();
    }
    tracing::warn!(
        revision = entry.revision.0,
        "an event does not fit into a frame"
    );
    notice.event = ClientEvent::Unknown;
    rpc::notification(&notice).into()
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::notification::{Notification, TaskOutput};
    use serde_json::json;

    use super::super::testing::{Frames, name};
    use super::*;

    fn subscribers() -> Subscribers {
        Subscribers::new(TeamId::new(&"demo".parse().unwrap(), "/w".as_ref()))
    }

    fn entry(revision: u64) -> JournalEntry {
        JournalEntry {
            revision: Revision(revision),
            at: 0,
            event: None,
        }
    }

    fn reader(after: u64, transient: bool) -> (CatchUp, Frames) {
        let (outbox, frames) = Frames::pair();
        let after = Revision(after);
        let reader = CatchUp {
            outbox,
            after,
            transient,
        };
        (reader, frames)
    }

    fn revisions(frames: &mut Frames) -> Vec<u64> {
        let frames = std::iter::from_fn(|| frames.next());
        frames
            .map(|frame| frame["params"]["revision"].as_u64().unwrap())
            .collect()
    }

    /// An event of a task whose metadata is `depth` objects deep.
    fn nested(depth: usize) -> JournalEntry {
        let metadata = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let spec = json!({
            "key": "Look", "title": "Look", "priority": 0, "rerun": true, "from_file": false, "metadata": metadata,
        });
        let event = json!({
            "kind": "task_added", "data": {"task": "T-1", "plan": spec, "created_by": "ada"},
        });
        JournalEntry {
            event: Some(serde_json::from_value(event).unwrap()),
            ..entry(1)
        }
    }

    #[test]
    fn an_event_beyond_the_frame_limits_becomes_unknown() {
        for (depth, kind) in [(3, "task_added"), (60, "unknown")] {
            let mut subscribers = subscribers();
            let (reader, mut frames) = reader(0, false);
            subscribers.catch_up(reader, Revision(0));
            subscribers.publish(nested(depth));
            let frame = frames.next().unwrap();
            assert_eq!(frame["params"]["event"]["kind"], kind, "{frame}");
        }
    }

    #[test]
    fn a_subscriber_near_the_head_receives_each_event_once() {
        let mut subscribers = subscribers();
        (1..=3).for_each(|revision| subscribers.publish(entry(revision)));
        let (reader, mut frames) = reader(1, false);
        let progress = subscribers.catch_up(reader, Revision(3));
        assert!(matches!(progress, Progress::Settled));
        subscribers.publish(entry(4));
        assert_eq!(revisions(&mut frames), [2, 3, 4]);
    }

    #[test]
    fn a_subscriber_far_behind_reads_history_first() {
        let mut subscribers = subscribers();
        (1..=RECENT_MAX as u64 + 1).for_each(|revision| subscribers.publish(entry(revision)));
        let head = Revision(RECENT_MAX as u64 + 1);
        let (behind, _frames) = reader(0, false);
        let Progress::Behind(mut behind) = subscribers.catch_up(behind, head) else {
            panic!("event 1 is not read from history");
        };
        behind.after = Revision(1);
        let progress = subscribers.catch_up(behind, head);
        assert!(matches!(progress, Progress::Settled) && subscribers.len() == 1);
        // Nothing was published by this supervisor: history is on disk.
        let (behind, _frames) = reader(6, false);
        let progress = self::subscribers().catch_up(behind, Revision(7));
        assert!(matches!(progress, Progress::Behind(_)));
    }

    #[test]
    fn a_full_queue_delays_catch_up_and_ends_live_subscriptions() {
        let mut subscribers = subscribers();
        let (slow, mut frames) = reader(0, false);
        while slow.outbox.send("x".repeat(1_000)).is_ok() {}
        subscribers.publish(entry(1));
        let Progress::Full(slow) = subscribers.catch_up(slow, Revision(1)) else {
            panic!("a full queue does not delay the subscriber");
        };
        assert_eq!((slow.after, subscribers.len()), (Revision(0), 0));
        let (attached, _frames) = reader(1, false);
        let outbox = attached.outbox.clone();
        subscribers.catch_up(attached, Revision(1));
        while outbox.send("x".repeat(1_000)).is_ok() {}
        subscribers.publish(entry(2));
        assert!(subscribers.len() == 0 && outbox.is_closed());
        frames.close();
        assert!(matches!(
            subscribers.catch_up(slow, Revision(2)),
            Progress::Settled
        ));
        assert_eq!(
            subscribers.len(),
            0,
            "a subscriber with a closed connection is attached"
        );
    }

    #[test]
    fn transient_events_leave_room_for_durable_ones() {
        let mut subscribers = subscribers();
        let (plain, mut plain_frames) = reader(0, false);
        subscribers.catch_up(plain, Revision(0));
        assert!(!subscribers.want_transient());
        let (attached, mut frames) = reader(0, true);
        let outbox = attached.outbox.clone();
        subscribers.catch_up(attached, Revision(0));
        assert!(subscribers.want_transient());
        let output = TaskOutput::default();
        let notice = TransientNotice {
            team: subscribers.team.clone(),
            after: Revision(0),
            member: name("ada"),
            task: output.task,
            text: output.text,
            fragments: output.fragments,
            notify: None,
            at: 0,
        };
        subscribers.publish_transient(&notice);
        assert_eq!(frames.next().unwrap()["method"], TransientNotice::NAME);
        assert!(plain_frames.next().is_none());
        while outbox.is_half_empty() {
            outbox.send("x".repeat(1_000)).unwrap();
        }
        subscribers.publish_transient(&notice);
        subscribers.publish(entry(1));
        assert_eq!(subscribers.len(), 2);
    }
}
