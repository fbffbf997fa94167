//! Renders one block of Markdown as lines. Used by the parent module; pure.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::code::Code;
use crate::line::Line;
use crate::style::{SemanticColour, Style};

const HEADING: Style = Style::of(SemanticColour::Heading).bold();
const CODE: Style = Style::of(SemanticColour::Code);

/// The minimum width to which text is wrapped.
const COLUMNS_MIN: usize = 4;

/// The separator of table columns.
const BETWEEN: &str = " │ ";

/// The lines of one block, indented by `indent` blanks, in at most `columns` columns.
pub(super) fn block(text: &str, indent: usize, columns: usize) -> Vec<Line> {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let columns = columns.max(COLUMNS_MIN);
    let mut page = Page {
        columns,
        lines: Vec::new(),
        line: Line::default(),
        styles: vec![Style::PLAIN],
        margins: vec![Margin::blanks(indent.min(columns / 2))],
        numbers: Vec::new(),
        code: None,
        table: None,
        link: None,
    };
    for event in Parser::new_ext(text, options) {
        page.event(event);
    }
    page.break_line();
    page.lines
}

/// The prefix of a block's lines.
#[derive(Debug, Clone)]
struct Margin {
    first: Option<Line>,
    rest: Line,
}

impl Margin {
    fn blanks(count: usize) -> Self {
        Self {
            first: None,
            rest: Line::of(Style::PLAIN, &" ".repeat(count)),
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    rows: Vec<Vec<Line>>,
}

struct Page {
    columns: usize,
    lines: Vec<Line>,
    /// The line under construction.
    line: Line,
    styles: Vec<Style>,
    margins: Vec<Margin>,
    /// The current numbers of open lists; `None`: an unordered list.
    numbers: Vec<Option<u64>>,
    code: Option<Code>,
    table: Option<Table>,
    /// The target and the text of the open link.
    link: Option<(String, String)>,
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => self.put(CODE, &text),
            Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::Html(text)
            | Event::InlineHtml(text)
            | Event::FootnoteReference(text) => self.text(&text),
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => self.break_line(),
            Event::Rule => {
                let rule = "─".repeat(self.columns.min(40));
                self.put(Style::DIM, &rule);
                self.break_line();
            }
            Event::TaskListMarker(done) => self.put(Style::PLAIN, if done { "☑ " } else { "☐ " }),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other tags need no special rendering"
    )]
    fn start(&mut self, tag: Tag<'_>) {
        let style = self.style();
        match tag {
            Tag::Heading { level, .. } => {
                self.break_line();
                self.styles.push(HEADING);
                let sign = "#".repeat(level_number(level));
                self.put(Style::DIM, &format!("{sign} "));
            }
            Tag::BlockQuote(_) => {
                self.break_line();
                self.margins.push(Margin {
                    first: None,
                    rest: Line::of(Style::DIM, "│ "),
                });
            }
            Tag::CodeBlock(kind) => {
                self.break_line();
                let info = match &kind {
                    CodeBlockKind::Fenced(info) => info.as_ref(),
                    CodeBlockKind::Indented => "",
                };
                self.code = Some(Code::of(info));
            }
            Tag::List(number) => {
                self.break_line();
                self.numbers.push(number);
            }
            Tag::Item => {
                self.break_line();
                let sign = match self.numbers.last_mut() {
                    Some(Some(number)) => {
                        let sign = format!("{number}. ");
                        *number += 1;
                        sign
                    }
                    Some(None) | None => "• ".into(),
                };
                let rest = " ".repeat(sign.chars().count());
                self.margins.push(Margin {
                    first: Some(Line::of(Style::DIM, &sign)),
                    rest: Line::of(Style::PLAIN, &rest),
                });
            }
            Tag::Table(_) => {
                self.break_line();
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::Emphasis => self.styles.push(Style {
                italic: true,
                ..style
            }),
            Tag::Strong => self.styles.push(Style {
                bold: true,
                ..style
            }),
            Tag::Strikethrough => self.styles.push(Style {
                struck: true,
                ..style
            }),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.styles.push(Style {
                    underlined: true,
                    ..style
                });
                self.link = Some((dest_url.into_string(), String::new()));
            }
            Tag::Paragraph => self.break_line(),
            _ => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other tags need no special rendering"
    )]
    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.break_line();
                self.styles.pop();
            }
            TagEnd::Paragraph => self.break_line(),
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.break_line();
                self.margins.pop();
            }
            TagEnd::CodeBlock => self.code = None,
            TagEnd::List(_) => {
                self.numbers.pop();
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.line);
                if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
                    row.push(cell);
                }
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.table(&table);
                }
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => {
                self.styles.pop();
            }
            TagEnd::Link | TagEnd::Image => {
                self.styles.pop();
                // Show the target, so that a link's text cannot hide it.
                if let Some((url, text)) = self.link.take()
                    && url != text
                {
                    self.put(Style::DIM, &format!(" ({url})"));
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(code) = &mut self.code {
            let lines: Vec<_> = text.lines().map(|line| code.line(line)).collect();
            for line in lines {
                let line = self.with_margin(&line);
                self.lines.push(line);
            }
            return;
        }
        self.put(self.style(), text);
    }

    fn put(&mut self, style: Style, text: &str) {
        if let Some((_, shown)) = &mut self.link {
            shown.push_str(text);
        }
        self.line.push(style, &text.replace('\n', " "));
    }

    fn style(&self) -> Style {
        self.styles.last().copied().unwrap_or_default()
    }

    /// Ends the line and wraps it to rows.
    fn break_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        let margin: usize = self.margins.iter().map(|margin| margin.rest.width()).sum();
        let room = self.columns.saturating_sub(margin).max(2);
        for row in line.wrapped(room, 0) {
            let row = self.with_margin(&row);
            self.lines.push(row.clipped(self.columns));
        }
    }

    fn with_margin(&mut self, row: &Line) -> Line {
        let mut line = Line::default();
        for margin in &mut self.margins {
            line.append(&margin.first.take().unwrap_or_else(|| margin.rest.clone()));
        }
        line.append(row);
        line
    }

    /// Renders a table in columns if they fit, otherwise each cell as a line.
    fn table(&mut self, table: &Table) {
        let Some((head, rows)) = table.rows.split_first() else {
            return;
        };
        let mut widths = vec![0; head.len()];
        for row in &table.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let margin: usize = self.margins.iter().map(|margin| margin.rest.width()).sum();
        let between = BETWEEN.chars().count() * widths.len().saturating_sub(1);
        let wide = margin + between + widths.iter().sum::<usize>();
        if wide <= self.columns {
            let rule: Vec<_> = widths.iter().map(|width| "─".repeat(*width)).collect();
            let mut lines = vec![in_columns(head, &widths, true)];
            lines.push(Line::of(Style::DIM, &rule.join("─┼─")));
            lines.extend(rows.iter().map(|row| in_columns(row, &widths, false)));
            for line in lines {
                let line = self.with_margin(&line);
                self.lines.push(line);
            }
            return;
        }
        for (number, row) in rows.iter().enumerate() {
            if number > 0 {
                self.lines.push(Line::default());
            }
            for (name, cell) in head.iter().zip(row) {
                self.line.push(Style::DIM, &format!("{}: ", name.text()));
                self.line.append(cell);
                self.break_line();
            }
        }
    }
}

fn in_columns(row: &[Line], widths: &[usize], is_head: bool) -> Line {
    let mut line = Line::default();
    for (number, (cell, width)) in row.iter().zip(widths).enumerate() {
        if number > 0 {
            line.push(Style::DIM, BETWEEN);
        }
        if is_head {
            let strong = Style {
                bold: true,
                ..Style::PLAIN
            };
            line.push(strong, &cell.text());
        } else {
            line.append(cell);
        }
        if number + 1 < widths.len() {
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            line.push(Style::PLAIN, &blanks);
        }
    }
    line
}

fn level_number(level: HeadingLevel) -> usize {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
