//! Writes the files of `report`. The user chooses the path, which may name any file: only a report of the same kind is
//! replaced, and no symlink is followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use agent_team_protocol::ErrorCode;
use agent_team_system::random;

use crate::error::Failure;
use crate::output::text;

/// A file to write.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    /// The first bytes of each file of this kind.
    signature: &'static str,
}

impl ReportFile {
    /// Checks that the file can be written, before anything is read.
    pub(super) fn check(path: PathBuf, signature: &'static str) -> Result<Self, Failure> {
        let file = Self { path, signature };
        file.may_replace()?;
        let directory = file.directory();
        match fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() => Ok(file),
            Ok(_) => {
                let error = io::Error::from(io::ErrorKind::NotADirectory);
                Err(file.cannot(&error))
            }
            Err(error) => {
                let directory = text::line(&directory.to_string_lossy());
                let failure = file.cannot(&error);
                Err(failure.hint(format!("create its directory: mkdir -p {directory}")))
            }
        }
    }

    /// Whether a report of this kind is at the path, which may be replaced. False if no file is there; any other file
    /// is an error.
    fn may_replace(&self) -> Result<bool, Failure> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_file() && self.has_signature() => Ok(true),
            Ok(_) => {
                let text = format!(
                    "cannot write {}: the file exists and is not such a report",
                    text::line(&self.path.to_string_lossy())
                );
                Err(Failure::of(ErrorCode::Invalid, text)
                    .hint("choose another name, or remove the file"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.cannot(&error)),
        }
    }

    fn has_signature(&self) -> bool {
        let mut begin = vec![0; self.signature.len()];
        let read = File::open(&self.path).and_then(|mut file| file.read_exact(&mut begin));
        read.is_ok() && begin == self.signature.as_bytes()
    }

    /// Writes the file atomically: a reader sees the whole new report, or the previous report.
    pub(super) fn write(self, content: &str) -> Result<PathBuf, Failure> {
        debug_assert!(
            content.starts_with(self.signature),
            "the report lacks its signature"
        );
        let name = format!(".agent-team-report-{}", random::id());
        let temporary = self.directory().join(name);
        let written = self.write_through(&temporary, content);
        if !matches!(written, Ok(())) {
            // The file may not exist.
            let _removed = fs::remove_file(&temporary);
        }
        written.map(|()| self.path)
    }

    fn write_through(&self, temporary: &Path, content: &str) -> Result<(), Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(temporary);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|error| self.cannot(&error))?;
        if self.may_replace()? {
            return fs::rename(temporary, &self.path).map_err(|error| self.cannot(&error));
        }
        // Unlike a rename, a link fails if another process has created the file meanwhile.
        let linked = fs::hard_link(temporary, &self.path);
        linked.map_err(|error| self.cannot(&error))?;
        fs::remove_file(temporary).map_err(|error| self.cannot(&error))
    }

    fn directory(&self) -> &Path {
        let parent = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    fn cannot(&self, error: &io::Error) -> Failure {
        let path = text::line(&self.path.to_string_lossy());
        Failure::io(format!("cannot write {path}"), error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SIGNATURE: &str = "<report>";

    fn write(path: &Path, content: &str) -> Result<PathBuf, Failure> {
        ReportFile::check(path.to_owned(), SIGNATURE)?.write(content)
    }

    #[test]
    fn only_a_report_of_agent_team_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.html");
        write(&path, "<report>1").unwrap();
        write(&path, "<report>2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "<report>2");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let others = [("notes.md", "mine"), ("empty", "")];
        for (name, content) in others {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            assert!(write(&path, "<report>").is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
    }

    #[test]
    fn a_symlink_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (own, missing) = (directory.path().join("own"), directory.path().join("none"));
        write(&own, "<report>1").unwrap();
        for target in [&own, &missing] {
            let link = directory.path().join("link");
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert!(write(&link, "<report>2").is_err());
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(fs::read_to_string(&own).unwrap(), "<report>1");
        assert!(!missing.exists());
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.html");
        let file = ReportFile::check(path.clone(), SIGNATURE).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(file.write("<report>").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write(&directory.path().join("no/r.html"), "<report>").is_err());
    }
}
