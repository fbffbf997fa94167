//! The line editor of the prompt: text, cursor and history. Used by the transcript view and by `top`; pure.
//!
//! The text is stored exactly as typed. Control characters are escaped only for display, in [`Editor::rows`].

use std::collections::VecDeque;

use crate::keys::Key;
use crate::line::{Line, columns};
use crate::style::Style;

/// The maximum number of history entries.
const HISTORY_MAX: usize = 500;

/// The longest text in bytes: the size limit of a message.
const TEXT_MAX: usize = 64 << 10;

#[derive(Debug, Default)]
pub struct Editor {
    text: String,
    /// A byte offset in the text, on a character boundary.
    cursor: usize,
    /// Oldest first.
    history: VecDeque<String>,
    /// The history entry that is shown, and the text that was being typed before.
    shown: Option<(usize, String)>,
    /// The last deleted word or part of a line, for ^Y.
    taken: String,
}

impl Editor {
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn clear(&mut self) {
        self.set(String::new());
        self.shown = None;
    }

    /// Adds history entries, oldest first.
    pub fn remember(&mut self, entries: impl IntoIterator<Item = String>) {
        for text in entries {
            if text.trim().is_empty() || self.history.back() == Some(&text) {
                continue;
            }
            self.history.push_back(text);
            if self.history.len() > HISTORY_MAX {
                self.history.pop_front();
            }
        }
    }

    /// Handles a keystroke. Returns the text when it is submitted.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other key edits the text"
    )]
    pub fn press(&mut self, key: &Key) -> Option<String> {
        match key {
            Key::Enter if self.text[..self.cursor].ends_with('\\') => {
                // A backslash before Enter continues the text on a new line.
                self.remove(self.cursor - 1..self.cursor);
                self.insert("\n");
            }
            Key::Enter => {
                let text = std::mem::take(&mut self.text);
                self.clear();
                self.remember([text.clone()]);
                return Some(text);
            }
            Key::NewLine => self.insert("\n"),
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Key::Tab => self.insert("\t"),
            // Terminals send line ends in pasted text as carriage returns.
            Key::Paste(text) => self.insert(&text.replace("\r\n", "\n").replace('\r', "\n")),
            Key::Left | Key::Control('b') => self.cursor = self.previous(),
            Key::Right | Key::Control('f') => self.cursor = self.next(),
            Key::WordLeft => self.cursor = self.word_before(),
            Key::WordRight => self.cursor = self.word_after(),
            Key::Home | Key::Control('a') => self.cursor = self.line_start(),
            Key::End | Key::Control('e') => self.cursor = self.line_end(),
            Key::Backspace | Key::Control('h') => self.remove(self.previous()..self.cursor),
            Key::Delete | Key::Control('d') => self.remove(self.cursor..self.next()),
            Key::DeleteWord => self.take(self.word_before()..self.cursor),
            Key::Control('u') => self.take(self.line_start()..self.cursor),
            Key::Control('k') => self.take(self.cursor..self.line_end()),
            Key::Control('y') => self.insert(&self.taken.clone()),
            Key::Up | Key::Control('p') => self.up(),
            Key::Down | Key::Control('n') => self.down(),
            _ => {}
        }
        None
    }

    fn insert(&mut self, text: &str) {
        let room = TEXT_MAX.saturating_sub(self.text.len());
        let text = &text[..text.floor_char_boundary(room)];
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    fn remove(&mut self, range: std::ops::Range<usize>) {
        self.cursor = range.start;
        self.text.replace_range(range, "");
    }

    fn take(&mut self, range: std::ops::Range<usize>) {
        if !range.is_empty() {
            self.taken = self.text[range.clone()].to_owned();
            self.remove(range);
        }
    }

    fn set(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
    }

    /// Moves to the line above, or to the previous history entry.
    fn up(&mut self) {
        let start = self.line_start();
        if start > 0 {
            let above = self.text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
            self.cursor = self.same_column(above, start - 1);
            return;
        }
        let at = match &self.shown {
            Some((at, _)) => *at,
            None => self.history.len(),
        };
        let Some(at) = at.checked_sub(1) else {
            return;
        };
        let typed = match self.shown.take() {
            Some((_, typed)) => typed,
            None => std::mem::take(&mut self.text),
        };
        self.shown = Some((at, typed));
        self.set(self.history[at].clone());
    }

    /// Moves to the line below, or to the next history entry.
    fn down(&mut self) {
        let end = self.line_end();
        if end < self.text.len() {
            let below_end = self.text[end + 1..].find('\n');
            let below_end = below_end.map_or(self.text.len(), |at| end + 1 + at);
            self.cursor = self.same_column(end + 1, below_end);
            return;
        }
        let Some((at, typed)) = self.shown.take() else {
            return;
        };
        match self.history.get(at + 1) {
            Some(next) => {
                let next = next.clone();
                self.shown = Some((at + 1, typed));
                self.set(next);
            }
            None => self.set(typed),
        }
    }

    /// The offset of the cursor's column in the line from `start` to `end`.
    fn same_column(&self, start: usize, end: usize) -> usize {
        let column = self.text[self.line_start()..self.cursor].chars().count();
        let line = self.text[start..end].char_indices();
        line.map(|(at, _)| start + at).nth(column).unwrap_or(end)
    }

    fn previous(&self) -> usize {
        let before = self.text[..self.cursor].char_indices();
        // Zero-width characters belong to the character before them.
        let mut boundaries = before.rev().skip_while(|(_, c)| joins(*c));
        boundaries.next().map_or(0, |(at, _)| at)
    }

    fn next(&self) -> usize {
        let after = self.text[self.cursor..].char_indices().skip(1);
        let mut boundaries = after.skip_while(|(_, c)| joins(*c));
        boundaries
            .next()
            .map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    fn word_before(&self) -> usize {
        let before = self.text[..self.cursor].trim_end_matches(|c: char| !c.is_alphanumeric());
        before.trim_end_matches(char::is_alphanumeric).len()
    }

    fn word_after(&self) -> usize {
        let after = &self.text[self.cursor..];
        let rest = after.trim_start_matches(|c: char| !c.is_alphanumeric());
        let rest = rest.trim_start_matches(char::is_alphanumeric);
        self.text.len() - rest.len()
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        let after = &self.text[self.cursor..];
        after
            .find('\n')
            .map_or(self.text.len(), |at| self.cursor + at)
    }

    /// The prompt and the text after it, in rows of at most `most` columns, and the row and column of the cursor. If
    /// there are more than `rows` rows, returns `rows` of them, including the cursor's row.
    pub fn rows(&self, prompt: &Line, most: usize, rows: usize) -> (Vec<Line>, (usize, usize)) {
        // Leave room for the widest character after the prompt.
        let prompt = prompt.clipped((most / 2).min(most.saturating_sub(2)));
        let mut indent = prompt.width();
        let mut all = vec![prompt];
        let mut at = (0, indent);
        let mut width = indent;
        for (byte, c) in self.text.char_indices() {
            if byte == self.cursor {
                at = (all.len() - 1, width);
            }
            if c == '\n' {
                indent = indent.min(most / 2);
                all.push(Line::of(Style::PLAIN, &" ".repeat(indent)));
                width = indent;
                continue;
            }
            for (part, c) in shown(c).text().chars().enumerate() {
                let takes = columns(c);
                if width + takes > most && width > indent {
                    all.push(Line::of(Style::PLAIN, &" ".repeat(indent)));
                    width = indent;
                    if byte == self.cursor && part == 0 {
                        at = (all.len() - 1, width);
                    }
                }
                if let Some(row) = all.last_mut() {
                    row.put(Style::PLAIN, c);
                }
                width += takes;
            }
        }
        if self.cursor == self.text.len() {
            at = (all.len() - 1, width);
        }
        let first = (at.0 + 1).saturating_sub(rows.max(1));
        let shown = all.into_iter().skip(first).take(rows.max(1)).collect();
        (shown, (at.0 - first, at.1.min(most)))
    }
}

/// The displayed form of a typed character.
fn shown(c: char) -> Line {
    Line::of(Style::PLAIN, c.encode_utf8(&mut [0; 4]))
}

/// Returns whether the character joins the column of the character before it.
fn joins(c: char) -> bool {
    c != '\n' && shown(c).width() == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(keys: &[Key]) -> Editor {
        let mut editor = Editor::default();
        for key in keys {
            editor.press(key);
        }
        editor
    }

    fn text(text: &str) -> Vec<Key> {
        text.chars().map(Key::Char).collect()
    }

    #[test]
    fn backslash_continues_and_enter_submits() {
        let mut editor = typed(&text("one\\"));
        assert_eq!(editor.press(&Key::Enter), None);
        for key in text("two") {
            editor.press(&key);
        }
        assert_eq!(editor.press(&Key::NewLine), None);
        let entered = editor.press(&Key::Enter);
        assert_eq!(entered, Some("one\ntwo\n".into()));
        assert!(editor.is_empty());
    }

    #[test]
    fn pasted_line_ends_do_not_submit() {
        let mut editor = typed(&[Key::Paste("a\r\nb\rc".into())]);
        assert_eq!(editor.text, "a\nb\nc");
        assert_eq!(editor.press(&Key::Enter), Some("a\nb\nc".into()));
    }

    #[test]
    fn history_returns_to_the_text_being_typed() {
        let mut editor = Editor::default();
        editor.remember(["first".into(), "second\nline".into()]);
        editor.press(&Key::Char('x'));
        editor.press(&Key::Up);
        assert_eq!(editor.text, "second\nline");
        editor.press(&Key::Up);
        assert_eq!(editor.text, "second\nline", "within the text first");
        editor.press(&Key::Up);
        assert_eq!(editor.text, "first");
        editor.press(&Key::Up);
        assert_eq!(editor.text, "first", "there is no more");
        editor.press(&Key::Down);
        editor.press(&Key::Down);
        assert_eq!(editor.text, "x");
    }

    #[test]
    fn words_and_lines_can_be_skipped_and_deleted() {
        let mut editor = typed(&text("one two-three"));
        editor.press(&Key::DeleteWord);
        assert_eq!(editor.text, "one two-");
        editor.press(&Key::WordLeft);
        editor.press(&Key::Control('k'));
        assert_eq!(editor.text, "one ");
        editor.press(&Key::Home);
        editor.press(&Key::Control('y'));
        assert_eq!(editor.text, "two-one ");
        editor.press(&Key::WordRight);
        editor.press(&Key::Control('u'));
        assert_eq!(editor.text, " ");
    }

    #[test]
    fn the_cursor_is_at_the_end_of_wrapped_text() {
        let prompt = Line::of(Style::PLAIN, "ada ▸ ");
        let editor = typed(&text("名前 and more"));
        let (rows, at) = editor.rows(&prompt, 12, 5);
        let rows: Vec<_> = rows.iter().map(Line::text).collect();
        assert_eq!(rows, ["ada ▸ 名前 a", "      nd mor", "      e"]);
        assert_eq!(at, (2, 7));
        let (rows, at) = editor.rows(&prompt, 12, 1);
        assert_eq!((rows.len(), at), (1, (0, 7)));
        let (rows, at) = typed(&text("a名")).rows(&prompt, 2, 5);
        let rows: Vec<_> = rows.iter().map(Line::text).collect();
        assert_eq!((rows.join("|").as_str(), at), ("a|名", (1, 2)));
    }

    proptest! {
        #[test]
        fn the_cursor_stays_valid_for_any_keys(pressed in proptest::collection::vec(0_usize..18, 0..60), most in 2_usize..30) {
            let keys = [
                Key::Char('a'), Key::Char(' '), Key::Char('é'), Key::Char('\u{301}'), Key::NewLine, Key::Left, Key::Right,
                Key::Up, Key::Down, Key::Backspace, Key::Delete, Key::DeleteWord, Key::WordRight, Key::Control('k'),
                Key::Char('名'), Key::Char('\u{202e}'), Key::Tab, Key::Paste("👩\u{200d}👩\u{1b}[2J".into()),
            ];
            let mut editor = Editor::default();
            for key in pressed {
                editor.press(&keys[key]);
                prop_assert!(editor.text.is_char_boundary(editor.cursor));
                let (rows, (row, column)) = editor.rows(&Line::of(Style::PLAIN, "▸ "), most, 4);
                prop_assert!(row < rows.len() && column <= most);
                for row in &rows {
                    prop_assert!(row.width() <= most, "{row:?}");
                }
            }
        }

        /// The cursor is after the last typed character that takes columns.
        #[test]
        fn the_cursor_follows_the_typed_text(typed in "[a名é\u{301}\u{202e}\t\u{200d}👩]{0,40}") {
            let editor = self::typed(&text(&typed));
            let (rows, (row, column)) = editor.rows(&Line::of(Style::PLAIN, "▸ "), 30, 100);
            prop_assert_eq!(row, rows.len() - 1);
            prop_assert_eq!(column, rows[row].width());
            let shown: String = rows.iter().map(|row| row.text()).collect();
            let bare = |text: &str| text.replace(' ', "");
            prop_assert_eq!(bare(&shown), format!("▸{}", bare(&Line::of(Style::PLAIN, &typed).text())));
        }
    }
}
