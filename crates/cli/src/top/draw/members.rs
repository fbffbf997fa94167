//! The table of members.

use agent_team_protocol::attention::Need;
use agent_team_protocol::view::MemberView;
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Style, Theme};
use ratatui::Frame;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::ratatui_text::{MARK_WIDTH, Mark, put, put_entry};
use crate::output::style::{ATTENTION, member_name};
use crate::output::{member, time, usage};
use crate::top::rows::current_work;
use crate::top::state::Top;
use crate::top::view::{Clock, FrameLayout, ShownPane, TopView};

/// Widths of the columns that are shown only on wide screens.
const UNREAD: usize = 6;
const TOKENS: usize = 7;
const COST: usize = 8;

/// The blanks between two columns.
const GAP: usize = 1;

/// A column: title, width, and the text for a member.
struct Column<'a> {
    title: &'static str,
    width: usize,
    is_right_aligned: bool,
    cell: Box<dyn Fn(&MemberView) -> Line + 'a>,
}

pub(super) fn members(
    frame: &mut Frame<'_>,
    area: Rect,
    top: &Top,
    theme: Theme,
    clock: Clock,
    drawn: &mut FrameLayout,
) {
    let members = &top.team.members;
    let columns = columns(members, area.width.into(), top, clock);
    let has_focus = top.focus == TopView::Members;
    let mut titles = Line::of(Style::PLAIN, &" ".repeat(MARK_WIDTH));
    let title_style = if has_focus { Style::BOLD } else { Style::DIM };
    append_cells(&mut titles, &columns, |column| {
        Line::of(title_style, column.title)
    });
    let [title_row, body] = match area.height {
        0 => [area, area],
        _ => [
            Rect { height: 1, ..area },
            Rect {
                y: area.y + 1,
                height: area.height - 1,
                ..area
            },
        ],
    };
    put(frame, title_row, &titles, theme);
    drawn.titles.push((title_row, TopView::Members));
    let (total, height) = (members.len(), usize::from(body.height));
    let first = top.members_list.first(total, height);
    for (view, row) in members.iter().skip(first).zip(body.rows()) {
        let mut line = Line::default();
        append_cells(&mut line, &columns, |column| (column.cell)(view));
        let mark = match Some(&view.name) == top.selected() {
            true if has_focus => Mark::Focused,
            true => Mark::Selected,
            false => Mark::None,
        };
        put_entry(
            frame,
            row,
            &line.highlighted(top.search.text()),
            mark,
            theme,
        );
    }
    drawn.panes.push(ShownPane {
        view: TopView::Members,
        area: body,
        first,
        total,
    });
}

/// Appends a cell for each column, cut or filled to its width.
fn append_cells(line: &mut Line, columns: &[Column<'_>], cell: impl Fn(&Column<'_>) -> Line) {
    for (number, column) in columns.iter().enumerate() {
        let cell = cell(column).cut(column.width);
        let blanks = " ".repeat(column.width - cell.width());
        let gap = " ".repeat(if number == 0 { 0 } else { GAP });
        line.push(Style::PLAIN, &gap);
        if column.is_right_aligned {
            line.push(Style::PLAIN, &blanks);
            line.append(&cell);
        } else {
            line.append(&cell);
            line.push(Style::PLAIN, &blanks);
        }
    }
}

fn columns<'a>(
    members: &[MemberView],
    width: usize,
    top: &'a Top,
    clock: Clock,
) -> Vec<Column<'a>> {
    let widest = |of: &dyn Fn(&MemberView) -> String, least: usize| {
        let widths = members.iter().map(|member| of(member).width());
        widths.max().unwrap_or(0).max(least)
    };
    let left = |title, width, cell| Column {
        title,
        width,
        is_right_aligned: false,
        cell,
    };
    let right = |title, width, cell| Column {
        title,
        width,
        is_right_aligned: true,
        cell,
    };
    let mut columns = vec![left(
        "  MEMBER",
        widest(&|member| member.name.to_string(), 6) + 2,
        Box::new(|member: &MemberView| {
            let mark = if Need::of(member).is_some() {
                "! "
            } else {
                "  "
            };
            let mut line = Line::of(ATTENTION, mark);
            line.push(member_name(member.colour), member.name.as_str());
            line
        }) as Box<dyn Fn(&MemberView) -> Line + 'a>,
    )];
    if width >= 70 {
        columns.push(left(
            "ROLE",
            widest(&|member| member.role.to_string(), 4),
            Box::new(|member| Line::of(Style::PLAIN, member.role.as_str())),
        ));
    }
    columns.push(left(
        "STATE",
        widest(&member::state_and_cause, 5),
        Box::new(|member| {
            Line::of(
                member::state_style(member),
                &member::state_and_cause(member),
            )
        }),
    ));
    columns.push(left(
        "FOR",
        6,
        Box::new(move |member| Line::of(Style::PLAIN, &time::age(top.age_ms(member, clock.now)))),
    ));
    if members.iter().any(|member| member.usage.tokens() > 0) && width >= 60 {
        columns.push(right(
            "TOKENS",
            TOKENS,
            Box::new(|member| Line::of(Style::PLAIN, &usage::tokens(member.usage.tokens()))),
        ));
        columns.push(right(
            "COST",
            COST,
            Box::new(|member| Line::of(Style::PLAIN, &usage::cost(&member.usage))),
        ));
    }
    if width >= 90 && members.iter().any(|member| member.unread > 0) {
        columns.push(right(
            "UNREAD",
            UNREAD,
            Box::new(|member| Line::of(Style::PLAIN, &member.unread.to_string())),
        ));
    }
    let taken: usize = columns.iter().map(|column| column.width + GAP).sum();
    columns.push(left(
        "TASK",
        width.saturating_sub(MARK_WIDTH + taken),
        Box::new(move |member| Line::of(Style::PLAIN, &current_work(top, member))),
    ));
    columns
}
