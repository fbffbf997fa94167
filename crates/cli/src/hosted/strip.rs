//! All members in a line, the one who is shown in brackets. Used by [`super::state`]; pure.
//!
//! ```text
//!   lea ○ [ada ◐] ben ?•        ‹• fay ○ [gus ◐] ›?
//! ```
//! Who is shown is always in sight. Where others have no room, the arrow that stands for them says whether one of them
//! asks, or has said something.

use agent_team_protocol::MemberName;
use agent_team_protocol::spec::Colour;
use agent_team_terminal_ui::line::{Line, Look};

/// What stands for somebody who said something since she was shown.
const NEWS: &str = "•";

/// What stands for somebody who asks for a permission.
pub(super) const ASKS: &str = "?";

/// Columns of an arrow with its sign.
const ARROW: usize = 2;

/// One member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'a> {
    pub(super) name: &'a MemberName,
    pub(super) colour: Colour,
    /// Her state, one column.
    pub(super) sign: &'static str,
    pub(super) news: bool,
}

impl Mark<'_> {
    fn line(&self, is_shown: bool) -> Line {
        let look = Look {
            bold: is_shown,
            ..Look::coloured(self.colour.ansi256())
        };
        let (open, close) = if is_shown { ("[", "]") } else { (" ", " ") };
        let mut line = Line::of(Look::DIM, open);
        line.push(look, self.name.as_str());
        line.push(Look::PLAIN, &format!(" {}", self.sign));
        if self.news {
            line.push(look, NEWS);
        }
        line.push(Look::DIM, close);
        line
    }
}

/// The strip, in at most so many columns as far as the one who is shown has room in them. `shown`: which one that is.
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
            // Those behind first, as one reads.
            let behind = lines.get(end).map(Line::width);
            let before = first.checked_sub(1).map(|at| lines[at].width());
            match (behind, before) {
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
        strip.push(Look::DIM, &arrow("‹", &marks[..first]));
    }
    for line in &lines[first..end] {
        strip.append(line);
    }
    if end < marks.len() {
        strip.push(Look::DIM, &arrow("›", &marks[end..]));
    }
    strip
}

fn arrow(arrow: &str, hidden: &[Mark<'_>]) -> String {
    let sign = if hidden.iter().any(|mark| mark.sign == ASKS) {
        ASKS
    } else if hidden.iter().any(|mark| mark.news) {
        NEWS
    } else {
        " "
    };
    format!("{arrow}{sign}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(shown: usize, columns: usize, asks: Option<usize>, news: Option<usize>) -> String {
        let names: Vec<MemberName> = ["lea", "ada", "ben", "cleo", "dora", "eve", "fay"]
            .map(|name| name.parse().unwrap())
            .into();
        let marks: Vec<_> = (0..)
            .zip(&names)
            .map(|(at, name)| Mark {
                name,
                colour: Colour::Blue,
                sign: if asks == Some(at) { ASKS } else { "○" },
                news: news == Some(at),
            })
            .collect();
        let strip = strip(&marks, shown, columns);
        assert!(strip.width() <= columns, "{}", strip.text());
        strip.text()
    }

    #[test]
    fn who_is_shown_is_in_sight_and_arrows_stand_for_the_others() {
        let all = " lea ○  ada ○ [ben ○] cleo ○  dora ○  eve ○  fay ○ ";
        assert_eq!(shown(2, 80, None, None), all);
        assert_eq!(shown(0, 30, None, Some(6)), "[lea ○] ada ○  ben ○ ›•");
        assert_eq!(shown(5, 30, Some(0), Some(1)), "‹? dora ○ [eve ○] fay ○ ");
        assert_eq!(shown(6, 30, None, None), "‹  dora ○  eve ○ [fay ○]");
    }
}
