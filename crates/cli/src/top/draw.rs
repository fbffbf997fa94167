//! One frame of [`Top`]. Called by the loop, once per change. It reads and shows; whatever somebody else wrote is made
//! harmless here, if it is not already.
//!
//! ```text
//!   head                                 head
//!   members                              members    │ views
//!   views: output board requests …       board      │ the one that is chosen
//!   the one that is chosen                          │
//!   foot                                 foot
//!   up to 139 columns                    from 140 on
//! ```

mod head;
mod members;
mod overlay;
mod palette;
mod views;

use std::time::Instant;

use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::{Frame, Terminal};

pub(super) use palette::Palette;

use super::state::{Mode, Top};

/// From so many columns on members and board stand beside the view.
const WIDE: u16 = 140;

/// What only a frame can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Lines by which the view can be scrolled.
    pub(super) scrolls: usize,
    /// Columns and rows of the question, if there is one.
    pub(super) question: Option<(usize, usize)>,
}

/// `wall_ms`: the time of day, as messages and requests have it.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    top: &Top,
    palette: Palette,
    now: Instant,
    wall_ms: u64,
) -> Drawn {
    let rows = [
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [head_row, middle, foot_row] = Layout::vertical(rows).areas(frame.area());
    head::head(frame, head_row, top, palette);
    head::foot(frame, foot_row, top, palette);
    let mut drawn = Drawn::default();
    match &top.mode {
        Mode::Help => overlay::help(frame, middle, palette),
        Mode::Asked(question) => {
            drawn.question = Some(overlay::question(frame, middle, question, palette));
        }
        Mode::Browse | Mode::Confirm(_) | Mode::Prompt { .. } => {
            let (members_area, view_area) = if middle.width >= WIDE {
                let columns = [
                    Constraint::Percentage(50),
                    Constraint::Length(2),
                    Constraint::Fill(1),
                ];
                let [left, _, right] = Layout::horizontal(columns).areas(middle);
                let rows = [
                    Constraint::Length(members_height(top, left)),
                    Constraint::Length(1),
                    Constraint::Fill(1),
                ];
                let [upper, _, lower] = Layout::vertical(rows).areas(left);
                views::board(frame, lower, top, palette, 0);
                (upper, right)
            } else {
                let height = members_height(top, middle);
                let rows = [Constraint::Length(height), Constraint::Fill(1)];
                let [upper, lower] = Layout::vertical(rows).areas(middle);
                (upper, lower)
            };
            members::members(frame, members_area, top, palette, now);
            drawn.scrolls = views::views(frame, view_area, top, palette, wall_ms);
        }
    }
    drawn
}

/// A frame as text.
pub(super) fn text(
    top: &Top,
    palette: Palette,
    (columns, rows): (u16, u16),
    now: Instant,
    wall_ms: u64,
) -> String {
    let backend = TestBackend::new(columns, rows);
    let terminal = Terminal::new(backend);
    let mut terminal = terminal.unwrap_or_else(|never| match never {});
    let drawn = terminal.draw(|frame| {
        draw(frame, top, palette, now, wall_ms);
    });
    let buffer = drawn.unwrap_or_else(|never| match never {}).buffer;
    let row = |row| {
        let cells = (0..columns).map(|column| buffer[(column, row)].symbol());
        let line: String = cells.collect();
        format!("{}\n", line.trim_end())
    };
    (0..rows).map(row).collect()
}

/// With the titles; never more than half of the room.
fn members_height(top: &Top, area: Rect) -> u16 {
    let wanted = u16::try_from(top.members().len() + 1).unwrap_or(u16::MAX);
    wanted.min((area.height / 2).max(2))
}
