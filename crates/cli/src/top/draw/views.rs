//! The views: output of the selected member, board, requests, messages.

use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Style, Theme};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use super::ratatui_text::{MARK_WIDTH, Mark, put, put_entry};
use crate::output::style::ATTENTION;
use crate::top::rows;
use crate::top::state::Top;
use crate::top::view::{Clock, FrameLayout, ShownPane, TopView};

/// Minimum columns for full titles of more than two views.
const FULL_TITLES: u16 = 60;

/// A place that several views share: the titles of all, and the view that had the focus last.
pub(super) struct ViewArea {
    pub(super) area: Rect,
    pub(super) titles: &'static [TopView],
    pub(super) view: TopView,
}

impl ViewArea {
    pub(super) fn of(area: Rect, titles: &'static [TopView], top: &Top) -> Self {
        Self {
            area,
            titles,
            view: top.front(titles),
        }
    }
}

/// Draws one view below a line with the titles of the views that share its place.
pub(super) fn view(
    frame: &mut Frame<'_>,
    shown: &ViewArea,
    top: &Top,
    theme: Theme,
    clock: Clock,
    drawn: &mut FrameLayout,
) {
    let rows = [Constraint::Length(1), Constraint::Fill(1)];
    let [titles_row, body] = Layout::vertical(rows).areas(shown.area);
    titles(frame, titles_row, shown, top, theme, drawn);
    let pane = match shown.view {
        TopView::Board => list(frame, body, top, theme, TopView::Board, clock),
        TopView::Requests if top.decided.is_none() => {
            list(frame, body, top, theme, TopView::Requests, clock)
        }
        view @ (TopView::Members | TopView::Output | TopView::Requests | TopView::Messages) => {
            text(frame, body, top, theme, view, clock)
        }
    };
    drawn.panes.push(pane);
}

fn titles(
    frame: &mut Frame<'_>,
    row: Rect,
    shown: &ViewArea,
    top: &Top,
    theme: Theme,
    drawn: &mut FrameLayout,
) {
    let is_short = shown.titles.len() > 2 && row.width < FULL_TITLES;
    let mut line = Line::default();
    for (number, view) in (1..).zip(TopView::NUMBERED) {
        if !shown.titles.contains(&view) {
            continue;
        }
        let begin = line.width();
        let style = if view == top.focus {
            Style::SELECTED
        } else if view == TopView::Requests && !top.requests.is_empty() {
            ATTENTION
        } else if view == shown.view {
            Style::BOLD
        } else {
            Style::DIM
        };
        let detail = detail(view, top, is_short);
        let title = match is_short {
            true => format!("{number} {}{detail}", &view.name()[..3]),
            false => format!(" {number} {}{detail} ", view.name()),
        };
        line.push(style, &title);
        let at = |column: usize| u16::try_from(column).unwrap_or(u16::MAX);
        let area = Rect {
            x: row.x.saturating_add(at(begin)),
            width: at(line.width() - begin),
            ..row
        };
        drawn.titles.push((area.intersection(row), view));
        line.push(Style::PLAIN, " ");
    }
    put(frame, row, &line, theme);
}

/// The text after the name of a view in its title.
fn detail(view: TopView, top: &Top, is_short: bool) -> String {
    let count = |count: usize| match count {
        0 => String::new(),
        count => format!(" {count}"),
    };
    match view {
        TopView::Output if !is_short => {
            let member = top.selected();
            member.map_or(String::new(), |member| format!(" {member}"))
        }
        TopView::Board if !is_short => {
            let tasks = top.team.tasks;
            let ended = tasks.completed + tasks.failed + tasks.cancelled;
            match ended + tasks.pending + tasks.in_progress {
                0 => String::new(),
                all => format!(" {}/{all}", tasks.completed),
            }
        }
        TopView::Requests => count(top.requests.len()),
        TopView::Messages if !is_short => count(top.messages.len()),
        TopView::Members | TopView::Output | TopView::Board | TopView::Messages => String::new(),
    }
}

/// Draws a list with one row for each entry.
fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    top: &Top,
    theme: Theme,
    view: TopView,
    clock: Clock,
) -> ShownPane {
    let height = usize::from(area.height);
    let (total, first, lines, selected): (usize, usize, Vec<Line>, Option<usize>) = match view {
        TopView::Board => {
            let tasks = top.board();
            let first = top.board_list.first(tasks.len(), height);
            let visible = tasks.iter().skip(first).take(height);
            let selected = tasks
                .iter()
                .position(|it| Some(&it.id) == top.board_list.id());
            let lines = visible.map(|task| rows::task_line(task)).collect();
            (tasks.len(), first, lines, selected)
        }
        TopView::Members | TopView::Output | TopView::Requests | TopView::Messages => {
            let total = top.requests.len();
            let first = top.requests_list.first(total, height);
            let lines = rows::requests(top, clock).into_iter().skip(first).collect();
            let ids = top.requests.iter();
            let selected = ids
                .map(|it| it.id)
                .position(|id| Some(&id) == top.requests_list.id());
            (total, first, lines, selected)
        }
    };
    let room = usize::from(area.width).saturating_sub(MARK_WIDTH);
    for ((index, line), row) in (first..).zip(&lines).zip(area.rows()) {
        let mark = match Some(index) == selected {
            true if top.focus == view => Mark::Focused,
            true => Mark::Selected,
            false => Mark::None,
        };
        let line = line.cut(room).highlighted(top.search.text());
        put_entry(frame, row, &line, mark, theme);
    }
    if total == 0 {
        let text = match view {
            TopView::Board => "  the board is empty · a adds a task",
            TopView::Members | TopView::Output | TopView::Requests | TopView::Messages => {
                "  no pending requests · d shows decided requests"
            }
        };
        put(
            frame,
            Rect {
                height: area.height.min(1),
                ..area
            },
            &Line::of(Style::DIM, text),
            theme,
        );
    }
    ShownPane {
        view,
        area,
        first,
        total,
    }
}

/// Draws a text, which scrolls by rows.
fn text(
    frame: &mut Frame<'_>,
    area: Rect,
    top: &Top,
    theme: Theme,
    view: TopView,
    clock: Clock,
) -> ShownPane {
    let (columns, height) = (usize::from(area.width), usize::from(area.height));
    let scroll = top.scroll[view as usize];
    let first_of = |total: usize| {
        let last = total.saturating_sub(height);
        match view.is_newest_last() {
            true => last.saturating_sub(scroll),
            false => last.min(scroll),
        }
    };
    let visible = |rows: &[Line]| {
        let (total, first) = (rows.len(), first_of(rows.len()));
        let end = (first + height).min(total);
        (total, first, rows[first..end].to_vec())
    };
    let (total, first, lines) = match (view, &top.decided) {
        (TopView::Messages, _) => {
            let total = rows::message_count(top, columns);
            let first = first_of(total);
            (
                total,
                first,
                rows::messages(top, columns, clock, first, height),
            )
        }
        (TopView::Requests, Some(decided)) => visible(&rows::decisions(decided, columns, clock)),
        _ if top.output.is_empty() => {
            let text = match top.selected() {
                Some(member) => format!("{member} has no output yet"),
                None => "no member is selected".to_owned(),
            };
            visible(&[Line::of(Style::DIM, &text)])
        }
        _ => top.output.with_rows(columns, visible),
    };
    for (line, row) in lines.iter().zip(area.rows()) {
        put(
            frame,
            row,
            &line.cut(columns).highlighted(top.search.text()),
            theme,
        );
    }
    ShownPane {
        view,
        area,
        first,
        total,
    }
}
