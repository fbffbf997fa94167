//! Checks the documents that verbs print with `--json` against `docs/reference/json.md`.

mod page;

use std::collections::BTreeSet;

use agent_team_protocol::view::MemberState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request};
use agent_team_tests::{Rig, Running};
use serde_json::{Value, json};

use self::page::Page;

/// Rows of the page whose verbs are not run: `attach` needs panes, `serve` runs until a signal, and `acp`, `mcp` and
/// `supervisor run` print no document.
const NOT_RUN: [&str; 5] = ["acp", "attach", "mcp", "serve", "supervisor run"];

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
[[member]]
name = \"ben\"
engine = \"command\"
";

/// The models: the lead answers a goal at once, unless the goal takes long; ada runs a command when asked to.
fn reply(request: &Request) -> Reply {
    let new = request.messages().iter().rev();
    let new = new.take_while(|message| message["role"] != "assistant");
    let new_text = new.map(Value::to_string).collect::<String>();
    let wanted = new_text.split("reply_to M-").nth(1);
    let wanted = wanted.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    if let Some(number) = wanted {
        let text = json!({"to": "user", "text": "Well.", "reply_to": format!("M-{number}")});
        return Reply::call("send_message", text);
    }
    match request.model() {
        _ if new_text.contains("Take long") => Reply::hang(),
        "lead" if new_text.contains("Finish") => {
            Reply::call("finish", json!({"answer": "Finished."}))
        }
        "ada" if new_text.contains("Touch it") => {
            Reply::call("bash", json!({"command": "touch it && rm it"}))
        }
        _ => Reply::text("I see."),
    }
}

/// Runs verbs, and checks their documents against the page.
struct Checker {
    rig: Rig,
    page: Page,
    checked: BTreeSet<&'static str>,
}

impl Checker {
    fn check(&mut self, row: &'static str, value: &Value) {
        self.page.check_document(row, value);
        self.checked.insert(row);
    }

    /// Runs a verb that prints one document.
    async fn one<const N: usize>(&mut self, row: &'static str, arguments: [&str; N]) -> Value {
        let value = self.rig.json(arguments).await;
        self.check(row, &value);
        value
    }

    /// Runs a verb that prints one document per line.
    async fn lines<const N: usize>(&mut self, row: &'static str, arguments: [&str; N]) {
        let printed = self.rig.ok(arguments).await.stdout;
        assert!(!printed.is_empty(), "{row} printed nothing");
        for line in printed.lines() {
            self.check(row, &serde_json::from_str(line).expect("JSON"));
        }
    }

    /// The first line of a verb that continues until it is interrupted.
    async fn first_line(&mut self, mut running: Running) -> Value {
        serde_json::from_str(&running.line().await).expect("JSON")
    }

    /// Waits until ada asks for permission; returns the request.
    async fn request(&mut self) -> String {
        self.rig.ok(["send", "ada", "Touch it"]).await;
        let ada = self.rig.until_member("ada", |ada| ada.requests > 0).await;
        assert_eq!(ada.state, MemberState::Waiting);
        let listed = self.one("requests", ["requests"]).await;
        listed["requests"][0]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }
}

#[tokio::test]
async fn each_verb_prints_the_document_of_the_reference() {
    let server = FakeModelServer::start(reply).await;
    let mut rig = Rig::new();
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    let mut it = Checker {
        rig,
        page: Page::read(),
        checked: BTreeSet::new(),
    };
    without_team(&mut it).await;
    it.rig.set_team(TEAM);
    it.one("up", ["up"]).await;
    of_members(&mut it).await;
    of_tasks(&mut it).await;
    of_requests(&mut it).await;
    of_goals(&mut it).await;
    of_the_end(&mut it).await;
    let rows: BTreeSet<_> = it.page.verbs.keys().copied().collect();
    let unchecked: Vec<_> = rows.difference(&it.checked).copied().collect();
    assert_eq!(unchecked, NOT_RUN);
}

async fn without_team(it: &mut Checker) {
    it.one("init --list", ["init", "--list"]).await;
    it.rig
        .write(".qwen/agents/x.md", "---\nname: x\n---\nWork.\n");
    let from = ["init", "--from", "qwen", "--dry-run"];
    it.one("init --from", from).await;
    it.one("init", ["init"]).await;
    // The exit code depends on the machine.
    let report = it.rig.run(["doctor", "--json"]).await.json();
    it.check("doctor", &report);
    it.one("completions", ["completions", "bash"]).await;
    it.one("mcp --how", ["mcp", "--how"]).await;
    it.one("acp --how", ["acp", "--how"]).await;
    let created = Rig::new().json(["mcp", "--create"]).await;
    it.check("mcp --create", &created);
    it.one("man", ["man"]).await;
    it.one("man --out", ["man", "--out", "pages"]).await;
    it.one("role list", ["role", "list"]).await;
    it.one("role show", ["role", "show", "worker"]).await;
    it.one("config get", ["config", "get"]).await;
    it.one("models", ["models"]).await;
    it.one("models list", ["models", "list"]).await;
    let list = it.rig.root().join("api.json");
    let model = r#"{"id": "m", "name": "M", "limit": {"context": 1000, "output": 100}, "cost": {"input": 1, "output": 2}}"#;
    let text = format!(
        r#"{{"openai": {{"id": "openai", "name": "OpenAI", "models": {{"m": {model}}}}}}}"#
    );
    std::fs::write(&list, text).expect("it can be written");
    let list = list.display().to_string();
    it.one("models update", ["models", "update", list.as_str()])
        .await;
    it.one("notes add", ["notes", "add", "deploy", "Tag first."])
        .await;
    it.rig.set("EDITOR", "true");
    it.one("notes edit", ["notes", "edit", "deploy"]).await;
    it.one("notes", ["notes"]).await;
    it.one("notes list", ["notes", "list"]).await;
    it.one("notes show", ["notes", "show", "deploy"]).await;
    it.one("notes remove", ["notes", "remove", "deploy"]).await;
    it.one("config set", ["config", "set", "limits.tokens", "1000000"])
        .await;
    it.one("config reset", ["config", "reset", "limits.tokens"])
        .await;
}

async fn of_members(it: &mut Checker) {
    it.one("ps", ["ps"]).await;
    it.one("top", ["top"]).await;
    it.one("stats", ["stats"]).await;
    it.one("report", ["report"]).await;
    it.one("why", ["why", "ada"]).await;
    it.one("compact", ["compact", "ada"]).await;
    it.one("next", ["next"]).await;
    it.one("panes reopen", ["panes", "reopen"]).await;
    it.one("mode", ["mode", "accept-edits", "--for", "ada"])
        .await;
    it.one("team list", ["team", "list"]).await;
    it.one("team show", ["team", "show"]).await;
    it.one(
        "spawn",
        ["spawn", "worker", "--name", "eve", "--engine", "command"],
    )
    .await;
    it.one("restart", ["restart", "eve"]).await;
    it.one("stop", ["stop", "eve"]).await;
    it.one("kill", ["kill", "eve"]).await;
    it.one("member remove", ["member", "remove", "eve"]).await;
    it.one("send", ["send", "ada", "Hello"]).await;
    it.one("send --wait", ["send", "ada", "How are you?", "--wait"])
        .await;
    it.one("messages", ["messages"]).await;
}

async fn of_tasks(it: &mut Checker) {
    it.one(
        "task add",
        ["task", "add", "Print", "--run", "echo printed"],
    )
    .await;
    it.one("task wait", ["task", "wait", "T-1"]).await;
    it.one("logs", ["logs"]).await;
    it.one("logs", ["logs", "ben"]).await;
    let following = it.rig.start(["logs", "-f", "--json"]);
    let line = it.first_line(following).await;
    it.check("logs -f", &line);
    let following = it.rig.start(["logs", "ben", "-f", "--json"]);
    let line = it.first_line(following).await;
    it.check("logs -f", &line);
    it.rig.ok(["task", "add", "By hand", "--for", "ben"]).await;
    it.one("task update", ["task", "update", "T-2", "--priority", "3"])
        .await;
    it.one("task claim", ["task", "claim", "T-2"]).await;
    it.one("task list", ["task", "list"]).await;
    it.one("task graph", ["task", "graph"]).await;
    it.one("task release", ["task", "release", "T-2"]).await;
    it.one("task cancel", ["task", "cancel", "T-2"]).await;
    it.one("task retry", ["task", "retry", "T-2"]).await;
    it.one("task assign", ["task", "assign", "T-2", "ben"])
        .await;
    it.rig.ok(["task", "claim", "T-2"]).await;
    it.one(
        "task complete",
        ["task", "complete", "T-2", "--result", "Done"],
    )
    .await;
    it.one("task show", ["task", "show", "T-2"]).await;
    it.rig
        .ok(["task", "add", "Impossible", "--for", "ben"])
        .await;
    it.rig.ok(["task", "claim", "T-3"]).await;
    it.one("task fail", ["task", "fail", "T-3", "--reason", "No"])
        .await;
}

async fn of_requests(it: &mut Checker) {
    let request = it.request().await;
    it.one("requests list", ["requests", "list", "--all"]).await;
    it.one("requests show", ["requests", "show", &request])
        .await;
    let watching = it.rig.start(["requests", "watch", "--json"]);
    let mut item = it.first_line(watching).await;
    let kind = item.as_object_mut().expect("an object").remove("kind");
    assert_eq!(kind, Some(json!("request")));
    it.check("requests watch", &item);
    it.one(
        "requests deny",
        ["requests", "deny", &request, "--reason", "Later"],
    )
    .await;
    it.rig.until_member_is("ada", MemberState::Idle).await;
    let request = it.request().await;
    it.one(
        "requests allow",
        ["requests", "allow", &request, "--for", "team"],
    )
    .await;
    it.rig.until_member_is("ada", MemberState::Idle).await;
    it.one("rules list", ["rules", "list"]).await;
    it.one("rules revoke", ["rules", "revoke", &request]).await;
    it.one(
        "rules check",
        ["rules", "check", "--json", "--", "ls && rm x"],
    )
    .await;
    it.lines("audit", ["audit", "--json"]).await;
    it.lines("audit export", ["audit", "export", "--json"])
        .await;
}

async fn of_goals(it: &mut Checker) {
    it.one("run", ["run", "Finish"]).await;
    it.lines("run --events", ["run", "--events", "Finish again"])
        .await;
    it.one("up --wait", ["up", "--wait", "Finish at last"])
        .await;
    it.rig.ok(["up", "--detach", "Take long"]).await;
    it.one("cancel", ["cancel", "--reason", "Enough"]).await;
    it.one("goal show", ["goal", "show"]).await;
    it.rig.ok(["up", "--detach", "Take longer"]).await;
    it.one("goal cancel", ["goal", "cancel"]).await;
    // T-3 has failed.
    let mut result = it
        .rig
        .run(["up", "--wait", "--json"])
        .await
        .expect(1)
        .json();
    let of_run = result["outcome"].take();
    it.page.check("[WaitResult]", &of_run).unwrap();
    result["outcome"] = json!("finished");
    it.check("up --wait", &result);
    it.lines("events", ["events", "--json"]).await;
}

async fn of_the_end(it: &mut Checker) {
    it.one("supervisor status", ["supervisor", "status"]).await;
    it.one("supervisor restart", ["supervisor", "restart"])
        .await;
    it.one("supervisor logs", ["supervisor", "logs"]).await;
    let following = it.rig.start(["supervisor", "logs", "-f", "--json"]);
    let line = it.first_line(following).await;
    it.check("supervisor logs -f", &line);
    it.one("down", ["down", "--force"]).await;
    it.one("team delete", ["team", "delete", "--yes"]).await;
    it.one("supervisor stop", ["supervisor", "stop"]).await;
    let error = it.rig.run(["ps", "--json"]).await.expect(3).stderr;
    let error = serde_json::from_str(&error).expect("JSON");
    it.page.check("[ErrorDocument]", &error).unwrap();
}
