//! Parses the literal subset of shell: words and quotes joined by `&&`, `||`, `;` and `|`, with plain redirections.
//! Called to judge a line, and to parse the command in a rule.
//!
//! [`read`] either returns exactly the words that bash would pass to each program, or explains why the text is
//! [`Complex`]. It never guesses: text that bash could expand, split, or treat as syntax is complex, even where it
//! would
//! have no effect. Tests run the same lines through bash.

mod lexical;
mod reader;

pub use reader::read;

/// Maximum length of a line in bytes; a longer one is complex.
pub const LINE_MAX: usize = 16 * 1024;

/// Maximum number of commands in a line; one with more is complex.
pub const COMMANDS_MAX: usize = 64;

/// A literal line: its steps in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub steps: Vec<Step>,
}

impl Line {
    /// Every command, in the order of the text.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        self.steps.iter().flat_map(|step| &step.pipeline)
    }
}

/// One pipeline, and when it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub join: Join,
    /// At least one command; the output of each is the input of the next.
    pub pipeline: Vec<Command>,
}

/// When a step runs, depending on the status of the last step that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Always: the first step, and after `;`.
    Then,
    /// On success: after `&&`.
    And,
    /// On failure: after `||`.
    Or,
}

/// One program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments: at least one, the first not empty.
    pub argv: Vec<String>,
    /// Applied from left to right.
    pub redirects: Vec<Redirect>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 0, 1 or 2.
    pub fd: u8,
    pub to: Target,
}

/// The target of a redirection. Paths are as written, relative to the command's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Read(String),
    Write(String),
    Append(String),
    /// The same as another descriptor, 1 or 2.
    Fd(u8),
}

/// Why a text is not literal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Complex {
    /// Byte offset in the text.
    pub at: usize,
    pub why: &'static str,
}
