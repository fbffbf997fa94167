//! Why a session cannot complete a call.

use std::io;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::{ErrorCode, Refusal, with_causes};
use agent_team_system::directories::DirectoriesError;

use crate::client::{CallError, ConnectError};
use crate::connect::ConnectOrStartError;

/// Why a call of a [`Session`](super::Session) failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Directories(#[from] DirectoriesError),
    #[error("cannot read {what}")]
    Read { what: String, source: io::Error },
    #[error(transparent)]
    Connect(#[from] ConnectOrStartError),
    /// The supervisor refused the call or closed the connection, or its answer cannot be decoded.
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("cannot send the request to the supervisor: it is larger than 1 MiB")]
    TooLarge,
    /// No team exists. The call needs a team, so the session started no supervisor.
    #[error("no team exists on this machine")]
    NoTeams,
    #[error("no supervisor is running")]
    NotRunning,
    /// The user stopped the supervisor during the call, and the call must not start another supervisor.
    #[error("the supervisor was stopped")]
    Stopped,
}

/// Returns the supervisor's refusal if the error contains one; otherwise an internal error with this error and its
/// causes.
impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        if let SessionError::Call(CallError::Refused(refusal))
        | SessionError::Connect(
            ConnectOrStartError::Settings(refusal)
            | ConnectOrStartError::Connect(ConnectError::Refused(refusal)),
        ) = error
        {
            return refusal;
        }
        Self::internal(with_causes(&error))
    }
}

impl SessionError {
    /// Whether the supervisor refused the call with this code.
    pub fn has_code(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Call(CallError::Refused(refusal)) if refusal.code == code)
    }

    /// Whether the supervisor cannot be reached or speaks another protocol version.
    pub(super) fn is_unreachable(&self) -> bool {
        let Self::Connect(error) = self else {
            return false;
        };
        match error {
            ConnectOrStartError::Connect(ConnectError::Refused(refusal))
            | ConnectOrStartError::Settings(refusal) => {
                refusal.code.exit() == ExitCode::Unreachable
            }
            ConnectOrStartError::Connect(_)
            | ConnectOrStartError::Binary(_)
            | ConnectOrStartError::Start(_)
            | ConnectOrStartError::Lock(_) => true,
        }
    }
}
