//! The queue of a member's visible output for the pane and the log. The agent loop and its tools write to the queue;
//! the worker's loop reads it.
//!
//! Control characters are escaped here. The model's text is never dropped; tool output is dropped while the queue
//! contains too much of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_protocol::notification::MemberModel;
use agent_team_protocol::text::{visible, visible_line};
use agent_team_protocol::view::Waiting;
use agent_team_terminal_ui::{TextKind, Tone};
use agent_team_tools::mcp::{Prompts, QuestionDisplay};
use tokio::sync::mpsc;

use crate::live_output::LiveOutput;

/// The largest number of queued bytes of tool output.
const TOOL_OUTPUT_MAX: usize = 64 << 10;

/// An unfinished line of at least this many bytes is shown up to its last space.
const LONG_LINE: usize = 240;

/// An output event. The only control characters in its texts are newlines and tabs.
#[derive(Debug)]
pub(crate) enum OutputEvent {
    /// A piece of the model's text.
    Text(TextKind, String),
    /// The current text of the model is complete.
    TextEnded,
    Lines {
        tone: Tone,
        /// The lines, without a trailing newline.
        text: String,
    },
    /// The current work of the model, such as "thinking", for the pane. `None`: the request has ended.
    Work(Option<String>),
    Begun {
        call: String,
        header: String,
    },
    /// Output of a call, or of a process outside calls.
    Printed {
        call: Option<String>,
        /// The output, without a trailing newline.
        text: String,
        /// Released when the event is shown.
        size: QueuedBytes,
    },
    EndedCall(EndedCall),
    /// The status line of a running call. It replaces the call's previous status line.
    Status {
        call: String,
        text: String,
    },
    /// The prompts of MCP servers, which are slash commands.
    Commands(Prompts),
    /// The agent's wait. `None`: the agent continues.
    Waiting(Option<Waiting>),
    /// The model that answers, and the use of its window.
    Model(MemberModel),
}

/// A finished call.
#[derive(Debug)]
pub(crate) struct EndedCall {
    pub(super) call: String,
    pub(super) diff: Option<String>,
    /// The first line of the result, shown while the call is folded.
    pub(super) first_line: String,
    /// The part of the result that was not shown while the call ran; `None` if all was shown.
    pub(super) unseen: Option<String>,
    /// The complete result, shown when the user unfolds the call.
    pub(super) all: String,
}

/// The bytes of a queued event, counted against [`TOOL_OUTPUT_MAX`] until this value is dropped.
#[derive(Debug)]
pub(crate) struct QueuedBytes {
    bytes: usize,
    queued: Arc<AtomicUsize>,
}

impl Drop for QueuedBytes {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct OutputSink {
    // Unbounded: the model's text is small, and tool output is limited by [`TOOL_OUTPUT_MAX`].
    events: mpsc::UnboundedSender<OutputEvent>,
    /// The number of queued bytes of tool output.
    queued: Arc<AtomicUsize>,
    /// The stream to connected clients.
    pub(super) live: LiveOutput,
}

impl OutputSink {
    pub(super) fn new(live: LiveOutput) -> (Self, mpsc::UnboundedReceiver<OutputEvent>) {
        let (events, shown) = mpsc::unbounded_channel();
        let sink = Self {
            events,
            queued: Arc::default(),
            live,
        };
        (sink, shown)
    }

    pub(crate) fn lines(&self, tone: Tone, text: &str) {
        let text = escaped(text);
        self.live.lines(text.clone(), tone == Tone::Diff);
        self.send(OutputEvent::Lines { tone, text });
    }

    /// Shows a complete text of the runtime in Markdown.
    pub(super) fn markdown(&self, text: &str) {
        self.live.lines(escaped(text), false);
        self.stream(TextKind::Answer).push(text);
    }

    pub(super) fn begun(&self, call: &str, header: &str) {
        self.send(OutputEvent::Begun {
            call: call.to_owned(),
            header: escaped(header),
        });
    }

    pub(super) fn ended(&self, ended: EndedCall) {
        let diff = ended.diff.map(|text| escaped(&text));
        if let Some(diff) = diff.clone() {
            self.live.lines(diff, true);
        }
        self.send(OutputEvent::EndedCall(EndedCall {
            call: ended.call,
            diff,
            first_line: escaped(&ended.first_line),
            unseen: ended.unseen.map(|text| escaped(&text)),
            all: escaped(&ended.all),
        }));
    }

    /// Shows the model as thinking until the value is dropped.
    pub(super) fn show_thinking(&self) -> WorkGuard<'_> {
        let work = WorkGuard(self);
        work.set(THINKING);
        work
    }

    /// Queues lines, or drops them if the queue is full.
    fn tool_lines(&self, call: Option<&String>, text: &str) {
        let text = escaped(text);
        let bytes = text.len();
        let before = self.queued.fetch_add(bytes, Ordering::Relaxed);
        let size = QueuedBytes {
            bytes,
            queued: Arc::clone(&self.queued),
        };
        if before + bytes <= TOOL_OUTPUT_MAX {
            let call = call.cloned();
            self.send(OutputEvent::Printed { call, text, size });
        }
    }

    pub(super) fn report_model(&self, model: MemberModel) {
        self.send(OutputEvent::Model(model));
    }

    /// Shows the status line of a running call. It is not written to the log.
    pub(super) fn status(&self, call: &str, text: &str) {
        self.send(OutputEvent::Status {
            call: call.to_owned(),
            text: visible_line(text).into_owned(),
        });
    }

    /// Offers the prompts of MCP servers as slash commands.
    pub(super) fn commands(&self, prompts: &Prompts) {
        self.send(OutputEvent::Commands(prompts.clone()));
    }

    pub(crate) fn set_waiting(&self, on: Option<Waiting>) {
        self.send(OutputEvent::Waiting(on));
    }

    /// Returns a sink for streamed text.
    pub(super) fn stream(&self, kind: TextKind) -> Stream<'_> {
        Stream {
            sink: self,
            kind,
            has_text: false,
        }
    }

    /// Returns a sink for the output of a running call, or of a process outside calls.
    pub(super) fn tool_output(&self, call: Option<&str>) -> ToolOutput<'_> {
        ToolOutput {
            sink: self,
            call: call.map(str::to_owned),
            buffered: Mutex::default(),
        }
    }

    fn send(&self, event: OutputEvent) {
        // The receiver is gone only when the worker is exiting.
        let _gone = self.events.send(event);
    }
}

impl QuestionDisplay for OutputSink {
    fn question(&self, text: &str) {
        self.lines(Tone::Runtime, text);
    }

    fn set_waiting(&self, what: Option<String>) {
        OutputSink::set_waiting(self, what.map(|what| Waiting::Reply { what }));
    }
}

/// The state of a request to the model, as the pane shows it.
pub(super) const THINKING: &str = "thinking";

/// Shows the model's current work until it is dropped.
#[derive(Debug)]
pub(super) struct WorkGuard<'a>(&'a OutputSink);

impl WorkGuard<'_> {
    /// Replaces the shown work.
    pub(super) fn set(&self, what: &str) {
        let what = visible_line(what).into_owned();
        self.0.send(OutputEvent::Work(Some(what)));
    }
}

impl Drop for WorkGuard<'_> {
    fn drop(&mut self) {
        self.0.send(OutputEvent::Work(None));
    }
}

/// The model's streamed text. Dropping it ends the text.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    sink: &'a OutputSink,
    kind: TextKind,
    /// Text was sent since the last `TextEnded`.
    has_text: bool,
}

impl Stream<'_> {
    pub(super) fn push(&mut self, piece: &str) {
        self.has_text = true;
        let piece = visible(piece).into_owned();
        self.sink.send(OutputEvent::Text(self.kind, piece));
    }

    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.has_text) {
            self.sink.send(OutputEvent::TextEnded);
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The output of a running tool.
#[derive(Debug)]
pub(super) struct ToolOutput<'a> {
    sink: &'a OutputSink,
    call: Option<String>,
    buffered: Mutex<BufferedOutput>,
}

#[derive(Debug, Default)]
struct BufferedOutput {
    /// Output that is not shown yet.
    line: String,
    outer: Option<OuterLines>,
}

/// The first and the last non-blank line of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OuterLines {
    pub(super) first: String,
    pub(super) last: String,
}

impl OuterLines {
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next()?;
        Some(Self {
            first: first.to_owned(),
            last: lines.next_back().unwrap_or(first).to_owned(),
        })
    }
}

impl ToolOutput<'_> {
    pub(super) fn push(&self, text: &str) {
        let mut buffered = self.lock();
        buffered.line.push_str(text);
        let showable = showable_bytes(&buffered.line);
        self.show(&mut buffered, showable);
    }

    /// Shows the rest. Returns the first and the last non-blank line of the output that was shown.
    pub(super) fn seen(&self) -> Option<OuterLines> {
        let mut buffered = self.lock();
        if !buffered.line.trim().is_empty() {
            let rest = buffered.line.len();
            self.show(&mut buffered, rest);
        }
        buffered.outer.clone()
    }

    fn show(&self, buffered: &mut BufferedOutput, bytes: usize) {
        let lines: String = buffered.line.drain(..bytes).collect();
        if !lines.is_empty() {
            self.sink.tool_lines(self.call.as_ref(), &lines);
        }
        match (&mut buffered.outer, OuterLines::of(&lines)) {
            (Some(before), Some(outer)) => before.last = outer.last,
            (none @ None, outer) => *none = outer,
            (Some(_), None) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, BufferedOutput> {
        self.buffered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ToolOutput<'_> {
    fn drop(&mut self) {
        self.seen();
    }
}

pub(super) fn escaped(text: &str) -> String {
    visible(text.trim_end_matches('\n')).into_owned()
}

/// The number of leading bytes of the text that can be shown now.
pub(super) fn showable_bytes(text: &str) -> usize {
    match text.rfind('\n') {
        Some(newline) => newline + 1,
        None if text.len() < LONG_LINE => 0,
        None => text.rfind(' ').map_or(text.len(), |space| space + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(shown: &mut mpsc::UnboundedReceiver<OutputEvent>) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(event) = shown.try_recv() {
            match event {
                OutputEvent::Text(_, text)
                | OutputEvent::Lines { text, .. }
                | OutputEvent::Printed { text, .. } => {
                    texts.push(text);
                }
                OutputEvent::TextEnded
                | OutputEvent::Work(_)
                | OutputEvent::Begun { .. }
                | OutputEvent::EndedCall(_)
                | OutputEvent::Status { .. }
                | OutputEvent::Commands(_)
                | OutputEvent::Waiting(_)
                | OutputEvent::Model(_) => {}
            }
        }
        texts
    }

    #[test]
    fn streamed_text_is_escaped() {
        let (sink, mut shown) = OutputSink::new(LiveOutput::new("1"));
        let mut stream = sink.stream(TextKind::Answer);
        stream.push("One\x1b[2J");
        stream.push(" two\nthr");
        assert_eq!(texts(&mut shown), ["One\\e[2J", " two\nthr"]);
    }

    #[test]
    fn a_long_line_is_logged_before_it_ends() {
        assert_eq!(showable_bytes("one\ntwo"), 4);
        assert_eq!(showable_bytes("word word"), 0);
        assert_eq!(showable_bytes(&"word ".repeat(60)), 300);
    }

    #[test]
    fn queued_tool_output_is_bounded() {
        let (sink, mut shown) = OutputSink::new(LiveOutput::new("1"));
        let output = sink.tool_output(None);
        let line = format!("{}\n", "x".repeat(1000));
        for _ in 0..10_000 {
            output.push(&line);
        }
        let taken = texts(&mut shown);
        assert!(taken.len() * 1000 <= TOOL_OUTPUT_MAX, "{}", taken.len());
        output.push(&line);
        assert_eq!(texts(&mut shown).len(), 1, "the queue has room again");
    }
}
