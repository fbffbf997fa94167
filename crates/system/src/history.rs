//! What was typed to the members of one team, kept in its directory for all their prompts: the panes of members that
//! think, and the view of several in one terminal.
//!
//! A line a text, as JSON. It holds what its callers give it, which is without the secrets that they know; it is nobody
//! else's, and it never stops anything: where it cannot be kept, it is not.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::private_file;

/// From so many bytes on the oldest are dropped.
const FILE_MAX: usize = 256 << 10;

/// Bytes of one text that are kept.
const TEXT_MAX: usize = 8 << 10;

#[derive(Debug)]
pub struct History {
    path: PathBuf,
}

impl History {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The oldest first; nothing where it cannot be read.
    pub fn read(&self) -> Vec<String> {
        let bytes = match private_file::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "what was typed before cannot be read");
                }
                return Vec::new();
            }
        };
        let lines = bytes.split(|byte| *byte == b'\n');
        // One that was cut off is passed over.
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    pub fn add(&self, text: &str) {
        if text.len() > TEXT_MAX {
            return;
        }
        if let Err(error) = self.try_add(text) {
            tracing::warn!(%error, "what was typed is not kept");
        }
    }

    fn try_add(&self, text: &str) -> io::Result<()> {
        let line = |text: &str| serde_json::json!(text).to_string() + "\n";
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        // At once, so that two members' lines stay whole.
        file.write_all(line(text).as_bytes())?;
        if file.metadata()?.len() > FILE_MAX as u64 {
            let texts = self.read();
            let newest = texts.len() / 2;
            let kept: String = texts[newest..].iter().map(|text| line(text)).collect();
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
    fn what_was_added_is_read_by_everybody_who_shares_it_and_is_nobody_elses() {
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
    fn it_is_bounded_and_the_newest_stay() {
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
