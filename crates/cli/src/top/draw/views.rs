//! The four views: output of the selected member, board, requests, messages.

use agent_team_protocol::Party;
use agent_team_protocol::view::{MessageState, MessageView, TaskState};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::Palette;
use crate::output::{request, task, text, time};
use crate::top::state::{Top, View};
use crate::top::wrap::wrap;
use crate::verb::audit::DecisionEntry;

/// Draws one view below a line with the titles of `named`. Returns the number of lines by which it can be scrolled;
/// only the selected view scrolls.
pub(super) fn view(
    frame: &mut Frame<'_>,
    area: Rect,
    (named, view): (&[View], View),
    top: &Top,
    palette: Palette,
    wall_ms: u64,
) -> usize {
    let rows = [
        Constraint::Length(u16::from(!named.is_empty())),
        Constraint::Fill(1),
    ];
    let [titles_row, body] = Layout::vertical(rows).areas(area);
    frame.render_widget(titles(named, top, palette, titles_row.width), titles_row);
    let scroll = if view == top.view { top.scroll } else { 0 };
    match view {
        View::Board => board(frame, body, top, palette, scroll),
        View::Requests => match &top.decided {
            None => requests(frame, body, top, palette, wall_ms),
            Some(decided) => decisions(frame, body, top, decided, palette, wall_ms),
        },
        View::Output if top.output.is_empty() => {
            let text = match top.selected() {
                Some(member) => format!("{member} has no output yet"),
                None => "no member is selected".to_owned(),
            };
            let line = Line::styled(text, palette.title());
            first(frame, body, &[line], 0)
        }
        View::Output => {
            let lines = top.output.lines().rev();
            let lines = lines.filter(|line| top.passes(&[line]));
            let rows = |line: &str| wrap(line, body.width.into()).map(Line::raw).collect();
            last(frame, body, lines.map(rows), scroll)
        }
        View::Messages => {
            let messages = top.messages.iter().rev().filter(|it| {
                let (from, to) = (it.from.to_string(), it.to.to_string());
                top.passes(&[&from, &to, &it.text])
            });
            let rows = |it: &MessageView| message(it, body.width.into(), palette, wall_ms);
            last(frame, body, messages.map(rows), scroll)
        }
    }
}

fn titles(named: &[View], top: &Top, palette: Palette, columns: u16) -> Line<'static> {
    let short = named.len() > 2 && columns < 60;
    let mut line = Line::default();
    for (number, view) in (1..).zip(View::ALL) {
        if !named.contains(&view) {
            continue;
        }
        let count = |count: usize| (count > 0).then(|| format!(" {count}"));
        let (title, detail) = match view {
            View::Output => {
                let of = top.selected().filter(|_| !short);
                ("output", of.map(|member| format!(" {member}")))
            }
            View::Board => {
                let tasks = top.team.tasks;
                let over = tasks.completed + tasks.failed + tasks.cancelled;
                let all = over + tasks.pending + tasks.in_progress;
                let detail = (all > 0 && !short).then(|| format!(" {over}/{all}"));
                ("board", detail)
            }
            View::Requests => ("requests", count(top.requests.len())),
            View::Messages => ("messages", count(top.messages.len()).filter(|_| !short)),
        };
        let style = if view == top.view {
            palette.selected()
        } else if view == View::Requests && !top.requests.is_empty() {
            palette.attention()
        } else {
            palette.title()
        };
        let title = if short {
            format!("{number} {}{}", &title[..3], detail.unwrap_or_default())
        } else {
            format!(" {number} {title}{} ", detail.unwrap_or_default())
        };
        line.push_span(Span::styled(title, style));
        line.push_span(Span::raw(" "));
    }
    line
}

/// Draws the last rows of a list that is given newest first. Wraps only the entries that the scroll position needs.
fn last<'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    newest_first: impl Iterator<Item = Vec<Line<'a>>>,
    scroll: usize,
) -> usize {
    let height = usize::from(area.height);
    let mut rows: Vec<Line<'a>> = Vec::new();
    let wanted = height.saturating_add(scroll);
    for item in newest_first {
        rows.extend(item.into_iter().rev());
        if rows.len() >= wanted {
            break;
        }
    }
    let scrolls = rows.len().saturating_sub(height);
    let shown = rows.into_iter().skip(scroll.min(scrolls)).take(height);
    let shown: Vec<_> = shown.collect();
    for (line, row) in shown.into_iter().rev().zip(area.rows()) {
        frame.render_widget(line, row);
    }
    scrolls
}

/// Draws rows from the first on.
fn first(frame: &mut Frame<'_>, area: Rect, rows: &[Line<'_>], scroll: usize) -> usize {
    let scrolls = rows.len().saturating_sub(usize::from(area.height));
    for (line, row) in rows.iter().skip(scroll.min(scrolls)).zip(area.rows()) {
        frame.render_widget(line, row);
    }
    scrolls
}

fn board(frame: &mut Frame<'_>, area: Rect, top: &Top, palette: Palette, scroll: usize) -> usize {
    let columns = usize::from(area.width);
    let tasks = top.board();
    if tasks.is_empty() {
        let line = Line::styled("the board is empty", palette.title());
        return first(frame, area, &[line], 0);
    }
    let scrolls = tasks.len().saturating_sub(usize::from(area.height));
    let shown = tasks.into_iter().skip(scroll.min(scrolls));
    let rows: Vec<Line<'_>> = shown
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
            Line::from(vec![
                Span::styled(text::cut(&title, columns).into_owned(), palette.task(task)),
                Span::styled(after, palette.title()),
            ])
        })
        .collect();
    first(frame, area, &rows, 0);
    scrolls
}

fn requests(frame: &mut Frame<'_>, area: Rect, top: &Top, palette: Palette, wall_ms: u64) -> usize {
    let mut rows = Vec::new();
    for view in &top.requests {
        let what = request::what(view);
        if !top.passes(&[view.member.as_str(), &what]) {
            continue;
        }
        let age = time::age(wall_ms.saturating_sub(view.asked_at));
        rows.push(Line::from(vec![
            Span::styled(view.id.to_string(), palette.attention()),
            Span::raw(format!(" {}, {age} ago", view.member)),
        ]));
        let what = format!("  {what}");
        rows.extend(wrap(&what, area.width.into()).map(Line::raw));
    }
    let end = match rows.as_slice() {
        [] => "no pending requests · d shows decided ones",
        _ => "r opens the first one to answer it · d shows decided ones",
    };
    rows.push(Line::styled(end, palette.title()));
    first(frame, area, &rows, top.scroll)
}

fn decisions(
    frame: &mut Frame<'_>,
    area: Rect,
    top: &Top,
    decided: &[DecisionEntry],
    palette: Palette,
    wall_ms: u64,
) -> usize {
    let mut rows = vec![Line::styled(
        "newest decisions first · d shows pending",
        palette.title(),
    )];
    for it in decided {
        let member = it.member.as_ref().map_or("?", |member| member.as_str());
        if !top.passes(&[member, &it.how, &it.what]) {
            continue;
        }
        let age = time::age(wall_ms.saturating_sub(it.at));
        rows.push(Line::from(vec![
            Span::styled(it.request.to_string(), palette.strong()),
            Span::raw(format!(" {member}, {age} ago")),
        ]));
        for text in [&it.how, &it.what] {
            let text = format!("  {text}");
            rows.extend(wrap(&text, area.width.into()).map(Line::raw));
        }
    }
    if decided.is_empty() {
        rows.push(Line::raw("no decisions yet"));
    }
    first(frame, area, &rows, top.scroll)
}

/// A message: a line with sender, recipient and age, then the text.
fn message(
    view: &MessageView,
    columns: usize,
    palette: Palette,
    wall_ms: u64,
) -> Vec<Line<'static>> {
    let state = match view.state {
        MessageState::Read => "",
        // The view itself shows these messages to the user.
        _ if view.to == Party::User => "",
        MessageState::Accepted | MessageState::Delivered | MessageState::Unknown => " · unread",
    };
    let urgent = if view.urgent { " · urgent" } else { "" };
    let ago = time::age(wall_ms.saturating_sub(view.at));
    let head = format!("{} → {}", view.from, view.to);
    let mut lines = vec![Line::from(vec![
        Span::styled(head, palette.strong()),
        Span::styled(
            format!("  {}, {ago} ago{urgent}{state}", view.id),
            palette.title(),
        ),
    ])];
    let text = text::of_program(view.text.trim_end());
    for line in text.lines() {
        let line = format!("  {line}");
        lines.extend(wrap(&line, columns).map(Line::raw));
    }
    lines
}
