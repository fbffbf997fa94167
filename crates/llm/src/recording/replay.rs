//! Replays a recording instead of a model. Created by `open` for `replay:FILE`.
//!
//! A replay returns the recorded outcome, or an error that states how the prompt differs. It never makes up an answer.
//! Without a [`Speed`], a replay answers at once.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

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
    /// The index of the next exchange. `None` before the first prompt, which determines the index.
    next: Mutex<Option<usize>>,
    /// `None`: answers are returned at once.
    speed: Option<Speed>,
}

/// The playback speed of a recording, in characters per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed(NonZeroU16);

impl Speed {
    /// The playback time of this number of characters.
    fn time_for(self, characters: usize) -> Duration {
        let characters = u32::try_from(characters).unwrap_or(u32::MAX);
        Duration::from_secs(1) * characters / u32::from(self.0.get())
    }

    /// The delay before the first character of an answer.
    const FIRST: Duration = Duration::from_secs(1);
}

impl FromStr for Speed {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
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
    /// Reads the exchanges of one member. If the recording contains no exchange of the member, the first request fails.
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
            speed: None,
        })
    }

    /// Plays the recording at this speed.
    #[must_use]
    pub fn at_speed(self, speed: Option<Speed>) -> Self {
        Self { speed, ..self }
    }

    /// The recorded outcome for this prompt, and its index.
    fn find(&self, prompt: &Prompt<'_>) -> Result<(usize, &Outcome), String> {
        let shape = Shape::of(prompt);
        let next = *self.next.lock().expect("no holder of the lock panics");
        let at = match next {
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
        Ok((at, &exchange.outcome))
    }

    /// Continues with the exchange after the index `at`. Called when the whole answer was streamed: an interrupted
    /// answer is not part of the conversation, and is played again.
    fn advance(&self, at: usize) {
        let mut next = self.next.lock().expect("no holder of the lock panics");
        *next = Some(at + 1);
    }

    /// The index of the exchange with which this conversation continues. Candidates are the exchanges after the same
    /// number of answers as the prompt contains. Returns the last candidate that continues the prompt. If none does,
    /// returns the first candidate, and the caller reports the difference.
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
    /// Returns whether the exchange at this index continues the prompt: the last answer in the prompt must be the last
    /// answer that was recorded before the exchange. A prompt without answers must contain the last summary that was
    /// recorded before the exchange.
    fn follows(&self, at: usize, prompt: &Prompt<'_>, shape: &Shape) -> bool {
        let before = || self.exchanges[..at].iter().rev().map(|(_, before)| before);
        let last_answer = prompt.items.iter().rev().find_map(|item| match item {
            Item::Answered(answer) => Some(answer),
            Item::Input { .. } | Item::Shown { .. } | Item::Returned { .. } => None,
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

/// Streams an answer: at once without a speed, else word by word.
async fn stream(answer: &Answer, speed: Option<Speed>, on_delta: &mut (dyn FnMut(Delta) + Send)) {
    let Some(speed) = speed else {
        for delta in deltas(answer, |text| vec![text]) {
            on_delta(delta);
        }
        return;
    };
    tokio::time::sleep(Speed::FIRST).await;
    for delta in deltas(answer, |text| text.split_inclusive(' ').collect()) {
        let characters = match &delta {
            Delta::Thought(text) | Delta::Text(text) => text.chars().count(),
            Delta::Input { fragment, .. } => fragment.chars().count(),
            Delta::Call { .. }
            | Delta::Searched { .. }
            | Delta::Waiting { .. }
            | Delta::Replaced { .. } => 0,
        };
        on_delta(delta);
        tokio::time::sleep(speed.time_for(characters)).await;
    }
}

/// The deltas of an answer, with its texts split into these pieces.
fn deltas(answer: &Answer, split: impl for<'t> Fn(&'t str) -> Vec<&'t str>) -> Vec<Delta> {
    let mut deltas = Vec::new();
    for thought in &answer.thoughts {
        let pieces = split(&thought.text).into_iter();
        deltas.extend(pieces.map(|piece| Delta::Thought(piece.to_owned())));
    }
    if !answer.text.is_empty() {
        let pieces = split(&answer.text).into_iter();
        deltas.extend(pieces.map(|piece| Delta::Text(piece.to_owned())));
    }
    for call in &answer.calls {
        let (id, name) = (&call.id, call.name.clone());
        deltas.push(Delta::Call {
            id: id.clone(),
            name,
        });
        deltas.extend(split(&call.input).into_iter().map(|piece| Delta::Input {
            id: id.clone(),
            fragment: piece.to_owned(),
        }));
    }
    deltas
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
        Some(Price::FREE)
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        Box::pin(async move {
            match self.find(&prompt) {
                Ok((at, Outcome::Answer(answer))) => {
                    stream(answer, self.speed, on_delta).await;
                    self.advance(at);
                    Ok(answer.clone())
                }
                Ok((at, Outcome::TooLong(why))) => {
                    self.advance(at);
                    Err(ModelError::TooLong(why.clone()))
                }
                Err(why) => Err(ModelError::Unrecorded(format!(
                    "the recording does not match ({}): {why}",
                    self.name
                ))),
            }
        })
    }
}
