//! Events about goals and their rounds, transcripts, usage and the shared memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_protocol::id::{MemberName, RunId};
use agent_team_protocol::value::{RoundChoice, RoundEnd};

use crate::team::Team;
use crate::team::event::{Event, Record, RunEvent};
use crate::team::member::Life;
use crate::team::round::{Round, Work};
use crate::team::run::{Run, RunState, TranscriptSummary};

impl Team {
    pub(super) fn apply_runs(&mut self, event: RunEvent<'_>, record: &Record) {
        let tick = record.tick;
        match event {
            RunEvent::RunStarted {
                run,
                goal,
                then_down,
                memory,
                first_task,
                effort,
            } => {
                self.run = Some(Run {
                    id: *run,
                    goal: goal.clone(),
                    state: RunState::UnderWay,
                    started_at: record.at,
                    then_down: *then_down,
                    effort: *effort,
                    rounds: Vec::new(),
                    idle_notified: false,
                    first_task: first_task.unwrap_or_else(|| self.next_task()),
                    files: BTreeMap::new(),
                    totals: None,
                });
                self.memory = memory.iter().cloned().collect();
                self.account.begin(&self.spent, tick);
                for member in self.members.values_mut() {
                    member.account.begin(&member.transcript.spent, tick);
                    if member.spec.lead {
                        member.lock.close();
                    }
                }
                self.update_all_clocks(tick);
            }
            RunEvent::RunFinished {
                run,
                answer,
                totals,
            } => self.change_run(*run, |run| {
                run.totals = *totals;
                run.state = RunState::Finished {
                    answer: answer.clone(),
                    at: record.at,
                };
            }),
            RunEvent::RunFailed {
                run,
                failure,
                reason,
                totals,
            } => self.change_run(*run, |run| {
                run.totals = *totals;
                run.state = RunState::Failed {
                    failure: *failure,
                    reason: reason.clone(),
                    at: record.at,
                };
            }),
            RunEvent::FilesChanged { run, member, files } => self.change_run(*run, |run| {
                for file in files {
                    run.files.entry(file.clone()).or_insert(member.clone());
                }
            }),
            RunEvent::CoordinatorDecided { run, decision, .. } => {
                self.change_run(*run, |run| match decision {
                    // The next event, `RoundStarted`, adds the round.
                    RoundChoice::Member(_) => {}
                    RoundChoice::Done => run.rounds.push(Round::Answered),
                    RoundChoice::Unclear(why) => {
                        run.rounds.push(Round::Unclear { why: why.clone() })
                    }
                });
            }
            RunEvent::RoundStarted {
                run, member, task, ..
            } => self.change_run(*run, |run| {
                run.rounds.push(Round::Worked {
                    member: member.clone(),
                    task: *task,
                    work: Work::UnderWay,
                });
            }),
            RunEvent::RoundEnded {
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
            RunEvent::RunAbandoned { run } => self.change_run(*run, |run| {
                run.state = RunState::Abandoned { at: record.at };
            }),
            RunEvent::RunIdle { run } => self.change_run(*run, |run| run.idle_notified = true),
            RunEvent::TranscriptGrown { member, summary } => {
                let teammate_active =
                    summary.active && self.member(member).is_some_and(|member| !member.spec.lead);
                let has_task = self.task_of(member).is_some();
                if let Some(member) = self.members.get_mut(member) {
                    if summary.active {
                        member.turn_failure = None;
                    } else if member.transcript.active {
                        self.user_mail.withdraw(&member.spec.name);
                    }
                    let more = summary.spent.minus(member.transcript.spent);
                    // A turn can consist of a single append, so the member need not have been in a turn before.
                    if !summary.active && !has_task && matches!(member.life, Life::Ready { .. }) {
                        // A snapshot repeats this event with tick 0.
                        member.since = member.since.max(tick);
                    }
                    member.transcript = *summary;
                    self.spent = self.spent.plus(more);
                }
                if teammate_active {
                    self.clear_idle_notice();
                }
                self.update_clocks(member, tick);
            }
            RunEvent::TurnFailed { member, reason } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.turn_failure = Some(reason.clone());
                }
            }
            RunEvent::BudgetStateChanged {
                member: Some(name),
                measure,
                state,
            } => {
                if let Some(member) = self.members.get_mut(name) {
                    member.account.set_state(*measure, *state);
                }
                self.update_clocks(name, tick);
            }
            RunEvent::BudgetStateChanged {
                member: None,
                measure,
                state,
            } => {
                self.account.set_state(*measure, *state);
                self.update_all_clocks(tick);
            }
            RunEvent::Remembered { key, value } => {
                self.memory.insert(key.clone(), value.clone());
            }
        }
    }

    fn change_run(&mut self, id: RunId, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.run.as_mut().filter(|run| run.id == id) {
            change(run);
        }
    }

    /// A member works again: the lead must be notified the next time that all members are idle.
    pub(super) fn clear_idle_notice(&mut self) {
        if let Some(run) = &mut self.run {
            run.idle_notified = false;
        }
    }
}

impl Team {
    /// The events that rebuild the run, the memory and the transcript summaries, each with its time. The time of an
    /// event is 0 if applying the event does not need it.
    pub(in crate::team) fn run_events(&self) -> Vec<(u64, Event)> {
        let mut events = Vec::new();
        if let Some(run) = &self.run {
            let id = run.id;
            events.push((
                run.started_at,
                Event::RunStarted {
                    run: id,
                    goal: run.goal.clone(),
                    then_down: run.then_down,
                    memory: Vec::new(),
                    first_task: Some(run.first_task),
                    effort: run.effort,
                },
            ));
            events.extend(round_events(run).map(|event| (0, event)));
            events.extend(file_events(run).map(|event| (0, event)));
            match &run.state {
                RunState::UnderWay => {}
                RunState::Finished { answer, at } => events.push((
                    *at,
                    Event::RunFinished {
                        run: id,
                        answer: answer.clone(),
                        totals: run.totals,
                    },
                )),
                RunState::Failed {
                    failure,
                    reason,
                    at,
                } => events.push((
                    *at,
                    Event::RunFailed {
                        run: id,
                        failure: *failure,
                        reason: reason.clone(),
                        totals: run.totals,
                    },
                )),
                RunState::Abandoned { at } => events.push((*at, Event::RunAbandoned { run: id })),
            }
        }
        for (key, value) in &self.memory {
            let (key, value) = (key.clone(), value.clone());
            events.push((0, Event::Remembered { key, value }));
        }
        for member in self.members.values() {
            if member.transcript != TranscriptSummary::default() {
                let (member, summary) = (member.spec.name.clone(), member.transcript);
                events.push((0, Event::TranscriptGrown { member, summary }));
            }
        }
        if let Some(run) = self.run.as_ref().filter(|run| run.idle_notified) {
            events.push((0, Event::RunIdle { run: run.id }));
        }
        events
    }
}

/// The events that rebuild the changed files of a run: one for each member.
fn file_events(run: &Run) -> impl Iterator<Item = Event> {
    let mut of_members: BTreeMap<&MemberName, Vec<Arc<str>>> = BTreeMap::new();
    for (file, member) in &run.files {
        of_members.entry(member).or_default().push(file.clone());
    }
    let run = run.id;
    of_members
        .into_iter()
        .map(move |(member, files)| Event::FilesChanged {
            run,
            member: member.clone(),
            files,
        })
}

/// The events that rebuild the rounds of a run. The memory, which also contains outputs of rounds, has its own events.
fn round_events(run: &Run) -> impl Iterator<Item = Event> {
    (1..).zip(&run.rounds).flat_map(|(round, what)| {
        let run = run.id;
        let decided = |decision| Event::CoordinatorDecided {
            run,
            round,
            decision,
            text: "".into(),
        };
        let (member, task, work) = match what {
            Round::Worked { member, task, work } => (member, *task, work),
            Round::Unclear { why } => return vec![decided(RoundChoice::Unclear(why.clone()))],
            Round::Answered => return vec![decided(RoundChoice::Done)],
        };
        let mut events = vec![Event::RoundStarted {
            run,
            round,
            member: member.clone(),
            task,
        }];
        let (end, output) = match work {
            Work::UnderWay => return events,
            Work::Completed { output } => (RoundEnd::Completed, output.clone()),
            Work::Failed { output } => (RoundEnd::Failed, output.clone()),
        };
        events.push(Event::RoundEnded {
            run,
            round,
            member: member.clone(),
            end,
            output,
        });
        events
    })
}
