//! `up`: starting the team of a project, waiting for its tasks, dry runs, and applying edits of the team file.

use agent_team_client::CallError;
use agent_team_protocol::method::TeamUp;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::Rig;
use serde_json::{Value, json};

use crate::teams::{assigned, file, headless, task, up_call};

#[tokio::test]
async fn members_claim_ready_tasks_and_report_the_outcome() {
    let tasks = [
        task("Build", "echo built > out.txt; echo done", ""),
        task("Break", "echo no luck; exit 3", ""),
    ];
    let rig = headless(&["ada", "bob"], &tasks.concat());
    let output = rig.run(["up", "--wait", "--json"]).await.expect(1).json();
    assert_eq!(output["outcome"], "failed");
    let build = rig.task("T-1").await;
    assert_eq!((build.state, build.attempts), (TaskState::Completed, 1));
    assert_eq!(build.result.as_deref(), Some("done"));
    let broken = rig.task("T-2").await;
    assert_eq!(broken.state, TaskState::Failed);
    assert_eq!(broken.result.as_deref(), Some("exit 3: no luck"));
    assert_eq!(rig.read("out.txt").as_deref(), Some("built\n"));
}

#[tokio::test]
async fn wait_exits_0_with_a_summary_once_all_tasks_are_completed() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.run(["up", "--wait"])
        .await
        .expect(0)
        .assert_prints("Build")
        .assert_prints("1 completed");
}

#[tokio::test]
async fn wait_exits_1_when_no_member_may_take_a_task() {
    let tasks = task("Review", "true", "role = \"reviewer\"");
    let roles = "[roles.reviewer]\nengine = \"command\"\n";
    let rig = headless(&["ada"], &format!("{roles}{tasks}"));
    rig.run(["up", "--wait"])
        .await
        .expect(1)
        .assert_prints("Review")
        .assert_prints("pending");
}

#[tokio::test]
async fn wait_ends_despite_tasks_blocked_by_a_failed_task() {
    let tasks = [
        task("Build", "exit 1", ""),
        task("Test", "true", "after = [\"Build\"]"),
    ];
    let rig = headless(&["ada"], &tasks.concat());
    let output = rig.run(["up", "--wait", "--json"]).await.expect(1).json();
    assert_eq!(output["tasks"][1]["state"], "pending");
    assert_eq!(output["tasks"][1]["blocked"], true);
}

#[tokio::test]
async fn a_task_waits_for_its_dependencies() {
    let tasks = [
        task("Last", "cat two > last", "after = [\"Two\"]"),
        task("Two", "cat one > two", "after = [\"One\"]"),
        task("One", "echo first > one", ""),
    ];
    let rig = headless(&["ada", "bob", "cyd"], &tasks.concat());
    rig.ok(["up", "--wait"]).await;
    assert_eq!(rig.read("last").as_deref(), Some("first\n"));
}

#[tokio::test]
async fn a_task_goes_to_its_role_and_to_its_member() {
    let rest = [
        "role = \"tester\"\n[roles.tester]\nengine = \"command\"\n".to_owned(),
        task("Check", "true", "role = \"tester\""),
        task("Own", "true", "for = \"bob\""),
    ];
    let rig = headless(&["ada", "bob", "cyd"], &rest.concat());
    rig.ok(["up", "--wait"]).await;
    let owner = async |id| rig.task(id).await.owner.map(|owner| owner.to_string());
    assert_eq!(owner("T-1").await.as_deref(), Some("cyd"));
    assert_eq!(owner("T-2").await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn tasks_with_higher_priority_are_taken_first() {
    let tasks = [
        task("Low", "echo low >> order", "priority = -1"),
        task("Middle", "echo middle >> order", ""),
        task("High", "echo high >> order", "priority = 7"),
    ];
    let rig = headless(&["ada"], &tasks.concat());
    rig.ok(["up", "--wait"]).await;
    assert_eq!(rig.read("order").as_deref(), Some("high\nmiddle\nlow\n"));
}

#[tokio::test]
async fn a_task_is_not_completed_before_its_verify_line_succeeds() {
    let tasks = [
        task("Good", "echo yes > good", "verify = \"test -s good\""),
        task("Bad", "true", "verify = \"echo nothing there; exit 1\""),
    ];
    let rig = headless(&["ada"], &tasks.concat());
    rig.run(["up", "--wait"]).await.expect(1);
    assert_eq!(rig.task("T-1").await.state, TaskState::Completed);
    let bad = rig.task("T-2").await;
    assert_eq!(bad.state, TaskState::Failed);
    assert!(bad.result.unwrap().contains("nothing there"));
}

/// The names of the entries of a directory, sorted; empty if the directory does not exist.
fn entries(directory: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_dry_run_of_a_new_team_lists_actions_and_leaves_no_trace() {
    let rig = headless(&["ada"], &task("Build", "touch built", ""));
    rig.run(["up", "--dry-run", "--panes", "headless"])
        .await
        .expect(0)
        .assert_prints("would start   member ada")
        .assert_prints("would add     task Build")
        .assert_prints("would run headless");
    assert_eq!(
        entries(&rig.directories().teams()),
        Vec::<String>::new(),
        "no team is on disk"
    );
    assert_eq!(entries(&rig.project()), [".agent-team"]);
    assert_eq!(rig.json(["team", "list"]).await, json!({"teams": []}));
}

#[tokio::test]
async fn a_dry_run_of_a_running_team_changes_nothing() {
    let rig = assigned(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--detach"]).await;
    let before = rig.until_member_is("ada", MemberState::Idle).await;
    let revision = rig.json(["ps"]).await["revision"].clone();
    rig.set_team(&file(&["bob"], "headless", "assigned", ""));
    let changes = changes(&rig.json(["up", "--dry-run"]).await);
    assert_eq!(
        changes,
        [
            ("member ada", "stopped"),
            ("member bob", "started"),
            ("task Build", "cancelled"),
        ]
        .map(owned)
    );
    let after = rig.json(["ps"]).await;
    assert_eq!(after["revision"], revision);
    assert_eq!(after["members"].as_array().unwrap().len(), 1);
    assert_eq!(rig.member("ada").await.launch, before.launch);
}

/// The changes that an `up` reports, by name.
fn changes(up: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut changes: Vec<_> = up["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (text(&change["what"]), text(&change["change"])))
        .collect();
    changes.sort_unstable();
    changes
}

fn owned((what, change): (&str, &str)) -> (String, String) {
    (what.to_owned(), change.to_owned())
}

#[tokio::test]
async fn a_second_up_without_an_edit_changes_nothing() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    let revision = rig.json(["ps"]).await["revision"].clone();
    rig.run(["up"])
        .await
        .expect(0)
        .assert_prints("no changes: the team matches its file");
    assert_eq!(rig.json(["ps"]).await["revision"], revision);
}

#[tokio::test]
async fn a_second_up_applies_only_the_changes() {
    let before = [
        task("Kept", "true", ""),
        task("Edited", "true", ""),
        task("Removed", "true", ""),
    ];
    let rig = assigned(&["ada", "bob", "cyd"], &before.concat());
    rig.ok(["up", "--detach"]).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    let bob = rig.until_member_is("bob", MemberState::Idle).await;
    let after = [
        "env = { NEW = \"1\" }\n".to_owned(),
        task("Kept", "true", ""),
        task("Edited", "false", ""),
        task("Added", "true", ""),
    ];
    rig.set_team(&file(
        &["ada", "dee", "bob"],
        "headless",
        "assigned",
        &after.concat(),
    ));
    let up = rig.json(["up"]).await;
    let expected = [
        ("member bob", "restarted"),
        ("member cyd", "stopped"),
        ("member dee", "started"),
        ("task Added", "added"),
        ("task Edited", "updated"),
        ("task Removed", "cancelled"),
    ];
    assert_eq!(changes(&up), expected.map(owned));
    rig.until_member("bob", |member| {
        member.state == MemberState::Idle && member.launch != bob.launch
    })
    .await;
    assert_eq!(rig.member("ada").await.launch, ada.launch);
    assert_eq!(rig.task("T-2").await.run.as_deref(), Some("false"));
    assert_eq!(rig.task("T-3").await.state, TaskState::Cancelled);
}

#[tokio::test]
async fn up_repeats_an_edited_task_only_if_it_is_finished() {
    let before = [
        task("Long", "mkfifo gate; cat gate", ""),
        task("Short", "echo one", ""),
        task("Broken", "false", ""),
    ];
    let rig = headless(&["ada", "bob"], &before.concat());
    rig.ok(["up", "--detach"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    rig.until_task_is("T-2", TaskState::Completed).await;
    rig.until_task_is("T-3", TaskState::Failed).await;
    let after = [
        task("Long", "cat other-gate", ""),
        task("Short", "echo two", ""),
        task("Broken", "echo repaired", ""),
    ];
    rig.set_team(&file(&["ada", "bob"], "headless", "ready", &after.concat()));
    rig.ok(["up"])
        .await
        .assert_prints("left      task Long: it is in progress")
        .assert_prints(
            "added     task Short: T-2 completed before its entry changed, so it runs again as T-4",
        )
        .assert_prints("retried   task Broken: its entry changed, so T-3 is pending again");
    let again = rig.until_task_is("T-4", TaskState::Completed).await;
    assert_eq!(again.result.as_deref(), Some("two"));
    let repaired = rig.until_task_is("T-3", TaskState::Completed).await;
    assert_eq!(repaired.result.as_deref(), Some("repaired"));
    assert_eq!(rig.task("T-1").await.state, TaskState::InProgress);
}

#[tokio::test]
async fn env_values_reach_tasks_and_are_stored_in_one_private_file() {
    let run = "echo \"$SECRET $OWN\"; test -z \"$TMUX\"";
    let rest = [
        "env = { OWN = \"mine\" }\n".to_owned(),
        task("Show", run, ""),
    ];
    let rig = headless(&["ada"], &rest.concat());
    rig.ok(["up", "--env", "SECRET=s3cr3t-value", "--wait"])
        .await;
    let shown = rig.task("T-1").await.result;
    assert_eq!(shown.as_deref(), Some("s3cr3t-value mine"));
    let mut files_with_value = Vec::new();
    let mut open = vec![rig.home()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(bytes) = std::fs::read(&path)
                && String::from_utf8_lossy(&bytes).contains("SECRET")
                // The journal contains the task's line, which names the variable, but not its value.
                && String::from_utf8_lossy(&bytes).contains("\"s3cr3t-value\"")
            {
                files_with_value.push(path);
            }
        }
    }
    let private = rig.directories().run.join("env");
    let [file] = &files_with_value[..] else {
        panic!("not one file: {files_with_value:?}");
    };
    assert_eq!(file.parent(), Some(private.as_path()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn without_a_terminal_up_returns_and_the_team_keeps_running() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn up_json_has_the_placement_and_the_run_result() {
    let rig = headless(&["ada"], &task("Build", "echo built", ""));
    let up = rig.json(["up", "--panes", "headless"]).await;
    assert!(up["team"].as_str().unwrap().starts_with("demo-"));
    assert!(up["revision"].as_u64().unwrap() > 0);
    assert_eq!(up["placement"], "headless");
    assert!(up["placement_reason"].is_string());
    let waited = rig.json(["up", "--wait", "--panes", "headless"]).await;
    for field in [
        "team",
        "outcome",
        "outputs",
        "rounds",
        "tasks",
        "members",
        "tokens",
        "cost",
        "durations",
    ] {
        assert!(!waited[field].is_null(), "{field} is missing: {waited}");
    }
    let output = waited["outputs"]["ada"].as_str().unwrap();
    assert!(output.contains("built"), "{output}");
}

#[tokio::test]
async fn a_team_is_found_by_name_and_from_its_projects_directories() {
    let rig = headless(&["ada"], "");
    let below = rig.project().join("src/deep");
    std::fs::create_dir_all(&below).unwrap();
    rig.run_in(&below, ["up"]).await.expect(0);
    rig.run_in(&below, ["ps"])
        .await
        .expect(0)
        .assert_prints("ada");
    let elsewhere = rig.root().join("home");
    rig.run_in(&elsewhere, ["ps"]).await.expect(3);
    rig.run_in(&elsewhere, ["ps", "-t", "demo"])
        .await
        .expect(0)
        .assert_prints("ada");
}

#[tokio::test]
async fn a_team_file_can_be_at_another_path() {
    let rig = Rig::new();
    rig.write(
        "ci/other.toml",
        &file(&["eve"], "headless", "ready", &task("Build", "true", "")),
    );
    rig.ok(["up", "--file", "ci/other.toml", "--wait"]).await;
}

#[tokio::test]
async fn a_dry_run_of_a_fresh_start_keeps_the_team() {
    let rig = assigned(&["ada"], &task("Build", "true", ""));
    rig.ok(["up"]).await;
    rig.run(["up", "--fresh", "--dry-run"])
        .await
        .expect(4)
        .assert_prints("is up");
    rig.ok(["down"]).await;
    let everything = [("member ada", "started"), ("task Build", "added")].map(owned);
    let would = rig.json(["up", "--fresh", "--dry-run"]).await;
    assert_eq!(changes(&would), everything);
    let board = rig.json(["task", "list"]).await;
    assert_eq!(board["tasks"].as_array().unwrap().len(), 1);
    let would = rig.json(["up", "--dry-run"]).await;
    assert_eq!(changes(&would), [owned(("member ada", "started"))]);
}

#[tokio::test]
async fn a_refused_fresh_start_keeps_the_existing_team() {
    let rig = assigned(&["ada"], &task("Build", "true", ""));
    rig.ok(["up"]).await;
    // The supervisor keeps running while this client is connected.
    let _listener = rig.user().await;
    rig.ok(["down"]).await;
    let mut twice = up_call(&rig.project(), "demo", &["ada"]);
    twice.spec.members.push(twice.spec.members[0].clone());
    twice.fresh = true;
    let user = rig.user().await;
    let refused = user.call::<TeamUp>(twice, None).await;
    assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
    drop(user);
    let board = rig.json(["task", "list"]).await;
    assert_eq!(board["tasks"][0]["title"], "Build");
}

/// A call that is repeated with its idempotency key returns the first answer and writes no file: the disk may be full
/// by then.
#[tokio::test]
async fn a_repeated_up_gets_its_first_answer() {
    use std::os::unix::fs::MetadataExt;

    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    let user = rig.user().await;
    let wanted = up_call(&rig.project(), "demo", &["ada", "bob"]);
    let first = user.call::<TeamUp>(wanted.clone(), Some("up")).await;
    let first = first.expect("the team is up");
    let environment = rig.directories().environment_file(first.team.as_str());
    let written = std::fs::metadata(&environment).unwrap();
    let again = user.call::<TeamUp>(wanted.clone(), Some("up")).await;
    assert_eq!(again.unwrap().changes, first.changes);
    assert_eq!(
        std::fs::metadata(&environment).unwrap().ino(),
        written.ino()
    );
    let other = user.call::<TeamUp>(wanted, Some("other")).await.unwrap();
    assert_ne!(other.changes, first.changes);
    assert_ne!(
        std::fs::metadata(&environment).unwrap().ino(),
        written.ino()
    );
}

#[tokio::test]
async fn a_fresh_start_runs_finished_tasks_again() {
    let rig = headless(&["ada"], &task("Build", "echo once >> runs", ""));
    rig.ok(["up", "--wait"]).await;
    rig.ok(["down"]).await;
    rig.ok(["up", "--wait"]).await;
    assert_eq!(
        rig.read("runs").as_deref(),
        Some("once\n"),
        "a finished task is not repeated"
    );
    rig.ok(["down"]).await;
    rig.ok(["up", "--fresh", "--wait"]).await;
    assert_eq!(rig.read("runs").as_deref(), Some("once\nonce\n"));
    assert_eq!(rig.task("T-1").await.state, TaskState::Completed);
}
