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
//! typed it. It is not a task: the member's log contains it with its output; the board and the journal do not. A task
//! that is assigned meanwhile waits until the line has ended: the worker does not terminate the user's program for it.

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

use self::report::Reports;
use crate::engine::{Claim, Event as RunEvent, HEADLESS_SIZE, Lines, Outcome, Run, TaskEngine};
use crate::link::{Notice, Ticket};
use crate::pane::{MemberPane, Pane, PaneEvent, Room, paint};
use crate::typed::{Action, ActionResult};
use crate::worker::{Stop, Work};

type Shell = crate::worker::Shell<Pane>;

pub(crate) struct Tasks {
    /// `None`: the worker is unfit and starts nothing.
    engine: Option<Box<dyn TaskEngine>>,
    task: Option<Task>,
    /// The task that was assigned while a typed line runs.
    waiting: Option<Assignment>,
    reports: Reports,
}

/// A run and its local state.
struct Task {
    run: Run,
    /// `None`: a line that the user has typed.
    claim: Option<Claim>,
    started: Instant,
    /// The session of the program that was started last.
    session: Option<TaskSession>,
    after_run: AfterRun,
}

/// The action after a run has ended.
enum AfterRun {
    Report,
    /// The run is being terminated, and is not reported.
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

    /// For a worker that only reports why it is unfit.
    pub(crate) fn none() -> Self {
        Self {
            engine: None,
            task: None,
            waiting: None,
            reports: Reports::default(),
        }
    }

    fn begin(&mut self, assignment: Assignment, shell: &mut Shell) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let header = paint::header(&assignment);
        shell.write_log(&header);
        shell.stream(&header);
        shell.pane.begin_task(&header);
        let lines = Lines::from(&assignment);
        self.task = Some(Task::begin(
            engine.as_mut(),
            lines,
            Some(Claim::from(&assignment)),
            shell,
        ));
    }

    /// Runs a line that the user has typed.
    fn begin_line(&mut self, line: String, shell: &mut Shell) {
        let (None, Some(engine)) = (&self.task, &mut self.engine) else {
            return;
        };
        // The log records the whole line; the pane has just shown it.
        let redacted = shell.config.program_context.secrets.redact(&line);
        let recorded = format!("── you ── {}", visible(&redacted));
        shell.write_log(&recorded);
        shell.stream(&recorded);
        shell.pane.begin_line(&paint::typed(&redacted));
        let lines = Lines {
            run: Some(line),
            ..Lines::default()
        };
        self.task = Some(Task::begin(engine.as_mut(), lines, None, shell));
    }

    /// Reports that a line which the user has typed does not run, because the member is stopping.
    fn refuse_line(line: &str, shell: &mut Shell) {
        let redacted = shell.config.program_context.secrets.redact(line);
        shell.note(&paint::line_not_run("stopping", &redacted));
    }

    /// Takes the task that waits for the end of a typed line.
    fn take_waiting(&mut self, shell: &Shell) -> Option<Assignment> {
        let waiting = self.waiting.take()?;
        shell
            .config
            .link
            .notify(Notice::Waits(MemberWaits { on: None }));
        Some(waiting)
    }

    /// Reports why the assigned task does not begin.
    fn report_wait(shell: &Shell) {
        let what = "the user's program in its pane".to_owned();
        let on = Some(Waiting::Reply { what });
        shell.config.link.notify(Notice::Waits(MemberWaits { on }));
    }

    fn line_runs(&self) -> bool {
        matches!(&self.task, Some(Task { claim: None, .. }))
    }

    /// Terminates the run without a report.
    fn end_run(&mut self, why: &str, after_run: AfterRun, shell: &mut Shell) {
        let Some(task) = &mut self.task else { return };
        if let AfterRun::Report = task.after_run {
            let ended = match task.claim {
                Some(claim) => paint::abandoned(claim.task, why),
                None => paint::line_failed(why),
            };
            shell.announce(&ended);
            task.run.controls.end();
            shell.life.work_is_ending();
        }
        task.after_run = after_run;
    }

    fn run_event(&mut self, event: RunEvent, room: Option<Room>, shell: &mut Shell) {
        match event {
            RunEvent::Session(leader) => self.session(leader, shell),
            RunEvent::Output { bytes, text } => {
                shell.pane.output(bytes, room);
                // The log reports its own write errors; the task continues.
                let _logged = shell.config.log.append(&text);
                shell.add_output(&text);
            }
            RunEvent::Verifying(line) => {
                shell.pane.end_program();
                shell.announce(&paint::verifying(&line));
            }
            RunEvent::Ended(outcome) => self.ended(outcome, shell),
        }
    }

    fn session(&mut self, leader: ProcessId, shell: &mut Shell) {
        if let Some(task) = &mut self.task {
            let session = TaskSession {
                task: task.claim.map(|claim| claim.task),
                pid: leader.pid,
                start_time: leader.start_time,
            };
            task.session = Some(session.clone());
            shell.config.link.notify(Notice::Session(session));
        }
    }

    fn ended(&mut self, outcome: Outcome, shell: &mut Shell) {
        shell.flush(self.task());
        shell.pane.end_task();
        let Some(task) = self.task.take() else { return };
        if let AfterRun::Report = task.after_run {
            match (task.claim, outcome) {
                (Some(claim), outcome) => {
                    let took = task.started.elapsed();
                    self.reports.end(claim, took, outcome, shell);
                }
                (None, Outcome::Failed { reason, .. }) => {
                    shell.announce(&paint::line_failed(&reason));
                }
                (None, Outcome::Completed { .. } | Outcome::Abandoned) => {}
            }
        }
        if let Some(waiting) = self.take_waiting(shell)
            && shell.life.is_working()
        {
            return self.begin(waiting, shell);
        }
        match task.after_run {
            AfterRun::Start(assignment) if shell.life.is_working() => self.begin(assignment, shell),
            AfterRun::Report | AfterRun::Idle if shell.life.is_working() => shell.pane.prompt(),
            AfterRun::Report | AfterRun::Idle | AfterRun::Start(_) => {
                for line in shell.pane.take_lines() {
                    Self::refuse_line(&line, shell);
                }
                shell.ended(None);
            }
        }
    }

    fn pane_event(&mut self, event: PaneEvent, shell: &mut Shell) {
        match event {
            PaneEvent::Line(line) if shell.life.is_working() => self.begin_line(line, shell),
            PaneEvent::Line(line) => Self::refuse_line(&line, shell),
            PaneEvent::Task(line) => {
                // The receiver of the actions exists until the process exits.
                let _ended = shell.config.typed.actions.send(Action::Line(line));
            }
            PaneEvent::Verb(words) => {
                let size = shell.pane.surface.size();
                shell.config.typed.verb(words, size);
            }
            PaneEvent::Complete(names) => shell.config.typed.complete(names),
            PaneEvent::Keys(keys) => {
                if let Some(task) = &self.task
                    && let AfterRun::Report = task.after_run
                {
                    task.run.controls.type_in(keys);
                }
            }
            PaneEvent::Shown(messages) => self.reports.acknowledge(messages, shell),
            PaneEvent::Gone => self.lose_pane(shell),
        }
    }
}

impl Task {
    fn begin(
        engine: &mut dyn TaskEngine,
        lines: Lines,
        claim: Option<Claim>,
        shell: &Shell,
    ) -> Self {
        let size = shell.pane.surface.size().unwrap_or(HEADLESS_SIZE);
        Self {
            run: engine.start(&shell.config.program_context, lines, size),
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

    fn apply(&mut self, event: Event, shell: &mut Shell) {
        match event {
            Event::Run(event, room) => self.run_event(event, room, shell),
            Event::Pane(event) => self.pane_event(event, shell),
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, shell: &mut Shell) {
        shell.pane.set_colour(Colour::named(&welcome.colour));
        match &self.task {
            None if shell.life.is_working() => shell.pane.open_prompt(),
            None => {}
            Some(task) => {
                if let Some(session) = &task.session {
                    shell.config.link.notify(Notice::Session(session.clone()));
                }
                if self.waiting.is_some() {
                    Self::report_wait(shell);
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

    /// Output of a typed line belongs to no task.
    fn task(&self) -> Option<TaskId> {
        let claim = self.task.as_ref().and_then(|task| task.claim);
        claim.map(|claim| claim.task)
    }

    fn is_reported(&self, claim: Claim) -> bool {
        self.reports.is_reported(claim)
    }

    fn start(&mut self, assignment: Assignment, shell: &mut Shell) {
        // A worker that is stopping leaves the task to the supervisor, which releases it.
        if !shell.life.is_working() {
            return;
        }
        if self.line_runs() {
            if self.claim() != Some(Claim::from(&assignment)) {
                let task = assignment.task;
                shell.note(&format!("… {task} waits until your program ends"));
                Self::report_wait(shell);
                self.waiting = Some(assignment);
            }
            return;
        }
        match &self.task {
            None => self.begin(assignment, shell),
            Some(Task {
                claim,
                after_run: AfterRun::Report,
                ..
            }) if *claim == Some(Claim::from(&assignment)) => {}
            Some(_) => self.end_run(
                "a new assignment replaces it",
                AfterRun::Start(assignment),
                shell,
            ),
        }
    }

    fn abandon(&mut self, abandon: Abandon, shell: &mut Shell) {
        let abandoned = Claim {
            task: abandon.task,
            generation: abandon.generation,
        };
        let is_abandoned = |waiting: &Assignment| Claim::from(waiting) == abandoned;
        if self.waiting.as_ref().is_some_and(is_abandoned) {
            self.take_waiting(shell);
            return;
        }
        let Some(task) = &mut self.task else { return };
        match &task.after_run {
            AfterRun::Start(next) if Claim::from(next) == abandoned => {
                task.after_run = AfterRun::Idle
            }
            AfterRun::Report if task.claim == Some(abandoned) => {
                self.end_run(&abandon.reason, AfterRun::Idle, shell);
            }
            // The claim is not the current one, or the run is being terminated already.
            AfterRun::Report | AfterRun::Idle | AfterRun::Start(_) => {}
        }
    }

    fn lose_claim(&mut self, shell: &mut Shell) {
        if self.take_waiting(shell).is_none() {
            self.end_run("this member no longer owns it", AfterRun::Idle, shell);
        }
    }

    /// Terminates the line that the user has typed, if one runs: only its member can end a task.
    fn interrupt(&mut self, shell: &mut Shell) {
        if self.line_runs() {
            self.end_run("interrupted by the user", AfterRun::Idle, shell);
        }
    }

    fn run_line(&mut self, line: String, shell: &mut Shell) {
        // The supervisor has checked that the member is idle; it may have started work meanwhile, or runs another line.
        let why = match self.task {
            _ if self.engine.is_none() || !shell.life.is_working() => "stopping",
            Some(_) => "at work",
            None => return self.begin_line(line, shell),
        };
        let redacted = shell.config.program_context.secrets.redact(&line);
        shell.announce(&paint::line_not_run(why, &redacted));
    }

    fn deliver(&mut self, deliver: Deliver, shell: &mut Shell) {
        // A worker that only reports why it is unfit must not acknowledge messages: the next launch works on them.
        if self.engine.is_some() {
            self.reports.deliver(deliver, shell);
        }
    }

    fn answered(
        &mut self,
        ticket: Ticket,
        outcome: Result<Box<RawValue>, Refusal>,
        shell: &mut Shell,
    ) {
        self.reports.answered(ticket, outcome.map(drop), shell);
    }

    fn acted(&mut self, result: ActionResult, shell: &mut Shell) {
        match result {
            ActionResult::Task(task) => shell.note(&format!("{task} added")),
            ActionResult::Printed(text) => shell.pane.line(text.trim_end()),
            ActionResult::Found(names, candidates) => shell.pane.offer(&names, candidates),
            ActionResult::Accepted | ActionResult::NotDecided(_) | ActionResult::Shown(_) => {}
        }
    }

    fn show(&mut self, show: &ShowPane, shell: &mut Shell) {
        let unconfirmed = shell.move_pane(show);
        self.reports.acknowledge(unconfirmed, shell);
        self.resize(shell);
    }

    fn lose_pane(&mut self, shell: &mut Shell) {
        let unconfirmed = shell.lose_pane();
        self.reports.acknowledge(unconfirmed, shell);
    }

    fn resize(&mut self, shell: &mut Shell) {
        shell.pane.resize();
        if let (Some(size), Some(task)) = (shell.pane.surface.size(), &self.task) {
            task.run.controls.resize(size);
        }
    }

    fn is_busy(&self) -> bool {
        self.task.is_some()
    }

    fn stop(&mut self, stop: &Stop<'_>, _shell: &mut Shell) -> Option<Instant> {
        let finishes =
            matches!(&self.task, Some(task) if matches!(task.after_run, AfterRun::Report));
        finishes.then_some(stop.finish_at)
    }

    fn end(&mut self, why: &str, shell: &mut Shell) -> bool {
        self.end_run(why, AfterRun::Idle, shell);
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
