//! What the person may see of a thinking member, on its way to pane and log. Written by the mind and its tools, read by
//! the worker's loop.
//!
//! Everything becomes harmless text here. What a model says goes through at its own speed; what tools
//! print is bounded, and left out where nobody takes it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_protocol::text::visible;
use agent_team_protocol::view::Waiting;
use agent_team_terminal_ui::{Tone, Words};
use tokio::sync::mpsc;

use super::live::Live;

/// Bytes of tools' output that may be on their way at once.
const WATCHED_MAX: usize = 64 << 10;

/// From so many bytes on a line that has not ended is shown as far as its last space.
const LONG_LINE: usize = 240;

/// Something to show, or to tell the supervisor of. Every text of it is harmless.
#[derive(Debug)]
pub(super) enum Told {
    /// A piece of what the model says.
    Said(Words, String),
    /// It says nothing more for now.
    Paused,
    Lines {
        tone: Tone,
        /// Without a newline at its end.
        text: String,
    },
    /// The model is asked, or is not any more.
    Thinks(bool),
    Begun {
        call: String,
        header: String,
    },
    /// What a call prints, or what runs beside all calls.
    Printed {
        call: Option<String>,
        /// Without a newline at its end.
        text: String,
        /// Given back when it is shown.
        weight: Weight,
    },
    Ended(Ended),
    /// The mind waits for this; `None`: it goes on.
    Waits(Option<Waiting>),
}

/// A call that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) call: String,
    pub(super) diff: Option<String>,
    /// What it folds to.
    pub(super) first_line: String,
    /// What was not told while it ran, as a line; `None`: all was.
    pub(super) unseen: Option<String>,
    /// What it said, to be looked at by who wants to.
    pub(super) all: String,
}

/// A share of [`WATCHED_MAX`].
#[derive(Debug)]
pub(super) struct Weight {
    bytes: usize,
    of: Arc<AtomicUsize>,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Screen {
    // Unbounded: a model's own words are few, and the rest is weighed.
    told: mpsc::UnboundedSender<Told>,
    watched: Arc<AtomicUsize>,
    /// For those who watch from elsewhere.
    pub(super) live: Live,
}

impl Screen {
    pub(super) fn new(live: Live) -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (told, shown) = mpsc::unbounded_channel();
        let screen = Self {
            told,
            watched: Arc::default(),
            live,
        };
        (screen, shown)
    }

    pub(crate) fn lines(&self, tone: Tone, text: &str) {
        let text = harmless(text);
        self.live.lines(text.clone(), tone == Tone::Diff);
        self.tell(Told::Lines { tone, text });
    }

    pub(super) fn begun(&self, call: &str, header: &str) {
        self.tell(Told::Begun {
            call: call.to_owned(),
            header: harmless(header),
        });
    }

    pub(super) fn ended(&self, ended: Ended) {
        let diff = ended.diff.map(|text| harmless(&text));
        if let Some(diff) = diff.clone() {
            self.live.lines(diff, true);
        }
        self.tell(Told::Ended(Ended {
            call: ended.call,
            diff,
            first_line: harmless(&ended.first_line),
            unseen: ended.unseen.map(|text| harmless(&text)),
            all: harmless(&ended.all),
        }));
    }

    /// The model is asked as long as this is kept.
    pub(super) fn thinks(&self) -> Thinks<'_> {
        self.tell(Told::Thinks(true));
        Thinks(self)
    }

    /// Lines that nobody needs to see, when nobody takes them.
    fn watched_lines(&self, call: Option<&String>, text: &str) {
        let text = harmless(text);
        let bytes = text.len();
        let before = self.watched.fetch_add(bytes, Ordering::Relaxed);
        let weight = Weight {
            bytes,
            of: Arc::clone(&self.watched),
        };
        if before + bytes <= WATCHED_MAX {
            let call = call.cloned();
            self.tell(Told::Printed { call, text, weight });
        }
    }

    pub(super) fn waits(&self, on: Option<Waiting>) {
        self.tell(Told::Waits(on));
    }

    /// What takes a text that comes in pieces.
    pub(super) fn stream(&self, of: Words) -> Stream<'_> {
        Stream {
            screen: self,
            of,
            speaks: false,
        }
    }

    /// What takes the output of a call, or of what runs beside them, while it runs.
    pub(super) fn watch(&self, call: Option<&str>) -> Watch<'_> {
        Watch {
            screen: self,
            call: call.map(str::to_owned),
            watched: Mutex::default(),
        }
    }

    fn tell(&self, told: Told) {
        // Without a worker nobody looks.
        let _gone = self.told.send(told);
    }
}

/// See [`Screen::thinks`].
#[derive(Debug)]
pub(super) struct Thinks<'a>(&'a Screen);

impl Drop for Thinks<'_> {
    fn drop(&mut self) {
        self.0.tell(Told::Thinks(false));
    }
}

/// A model's words on their way. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    screen: &'a Screen,
    of: Words,
    speaks: bool,
}

impl Stream<'_> {
    pub(super) fn push(&mut self, piece: &str) {
        self.speaks = true;
        let piece = visible(piece).into_owned();
        self.screen.tell(Told::Said(self.of, piece));
    }

    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.speaks) {
            self.screen.tell(Told::Paused);
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A tool's output on its way.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    screen: &'a Screen,
    call: Option<String>,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    /// What has not been shown yet.
    line: String,
    ends: Option<Ends>,
}

/// The first and the last line of a text that are not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) first: String,
    pub(super) last: String,
}

impl Ends {
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next()?;
        Some(Self {
            first: first.to_owned(),
            last: lines.next_back().unwrap_or(first).to_owned(),
        })
    }
}

impl Watch<'_> {
    pub(super) fn push(&self, text: &str) {
        let mut watched = self.lock();
        watched.line.push_str(text);
        let whole = whole_lines(&watched.line);
        self.show(&mut watched, whole);
    }

    /// Shows the rest. What was seen in all, if anything was.
    pub(super) fn seen(&self) -> Option<Ends> {
        let mut watched = self.lock();
        if !watched.line.trim().is_empty() {
            let rest = watched.line.len();
            self.show(&mut watched, rest);
        }
        watched.ends.clone()
    }

    fn show(&self, watched: &mut Watched, bytes: usize) {
        let lines: String = watched.line.drain(..bytes).collect();
        if !lines.is_empty() {
            self.screen.watched_lines(self.call.as_ref(), &lines);
        }
        match (&mut watched.ends, Ends::of(&lines)) {
            (Some(before), Some(ends)) => before.last = ends.last,
            (none @ None, ends) => *none = ends,
            (Some(_), None) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.seen();
    }
}

fn harmless(text: &str) -> String {
    visible(text.trim_end_matches('\n')).into_owned()
}

/// Bytes of the text that can be shown now.
pub(super) fn whole_lines(text: &str) -> usize {
    match text.rfind('\n') {
        Some(newline) => newline + 1,
        None if text.len() < LONG_LINE => 0,
        None => text.rfind(' ').map_or(text.len(), |space| space + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(shown: &mut mpsc::UnboundedReceiver<Told>) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(told) = shown.try_recv() {
            match told {
                Told::Said(_, text) | Told::Lines { text, .. } | Told::Printed { text, .. } => {
                    texts.push(text);
                }
                Told::Paused
                | Told::Thinks(_)
                | Told::Begun { .. }
                | Told::Ended(_)
                | Told::Waits(_) => {}
            }
        }
        texts
    }

    #[test]
    fn words_are_told_as_they_come_and_as_nothing_but_text() {
        let (screen, mut shown) = Screen::new(Live::new("1"));
        let mut stream = screen.stream(Words::Spoken);
        stream.push("One\x1b[2J");
        stream.push(" two\nthr");
        assert_eq!(texts(&mut shown), ["One\\e[2J", " two\nthr"]);
    }

    #[test]
    fn a_long_line_is_logged_before_it_ends() {
        assert_eq!(whole_lines("one\ntwo"), 4);
        assert_eq!(whole_lines("word word"), 0);
        assert_eq!(whole_lines(&"word ".repeat(60)), 300);
    }

    #[test]
    fn a_tool_that_prints_without_end_takes_bounded_room() {
        let (screen, mut shown) = Screen::new(Live::new("1"));
        let watch = screen.watch(None);
        let line = format!("{}\n", "x".repeat(1000));
        for _ in 0..10_000 {
            watch.push(&line);
        }
        let taken = texts(&mut shown);
        assert!(taken.len() * 1000 <= WATCHED_MAX, "{}", taken.len());
        watch.push(&line);
        assert_eq!(texts(&mut shown).len(), 1, "room is given back");
    }
}
