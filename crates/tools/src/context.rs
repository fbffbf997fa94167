//! The context that the tools of one member share: its directories, its environment, its secrets, and the versions of
//! the files that its model has read. Created once for each launch.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::SystemTime;

use agent_team_llm::{MediaSupport, Model};
use agent_team_system::notes::Notes;

use crate::guard::Guard;
use crate::secret::Secrets;

/// The execution context of one member's tools, shared by all calls of the member.
#[derive(Debug)]
pub struct ToolContext {
    /// Canonical. The file tools read and write nothing outside it, except that they read `outputs`.
    pub project: PathBuf,
    /// Canonical, within the project. Relative paths are resolved against it.
    pub cwd: PathBuf,
    /// The complete environment of the programs that tools start.
    pub env: Vec<(OsString, OsString)>,
    /// The secret values in `env`. They are redacted in every result and in every stored output.
    pub secrets: Secrets,
    /// The member's own directory for the full text of truncated outputs.
    pub outputs: PathBuf,
    /// The largest size of a result for the model, in bytes. Longer results lose their middle.
    pub output_max: usize,
    /// The versions of the files that the model has read or written. The edit tools change no other existing file.
    pub seen: Mutex<HashMap<PathBuf, Version>>,
    /// The files of the project that need permission to be read.
    pub guard: Guard,
    /// The notes of the member's team, project and user.
    pub notes: Notes,
    /// The model, as `provider/model`, and whether it accepts images and PDFs.
    pub model: String,
    pub media: MediaSupport,
}

impl ToolContext {
    /// The context of a helper with this model. Files that the helper reads are not added to the member's `seen`: the
    /// member may not change a file that only its helper has read.
    pub fn for_helper(&self, model: &dyn Model) -> Self {
        Self {
            project: self.project.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            secrets: self.secrets.clone(),
            outputs: self.outputs.clone(),
            output_max: self.output_max,
            seen: Mutex::default(),
            guard: self.guard.clone(),
            notes: self.notes.clone(),
            model: model.name().to_owned(),
            media: model.media_support(),
        }
    }

    /// Returns the value of an environment variable of the started programs, trimmed; `None` if it is unset or empty.
    /// The value may be a secret.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        variable(&self.env, name)
    }
}

pub(crate) fn variable<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a str> {
    let found = env.iter().find(|(variable, _)| variable == name);
    let value = found.and_then(|(_, value)| value.to_str());
    value.map(str::trim).filter(|value| !value.is_empty())
}

/// A file's version when the model read or wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub len: u64,
    pub modified: Option<SystemTime>,
}

impl Version {
    pub fn of(metadata: &Metadata) -> Version {
        Version {
            len: metadata.len(),
            // A file system without modification times leaves only the length to compare.
            modified: metadata.modified().ok(),
        }
    }
}
