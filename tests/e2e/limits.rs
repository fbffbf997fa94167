//! Tests of the cost of one client, or of a hundred teams, to the supervisor: threads, descriptors, memory, waiting
//! calls.

use std::fs;

use agent_team_client::CallError;
use agent_team_protocol::ErrorCode;
use agent_team_protocol::method::{
    AddTask, ListMessages, ListTasks, MessageList, Nothing, SupervisorStatus, TaskAdd, TaskList,
    TeamShow, TeamUp, TeamWait,
};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{SupervisorView, TaskState};
use agent_team_tests::{Rig, together, until, within};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::teams::{assigned, headless, task, up_call};

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

async fn status(rig: &Rig) -> SupervisorView {
    rig.ask::<SupervisorStatus>(Nothing {}).await
}

#[tokio::test]
async fn a_flood_of_reads_costs_few_threads_and_descriptors() {
    /// The limit of blocking threads of the supervisor's runtime.
    const BLOCKING_THREADS_MAX: usize = 32;
    const READS: usize = 1_000;
    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok(["messages"]).await;
    let before = status(&rig).await;
    let before_threads = threads(before.pid);
    let user = rig.user().await;
    let list = || ListMessages {
        of: None,
        limit: 10,
    };
    let reads = (0..READS).map(|_| user.call::<MessageList>(list(), None));
    for read in together(reads).await {
        read.unwrap();
    }
    let after_threads = threads(before.pid);
    assert!(
        after_threads <= before_threads + BLOCKING_THREADS_MAX,
        "{after_threads}, {before_threads}"
    );
    let after = status(&rig).await.descriptors;
    assert!(after <= before.descriptors + 8, "{after}, {before:?}");
}

#[tokio::test]
async fn one_connection_has_a_limited_number_of_waiting_calls() {
    const MAX: usize = 64;
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let user = rig.user().await;
    let waits = (0..=MAX).map(|_| user.call::<TeamWait>(Nothing {}, None));
    let gate = rig.project().join("gate");
    let (answers, ()) = tokio::join!(together(waits), async {
        // Other calls over the same connection are answered meanwhile.
        user.ask::<TeamShow>(Nothing {}).await;
        let open = tokio::task::spawn_blocking(|| fs::write(gate, ""));
        open.await.unwrap().unwrap();
    });
    let refused: Vec<ErrorCode> = answers
        .iter()
        .filter_map(|answer| match answer {
            Ok(_) => None,
            Err(CallError::Refused(refusal)) => Some(refusal.code),
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(refused, [ErrorCode::TooManyCalls]);
}

#[tokio::test]
async fn only_the_supervisor_gets_a_raised_descriptor_limit() {
    let mut rig = headless(&["ada"], &task("Soft", "ulimit -Sn > soft", ""));
    rig.script_supervisor("ulimit -Sn 300\nexec \"$SUPERVISOR\"\n");
    rig.ok(["up"]).await;
    assert!(status(&rig).await.descriptors_max > 300);
    assert_eq!(rig.until_written("soft").await, "300");
}

#[tokio::test]
async fn a_hundred_teams_of_four_fit_into_1024_descriptors() {
    const TEAMS: usize = 100;
    let mut rig = headless(&["ada"], "");
    rig.script_supervisor("ulimit -n 1024\nexec \"$SUPERVISOR\"\n");
    rig.ok(["up"]).await;
    let user = rig.user().await;
    for numbers in (1..TEAMS).collect::<Vec<_>>().chunks(10) {
        let ups = numbers.iter().map(|number| {
            let name = format!("team-{number}");
            let project = rig.root().join(&name);
            fs::create_dir_all(&project).unwrap();
            let members = ["ada", "ben", "cleo", "dora"];
            user.call::<TeamUp>(up_call(&project, &name, &members), None)
        });
        for up in together(ups).await {
            up.unwrap();
        }
    }
    let status = status(&rig).await;
    assert_eq!((status.teams.len(), status.descriptors_max), (TEAMS, 1024));
    eprintln!(
        "{} descriptors for {TEAMS} teams of four",
        status.descriptors
    );
    rig.run(["ps"]).await.expect(0).assert_prints("ada");
}

/// A supervisor with 128 descriptors uses at most half of them for clients, and at most three quarters for all
/// connections.
#[tokio::test]
async fn connections_are_limited_and_freed() {
    const CLIENTS: usize = 64;
    const CONNECTIONS: usize = 96;
    let mut rig = headless(&["ada"], "");
    rig.script_supervisor("ulimit -n 128\nexec \"$SUPERVISOR\"\n");
    rig.ok(["up"]).await;
    assert_eq!(status(&rig).await.descriptors_max, 128);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(rig.user().await);
    }
    let refused = rig.refused(4, ["ps"]).await;
    assert_eq!(refused["code"], "too_many_calls", "{refused}");
    clients.truncate(CLIENTS - 4);
    rig.ok(["ps"]).await;

    // A silent connection counts until the supervisor closes it after 2 s. ada's connection also counts.
    let silent = async || {
        UnixStream::connect(rig.directories().socket())
            .await
            .unwrap()
    };
    let mut held = Vec::new();
    for _ in clients.len() + 1..=CONNECTIONS {
        held.push(silent().await);
    }
    let mut byte = [0];
    let last = held.last_mut().expect("a connection");
    let read = within("the end of the connection", last.read(&mut byte)).await;
    assert_eq!(
        read.unwrap(),
        0,
        "the supervisor closes the connection without an answer"
    );
    until("a free connection", async || {
        let output = rig.run(["ps"]).await;
        (output.code == 0).then_some(())
    })
    .await;
    drop(held);
}

/// The peak resident memory of a process, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.expect("a number").parse().unwrap()
}

#[tokio::test]
async fn queued_listings_hold_no_tasks() {
    const TASKS: usize = 500;
    const CLIENTS: usize = 60;
    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    let user = rig.user().await;
    for numbers in (0..TASKS).collect::<Vec<_>>().chunks(50) {
        let adds = numbers.iter().map(|number| {
            let spec = TaskSpec {
                title: format!("Task {number}"),
                description: "x".repeat(16 << 10),
                ..TaskSpec::default()
            };
            user.call::<TaskAdd>(AddTask { spec }, None)
        });
        for added in together(adds).await {
            added.unwrap();
        }
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(rig.user().await);
    }
    let pid = status(&rig).await.pid;
    let before = peak(pid);
    let listings = clients
        .iter()
        .map(|client| client.call::<TaskList>(ListTasks::default(), None));
    for listed in together(listings).await {
        assert!(listed.unwrap().more);
    }
    // The board has 8 MB, and a queued listing must not hold a copy of the board.
    let grown = peak(pid) - before;
    assert!(grown < 128 << 10, "{grown} KiB");
}
