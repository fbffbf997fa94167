//! The activities of each member as time spans, derived from the stored events of the team. Pure. Called by
//! `agent-team report` and by the telemetry of the HTTP service. The page derives its bars itself, in
//! `gateway/page/history.js`.
//!
//! ```text
//! up    LaunchReady ───────────────────────────► LaunchEnded
//! held  held by a limit of restarts or a failure ► the next state
//! turn  TranscriptGrown within a turn ─────────► TranscriptGrown at its end, LaunchEnded
//! task  TaskClaimed ───────────────────────────► completed, failed, released, cancelled
//! wait  RequestAsked ──────────────────────────► decided, withdrawn
//!       MessageAccepted that wants a reply ────► the reply, the end of the turn
//! run   RunStarted ────────────────────────────► RunFinished, RunFailed, RunAbandoned
//! ```
//! Only open spans are kept here, so a client can follow a team for months.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_protocol::event::{ClientEvent as E, Next};
use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::value::{RunFailure, Usage};
use agent_team_protocol::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, RunId, TaskId,
};

#[cfg(test)]
mod tests;

/// A time span of a member, or of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// `None`: the span of a run.
    pub member: Option<MemberName>,
    pub work: Work,
    /// The run under way when the span began.
    pub run: Option<RunId>,
    /// Unix time in milliseconds.
    pub from: u64,
    /// `None`: the span is open.
    pub to: Option<u64>,
    pub outcome: Outcome,
    /// How the span ended, such as the reason of a failure. May be empty, or a long text of a member.
    pub note: Arc<str>,
    /// The model's usage within a turn.
    pub usage: Usage,
    pub position: SpanPosition,
}

/// The position of a span in the tree of spans: a run contains tasks, a task or a run contains turns, and a turn
/// contains waits. Each key is unique within the history of the team, and known when its span begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanPosition {
    pub key: Arc<str>,
    /// The key of the span that contains this span.
    pub parent: Option<Arc<str>>,
    /// The key of the outermost span.
    pub root: Arc<str>,
}

/// The subject of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// The worker is ready.
    Up {
        launch: LaunchId,
    },
    /// The member waits for the user, without a launch.
    Held {
        reason: Arc<str>,
    },
    /// A turn of an agent. `first`: the number of transcript items before the turn; `length`: the number at its end.
    Turn {
        first: u64,
        length: u64,
    },
    Task {
        task: TaskId,
        generation: Generation,
        attempt: u32,
    },
    Wait(Awaited),
    Run {
        run: RunId,
    },
}

/// The object of a member's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Awaited {
    /// The decision of a permission request or a plan.
    Decision(RequestId),
    /// The reply to a question.
    Reply(MessageId),
}

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    UnderWay,
    /// The work was completed as intended.
    Done,
    Failed,
    /// Ended from outside, for example because the task was cancelled.
    Stopped,
}

/// Derives the spans of one team from all its events, in order.
#[derive(Debug, Default)]
pub struct Spans {
    members: BTreeMap<MemberName, MemberSpans>,
    tasks: BTreeMap<TaskId, Span>,
    waits: BTreeMap<Awaited, Span>,
    run: Option<Span>,
    /// The time of the last event.
    last: u64,
    /// A turn that has ended. The next event can contain its failure.
    ended_turn: Option<Span>,
}

#[derive(Debug, Default)]
struct MemberSpans {
    /// The open span with [`Work::Up`] or [`Work::Held`].
    launch: Option<Span>,
    turn: Option<Span>,
    spent: Usage,
    length: u64,
}

/// The end of a span.
struct End<'a> {
    at: u64,
    outcome: Outcome,
    note: &'a str,
}

impl Spans {
    /// Applies an event. Returns the spans that have ended, in the order of their ends.
    pub fn add(&mut self, notice: &EventNotice) -> Vec<Span> {
        let mut ended = Vec::new();
        if let (Some(turn), E::TurnFailed { member, reason }) =
            (&mut self.ended_turn, &notice.event)
            && turn.member.as_ref() == Some(member)
        {
            turn.outcome = Outcome::Failed;
            turn.note = reason.clone();
        }
        ended.extend(self.take_ended());
        self.apply(&notice.event, notice.at, &mut ended);
        self.last = notice.at;
        ended
    }

    /// Takes the ended turn that waits for the next event, if a turn waits. See `ended_turn`.
    pub fn take_ended(&mut self) -> Option<Span> {
        self.ended_turn.take()
    }

    /// The run under way.
    pub fn run(&self) -> Option<RunId> {
        self.run.as_ref()?.run
    }

    /// The open turn of a member.
    pub fn turn(&self, member: &MemberName) -> Option<&Span> {
        self.members.get(member)?.turn.as_ref()
    }

    /// All open spans.
    pub fn open(&self) -> impl Iterator<Item = &Span> {
        let members = self.members.values();
        let of_members = members.flat_map(|member| member.launch.iter().chain(&member.turn));
        self.run
            .iter()
            .chain(of_members)
            .chain(self.tasks.values())
            .chain(self.waits.values())
    }

    fn apply(&mut self, event: &E, at: u64, ended: &mut Vec<Span>) {
        let done = |note| End {
            at,
            outcome: Outcome::Done,
            note,
        };
        let failed = |note| End {
            at,
            outcome: Outcome::Failed,
            note,
        };
        let stopped = |note| End {
            at,
            outcome: Outcome::Stopped,
            note,
        };
        match event {
            E::Booted {} => {
                let at = self.last;
                let names: Vec<_> = self.members.keys().cloned().collect();
                for name in names {
                    let note = "the machine was restarted";
                    let outcome = Outcome::Stopped;
                    self.end_launch(&name, &End { at, outcome, note }, ended);
                }
            }
            E::MemberAdded { spec } => {
                self.members.entry(spec.name.clone()).or_default();
            }
            E::MemberRemoved { member } => {
                self.end_launch(member, &stopped("the member was removed"), ended);
                self.members.remove(member);
            }
            E::MemberWanted { member } | E::LaunchStarted { member, .. } => {
                self.end_launch(member, &done(""), ended);
            }
            E::LaunchReady { member, launch, .. } => {
                self.end_launch(member, &done(""), ended);
                let launch = launch.clone();
                let span = self.begin(member, Work::Up { launch }, at);
                self.member(member).launch = Some(span);
            }
            E::LaunchEnded { member, next, .. } | E::MemberParked { member, next } => {
                self.end_launch(member, &stopped("the launch ended"), ended);
                if let Next::Hold { reason } = next {
                    let reason = reason.clone();
                    let span = self.begin(member, Work::Held { reason }, at);
                    self.member(member).launch = Some(span);
                }
            }

            E::TranscriptGrown { member, transcript } => {
                if transcript.active && self.member(member).turn.is_none() {
                    let length = self.member(member).length;
                    let first = length;
                    let turn = self.begin(member, Work::Turn { first, length }, at);
                    self.member(member).turn = Some(turn);
                }
                let state = self.member(member);
                if let Some(turn) = &mut state.turn {
                    turn.usage = turn.usage.plus(transcript.spent.minus(state.spent));
                    if let Work::Turn { length, .. } = &mut turn.work {
                        *length = transcript.length;
                    }
                }
                (state.spent, state.length) = (transcript.spent, transcript.length);
                if !transcript.active
                    && let Some(turn) = state.turn.take()
                {
                    self.end_replies(member, &stopped("the turn ended"), ended);
                    self.ended_turn = Some(turn.end(&done("")));
                }
            }

            E::TaskClaimed {
                task,
                owner: Party::Member(owner),
                generation,
                attempts,
            } => {
                self.end_task(*task, &stopped("claimed again"), ended);
                let work = Work::Task {
                    task: *task,
                    generation: *generation,
                    attempt: *attempts,
                };
                let span = self.begin(owner, work, at);
                self.tasks.insert(*task, span);
            }
            E::TaskCompleted { task, result, .. } => self.end_task(*task, &done(result), ended),
            E::TaskFailed { task, reason } => self.end_task(*task, &failed(reason), ended),
            E::TaskReleased { task, note, .. } => self.end_task(*task, &stopped(note), ended),
            E::TaskClaimed { task, .. } | E::TaskCancelled { task } | E::TaskRetried { task } => {
                self.end_task(*task, &stopped(""), ended);
            }

            E::RequestAsked {
                request, member, ..
            } => {
                let awaited = Awaited::Decision(*request);
                let span = self.begin(member, Work::Wait(awaited), at);
                self.waits.insert(awaited, span);
            }
            E::RequestAllowed { request, by, .. } => {
                let note = format!("allowed by {by}");
                self.end_wait(Awaited::Decision(*request), &done(&note), ended);
            }
            E::RequestDenied {
                request,
                by,
                reason,
                ..
            } => {
                let colon = if reason.is_empty() { "" } else { ": " };
                let note = format!("denied by {by}{colon}{reason}");
                self.end_wait(Awaited::Decision(*request), &done(&note), ended);
            }
            E::RequestWithdrawn {
                request,
                allowed_in_agent,
            } => {
                let end = match allowed_in_agent {
                    None => stopped("withdrawn"),
                    Some(true) => done("allowed in the agent's own terminal interface"),
                    Some(false) => done("denied in the agent's own terminal interface"),
                };
                self.end_wait(Awaited::Decision(*request), &end, ended);
            }
            E::MessageAccepted {
                message,
                from,
                reply_to,
                note,
                ..
            } => {
                if let Some(question) = reply_to {
                    self.end_wait(Awaited::Reply(*question), &done("answered"), ended);
                }
                if let Party::Member(member) = from
                    && note.wants_reply
                {
                    let awaited = Awaited::Reply(*message);
                    let span = self.begin(member, Work::Wait(awaited), at);
                    self.waits.insert(awaited, span);
                }
            }

            E::RunStarted { run, .. } => {
                self.end_run(&stopped("replaced by another goal"), ended);
                let work = Work::Run { run: *run };
                self.run = Some(Span::new(None, work, Some(*run), None, at));
            }
            E::RunFinished { answer, .. } => self.end_run(&done(answer), ended),
            E::RunFailed {
                failure: RunFailure::Cancelled,
                reason,
                ..
            } => self.end_run(&stopped(reason), ended),
            E::RunFailed { reason, .. } => self.end_run(&failed(reason), ended),
            E::RunAbandoned { .. } => self.end_run(&stopped("replaced by another goal"), ended),

            E::TeamPlanned { .. }
            | E::ModeChanged { .. }
            | E::MemberChanged { .. }
            | E::LaunchAsked { .. }
            | E::LaunchObjected { .. }
            | E::LaunchDraining { .. }
            | E::LaunchEnding { .. }
            | E::MembersSuspended { .. }
            | E::MemberIdle { .. }
            | E::TaskAdded { .. }
            | E::TaskChanged { .. }
            | E::TaskRefused { .. }
            | E::MessagesRead { .. }
            | E::UserRead { .. }
            | E::RunIdle { .. }
            | E::CoordinatorDecided { .. }
            | E::RoundStarted { .. }
            | E::RoundEnded { .. }
            | E::TurnFailed { .. }
            | E::FilesChanged { .. }
            | E::Remembered { .. }
            | E::BudgetStateChanged { .. }
            | E::CallAllowed { .. }
            | E::CallDenied { .. }
            | E::RequestBegun { .. }
            | E::RequestEnded { .. }
            | E::GrantRevoked { .. }
            | E::GrantsEnded {}
            | E::Unknown => {}
        }
    }

    fn member(&mut self, name: &MemberName) -> &mut MemberSpans {
        self.members.entry(name.clone()).or_default()
    }

    fn begin(&self, member: &MemberName, work: Work, at: u64) -> Span {
        let run = self.run.as_ref();
        let of_member = |span: &&Span| span.member.as_ref() == Some(member);
        // A member can own several tasks; it works on the task that it claimed last.
        let tasks = self.tasks.values().filter(of_member);
        let task = tasks.max_by_key(|span| span.from);
        let parent = match work {
            Work::Up { .. } | Work::Held { .. } | Work::Run { .. } => None,
            Work::Task { .. } => run,
            Work::Turn { .. } => task.or(run),
            Work::Wait(_) => self.turn(member).or(task).or(run),
        };
        let member = Some(member.clone());
        Span::new(member, work, self.run(), parent.map(|it| &it.position), at)
    }

    /// Ends the launch of a member and its turn.
    fn end_launch(&mut self, name: &MemberName, end: &End<'_>, ended: &mut Vec<Span>) {
        let member = self.member(name);
        let (turn, launch) = (member.turn.take(), member.launch.take());
        if turn.is_some() {
            self.end_replies(name, end, ended);
        }
        ended.extend(turn.into_iter().chain(launch).map(|span| span.end(end)));
    }

    fn end_task(&mut self, task: TaskId, end: &End<'_>, ended: &mut Vec<Span>) {
        let span = self.tasks.remove(&task);
        ended.extend(span.map(|span| span.end(end)));
    }

    fn end_wait(&mut self, awaited: Awaited, end: &End<'_>, ended: &mut Vec<Span>) {
        let span = self.waits.remove(&awaited);
        ended.extend(span.map(|span| span.end(end)));
    }

    /// Ends the waits of a member for replies: a member waits for replies only within a turn.
    fn end_replies(&mut self, member: &MemberName, end: &End<'_>, ended: &mut Vec<Span>) {
        let waits = self.waits.iter();
        let of_member = waits.filter(|(awaited, span)| {
            matches!(awaited, Awaited::Reply(_)) && span.member.as_ref() == Some(member)
        });
        let replies: Vec<Awaited> = of_member.map(|(awaited, _)| *awaited).collect();
        for awaited in replies {
            self.end_wait(awaited, end, ended);
        }
    }

    fn end_run(&mut self, end: &End<'_>, ended: &mut Vec<Span>) {
        let span = self.run.take();
        ended.extend(span.map(|span| span.end(end)));
    }
}

impl Span {
    fn new(
        member: Option<MemberName>,
        work: Work,
        run: Option<RunId>,
        parent: Option<&SpanPosition>,
        from: u64,
    ) -> Self {
        let name = member.as_ref().map_or("", |member| member.as_str());
        // `up --fresh` restarts the numbering, so the key contains the time.
        let key: Arc<str> = match &work {
            Work::Up { launch } => format!("up {name} {launch} {from}"),
            Work::Held { .. } => format!("held {name} {from}"),
            Work::Turn { first, .. } => format!("turn {name} {first} {from}"),
            Work::Task {
                task, generation, ..
            } => format!("task {task} {} {from}", generation.0),
            Work::Wait(Awaited::Decision(request)) => format!("wait {request} {from}"),
            Work::Wait(Awaited::Reply(message)) => format!("wait {message} {from}"),
            Work::Run { run } => format!("run {run} {from}"),
        }
        .into();
        Self {
            position: SpanPosition {
                parent: parent.map(|parent| Arc::clone(&parent.key)),
                root: parent.map_or_else(|| Arc::clone(&key), |parent| Arc::clone(&parent.root)),
                key,
            },
            member,
            work,
            run,
            from,
            to: None,
            outcome: Outcome::UnderWay,
            note: "".into(),
            usage: Usage::default(),
        }
    }

    fn end(mut self, end: &End<'_>) -> Self {
        // The wall clock may have been set back.
        self.to = Some(end.at.max(self.from));
        self.outcome = end.outcome;
        self.note = end.note.into();
        self
    }

    /// The part of the span that is between `from` and `now`, in milliseconds. An open span ends at `now`.
    pub fn length_within(&self, from: u64, now: u64) -> u64 {
        let end = self.to.unwrap_or(now).min(now);
        end.saturating_sub(self.from.max(from))
    }
}

/// The total length of these intervals. A time in several intervals counts once.
pub fn union_length(intervals: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    union(intervals).iter().map(|(from, to)| to - from).sum()
}

/// These intervals in order, merged where they overlap or touch.
pub fn union(intervals: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut all: Vec<_> = intervals
        .into_iter()
        .filter(|(from, to)| from < to)
        .collect();
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in all {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            Some(_) | None => merged.push((from, to)),
        }
    }
    merged
}
