//! Why a team's database cannot be opened, and which team it belongs to.

use std::io;
use std::path::PathBuf;

use agent_team_protocol::id::{TeamId, TeamName};

use crate::read::ReadError;

/// The team that a database belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamIdentity {
    pub team: TeamId,
    pub name: TeamName,
    /// The canonical path of the project directory.
    pub project: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{} was written by a newer agent-team: the database has version {version}, and this program reads versions up \
         to {ours}; install the newer agent-team",
        .file.display()
    )]
    Newer {
        file: PathBuf,
        version: usize,
        ours: usize,
    },
    #[error("{} is not a database of agent-team", .file.display())]
    NotOurs { file: PathBuf },
    #[error("{} belongs to the team {} of {}", .file.display(), .owner.name, .owner.project.display())]
    OtherTeam {
        file: PathBuf,
        owner: Box<TeamIdentity>,
    },
    /// The database and its companion files were renamed; nothing was deleted.
    #[error("{} is damaged ({reason}): it was set aside as {}", .file.display(), .aside.display())]
    Damaged {
        file: PathBuf,
        aside: PathBuf,
        reason: String,
    },
    #[error("{} is damaged ({reason}), and cannot be set aside", .file.display())]
    NotSetAside {
        file: PathBuf,
        reason: String,
        source: io::Error,
    },
    /// Another writer has opened the team, in this process or in another process.
    #[error("cannot open {}: another supervisor writes it", .file.display())]
    InUse { file: PathBuf },
    /// The journal is readable but ends before the acknowledged revision: its write-ahead log was removed, or the
    /// database was replaced by an older one.
    #[error(
        "{} has lost its newest events: revision {acknowledged} was acknowledged, but the file ends at {stored}",
        .file.display()
    )]
    Lost {
        file: PathBuf,
        stored: u64,
        acknowledged: u64,
        /// Emptying this file accepts the loss.
        lock: PathBuf,
    },
    #[error("the file system of {} cannot hold a write-ahead log", .file.display())]
    NoLog { file: PathBuf },
    #[error("cannot open {}", .file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("cannot read {}", .file.display())]
    Read { file: PathBuf, source: ReadError },
}
