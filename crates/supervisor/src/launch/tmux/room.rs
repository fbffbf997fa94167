//! How many panes fit into a window, and where each is. Our own rule: tmux refuses only when nothing can be split any
//! more, and some layouts never refuse but make panes of no rows.
//!
//! ```text
//! main-vertical:   ┌──────┬─────┬─────┐   the lead, or who was first, beside a grid of the others, filled column by
//!                  │ lead │ ada │ cyd │   column; further windows are all grid. tmux has no such layout of its own:
//!                  │      ├─────┼─────┤   it is given to it in the words in which it prints one.
//!                  │      │ bob │ dan │
//!                  └──────┴─────┴─────┘
//! ```

use agent_team_protocol::spec::Layout;

/// A pane has at least these columns and rows of its own.
const LEAST: (usize, usize) = (40, 6);

/// A pane's rows with the line of its border.
const ROWS: usize = LEAST.1 + 1;

/// Rows of a pane in a grid, with its border, before another column is begun for more.
const ROWS_WANTED: usize = 13;

/// A window, as the rule sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) layout: Layout,
    /// Columns and rows.
    pub(super) size: (u16, u16),
    /// The team's first window, in which the main pane is.
    pub(super) first: bool,
}

impl Frame {
    fn columns(self) -> usize {
        self.size.0.into()
    }

    fn rows(self) -> usize {
        self.size.1.into()
    }

    /// The layout that serves here: what puts panes side by side needs room for two.
    fn fitting(self) -> Layout {
        if self.columns() > 2 * LEAST.0 {
            self.layout
        } else if self.layout == Layout::Windows {
            Layout::Windows
        } else {
            Layout::EvenVertical
        }
    }

    /// How many panes of the least size there is room for; at least one.
    pub(super) fn capacity(self) -> usize {
        let across = across(self.columns());
        let down = self.rows() / ROWS;
        let panes = match self.fitting() {
            Layout::MainVertical if self.first => 1 + across_beside_main(self) * down,
            Layout::MainVertical => across * down,
            Layout::EvenHorizontal => across,
            Layout::EvenVertical => down,
            // The rows of a grid are equal before the border's line is taken off the first.
            Layout::Tiled => tiled(across, (self.rows() + 1) / (ROWS + 1)),
            Layout::Windows => 1,
        };
        panes.max(1)
    }

    /// What tmux is told after each pane that it makes, so that there is room for the next.
    pub(super) fn meanwhile(self) -> &'static str {
        match self.fitting() {
            Layout::MainVertical | Layout::Tiled | Layout::Windows => "tiled",
            Layout::EvenHorizontal => "even-horizontal",
            Layout::EvenVertical => "even-vertical",
        }
    }

    /// Where so many panes are in the end; `None`: where [`Frame::meanwhile`] put them.
    pub(super) fn arrangement(self, panes: usize) -> Option<String> {
        if self.fitting() != Layout::MainVertical || panes == 0 {
            return None;
        }
        let (width, height) = (self.columns(), self.rows());
        let (others, most) = match self.first {
            true => (panes - 1, across_beside_main(self)),
            false => (panes, across(width)),
        };
        let mut leaves = Leaves::default();
        if others == 0 {
            return Some(checked(&leaves.next(width, height, 0, 0)));
        }
        let columns = grid_columns(others, most, height);
        let (mut parts, mut left) = (Vec::new(), 0);
        if self.first {
            // Half, where the others stand in one column.
            let main = if columns < 2 {
                width / 2
            } else {
                main_width(width)
            };
            parts.push(leaves.next(main, height, 0, 0));
            left = main + 1;
        }
        for (column, (x, wide)) in shares(width - left, columns).into_iter().enumerate() {
            let here = others / columns + usize::from(column < others % columns);
            let cells = shares(height, here).into_iter();
            let cells: Vec<_> = cells
                .map(|(y, high)| leaves.next(wide, high, left + x, y))
                .collect();
            parts.push(match cells.as_slice() {
                [alone] => alone.clone(),
                cells => format!("{wide}x{height},{},0[{}]", left + x, cells.join(",")),
            });
        }
        Some(checked(&match parts.as_slice() {
            [alone] => alone.clone(),
            parts => format!("{width}x{height},0,0{{{}}}", parts.join(",")),
        }))
    }
}

/// Panes are told apart in a layout by numbers that tmux reads over.
#[derive(Default)]
struct Leaves(usize);

impl Leaves {
    fn next(&mut self, wide: usize, high: usize, x: usize, y: usize) -> String {
        let number = self.0;
        self.0 += 1;
        format!("{wide}x{high},{x},{y},{number}")
    }
}

/// Panes of the least width side by side.
fn across(columns: usize) -> usize {
    (columns + 1) / (LEAST.0 + 1)
}

fn across_beside_main(frame: Frame) -> usize {
    across(frame.columns() - main_width(frame.columns()) - 1)
}

/// The fewest columns in which panes have the rows that are wanted, or as many as there may be.
fn grid_columns(panes: usize, at_most: usize, height: usize) -> usize {
    let wanted = (height / ROWS_WANTED).max(1);
    panes.div_ceil(wanted).clamp(1, at_most.max(1))
}

/// Where so many parts begin and how long they are, with a line between each two; the first ones are the longer.
fn shares(length: usize, parts: usize) -> Vec<(usize, usize)> {
    let free = length - (parts - 1);
    let mut from = 0;
    (0..parts)
        .map(|part| {
            let long = free / parts + usize::from(part < free % parts);
            let share = (from, long);
            from += long + 1;
            share
        })
        .collect()
}

/// A layout with tmux's checksum before it.
fn checked(layout: &str) -> String {
    let sum = layout.bytes().fold(0_u16, |sum, byte| {
        sum.rotate_right(1).wrapping_add(byte.into())
    });
    format!("{sum:04x},{layout}")
}

/// Panes that tmux tiles within so many columns and rows: it adds a row, then a column, until all fit.
fn tiled(across: usize, down: usize) -> usize {
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

/// Columns of the main pane beside a grid.
pub(super) fn main_width(columns: usize) -> usize {
    (columns * 3 / 10).max(LEAST.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(layout: Layout, size: (u16, u16)) -> Frame {
        Frame {
            layout,
            size,
            first: true,
        }
    }

    #[test]
    fn a_narrow_window_stacks_its_panes() {
        for layout in [Layout::MainVertical, Layout::Tiled, Layout::EvenHorizontal] {
            assert_eq!(frame(layout, (80, 24)).fitting(), Layout::EvenVertical);
            assert_eq!(frame(layout, (80, 24)).capacity(), 3);
            assert_eq!(frame(layout, (81, 24)).fitting(), layout);
        }
    }

    #[test]
    fn as_many_panes_fit_as_have_the_least_size() {
        // The lead beside three columns of seven rows; four columns where she is not.
        let main = frame(Layout::MainVertical, (200, 49));
        assert_eq!(main.capacity(), 22);
        let further = Frame {
            first: false,
            ..main
        };
        assert_eq!(further.capacity(), 28);
        assert_eq!(frame(Layout::MainVertical, (81, 24)).capacity(), 4);
        assert_eq!(frame(Layout::EvenHorizontal, (200, 49)).capacity(), 4);
        assert_eq!(frame(Layout::EvenVertical, (200, 49)).capacity(), 7);
        // Four columns of five rows.
        assert_eq!(frame(Layout::Tiled, (200, 49)).capacity(), 20);
        assert_eq!(frame(Layout::Windows, (200, 49)).capacity(), 1);
    }

    #[test]
    fn a_window_always_has_room_for_one() {
        assert_eq!(frame(Layout::Tiled, (10, 3)).capacity(), 1);
        assert_eq!(frame(Layout::MainVertical, (10, 3)).capacity(), 1);
    }

    #[test]
    fn the_lead_stands_beside_a_grid_that_grows_by_columns() {
        let main = frame(Layout::MainVertical, (200, 49));
        let alone = main.arrangement(1).unwrap();
        assert!(alone.ends_with(",200x49,0,0,0"), "{alone}");
        // What tmux itself says of two panes side by side.
        let two = main.arrangement(2).unwrap();
        assert!(
            two.ends_with(",200x49,0,0{100x49,0,0,0,99x49,101,0,1}"),
            "{two}"
        );
        let five = main.arrangement(5).unwrap();
        assert!(
            five.ends_with(
                ",200x49,0,0{60x49,0,0,0,69x49,61,0[69x24,61,0,1,69x24,61,25,2],\
                 69x49,131,0[69x24,131,0,3,69x24,131,25,4]}"
            ),
            "{five}"
        );
        assert_eq!(frame(Layout::Tiled, (200, 49)).arrangement(5), None);
    }

    #[test]
    fn a_checksum_is_tmuxs_own() {
        // From `tmux list-windows` of tmux 3.3a.
        assert_eq!(
            checked("159x48,0,0{79x48,0,0,0,79x48,80,0,1}"),
            "d463,159x48,0,0{79x48,0,0,0,79x48,80,0,1}"
        );
    }
}
