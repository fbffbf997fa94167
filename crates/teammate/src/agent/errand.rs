//! What passes between this member and the supervisor: the calls that its mind and tools make, the claim that it holds,
//! and how it ends. Called by the worker's loop.

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
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inbox::Input;
use super::{Agent, End};
use crate::desk::DeskCall;
use crate::engine::Claim;
use crate::link::{Notice, Request, Ticket};
use crate::typed::Act;
use crate::worker::{LastWords, Reconciled, reconcile};

/// What of a grace is kept for storing what was done and for the last words, of a short one half.
const FAREWELL: Duration = Duration::from_millis(1_500);

/// How long last words may wait for the supervisor.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(5);

/// What an unanswered request was about.
pub(super) enum Errand {
    Call {
        answer: oneshot::Sender<Result<Box<RawValue>, Refusal>>,
        /// It ends this claim.
        ends: Option<Claim>,
        /// It is answered when this request is decided.
        asks: Option<RequestId>,
    },
    Exit,
}

/// How far this worker is from its end.
pub(super) enum Life {
    Working,
    /// The mind is to come to an end by itself until then.
    Stopping {
        words: LastWords,
        give_up_at: Instant,
    },
    /// Nothing thinks any more; last words are said and not yet answered.
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

/// For who looks at the pane.
const HINT: &str = "/help tells what can be typed here";

impl Agent {
    pub(super) fn connected(&mut self, welcome: Welcome) {
        self.pane.view.set_colour(Colour::named(&welcome.colour));
        self.parts.tell_whereabouts(&self.pane.surface);
        self.shared.arrivals.reconnected();
        // What an earlier connection said holds no more, whatever its revision.
        self.tell(Input::Welcomed(welcome.allowance.clone()));
        if let Some(on) = self.waits.clone() {
            let waits = MemberWaits { on: Some(on) };
            self.parts.link.notify(Notice::Waits(waits));
        }
        self.pane.view.open(HINT);
        let held = self.held.as_ref().map(Claim::from);
        let held = held.filter(|held| !self.is_ending(*held));
        match reconcile(held, welcome, |claim| self.is_ending(claim)) {
            Reconciled::AsItShould => {}
            Reconciled::Start(assignment) | Reconciled::Replace(assignment) => {
                self.start(assignment);
            }
            Reconciled::End => self.lose_claim("the supervisor has given it to nobody or another"),
        }
    }

    /// Its end is reported and not yet answered.
    fn is_ending(&self, claim: Claim) -> bool {
        let ends =
            |errand: &Errand| matches!(errand, Errand::Call { ends, .. } if *ends == Some(claim));
        self.errands.values().any(ends)
    }

    pub(super) fn start(&mut self, assignment: Assignment) {
        let claim = Claim::from(&assignment);
        if !self.life.thinks() || self.held.as_ref().map(Claim::from) == Some(claim) {
            return;
        }
        self.lose_claim("it was given anew");
        self.shared.claims.note(claim.task, claim.generation);
        self.held = Some(assignment.clone());
        self.tell(Input::Task(assignment));
    }

    fn lose_claim(&mut self, why: &str) {
        let Some(held) = &self.held else { return };
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
            self.tell(Input::Abandoned(abandon));
        }
    }

    /// The claim is over. False when it was not held.
    fn forget(&mut self, claim: Claim) -> bool {
        self.shared.claims.forget(claim.task, claim.generation);
        self.held
            .take_if(|held| Claim::from(&*held) == claim)
            .is_some()
    }

    /// Makes a call of the mind's or a tool's.
    pub(super) fn make(&mut self, call: DeskCall) {
        let DeskCall {
            method,
            args,
            answer,
        } = call;
        let ends = ended_claim(method, &args);
        let asks = awaited_request(method, &args);
        if let Some(request) = asks {
            self.wait_for_request(request);
        }
        self.tell_before_asking();
        let ticket = self.parts.link.request(Request { method, args });
        self.errands
            .insert(ticket, Errand::Call { answer, ends, asks });
    }

    /// What led to a request is told before what comes of it. While earlier output still waits to be sent, it is told
    /// after that.
    fn tell_before_asking(&mut self) {
        if self.parts.link.output.capacity() > 0 {
            let output = self.output();
            if !output.text.is_empty() || !output.said.is_empty() {
                self.parts.link.notify(Notice::Output(output));
            }
        }
    }

    pub(super) fn answered(&mut self, ticket: Ticket, outcome: Result<Box<RawValue>, Refusal>) {
        match self.errands.remove(&ticket) {
            Some(Errand::Call { answer, ends, asks }) => {
                if let Some(request) = asks {
                    self.request_over(request);
                }
                if let Some(claim) = ends
                    && outcome.as_ref().map_or_else(is_stale, |_| true)
                {
                    self.forget(claim);
                }
                // Who asked may have been interrupted meanwhile.
                let _given_up = answer.send(outcome);
            }
            Some(Errand::Exit) => {
                if let Life::Leaving { code, .. } = self.life {
                    self.life = Life::Gone { code };
                }
            }
            None => {}
        }
    }

    /// Has the person in the pane asked, as soon as what is asked is known.
    fn wait_for_request(&mut self, request: RequestId) {
        self.asks = Some(request);
        self.show_waits();
        self.look_up_request();
    }

    pub(super) fn look_up_request(&self) {
        if let Some(request) = self.asks.filter(|_| self.pane.surface.is_open()) {
            // The task that looks it up ends with this process only.
            let _ended = self.parts.typed.acts.send(Act::Show(request));
        }
    }

    pub(super) fn show_request(&mut self, view: RequestView) {
        if self.asks == Some(view.id) && view.state == RequestState::Pending {
            self.pane.view.ask(view, Channel::Pane);
        }
    }

    /// Decided, here or elsewhere, or nobody waits for it any more.
    fn request_over(&mut self, request: RequestId) {
        self.asks.take_if(|asks| *asks == request);
        self.pane.view.end_request(request);
        self.show_waits();
    }

    pub(super) fn stop(&mut self, grace: Duration, reason: String) {
        let now = Instant::now();
        let finish = grace.saturating_sub(FAREWELL).max(grace / 2);
        let finish_at = now + finish;
        match &mut self.life {
            Life::Working => {
                self.note(&format!("stopping: {}", visible_line(&reason)));
                let words = LastWords {
                    code: 0,
                    reason,
                    hold: false,
                };
                self.life = Life::Stopping {
                    words,
                    give_up_at: now + grace.max(finish),
                };
            }
            Life::Stopping { give_up_at, .. } => *give_up_at = (*give_up_at).min(now + grace),
            Life::Leaving { .. } | Life::Gone { .. } => return,
        }
        self.tell(Input::Stop { finish_at });
    }

    /// The mind has come to its end, with everything that it started.
    pub(super) fn mind_ended(&mut self, end: End) {
        while let Ok(told) = self.shown.try_recv() {
            // The last lines wait for no terminal.
            self.show(told);
        }
        let words = match (&self.life, end) {
            (Life::Working | Life::Stopping { .. }, End::Words(words)) => {
                self.note(&format!("✗ {}", visible(&words.reason)));
                words
            }
            (Life::Stopping { words, .. }, End::Stopped) => words.clone(),
            // We cut it off, and have said why.
            (Life::Working | Life::Leaving { .. } | Life::Gone { .. }, _) => return,
        };
        self.say_last_words(words);
    }

    fn say_last_words(&mut self, words: LastWords) {
        self.life = Life::Leaving {
            code: words.code,
            give_up_at: Instant::now() + LAST_WORDS_LIMIT,
        };
        self.tell_before_asking();
        let request = Request::of::<MemberExit>(&words.into());
        let ticket = self.parts.link.request(request);
        self.errands.insert(ticket, Errand::Exit);
    }

    pub(super) fn deadline(&mut self) {
        match &self.life {
            Life::Stopping { words, .. } => {
                // It did not come to an end in time: what it did not store it has not done.
                if let Some(mind) = &self.mind {
                    mind.abort();
                }
                self.say_last_words(words.clone());
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

/// The claim that this call ends, when it succeeds.
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

/// The request whose decision this call waits for.
fn awaited_request(method: &str, args: &RawValue) -> Option<RequestId> {
    let one: OneRequest = (method == RequestWait::NAME)
        .then(|| serde_json::from_str(args.get()).ok())
        .flatten()?;
    Some(one.request)
}

fn is_stale(refusal: &Refusal) -> bool {
    refusal.code == ErrorCode::StaleClaim
}
