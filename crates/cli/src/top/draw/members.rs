//! The table of members.

use std::time::Instant;

use agent_team_protocol::attention::Need;
use agent_team_protocol::view::MemberView;
use agent_team_terminal_ui::style::{Style, Theme};
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};
use unicode_width::UnicodeWidthStr;

use super::ratatui_text::style;
use crate::output::style::{ATTENTION, member_name, member_state};
use crate::output::{member, text, time, usage};
use crate::top::state::Top;

/// Widths of the columns that are shown only on wide screens.
const UNREAD: u16 = 6;
const TOKENS: u16 = 7;
const COST: u16 = 8;

/// A column: title, width, and the text for a member.
struct Column<'a> {
    title: &'static str,
    room: Constraint,
    cell: Box<dyn Fn(&MemberView) -> Line<'static> + 'a>,
}

pub(super) fn members(frame: &mut Frame<'_>, area: Rect, top: &Top, theme: Theme, now: Instant) {
    let members = top.members();
    let columns = columns(&members, area.width, top, theme, now);
    let at = members
        .iter()
        .position(|it| Some(&it.name) == top.selected());
    // Scroll so that the selected member is visible.
    let rows = usize::from(area.height.saturating_sub(1)).max(1);
    let first = at.map_or(0, |at| (at + 1).saturating_sub(rows));
    let shown = members.iter().enumerate().skip(first).take(rows);
    let rows = shown.map(|(index, member)| {
        let row = Row::new(
            columns
                .iter()
                .map(|column| Cell::new((column.cell)(member))),
        );
        if Some(index) == at {
            row.style(style(Style::SELECTED, theme))
        } else {
            row
        }
    });
    let titles =
        Row::new(columns.iter().map(|column| column.title)).style(style(Style::DIM, theme));
    let table = Table::new(rows, columns.iter().map(|column| column.room))
        .header(titles)
        .column_spacing(1);
    frame.render_widget(table, area);
}

fn columns<'a>(
    members: &[&MemberView],
    width: u16,
    top: &'a Top,
    theme: Theme,
    now: Instant,
) -> Vec<Column<'a>> {
    let widest = |of: &dyn Fn(&MemberView) -> String, least: usize| {
        let widest = members.iter().map(|it| of(it).width()).max().unwrap_or(0);
        Constraint::Length(u16::try_from(widest.max(least)).unwrap_or(u16::MAX))
    };
    let name = |it: &MemberView| format!("{} {}", mark(it), it.name);
    let role = |it: &MemberView| it.role.to_string();
    let mut columns = vec![
        Column {
            title: "  MEMBER",
            room: widest(&name, 8),
            cell: Box::new(move |it| {
                let mark = Span::styled(mark(it), style(ATTENTION, theme));
                let name = Span::styled(
                    format!(" {}", it.name),
                    style(member_name(it.colour), theme),
                );
                Line::from(vec![mark, name])
            }),
        },
        Column {
            title: "STATE",
            room: widest(&member::state_and_cause, 5),
            cell: Box::new(move |it| {
                Line::styled(
                    member::state_and_cause(it),
                    style(member_state(it.state), theme),
                )
            }),
        },
        Column {
            title: "FOR",
            room: Constraint::Length(7),
            cell: Box::new(move |it| Line::raw(time::age(top.age_ms(it, now)))),
        },
    ];
    if width >= 70 {
        columns.insert(
            1,
            Column {
                title: "ROLE",
                room: widest(&role, 4),
                cell: Box::new(|it| Line::raw(it.role.to_string())),
            },
        );
    }
    let spends = members.iter().any(|it| it.usage.tokens() > 0);
    if spends && width >= 60 {
        columns.push(Column {
            title: "TOKENS",
            room: Constraint::Length(TOKENS),
            cell: Box::new(|it| Line::raw(usage::tokens(it.usage.tokens())).right_aligned()),
        });
        columns.push(Column {
            title: "COST",
            room: Constraint::Length(COST),
            cell: Box::new(|it| Line::raw(usage::cost(&it.usage)).right_aligned()),
        });
    }
    if width >= 90 && members.iter().any(|it| it.unread > 0) {
        columns.push(Column {
            title: "UNREAD",
            room: Constraint::Length(UNREAD),
            cell: Box::new(|it| Line::raw(it.unread.to_string()).right_aligned()),
        });
    }
    columns.push(Column {
        title: "TASK",
        room: Constraint::Fill(1),
        cell: Box::new(move |it| {
            let Some(id) = it.task else {
                return Line::raw(doing(it));
            };
            let title = top.task(id).map(|task| text::line(&task.title));
            Line::raw(format!("{id} {}", title.unwrap_or_default()))
        }),
    });
    columns
}

/// The text of the task column without a task: why the member waits, or its last result.
fn doing(member: &MemberView) -> String {
    match (Need::of(member), &member.last_result) {
        (Some(_), _) => text::line(&member.why),
        (None, Some(result)) => text::line(result),
        (None, None) => String::new(),
    }
}

fn mark(member: &MemberView) -> &'static str {
    match Need::of(member) {
        Some(_) => "!",
        None => " ",
    }
}
