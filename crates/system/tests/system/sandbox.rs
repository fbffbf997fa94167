//! Tests what a sandboxed program can and cannot do, with real programs, in the best sandbox of this machine and in the
//! best one without bubblewrap. Prints the sandboxes that are tested, and the reasons if a search finds none.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Barrier;
use std::thread;

use agent_team_system::cgroup::{self, Group, GroupLimits};
use agent_team_system::limits::Limits;
use agent_team_system::sandbox::{self, Network, Profile, Sandbox};
use agent_team_system::spawn::ProgramSpec;
use nix::sched::{CloneFlags, unshare};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pty::OpenptFlags;
use tempfile::TempDir;

/// The environment variable that contains the attempt that the test binary makes in a sandbox.
const ATTEMPT: &str = "AGENT_TEAM_TEST_ATTEMPT";

/// Exit code of the test binary when the attempt was not permitted.
const REFUSED: i32 = 77;

/// The best sandbox of this machine, and the best one without bubblewrap.
#[expect(
    clippy::print_stdout,
    reason = "the test report names the sandboxes that were tried and skipped"
)]
async fn sandboxes() -> Vec<Sandbox> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<Sandbox> = Vec::new();
    for path in [path, OsString::new()] {
        match sandbox::find(&path).await {
            Ok(sandbox) if !found.contains(&sandbox) => found.push(sandbox),
            Ok(_) => {}
            Err(none) => println!("skipped: {none}"),
        }
    }
    let names: Vec<String> = found.iter().map(Sandbox::to_string).collect();
    println!("tried: {}", names.join(", "));
    found
}

/// A project directory and a home directory beside it.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        for directory in ["work/.git/hooks", "home/.ssh", "home/code"] {
            fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        fs::write(dir.path().join("home/.ssh/key"), "secret").unwrap();
        fs::write(dir.path().join("home/code/main.c"), "int main;").unwrap();
        Fixture { dir }
    }

    fn path(&self, relative: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join(relative)
    }

    fn profile(&self, network: Network) -> Profile {
        Profile {
            writable: vec![self.path("work")],
            protected: vec![self.path("work/.git/hooks")],
            absent: None,
            hidden: vec![self.path("home/.ssh"), self.path("home/.gnupg")],
            readable: Vec::new(),
            links: Vec::new(),
            scratch: Vec::new(),
            replaced: Vec::new(),
            network,
            limits: Limits::default(),
            group: None,
        }
    }

    /// Runs a shell script with the parent of both directories as `$1`; returns its status and output.
    async fn sh(&self, sandbox: &Sandbox, script: &str) -> (ExitStatus, String) {
        let args = ["-c", script, "sh"].map(OsString::from);
        let args = args.into_iter().chain([self.path("").into()]).collect();
        self.run(sandbox, Network::None, "/bin/sh".into(), args, None)
            .await
    }

    async fn sh_with(
        &self,
        sandbox: &Sandbox,
        profile: &Profile,
        script: &str,
    ) -> (ExitStatus, String) {
        let args = ["-c", script, "sh"].map(OsString::from);
        let args = args.into_iter().chain([self.path("").into()]).collect();
        self.run_with(sandbox, profile, "/bin/sh".into(), args, None)
            .await
    }

    /// Runs the test binary in the sandbox to make one attempt.
    async fn attempt(
        &self,
        sandbox: &Sandbox,
        network: Network,
        attempt: String,
    ) -> (ExitStatus, String) {
        let args = [
            "--exact",
            "sandbox::run_attempt_for_another_test",
            "--nocapture",
        ];
        let args = args.map(OsString::from).into();
        self.run(
            sandbox,
            network,
            std::env::current_exe().unwrap(),
            args,
            Some(attempt),
        )
        .await
    }

    async fn run(
        &self,
        sandbox: &Sandbox,
        network: Network,
        program: PathBuf,
        args: Vec<OsString>,
        attempt: Option<String>,
    ) -> (ExitStatus, String) {
        self.run_with(sandbox, &self.profile(network), program, args, attempt)
            .await
    }

    async fn run_with(
        &self,
        sandbox: &Sandbox,
        profile: &Profile,
        program: PathBuf,
        args: Vec<OsString>,
        attempt: Option<String>,
    ) -> (ExitStatus, String) {
        let spec = ProgramSpec {
            program,
            args,
            env: std::env::var_os("PATH")
                .map(|path| ("PATH".into(), path))
                .into_iter()
                .chain(attempt.map(|attempt| (ATTEMPT.into(), attempt.into())))
                .collect(),
            cwd: self.path("work"),
        };
        let mut printed = tempfile::tempfile().unwrap();
        let output = || printed.try_clone().unwrap().into();
        let stdio = [File::open("/dev/null").unwrap().into(), output(), output()];
        let (mut child, _) = sandbox.spawn(profile, &spec, stdio).unwrap();
        let status = child.wait().await.unwrap();
        let mut text = String::new();
        printed.rewind().unwrap();
        printed.read_to_string(&mut text).unwrap();
        (status, text)
    }
}

/// The attempts that other tests run in a sandbox. Does nothing as a test of its own.
#[test]
#[expect(
    clippy::exit,
    reason = "the exit code distinguishes a refusal from other failures"
)]
fn run_attempt_for_another_test() {
    let Ok(attempt) = std::env::var(ATTEMPT) else {
        return;
    };
    let (action, argument) = attempt.split_once(' ').unwrap();
    let result = match action {
        "connect" => UnixStream::connect(argument).map(drop),
        "tcp" => TcpStream::connect(argument).map(drop),
        "pair" => UnixStream::pair().map(drop),
        "datagrams" => UnixDatagram::pair().map(drop),
        "raw-pair" => socketpair(
            AddressFamily::UNIX,
            SocketType::RAW,
            SocketFlags::empty(),
            None,
        )
        .map(drop)
        .map_err(Into::into),
        "namespace" => {
            unshare(CloneFlags::from_bits(argument.parse().unwrap()).unwrap()).map_err(Into::into)
        }
        "open-to-write" => File::options().write(true).open(argument).map(drop),
        "thread" => thread::Builder::new()
            .spawn(|| ())
            .map(|thread| thread.join().unwrap()),
        "signal" => {
            let pid = rustix::process::Pid::from_raw(argument.parse().unwrap()).unwrap();
            rustix::process::test_kill_process(pid).map_err(Into::into)
        }
        _ => unreachable!("unknown attempt {action}"),
    };
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            std::process::exit(REFUSED)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Regression: concurrent trials used the same directory name, and all but one failed.
#[test]
fn concurrent_trials_find_the_same_sandbox() {
    const MEMBERS: usize = 16;
    let together = Barrier::new(MEMBERS);
    let find = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        together.wait();
        let found = runtime.block_on(sandbox::find(&path));
        found.map_err(|none| none.to_string())
    };
    let found: Vec<_> = thread::scope(|scope| {
        let members: Vec<_> = (0..MEMBERS).map(|_| scope.spawn(find)).collect();
        let found = members.into_iter().map(|member| member.join().unwrap());
        found.collect()
    });
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
}

#[tokio::test]
async fn only_writable_paths_can_be_written() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let script = r#"
            echo 1 > "$1/work/new" && mkdir "$1/work/below" && mv "$1/work/new" "$1/work/below/moved" || exit 1
            echo 2 > "$1/home/code/new"; echo 3 >> "$1/home/code/main.c"; rm "$1/home/code/main.c"
            mv "$1/work/below/moved" "$1/home/code/moved"; mkdir "$1/made"
            exit 0"#;
        let (status, printed) = fixture.sh(&sandbox, script).await;
        assert!(status.success(), "{sandbox}: {printed}");
        let read = |path: &str| fs::read_to_string(fixture.path(path)).ok();
        assert_eq!(
            read("work/below/moved").as_deref(),
            Some("1\n"),
            "{sandbox}"
        );
        assert_eq!(
            read("home/code/main.c").as_deref(),
            Some("int main;"),
            "{sandbox}"
        );
        assert_eq!(
            fs::read_dir(fixture.path("home/code")).unwrap().count(),
            1,
            "{sandbox}"
        );
        assert!(!fixture.path("made").exists(), "{sandbox}");
    }
}

#[tokio::test]
async fn links_and_renames_do_not_reveal_hidden_files() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let script = r#"cat "$1/home/.ssh/key"; ln "$1/home/.ssh/key" "$1/work/key"; cat "$1/work/key"
            ln -s "$1/home/.ssh" "$1/work/link"; cat "$1/work/link/key"; mv "$1/home/.ssh" "$1/work/ssh"
            cat "$1/work/ssh/key"; cat "$1/home/code/main.c""#;
        let (status, printed) = fixture.sh(&sandbox, script).await;
        assert!(status.success(), "{sandbox}: {printed}");
        assert!(!printed.contains("secret"), "{sandbox}: {printed}");
        assert!(printed.contains("int main;"), "{sandbox}: {printed}");
    }
}

#[tokio::test]
async fn protected_paths_in_a_writable_directory_are_read_only() {
    for sandbox in sandboxes().await.into_iter().filter(Sandbox::protects) {
        let fixture = Fixture::new();
        let script = r#"echo evil > "$1/work/.git/hooks/post-commit"
            mv "$1/work/.git/hooks" "$1/work/.git/old"; mv "$1/work/.git" "$1/work/git"; exit 0"#;
        let (_, printed) = fixture.sh(&sandbox, script).await;
        let hooks = fs::read_dir(fixture.path("work/.git/hooks")).expect(&printed);
        assert_eq!(hooks.count(), 0, "{sandbox}: {printed}");
    }
}

#[tokio::test]
async fn sandbox_blocks_unix_sockets() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let socket = fixture.path("work/socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for network in [Network::None, Network::Host] {
            let attempt = format!("connect {}", socket.display());
            let (status, printed) = fixture.attempt(&sandbox, network, attempt).await;
            assert_eq!(status.code(), Some(REFUSED), "{sandbox}: {printed}");
        }
        let (status, printed) = fixture
            .attempt(&sandbox, Network::None, "pair -".to_owned())
            .await;
        assert!(status.success(), "{sandbox}, a connected pair: {printed}");
    }
}

/// A datagram socket of a socket pair could send to any path.
#[tokio::test]
async fn datagram_sockets_are_refused() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        for attempt in ["datagrams -", "raw-pair -"] {
            let attempt = attempt.to_owned();
            let (status, printed) = fixture.attempt(&sandbox, Network::Host, attempt).await;
            assert_eq!(status.code(), Some(REFUSED), "{sandbox}: {printed}");
        }
    }
}

#[tokio::test]
async fn new_namespaces_are_refused_and_threads_start() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        for flag in [
            CloneFlags::CLONE_NEWUSER,
            CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS,
            CloneFlags::CLONE_NEWNET,
        ] {
            let attempt = format!("namespace {}", flag.bits());
            let (status, printed) = fixture.attempt(&sandbox, Network::None, attempt).await;
            assert_eq!(status.code(), Some(REFUSED), "{sandbox}: {printed}");
        }
        let (status, printed) = fixture
            .attempt(&sandbox, Network::None, "thread -".to_owned())
            .await;
        assert!(status.success(), "{sandbox}: {printed}");
    }
}

/// Without a sandbox, root may write to these files. `core_pattern` names a program that the kernel runs outside the
/// sandbox.
#[tokio::test]
async fn kernel_settings_cannot_be_changed() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        for file in ["core_pattern", "modprobe", "hotplug"] {
            let file = Path::new("/proc/sys/kernel").join(file);
            if !file.exists() {
                continue;
            }
            let attempt = format!("open-to-write {}", file.display());
            let (status, printed) = fixture.attempt(&sandbox, Network::None, attempt).await;
            assert!(!status.success(), "{sandbox}: {printed}");
        }
    }
}

#[tokio::test]
async fn network_is_available_only_if_the_profile_allows_it() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let attempt = format!("tcp {}", listener.local_addr().unwrap());
        let (status, printed) = fixture
            .attempt(&sandbox, Network::None, attempt.clone())
            .await;
        assert!(!status.success(), "{sandbox}: {printed}");
        let (status, printed) = fixture.attempt(&sandbox, Network::Host, attempt).await;
        assert!(status.success(), "{sandbox}: {printed}");
    }
}

#[tokio::test]
async fn outside_processes_cannot_be_signalled_or_inspected() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let pid = std::process::id();
        let attempt = format!("signal {pid}");
        let (status, printed) = fixture.attempt(&sandbox, Network::None, attempt).await;
        assert!(!status.success(), "{sandbox}: {printed}");
        let script = format!("cat /proc/{pid}/environ");
        let (_, printed) = fixture.sh(&sandbox, &script).await;
        assert!(!printed.contains("CARGO"), "{sandbox}: {printed}");
    }
}

#[tokio::test]
async fn a_program_has_no_terminal() {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let terminal = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let terminal = terminal.to_str().unwrap();
    for sandbox in sandboxes().await {
        let script = format!("(: > {terminal}) && echo opened; (: < {terminal}) && echo opened");
        let (_, printed) = Fixture::new().sh(&sandbox, &script).await;
        assert!(!printed.contains("opened"), "{sandbox}: {printed}");
        let (_, printed) = Fixture::new()
            .sh(&sandbox, "tty < /dev/tty && echo typed")
            .await;
        assert!(!printed.contains("typed"), "{sandbox}: {printed}");
    }
}

#[tokio::test]
async fn a_hidden_path_in_a_writable_one_is_enforced_or_refused() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let mut profile = fixture.profile(Network::None);
        profile.writable = vec![fixture.path("home")];
        let printed = fixture.path("home/code/printed");
        let script = format!("cat ../.ssh/key > {}", printed.display());
        let spec = ProgramSpec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: fixture.path("home/code"),
        };
        let null = || File::open("/dev/null").unwrap().into();
        match sandbox.spawn(&profile, &spec, [null(), null(), null()]) {
            Ok((mut child, _)) => drop(child.wait().await.unwrap()),
            Err(error) => assert!(error.to_string().contains("cannot hide"), "{error}"),
        }
        let printed = fs::read_to_string(printed).unwrap_or_default();
        assert!(!printed.contains("secret"), "{sandbox}");
    }
}

#[tokio::test]
async fn readable_paths_in_a_hidden_directory_are_read_only() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        for directory in ["home/tools/bin", "home/dotfiles"] {
            fs::create_dir_all(fixture.path(directory)).unwrap();
        }
        fs::write(fixture.path("home/tools/bin/x"), "a tool\n").unwrap();
        fs::write(fixture.path("home/tools/token"), "secret\n").unwrap();
        fs::write(fixture.path("home/other"), "secret\n").unwrap();
        fs::write(fixture.path("home/dotfiles/config"), "a setting\n").unwrap();
        let (link, target) = (
            fixture.path("home/.config"),
            fixture.path("home/dotfiles/config"),
        );
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let profile = Profile {
            hidden: vec![fixture.path("home"), fixture.path("home/tools/token")],
            readable: vec![fixture.path("home/tools"), target.clone()],
            links: vec![(link, target)],
            ..fixture.profile(Network::None)
        };
        let script = r#"cd "$1/home"; cat tools/bin/x .config other tools/token .ssh/key
            echo 1 > made; echo 1 > tools/made; echo 1 > tools/bin/x; exit 0"#;
        let (status, printed) = fixture.sh_with(&sandbox, &profile, script).await;
        assert!(status.success(), "{sandbox}: {printed}");
        assert!(printed.contains("a tool\n"), "{sandbox}: {printed}");
        assert!(printed.contains("a setting\n"), "{sandbox}: {printed}");
        assert!(!printed.contains("secret"), "{sandbox}: {printed}");
        for made in ["home/made", "home/tools/made"] {
            assert!(!fixture.path(made).exists(), "{sandbox}: {made}");
        }
        let tool = fs::read_to_string(fixture.path("home/tools/bin/x")).unwrap();
        assert_eq!(tool, "a tool\n", "{sandbox}");
    }
}

#[tokio::test]
async fn a_missing_writable_path_is_an_error() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let mut profile = fixture.profile(Network::None);
        profile.writable.push(fixture.path("missing"));
        let spec = ProgramSpec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), "exit 0".into()],
            env: Vec::new(),
            cwd: fixture.path("work"),
        };
        let null = || File::open("/dev/null").unwrap().into();
        let ran = match sandbox.spawn(&profile, &spec, [null(), null(), null()]) {
            Ok((mut child, _)) => child.wait().await.unwrap().success(),
            Err(_) => false,
        };
        assert!(!ran, "{sandbox}");
    }
}

#[tokio::test]
async fn without_bubblewrap_find_uses_or_reports_landlock() {
    let missing = Path::new("/nowhere");
    match sandbox::find(missing.as_os_str()).await {
        Ok(sandbox) => assert!(!sandbox.to_string().contains("bubblewrap"), "{sandbox}"),
        Err(none) => assert!(none.to_string().contains("Landlock"), "{none}"),
    }
}

#[tokio::test]
async fn limits_apply_to_a_program_and_its_children() {
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let profile = Profile {
            limits: Limits {
                processes: Some(1000),
                open_files: Some(33),
                file_bytes: Some(1 << 20),
                scratch_bytes: Some(1 << 20),
            },
            ..fixture.profile(Network::None)
        };
        let profile = Profile {
            scratch: vec![fixture.path("home/code")],
            ..profile
        };
        let script =
            r#"head -c 3000000 /dev/zero > "$1/home/code/big"; wc -c < "$1/home/code/big""#;
        let (_, printed) = fixture.sh_with(&sandbox, &profile, script).await;
        // Landlock has no scratch directories, so nothing can be written there.
        let size = printed.lines().find_map(|line| line.parse::<u64>().ok());
        assert!(size.unwrap_or(0) <= 1 << 20, "{sandbox}: {printed}");
        assert_eq!(size.is_some(), sandbox.protects(), "{sandbox}: {printed}");
        let script = r#"sh -c 'ulimit -n'; sh -c 'head -c 3000000 /dev/zero > "$1/work/big"' sh "$1"
            wc -c < "$1/work/big"; exit 0"#;
        let (_, printed) = fixture.sh_with(&sandbox, &profile, script).await;
        assert!(printed.starts_with("33\n"), "{sandbox}: {printed}");
        assert!(printed.ends_with("1048576\n"), "{sandbox}: {printed}");
    }
}

/// Creates a directory for the control groups of a test, in a delegated directory or in the group of this process.
/// `None` if this process may not create it.
fn unit() -> Option<PathBuf> {
    let own_group = || {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find(|line| line.contains(" cgroup2 "))?;
        Some(Path::new(mount.split(' ').nth(1)?).join(own))
    };
    let directory = cgroup::delegated().or_else(own_group)?;
    let unit = directory.join(format!("agent-team-test-{}", std::process::id()));
    fs::create_dir(&unit).ok().map(|()| unit)
}

#[tokio::test]
async fn a_control_group_limits_all_its_programs() {
    let Some(unit) = unit() else {
        return eprintln!("skipped: no delegated cgroup");
    };
    for sandbox in sandboxes().await {
        let fixture = Fixture::new();
        let group = unit.join("group");
        fs::create_dir(&group).unwrap();
        let profile = Profile {
            group: Some(group.clone()),
            ..fixture.profile(Network::None)
        };
        let script = "cat /proc/self/cgroup";
        let (_, printed) = fixture.sh_with(&sandbox, &profile, script).await;
        let name = format!("/agent-team-test-{}/group\n", std::process::id());
        assert!(printed.contains(&name), "{sandbox}: {printed}");
        // The last process leaves the group a moment after its exit becomes visible.
        while fs::remove_dir(&group).is_err() {
            tokio::task::yield_now().await;
        }
        let limits = GroupLimits {
            memory_bytes: 64 << 20,
            processes: 12,
            cpu_weight: 50,
        };
        // A killed worker leaves its group behind.
        let left = unit.join("agent-team-bounded");
        fs::create_dir(&left).unwrap();
        cgroup::remove(&unit, "bounded");
        assert!(!left.exists());
        let group = match Group::make(&unit, "bounded", limits) {
            Ok(group) => group,
            Err(error) => {
                eprintln!("skipped: no delegated cgroup with memory and pids: {error}");
                continue;
            }
        };
        let profile = Profile {
            group: Some(group.directory().to_owned()),
            ..profile
        };
        let script = "for i in $(seq 30); do sleep 0.2 & done; wait; exit 0";
        fixture.sh_with(&sandbox, &profile, script).await;
        assert!(group.events().processes > 0, "{sandbox}");
        let script = "head -c 200000000 /dev/zero | tail > /dev/null; exit 0";
        fixture.sh_with(&sandbox, &profile, script).await;
        assert!(group.events().memory > 0, "{sandbox}");
    }
    while fs::remove_dir(&unit).is_err() {
        tokio::task::yield_now().await;
    }
}
