//! The member's log: what its pane shows, as plain text, for `agent-team logs`. Written by the worker alone.
//!
//! A log that cannot be written (full disk) never stops a task; what must be in it to count, a message, does not count
//! then.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// From this size on, in bytes, the log is set aside as `<log>.1`.
const ROTATE_AT: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct MemberLog {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    rotate_at: u64,
    /// The last byte was a newline.
    at_line_start: bool,
}

impl MemberLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            written: 0,
            rotate_at: ROTATE_AT,
            at_line_start: true,
        }
    }

    /// Appends a program's output.
    pub(crate) fn append(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let written = self.write(text);
        if let Err(error) = &written {
            tracing::warn!(%error, path = %self.path.display(), "the log cannot be written");
            // Opened anew next time: the disk may have room again, or somebody may have moved the file.
            self.file = None;
        }
        written
    }

    /// Appends one line of ours, on a line of its own.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        let before = if self.at_line_start { "" } else { "\n" };
        self.append(&format!("{before}{line}\n"))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.written >= self.rotate_at {
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let mut file = open(&self.path)?;
                self.written = file.metadata()?.len();
                if self.written >= self.rotate_at {
                    std::fs::rename(&self.path, with_suffix(&self.path))?;
                    file = open(&self.path)?;
                    self.written = 0;
                }
                closed.insert(file)
            }
        };
        file.write_all(text.as_bytes())?;
        self.written += text.len() as u64;
        self.at_line_start = text.ends_with('\n');
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut rotated = path.as_os_str().to_owned();
    rotated.push(".1");
    rotated.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

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
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_full_log_is_set_aside_and_a_restart_goes_on_in_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        let mut log = MemberLog::new(path.clone());
        log.line("first").unwrap();
        let mut log = MemberLog {
            rotate_at: 10,
            ..MemberLog::new(path.clone())
        };
        log.line("second").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\n");
        log.line("third").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
        assert_eq!(
            std::fs::read_to_string(with_suffix(&path)).unwrap(),
            "first\nsecond\n"
        );
    }
}
