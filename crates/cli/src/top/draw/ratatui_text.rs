//! Converts styles and lines of the user interface to ratatui's types, and draws lines and lists.

use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Style, Theme};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use ratatui::text;

fn style(style: Style, theme: Theme) -> ratatui::style::Style {
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
        fg: theme.colour(style.colour).map(Color::Indexed),
        add_modifier: set.map(|(_, modifier)| modifier).collect(),
        ..ratatui::style::Style::new()
    }
}

fn line(line: &Line, theme: Theme) -> text::Line<'_> {
    let spans = line.spans();
    spans
        .map(|(span_style, text)| text::Span::styled(text, style(span_style, theme)))
        .collect()
}

pub(super) fn put(frame: &mut Frame<'_>, row: Rect, content: &Line, theme: Theme) {
    frame.render_widget(line(content, theme), row);
}

/// Whether an entry of a list is selected, and whether its list has the focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    Selected,
    Focused,
}

/// The columns before the text of an entry.
pub(super) const MARK_WIDTH: usize = 2;

/// Draws an entry of a list. A sign marks the selected entry. In the list with the focus, the row of that entry also
/// has a background.
pub(super) fn put_entry(
    frame: &mut Frame<'_>,
    row: Rect,
    content: &Line,
    mark: Mark,
    theme: Theme,
) {
    let (sign, style) = match mark {
        Mark::None => ("  ", Style::PLAIN),
        Mark::Selected => ("› ", Style::DIM),
        Mark::Focused => ("▸ ", Style::BOLD),
    };
    let mut marked = Line::of(style, sign);
    marked.append(content);
    put(frame, row, &marked, theme);
    if mark == Mark::Focused
        && let Some(background) = theme.selection()
    {
        let background = ratatui::style::Style::new().bg(Color::Indexed(background));
        frame.buffer_mut().set_style(row, background);
    }
}
