//! The thread of a team. It runs the supervisor and owns the members' threads and the team's directories; all of them
//! end together.
//!
//! Connections to the supervisor run on that thread as well, so that the caller may use any async runtime, and need not
//! keep a runtime running between two calls.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use agent_team_client::{CallError, Client, ConnectError, ConnectOrStartError, Incoming};
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{Down, DownAnswer, Method, TaskList, TaskListAnswer, TeamDown};
use agent_team_protocol::rpc::{Call, TeamRef};
use agent_team_protocol::view::TaskView;
use agent_team_protocol::{Refusal, TeamId};
use agent_team_supervisor::embed::{self, Durability, Embedding, ServeError};
use agent_team_system::directories::Directories;
use agent_team_system::random;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::member_threads::{Engines, MemberThreads};
use crate::team_dirs::TeamDirs;

/// The time limit for the members of a dropped team to stop. After this time, the supervisor exits without an orderly
/// shutdown.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// The time limit for members' threads to exit after their work has ended.
const THREADS_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Connect(#[from] ConnectOrStartError),
    #[error("cannot start the team's thread")]
    Thread(#[source] io::Error),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum TeamCallError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The team was shut down, or its journal could not be stored.
    #[error("the team has ended")]
    Ended,
    /// The answer does not have the form that this build expects.
    #[error("{0}")]
    Answer(String),
}

/// A connection to a team's supervisor. Cheap to clone; calls fail once the team has ended.
#[derive(Debug, Clone)]
pub(crate) struct SupervisorClient {
    pub(crate) team: TeamId,
    runtime: Handle,
    directories: Directories,
    client: Client,
    /// The random client id that all connections of this team share.
    id: String,
}

impl SupervisorClient {
    /// Spawns a tokio task on the team's thread. The task is cancelled when the thread exits.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    /// Makes a call that changes the team, with a new idempotency key.
    pub(crate) async fn call<M: Method>(&self, args: M::Args) -> Result<M::Answer, TeamCallError> {
        self.perform::<M>(args, Some(random::id())).await
    }

    /// Makes a call that only reads or waits, without an idempotency key.
    pub(crate) async fn ask<M: Method>(&self, args: M::Args) -> Result<M::Answer, TeamCallError> {
        self.perform::<M>(args, None).await
    }

    /// All tasks of the board, fetched page by page.
    pub(crate) async fn tasks(&self) -> Result<Vec<TaskView>, TeamCallError> {
        TaskListAnswer::read_all(|list| self.ask::<TaskList>(list)).await
    }

    /// Opens another connection; returns it with its notifications.
    pub(crate) async fn connect_again(&self) -> Result<(Self, Incoming), TeamCallError> {
        let connected = connect(&self.runtime, &self.directories, &self.id).await;
        let (client, incoming) = connected.map_err(|_| TeamCallError::Ended)?;
        let supervisor = Self {
            client,
            ..self.clone()
        };
        Ok((supervisor, incoming))
    }

    async fn perform<M: Method>(
        &self,
        args: M::Args,
        key: Option<String>,
    ) -> Result<M::Answer, TeamCallError> {
        let call = Call {
            team: Some(TeamRef::Id(self.team.clone())),
            key,
            args,
        };
        self.client
            .call::<M>(&call)
            .await
            .map_err(|error| match error {
                CallError::Refused(refusal) => TeamCallError::Refused(refusal),
                CallError::Disconnected => TeamCallError::Ended,
                CallError::Answer { .. } => TeamCallError::Answer(error.to_string()),
            })
    }
}

/// A team's thread. Dropping this value stops the team without a grace period.
pub(crate) struct TeamThread {
    supervisor: SupervisorClient,
    /// Sending a value, or dropping the sender, makes the supervisor exit.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl TeamThread {
    pub(crate) async fn new(
        team: TeamId,
        dirs: TeamDirs,
        durability: Durability,
        engines: Engines,
    ) -> Result<Self, StartError> {
        let directories = dirs.directories.clone();
        let (stop, stopped) = oneshot::channel();
        let (ready_tx, ready_rx) = oneshot::channel();
        let thread = std::thread::Builder::new().name("agent-team".to_owned());
        let thread = thread
            .spawn(move || run_supervisor(dirs, durability, engines, ready_tx, stopped))
            .map_err(StartError::Thread)?;
        let Ok(runtime) = ready_rx.await else {
            return Err(match thread.join() {
                Ok(Err(error)) => error.into(),
                Ok(Ok(())) => {
                    StartError::Thread(io::Error::other("the thread exited before it was ready"))
                }
                Err(panic) => std::panic::resume_unwind(panic),
            });
        };
        let id = random::id();
        // This connection has no subscription, so its notifications are not needed.
        let (client, _incoming) = connect(&runtime, &directories, &id).await?;
        Ok(Self {
            supervisor: SupervisorClient {
                team,
                runtime,
                directories,
                client,
                id,
            },
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(crate) fn supervisor(&self) -> &SupervisorClient {
        &self.supervisor
    }

    /// Stops the members with a grace period, then ends the thread.
    pub(crate) async fn shut_down(mut self) -> Result<DownAnswer, TeamCallError> {
        let down = self
            .supervisor
            .call::<TeamDown>(Down { force: false })
            .await;
        // Drop the sender only after `down`: the drop makes the supervisor exit at once, without waiting for the
        // members.
        self.stop = None;
        let Some(thread) = self.thread.take() else {
            return down;
        };
        // Join on another thread: the team's thread may take seconds to exit, and this function must not block the
        // thread that polls it.
        let (joined_tx, joined_rx) = oneshot::channel();
        let waiting = std::thread::Builder::new().name("agent-team end".to_owned());
        let waiting = waiting.spawn(move || drop(joined_tx.send(thread.join())));
        if let (Ok(waiting), Ok(ended)) = (waiting, joined_rx.await) {
            // The waiting thread has sent its result and is about to exit.
            let _ended = waiting.join();
            if let Err(panic) = ended {
                std::panic::resume_unwind(panic);
            }
        }
        down
    }
}

impl Drop for TeamThread {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let (supervisor, stop) = (self.supervisor.clone(), self.stop.take());
        self.supervisor.spawn(async move {
            let down = supervisor.call::<TeamDown>(Down { force: true });
            if !matches!(tokio::time::timeout(DROP_LIMIT, down).await, Ok(Ok(_))) {
                tracing::warn!(team = %supervisor.team, "the team was dropped without an orderly shutdown");
            }
            drop(stop);
        });
        // A callback that runs on the team's own thread may drop the team. A thread that joins itself waits forever.
        if thread.thread().id() != std::thread::current().id() {
            let _ended = thread.join();
        }
    }
}

impl std::fmt::Debug for TeamThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TeamThread")
            .field("team", &self.supervisor.team)
            .finish_non_exhaustive()
    }
}

/// Runs on the team's thread.
fn run_supervisor(
    dirs: TeamDirs,
    durability: Durability,
    engines: Engines,
    ready_tx: oneshot::Sender<Handle>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), ServeError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ServeError::Runtime)?;
    let member_threads = Arc::new(MemberThreads::new(engines));
    let embedding = Embedding {
        directories: dirs.directories.clone(),
        durability,
        host: Arc::clone(&member_threads) as _,
    };
    let (serving_tx, serving_rx) = oneshot::channel();
    let handle = runtime.handle().clone();
    let local = LocalSet::new();
    local.spawn_local(async move {
        if serving_rx.await.is_ok() {
            // Fails if the caller has dropped the future of `TeamThread::new`.
            let _given_up = ready_tx.send(handle);
        }
    });
    let result = local.block_on(&runtime, embed::serve(embedding, serving_tx, stopped));
    drop(local);
    runtime.shutdown_timeout(THREADS_LIMIT);
    member_threads.join(THREADS_LIMIT);
    // Remove the directories last: the supervisor and the members use files in them until their threads have ended.
    drop(dirs);
    result
}

async fn connect(
    runtime: &Handle,
    directories: &Directories,
    id: &str,
) -> Result<(Client, Incoming), ConnectOrStartError> {
    let (directories, initialize) = (directories.clone(), Initialize::client(id));
    let connecting =
        runtime.spawn(async move { agent_team_client::connect(&directories, &initialize).await });
    connecting
        .await
        .unwrap_or_else(|_ended| Err(ConnectError::Ended.into()))
}
