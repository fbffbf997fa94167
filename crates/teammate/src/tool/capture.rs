//! What a program prints: shown as it comes, cut in its middle for the model, kept whole in a file when it was cut.
//! Called by whatever runs programs.
//!
//! Memory and disk are bounded whatever is printed: the file takes the beginning up to [`FILE_MAX`], and a directory of
//! them is kept under [`DIRECTORY_MAX`] by removing the oldest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Bench, unique};
use crate::secret::Hiding;
use crate::vt::Plain;

/// Bytes of one program's output that are kept in a file, and that the person is shown.
pub(super) const FILE_MAX: u64 = 16 << 20;

/// Bytes of all kept outputs of a member.
const DIRECTORY_MAX: u64 = 256 << 20;

/// A text of which the beginning and the end are kept, within a limit.
#[derive(Debug)]
pub(super) struct Cut {
    max: usize,
    head: String,
    tail: String,
    /// Bytes lost between the two.
    lost: u64,
}

impl Cut {
    /// At most `max` bytes of text are kept, and about as many more in between.
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
        // Not at every call, or each would move all of the tail.
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

    /// What was kept, and how many bytes were not. Begins anew.
    pub(super) fn take(&mut self) -> (String, u64) {
        self.trim(self.max.div_ceil(2));
        let taken = std::mem::replace(self, Self::new(self.max));
        let text = match taken.lost {
            0 => taken.head + &taken.tail,
            lost => format!("{}\n… {lost} bytes left out …\n{}", taken.head, taken.tail),
        };
        (text, taken.lost)
    }
}

/// The output of one program.
#[derive(Debug)]
pub(super) struct Capture {
    plain: Plain,
    hiding: Hiding,
    /// Not given to the model yet.
    unread: Cut,
    /// The beginning, until there is too much of it to be shown at once.
    whole: String,
    kept: Kept,
    directory: PathBuf,
    /// Bytes of text.
    printed: u64,
    shown_max: usize,
}

/// Where the whole output is.
#[derive(Debug)]
enum Kept {
    InMemory,
    InFile {
        file: File,
        path: PathBuf,
    },
    /// The system refused: why.
    Nowhere(String),
}

impl Capture {
    pub(super) fn new(bench: &Bench) -> Self {
        // What is said beside the output needs room too.
        let shown_max = bench.output_max.saturating_sub(400);
        Self {
            plain: Plain::default(),
            hiding: bench.secrets.hiding(),
            unread: Cut::new(shown_max),
            whole: String::new(),
            kept: Kept::InMemory,
            directory: bench.outputs.clone(),
            printed: 0,
            shown_max,
        }
    }

    /// Takes what was printed and returns what the person may see of it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        self.plain.feed(bytes, &mut text);
        let text = self.hiding.text(&text);
        self.take_up(text)
    }

    /// The output is over. Returns what the person may see of it besides.
    pub(super) fn end(&mut self) -> String {
        let text = self.hiding.rest_of_text();
        self.take_up(text)
    }

    fn take_up(&mut self, mut text: String) -> String {
        self.unread.push(&text);
        let before = self.printed;
        self.printed += text.len() as u64;
        let room = usize::try_from(FILE_MAX.saturating_sub(before)).unwrap_or(usize::MAX);
        self.keep(&text[..text.floor_char_boundary(room)]);
        if self.printed > FILE_MAX {
            text.truncate(text.floor_char_boundary(room));
            if before <= FILE_MAX {
                text.push_str("\n… more is printed than is shown …\n");
            }
        }
        text
    }

    fn keep(&mut self, text: &str) {
        match &mut self.kept {
            Kept::InMemory if self.whole.len() + text.len() <= self.shown_max => {
                self.whole.push_str(text);
            }
            Kept::InMemory => {
                let whole = std::mem::take(&mut self.whole);
                self.kept = match create(&self.directory) {
                    Ok((file, path)) => Kept::InFile { file, path },
                    Err(error) => Kept::Nowhere(error.to_string()),
                };
                self.keep(&whole);
                self.keep(text);
            }
            Kept::InFile { file, .. } => {
                if let Err(error) = file.write_all(text.as_bytes()) {
                    self.kept = Kept::Nowhere(error.to_string());
                }
            }
            Kept::Nowhere(_) => {}
        }
    }

    /// Whether there is anything to [`Capture::take`].
    pub(super) fn has_news(&self) -> bool {
        !self.unread.is_empty()
    }

    /// What was printed since the last time, cut in its middle, and where the whole is if it was.
    pub(super) fn take(&mut self) -> String {
        let (mut text, lost) = self.unread.take();
        if lost == 0 {
            return text;
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let printed = self.printed;
        text.push_str(&match &self.kept {
            Kept::InFile { path, .. } if printed > FILE_MAX => format!(
                "({printed} bytes in all; the first {FILE_MAX} are kept in {}, the rest is lost)",
                path.display()
            ),
            Kept::InFile { path, .. } => format!(
                "({printed} bytes in all, kept in {}: use grep, or read with offset)",
                path.display()
            ),
            Kept::Nowhere(why) => {
                format!("({printed} bytes in all; they could not be kept: {why})")
            }
            Kept::InMemory => format!("({printed} bytes in all)"),
        });
        text.push('\n');
        text
    }
}

/// A new file for an output, with room made for it.
fn create(directory: &Path) -> io::Result<(File, PathBuf)> {
    make_room(directory)?;
    let path = directory.join(format!("output-{}.txt", unique()?));
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
    use std::sync::Mutex;

    use super::*;
    use crate::secret::Secrets;

    #[test]
    fn what_fits_is_whole_and_what_does_not_loses_its_middle() {
        let mut cut = Cut::new(100);
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
    fn memory_and_disk_are_bounded_whatever_is_printed() {
        let directory = tempfile::tempdir().unwrap();
        let bench = Bench {
            project: directory.path().to_owned(),
            cwd: directory.path().to_owned(),
            env: Vec::new(),
            secrets: Secrets::default(),
            outputs: directory.path().to_owned(),
            output_max: 1000,
            seen: Mutex::default(),
            guard: Default::default(),
        };
        let mut capture = Capture::new(&bench);
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
