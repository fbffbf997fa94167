//! The first line, which says what the team is, and the last one, which says what can be typed now or asks for it.

use agent_team_protocol::view::{MemberState, TeamState};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::Palette;
use crate::output::{text, usage};
use crate::top::state::{Deed, Mode, Prompt, Top, waiting};

/// In the order in which they are left out where there is no room.
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
    ("g", "who waits"),
];

/// `payments · 2 working · 1 waits for you                12.3k tokens $0.42`
pub(super) fn head(frame: &mut Frame<'_>, area: Rect, top: &Top, palette: Palette) {
    let team = &top.team;
    let mut left = vec![Span::styled(team.name.to_string(), palette.strong())];
    let mut add = |text: String, style| {
        left.push(Span::raw(" · "));
        left.push(Span::styled(text, style));
    };
    if top.lost {
        add(
            "the supervisor is gone, looking for it".into(),
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
        add(format!("{waits} {verb} for you"), palette.calls());
    }
    if !top.filter.is_empty() {
        add(
            format!("only /{}", text::line(&top.filter)),
            palette.calls(),
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
    let line = match (&top.mode, &top.said) {
        (Mode::Prompt { asks, typed }, _) => {
            let asked = asked(asks, top);
            prompt(frame, area, &asked, typed, palette);
            return;
        }
        (Mode::Confirm(deed), _) => Line::styled(
            format!("{} y yes · any other key no", confirm(deed)),
            palette.calls(),
        ),
        (Mode::Asked(question), _) if question.hides_some() => {
            let more = format!(
                "{}: read on with ↓ or page down · esc later",
                question.request()
            );
            Line::styled(more, palette.calls())
        }
        (Mode::Asked(question), _) => Line::styled(
            question.prompt().trim_end_matches(" ▸ ").to_owned(),
            palette.calls(),
        ),
        (Mode::Help, _) => Line::styled("any key closes this", palette.title()),
        (Mode::Browse, Some(said)) => {
            let style = if said.failed {
                palette.bad()
            } else {
                palette.good()
            };
            Line::styled(text::line(&said.text), style)
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

fn asked(asks: &Prompt, top: &Top) -> String {
    match asks {
        Prompt::Send { to, urgent } => {
            let how = if *urgent { ", at once" } else { "" };
            format!("to {to}{how} ▸ ")
        }
        Prompt::Spawn => {
            let roles: Vec<_> = top.team.roles.iter().map(|it| it.name.as_str()).collect();
            match roles.as_slice() {
                [] => "role, and a name ▸ ".to_owned(),
                roles => format!("role ({}), and a name ▸ ", roles.join(" ")),
            }
        }
        Prompt::Filter => "only what has ▸ ".to_owned(),
    }
}

/// The end of what is typed is always in sight.
fn prompt(frame: &mut Frame<'_>, area: Rect, asked: &str, typed: &str, palette: Palette) {
    let columns = usize::from(area.width);
    let asked = text::cut(asked, columns / 2).into_owned();
    let room = columns.saturating_sub(asked.width() + 1);
    let mut shown = text::line(typed);
    // Blanks at the end are seen while they are typed.
    shown.extend(std::iter::repeat_n(
        ' ',
        typed.len() - typed.trim_end().len(),
    ));
    while shown.width() > room {
        shown.remove(0);
    }
    let at = asked.width() + shown.width();
    let line = Line::from(vec![Span::styled(asked, palette.calls()), Span::raw(shown)]);
    frame.render_widget(line, area);
    let column = area.x.saturating_add(u16::try_from(at).unwrap_or(u16::MAX));
    frame.set_cursor_position(Position::new(column.min(area.right()), area.y));
}

fn confirm(deed: &Deed) -> String {
    match deed {
        Deed::Kill(member) => format!("kill {member} and all that runs for it?"),
        Deed::Stop(member) => format!("stop {member}?"),
        Deed::Restart(member) => format!("restart {member}?"),
        Deed::Down => "end the whole team?".to_owned(),
        // Nobody asks about these.
        Deed::Decide(_) | Deed::Send { .. } | Deed::Spawn { .. } => String::new(),
    }
}
