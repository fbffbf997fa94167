//! Plays a recording back in place of a model. Made by `open` for `replay:FILE`.
//!
//! It answers as was answered then, or says what differs; it never makes an answer up.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::super::catalogue::Price;
use super::super::{Answer, Answering, Delta, Item, Model, ModelError, Prompt};
use super::{Exchange, Outcome, Shape, Unreadable, read};

/// A member's part of a recording.
#[derive(Debug)]
pub struct Replay {
    name: String,
    member: String,
    /// Each with the number of its line.
    exchanges: Vec<(usize, Exchange)>,
    /// Who else is in the recording.
    others: BTreeSet<String>,
    /// Which of `exchanges` comes next. Not known before the first prompt.
    next: Mutex<Option<usize>>,
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read the recording {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0} is no recording")]
    Unreadable(PathBuf, #[source] Unreadable),
}

impl Replay {
    /// The exchanges of one member.
    ///
    /// # Errors
    /// When the file cannot be read or is no recording. That it holds no exchange of this member is told when one is
    /// asked for.
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

    /// The outcome that was recorded for this prompt.
    fn play(&self, prompt: &Prompt<'_>) -> Result<&Outcome, String> {
        let shape = Shape::of(prompt);
        let mut next = self.next.lock().expect("nobody panics with it");
        let at = match *next {
            Some(at) => at,
            None => self.start(prompt, &shape)?,
        };
        let Some((line, exchange)) = self.exchanges.get(at) else {
            return Err(format!(
                "it holds {} exchanges of {}, and another one is asked for",
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

    /// Where a conversation that has come this far goes on.
    fn start(&self, prompt: &Prompt<'_>, shape: &Shape) -> Result<usize, String> {
        let member = &self.member;
        if self.exchanges.is_empty() {
            let others: Vec<_> = self.others.iter().map(String::as_str).collect();
            return Err(format!(
                "it holds no exchange of {member}, but of {}",
                others.join(", ")
            ));
        }
        let is_as_far = |at: &usize| self.exchanges[*at].1.answered == shape.answered;
        let follows = |at: &usize| {
            difference(&self.exchanges[*at].1, shape).is_none() && self.follows(*at, prompt, shape)
        };
        let mut places = (0..self.exchanges.len()).filter(is_as_far);
        let place = places.clone().rfind(follows).or_else(|| places.next());
        place.ok_or_else(|| {
            format!(
                "it holds no exchange of {member} after {} answers",
                shape.answered
            )
        })
    }
}

impl Replay {
    /// Whether what stood before this exchange is what the prompt shows of it.
    fn follows(&self, at: usize, prompt: &Prompt<'_>, shape: &Shape) -> bool {
        let before = || self.exchanges[..at].iter().rev().map(|(_, before)| before);
        let last_answer = prompt.items.iter().rev().find_map(|item| match item {
            Item::Answered(answer) => Some(answer),
            Item::Said { .. } | Item::Returned { .. } => None,
        });
        if let Some(answer) = last_answer {
            let mut conversation = before().filter(|before| !before.is_summary());
            let said = conversation.find_map(Exchange::answer);
            return said.is_some_and(|said| is_same(said, answer));
        }
        let shows = |summary: &Exchange| {
            let text = summary.answer().map_or("", |answer| &answer.text);
            let holds =
                |item: &Item| matches!(item, Item::Said { text: said } if said.contains(text));
            !text.is_empty() && prompt.items.iter().any(holds)
        };
        let mut summaries = before().filter(|before| before.is_summary());
        match summaries.next() {
            Some(summary) => shows(summary),
            // Nothing was cut out of it yet. A conversation goes on from its beginning, a summary is the first one.
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

/// What of a prompt is not as it was recorded.
fn difference(then: &Exchange, now: &Shape) -> Option<String> {
    let mut differences = Vec::new();
    if !then.last.may_be(now.last) {
        differences.push(format!(
            "its last item was {}, now {}",
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
            (true, _) => format!("it has these tools too: {new}"),
            (_, true) => format!("it lacks these tools: {missing}"),
            _ => format!("it lacks these tools: {missing}, and has these too: {new}"),
        });
    }
    if differences.is_empty() {
        return None;
    }
    if then.digest != now.digest {
        differences.push(format!(
            "its system text and tools had the digest {}, now {}",
            then.digest, now.digest
        ));
    }
    Some(differences.join("; "))
}

fn tell(answer: &Answer, told: &mut (dyn FnMut(Delta) + Send)) {
    for thought in &answer.thoughts {
        told(Delta::Thought(thought.text.clone()));
    }
    if !answer.text.is_empty() {
        told(Delta::Text(answer.text.clone()));
    }
    for call in &answer.calls {
        let (id, name) = (call.id.clone(), call.name.clone());
        told(Delta::Call { id, name });
        let (id, fragment) = (call.id.clone(), call.input.clone());
        told(Delta::Input { id, fragment });
    }
}

impl Model for Replay {
    fn name(&self) -> &str {
        &self.name
    }

    /// That of the recorded model: conversations are shortened where they were then.
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
        told: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        Box::pin(async move {
            match self.play(&prompt) {
                Ok(Outcome::Answer(answer)) => {
                    tell(answer, told);
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
