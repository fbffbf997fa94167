//! What an agent's commands may do of what its user may. Called by `bash` for commands that the user did not allow to
//! run outside the sandbox.
//!
//! They have no network unless their role has it; they write in the project and in a temporary directory of their own;
//! of the home directory they read a list ([`home`]), and the rest of the machine but our own directories. Files that
//! other programs run or obey later in the user's name are protected ([`agent_team_policy::protected`]): bubblewrap
//! keeps them from changes; what it cannot keep, and all of them under Landlock, is reported afterwards ([`changes`]).

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
use agent_team_protocol::spec::KeptPath;
use agent_team_system::cgroup::Group;
use agent_team_system::clock::file_time;
use agent_team_system::directories::Directories;
use agent_team_system::sandbox::{
    self, Absent, AbsentPaths, Network, Placeholders, Profile, Sandbox,
};
use agent_team_system::spawn::{Child, ProgramSpec};
use tokio::sync::OnceCell;

use self::changes::{Kept, Link};
pub use self::home::User;
use self::limits::Commands;
pub(super) use self::limits::{Exceeded, LOOK, Watch};
pub use self::settings::{Settings, SettingsError};
use super::beneath::Beneath;
use super::guard::Guard;

/// Where bubblewrap is looked for before the user's `PATH`: only an administrator writes there.
const SYSTEM_PATH: &str = "/usr/bin:/usr/local/bin:/bin:/run/current-system/sw/bin";

/// Directories for what is temporary. Commands have their own.
const SCRATCH: [&str; 2] = ["/tmp", "/var/tmp"];

/// Bytes of git's list of untracked files, and of a file that leads to another directory of git.
const EXCLUDE_MAX: u64 = 256 << 10;
const GIT_LINK_MAX: u64 = 16 << 10;

/// Git's list of files that it does not track, below git's directory.
const EXCLUDE: &str = "info/exclude";

/// How one member's commands are held.
#[derive(Debug)]
pub struct Confinement {
    project: PathBuf,
    /// Where commands put what is temporary.
    temporary: PathBuf,
    /// Our own directories.
    ours: [PathBuf; 3],
    user: User,
    guard: Guard,
    /// Trusted scripts, and what git's configuration leads to.
    kept: Vec<KeptPath>,
    network: Network,
    /// What its commands run in, where one is delegated.
    group: Option<Arc<Group>>,
    /// Tried when it is needed first; it stays what it is.
    found: OnceCell<Result<Sandbox, String>>,
    /// What its commands use.
    commands: Commands,
    /// The user was notified that a report did not cover all files of the project.
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
        // A worker that was killed could not.
        confinement.absent().remove_placeholders();
        confinement
    }

    /// Commands cannot read what `guard` holds back, where the sandbox can hide files of the project.
    #[must_use]
    pub fn guarded_by(mut self, guard: Guard) -> Confinement {
        self.guard = guard;
        self
    }

    /// Commands cannot change these paths of the project either, where the sandbox can protect files.
    #[must_use]
    pub fn keeping(mut self, kept: Vec<KeptPath>) -> Confinement {
        self.kept = kept;
        self
    }

    /// Commands run in this control group.
    #[must_use]
    pub fn grouped(mut self, group: Group) -> Confinement {
        self.group = Some(Arc::new(group));
        self
    }

    /// Held by this sandbox, whatever else the machine has.
    #[must_use]
    pub fn held_by(mut self, sandbox: Sandbox) -> Confinement {
        self.found = OnceCell::new_with(Some(Ok(sandbox)));
        self
    }

    /// How commands are held here, in a line for the user.
    pub(crate) async fn told(self: &Arc<Self>) -> String {
        let network = match self.has_network() {
            true => "with the network",
            false => "without network",
        };
        match self.held().await {
            Ok(Held { sandbox, .. }) if sandbox.protects() => {
                format!("commands run in a sandbox ({sandbox}), {network}")
            }
            Ok(Held { sandbox, .. }) => format!(
                "commands run in a sandbox ({sandbox}), {network}; it protects no file of the project"
            ),
            Err(why) => format!("there is no sandbox here, so every command is asked about: {why}"),
        }
    }

    pub(super) fn has_network(&self) -> bool {
        self.network == Network::Host
    }

    /// The sandbox of this machine with this profile. The first call takes some 10 ms.
    ///
    /// # Errors
    /// Why there is none, for the user.
    pub(crate) async fn held(self: &Arc<Self>) -> Result<Held, &str> {
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
            Ok(sandbox) => Ok(Held {
                sandbox: sandbox.clone(),
                confinement: Arc::clone(self),
                reads_only: false,
            }),
            Err(why) => Err(why),
        }
    }

    /// Where the sandbox's own program is looked for: never where a command can write.
    fn program_path(&self) -> OsString {
        let of_user = self.user.variable("PATH").unwrap_or_default();
        let writable = self.writable();
        let safe = |directory: &PathBuf| {
            let resolved = directory.canonicalize();
            directory.is_absolute()
                && resolved.is_ok_and(|it| !writable.iter().any(|place| it.starts_with(place)))
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

    /// The protected paths.
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
                // Git's templates make `info`; without it the directory itself is kept from being made.
                let parent = absent.path.parent().filter(|parent| *parent != directory);
                // A link in its place is never followed: an agent can make it, and the worker would write there.
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
            // A repository that a command makes has hooks and a configuration of the command's.
            None => all.extend(absent_git(&self.project)),
        }
        all.extend(self.kept.iter().map(|kept| self.absent_of(kept)));
        all
    }

    /// The path, or the first directory on the way to it that is missing.
    fn absent_of(&self, kept: &KeptPath) -> Absent {
        let mut on_the_way: Vec<&Path> = kept.path.ancestors().skip(1).collect();
        on_the_way.retain(|path| path.starts_with(&self.project) && *path != self.project);
        let is_missing = |path: &&&Path| fs::symlink_metadata(path).is_err();
        match on_the_way.iter().rev().find(is_missing) {
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

    /// The paths of which something must stand in the place when they do not exist.
    fn absent(&self) -> AbsentPaths {
        AbsentPaths {
            directory: self.project.clone(),
            all: self.protected(),
        }
    }

    /// Git's list of files that it does not track, with the placeholders: else `git add --all` fails on them.
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

    /// Protected paths that lead through a link, which cannot be a mount point: the sandbox does not protect the link.
    fn links(&self) -> Vec<Link> {
        let git = self.project.join(GIT_DIRECTORY);
        let mut paths = vec![git];
        paths.extend(self.protected().into_iter().map(|absent| absent.path));
        paths.retain(|path| path.is_symlink());
        paths.into_iter().map(Link::new).collect()
    }

    /// Of these paths, what can be mounted: where a path leads through a link, its target, when that is in the project. A
    /// target elsewhere is not mounted: an agent can make the link, and the mount would show what is hidden there.
    fn mountable(&self, paths: Vec<PathBuf>) -> Vec<PathBuf> {
        let resolve = |path: PathBuf| {
            let target = path.canonicalize().ok()?;
            let in_project = target.starts_with(&self.project) && target != self.project;
            (target == path || in_project).then_some(target)
        };
        paths.into_iter().filter_map(resolve).collect()
    }

    /// As the files are now.
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
        let named = named.filter(|path| !writable.iter().any(|place| path.starts_with(place)));
        let scratch: Vec<PathBuf> = there(SCRATCH.map(PathBuf::from));
        let mut hidden = view.hidden;
        let ours = there(self.ours.iter().cloned().chain(named));
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

/// Programs are started through this.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    sandbox: Sandbox,
    confinement: Arc<Confinement>,
    /// The project cannot be written to, and there is no network.
    reads_only: bool,
}

impl Held {
    /// The same for programs that only read the project.
    pub(super) fn read_only(self) -> Self {
        Self {
            reads_only: true,
            ..self
        }
    }

    /// Starts a program in a session of its own, without input, its stdout and stderr in `output`. Reads directories and
    /// may wait for a lock: not for the thread of the runtime.
    pub(super) fn spawn(&self, spec: &ProgramSpec, output: OwnedFd) -> io::Result<(Child, Run)> {
        let mut spec = spec.clone();
        spec.env.retain(|(name, _)| name != "TMPDIR");
        let temporary = self.confinement.temporary.clone();
        spec.env.push(("TMPDIR".into(), temporary.into()));
        let confinement = &self.confinement;
        let places = match self.reads_only {
            true => Vec::new(),
            false => vec![confinement.project.clone(), confinement.temporary.clone()],
        };
        let settings = confinement.user.settings.clone();
        let watch = Watch::new(settings, &confinement.commands, places)?;
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
        let start = file_time();
        let links = self.confinement.links();
        let (child, placeholders) = self.sandbox.spawn(&profile, &spec, stdio)?;
        let mut kept = Kept {
            links,
            others: self.confinement.kept.clone(),
            ..Kept::default()
        };
        if self.sandbox.protects() {
            kept.protected = profile.protected;
            kept.absent = profile.absent.map(|paths| paths.all).unwrap_or_default();
        }
        let run = Run {
            kept,
            project: self.confinement.project.clone(),
            start,
            watch,
            partial_report: Arc::clone(&self.confinement.partial_report),
            placeholders,
        };
        Ok((child, run))
    }

    /// What is started is the sandbox's own program, which starts the one that was meant.
    pub(super) fn is_wrapped(&self) -> bool {
        self.sandbox.is_program()
    }
}

/// One program that runs in the sandbox, or did. Dropped when nothing of it runs any longer.
#[derive(Debug)]
pub(crate) struct Run {
    project: PathBuf,
    start: SystemTime,
    kept: Kept,
    watch: Watch,
    partial_report: Arc<AtomicBool>,
    placeholders: Option<Placeholders>,
}

impl Run {
    pub(super) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Removes what the sandbox needed. Returns the protected files that it could not keep from changes, for the model
    /// and the user. Reads directories and may wait for a lock: not for the thread of the runtime.
    pub(super) fn finish(mut self) -> Option<String> {
        let changes = changes::since(&self.project, self.start, &self.kept);
        // In a large project every report is partial: one notice is enough.
        let is_first = changes.is_partial && !self.partial_report.swap(true, Ordering::Relaxed);
        if let Some(placeholders) = self.placeholders.take() {
            placeholders.remove();
        }
        changes.report(is_first)
    }
}

/// Of these places, what is there now, and where it leads.
fn there(places: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let resolved = places
        .into_iter()
        .filter_map(|place| place.canonicalize().ok());
    resolved.collect()
}

/// Whether this is a directory, and not a link to one.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// The content of a regular file of at most `max` bytes. Follows no link and does not wait for a pipe: an agent can put
/// both into the project, and the worker reads outside the sandbox.
fn read_beneath(directory: &Path, name: &str, max: u64) -> Option<Vec<u8>> {
    let file = Beneath::new(directory)
        .ok()?
        .regular(Path::new(name))
        .ok()?;
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= max).then_some(content)
}

/// Git's directory of a project that has none: it does not exist, or a placeholder stands there.
fn absent_git(project: &Path) -> Option<Absent> {
    let absent = Absent {
        path: project.join(GIT_DIRECTORY),
        content: None,
    };
    let exists = fs::symlink_metadata(&absent.path).is_ok();
    (!exists || absent.is_placeholder()).then_some(absent)
}

/// Git's directory of this project. A linked working tree has it elsewhere: that is accepted only when it links back, so
/// that what an agent writes in its project opens nothing outside of it. A symbolic link is never followed.
fn git_directory(project: &Path) -> Option<PathBuf> {
    let link = project.join(GIT_DIRECTORY);
    if is_directory(&link) {
        return absent_git(project).is_none().then_some(link);
    }
    let read = |directory: &Path, name: &str| {
        String::from_utf8(read_beneath(directory, name, GIT_LINK_MAX)?).ok()
    };
    let text = read(project, GIT_DIRECTORY)?;
    let own = project
        .join(text.strip_prefix("gitdir:")?.trim())
        .canonicalize()
        .ok()?;
    let back = read(&own, "gitdir")?;
    let worktrees = own
        .parent()
        .filter(|parent| parent.ends_with("worktrees"))?;
    (Path::new(back.trim()) == link).then_some(worktrees.parent()?.to_owned())
}
