//! The selected entry of a list, and the rows of the list that are visible. Used by [`super::state`]; pure.
//!
//! The selection belongs to an id, not to a row: it follows its entry when rows are added, removed or sorted again. When
//! its entry is removed, the entry in its place is selected.

#[derive(Debug)]
pub(super) struct Selection<Id> {
    /// `None`: the list is empty.
    id: Option<Id>,
    /// The row of the selected entry when the list was last read.
    row: usize,
    /// The first visible row.
    first: usize,
    /// The selected row is among the visible rows. The wheel clears this flag until the next selection.
    follows: bool,
}

impl<Id> Default for Selection<Id> {
    fn default() -> Self {
        Self {
            id: None,
            row: 0,
            first: 0,
            follows: true,
        }
    }
}

impl<Id: Clone + PartialEq> Selection<Id> {
    pub(super) fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// Must be called when the list has changed.
    pub(super) fn on_list(&mut self, ids: &[Id]) {
        match ids.iter().position(|id| Some(id) == self.id.as_ref()) {
            Some(row) => self.row = row,
            None => {
                self.row = self.row.min(ids.len().saturating_sub(1));
                self.id = ids.get(self.row).cloned();
            }
        }
    }

    pub(super) fn select(&mut self, id: Id, ids: &[Id]) {
        self.id = Some(id);
        self.follows = true;
        self.on_list(ids);
    }

    /// Selects the entry `by` rows below, or the last entry in that direction.
    pub(super) fn step(&mut self, ids: &[Id], by: isize) {
        self.on_list(ids);
        let last = ids.len().saturating_sub(1);
        let row = self.row.saturating_add_signed(by).min(last);
        if let Some(id) = ids.get(row) {
            self.select(id.clone(), ids);
        }
    }

    /// Scrolls the visible rows without a change of the selection.
    pub(super) fn scroll(&mut self, by: isize) {
        self.first = self.first.saturating_add_signed(by);
        self.follows = false;
    }

    /// The first visible row, of a list of `total` rows of which `height` are visible.
    pub(super) fn first(&self, total: usize, height: usize) -> usize {
        let first = self.first.min(total.saturating_sub(height));
        if !self.follows || height == 0 {
            return first;
        }
        first.clamp((self.row + 1).saturating_sub(height), self.row)
    }

    /// Must be called when a frame is on the screen, with the values of [`Self::first`].
    pub(super) fn on_shown(&mut self, total: usize, height: usize) {
        self.first = self.first(total, height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(ids: &[u32], selected: u32) -> Selection<u32> {
        let mut selection = Selection::default();
        selection.on_list(ids);
        selection.select(selected, ids);
        selection
    }

    #[test]
    fn the_first_entry_is_initially_selected() {
        let mut selection = Selection::default();
        selection.on_list(&[]);
        assert_eq!(selection.id(), None);
        selection.on_list(&[7, 8]);
        assert_eq!(selection.id(), Some(&7));
    }

    #[test]
    fn the_selection_follows_its_entry() {
        let mut selection = selection(&[1, 2, 3], 2);
        for ids in [&[3, 2, 1][..], &[9, 8, 2, 1, 3], &[2]] {
            selection.on_list(ids);
            assert_eq!(selection.id(), Some(&2), "{ids:?}");
        }
        selection.on_list(&[5, 6, 2, 7]);
        selection.step(&[5, 6, 2, 7], 1);
        assert_eq!(
            selection.id(),
            Some(&7),
            "the step does not start at the entry"
        );
    }

    #[test]
    fn removing_an_entry_selects_the_entry_in_its_place() {
        let mut selection = selection(&[1, 2, 3], 2);
        selection.on_list(&[1, 3]);
        assert_eq!(selection.id(), Some(&3));
        selection.on_list(&[1]);
        assert_eq!(selection.id(), Some(&1));
        selection.on_list(&[]);
        assert_eq!(selection.id(), None);
        selection.on_list(&[4]);
        assert_eq!(selection.id(), Some(&4));
    }

    #[test]
    fn steps_stop_at_both_ends() {
        let ids = [1, 2, 3];
        let mut selection = selection(&ids, 2);
        selection.step(&ids, -10);
        assert_eq!(selection.id(), Some(&1));
        selection.step(&ids, isize::MAX);
        assert_eq!(selection.id(), Some(&3));
    }

    #[test]
    fn the_selected_row_is_visible_until_the_wheel_moves() {
        let ids: Vec<u32> = (0..100).collect();
        let mut selection = selection(&ids, 50);
        let visible =
            |selection: &Selection<u32>| selection.first(100, 10)..selection.first(100, 10) + 10;
        assert_eq!(visible(&selection), 41..51);
        selection.on_shown(100, 10);
        selection.step(&ids, -1);
        assert_eq!(visible(&selection), 41..51, "the rows moved unnecessarily");
        // The list gets another order, and the screen becomes smaller.
        let reversed: Vec<u32> = (0..100).rev().collect();
        selection.on_list(&reversed);
        assert!(visible(&selection).contains(&50));
        assert_eq!(selection.first(100, 1), 50);

        selection.on_shown(100, 10);
        selection.scroll(-1000);
        assert_eq!(visible(&selection), 0..10);
        selection.scroll(3);
        assert_eq!(visible(&selection), 3..13);
        selection.scroll(1000);
        assert_eq!(visible(&selection), 90..100);
        selection.on_shown(100, 10);
        selection.scroll(-1);
        assert_eq!(
            visible(&selection),
            89..99,
            "the list scrolled past its end"
        );
        assert_eq!(selection.id(), Some(&49), "the wheel moved the selection");
        selection.step(&reversed, 1);
        assert!(visible(&selection).contains(&51));
    }
}
