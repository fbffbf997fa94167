//! Types that the patterns of all rules share: their reach, the context of a command, and a fault in their text.

/// How to match a rule: narrowly for allow, widely for deny and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Narrow,
    Wide,
}

/// An error with a byte offset relative to a part of a rule.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: String,
    pub(crate) instead: String,
}

impl Fault {
    pub(crate) fn new(at: usize, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            instead: instead.into(),
        }
    }

    pub(crate) fn after(mut self, bytes: usize) -> Self {
        self.at += bytes;
        self
    }
}

/// The meaning of the rest of a line for one of its commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CommandContext {
    /// Whether the command's input is another command's output.
    pub(crate) piped: bool,
    /// Whether the command's input is another command's output, or a file.
    pub(crate) fed: bool,
    /// Whether a `cd` changed the command's directory.
    pub(crate) after_cd: bool,
    /// Whether a later program of the pipeline may execute the command's output.
    pub(crate) evaluated: bool,
}
