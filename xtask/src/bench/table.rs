//! Result rows, printed as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::stats::Figure;

#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) unit: Unit,
    /// The result, or the reason why it could not be measured.
    pub(super) ours: Result<Figure, String>,
    pub(super) limit: Option<Limit>,
    pub(super) target: Target,
    /// A note that is printed below the row.
    pub(super) note: String,
}

/// The limit of the machine, measured in the same run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Limit {
    pub(super) what: String,
    pub(super) figure: Figure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Microseconds,
    Milliseconds,
    PerSecond,
    Mebibytes,
    Kilobytes,
    Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    /// The result is at most this many times the limit.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// The result is at most this value, in the unit of the row.
    AtMost(f64),
    None,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, unit: Unit, ours: Figure) -> Self {
        Self {
            what: what.into(),
            unit,
            ours: Ok(ours),
            limit: None,
            target: Target::None,
            note: String::new(),
        }
    }

    pub(super) fn not_measured(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self {
            what: what.into(),
            unit: Unit::Times,
            ours: Err(why.to_string()),
            limit: None,
            target: Target::None,
            note: String::new(),
        }
    }

    pub(super) fn limit(mut self, what: impl Into<String>, figure: Figure) -> Self {
        self.limit = Some(Limit {
            what: what.into(),
            figure,
        });
        self
    }

    pub(super) fn target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn ratio(&self) -> Option<f64> {
        let (Ok(ours), Some(limit)) = (&self.ours, &self.limit) else {
            return None;
        };
        Some(ours.ratio_to(&limit.figure))
    }

    /// `None` without a target, or without a measurement.
    pub(super) fn is_met(&self) -> Option<bool> {
        let ours = self.ours.as_ref().ok()?;
        match self.target {
            Target::RatioAtMost(most) => Some(self.ratio()? <= most),
            Target::RatioAtLeast(least) => Some(self.ratio()? >= least),
            Target::AtMost(most) => Some(ours.median <= most),
            Target::None => None,
        }
    }
}

impl Unit {
    fn shown(self, value: f64) -> String {
        match self {
            Self::Microseconds => format!("{} µs", digits(value)),
            Self::Milliseconds => format!("{} ms", digits(value)),
            Self::PerSecond => format!("{}/s", thousands(value)),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Kilobytes => format!("{value:.1} kB"),
            Self::Times => digits(value),
        }
    }

    fn shown_with_range(self, figure: &Figure) -> String {
        let plain = |value| match self {
            Self::PerSecond => thousands(value),
            Self::Microseconds
            | Self::Milliseconds
            | Self::Mebibytes
            | Self::Kilobytes
            | Self::Times => digits(value),
        };
        let median = self.shown(figure.median);
        if figure.rounds.len() < 2 {
            return median;
        }
        format!("{median} [{}..{}]", plain(figure.low), plain(figure.high))
    }
}

/// Values from 1 with at least three significant digits, smaller values with two decimals.
fn digits(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0}k", value / 1_000.0)
    } else if value >= 1_000.0 {
        format!("{:.1}k", value / 1_000.0)
    } else {
        format!("{value:.0}")
    }
}

/// One line per row with aligned columns, and the note below it.
pub(super) fn shown(rows: &[Row]) -> String {
    let cells: Vec<[String; 6]> = std::iter::once(
        ["", "ours (median [range])", "limit", "ratio", "target", ""].map(str::to_owned),
    )
    .chain(rows.iter().map(cells))
    .collect();
    let mut widths = [0; 6];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (index, row) in cells.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:<width$}  ").expect("writing to a String cannot fail");
        }
        text.push_str(line.trim_end());
        text.push('\n');
        if let Some(note) = index
            .checked_sub(1)
            .map(|row| &rows[row].note)
            .filter(|note| !note.is_empty())
        {
            writeln!(text, "    {note}").expect("writing to a String cannot fail");
        }
    }
    text
}

fn cells(row: &Row) -> [String; 6] {
    let ours = match &row.ours {
        Ok(figure) => row.unit.shown_with_range(figure),
        Err(why) => format!("not measured: {why}"),
    };
    let limit = row.limit.as_ref().map_or_else(String::new, |limit| {
        format!(
            "{}: {}",
            limit.what,
            row.unit.shown_with_range(&limit.figure)
        )
    });
    let ratio = row
        .ratio()
        .map_or_else(String::new, |ratio| format!("{ratio:.2} ×"));
    let target = match row.target {
        Target::RatioAtMost(most) => format!("≤ {most} ×"),
        Target::RatioAtLeast(least) => format!("≥ {least} ×"),
        Target::AtMost(most) => format!("≤ {}", row.unit.shown(most)),
        Target::None => String::new(),
    };
    let verdict = match row.is_met() {
        Some(true) => "✓",
        Some(false) => "✗",
        None => "",
    };
    [
        row.what.clone(),
        ours,
        limit,
        ratio,
        target,
        verdict.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, limit: f64, target: Target) -> Row {
        Row::new("a", Unit::Microseconds, Figure::of(vec![ours]))
            .limit("b", Figure::of(vec![limit]))
            .target(target)
    }

    #[test]
    fn a_target_is_met_or_missed_by_the_ratio() {
        assert_eq!(
            row(30.0, 10.0, Target::RatioAtMost(3.0)).is_met(),
            Some(true)
        );
        assert_eq!(
            row(31.0, 10.0, Target::RatioAtMost(3.0)).is_met(),
            Some(false)
        );
        assert_eq!(
            row(39.0, 100.0, Target::RatioAtLeast(0.4)).is_met(),
            Some(false)
        );
        assert_eq!(row(8.1, 1.0, Target::AtMost(8.0)).is_met(), Some(false));
        assert_eq!(row(8.1, 1.0, Target::None).is_met(), None);
    }

    #[test]
    fn a_row_without_a_measurement_has_a_reason_and_no_target() {
        let row = Row::not_measured("up", "no tmux");
        assert_eq!(row.is_met(), None);
        assert!(shown(&[row]).contains("not measured: no tmux"));
    }
}
