//! The text of a configuration file, and the faults found in it with their positions. Used by all modules that read
//! files.

use std::cell::RefCell;
use std::fmt;

use agent_team_protocol::text::position;

/// The largest number of faults of one file. The position of each fault is found by a scan of the file: without the
/// limit, a hostile file could delay the command for minutes.
const MAX_FAULTS: usize = 1000;

/// A fault or warning with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path, relative to the current directory if possible.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            hint: _,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

/// A file being read. Reading continues after a fault, so that the user sees all faults at once.
#[derive(Debug)]
pub(super) struct Source<'a> {
    file: String,
    text: &'a str,
    faults: RefCell<Vec<Fault>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: impl Into<String>, text: &'a str) -> Self {
        Self {
            file: file.into(),
            text,
            faults: RefCell::default(),
        }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Reports a fault at a byte offset.
    pub(super) fn fault(&self, at: usize, message: impl Into<String>) {
        self.push(at, message.into(), None);
    }

    pub(super) fn fault_with_hint(
        &self,
        at: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(at, message.into(), Some(hint.into()));
    }

    /// Creates a warning at a byte offset. The source does not store the warning.
    pub(super) fn warning(&self, at: usize, message: String) -> Fault {
        let (line, column) = position(self.text, at);
        Fault {
            file: self.file.clone(),
            line,
            column,
            message,
            hint: None,
        }
    }

    fn push(&self, at: usize, message: String, hint: Option<String>) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() >= MAX_FAULTS {
            return;
        }
        let message = match faults.len() + 1 {
            MAX_FAULTS => "there are more messages about this file, which are not listed".into(),
            _ => message,
        };
        faults.push(Fault {
            hint,
            ..self.warning(at, message)
        });
    }

    /// The first position at or after `from` at which all `parts` occur in order, separated only by whitespace.
    pub(super) fn find(&self, from: usize, parts: &[&str]) -> Option<usize> {
        let (first, rest) = parts.split_first()?;
        let text = self.text.get(from..)?;
        let follows = |mut text: &str| {
            rest.iter()
                .all(|part| match text.trim_start().strip_prefix(part) {
                    Some(after) => {
                        text = after;
                        true
                    }
                    None => false,
                })
        };
        let mut matches = text.match_indices(first);
        matches
            .find(|(at, _)| follows(&text[at + first.len()..]))
            .map(|(at, _)| from + at)
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        position(self.text, at).0
    }

    /// The faults that [`Source::take_faults`] has not returned, in the order of the file.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.take_faults()
    }

    /// The faults that were reported since the last call, in the order of the file.
    pub(super) fn take_faults(&self) -> Vec<Fault> {
        let mut faults = self.faults.take();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults
    }
}
