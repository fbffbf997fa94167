//! Agents: a lead and teammates whose models are scripted, from a goal to its answer.

use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use serde_json::json;

/// A lead and ada, each with a model of its own name.
const TEAM: &str = "\
name = \"demo\"
mode = \"lead\"
[panes]
placement = \"headless\"
[lead]
model = \"openai/lead\"
[[member]]
name = \"ada\"
engine = \"native\"
model = \"openai/ada\"
";

/// The team's members ask this server.
fn rig(server: &FakeModelServer) -> Rig {
    let mut rig = Rig::with_team(TEAM);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-nobody");
    rig
}

fn call(tool: &str, arguments: serde_json::Value) -> Reply {
    Reply::call(tool, arguments)
}

#[tokio::test]
async fn a_goal_becomes_tasks_that_teammates_do_and_an_answer() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![
                call(
                    "create_task",
                    json!({"title": "Write the greeting", "description": "Into greeting.txt"}),
                ),
                Reply::text("Ada will write it."),
                call("finish", json!({"answer": "The greeting is written."})),
                Reply::text(""),
            ],
        ),
        (
            "ada",
            vec![
                call(
                    "write",
                    json!({"path": "greeting.txt", "content": "hello\n"}),
                ),
                call(
                    "complete_task",
                    json!({"task": "T-1", "result": "greeting.txt says hello"}),
                ),
                Reply::text("Done."),
            ],
        ),
    ]))
    .await;
    let rig = rig(&server);
    let output = rig.run(["run", "Greet the world"]).await.expect(0);
    assert_eq!(output.stdout, "The greeting is written.\n");
    assert_eq!(rig.read("greeting.txt").as_deref(), Some("hello\n"));
    assert_eq!(rig.processes(), [], "the team ended with its run");
}

#[tokio::test]
async fn a_run_whose_lead_may_not_ask_its_model_fails_and_says_why() {
    let server = FakeModelServer::start(|_: &_| Reply::error(401, "who are you?")).await;
    let rig = rig(&server);
    rig.run(["run", "Greet the world"])
        .await
        .expect(1)
        .says("who are you?");
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_run_whose_lead_only_rests_ends_when_everybody_is_idle() {
    let server = FakeModelServer::start(|_: &_| Reply::text("I am done, I think.")).await;
    let rig = rig(&server);
    rig.run(["run", "Greet the world"])
        .await
        .expect(1)
        .says("has not finished");
    assert_eq!(rig.processes(), []);
}
