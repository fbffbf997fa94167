//! Shows the output of an external agent during a turn: its text, its thoughts, its calls and its plan. Called by the
//! loop.

use std::collections::HashMap;

use agent_team_protocol::notification::MemberModel;
use agent_team_protocol::view::ContextView;
use agent_team_terminal_ui::{TextKind, Tone};
use agent_team_tools::secret::{RedactedStream, Secrets};
use agent_team_tools::team::without_middle;

use super::wire::{CallContent, ContentBlock, PlanEntry, SessionUpdate, ToolCall};
use crate::agent::output_sink::{EndedCall, OutputSink, Stream};
use crate::live_output::AnswerStream;

/// The largest output of a call that is shown, in bytes.
const SHOWN_MAX: usize = 30_000;

/// The largest unfinished text of the agent that is kept, in bytes.
const TEXT_MAX: usize = 1 << 20;

/// The largest number of calls that are shown at the same time. An agent that never ends its calls must not fill the
/// memory.
const CALLS_MAX: usize = 256;

/// The largest number of bytes that are kept of the content of all these calls.
const CONTENT_MAX: usize = 16 << 20;

/// The longest id of a call that is shown.
const ID_MAX: usize = 1 << 10;

/// The largest title of a call, in bytes.
const TITLE_MAX: usize = 4 << 10;

pub(super) struct Updates<'a> {
    sink: &'a OutputSink,
    /// The name of the agent, which `ps` shows as the model.
    agent: &'a str,
    secrets: &'a Secrets,
    /// The text that the agent writes.
    text: Option<StreamedText<'a>>,
    /// The text since the last call.
    last_text: String,
    /// The content of the calls that have not ended.
    calls: HashMap<String, Content>,
}

/// The content of a call.
#[derive(Default)]
struct Content {
    parts: Vec<CallContent>,
    bytes: usize,
    /// The content was too large to be kept.
    is_omitted: bool,
}

/// A text of the agent that has not ended. Dropping it shows the rest.
struct StreamedText<'a> {
    kind: TextKind,
    stream: Stream<'a>,
    /// The stream to connected clients.
    live: AnswerStream<'a>,
    /// Holds back text that could be the beginning of a secret.
    redacted: RedactedStream,
}

impl Drop for StreamedText<'_> {
    fn drop(&mut self) {
        let rest = self.redacted.rest_of_text();
        if !rest.is_empty() {
            self.push(&rest);
        }
    }
}

impl StreamedText<'_> {
    fn push(&mut self, shown: &str) {
        self.stream.push(shown);
        match self.kind {
            TextKind::Answer => self.live.text(shown),
            TextKind::Thought => self.live.thought(shown),
        }
    }
}

impl<'a> Updates<'a> {
    pub(super) fn new(sink: &'a OutputSink, agent: &'a str, secrets: &'a Secrets) -> Self {
        Self {
            sink,
            agent,
            secrets,
            text: None,
            last_text: String::new(),
            calls: HashMap::new(),
        }
    }

    /// Shows an update. Returns the id of the call that it ends, if any.
    pub(super) fn show(&mut self, update: SessionUpdate) -> Option<String> {
        match update {
            SessionUpdate::AgentMessageChunk { content, .. } => {
                self.text(TextKind::Answer, content)
            }
            SessionUpdate::AgentThoughtChunk { content } => self.text(TextKind::Thought, content),
            SessionUpdate::ToolCall(call) => return self.begin(call),
            SessionUpdate::ToolCallUpdate(update) => return self.update(update),
            SessionUpdate::Plan { entries } => self.plan(&entries),
            SessionUpdate::UsageUpdate { used, size, .. } => self.sink.report_model(MemberModel {
                model: self.agent.to_owned(),
                context: ContextView::new(used, size),
            }),
            // These updates show nothing: the loop's own prompts, the mode, the cost, and the agent's own menus.
            SessionUpdate::CurrentModeUpdate { .. }
            | SessionUpdate::Spent { .. }
            | SessionUpdate::Other => {}
        }
        None
    }

    /// Ends the shown text and all calls. Returns the agent's last text.
    pub(super) fn finish(mut self) -> String {
        self.text = None;
        let calls: Vec<_> = self.calls.keys().cloned().collect();
        for call in calls {
            self.end(&call, "the turn ended before the call\n");
        }
        self.secrets.redact(&self.last_text).into_owned()
    }

    fn text(&mut self, kind: TextKind, content: ContentBlock) {
        let ContentBlock::Text { text } = content else {
            return;
        };
        if self
            .text
            .as_ref()
            .is_none_or(|current| current.kind != kind)
        {
            self.text = None;
            self.text = Some(StreamedText {
                kind,
                stream: self.sink.stream(kind),
                live: self.sink.live.answer_stream(),
                redacted: self.secrets.stream(),
            });
        }
        if let Some(current) = &mut self.text {
            let shown = current.redacted.text(&text);
            current.push(&shown);
        }
        if kind == TextKind::Answer {
            self.last_text.push_str(&text);
            if self.last_text.len() > TEXT_MAX {
                self.last_text = without_middle(std::mem::take(&mut self.last_text), TEXT_MAX / 2);
            }
        }
    }

    fn begin(&mut self, call: ToolCall) -> Option<String> {
        self.text = None;
        self.last_text.clear();
        let ToolCall {
            tool_call_id: id,
            title,
            status,
            content,
            ..
        } = call;
        if self.calls.len() < CALLS_MAX && id.len() <= ID_MAX {
            let title = self.title(title.unwrap_or_default());
            self.sink.begun(&id, &title);
            self.calls.insert(id.clone(), Content::default());
        }
        self.keep(&id, content.unwrap_or_default());
        self.follow(id, status?)
    }

    fn update(&mut self, update: ToolCall) -> Option<String> {
        let ToolCall {
            tool_call_id: id,
            title,
            status,
            content,
            ..
        } = update;
        if let Some(content) = content {
            self.keep(&id, content);
        }
        if let (Some(title), true) = (title, self.calls.contains_key(&id)) {
            self.sink.status(&id, &self.title(title));
        }
        self.follow(id, status?)
    }

    fn title(&self, title: String) -> String {
        without_middle(self.secrets.redact(&title).into_owned(), TITLE_MAX)
    }

    /// Replaces the content of a call.
    fn keep(&mut self, id: &str, parts: Vec<CallContent>) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        *call = Content::default();
        let bytes: usize = parts.iter().map(bytes_of).sum();
        let kept: usize = self.calls.values().map(|call| call.bytes).sum();
        let is_omitted = kept + bytes > CONTENT_MAX;
        let content = match is_omitted {
            true => Content {
                is_omitted,
                ..Content::default()
            },
            false => Content {
                parts,
                bytes,
                is_omitted,
            },
        };
        self.calls.insert(id.to_owned(), content);
    }

    /// Ends the call if its status is final.
    fn follow(&mut self, id: String, status: String) -> Option<String> {
        match status.as_str() {
            "completed" => self.end(&id, ""),
            "failed" => self.end(&id, "failed\n"),
            _ => return None,
        }
        Some(id)
    }

    fn end(&mut self, id: &str, what: &str) {
        let Some(content) = self.calls.remove(id) else {
            return;
        };
        let mut text = what.to_owned();
        let mut changes = String::new();
        if content.is_omitted {
            text.push_str("the output is too large to be shown\n");
        }
        for part in content.parts {
            match part {
                CallContent::Content {
                    content: ContentBlock::Text { text: of_call },
                } => {
                    text.push_str(&of_call);
                    text.push('\n');
                }
                CallContent::Diff {
                    path,
                    old_text,
                    new_text,
                } => {
                    let path = path.to_string_lossy();
                    let old = old_text.as_deref().unwrap_or_default();
                    let diff = agent_team_tools::unified_diff(&path, old, &new_text);
                    changes
                        .push_str(&diff.unwrap_or_else(|| format!("a large change of {path}\n")));
                }
                CallContent::Patch { diff, .. } => changes.push_str(&diff),
                CallContent::Content {
                    content: ContentBlock::Other,
                }
                | CallContent::Other => {}
            }
        }
        let changes = self.secrets.redact(&changes).into_owned();
        let text = without_middle(self.secrets.redact(&text).into_owned(), SHOWN_MAX);
        let first_line = text.lines().find(|line| !line.trim().is_empty());
        self.sink.ended(EndedCall {
            call: id.to_owned(),
            diff: (!changes.is_empty()).then(|| without_middle(changes, SHOWN_MAX)),
            first_line: first_line.unwrap_or_default().to_owned(),
            unseen: (!text.is_empty()).then(|| text.clone()),
            all: text,
        });
    }

    fn plan(&mut self, entries: &[PlanEntry]) {
        let mut text = "plan".to_owned();
        for entry in entries {
            text.push_str(&format!("\n  - {}", entry.content));
        }
        let text = self.secrets.redact(&text).into_owned();
        self.sink.lines(Tone::Dim, &without_middle(text, SHOWN_MAX));
    }
}

/// The number of bytes that a part of a call's content needs in memory, including its fixed size.
fn bytes_of(part: &CallContent) -> usize {
    let text = match part {
        CallContent::Content {
            content: ContentBlock::Text { text },
        } => text.len(),
        CallContent::Diff {
            path,
            old_text,
            new_text,
        } => path.as_os_str().len() + old_text.as_ref().map_or(0, String::len) + new_text.len(),
        CallContent::Patch { path, diff } => path.as_os_str().len() + diff.len(),
        CallContent::Content {
            content: ContentBlock::Other,
        }
        | CallContent::Other => 0,
    };
    size_of::<CallContent>() + text
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::notification::OutputFragment;
    use serde_json::json;

    use super::*;
    use crate::agent::output_sink::OutputEvent;
    use crate::live_output::LiveOutput;

    fn call(id: &str, text: &str) -> SessionUpdate {
        let content = json!([{ "type": "content", "content": { "type": "text", "text": text } }]);
        let update = json!({ "sessionUpdate": "tool_call", "toolCallId": id, "content": content });
        serde_json::from_value(update).unwrap()
    }

    #[test]
    fn open_calls_end_with_the_turn_and_keep_bounded_content() {
        let (sink, mut shown) = OutputSink::new(LiveOutput::new("1"));
        let secrets = Secrets::default();
        let mut updates = Updates::new(&sink, "ida", &secrets);
        updates.show(call("small", "one line"));
        updates.show(call("large", &"x".repeat(CONTENT_MAX)));
        updates.show(call(&"x".repeat(ID_MAX + 1), "not shown"));
        updates.finish();
        let mut ended = Vec::new();
        while let Ok(event) = shown.try_recv() {
            if let OutputEvent::EndedCall(call) = event {
                ended.push((call.call, call.all));
            }
        }
        ended.sort();
        let over = "the turn ended before the call";
        let large = format!("{over}\nthe output is too large to be shown");
        let small = format!("{over}\none line");
        let expected = [("large".to_owned(), large), ("small".to_owned(), small)];
        assert_eq!(ended, expected);
    }

    #[test]
    fn clients_receive_thoughts_and_text_without_secrets() {
        let live = LiveOutput::new("01234567");
        let (sink, _shown) = OutputSink::new(live.clone());
        let secret = ("KEY".to_owned(), "hunter2-hunter2".to_owned());
        let secrets = Secrets::new(&[secret].into());
        let mut updates = Updates::new(&sink, "ida", &secrets);
        for (kind, text) in [
            ("agent_thought_chunk", "It is "),
            ("agent_thought_chunk", "hunter2-hunter2."),
            ("agent_message_chunk", "Done."),
        ] {
            let content = json!({ "type": "text", "text": text });
            let update = json!({ "sessionUpdate": kind, "content": content });
            updates.show(serde_json::from_value(update).unwrap());
        }
        updates.finish();
        let mut seen = Vec::new();
        for fragment in live.take() {
            if let OutputFragment::Thought { delta, .. } = fragment {
                seen.push(("thought", delta));
            } else if let OutputFragment::Text { delta, .. } = fragment {
                seen.push(("text", delta));
            }
        }
        assert!(!format!("{seen:?}").contains("hunter2"), "{seen:?}");
        assert_eq!(seen.first().unwrap().0, "thought");
        assert!(seen[0].1.starts_with("It is "), "{seen:?}");
        assert_eq!(seen[1..], [("text", "Done.".to_owned())]);
    }
}
