//! Event subscriptions: history in pages at the reader's pace, then live events, without a gap or a duplicate.

use std::sync::Arc;

use agent_team_protocol::method::{Subscribe, SubscribeAnswer};
use agent_team_protocol::notification::{Goodbye, GoodbyeReason, TaskOutput, TransientNotice};
use agent_team_protocol::{ErrorCode, MemberName, Refusal, Revision, TeamId, rpc};
use agent_team_store::JournalEntry;
use tokio::sync::mpsc;

use super::history_reader::HistoryReader;
use super::{Driver, Message};
use crate::outbox::{Outbox, QueueFull, Reply};

/// Events per page of history.
const PAGE: usize = 512;

/// A subscriber that receives every event as it is committed.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) outbox: Outbox,
    transient: bool,
}

/// A subscriber that still reads history.
#[derive(Debug)]
pub(crate) struct CatchUp {
    outbox: Outbox,
    after: Revision,
    transient: bool,
}

impl Driver {
    pub(crate) fn subscribe(&mut self, reply: Reply, subscribe: Subscribe) {
        let outbox = reply.outbox().clone();
        reply.ok(&SubscribeAnswer {
            head: self.team.revision(),
        });
        self.caught_up(CatchUp {
            outbox,
            after: subscribe.after,
            transient: subscribe.transient,
        });
    }

    /// Attaches a subscriber that is near the head; otherwise it continues with history. Runs in the driver between
    /// two commits: no event can be published between the last one sent here and the attachment, so there is neither
    /// a gap nor a duplicate.
    pub(super) fn caught_up(&mut self, mut reader: CatchUp) {
        if reader.outbox.is_closed() {
            return;
        }
        let head = self.team.revision();
        let oldest = self
            .recent
            .front()
            .map_or(head.0 + 1, |entry| entry.revision.0);
        if reader.after.0 + 1 < oldest {
            let team = self.identity.team.clone();
            tokio::task::spawn_local(read_history(
                team,
                self.reader.clone(),
                reader,
                self.to_self.clone(),
            ));
            return;
        }
        for entry in &self.recent {
            if entry.revision <= reader.after {
                continue;
            }
            let line = line(&self.identity.team, entry);
            if reader.outbox.send(line).is_err() {
                // Not attached yet, so a full queue only delays it; the remaining events are sent when there is room.
                let driver = self.to_self.clone();
                tokio::task::spawn_local(async move {
                    reader.outbox.room().await;
                    // The driver stops only together with its connections.
                    let _sent = driver.send(Message::CaughtUp(reader));
                });
                return;
            }
            reader.after = entry.revision;
        }
        self.subscribers.push(Subscriber {
            outbox: reader.outbox,
            transient: reader.transient,
        });
    }

    pub(super) fn publish(&mut self, entry: &JournalEntry) {
        if self.subscribers.is_empty() {
            return;
        }
        let line: Arc<str> = line(&self.identity.team, entry);
        self.send_to_subscribers(&line, false);
    }

    /// Notifies subscribers that a member's view changed although no event was stored.
    pub(super) fn publish_change(&mut self, member: &MemberName) {
        self.publish_output(member, TaskOutput::default());
    }

    pub(super) fn publish_output(&mut self, member: &MemberName, output: TaskOutput) {
        if !self
            .subscribers
            .iter()
            .any(|subscriber| subscriber.transient)
        {
            return;
        }
        let notice = TransientNotice {
            team: self.identity.team.clone(),
            after: self.team.revision(),
            member: member.clone(),
            task: output.task,
            text: output.text,
            said: output.said,
            at: self.machine.wall_ms(),
        };
        let line: Arc<str> = rpc::notification(&notice).into();
        self.send_to_subscribers(&line, true);
    }

    fn send_to_subscribers(&mut self, line: &Arc<str>, transient: bool) {
        self.subscribers.retain(|subscriber| {
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

/// Disconnects a subscriber that does not read. It resumes after its last revision.
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

async fn read_history(
    team: TeamId,
    history: HistoryReader,
    mut reader: CatchUp,
    driver: mpsc::UnboundedSender<Message>,
) {
    loop {
        let after = reader.after;
        let permit = history.permit().await;
        if reader.outbox.is_closed() {
            return;
        }
        let page = permit
            .read(move |history| history.events_after(after, PAGE))
            .await;
        let page = match page {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot read events");
                return reader.outbox.close();
            }
            Err(panic) => {
                tracing::error!(%panic, "reading events panicked");
                return reader.outbox.close();
            }
        };
        let is_last = page.len() < PAGE;
        for entry in &page {
            let line = line(&team, entry);
            while reader.outbox.send(line.clone()).is_err() {
                reader.outbox.room().await;
            }
            if reader.outbox.is_closed() {
                return;
            }
            reader.after = entry.revision;
        }
        if is_last || page.is_empty() {
            // The driver stops only together with its connections.
            let _sent = driver.send(Message::CaughtUp(reader));
            return;
        }
    }
}

/// The event notification. Embeds the journal's JSON as it is, without parsing it.
fn line(team: &TeamId, entry: &JournalEntry) -> Arc<str> {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{{\"team\":\"{team}\",\"revision\":{},\"at\":{},\"event\":{}}}}}\n",
        entry.revision.0, entry.at, entry.event
    )
    .into()
}
