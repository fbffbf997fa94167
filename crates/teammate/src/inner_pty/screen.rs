//! The model of a program's screen: the content that the program has drawn, and the modes that it has set. The only
//! module that uses the crate `vt100`. Called by `inner_pty`, which feeds the model, and by the pane, which paints
//! frames from it.
//!
//! A program's bytes never reach a real terminal. The terminal receives only the content of this model: characters with
//! colours and attributes, and the modes in [`Modes`]. The model drops other sequences, such as clipboard access (OSC
//! 52), tmux's passthrough (DCS), images, titles and keyboard protocols. So a hostile program can neither change the
//! user's clipboard nor make the terminal type an answer.
//!
//! The model answers queries of the program, so the answers are the same with and without a terminal.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::num::NonZeroU16;

use agent_team_protocol::text::is_deceptive;
use vt100::capture::{BasicFormattedCaptureState, RowContents, basic_formatted_to_plain};
use vt100::{Callbacks, Cell, Color, CursorStyle, MouseProtocolEncoding, MouseProtocolMode};

use crate::engine::Size;

/// The number of rows above the screen that the model keeps for a new terminal.
const HISTORY_ROWS: usize = 1_000;

/// The largest size of a model. A larger terminal shows the program in its upper left corner.
const SIZE_MAX: Size = (1_000, 500);

/// The largest number of unsent bytes of answers. A program that sends more queries gets no answers to them.
const ANSWERS_MAX: usize = 1 << 10;

/// Characters of emoji sequences: the zero-width joiner, and the selectors of text and emoji style.
const EMOJI: [char; 3] = ['\u{200d}', '\u{fe0e}', '\u{fe0f}'];

/// The selector of emoji style. It widens the character before it. In the last column, the character then extends
/// beyond the screen, and the parser panics at the next character there.
const EMOJI_STYLE: &[u8] = "\u{fe0f}".as_bytes();

/// The sequence that resets the terminal. The parser handles the sequence without reporting it.
const FULL_RESET: &[u8] = b"\x1bc";

pub(crate) struct Screen {
    parser: vt100::Parser<SideEffects>,
    /// The last bytes of the output, if they may be the beginning of [`EMOJI_STYLE`] or [`FULL_RESET`].
    partial: Vec<u8>,
}

/// A row that has left the screen at its top.
#[derive(Debug)]
struct PastRow {
    /// The row for a terminal: characters and SGR sequences.
    formatted: String,
    plain: String,
}

/// The effects of a program's output outside of the screen.
#[derive(Default)]
struct SideEffects {
    answers: Vec<u8>,
    /// The rows that have left the main screen, oldest first.
    history: VecDeque<PastRow>,
    /// The number of all rows that have ever left the main screen.
    past_rows: usize,
    /// The program has requested a report when the terminal gets or loses the focus.
    reports_focus: bool,
}

/// The modes of a terminal that a program can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) alternate_screen: bool,
    application_cursor: bool,
    application_keypad: bool,
    bracketed_paste: bool,
    mouse: MouseProtocolMode,
    mouse_encoding: MouseProtocolEncoding,
    reports_focus: bool,
    hides_cursor: bool,
    cursor_style: CursorStyle,
}

impl Default for Modes {
    /// The modes of a terminal that no program has changed.
    fn default() -> Self {
        Self {
            alternate_screen: false,
            application_cursor: false,
            application_keypad: false,
            bracketed_paste: false,
            mouse: MouseProtocolMode::None,
            mouse_encoding: MouseProtocolEncoding::Default,
            reports_focus: false,
            hides_cursor: false,
            cursor_style: CursorStyle::Default,
        }
    }
}

impl Modes {
    /// The sequences that change a terminal from the modes `before` to these modes.
    pub(crate) fn changes(&self, before: &Self) -> String {
        let mut out = String::new();
        let mut switch = |number: u16, before: bool, now: bool| {
            if before != now {
                let last = if now { 'h' } else { 'l' };
                let _infallible = write!(out, "\x1b[?{number}{last}");
            }
        };
        switch(1049, before.alternate_screen, self.alternate_screen);
        switch(1, before.application_cursor, self.application_cursor);
        switch(2004, before.bracketed_paste, self.bracketed_paste);
        switch(1004, before.reports_focus, self.reports_focus);
        let mouse = [
            (9, MouseProtocolMode::Press),
            (1000, MouseProtocolMode::PressRelease),
            (1002, MouseProtocolMode::ButtonMotion),
            (1003, MouseProtocolMode::AnyMotion),
        ]
        .map(|(number, mode)| (number, before.mouse == mode, self.mouse == mode));
        let encoding = [
            (1005, MouseProtocolEncoding::Utf8),
            (1006, MouseProtocolEncoding::Sgr),
        ]
        .map(|(number, encoding)| {
            let was = before.mouse_encoding == encoding;
            (number, was, self.mouse_encoding == encoding)
        });
        // Reset modes before setting others: the reset of one mouse mode turns off the mouse in all modes.
        for is_set in [false, true] {
            for (number, before, now) in mouse.into_iter().chain(encoding) {
                if now == is_set {
                    switch(number, before, now);
                }
            }
        }
        if before.application_keypad != self.application_keypad {
            out.push_str(if self.application_keypad {
                "\x1b="
            } else {
                "\x1b>"
            });
        }
        if before.cursor_style != self.cursor_style {
            let style = match self.cursor_style {
                CursorStyle::Default => 0,
                CursorStyle::BlinkBlock => 1,
                CursorStyle::SteadyBlock => 2,
                CursorStyle::BlinkUnderline => 3,
                CursorStyle::SteadyUnderline => 4,
                CursorStyle::BlinkVerticalBar => 5,
                CursorStyle::SteadyVerticalBar => 6,
            };
            let _infallible = write!(out, "\x1b[{style} q");
        }
        out
    }

    /// Shows or hides the cursor.
    pub(crate) fn cursor(&self) -> &'static str {
        if self.hides_cursor {
            "\x1b[?25l"
        } else {
            "\x1b[?25h"
        }
    }
}

impl Screen {
    pub(crate) fn new(size: Size) -> Self {
        let (rows, columns) = limited(size);
        Self {
            parser: vt100::Parser::new_with_callbacks(rows, columns, 0, SideEffects::default()),
            partial: Vec::new(),
        }
    }

    /// Adds output of the program. Returns the answers to its queries, as keystrokes for the program.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut unread = std::mem::take(&mut self.partial);
        unread.extend_from_slice(bytes);
        let mut rest = unread.as_slice();
        while let Some((at, sequence)) = first_special(rest) {
            self.parser.process(&rest[..at]);
            self.feed_special(sequence);
            rest = &rest[at + sequence.len()..];
        }
        let (whole, partial) = rest.split_at(rest.len() - partial_length(rest));
        self.parser.process(whole);
        self.partial = partial.to_vec();
        std::mem::take(&mut self.parser.callbacks_mut().answers)
    }

    fn feed_special(&mut self, sequence: &[u8]) {
        let (columns, _) = self.size();
        let (_, column) = self.parser.screen().cursor_position();
        if sequence == FULL_RESET {
            self.parser.callbacks_mut().reports_focus = false;
        } else if column >= columns {
            return;
        }
        self.parser.process(sequence);
    }

    pub(super) fn resize(&mut self, size: Size) {
        let (rows, columns) = limited(size);
        self.parser.set_size(rows, columns);
    }

    /// The size in columns and rows.
    pub(crate) fn size(&self) -> Size {
        let (rows, columns) = self.parser.screen().size();
        (columns.get(), rows.get())
    }

    pub(crate) fn modes(&self) -> Modes {
        let screen = self.parser.screen();
        Modes {
            alternate_screen: screen.alternate_screen(),
            application_cursor: screen.application_cursor(),
            application_keypad: screen.application_keypad(),
            bracketed_paste: screen.bracketed_paste(),
            mouse: screen.mouse_protocol_mode(),
            mouse_encoding: screen.mouse_protocol_encoding(),
            reports_focus: self.parser.callbacks().reports_focus,
            hides_cursor: screen.hide_cursor(),
            cursor_style: screen.cursor_style(),
        }
    }

    /// The row and the column of the cursor, from 0.
    pub(crate) fn cursor(&self) -> (u16, u16) {
        let (row, column) = self.parser.screen().cursor_position();
        let (columns, _) = self.size();
        // After a character in the last column, the cursor of the parser is beyond that column.
        (row, column.min(columns - 1))
    }

    /// The rows for a terminal: characters, SGR sequences, and movements within the row. Each row starts with default
    /// attributes.
    pub(crate) fn rows(&self) -> Vec<String> {
        let (_, rows) = self.size();
        (0..rows).map(|row| self.row(row)).collect()
    }

    fn row(&self, row: u16) -> String {
        let (columns, _) = self.size();
        let mut out = String::new();
        let mut before = Sgr::default();
        // The length of the row without blanks at its end.
        let mut end = 0;
        for column in 0..columns {
            let Some(cell) = self.parser.screen().cell(row, column) else {
                break;
            };
            if cell.is_wide_continuation() {
                continue;
            }
            let sgr = Sgr::of(cell);
            if sgr != before {
                sgr.write(&mut out);
                before = sgr;
            }
            let is_ascii = push_visible(&mut out, cell, column + 1 == columns);
            if !is_ascii {
                // The terminal may assign another width to the character: set the next column explicitly.
                let next = column + 1 + u16::from(cell.is_wide());
                if next < columns {
                    let _infallible = write!(out, "\x1b[{}G", next + 1);
                }
            }
            if cell.has_contents() && cell.contents() != " " || sgr != Sgr::default() {
                end = out.len();
            }
        }
        out.truncate(end);
        out
    }

    /// The text of the screen, without blanks at the ends of its rows, and without empty rows at its end.
    pub(crate) fn text(&self) -> String {
        let (columns, rows) = self.size();
        let row_text = |row| {
            let mut text = String::new();
            for column in 0..columns {
                let cell = self.parser.screen().cell(row, column);
                if let Some(cell) = cell.filter(|cell| !cell.is_wide_continuation()) {
                    push_visible(&mut text, cell, column + 1 == columns);
                }
            }
            text.trim_end().to_owned()
        };
        let rows: Vec<String> = (0..rows).map(row_text).collect();
        rows.join("\n").trim_end().to_owned()
    }

    /// The number of rows that have ever left the main screen at its top.
    pub(crate) fn past_rows(&self) -> usize {
        self.parser.callbacks().past_rows
    }

    /// The rows that have left the main screen after its first `seen` rows, formatted like [`Self::rows`]. Rows that
    /// are no longer stored are missing.
    pub(crate) fn past_since(&self, seen: usize) -> impl Iterator<Item = &str> {
        self.past(seen).map(|row| row.formatted.as_str())
    }

    /// Like [`Self::past_since`], as plain text.
    pub(crate) fn past_text_since(&self, seen: usize) -> impl Iterator<Item = &str> {
        self.past(seen).map(|row| row.plain.as_str())
    }

    fn past(&self, seen: usize) -> impl Iterator<Item = &PastRow> {
        let SideEffects {
            history, past_rows, ..
        } = self.parser.callbacks();
        let new = past_rows.saturating_sub(seen);
        history.iter().skip(history.len().saturating_sub(new))
    }
}

/// The first sequence that needs special handling before the parser reads it, and its position.
fn first_special(bytes: &[u8]) -> Option<(usize, &'static [u8])> {
    (0..bytes.len()).find_map(|at| {
        let found = [EMOJI_STYLE, FULL_RESET]
            .into_iter()
            .find(|sequence| bytes[at..].starts_with(sequence));
        found.map(|sequence| (at, sequence))
    })
}

/// The number of bytes at the end that may be the beginning of such a sequence.
fn partial_length(bytes: &[u8]) -> usize {
    let is_partial = |length: &usize| {
        let ends_with =
            |sequence: &[u8]| *length < sequence.len() && bytes.ends_with(&sequence[..*length]);
        ends_with(EMOJI_STYLE) || ends_with(FULL_RESET)
    };
    (1..EMOJI_STYLE.len()).rev().find(is_partial).unwrap_or(0)
}

/// The rows and columns of a model, within its limits. A model has at least two columns: the parser does not handle a
/// wide character in a single column.
fn limited((columns, rows): Size) -> (NonZeroU16, NonZeroU16) {
    let limited = |wanted: u16, least: u16, most: u16| {
        NonZeroU16::new(wanted.clamp(least, most)).unwrap_or(NonZeroU16::MIN)
    };
    (
        limited(rows, 1, SIZE_MAX.1),
        limited(columns, 2, SIZE_MAX.0),
    )
}

/// Appends the content of a cell: a character, and the characters that combine with it. Returns whether every terminal
/// shows this content in one column.
fn push_visible(out: &mut String, cell: &Cell, is_last: bool) -> bool {
    let mut chars = cell.contents().chars();
    let base = chars.next().filter(|c| !is_deceptive(*c)).unwrap_or(' ');
    out.push(base);
    // In the last column of a row, a selector would widen the character beyond the row.
    let is_kept = |c: &char| !is_last && EMOJI.contains(c) || !is_deceptive(*c);
    out.extend(chars.filter(is_kept));
    cell.contents().is_ascii()
}

/// The colours and attributes of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sgr {
    foreground: Color,
    background: Color,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    inverse: bool,
}

impl Sgr {
    fn of(cell: &Cell) -> Self {
        Self {
            foreground: cell.fgcolor(),
            background: cell.bgcolor(),
            bold: cell.bold(),
            dim: cell.dim(),
            italic: cell.italic(),
            underline: cell.underline(),
            inverse: cell.inverse(),
        }
    }

    /// The sequence that sets exactly these attributes.
    fn write(self, out: &mut String) {
        out.push_str("\x1b[0");
        for (is_set, number) in [
            (self.bold, 1),
            (self.dim, 2),
            (self.italic, 3),
            (self.underline, 4),
            (self.inverse, 7),
        ] {
            if is_set {
                let _infallible = write!(out, ";{number}");
            }
        }
        for (colour, number) in [(self.foreground, 38), (self.background, 48)] {
            let _infallible = match colour {
                Color::Default => Ok(()),
                Color::Idx(index) => write!(out, ";{number};5;{index}"),
                Color::Rgb(red, green, blue) => write!(out, ";{number};2;{red};{green};{blue}"),
            };
        }
        out.push('m');
    }
}

impl Callbacks for SideEffects {
    fn on_scroll(&mut self, row: RowContents<'_>, alternate_screen: bool) {
        if alternate_screen {
            return;
        }
        let mut formatted = String::new();
        let mut state = BasicFormattedCaptureState::new();
        let _infallible = row.write_formatted_basic(&mut formatted, &mut state);
        formatted.retain(|c| c == '\x1b' || EMOJI.contains(&c) || !is_deceptive(c));
        let plain: String = basic_formatted_to_plain(&formatted).collect();
        let plain = plain.trim_end().to_owned();
        if self.history.len() == HISTORY_ROWS {
            self.history.pop_front();
        }
        self.history.push_back(PastRow { formatted, plain });
        self.past_rows += 1;
    }

    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        first: Option<u8>,
        second: Option<u8>,
        parameters: &[&[u16]],
        last: char,
    ) {
        let number = parameters.first().and_then(|it| it.first()).copied();
        let number = number.unwrap_or(0);
        match (first, second, number, last) {
            // The answer of a terminal without options.
            (None, None, 0, 'c') => self.answer("\x1b[?1;2c"),
            // The answer is not itself a query: a terminal that echoes its input would return a query endlessly.
            (Some(b'>'), None, 0, 'c') => self.answer("\x1b[>1;0;0c"),
            (None, None, 5, 'n') => self.answer("\x1b[0n"),
            (None, None, 6, 'n') => {
                let (row, column) = screen.cursor_position();
                let column = column.min(screen.size().1.get() - 1);
                self.answer(&format!("\x1b[{};{}R", row + 1, column + 1));
            }
            (None, None, 18, 't') => {
                let (rows, columns) = screen.size();
                self.answer(&format!("\x1b[8;{rows};{columns}t"));
            }
            // The answer for an unknown mode.
            (Some(b'?'), Some(b'$'), mode, 'p') => self.answer(&format!("\x1b[?{mode};0$y")),
            (Some(b'?'), None, _, 'h' | 'l')
                if parameters.iter().any(|it| it.first() == Some(&1004)) =>
            {
                self.reports_focus = last == 'h';
            }
            _ => {}
        }
    }
}

impl SideEffects {
    fn answer(&mut self, answer: &str) {
        if self.answers.len() + answer.len() <= ANSWERS_MAX {
            self.answers.extend_from_slice(answer.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
