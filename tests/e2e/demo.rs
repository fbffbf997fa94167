//! The recording that `cargo xtask demo` plays: the script from which it was made, and tests that play it in another
//! directory.
//!
//! `AGENT_TEAM_WRITE_RECORDING=1 cargo nextest run -p agent-team-tests demo` makes the recording again.

use std::path::{Path, PathBuf};
use std::process::Command;

use agent_team_protocol::view::{MemberState, MemberView};
use agent_team_system::process::Signal;
use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by};
use serde_json::{Value, json};

use crate::requests::there_is_a_sandbox;

/// If this variable is set, the test writes the recording instead of comparing it.
const WRITE: &str = "AGENT_TEAM_WRITE_RECORDING";

const ANSWER: &str = "tally::top returns the most frequent words, tests/top.rs tests it, and README.md shows it. All tests pass.";

/// The question of cleo to the user.
const QUESTION: &str = "Words with equal counts: in alphabetical order? (I am a recording and continue with yes, \
    whatever you answer.)";

pub(crate) fn goal() -> String {
    let goal = std::fs::read_to_string(scripts().join("demo/goal.txt")).unwrap();
    goal.trim_end().to_owned()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

fn task(title: &str, description: &str, assignee: &str, after: &[&str]) -> Value {
    json!({"title": title, "description": description, "for": assignee, "after": after})
}

fn lead() -> Vec<Reply> {
    let split = Reply::text(
        "Three tasks: the function first, then its test and its documentation in parallel.",
    )
    .and_call(
        "create_task",
        task(
            "Add tally::top",
            "In src/lib.rs: `top(text, n)`, the n most frequent words, most frequent first, \
                equal ones by the alphabet.",
            "ben",
            &[],
        ),
    )
    .and_call(
        "create_task",
        task(
            "Test tally::top",
            "In tests/top.rs: order, equal counts, fewer words than asked for.",
            "cleo",
            &["T-1"],
        ),
    )
    .and_call(
        "create_task",
        task(
            "Document tally::top",
            "A short example in README.md.",
            "dora",
            &["T-1"],
        ),
    );
    let mut replies = vec![split];
    // A wait returns at the end of each task, and at dora's request. A second wait without an open task would fail. The
    // time limit is the largest: a user may answer cleo and dora late, and the recording has no reply to a timeout.
    let wait = || Reply::call("wait", json!({"for": "tasks", "timeout_s": 3600}));
    replies.extend((0..4).map(|_| wait()));
    replies.push(
        Reply::text("All three are done. I check the result.")
            .and_call("git_diff", json!({}))
            .and_call("bash", json!({"command": "cargo test --quiet --offline"})),
    );
    replies.push(Reply::call("finish", json!({"answer": ANSWER})));
    replies
}

fn ben() -> Vec<Reply> {
    let top = "/// The `n` most frequent words, most frequent first, equal ones by the alphabet.\n\
        pub fn top(text: &str, n: usize) -> Vec<(String, usize)> {\n    \
            let mut counts: Vec<_> = words(text).into_iter().collect();\n    \
            // Stable, and the map is in the order of the alphabet.\n    \
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));\n    \
            counts.truncate(n);\n    \
            counts\n\
        }\n\n#[cfg(test)]\n";
    vec![
        Reply::text("First I read the present code.")
            .and_call("read", json!({"path": "src/lib.rs"})),
        Reply::text("`words` returns a sorted map, so a stable sort by count is enough.").and_call(
            "edit",
            json!({"path": "src/lib.rs", "old": "#[cfg(test)]\n", "new": top}),
        ),
        Reply::call(
            "bash",
            json!({"command": "cargo test --quiet --offline --lib"}),
        ),
        Reply::call(
            "complete_task",
            json!({"task": "T-1", "result": "tally::top(text, n) is in src/lib.rs; the unit tests pass"}),
        ),
        Reply::text("tally::top is added."),
    ]
}

fn cleo() -> Vec<Reply> {
    let test = "//! The most frequent words.\n\n\
        fn top(text: &str, n: usize) -> Vec<String> {\n    \
            tally::top(text, n).into_iter().map(|(word, _)| word).collect()\n\
        }\n\n\
        #[test]\n\
        fn the_most_frequent_come_first() {\n    \
            assert_eq!(top(\"b a b c b a\", 2), [\"b\", \"a\"]);\n\
        }\n\n\
        #[test]\n\
        fn equal_ones_are_in_the_order_of_the_alphabet() {\n    \
            assert_eq!(top(\"tea egg tea egg\", 2), [\"egg\", \"tea\"]);\n\
        }\n\n\
        #[test]\n\
        fn there_are_never_more_than_there_are() {\n    \
            assert_eq!(top(\"one\", 5), [\"one\"]);\n\
        }\n";
    vec![
        Reply::call("grep", json!({"pattern": "pub fn"})),
        Reply::text("The order of equal counts is a decision for the user.")
            .and_call("ask", json!({"to": "user", "question": QUESTION})),
        Reply::text("Three cases: order, equal counts, too few words.")
            .and_call("write", json!({"path": "tests/top.rs", "content": test})),
        Reply::call(
            "bash",
            json!({"command": "cargo test --quiet --offline --test top"}),
        ),
        Reply::call(
            "complete_task",
            json!({"task": "T-2", "result": "tests/top.rs: three tests, all pass"}),
        ),
        Reply::text("The tests are written and pass."),
    ]
}

fn dora() -> Vec<Reply> {
    let new = "Counts words: `cargo run < README.md`.\n\nOnly the most frequent ones, from Rust: `tally::top(text, 10)`.\n";
    vec![
        Reply::call("read", json!({"path": "README.md"})),
        Reply::text("One sentence is enough.")
            .and_call("edit", json!({"path": "README.md", "old": "Counts words: `cargo run < README.md`.\n", "new": new})),
        Reply::call("complete_task", json!({"task": "T-3", "result": "README.md shows tally::top"})),
        Reply::text("Documented."),
    ]
}

/// The sample project as `cargo xtask demo` makes it. The environment of its commands points to this machine's cargo.
pub(crate) fn sample() -> Rig {
    let mut rig = Rig::new();
    let home = std::env::var("HOME").unwrap_or_default();
    for (name, directory) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let path = std::env::var(name).unwrap_or(format!("{home}/{directory}"));
        rig.set(name, path);
    }
    let made = Command::new("sh")
        .arg(scripts().join("sample-project.sh"))
        .arg(rig.project())
        .arg("agents")
        .status()
        .unwrap();
    assert!(made.success());
    rig
}

/// The replies of each member in order: texts and calls.
fn answers(recording: &str) -> Vec<(String, Value)> {
    let lines = recording.lines().skip(1);
    let mut answers: Vec<_> = lines
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let answer = &line["outcome"]["answer"];
            let calls = answer["calls"].as_array().into_iter().flatten();
            let calls: Vec<_> = calls
                .map(|call| json!([call["name"], call["input"]]))
                .collect();
            let member = line["member"].as_str().unwrap().to_owned();
            (member, json!([line["exchange"], answer["text"], calls]))
        })
        .collect();
    answers.sort_by_key(|(member, answer)| (member.clone(), answer[0].as_u64()));
    answers
}

#[tokio::test]
async fn the_demo_recording_matches_its_script() {
    let member =
        |request: &agent_team_tests::fake_model_server::Request| request.model().to_owned();
    let conversations = [
        ("lead", lead()),
        ("ben", ben()),
        ("cleo", cleo()),
        ("dora", dora()),
    ];
    let server = FakeModelServer::start(by(member, conversations)).await;
    let mut rig = sample();
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    let mut team = std::fs::read_to_string(scripts().join("demo/team.toml")).unwrap();
    team = team.replace("model = \"replay:.agent-team/demo.jsonl\"\n", "");
    team = team.replace("[lead]\n", "[lead]\nmodel = \"openai/lead\"\n");
    for name in ["ben", "cleo", "dora"] {
        let named = format!("name = \"{name}\"\n");
        team = team.replace(&named, &format!("{named}model = \"openai/{name}\"\n"));
    }
    rig.set_team(&team);
    let mut run = rig.start(["run", "--bypass", "--record", "new.jsonl", &goal()]);
    rig.until_member("cleo", |cleo| cleo.asks_user.is_some())
        .await;
    rig.ok(["send", "cleo", "yes"]).await;
    run.line_with(ANSWER).await;
    assert!(run.wait().await.success());
    let new = rig.read("new.jsonl").unwrap();
    let root = rig.root().to_str().unwrap();
    assert!(
        !new.contains(root) && !new.contains("127.0.0.1"),
        "the recording must contain no path and no address of this machine"
    );
    let kept = scripts().join("demo/recording.jsonl");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(kept, new).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(kept).unwrap_or_default();
    assert_eq!(
        answers(&kept),
        answers(&new),
        "make the recording again: see the header of this file"
    );
}

/// Plays the recording, answers cleo's question and allows the one request. Returns the answer to the goal.
async fn play(rig: &Rig, meanwhile: impl AsyncFnOnce()) -> String {
    rig.ok(["up", "--detach", "--panes", "headless"]).await;
    let mut run = rig.start(["run", &goal()]);
    meanwhile().await;
    rig.until_member("cleo", |cleo| cleo.asks_user.is_some())
        .await;
    let requests = rig.json(["requests"]).await;
    assert_eq!(requests["questions"][0]["member"], "cleo");
    assert_eq!(requests["questions"][0]["text"], QUESTION);
    rig.ok(["send", "cleo", "yes"]).await;
    rig.until_member("dora", |dora| dora.requests > 0).await;
    let requests = rig.json(["requests"]).await;
    let requests = requests["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "one change waits for the user");
    assert_eq!(requests[0]["input"]["path"], "README.md");
    rig.ok(["requests", "allow", requests[0]["id"].as_str().unwrap()])
        .await;
    let answer = run.line().await;
    assert!(run.wait().await.success());
    answer
}

async fn assert_done(rig: &Rig) {
    assert!(rig.read("src/lib.rs").unwrap().contains("pub fn top"));
    assert!(rig.read("tests/top.rs").unwrap().contains("equal_ones"));
    let read_me = rig.read("README.md").unwrap();
    assert!(read_me.contains("tally::top(text, 10)"));
    let tasks = rig.json(["task", "list"]).await;
    let tasks = tasks["tasks"].as_array().unwrap().iter();
    let states: Vec<&Value> = tasks.map(|task| &task["state"]).collect();
    assert_eq!(states, ["completed"; 3]);
    for member in ["lead", "ben", "cleo", "dora"] {
        let printed = rig.ok(["logs", member]).await.stdout;
        assert!(
            !printed.contains('✗'),
            "a call of {member} failed:\n{printed}"
        );
    }
}

#[tokio::test]
async fn the_demo_asks_for_one_change_and_one_answer() {
    if !there_is_a_sandbox().await {
        return;
    }
    let rig = sample();
    assert_eq!(play(&rig, async || {}).await, ANSWER);
    assert_done(&rig).await;
    rig.ok(["down"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_killed_worker_of_the_demo_continues() {
    if !there_is_a_sandbox().await {
        return;
    }
    let mut rig = sample();
    // At this speed, ben is killed in the middle of its task.
    rig.set("AGENT_TEAM_REPLAY_SPEED", "1000");
    let killed = async || {
        let works = |ben: &MemberView| ben.state == MemberState::Working && ben.task.is_some();
        let before = rig.until_member("ben", works).await;
        rig.worker("ben").await.signal(Signal::SIGKILL).unwrap();
        rig.until_member("ben", |ben| ben.pid.is_some() && ben.pid != before.pid)
            .await;
    };
    assert_eq!(play(&rig, killed).await, ANSWER);
    assert_done(&rig).await;
    let ben = rig.member("ben").await;
    assert_eq!(ben.completed, 1, "the next launch completed the task");
    rig.ok(["down"]).await;
}
