//! Stop requests: a working member may object, and the caller receives the reason.

use std::time::{Duration, Instant};

use agent_team_protocol::view::{MemberState, MemberView};
use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use serde_json::json;

use crate::agents::rig;

/// A call that waits for permission, so that the member is in the middle of a turn.
fn blocked_call() -> Reply {
    Reply::call("bash", json!({ "command": "make" }))
}

fn objection() -> Reply {
    Reply::call(
        "answer_shutdown",
        json!({ "objection": "half of it is written" }),
    )
}

fn agreement() -> Reply {
    Reply::call("answer_shutdown", json!({}))
}

fn asks(member: &MemberView) -> bool {
    member.requests > 0
}

async fn team(lead: Vec<Reply>, ada: Vec<Reply>) -> (FakeModelServer, Rig) {
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    rig.until_member("ada", asks).await;
    (server, rig)
}

#[tokio::test]
async fn an_objection_refuses_a_stop_and_agreement_allows_it() {
    let ada = vec![
        blocked_call(),
        objection(),
        blocked_call(),
        agreement(),
        Reply::text("Bye."),
    ];
    let (_server, rig) = team(vec![Reply::text("I see.")], ada).await;
    let refused = rig.refused(4, ["stop", "ada"]).await;
    assert_eq!(refused["code"], "objected");
    let message = refused["message"].as_str().expect("a message");
    assert_eq!(message, "ada objects: half of it is written");
    let hint = refused["hint"].as_str().expect("a hint");
    assert!(hint.contains("stop ada --force"), "{hint}");
    // The member continues, and its state includes the objection.
    let ada = rig.until_member("ada", asks).await;
    assert_eq!(ada.state, MemberState::Waiting);
    assert!(ada.why.contains("half of it is written"), "{}", ada.why);

    rig.ok(["stop", "ada"]).await;
    assert_eq!(rig.member("ada").await.state, MemberState::Stopped);
}

#[tokio::test]
async fn force_stops_without_asking_the_member() {
    let ada = vec![blocked_call(), objection(), Reply::text("No.")];
    let (server, rig) = team(vec![Reply::text("I see.")], ada).await;
    rig.ok(["stop", "ada", "--force"]).await;
    assert_eq!(rig.member("ada").await.state, MemberState::Stopped);
    let asked = server.requests();
    let asked = asked.iter().filter(|asked| asked.model() == "ada");
    assert_eq!(asked.count(), 1);
}

#[tokio::test]
async fn the_lead_receives_the_objection_of_a_teammate() {
    let stop = Reply::call("stop_teammate", json!({ "name": "ada" }));
    let ada = vec![blocked_call(), objection(), blocked_call()];
    let (server, rig) = team(vec![stop, Reply::text("I see.")], ada).await;
    rig.ok(["send", "lead", "End ada"]).await;
    server.until_asked("lead", 2).await;
    let asked = server.requests();
    let last = asked.iter().rev().find(|asked| asked.model() == "lead");
    let results = last.expect("the model was called").results();
    let text = &results.first().expect("a result").1;
    assert!(
        text.contains("Refused (objected): ada objects: half of it is written"),
        "{text}"
    );
    rig.until_member("ada", asks).await;
}

#[tokio::test]
async fn a_waiting_member_exits_at_once() {
    let waits = Reply::call("wait", json!({ "for": "messages" }));
    let (_server, rig) = team(vec![waits], vec![blocked_call()]).await;
    rig.ok(["send", "lead", "Wait for ada"]).await;
    rig.until_member("lead", |lead| lead.waiting.is_some())
        .await;
    rig.ok(["ps"]).await.assert_prints("waiting (messages)");
    let before = Instant::now();
    rig.ok(["down"]).await;
    let took = before.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "less than half of the grace period: {took:?}"
    );
}
