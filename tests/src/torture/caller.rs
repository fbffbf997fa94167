//! A client that repeats each call with the same key until a supervisor answers, even if supervisors die meanwhile.
//! Used by the workload of the torture and of the simulation.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use agent_team_client::{CallError, Client, Incoming};
use agent_team_protocol::ErrorCode;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::Method;
use agent_team_protocol::rpc::{self, TeamRef};
use agent_team_system::announcement::Announced;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::history::Outcome;

/// How long an attempt waits for its answer before the call is repeated.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(15);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The phase of the torture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Faults happen.
    Torture,
    /// No faults happen. Clients finish their work and start nothing new.
    Calm,
    /// The torture has ended: clients no longer repeat unanswered calls.
    Over,
}

/// A connection whose handshake is complete.
pub(crate) type Connection = (Client, Incoming);

/// Connects a client to the supervisor.
pub(crate) trait Connect: fmt::Debug {
    /// `None` when no supervisor answers.
    fn connect(
        &self,
        initialize: Initialize,
    ) -> Pin<Box<dyn Future<Output = Option<Connection>> + '_>>;
}

/// Connects to the socket of the supervisor that holds this lock.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) lock: PathBuf,
}

impl Connect for Socket {
    fn connect(
        &self,
        initialize: Initialize,
    ) -> Pin<Box<dyn Future<Output = Option<Connection>> + '_>> {
        Box::pin(async move {
            let socket = Announced::read(&self.lock).ok()??.socket;
            Client::connect(&socket, &initialize).await.ok()
        })
    }
}

/// The team and the phase of the torture, for its clients.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) connector: Rc<dyn Connect>,
    pub(crate) team: TeamRef,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Target {
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits for `pause`. Returns false, at once, when the faults are over: clients must then start nothing new.
    pub(crate) async fn pause(&mut self, pause: Duration) -> bool {
        let calm = self.phase.wait_for(|phase| *phase != Phase::Torture);
        timeout(pause, calm).await.is_err()
    }

    pub(crate) async fn connect(&self, client: &str) -> Option<Connection> {
        let connected = self.connector.connect(Initialize::client(client));
        timeout(ATTEMPT_LIMIT, connected).await.ok()?
    }

    pub(crate) fn call<A>(&self, key: Option<String>, args: A) -> rpc::Call<A> {
        rpc::Call {
            team: Some(self.team.clone()),
            key,
            args,
        }
    }
}

/// A client that repeats each call until a supervisor answers.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) target: Target,
    pub(crate) id: String,
    calls: u64,
    connection: Option<Connection>,
}

impl Caller {
    pub(crate) fn new(target: Target, id: impl Into<String>) -> Self {
        Self {
            target,
            id: id.into(),
            calls: 0,
            connection: None,
        }
    }

    /// Repeats the call until it is answered.
    ///
    /// # Errors
    /// [`Outcome::Refused`], or [`Outcome::Unknown`] without an answer before [`Phase::Over`].
    pub(crate) async fn call<M: Method<Args: Clone>>(
        &mut self,
        args: M::Args,
    ) -> Result<M::Answer, Outcome> {
        self.calls += 1;
        let call = self.target.call(Some(self.calls.to_string()), args);
        while self.target.phase() != Phase::Over {
            if self.connection.is_none() {
                self.connection = self.target.connect(&self.id).await;
            }
            if let Some((client, _)) = &self.connection {
                match timeout(ATTEMPT_LIMIT, client.call::<M>(&call)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(CallError::Refused(refusal)))
                        if refusal.code != ErrorCode::ShuttingDown =>
                    {
                        return Err(Outcome::Refused(word(refusal.code)));
                    }
                    Ok(Err(CallError::Answer { method, source })) => {
                        panic!("cannot decode the answer to {method}: {source}")
                    }
                    Ok(Err(CallError::Refused(_) | CallError::Disconnected)) | Err(_) => {
                        self.connection = None;
                    }
                }
            }
            sleep(PAUSE).await;
        }
        Err(Outcome::Unknown)
    }
}

/// The error code's name on the wire.
fn word(code: ErrorCode) -> String {
    let value = serde_json::to_value(code).expect("a code is a string");
    value.as_str().unwrap_or_default().to_owned()
}
