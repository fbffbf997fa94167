//! The line that lists the members; the shown member is in brackets. Used by [`super::state`]; pure.
//!
//! ```text
//!   lea ○ [ada ◐] ben ?•        ‹• fay ○ [gus ◐] ›?
//! ```
//! The shown member is always visible. An arrow replaces members that do not fit; the sign beside the arrow shows
//! whether one of these members has a permission request or unread output.

use agent_team_protocol::MemberName;
use agent_team_protocol::spec::Colour;
use agent_team_protocol::status::Status;
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{SemanticColour, Style};

/// The sign of a member that has printed output since it was last shown.
const UNREAD: &str = "•";

/// The sign of a member with a permission request.
const REQUEST: &str = Status::Waiting.sign();

/// Width of an arrow with its sign.
const ARROW: usize = 2;

#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'a> {
    pub(super) name: &'a MemberName,
    pub(super) colour: Colour,
    /// The sign of the state, one column wide.
    pub(super) sign: &'static str,
    /// The style of the state.
    pub(super) style: Style,
    pub(super) has_unread: bool,
}

impl Mark<'_> {
    fn line(&self, is_shown: bool) -> Line {
        let style = Style {
            bold: is_shown,
            ..Style::of(SemanticColour::Member(self.colour))
        };
        let (open, close) = if is_shown { ("[", "]") } else { (" ", " ") };
        let mut line = Line::of(Style::DIM, open);
        line.push(style, self.name.as_str());
        line.push(Style::PLAIN, " ");
        line.push(self.style, self.sign);
        if self.has_unread {
            line.push(Style::PLAIN, UNREAD);
        }
        line.push(Style::DIM, close);
        line
    }
}

/// Builds the strip in at most `columns` columns, or in more if the shown member and the arrows need more. `shown` is
/// the index of the shown member.
pub(super) fn strip(marks: &[Mark<'_>], shown: usize, columns: usize) -> Line {
    let lines: Vec<Line> = (0..)
        .zip(marks)
        .map(|(at, mark)| mark.line(at == shown))
        .collect();
    let all: usize = lines.iter().map(Line::width).sum();
    let (mut first, mut end) = (0, marks.len());
    if all > columns {
        let room = columns.saturating_sub(2 * ARROW);
        (first, end) = (shown, shown + 1);
        let mut taken = lines[shown].width();
        loop {
            // Prefer the members after the shown member.
            let next = lines.get(end).map(Line::width);
            let previous = first.checked_sub(1).map(|at| lines[at].width());
            match (next, previous) {
                (Some(width), _) if taken + width <= room => {
                    (end, taken) = (end + 1, taken + width)
                }
                (_, Some(width)) if taken + width <= room => {
                    (first, taken) = (first - 1, taken + width);
                }
                _ => break,
            }
        }
    }
    let mut strip = Line::default();
    if first > 0 {
        strip.push(Style::DIM, &arrow("‹", &marks[..first]));
    }
    for line in &lines[first..end] {
        strip.append(line);
    }
    if end < marks.len() {
        strip.push(Style::DIM, &arrow("›", &marks[end..]));
    }
    strip
}

fn arrow(arrow: &str, hidden: &[Mark<'_>]) -> String {
    let sign = if hidden.iter().any(|mark| mark.sign == REQUEST) {
        REQUEST
    } else if hidden.iter().any(|mark| mark.has_unread) {
        UNREAD
    } else {
        " "
    };
    format!("{arrow}{sign}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(
        shown: usize,
        columns: usize,
        request: Option<usize>,
        unread: Option<usize>,
    ) -> String {
        let names: Vec<MemberName> = ["lea", "ada", "ben", "cleo", "dora", "eve", "fay"]
            .map(|name| name.parse().unwrap())
            .into();
        let marks: Vec<_> = (0..)
            .zip(&names)
            .map(|(at, name)| Mark {
                name,
                colour: Colour::Blue,
                sign: if request == Some(at) { REQUEST } else { "○" },
                style: Style::PLAIN,
                has_unread: unread == Some(at),
            })
            .collect();
        let strip = strip(&marks, shown, columns);
        assert!(strip.width() <= columns, "{}", strip.text());
        strip.text()
    }

    #[test]
    fn arrows_replace_members_that_do_not_fit() {
        let all = " lea ○  ada ○ [ben ○] cleo ○  dora ○  eve ○  fay ○ ";
        assert_eq!(shown(2, 80, None, None), all);
        assert_eq!(shown(0, 30, None, Some(6)), "[lea ○] ada ○  ben ○ ›•");
        assert_eq!(shown(5, 30, Some(0), Some(1)), "‹? dora ○ [eve ○] fay ○ ");
        assert_eq!(shown(6, 30, None, None), "‹  dora ○  eve ○ [fay ○]");
    }
}
