//! An answer under construction. The decoders of all APIs fill it, so that calls are numbered and deltas are emitted in
//! the same way for all APIs.

use std::collections::HashSet;

use agent_team_protocol::spec::Wire;

use crate::model::{Answer, Delta, Item, Prompt, Stop, Thought, ToolCall, ToolResult, Verbatim};
use crate::usage::Usage;

/// Receives the deltas of an answer.
pub(super) type OnDelta<'a> = &'a mut (dyn FnMut(Delta) + Send);

/// The model that receives a request and writes the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Author<'a> {
    /// `provider/model`.
    pub(super) by: &'a str,
    pub(super) wire: Wire,
    /// The API that the provider and the model use without a setting.
    pub(super) default_wire: Wire,
}

impl Author<'_> {
    /// The provider's own blocks of an answer, if this model wrote them in this API.
    pub(super) fn own<'v>(&self, answer: &'v Answer) -> Option<&'v Verbatim> {
        let verbatim = answer.verbatim.as_ref()?;
        let wire = verbatim.wire.unwrap_or(self.default_wire);
        (verbatim.by == self.by && wire == self.wire).then_some(verbatim)
    }
}

#[derive(Debug)]
pub(super) struct Draft {
    answer: Answer,
    pub(super) usage: Usage,
    pub(super) stop: Option<Stop>,
    /// The ids of all earlier calls: some servers use the same ids in every answer.
    ids: HashSet<String>,
    /// The number of items before this answer, from which generated ids are derived.
    items: usize,
    /// The name of this model, as the author of its thoughts and blocks.
    by: String,
    wire: Wire,
    /// See [`Verbatim::prefix`].
    prefix: Option<String>,
}

impl Draft {
    pub(super) fn new(prompt: &Prompt<'_>, author: Author<'_>) -> Self {
        let answers = prompt.items.iter().filter_map(|item| match item {
            Item::Answered(answer) => Some(answer),
            Item::Input { .. } | Item::Shown { .. } | Item::Returned { .. } => None,
        });
        let ids = answers.flat_map(|answer| answer.calls.iter().map(|call| call.id.clone()));
        Self {
            answer: Answer::default(),
            usage: Usage::default(),
            stop: None,
            ids: ids.collect(),
            items: prompt.items.len(),
            by: author.by.to_owned(),
            wire: author.wire,
            prefix: None,
        }
    }

    /// Binds the provider's own blocks to the prefix with this digest.
    pub(super) fn bound_to(self, prefix: String) -> Self {
        Self {
            prefix: Some(prefix),
            ..self
        }
    }

    pub(super) fn push_text(&mut self, fragment: &str, on_delta: OnDelta<'_>) {
        if !fragment.is_empty() {
            self.answer.text.push_str(fragment);
            on_delta(Delta::Text(fragment.to_owned()));
        }
    }

    /// Begins a new paragraph, so that the following text is separate from the text so far.
    pub(super) fn begin_paragraph(&mut self, on_delta: OnDelta<'_>) {
        if !self.answer.text.is_empty() && !self.answer.text.ends_with("\n\n") {
            self.push_text("\n\n", on_delta);
        }
    }

    pub(super) fn begin_thought(&mut self) {
        self.answer.thoughts.push(Thought {
            text: String::new(),
            signature: None,
            by: self.by.clone(),
        });
    }

    /// The last thought. Begins a thought if the answer has none yet.
    pub(super) fn thought(&mut self) -> &mut Thought {
        if self.answer.thoughts.is_empty() {
            self.begin_thought();
        }
        self.answer
            .thoughts
            .last_mut()
            .expect("at least one thought")
    }

    pub(super) fn push_thought(&mut self, fragment: &str, on_delta: OnDelta<'_>) {
        if !fragment.is_empty() {
            self.thought().text.push_str(fragment);
            on_delta(Delta::Thought(fragment.to_owned()));
        }
    }

    /// Begins another call and returns its index. A generated id replaces a missing or duplicate id.
    pub(super) fn begin_call(&mut self, id: &str, name: &str, on_delta: OnDelta<'_>) -> usize {
        let number = self.answer.calls.len();
        let mut id = id.to_owned();
        if id.is_empty() || self.ids.contains(&id) {
            id = format!("call-{}-{number}", self.items);
        }
        self.ids.insert(id.clone());
        on_delta(Delta::Call {
            id: id.clone(),
            name: name.to_owned(),
        });
        self.answer.calls.push(ToolCall {
            id,
            name: name.to_owned(),
            input: String::new(),
        });
        number
    }

    pub(super) fn push_input(&mut self, call: usize, fragment: &str, on_delta: OnDelta<'_>) {
        if let Some(call) = self.answer.calls.get_mut(call)
            && !fragment.is_empty()
        {
            call.input.push_str(fragment);
            on_delta(Delta::Input {
                id: call.id.clone(),
                fragment: fragment.to_owned(),
            });
        }
    }

    /// The arguments of a call so far.
    pub(super) fn input_of(&self, call: usize) -> &str {
        self.answer.calls.get(call).map_or("", |call| &call.input)
    }

    /// The answer, if its stop reason is known. `blocks` returns the provider's own blocks if they must be kept.
    pub(super) fn finish_with(
        self,
        blocks: impl FnOnce(&Answer) -> Option<Vec<serde_json::Value>>,
    ) -> Option<Answer> {
        let mut answer = self.answer;
        for call in &mut answer.calls {
            // Some models send an empty string for no arguments.
            if call.input.trim().is_empty() {
                call.input = "{}".to_owned();
            }
        }
        answer
            .thoughts
            .retain(|thought| !thought.text.is_empty() || thought.signature.is_some());
        // Some servers report `Finished` for an answer with calls, or `Calls` for an answer without calls.
        answer.stop = match self.stop? {
            Stop::Finished | Stop::Calls if answer.calls.is_empty() => Stop::Finished,
            Stop::Finished => Stop::Calls,
            // An answer with calls waits for their results, so it is not a pause.
            Stop::Paused if !answer.calls.is_empty() => Stop::Calls,
            stop @ (Stop::Calls | Stop::Length | Stop::Refused | Stop::Paused) => stop,
        };
        let blocks = blocks(&answer);
        answer.verbatim = blocks.map(|blocks| Verbatim {
            by: self.by,
            wire: Some(self.wire),
            blocks,
            prefix: self.prefix,
        });
        answer.usage = self.usage;
        Some(answer)
    }
}

/// The arguments of an earlier call as an object, as all APIs require.
pub(super) fn as_object(input: &str) -> serde_json::Value {
    match serde_json::from_str(input) {
        Ok(value @ serde_json::Value::Object(_)) => value,
        _ => serde_json::json!({ "unparsable": input }),
    }
}

/// The result of a call, for an API without a field for a failed call.
pub(super) fn result_text(result: &ToolResult) -> String {
    let failed = if result.failed { "error: " } else { "" };
    format!("{failed}{}", result.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_belong_to_one_model_and_one_api() {
        let author = |by, wire| Author {
            by,
            wire,
            default_wire: Wire::Messages,
        };
        let answer = |wire| Answer {
            verbatim: Some(Verbatim {
                by: "a/m".to_owned(),
                wire,
                blocks: Vec::new(),
                prefix: None,
            }),
            ..Answer::default()
        };
        for (wire, by, now, is_own) in [
            (None, "a/m", Wire::Messages, true),
            (None, "a/m", Wire::Responses, false),
            (Some(Wire::Responses), "a/m", Wire::Responses, true),
            (Some(Wire::Responses), "a/m", Wire::Messages, false),
            (Some(Wire::Messages), "a/n", Wire::Messages, false),
        ] {
            let found = author(by, now).own(&answer(wire)).is_some();
            assert_eq!(found, is_own, "{wire:?} {by} {now:?}");
        }
    }
}
