//! Chooses the pane of a tab to split for the next member. Used by [`super::start`]. iTerm2 halves the split pane and
//! refuses only when almost nothing is left, so this file enforces the minimum size of a pane.

use agent_team_protocol::spec::Layout;

use super::wire::Direction;

/// Minimum columns and rows of a pane.
const MIN_SIZE: (u16, u16) = (40, 6);

/// The size of the smaller half after a split. The divider between the halves takes one cell.
fn half(cells: u16) -> u16 {
    cells.saturating_sub(1) / 2
}

/// Whether to prefer a split side by side: for a pane with at least three columns for each row. A cell is about twice
/// as high as wide, so such a pane is clearly wider than high.
pub(super) fn is_wide((columns, rows): (u16, u16)) -> bool {
    columns / 3 >= rows
}

/// The pane to split and the direction; `None` if the next pane needs a new tab. `sizes` are columns and rows of the
/// tab's panes, the oldest first. `first`: whether this is the team's first tab. Its first pane is the main pane, with
/// the lead or the first member that was started.
pub(super) fn next(
    layout: Layout,
    sizes: &[(u16, u16)],
    first: bool,
) -> Option<(usize, Direction)> {
    let beside = |(columns, _): (u16, u16)| half(columns) >= MIN_SIZE.0;
    let below = |(_, rows): (u16, u16)| half(rows) >= MIN_SIZE.1;
    let across = |size| beside(size).then_some(Direction::Vertical);
    let down = |size| below(size).then_some(Direction::Horizontal);
    let either = |size| match is_wide(size) {
        true => across(size).or(down(size)),
        false => down(size).or(across(size)),
    };
    let mut all: Vec<(usize, (u16, u16))> = sizes.iter().copied().enumerate().collect();
    // Sort by size, the largest pane first. Among panes of one size, the oldest stays first.
    all.sort_by_key(|(_, (columns, rows))| {
        std::cmp::Reverse(u32::from(*columns) * u32::from(*rows))
    });
    let find = |direction: &dyn Fn((u16, u16)) -> Option<Direction>, with_main: bool| {
        let mut panes = all.iter().filter(|(at, _)| with_main || *at != 0);
        panes.find_map(|(at, size)| Some((*at, direction(*size)?)))
    };
    match layout {
        Layout::Windows => None,
        Layout::Tiled => find(&either, true),
        Layout::EvenHorizontal => find(&across, true),
        Layout::EvenVertical => find(&down, true),
        // The first split creates the main pane's column, which is not split again.
        Layout::MainVertical if first && sizes.len() > 1 => find(&either, false),
        Layout::MainVertical if first => find(&|size| across(size).or(down(size)), true),
        Layout::MainVertical => find(&either, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits panes until [`next`] finds none to split, and halves each as iTerm2 does. Returns the final sizes.
    fn fill(layout: Layout, size: (u16, u16)) -> Vec<(u16, u16)> {
        let mut panes = vec![size];
        while let Some((at, direction)) = next(layout, &panes, true) {
            let (columns, rows) = panes[at];
            let halves = match direction {
                Direction::Vertical => (half(columns), rows),
                Direction::Horizontal => (columns, half(rows)),
            };
            panes[at] = halves;
            panes.push(halves);
        }
        panes
    }

    #[test]
    fn main_vertical_keeps_a_column_for_the_lead() {
        let panes = fill(Layout::MainVertical, (200, 50));
        assert_eq!(panes[0], (99, 50));
        assert_eq!(panes.len(), 9);
    }

    #[test]
    fn no_pane_is_smaller_than_the_minimum() {
        for layout in [
            Layout::MainVertical,
            Layout::Tiled,
            Layout::EvenHorizontal,
            Layout::EvenVertical,
        ] {
            for size in [(80, 24), (200, 50), (120, 13), (39, 80), (300, 100)] {
                let panes = fill(layout, size);
                let small = |(columns, rows): &(u16, u16)| {
                    *columns < MIN_SIZE.0.min(size.0) || *rows < MIN_SIZE.1.min(size.1)
                };
                assert!(!panes.iter().any(small), "{layout:?} {size:?}: {panes:?}");
            }
        }
    }

    #[test]
    fn a_narrow_tab_is_split_horizontally() {
        assert_eq!(
            next(Layout::MainVertical, &[(80, 24)], true),
            Some((0, Direction::Horizontal))
        );
        assert_eq!(next(Layout::EvenHorizontal, &[(80, 24)], true), None);
        assert_eq!(next(Layout::Windows, &[(400, 100)], true), None);
        assert_eq!(next(Layout::Tiled, &[], true), None);
    }
}
