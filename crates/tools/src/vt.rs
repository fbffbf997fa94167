//! A minimal terminal parser. Called by the command engine and the tools, whose results and logs are plain text, and by
//! the pane, which must know whether a line of the runtime can be inserted at the current position.
//!
//! The parser neither draws nor keeps a screen: all output of a program on the alternate screen becomes one line.

/// The number of parameter bytes of a control sequence that are kept; no mode that this parser tracks has longer ones.
const PARAMETERS_MAX: usize = 32;

/// Splits a stream of bytes into printed text, control characters and control sequences.
#[derive(Debug, Default)]
struct Parser {
    state: State,
    parameters: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// After `ESC` and intermediate bytes; the next final byte ends the sequence.
    Charset,
    Sequence,
    /// An operating system command or similar, until BEL or `ESC \`.
    Text,
    TextEscape,
}

enum Token<'a> {
    /// A byte of printed text: ASCII, or part of a UTF-8 character.
    Print(u8),
    Control(u8),
    /// `ESC [ parameters final`.
    Sequence {
        parameters: &'a [u8],
        last: u8,
    },
}

impl Token<'_> {
    /// Whether this token switches to the alternate screen, or back.
    fn alternate_screen(&self) -> Option<bool> {
        let Token::Sequence {
            parameters,
            last: last @ (b'h' | b'l'),
        } = self
        else {
            return None;
        };
        let mut modes = parameters.strip_prefix(b"?")?.split(|&byte| byte == b';');
        let switches = modes.any(|mode| matches!(mode, b"47" | b"1047" | b"1049"));
        switches.then_some(*last == b'h')
    }
}

impl Parser {
    fn feed(&mut self, byte: u8) -> Option<Token<'_>> {
        match (self.state, byte) {
            // CAN and SUB abort the current sequence.
            (_, 0x18 | 0x1a) => self.state = State::Ground,
            (State::Text, 0x1b) => self.state = State::TextEscape,
            (State::Text, 0x07) | (State::TextEscape, b'\\') => self.state = State::Ground,
            (State::Text, _) => {}
            (State::TextEscape, _) => {
                self.state = State::Escape;
                return self.feed(byte);
            }
            (_, 0x1b) => self.state = State::Escape,
            // Other control characters take effect even within a sequence.
            (_, 0x00..0x20 | 0x7f) => return Some(Token::Control(byte)),
            (State::Ground, _) => return Some(Token::Print(byte)),
            (State::Escape, b'[') => {
                self.parameters.clear();
                self.state = State::Sequence;
            }
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => self.state = State::Text,
            (State::Escape | State::Charset, 0x20..0x30) => self.state = State::Charset,
            (State::Escape | State::Charset, _) => self.state = State::Ground,
            (State::Sequence, 0x40..=0x7e) => {
                self.state = State::Ground;
                return Some(Token::Sequence {
                    parameters: &self.parameters,
                    last: byte,
                });
            }
            (State::Sequence, _) => {
                if self.parameters.len() < PARAMETERS_MAX {
                    self.parameters.push(byte);
                }
            }
        }
        None
    }
}

/// Converts a program's output to plain text: no escape sequences, and no control characters except newline and tab.
/// Text that a lone carriage return would overwrite is kept on its own line. The output on the alternate screen, such
/// as that of an editor or a pager, becomes one line.
#[derive(Debug, Default)]
pub struct Plain {
    parser: Parser,
    /// The beginning of an incomplete UTF-8 character.
    partial: Vec<u8>,
    /// Whether the last byte was a carriage return; the next byte decides its meaning.
    returned: bool,
    /// Whether the current line is not empty.
    written: bool,
    alternate_screen: bool,
}

/// The line that replaces all output on the alternate screen.
const FULL_SCREEN: &str = "… full-screen output";

impl Plain {
    /// Appends the plain text of `bytes` to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut String) {
        let from = out.len();
        for &byte in bytes {
            let token = self.parser.feed(byte);
            let switched = token.as_ref().and_then(Token::alternate_screen);
            match token {
                Some(Token::Sequence { .. }) => {
                    if let Some(is_alternate) = switched {
                        self.switch_screen(is_alternate, out);
                    }
                }
                _ if self.alternate_screen => {}
                Some(Token::Print(byte)) => {
                    if std::mem::take(&mut self.returned) && self.written {
                        self.end_line(out);
                    }
                    self.written = true;
                    self.print(byte, out);
                }
                Some(Token::Control(b'\n')) => {
                    self.returned = false;
                    self.end_line(out);
                }
                Some(Token::Control(b'\r')) => self.returned = true,
                Some(Token::Control(b'\t')) => {
                    self.flush_partial(out);
                    out.push('\t');
                }
                // Keep the last layer of overstruck text (`_\x08x`). Text from earlier calls cannot be removed.
                Some(Token::Control(0x08)) if out.len() > from && !out.ends_with('\n') => {
                    out.pop();
                }
                Some(Token::Control(_)) | None => {}
            }
        }
    }

    fn switch_screen(&mut self, is_alternate: bool, out: &mut String) {
        if is_alternate && !self.alternate_screen {
            self.returned = false;
            if std::mem::take(&mut self.written) {
                self.end_line(out);
            }
            out.push_str(FULL_SCREEN);
            out.push('\n');
        }
        self.alternate_screen = is_alternate;
    }

    fn end_line(&mut self, out: &mut String) {
        self.flush_partial(out);
        self.written = false;
        out.push('\n');
    }

    fn print(&mut self, byte: u8, out: &mut String) {
        if byte.is_ascii() {
            self.flush_partial(out);
            out.push(char::from(byte));
            return;
        }
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(text) => {
                // Includes the C1 controls, which are UTF-8 characters here.
                out.extend(text.chars().filter(|c| !c.is_control()));
                self.partial.clear();
            }
            // The rest of the character may follow.
            Err(error) if error.error_len().is_none() => {}
            Err(_) => {
                out.push(char::REPLACEMENT_CHARACTER);
                self.partial.clear();
            }
        }
    }

    fn flush_partial(&mut self, out: &mut String) {
        if !self.partial.is_empty() {
            self.partial.clear();
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// The state in which a program has left the terminal: whether a line of the runtime can be inserted, and which modes
/// must be reset.
#[derive(Debug, Default)]
pub struct Position {
    parser: Parser,
    /// The number of outstanding bytes of a UTF-8 character.
    continuation: u8,
    in_line: bool,
    pub alternate_screen: bool,
}

impl Position {
    pub fn follow(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match self.parser.feed(byte) {
                Some(Token::Print(byte)) => {
                    self.in_line = true;
                    self.continuation = match byte {
                        0xc0..0xe0 => 1,
                        0xe0..0xf0 => 2,
                        0xf0.. => 3,
                        0x80..0xc0 => self.continuation.saturating_sub(1),
                        _ => 0,
                    };
                }
                Some(Token::Control(b'\n' | b'\r')) => self.in_line = false,
                Some(token) => {
                    if let Some(is_alternate) = token.alternate_screen() {
                        self.alternate_screen = is_alternate;
                    }
                }
                None => {}
            }
        }
    }

    /// Returns whether the last byte of the output completes a character or a sequence, so that other text may follow.
    pub fn between_characters(&self) -> bool {
        self.continuation == 0 && self.parser.state == State::Ground
    }

    /// Returns whether the cursor is at the start of a line.
    pub fn at_line_start(&self) -> bool {
        !self.in_line
    }

    /// The bytes that reset the terminal: abort the current sequence, then reset every mode that programs commonly set,
    /// without moving the cursor.
    pub fn reset_sequence(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.between_characters() {
            bytes.push(0x18);
        }
        if self.alternate_screen {
            bytes.extend_from_slice(b"\x1b[?1049l");
        }
        // Scroll region (with the cursor kept), attributes, charset, insert mode, cursor and keypad keys, autowrap,
        // visible cursor, mouse, focus, bracketed paste.
        bytes.extend_from_slice(
            b"\x1b7\x1b[r\x1b8\x1b[m\x0f\x1b(B\x1b[4l\x1b[?1l\x1b>\x1b[?7h\x1b[?25h\
              \x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l",
        );
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(pieces: &[&[u8]]) -> String {
        let (mut plain, mut out) = (Plain::default(), String::new());
        for piece in pieces {
            plain.feed(piece, &mut out);
        }
        out
    }

    #[test]
    fn escape_sequences_leave_no_trace() {
        assert_eq!(
            plain(&[b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b]8;;u\x1b\\y\x1b(B!\r\n"]),
            "red xy!\n"
        );
        assert_eq!(plain(&[b"a\x1b[3", b"8;5;1mb\x1b", b"[Kc"]), "abc");
    }

    #[test]
    fn a_split_character_is_joined() {
        assert_eq!(
            plain(&[b"na\xc3", b"\xafve \xf0\x9f", b"\x99\x82"]),
            "naïve 🙂"
        );
        assert_eq!(plain(&[b"\xff\xc3(\n"]), "\u{fffd}\u{fffd}(\n");
        assert_eq!(plain(&["\u{9b}31m\u{85}".as_bytes()]), "31m");
    }

    #[test]
    fn a_progress_bar_becomes_lines() {
        assert_eq!(plain(&[b"10%\r20%\r", b"\n\rdone\r\n"]), "10%\n20%\ndone\n");
    }

    #[test]
    fn overstruck_text_keeps_its_last_layer() {
        assert_eq!(plain(&[b"N\x08NA\x08A\n\x08x"]), "NA\nx");
    }

    #[test]
    fn a_full_screen_program_becomes_one_line() {
        let pager = b"$ less\r\nsee\x1b[?1049h\x1b[Hpage 1\r\n\x08~\x1b[?25l:\xc3\x1b[?10";
        assert_eq!(
            plain(&[pager, b"49lquit\r\n"]),
            "$ less\nsee\n… full-screen output\nquit\n"
        );
        assert_eq!(
            plain(&[b"\x1b[?1049;25h~\r\nkilled"]),
            "… full-screen output\n"
        );
    }

    #[test]
    fn position_tracks_where_a_line_fits() {
        let mut position = Position::default();
        position.follow(b"Password: ");
        assert!(!position.at_line_start() && position.between_characters());
        position.follow(b"\r\n\x1b[3");
        assert!(position.at_line_start() && !position.between_characters());
        position.follow(b"1mx\xe2\x82");
        assert!(!position.between_characters());
        position.follow(b"\xac");
        assert!(position.between_characters());
    }

    #[test]
    fn reset_leaves_the_alternate_screen() {
        let mut position = Position::default();
        position.follow(b"\x1b[?1049;25h~");
        assert!(position.alternate_screen);
        assert!(position.reset_sequence().starts_with(b"\x1b[?1049l"));
        position.follow(b"\x1b[?1049l");
        assert!(!position.alternate_screen);
        position.follow(b"\x1b]0;unfinished");
        assert_eq!(position.reset_sequence()[0], 0x18);
    }
}
