//! Messages: sent, listed, and read by their recipient exactly once.

use agent_team_protocol::view::MessageState;
use agent_team_tests::{Rig, until};
use serde_json::Value;

use crate::teams::{headless, task};

async fn messages(rig: &Rig) -> Vec<Value> {
    let messages = rig.json(["messages"]).await;
    messages["messages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_message_is_logged_once_and_counts_as_read() {
    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    rig.run(["send", "ada", "look", "at", "T-3"])
        .await
        .expect(0)
        .assert_prints("ada");
    until("the message to be read", async || {
        let messages = messages(&rig).await;
        (messages[0]["state"] == "read").then_some(())
    })
    .await;
    let message = &messages(&rig).await[0];
    assert_eq!(message["text"], "look at T-3");
    assert_eq!(message["from"], "user");
    assert_eq!(message["to"], "ada");
    assert!(message["at"].as_u64().unwrap() > 0);
    let log = rig.ok(["logs", "ada"]).await.stdout;
    assert_eq!(log.matches("look at T-3").count(), 1, "{log}");
    assert!(!rig.ok(["logs", "bob"]).await.stdout.contains("T-3"));
    assert_eq!(rig.member("ada").await.unread, 0);
}

#[tokio::test]
async fn send_reports_that_a_recipient_reads_later() {
    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    let sent = rig.ok(["send", "ada", "hello"]).await.stdout;
    assert!(!sent.contains("stored"), "{sent}");
    rig.ok(["stop", "ada"]).await;
    rig.ok(["send", "ada", "hello"])
        .await
        .assert_prints("ada is stopped: the message is stored")
        .assert_prints("agent-team restart ada");
    rig.ok(["down"]).await;
    rig.ok(["send", "bob", "hello"]).await.assert_prints(
        "the team is down: the message is stored, and delivered after agent-team up",
    );
    rig.ok(["up"]).await;
    until("bob to read the message", async || {
        let messages = messages(&rig).await;
        (messages.last()?["state"] == "read").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_to_all_skips_stopped_members() {
    let rig = headless(&["ada", "bob", "cyd"], "");
    rig.ok(["up"]).await;
    rig.ok(["stop", "cyd"]).await;
    let sent = rig.json(["send", "all", "good morning"]).await;
    assert_eq!(sent["to"].to_string(), "[\"ada\",\"bob\"]");
    until("both members to read the message", async || {
        let messages = messages(&rig).await;
        let read = messages.iter().filter(|message| message["state"] == "read");
        (read.count() == 2).then_some(())
    })
    .await;
    let of_bob = rig.json(["messages", "bob"]).await;
    assert_eq!(of_bob["messages"].as_array().unwrap().len(), 1);
    rig.run(["messages", "bob"])
        .await
        .expect(0)
        .assert_prints("good morning");
}

#[tokio::test]
async fn a_message_is_read_while_a_long_task_runs() {
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.ok(["up"]).await;
    rig.ok(["send", "ada", "hurry", "--urgent"]).await;
    let read = until("the message to be read", async || {
        messages(&rig)
            .await
            .into_iter()
            .find(|message| message["state"] == "read")
    })
    .await;
    assert_eq!(read["urgent"], true);
}

#[tokio::test]
async fn a_waiting_message_reaches_the_members_next_launch() {
    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    rig.ok(["stop", "ada"]).await;
    rig.ok(["send", "ada", "when you are back"]).await;
    assert_eq!(messages(&rig).await[0]["state"], "accepted");
    assert_eq!(rig.member("ada").await.unread, 1);
    rig.ok(["restart", "ada"]).await;
    until("the message to be read", async || {
        let messages = messages(&rig).await;
        (messages[0]["state"] == "read").then_some(())
    })
    .await;
    rig.run(["logs", "ada"])
        .await
        .expect(0)
        .assert_prints("when you are back");
}

#[tokio::test]
async fn a_long_message_from_stdin_is_complete() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let text: String = (0..2_000).map(|line| format!("line {line}\n")).collect();
    rig.run_with(["send", "ada", "-"], &text).await.expect(0);
    let message = &messages(&rig).await[0];
    assert_eq!(
        message["text"].as_str().map(str::trim_end),
        Some(text.trim_end())
    );
    assert_ne!(
        serde_json::from_value::<MessageState>(message["state"].clone()).unwrap(),
        MessageState::Unknown
    );
}

#[tokio::test]
async fn an_answer_names_the_message_that_it_answers() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok(["send", "ada", "ready?"]).await;
    rig.ok(["send", "ada", "--reply-to", "M-1", "yes,", "you"])
        .await;
    let messages = rig.json(["messages"]).await;
    assert_eq!(messages["messages"][1]["reply_to"], "M-1");
    assert_eq!(messages["messages"][0]["reply_to"], serde_json::Value::Null);
    rig.ok(["messages"]).await.assert_prints("in reply to M-1");
    let refused = rig
        .refused(3, ["send", "ada", "--reply-to", "M-9", "to what?"])
        .await;
    assert_eq!(refused["code"], "unknown_message");
}
