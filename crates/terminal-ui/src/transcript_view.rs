//! The layout of a member's screen, and its key bindings. Called by the pane and by the single-terminal view, which
//! write the returned bytes; pure.
//!
//! ```text
//!   finished ── text and calls, final, in the scrollback
//!   ─────────── live rows, repainted:
//!   tail     ── the text that is streaming in
//!   activity ── running calls with their output, or a running request to the model
//!   menu     ── commands, or the candidates of Tab
//!   prompt   ── or the card of a pending permission request with its keys, while nothing is typed
//! ```
//! The first entry of this list that uses a key handles it: the card of a request (while nothing is typed), ^O and
//! Shift-Tab, a search of the history, the menu, Esc and ^C, Tab, the editor (`prompt`).
//!
//! A request never takes keystrokes from a text that is being typed, and no keystroke allows it before all of its rows
//! have been on the screen. A decided request leaves one line in the scrollback. A postponed request is shown as one
//! line above the prompt.

mod activity;
mod folded_calls;
mod prompt;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use agent_team_protocol::request::{
    Channel, DecideRequest, Decided, Decision, RequestView, waiting_line,
};
use agent_team_protocol::spec::Colour;
use agent_team_protocol::status::Status;
use agent_team_protocol::{MemberName, RequestId};

use self::activity::Activity;
use self::folded_calls::FoldedCalls;
use self::prompt::{Entered, Prompt};
use crate::call;
use crate::canvas::Canvas;
use crate::complete::Names;
use crate::custom_command::{self, CustomCommand};
use crate::dialog::{Dialog, KeyEffect, Screen};
use crate::diff::{self, Diff};
use crate::keys::Key;
use crate::line::Line;
use crate::log::LineStyles;
use crate::markdown::Markdown;
use crate::menu::Candidate;
use crate::slash::{self, PromptKind, Slash};
use crate::style::{SemanticColour, Style, Theme};

/// The maximum number of lines that wait for a stalled terminal. Beyond this limit, the oldest lines are dropped.
const WAITING_MAX: usize = 4_000;

/// The maximum size of the lines that wait for a stalled terminal, in bytes. Beyond this limit, the oldest lines are
/// dropped.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The longest line of a thought in bytes; longer lines are split.
const THOUGHT_MAX: usize = 4 << 10;

/// The terminal's size before it is known.
const SIZE: (u16, u16) = (80, 24);

/// The kind of a model's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// The model's thoughts.
    Thought,
    /// The model's answer, in Markdown.
    Answer,
}

/// The style of whole lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Runtime lines, such as messages and headers: the leading sign of each line selects its style.
    Runtime,
    /// Less important text.
    Dim,
    /// A unified diff.
    Diff,
}

/// An action of the user.
#[derive(Debug)]
pub enum UserAction {
    /// A message to the member, or a shell line: see [`PromptKind`].
    Typed(String),
    /// A slash command: the typed text, and its arguments for `agent-team`.
    Run(String, Vec<String>),
    /// A command of [`TranscriptView::set_commands`]: the typed text, the name of the command, and its arguments.
    Custom(String, String, Vec<String>),
    /// A new task of a member that runs shell lines: the typed text, and the line.
    Task(String, String),
    /// Interrupt the current turn.
    Interrupt,
    /// Cancel the shell lines that were typed ahead and have not begun.
    CancelLines,
    /// Look up these names, and pass them to [`TranscriptView::offer`].
    Complete(Names),
    Decide(DecideRequest),
    /// Change the permission mode of the team to the next one.
    NextMode,
    /// Leave the pane: EOF, or ^C twice with an empty prompt.
    Leave,
}

impl UserAction {
    /// The line that the user has entered; `None` for the effect of a key and for a custom command.
    pub fn line(&self) -> Option<&str> {
        match self {
            Self::Typed(typed) | Self::Run(typed, _) | Self::Task(typed, _) => Some(typed),
            Self::Interrupt
            | Self::CancelLines
            | Self::Complete(_)
            | Self::Decide(_)
            | Self::NextMode
            | Self::Custom(..)
            | Self::Leave => None,
        }
    }
}

#[derive(Debug)]
struct PendingRequest {
    dialog: Dialog,
    /// The rows of the request at the current width.
    rows: Vec<Line>,
    /// The card is shown. Otherwise the user postponed or answered the request.
    is_open: bool,
    /// The user's answer, until the supervisor reports the decision.
    answer: Option<Decision>,
}

/// The screen of one member.
#[derive(Debug)]
pub struct TranscriptView {
    member: MemberName,
    colour: Option<Colour>,
    theme: Theme,
    canvas: Canvas,
    /// Columns and rows of the terminal.
    size: (u16, u16),
    finished: VecDeque<Line>,
    finished_bytes: usize,
    /// The line above the prompt; nothing is shown if it is empty.
    strip: Line,
    /// Lines older than the queued lines were dropped.
    dropped: bool,
    answer: Markdown,
    thought: String,
    activity: Activity,
    folded: FoldedCalls,
    pending: Option<PendingRequest>,
    /// The change whose card was shown and allowed, until its call ends.
    allowed_change: Option<String>,
    prompt: Prompt,
    /// The prompt is shown.
    open: bool,
    /// The view is on a terminal.
    attached: bool,
    changed: bool,
}

impl TranscriptView {
    pub fn new(member: MemberName, theme: Theme) -> Self {
        Self {
            member,
            colour: None,
            theme,
            canvas: Canvas::default(),
            size: SIZE,
            finished: VecDeque::new(),
            finished_bytes: 0,
            strip: Line::default(),
            dropped: false,
            answer: Markdown::default(),
            thought: String::new(),
            activity: Activity::default(),
            folded: FoldedCalls::default(),
            pending: None,
            allowed_change: None,
            prompt: Prompt::default(),
            open: false,
            attached: true,
            changed: false,
        }
    }

    pub fn set_colour(&mut self, colour: Option<Colour>) {
        self.changed |= std::mem::replace(&mut self.colour, colour) != colour;
    }

    /// Adds earlier input to the history, oldest first.
    pub fn remember(&mut self, before: impl IntoIterator<Item = String>) {
        self.prompt.editor.remember(before);
    }

    /// Sets the hint that the first ^C shows, for a terminal that ^C does not leave. `None`: the second ^C leaves.
    pub fn set_how_to_leave(&mut self, how: Option<&'static str>) {
        self.prompt.set_how_to_leave(how);
    }

    /// Sets whether lines at the prompt are messages or shell lines.
    pub fn set_prompt(&mut self, kind: PromptKind) {
        self.prompt.set_kind(kind);
    }

    /// Returns whether nothing is being typed.
    pub fn is_prompt_empty(&self) -> bool {
        self.prompt.editor.is_empty()
    }

    /// Offers the names that [`UserAction::Complete`] asked for. Ignored if the text has changed since then.
    pub fn offer(&mut self, names: &Names, candidates: Vec<Candidate>) {
        self.changed |= self.prompt.offer(names, candidates);
    }

    /// Shows the prompt from now on, with a hint about its use.
    pub fn open(&mut self, hint: &str) {
        if !std::mem::replace(&mut self.open, true) {
            self.lines(Tone::Dim, hint);
        }
    }

    /// Sets the line above the prompt.
    pub fn set_strip(&mut self, strip: Line) {
        if self.strip != strip {
            self.strip = strip;
            self.changed = true;
        }
    }

    /// Hides the view, before another view uses the terminal. Returns the bytes that clear the live rows.
    pub fn hide(&mut self) -> Vec<u8> {
        self.canvas.leave()
    }

    /// Shows the view on the terminal again. `title` is printed before the output that finished meanwhile.
    pub fn show(&mut self, title: Option<&str>) {
        if let Some(title) = title {
            let title = Line::of(self.accent(), title);
            self.finished_bytes += title.len();
            self.finished.push_front(title);
        }
        if let Some(pending) = &mut self.pending {
            pending.dialog.hidden();
        }
        self.changed = true;
    }

    /// Moves the view to a blank terminal of this size. Drops a pending request: the caller must [`Self::ask`] again.
    pub fn attach(&mut self, size: (u16, u16)) {
        self.detach();
        self.attached = true;
        self.changed = true;
        self.resize(size);
    }

    /// Call when the terminal is gone. Drops queued lines and a pending request, and discards output until
    /// [`Self::attach`].
    pub fn detach(&mut self) {
        self.canvas = Canvas::default();
        self.finished.clear();
        self.finished_bytes = 0;
        self.dropped = false;
        self.pending = None;
        self.attached = false;
    }

    /// Sets the size of the terminal for all following output.
    pub fn resize(&mut self, size: (u16, u16)) {
        if std::mem::replace(&mut self.size, size) != size {
            self.changed = true;
            self.wrap_request();
        }
    }

    fn wrap_request(&mut self) {
        let columns = self.columns();
        if let Some(pending) = &mut self.pending {
            pending.rows = pending.dialog.rows(columns);
        }
    }

    /// The width of output: one column less than the terminal, since terminals differ in how they treat a full row.
    fn columns(&self) -> usize {
        usize::from(self.size.0).saturating_sub(1).max(2)
    }

    /// Adds a piece of the model's text.
    pub fn push_text(&mut self, kind: TextKind, piece: &str) {
        self.changed = true;
        match kind {
            TextKind::Answer => {
                let columns = self.columns();
                let lines = self.answer.push(piece, columns);
                self.finish(lines);
            }
            TextKind::Thought => {
                self.thought.push_str(piece);
                let whole = match self.thought.rfind('\n') {
                    Some(end) => end + 1,
                    None if self.thought.len() > THOUGHT_MAX => self.thought.len(),
                    None => 0,
                };
                let whole: String = self.thought.drain(..whole).collect();
                self.lines(Tone::Dim, &whole);
            }
        }
    }

    /// Ends the current text.
    pub fn end_text(&mut self) {
        self.changed = true;
        let thought = std::mem::take(&mut self.thought);
        if !thought.trim().is_empty() {
            self.lines(Tone::Dim, &thought);
        }
        let columns = self.columns();
        let lines = self.answer.end(columns);
        self.finish(lines);
    }

    /// Adds whole lines.
    pub fn lines(&mut self, tone: Tone, text: &str) {
        let columns = self.columns();
        let lines: Vec<Line> = match tone {
            Tone::Diff => Diff::of(text).rows(columns),
            Tone::Plain => Line::all(Style::PLAIN, text).collect(),
            Tone::Dim => Line::all(Style::DIM, text)
                .flat_map(|line| line.wrapped(columns, 2))
                .collect(),
            Tone::Runtime => text
                .lines()
                .flat_map(|line| Line::runtime(line).wrapped(columns, 2))
                .collect(),
        };
        self.finish(lines);
    }

    /// Adds the end of the member's log. `is_markdown`: an agent wrote the log. Omits the lines about requests: a
    /// pending request is shown as a card.
    pub fn log(&mut self, text: &str, is_markdown: bool) {
        let is_about_request = |line: &str| {
            let id = line.split(' ').next().unwrap_or_default().parse();
            id.is_ok_and(|id| line == waiting_line(id))
        };
        let columns = self.columns();
        let mut styles = LineStyles::default();
        let lines = text.split_terminator('\n');
        let lines: Vec<&str> = lines.filter(|line| !is_about_request(line)).collect();
        let mut at = 0;
        while at < lines.len() {
            let length = if is_markdown {
                diff::length(&lines[at..])
            } else {
                0
            };
            if length > 0 {
                self.finish(Diff::of(&lines[at..at + length].join("\n")).rows(columns));
                at += length;
                continue;
            }
            self.finish(styles.style(lines[at], is_markdown).wrapped(columns, 2));
            at += 1;
        }
    }

    /// Sets the work that is shown while no call is running, with its start time; `None`: no work.
    pub fn set_work(&mut self, at: Option<(String, Instant)>) {
        self.changed |= self.activity.set_work(at);
    }

    /// Sets whether the member is waiting. While it waits, nothing is animated.
    pub fn set_waiting(&mut self, is_waiting: bool, now: Instant) {
        self.changed |= self.activity.set_waiting(is_waiting, now);
    }

    /// Ends the work and all running calls, including calls that never reported an end.
    pub fn end_work(&mut self) {
        self.changed |= self.activity.end_all();
    }

    /// Begins a call; `header` is its line.
    pub fn begin_call(&mut self, call: &str, header: &str, now: Instant) {
        self.end_text();
        self.allowed_change = None;
        self.activity.begin(call, header, now);
    }

    /// Adds output of a running call.
    pub fn push_call_output(&mut self, call: &str, text: &str) {
        self.activity.push_output(call, text);
        self.changed = true;
    }

    /// Sets the slash commands that the program around the view carries out, in addition to the built-in ones. A
    /// command with the name of a built-in one is dropped.
    pub fn set_commands(&mut self, mut commands: Vec<CustomCommand>) {
        commands.retain(|command| !slash::is_verb(&command.name));
        self.prompt.set_custom(commands);
        self.changed = true;
    }

    /// Sets the status line of a running call. An empty text removes the line.
    pub fn set_call_status(&mut self, call: &str, text: &str) {
        self.activity.set_status(call, text);
        self.changed = true;
    }

    /// Ends a call and folds it to a line that [`TranscriptView::press`] can unfold. `all`: the complete result. A
    /// change whose card the user has seen is shown without its diff.
    pub fn end_call(&mut self, call: &str, first_line: &str, diff: Option<&str>, all: &str) {
        let header = self.activity.end(call);
        if let (Some(change), Some(diff)) = (self.allowed_change.take(), diff) {
            let header = format!("● {change}");
            self.lines(Tone::Runtime, &header);
            return self.folded.add(header, Some(diff), all);
        }
        if let Some(header) = &header {
            self.lines(Tone::Runtime, header);
        }
        if let Some(diff) = diff {
            self.lines(Tone::Diff, diff);
        }
        let tone = if first_line.trim_start().starts_with(Status::Failure.sign()) {
            Tone::Runtime
        } else {
            Tone::Dim
        };
        self.lines(tone, first_line);
        if call::has_more(all) {
            let header = header.unwrap_or_else(|| "● a call that started earlier".into());
            self.folded.add(header, None, all);
        }
    }

    /// Asks the user about this request once nothing is being typed. `via`: the channel that the decision reports. Does
    /// nothing while the view has no terminal.
    pub fn ask(&mut self, view: RequestView, via: Channel) {
        if !self.attached {
            return;
        }
        self.changed = true;
        self.pending = Some(PendingRequest {
            dialog: Dialog::of(view, via),
            rows: Vec::new(),
            is_open: true,
            answer: None,
        });
        self.wrap_request();
    }

    /// Call when the request no longer needs a decision. Folds its card to one line in the scrollback.
    pub fn end_request(&mut self, request: RequestId, decided: &Decided) {
        let ended = |pending: &mut PendingRequest| pending.dialog.request() == request;
        let Some(pending) = self.pending.take_if(ended) else {
            return;
        };
        // The output of the running calls only reports that they wait for this request.
        self.activity.clear_output();
        if let Decided::Allowed { .. } = decided {
            self.allowed_change = pending.dialog.change();
        }
        let columns = self.columns();
        let line = pending.dialog.folded(decided, pending.answer.as_ref());
        self.finish(line.wrapped(columns, 2));
    }

    /// Shows the card again, because the user's answer has not reached the supervisor.
    pub fn reopen_request(&mut self) {
        let answered = |pending: &&mut PendingRequest| pending.answer.is_some();
        if let Some(pending) = self.pending.as_mut().filter(answered) {
            (pending.is_open, pending.answer) = (true, None);
            // A key that the user is typing now is not an answer.
            pending.dialog.hidden();
            self.changed = true;
        }
    }

    /// Whether keystrokes answer a request.
    fn asks(&self) -> bool {
        let is_open = self.pending.as_ref().is_some_and(|pending| pending.is_open);
        self.prompt.editor.is_empty() && is_open
    }

    /// Handles keystrokes. `keys`: the keys of one read. Only a key that is alone in its read answers a request; every
    /// key counts in the reason of a denial.
    pub fn press(&mut self, keys: &[Key], now: Instant) -> Vec<UserAction> {
        self.changed = true;
        let is_only_key = keys.len() == 1;
        keys.iter()
            .filter_map(|key| self.key(key, is_only_key, now))
            .collect()
    }

    fn key(&mut self, key: &Key, is_only_key: bool, now: Instant) -> Option<UserAction> {
        if self.asks() {
            let pending = self.pending.as_ref()?;
            if *key != Key::Control('o') || pending.dialog.is_cut() || pending.dialog.is_typing() {
                self.folded.rewind();
                return self.answer(key, is_only_key, now);
            }
        }
        if *key == Key::Control('o') {
            match &mut self.pending {
                Some(pending) if !pending.is_open && pending.answer.is_none() => {
                    pending.dialog.hidden();
                    pending.is_open = true;
                }
                Some(_) | None => self.open_folded(),
            }
            return None;
        }
        // Like the answer to a request, this key counts only if its read contains no other key: it could be part of a
        // paste.
        if *key == Key::BackTab && self.open && is_only_key {
            return Some(UserAction::NextMode);
        }
        self.folded.rewind();
        match self.prompt.press(key, self.activity.is_active(), now)? {
            Entered::Text(text) => self.entered(text),
            Entered::Interrupt => Some(UserAction::Interrupt),
            Entered::CancelLines => Some(UserAction::CancelLines),
            Entered::Complete(names) => Some(UserAction::Complete(names)),
            Entered::Leave => Some(UserAction::Leave),
        }
    }

    fn answer(&mut self, key: &Key, is_only_key: bool, now: Instant) -> Option<UserAction> {
        let pending = self.pending.as_mut()?;
        match pending.dialog.press(key, is_only_key, now) {
            KeyEffect::Decided(decide) => {
                pending.is_open = false;
                pending.answer = Some(decide.decision.clone());
                Some(UserAction::Decide(decide))
            }
            KeyEffect::Later => {
                pending.is_open = false;
                None
            }
            KeyEffect::Nothing => None,
        }
    }

    fn entered(&mut self, text: String) -> Option<UserAction> {
        if text.trim().is_empty() {
            return None;
        }
        if let Some((name, words)) = custom_command::read(&text, &self.prompt.custom) {
            self.lines(Tone::Dim, &format!("▸ {text}"));
            return Some(UserAction::Custom(text, name, words));
        }
        let Some(slash) = slash::read(&text, &self.member, self.prompt.kind()) else {
            return Some(UserAction::Typed(text));
        };
        self.lines(Tone::Dim, &format!("▸ {text}"));
        match slash {
            Slash::Help => {
                let columns = self.columns();
                let mut help = slash::help(self.prompt.kind());
                help.push_str(&custom_command::help(&self.prompt.custom));
                let lines = Line::all(Style::PLAIN, &help);
                let lines: Vec<Line> = lines.flat_map(|line| line.wrapped(columns, 4)).collect();
                self.finish(lines);
            }
            Slash::Wrong(why) => self.lines(Tone::Runtime, &format!("✗ {why}")),
            Slash::Verb(words) => return Some(UserAction::Run(text, words)),
            Slash::Task(line) => return Some(UserAction::Task(text, line)),
        }
        None
    }

    fn open_folded(&mut self) {
        let none = if self.folded.is_empty() {
            "no tool result is longer than shown"
        } else {
            "no older call is stored"
        };
        let Some((call, newer)) = self.folded.open() else {
            return self.lines(Tone::Dim, none);
        };
        let (diff, result) = (call.diff.clone(), call.result.clone());
        let header = match newer {
            0 => call.header.clone(),
            newer => format!("{} · {newer} back", call.header),
        };
        self.lines(Tone::Runtime, &header);
        if let Some(diff) = diff {
            self.lines(Tone::Diff, &diff);
        }
        self.lines(Tone::Dim, &result);
    }

    /// The time of the next paint; `None` if nothing has changed and nothing is animated.
    pub fn next_paint(&self, now: Instant) -> Option<Instant> {
        if self.changed {
            return Some(now);
        }
        let step = self.activity.next_step(now);
        [step, self.prompt.hint_ends()].into_iter().flatten().min()
    }

    /// The bytes that update the terminal; empty if it is up to date.
    pub fn paint(&mut self, now: Instant) -> Vec<u8> {
        self.changed = false;
        self.prompt.expire_hint(now);
        self.finished_bytes = 0;
        let mut finished = std::mem::take(&mut self.finished);
        if std::mem::take(&mut self.dropped) {
            finished.push_front(Line::of(Style::DIM, "… output omitted above …"));
        }
        let (live, cursor) = if self.open {
            self.live(now)
        } else {
            (Vec::new(), (0, 0))
        };
        self.canvas
            .paint(self.size, &finished, live, cursor, self.theme)
    }

    /// Must be called when the last painted bytes are on the screen: only rows that were shown count as read.
    pub fn was_painted(&mut self, now: Instant) {
        if !self.asks() || self.changed || !self.open {
            return;
        }
        let (columns, height) = (self.columns(), self.height());
        if let Some(pending) = &mut self.pending {
            let was_read = pending.dialog.is_read();
            let total = pending.rows.len();
            pending.dialog.was_shown(total, columns, height, now);
            // Paint again, so that the card now shows the keys that allow the request.
            self.changed = pending.dialog.is_read() != was_read;
        }
    }

    fn height(&self) -> usize {
        usize::from(self.size.1).max(1)
    }

    /// The card of the request with its keys; `None` while no request is open or text is being typed.
    fn card(&self) -> Option<Screen> {
        let pending = self.pending.as_ref().filter(|_| self.asks())?;
        let (columns, height) = (self.columns(), self.height());
        Some(pending.dialog.screen(&pending.rows, columns, height))
    }

    /// The bytes that print all finished lines and release the terminal.
    pub fn leave(&mut self, now: Instant) -> Vec<u8> {
        self.end_text();
        self.open = false;
        let mut bytes = self.paint(now);
        bytes.extend(self.canvas.leave());
        bytes
    }

    /// The live rows, and the cursor position within them.
    fn live(&self, now: Instant) -> (Vec<Line>, (usize, usize)) {
        let columns = self.columns();
        let rows = self.height();
        let card = self.card();
        let asks = card.is_some();
        let (prompt, (row, column)) = match card {
            Some(Screen { lines, cursor }) => (lines, cursor),
            None => {
                let prompt = match self.prompt.editor.search_prompt() {
                    Some(search) => Line::of(Style::DIM, &search),
                    None => Line::of(self.accent(), &format!("{} ▸ ", self.member)),
                };
                self.prompt.editor.rows(&prompt, columns, (rows / 2).max(1))
            }
        };
        let mut below = Vec::new();
        let menu = match asks {
            true => Vec::new(),
            false => {
                let menu_rows = rows.saturating_sub(prompt.len() + 2);
                self.prompt.above(columns, menu_rows, self.accent())
            }
        };
        if let Some(pending) = self.pending.as_ref().filter(|_| !asks) {
            let how = match (pending.is_open, &pending.answer) {
                (true, _) => "send or clear (^C) your text to answer",
                (false, None) => "waits, ^O shows it",
                (false, Some(_)) => "your answer is being sent",
            };
            let name = pending.dialog.name();
            let style = Style::of(SemanticColour::Attention);
            let sign = Status::Waiting.sign();
            // The instruction precedes the name of the request, so that it is visible in a narrow pane.
            let text = format!("{sign} {how}: {name}");
            below.push(Line::of(style, &text).clipped(columns));
        }
        if !self.strip.is_empty() {
            below.push(self.strip.clipped(columns));
        }
        let room = rows.saturating_sub(prompt.len() + usize::from(!asks));
        below.truncate(room.saturating_sub(menu.len()));
        below.extend(menu);
        below.truncate(room);
        let mut live = Vec::new();
        let room = room.saturating_sub(below.len());
        if room > 0 {
            live.extend(self.tail((room / 2).max(1)));
            if !asks {
                live.extend(self.activity.rows(columns, now));
            }
            live.drain(..live.len().saturating_sub(room));
        }
        live.extend(below);
        let above = live.len();
        live.extend(prompt);
        (live, (above + row, column))
    }

    /// The last rows of the streaming text.
    fn tail(&self, most: usize) -> Vec<Line> {
        let columns = self.columns();
        let mut tail = if self.thought.is_empty() {
            self.answer.tail(columns)
        } else {
            Line::of(Style::DIM, &self.thought).wrapped(columns, 2)
        };
        tail.drain(..tail.len().saturating_sub(most));
        tail.iter().map(|row| row.clipped(columns)).collect()
    }

    /// Queues finished lines. Drops the oldest ones beyond the limits.
    fn finish(&mut self, lines: impl IntoIterator<Item = Line>) {
        if !self.attached {
            return;
        }
        for line in lines {
            self.changed = true;
            self.finished_bytes += line.len();
            self.finished.push_back(line);
        }
        while self.finished.len() > WAITING_MAX || self.finished_bytes > WAITING_BYTES_MAX {
            let oldest = self.finished.pop_front();
            self.finished_bytes -= oldest.map_or(0, |line| line.len());
            self.dropped = true;
        }
    }

    fn accent(&self) -> Style {
        self.colour.map_or(Style::PLAIN, |colour| {
            Style::of(SemanticColour::Member(colour))
        })
    }
}
