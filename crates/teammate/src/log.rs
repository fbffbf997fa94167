//! The member's log: what its pane shows, as plain text, for `agent-team logs`. Written by the worker alone.
//!
//! A log that cannot be written (full disk) never stops a task; what must be in it to count, a message, does not count
//! then.

use std::io::{self, Write};
use std::path::PathBuf;

use agent_team_system::log_file::LogFile;

#[derive(Debug)]
pub(crate) struct MemberLog {
    file: LogFile,
    /// The last byte was a newline.
    at_line_start: bool,
}

impl MemberLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            file: LogFile::new(path),
            at_line_start: true,
        }
    }

    /// Appends a program's output.
    pub(crate) fn append(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(text.as_bytes());
        match &written {
            Ok(()) => self.at_line_start = text.ends_with('\n'),
            Err(error) => {
                tracing::warn!(%error, path = %self.file.path().display(), "the log cannot be written");
            }
        }
        written
    }

    /// Appends one line of ours, on a line of its own.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        let before = if self.at_line_start { "" } else { "\n" };
        self.append(&format!("{before}{line}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_ours_stands_on_its_own_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        let mut log = MemberLog::new(path.clone());
        log.append("no newline").unwrap();
        log.line("── footer").unwrap();
        log.line("next").unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "no newline\n── footer\nnext\n"
        );
    }
}
