//! The number of panes per window, and their layout. This file sets the limits: tmux refuses a split only when nothing
//! is left to split, and some of its layouts never refuse but create panes without rows.
//!
//! ```text
//! main-vertical:   ┌──────┬─────┬─────┐   the lead, or the first member, beside a grid of the others, filled column by
//!                  │ lead │ ada │ cyd │   column; further windows are grids. tmux has no such layout, so it is passed
//!                  │      ├─────┼─────┤   as a layout string in the format that tmux prints.
//!                  │      │ bob │ dan │
//!                  └──────┴─────┴─────┘
//! ```

use agent_team_protocol::placement::MIN_PANE;
use agent_team_protocol::spec::Layout;

/// Minimum columns and rows of a pane, without its border.
const MIN_SIZE: (usize, usize) = (MIN_PANE.0 as usize, MIN_PANE.1 as usize);

/// Rows of a pane with its border.
const MIN_ROWS: usize = MIN_SIZE.1 + 1;

/// Desired rows of a grid pane, with its border. If panes would have fewer rows, another column is added.
const WANTED_ROWS: usize = 13;

/// The parameters of a window's layout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) layout: Layout,
    /// Columns and rows.
    pub(super) size: (u16, u16),
    /// The team's first window, which contains the main pane.
    pub(super) first: bool,
}

impl Frame {
    fn columns(self) -> usize {
        self.size.0.into()
    }

    fn rows(self) -> usize {
        self.size.1.into()
    }

    /// The layout used at this size: layouts with panes side by side need room for two panes.
    fn fitting(self) -> Layout {
        if self.columns() > 2 * MIN_SIZE.0 {
            self.layout
        } else if self.layout == Layout::Windows {
            Layout::Windows
        } else {
            Layout::EvenVertical
        }
    }

    /// How many panes of the minimum size fit; at least one.
    pub(super) fn capacity(self) -> usize {
        let across = across(self.columns());
        let down = self.rows() / MIN_ROWS;
        let panes = match self.fitting() {
            Layout::MainVertical if self.first => 1 + across_beside_main(self) * down,
            Layout::MainVertical => across * down,
            Layout::EvenHorizontal => across,
            Layout::EvenVertical => down,
            // The rows of a tmux grid are equal before the border line is taken from the first row.
            Layout::Tiled => tiled(across, (self.rows() + 1) / (MIN_ROWS + 1)),
            Layout::Windows => 1,
        };
        panes.max(1)
    }

    /// The tmux layout applied after each split, so that there is room for the next pane.
    pub(super) fn interim_layout(self) -> &'static str {
        match self.fitting() {
            Layout::MainVertical | Layout::Tiled | Layout::Windows => "tiled",
            Layout::EvenHorizontal => "even-horizontal",
            Layout::EvenVertical => "even-vertical",
        }
    }

    /// The final layout string for this number of panes; `None` to keep [`Frame::interim_layout`].
    pub(super) fn final_layout(self, panes: usize) -> Option<String> {
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
            // The main pane gets half of the window if the other panes are in one column.
            let main = if columns < 2 {
                width / 2
            } else {
                main_width(width)
            };
            parts.push(leaves.next(main, height, 0, 0));
            left = main + 1;
        }
        for (column, (x, wide)) in shares(width - left, columns).into_iter().enumerate() {
            let in_column = others / columns + usize::from(column < others % columns);
            let cells = shares(height, in_column).into_iter();
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

/// Numbers the panes of a layout string. tmux ignores the numbers.
#[derive(Default)]
struct Leaves(usize);

impl Leaves {
    fn next(&mut self, wide: usize, high: usize, x: usize, y: usize) -> String {
        let number = self.0;
        self.0 += 1;
        format!("{wide}x{high},{x},{y},{number}")
    }
}

/// How many panes of the minimum width fit side by side.
fn across(columns: usize) -> usize {
    (columns + 1) / (MIN_SIZE.0 + 1)
}

fn across_beside_main(frame: Frame) -> usize {
    across(frame.columns() - main_width(frame.columns()) - 1)
}

/// The smallest number of columns in which panes have the wanted rows, up to the maximum.
fn grid_columns(panes: usize, at_most: usize, height: usize) -> usize {
    let wanted = (height / WANTED_ROWS).max(1);
    panes.div_ceil(wanted).clamp(1, at_most.max(1))
}

/// Start and length of each part, with a divider between adjacent parts. The first parts get the remainder.
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

/// A layout string with tmux's checksum in front.
fn checked(layout: &str) -> String {
    let sum = layout.bytes().fold(0_u16, |sum, byte| {
        sum.rotate_right(1).wrapping_add(byte.into())
    });
    format!("{sum:04x},{layout}")
}

/// How many panes tmux tiles into this many columns and rows: it adds a row, then a column, until all fit.
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

/// How many of these windows, from the first, have room for all panes. `sizes` are the columns and rows of the windows.
pub(super) fn windows_needed(layout: Layout, sizes: &[(u16, u16)], panes: usize) -> usize {
    let mut room = 0;
    for (index, &size) in sizes.iter().enumerate() {
        let first = index == 0;
        room += Frame {
            layout,
            size,
            first,
        }
        .capacity();
        if room >= panes {
            return index + 1;
        }
    }
    sizes.len()
}

/// Whether a pane of these columns and rows is smaller than the minimum.
pub(super) fn is_small((columns, rows): (u16, u16)) -> bool {
    columns < MIN_PANE.0 || rows < MIN_PANE.1
}

/// Width of the main pane beside a grid.
pub(super) fn main_width(columns: usize) -> usize {
    (columns * 3 / 10).max(MIN_SIZE.0)
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
    fn capacity_counts_panes_of_the_minimum_size() {
        // The lead and three columns of seven rows; four columns in windows without the lead.
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
        // The grid has four columns of five rows.
        assert_eq!(frame(Layout::Tiled, (200, 49)).capacity(), 20);
        assert_eq!(frame(Layout::Windows, (200, 49)).capacity(), 1);
    }

    #[test]
    fn a_window_always_has_room_for_one() {
        assert_eq!(frame(Layout::Tiled, (10, 3)).capacity(), 1);
        assert_eq!(frame(Layout::MainVertical, (10, 3)).capacity(), 1);
    }

    #[test]
    fn panes_need_the_fewest_windows_with_room() {
        let (small, large) = ((80, 23), (200, 49));
        let needed = |layout, sizes: &[(u16, u16)], panes| windows_needed(layout, sizes, panes);
        assert_eq!(needed(Layout::Tiled, &[small; 3], 7), 3);
        assert_eq!(needed(Layout::Tiled, &[large, small, small], 7), 1);
        // Windows that no client shows keep their size.
        assert_eq!(needed(Layout::Tiled, &[small, large, small], 7), 2);
        assert_eq!(needed(Layout::Windows, &[large; 3], 3), 3);
        assert_eq!(needed(Layout::Tiled, &[], 0), 0);
    }

    #[test]
    fn main_vertical_adds_grid_columns_beside_the_lead() {
        let main = frame(Layout::MainVertical, (200, 49));
        let alone = main.final_layout(1).unwrap();
        assert!(alone.ends_with(",200x49,0,0,0"), "{alone}");
        // The layout that tmux prints for two panes side by side.
        let two = main.final_layout(2).unwrap();
        assert!(
            two.ends_with(",200x49,0,0{100x49,0,0,0,99x49,101,0,1}"),
            "{two}"
        );
        let five = main.final_layout(5).unwrap();
        assert!(
            five.ends_with(
                ",200x49,0,0{60x49,0,0,0,69x49,61,0[69x24,61,0,1,69x24,61,25,2],\
                 69x49,131,0[69x24,131,0,3,69x24,131,25,4]}"
            ),
            "{five}"
        );
        assert_eq!(frame(Layout::Tiled, (200, 49)).final_layout(5), None);
    }

    #[test]
    fn checksum_matches_tmux() {
        // Output of `tmux list-windows` of tmux 3.3a.
        assert_eq!(
            checked("159x48,0,0{79x48,0,0,0,79x48,80,0,1}"),
            "d463,159x48,0,0{79x48,0,0,0,79x48,80,0,1}"
        );
    }
}
