//! Permissions: a member asks before it runs a command, and does nothing until somebody has decided.

use agent_team_protocol::method::{Nothing, RequestDecide, RequestShow, TeamShow};
use agent_team_protocol::request::{
    DecideRequest, Decision, OneRequest, RequestState, RequestView, Scope,
};
use agent_team_protocol::view::{MemberState, MemberView, Waiting};
use agent_team_protocol::{ErrorCode, RequestId};
use agent_team_system::process::Signal;
use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use serde_json::json;

use crate::agents::rig;

fn bash(command: &str) -> Reply {
    Reply::call("bash", json!({ "command": command }))
}

/// A lead who says nothing, and ada, whose model says this.
async fn team(replies: Vec<Reply>) -> (FakeModelServer, Rig) {
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    (server, rig)
}

fn asks(member: &MemberView) -> bool {
    member.requests > 0
}

async fn request(rig: &Rig, id: u64) -> RequestView {
    let request = RequestId(id);
    rig.ask::<RequestShow>(OneRequest { request }).await
}

#[tokio::test]
async fn a_command_waits_until_it_is_allowed_and_runs_once() {
    let (server, rig) = team(vec![bash("echo ran >> ran.txt"), Reply::text("Done.")]).await;
    let ada = rig.until_member("ada", asks).await;
    assert_eq!(ada.state, MemberState::Waiting);
    assert_eq!(
        ada.waiting,
        Some(Waiting::Permission {
            request: RequestId(1)
        })
    );
    let listed = rig.json(["requests"]).await;
    assert_eq!(listed["requests"][0]["id"], "P-1");
    assert_eq!(
        listed["requests"][0]["input"]["command"],
        "echo ran >> ran.txt"
    );
    let shown = rig.ok(["requests", "show", "P-1"]).await;
    assert!(
        shown.stdout.contains("echo ran >> ran.txt"),
        "{}",
        shown.stdout
    );
    assert_eq!(rig.read("ran.txt"), None);

    rig.ok(["requests", "allow", "P-1"]).await;
    server.asked("ada", 2).await;
    assert_eq!(rig.read("ran.txt").as_deref(), Some("ran\n"));
    rig.until_member_is("ada", MemberState::Idle).await;
    let ended = request(&rig, 1).await;
    assert_eq!(ended.state, RequestState::Ended);
    rig.refused(4, ["requests", "allow", "P-1"]).await;
}

#[tokio::test]
async fn a_denial_reaches_the_model_as_text_and_nothing_runs() {
    let (server, rig) = team(vec![bash("echo ran > ran.txt"), Reply::text("Very well.")]).await;
    rig.until_member("ada", asks).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "use the write tool"])
        .await;
    server.asked("ada", 2).await;
    let requests = server.requests();
    let told = requests.last().expect("it was asked").results();
    assert!(told[0].1.contains("use the write tool"), "{told:?}");
    assert_eq!(rig.read("ran.txt"), None);
}

/// Without one nothing is let pass by a rule, and there is nothing to try.
fn there_is_a_sandbox() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let none = agent_team_system::sandbox::find(&path).err();
    none.inspect(|none| eprintln!("skipped: {none}")).is_none()
}

fn allow_all(rule: &str) -> [&str; 7] {
    ["requests", "allow", "P-1", "--for", "team", "--as", rule]
}

fn waits_for(member: &MemberView, id: u64) -> bool {
    let request = RequestId(id);
    member.waiting == Some(Waiting::Permission { request })
}

#[tokio::test]
async fn a_rule_for_the_team_lets_pass_what_it_covers_as_words() {
    if !there_is_a_sandbox() {
        return;
    }
    let (_server, rig) = team(vec![
        bash("touch one"),
        bash("touch 'two $HOME' && touch two"),
        bash("touch three && echo said > three"),
        bash("touch four; touch $HOME"),
        Reply::text("Done."),
    ])
    .await;
    rig.until_member("ada", asks).await;
    rig.refused(2, allow_all("Bash(ls:*)")).await;
    rig.ok(allow_all("Bash(touch:*)")).await;
    // The third writes a file besides, which no rule allows.
    rig.until_member("ada", |ada| waits_for(ada, 2)).await;
    assert!(rig.read("one").is_some());
    assert!(rig.read("two $HOME").is_some() && rig.read("two").is_some());
    assert_eq!(rig.read("three"), None);
    rig.ok(["requests", "deny", "P-2"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 3)).await;
    assert_eq!(rig.read("four"), None);
}

#[tokio::test]
async fn what_a_rule_covers_is_asked_about_when_no_sandbox_would_hold_it() {
    if !there_is_a_sandbox() {
        return;
    }
    let outside = json!({ "command": "touch two", "outside_sandbox": true });
    let (server, rig) = team(vec![
        bash("touch one"),
        Reply::call("bash", outside),
        Reply::text("Done."),
    ])
    .await;
    rig.until_member("ada", asks).await;
    rig.ok(allow_all("Bash(touch:*)")).await;
    rig.until_member("ada", |ada| waits_for(ada, 2)).await;
    let shown = rig.ok(["requests", "show", "P-2"]).await.stdout;
    assert!(shown.contains("no sandbox holds it"), "{shown}");
    assert_eq!(rig.read("two"), None);
    rig.ok(["requests", "allow", "P-2"]).await;
    server.asked("ada", 3).await;
    assert!(rig.read("two").is_some());
}

#[tokio::test]
async fn a_request_outlives_the_supervisor() {
    let (server, rig) = team(vec![bash("echo ran >> ran.txt"), Reply::text("Done.")]).await;
    rig.until_member("ada", asks).await;
    rig.supervisor()
        .await
        .signal(Signal::SIGKILL)
        .expect("it is killed");
    let team = rig.ask::<TeamShow>(Nothing {}).await;
    assert!(team.members.iter().any(asks));
    rig.ok(["requests", "allow", "P-1"]).await;
    server.asked("ada", 2).await;
    assert_eq!(rig.read("ran.txt").as_deref(), Some("ran\n"));
}

#[tokio::test]
async fn a_decision_about_something_else_than_was_seen_is_refused() {
    let (_server, rig) = team(vec![bash("echo ran > ran.txt"), Reply::text("Done.")]).await;
    rig.until_member("ada", asks).await;
    let decide = DecideRequest {
        request: RequestId(1),
        digest: Some("0".repeat(64)),
        decision: Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        },
    };
    let refusal = rig.user().await.refused::<RequestDecide>(decide).await;
    assert_eq!(refusal.code, ErrorCode::AlreadyDecided);
    assert_eq!(request(&rig, 1).await.state, RequestState::Pending);
    assert_eq!(rig.read("ran.txt"), None);
}
