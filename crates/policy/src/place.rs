//! Paths, as data: what was written, where that leads, and where it leads once links are followed.
//!
//! The caller looks at the file system; nothing in this crate does.

use std::path::{Component, Path, PathBuf};

use super::protected::is_protected_name;

/// What relative and `~` rules start from. Both canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    pub project: PathBuf,
    /// Without one, rules that begin with `~` hold nowhere.
    pub home: Option<PathBuf>,
    /// Scripts whose content the user trusted: they run outside the sandbox. And what git's configuration leads to:
    /// directories of hooks, and included configuration.
    pub scripts: Vec<PathBuf>,
}

/// A path of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the call says it.
    pub given: String,
    /// Absolute, without `.` and `..`, by the text alone: see [`Place::lexical`].
    pub path: PathBuf,
    /// Every link of what exists followed; what does not exist yet is appended.
    pub resolved: PathBuf,
}

impl Place {
    /// Where a text leads from a directory when there are no links.
    pub fn lexical(directory: &Path, given: &str) -> PathBuf {
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

    /// Both ways lead into the project.
    pub(crate) fn is_inside(&self, ground: &Ground) -> bool {
        self.path.starts_with(&ground.project) && self.resolved.starts_with(&ground.project)
    }

    /// One of the ways has a component of the list of protected paths, or leads to or below one of
    /// [`Ground::scripts`].
    pub(crate) fn is_protected(&self, ground: &Ground) -> bool {
        let has_name = |path: &PathBuf| {
            path.components()
                .any(|part| is_protected_name(part.as_os_str()))
        };
        let leads = |path: &PathBuf| ground.scripts.iter().any(|kept| path.starts_with(kept));
        [&self.path, &self.resolved]
            .into_iter()
            .any(|path| leads(path) || has_name(path))
    }
}

/// The places that a call names, found by how it says them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(pub Vec<Place>);

impl Places {
    pub(crate) fn find(&self, given: &str) -> Option<&Place> {
        self.0.iter().find(|place| place.given == given)
    }
}
