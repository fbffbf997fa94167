//! The live rows at the bottom of the terminal, which are repainted when they change. Finished lines are printed above
//! them and scroll into the terminal's own scrollback. Used by the transcript view; pure: it returns bytes and writes
//! none.
//!
//! ```text
//!   finished lines: the terminal wraps, searches, copies and scrolls them
//!   ├─ live rows: never wider or higher than the screen
//!   └─ the cursor is in one of them
//! ```
//! The cursor position is never queried: the canvas knows how many rows it has painted, and computes how a narrower
//! terminal has rewrapped them.

use std::collections::VecDeque;

use crate::line::Line;
use crate::style::Theme;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// Turns wrapping off, because a character may be wider on the terminal than this crate computes.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// Erases the cursor's line, then the lines below it, and returns to the cursor's line. `CSI J` alone, from the first
/// cell of the screen, makes tmux move all erased lines to its scrollback (`screen_write_clearendofscreen`): the
/// scrollback would contain each repaint of rows that fill the screen.
const ERASE_BELOW: &str = "\x1b[2K\x1b7\x1b[B\x1b[J\x1b8";

#[derive(Debug, Default)]
pub(crate) struct Canvas {
    /// 0 before the first paint.
    columns: usize,
    rows: usize,
    /// The rows on the screen.
    live: Vec<Line>,
    /// Row and column within the live rows.
    cursor: (usize, usize),
}

impl Canvas {
    /// The bytes that show these lines and rows; empty if nothing has changed.
    pub(crate) fn paint(
        &mut self,
        (columns, rows): (u16, u16),
        finished: &VecDeque<Line>,
        live: Vec<Line>,
        cursor: (usize, usize),
        theme: Theme,
    ) -> Vec<u8> {
        let size = (columns.max(2).into(), rows.max(1).into());
        let resized = size != (self.columns, self.rows);
        if !resized && finished.is_empty() && live == self.live && cursor == self.cursor {
            return Vec::new();
        }
        (self.columns, self.rows) = size;
        let mut text = self.erase_live_rows();
        for line in finished {
            text.push_str(&line.ansi(theme));
            text.push_str("\r\n");
        }
        text.push_str(NO_WRAP);
        for (number, row) in live.iter().enumerate() {
            let end = if number == 0 { "" } else { "\r\n" };
            text.push_str(end);
            text.push_str(&row.ansi(theme));
        }
        text.push_str(WRAP);
        let (row, column) = cursor;
        text.push_str(&up(live.len().saturating_sub(row + 1)));
        text.push('\r');
        if column > 0 {
            text.push_str(&format!("\x1b[{column}C"));
        }
        text.push_str(SHOW_CURSOR);
        (self.live, self.cursor) = (live, cursor);
        text.into_bytes()
    }

    /// The bytes that erase the live rows, before another program writes to the terminal.
    pub(crate) fn leave(&mut self) -> Vec<u8> {
        let text = format!("{}{SHOW_CURSOR}", self.erase_live_rows());
        self.live.clear();
        self.cursor = (0, 0);
        text.into_bytes()
    }

    /// The bytes that move to the start of the first live row and erase everything from there.
    fn erase_live_rows(&self) -> String {
        let (row, column) = self.cursor;
        // The number of rows above the cursor after the terminal has rewrapped them to its current width.
        let above: usize = self.live[..row.min(self.live.len())]
            .iter()
            .map(|line| line.width().div_ceil(self.columns).max(1))
            .sum();
        let above = above + column / self.columns.max(1);
        format!("{HIDE_CURSOR}\r{}{ERASE_BELOW}", up(above.min(self.rows)))
    }
}

fn up(rows: usize) -> String {
    if rows == 0 {
        String::new()
    } else {
        format!("\x1b[{rows}A")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Style;

    fn lines(texts: &[&str]) -> Vec<Line> {
        texts
            .iter()
            .map(|text| Line::of(Style::PLAIN, text))
            .collect()
    }

    fn painted(
        canvas: &mut Canvas,
        columns: u16,
        finished: &[&str],
        live: &[&str],
        cursor: (usize, usize),
    ) -> String {
        let finished = lines(finished).into();
        let bytes = canvas.paint((columns, 10), &finished, lines(live), cursor, Theme::Dark);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn finished_lines_replace_live_rows() {
        let mut canvas = Canvas::default();
        let first = painted(&mut canvas, 20, &[], &["tail", "▸ "], (1, 2));
        assert_eq!(
            first,
            "\x1b[?25l\r\x1b[2K\x1b7\x1b[B\x1b[J\x1b8\x1b[?7ltail\r\n▸ \x1b[?7h\r\x1b[2C\x1b[?25h"
        );
        let second = painted(&mut canvas, 20, &["tail end"], &["▸ "], (0, 2));
        assert_eq!(
            second,
            "\x1b[?25l\r\x1b[1A\x1b[2K\x1b7\x1b[B\x1b[J\x1b8tail end\r\n\x1b[?7l▸ \x1b[?7h\r\x1b[2C\x1b[?25h"
        );
    }

    #[test]
    fn an_unchanged_view_writes_nothing() {
        let mut canvas = Canvas::default();
        assert!(!painted(&mut canvas, 20, &[], &["▸ "], (0, 2)).is_empty());
        assert!(painted(&mut canvas, 20, &[], &["▸ "], (0, 2)).is_empty());
        assert!(!painted(&mut canvas, 30, &[], &["▸ "], (0, 2)).is_empty());
    }

    #[test]
    fn rows_are_recounted_on_a_narrower_terminal() {
        let mut canvas = Canvas::default();
        painted(&mut canvas, 20, &[], &["0123456789abcde", "▸ "], (1, 2));
        let narrow = painted(&mut canvas, 6, &[], &["01234", "▸ "], (1, 2));
        assert!(
            narrow.starts_with("\x1b[?25l\r\x1b[3A\x1b[2K\x1b7\x1b[B\x1b[J\x1b8"),
            "{narrow:?}"
        );
    }
}
