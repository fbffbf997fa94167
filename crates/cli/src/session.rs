//! A command's conversation with the supervisor: found or started on the first call, and found again when it goes
//! away in the middle of one. Called by every verb that asks anything of a team.
//!
//! Each call that changes something carries a key of its own, so that repeating it after a lost connection has one
//! effect. Nothing is opened or started before the first call.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_team_protocol::codec::FRAME_MAX;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::initialize::{Initialize, Initialized};
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::method::{CallerTerminal, ListTasks, Method, TaskList};
use agent_team_protocol::notification::{Goodbye, GoodbyeReason, Notification};
use agent_team_protocol::place::CallerIterm;
use agent_team_protocol::rpc::{self, Call, TeamRef};
use agent_team_protocol::view::TaskView;
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::client::{Arrival, CallError, Client, ConnectError, Incoming};
use agent_team_system::daemon::{self, ConnectOrStartError};
use agent_team_system::directories::Directories;
use agent_team_system::spawn::READY_FD;
use agent_team_system::terminal;

use crate::args::Global;
use crate::error::{self, Failure};

mod farewell;
mod subscription;

pub(crate) use subscription::{Notice, Step, Subscription};

/// How long a call is repeated, by its key, while one supervisor after the other goes away under it.
const REPEAT_LIMIT: Duration = Duration::from_secs(10);
const REPEAT_PAUSE: Duration = Duration::from_millis(20);

/// A supervisor that goes away after this long is not one of a row.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// When a supervisor that does not run is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Always,
    /// Only if it would find a team to serve.
    IfTeams,
    Never,
}

/// What to do when somebody stops the supervisor in the middle of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnStop {
    /// It was stopped for what was there before this call, which needs it again.
    StartAgain,
    /// Who waits or listens must not be what brings it back.
    End,
}

#[derive(Debug)]
pub(crate) struct Session {
    team: Option<TeamRef>,
    start: Start,
    /// What a stop of the supervisor does to a call that only takes a moment.
    on_stop: OnStop,
    /// This command's random id: its keys belong to it, over all its connections.
    client: String,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    incoming: Incoming,
}

impl Session {
    fn new(team: Option<TeamRef>, start: Start) -> Self {
        Self {
            team,
            start,
            on_stop: OnStop::StartAgain,
            client: random(),
            connection: None,
        }
    }

    /// About one team that is there already.
    pub(crate) fn of_team(global: &Global) -> Result<Self, Failure> {
        let team = match &global.team {
            Some(name) => TeamRef::Name(name.clone()),
            None => TeamRef::Directory(current_directory()?),
        };
        Ok(Self::new(Some(team), Start::IfTeams))
    }

    /// About a team that may not be there yet.
    pub(crate) fn to_create(team: TeamRef) -> Self {
        Self::new(Some(team), Start::Always)
    }

    /// About the supervisor itself, if it runs.
    ///
    /// # Errors
    /// One lives and does not answer.
    pub(crate) async fn of_running_supervisor() -> Result<Option<Self>, Failure> {
        Self::of_running(None).await
    }

    /// About a team, if a supervisor runs that may have it.
    ///
    /// # Errors
    /// One lives and does not answer.
    pub(crate) async fn of_running_team(team: TeamRef) -> Result<Option<Self>, Failure> {
        Self::of_running(Some(team)).await
    }

    async fn of_running(team: Option<TeamRef>) -> Result<Option<Self>, Failure> {
        let mut session = Self::new(team, Start::Never);
        session.connection = session.connect_to_running(&prepared_directories()?).await?;
        Ok(session.connection.is_some().then_some(session))
    }

    /// About whatever supervisor runs when this one has gone, started if need be.
    pub(crate) fn of_next_supervisor() -> Self {
        Self::new(None, Start::Always)
    }

    /// About the supervisor that must end all teams: the one that runs, or, when it was killed and left teams that are
    /// up, the next one, which adopts their workers. `None` when there is nothing to stop.
    ///
    /// # Errors
    /// One lives and does not answer.
    pub(crate) async fn of_supervisor_to_stop() -> Result<Option<Self>, Failure> {
        match prepared_directories()?.has_teams_up() {
            true => Ok(Some(Self::of_next_supervisor())),
            false => Self::of_running_supervisor().await,
        }
    }

    /// For a program that shows the team: a stop of the supervisor ends the program, which must not start the next
    /// supervisor with a look that happened to be under way.
    pub(crate) fn ending_with_supervisor(mut self) -> Self {
        self.on_stop = OnStop::End;
        self
    }

    /// The same team over a connection of its own, so that one can wait while the other listens.
    pub(crate) fn another(&self) -> Self {
        Self {
            on_stop: self.on_stop,
            ..Self::new(self.team.clone(), self.start)
        }
    }

    /// A call that changes something.
    pub(crate) async fn call<M: Method>(&mut self, args: M::Args) -> Result<M::Answer, Failure> {
        self.perform::<M>(args, Some(random()), self.on_stop).await
    }

    /// A call that only reads.
    pub(crate) async fn ask<M: Method>(&mut self, args: M::Args) -> Result<M::Answer, Failure> {
        self.perform::<M>(args, None, self.on_stop).await
    }

    /// A call that is answered when something has come about, which may take hours.
    pub(crate) async fn wait_for<M: Method>(
        &mut self,
        args: M::Args,
    ) -> Result<M::Answer, Failure> {
        self.perform::<M>(args, None, OnStop::End).await
    }

    async fn perform<M: Method>(
        &mut self,
        args: M::Args,
        key: Option<String>,
        on_stop: OnStop,
    ) -> Result<M::Answer, Failure> {
        let call = Call {
            team: self.team.clone(),
            key,
            args,
        };
        if rpc::request::<M>(0, &call).len() > FRAME_MAX {
            let message = "what would be sent to the supervisor is larger than 1 MiB";
            return Err(Failure::of(ErrorCode::FrameTooLarge, message));
        }
        // Since when supervisors go away under this call, one after the other.
        let mut lost: Option<Instant> = None;
        loop {
            let began = Instant::now();
            let may_start = self.start != Start::Never;
            let failure = match self.connected().await {
                Ok(connection) => match connection.client.call::<M>(&call).await {
                    Err(error @ CallError::Disconnected) => {
                        let last_words = self.closed().await;
                        may_resume(last_words, on_stop)?;
                        if began.elapsed() > SETTLED_AFTER {
                            lost = None;
                        }
                        error.into()
                    }
                    outcome => return Ok(outcome?),
                },
                // The next one was killed while it started.
                Err(failure)
                    if lost.is_some() && may_start && failure.exit() == ExitCode::Unreachable =>
                {
                    failure
                }
                Err(failure) => return Err(failure),
            };
            if lost.get_or_insert_with(Instant::now).elapsed() >= REPEAT_LIMIT {
                return Err(failure);
            }
            tokio::time::sleep(REPEAT_PAUSE).await;
        }
    }

    /// The whole board, page by page.
    pub(crate) async fn board(&mut self) -> Result<Vec<TaskView>, Failure> {
        let mut tasks = Vec::new();
        let mut wanted = Some(ListTasks::default());
        while let Some(list) = wanted {
            let page = self.ask::<TaskList>(list).await?;
            wanted = page.next();
            tasks.extend(page.tasks);
        }
        Ok(tasks)
    }

    /// What the supervisor said of itself.
    pub(crate) async fn supervisor(&mut self) -> Result<Initialized, Failure> {
        Ok(self.connected().await?.client.initialized().clone())
    }

    /// Waits until the supervisor has closed the connection, and tells its last words.
    pub(crate) async fn closed(&mut self) -> Option<Goodbye> {
        let mut connection = self.connection.take()?;
        let mut last_words = None;
        while let Some(arrival) = connection.incoming.next().await {
            last_words = goodbye(&arrival).or(last_words);
        }
        last_words
    }

    async fn connected(&mut self) -> Result<&mut Connection, Failure> {
        // Not `get_or_insert_with`: connecting waits.
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        Ok(self.connection.as_mut().expect("it was just put there"))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let directories = prepared_directories()?;
        if self.start == Start::Never {
            let running = self.connect_to_running(&directories).await?;
            return running.ok_or_else(no_supervisor);
        }
        if self.start == Start::IfTeams && !is_running(&directories)? && !has_teams(&directories)? {
            let refusal = Refusal::new(
                ErrorCode::UnknownTeam,
                "there is no team on this machine yet",
            );
            return Err(refusal.hint("start one with: agent-team up").into());
        }
        let initialize = Initialize::client(&self.client);
        let (client, incoming) = daemon::connect_or_start(&directories, &initialize).await?;
        Ok(Connection { client, incoming })
    }

    async fn connect_to_running(
        &self,
        directories: &Directories,
    ) -> Result<Option<Connection>, Failure> {
        if !is_running(directories)? {
            return Ok(None);
        }
        match daemon::connect(directories, &Initialize::client(&self.client)).await {
            Ok((client, incoming)) => Ok(Some(Connection { client, incoming })),
            // It may have ended between the two looks.
            Err(ConnectOrStartError::Connect(
                ConnectError::Unreachable { .. } | ConnectError::Ended,
            )) if !is_running(directories)? => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn goodbye(arrival: &Arrival) -> Option<Goodbye> {
    match arrival {
        Arrival::Notification { method, params } if method == Goodbye::NAME => {
            serde_json::from_str(params.get()).ok()
        }
        Arrival::Notification { .. } | Arrival::Request { .. } => None,
    }
}

/// Whether a connection that ended like this is to be replaced by another one.
fn may_resume(last_words: Option<Goodbye>, on_stop: OnStop) -> Result<(), Failure> {
    let Some(Goodbye { reason, error }) = last_words else {
        return Ok(());
    };
    match (reason, error) {
        (GoodbyeReason::Stopped, _) if on_stop == OnStop::End => {
            let failure = error::unreachable("the supervisor was stopped");
            Err(failure.hint("the next command starts it again"))
        }
        (GoodbyeReason::Closed, Some(refusal)) if refusal.code != ErrorCode::SlowConsumer => {
            Err(refusal.into())
        }
        _ => Ok(()),
    }
}

/// 128 random bits.
fn random() -> String {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).expect("the system has randomness");
    format!("{:032x}", u128::from_ne_bytes(bits))
}

fn prepared_directories() -> Result<Directories, Failure> {
    let directories = Directories::from_environment()?;
    directories.prepare()?;
    Ok(directories)
}

fn find(directories: &Directories) -> Result<Option<PathBuf>, Failure> {
    daemon::find(directories)
        .map_err(|error| Failure::io("the supervisor's lock cannot be read", &error))
}

fn is_running(directories: &Directories) -> Result<bool, Failure> {
    find(directories).map(|socket| socket.is_some())
}

fn has_teams(directories: &Directories) -> Result<bool, Failure> {
    let teams = directories.teams();
    let mut entries = std::fs::read_dir(&teams)
        .map_err(|error| Failure::io(format!("{} cannot be read", teams.display()), &error))?;
    Ok(entries.next().is_some())
}

/// What a verb about the running supervisor ends with when there is none.
pub(crate) fn no_supervisor() -> Failure {
    let failure = Failure::new(
        "unreachable",
        ExitCode::Unreachable,
        "no supervisor is running",
    );
    failure.hint("the next command that needs it starts it")
}

/// Canonical, so that it compares with a project's.
pub(crate) fn current_directory() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.map_err(|error| Failure::io("the current directory cannot be found", &error))
}

/// What the supervisor needs to know of this terminal.
pub(crate) fn caller_terminal() -> CallerTerminal {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    CallerTerminal {
        tmux: variable("TMUX"),
        tmux_pane: variable("TMUX_PANE"),
        path: variable("PATH").unwrap_or_default(),
        size: terminal::size(std::io::stdout()),
        iterm: caller_iterm(&variable),
    }
}

/// Within tmux and over ssh too: the variables of the terminal around them are inherited, or passed on.
fn caller_iterm(variable: &impl Fn(&str) -> Option<String>) -> Option<Box<CallerIterm>> {
    let is = |name, value: &str| variable(name).is_some_and(|is| is == value);
    let session = variable("ITERM_SESSION_ID");
    let inside =
        session.is_some() || is("TERM_PROGRAM", "iTerm.app") || is("LC_TERMINAL", "iTerm2");
    inside.then(|| {
        Box::new(CallerIterm {
            session,
            remote: variable("SSH_CONNECTION").is_some() || variable("SSH_TTY").is_some(),
            home: variable("HOME").unwrap_or_default(),
            suite: variable("IT2_SUITE"),
            cookie: variable("ITERM2_COOKIE"),
            key: variable("ITERM2_KEY"),
        })
    })
}

/// Whether a person can be shown a terminal program here.
pub(crate) fn is_terminal() -> bool {
    terminal::is_terminal(std::io::stdin()) && terminal::is_terminal(std::io::stdout())
}

/// Variables that belong to this process or its pane and not to the members.
const NOT_PASSED_ON: [&str; 7] = [
    "TMUX",
    "TMUX_PANE",
    "ITERM_SESSION_ID",
    "ITERM2_COOKIE",
    "ITERM2_KEY",
    LAUNCH_MARKER,
    READY_FD,
];

/// The members' environment: ours, and the names of the variables that are not text and so cannot be passed on.
pub(crate) fn environment() -> (BTreeMap<String, String>, Vec<String>) {
    let (mut environment, mut lost) = (BTreeMap::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), _) if NOT_PASSED_ON.contains(&name.as_str()) => {}
            (Ok(name), Ok(value)) => drop(environment.insert(name, value)),
            (Ok(name), Err(_)) => lost.push(name),
            (Err(name), _) => lost.push(name.to_string_lossy().into_owned()),
        }
    }
    (environment, lost)
}
