//! Styled text in lines, the basis of all rendering; pure.
//!
//! A [`Line`] contains only visible characters: text from other sources is escaped here on its way to a terminal.

use agent_team_protocol::status::Status;
use agent_team_protocol::text::visible_line;
use unicode_width::UnicodeWidthChar;

use crate::style::{SemanticColour, Style, Theme};

/// The replacement for a tab.
const TAB: &str = "    ";

/// The end of a row's gutter if no blank is left out between this row and the previous row.
const CONTINUED: &str = "↪ ";

#[derive(Debug, Clone, PartialEq, Eq)]
struct StyledText {
    style: Style,
    text: String,
}

/// One line of any length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    spans: Vec<StyledText>,
}

impl Line {
    pub fn of(style: Style, text: &str) -> Self {
        let mut line = Self::default();
        line.push(style, text);
        line
    }

    /// The lines of a text.
    pub fn all(style: Style, text: &str) -> impl Iterator<Item = Self> {
        text.lines().map(move |line| Self::of(style, line))
    }

    /// The lines of a unified diff.
    pub fn diff(text: &str) -> impl Iterator<Item = Self> {
        text.lines().map(|line| {
            let style = match line.as_bytes().first() {
                Some(b'+') => Style::of(SemanticColour::Added),
                Some(b'-') => Style::of(SemanticColour::Removed),
                Some(b'@') => Style::of(SemanticColour::Position),
                Some(_) | None => Style::PLAIN,
            };
            Self::of(style, line)
        })
    }

    /// A runtime line in the style of its leading sign: `✓ T-3 completed`, `✗ T-4 failed: exit 1`, `── T-5 Test`,
    /// `✉ you: continue`, `● edit(…)`, `… waiting`.
    pub fn runtime(text: &str) -> Self {
        let status = Status::ALL.into_iter().find(|status| {
            let rest = text.trim_start().strip_prefix(status.sign());
            rest.is_some_and(|rest| rest.starts_with(' '))
        });
        if let Some(status) = status {
            return Self::of(Style::of(status.into()), text);
        }
        let label = match text.chars().next() {
            Some('…' | '▸') => return Self::of(Style::DIM, text),
            Some('─' | '━') => text.len(),
            // The label is the sender of a message, or the tool of a call.
            Some('✉') => text.find(": ").map_or(0, |at| at + 1),
            Some('●') => text.find('(').unwrap_or(text.len()),
            Some(_) | None => 0,
        };
        let mut line = Self::of(Style::BOLD, &text[..label]);
        line.push(Style::PLAIN, &text[label..]);
        line
    }

    /// Appends a text. Replaces tabs by blanks and escapes control characters.
    pub fn push(&mut self, style: Style, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = text.replace('\t', TAB);
        let text = visible_line(&text);
        match self.spans.last_mut() {
            Some(last) if last.style == style => last.text.push_str(&text),
            Some(_) | None => self.spans.push(StyledText {
                style,
                text: text.into_owned(),
            }),
        }
    }

    /// Appends a character that is known to be visible.
    pub(crate) fn put(&mut self, style: Style, c: char) {
        match self.spans.last_mut() {
            Some(last) if last.style == style => last.text.push(c),
            Some(_) | None => self.spans.push(StyledText {
                style,
                text: c.into(),
            }),
        }
    }

    pub fn append(&mut self, other: &Self) {
        for span in &other.spans {
            self.push(span.style, &span.text);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The length of the text in bytes.
    pub(crate) fn len(&self) -> usize {
        self.spans.iter().map(|span| span.text.len()).sum()
    }

    /// The width of the text in columns.
    pub fn width(&self) -> usize {
        self.characters().map(|(_, c)| columns(c)).sum()
    }

    /// The text without styles.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }

    /// The bytes for a terminal, with all styles reset at the end.
    pub fn ansi(&self, theme: Theme) -> String {
        let spans = self.spans.iter();
        spans
            .map(|span| theme.paint(span.style, &span.text))
            .collect()
    }

    /// The first `most` columns.
    pub fn clipped(&self, most: usize) -> Self {
        let mut clipped = Self::default();
        let mut width = 0;
        for (style, c) in self.characters() {
            width += columns(c);
            if width > most {
                break;
            }
            clipped.put(style, c);
        }
        clipped
    }

    /// At most `most` columns. A line that is longer ends with `…` after its last word that fits.
    pub fn cut(&self, most: usize) -> Self {
        if self.width() <= most {
            return self.clone();
        }
        let all: Vec<(Style, char)> = self.characters().collect();
        let end = match most.checked_sub(1) {
            None => return Self::default(),
            Some(0) => 0,
            // A character that is wider than the row does not fit.
            Some(room) => end_of_row(&all, room).min(fitting(&all, room)),
        };
        let mut row = Self::default();
        for (style, c) in &all[..end] {
            row.put(*style, *c);
        }
        let mut row = row.without_trailing_blanks();
        let style = all
            .get(end.saturating_sub(1))
            .map_or(Style::PLAIN, |it| it.0);
        row.put(style, '…');
        row
    }

    /// Whether the text contains `wanted`, in upper or lower case.
    pub fn contains(&self, wanted: &str) -> bool {
        !wanted.is_empty() && self.text().to_lowercase().contains(&wanted.to_lowercase())
    }

    /// The line with each occurrence of `wanted`, in upper or lower case, in reverse video.
    pub fn highlighted(&self, wanted: &str) -> Self {
        let wanted: Vec<String> = wanted.chars().map(lower_case).collect();
        let all: Vec<(Style, char)> = self.characters().collect();
        if wanted.is_empty() || wanted.len() > all.len() {
            return self.clone();
        }
        let lower: Vec<String> = all.iter().map(|(_, c)| lower_case(*c)).collect();
        let (mut line, mut highlighted) = (Self::default(), 0);
        for (at, (style, c)) in all.into_iter().enumerate() {
            if lower[at..].starts_with(&wanted) {
                highlighted = at + wanted.len();
            }
            let is_found = at < highlighted;
            line.put(if is_found { style.reversed() } else { style }, c);
        }
        line
    }

    /// Wraps to rows of at most `most` columns, between words if possible. All rows but the first are indented by
    /// `hanging` blanks, but by less than half a row.
    pub fn wrapped(&self, most: usize, hanging: usize) -> Vec<Self> {
        // Leave room for the widest character after the indentation.
        let hanging = hanging.min(most.saturating_sub(2) / 2);
        let all: Vec<(Style, char)> = self.characters().collect();
        let mut rows = Vec::new();
        let mut start = 0;
        while start < all.len() {
            let room = if rows.is_empty() {
                most
            } else {
                most - hanging
            };
            let end = end_of_row(&all[start..], room.max(2)) + start;
            let mut row = Self::default();
            if !rows.is_empty() {
                row.push(Style::PLAIN, &" ".repeat(hanging));
            }
            for (style, c) in &all[start..end] {
                row.put(*style, *c);
            }
            rows.push(row.without_trailing_blanks());
            start = end;
        }
        if rows.is_empty() {
            rows.push(Self::default());
        }
        rows
    }

    /// Wraps the line beside a gutter so that different lines have different rows. At most one blank is left out
    /// between two rows. If a blank is left out, the gutter of the second row is blank. If none is left out, that
    /// gutter has the sign `↪`. Blanks at the end of a row are in reverse video. `gutter` ends with a blank.
    pub(crate) fn beside(&self, gutter: &Self, columns: usize) -> Vec<Self> {
        let width = gutter.width();
        let room = columns.saturating_sub(width).max(2);
        let all: Vec<(Style, char)> = self.characters().collect();
        let mut rows = Vec::new();
        let (mut rest, mut row) = (all.as_slice(), gutter.clone());
        loop {
            let end = exact_end_of_row(rest, room);
            let words = end - trailing_blanks(&rest[..end]);
            for (at, (style, c)) in rest[..end].iter().enumerate() {
                let is_word = at < words;
                row.put(if is_word { *style } else { style.reversed() }, *c);
            }
            rows.push(row);
            let Some((_, next)) = rest.get(end) else {
                return rows;
            };
            let is_between_words = *next == ' ' && words == end;
            row = Self::of(Style::PLAIN, &" ".repeat(width.saturating_sub(2)));
            row.push(Style::DIM, if is_between_words { "  " } else { CONTINUED });
            rest = &rest[end + usize::from(is_between_words)..];
        }
    }

    /// Removes trailing blanks.
    fn without_trailing_blanks(mut self) -> Self {
        while let Some(last) = self.spans.last_mut() {
            last.text.truncate(last.text.trim_end_matches(' ').len());
            if !last.text.is_empty() {
                break;
            }
            self.spans.pop();
        }
        self
    }

    /// Pieces of the text with their styles.
    pub fn spans(&self) -> impl Iterator<Item = (Style, &str)> {
        self.spans
            .iter()
            .map(|span| (span.style, span.text.as_str()))
    }

    fn characters(&self) -> impl Iterator<Item = (Style, char)> {
        self.spans
            .iter()
            .flat_map(|span| span.text.chars().map(|c| (span.style, c)))
    }
}

/// The width of a character of a line, in columns.
pub(crate) fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

fn lower_case(c: char) -> String {
    c.to_lowercase().collect()
}

/// The number of characters that take at most `room` columns.
fn fitting(all: &[(Style, char)], room: usize) -> usize {
    let mut width = 0;
    let fits = |(_, c): &&(Style, char)| {
        width += columns(*c);
        width <= room
    };
    all.iter().take_while(fits).count()
}

/// The number of characters of the next row. The row ends after a word if possible.
fn end_of_row(all: &[(Style, char)], room: usize) -> usize {
    let (mut width, mut next_word, mut seen_word) = (0, None, false);
    for (at, (_, c)) in all.iter().enumerate() {
        width += columns(*c);
        if width > room && *c != ' ' {
            // Never split a character, and never return an empty row.
            return next_word.unwrap_or(at).max(1);
        }
        if *c != ' ' {
            seen_word = true;
        } else if seen_word {
            next_word = Some(at + 1);
        }
    }
    all.len()
}

/// The number of characters in a row of [`Line::beside`]: up to the first blank after the last word that fits, or as
/// many as fit if no word fits.
fn exact_end_of_row(rest: &[(Style, char)], room: usize) -> usize {
    let most = fitting(rest, room);
    if most == rest.len() {
        return most;
    }
    let is_end_of_word = |at: &usize| rest[*at].1 == ' ' && rest[*at - 1].1 != ' ';
    let end_of_word = (1..=most).rev().find(is_end_of_word);
    // Never split a character, and never return an empty row.
    end_of_word.unwrap_or(most.max(1))
}

fn trailing_blanks(row: &[(Style, char)]) -> usize {
    row.iter().rev().take_while(|(_, c)| *c == ' ').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str, most: usize, hanging: usize) -> Vec<String> {
        let line = Line::of(Style::PLAIN, text);
        let rows = line.wrapped(most, hanging);
        rows.iter().map(Line::text).collect()
    }

    #[test]
    fn rows_wrap_between_words_with_indentation() {
        assert_eq!(rows("one two three", 8, 2), ["one two", "  three"]);
        assert_eq!(rows("abcdefgh", 3, 0), ["abc", "def", "gh"]);
        assert_eq!(rows("名前名前", 5, 0), ["名前", "名前"]);
        assert_eq!(rows("", 5, 0), [""]);
    }

    /// The rows beside the gutter `> `, with trailing blanks as `_`.
    fn beside(text: &str, columns: usize) -> Vec<String> {
        let rows = Line::of(Style::PLAIN, text).beside(&Line::of(Style::PLAIN, "> "), columns);
        let text = |row: &Line| {
            let spans = row.spans().map(|(style, text)| match style.reversed {
                true => text.replace(' ', "_"),
                false => text.to_owned(),
            });
            spans.collect()
        };
        rows.iter().map(text).collect()
    }

    #[test]
    fn a_row_that_continues_a_word_has_a_sign() {
        assert_eq!(beside("rm ab cd", 7), ["> rm ab", "  cd"]);
        assert_eq!(beside("rm abcd", 7), ["> rm", "  abcd"]);
        assert_eq!(beside("abcde fghij", 7), ["> abcde", "  fghij"]);
        assert_eq!(beside("abcdefghij", 7), ["> abcde", "↪ fghij"]);
        assert_eq!(beside("名前名前", 7), ["> 名前", "↪ 名前"]);
    }

    #[test]
    fn blanks_at_the_end_of_a_row_are_visible() {
        assert_eq!(beside("abcde  fgh", 7), ["> abcde", "   fgh"]);
        assert_eq!(beside("ab ", 7), ["> ab_"]);
        assert_eq!(beside("abcde ", 7), ["> abcde", "  "]);
        assert_eq!(beside("abcde  ", 7), ["> abcde", "  _"]);
        assert_eq!(beside("       a", 7), ["> _____", "↪   a"]);
        assert_eq!(beside("", 7), ["> "]);
    }

    #[test]
    fn a_cut_line_ends_after_a_word() {
        let cut = |text, most| Line::of(Style::PLAIN, text).cut(most).text();
        assert_eq!(cut("one two three", 13), "one two three");
        assert_eq!(cut("one two three", 12), "one two…");
        assert_eq!(cut("one two three", 8), "one two…");
        assert_eq!(cut("abcdefgh", 4), "abc…");
        assert_eq!(cut("名前", 2), "…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn found_text_is_reversed_in_upper_and_lower_case() {
        let mut line = Line::of(Style::BOLD, "Write ");
        line.push(Style::PLAIN, "the writers");
        let found: Vec<_> = line
            .highlighted("WRITE")
            .spans()
            .map(|(style, text)| (style.reversed, text.to_owned()))
            .collect();
        let expected = [
            (true, "Write"),
            (false, " "),
            (false, "the "),
            (true, "write"),
            (false, "rs"),
        ];
        assert_eq!(
            found,
            expected.map(|(found, text)| (found, text.to_owned()))
        );
        assert!(line.contains("e W") && !line.contains("wrote") && !line.contains(""));
        // The search is not limited to one style.
        assert_eq!(line.highlighted("e t").text(), line.text());
    }

    #[test]
    fn a_line_contains_only_visible_text() {
        let line = Line::of(Style::PLAIN, "a\x1b]52;c;eA==\x07\u{202e}\r\tb");
        assert_eq!(
            line.ansi(Theme::Dark),
            "a\\e]52;c;eA==\\u{7}\\u{202e}\\r    b"
        );
    }

    #[test]
    fn a_sign_selects_the_style_of_its_line() {
        let styles = |text: &str| -> Vec<(Style, String)> {
            let line = Line::runtime(text);
            let spans = line.spans();
            spans
                .map(|(style, text)| (style, text.to_owned()))
                .collect()
        };
        let whole = |style: Style, text: &str| assert_eq!(styles(text), [(style, text.to_owned())]);
        whole(Style::of(SemanticColour::Success), "✓ T-1 completed in 2 s");
        whole(Style::of(SemanticColour::Failure), "  ✗ exit 1");
        whole(
            Style::of(SemanticColour::Attention),
            "? P-1 edit src/lib.rs",
        );
        whole(Style::of(SemanticColour::Working), "◐ building");
        whole(Style::DIM, "… waiting: the model is busy");
        whole(Style::BOLD, "── T-1 Build");
        whole(Style::PLAIN, "✗no sign");
        whole(Style::PLAIN, "?");
        let (label, rest) = ("✉ ada:".to_owned(), " look: here".to_owned());
        let message = [(Style::BOLD, label), (Style::PLAIN, rest)];
        assert_eq!(styles("✉ ada: look: here"), message);
        let (tool, input) = ("● edit".to_owned(), "(path: a)".to_owned());
        assert_eq!(
            styles("● edit(path: a)"),
            [(Style::BOLD, tool), (Style::PLAIN, input)]
        );
    }

    proptest! {
        #[test]
        fn wrapping_respects_the_width_and_loses_no_word(text in "[ab名 é]{0,60}", most in 2_usize..30, hanging in 0_usize..6) {
            let line = Line::of(Style::PLAIN, &text);
            let wrapped = line.wrapped(most, hanging);
            for row in &wrapped {
                prop_assert!(row.width() <= most, "{row:?} in {most}");
            }
            let bare = |text: &str| text.replace(' ', "");
            let all: String = wrapped.iter().map(Line::text).collect();
            prop_assert_eq!(bare(&all), bare(&text));
            let cut = line.cut(most);
            prop_assert!(cut.width() <= most, "{cut:?} in {most}");
        }

        /// The text can be read back from the rows: a blank gutter replaces one blank, a gutter with a sign replaces none.
        #[test]
        fn rows_beside_a_gutter_show_every_character(text in "[ab名 é]{0,60}", columns in 4_usize..30) {
            let rows = Line::of(Style::PLAIN, &text).beside(&Line::of(Style::PLAIN, "> "), columns);
            let mut read = String::new();
            for row in &rows {
                prop_assert!(row.width() <= columns, "{row:?} in {columns}");
                let row = row.text();
                let mut row = row.chars();
                match row.next() {
                    Some('>' | '↪') => {}
                    _ => read.push(' '),
                }
                read.extend(row.skip(1));
            }
            prop_assert_eq!(read, text);
        }
    }
}
