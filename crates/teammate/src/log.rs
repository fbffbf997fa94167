//! The member's log: the plain text of its pane, for `agent-team logs`. The worker writes the log; only the reason for
//! which a worker failed or panicked is appended elsewhere.
//!
//! A write error, such as a full disk, never stops a task. A message that could not be logged does not count as read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use agent_team_system::log_file::LogFile;

/// The number of bytes at the end of the log that are searched for the last lines.
const RECENT_BYTES: u64 = 16 << 10;

#[derive(Debug)]
pub(crate) struct MemberLog {
    file: LogFile,
    /// The last byte was a newline.
    at_line_start: bool,
}

impl MemberLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            file: LogFile::timed(path),
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
                tracing::warn!(%error, path = %self.file.path().display(), "cannot write the log");
            }
        }
        written
    }

    /// The last complete lines, at most `lines`, and an unfinished line after them. Empty if the log is unreadable.
    pub(crate) fn recent(&self, lines: usize) -> String {
        let tail = || {
            let mut file = File::open(self.file.path())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(RECENT_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(RECENT_BYTES).read_to_end(&mut bytes)?;
            io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = tail().unwrap_or_default();
        let mut starts = text.match_indices('\n').map(|(at, _)| at + 1).rev();
        // Counted from the end, start 0 follows the last newline, and start `lines` is the beginning of the last
        // `lines` complete lines.
        let from = starts.nth(lines).unwrap_or(0);
        text[from..].to_owned()
    }

    /// Appends a line of the runtime, starting on a new line.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        let before = if self.at_line_start { "" } else { "\n" };
        self.append(&format!("{before}{line}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_lines_start_on_a_new_line() {
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
