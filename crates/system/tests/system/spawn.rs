//! Tests of daemons and sessions: readiness, environments, descriptors, orphans.

use std::fs;
use std::os::fd::AsRawFd;
use std::time::Duration;

use agent_team_system::process::ProcessId;
use agent_team_system::spawn::{Detached, ProgramSpec, StartError};
use agent_team_system::tree::{LAUNCH_MARKER, NO_LAUNCH};

use crate::rig::{KillOnDrop, LIMIT, Script, shell};

#[tokio::test]
async fn a_child_inherits_nothing_beyond_its_spec() {
    // A descriptor without close-on-exec, as if inherited from the parent.
    let leaky = nix::unistd::dup(std::io::stderr()).unwrap();
    let number = leaky.as_raw_fd();
    #[expect(unsafe_code, reason = "the child must not inherit an ignored signal")]
    // SAFETY: no handler is installed.
    unsafe {
        nix::sys::signal::signal(
            nix::sys::signal::Signal::SIGUSR2,
            nix::sys::signal::SigHandler::SigIgn,
        )
        .unwrap();
    }
    let script = format!(
        "if [ -e /dev/fd/{number} ]; then echo leaked; else echo clean; fi; \
         grep -E 'SigBlk|SigIgn' /proc/self/status; env"
    );
    let mut child = Script::start(&script, &[("ONLY", "this")]);
    assert_eq!(child.line().await, "clean");
    assert_eq!(child.line().await, "SigBlk:\t0000000000000000");
    let ignored = child.line().await;
    let ignored = u64::from_str_radix(ignored.strip_prefix("SigIgn:\t").unwrap(), 16).unwrap();
    // The C library reserves the two signals after the 31 named ones; their dispositions cannot be set.
    assert_eq!(ignored & 0x7fff_ffff, 0);
    let mut variables = [child.line().await, child.line().await, child.line().await];
    variables.sort();
    assert_eq!(variables[0], "ONLY=this");
    assert!(variables[1].starts_with("PATH=") && variables[2].starts_with("PWD="));
    assert!(child.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn spawning_a_missing_program_fails_without_a_child() {
    let spec = ProgramSpec {
        program: "/nowhere/nothing".into(),
        ..shell("", &[])
    };
    let error = agent_team_system::spawn::spawn_session(&spec, None).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let error = Detached::new(spec).start(LIMIT).await.unwrap_err();
    assert!(matches!(error, StartError::Spawn { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/nothing"));
}

#[tokio::test]
async fn a_daemon_is_detached_and_belongs_to_no_launch() {
    // The daemon stops itself instead of calling exec: during an exec the environment of a process reads as empty.
    let script = "echo ready $$ > /dev/fd/$AGENT_TEAM_READY_FD; kill -STOP $$";
    let daemon = Detached::new(shell(script, &[(LAUNCH_MARKER, "another-launch")]));
    let line = daemon.start(LIMIT).await.unwrap();
    let pid: u32 = line.strip_prefix("ready ").unwrap().parse().unwrap();
    let process = ProcessId::of(pid).unwrap().unwrap();
    let _killed = KillOnDrop(process);

    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let (parent, session): (u32, u32) = (fields[1].parse().unwrap(), fields[3].parse().unwrap());
    assert_ne!(parent, std::process::id());
    assert_ne!(session, std::process::id());
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(),
        Some("/")
    );
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let marker = format!("{LAUNCH_MARKER}={NO_LAUNCH}");
    let markers: Vec<&str> = environment
        .split('\0')
        .filter(|entry| entry.starts_with(LAUNCH_MARKER))
        .collect();
    assert_eq!(markers, [marker.as_str()]);
}

#[tokio::test]
async fn a_daemons_error_report_is_returned() {
    let script = "printf 'error: the disk is full\\nfree some\\n' > /dev/fd/$AGENT_TEAM_READY_FD";
    match Detached::new(shell(script, &[])).start(LIMIT).await {
        Err(StartError::Refused(text)) => assert_eq!(text, "the disk is full\nfree some"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_daemon_that_dies_silently_is_a_start_error() {
    let started = Detached::new(shell("kill -9 $$", &[])).start(LIMIT).await;
    assert!(matches!(started, Err(StartError::Exited)), "{started:?}");
}

#[tokio::test]
async fn waiting_for_a_silent_daemon_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("end");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let daemon = Detached::new(shell(&format!("read line < {}", fifo.display()), &[]));
    let started = daemon.start(Duration::from_millis(50)).await;
    assert!(
        matches!(started, Err(StartError::TimedOut(_))),
        "{started:?}"
    );
    // The daemon keeps running after the timeout: this write returns only when the daemon opens the FIFO to read.
    tokio::task::spawn_blocking(move || fs::write(fifo, "\n"))
        .await
        .unwrap()
        .unwrap();
}
