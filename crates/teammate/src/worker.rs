//! The worker's loop for engines that do one task at a time: owns the process's state. Called by `lib.rs` and `hosted`,
//! once per launch.
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
//!   Settling: reports are answered ──► Leaving: exit report ──► Gone
//! ```
//! Everything arrives as an [`Event`] and is applied without waiting. The supervisor's state takes precedence over the
//! worker's: a claim that the supervisor no longer reports is terminated without a report.

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
use agent_team_protocol::spec::Colour;
use agent_team_protocol::text::visible_line;
use agent_team_system::directories::Directories;
use agent_team_system::process::ProcessId;
use agent_team_system::signals::{SignalEvent, Signals};
use agent_team_terminal_ui::style::Theme;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::report::PendingReport;
use self::state::{State, Task, Then};
use crate::engine::{Event as TaskEvent, ProgramContext, TaskEngine};
use crate::link::{Link, LinkEvent, Notice, Over, Ticket};
use crate::log::MemberLog;
use crate::pane::paint;
use crate::pane::{Pane, PaneEvent, Room, Surface};
use crate::sleep_until;
use crate::typed::{Action, ActionOutcome, ActionResult, Typed};

pub(crate) use self::report::refused;
pub(crate) use self::state::{ExitReport, Reconciled, reconcile};

/// The grace period after SIGTERM.
pub(crate) const TERM_GRACE: Duration = Duration::from_secs(1);

/// The minimum interval between two `task/output` notifications.
pub(crate) const OUTPUT_PAUSE: Duration = Duration::from_millis(50);

/// The number of recent lines that a lent terminal shows first.
const RECENT_LINES: usize = 40;

/// The configuration of a worker.
pub(crate) struct WorkerConfig {
    pub(crate) program_context: Arc<ProgramContext>,
    pub(crate) log: MemberLog,
    pub(crate) link: Link,
    pub(crate) typed: Typed,
    /// `None` for a member in a shared process, which does not handle signals itself.
    pub(crate) signals: Option<Signals>,
    /// Of the terminal from which the team was started.
    pub(crate) theme: Theme,
    pub(crate) directories: Directories,
}

impl WorkerConfig {
    pub(crate) fn report_surface(&self, surface: &Surface) {
        if let Some(notice) = surface.state_notice() {
            self.link.notify(notice);
        }
    }

    /// Called before the terminal is lost.
    pub(crate) fn log_loss(&mut self, surface: &Surface) {
        if surface.is_own() {
            // The log reports its own write errors; the worker continues without it.
            let _logged = self.log.line("the pane was closed: continuing without it");
        }
    }

    /// The latest output, for a lent terminal; `None` if this member cannot use one.
    pub(crate) fn recent(&self) -> Option<String> {
        // Signals for resizes and keys concern the whole process, which a hosted member shares with others.
        self.signals.as_ref()?;
        Some(self.log.recent(RECENT_LINES))
    }
}

pub(crate) struct Worker {
    config: WorkerConfig,
    /// `None`: this worker is unfit and starts nothing.
    engine: Option<Box<dyn TaskEngine>>,
    pane: Pane,
    state: State,
    /// Requests that are not answered yet.
    pending: HashMap<Ticket, PendingReport>,
    /// Messages that are being shown or acknowledged. They may be delivered again meanwhile.
    in_progress: BTreeSet<MessageId>,
}

enum Event {
    Link(LinkEvent),
    Task(TaskEvent, Option<Room>),
    /// More output can be sent to the supervisor.
    OutputDue(mpsc::OwnedPermit<TaskOutput>),
    Pane(PaneEvent),
    Acted(ActionOutcome),
    Signal(SignalEvent),
    Deadline,
}

impl Worker {
    /// `engine`: or the reason why this worker cannot work; it then only reports this.
    pub(crate) fn new(
        config: WorkerConfig,
        pane: Pane,
        engine: Result<Box<dyn TaskEngine>, ExitReport>,
    ) -> Self {
        let (engine, unfit) = match engine {
            Ok(engine) => (Some(engine), None),
            Err(report) => (None, Some(report)),
        };
        let mut worker = Self {
            config,
            engine,
            pane,
            state: State::Idle,
            pending: HashMap::new(),
            in_progress: BTreeSet::new(),
        };
        if let Some(report) = unfit {
            worker.note(&report.reason);
            worker.leave(report, Instant::now());
        }
        worker
    }

    /// Runs until the member is stopped or its launch is over. Returns the exit code.
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
        let output = self.config.link.output.clone();
        let deadline = self.state.deadline();
        let task = self.state.task();
        let output_at = task
            .as_ref()
            .filter(|task| !task.output.is_empty())
            .map(|task| task.output_at);
        let WorkerConfig {
            link,
            typed,
            signals,
            ..
        } = &mut self.config;
        let pane = &mut self.pane;
        tokio::select! {
            biased;
            signal = next_signal(signals) => Event::Signal(signal),
            event = link.next() => Event::Link(event),
            event = pane.next() => Event::Pane(event),
            Some(acted) = typed.outcomes.recv() => Event::Acted(acted),
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
            Event::Acted(Ok(ActionResult::Task(task))) => self.note(&format!("{task} added")),
            // Such an engine makes no requests.
            Event::Acted(Ok(
                ActionResult::Accepted | ActionResult::Shown(_) | ActionResult::Printed(_),
            )) => {}
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
            // Such an engine uses no model.
            LinkEvent::Allowance(_) => {}
            LinkEvent::Show(show) => {
                let unconfirmed = self.move_pane(&show);
                self.acknowledge(unconfirmed);
                self.fit();
            }
            LinkEvent::Inform(inform) => self.note(&visible_line(&inform.text)),
            LinkEvent::Stop(stop) => self.stop(Duration::from_millis(stop.grace_ms), stop.reason),
            LinkEvent::Answered(ticket, outcome) => self.answered(ticket, outcome.map(drop)),
            LinkEvent::Unreachable(why) => {
                self.note(&format!("no connection to the supervisor, retrying: {why}"));
            }
            LinkEvent::Over(Over::Stopped) => self.vanish("the supervisor was stopped"),
            LinkEvent::Over(Over::Retired(why)) => self.vanish(&format!("retired: {why}")),
        }
    }

    fn connected(&mut self, welcome: Welcome) {
        self.pane.set_colour(Colour::named(&welcome.colour));
        self.config.report_surface(&self.pane.surface);
        if let State::Idle = self.state {
            self.pane.open_prompt();
        }
        let runs = self.state.task().map(|task| {
            if let Some(session) = &task.session {
                self.config.link.notify(Notice::Session(session.clone()));
            }
            task.run.claim
        });
        let pending = &self.pending;
        let reported = |claim| pending.values().any(|pending| pending.reports(claim));
        match reconcile(runs, welcome, reported) {
            Reconciled::Unchanged => {}
            Reconciled::Start(assignment) | Reconciled::Replace(assignment) => {
                self.start(assignment);
            }
            Reconciled::End => self.end_task("this member no longer owns it", Then::Idle),
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
            self.config.link.notify(Notice::Session(session));
        }
    }

    fn output(&mut self, bytes: Vec<u8>, text: &str, room: Option<Room>) {
        self.pane.output(bytes, room);
        // The log reports its own write errors; the task continues.
        let _logged = self.config.log.append(text);
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
                        // The task that receives them runs until the process exits.
                        let _ended = self.config.typed.actions.send(Action::Line(line));
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

    /// Resizes the task's terminal to the pane's size.
    fn fit(&mut self) {
        if let (Some(size), Some(task)) = (self.pane.surface.size(), self.state.task()) {
            task.run.controls.resize(size);
        }
    }

    fn lose_pane(&mut self) {
        if self.pane.surface.is_open() {
            self.config.log_loss(&self.pane.surface);
            let unconfirmed = self.pane.lose();
            self.config.report_surface(&self.pane.surface);
            self.acknowledge(unconfirmed);
        }
    }

    /// Moves to a lent terminal. Returns the messages that the previous terminal did not show.
    fn move_pane(&mut self, show: &ShowPane) -> Vec<MessageId> {
        let Some(recent) = self.config.recent() else {
            return Vec::new();
        };
        let moved = self.pane.move_to(show, &recent);
        self.config.report_surface(&self.pane.surface);
        moved.unwrap_or_else(|error| {
            not_shown(show, &error);
            Vec::new()
        })
    }

    /// Writes a line of the runtime to the pane and the log. `line` must be free of control characters.
    fn note(&mut self, line: &str) {
        self.write_log(line);
        self.pane.line(line);
    }

    fn write_log(&mut self, line: &str) {
        // The log reports its own write errors; the worker continues without it.
        let _logged = self.config.log.line(line);
    }
}

/// A lent terminal cannot be used.
pub(crate) fn not_shown(show: &ShowPane, error: &io::Error) {
    let terminal = show.terminal.display();
    tracing::warn!(%terminal, %error, "cannot show the member on this terminal");
}

/// Cancel-safe.
pub(crate) async fn next_signal(signals: &mut Option<Signals>) -> SignalEvent {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// Returns when output is due and the link can take it. Cancel-safe.
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

/// The run's next event, once the pane has room for its output. Cancel-safe.
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
            // The last event was already taken, and the run with it.
            Ok(()) | Err(_) => std::future::pending().await,
        },
    }
}
