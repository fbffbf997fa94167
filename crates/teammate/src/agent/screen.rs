//! What the person may see of a thinking member, on its way to pane and log. Written by the mind and its tools, read by
//! the worker's loop.
//!
//! Everything becomes harmless text here, in whole lines. What a model says goes through at its own speed; what tools
//! print is bounded, and left out where nobody takes it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_protocol::TaskId;
use agent_team_protocol::notification::TaskSession;
use agent_team_protocol::text::visible;
use agent_team_protocol::view::Waiting;
use agent_team_system::process::ProcessId;
use tokio::sync::mpsc;

use super::live::Live;
use crate::pane::paint::Style;

/// Bytes of tools' output that may be on their way at once.
const WATCHED_MAX: usize = 64 << 10;

/// From so many bytes on a line that has not ended is shown as far as its last space.
const LONG_LINE: usize = 240;

/// Something to show, or to tell the supervisor of.
#[derive(Debug)]
pub(super) enum Told {
    Lines {
        style: Style,
        /// Harmless, without a newline at its end.
        text: String,
        /// Given back when it is shown.
        weight: Option<Weight>,
    },
    /// A line that is verified leads this session.
    Session(TaskSession),
    /// The mind waits for this; `None`: it goes on.
    Waits(Option<Waiting>),
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

    pub(crate) fn lines(&self, style: Style, text: &str) {
        let text = visible(text.trim_end_matches('\n')).into_owned();
        self.tell(Told::Lines {
            style,
            text,
            weight: None,
        });
    }

    /// Lines that nobody needs to see, when nobody takes them.
    fn watched_lines(&self, text: &str) {
        let text = visible(text.trim_end_matches('\n')).into_owned();
        let bytes = text.len();
        let before = self.watched.fetch_add(bytes, Ordering::Relaxed);
        let weight = Weight {
            bytes,
            of: Arc::clone(&self.watched),
        };
        if before + bytes <= WATCHED_MAX {
            self.tell(Told::Lines {
                style: Style::Dim,
                text,
                weight: Some(weight),
            });
        }
    }

    pub(super) fn session(&self, task: TaskId, leader: ProcessId) {
        self.tell(Told::Session(TaskSession {
            task,
            pid: leader.pid,
            start_time: leader.start_time,
        }));
    }

    pub(super) fn waits(&self, on: Option<Waiting>) {
        self.tell(Told::Waits(on));
    }

    /// What takes a text that comes in pieces.
    pub(super) fn stream(&self, style: Style) -> Stream<'_> {
        Stream {
            screen: self,
            style,
            line: String::new(),
        }
    }

    /// What takes a tool's output while it runs.
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch {
            screen: self,
            watched: Mutex::default(),
        }
    }

    fn tell(&self, told: Told) {
        // Without a worker nobody looks.
        let _gone = self.told.send(told);
    }
}

/// A model's words on their way. Dropping it shows what is left of them.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    screen: &'a Screen,
    style: Style,
    line: String,
}

impl Stream<'_> {
    pub(super) fn push(&mut self, text: &str) {
        self.line.push_str(text);
        let whole = whole_lines(&self.line);
        if whole > 0 {
            let lines: String = self.line.drain(..whole).collect();
            self.screen.lines(self.style, &lines);
        }
    }

    pub(super) fn end(&mut self) {
        let rest = std::mem::take(&mut self.line);
        if !rest.trim().is_empty() {
            self.screen.lines(self.style, &rest);
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
            self.screen.watched_lines(&lines);
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

/// Bytes of the text that can be shown now.
fn whole_lines(text: &str) -> usize {
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
            if let Told::Lines { text, .. } = told {
                texts.push(text);
            }
        }
        texts
    }

    #[test]
    fn words_are_shown_by_the_line_and_as_nothing_but_text() {
        let (screen, mut shown) = Screen::new(Live::new("1"));
        let mut stream = screen.stream(Style::Plain);
        stream.push("One\x1b[2J");
        assert!(texts(&mut shown).is_empty());
        stream.push(" two\nthr");
        assert_eq!(texts(&mut shown), ["One\\e[2J two"]);
        drop(stream);
        assert_eq!(texts(&mut shown), ["thr"]);
    }

    #[test]
    fn a_long_line_is_shown_before_it_ends() {
        let (screen, mut shown) = Screen::new(Live::new("1"));
        screen.stream(Style::Plain).push(&"word ".repeat(60));
        assert!(!texts(&mut shown).is_empty());
    }

    #[test]
    fn a_tool_that_prints_without_end_takes_bounded_room() {
        let (screen, mut shown) = Screen::new(Live::new("1"));
        let watch = screen.watch();
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
