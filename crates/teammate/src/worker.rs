//! The worker of one member with any engine: connection, pane, output, signals and exit. Called by `lib.rs` and
//! `hosted`, once per launch.
//!
//! ```text
//! link, signals, timers ──► Worker ──► Work ─┬─ Tasks: one run at a time of a `TaskEngine`
//! pane, engine ─────────────┘ │              └─ Agent: a loop with a model, or with an embedded engine
//!                             └─ Life: working, stopping, gone
//! ```
//! Every input arrives as an [`Event`] and is applied without waiting. The supervisor's state takes precedence over the
//! worker's state: work on a claim that the supervisor no longer reports is terminated without a report.

mod life;
mod output;
mod reconcile;

use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::method::MemberExit;
use agent_team_protocol::notification::{
    Abandon, Allowance, Assignment, Deliver, GoalEnded, NotifyUser, RequestNotice, SendPrompt,
    ShowPane, TaskOutput,
};
use agent_team_protocol::text::visible_line;
use agent_team_protocol::{MessageId, Refusal, TaskId};
use agent_team_system::directories::Directories;
use agent_team_system::signals::{SignalEvent, Signals};
use agent_team_terminal_ui::notifications::UserNotifications;
use agent_team_terminal_ui::style::Theme;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::output::Coalescer;
use self::reconcile::{ClaimChange, reconcile};
use crate::engine::{Claim, ProgramContext};
use crate::link::{Link, LinkEnd, LinkEvent, Notice, Request, Ticket};
use crate::live_output::LiveOutput;
use crate::log::MemberLog;
use crate::pane::{MemberPane, Surface};
use crate::timer::sleep_until;
use crate::typed::{ActionOutcome, ActionResult, PaneActions};

pub(crate) use self::life::{ExitReport, Life, Stop};

/// The grace period after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// The minimum interval between two `task/output` notifications.
const OUTPUT_PAUSE: Duration = Duration::from_millis(50);

/// The number of recent lines that a lent terminal shows first.
const RECENT_LINES: usize = 40;

pub(crate) struct WorkerConfig {
    pub(crate) program_context: Arc<ProgramContext>,
    pub(crate) log: MemberLog,
    /// Output for connected clients.
    pub(crate) live: LiveOutput,
    pub(crate) link: Link,
    pub(crate) typed: PaneActions,
    /// `None` for a hosted member: signals concern its whole process.
    pub(crate) signals: Option<Signals>,
    /// The theme for the terminal from which the team was started.
    pub(crate) theme: Theme,
    /// The notifications that this terminal supports.
    pub(crate) notifications: UserNotifications,
    pub(crate) directories: Directories,
    /// Why this launch continues the work of an earlier launch, until the pane has shown the reason.
    pub(crate) relaunched: Option<String>,
}

/// The work of a member, which depends on its engine. Only `next` and `close` wait.
pub(crate) trait Work: Sized {
    type Pane: MemberPane;
    type Event;

    /// The next event of the pane and the engine. Cancel-safe.
    async fn next(&mut self, pane: &mut Self::Pane) -> Self::Event;

    fn apply(&mut self, event: Self::Event, worker: &mut WorkerState<Self::Pane>);

    /// Called when the supervisor has accepted a connection.
    fn welcomed(&mut self, welcome: &Welcome, worker: &mut WorkerState<Self::Pane>);

    /// The claim that the member works on.
    fn claim(&self) -> Option<Claim>;

    /// Returns whether the end of this claim is reported and not yet answered.
    fn is_reported(&self, claim: Claim) -> bool;

    fn start(&mut self, assignment: Assignment, worker: &mut WorkerState<Self::Pane>);

    fn abandon(&mut self, abandon: Abandon, worker: &mut WorkerState<Self::Pane>);

    /// Called when the supervisor reports no claim of this member although `claim` returns a claim.
    fn lose_claim(&mut self, worker: &mut WorkerState<Self::Pane>);

    fn deliver(&mut self, deliver: Deliver, worker: &mut WorkerState<Self::Pane>);

    fn inform(&mut self, inform: RequestNotice, worker: &mut WorkerState<Self::Pane>) {
        worker.note(&visible_line(&inform.text));
    }

    /// Shows the end of the goal. Does nothing by default: only an agent can be the lead.
    fn goal_ended(&mut self, _ended: &GoalEnded, _worker: &mut WorkerState<Self::Pane>) {}

    /// Notifies the user through the terminal.
    fn notify_user(&mut self, notify: &NotifyUser, worker: &mut WorkerState<Self::Pane>) {
        let surface = worker.pane.surface();
        surface.notify(worker.config.notifications, &notify.text, notify.desktop);
    }

    fn allow(&mut self, _allowance: Allowance) {}

    /// Called when a request is answered. The worker itself handles the answer to the exit report.
    fn answered(
        &mut self,
        ticket: Ticket,
        outcome: Result<Box<RawValue>, Refusal>,
        worker: &mut WorkerState<Self::Pane>,
    );

    /// Called with the result of an action of the user.
    fn acted(&mut self, result: ActionResult, worker: &mut WorkerState<Self::Pane>);

    /// Moves the pane to a lent terminal.
    fn show(&mut self, show: &ShowPane, worker: &mut WorkerState<Self::Pane>);

    fn lose_pane(&mut self, worker: &mut WorkerState<Self::Pane>);

    /// Called when the terminal was resized.
    fn resize(&mut self, worker: &mut WorkerState<Self::Pane>);

    /// Called when the user interrupts the current turn through another client.
    fn interrupt(&mut self, _worker: &mut WorkerState<Self::Pane>) {}

    /// Called with a shell line that the user has typed in another terminal. Does nothing by default: the supervisor
    /// sends such lines to command members only.
    fn run_line(&mut self, _line: String, _worker: &mut WorkerState<Self::Pane>) {}

    /// Called when the user asks to compact the conversation. Does nothing by default: only agents have a conversation.
    fn compact(&mut self, _worker: &mut WorkerState<Self::Pane>) {}

    /// Called when the user calls a prompt of an MCP server through another client. Does nothing by default.
    fn send_prompt(&mut self, _prompt: SendPrompt, _worker: &mut WorkerState<Self::Pane>) {}

    /// Returns whether work is running that must end before the exit report.
    fn is_busy(&self) -> bool;

    /// Asks the running work to finish by itself. Returns the time at which to terminate the work; `None` if the work
    /// is already being terminated.
    fn stop(&mut self, stop: &Stop<'_>, worker: &mut WorkerState<Self::Pane>) -> Option<Instant>;

    /// Terminates the running work. Returns false if the work has not ended yet; [`WorkerState::ended`] is then called
    /// later.
    fn end(&mut self, why: &str, worker: &mut WorkerState<Self::Pane>) -> bool;

    /// Returns whether all reports that must precede the exit report are answered.
    fn is_settled(&self) -> bool {
        true
    }

    /// The task to which the output belongs.
    fn task(&self) -> Option<TaskId> {
        self.claim().map(|claim| claim.task)
    }

    /// Waits until all running work has ended.
    async fn close(&mut self) {}
}

/// The state that is independent of the engine. The worker passes it to the methods of its [`Work`].
pub(crate) struct WorkerState<P> {
    pub(crate) config: WorkerConfig,
    pub(crate) pane: P,
    pub(crate) life: Life,
    /// Output that is not sent to the supervisor yet.
    output: Coalescer,
    /// The earliest time for the next output.
    output_at: Instant,
    /// The request with the exit report, after it was sent.
    exit: Option<Ticket>,
}

pub(crate) struct Worker<W: Work> {
    worker: WorkerState<W::Pane>,
    work: W,
}

enum Event<E> {
    Link(LinkEvent),
    Work(E),
    /// The pause after the last output is over, and the link can take more output.
    OutputDue(OwnedSemaphorePermit),
    Acted(ActionOutcome),
    Signal(SignalEvent),
    Deadline,
}

impl<W: Work> Worker<W> {
    pub(crate) fn new(config: WorkerConfig, pane: W::Pane, work: W) -> Self {
        let worker = WorkerState {
            config,
            pane,
            life: Life::Working,
            output: Coalescer::default(),
            output_at: Instant::now(),
            exit: None,
        };
        Self { worker, work }
    }

    /// Reports that this worker cannot work, and exits.
    pub(crate) async fn report_unfit(mut self, report: ExitReport) -> u8 {
        // When the program of a pane exits, tmux scrolls the pane by one row for its own text. The reason must not be in the
        // first row.
        self.worker.pane.line("");
        self.worker.note(&report.reason);
        self.worker.life.leave(report, Instant::now());
        self.run().await
    }

    /// Runs until the member is stopped or its launch is over. Returns the exit code.
    pub(crate) async fn run(mut self) -> u8 {
        let code = loop {
            self.settle();
            if let Life::Gone { code } = self.worker.life {
                break code;
            }
            let event = self.next().await;
            self.apply(event);
        };
        self.work.close().await;
        self.worker.pane.close().await;
        code
    }

    async fn next(&mut self) -> Event<W::Event> {
        let WorkerState {
            config,
            pane,
            life,
            output,
            output_at,
            ..
        } = &mut self.worker;
        let WorkerConfig {
            link,
            live,
            typed,
            signals,
            ..
        } = config;
        let (slot, output_at, is_empty) = (link.output_slot.clone(), *output_at, output.is_empty());
        let due = async {
            if is_empty {
                live.changed().await;
            }
            output_due(output_at, slot).await
        };
        // The order matters: output of a task or model must delay neither a stop nor a deadline.
        tokio::select! {
            biased;
            signal = next_signal(signals) => Event::Signal(signal),
            event = link.next() => Event::Link(event),
            Some(acted) = typed.outcomes.recv() => Event::Acted(acted),
            () = sleep_until(life.deadline()) => Event::Deadline,
            slot = due => Event::OutputDue(slot),
            event = self.work.next(pane) => Event::Work(event),
        }
    }

    fn apply(&mut self, event: Event<W::Event>) {
        let Self { worker, work } = self;
        match event {
            Event::Link(event) => self.link_event(event),
            Event::Work(event) => work.apply(event, worker),
            Event::OutputDue(slot) => {
                let output = worker.take_output(work.task());
                worker
                    .config
                    .link
                    .notify(Notice::Output(output, Some(slot)));
            }
            Event::Acted(Ok(result)) => work.acted(result, worker),
            Event::Acted(Err(failed)) => {
                worker.note_failure(failed.what, &failed.refusal);
            }
            Event::Signal(SignalEvent::Shutdown) => self.stop(TERM_GRACE, "terminated".into()),
            // Only ^C before the first prompt causes this signal: after the first prompt, the terminal is in raw mode.
            Event::Signal(SignalEvent::Interrupt) => {}
            Event::Signal(SignalEvent::Hangup) => work.lose_pane(worker),
            Event::Signal(SignalEvent::WindowChanged) => {
                work.resize(worker);
                if let Some(notice) = worker.pane.size_notice() {
                    worker.config.link.notify(notice);
                }
            }
            Event::Signal(SignalEvent::Info) => {
                tracing::info!(
                    state = worker.life.name(),
                    busy = work.is_busy(),
                    "state requested by a signal"
                );
            }
            Event::Deadline => {
                if worker.life.deadline_passed() && work.end(&worker.life.stop_reason(), worker) {
                    worker.ended(None);
                }
            }
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        let Self { worker, work } = self;
        match event {
            LinkEvent::Connected(welcome) => self.connected(welcome),
            LinkEvent::Start(assignment) => work.start(assignment, worker),
            LinkEvent::Abandon(abandon) => work.abandon(abandon, worker),
            LinkEvent::Deliver(deliver) => work.deliver(deliver, worker),
            LinkEvent::Interrupt => work.interrupt(worker),
            LinkEvent::RunLine(line) => work.run_line(line, worker),
            LinkEvent::Compact => work.compact(worker),
            LinkEvent::SendPrompt(prompt) => work.send_prompt(prompt, worker),
            LinkEvent::RequestNotice(inform) => work.inform(inform, worker),
            LinkEvent::GoalEnded(ended) => work.goal_ended(&ended, worker),
            LinkEvent::NotifyUser(notify) => work.notify_user(&notify, worker),
            LinkEvent::Allowance(allowance) => work.allow(allowance),
            LinkEvent::Show(show) => work.show(&show, worker),
            LinkEvent::Stop(stop) => self.stop(Duration::from_millis(stop.grace_ms), stop.reason),
            LinkEvent::Answered(ticket, _) if worker.exit == Some(ticket) => {
                worker.life.exit_answered();
            }
            LinkEvent::Answered(ticket, outcome) => work.answered(ticket, outcome, worker),
            LinkEvent::Unreachable(why) => {
                worker.note(&format!("no connection to the supervisor, retrying: {why}"));
            }
            LinkEvent::Over(LinkEnd::Stopped) => self.vanish("the supervisor was stopped"),
            LinkEvent::Over(LinkEnd::Retired(why)) => self.vanish(&format!("retired: {why}")),
        }
    }

    fn connected(&mut self, welcome: Welcome) {
        let Self { worker, work } = self;
        worker.config.report_surface(worker.pane.surface());
        work.welcomed(&welcome, worker);
        if let Some(why) = worker.config.relaunched.take() {
            worker.note(&visible_line(&why));
        }
        match reconcile(work.claim(), welcome, |claim| work.is_reported(claim)) {
            ClaimChange::Unchanged => {}
            ClaimChange::Start(assignment) => work.start(assignment, worker),
            ClaimChange::End => work.lose_claim(worker),
        }
    }

    fn stop(&mut self, grace: Duration, reason: String) {
        let now = Instant::now();
        let Self { worker, work } = self;
        let report = ExitReport {
            code: 0,
            reason,
            hold: false,
        };
        match worker.life {
            Life::Working if !work.is_busy() => worker.life.leave_within(report, now, grace),
            Life::Working | Life::Stopping { .. } => {
                let end_at = work.stop(&Stop::new(&report.reason, now, grace), worker);
                worker.life.stop(report, end_at);
            }
            Life::Vanishing | Life::Settling { .. } | Life::Leaving { .. } | Life::Gone { .. } => {}
        }
    }

    /// Terminates the work without an exit report: the launch is over, so no supervisor accepts a report.
    fn vanish(&mut self, why: &str) {
        self.worker.note(why);
        let is_over = self.work.end(why, &mut self.worker);
        self.worker.life.vanish(is_over);
    }

    /// Sends the exit report once all other reports are answered, or at their time limit.
    ///
    /// The exit report is last because it starts a timer in the core (`EXIT_REPORT_MS`), after which the supervisor
    /// kills the worker. A result that is still unanswered then, for example because the supervisor restarts, would be
    /// lost with the worker, and the task could run again.
    fn settle(&mut self) {
        let Self { worker, work } = self;
        if let Some(report) = worker.life.settle(work.is_settled(), Instant::now()) {
            worker.flush(work.task());
            let request = Request::of::<MemberExit>(&report.into());
            worker.exit = Some(worker.config.link.request(request));
        }
    }
}

impl<P: MemberPane> WorkerState<P> {
    /// Called when the running work has ended or was terminated, or cannot continue for the reason in `report`.
    pub(crate) fn ended(&mut self, report: Option<ExitReport>) {
        self.life.ended(report, Instant::now());
    }

    /// Adds output of the running task, to be sent to the supervisor.
    pub(crate) fn add_output(&mut self, text: &str) {
        self.output.push(text);
    }

    /// Takes the output since the last call.
    fn take_output(&mut self, task: Option<TaskId>) -> TaskOutput {
        self.output_at = Instant::now() + OUTPUT_PAUSE;
        TaskOutput {
            task,
            text: self.output.take(),
            fragments: self.config.live.take(),
        }
    }

    /// Sends the output so far, so that the supervisor receives it before the next request.
    pub(crate) fn flush(&mut self, task: Option<TaskId>) {
        let output = self.take_output(task);
        if !output.text.is_empty() || !output.fragments.is_empty() {
            self.config.link.notify(Notice::Output(output, None));
        }
    }

    /// Continues without a terminal. Returns the messages that the lost terminal did not show.
    pub(crate) fn lose_pane(&mut self) -> Vec<MessageId> {
        if !self.pane.surface().is_open() {
            return Vec::new();
        }
        if self.pane.surface().is_own() {
            self.write_log("the pane was closed: continuing without it");
        }
        let unconfirmed = self.pane.lose();
        self.config.report_surface(self.pane.surface());
        unconfirmed
    }

    /// Moves to a lent terminal. Returns the messages that the previous terminal did not show.
    pub(crate) fn move_pane(&mut self, show: &ShowPane) -> Vec<MessageId> {
        // A hosted member uses no terminal: signals for resizes and keys concern the whole process, which the member
        // shares with others.
        if self.config.signals.is_none() {
            return Vec::new();
        }
        let moved = self
            .pane
            .move_to(show, &self.config.log.recent(RECENT_LINES));
        self.config.report_surface(self.pane.surface());
        moved.unwrap_or_else(|error| {
            let terminal = show.terminal.display();
            tracing::warn!(%terminal, %error, "cannot show the member on this terminal");
            Vec::new()
        })
    }

    /// Writes a line of the worker itself to the pane and the log. `line` must be free of control characters.
    pub(crate) fn note(&mut self, line: &str) {
        self.write_log(line);
        self.pane.line(line);
    }

    /// Writes that an action of the user has failed. Also notifies connected clients, in which the user may have
    /// started the action.
    pub(crate) fn note_failure(&mut self, what: &str, refusal: &Refusal) {
        let line = refused(what, refusal);
        self.note(&line);
        self.config.live.lines(line, false);
    }

    /// Like [`WorkerState::note`], and also sends the line to connected clients.
    pub(crate) fn announce(&mut self, line: &str) {
        self.note(line);
        self.stream(line);
    }

    /// Sends a line to connected clients.
    pub(crate) fn stream(&mut self, line: &str) {
        self.add_output(line);
        self.add_output("\n");
    }

    pub(crate) fn write_log(&mut self, line: &str) {
        // The log reports its own write errors; the worker continues without it.
        let _logged = self.config.log.line(line);
    }
}

impl WorkerConfig {
    fn report_surface(&self, surface: &Surface) {
        if let Some(notice) = surface.state_notice() {
            self.link.notify(notice);
        }
    }
}

/// Returns the next signal; waits forever without `signals`. Cancel-safe.
async fn next_signal(signals: &mut Option<Signals>) -> SignalEvent {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// Returns when output is due and the link can take it. Cancel-safe.
async fn output_due(at: Instant, slot: Arc<Semaphore>) -> OwnedSemaphorePermit {
    tokio::time::sleep_until(at).await;
    slot.acquire_owned()
        .await
        .expect("the semaphore is never closed")
}

/// Formats a refusal as one line for the user.
pub(crate) fn refused(what: &str, refusal: &Refusal) -> String {
    let hint = refusal.hint.as_ref().map(|hint| format!(" ({hint})"));
    let text = format!("✗ {what}: {}{}", refusal.message, hint.unwrap_or_default());
    visible_line(&text).into_owned()
}
