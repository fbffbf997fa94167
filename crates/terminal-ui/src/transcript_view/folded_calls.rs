//! Finished calls, each folded to one line. They are unfolded newest first. Used by the transcript view; pure.

use std::collections::VecDeque;

/// The maximum number of stored calls.
const CALLS: usize = 100;

/// The maximum number of bytes of the stored calls' results.
const BYTES: usize = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) header: String,
    /// The unified diff of a change whose card was folded.
    pub(super) diff: Option<String>,
    pub(super) result: String,
}

impl Call {
    fn bytes(&self) -> usize {
        self.diff.as_ref().map_or(0, String::len) + self.result.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct FoldedCalls {
    /// Newest last.
    calls: VecDeque<Call>,
    bytes: usize,
    /// The number of consecutively unfolded calls.
    opened: usize,
}

impl FoldedCalls {
    pub(super) fn add(&mut self, header: String, diff: Option<&str>, result: &str) {
        let cut = |text: &str| text[..text.floor_char_boundary(BYTES / 2)].to_owned();
        let (diff, result) = (diff.map(cut), cut(result));
        let call = Call {
            header,
            diff,
            result,
        };
        self.bytes += call.bytes();
        self.calls.push_back(call);
        while self.calls.len() > CALLS || self.bytes > BYTES {
            let oldest = self.calls.pop_front();
            self.bytes -= oldest.map_or(0, |call| call.bytes());
        }
        self.opened = 0;
    }

    /// Restarts at the newest call.
    pub(super) fn rewind(&mut self) {
        self.opened = 0;
    }

    /// The next call to unfold, and the number of newer calls; `None` if no older call is stored.
    pub(super) fn open(&mut self) -> Option<(&Call, usize)> {
        let newer = self.opened;
        let call = self.calls.iter().rev().nth(newer)?;
        self.opened += 1;
        Some((call, newer))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(folded: &mut FoldedCalls) -> Option<(String, usize)> {
        let (call, newer) = folded.open()?;
        Some((call.header.clone(), newer))
    }

    #[test]
    fn calls_unfold_from_the_newest_back() {
        let mut folded = FoldedCalls::default();
        assert_eq!(opened(&mut folded), None);
        for call in ["a", "b"] {
            folded.add(call.into(), None, "done");
        }
        assert_eq!(opened(&mut folded), Some(("b".into(), 0)));
        assert_eq!(opened(&mut folded), Some(("a".into(), 1)));
        assert_eq!(opened(&mut folded), None);
        folded.add("c".into(), None, "done");
        assert_eq!(opened(&mut folded), Some(("c".into(), 0)));
        folded.rewind();
        assert_eq!(opened(&mut folded), Some(("c".into(), 0)));
    }

    #[test]
    fn stored_calls_are_bounded() {
        let mut folded = FoldedCalls::default();
        for call in 0..3 * CALLS {
            folded.add(call.to_string(), None, &"é".repeat(BYTES / 50));
            assert!(folded.bytes <= BYTES && folded.calls.len() <= CALLS);
        }
        assert_eq!(opened(&mut folded), Some((format!("{}", 3 * CALLS - 1), 0)));
        let huge = "é".repeat(BYTES);
        folded.add("huge".into(), Some(&huge), &huge);
        assert_eq!((folded.calls.len(), folded.bytes), (1, BYTES));
        for _ in 0..3 * CALLS {
            folded.add(String::new(), None, "x");
        }
        assert_eq!(folded.calls.len(), CALLS);
    }
}
