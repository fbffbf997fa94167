//! Tests of workers that have lost their pane, or never had a pane, and are shown in a terminal without a restart.

use std::fs;

use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, MemberView, TaskState};
use agent_team_system::process::{ProcessId, Signal};
use agent_team_tests::{Rig, processes, tmux, until};

use crate::teams::{headless, in_panes, task};

/// The key that detaches a terminal from a member: Control and backslash.
const LEAVE: &str = "\u{1c}";

/// Prints `before`, waits until the test opens the gate, and prints `after`.
const GATED: &str = "mkfifo gate; echo before; cat gate; echo after";

async fn open_gate(rig: &Rig) {
    let gate = rig.project().join("gate");
    tokio::task::spawn_blocking(move || fs::write(gate, ""))
        .await
        .unwrap()
        .unwrap();
}

async fn until_gated(rig: &Rig) {
    let gate = rig.project().join("gate");
    until("the gate", async || gate.exists().then_some(())).await;
}

async fn until_headless(rig: &Rig, name: &str) -> MemberView {
    rig.until_member(name, |member| {
        member.placement == Placement::Headless && member.pane.is_none()
    })
    .await
}

async fn until_shown_again(rig: &Rig, name: &str) -> MemberView {
    rig.until_member(name, |member| {
        member.placement == Placement::Tmux && member.pane.is_some()
    })
    .await
}

pub(crate) fn assert_same_worker(before: &MemberView, after: &MemberView) {
    assert_eq!(
        (after.pid, &after.launch, after.restarts),
        (before.pid, &before.launch, before.restarts)
    );
}

#[tokio::test]
async fn a_closed_pane_reopens_with_its_text_and_worker() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], &task("Long", GATED, "for = \"ada\""));
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Working).await;
    until_gated(&rig).await;
    let tmux = rig.tmux();
    tmux.ask(["kill-pane", "-t", &before.pane.clone().unwrap()])
        .await;
    assert!(until_headless(&rig, "ada").await.lost_pane);
    let ps = rig.ok(["ps"]).await;
    ps.assert_prints("ada runs without a pane: agent-team panes reopen ada");

    rig.ok(["panes", "reopen", "ada"])
        .await
        .assert_prints("ada is shown in %");
    let after = until_shown_again(&rig, "ada").await;
    assert_same_worker(&before, &after);
    let pane = after.pane.clone().unwrap();
    let shown = tmux.until_shown(&pane, "before").await;
    assert!(shown.contains("T-1 Long"), "{shown}");
    rig.ok(["panes", "reopen"])
        .await
        .assert_prints("no member has lost its pane");
    open_gate(&rig).await;
    tmux.until_shown(&pane, "T-1 completed").await;
    // Keys go to the same worker.
    rig.ok(["send", "ada", "still there?"]).await;
    tmux.until_shown(&pane, "you: still there?").await;
    tmux.ask(["send-keys", "-t", &pane, "/task echo typed", "Enter"])
        .await;
    let typed = rig.until_task_is("T-2", TaskState::Completed).await;
    assert_eq!(typed.owner.unwrap().to_string(), "ada");
    tmux.until_shown(&pane, "T-2 completed").await;

    // When the attach helper in the pane dies, the next attach helper uses the same pane.
    let helper: u64 = tmux
        .ask(["display-message", "-p", "-t", &pane, "#{pane_pid}"])
        .await
        .parse()
        .unwrap();
    assert_ne!(Some(helper), after.pid.map(u64::from));
    processes::kill(ProcessId::of(helper.try_into().unwrap()).unwrap().unwrap()).await;
    assert_same_worker(&before, &until_headless(&rig, "ada").await);
    rig.ok(["panes", "reopen"]).await;
    let again = until_shown_again(&rig, "ada").await;
    assert_same_worker(&before, &again);
    assert_eq!(again.pane, after.pane, "the dead pane is used again");
    rig.ok(["restart", "ada"]).await;
    let successor = rig
        .until_member("ada", |ada| {
            ada.state == MemberState::Idle && ada.launch != before.launch
        })
        .await;
    assert_eq!(successor.pane, after.pane);
    assert_eq!(tmux.panes("#{pane_id}").await.len(), 2);
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_pane_without_a_member_keeps_its_text_and_a_hint() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], &task("Long", GATED, "for = \"ada\""));
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Working).await;
    until_gated(&rig).await;
    let tmux = rig.tmux();
    tmux.ask(["kill-pane", "-t", &before.pane.unwrap()]).await;
    until_headless(&rig, "ada").await;
    rig.ok(["panes", "reopen"]).await;
    let pane = until_shown_again(&rig, "ada").await.pane.unwrap();
    tmux.until_shown(&pane, "before").await;

    // The member still runs, so the hint does not suggest a restart.
    let helper = tmux
        .ask(["display-message", "-p", "-t", &pane, "#{pane_pid}"])
        .await;
    processes::kill(processes::living(helper.parse().unwrap())).await;
    let shown = tmux
        .until_shown(&pane, "ada left this pane; run agent-team panes reopen ada")
        .await;
    assert!(shown.contains("before"), "{shown}");
    until_headless(&rig, "ada").await;
    rig.ok(["panes", "reopen", "ada"]).await;
    let pane = until_shown_again(&rig, "ada").await.pane.unwrap();
    tmux.until_shown(&pane, "before").await;

    let bob = rig.until_member_is("bob", MemberState::Idle).await;
    let pane = bob.pane.unwrap();
    rig.ok(["send", "bob", "the last words"]).await;
    tmux.until_shown(&pane, "the last words").await;
    rig.ok(["kill", "bob"]).await;
    let shown = tmux
        .until_shown(&pane, "bob has exited; run agent-team restart bob")
        .await;
    assert!(shown.contains("the last words"), "{shown}");
    rig.ok(["restart", "bob"]).await;
    let again = rig.until_member_is("bob", MemberState::Idle).await;
    assert_eq!(again.pane, Some(pane));
}

#[tokio::test]
async fn up_reopens_all_panes_after_the_tmux_server_was_killed() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], &task("Long", GATED, "for = \"ada\""));
    rig.ok(["up"]).await;
    let ada = rig.until_member_is("ada", MemberState::Working).await;
    let bob = rig.until_member_is("bob", MemberState::Idle).await;
    until_gated(&rig).await;
    let tmux = rig.tmux();
    let server = tmux.ask(["display-message", "-p", "#{pid}"]).await;
    processes::kill(ProcessId::of(server.parse().unwrap()).unwrap().unwrap()).await;
    until_headless(&rig, "ada").await;
    until_headless(&rig, "bob").await;
    // A new supervisor knows only what the workers report about their panes.
    processes::kill(rig.supervisor().await).await;
    until_headless(&rig, "ada").await;
    until_headless(&rig, "bob").await;

    rig.ok(["up"]).await;
    assert_same_worker(&ada, &until_shown_again(&rig, "ada").await);
    let again = until_shown_again(&rig, "bob").await;
    assert_same_worker(&bob, &again);
    tmux.until_shown(&again.pane.unwrap(), "bob ▸").await;
    open_gate(&rig).await;
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(done.attempts, 1);
}

#[tokio::test]
async fn a_new_supervisor_finds_members_in_their_reopened_panes() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Idle).await;
    let tmux = rig.tmux();
    // Another pane keeps the tmux server running.
    tmux.ask(["split-window", "-d", "sleep", "600"]).await;
    tmux.ask(["kill-pane", "-t", &before.pane.clone().unwrap()])
        .await;
    until_headless(&rig, "ada").await;
    fs::remove_file(rig.directories().tmux_socket()).unwrap();
    rig.ok(["panes", "reopen"]).await;
    let reopened = until_shown_again(&rig, "ada").await;
    processes::kill(rig.supervisor().await).await;
    let adopted = until_shown_again(&rig, "ada").await;
    assert_same_worker(&before, &adopted);
    assert_eq!(adopted.pane, reopened.pane);
    rig.ok(["panes", "reopen"])
        .await
        .assert_prints("no member has lost its pane");
    let panes = tmux.panes("#{@agent_team_member}").await;
    assert_eq!(panes.iter().filter(|member| *member == "ada").count(), 1);
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_headless_member_is_shown_while_a_client_is_attached() {
    let rig = headless(&["ada"], &task("Long", GATED, ""));
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Working).await;
    until_gated(&rig).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("T-1 Long").await;
    screen.until("before").await;
    open_gate(&rig).await;
    screen.until("T-1 completed").await;
    screen.until("ada ▸").await;
    // ^C clears only the typed line.
    screen.type_in("half a line").await;
    screen.until("half a line").await;
    screen.type_in("\u{3}").await;
    screen.until("ada ▸").await;
    screen.type_in("/task stty size; echo typed here\r").await;
    screen.until("typed here").await;
    screen.until("T-2 completed").await;
    screen.type_in(LEAVE).await;
    let (code, _) = screen.end().await;
    assert_eq!(code, 0);
    let after = rig.until_member_is("ada", MemberState::Idle).await;
    assert_same_worker(&before, &after);
    let typed = rig.task("T-2").await.result.unwrap();
    assert!(typed.ends_with("typed here"), "{typed}");
}

#[tokio::test]
async fn the_detach_key_works_during_a_task_and_the_task_continues() {
    let rig = headless(&["ada"], &task("Long", GATED, ""));
    rig.ok(["up"]).await;
    until_gated(&rig).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("ada is attached; press").await;
    screen.type_in(LEAVE).await;
    assert_eq!(screen.end().await.0, 0);
    // A killed `attach` also detaches.
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("ada is attached; press").await;
    drop(screen);
    let mut read_only = rig.on_terminal(["attach", "ada", "--read-only"]);
    read_only.until("ada is attached; press").await;
    read_only.type_in("x").await;
    open_gate(&rig).await;
    read_only.until("T-1 completed").await;
    read_only.type_in("touch typed\r").await;
    rig.ok(["send", "ada", "after it"]).await;
    read_only.until("after it").await;
    read_only.type_in("\u{3}").await;
    assert_eq!(read_only.end().await.0, 0);
    let tasks = rig.json(["task", "list"]).await;
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_later_client_takes_the_member_over() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut first = rig.on_terminal(["attach", "ada"]);
    first.until("ada ▸").await;
    let mut second = rig.on_terminal(["attach", "ada"]);
    second.until("ada ▸").await;
    assert_eq!(first.end().await.0, 0);
    // An attached terminal works without a supervisor.
    processes::kill(rig.supervisor().await).await;
    second.type_in("/task echo on and on\r").await;
    second.until("T-1 completed").await;
    // When the worker is killed, `attach` ends without an error.
    rig.worker("ada").await.signal(Signal::SIGKILL).unwrap();
    let (code, _) = second.end().await;
    assert_eq!(code, 0);
}
