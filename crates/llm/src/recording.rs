//! Recording and replay of exchanges with a model. Called when a member's model is opened: [`Recorder`] for `--record`,
//! [`Replay`] for `replay:FILE`.
//!
//! # The file
//! JSON lines, mode 0600. The first line is `{"recording":"agent-team","version":1}`; every other line is an exchange
//! of one member. Members of a team that run at the same time append to the same file:
//! ```json
//! {"member":"ada","exchange":3,"model":"openai/gpt-5","window":400000,"answered":2,"last":"returned",
//!  "tools":["bash","read"],"digest":"9f86d081884c7d65","outcome":{"answer":{"text":"…","stop":"finished"}}}
//! ```
//! `exchange` numbers the member's exchanges from 1, across restarts. `answered` is the number of answers in the
//! prompt. `last` is the kind of the prompt's last item. `digest` is the first 8 bytes of the SHA-256 of the prompt's
//! stable parts: the system text, and the tools with their descriptions and schemas. The outcome is `answer`, or
//! `too_long` with the provider's text, after which the member shortens its conversation. Other failures are not
//! recorded: they are transient, or end the turn. The exchanges of each helper of a member have a name of their own,
//! such as `ada/3f2a90c1`, in place of the member's name.
//!
//! # Matching
//! A member's exchanges are replayed in order. A prompt matches if it has the same tool names as the recorded prompt,
//! and the same kind of last item; input and results count as the same kind. Texts are not compared, since ids, paths,
//! times and other members' texts differ between runs. The digest is not compared either; a mismatch error shows
//! the digests of the recording and of the prompt if they differ. A restarted member continues after the exchange that
//! recorded the last answer in its prompt, or after the exchange that recorded the summary at the beginning of its
//! prompt.

mod recorder;
mod replay;

use agent_team_protocol::text::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::{Answer, Item, Prompt};

pub use recorder::Recorder;
pub use replay::{Replay, ReplayError, Speed};

const RECORDING: &str = "agent-team";
const VERSION: u32 = 1;

/// The name under which the exchanges of a helper are recorded. It depends only on the question: helpers run at the same
/// time, so a number would differ between runs.
pub fn helper_name(member: &str, question: &str) -> String {
    let digest = Sha256::digest(question);
    format!("{member}/{}", hex(&digest[..4]))
}

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    recording: String,
    version: u32,
}

impl Header {
    fn ours() -> Self {
        Self {
            recording: RECORDING.to_owned(),
            version: VERSION,
        }
    }
}

/// Any other line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Exchange {
    member: String,
    exchange: usize,
    model: String,
    window: u64,
    answered: usize,
    last: Last,
    tools: Vec<String>,
    digest: String,
    outcome: Outcome,
}

impl Exchange {
    /// Returns whether the exchange asked for the summary of a conversation. Such an exchange is not part of the
    /// conversation itself.
    fn is_summary(&self) -> bool {
        self.tools.is_empty() && self.answered == 0
    }

    fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answer(answer) => Some(answer),
            Outcome::TooLong(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Answer(Answer),
    TooLong(String),
}

/// The kind of the last item of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Last {
    Nothing,
    #[serde(rename = "said")]
    Input,
    Answered,
    Returned,
}

impl Last {
    /// Messages arrive at any time, before or after the results of a call, so input and results are interchangeable.
    fn matches(self, other: Self) -> bool {
        let is_input = |last| matches!(last, Self::Input | Self::Returned);
        self == other || (is_input(self) && is_input(other))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Input => "input",
            Self::Answered => "answered",
            Self::Returned => "returned",
        }
    }
}

/// The recorded properties of a prompt.
#[derive(Debug)]
struct Shape {
    answered: usize,
    last: Last,
    tools: Vec<String>,
    digest: String,
}

impl Shape {
    fn of(prompt: &Prompt<'_>) -> Self {
        let answers = prompt.items.iter();
        let answers = answers.filter(|item| matches!(item, Item::Answered(_)));
        let mut digest = Sha256::new();
        digest.update(prompt.system);
        for tool in prompt.tools {
            // The zero bytes separate the texts: names and descriptions contain none.
            digest.update(format!(
                "\0{}\0{}\0{}",
                tool.name, tool.description, tool.input
            ));
        }
        Self {
            answered: answers.count(),
            last: match prompt.items.last() {
                None => Last::Nothing,
                Some(Item::Input { .. } | Item::Shown { .. }) => Last::Input,
                Some(Item::Answered(_)) => Last::Answered,
                Some(Item::Returned { .. }) => Last::Returned,
            },
            tools: prompt.tools.iter().map(|tool| tool.name.clone()).collect(),
            digest: hex(&digest.finalize()[..8]),
        }
    }
}

/// The exchanges of a recording, with line numbers.
fn read(text: &str) -> Result<Vec<(usize, Exchange)>, Unreadable> {
    let mut lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let header: Header = match lines.next() {
        Some((_, line)) => serde_json::from_str(line).map_err(|_| Unreadable::Foreign)?,
        None => return Err(Unreadable::Foreign),
    };
    if header.recording != RECORDING {
        return Err(Unreadable::Foreign);
    }
    if header.version != VERSION {
        return Err(Unreadable::Version(header.version));
    }
    lines
        .map(|(number, line)| match serde_json::from_str(line) {
            Ok(exchange) => Ok((number, exchange)),
            Err(error) => Err(Unreadable::Line(number, error)),
        })
        .collect()
}

/// Why a file cannot be read as a recording.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the first line is not the header of a recording")]
    Foreign,
    #[error("unsupported version {0}; this program reads version {VERSION}")]
    Version(u32),
    #[error("line {0} is not an exchange: {1}")]
    Line(usize, serde_json::Error),
}
