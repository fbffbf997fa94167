//! The output of one member, as rows of the screen. Used by [`super::state`] and drawn by [`super::draw`]; pure.
//!
//! Styles join no lines and drop no characters. Above [`OUTPUT_MAX`], the oldest lines are dropped.

use std::cell::RefCell;

use agent_team_protocol::MemberName;
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::log::LineStyles;

use crate::output::text;

/// Maximum number of bytes of a member's output to keep.
const OUTPUT_MAX: usize = 256 << 10;

#[derive(Debug, Default)]
pub(super) struct Output {
    member: Option<MemberName>,
    /// The log of the member is not opened yet.
    pub(super) is_unopened: bool,
    /// Without control characters.
    text: String,
    /// An agent wrote the text, so that it may be Markdown.
    is_markdown: bool,
    rows: RefCell<Rows>,
}

/// The rows of the first `read` bytes of the text, which are complete lines.
#[derive(Debug, Default)]
struct Rows {
    columns: usize,
    read: usize,
    lines: LineStyles,
    rows: Vec<Line>,
}

impl Output {
    /// The output of a member, still empty. `is_agent`: the output may be Markdown.
    pub(super) fn of_member(member: Option<MemberName>, is_agent: bool) -> Self {
        Self {
            is_unopened: member.is_some(),
            member,
            is_markdown: is_agent,
            ..Self::default()
        }
    }

    pub(super) fn member(&self) -> Option<&MemberName> {
        self.member.as_ref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Appends raw output.
    pub(super) fn push(&mut self, printed: &str) {
        self.text.push_str(&text::of_program(printed));
        if self.text.len() > OUTPUT_MAX {
            let from = self.text.len() - OUTPUT_MAX / 2;
            let from = self.text.floor_char_boundary(from);
            let line = self.text[from..].find('\n').map_or(0, |end| end + 1);
            self.text.drain(..from + line);
            self.rows = RefCell::default();
        }
    }

    /// Calls `read` with all rows. Only the new lines since the last call with the same `columns`, and an unfinished
    /// last line, are styled and wrapped.
    pub(super) fn with_rows<T>(&self, columns: usize, read: impl FnOnce(&[Line]) -> T) -> T {
        let mut cached = self.rows.borrow_mut();
        if cached.columns != columns {
            *cached = Rows {
                columns,
                ..Rows::default()
            };
        }
        let Rows {
            read: done,
            lines,
            rows,
            ..
        } = &mut *cached;
        let complete = self.text.rfind('\n').map_or(0, |newline| newline + 1);
        for line in self.text[*done..complete].lines() {
            rows.extend(lines.style(line, self.is_markdown).wrapped(columns, 2));
        }
        *done = complete;
        // The last line may still grow, so its rows are removed again.
        let length = rows.len();
        if complete < self.text.len() {
            let line = lines
                .clone()
                .style(&self.text[complete..], self.is_markdown);
            rows.extend(line.wrapped(columns, 2));
        }
        let result = read(rows);
        rows.truncate(length);
        result
    }
}

#[cfg(test)]
mod tests {
    use agent_team_terminal_ui::style::{SemanticColour, Style};

    use super::*;

    fn rows(output: &Output, columns: usize) -> Vec<String> {
        output.with_rows(columns, |rows| rows.iter().map(Line::text).collect())
    }

    #[test]
    fn rows_grow_with_the_output_and_wrap_between_words() {
        let mut output = Output::default();
        output.push("one two three\nfo");
        assert_eq!(rows(&output, 9), ["one two", "  three", "fo"]);
        output.push("ur\n\u{1b}[31mred\u{1b}[0m\r\n");
        assert_eq!(rows(&output, 9), ["one two", "  three", "four", "red"]);
        assert_eq!(rows(&output, 20), ["one two three", "four", "red"]);
    }

    #[test]
    fn output_is_bounded() {
        let mut output = Output::default();
        for _ in 0..100 {
            output.push(&"x".repeat(9_999));
            output.push("\n");
            output.with_rows(80, |_| ());
        }
        assert!(output.text.len() <= OUTPUT_MAX);
        assert!(
            output.text.starts_with('x'),
            "the output does not start at the beginning of a line"
        );
        assert!(rows(&output, 80)[0].starts_with('x'));
    }

    #[test]
    fn styles_change_no_character() {
        let text = "# Title\nuse `a` and **b**, 2 * 3 ** 4 `\n```\n# code\n```\n● edit(a)\n@@ -1 +1 @@\n-a\n+b\n✓ T-1 done\n- item";
        let mut output = Output::of_member(None, true);
        output.push(text);
        assert_eq!(rows(&output, 80), text.lines().collect::<Vec<_>>());
        let styles = |line: usize| -> Vec<(Style, String)> {
            output.with_rows(80, |rows| {
                rows[line]
                    .spans()
                    .map(|(style, text)| (style, text.to_owned()))
                    .collect()
            })
        };
        let one = |style, text: &str| vec![(style, text.to_owned())];
        assert_eq!(
            styles(0),
            one(Style::of(SemanticColour::Heading).bold(), "# Title")
        );
        assert_eq!(
            styles(1)[1..4],
            [
                (Style::of(SemanticColour::Code), "`a`".to_owned()),
                (Style::PLAIN, " and ".to_owned()),
                (Style::BOLD, "**b**".to_owned()),
            ]
        );
        assert_eq!(styles(3), one(Style::of(SemanticColour::Code), "# code"));
        assert_eq!(styles(7), one(Style::of(SemanticColour::Removed), "-a"));
        assert_eq!(styles(8), one(Style::of(SemanticColour::Added), "+b"));
        assert_eq!(
            styles(10),
            one(Style::PLAIN, "- item"),
            "the line after the diff counts as a part of it"
        );
    }
}
