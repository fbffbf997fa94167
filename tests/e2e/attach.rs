//! A user at a terminal: attached to the team or to one member, reading output and typing.

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_system::process::Signal;
use agent_team_tests::{tmux, until};

use crate::teams::{headless, in_panes, task};

/// tmux's prefix, then `d`: the keys that detach a client.
const DETACH: &str = "\u{2}d";

#[tokio::test]
async fn up_on_a_terminal_attaches_and_detaching_keeps_the_team() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], &task("Say", "echo hello from a task", ""));
    let mut screen = rig.on_terminal(["up"]);
    screen.until("hello from a task").await;
    // tmux treats keys that arrive within a millisecond of attaching as pasted text.
    let tmux = rig.tmux();
    until("a client to be attached", async || {
        (!tmux.ask(["list-clients"]).await.is_empty()).then_some(())
    })
    .await;
    screen.type_in(DETACH).await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 0);
    let after = "keeps running; return: agent-team attach, stop: agent-team down";
    assert!(seen.contains(after), "{seen}");
    rig.until_task_is("T-1", TaskState::Completed).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_terminated_attach_leaves_no_client() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    rig.ok(["up"]).await;
    let screen = rig.on_terminal(["attach"]);
    let tmux = rig.tmux();
    until("a client to be attached", async || {
        (!tmux.ask(["list-clients"]).await.is_empty()).then_some(())
    })
    .await;
    screen.signal(Signal::SIGTERM);
    screen.end().await;
    assert_eq!(tmux.ask(["list-clients"]).await, "");
}

#[tokio::test]
async fn up_detach_returns_on_a_terminal() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    let (code, seen) = rig.on_terminal(["up", "--detach"]).end().await;
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("started"), "{seen}");
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_task_typed_into_an_attached_pane_runs() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("bob", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "bob"]);
    screen.until("bob").await;
    let tmux = rig.tmux();
    let bob = rig.member("bob").await.pane.unwrap();
    until("bob's pane to be the active one", async || {
        let clients = tmux.ask(["list-clients", "-F", "#{pane_id}"]).await;
        (clients == bob).then_some(())
    })
    .await;
    screen.type_in("/task echo typed by a user; tty\r").await;
    screen.until("T-1 added").await;
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert!(done.result.unwrap().starts_with("typed by a user"));
    assert_eq!(done.owner.unwrap().to_string(), "bob");
    assert_eq!(done.created_by.to_string(), "user");
    tmux.until_shown(&bob, "T-1 completed").await;
}

#[tokio::test]
async fn the_terminal_last_used_determines_the_size() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob", "cyd", "dan", "eve"], "");
    let mut big = rig.on_terminal_of((200, 50), ["up"]);
    let tmux = rig.tmux();
    let panes = "#{@agent_team_member} #{pane_width} #{pane_height}";
    let clients = async |count| {
        until("the attached terminals", async || {
            let clients = tmux.ask(["list-clients"]).await;
            (clients.lines().count() == count).then_some(())
        })
        .await;
    };
    let window = async |size: &str| {
        until(&format!("a window of {size}"), async || {
            let sizes = tmux.panes("#{window_width}x#{window_height}").await;
            sizes.iter().all(|shown| shown == size).then_some(())
        })
        .await;
    };
    big.until("eve").await;
    clients(1).await;
    window("200x49").await;
    let before = tmux.panes(panes).await;
    assert_eq!(before.len(), 5);
    for pane in &before {
        let numbers: Vec<u16> = pane.split(' ').flat_map(str::parse).collect();
        assert!(numbers[0] >= 40 && numbers[1] >= 6, "{pane}");
    }
    let mut small = rig.on_terminal_of((80, 24), ["attach"]);
    clients(2).await;
    window("80x23").await;
    assert_eq!(tmux.panes(panes).await.len(), 5);
    big.type_in("a").await;
    window("200x49").await;
    assert_eq!(tmux.panes(panes).await, before);
    small.type_in("b").await;
    window("80x23").await;
    small.type_in(DETACH).await;
    assert_eq!(small.end().await.0, 0);
    window("200x49").await;
    assert_eq!(
        tmux.panes(panes).await,
        before,
        "each pane has its earlier size"
    );
}

#[tokio::test]
async fn lines_typed_during_a_task_reach_the_task() {
    if !tmux::is_here() {
        return;
    }
    // The pane shows the command before the program owns the terminal. Two blanks distinguish the command from the
    // output.
    let run = "stty -echo; echo your  name?; read name; echo \"hello $name\"";
    let rig = in_panes(&["ada"], &task("Ask", run, ""));
    rig.ok(["up"]).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("your name?").await;
    screen.type_in("Grace\r").await;
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert!(done.result.unwrap().ends_with("hello Grace"));
}

#[tokio::test]
async fn an_interrupt_in_the_pane_reaches_only_the_task() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(
        &["ada"],
        &task("Wait", "echo now  waiting; mkfifo gate; cat gate", ""),
    );
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Working).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("now waiting").await;
    screen.type_in("\u{3}").await;
    rig.until_task_is("T-1", TaskState::Failed).await;
    assert_eq!(rig.member("ada").await.launch, before.launch);
}

#[tokio::test]
async fn a_read_only_client_cannot_type() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada", "--read-only"]);
    screen.until("ada").await;
    let tmux = rig.tmux();
    until("the client", async || {
        let clients = tmux.ask(["list-clients", "-F", "#{client_readonly}"]).await;
        (clients == "1").then_some(())
    })
    .await;
    screen.type_in("touch typed\r").await;
    // The pane shows the message after the effect of earlier keys, so the message proves that the keys were ignored.
    rig.ok(["send", "ada", "after it"]).await;
    screen.until("after it").await;
    let tasks = rig.json(["task", "list"]).await;
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_message_appears_in_its_members_pane() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok(["send", "ada", "look", "here"]).await;
    let pane = rig.until_member_is("ada", MemberState::Idle).await.pane;
    rig.tmux()
        .until_shown(&pane.unwrap(), "you: look here")
        .await;
    rig.until_member("ada", |ada| ada.unread == 0).await;
}

#[tokio::test]
async fn attach_without_panes_shows_members_here_or_a_hint() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let mut screen = rig.on_terminal(["attach"]);
    screen.until("ada ▸").await;
    screen.type_in("\u{3}\u{3}").await;
    assert_eq!(screen.end().await.0, 0);
    rig.ok(["stop", "ada"]).await;
    let (code, seen) = rig.on_terminal(["attach"]).end().await;
    assert_eq!(code, 4, "{seen}");
    assert!(seen.contains("attach MEMBER"), "{seen}");
    let (code, seen) = rig.on_terminal(["attach", "ada"]).end().await;
    assert_eq!(code, 4, "{seen}");
    assert!(seen.contains("logs"), "{seen}");
}
