//! Paths of a call as data: as written, made absolute, and with symbolic links resolved.
//!
//! The caller reads the file system; this crate does not.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use agent_team_protocol::note::{NoteName, PROJECT_NOTES};

use super::protected::is_protected_name;

/// The base directories of relative and `~` rules, which are canonical, and the protected paths of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleContext {
    pub project: PathBuf,
    /// `None`: rules that begin with `~` never match.
    pub home: Option<PathBuf>,
    /// Protected paths in addition to the names in [`crate::protected`]: scripts that the user trusted and that run
    /// outside the sandbox, and the directories of hooks and included files that git's configuration names.
    pub protected: Vec<PathBuf>,
}

/// A path of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPath {
    /// The path as written in the call.
    pub given: String,
    /// The absolute path without `.` and `..`, derived from the text only: see [`CallPath::lexical`].
    pub path: PathBuf,
    /// The path with the symbolic links of its existing part resolved; the rest of the path is appended.
    pub resolved: PathBuf,
}

impl CallPath {
    /// The absolute path of `given`, without `.` and `..`. `given` may be relative to the directory. The result is
    /// correct only if no component before a `..` is a link.
    pub fn lexical(directory: &Path, given: impl AsRef<Path>) -> PathBuf {
        let mut normal = PathBuf::new();
        for part in directory.join(given).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    normal.pop();
                }
                Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                    normal.push(part);
                }
            }
        }
        normal
    }

    pub(crate) fn is_inside(&self, context: &RuleContext) -> bool {
        self.path.starts_with(&context.project) && self.resolved.starts_with(&context.project)
    }

    /// Whether the path or the resolved path has a protected component, or is at or below one of
    /// [`RuleContext::protected`].
    pub(crate) fn is_protected(&self, context: &RuleContext) -> bool {
        self.has_protected_name() || self.is_script(context)
    }

    fn has_protected_name(&self) -> bool {
        let has_name = |path: &PathBuf| {
            path.components()
                .any(|part| is_protected_name(part.as_os_str()))
        };
        has_name(&self.path) || has_name(&self.resolved)
    }

    /// Whether the path or the resolved path is at or below one of [`RuleContext::protected`].
    pub(crate) fn is_script(&self, context: &RuleContext) -> bool {
        let is_script = |path: &PathBuf| {
            context
                .protected
                .iter()
                .any(|script| path.starts_with(script))
        };
        is_script(&self.path) || is_script(&self.resolved)
    }

    /// Whether the path is the file of a note of the project, and contains no link.
    pub(crate) fn is_project_note(&self, context: &RuleContext) -> bool {
        let is_note = |file: &OsStr| file.to_str().and_then(NoteName::of_file).is_some();
        self.path == self.resolved
            && self.path.parent() == Some(&context.project.join(PROJECT_NOTES))
            && self.path.file_name().is_some_and(is_note)
    }
}

/// The resolved paths of a call, by the path as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallPaths(pub Vec<CallPath>);

impl CallPaths {
    pub(crate) fn find(&self, given: &str) -> Option<&CallPath> {
        self.0.iter().find(|call_path| call_path.given == given)
    }
}
