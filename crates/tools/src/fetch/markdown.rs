//! Converts HTML to Markdown. Called by `fetch` on a blocking thread.
//!
//! The conversion streams tokens and builds no tree: pages are untrusted, and the tree of a deeply nested page can take
//! quadratic time or overflow the stack. Unmatched tags are accepted.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use reqwest::Url;

/// The time limit for a page; the rest of the page is dropped.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The number of bytes between two checks of the time.
const STEP: usize = 16 << 10;

/// The size limit of the Markdown, in bytes. Only a hostile page exceeds it.
const MARKDOWN_MAX: usize = 8 << 20;

/// The largest number of nested quotes and lists that are indented.
const LEVELS_MAX: usize = 8;

/// Returns the page as Markdown, and whether it is complete.
pub(super) fn markdown(html: &str, base: &Url) -> (String, bool) {
    let page = Page {
        writer: RefCell::new(Writer {
            base: base.clone(),
            out: String::new(),
            newlines: 0,
            space: false,
            skipped: None,
            preformatted: false,
            item_begins: false,
            quotes: 0,
            lists: Vec::new(),
            link: None,
            cells: 0,
            rows: 0,
        }),
    };
    let tokenizer = Tokenizer::new(page, TokenizerOpts::default());
    let input = BufferQueue::default();
    let until = Instant::now() + TIMEOUT;
    let mut rest = html;
    while !rest.is_empty() && Instant::now() < until {
        let (step, after) = rest.split_at(rest.floor_char_boundary(STEP));
        rest = after;
        input.push_back(StrTendril::from_slice(step));
        // The tokenizer pauses for scripts. Continue without running them.
        let _paused = tokenizer.feed(&input);
    }
    tokenizer.end();
    let mut writer = tokenizer.sink.writer.into_inner();
    writer.close_link();
    let whole = rest.is_empty() && writer.out.len() < MARKDOWN_MAX;
    (writer.out, whole)
}

struct Page {
    writer: RefCell<Writer>,
}

impl TokenSink for Page {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut writer = self.writer.borrow_mut();
        match token {
            Token::CharacterTokens(text) => writer.text(&text),
            Token::TagToken(tag) => return writer.tag(&tag),
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

struct Writer {
    base: Url,
    out: String,
    /// The number of newlines to write before the next text.
    newlines: usize,
    /// Whether to write a space before the next text of the same line.
    space: bool,
    /// The open element whose content is skipped.
    skipped: Option<String>,
    preformatted: bool,
    /// Whether a list item has its marker and no text yet.
    item_begins: bool,
    quotes: usize,
    /// The number of the last item of each open list; `None` for an unordered list.
    lists: Vec<Option<u32>>,
    /// The offset of the link's text in `out`, and its target.
    link: Option<(usize, String)>,
    /// The number of cells in the current row.
    cells: usize,
    /// The number of rows in the current table.
    rows: usize,
}

impl Writer {
    fn text(&mut self, text: &str) {
        if self.skipped.is_some() {
            return;
        }
        if self.preformatted {
            self.put(text);
            return;
        }
        for (number, word) in text.split(|c: char| c.is_ascii_whitespace()).enumerate() {
            self.space |= number > 0;
            if !word.is_empty() {
                self.begin();
                self.put(word);
            }
        }
    }

    /// Writes pending newlines, indentation and markers before a text.
    fn begin(&mut self) {
        let newlines = std::mem::take(&mut self.newlines);
        let space = std::mem::take(&mut self.space);
        self.item_begins = false;
        if self.out.is_empty() {
            return;
        }
        if newlines > 0 {
            self.put(&"\n".repeat(newlines));
            self.put(&"> ".repeat(self.quotes.min(LEVELS_MAX)));
            let indented = self.lists.len().saturating_sub(1).min(LEVELS_MAX);
            self.put(&"  ".repeat(indented));
        } else if space && !self.out.ends_with([' ', '\n']) {
            self.put(" ");
        }
    }

    fn put(&mut self, text: &str) {
        if self.out.len() + text.len() <= MARKDOWN_MAX {
            self.out.push_str(text);
        }
    }

    /// Requests this many newlines before the next text. Within a table cell, requests a space.
    fn lines(&mut self, newlines: usize) {
        if self.cells > 0 {
            // A table cell has only one line.
            self.space = true;
        } else if !self.item_begins {
            self.newlines = self.newlines.max(newlines);
        }
    }

    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        let opens = tag.kind == TagKind::StartTag;
        if let Some(skipped) = &self.skipped {
            if !opens && skipped == name {
                self.skipped = None;
            }
            return TokenSinkResult::Continue;
        }
        if opens {
            let raw = match name {
                "script" => Some(RawKind::ScriptData),
                "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(RawKind::Rawtext),
                "title" | "textarea" => Some(RawKind::Rcdata),
                _ => None,
            };
            if raw.is_some() || (matches!(name, "svg" | "template") && !tag.self_closing) {
                self.skipped = Some(name.to_owned());
                return raw.map_or(TokenSinkResult::Continue, TokenSinkResult::RawData);
            }
        }
        match name {
            "a" => self.link(tag, opens),
            "img" => self.image(tag),
            "b" | "strong" => self.mark("**", opens),
            "i" | "em" => self.mark("*", opens),
            "code" | "kbd" | "samp" if !self.preformatted => self.mark("`", opens),
            "br" if self.preformatted => self.put("\n"),
            "br" => self.lines(1),
            "hr" => {
                self.lines(2);
                self.text("---");
                self.lines(2);
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.lines(2);
                if opens {
                    let level = name[1..].parse().unwrap_or(1);
                    self.text(&"#".repeat(level));
                    self.space = true;
                }
            }
            "pre" => self.preformatted(opens),
            "blockquote" => {
                self.lines(2);
                self.quotes = if opens {
                    self.quotes + 1
                } else {
                    self.quotes.saturating_sub(1)
                };
            }
            "ul" | "ol" | "menu" => self.list(name == "ol", opens),
            "li" => self.item(opens),
            "table" | "tr" | "td" | "th" => self.table(name, opens),
            "p" | "div" | "section" | "article" | "header" | "footer" | "main" | "nav"
            | "aside" | "form" | "fieldset" | "figure" | "figcaption" | "address" | "details"
            | "summary" | "dl" | "body" => self.lines(2),
            "dt" | "dd" | "option" | "caption" => self.lines(1),
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn mark(&mut self, mark: &str, opens: bool) {
        // Write a pending space before an opening mark, but after a closing mark.
        if opens {
            self.begin();
        }
        self.put(mark);
    }

    fn link(&mut self, tag: &Tag, opens: bool) {
        self.close_link();
        let target = attribute(tag, "href").and_then(|href| self.base.join(&href).ok());
        let Some(target) = target.filter(|target| opens && leads_elsewhere(target, &self.base))
        else {
            return;
        };
        self.begin();
        self.link = Some((self.out.len(), target.into()));
        self.put("[");
    }

    fn close_link(&mut self) {
        let Some((from, target)) = self.link.take() else {
            return;
        };
        if self.out.len() <= from + 1 {
            self.out.truncate(from);
        } else {
            self.put(&format!("]({target})"));
        }
    }

    fn image(&mut self, tag: &Tag) {
        let alt = attribute(tag, "alt").filter(|alt| !alt.trim().is_empty());
        if let Some(alt) = alt {
            self.text(&format!("![{}]", alt.trim()));
        }
    }

    fn preformatted(&mut self, opens: bool) {
        if opens == self.preformatted {
            return;
        }
        self.lines(2);
        if opens {
            self.begin();
            self.put("```\n");
        } else {
            if !self.out.ends_with('\n') {
                self.put("\n");
            }
            self.put("```");
        }
        self.preformatted = opens;
    }

    fn list(&mut self, numbered: bool, opens: bool) {
        self.lines(if self.lists.len() > usize::from(!opens) {
            1
        } else {
            2
        });
        if opens {
            self.lists.push(numbered.then_some(0));
        } else {
            self.lists.pop();
        }
    }

    fn item(&mut self, opens: bool) {
        self.lines(1);
        if !opens {
            return;
        }
        let number = self
            .lists
            .last_mut()
            .and_then(Option::as_mut)
            .map(|number| {
                *number += 1;
                *number
            });
        match number {
            Some(number) => self.text(&format!("{number}.")),
            None => self.text("*"),
        }
        self.space = true;
        self.item_begins = true;
    }

    fn table(&mut self, name: &str, opens: bool) {
        match (name, opens) {
            ("table", _) => {
                self.cells = 0;
                self.rows = 0;
                self.lines(2);
            }
            ("tr", true) => {
                self.end_row();
                self.lines(1);
            }
            ("td" | "th", true) => {
                if self.cells == 0 {
                    self.newlines = self.newlines.max(1);
                }
                self.space = true;
                self.text("|");
                self.space = true;
                self.cells += 1;
            }
            ("tr", false) => self.end_row(),
            _ => self.space = true,
        }
    }

    /// Ends a row. After the first row, writes the separator line by which Markdown recognizes a table.
    fn end_row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        if cells == 0 {
            return;
        }
        self.put(" |");
        self.space = false;
        self.rows += 1;
        self.lines(1);
        if self.rows == 1 {
            self.text(&format!("{}|", "|---".repeat(cells)));
            self.lines(1);
        }
    }
}

fn attribute(tag: &Tag, name: &str) -> Option<String> {
    let attribute = tag
        .attrs
        .iter()
        .find(|attribute| &*attribute.name.local == name)?;
    Some(attribute.value.to_string())
}

/// Returns whether the target is on another page, and is a web or mail address.
fn leads_elsewhere(target: &Url, base: &Url) -> bool {
    let page = |url: &Url| {
        let mut url = url.clone();
        url.set_fragment(None);
        url
    };
    ["http", "https", "mailto"].contains(&target.scheme()) && page(target) != page(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(html: &str) -> String {
        let base = Url::parse("https://example.com/docs/").unwrap();
        let (text, whole) = markdown(html, &base);
        assert!(whole);
        text
    }

    #[test]
    fn a_page_keeps_its_structure() {
        let page = "<title>T</title><style>p{}</style><script>if (a < b) '</p>'</script>\
            <body>\n <h1>Head <i>line</i></h1>\n<p>Some <b>bold</b> and\n <code>a &lt; b</code>, \
            <a href='x?y#z'>link</a> <a href='#here'>here</a> <a href='/n'></a>.<br>Next\
            <ul><li>one<ul><li><p>in</p></li></ul><li>two</ul><ol><li>a<li>b</ol>\
            <blockquote>q<p>r</blockquote><pre><code>let a = 1;\n  b\n</code></pre>\
            <table><tr><th>k<th>v</tr><tr><td>a<p>b</td><td>1</td></tr></table>end<hr><img alt=pic src=p>";
        let expected = "# Head *line*\n\nSome **bold** and `a < b`, [link](https://example.com/docs/x?y#z) here \
                        .\nNext\n\n\
            * one\n  * in\n\n* two\n\n1. a\n2. b\n\n> q\n\n> r\n\n```\nlet a = 1;\n  b\n```\n\n\
            | k | v |\n|---|---|\n| a b | 1 |\n\nend\n\n---\n\n![pic]";
        assert_eq!(convert(page), expected);
    }

    #[test]
    fn deep_nesting_takes_linear_time() {
        for part in [
            "<div>",
            "<b>x",
            "<ul><li>",
            "<blockquote>x",
            "<table><tr><td>",
            "<a href=x>y",
            "</p></b>",
            "<svg>",
        ] {
            let begun = Instant::now();
            let (text, _) = markdown(&part.repeat(50_000), &Url::parse("https://a.b/").unwrap());
            assert!(begun.elapsed() < TIMEOUT, "{part} {:?}", begun.elapsed());
            assert!(text.len() <= MARKDOWN_MAX);
        }
    }

    #[test]
    fn conversion_stops_at_the_time_limit() {
        let attributes: String = (0..400_000).map(|n| format!(" a{n}")).collect();
        let begun = Instant::now();
        let _text = markdown(
            &format!("<p{attributes}>"),
            &Url::parse("https://a.b/").unwrap(),
        );
        assert!(begun.elapsed() < TIMEOUT * 3, "{:?}", begun.elapsed());
    }
}
