//! The traffic between this member and the supervisor: calls of the loop and its tools, the claim that the member
//! holds, and the end of the worker. Called by the worker's loop.

use std::time::Duration;

use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::method::{
    EndTask, MemberExit, Method, RequestWait, TaskComplete, TaskFail, TaskRelease,
};
use agent_team_protocol::notification::{Abandon, Assignment, MemberWaits};
use agent_team_protocol::request::{Channel, OneRequest, RequestState, RequestView};
use agent_team_protocol::spec::Colour;
use agent_team_protocol::text::{visible, visible_line};
use agent_team_protocol::{ErrorCode, Refusal, RequestId};
use agent_team_tools::supervisor_client::ClientCall;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inbox::Input;
use super::{Agent, End};
use crate::engine::Claim;
use crate::link::{Notice, Request, Ticket};
use crate::typed::Action;
use crate::worker::{ExitReport, Reconciled, reconcile};

/// The part of a grace period that is reserved for storing results and for the exit report; of a short period, half.
const EXIT_RESERVE: Duration = Duration::from_millis(1_500);

/// The time limit for the supervisor's answer to the exit report.
const EXIT_REPORT_LIMIT: Duration = Duration::from_secs(5);

/// A request that is not answered yet.
pub(super) enum PendingCall {
    Call {
        answer: oneshot::Sender<Result<Box<RawValue>, Refusal>>,
        /// The claim that this call ends.
        ends: Option<Claim>,
        /// The permission request whose decision this call awaits.
        asks: Option<RequestId>,
    },
    Exit,
}

/// The life cycle of this worker: working → stopping → leaving → gone.
pub(super) enum Life {
    Working,
    /// The loop was asked to end by itself until this time.
    Stopping {
        report: ExitReport,
        give_up_at: Instant,
    },
    /// The loop has ended; the exit report is sent and not yet answered.
    Leaving {
        code: u8,
        give_up_at: Instant,
    },
    Gone {
        code: u8,
    },
}

impl Life {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Stopping { give_up_at, .. } | Self::Leaving { give_up_at, .. } => {
                Some(*give_up_at)
            }
            Self::Working | Self::Gone { .. } => None,
        }
    }

    pub(super) fn thinks(&self) -> bool {
        matches!(self, Self::Working | Self::Stopping { .. })
    }
}

/// Shown when the pane opens.
const HINT: &str = "/help lists the commands";

impl Agent {
    pub(super) fn connected(&mut self, welcome: Welcome) {
        self.pane.view.set_colour(Colour::named(&welcome.colour));
        self.config.report_surface(&self.pane.surface);
        self.shared.arrivals.reconnected();
        // Revisions of an earlier connection do not apply to this one: the supervisor may have lost its last ones.
        self.send_input(Input::Welcomed(welcome.allowance.clone()));
        if let Some(on) = self.waits.clone() {
            let waits = MemberWaits { on: Some(on) };
            self.config.link.notify(Notice::Waits(waits));
        }
        self.pane.view.open(HINT);
        let held = self.assignment.as_ref().map(Claim::from);
        let held = held.filter(|held| !self.is_ending(*held));
        match reconcile(held, welcome, |claim| self.is_ending(claim)) {
            Reconciled::Unchanged => {}
            Reconciled::Start(assignment) | Reconciled::Replace(assignment) => {
                self.start(assignment);
            }
            Reconciled::End => self.lose_claim("the supervisor reports another owner, or none"),
        }
    }

    /// Returns whether the end of this claim is reported and not yet answered.
    fn is_ending(&self, claim: Claim) -> bool {
        let ends = |pending_call: &PendingCall| matches!(pending_call, PendingCall::Call { ends, .. } if *ends == Some(claim));
        self.pending_calls.values().any(ends)
    }

    pub(super) fn start(&mut self, assignment: Assignment) {
        let claim = Claim::from(&assignment);
        if !self.life.thinks() || self.assignment.as_ref().map(Claim::from) == Some(claim) {
            return;
        }
        self.lose_claim("it was assigned again");
        self.shared.claims.note(claim.task, claim.generation);
        self.assignment = Some(assignment.clone());
        self.send_input(Input::Task(assignment));
    }

    fn lose_claim(&mut self, why: &str) {
        let Some(held) = &self.assignment else { return };
        let claim = Claim::from(held);
        if self.is_ending(claim) {
            self.forget(claim);
            return;
        }
        self.abandon(Abandon {
            task: claim.task,
            generation: claim.generation,
            reason: why.to_owned(),
        });
    }

    pub(super) fn abandon(&mut self, abandon: Abandon) {
        let claim = Claim {
            task: abandon.task,
            generation: abandon.generation,
        };
        if self.forget(claim) {
            self.send_input(Input::Abandoned(abandon));
        }
    }

    /// Forgets the claim. Returns false if this member did not hold it.
    fn forget(&mut self, claim: Claim) -> bool {
        self.shared.claims.forget(claim.task, claim.generation);
        self.assignment
            .take_if(|held| Claim::from(&*held) == claim)
            .is_some()
    }

    /// Sends a call of the loop or a tool.
    pub(super) fn make(&mut self, call: ClientCall) {
        let ClientCall {
            method,
            args,
            answer,
        } = call;
        let ends = ended_claim(method, &args);
        let asks = awaited_request(method, &args);
        if let Some(request) = asks {
            self.wait_for_request(request);
        }
        self.flush_before_request();
        let ticket = self.config.link.request(Request { method, args });
        self.pending_calls
            .insert(ticket, PendingCall::Call { answer, ends, asks });
    }

    /// Sends the output that led to a request before the request itself. If earlier output is still queued, this output
    /// is sent after it.
    fn flush_before_request(&mut self) {
        if self.config.link.output.capacity() > 0 {
            let output = self.output();
            if !output.text.is_empty() || !output.said.is_empty() {
                self.config.link.notify(Notice::Output(output));
            }
        }
    }

    pub(super) fn answered(&mut self, ticket: Ticket, outcome: Result<Box<RawValue>, Refusal>) {
        match self.pending_calls.remove(&ticket) {
            Some(PendingCall::Call { answer, ends, asks }) => {
                if let Some(request) = asks {
                    self.request_over(request);
                }
                if let Some(claim) = ends
                    && outcome.as_ref().map_or_else(is_stale, |_| true)
                {
                    self.forget(claim);
                }
                // The caller may have been interrupted meanwhile.
                let _given_up = answer.send(outcome);
            }
            Some(PendingCall::Exit) => {
                if let Life::Leaving { code, .. } = self.life {
                    self.life = Life::Gone { code };
                }
            }
            None => {}
        }
    }

    /// Shows the request in the pane once it is looked up.
    fn wait_for_request(&mut self, request: RequestId) {
        self.asks = Some(request);
        self.show_waits();
        self.look_up_request();
    }

    pub(super) fn look_up_request(&self) {
        if let Some(request) = self.asks.filter(|_| self.pane.surface.is_open()) {
            // The task that looks it up runs until the process exits.
            let _ended = self.config.typed.actions.send(Action::Show(request));
        }
    }

    pub(super) fn show_request(&mut self, view: RequestView) {
        if self.asks == Some(view.id) && view.state == RequestState::Pending {
            self.pane.view.ask(view, Channel::Pane);
        }
    }

    /// The request is decided, here or elsewhere, or was withdrawn.
    fn request_over(&mut self, request: RequestId) {
        self.asks.take_if(|asks| *asks == request);
        self.pane.view.end_request(request);
        self.show_waits();
    }

    pub(super) fn stop(&mut self, grace: Duration, reason: String) {
        let now = Instant::now();
        let finish = grace.saturating_sub(EXIT_RESERVE).max(grace / 2);
        let finish_at = now + finish;
        match &mut self.life {
            Life::Working => {
                self.note(&format!("stopping: {}", visible_line(&reason)));
                let report = ExitReport {
                    code: 0,
                    reason,
                    hold: false,
                };
                self.life = Life::Stopping {
                    report,
                    give_up_at: now + grace.max(finish),
                };
            }
            Life::Stopping { give_up_at, .. } => *give_up_at = (*give_up_at).min(now + grace),
            Life::Leaving { .. } | Life::Gone { .. } => return,
        }
        self.send_input(Input::Stop { finish_at });
    }

    /// The loop has ended, and every process that it started.
    pub(super) fn loop_ended(&mut self, end: End) {
        while let Ok(output) = self.shown.try_recv() {
            // Show the last lines even if the terminal is slow.
            self.show(output);
        }
        let report = match (&self.life, end) {
            (Life::Working | Life::Stopping { .. }, End::Report(report)) => {
                self.note(&format!("✗ {}", visible(&report.reason)));
                report
            }
            (Life::Stopping { report, .. }, End::Stopped) => report.clone(),
            // The task was aborted after its end was already reported.
            (Life::Working | Life::Leaving { .. } | Life::Gone { .. }, _) => return,
        };
        self.report_exit(report);
    }

    fn report_exit(&mut self, report: ExitReport) {
        self.life = Life::Leaving {
            code: report.code,
            give_up_at: Instant::now() + EXIT_REPORT_LIMIT,
        };
        self.flush_before_request();
        let request = Request::of::<MemberExit>(&report.into());
        let ticket = self.config.link.request(request);
        self.pending_calls.insert(ticket, PendingCall::Exit);
    }

    pub(super) fn deadline(&mut self) {
        match &self.life {
            Life::Stopping { report, .. } => {
                // The grace period is over. Work whose result is not stored counts as not done.
                if let Some(agent_loop) = &self.agent_loop {
                    agent_loop.abort();
                }
                self.report_exit(report.clone());
            }
            Life::Leaving { code, .. } => self.life = Life::Gone { code: *code },
            Life::Working | Life::Gone { .. } => {}
        }
    }

    pub(super) fn vanish(&mut self, why: &str) {
        self.note(why);
        let code = match self.life {
            Life::Leaving { code, .. } | Life::Gone { code } => code,
            Life::Working | Life::Stopping { .. } => 0,
        };
        self.life = Life::Gone { code };
    }
}

/// The claim that this call ends if it succeeds.
fn ended_claim(method: &str, args: &RawValue) -> Option<Claim> {
    let ends = [TaskComplete::NAME, TaskFail::NAME, TaskRelease::NAME];
    let ended: EndTask = ends
        .contains(&method)
        .then(|| serde_json::from_str(args.get()).ok())
        .flatten()?;
    Some(Claim {
        task: ended.task,
        generation: ended.generation?,
    })
}

/// The permission request whose decision this call awaits.
fn awaited_request(method: &str, args: &RawValue) -> Option<RequestId> {
    let one: OneRequest = (method == RequestWait::NAME)
        .then(|| serde_json::from_str(args.get()).ok())
        .flatten()?;
    Some(one.request)
}

fn is_stale(refusal: &Refusal) -> bool {
    refusal.code == ErrorCode::StaleClaim
}
