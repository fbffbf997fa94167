//! The test of a subreaper, in a separate test program: being a subreaper affects the whole process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::time::Duration;

use agent_team_system::process::{ExitWatch, ProcessId, Signal};
use agent_team_system::spawn::{
    Child, Detached, ProgramSpec, become_subreaper, reap_any, reap_orphans, spawn_session,
};

const LIMIT: Duration = Duration::from_secs(20);

fn start(script: &str) -> (Child, BufReader<io::PipeReader>) {
    let (output, input) = io::pipe().unwrap();
    let log = File::from(OwnedFd::from(input));
    (
        spawn_session(&shell(script), Some(log)).unwrap(),
        BufReader::new(output),
    )
}

fn shell(script: &str) -> ProgramSpec {
    ProgramSpec {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: "/".into(),
    }
}

fn process(output: &mut impl BufRead) -> ProcessId {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    ProcessId::of(line.trim().parse().unwrap())
        .unwrap()
        .unwrap()
}

fn parent(process: ProcessId) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap();
    stat.rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// One test, because separate tests in one process would reap each other's orphans.
#[tokio::test]
async fn a_subreaper_reaps_only_its_orphans() {
    become_subreaper().unwrap();

    // An orphan is adopted and reaped; the status of a direct child is left for its owner.
    let (mut child, mut output) = start("setsid -f sh -c 'echo $$; exec sleep 600'; exit 3");
    let orphan = process(&mut output);
    let mut child_end = ExitWatch::open(child.process).unwrap();
    if let Some(watch) = &mut child_end {
        assert!(watch.exited_within(LIMIT).await.unwrap());
    }
    assert_eq!(parent(orphan), std::process::id());
    let mut orphan_end = ExitWatch::open(orphan).unwrap().unwrap();
    orphan.signal(Signal::SIGKILL).unwrap();
    assert!(orphan_end.exited_within(LIMIT).await.unwrap());
    assert_eq!(reap_any().unwrap(), [orphan.pid]);
    assert_eq!(reap_any().unwrap(), Vec::<u32>::new());
    assert_eq!(child.wait().await.unwrap().code(), Some(3));

    // Repeat this with `reap_orphans` in the background.
    let (mut child, mut output) = start("setsid -f sh -c 'echo $$; exec sleep 600'; exit 4");
    let orphan = process(&mut output);
    let reaping = tokio::spawn(reap_orphans());
    let mut orphan_end = ExitWatch::open(orphan).unwrap().unwrap();
    orphan.signal(Signal::SIGKILL).unwrap();
    assert!(orphan_end.exited_within(LIMIT).await.unwrap());
    let reaped = async {
        while std::fs::exists(format!("/proc/{}", orphan.pid)).unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, reaped)
        .await
        .expect("the orphan is reaped");
    assert_eq!(child.wait().await.unwrap().code(), Some(4));
    reaping.abort();

    // A daemon is not adopted.
    let report = "echo $$ > /dev/fd/$AGENT_TEAM_READY_FD; exec sleep 600";
    let line = Detached::new(shell(report)).start(LIMIT).await.unwrap();
    let daemon = ProcessId::of(line.parse().unwrap()).unwrap().unwrap();
    let adopted = parent(daemon) == std::process::id();
    daemon.signal(Signal::SIGKILL).unwrap();
    assert!(!adopted);
    let (mut child, mut output) = start("setsid -f sh -c 'echo $$; exec sleep 600'");
    let orphan = process(&mut output);
    child.wait().await.unwrap();
    let still_a_subreaper = parent(orphan) == std::process::id();
    orphan.signal(Signal::SIGKILL).unwrap();
    assert!(still_a_subreaper);
}
