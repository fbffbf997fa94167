//! MCP servers as tools: a real one over stdio and over HTTP, and servers that misbehave.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
use serde_json::json;

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_mcp_server"))
}

/// A team of a lead alone, with these servers, which the user trusts.
fn rig(server: &FakeModelServer, servers: &str) -> Rig {
    let mut rig = Rig::with_team(&format!(
        "mode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n{servers}"
    ));
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig
}

/// The results that the model received for its calls.
fn results(server: &FakeModelServer) -> Vec<String> {
    let requests = server.requests();
    requests
        .iter()
        .flat_map(|request| request.results())
        .map(|(_, text)| text)
        .collect()
}

/// An MCP server over HTTP. Killed on drop.
struct Http(Child);

impl Drop for Http {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn over_http() -> (Http, String) {
    let mut child = Command::new(program())
        .arg("http")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    let url_line = child.stdout.take().unwrap();
    BufReader::new(url_line).read_line(&mut url).unwrap();
    (Http(child), url.trim().to_owned())
}

#[tokio::test]
async fn the_tools_of_a_server_are_offered_and_answer() {
    let server = FakeModelServer::start(in_turn([
        Reply::call("mcp__near__say", json!({"text": "hello"})),
        Reply::call("mcp__far__say", json!({"text": "hello"})),
        Reply::call("mcp__near__draw_it", json!({})),
        Reply::call("mcp__far__count", json!({})),
        Reply::call("mcp__near__much", json!({})),
        Reply::call("mcp__near__fail", json!({})),
        Reply::call("mcp__near__secret", json!({})),
        Reply::call("mcp__near__die", json!({})),
        Reply::call("mcp__near__say", json!({"text": "again"})),
        Reply::call("mcp__far__say", json!({"text": "still here"})),
        Reply::call("finish", json!({"answer": "Done."})),
    ]))
    .await;
    let (_http, url) = over_http();
    let mut rig = rig(
        &server,
        &format!(
            "deny_tools = [\"mcp__far__die\"]\n[mcp.near]\ncommand = {:?}\nargs = [\"stdio\"]\n[mcp.far]\nurl = {url:?}\n",
            program()
        ),
    );
    rig.set("DEPLOY", "hunter2-of-the-deploy");
    rig.run(["run", "--bypass", "--secret", "DEPLOY", "Use them"])
        .await
        .expect(0);

    let first = &server.requests()[0];
    let offered = first.tools();
    assert!(
        offered.contains(&"mcp__near__die".to_owned()),
        "{offered:?}"
    );
    assert!(
        !offered.contains(&"mcp__far__die".to_owned()),
        "{offered:?}"
    );
    let tools = first.body["tools"].to_string();
    assert!(
        tools.contains("What to say."),
        "the schema is the server's own: {tools}"
    );

    let results = results(&server);
    assert_eq!(results[0].trim_end(), "you said hello");
    assert_eq!(results[1].trim_end(), "you said hello");
    assert_eq!(
        results[2].trim_end(),
        "here it is\n(image, image/png, 6 bytes: not shown)"
    );
    assert!(results[3].contains("\"count\": 3"), "{}", results[3]);
    assert!(results[4].len() < 31_000 && results[4].contains("300000 bytes in total, stored in"));
    assert_eq!(results[5].trim_end(), "error: no such table");
    assert_eq!(results[6].trim_end(), "[secret DEPLOY]");
    let text = &results[7];
    assert!(
        text.contains("near did not respond") && text.contains("exit 3"),
        "{text}"
    );
    assert!(text.contains("out of memory"), "{text}");
    assert_eq!(
        results[8].trim_end(),
        "you said again",
        "the server was started again"
    );
    assert_eq!(
        results[9].trim_end(),
        "you said still here",
        "the other server keeps running"
    );
    assert_eq!(rig.processes(), [], "the servers ended with their member");
}

#[tokio::test]
async fn a_failing_server_is_reported_and_affects_no_other() {
    let server = FakeModelServer::start(in_turn([
        Reply::call("mcp__chatty__say", json!({"text": "hello"})),
        Reply::call("finish", json!({"answer": "Done."})),
    ]))
    .await;
    let servers = format!(
        "[mcp.absent]\ncommand = \"no-such-program\"\n\
         [mcp.broken]\ncommand = \"sh\"\nargs = [\"-c\", \"echo no database >&2; exit 7\"]\n\
         [mcp.absent-shared]\ncommand = \"no-such-program\"\nshared = true\n\
         [mcp.broken-shared]\ncommand = \"sh\"\nargs = [\"-c\", \"echo no database >&2; exit 7\"]\nshared = true\n\
         [mcp.babbling]\ncommand = \"sh\"\nargs = [\"-c\", \"echo Welcome to babble; read line\"]\n\
         [mcp.nowhere]\nurl = \"http://127.0.0.1:1/mcp\"\n\
         [mcp.chatty]\ncommand = \"sh\"\nargs = [\"-c\", \"echo Listening on stdio; exec '{}' stdio\"]\n",
        program().display()
    );
    let rig = rig(&server, &servers);
    rig.run(["run", "--bypass", "Use them"]).await.expect(0);
    let situation = server.requests()[0].situation();
    for trouble in [
        "- MCP server absent: cannot start no-such-program",
        "- MCP server broken: the program exited (exit 7); its last output: no database",
        "- MCP server absent-shared: cannot start no-such-program",
        "- MCP server broken-shared: the program exited (exit 7); its last output: no database",
        "- MCP server babbling: the program exited (exit 0); it wrote a line that is not JSON-RPC to stdout: Welcome to babble",
        "- MCP server nowhere: Client error: ",
        "- MCP server chatty wrote a line that is not JSON-RPC to stdout: Listening on stdio",
    ] {
        assert!(situation.contains(trouble), "{trouble}\n---\n{situation}");
    }
    assert_eq!(results(&server)[0].trim_end(), "you said hello");
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_server_starts_only_when_trusted_and_its_tools_ask() {
    let call = Reply::call("mcp__near__say", json!({ "text": "hello" }));
    let server = FakeModelServer::start(in_turn([call, Reply::text("Done.")])).await;
    let near = format!("[mcp.near]\ncommand = {:?}\n", program());
    let mut rig = rig(&server, &near);
    rig.trust_nothing();
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    let digest = refusal["hint"].as_str().expect("a hint").rsplit(' ').next();
    rig.ok(["up", "--detach", "--trust", digest.expect("a word")])
        .await;
    rig.ok(["send", "lead", "Go on"]).await;
    rig.until_member("lead", |lead| lead.requests > 0).await;
    let shown = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(shown.contains("--as 'mcp__near__say'"), "{shown}");
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("lead", 2).await;
    assert_eq!(results(&server)[0].trim_end(), "you said hello");
}

#[tokio::test]
async fn a_server_that_keeps_exiting_is_not_restarted() {
    let die = || Reply::call("mcp__near__die", json!({}));
    let server = FakeModelServer::start(in_turn([
        die(),
        die(),
        die(),
        die(),
        die(),
        Reply::call("finish", json!({"answer": "Done."})),
    ]))
    .await;
    let near = format!("[mcp.near]\ncommand = {:?}\n", program());
    let rig = rig(&server, &near);
    rig.run(["run", "--bypass", "Use it"]).await.expect(0);
    let results = results(&server);
    for text in &results[..4] {
        assert!(
            text.contains("near did not respond: the program exited (exit 3)"),
            "{text}"
        );
    }
    assert!(
        results[4].contains("near exited 4 times soon after its start and is not restarted"),
        "{}",
        results[4]
    );
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn an_http_server_receives_headers_through_the_proxy() {
    let server = FakeModelServer::start(in_turn([
        Reply::call("mcp__far__headers", json!({})),
        Reply::call("finish", json!({"answer": "Done."})),
    ]))
    .await;
    // The server also answers requests for other hosts, so it can play the proxy.
    let (_http, url) = over_http();
    let proxy = url.trim_end_matches("/mcp").to_owned();
    let far = "[mcp.far]\nurl = \"http://mcp.invalid/mcp\"\n\
        headers = { Authorization = \"Bearer ${DEPLOY}\", x-toolset = \"repos\" }\n\
        [mcp.keyless]\nurl = \"http://mcp.invalid/mcp\"\nheaders = { x-api-key = \"$ABSENT\" }\n";
    let mut rig = rig(&server, far);
    rig.set("http_proxy", proxy);
    rig.set("DEPLOY", "hunter2-of-the-deploy");
    rig.run(["run", "--bypass", "--secret", "DEPLOY", "Use it"])
        .await
        .expect(0);
    assert_eq!(
        results(&server)[0].trim_end(),
        "mcp.invalid yolped-eht-fo-2retnuh reraeB soper"
    );
    let situation = server.requests()[0].situation();
    let trouble = "- MCP server keyless: the header x-api-key uses $ABSENT, which is not set";
    assert!(situation.contains(trouble), "{situation}");
}
