//! Finds and reads the files of the other program. Called by the modules that read its formats.
//!
//! A file of the project must be in the project: a link must not make the conversion read another file of the user.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::super::open::{ReadTextError, read_text};
use super::super::source::Fault;
use super::found::FilePosition;

/// The largest number of files of one directory.
const MAX_FILES: usize = 500;
/// The largest number of nested directories.
const MAX_DEPTH: usize = 4;

#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    project: &'a Path,
    home: &'a Path,
}

impl<'a> Files<'a> {
    pub(super) fn new(project: &'a Path, home: &'a Path) -> Self {
        Self { project, home }
    }

    /// The path for messages and comments: relative to the project, or with `~` for the home directory.
    pub(super) fn shown(&self, path: &Path) -> String {
        if let Ok(path) = path.strip_prefix(self.project) {
            return path.display().to_string();
        }
        match path.strip_prefix(self.home) {
            Ok(path) => format!("~/{}", path.display()),
            Err(_) => path.display().to_string(),
        }
    }

    /// Whether the path is in the project's directory.
    pub(super) fn is_of_project(&self, path: &Path) -> bool {
        path.starts_with(self.project)
    }

    /// The text of a file; `None` if it does not exist.
    pub(super) fn text(&self, path: &Path) -> Result<Option<String>, Fault> {
        let position = FilePosition::start_of(self.shown(path));
        self.check_link(path, &position)?;
        match read_text(path) {
            Ok(text) => match text.find('\0') {
                Some(at) => {
                    let line = text[..at].matches('\n').count() + 1;
                    let position = FilePosition { line, ..position };
                    Err(position.fault("contains a zero byte: it is not a text file".to_owned()))
                }
                None => Ok(Some(text)),
            },
            Err(ReadTextError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(ReadTextError::NotText { line, column }) => {
                let position = FilePosition {
                    line,
                    column,
                    ..position
                };
                Err(position.fault("is not valid UTF-8: it is not a text file".to_owned()))
            }
            Err(error) => Err(position.fault(format!("cannot be read: {error}"))),
        }
    }

    /// The files of a directory with this extension, sorted. If `deep`, includes the files of nested directories.
    pub(super) fn list(
        &self,
        directory: &Path,
        extension: &str,
        deep: bool,
    ) -> Result<Vec<PathBuf>, Fault> {
        let mut files = Vec::new();
        let depth = if deep { MAX_DEPTH } else { 0 };
        self.check_link(directory, &FilePosition::start_of(self.shown(directory)))?;
        self.add(directory, extension, depth, &mut files)?;
        files.sort();
        Ok(files)
    }

    /// The directories in a directory, sorted.
    pub(super) fn directories(&self, directory: &Path) -> Result<Vec<PathBuf>, Fault> {
        let mut found = Vec::new();
        for path in self.entries(directory)? {
            if path.is_dir() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    fn add(
        &self,
        directory: &Path,
        extension: &str,
        depth: usize,
        files: &mut Vec<PathBuf>,
    ) -> Result<(), Fault> {
        for path in self.entries(directory)? {
            let is_directory = path
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_dir());
            if is_directory && depth > 0 {
                self.add(&path, extension, depth - 1, files)?;
            } else if !is_directory && path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
            if files.len() > MAX_FILES {
                let position = FilePosition::start_of(self.shown(directory));
                return Err(position.fault(format!("contains more than {MAX_FILES} files")));
            }
        }
        Ok(())
    }

    fn entries(&self, directory: &Path) -> Result<Vec<PathBuf>, Fault> {
        let failed = |error: std::io::Error| {
            let position = FilePosition::start_of(self.shown(directory));
            position.fault(format!("cannot be read: {error}"))
        };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
            .collect()
    }

    fn check_link(&self, path: &Path, position: &FilePosition) -> Result<(), Fault> {
        let Ok(target) = path.canonicalize() else {
            // The file does not exist, or reading it reports the error.
            return Ok(());
        };
        if path.starts_with(self.project) && !target.starts_with(self.project) {
            let message = "is a link to a file outside of the project, which is not imported";
            return Err(Fault {
                hint: Some("replace the link by the file".to_owned()),
                ..position.fault(message.to_owned())
            });
        }
        Ok(())
    }
}
