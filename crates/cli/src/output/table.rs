//! Tables without borders: a header, one line per row. Elastic columns are cut when the terminal is too narrow.

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
    pub(crate) title: &'static str,
    /// Whether the column may be cut.
    pub(crate) elastic: bool,
}

/// A column that is never cut.
pub(crate) const fn fixed(title: &'static str) -> Column {
    Column {
        title,
        elastic: false,
    }
}

/// A column that is cut when the terminal is too narrow.
pub(crate) const fn elastic(title: &'static str) -> Column {
    Column {
        title,
        elastic: true,
    }
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
        debug_assert_eq!(cells.len(), self.columns.len(), "a row fills its columns");
        self.rows.push(cells);
    }

    /// The table as text. Cuts the elastic columns until the rows fit into a terminal of this width, but cuts no column
    /// below [`MIN_WIDTH`].
    pub(crate) fn render(&self, columns: Option<usize>) -> String {
        let widths = self.widths(columns);
        let mut text = String::new();
        let head = self.columns.iter().map(|column| (column.title, Style::DIM));
        line(&mut text, head, &widths);
        for row in &self.rows {
            let cells = row.iter().map(|cell| (cell.text.as_str(), cell.style));
            line(&mut text, cells, &widths);
        }
        text
    }

    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let widest = |index: usize| {
            let cells = self.rows.iter().map(|row| row[index].text.width());
            cells
                .max()
                .unwrap_or(0)
                .max(self.columns[index].title.width())
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        let gaps = GAP * self.columns.len().saturating_sub(1);
        while let Some(limit) = columns
            && widths.iter().sum::<usize>() + gaps > limit
        {
            let elastic = (0..widths.len())
                .filter(|index| self.columns[*index].elastic && widths[*index] > MIN_WIDTH);
            let Some(widest) = elastic.max_by_key(|index| widths[*index]) else {
                break;
            };
            widths[widest] -= 1;
        }
        widths
    }
}

fn line<'a>(text: &mut String, cells: impl Iterator<Item = (&'a str, Style)>, widths: &[usize]) {
    let begin = text.len();
    let mut padding = 0;
    for ((cell, style), width) in cells.zip(widths) {
        let cell = text::cut(cell, *width);
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
}
