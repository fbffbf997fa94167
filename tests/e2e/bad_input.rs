//! Invalid or impossible input: an error with its location, an exit code, and no change.

use agent_team_client::CallError;
use agent_team_protocol::method::{
    AddTask, ClaimTask, EndTask, MessageSend, SendMessage, TEXT_MAX, TaskAdd, TaskClaim,
    TaskComplete,
};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::TaskState;
use agent_team_protocol::{ErrorCode, Recipient, TaskId};
use agent_team_tests::{Rig, processes};
use serde_json::Value;

use crate::teams::{assigned, file, headless, task};

const MEMBER: &str = "[[member]]\nname = \"ada\"\nengine = \"command\"\n";

/// Asserts that `up` refuses each of these team files with exit code 2, that its error contains all words listed with
/// the file, and that no team is created.
async fn assert_refused(files: &[(&str, &[&str])]) {
    let rig = Rig::new();
    for (text, words) in files {
        rig.set_team(text);
        let mut output = rig.run(["up"]).await.expect(2);
        for word in *words {
            output = output.assert_prints(word);
        }
        let error = rig.refused(2, ["up"]).await;
        assert!(
            error["code"].is_string() && error["message"].is_string(),
            "{error}"
        );
        let teams = std::fs::read_dir(rig.directories().teams());
        assert_eq!(teams.into_iter().flatten().count(), 0, "no team of {text}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
    let text = format!("{MEMBER}rol = \"worker\"\n");
    assert_refused(&[
        (&text, &["team.toml:4", "`rol`", "`role`"]),
        ("nmae = \"x\"\n", &["team.toml:1", "`nmae`", "`name`"]),
    ])
    .await;
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_named_with_its_line() {
    let text = format!("{MEMBER}[[task]]\ntitle = \"x\"\npriority = \"high\"\n");
    assert_refused(&[(&text, &["team.toml:6", "priority"])]).await;
}

#[tokio::test]
async fn a_toml_syntax_error_is_reported_with_its_line() {
    assert_refused(&[
        ("name = \n", &["team.toml:1"]),
        ("[[member]\n", &["team.toml:1"]),
    ])
    .await;
}

#[tokio::test]
async fn a_dependency_cycle_is_named() {
    let tasks = [
        task("One", "true", "after = [\"Two\"]"),
        task("Two", "true", "after = [\"One\"]"),
    ];
    let text = format!("{MEMBER}{}", tasks.concat());
    assert_refused(&[(&text, &["team.toml:", "One", "Two", "wait for each other"])]).await;
}

#[tokio::test]
async fn an_unknown_dependency_is_named_with_its_line() {
    let text = format!("{MEMBER}{}", task("Test", "true", "after = [\"Bild\"]"));
    assert_refused(&[(&text, &["team.toml:7", "Bild"])]).await;
}

#[tokio::test]
async fn duplicate_reserved_or_malformed_names_are_refused() {
    let member = |name: &str| format!("[[member]]\nname = \"{name}\"\nengine = \"command\"\n");
    let twice = format!("{MEMBER}{MEMBER}");
    let tasks = [task("Same", "true", ""), task("Same", "true", "")];
    let keys = format!("{MEMBER}{}", tasks.concat());
    assert_refused(&[
        (&twice, &["team.toml:5", "ada", "already"]),
        (&keys, &["team.toml:", "Same", "already"]),
        (&member("user"), &["team.toml:2", "reserved"]),
        (&member("all"), &["team.toml:2", "reserved"]),
        (&member("lead"), &["team.toml:2", "reserved"]),
        (&member("Ada"), &["team.toml:2", "Ada", "lower-case"]),
        (&member("../../etc"), &["team.toml:2", "lower-case"]),
        (&member("a b"), &["team.toml:2", "lower-case"]),
        (
            &format!("name = \"X y\"\n{MEMBER}"),
            &["team.toml:1", "lower-case"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_unknown_role_or_engine_is_named_with_the_nearest_name() {
    let role = format!("{MEMBER}role = \"wroker\"\n");
    let engine = "[[member]]\nname = \"ada\"\nengine = \"comand\"\n";
    assert_refused(&[
        (&role, &["team.toml:4", "wroker", "worker"]),
        (engine, &["team.toml:3", "comand", "command"]),
    ])
    .await;
}

#[tokio::test]
async fn invalid_agent_settings_are_reported_with_their_line() {
    let model = format!("{MEMBER}model = \"x/y\"\n");
    let agent = "[[member]]\nname = \"ada\"\n";
    let tool = format!("{agent}tools = [\"raed\"]\n");
    let variable = format!("{agent}prompt = \"Use {{{{lang}}}}\"\n");
    assert_refused(&[
        (&model, &["team.toml:4", "model", "applies only to agents"]),
        (&tool, &["team.toml:3", "raed", "read"]),
        (&variable, &["team.toml:3", "lang", "--var lang="]),
    ])
    .await;
}

#[tokio::test]
async fn unsupported_settings_and_goals_without_a_lead_are_refused() {
    let engine = "[[member]]\nname = \"ada\"\nengine = \"acp\"\n";
    let command = format!("{MEMBER}command = \"aider\"\n");
    assert_refused(&[
        (engine, &["team.toml:3", "acp", "not supported"]),
        (&command, &["team.toml:4", "command", "not supported"]),
    ])
    .await;
    let rig = headless(&["ada"], "");
    rig.run(["up", "make it faster"])
        .await
        .expect(2)
        .assert_prints("no lead");
    let hint = "run agent-team up, then add a task with agent-team task add \"…\" --run \"…\"; or add a [lead] table";
    rig.run(["run", "make it faster"])
        .await
        .expect(2)
        .assert_prints("the team has no lead")
        .assert_prints(hint);
    rig.ok(["up", "--detach"]).await;
    rig.run(["run", "make it faster"])
        .await
        .expect(2)
        .assert_prints("the team has no lead")
        .assert_prints(hint);
    rig.run(["up", "-n", "3"]).await.expect(2);
}

#[tokio::test]
async fn a_lead_that_runs_commands_takes_no_goal() {
    let rig = headless(&["ada"], "[lead]\n");
    let add = "add engine = \"native\" to [lead]";
    for verb in ["run", "up"] {
        rig.run([verb, "make it faster"])
            .await
            .expect(2)
            .assert_prints("the lead is not an agent")
            .assert_prints(add);
    }
    rig.ok(["up", "--detach"])
        .await
        .assert_prints("takes no goal")
        .assert_prints(add);
    rig.run(["run", "make it faster"])
        .await
        .expect(2)
        .assert_prints("the lead is not an agent");
    let rig = headless(&["ada"], "[lead]\nengine = \"command\"\n");
    let up = rig.ok(["up", "--detach"]).await;
    assert!(!up.stderr.contains("takes no goal"), "{}", up.stderr);
}

#[tokio::test]
async fn a_missing_directory_is_named_with_its_line() {
    let text = format!("{MEMBER}cwd = \"no-such\"\n");
    assert_refused(&[(&text, &["team.toml:4", "no-such"])]).await;
}

#[tokio::test]
async fn a_refused_edit_leaves_a_running_team_unchanged() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let before = rig.json(["ps"]).await["revision"].clone();
    rig.set_team(&file(&["ada", "ada"], "headless", "ready", ""));
    rig.run(["up"]).await.expect(2);
    let many: Vec<String> = (0..11).map(|number| format!("m{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    rig.set_team(&file(&many, "headless", "ready", ""));
    rig.run(["up"]).await.expect(2).assert_prints("teammates");
    assert_eq!(rig.json(["ps"]).await["revision"], before);
}

#[tokio::test]
async fn up_without_a_team_file_names_init() {
    let rig = Rig::new();
    rig.run(["up"])
        .await
        .expect(3)
        .assert_prints("team.toml")
        .assert_prints("init");
    rig.run(["up", "--file", "nowhere.toml"])
        .await
        .expect(3)
        .assert_prints("nowhere.toml");
    rig.run(["ps"]).await.expect(3).assert_prints("up");
}

#[tokio::test]
async fn an_ambiguous_team_name_requires_the_team_id() {
    let rig = headless(&["ada"], "");
    let other = rig.other_project("other", &file(&["bob"], "headless", "ready", ""));
    rig.ok(["up"]).await;
    rig.run_in(&other, ["up"]).await.expect(0);
    let teams = rig.json(["team", "list"]).await;
    let ids: Vec<&str> = teams["teams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|team| team["team"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    let elsewhere = rig.root().join("home");
    rig.run_in(&elsewhere, ["ps", "-t", "demo"])
        .await
        .expect(2)
        .assert_prints(ids[0])
        .assert_prints(ids[1]);
    for id in ids {
        rig.run_in(&elsewhere, ["ps", "-t", id]).await.expect(0);
    }
    rig.run_in(&elsewhere, ["ps", "-t", "nobody"])
        .await
        .expect(3)
        .assert_prints("nobody");
}

#[tokio::test]
async fn attach_without_a_terminal_is_refused() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.run(["attach"])
        .await
        .expect(4)
        .assert_prints("terminal");
    rig.run(["attach", "ada"])
        .await
        .expect(4)
        .assert_prints("terminal");
}

#[tokio::test]
async fn a_refused_claim_names_the_holder_or_the_blocking_task() {
    let tasks = [
        task("One", "true", ""),
        task("Two", "true", "after = [\"One\"]"),
    ];
    let rig = assigned(&["ada"], &tasks.concat());
    rig.ok(["up"]).await;
    rig.ok(["task", "claim", "T-1"]).await;
    let revision = rig.json(["ps"]).await["revision"].clone();
    let taken = rig.refused(4, ["task", "claim", "T-1"]).await;
    assert_eq!(taken["code"], "already_claimed");
    assert!(taken["message"].as_str().unwrap().contains("user"));
    let blocked = rig.refused(4, ["task", "claim", "T-2"]).await;
    assert_eq!(blocked["code"], "blocked");
    assert!(blocked["message"].as_str().unwrap().contains("T-1"));
    rig.run(["task", "claim"]).await.expect(4);
    rig.run(["task", "claim", "T-9"])
        .await
        .expect(3)
        .assert_prints("T-9");
    rig.run(["task", "claim", "nine"]).await.expect(2);
    rig.run(["task", "complete", "T-2"]).await.expect(4);
    assert_eq!(rig.json(["ps"]).await["revision"], revision);
}

#[tokio::test]
async fn a_member_cannot_complete_a_task_of_another() {
    let mut rig = assigned(&["ada"], &task("One", "true", ""));
    let stubs = rig.stub_workers("wire::stub_for_another_test");
    let mut up = rig.start(["up"]);
    let stub = stubs.next().await;
    let hello = stub.hello();
    let ada = stub.send(&hello).await.unwrap();
    up.wait().await;
    rig.ok(["task", "claim", "T-1"]).await;
    let task = TaskId(1);
    let generation = Some(rig.task("T-1").await.generation);
    let end = EndTask {
        task,
        generation,
        text: "mine".to_owned(),
    };
    let refusals = [
        ada.call::<TaskComplete>(end, "1").await.err(),
        ada.call::<TaskClaim>(ClaimTask { task: Some(task) }, "2")
            .await
            .err(),
    ];
    let codes = refusals.map(|error| match error {
        Some(CallError::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    });
    assert_eq!(codes, [ErrorCode::NotOwner, ErrorCode::AlreadyClaimed]);
    let one = rig.task("T-1").await;
    assert_eq!(one.state, TaskState::InProgress);
    assert_eq!(
        one.owner.map(|owner| owner.to_string()).as_deref(),
        Some("user")
    );
    let spec = TaskSpec {
        key: "x".to_owned(),
        title: "x".to_owned(),
        run: Some("rm -rf /".to_owned()),
        ..TaskSpec::default()
    };
    let error = ada.call::<TaskAdd>(AddTask { spec }, "3").await;
    assert!(
        matches!(error, Err(CallError::Refused(_))),
        "a member cannot add a task with a run line"
    );
}

#[tokio::test]
async fn an_unknown_member_or_role_is_named_in_the_error() {
    let rig = headless(&["ada"], &task("One", "true", "for = \"ada\""));
    rig.ok(["up", "--wait"]).await;
    rig.ok(["task", "add", "Two"]).await;
    let revision = rig.json(["ps"]).await["revision"].clone();
    for verb in ["why", "logs", "stop", "kill", "restart"] {
        rig.run([verb, "zoe"]).await.expect(3).assert_prints("zoe");
    }
    rig.run(["send", "zoe", "hi"])
        .await
        .expect(3)
        .assert_prints("zoe");
    rig.run(["task", "assign", "T-2", "zoe"])
        .await
        .expect(3)
        .assert_prints("zoe");
    rig.run(["why", "Zoe Zoe"]).await.expect(2);
    rig.run(["spawn", "nobody"])
        .await
        .expect(3)
        .assert_prints("nobody");
    rig.run(["spawn", "worker", "--name", "ada"])
        .await
        .expect(4)
        .assert_prints("ada");
    rig.run(["spawn", "worker", "--name", "all"])
        .await
        .expect(2);
    rig.run(["send", "lead", "hi"])
        .await
        .expect(3)
        .assert_prints("lead");
    assert_eq!(rig.json(["ps"]).await["revision"], revision);
}

#[tokio::test]
async fn a_message_is_refused_only_above_the_size_limit() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let fits = "x".repeat(TEXT_MAX);
    rig.run_with(["send", "ada", "-"], &fits).await.expect(0);
    let too_large = format!("{fits}x");
    let output = rig.run_with(["send", "ada", "-"], &too_large).await;
    output.expect(2).assert_prints("65536");
    let messages = rig.json(["messages"]).await;
    assert_eq!(messages["messages"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_full_inbox_refuses_until_a_message_is_read() {
    const FULL: usize = 1_000;
    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    rig.ok(["stop", "ada"]).await;
    let user = rig.user().await;
    let message = || SendMessage {
        to: Recipient::Member("ada".parse().unwrap()),
        text: "hello".to_owned(),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    for _ in 0..FULL {
        user.ask::<MessageSend>(message()).await;
    }
    let refusal = user.refused::<MessageSend>(message()).await;
    assert_eq!(refusal.code, ErrorCode::InboxFull);
    rig.run(["send", "ada", "one more"])
        .await
        .expect(4)
        .assert_prints("inbox of ada is full");
    rig.ok(["send", "bob", "you instead"]).await;
    rig.ok(["restart", "ada"]).await;
    rig.until_member("ada", |ada| ada.unread == 0).await;
    rig.ok(["send", "ada", "one more"]).await;
}

#[tokio::test]
async fn unknown_verbs_and_options_are_refused() {
    let rig = Rig::new();
    rig.run(["pss"]).await.expect(2).assert_prints("ps");
    rig.run(["up", "--wiat"])
        .await
        .expect(2)
        .assert_prints("--wait");
    rig.run(["up", "--env", "novalue"]).await.expect(2);
    rig.run(["up", "--env", "AGENT_TEAM_LAUNCH=x"])
        .await
        .expect(2);
    rig.run(["task", "add"]).await.expect(2);
    rig.run(["init", "--template", "cobol"])
        .await
        .expect(2)
        .assert_prints("rust");
    assert_eq!(rig.processes(), [], "no process was started");
}

#[tokio::test]
async fn json_errors_are_objects_with_the_same_exit_code() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let error: Value = rig.refused(3, ["why", "zoe"]).await;
    assert_eq!(error["code"], "unknown_member");
    assert!(error["message"].as_str().unwrap().contains("zoe"));
    let output = rig.run(["why", "zoe", "--json"]).await;
    assert_eq!(output.stdout, "");
}

#[tokio::test]
async fn invalid_settings_are_named_with_their_file() {
    let rig = headless(&["ada"], "");
    let config = rig.directories().config;
    std::fs::create_dir(&config).unwrap();
    for (text, expected) in [
        ("durability = \"often\"\n", "config.toml:1:14: `durability`"),
        ("\ndurability = 1\n", "config.toml:2:14: `durability`"),
        ("durabilty = \"power\"\n", "did you mean `durability`?"),
        ("durability\n", "config.toml:1:"),
        (
            "[permissions]\nallow = [\"Bash(ls:*\"]\n",
            "config.toml:2:10: `Bash(ls:*`",
        ),
    ] {
        std::fs::write(config.join("config.toml"), text).unwrap();
        rig.run(["up"]).await.expect(2).assert_prints(expected);
        // `up` prints the reason before the supervisor exits.
        for refused in rig.processes() {
            processes::ended(refused.process).await;
        }
        assert_eq!(rig.processes(), []);
    }
    std::fs::write(config.join("config.toml"), "durability = \"process\"\n").unwrap();
    rig.ok(["up"]).await;
    let supervisor = rig.supervisor().await;

    // The supervisor that started with valid settings keeps running.
    std::fs::write(config.join("config.toml"), "durable = true\n").unwrap();
    rig.run(["supervisor", "restart"])
        .await
        .expect(2)
        .assert_prints("config.toml:1:1");
    assert_eq!(rig.supervisor().await, supervisor);
}
