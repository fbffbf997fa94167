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

mod report;
mod state;
mod transition;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::MessageId;
use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::notification::{ShowPane, TaskOutput, TaskSession};
use agent_team_protocol::text::visible_line;
use agent_team_system::directories::Directories;
use agent_team_system::process::ProcessId;
use agent_team_system::signals::{SignalEvent, Signals};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::report::Asked;
use self::state::{State, Task, Then};
use crate::engine::{Event as TaskEvent, Place};
use crate::link::{Link, LinkEvent, Notice, Over, Ticket};
use crate::log::MemberLog;
use crate::pane::paint::{self, Paint};
use crate::pane::{Pane, PaneEvent, Room, Surface};
use crate::sleep_until;
use crate::typed::{Act, Acted, Done, Typed};

pub(crate) use self::report::refused;
pub(crate) use self::state::{LastWords, Reconciled, reconcile};

/// The grace that SIGTERM leaves.
pub(crate) const TERM_GRACE: Duration = Duration::from_secs(1);

/// At most one `task/output` per this time.
pub(crate) const OUTPUT_PAUSE: Duration = Duration::from_millis(50);

/// Lines that a terminal shows of what was there before it.
const RECENT_LINES: usize = 40;

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) place: Arc<Place>,
    pub(crate) log: MemberLog,
    pub(crate) link: Link,
    pub(crate) typed: Typed,
    /// `None`: they are not this member's.
    pub(crate) signals: Option<Signals>,
    /// `NO_COLOR` does not forbid it.
    pub(crate) coloured: bool,
    pub(crate) directories: Directories,
}

impl Parts {
    pub(crate) fn tell_whereabouts(&self, surface: &Surface) {
        if let Some(notice) = surface.whereabouts() {
            self.link.notify(notice);
        }
    }

    /// Before the terminal is lost.
    pub(crate) fn log_loss(&mut self, surface: &Surface) {
        if surface.is_own() {
            // A log that cannot be written stops nothing; it has said so itself.
            let _logged = self.log.line("the pane is gone: going on without it");
        }
    }

    /// What was shown last, for a terminal that somebody lends; `None` when this member can go to none.
    pub(crate) fn recent(&self) -> Option<String> {
        // Sizes and keys would come to the whole process, whose members are several.
        self.signals.as_ref()?;
        Some(self.log.recent(RECENT_LINES))
    }
}

pub(crate) struct Worker {
    parts: Parts,
    pane: Pane,
    state: State,
    /// Requests without an answer.
    asked: HashMap<Ticket, Asked>,
    /// Messages that are shown or acknowledged right now: they may be offered again meanwhile.
    in_hand: BTreeSet<MessageId>,
}

enum Event {
    Link(LinkEvent),
    Task(TaskEvent, Option<Room>),
    /// The supervisor can be shown more output.
    OutputDue(mpsc::OwnedPermit<TaskOutput>),
    Pane(PaneEvent),
    Acted(Acted),
    Signal(SignalEvent),
    Deadline,
}

impl Worker {
    /// `unfit`: why this worker cannot work at all, which is then the only thing that it says.
    pub(crate) fn new(parts: Parts, pane: Pane, unfit: Option<LastWords>) -> Self {
        let mut worker = Self {
            parts,
            pane,
            state: State::Idle,
            asked: HashMap::new(),
            in_hand: BTreeSet::new(),
        };
        if let Some(words) = unfit {
            worker.note(&words.reason);
            worker.leave(words, Instant::now());
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
        self.pane.close().await;
        code
    }

    async fn next(&mut self) -> Event {
        let room = self.pane.room();
        let output = self.parts.link.output.clone();
        let deadline = self.state.deadline();
        let task = self.state.task();
        let output_at = task
            .as_ref()
            .filter(|task| !task.output.is_empty())
            .map(|task| task.output_at);
        let Parts {
            link,
            typed,
            signals,
            ..
        } = &mut self.parts;
        let pane = &mut self.pane;
        tokio::select! {
            biased;
            signal = next_signal(signals) => Event::Signal(signal),
            event = link.next() => Event::Link(event),
            event = pane.next() => Event::Pane(event),
            Some(acted) = typed.acted.recv() => Event::Acted(acted),
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
                self.pane.end_program();
                self.note(&paint::verifying(&line));
            }
            Event::Task(TaskEvent::Ended(outcome), _) => self.ended(outcome),
            Event::OutputDue(permit) => self.show_output(permit),
            Event::Pane(event) => self.pane_event(event),
            Event::Acted(Ok(Done::Task(task))) => self.note(&format!("{task} added")),
            // Who runs commands asks nobody.
            Event::Acted(Ok(Done::Told | Done::Shown(_) | Done::Printed(_))) => {}
            Event::Acted(Err(failed)) => self.note(&refused(failed.what, &failed.refusal)),
            Event::Signal(SignalEvent::Shutdown) => self.stop(TERM_GRACE, "terminated".into()),
            Event::Signal(SignalEvent::Interrupt) => self.pane.interrupt(),
            Event::Signal(SignalEvent::Hangup) => self.lose_pane(),
            Event::Signal(SignalEvent::WindowChanged) => self.fit(),
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
            // Who runs commands asks no model.
            LinkEvent::Allowance(_) => {}
            LinkEvent::Show(show) => {
                let unshown = self.move_pane(&show);
                self.acknowledge(unshown);
                self.fit();
            }
            LinkEvent::Inform(inform) => self.note(&visible_line(&inform.text)),
            LinkEvent::Stop(stop) => self.stop(Duration::from_millis(stop.grace_ms), stop.reason),
            LinkEvent::Answered(ticket, outcome) => self.answered(ticket, outcome.map(drop)),
            LinkEvent::Unreachable(why) => {
                self.note(&format!("no supervisor, trying again: {why}"));
            }
            LinkEvent::Over(Over::Stopped) => self.vanish("the supervisor was stopped"),
            LinkEvent::Over(Over::Retired(why)) => self.vanish(&format!("retired: {why}")),
        }
    }

    fn connected(&mut self, welcome: Welcome) {
        if self.parts.coloured {
            self.pane.set_paint(Paint::named(&welcome.colour));
        }
        self.parts.tell_whereabouts(&self.pane.surface);
        if let State::Idle = self.state {
            self.pane.open_prompt();
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
        self.pane.output(bytes, room);
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
            permit.send(TaskOutput {
                task: Some(task),
                text,
                said: Vec::new(),
            });
        }
    }

    fn pane_event(&mut self, event: PaneEvent) {
        match event {
            PaneEvent::Lines(lines) => {
                for line in lines {
                    if !line.trim().is_empty() {
                        // The task that takes them ends with this process only.
                        let _ended = self.parts.typed.acts.send(Act::Line(line));
                    }
                }
                self.pane.prompt();
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

    /// The task's terminal is as large as the pane.
    fn fit(&mut self) {
        if let (Some(size), Some(task)) = (self.pane.surface.size(), self.state.task()) {
            task.run.controls.resize(size);
        }
    }

    fn lose_pane(&mut self) {
        if self.pane.surface.is_open() {
            self.parts.log_loss(&self.pane.surface);
            let unshown = self.pane.lose();
            self.parts.tell_whereabouts(&self.pane.surface);
            self.acknowledge(unshown);
        }
    }

    /// Goes to a terminal that somebody lends. Returns the messages that the one before never came to show.
    fn move_pane(&mut self, show: &ShowPane) -> Vec<MessageId> {
        let Some(recent) = self.parts.recent() else {
            return Vec::new();
        };
        let moved = self.pane.move_to(show, &recent);
        self.parts.tell_whereabouts(&self.pane.surface);
        moved.unwrap_or_else(|error| {
            not_shown(show, &error);
            Vec::new()
        })
    }

    /// A line of ours, in the pane and in the log. `line` is harmless text.
    fn note(&mut self, line: &str) {
        self.write_log(line);
        self.pane.line(line);
    }

    fn write_log(&mut self, line: &str) {
        // A log that cannot be written stops nothing; it has said so itself.
        let _logged = self.parts.log.line(line);
    }
}

/// Somebody lent a terminal that cannot be used.
pub(crate) fn not_shown(show: &ShowPane, error: &io::Error) {
    let terminal = show.terminal.display();
    tracing::warn!(%terminal, %error, "cannot be shown there");
}

/// Safe to cancel.
pub(crate) async fn next_signal(signals: &mut Option<Signals>) -> SignalEvent {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// Returns when there is something to show, time for it, and a link that takes it. Safe to cancel.
pub(crate) async fn output_due(
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
