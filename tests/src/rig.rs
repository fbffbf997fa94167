//! The isolated world of one test: directories, an environment and a project, with the real binaries.
//!
//! The world is a temporary directory. The environment or the arguments of every process that a test starts contain the
//! path of this directory, so that remaining processes are found and killed at the end. After a failure the directory
//! is kept, and its logs are printed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_client::CallError;
use agent_team_file::Reading;
use agent_team_protocol::method::{
    MemberShow, Method, Nothing, OneMember, OneTask, TaskShow, TeamShow,
};
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, MemberView, TaskState, TaskView};
use agent_team_protocol::{ErrorCode, MemberName, TeamId};
use agent_team_system::directories::Directories;
use agent_team_system::planted::Plant;
use agent_team_system::private_file;
use agent_team_system::process::ProcessId;
use agent_team_system::spawn::ProgramSpec;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::processes::{self, Found, living};
use crate::screen::Screen;
use crate::shim::{self, Shim};
use crate::stub::{self, Stubs};
use crate::tmux::Tmux;
use crate::user::{Events, User};
use crate::verb::{Output, Running, run};
use crate::{LIMIT, POLL_INTERVAL};
use crate::{binaries, logs, until};

/// Default size of a terminal: columns and rows.
const SIZE: (u16, u16) = (120, 40);

/// The environment variable whose value replaces the placement `headless` in a run of the test suite.
pub const PLACEMENT: &str = "AGENT_TEAM_TEST_PLACEMENT";

/// How long `down` may take at the end of a test before all processes are killed.
const DOWN_LIMIT: Duration = Duration::from_secs(10);

/// The isolated world of one test, as the header of this file describes it.
#[derive(Debug)]
pub struct Rig {
    /// `None` only during drop.
    root: Option<TempDir>,
    binaries: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    /// Whether the user's trust in a team file is stored before `up` or `run` reads the file.
    trusts: bool,
}

impl Rig {
    /// A world with an empty project.
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("at-")
            .tempdir()
            .expect("a temporary directory");
        // Use the canonical path, because agent-team uses the canonical path of a project.
        let path = root.path().canonicalize().expect("the directory exists");
        assert_eq!(
            path,
            root.path(),
            "the temporary directory must be a path without symbolic links"
        );
        for directory in ["project", "home", "tmp"] {
            fs::create_dir(path.join(directory)).expect("the directory can be created");
        }
        let mut environment: BTreeMap<OsString, OsString> = BTreeMap::new();
        let variables = [
            ("AGENT_TEAM_HOME", path.join("at").into_os_string()),
            ("HOME", path.join("home").into()),
            ("TMPDIR", path.join("tmp").into()),
            ("TMUX_TMPDIR", path.join("tmp").into()),
            ("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ("LANG", "C.UTF-8".into()),
            ("SHELL", "/bin/sh".into()),
            ("TERM", "xterm-256color".into()),
            // Terminals of tests do not answer the query for their background colour.
            ("AGENT_TEAM_THEME", "dark".into()),
            ("RUST_BACKTRACE", "1".into()),
        ];
        environment.extend(variables.map(|(name, value)| (name.into(), value)));
        fs::create_dir(path.join("at")).expect("the directory can be created");
        Self {
            root: Some(root),
            binaries: binaries::directory(),
            environment,
            trusts: true,
        }
    }

    /// From now on, the rig trusts no team file itself: the test must trust each file explicitly.
    pub fn trust_nothing(&mut self) {
        self.trusts = false;
    }

    /// Stores the user's trust in the team file that `up` or `run` with these arguments reads in this directory.
    fn trust_file(&self, directory: &Path, arguments: &[&str]) {
        let starts = |argument: &&str| ["up", "run"].contains(argument);
        if !self.trusts || !arguments.iter().any(starts) {
            return;
        }
        let mut words = arguments.iter().skip_while(|word| **word != "--file");
        let named = words.nth(1).map(|file| directory.join(file));
        let Some(file) = named.or_else(|| agent_team_file::find(directory)) else {
            return;
        };
        let directories = self.directories();
        let reading = Reading {
            here: directory,
            settings: Some(&directories.config),
            variables: None,
            overrides: None,
        };
        // The verb itself reports errors in the file.
        let Ok(loaded) = agent_team_file::load(&file, reading) else {
            return;
        };
        if let Some(required_trust) = loaded.required_trust {
            let team = TeamId::new(&loaded.spec.name, &loaded.spec.project);
            let file = directories.trusted(team.as_str());
            let digest = required_trust.digest.as_bytes();
            let is_trusted = private_file::read(&file).is_ok_and(|known| known == digest);
            if !is_trusted {
                // Ignore errors: on a full disk the verb itself must fail.
                let _prepared = directories.prepare();
                let _written = private_file::replace(&file, digest);
            }
        }
    }

    /// A world whose project has this team file.
    pub fn with_team(file: &str) -> Self {
        let rig = Self::new();
        rig.set_team(file);
        rig
    }

    /// Sets a variable for all processes that are started from now on.
    pub fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.environment.insert(name.into(), value.as_ref().into());
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.remove(OsStr::new(name));
    }

    /// The directory of this world.
    pub fn root(&self) -> &Path {
        self.root
            .as_ref()
            .expect("the directory exists until the rig is dropped")
            .path()
    }

    /// The directory `AGENT_TEAM_HOME`.
    pub fn home(&self) -> PathBuf {
        self.root().join("at")
    }

    pub fn project(&self) -> PathBuf {
        self.root().join("project")
    }

    pub fn directories(&self) -> Directories {
        let home = self.home();
        Directories {
            state: home.join("state"),
            run: home.join("run"),
            config: home.join("config"),
        }
    }

    /// Replaces the real worker by a stub whose frames the test writes, for launches from now on. `test` is the name of
    /// a test in the same program; that test only calls [`stub::relay`].
    pub fn stub_workers(&mut self, test: &str) -> Stubs {
        self.link_binaries(["agent-team", "agent-teamd"]);
        let socket = self.root().join("member.sock");
        stub::write_worker(&self.binary("agent-teammate"), &socket, test);
        Stubs::listen(&socket)
    }

    /// Replaces the supervisor by a shell script. In the script `$SUPERVISOR` is the path of the real supervisor, and
    /// `$PLANTED` the path of `agent-teamd-planted`.
    pub fn script_supervisor(&mut self, script: &str) {
        let (real, planted) = (
            self.binary("agent-teamd"),
            self.binary("agent-teamd-planted"),
        );
        self.link_binaries(["agent-team", "agent-teammate"]);
        let (real, planted) = (real.display(), planted.display());
        let script = format!("#!/bin/sh\nSUPERVISOR='{real}' PLANTED='{planted}'\n{script}");
        stub::write_script(&self.binary("agent-teamd"), &script);
    }

    /// Preloads the shim into the binaries that start from now on; `None` if the system is not Linux or has no C
    /// compiler.
    pub fn preload_shim(&mut self) -> Option<Shim> {
        let shim = Shim::build(self.root())?;
        self.wrap_binaries(Some(&shim), None);
        Some(shim)
    }

    /// Copies the binaries into the rig, where another user can execute them: the checkout may be below a directory
    /// that only its owner can enter.
    pub fn copy_binaries(&mut self) {
        let real = self.link_binaries([]);
        for name in binaries::NAMES {
            fs::copy(real.join(name), self.binary(name)).expect("the file can be written");
        }
    }

    /// Replaces the binaries by one file with their names, as `cargo xtask install` installs them.
    pub fn install_one_file(&mut self) {
        let real = self.link_binaries([]);
        let [first, others @ ..] = binaries::NAMES.map(|name| self.binary(name));
        fs::copy(real.join(binaries::ONE_FILE), &first).expect("the file can be copied");
        for other in others {
            link(&first, &other);
        }
    }

    /// Replaces the file of [`Rig::install_one_file`] by a new one, as `cargo xtask install` does.
    pub fn update_one_file(&self) {
        let [first, others @ ..] = binaries::NAMES.map(|name| self.binary(name));
        let new = self.binary("new");
        fs::copy(&first, &new).expect("the file can be copied");
        fs::rename(&new, &first).expect("the file can be replaced");
        for other in others {
            link(&first, &new);
            fs::rename(&new, &other).expect("the file can be replaced");
        }
    }

    /// Plants a fault in the supervisor; preloads the shim as [`Rig::preload_shim`] does.
    pub fn plant_fault(&mut self, fault: Plant) -> Option<Shim> {
        let shim = Shim::build(self.root());
        self.wrap_binaries(shim.as_ref(), Some(fault));
        shim
    }

    /// Replaces each binary by a script of the same name that starts the binary. A process looks for the other binaries
    /// in the directory of its own binary, so the scripts and the real binaries, named `NAME-real`, are in one
    /// directory.
    fn wrap_binaries(&mut self, shim: Option<&Shim>, fault: Option<Plant>) {
        let real = self.link_binaries([]);
        let preload = shim.map(|shim| {
            let (settings, library) = (shim.settings().display(), shim.library().display());
            format!(
                "export {}='{settings}' LD_PRELOAD='{library}'\n",
                shim::VARIABLE
            )
        });
        let preload = preload.unwrap_or_default();
        for name in binaries::NAMES {
            // Members get the environment of `agent-team`. With this variable, the shim removes itself from that
            // environment.
            let alone = match name {
                "agent-team" => format!("export {}=1\n", shim::ALONE),
                _ => String::new(),
            };
            let (program, fault) = match fault {
                Some(fault) if name == "agent-teamd" => ("agent-teamd-planted", fault.name()),
                _ => (name, ""),
            };
            let unwrapped = self.binary(&format!("{program}-real"));
            link(&real.join(program), &unwrapped);
            let start = format!("exec '{}' {fault} \"$@\"\n", unwrapped.display());
            stub::write_script(
                &self.binary(name),
                &format!("#!/bin/sh\n{preload}{alone}{start}"),
            );
        }
    }

    /// Changes the directory of the binaries to a new one in the rig, with links to the named binaries only. Returns
    /// the former directory.
    fn link_binaries<const N: usize>(&mut self, names: [&str; N]) -> PathBuf {
        let directory = self.root().join("bin");
        let real = std::mem::replace(&mut self.binaries, directory);
        fs::create_dir(&self.binaries).expect("the directory can be created");
        for name in names {
            link(&real.join(name), &self.binary(name));
        }
        real
    }

    /// The path of a binary.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.project().join(name);
        let parent = path.parent().expect("the file is in the project");
        fs::create_dir_all(parent).expect("the project can be written");
        fs::write(path, text).expect("the project can be written");
    }

    /// The content of a file of the project; `None` if it does not exist.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.project().join(name)).ok()
    }

    /// Waits until a file of the project ends with a newline; returns its content without this newline.
    pub async fn until_written(&self, name: &str) -> String {
        until(name, async || {
            let text = self.read(name)?;
            Some(text.strip_suffix('\n')?.to_owned())
        })
        .await
    }

    /// Writes the team file. A run of the test suite can replace its headless placement: see [`PLACEMENT`].
    pub fn set_team(&self, file: &str) {
        let replaced = std::env::var(PLACEMENT).map(|placement| {
            let placement = format!("placement = {placement:?}");
            file.replace("placement = \"headless\"", &placement)
        });
        let file = replaced.as_deref().unwrap_or(file);
        self.write(".agent-team/team.toml", file);
    }

    /// Writes the user's settings for all teams.
    pub fn set_settings(&self, text: &str) {
        let config = self.directories().config;
        fs::create_dir_all(&config).expect("the directory can be created");
        fs::write(config.join("config.toml"), text).expect("the file can be written");
    }

    /// A second project in the same world.
    pub fn other_project(&self, name: &str, file: &str) -> PathBuf {
        let project = self.root().join(name);
        fs::create_dir_all(project.join(".agent-team")).expect("the directory can be created");
        fs::write(project.join(".agent-team/team.toml"), file).expect("the file can be written");
        project
    }

    /// Removes the runtime directory, even if processes of this world create files in it meanwhile.
    ///
    /// # Panics
    /// When the removal fails for another reason.
    pub fn remove_runtime_directory(&self) {
        let run = self.directories().run;
        while let Err(error) = fs::remove_dir_all(&run) {
            if error.kind() == ErrorKind::NotFound {
                return;
            }
            let is_used = error.kind() == ErrorKind::DirectoryNotEmpty;
            assert!(is_used, "{} cannot be removed: {error}", run.display());
        }
    }

    /// The command of a verb in the project.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.trust_file(&self.project(), arguments);
        let mut command = Command::new(self.binary("agent-team"));
        command
            .args(arguments)
            .current_dir(self.project())
            .env_clear()
            .envs(&self.environment);
        command
    }

    /// Runs a verb and waits for its exit.
    pub async fn run<const N: usize>(&self, arguments: [&str; N]) -> Output {
        run(self.command(&arguments), verb(&arguments), b"").await
    }

    /// [`Rig::run`] with this text on stdin.
    pub async fn run_with<const N: usize>(&self, arguments: [&str; N], input: &str) -> Output {
        run(self.command(&arguments), verb(&arguments), input.as_bytes()).await
    }

    /// [`Rig::run`] in another directory.
    pub async fn run_in<const N: usize>(&self, directory: &Path, arguments: [&str; N]) -> Output {
        let mut command = self.command(&arguments);
        self.trust_file(directory, &arguments);
        command.current_dir(directory);
        run(command, verb(&arguments), b"").await
    }

    /// Runs a shell line in the project.
    pub async fn shell(&self, line: &str) -> Output {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", line])
            .current_dir(self.project())
            .env_clear()
            .envs(&self.environment);
        run(command, line.to_owned(), b"").await
    }

    /// Runs a verb that must succeed.
    pub async fn ok<const N: usize>(&self, arguments: [&str; N]) -> Output {
        self.run(arguments).await.expect(0)
    }

    /// The JSON output of a verb that must succeed.
    pub async fn json<const N: usize>(&self, arguments: [&str; N]) -> Value {
        let mut command = self.command(&arguments);
        command.arg("--json");
        run(command, verb(&arguments), b"").await.expect(0).json()
    }

    /// The error object of a verb that must fail with this exit code.
    pub async fn refused<const N: usize>(&self, code: i32, arguments: [&str; N]) -> Value {
        let mut command = self.command(&arguments);
        command.arg("--json");
        run(command, verb(&arguments), b"")
            .await
            .expect(code)
            .error()
    }

    /// Starts a verb in the background.
    pub fn start<const N: usize>(&self, arguments: [&str; N]) -> Running {
        Running::start(self.command(&arguments), verb(&arguments))
    }

    /// Starts a verb on a terminal.
    pub fn on_terminal<const N: usize>(&self, arguments: [&str; N]) -> Screen {
        self.on_terminal_of(SIZE, arguments)
    }

    /// [`Rig::on_terminal`] with this size.
    pub fn on_terminal_of<const N: usize>(&self, size: (u16, u16), arguments: [&str; N]) -> Screen {
        self.start_on_terminal(&self.binary("agent-team"), &arguments, size)
    }

    /// Starts a program on a terminal, in the project.
    pub fn program_on_terminal(&self, program: &Path, arguments: &[&str]) -> Screen {
        self.start_on_terminal(program, arguments, SIZE)
    }

    fn start_on_terminal(&self, program: &Path, arguments: &[&str], size: (u16, u16)) -> Screen {
        self.trust_file(&self.project(), arguments);
        let environment = self.environment.clone();
        let spec = ProgramSpec {
            program: program.to_owned(),
            args: arguments.iter().map(OsString::from).collect(),
            env: environment.into_iter().collect(),
            cwd: self.project(),
        };
        Screen::start(&spec, size)
    }

    /// Connects to the supervisor as the user, for the project's team.
    pub async fn user(&self) -> User {
        User::connect(&self.directories().supervisor_lock(), self.project()).await
    }

    /// [`Rig::user`] with a client id that the test chooses, so that a call can be repeated with its key over another
    /// connection.
    pub async fn user_as(&self, id: &str) -> User {
        let lock = self.directories().supervisor_lock();
        User::connect_as(&lock, self.project(), id).await
    }

    /// The events of the project's team, starting with the first event.
    pub async fn events(&self) -> Events {
        until("events", async || self.user().await.events(0).await.ok()).await
    }

    pub async fn member(&self, name: &str) -> MemberView {
        let member: MemberName = name.parse().expect("a name");
        self.ask::<MemberShow>(OneMember { member }).await.member
    }

    pub async fn task(&self, id: &str) -> TaskView {
        let task = id.parse().expect("a task's id");
        self.ask::<TaskShow>(OneTask { task }).await
    }

    /// Makes a read-only call; repeats it if the supervisor dies meanwhile or has no such team yet.
    pub async fn ask<M: Method<Args: Clone>>(&self, args: M::Args) -> M::Answer {
        until(M::NAME, async || {
            let answer = self.try_ask::<M>(args.clone()).await?;
            Some(answer.unwrap_or_else(|error| panic!("{}: {error}", M::NAME)))
        })
        .await
    }

    /// Makes a read-only call once. `None`: the supervisor has died meanwhile, or has no such team yet.
    async fn try_ask<M: Method>(&self, args: M::Args) -> Option<Result<M::Answer, CallError>> {
        match self.user().await.call::<M>(args, None).await {
            Err(CallError::Disconnected) => None,
            // An `up` in the background has not created the team yet.
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownTeam => None,
            answer => Some(answer),
        }
    }

    /// Waits until a member satisfies a condition.
    pub async fn until_member(&self, name: &str, is: impl Fn(&MemberView) -> bool) -> MemberView {
        let known: MemberName = name.parse().expect("a name");
        until(&format!("the expected state of {name}"), async || {
            // A member that is being spawned may not exist yet.
            let members = self.ask::<TeamShow>(Nothing {}).await.members;
            let member = members.into_iter().find(|member| member.name == known)?;
            Some(member).filter(|member| is(member))
        })
        .await
    }

    pub async fn until_member_is(&self, name: &str, state: MemberState) -> MemberView {
        self.until_member(name, |member| member.state == state)
            .await
    }

    /// Waits until a member is in a pane of tmux. Also returns the id of the pane.
    pub async fn until_in_pane(&self, name: &str) -> (MemberView, String) {
        let is_shown =
            |member: &MemberView| member.placement == Placement::Tmux && member.pane.is_some();
        let member = self.until_member(name, is_shown).await;
        let pane = member.pane.clone().expect("a pane");
        (member, pane)
    }

    pub async fn until_task_is(&self, id: &str, state: TaskState) -> TaskView {
        let task = id.parse().expect("a task's id");
        until(&format!("{id} to be {state:?}"), async || {
            match self.try_ask::<TaskShow>(OneTask { task }).await? {
                Ok(task) => Some(task).filter(|task| task.state == state),
                // A task that the user has typed into a terminal may not be on the board yet.
                Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownTask => None,
                Err(error) => panic!("{id}: {error}"),
            }
        })
        .await
    }

    /// The process of a member's launch.
    pub async fn worker(&self, name: &str) -> ProcessId {
        let pid = self.member(name).await.pid;
        living(pid.expect("the member runs").into())
    }

    /// The process of the running supervisor. Makes no call to the supervisor.
    pub async fn supervisor(&self) -> ProcessId {
        let user = self.user().await;
        living(user.client.initialized().pid.into())
    }

    /// The team's own tmux server.
    pub fn tmux(&self) -> Tmux {
        Tmux::at(self.directories().tmux_socket(), self.root())
    }

    /// The user's tmux server.
    pub fn users_tmux(&self) -> Tmux {
        Tmux::at(self.root().join("users.sock"), self.root())
    }

    /// The running processes of this world.
    pub fn processes(&self) -> Vec<Found> {
        processes::of(self.root())
    }

    /// Waits until no process of this world runs.
    ///
    /// # Panics
    /// When a process runs after [`LIMIT`]. The message contains the processes.
    pub async fn until_all_have_ended(&self) {
        let ended = async {
            let mut ticks = tokio::time::interval(POLL_INTERVAL);
            while !self.processes().is_empty() {
                ticks.tick().await;
            }
        };
        let all_ended = tokio::time::timeout(LIMIT, ended).await.is_ok();
        assert!(all_ended, "still running: {:?}", self.processes());
    }
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

fn verb(arguments: &[&str]) -> String {
    format!("agent-team {}", arguments.join(" "))
}

/// Makes a hard link to a file, or copies the file if linking fails, for example across file systems.
fn link(file: &Path, to: &Path) {
    fs::hard_link(file, to)
        .or_else(|_| fs::copy(file, to).map(drop))
        .expect("the file can be copied");
}

impl Drop for Rig {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("kept the directory {}", self.root().display());
            logs::print(&self.directories().state);
        }
        let mut down = self.command(&["down", "--force"]);
        down.kill_on_drop(true).stdin(std::process::Stdio::null());
        down.stdout(std::process::Stdio::null());
        down.stderr(std::process::Stdio::null());
        let root = self.root().to_owned();
        let clean = async move {
            // Ignore the result: `down` is under test itself, and remaining processes are killed afterwards.
            let _courtesy = tokio::time::timeout(DOWN_LIMIT, down.status()).await;
            processes::end(&root).await;
        };
        // This function runs in the runtime of the test, which cannot block on a future. Another thread can block.
        let cleaner = std::thread::spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map(|runtime| runtime.block_on(clean))
        });
        let cleaned = cleaner.join();
        if failed {
            let _kept = self.root.take().map(TempDir::keep);
        } else {
            assert!(
                matches!(cleaned, Ok(Ok(()))),
                "cannot end the processes of a test"
            );
        }
    }
}
