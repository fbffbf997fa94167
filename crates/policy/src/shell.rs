//! Parses the literal subset of shell: words and quotes joined by `&&`, `||`, `;` and `|`, with plain redirections.
//! Called to judge a line, to find its paths, to offer rules for it, and to parse the command in a rule.
//!
//! [`read`] either returns exactly the words that bash would pass to each program, or explains why the text is
//! [`Complex`]. It never guesses: text that bash could expand, split, or treat as syntax is complex, even if the
//! expansion would change nothing. Tests run the same lines through bash.

mod lexical;
mod reader;

// In a line that was read, a pipeline has at least one command, whose first argument is not empty. Redirections apply
// from left to right. Their paths are as written, relative to the directory of the command.
pub use agent_team_protocol::request::{
    RunnableCommand as Command, RunnableJoin as Join, RunnablePipeline as Pipeline,
    RunnableRedirect as Redirect, RunnableTarget as Target,
};
pub use reader::read;

/// Maximum length of a line in bytes; a longer line is complex.
pub const LINE_MAX: usize = 16 * 1024;

/// Maximum number of commands in a line; a line with more commands is complex.
pub const COMMANDS_MAX: usize = 64;

/// A literal line: its pipelines in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub pipelines: Vec<Pipeline>,
}

impl Line {
    /// Every command, in the order of the text.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        self.pipelines
            .iter()
            .flat_map(|pipeline| &pipeline.commands)
    }
}

/// Why a text is not literal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Complex {
    /// Byte offset in the text.
    pub at: usize,
    /// The feature; it completes the sentence "it has …".
    pub why: &'static str,
}
