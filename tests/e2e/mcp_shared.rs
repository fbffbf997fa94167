//! An MCP server that the members of a team share: one process, separate calls, and what is left after a crash.

use agent_team_system::process::ProcessId;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, by_model};
use agent_team_tests::{Rig, processes, until};
use serde_json::{Value, json};

/// The name of the MCP server.
const PROGRAM: &str = "mcp_abilities";

/// Ada and ben with the shared server `db`. `keys`: further lines of the server's table and of the team file.
async fn team(keys: &str, ada: Vec<Reply>, ben: Vec<Reply>) -> (FakeModelServer, Rig) {
    let program = env!("CARGO_BIN_EXE_mcp_abilities");
    let server = FakeModelServer::start(by_model([
        ("ada", ada),
        ("ben", ben),
        ("eve", vec![done()]),
    ]))
    .await;
    let mut rig = Rig::with_team(&format!(
        "[panes]\nplacement = \"headless\"\n\
         [[member]]\nname = \"ada\"\nmodel = \"openai/ada\"\n\
         [[member]]\nname = \"ben\"\nmodel = \"openai/ben\"\n\
         [permissions]\nallow = [\"mcp__db\"]\n\
         [mcp.db]\ncommand = {program:?}\nshared = true\n{keys}\n"
    ));
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig.ok(["up", "--detach"]).await;
    (server, rig)
}

fn call(name: &str, arguments: Value) -> Reply {
    Reply::call(&format!("mcp__db__{name}"), arguments)
}

fn plain(name: &str) -> Reply {
    call(name, json!({}))
}

fn done() -> Reply {
    Reply::text("Done.")
}

/// The requests of one member.
fn of(server: &FakeModelServer, member: &str) -> Vec<Request> {
    let mut requests = server.requests();
    requests.retain(|request| request.model() == member);
    requests
}

/// The result of the last call before the member's newest request.
fn result(server: &FakeModelServer, member: &str) -> String {
    let requests = of(server, member);
    let results = requests.last().expect("a request").results();
    results.last().expect("a result").1.trim_end().to_owned()
}

fn servers(rig: &Rig) -> Vec<ProcessId> {
    let mut found = rig.processes();
    found.retain(|it| it.program == PROGRAM);
    found.into_iter().map(|it| it.process).collect()
}

fn hosts(rig: &Rig) -> Vec<ProcessId> {
    let mut found = rig.processes();
    found.retain(|it| it.command.contains("--mcp-host"));
    found.into_iter().map(|it| it.process).collect()
}

/// Waits until the server has received this many calls of `wait`.
async fn until_waiting(rig: &Rig, calls: usize) {
    until("calls of wait", async || {
        let waiting = rig.read("waiting")?;
        (waiting.lines().count() == calls).then_some(())
    })
    .await;
}

/// Sends both members a message, and waits until they have made this many requests each.
async fn both(server: &FakeModelServer, rig: &Rig, requests: usize) {
    rig.ok(["send", "ada", "Go"]).await;
    rig.ok(["send", "ben", "Go"]).await;
    server.until_asked("ada", requests).await;
    server.until_asked("ben", requests).await;
}

#[tokio::test]
async fn members_share_one_process_and_get_their_own_answers() {
    let meet = |name: &str| call("meet", json!({ "name": name }));
    let ada = vec![meet("ada"), plain("grow"), meet("ada"), done()];
    let ben = vec![meet("ben"), meet("ben"), done()];
    let (server, rig) = team("", ada, ben).await;
    rig.ok(["send", "ada", "Go"]).await;
    rig.ok(["send", "ben", "Go"]).await;
    server.until_asked("ada", 4).await;
    server.until_asked("ben", 3).await;
    // Each call of `meet` ends only when both are in flight, in the same process.
    assert_eq!(result(&server, "ada"), "ada met");
    assert_eq!(result(&server, "ben"), "ben met");
    assert_eq!(servers(&rig).len(), 1);
    let grown = "mcp__db__grown".to_owned();
    for member in ["ada", "ben"] {
        let requests = of(&server, member);
        assert!(!requests[0].tools().contains(&grown));
        let tools = requests.last().unwrap().tools();
        assert!(tools.contains(&grown), "{member}: {tools:?}");
    }

    let receipts = rig.json(["down"]).await.to_string();
    assert!(receipts.contains("(MCP host)"), "{receipts}");
    assert_eq!((servers(&rig), hosts(&rig)), (vec![], vec![]));
}

#[tokio::test]
async fn progress_extends_only_the_call_that_it_belongs_to() {
    let ada = vec![plain("slow"), done()];
    let ben = vec![plain("wait"), done()];
    let (server, rig) = team("timeout_s = 2", ada, ben).await;
    both(&server, &rig, 2).await;
    assert_eq!(result(&server, "ada"), "copied");
    let late = result(&server, "ben");
    assert!(late.contains("db did not respond within 2 s"), "{late}");
}

#[tokio::test]
async fn a_form_reaches_the_member_whose_call_is_in_flight() {
    let ada = vec![plain("wait"), done()];
    let ben = vec![plain("deploy"), plain("deploy"), done()];
    let (server, rig) = team("", ada, ben).await;
    rig.ok(["send", "ben", "Go"]).await;
    until("a question of ben", async || {
        let messages = rig.json(["messages"]).await.to_string();
        let is_asked = messages.contains("env (one of: staging, production; optional)");
        is_asked.then_some(())
    })
    .await;
    rig.ok(["send", "ada", "Go"]).await;
    until_waiting(&rig, 1).await;
    rig.ok(["send", "ben", "env: staging"]).await;
    server.until_asked("ben", 2).await;
    let requests = of(&server, "ben");
    let accepted = requests[1].results().last().unwrap().1.clone();
    assert!(accepted.contains("\"accept\""), "{accepted}");
    // The call of ada is now also in flight.
    server.until_asked("ben", 3).await;
    let refused = result(&server, "ben");
    assert!(refused.contains("calls of several members"), "{refused}");
}

#[tokio::test]
async fn a_killed_member_cancels_only_its_own_call() {
    let ada = vec![plain("wait"), done()];
    let ben = vec![plain("see_cancelled"), done()];
    let (server, rig) = team("", ada, ben).await;
    both(&server, &rig, 1).await;
    until_waiting(&rig, 1).await;
    let shared = servers(&rig);
    processes::kill(rig.worker("ada").await).await;
    server.until_asked("ben", 2).await;
    assert_eq!(result(&server, "ben"), "a call was cancelled");
    assert_eq!(servers(&rig), shared);
}

#[tokio::test]
async fn calls_fail_with_the_name_of_a_killed_server() {
    let ada = vec![plain("wait"), plain("grow"), done()];
    let ben = vec![plain("wait"), plain("grow"), done()];
    let (server, rig) = team("", ada, ben).await;
    both(&server, &rig, 1).await;
    until_waiting(&rig, 2).await;
    let killed = servers(&rig);
    assert_eq!(killed.len(), 1);
    processes::kill(killed[0]).await;
    server.until_asked("ada", 3).await;
    server.until_asked("ben", 3).await;
    for member in ["ada", "ben"] {
        let requests = of(&server, member);
        let failed = &requests[1].results().last().unwrap().1.clone();
        assert!(failed.contains("MCP server db"), "{member}: {failed}");
        assert!(failed.contains("killed by signal 9"), "{member}: {failed}");
        assert_eq!(result(&server, member), "it grows");
    }
    assert_eq!(servers(&rig).len(), 1);
    assert_ne!(servers(&rig), killed);
}

#[tokio::test]
async fn members_reconnect_after_the_host_was_killed() {
    let ada = vec![plain("wait"), plain("grow"), done()];
    let (server, rig) = team("", ada, vec![plain("grow"), done()]).await;
    rig.ok(["send", "ada", "Go"]).await;
    server.until_asked("ada", 1).await;
    until_waiting(&rig, 1).await;
    let before = servers(&rig);
    let host = hosts(&rig);
    assert_eq!((before.len(), host.len()), (1, 1));
    processes::kill(host[0]).await;
    server.until_asked("ada", 3).await;
    let failed = of(&server, "ada")[1].results().last().unwrap().1.clone();
    assert!(failed.contains("MCP server db did not respond"), "{failed}");
    assert_eq!(result(&server, "ada"), "it grows");
    rig.ok(["send", "ben", "Go"]).await;
    server.until_asked("ben", 2).await;
    assert_eq!(result(&server, "ben"), "it grows");
    assert_eq!(servers(&rig).len(), 1);
    assert_ne!(servers(&rig), before);
}

#[tokio::test]
async fn the_mcp_host_exits_with_a_killed_supervisor() {
    let ada = vec![plain("grow"), done(), plain("grow"), done()];
    let ben = vec![plain("grow"), done()];
    let (server, rig) = team("", ada, ben).await;
    rig.ok(["send", "ada", "Go"]).await;
    server.until_asked("ada", 2).await;
    let (before, host) = (servers(&rig), hosts(&rig));
    assert_eq!((before.len(), host.len()), (1, 1));
    processes::kill(rig.supervisor().await).await;
    processes::ended(host[0]).await;
    processes::ended(before[0]).await;

    // The workers are the same, with a new supervisor.
    rig.ok(["send", "ada", "Go"]).await;
    server.until_asked("ada", 4).await;
    assert_eq!(result(&server, "ada"), "it grows");
    rig.ok(["send", "ben", "Go"]).await;
    server.until_asked("ben", 2).await;
    assert_eq!(result(&server, "ben"), "it grows");
    assert_eq!((servers(&rig).len(), hosts(&rig).len()), (1, 1));
    rig.ok(["down"]).await;
    assert_eq!((servers(&rig), hosts(&rig)), (vec![], vec![]));
}

#[tokio::test]
async fn a_member_with_another_directory_cannot_share() {
    let (server, rig) = team("", vec![plain("grow"), done()], Vec::new()).await;
    rig.ok(["send", "ada", "Go"]).await;
    server.until_asked("ada", 2).await;
    std::fs::create_dir(rig.project().join("web")).unwrap();
    let eve = [
        "--engine",
        "native",
        "--model",
        "openai/eve",
        "--cwd",
        "web",
    ];
    let [a, b, c, d, e, f] = eve;
    rig.ok(["spawn", "worker", "--name", "eve", a, b, c, d, e, f])
        .await;
    rig.ok(["send", "eve", "Go"]).await;
    server.until_asked("eve", 1).await;
    let situation = of(&server, "eve")[0].situation();
    let why =
        "MCP server db: it is shared, and runs for other members with another working directory";
    assert!(situation.contains(why), "{situation}");
    assert_eq!(servers(&rig).len(), 1);
}
