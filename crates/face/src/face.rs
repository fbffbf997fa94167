//! What stands on a member's screen, and what keys do to it. Called by the pane, which writes what it paints; pure.
//!
//! ```text
//!   finished ── what was said and done, a line at a time, for good
//!   ─────────── live, painted over:
//!   tail     ── what is being said
//!   doing    ── calls under way, or that the model is asked, with what they print
//!   prompt   ── or the request that waits, while nothing is typed
//! ```
//! A request never takes keys from a text that is being typed, and no key answers it before it has been on the screen
//! for a moment.

mod doing;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use agent_team_protocol::dialog::{self, Dialog, Pressed};
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};
use agent_team_protocol::spec::Colour;
use agent_team_protocol::{MemberName, RequestId};

use self::doing::Doing;
use crate::canvas::Canvas;
use crate::editor::Editor;
use crate::keys::Key;
use crate::line::{Line, Look};
use crate::markdown::Markdown;
use crate::slash::{self, Slash};

/// Lines that may wait for a terminal that takes none; then the oldest are left out.
const WAITING_MAX: usize = 4_000;

/// Before a terminal has said how many it has.
const COLUMNS: usize = 79;

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
    /// Since when all of it is on the screen and no key has come.
    quiet: Option<Instant>,
}

#[derive(Debug)]
pub struct Face {
    member: MemberName,
    colour: Option<Colour>,
    /// `NO_COLOR` does not forbid them.
    colours: bool,
    canvas: Canvas,
    /// Of what is said and done: one less than the terminal has, since not all agree on what a full row is.
    columns: usize,
    finished: Vec<Line>,
    /// Stands above the prompt; empty: nothing does.
    strip: Line,
    /// Lines were left out before the ones that wait.
    left_out: bool,
    spoken: Markdown,
    thought: String,
    doing: Doing,
    asked: Option<Asked>,
    editor: Editor,
    /// There is somebody to type to.
    open: bool,
    /// It is on a terminal.
    shown: bool,
    changed: bool,
}

impl Face {
    pub fn new(member: MemberName, colours: bool) -> Self {
        Self {
            member,
            colour: None,
            colours,
            canvas: Canvas::default(),
            columns: COLUMNS,
            finished: Vec::new(),
            strip: Line::default(),
            left_out: false,
            spoken: Markdown::default(),
            thought: String::new(),
            doing: Doing::default(),
            asked: None,
            editor: Editor::default(),
            open: false,
            shown: true,
            changed: false,
        }
    }

    pub fn set_colour(&mut self, colour: Option<Colour>) {
        self.colour = colour;
        self.changed = true;
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
        self.strip = strip;
    }

    /// Another face takes the terminal for a while: the bytes that leave it to that one.
    pub fn step_aside(&mut self) -> Vec<u8> {
        self.canvas.leave()
    }

    /// It has the terminal again: `title` comes before all that was finished meanwhile.
    pub fn step_in(&mut self, title: &str) {
        let title = Line::of(self.accent(), title);
        self.finished.insert(0, title);
        if let Some(asked) = &mut self.asked {
            asked.quiet = None;
        }
        self.changed = true;
    }

    /// It is on a terminal of this size now, which shows nothing of it yet. A request that waits is to be asked again.
    pub fn moved(&mut self, size: (u16, u16)) {
        self.lost();
        self.shown = true;
        self.fit(size);
    }

    /// It is nowhere: what is said and done passes it by.
    pub fn lost(&mut self) {
        self.canvas = Canvas::default();
        self.finished.clear();
        self.left_out = false;
        self.asked = None;
        self.shown = false;
    }

    /// What comes from now on is for a terminal of this size.
    pub fn fit(&mut self, size: (u16, u16)) {
        self.columns = usize::from(size.0).saturating_sub(1).max(2);
        self.changed = true;
    }

    /// A piece of what is said.
    pub fn say(&mut self, of: Words, piece: &str) {
        self.changed = true;
        match of {
            Words::Spoken => {
                let lines = self.spoken.push(piece, self.columns);
                self.finish(lines);
            }
            Words::Thought => {
                self.thought.push_str(piece);
                if let Some(end) = self.thought.rfind('\n') {
                    let whole: String = self.thought.drain(..=end).collect();
                    self.lines(Tone::Dim, &whole);
                }
            }
        }
    }

    /// What is being said has come to its end.
    pub fn pause(&mut self) {
        let thought = std::mem::take(&mut self.thought);
        if !thought.trim().is_empty() {
            self.lines(Tone::Dim, &thought);
        }
        let lines = self.spoken.end(self.columns);
        self.finish(lines);
    }

    /// Whole lines.
    pub fn lines(&mut self, tone: Tone, text: &str) {
        let columns = self.columns;
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

    /// The model is asked, or is not any more.
    pub fn thinks(&mut self, since: Option<Instant>) {
        self.doing.thinks(since);
        self.changed = true;
    }

    /// Nothing moves until something has come from elsewhere.
    pub fn waits(&mut self, waits: bool, now: Instant) {
        self.doing.waits(waits, now);
        self.changed = true;
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

    /// A call is over: it folds to a line, and [`Face::press`] can open the last one. `all`: what it said.
    pub fn end_call(&mut self, call: &str, first_line: &str, diff: Option<&str>, all: &str) {
        let header = self.doing.end(call, all);
        // Of one that began before anybody looked there is none.
        if !header.is_empty() {
            self.lines(Tone::Accent, &header);
        }
        if let Some(diff) = diff {
            self.lines(Tone::Diff, diff);
        }
        self.lines(Tone::Dim, first_line);
    }

    /// Asks about this request, as soon as nothing is being typed. `via`: where the person is asked.
    pub fn ask(&mut self, view: RequestView, via: Channel) {
        if !self.shown {
            return;
        }
        self.lines(Tone::Accent, &dialog::text(&view));
        self.asked = Some(Asked {
            dialog: Dialog::of(view, via),
            quiet: None,
        });
    }

    /// Nobody needs to answer it any more.
    pub fn end_request(&mut self, request: RequestId) {
        let ended = |asked: &mut Asked| asked.dialog.request() == request;
        if self.asked.take_if(ended).is_some() {
            self.changed = true;
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
            self.open_last();
            return None;
        }
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
        match asked
            .dialog
            .pressed(typed, asked.quiet.map(|since| now - since))
        {
            Pressed::Decided(decide) => {
                self.asked = None;
                Some(Act::Decide(decide))
            }
            Pressed::Later => {
                self.asked = None;
                let later = format!("{request} goes on waiting: agent-team requests");
                self.lines(Tone::Accent, &later);
                None
            }
            Pressed::Nothing => {
                // Who is still typing what they began before is not answering.
                asked.quiet = asked.quiet.map(|_| now);
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
            Slash::Help => self.lines(Tone::Plain, &slash::help()),
            Slash::Wrong(why) => self.lines(Tone::Accent, &format!("✗ {why}")),
            Slash::Verb(words) => return Some(Act::Run(text, words)),
        }
        None
    }

    fn open_last(&mut self) {
        match self.doing.last() {
            Some((header, all)) => {
                self.lines(Tone::Accent, &header);
                self.lines(Tone::Dim, &all);
            }
            None => self.lines(Tone::Dim, "no tool has said anything yet"),
        }
    }

    /// When there is something to paint; `None`: not before something happens.
    pub fn next_paint(&self, now: Instant) -> Option<Instant> {
        if self.changed {
            return Some(now);
        }
        self.doing.next_step(now)
    }

    /// The bytes that bring a terminal of this size to what is to be seen; none where it is.
    pub fn paint(&mut self, size: (u16, u16), now: Instant) -> Vec<u8> {
        self.fit(size);
        self.changed = false;
        let rows = usize::from(size.1);
        let mut finished = std::mem::take(&mut self.finished);
        if std::mem::take(&mut self.left_out) {
            finished.insert(0, Line::of(Look::DIM, "… output left out above …"));
        }
        let (live, cursor) = if self.open {
            self.live(rows, now)
        } else {
            (Vec::new(), (0, 0))
        };
        self.canvas
            .paint(size, &finished, live, cursor, self.colours)
    }

    /// What was painted last is on the screen.
    pub fn was_painted(&mut self, now: Instant) {
        if let Some(asked) = &mut self.asked
            && self.editor.is_empty()
            && !self.changed
        {
            asked.quiet.get_or_insert(now);
        }
    }

    /// The bytes that leave the terminal to somebody else, with all that is finished.
    pub fn leave(&mut self, size: (u16, u16)) -> Vec<u8> {
        self.pause();
        self.open = false;
        let mut bytes = self.paint(size, Instant::now());
        bytes.extend(self.canvas.leave());
        bytes
    }

    /// The live rows, and where the cursor is in them.
    fn live(&self, rows: usize, now: Instant) -> (Vec<Line>, (usize, usize)) {
        let columns = self.columns;
        let asks = self.asked.as_ref().filter(|_| self.editor.is_empty());
        let (prompt, (row, column)) = match asks {
            Some(asked) => {
                let line = Line::of(self.accent(), asked.dialog.prompt().trim_end());
                let prompt = line.wrapped(columns, 2);
                let row = prompt.len().saturating_sub(1);
                let column = prompt.last().map_or(0, Line::width);
                (prompt, (row, (column + 1).min(columns)))
            }
            None => {
                let prompt = Line::of(self.accent(), &format!("{} ▸ ", self.member));
                self.editor.rows(&prompt, columns, (rows / 2).max(1))
            }
        };
        let mut live = Vec::new();
        let room = rows.saturating_sub(prompt.len() + 1);
        if room > 0 {
            live.extend(self.tail((room / 2).max(1)));
            live.extend(self.doing.rows(columns, now, self.accent()));
            if let Some(asked) = self.asked.as_ref().filter(|_| asks.is_none()) {
                let request = asked.dialog.request();
                let waits = format!("{request} waits until what you type is sent, or cleared (^C)");
                live.push(Line::of(self.accent(), &waits).clipped(columns));
            }
            if !self.strip.is_empty() {
                live.push(self.strip.clipped(columns));
            }
            live.drain(..live.len().saturating_sub(room));
        }
        let above = live.len();
        live.extend(prompt);
        (live, (above + row, column))
    }

    /// The last rows of what is being said.
    fn tail(&self, most: usize) -> Vec<Line> {
        let columns = self.columns;
        let mut tail = if self.thought.is_empty() {
            self.spoken.tail(columns)
        } else {
            Line::of(Look::DIM, &self.thought).wrapped(columns, 2)
        };
        tail.drain(..tail.len().saturating_sub(most));
        tail.iter().map(|row| row.clipped(columns)).collect()
    }

    fn finish(&mut self, lines: impl IntoIterator<Item = Line>) {
        self.changed = true;
        if !self.shown {
            return;
        }
        self.finished.extend(lines);
        if self.finished.len() > WAITING_MAX {
            let too_many = self.finished.len() - WAITING_MAX;
            self.finished.drain(..too_many);
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
