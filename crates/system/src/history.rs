//! The input history of one team, stored in the team's directory: one file for messages to agents, one for shell lines.
//! Called by the panes and by the single-terminal view; their prompts share the history.
//!
//! A file (0600) has one JSON string per line. Callers remove the secrets that they know before they add a text.
//! History is optional: a read or write error is logged and otherwise ignored.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::private_file;

/// When the file is larger than this number of bytes, the older half of the texts is dropped.
const FILE_MAX: usize = 256 << 10;

/// Maximum length of a text, in bytes; a longer text is not stored.
const TEXT_MAX: usize = 8 << 10;

#[derive(Debug)]
pub struct History {
    path: PathBuf,
}

impl History {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The texts, oldest first; empty if the file cannot be read.
    pub fn read(&self) -> Vec<String> {
        let bytes = match private_file::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "cannot read the input history");
                }
                return Vec::new();
            }
        };
        let lines = bytes.split(|byte| *byte == b'\n');
        // Skip an incomplete line, which an interrupted write leaves.
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    pub fn add(&self, text: &str) {
        if text.len() > TEXT_MAX {
            return;
        }
        if let Err(error) = self.try_add(text) {
            tracing::warn!(%error, "cannot write the input history");
        }
    }

    fn try_add(&self, text: &str) -> io::Result<()> {
        let line = |text: &str| serde_json::json!(text).to_string() + "\n";
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        // Use a single write with O_APPEND, so that the lines of two members do not interleave.
        file.write_all(line(text).as_bytes())?;
        // A line that another pane appends between the read and the rename is lost. The history is optional, so no lock
        // protects it: a pane that waits for a lock would hold up the user's input.
        if file.metadata()?.len() > FILE_MAX as u64 {
            let texts = self.read();
            let first_kept = texts.len() / 2;
            let kept: String = texts[first_kept..].iter().map(|text| line(text)).collect();
            private_file::replace(&self.path, kept.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn history_file_is_shared_and_0600() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("typed");
        let (one, another) = (History::new(path.clone()), History::new(path.clone()));
        assert_eq!(one.read(), [""; 0]);
        one.add("two\nlines");
        another.add("more");
        one.add(&"x".repeat(TEXT_MAX + 1));
        assert_eq!(one.read(), ["two\nlines", "more"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_full_history_drops_the_oldest_texts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("typed");
        let history = History::new(path.clone());
        for number in 0..100 {
            history.add(&format!("{number} {}", "x".repeat(TEXT_MAX / 2)));
            assert!(fs::metadata(&path).unwrap().len() <= FILE_MAX as u64);
        }
        assert!(history.read().last().unwrap().starts_with("99 "));
    }
}
