//! Submits batches to the store, and handles the result of each commit. Called by the driver's loop.

use std::time::Instant;

use agent_team_core::{CallKey, Effect, Event, ReplyTo, Team};
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::view::CommitView;
use agent_team_protocol::{ErrorCode, Refusal, with_causes};
use agent_team_store::{Batch, CommitError, Committed};

use super::batch::{FollowUp, NextBatch, PostCommit};
use super::request::{Change, RequestKind};
use super::{Driver, InFlight, Message, Notice, Request, Storage};
use crate::committer::Submitted;
use crate::failpoints::Failpoint;

/// Minimum number of records between two snapshots. The replay of so many records takes about 20 ms.
const SNAPSHOT_AFTER: u64 = 10_000;

impl Driver {
    /// Submits the pending batch to the store. A batch without events needs no commit: its work is done at once, and a
    /// probe is submitted instead if calls wait for room on the disk.
    pub(super) fn submit(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        if self.next_batch.is_empty() {
            let follow_up = std::mem::take(&mut self.next_batch).into_follow_up();
            if !follow_up.work.is_empty() {
                self.carry_out(follow_up);
            }
            if let Storage::Full(held) = &self.storage
                && !held.is_empty()
            {
                let (batch, _nothing) = self.seal(NextBatch::default());
                self.submit_batch(batch, InFlight::Probe);
            }
            return;
        }
        self.machine.reach_failpoint(Failpoint::Decided);
        let next = std::mem::take(&mut self.next_batch);
        let (batch, follow_up) = self.seal(next);
        self.submit_batch(batch, InFlight::Batch(follow_up));
    }

    fn submit_batch(&mut self, batch: Batch, flight: InFlight) {
        self.in_flight = Some(flight);
        if let Submitted::Answered(answer) = self.committer.submit(batch, self.messages.is_empty())
        {
            self.commit_ended(*answer);
            self.committer.upkeep();
        }
    }

    fn seal(&self, next: NextBatch) -> (Batch, FollowUp) {
        let snapshot = self.is_snapshot_due().then(|| self.team.snapshot());
        next.seal(self.team.revision(), snapshot)
    }

    /// Whether to store a snapshot now. A snapshot has about as many events as the board has tasks. While the journal
    /// after the last snapshot is shorter than that, a new snapshot would cost more than it saves at the next start.
    fn is_snapshot_due(&self) -> bool {
        self.since_snapshot >= SNAPSHOT_AFTER.max(self.team.board().len() as u64)
    }

    pub(super) fn commit_ended(&mut self, result: Result<Committed, CommitError>) {
        let Some(flight) = self.in_flight.take() else {
            return;
        };
        match (result, flight) {
            (Ok(committed), InFlight::Batch(follow_up)) => {
                self.machine.reach_failpoint(Failpoint::Committed);
                // The events are published before the calls are answered. Both use the queue of the connection, so a
                // client that subscribes and calls over one connection receives the events of its call before the
                // answer.
                self.stored(committed, follow_up.records);
                self.carry_out(follow_up);
                self.machine.reach_failpoint(Failpoint::Effected);
            }
            (Ok(_), InFlight::Probe) => {
                tracing::info!("the disk has room again");
                if let Storage::Full(held) = std::mem::replace(&mut self.storage, Storage::Stored) {
                    held.into_iter()
                        .for_each(|request| self.handle_call(request));
                }
            }
            (Err(error), InFlight::Batch(follow_up)) => self.not_stored(&error, follow_up),
            (Err(error), InFlight::Probe) => {
                let refusal = storage_refusal(&error);
                if let Storage::Full(held) = &mut self.storage {
                    super::refuse_all(held.drain(..).map(|request| request.reply), &refusal);
                }
            }
        }
    }

    fn stored(&mut self, committed: Committed, records: usize) {
        self.since_snapshot = committed.since_snapshot;
        let commit = CommitView {
            revision: committed.revision,
            records: u32::try_from(records).unwrap_or(u32::MAX),
            took_us: u64::try_from(committed.took.as_micros()).unwrap_or(u64::MAX),
            ago_ms: 0,
        };
        let events = committed.entries.iter().flat_map(|entry| &entry.event);
        tracing::debug!(
            team = %self.identity.team,
            revision = commit.revision.0,
            kinds = %events.map(Event::kind).collect::<Vec<_>>().join(" "),
            took_us = commit.took_us,
            "committed"
        );
        self.commits += 1;
        self.last_commit = Some((commit, Instant::now()));
        for entry in committed.entries {
            if let Some(event) = &entry.event {
                self.notify_user(event);
            }
            self.subscribers.publish(entry);
        }
    }

    fn carry_out(&mut self, follow_up: FollowUp) {
        let visible = follow_up.visible;
        for work in follow_up.in_order() {
            match work {
                PostCommit::Effect(effect) => self.perform(effect),
                PostCommit::Read { by, reply, query } => query.answer(self, &by, reply),
                PostCommit::Welcome(hello) => self.welcome(hello),
                PostCommit::DeliverMessages(member) => self.deliver_messages(&member),
            }
        }
        self.check_waiters();
        if visible {
            self.refresh_labels();
        }
        self.watch_for_down();
    }

    /// Updates the flag `is_down`. Notifies the supervisor when the team is down, its panes are closed and the callers
    /// of `down` are answered.
    pub(super) fn watch_for_down(&mut self) {
        let is_down = self.team.is_down() && !self.down.is_pending();
        if is_down && !self.flags.is_down.get() {
            let _supervisor_gone = self.notices.send(Notice::WentDown);
        }
        self.flags.is_down.set(is_down);
    }

    /// Handles a batch that was not stored. Restores the state from the store, unless the error is fatal. Refuses the
    /// calls of the batch, with two exceptions: repeated calls get their stored answer, and calls of a batch that was
    /// not attempted get no answer.
    fn not_stored(&mut self, error: &CommitError, follow_up: FollowUp) {
        tracing::error!(error = %with_causes(error), "a commit failed");
        let refusal = storage_refusal(error);
        let (mut ends, mut reads, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        for work in follow_up.work {
            match work {
                PostCommit::Effect(
                    Effect::Reply { to, .. } | Effect::RunCompletionHook { reply: to, .. },
                ) => calls.push(to),
                // It is safe to end processes although that is not recorded: `EndTree` can be repeated, and the core
                // ends the launch again from the restored state, at the latest when no process of the launch is left.
                PostCommit::Effect(end @ Effect::EndTree { .. }) => ends.push(end),
                PostCommit::Effect(_) | PostCommit::DeliverMessages(_) => {}
                PostCommit::Read { by, reply, query } => reads.push((by, reply, query)),
                PostCommit::Welcome(hello) => hello.reply.refuse(refusal.clone()),
            }
        }
        ends.into_iter().for_each(|end| self.perform(end));
        match error {
            CommitError::Broken { .. } => {
                let _supervisor_gone = self.notices.send(Notice::SyncFailed);
                self.storage = Storage::Ending(error.to_string());
            }
            CommitError::Moved(_) | CommitError::Panicked(_) | CommitError::OutOfOrder { .. } => {
                self.storage = Storage::Failed(error.to_string());
            }
            CommitError::Full(_) | CommitError::Locked(_) | CommitError::Failed { .. } => {
                if matches!(error, CommitError::Full(_))
                    && !matches!(self.storage, Storage::Full(_))
                {
                    self.storage = Storage::Full(Vec::new());
                }
                self.rebuild();
            }
        }
        if let CommitError::Broken {
            attempted: false, ..
        } = error
        {
            // These calls had no part in the failure, which may be long past. They get no answer, so their callers
            // repeat them at the next supervisor.
            return calls.into_iter().for_each(|to| drop(self.replies.take(to)));
        }
        calls
            .into_iter()
            .for_each(|to| self.refuse_call(to, &refusal));
        for (by, reply, query) in reads {
            match self.storage {
                // The state equals the stored state again, so queries can be answered from it.
                Storage::Stored | Storage::Full(_) => query.answer(self, &by, reply),
                Storage::Failed(_) | Storage::Ending(_) => reply.refuse(refusal.clone()),
            }
        }
    }

    /// Refuses a call of a batch that was not stored. If the call repeats a stored call, the reply is the stored
    /// answer.
    fn refuse_call(&mut self, to: ReplyTo, refusal: &Refusal) {
        let Some(pending) = self.replies.take(to) else {
            return;
        };
        // After a rebuild `self.team` contains only stored answers. A fatal storage error is not followed by a rebuild,
        // so `self.team` still contains the answers of the failed batch.
        let is_rebuilt = matches!(self.storage, Storage::Stored | Storage::Full(_));
        let key = pending.key.as_ref().filter(|_| is_rebuilt);
        match key.and_then(|key| self.team.answered(key).ok()?.cloned()) {
            Some(answer) => self.answer_pending(pending, Ok(answer)),
            None => pending.reply.refuse(refusal.clone()),
        }
    }

    /// Whether an earlier call with the same key was answered.
    fn is_repeated(&self, request: &Request) -> bool {
        request.key.as_ref().is_some_and(|key| {
            let key = CallKey {
                caller: request.caller.clone(),
                key: key.clone(),
                digest: request.digest,
            };
            matches!(self.team.answered(&key), Ok(Some(_)))
        })
    }

    /// Drops the state and restores it from the store, as at a start. Before `adopt`, the hellos of connected workers
    /// are fed to the new state, so that `adopt` finds these members ready.
    fn rebuild(&mut self) {
        match self.reader.history().restore::<Team>() {
            Ok(restored) => {
                self.team = restored.state;
                self.settings.refresh(&self.team);
                self.next_batch = NextBatch::default();
                self.repeat_hellos();
                self.adopt();
            }
            Err(error) => {
                tracing::error!(%error, "cannot restore the team from its store");
                self.storage = Storage::Failed(error.to_string());
            }
        }
    }

    /// Returns the call if it may be processed now. Otherwise the call is refused or dropped, or waits in
    /// [`Storage::Full`] for the next probe of the disk.
    pub(super) fn admit(&mut self, request: Request) -> Option<Request> {
        let urgent = request.kind.is_urgent();
        let is_full = matches!(self.storage, Storage::Full(_));
        if is_full && self.is_repeated(&request) {
            return Some(request);
        }
        match (&mut self.storage, &request.kind) {
            (Storage::Stored, _)
            | (Storage::Full(_) | Storage::Failed(_), RequestKind::Query(_)) => Some(request),
            (Storage::Full(_), RequestKind::Change(_)) if urgent => Some(request),
            (Storage::Full(held), RequestKind::Change(_)) => {
                held.push(request);
                None
            }
            (Storage::Ending(_), _) => None,
            (Storage::Failed(why), RequestKind::Change(change)) => {
                let refusal =
                    Refusal::new(ErrorCode::StorageFailed, why.clone()).hint(storage_lost());
                if urgent && !matches!(change, Change::Decide(_)) {
                    self.end_unstored();
                }
                request.reply.refuse(refusal);
                None
            }
        }
    }

    /// Kills all processes of the team although that cannot be recorded: the last resort when nothing can be stored.
    fn end_unstored(&mut self) {
        let ends: Vec<Effect> = self
            .team
            .members()
            .filter_map(|member| {
                Some(Effect::EndTree {
                    member: member.spec.name.clone(),
                    launch: member.life.launch()?.id.clone(),
                    process: member.life.process(),
                    scan: agent_team_core::effect::Scan::Everything,
                })
            })
            .collect();
        ends.into_iter().for_each(|end| self.perform(end));
    }

    pub(super) fn send_to_self(&self, message: Message) {
        // Cannot fail: the driver owns the receiver.
        let _sent = self.to_self.send(message);
    }
}

/// Hint when storage has failed for good.
fn storage_lost() -> String {
    format!(
        "end processes with {} or {}, then continue from the stored state with: {}",
        CommandLine::KillAny,
        CommandLine::DownForced,
        CommandLine::RestartSupervisor
    )
}

fn storage_refusal(error: &CommitError) -> Refusal {
    match error {
        CommitError::Full(_) => Refusal::new(ErrorCode::StorageFull, error.to_string())
            .hint("free disk space and try again; reading and stopping still work"),
        CommitError::Locked(file) => {
            let hint = format!(
                "close the other program and try again; find it with: fuser {}",
                file.display()
            );
            Refusal::new(ErrorCode::StorageFailed, error.to_string()).hint(hint)
        }
        CommitError::Failed { .. } => Refusal::new(ErrorCode::StorageFailed, with_causes(error)),
        CommitError::Moved(_)
        | CommitError::Broken { .. }
        | CommitError::OutOfOrder { .. }
        | CommitError::Panicked(_) => {
            Refusal::new(ErrorCode::StorageFailed, with_causes(error)).hint(storage_lost())
        }
    }
}
