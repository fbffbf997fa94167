//! Where a team lives: a thread with the supervisor on it, its members' threads, and its directories. All of it ends
//! together.
//!
//! Connections to the supervisor run on that thread as well, so that a caller needs no runtime of a particular kind, and
//! none that outlives a call.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{Down, DownAnswer, ListTasks, Method, TaskList, TeamDown};
use agent_team_protocol::rpc::{Call, TeamRef};
use agent_team_protocol::view::TaskView;
use agent_team_protocol::{Refusal, TeamId};
use agent_team_supervisor::embed::{self, Durability, Embedding, ServeError};
use agent_team_system::client::{CallError, Client, ConnectError, Incoming};
use agent_team_system::daemon::{self, ConnectOrStartError};
use agent_team_system::directories::Directories;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::hosting::{Crew, Hosting};
use crate::place::Place;

/// How long the end of a team that is dropped may take before its thread is left to itself.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// How long members' threads may take to end once nothing runs in them any more.
const THREADS_LIMIT: Duration = Duration::from_secs(5);

/// Why a team has no home.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoveInError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Connect(#[from] ConnectOrStartError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallFailed {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The team was shut down, or what it accepted could not be stored.
    #[error("the team has ended")]
    Ended,
    #[error("{0}")]
    Answer(String),
}

/// The way to a team's supervisor. Cheap to clone; what ends with the team only refuses then.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) team: TeamId,
    runtime: Handle,
    directories: Directories,
    client: Client,
    /// A client's random id, the same for all its connections.
    id: String,
}

impl Line {
    /// A task of the team's own, which ends with it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    /// A call that changes something.
    pub(crate) async fn call<M: Method>(&self, args: M::Args) -> Result<M::Answer, CallFailed> {
        self.perform::<M>(args, Some(random())).await
    }

    /// A call that only reads, or waits.
    pub(crate) async fn ask<M: Method>(&self, args: M::Args) -> Result<M::Answer, CallFailed> {
        self.perform::<M>(args, None).await
    }

    /// The whole board, page by page.
    pub(crate) async fn tasks(&self) -> Result<Vec<TaskView>, CallFailed> {
        let mut tasks = Vec::new();
        let mut wanted = Some(ListTasks::default());
        while let Some(list) = wanted {
            let page = self.ask::<TaskList>(list).await?;
            wanted = page.next();
            tasks.extend(page.tasks);
        }
        Ok(tasks)
    }

    /// The same over a connection of its own, with what is said over it.
    pub(crate) async fn another(&self) -> Result<(Self, Incoming), CallFailed> {
        let connected = connect(&self.runtime, &self.directories, &self.id).await;
        let (client, incoming) = connected.map_err(|_| CallFailed::Ended)?;
        let line = Self {
            client,
            ..self.clone()
        };
        Ok((line, incoming))
    }

    async fn perform<M: Method>(
        &self,
        args: M::Args,
        key: Option<String>,
    ) -> Result<M::Answer, CallFailed> {
        let call = Call {
            team: Some(TeamRef::Id(self.team.clone())),
            key,
            args,
        };
        self.client
            .call::<M>(&call)
            .await
            .map_err(|error| match error {
                CallError::Refused(refusal) => CallFailed::Refused(refusal),
                CallError::Disconnected => CallFailed::Ended,
                CallError::Answer { .. } => CallFailed::Answer(error.to_string()),
            })
    }
}

/// A team's thread. Dropping it ends everything at once.
pub(crate) struct Home {
    line: Line,
    /// Used or dropped: the supervisor ends.
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Home {
    pub(crate) async fn new(
        team: TeamId,
        place: Place,
        durability: Durability,
        crew: Crew,
    ) -> Result<Self, MoveInError> {
        let directories = place.directories.clone();
        let (over, ended) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::Builder::new().name("agent-team".to_owned());
        let thread = thread
            .spawn(move || live(place, durability, crew, ready, ended))
            .map_err(MoveInError::Thread)?;
        let Ok(runtime) = is_ready.await else {
            return Err(match thread.join() {
                Ok(Err(error)) => error.into(),
                Ok(Ok(())) => MoveInError::Thread(io::Error::other("it ended")),
                Err(panic) => std::panic::resume_unwind(panic),
            });
        };
        let id = random();
        // Nothing is said over it without being asked for.
        let (client, _incoming) = connect(&runtime, &directories, &id).await?;
        Ok(Self {
            line: Line {
                team,
                runtime,
                directories,
                client,
                id,
            },
            over: Some(over),
            thread: Some(thread),
        })
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// Ends the members, giving them time to finish, and then everything else.
    pub(crate) async fn leave(mut self) -> Result<DownAnswer, CallFailed> {
        let down = self.line.call::<TeamDown>(Down { force: false }).await;
        self.over = None;
        let Some(thread) = self.thread.take() else {
            return down;
        };
        // Off the caller's thread: it may take as long as a member's thread goes on.
        let (joined, is_over) = oneshot::channel();
        let waiting = std::thread::Builder::new().name("agent-team end".to_owned());
        let waiting = waiting.spawn(move || drop(joined.send(thread.join())));
        if let (Ok(waiting), Ok(ended)) = (waiting, is_over.await) {
            // It has nothing left to do.
            let _ended = waiting.join();
            if let Err(panic) = ended {
                std::panic::resume_unwind(panic);
            }
        }
        down
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let (line, over) = (self.line.clone(), self.over.take());
        self.line.spawn(async move {
            let down = line.call::<TeamDown>(Down { force: true });
            if !matches!(tokio::time::timeout(DROP_LIMIT, down).await, Ok(Ok(_))) {
                tracing::warn!(team = %line.team, "the team was dropped without an orderly shutdown");
            }
            drop(over);
        });
        // A callback of the team's own that drops the team must not wait for itself.
        if thread.thread().id() != std::thread::current().id() {
            let _ended = thread.join();
        }
    }
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home")
            .field("team", &self.line.team)
            .finish_non_exhaustive()
    }
}

/// The thread's whole life.
fn live(
    place: Place,
    durability: Durability,
    crew: Crew,
    ready: oneshot::Sender<Handle>,
    over: oneshot::Receiver<()>,
) -> Result<(), ServeError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ServeError::Runtime)?;
    let hosting = Arc::new(Hosting::new(crew));
    let embedding = Embedding {
        directories: place.directories.clone(),
        durability,
        host: Arc::clone(&hosting) as _,
    };
    let (serves, is_serving) = oneshot::channel();
    let handle = runtime.handle().clone();
    let local = LocalSet::new();
    local.spawn_local(async move {
        if is_serving.await.is_ok() {
            // Who waits for it may have given up.
            let _given_up = ready.send(handle);
        }
    });
    let result = local.block_on(&runtime, embed::serve(embedding, serves, over));
    drop(local);
    runtime.shutdown_timeout(THREADS_LIMIT);
    hosting.join(THREADS_LIMIT);
    drop(place);
    result
}

async fn connect(
    runtime: &Handle,
    directories: &Directories,
    id: &str,
) -> Result<(Client, Incoming), ConnectOrStartError> {
    let (directories, initialize) = (directories.clone(), Initialize::client(id));
    let connecting = runtime.spawn(async move { daemon::connect(&directories, &initialize).await });
    connecting
        .await
        .unwrap_or_else(|_ended| Err(ConnectError::Ended.into()))
}

/// 128 random bits.
fn random() -> String {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).expect("the system has randomness");
    format!("{:032x}", u128::from_ne_bytes(bits))
}
