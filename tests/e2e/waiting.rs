//! Verbs that wait for a task or a reply, and fields of tasks, messages and spawned members.

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use serde_json::json;

use crate::agents::{rig, rig_with_requests};

fn commands() -> Rig {
    Rig::with_team(
        "name = \"demo\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\nengine = \"command\"\n",
    )
}

#[tokio::test]
async fn task_wait_ends_with_the_task() {
    let rig = commands();
    rig.ok(["up", "--detach"]).await;
    let status = std::process::Command::new("mkfifo")
        .arg(rig.project().join("gate"))
        .status();
    assert!(status.expect("mkfifo runs").success());
    rig.ok(["task", "add", "Gate", "--run", "cat gate"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;

    let timeout = rig
        .refused(1, ["task", "wait", "T-1", "--timeout", "1"])
        .await;
    assert_eq!(timeout["code"], "timeout");
    let mut waiting = rig.start(["task", "wait", "T-1", "--json"]);
    std::fs::write(rig.project().join("gate"), "through\n").expect("the gate opens");
    assert_eq!(waiting.wait().await.code(), Some(0));

    rig.ok(["task", "add", "Fail", "--run", "exit 3"]).await;
    let failed = rig.run(["task", "wait", "T-2"]).await.expect(1);
    assert!(failed.stdout.contains("T-2"), "{}", failed.stdout);
    rig.refused(3, ["task", "wait", "T-9"]).await;
}

#[tokio::test]
async fn send_wait_prints_the_reply() {
    let lead = vec![
        Reply::call(
            "send_message",
            json!({"to": "user", "text": "I look it up."}),
        ),
        Reply::call(
            "send_message",
            json!({"to": "user", "text": "It is 42.", "reply_to": "M-1", "summary": "the answer"}),
        ),
        Reply::text("Answered."),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach"]).await;
    let output = rig
        .ok(["send", "lead", "What is it?", "--wait", "--timeout", "60"])
        .await;
    assert_eq!(output.stdout, "It is 42.\n");
    let asked = server.requests();
    assert!(
        asked[0].last_input().contains("reply_to M-1"),
        "the model is informed that a reply is wanted: {}",
        asked[0].last_input()
    );
    let hinted = &asked[1].results()[0].1;
    assert!(hinted.contains("count as the reply to M-1"), "{hinted}");
    let list = rig.json(["messages"]).await;
    assert_eq!(
        list["messages"][1]["state"], "delivered",
        "this message was not printed"
    );
    let reply = &list["messages"][2];
    assert_eq!(reply["summary"], "the answer");
    assert_eq!(reply["state"], "read", "the reply was printed");
    rig.ok(["messages"]).await.assert_prints("the answer");
    let usage = rig.refused(2, ["send", "all", "hello", "--wait"]).await;
    assert_eq!(usage["code"], "invalid");
}

#[tokio::test]
async fn send_wait_ends_at_once_for_a_stopped_member() {
    let server = FakeModelServer::start(by_model([("lead", Vec::new())])).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["stop", "lead"]).await;
    // The call has no `--timeout`, so only the state of the member ends the wait.
    let error = rig.refused(1, ["send", "lead", "hello", "--wait"]).await;
    assert_eq!(error["code"], "member_ended", "{error}");
}

#[tokio::test]
async fn send_wait_refuses_members_that_send_no_replies() {
    let rig = commands();
    rig.ok(["up", "--detach"]).await;
    let usage = rig.refused(2, ["send", "ada", "hello", "--wait"]).await;
    let message = usage["message"].as_str().expect("a text");
    assert!(message.contains("sends no replies"), "{message}");
    let unknown = rig.refused(3, ["send", "adaa", "hello", "--wait"]).await;
    assert_eq!(unknown["hint"], "did you mean `ada`?");
}

#[tokio::test]
async fn tasks_carry_metadata_and_an_active_form() {
    let rig = commands();
    rig.ok(["up", "--detach"]).await;
    let fields = [
        "--metadata",
        "{\"ticket\": 17}",
        "--active-form",
        "Adding the tests",
    ];
    let mut add = rig.command(&["task", "add", "Add the tests", "--role", "reviewer"]);
    let added = add.args(fields).output().await.expect("the program runs");
    assert!(added.status.success(), "{added:?}");
    let task = rig.json(["task", "show", "T-1"]).await;
    assert_eq!(task["metadata"], json!({"ticket": 17}));
    assert_eq!(task["active_form"], "Adding the tests");
    rig.ok(["task", "update", "T-1", "--metadata", "{}"]).await;
    rig.ok(["down"]).await;
    rig.ok(["up", "--detach"]).await;
    let task = rig.json(["task", "show", "T-1"]).await;
    assert_eq!(task["metadata"], json!({}), "the new metadata is stored");

    for wrong in ["[1]", "17", "{"] {
        let error = rig
            .refused(2, ["task", "add", "X", "--metadata", wrong])
            .await;
        assert_eq!(error["code"], "invalid", "{wrong}");
    }
    let large = format!("{{\"text\": \"{}\"}}", "x".repeat(32 << 10));
    let error = rig
        .refused(2, ["task", "add", "X", "--metadata", &large])
        .await;
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains("metadata"), "{message}");
}

#[tokio::test]
async fn spawned_members_use_their_directory_model_and_tools() {
    let helper = vec![Reply::text("Ready.")];
    let server =
        FakeModelServer::start(by_model([("lead", Vec::new()), ("helper", helper.clone())])).await;
    let rig = rig(&server);
    rig.write("web/index.html", "<p>\n");
    rig.ok(["up", "--detach"]).await;
    rig.ok([
        "spawn",
        "worker",
        "--name",
        "rita",
        "--model",
        "openai/helper",
        "--cwd",
        "web",
        "--read-only",
    ])
    .await;
    rig.ok(["send", "rita", "Look around"]).await;
    server.until_asked("helper", 1).await;
    let asked = server.requests();
    let asked = asked.iter().find(|asked| asked.model() == "helper");
    let asked = asked.expect("rita asked its model");
    let tools = asked.tools();
    assert!(tools.contains(&"read".to_owned()), "{tools:?}");
    for tool in ["write", "edit", "bash"] {
        assert!(!tools.contains(&tool.to_owned()), "{tool}: {tools:?}");
    }
    assert!(asked.system().contains("/web"), "{}", asked.system());
    let unknown = rig
        .refused(2, ["spawn", "worker", "--tools", "read,hammer"])
        .await;
    assert!(
        unknown["message"]
            .as_str()
            .expect("a text")
            .contains("hammer")
    );
    let nowhere = rig
        .refused(2, ["spawn", "worker", "--cwd", "/does/not/exist"])
        .await;
    assert_eq!(nowhere["code"], "invalid");
}

#[tokio::test]
async fn a_lead_can_give_teammates_only_directories_of_the_project() {
    let lead = vec![
        Reply::call(
            "spawn_teammate",
            json!({"role": "worker", "name": "out", "cwd": "/"}),
        ),
        Reply::call(
            "spawn_teammate",
            json!({"role": "worker", "name": "rita", "cwd": "web", "tools": ["read"]}),
        ),
        Reply::call(
            "create_task",
            json!({"title": "Look", "active_form": "Looking", "metadata": {"ticket": 17}, "for": "ada"}),
        ),
        Reply::call("finish", json!({"answer": "Done.", "force": true})),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", Vec::new())])).await;
    let rig = rig(&server);
    rig.write("web/index.html", "<p>\n");
    rig.ok(["up", "--detach", "Look around"]).await;
    server.until_asked("lead", 4).await;
    let asked = server.requests();
    let of_lead = asked.iter().filter(|asked| asked.model() == "lead");
    let results: Vec<_> = of_lead.flat_map(|asked| asked.results()).collect();
    let text = |at: usize| results[at].1.clone();
    assert!(text(0).contains("outside the project"), "{}", text(0));
    assert!(text(1).starts_with("rita (worker)"), "{}", text(1));
    rig.until_member("rita", |rita| rita.state != MemberState::Launching)
        .await;
    let task = rig.json(["task", "show", "T-1"]).await;
    assert_eq!(task["metadata"], json!({"ticket": 17}));
    assert_eq!(task["active_form"], "Looking");
}
