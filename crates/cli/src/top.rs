//! `agent-team top`: a full-screen view of one team, as one more client of the supervisor. Called by the verb.
//!
//! ```text
//!   terminal.rs  frames on the terminal                  state.rs     what is shown (pure)
//!   calls.rs     what is asked of the supervisor        press.rs     what keys do to it (pure)
//!   draw.rs      one frame of the state (pure)          question.rs  an open request and its guard (pure)
//!   wrap.rs      lines to columns (pure)                stale.rs     what events make out of date (pure)
//! ```
//! It looks when events tell that there is something to see, never by the clock; the clock moves ages alone. A frame
//! is made when something changed, and no sooner than 50 ms after the one before.

mod calls;
mod draw;
mod press;
mod question;
mod stale;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod wrap;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent_team_protocol::MemberName;
use agent_team_protocol::method::{Attach, AttachAnswer, Nothing, TeamAttach, TeamShow};
use agent_team_protocol::request::RequestView;
use agent_team_protocol::view::{MessageView, TaskView, TeamView};
use agent_team_system::clock;
use agent_team_system::signals::{SignalEvent, Signals};
use serde::Serialize;
use tokio::task::JoinSet;

use self::draw::{Drawn, Palette, draw};
use self::state::{Act, Deed, Seen, Top};
use self::terminal::Screen;
use crate::args::Global;
use crate::error::Failure;
use crate::log::Log;
use crate::session::{Session, Step, Subscription, caller_terminal};
use crate::terminal::{Happened, has_colours};
use crate::verb::audit::Decisions;

/// Between two frames, at least.
const FRAME: Duration = Duration::from_millis(50);

/// Between two looks, at least: what happens meanwhile is seen by one.
const LOOK: Duration = Duration::from_millis(100);

/// In which a deed reaches the supervisor, which then does it also without us.
const LEAVING: Duration = Duration::from_secs(1);

/// Bytes of a member's log that are shown when it is selected.
const TAIL: u64 = 64 << 10;

/// What came of something that was asked.
enum Answer {
    /// With the session that asked, for the next look.
    Looked(Session, Result<Box<Seen>, Failure>),
    Followed(MemberName, Result<(Log, String), Failure>),
    /// What was decided so far, to be read on from.
    Decided(Box<Decisions>, Result<(), Failure>),
    Done(Result<String, Failure>),
}

/// What is shown, and all that is under way for it.
struct Watch {
    top: Top,
    palette: Palette,
    /// Whom questions are asked through that change nothing; `None` while one is asked.
    looks: Option<Session>,
    next_look: Instant,
    /// `None` while they are read.
    decisions: Option<Box<Decisions>>,
    next_frame: Instant,
    answers: JoinSet<Answer>,
    /// Whose log is read, or being opened.
    followed: Option<(MemberName, Option<Log>)>,
    /// Deeds that are not done yet.
    deeds: usize,
    /// A frame is on its way to the terminal.
    drawn: Option<Drawn>,
}

/// What ends the view, or interrupts it.
enum Left {
    With(ExitCode),
    /// For this program, which has the terminal as long as it runs.
    For(AttachAnswer),
}

/// Shows the team until the person leaves.
///
/// # Errors
/// There is no such team, or the supervisor is stopped.
pub(crate) async fn run(global: &Global) -> Result<ExitCode, Failure> {
    let io = |error| Failure::io("the terminal cannot be used", &error);
    let mut session = Session::of_team(global)?.ending_with_supervisor();
    let mut signals =
        Signals::install().map_err(|error| Failure::io("signals cannot be heard", &error))?;
    let palette = Palette {
        colours: has_colours(),
    };
    let mut watch = Watch::new(&mut session, palette).await?;
    loop {
        let mut events =
            Subscription::new(session.another(), watch.top.team.revision, true).await?;
        let mut screen = Screen::enter().map_err(io)?;
        let left = watch.show(&mut session, &mut signals, &mut events, &mut screen);
        let left = left.await?;
        // Nobody reads events while another program has the terminal.
        drop((screen, events));
        match left {
            Left::With(code) => {
                watch.finish().await?;
                return Ok(code);
            }
            Left::For(attach) => {
                if let Err(failure) = become_it_for_a_while(attach) {
                    watch.top.failed(failure.sentence());
                }
                let seen = calls::look(&mut session, stale::Stale::all(), 0).await?;
                watch.top.seen(seen, Instant::now());
                watch.top.more_output = true;
            }
        }
    }
}

/// One frame as text, for a pipe or a test.
///
/// # Errors
/// As [`run`].
pub(crate) async fn once(global: &Global, columns: u16, rows: u16) -> Result<String, Failure> {
    let mut session = Session::of_team(global)?;
    let palette = Palette { colours: false };
    let mut watch = Watch::new(&mut session, palette).await?;
    if let Some(member) = watch.top.selected().cloned() {
        let path = calls::log_of(&mut session, member).await?;
        let (_, text) = Log::tail(path, TAIL)?;
        watch.top.printed(&text);
    }
    Ok(draw::text(
        &watch.top,
        palette,
        (columns, rows),
        Instant::now(),
        clock::wall_ms(),
    ))
}

/// The contents of the screen as data, for `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    team: TeamView,
    tasks: Vec<TaskView>,
    /// Pending, oldest first.
    requests: Vec<RequestView>,
    /// The newest, newest last.
    messages: Vec<MessageView>,
}

/// Reads everything that the screen shows, once.
///
/// # Errors
/// As [`run`].
pub(crate) async fn document(global: &Global) -> Result<Document, Failure> {
    let mut session = Session::of_team(global)?;
    let seen = calls::look(&mut session, stale::Stale::all(), 0).await?;
    Ok(Document {
        team: seen.team,
        tasks: seen.tasks,
        requests: seen.requests.unwrap_or_default(),
        messages: seen.messages.unwrap_or_default(),
    })
}

fn become_it_for_a_while(attach: AttachAnswer) -> Result<(), Failure> {
    let AttachAnswer { argv, unset } = attach;
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(());
    };
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    for variable in unset {
        command.env_remove(variable);
    }
    let ran = command.status();
    ran.map(drop)
        .map_err(|error| Failure::io(format!("{program} cannot be run"), &error))
}

impl Watch {
    /// Everything is looked at once before anything is shown.
    async fn new(session: &mut Session, palette: Palette) -> Result<Self, Failure> {
        let now = Instant::now();
        let team = session.ask::<TeamShow>(Nothing {}).await?;
        let mut top = Top::new(team, now);
        let stale = std::mem::take(&mut top.stale);
        top.seen(calls::look(session, stale, 0).await?, now);
        Ok(Self {
            top,
            palette,
            looks: Some(session.another()),
            next_look: now,
            decisions: Some(Box::default()),
            next_frame: now,
            answers: JoinSet::new(),
            followed: None,
            deeds: 0,
            drawn: None,
        })
    }

    async fn show(
        &mut self,
        session: &mut Session,
        signals: &mut Signals,
        events: &mut Subscription,
        screen: &mut Screen,
    ) -> Result<Left, Failure> {
        let io = |error| Failure::io("the terminal cannot be used", &error);
        self.top.resized();
        self.drawn = None;
        loop {
            let now = Instant::now();
            self.follow(session);
            self.look(session, now);
            if self.top.changed && now >= self.next_frame && screen.is_written() {
                self.draw(screen, now).map_err(io)?;
            }
            let wake = self.wakes_at(now, screen);
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    SignalEvent::WindowChanged => self.top.resized(),
                    SignalEvent::Info => {}
                    SignalEvent::Interrupt => return Ok(Left::With(ExitCode::from(130))),
                    SignalEvent::Hangup => return Ok(Left::With(ExitCode::from(129))),
                    SignalEvent::Shutdown => return Ok(Left::With(ExitCode::from(143))),
                },
                happened = screen.next() => match happened {
                    Happened::Typed(keys) => {
                        for act in self.top.press(&keys, Instant::now()) {
                            if let Some(left) = self.act(session, act).await {
                                return Ok(left);
                            }
                        }
                    }
                    Happened::Written => if let Some(drawn) = self.drawn.take() {
                        self.top.was_shown(drawn.scrolls, drawn.question, Instant::now());
                    },
                    Happened::Gone => return Ok(Left::With(ExitCode::from(129))),
                },
                Some(answer) = self.answers.join_next() => match answer {
                    Ok(answer) => self.answered(answer),
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                step = events.step() => match step? {
                    Step::Told(notice) => self.top.heard(&notice),
                    Step::Lost => self.top.lost(true),
                    Step::Resumed => self.top.lost(false),
                },
                () = tokio::time::sleep_until(wake.into()) => {
                    self.top.changed |= self.top.next_age(now).is_some_and(|next| Instant::now() >= now + next);
                }
            }
        }
    }

    /// When there is something to do by the clock.
    fn wakes_at(&self, now: Instant, screen: &Screen) -> Instant {
        let frame = (self.top.changed && screen.is_written()).then_some(self.next_frame);
        let look = (self.looks.is_some() && self.wants_look()).then_some(self.next_look);
        let age = self.top.next_age(now).map(|next| now + next);
        let soonest = [frame, look, age].into_iter().flatten().min();
        // Nobody is there: a day is as good as never.
        soonest.unwrap_or(now + Duration::from_secs(86_400))
    }

    fn wants_look(&self) -> bool {
        !self.top.stale.is_empty() || self.top.more_output || self.top.more_decided
    }

    fn draw(&mut self, screen: &mut Screen, now: Instant) -> std::io::Result<()> {
        let (top, palette) = (&self.top, self.palette);
        let mut drawn = Drawn::default();
        screen.draw(|frame| drawn = draw(frame, top, palette, now, clock::wall_ms()))?;
        self.top.changed = false;
        self.drawn = Some(drawn);
        self.next_frame = now + FRAME;
        Ok(())
    }

    /// Reads the output of whoever is selected now.
    fn follow(&mut self, session: &Session) {
        let followed = self.followed.as_ref().map(|(member, _)| member);
        if followed == self.top.selected() {
            return;
        }
        self.followed = self.top.selected().map(|member| (member.clone(), None));
        if let Some(member) = self.top.selected().cloned() {
            let mut session = session.another();
            self.answers.spawn(async move {
                let path = calls::log_of(&mut session, member.clone()).await;
                let log = path.and_then(|path| Log::tail(path, TAIL));
                Answer::Followed(member, log)
            });
        }
    }

    /// Reads what was decided since the last time.
    fn read_decisions(&mut self, session: &Session) {
        if let Some(mut decisions) = self.decisions.take() {
            self.top.more_decided = false;
            let session = session.another();
            self.answers.spawn(async move {
                let read = decisions.read_on(session).await;
                Answer::Decided(decisions, read)
            });
        }
    }

    /// Looks at what is out of date.
    fn look(&mut self, session: &Session, now: Instant) {
        if now < self.next_look || !self.wants_look() {
            return;
        }
        if std::mem::take(&mut self.top.more_output) {
            self.read_on();
            self.next_look = now + LOOK;
        }
        if self.top.more_decided {
            self.read_decisions(session);
            self.next_look = now + LOOK;
        }
        if self.top.stale.is_empty() {
            return;
        }
        if let Some(mut session) = self.looks.take() {
            let stale = std::mem::take(&mut self.top.stale);
            let known = self.top.requests.len();
            self.next_look = now + LOOK;
            self.answers.spawn(async move {
                let seen = calls::look(&mut session, stale, known).await;
                Answer::Looked(session, seen.map(Box::new))
            });
        }
    }

    fn read_on(&mut self) {
        if let Some((_, Some(log))) = &mut self.followed {
            match log.read() {
                Ok(text) => self.top.printed(&text),
                Err(failure) => self.top.failed(failure.sentence()),
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Looked(session, seen) => {
                self.looks = Some(session);
                match seen {
                    Ok(seen) => self.top.seen(*seen, Instant::now()),
                    Err(failure) => self.top.failed(failure.sentence()),
                }
            }
            Answer::Followed(member, read) => match (&mut self.followed, read) {
                (Some((followed, log)), Ok((opened, text))) if *followed == member => {
                    *log = Some(opened);
                    self.top.printed(&text);
                }
                (_, Ok(_)) => {}
                (_, Err(failure)) => self.top.failed(failure.sentence()),
            },
            Answer::Decided(decisions, read) => {
                match read {
                    Ok(()) => self
                        .top
                        .were_decided(decisions.newest.iter().cloned().collect()),
                    Err(failure) => self.top.failed(failure.sentence()),
                }
                self.decisions = Some(decisions);
            }
            Answer::Done(done) => {
                self.deeds -= 1;
                match done {
                    Ok(said) => self.top.say(said),
                    Err(failure) => self.top.failed(failure.sentence()),
                }
            }
        }
    }

    async fn act(&mut self, session: &mut Session, act: Act) -> Option<Left> {
        match act {
            Act::Quit => return Some(Left::With(ExitCode::SUCCESS)),
            Act::Do(deed) => self.perform(session, deed),
            Act::Attach(member) => {
                let attach = Attach {
                    member: Some(member.clone()),
                    read_only: false,
                    terminal: caller_terminal(),
                };
                match session.call::<TeamAttach>(attach).await {
                    Ok(answer) if answer.argv.is_empty() => {
                        self.top.say(format!("you are in the pane of {member}"));
                    }
                    Ok(answer) => return Some(Left::For(answer)),
                    Err(failure) => self.top.failed(failure.sentence()),
                }
            }
        }
        None
    }

    fn perform(&mut self, session: &Session, deed: Deed) {
        let session = session.another();
        self.top.say("…".into());
        self.deeds += 1;
        self.answers
            .spawn(async move { Answer::Done(calls::perform(session, deed).await) });
    }

    /// Who leaves right after a key still wants what it asked for: waits a moment for that.
    async fn finish(&mut self) -> Result<(), Failure> {
        let rest = async {
            while self.deeds > 0 {
                match self.answers.join_next().await {
                    Some(Ok(Answer::Done(done))) => {
                        self.deeds -= 1;
                        done?;
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            Ok(())
        };
        tokio::time::timeout(LEAVING, rest).await.unwrap_or(Ok(()))
    }
}
