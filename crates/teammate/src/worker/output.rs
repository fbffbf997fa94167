//! The part of a member's output that is not sent to the supervisor yet. Pure; memory is bounded.

/// The largest text of one `task/output`, in bytes.
pub(super) const OUTPUT_MAX: usize = 16 << 10;

/// Output that waits to be sent to the supervisor. If the output exceeds the limit, its middle is dropped, and its
/// beginning and newest part are sent.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    head: String,
    tail: String,
    /// The number of bytes dropped between `head` and `tail`.
    dropped: usize,
}

/// The capacity of each half: half of [`OUTPUT_MAX`], less room for the note.
const HALF: usize = OUTPUT_MAX / 2 - 64;

impl Coalescer {
    pub(super) fn push(&mut self, text: &str) {
        let mut text = text;
        if self.tail.is_empty() && self.dropped == 0 {
            let fits = text.floor_char_boundary(HALF.saturating_sub(self.head.len()));
            self.head.push_str(&text[..fits]);
            text = &text[fits..];
        }
        self.tail.push_str(text);
        let excess = self.tail.len().saturating_sub(HALF);
        if excess > 0 {
            let excess = self.tail.ceil_char_boundary(excess);
            self.tail.drain(..excess);
            self.dropped += excess;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    /// Takes the next output to send, at most [`OUTPUT_MAX`] bytes.
    pub(super) fn take(&mut self) -> String {
        let Self {
            head,
            tail,
            dropped,
        } = std::mem::take(self);
        match dropped {
            0 => head + &tail,
            dropped => format!("{head}\n… {dropped} bytes omitted …\n{tail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_within_the_limit_is_complete() {
        let mut output = Coalescer::default();
        let text = "é".repeat(HALF);
        output.push(&text[..100]);
        output.push(&text[100..]);
        assert_eq!(output.take(), text);
        assert!(output.is_empty());
    }

    #[test]
    fn excess_output_loses_its_middle() {
        let mut output = Coalescer::default();
        output.push("begin\n");
        for _ in 0..10_000 {
            output.push("some é line\n");
        }
        output.push("end");
        let text = output.take();
        assert!(text.len() <= OUTPUT_MAX, "{}", text.len());
        assert!(text.starts_with("begin\n") && text.ends_with("end"));
        assert!(text.contains("bytes omitted"));
    }
}
