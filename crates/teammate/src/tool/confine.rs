//! What an agent's commands may do of what its person may. Called by `bash` for those that nobody allowed to go
//! further.
//!
//! They have no network unless their role says so, write in the project and in a directory for what is temporary, and read what the person may read but for what
//! proves who that is: keys, tokens, histories, browsers, agents, and our own places. What would act later in the
//! person's name stays as it is: git's hooks and configuration, and what tells agents and editors what to run.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use agent_team_system::directories::Directories;
use agent_team_system::sandbox::{self, Network, Profile, Sandbox};
use agent_team_system::spawn::{Child, ProgramSpec};
use tokio::sync::OnceCell;

/// Below the home directory.
const SECRET: [&str; 35] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker/config.json",
    ".config/gh",
    ".config/gcloud",
    ".config/op",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".gradle/gradle.properties",
    ".m2/settings.xml",
    ".terraform.d",
    ".vault-token",
    ".password-store",
    ".local/share/keyrings",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".bash_history",
    ".zsh_history",
    ".claude",
    ".claude.json",
    ".codex",
    ".gemini",
    ".qwen",
    ".config/opencode",
];

/// Below the project.
const PROTECTED: [&str; 11] = [
    ".agent-team",
    ".claude",
    ".codex",
    ".cursor",
    ".gemini",
    ".nyzhi",
    ".qwen",
    ".idea",
    ".vscode",
    ".mcp.json",
    ".envrc",
];

/// Below git's own directory.
const PROTECTED_OF_GIT: [&str; 3] = ["hooks", "config", "config.worktree"];

/// How one member's commands are held.
#[derive(Debug)]
pub struct Confinement {
    /// What is hidden and protected is by its name: see [`there`].
    profile: Profile,
    /// Where they put what is temporary.
    temporary: PathBuf,
    /// Where the sandbox's program is looked for.
    path: OsString,
    /// Tried when it is needed first; it stays what it is.
    found: OnceCell<Result<Sandbox, String>>,
}

impl Confinement {
    /// `project` and `temporary` are canonical, and there; `env` is that of the commands.
    pub fn new(
        project: &Path,
        temporary: PathBuf,
        env: &[(OsString, OsString)],
        ours: &Directories,
        network: Network,
    ) -> Confinement {
        let variable = |name: &str| {
            let found = env.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_os_str())
        };
        let mut writable = vec![project.to_owned(), temporary.clone()];
        let mut protected: Vec<PathBuf> = below(project, &PROTECTED).collect();
        if let Some(git) = git_directory(project) {
            protected.extend(below(&git, &PROTECTED_OF_GIT));
            if !git.starts_with(project) {
                protected.push(project.join(".git"));
                writable.push(git);
            }
        }
        let mut hidden = vec![
            ours.state.clone(),
            ours.run.clone(),
            ours.config.clone(),
            "/tmp".into(),
        ];
        hidden.extend(
            variable("HOME")
                .into_iter()
                .flat_map(|home| below(Path::new(home), &SECRET)),
        );
        hidden.extend(
            ["TMPDIR", "XDG_RUNTIME_DIR"]
                .into_iter()
                .filter_map(variable)
                .map(PathBuf::from),
        );
        Confinement {
            profile: Profile {
                writable,
                protected,
                hidden,
                readable: Vec::new(),
                links: Vec::new(),
                scratch: Vec::new(),
                network,
            },
            temporary,
            path: variable("PATH").map(OsStr::to_owned).unwrap_or_default(),
            found: OnceCell::new(),
        }
    }

    /// How commands are held here, in a line for the person.
    pub(crate) async fn told(&self) -> String {
        let network = match self.has_network() {
            true => "with the network",
            false => "without network",
        };
        match self.held().await {
            Ok(Held { sandbox, .. }) if sandbox.protects() => {
                format!("commands run in a sandbox ({sandbox}), {network}")
            }
            Ok(Held { sandbox, .. }) => format!(
                "commands run in a sandbox ({sandbox}), {network}; git's hooks are not protected"
            ),
            Err(why) => format!("there is no sandbox here, so every command is asked about: {why}"),
        }
    }

    pub(super) fn has_network(&self) -> bool {
        self.profile.network == Network::Host
    }

    /// The sandbox of this machine with this profile. The first call takes some 10 ms.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub(super) async fn held(&self) -> Result<Held<'_>, &str> {
        let find = async || {
            let found = sandbox::find(&self.path).await;
            found.map_err(|none| none.to_string())
        };
        match self.found.get_or_init(find).await {
            Ok(sandbox) => Ok(Held {
                sandbox,
                confinement: self,
            }),
            Err(why) => Err(why),
        }
    }
}

/// Programs are started through this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'a> {
    sandbox: &'a Sandbox,
    confinement: &'a Confinement,
}

impl Held<'_> {
    /// Starts a program in a session of its own, without input, its stdout and stderr in `output`.
    pub(super) fn spawn(&self, spec: &ProgramSpec, output: OwnedFd) -> io::Result<Child> {
        let mut spec = spec.clone();
        spec.env.retain(|(name, _)| name != "TMPDIR");
        let temporary = self.confinement.temporary.clone();
        spec.env.push(("TMPDIR".into(), temporary.into()));
        let profile = &self.confinement.profile;
        let profile = Profile {
            protected: there(&profile.protected),
            hidden: there(&profile.hidden),
            ..profile.clone()
        };
        let stdio = [File::open("/dev/null")?.into(), output.try_clone()?, output];
        self.sandbox.spawn(&profile, &spec, stdio)
    }

    /// What is started is the sandbox's own program, which starts the one that was meant.
    pub(super) fn is_wrapped(&self) -> bool {
        self.sandbox.is_program()
    }
}

/// Of these places, what is there now, and where it leads.
fn there(places: &[PathBuf]) -> Vec<PathBuf> {
    let resolved = places.iter().filter_map(|place| place.canonicalize().ok());
    resolved.collect()
}

fn below<'a>(directory: &'a Path, names: &'a [&str]) -> impl Iterator<Item = PathBuf> + 'a {
    names.iter().map(move |name| directory.join(name))
}

/// Where git keeps what belongs to this project. For a linked working tree that is elsewhere, and believed only when it
/// links back: what an agent writes in its project opens nothing outside of it.
fn git_directory(project: &Path) -> Option<PathBuf> {
    let link = project.join(".git");
    if link.is_dir() {
        return Some(link);
    }
    let text = fs::read_to_string(&link).ok()?;
    let own = project
        .join(text.strip_prefix("gitdir:")?.trim())
        .canonicalize()
        .ok()?;
    let back = fs::read_to_string(own.join("gitdir")).ok()?;
    let worktrees = own
        .parent()
        .filter(|parent| parent.ends_with("worktrees"))?;
    (Path::new(back.trim()) == link).then_some(worktrees.parent()?.to_owned())
}
