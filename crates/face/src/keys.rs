//! What was typed, key by key. Called by the pane and by `top`; pure.

use terminput::{Event, KeyCode, KeyEvent, KeyModifiers};

/// One key, or one paste.
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
    /// In the same text: what the enter key is with Alt or Shift, and what ^J is.
    NewLine,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    /// The word before, to be taken away.
    DeleteWord,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Paste(String),
    /// One that nothing is bound to.
    Other,
}

/// Takes the keys that are complete from what a terminal sent; the beginning of another one stays.
pub fn take(bytes: &mut Vec<u8>) -> Vec<Key> {
    const ESCAPE: u8 = 0x1b;
    let (mut keys, mut start) = (Vec::new(), 0);
    'keys: while start < bytes.len() {
        // By itself it is a key, and followed by more it is not.
        let alone = bytes[start] == ESCAPE && bytes.len() > start + 1;
        let first = start + 1 + usize::from(alone);
        for end in first..=bytes.len() {
            match Event::parse_from(&bytes[start..end]) {
                Ok(Some(event)) => {
                    keys.push(key(event));
                    start = end;
                    continue 'keys;
                }
                Ok(None) => {}
                Err(_unknown) => {
                    keys.push(Key::Other);
                    start = end;
                    continue 'keys;
                }
            }
        }
        break;
    }
    bytes.drain(..start);
    keys
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all keys only these mean something here"
)]
fn key(event: Event) -> Key {
    match event {
        Event::Paste(text) => Key::Paste(text),
        Event::Key(KeyEvent {
            code, modifiers, ..
        }) => match code {
            // As what it is typed with, rather than by its number.
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
        Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Resize { .. } => {
            Key::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8]) -> (Vec<Key>, Vec<u8>) {
        let mut bytes = bytes.to_vec();
        let keys = take(&mut bytes);
        (keys, bytes)
    }

    #[test]
    fn keys_are_told_apart_whatever_arrives_together() {
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
    fn what_has_only_begun_waits_for_its_end() {
        assert_eq!(taken(b"\x1b"), (vec![Key::Escape], vec![]));
        assert_eq!(taken(b"a\x1b["), (vec![Key::Char('a')], b"\x1b[".to_vec()));
        assert_eq!(taken(b"\xc3"), (vec![], b"\xc3".to_vec()));
        assert_eq!(taken(b"\x1b[200~ab"), (vec![], b"\x1b[200~ab".to_vec()));
    }

    #[test]
    fn a_paste_is_one_thing() {
        let (keys, rest) = taken(b"\x1b[200~Ky\ry\x1b[201~y");
        assert_eq!(keys, [Key::Paste("Ky\ry".into()), Key::Char('y')]);
        assert_eq!(rest, b"");
    }

    #[test]
    fn nonsense_is_passed_over() {
        let (keys, rest) = taken(b"\x1b[99999999;;zq");
        assert_eq!(keys.last(), Some(&Key::Char('q')), "{keys:?}");
        assert_eq!(rest, b"");
        let (keys, _) = taken(b"\xff\xfeq");
        assert_eq!(keys.last(), Some(&Key::Char('q')), "{keys:?}");
    }
}
