//! Output to the user during and after a goal: permission prompts on the terminal of `run`, the headline of a goal that
//! ends without an answer, and the user's `notify` command.

use std::path::Path;

use agent_team_protocol::method::{AddTask, ClaimTask, EndTask, TaskAdd, TaskClaim, TaskComplete};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::MemberState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until};
use serde_json::json;

use crate::agents::{rig, rig_with_requests};

fn write(content: &str) -> Reply {
    Reply::call("write", json!({"path": "out.txt", "content": content}))
}

fn finish() -> Reply {
    Reply::call("finish", json!({"answer": "It is finished."}))
}

/// A team whose lead makes these calls before it finishes.
async fn team(mut calls: Vec<Reply>) -> (FakeModelServer, Rig) {
    calls.push(finish());
    let server = FakeModelServer::start(by_model([("lead", calls)])).await;
    let rig = rig_with_requests(&server);
    (server, rig)
}

#[tokio::test]
async fn run_asks_on_its_terminal_and_continues() {
    let (_server, rig) = team(vec![write("hello\n")]).await;
    let mut screen = rig.on_terminal(["run", "Greet"]);
    // This line is typed before the prompt, so it answers nothing.
    screen.type_in("n\r").await;
    screen.until("write out.txt (new file, +1)").await;
    screen.until("[n] no [e] no, because…").await;
    assert_eq!(rig.read("out.txt"), None);
    screen.type_in("what\r").await;
    screen.until("[n] no [e] no, because…").await;
    screen.type_in("y\r").await;
    screen.until("P-1 is allowed").await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("It is finished."), "{seen}");
    assert!(!seen.contains("lead asks for permission"), "{seen}");
    // No event that arrives while the prompt is open erases it.
    for after_prompt in seen.split("[e] no, because…").skip(1) {
        let prompt = after_prompt.lines().next();
        assert_eq!(
            prompt.map(|line| line.contains("\x1b[K")),
            Some(false),
            "{seen:?}"
        );
    }
    assert_eq!(rig.read("out.txt").as_deref(), Some("hello\n"));
}

#[tokio::test]
async fn a_question_of_a_member_is_answered_on_the_terminal() {
    let ask = |text: &str| Reply::call("ask", json!({"to": "user", "question": text}));
    let questions = vec![ask("Which\x1b[2J colour?"), write("hello\n")];
    let (server, rig) = team(questions).await;
    let mut screen = rig.on_terminal(["run", "Greet"]);
    // This line is typed before the prompt, so it is not the answer.
    screen.type_in("maroon\r").await;
    screen.until("lead asks you").await;
    screen.until("your answer (Enter: later): ").await;
    screen.type_in("turquoise\r").await;
    screen.until("[n] no [e] no, because…").await;
    screen.type_in("y\r").await;
    let (code, seen) = screen.end().await;
    assert!(!seen.contains("answer with:"), "{seen}");
    assert_eq!(code, 0, "{seen}");
    assert_eq!(seen.matches("colour?").count(), 1, "{seen}");
    assert!(seen.contains("Which\\e[2J colour?"), "{seen}");
    let asked = server.requests()[1].body.to_string();
    assert!(
        asked.contains("turquoise") && !asked.contains("maroon"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_question_that_is_answered_elsewhere_closes_the_prompt() {
    let ask = Reply::call("ask", json!({"to": "user", "question": "Which colour?"}));
    let (_server, rig) = team(vec![ask]).await;
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["run", "Greet"]);
    screen.until("your answer (Enter: later): ").await;
    rig.ok(["send", "lead", "blue"]).await;
    screen.until("needs no answer now").await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 0, "{seen}");
}

#[tokio::test]
async fn a_denial_on_the_terminal_has_a_reason_and_is_counted() {
    let (server, rig) = team(vec![write("hello\n")]).await;
    let mut screen = rig.on_terminal(["run", "Greet"]);
    screen.until("[e] no, because…").await;
    screen.type_in("e\r").await;
    screen.until("because: ").await;
    screen.type_in("tests first\r").await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 0, "{seen}");
    assert!(
        seen.contains("1 request was denied: write: out.txt"),
        "{seen}"
    );
    let requests = server.requests();
    let results = requests
        .last()
        .expect("the server received a request")
        .results();
    assert!(results[0].1.contains("tests first"), "{results:?}");
}

#[tokio::test]
async fn a_decision_elsewhere_closes_the_prompt() {
    let (_server, rig) = team(vec![write("hello\n")]).await;
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["run", "Greet"]);
    screen.until("[e] no, because…").await;
    rig.ok(["requests", "allow", "P-1"]).await;
    screen.until("P-1 is allowed").await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("It is finished."), "{seen}");
}

#[tokio::test]
async fn a_request_must_be_shown_in_full_before_yes() {
    let lines: String = (1..=100).map(|line| format!("line {line}\n")).collect();
    let (_server, rig) = team(vec![write(&lines)]).await;
    let mut screen = rig.on_terminal_of((80, 24), ["run", "Greet"]);
    screen.until("more lines: type `a`").await;
    screen.until("[a] all").await;
    screen.type_in("y\r").await;
    screen.until("not all of the request was shown").await;
    assert_eq!(rig.read("out.txt"), None);
    screen.type_in("a\r").await;
    screen.until("line 100").await;
    // Input is discarded until this prompt is shown.
    screen.until("P-1? [y] once").await;
    screen.type_in("y\r").await;
    screen.until("P-1 is allowed").await;
    assert_eq!(screen.end().await.0, 0);
    assert_eq!(rig.read("out.txt"), Some(lines));
}

#[tokio::test]
async fn a_large_change_is_counted_as_a_whole() {
    let lines: String = (1..=20_000).map(|line| format!("line {line}\n")).collect();
    let (_server, rig) = team(vec![write(&lines)]).await;
    let mut screen = rig.on_terminal(["run", "Greet"]);
    screen.until("write out.txt (new file, +20000)").await;
    screen.until("[n] no [e] no, because…").await;
    screen.type_in("n\r").await;
    assert_eq!(screen.end().await.0, 0);
}

#[tokio::test]
async fn a_background_job_asks_in_the_foreground() {
    let (_server, rig) = team(vec![write("hello\n")]).await;
    let shell = ["--noprofile", "--norc", "-i"];
    let mut screen = rig.program_on_terminal(Path::new("/bin/bash"), &shell);
    let program = rig.binary("agent-team");
    screen
        .type_in(&format!("'{}' run Greet &\r", program.display()))
        .await;
    // A background job prints this note instead of the prompt.
    screen.until("lead waits for permission").await;
    assert!(!screen.seen().contains("[y] once"), "{}", screen.seen());
    screen.type_in("fg\r").await;
    screen.until("P-1? [y] once").await;
    screen.type_in("y\r").await;
    screen.until("P-1 is allowed").await;
    screen.until("It is finished.").await;
    assert_eq!(rig.read("out.txt").as_deref(), Some("hello\n"));
}

#[tokio::test]
async fn events_during_a_prompt_are_shown_after_it() {
    /// Each task has three events. Together the events exceed the queue of the connection.
    const TASKS: usize = 700;
    let (_server, rig) = team(vec![write("hello\n")]).await;
    rig.ok(["up", "--detach"]).await;
    // Only the user claims the tasks.
    rig.ok(["stop", "ada"]).await;
    let mut screen = rig.on_terminal(["--color", "never", "run", "Greet"]);
    screen.until("P-1? [y] once").await;
    let user = rig.user().await;
    for number in 1..=TASKS {
        let spec = TaskSpec {
            title: format!("Step {number}"),
            key: format!("Step {number}"),
            ..TaskSpec::default()
        };
        let task = user.ask::<TaskAdd>(AddTask { spec }).await.task;
        let claim = ClaimTask { task: Some(task) };
        let generation = Some(user.ask::<TaskClaim>(claim).await.generation);
        let text = String::new();
        let end = EndTask {
            task,
            generation,
            text,
        };
        user.ask::<TaskComplete>(end).await;
    }
    screen.type_in("y\r").await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 0, "{seen}");
    let (question, _) = seen
        .split_once("P-1 is allowed")
        .expect("the request is allowed");
    assert!(!question.contains("Step"), "{question}");
    for number in 1..=TASKS {
        let line = format!("Step {number}\r\n");
        assert_eq!(seen.matches(&line).count(), 1, "{line}");
    }
}

#[tokio::test]
async fn an_end_of_input_ends_the_prompts_with_a_note() {
    let (_server, rig) = team(vec![write("hello\n")]).await;
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["run", "Greet"]);
    screen.until("[e] no, because…").await;
    screen.type_in("\x04").await;
    screen
        .until("no more questions: the terminal is closed; decide with: agent-team requests")
        .await;
    rig.ok(["requests", "allow", "P-1"]).await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("It is finished."), "{seen}");
}

#[tokio::test]
async fn an_interrupt_leaves_the_request_pending() {
    let (_server, rig) = team(vec![write("hello\n")]).await;
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["run", "Greet"]);
    screen.until("[e] no, because…").await;
    screen.type_in("\x03").await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 130, "{seen}");
    let pending = rig.ok(["requests"]).await.stdout;
    assert!(pending.contains("P-1"), "{pending}");
}

#[tokio::test]
async fn the_result_lists_denied_calls() {
    let (_server, rig) = team(vec![write("hello\n")]).await;
    rig.set_settings("[permissions]\ndeny = [\"Edit\"]\n");
    let up = rig.run(["up", "--wait", "--json", "Greet"]).await.expect(0);
    assert_eq!(up.json()["denied"], json!(["write: out.txt"]));
}

#[tokio::test]
async fn a_run_without_rounds_left_has_a_headline() {
    let file = "\
name = \"demo\"
mode = \"coordinator\"
max_rounds = 1
[panes]
placement = \"headless\"
[lead]
model = \"openai/lead\"
[[member]]
name = \"ada\"
model = \"openai/ada\"
";
    let complete = json!({"task": "T-1", "result": "Nothing."});
    let server = FakeModelServer::start(by_model([
        ("lead", vec![Reply::text("ROUTE: ada")]),
        (
            "ada",
            vec![Reply::call("complete_task", complete), Reply::text("Done.")],
        ),
    ]))
    .await;
    let mut rig = Rig::with_team(file);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "test-key");
    rig.ok(["up", "--detach"]).await;
    rig.run(["run", "Greet"]).await.expect(1);
    let ps = rig.ok(["ps"]).await.stdout;
    assert!(ps.contains("✗ R-1 Failed after"), "{ps}");
    until("the end of the goal in the log", async || {
        let log = rig.ok(["logs", "lead"]).await.stdout;
        let shown =
            log.contains("✗ Failed after") && log.contains("reached its limit of rounds (1)");
        shown.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_goal_counts_a_changed_file_once_and_none_after_its_end() {
    let write =
        |path: &str, content: &str| Reply::call("write", json!({"path": path, "content": content}));
    let lead = vec![
        write("one.txt", "1\n"),
        write("one.txt", "2\n"),
        write("two.txt", "1\n"),
        // This call is refused: the file exists, and the lead has not read it.
        write("kept.txt", "1\n"),
        finish(),
        write("three.txt", "1\n"),
        Reply::text("After the goal."),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let rig = rig(&server);
    rig.write("kept.txt", "kept\n");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["run", "Write"]).await;
    rig.ok(["send", "lead", "Go on"]).await;
    until("the third file", async || rig.read("three.txt")).await;
    rig.until_member_is("lead", MemberState::Idle).await;
    let goal = &rig.json(["ps"]).await["goal"];
    assert_eq!(goal["files"], 2, "{goal}");
    let usage = goal["unpriced"].as_u64();
    rig.ok(["supervisor", "restart"]).await;
    let again = &rig.json(["ps"]).await["goal"];
    assert_eq!(again["files"], 2, "{again}");
    assert_eq!(again["unpriced"].as_u64(), usage);
}

#[tokio::test]
async fn the_users_program_receives_the_event_as_data() {
    let text = "$(touch owned) `touch owned`; touch owned";
    let ada = vec![
        Reply::call("send_message", json!({"to": "user", "text": text})),
        Reply::text("I have asked."),
    ];
    let server = FakeModelServer::start(by_model([("ada", ada)])).await;
    let rig = rig(&server);
    let script =
        "printf '%s|%s|%s\\n' \"$AGENT_TEAM_EVENT\" \"$AGENT_TEAM_MEMBER\" \"$1\" >> notified";
    rig.set_settings(&format!(
        "notify = {{ command = [\"sh\", \"-c\", {}, \"sh\"] }}\n",
        json!(script)
    ));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    let notified = until("the output of the program", async || {
        rig.read("notified").filter(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(notified, format!("message|ada|demo: ada: {text}\n"));
    assert_eq!(rig.read("owned"), None);
}

#[tokio::test]
async fn the_user_is_notified_of_the_limit_of_a_team_without_a_lead() {
    let answer = Reply::text("Hm.").tokens(2_000, 10, 0);
    let server = FakeModelServer::start(by_model([("ada", vec![answer])])).await;
    let rig = rig(&server);
    rig.set_team(
        "mode = \"manual\"\n[panes]\nplacement = \"headless\"\n[limits]\ntokens = 1_000\n[[member]]\nname = \"ada\"\n\
         model = \"openai/ada\"\n",
    );
    let script = "echo \"$AGENT_TEAM_EVENT $AGENT_TEAM_MEMBER $1\" >> notified";
    rig.set_settings(&format!(
        "notify = {{ command = [\"sh\", \"-c\", {}, \"sh\"] }}\n",
        json!(script)
    ));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    let notified = until("the output of the program", async || {
        rig.read("notified").filter(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(
        notified,
        "limit ada project: the team has used up limits.tokens\n"
    );
}

#[tokio::test]
async fn the_user_is_notified_of_a_held_member() {
    let server = FakeModelServer::start(|_| Reply::text("")).await;
    let rig = rig(&server);
    rig.set_team(
        "[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\nengine = \"native\"\n\
         model = \"anthropic/claude-haiku-4-5\"\n",
    );
    let script = "echo \"$AGENT_TEAM_EVENT $AGENT_TEAM_MEMBER $1\" >> notified";
    rig.set_settings(&format!(
        "notify = {{ command = [\"sh\", \"-c\", {}, \"sh\"] }}\n",
        json!(script)
    ));
    rig.ok(["up", "--detach"]).await;
    let notified = until("the output of the program", async || {
        rig.read("notified").filter(|text| text.ends_with('\n'))
    })
    .await;
    assert!(
        notified.starts_with("held ada project: ada is held: "),
        "{notified}"
    );
}
