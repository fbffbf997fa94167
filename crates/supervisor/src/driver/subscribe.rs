//! Attaches event subscribers, and reads history for subscribers that are behind. Called by the driver.

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::method::{Subscribe, SubscribeAnswer};
use agent_team_protocol::notification::{
    Goodbye, GoodbyeReason, NotifyUser, TaskOutput, TransientNotice,
};
use agent_team_protocol::{ErrorCode, MemberName, Refusal, Revision, TeamId};
use agent_team_store::ReadError;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;

use super::history_reader::HistoryReader;
use super::message::Message;
use super::subscribers::{CatchUp, Progress, line};
use super::{Driver, DriverFlags};
use crate::outbox::Reply;

/// The largest number of events in one page of history.
const PAGE: usize = 512;

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

    /// Attaches a subscriber that is near the head. Otherwise reads history for it, or waits until its queue has room.
    pub(super) fn caught_up(&mut self, reader: CatchUp) {
        let (driver, flags) = (self.to_self.clone(), self.flags.clone());
        match self.subscribers.catch_up(reader, self.team.revision()) {
            Progress::Settled => {}
            Progress::Behind(reader) => {
                let (team, history) = (self.identity.team.clone(), self.reader.clone());
                tokio::task::spawn_local(async move {
                    if let Some(reader) = read_history(team, history, reader).await {
                        return_to_driver(&driver, &flags, reader);
                    }
                });
            }
            Progress::Full(reader) => {
                tokio::task::spawn_local(async move {
                    reader.outbox.room().await;
                    return_to_driver(&driver, &flags, reader);
                });
            }
        }
    }

    /// Notifies subscribers that a member's view changed although no event was stored.
    pub(super) fn publish_change(&mut self, member: &MemberName) {
        self.publish_output(member, TaskOutput::default());
    }

    pub(super) fn publish_output(&mut self, member: &MemberName, output: TaskOutput) {
        self.publish_transient(member, output, None);
    }

    /// Publishes a notification to the user for the client whose terminal shows agent-team's tmux server: that server
    /// does not forward notifications from its panes.
    pub(super) fn publish_notification(&mut self, member: &MemberName, notify: &NotifyUser) {
        self.publish_transient(member, TaskOutput::default(), Some(notify.clone()));
    }

    fn publish_transient(
        &mut self,
        member: &MemberName,
        output: TaskOutput,
        notify: Option<NotifyUser>,
    ) {
        if self.subscribers.want_transient() {
            self.subscribers.publish_transient(&TransientNotice {
                team: self.identity.team.clone(),
                after: self.team.revision(),
                member: member.clone(),
                task: output.task,
                text: output.text,
                fragments: output.fragments,
                notify,
                at: self.machine.wall_ms(),
            });
        }
    }
}

/// Returns a subscriber to the driver, which attaches it. The driver of a deleted team receives no message: the
/// connection is closed here, because the driver knew only the attached subscribers when it closed their connections.
/// When the supervisor stops, the server sends the goodbye.
fn return_to_driver(driver: &mpsc::UnboundedSender<Message>, flags: &DriverFlags, reader: CatchUp) {
    if let Err(SendError(Message::CaughtUp(reader))) = driver.send(Message::CaughtUp(reader))
        && flags.is_deleted.get()
    {
        reader.outbox.send_goodbye(&Goodbye::CLOSED);
    }
}

/// Ends a subscription with an error, and closes its connection. Without the error the client would subscribe again,
/// and the read would fail again at the same event.
fn end(reader: &CatchUp, error: Refusal) {
    reader.outbox.send_goodbye(&Goodbye {
        reason: GoodbyeReason::Closed,
        error: Some(error),
    });
}

/// The error for a subscriber that has received the events up to `last`.
fn unreadable(error: &ReadError, last: Revision) -> Refusal {
    let refusal = Refusal::new(
        ErrorCode::StorageFailed,
        format!("cannot read events: {error}"),
    );
    match error {
        ReadError::Damaged(_) => {
            let next = CommandLine::EventsAfter(Revision(last.0 + 1));
            refusal.hint(format!(
                "print the events after the damaged event with: {next}"
            ))
        }
        ReadError::Unknown { .. } | ReadError::Moved(_) | ReadError::Sqlite(_) => refusal,
    }
}

/// Sends the stored events up to a recent one. Returns nothing when the connection was closed.
async fn read_history(
    team: TeamId,
    history: HistoryReader,
    mut reader: CatchUp,
) -> Option<CatchUp> {
    loop {
        let (after, team) = (reader.after, team.clone());
        let permit = history.permit().await;
        if reader.outbox.is_closed() {
            return None;
        }
        let page = permit
            .read(move |history| {
                let page = history.events_after(after, PAGE)?.into_iter();
                let lines = page.map(|entry| (entry.revision, line(&team, entry)));
                Ok::<_, ReadError>(lines.collect::<Vec<_>>())
            })
            .await;
        let page = match page {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot read events");
                end(&reader, unreadable(&error, reader.after));
                return None;
            }
            Err(panic) => {
                tracing::error!(%panic, "reading events panicked");
                end(&reader, Refusal::internal(panic.to_string()));
                return None;
            }
        };
        let is_short = page.len() < PAGE;
        for (revision, line) in page {
            while reader.outbox.send(line.clone()).is_err() {
                reader.outbox.room().await;
            }
            if reader.outbox.is_closed() {
                return None;
            }
            reader.after = revision;
        }
        if is_short {
            return Some(reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Frames;
    use super::*;

    #[test]
    fn a_deleted_team_closes_subscribers_that_read_history() {
        for is_deleted in [true, false] {
            let (outbox, mut frames) = Frames::pair();
            let reader = CatchUp {
                outbox: outbox.clone(),
                after: Revision(0),
                transient: false,
            };
            let flags = DriverFlags::default();
            flags.is_deleted.set(is_deleted);
            let (driver, stopped) = mpsc::unbounded_channel();
            drop(stopped);
            return_to_driver(&driver, &flags, reader);
            assert_eq!(outbox.is_closed(), is_deleted);
            let reason = frames
                .next()
                .map(|goodbye| goodbye["params"]["reason"].clone());
            assert_eq!(reason, is_deleted.then(|| "closed".into()));
        }
    }
}
