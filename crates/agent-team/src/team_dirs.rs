//! The directories of a team. Sockets are always in a private temporary directory. The state and the default project
//! are in the caller's store, or without a store in the private directory.
//!
//! The journal of a team without a store is therefore also a file: its commits are not synced, and the file is removed
//! when the team ends. With an in-memory SQLite database, readers and the writer would block each other, and the crate
//! `store` would need a second code path.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use agent_team_protocol::text::hex;
use agent_team_system::directories::Directories;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Maximum length of the readable part of a session directory's name, in characters.
const NAME_CHARACTERS: usize = 32;

/// A team's directories. Dropping this value removes the private directories.
#[derive(Debug)]
pub(crate) struct TeamDirs {
    pub(crate) directories: Directories,
    /// The project directory if the caller sets none. Created by [`TeamDirs::project`].
    own_project: PathBuf,
    _private: TempDir,
}

/// The user and the session under which the embedding program stores a team.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredSession {
    pub(crate) user: String,
    pub(crate) session: String,
}

impl TeamDirs {
    /// `store`: the caller's directory for files that outlive the team. `None`: all files are private.
    pub(crate) fn new(store: Option<(&Path, &StoredSession)>) -> io::Result<Self> {
        // Sockets are not in the store: the kernel limits the path of a Unix socket to about 100 bytes.
        let private = tempfile::Builder::new().prefix("agent-team-").tempdir()?;
        let root = private.path().canonicalize()?;
        let (state, own_project) = match store {
            None => (root.join("state"), root.join("project")),
            Some((store, session)) => {
                let state = std::path::absolute(store)?.join(session.directory());
                (state.clone(), state.join("project"))
            }
        };
        Ok(Self {
            directories: Directories {
                state,
                run: root.join("run"),
                // This directory stays empty: an embedded team must not read the user's settings.
                config: root.join("config"),
            },
            own_project,
            _private: private,
        })
    }

    /// The canonical path of the project directory: `given`, or else the team's own directory, which is created.
    pub(crate) fn project(&self, given: Option<&Path>) -> io::Result<PathBuf> {
        if let Some(given) = given {
            return given.canonicalize();
        }
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.own_project)?;
        self.own_project.canonicalize()
    }
}

impl StoredSession {
    /// The name of the session's directory. Only the digest distinguishes sessions; the names help the user to find the
    /// directory of a session.
    fn directory(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.user.len().to_be_bytes());
        digest.update(&self.user);
        digest.update(&self.session);
        let digest = hex(&digest.finalize()[..8]);
        let name = format!("{} {}", self.user, self.session);
        let readable = name.chars().take(NAME_CHARACTERS).map(|c| match c {
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        });
        let readable: String = readable.collect();
        format!("{}-{digest}", readable.trim_matches('-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(user: &str, session: &str) -> String {
        let (user, session) = (user.to_owned(), session.to_owned());
        StoredSession { user, session }.directory()
    }

    #[test]
    fn session_directories_are_distinct() {
        assert_eq!(directory("ada", "one"), directory("ada", "one"));
        assert!(directory("ada", "one").starts_with("ada-one-"));
        assert_ne!(directory("ada", "one"), directory("ad", "aone"));
        assert_ne!(directory("a/b", "c"), directory("a-b", "c"));
        for odd in ["../..", "/", "", "\0", "é"] {
            assert!(!directory(odd, odd).contains(['/', '.', '\0']), "{odd:?}");
        }
    }

    #[test]
    fn dropping_removes_private_and_keeps_stored_directories() {
        let store = tempfile::tempdir().unwrap();
        let session = StoredSession::default();
        let dirs = TeamDirs::new(Some((store.path(), &session))).unwrap();
        let project = dirs.project(None).unwrap();
        let private = dirs.directories.run.parent().unwrap().to_owned();
        assert!(private.is_dir() && project.starts_with(store.path().canonicalize().unwrap()));
        drop(dirs);
        assert!(!private.exists() && project.is_dir());
    }
}
