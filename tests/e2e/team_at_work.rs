//! A lead and three teammates do a small job in a real git repository; a team that was taken down resumes it.

use std::process::Command;

use agent_team_protocol::view::TaskState;
use agent_team_system::process::Signal;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, tmux};
use serde_json::{Value, json};

fn team(placement: &str) -> String {
    let mut file = format!(
        "name = \"demo\"\nmode = \"lead\"\n[panes]\nplacement = \"{placement}\"\n[lead]\nmodel = \"openai/lead\"\n"
    );
    for name in ["ada", "ben", "cleo"] {
        file.push_str(&format!(
            "[[member]]\nname = \"{name}\"\nengine = \"native\"\nmodel = \"openai/{name}\"\n"
        ));
    }
    file
}

fn rig(placement: &str, server: &FakeModelServer) -> Rig {
    let mut rig = Rig::with_team(&team(placement));
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig
}

/// The output of git in the project.
fn git(rig: &Rig, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@example.invalid",
        ])
        .args(arguments)
        .current_dir(rig.project())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn task(title: &str, assignee: &str, after: &[&str]) -> Value {
    json!({"title": title, "for": assignee, "after": after})
}

fn complete(task: &str, result: &str) -> Reply {
    Reply::call("complete_task", json!({"task": task, "result": result}))
}

/// The lead splits the job, follows its progress, looks at the changes, and finishes.
fn lead() -> Vec<Reply> {
    let split = Reply::text("Three pieces.")
        .and_call("create_task", task("Translate", "ada", &[]))
        .and_call("create_task", task("Count", "ben", &["T-1"]))
        .and_call("create_task", task("Describe", "cleo", &["T-1"]));
    let mut replies = vec![split];
    // Each message ends one `wait`. Surplus waits return at once, because no task is open.
    replies.extend((0..6).map(|_| Reply::call("wait", json!({"for": "tasks"}))));
    replies.push(Reply::call("git_diff", json!({})));
    replies.push(Reply::call(
        "finish",
        json!({"answer": "Translated, counted and described."}),
    ));
    replies
}

fn teammates() -> [(&'static str, Vec<Reply>); 3] {
    let ada = vec![
        Reply::call("read", json!({"path": "words.txt"})),
        Reply::call(
            "edit",
            json!({"path": "words.txt", "old": "hello", "new": "salve"}),
        ),
        complete("T-1", "words.txt is Latin"),
        Reply::text("Done."),
    ];
    let ben = vec![
        Reply::call(
            "bash",
            json!({"command": "wc -w < words.txt | tr -d ' ' > count.txt; cat count.txt"}),
        ),
        complete("T-2", "2 words"),
        Reply::text("Done."),
    ];
    let cleo = vec![
        Reply::call(
            "write",
            json!({"path": "README.md", "content": "Words in Latin.\n"}),
        ),
        complete("T-3", "README.md says what it is"),
        Reply::text("Done."),
    ];
    [("ada", ada), ("ben", ben), ("cleo", cleo)]
}

#[tokio::test]
async fn a_job_in_panes_survives_a_killed_member() {
    if !tmux::is_here() {
        return;
    }
    let [mut ada, ben, cleo] = teammates();
    // ada is killed during a model request, after its edit.
    ada.1.insert(2, Reply::hang());
    let server = FakeModelServer::start(by_model([("lead", lead()), ada, ben, cleo])).await;
    let rig = rig("tmux", &server);
    rig.write("words.txt", "hello world\n");
    git(&rig, &["init", "--quiet"]);
    git(&rig, &["add", "words.txt"]);
    git(&rig, &["commit", "--quiet", "--message", "words"]);

    rig.ok(["up", "--detach", "--bypass", "Make the words Latin"])
        .await;
    server.until_asked("ada", 3).await;
    let pane = rig.member("ada").await.pane.unwrap();
    let before = rig.worker("ada").await;
    before.signal(Signal::SIGKILL).unwrap();
    for id in ["T-1", "T-2", "T-3"] {
        rig.until_task_is(id, TaskState::Completed).await;
    }
    let mut events = rig.events().await;
    events.until("run_finished", &[]).await;

    assert_eq!(rig.read("words.txt").as_deref(), Some("salve world\n"));
    assert_eq!(rig.read("count.txt").as_deref(), Some("2\n"));
    let diff = git(&rig, &["diff"]);
    assert!(diff.contains("-hello world\n+salve world"), "{diff}");
    let status = git(&rig, &["status", "--short", "README.md", "count.txt"]);
    assert_eq!(status, "?? README.md\n?? count.txt\n");
    let requests = server.requests();
    let shown = requests
        .iter()
        .filter(|request| request.model() == "lead")
        .find(|request| {
            request
                .results()
                .iter()
                .any(|(_, text)| text.contains("+salve world"))
        });
    assert!(shown.is_some(), "the lead has seen the changes");
    let edits = requests.iter().filter(|request| request.model() == "ada");
    assert_eq!(
        edits.count(),
        5,
        "only the interrupted request was repeated"
    );

    let board = rig.json(["task", "list"]).await;
    let owners: Vec<&Value> = board["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["owner"])
        .collect();
    assert_eq!(owners, ["ada", "ben", "cleo"]);
    let again = rig.member("ada").await;
    assert_ne!(again.pid, Some(before.pid));
    assert_eq!(again.pane.as_deref(), Some(pane.as_str()), "in its pane");
    let tmux = rig.tmux();
    let mut panes = tmux.panes("#{@agent_team_member}").await;
    panes.sort_unstable();
    assert_eq!(panes, ["ada", "ben", "cleo", "lead"]);
    let lead = rig.member("lead").await.pane.unwrap();
    tmux.until_shown(&lead, "Three pieces.").await;
    let ben = rig.member("ben").await.pane.unwrap();
    tmux.until_shown(&ben, "wc -w").await;
}

#[tokio::test]
async fn an_ended_team_resumes_its_goal_and_its_conversations() {
    let [mut ada, ben, cleo] = teammates();
    ada.1.insert(2, Reply::hang());
    let server = FakeModelServer::start(by_model([("lead", lead()), ada, ben, cleo])).await;
    let rig = rig("headless", &server);
    rig.write("words.txt", "hello world\n");
    rig.ok(["up", "--detach", "--bypass", "Make the words Latin"])
        .await;
    server.until_asked("ada", 3).await;
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);

    rig.ok(["up", "--detach", "--bypass"]).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("words.txt is Latin"));
    rig.until_task_is("T-3", TaskState::Completed).await;
    let mut events = rig.events().await;
    let finished = events.until("run_finished", &[("run", "R-1")]).await;
    assert_eq!(
        finished.text("answer"),
        "Translated, counted and described."
    );
    let requests = server.requests();
    let of_ada: Vec<_> = requests
        .iter()
        .filter(|request| request.model() == "ada")
        .collect();
    assert!(
        of_ada[3].messages().len() > of_ada[2].messages().len(),
        "its conversation is restored"
    );
    let goals = requests.iter().filter(|request| request.model() == "lead");
    let goals = goals.filter(|request| request.last_input().contains("Make the words Latin"));
    assert!(goals.count() <= 2, "the goal was given once");
}

#[tokio::test]
async fn a_later_run_remembers_earlier_goals_unless_it_is_fresh() {
    let answers = || vec![Reply::call("finish", json!({"answer": "Done."}))];
    let three = [answers(), answers(), answers()].concat();
    let server = FakeModelServer::start(by_model([("lead", three)])).await;
    let rig = rig("headless", &server);
    for goal in [["run", "first goal"], ["run", "second goal"]] {
        rig.ok(goal).await;
    }
    rig.ok(["run", "--fresh", "third goal"]).await;
    let prompts: Vec<String> = server
        .requests()
        .iter()
        .map(|request| Value::from(request.messages()).to_string())
        .collect();
    assert!(prompts[1].contains("first goal") && prompts[1].contains("second goal"));
    assert!(
        !prompts[2].contains("first goal") && prompts[2].contains("third goal"),
        "{}",
        prompts[2]
    );
}
