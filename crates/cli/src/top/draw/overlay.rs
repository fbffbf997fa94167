//! The pages that cover the whole screen: the help and an open request.

use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Ink, Style, Theme};
use ratatui::Frame;
use ratatui::layout::Rect;

use super::ratatui_text::put;
use crate::top::question::{Question, Tone};

const HELP: [(&str, &str); 21] = [
    ("↑ ↓  k j", "select a member"),
    ("g", "select the member that waits for you longest"),
    ("tab  1-4", "output, board, requests, messages"),
    ("page up, down", "scroll"),
    ("/", "filter by a text; esc clears the filter"),
    ("", ""),
    ("r", "open a request and answer it:"),
    (
        "  y",
        "allow it: once, or as default_scope of your settings",
    ),
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

pub(super) fn help(frame: &mut Frame<'_>, area: Rect, theme: Theme) {
    for ((keys, what), row) in HELP.into_iter().zip(area.rows()) {
        let mut line = Line::of(Style::BOLD, &format!("{keys:<14}"));
        line.push(Style::PLAIN, what);
        put(frame, row, &line, theme);
    }
}

/// Draws an open request; returns the columns and rows that were available.
pub(super) fn question(
    frame: &mut Frame<'_>,
    area: Rect,
    question: &Question,
    theme: Theme,
) -> (usize, usize) {
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    for ((tone, line), row) in question.lines(columns, rows).into_iter().zip(area.rows()) {
        let style = match tone {
            Tone::Plain => Style::PLAIN,
            Tone::Removed => Style::of(Ink::Removed),
            Tone::Added => Style::of(Ink::Added),
        };
        put(frame, row, &Line::of(style, &line), theme);
    }
    (columns, rows)
}
