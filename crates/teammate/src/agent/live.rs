//! What a member's model says, in pieces, on its way to whoever watches live. Written by the mind, taken by the worker's
//! loop.
//!
//! It is as fast as the model and owes nothing to the pane. What nobody takes in time is left out, never kept: the
//! transcript has it all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_protocol::notification::Said;
use tokio::sync::Notify;

use super::transcript::without_middle;
use crate::model::{Answer, ToolCall, ToolResult};

/// Bytes that may wait to be taken, at most; then pieces are left out.
const WAITING_MAX: usize = 128 << 10;

/// What a piece weighs besides its text.
const PIECE: usize = 128;

/// Bytes of what a call returned that are told.
const RETURNED_MAX: usize = 16 << 10;

#[derive(Debug, Clone)]
pub(super) struct Live {
    /// Of this launch, so that ids stay unique when another one goes on.
    prefix: Arc<str>,
    messages: Arc<AtomicU64>,
    waiting: Arc<Mutex<Waiting>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    said: Vec<Said>,
    weight: usize,
    /// Bytes of text that were left out just now.
    left_out: usize,
}

impl Live {
    /// `launch` is this launch's id.
    pub(super) fn new(launch: &str) -> Self {
        Self {
            prefix: launch.chars().take(8).collect::<String>().into(),
            messages: Arc::default(),
            waiting: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// What was said since the last call.
    pub(super) fn take(&self) -> Vec<Said> {
        let mut waiting = self.waiting();
        waiting.weight = 0;
        std::mem::take(&mut waiting.said)
    }

    /// Returns when something waits to be taken. Safe to cancel.
    pub(super) async fn changed(&self) {
        loop {
            if !self.waiting().said.is_empty() {
                return;
            }
            self.changed.notified().await;
        }
    }

    /// One answer that is about to come.
    pub(super) fn speech(&self) -> Speech<'_> {
        Speech {
            live: self,
            text: None,
            message: None,
            call: None,
            told: 0,
            calls: 0,
        }
    }

    pub(super) fn returned(&self, result: &ToolResult) {
        self.push(Said::Returned {
            call: result.id.clone(),
            text: without_middle(result.text.clone(), RETURNED_MAX),
        });
    }

    /// Lines that are neither words nor a call's.
    pub(super) fn lines(&self, text: String, diff: bool) {
        self.push(Said::Lines { text, diff });
    }

    fn push(&self, said: Said) {
        self.waiting().push(said);
        self.changed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_message(&self) -> String {
        let number = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{}-{number}", self.prefix)
    }
}

impl Waiting {
    fn push(&mut self, said: Said) {
        let length = match &said {
            Said::Text { delta, .. } | Said::Input { delta, .. } => delta.len(),
            Said::Returned { text, .. } | Said::Lines { text, .. } => text.len(),
            Said::TextEnded { .. } | Said::Call { .. } | Said::CallEnded { .. } | Said::Unknown => {
                0
            }
        };
        if self.weight + length + PIECE > WAITING_MAX {
            if let Said::Text { .. } = said {
                self.left_out += length;
            }
            return;
        }
        match (self.said.last_mut(), said) {
            (
                Some(Said::Text { message, delta }),
                Said::Text {
                    message: same,
                    delta: more,
                },
            ) if *message == same => {
                self.weight += length;
                delta.push_str(&more);
            }
            (
                Some(Said::Input { call, delta }),
                Said::Input {
                    call: same,
                    delta: more,
                },
            ) if *call == same => {
                self.weight += length;
                delta.push_str(&more);
            }
            (_, Said::Text { message, delta }) if self.left_out > 0 => {
                let left_out = std::mem::take(&mut self.left_out);
                let delta = format!("\n… {left_out} bytes left out …\n{delta}");
                self.weight += delta.len() + PIECE;
                self.said.push(Said::Text { message, delta });
            }
            (_, said) => {
                self.weight += length + PIECE;
                self.said.push(said);
            }
        }
    }
}

/// An answer while it comes: one thing at a time, each begun and ended. Dropping it ends what is left.
#[derive(Debug)]
pub(super) struct Speech<'a> {
    live: &'a Live,
    /// The text that is being said.
    text: Option<String>,
    /// The last one that was said.
    message: Option<String>,
    /// The call that is being said.
    call: Option<String>,
    /// Bytes of text, and calls, told so far.
    told: usize,
    calls: usize,
}

impl Speech<'_> {
    pub(super) fn text(&mut self, delta: &str) {
        if delta.is_empty() {
            return;
        }
        self.end_call();
        self.told += delta.len();
        let message = self.text.get_or_insert_with(|| self.live.next_message());
        self.message = Some(message.clone());
        self.live.push(Said::Text {
            message: message.clone(),
            delta: delta.to_owned(),
        });
    }

    pub(super) fn call(&mut self, id: &str, tool: &str) {
        self.pause();
        self.calls += 1;
        self.call = Some(id.to_owned());
        self.live.push(Said::Call {
            call: id.to_owned(),
            tool: tool.to_owned(),
            message: self.message.clone(),
        });
    }

    pub(super) fn input(&self, id: &str, fragment: &str) {
        self.live.push(Said::Input {
            call: id.to_owned(),
            delta: fragment.to_owned(),
        });
    }

    /// A call that somebody else has carried out, and what it came to.
    pub(super) fn searched(&mut self, call: &ToolCall, found: String) {
        self.call(&call.id, &call.name);
        // It is none of the answer's.
        self.calls -= 1;
        self.input(&call.id, &call.input);
        self.end_call();
        self.live.returned(&ToolResult {
            id: call.id.clone(),
            text: found,
            failed: false,
        });
    }

    /// Another attempt follows: this one is over.
    pub(super) fn start_over(&mut self) {
        self.pause();
        self.message = None;
        (self.told, self.calls) = (0, 0);
    }

    /// Tells what the model said without telling it piece by piece.
    pub(super) fn complete(&mut self, answer: &Answer) {
        if self.told == 0 {
            self.text(&answer.text);
        }
        for call in answer.calls.iter().skip(self.calls) {
            self.call(&call.id, &call.name);
            self.input(&call.id, &call.input);
        }
    }

    fn pause(&mut self) {
        if let Some(message) = self.text.take() {
            self.live.push(Said::TextEnded { message });
        }
        self.end_call();
    }

    fn end_call(&mut self) {
        if let Some(call) = self.call.take() {
            self.live.push(Said::CallEnded { call });
        }
    }
}

impl Drop for Speech<'_> {
    fn drop(&mut self) {
        self.pause();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live::new("0123456789")
    }

    #[test]
    fn an_answer_is_told_one_thing_at_a_time() {
        let live = live();
        let mut speech = live.speech();
        speech.text("I ");
        speech.text("look.");
        speech.call("c1", "read");
        speech.input("c1", "{\"path\"");
        speech.input("c1", ":\"a\"}");
        speech.call("c2", "glob");
        drop(speech);
        let (message, call) = (|| "01234567-1".to_owned(), |id: &str| id.to_owned());
        assert_eq!(
            live.take(),
            [
                Said::Text {
                    message: message(),
                    delta: "I look.".into()
                },
                Said::TextEnded { message: message() },
                Said::Call {
                    call: call("c1"),
                    tool: "read".into(),
                    message: Some(message())
                },
                Said::Input {
                    call: call("c1"),
                    delta: "{\"path\":\"a\"}".into()
                },
                Said::CallEnded { call: call("c1") },
                Said::Call {
                    call: call("c2"),
                    tool: "glob".into(),
                    message: Some(message())
                },
                Said::CallEnded { call: call("c2") },
            ]
        );
        assert_eq!(live.take(), []);
    }

    #[test]
    fn a_model_that_tells_nothing_on_the_way_is_told_whole() {
        let live = live();
        let answer = Answer {
            text: "Done.".into(),
            calls: vec![ToolCall {
                id: "c1".into(),
                name: "finish".into(),
                input: "{}".into(),
            }],
            ..Answer::default()
        };
        live.speech().complete(&answer);
        assert_eq!(live.take().len(), 5);
        let mut speech = live.speech();
        speech.text("Done.");
        speech.call("c1", "finish");
        speech.input("c1", "{}");
        speech.complete(&answer);
        drop(speech);
        assert_eq!(live.take().len(), 5, "nothing is told twice");
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_says_so() {
        let live = live();
        let mut speech = live.speech();
        for _ in 0..10_000 {
            speech.text(&"x".repeat(100));
            speech.call("c1", "read");
        }
        let weight = |said: &Said| serde_json::to_string(said).unwrap().len();
        let taken = live.take();
        assert!(taken.iter().map(weight).sum::<usize>() <= WAITING_MAX);
        speech.text("again");
        let taken = live.take();
        let told = |said: &Said| matches!(said, Said::Text { delta, .. } if delta.contains("left out") && delta.ends_with("again"));
        assert!(taken.iter().any(told), "{taken:?}");
    }
}
