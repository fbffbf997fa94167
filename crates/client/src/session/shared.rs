//! Concurrent calls of one client over one connection, by the names of their methods. Used by the HTTP service, which
//! passes on calls and answers without decoding them.
//!
//! All calls share the client's id, so repeated calls with one key get the first answer, over any connection.

use std::time::{Duration, Instant};

use agent_team_protocol::codec::{DEPTH_MAX, FRAME_MAX, is_within_limits};
use agent_team_protocol::rpc::{self, Call, TeamRef};
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::random;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::error::SessionError;
use super::{REPEAT_LIMIT, REPEAT_PAUSE, Session, may_reconnect};
use crate::client::{CallError, Client};

/// A session whose calls may overlap.
#[derive(Debug)]
pub struct SharedSession {
    /// Locked only to take a handle of the connection, or to replace the connection.
    session: Mutex<Session>,
}

impl SharedSession {
    pub fn new(session: Session) -> Self {
        Self {
            session: Mutex::new(session),
        }
    }

    /// A session for this team with a separate connection.
    pub async fn separate(&self, team: TeamRef) -> Session {
        let mut separate = self.session.lock().await.separate();
        separate.team = Some(team);
        separate
    }

    /// Makes a call about this team; repeats it after a lost connection. With a key, the call has its effect once.
    ///
    /// # Errors
    /// No supervisor can be reached, the supervisor refuses the call, or the call does not fit into a frame.
    pub async fn call(
        &self,
        method: &str,
        team: Option<TeamRef>,
        key: Option<String>,
        args: &RawValue,
    ) -> Result<Box<RawValue>, SessionError> {
        let call = Call { team, key, args };
        // Measure the frame with the longest id that a frame can have.
        let frame = rpc::request_named(u64::MAX, method, &call);
        if frame.len() > FRAME_MAX {
            return Err(SessionError::TooLarge);
        }
        // Check the depth here: the supervisor would close the connection, which other calls use, too.
        if !is_within_limits(frame.trim_end()) {
            let text = format!("the arguments of {method} nest deeper than {DEPTH_MAX}");
            let refusal = Refusal::new(ErrorCode::InvalidParams, text);
            return Err(CallError::Refused(refusal).into());
        }
        let mut first_loss: Option<Instant> = None;
        loop {
            // The lock is released before the call.
            let client = self.session.lock().await.shared_client().await;
            let lost = match client {
                Ok(client) => match client.call_named(method, &call).await {
                    Err(error @ CallError::Disconnected) => error.into(),
                    outcome => return Ok(outcome?),
                },
                // The next supervisor is starting.
                Err(error) if first_loss.is_some() && is_absent(&error) => error,
                Err(error) => return Err(error),
            };
            if first_loss.get_or_insert_with(Instant::now).elapsed() >= REPEAT_LIMIT {
                return Err(lost);
            }
            tokio::time::sleep(pause()).await;
        }
    }
}

impl Session {
    /// A handle of the connection; replaces a connection that has closed.
    async fn shared_client(&mut self) -> Result<Client, SessionError> {
        let connection = self.connection.as_ref();
        if connection.is_some_and(|connection| connection.client.is_closed()) {
            let goodbye = self.closed().await;
            may_reconnect(goodbye, self.on_stop)?;
        }
        Ok(self.connected().await?.client.clone())
    }
}

fn is_absent(error: &SessionError) -> bool {
    matches!(error, SessionError::NotRunning) || error.is_unreachable()
}

/// [`REPEAT_PAUSE`] with jitter, because all calls lose the connection at the same moment.
fn pause() -> Duration {
    REPEAT_PAUSE.mul_f64(1.0 + random::fraction())
}
