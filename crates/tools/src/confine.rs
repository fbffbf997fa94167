//! The sandbox of an agent's commands. Called by `bash` for commands that do not request to run outside it, by the git
//! tools, and by the worker for `verify` lines.
//!
//! Commands have no network unless the member's settings permit it. They write only to the project, to the git
//! directory of a linked worktree, and to temporary directories of their own. In the home directory they read only a
//! list of paths ([`home`]). Elsewhere they read everything except agent-team's directories, temporary and runtime
//! directories, and the secrets that [`home`] lists. Files that other programs run or obey later in the user's name are
//! protected ([`agent_team_policy::protected`]): bubblewrap mounts them read-only. Changes of files that bubblewrap
//! cannot protect, and of all protected files under Landlock, are reported afterwards ([`changes`]).

mod changes;
mod denied;
mod home;
mod limits;
mod settings;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use agent_team_policy::protected::{
    GIT, GIT_DIRECTORY, GIT_WORKTREE, HOME, Kind, PROJECT, Protected,
};
use agent_team_protocol::request::Containment;
use agent_team_protocol::spec::KeptPath;
use agent_team_system::beneath::Beneath;
use agent_team_system::cgroup::Group;
use agent_team_system::clock::file_time;
use agent_team_system::directories::Directories;
use agent_team_system::sandbox::{
    self, Absent, AbsentPaths, Network, Placeholders, Profile, Sandbox,
};
use agent_team_system::spawn::{Child, ProgramSpec};
use tokio::sync::OnceCell;

use self::changes::{Link, ProtectedPaths};
pub use self::home::User;
use self::limits::Commands;
pub(super) use self::limits::{CHECK_INTERVAL, Exceeded, Watch};
pub use self::settings::{Settings, SettingsError};
use crate::guard::Guard;

/// The directories that are searched for bubblewrap before the user's `PATH`: only an administrator can write there.
pub(crate) const SYSTEM_PATH: &str = "/usr/bin:/usr/local/bin:/bin:/run/current-system/sw/bin";

/// Directories for temporary files. Commands get separate directories instead.
const SCRATCH: [&str; 2] = ["/tmp", "/var/tmp"];

/// The largest sizes, in bytes, of git's exclude file and of a `.git` file that links to another directory.
const EXCLUDE_MAX: u64 = 256 << 10;
const GIT_LINK_MAX: u64 = 16 << 10;

/// Git's exclude file, relative to git's directory.
const EXCLUDE: &str = "info/exclude";

/// The sandbox configuration of one member.
#[derive(Debug)]
pub struct Confinement {
    project: PathBuf,
    /// The directory for temporary files of commands.
    temporary: PathBuf,
    /// agent-team's own directories.
    ours: [PathBuf; 3],
    user: User,
    guard: Guard,
    /// Trusted scripts, and files that git's configuration names.
    kept: Vec<KeptPath>,
    network: Network,
    /// The control group of the member's commands, if one is delegated.
    group: Option<Arc<Group>>,
    /// The probed sandbox. Probed on first use; the result never changes.
    found: OnceCell<Result<Sandbox, String>>,
    /// The resource usage of the member's commands.
    commands: Commands,
    /// Whether the user was notified that a report did not cover all files of the project.
    partial_report: Arc<AtomicBool>,
}

impl Confinement {
    /// `project` and `temporary` are canonical, and exist.
    pub fn new(
        project: &Path,
        temporary: PathBuf,
        user: User,
        ours: &Directories,
        network: Network,
    ) -> Confinement {
        let confinement = Confinement {
            project: project.to_owned(),
            temporary,
            ours: [ours.state.clone(), ours.run.clone(), ours.config.clone()],
            user,
            guard: Guard::default(),
            kept: Vec::new(),
            network,
            group: None,
            found: OnceCell::new(),
            commands: Commands::default(),
            partial_report: Arc::default(),
        };
        // A worker that was killed could not remove its placeholders.
        confinement.absent().remove_placeholders();
        confinement
    }

    /// Hides the files that `guard` covers from commands, if the sandbox can hide files of the project.
    #[must_use]
    pub fn guarded_by(mut self, guard: Guard) -> Confinement {
        self.guard = guard;
        self
    }

    /// Protects these paths of the project as well, if the sandbox can protect files.
    #[must_use]
    pub fn keeping(mut self, kept: Vec<KeptPath>) -> Confinement {
        self.kept = kept;
        self
    }

    /// Runs commands in this control group.
    #[must_use]
    pub fn grouped(mut self, group: Group) -> Confinement {
        self.group = Some(Arc::new(group));
        self
    }

    /// Uses this sandbox instead of probing the machine.
    #[must_use]
    pub fn using(mut self, sandbox: Sandbox) -> Confinement {
        self.found = OnceCell::new_with(Some(Ok(sandbox)));
        self
    }

    /// Describes the sandbox in a line for the user.
    pub async fn description(self: &Arc<Self>) -> String {
        let network = match self.has_network() {
            true => "with the network",
            false => "without network",
        };
        match self.sandbox().await {
            Ok(ActiveSandbox { sandbox, .. }) if sandbox.protects() => {
                format!("commands run in a sandbox ({sandbox}), {network}")
            }
            Ok(ActiveSandbox { sandbox, .. }) => format!(
                "commands run in a sandbox ({sandbox}), {network}; the sandbox cannot protect files of the project"
            ),
            Err(why) => {
                format!("the sandbox is not available, so every command needs permission: {why}")
            }
        }
    }

    pub(super) fn has_network(&self) -> bool {
        self.network == Network::Host
    }

    /// Returns the sandbox with the current profile. The first call probes the machine and takes about 10 ms.
    ///
    /// # Errors
    /// If no sandbox works here; the reason is for the user.
    pub async fn sandbox(self: &Arc<Self>) -> Result<ActiveSandbox, &str> {
        let find = async || {
            let found = sandbox::find(&self.program_path()).await;
            let sandbox = found.map_err(|none| none.to_string())?;
            let (confinement, tried) = (Arc::clone(self), sandbox.clone());
            let supports = move || tried.supports(&confinement.profile());
            let supported = tokio::task::spawn_blocking(supports).await;
            let supported = supported.map_err(io::Error::other).flatten();
            supported.map_err(|error| error.to_string())?;
            Ok(sandbox)
        };
        match self.found.get_or_init(find).await {
            Ok(sandbox) => Ok(ActiveSandbox {
                sandbox: sandbox.clone(),
                confinement: Arc::clone(self),
                reads_only: false,
            }),
            Err(why) => Err(why),
        }
    }

    /// The search path for the sandbox's own program, without the directories that commands can write to.
    fn program_path(&self) -> OsString {
        let of_user = self.user.variable("PATH").unwrap_or_default();
        let writable = self.writable();
        let safe = |directory: &PathBuf| {
            let resolved = directory.canonicalize();
            directory.is_absolute()
                && resolved.is_ok_and(|it| !writable.iter().any(|path| it.starts_with(path)))
        };
        let all = std::env::split_paths(SYSTEM_PATH).chain(std::env::split_paths(of_user));
        std::env::join_paths(all.filter(safe)).unwrap_or_default()
    }

    fn writable(&self) -> Vec<PathBuf> {
        let mut writable = vec![self.project.clone(), self.temporary.clone()];
        let within = |path: &PathBuf| writable.iter().any(|writable| path.starts_with(writable));
        let git = git_directory(&self.project).filter(|git| !within(git));
        writable.extend(git);
        writable
    }

    /// All protected paths, each with the content of its placeholder. Includes existing paths, which need no
    /// placeholder.
    fn protected(&self) -> Vec<Absent> {
        let below = |directory: &Path, list: &[Protected]| -> Vec<Absent> {
            let absent = |protected: &Protected| Absent {
                path: directory.join(protected.path),
                content: match protected.kind {
                    Kind::Directory => None,
                    Kind::File(content) => Some(content),
                },
            };
            let mut all: Vec<Absent> = list.iter().map(absent).collect();
            for absent in &mut all {
                // The parent can be missing: `git init` creates `info` only if git's templates contain it. The
                // placeholder then has the path of the parent, so that a command cannot create the parent.
                let parent = absent.path.parent().filter(|parent| *parent != directory);
                // Never follow a link here: an agent can create it, and the worker would write to its target.
                if let Some(parent) = parent.filter(|parent| !is_directory(parent)) {
                    absent.path = parent.to_owned();
                    absent.content = None;
                }
            }
            all
        };
        let mut all = below(&self.project, &PROJECT);
        for home in self
            .user
            .homes
            .iter()
            .filter(|home| home.starts_with(&self.project))
        {
            all.extend(below(home, &HOME));
        }
        match git_directory(&self.project) {
            Some(git) => all.extend(below(&git, &GIT)),
            // Protect `.git` before it exists: a command that creates a repository chooses its hooks and configuration.
            None => all.extend(absent_git(&self.project)),
        }
        all.extend(self.kept.iter().map(|kept| self.absent_of(kept)));
        all
    }

    /// The placeholder for this path, or for its topmost missing parent directory.
    fn absent_of(&self, kept: &KeptPath) -> Absent {
        let mut parents: Vec<&Path> = kept.path.ancestors().skip(1).collect();
        parents.retain(|path| path.starts_with(&self.project) && *path != self.project);
        let is_missing = |path: &&&Path| fs::symlink_metadata(path).is_err();
        match parents.iter().rev().find(is_missing) {
            Some(missing) => Absent {
                path: missing.to_path_buf(),
                content: None,
            },
            None => Absent {
                path: kept.path.clone(),
                content: (!kept.is_directory).then_some(""),
            },
        }
    }

    /// The protected paths. The sandbox creates a placeholder for each that does not exist.
    fn absent(&self) -> AbsentPaths {
        AbsentPaths {
            directory: self.project.clone(),
            all: self.protected(),
        }
    }

    /// Git's exclude file with a line for each placeholder: otherwise `git add --all` fails on the placeholders.
    fn excluded(&self) -> Option<(PathBuf, Vec<u8>)> {
        let git = git_directory(&self.project)?;
        let mut text = read_beneath(&git, EXCLUDE, EXCLUDE_MAX)?;
        for absent in self.protected() {
            let name = absent.path.strip_prefix(&self.project).ok();
            let name = name.filter(|name| !name.starts_with(GIT_DIRECTORY));
            let is_absent = fs::symlink_metadata(&absent.path).is_err();
            if let Some(name) = name.filter(|_| is_absent || absent.is_placeholder()) {
                text.extend(format!("\n/{}", name.display()).bytes());
            }
        }
        text.push(b'\n');
        Some((git.join(EXCLUDE), text))
    }

    /// The protected paths that are symbolic links. A link cannot be a mount point, so the sandbox cannot protect it.
    fn links(&self) -> Vec<Link> {
        let git = self.project.join(GIT_DIRECTORY);
        let mut paths = vec![git];
        paths.extend(self.protected().into_iter().map(|absent| absent.path));
        paths.retain(|path| path.is_symlink());
        paths.into_iter().map(Link::new).collect()
    }

    /// Returns the paths that can be mounted. A path that contains a link is replaced by its target if the target is in
    /// the project. Targets outside the project are not mounted: an agent can create the link, and the mount would
    /// expose a hidden file.
    fn mountable(&self, paths: Vec<PathBuf>) -> Vec<PathBuf> {
        let resolve = |path: PathBuf| {
            let target = path.canonicalize().ok()?;
            let in_project = target.starts_with(&self.project) && target != self.project;
            (target == path || in_project).then_some(target)
        };
        paths.into_iter().filter_map(resolve).collect()
    }

    /// Builds the profile from the current files.
    fn profile(&self) -> Profile {
        let writable = self.writable();
        let view = self.user.view(&writable);
        let mut protected: Vec<PathBuf> = Vec::new();
        protected.extend(self.protected().into_iter().map(|absent| absent.path));
        let link = self.project.join(GIT_DIRECTORY);
        if fs::symlink_metadata(&link).is_ok_and(|found| found.is_file()) {
            protected.push(link);
        }
        if let Some(git) = git_directory(&self.project) {
            let trees = fs::read_dir(git.join("worktrees")).into_iter().flatten();
            let trees = trees.flatten().map(|entry| entry.path());
            protected.extend(trees.flat_map(|tree| GIT_WORKTREE.map(|name| tree.join(name))));
        }
        let named = ["TMPDIR", "XDG_RUNTIME_DIR"].map(|name| self.user.variable(name));
        let named = named.into_iter().flatten().map(PathBuf::from);
        let named = named.filter(|path| !writable.iter().any(|root| path.starts_with(root)));
        let scratch: Vec<PathBuf> = existing(SCRATCH.map(PathBuf::from));
        let mut hidden = view.hidden;
        let ours = existing(self.ours.iter().cloned().chain(named));
        let ours = ours.into_iter().filter(|path| !home::is_system(path));
        hidden.extend(ours.filter(|path| !scratch.contains(path)));
        hidden.sort();
        hidden.dedup();
        Profile {
            writable,
            protected: self.mountable(protected),
            hidden,
            readable: view.readable,
            links: view.links,
            scratch,
            replaced: self.excluded().into_iter().collect(),
            absent: Some(self.absent()),
            network: self.network,
            limits: self.user.settings.limits(),
            group: self
                .group
                .as_ref()
                .map(|group| group.directory().to_owned()),
        }
    }
}

/// Starts programs in the sandbox.
#[derive(Debug, Clone)]
pub struct ActiveSandbox {
    sandbox: Sandbox,
    confinement: Arc<Confinement>,
    /// Whether the project is mounted read-only and the network is disabled.
    reads_only: bool,
}

impl ActiveSandbox {
    /// The guarantees of this sandbox. A sandbox cannot protect a protected path that is a link.
    pub(super) fn containment(&self) -> Containment {
        match self.sandbox.protects() && self.confinement.links().is_empty() {
            true => Containment::Protects,
            false => Containment::ReadOnly,
        }
    }

    /// Restricts the sandbox for programs that only read the project.
    pub(super) fn read_only(self) -> Self {
        Self {
            reads_only: true,
            ..self
        }
    }

    /// Starts a program in its own session, without input, with stdout and stderr in `output`. Blocks on directory
    /// reads and possibly on a lock: do not call it on a runtime thread.
    pub(super) fn spawn(
        &self,
        spec: &ProgramSpec,
        output: OwnedFd,
    ) -> io::Result<(Child, SandboxRun)> {
        let mut spec = spec.clone();
        spec.env.retain(|(name, _)| name != "TMPDIR");
        let temporary = self.confinement.temporary.clone();
        spec.env.push(("TMPDIR".into(), temporary.into()));
        let confinement = &self.confinement;
        let directories = match self.reads_only {
            true => Vec::new(),
            false => vec![confinement.project.clone(), confinement.temporary.clone()],
        };
        let settings = confinement.user.settings.clone();
        let watch = Watch::new(settings, &confinement.commands, directories)?;
        let watch = watch.grouped(confinement.group.clone());
        let mut profile = self.confinement.profile();
        let guard = &self.confinement.guard;
        profile.readable.retain(|path| !guard.covers(path));
        if self.sandbox.protects() {
            let denied = denied::within(&self.confinement.project, guard)?;
            profile.hidden.extend(denied);
        }
        if self.reads_only {
            let writable = std::mem::take(&mut profile.writable).into_iter();
            let (writable, read) = writable.partition(|path| *path == self.confinement.temporary);
            profile.writable = writable;
            profile.readable.extend::<Vec<_>>(read);
            profile.protected.clear();
            profile.absent = None;
            profile.network = Network::None;
        }
        let stdio = [File::open("/dev/null")?.into(), output.try_clone()?, output];
        // Record the time and the links before the start, so that no change by the program is missed.
        let start = file_time();
        let links = self.confinement.links();
        let (child, placeholders) = self.sandbox.spawn(&profile, &spec, stdio)?;
        let mut kept = ProtectedPaths {
            links,
            others: self.confinement.kept.clone(),
            ..ProtectedPaths::default()
        };
        if self.sandbox.protects() {
            kept.protected = profile.protected;
            kept.absent = profile.absent.map(|paths| paths.all).unwrap_or_default();
        }
        let run = SandboxRun {
            kept,
            project: self.confinement.project.clone(),
            start,
            watch,
            partial_report: Arc::clone(&self.confinement.partial_report),
            placeholders,
        };
        Ok((child, run))
    }

    /// Returns whether the child is the wrapper of the sandbox, which starts the actual program.
    pub(super) fn is_wrapped(&self) -> bool {
        self.sandbox.has_wrapper()
    }
}

/// One run of a program in the sandbox. Drop this value only after all processes of the program have exited.
#[derive(Debug)]
pub(crate) struct SandboxRun {
    project: PathBuf,
    start: SystemTime,
    kept: ProtectedPaths,
    watch: Watch,
    partial_report: Arc<AtomicBool>,
    placeholders: Option<Placeholders>,
}

impl SandboxRun {
    pub(super) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Removes the placeholders. Returns a report, for the model and the user, of changed protected files that the
    /// sandbox could not protect. Blocks on directory reads and possibly waits for other commands' locks: do not call
    /// it on a runtime thread.
    pub(super) fn finish(mut self) -> Option<String> {
        // Look for changes before the placeholders are removed: a protected path needs no report only while its
        // placeholder is still in place.
        let changes = changes::find_since(&self.project, self.start, &self.kept);
        // In a large project every report is partial, so notify the user only once.
        let is_first = changes.is_partial && !self.partial_report.swap(true, Ordering::Relaxed);
        if let Some(placeholders) = self.placeholders.take() {
            placeholders.remove();
        }
        changes.report(is_first)
    }
}

/// Returns the paths that exist, with links resolved.
fn existing(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let resolved = paths
        .into_iter()
        .filter_map(|path| path.canonicalize().ok());
    resolved.collect()
}

/// Returns whether the path is a directory, and not a link to a directory.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Reads a regular file of at most `max` bytes. An agent can create links and pipes in the project, and the worker
/// reads outside the sandbox: therefore this function follows no link and does not block on a pipe.
fn read_beneath(directory: &Path, name: &str, max: u64) -> Option<Vec<u8>> {
    let file = Beneath::new(directory)
        .ok()?
        .regular(Path::new(name))
        .ok()?;
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= max).then_some(content)
}

/// Git's directory of a project without a repository: a path that does not exist, or that is a placeholder.
fn absent_git(project: &Path) -> Option<Absent> {
    let absent = Absent {
        path: project.join(GIT_DIRECTORY),
        content: None,
    };
    let exists = fs::symlink_metadata(&absent.path).is_ok();
    (!exists || absent.is_placeholder()).then_some(absent)
}

/// Git's directory of this project. For a linked worktree, the file `.git` names a directory elsewhere. That directory
/// must link back to the file: otherwise an agent could write a `.git` file that makes a directory outside the project
/// writable. A symbolic link is never followed.
fn git_directory(project: &Path) -> Option<PathBuf> {
    let link = project.join(GIT_DIRECTORY);
    if is_directory(&link) {
        return absent_git(project).is_none().then_some(link);
    }
    let read = |directory: &Path, name: &str| {
        String::from_utf8(read_beneath(directory, name, GIT_LINK_MAX)?).ok()
    };
    let text = read(project, GIT_DIRECTORY)?;
    let linked = project
        .join(text.strip_prefix("gitdir:")?.trim())
        .canonicalize()
        .ok()?;
    let back = read(&linked, "gitdir")?;
    let worktrees = linked
        .parent()
        .filter(|parent| parent.ends_with("worktrees"))?;
    (Path::new(back.trim()) == link).then_some(worktrees.parent()?.to_owned())
}
