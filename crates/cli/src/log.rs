//! Reads the log file of a member or of the supervisor incrementally. The writer of a log appends to the file, and
//! renames a long file to `.1`. Used by `logs`, `supervisor logs`, `top` and the single-terminal view. This module does
//! not watch the file; the caller decides when to read.
//!
//! A worker also records the times of its writes, in a second file. A log of an earlier version has no such file.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agent_team_system::log_file::{WriteTime, rotated, write_times};

use crate::error::Failure;

/// A line of a log, without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// Unix time in milliseconds of the write that began the line; `None` when it was not recorded.
    pub(crate) at: Option<u64>,
    pub(crate) text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogLines {
    pub(crate) complete: Vec<LogLine>,
    /// The text after the last newline.
    pub(crate) unfinished: Option<LogLine>,
}

/// An open log with the position of the last read.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    /// The bytes with which the next read begins: an incomplete UTF-8 character or, after [`Log::lines`], an unfinished
    /// line.
    partial: Vec<u8>,
}

impl Log {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            partial: Vec::new(),
        }
    }

    /// The previous log file, `.1`.
    fn previous(path: &Path) -> Self {
        Self::new(rotated(path))
    }

    /// Opens a log; returns it with the text of the previous file and of this file.
    pub(crate) fn whole(path: PathBuf) -> Result<(Self, String), Failure> {
        let mut text = Self::previous(&path).read()?;
        let mut log = Self::new(path);
        text.push_str(&log.read()?);
        Ok((log, text))
    }

    /// Opens a log; returns it with the lines of the previous file and of this file. The next [`Log::read`] begins with
    /// the text of an unfinished last line.
    pub(crate) fn lines(path: PathBuf) -> Result<(Self, LogLines), Failure> {
        let (previous, previous_times) = Self::previous(&path).timed_bytes()?;
        let mut log = Self::new(path);
        let (bytes, times) = log.timed_bytes()?;
        let mut lines: Vec<(Option<u64>, Vec<u8>)> = Vec::new();
        let pieces = with_times(&previous, &previous_times);
        for (at, piece) in pieces.into_iter().chain(with_times(&bytes, &times)) {
            match lines.last_mut() {
                // The log was rotated within a line.
                Some((_, line)) if !line.ends_with(b"\n") => line.extend_from_slice(piece),
                _ => lines.push((at, piece.to_vec())),
            }
        }
        let unfinished = lines.pop_if(|(_, line)| !line.ends_with(b"\n"));
        if let Some((_, line)) = &unfinished {
            log.partial.clone_from(line);
        }
        let line = |(at, bytes): (Option<u64>, Vec<u8>)| {
            let text = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
            LogLine {
                at,
                text: text.into_owned(),
            }
        };
        let lines = LogLines {
            complete: lines.into_iter().map(line).collect(),
            unfinished: unfinished.map(line),
        };
        Ok((log, lines))
    }

    /// Reads a file that was not read before, and then the times of its writes. In this order, the times cover all
    /// bytes that were read.
    fn timed_bytes(&mut self) -> Result<(Vec<u8>, Vec<WriteTime>), Failure> {
        self.file = self.opened()?;
        let mut bytes = Vec::new();
        self.read_file(&mut bytes)?;
        // A log can be read without its times.
        let times = match self.was_replaced() {
            // The log was rotated after it was opened.
            Ok(true) => write_times(&rotated(&self.path)),
            Ok(false) | Err(_) => write_times(&self.path),
        };
        Ok((bytes, times.unwrap_or_default()))
    }

    /// Opens a log; returns it with its last `bytes` bytes, without the line that this limit cuts. The last line may be
    /// incomplete.
    pub(crate) fn tail(path: PathBuf, bytes: u64) -> Result<(Self, String), Failure> {
        let mut log = Self::new(path);
        log.file = log.opened()?;
        let mut skipped = 0;
        if let Some(file) = &mut log.file {
            let length = file.metadata().map_err(|error| failed(&error))?.len();
            skipped = length.saturating_sub(bytes);
            file.seek(SeekFrom::Start(skipped))
                .map_err(|error| failed(&error))?;
        }
        let mut text = log.read()?;
        if skipped > 0 {
            text.drain(..text.find('\n').map_or(0, |end| end + 1));
        }
        Ok((log, text))
    }

    /// Returns the text appended since the last call; empty when the file does not exist yet.
    pub(crate) fn read(&mut self) -> Result<String, Failure> {
        let mut bytes = std::mem::take(&mut self.partial);
        self.read_file(&mut bytes)?;
        if self.was_replaced().map_err(|error| failed(&error))? {
            self.file = self.opened()?;
            self.read_file(&mut bytes)?;
        }
        let whole = whole_characters(&bytes);
        self.partial = bytes.split_off(whole);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn read_file(&mut self, bytes: &mut Vec<u8>) -> Result<(), Failure> {
        if let Some(file) = &mut self.file {
            file.read_to_end(bytes).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// `None` when the file does not exist yet.
    fn opened(&self) -> Result<Option<File>, Failure> {
        match File::open(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Whether the path names a file other than the open file, or no file is open.
    fn was_replaced(&self) -> std::io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(true);
        };
        let open = file.metadata()?;
        Ok(match self.path.metadata() {
            Ok(now) => (now.dev(), now.ino()) != (open.dev(), open.ino()),
            // Usually the file was renamed and the next file does not exist yet: keep reading the open file.
            Err(_) => false,
        })
    }
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::io("cannot read the log", error)
}

/// Splits into lines with their newlines; each gets the time of the last write at or before its first byte.
fn with_times<'a>(bytes: &'a [u8], times: &[WriteTime]) -> Vec<(Option<u64>, &'a [u8])> {
    let (mut offset, mut times, mut at) = (0, times.iter().peekable(), None);
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        while let Some(time) = times.next_if(|time| time.offset <= offset) {
            at = Some(time.at);
        }
        offset += line.len() as u64;
        (at, line)
    });
    lines.collect()
}

/// The number of bytes before an incomplete character at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) => bytes.len(),
        // The bytes contain invalid UTF-8 before the end. A character has at most four bytes, so an incomplete
        // character can begin only within the last three bytes.
        Err(_) => {
            let tail = bytes.len().saturating_sub(3);
            let starts_incomplete = |from: &usize| {
                std::str::from_utf8(&bytes[*from..])
                    .is_err_and(|error| error.error_len().is_none() && error.valid_up_to() == 0)
            };
            (tail..bytes.len())
                .find(starts_incomplete)
                .unwrap_or(bytes.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn reading_continues_after_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        let mut log = Log::new(path.clone());
        assert_eq!(log.read().unwrap(), "");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\n").unwrap();
        assert_eq!(log.read().unwrap(), "one\n");
        file.write_all(b"two\n").unwrap();
        std::fs::rename(&path, directory.path().join("ada.log.1")).unwrap();
        std::fs::write(&path, "three\n").unwrap();
        assert_eq!(log.read().unwrap(), "two\nthree\n");
        assert_eq!(Log::previous(&path).read().unwrap(), "one\ntwo\n");
        assert_eq!(log.read().unwrap(), "");
    }

    #[test]
    fn a_tail_starts_at_a_line_and_can_be_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        let (_, text) = Log::tail(path.clone(), 6).unwrap();
        assert_eq!(text, "");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let (mut log, text) = Log::tail(path.clone(), 9).unwrap();
        assert_eq!(text, "two\nthr");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"ee\n").unwrap();
        assert_eq!(log.read().unwrap(), "ee\n");
        assert_eq!(Log::tail(path, 100).unwrap().1, "one\ntwo\nthree\n");
    }

    fn shown(lines: &[LogLine]) -> Vec<(Option<u64>, &str)> {
        let lines = lines.iter();
        lines.map(|line| (line.at, line.text.as_str())).collect()
    }

    #[test]
    fn a_line_across_a_rotation_is_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        std::fs::write(rotated(&path), b"one\nbegin\xc3").unwrap();
        std::fs::write(directory.path().join("ada.log.1.times"), "0 1000\n4 2000\n").unwrap();
        std::fs::write(&path, b"\xa9 end\nhalf").unwrap();
        std::fs::write(directory.path().join("ada.log.times"), "0 3000\n6 4000\n").unwrap();
        let (_, lines) = Log::lines(path).unwrap();
        let expected = [(Some(1000), "one"), (Some(2000), "beginé end")];
        assert_eq!(shown(&lines.complete), expected);
        let unfinished: Vec<LogLine> = lines.unfinished.into_iter().collect();
        assert_eq!(shown(&unfinished), [(Some(4000), "half")]);
    }

    #[test]
    fn damaged_times_do_not_fail() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let times = directory.path().join("ada.log.times");
        // The last line is still being written: the time is 2000, not 20.
        std::fs::write(&times, b"0 1000\n\xff\xfe\n4 20").unwrap();
        let (_, lines) = Log::lines(path.clone()).unwrap();
        let expected = [(Some(1000), "one"), (Some(1000), "two")];
        assert_eq!(shown(&lines.complete), expected);
        std::fs::remove_file(&times).unwrap();
        std::fs::create_dir(&times).unwrap();
        let (_, lines) = Log::lines(path).unwrap();
        assert_eq!(shown(&lines.complete), [(None, "one"), (None, "two")]);
    }

    #[test]
    fn lines_have_the_times_of_their_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        assert_eq!(Log::lines(path.clone()).unwrap().1.complete, []);
        std::fs::write(rotated(&path), "old\n").unwrap();
        std::fs::write(&path, "one\ntwo\nthree\nhal").unwrap();
        // `two` began within the write at 4, `three` after the write at 6.
        std::fs::write(directory.path().join("ada.log.times"), "4 1000\n6 2000\n").unwrap();
        let (mut log, lines) = Log::lines(path.clone()).unwrap();
        let expected = [
            (None, "old"),
            (None, "one"),
            (Some(1000), "two"),
            (Some(2000), "three"),
        ];
        assert_eq!(shown(&lines.complete), expected);
        assert_eq!(lines.unfinished.unwrap().text, "hal");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"f\n").unwrap();
        assert_eq!(log.read().unwrap(), "half\n");
    }

    #[test]
    fn characters_are_not_split_between_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        let (mut log, mut file) = (Log::new(path.clone()), File::create(&path).unwrap());
        let text = "\u{ff}é🙂".as_bytes();
        file.write_all(b"\xff").unwrap();
        let mut read = String::new();
        for byte in text {
            file.write_all(&[*byte]).unwrap();
            read.push_str(&log.read().unwrap());
        }
        assert_eq!(read, "\u{fffd}\u{ff}é🙂");
    }
}
