//! A status line on stderr that is repainted in place during long waits. Without a terminal it prints nothing.

use std::io::Write;

use agent_team_system::terminal;

use super::text;

#[derive(Debug)]
pub(crate) struct StatusLine {
    /// `None` when stderr is not a terminal.
    columns: Option<usize>,
    is_painted: bool,
}

impl StatusLine {
    pub(crate) fn new() -> Self {
        let stderr = std::io::stderr();
        let shown = terminal::is_terminal(&stderr);
        let columns = || terminal::size(&stderr).map_or(80, |(columns, _)| usize::from(columns));
        Self {
            columns: shown.then(columns),
            is_painted: false,
        }
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.columns.is_some()
    }

    pub(crate) fn set(&mut self, status: &str) {
        if let Some(columns) = self.columns {
            rewrite(&text::cut(status, columns.saturating_sub(1)));
            self.is_painted = true;
        }
    }

    /// Must be called before other output is written to the terminal. Without a status on the line, writes nothing: the
    /// line may be the prompt of a question.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_painted) {
            rewrite("");
        }
    }
}

/// Replaces the current line of the terminal.
fn rewrite(text: &str) {
    let mut stderr = anstream::stderr();
    // A closed stderr must not fail the command.
    let _gone = write!(stderr, "\r\u{1b}[K{text}").and_then(|()| stderr.flush());
}
