//! Attaches event subscribers, and reads history for subscribers that are behind. Called by the driver.

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::method::{Subscribe, SubscribeAnswer};
use agent_team_protocol::notification::{
    Goodbye, GoodbyeReason, NotifyUser, TaskOutput, TransientNotice,
};
use agent_team_protocol::{ErrorCode, MemberName, Refusal, Revision, TeamId};
use agent_team_store::ReadError;
use tokio::sync::mpsc;

use super::Driver;
use super::history_reader::HistoryReader;
use super::message::Message;
use super::subscribers::{CatchUp, Progress, line};
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
        let driver = self.to_self.clone();
        match self.subscribers.catch_up(reader, self.team.revision()) {
            Progress::Settled => {}
            Progress::Behind(reader) => {
                let (team, history) = (self.identity.team.clone(), self.reader.clone());
                tokio::task::spawn_local(read_history(team, history, reader, driver));
            }
            Progress::Full(reader) => {
                tokio::task::spawn_local(async move {
                    reader.outbox.room().await;
                    // Fails only after the driver has stopped.
                    let _sent = driver.send(Message::CaughtUp(reader));
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

async fn read_history(
    team: TeamId,
    history: HistoryReader,
    mut reader: CatchUp,
    driver: mpsc::UnboundedSender<Message>,
) {
    loop {
        let (after, team) = (reader.after, team.clone());
        let permit = history.permit().await;
        if reader.outbox.is_closed() {
            return;
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
                return end(&reader, unreadable(&error, reader.after));
            }
            Err(panic) => {
                tracing::error!(%panic, "reading events panicked");
                return end(&reader, Refusal::internal(panic.to_string()));
            }
        };
        let is_last = page.len() < PAGE;
        for (revision, line) in page {
            while reader.outbox.send(line.clone()).is_err() {
                reader.outbox.room().await;
            }
            if reader.outbox.is_closed() {
                return;
            }
            reader.after = revision;
        }
        if is_last {
            // Fails only after the driver has stopped.
            let _sent = driver.send(Message::CaughtUp(reader));
            return;
        }
    }
}
