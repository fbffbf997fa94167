//! The first line of the screen (team and totals) and the last one (key hints, prompts, status).

use agent_team_protocol::view::{MemberState, TeamState};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::Palette;
use crate::output::{text, usage};
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
pub(super) fn head(frame: &mut Frame<'_>, area: Rect, top: &Top, palette: Palette) {
    let team = &top.team;
    let mut left = vec![Span::styled(team.name.to_string(), palette.strong())];
    let mut add = |text: String, style| {
        left.push(Span::raw(" · "));
        left.push(Span::styled(text, style));
    };
    if top.disconnected {
        add(
            "disconnected from the supervisor, reconnecting".into(),
            palette.bad(),
        );
    } else if team.state == TeamState::Down {
        add("down".into(), palette.bad());
    }
    let working = team.members.iter();
    let working = working
        .filter(|it| it.state == MemberState::Working)
        .count();
    add(format!("{working} working"), palette.title());
    let waits = waiting(&team.members);
    if waits > 0 {
        let verb = if waits == 1 { "waits" } else { "wait" };
        add(format!("{waits} {verb} for you"), palette.attention());
    }
    if !top.filter.is_empty() {
        add(
            format!("only /{}", text::line(&top.filter)),
            palette.attention(),
        );
    }
    let spent = match team.usage.tokens() {
        0 => String::new(),
        tokens => format!(
            "{} tokens {}",
            usage::tokens(tokens),
            usage::cost(&team.usage)
        ),
    };
    let left = Line::from(left);
    let room = usize::from(area.width).saturating_sub(left.width() + 2);
    frame.render_widget(left, area);
    if spent.width() <= room {
        frame.render_widget(Line::raw(spent).right_aligned(), area);
    }
}

pub(super) fn foot(frame: &mut Frame<'_>, area: Rect, top: &Top, palette: Palette) {
    let line = match (&top.mode, &top.status) {
        (Mode::Prompt { prompt, typed }, _) => {
            let label = prompt_label(prompt, top);
            draw_prompt(frame, area, &label, typed, palette);
            return;
        }
        (Mode::Confirm(action), _) => Line::styled(
            format!("{} y yes · any other key no", confirmation(action)),
            palette.attention(),
        ),
        (Mode::Question(question), _) if question.has_unread_lines() => {
            let more = format!(
                "{}: read on with ↓ or page down · esc later",
                question.request()
            );
            Line::styled(more, palette.attention())
        }
        (Mode::Question(question), _) => Line::styled(
            question.prompt().trim_end_matches(" ▸ ").to_owned(),
            palette.attention(),
        ),
        (Mode::Help, _) => Line::styled("any key closes this", palette.title()),
        (Mode::Browse, Some(status)) => {
            let style = if status.is_error {
                palette.bad()
            } else {
                palette.good()
            };
            Line::styled(text::line(&status.text), style)
        }
        (Mode::Browse, None) => hints(usize::from(area.width), palette),
    };
    frame.render_widget(line, area);
}

fn hints(columns: usize, palette: Palette) -> Line<'static> {
    let mut line = Line::default();
    for (key, what) in HINTS {
        if line.width() + key.width() + what.width() + 3 > columns {
            break;
        }
        line.push_span(Span::styled(key, palette.strong()));
        line.push_span(Span::styled(format!(" {what}  "), palette.title()));
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
fn draw_prompt(frame: &mut Frame<'_>, area: Rect, label: &str, typed: &str, palette: Palette) {
    let columns = usize::from(area.width);
    let label = text::cut(label, columns / 2).into_owned();
    let room = columns.saturating_sub(label.width() + 1);
    let mut shown = text::line(typed);
    // `text::line` trims blanks at the end; show them, because the cursor follows them.
    shown.extend(std::iter::repeat_n(
        ' ',
        typed.len() - typed.trim_end().len(),
    ));
    while shown.width() > room {
        shown.remove(0);
    }
    let at = label.width() + shown.width();
    let line = Line::from(vec![
        Span::styled(label, palette.attention()),
        Span::raw(shown),
    ]);
    frame.render_widget(line, area);
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
