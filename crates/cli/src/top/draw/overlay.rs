//! What takes the place of everything else for a while: the help, and a request that is open for an answer.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Palette;
use crate::top::question::{Question, Tone};

const HELP: [(&str, &str); 21] = [
    ("↑ ↓  k j", "select a member"),
    ("g", "select who waits for you longest"),
    ("tab  1-4", "output, board, requests, messages"),
    ("page up, down", "scroll"),
    ("/", "show only what has this text; esc shows all"),
    ("", ""),
    ("r", "read a request, and answer it:"),
    ("  y", "allow it this once"),
    ("  1-9", "allow what its line says, for the whole team"),
    ("  n", "deny it"),
    ("  esc", "leave it waiting"),
    ("d", "who decided what before; d again: what waits"),
    ("", ""),
    ("a  enter", "into the member's pane"),
    ("s", "send a message to the member; S to all"),
    ("!", "the same, and interrupt what it is at"),
    ("n", "spawn a member"),
    ("x", "stop the member: it is asked to end"),
    ("K  R", "kill the member; restart it"),
    ("Q", "end the whole team"),
    ("q", "quit; the team goes on"),
];

pub(super) fn help(frame: &mut Frame<'_>, area: Rect, palette: Palette) {
    for ((keys, what), row) in HELP.into_iter().zip(area.rows()) {
        let keys = Span::styled(format!("{keys:<14}"), palette.strong());
        frame.render_widget(Line::from(vec![keys, Span::raw(what)]), row);
    }
}

/// Returns the columns and rows that it stood in.
pub(super) fn question(
    frame: &mut Frame<'_>,
    area: Rect,
    question: &Question,
    palette: Palette,
) -> (usize, usize) {
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    for ((tone, line), row) in question.lines(columns, rows).into_iter().zip(area.rows()) {
        let style = match tone {
            Tone::Plain => palette.plain(),
            Tone::Removed => palette.bad(),
            Tone::Added => palette.good(),
        };
        frame.render_widget(Line::styled(line, style), row);
    }
    (columns, rows)
}
