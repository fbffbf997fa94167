//! Calls to the supervisor over connections that may be lost. The first call finds or starts the supervisor; a call
//! that loses its connection is repeated over a new connection. Used by the command line, the panes of members and the
//! HTTP service.
//!
//! Each changing call carries its own idempotency key, so repeating it after a lost connection has one effect. Creating
//! a session starts no process. Only [`Session::of_running`] and [`Session::of_supervisor_to_stop`] may connect before
//! the first call.

use std::time::{Duration, Instant};

use agent_team_protocol::ErrorCode;
use agent_team_protocol::codec::FRAME_MAX;
use agent_team_protocol::initialize::{Initialize, Initialized};
use agent_team_protocol::method::{ListTasks, Method, TaskList};
use agent_team_protocol::notification::{Goodbye, GoodbyeReason, Notification};
use agent_team_protocol::rpc::{self, Call, TeamRef};
use agent_team_protocol::view::TaskView;
use agent_team_system::announcement;
use agent_team_system::directories::Directories;
use agent_team_system::random;

use self::error::SessionError;
use crate::client::{Arrival, CallError, Client, ConnectError, Incoming};
use crate::connect::{ConnectOrStartError, connect, connect_or_start};

pub(crate) mod error;
mod shared;
mod shutdown;
mod subscription;

pub use shared::SharedSession;
pub use subscription::{Notice, Subscription, Update};

/// How long a call is repeated while supervisors keep exiting before they answer it.
const REPEAT_LIMIT: Duration = Duration::from_secs(10);
const REPEAT_PAUSE: Duration = Duration::from_millis(20);

/// A supervisor that exits after this time does not count as part of a crash loop.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Whether a call may start a supervisor when none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Always,
    /// A call starts a supervisor only when a team is on disk.
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

/// Calls of one client about one team.
#[derive(Debug)]
pub struct Session {
    team: Option<TeamRef>,
    /// `None`: the directories that the environment names when the session connects.
    directories: Option<Directories>,
    start: Start,
    /// The reaction of every call except `wait_for`, which always uses [`OnStop::End`].
    on_stop: OnStop,
    /// Random id of this session. Idempotency keys are valid per client id, across its connections.
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
            directories: None,
            start,
            on_stop: OnStop::StartAgain,
            client: random::id(),
            connection: None,
        }
    }

    /// A session for an existing team.
    pub fn of_team(team: TeamRef) -> Self {
        Self::new(Some(team), Start::IfTeams)
    }

    /// A session for a team that may not exist yet.
    pub fn to_create(team: TeamRef) -> Self {
        Self::new(Some(team), Start::Always)
    }

    /// Like [`Session::to_create`], but uses `directories`, which the caller has prepared, instead of the environment.
    pub fn to_create_in(directories: Directories, team: TeamRef) -> Self {
        Self {
            directories: Some(directories),
            ..Self::to_create(team)
        }
    }

    /// A session with the running supervisor, for this team if one is given; `None` when none runs.
    ///
    /// # Errors
    /// The directories cannot be used, the lock file cannot be read, or the running supervisor cannot be reached or
    /// refuses the connection.
    pub async fn of_running(team: Option<TeamRef>) -> Result<Option<Self>, SessionError> {
        let mut session = Self::new(team, Start::Never);
        // Completion calls this function, which must create nothing when no supervisor runs.
        if !is_running(&Directories::from_environment()?)? {
            return Ok(None);
        }
        let directories = session.prepared_directories()?;
        session.connection = session.connect_to_running(&directories).await?;
        Ok(session.connection.is_some().then_some(session))
    }

    /// A session without a team. Its first call starts a supervisor if none runs.
    pub fn of_next_supervisor() -> Self {
        Self::new(None, Start::Always)
    }

    /// A session for stopping all teams. If teams are up and no supervisor runs, the first call starts a supervisor: a
    /// killed supervisor leaves workers behind, and only the next supervisor can adopt and stop them. `None` when there
    /// is nothing to stop.
    ///
    /// # Errors
    /// As [`Session::of_running`].
    pub async fn of_supervisor_to_stop() -> Result<Option<Self>, SessionError> {
        let next = Self::of_next_supervisor();
        match next.prepared_directories()?.has_teams_up() {
            true => Ok(Some(next)),
            false => Self::of_running(None).await,
        }
    }

    /// Makes calls fail once the supervisor is stopped. Live views use such a session, so that they end: otherwise, a
    /// refresh that is in flight at that moment would start the next supervisor.
    pub fn ending_with_supervisor(mut self) -> Self {
        self.on_stop = OnStop::End;
        self
    }

    /// Makes calls fail if no supervisor runs, instead of starting a supervisor.
    pub fn only_running(mut self) -> Self {
        self.start = Start::Never;
        self
    }

    /// A session for the same team with a separate connection, so that one session can wait for an answer while the
    /// other is used.
    pub fn separate(&self) -> Self {
        Self {
            on_stop: self.on_stop,
            directories: self.directories.clone(),
            ..Self::new(self.team.clone(), self.start)
        }
    }

    /// Makes a call that changes something; repeats it safely after a lost connection.
    ///
    /// # Errors
    /// No supervisor can be reached or started, the supervisor refuses the call, or its answer cannot be decoded; see
    /// [`SessionError`].
    pub async fn call<M: Method>(&mut self, args: M::Args) -> Result<M::Answer, SessionError> {
        self.perform::<M>(args, Some(random::id()), self.on_stop, REPEAT_LIMIT)
            .await
    }

    /// Makes a call whose effect is not stored, at most once: a lost connection is an error, and the effect is then
    /// unknown.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn call_once<M: Method>(&mut self, args: M::Args) -> Result<M::Answer, SessionError> {
        self.perform::<M>(args, None, self.on_stop, Duration::ZERO)
            .await
    }

    /// Makes a call that only reads.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn query<M: Method>(&mut self, args: M::Args) -> Result<M::Answer, SessionError> {
        self.perform::<M>(args, None, self.on_stop, REPEAT_LIMIT)
            .await
    }

    /// Makes a call that is answered when an event occurs, which may take hours.
    ///
    /// # Errors
    /// As [`Session::call`], or the user stops the supervisor meanwhile.
    pub async fn wait_for<M: Method>(&mut self, args: M::Args) -> Result<M::Answer, SessionError> {
        self.perform::<M>(args, None, OnStop::End, REPEAT_LIMIT)
            .await
    }

    async fn perform<M: Method>(
        &mut self,
        args: M::Args,
        key: Option<String>,
        on_stop: OnStop,
        repeat_for: Duration,
    ) -> Result<M::Answer, SessionError> {
        let call = Call {
            team: self.team.clone(),
            key,
            args,
        };
        if rpc::request::<M>(0, &call).len() > FRAME_MAX {
            return Err(SessionError::TooLarge);
        }
        // The time of the first lost connection in a crash loop.
        let mut first_loss: Option<Instant> = None;
        loop {
            let began = Instant::now();
            let may_start = self.start != Start::Never;
            let lost = match self.connected().await {
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
                Err(error) if first_loss.is_some() && may_start && error.is_unreachable() => error,
                Err(error) => return Err(error),
            };
            if first_loss.get_or_insert_with(Instant::now).elapsed() >= repeat_for {
                return Err(lost);
            }
            tokio::time::sleep(REPEAT_PAUSE).await;
        }
    }

    /// All tasks of the board, read page by page.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn board(&mut self) -> Result<Vec<TaskView>, SessionError> {
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
    ///
    /// # Errors
    /// No supervisor can be reached or started, or the supervisor refuses the connection.
    pub async fn supervisor(&mut self) -> Result<Initialized, SessionError> {
        Ok(self.connected().await?.client.initialized().clone())
    }

    /// Waits until the supervisor has closed the connection; returns its goodbye notification, if it sent one.
    pub async fn closed(&mut self) -> Option<Goodbye> {
        let mut connection = self.connection.take()?;
        let mut last_goodbye = None;
        while let Some(arrival) = connection.incoming.next().await {
            last_goodbye = goodbye(&arrival).or(last_goodbye);
        }
        last_goodbye
    }

    async fn connected(&mut self) -> Result<&mut Connection, SessionError> {
        // `get_or_insert_with` cannot await.
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        Ok(self.connection.as_mut().expect("set above"))
    }

    async fn connect(&self) -> Result<Connection, SessionError> {
        let directories = self.prepared_directories()?;
        if self.start == Start::Never {
            let running = self.connect_to_running(&directories).await?;
            return running.ok_or(SessionError::NotRunning);
        }
        if self.start == Start::IfTeams && !is_running(&directories)? && !has_teams(&directories)? {
            return Err(SessionError::NoTeams);
        }
        let initialize = Initialize::client(&self.client);
        let (client, incoming) = connect_or_start(&directories, &initialize).await?;
        Ok(Connection { client, incoming })
    }

    fn prepared_directories(&self) -> Result<Directories, SessionError> {
        if let Some(directories) = &self.directories {
            return Ok(directories.clone());
        }
        let directories = Directories::from_environment()?;
        directories.prepare()?;
        Ok(directories)
    }

    async fn connect_to_running(
        &self,
        directories: &Directories,
    ) -> Result<Option<Connection>, SessionError> {
        if !is_running(directories)? {
            return Ok(None);
        }
        match connect(directories, &Initialize::client(&self.client)).await {
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

/// Returns an error when the goodbye notification of a closed connection forbids a new connection.
fn may_reconnect(last_goodbye: Option<Goodbye>, on_stop: OnStop) -> Result<(), SessionError> {
    let Some(Goodbye { reason, error }) = last_goodbye else {
        return Ok(());
    };
    match (reason, error) {
        (GoodbyeReason::Stopped, _) if on_stop == OnStop::End => Err(SessionError::Stopped),
        (GoodbyeReason::Closed, Some(refusal)) if refusal.code != ErrorCode::SlowConsumer => {
            Err(CallError::Refused(refusal).into())
        }
        _ => Ok(()),
    }
}

fn is_running(directories: &Directories) -> Result<bool, SessionError> {
    let socket = announcement::find(directories).map_err(|source| SessionError::Read {
        what: "the lock file of the supervisor".to_owned(),
        source,
    })?;
    Ok(socket.is_some())
}

fn has_teams(directories: &Directories) -> Result<bool, SessionError> {
    let teams = directories.teams();
    let mut entries = std::fs::read_dir(&teams).map_err(|source| SessionError::Read {
        what: teams.display().to_string(),
        source,
    })?;
    Ok(entries.next().is_some())
}
