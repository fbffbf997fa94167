//! What was typed to the members of one team, kept in its directory for all their prompts. Used by the panes of members
//! that think.
//!
//! A line a text, as JSON. It holds what was typed and was an act, without the secrets that are known; it is nobody
//! else's, and it never stops anything: where it cannot be kept, it is not.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use agent_team_face::REMEMBERED;
use agent_team_system::private_file;

use crate::engine::Place;

/// From so many bytes on the oldest are dropped.
const FILE_MAX: usize = 256 << 10;

/// Bytes of one text that are kept.
const TEXT_MAX: usize = 8 << 10;

#[derive(Debug)]
pub(crate) struct History {
    path: PathBuf,
    /// Knows the secrets.
    place: Arc<Place>,
}

impl History {
    pub(crate) fn new(path: PathBuf, place: Arc<Place>) -> Self {
        Self { path, place }
    }

    /// The oldest first; nothing where it cannot be read.
    pub(super) fn read(&self) -> Vec<String> {
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
        let mut texts: Vec<String> = lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        texts.drain(..texts.len().saturating_sub(REMEMBERED));
        texts
    }

    pub(super) fn add(&self, text: &str) {
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
        file.write_all(line(&self.place.secrets.hide(text)).as_bytes())?;
        if file.metadata()?.len() > FILE_MAX as u64 {
            let texts = self.read();
            let newest = texts.len() / 2;
            let kept: String = texts[newest..].iter().map(|text| line(text)).collect();
            private_file::replace(&self.path, kept.as_bytes())?;
        }
        Ok(())
    }
}
