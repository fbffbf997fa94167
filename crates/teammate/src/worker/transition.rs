//! The transitions between the worker's states; see the diagram in the parent module.

use std::mem;
use std::time::Duration;

use agent_team_protocol::method::MemberExit;
use agent_team_protocol::notification::{Abandon, Assignment};
use tokio::time::Instant;

use super::Worker;
use super::report::PendingReport;
use super::state::{ExitReport, State, Task, Then};
use crate::engine::output::Coalescer;
use crate::engine::{Claim, HEADLESS_SIZE, Outcome};
use crate::link::Request;
use crate::pane::paint;

/// The part of a grace period that is reserved, or half of a short one: a program that has not finished by then gets
/// TERM, then KILL, all before the supervisor kills the worker.
const TERMINATION_RESERVE: Duration = Duration::from_millis(1_500);

/// The time limit for reports, unless a grace period is shorter, and for the exit report.
const EXIT_REPORT_LIMIT: Duration = Duration::from_secs(5);

impl Worker {
    pub(super) fn start(&mut self, assignment: Assignment) {
        match &self.state {
            State::Idle => self.begin(assignment),
            State::Running(task) if task.run.claim == Claim::from(&assignment) => {}
            State::Running(_)
            | State::Ending {
                then: Then::Idle | Then::Start(_),
                ..
            } => {
                self.end_task("it was assigned again", Then::Start(assignment));
            }
            // The worker is stopping; the supervisor releases the task.
            State::Draining { .. }
            | State::Ending { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Gone { .. } => {}
        }
    }

    pub(super) fn begin(&mut self, assignment: Assignment) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let context = &self.config.program_context;
        let size = self.pane.surface.size().unwrap_or(HEADLESS_SIZE);
        let header = paint::header(&assignment);
        let run = engine.start(context, assignment, size);
        self.write_log(&header);
        self.pane.begin_task(&header);
        let now = Instant::now();
        self.state = State::Running(Task {
            run,
            started: now,
            session: None,
            output: Coalescer::default(),
            output_at: now,
        });
    }

    pub(super) fn abandon(&mut self, abandon: &Abandon) {
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

    /// Terminates the run without a report. A next step that is already planned is replaced only by a stronger one.
    pub(super) fn end_task(&mut self, why: &str, next: Then) {
        self.state = match mem::replace(&mut self.state, State::Idle) {
            State::Running(task) => self.ending(task, why, next),
            State::Draining { task, report, .. } => self.ending(task, why, Then::Leave(report)),
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

    pub(super) fn ending(&mut self, task: Task, why: &str, then: Then) -> State {
        self.note(&paint::abandoned(task.run.claim.task, why));
        task.run.controls.end();
        State::Ending { task, then }
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        if let Ok(permit) = self.config.link.output.clone().try_reserve_owned() {
            self.show_output(permit);
        }
        self.pane.end_task();
        match mem::replace(&mut self.state, State::Idle) {
            State::Running(task) => {
                self.report(&task, outcome);
                self.pane.prompt();
            }
            State::Draining {
                task,
                report,
                end_at,
            } => {
                self.report(&task, outcome);
                self.leave(report, end_at.max(Instant::now() + EXIT_REPORT_LIMIT));
            }
            State::Ending { then, .. } => match then {
                Then::Idle => self.pane.prompt(),
                Then::Start(assignment) => self.begin(assignment),
                Then::Leave(report) => self.leave(report, Instant::now() + EXIT_REPORT_LIMIT),
                Then::Vanish => self.state = State::Gone { code: 0 },
            },
            other @ (State::Idle
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Gone { .. }) => self.state = other,
        }
    }

    pub(super) fn stop(&mut self, grace: Duration, reason: String) {
        let finish = grace.saturating_sub(TERMINATION_RESERVE).max(grace / 2);
        let report = ExitReport {
            code: 0,
            reason,
            hold: false,
        };
        match mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.leave(report, Instant::now() + grace.max(EXIT_REPORT_LIMIT)),
            State::Running(task) => {
                let end_at = Instant::now() + finish;
                self.state = State::Draining {
                    task,
                    end_at,
                    report,
                };
            }
            State::Draining {
                task,
                end_at,
                report,
            } => {
                let end_at = end_at.min(Instant::now() + finish);
                self.state = State::Draining {
                    task,
                    end_at,
                    report,
                };
            }
            State::Ending {
                task,
                then: Then::Idle | Then::Start(_),
            } => {
                let then = Then::Leave(report);
                self.state = State::Ending { task, then };
            }
            other @ (State::Ending { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Gone { .. }) => self.state = other,
        }
    }

    pub(super) fn deadline(&mut self) {
        match &self.state {
            State::Draining { .. } => self.end_task("stopping", Then::Idle),
            State::Settling { .. } => self.report_exit(),
            State::Leaving { code, .. } => self.state = State::Gone { code: *code },
            State::Idle | State::Running(_) | State::Ending { .. } | State::Gone { .. } => {}
        }
    }

    /// Sends the exit report once every report is answered, or at `until`.
    pub(super) fn leave(&mut self, report: ExitReport, until: Instant) {
        self.state = State::Settling { report, until };
        self.leave_when_settled();
    }

    pub(super) fn leave_when_settled(&mut self) {
        if !self.pending.values().any(PendingReport::is_report) {
            self.report_exit();
        }
    }

    fn report_exit(&mut self) {
        if let State::Settling { report, .. } = &self.state {
            let report = report.clone();
            self.state = State::Leaving {
                code: report.code,
                give_up_at: Instant::now() + EXIT_REPORT_LIMIT,
            };
            self.ask(
                Request::of::<MemberExit>(&report.into()),
                PendingReport::Exit,
            );
        }
    }

    pub(super) fn vanish(&mut self, why: &str) {
        self.note(why);
        self.end_task(why, Then::Vanish);
        match mem::replace(&mut self.state, State::Gone { code: 0 }) {
            State::Ending { task, .. } => {
                let then = Then::Vanish;
                self.state = State::Ending { task, then };
            }
            State::Settling {
                report: ExitReport { code, .. },
                ..
            }
            | State::Leaving { code, .. }
            | State::Gone { code } => self.state = State::Gone { code },
            State::Idle | State::Running(_) | State::Draining { .. } => {}
        }
    }
}
