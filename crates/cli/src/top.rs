//! `agent-team top`: the full-screen view of one team, a client of the supervisor. Called by the verb.
//!
//! ```text
//!   with effects                                 pure
//!   screen.rs  writes frames to the terminal     state.rs      the state of the view; keys.rs, mouse.rs: its input
//!   calls.rs   calls to the supervisor           draw.rs       draws one frame of the state; view.rs: what it shows
//!   claims.rs  the history of tasks              rows.rs       the rows of lists and texts; pages.rs: of pages
//!   diff.rs    the uncommitted changes           selection.rs  the selected entry of a list; search.rs: the search
//!                                                output.rs     a member's output; message_bodies.rs: texts of messages
//!                                                request_dialog.rs  an open request and its guard
//!                                                stale.rs      the data that events outdate
//! ```
//! This file is the event loop. It reads data again when an event outdates it, never periodically; timers only advance
//! the displayed ages. It draws when the state has changed, at most once per 50 ms.

mod calls;
mod claims;
mod diff;
mod draw;
mod keys;
mod message_bodies;
mod mouse;
mod output;
mod pages;
mod request_dialog;
mod rows;
mod screen;
mod search;
mod selection;
mod stale;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent_team_client::{Session, Subscription, Update};
use agent_team_protocol::method::{Attach, AttachAnswer, Nothing, TeamAttach, TeamShow};
use agent_team_protocol::request::RequestView;
use agent_team_protocol::view::{MessageView, TaskView, TeamView};
use agent_team_protocol::{MemberName, TaskId};
use agent_team_system::clock;
use agent_team_system::signals::{SignalEvent, Signals};
use agent_team_terminal_ui::style::Theme;
use serde::Serialize;
use tokio::task::JoinSet;

use self::claims::History;
use self::diff::Changes;
use self::draw::draw;
#[cfg(test)]
pub(crate) use self::pages::help_lines;
use self::screen::Screen;
use self::state::{Action, Effect, Page, Refresh, Top};
use self::view::{Clock, FrameLayout};
use crate::args::Global;
use crate::caller;
use crate::error::Failure;
use crate::log::Log;
use crate::terminal::{TerminalEvent, theme};
use crate::verb::audit::Decisions;

/// Minimum time between two frames.
const FRAME_INTERVAL: Duration = Duration::from_millis(50);

/// Minimum time between two reads of the team: one read covers all events in between.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// Timeout for unfinished actions when the program exits. The supervisor completes a received action without this
/// client.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a member's log that are read when the member is selected.
const LOG_TAIL: u64 = 64 << 10;

/// The result of a background call.
enum CallResult {
    /// Carries the session of the call, which the next refresh uses.
    Refreshed(Session, Result<Box<Refresh>, Failure>),
    LogOpened(MemberName, Result<(Log, String), Failure>),
    /// Carries the decisions read so far; the next read continues after them.
    DecisionsRead(Box<Decisions>, Result<(), Failure>),
    /// Carries the history read so far, and the task for which it was read.
    ClaimsRead(Box<History>, TaskId, Result<(), Failure>),
    ChangesRead(Result<Changes, Failure>),
    ActionDone(Result<String, Failure>),
}

/// The state of the view and its background calls.
struct EventLoop {
    top: Top,
    theme: Theme,
    /// The session for reads; `None` while a read is in flight.
    refresh_session: Option<Session>,
    next_refresh: Instant,
    /// `None` while a read of decisions is in flight.
    decisions: Option<Box<Decisions>>,
    /// `None` while a read of claims is in flight.
    history: Option<Box<History>>,
    next_frame: Instant,
    calls: JoinSet<CallResult>,
    /// The member whose output is shown, and that member's log once the log is open.
    followed: Option<(MemberName, Option<Log>)>,
    /// Number of actions in flight.
    pending_actions: usize,
    /// The layout of the frame that is being written to the terminal.
    drawn: Option<FrameLayout>,
}

/// Why the view released the terminal.
enum Exit {
    Quit(ExitCode),
    /// The view ends so that this program can use the terminal until it exits.
    RunProgram(AttachAnswer),
}

/// Shows the team until the user quits.
///
/// # Errors
/// The team does not exist, the terminal cannot be used, or the supervisor was stopped.
pub(crate) async fn run(global: &Global) -> Result<ExitCode, Failure> {
    let io = |error| Failure::io("cannot use the terminal", &error);
    let mut session = global.session()?.ending_with_supervisor();
    let mut signals =
        Signals::install().map_err(|error| Failure::io("cannot listen for signals", &error))?;
    let mut view = EventLoop::new(&mut session, theme().await).await?;
    loop {
        let mut events =
            Subscription::new(session.separate(), view.top.team.revision, true).await?;
        let mut screen = Screen::enter().map_err(io)?;
        let exit = view.show(&mut session, &mut signals, &mut events, &mut screen);
        let exit = exit.await?;
        // Close the subscription: nothing reads its events while another program has the terminal, and the supervisor
        // drops a client that does not read.
        drop((screen, events));
        match exit {
            Exit::Quit(code) => {
                view.finish_actions().await?;
                return Ok(code);
            }
            Exit::RunProgram(attach) => {
                if let Err(failure) = run_viewer(attach) {
                    view.top.set_error(failure.one_line());
                }
                let refresh = calls::refresh(&mut session, stale::Stale::all(), 0).await?;
                view.top.on_refresh(refresh, Instant::now());
                view.top.more_output = true;
            }
        }
    }
}

/// Draws one frame as text, for `--once`.
///
/// # Errors
/// The team does not exist, the supervisor cannot be reached, or the log of the selected member cannot be read.
pub(crate) async fn once(global: &Global, columns: u16, rows: u16) -> Result<String, Failure> {
    let mut session = global.session()?;
    let mut view = EventLoop::new(&mut session, Theme::None).await?;
    if let Some(member) = view.top.selected().cloned() {
        let path = calls::log_of(&mut session, member).await?;
        let (_, text) = Log::tail(path, LOG_TAIL)?;
        view.top.append_output(&text);
    }
    Ok(draw::text(
        &view.top,
        Theme::None,
        (columns, rows),
        Clock {
            now: Instant::now(),
            wall_ms: clock::wall_ms(),
        },
    ))
}

/// The data that `top` shows.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Snapshot {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<TeamView>"))]
    team: TeamView,
    #[cfg_attr(test, schemars(with = "Vec<crate::reference::json::Wire<TaskView>>"))]
    tasks: Vec<TaskView>,
    /// Pending, oldest first.
    #[cfg_attr(
        test,
        schemars(with = "Vec<crate::reference::json::Wire<RequestView>>")
    )]
    requests: Vec<RequestView>,
    /// The newest, newest last.
    #[cfg_attr(
        test,
        schemars(with = "Vec<crate::reference::json::Wire<MessageView>>")
    )]
    messages: Vec<MessageView>,
}

/// Reads the data of the view once.
///
/// # Errors
/// The team does not exist, or the supervisor cannot be reached.
pub(crate) async fn snapshot(global: &Global) -> Result<Snapshot, Failure> {
    let mut session = global.session()?;
    let refresh = calls::refresh(&mut session, stale::Stale::all(), 0).await?;
    Ok(Snapshot {
        team: refresh.team,
        tasks: refresh.tasks,
        requests: refresh.requests.unwrap_or_default(),
        messages: refresh.messages.unwrap_or_default(),
    })
}

/// Runs the program that shows a pane and waits for its exit.
fn run_viewer(attach: AttachAnswer) -> Result<(), Failure> {
    let AttachAnswer { argv, unset } = attach;
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(());
    };
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    for variable in unset {
        command.env_remove(variable);
    }
    let status = command.status();
    status
        .map(drop)
        .map_err(|error| Failure::io(format!("cannot run {program}"), &error))
}

impl EventLoop {
    /// Reads all data before the first frame.
    async fn new(session: &mut Session, theme: Theme) -> Result<Self, Failure> {
        let now = Instant::now();
        let team = session.query::<TeamShow>(Nothing {}).await?;
        let mut top = Top::new(team, now);
        let stale = std::mem::take(&mut top.stale);
        top.on_refresh(calls::refresh(session, stale, 0).await?, now);
        Ok(Self {
            top,
            theme,
            refresh_session: Some(session.separate()),
            next_refresh: now,
            decisions: Some(Box::default()),
            history: Some(Box::default()),
            next_frame: now,
            calls: JoinSet::new(),
            followed: None,
            pending_actions: 0,
            drawn: None,
        })
    }

    async fn show(
        &mut self,
        session: &mut Session,
        signals: &mut Signals,
        events: &mut Subscription,
        screen: &mut Screen,
    ) -> Result<Exit, Failure> {
        let io = |error| Failure::io("cannot use the terminal", &error);
        self.top.on_resize();
        self.drawn = None;
        loop {
            let now = Instant::now();
            self.follow_selected(session);
            self.start_reads(session, now);
            // Draw only after the previous frame was written: a slow terminal then skips frames instead of queueing
            // them, and a request counts as shown only when its frame has reached the terminal
            // (`TerminalEvent::Written`).
            if self.top.changed && now >= self.next_frame && screen.is_written() {
                self.draw(screen, now).map_err(io)?;
            }
            let wake = self.next_wake(now, screen);
            // Poll in this order, so that a flood of events cannot delay signals and keys. Exit codes after a signal
            // are 128 plus its number, as shells report them.
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    SignalEvent::WindowChanged => self.top.on_resize(),
                    SignalEvent::Info => {}
                    SignalEvent::Interrupt => return Ok(Exit::Quit(ExitCode::from(130))),
                    SignalEvent::Hangup => return Ok(Exit::Quit(ExitCode::from(129))),
                    SignalEvent::Shutdown => return Ok(Exit::Quit(ExitCode::from(143))),
                },
                event = screen.next() => match event {
                    TerminalEvent::Keys(keys) => {
                        for effect in self.top.on_keys(&keys, Instant::now()) {
                            if let Some(exit) = self.run_effect(session, effect).await {
                                return Ok(exit);
                            }
                        }
                    }
                    TerminalEvent::Written => if let Some(drawn) = self.drawn.take() {
                        self.top.on_frame_shown(drawn, Instant::now());
                    },
                    TerminalEvent::Closed => return Ok(Exit::Quit(ExitCode::from(129))),
                },
                Some(result) = self.calls.join_next() => match result {
                    Ok(result) => self.on_call_result(result),
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                update = events.next_update() => match update? {
                    Update::Notice(notice) => self.top.on_notice(&notice),
                    Update::Lost => self.top.set_disconnected(true),
                    Update::Resumed => self.top.set_disconnected(false),
                },
                () = tokio::time::sleep_until(wake.into()) => {
                    self.top.changed |= self.top.next_age(now).is_some_and(|next| Instant::now() >= now + next);
                }
            }
        }
    }

    /// The time of the next timer: a frame, a read, or a change of a displayed age.
    fn next_wake(&self, now: Instant, screen: &Screen) -> Instant {
        let frame = (self.top.changed && screen.is_written()).then_some(self.next_frame);
        let refresh =
            (self.refresh_session.is_some() && self.needs_read()).then_some(self.next_refresh);
        let age = self.top.next_age(now).map(|next| now + next);
        let earliest = [frame, refresh, age].into_iter().flatten().min();
        // No timer is pending: sleep until an event arrives. `sleep_until` needs some deadline, so take a day.
        earliest.unwrap_or(now + Duration::from_secs(86_400))
    }

    fn needs_read(&self) -> bool {
        !self.top.stale.is_empty()
            || self.top.more_output
            || self.top.decisions_stale
            || self.top.more_claims
    }

    fn draw(&mut self, screen: &mut Screen, now: Instant) -> std::io::Result<()> {
        let (top, theme) = (&self.top, self.theme);
        let mut drawn = FrameLayout::default();
        let clock = Clock {
            now,
            wall_ms: clock::wall_ms(),
        };
        screen.draw(|frame| drawn = draw(frame, top, theme, clock))?;
        self.top.changed = false;
        self.drawn = Some(drawn);
        self.next_frame = now + FRAME_INTERVAL;
        Ok(())
    }

    /// Opens the log of the selected member when the selection has changed.
    fn follow_selected(&mut self, session: &Session) {
        if !std::mem::take(&mut self.top.output.is_unopened) {
            return;
        }
        self.followed = self.top.selected().map(|member| (member.clone(), None));
        if let Some(member) = self.top.selected().cloned() {
            let mut session = session.separate();
            self.calls.spawn(async move {
                let path = calls::log_of(&mut session, member.clone()).await;
                let log = path.and_then(|path| Log::tail(path, LOG_TAIL));
                CallResult::LogOpened(member, log)
            });
        }
    }

    /// Starts to read the decisions since the last read.
    fn read_decisions(&mut self, session: &Session) {
        if let Some(mut decisions) = self.decisions.take() {
            self.top.decisions_stale = false;
            let session = session.separate();
            self.calls.spawn(async move {
                let read = decisions.read_new(session).await;
                CallResult::DecisionsRead(decisions, read)
            });
        }
    }

    /// Starts to read the outdated data.
    fn start_reads(&mut self, session: &Session, now: Instant) {
        if now < self.next_refresh || !self.needs_read() {
            return;
        }
        if std::mem::take(&mut self.top.more_output) {
            self.read_log();
            self.next_refresh = now + REFRESH_INTERVAL;
        }
        if self.top.decisions_stale {
            self.read_decisions(session);
            self.next_refresh = now + REFRESH_INTERVAL;
        }
        if self.top.more_claims {
            self.read_claims(session);
            self.next_refresh = now + REFRESH_INTERVAL;
        }
        if self.top.stale.is_empty() {
            return;
        }
        if let Some(mut session) = self.refresh_session.take() {
            let stale = std::mem::take(&mut self.top.stale);
            let known = self.top.requests.len();
            self.next_refresh = now + REFRESH_INTERVAL;
            self.calls.spawn(async move {
                let refresh = calls::refresh(&mut session, stale, known).await;
                CallResult::Refreshed(session, refresh.map(Box::new))
            });
        }
    }

    /// Starts to read the history of the task of the open page.
    fn read_claims(&mut self, session: &Session) {
        let Some(Page::Task(task)) = &self.top.page else {
            self.top.more_claims = false;
            return;
        };
        if let Some(mut history) = self.history.take() {
            self.top.more_claims = false;
            let (task, session) = (*task, session.separate());
            self.calls.spawn(async move {
                let read = history.read_new(session).await;
                CallResult::ClaimsRead(history, task, read)
            });
        }
    }

    fn read_log(&mut self) {
        if let Some((_, Some(log))) = &mut self.followed {
            match log.read() {
                Ok(text) => self.top.append_output(&text),
                Err(failure) => self.top.set_error(failure.one_line()),
            }
        }
    }

    fn on_call_result(&mut self, result: CallResult) {
        match result {
            CallResult::Refreshed(session, refresh) => {
                self.refresh_session = Some(session);
                match refresh {
                    Ok(refresh) => self.top.on_refresh(*refresh, Instant::now()),
                    Err(failure) => self.top.set_error(failure.one_line()),
                }
            }
            CallResult::LogOpened(member, read) => match (&mut self.followed, read) {
                (Some((followed, log @ None)), Ok((opened, text))) if *followed == member => {
                    *log = Some(opened);
                    self.top.append_output(&text);
                }
                (_, Ok(_)) => {}
                (_, Err(failure)) => self.top.set_error(failure.one_line()),
            },
            CallResult::DecisionsRead(decisions, read) => {
                match read {
                    Ok(()) => self
                        .top
                        .set_decisions(decisions.newest.iter().cloned().collect()),
                    Err(failure) => self.top.set_error(failure.one_line()),
                }
                self.decisions = Some(decisions);
            }
            CallResult::ClaimsRead(history, task, read) => {
                match read {
                    Ok(()) => self.top.set_claims(task, history.of(task)),
                    Err(failure) => self.top.set_error(failure.one_line()),
                }
                self.history = Some(history);
            }
            CallResult::ChangesRead(read) => match read {
                Ok(changes) => self.top.set_changes(changes),
                Err(failure) => {
                    self.top.close_page();
                    self.top.set_error(failure.one_line());
                }
            },
            CallResult::ActionDone(done) => {
                self.pending_actions -= 1;
                match done {
                    Ok(text) => self.top.set_status(text),
                    Err(failure) => self.top.set_error(failure.one_line()),
                }
            }
        }
    }

    /// Carries out an effect of a key.
    async fn run_effect(&mut self, session: &mut Session, effect: Effect) -> Option<Exit> {
        match effect {
            Effect::Quit => return Some(Exit::Quit(ExitCode::SUCCESS)),
            Effect::Perform(action) => self.perform(session, action),
            Effect::ReadChanges => {
                let project = self.top.team.project.clone();
                self.calls
                    .spawn(async move { CallResult::ChangesRead(diff::read(&project).await) });
            }
            Effect::Attach(member) => {
                let attach = Attach {
                    member: Some(member.clone()),
                    read_only: false,
                    terminal: caller::terminal(),
                };
                match session.call::<TeamAttach>(attach).await {
                    Ok(answer) if answer.argv.is_empty() => {
                        self.top
                            .set_status(format!("switched to the pane of {member}"));
                    }
                    Ok(answer) => return Some(Exit::RunProgram(answer)),
                    Err(error) => self.top.set_error(Failure::from(error).one_line()),
                }
            }
        }
        None
    }

    fn perform(&mut self, session: &Session, action: Action) {
        let session = session.separate();
        self.top.set_status("…".into());
        self.pending_actions += 1;
        self.calls
            .spawn(async move { CallResult::ActionDone(calls::perform(session, action).await) });
    }

    /// Waits for actions in flight: a user who quits right after a key still expects its action.
    async fn finish_actions(&mut self) -> Result<(), Failure> {
        let rest = async {
            while self.pending_actions > 0 {
                match self.calls.join_next().await {
                    Some(Ok(CallResult::ActionDone(done))) => {
                        self.pending_actions -= 1;
                        done?;
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            Ok(())
        };
        tokio::time::timeout(EXIT_TIMEOUT, rest)
            .await
            .unwrap_or(Ok(()))
    }
}
