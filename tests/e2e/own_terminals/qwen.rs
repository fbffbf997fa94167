//! Qwen Code in its own terminal interface, beside its dual output and its hooks.

use agent_team_protocol::view::MemberState;
use agent_team_tests::until;

use super::agents::{QWEN, Team};
use crate::external::until_logged;

#[tokio::test]
async fn a_call_that_qwen_does_not_ask_about_is_a_request() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "unasked"]).await;
    team.until_asked().await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["requests", "deny", "P-1", "--reason", "not today"])
        .await;
    until_logged(rig, "not today").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["send", "ada", "unasked"]).await;
    team.until_asked().await;
    rig.ok(["requests", "allow", "P-2"]).await;
    until_logged(rig, "it ran").await;
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
}

#[tokio::test]
async fn a_rule_decides_about_a_call_that_qwen_does_not_ask_about() {
    let rules = "[permissions]\ndeny = [\"Bash(echo made:*)\"]\n";
    let team = Team::new(&QWEN, "headless", rules);
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    for text in ["unasked", "unasked helper"] {
        rig.ok(["send", "ada", text]).await;
        let logs = until_logged(rig, "denied: Not permitted").await;
        assert!(!logs.contains("waits for permission"), "{logs}");
        rig.until_member_is("ada", MemberState::Idle).await;
    }
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn a_helper_of_qwen_waits_for_a_decision() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "use a helper"]).await;
    team.until_asked().await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    until_logged(rig, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
    rig.ok(["send", "ada", "use an unasked helper"]).await;
    until_logged(rig, "no rule of agent-team allows this call of a helper").await;
}

#[tokio::test]
async fn a_denial_of_one_of_two_calls_of_qwen_keeps_the_turn() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try both"]).await;
    rig.until_member("ada", |ada| ada.requests == 2).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "not today"])
        .await;
    rig.ok(["requests", "allow", "P-2"]).await;
    let logs = until_logged(rig, "During the turn: From agent-team: Your call").await;
    assert!(logs.contains("not today"), "{logs}");
    assert!(!logs.contains("in the dialog of"), "{logs}");
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_message_joins_the_results_of_a_call_of_qwen() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "one step"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    rig.ok(["send", "ada", "Use the other file."]).await;
    until_logged(rig, "During the turn: From agent-team: Message").await;
    rig.until_member("ada", |ada| {
        ada.unread == 0 && ada.state == MemberState::Idle
    })
    .await;
}

#[tokio::test]
async fn a_message_that_returns_to_the_prompt_line_is_sent_again() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    rig.ok(["send", "ada", "endless"]).await;
    screen.until("I never end").await;
    rig.ok(["send", "ada", "ping"]).await;
    // The fake reads the message before the key.
    until("the message in the input of the fake", async || {
        let files = team.files();
        let files = files.iter().map(|path| path.join("input"));
        let mut texts = files.filter_map(|path| std::fs::read_to_string(path).ok());
        texts.any(|text| text.contains("ping")).then_some(())
    })
    .await;
    screen.type_in("\x1b").await;
    screen.until("Request cancelled").await;
    team.until_pongs(1).await;
    rig.until_member("ada", |ada| {
        ada.unread == 0 && ada.state == MemberState::Idle
    })
    .await;
}

#[tokio::test]
async fn a_hook_of_qwen_that_cannot_reach_the_worker_blocks_the_call() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    rig.ok(["send", "ada", "unreachable"]).await;
    screen.until("blocked: agent-team cannot decide").await;
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn an_edit_of_qwen_is_shown_with_its_difference() {
    let team = Team::new(&QWEN, "headless", "");
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
async fn a_question_of_qwen_is_answered_in_its_pane() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    rig.ok(["send", "ada", "ask me"]).await;
    until_logged(rig, "Qwen Code asks you in its own dialog").await;
    assert_eq!(rig.member("ada").await.requests, 0);
    screen.type_in("1").await;
    screen.until("you have answered").await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn the_conversation_of_qwen_after_a_clear_is_resumed() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("pong").await;
    screen.type_in("/clear\r").await;
    screen.until("cleared").await;
    rig.ok(["send", "ada", "ping in the new session"]).await;
    team.until_pongs(2).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "crash"]).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    until("the program with the new session", async || {
        let resumed = team.fakes("--resume cleared-");
        (!resumed.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn qwen_without_its_output_is_restarted() {
    let team = Team::new(&QWEN, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "hang up"]).await;
    until_logged(rig, "Qwen Code has closed its event pipe").await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    assert_eq!(team.conversations(), 1);
}

#[tokio::test]
async fn an_unusable_qwen_holds_its_member() {
    for (env, why) in [
        ("FAKE_QWEN_VERSION=0.1.0", "version 0.1.0 is too old"),
        (
            "FAKE_QWEN_EXIT=Invalid API key",
            "cannot use qwen: exit 1: Invalid API key",
        ),
        (
            "QWEN_CODE_SYSTEM_DEFAULTS_PATH=/dev/null",
            "cannot add hooks to /dev/null",
        ),
    ] {
        let team = Team::new(&QWEN, "headless", "");
        let rig = &team.rig;
        rig.ok(["up", "--detach", "--env", env]).await;
        let ada = rig.until_member_is("ada", MemberState::Held).await;
        assert!(ada.why.contains(why), "{}", ada.why);
        rig.ok(["down"]).await;
        assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
    }
}
