//! The four views: output of the selected member, board, requests, messages.

use agent_team_protocol::Party;
use agent_team_protocol::view::{MessageState, MessageView, TaskState};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Style, Theme};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use super::ratatui_text::put;
use crate::output::style::{self, ATTENTION};
use crate::output::{request, task, text, time};
use crate::top::state::{Top, View};
use crate::top::wrap::wrap;
use crate::verb::audit::DecisionEntry;

/// Draws one view below a line with the titles of `named`. Returns the number of lines by which the view can be
/// scrolled; only the selected view scrolls.
pub(super) fn view(
    frame: &mut Frame<'_>,
    area: Rect,
    (named, view): (&[View], View),
    top: &Top,
    theme: Theme,
    wall_ms: u64,
) -> usize {
    let rows = [
        Constraint::Length(u16::from(!named.is_empty())),
        Constraint::Fill(1),
    ];
    let [titles_row, body] = Layout::vertical(rows).areas(area);
    let line = titles(named, top, titles_row.width);
    put(frame, titles_row, &line, theme);
    let scroll = if view == top.view { top.scroll } else { 0 };
    match view {
        View::Board => board(frame, body, top, theme, scroll),
        View::Requests => match &top.decided {
            None => requests(frame, body, top, theme, wall_ms),
            Some(decided) => decisions(frame, body, top, decided, theme, wall_ms),
        },
        View::Output if top.output.is_empty() => {
            let text = match top.selected() {
                Some(member) => format!("{member} has no output yet"),
                None => "no member is selected".to_owned(),
            };
            draw_from_top(frame, body, &[Line::of(Style::DIM, &text)], 0, theme)
        }
        View::Output => {
            let lines = top.output.lines().rev();
            let lines = lines.filter(|line| top.passes(&[line]));
            let rows = |line: &str| wrap(line, body.width.into()).map(plain).collect();
            draw_from_bottom(frame, body, lines.map(rows), scroll, theme)
        }
        View::Messages => {
            let messages = top.messages.iter().rev().filter(|it| {
                let (from, to) = (it.from.to_string(), it.to.to_string());
                top.passes(&[&from, &to, &it.text])
            });
            let rows = |it: &MessageView| message(it, body.width.into(), wall_ms);
            draw_from_bottom(frame, body, messages.map(rows), scroll, theme)
        }
    }
}

fn titles(named: &[View], top: &Top, columns: u16) -> Line {
    let short = named.len() > 2 && columns < 60;
    let mut line = Line::default();
    for (number, view) in (1..).zip(View::ALL) {
        if !named.contains(&view) {
            continue;
        }
        let count = |count: usize| (count > 0).then(|| format!(" {count}"));
        let (title, detail) = match view {
            View::Output => {
                let member = top.selected().filter(|_| !short);
                ("output", member.map(|member| format!(" {member}")))
            }
            View::Board => {
                let tasks = top.team.tasks;
                let finished = tasks.completed + tasks.failed + tasks.cancelled;
                let all = finished + tasks.pending + tasks.in_progress;
                let detail = (all > 0 && !short).then(|| format!(" {finished}/{all}"));
                ("board", detail)
            }
            View::Requests => ("requests", count(top.requests.len())),
            View::Messages => ("messages", count(top.messages.len()).filter(|_| !short)),
        };
        let style = if view == top.view {
            Style::SELECTED
        } else if view == View::Requests && !top.requests.is_empty() {
            ATTENTION
        } else {
            Style::DIM
        };
        let title = if short {
            format!("{number} {}{}", &title[..3], detail.unwrap_or_default())
        } else {
            format!(" {number} {title}{} ", detail.unwrap_or_default())
        };
        line.push(style, &title);
        line.push(Style::PLAIN, " ");
    }
    line
}

/// Draws the last rows of a list that starts with the newest entry. Wraps only the entries that the scroll position
/// needs.
fn draw_from_bottom(
    frame: &mut Frame<'_>,
    area: Rect,
    newest_first: impl Iterator<Item = Vec<Line>>,
    scroll: usize,
    theme: Theme,
) -> usize {
    let height = usize::from(area.height);
    let mut rows: Vec<Line> = Vec::new();
    let wanted = height.saturating_add(scroll);
    for item in newest_first {
        rows.extend(item.into_iter().rev());
        if rows.len() >= wanted {
            break;
        }
    }
    let max_scroll = rows.len().saturating_sub(height);
    let shown = rows.into_iter().skip(scroll.min(max_scroll)).take(height);
    let shown: Vec<_> = shown.collect();
    for (line, row) in shown.iter().rev().zip(area.rows()) {
        put(frame, row, line, theme);
    }
    max_scroll
}

/// Draws rows from the first on, below `scroll` skipped rows. Returns the largest useful `scroll`.
fn draw_from_top(
    frame: &mut Frame<'_>,
    area: Rect,
    rows: &[Line],
    scroll: usize,
    theme: Theme,
) -> usize {
    let max_scroll = rows.len().saturating_sub(usize::from(area.height));
    for (line, row) in rows.iter().skip(scroll.min(max_scroll)).zip(area.rows()) {
        put(frame, row, line, theme);
    }
    max_scroll
}

fn plain(text: impl AsRef<str>) -> Line {
    Line::of(Style::PLAIN, text.as_ref())
}

fn board(frame: &mut Frame<'_>, area: Rect, top: &Top, theme: Theme, scroll: usize) -> usize {
    let columns = usize::from(area.width);
    let tasks = top.board();
    if tasks.is_empty() {
        let line = Line::of(Style::DIM, "the board is empty");
        return draw_from_top(frame, area, &[line], 0, theme);
    }
    let max_scroll = tasks.len().saturating_sub(usize::from(area.height));
    let shown = tasks.into_iter().skip(scroll.min(max_scroll));
    let rows: Vec<Line> = shown
        .take(area.height.into())
        .map(|task| {
            let (sign, _) = task::state(task);
            let owner = task.owner.as_ref().map(|owner| format!("  {owner}"));
            let result = match task.state {
                TaskState::Completed | TaskState::Failed => task::key_line(task),
                TaskState::Pending
                | TaskState::InProgress
                | TaskState::Cancelled
                | TaskState::Unknown => "",
            };
            let after = match result {
                "" => owner.unwrap_or_default(),
                result => format!("{}  {}", owner.unwrap_or_default(), text::line(result)),
            };
            let title = format!("{sign} {} {}", task.id, text::line(&task.title));
            let mut line = Line::of(style::task(task), &text::cut(&title, columns));
            line.push(Style::DIM, &after);
            line
        })
        .collect();
    draw_from_top(frame, area, &rows, 0, theme);
    max_scroll
}

fn requests(frame: &mut Frame<'_>, area: Rect, top: &Top, theme: Theme, wall_ms: u64) -> usize {
    let mut rows = Vec::new();
    for view in &top.requests {
        let what = request::action_line(view);
        if !top.passes(&[view.member.as_str(), &what]) {
            continue;
        }
        let age = time::age(wall_ms.saturating_sub(view.asked_at));
        let mut line = Line::of(ATTENTION, &view.id.to_string());
        line.push(Style::PLAIN, &format!(" {}, {age} ago", view.member));
        rows.push(line);
        let what = format!("  {what}");
        rows.extend(wrap(&what, area.width.into()).map(plain));
    }
    let end = match rows.as_slice() {
        [] => "no pending requests · d shows decided ones",
        _ => "r opens a request to answer it · d shows decided ones",
    };
    rows.push(Line::of(Style::DIM, end));
    draw_from_top(frame, area, &rows, top.scroll, theme)
}

fn decisions(
    frame: &mut Frame<'_>,
    area: Rect,
    top: &Top,
    decided: &[DecisionEntry],
    theme: Theme,
    wall_ms: u64,
) -> usize {
    let mut rows = vec![Line::of(
        Style::DIM,
        "newest decisions first · d shows pending",
    )];
    for entry in decided {
        let member = entry.member.as_ref().map_or("?", |member| member.as_str());
        if !top.passes(&[member, &entry.how, &entry.what]) {
            continue;
        }
        let age = time::age(wall_ms.saturating_sub(entry.at));
        let mut line = Line::of(Style::BOLD, &entry.request.to_string());
        line.push(Style::PLAIN, &format!(" {member}, {age} ago"));
        rows.push(line);
        for text in [&entry.how, &entry.what] {
            let text = format!("  {text}");
            rows.extend(wrap(&text, area.width.into()).map(plain));
        }
    }
    if decided.is_empty() {
        rows.push(plain("no decisions yet"));
    }
    draw_from_top(frame, area, &rows, top.scroll, theme)
}

/// A message: a line with sender, recipient and age, then the text.
fn message(view: &MessageView, columns: usize, wall_ms: u64) -> Vec<Line> {
    let state = match view.state {
        MessageState::Read => "",
        // The view itself shows these messages to the user.
        _ if view.to == Party::User => "",
        MessageState::Accepted | MessageState::Delivered | MessageState::Unknown => " · unread",
    };
    let urgent = if view.urgent { " · urgent" } else { "" };
    let ago = time::age(wall_ms.saturating_sub(view.at));
    let head = format!("{} → {}", view.from, view.to);
    let mut line = Line::of(Style::BOLD, &head);
    line.push(
        Style::DIM,
        &format!("  {}, {ago} ago{urgent}{state}", view.id),
    );
    let mut lines = vec![line];
    let text = text::of_program(view.text.trim_end());
    for line in text.lines() {
        let line = format!("  {line}");
        lines.extend(wrap(&line, columns).map(plain));
    }
    lines
}
