//! Hosted members, which run in one process: their work, and what happens to the other members when a member or the
//! process dies.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_system::process::{ProcessId, Signal};
use agent_team_tests::{Rig, processes, until};

use crate::teams::{file, task};

fn hosted(members: &[&str], rest: &str) -> Rig {
    Rig::with_team(&file(members, "hosted", "ready", rest))
}

/// A task that writes the pid of its shell to a file, and ends when the test calls [`finish`].
fn gated(member: &str) -> String {
    let run = format!(
        "echo $$ > {member}.pid; test -p {member} || mkfifo {member}; cat {member}; echo done"
    );
    task(member, &run, &format!("for = \"{member}\""))
}

/// Waits until the member's task runs in a shell other than `before`; returns the pid of that shell.
async fn until_begun_after(rig: &Rig, member: &str, before: Option<u32>) -> u32 {
    until("the task to begin", async || {
        let pid = rig.read(&format!("{member}.pid"))?.trim().parse().ok();
        pid.filter(|pid| Some(*pid) != before && rig.project().join(member).exists())
    })
    .await
}

async fn until_begun(rig: &Rig, member: &str) -> u32 {
    until_begun_after(rig, member, None).await
}

async fn finish(rig: &Rig, member: &str) {
    let gate = rig.project().join(member);
    tokio::task::spawn_blocking(move || fs::write(gate, ""))
        .await
        .unwrap()
        .unwrap();
}

fn is_alive(pid: u32) -> bool {
    ProcessId::of(pid).unwrap().is_some()
}

#[tokio::test]
async fn members_in_one_process_work_send_messages_and_stop() {
    let rig = hosted(
        &["ada", "bob"],
        &[task("One", "echo one", ""), task("Two", "echo two", "")].concat(),
    );
    rig.run(["up", "--wait"])
        .await
        .expect(0)
        .assert_prints("runs hosted: in one process");
    let refused = rig.refused(4, ["attach", "ada"]).await;
    assert_eq!(
        refused["message"],
        "ada has no pane: the team runs without panes"
    );
    let (ada, bob) = (rig.member("ada").await, rig.member("bob").await);
    assert_eq!(
        (ada.placement, bob.placement),
        (Placement::Hosted, Placement::Hosted)
    );
    assert_eq!(ada.pid, bob.pid, "one process");
    assert_ne!(ada.launch, bob.launch, "each has its own launch");
    let supervisor = rig.supervisor().await.pid;
    assert_ne!(ada.pid, Some(supervisor));
    rig.ok(["send", "ada", "look", "here"]).await;
    rig.until_member("ada", |ada| ada.unread == 0).await;
    rig.run(["logs", "ada"])
        .await
        .expect(0)
        .assert_prints("you: look here");
    rig.ok(["ps"]).await.assert_prints("hosted: in one process");
    rig.run(["panes", "reopen", "ada"])
        .await
        .expect(4)
        .assert_prints("no terminal");
    let process = ada.pid.expect("ada runs");
    rig.ok(["down"])
        .await
        .assert_prints(&format!("{process} (host process)"));
    assert_eq!(rig.processes(), [], "not even the host process");
    let left = fs::read_dir(rig.directories().run).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with("host-")),
        "{left:?}"
    );
}

#[tokio::test]
async fn the_end_of_a_member_or_its_task_affects_no_other_member() {
    let rig = hosted(
        &["ada", "bob", "cyd"],
        &["ada", "bob", "cyd"].map(gated).concat(),
    );
    rig.ok(["up"]).await;
    let ada = until_begun(&rig, "ada").await;
    until_begun(&rig, "bob").await;
    let cyd = until_begun(&rig, "cyd").await;
    let before = rig.member("cyd").await;
    finish(&rig, "bob").await;
    rig.until_task_is("T-2", TaskState::Completed).await;
    assert!(
        is_alive(ada) && is_alive(cyd),
        "the end of bob's task ended no other task"
    );
    rig.ok(["kill", "ada"]).await;
    assert!(!is_alive(ada), "a member's children end with it");
    assert!(is_alive(cyd));
    rig.ok(["restart", "bob"]).await;
    let bob = rig.until_member_is("bob", MemberState::Idle).await;
    assert_eq!(bob.pid, before.pid, "in the same process");
    finish(&rig, "cyd").await;
    let done = rig.until_task_is("T-3", TaskState::Completed).await;
    assert_eq!(done.attempts, 1);
    let after = rig.member("cyd").await;
    assert_eq!((after.launch, after.restarts), (before.launch, 0));
}

#[tokio::test]
async fn members_and_tasks_restart_when_their_process_dies() {
    let rig = hosted(&["ada", "bob"], &["ada", "bob"].map(gated).concat());
    rig.ok(["up"]).await;
    let mut tasks = Vec::new();
    for name in ["ada", "bob"] {
        tasks.push((name, until_begun(&rig, name).await));
    }
    let before = rig.member("ada").await;
    processes::kill(rig.worker("ada").await).await;
    for (name, task) in tasks {
        until_begun_after(&rig, name, Some(task)).await;
        assert!(!is_alive(task), "two runs of {name}'s task at once");
        finish(&rig, name).await;
    }
    for id in ["T-1", "T-2"] {
        let done = rig.until_task_is(id, TaskState::Completed).await;
        assert_eq!(done.attempts, 2);
    }
    let (ada, bob) = (rig.member("ada").await, rig.member("bob").await);
    assert_eq!(ada.pid, bob.pid, "one process again");
    assert_ne!(ada.pid, before.pid);
}

#[tokio::test]
async fn killing_a_member_of_a_stopped_host_restarts_other_members() {
    let rig = hosted(&["ada", "bob"], &["ada", "bob"].map(gated).concat());
    rig.ok(["up"]).await;
    let ada = until_begun(&rig, "ada").await;
    let bob = until_begun(&rig, "bob").await;
    let host = rig.worker("ada").await;
    // A stopped process reads no frames, so it cannot end one of its members. `kill` must kill the whole process.
    host.signal(Signal::SIGSTOP).unwrap();
    rig.ok(["send", "bob", "keep", "this"]).await;
    rig.ok(["kill", "ada"]).await;
    processes::ended(host).await;
    assert!(!is_alive(ada));

    until_begun_after(&rig, "bob", Some(bob)).await;
    assert!(!is_alive(bob), "two runs of bob's task at once");
    finish(&rig, "bob").await;
    let done = rig.until_task_is("T-2", TaskState::Completed).await;
    assert_eq!(done.attempts, 2);
    rig.until_member("bob", |bob| bob.unread == 0).await;
    let log = rig.ok(["logs", "bob"]).await;
    log.assert_prints("you: keep this");
    assert_eq!(rig.member("ada").await.state, MemberState::Stopped);
    assert_eq!(rig.task("T-1").await.state, TaskState::Pending);
    rig.ok(["restart", "ada"]).await;
    until_begun_after(&rig, "ada", Some(ada)).await;
}

#[tokio::test]
async fn a_new_supervisor_adopts_the_hosted_process() {
    let rig = hosted(&["ada", "bob"], &["ada", "bob"].map(gated).concat());
    rig.ok(["up"]).await;
    until_begun(&rig, "ada").await;
    let task = until_begun(&rig, "bob").await;
    let before = rig.member("ada").await;
    processes::kill(rig.supervisor().await).await;
    finish(&rig, "ada").await;
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(done.attempts, 1);
    let after = rig.member("ada").await;
    assert_eq!((after.pid, &after.launch), (before.pid, &before.launch));
    // The host process obeys the new supervisor: the process stops bob, and starts bob again.
    rig.ok(["kill", "bob"]).await;
    assert!(!is_alive(task));
    assert!(is_alive(before.pid.unwrap()));
    rig.ok(["restart", "bob"]).await;
    let bob = rig.until_member_is("bob", MemberState::Working).await;
    assert_eq!(bob.pid, before.pid);
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn one_terminal_shows_hosted_members_in_turn() {
    let rig = hosted(&["ada", "ben"], "");
    let mut screen = rig.on_terminal(["up"]);
    screen.until("[").await;
    screen.until("ada ▸").await;
    screen.type_in("echo typed to $AGENT_TEAM_MEMBER\r").await;
    screen.until("── you ── echo typed").await;
    screen.until("typed to ada").await;
    // ^C ends a line that runs.
    screen.type_in("echo sleeps; sleep 600\r").await;
    screen.until("sleeps\r\n").await;
    screen.type_in("\u{3}").await;
    screen.until("interrupted by the user").await;
    // Show the next member, and type a line and a task there.
    screen.type_in("\t").await;
    screen.until("━━ ben").await;
    screen.until("ben ▸").await;
    screen.type_in("exit 3\r").await;
    screen.until("✗ exit 3").await;
    // The task is the first task of the board: typed lines are not on the board.
    screen
        .type_in("/task echo task of $AGENT_TEAM_MEMBER\r")
        .await;
    screen.until("T-1 added").await;
    screen.until("── T-1").await;
    screen.until("task of ben").await;
    screen.until("✓ T-1 completed").await;
    screen.type_in("/task\r").await;
    screen.until("T-1").await;
    screen.type_in("\u{3}").await;
    screen.until("press ^C again to leave").await;
    screen.type_in("\u{3}").await;
    let (code, shown) = screen.end().await;
    assert_eq!(code, 0, "{shown}");
    let (_, after) = shown.rsplit_once("\u{1b}[?2004l\u{1b}[?25h").unwrap();
    assert!(
        after.contains("keeps running; return: agent-team attach"),
        "{shown:?}"
    );
    rig.until_task_is("T-1", TaskState::Completed).await;
    // The team keeps running, and a second client can attach.
    let mut screen = rig.on_terminal(["attach"]);
    screen.until("ada ▸").await;
    // This verb does not exit, and it does not block the keys that follow.
    screen.type_in("/requests watch\r").await;
    until("the verb to run", async || {
        let programs = rig.processes();
        let mut programs = programs.iter();
        programs.find_map(|found| found.command.contains("requests watch").then_some(()))
    })
    .await;
    screen.type_in("\u{1b}[A\u{1b}[A").await;
    screen.until("/task").await;
    screen.type_in("\u{1c}").await;
    assert_eq!(screen.end().await.0, 0);
    let teams = fs::read_dir(rig.directories().teams()).unwrap();
    let typed = teams.map(|team| team.unwrap().path().join("typed"));
    let mode = typed.last().and_then(|typed| fs::metadata(typed).ok());
    let mode = mode
        .expect("the typed lines are stored")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut screen = rig.on_terminal(["attach", "ben", "--read-only"]);
    screen.until("task of ben").await;
    screen.until("ben ▸").await;
    screen.type_in("touch typed\r\u{1c}").await;
    assert_eq!(screen.end().await.0, 0);
    assert_eq!(rig.read("typed"), None);
    assert_eq!(rig.member("ben").await.state, MemberState::Idle);
}
