//! Tests that all processes of a launch are killed, even if they try to escape.

use std::time::Duration;

use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::tree::{LAUNCH_MARKER, NO_LAUNCH, Tree, TreeSurvived};

use crate::rig::{KillOnDrop, LIMIT, Script};

/// A marker that is unique to this test and this run.
fn marker(test: &str) -> String {
    format!("test-{test}-{}", std::process::id())
}

async fn kill(script: &mut Script) {
    script.child.signal(Signal::SIGKILL).unwrap();
    script.child.wait().await.unwrap();
}

/// The tree of a launch with this root and marker and without sessions.
fn tree(root: Option<ProcessId>, marker: String) -> Tree {
    Tree {
        root,
        marker,
        ..Tree::default()
    }
}

#[tokio::test]
async fn a_daemon_of_a_killed_worker_is_killed() {
    let marker = marker("outlived");
    let script = "setsid -f sh -c 'echo $$; exec sleep 600'; exec sleep 600";
    let mut worker = Script::start(script, &[(LAUNCH_MARKER, &marker)]);
    let daemon = worker.process().await;
    let _killed = KillOnDrop(daemon);
    kill(&mut worker).await;

    let tree = tree(Some(worker.child.process), marker);
    assert_eq!(tree.survivors().unwrap(), [daemon]);
    assert_eq!(tree.end(LIMIT).await.unwrap(), [daemon]);
    assert!(!daemon.is_alive().unwrap());
    assert_eq!(tree.survivors().unwrap(), []);
}

#[tokio::test]
async fn a_registered_session_is_killed_without_leader_or_marker() {
    let mut leader = Script::start("env -i sh -c 'echo $$; exec sleep 600' & wait", &[]);
    let member = leader.process().await;
    let _killed = KillOnDrop(member);
    kill(&mut leader).await;

    let session = leader.child.process;
    let reused = ProcessId {
        start_time: session.start_time + 1_000_000,
        ..session
    };
    let unrelated = Tree {
        sessions: vec![reused],
        ..Tree::default()
    };
    assert_eq!(unrelated.survivors().unwrap(), []);

    let tree = Tree {
        sessions: vec![session],
        ..Tree::default()
    };
    assert_eq!(tree.end(LIMIT).await.unwrap(), [member]);
}

#[tokio::test]
async fn descent_finds_a_process_without_marker_and_session() {
    let marker = marker("descent");
    let script = "env -i setsid sh -c 'echo $$; exec sleep 600' & wait";
    let mut worker = Script::start(script, &[(LAUNCH_MARKER, &marker)]);
    let child = worker.process().await;
    let _killed = KillOnDrop(child);
    let tree = tree(Some(worker.child.process), marker);
    let ended = tree.end(LIMIT).await.unwrap();
    assert!(ended.contains(&child) && ended.contains(&worker.child.process));
}

#[tokio::test]
async fn processes_of_no_launch_below_a_worker_are_kept() {
    let marker = marker("no-launch");
    let script = format!(
        "{LAUNCH_MARKER}={NO_LAUNCH} setsid sh -c 'env -i sleep 600 & echo $!; echo $$; wait' & wait"
    );
    let mut worker = Script::start(&script, &[(LAUNCH_MARKER, &marker)]);
    let below_supervisor = worker.process().await;
    let supervisor = worker.process().await;
    let (_one, _other) = (KillOnDrop(below_supervisor), KillOnDrop(supervisor));
    let tree = tree(Some(worker.child.process), marker);
    assert_eq!(tree.end(LIMIT).await.unwrap(), [worker.child.process]);
    assert!(supervisor.is_alive().unwrap() && below_supervisor.is_alive().unwrap());
}

#[tokio::test]
async fn a_marker_must_match_exactly() {
    let marker = marker("whole");
    let longer = format!("{marker}2");
    let other = Script::start(
        "exec sleep 600",
        &[(LAUNCH_MARKER, &longer), ("X", &marker)],
    );
    let tree = tree(None, marker);
    assert_eq!(tree.end(LIMIT).await.unwrap(), []);
    assert!(other.child.process.is_alive().unwrap());
    assert_eq!(Tree::default().survivors().unwrap(), []);
}

#[tokio::test]
async fn this_process_is_in_no_tree() {
    let own = ProcessId::current().unwrap();
    let script = Script::start("exec sleep 600", &[]);
    let tree = Tree {
        root: Some(own),
        ..Tree::default()
    };
    let survivors = tree.survivors().unwrap();
    assert!(survivors.contains(&script.child.process));
    assert!(!survivors.contains(&own));
}

#[tokio::test]
async fn a_tree_that_handles_sigterm_exits() {
    let marker = marker("listens");
    let script = "sleep 600 & sleep 600 & echo started; wait";
    let mut worker = Script::start(script, &[(LAUNCH_MARKER, &marker)]);
    worker.line().await;
    let tree = tree(Some(worker.child.process), marker);
    assert!(!tree.gone(Duration::from_millis(20)).await);
    assert_eq!(tree.signal_all(Signal::SIGTERM).unwrap(), 3);
    assert!(tree.gone(LIMIT).await);
}

#[tokio::test]
async fn a_tree_that_ignores_sigterm_is_killed() {
    let marker = marker("ignores");
    let mut worker = Script::start(
        "trap '' TERM; echo started; sleep 600",
        &[(LAUNCH_MARKER, &marker)],
    );
    worker.line().await;
    let tree = tree(None, marker);
    tree.signal_all(Signal::SIGTERM).unwrap();
    assert!(!tree.gone(Duration::from_millis(50)).await);
    assert!(
        tree.end(LIMIT)
            .await
            .unwrap()
            .contains(&worker.child.process)
    );
}

#[tokio::test]
async fn a_tree_that_keeps_forking_is_killed() {
    let marker = marker("forking");
    let script = "i=0; while [ $i -lt 400 ]; do setsid -f sleep 600; echo $i; i=$((i+1)); done";
    let mut worker = Script::start(script, &[(LAUNCH_MARKER, &marker)]);
    worker.line().await;
    let tree = tree(Some(worker.child.process), marker);
    assert!(tree.end(LIMIT).await.unwrap().len() >= 2);
    assert_eq!(tree.survivors().unwrap(), []);
}

#[tokio::test]
async fn a_missed_deadline_lists_the_survivors() {
    let marker = marker("deadline");
    let script = Script::start("exec sleep 600", &[(LAUNCH_MARKER, &marker)]);
    let tree = tree(None, marker);
    match tree.end(Duration::ZERO).await {
        // The process was already gone at the deadline.
        Ok(ended) => assert_eq!(ended, [script.child.process]),
        Err(TreeSurvived::Alive { survivors, ended }) => {
            assert_eq!((survivors, ended), (vec![script.child.process], Vec::new()));
        }
        Err(TreeSurvived::Unknown(error)) => panic!("{error}"),
    }
}
