//! Agents: a lead and teammates whose models are scripted, from a goal to its answer.

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_system::process::Signal;
use agent_team_tests::Rig;
use agent_team_tests::fake_anthropic::FakeAnthropic;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, by_model, in_turn};
use serde_json::{Value, json};

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

/// A team whose members query this server, and edit files without permission requests.
pub(crate) fn rig(server: &FakeModelServer) -> Rig {
    let rig = rig_with_requests(server);
    rig.set_settings("[permissions]\nmode = \"accept-edits\"\n");
    rig
}

/// The team of [`rig`] in the mode that requires permission for edits.
pub(crate) fn rig_with_requests(server: &FakeModelServer) -> Rig {
    let mut rig = Rig::with_team(TEAM);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig
}

/// The replies of both models for the greeting task.
pub(crate) fn greeting() -> [(&'static str, Vec<Reply>); 2] {
    let lead = vec![
        Reply::call(
            "create_task",
            json!({"title": "Write the greeting", "description": "Into greeting.txt"}),
        ),
        Reply::text("Ada will write it."),
        Reply::call("finish", json!({"answer": "The greeting is written."})),
    ];
    let ada = vec![
        Reply::call(
            "write",
            json!({"path": "greeting.txt", "content": "hello\n"}),
        ),
        Reply::call(
            "complete_task",
            json!({"task": "T-1", "result": "greeting.txt says hello"}),
        ),
        Reply::text("Done."),
    ];
    [("lead", lead), ("ada", ada)]
}

#[tokio::test]
async fn a_goal_becomes_tasks_of_teammates_and_then_an_answer() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig(&server);
    let output = rig.run(["run", "Greet the world"]).await.expect(0);
    assert!(output.stderr.contains("Done in "), "{}", output.stderr);
    assert_eq!(output.stdout, "The greeting is written.\n");
    assert_eq!(rig.read("greeting.txt").as_deref(), Some("hello\n"));
    assert_eq!(rig.processes(), [], "the team ended with its run");
}

#[tokio::test]
async fn the_answer_is_a_message_to_the_user() {
    let answer = "# The greeting\n\nIt is in greeting.txt.";
    let finish = move || Reply::call("finish", json!({ "answer": answer }));
    let server = FakeModelServer::start(by_model([("lead", vec![finish(), finish()])])).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach", "Greet the world"]).await;
    let messages = async || {
        let list = rig
            .ok(["messages", "user", "--peek", "--json"])
            .await
            .json();
        let mut messages = list["messages"].as_array().expect("a list").clone();
        messages.retain(|message| message["from"] == "system");
        messages
    };
    while messages().await.is_empty() {
        tokio::task::yield_now().await;
    }
    let message = &messages().await[0];
    assert_eq!(message["text"], answer);
    assert_eq!(message["summary"], "the answer to R-1");
    let ps = rig.ok(["ps"]).await.stdout;
    assert!(
        ps.contains(":\n  # The greeting\n  \n  It is in greeting.txt.\n"),
        "{ps}"
    );
    assert!(ps.contains("1 unread message to you"), "{ps}");
    assert!(!ps.contains("asks you"), "{ps}");

    // A command that has printed the answer leaves no unread message.
    rig.ok(["messages", "user"]).await;
    let run = rig.ok(["run", "Greet it again"]).await;
    assert_eq!(run.stdout, format!("{answer}\n"));
    assert_eq!(run.stderr.matches("It is in").count(), 0, "{}", run.stderr);
    assert_eq!(messages().await[1]["state"], "read");
}

#[tokio::test]
async fn a_new_member_leaves_earlier_thoughts_valid() {
    let answer = |id: &str| {
        let input = json!({"answer": "It is done."});
        vec![
            json!({"type": "thinking", "thinking": "Nothing to do."}),
            json!({"type": "tool_use", "id": id, "name": "finish", "input": input}),
        ]
    };
    let mut provider = FakeAnthropic::new([answer("a"), answer("b")]);
    let server = FakeModelServer::start(move |request| provider.reply(request)).await;
    let team = TEAM.replace("openai/lead", "anthropic/claude-opus-5-5");
    let mut rig = Rig::with_team(&team);
    rig.set("ANTHROPIC_BASE_URL", server.base_url());
    rig.set("ANTHROPIC_API_KEY", "a-key-for-tests");
    // The second goal starts only if ben's model has a key too; ben never runs.
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig.ok(["run", "Greet the world"]).await;
    rig.set_team(&format!(
        "{team}[[member]]\nname = \"ben\"\nmodel = \"openai/ben\"\n"
    ));
    rig.ok(["run", "Greet it again"]).await;
    let requests = server.requests();
    let again = requests.last().expect("two requests");
    assert_eq!(again.system(), requests[0].system());
    assert_eq!(again.messages()[1]["content"][0]["type"], "thinking");
    let last_input = again.last_input();
    assert!(last_input.contains("- ben (worker: "), "{last_input}");
}

#[tokio::test]
async fn only_complete_task_completes_a_task() {
    let ends = [
        (
            Reply::text("Shall I use tabs? I wait for the lead's answer."),
            "without complete_task",
        ),
        (Reply::text("I could not do this."), "without complete_task"),
        (Reply::text(""), "empty answer"),
        (Reply::text("").stop("content_filter"), "refused to answer"),
        (Reply::text("Once upon").stop("length"), "length limit"),
    ];
    for (end, reason) in ends {
        let server = FakeModelServer::start(by_model([
            ("lead", vec![Reply::text("I see."); 4]),
            ("ada", vec![end; 4]),
        ]))
        .await;
        let rig = rig(&server);
        rig.set_team(&format!("{TEAM}[[task]]\ntitle = \"Write the greeting\"\n"));
        let waited = rig.run(["up", "--wait", "--json"]).await.expect(1);
        assert_eq!(waited.json()["tasks"][0]["state"], "pending");
        let task = rig.task("T-1").await;
        assert_eq!(task.state, TaskState::Pending);
        let note = task.result.expect("a note with the reason");
        assert!(note.contains(reason), "{note}");
        let requests = server.requests();
        let ada: Vec<_> = requests.iter().filter(|it| it.model() == "ada").collect();
        if reason == "without complete_task" {
            assert_eq!(ada.len(), 2, "one reminder");
            assert!(ada[1].last_input().contains("You still own T-1"));
        } else {
            assert_eq!(ada.len(), 3, "asked again twice");
        }
        let why = rig.member("ada").await.why;
        assert!(
            why.contains("could not continue") && why.contains(reason),
            "{why}"
        );
    }
}

#[tokio::test]
async fn the_last_step_may_complete_the_task_and_nothing_else() {
    let [(_, lead), _] = greeting();
    let ada = vec![
        Reply::call(
            "complete_task",
            json!({"task": "T-1", "result": "All of it."}),
        )
        .and_call("write", json!({"path": "late.txt", "content": "late"})),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
    let rig = rig(&server);
    rig.set_team(&format!("{TEAM}max_steps = 1\n"));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["task", "add", "Write the greeting"]).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(
        rig.read("late.txt"),
        None,
        "only the call that ends the task is allowed"
    );
}

#[tokio::test]
async fn a_recorded_run_is_played_back_without_a_model() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let recorded = rig(&server);
    recorded
        .run(["run", "--record", "run.jsonl", "Greet the world"])
        .await
        .expect(0);
    let recording = recorded.read("run.jsonl").expect("the run was recorded");
    assert!(!recording.contains("a-key-for-tests"));

    let played = Rig::with_team(
        &TEAM
            .replace("openai/lead", "replay:run.jsonl")
            .replace("openai/ada", "replay:run.jsonl"),
    );
    played.write("run.jsonl", &recording);
    let output = played
        .run(["run", "--mode", "accept-edits", "Greet the world"])
        .await
        .expect(0);
    assert_eq!(output.stdout, "The greeting is written.\n");
    assert_eq!(played.read("greeting.txt").as_deref(), Some("hello\n"));
}

#[tokio::test]
async fn a_killed_member_resumes_its_conversation() {
    let mut conversations = greeting();
    let [_, (_, ada)] = &mut conversations;
    // The second reply of ada's model hangs until ada is killed.
    ada.insert(1, Reply::hang());
    let server = FakeModelServer::start(by_model(conversations)).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach", "Greet the world"]).await;
    rig.until_written("greeting.txt").await;
    server.until_asked("ada", 2).await;
    rig.worker("ada").await.signal(Signal::SIGKILL).unwrap();
    server.until_asked("ada", 3).await;
    let conversation = server.requests();
    let again = conversation
        .iter()
        .filter(|request| request.model() == "ada")
        .nth(2);
    let again = again.expect("ada's model was called again");
    assert_eq!(again.results().len(), 1, "completed calls are not repeated");
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("greeting.txt says hello"));
}

#[tokio::test]
async fn a_killed_member_edits_a_file_it_has_read() {
    let read = |path: &str| Reply::call("read", json!({ "path": path }));
    let edit = |path: &str| {
        let change = json!({ "path": path, "old": "hello", "new": "good day" });
        Reply::call("edit", change)
    };
    let ada = vec![
        read("a.txt"),
        read("b.txt"),
        // The reply hangs until ada is killed.
        Reply::hang(),
        edit("a.txt"),
        edit("b.txt"),
        Reply::call("complete_task", json!({ "task": "T-1", "result": "Done." })),
        Reply::text("Done."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", ada)])).await;
    let rig = rig(&server);
    rig.write("a.txt", "hello\n");
    rig.write("b.txt", "hello\n");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["task", "add", "Be formal", "--for", "ada"]).await;
    server.until_asked("ada", 3).await;
    rig.worker("ada").await.signal(Signal::SIGKILL).unwrap();
    // The model has not seen this version.
    rig.write("b.txt", "hello, world\n");
    rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(rig.read("a.txt").as_deref(), Some("good day\n"));
    assert_eq!(rig.read("b.txt").as_deref(), Some("hello, world\n"));
}

#[tokio::test]
async fn fallback_minutes_limit_the_wait_for_a_model() {
    let server = FakeModelServer::start(|request: &Request| match request.model() {
        "lead" => Reply::error(529, "overloaded"),
        _ => Reply::call("finish", json!({"answer": "It is done."})),
    })
    .await;
    let list = "model = [\"openai/lead\", \"openai/spare\"]\nfallback_minutes = 0.001";
    let mut rig = Rig::with_team(&TEAM.replace("model = \"openai/lead\"", list));
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    let output = rig.run(["run", "Greet the world"]).await.expect(0);
    assert_eq!(output.stdout, "It is done.\n");
    let requests = server.requests();
    let asked: Vec<_> = requests.iter().map(Request::model).collect();
    assert_eq!(asked, ["lead", "spare"]);
}

#[tokio::test]
async fn a_run_reports_why_the_model_refused_its_lead() {
    let server = FakeModelServer::start(|_: &_| Reply::error(401, "who are you?")).await;
    let rig = rig(&server);
    rig.run(["run", "Greet the world"])
        .await
        .expect(1)
        .assert_prints("who are you?");
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_run_of_an_idle_lead_ends_once_all_members_are_idle() {
    let server = FakeModelServer::start(|_: &_| Reply::text("I am done, I think.")).await;
    let rig = rig(&server);
    rig.run(["run", "Greet the world"])
        .await
        .expect(1)
        .assert_prints("has not finished");
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_run_reports_the_reason_of_a_blocked_lead() {
    let lead = vec![
        Reply::error(429, "slow down").header("retry-after", "3"),
        Reply::html(200, "<h1>Welcome to the proxy</h1>"),
        Reply::text("I do not know."),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", Vec::new())])).await;
    let rig = rig(&server);
    let output = rig.run(["run", "Greet the world"]).await.expect(1);
    let stderr = &output.stderr;
    assert!(
        stderr.contains("lead waits for its model; next request in"),
        "{stderr}"
    );
    assert!(stderr.contains("slow down"), "{stderr}");
    assert!(stderr.contains("lead: cannot continue: "), "{stderr}");
    assert!(
        stderr.contains("the next goal starts a new run"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_lead_spawns_only_permitted_roles() {
    let server = FakeModelServer::start(by_model([
        (
            "lead",
            vec![
                Reply::call("spawn_teammate", json!({"role": "debugger"})),
                Reply::call(
                    "spawn_teammate",
                    json!({"role": "reviewer", "name": "rita"}),
                ),
                Reply::call("finish", json!({"answer": "Done."})),
            ],
        ),
        ("ada", Vec::new()),
    ]))
    .await;
    let rig = rig(&server);
    rig.set_team(&TEAM.replace(
        "[lead]\n",
        "[lead]\nmay_spawn = [\"reviewer\", \"planner\"]\n",
    ));
    rig.run(["run", "Greet the world"]).await.expect(0);
    let requests = server.requests();
    let of_lead: Vec<_> = requests
        .iter()
        .filter(|request| request.model() == "lead")
        .collect();
    let refused = &of_lead[1].results()[0].1;
    assert!(
        refused.contains("may not spawn the role debugger, only reviewer, planner"),
        "{refused}"
    );
    assert!(of_lead[2].results()[0].1.starts_with("rita (reviewer)"));
    assert!(
        !of_lead[0].situation().contains("- debugger"),
        "the role debugger is not offered"
    );
}

#[tokio::test]
async fn without_a_team_file_and_a_key_a_local_server_is_enough() {
    let server = FakeModelServer::start(|asked: &Request| match asked.path.as_str() {
        "/v1/models" => Reply::models(&["qwen3:8b"]),
        _ => Reply::call("finish", json!({"answer": "Because of a semicolon."})),
    })
    .await;
    let mut rig = Rig::new();
    rig.set("OLLAMA_HOST", server.base_url());
    let result = rig.json(["run", "Why does the build fail?"]).await;
    assert_eq!(result["final_answer"], "Because of a semicolon.");
    let members = result["members"].as_array().expect("a list");
    let names: Vec<_> = members.iter().map(|member| &member["name"]).collect();
    assert_eq!(names, ["lead", "worker-1", "worker-2", "worker-3"]);
    let asked = server.requests();
    let chat = asked.iter().find(|asked| !asked.body.is_null());
    assert_eq!(chat.expect("its model was called").model(), "qwen3:8b");
    rig.run(["doctor"])
        .await
        .expect(0)
        .assert_prints("ollama/qwen3:8b (ollama responds at");
}

#[tokio::test]
async fn a_run_in_a_running_team_leaves_it_up() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    let before = rig.member("lead").await.launch;
    let output = rig.ok(["run", "Greet the world"]).await;
    assert_eq!(output.stdout, "The greeting is written.\n");
    let lead = rig.member("lead").await;
    assert_eq!(lead.launch, before, "the running lead answered");
    assert!(lead.pid.is_some(), "the lead still runs");
    rig.until_member_is("lead", MemberState::Idle).await;
    let requests = server.requests();
    let of_lead = requests.iter().filter(|asked| asked.model() == "lead");
    assert_eq!(of_lead.count(), 3, "no model request follows `finish`");
}

#[tokio::test]
async fn memory_of_a_run_is_recalled_only_within_that_run() {
    let recalled = |answer: &str| {
        [
            Reply::call("recall", json!({"key": "style"})),
            Reply::call("finish", json!({"answer": answer})),
        ]
    };
    let script = [recalled("one"), recalled("two")].concat();
    let server = FakeModelServer::start(by_model([("lead", script)])).await;
    let rig = rig(&server);
    rig.ok(["run", "--memory", "style={\"tone\": \"terse\"}", "Do it"])
        .await;
    rig.ok(["run", "Do it again"]).await;
    let requests = server.requests();
    let results: Vec<_> = requests.iter().flat_map(|asked| asked.results()).collect();
    let texts: Vec<_> = results.iter().map(|(_, text)| text.as_str()).collect();
    assert!(
        texts.iter().any(|text| text.contains("\"terse\"")),
        "{texts:?}"
    );
    let nothing = "Nothing is stored under";
    assert!(texts.iter().any(|text| text.contains(nothing)), "{texts:?}");
    rig.run(["run", "--memory", "style=terse", "Do it"])
        .await
        .expect(2)
        .assert_prints("is not JSON");
}

#[tokio::test]
async fn a_model_is_shown_by_its_canonical_name() {
    let server = FakeModelServer::start(by_model([("lead", Vec::new())])).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    for (name, given, shown) in [
        ("ben", "gpt-5.1", "openai/gpt-5.1"),
        ("cleo", "OpenAI:gpt-5.1", "openai/gpt-5.1"),
        ("dora", "openai/x/y:free", "openai/x/y:free"),
    ] {
        rig.ok(["spawn", "worker", "--name", name, "--model", given])
            .await;
        let model = rig.member(name).await.model;
        assert_eq!(model.as_deref(), Some(shown), "{given}");
    }
    rig.run(["spawn", "worker", "--model", "qwen3"])
        .await
        .expect(2)
        .assert_prints("the provider of \"qwen3\" is unknown");
}

#[tokio::test]
async fn a_goal_is_refused_while_the_leads_model_has_no_key() {
    let mut rig = Rig::with_team(
        "mode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n",
    );
    let error = rig.refused(3, ["up", "--detach", "Do it"]).await;
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains("OPENAI_API_KEY"), "{message}");
    rig.refused(3, ["ps"]).await;

    let server = FakeModelServer::start(in_turn([Reply::text("Done.")])).await;
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig.ok(["up", "--detach", "Do it"]).await;
    server.until_asked("lead", 1).await;
}

#[tokio::test]
async fn a_goal_is_cancelled_and_the_next_one_starts() {
    let lead = vec![
        Reply::call("create_task", json!({"title": "Write the greeting"})),
        Reply::call("wait", json!({"for": "tasks", "timeout_s": 3600})),
        Reply::text("I have stopped."),
        Reply::call("finish", json!({"answer": "The next one."})),
    ];
    let ada = vec![Reply::hang(), Reply::text("I have stopped, too.")];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    rig.refused(4, ["cancel"]).await;
    let run = async {
        rig.run(["run", "--json", "Greet the world"])
            .await
            .expect(1)
    };
    let cancel = async {
        server.until_asked("ada", 1).await;
        rig.ok(["cancel", "--reason", "wrong branch"]).await
    };
    let (report, cancelled) = tokio::join!(run, cancel);
    assert_eq!(cancelled.stdout, "R-1 is cancelled, with T-1\n");
    let report = report.json();
    assert_eq!(report["outcome"], "cancelled");
    assert_eq!(report["reason"], "cancelled by the user: wrong branch");
    assert_eq!(rig.task("T-1").await.state, TaskState::Cancelled);
    server.until_asked("lead", 3).await;
    let requests = server.requests();
    let request = requests
        .iter()
        .rfind(|it| it.model() == "lead")
        .expect("the model was called");
    assert!(
        request.last_input().contains("wrong branch"),
        "{}",
        request.last_input()
    );
    for member in ["lead", "ada"] {
        rig.until_member_is(member, MemberState::Idle).await;
    }
    let next = rig.ok(["run", "Greet the moon"]).await;
    assert_eq!(next.stdout, "The next one.\n");
}

#[tokio::test]
async fn a_failed_run_allows_the_next_goal() {
    let lead = vec![
        Reply::text("I am done, I think."),
        Reply::text("Really."),
        Reply::call("finish", json!({"answer": "The next one."})),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", Vec::new())])).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    let report = rig
        .run(["run", "--json", "Greet the world"])
        .await
        .expect(1);
    assert_eq!(report.json()["outcome"], "failed");
    let next = rig.ok(["run", "Greet the moon"]).await;
    assert_eq!(next.stdout, "The next one.\n");
}

#[tokio::test]
async fn hooks_block_a_call_and_the_end_of_a_turn() {
    let write = json!({"path": "key.txt", "content": "x"});
    let ada = vec![
        Reply::call("write", write),
        Reply::text("It is written."),
        Reply::text("The tests pass."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", ada)])).await;
    let rig = rig(&server);
    let stop = "grep -q '\"stop_hook_active\":true' || { echo Run the tests. >&2; exit 2; }";
    rig.set_team(&format!(
        "{TEAM}[[hooks.pre_tool]]\nmatcher = \"Write\"\nrun = \"echo Write no keys. >&2; exit 2\"\n\
         [[hooks.stop]]\nrun = {stop:?}\n"
    ));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Write the key"]).await;
    server.until_asked("ada", 3).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("key.txt"), None);
    let mut requests = server.requests();
    requests.retain(|it| it.model() == "ada");
    let results = requests[1].results();
    assert!(
        results[0].1.contains("Blocked by a hook: Write no keys."),
        "{results:?}"
    );
    let last_input = requests[2].last_input();
    assert!(last_input.contains("Run the tests."), "{last_input}");
}

#[tokio::test]
async fn hooks_see_notes_of_the_project_and_the_current_mode() {
    let note = |level| {
        let call = json!({"name": "deploy", "level": level, "action": "write", "text": "x"});
        Reply::call("note", call)
    };
    let ada = vec![
        note("team"),
        note("project"),
        Reply::text("It is noted."),
        note("project"),
        Reply::text("It is not noted."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", ada)])).await;
    let rig = rig(&server);
    let hook = "cat >> seen; echo >> seen; echo Write no notes. >&2; exit 2";
    rig.set_team(&format!(
        "{TEAM}[[hooks.pre_tool]]\nmatcher = \"Edit|Write\"\nrun = {hook:?}\n"
    ));
    rig.ok(["up", "--detach", "--mode=accept-edits"]).await;
    rig.ok(["send", "ada", "Note it"]).await;
    server.until_asked("ada", 3).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["mode", "plan"]).await;
    rig.ok(["send", "ada", "Note it again"]).await;
    server.until_asked("ada", 5).await;
    assert_eq!(rig.read(".agent-team/notes/deploy.md"), None);
    let seen = rig.read("seen").expect("the hook has run");
    let seen: Vec<Value> = seen
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let modes: Vec<_> = seen.iter().map(|it| &it["permission_mode"]).collect();
    assert_eq!(modes, ["acceptEdits", "plan"], "not for notes of the team");
    assert_eq!(seen[0]["tool_name"], "note");
    assert_eq!(seen[0]["tool_input"]["level"], "project");
    let path = seen[0]["tool_input"]["file_path"].as_str().expect("a path");
    assert!(
        path.starts_with('/') && path.ends_with("/.agent-team/notes/deploy.md"),
        "{path}"
    );
}
