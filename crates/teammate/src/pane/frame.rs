//! Paints frames of a terminal program's screen: the changes since the previous frame. Called by the pane of a terminal
//! program. Pure.
//!
//! A frame consists of rows that the model formats, cursor positions, and changes of modes. The rows that leave the
//! main screen scroll into the history of the terminal.

use std::fmt::Write as _;

use crate::inner_pty::screen::{Modes, Screen};

/// The content of a terminal.
#[derive(Debug)]
pub(super) struct Painter {
    /// `None`: the content of the row is unknown.
    rows: Vec<Option<String>>,
    modes: Modes,
    /// The number of past rows that need not be written, because the history of this terminal already contains them.
    /// `None`: rows that leave the screen before the next frame are not written.
    seen: Option<usize>,
}

impl Painter {
    /// Creates the painter of a terminal with unknown content and default modes. `with_history`: the first frame also
    /// contains the rows that have already left the screen.
    pub(super) fn new(with_history: bool) -> Self {
        Self {
            rows: Vec::new(),
            modes: Modes::default(),
            seen: with_history.then_some(0),
        }
    }

    /// Called after the terminal has been resized, so that its content is unknown. If the terminal has shown a frame,
    /// its history is complete.
    pub(super) fn resized(&mut self) {
        if !self.rows.is_empty() {
            self.rows.clear();
            self.seen = None;
        }
    }

    /// The bytes that make the terminal show the screen, with `notice` over its last rows.
    pub(super) fn frame(&mut self, screen: &Screen, notice: Vec<String>) -> Vec<u8> {
        let modes = screen.modes();
        let mut out = "\x1b[?25l".to_owned();
        out.push_str(&modes.changes(&self.modes));
        if modes.alternate_screen != self.modes.alternate_screen {
            self.rows.clear();
        }
        self.modes = modes;
        let mut rows = screen.rows();
        let height = rows.len();
        self.rows.resize(height, None);
        if !modes.alternate_screen {
            self.scroll(screen, height, &mut out);
        }
        let covered = notice.len().min(height);
        rows.splice(height - covered.., notice.into_iter().take(covered));
        for (number, (row, shown)) in rows.into_iter().zip(&mut self.rows).enumerate() {
            if shown.as_ref() != Some(&row) {
                // Erase before writing: erasing after a character in the last column would erase that character.
                let _infallible = write!(out, "\x1b[{};1H\x1b[m\x1b[2K{row}", number + 1);
                *shown = Some(row);
            }
        }
        let (row, column) = screen.cursor();
        let _infallible = write!(out, "\x1b[m\x1b[{};{}H", row + 1, column + 1);
        out.push_str(modes.cursor());
        out.into_bytes()
    }

    /// Scrolls the rows that have left the screen into the history of the terminal. Each row is written to the first
    /// row of the terminal; then a newline in the last row scrolls the terminal.
    fn scroll(&mut self, screen: &Screen, height: usize, out: &mut String) {
        let seen = self.seen.replace(screen.past_rows());
        for past in screen.past_since(seen.unwrap_or(usize::MAX)) {
            let _infallible = write!(out, "\x1b[1;1H\x1b[m\x1b[2K{past}\x1b[m\x1b[{height};1H");
            out.push('\n');
            self.rows.rotate_left(1);
            if let Some(last) = self.rows.last_mut() {
                *last = Some(String::new());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u16, u16) = (24, 6);

    /// Pieces of a program's output, including hostile and unfinished pieces.
    const PIECES: &[&str] = &[
        "hello world",
        "\r\n",
        "\n\n\n",
        "wide 漢字 and ✔\u{fe0f} and e\u{301}",
        "\x1b[31;1mred\x1b[m",
        "\x1b[48;2;1;2;3mblue ",
        "\x1b[2J",
        "\x1b[H",
        "\x1b[3;24Hxy",
        "\x1b[6;1H",
        "\x1b[K",
        "\x1b[1K",
        "\x1b[2;4r",
        "\x1b[r",
        "\x1bM",
        "\x1b[2L",
        "\x1b[3P",
        "\x1b[4@",
        "\x1b[5X",
        "x\x1b[40b",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "\x1b[?1003;1006;2004h",
        "\x1b[?1003;1006;2004l",
        "\x1b[?25l",
        "\x1b[?25h",
        "\x1b7",
        "\x1b8",
        "\x1bc",
        "\x1b]52;c;aGk=\x07",
        "\x1b]0;title\x1b\\",
        "\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\",
        "\x1b[21t",
        "\x1b_Gimage\x1b\\",
        "\x1b[>1u",
        "\u{9b}31m\u{9d}0;x\u{9c}",
        "\x1b[",
        "\x1b]0;",
        "\u{202e}",
        "\x0e\x07\x00",
    ];

    /// A reproducible source of choices.
    struct Choices(u64);

    impl Choices {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 11).unwrap() % end
        }
    }

    fn terminal() -> vt100::Parser {
        let [columns, rows] = [SIZE.0, SIZE.1].map(|it| it.try_into().unwrap());
        vt100::Parser::new(rows, columns, 10_000)
    }

    /// Fails if the frame contains a sequence that is not on the list.
    fn assert_allowed(frame: &[u8]) {
        let text = std::str::from_utf8(frame).unwrap();
        let mut parts = text.split('\x1b');
        let controls = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!controls(parts.next().unwrap()), "{text:?}");
        for part in parts {
            assert!(!controls(part), "{text:?}");
            if part.starts_with(['=', '>']) {
                continue;
            }
            let sequence = part.strip_prefix('[').expect("a control sequence");
            let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
            let (parameters, rest) = sequence.split_at(end);
            let allowed = match &rest[..1] {
                "H" | "G" | "K" | "m" => "0123456789;",
                "h" | "l" => "?0123456789",
                "q" => "0123456789 ",
                _ => "",
            };
            assert!(
                !parameters.is_empty() || rest.starts_with('m'),
                "{sequence:?}"
            );
            assert!(parameters.chars().all(|c| allowed.contains(c)), "{part:?}");
        }
    }

    #[test]
    fn any_program_output_leaves_screen_and_terminal_equal() {
        let mut choices = Choices(0x2545_f491_4f6c_dd1d);
        for _ in 0..300 {
            let (mut screen, mut painter) = (Screen::new(SIZE), Painter::new(true));
            let mut terminal = terminal();
            for _ in 0..30 {
                for _ in 0..=choices.below(4) {
                    let piece = PIECES[choices.below(PIECES.len())];
                    screen.feed(piece.as_bytes());
                }
                let frame = painter.frame(&screen, Vec::new());
                assert_allowed(&frame);
                terminal.process(&frame);
                let shown = terminal.screen();
                let rows = (0..SIZE.1).map(|row| shown_row(shown, row));
                let wanted = screen.text();
                assert_eq!(rows.collect::<Vec<_>>().join("\n").trim_end(), wanted);
                assert_eq!(shown.cursor_position(), screen.cursor());
                assert_eq!(shown.alternate_screen(), screen.modes().alternate_screen);
            }
        }
    }

    fn shown_row(screen: &vt100::Screen, row: u16) -> String {
        let text = screen.rows(0, SIZE.0).nth(row.into()).unwrap();
        text.trim_end().to_owned()
    }

    #[test]
    fn an_unchanged_screen_costs_a_few_bytes() {
        let (mut screen, mut painter) = (Screen::new(SIZE), Painter::new(true));
        screen.feed(b"hello\r\nworld");
        assert!(painter.frame(&screen, Vec::new()).len() > 20);
        let same = String::from_utf8(painter.frame(&screen, Vec::new())).unwrap();
        assert_eq!(same, "\x1b[?25l\x1b[m\x1b[2;6H\x1b[?25h");
    }

    #[test]
    fn past_rows_are_in_the_history_of_the_terminal() {
        let (mut screen, mut painter) = (Screen::new(SIZE), Painter::new(true));
        let mut terminal = terminal();
        for row in 0..50 {
            screen.feed(format!("row {row}\r\n").as_bytes());
            if row % 7 == 0 {
                terminal.process(&painter.frame(&screen, Vec::new()));
            }
        }
        terminal.process(&painter.frame(&screen, Vec::new()));
        assert_eq!(terminal.screen().scrollback_len(), 45);
        terminal.screen_mut().set_scrollback(45);
        assert_eq!(shown_row(terminal.screen(), 0), "row 0");
        // A new terminal also receives the past rows, even if it is resized first. A resized terminal already has them.
        let mut again = self::terminal();
        painter = Painter::new(true);
        painter.resized();
        again.process(&painter.frame(&screen, Vec::new()));
        assert_eq!(again.screen().scrollback_len(), 45);
        painter.resized();
        again.process(&painter.frame(&screen, Vec::new()));
        assert_eq!(again.screen().scrollback_len(), 45);
    }

    #[test]
    fn a_notice_covers_the_last_rows_until_it_is_removed() {
        let (mut screen, mut painter) = (Screen::new(SIZE), Painter::new(true));
        let mut terminal = terminal();
        screen.feed(b"\x1b[5;1Hfive\x1b[6;1Hsix\x1b[1;1H");
        let notice = vec!["\x1b[7mhello".to_owned()];
        terminal.process(&painter.frame(&screen, notice));
        assert_eq!(shown_row(terminal.screen(), 5), "hello");
        assert_eq!(terminal.screen().cursor_position(), (0, 0));
        terminal.process(&painter.frame(&screen, Vec::new()));
        assert_eq!(shown_row(terminal.screen(), 5), "six");
    }
}
