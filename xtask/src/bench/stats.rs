//! Medians, percentiles and ranges. No samples are discarded.

use serde::Serialize;

/// The results of several rounds: median, minimum and maximum.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// One value per round, in order.
    pub(super) rounds: Vec<f64>,
}

impl Figure {
    /// All values are zero without a round.
    pub(super) fn of(rounds: Vec<f64>) -> Self {
        Self {
            median: percentile(&rounds, 50.0),
            low: percentile(&rounds, 0.0),
            high: percentile(&rounds, 100.0),
            rounds,
        }
    }

    /// The median of the ratios of paired rounds. A disturbance that slows both rounds of a pair cancels out. If the
    /// numbers of rounds differ, returns the ratio of the medians.
    pub(super) fn ratio_to(&self, limit: &Self) -> f64 {
        if self.rounds.len() != limit.rounds.len() {
            return self.median / limit.median;
        }
        let ratios: Vec<f64> = self
            .rounds
            .iter()
            .zip(&limit.rounds)
            .map(|(ours, limit)| ours / limit)
            .collect();
        percentile(&ratios, 50.0)
    }
}

/// The percentile by the nearest-rank method; zero without samples.
pub(super) fn percentile(samples: &[f64], percent: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&samples, 50.0), 50.0);
        assert_eq!(percentile(&samples, 99.0), 99.0);
        assert_eq!(percentile(&samples, 0.0), 1.0);
        assert_eq!(percentile(&samples, 100.0), 100.0);
        assert_eq!(percentile(&[], 50.0), 0.0);
    }

    #[test]
    fn a_disturbance_of_both_rounds_cancels_out() {
        let ours = Figure::of(vec![20.0, 200.0, 22.0]);
        let limit = Figure::of(vec![10.0, 100.0, 11.0]);
        assert_eq!(ours.ratio_to(&limit), 2.0);
    }
}
