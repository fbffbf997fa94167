//! Snapshots: the shortest list of events that rebuilds a team, in the journal's own format. A snapshot only speeds up
//! a start; the journal alone rebuilds the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_team_protocol::id::{MemberName, MessageId, Party, TaskId};

use crate::team::Team;
use crate::team::event::{Event, Record};
use crate::team::lock::Lock;
use crate::team::mail::{Lane, Unread};
use crate::team::member::{Life, Member, Next, Then};
use crate::team::round::{Decision, Round, RoundEnd, Work};
use crate::team::run::{Run, RunState, TranscriptSummary};
use crate::team::task::Task;
use crate::time::Tick;

/// Tasks per record: enough that the overhead of a record is small for each of them.
const TASKS_PER_RECORD: usize = 64;

impl Team {
    /// Replaying these on an empty team gives this one.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut put = |tick: Tick, at: u64, event: Event| {
            records.push(Record {
                at,
                tick,
                event,
                call: None,
            })
        };
        let now = Tick(0);

        put(
            now,
            0,
            Event::TeamPlanned {
                plan: self.plan.clone(),
            },
        );
        if let Some(boot) = &self.boot {
            put(now, 0, Event::Booted { boot: boot.clone() });
        }
        for member in self.members.values() {
            for event in member_events(member) {
                put(member.since, 0, event);
            }
        }
        for (key, task, digest) in self.board.completed_keys() {
            put(
                now,
                0,
                Event::KeyCompleted {
                    key: key.clone(),
                    task,
                    digest,
                },
            );
        }
        for tasks in self.dependencies_first().chunks(TASKS_PER_RECORD) {
            let tasks = tasks.to_vec();
            put(now, 0, Event::TasksKept { tasks });
        }
        for (message, (unread, lane, to)) in self.unread() {
            let (from, text, urgent) = (unread.from.clone(), unread.text.clone(), unread.urgent);
            let (reply_to, note) = (unread.reply_to, unread.note.clone());
            let derived = self.lane(&from, urgent);
            put(
                now,
                0,
                Event::MessageAccepted {
                    message,
                    from,
                    to,
                    text,
                    urgent,
                    reply_to,
                    note,
                },
            );
            if lane != derived {
                put(now, 0, Event::MessageKept { message, lane });
            }
        }
        if !self.user_mail.is_empty() {
            let unread = self.user_mail.iter();
            let unread = unread.map(|(message, from)| (message, from.clone()));
            let unread = unread.collect();
            // After the messages of the user: replaying one of those marks its recipient's messages as read.
            put(now, 0, Event::UserMailKept { unread });
        }
        for (at, event) in self.run_events() {
            put(now, at, event);
        }
        for request in self.requests.iter() {
            let request = request.clone();
            put(now, 0, Event::RequestKept { request });
        }
        for grant in self.requests.grants() {
            let grant = grant.clone();
            put(now, 0, Event::GrantKept { grant });
        }
        for member in self.members.values() {
            let (member, account) = (member.plan.name.clone(), member.account);
            put(now, 0, Event::AccountKept { member, account });
        }
        for member in self.members.values() {
            if member.lock != Lock::default() {
                let (member, lock) = (member.plan.name.clone(), member.lock);
                put(now, 0, Event::LockKept { member, lock });
            }
        }
        let (account, spent) = (self.account, self.spent);
        put(now, 0, Event::TeamAccountKept { account, spent });
        for (last_used, call) in self.answers.iter() {
            put(last_used, 0, Event::CallAnswered { call: call.clone() });
        }
        put(
            now,
            0,
            Event::Counted {
                revision: self.revision,
                tasks: self.board.last,
                messages: self.last_message,
                completed: self.board.completed,
                spawned: self
                    .spawned
                    .iter()
                    .map(|(role, last)| (role.clone(), *last))
                    .collect(),
                requests: self.requests.last,
            },
        );
        records
    }

    /// The run, the memory and the transcript summaries, with their times. They come after the messages, because
    /// replaying a message to the lead changes `reported`.
    fn run_events(&self) -> Vec<(u64, Event)> {
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
                },
            ));
            events.extend(round_events(run).map(|event| (0, event)));
            match &run.state {
                RunState::UnderWay => {}
                RunState::Finished { answer, at } => events.push((
                    *at,
                    Event::RunFinished {
                        run: id,
                        answer: answer.clone(),
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
                let (member, summary) = (member.plan.name.clone(), member.transcript);
                events.push((0, Event::TranscriptGrown { member, summary }));
            }
        }
        if let Some(run) = self.run.as_ref().filter(|run| run.idle_notified) {
            events.push((0, Event::RunIdle { run: run.id }));
        }
        events
    }

    /// Every task of the board after its dependencies, so that replay can count the open ones as it goes.
    fn dependencies_first(&self) -> Vec<Arc<Task>> {
        let mut ordered = Vec::with_capacity(self.board.len());
        let mut done: BTreeSet<TaskId> = BTreeSet::new();
        let mut path = Vec::new();
        for task in self.board.shared() {
            path.push(task);
            while let Some(task) = path.last().copied() {
                let open = task
                    .plan
                    .after
                    .iter()
                    .filter_map(|id| self.board.get_shared(*id))
                    .find(|t| !done.contains(&t.id));
                match open {
                    Some(first) => path.push(first),
                    None => {
                        path.pop();
                        if done.insert(task.id) {
                            ordered.push(task.clone());
                        }
                    }
                }
            }
        }
        ordered
    }

    fn unread(&self) -> BTreeMap<MessageId, (&Unread, Lane, Vec<Party>)> {
        let mut unread: BTreeMap<MessageId, (&Unread, Lane, Vec<Party>)> = BTreeMap::new();
        for (name, member) in &self.members {
            for (message, lane, entry) in member.inbox.with_lanes() {
                let (_, _, to) = unread
                    .entry(message)
                    .or_insert_with(|| (entry, lane, Vec::new()));
                to.push(Party::Member(name.clone()));
            }
        }
        unread
    }
}

/// The rounds of a run. They come before the memory, which also contains their outputs.
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
            Round::Unclear { why } => return vec![decided(Decision::Unclear(why.clone()))],
            Round::Answered => return vec![decided(Decision::Done)],
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

fn member_events(member: &Member) -> Vec<Event> {
    let name = || member.plan.name.clone();
    let mut events = vec![Event::MemberAdded {
        plan: member.plan.clone(),
    }];
    match &member.life {
        Life::Planned => events.push(parked(name(), Next::Launch)),
        Life::Cooling { restart_at } => events.push(parked(
            name(),
            Next::Cool {
                restart_at: *restart_at,
            },
        )),
        Life::Held { reason } => events.push(parked(
            name(),
            Next::Hold {
                reason: reason.clone(),
            },
        )),
        Life::Stopped => {}
        Life::Launching { launch, .. }
        | Life::Ready { launch, .. }
        | Life::StopRequested { launch, .. }
        | Life::Draining { launch, .. }
        | Life::Ending { launch, .. } => {
            let (id, token_hash) = (launch.id.clone(), launch.token_hash.clone());
            let give_up_at = member.timer().map_or_else(Tick::default, |(at, _)| at);
            events.push(Event::LaunchStarted {
                member: name(),
                launch: id.clone(),
                token_hash,
                give_up_at,
            });
            if let Some(process) = member.life.process() {
                events.push(Event::LaunchReady {
                    member: name(),
                    launch: id.clone(),
                    process,
                });
            }
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "the other states are complete at this point"
            )]
            match &member.life {
                Life::StopRequested { asked, .. } => events.push(Event::LaunchAsked {
                    member: name(),
                    launch: id,
                    asked: asked.clone(),
                }),
                Life::Draining { kill_at, then, .. } => {
                    let (kill_at, then): (Tick, Then) = (*kill_at, then.clone());
                    events.push(Event::LaunchDraining {
                        member: name(),
                        launch: id,
                        kill_at,
                        then,
                    });
                }
                Life::Ending { reason, then, .. } => {
                    let (reason, then) = (reason.clone(), then.clone());
                    events.push(Event::LaunchEnding {
                        member: name(),
                        launch: id,
                        reason,
                        then,
                    });
                }
                _ => {}
            }
        }
    }
    events.push(Event::MemberKept {
        member: name(),
        restarts: member.restarts.clone(),
        last_result: member.last_result.clone(),
        since: member.since,
        told_idle: member.idle_notified,
        worked: member.worked,
        objection: member.objection.clone(),
        suspended: member.suspended,
    });
    events
}

fn parked(member: MemberName, next: Next) -> Event {
    Event::MemberParked { member, next }
}
