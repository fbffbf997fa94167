//! The tail of a program's output, for results and errors. Pure, with bounded memory.

use std::collections::VecDeque;

/// The last bytes of an append-only text.
#[derive(Debug)]
pub struct Tail {
    kept: VecDeque<u8>,
    limit: usize,
    cut: bool,
}

impl Tail {
    pub fn new(limit: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            limit,
            cut: false,
        }
    }

    pub fn push(&mut self, text: &str) {
        self.kept.extend(text.as_bytes());
        let excess = self.kept.len().saturating_sub(self.limit);
        self.cut |= excess > 0;
        self.kept.drain(..excess);
    }

    /// The kept text without surrounding blank lines. If its beginning was dropped, the text starts at the first
    /// complete line, or, if there is only one line, at its first complete character.
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.kept.iter().copied().collect();
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if self.cut {
            // The first line, or at least its first character, may be truncated.
            let whole = text.trim_end().find('\n').map_or_else(
                || text.len() - text.trim_start_matches(char::REPLACEMENT_CHARACTER).len(),
                |newline| newline + 1,
            );
            text.drain(..whole);
        }
        text.trim_end().trim_start_matches('\n').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_contains_only_complete_lines() {
        let mut tail = Tail::new(10);
        tail.push("\n\nok\n");
        assert_eq!(tail.text(), "ok");
        tail.push("first\nsecond\n");
        assert_eq!(tail.text(), "second");
    }

    #[test]
    fn a_tail_of_one_long_line_is_the_end_of_the_line() {
        let mut tail = Tail::new(5);
        tail.push("ééé");
        assert_eq!(tail.text(), "éé");
    }
}
