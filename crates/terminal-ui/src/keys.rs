//! Decodes terminal input into keystrokes. Called by code that reads a terminal; pure.

use std::time::Duration;

use terminput::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
    ScrollDirection,
};

/// One keystroke, or one paste.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Char(char),
    /// A letter with the control key.
    Control(char),
    Enter,
    Escape,
    Tab,
    BackTab,
    Backspace,
    /// A new line within the text: Enter with Alt or Shift, or ^J.
    NewLine,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    /// Deletes the word before the cursor.
    DeleteWord,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Paste(String),
    /// An action of the mouse. Terminals report these only after [`MOUSE_ON`].
    Mouse(Mouse),
    /// A key without a binding.
    Other,
}

/// An action of the mouse in one cell. Column and row count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mouse {
    pub action: MouseAction,
    pub column: u16,
    pub row: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MouseAction {
    /// The left button was pressed.
    Press,
    ScrollUp,
    ScrollDown,
}

/// Makes a terminal report buttons and the wheel, with coordinates of any size (modes 1000 and 1006 of xterm). The
/// terminal reports no movements, and still selects text itself while Shift is held.
pub const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
pub const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// Scrolling in a text that has more rows than the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scroll {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
}

impl Key {
    /// The scroll step of the key in a long request; `None` if the key does not scroll.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other key scrolls")]
    pub fn scroll(&self) -> Option<Scroll> {
        Some(match self {
            Key::Up => Scroll::Up,
            Key::Down => Scroll::Down,
            Key::PageUp => Scroll::PageUp,
            Key::PageDown | Key::Char(' ') => Scroll::PageDown,
            Key::Home => Scroll::Home,
            _ => return None,
        })
    }
}

/// The time within which the rest of an escape sequence arrives; otherwise the byte was the escape key. The time must
/// be long enough for the bytes of an arrow key that arrive separately over a slow connection: a wrongly decoded escape
/// key would interrupt a model. It must be short enough that a real escape key acts at once for the user. `escape-time`
/// of tmux is 500 ms up to version 3.5.
pub const REST_OF_KEY: Duration = Duration::from_millis(100);

/// The time within which the next bytes of a paste arrive. A paste that stops for longer has lost its end.
const REST_OF_PASTE: Duration = Duration::from_secs(5);

/// The largest paste in bytes; the rest is dropped.
const PASTE_MAX: usize = 64 << 10;

/// The longest escape sequence in bytes; a longer one is invalid.
const KEY_MAX: usize = 64;

/// The beginning of an answer with the background colour.
const BACKGROUND: &[u8] = b"\x1b]11;";

const ESCAPE: u8 = 0x1b;
const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// Decodes the bytes of a terminal, in pieces of any size. Buffers at most one key or one paste.
#[derive(Debug, Default)]
pub struct KeyDecoder {
    /// The beginning of a key, or of the end marker of a paste.
    begun: Vec<u8>,
    /// The pasted bytes so far.
    paste: Option<Vec<u8>>,
}

impl KeyDecoder {
    /// Returns the keys that these bytes complete; none while the last byte is an escape byte. `read`: the bytes of one
    /// read.
    pub fn read(&mut self, read: &[u8]) -> Vec<Key> {
        self.begun.extend_from_slice(read);
        if self.is_unsettled() {
            return Vec::new();
        }
        self.settle()
    }

    /// Returns whether the last byte is an escape byte. It may be the escape key or the start of a sequence: wait for
    /// [`REST_OF_KEY`], then call [`Self::settle`].
    pub fn is_unsettled(&self) -> bool {
        self.paste.is_none() && self.begun.last() == Some(&ESCAPE)
    }

    /// Returns the time within which the rest of a key or paste arrives; `None` if none has begun.
    pub fn rest_within(&self) -> Option<Duration> {
        if self.paste.is_some() {
            return Some(REST_OF_PASTE);
        }
        (!self.begun.is_empty()).then_some(REST_OF_KEY)
    }

    /// Returns the pending keys after [`REST_OF_KEY`] has passed without further bytes.
    pub fn settle(&mut self) -> Vec<Key> {
        let bytes = std::mem::take(&mut self.begun);
        let (mut keys, mut rest) = (Vec::new(), bytes.as_slice());
        while !rest.is_empty() {
            if self.paste.is_some() {
                rest = self.continue_paste(rest, &mut keys);
            } else if let Some(pasted) = rest.strip_prefix(PASTE_BEGINS) {
                self.paste = Some(Vec::new());
                rest = pasted;
            } else if let Some((key, length)) = first(rest) {
                keys.push(key);
                rest = &rest[length..];
            } else {
                self.begun = rest.to_vec();
                break;
            }
        }
        keys
    }

    /// Adds bytes to the paste. Returns the bytes after the end marker, or no bytes if the paste continues.
    fn continue_paste<'a>(&mut self, rest: &'a [u8], keys: &mut Vec<Key>) -> &'a [u8] {
        let end = rest
            .windows(PASTE_ENDS.len())
            .position(|at| at == PASTE_ENDS);
        // The last bytes may be the beginning of the end marker.
        let whole = end.unwrap_or(rest.len().saturating_sub(PASTE_ENDS.len() - 1));
        let mut paste = self.paste.take().unwrap_or_default();
        let room = (PASTE_MAX + 4).saturating_sub(paste.len());
        paste.extend_from_slice(&rest[..whole.min(room)]);
        match end {
            Some(end) => {
                let mut text = String::from_utf8_lossy(&paste).into_owned();
                text.truncate(text.floor_char_boundary(PASTE_MAX));
                keys.push(Key::Paste(text));
                &rest[end + PASTE_ENDS.len()..]
            }
            None => {
                self.paste = Some(paste);
                self.begun = rest[whole..].to_vec();
                &[]
            }
        }
    }
}

/// Decodes the first key of these bytes and its length; `None` if it is incomplete.
fn first(bytes: &[u8]) -> Option<(Key, usize)> {
    // A late answer of the terminal to the query for its background colour.
    if let Some(answer) = bytes.strip_prefix(BACKGROUND) {
        let end = answer
            .iter()
            .position(|byte| *byte == 0x07)
            .map(|at| at + 1);
        let end = end.or_else(|| Some(answer.windows(2).position(|two| two == b"\x1b\\")? + 2));
        let length = end.map(|end| BACKGROUND.len() + end);
        let length = length.or((bytes.len() >= KEY_MAX).then_some(KEY_MAX))?;
        return Some((Key::Other, length));
    }
    // A lone escape byte is a key; before another byte, it begins a sequence.
    let shortest = match bytes {
        [ESCAPE, _, ..] => 2,
        _ => 1,
    };
    for length in shortest..=bytes.len().min(KEY_MAX) {
        match Event::parse_from(&bytes[..length]) {
            Ok(Some(event)) => return Some((key(event), length)),
            Ok(None) => {}
            Err(_unknown) => return Some((Key::Other, length)),
        }
    }
    (bytes.len() >= KEY_MAX).then_some((Key::Other, KEY_MAX))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other keys are reported as `Other`"
)]
fn key(event: Event) -> Key {
    match event {
        Event::Paste(text) => Key::Paste(text),
        Event::Key(KeyEvent {
            code, modifiers, ..
        }) => match code {
            // `^\` sends the byte 0x1c, which terminput reports as Control-4.
            KeyCode::Char('4') if modifiers == KeyModifiers::CTRL => Key::Control('\\'),
            KeyCode::Char('j') if modifiers == KeyModifiers::CTRL => Key::NewLine,
            KeyCode::Char('w') if modifiers == KeyModifiers::CTRL => Key::DeleteWord,
            KeyCode::Char('b') if modifiers == KeyModifiers::ALT => Key::WordLeft,
            KeyCode::Char('f') if modifiers == KeyModifiers::ALT => Key::WordRight,
            KeyCode::Char(c) if modifiers.is_empty() || modifiers == KeyModifiers::SHIFT => {
                Key::Char(c)
            }
            KeyCode::Char(c) if modifiers == KeyModifiers::CTRL => Key::Control(c),
            KeyCode::Enter if modifiers.is_empty() => Key::Enter,
            KeyCode::Enter => Key::NewLine,
            KeyCode::Esc => Key::Escape,
            KeyCode::Tab if modifiers.contains(KeyModifiers::SHIFT) => Key::BackTab,
            KeyCode::Tab => Key::Tab,
            KeyCode::Backspace if modifiers.contains(KeyModifiers::ALT) => Key::DeleteWord,
            KeyCode::Backspace => Key::Backspace,
            KeyCode::Delete => Key::Delete,
            KeyCode::Left if modifiers.is_empty() => Key::Left,
            KeyCode::Right if modifiers.is_empty() => Key::Right,
            KeyCode::Left => Key::WordLeft,
            KeyCode::Right => Key::WordRight,
            KeyCode::Up => Key::Up,
            KeyCode::Down => Key::Down,
            KeyCode::PageUp => Key::PageUp,
            KeyCode::PageDown => Key::PageDown,
            KeyCode::Home => Key::Home,
            KeyCode::End => Key::End,
            _ => Key::Other,
        },
        Event::Mouse(event) => mouse(event).map_or(Key::Other, Key::Mouse),
        Event::FocusGained | Event::FocusLost | Event::Resize { .. } => Key::Other,
    }
}

/// `None`: an action without a meaning here, such as the release of a button.
fn mouse(event: MouseEvent) -> Option<Mouse> {
    let action = match event.kind {
        MouseEventKind::Down(MouseButton::Left) => MouseAction::Press,
        MouseEventKind::Scroll(ScrollDirection::Up) => MouseAction::ScrollUp,
        MouseEventKind::Scroll(ScrollDirection::Down) => MouseAction::ScrollDown,
        MouseEventKind::Down(_)
        | MouseEventKind::Up(_)
        | MouseEventKind::Drag(_)
        | MouseEventKind::Moved
        | MouseEventKind::Scroll(ScrollDirection::Left | ScrollDirection::Right) => return None,
    };
    Some(Mouse {
        action,
        column: event.column,
        row: event.row,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(bytes: &[u8]) -> (Vec<Key>, Vec<u8>) {
        let mut decoder = KeyDecoder::default();
        let keys = decoder.read(bytes);
        (keys, decoder.begun)
    }

    #[test]
    fn keys_in_one_read_are_separated() {
        let (keys, rest) = taken("q\u{1b}[A\u{1b}OB\r\t\u{1b}[Z\u{3}é\u{7f}\u{1b}[6~".as_bytes());
        let expected = [
            Key::Char('q'),
            Key::Up,
            Key::Down,
            Key::Enter,
            Key::Tab,
            Key::BackTab,
            Key::Control('c'),
            Key::Char('é'),
            Key::Backspace,
            Key::PageDown,
        ];
        assert_eq!(keys, expected);
        assert_eq!(rest, b"");
    }

    #[test]
    fn an_incomplete_key_waits_for_its_rest() {
        assert_eq!(taken(b"a\x1b["), (vec![Key::Char('a')], b"\x1b[".to_vec()));
        assert_eq!(taken(b"\xc3"), (vec![], b"\xc3".to_vec()));
        let mut decoder = KeyDecoder::default();
        assert_eq!(decoder.read(b"\xe5\x90"), []);
        assert_eq!(decoder.read(&"名".as_bytes()[2..]), [Key::Char('名')]);
    }

    #[test]
    fn escape_is_a_key_only_if_nothing_follows() {
        let mut decoder = KeyDecoder::default();
        assert_eq!(decoder.read(b"\x1b"), []);
        assert!(decoder.is_unsettled());
        assert_eq!(decoder.read(b"[A"), [Key::Up]);
        // Keys of the same read are reported together.
        assert_eq!(decoder.read(b"y\x1b"), []);
        assert_eq!(decoder.settle(), [Key::Char('y'), Key::Escape]);
        assert!(!decoder.is_unsettled());
    }

    #[test]
    fn a_paste_in_any_pieces_is_one_key() {
        let mut decoder = KeyDecoder::default();
        assert_eq!(decoder.read(PASTE_BEGINS), []);
        for _ in 0..1_000 {
            assert_eq!(decoder.read(&[b'\r'; 4096]), []);
            assert!(
                decoder.begun.len() + decoder.paste.as_ref().map_or(0, Vec::len) < PASTE_MAX + 16
            );
        }
        assert_eq!(decoder.read(b"\x1b"), [], "the beginning of its end");
        assert!(!decoder.is_unsettled());
        let keys = decoder.read(b"[201~y");
        assert_eq!(keys, [Key::Paste("\r".repeat(PASTE_MAX)), Key::Char('y')]);
    }

    #[test]
    fn an_endless_sequence_is_dropped() {
        let mut decoder = KeyDecoder::default();
        decoder.read(b"\x1b[");
        for _ in 0..100 {
            decoder.read(&[b'1'; 100]);
            assert!(decoder.begun.len() < KEY_MAX);
        }
        let keys = decoder.read(b"q");
        assert_eq!(keys.last(), Some(&Key::Char('q')));
    }

    #[test]
    fn a_paste_is_one_key() {
        let (keys, rest) = taken(b"\x1b[200~Ky\ry\x1b[201~y");
        assert_eq!(keys, [Key::Paste("Ky\ry".into()), Key::Char('y')]);
        assert_eq!(rest, b"");
    }

    #[test]
    fn mouse_reports_are_decoded() {
        let (keys, rest) = taken(b"\x1b[<0;12;3M\x1b[<0;12;3m\x1b[<64;1;1M\x1b[<65;300;2Mq");
        let mouse = |action, column, row| {
            Key::Mouse(Mouse {
                action,
                column,
                row,
            })
        };
        let expected = [
            mouse(MouseAction::Press, 11, 2),
            Key::Other,
            mouse(MouseAction::ScrollUp, 0, 0),
            mouse(MouseAction::ScrollDown, 299, 1),
            Key::Char('q'),
        ];
        assert_eq!(keys, expected);
        assert_eq!(rest, b"");
    }

    #[test]
    fn a_late_answer_of_the_terminal_is_not_typed() {
        for end in ["\x07", "\x1b\\"] {
            let answer = format!("\x1b]11;rgb:ffff/ffff/ffff{end}\x1b[?62;22cq");
            let (keys, rest) = taken(answer.as_bytes());
            assert_eq!(keys, [Key::Other, Key::Other, Key::Char('q')]);
            assert_eq!(rest, b"");
        }
    }

    #[test]
    fn invalid_sequences_are_skipped() {
        let (keys, rest) = taken(b"\x1b[99999999;;zq");
        assert_eq!(keys.last(), Some(&Key::Char('q')), "{keys:?}");
        assert_eq!(rest, b"");
        let (keys, _) = taken(b"\xff\xfeq");
        assert_eq!(keys.last(), Some(&Key::Char('q')), "{keys:?}");
    }

    proptest! {
        /// The result does not depend on how the bytes are split, even for invalid input.
        #[test]
        fn keys_do_not_depend_on_chunk_boundaries(bytes in proptest::collection::vec(prop_oneof![Just(ESCAPE), Just(b'['), Just(b'2'), Just(b'0'), Just(b'1'), Just(b'~'), any::<u8>()], 0..60), cut in 0_usize..60) {
            let cut = cut.min(bytes.len());
            let mut whole = KeyDecoder::default();
            let mut expected = whole.read(&bytes);
            expected.extend(whole.settle());
            let mut pieces = KeyDecoder::default();
            let mut keys = pieces.read(&bytes[..cut]);
            keys.extend(pieces.read(&bytes[cut..]));
            keys.extend(pieces.settle());
            prop_assert_eq!(keys, expected);
        }
    }
}
