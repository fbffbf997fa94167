//! Untrusted text in HTML and SVG.

use std::fmt;

use agent_team_protocol::text::{visible, visible_line};

/// A text in markup, in an element or in a quoted attribute. Characters that could mislead the reader are shown by their
/// number, so the text also contains no character that XML does not permit.
pub(super) struct Escaped<'a>(pub(super) &'a str);

/// Like [`Escaped`], on one line.
pub(super) struct EscapedLine<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&visible(self.0), f)
    }
}

impl fmt::Display for EscapedLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&visible_line(self.0), f)
    }
}

fn escape(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        f.write_str(&rest[..at])?;
        f.write_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        })?;
        rest = &rest[at + 1..];
    }
    // XML does not permit these two characters.
    if rest.contains(['\u{fffe}', '\u{ffff}']) {
        return f.write_str(&rest.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}"));
    }
    f.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        let hostile =
            "</pre><script>alert(1)</script>\" onload='x' &lt; \u{202e}\u{0}\u{1b}[31m\u{ffff}";
        let shown = Escaped(hostile).to_string();
        for character in [
            '<', '>', '"', '\'', '\u{202e}', '\u{0}', '\u{1b}', '\u{ffff}',
        ] {
            assert!(!shown.contains(character), "{shown}");
        }
        assert!(shown.starts_with("&lt;/pre&gt;&lt;script&gt;"), "{shown}");
        assert!(shown.contains("&amp;lt;"), "{shown}");
        assert_eq!(EscapedLine("a\nb").to_string(), "a\\nb");
        assert_eq!(Escaped("a\nb").to_string(), "a\nb");
    }
}
