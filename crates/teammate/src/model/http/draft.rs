//! An answer while it comes. Filled by the two wires' readers, so that both tell and number things alike.

use std::collections::HashSet;

use super::super::{Answer, Delta, Item, Prompt, Stop, Thought, ToolCall, Usage, Verbatim};

/// Who hears of an answer while it comes.
pub(super) type Told<'a> = &'a mut (dyn FnMut(Delta) + Send);

#[derive(Debug)]
pub(super) struct Draft {
    answer: Answer,
    pub(super) usage: Usage,
    pub(super) stop: Option<Stop>,
    /// The ids of all calls so far: some servers give the same ones in every answer.
    ids: HashSet<String>,
    /// Where made-up ids come from: the number of items before this answer.
    items: usize,
    /// The model, as its thoughts name it.
    by: String,
}

impl Draft {
    pub(super) fn new(prompt: &Prompt<'_>, by: &str) -> Self {
        let answers = prompt.items.iter().filter_map(|item| match item {
            Item::Answered(answer) => Some(answer),
            Item::Said { .. } | Item::Returned { .. } => None,
        });
        let ids = answers.flat_map(|answer| answer.calls.iter().map(|call| call.id.clone()));
        Self {
            answer: Answer::default(),
            usage: Usage::default(),
            stop: None,
            ids: ids.collect(),
            items: prompt.items.len(),
            by: by.to_owned(),
        }
    }

    pub(super) fn text(&mut self, fragment: &str, told: Told<'_>) {
        if !fragment.is_empty() {
            self.answer.text.push_str(fragment);
            told(Delta::Text(fragment.to_owned()));
        }
    }

    /// What follows stands apart from the text so far.
    pub(super) fn paragraph(&mut self, told: Told<'_>) {
        if !self.answer.text.is_empty() && !self.answer.text.ends_with("\n\n") {
            self.text("\n\n", told);
        }
    }

    /// Begins another thought.
    pub(super) fn begin_thought(&mut self) {
        self.answer.thoughts.push(Thought {
            text: String::new(),
            signature: None,
            sealed: false,
            by: self.by.clone(),
        });
    }

    /// The thought that came last, or the first one.
    pub(super) fn thought(&mut self) -> &mut Thought {
        if self.answer.thoughts.is_empty() {
            self.begin_thought();
        }
        self.answer.thoughts.last_mut().expect("one was just begun")
    }

    pub(super) fn think(&mut self, fragment: &str, told: Told<'_>) {
        if !fragment.is_empty() {
            self.thought().text.push_str(fragment);
            told(Delta::Thought(fragment.to_owned()));
        }
    }

    /// Begins another call, and says which one it is. Without an id that is new it gets one of ours.
    pub(super) fn begin_call(&mut self, id: &str, name: &str, told: Told<'_>) -> usize {
        let number = self.answer.calls.len();
        let mut id = id.to_owned();
        if id.is_empty() || self.ids.contains(&id) {
            id = format!("call-{}-{number}", self.items);
        }
        self.ids.insert(id.clone());
        told(Delta::Call {
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

    /// More arguments of a call that was begun.
    pub(super) fn input(&mut self, call: usize, fragment: &str, told: Told<'_>) {
        if let Some(call) = self.answer.calls.get_mut(call)
            && !fragment.is_empty()
        {
            call.input.push_str(fragment);
            told(Delta::Input {
                id: call.id.clone(),
                fragment: fragment.to_owned(),
            });
        }
    }

    /// The arguments of a call so far.
    pub(super) fn input_of(&self, call: usize) -> &str {
        self.answer.calls.get(call).map_or("", |call| &call.input)
    }

    /// The answer, if it was said why it ended.
    pub(super) fn finish(self) -> Option<Answer> {
        self.finish_with(|_| None)
    }

    /// The same, with the provider's own blocks if there are any to be kept.
    pub(super) fn finish_with(
        self,
        blocks: impl FnOnce(&Answer) -> Option<Vec<serde_json::Value>>,
    ) -> Option<Answer> {
        let mut answer = self.answer;
        for call in &mut answer.calls {
            // So do those write who need no arguments.
            if call.input.trim().is_empty() {
                call.input = "{}".to_owned();
            }
        }
        answer
            .thoughts
            .retain(|thought| !thought.text.is_empty() || thought.signature.is_some());
        // Not every server tells these two apart.
        answer.stop = match self.stop? {
            Stop::Finished | Stop::Calls if answer.calls.is_empty() => Stop::Finished,
            Stop::Finished => Stop::Calls,
            // One that wants its calls carried out cannot be what is waited for.
            Stop::Paused if !answer.calls.is_empty() => Stop::Calls,
            stop @ (Stop::Calls | Stop::Length | Stop::Refused | Stop::Paused) => stop,
        };
        let blocks = blocks(&answer);
        answer.verbatim = blocks.map(|blocks| Verbatim {
            by: self.by,
            blocks,
        });
        answer.usage = self.usage;
        Some(answer)
    }
}

/// The arguments of an earlier call as the object that every wire wants to see again.
pub(super) fn as_object(input: &str) -> serde_json::Value {
    match serde_json::from_str(input) {
        Ok(value @ serde_json::Value::Object(_)) => value,
        _ => serde_json::json!({ "unparsable": input }),
    }
}
