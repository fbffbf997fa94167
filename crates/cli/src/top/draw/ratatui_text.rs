//! Converts styles and lines of the user interface to those of ratatui, and draws lines.

use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Style, Theme};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use ratatui::text;

pub(super) fn style(style: Style, theme: Theme) -> ratatui::style::Style {
    let modifiers = [
        (style.bold, Modifier::BOLD),
        (style.dim, Modifier::DIM),
        (style.italic, Modifier::ITALIC),
        (style.underlined, Modifier::UNDERLINED),
        (style.struck, Modifier::CROSSED_OUT),
        (style.reversed, Modifier::REVERSED),
    ];
    let set = modifiers.into_iter().filter(|(is_set, _)| *is_set);
    ratatui::style::Style {
        fg: theme.colour(style.ink).map(Color::Indexed),
        add_modifier: set.map(|(_, modifier)| modifier).collect(),
        ..ratatui::style::Style::new()
    }
}

pub(super) fn line(line: &Line, theme: Theme) -> text::Line<'_> {
    let spans = line.spans();
    spans
        .map(|(of, text)| text::Span::styled(text, style(of, theme)))
        .collect()
}

/// Draws a line into a row.
pub(super) fn put(frame: &mut Frame<'_>, row: Rect, of: &Line, theme: Theme) {
    frame.render_widget(line(of, theme), row);
}
