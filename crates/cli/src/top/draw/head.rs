//! The first line of the screen (team and totals) and the last one (key hints, prompts, status).

use agent_team_protocol::text::visible_line;
use agent_team_protocol::view::{MemberState, TeamState};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Style, Theme};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text;
use unicode_width::UnicodeWidthStr;

use super::ratatui_text::put;
use crate::output::style::{ATTENTION, BAD, GOOD};
use crate::output::text::cut;
use crate::output::usage;
use crate::top::state::{Action, Mode, Prompt, Top, waiting};

/// Key hints. Those at the end are omitted first when the line is too narrow.
const HINTS: [(&str, &str); 12] = [
    ("?", "help"),
    ("q", "quit"),
    ("r", "answer"),
    ("a", "attach"),
    ("s", "send"),
    ("K", "kill"),
    ("tab", "view"),
    ("R", "restart"),
    ("x", "stop"),
    ("n", "spawn"),
    ("/", "filter"),
    ("g", "next waiting"),
];

/// `payments · 2 working · 1 waits for you                12.3k tokens $0.42`
pub(super) fn head(frame: &mut Frame<'_>, area: Rect, top: &Top, theme: Theme) {
    let team = &top.team;
    let mut left = Line::of(Style::BOLD, team.name.as_str());
    let mut add = |text: &str, style| {
        left.push(Style::PLAIN, " · ");
        left.push(style, text);
    };
    if top.disconnected {
        add("disconnected from the supervisor, reconnecting", BAD);
    } else if team.state == TeamState::Down {
        add("down", BAD);
    }
    let working = team.members.iter();
    let working = working
        .filter(|it| it.state == MemberState::Working)
        .count();
    add(&format!("{working} working"), Style::DIM);
    let waiting_members = waiting(&team.members);
    if waiting_members > 0 {
        let verb = if waiting_members == 1 {
            "waits"
        } else {
            "wait"
        };
        add(&format!("{waiting_members} {verb} for you"), ATTENTION);
    }
    if !top.filter.is_empty() {
        add(&format!("only /{}", top.filter), ATTENTION);
    }
    let spent = match team.usage.tokens() {
        0 => String::new(),
        tokens => format!(
            "{} tokens {}",
            usage::tokens(tokens),
            usage::cost(&team.usage)
        ),
    };
    let room = usize::from(area.width).saturating_sub(left.width() + 2);
    put(frame, area, &left, theme);
    if spent.width() <= room {
        frame.render_widget(text::Line::raw(spent).right_aligned(), area);
    }
}

pub(super) fn foot(frame: &mut Frame<'_>, area: Rect, top: &Top, theme: Theme) {
    let line = match (&top.mode, &top.status) {
        (Mode::Prompt { prompt, typed }, _) => {
            let label = prompt_label(prompt, top);
            draw_prompt(frame, area, &label, typed, theme);
            return;
        }
        (Mode::Confirm(action), _) => Line::of(
            ATTENTION,
            &format!("{} y yes · any other key no", confirmation(action)),
        ),
        (Mode::Question(question), _) if question.has_unread_lines() => {
            let more = format!(
                "{}: read on with ↓ or page down · esc later",
                question.request()
            );
            Line::of(ATTENTION, &more)
        }
        (Mode::Question(question), _) => {
            Line::of(ATTENTION, question.prompt().trim_end_matches(" ▸ "))
        }
        (Mode::Help, _) => Line::of(Style::DIM, "any key closes this"),
        (Mode::Browse, Some(status)) => {
            let style = if status.is_error { BAD } else { GOOD };
            Line::of(style, &status.text)
        }
        (Mode::Browse, None) => hints(usize::from(area.width)),
    };
    put(frame, area, &line, theme);
}

fn hints(columns: usize) -> Line {
    let mut line = Line::default();
    for (key, what) in HINTS {
        if line.width() + key.width() + what.width() + 3 > columns {
            break;
        }
        line.push(Style::BOLD, key);
        line.push(Style::DIM, &format!(" {what}  "));
    }
    line
}

fn prompt_label(prompt: &Prompt, top: &Top) -> String {
    match prompt {
        Prompt::Send { to, urgent } => {
            let how = if *urgent { ", urgent" } else { "" };
            format!("to {to}{how} ▸ ")
        }
        Prompt::Spawn => {
            let roles: Vec<_> = top.team.roles.iter().map(|it| it.name.as_str()).collect();
            match roles.as_slice() {
                [] => "role [name] ▸ ".to_owned(),
                roles => format!("role ({}) [name] ▸ ", roles.join(" ")),
            }
        }
        Prompt::Filter => "filter ▸ ".to_owned(),
    }
}

/// Draws a prompt; when the line is too narrow, the start of the typed text is cut.
fn draw_prompt(frame: &mut Frame<'_>, area: Rect, label: &str, typed: &str, theme: Theme) {
    let columns = usize::from(area.width);
    let mut line = Line::of(ATTENTION, &cut(label, columns / 2));
    let room = columns.saturating_sub(line.width() + 1);
    let mut shown = visible_line(typed).into_owned();
    while shown.width() > room {
        shown.remove(0);
    }
    line.push(Style::PLAIN, &shown);
    let at = line.width();
    put(frame, area, &line, theme);
    let column = area.x.saturating_add(u16::try_from(at).unwrap_or(u16::MAX));
    frame.set_cursor_position(Position::new(column.min(area.right()), area.y));
}

fn confirmation(action: &Action) -> String {
    match action {
        Action::Kill(member) => format!("kill {member} and all its processes?"),
        Action::Stop(member) => format!("stop {member}?"),
        Action::Restart(member) => format!("restart {member}?"),
        Action::Down => "stop the whole team?".to_owned(),
        // These need no confirmation.
        Action::Decide(_) | Action::Send { .. } | Action::Spawn { .. } => String::new(),
    }
}
