//! One team of a native lead, each agent of another vendor in its own terminal interface, an agent that speaks the Agent
//! Client Protocol, and a member that runs commands. The user steers the team over HTTP and on the command line.

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Service;
use crate::external::installed;
use crate::own_terminals::agents::{Agent, CLAUDE, CODEX, OPENCODE, QWEN};

const OWN_TERMINALS: [&Agent; 4] = [&CLAUDE, &CODEX, &OPENCODE, &QWEN];

/// The team, its model and the directory of its programs. Each agent has a task, and the last task waits for all others.
async fn mixed_team() -> (FakeModelServer, Rig, TempDir) {
    let lead = vec![
        Reply::call("send_message", json!({"to": "claude", "text": "ping"})),
        Reply::text("Sent."),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let (mut rig, programs) = installed(&["gemini"]);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    let mut file =
        "mode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n"
            .to_owned();
    let sessions = programs.path();
    let own = OWN_TERMINALS.iter().map(|agent| {
        let link = programs.path().join(agent.word);
        std::os::unix::fs::symlink(agent.fake, link).expect("a link");
        (agent.word, agent.variables)
    });
    for (word, variables) in own.chain([("gemini", "FAKE_ACP")]) {
        file.push_str(&format!(
            "[[member]]\nname = {word:?}\nengine = {word:?}\nenv = {{ {variables}_SESSIONS = {sessions:?} }}\n\
             [[task]]\nkey = {word:?}\ntitle = \"Make the file\"\nfor = {word:?}\n"
        ));
    }
    file.push_str(
        "[[member]]\nname = \"bob\"\nengine = \"command\"\n[[task]]\ntitle = \"Count\"\nfor = \"bob\"\n\
         run = \"wc -l < made.txt > count.txt\"\nafter = [\"claude\", \"codex\", \"opencode\", \"qwen\", \"gemini\"]\n",
    );
    rig.set_team(&file);
    (server, rig, programs)
}

#[tokio::test]
async fn agents_of_each_kind_share_a_board_and_an_inbox() {
    let (_server, rig, _programs) = mixed_team().await;
    rig.ok(["up", "--detach"]).await;
    let service = Service::start(&rig, &[]).await;
    let requests = until("a request of each agent", async || {
        let list = service.get("/api/v1/requests").await.expect(200).json();
        let requests = list["requests"].as_array().expect("a list").clone();
        (requests.len() == 5).then_some(requests)
    })
    .await;
    assert_eq!(rig.read("made.txt"), None);
    let of = |member: &str| -> &Value {
        let mut of_member = requests.iter().filter(|it| it["member"] == member);
        of_member.next().expect("a request")
    };
    let decide = async |member: &str, decision: &Value| {
        let request = of(member)["id"].as_str().expect("an id");
        let path = format!("/api/v1/requests/{request}/decision");
        let decision = json!({"decision": decision, "digest": of(member)["digest"]});
        service.post(&path, &decision).await
    };
    let allow = json!({"kind": "allow", "scope": "once"});
    let deny = json!({"kind": "deny", "reason": "too late"});
    // Gemini's fake replaces the file; the other fakes append a line.
    for (member, task) in [("gemini", "T-5"), ("claude", "T-1"), ("codex", "T-2")] {
        decide(member, &allow).await.expect(200);
        rig.until_task_is(task, TaskState::Completed).await;
        decide(member, &deny).await.expect_problem(409);
    }
    for (member, task) in [("opencode", "T-3"), ("qwen", "T-4")] {
        let request = of(member)["id"].as_str().expect("an id");
        rig.ok(["requests", "allow", request]).await;
        rig.until_task_is(task, TaskState::Completed).await;
    }
    rig.until_task_is("T-6", TaskState::Completed).await;
    assert_eq!(rig.read("count.txt").as_deref(), Some("5\n"));

    rig.ok(["send", "lead", "Ask claude."]).await;
    until("the answer of claude", async || {
        let logs = rig.ok(["logs", "claude"]).await.stdout;
        logs.contains(CLAUDE.pong).then_some(())
    })
    .await;
    for agent in OWN_TERMINALS {
        let member = rig.until_member_is(agent.word, MemberState::Idle).await;
        let turns = if agent.word == "claude" { 2 } else { 1 };
        assert_eq!(
            member.usage.tokens(),
            turns * agent.tokens,
            "{}",
            agent.word
        );
    }
    let audit = rig.ok(["audit"]).await.stdout;
    for member in ["claude", "codex", "opencode", "qwen", "gemini"] {
        assert!(audit.contains(member), "{member}: {audit}");
    }
    drop(service);
    rig.ok(["down"]).await;
    assert_eq!(rig.processes(), []);
}
