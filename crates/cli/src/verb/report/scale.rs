//! The horizontal scale of the timeline: maps times to positions. Long times in which no member was up are cut out, so
//! that the work of three days does not shrink to three lines.

use agent_team_client::spans::union;

/// The width of a cut, in units of the picture.
pub(super) const CUT_WIDTH: f64 = 22.0;

/// The shortest time that is cut out, in milliseconds.
const CUT_MIN: u64 = 60_000;

/// The steps between two ticks, in seconds.
const STEPS: [u64; 20] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 604_800,
];

/// Maps times to positions from 0 to the width.
#[derive(Debug)]
pub(super) struct Scale {
    parts: Vec<Part>,
    /// Units per millisecond.
    factor: f64,
}

/// A time that is shown, and its position.
#[derive(Debug, Clone, Copy)]
struct Part {
    from: u64,
    to: u64,
    x: f64,
}

impl Scale {
    /// `active`: the intervals in which the team did something.
    pub(super) fn new(
        from: u64,
        to: u64,
        active: impl IntoIterator<Item = (u64, u64)>,
        width: f64,
    ) -> Self {
        let to = to.max(from + 1);
        let clipped = active
            .into_iter()
            .map(|(start, end)| (start.max(from), end.min(to)));
        let active = union(clipped);
        let total: u64 = active.iter().map(|(start, end)| end - start).sum();
        let shortest = CUT_MIN.max(total / 20);
        let mut shown = vec![(from, to)];
        let mut last = from;
        // The ends of the window are events, which the picture shows, too.
        for (start, end) in active.into_iter().chain([(to, to)]) {
            let most = (width / CUT_WIDTH / 2.0) as usize;
            if start.saturating_sub(last) > shortest && shown.len() < most {
                let (begin, _) = shown.pop().expect("a part");
                shown.extend([(begin, last), (start, to)]);
            }
            last = last.max(end);
        }
        let cuts = shown.len() - 1;
        let length: u64 = shown.iter().map(|(start, end)| end - start).sum();
        let factor = (width - cuts as f64 * CUT_WIDTH) / (length.max(1) as f64);
        let mut x = 0.0;
        let parts = shown.into_iter().map(|(from, to)| {
            let part = Part { from, to, x };
            x += (to - from) as f64 * factor + CUT_WIDTH;
            part
        });
        Self {
            parts: parts.collect(),
            factor,
        }
    }

    /// The position of a time. A time that is cut out has the position at which the next part begins.
    pub(super) fn x(&self, at: u64) -> f64 {
        let part = self.parts.iter().find(|part| at <= part.to);
        let part = part.or(self.parts.last()).expect("a scale has a part");
        let within = at.clamp(part.from, part.to) - part.from;
        part.x + within as f64 * self.factor
    }

    /// The times that are cut out: their position and their length.
    pub(super) fn cuts(&self) -> impl Iterator<Item = (f64, u64)> {
        self.parts
            .windows(2)
            .map(|pair| (pair[1].x, pair[1].from - pair[0].to))
    }

    /// The times of the ticks. At least `gap` units are between two ticks.
    pub(super) fn ticks(&self, gap: f64) -> Vec<u64> {
        let fits = |step: &&u64| (**step * 1_000) as f64 * self.factor >= gap;
        let step = STEPS.iter().find(fits).unwrap_or(&STEPS[STEPS.len() - 1]) * 1_000;
        let mut ticks = Vec::new();
        let mut last = f64::NEG_INFINITY;
        for part in &self.parts {
            let mut at = part.from.div_ceil(step) * step;
            while at <= part.to {
                let x = self.x(at);
                if x - last >= gap {
                    ticks.push(at);
                    last = x;
                }
                at += step;
            }
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_night_without_members_is_cut_out() {
        let scale = Scale::new(0, 26 * HOUR, [(0, HOUR), (25 * HOUR, 26 * HOUR)], 1_000.0);
        let cuts: Vec<_> = scale.cuts().collect();
        assert_eq!(cuts.len(), 1);
        assert_eq!(cuts[0].1, 24 * HOUR);
        assert_eq!(scale.x(0), 0.0);
        assert!((scale.x(26 * HOUR) - 1_000.0).abs() < 0.001);
        assert!((scale.x(HOUR) - 489.0).abs() < 0.001, "{}", scale.x(HOUR));
        assert_eq!(scale.x(12 * HOUR), scale.x(25 * HOUR));
    }

    #[test]
    fn times_keep_their_order() {
        let scale = Scale::new(1_000, 9_000, [(2_000, 3_000)], 500.0);
        assert_eq!(scale.cuts().count(), 0);
        let xs: Vec<_> = (0..10).map(|at| scale.x(at * 1_000)).collect();
        assert!(xs.is_sorted(), "{xs:?}");
        assert_eq!((xs[0], xs[9]), (0.0, 500.0));
        assert_eq!(Scale::new(5, 5, [], 100.0).x(5), 0.0);
    }

    #[test]
    fn ticks_are_round_times_with_room() {
        let scale = Scale::new(1_234, 61_234, [(1_234, 61_234)], 1_000.0);
        let ticks = scale.ticks(90.0);
        assert_eq!(ticks[0], 10_000);
        assert_eq!(ticks.len(), 6);
    }
}
