//! Streams a member's output to connected clients. The agent and its loop write the output; the worker's loop reads it.
//!
//! A slow pane does not delay this stream. While the queue is full, new fragments are dropped. The transcript contains
//! the model's complete text.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_llm::{Answer, ToolCall, ToolResult};
use agent_team_protocol::notification::OutputFragment;
use agent_team_tools::team::without_middle;
use tokio::sync::Notify;

/// The number of queued bytes above which fragments are dropped.
const QUEUE_MAX: usize = 128 << 10;

/// The weight of each fragment in addition to its text, in bytes.
const FRAGMENT_COST: usize = 128;

/// The largest part of a call's result, in bytes, that is sent.
const RETURNED_MAX: usize = 16 << 10;

#[derive(Debug, Clone)]
pub(crate) struct LiveOutput {
    /// The prefix of ids, which is unique to this launch, so that ids do not repeat after a restart.
    prefix: Arc<str>,
    messages: Arc<AtomicU64>,
    queue: Arc<Mutex<Queue>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    fragments: Vec<OutputFragment>,
    weight: usize,
    /// The number of bytes of text dropped since the last text that was queued.
    dropped: usize,
}

impl LiveOutput {
    /// `launch` is this launch's id.
    pub(crate) fn new(launch: &str) -> Self {
        Self {
            prefix: launch.chars().take(8).collect::<String>().into(),
            messages: Arc::default(),
            queue: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Takes the fragments since the last call.
    pub(crate) fn take(&self) -> Vec<OutputFragment> {
        let mut queue = self.queue();
        queue.weight = 0;
        std::mem::take(&mut queue.fragments)
    }

    /// Returns when fragments are available. Cancel-safe.
    pub(crate) async fn changed(&self) {
        loop {
            if !self.queue().fragments.is_empty() {
                return;
            }
            self.changed.notified().await;
        }
    }

    pub(crate) fn answer_stream(&self) -> AnswerStream<'_> {
        AnswerStream {
            live: self,
            text: None,
            thought: None,
            message: None,
            call: None,
            sent: 0,
            calls: 0,
        }
    }

    pub(crate) fn returned(&self, result: &ToolResult) {
        self.push(OutputFragment::Returned {
            call: result.id.clone(),
            text: without_middle(result.text.clone(), RETURNED_MAX),
            failed: result.failed,
        });
    }

    /// Sends lines that belong neither to the model's text nor to a call.
    pub(crate) fn lines(&self, text: String, diff: bool) {
        self.push(OutputFragment::Lines { text, diff });
    }

    fn push(&self, fragment: OutputFragment) {
        self.queue().push(fragment);
        self.changed.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_message(&self) -> String {
        let number = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{}-{number}", self.prefix)
    }
}

impl Queue {
    fn push(&mut self, mut fragment: OutputFragment) {
        let mut length = match &fragment {
            OutputFragment::Text { delta, .. }
            | OutputFragment::Thought { delta, .. }
            | OutputFragment::Input { delta, .. } => delta.len(),
            OutputFragment::Returned { text, .. } | OutputFragment::Lines { text, .. } => {
                text.len()
            }
            OutputFragment::TextEnded { .. }
            | OutputFragment::Call { .. }
            | OutputFragment::CallEnded { .. }
            | OutputFragment::Unknown => 0,
        };
        if self.weight + length + FRAGMENT_COST > QUEUE_MAX {
            if let OutputFragment::Text { .. } = fragment {
                self.dropped += length;
            }
            return;
        }
        // Mark the place at which text is missing, even if this text is appended to the last fragment.
        if let OutputFragment::Text { delta, .. } = &mut fragment
            && self.dropped > 0
        {
            let dropped = std::mem::take(&mut self.dropped);
            *delta = format!("\n… {dropped} bytes omitted …\n{delta}");
            length = delta.len();
        }
        match (self.fragments.last_mut(), fragment) {
            (
                Some(OutputFragment::Text { message, delta }),
                OutputFragment::Text {
                    message: same,
                    delta: more,
                },
            ) if *message == same => {
                self.weight += length;
                delta.push_str(&more);
            }
            (
                Some(OutputFragment::Thought { message, delta }),
                OutputFragment::Thought {
                    message: same,
                    delta: more,
                },
            ) if *message == same => {
                self.weight += length;
                delta.push_str(&more);
            }
            (
                Some(OutputFragment::Input { call, delta }),
                OutputFragment::Input {
                    call: same,
                    delta: more,
                },
            ) if *call == same => {
                self.weight += length;
                delta.push_str(&more);
            }
            (_, fragment) => {
                self.weight += length + FRAGMENT_COST;
                self.fragments.push(fragment);
            }
        }
    }
}

/// An answer that streams in, with at most one open text or call. A fragment marks the start of a call; a text starts
/// with its first delta. A fragment marks the end of each text and call. Dropping the stream ends the open text or
/// call.
#[derive(Debug)]
pub(crate) struct AnswerStream<'a> {
    live: &'a LiveOutput,
    /// The id of the open text.
    text: Option<String>,
    /// The id of the open thought.
    thought: Option<String>,
    /// The id of the last text, to which calls refer.
    message: Option<String>,
    /// The id of the open call.
    call: Option<String>,
    /// The number of bytes of text sent so far.
    sent: usize,
    /// The number of calls sent so far, without calls that the provider has executed.
    calls: usize,
}

impl AnswerStream<'_> {
    pub(crate) fn text(&mut self, delta: &str) {
        if delta.is_empty() {
            return;
        }
        self.end_call();
        self.thought = None;
        self.sent += delta.len();
        let message = self.text.get_or_insert_with(|| self.live.next_message());
        self.message = Some(message.clone());
        self.live.push(OutputFragment::Text {
            message: message.clone(),
            delta: delta.to_owned(),
        });
    }

    pub(crate) fn thought(&mut self, delta: &str) {
        if delta.is_empty() {
            return;
        }
        self.end_text();
        self.end_call();
        let message = self.thought.get_or_insert_with(|| self.live.next_message());
        self.live.push(OutputFragment::Thought {
            message: message.clone(),
            delta: delta.to_owned(),
        });
    }

    pub(crate) fn call(&mut self, id: &str, tool: &str) {
        self.end_open();
        self.calls += 1;
        self.call = Some(id.to_owned());
        self.live.push(OutputFragment::Call {
            call: id.to_owned(),
            tool: tool.to_owned(),
            message: self.message.clone(),
        });
    }

    pub(crate) fn input(&self, id: &str, fragment: &str) {
        self.live.push(OutputFragment::Input {
            call: id.to_owned(),
            delta: fragment.to_owned(),
        });
    }

    /// Sends a call that the provider has executed, with its result.
    pub(crate) fn searched(&mut self, call: &ToolCall, found: String) {
        self.call(&call.id, &call.name);
        // The provider's call is not one of the answer's calls.
        self.calls -= 1;
        self.input(&call.id, &call.input);
        self.end_call();
        self.live.returned(&ToolResult {
            id: call.id.clone(),
            text: found,
            failed: false,
            media: Vec::new(),
        });
    }

    /// Ends this attempt before a retry.
    pub(crate) fn start_over(&mut self) {
        self.end_open();
        self.message = None;
        (self.sent, self.calls) = (0, 0);
    }

    /// Sends the parts of the answer that the model did not stream.
    pub(crate) fn complete(&mut self, answer: &Answer) {
        if self.sent == 0 {
            self.text(&answer.text);
        }
        for call in answer.calls.iter().skip(self.calls) {
            self.call(&call.id, &call.name);
            self.input(&call.id, &call.input);
        }
    }

    /// Ends the open text, thought or call, if any.
    fn end_open(&mut self) {
        self.end_text();
        self.thought = None;
        self.end_call();
    }

    fn end_text(&mut self) {
        if let Some(message) = self.text.take() {
            self.live.push(OutputFragment::TextEnded { message });
        }
    }

    fn end_call(&mut self) {
        if let Some(call) = self.call.take() {
            self.live.push(OutputFragment::CallEnded { call });
        }
    }
}

impl Drop for AnswerStream<'_> {
    fn drop(&mut self) {
        self.end_open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> LiveOutput {
        LiveOutput::new("0123456789")
    }

    #[test]
    fn text_and_calls_do_not_overlap() {
        let live = live();
        let mut stream = live.answer_stream();
        stream.text("I ");
        stream.text("look.");
        stream.call("c1", "read");
        stream.input("c1", "{\"path\"");
        stream.input("c1", ":\"a\"}");
        stream.call("c2", "glob");
        drop(stream);
        let (message, call) = (|| "01234567-1".to_owned(), |id: &str| id.to_owned());
        assert_eq!(
            live.take(),
            [
                OutputFragment::Text {
                    message: message(),
                    delta: "I look.".into()
                },
                OutputFragment::TextEnded { message: message() },
                OutputFragment::Call {
                    call: call("c1"),
                    tool: "read".into(),
                    message: Some(message())
                },
                OutputFragment::Input {
                    call: call("c1"),
                    delta: "{\"path\":\"a\"}".into()
                },
                OutputFragment::CallEnded { call: call("c1") },
                OutputFragment::Call {
                    call: call("c2"),
                    tool: "glob".into(),
                    message: Some(message())
                },
                OutputFragment::CallEnded { call: call("c2") },
            ]
        );
        assert_eq!(live.take(), []);
    }

    #[test]
    fn an_answer_that_was_not_streamed_is_sent_whole() {
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
        live.answer_stream().complete(&answer);
        assert_eq!(live.take().len(), 5);
        let mut stream = live.answer_stream();
        stream.text("Done.");
        stream.call("c1", "finish");
        stream.input("c1", "{}");
        stream.complete(&answer);
        drop(stream);
        assert_eq!(live.take().len(), 5, "nothing is sent twice");
    }

    #[test]
    fn the_note_marks_where_text_is_missing() {
        let live = live();
        let mut stream = live.answer_stream();
        stream.text("begin");
        stream.text(&"x".repeat(QUEUE_MAX));
        stream.text("middle");
        stream.text(" end");
        let expected = OutputFragment::Text {
            message: "01234567-1".into(),
            delta: format!("begin\n… {QUEUE_MAX} bytes omitted …\nmiddle end"),
        };
        assert_eq!(live.take(), [expected]);
    }

    #[test]
    fn dropped_text_leaves_a_note() {
        let live = live();
        let mut stream = live.answer_stream();
        for _ in 0..10_000 {
            stream.text(&"x".repeat(100));
            stream.call("c1", "read");
        }
        let weight = |fragment: &OutputFragment| serde_json::to_string(fragment).unwrap().len();
        let taken = live.take();
        assert!(taken.iter().map(weight).sum::<usize>() <= QUEUE_MAX);
        stream.text("again");
        let taken = live.take();
        let has_note = |text: &str| text.contains("omitted") && text.ends_with("again");
        let sent = |piece: &OutputFragment| matches!(piece, OutputFragment::Text { delta, .. } if has_note(delta));
        assert!(taken.iter().any(sent), "{taken:?}");
    }
}
