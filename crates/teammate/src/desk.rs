//! Where the team's tools make their calls: the member's own connection, whichever it is at the moment.
//!
//! A call is kept until it is answered and made again, with its key, on every new connection: the supervisor may die
//! meanwhile and nobody here notices more than a pause.

use agent_team_protocol::id::MemberName;
use agent_team_protocol::method::Method;
use agent_team_protocol::{ErrorCode, Refusal, RoleName};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

/// One member's way to the supervisor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    pub member: MemberName,
    pub role: RoleName,
    pub lead: bool,
    // Unbounded: a model makes few calls, and waits for each.
    calls: mpsc::UnboundedSender<DeskCall>,
}

/// A call on its way out; whoever holds the connection makes it.
#[derive(Debug)]
pub struct DeskCall {
    pub method: &'static str,
    /// JSON of the method's arguments.
    pub args: Box<RawValue>,
    pub answer: oneshot::Sender<Result<Box<RawValue>, Refusal>>,
}

impl Desk {
    /// The desk, and where its calls come out.
    pub fn new(
        member: MemberName,
        role: RoleName,
        lead: bool,
    ) -> (Self, mpsc::UnboundedReceiver<DeskCall>) {
        let (calls, made) = mpsc::unbounded_channel();
        let desk = Self {
            member,
            role,
            lead,
            calls,
        };
        (desk, made)
    }

    /// Calls the supervisor and waits for its answer, over restarts of it.
    ///
    /// # Errors
    /// What the supervisor refuses; `ShuttingDown` when this member ends.
    pub async fn call<M: Method>(&self, args: &M::Args) -> Result<M::Answer, Refusal> {
        let args = serde_json::value::to_raw_value(args)
            .map_err(|error| Refusal::internal(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let call = DeskCall {
            method: M::NAME,
            args,
            answer,
        };
        let over = || Refusal::new(ErrorCode::ShuttingDown, "this member ends");
        self.calls.send(call).map_err(|_| over())?;
        let answer = answered.await.map_err(|_| over())??;
        serde_json::from_str(answer.get()).map_err(|error| Refusal::internal(error.to_string()))
    }
}
