//! Where a path of the model's leads, and whether it may. Called by every tool that takes a path.
//!
//! A path is judged twice: as it was given, and as it is once symbolic links are followed; both must be within the
//! project. What was judged is then opened below the root's descriptor without following any link (see `beneath`), so
//! that a link put there in between leads nowhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use agent_team_system::path::resolve;
use rustix::io::Errno;

use super::beneath::Beneath;
use super::{Bench, ToolError, Version};

/// What may be done at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Also of outputs that were cut.
    Reading,
    /// Never of what is guarded.
    Writing,
}

/// What no tool writes into, and why.
const GUARDED: [(&str, &str); 2] = [
    // Its configuration and hooks are programs.
    (".git", "belongs to git: it is changed by git alone"),
    // Its rules and hooks hold the one who would change them.
    (
        ".agent-team",
        "says what the team may do: it is changed by a person",
    ),
];

/// A place that the model may use. It need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Canonical: the project, or the directory of outputs.
    root: PathBuf,
    /// Without links and `..`; empty for the root itself.
    relative: PathBuf,
}

impl Place {
    /// Judges a path of the model's.
    ///
    /// # Errors
    /// When it leads out of the project, or through something that is no directory.
    pub(super) fn find(bench: &Bench, given: &str, purpose: Purpose) -> Result<Place, ToolError> {
        if given.is_empty() || given.contains('\0') {
            return Err(ToolError::Input(
                "`path` is no path: it is empty or has a NUL".to_owned(),
            ));
        }
        let asked = normal(&bench.cwd.join(given));
        let mut roots = vec![&bench.project];
        if purpose == Purpose::Reading {
            roots.push(&bench.outputs);
        }
        if !roots.iter().any(|root| asked.starts_with(root)) {
            return Err(outside(bench, given));
        }
        let resolved = resolve(&asked).map_err(|error| failed(given, &error))?;
        let root = roots
            .into_iter()
            .find(|root| resolved.starts_with(root))
            .ok_or_else(|| {
                ToolError::Failed(format!(
                    "{given} leads out of the project through a symbolic link ({}): only what is below {} can be used",
                    resolved.display(),
                    bench.project.display()
                ))
            })?;
        let relative = resolved
            .strip_prefix(root)
            .expect("it was found by this prefix")
            .to_owned();
        if purpose == Purpose::Writing {
            for (directory, whose) in GUARDED {
                let is_it = |part: Component<'_>| part.as_os_str().eq_ignore_ascii_case(directory);
                if relative.components().any(is_it) {
                    return Err(ToolError::Failed(format!("{given} {whose}")));
                }
            }
        }
        Ok(Place {
            root: root.clone(),
            relative,
        })
    }

    /// Canonical.
    pub(super) fn path(&self) -> PathBuf {
        if self.relative.as_os_str().is_empty() {
            return self.root.clone();
        }
        self.root.join(&self.relative)
    }

    /// As it is called in answers: from the project on.
    pub(super) fn shown(&self) -> String {
        if self.relative.as_os_str().is_empty() {
            return ".".to_owned();
        }
        self.relative.display().to_string()
    }

    /// Opens the regular file that is there. `None` when there is nothing.
    ///
    /// # Errors
    /// When it is a directory, a device, a pipe or a socket, or cannot be read.
    pub(super) fn open(&self) -> Result<Option<(File, Version)>, ToolError> {
        if self.relative.as_os_str().is_empty() {
            return Err(self.is_directory());
        }
        let opened = Beneath::new(&self.root).and_then(|root| root.any(&self.relative));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            // A socket, or a device that nobody drives.
            Err(Errno::NXIO) => return Err(self.special()),
            Err(Errno::ISDIR) => return Err(self.is_directory()),
            Err(error) => return Err(failed(&self.shown(), &error.into())),
        };
        let metadata = file
            .metadata()
            .map_err(|error| failed(&self.shown(), &error))?;
        if metadata.is_dir() {
            return Err(self.is_directory());
        }
        if !metadata.is_file() {
            return Err(self.special());
        }
        Ok(Some((file, Version::of(&metadata))))
    }

    /// The directory that the file is in, opened without following a link; made, if that is wanted.
    pub(super) fn directory(&self, make: bool) -> rustix::io::Result<OwnedFd> {
        let root = Beneath::new(&self.root)?;
        let parent = self.relative.parent().unwrap_or(Path::new(""));
        match make {
            true => root.make_directory(parent),
            false => root.directory(parent),
        }
    }

    /// Whether it is a directory now.
    pub(super) fn is_a_directory(&self) -> bool {
        Beneath::new(&self.root).is_ok_and(|root| root.directory(&self.relative).is_ok())
    }

    /// The project, or the directory of outputs.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// From the root on.
    pub(super) fn relative(&self) -> &Path {
        &self.relative
    }

    /// # Errors
    /// When it is the project itself.
    pub(super) fn name(&self) -> Result<&OsStr, ToolError> {
        self.relative.file_name().ok_or_else(|| self.is_directory())
    }

    fn is_directory(&self) -> ToolError {
        ToolError::Failed(format!(
            "{} is a directory: use glob to see what is in it",
            self.shown()
        ))
    }

    fn special(&self) -> ToolError {
        ToolError::Failed(format!(
            "{} is no regular file (a pipe, a socket or a device): it is not opened",
            self.shown()
        ))
    }
}

/// Without `.` and `..`, taken from the text alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => normal.push(part),
        }
    }
    normal
}

fn outside(bench: &Bench, given: &str) -> ToolError {
    ToolError::Failed(format!(
        "{given} is outside of the project: only what is below {} can be used",
        bench.project.display()
    ))
}

/// What the system said about a file.
pub(super) fn failed(path: &str, error: &io::Error) -> ToolError {
    let said = if error.kind() == io::ErrorKind::NotADirectory {
        "a part of the path is a file, not a directory".to_owned()
    } else {
        error.to_string()
    };
    ToolError::Failed(format!("{path}: {said}"))
}
