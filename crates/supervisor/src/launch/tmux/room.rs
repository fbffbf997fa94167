//! How many panes fit into a window. Our own rule: tmux refuses only when nothing can be split any more, and some
//! layouts never refuse but make panes of no rows.

use agent_team_protocol::spec::Layout;

/// A pane has at least these columns and rows of its own.
const LEAST: (usize, usize) = (40, 6);

/// A pane's rows with the line of its border.
const ROWS: usize = LEAST.1 + 1;

/// The layout that serves in a window of this size: what puts panes side by side needs room for two.
pub(super) fn fitting(layout: Layout, (columns, _): (u16, u16)) -> Layout {
    if usize::from(columns) > 2 * LEAST.0 {
        layout
    } else {
        Layout::EvenVertical
    }
}

/// How many panes of the least size a window of this size has room for in that layout; at least one.
pub(super) fn capacity(layout: Layout, size: (u16, u16)) -> usize {
    let (columns, rows) = (usize::from(size.0), usize::from(size.1));
    let across = (columns + 1) / (LEAST.0 + 1);
    let down = rows / ROWS;
    let panes = match fitting(layout, size) {
        Layout::MainVertical => 1 + down,
        Layout::EvenHorizontal => across,
        Layout::EvenVertical => down,
        // The rows of a grid are equal before the border's line is taken off the first.
        Layout::Tiled => grid(across, (rows + 1) / (ROWS + 1)),
    };
    panes.max(1)
}

/// Panes that tmux tiles within so many columns and rows: it adds a row, then a column, until all fit.
fn grid(across: usize, down: usize) -> usize {
    let (mut columns, mut rows, mut panes) = (1, 1, 0);
    while columns <= across && rows <= down {
        panes = columns * rows;
        if rows == columns {
            rows += 1
        } else {
            columns += 1
        }
    }
    panes
}

/// Columns of the main pane in [`Layout::MainVertical`].
pub(super) fn main_width((columns, _): (u16, u16)) -> u16 {
    (columns / 2).max(LEAST.0 as u16)
}

pub(super) fn name(layout: Layout) -> &'static str {
    match layout {
        Layout::MainVertical => "main-vertical",
        Layout::Tiled => "tiled",
        Layout::EvenHorizontal => "even-horizontal",
        Layout::EvenVertical => "even-vertical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_window_stacks_its_panes() {
        for layout in [Layout::MainVertical, Layout::Tiled, Layout::EvenHorizontal] {
            assert_eq!(fitting(layout, (80, 24)), Layout::EvenVertical);
            assert_eq!(capacity(layout, (80, 24)), 3);
            assert_eq!(fitting(layout, (81, 24)), layout);
        }
    }

    #[test]
    fn as_many_panes_fit_as_have_the_least_size() {
        assert_eq!(capacity(Layout::MainVertical, (200, 49)), 8);
        assert_eq!(capacity(Layout::EvenHorizontal, (200, 49)), 4);
        assert_eq!(capacity(Layout::EvenVertical, (200, 49)), 7);
        // Four columns of five rows.
        assert_eq!(capacity(Layout::Tiled, (200, 49)), 20);
    }

    #[test]
    fn a_window_always_has_room_for_one() {
        assert_eq!(capacity(Layout::Tiled, (10, 3)), 1);
        assert_eq!(capacity(Layout::MainVertical, (10, 3)), 1);
    }
}
