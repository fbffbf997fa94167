//! What the member is doing right now, with a sign that moves as long as it does. Used by the face; pure.

use std::collections::VecDeque;
use std::time::Instant;

use super::STEP;
use crate::line::{Line, Look};

/// One per step.
const SIGNS: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// While it waits for somebody.
const STILL: &str = "●";

/// Calls that are shown at once.
const CALLS: usize = 4;

/// Lines of what the last of them prints.
const PRINTED: usize = 3;

/// Bytes of a line that has not ended.
const LINE_MAX: usize = 1 << 10;

#[derive(Debug)]
struct Call {
    id: String,
    header: String,
    since: Instant,
    /// The last lines; the one that has not ended is the last.
    printed: VecDeque<String>,
}

#[derive(Debug, Default)]
pub(super) struct Doing {
    thinks: Option<Instant>,
    waits: bool,
    calls: Vec<Call>,
    /// The last call that is over, and all that it said.
    last: Option<(String, String)>,
}

impl Doing {
    pub(super) fn thinks(&mut self, since: Option<Instant>) {
        self.thinks = since;
    }

    /// What was under way begins anew then: it is not what took the time.
    pub(super) fn waits(&mut self, waits: bool, now: Instant) {
        if std::mem::replace(&mut self.waits, waits) && !waits {
            for call in &mut self.calls {
                call.since = now;
            }
        }
    }

    pub(super) fn begin(&mut self, id: &str, header: &str, now: Instant) {
        self.calls.push(Call {
            id: id.to_owned(),
            header: header.to_owned(),
            since: now,
            printed: VecDeque::new(),
        });
    }

    pub(super) fn printed(&mut self, id: &str, text: &str) {
        let Some(call) = self.calls.iter_mut().find(|call| call.id == id) else {
            return;
        };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            call.printed
                .push_back(line[..line.floor_char_boundary(LINE_MAX)].to_owned());
            if call.printed.len() > PRINTED {
                call.printed.pop_front();
            }
        }
    }

    /// Gives the call's header back.
    pub(super) fn end(&mut self, id: &str, all: &str) -> String {
        let at = self.calls.iter().position(|call| call.id == id);
        let header = at
            .map(|at| self.calls.remove(at).header)
            .unwrap_or_default();
        self.last = Some((header.clone(), all.to_owned()));
        header
    }

    /// The last call that is over: its header, and all that it said.
    pub(super) fn last(&self) -> Option<(String, String)> {
        self.last.clone()
    }

    /// When the sign moves next.
    pub(super) fn next_step(&self, now: Instant) -> Option<Instant> {
        let since = self.since().filter(|_| !self.waits)?;
        let steps = now.saturating_duration_since(since).as_millis() / STEP.as_millis();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        Some(since + STEP * steps.saturating_add(1))
    }

    fn since(&self) -> Option<Instant> {
        self.calls
            .iter()
            .map(|call| call.since)
            .min()
            .or(self.thinks)
    }

    pub(super) fn rows(&self, columns: usize, now: Instant, accent: Look) -> Vec<Line> {
        let mut rows = Vec::new();
        let thinks = self.thinks.filter(|_| !self.waits && self.calls.is_empty());
        if let Some(since) = thinks {
            rows.push(self.row("thinking", since, now, accent));
        }
        let hidden = self.calls.len().saturating_sub(CALLS);
        for call in &self.calls[hidden..] {
            let header = call.header.trim_start_matches(['●', ' ']);
            rows.push(self.row(header, call.since, now, accent));
        }
        if let Some(call) = self.calls.last() {
            let lines = call.printed.iter();
            rows.extend(lines.map(|line| Line::of(Look::DIM, &format!("  {line}"))));
        }
        rows.iter().map(|row| row.clipped(columns)).collect()
    }

    fn row(&self, what: &str, since: Instant, now: Instant, accent: Look) -> Line {
        let for_ms = now.saturating_duration_since(since).as_millis();
        let step = for_ms / STEP.as_millis() % (SIGNS.len() as u128);
        let sign = match usize::try_from(step) {
            Ok(step) if !self.waits => SIGNS[step],
            Ok(_) | Err(_) => STILL,
        };
        let mut row = Line::of(accent, &format!("{sign} "));
        if !self.waits && for_ms >= 1_000 {
            // First, so that it is there in a narrow pane.
            row.push(Look::DIM, &format!("{} s ", for_ms / 1_000));
        }
        row.push(Look::PLAIN, what);
        row
    }
}
