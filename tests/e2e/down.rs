//! Tests of `down`: no process, pane, socket or file of the team is left, each terminated process and removed file has
//! a receipt, and nothing else is touched.

use agent_team_client::CallError;
use agent_team_protocol::ErrorCode;
use agent_team_protocol::method::{Nothing, TeamDelete};
use agent_team_protocol::view::{MemberState, ReceiptOutcome};
use agent_team_system::lock::FileLock;
use agent_team_tests::{Rig, User, processes, until};
use serde_json::Value;

use crate::teams::{file, headless, task};

fn receipts(down: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    down["receipts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|receipt| {
            (
                text(&receipt["kind"]),
                text(&receipt["what"]),
                text(&receipt["fate"]),
            )
        })
        .collect()
}

/// Asserts that no process, socket or held lock of the rig is left.
fn assert_nothing_is_left(rig: &Rig) {
    assert_eq!(rig.processes(), [], "no process");
    let directories = rig.directories();
    assert!(!directories.socket().exists(), "no socket of a supervisor");
    assert!(!directories.tmux_socket().exists(), "no socket of tmux");
    assert!(
        !FileLock::is_held(&directories.supervisor_lock()).unwrap(),
        "no lock"
    );
    for directory in ["launch", "env"] {
        let mut entries = std::fs::read_dir(directories.run.join(directory)).unwrap();
        assert!(entries.next().is_none(), "{directory} is empty");
    }
}

/// Brings the team up, and waits until its task has created the file `gate`.
async fn up_to_the_gate(rig: &Rig) {
    rig.ok(["up"]).await;
    until("the gate", async || {
        rig.project().join("gate").exists().then_some(())
    })
    .await;
}

#[tokio::test]
async fn down_leaves_nothing_and_prints_receipts() {
    let run = "(setsid sleep 1000 > /dev/null 2>&1 &); mkfifo gate; cat gate";
    let rig = headless(&["ada", "bob"], &task("Long", run, ""));
    up_to_the_gate(&rig).await;
    let (ada, bob) = (rig.worker("ada").await, rig.worker("bob").await);
    let supervisor = rig.supervisor().await;
    let down = rig.json(["down", "--force"]).await;
    assert_nothing_is_left(&rig);
    let receipts = receipts(&down);
    for (process, owner) in [(ada, "ada"), (bob, "bob"), (supervisor, "supervisor")] {
        let what = format!("{} ({owner})", process.pid);
        assert!(
            receipts.contains(&("process".into(), what.clone(), "ended".into())),
            "{what} in {receipts:?}"
        );
    }
    let socket = rig.directories().socket().display().to_string();
    assert!(
        receipts.contains(&("socket".into(), socket, "removed".into())),
        "{receipts:?}"
    );
    assert!(
        receipts.iter().any(|(kind, what, outcome)| kind == "file"
            && what.contains("/run/env/")
            && outcome == "removed"),
        "{receipts:?}"
    );
    assert!(receipts.iter().all(|(_, _, outcome)| outcome != "survived"));
}

#[tokio::test]
async fn down_without_force_lets_a_program_end_by_itself() {
    let run =
        "trap 'echo bye > last-words; exit 0' TERM HUP; mkfifo gate; while :; do cat gate; done";
    let rig = headless(&["ada"], &task("Polite", run, ""));
    up_to_the_gate(&rig).await;
    rig.ok(["down"]).await;
    assert_nothing_is_left(&rig);
    assert_eq!(rig.read("last-words").as_deref(), Some("bye\n"));
}

#[tokio::test]
async fn down_kills_a_program_after_the_grace_period() {
    let run = "trap '' TERM HUP INT; mkfifo gate; while :; do cat gate; done";
    let rig = headless(&["ada"], &task("Stubborn", run, ""));
    up_to_the_gate(&rig).await;
    let down = rig.ok(["down"]).await;
    assert!(
        down.stderr.starts_with("waiting for the members to stop"),
        "{}",
        down.stderr
    );
    assert_nothing_is_left(&rig);
}

#[tokio::test]
async fn down_ends_a_program_that_keeps_forking() {
    let run =
        "f() { (trap '' TERM HUP; touch forked; while :; do setsid true; done) & }; f; f; wait";
    let rig = headless(&["ada"], &task("Restless", run, ""));
    rig.ok(["up"]).await;
    until("a fork", async || rig.read("forked")).await;
    rig.ok(["down", "--force"]).await;
    assert_nothing_is_left(&rig);
}

#[tokio::test]
async fn the_board_outlives_a_team_that_went_down() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    rig.ok(["down"]).await;
    rig.run(["task", "list"])
        .await
        .expect(0)
        .assert_prints("completed");
    rig.run(["ps"]).await.expect(0).assert_prints("stopped");
    rig.ok(["down"]).await;
    until("the supervisor to exit", async || {
        rig.processes().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_supervisor_exits_with_its_last_team() {
    let rig = headless(&["ada"], "");
    let other = rig.other_project("other", &file(&["bob"], "headless", "ready", ""));
    rig.ok(["up"]).await;
    rig.run_in(&other, ["up"]).await.expect(0);
    let supervisor = rig.supervisor().await;
    let bob = rig.run_in(&other, ["ps", "--json"]).await.expect(0).json();
    let bob = processes::living(bob["members"][0]["pid"].as_u64().unwrap());
    rig.ok(["down"]).await;
    assert!(supervisor.is_alive().unwrap(), "another team is up");
    assert!(bob.is_alive().unwrap(), "bob belongs to the other team");
    rig.run_in(&other, ["down"]).await.expect(0);
    assert!(!supervisor.is_alive().unwrap());
    assert_nothing_is_left(&rig);
}

#[tokio::test]
async fn processes_that_the_team_did_not_start_are_not_touched() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    // The process has the project as its directory, but its launch belongs to no member.
    let mut stranger = tokio::process::Command::new("sleep");
    stranger
        .arg("1000")
        .current_dir(rig.project())
        .env("AGENT_TEAM_LAUNCH", "none")
        .kill_on_drop(true);
    let mut stranger = stranger.spawn().unwrap();
    rig.ok(["down", "--force"]).await;
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
}

#[tokio::test]
async fn supervisor_stop_ends_every_team_and_starts_no_successor() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let (ada, supervisor) = (rig.worker("ada").await, rig.supervisor().await);
    let receipts = receipts(&rig.json(["supervisor", "stop"]).await);
    assert_nothing_is_left(&rig);
    assert!(!ada.is_alive().unwrap());
    let what = format!("{} (supervisor)", supervisor.pid);
    assert!(
        receipts.contains(&("process".into(), what.clone(), "ended".into())),
        "{what} in {receipts:?}"
    );
    rig.run(["supervisor", "status"]).await.expect(6);
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn one_of_two_concurrent_deletions_removes_the_team() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let (one, two) = (rig.user().await, rig.user().await);
    rig.ok(["down"]).await;
    let delete = |user| async move { User::call::<TeamDelete>(user, Nothing {}, None).await };
    let answers = agent_team_tests::together([delete(&one), delete(&two)]).await;
    let removed = answers.iter().flatten().flat_map(|answer| &answer.receipts);
    assert!(removed.clone().count() > 0, "{answers:?}");
    assert!(
        removed
            .clone()
            .all(|receipt| receipt.outcome == ReceiptOutcome::Removed)
    );
    let refused = answers.iter().find_map(|answer| answer.as_ref().err());
    let Some(CallError::Refused(refusal)) = refused else {
        panic!("{answers:?}");
    };
    assert_eq!(refusal.code, ErrorCode::UnknownTeam, "{answers:?}");
}

#[tokio::test]
async fn only_a_stopped_team_is_deleted_and_its_project_stays() {
    let rig = headless(&["ada"], &task("Build", "touch built", ""));
    rig.ok(["up", "--wait"]).await;
    rig.run(["team", "delete"])
        .await
        .expect(4)
        .assert_prints("down");
    rig.run(["team", "list"])
        .await
        .expect(0)
        .assert_prints("demo");
    rig.run(["team", "show"])
        .await
        .expect(0)
        .assert_prints("ada");
    rig.ok(["down"]).await;
    rig.ok(["ps"]).await.assert_prints("the team is down");
    rig.ok(["audit"])
        .await
        .assert_prints("no permission decisions");
    // Without a terminal, the verb cannot ask the user.
    let unconfirmed = rig.run(["team", "delete"]).await.expect(2);
    unconfirmed
        .assert_prints("1 completed")
        .assert_prints("--yes");
    rig.ok(["team", "delete", "--yes"]).await;
    assert!(rig.read(".agent-team/team.toml").is_some());
    assert!(rig.read("built").is_some());
    let teams = std::fs::read_dir(rig.directories().teams()).unwrap();
    assert_eq!(teams.count(), 0);
    let list = rig.json(["team", "list"]).await;
    assert_eq!(list["teams"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_surviving_process_has_a_receipt_and_sets_the_exit_code() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    const UNPRIVILEGED: u32 = 65_534;

    let mut rig = Rig::with_team(&file(
        &["ada"],
        "headless",
        "ready",
        &task(
            "Escape",
            "trap '' HUP; mkfifo gate; ./privileged --reuid=0 --regid=0 --clear-groups cat gate",
            "",
        ),
    ));
    // Only root can install a program that the user who starts it cannot terminate: a set-user-ID program of root. The
    // kernel sends SIGHUP to the program when its terminal closes, so the program ignores SIGHUP.
    let privileged = rig.project().join("privileged");
    let mine = ["", "at", "home", "tmp", "project"].map(|name| rig.root().join(name));
    let is_possible = mine
        .iter()
        .all(|path| chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).is_ok())
        && std::fs::copy("/usr/bin/setpriv", &privileged).is_ok()
        && std::fs::metadata(&privileged).is_ok_and(|program| program.uid() == 0);
    if !is_possible {
        eprintln!("skipped: only root can make a process that its user cannot end");
        return;
    }
    std::fs::set_permissions(&privileged, std::fs::Permissions::from_mode(0o4755)).unwrap();
    rig.set("USER", "nobody");
    rig.trust_nothing();
    rig.copy_binaries();
    let as_unprivileged = async |arguments: &[&str]| {
        let command = rig.command(arguments);
        let command = command.as_std();
        let environment = command.get_envs();
        let mut setpriv = tokio::process::Command::new("setpriv");
        setpriv
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(command.get_program())
            .args(arguments)
            .current_dir(rig.project())
            .env_clear()
            .envs(environment.filter_map(|(name, value)| Some((name, value?))));
        let output = agent_team_tests::within("a verb", setpriv.output()).await;
        let output = output.unwrap();
        let json = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), json, errors)
    };
    // Trust is stored per user, so the user `nobody` must also trust the file.
    let (code, _, errors) = as_unprivileged(&["up", "--json"]).await;
    assert_eq!(code, Some(4), "{errors}");
    let error: Value = serde_json::from_str(&errors).unwrap();
    let hint = error["error"]["hint"].as_str().unwrap();
    let digest = hint.rsplit(' ').next().unwrap();
    let (code, _, errors) = as_unprivileged(&["up", "--json", "--trust", digest]).await;
    assert_eq!(code, Some(0), "{errors}");
    let survivor = until("the program that its user cannot end", async || {
        let found = rig.processes().into_iter();
        let mut found = found.filter(|found| found.command.starts_with("cat gate"));
        found.next()
    })
    .await;
    let (code, down, errors) = as_unprivileged(&["down", "--force", "--json"]).await;
    assert_eq!(code, Some(7), "{down} {errors}");
    let survived = receipts(&down)
        .into_iter()
        .find(|(_, _, outcome)| outcome == "survived");
    let (kind, what, _) = survived.expect("a receipt");
    assert_eq!(kind, "process");
    assert!(
        what.contains(&survivor.process.pid.to_string()),
        "{what} is not {survivor:?}"
    );
    processes::kill(survivor.process).await;
}
