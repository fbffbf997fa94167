//! Tracks which rows of a request have been on the screen. Used by the dialog; pure.
//!
//! ```text
//!   nothing shown ─ was_shown ─► some rows seen ─ scroll, was_shown ─► all rows seen: read
//!         ▲                             │                                    │
//!         └──────── another width or another number of rows ─────────────────┘
//! ```

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::keys::Scroll;

#[derive(Debug, Default)]
pub(super) struct ShownRows {
    columns: usize,
    /// Rows of the screen.
    height: usize,
    /// Rows of the text at the current width.
    total: usize,
    /// The first row on the screen.
    first: usize,
    /// Rows that have been on the screen, counted from the first without a gap.
    seen: usize,
    /// The time since which the text has been on the screen without a keystroke.
    quiet: Option<Instant>,
}

impl ShownRows {
    /// The rows to show of a text of `total` rows on a screen of this size.
    pub(super) fn visible(&self, columns: usize, height: usize, total: usize) -> Range<usize> {
        let same = (columns, total) == (self.columns, self.total);
        let first = if same { self.first } else { 0 };
        let first = first.min(total.saturating_sub(height));
        first..(first + height).min(total)
    }

    /// Call when the [visible](Self::visible) rows are on the screen.
    pub(super) fn was_shown(&mut self, columns: usize, height: usize, total: usize, now: Instant) {
        let rows = self.visible(columns, height, total);
        if (columns, total) != (self.columns, self.total) {
            self.seen = 0;
        }
        (self.columns, self.height, self.total) = (columns, height, total);
        self.first = rows.start;
        if rows.start <= self.seen {
            self.seen = self.seen.max(rows.end);
        }
        self.quiet.get_or_insert(now);
    }

    /// Returns whether every row has been on the screen.
    pub(super) fn is_complete(&self) -> bool {
        self.total > 0 && self.seen >= self.total
    }

    /// Whether the text has more rows than the screen.
    pub(super) fn is_cut(&self) -> bool {
        self.total > self.height
    }

    /// How long the text has been on the screen without a keystroke.
    pub(super) fn quiet(&self, now: Instant) -> Option<Duration> {
        self.quiet.map(|since| now.saturating_duration_since(since))
    }

    /// Call after every key: the user may still be typing other text, so the quiet time starts again.
    pub(super) fn disturbed(&mut self, now: Instant) {
        self.quiet = self.quiet.map(|_| now);
    }

    /// Call when another view covers the screen.
    pub(super) fn hidden(&mut self) {
        self.quiet = None;
    }

    /// Scrolls, but never past a row that has not been on the screen: the first unseen row can become the first row on
    /// the screen, and no later row can.
    pub(super) fn scroll(&mut self, by: Scroll) {
        let page = self.height.max(1);
        let last = self.total.saturating_sub(self.height);
        let first = match by {
            Scroll::Up => self.first.saturating_sub(1),
            Scroll::Down => self.first + 1,
            Scroll::PageUp => self.first.saturating_sub(page),
            Scroll::PageDown => self.first + page,
            Scroll::Home => 0,
        };
        self.first = first.min(last).min(self.seen);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Show { columns: usize, height: usize },
        Scroll(Scroll),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let scroll = proptest::sample::select(&[
            Scroll::Up,
            Scroll::Down,
            Scroll::PageUp,
            Scroll::PageDown,
            Scroll::PageDown,
            Scroll::Home,
        ]);
        let step = prop_oneof![
            // Most steps have one width: after a change of width, all rows must be shown again.
            (prop_oneof![9 => Just(40_usize), 1 => Just(80)], 0_usize..8)
                .prop_map(|(columns, height)| Step::Show { columns, height }),
            scroll.prop_map(Step::Scroll),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn reading_needs_every_row(total in 1_usize..20, steps in steps()) {
            let (mut tracker, now) = (ShownRows::default(), Instant::now());
            let (mut width, mut shown) = (0, vec![false; total]);
            for step in steps {
                match step {
                    Step::Scroll(by) => tracker.scroll(by),
                    Step::Show { columns, height } => {
                        if std::mem::replace(&mut width, columns) != columns {
                            shown = vec![false; total];
                        }
                        let rows = tracker.visible(columns, height, total);
                        prop_assert!(rows.len() <= height);
                        shown[rows].fill(true);
                        tracker.was_shown(columns, height, total, now);
                    }
                }
                prop_assert!(!tracker.is_complete() || shown.iter().all(|shown| *shown));
            }
        }

        #[test]
        fn paging_down_shows_every_row(total in 1_usize..200, height in 1_usize..20) {
            let (mut shown, now) = (ShownRows::default(), Instant::now());
            for _ in 0..total.div_ceil(height) {
                prop_assert!(!shown.is_complete());
                shown.was_shown(40, height, total, now);
                shown.scroll(Scroll::PageDown);
            }
            prop_assert!(shown.is_complete());
        }
    }
}
