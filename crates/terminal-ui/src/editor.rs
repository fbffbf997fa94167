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
    search: Option<Search>,
    /// Whether the text is for a shell, which interprets a backslash at the end of a line itself.
    keeps_backslash: bool,
}

/// An incremental search of the history, newest entry first. The editor shows the entry that was found last.
#[derive(Debug)]
struct Search {
    query: String,
    /// The entry that is shown.
    found: Option<usize>,
    /// No entry contains the query.
    failed: bool,
    /// The text before the search.
    before: String,
}

impl Editor {
    /// Keeps the backslash at the end of a line that continues on the next line.
    pub(crate) fn keep_backslash(&mut self) {
        self.keeps_backslash = true;
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// A byte offset in the text.
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Returns whether the text is empty and no search is open.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.search.is_none()
    }

    pub(crate) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// The prompt of a search, which replaces the usual prompt.
    pub(crate) fn search_prompt(&self) -> Option<String> {
        let search = self.search.as_ref()?;
        let label = if search.failed { "not found" } else { "search" };
        Some(format!("{label}: {} ▸ ", search.query))
    }

    pub fn clear(&mut self) {
        self.set(String::new());
        self.shown = None;
        self.search = None;
    }

    /// Replaces a part of the text, and moves the cursor to the end of the new part.
    pub(crate) fn replace(&mut self, range: std::ops::Range<usize>, text: &str) {
        self.remove(range);
        self.insert(text);
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
        if self.search_key(key) {
            return None;
        }
        match key {
            Key::Enter if self.text[..self.cursor].ends_with('\\') => {
                // A backslash before Enter continues the text on a new line.
                if !self.keeps_backslash {
                    self.remove(self.cursor - 1..self.cursor);
                }
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
            Key::Control('r') => {
                self.search = Some(Search {
                    query: String::new(),
                    found: None,
                    failed: false,
                    before: self.text.clone(),
                });
            }
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

    /// Handles a keystroke during a search. Returns false if the caller must handle the key as usual: if no search is
    /// open, or if the key accepts the found text.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "any other key accepts the found text"
    )]
    fn search_key(&mut self, key: &Key) -> bool {
        let Some(search) = &mut self.search else {
            return false;
        };
        let older = match key {
            Key::Control('r') => true,
            Key::Char(c) => {
                search.query.push(*c);
                false
            }
            Key::Paste(text) => {
                search
                    .query
                    .push_str(text.lines().next().unwrap_or_default());
                false
            }
            Key::Backspace | Key::Control('h') => {
                search.query.pop();
                search.found = None;
                false
            }
            Key::Escape | Key::Control('c' | 'g') => {
                let before = std::mem::take(&mut search.before);
                self.search = None;
                self.set(before);
                return true;
            }
            _ => {
                // Enter sends only a text that contains the query.
                let stays = *key == Key::Enter && (search.failed || search.found.is_none());
                self.search = None;
                return stays;
            }
        };
        self.find(older);
        true
    }

    /// Shows the newest entry that contains the query. Skips the entries that are newer than the entry found before.
    /// With `older`, also skips the entry found before.
    fn find(&mut self, older: bool) {
        let Some(search) = &mut self.search else {
            return;
        };
        if search.query.is_empty() {
            search.failed = false;
            return;
        }
        let end = match (search.found, older) {
            (Some(found), true) => found,
            (Some(found), false) => found + 1,
            (None, _) => self.history.len(),
        };
        let matches = |at: &usize| self.history[*at].contains(&search.query);
        let found = (0..end).rev().find(matches);
        search.failed = found.is_none();
        if let Some(found) = found {
            search.found = Some(found);
            let text = self.history[found].clone();
            let at = text.find(&search.query).unwrap_or(0);
            self.shown = None;
            self.set(text);
            self.cursor = at;
        }
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
        assert_eq!(
            editor.text, "second\nline",
            "the cursor moves within the text first"
        );
        editor.press(&Key::Up);
        assert_eq!(editor.text, "first");
        editor.press(&Key::Up);
        assert_eq!(editor.text, "first", "the history has no older entry");
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

    fn remembering(entries: &[&str]) -> Editor {
        let mut editor = Editor::default();
        editor.remember(entries.iter().map(|entry| (*entry).to_owned()));
        editor
    }

    fn search(editor: &mut Editor, query: &str) {
        editor.press(&Key::Control('r'));
        for key in text(query) {
            editor.press(&key);
        }
    }

    #[test]
    fn a_search_finds_older_entries_and_enter_sends_one() {
        let mut editor = remembering(&["cargo test -p a", "ls", "cargo test -p b", "git log"]);
        search(&mut editor, "test");
        assert_eq!(editor.text, "cargo test -p b");
        assert_eq!(editor.cursor, 6);
        assert_eq!(editor.search_prompt().as_deref(), Some("search: test ▸ "));
        editor.press(&Key::Control('r'));
        assert_eq!(editor.text, "cargo test -p a");
        editor.press(&Key::Control('r'));
        assert_eq!(
            editor.search_prompt().as_deref(),
            Some("not found: test ▸ ")
        );
        assert_eq!(editor.press(&Key::Enter), None, "nothing more was found");
        assert_eq!(
            editor.press(&Key::Enter).as_deref(),
            Some("cargo test -p a")
        );
    }

    #[test]
    fn a_cancelled_search_restores_the_text() {
        for cancel in [Key::Escape, Key::Control('g'), Key::Control('c')] {
            let mut editor = remembering(&["one", "two"]);
            editor.insert("typed");
            search(&mut editor, "on");
            assert_eq!(editor.text, "one");
            editor.press(&cancel);
            assert_eq!((editor.text.as_str(), editor.cursor), ("typed", 5));
            assert!(!editor.is_searching());
        }
    }

    #[test]
    fn an_arrow_key_edits_the_found_entry() {
        let mut editor = remembering(&["one", "two"]);
        search(&mut editor, "wo");
        editor.press(&Key::Backspace);
        editor.press(&Key::Backspace);
        assert_eq!(editor.text, "two", "an empty query keeps the last entry");
        search(&mut editor, "");
        editor.press(&Key::Home);
        editor.press(&Key::Char('x'));
        assert_eq!(editor.press(&Key::Enter).as_deref(), Some("xtwo"));
    }

    #[test]
    fn a_shell_gets_the_backslash_of_a_continued_line() {
        let mut editor = Editor::default();
        editor.keep_backslash();
        editor.insert("echo a \\");
        assert_eq!(editor.press(&Key::Enter), None);
        editor.insert("b");
        assert_eq!(editor.press(&Key::Enter).as_deref(), Some("echo a \\\nb"));
    }

    proptest! {
        #[test]
        fn the_cursor_stays_valid_for_any_keys(pressed in proptest::collection::vec(0_usize..21, 0..60), most in 2_usize..30) {
            let keys = [
                Key::Char('a'), Key::Char(' '), Key::Char('é'), Key::Char('\u{301}'), Key::NewLine, Key::Left, Key::Right,
                Key::Up, Key::Down, Key::Backspace, Key::Delete, Key::DeleteWord, Key::WordRight, Key::Control('k'),
                Key::Char('名'), Key::Char('\u{202e}'), Key::Tab, Key::Paste("👩\u{200d}👩\u{1b}[2J".into()),
                Key::Control('r'), Key::Enter, Key::Escape,
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
