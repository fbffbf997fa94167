//! What thinks: a language model behind one trait, whoever serves it. Called by the native engine.
//!
//! A model knows nothing of teams, tools or panes: it is given a [`Prompt`] and answers with an [`Answer`], told in
//! [`Delta`]s while it comes. Dropping the future of an answer cuts the connection.
//!
//! A reader who looks for …
//! - what a person may write for a model, and which providers there are: `name`, `provider`
//! - keys, base URLs, proxies: `open`, `key`; which model it is when none is named: `choose`
//! - windows and prices: `catalogue`
//! - the two interfaces that are spoken over HTTP: `http`
//! - asking again: `patience`; writing down and playing back: `recording`

pub mod catalogue;
pub mod choose;
mod http;
pub(crate) mod key;
pub mod name;
pub mod open;
pub mod patience;
pub mod provider;
pub mod recording;

use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::catalogue::Price;

/// One entry of a member's transcript: all that the model saw and said, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// Said to the model: a goal, a message, a task, a note of the runtime.
    Said {
        text: String,
    },
    Answered(Answer),
    /// What the calls of the answer before came to, in the order of those calls.
    Returned {
        results: Vec<ToolResult>,
    },
}

/// Everything that one answer is made from.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    pub system: &'a str,
    pub items: &'a [Item],
    pub tools: &'a [ToolSpec],
    /// The provider may search the web for it. Without effect where [`Model::searches`] says that it never does.
    pub search: bool,
}

/// A tool as it is offered to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON Schema of an object.
    pub input: serde_json::Value,
}

/// What a model said in one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Thoughts that must be shown to the same model again, as its provider gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thoughts: Vec<Thought>,
    #[serde(default)]
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// All of it as its provider gave it, where it holds what the rest does not: searches of the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbatim: Option<Verbatim>,
    pub stop: Stop,
    #[serde(default)]
    pub usage: Usage,
}

/// An answer in its provider's own blocks, which must be shown to the same model again as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verbatim {
    /// Who gave it, `provider/model`: any other model is shown the rest of the answer.
    pub by: String,
    pub blocks: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thought {
    pub text: String,
    /// What proves to the provider that the text is its own. Without text it belongs to the first call, or to a
    /// thought that the provider keeps to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The provider enciphered it: `signature` is all there is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// Who thought it, `provider/model`: no other model may be shown it.
    #[serde(default)]
    pub by: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's, unique within the transcript.
    pub id: String,
    pub name: String,
    /// The arguments as the model wrote them. They may not parse: that goes back to the model as an error.
    pub input: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// Of the call.
    pub id: String,
    pub text: String,
    #[serde(default)]
    pub failed: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    #[default]
    Finished,
    /// It wants its calls carried out.
    Calls,
    /// It was cut off at the longest answer that was allowed.
    Length,
    /// The provider refused to say more.
    Refused,
    /// The provider was busy with searches for long and wants to be asked again, for it to go on.
    Paused,
}

/// Whether a model's provider searches the web for it, when it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Searches {
    #[default]
    Never,
    /// The model is asked at a base URL that is not its provider's own: nobody knows.
    Perhaps,
    Yes,
}

/// Tokens of one answer, or the sum of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All that was read, cached or not.
    pub input: u64,
    pub output: u64,
    /// Of `input`, read from the provider's cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Of `input`, written to the provider's cache.
    #[serde(default)]
    pub cache_write: u64,
}

/// What is told while an answer comes.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    Thought(String),
    Text(String),
    /// The model begins a call; its arguments follow.
    Call {
        id: String,
        name: String,
    },
    /// More of the arguments of the call `id`.
    Input {
        id: String,
        fragment: String,
    },
    /// The provider has searched the web: the query, and what it found, or why it found nothing.
    Searched {
        id: String,
        query: String,
        found: String,
    },
    /// The provider is asked again later; all that was told of this answer is void.
    Waiting {
        pause: Duration,
        why: String,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No restart helps: the key is missing, wrong or may not use the model.
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
    /// The transcript must be made shorter.
    #[error("the conversation is longer than the model's window: {0}")]
    TooLong(String),
    /// Worth another attempt; `after` is the pause that the provider named.
    #[error("{provider} is busy ({status}): {message}")]
    Busy {
        provider: String,
        status: u16,
        message: String,
        after: Option<Duration>,
    },
    /// Worth another attempt: nobody answered, or the answer was cut off.
    #[error("cannot reach {url}")]
    Unreachable {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What came is not what the provider's interface says; `shown` is its harmless beginning.
    #[error("{url} did not answer as a model does: {why}: {shown}")]
    Nonsense {
        url: String,
        why: String,
        shown: String,
    },
    /// The request was refused for another reason, which no repetition changes.
    #[error("{provider} refused the request ({status}): {message}")]
    Refused {
        provider: String,
        status: u16,
        message: String,
    },
    /// A recording does not hold this exchange, or could not take it: a sentence that names the file.
    #[error("{0}")]
    Unrecorded(String),
}

/// A future that may be sent to another thread.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, ModelError>> + Send + 'a>>;

/// Something that answers prompts.
pub trait Model: Send + Sync + std::fmt::Debug {
    /// `provider/model`.
    fn name(&self) -> &str;

    /// Tokens that prompt and answer together may have.
    fn window(&self) -> u64;

    /// What its tokens cost. Without one nobody knows, and what it spends is told as unknown.
    fn price(&self) -> Option<Price> {
        None
    }

    /// Whether its provider searches the web.
    fn searches(&self) -> Searches {
        Searches::Never
    }

    /// Asks for one answer. `told` hears of it while it comes, and must not block.
    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        told: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a>;
}
