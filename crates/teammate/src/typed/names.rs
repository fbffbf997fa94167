//! Finds the names with which Tab completes the prompt. Called by the parent module.

use std::path::PathBuf;

use agent_team_client::{Session, names};
use agent_team_protocol::TeamId;
use agent_team_protocol::rpc::TeamRef;
use agent_team_system::directories::Directories;
use agent_team_terminal_ui::{Candidate, Names};

#[derive(Debug, Clone)]
pub(super) struct NameFinder {
    pub(super) directories: Directories,
    pub(super) team: TeamId,
    /// The member's working directory.
    pub(super) cwd: PathBuf,
}

impl NameFinder {
    pub(super) async fn candidates(self, names: &Names) -> Vec<Candidate> {
        let team = TeamRef::Id(self.team);
        let session = || Session::to_create_in(self.directories, team);
        let found = match names {
            Names::Members => names::members(session()).await,
            Names::Tasks => names::tasks(session()).await,
            Names::Files { directory } => names::files(self.cwd, directory.into()).await,
        };
        let found = found.into_iter();
        found
            .map(|found| Candidate::new(found.name, found.description))
            .collect()
    }
}
