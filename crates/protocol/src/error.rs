//! Why something was refused, in a form that programs compare and people read.

use serde::{Deserialize, Serialize};

use crate::exit::ExitCode;

/// A refusal: a code, a sentence, and often what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[error("{message}")]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn parse_error(error: &serde_json::Error) -> Self {
        Self::new(
            ErrorCode::ParseError,
            format!("the frame is not JSON-RPC: {error}"),
        )
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    pub fn invalid_params(method: &str, error: &serde_json::Error) -> Self {
        Self::new(
            ErrorCode::InvalidParams,
            format!("invalid parameters for {method}: {error}"),
        )
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }
}

/// An error with what led to it, as one line for a person or a log.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident => $exit:ident,)*) => {
        /// What went wrong, as a word on the wire. A word that this build does not know reads as `unknown`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $($(#[$doc])* $code,)*
            #[serde(other)]
            Unknown,
        }

        impl ErrorCode {
            /// The exit code of a command that ends with this.
            pub fn exit(self) -> ExitCode {
                match self {
                    $(Self::$code => ExitCode::$exit,)*
                    Self::Unknown => ExitCode::Failed,
                }
            }
        }
    };
}

codes! {
    // The connection.
    ParseError => Bug,
    InvalidRequest => Bug,
    MethodNotFound => Bug,
    InvalidParams => Bug,
    FrameTooLarge => Usage,
    /// Neither side's protocol versions include one of the other's.
    VersionSkew => Unreachable,
    /// The token is not that of a living launch, or another process holds it.
    Unauthenticated => Denied,
    /// The subscriber did not read fast enough; it resumes from its last revision.
    SlowConsumer => Failed,
    Internal => Bug,

    // What was asked for is malformed.
    Invalid => Usage,
    UnknownDependency => Usage,
    DependencyCycle => Usage,
    /// This build knows the word but does not carry it out yet.
    NotCarriedOut => Usage,
    AmbiguousTeam => Usage,
    MessageTooLarge => Usage,
    ResultTooLarge => Usage,

    // What was asked for is not there.
    UnknownTeam => NotFound,
    UnknownMember => NotFound,
    UnknownMessage => NotFound,
    UnknownTask => NotFound,
    UnknownRequest => NotFound,
    UnknownGrant => NotFound,
    UnknownRole => NotFound,
    UnknownRun => NotFound,

    // The state does not allow it.
    AlreadyClaimed => Refused,
    Blocked => Refused,
    StaleClaim => Refused,
    NotOwner => Refused,
    NotClaimable => Refused,
    WrongState => Refused,
    NothingToClaim => Refused,
    NameTaken => Refused,
    TooManyMembers => Refused,
    /// Another goal is being worked at.
    RunUnderWay => Refused,
    /// No goal is being worked at.
    NoRun => Refused,
    /// A run is not finished while its tasks are not.
    TasksOpen => Refused,
    MemoryFull => Refused,
    TeamRunning => Refused,
    TeamDown => Refused,
    PlacementUnavailable => Refused,
    NoPane => Refused,
    KeyReused => Refused,
    /// The member was asked to end and does not want to.
    Objected => Refused,
    /// A plan of this member must be approved before.
    PlanFirst => Refused,
    /// A hook or a `verify` line did not let the task complete.
    CompletionRefused => Refused,
    /// Retry when the recipient has read some.
    InboxFull => Refused,
    /// Nothing was stored and nothing changed; stopping and reading still work.
    StorageFull => Refused,
    /// The store does not answer for what it holds; see the hint.
    StorageFailed => Failed,
    ShuttingDown => Refused,
    /// This connection, or all of them together, have as many calls or connections as the supervisor takes.
    TooManyCalls => Refused,
    /// Nobody works at the run any more; it goes on when the lead does.
    LeadEnded => Failed,

    /// Somebody decided it before.
    AlreadyDecided => Refused,
    /// The rules given do not cover what was asked.
    NotCovered => Usage,
    /// It was not allowed, or is used up.
    NotAllowed => Denied,

    /// Only the user, the lead or the owner may do this.
    NotPermitted => Denied,
}

impl ErrorCode {
    /// The number that JSON-RPC wants beside the word.
    pub fn json_rpc(self) -> i32 {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "JSON-RPC numbers five of its own; ours share one"
        )]
        match self {
            Self::ParseError => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            _ => -32000,
        }
    }
}
