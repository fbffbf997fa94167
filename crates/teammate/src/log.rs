//! The member's log: what its pane shows, as plain text, for `agent-team logs`. Written by the worker alone.
//!
//! A log that cannot be written (full disk) never stops a task; what must be in it to count, a message, does not count
//! then.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use agent_team_system::log_file::LogFile;

/// Bytes at the end of the log that are looked at for its last lines.
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

    /// The last lines, at most so many; nothing when they cannot be read.
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
        // The last one begins behind the end, or is under way.
        let from = starts.nth(lines).unwrap_or(0);
        text[from..].to_owned()
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
