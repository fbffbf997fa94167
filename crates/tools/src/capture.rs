//! The output of a program: shown as it is printed, stored in a file if it is too long for one result, and then
//! truncated in the middle for the model. Called by the tools that run programs, by `fetch` and by MCP tools.
//!
//! Memory and disk use are bounded: a file contains the first [`FILE_MAX`] bytes of an output. If the directory of
//! these files exceeds [`DIRECTORY_MAX`], the oldest files are removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use agent_team_system::random;

use crate::context::ToolContext;
use crate::secret::RedactedStream;
use crate::vt::Plain;

/// The largest size of one program's stored output, and of the output shown to the user, in bytes.
pub(super) const FILE_MAX: u64 = 16 << 20;

/// The largest size of all stored outputs of a member, in bytes.
const DIRECTORY_MAX: u64 = 256 << 20;

/// A text that keeps its beginning and its end within a limit.
#[derive(Debug)]
pub(super) struct TruncatedText {
    max: usize,
    head: String,
    tail: String,
    /// Number of bytes dropped between `head` and `tail`.
    lost: u64,
}

impl TruncatedText {
    /// Keeps at most `max` bytes. Between two trims, the buffers may contain half of `max` and 4 KiB in addition.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            head: String::new(),
            tail: String::new(),
            lost: 0,
        }
    }

    pub(super) fn push(&mut self, text: &str) {
        let half = self.max / 2;
        let mut text = text;
        if self.tail.is_empty() && self.lost == 0 {
            let room = half.saturating_sub(self.head.len());
            let fits = text.floor_char_boundary(room);
            self.head.push_str(&text[..fits]);
            text = &text[fits..];
        }
        self.tail.push_str(text);
        // Trim rarely: each trim moves the whole tail.
        if self.tail.len() > 2 * half + 4096 {
            self.trim(half);
        }
    }

    fn trim(&mut self, half: usize) {
        let excess = self.tail.len().saturating_sub(half);
        let excess = self.tail.ceil_char_boundary(excess);
        self.tail.drain(..excess);
        self.lost += excess as u64;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    /// Returns the kept text and the number of dropped bytes, and clears both.
    pub(super) fn take(&mut self) -> (String, u64) {
        self.trim(self.max.div_ceil(2));
        let taken = std::mem::replace(self, Self::new(self.max));
        let text = match taken.lost {
            0 => taken.head + &taken.tail,
            lost => format!("{}\n… {lost} bytes omitted …\n{}", taken.head, taken.tail),
        };
        (text, taken.lost)
    }
}

#[derive(Debug)]
pub(super) struct Capture {
    plain: Plain,
    redaction: RedactedStream,
    /// Output that the model has not received yet.
    unread: TruncatedText,
    /// The whole output. When it is too large for one result, it moves to a file.
    whole: String,
    storage: Storage,
    directory: PathBuf,
    printed: u64,
    shown_max: usize,
}

#[derive(Debug)]
enum Storage {
    InMemory,
    InFile { file: File, path: PathBuf },
    Failed(String),
}

impl Capture {
    pub(super) fn new(context: &ToolContext) -> Self {
        // Leave room for the note after the output.
        let shown_max = context.output_max.saturating_sub(400);
        Self {
            plain: Plain::default(),
            redaction: context.secrets.stream(),
            unread: TruncatedText::new(shown_max),
            whole: String::new(),
            storage: Storage::InMemory,
            directory: context.outputs.clone(),
            printed: 0,
            shown_max,
        }
    }

    /// Adds output. Returns the part that is shown to the user.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        self.plain.feed(bytes, &mut text);
        let text = self.redaction.text(&text);
        self.add(text)
    }

    /// Ends the output. Returns the rest that is shown to the user.
    pub(super) fn end(&mut self) -> String {
        let text = self.redaction.rest_of_text();
        self.add(text)
    }

    fn add(&mut self, mut text: String) -> String {
        self.unread.push(&text);
        let before = self.printed;
        self.printed += text.len() as u64;
        let room = usize::try_from(FILE_MAX.saturating_sub(before)).unwrap_or(usize::MAX);
        self.store(&text[..text.floor_char_boundary(room)]);
        if self.printed > FILE_MAX {
            text.truncate(text.floor_char_boundary(room));
            if before <= FILE_MAX {
                text.push_str("\n… further output is not shown …\n");
            }
        }
        text
    }

    fn store(&mut self, text: &str) {
        match &mut self.storage {
            Storage::InMemory if self.whole.len() + text.len() <= self.shown_max => {
                self.whole.push_str(text);
            }
            Storage::InMemory => {
                let whole = std::mem::take(&mut self.whole);
                self.storage = match create(&self.directory) {
                    Ok((file, path)) => Storage::InFile { file, path },
                    Err(error) => Storage::Failed(error.to_string()),
                };
                self.store(&whole);
                self.store(text);
            }
            Storage::InFile { file, .. } => {
                if let Err(error) = file.write_all(text.as_bytes()) {
                    self.storage = Storage::Failed(error.to_string());
                }
            }
            Storage::Failed(_) => {}
        }
    }

    /// Returns whether [`Capture::take`] has output to return.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Takes the output since the last call. If it is too long, its middle is cut out, and a note about the complete
    /// output is appended.
    pub(super) fn take(&mut self) -> String {
        let (mut text, lost) = self.unread.take();
        if lost == 0 {
            return text;
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let printed = self.printed;
        text.push_str(&match &self.storage {
            Storage::InFile { path, .. } if printed > FILE_MAX => format!(
                "({printed} bytes in total; the first {FILE_MAX} are stored in {}, the rest is lost)",
                path.display()
            ),
            Storage::InFile { path, .. } => format!(
                "({printed} bytes in total, stored in {}: use grep, or read with offset)",
                path.display()
            ),
            Storage::Failed(why) => {
                format!("({printed} bytes in total; cannot store the output: {why})")
            }
            Storage::InMemory => format!("({printed} bytes in total)"),
        });
        text.push('\n');
        text
    }
}

/// Creates a file for an output and removes old files to make room.
fn create(directory: &Path) -> io::Result<(File, PathBuf)> {
    make_room(directory)?;
    let path = directory.join(format!("output-{}.txt", random::id()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    Ok((file, path))
}

fn make_room(directory: &Path) -> io::Result<()> {
    let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("output-") {
            continue;
        }
        let metadata = entry.metadata()?;
        kept.push((metadata.modified()?, metadata.len(), entry.path()));
    }
    kept.sort();
    let mut sum: u64 = kept.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in kept {
        if sum + FILE_MAX <= DIRECTORY_MAX {
            break;
        }
        fs::remove_file(path)?;
        sum -= len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secrets;
    use crate::seen_files::SeenFiles;

    #[test]
    fn long_text_loses_its_middle() {
        let mut cut = TruncatedText::new(100);
        cut.push("begin ");
        cut.push("end");
        assert_eq!(cut.take(), ("begin end".to_owned(), 0));
        assert!(cut.is_empty());
        cut.push("begin ");
        for _ in 0..10_000 {
            cut.push("é ");
        }
        cut.push("end");
        let (text, lost) = cut.take();
        assert!(text.len() < 160 && lost > 29_000, "{} {lost}", text.len());
        assert!(text.starts_with("begin ") && text.ends_with(" end"));
    }

    #[test]
    fn shown_returned_and_stored_output_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let context = ToolContext {
            project: directory.path().to_owned(),
            cwd: directory.path().to_owned(),
            env: Vec::new(),
            secrets: Secrets::default(),
            outputs: directory.path().to_owned(),
            output_max: 1000,
            seen: SeenFiles::default(),
            guard: Default::default(),
            notes: Default::default(),
            model: "openai/m".to_owned(),
            media: Default::default(),
        };
        let mut capture = Capture::new(&context);
        let chunk = vec![b'x'; 64 << 10];
        let mut shown = 0;
        for _ in 0..(FILE_MAX >> 16) + 20 {
            shown += capture.push(&chunk).len() as u64;
        }
        assert!(shown < FILE_MAX + 100, "{shown}");
        let text = capture.take();
        assert!(text.len() <= 1000, "{}", text.len());
        assert!(text.contains("the rest is lost"), "{text}");
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(files.len(), 1);
        let kept = files[0].as_ref().unwrap().metadata().unwrap().len();
        assert_eq!(kept, FILE_MAX);
    }
}
