//! The directories and files of an installation, and checks that only this user has access to them. Called first by
//! every binary; all other code takes its paths from here.
//!
//! A directory that another user could have created or could write to is refused, with the problem and a remedy. It is
//! never repaired, because its content may already come from another user.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agent_team_protocol::text::hex;
use nix::libc;
use nix::unistd::{User, geteuid};
use sha2::{Digest, Sha256};

/// Longest path of a socket. The kernel's limit including the final NUL is 104 bytes on macOS and 108 on Linux.
const SOCKET_PATH_BYTES: usize = 100;

/// Environment variable that moves all directories, for tests and for several installations side by side.
pub const HOME_VARIABLE: &str = "AGENT_TEAM_HOME";

/// The home directory of the user's account, regardless of `HOME`.
pub fn user_home() -> Option<PathBuf> {
    let user = User::from_uid(geteuid()).ok().flatten()?;
    Some(user.dir)
}

/// The three directories of one installation, all absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// Journals and logs; survives a reboot.
    pub state: PathBuf,
    /// Sockets, launch files, environments; may not survive a reboot.
    pub run: PathBuf,
    /// The user's settings and roles. Neither created nor checked here.
    pub config: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum DirectoriesError {
    #[error("{HOME_VARIABLE} must be an absolute path, not {0}")]
    Relative(PathBuf),
    #[error(
        "cannot find the home directory: set HOME, or set {HOME_VARIABLE} to a directory for agent-team's files"
    )]
    NoHome,
    #[error("{} {problem}; {}", path.display(), problem.remedy(path))]
    Unsafe { path: PathBuf, problem: Problem },
    #[error("cannot prepare {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The fault of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("is a symbolic link")]
    Symlink,
    #[error("is not a directory")]
    NotADirectory,
    #[error("belongs to user {0}, not to you")]
    ForeignOwner(u32),
    #[error("is accessible to other users (mode {0:03o})")]
    TooOpen(u32),
}

impl Problem {
    /// The hint for the user.
    fn remedy(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Problem::Symlink | Problem::NotADirectory | Problem::ForeignOwner(_) => {
                format!("remove it, or set {HOME_VARIABLE} to your own directory")
            }
            Problem::TooOpen(_) => {
                format!("inspect its content, then run: chmod 700 {path}")
            }
        }
    }
}

impl Directories {
    /// Takes the paths from `AGENT_TEAM_HOME`, else from the XDG variables, else from their defaults. Creates nothing.
    ///
    /// # Errors
    /// `AGENT_TEAM_HOME` is relative, or a default needs the home directory, which cannot be found.
    pub fn from_environment() -> Result<Directories, DirectoriesError> {
        Directories::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Directories, DirectoriesError> {
        if let Some(home) = variable(HOME_VARIABLE).filter(|home| !home.is_empty()) {
            let home = PathBuf::from(home);
            if !home.is_absolute() {
                return Err(DirectoriesError::Relative(home));
            }
            return Ok(Directories {
                state: home.join("state"),
                run: home.join("run"),
                config: home.join("config"),
            });
        }
        // The XDG base directory specification: ignore paths that are not absolute.
        let absolute = |name: &str| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let below_home = |path: &str| {
            let home = absolute("HOME").or_else(user_home);
            home.map(|home| home.join(path))
                .ok_or(DirectoriesError::NoHome)
        };
        let base = |name, default| absolute(name).map_or_else(|| below_home(default), Ok);
        Ok(Directories {
            state: base("XDG_STATE_HOME", ".local/state")?.join("agent-team"),
            run: match absolute("XDG_RUNTIME_DIR") {
                Some(runtime) => runtime.join("agent-team"),
                None => of_this_user(&std::env::temp_dir()),
            },
            config: base("XDG_CONFIG_HOME", ".config")?.join("agent-team"),
        })
    }

    /// The variables with which [`Directories::from_environment`] finds the same directories in a child process.
    /// `None`: the variable must be unset.
    pub fn variables(&self) -> Vec<(&'static str, Option<OsString>)> {
        let parent = |path: &Path| path.parent().map(|parent| parent.as_os_str().to_owned());
        let home = self.state.parent().filter(|home| {
            [&self.state, &self.run, &self.config]
                == [&home.join("state"), &home.join("run"), &home.join("config")]
        });
        if let Some(home) = home {
            return vec![(HOME_VARIABLE, Some(home.into()))];
        }
        let mut variables = vec![
            (HOME_VARIABLE, None),
            ("XDG_STATE_HOME", parent(&self.state)),
            ("XDG_CONFIG_HOME", parent(&self.config)),
        ];
        if self.run.ends_with("agent-team") {
            variables.push(("XDG_RUNTIME_DIR", parent(&self.run)));
        } else {
            variables.push(("XDG_RUNTIME_DIR", None));
            variables.push(("TMPDIR", parent(&self.run)));
        }
        variables
    }

    /// Creates missing directories (0700).
    ///
    /// # Errors
    /// A directory cannot be created, is not a directory of this user, or is accessible to other users.
    pub fn prepare(&self) -> Result<(), DirectoriesError> {
        secure(&self.state)?;
        secure(&self.teams())?;
        secure(&self.state.join("log"))?;
        secure(&self.state.join("trusted"))?;
        secure(&self.run)?;
        secure(&self.launch_files())?;
        secure(&self.environment_files())?;
        for socket in [self.socket(), self.tmux_socket()] {
            if let Some(directory) = socket.parent().filter(|parent| *parent != self.run) {
                secure(directory)?;
            }
        }
        Ok(())
    }

    /// Creates the directory of one team and its `log/`, and returns the path of the directory.
    ///
    /// # Errors
    /// As for [`Directories::prepare`].
    pub fn prepare_team(&self, team_id: &str) -> Result<PathBuf, DirectoriesError> {
        let directory = self.team(team_id);
        secure(&directory)?;
        secure(&directory.join("log"))?;
        Ok(directory)
    }

    /// The user's own settings.
    pub fn settings_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The lock that the running supervisor holds; contains the path of its socket.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.state.join("supervisor.lock")
    }

    pub fn supervisor_log(&self) -> PathBuf {
        self.state.join("log/supervisor.log")
    }

    /// The socket that a supervisor binds. Clients take the path from the lock file instead.
    pub fn socket(&self) -> PathBuf {
        self.socket_path("supervisor.sock")
    }

    /// The socket of agent-team's own tmux server.
    pub fn tmux_socket(&self) -> PathBuf {
        self.socket_path("tmux.sock")
    }

    /// The socket of the process that hosts a team's members.
    pub fn host_socket(&self, team_id: &str) -> PathBuf {
        self.socket_path(&format!("host-{team_id}.sock"))
    }

    /// The socket of the MCP host, which runs a team's shared MCP servers.
    pub fn mcp_socket(&self, team_id: &str) -> PathBuf {
        self.socket_path(&format!("mcp-{team_id}.sock"))
    }

    /// The socket at which a chat session calls the team tools of its member.
    pub fn joined_socket(&self, launch_id: &str) -> PathBuf {
        self.socket_path(&format!("joined-{launch_id}.sock"))
    }

    /// The socket at which the programs of a member's external agent reach the team's tools.
    pub fn member_socket(&self, launch_id: &str) -> PathBuf {
        self.socket_path(&format!("{launch_id}.sock"))
    }

    /// The socket at which the hooks of a member's external agent reach the worker.
    pub fn hook_socket(&self, launch_id: &str) -> PathBuf {
        self.socket_path(&format!("hook-{launch_id}.sock"))
    }

    /// The directory for the files through which a worker and a member's external agent exchange messages. The worker
    /// creates it, if the agent uses such files.
    pub fn agent_files(&self, launch_id: &str) -> PathBuf {
        self.run.join(format!("files-{launch_id}"))
    }

    pub fn teams(&self) -> PathBuf {
        self.state.join("teams")
    }

    /// The directory of one team: `team.db` and `log/`.
    pub fn team(&self, team_id: &str) -> PathBuf {
        self.teams().join(team_id)
    }

    /// The input history of one team: see [`crate::history`].
    pub fn typed_file(&self, team_id: &str) -> PathBuf {
        self.team(team_id).join("typed")
    }

    /// The shell lines that the user typed in panes of one team: see [`crate::history`].
    pub fn typed_lines_file(&self, team_id: &str) -> PathBuf {
        self.team(team_id).join("typed-lines")
    }

    /// The file with the lines of the project's files that the user trusted, and with the digest of these lines.
    pub fn trusted(&self, team_id: &str) -> PathBuf {
        self.state.join("trusted").join(team_id)
    }

    /// The user's files for one team: its settings, its granted rules, and its trusted lines. They are kept when the
    /// journal is discarded, and removed only when the team is deleted.
    pub fn user_files(&self, team_id: &str) -> [PathBuf; 3] {
        let settings = self.config.join("teams");
        [
            settings.join(format!("{team_id}.toml")),
            settings.join(format!("{team_id}.permissions.toml")),
            self.trusted(team_id),
        ]
    }

    pub fn launch_files(&self) -> PathBuf {
        self.run.join("launch")
    }

    pub fn launch_file(&self, launch_id: &str) -> PathBuf {
        self.launch_files().join(launch_id)
    }

    /// The file that contains the environment with which a team was started.
    pub fn environment_file(&self, team_id: &str) -> PathBuf {
        self.environment_files().join(team_id)
    }

    fn environment_files(&self) -> PathBuf {
        self.run.join("env")
    }

    /// Whether a team is up, or was up when the last supervisor was killed: its environment file still exists.
    /// Environment files of teams whose directory was deleted by hand do not count.
    pub fn has_teams_up(&self) -> bool {
        let Ok(entries) = std::fs::read_dir(self.environment_files()) else {
            return false;
        };
        let teams = self.teams();
        let mut names = entries.flatten().map(|entry| entry.file_name());
        names.any(|team| teams.join(team).is_dir())
    }

    /// The path of a socket in the runtime directory or, if that is too long, a short path under `/tmp`. `TMPDIR` is
    /// not used, so that all processes with this runtime directory get the same path.
    fn socket_path(&self, name: &str) -> PathBuf {
        let path = self.run.join(name);
        if path.as_os_str().len() <= SOCKET_PATH_BYTES {
            return path;
        }
        let digest = hex(&Sha256::digest(path.as_os_str().as_bytes())[..8]);
        of_this_user(Path::new("/tmp")).join(format!("{digest}.sock"))
    }
}

fn of_this_user(temporary: &Path) -> PathBuf {
    temporary.join(format!("agent-team-{}", geteuid()))
}

/// Creates a directory (0700) if it does not exist, and checks it.
fn secure(path: &Path) -> Result<(), DirectoriesError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    // Check the opened directory, not the path: the path could be replaced between check and use.
    let opened = created.and_then(|()| {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)?
            .metadata()
    });
    let unsafe_because = |problem| DirectoriesError::Unsafe {
        path: path.to_owned(),
        problem,
    };
    match opened {
        Ok(metadata) if metadata.uid() != geteuid().as_raw() => {
            Err(unsafe_because(Problem::ForeignOwner(metadata.uid())))
        }
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            Err(unsafe_because(Problem::TooOpen(metadata.mode() & 0o777)))
        }
        Ok(_) => Ok(()),
        Err(source) => Err(match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => unsafe_because(Problem::Symlink),
            Ok(metadata) if !metadata.is_dir() => unsafe_because(Problem::NotADirectory),
            Ok(_) | Err(_) => DirectoriesError::Io {
                path: path.to_owned(),
                source,
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Directories, DirectoriesError> {
        Directories::from_variables(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_home_variable_overrides_xdg_and_must_be_absolute() {
        let all = from(&[
            (HOME_VARIABLE, "/x"),
            ("XDG_STATE_HOME", "/y"),
            ("HOME", "/h"),
        ])
        .unwrap();
        assert_eq!(all.state, Path::new("/x/state"));
        assert_eq!(all.socket(), Path::new("/x/run/supervisor.sock"));
        assert!(matches!(
            from(&[(HOME_VARIABLE, "x")]),
            Err(DirectoriesError::Relative(_))
        ));
    }

    #[test]
    fn defaults_are_in_home_and_relative_xdg_paths_are_ignored() {
        let all = from(&[
            ("HOME", "/h"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_CONFIG_HOME", "c"),
        ]);
        let all = all.unwrap();
        assert_eq!(all.state, Path::new("/h/.local/state/agent-team"));
        assert_eq!(all.run, Path::new("/r/agent-team"));
        assert_eq!(all.config, Path::new("/h/.config/agent-team"));
    }

    #[test]
    fn each_user_has_a_separate_default_runtime_directory() {
        let run = from(&[("HOME", "/h")]).unwrap().run;
        assert_eq!(
            run,
            std::env::temp_dir().join(format!("agent-team-{}", geteuid()))
        );
    }

    #[test]
    fn long_runtime_directories_get_distinct_short_sockets() {
        let long = |last: &str| Directories {
            state: "/s".into(),
            run: Path::new("/").join("d".repeat(90)).join(last),
            config: "/c".into(),
        };
        let (one, other) = (long("one"), long("other"));
        let sockets = [one.socket(), one.tmux_socket(), other.socket()];
        for socket in &sockets {
            assert!(socket.as_os_str().len() <= SOCKET_PATH_BYTES);
            assert!(socket.starts_with("/tmp"));
        }
        assert!(sockets[0] != sockets[1] && sockets[0] != sockets[2]);
        assert_eq!(one.socket(), long("one").socket());
    }

    #[test]
    fn a_child_finds_the_same_directories() {
        for variables in [
            vec![(HOME_VARIABLE, "/x")],
            vec![("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")],
            vec![
                ("XDG_STATE_HOME", "/s"),
                ("XDG_CONFIG_HOME", "/c"),
                ("XDG_RUNTIME_DIR", "/r"),
            ],
        ] {
            let directories = from(&variables).unwrap();
            let passed_on = directories.variables();
            let again = Directories::from_variables(|name| {
                passed_on
                    .iter()
                    .find(|(known, _)| *known == name)?
                    .1
                    .clone()
            });
            assert_eq!(again.unwrap(), directories);
        }
    }
}
