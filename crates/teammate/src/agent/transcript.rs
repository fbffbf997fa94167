//! The conversation with the model: its stored entries, and the items that the model sees. Pure. Called by the agent
//! loop.
//!
//! ```text
//! stored:  Input  Answered  Returned  Input  …  summarised{kept: 2}  Answered  rested
//! shown:   ─────── replaced by the summary ──────┘ (except the 2 before it)
//! ```
//! The supervisor's copy is append-only. Marks among its entries define how to derive the conversation that the model
//! sees.
//!
//! A mark `pruned` keeps all items, but replaces long, old tool results by one line each, and removes old images and
//! documents.

use agent_team_llm::{Answer, Item, Media, Price, Prompt, ToolResult, Usage};
use agent_team_protocol::RunId;
use agent_team_protocol::method::ITEM_MAX;
use agent_team_tools::SeenFile;
use agent_team_tools::team::{FINISH, without_middle};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::compact::prune::{TOKEN_BYTES, prune};
use super::prompts;
use super::work_record::WorkRecord;

/// Entries of the stored transcript that are not items: each changes the items that the model sees, or ends a turn.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Mark {
    /// All items so far, except the last `kept` ones, are replaced by this text.
    Summarised { text: String, kept: usize },
    /// In all items so far, except the last `kept` ones, long tool results are replaced by one line each, and images
    /// and documents are removed.
    Pruned { kept: usize },
    /// A question of a run with rounds. It replaces the previous question of the same run; the first question of a run
    /// replaces all items before it.
    Asked { asked: QuestionKey, text: String },
    /// Files that the model has read or written since the last such mark.
    Seen { files: Vec<SeenFile> },
    /// The end of the turn.
    Rested,
}

/// Identifies a question of a run with rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QuestionKey {
    pub(super) run: RunId,
    pub(super) round: u32,
}

/// An entry of the transcript that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read entry {number} of the transcript with this version: {source}")]
pub(super) struct Unreadable {
    number: u64,
    source: serde_json::Error,
}

#[derive(Debug, Default)]
pub(super) struct Transcript {
    items: Vec<Item>,
    entries: u64,
    rested: bool,
    /// The last question, and its index among the items.
    question: Option<(QuestionKey, usize)>,
    /// The model's token count of the prompt with this many items.
    counted: Option<(usize, u64)>,
    record: WorkRecord,
    /// The files of all marks `seen`, in stored order.
    seen: Vec<SeenFile>,
}

impl Transcript {
    /// Adds entries in stored order.
    pub(super) fn read(&mut self, entries: &[Box<RawValue>]) -> Result<(), Unreadable> {
        for entry in entries {
            let unreadable = |source| Unreadable {
                number: self.entries + 1,
                source,
            };
            // Marks are rarer than items, so try items first.
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
        // Ignore the counts of an answer with provider searches: they include every page that the provider read, often
        // more than once, and so exceed the size of the conversation.
        if let Item::Answered(answer) = &item
            && answer.usage.input > 0
            && !answer.has_searched()
        {
            let tokens = answer.usage.input + answer.usage.output;
            self.counted = Some((self.items.len() + 1, tokens));
        }
        self.entries += 1;
        self.rested = false;
        self.record.add(&item);
        self.items.push(item);
    }

    /// Counts a stored entry that changes neither the items nor the turn.
    pub(super) fn count_entry(&mut self) {
        self.entries += 1;
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        self.entries += 1;
        match mark {
            Mark::Summarised { text, kept } => {
                self.items.drain(..self.items.len().saturating_sub(kept));
                self.items.insert(0, Item::Input { text });
                self.counted = None;
                self.question = None;
            }
            Mark::Pruned { kept } => {
                let end = self.items.len().saturating_sub(kept);
                let saved = prune(&mut self.items[..end]);
                match &mut self.counted {
                    Some((counted, tokens)) if *counted >= end => {
                        *tokens = tokens.saturating_sub(saved);
                    }
                    // The counted prompt does not contain all pruned items, so `saved` does not apply to it.
                    counted => *counted = None,
                }
            }
            Mark::Asked { asked, text } => {
                match self.question {
                    Some((before, index)) if before.run == asked.run => {
                        let text = prompts::asked_before(before.round);
                        self.items[index] = Item::Input { text };
                    }
                    Some(_) | None => self.items.clear(),
                }
                self.question = Some((asked, self.items.len()));
                self.items.push(Item::Input { text });
                self.counted = None;
                self.rested = false;
            }
            Mark::Seen { files } => self.seen.extend(files),
            Mark::Rested => self.rested = true,
        }
    }

    /// Takes the changes of the record of seen files, oldest first, to restore the record after a restart.
    pub(super) fn take_seen(&mut self) -> Vec<SeenFile> {
        std::mem::take(&mut self.seen)
    }

    /// The items that the model sees.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The member's work, over all entries.
    pub(super) fn record(&self) -> &WorkRecord {
        &self.record
    }

    /// The estimated number of tokens that a mark `pruned` would save.
    pub(super) fn prunable_tokens(&self, kept: usize) -> u64 {
        let end = self.items.len().saturating_sub(kept);
        prune(&mut self.items[..end].to_vec())
    }

    /// The number of newest items that the model has not answered. Results count together with the answer that called
    /// for them.
    pub(super) fn unanswered(&self) -> usize {
        let is_answer = |item: &Item| matches!(item, Item::Answered(_));
        let first = self.items.iter().rposition(is_answer);
        let first = first.map_or(0, |answer| answer + 1);
        let has_results = matches!(self.items.get(first), Some(Item::Returned { .. }));
        self.items.len() - first + usize::from(has_results)
    }

    /// Whether the model sees this note of the runtime, or the note is empty.
    pub(super) fn shows(&self, note: &str) -> bool {
        let stored = prompts::note(note);
        let is_note = |item: &Item| matches!(item, Item::Input { text } if *text == stored);
        note.is_empty() || self.items.iter().any(is_note)
    }

    /// The number of entries read or stored so far.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Returns whether a turn was started and not ended.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.rested && self.entries > 0
    }

    /// Whether the last call that the model made has finished the run.
    pub(super) fn ends_with_finish(&self) -> bool {
        let [.., Item::Answered(answer), Item::Returned { results }] = self.items.as_slice() else {
            return false;
        };
        let mut done = answer.calls.iter().zip(results);
        done.any(|(call, result)| call.name == FINISH && !result.failed)
    }

    /// The model's answer to this question, if it has answered.
    pub(super) fn answer_to(&self, question: QuestionKey) -> Option<&Answer> {
        match (self.question, self.items.last()) {
            (Some((last, _)), Some(Item::Answered(answer))) if last == question => Some(answer),
            _ => None,
        }
    }

    /// Results for calls that were in flight when the process exited. It is unknown whether these calls took effect, so
    /// they are never repeated.
    pub(super) fn lost_calls(&self) -> Option<Item> {
        let Some(Item::Answered(answer)) = self.items.last() else {
            return None;
        };
        if answer.calls.is_empty() {
            return None;
        }
        let results = answer.calls.iter().map(|call| ToolResult {
            id: call.id.clone(),
            text: prompts::LOST_CALL.into(),
            failed: true,
            media: Vec::new(),
        });
        Some(Item::Returned {
            results: results.collect(),
        })
    }

    /// The approximate number of tokens of a prompt with these items, and with the system text and tools of `prompt`.
    pub(super) fn tokens(&self, prompt: Prompt<'_>) -> u64 {
        let (from, counted) = self.counted.unwrap_or_else(|| {
            let tools = prompt.tools.iter().map(|tool| {
                tool.name.len() + tool.description.len() + tool.input.to_string().len()
            });
            let fixed = prompt.system.len() + tools.sum::<usize>();
            (0, fixed as u64 / TOKEN_BYTES)
        });
        let rest: u64 = self.items[from..].iter().map(estimated_tokens).sum();
        counted + rest
    }

    /// The number of newest items that together have at most this many tokens. The first of these items never contains
    /// results: their calls would be missing.
    pub(super) fn newest(&self, tokens: u64) -> usize {
        let mut remaining = tokens;
        let mut kept = 0;
        for (count, item) in (1..).zip(self.items.iter().rev()) {
            match remaining.checked_sub(estimated_tokens(item)) {
                Some(rest) => remaining = rest,
                None => break,
            }
            if !matches!(item, Item::Returned { .. }) {
                kept = count;
            }
        }
        kept
    }
}

fn estimated_tokens(item: &Item) -> u64 {
    let media: u64 = match item {
        Item::Returned { results } => {
            let media = results.iter().flat_map(|result| &result.media);
            media.map(Media::tokens).sum()
        }
        Item::Shown { media } => media.iter().map(Media::tokens).sum(),
        Item::Input { .. } | Item::Answered(_) => 0,
    };
    bytes(item) as u64 / TOKEN_BYTES + 1 + media
}

fn bytes(item: &Item) -> usize {
    match item {
        Item::Input { text } => text.len(),
        Item::Shown { .. } => 0,
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

/// Converts the item to JSON for storage. Shortens an oversized item first, so that the model sees the same text as the
/// stored one.
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

/// Halves the longest text of the item. Shortened arguments of a call are invalid JSON; the model receives that error.
fn shorten(item: &mut Item) {
    let longest = match item {
        Item::Input { text } => Some(text),
        Item::Shown { media } => {
            media.pop();
            None
        }
        Item::Answered(answer) => {
            // A provider rejects its own thoughts and blocks if they were changed.
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

/// The usage in the form that the team's accounting records.
pub(super) fn spent(usage: Usage, price: Option<Price>) -> agent_team_protocol::view::Usage {
    // The cost that the provider reports takes precedence over known prices.
    let cost = usage.micro_usd;
    let cost = cost.or_else(|| price.map(|price| price.of(&usage)));
    agent_team_protocol::view::Usage {
        input: usage.input,
        output: usage.output,
        cached: usage.cache_read,
        micro_usd: cost.unwrap_or(0),
        unpriced: match cost {
            Some(_) => 0,
            None => usage.input + usage.output,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_team_llm::ToolCall;

    fn input(text: &str) -> Item {
        Item::Input { text: text.into() }
    }

    fn called(id: &str) -> Item {
        Item::Answered(Answer {
            calls: vec![ToolCall {
                id: id.into(),
                name: "read".into(),
                input: "{\"path\": \"src/a.rs\"}".into(),
            }],
            ..Answer::default()
        })
    }

    fn returned(id: &str, text: &str) -> Item {
        let result = ToolResult {
            id: id.into(),
            text: text.into(),
            failed: false,
            media: Vec::new(),
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
        effort: None,
    };

    #[test]
    fn a_finished_run_is_found_unless_it_was_refused() {
        let mut finish = called("1");
        if let Item::Answered(answer) = &mut finish {
            answer.calls[0].name = FINISH.to_owned();
        }
        let mut refused = returned("1", "no");
        if let Item::Returned { results } = &mut refused {
            results[0].failed = true;
        }
        let ends_with_finish = |call: &Item, result: &Item| {
            let mut transcript = Transcript::default();
            transcript.push(call.clone());
            transcript.push(result.clone());
            transcript.ends_with_finish()
        };
        assert!(ends_with_finish(&finish, &returned("1", "done")));
        assert!(!ends_with_finish(&finish, &refused));
        assert!(!ends_with_finish(&called("1"), &returned("1", "done")));
    }

    #[test]
    fn stored_entries_restore_the_models_view() {
        let items = [
            input("goal"),
            called("1"),
            returned("1", "x"),
            input("more"),
        ];
        let mut live = Transcript::default();
        let mut entries: Vec<_> = items.iter().map(raw).collect();
        items.into_iter().for_each(|item| live.push(item));
        let summarised = || Mark::Summarised {
            text: "so far".into(),
            kept: 1,
        };
        entries.push(raw(&summarised()));
        live.mark(summarised());
        assert_eq!(live.items(), [input("so far"), input("more")]);
        let again = read(&entries);
        assert_eq!(again.items(), live.items());
        assert!(again.is_unfinished());
        entries.push(raw(&Mark::Rested));
        assert!(!read(&entries).is_unfinished());
        assert!(!read(&[]).is_unfinished());
    }

    #[test]
    fn pruning_leaves_the_newest_results() {
        let long = "long result\n".repeat(100);
        let mut live = read(&[
            raw(&input("goal")),
            raw(&called("1")),
            raw(&returned("1", &long)),
            raw(&called("2")),
            raw(&returned("2", &long)),
        ]);
        let tokens = live.tokens(NOTHING);
        assert_eq!(live.unanswered(), 2, "results belong to their calls");
        let saved = live.prunable_tokens(2);
        let mark = Mark::Pruned { kept: 2 };
        let entry = raw(&mark);
        live.mark(mark);
        assert!(saved > 200 && live.tokens(NOTHING) <= tokens - saved + 1);
        assert_eq!(live.items()[4], returned("2", &long));
        let Item::Returned { results } = &live.items()[2] else {
            panic!("another item");
        };
        assert!(
            results[0]
                .text
                .starts_with("Removed to make room: the result of read(")
        );
        assert_eq!(live.prunable_tokens(2), 0);
        assert_eq!(entry.get(), r#"{"kind":"pruned","kept":2}"#);
    }

    #[test]
    fn pruning_reduces_the_counted_tokens() {
        let mut transcript = Transcript::default();
        transcript.push(called("1"));
        transcript.push(returned("1", &"x".repeat(4120)));
        transcript.push(Item::Answered(Answer {
            usage: Usage {
                input: 5000,
                ..Usage::default()
            },
            ..Answer::default()
        }));
        let saved = transcript.prunable_tokens(1);
        transcript.mark(Mark::Pruned { kept: 1 });
        assert_eq!(transcript.tokens(NOTHING), 5000 - saved);
    }

    #[test]
    fn the_record_survives_a_summary() {
        let transcript = read(&[
            raw(&called("1")),
            raw(&returned("1", "text")),
            raw(&Mark::Summarised {
                text: "so far".into(),
                kept: 0,
            }),
        ]);
        assert_eq!(transcript.items(), [input("so far")]);
        assert_eq!(transcript.record().read, ["src/a.rs"]);
    }

    #[test]
    fn entries_of_earlier_versions_load() {
        let entry = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let transcript = read(&[
            entry(r#"{"kind":"said","text":"goal"}"#),
            entry(r#"{"kind":"answered","text":"I look.","stop":"finished"}"#),
            entry(r#"{"kind":"summarised","text":"so far","kept":1}"#),
            entry(r#"{"kind":"rested"}"#),
        ]);
        assert_eq!(transcript.items()[0], input("so far"));
        assert!(!transcript.is_unfinished() && transcript.items().len() == 2);
    }

    #[test]
    fn calls_in_flight_at_a_crash_get_a_result() {
        let lost = read(&[raw(&input("goal")), raw(&called("7"))]).lost_calls();
        assert_eq!(
            lost,
            Some(Item::Returned {
                results: vec![ToolResult {
                    id: "7".into(),
                    text: prompts::LOST_CALL.into(),
                    failed: true,
                    media: Vec::new(),
                }],
            })
        );
        let done = read(&[raw(&called("7")), raw(&returned("7", "x"))]);
        assert_eq!(done.lost_calls(), None);
    }

    #[test]
    fn an_unreadable_entry_is_named() {
        let entries = [
            raw(&input("goal")),
            raw(&serde_json::json!({"kind": "dreamt"})),
        ];
        let mut transcript = Transcript::default();
        let error = transcript.read(&entries).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot read entry 2 of the transcript")
        );
    }

    #[test]
    fn kept_items_never_start_with_results() {
        let entries = [
            raw(&input(&"x".repeat(400))),
            raw(&called("1")),
            raw(&returned("1", &"y".repeat(400))),
            raw(&input("end")),
        ];
        let transcript = read(&entries);
        assert_eq!(transcript.newest(50), 1);
        assert_eq!(
            transcript.newest(108),
            1,
            "the results fit, their call does not"
        );
        assert_eq!(transcript.newest(109), 3);
        assert_eq!(transcript.newest(1000), 4);
    }

    #[test]
    fn counted_tokens_take_precedence_over_estimates() {
        let mut transcript = Transcript::default();
        transcript.push(input(&"x".repeat(4000)));
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
        transcript.push(input("four"));
        assert_eq!(transcript.tokens(NOTHING), 102);
    }

    #[test]
    fn an_oversized_item_loses_its_middle() {
        let mut item = returned("1", &format!("begin{}end", "\u{1}".repeat(ITEM_MAX)));
        assert!(stored(&mut item).get().len() <= ITEM_MAX);
        let Item::Returned { results } = item else {
            panic!("another item");
        };
        assert!(results[0].text.starts_with("begin") && results[0].text.ends_with("end"));
    }
}
