//! Resolves and checks a path of a call. Called by every tool that takes a path.
//!
//! A path is checked twice: as given, and with symbolic links resolved; both must be within the project, or, for
//! reading, within the directory of stored outputs. A file that the user attaches may be anywhere. The checked path is
//! then opened below the root's descriptor without following any link (see `system::beneath`), so a link that is created
//! after the check is not followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use agent_team_policy::CallPath;
use agent_team_system::beneath::Beneath;
use agent_team_system::path::resolve;
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::context::ToolContext;
use crate::seen_files::Version;
use crate::tool::ToolError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Also permits the stored outputs.
    Reading,
    /// Does not permit the directories of [`NEVER_WRITTEN`].
    Writing,
}

/// Directories that tools never write to, and the reason.
const NEVER_WRITTEN: [(&str, &str); 2] = [
    // Contains git's configuration and hooks, which name programs to run.
    (".git", "belongs to git: only git may change it"),
    // Contains the rules and hooks that restrict the members themselves.
    (
        ".agent-team",
        "configures the team's permissions: only the user may change it",
    ),
];

/// A path that the model may use. The file need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedPath {
    /// The canonical root: the project, the directory of stored outputs, or the directory of an attached file.
    root: PathBuf,
    /// The path below `root`, without links and `..`; empty for the root itself.
    relative: PathBuf,
}

impl ResolvedPath {
    /// Resolves and checks a path of a call.
    ///
    /// # Errors
    /// If the path is invalid, outside the project, or not permitted for this purpose, or if it cannot be resolved.
    pub(super) fn find(
        context: &ToolContext,
        given: &str,
        purpose: Purpose,
    ) -> Result<ResolvedPath, ToolError> {
        if given.is_empty() || given.contains('\0') {
            return Err(ToolError::Input(
                "`path` is invalid: it is empty or contains a NUL character".to_owned(),
            ));
        }
        let path = CallPath::lexical(&context.cwd, given);
        let mut roots = vec![&context.project];
        if purpose == Purpose::Reading {
            roots.push(&context.outputs);
        }
        if !roots.iter().any(|root| path.starts_with(root)) {
            return Err(outside(context, given));
        }
        let resolved = resolve(&path).map_err(|error| failed(given, &error))?;
        let root = roots
            .into_iter()
            .find(|root| resolved.starts_with(root))
            .ok_or_else(|| {
                ToolError::Failed(format!(
                    "{given} leads out of the project through a symbolic link ({}): only files below {} can be used",
                    resolved.display(),
                    context.project.display()
                ))
            })?;
        let relative = resolved
            .strip_prefix(root)
            .expect("`root` is a prefix")
            .to_owned();
        if purpose == Purpose::Writing {
            for (directory, reason) in NEVER_WRITTEN {
                let is_it = |part: Component<'_>| part.as_os_str().eq_ignore_ascii_case(directory);
                if relative.components().any(is_it) {
                    return Err(ToolError::Failed(format!("{given} {reason}")));
                }
            }
        }
        Ok(ResolvedPath {
            root: root.clone(),
            relative,
        })
    }

    /// Resolves a path that the user typed, which may be outside the project. A link of the project that leads outside
    /// is refused as in [`Self::find`]: its target was chosen by the repository, not by the user.
    ///
    /// # Errors
    /// If the path is invalid or cannot be resolved, is such a link, or is the root of the file system.
    pub(super) fn find_anywhere(
        context: &ToolContext,
        given: &str,
    ) -> Result<ResolvedPath, ToolError> {
        let inside = Self::find(context, given, Purpose::Reading);
        if inside.is_ok() || given.contains('\0') {
            return inside;
        }
        let path = CallPath::lexical(&context.cwd, given);
        if path.starts_with(&context.project) {
            return inside;
        }
        let resolved = resolve(&path).map_err(|error| failed(given, &error))?;
        match (resolved.parent(), resolved.file_name()) {
            (Some(directory), Some(name)) => Ok(ResolvedPath {
                root: directory.to_owned(),
                relative: name.into(),
            }),
            _ => inside,
        }
    }

    /// The canonical path of the file.
    pub(super) fn path(&self) -> PathBuf {
        if self.relative.as_os_str().is_empty() {
            return self.root.clone();
        }
        self.root.join(&self.relative)
    }

    /// The path in results: relative to the root.
    pub(super) fn display(&self) -> String {
        if self.relative.as_os_str().is_empty() {
            return ".".to_owned();
        }
        self.relative.display().to_string()
    }

    /// Opens the regular file at this path. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// If the path is that of a directory, a device, a pipe or a socket, or cannot be opened.
    pub(super) fn open(&self) -> Result<Option<(File, Version)>, ToolError> {
        if self.relative.as_os_str().is_empty() {
            return Err(self.directory_error());
        }
        let opened = Beneath::new(&self.root).and_then(|root| root.any(&self.relative));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            // A socket, or a device without a driver.
            Err(Errno::NXIO) => return Err(self.special_file_error()),
            Err(Errno::ISDIR) => return Err(self.directory_error()),
            Err(error) => return Err(failed(&self.display(), &error.into())),
        };
        let metadata = file
            .metadata()
            .map_err(|error| failed(&self.display(), &error))?;
        if metadata.is_dir() {
            return Err(self.directory_error());
        }
        if !metadata.is_file() {
            return Err(self.special_file_error());
        }
        Ok(Some((file, Version::of(&metadata))))
    }

    /// Opens the file's directory without following a link. `make`: create missing directories.
    pub(super) fn directory(&self, make: bool) -> rustix::io::Result<OwnedFd> {
        let root = Beneath::new(&self.root)?;
        let parent = self.relative.parent().unwrap_or(Path::new(""));
        match make {
            true => root.make_directory(parent, Mode::from(0o777)),
            false => root.directory(parent),
        }
    }

    pub(super) fn is_a_directory(&self) -> bool {
        Beneath::new(&self.root).is_ok_and(|root| root.directory(&self.relative).is_ok())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn relative(&self) -> &Path {
        &self.relative
    }

    /// The file's name.
    ///
    /// # Errors
    /// If the path is the root itself.
    pub(super) fn name(&self) -> Result<&OsStr, ToolError> {
        self.relative
            .file_name()
            .ok_or_else(|| self.directory_error())
    }

    fn directory_error(&self) -> ToolError {
        ToolError::Failed(format!(
            "{} is a directory: use glob to list its files",
            self.display()
        ))
    }

    fn special_file_error(&self) -> ToolError {
        ToolError::Failed(format!(
            "{} is not a regular file (a pipe, a socket or a device) and cannot be opened",
            self.display()
        ))
    }
}

fn outside(context: &ToolContext, given: &str) -> ToolError {
    ToolError::Failed(format!(
        "{given} is outside the project: only files below {} can be used",
        context.project.display()
    ))
}

pub(super) fn failed(path: &str, error: &io::Error) -> ToolError {
    let reason = if error.kind() == io::ErrorKind::NotADirectory {
        "a part of the path is a file, not a directory".to_owned()
    } else {
        error.to_string()
    };
    ToolError::Failed(format!("{path}: {reason}"))
}
