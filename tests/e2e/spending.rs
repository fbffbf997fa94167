//! Model costs per member and in total, limits on these costs, and blocked members with the reason and the time.

use agent_team_protocol::view::{MemberState, Waiting};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until};
use serde_json::{Value, json};

/// A lead alone, whose model has a known price.
const TEAM: &str = "\
name = \"demo\"
mode = \"lead\"
[panes]
placement = \"headless\"
[lead]
model = \"openai/gpt-5.1\"
";

fn rig(server: &FakeModelServer, team: &str) -> Rig {
    let mut rig = Rig::with_team(team);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig
}

fn finish(model: &'static str) -> [(&'static str, Vec<Reply>); 1] {
    let finish = Reply::call("finish", json!({"answer": "It is done."}));
    [(model, vec![finish.tokens(1_000_000, 100_000, 600_000)])]
}

/// The JSON report of a run with the prices of these settings.
async fn run(model: &'static str, settings: &str) -> Value {
    let server = FakeModelServer::start(by_model(finish(model))).await;
    let rig = rig(&server, &TEAM.replace("gpt-5.1", model));
    let config = rig.directories().config;
    std::fs::create_dir_all(&config).expect("the directory can be created");
    std::fs::write(config.join("config.toml"), settings).expect("the file can be written");
    let output = rig.run(["run", "--json", "Do it"]).await.expect(0);
    output.json()
}

#[tokio::test]
async fn a_run_reports_its_cost() {
    let result = run("gpt-5.1", "").await;
    assert_eq!(result["tokens"], 1_100_000);
    // 400,000 uncached and 600,000 cached input tokens, and 100,000 output tokens.
    assert_eq!(result["cost"], 0.5 + 0.075 + 1.0);
    assert_eq!(result["members"][0]["usage"]["micro_usd"], 1_575_000);
}

#[tokio::test]
async fn a_price_of_the_user_overrides_the_known_price() {
    let own = "[models.openai]\n\"gpt-5.1\" = { input = 10.0, output = 20.0 }\n";
    let result = run("gpt-5.1", own).await;
    assert_eq!(result["cost"], 12.0);
}

#[tokio::test]
async fn the_cost_of_an_unpriced_model_is_null() {
    let result = run("gpt-of-tomorrow", "").await;
    assert_eq!(result["cost"], Value::Null);
    assert_eq!(result["members"][0]["usage"]["unpriced"], 1_100_000);
}

#[tokio::test]
async fn ps_shows_tokens_and_cost_only_if_there_are_any() {
    let mut conversation = finish("gpt-5.1");
    conversation[0]
        .1
        .insert(0, Reply::text("Hm.").tokens(0, 0, 0));
    let server = FakeModelServer::start(by_model(conversation)).await;
    let rig = rig(&server, TEAM);
    rig.ok(["up", "--detach"]).await;
    let before = rig.run(["ps"]).await.expect(0).stdout;
    assert!(!before.contains("COST"), "{before}");
    rig.ok(["up", "--detach", "Do it"]).await;
    agent_team_tests::until("the cost", async || {
        let shown = rig.run(["ps"]).await.expect(0).stdout;
        (shown.contains("1.1M") && shown.contains("$1.57")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn ps_shows_an_effort_and_the_cost_of_its_thoughts() {
    let server = FakeModelServer::start(by_model(finish("gpt-5.1"))).await;
    let rig = rig(&server, &format!("{TEAM}effort = \"high\"\n"));
    rig.ok(["up", "--detach", "Do it"]).await;
    agent_team_tests::until("the cost", async || {
        let shown = rig.ok(["ps"]).await.stdout;
        (shown.contains("$1.57")).then_some(())
    })
    .await;
    let shown = rig.ok(["ps"]).await.stdout;
    let before = shown.lines().find_map(|line| line.split_once("EFFORT"));
    let (before, _) = before.expect("the column of the effort");
    let column = before.chars().count();
    let mut cells = shown
        .lines()
        .map(|line| line.chars().skip(column).collect::<String>());
    assert!(cells.any(|cell| cell.starts_with("high")), "{shown}");
    let ps = rig.json(["ps"]).await;
    assert_eq!(ps["members"][0]["effort"], "high");
    assert_eq!(server.requests()[0].body["reasoning_effort"], "high");
    // The tokens of thoughts are output tokens.
    assert_eq!(ps["members"][0]["usage"]["output"], 100_000);
    assert_eq!(ps["members"][0]["usage"]["micro_usd"], 1_575_000);
}

/// The provider receives an effort only if an effort is set.
#[tokio::test]
async fn the_effort_of_a_goal_ends_with_it_and_restarts_no_member() {
    let finish = || Reply::call("finish", json!({"answer": "It is done."}));
    let replies = vec![finish(), finish(), finish(), finish()];
    let server = FakeModelServer::start(by_model([("lead", replies)])).await;
    let mut rig = Rig::with_team(&TEAM.replace("openai/gpt-5.1", "groq/lead"));
    rig.set("GROQ_BASE_URL", server.base_url());
    rig.set("GROQ_API_KEY", "a-key-for-tests");
    rig.ok(["up", "--detach"]).await;
    let launch = rig.member("lead").await.launch;
    assert!(launch.is_some());
    let efforts = || {
        let requests = server.requests().into_iter();
        let of_lead = requests.filter(|request| request.model() == "lead");
        let efforts = of_lead.map(|request| request.body["reasoning_effort"].clone());
        efforts.collect::<Vec<_>>()
    };
    rig.ok(["run", "--effort", "high", "First"]).await;
    assert_eq!(efforts(), [json!("high")]);
    assert_eq!(rig.json(["goal", "show"]).await["effort"], "high");
    let shown = rig.ok(["goal", "show"]).await.stdout;
    assert!(shown.contains("effort high"), "{shown}");
    rig.ok(["run", "Second"]).await;
    assert_eq!(efforts(), [json!("high"), Value::Null]);
    rig.ok(["up", "--wait", "--effort", "low", "Third"]).await;
    rig.ok(["up", "--wait", "Fourth"]).await;
    let expected = [json!("high"), Value::Null, json!("low"), Value::Null];
    assert_eq!(efforts(), expected);
    assert_eq!(rig.member("lead").await.launch, launch);
    // Without a goal, the effort belongs to the team, whose members start again with it.
    rig.ok(["up", "--detach", "--effort", "max"]).await;
    let ps = rig.json(["ps"]).await;
    assert_eq!(ps["members"][0]["effort"], "max");
}

#[tokio::test]
async fn an_invalid_price_file_fails_the_run() {
    let server = FakeModelServer::start(by_model(finish("gpt-5.1"))).await;
    let rig = rig(&server, TEAM);
    let config = rig.directories().config;
    std::fs::create_dir_all(&config).expect("the directory can be created");
    let wrong = "[models.opnai]\nx = { input = 1.0, output = 1.0 }\n";
    std::fs::write(config.join("config.toml"), wrong).expect("the file can be written");
    rig.run(["run", "Do it"])
        .await
        .expect(3)
        .assert_prints("unknown provider \"opnai\"");
}

/// The lead may use 1,000 tokens on a goal.
const LIMITED: &str = "\
name = \"demo\"
mode = \"lead\"
[panes]
placement = \"headless\"
[lead]
model = \"openai/lead\"
limits.tokens = 1_000
";

fn finish_in_two_steps() -> Vec<Reply> {
    vec![
        Reply::call("list_tasks", json!({})).tokens(1_200, 10, 0),
        Reply::call("finish", json!({"answer": "It is done."})),
    ]
}

#[tokio::test]
async fn a_member_at_its_limit_waits_until_the_limit_is_raised() {
    let server = FakeModelServer::start(by_model([("lead", finish_in_two_steps())])).await;
    let rig = rig(&server, LIMITED);
    rig.ok(["up", "--detach", "Do it"]).await;
    let lead = rig.until_member_is("lead", MemberState::Waiting).await;
    assert!(matches!(lead.waiting, Some(Waiting::Budget { .. })));
    assert!(
        lead.why
            .contains("agent-team config set members.lead.limits.tokens"),
        "{}",
        lead.why
    );
    rig.run(["ps"])
        .await
        .expect(0)
        .assert_prints("waiting (budget)");
    rig.run(["messages"])
        .await
        .expect(0)
        .assert_prints("lead waits");
    assert_eq!(
        server.requests().len(),
        1,
        "the lead sends no further request"
    );

    // After a restart the lead still waits; only a higher limit from the user unblocks it.
    rig.ok(["restart", "lead"]).await;
    rig.until_member_is("lead", MemberState::Waiting).await;
    assert_eq!(server.requests().len(), 1);
    rig.run(["config", "set", "members.lead.limits.tokens", "100000"])
        .await
        .expect(0)
        .assert_prints("applies now");
    server.until_asked("lead", 2).await;
    let again = &server.requests()[1];
    assert_eq!(again.results().len(), 1, "no completed work is lost");
    rig.until_member_is("lead", MemberState::Idle).await;
    let stats = rig.json(["stats"]).await;
    assert_eq!(stats["total"]["tokens_in"], 1_300);
    assert_eq!(stats["members"][0]["stats"]["tokens_out"], 20);
    assert!(stats["total"]["working_ms"].as_u64() > Some(0), "{stats}");
}

#[tokio::test]
async fn a_member_blocked_by_a_busy_model_is_shown_with_the_time() {
    let replies = vec![
        Reply::error(429, "slow down").header("retry-after", "600"),
        Reply::call("finish", json!({"answer": "It is done."})),
    ];
    let server = FakeModelServer::start(by_model([("gpt-5.1", replies)])).await;
    let rig = rig(&server, TEAM);
    rig.ok(["up", "--detach", "Do it"]).await;
    let lead = rig.until_member_is("lead", MemberState::Waiting).await;
    assert!(lead.why.contains("slow down"), "{}", lead.why);
    let shown = rig.run(["ps"]).await.expect(0).stdout;
    assert!(shown.contains("waiting (model, 10 min)"), "{shown}");
    // The journal does not store transient states.
    let journal = rig.run(["events"]).await.expect(0).stdout;
    assert!(!journal.contains("slow down"), "{journal}");
}

#[tokio::test]
async fn the_log_has_one_line_for_all_attempts_of_a_request() {
    let busy = || Reply::error(429, "").header("retry-after", "0");
    let replies = vec![
        busy(),
        busy(),
        Reply::call("finish", json!({"answer": "It is done."})),
    ];
    let server = FakeModelServer::start(by_model([("gpt-5.1", replies)])).await;
    let rig = rig(&server, TEAM);
    rig.ok(["up", "--wait", "Do it"]).await;
    let log = rig.ok(["logs", "lead"]).await.stdout;
    let attempts: Vec<_> = log.lines().filter(|line| line.contains("busy")).collect();
    let [attempt] = attempts.as_slice() else {
        panic!("not one line: {log}");
    };
    assert!(
        attempt.contains("(429): Too Many Requests; next attempt in "),
        "{log}"
    );
}

#[tokio::test]
async fn a_lead_that_waits_for_messages_is_shown_as_waiting() {
    let wait = Reply::call("wait", json!({"for": "messages"}));
    let server = FakeModelServer::start(by_model([("gpt-5.1", vec![wait])])).await;
    let rig = rig(&server, TEAM);
    rig.ok(["up", "--detach", "Do it"]).await;
    let lead = rig.until_member_is("lead", MemberState::Waiting).await;
    assert!(lead.why.contains("waits for messages"), "{}", lead.why);
}

#[tokio::test]
async fn a_limit_raised_in_the_file_applies_with_the_next_up() {
    let server = FakeModelServer::start(by_model([("lead", finish_in_two_steps())])).await;
    let rig = rig(&server, LIMITED);
    rig.ok(["up", "--detach", "Do it"]).await;
    let lead = rig.until_member_is("lead", MemberState::Waiting).await;
    rig.set_team(&LIMITED.replace("1_000", "100_000"));
    rig.ok(["up", "--detach"]).await;
    server.until_asked("lead", 2).await;
    assert_eq!(rig.member("lead").await.launch, lead.launch);
}

#[tokio::test]
async fn a_model_set_by_the_user_is_used_at_the_next_launch() {
    let server = FakeModelServer::start(by_model(finish("mine"))).await;
    let rig = rig(&server, TEAM);
    let file = rig.read(".agent-team/team.toml");
    let get = rig.json(["config", "get", "members.lead.model"]).await;
    assert_eq!(get["settings"][0]["from"], ".agent-team/team.toml:5");
    rig.run(["config", "set", "members.lead.model", "openai:mine"])
        .await
        .expect(0)
        .assert_prints("members.lead.model is openai/mine");
    rig.ok(["run", "Do it"]).await;
    assert_eq!(server.requests()[0].model(), "mine");
    assert_eq!(
        rig.read(".agent-team/team.toml"),
        file,
        "the team file is unchanged"
    );
    let reset = rig.json(["config", "reset", "members.lead.model"]).await;
    assert_eq!(reset["applies"], "next_launch");
    let get = rig.json(["config", "get", "members.lead.model"]).await;
    assert_eq!(get["settings"][0]["value"], "openai/gpt-5.1");
}

#[tokio::test]
async fn invalid_settings_are_refused_and_not_written() {
    let rig = Rig::with_team(TEAM);
    for (key, value, expected) in [
        ("modle", "x", "did you mean `model`?"),
        ("model", "qwen3", "is unknown: write <provider>/"),
        ("members.zoe.model", "openai/x", "there is no member zoe"),
        ("members.lead.role", "poet", "there is no role poet"),
        ("limits.usd", "much", "a number above 0"),
    ] {
        rig.run(["config", "set", key, value])
            .await
            .expect(2)
            .assert_prints(expected);
    }
    assert!(!rig.directories().config.join("teams").exists());
    rig.run(["config", "reset", "model"])
        .await
        .expect(4)
        .assert_prints("you have not set it");
}

#[tokio::test]
async fn doctor_explains_each_model_and_shows_no_key() {
    let server = FakeModelServer::start(by_model(finish("gpt-5.1"))).await;
    let named = rig(&server, TEAM);
    let output = named.run(["doctor"]).await.expect(0).stdout;
    for part in [
        "lead: openai/gpt-5.1",
        "team.toml:5",
        "OPENAI_API_KEY is set",
    ] {
        assert!(output.contains(part), "{part}: {output}");
    }
    assert!(!output.contains("a-key-for-tests"), "{output}");

    let mut unnamed = Rig::with_team(&TEAM.replace("model = \"openai/gpt-5.1\"\n", ""));
    unnamed.set("OLLAMA_HOST", "127.0.0.1:1");
    unnamed.set("LLAMACPP_BASE_URL", "http://127.0.0.1:1");
    unnamed.set("VLLM_BASE_URL", "http://127.0.0.1:1");
    unnamed
        .run(["doctor"])
        .await
        .expect(1)
        .assert_prints("no model is available\n")
        .assert_prints(" - set a key: ");
    let refused = unnamed.run(["up", "--detach", "Greet"]).await.expect(3);
    let expected = "error: cannot start lead: no model is available\n  - set a key: ";
    assert!(refused.stderr.starts_with(expected), "{}", refused.stderr);
    unnamed.set_team(&format!(
        "{TEAM}[[member]]\nname = \"ada\"\nmodel = \"groq/qwen\"\n"
    ));
    let output = unnamed.run(["doctor"]).await.expect(1).stdout;
    for part in [
        "lead: openai requires a key: set OPENAI_API_KEY",
        "ada: groq requires a key: set GROQ_API_KEY",
    ] {
        assert!(output.contains(part), "each is reported: {output}");
    }
    std::fs::remove_file(unnamed.project().join(".agent-team/team.toml"))
        .expect("the file existed");
    unnamed
        .run(["doctor"])
        .await
        .expect(0)
        .assert_prints("no model is available\n");
    // On a terminal, a long text is wrapped between words, below its beginning.
    let mut screen = unnamed.on_terminal_of((80, 24), ["--color", "never", "doctor"]);
    screen.until("OPENAI_BASE_URL").await;
    let (_, shown) = screen.end().await;
    let wrapped = shown
        .lines()
        .filter(|line| line.starts_with(&" ".repeat(24)));
    assert!(wrapped.count() > 2, "{shown}");
    // A hint stays on one line: the user copies its command. A path is one word, which can be longer than a line.
    let is_text = |line: &&str| !line.contains("hint: ") && !line.contains('/');
    let texts = shown.lines().filter(is_text);
    let widest = texts.map(|line| line.trim_end().chars().count()).max();
    assert!(widest <= Some(80), "{shown}");
    unnamed.set_team(&TEAM.replace("model = \"openai/gpt-5.1\"\n", ""));
    unnamed.set("ANTHROPIC_API_KEY", "a-key-for-tests");
    let output = unnamed.run(["doctor"]).await.expect(0).stdout;
    assert!(output.contains("ANTHROPIC_API_KEY is set"), "{output}");
    assert!(!output.contains("a-key-for-tests"), "{output}");
}

#[tokio::test]
async fn doctor_needs_no_key_while_the_team_is_up() {
    let server = FakeModelServer::start(by_model(finish("gpt-5.1"))).await;
    let mut rig = rig(&server, TEAM);
    rig.ok(["up", "--detach"]).await;
    // `doctor` runs in another shell.
    rig.unset("OPENAI_API_KEY");
    rig.unset("OPENAI_BASE_URL");
    let output = rig.run(["doctor"]).await.expect(0).stdout;
    for part in [
        "lead: openai requires a key: set OPENAI_API_KEY",
        "its members use the environment of the shell that ran agent-team up",
    ] {
        assert!(output.contains(part), "{part}: {output}");
    }
    rig.ok(["down"]).await;
    let output = rig.run(["doctor"]).await.expect(1).stdout;
    assert!(output.contains("✗ model"), "{output}");
    assert!(!output.contains("that ran agent-team up"), "{output}");
}

#[tokio::test]
async fn a_key_is_sent_to_a_team_files_url_only_by_consent() {
    let server = FakeModelServer::start(by_model(finish("gpt-5.1"))).await;
    let provider = format!(
        "[providers.openai]\nbase_url = {:?}\nheaders = {{ x-gate = \"$GATE\" }}\n",
        server.base_url()
    );
    let mut rig = Rig::with_team(&format!("{TEAM}{provider}"));
    rig.set("GATE", "open sesame");
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig.run(["run", "Do it"])
        .await
        .expect(3)
        .assert_prints("would receive your OPENAI_API_KEY");
    rig.run(["doctor"])
        .await
        .expect(1)
        .assert_prints("config set providers.openai.base_url");
    assert!(server.requests().is_empty(), "nothing was sent");
    rig.ok([
        "config",
        "set",
        "providers.openai.base_url",
        &server.base_url(),
    ])
    .await;
    rig.ok(["run", "Do it"]).await;
    let headers = &server.requests()[0].headers;
    assert_eq!(headers["x-gate"], "open sesame");
    assert_eq!(headers["authorization"], "Bearer a-key-for-tests");
    let journal = rig.run(["events"]).await;
    assert!(!journal.stdout.contains("open sesame"));
}

/// The lead may spend a dollar, and its model has no known price.
const UNPRICED: &str = "\
name = \"demo\"
mode = \"lead\"
[panes]
placement = \"headless\"
[lead]
model = [\"openai/gpt-5.1\", \"openai/gpt-of-tomorrow\"]
limits.usd = 1.0
";

#[tokio::test]
async fn a_goal_needs_a_model_for_each_member() {
    let mut rig = Rig::with_team(&format!(
        "{TEAM}[[member]]\nname = \"ada\"\nmodel = \"groq/qwen\"\n"
    ));
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    let why = "groq requires a key: set GROQ_API_KEY";
    let refused = rig.run(["up", "--detach", "Greet"]).await.expect(3);
    let expected = format!("error: cannot start ada: {why}");
    assert!(refused.stderr.starts_with(&expected), "{}", refused.stderr);
    until("the end of the supervisor", async || {
        rig.processes().is_empty().then_some(())
    })
    .await;
    // Without a goal, the other members start.
    let started = rig.ok(["up", "--detach"]).await.stderr;
    let expected = format!("note: ada cannot start: {why}");
    assert!(started.starts_with(&expected), "{started}");
    rig.until_member_is("lead", MemberState::Idle).await;
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_limit_in_dollars_needs_a_known_price() {
    let server = FakeModelServer::start(by_model(finish("gpt-5.1"))).await;
    let rig = rig(&server, UNPRICED);
    let refused = [
        rig.run(["up", "--detach"]).await,
        rig.run(["up", "--dry-run"]).await,
        rig.run(["run", "Do it"]).await,
    ];
    for refused in refused {
        let file = rig.directories().settings_file();
        refused
            .expect(2)
            .assert_prints("the price of openai/gpt-of-tomorrow, the model of lead, is unknown")
            .assert_prints(&format!("[models.openai] in {}", file.display()))
            .assert_prints("\"gpt-of-tomorrow\" = { input = …, output = … }");
    }
    assert!(server.requests().is_empty(), "nothing was started");
    rig.set_settings("[models.openai]\n\"gpt-of-tomorrow\" = { input = 1.0, output = 2.0 }\n");
    rig.ok(["run", "Do it"]).await;
}

#[tokio::test]
async fn config_set_refuses_a_limit_without_a_known_price() {
    let server = FakeModelServer::start(by_model(finish("gpt-5.1"))).await;
    let rig = rig(&server, &UNPRICED.replace("limits.usd = 1.0\n", ""));
    rig.ok(["up", "--detach"]).await;
    rig.run(["config", "set", "limits.usd", "3"])
        .await
        .expect(2)
        .assert_prints("the price of openai/gpt-of-tomorrow");
    rig.ok(["config", "set", "limits.tokens", "3000"]).await;
}

#[tokio::test]
async fn models_list_shows_windows_and_the_sources_of_prices() {
    let rig = Rig::with_team(TEAM);
    rig.set_settings("[models.openai]\n\"gpt-5.1\" = { input = 2.5, output = 20.0 }\n");
    let shown = rig.ok(["models", "list"]).await.stdout;
    let words = |name: &str| {
        let mut lines = shown.lines().map(|line| line.split_whitespace());
        let found = lines.find(|words| words.clone().next() == Some(name));
        let found = found.unwrap_or_else(|| panic!("no line {name}: {shown}"));
        found.skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        words("MODEL"),
        "WINDOW INPUT OUTPUT CACHED LONG PROMPTS FROM"
    );
    assert_eq!(words("openai/gpt-5.1"), "400.0k $2.5 $20 $2.5 config.toml");
    assert_eq!(
        words("openai/gpt-5.4"),
        "922.0k $2.5 $15 $0.25 above 272.0k: $5, $22.5 built in"
    );
    let listed = rig.json(["models", "list"]).await;
    let models = listed["models"].as_array().expect("a list").iter();
    let mut defaults = models.filter(|model| model["default"] == true);
    assert!(
        defaults.any(|model| model["provider"] == "openai"),
        "a default"
    );
}

#[tokio::test]
async fn models_update_adds_to_the_users_catalogue() {
    let server = FakeModelServer::start(by_model(finish("gpt-of-tomorrow"))).await;
    let rig = rig(&server, &TEAM.replace("gpt-5.1", "gpt-of-tomorrow"));
    let list = rig.root().join("api.json");
    let write = |text: &str| std::fs::write(&list, text).expect("the file can be written");
    write("{\n  \"openai\": {\"models\": {\"x\": {\"cost\": {\"input\": \"a\"}}}}\n}");
    let file = list.to_str().expect("a UTF-8 path");
    rig.run(["models", "update", file])
        .await
        .expect(1)
        .assert_prints("line 2");
    write(
        &json!({ "openai": { "models": { "gpt-of-tomorrow": {
            "tool_call": true,
            "limit": { "context": 300_000, "output": 5_000 },
            "cost": { "input": 10, "output": 20 },
        } } } })
        .to_string(),
    );
    let updated = rig
        .run(["models", "update", file, "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&updated["models"], &updated["priced"]),
        (&json!(1), &json!(1))
    );
    let listed = rig.run(["models", "list", "--json"]).await.expect(0).json();
    let models = listed["models"].as_array().expect("a list");
    let model = models
        .iter()
        .find(|model| model["name"] == "openai/gpt-of-tomorrow");
    let model = model.expect("the new model");
    assert_eq!(model["from"], "models.toml");
    assert_eq!(
        (&model["window"], &model["price"]["output"]),
        (&json!(300_000), &json!(20.0))
    );
    let table = rig.run(["models"]).await.expect(0).stdout;
    let line = table
        .lines()
        .find(|line| line.starts_with("openai/gpt-of-tomorrow"));
    let words: Vec<_> = line.expect("a line").split_whitespace().collect();
    assert_eq!(words[1..4], ["300.0k", "$10", "$20"], "{words:?}");
    let run = rig.run(["run", "--json", "Do it"]).await.expect(0).json();
    assert_eq!(run["cost"], 12.0);
}
