//! A log file that only its owner may read, rotated at a fixed size. Written by the supervisor and by each worker, one
//! process per file.
//!
//! The first write opens the file. A failed write closes it, and the next write opens it again: the disk may have room
//! by then, or the directory may exist again.
//!
//! A timed log has a second file, `<log>.times`, with a line `OFFSET UNIX_MS` for a write at that offset, at most one
//! per [`TIME_STEP`]. The log itself stays the plain output. Both files are rotated together.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock;

/// The size of a log together with its times, in bytes, at which the log is renamed to `<log>.1`.
const ROTATE_AT: u64 = 8 << 20;

/// Minimum time between two recorded times, in milliseconds.
const TIME_STEP: u64 = 100;

#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    rotate_at: u64,
    /// `None` for a log without times.
    times: Option<Times>,
}

/// The writer of the second file of a timed log.
#[derive(Debug, Default)]
struct Times {
    file: Option<File>,
    written: u64,
    last: Option<u64>,
}

/// The time of a write to a timed log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteTime {
    /// Where the write began, in bytes from the beginning of the file.
    pub offset: u64,
    /// Unix time in milliseconds.
    pub at: u64,
}

impl LogFile {
    pub fn new(path: PathBuf) -> LogFile {
        LogFile {
            path,
            file: None,
            written: 0,
            rotate_at: ROTATE_AT,
            times: None,
        }
    }

    /// A log whose write times are recorded.
    pub fn timed(path: PathBuf) -> LogFile {
        LogFile {
            times: Some(Times::default()),
            ..LogFile::new(path)
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let of_times = self.times.as_ref().map_or(0, |times| times.written);
        if self.written + of_times >= self.rotate_at {
            self.close();
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let mut file = open(&self.path)?;
                self.written = file.metadata()?.len();
                let times = times_path(&self.path);
                let of_times = std::fs::metadata(&times).map_or(0, |times| times.len());
                if self.written + of_times >= self.rotate_at {
                    let rotated = rotated(&self.path);
                    // Rename the times first: without its times, a log can still be read.
                    match std::fs::rename(&times, times_path(&rotated)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        Ok(()) | Err(_) => {}
                    }
                    std::fs::rename(&self.path, rotated)?;
                    file = open(&self.path)?;
                    self.written = 0;
                }
                closed.insert(file)
            }
        };
        if let Some(times) = &mut self.times {
            // The output matters more than its time: a line without a time can still be read.
            if times.record(&self.path, self.written).is_err() {
                *times = Times::default();
            }
        }
        let written = file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn close(&mut self) {
        self.file = None;
        if let Some(times) = &mut self.times {
            *times = Times::default();
        }
    }
}

impl Times {
    /// Records the time of a write to `log` that begins at `offset`.
    fn record(&mut self, log: &Path, offset: u64) -> io::Result<()> {
        let now = clock::wall_ms();
        if self.last.is_some_and(|last| now.abs_diff(last) < TIME_STEP) {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let file = open(&times_path(log))?;
                self.written = file.metadata()?.len();
                closed.insert(file)
            }
        };
        let line = format!("{offset} {now}\n");
        file.write_all(line.as_bytes())?;
        self.written += line.len() as u64;
        self.last = Some(now);
        Ok(())
    }
}

/// The recorded times of a log, in the order of the writes; none for a log without times. Skips damaged lines, and a
/// last line that is still being written.
///
/// # Errors
/// The file with the times exists and cannot be read.
pub fn write_times(log: &Path) -> io::Result<Vec<WriteTime>> {
    let bytes = match std::fs::read(times_path(log)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let parsed = bytes.split_inclusive(|byte| *byte == b'\n');
    let parsed = parsed.filter_map(|line| {
        let line = str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        let (offset, at) = line.split_once(' ')?;
        Some(WriteTime {
            offset: offset.parse().ok()?,
            at: at.parse().ok()?,
        })
    });
    Ok(parsed.collect())
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.append(bytes);
        if written.is_err() {
            self.close();
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
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

/// The previous file of a log.
pub fn rotated(log: &Path) -> PathBuf {
    with_suffix(log, ".1")
}

fn times_path(log: &Path) -> PathBuf {
    with_suffix(log, ".times")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_full_log_is_rotated_and_a_new_writer_appends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        let mut log = LogFile::new(path.clone());
        log.write_all(b"first\n").unwrap();
        let mut log = LogFile {
            rotate_at: 10,
            ..LogFile::new(path.clone())
        };
        log.write_all(b"second\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\n");
        log.write_all(b"third\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
        let old_log = rotated(&path);
        assert_eq!(
            std::fs::read_to_string(&old_log).unwrap(),
            "first\nsecond\n"
        );
        for file in [path, old_log] {
            let mode = std::fs::metadata(&file).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
    }

    #[test]
    fn times_name_the_offset_of_writes_and_rotate_with_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        assert_eq!(write_times(&path).unwrap(), []);
        let before = clock::wall_ms();
        let mut log = LogFile::timed(path.clone());
        log.write_all(b"first\n").unwrap();
        log.write_all(b"within the step\n").unwrap();
        let mut log = LogFile::timed(path.clone());
        log.write_all(b"by the next launch\n").unwrap();
        let times = write_times(&path).unwrap();
        let offsets: Vec<_> = times.iter().map(|time| time.offset).collect();
        assert_eq!(offsets, [0, 22]);
        assert!(times.iter().all(|time| time.at >= before));
        let mut log = LogFile {
            rotate_at: 10,
            ..LogFile::timed(path.clone())
        };
        log.write_all(b"after the rotation\n").unwrap();
        assert_eq!(write_times(&rotated(&path)).unwrap(), times);
        let offsets: Vec<_> = write_times(&path).unwrap();
        assert_eq!(offsets.len(), 1);
        assert_eq!(offsets[0].offset, 0);
    }

    #[test]
    fn a_log_is_reopened_after_a_failed_write() {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("log");
        let mut log = LogFile::new(logs.join("ada.log"));
        log.write_all(b"lost\n").unwrap_err();
        std::fs::create_dir(&logs).unwrap();
        log.write_all(b"kept\n").unwrap();
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "kept\n");
    }
}
