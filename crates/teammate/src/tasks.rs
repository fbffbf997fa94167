//! The work of a member whose engine runs one task at a time, or one line that the user has typed in the pane. Called by
//! the worker.
//!
//! ```text
//!          start               ended: reported
//!   idle ────────► running ────────────────────► idle
//!    │               └ abandoned, replaced, stopped ──► ending ─► idle, or the next run
//!    └─ typed ──► line ── ended ──► idle, or the task that was assigned meanwhile
//! ```
//! A typed line runs like the `run` line of a task, in the same environment, and needs no permission: the user has
//! typed it. A typed line is not a task: the member's log contains the line with its output; the board and the journal
//! do not. A task that is assigned meanwhile waits until the line has ended: the worker does not terminate the user's
//! program for a task.

mod added;
mod error_line;
mod report;

use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::notification::{
    Abandon, Assignment, Deliver, MemberWaits, ShowPane, TaskSession,
};
use agent_team_protocol::spec::Colour;
use agent_team_protocol::text::visible;
use agent_team_protocol::view::Waiting;
use agent_team_protocol::{Refusal, TaskId};
use agent_team_system::process::ProcessId;
use serde_json::value::RawValue;
use tokio::time::Instant;

use self::added::AddedTasks;
use self::report::Reports;
use crate::engine::{
    Claim, Event as RunEvent, HEADLESS_SIZE, Lines, ProgramRun, RunOutcome, TaskEngine,
};
use crate::link::{Notice, Ticket};
use crate::pane::{MemberPane, Pane, PaneEvent, Room, paint};
use crate::typed::{Action, ActionResult};
use crate::worker::{Stop, Work};

type WorkerState = crate::worker::WorkerState<Pane>;

pub(crate) struct Tasks {
    /// `None`: the worker is unfit and starts nothing.
    engine: Option<Box<dyn TaskEngine>>,
    task: Option<Task>,
    /// The task that was assigned while a typed line runs.
    waiting: Option<Assignment>,
    reports: Reports,
    added: AddedTasks,
}

/// A run and its local state.
struct Task {
    run: ProgramRun,
    /// `None`: the run is a line that the user has typed.
    claim: Option<Claim>,
    started: Instant,
    /// The session of the program that was started last.
    session: Option<TaskSession>,
    after_run: AfterRun,
}

/// The action after a run has ended.
enum AfterRun {
    Report,
    /// No report is sent: the run is being terminated.
    Idle,
    /// Like `Idle`; then this task begins.
    Start(Assignment),
}

pub(crate) enum Event {
    Run(RunEvent, Option<Room>),
    Pane(PaneEvent),
}

impl Tasks {
    pub(crate) fn new(engine: Box<dyn TaskEngine>) -> Self {
        Self {
            engine: Some(engine),
            ..Self::none()
        }
    }

    /// Creates the work of a worker that only reports why it is unfit.
    pub(crate) fn none() -> Self {
        Self {
            engine: None,
            task: None,
            waiting: None,
            reports: Reports::default(),
            added: AddedTasks::default(),
        }
    }

    fn begin(&mut self, assignment: Assignment, worker: &mut WorkerState) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        if self
            .added
            .begins(assignment.task, assignment.run.as_deref())
        {
            worker.note(&paint::added(assignment.task));
        }
        let header = paint::header(&assignment);
        worker.write_log(&header);
        worker.stream(&header);
        worker.pane.begin_task(&header);
        let lines = Lines::from(&assignment);
        self.task = Some(Task::begin(
            engine.as_mut(),
            lines,
            Some(Claim::from(&assignment)),
            worker,
        ));
    }

    /// Runs a line that the user has typed.
    fn begin_line(&mut self, line: String, worker: &mut WorkerState) {
        let (None, Some(engine)) = (&self.task, &mut self.engine) else {
            return;
        };
        // The log records the whole line, which the pane has just shown.
        let redacted = worker.config.program_context.secrets.redact(&line);
        let recorded = format!("── you ── {}", visible(&redacted));
        worker.write_log(&recorded);
        worker.stream(&recorded);
        worker.pane.begin_line(&paint::typed(&redacted));
        let lines = Lines {
            run: Some(line),
            ..Lines::default()
        };
        self.task = Some(Task::begin(engine.as_mut(), lines, None, worker));
    }

    /// Reports that a line which the user has typed does not run, because the member is stopping.
    fn refuse_line(line: &str, worker: &mut WorkerState) {
        let redacted = worker.config.program_context.secrets.redact(line);
        worker.note(&paint::line_not_run("stopping", &redacted));
    }

    /// Takes the task that waits for the end of a typed line.
    fn take_waiting(&mut self, worker: &WorkerState) -> Option<Assignment> {
        let waiting = self.waiting.take()?;
        worker
            .config
            .link
            .notify(Notice::Waits(MemberWaits { on: None }));
        Some(waiting)
    }

    /// Reports to the supervisor why the assigned task does not begin yet.
    fn report_wait(worker: &WorkerState) {
        let what = "the user's program in its pane".to_owned();
        let on = Some(Waiting::Reply { what });
        worker.config.link.notify(Notice::Waits(MemberWaits { on }));
    }

    fn line_runs(&self) -> bool {
        matches!(&self.task, Some(Task { claim: None, .. }))
    }

    /// Terminates the run without a report.
    fn end_run(&mut self, why: &str, after_run: AfterRun, worker: &mut WorkerState) {
        let Some(task) = &mut self.task else { return };
        if let AfterRun::Report = task.after_run {
            let ended = match task.claim {
                Some(claim) => paint::abandoned(claim.task, why),
                None => paint::line_failed(why),
            };
            worker.announce(&ended);
            task.run.controls.end();
            worker.life.work_is_ending();
        }
        task.after_run = after_run;
    }

    fn run_event(&mut self, event: RunEvent, room: Option<Room>, worker: &mut WorkerState) {
        match event {
            RunEvent::Session(leader) => self.session(leader, worker),
            RunEvent::Output { bytes, text } => {
                worker.pane.output(bytes, room);
                // The log reports its own write errors; the task continues.
                let _logged = worker.config.log.append(&text);
                worker.add_output(&text);
            }
            RunEvent::Verifying(line) => {
                worker.pane.end_program();
                worker.announce(&paint::verifying(&line));
            }
            RunEvent::Ended(outcome) => self.ended(outcome, worker),
        }
    }

    fn session(&mut self, leader: ProcessId, worker: &mut WorkerState) {
        if let Some(task) = &mut self.task {
            let session = TaskSession {
                task: task.claim.map(|claim| claim.task),
                pid: leader.pid,
                start_time: leader.start_time,
            };
            task.session = Some(session.clone());
            worker.config.link.notify(Notice::Session(session));
        }
    }

    fn ended(&mut self, outcome: RunOutcome, worker: &mut WorkerState) {
        worker.flush(self.task());
        worker.pane.end_task();
        let Some(task) = self.task.take() else { return };
        if let AfterRun::Report = task.after_run {
            match (task.claim, outcome) {
                (Some(claim), outcome) => {
                    let took = task.started.elapsed();
                    self.reports.end(claim, took, outcome, worker);
                }
                (None, RunOutcome::Failed { reason, .. }) => {
                    worker.announce(&paint::line_failed(&reason));
                }
                (None, RunOutcome::Completed { .. } | RunOutcome::Abandoned) => {}
            }
        }
        if let Some(waiting) = self.take_waiting(worker)
            && worker.life.is_working()
        {
            return self.begin(waiting, worker);
        }
        match task.after_run {
            AfterRun::Start(assignment) if worker.life.is_working() => {
                self.begin(assignment, worker)
            }
            AfterRun::Report | AfterRun::Idle if worker.life.is_working() => worker.pane.prompt(),
            AfterRun::Report | AfterRun::Idle | AfterRun::Start(_) => {
                for line in worker.pane.take_lines() {
                    Self::refuse_line(&line, worker);
                }
                worker.ended(None);
            }
        }
    }

    fn pane_event(&mut self, event: PaneEvent, worker: &mut WorkerState) {
        match event {
            PaneEvent::Line(line) if worker.life.is_working() => self.begin_line(line, worker),
            PaneEvent::Line(line) => Self::refuse_line(&line, worker),
            PaneEvent::Task(line) => {
                self.added.requested(line.clone());
                // The receiver of the actions exists until the process exits.
                let _ended = worker.config.typed.actions.send(Action::Line(line));
            }
            PaneEvent::Verb(words) => {
                let size = worker.pane.surface.size();
                worker.config.typed.verb(words, size);
            }
            PaneEvent::Complete(names) => worker.config.typed.complete(names),
            PaneEvent::Keys(keys) => {
                if let Some(task) = &self.task
                    && let AfterRun::Report = task.after_run
                {
                    task.run.controls.type_in(keys);
                }
            }
            PaneEvent::Shown(messages) => self.reports.acknowledge(messages, worker),
            PaneEvent::Gone => self.lose_pane(worker),
        }
    }
}

impl Task {
    fn begin(
        engine: &mut dyn TaskEngine,
        lines: Lines,
        claim: Option<Claim>,
        worker: &WorkerState,
    ) -> Self {
        let size = worker.pane.surface.size().unwrap_or(HEADLESS_SIZE);
        Self {
            run: engine.start(&worker.config.program_context, lines, size),
            claim,
            started: Instant::now(),
            session: None,
            after_run: AfterRun::Report,
        }
    }
}

impl Work for Tasks {
    type Pane = Pane;
    type Event = Event;

    async fn next(&mut self, pane: &mut Pane) -> Event {
        let room = pane.room();
        tokio::select! {
            biased;
            event = pane.next() => Event::Pane(event),
            (event, room) = run_event(self.task.as_mut(), room) => Event::Run(event, room),
        }
    }

    fn apply(&mut self, event: Event, worker: &mut WorkerState) {
        match event {
            Event::Run(event, room) => self.run_event(event, room, worker),
            Event::Pane(event) => self.pane_event(event, worker),
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, worker: &mut WorkerState) {
        worker.pane.set_colour(Colour::named(&welcome.colour));
        match &self.task {
            None if worker.life.is_working() => worker.pane.open_prompt(),
            None => {}
            Some(task) => {
                if let Some(session) = &task.session {
                    worker.config.link.notify(Notice::Session(session.clone()));
                }
                if self.waiting.is_some() {
                    Self::report_wait(worker);
                }
            }
        }
    }

    fn claim(&self) -> Option<Claim> {
        let waiting = || self.waiting.as_ref().map(Claim::from);
        self.task
            .as_ref()
            .and_then(|task| task.claim)
            .or_else(waiting)
    }

    /// The task of the output. Output of a typed line belongs to no task.
    fn task(&self) -> Option<TaskId> {
        let claim = self.task.as_ref().and_then(|task| task.claim);
        claim.map(|claim| claim.task)
    }

    fn is_reported(&self, claim: Claim) -> bool {
        self.reports.is_reported(claim)
    }

    fn start(&mut self, assignment: Assignment, worker: &mut WorkerState) {
        // A worker that is stopping leaves the task to the supervisor, which releases it.
        if !worker.life.is_working() {
            return;
        }
        if self.line_runs() {
            if self.claim() != Some(Claim::from(&assignment)) {
                let task = assignment.task;
                worker.note(&format!("… {task} waits until your program ends"));
                Self::report_wait(worker);
                self.waiting = Some(assignment);
            }
            return;
        }
        match &self.task {
            None => self.begin(assignment, worker),
            Some(Task {
                claim,
                after_run: AfterRun::Report,
                ..
            }) if *claim == Some(Claim::from(&assignment)) => {}
            Some(_) => self.end_run(
                "a new assignment replaces it",
                AfterRun::Start(assignment),
                worker,
            ),
        }
    }

    fn abandon(&mut self, abandon: Abandon, worker: &mut WorkerState) {
        let abandoned = Claim {
            task: abandon.task,
            generation: abandon.generation,
        };
        let is_abandoned = |waiting: &Assignment| Claim::from(waiting) == abandoned;
        if self.waiting.as_ref().is_some_and(is_abandoned) {
            self.take_waiting(worker);
            return;
        }
        let Some(task) = &mut self.task else { return };
        match &task.after_run {
            AfterRun::Start(next) if Claim::from(next) == abandoned => {
                task.after_run = AfterRun::Idle
            }
            AfterRun::Report if task.claim == Some(abandoned) => {
                self.end_run(&abandon.reason, AfterRun::Idle, worker);
            }
            // The claim is not the current one, or the run is already being terminated.
            AfterRun::Report | AfterRun::Idle | AfterRun::Start(_) => {}
        }
    }

    fn lose_claim(&mut self, worker: &mut WorkerState) {
        if self.take_waiting(worker).is_none() {
            self.end_run("this member no longer owns it", AfterRun::Idle, worker);
        }
    }

    /// Terminates the line that the user has typed, if a line runs. A task continues: only its member can end it.
    fn interrupt(&mut self, worker: &mut WorkerState) {
        if self.line_runs() {
            self.end_run("interrupted by the user", AfterRun::Idle, worker);
        }
    }

    fn run_line(&mut self, line: String, worker: &mut WorkerState) {
        // The supervisor has checked that the member is idle. The member may have started work meanwhile, or may run
        // another line.
        let why = match self.task {
            _ if self.engine.is_none() || !worker.life.is_working() => "stopping",
            Some(_) => "at work",
            None => return self.begin_line(line, worker),
        };
        let redacted = worker.config.program_context.secrets.redact(&line);
        worker.announce(&paint::line_not_run(why, &redacted));
    }

    fn deliver(&mut self, deliver: Deliver, worker: &mut WorkerState) {
        // A worker that only reports why it is unfit must not acknowledge messages: the next launch works on them.
        if self.engine.is_some() {
            self.reports.deliver(deliver, worker);
        }
    }

    fn answered(
        &mut self,
        ticket: Ticket,
        outcome: Result<Box<RawValue>, Refusal>,
        worker: &mut WorkerState,
    ) {
        self.reports.answered(ticket, outcome.map(drop), worker);
    }

    fn acted(&mut self, result: ActionResult, worker: &mut WorkerState) {
        match result {
            ActionResult::Task(task) => {
                if self.added.responded(task) {
                    worker.note(&paint::added(task));
                }
            }
            ActionResult::NotAdded(refusal) => {
                self.added.refused();
                worker.note_failure("cannot add the task", &refusal);
            }
            ActionResult::Printed(text) => worker.pane.line(text.trim_end()),
            ActionResult::Found(names, candidates) => worker.pane.offer(&names, candidates),
            ActionResult::Accepted | ActionResult::NotDecided(_) | ActionResult::Shown(_) => {}
        }
    }

    fn show(&mut self, show: &ShowPane, worker: &mut WorkerState) {
        let unconfirmed = worker.move_pane(show);
        self.reports.acknowledge(unconfirmed, worker);
        self.resize(worker);
    }

    fn lose_pane(&mut self, worker: &mut WorkerState) {
        let unconfirmed = worker.lose_pane();
        self.reports.acknowledge(unconfirmed, worker);
    }

    fn resize(&mut self, worker: &mut WorkerState) {
        worker.pane.resize();
        if let (Some(size), Some(task)) = (worker.pane.surface.size(), &self.task) {
            task.run.controls.resize(size);
        }
    }

    fn is_busy(&self) -> bool {
        self.task.is_some()
    }

    fn stop(&mut self, stop: &Stop<'_>, _worker: &mut WorkerState) -> Option<Instant> {
        let finishes =
            matches!(&self.task, Some(task) if matches!(task.after_run, AfterRun::Report));
        finishes.then_some(stop.finish_at)
    }

    fn end(&mut self, why: &str, worker: &mut WorkerState) -> bool {
        self.end_run(why, AfterRun::Idle, worker);
        self.task.is_none()
    }

    fn is_settled(&self) -> bool {
        self.reports.is_settled()
    }
}

/// The run's next event, once the pane has room for its output. Cancel-safe.
async fn run_event(
    task: Option<&mut Task>,
    room: impl Future<Output = Option<Room>>,
) -> (RunEvent, Option<Room>) {
    let Some(task) = task else {
        return std::future::pending().await;
    };
    let room = room.await;
    match task.run.events.recv().await {
        Some(event) => (event, room),
        None => match (&mut task.run.task).await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The run has already sent its last event, `Ended`; handling that event removes the task.
            Ok(()) | Err(_) => std::future::pending().await,
        },
    }
}
