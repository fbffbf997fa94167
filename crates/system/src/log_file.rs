//! A log file that only its owner may read, rotated at a fixed size. Written by the supervisor and by each worker, one
//! process per file.
//!
//! The first write opens the file. A failed write closes it, and the next write opens it again: the disk may have room
//! by then, or the directory may exist again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// At this size in bytes a log is renamed to `<log>.1`.
const ROTATE_AT: u64 = 8 << 20;

#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    rotate_at: u64,
}

impl LogFile {
    pub fn new(path: PathBuf) -> LogFile {
        LogFile {
            path,
            file: None,
            written: 0,
            rotate_at: ROTATE_AT,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= self.rotate_at {
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let mut file = open(&self.path)?;
                self.written = file.metadata()?.len();
                if self.written >= self.rotate_at {
                    std::fs::rename(&self.path, rotated(&self.path))?;
                    file = open(&self.path)?;
                    self.written = 0;
                }
                closed.insert(file)
            }
        };
        let written = file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.append(bytes);
        if written.is_err() {
            self.file = None;
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

fn rotated(path: &Path) -> PathBuf {
    let mut renamed = path.as_os_str().to_owned();
    renamed.push(".1");
    renamed.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_full_log_is_rotated_and_a_new_process_appends() {
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
