//! Draws one frame of [`Top`]. Called by the event loop after a change. All text goes through [`Line`], which contains
//! no control characters.
//!
//! ```text
//!   head                             head                         head
//!   members                          members │ output or requests members   │ board │ messages
//!   views: output board requests …   board   │ or messages        output or │       │
//!   the view that had the focus last         │                    requests  │       │
//!   foot                             foot                         foot
//!   up to 139 columns                140 columns or more          180 columns or more
//! ```

mod foot;
mod head;
mod members;
mod ratatui_text;
mod views;

use agent_team_terminal_ui::style::Theme;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::{Frame, Terminal};

use self::ratatui_text::put;
use self::views::ViewArea;
use super::pages;
use super::request_dialog::RequestDialog;
use super::state::{Page, Top};
use super::view::{Clock, FrameLayout, ShownPage, TopView};

/// Minimum columns for members and board beside the other views.
const WIDE: u16 = 140;

/// Minimum columns for board and messages beside members and output.
const WIDEST: u16 = 180;

/// Draws a frame; returns its layout.
pub(super) fn draw(frame: &mut Frame<'_>, top: &Top, theme: Theme, clock: Clock) -> FrameLayout {
    let area = frame.area();
    let foot = foot::foot(top, area.width.into());
    // Keep a part of the views visible above a long status.
    let foot_height = u16::try_from(foot.rows.len()).unwrap_or(u16::MAX);
    let rows = [
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(foot_height.min(area.height / 2).max(1)),
    ];
    let [head_row, middle, foot_area] = Layout::vertical(rows).areas(area);
    head::head(frame, head_row, top, theme);
    for (line, row) in foot.rows.iter().zip(foot_area.rows()) {
        put(frame, row, line, theme);
    }
    if let Some((row, column)) = foot.cursor {
        let at = |from: u16, by: usize| from.saturating_add(u16::try_from(by).unwrap_or(u16::MAX));
        let (x, y) = (at(foot_area.x, column), at(foot_area.y, row));
        let at = Position::new(x.min(foot_area.right().saturating_sub(1)), y);
        if foot_area.contains(at) {
            frame.set_cursor_position(at);
        }
    }
    let mut drawn = FrameLayout::default();
    match &top.page {
        Some(Page::Request(dialog)) => {
            drawn.dialog = Some(draw_dialog(frame, middle, dialog, theme));
        }
        Some(page) => {
            let columns = usize::from(middle.width);
            let lines = pages::lines(page, top, columns, clock);
            let page = ShownPage {
                columns,
                height: middle.height.into(),
                total: lines.len(),
            };
            let first = top.page_scroll.min(page.max_scroll());
            for (line, row) in lines.iter().skip(first).zip(middle.rows()) {
                put(frame, row, &line.highlighted(top.search.text()), theme);
            }
            drawn.page = Some(page);
        }
        None => {
            let areas = match middle.width {
                WIDEST.. => three_columns(middle, top),
                WIDE.. => two_columns(middle, top),
                _ => one_column(middle, top),
            };
            members::members(frame, areas.members, top, theme, clock, &mut drawn);
            for view in areas.views {
                views::view(frame, &view, top, theme, clock, &mut drawn);
            }
        }
    }
    drawn
}

/// Draws an open request; returns the columns and rows that were available.
fn draw_dialog(
    frame: &mut Frame<'_>,
    area: Rect,
    dialog: &RequestDialog,
    theme: Theme,
) -> (usize, usize) {
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    let screen = dialog.screen(columns, rows);
    for (line, row) in screen.lines.iter().zip(area.rows()) {
        put(frame, row, line, theme);
    }
    if dialog.is_typing() {
        let at =
            |start: u16, offset: usize| start.saturating_add(offset.try_into().unwrap_or(u16::MAX));
        let (row, column) = screen.cursor;
        frame.set_cursor_position((at(area.x, column), at(area.y, row)));
    }
    (columns, rows)
}

struct Areas {
    members: Rect,
    views: Vec<ViewArea>,
}

fn one_column(area: Rect, top: &Top) -> Areas {
    let [members, below] = members_over(top, area, 0);
    Areas {
        members,
        views: vec![ViewArea::of(below, &TopView::NUMBERED, top)],
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
    let beside: &[TopView] = &[TopView::Output, TopView::Requests, TopView::Messages];
    Areas {
        members,
        views: vec![
            ViewArea::of(below, &[TopView::Board], top),
            ViewArea::of(right, beside, top),
        ],
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
    Areas {
        members,
        views: vec![
            ViewArea::of(below, &[TopView::Output, TopView::Requests], top),
            ViewArea::of(middle, &[TopView::Board], top),
            ViewArea::of(right, &[TopView::Messages], top),
        ],
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
pub(super) fn text(top: &Top, theme: Theme, (columns, rows): (u16, u16), clock: Clock) -> String {
    let backend = TestBackend::new(columns, rows);
    let terminal = Terminal::new(backend);
    let mut terminal = terminal.unwrap_or_else(|never| match never {});
    let drawn = terminal.draw(|frame| {
        draw(frame, top, theme, clock);
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
    let wanted = u16::try_from(top.team.members.len() + 1).unwrap_or(u16::MAX);
    wanted.min((area.height / 2).max(2))
}
