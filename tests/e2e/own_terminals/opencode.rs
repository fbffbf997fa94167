//! OpenCode in its own terminal interface, beside its server.

use agent_team_protocol::method::{MemberInterrupt, OneMember};
use agent_team_protocol::view::MemberState;
use agent_team_tests::{processes, tmux, until};

use super::agents::{OPENCODE, Team};
use crate::external::until_logged;

#[tokio::test]
async fn opencode_answers_in_its_pane() {
    if !tmux::is_here() {
        return;
    }
    let team = Team::new(&OPENCODE, "tmux", "");
    let rig = &team.rig;
    let proxy = "HTTP_PROXY=http://127.0.0.1:9";
    let pane = team.pane_after(["up", "--detach", "--env", proxy]).await;
    rig.ok(["send", "ada", "ping"]).await;
    rig.tmux()
        .until_shown(&pane, "pong with ask and the rules")
        .await;
    let logs = until_logged(rig, "pong with ask and the rules").await;
    assert_eq!(logs.matches("pong").count(), 1, "{logs}");
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.unread, 0);
    assert_eq!(ada.usage.micro_usd, 250_000, "{:?}", ada.usage);
}

#[tokio::test]
async fn a_request_of_opencode_shows_the_directory_of_its_line() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "list elsewhere"]).await;
    team.until_asked().await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("/elsewhere"), "{request}");
}

#[tokio::test]
async fn a_denial_also_ends_the_other_request_of_the_conversation() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try both"]).await;
    rig.until_member("ada", |ada| ada.requests == 2).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "no"]).await;
    team.until_nothing_asked().await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let logs = rig.ok(["logs", "ada"]).await.stdout;
    assert!(!logs.contains("in the dialog of"), "{logs}");
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn a_failed_turn_of_opencode_shows_the_reason() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "be broken"]).await;
    until_logged(rig, "the model is broken").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "use the unknown model"]).await;
    until_logged(rig, "the model does not exist").await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.unread, 1, "the prompt was not taken");
}

#[tokio::test]
async fn a_turn_that_the_user_types_in_opencode_is_followed() {
    if !tmux::is_here() {
        return;
    }
    let team = Team::new(&OPENCODE, "tmux", "");
    let rig = &team.rig;
    let pane = team.pane().await;
    let tmux = rig.tmux();
    tmux.ask(["send-keys", "-t", &pane, "try it", "Enter"])
        .await;
    team.until_asked().await;
    rig.ok(["requests", "allow", "P-1"]).await;
    tmux.until_shown(&pane, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    tmux.ask(["send-keys", "-t", &pane, "endless", "Enter"])
        .await;
    rig.until_member_is("ada", MemberState::Working).await;
    tmux.ask(["send-keys", "-t", &pane, "Escape"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    tmux.ask(["send-keys", "-t", &pane, "ask me", "Enter"])
        .await;
    until_logged(rig, "OpenCode asks you in its own dialog").await;
    rig.until_member_is("ada", MemberState::Working).await;
}

#[tokio::test]
async fn opencode_continues_while_its_interface_is_closed() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    let interface = until("the interface", async || {
        team.fakes("attach").first().copied()
    })
    .await;
    processes::kill(interface).await;
    until_logged(
        rig,
        "the terminal interface of OpenCode has ended and is opened again",
    )
    .await;
    until("another interface", async || {
        let running = team.fakes("attach");
        running.iter().any(|it| *it != interface).then_some(())
    })
    .await;
    rig.ok(["send", "ada", "Go on."]).await;
    until_logged(rig, "During the turn: Message").await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("During the turn: Message").await;
    rig.until_member("ada", |ada| {
        ada.state == MemberState::Idle && ada.restarts == 0
    })
    .await;
}

#[tokio::test]
async fn a_killed_server_of_opencode_is_restarted() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    team.until_asked().await;
    let server = team.fakes("serve");
    processes::kill(server[0]).await;
    until_logged(rig, "opencode has exited: ").await;
    team.until_nothing_asked().await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "crash"]).await;
    until_logged(rig, "opencode has exited: exit 3").await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(2).await;
    rig.ok(["send", "ada", "hang up"]).await;
    until_logged(rig, "its server has closed the stream of events").await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(3).await;
    assert_eq!(team.conversations(), 1);
}

#[tokio::test]
async fn the_team_follows_the_user_to_another_conversation_of_opencode() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    screen.type_in("/new\r").await;
    screen.until("a new conversation").await;
    screen.type_in("hello\r").await;
    screen.until("I have nothing to do").await;
    until("both conversations", async || {
        (team.conversations() == 2).then_some(())
    })
    .await;
    rig.until_member_is("ada", MemberState::Idle).await;
    screen.type_in("endless\r").await;
    rig.until_member_is("ada", MemberState::Working).await;
    screen.type_in("\x1b").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "ping"]).await;
    screen.until("pong with ask").await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.usage.unpriced, 0, "{:?}", ada.usage);
    rig.ok(["send", "ada", "crash"]).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    rig.ok(["send", "ada", "ping again"]).await;
    team.until_pongs(2).await;
    assert_eq!(team.conversations(), 2, "the new one was resumed");
}

#[tokio::test]
async fn an_edit_of_opencode_is_shown_with_its_difference() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "edit it"]).await;
    team.until_asked().await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("+edited"), "{request}");
    assert_eq!(rig.read("edited.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    until_logged(rig, "it is edited").await;
    assert_eq!(rig.read("edited.txt").as_deref(), Some("edited\n"));
}

#[tokio::test]
async fn a_tool_of_another_server_of_opencode_asks_with_its_arguments() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "use a tool"]).await;
    team.until_asked().await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("other_send"), "{request}");
    assert!(request.contains("\"to\""), "{request}");
    rig.ok(["requests", "allow", "P-1"]).await;
    until_logged(rig, "the tool ran").await;
}

#[tokio::test]
async fn a_helper_of_opencode_asks_for_its_member() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "use a helper"]).await;
    team.until_asked().await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    until_logged(rig, "the helper ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(
        team.conversations(),
        1,
        "the member stays in its conversation"
    );
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_of_opencode_and_its_dialog() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    rig.ok(["send", "ada", "try it"]).await;
    team.until_asked().await;
    let interrupt = OneMember {
        member: "ada".parse().expect("a name"),
    };
    rig.ask::<MemberInterrupt>(interrupt.clone()).await;
    team.until_nothing_asked().await;
    screen.until("The dialog is closed").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "endless"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    rig.ask::<MemberInterrupt>(interrupt).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.restarts, 0, "{ada:?}");
}

#[tokio::test]
async fn an_unusable_opencode_holds_its_member() {
    for (env, why) in [
        (
            "FAKE_OPENCODE_VERSION = \"1.0.0\", ",
            "version 1.0.0 is too old",
        ),
        (
            "FAKE_OPENCODE_PASSWORD = \"another\", ",
            "its server refuses the password (401)",
        ),
        (
            "FAKE_OPENCODE_ADDRESS = \"http://192.0.2.1:4096\", ",
            "its server listens at http://192.0.2.1:4096, which is not this machine",
        ),
        (
            "FAKE_OPENCODE_RULES = \"none\", ",
            "it does not accept that it asks about each call",
        ),
    ] {
        let team = Team::with(&OPENCODE, "headless", env, "");
        let rig = &team.rig;
        rig.ok(["up", "--detach"]).await;
        let ada = rig.until_member_is("ada", MemberState::Held).await;
        assert!(ada.why.contains(why), "{}", ada.why);
        rig.ok(["down"]).await;
        assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
    }
}

#[tokio::test]
async fn unknown_events_of_opencode_hold_its_member() {
    let env = "FAKE_OPENCODE_EVENTS = \"v9\", ";
    let team = Team::with(&OPENCODE, "headless", env, "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    assert!(
        ada.why.contains("another version may have other events"),
        "{}",
        ada.why
    );
}

#[tokio::test]
async fn an_agent_that_allows_its_own_call_is_held() {
    let team = Team::new(&OPENCODE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it and allow itself"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    let why = "a program has allowed a call of the agent at the server of OpenCode";
    assert!(ada.why.contains(why), "{}", ada.why);
}
