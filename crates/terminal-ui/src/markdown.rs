//! Renders Markdown as it streams in. Called by the transcript view for the model's text, and by clients for complete
//! texts ([`lines`]); pure.
//!
//! ```text
//!   pieces ─► lines ─► blocks ─ finished ─► styled lines, final
//!                        └─ the open one ─► tail, rendered as far as it is known
//! ```
//! A block is finished when no later line can change it: a heading or a code line at its end, a list item when the next
//! one begins, a paragraph or a table at the first line that does not belong to it. pulldown-cmark parses the content
//! of a block.

mod render;

use std::borrow::Cow;

use crate::code::Code;
use crate::line::Line;
use crate::style::Style;

/// The indentation of code.
const CODE_INDENT: &str = "  ";

/// The largest block in bytes; longer blocks are split.
const BLOCK_MAX: usize = 64 << 10;

#[derive(Debug, Default)]
pub(crate) struct Markdown {
    /// The line that is not complete yet.
    partial: String,
    open: Open,
    /// A block was printed before.
    above: bool,
    /// A blank line must separate the next block from the printed one.
    blank: bool,
}

/// The lines of a complete text, in at most `columns` columns; code is wrapped too.
pub fn lines(text: &str, columns: usize) -> Vec<Line> {
    let mut markdown = Markdown::default();
    let mut lines = markdown.push(text, columns);
    lines.extend(markdown.end(columns));
    let wrapped = lines.iter().flat_map(|line| line.wrapped(columns, 2));
    wrapped.collect()
}

/// The open block, to which the next line may belong.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Block {
        kind: Kind,
        /// Number of blanks before its first line.
        indent: usize,
        text: String,
    },
    Fence {
        mark: String,
        indent: usize,
        code: Code,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Paragraph,
    Item,
    Quote,
    Table,
}

impl Markdown {
    /// Adds a piece. Returns the lines that it finishes, in at most `columns` columns; code is not wrapped.
    pub(crate) fn push(&mut self, piece: &str, columns: usize) -> Vec<Line> {
        let mut finished = Vec::new();
        self.partial.push_str(&prose(piece));
        while let Some(newline) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=newline).collect();
            self.line(line.trim_end_matches(['\n', '\r']), columns, &mut finished);
        }
        if self.partial.len() > BLOCK_MAX {
            let line = std::mem::take(&mut self.partial);
            self.line(&line, columns, &mut finished);
        }
        finished
    }

    /// Ends the text. Returns its remaining lines, and resets the renderer.
    pub(crate) fn end(&mut self, columns: usize) -> Vec<Line> {
        let mut finished = Vec::new();
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.line(&rest, columns, &mut finished);
        }
        self.finish(columns, &mut finished);
        *self = Self::default();
        finished
    }

    /// Renders the unfinished rest.
    pub(crate) fn tail(&self, columns: usize) -> Vec<Line> {
        match &self.open {
            Open::Fence { .. } if self.partial.is_empty() => Vec::new(),
            Open::Fence { indent, .. } => {
                vec![code_line(*indent, &Line::of(Style::PLAIN, &self.partial))]
            }
            Open::Block { kind, indent, text } => {
                let continues = *kind != Kind::Table || self.partial.is_empty();
                let text = if continues {
                    format!("{text}{}", self.partial)
                } else {
                    text.clone()
                };
                render::block(&text, *indent, columns)
            }
            Open::Nothing => match Start::of(&self.partial) {
                Start::Fence { .. } | Start::Blank => Vec::new(),
                start @ (Start::Heading | Start::Rule | Start::Of(_)) => render::block(
                    self.partial.trim_start(),
                    start.indent(&self.partial),
                    columns,
                ),
            },
        }
    }

    fn line(&mut self, line: &str, columns: usize, finished: &mut Vec<Line>) {
        if let Open::Fence { mark, indent, code } = &mut self.open {
            let inner = line.trim();
            if inner.starts_with(mark.as_str()) && inner.chars().all(|c| mark.starts_with(c)) {
                self.open = Open::Nothing;
                self.blank = true;
                return;
            }
            let blanks = line.len() - line.trim_start_matches(' ').len();
            let line = code.line(&line[blanks.min(*indent)..]);
            finished.push(code_line(*indent, &line));
            return;
        }
        let start = Start::of(line);
        if self.continue_block(&start, line) {
            return;
        }
        self.finish(columns, finished);
        let indent = start.indent(line);
        match start {
            Start::Blank => {
                self.blank = true;
                return;
            }
            Start::Fence { mark, info } => {
                self.set_apart(finished);
                self.open = Open::Fence {
                    mark,
                    indent,
                    code: Code::of(&info),
                };
            }
            Start::Heading => {
                self.blank |= self.above;
                self.set_apart(finished);
                finished.extend(render::block(line, 0, columns));
                self.blank = true;
            }
            Start::Rule => {
                self.set_apart(finished);
                finished.extend(render::block("---", 0, columns));
            }
            Start::Of(kind) => {
                self.set_apart(finished);
                self.open = Open::Block {
                    kind,
                    indent,
                    text: format!("{}\n", line.trim_start()),
                };
            }
        }
        self.above = true;
    }

    /// Adds the line to the open block if the line belongs to that block; returns whether it does.
    fn continue_block(&mut self, start: &Start, line: &str) -> bool {
        let Open::Block { kind, indent, text } = &mut self.open else {
            return false;
        };
        let underlines =
            line.trim().chars().all(|c| c == '=') || line.trim().chars().all(|c| c == '-');
        let belongs = text.len() < BLOCK_MAX
            && match (*kind, start) {
                (_, Start::Blank) => false,
                // A setext heading.
                (Kind::Paragraph, _) if underlines => true,
                (Kind::Paragraph, Start::Of(Kind::Table)) if text.lines().count() == 1 => {
                    // If this line is a delimiter row, the first line of the paragraph was the head of a table.
                    let is_table = is_delimiter(line) && text.contains('|');
                    if is_table {
                        *kind = Kind::Table;
                    }
                    true
                }
                (Kind::Paragraph | Kind::Item | Kind::Quote, Start::Of(Kind::Paragraph)) => true,
                (Kind::Paragraph | Kind::Item, Start::Of(Kind::Table)) => true,
                (Kind::Quote, Start::Of(Kind::Quote)) => true,
                (Kind::Table, _) => line.contains('|'),
                (Kind::Paragraph | Kind::Item | Kind::Quote, _) => false,
            };
        if belongs {
            let blanks = line.len() - line.trim_start_matches(' ').len();
            text.push_str(&line[blanks.min(*indent)..]);
            text.push('\n');
        }
        belongs
    }

    fn finish(&mut self, columns: usize, finished: &mut Vec<Line>) {
        match std::mem::take(&mut self.open) {
            Open::Nothing => {}
            Open::Fence { .. } => self.blank = true,
            Open::Block { kind, indent, text } => {
                finished.extend(render::block(&text, indent, columns));
                self.blank = kind == Kind::Table;
            }
        }
    }

    fn set_apart(&mut self, finished: &mut Vec<Line>) {
        if std::mem::take(&mut self.blank) && self.above {
            finished.push(Line::default());
        }
    }
}

fn code_line(indent: usize, line: &Line) -> Line {
    let mut shown = Line::of(Style::PLAIN, &" ".repeat(indent));
    shown.push(Style::PLAIN, CODE_INDENT);
    shown.append(line);
    shown
}

/// The kind of block that a line starts.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    Blank,
    Heading,
    Rule,
    Fence { mark: String, info: String },
    Of(Kind),
}

impl Start {
    fn of(line: &str) -> Self {
        let text = line.trim();
        let Some(first) = text.chars().next() else {
            return Self::Blank;
        };
        if matches!(first, '`' | '~') {
            let info = text.trim_start_matches(first);
            let mark = &text[..text.len() - info.len()];
            if mark.len() >= 3 && !(first == '`' && info.contains('`')) {
                return Self::Fence {
                    mark: mark.to_owned(),
                    info: info.trim().to_owned(),
                };
            }
        }
        let hashes = text.len() - text.trim_start_matches('#').len();
        if (1..=6).contains(&hashes) && text[hashes..].starts_with(' ') {
            return Self::Heading;
        }
        let bare: String = text.chars().filter(|c| *c != ' ').collect();
        if matches!(first, '-' | '*' | '_') && bare.len() >= 3 && bare.chars().all(|c| c == first) {
            return Self::Rule;
        }
        if is_item(text) {
            return Self::Of(Kind::Item);
        }
        Self::Of(match first {
            '>' => Kind::Quote,
            '|' => Kind::Table,
            _ if is_delimiter(text) => Kind::Table,
            _ => Kind::Paragraph,
        })
    }

    fn indent(&self, line: &str) -> usize {
        match self {
            Self::Blank | Self::Heading | Self::Rule => 0,
            Self::Fence { .. } | Self::Of(_) => line.len() - line.trim_start_matches(' ').len(),
        }
    }
}

/// Replaces two characters of a model's prose that would otherwise be shown as escapes: no-break spaces become spaces,
/// and emoji variation selectors are dropped.
fn prose(piece: &str) -> Cow<'_, str> {
    if !piece.contains(['\u{a0}', '\u{202f}', '\u{fe0f}']) {
        return Cow::Borrowed(piece);
    }
    let piece = piece.replace(['\u{a0}', '\u{202f}'], " ");
    Cow::Owned(piece.replace('\u{fe0f}', ""))
}

fn is_item(text: &str) -> bool {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mark = match digits {
        0 => text.starts_with(['-', '*', '+']),
        1..=9 => text[digits..].starts_with(['.', ')']),
        _ => false,
    };
    mark && text[digits + 1..].starts_with([' ', '\t'])
}

/// Returns whether the line is the delimiter row of a table.
fn is_delimiter(line: &str) -> bool {
    let line = line.trim();
    line.contains('|')
        && line.contains('-')
        && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::text).collect()
    }

    /// Renders a whole text.
    fn shown(source: &str, columns: usize) -> String {
        let mut markdown = Markdown::default();
        let mut lines = markdown.push(source, columns);
        lines.extend(markdown.end(columns));
        let lines = texts(&lines);
        lines.join("\n") + "\n"
    }

    const SAMPLE: &str = r#"# What I found
The parser in `src/parse.rs` **never** checks the *length* of a line, see [the issue](https://example.org/7).

1. Read the file
   in one go
2. Split it:
   - at newlines
   - at `;`

```rust
fn main() {
    let x = "a"; // one
}
```

| file | lines | what is wrong |
|------|------:|---------------|
| `parse.rs` | 120 | no limit |
| `lex.rs` | 7 | ~~nothing~~ fine |

| what is wrong | where it is and what is to be done about it |
|---|---|
| no limit | in `parse.rs`, a constant |
| no test | everywhere |

> Be careful
> with tabs.

---
- [x] done
- [ ] not done
"#;

    #[test]
    fn renders_at_80_columns() {
        insta::assert_snapshot!(shown(SAMPLE, 80));
    }

    #[test]
    fn renders_at_40_columns() {
        insta::assert_snapshot!(shown(SAMPLE, 40));
    }

    #[test]
    fn finished_blocks_are_final_and_the_rest_is_the_tail() {
        let mut markdown = Markdown::default();
        assert_eq!(texts(&markdown.push("One **bo", 40)), [""; 0]);
        assert_eq!(texts(&markdown.tail(40)), ["One **bo"]);
        assert_eq!(texts(&markdown.push("ld**\n\nTwo", 40)), ["One bold"]);
        assert_eq!(texts(&markdown.tail(40)), ["Two"]);
        assert_eq!(texts(&markdown.end(40)), ["", "Two"]);
    }

    #[test]
    fn a_code_line_is_shown_as_soon_as_it_ends() {
        let mut markdown = Markdown::default();
        assert_eq!(texts(&markdown.push("```sh\nls\ncd", 40)), ["  ls"]);
        assert_eq!(texts(&markdown.tail(40)), ["  cd"]);
        assert_eq!(texts(&markdown.push(" /\n```\nSo", 40)), ["  cd /"]);
        assert_eq!(texts(&markdown.end(40)), ["", "So"]);
    }

    proptest! {
        /// The result does not depend on how the text is split.
        #[test]
        fn the_result_does_not_depend_on_pieces(cuts in proptest::collection::vec(0_usize..SAMPLE.len(), 0..12)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|at| SAMPLE.floor_char_boundary(at)).collect();
            cuts.extend([0, SAMPLE.len()]);
            cuts.sort_unstable();
            let mut markdown = Markdown::default();
            let mut lines = Vec::new();
            for piece in cuts.windows(2) {
                lines.extend(markdown.push(&SAMPLE[piece[0]..piece[1]], 60));
                markdown.tail(60);
            }
            lines.extend(markdown.end(60));
            prop_assert_eq!(texts(&lines).join("\n") + "\n", shown(SAMPLE, 60));
        }

        #[test]
        fn any_text_renders_within_the_width(source in "[-#>|`*_ \\[\\]():~0-9a\n\u{301}名!<&\\\\]{0,80}", columns in 4_usize..50) {
            let mut markdown = Markdown::default();
            let mut lines = markdown.push(&source, columns);
            markdown.tail(columns);
            lines.extend(markdown.end(columns));
            if !source.contains('`') && !source.contains('~') && !source.contains("    ") {
                for line in lines {
                    prop_assert!(line.width() <= columns, "{:?} of {:?}", line.text(), source);
                }
            }
        }
    }
}
