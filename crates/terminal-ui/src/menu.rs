//! A menu above the prompt: its entries, the selected one, and the rows that fit. Used by the transcript view; pure.

use crate::line::Line;
use crate::style::Style;

/// The most rows that a menu takes.
pub(crate) const ROWS_MAX: usize = 8;

/// The greatest label width, in columns, for which descriptions are aligned. A longer label moves its description to
/// the right.
const LABEL_MAX: usize = 28;

/// One entry: a possible text for the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The raw text, such as a file name. Its control characters are escaped only for display.
    pub text: String,
    /// One line; may be empty.
    pub description: String,
}

impl Candidate {
    pub fn new(text: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            description: description.into(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Menu {
    /// Never empty.
    entries: Vec<Candidate>,
    selected: usize,
}

impl Menu {
    /// `None` without entries.
    pub(crate) fn of(entries: Vec<Candidate>) -> Option<Self> {
        let selected = 0;
        (!entries.is_empty()).then_some(Self { entries, selected })
    }

    /// Replaces the entries, unless the new list is empty. The selected entry stays selected if the new list contains
    /// it.
    pub(crate) fn update(&mut self, entries: Vec<Candidate>) {
        let selected = &self.entries[self.selected].text;
        let kept = entries.iter().position(|entry| entry.text == *selected);
        if !entries.is_empty() {
            (self.entries, self.selected) = (entries, kept.unwrap_or(0));
        }
    }

    pub(crate) fn selected(&self) -> &Candidate {
        &self.entries[self.selected]
    }

    /// Selects the entry below; after the last one, the first.
    pub(crate) fn down(&mut self) {
        self.selected = (self.selected + 1) % self.entries.len();
    }

    pub(crate) fn up(&mut self) {
        self.selected = (self.selected + self.entries.len() - 1) % self.entries.len();
    }

    /// At most `most` rows, with the selected entry among them.
    pub(crate) fn rows(&self, columns: usize, most: usize, accent: Style) -> Vec<Line> {
        let most = most.min(ROWS_MAX);
        let hidden = self.entries.len() > most;
        // The last row shows how many entries there are.
        let shown = if hidden && most > 2 { most - 1 } else { most };
        let first = (self.selected + 1).saturating_sub(shown);
        let labels: Vec<Line> = self
            .entries
            .iter()
            .map(|entry| Line::of(Style::PLAIN, &entry.text))
            .collect();
        let widest = labels.iter().map(Line::width).max().unwrap_or(0);
        let widest = widest.min(LABEL_MAX).min(columns / 2);
        let window = self.entries.iter().enumerate().skip(first).take(shown);
        let mut rows: Vec<Line> = window
            .map(|(at, entry)| {
                let (sign, style) = match at == self.selected {
                    true => ("▸ ", accent),
                    false => ("  ", Style::PLAIN),
                };
                let mut row = Line::of(style, sign);
                row.push(style, &entry.text);
                if !entry.description.is_empty() {
                    let room = widest.saturating_sub(labels[at].width()) + 2;
                    row.push(Style::PLAIN, &" ".repeat(room));
                    row.push(Style::DIM, &entry.description);
                }
                row.cut(columns)
            })
            .collect();
        if hidden && most > 2 {
            let place = format!(
                "  {} of {} · ↑↓ choose · tab takes · esc closes",
                self.selected + 1,
                self.entries.len()
            );
            rows.push(Line::of(Style::DIM, &place).cut(columns));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn menu(count: usize) -> Menu {
        let entry = |at| Candidate::new(format!("entry-{at}"), "what it does");
        Menu::of((0..count).map(entry).collect()).unwrap()
    }

    #[test]
    fn a_menu_without_entries_does_not_open() {
        assert!(Menu::of(Vec::new()).is_none());
    }

    #[test]
    fn the_selection_wraps_around() {
        let mut menu = menu(3);
        menu.up();
        assert_eq!(menu.selected().text, "entry-2");
        menu.down();
        assert_eq!(menu.selected().text, "entry-0");
    }

    #[test]
    fn control_characters_of_an_entry_are_escaped() {
        let menu = Menu::of(vec![Candidate::new("a\x1b[2J\nb", "")]).unwrap();
        let rows = menu.rows(60, 8, Style::BOLD);
        assert_eq!(rows[0].text(), "▸ a\\e[2J\\nb");
    }

    #[test]
    fn an_ellipsis_ends_a_cut_row() {
        let rows = menu(9).rows(24, 3, Style::BOLD);
        let rows: Vec<String> = rows.iter().map(Line::text).collect();
        assert_eq!(
            rows,
            [
                "▸ entry-0  what it does",
                "  entry-1  what it does",
                "  1 of 9 · ↑↓ choose ·…"
            ]
        );
        assert_eq!(
            menu(1).rows(18, 3, Style::BOLD)[0].text(),
            "▸ entry-0  what…"
        );
    }

    proptest! {
        #[test]
        fn the_selected_entry_is_among_the_rows(
            count in 1_usize..40, down in 0_usize..60, columns in 2_usize..90, most in 1_usize..12,
        ) {
            let mut menu = menu(count);
            for _ in 0..down {
                menu.down();
            }
            let rows = menu.rows(columns, most, Style::BOLD);
            prop_assert!(rows.len() <= most.min(ROWS_MAX));
            prop_assert!(rows.iter().all(|row| row.width() <= columns));
            let selected = rows.iter().filter(|row| row.text().starts_with('▸'));
            prop_assert_eq!(selected.count(), 1);
        }
    }
}
