//! The RPC handle with which a member's tools call the supervisor, over the member's current connection.
//!
//! The worker's loop keeps a call until it is answered, and repeats it with its idempotency key on every new
//! connection. A restart of the supervisor is therefore only a delay for the caller.

use agent_team_protocol::id::MemberName;
use agent_team_protocol::method::Method;
use agent_team_protocol::{ErrorCode, Refusal, RoleName};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

/// One member's handle to the supervisor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SupervisorClient {
    pub member: MemberName,
    pub role: RoleName,
    pub lead: bool,
    // Unbounded: a model makes few calls, and waits for each call.
    calls: mpsc::UnboundedSender<ClientCall>,
}

/// An outgoing call. The worker's loop, which owns the connection, sends it.
#[derive(Debug)]
pub struct ClientCall {
    pub method: &'static str,
    /// The method's arguments as JSON.
    pub args: Box<RawValue>,
    pub answer: oneshot::Sender<Result<Box<RawValue>, Refusal>>,
}

impl SupervisorClient {
    /// Creates the handle and the receiver of its calls.
    pub fn new(
        member: MemberName,
        role: RoleName,
        lead: bool,
    ) -> (Self, mpsc::UnboundedReceiver<ClientCall>) {
        let (calls, receiver) = mpsc::unbounded_channel();
        let client = Self {
            member,
            role,
            lead,
            calls,
        };
        (client, receiver)
    }

    /// Calls the supervisor and waits for its answer, across restarts of the supervisor.
    ///
    /// # Errors
    /// The supervisor's refusal; `ShuttingDown` if this member is ending; `Internal` if the arguments or the answer
    /// cannot be converted.
    pub async fn call<M: Method>(&self, args: &M::Args) -> Result<M::Answer, Refusal> {
        let args = serde_json::value::to_raw_value(args)
            .map_err(|error| Refusal::internal(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let call = ClientCall {
            method: M::NAME,
            args,
            answer,
        };
        let ending = || Refusal::new(ErrorCode::ShuttingDown, "this member is ending");
        self.calls.send(call).map_err(|_| ending())?;
        let answer = answered.await.map_err(|_| ending())??;
        serde_json::from_str(answer.get()).map_err(|error| Refusal::internal(error.to_string()))
    }
}
