//! Tests of the identity and the exit of processes.

use agent_team_system::process::{ExitWatch, ProcessId, Signal, resident_bytes};

use crate::rig::{KillOnDrop, LIMIT, Script};

#[tokio::test]
async fn a_reused_pid_is_a_different_process() {
    let script = Script::start("exec sleep 600", &[]);
    let now = script.child.process;
    let before = ProcessId {
        start_time: now.start_time - 1,
        ..now
    };
    assert!(!before.is_alive().unwrap());
    assert!(ExitWatch::open(before).unwrap().is_none());
    assert!(!before.signal(Signal::SIGKILL).unwrap());
    assert!(now.is_alive().unwrap());
}

#[tokio::test]
async fn a_zombie_is_not_alive() {
    let mut script = Script::start("exit 0", &[]);
    let process = script.child.process;
    // The process may exit before or after `open`. After this block it has exited in both cases, and is not reaped.
    if let Some(mut watch) = ExitWatch::open(process).unwrap() {
        assert!(watch.exited_within(LIMIT).await.unwrap());
    }
    assert!(!process.is_alive().unwrap());
    assert_eq!(ProcessId::of(process.pid).unwrap(), None);
    assert!(script.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_exit_of_a_grandchild_is_reported() {
    let mut script = Script::start("sleep 600 & echo $!; wait", &[]);
    let grandchild = script.process().await;
    let _killed = KillOnDrop(grandchild);
    let mut watch = ExitWatch::open(grandchild).unwrap().unwrap();
    let early = tokio::time::timeout(std::time::Duration::from_millis(20), watch.exited()).await;
    assert!(early.is_err(), "the process is still running");
    assert!(watch.signal(Signal::SIGKILL).unwrap());
    assert!(watch.exited_within(LIMIT).await.unwrap());
    assert!(
        watch.exited_within(LIMIT).await.unwrap(),
        "the exit is not reported again"
    );
}

#[tokio::test]
async fn ancestors_are_found_by_parents_not_by_environment() {
    let mut script = Script::start("sleep 600 & echo $!; wait", &[]);
    let child = script.process().await;
    let _killed = KillOnDrop(child);
    let parent = script.child.process;
    let own = ProcessId::current().unwrap();
    assert!(parent.is_ancestor_of(child.pid).unwrap());
    assert!(parent.is_ancestor_of(parent.pid).unwrap());
    assert!(own.is_ancestor_of(child.pid).unwrap());
    assert!(!child.is_ancestor_of(parent.pid).unwrap());
    assert!(!parent.is_ancestor_of(own.pid).unwrap());
    let reused = ProcessId {
        start_time: parent.start_time - 1,
        ..parent
    };
    assert!(!reused.is_ancestor_of(child.pid).unwrap());
}

#[tokio::test]
async fn wait_can_be_repeated() {
    let mut script = Script::start("exit 7", &[]);
    assert_eq!(script.child.wait().await.unwrap().code(), Some(7));
    assert_eq!(script.child.wait().await.unwrap().code(), Some(7));
    assert!(!script.child.signal(Signal::SIGKILL).unwrap());
}

#[test]
fn memory_is_known_only_for_running_processes() {
    assert!(resident_bytes(std::process::id()).unwrap().unwrap() > 100 * 1024);
    assert_eq!(resident_bytes(u32::MAX).unwrap(), None);
    assert_eq!(ProcessId::of(u32::MAX).unwrap(), None);
}
