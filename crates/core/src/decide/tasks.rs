//! Calls on the board. Each checks everything before it records its first event.

use std::sync::Arc;

use agent_team_protocol::id::{MemberName, NumberedId, Party, TaskId};

use super::{CallOutcome, CallResult, Decider, LABEL_MAX, TEXT_MAX, check_size, first_line, party};
use crate::effect::Effect;
use crate::globs::may_overlap;
use crate::input::{After, ClaimRef, CompletionHook, Origin, ReplyTo, TaskChanges, TaskLine};
use crate::refusal::{Oversized, Refused, StateName};
use crate::team::answers::{Answer, CallKey};
use crate::team::event::Event;
use crate::team::member::Life;
use crate::team::run::Run;
use crate::team::spec::TaskSpec;
use crate::team::task::{GraphError, REFUSALS_MAX, Task, TaskState};

/// Maximum size of all texts of a task together, in bytes: with its result, and with every character escaped, a task
/// still fits into a frame.
const SPEC_MAX: usize = 96 << 10;

/// Maximum length of a task's metadata, in bytes.
const METADATA_MAX: usize = 32 << 10;

/// Maximum number of blocked tasks that a notice names.
const NAMED_MAX: usize = 20;

impl Decider<'_> {
    pub(super) fn add_task(
        &mut self,
        by: &Origin,
        mut spec: TaskSpec,
        after: &[After],
        lines: &[TaskLine],
    ) -> CallResult {
        let task = self.team.next_task();
        spec.after = self.resolve(&spec.title, after)?;
        self.check_spec(&spec)?;
        self.check_lines(by, spec.run.iter().chain(&spec.verify), lines)?;
        self.check_after(task, &spec.after)?;
        self.record(Event::TaskAdded {
            task,
            spec,
            created_by: party(by),
        });
        Ok(self.task_answer(task))
    }

    pub(super) fn update_task(
        &mut self,
        by: &Origin,
        id: TaskId,
        changes: TaskChanges,
        lines: &[TaskLine],
    ) -> CallResult {
        let task = self.open_task(id, "changed")?;
        self.check_may_change(by, task)?;
        let written = [&changes.run, &changes.verify];
        self.check_lines(by, written.into_iter().flatten().flatten(), lines)?;
        if let Some(Some(assignee)) = &changes.assignee
            && task.spec.assignee.as_ref() != Some(assignee)
            && !matches!(task.state, TaskState::Pending { .. })
        {
            return Err(wrong_state(task, "given to another member"));
        }
        let mut spec = task.spec.clone();
        if let Some(after) = &changes.after {
            spec.after = self.resolve(&spec.title, after)?;
        }
        spec.title = changes.title.unwrap_or(spec.title);
        spec.description = changes.description.unwrap_or(spec.description);
        spec.priority = changes.priority.unwrap_or(spec.priority);
        spec.labels = changes.labels.unwrap_or(spec.labels);
        spec.role = changes.role.unwrap_or(spec.role);
        spec.assignee = changes.assignee.unwrap_or(spec.assignee);
        spec.files = changes.files.unwrap_or(spec.files);
        spec.run = changes.run.unwrap_or(spec.run);
        spec.verify = changes.verify.unwrap_or(spec.verify);
        spec.rerun = changes.rerun.unwrap_or(spec.rerun);
        spec.active_form = changes.active_form.or(spec.active_form);
        spec.metadata = changes.metadata.or(spec.metadata);
        self.check_spec(&spec)?;
        self.check_after(id, &spec.after)?;
        self.record(Event::TaskChanged { task: id, spec });
        Ok(self.task_answer(id))
    }

    pub(super) fn claim_task(&mut self, by: &Origin, id: Option<TaskId>) -> CallResult {
        let claimant = match by {
            Origin::User => None,
            Origin::Member { name, .. } => Some(self.member(name)?),
        };
        // A member that is ending must not claim: `ran_nothing` decides from its claims how its process tree is
        // searched.
        if let Some(member) = claimant {
            match member.life {
                Life::Ready { .. } => {}
                Life::StopRequested { .. } | Life::Draining { .. } | Life::Ending { .. } => {
                    let mut members = self.team.members();
                    return Err(match members.any(|member| member.life.may_work()) {
                        true => Refused::MemberStopping(member.spec.name.clone()),
                        false => Refused::TeamStopping,
                    });
                }
                Life::Planned
                | Life::Launching { .. }
                | Life::Cooling { .. }
                | Life::Held { .. }
                | Life::Stopped => return Err(Refused::StaleLaunch),
            }
        }
        if let Some(member) = claimant.map(|member| &member.spec.name)
            && let Some(held) = self.team.task_of(member)
        {
            return Err(Refused::HasClaim {
                member: member.clone(),
                task: held.id,
            });
        }
        let id = match (id, claimant) {
            (Some(id), _) => id,
            (None, Some(member)) => self
                .team
                .board
                .next_for(member)
                .ok_or(Refused::NothingToClaim)?,
            (None, None) => self
                .team
                .board
                .next_for_any_member()
                .ok_or(Refused::NothingToClaim)?,
        };
        let task = self.open_task(id, "claimed")?;
        match &task.state {
            TaskState::Pending { .. } => {}
            TaskState::InProgress { owner } => {
                return Err(Refused::AlreadyClaimed {
                    task: id,
                    owner: owner.clone(),
                });
            }
            TaskState::Failed { .. } | TaskState::Cancelled => {
                return Err(wrong_state(task, "claimed"));
            }
        }
        if task.is_blocked() {
            let by = task
                .spec
                .after
                .iter()
                .copied()
                .filter(|after| self.team.board.get(*after).is_some())
                .collect();
            return Err(Refused::Blocked { task: id, by });
        }
        if let Some(member) = claimant
            && member.spec.claimable.nothing
        {
            return Err(Refused::TakesNoTasks(member.spec.name.clone()));
        }
        if let Some(member) = claimant
            && !self.team.board.may_take(member, task)
        {
            return Err(Refused::NotClaimable {
                task: id,
                wanted: wanted(&task.spec),
            });
        }
        let task = task.clone();
        self.claim_as(&task, party(by));
        self.warn_of_overlaps(&task);
        if let Origin::Member { name, .. } = by {
            self.effect(Effect::Assign {
                member: name.clone(),
                task: id,
            });
        }
        Ok(self.task_answer(id))
    }

    pub(super) fn assign_task(
        &mut self,
        by: &Origin,
        id: TaskId,
        member: &MemberName,
    ) -> CallResult {
        self.check_assignee(member)?;
        let task = self.open_task(id, "assigned")?;
        self.check_may_change(by, task)?;
        let TaskState::Pending { taken_from, .. } = &task.state else {
            return Err(wrong_state(task, "assigned"));
        };
        let was_taken_from_it = taken_from.as_ref() == Some(member);
        let spec = TaskSpec {
            assignee: Some(member.clone()),
            ..task.spec.clone()
        };
        if was_taken_from_it {
            // Clears `taken_from`: while it is set, the member does not claim the task on its own.
            self.record(Event::TaskRetried { task: id });
        }
        self.record(Event::TaskChanged { task: id, spec });
        Ok(self.task_answer(id))
    }

    pub(super) fn complete_task(
        &mut self,
        by: &Origin,
        key: Option<CallKey>,
        reply: ReplyTo,
        claim: ClaimRef,
        result: Arc<str>,
        hook: CompletionHook,
    ) -> CallResult {
        check_size(Oversized::Result, &result, TEXT_MAX)?;
        let task = self.claimed(by, claim, "completed")?.clone();
        self.check_unlocked(by)?;
        match hook {
            CompletionHook::NotRun
                if self.team.spec.asks_before_completing && task.refusals < REFUSALS_MAX =>
            {
                let claim = ClaimRef {
                    task: task.id,
                    generation: Some(task.generation),
                };
                self.effect(Effect::RunCompletionHook {
                    by: by.clone(),
                    key,
                    reply,
                    claim,
                    result,
                });
                return Ok(CallOutcome::Deferred);
            }
            CompletionHook::Refused(reason) if task.refusals < REFUSALS_MAX => {
                let refusals = task.refusals + 1;
                self.record(Event::TaskRefused {
                    task: task.id,
                    reason: reason.as_str().into(),
                    refusals,
                });
                self.notify_result(&task, "was refused by the completion hook", &reason, None);
                return Err(Refused::CompletionRefused {
                    task: task.id,
                    reason,
                });
            }
            CompletionHook::NotRun | CompletionHook::Passed | CompletionHook::Refused(_) => {}
        }
        // Only the owner's worker runs `verify`: a completion by the user, or by a lead that is not the owner, is
        // unverified.
        let by_worker = *by != Origin::User && task.owner() == Some(&party(by));
        let unverified = task.spec.verify.is_some() && !by_worker;
        self.record(Event::TaskCompleted {
            task: task.id,
            result: result.clone(),
            unverified,
        });
        self.abandon(by, &task, "the lead or the user completed it");
        // After `REFUSALS_MAX` refusals in a row the hook is not asked again, and a refusal that still arrives is
        // ignored.
        let is_against_hook =
            self.team.spec.asks_before_completing && task.refusals >= REFUSALS_MAX;
        let how = match is_against_hook {
            true => format!("completed although its hook refused {REFUSALS_MAX} times"),
            false => "completed".to_owned(),
        };
        self.notify_result(&task, &how, &result, Some(&party(by)));
        Ok(Answer::Task {
            task: task.id,
            generation: task.generation,
            overlaps: Vec::new(),
        }
        .into())
    }

    pub(super) fn fail_task(
        &mut self,
        by: &Origin,
        claim: ClaimRef,
        reason: Arc<str>,
    ) -> CallResult {
        check_size("the reason", &reason, TEXT_MAX)?;
        let task = self.claimed(by, claim, "failed")?.clone();
        self.record(Event::TaskFailed {
            task: task.id,
            reason: reason.clone(),
        });
        self.abandon(by, &task, "the lead or the user marked it as failed");
        self.notify_result(&task, "failed", &reason, Some(&party(by)));
        Ok(self.task_answer(task.id))
    }

    pub(super) fn release_task(
        &mut self,
        by: &Origin,
        claim: ClaimRef,
        note: Arc<str>,
    ) -> CallResult {
        check_size("the note", &note, TEXT_MAX)?;
        let task = self.claimed(by, claim, "released")?.clone();
        self.release_claim(&party(by), &task, note);
        self.abandon(by, &task, "it was released");
        Ok(self.task_answer(task.id))
    }

    pub(super) fn retry_task(&mut self, by: &Origin, id: TaskId) -> CallResult {
        let task = self.open_task(id, "retried")?;
        self.check_may_change(by, task)?;
        if !matches!(task.state, TaskState::Failed { .. } | TaskState::Cancelled) {
            return Err(wrong_state(task, "retried"));
        }
        self.record(Event::TaskRetried { task: id });
        Ok(self.task_answer(id))
    }

    pub(super) fn cancel_task(&mut self, by: &Origin, id: TaskId) -> CallResult {
        let task = self.open_task(id, "cancelled")?.clone();
        self.check_may_change(by, &task)?;
        if task.state == TaskState::Cancelled {
            return Err(wrong_state(&task, "cancelled"));
        }
        self.record(Event::TaskCancelled { task: id });
        self.abandon(by, &task, "it was cancelled");
        self.notify_cancelled(&task, Some(&party(by)));
        Ok(self.task_answer(id))
    }

    /// Notifies the owner that it lost the task, unless it gave the task up itself.
    pub(super) fn abandon(&mut self, by: &Origin, task: &Task, reason: &str) {
        if let Some(Party::Member(member)) = task.owner()
            && party(by) != Party::Member(member.clone())
        {
            self.effect(Effect::Abandon {
                member: member.clone(),
                task: task.id,
                generation: task.generation,
                reason: reason.into(),
            });
        }
    }

    /// Like [`Self::notify_result`], for a cancelled task. No notice if no task waits for it.
    pub(super) fn notify_cancelled(&mut self, task: &Task, by: Option<&Party>) {
        if self.waiting_for(task.id).next().is_some() {
            self.notify_result(task, "was cancelled", "", by);
        }
    }

    /// Notifies the lead and the creator that a task ended, was released or was refused, except the party `by`. If the
    /// task failed or was cancelled, the creators of the tasks that wait for it are notified, too. The end of a round's
    /// task is part of the next question to the lead's model instead.
    pub(super) fn notify_result(&mut self, task: &Task, how: &str, text: &str, by: Option<&Party>) {
        let round = self.team.run.as_ref().and_then(Run::round_under_way);
        if round.is_some_and(|(_, _, id)| id == task.id) {
            return;
        }
        let mut notice = format!("{} {} {how}", task.id, first_line(&task.spec.title));
        if let Some(Party::Member(owner)) = task.owner() {
            notice.push_str(&format!(" ({owner})"));
        }
        let stuck = self.dependents_note(task.id);
        if !text.is_empty() {
            notice.push_str(": ");
            notice.push_str(text);
            notice.truncate(notice.floor_char_boundary(TEXT_MAX - stuck.len()));
        }
        notice.push_str(&stuck);
        let lead = self.lead();
        let mut to = vec![task.created_by.clone()];
        to.extend(self.waiting_for(task.id).map(|it| it.created_by.clone()));
        let concerns_lead = to.contains(&lead) || !self.team.board.is_completed(task.id);
        to.insert(0, lead);
        to.retain(|party| by != Some(party));
        self.inform(to, notice, concerns_lead);
    }

    /// The pending tasks that depend on a failed or cancelled task. None for a task in another state.
    fn waiting_for(&self, id: TaskId) -> impl Iterator<Item = &Task> {
        let board = &self.team.board;
        let ended = board
            .get(id)
            .filter(|task| matches!(task.state, TaskState::Failed { .. } | TaskState::Cancelled));
        let dependents = ended.into_iter().flat_map(|task| board.blocks(task.id));
        let dependents = dependents.filter_map(|dependent| board.get(dependent));
        dependents.filter(|dependent| matches!(dependent.state, TaskState::Pending { .. }))
    }

    /// Advice about the tasks that wait for a failed or cancelled task; empty if there is none.
    fn dependents_note(&self, id: TaskId) -> String {
        let waiting = self.waiting_for(id).take(NAMED_MAX);
        let waiting: Vec<String> = waiting.map(|task| task.id.to_string()).collect();
        if waiting.is_empty() {
            return String::new();
        }
        format!(
            "\n{id} blocks {}. Retry {id}, or change the dependencies (`after`) of the blocked tasks.",
            waiting.join(", ")
        )
    }

    /// Warns the lead about other tasks in progress that declare overlapping files.
    pub(super) fn warn_of_overlaps(&mut self, task: &Task) {
        let overlaps = self.overlaps(task);
        if !overlaps.is_empty() {
            let others: Vec<String> = overlaps.iter().map(ToString::to_string).collect();
            let text = format!(
                "{} and {} declare overlapping files",
                task.id,
                others.join(", ")
            );
            self.notify([self.lead()], text);
        }
    }

    fn overlaps(&self, task: &Task) -> Vec<TaskId> {
        if task.spec.files.is_empty() {
            return Vec::new();
        }
        self.team
            .board
            .in_progress()
            .filter(|other| other.id != task.id)
            .filter(|other| {
                other
                    .spec
                    .files
                    .iter()
                    .any(|theirs| task.spec.files.iter().any(|ours| may_overlap(ours, theirs)))
            })
            .map(|other| other.id)
            .collect()
    }

    fn task_answer(&self, id: TaskId) -> CallOutcome {
        let task = self.team.board.get(id);
        let overlaps = task
            .filter(|task| task.owner().is_some())
            .map_or_else(Vec::new, |task| self.overlaps(task));
        let generation = task.map_or_else(Default::default, |task| task.generation);
        Answer::Task {
            task: id,
            generation,
            overlaps,
        }
        .into()
    }

    /// A task that is not completed.
    fn open_task(&self, id: TaskId, wanted: &'static str) -> Result<&Task, Refused> {
        match self.team.board.get(id) {
            Some(task) => Ok(task),
            None if self.team.board.has_existed(id) => Err(Refused::WrongState {
                task: id,
                state: StateName::Completed,
                wanted,
            }),
            None => Err(Refused::UnknownTask(id)),
        }
    }

    /// A task whose current claim the caller may end.
    fn claimed(
        &self,
        by: &Origin,
        claim: ClaimRef,
        wanted: &'static str,
    ) -> Result<&Task, Refused> {
        let task = self.open_task(claim.task, wanted)?;
        let Some(owner) = task.owner() else {
            return Err(wrong_state(task, wanted));
        };
        let is_current = match claim.generation {
            Some(generation) => generation == task.generation,
            None => *by == Origin::User,
        };
        if !is_current {
            return Err(Refused::StaleClaim {
                task: task.id,
                current: task.generation,
            });
        }
        if *owner != party(by) && !self.is_user_or_lead(by) {
            return Err(Refused::NotOwner {
                task: task.id,
                owner: owner.clone(),
            });
        }
        Ok(task)
    }

    fn check_may_change(&self, by: &Origin, task: &Task) -> Result<(), Refused> {
        let owner = task.owner().unwrap_or(&task.created_by);
        if *owner == party(by) || self.is_user_or_lead(by) {
            Ok(())
        } else {
            Err(Refused::NotOwner {
                task: task.id,
                owner: owner.clone(),
            })
        }
    }

    fn is_user_or_lead(&self, by: &Origin) -> bool {
        match by {
            Origin::User => true,
            Origin::Member { name, .. } => self
                .team
                .member(name)
                .is_some_and(|member| member.spec.lead),
        }
    }

    /// A member must not write a shell line that it may not run itself. Either the policy allows the line without a
    /// request, or the member is carrying out the request that allowed the line.
    fn check_lines<'a>(
        &self,
        by: &Origin,
        written: impl Iterator<Item = &'a Arc<str>>,
        lines: &[TaskLine],
    ) -> Result<(), Refused> {
        let Origin::Member { name, launch } = by else {
            return Ok(());
        };
        let requests = &self.team.requests;
        let is_allowed =
            |line: &TaskLine| line.allowed || requests.is_carried_out(name, launch, &line.digest);
        for text in written {
            if self.member(name)?.is_locked() {
                return Err(Refused::PlanFirst);
            }
            let line = lines.iter().find(|line| line.line == *text);
            if !line.is_some_and(is_allowed) {
                return Err(Refused::LineNotAllowed(first_line(text).to_string()));
            }
        }
        Ok(())
    }

    pub(super) fn check_spec(&self, spec: &TaskSpec) -> Result<(), Refused> {
        if spec.title.trim().is_empty() {
            return Err(Refused::NoTitle);
        }
        check_size("the title", &spec.title, LABEL_MAX)?;
        check_size("the key", &spec.key, LABEL_MAX)?;
        check_size("the description", &spec.description, TEXT_MAX)?;
        for label in spec.labels.iter().chain(&spec.files) {
            check_size("a label or glob", label, LABEL_MAX)?;
        }
        for line in spec.run.iter().chain(&spec.verify) {
            check_size("the shell line", line, TEXT_MAX)?;
        }
        if let Some(active_form) = &spec.active_form {
            check_size("the active form", active_form, LABEL_MAX)?;
        }
        if let Some(metadata) = &spec.metadata {
            check_size("the metadata", metadata, METADATA_MAX)?;
        }
        let texts = [&spec.title, &spec.key, &spec.description];
        let texts = texts.into_iter().chain(&spec.labels).chain(&spec.files);
        let bytes = texts
            .chain(&spec.run)
            .chain(&spec.verify)
            .chain(&spec.active_form)
            .chain(&spec.metadata)
            .map(|text| text.len())
            .sum();
        if bytes > SPEC_MAX {
            return Err(Refused::TooLarge {
                what: "the task".into(),
                bytes,
                limit: SPEC_MAX,
            });
        }
        if let Some(assignee) = &spec.assignee {
            self.check_assignee(assignee)?;
        }
        Ok(())
    }

    fn check_assignee(&self, assignee: &MemberName) -> Result<(), Refused> {
        match self.member(assignee)?.spec.claimable.nothing {
            true => Err(Refused::TakesNoTasks(assignee.clone())),
            false => Ok(()),
        }
    }

    fn resolve(&self, dependent: &str, after: &[After]) -> Result<Vec<TaskId>, Refused> {
        let mut ids: Vec<TaskId> = after
            .iter()
            .map(|after| match after {
                After::Task(id) => Ok(*id),
                After::Key(key) => {
                    // A key has precedence over an id that is typed as `t-3` or `3`.
                    let board = &self.team.board;
                    let typed = || {
                        TaskId::from_typed(key)
                            .ok()
                            .filter(|id| board.has_existed(*id))
                    };
                    board
                        .with_key(key)
                        .or_else(typed)
                        .ok_or_else(|| Refused::UnknownDependency {
                            dependent: first_line(dependent).to_string(),
                            unknown: first_line(key).to_string(),
                        })
                }
            })
            .collect::<Result<_, _>>()?;
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn check_after(&self, task: TaskId, after: &[TaskId]) -> Result<(), Refused> {
        self.team
            .board
            .check_after(task, after)
            .map_err(|error| match error {
                GraphError::Unknown(unknown) => Refused::UnknownDependency {
                    dependent: task.to_string(),
                    unknown: unknown.to_string(),
                },
                GraphError::Cycle(tasks) => {
                    Refused::Cycle(tasks.iter().map(ToString::to_string).collect())
                }
            })
    }
}

fn wrong_state(task: &Task, wanted: &'static str) -> Refused {
    let state = match &task.state {
        TaskState::Pending { .. } => StateName::Pending,
        TaskState::InProgress { .. } => StateName::InProgress,
        TaskState::Failed { .. } => StateName::Failed,
        TaskState::Cancelled => StateName::Cancelled,
    };
    Refused::WrongState {
        task: task.id,
        state,
        wanted,
    }
}

fn wanted(spec: &TaskSpec) -> String {
    match (&spec.assignee, &spec.role) {
        (Some(member), _) => member.to_string(),
        (None, Some(role)) => format!("the role {role}"),
        (None, None) => "any member".to_owned(),
    }
}
