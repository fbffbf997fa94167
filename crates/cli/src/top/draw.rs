//! One frame of [`Top`]. Called by the loop, once per change. It reads and shows; whatever somebody else wrote is made
//! harmless here, if it is not already.
//!
//! ```text
//!   head                             head                     head
//!   members                          members │ views          members   │ board │ messages
//!   views: output board requests …   board   │ the one that   output or │       │
//!   the one that is chosen                   │ is chosen      requests  │       │
//!   foot                             foot                     foot
//!   up to 139 columns                from 140 on              from 180 on
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

use super::state::{Mode, Top, View};

/// From so many columns on members and board stand beside the view.
const WIDE: u16 = 140;

/// From so many columns on there is room for all, and the keys of a view choose what scrolls.
const WIDEST: u16 = 180;

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
            let shown = match middle.width {
                WIDEST.. => beside_each_other(middle, top),
                WIDE.. => beside_the_view(middle, top),
                _ => below_each_other(middle, top),
            };
            members::members(frame, shown.members, top, palette, now);
            for Place { area, titles, view } in shown.views {
                let scrolls = views::view(frame, area, (titles, view), top, palette, wall_ms);
                if view == top.view {
                    drawn.scrolls = scrolls;
                }
            }
        }
    }
    drawn
}

/// Where what is shown.
struct Shown {
    members: Rect,
    views: Vec<Place>,
}

struct Place {
    area: Rect,
    /// Those that are named above it.
    titles: &'static [View],
    view: View,
}

fn below_each_other(area: Rect, top: &Top) -> Shown {
    let [members, below] = members_over(top, area, 0);
    let place = Place {
        area: below,
        titles: &View::ALL,
        view: top.view,
    };
    Shown {
        members,
        views: vec![place],
    }
}

fn beside_the_view(area: Rect, top: &Top) -> Shown {
    let columns = [
        Constraint::Percentage(50),
        Constraint::Length(2),
        Constraint::Fill(1),
    ];
    let [left, _, right] = Layout::horizontal(columns).areas(area);
    let [members, below] = members_over(top, left, 1);
    // Nothing stands twice.
    let other = match top.view {
        View::Board => View::Messages,
        View::Output | View::Requests | View::Messages => View::Board,
    };
    let views = [(right, View::ALL.as_slice(), top.view), (below, &[], other)];
    let views = views.map(|(area, titles, view)| Place { area, titles, view });
    Shown {
        members,
        views: views.into(),
    }
}

fn beside_each_other(area: Rect, top: &Top) -> Shown {
    let columns = [
        Constraint::Percentage(50),
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(2),
        Constraint::Fill(1),
    ];
    let [left, _, middle, _, right] = Layout::horizontal(columns).areas(area);
    let [members, below] = members_over(top, left, 1);
    let front = match top.view {
        View::Requests => View::Requests,
        View::Output | View::Board | View::Messages => View::Output,
    };
    let views = [
        (below, [View::Output, View::Requests].as_slice(), front),
        (middle, &[View::Board], View::Board),
        (right, &[View::Messages], View::Messages),
    ];
    let views = views.map(|(area, titles, view)| Place { area, titles, view });
    Shown {
        members,
        views: views.into(),
    }
}

/// The members, and what is below them, so many rows apart.
fn members_over(top: &Top, area: Rect, apart: u16) -> [Rect; 2] {
    let rows = [
        Constraint::Length(members_height(top, area)),
        Constraint::Length(apart),
        Constraint::Fill(1),
    ];
    let [members, _, below] = Layout::vertical(rows).areas(area);
    [members, below]
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
