//! The board: the verbs of `task`, concurrent and stale claims, dependencies, and hooks.

use agent_team_client::CallError;
use agent_team_protocol::method::{
    AddTask, ClaimTask, EndTask, TaskAdd, TaskChanges, TaskClaim, TaskComplete, TaskRelease,
    TaskUpdate, UpdateTask,
};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::TaskState;
use agent_team_protocol::{ErrorCode, TaskId};
use agent_team_tests::{Rig, together};
use serde_json::{Value, json};

use crate::teams::{assigned, headless, task};

/// A team whose member takes only tasks assigned to it, so that the test controls the board.
async fn board(tasks: &str) -> Rig {
    let rig = assigned(&["ada"], tasks);
    rig.ok(["up"]).await;
    rig
}

#[tokio::test]
async fn a_task_is_added_shown_changed_and_listed() {
    let rig = board("").await;
    let added = rig
        .json([
            "task",
            "add",
            "Write",
            "--key",
            "w",
            "--description",
            "long",
            "--priority",
            "-3",
            "--label",
            "x",
            "--labels",
            "y",
            "--role",
            "worker",
            "--touches",
            "src/**",
            "--verify",
            "true",
            "--run",
            "true",
            "--rerun",
            "false",
        ])
        .await;
    assert_eq!(added["task"], "T-1");
    rig.ok(["task", "add", "Read", "--after", "w", "--for", "ada"])
        .await;
    let shown = rig.json(["task", "show", "T-1"]).await;
    for (field, value) in [
        ("key", "\"w\""),
        ("title", "\"Write\""),
        ("description", "\"long\""),
        ("priority", "-3"),
        ("labels", "[\"x\",\"y\"]"),
        ("role", "\"worker\""),
        ("files", "[\"src/**\"]"),
        ("run", "\"true\""),
        ("verify", "\"true\""),
        ("rerun", "false"),
        ("state", "\"pending\""),
        ("blocks", "[\"T-2\"]"),
        ("created_by", "\"user\""),
    ] {
        assert_eq!(shown[field].to_string(), value, "{field}");
    }
    rig.ok([
        "task",
        "update",
        "T-1",
        "--title",
        "Rewrite",
        "--priority",
        "2",
    ])
    .await;
    let list = rig.json(["task", "list"]).await;
    assert_eq!(list["tasks"][0]["title"], "Rewrite");
    assert_eq!(list["tasks"][0]["priority"], 2);
    assert_eq!(
        list["tasks"][0]["description"], "long",
        "the update keeps the description"
    );
    assert_eq!(list["tasks"][1]["for"], "ada");
    assert_eq!(list["tasks"][1]["blocked"], true);
    rig.run(["task", "show", "T-1"])
        .await
        .expect(0)
        .assert_prints("Rewrite");
    rig.run(["task", "list"])
        .await
        .expect(0)
        .assert_prints("T-2");
}

#[tokio::test]
async fn a_users_claim_supports_every_task_transition() {
    let rig = board(&[task("One", "true", ""), task("Two", "true", "priority = 1")].concat()).await;
    let claimed = rig.json(["task", "claim"]).await;
    assert_eq!(claimed["task"], "T-2", "the highest priority");
    assert_eq!(
        rig.task("T-2").await.owner.map(|owner| owner.to_string()),
        Some("user".to_owned())
    );
    rig.ok(["task", "release", "T-2", "--note", "half done"])
        .await;
    let released = rig.task("T-2").await;
    assert_eq!(released.state, TaskState::Pending);
    assert_eq!(released.result.as_deref(), Some("half done"));
    rig.ok(["task", "claim", "T-2"]).await;
    rig.ok(["task", "fail", "T-2", "--reason", "too hard"])
        .await;
    assert_eq!(rig.task("T-2").await.state, TaskState::Failed);
    rig.ok(["task", "retry", "T-2"]).await;
    assert_eq!(rig.task("T-2").await.state, TaskState::Pending);
    rig.ok(["task", "claim", "T-2"]).await;
    rig.run_with(["task", "complete", "T-2", "--result", "-"], "by hand\n")
        .await
        .expect(0);
    let completed = rig.task("T-2").await;
    assert_eq!(completed.state, TaskState::Completed);
    assert_eq!(completed.result.as_deref().map(str::trim), Some("by hand"));
    rig.ok(["task", "cancel", "T-1"]).await;
    assert_eq!(rig.task("T-1").await.state, TaskState::Cancelled);
    rig.ok(["task", "retry", "T-1"]).await;
    assert_eq!(rig.task("T-1").await.state, TaskState::Pending);
}

#[tokio::test]
async fn an_assigned_task_wakes_its_member() {
    let rig = board(&task("Run", "echo ran", "")).await;
    rig.ok(["task", "assign", "T-1", "ada"]).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("ran"));
    assert_eq!(
        task.owner.map(|owner| owner.to_string()),
        Some("ada".to_owned())
    );
}

#[tokio::test]
async fn the_graph_is_shown_as_text_and_for_graphviz() {
    let tasks = [
        task("Build", "true", ""),
        task("Test", "true", "after = [\"Build\"]"),
        task("Say \\\"hi\\\"", "true", "after = [\"Build\", \"Test\"]"),
    ];
    let rig = board(&tasks.concat()).await;
    let text = rig.ok(["task", "graph"]).await.stdout;
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("Build"), "{text}");
    assert!(
        lines[1].starts_with("  ") && lines[1].contains("Test"),
        "{text}"
    );
    let dot = rig.ok(["task", "graph", "--dot"]).await.stdout;
    assert!(dot.starts_with("digraph "), "{dot}");
    assert!(dot.contains("\"T-1\" -> \"T-2\";"), "{dot}");
    assert!(dot.contains("\"T-2\" -> \"T-3\";"), "{dot}");
    let json = rig.json(["task", "graph"]).await;
    assert_eq!(json["tasks"][0]["blocks"].to_string(), "[\"T-2\",\"T-3\"]");
}

#[tokio::test]
async fn one_concurrent_claim_wins_and_refusals_name_its_owner() {
    const CLAIMANTS: usize = 32;
    const TASKS: u64 = 40;
    let rig = board("").await;
    let user = rig.user().await;
    for number in 1..=TASKS {
        let spec = TaskSpec {
            key: format!("task {number}"),
            title: format!("task {number}"),
            rerun: true,
            ..TaskSpec::default()
        };
        user.ask::<TaskAdd>(AddTask { spec }).await;
    }
    let mut users = Vec::new();
    for _ in 0..CLAIMANTS {
        users.push(rig.user().await);
    }
    for number in 1..=TASKS {
        let task = Some(TaskId(number));
        let claims = users
            .iter()
            .map(|user| user.call::<TaskClaim>(ClaimTask { task }, None));
        let (mut won, mut lost) = (0, 0);
        for outcome in together(claims).await {
            match outcome {
                Ok(answer) => {
                    assert_eq!(answer.generation.0, 1);
                    won += 1;
                }
                Err(CallError::Refused(refusal)) => {
                    assert_eq!(refusal.code, ErrorCode::AlreadyClaimed);
                    assert!(refusal.message.contains("user"), "{refusal}");
                    lost += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((won, lost), (1, CLAIMANTS - 1), "T-{number}");
    }
}

#[tokio::test]
async fn a_stale_generation_changes_nothing() {
    let rig = board(&task("One", "true", "")).await;
    let user = rig.user().await;
    let task = TaskId(1);
    let claim = ClaimTask { task: Some(task) };
    let first = user.ask::<TaskClaim>(claim).await.generation;
    let end = |generation| EndTask {
        task,
        generation: Some(generation),
        text: "late".to_owned(),
    };
    user.ask::<TaskRelease>(end(first)).await;
    let second = user.ask::<TaskClaim>(claim).await.generation;
    assert!(second > first);
    let before = rig.task("T-1").await;
    for refusal in [
        user.refused::<TaskComplete>(end(first)).await,
        user.refused::<TaskRelease>(end(first)).await,
    ] {
        assert_eq!(refusal.code, ErrorCode::StaleClaim);
    }
    assert_eq!(rig.task("T-1").await, before);
    user.ask::<TaskComplete>(end(second)).await;
}

#[tokio::test]
async fn a_call_repeated_with_its_key_has_one_effect_and_reply() {
    let rig = board("").await;
    let spec = |title: &str| AddTask {
        spec: TaskSpec {
            key: title.to_owned(),
            title: title.to_owned(),
            ..TaskSpec::default()
        },
    };
    let user = rig.user_as("somebody").await;
    let first = user.call::<TaskAdd>(spec("One"), Some("k")).await.unwrap();
    drop(user);
    let user = rig.user_as("somebody").await;
    let again = user.call::<TaskAdd>(spec("One"), Some("k")).await.unwrap();
    assert_eq!(first, again);
    let other = user.call::<TaskAdd>(spec("Two"), Some("k")).await;
    let Err(CallError::Refused(refusal)) = other else {
        panic!("{other:?}")
    };
    assert_eq!(refusal.code, ErrorCode::KeyReused);
    let list = rig.json(["task", "list"]).await;
    assert_eq!(list["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_edit_that_creates_a_cycle_changes_nothing() {
    let rig = board(
        &[
            task("One", "true", ""),
            task("Two", "true", "after = [\"One\"]"),
        ]
        .concat(),
    )
    .await;
    let user = rig.user().await;
    let changes = TaskChanges {
        after: Some(vec!["Two".to_owned()]),
        title: Some("Changed".to_owned()),
        ..TaskChanges::default()
    };
    let task = TaskId(1);
    let refusal = user
        .refused::<TaskUpdate>(UpdateTask { task, changes })
        .await;
    assert_eq!(refusal.code, ErrorCode::DependencyCycle);
    let one = rig.task("T-1").await;
    assert_eq!((one.title.as_str(), one.after.len()), ("One", 0));
}

#[tokio::test]
async fn a_claim_reports_tasks_that_change_the_same_files() {
    let rig = board(
        &[
            task("One", "true", "files = [\"src/**\"]"),
            task("Two", "true", "files = [\"src/main.rs\"]"),
        ]
        .concat(),
    )
    .await;
    rig.ok(["task", "claim", "T-1"]).await;
    rig.run(["task", "claim", "T-2"])
        .await
        .expect(0)
        .assert_prints("tasks in progress that change the same files: T-1");
}

#[tokio::test]
async fn the_creator_of_a_task_receives_its_result() {
    let rig = headless(&["ada"], &task("Build", "echo all good", ""));
    rig.ok(["up", "--wait"]).await;
    let messages = rig.json(["messages"]).await;
    let notice = &messages["messages"][0];
    assert_eq!(notice["from"], "system");
    assert_eq!(notice["to"], "user");
    let text = notice["text"].as_str().unwrap();
    assert!(text.contains("T-1") && text.contains("all good"), "{text}");
}

#[tokio::test]
async fn a_hook_refuses_a_completion_at_most_three_times_in_a_row() {
    let hook = "cat >> asked; echo >> asked; echo tests are missing >&2; exit 2";
    let rest = format!("[hooks]\ntask_completed = {hook:?}\n");
    let rig = assigned(&["ada"], &format!("{rest}{}", task("One", "true", "")));
    rig.ok(["up"]).await;
    rig.ok(["task", "claim", "T-1"]).await;
    for _ in 0..3 {
        rig.run(["task", "complete", "T-1", "--result", "done"])
            .await
            .expect(4)
            .assert_prints("tests are missing");
        assert_eq!(rig.task("T-1").await.state, TaskState::InProgress);
    }
    let asked = rig.read("asked").unwrap();
    let asked: serde_json::Value = serde_json::from_str(asked.lines().next().unwrap()).unwrap();
    assert_eq!(asked["hook"], "task_completed");
    rig.ok(["task", "complete", "T-1"]).await;
    assert_eq!(rig.task("T-1").await.state, TaskState::Completed);
}

#[tokio::test]
async fn a_task_fails_with_the_reason_of_the_refusing_hook() {
    let rest = "[hooks]\ntask_completed = \"echo not like this >&2; exit 2\"\n";
    let rig = headless(&["ada"], &format!("{rest}{}", task("One", "true", "")));
    rig.run(["up", "--wait"]).await.expect(1);
    let task = rig.task("T-1").await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(task.result.unwrap().contains("not like this"));
}

#[tokio::test]
async fn a_hook_runs_for_an_idle_member() {
    let rest = "[hooks]\nteammate_idle = \"cat > idle; echo >> idle\"\n";
    let rig = headless(&["ada"], &format!("{rest}{}", task("One", "true", "")));
    rig.ok(["up", "--wait"]).await;
    let idle = rig.until_written("idle").await;
    let idle: serde_json::Value = serde_json::from_str(&idle).unwrap();
    assert_eq!(idle["hook"], "teammate_idle");
    assert_eq!(idle["member"]["name"], "ada", "{idle}");
}

#[tokio::test]
async fn only_task_show_prints_the_whole_output() {
    let run = "echo much before; echo; echo it came to this; echo";
    let rig = headless(&["ada"], &task("Talk", run, ""));
    rig.ok(["up", "--wait"]).await;
    let list = rig.ok(["task", "list"]).await;
    assert!(!list.stdout.contains("much before"), "{}", list.stdout);
    list.assert_prints("it came to this");
    rig.ok(["task", "show", "T-1"])
        .await
        .assert_prints("much before")
        .assert_prints("it came to this");
}

#[tokio::test]
async fn blockers_of_a_task_are_shown_and_can_be_cleared() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok(["task", "add", "First", "--for", "ada"]).await;
    rig.ok(["task", "add", "Second", "--after", "T-1", "--run", "true"])
        .await;
    rig.ok(["task", "cancel", "T-1"]).await;
    let way_out = "agent-team task update T-2 --clear after";
    rig.ok(["task", "show", "T-2"])
        .await
        .assert_prints("T-1 First: cancelled")
        .assert_prints(way_out);
    rig.ok(["why", "ada"])
        .await
        .assert_prints("T-2 waits for T-1, which was cancelled")
        .assert_prints(way_out);
    rig.ok(["why", "T-2"])
        .await
        .assert_prints("T-2 waits for T-1 (cancelled)")
        .assert_prints(way_out);
    assert_eq!(rig.json(["why", "1"]).await["why"], "T-1 was cancelled");
    rig.refused(2, ["why", "T-x"]).await;
    rig.ok(["task", "update", "T-2", "--clear", "after"]).await;
    rig.until_task_is("T-2", TaskState::Completed).await;
    rig.ok([
        "task", "add", "Third", "--role", "reviewer", "--run", "true",
    ])
    .await;
    rig.ok(["task", "update", "T-3", "--clear", "role", "--for", "ada"])
        .await;
    rig.until_task_is("T-3", TaskState::Completed).await;
}

#[tokio::test]
async fn short_flags_free_a_task_for_all_members() {
    let rig = board("").await;
    rig.ok(["task", "add", "First"]).await;
    rig.ok([
        "task", "add", "Second", "--after", "T-1", "--for", "ada", "--role", "worker",
    ])
    .await;
    let shown = async || {
        let task = rig.json(["task", "show", "T-2"]).await;
        ["after", "for", "role"].map(|field| task[field].clone())
    };
    let (member, role) = (json!("ada"), json!("worker"));
    assert_eq!(
        shown().await,
        [json!(["T-1"]), member.clone(), role.clone()]
    );
    rig.ok(["task", "update", "T-2", "--no-after"]).await;
    assert_eq!(shown().await, [json!([]), member, role.clone()]);
    rig.ok(["task", "update", "T-2", "--no-for"]).await;
    assert_eq!(shown().await, [json!([]), Value::Null, role]);
    rig.ok(["task", "update", "T-2", "--no-role"]).await;
    assert_eq!(shown().await, [json!([]), Value::Null, Value::Null]);
}

#[tokio::test]
async fn tasks_that_no_member_can_claim_are_named_at_once() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.run([
        "task", "add", "Conjure", "--role", "wizard", "--run", "true",
    ])
    .await
    .expect(3)
    .assert_prints("there is no role wizard");
    rig.run(["task", "add", "Build", "--role", "workr", "--run", "true"])
        .await
        .expect(3)
        .assert_prints("did you mean `worker`?");
    let why = "no member can claim T-1: the task has no command to run";
    rig.ok(["task", "add", "Write"]).await.assert_prints(why);
    rig.ok(["why", "ada"]).await.assert_prints(why);
    rig.run(["up", "--wait"]).await.expect(1).assert_prints(why);
    let given = rig.ok(["task", "update", "t-1", "--run", "true"]).await;
    assert!(!given.stderr.contains("no member"), "{}", given.stderr);
    rig.ok(["task", "wait", "1"]).await.assert_prints("T-1");
}

#[tokio::test]
async fn the_error_for_a_misspelt_name_suggests_the_nearest_one() {
    let rig = headless(&["ada", "grace"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    for (arguments, suggested) in [
        (["kill", "adaa"], "did you mean `ada`?"),
        (["why", "gracie"], "did you mean `grace`?"),
        (["kill", "zebedee"], "list the members with: agent-team ps"),
    ] {
        rig.run(arguments).await.expect(3).assert_prints(suggested);
    }
    rig.ok(["task", "add", "Prepare", "--for", "ada"]).await;
    rig.run(["task", "add", "Test", "--after", "Prepair", "--run", "true"])
        .await
        .expect(2)
        .assert_prints("did you mean `Prepare`?");
    rig.ok(["task", "add", "Test", "--after", "t-2", "--run", "true"])
        .await;
    assert_eq!(rig.task("T-3").await.after, [TaskId(2)]);
}
