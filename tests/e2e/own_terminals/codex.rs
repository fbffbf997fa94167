//! Codex in its own terminal interface, beside its app-server.

use std::path::Path;

use agent_team_protocol::view::MemberState;
use agent_team_tests::{tmux, until};

use super::agents::{CODEX, Team};
use crate::external::until_logged;

#[tokio::test]
async fn codex_continues_while_its_interface_is_closed() {
    if !tmux::is_here() {
        return;
    }
    let team = Team::new(&CODEX, "tmux", "");
    let rig = &team.rig;
    let pane = team.pane().await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    tmux.ask(["send-keys", "-t", &pane, "/quit", "Enter"]).await;
    until_logged(
        rig,
        "the terminal interface of Codex has ended and is opened again",
    )
    .await;
    rig.ok(["send", "ada", "Go on."]).await;
    until_logged(rig, "During the turn: Message").await;
    tmux.until_shown(&pane, "During the turn: Message").await;
    rig.until_member("ada", |ada| {
        ada.state == MemberState::Idle && ada.restarts == 0
    })
    .await;
}

#[tokio::test]
async fn the_team_follows_the_user_to_a_new_conversation() {
    let team = Team::new(&CODEX, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    screen.type_in("/new\r").await;
    screen.until("a new conversation").await;
    until("both conversations", async || {
        (team.conversations() == 2).then_some(())
    })
    .await;
    rig.ok(["send", "ada", "ping"]).await;
    screen.until("pong with readOnly, on-request").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "crash"]).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    rig.ok(["send", "ada", "ping again"]).await;
    until("the answer after the restart", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches("pong").count() == 2).then_some(())
    })
    .await;
    assert_eq!(team.conversations(), 2, "the new one was resumed");
}

#[tokio::test]
async fn the_team_follows_the_user_to_an_earlier_conversation() {
    let team = Team::new(&CODEX, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let file = |is_first: bool, first: &Path| {
        let mut files = team.conversation_files().into_iter();
        files.find(|file| (file == first) == is_first)
    };
    let pongs = async |file: &Path, count: usize| {
        until("the answers in the conversation", async || {
            let text = std::fs::read_to_string(file).expect("a conversation");
            (text.matches("pong").count() == count).then_some(())
        })
        .await;
        rig.until_member_is("ada", MemberState::Idle).await;
    };
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    let first = team.conversation_files().remove(0);
    screen.type_in("/new\r").await;
    screen.until("a new conversation").await;
    let second = until("a second file", async || file(false, &first)).await;
    rig.ok(["send", "ada", "ping"]).await;
    pongs(&second, 1).await;
    rig.ok(["send", "ada", "crash"]).await;
    rig.until_member("ada", |ada| {
        ada.restarts > 0 && ada.state == MemberState::Idle
    })
    .await;

    // The server loads the conversation.
    let id = |file: &Path| file.file_stem().expect("a name").display().to_string();
    let resume = |file: &Path| format!("/resume {}\r", id(file));
    let followed = |file: &Path| format!("follows the user to the conversation {}", id(file));
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    screen.type_in(&resume(&first)).await;
    until_logged(rig, &followed(&first)).await;
    let text = std::fs::read_to_string(&first).expect("a conversation");
    assert_eq!(
        text.matches("injected").count(),
        2,
        "the conversation contains the rules"
    );
    rig.ok(["send", "ada", "ping"]).await;
    pongs(&first, 1).await;

    // The conversation is loaded already, so only a turn shows that the user has returned.
    screen.type_in(&resume(&second)).await;
    screen.type_in("ping\r").await;
    pongs(&second, 2).await;
    until("the team to follow", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches(&followed(&second)).count() == 2).then_some(())
    })
    .await;
    rig.ok(["send", "ada", "ping"]).await;
    pongs(&second, 3).await;
    let text = std::fs::read_to_string(&second).expect("a conversation");
    assert_eq!(
        text.matches("injected").count(),
        1,
        "the conversation contains the rules"
    );
}

#[tokio::test]
async fn changed_permissions_of_codex_are_set_back() {
    let team = Team::new(&CODEX, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    screen.type_in("/full-access\r").await;
    until_logged(rig, "they are set back to read-only, on-request").await;
    screen.type_in("ping\r").await;
    screen.until("pong with readOnly, on-request").await;
}

#[tokio::test]
async fn an_edit_of_codex_is_shown_with_its_difference() {
    let team = Team::new(&CODEX, "headless", "");
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
async fn a_tool_of_another_server_asks_with_its_arguments() {
    let team = Team::new(&CODEX, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "use a tool"]).await;
    team.until_asked().await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("other.send"), "{request}");
    assert!(request.contains("\"to\""), "{request}");
    rig.ok(["requests", "deny", "P-1"]).await;
    until_logged(rig, "the tool was rejected").await;
    rig.ok(["send", "ada", "use a tool"]).await;
    team.until_asked().await;
    rig.ok(["requests", "allow", "P-2"]).await;
    until_logged(rig, "the tool ran").await;
}

#[tokio::test]
async fn an_unusable_codex_holds_its_member() {
    for (env, why) in [
        (
            "FAKE_CODEX_VERSION = \"0.150.0\", ",
            "version 0.150.0 is too old",
        ),
        (
            "FAKE_CODEX_LOGIN = \"1\", ",
            "codex needs a login; log in with: codex login",
        ),
        (
            "FAKE_CODEX_NO_SERVER = \"1\", ",
            "unrecognized subcommand 'app-server'; set engine = \"codex-acp\", which needs the program codex-acp",
        ),
        (
            "FAKE_CODEX_OTHER_PROTOCOL = \"1\", ",
            "the fake does not know account/read; set engine = \"codex-acp\" to use codex-acp instead",
        ),
        (
            "FAKE_CODEX_HANG_UP = \"1\", ",
            "its app-server does not start: ",
        ),
        (
            "FAKE_CODEX_POLICY = \"never\", ",
            "it does not accept the settings read-only, on-request and user",
        ),
    ] {
        let team = Team::with(&CODEX, "headless", env, "");
        let rig = &team.rig;
        rig.ok(["up", "--detach"]).await;
        let ada = rig.until_member_is("ada", MemberState::Held).await;
        assert!(ada.why.contains(why), "{}", ada.why);
        rig.ok(["down"]).await;
    }
}
