//! The context that the tools of one member share: its directories, its environment, its secrets, and the files that
//! its model has read. Created once for each launch.

use std::ffi::OsString;
use std::path::PathBuf;

use agent_team_llm::{MediaSupport, Model};
use agent_team_system::notes::Notes;

use crate::guard::Guard;
use crate::secret::Secrets;
use crate::seen_files::SeenFiles;

/// The execution context of one member's tools, shared by all calls of the member.
#[derive(Debug)]
pub struct ToolContext {
    /// The canonical directory of the project. Outside it, the file tools write nothing, and read only `outputs`.
    pub project: PathBuf,
    /// The canonical working directory, which is within the project. Relative paths start here.
    pub cwd: PathBuf,
    /// The complete environment of the programs that tools start.
    pub env: Vec<(OsString, OsString)>,
    /// The secret values in `env`. They are redacted in every result and in every stored output.
    pub secrets: Secrets,
    /// The member's own directory for the full text of truncated outputs.
    pub outputs: PathBuf,
    /// The largest size of a result for the model, in bytes. Longer results lose their middle.
    pub output_max: usize,
    pub seen: SeenFiles,
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
            seen: SeenFiles::default(),
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
