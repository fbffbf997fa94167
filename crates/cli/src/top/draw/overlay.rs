//! The pages that cover the whole screen: the help and an open request.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Palette;
use crate::top::question::{Question, Tone};

const HELP: [(&str, &str); 21] = [
    ("↑ ↓  k j", "select a member"),
    ("g", "select the member that waits for you longest"),
    ("tab  1-4", "output, board, requests, messages"),
    ("page up, down", "scroll"),
    ("/", "filter by a text; esc clears the filter"),
    ("", ""),
    ("r", "open a request and answer it:"),
    ("  y", "allow it once"),
    ("  1-9", "allow the numbered rule for the whole team"),
    ("  n", "deny it"),
    ("  esc", "leave it pending"),
    ("d", "switch between decided and pending requests"),
    ("", ""),
    ("a  enter", "attach to the member's pane"),
    ("s", "send a message to the member; S to all"),
    ("!", "send an urgent message that interrupts the member"),
    ("n", "spawn a member"),
    ("x", "ask the member to stop"),
    ("K  R", "kill the member; restart it"),
    ("Q", "stop the whole team"),
    ("q", "quit; the team keeps running"),
];

pub(super) fn help(frame: &mut Frame<'_>, area: Rect, palette: Palette) {
    for ((keys, what), row) in HELP.into_iter().zip(area.rows()) {
        let keys = Span::styled(format!("{keys:<14}"), palette.strong());
        frame.render_widget(Line::from(vec![keys, Span::raw(what)]), row);
    }
}

/// Draws an open request; returns the columns and rows that were available.
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
