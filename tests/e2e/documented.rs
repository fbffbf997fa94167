//! Checks sentences of the documentation, help and messages against the behaviour of the programs.

use std::path::Path;

use agent_team_protocol::view::TaskState;
use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use serde_json::{Value, json};

use crate::agents::{greeting, rig, rig_with_requests};
use crate::teams::{headless, task};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// README.md, ARCHITECTURE.md and the user guide. Each run of white space becomes one space, because a sentence
/// may break at any word.
fn documentation() -> String {
    let guide = std::fs::read_dir(repository().join("docs/guide")).expect("the guide exists");
    let guide = guide.map(|entry| entry.expect("an entry").path());
    let files = ["README.md", "ARCHITECTURE.md"].map(|file| repository().join(file));
    let texts = files
        .into_iter()
        .chain(guide)
        .map(|file| std::fs::read_to_string(file).expect("a text file"));
    let text = texts.collect::<Vec<_>>().join("\n");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn help(rig: &Rig, arguments: &[&str]) -> String {
    let output = rig
        .command(arguments)
        .into_std()
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("output in UTF-8");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn docs_and_help_list_run_options_for_a_running_team() {
    let rig = Rig::new();
    assert!(documentation().contains(
        "In a team that is already up, `run` only gives the lead a goal, with `--memory` and `--effort`: `--mode`, `--fresh` \
         and every other flag that starts or changes a team is refused with exit code 4"
    ));
    assert!(documentation().contains(
        "In a team that is already up, requests wait for a decision, such as `agent-team requests allow P-1` in any \
         terminal"
    ));
    assert!(help(&rig, &["run", "--help"]).contains(
        "In a team that is already up only the goal, --memory and --effort apply: flags that start or change a team are refused"
    ));
}

#[tokio::test]
async fn events_help_lists_every_custom_event() {
    assert!(
        documentation()
            .contains("`agent-team events --help` lists the events that AG-UI does not define")
    );
    let help = help(&Rig::new(), &["events", "--help"]);
    for event in agent_team_protocol::envelope::CUSTOM {
        assert!(
            help.contains(&format!("{} {}", event.name, event.value)),
            "{}",
            event.name
        );
    }
    assert!(help.contains("permission {") && help.contains("coordinator_decision {"));
}

#[tokio::test]
async fn config_get_shows_the_value_and_origin_of_a_setting() {
    let rig = Rig::with_team(
        "name = \"demo\"\nmode = \"lead\"\n[defaults]\nrole = \"worker\"\n[[member]]\nname = \"ada\"\n",
    );
    let from = |listed: &Value, key: &str| {
        let settings = listed["settings"].as_array().expect("a list").clone();
        let found = settings.into_iter().find(|setting| setting["key"] == key);
        found.unwrap_or_else(|| panic!("{key} is not listed"))
    };
    let before = rig.json(["config", "get", "role"]).await;
    assert_eq!(from(&before, "role")["value"], "worker");
    rig.ok(["config", "set", "role", "planner"]).await;
    rig.ok(["config", "set", "roles.planner.model", "openai/gpt-5.1"])
        .await;
    let listed = rig.json(["config", "get"]).await;
    let own = from(&listed, "role")["from"].clone();
    assert!(
        own.as_str()
            .is_some_and(|own| own.contains("config/teams/")),
        "{own}"
    );
    for (key, value) in [
        ("role", "planner"),
        ("members.ada.role", "planner"),
        ("roles.planner.model", "openai/gpt-5.1"),
    ] {
        let one = rig.json(["config", "get", key]).await;
        assert_eq!(from(&one, key)["value"], value, "{key}");
        assert_eq!(from(&one, key)["from"], own, "{key}");
        assert_eq!(from(&listed, key), from(&one, key));
    }
    let unset = rig.json(["config", "get", "roles.explorer.model"]).await;
    assert_eq!(from(&unset, "roles.explorer.model")["value"], Value::Null);
    let unknown = rig
        .refused(3, ["config", "get", "roles.absent.model"])
        .await;
    assert_eq!(unknown["code"], "unknown_member");
}

/// The verbs of the help, each with arguments that are harmless in a test.
const VERBS: &[(&str, &[&str])] = &[
    ("down", &["down"]),
    ("ps", &["ps"]),
    ("cancel", &["cancel"]),
    ("compact", &["compact", "ada"]),
    ("models", &["models", "list"]),
    ("goal", &["goal", "show"]),
    ("member", &["member", "remove", "ada"]),
    ("top", &["top"]),
    ("top", &["top", "--once"]),
    ("stats", &["stats"]),
    ("why", &["why", "ada"]),
    ("logs", &["logs", "ada"]),
    ("events", &["events"]),
    ("report", &["report"]),
    ("next", &["next"]),
    (
        "spawn",
        &["spawn", "worker", "--engine", "command", "--name", "ben"],
    ),
    ("stop", &["stop", "ben"]),
    ("kill", &["kill", "ada"]),
    ("restart", &["restart", "ada"]),
    ("send", &["send", "ada", "hello"]),
    ("messages", &["messages"]),
    ("requests", &["requests"]),
    ("mode", &["mode"]),
    ("rules", &["rules", "list"]),
    ("rules", &["rules", "check", "--", "ls"]),
    ("audit", &["audit"]),
    ("audit", &["audit", "export"]),
    ("task", &["task", "add", "Look"]),
    ("task", &["task", "list"]),
    ("task", &["task", "graph"]),
    ("notes", &["notes", "add", "deploy", "Steps"]),
    ("notes", &["notes", "list"]),
    ("notes", &["notes", "show", "deploy"]),
    ("init", &["init", "--list"]),
    ("team", &["team", "list"]),
    ("team", &["team", "show"]),
    ("role", &["role", "list"]),
    ("role", &["role", "show", "worker"]),
    ("config", &["config", "get"]),
    ("supervisor", &["supervisor", "status"]),
    ("mcp", &["mcp", "--how"]),
    ("acp", &["acp", "--how"]),
    ("doctor", &["doctor"]),
    ("completions", &["completions", "bash"]),
    ("man", &["man"]),
    ("up", &["up"]),
];

/// Verbs that print a line of JSON for each item.
const STREAMS: &[&[&str]] = &[
    &["logs", "ada"],
    &["events"],
    &["audit"],
    &["audit", "export"],
];

fn documents(arguments: &[&str], text: Vec<u8>) -> Vec<Value> {
    let text = String::from_utf8(text).expect("output in UTF-8");
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let document = |parsed: Result<Value, serde_json::Error>| {
        parsed.unwrap_or_else(|error| panic!("{arguments:?} printed no JSON ({error}): {text}"))
    };
    documents.map(document).collect()
}

#[tokio::test]
async fn every_verb_takes_json() {
    assert!(documentation().contains("`agent-team help` lists every verb. Each takes `--json`"));
    let rig = Rig::with_team(
        "name = \"demo\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\n",
    );
    rig.ok(["up", "--detach"]).await;
    // `down` is the first entry, but must run last.
    let order = VERBS[1..].iter().chain(&VERBS[..1]);
    for (_, arguments) in order {
        // Insert `--json` before `--`: the words after `--` are a command.
        let mut all: Vec<&str> = arguments.to_vec();
        let place = all
            .iter()
            .position(|word| *word == "--")
            .unwrap_or(all.len());
        all.insert(place, "--json");
        let output = rig.command(&all).output().await.expect("the program runs");
        let stdout = documents(&all, output.stdout);
        let stderr = documents(&all, output.stderr);
        match output.status.code().expect("no signal ended it") {
            0 if STREAMS.contains(arguments) => assert_eq!(stderr, [] as [Value; 0], "{all:?}"),
            0 => assert_eq!((stdout.len(), stderr.len()), (1, 0), "{all:?}: {stdout:?}"),
            code @ (1 | 3 | 4) => {
                assert_eq!((stdout.len(), stderr.len()), (0, 1), "{all:?}: {stdout:?}");
                let error = &stderr[0]["error"];
                assert!(error["code"].is_string(), "{all:?} ({code}): {error}");
                assert!(error["message"].is_string(), "{all:?} ({code}): {error}");
            }
            code => panic!("{all:?} exited with {code}: {stderr:?}"),
        }
    }
    let help = rig.ok(["help"]).await.stdout;
    let verbs = help.split("Global options:").next().expect("a part");
    let listed = verbs.lines().filter(|line| line.starts_with("  "));
    // These verbs need a terminal, a model or panes, or run until a signal; their own tests try `--json`.
    let elsewhere = ["run", "attach", "panes", "serve"];
    for line in listed {
        let verb = line.split_whitespace().next().expect("a word");
        let tried = VERBS.iter().any(|(name, _)| *name == verb);
        assert!(tried || elsewhere.contains(&verb), "{verb} is not tried");
    }
}

#[tokio::test]
async fn unknown_verbs_and_unsupported_engines_are_refused() {
    let rig = Rig::new();
    rig.set_team("[[member]]\nname = \"ada\"\nengine = \"acp\"\n");
    rig.run(["up", "--dry-run"])
        .await
        .expect(2)
        .assert_prints("is not supported in this version");
    let typo = rig.refused(2, ["serv"]).await;
    assert_eq!(typo["code"], "invalid");
}

#[test]
fn architecture_lists_every_crate() {
    let documentation = documentation();
    for entry in std::fs::read_dir(repository().join("crates")).expect("the directory exists") {
        let name = entry.expect("an entry").file_name();
        let row = format!("| `crates/{}` |", name.to_string_lossy());
        assert!(
            documentation.contains(&row),
            "ARCHITECTURE.md has no row {row}"
        );
    }
}

#[tokio::test]
async fn the_error_for_an_unknown_setting_names_known_settings() {
    let rig = Rig::with_team("[[member]]\nname = \"ada\"\n");
    rig.set_settings("colour = 3\n");
    let output = rig.run(["up", "--detach"]).await;
    assert_ne!(output.code, 0);
    for key in ["durability", "roles", "models", "search", "permissions"] {
        assert!(output.stderr.contains(key), "{key}: {}", output.stderr);
    }
}

#[test]
fn templates_name_every_layout() {
    let schema = repository().join("crates/protocol/schema/protocol.json");
    let schema = std::fs::read_to_string(schema).expect("the schema exists");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let layouts = find(&schema, "Layout").expect("the schema has layouts");
    let mut names: Vec<&str> = Vec::new();
    for one in layouts["oneOf"].as_array().expect("a list") {
        let several = one["enum"].as_array().into_iter().flatten();
        names.extend(several.filter_map(Value::as_str));
        names.extend(one["const"].as_str());
    }
    assert!(names.contains(&"windows"));
    for entry in std::fs::read_dir(repository().join("crates/cli/templates")).expect("a directory")
    {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a text file");
        let line = text.lines().find(|line| line.starts_with("layout = "));
        let line = line.unwrap_or_else(|| panic!("{} has no layout", path.display()));
        for name in &names {
            assert!(line.contains(name), "{}: {line}", path.display());
        }
    }
}

/// The first definition of this name, at any depth.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields
            .get(name)
            .or_else(|| fields.values().find_map(|value| find(value, name))),
        Value::Array(items) => items.iter().find_map(|value| find(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[tokio::test]
async fn outputs_hold_the_results_of_the_members() {
    let [(_, lead), ada] = greeting();
    let mut lead = lead;
    lead.insert(2, Reply::call("list_teammates", json!({})));
    let server = FakeModelServer::start(by_model([("lead", lead), ada])).await;
    let rig = rig(&server);
    let result = rig.json(["run", "Greet the world"]).await;
    assert_eq!(result["outputs"]["ada"], "greeting.txt says hello");
    let requests = server.requests();
    let of_lead: Vec<_> = requests
        .iter()
        .filter(|asked| asked.model() == "lead")
        .collect();
    let listed = of_lead
        .iter()
        .flat_map(|asked| asked.results())
        .find(|(_, text)| text.contains("last report"));
    let (_, listed) = listed.expect("the lead listed its teammates");
    assert!(
        listed.contains("T-1 completed: greeting.txt says hello"),
        "{listed}"
    );
}

#[tokio::test]
async fn outputs_hold_the_reasons_of_failed_tasks() {
    let rig = headless(&["ada"], &task("Fail", "exit 3", ""));
    for _ in 0..2 {
        let report = rig.run(["up", "--wait", "--json"]).await.expect(1).json();
        let reason = report["tasks"][0]["result"].as_str().expect("a reason");
        assert!(reason.contains('3'), "{reason}");
        assert_eq!(report["tasks"][0]["owner"], "ada");
        assert_eq!(report["outputs"], json!({"ada": reason}));
        // The second report describes the stored team.
        rig.ok(["supervisor", "restart"]).await;
    }
}

#[tokio::test]
async fn a_completion_hook_refuses_three_times_at_most() {
    let documentation = documentation();
    assert!(
        documentation.contains("exit 0 accepts, other codes refuse: 2 with stderr as the reason")
    );
    assert!(documentation.contains(
        "A `task_completed` hook can refuse a task three times in a row. The fourth attempt completes the task without \
         running the hook, and the message to the lead reports this."
    ));
    let complete = || Reply::call("complete_task", json!({"task": "T-1", "result": "hello"}));
    for (hook, reason) in [("echo no tests >&2; exit 2", "no tests"), ("exit 3", "3")] {
        let lead = vec![Reply::text("I see."); 8];
        let ada = vec![
            complete(),
            complete(),
            complete(),
            complete(),
            Reply::text("Done."),
        ];
        let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
        let rig = rig(&server);
        let hook = format!("cat > /dev/null; echo asked >> asked; {hook}");
        let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
        let rest = format!(
            "[hooks]\ntask_completed = {hook:?}\n[[task]]\ntitle = \"Write the greeting\"\n"
        );
        rig.set_team(&(file + &rest));
        rig.ok(["up", "--wait"]).await;
        assert_eq!(rig.read("asked").as_deref(), Some("asked\nasked\nasked\n"));
        let requests = server.requests();
        let results = requests
            .iter()
            .filter(|asked| asked.model() == "ada")
            .flat_map(|asked| asked.results());
        let refused = results.filter(|(_, text)| text.contains(reason) && text.contains("Refused"));
        assert_eq!(refused.count(), 3, "{reason}");
        let of_lead = rig.json(["messages", "lead"]).await["messages"].to_string();
        let against = "completed although its hook refused 3 times";
        assert!(of_lead.contains(against), "{of_lead}");
    }
}

#[tokio::test]
async fn up_continues_a_stopped_team() {
    assert!(documentation().contains(
        "`up` or `run` of a team that was stopped continues with its board and its conversations. A task that was in \
         progress is pending again, for any member that may claim it"
    ));
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    rig.run(["spawn", "worker", "--name", "rita"])
        .await
        .expect(0)
        .assert_prints("rita spawned (pid ");
    rig.ok(["down"]).await;
    assert_eq!(
        rig.json(["task", "list"]).await["tasks"][0]["state"],
        "pending"
    );
    std::fs::remove_file(rig.project().join("gate")).expect("the task made it");
    rig.ok(["up"]).await;
    let again = rig.until_task_is("T-1", TaskState::InProgress).await;
    assert_eq!(again.attempts, 2);
    rig.until_member("rita", |rita| rita.pid.is_some()).await;
}

#[tokio::test]
async fn prompts_and_docs_agree_on_the_end_of_a_task() {
    assert!(documentation().contains(
        "An agent completes a task only with a call of `complete_task`, never with an answer. An agent that ends its \
         turn with an open task is reminded once"
    ));
    let ada = vec![Reply::text("Written."), Reply::text("It is written.")];
    let server = FakeModelServer::start(by_model([("lead", Vec::new()), ("ada", ada)])).await;
    let rig = rig(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&(file + "[[task]]\ntitle = \"Write the greeting\"\nfor = \"ada\"\n"));
    rig.ok(["up", "--detach"]).await;
    server.until_asked("ada", 2).await;
    let requests = server.requests();
    let of_ada: Vec<_> = requests.iter().filter(|it| it.model() == "ada").collect();
    assert!(of_ada[0].system().contains("End it with complete_task"));
    assert!(
        of_ada[0]
            .last_input()
            .contains("When it is done, call complete_task")
    );
    let reminder = of_ada[1].last_input();
    assert!(
        reminder.contains("an answer without a call does not end it"),
        "{reminder}"
    );
}

#[tokio::test]
async fn echo_runs_without_asking_as_documented() {
    assert!(
        documentation()
            .contains("commands that only print, such as `echo` and `pwd`, run without asking")
    );
    let rig = rig_with_requests(&FakeModelServer::start(by_model(greeting())).await);
    rig.ok(["up", "--detach"]).await;
    for command in ["echo hello", "pwd"] {
        let ruling = rig
            .ok(["rules", "check", "--json", "--", command])
            .await
            .json();
        assert_eq!(ruling["decision"], "allow", "{command}: {ruling}");
    }
    let ruling = rig
        .ok(["rules", "check", "--json", "--", "echo hello > out.txt"])
        .await
        .json();
    assert_ne!(ruling["decision"], "allow", "{ruling}");
}

#[tokio::test]
async fn spawn_fails_for_a_member_that_cannot_start() {
    let rig = Rig::with_team(
        "name = \"demo\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\nengine = \"command\"\n",
    );
    rig.ok(["up", "--detach"]).await;
    let error = rig
        .refused(1, ["spawn", "reviewer", "--engine", "native"])
        .await;
    assert_eq!(error["code"], "held");
    let message = error["message"].as_str().expect("a text");
    assert!(
        message.starts_with("cannot start reviewer-1: "),
        "{message}"
    );
    let hint = error["hint"].as_str().expect("a hint");
    assert!(hint.contains("agent-team restart reviewer-1"), "{hint}");
}

#[tokio::test]
async fn refusals_for_models_name_no_commands() {
    let lead = vec![
        Reply::call("create_task", json!({"title": "Write the greeting"})),
        Reply::call("assign_task", json!({"task": "T-9", "member": "ada"})),
        Reply::call("cancel_task", json!({"task": "T-1"})),
        Reply::call("assign_task", json!({"task": "T-1", "member": "ada"})),
        Reply::call("deny_request", json!({"id": "P-9", "reason": "no"})),
        Reply::call("send_message", json!({"to": "nobody", "text": "hello"})),
        Reply::call("finish", json!({"answer": "Done.", "force": true})),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", Vec::new())])).await;
    let rig = rig(&server);
    rig.set_team(
        "name = \"demo\"\nmode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n\
         [[member]]\nname = \"ada\"\nengine = \"native\"\nmodel = \"openai/ada\"\nclaim = \"assigned\"\n",
    );
    rig.ok(["run", "Greet the world"]).await;
    let requests = server.requests();
    let of_lead = requests.iter().filter(|asked| asked.model() == "lead");
    let results: Vec<_> = of_lead.flat_map(|asked| asked.results()).collect();
    let refused: Vec<_> = results
        .iter()
        .filter(|(_, text)| text.contains("Refused ("))
        .collect();
    assert!(refused.len() >= 3, "{results:?}");
    for (_, text) in refused {
        assert!(!text.contains("agent-team "), "{text}");
        assert!(!text.contains(" --"), "{text}");
    }
}

#[tokio::test]
async fn team_delete_removes_limits_rules_and_trust() {
    let mut rig = Rig::with_team(
        "name = \"demo\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\n\
         [permissions]\nallow = [\"Bash(ls)\"]\n",
    );
    rig.ok(["up", "--detach"]).await;
    rig.ok(["config", "set", "limits.tokens", "1000"]).await;
    let team = rig.json(["team", "show"]).await["team"].clone();
    let team = team.as_str().expect("an id");
    let directories = rig.directories();
    let rules = directories
        .config
        .join(format!("teams/{team}.permissions.toml"));
    std::fs::write(&rules, "allow = [\"Bash(make:*)\"]\n").expect("the file can be written");
    rig.ok(["down"]).await;
    let answer = rig.json(["team", "delete", "--yes"]).await;
    let removed: Vec<&str> = answer["receipts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|receipt| receipt["fate"] == "removed")
        .filter_map(|receipt| receipt["what"].as_str())
        .collect();
    for file in directories.user_files(team) {
        let name = file.display().to_string();
        assert!(removed.contains(&name.as_str()), "{name}: {removed:?}");
        assert!(!file.exists(), "{name}");
    }
    let listed = rig.json(["config", "get", "limits.tokens"]).await;
    assert_eq!(listed["settings"][0]["value"], Value::Null);
    rig.trust_nothing();
    rig.run(["up", "--detach"])
        .await
        .expect(4)
        .assert_prints("not trusted");
}
