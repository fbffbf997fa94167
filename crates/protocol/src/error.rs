//! Refusals: an error code for programs, and a message and a hint for users.

use serde::{Deserialize, Serialize};

use crate::exit::ExitCode;

/// A refusal: a code, a message, and often a hint.
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

    pub fn unknown_method(method: &str) -> Self {
        let text = format!("unknown method {method}");
        Self::new(ErrorCode::MethodNotFound, text)
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

/// An error and its causes on one line.
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
        /// The kind of an error. A code that this build does not know is parsed as `unknown`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $($(#[$doc])* $code,)*
            #[serde(other)]
            Unknown,
        }

        impl ErrorCode {
            /// The exit code of a command that fails with this error.
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
    /// The two sides have no protocol version in common.
    VersionSkew => Unreachable,
    /// The token does not belong to a living launch, or another process uses the token.
    Unauthenticated => Denied,
    /// The subscriber did not read fast enough; it resumes from its last revision.
    SlowConsumer => Failed,
    Internal => Bug,

    // The request is malformed.
    Invalid => Usage,
    UnknownDependency => Usage,
    DependencyCycle => Usage,
    /// This build does not support a value of the call, for example an engine of a newer version.
    NotCarriedOut => Usage,
    AmbiguousTeam => Usage,
    MessageTooLarge => Usage,
    ResultTooLarge => Usage,

    // The requested object does not exist.
    UnknownTeam => NotFound,
    UnknownMember => NotFound,
    UnknownMessage => NotFound,
    UnknownTask => NotFound,
    UnknownRequest => NotFound,
    UnknownGrant => NotFound,
    UnknownRole => NotFound,
    UnknownRun => NotFound,

    // The current state does not allow the request.
    AlreadyClaimed => Refused,
    Blocked => Refused,
    StaleClaim => Refused,
    NotOwner => Refused,
    NotClaimable => Refused,
    WrongState => Refused,
    NothingToClaim => Refused,
    NameTaken => Refused,
    TooManyMembers => Refused,
    /// Another goal is in progress.
    RunUnderWay => Refused,
    /// No goal is in progress.
    NoRun => Refused,
    /// A run cannot finish while its tasks are open.
    TasksOpen => Refused,
    MemoryFull => Refused,
    TeamRunning => Refused,
    TeamDown => Refused,
    PlacementUnavailable => Refused,
    NoPane => Refused,
    KeyReused => Refused,
    /// The member was asked to stop and objected.
    Objected => Refused,
    /// The member must have a plan approved first.
    PlanFirst => Refused,
    /// The `task_completed` hook refused the completion.
    CompletionRefused => Refused,
    /// Retry after the recipient has read some messages.
    InboxFull => Refused,
    /// Nothing was stored and nothing changed; stopping and reading still work.
    StorageFull => Refused,
    /// The store cannot guarantee its contents; see the hint.
    StorageFailed => Failed,
    ShuttingDown => Refused,
    /// Too many clients are connected, or too many calls of this connection wait.
    TooManyCalls => Refused,

    /// The request was already decided.
    AlreadyDecided => Refused,
    /// The rules in the decision do not cover the request.
    NotCovered => Usage,
    /// The request was not allowed, or its permission was already consumed.
    NotAllowed => Denied,

    /// The caller may not make this call, or not with these arguments.
    NotPermitted => Denied,
}

impl ErrorCode {
    /// JSON-RPC's numeric error code.
    pub fn json_rpc(self) -> i32 {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "JSON-RPC defines five codes; all other codes share one number"
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
