//! The transcript of an agent in its pane: its text in the terminal's scrollback, and a prompt for the user.

use std::os::unix::fs::PermissionsExt;

use agent_team_protocol::view::MemberState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::tmux::{self, Tmux};
use agent_team_tests::{Rig, until};
use serde_json::json;

use crate::agents::rig_with_requests;

/// Starts a team in tmux; ada's model returns these replies. The last value is ada's pane.
pub(crate) async fn team(replies: Vec<Reply>) -> (FakeModelServer, Rig, Tmux, String) {
    let lead = ("lead", vec![Reply::text("I see.")]);
    let ben = ("ben", vec![Reply::text("I stay.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies), ben])).await;
    let rig = rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    // No other member sends ben a message.
    let ben = "[[member]]\nname = \"ben\"\nengine = \"native\"\nmodel = \"openai/ben\"\n";
    rig.set_team(&(file.replace("headless", "tmux") + ben));
    rig.ok(["up", "--detach"]).await;
    let tmux = rig.tmux();
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    let pane = ada.pane.expect("a pane");
    tmux.until_shown(&pane, "ada ▸").await;
    (server, rig, tmux, pane)
}

/// Types text, and then keys by tmux's names.
pub(crate) async fn type_in<const N: usize>(tmux: &Tmux, pane: &str, text: &str, keys: [&str; N]) {
    tmux.ask(["send-keys", "-t", pane, "-l", text]).await;
    for key in keys {
        tmux.ask(["send-keys", "-t", pane, key]).await;
    }
}

/// The messages that the user has sent to ada so far.
async fn sent(rig: &Rig) -> Vec<String> {
    let messages = rig.json(["messages", "ada"]).await;
    let messages = messages["messages"].as_array().expect("a list").clone();
    let text = |message: &serde_json::Value| {
        let text = message["text"]
            .as_str()
            .filter(|_| message["from"] == "user");
        text.map(str::to_owned)
    };
    messages.iter().filter_map(text).collect()
}

#[tokio::test]
async fn markdown_is_rendered_and_stays_in_the_scrollback() {
    if !tmux::is_here() {
        return;
    }
    let lines: String = (0..80).map(|line| format!("- item **{line}**\n")).collect();
    let answer = format!("# Found\nIt is *here*:\n\n{lines}\n```rust\nfn a() {{}}\n```\nDone.");
    let (_server, _rig, tmux, pane) = team(vec![Reply::text(&answer)]).await;
    type_in(&tmux, &pane, "Look", ["Enter"]).await;
    let shown = tmux.until_shown(&pane, "Done.").await;
    let all = [
        "# Found",
        "It is here:",
        "• item 0",
        "• item 79",
        "  fn a() {}",
    ];
    let mut rest = shown.as_str();
    for part in all {
        let at = rest.find(part);
        rest = &rest[at.unwrap_or_else(|| panic!("{part:?} is not in {shown}"))..];
    }
    assert_eq!(shown.matches("• item ").count(), 80, "each once: {shown}");
    assert!(
        !shown.contains("thinking"),
        "the progress sign is removed: {shown}"
    );
    // After narrowing and widening, no text is lost and there is one prompt.
    tmux.ask(["resize-window", "-t", &pane, "-x", "60", "-y", "20"])
        .await;
    tmux.ask(["resize-window", "-t", &pane, "-x", "180", "-y", "40"])
        .await;
    type_in(&tmux, &pane, "more", []).await;
    let shown = tmux.until_shown(&pane, "ada ▸ more").await;
    assert_eq!(shown.matches("ada ▸").count(), 1, "{shown}");
    assert_eq!(shown.matches("• item ").count(), 80, "{shown}");
}

#[tokio::test]
async fn several_lines_are_one_message_and_a_paste_waits_for_enter() {
    if !tmux::is_here() {
        return;
    }
    let (_server, rig, tmux, pane) = team(vec![Reply::text("Yes.")]).await;
    type_in(&tmux, &pane, "first", ["M-Enter"]).await;
    type_in(&tmux, &pane, "second\\", ["Enter"]).await;
    type_in(&tmux, &pane, "third", ["Enter"]).await;
    until("one message", async || {
        (sent(&rig).await == ["first\nsecond\nthird"]).then_some(())
    })
    .await;
    tmux.ask(["set-buffer", "pasted\nin two lines\n"]).await;
    tmux.ask(["paste-buffer", "-p", "-t", &pane]).await;
    tmux.until_shown(&pane, "in two lines").await;
    assert_eq!(sent(&rig).await.len(), 1);
    type_in(&tmux, &pane, "and more", ["Enter"]).await;
    until("the second message", async || {
        let sent = sent(&rig).await;
        sent.contains(&"pasted\nin two lines\nand more".to_owned())
            .then_some(())
    })
    .await;

    // A new process restores the history of typed lines, and no other user can read the stored history.
    let process = async || {
        let asked = ["display-message", "-p", "-t", &pane, "#{pane_pid}"];
        tmux.ask(asked).await
    };
    let before = process().await;
    rig.ok(["restart", "ada"]).await;
    until("the prompt of another process", async || {
        let another = process().await != before;
        let shown = tmux.capture(&pane).await;
        (another && shown.trim_end().ends_with("ada ▸")).then_some(())
    })
    .await;
    tmux.ask(["send-keys", "-t", &pane, "Up"]).await;
    until("the last line of the history", async || {
        let shown = tmux.capture(&pane).await;
        shown.trim_end().ends_with("and more").then_some(())
    })
    .await;
    let teams = std::fs::read_dir(rig.directories().teams()).expect("there is a team");
    let typed = teams.map(|team| team.expect("a directory").path().join("typed"));
    let typed = typed
        .filter_map(|typed| std::fs::metadata(typed).ok())
        .next();
    let mode = typed
        .expect("the typed lines are stored")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn verbs_can_be_typed_with_a_slash() {
    if !tmux::is_here() {
        return;
    }
    let (_server, rig, tmux, pane) = team(vec![Reply::text("Yes.")]).await;
    type_in(
        &tmux,
        &pane,
        "/task add \"Mend what's broken\" --for zoe",
        ["Enter"],
    )
    .await;
    tmux.until_shown(&pane, "there is no member called zoe")
        .await;
    type_in(&tmux, &pane, "/task add Mend the parser", ["Enter"]).await;
    tmux.until_shown(&pane, "T-1 added").await;
    let listed = rig.json(["task", "list"]).await;
    assert_eq!(listed["tasks"][0]["title"], "Mend the parser");
    let title = "Write down ".repeat(20);
    rig.ok(["task", "add", &title]).await;
    type_in(&tmux, &pane, "/task list", ["Enter"]).await;
    until("a table that fits the pane", async || {
        let shown = tmux.capture(&pane).await;
        let mut head = shown.lines().filter(|line| line.contains("TITLE"));
        head.any(|line| line.trim_end().ends_with("RESULT"))
            .then_some(())
    })
    .await;
    type_in(&tmux, &pane, "/send lead it's mended", ["Enter"]).await;
    tmux.until_shown(&pane, "sent M-").await;
    type_in(&tmux, &pane, "/tsk", ["Enter"]).await;
    tmux.until_shown(&pane, "unknown command /tsk; did you mean /task?")
        .await;
    assert!(!sent(&rig).await.iter().any(|text| text.starts_with('/')));
}

#[tokio::test]
async fn a_request_waits_until_typing_is_finished() {
    if !tmux::is_here() {
        return;
    }
    let bash = Reply::call("bash", json!({ "command": "echo ran >> ran.txt" }));
    let (_server, rig, tmux, pane) = team(vec![bash, Reply::text("Done.")]).await;
    type_in(&tmux, &pane, "I sa", []).await;
    rig.ok(["send", "ada", "Go on"]).await;
    tmux.until_shown(&pane, "send or clear (^C) your text")
        .await;
    type_in(&tmux, &pane, "y", []).await;
    tmux.until_shown(&pane, "ada ▸ I say").await;
    assert_eq!(rig.read("ran.txt"), None);
    tmux.ask(["send-keys", "-t", &pane, "C-c"]).await;
    tmux.until_read(&pane, "[y] once").await;
    assert_eq!(
        rig.json(["requests"]).await["requests"][0]["state"],
        "pending"
    );
}

#[tokio::test]
async fn agent_text_changes_nothing_outside_its_pane() {
    const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}]2;owned\u{1b}\\\u{1b}kowned\u{1b}\\\u{1b}]52;c;b3duZWQ=\u{7}\
         \u{1b}Ptmux;\u{1b}\u{1b}]52;c;b3duZWQ=\u{7}\u{1b}\\\u{1b}[2J\u{1b}[1;1Howned\u{1b}[?1049h\u{1b}c\u{9b}2J\
         \u{1b}]8;;http://owned\u{7}link\u{1b}]8;;\u{7}\r\u{8}\u{202e}denwo\u{200b} 名\u{301}\u{301} #(touch owned)";
    if !tmux::is_here() {
        return;
    }
    let markdown = format!(
        "# {HOSTILE}\n\n[{HOSTILE}]({HOSTILE})\n\n```{HOSTILE}\n{HOSTILE}\n```\n\n| {HOSTILE} | b |\n|---|---|\n| {HOSTILE} | {} |\n\nThe end.",
        "x".repeat(20_000)
    );
    let tool = Reply::call("read", json!({ "path": HOSTILE }));
    let (_server, rig, tmux, pane) =
        team(vec![Reply::text(&markdown), tool, Reply::text("All said.")]).await;
    const STATE: &str =
        "#{pane_title}|#{window_name}|#{session_name}|#{alternate_on}|#{pane_width}x#{pane_height}";
    let neighbour = rig
        .until_member_is("ben", MemberState::Idle)
        .await
        .pane
        .expect("a pane");
    let options = ["show-options", "-g"];
    rig.ok(["send", "ben", "Stay"]).await;
    until("the neighbour's final screen", async || {
        let shown = tmux.capture(&neighbour).await;
        (shown.contains("I stay.") && !shown.contains("thinking")).then_some(())
    })
    .await;
    let seen = async || {
        let panes = tmux.panes(STATE).await;
        [
            panes.join("\n"),
            tmux.capture(&neighbour).await,
            tmux.ask(options).await,
        ]
    };
    let before = seen().await;
    type_in(&tmux, &pane, "Go", ["Enter"]).await;
    tmux.until_shown(&pane, "The end.").await;
    rig.run_with(["send", "ada", "-"], HOSTILE).await.expect(0);
    tmux.until_shown(&pane, "All said.").await;
    for (before, after) in before.iter().zip(&seen().await) {
        assert_eq!(before, after);
    }
    assert_eq!(
        tmux.ask(["list-buffers"]).await,
        "",
        "the clipboard is unchanged"
    );
    assert_eq!(rig.read("owned"), None);
}
