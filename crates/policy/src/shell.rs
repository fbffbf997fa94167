//! The literal subset of shell: words and quotes joined by `&&`, `||`, `;` and `|`, with plain redirections. Called to
//! judge a line, and to read the command in a rule.
//!
//! [`read`] either returns exactly the words that bash would hand to each program, or says why the text is
//! [`Complex`]. It never guesses: what bash could expand, split, or take for syntax is complex, even where it happens to
//! mean nothing. Tests run the same lines through bash.

mod lexical;
mod reader;

pub use reader::read;

/// Bytes of a line that is read; a longer one is complex.
pub const LINE_MAX: usize = 16 * 1024;

/// Commands in a line that is read; one with more is complex.
pub const COMMANDS_MAX: usize = 64;

/// What a literal line does, in order.
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

/// One pipeline, and whether it runs after the ones before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub join: Join,
    /// At least one; each one's output is the next one's input.
    pub pipeline: Vec<Command>,
}

/// When a step runs. The status that counts is that of the last step that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Always: the first, and after `;`.
    Then,
    /// When the status is 0: after `&&`.
    And,
    /// When it is not: after `||`.
    Or,
}

/// One program's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments: at least one, the first not empty.
    pub argv: Vec<String>,
    /// Carried out from left to right.
    pub redirects: Vec<Redirect>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 0, 1 or 2.
    pub fd: u8,
    pub to: Target,
}

/// Where a descriptor leads. Paths are as written: relative to the command's directory.
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
    /// Byte of the text.
    pub at: usize,
    pub why: &'static str,
}
