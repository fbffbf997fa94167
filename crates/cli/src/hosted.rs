//! The members of a team in this one terminal, one at a time: a client of the supervisor, as `top` is. Called by
//! `attach` where members have no pane to be attached to, and by `up` where they share a process.
//!
//! ```text
//!   state.rs  whom it shows, and what each one's face is told (pure)
//!   strip.rs  all members in a line (pure)
//!   deeds.rs  what is asked of the supervisor
//! ```
//! What is said goes into the terminal's own scrollback. It looks when events tell that there is something to see, and
//! paints when something changed. Who leaves ends nothing.

mod deeds;
mod state;
mod strip;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent_team_protocol::exit::ExitCode as ExitStatus;
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::request::RequestView;
use agent_team_protocol::view::TeamView;
use agent_team_protocol::{MemberName, RequestId};
use agent_team_system::directories::Directories;
use agent_team_system::history::History;
use agent_team_system::signals::{SignalEvent, Signals};
use tokio::task::JoinSet;

use self::state::{Act, Deed, State};
use crate::error::Failure;
use crate::secrets::Secrets;
use crate::session::{Session, Step, Subscription};
use crate::terminal::{Happened, Terminal, has_colours};

/// Between two frames, at least.
const FRAME: Duration = Duration::from_millis(50);

/// Between two looks, at least: what happens meanwhile is seen by one.
const LOOK: Duration = Duration::from_millis(100);

/// What is pasted comes marked, as long as this is here.
const BEGIN: &[u8] = b"\x1b[?2004h";
const END: &[u8] = b"\x1b[?2004l\x1b[?25h";

/// What came of something that was asked.
enum Answer {
    /// With the session that asked, for the next look.
    Looked(Session, Result<Box<TeamView>, Failure>),
    Asked(MemberName, RequestId, Result<Box<RequestView>, Failure>),
    /// For whoever was shown when it was asked.
    Done(MemberName, Result<String, Failure>),
}

struct View {
    state: State,
    history: History,
    secrets: Secrets,
    /// Whom the team is looked up through; `None` while it is.
    looks: Option<Session>,
    next_look: Instant,
    next_frame: Instant,
    answers: JoinSet<Answer>,
}

/// Shows the team until the person leaves, `first` before the others.
///
/// # Errors
/// There is no such team, no terminal, or the supervisor is stopped.
pub(crate) async fn run(
    session: Session,
    first: Option<&MemberName>,
    read_only: bool,
) -> Result<ExitCode, Failure> {
    let io = |error| Failure::io("the terminal cannot be used", &error);
    let mut session = session.ending_with_supervisor();
    let mut signals =
        Signals::install().map_err(|error| Failure::io("signals cannot be heard", &error))?;
    let team = session.ask::<TeamShow>(Nothing {}).await?;
    let mut events = Subscription::new(session.another(), team.revision, true).await?;
    let state = State::new(&team, first, read_only, has_colours(), Instant::now());
    let mut state = state.ok_or_else(|| {
        Failure::new(
            "no_members",
            ExitStatus::NotFound,
            "the team has no members",
        )
    })?;
    for member in &team.members {
        state.printed(
            &member.name,
            &deeds::recent(&mut session, member.name.clone()).await?,
        );
    }
    let directories = Directories::from_environment()?;
    let history = History::new(directories.typed_file(team.team.as_str()));
    state.remember(history.read());
    let mut view = View {
        state,
        history,
        secrets: Secrets::of(&directories, &team.team),
        looks: Some(session.another()),
        next_look: Instant::now(),
        next_frame: Instant::now(),
        answers: JoinSet::new(),
    };
    let mut terminal = Terminal::enter(BEGIN, END).map_err(io)?;
    view.state.resized(terminal.size());
    let code = view
        .show(&session, &mut signals, &mut events, &mut terminal)
        .await;
    let last = view.state.leave(Instant::now());
    terminal.leave(&last).await;
    code
}

impl View {
    async fn show(
        &mut self,
        session: &Session,
        signals: &mut Signals,
        events: &mut Subscription,
        terminal: &mut Terminal,
    ) -> Result<ExitCode, Failure> {
        loop {
            let now = Instant::now();
            self.look_again(now);
            for (member, request) in self.state.wanted_requests() {
                let session = session.another();
                self.answers.spawn(async move {
                    let view = deeds::request(session, request).await;
                    Answer::Asked(member, request, view.map(Box::new))
                });
            }
            let frame = self.state.next_paint(now).filter(|_| terminal.is_written());
            let frame = frame.map(|at| at.max(self.next_frame));
            let look = (self.looks.is_some() && self.state.stale).then_some(self.next_look);
            let soonest = [frame, look].into_iter().flatten().min();
            // Nothing moves: a day is as good as never.
            let wake = soonest.unwrap_or(now + Duration::from_secs(86_400));
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    SignalEvent::WindowChanged => self.state.resized(terminal.size()),
                    SignalEvent::Info => {}
                    SignalEvent::Interrupt => return Ok(ExitCode::from(130)),
                    SignalEvent::Hangup => return Ok(ExitCode::from(129)),
                    SignalEvent::Shutdown => return Ok(ExitCode::from(143)),
                },
                happened = terminal.next() => match happened {
                    Happened::Typed(keys) => for act in self.state.press(&keys, Instant::now()) {
                        match act {
                            Act::Leave => return Ok(ExitCode::SUCCESS),
                            Act::Do { deed, typed } => {
                                if let Some(typed) = typed {
                                    self.history.add(&self.secrets.hide(&typed));
                                }
                                self.perform(session, deed);
                            }
                        }
                    },
                    Happened::Written => self.state.was_painted(Instant::now()),
                    Happened::Gone => return Ok(ExitCode::from(129)),
                },
                Some(answer) = self.answers.join_next() => match answer {
                    Ok(answer) => self.answered(answer),
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                step = events.step() => match step? {
                    Step::Told(notice) => self.state.heard(notice, Instant::now()),
                    Step::Lost => self.state.note("the supervisor has gone; looking for another one"),
                    Step::Resumed => {
                        self.state.note("connected again");
                        self.state.stale = true;
                    }
                },
                () = tokio::time::sleep_until(wake.into()) => {
                    if frame.is_some_and(|at| at <= Instant::now()) {
                        let now = Instant::now();
                        terminal.write(&self.state.paint(now));
                        self.next_frame = now + FRAME;
                    }
                }
            }
        }
    }

    fn look_again(&mut self, now: Instant) {
        if now < self.next_look || !self.state.stale {
            return;
        }
        if let Some(mut session) = self.looks.take() {
            self.state.stale = false;
            self.next_look = now + LOOK;
            self.answers.spawn(async move {
                let team = session.ask::<TeamShow>(Nothing {}).await;
                Answer::Looked(session, team.map(Box::new))
            });
        }
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Looked(session, team) => {
                self.looks = Some(session);
                match team {
                    Ok(team) => self.state.seen(*team, Instant::now()),
                    Err(failure) => self.state.note(&failure.sentence()),
                }
            }
            Answer::Asked(member, request, view) => match view {
                Ok(view) => self.state.asks(&member, *view),
                Err(failure) => self
                    .state
                    .done(&member, &format!("✗ {request}: {}", failure.sentence())),
            },
            Answer::Done(member, Ok(said)) => self.state.done(&member, &said),
            Answer::Done(member, Err(failure)) => {
                self.state
                    .done(&member, &format!("✗ {}", failure.sentence()));
            }
        }
    }

    fn perform(&mut self, session: &Session, deed: Deed) {
        let (session, shown) = (session.another(), self.state.shown().clone());
        let team = self.state.team.clone();
        self.answers.spawn(async move {
            let done = deeds::perform(session, &team, deed).await;
            Answer::Done(shown, done)
        });
    }
}
