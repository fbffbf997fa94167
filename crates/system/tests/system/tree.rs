//! Ending a launch's whole tree, whatever it did to get away.

use std::time::Duration;

use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::tree::{LAUNCH_MARKER, NO_LAUNCH, Tree, TreeSurvived};

use crate::rig::{KillOnDrop, LIMIT, Script};

/// A marker that no other test, and no other run of this one, uses.
fn marker(test: &str) -> String {
    format!("test-{test}-{}", std::process::id())
}

async fn kill(script: &mut Script) {
    script.child.signal(Signal::SIGKILL).unwrap();
    script.child.wait().await.unwrap();
}

/// What a launch of this marker started, as far as its root and its marker tell.
fn tree(root: Option<ProcessId>, marker: String) -> Tree {
    Tree {
        root,
        marker,
        ..Tree::default()
    }
}

#[tokio::test]
async fn a_daemon_that_outlived_its_killed_worker_is_ended() {
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
async fn a_registered_session_is_ended_without_its_leader_and_without_a_marker() {
    let mut leader = Script::start("env -i sh -c 'echo $$; exec sleep 600' & wait", &[]);
    let member = leader.process().await;
    let _killed = KillOnDrop(member);
    kill(&mut leader).await;

    let session = leader.child.process;
    let reused = ProcessId {
        start_time: session.start_time + 1_000_000,
        ..session
    };
    let stranger = Tree {
        sessions: vec![reused],
        ..Tree::default()
    };
    assert_eq!(stranger.survivors().unwrap(), []);

    let tree = Tree {
        sessions: vec![session],
        ..Tree::default()
    };
    assert_eq!(tree.end(LIMIT).await.unwrap(), [member]);
}

#[tokio::test]
async fn descent_finds_what_cleared_its_environment_and_left_the_session() {
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
async fn below_a_worker_what_belongs_to_no_launch_is_left_alone() {
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
async fn a_marker_counts_only_whole() {
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
async fn a_tree_that_listens_ends_by_itself_after_term() {
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
async fn a_tree_that_ignores_term_is_killed() {
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
async fn a_tree_that_goes_on_forking_is_ended() {
    let marker = marker("forking");
    let script = "i=0; while [ $i -lt 400 ]; do setsid -f sleep 600; echo $i; i=$((i+1)); done";
    let mut worker = Script::start(script, &[(LAUNCH_MARKER, &marker)]);
    worker.line().await;
    let tree = tree(Some(worker.child.process), marker);
    assert!(tree.end(LIMIT).await.unwrap().len() >= 2);
    assert_eq!(tree.survivors().unwrap(), []);
}

#[tokio::test]
async fn a_deadline_that_passes_names_the_survivors() {
    let marker = marker("deadline");
    let script = Script::start("exec sleep 600", &[(LAUNCH_MARKER, &marker)]);
    let tree = tree(None, marker);
    match tree.end(Duration::ZERO).await {
        // Dead before it was waited for: nothing has survived then.
        Ok(ended) => assert_eq!(ended, [script.child.process]),
        Err(TreeSurvived::Alive { survivors, ended }) => {
            assert_eq!((survivors, ended), (vec![script.child.process], Vec::new()));
        }
        Err(TreeSurvived::Unknown(error)) => panic!("{error}"),
    }
}
