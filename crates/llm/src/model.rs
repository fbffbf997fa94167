//! The trait of a language model, its input and its output. Implemented by the HTTP clients, their layers and the
//! recordings of this crate, and by embedding programs.
//!
//! A model does not depend on teams, panes or the code of tools: it receives a [`Prompt`] and returns an [`Answer`],
//! with [`Delta`]s while the answer streams in. Dropping the future of an answer closes the connection.

use std::pin::Pin;
use std::time::Duration;

use agent_team_protocol::spec::Wire;
use agent_team_protocol::value::Effort;
use serde::{Deserialize, Serialize};

use crate::media::{Media, MediaSupport};
use crate::usage::{Price, Usage};

/// One entry of a member's transcript. Together with the system text and the tools, the entries contain everything that
/// the model received and answered, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// Input for the model: a goal, a message, a task, a note of the runtime.
    #[serde(rename = "said")]
    Input {
        text: String,
    },
    /// Images and PDFs that the input before this entry names.
    Shown {
        media: Vec<Media>,
    },
    Answered(Answer),
    /// The results of the previous answer's calls, in the order of those calls.
    Returned {
        results: Vec<ToolResult>,
    },
}

/// The complete input of one request to a model.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    pub system: &'a str,
    pub items: &'a [Item],
    pub tools: &'a [ToolSpec],
    /// Permits the provider to search the web. No effect if [`Model::search_support`] is `Unsupported`.
    pub search: bool,
    /// How much the model thinks for this answer. `None`: as configured when the model was opened.
    pub effort: Option<Effort>,
}

/// A tool as it is offered to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of an object.
    pub input: serde_json::Value,
}

/// The model's output in one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The model's thoughts, for display. Some APIs require later requests to repeat them; `verbatim` contains them in
    /// the provider's format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thoughts: Vec<Thought>,
    #[serde(default)]
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// The answer in the provider's format, if it contains data that the other fields do not: signed thoughts, the
    /// provider's own searches, or another order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbatim: Option<Verbatim>,
    pub stop: Stop,
    #[serde(default)]
    pub usage: Usage,
}

/// An answer in the provider's own blocks, which must be sent back to the same model unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verbatim {
    /// The author as `provider/model`. Other models receive only the rest of the answer.
    pub by: String,
    /// The API of the blocks. Another API receives only the rest of the answer. `None`: the API that the provider and
    /// the model use without a setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
    pub blocks: Vec<serde_json::Value>,
    /// The digest of everything before the answer in the request that produced it. Thoughts among the blocks are sent
    /// back only after the same prefix. `None`: they are never sent back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

impl Answer {
    /// Whether the provider has searched the web for this answer.
    pub fn has_searched(&self) -> bool {
        let is_search = |block: &serde_json::Value| block["type"] == "server_tool_use";
        let verbatim = self.verbatim.as_ref();
        verbatim.is_some_and(|verbatim| verbatim.blocks.iter().any(is_search))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thought {
    pub text: String,
    /// The provider's proof that its model produced the answer's first call. Only for a thought without text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The author as `provider/model`. Other models must not receive the thought.
    #[serde(default)]
    pub by: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Unique within the transcript: the provider's id, or a generated id if the provider omits or repeats ids.
    pub id: String,
    pub name: String,
    /// The arguments as the model wrote them. They may be invalid, which is reported to the model.
    pub input: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    pub text: String,
    #[serde(default)]
    pub failed: bool,
    /// The images and PDFs that the result shows to a model that accepts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    #[default]
    Finished,
    /// The model has made calls and waits for their results.
    Calls,
    /// The answer reached the length limit.
    Length,
    /// The provider refused to continue.
    Refused,
    /// The provider paused a long search and expects another request to continue.
    Paused,
}

/// Whether a model's provider can search the web.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SearchSupport {
    #[default]
    Unsupported,
    /// Unknown: the base URL is not the provider's own.
    Unknown,
    Supported,
}

/// A piece of a streaming answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    Thought(String),
    Text(String),
    /// A call begins; its arguments follow.
    Call {
        id: String,
        name: String,
    },
    /// More of the arguments of the call `id`.
    Input {
        id: String,
        fragment: String,
    },
    /// The provider has searched the web: the query, and the results or the failure.
    Searched {
        id: String,
        query: String,
        found: String,
    },
    /// The request is retried later; all previous deltas of this answer are void.
    Waiting {
        pause: Duration,
        why: String,
    },
    /// Another model answers from now on; all previous deltas of this answer are void.
    Replaced {
        by: String,
        why: String,
    },
}

/// Why a model returned no answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A restart cannot help: the key is missing, invalid or not permitted to use the model.
    #[error("{provider} does not accept the key ({status}): {message}")]
    Unauthenticated {
        provider: String,
        status: u16,
        message: String,
    },
    #[error("{provider} has no model {model}: {message}")]
    UnknownModel {
        provider: String,
        model: String,
        message: String,
    },
    /// The prompt exceeds the model's window: the transcript must be shortened.
    #[error("the conversation is longer than the model's window: {0}")]
    TooLong(String),
    /// A retry may succeed. `after` is the pause that the provider requested.
    #[error("{provider} is busy ({status}): {message}")]
    Busy {
        provider: String,
        status: u16,
        message: String,
        after: Option<Duration>,
    },
    /// There is no response, or only a truncated one. A retry may succeed.
    #[error("cannot get a complete response from {url}")]
    Unreachable {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The response violates the provider's API. `shown` is its beginning with control characters escaped.
    #[error("{url} returned an invalid response: {why}: {shown}")]
    InvalidResponse {
        url: String,
        why: String,
        shown: String,
    },
    /// The provider refused the request for another reason; a retry cannot help.
    #[error("{provider} refused the request ({status}): {message}")]
    Refused {
        provider: String,
        status: u16,
        message: String,
    },
    /// The recording does not contain this exchange, or could not be written. The text names the file.
    #[error("{0}")]
    Unrecorded(String),
}

impl ModelError {
    /// The kind of failure, for the log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::UnknownModel { .. } => "unknown_model",
            Self::TooLong(_) => "too_long",
            Self::Busy { .. } => "busy",
            Self::Unreachable { .. } => "unreachable",
            Self::InvalidResponse { .. } => "invalid_response",
            Self::Refused { .. } => "refused",
            Self::Unrecorded(_) => "unrecorded",
        }
    }
}

/// The future of an answer; it can be sent to another thread.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, ModelError>> + Send + 'a>>;

/// A language model.
pub trait Model: Send + Sync + std::fmt::Debug {
    /// `provider/model`.
    fn name(&self) -> &str;

    /// The size of the context window in tokens, for prompt and answer together.
    fn window(&self) -> u64;

    /// The price of the model's tokens. `None`: the price is unknown, and so is the cost of its answers.
    fn price(&self) -> Option<Price> {
        None
    }

    /// Whether the API parses tool calls and thoughts: a call in the text of an answer is then only text.
    fn parses_calls(&self) -> bool {
        false
    }

    /// Whether the provider can search the web.
    fn search_support(&self) -> SearchSupport {
        SearchSupport::Unsupported
    }

    /// Whether the model accepts images and PDFs.
    fn media_support(&self) -> MediaSupport {
        MediaSupport::default()
    }

    /// Problems of the configuration that do not prevent answers, for the user.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Requests one answer. `on_delta` receives its deltas and must not block.
    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a>;
}
