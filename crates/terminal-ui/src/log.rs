//! The style of each line of a member's log. Called by the transcript view for the end of the log, and by `top`; pure.
//!
//! The log of an agent mixes the text of its model with the output of programs, and nothing separates the two. So this
//! file styles Markdown without changing the text.

use crate::line::Line;
use crate::style::{SemanticColour, Style};

/// Selects the style of each line.
#[derive(Debug, Clone, Default)]
pub struct LineStyles {
    /// The line belongs to a unified diff.
    in_diff: bool,
    /// The line belongs to a fenced block of code.
    in_code: bool,
}

impl LineStyles {
    /// `is_markdown`: an agent wrote the log.
    pub fn style(&mut self, line: &str, is_markdown: bool) -> Line {
        if line.starts_with("@@ ") {
            self.in_diff = true;
        }
        self.in_diff &= line.starts_with(['@', '+', '-', ' ', '\\']);
        if self.in_diff {
            return Line::diff(line).next().unwrap_or_default();
        }
        let runtime = Line::runtime(line);
        let is_plain = runtime.spans().all(|(style, _)| style == Style::PLAIN);
        if !is_markdown || !is_plain {
            self.in_code &= is_plain;
            return runtime;
        }
        let is_fence = line.trim_start().starts_with("```");
        if is_fence {
            self.in_code = !self.in_code;
        }
        if is_fence || self.in_code {
            return Line::of(Style::of(SemanticColour::Code), line);
        }
        let text = line.trim_start_matches('#');
        if (1..=6).contains(&(line.len() - text.len())) && text.starts_with(' ') {
            return Line::of(Style::of(SemanticColour::Heading).bold(), line);
        }
        prose(line)
    }
}

/// Styles `code` and **strong** text.
fn prose(text: &str) -> Line {
    let mut line = Line::default();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*']) {
        let (mark, style) = match &rest[at..] {
            text if text.starts_with('`') => ("`", Style::of(SemanticColour::Code)),
            text if text.starts_with("**") => ("**", Style::BOLD),
            _ => ("", Style::PLAIN),
        };
        let begin = at + mark.len();
        let end = match mark {
            "" => None,
            mark => rest[begin..].find(mark).filter(|length| *length > 0),
        };
        line.push(Style::PLAIN, &rest[..at]);
        let next = match end {
            Some(length) => {
                let next = begin + length + mark.len();
                line.push(style, &rest[at..next]);
                next
            }
            None => {
                let next = begin.max(at + 1);
                line.push(Style::PLAIN, &rest[at..next]);
                next
            }
        };
        rest = &rest[next..];
    }
    line.push(Style::PLAIN, rest);
    line
}
