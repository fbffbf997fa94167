//! The connection of a command to the supervisor. The first call finds or starts the supervisor; a call that loses its
//! connection reconnects and repeats itself. Used by every verb that reads or changes a team.
//!
//! Each changing call carries its own idempotency key, so repeating it after a lost connection has one effect. Creating
//! a session opens no connection and starts no process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_team_protocol::codec::FRAME_MAX;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::initialize::{Initialize, Initialized};
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::method::{ListTasks, Method, TaskList};
use agent_team_protocol::notification::{Goodbye, GoodbyeReason, Notification};
use agent_team_protocol::placement::{CallerTerminal, TERMINAL_VARIABLES};
use agent_team_protocol::rpc::{self, Call, TeamRef};
use agent_team_protocol::view::TaskView;
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::client::{Arrival, CallError, Client, ConnectError, Incoming};
use agent_team_system::daemon::{self, ConnectOrStartError};
use agent_team_system::directories::Directories;
use agent_team_system::random;
use agent_team_system::spawn::READY_FD;
use agent_team_system::terminal;

use crate::args::Global;
use crate::error::{self, Failure};

mod shutdown;
mod subscription;

pub(crate) use subscription::{Notice, Step, Subscription};

/// How long a call is repeated while supervisors keep exiting before they answer it.
const REPEAT_LIMIT: Duration = Duration::from_secs(10);
const REPEAT_PAUSE: Duration = Duration::from_millis(20);

/// A supervisor that exits after this time does not count as part of a crash loop.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Whether a call may start a supervisor when none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Always,
    /// Only when a team is on disk.
    IfTeams,
    Never,
}

/// The reaction to `supervisor stop` during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnStop {
    /// Start the next supervisor: the call needs one.
    StartAgain,
    /// Fail: a call that only waits or listens must not restart a supervisor that the user stopped.
    End,
}

#[derive(Debug)]
pub(crate) struct Session {
    team: Option<TeamRef>,
    start: Start,
    /// For `call` and `query`; waiting calls always end.
    on_stop: OnStop,
    /// Random id of this process. Idempotency keys are valid per client id, across its connections.
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
            client: random::id(),
            connection: None,
        }
    }

    /// A session for an existing team.
    pub(crate) fn of_team(global: &Global) -> Result<Self, Failure> {
        let team = match &global.team {
            Some(name) => TeamRef::Name(name.clone()),
            None => TeamRef::Directory(current_directory()?),
        };
        Ok(Self::new(Some(team), Start::IfTeams))
    }

    /// A session for a team that may not exist yet.
    pub(crate) fn to_create(team: TeamRef) -> Self {
        Self::new(Some(team), Start::Always)
    }

    /// A session with the running supervisor; `None` when none runs.
    ///
    /// # Errors
    /// The supervisor runs and does not answer.
    pub(crate) async fn of_running_supervisor() -> Result<Option<Self>, Failure> {
        Self::of_running(None).await
    }

    /// A session for a team with the running supervisor; `None` when none runs.
    ///
    /// # Errors
    /// The supervisor runs and does not answer.
    pub(crate) async fn of_running_team(team: TeamRef) -> Result<Option<Self>, Failure> {
        Self::of_running(Some(team)).await
    }

    async fn of_running(team: Option<TeamRef>) -> Result<Option<Self>, Failure> {
        let mut session = Self::new(team, Start::Never);
        session.connection = session.connect_to_running(&prepared_directories()?).await?;
        Ok(session.connection.is_some().then_some(session))
    }

    /// A session with the next supervisor, which is started when none runs.
    pub(crate) fn of_next_supervisor() -> Self {
        Self::new(None, Start::Always)
    }

    /// A session with the supervisor that is to stop all teams. When teams are up, a supervisor is started if none
    /// runs: one that was killed leaves workers behind, and only the next supervisor can adopt and stop them. `None`
    /// when there is nothing to stop.
    ///
    /// # Errors
    /// The supervisor runs and does not answer.
    pub(crate) async fn of_supervisor_to_stop() -> Result<Option<Self>, Failure> {
        match prepared_directories()?.has_teams_up() {
            true => Ok(Some(Self::of_next_supervisor())),
            false => Self::of_running_supervisor().await,
        }
    }

    /// For live views: when the supervisor is stopped, calls fail and the view ends. Otherwise a refresh that is in
    /// flight at that moment would start the next supervisor.
    pub(crate) fn ending_with_supervisor(mut self) -> Self {
        self.on_stop = OnStop::End;
        self
    }

    /// A session for the same team with a separate connection, so that one can wait while the other one is used.
    pub(crate) fn separate(&self) -> Self {
        Self {
            on_stop: self.on_stop,
            ..Self::new(self.team.clone(), self.start)
        }
    }

    /// Makes a call that changes something; repeats it safely after a lost connection.
    pub(crate) async fn call<M: Method>(&mut self, args: M::Args) -> Result<M::Answer, Failure> {
        self.perform::<M>(args, Some(random::id()), self.on_stop)
            .await
    }

    /// Makes a call that only reads.
    pub(crate) async fn query<M: Method>(&mut self, args: M::Args) -> Result<M::Answer, Failure> {
        self.perform::<M>(args, None, self.on_stop).await
    }

    /// Makes a call that is answered when an event occurs, which may take hours.
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
            let message = "cannot send the request to the supervisor: it is larger than 1 MiB";
            return Err(Failure::of(ErrorCode::FrameTooLarge, message));
        }
        // The time of the first lost connection in a crash loop.
        let mut first_loss: Option<Instant> = None;
        loop {
            let began = Instant::now();
            let may_start = self.start != Start::Never;
            let failure = match self.connected().await {
                Ok(connection) => match connection.client.call::<M>(&call).await {
                    Err(error @ CallError::Disconnected) => {
                        let goodbye = self.closed().await;
                        may_reconnect(goodbye, on_stop)?;
                        if began.elapsed() > SETTLED_AFTER {
                            first_loss = None;
                        }
                        error.into()
                    }
                    outcome => return Ok(outcome?),
                },
                // The next supervisor was killed while it started.
                Err(failure)
                    if first_loss.is_some()
                        && may_start
                        && failure.exit() == ExitCode::Unreachable =>
                {
                    failure
                }
                Err(failure) => return Err(failure),
            };
            if first_loss.get_or_insert_with(Instant::now).elapsed() >= REPEAT_LIMIT {
                return Err(failure);
            }
            tokio::time::sleep(REPEAT_PAUSE).await;
        }
    }

    /// All tasks of the board, read page by page.
    pub(crate) async fn board(&mut self) -> Result<Vec<TaskView>, Failure> {
        let mut tasks = Vec::new();
        let mut next_page = Some(ListTasks::default());
        while let Some(list) = next_page {
            let page = self.query::<TaskList>(list).await?;
            next_page = page.next();
            tasks.extend(page.tasks);
        }
        Ok(tasks)
    }

    /// The supervisor's answer to `initialize`.
    pub(crate) async fn supervisor(&mut self) -> Result<Initialized, Failure> {
        Ok(self.connected().await?.client.initialized().clone())
    }

    /// Waits until the supervisor has closed the connection; returns its goodbye notification, if it sent one.
    pub(crate) async fn closed(&mut self) -> Option<Goodbye> {
        let mut connection = self.connection.take()?;
        let mut last_goodbye = None;
        while let Some(arrival) = connection.incoming.next().await {
            last_goodbye = goodbye(&arrival).or(last_goodbye);
        }
        last_goodbye
    }

    async fn connected(&mut self) -> Result<&mut Connection, Failure> {
        // `get_or_insert_with` cannot await.
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        Ok(self.connection.as_mut().expect("set above"))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let directories = prepared_directories()?;
        if self.start == Start::Never {
            let running = self.connect_to_running(&directories).await?;
            return running.ok_or_else(no_supervisor);
        }
        if self.start == Start::IfTeams && !is_running(&directories)? && !has_teams(&directories)? {
            let refusal = Refusal::new(ErrorCode::UnknownTeam, "no team exists on this machine");
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
            // The supervisor may have exited between the check and the connection.
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

/// Returns an error when the goodbye notification of a closed connection forbids a new one.
fn may_reconnect(last_goodbye: Option<Goodbye>, on_stop: OnStop) -> Result<(), Failure> {
    let Some(Goodbye { reason, error }) = last_goodbye else {
        return Ok(());
    };
    match (reason, error) {
        (GoodbyeReason::Stopped, _) if on_stop == OnStop::End => {
            let failure = error::unreachable("the supervisor was stopped");
            Err(failure.hint("the next command starts it"))
        }
        (GoodbyeReason::Closed, Some(refusal)) if refusal.code != ErrorCode::SlowConsumer => {
            Err(refusal.into())
        }
        _ => Ok(()),
    }
}

fn prepared_directories() -> Result<Directories, Failure> {
    let directories = Directories::from_environment()?;
    directories.prepare()?;
    Ok(directories)
}

fn find(directories: &Directories) -> Result<Option<PathBuf>, Failure> {
    daemon::find(directories)
        .map_err(|error| Failure::io("cannot read the lock file of the supervisor", &error))
}

fn is_running(directories: &Directories) -> Result<bool, Failure> {
    find(directories).map(|socket| socket.is_some())
}

fn has_teams(directories: &Directories) -> Result<bool, Failure> {
    let teams = directories.teams();
    let mut entries = std::fs::read_dir(&teams)
        .map_err(|error| Failure::io(format!("cannot read {}", teams.display()), &error))?;
    Ok(entries.next().is_some())
}

/// The error of a verb that needs a running supervisor.
pub(crate) fn no_supervisor() -> Failure {
    let failure = Failure::new(
        "unreachable",
        ExitCode::Unreachable,
        "no supervisor is running",
    );
    failure.hint("the next command that needs it starts it")
}

/// The canonical current directory, which compares equal to a project's path.
pub(crate) fn current_directory() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.map_err(|error| Failure::io("cannot find the current directory", &error))
}

/// The properties of this terminal that the supervisor needs for placement.
pub(crate) fn caller_terminal() -> CallerTerminal {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    CallerTerminal::of(variable, terminal::size(std::io::stdout()))
}

/// Whether stdin and stdout are a terminal, so that a terminal program can run.
pub(crate) fn is_terminal() -> bool {
    terminal::is_terminal(std::io::stdin()) && terminal::is_terminal(std::io::stdout())
}

/// Variables that describe this process and, like those of its terminal, must not reach the members.
const NOT_PASSED_ON: [&str; 2] = [LAUNCH_MARKER, READY_FD];

/// The environment of this process for the members, and the names of the variables that are not UTF-8 and cannot be
/// passed.
pub(crate) fn environment() -> (BTreeMap<String, String>, Vec<String>) {
    let (mut environment, mut lost) = (BTreeMap::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), _)
                if NOT_PASSED_ON.contains(&name.as_str())
                    || TERMINAL_VARIABLES.contains(&name.as_str()) => {}
            (Ok(name), Ok(value)) => drop(environment.insert(name, value)),
            (Ok(name), Err(_)) => lost.push(name),
            (Err(name), _) => lost.push(name.to_string_lossy().into_owned()),
        }
    }
    (environment, lost)
}
