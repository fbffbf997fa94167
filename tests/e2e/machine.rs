//! A machine that fails below the product: syncs and reads of the disk, the wall clock, another boot.

use std::fs;
use std::path::PathBuf;

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::shim::Shim;
use agent_team_tests::{Rig, processes, until};

use crate::teams::{assigned, task};

/// A team that runs with the shim preloaded; `None` if the shim is not available.
async fn shimmed(rest: &str) -> Option<(Rig, Shim)> {
    let mut rig = assigned(&["ada"], rest);
    let shim = rig.preload_shim()?;
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    Some((rig, shim))
}

async fn titles(rig: &Rig) -> Vec<String> {
    let list = rig.json(["task", "list"]).await;
    let tasks = list["tasks"].as_array().unwrap().iter();
    tasks
        .map(|task| task["title"].as_str().unwrap().to_owned())
        .collect()
}

/// Files beside the database that were set aside as damaged.
fn set_aside(rig: &Rig) -> Vec<PathBuf> {
    let teams = fs::read_dir(rig.directories().teams()).unwrap();
    let files = teams.flat_map(|team| fs::read_dir(team.unwrap().path()).unwrap());
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("damaged"))
        .collect()
}

#[tokio::test]
async fn a_failed_sync_ends_the_supervisor_and_acknowledges_nothing() {
    let Some((rig, shim)) = shimmed("").await else {
        return;
    };
    rig.ok(["task", "add", "First"]).await;
    let supervisor = rig.supervisor().await;
    shim.fail_syncs(true);
    let refused = rig.run(["task", "add", "Second", "--json"]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    processes::ended(supervisor).await;
    shim.fail_syncs(false);
    rig.ok(["task", "add", "Third"]).await;
    assert_ne!(rig.supervisor().await, supervisor);
    let before = titles(&rig).await;
    // The write before the failed sync may be stored, but only once.
    assert!(
        before == ["First", "Third"] || before == ["First", "Second", "Third"],
        "{before:?}"
    );
    processes::kill(rig.supervisor().await).await;
    assert_eq!(titles(&rig).await, before, "the board is unchanged");
}

#[tokio::test]
async fn a_failed_checkpoint_refuses_no_call() {
    let mut rig = assigned(&["ada"], "");
    let Some(shim) = rig.preload_shim() else {
        return;
    };
    // With this setting, checkpoints sync the database, and commits do not.
    let config = rig.directories().config;
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "durability = \"process\"\n").unwrap();
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let supervisor = rig.supervisor().await;
    shim.fail_syncs(true);
    let log = rig.directories().supervisor_log();
    // A checkpoint is due after 4 MB of changes.
    let text = "x".repeat(60_000);
    until("a failed checkpoint", async || {
        rig.ok(["send", "ada", &text]).await;
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.contains("checkpoint failed").then_some(())
    })
    .await;
    shim.fail_syncs(false);
    rig.ok(["task", "add", "First"]).await;
    assert_ne!(rig.supervisor().await, supervisor);
    assert_eq!(titles(&rig).await, ["First"]);
}

#[tokio::test]
async fn a_failed_read_is_an_error_and_never_an_empty_answer() {
    let Some((rig, shim)) = shimmed("").await else {
        return;
    };
    rig.ok(["send", "ada", "Remember this"]).await;
    let supervisor = rig.supervisor().await;
    shim.fail_reads(true);
    // A supervisor that starts now can open no team.
    processes::kill(supervisor).await;
    for verb in ["messages", "ps"] {
        let refused = rig.run([verb, "--json"]).await;
        assert_ne!(refused.code, 0, "{refused:?}");
        assert!(!refused.stderr.contains("damaged"), "{refused:?}");
    }
    shim.fail_reads(false);
    rig.run(["messages"])
        .await
        .expect(0)
        .assert_prints("Remember this");
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(
        set_aside(&rig),
        Vec::<PathBuf>::new(),
        "no file was set aside"
    );
}

#[tokio::test]
async fn members_outlive_a_supervisor_that_cannot_read() {
    let Some((rig, shim)) = shimmed("").await else {
        return;
    };
    let before = rig.member("ada").await;
    shim.fail_reads(true);
    processes::kill(rig.supervisor().await).await;
    // Workers and commands connect to a supervisor that cannot read the team.
    let refusal = rig.refused(1, ["ps"]).await;
    assert_eq!(refusal["code"], "storage_failed", "{refusal}");
    let log = rig.directories().supervisor_log();
    until("the third failed read", async || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        (log.matches("cannot read a team on disk").count() >= 3).then_some(())
    })
    .await;
    shim.fail_reads(false);
    let after = rig.until_member("ada", |member| !member.disconnected).await;
    assert_eq!((after.pid, after.launch), (before.pid, before.launch));
}

#[tokio::test]
async fn after_a_reboot_no_member_runs_until_up() {
    let run = "mkfifo gate; echo run >> runs; cat gate";
    let Some((rig, shim)) = shimmed(&task("Long", run, "")).await else {
        return;
    };
    rig.ok(["task", "assign", "T-1", "ada"]).await;
    rig.until_written("runs").await;
    processes::end(rig.root()).await;
    shim.set_boot_id("00000000-0000-4000-8000-000000000000");
    rig.ok(["ps"]).await;
    let held = rig.until_member_is("ada", MemberState::Held).await;
    assert!(held.why.contains("the machine was restarted"), "{held:?}");
    let returned = rig.until_task_is("T-1", TaskState::Pending).await;
    assert_eq!((returned.owner, returned.attempts), (None, 1));
    assert_eq!(rig.read("runs").as_deref(), Some("run\n"));
    fs::remove_file(rig.project().join("gate")).unwrap();
    rig.ok(["up"]).await;
    // A member does not reclaim a task that it lost.
    rig.ok(["task", "assign", "T-1", "ada"]).await;
    until("the second run", async || {
        (rig.read("runs").as_deref() == Some("run\nrun\n")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_changes_no_state_and_no_order() {
    const YEARS: i64 = 10 * 365 * 86_400;
    let Some((rig, shim)) = shimmed(&task("Long", "mkfifo gate; cat gate", "")).await else {
        return;
    };
    rig.ok(["task", "assign", "T-1", "ada"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let (before, supervisor) = (rig.member("ada").await, rig.supervisor().await);
    for (jump, text) in [(YEARS, "one"), (-YEARS, "two"), (0, "three")] {
        shim.set_clock(jump);
        rig.ok(["send", "ada", text]).await;
    }
    let list = rig.json(["messages"]).await;
    let texts: Vec<&str> = list["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let after = rig.member("ada").await;
    assert_eq!(
        (after.state, after.launch, after.task),
        (before.state, before.launch, before.task)
    );
    assert_eq!(rig.supervisor().await, supervisor);
}
