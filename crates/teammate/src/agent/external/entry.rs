//! The entries of an external agent's transcript. The loop appends them, and reads them at the start of a launch.

use agent_team_protocol::method::{ReadTranscript, TranscriptRead};
use agent_team_tools::team::without_middle;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::agent::conversation::{End, cannot};
use crate::hosted::team_handle::TeamHandle;

/// The largest text of an entry of the transcript, in bytes.
const ENTRY_MAX: usize = 64 << 10;

/// An entry of the transcript.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// The id of a session that the agent has opened.
    Session(String),
    /// A prompt, or a message during a turn.
    Sent(String),
    /// The agent's text in a turn.
    Answer(String),
    /// The cost of the session so far, in millionths of a dollar.
    Cost(u64),
}

/// A session that an earlier launch has opened.
pub(super) struct EarlierSession {
    pub(super) id: String,
    /// The session has received a prompt: the first prompt contains the team's rules.
    pub(super) is_briefed: bool,
    /// The last turn of the session has not ended.
    pub(super) is_open: bool,
    /// See [`Entry::Cost`].
    pub(super) cost: u64,
}

impl Entry {
    pub(super) fn stored(self) -> Box<RawValue> {
        let cut = |text: String| without_middle(text, ENTRY_MAX);
        let entry = match self {
            Self::Session(_) | Self::Cost(_) => self,
            Self::Sent(text) => Self::Sent(cut(text)),
            Self::Answer(text) => Self::Answer(cut(text)),
        };
        to_raw_value(&entry).expect("the entry has string keys")
    }
}

/// The session that an earlier launch of the member has opened last.
///
/// # Errors
/// If the transcript cannot be read.
pub(super) async fn earlier_session(team: &TeamHandle) -> Result<Option<EarlierSession>, End> {
    let (mut after, mut session) = (0, None::<EarlierSession>);
    loop {
        let args = ReadTranscript {
            member: None,
            after,
        };
        let page = team.call::<TranscriptRead>(&args).await;
        let page = page.map_err(|refusal| cannot("cannot read the transcript", &refusal))?;
        after += page.items.len() as u64;
        for item in &page.items {
            // Entries of another engine are skipped.
            let Ok(entry) = serde_json::from_str(item.get()) else {
                continue;
            };
            match (entry, &mut session) {
                (Entry::Session(id), session) => {
                    *session = Some(EarlierSession {
                        id,
                        is_briefed: false,
                        is_open: false,
                        cost: 0,
                    });
                }
                (Entry::Sent(_), Some(session)) => {
                    (session.is_briefed, session.is_open) = (true, true);
                }
                (Entry::Answer(_), Some(session)) => session.is_open = false,
                (Entry::Cost(cost), Some(session)) => session.cost = cost,
                (Entry::Sent(_) | Entry::Answer(_) | Entry::Cost(_), None) => {}
            }
        }
        if !page.more || page.items.is_empty() {
            return Ok(session);
        }
    }
}
