//! The current activity of the member, with an animated sign. Used by the transcript view; pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::line::Line;
use crate::style::{SemanticColour, Style};

/// The interval of animation steps.
pub(super) const STEP: Duration = Duration::from_millis(200);

/// One sign per step.
const SIGNS: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The sign while the member waits; not animated.
const STILL: &str = "●";

/// The maximum number of running calls that are shown.
const CALLS: usize = 4;

/// The maximum number of output lines of the last call that are shown.
const PRINTED: usize = 3;

/// The maximum length of a stored output line in bytes; the rest is dropped.
const LINE_MAX: usize = 1 << 10;

#[derive(Debug)]
struct Call {
    id: String,
    header: String,
    since: Instant,
    status: String,
    /// The last lines of output.
    printed: VecDeque<String>,
}

#[derive(Debug, Default)]
pub(super) struct Activity {
    /// The work outside of calls, and its start.
    work: Option<(String, Instant)>,
    is_waiting: bool,
    calls: Vec<Call>,
}

impl Activity {
    /// Sets the work outside of calls. Returns whether it has changed.
    pub(super) fn set_work(&mut self, work: Option<(String, Instant)>) -> bool {
        let differs = self.work != work;
        self.work = work;
        differs
    }

    /// Sets whether the member waits. When the wait ends, the elapsed time of the calls starts again, so that it
    /// excludes the wait. Returns whether the value has changed.
    pub(super) fn set_waiting(&mut self, is_waiting: bool, now: Instant) -> bool {
        let before = std::mem::replace(&mut self.is_waiting, is_waiting);
        if before && !is_waiting {
            for call in &mut self.calls {
                call.since = now;
            }
        }
        before != is_waiting
    }

    pub(super) fn begin(&mut self, id: &str, header: &str, now: Instant) {
        self.calls.push(Call {
            id: id.to_owned(),
            header: header.to_owned(),
            since: now,
            status: String::new(),
            printed: VecDeque::new(),
        });
    }

    pub(super) fn push_output(&mut self, id: &str, text: &str) {
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

    pub(super) fn set_status(&mut self, id: &str, text: &str) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.id == id) {
            text[..text.floor_char_boundary(LINE_MAX)].clone_into(&mut call.status);
        }
    }

    /// Forgets the output of the running calls.
    pub(super) fn clear_output(&mut self) {
        for call in &mut self.calls {
            call.printed.clear();
        }
    }

    /// Ends a call and returns its header; `None` if its start was not seen.
    pub(super) fn end(&mut self, id: &str) -> Option<String> {
        let at = self.calls.iter().position(|call| call.id == id)?;
        Some(self.calls.remove(at).header)
    }

    /// Ends all activity. Returns whether the member was active.
    pub(super) fn end_all(&mut self) -> bool {
        let was_active = !self.calls.is_empty() || self.work.is_some();
        (self.calls, self.work) = (Vec::new(), None);
        was_active
    }

    /// The time of the next animation step.
    pub(super) fn next_step(&self, now: Instant) -> Option<Instant> {
        let since = self.since().filter(|_| !self.is_waiting)?;
        let steps = now.saturating_duration_since(since).as_millis() / STEP.as_millis();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        Some(since + STEP * steps.saturating_add(1))
    }

    /// Returns whether the member works on something, even if it waits.
    pub(super) fn is_active(&self) -> bool {
        self.since().is_some()
    }

    fn since(&self) -> Option<Instant> {
        self.calls
            .iter()
            .map(|call| call.since)
            .min()
            .or(self.work.as_ref().map(|(_, since)| *since))
    }

    pub(super) fn rows(&self, columns: usize, now: Instant) -> Vec<Line> {
        let mut rows = Vec::new();
        if let Some((what, since)) = &self.work
            && !self.is_waiting
            && self.calls.is_empty()
        {
            rows.push(self.row(what, *since, now));
        }
        let hidden = self.calls.len().saturating_sub(CALLS);
        for call in &self.calls[hidden..] {
            let header = call.header.trim_start_matches(['●', ' ']);
            rows.push(self.row(header, call.since, now));
            if !call.status.is_empty() {
                rows.push(Line::of(Style::DIM, &format!("  {}", call.status)));
            }
        }
        if let Some(call) = self.calls.last() {
            let lines = call.printed.iter();
            rows.extend(lines.map(|line| Line::of(Style::DIM, &format!("  {line}"))));
        }
        rows.iter().map(|row| row.clipped(columns)).collect()
    }

    fn row(&self, what: &str, since: Instant, now: Instant) -> Line {
        let for_ms = now.saturating_duration_since(since).as_millis();
        let step = for_ms / STEP.as_millis() % (SIGNS.len() as u128);
        let sign = match usize::try_from(step) {
            Ok(step) if !self.is_waiting => SIGNS[step],
            Ok(_) | Err(_) => STILL,
        };
        let colour = if self.is_waiting {
            SemanticColour::Attention
        } else {
            SemanticColour::Working
        };
        let mut row = Line::of(Style::of(colour), &format!("{sign} "));
        if !self.is_waiting && for_ms >= 1_000 {
            // The duration comes first, so that it is visible in a narrow pane.
            row.push(Style::DIM, &format!("{} s ", for_ms / 1_000));
        }
        row.push(Style::PLAIN, what);
        row
    }
}
