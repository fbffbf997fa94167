//! The search of `top`: the text, and the moves from match to match. Rows without a match stay visible. Used by
//! [`super::state`]; pure.

use agent_team_terminal_ui::line::Line;

#[derive(Debug, Default)]
pub(super) struct Search {
    text: String,
    /// The last match that was found.
    found: Option<SearchMatch>,
}

/// A match: its row, its number among the rows with matches, and the number of those rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SearchMatch {
    pub(super) row: usize,
    pub(super) number: usize,
    pub(super) total: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    First,
    Next,
    Previous,
}

impl Search {
    /// The searched text. Empty: no search.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn set_text(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.found = None;
    }

    pub(super) fn found(&self) -> Option<SearchMatch> {
        self.found
    }

    /// Must be called when the searched rows are replaced: the next search does not continue from the last match.
    pub(super) fn restart(&mut self) {
        self.found = None;
    }

    /// Finds the first row that contains the text, or the nearest such row after or before `from`. After the last
    /// match, continues at the other end.
    pub(super) fn find<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Line>,
        from: Option<usize>,
        direction: Direction,
    ) -> Option<usize> {
        let matches = rows.enumerate().filter(|(_, row)| row.contains(&self.text));
        let matches: Vec<usize> = matches.map(|(row, _)| row).collect();
        let last = matches.len().checked_sub(1);
        let index = last.map(|last| {
            let after = |from| matches.iter().position(|row| *row > from).unwrap_or(0);
            let before = |from| matches.iter().rposition(|row| *row < from).unwrap_or(last);
            match (direction, from) {
                (Direction::First, _) | (Direction::Next, None) => 0,
                (Direction::Previous, None) => last,
                (Direction::Next, Some(from)) => after(from),
                (Direction::Previous, Some(from)) => before(from),
            }
        });
        self.found = index.map(|index| SearchMatch {
            row: matches[index],
            number: index + 1,
            total: matches.len(),
        });
        self.found.map(|found| found.row)
    }
}

#[cfg(test)]
mod tests {
    use agent_team_terminal_ui::style::Style;

    use super::*;

    #[test]
    fn a_search_visits_all_matches_in_a_circle() {
        let rows = ["Read", "write", "x", "WRITE it"].map(|text| Line::of(Style::PLAIN, text));
        let mut search = Search::default();
        search.set_text("Write");
        let mut find = |from, direction| search.find(rows.iter(), from, direction);
        assert_eq!(find(Some(2), Direction::First), Some(1));
        assert_eq!(find(Some(1), Direction::Next), Some(3));
        assert_eq!(find(Some(3), Direction::Next), Some(1));
        assert_eq!(find(Some(1), Direction::Previous), Some(3));
        assert_eq!(find(Some(2), Direction::Previous), Some(1));
        assert_eq!(find(None, Direction::Previous), Some(3));
        let found = SearchMatch {
            row: 3,
            number: 2,
            total: 2,
        };
        assert_eq!(search.found(), Some(found));
        search.set_text("nothing");
        assert_eq!(search.find(rows.iter(), None, Direction::First), None);
        search.set_text("");
        assert_eq!(search.find(rows.iter(), None, Direction::First), None);
    }
}
