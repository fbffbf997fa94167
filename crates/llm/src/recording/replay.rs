//! Replays a recording instead of a model. Created by `open` for `replay:FILE`.
//!
//! It returns the recorded outcome, or an error that states how the prompt differs. It never invents an answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{Exchange, Outcome, Shape, Unreadable, read};
use crate::model::{Answer, Answering, Delta, Item, Model, ModelError, Prompt};
use crate::usage::Price;

/// The exchanges of one member in a recording.
#[derive(Debug)]
pub struct Replay {
    name: String,
    member: String,
    /// The exchanges with their line numbers.
    exchanges: Vec<(usize, Exchange)>,
    /// The other members of the recording.
    others: BTreeSet<String>,
    /// The index of the next exchange. `None` before the first prompt, which determines it.
    next: Mutex<Option<usize>>,
}

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read the recording {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0} is not a recording")]
    Unreadable(PathBuf, #[source] Unreadable),
}

impl Replay {
    /// Reads the exchanges of one member. If there are none, the first request fails.
    ///
    /// # Errors
    /// If the file cannot be read or is not a recording.
    pub fn open(path: &Path, member: &str) -> Result<Self, ReplayError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ReplayError::Read(path.to_owned(), error))?;
        let exchanges = read(&text).map_err(|why| ReplayError::Unreadable(path.to_owned(), why))?;
        let (exchanges, others): (Vec<_>, Vec<_>) = exchanges
            .into_iter()
            .partition(|(_, exchange)| exchange.member == member);
        Ok(Self {
            name: format!("replay:{}", path.display()),
            member: member.to_owned(),
            exchanges,
            others: others.into_iter().map(|(_, other)| other.member).collect(),
            next: Mutex::new(None),
        })
    }

    /// The recorded outcome for this prompt.
    fn play(&self, prompt: &Prompt<'_>) -> Result<&Outcome, String> {
        let shape = Shape::of(prompt);
        let mut next = self.next.lock().expect("no holder of the lock panics");
        let at = match *next {
            Some(at) => at,
            None => self.start(prompt, &shape)?,
        };
        let Some((line, exchange)) = self.exchanges.get(at) else {
            return Err(format!(
                "it contains only {} exchanges of {}",
                self.exchanges.len(),
                self.member
            ));
        };
        if let Some(difference) = difference(exchange, &shape) {
            return Err(format!(
                "line {line}, exchange {} of {}: {difference}",
                exchange.exchange, self.member
            ));
        }
        *next = Some(at + 1);
        Ok(&exchange.outcome)
    }

    /// The index of the exchange with which this conversation continues. Candidates are the exchanges after the same
    /// number of answers as the prompt contains. Returns the last candidate that continues the prompt. If none does,
    /// returns the first candidate, and the caller reports how it differs.
    fn start(&self, prompt: &Prompt<'_>, shape: &Shape) -> Result<usize, String> {
        let member = &self.member;
        if self.exchanges.is_empty() {
            let others: Vec<_> = self.others.iter().map(String::as_str).collect();
            return Err(format!(
                "it contains no exchange of {member}, only of {}",
                others.join(", ")
            ));
        }
        let has_same_count = |at: &usize| self.exchanges[*at].1.answered == shape.answered;
        let follows = |at: &usize| {
            difference(&self.exchanges[*at].1, shape).is_none() && self.follows(*at, prompt, shape)
        };
        let mut matches = (0..self.exchanges.len()).filter(has_same_count);
        let index = matches.clone().rfind(follows).or_else(|| matches.next());
        index.ok_or_else(|| {
            format!(
                "it contains no exchange of {member} after {} answers",
                shape.answered
            )
        })
    }
}

impl Replay {
    /// Returns whether the exchange at this index continues the prompt: the last answer of the prompt is the last one
    /// that was recorded before the exchange. A prompt without answers must contain the last summary recorded before.
    fn follows(&self, at: usize, prompt: &Prompt<'_>, shape: &Shape) -> bool {
        let before = || self.exchanges[..at].iter().rev().map(|(_, before)| before);
        let last_answer = prompt.items.iter().rev().find_map(|item| match item {
            Item::Answered(answer) => Some(answer),
            Item::Input { .. } | Item::Returned { .. } => None,
        });
        if let Some(answer) = last_answer {
            let mut conversation = before().filter(|before| !before.is_summary());
            let recorded = conversation.find_map(Exchange::answer);
            return recorded.is_some_and(|recorded| is_same(recorded, answer));
        }
        let is_quoted = |summary: &Exchange| {
            let text = summary.answer().map_or("", |answer| &answer.text);
            let contains =
                |item: &Item| matches!(item, Item::Input { text: input } if input.contains(text));
            !text.is_empty() && prompt.items.iter().any(contains)
        };
        let mut summaries = before().filter(|before| before.is_summary());
        match summaries.next() {
            Some(summary) => is_quoted(summary),
            // No summary was recorded before: this prompt asks for the first summary, or starts the conversation.
            None => shape.tools.is_empty() || at == 0,
        }
    }
}

fn is_same(one: &Answer, other: &Answer) -> bool {
    let ids = |answer: &Answer| -> Vec<String> {
        answer.calls.iter().map(|call| call.id.clone()).collect()
    };
    one.text == other.text && ids(one) == ids(other)
}

/// The differences between a recorded prompt and this one.
fn difference(then: &Exchange, now: &Shape) -> Option<String> {
    let mut differences = Vec::new();
    if !then.last.matches(now.last) {
        differences.push(format!(
            "the last item was {}, now is {}",
            then.last.as_str(),
            now.last.as_str()
        ));
    }
    let names = |tools: &[String]| -> BTreeSet<String> { tools.iter().cloned().collect() };
    let (before, after) = (names(&then.tools), names(&now.tools));
    let listed = |tools: Vec<&String>| tools.into_iter().cloned().collect::<Vec<_>>().join(", ");
    if before != after {
        let missing = listed(before.difference(&after).collect());
        let new = listed(after.difference(&before).collect());
        differences.push(match (missing.is_empty(), new.is_empty()) {
            (true, _) => format!("additional tools: {new}"),
            (_, true) => format!("missing tools: {missing}"),
            _ => format!("missing tools: {missing}; additional tools: {new}"),
        });
    }
    if differences.is_empty() {
        return None;
    }
    if then.digest != now.digest {
        differences.push(format!(
            "the digest of system text and tools was {}, now is {}",
            then.digest, now.digest
        ));
    }
    Some(differences.join("; "))
}

fn stream(answer: &Answer, on_delta: &mut (dyn FnMut(Delta) + Send)) {
    for thought in &answer.thoughts {
        on_delta(Delta::Thought(thought.text.clone()));
    }
    if !answer.text.is_empty() {
        on_delta(Delta::Text(answer.text.clone()));
    }
    for call in &answer.calls {
        let (id, name) = (call.id.clone(), call.name.clone());
        on_delta(Delta::Call { id, name });
        let (id, fragment) = (call.id.clone(), call.input.clone());
        on_delta(Delta::Input { id, fragment });
    }
}

impl Model for Replay {
    fn name(&self) -> &str {
        &self.name
    }

    /// The window of the recorded model, so that conversations are shortened at the same points.
    fn window(&self) -> u64 {
        let first = self.exchanges.first();
        first.map_or(u64::MAX, |(_, exchange)| exchange.window)
    }

    fn price(&self) -> Option<Price> {
        Some(Price::NOTHING)
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        Box::pin(async move {
            match self.play(&prompt) {
                Ok(Outcome::Answer(answer)) => {
                    stream(answer, on_delta);
                    Ok(answer.clone())
                }
                Ok(Outcome::TooLong(why)) => Err(ModelError::TooLong(why.clone())),
                Err(why) => Err(ModelError::Unrecorded(format!(
                    "the recording does not match ({}): {why}",
                    self.name
                ))),
            }
        })
    }
}
