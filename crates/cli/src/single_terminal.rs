//! The single-terminal view: shows the members of a team in this terminal, one at a time. A client of the supervisor,
//! like `top`. Called by `attach` for members without a pane, and by `up` for members that share a process.
//!
//! ```text
//!   state.rs    the state: transcripts, selection, key handling (pure)
//!   strip.rs    the line with all members (pure)
//!   actions.rs  calls to the supervisor, and slash commands
//! ```
//! The transcript is written to the scrollback of the terminal. The view reads the team again when an event outdates
//! it, and paints when something has changed. Leaving the view stops no member.

mod actions;
mod overlap;
mod state;
mod strip;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use agent_team_client::{Session, Subscription, Update};
use agent_team_protocol::exit::ExitCode as ExitStatus;
use agent_team_protocol::method::{CommandsAnswer, Nothing, TeamShow};
use agent_team_protocol::request::RequestView;
use agent_team_protocol::view::TeamView;
use agent_team_protocol::{MemberName, RequestId};
use agent_team_system::directories::Directories;
use agent_team_system::history::History;
use agent_team_system::signals::{SignalEvent, Signals};
use agent_team_terminal_ui::notifications::UserNotifications;
use agent_team_terminal_ui::{Candidate, Names};
use tokio::task::JoinSet;

use self::state::{Action, Effect, State};
use crate::detach::print_if_running;
use crate::error::Failure;
use crate::output::Output;
use crate::secrets::Secrets;
use crate::terminal::{Terminal, TerminalEvent, theme};

/// Minimum time between two frames.
const FRAME_INTERVAL: Duration = Duration::from_millis(50);

/// Minimum time between two reads of the team: one read covers all events in between.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// The sequences that enter and leave bracketed paste. `LEAVE` also shows the cursor.
const ENTER: &[u8] = b"\x1b[?2004h";
const LEAVE: &[u8] = b"\x1b[?2004l\x1b[?25h";

/// The result of a background call.
enum CallResult {
    /// Carries the session of the call, which the next refresh uses.
    Refreshed(Session, Result<Box<TeamView>, Failure>),
    /// The slash commands of this member: command files, and prompts of MCP servers.
    CommandsRead(MemberName, CommandsAnswer),
    RequestRead(MemberName, RequestId, Result<Box<RequestView>, Failure>),
    /// Names the member that was shown when the action started.
    ActionDone(MemberName, Result<String, Failure>),
    /// The user's decision about this request of the member did not reach the supervisor, or was refused.
    NotDecided(MemberName, RequestId, Failure),
    /// The candidates for the prompt of this member.
    NamesFound(MemberName, Names, Vec<Candidate>),
}

/// How the view ended.
enum ViewExit {
    ByUser,
    /// A signal ended the view; contains the exit code.
    BySignal(u8),
}

/// The state of the view and its background calls.
struct EventLoop {
    state: State,
    history: History,
    secrets: Secrets,
    /// The directory whose files complete the prompt.
    project: PathBuf,
    /// The session for reads of the team; `None` while a read is in flight.
    refresh_session: Option<Session>,
    next_refresh: Instant,
    next_frame: Instant,
    calls: JoinSet<CallResult>,
}

/// Shows the team until the user leaves. Starts with the member `first`, or else the lead.
///
/// # Errors
/// The team does not exist or has no members, a log cannot be read, the terminal cannot be used, or the supervisor was
/// stopped.
pub(crate) async fn run(
    session: Session,
    output: Output,
    first: Option<&MemberName>,
    read_only: bool,
) -> Result<ExitCode, Failure> {
    let io = |error| Failure::io("cannot use the terminal", &error);
    let mut session = session.ending_with_supervisor();
    let mut signals =
        Signals::install().map_err(|error| Failure::io("cannot listen for signals", &error))?;
    let team = session.query::<TeamShow>(Nothing {}).await?;
    let subscribed = SystemTime::now();
    let mut events = Subscription::new(session.separate(), team.revision, true).await?;
    let notifications = UserNotifications::of_environment(|name| std::env::var(name).ok());
    let state = State::new(
        &team,
        first,
        read_only,
        theme().await,
        notifications,
        Instant::now(),
    );
    let mut state = state.ok_or_else(|| {
        Failure::new(
            "no_members",
            ExitStatus::NotFound,
            "cannot show the team: it has no members",
        )
    })?;
    let mut logs = Vec::new();
    for member in &team.members {
        let name = member.name.clone();
        let (recent, is_new) = actions::recent_output(&mut session, name, subscribed).await?;
        // Output that arrives live can be in the log only if the log was written since the subscription.
        logs.push((&member.name, recent, is_new.then(Instant::now)));
    }
    let directories = Directories::from_environment()?;
    let history = History::new(directories.typed_file(team.team.as_str()));
    state.add_to_history(history.read());
    let mut view = EventLoop {
        state,
        history,
        secrets: Secrets::of(&directories, &team.team),
        project: team.project.clone(),
        refresh_session: Some(session.separate()),
        next_refresh: Instant::now(),
        next_frame: Instant::now(),
        calls: JoinSet::new(),
    };
    let mut terminal = Terminal::enter(ENTER, LEAVE).map_err(io)?;
    view.state.on_resize(terminal.size());
    for (member, recent, at) in logs {
        view.state.append_log(member, recent, at);
    }
    let exit = view
        .show(&session, &mut signals, &mut events, &mut terminal)
        .await;
    let last = view.state.leave(Instant::now());
    terminal.leave(&last).await;
    Ok(match exit? {
        ViewExit::ByUser => {
            print_if_running(session, output).await;
            ExitCode::SUCCESS
        }
        ViewExit::BySignal(code) => ExitCode::from(code),
    })
}

impl EventLoop {
    async fn show(
        &mut self,
        session: &Session,
        signals: &mut Signals,
        events: &mut Subscription,
        terminal: &mut Terminal,
    ) -> Result<ViewExit, Failure> {
        loop {
            let now = Instant::now();
            self.start_refresh(now);
            for (member, request) in self.state.take_unfetched_requests() {
                let session = session.separate();
                self.calls.spawn(async move {
                    let view = actions::read_request(session, request).await;
                    CallResult::RequestRead(member, request, view.map(Box::new))
                });
            }
            for member in self.state.take_unread_commands() {
                let mut session = session.separate();
                self.calls.spawn(async move {
                    let commands = actions::commands(&mut session, member.clone()).await;
                    CallResult::CommandsRead(member, commands)
                });
            }
            let frame = self.state.next_paint(now).filter(|_| terminal.is_written());
            let frame = frame.map(|at| at.max(self.next_frame));
            let refresh =
                (self.refresh_session.is_some() && self.state.stale).then_some(self.next_refresh);
            let earliest = [frame, refresh].into_iter().flatten().min();
            // No timer is pending: sleep until an event arrives. `sleep_until` needs some deadline, so take a day.
            let wake = earliest.unwrap_or(now + Duration::from_secs(86_400));
            // Poll in this order, so that a flood of events cannot delay signals and keys. Exit codes after a signal
            // are 128 plus its number, as shells report them.
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    SignalEvent::WindowChanged => self.state.on_resize(terminal.size()),
                    SignalEvent::Info => {}
                    SignalEvent::Interrupt => return Ok(ViewExit::BySignal(130)),
                    SignalEvent::Hangup => return Ok(ViewExit::BySignal(129)),
                    SignalEvent::Shutdown => return Ok(ViewExit::BySignal(143)),
                },
                event = terminal.next() => match event {
                    TerminalEvent::Keys(keys) => for effect in self.state.on_keys(&keys, Instant::now()) {
                        match effect {
                            Effect::Leave => return Ok(ViewExit::ByUser),
                            Effect::Perform { action, typed } => {
                                // The history is stored in a file, so it must not contain secrets.
                                if let Some(typed) = typed {
                                    self.history.add(&self.secrets.redact(&typed));
                                }
                                self.perform(session, action);
                            }
                        }
                    },
                    TerminalEvent::Written => self.state.on_painted(Instant::now()),
                    TerminalEvent::Closed => return Ok(ViewExit::BySignal(129)),
                },
                Some(result) = self.calls.join_next() => match result {
                    Ok(result) => self.on_call_result(result),
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                update = events.next_update() => match update? {
                    Update::Notice(notice) => self.state.on_notice(notice, Instant::now()),
                    Update::Lost => self.state.note("disconnected from the supervisor, reconnecting"),
                    Update::Resumed => {
                        self.state.note("reconnected");
                        self.state.stale = true;
                    }
                },
                () = tokio::time::sleep_until(wake.into()) => {
                    if frame.is_some_and(|at| at <= Instant::now()) {
                        let now = Instant::now();
                        terminal.write(&self.state.paint(now));
                        self.next_frame = now + FRAME_INTERVAL;
                    }
                }
            }
        }
    }

    /// Starts to read the team if it is outdated.
    fn start_refresh(&mut self, now: Instant) {
        if now < self.next_refresh || !self.state.stale {
            return;
        }
        if let Some(mut session) = self.refresh_session.take() {
            self.state.stale = false;
            self.next_refresh = now + REFRESH_INTERVAL;
            self.calls.spawn(async move {
                let team = session.query::<TeamShow>(Nothing {}).await;
                CallResult::Refreshed(session, team.map(Box::new).map_err(Failure::from))
            });
        }
    }

    fn on_call_result(&mut self, result: CallResult) {
        match result {
            CallResult::Refreshed(session, team) => {
                self.refresh_session = Some(session);
                match team {
                    Ok(team) => self.state.on_refresh(*team, Instant::now()),
                    Err(failure) => self.state.note(&failure.one_line()),
                }
            }
            CallResult::RequestRead(member, request, view) => match view {
                Ok(view) => self.state.open_request(&member, *view),
                Err(failure) => self
                    .state
                    .append_output(&member, &format!("✗ {request}: {}", failure.one_line())),
            },
            CallResult::CommandsRead(member, commands) => {
                self.state.set_commands(&member, commands);
            }
            CallResult::NamesFound(member, names, candidates) => {
                self.state.offer(&member, &names, candidates);
            }
            CallResult::ActionDone(member, Ok(text)) => self.state.append_output(&member, &text),
            CallResult::ActionDone(member, Err(failure)) => self
                .state
                .append_output(&member, &format!("✗ {}", failure.one_line())),
            CallResult::NotDecided(member, request, failure) => {
                let text = format!("✗ cannot send the decision: {}", failure.one_line());
                self.state.append_output(&member, &text);
                self.state.fetch_request_again(&member, request);
            }
        }
    }

    fn perform(&mut self, session: &Session, action: Action) {
        let (session, shown) = (session.separate(), self.state.shown().clone());
        if let Action::Complete(names) = action {
            let project = self.project.clone();
            self.calls.spawn(async move {
                let found = actions::candidates(session, project, &names).await;
                CallResult::NamesFound(shown, names, found)
            });
            return;
        }
        let (team, columns) = (self.state.team.clone(), self.state.columns());
        let decided = match &action {
            Action::Decide(decide) => Some(decide.request),
            Action::Send { .. }
            | Action::Task { .. }
            | Action::RunLine { .. }
            | Action::EndLine(_)
            | Action::Interrupt(_)
            | Action::Complete(_)
            | Action::Command { .. }
            | Action::Prompt(_)
            | Action::Verb(_) => None,
        };
        self.calls.spawn(async move {
            match (
                actions::perform(session, &team, action, columns).await,
                decided,
            ) {
                (Err(failure), Some(request)) => CallResult::NotDecided(shown, request, failure),
                (done, _) => CallResult::ActionDone(shown, done),
            }
        });
    }
}
