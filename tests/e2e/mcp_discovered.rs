//! MCP servers of revision 2026-07-28, which know `server/discover` instead of `initialize`, and end a call with
//! `input_required` where servers of earlier revisions send a form.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, by_model, in_turn};
use agent_team_tests::{Rig, until};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mcp_discovered");

/// The image of the server in base64.
const IMAGE: &str = "iVBORw0KGgogaW1hZ2U=";

fn call(name: &str) -> Reply {
    Reply::call(&format!("mcp__db__{name}"), json!({}))
}

fn finish() -> Reply {
    Reply::call("finish", json!({"answer": "Done."}))
}

/// A team of a lead with the server `db`, which is at a URL, or has these keys.
async fn team(db: &str, mut replies: Vec<Reply>) -> (FakeModelServer, Rig) {
    replies.push(finish());
    let server = FakeModelServer::start(in_turn(replies)).await;
    let mut rig = Rig::with_team(&format!(
        "mode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n\
         [permissions]\nallow = [\"mcp__db\"]\n[mcp.db]\n{db}\n"
    ));
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    (server, rig)
}

fn program(mode: &str) -> String {
    format!("command = {PROGRAM:?}\nargs = [{mode:?}]")
}

/// Runs the calls without a user, and returns the requests of the model and the starts of the server.
async fn run(db: &str, calls: Vec<Reply>) -> (Vec<Request>, usize) {
    let (server, rig) = team(db, calls).await;
    rig.run(["run", "Use it"]).await.expect(0);
    assert_eq!(rig.processes(), [], "the server ended with its member");
    (server.requests(), starts(&rig))
}

fn starts(rig: &Rig) -> usize {
    rig.read("starts").map_or(0, |all| all.lines().count())
}

/// The result of the last call before this request.
fn result(request: &Request) -> String {
    let results = request.results();
    results.last().expect("a result").1.trim_end().to_owned()
}

#[tokio::test]
async fn a_server_without_initialize_is_discovered() {
    let (requests, starts) = run(&program("stdio"), vec![call("say"), call("roots")]).await;
    assert_eq!(result(&requests[1]), "I speak 2026-07-28");
    let roots = result(&requests[2]);
    assert!(roots.contains("\"uri\":\"file://"), "{roots}");
    // The server exits after it has refused `initialize`.
    assert_eq!(starts, 2);
}

#[tokio::test]
async fn an_old_server_receives_only_requests_that_it_knows() {
    let (requests, starts) = run(&program("old"), vec![call("say")]).await;
    assert_eq!(result(&requests[1]), "I speak 2025-11-25");
    assert_eq!(starts, 1);
}

/// An MCP server over HTTP. Killed on drop.
struct Http(Child);

impl Drop for Http {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test]
async fn a_server_over_http_is_discovered() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(PROGRAM)
        .arg("http")
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let _http = Http(child);
    let mut url = String::new();
    BufReader::new(stdout).read_line(&mut url).unwrap();
    let db = format!("url = {:?}", url.trim());
    let calls = vec![call("say"), call("login"), call("grow"), call("grown")];
    let (requests, _) = run(&db, calls).await;
    assert_eq!(result(&requests[1]), "I speak 2026-07-28");
    let declined = result(&requests[2]);
    assert!(declined.contains("\"decline\""), "{declined}");
    assert_eq!(result(&requests[4]), "I grew");
}

#[tokio::test]
async fn changed_tools_are_reported_to_the_subscriber() {
    let (requests, _) = run(&program("stdio"), vec![call("grow"), call("grown")]).await;
    let grown = "mcp__db__grown".to_owned();
    assert!(!requests[0].tools().contains(&grown));
    assert!(requests[1].tools().contains(&grown));
    assert_eq!(result(&requests[2]), "I grew");
}

#[tokio::test]
async fn required_input_is_a_question_to_the_user() {
    let calls = vec![call("deploy"), call("deploy"), call("deploy")];
    let (server, rig) = team(&program("stdio"), calls).await;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "lead", "Deploy it"]).await;
    let question = "env (one of: staging, production; optional)";
    let replies = [
        (
            "env: staging",
            r#""action":"accept","content":{"env":"staging"}"#,
            "",
        ),
        ("decline", r#""action":"decline""#, "the user declined it"),
        (
            "Stop, ask ben first",
            r#""action":"cancel""#,
            "the user sent another message",
        ),
    ];
    for (round, (reply, response, note)) in replies.into_iter().enumerate() {
        until("a question", async || {
            let shown = rig.json(["messages"]).await.to_string();
            (shown.matches(question).count() == round + 1).then_some(())
        })
        .await;
        rig.ok(["send", "lead", reply]).await;
        server.until_asked("lead", round + 2).await;
        let called = result(&server.requests()[round + 1]);
        // The server refuses a state that it has not sent.
        assert!(called.contains(response), "{called}");
        assert!(called.contains(note), "{called}");
    }
    let messages = format!("{:?}", server.requests()[2].messages());
    assert!(
        !messages.contains("env: staging"),
        "the answer goes to the server alone: {messages}"
    );
}

#[tokio::test]
async fn endless_or_unsupported_input_is_an_error() {
    let form = json!({"server": "db", "uri": "file:///form"});
    let calls = vec![
        call("endless"),
        call("sample"),
        call("login"),
        Reply::call("read_mcp_resource", form),
        call("say"),
    ];
    let (requests, _) = run(&program("stdio"), calls).await;
    let errors = [
        "the MCP server db required input 10 times for one call",
        "the MCP server db required an answer of a model (sampling), which is not supported",
        "it asks for a secret (password)",
        "the MCP server db requested input for the resource, which is supported only for calls of tools",
        "I speak 2026-07-28",
    ];
    for (request, error) in requests[1..].iter().zip(errors) {
        let failed = result(request);
        assert!(failed.contains(error), "{error}\n---\n{failed}");
    }
}

#[tokio::test]
async fn images_of_resources_are_shown_to_a_model_that_accepts_them() {
    let plot = json!({"server": "db", "uri": "file:///plot.png"});
    let calls = vec![call("picture"), Reply::call("read_mcp_resource", plot)];
    for accepts in [true, false] {
        let (server, rig) = team(&program("stdio"), calls.clone()).await;
        rig.set_settings(&format!(
            "[models.openai]\nlead = {{ vision = {accepts} }}\n"
        ));
        rig.run(["run", "Use it"]).await.expect(0);
        let requests = server.requests();
        for (index, request) in requests[1..3].iter().enumerate() {
            let images = request.body.to_string().matches(IMAGE).count();
            assert_eq!(images, if accepts { index + 1 } else { 0 });
            let text = result(request);
            let expected = match accepts {
                true => "file:///plot.png: image 1: image/png, 14 bytes",
                false => "file:///plot.png: (file, image/png, 15 bytes: not shown)",
            };
            assert!(text.contains(expected), "{text}");
        }
    }
}

#[tokio::test]
async fn members_share_a_discovered_server() {
    let ada = vec![
        call("say"),
        call("grow"),
        call("grown"),
        Reply::text("Done."),
    ];
    let ben = vec![call("say"), Reply::text("Done.")];
    let server = FakeModelServer::start(by_model([("ada", ada), ("ben", ben)])).await;
    let mut rig = Rig::with_team(&format!(
        "[panes]\nplacement = \"headless\"\n\
         [[member]]\nname = \"ada\"\nmodel = \"openai/ada\"\n\
         [[member]]\nname = \"ben\"\nmodel = \"openai/ben\"\n\
         [permissions]\nallow = [\"mcp__db\"]\n\
         [mcp.db]\n{}\nshared = true\n",
        program("stdio")
    ));
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go"]).await;
    rig.ok(["send", "ben", "Go"]).await;
    server.until_asked("ada", 4).await;
    server.until_asked("ben", 2).await;
    let of = |member: &str| {
        let mut requests = server.requests();
        requests.retain(|request| request.model() == member);
        requests
    };
    assert_eq!(result(&of("ada")[1]), "I speak 2026-07-28");
    assert_eq!(result(&of("ben")[1]), "I speak 2026-07-28");
    assert_eq!(result(&of("ada")[3]), "I grew");
    let mut running = rig.processes();
    running.retain(|it| it.program == "mcp_discovered");
    assert_eq!(running.len(), 1, "{running:?}");
    rig.ok(["down"]).await;
}
