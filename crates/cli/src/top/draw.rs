//! Draws one frame of [`Top`]. Called by the event loop after a change. Escapes the control characters of untrusted
//! text.
//!
//! ```text
//!   head                             head                     head
//!   members                          members │ views          members   │ board │ messages
//!   views: output board requests …   board   │ the selected   output or │       │
//!   the selected view                        │ view           requests  │       │
//!   foot                             foot                     foot
//!   up to 139 columns                140 columns or more      180 columns or more
//! ```

mod head;
mod members;
mod overlay;
mod ratatui_text;
mod views;

use std::time::Instant;

use agent_team_terminal_ui::style::Theme;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::{Frame, Terminal};

use super::state::{Mode, Top, View};

/// Minimum columns for members and board beside the selected view.
const WIDE: u16 = 140;

/// Minimum columns for board and messages beside the output or the requests. The view keys then select the view that
/// scrolls.
const WIDEST: u16 = 180;

/// Measurements of a drawn frame, which the state needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Number of lines by which the view can be scrolled.
    pub(super) max_scroll: usize,
    /// Columns and rows of the open question, if any.
    pub(super) question: Option<(usize, usize)>,
}

/// Draws a frame. Computes the ages of states from `now`, and those of messages and requests from `wall_ms`, the Unix
/// time.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    top: &Top,
    theme: Theme,
    now: Instant,
    wall_ms: u64,
) -> Drawn {
    let rows = [
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [head_row, middle, foot_row] = Layout::vertical(rows).areas(frame.area());
    head::head(frame, head_row, top, theme);
    head::foot(frame, foot_row, top, theme);
    let mut drawn = Drawn::default();
    match &top.mode {
        Mode::Help => overlay::help(frame, middle, theme),
        Mode::Question(question) => {
            drawn.question = Some(overlay::question(frame, middle, question, theme));
        }
        Mode::Browse | Mode::Confirm(_) | Mode::Prompt { .. } => {
            let layout = match middle.width {
                WIDEST.. => three_columns(middle, top),
                WIDE.. => two_columns(middle, top),
                _ => one_column(middle, top),
            };
            members::members(frame, layout.members, top, theme, now);
            for ViewArea { area, titles, view } in layout.views {
                let max_scroll = views::view(frame, area, (titles, view), top, theme, wall_ms);
                if view == top.view {
                    drawn.max_scroll = max_scroll;
                }
            }
        }
    }
    drawn
}

/// The areas of a frame.
struct Areas {
    members: Rect,
    views: Vec<ViewArea>,
}

struct ViewArea {
    area: Rect,
    /// The views named in its title line.
    titles: &'static [View],
    view: View,
}

fn one_column(area: Rect, top: &Top) -> Areas {
    let [members, below] = members_over(top, area, 0);
    let view = ViewArea {
        area: below,
        titles: &View::ALL,
        view: top.view,
    };
    Areas {
        members,
        views: vec![view],
    }
}

fn two_columns(area: Rect, top: &Top) -> Areas {
    let columns = [
        Constraint::Percentage(50),
        Constraint::Length(2),
        Constraint::Fill(1),
    ];
    let [left, _, right] = Layout::horizontal(columns).areas(area);
    let [members, below] = members_over(top, left, 1);
    // The left column must not repeat the view of the right column.
    let other = match top.view {
        View::Board => View::Messages,
        View::Output | View::Requests | View::Messages => View::Board,
    };
    let views = [(right, View::ALL.as_slice(), top.view), (below, &[], other)];
    let views = views.map(|(area, titles, view)| ViewArea { area, titles, view });
    Areas {
        members,
        views: views.into(),
    }
}

fn three_columns(area: Rect, top: &Top) -> Areas {
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
    let views = views.map(|(area, titles, view)| ViewArea { area, titles, view });
    Areas {
        members,
        views: views.into(),
    }
}

/// Splits an area into the members and the part below them, with `gap` rows between.
fn members_over(top: &Top, area: Rect, gap: u16) -> [Rect; 2] {
    let rows = [
        Constraint::Length(members_height(top, area)),
        Constraint::Length(gap),
        Constraint::Fill(1),
    ];
    let [members, _, below] = Layout::vertical(rows).areas(area);
    [members, below]
}

/// Draws a frame as plain text.
pub(super) fn text(
    top: &Top,
    theme: Theme,
    (columns, rows): (u16, u16),
    now: Instant,
    wall_ms: u64,
) -> String {
    let backend = TestBackend::new(columns, rows);
    let terminal = Terminal::new(backend);
    let mut terminal = terminal.unwrap_or_else(|never| match never {});
    let drawn = terminal.draw(|frame| {
        draw(frame, top, theme, now, wall_ms);
    });
    let buffer = drawn.unwrap_or_else(|never| match never {}).buffer;
    let row = |row| {
        let cells = (0..columns).map(|column| buffer[(column, row)].symbol());
        let line: String = cells.collect();
        format!("{}\n", line.trim_end())
    };
    (0..rows).map(row).collect()
}

/// The height of the members with their header: at most half of the area, or two rows if that is more.
fn members_height(top: &Top, area: Rect) -> u16 {
    let wanted = u16::try_from(top.members().len() + 1).unwrap_or(u16::MAX);
    wanted.min((area.height / 2).max(2))
}
