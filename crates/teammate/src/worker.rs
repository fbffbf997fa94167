//! The worker's loop: the one owner of what this process is doing. Called by `lib.rs`, once.
//!
//! ```text
//!          start                ended: reported
//!   Idle ────────► Running ─────────────────────────► Idle
//!    │               │ └ abandoned, replaced ─► Ending ─► Idle, or the next run
//!    │ stop          │ stop                       │ stop, retired
//!    │               ▼     grace over             ▼
//!    │            Draining ─────────► Ending, then leave
//!    │               │ ended: reported            │
//!    ▼               ▼                            ▼
//!   Settling: reports are answered ──► Leaving: last words ──► Gone
//! ```
//! Everything arrives as an [`Event`] and is applied at once, without waiting. What the supervisor says is believed
//! over what this worker remembers: a claim that it does not name any more is ended, unreported.

mod state;

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::method::{EndTask, ReadMessages};
use agent_team_protocol::notification::{Abandon, Assignment, Deliver, TaskOutput, TaskSession};
use agent_team_protocol::{ErrorCode, MessageId, Refusal};
use agent_team_system::process::ProcessId;
use agent_team_system::signals::{SignalEvent, Signals};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::state::{Reconciled, State, Task, Then, reconcile};
use crate::engine::output::Coalescer;
use crate::engine::{Claim, Event as TaskEvent, HEADLESS_SIZE, Outcome, Place, command};
use crate::link::{Link, LinkEvent, Notice, Over, Request, Ticket};
use crate::log::MemberLog;
use crate::pane::paint::{self, Paint};
use crate::pane::{Pane, PaneEvent, Room};
use crate::typed::{Added, Typed};

pub(crate) use self::state::LastWords;

/// The grace that SIGTERM leaves.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// How long reports and last words may wait for the supervisor.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(5);

/// At most one `task/output` per this time.
const OUTPUT_PAUSE: Duration = Duration::from_millis(50);

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) place: Arc<Place>,
    pub(crate) log: MemberLog,
    pub(crate) pane: Pane,
    pub(crate) link: Link,
    pub(crate) typed: Typed,
    pub(crate) signals: Signals,
    /// `NO_COLOR` is not set.
    pub(crate) coloured: bool,
}

pub(crate) struct Worker {
    parts: Parts,
    state: State,
    /// Requests without an answer.
    asked: HashMap<Ticket, Asked>,
    /// Messages that are shown or acknowledged right now: they may be offered again meanwhile.
    in_hand: BTreeSet<MessageId>,
    pane_lost: bool,
}

enum Asked {
    Complete(Claim),
    Fail(Claim),
    Read(Vec<MessageId>),
    Exit,
}

enum Event {
    Link(LinkEvent),
    Task(TaskEvent, Option<Room>),
    /// The supervisor can be shown more output.
    OutputDue(mpsc::OwnedPermit<TaskOutput>),
    Pane(PaneEvent),
    Added(Added),
    Signal(SignalEvent),
    Deadline,
}

impl Worker {
    /// `unfit`: why this worker cannot work at all, which is then the only thing that it says.
    pub(crate) fn new(parts: Parts, unfit: Option<LastWords>) -> Self {
        let mut worker = Self {
            parts,
            state: State::Idle,
            asked: HashMap::new(),
            in_hand: BTreeSet::new(),
            pane_lost: false,
        };
        if let Some(words) = unfit {
            worker.note(&words.reason);
            worker.leave(words);
        }
        worker
    }

    /// Works until there is nothing to work for. Returns the exit code.
    pub(crate) async fn run(mut self) -> u8 {
        let code = loop {
            if let State::Gone { code } = self.state {
                break code;
            }
            let event = self.next().await;
            self.apply(event);
        };
        self.parts.pane.close().await;
        code
    }

    async fn next(&mut self) -> Event {
        let room = self.parts.pane.room();
        let output = self.parts.link.output.clone();
        let deadline = self.state.deadline();
        let task = self.state.task();
        let output_at = task
            .as_ref()
            .filter(|task| !task.output.is_empty())
            .map(|task| task.output_at);
        let Parts {
            pane,
            link,
            typed,
            signals,
            ..
        } = &mut self.parts;
        tokio::select! {
            biased;
            signal = signals.next() => Event::Signal(signal),
            event = link.next() => Event::Link(event),
            event = pane.next() => Event::Pane(event),
            Some(added) = typed.added.recv() => Event::Added(added),
            () = sleep_until(deadline) => Event::Deadline,
            Some(permit) = output_due(output_at, output) => Event::OutputDue(permit),
            (event, room) = task_event(task, room) => Event::Task(event, room),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Link(event) => self.link_event(event),
            Event::Task(TaskEvent::Session(leader), _) => self.session(leader),
            Event::Task(TaskEvent::Output { bytes, text }, room) => self.output(bytes, &text, room),
            Event::Task(TaskEvent::Verifying(line), _) => {
                self.parts.pane.end_program();
                self.note(&paint::verifying(&line));
            }
            Event::Task(TaskEvent::Ended(outcome), _) => self.ended(outcome),
            Event::OutputDue(permit) => self.show_output(permit),
            Event::Pane(event) => self.pane_event(event),
            Event::Added(Ok(task)) => self.note(&format!("{task} added")),
            Event::Added(Err(refusal)) => self.note(&refused("not added", &refusal)),
            Event::Signal(SignalEvent::Shutdown) => self.stop(TERM_GRACE, "terminated".into()),
            Event::Signal(SignalEvent::Interrupt) => self.parts.pane.interrupt(),
            Event::Signal(SignalEvent::Hangup) => self.lose_pane(),
            Event::Signal(SignalEvent::WindowChanged) => {
                if let (Some(size), Some(task)) = (self.parts.pane.size(), self.state.task()) {
                    task.run.controls.resize(size);
                }
            }
            Event::Signal(SignalEvent::Info) => tracing::info!(state = self.state.name(), "asked"),
            Event::Deadline => self.deadline(),
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected(welcome) => self.connected(welcome),
            LinkEvent::Start(assignment) => self.start(assignment),
            LinkEvent::Abandon(abandon) => self.abandon(&abandon),
            LinkEvent::Deliver(deliver) => self.deliver(deliver),
            LinkEvent::Stop(stop) => self.stop(Duration::from_millis(stop.grace_ms), stop.reason),
            LinkEvent::Answered(ticket, outcome) => self.answered(ticket, outcome),
            LinkEvent::Unreachable(why) => {
                self.note(&format!("no supervisor, trying again: {why}"));
            }
            LinkEvent::Over(Over::Stopped) => self.vanish("the supervisor was stopped"),
            LinkEvent::Over(Over::Retired(why)) => self.vanish(&format!("retired: {why}")),
        }
    }

    fn connected(&mut self, welcome: Welcome) {
        if self.parts.coloured {
            self.parts.pane.set_paint(Paint::named(&welcome.colour));
        }
        if self.pane_lost {
            self.parts.link.notify(Notice::PaneLost);
        }
        if let State::Idle = self.state {
            self.parts.pane.prompt();
        }
        let runs = self.state.task().map(|task| {
            if let Some(session) = &task.session {
                self.parts.link.notify(Notice::Session(session.clone()));
            }
            task.run.claim
        });
        let asked = &self.asked;
        let reported = |claim| asked.values().any(|asked| asked.reports(claim));
        match reconcile(runs, welcome, reported) {
            Reconciled::AsItShould => {}
            Reconciled::Start(assignment) | Reconciled::Replace(assignment) => {
                self.start(assignment);
            }
            Reconciled::End => self.end_task("it is not this member's any more", Then::Idle),
        }
    }

    fn start(&mut self, assignment: Assignment) {
        match &self.state {
            State::Idle => self.begin(assignment),
            State::Running(task) if task.run.claim == Claim::from(&assignment) => {}
            State::Running(_)
            | State::Ending {
                then: Then::Idle | Then::Start(_),
                ..
            } => {
                self.end_task("it was given again", Then::Start(assignment));
            }
            // On the way out: the supervisor gets it back.
            State::Draining { .. }
            | State::Ending { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Gone { .. } => {}
        }
    }

    fn begin(&mut self, assignment: Assignment) {
        let header = paint::header(&assignment);
        self.write_log(&header);
        self.parts.pane.begin_task(&header);
        let size = self.parts.pane.size().unwrap_or(HEADLESS_SIZE);
        let now = Instant::now();
        self.state = State::Running(Task {
            run: command::start(Arc::clone(&self.parts.place), assignment, size),
            started: now,
            session: None,
            output: Coalescer::default(),
            output_at: now,
        });
    }

    fn abandon(&mut self, abandon: &Abandon) {
        let abandoned = Claim {
            task: abandon.task,
            generation: abandon.generation,
        };
        if let State::Ending {
            then: then @ Then::Start(_),
            ..
        } = &mut self.state
            && matches!(then, Then::Start(next) if Claim::from(&*next) == abandoned)
        {
            *then = Then::Idle;
            return;
        }
        if self
            .state
            .task()
            .is_some_and(|task| task.run.claim == abandoned)
        {
            self.end_task(&abandon.reason, Then::Idle);
        }
    }

    /// Ends what runs, without a report. What was to come after it already is only replaced by something stronger.
    fn end_task(&mut self, why: &str, next: Then) {
        self.state = match mem::replace(&mut self.state, State::Idle) {
            State::Running(task) => self.ending(task, why, next),
            State::Draining { task, words, .. } => self.ending(task, why, Then::Leave(words)),
            State::Ending {
                task,
                then: then @ (Then::Leave(_) | Then::Vanish),
            } => State::Ending { task, then },
            State::Ending { task, .. } => State::Ending { task, then: next },
            other @ (State::Idle
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Gone { .. }) => other,
        };
    }

    fn ending(&mut self, task: Task, why: &str, then: Then) -> State {
        self.note(&paint::abandoned(task.run.claim.task, why));
        task.run.controls.end();
        State::Ending { task, then }
    }

    fn session(&mut self, leader: ProcessId) {
        if let Some(task) = self.state.task() {
            let session = TaskSession {
                task: task.run.claim.task,
                pid: leader.pid,
                start_time: leader.start_time,
            };
            task.session = Some(session.clone());
            self.parts.link.notify(Notice::Session(session));
        }
    }

    fn output(&mut self, bytes: Vec<u8>, text: &str, room: Option<Room>) {
        self.parts.pane.output(bytes, room);
        // A log that cannot be written stops no task; it has said so itself.
        let _logged = self.parts.log.append(text);
        if let Some(task) = self.state.task() {
            task.output.push(text);
        }
    }

    fn show_output(&mut self, permit: mpsc::OwnedPermit<TaskOutput>) {
        if let Some(task) = self.state.task() {
            task.output_at = Instant::now() + OUTPUT_PAUSE;
            let text = task.output.take();
            let task = task.run.claim.task;
            permit.send(TaskOutput { task, text });
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        if let Ok(permit) = self.parts.link.output.clone().try_reserve_owned() {
            self.show_output(permit);
        }
        self.parts.pane.end_task();
        match mem::replace(&mut self.state, State::Idle) {
            State::Running(task) => {
                self.report(&task, outcome);
                self.parts.pane.prompt();
            }
            State::Draining { task, words, .. } => {
                self.report(&task, outcome);
                self.leave(words);
            }
            State::Ending { then, .. } => match then {
                Then::Idle => self.parts.pane.prompt(),
                Then::Start(assignment) => self.begin(assignment),
                Then::Leave(words) => self.leave(words),
                Then::Vanish => self.state = State::Gone { code: 0 },
            },
            other @ (State::Idle
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Gone { .. }) => self.state = other,
        }
    }

    fn report(&mut self, task: &Task, outcome: Outcome) {
        let claim = task.run.claim;
        match outcome {
            Outcome::Completed { result } => {
                self.note(&paint::completed(claim.task, task.started.elapsed()));
                self.ask(
                    Request::Complete(claim.ended(result)),
                    Asked::Complete(claim),
                );
            }
            Outcome::Failed { reason, detail } => {
                self.note(&paint::failed(claim.task, &reason));
                let text = match detail.as_str() {
                    "" => reason,
                    detail => format!("{reason}: {detail}"),
                };
                self.ask(Request::Fail(claim.ended(text)), Asked::Fail(claim));
            }
            // Only what is being ended is abandoned, and that is not reported.
            Outcome::Abandoned => {}
        }
    }

    fn ask(&mut self, request: Request, asked: Asked) {
        let ticket = self.parts.link.request(request);
        self.asked.insert(ticket, asked);
    }

    fn answered(&mut self, ticket: Ticket, outcome: Result<(), Refusal>) {
        match (self.asked.remove(&ticket), outcome) {
            (Some(Asked::Complete(claim)), Err(refusal))
                if refusal.code == ErrorCode::CompletionRefused =>
            {
                self.note(&paint::failed(claim.task, &refusal.message));
                self.ask(
                    Request::Fail(claim.ended(refusal.message)),
                    Asked::Fail(claim),
                );
            }
            (Some(Asked::Complete(claim) | Asked::Fail(claim)), Err(refusal)) => {
                self.note(&refused(
                    &format!("{} is not taken as ended", claim.task),
                    &refusal,
                ));
            }
            (Some(Asked::Read(messages)), _) => {
                for message in messages {
                    self.in_hand.remove(&message);
                }
            }
            (Some(Asked::Exit), _) => {
                if let State::Leaving { code, .. } = self.state {
                    self.state = State::Gone { code };
                }
            }
            (Some(Asked::Complete(_) | Asked::Fail(_)) | None, _) => {}
        }
        self.say_last_words();
    }

    fn deliver(&mut self, deliver: Deliver) {
        for message in deliver.messages {
            let text = paint::message(&message);
            // Offered again while its acknowledgement is on its way, or while it waits for the pane.
            if !self.in_hand.insert(message.id) {
                continue;
            }
            if self.parts.log.line(&text).is_err() {
                // Not read, since it is not in the log: it will be offered again.
                self.in_hand.remove(&message.id);
                continue;
            }
            let read = self.parts.pane.messages(&text, vec![message.id]);
            self.acknowledge(read);
        }
    }

    fn acknowledge(&mut self, messages: Vec<MessageId>) {
        if !messages.is_empty() {
            let request = Request::Read(ReadMessages {
                messages: messages.clone(),
            });
            self.ask(request, Asked::Read(messages));
        }
    }

    fn pane_event(&mut self, event: PaneEvent) {
        match event {
            PaneEvent::Lines(lines) => {
                for line in lines {
                    if !line.trim().is_empty() {
                        // The task that takes them ends with this process only.
                        let _ended = self.parts.typed.lines.send(line);
                    }
                }
                self.parts.pane.prompt();
            }
            PaneEvent::Keys(keys) => {
                if let State::Running(task) | State::Draining { task, .. } = &self.state {
                    task.run.controls.type_in(keys);
                }
            }
            PaneEvent::Shown(messages) => self.acknowledge(messages),
            PaneEvent::Gone => self.lose_pane(),
        }
    }

    fn lose_pane(&mut self) {
        if self.parts.pane.is_open() {
            let unshown = self.parts.pane.lose();
            self.pane_lost = true;
            self.parts.link.notify(Notice::PaneLost);
            self.note("the pane is gone: going on without it");
            self.acknowledge(unshown);
        }
    }

    fn stop(&mut self, grace: Duration, reason: String) {
        let words = LastWords {
            code: 0,
            reason,
            hold: false,
        };
        match mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.leave(words),
            State::Running(task) => {
                let end_at = Instant::now() + grace;
                self.state = State::Draining {
                    task,
                    end_at,
                    words,
                };
            }
            State::Draining {
                task,
                end_at,
                words,
            } => {
                let end_at = end_at.min(Instant::now() + grace);
                self.state = State::Draining {
                    task,
                    end_at,
                    words,
                };
            }
            State::Ending {
                task,
                then: Then::Idle | Then::Start(_),
            } => {
                let then = Then::Leave(words);
                self.state = State::Ending { task, then };
            }
            other @ (State::Ending { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Gone { .. }) => self.state = other,
        }
    }

    fn deadline(&mut self) {
        match &self.state {
            State::Draining { .. } => self.end_task("stopping", Then::Idle),
            State::Settling { words, .. } => self.state = State::Gone { code: words.code },
            State::Leaving { code, .. } => self.state = State::Gone { code: *code },
            State::Idle | State::Running(_) | State::Ending { .. } | State::Gone { .. } => {}
        }
    }

    fn leave(&mut self, words: LastWords) {
        let give_up_at = Instant::now() + LAST_WORDS_LIMIT;
        self.state = State::Settling { words, give_up_at };
        self.say_last_words();
    }

    fn say_last_words(&mut self) {
        if let State::Settling { words, give_up_at } = &self.state
            && !self.asked.values().any(Asked::is_report)
        {
            let (words, give_up_at) = (words.clone(), *give_up_at);
            self.state = State::Leaving {
                code: words.code,
                give_up_at,
            };
            self.ask(Request::Exit(words.into()), Asked::Exit);
        }
    }

    fn vanish(&mut self, why: &str) {
        self.note(why);
        self.end_task(why, Then::Vanish);
        match mem::replace(&mut self.state, State::Gone { code: 0 }) {
            State::Ending { task, .. } => {
                let then = Then::Vanish;
                self.state = State::Ending { task, then };
            }
            State::Settling {
                words: LastWords { code, .. },
                ..
            }
            | State::Leaving { code, .. }
            | State::Gone { code } => self.state = State::Gone { code },
            State::Idle | State::Running(_) | State::Draining { .. } => {}
        }
    }

    /// A line of ours, in the pane and in the log. `line` is harmless text.
    fn note(&mut self, line: &str) {
        self.write_log(line);
        self.parts.pane.line(line);
    }

    fn write_log(&mut self, line: &str) {
        // A log that cannot be written stops nothing; it has said so itself.
        let _logged = self.parts.log.line(line);
    }
}

impl Asked {
    fn is_report(&self) -> bool {
        matches!(self, Self::Complete(_) | Self::Fail(_))
    }

    fn reports(&self, claim: Claim) -> bool {
        matches!(self, Self::Complete(reported) | Self::Fail(reported) if *reported == claim)
    }
}

impl Claim {
    fn ended(self, text: String) -> EndTask {
        EndTask {
            task: self.task,
            generation: Some(self.generation),
            text,
        }
    }
}

fn refused(what: &str, refusal: &Refusal) -> String {
    let hint = refusal.hint.as_ref().map(|hint| format!(" ({hint})"));
    let text = format!("✗ {what}: {}{}", refusal.message, hint.unwrap_or_default());
    agent_team_protocol::text::visible_line(&text).into_owned()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Returns when there is something to show, time for it, and a link that takes it. Safe to cancel.
async fn output_due(
    at: Option<Instant>,
    output: mpsc::Sender<TaskOutput>,
) -> Option<mpsc::OwnedPermit<TaskOutput>> {
    sleep_until(at).await;
    match output.reserve_owned().await {
        Ok(permit) => Some(permit),
        // The link is over.
        Err(_) => std::future::pending().await,
    }
}

/// The run's next event, once the pane has room for it. Safe to cancel.
async fn task_event(
    task: Option<&mut Task>,
    room: impl Future<Output = Option<Room>>,
) -> (TaskEvent, Option<Room>) {
    let Some(task) = task else {
        return std::future::pending().await;
    };
    let room = room.await;
    match task.run.events.recv().await {
        Some(event) => (event, room),
        None => match (&mut task.run.task).await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Its last event was taken already, and the run with it.
            Ok(()) | Err(_) => std::future::pending().await,
        },
    }
}
