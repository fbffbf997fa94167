//! What stands on a member's screen, and what keys do to it. Called by the pane, which writes what it paints; pure.
//!
//! ```text
//!   finished ── what was said and done, a line at a time, for good
//!   ─────────── live, painted over:
//!   tail     ── what is being said
//!   doing    ── calls under way, or that the model is asked, with what they print
//!   request  ── the one that waits, or a page of it
//!   prompt   ── or what the request's keys are, while nothing is typed
//! ```
//! A request never takes keys from a text that is being typed, and no key answers it before all of it has been on the
//! screen. It is kept in the scrollback when it is over.

mod doing;
mod folded;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use agent_team_protocol::dialog::{self, Dialog, Pressed};
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};
use agent_team_protocol::spec::Colour;
use agent_team_protocol::{MemberName, RequestId};

use self::doing::Doing;
use self::folded::Folded;
use crate::call;
use crate::canvas::Canvas;
use crate::editor::Editor;
use crate::keys::Key;
use crate::line::{Line, Look};
use crate::markdown::Markdown;
use crate::slash::{self, Slash};

/// Lines that may wait for a terminal that takes none, and their bytes; then the oldest are left out.
const WAITING_MAX: usize = 4_000;
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Bytes of a line of thought; what goes on beyond is another one.
const THOUGHT_MAX: usize = 4 << 10;

/// Rows of a request that are kept in the scrollback.
const KEPT_MAX: usize = 200;

/// Columns and rows, before a terminal has said how many it has.
const SIZE: (u16, u16) = (80, 24);

/// What a piece of a model's words is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// What it thinks before it speaks.
    Thought,
    /// What it says: Markdown.
    Spoken,
}

/// What whole lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Who speaks to the member, and what begins and ends.
    Accent,
    /// What may be passed over.
    Dim,
    /// A unified diff.
    Diff,
}

/// What the person wants done.
#[derive(Debug)]
pub enum Act {
    /// A message to the member.
    Typed(String),
    /// What was typed, and the arguments for `agent-team` that it comes to.
    Run(String, Vec<String>),
    Decide(DecideRequest),
    /// To be somewhere else: the end of the input, or ^C, where there is nothing to clear.
    Leave,
}

#[derive(Debug)]
struct Asked {
    dialog: Dialog,
    text: String,
    /// The text in as many columns as there are.
    rows: Vec<Line>,
}

impl Asked {
    fn wrap(&mut self, look: Look, columns: usize) {
        let lines = Line::all(look, &self.text);
        self.rows = lines.flat_map(|line| line.wrapped(columns, 2)).collect();
    }
}

/// What is shown of a request that can be answered.
#[derive(Debug)]
struct Page {
    prompt: Vec<Line>,
    /// Rows for the request.
    height: usize,
}

#[derive(Debug)]
pub struct TranscriptView {
    member: MemberName,
    colour: Option<Colour>,
    /// `NO_COLOR` does not forbid them.
    colours: bool,
    canvas: Canvas,
    /// Columns and rows of the terminal.
    size: (u16, u16),
    finished: VecDeque<Line>,
    finished_bytes: usize,
    /// Stands above the prompt; empty: nothing does.
    strip: Line,
    /// Lines were left out before the ones that wait.
    left_out: bool,
    spoken: Markdown,
    thought: String,
    doing: Doing,
    folded: Folded,
    asked: Option<Asked>,
    editor: Editor,
    /// There is somebody to type to.
    open: bool,
    /// It is on a terminal.
    shown: bool,
    changed: bool,
}

impl TranscriptView {
    pub fn new(member: MemberName, colours: bool) -> Self {
        Self {
            member,
            colour: None,
            colours,
            canvas: Canvas::default(),
            size: SIZE,
            finished: VecDeque::new(),
            finished_bytes: 0,
            strip: Line::default(),
            left_out: false,
            spoken: Markdown::default(),
            thought: String::new(),
            doing: Doing::default(),
            folded: Folded::default(),
            asked: None,
            editor: Editor::default(),
            open: false,
            shown: true,
            changed: false,
        }
    }

    pub fn set_colour(&mut self, colour: Option<Colour>) {
        self.changed |= std::mem::replace(&mut self.colour, colour) != colour;
        self.wrap_request();
    }

    /// What was typed to this team before, the oldest first.
    pub fn remember(&mut self, before: impl IntoIterator<Item = String>) {
        self.editor.remember(before);
    }

    /// Shows the prompt from now on. `hint`: what can be done there.
    pub fn open(&mut self, hint: &str) {
        if !std::mem::replace(&mut self.open, true) {
            self.lines(Tone::Dim, hint);
        }
    }

    /// What stands above the prompt from now on.
    pub fn set_strip(&mut self, strip: Line) {
        if self.strip != strip {
            self.strip = strip;
            self.changed = true;
        }
    }

    /// Another face takes the terminal for a while: the bytes that leave it to that one.
    pub fn step_aside(&mut self) -> Vec<u8> {
        self.canvas.leave()
    }

    /// It has the terminal again: `title` comes before all that was finished meanwhile.
    pub fn step_in(&mut self, title: Option<&str>) {
        if let Some(title) = title {
            let title = Line::of(self.accent(), title);
            self.finished_bytes += title.len();
            self.finished.push_front(title);
        }
        if let Some(asked) = &mut self.asked {
            asked.dialog.hidden();
        }
        self.changed = true;
    }

    /// It is on a terminal of this size now, which shows nothing of it yet. A request that waits is to be asked again.
    pub fn moved(&mut self, size: (u16, u16)) {
        self.lost();
        self.shown = true;
        self.changed = true;
        self.fit(size);
    }

    /// It is nowhere: what is said and done passes it by.
    pub fn lost(&mut self) {
        self.canvas = Canvas::default();
        self.finished.clear();
        self.finished_bytes = 0;
        self.left_out = false;
        self.asked = None;
        self.shown = false;
    }

    /// What comes from now on is for a terminal of this size.
    pub fn fit(&mut self, size: (u16, u16)) {
        if std::mem::replace(&mut self.size, size) != size {
            self.changed = true;
            self.wrap_request();
        }
    }

    fn wrap_request(&mut self) {
        let (look, columns) = (self.accent(), self.columns());
        if let Some(asked) = &mut self.asked {
            asked.wrap(look, columns);
        }
    }

    /// Of what is said and done: one less than the terminal has, since not all agree on what a full row is.
    fn columns(&self) -> usize {
        usize::from(self.size.0).saturating_sub(1).max(2)
    }

    /// A piece of what is said.
    pub fn say(&mut self, of: Words, piece: &str) {
        self.changed = true;
        match of {
            Words::Spoken => {
                let columns = self.columns();
                let lines = self.spoken.push(piece, columns);
                self.finish(lines);
            }
            Words::Thought => {
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

    /// What is being said has come to its end.
    pub fn pause(&mut self) {
        self.changed = true;
        let thought = std::mem::take(&mut self.thought);
        if !thought.trim().is_empty() {
            self.lines(Tone::Dim, &thought);
        }
        let columns = self.columns();
        let lines = self.spoken.end(columns);
        self.finish(lines);
    }

    /// Whole lines.
    pub fn lines(&mut self, tone: Tone, text: &str) {
        let columns = self.columns();
        let lines: Vec<Line> = match tone {
            Tone::Diff => Line::diff(text).collect(),
            Tone::Plain => Line::all(Look::PLAIN, text).collect(),
            Tone::Dim => Line::all(Look::DIM, text)
                .flat_map(|line| line.wrapped(columns, 2))
                .collect(),
            Tone::Accent => Line::all(self.accent(), text)
                .flat_map(|line| line.wrapped(columns, 2))
                .collect(),
        };
        self.finish(lines);
    }

    /// What it is at while no call is under way, and since when.
    pub fn works(&mut self, at: Option<(String, Instant)>) {
        self.changed |= self.doing.works(at);
    }

    /// Nothing moves until something has come from elsewhere.
    pub fn waits(&mut self, waits: bool, now: Instant) {
        self.changed |= self.doing.waits(waits, now);
    }

    /// Nothing is under way any more, whatever was not told to end.
    pub fn rests(&mut self) {
        self.changed |= self.doing.rests();
    }

    /// A call begins; `header` names it.
    pub fn begin_call(&mut self, call: &str, header: &str, now: Instant) {
        self.pause();
        self.doing.begin(call, header, now);
    }

    /// What a call prints while it runs.
    pub fn printed(&mut self, call: &str, text: &str) {
        self.doing.printed(call, text);
        self.changed = true;
    }

    /// A call is over: it folds to a line, and [`TranscriptView::press`] can open it. `all`: what it said.
    pub fn end_call(&mut self, call: &str, first_line: &str, diff: Option<&str>, all: &str) {
        let header = self.doing.end(call);
        if let Some(header) = &header {
            self.lines(Tone::Accent, header);
        }
        if let Some(diff) = diff {
            self.lines(Tone::Diff, diff);
        }
        self.lines(Tone::Dim, first_line);
        if call::says_more(all) {
            let header = header.unwrap_or_else(|| "● a call that began before".into());
            self.folded.add(header, all);
        }
    }

    /// Asks about this request, as soon as nothing is being typed. `via`: where the person is asked.
    pub fn ask(&mut self, view: RequestView, via: Channel) {
        if !self.shown {
            return;
        }
        self.changed = true;
        self.asked = Some(Asked {
            text: dialog::text(&view),
            dialog: Dialog::of(view, via),
            rows: Vec::new(),
        });
        self.wrap_request();
    }

    /// The request is over here: it goes into the scrollback.
    fn keep_request(&mut self) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        self.changed = true;
        let more = asked.rows.len().saturating_sub(KEPT_MAX);
        self.finish(asked.rows.into_iter().take(KEPT_MAX));
        if more > 0 {
            let request = asked.dialog.request();
            let rest = format!("… {more} more lines: agent-team requests show {request}");
            self.lines(Tone::Dim, &rest);
        }
    }

    /// Nobody needs to answer it any more.
    pub fn end_request(&mut self, request: RequestId) {
        let ended = |asked: &Asked| asked.dialog.request() == request;
        if self.asked.as_ref().is_some_and(ended) {
            self.keep_request();
        }
    }

    /// `keys`: what was typed at once.
    pub fn press(&mut self, keys: &[Key], now: Instant) -> Vec<Act> {
        self.changed = true;
        let alone = keys.len() == 1;
        keys.iter()
            .filter_map(|key| self.key(key, alone, now))
            .collect()
    }

    fn key(&mut self, key: &Key, alone: bool, now: Instant) -> Option<Act> {
        if *key == Key::Control('o') {
            self.open_folded();
            return None;
        }
        self.folded.rewind();
        if self.editor.is_empty() && self.asked.is_some() {
            return self.answer(key, alone, now);
        }
        if self.editor.is_empty() && matches!(key, Key::Control('c' | 'd')) {
            return Some(Act::Leave);
        }
        if *key == Key::Control('c') {
            self.editor.clear();
            return None;
        }
        let text = self.editor.press(key)?;
        self.entered(text)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of all keys only these answer"
    )]
    fn answer(&mut self, key: &Key, alone: bool, now: Instant) -> Option<Act> {
        let asked = self.asked.as_mut()?;
        let mut typed = [0; 4];
        let typed: &[u8] = match key {
            Key::Char(c) if alone => c.encode_utf8(&mut typed).as_bytes(),
            Key::Escape | Key::Control('c') => &[0x1b],
            _ => &[],
        };
        let request = asked.dialog.request();
        match asked.dialog.pressed(typed, now) {
            Pressed::Decided(decide) => {
                self.keep_request();
                Some(Act::Decide(decide))
            }
            Pressed::Later => {
                self.keep_request();
                let later = format!("{request} goes on waiting: agent-team requests");
                self.lines(Tone::Accent, &later);
                None
            }
            Pressed::Nothing => {
                if let Some(turn) = key.turn().filter(|_| alone) {
                    asked.dialog.turn(turn);
                }
                None
            }
        }
    }

    fn entered(&mut self, text: String) -> Option<Act> {
        if text.trim().is_empty() {
            return None;
        }
        let Some(slash) = slash::read(&text, &self.member) else {
            return Some(Act::Typed(text));
        };
        self.lines(Tone::Dim, &format!("▸ {text}"));
        match slash {
            Slash::Help => {
                let columns = self.columns();
                let help = slash::help();
                let lines = Line::all(Look::PLAIN, &help);
                let lines: Vec<Line> = lines.flat_map(|line| line.wrapped(columns, 4)).collect();
                self.finish(lines);
            }
            Slash::Wrong(why) => self.lines(Tone::Accent, &format!("✗ {why}")),
            Slash::Verb(words) => return Some(Act::Run(text, words)),
        }
        None
    }

    fn open_folded(&mut self) {
        let none = if self.folded.is_empty() {
            "no tool has said more than is shown"
        } else {
            "no older call is kept"
        };
        let (header, all) = match self.folded.open() {
            None => return self.lines(Tone::Dim, none),
            Some((call, 0)) => (call.header.clone(), call.all.clone()),
            Some((call, newer)) => (format!("{} · {newer} back", call.header), call.all.clone()),
        };
        self.lines(Tone::Accent, &header);
        self.lines(Tone::Dim, &all);
    }

    /// When there is something to paint; `None`: not before something happens.
    pub fn next_paint(&self, now: Instant) -> Option<Instant> {
        if self.changed {
            return Some(now);
        }
        self.doing.next_step(now)
    }

    /// The bytes that bring the terminal to what is to be seen; none where it is.
    pub fn paint(&mut self, now: Instant) -> Vec<u8> {
        self.changed = false;
        self.finished_bytes = 0;
        let mut finished = std::mem::take(&mut self.finished);
        if std::mem::take(&mut self.left_out) {
            finished.push_front(Line::of(Look::DIM, "… output left out above …"));
        }
        let (live, cursor) = if self.open {
            self.live(now)
        } else {
            (Vec::new(), (0, 0))
        };
        self.canvas
            .paint(self.size, &finished, live, cursor, self.colours)
    }

    /// What was painted last is on the screen.
    pub fn was_painted(&mut self, now: Instant) {
        if !self.editor.is_empty() || self.changed || !self.open {
            return;
        }
        let columns = self.columns();
        let Some(page) = self.page() else { return };
        if let Some(asked) = &mut self.asked {
            let was_read = asked.dialog.is_read();
            let total = asked.rows.len();
            asked.dialog.was_shown(columns, page.height, total, now);
            // The prompt says what the keys are now.
            self.changed = asked.dialog.is_read() != was_read;
        }
    }

    /// The request as it is asked about now: while nothing is being typed.
    fn page(&self) -> Option<Page> {
        let asked = self.asked.as_ref().filter(|_| self.editor.is_empty())?;
        let columns = self.columns();
        let rows = usize::from(self.size.1).max(1);
        let total = asked.rows.len();
        let prompt = |text: &str| {
            let mut prompt = Line::of(self.accent(), text.trim_end()).wrapped(columns, 2);
            prompt.drain(..prompt.len().saturating_sub(rows));
            prompt
        };
        let answer = prompt(&asked.dialog.prompt());
        if asked.dialog.is_read() || total + answer.len() <= rows {
            let height = rows - answer.len();
            let prompt = answer;
            return Some(Page { prompt, height });
        }
        // What follows the last page may be taller than what follows the others.
        let pager = prompt(&asked.dialog.pager(total));
        let height = rows.saturating_sub(pager.len().max(answer.len()));
        let below = total - asked.dialog.visible(columns, height, total).end;
        let prompt = match (height, below) {
            (0, _) => prompt(&asked.dialog.no_room()),
            (_, 0) => answer,
            (_, below) => prompt(&asked.dialog.pager(below)),
        };
        Some(Page { prompt, height })
    }

    /// The bytes that leave the terminal to somebody else, with all that is finished.
    pub fn leave(&mut self, now: Instant) -> Vec<u8> {
        self.pause();
        self.open = false;
        let mut bytes = self.paint(now);
        bytes.extend(self.canvas.leave());
        bytes
    }

    /// The live rows, and where the cursor is in them.
    fn live(&self, now: Instant) -> (Vec<Line>, (usize, usize)) {
        let columns = self.columns();
        let rows = usize::from(self.size.1).max(1);
        let page = self.page();
        let asks = page.is_some();
        let (prompt, (row, column), height) = match page {
            Some(Page { prompt, height }) => {
                let row = prompt.len().saturating_sub(1);
                let column = prompt.last().map_or(0, Line::width);
                (prompt, (row, (column + 1).min(columns)), height)
            }
            None => {
                let prompt = Line::of(self.accent(), &format!("{} ▸ ", self.member));
                let (prompt, cursor) = self.editor.rows(&prompt, columns, (rows / 2).max(1));
                let height = rows.saturating_sub(prompt.len() + 2);
                (prompt, cursor, height)
            }
        };
        let mut below = Vec::new();
        if let Some(asked) = &self.asked {
            let visible = asked.dialog.visible(columns, height, asked.rows.len());
            below.extend_from_slice(&asked.rows[visible]);
        }
        let request = below.len();
        let room = rows.saturating_sub(prompt.len() + 1);
        if let Some(asked) = self.asked.as_ref().filter(|_| !asks) {
            let request = asked.dialog.request();
            let waits = format!("{request} waits until what you type is sent, or cleared (^C)");
            below.push(Line::of(self.accent(), &waits).clipped(columns));
        }
        if !self.strip.is_empty() {
            below.push(self.strip.clipped(columns));
        }
        // The request comes before everything but the prompt.
        below.truncate(room.max(request));
        let mut live = Vec::new();
        let room = room.saturating_sub(below.len());
        if room > 0 {
            live.extend(self.tail((room / 2).max(1)));
            live.extend(self.doing.rows(columns, now, self.accent()));
            live.drain(..live.len().saturating_sub(room));
        }
        live.extend(below);
        let above = live.len();
        live.extend(prompt);
        (live, (above + row, column))
    }

    /// The last rows of what is being said.
    fn tail(&self, most: usize) -> Vec<Line> {
        let columns = self.columns();
        let mut tail = if self.thought.is_empty() {
            self.spoken.tail(columns)
        } else {
            Line::of(Look::DIM, &self.thought).wrapped(columns, 2)
        };
        tail.drain(..tail.len().saturating_sub(most));
        tail.iter().map(|row| row.clipped(columns)).collect()
    }

    fn finish(&mut self, lines: impl IntoIterator<Item = Line>) {
        if !self.shown {
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
            self.left_out = true;
        }
    }

    fn accent(&self) -> Look {
        Look {
            colour: self.colour.map(Colour::ansi256),
            ..Look::PLAIN
        }
    }
}

/// Between two steps of what moves.
const STEP: Duration = Duration::from_millis(200);
