//! Tables without borders: a header, one line per row. When the terminal is too narrow, elastic columns are cut, then
//! optional columns are left out, then firm columns are cut.

use agent_team_terminal_ui::style::Style;
use unicode_width::UnicodeWidthStr;

use super::style::paint;
use super::text;

/// Blanks between two columns.
const GAP: usize = 2;

/// Minimum width of a cut column.
const MIN_WIDTH: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    when_narrow: WhenNarrow,
}

/// The change of a column when the terminal is too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenNarrow {
    None,
    /// The first change. `least`: the width that is kept while optional columns are shown.
    Cut {
        least: usize,
    },
    /// The column is left out if cutting is not enough, the lowest rank first.
    LeaveOut {
        rank: u8,
    },
    /// The last change.
    CutLast,
}

const fn column(title: &'static str, when_narrow: WhenNarrow) -> Column {
    Column { title, when_narrow }
}

/// A column that is always shown in full.
pub(crate) const fn fixed(title: &'static str) -> Column {
    column(title, WhenNarrow::None)
}

/// A column that is cut first when the terminal is too narrow.
pub(crate) const fn elastic(title: &'static str) -> Column {
    elastic_to(title, MIN_WIDTH)
}

/// An elastic column that keeps this width while optional columns are shown.
pub(crate) const fn elastic_to(title: &'static str, least: usize) -> Column {
    column(title, WhenNarrow::Cut { least })
}

/// A column that is left out when the terminal is too narrow, the lowest rank first.
pub(crate) const fn optional(title: &'static str, rank: u8) -> Column {
    column(title, WhenNarrow::LeaveOut { rank })
}

/// A column that is cut only when all optional columns are left out.
pub(crate) const fn firm(title: &'static str) -> Column {
    column(title, WhenNarrow::CutLast)
}

#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Escapes the control characters of the text and removes blanks at its end.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self::styled(text, Style::PLAIN)
    }

    pub(crate) fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self {
            text: text::line(text.as_ref()),
            style,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        let cells = cells.into();
        debug_assert_eq!(
            cells.len(),
            self.columns.len(),
            "the row has too few or too many cells"
        );
        self.rows.push(cells);
    }

    /// The table as text, for a terminal of this width. No column is cut below [`MIN_WIDTH`].
    pub(crate) fn render(&self, columns: Option<usize>) -> String {
        let widths = self.widths(columns.unwrap_or(usize::MAX));
        let mut text = String::new();
        let head = self.columns.iter().map(|column| (column.title, Style::DIM));
        line(&mut text, head, &widths);
        for row in &self.rows {
            let cells = row.iter().map(|cell| (cell.text.as_str(), cell.style));
            line(&mut text, cells, &widths);
        }
        text
    }

    /// The width of each column; `None` for a column that is left out.
    fn widths(&self, limit: usize) -> Vec<Option<usize>> {
        let widest = |index: usize| {
            let cells = self.rows.iter().map(|row| row[index].text.width());
            let title = self.columns[index].title.width();
            Some(cells.max().unwrap_or(0).max(title))
        };
        let mut full: Vec<Option<usize>> = (0..self.columns.len()).map(widest).collect();
        loop {
            let mut widths = full.clone();
            self.cut(&mut widths, limit, |when| match when {
                WhenNarrow::Cut { least } => Some(least),
                WhenNarrow::None | WhenNarrow::LeaveOut { .. } | WhenNarrow::CutLast => None,
            });
            if total(&widths) <= limit {
                return widths;
            }
            let rank = |index: &usize| match self.columns[*index].when_narrow {
                WhenNarrow::LeaveOut { rank } => full[*index].and(Some(rank)),
                WhenNarrow::None | WhenNarrow::Cut { .. } | WhenNarrow::CutLast => None,
            };
            let optional = (0..full.len()).filter(|index| rank(index).is_some());
            let Some(least) = optional.min_by_key(rank) else {
                self.cut(&mut widths, limit, |when| match when {
                    WhenNarrow::Cut { .. } | WhenNarrow::CutLast => Some(MIN_WIDTH),
                    WhenNarrow::None | WhenNarrow::LeaveOut { .. } => None,
                });
                return widths;
            };
            full[least] = None;
        }
    }

    /// Cuts columns, the widest first, until the rows fit. `least`: the smallest width; `None`: the column is not cut.
    fn cut(
        &self,
        widths: &mut [Option<usize>],
        limit: usize,
        least: impl Fn(WhenNarrow) -> Option<usize>,
    ) {
        while total(widths) > limit {
            let columns = self.columns.iter().zip(&mut *widths);
            let wide = columns.filter_map(|(column, width)| {
                let least = least(column.when_narrow)?;
                width.as_mut().filter(|width| **width > least)
            });
            let Some(widest) = wide.max() else { return };
            *widest -= 1;
        }
    }
}

/// The width of a row.
fn total(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten();
    shown
        .map(|width| width + GAP)
        .sum::<usize>()
        .saturating_sub(GAP)
}

fn line<'a>(
    text: &mut String,
    cells: impl Iterator<Item = (&'a str, Style)>,
    widths: &[Option<usize>],
) {
    let begin = text.len();
    let mut padding = 0;
    for ((cell, style), width) in cells.zip(widths) {
        let Some(width) = *width else { continue };
        let cell = text::cut(cell, width);
        text.extend(std::iter::repeat_n(' ', padding));
        text.push_str(&paint(style, &cell));
        // The padding is written before the next cell: the last cell needs none.
        padding = width.saturating_sub(cell.width()) + GAP;
    }
    let trimmed = text[begin..].trim_end().len();
    text.truncate(begin + trimmed);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::style::BAD;
    use super::*;

    fn plain(table: &Table, columns: Option<usize>) -> String {
        anstream::adapter::strip_str(&table.render(columns)).to_string()
    }

    fn table() -> Table {
        const COLUMNS: &[Column] = &[fixed("ID"), elastic("TITLE"), fixed("OWNER")];
        let mut table = Table::new(COLUMNS);
        table.row([
            Cell::new("T-1"),
            Cell::new("Build everything there is"),
            Cell::new("ada"),
        ]);
        table.row([
            Cell::styled("T-12", BAD),
            Cell::new("名前\n"),
            Cell::new(""),
        ]);
        table
    }

    #[test]
    fn columns_align_with_styles_and_wide_characters() {
        let lines = [
            "ID    TITLE                      OWNER",
            "T-1   Build everything there is  ada",
            "T-12  名前",
            "",
        ];
        assert_eq!(plain(&table(), None), lines.join("\n"));
    }

    #[test]
    fn elastic_columns_are_cut_to_fit() {
        let text = plain(&table(), Some(24));
        assert_eq!(text.lines().nth(1), Some("T-1   Build ever…  ada"));
        assert!(text.lines().all(|line| line.width() <= 24), "{text}");
    }

    #[test]
    fn optional_columns_are_left_out_before_firm_ones_are_cut() {
        let mut table = Table::new([
            firm("NAME"),
            optional("PID", 1),
            optional("FOR", 2),
            elastic("RESULT"),
        ]);
        let row = ["a-long-name", "12345", "3 min", "all tests pass"];
        table.row(row.map(Cell::new));
        for (columns, expected) in [
            (41, "a-long-name  12345  3 min  all tests pass"),
            (40, "a-long-name  12345  3 min  all tests pa…"),
            (35, "a-long-name  12345  3 min  all tes…"),
            (34, "a-long-name  3 min  all tests pass"),
            (27, "a-long-name  all tests pass"),
            (21, "a-long-name  all tes…"),
            (20, "a-long-na…  all tes…"),
            (10, "a-long-…  all tes…"),
        ] {
            let text = plain(&table, Some(columns));
            assert_eq!(text.lines().nth(1), Some(expected), "{columns}");
        }
    }
}
