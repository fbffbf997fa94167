//! Goals, turns of the members' models, and the shared memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_team_protocol::id::{MemberName, Party, RunId, TaskId};
use agent_team_protocol::value::MessageNote;

use super::shutdown::stopped_by;
use super::{CallResult, Decider, LABEL_MAX, TEXT_MAX, check_size, first_line};
use crate::input::{NewRun, Origin, TurnProgress};
use crate::refusal::Refused;
use crate::team::answers::Answer;
use crate::team::event::Event;
use crate::team::member::{GRACE_MS, Life};
use crate::team::memory;
use crate::team::round::Strategy;
use crate::team::run::TranscriptSummary;
use crate::team::task::TaskState;
use crate::transition::TranscriptItems;

/// Maximum number of tasks that a refusal names.
const NAMED_MAX: usize = 20;

/// Maximum number of changed files that are recorded for a run.
const FILES_MAX: usize = 1_000;

/// Maximum length of the path of a changed file, in bytes: the limit of Linux.
const FILE_NAME_MAX: usize = 4096;

impl Decider<'_> {
    pub(super) fn start_run(&mut self, new: NewRun) -> CallResult {
        let NewRun {
            goal,
            then_down,
            anew,
            memory,
            effort,
            attach_outside,
        } = new;
        check_size("the goal", &goal, TEXT_MAX)?;
        for (key, value) in &memory {
            check_memory(key, value)?;
        }
        let Party::Member(lead) = self.lead() else {
            return Err(Refused::NoLead);
        };
        if !self.member(&lead)?.spec.claimable.may_have_goal() {
            return Err(Refused::LeadNotAgent);
        }
        let effort_before = self.team.effort();
        let before = self.team.run.as_ref().filter(|run| run.is_under_way());
        if let Some(run) = before {
            // A stalled run never ends by itself: another goal may replace it.
            if !anew && !self.team.is_stalled() {
                return Err(Refused::RunUnderWay {
                    run: run.id,
                    goal: first_line(&run.goal).to_string(),
                });
            }
            let run = run.id;
            self.abandon_round(&Origin::User);
            self.record(Event::RunAbandoned { run });
        }
        let run = RunId(self.team.run.as_ref().map_or(0, |run| run.id.0) + 1);
        let blocked = self.names(|member| self.team.out_of_budget(member).is_some());
        self.record(Event::RunStarted {
            run,
            goal: goal.clone(),
            then_down,
            memory: memory.into_iter().collect(),
            first_task: Some(self.team.next_task()),
            effort,
        });
        if self.member(&lead)?.spec.must_plan {
            // A new goal locks the lead: an approval for the previous goal must not carry over.
            self.withdraw_open_requests(&lead);
        }
        // Send the allowances before the goal, so that the first model request for the goal uses the new effort.
        match effort == effort_before {
            true => self.send_allowances(blocked),
            false => self.send_all_allowances(),
        }
        // In rounds the question to the lead's model contains the goal.
        if self.team.spec.strategy == Strategy::Lead {
            let note = MessageNote {
                attach_outside,
                ..MessageNote::default()
            };
            self.accept(
                Party::User,
                vec![Party::Member(lead)],
                goal,
                false,
                None,
                note,
            );
        }
        Ok(Answer::Run { run }.into())
    }

    pub(super) fn finish_run(&mut self, answer: Arc<str>, force: bool) -> CallResult {
        check_size("the answer", &answer, TEXT_MAX)?;
        let run = self.team.run.as_ref().filter(|run| run.is_under_way());
        let id = run.ok_or(Refused::NoRun)?.id;
        let open = self.unfinished().count();
        if !force && open > 0 {
            let named: Vec<TaskId> = self.unfinished().take(NAMED_MAX).collect();
            let more = open - named.len();
            return Err(Refused::TasksOpen { named, more });
        }
        self.end_run(id, answer);
        Ok(Answer::Run { run: id }.into())
    }

    pub(super) fn append(&mut self, by: &Origin, progress: TurnProgress) -> CallResult {
        let (name, _) = by.member()?;
        let TurnProgress {
            items,
            read,
            spent,
            changed,
            turn_end,
            failure,
        } = progress;
        let before = self.member(name)?.transcript;
        self.acknowledge(name, read)?;
        let summary = TranscriptSummary {
            length: before.length + items.len() as u64,
            spent: before.spent.plus(spent),
            active: turn_end.is_none(),
            reported: before.active && before.reported,
        };
        if summary != before {
            self.record(Event::TranscriptGrown {
                member: name.clone(),
                summary,
            });
        }
        if let Some(failure) = failure.filter(|_| turn_end.is_some()) {
            let reason = first_line(&failure);
            let reason = &reason[..reason.floor_char_boundary(LABEL_MAX)];
            self.record(Event::TurnFailed {
                member: name.clone(),
                reason: reason.into(),
            });
        }
        self.record_changed_files(name, changed);
        if !items.is_empty() {
            self.transition.transcript_items.push(TranscriptItems {
                member: name.clone(),
                after: before.length,
                items,
            });
        }
        if turn_end.is_some() {
            self.withdraw_open_requests(name);
        }
        if let Some(report) = turn_end
            && !summary.reported
            && !report.is_empty()
        {
            self.report(name, &report);
        }
        if !summary.active
            && let Life::StopRequested { stop_request, .. } = self.member(name)?.life.clone()
        {
            // The turn is over, and the member did not object to the stop.
            self.end(
                name,
                GRACE_MS,
                stop_request.then,
                &stopped_by(&stop_request.by),
            );
        }
        Ok(Answer::Length {
            length: summary.length,
        }
        .into())
    }

    /// Records the files that a member was the first to change during the run. Files beyond the limits are not
    /// recorded: a worker must not fill the memory of the supervisor.
    fn record_changed_files(&mut self, name: &MemberName, changed: Vec<Arc<str>>) {
        let Some(run) = self.team.run.as_ref().filter(|run| run.is_under_way()) else {
            return;
        };
        let is_new = |file: &Arc<str>| file.len() <= FILE_NAME_MAX && !run.files.contains_key(file);
        let new: BTreeSet<Arc<str>> = changed.into_iter().filter(is_new).collect();
        let room = FILES_MAX.saturating_sub(run.files.len());
        let files: Vec<Arc<str>> = new.into_iter().take(room).collect();
        if !files.is_empty() {
            self.record(Event::FilesChanged {
                run: run.id,
                member: name.clone(),
                files,
            });
        }
    }

    /// Sends the last text of a turn to the lead. The caller has checked that the lead received no other report in that
    /// turn.
    fn report(&mut self, name: &MemberName, report: &str) {
        let lead = self.lead();
        if lead == Party::Member(name.clone()) || lead == Party::User {
            return;
        }
        let text = &report[..report.floor_char_boundary(TEXT_MAX)];
        self.accept(
            Party::Member(name.clone()),
            vec![lead],
            Arc::from(text),
            false,
            None,
            MessageNote::default(),
        );
    }

    pub(super) fn remember(&mut self, key: Arc<str>, value: Arc<str>) -> CallResult {
        check_memory(&key, &value)?;
        if !self.team.memory.contains_key(&key) && self.team.memory.len() >= memory::KEYS_MAX {
            return Err(Refused::MemoryFull(memory::KEYS_MAX));
        }
        self.record(Event::Remembered { key, value });
        Ok(Answer::Done.into())
    }

    /// Notifies the lead that no member works. After one notice, sends no other until a task has been claimed or a
    /// teammate has been in a turn. Without the notice, a lead that waits for its members would wait forever.
    pub(super) fn notice_idleness(&mut self) {
        let Some(run) = &self.team.run else { return };
        let Some(lead) = self.team.lead() else { return };
        if self.team.spec.strategy != Strategy::Lead {
            // A run in rounds always waits for a member, or for a reply to a question.
            return;
        }
        if !run.is_under_way() || run.idle_notified || !matches!(lead.life, Life::Ready { .. }) {
            return;
        }
        if self.team.is_busy() {
            return;
        }
        let (run, lead) = (run.id, lead.spec.name.clone());
        let text = match self.unfinished().count() {
            0 => "All members are idle and no task is open. Follow up, or finish the run with your answer.".to_owned(),
            open => format!(
                "All members are idle, and {open} of the tasks are not finished: see list_tasks. Assign, change or \
                 cancel them, start a member that may claim them, or finish the run."
            ),
        };
        self.record(Event::RunIdle { run });
        self.notify([Party::Member(lead)], text);
    }

    /// Whether the party created a task that is pending or in progress.
    pub(super) fn has_open_tasks_of(&self, party: &Party) -> bool {
        let mut open = self.unfinished().filter_map(|id| self.team.board.get(id));
        open.any(|task| task.created_by == *party)
    }

    /// Tasks that are pending or in progress.
    fn unfinished(&self) -> impl Iterator<Item = TaskId> {
        let open = self.team.board.iter().filter(|task| match task.state {
            TaskState::Pending { .. } | TaskState::InProgress { .. } => true,
            TaskState::Failed { .. } | TaskState::Cancelled => false,
        });
        open.map(|task| task.id)
    }
}

fn check_memory(key: &str, value: &str) -> Result<(), Refused> {
    check_size("the key", key, memory::KEY_MAX)?;
    check_size("the value", value, memory::VALUE_MAX)
}
