//! The first line of the screen: team and totals.

use agent_team_protocol::view::{MemberState, TeamState};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Style, Theme};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text;
use unicode_width::UnicodeWidthStr;

use super::ratatui_text::put;
use crate::output::style::{ATTENTION, BAD, GOOD};
use crate::output::usage;
use crate::top::state::{Top, waiting};

/// `payments · 2 working · 1 waiting · 3 failed · 5 done · mode default          12.3k tokens · $0.42`
///
/// `working` and `waiting` count members; `failed` and `done` count tasks.
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
    let counts = [
        (waiting(&team.members) as u64, "waiting", ATTENTION),
        (team.tasks.failed, "failed", BAD),
        (team.tasks.completed, "done", GOOD),
    ];
    for (count, what, style) in counts {
        if count > 0 {
            add(&format!("{count} {what}"), style);
        }
    }
    let has_agents = team.members.iter().any(|it| it.engine.uses_model());
    if let Some(mode) = team.mode.filter(|_| has_agents) {
        add(&format!("mode {mode}"), Style::DIM);
    }
    let spent = match team.usage.tokens() {
        0 => String::new(),
        _ => usage::spent(&team.usage),
    };
    let room = usize::from(area.width).saturating_sub(left.width() + 2);
    put(frame, area, &left.cut(area.width.into()), theme);
    if spent.width() <= room {
        frame.render_widget(text::Line::raw(spent).right_aligned(), area);
    }
}
