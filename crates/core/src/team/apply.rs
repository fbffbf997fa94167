//! Applies events to the team: the only mutation. Called by the decider for new events, and by replay. It decides and
//! refuses nothing: an event has already happened.

use agent_team_protocol::id::{MemberName, Party, Revision, RunId, TaskId};

use super::Team;
use crate::event::{Event, Record};
use crate::mail::Unread;
use crate::member::{Launch, Life, Member, ProcessStamp};
use crate::restarts::Restarts;
use crate::round::{Decision, Round, RoundEnd, Work};
use crate::run::{Run, RunState, TranscriptSummary};
use crate::task::{Outcome, Task};
use crate::time::Tick;

impl Team {
    /// Applies one event. Replaying a journal calls nothing else.
    ///
    /// Returns a completed task, which leaves the board.
    pub fn apply(&mut self, record: &Record) -> Option<Task> {
        self.revision = Revision(self.revision.0 + 1);
        let completed = self.apply_event(record);
        self.end_grants();
        if let Some(call) = &record.call {
            self.remember(record.tick, (**call).clone());
        }
        completed
    }

    fn end_grants(&mut self) {
        let Self {
            requests, board, ..
        } = self;
        requests.end_with_tasks(|member| {
            let member = Party::Member(member.clone());
            board.claims(&member).next().map(|task| task.id)
        });
    }

    fn apply_event(&mut self, record: &Record) -> Option<Task> {
        let tick = record.tick;
        match &record.event {
            Event::TeamPlanned { plan } => self.plan = plan.clone(),
            Event::Booted { boot } => {
                self.boot = Some(boot.clone());
                self.answers.rebooted(tick);
                self.account.up.void();
                self.account.working.void();
                for member in self.members.values_mut() {
                    member.account.up.void();
                    member.account.working.void();
                    member.since = tick;
                    member.restarts = Restarts::default();
                }
            }

            Event::MemberAdded { plan } => {
                self.count_spawned(&plan.name, plan.role.as_str());
                self.members
                    .insert(plan.name.clone(), Member::new(plan.clone(), tick));
            }
            Event::MemberChanged { plan } => {
                if let Some(member) = self.members.get_mut(&plan.name) {
                    member.plan = plan.clone();
                }
                self.update_clocks(&plan.name, tick);
            }
            Event::MemberRemoved { member } => {
                self.members.remove(member);
                self.requests.forget(member);
                self.update_team_clocks(tick);
            }
            Event::MemberWanted { member } => self.set_life(member, tick, |member| {
                member.restarts = Restarts::default();
                member.suspended = false;
                Life::Planned
            }),
            Event::LaunchStarted {
                member,
                launch,
                token_hash,
                give_up_at,
            } => self.set_life(member, tick, |member| {
                member.idle_notified = false;
                member.worked = false;
                member.objection = None;
                member.suspended = false;
                Life::Launching {
                    launch: Launch {
                        id: launch.clone(),
                        token_hash: token_hash.clone(),
                    },
                    give_up_at: *give_up_at,
                }
            }),
            Event::LaunchReady {
                member, process, ..
            } => self.update_launch(member, tick, |launch, _| Life::Ready {
                launch,
                process: *process,
            }),
            Event::LaunchAsked { member, asked, .. } => self.set_life(member, tick, |member| {
                member.objection = None;
                let Life::Ready { launch, process } = member.life.clone() else {
                    return member.life.clone();
                };
                Life::StopRequested {
                    launch,
                    process,
                    asked: asked.clone(),
                }
            }),
            Event::LaunchObjected { member, reason, .. } => self.set_life(member, tick, |member| {
                member.objection = Some(reason.clone());
                let Life::StopRequested {
                    launch, process, ..
                } = member.life.clone()
                else {
                    return member.life.clone();
                };
                Life::Ready { launch, process }
            }),
            Event::LaunchDraining {
                member,
                kill_at,
                then,
                ..
            } => self.update_launch(member, tick, |launch, process| match process {
                Some(process) => Life::Draining {
                    launch,
                    process,
                    kill_at: *kill_at,
                    then: then.clone(),
                },
                None => Life::Ending {
                    launch,
                    process,
                    reason: "it was never ready".into(),
                    then: then.clone(),
                },
            }),
            Event::LaunchEnding {
                member,
                reason,
                then,
                ..
            } => self.update_launch(member, tick, |launch, process| Life::Ending {
                launch,
                process,
                reason: reason.clone(),
                then: then.clone(),
            }),
            Event::LaunchEnded {
                member,
                launch,
                restarts,
                next,
            } => {
                self.answers.forget_launch(launch);
                self.requests.end(member, next);
                self.set_life(member, tick, |member| {
                    member.restarts = restarts.clone();
                    next.clone().into()
                });
            }
            Event::MemberParked { member, next } => {
                self.requests.end(member, next);
                self.set_life(member, tick, |member| {
                    member.suspended = false;
                    next.clone().into()
                })
            }
            Event::MembersSuspended { members } => {
                for name in members {
                    if let Some(member) = self.members.get_mut(name) {
                        member.suspended = true;
                    }
                }
            }
            Event::MemberIdle { member } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.idle_notified = true;
                }
            }

            Event::TaskAdded {
                task,
                plan,
                created_by,
            } => self.board.insert(Task {
                id: *task,
                plan: plan.clone(),
                outcome: Outcome::default(),
                generation: agent_team_protocol::id::Generation(0),
                attempts: 0,
                refusals: 0,
                releases: 0,
                created_by: created_by.clone(),
                created_at: record.at,
                changed_at: record.at,
                revision: self.revision,
                open: 0,
            }),
            Event::TaskChanged { task, plan } => {
                self.change_task(*task, record, |task| task.plan = plan.clone())
            }
            Event::TaskClaimed {
                task,
                owner,
                generation,
                attempts,
            } => {
                self.change_task(*task, record, |task| {
                    task.outcome = Outcome::InProgress {
                        owner: owner.clone(),
                    };
                    task.generation = *generation;
                    task.attempts = *attempts;
                    task.refusals = 0;
                });
                self.touch_worker(Some(owner.clone()), tick, |member| {
                    member.worked = true;
                    member.lock.take(*task);
                });
                self.clear_idle_notice();
            }
            Event::TaskReleased {
                task,
                note,
                taken_from,
                releases,
            } => {
                let outcome = Outcome::Pending {
                    note: Some(note.clone()),
                    taken_from: taken_from.clone(),
                };
                self.end_claim(*task, record, "released", outcome);
                self.board.change(*task, |task| task.releases = *releases);
            }
            Event::TaskFailed { task, reason } => {
                let owner = self.board.get(*task).and_then(Task::owner).cloned();
                let outcome = Outcome::Failed {
                    reason: reason.clone(),
                    owner,
                };
                self.end_claim(*task, record, "failed", outcome);
            }
            Event::TaskCancelled { task } => {
                self.end_claim(*task, record, "cancelled", Outcome::Cancelled)
            }
            Event::TaskCompleted { task, result, .. } => {
                let completed = self.board.complete(*task)?;
                if let Some(Party::Member(_)) = completed.owner() {
                    self.account.completed += 1;
                }
                self.touch_worker(completed.owner().cloned(), tick, |member| {
                    member.idle_notified = false;
                    member.account.completed += 1;
                    member.last_result = Some(report(*task, "completed", result).into());
                    member.transcript.report();
                });
                return Some(completed);
            }
            Event::TaskRefused { task, refusals, .. } => {
                self.change_task(*task, record, |task| task.refusals = *refusals);
            }
            Event::TaskRetried { task } => self.change_task(*task, record, |task| {
                task.outcome = Outcome::default();
                task.refusals = 0;
                task.releases = 0;
            }),

            Event::MessageAccepted {
                message,
                from,
                to,
                text,
                urgent,
                reply_to,
                note,
            } => {
                self.last_message = self.last_message.max(message.0);
                let lane = self.lane(from, *urgent);
                // A command member has no turns, so a report has no turn to attach to.
                if let Party::Member(name) = from
                    && self
                        .member(name)
                        .is_some_and(|it| it.transcript != TranscriptSummary::default())
                    && self.reaches_lead(to)
                    && let Some(member) = self.members.get_mut(name)
                {
                    member.transcript.report();
                }
                if let (Party::User, [Party::Member(name)]) = (from, to.as_slice()) {
                    self.user_mail.answer(name);
                }
                if to.contains(&Party::User) {
                    self.user_mail.receive(*message, from.clone());
                }
                for party in to {
                    if let Party::Member(name) = party
                        && let Some(member) = self.members.get_mut(name)
                    {
                        let unread = Unread {
                            from: from.clone(),
                            text: text.clone(),
                            urgent: *urgent,
                            reply_to: *reply_to,
                            note: note.clone(),
                        };
                        member.inbox.insert(*message, lane, unread);
                    }
                }
            }
            Event::MessagesRead { member, messages } => {
                if let Some(member) = self.members.get_mut(member) {
                    for message in messages {
                        member.inbox.remove(*message);
                    }
                }
            }

            Event::UserRead { messages } => self.user_mail.read(messages),
            Event::UserMailKept { unread } => {
                for (message, from) in unread {
                    self.user_mail.receive(*message, from.clone());
                }
            }

            Event::RunStarted {
                run,
                goal,
                then_down,
                memory,
                first_task,
            } => {
                self.run = Some(Run {
                    id: *run,
                    goal: goal.clone(),
                    state: RunState::UnderWay,
                    started_at: record.at,
                    then_down: *then_down,
                    rounds: Vec::new(),
                    idle_notified: false,
                    first_task: first_task.unwrap_or_else(|| self.next_task()),
                });
                self.memory = memory.iter().cloned().collect();
                self.account.begin(&self.spent, tick);
                for member in self.members.values_mut() {
                    member.account.begin(&member.transcript.spent, tick);
                    if member.plan.lead {
                        member.lock.shut();
                    }
                }
                self.update_all_clocks(tick);
            }
            Event::RunFinished { run, answer } => self.change_run(*run, |run| {
                run.state = RunState::Finished {
                    answer: answer.clone(),
                    at: record.at,
                };
            }),
            Event::RunFailed {
                run,
                failure,
                reason,
            } => self.change_run(*run, |run| {
                run.state = RunState::Failed {
                    failure: *failure,
                    reason: reason.clone(),
                    at: record.at,
                };
            }),
            Event::CoordinatorDecided { run, decision, .. } => {
                self.change_run(*run, |run| match decision {
                    // A `RoundStarted` follows.
                    Decision::Member(_) => {}
                    Decision::Done => run.rounds.push(Round::Answered),
                    Decision::Unclear(why) => run.rounds.push(Round::Unclear { why: why.clone() }),
                });
            }
            Event::RoundStarted {
                run, member, task, ..
            } => self.change_run(*run, |run| {
                run.rounds.push(Round::Worked {
                    member: member.clone(),
                    task: *task,
                    work: Work::UnderWay,
                });
            }),
            Event::RoundEnded {
                run, end, output, ..
            } => self.change_run(*run, |run| {
                if let Some(Round::Worked { work, .. }) = run.rounds.last_mut() {
                    let output = output.clone();
                    *work = match end {
                        RoundEnd::Completed => Work::Completed { output },
                        RoundEnd::Failed => Work::Failed { output },
                    };
                }
            }),
            Event::RunAbandoned { run } => self.change_run(*run, |run| {
                run.state = RunState::Abandoned { at: record.at };
            }),
            Event::RunIdle { run } => self.change_run(*run, |run| run.idle_notified = true),
            Event::TranscriptGrown { member, summary } => {
                let works =
                    summary.active && self.member(member).is_some_and(|member| !member.plan.lead);
                if let Some(member) = self.members.get_mut(member) {
                    let more = summary.spent.less(member.transcript.spent);
                    member.transcript = *summary;
                    self.spent = self.spent.and(more);
                }
                if works {
                    self.clear_idle_notice();
                }
                self.update_clocks(member, tick);
            }
            Event::BudgetStands {
                member: Some(name),
                measure,
                standing,
            } => {
                if let Some(member) = self.members.get_mut(name) {
                    member.account.stand(*measure, *standing);
                }
                self.update_clocks(name, tick);
            }
            Event::BudgetStands {
                member: None,
                measure,
                standing,
            } => {
                self.account.stand(*measure, *standing);
                self.update_all_clocks(tick);
            }
            Event::Remembered { key, value } => {
                self.memory.insert(key.clone(), value.clone());
            }

            // Stored in the journal only.
            Event::CallAllowed { .. } | Event::CallDenied { .. } => {}
            Event::RequestAsked { member, plan, .. } => {
                if let (Some(plan), Some(member)) = (plan, self.members.get_mut(member)) {
                    member.lock.propose(*plan);
                }
                self.requests.apply(record);
            }
            Event::RequestAllowed { request, .. } => {
                if let Some(request) = self.requests.get(*request)
                    && let Some(plan) = request.plan
                    && let Some(member) = self.members.get_mut(&request.member)
                {
                    member.lock.approve(plan);
                }
                self.requests.apply(record);
            }
            Event::RequestDenied { .. }
            | Event::RequestWithdrawn { .. }
            | Event::RequestBegun { .. }
            | Event::RequestEnded { .. }
            | Event::GrantRevoked { .. }
            | Event::GrantsEnded {}
            | Event::RequestKept { .. }
            | Event::GrantKept { .. } => self.requests.apply(record),

            Event::Counted {
                revision,
                tasks,
                messages,
                completed,
                spawned,
                requests,
            } => {
                self.revision = *revision;
                self.requests.last = *requests;
                self.board.last = *tasks;
                self.board.completed = *completed;
                self.last_message = *messages;
                self.spawned = spawned.iter().cloned().collect();
            }
            Event::KeyCompleted { key, task, digest } => {
                self.board.remember_key(key.clone(), *task, *digest)
            }
            Event::TasksKept { tasks } => {
                for task in tasks {
                    self.board.insert(Task::clone(task));
                }
            }
            Event::TaskKept {
                task,
                generation,
                attempts,
                refusals,
                outcome,
                created_at,
                changed_at,
                revision,
            } => {
                self.board.change(*task, |task| {
                    task.generation = *generation;
                    task.attempts = *attempts;
                    task.refusals = *refusals;
                    task.outcome = outcome.clone();
                    task.created_at = *created_at;
                    task.changed_at = *changed_at;
                    task.revision = *revision;
                });
            }
            Event::MemberKept {
                member,
                restarts,
                last_result,
                since,
                told_idle,
                worked,
                objection,
                suspended,
            } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.restarts = restarts.clone();
                    member.last_result = last_result.clone();
                    member.since = *since;
                    member.idle_notified = *told_idle;
                    member.worked = *worked;
                    member.objection.clone_from(objection);
                    member.suspended = *suspended;
                }
            }
            Event::AccountKept { member, account } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.account = *account;
                }
            }
            Event::LockKept { member, lock } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.lock = *lock;
                }
            }
            Event::TeamAccountKept { account, spent } => {
                self.account = *account;
                self.spent = *spent;
            }
            Event::MessageKept { message, lane } => {
                for member in self.members.values_mut() {
                    if let Some(unread) = member.inbox.remove(*message) {
                        member.inbox.insert(*message, *lane, unread);
                    }
                }
            }
            Event::CallAnswered { call } => self.remember(tick, call.clone()),
        }
        None
    }

    fn reaches_lead(&self, to: &[Party]) -> bool {
        self.lead()
            .is_some_and(|lead| to.contains(&Party::Member(lead.plan.name.clone())))
    }

    fn change_run(&mut self, id: RunId, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.run.as_mut().filter(|run| run.id == id) {
            change(run);
        }
    }

    /// A member works again: if all members become idle later, the lead must be notified again.
    fn clear_idle_notice(&mut self) {
        if let Some(run) = &mut self.run {
            run.idle_notified = false;
        }
    }

    fn set_life(&mut self, name: &MemberName, tick: Tick, next: impl FnOnce(&mut Member) -> Life) {
        if let Some(member) = self.members.get_mut(name) {
            member.life = next(member);
            member.since = tick;
        }
        self.update_clocks(name, tick);
    }

    /// Starts or stops the member's clocks according to what it does now. Call it after every change that can affect
    /// them.
    fn update_clocks(&mut self, name: &MemberName, now: Tick) {
        let Some(member) = self.members.get(name) else {
            return;
        };
        let ready = matches!(member.life, Life::Ready { .. } | Life::StopRequested { .. });
        let busy = member.transcript.active || self.task_of(name).is_some();
        let works = ready && busy && self.out_of_budget(member).is_none();
        let is_so = (member.account.up.runs(), member.account.working.runs()) == (ready, works);
        if is_so {
            return;
        }
        if let Some(member) = self.members.get_mut(name) {
            member.account.up.set(ready, now);
            member.account.working.set(works, now);
        }
        self.update_team_clocks(now);
    }

    fn update_team_clocks(&mut self, now: Tick) {
        let mut accounts = self.members.values().map(|member| &member.account);
        let up = accounts.clone().any(|account| account.up.runs());
        let works = accounts.any(|account| account.working.runs());
        self.account.up.set(up, now);
        self.account.working.set(works, now);
    }

    fn update_all_clocks(&mut self, now: Tick) {
        let names: Vec<MemberName> = self.members.keys().cloned().collect();
        for name in names {
            self.update_clocks(&name, now);
        }
    }

    /// Enters a new state of the same launch.
    fn update_launch(
        &mut self,
        name: &MemberName,
        tick: Tick,
        next: impl FnOnce(Launch, Option<ProcessStamp>) -> Life,
    ) {
        self.set_life(name, tick, |member| match member.life.launch() {
            Some(launch) => next(launch.clone(), member.life.process()),
            None => member.life.clone(),
        });
    }

    fn change_task(&mut self, id: TaskId, record: &Record, change: impl FnOnce(&mut Task)) {
        let revision = self.revision;
        self.board.change(id, |task| {
            change(task);
            task.changed_at = record.at;
            task.revision = revision;
        });
    }

    fn end_claim(&mut self, id: TaskId, record: &Record, how: &str, outcome: Outcome) {
        let owner = self.board.get(id).and_then(|task| task.owner().cloned());
        let report = match &outcome {
            Outcome::Failed { reason, .. } => report(id, how, reason),
            Outcome::Pending { .. } | Outcome::InProgress { .. } | Outcome::Cancelled => {
                report(id, how, "")
            }
        };
        self.change_task(id, record, |task| task.outcome = outcome);
        self.touch_worker(owner, record.tick, |member| {
            member.idle_notified = false;
            member.last_result = Some(report.into());
            member.transcript.report();
        });
    }

    fn touch_worker(&mut self, owner: Option<Party>, tick: Tick, touch: impl FnOnce(&mut Member)) {
        if let Some(Party::Member(name)) = owner
            && let Some(member) = self.members.get_mut(&name)
        {
            touch(member);
            if matches!(member.life, Life::Ready { .. }) {
                member.since = tick;
            }
            self.update_clocks(&name, tick);
        }
    }

    fn count_spawned(&mut self, name: &MemberName, role: &str) {
        let number = name
            .as_str()
            .strip_prefix(role)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|number| number.parse::<u64>().ok());
        if let Some(number) = number {
            let last = self.spawned.entry(role.into()).or_default();
            *last = number.max(*last);
        }
    }
}

/// The end of a task in one line, such as `T-1 completed: greeting.txt is written`.
fn report(task: TaskId, how: &str, text: &str) -> String {
    /// Maximum length of the preview, in characters.
    const PREVIEW: usize = 160;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(line) = line else {
        return format!("{task} {how}");
    };
    let preview: String = line.chars().take(PREVIEW).collect();
    let cut = if preview.len() < line.len() {
        "…"
    } else {
        ""
    };
    format!("{task} {how}: {preview}{cut}")
}
