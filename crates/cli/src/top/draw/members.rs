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
use crate::output::style::{ATTENTION, member_name};
use crate::output::{member, text, time, usage};
use crate::top::state::Top;

/// Widths of the columns that are shown only on wide screens.
const UNREAD: u16 = 6;
const TOKENS: u16 = 7;
const COST: u16 = 8;

/// A column: title, width, and the text for a member.
struct Column<'a> {
    title: &'static str,
    width: Constraint,
    cell: Box<dyn Fn(&MemberView) -> Line<'static> + 'a>,
}

pub(super) fn members(frame: &mut Frame<'_>, area: Rect, top: &Top, theme: Theme, now: Instant) {
    let members = top.members();
    let columns = columns(&members, area.width, top, theme, now);
    let selected = members
        .iter()
        .position(|member| Some(&member.name) == top.selected());
    // Scroll so that the selected member is visible.
    let rows = usize::from(area.height.saturating_sub(1)).max(1);
    let first = selected.map_or(0, |index| (index + 1).saturating_sub(rows));
    let shown = members.iter().enumerate().skip(first).take(rows);
    let rows = shown.map(|(index, member)| {
        let row = Row::new(
            columns
                .iter()
                .map(|column| Cell::new((column.cell)(member))),
        );
        if Some(index) == selected {
            row.style(style(Style::SELECTED, theme))
        } else {
            row
        }
    });
    let titles =
        Row::new(columns.iter().map(|column| column.title)).style(style(Style::DIM, theme));
    let table = Table::new(rows, columns.iter().map(|column| column.width))
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
        let widest = members
            .iter()
            .map(|member| of(member).width())
            .max()
            .unwrap_or(0);
        Constraint::Length(u16::try_from(widest.max(least)).unwrap_or(u16::MAX))
    };
    let name = |member: &MemberView| format!("{} {}", mark(member), member.name);
    let role = |member: &MemberView| member.role.to_string();
    let mut columns = vec![
        Column {
            title: "  MEMBER",
            width: widest(&name, 8),
            cell: Box::new(move |member| {
                let mark = Span::styled(mark(member), style(ATTENTION, theme));
                let name = Span::styled(
                    format!(" {}", member.name),
                    style(member_name(member.colour), theme),
                );
                Line::from(vec![mark, name])
            }),
        },
        Column {
            title: "STATE",
            width: widest(&member::state_and_cause, 5),
            cell: Box::new(move |member| {
                Line::styled(
                    member::state_and_cause(member),
                    style(member::state_style(member), theme),
                )
            }),
        },
        Column {
            title: "FOR",
            width: Constraint::Length(7),
            cell: Box::new(move |member| Line::raw(time::age(top.age_ms(member, now)))),
        },
    ];
    if width >= 70 {
        columns.insert(
            1,
            Column {
                title: "ROLE",
                width: widest(&role, 4),
                cell: Box::new(|member| Line::raw(member.role.to_string())),
            },
        );
    }
    let has_usage = members.iter().any(|member| member.usage.tokens() > 0);
    if has_usage && width >= 60 {
        columns.push(Column {
            title: "TOKENS",
            width: Constraint::Length(TOKENS),
            cell: Box::new(|member| {
                Line::raw(usage::tokens(member.usage.tokens())).right_aligned()
            }),
        });
        columns.push(Column {
            title: "COST",
            width: Constraint::Length(COST),
            cell: Box::new(|member| Line::raw(usage::cost(&member.usage)).right_aligned()),
        });
    }
    if width >= 90 && members.iter().any(|member| member.unread > 0) {
        columns.push(Column {
            title: "UNREAD",
            width: Constraint::Length(UNREAD),
            cell: Box::new(|member| Line::raw(member.unread.to_string()).right_aligned()),
        });
    }
    columns.push(Column {
        title: "TASK",
        width: Constraint::Fill(1),
        cell: Box::new(move |member| {
            let Some(id) = member.task else {
                return Line::raw(doing(member));
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
