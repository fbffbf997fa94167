//! Everything that the model saw and said, as it is asked with and as it is stored. Pure. Called by the mind.
//!
//! ```text
//! stored:  Said  Answered  Returned  Said  …  summarised{kept: 2}  Answered  rested
//! shown:   ─────── replaced by the summary ──────┘ (but the 2 before it)
//! ```
//! The supervisor's copy only grows; marks among its items say how a reader gets from it to what the model is shown.

use agent_team_protocol::RunId;
use agent_team_protocol::method::ITEM_MAX;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::say;
use crate::model::catalogue::Price;
use crate::model::{Answer, Item, Prompt, ToolResult, Usage};

/// Bytes that a token stands for, roughly, in what no model has counted yet.
const TOKEN_BYTES: u64 = 4;

/// Entries of the stored transcript that no model is shown as they are.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Mark {
    /// All items so far but the last `kept` ones are replaced by this text.
    Summarised { text: String, kept: usize },
    /// A question of a run that goes by rounds. Its text takes the place of the run's question before, and the first
    /// one of everything before it.
    Asked { asked: Asked, text: String },
    /// The turn is over.
    Rested,
}

/// Which question of a run that goes by rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) run: RunId,
    pub(super) round: u32,
}

/// An entry of a transcript that this build cannot read.
#[derive(Debug, thiserror::Error)]
#[error("entry {number} of the transcript cannot be read by this build: {source}")]
pub(super) struct Unreadable {
    number: u64,
    source: serde_json::Error,
}

#[derive(Debug, Default)]
pub(super) struct Transcript {
    items: Vec<Item>,
    entries: u64,
    rested: bool,
    /// The last question, and its place among the items.
    asked: Option<(Asked, usize)>,
    /// Tokens of the first so many items with everything else of a prompt, as a model counted them.
    counted: Option<(usize, u64)>,
}

impl Transcript {
    /// Takes up entries in the order in which they were stored.
    pub(super) fn read(&mut self, entries: &[Box<RawValue>]) -> Result<(), Unreadable> {
        for entry in entries {
            let unreadable = |source| Unreadable {
                number: self.entries + 1,
                source,
            };
            // A mark is the rarer one.
            match serde_json::from_str::<Item>(entry.get()) {
                Ok(item) => self.push(item),
                Err(item_error) => match serde_json::from_str::<Mark>(entry.get()) {
                    Ok(mark) => self.mark(mark),
                    Err(_) => return Err(unreadable(item_error)),
                },
            }
        }
        Ok(())
    }

    pub(super) fn push(&mut self, item: Item) {
        // The counts of one that searched are of all that was read on the way, often more than once.
        if let Item::Answered(Answer {
            usage,
            verbatim: None,
            ..
        }) = &item
            && usage.input > 0
        {
            self.counted = Some((self.items.len() + 1, usage.input + usage.output));
        }
        self.entries += 1;
        self.rested = false;
        self.items.push(item);
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        self.entries += 1;
        match mark {
            Mark::Summarised { text, kept } => {
                self.items.drain(..self.items.len().saturating_sub(kept));
                self.items.insert(0, Item::Said { text });
                self.counted = None;
                self.asked = None;
            }
            Mark::Asked { asked, text } => {
                match self.asked {
                    Some((before, place)) if before.run == asked.run => {
                        let text = say::asked_before(before.round);
                        self.items[place] = Item::Said { text };
                    }
                    Some(_) | None => self.items.clear(),
                }
                self.asked = Some((asked, self.items.len()));
                self.items.push(Item::Said { text });
                self.counted = None;
                self.rested = false;
            }
            Mark::Rested => self.rested = true,
        }
    }

    /// Everything that the model is shown.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Entries read or stored so far.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// A turn was begun and did not come to its end.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.rested && self.entries > 0
    }

    /// What the model has answered to this question, if it has.
    pub(super) fn answer_to(&self, asked: Asked) -> Option<&Answer> {
        match (self.asked, self.items.last()) {
            (Some((last, _)), Some(Item::Answered(answer))) if last == asked => Some(answer),
            _ => None,
        }
    }

    /// What the calls that were under way when the process ended came to: nobody knows. They are never made again.
    pub(super) fn lost_calls(&self) -> Option<Item> {
        let Some(Item::Answered(answer)) = self.items.last() else {
            return None;
        };
        if answer.calls.is_empty() {
            return None;
        }
        let results = answer.calls.iter().map(|call| ToolResult {
            id: call.id.clone(),
            text: say::LOST_CALL.into(),
            failed: true,
        });
        Some(Item::Returned {
            results: results.collect(),
        })
    }

    /// Tokens that asking with this costs, about.
    pub(super) fn tokens(&self, prompt: Prompt<'_>) -> u64 {
        let (from, counted) = self.counted.unwrap_or_else(|| {
            let tools = prompt.tools.iter().map(|tool| {
                tool.name.len() + tool.description.len() + tool.input.to_string().len()
            });
            let around = prompt.system.len() + tools.sum::<usize>();
            (0, around as u64 / TOKEN_BYTES)
        });
        let rest: u64 = self.items[from..].iter().map(weight).sum();
        counted + rest
    }

    /// How many of the newest items have at most so many tokens together. They never begin with results, whose calls
    /// would be missing.
    pub(super) fn newest(&self, tokens: u64) -> usize {
        let mut left = tokens;
        let mut kept = 0;
        for (count, item) in (1..).zip(self.items.iter().rev()) {
            match left.checked_sub(weight(item)) {
                Some(rest) => left = rest,
                None => break,
            }
            if !matches!(item, Item::Returned { .. }) {
                kept = count;
            }
        }
        kept
    }
}

fn weight(item: &Item) -> u64 {
    bytes(item) as u64 / TOKEN_BYTES + 1
}

fn bytes(item: &Item) -> usize {
    match item {
        Item::Said { text } => text.len(),
        Item::Answered(answer) => {
            if let Some(verbatim) = &answer.verbatim {
                let blocks = verbatim.blocks.iter().map(|block| block.to_string().len());
                return blocks.sum();
            }
            let thoughts = answer.thoughts.iter().map(|thought| thought.text.len());
            let calls = answer
                .calls
                .iter()
                .map(|call| call.name.len() + call.input.len());
            answer.text.len() + thoughts.sum::<usize>() + calls.sum::<usize>()
        }
        Item::Returned { results } => results.iter().map(|result| result.text.len()).sum(),
    }
}

/// The item as it is stored. One that is too long for that is made shorter first, for the model too.
pub(super) fn stored(item: &mut Item) -> Box<RawValue> {
    loop {
        let json = raw(item);
        if json.get().len() <= ITEM_MAX {
            return json;
        }
        shorten(item);
    }
}

pub(super) fn raw(entry: &impl Serialize) -> Box<RawValue> {
    to_raw_value(entry).expect("entries have string keys and no failing serializers")
}

/// Halves the longest of its texts. A call's arguments do not parse then, which is said to the model.
fn shorten(item: &mut Item) {
    let longest = match item {
        Item::Said { text } => Some(text),
        Item::Answered(answer) => {
            // A provider takes what is its own back whole or not at all.
            answer.thoughts.clear();
            answer.verbatim = None;
            let inputs = answer.calls.iter_mut().map(|call| &mut call.input);
            inputs
                .chain([&mut answer.text])
                .max_by_key(|text| text.len())
        }
        Item::Returned { results } => {
            let texts = results.iter_mut().map(|result| &mut result.text);
            texts.max_by_key(|text| text.len())
        }
    };
    if let Some(text) = longest {
        let half = text.len() / 2;
        *text = without_middle(std::mem::take(text), half);
    }
}

/// A text of about so many bytes: of a longer one the middle is left out.
pub(super) fn without_middle(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let head = text.floor_char_boundary(max / 2);
    let tail = text.ceil_char_boundary(text.len() - max / 2);
    let left_out = tail - head;
    format!(
        "{}\n… {left_out} bytes left out …\n{}",
        &text[..head],
        &text[tail..]
    )
}

/// As the team's accounts have it.
pub(super) fn spent(usage: Usage, price: Option<Price>) -> agent_team_protocol::view::Usage {
    agent_team_protocol::view::Usage {
        input: usage.input,
        output: usage.output,
        cached: usage.cache_read,
        micro_usd: price.map_or(0, |price| price.of(&usage)),
        unpriced: match price {
            Some(_) => 0,
            None => usage.input + usage.output,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ToolCall;

    fn said(text: &str) -> Item {
        Item::Said { text: text.into() }
    }

    fn called(id: &str) -> Item {
        Item::Answered(Answer {
            calls: vec![ToolCall {
                id: id.into(),
                name: "read".into(),
                input: "{}".into(),
            }],
            ..Answer::default()
        })
    }

    fn returned(id: &str, text: &str) -> Item {
        let result = ToolResult {
            id: id.into(),
            text: text.into(),
            failed: false,
        };
        Item::Returned {
            results: vec![result],
        }
    }

    fn read(entries: &[Box<RawValue>]) -> Transcript {
        let mut transcript = Transcript::default();
        transcript.read(entries).unwrap();
        transcript
    }

    const NOTHING: Prompt<'static> = Prompt {
        system: "",
        items: &[],
        tools: &[],
        search: false,
    };

    #[test]
    fn a_reader_sees_what_the_model_was_shown_last() {
        let items = [said("goal"), called("1"), returned("1", "x"), said("more")];
        let mut live = Transcript::default();
        let mut entries: Vec<_> = items.iter().map(raw).collect();
        items.into_iter().for_each(|item| live.push(item));
        let summarised = || Mark::Summarised {
            text: "so far".into(),
            kept: 1,
        };
        entries.push(raw(&summarised()));
        live.mark(summarised());
        assert_eq!(live.items(), [said("so far"), said("more")]);
        let again = read(&entries);
        assert_eq!(again.items(), live.items());
        assert!(again.is_unfinished());
        entries.push(raw(&Mark::Rested));
        assert!(!read(&entries).is_unfinished());
        assert!(!read(&[]).is_unfinished());
    }

    #[test]
    fn calls_that_were_under_way_are_lost_and_not_open() {
        let lost = read(&[raw(&said("goal")), raw(&called("7"))]).lost_calls();
        assert_eq!(
            lost,
            Some(Item::Returned {
                results: vec![ToolResult {
                    id: "7".into(),
                    text: say::LOST_CALL.into(),
                    failed: true,
                }],
            })
        );
        let done = read(&[raw(&called("7")), raw(&returned("7", "x"))]);
        assert_eq!(done.lost_calls(), None);
    }

    #[test]
    fn an_entry_of_a_newer_build_is_named() {
        let entries = [
            raw(&said("goal")),
            raw(&serde_json::json!({"kind": "dreamt"})),
        ];
        let mut transcript = Transcript::default();
        let error = transcript.read(&entries).unwrap_err();
        assert!(error.to_string().starts_with("entry 2 of the transcript"));
    }

    #[test]
    fn what_is_kept_never_begins_with_results() {
        let entries = [
            raw(&said(&"x".repeat(400))),
            raw(&called("1")),
            raw(&returned("1", &"y".repeat(400))),
            raw(&said("end")),
        ];
        let transcript = read(&entries);
        assert_eq!(transcript.newest(50), 1);
        assert_eq!(
            transcript.newest(103),
            1,
            "the results fit, their call does not"
        );
        assert_eq!(transcript.newest(104), 3);
        assert_eq!(transcript.newest(1000), 4);
    }

    #[test]
    fn what_a_model_counted_goes_before_what_is_guessed() {
        let mut transcript = Transcript::default();
        transcript.push(said(&"x".repeat(4000)));
        assert!(transcript.tokens(NOTHING) > 1000);
        transcript.push(Item::Answered(Answer {
            usage: Usage {
                input: 70,
                output: 30,
                ..Usage::default()
            },
            ..Answer::default()
        }));
        assert_eq!(transcript.tokens(NOTHING), 100);
        transcript.push(said("four"));
        assert_eq!(transcript.tokens(NOTHING), 102);
    }

    #[test]
    fn an_item_too_long_to_be_stored_loses_its_middle() {
        let mut item = returned("1", &format!("begin{}end", "\u{1}".repeat(ITEM_MAX)));
        assert!(stored(&mut item).get().len() <= ITEM_MAX);
        let Item::Returned { results } = item else {
            panic!("another item");
        };
        assert!(results[0].text.starts_with("begin") && results[0].text.ends_with("end"));
    }
}
