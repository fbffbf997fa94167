//! The files with which the worker and Qwen Code communicate, in a directory of the launch: a named pipe with the
//! events of Qwen Code, a file with the commands of the worker, and the settings of Qwen Code. Called by `qwen`.
//!
//! Each event and each command is a JSON document on one line. Qwen Code polls the command file every half second; the
//! file must be a regular file. Qwen Code writes no further events if more than 1 MiB of them are unread.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use agent_team_system::private_file;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// The largest event, in bytes.
const EVENT_MAX: usize = 64 << 20;

/// The directory of the files. Dropping this value removes the directory.
pub(super) struct ChannelDirectory(PathBuf);

impl ChannelDirectory {
    /// Creates the directory, with the settings in it.
    pub(super) fn create(path: &Path, settings: &Value) -> io::Result<Self> {
        // An earlier start of Qwen Code in this launch may have left a directory.
        let _absent = std::fs::remove_dir_all(path);
        DirBuilder::new().mode(0o700).create(path)?;
        let directory = Self(path.to_owned());
        private_file::create(&directory.settings(), settings.to_string().as_bytes())?;
        private_file::create(&directory.commands(), b"")?;
        private_file::create_pipe(&directory.events())?;
        Ok(directory)
    }

    pub(super) fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    pub(super) fn commands(&self) -> PathBuf {
        self.0.join("input")
    }

    pub(super) fn events(&self) -> PathBuf {
        self.0.join("output")
    }
}

impl Drop for ChannelDirectory {
    fn drop(&mut self) {
        // If this fails, the supervisor removes the directory later.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// The events of Qwen Code.
pub(super) struct EventPipe {
    pipe: pipe::Receiver,
    /// The worker's own write end of the pipe: without it, a read returns EOF until Qwen Code opens the pipe.
    writer: Option<File>,
    bytes: Vec<u8>,
    /// The number of bytes at the start of `bytes` that contain no newline.
    searched: usize,
}

impl EventPipe {
    /// Opens the pipe. Must be called within a tokio runtime.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let pipe = pipe::OpenOptions::new().open_receiver(path)?;
        let writer = OpenOptions::new().write(true).open(path)?;
        Ok(Self {
            pipe,
            writer: Some(writer),
            bytes: Vec::new(),
            searched: 0,
        })
    }

    /// Closes the worker's own write end. Call this when Qwen Code has opened the pipe: from then on, EOF means the end
    /// of the events.
    pub(super) fn close_own_writer(&mut self) {
        self.writer = None;
    }

    /// The next event. Cancel-safe.
    ///
    /// # Errors
    /// If the events have ended, or an event is too large.
    pub(super) async fn next(&mut self) -> io::Result<Value> {
        loop {
            let new = &self.bytes[self.searched..];
            if let Some(end) = new.iter().position(|byte| *byte == b'\n') {
                let end = self.searched + end;
                let event = serde_json::from_slice(&self.bytes[..end]);
                self.bytes.drain(..=end);
                self.searched = 0;
                match event {
                    Ok(event) => return Ok(event),
                    Err(error) => tracing::debug!(%error, "cannot parse an event of Qwen Code"),
                }
                continue;
            }
            self.searched = self.bytes.len();
            if self.bytes.len() > EVENT_MAX {
                return Err(io::Error::other("it has reported too large an event"));
            }
            if self.pipe.read_buf(&mut self.bytes).await? == 0 {
                return Err(io::Error::other("Qwen Code has closed its event pipe"));
            }
        }
    }
}

/// The commands of the worker.
pub(super) struct CommandFile(File);

impl CommandFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).open(path).map(Self)
    }

    /// Submits a text, as if the user had typed it.
    pub(super) fn submit(&mut self, text: &str) -> io::Result<()> {
        self.write(&json!({ "type": "submit", "text": text }))
    }

    /// Answers a dialog.
    pub(super) fn confirm(&mut self, request: &str, allowed: bool) -> io::Result<()> {
        self.write(
            &json!({ "type": "confirmation_response", "request_id": request, "allowed": allowed }),
        )
    }

    fn write(&mut self, command: &Value) -> io::Result<()> {
        self.0.write_all(format!("{command}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_end_with_their_last_writer() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("files");
        let directory = ChannelDirectory::create(&path, &json!({})).unwrap();
        let mut events = EventPipe::open(&directory.events()).unwrap();
        let mut qwen = OpenOptions::new()
            .write(true)
            .open(directory.events())
            .unwrap();
        qwen.write_all(b"no JSON\n{\"type\":").unwrap();
        qwen.write_all(b"\"one\"}\n{\"type\":\"two\"}\n").unwrap();
        assert_eq!(events.next().await.unwrap()["type"], "one");
        events.close_own_writer();
        drop(qwen);
        assert_eq!(events.next().await.unwrap()["type"], "two");
        assert!(events.next().await.is_err());
        drop(directory);
        assert!(!path.exists());
    }
}
