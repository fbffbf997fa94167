//! Full disks, and files that are removed, damaged, too new or owned by other users: the supervisor acknowledges
//! only stored changes.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use agent_team_client::CallError;
use agent_team_protocol::ErrorCode;
use agent_team_protocol::method::{AddTask, Nothing, TaskAdd, TeamShow};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::small_disk::SmallDisk;
use agent_team_tests::{Rig, processes};

use crate::teams::{assigned, headless, task};

/// The database of the only team.
fn database(rig: &Rig) -> PathBuf {
    let mut teams = fs::read_dir(rig.directories().teams()).unwrap();
    teams.next().unwrap().unwrap().path().join("team.db")
}

#[tokio::test]
async fn on_a_full_disk_only_reads_and_kills_work() {
    let rig = assigned(&["ada", "bob"], &task("Long", "mkfifo gate; cat gate", ""));
    let Some(disk) = SmallDisk::mount(&rig.directories().state, 16 << 20) else {
        return;
    };
    rig.ok(["up"]).await;
    rig.ok(["task", "assign", "T-1", "ada"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let ada = rig.worker("ada").await;
    let supervisor = rig.supervisor().await;
    disk.fill();
    // The database first uses space that it has already allocated.
    let mut acknowledged = 1;
    let text = "x".repeat(60_000);
    let refusal = loop {
        let output = rig
            .run(["task", "add", "More", "--description", &text, "--json"])
            .await;
        if output.code != 0 {
            break output.expect(4).error();
        }
        acknowledged += 1;
        assert!(acknowledged < 400, "no call is refused on a full disk");
    };
    assert_eq!(refusal["code"], "storage_full", "{refusal}");
    let list = rig.json(["task", "list"]).await;
    assert_eq!(list["tasks"].as_array().map(Vec::len), Some(acknowledged));
    rig.run(["ps"]).await.expect(0).assert_prints("ada");
    rig.ok(["kill", "ada"]).await;
    assert!(!ada.is_alive().unwrap());
    let refusal = rig.refused(4, ["task", "add", "Even more"]).await;
    assert_eq!(refusal["code"], "storage_full", "{refusal}");
    disk.empty();
    rig.ok(["task", "add", "At last"]).await;
    assert_eq!(rig.supervisor().await, supervisor, "without a restart");
    let list = rig.json(["task", "list"]).await;
    assert_eq!(
        list["tasks"].as_array().map(Vec::len),
        Some(acknowledged + 1)
    );
    assert_eq!(list["tasks"][0]["state"], "pending");
    // The next supervisor reads every acknowledged change.
    processes::kill(supervisor).await;
    let list = rig.json(["task", "list"]).await;
    assert_eq!(
        list["tasks"].as_array().map(Vec::len),
        Some(acknowledged + 1)
    );
    rig.ok(["down", "--force"]).await;
    drop(disk);
}

#[tokio::test]
async fn a_team_without_its_database_can_only_go_down() {
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let ada = rig.worker("ada").await;
    fs::remove_file(database(&rig)).unwrap();
    let refusal = rig.refused(1, ["task", "add", "Lost"]).await;
    assert_eq!(refusal["code"], "storage_failed", "{refusal}");
    assert!(refusal["hint"].is_string(), "{refusal}");
    rig.run(["task", "add", "Lost"]).await.expect(1);
    rig.run(["down", "--force"]).await;
    processes::ended(ada).await;
}

#[tokio::test]
async fn a_team_with_a_replaced_database_refuses_changes() {
    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    let database = database(&rig);
    let copy = database.with_extension("copy");
    fs::copy(&database, &copy).unwrap();
    fs::rename(&copy, &database).unwrap();
    let refusal = rig.refused(1, ["task", "add", "Lost"]).await;
    assert_eq!(refusal["code"], "storage_failed", "{refusal}");
}

/// A team that was up once, and whose files no process has open.
async fn at_rest() -> Rig {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    rig.ok(["down"]).await;
    assert_eq!(rig.processes(), []);
    rig
}

#[tokio::test]
async fn a_newer_database_is_refused_with_a_hint_and_unchanged() {
    /// The offset of SQLite's `user_version`, which counts the migrations of agent-team.
    const VERSION_AT: u64 = 60;
    let rig = at_rest().await;
    let database = database(&rig);
    let file = fs::File::options().write(true).open(&database).unwrap();
    file.write_all_at(&9_999_u32.to_be_bytes(), VERSION_AT)
        .unwrap();
    let before = fs::read(&database).unwrap();
    rig.run(["up"])
        .await
        .expect(1)
        .assert_prints("newer agent-team")
        .assert_prints("team.db");
    assert_eq!(fs::read(&database).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_and_the_error_names_it() {
    let rig = at_rest().await;
    let database = database(&rig);
    let size = database.metadata().unwrap().len();
    let file = fs::File::options().write(true).open(&database).unwrap();
    for at in (200..size).step_by(512) {
        file.write_all_at(&[0xa5; 300], at).unwrap();
    }
    let damaged = fs::read(&database).unwrap();
    let output = rig.run(["up"]).await.expect(1).assert_prints("damaged");
    let aside: Vec<PathBuf> = fs::read_dir(database.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes == damaged))
        .collect();
    let [aside] = aside.as_slice() else {
        panic!("not kept exactly once: {aside:?}");
    };
    assert!(
        output.stderr.contains(&aside.display().to_string()),
        "{}",
        output.stderr
    );
    rig.ok(["up", "--wait"]).await;
    assert_eq!(fs::read(aside).unwrap(), damaged);
}

/// Restarts the supervisor, so that it has no event in memory, and changes one row of the team's database.
async fn rewrite_history(rig: &Rig, update: &str) {
    rig.ok(["supervisor", "restart"]).await;
    let journal = rusqlite::Connection::open(database(rig)).unwrap();
    assert_eq!(journal.execute(update, []).unwrap(), 1);
}

#[tokio::test]
async fn an_unreadable_team_is_listed() {
    let rig = at_rest().await;
    rig.ok(["supervisor", "stop"]).await;
    let database = database(&rig);
    fs::write(&database, "not a database").unwrap();
    let list = rig.json(["team", "list"]).await;
    let unreadable = list["unreadable"].as_array().unwrap();
    let directory = database.parent().unwrap().file_name().unwrap();
    assert_eq!(unreadable[0]["team"].as_str(), directory.to_str(), "{list}");
    rig.run(["team", "list"])
        .await
        .expect(0)
        .assert_prints("cannot read the team");
}

#[tokio::test]
async fn a_damaged_event_ends_subscriptions_with_an_error() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    rewrite_history(
        &rig,
        "UPDATE journal SET event = substr(event, 1, 20) WHERE revision = 3",
    )
    .await;
    for verb in ["events", "audit"] {
        let output = rig.run([verb]).await.expect(1);
        let output = output
            .assert_prints("revision 3")
            .assert_prints("agent-team events --after 3");
        assert_eq!(
            output.stdout.lines().count(),
            if verb == "events" { 2 } else { 0 }
        );
    }
    rig.ok(["events", "--after", "3"]).await;
}

#[tokio::test]
async fn unreadable_events_are_counted() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    rewrite_history(
        &rig,
        r#"UPDATE journal SET event = '{"kind":"moon_landed","data":{}}' WHERE revision = 3"#,
    )
    .await;
    for verb in ["events", "audit"] {
        let output = rig.run([verb, "--json"]).await.expect(0);
        output.assert_prints("1 event could not be read");
    }
}

#[tokio::test]
async fn a_second_supervisor_is_refused_and_the_first_keeps_running() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let supervisor = rig.supervisor().await;
    rig.run(["supervisor", "run"])
        .await
        .expect(4)
        .assert_prints("another supervisor is running");
    assert_eq!(rig.supervisor().await, supervisor);
    rig.run(["supervisor", "status"])
        .await
        .expect(0)
        .assert_prints(&supervisor.pid.to_string());
}

#[tokio::test]
async fn concurrent_commands_start_one_supervisor() {
    let rig = headless(&["ada"], "");
    let ups: Vec<_> = (0..8).map(|_| rig.run(["up", "--detach"])).collect();
    for output in agent_team_tests::together(ups).await {
        output.expect(0);
    }
    let supervisors: Vec<_> = rig
        .processes()
        .into_iter()
        .filter(|found| found.program == "agent-teamd")
        .collect();
    assert_eq!(supervisors.len(), 1, "{supervisors:?}");
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn the_socket_of_a_supervisor_that_was_killed_is_replaced() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    processes::end(rig.root()).await;
    let socket = rig.directories().socket();
    assert!(socket.exists(), "no process was left to remove the socket");
    rig.run(["supervisor", "status"]).await.expect(6);
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["down"]).await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn untrusted_directories_are_refused_by_name() {
    for (what, make) in [
        (
            "mode 777",
            (|run: &Path| {
                fs::create_dir(run).unwrap();
                fs::set_permissions(run, fs::Permissions::from_mode(0o777)).unwrap();
            }) as fn(&Path),
        ),
        ("symbolic link", |run| {
            let real = run.with_file_name("real");
            fs::create_dir(&real).unwrap();
            symlink(real, run).unwrap();
        }),
        ("not a directory", |run| fs::write(run, "").unwrap()),
    ] {
        let rig = headless(&["ada"], "");
        let run = rig.directories().run;
        make(&run);
        rig.run(["up"])
            .await
            .expect(4)
            .assert_prints(what)
            .assert_prints(&run.display().to_string());
        assert_eq!(rig.processes(), []);
    }
}

#[tokio::test]
async fn a_socket_directory_of_another_user_is_refused() {
    const ANOTHER_USER: u32 = 65_533;
    let rig = headless(&["ada"], "");
    let run = rig.directories().run;
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    if std::os::unix::fs::chown(&run, Some(ANOTHER_USER), None).is_err() {
        eprintln!("skipped: only root can change the owner of a directory");
        return;
    }
    rig.run(["up"])
        .await
        .expect(4)
        .assert_prints("belongs to user 65533")
        .assert_prints(&run.display().to_string());
}

#[tokio::test]
async fn stored_files_are_readable_only_by_their_owner() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    let log = rig.directories().supervisor_log();
    assert!(log.is_file(), "the log exists");
    let mut open = vec![rig.directories().state, rig.directories().run];
    while let Some(directory) = open.pop() {
        let mode = directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has {mode:o}", directory.display());
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let mode = path.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "{} has {mode:o}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn a_team_without_files_is_listed_with_an_error() {
    for remove in [
        (|database: &Path| fs::remove_file(database).unwrap()) as fn(&Path),
        |database| fs::remove_file(database.with_extension("db-wal")).unwrap(),
        |database| fs::remove_dir_all(database.parent().unwrap()).unwrap(),
    ] {
        let rig = headless(&["ada"], "");
        rig.ok(["up", "--detach"]).await;
        remove(&database(&rig));
        rig.run(["ps"])
            .await
            .expect(0)
            .assert_prints("ada")
            .assert_prints("storage failed")
            .assert_prints("down --force");
        let list = rig.json(["team", "list"]).await;
        let error = list["teams"][0]["storage_error"].as_str().unwrap();
        assert!(error.contains("team.db"), "{error}");
        let ada = rig.worker("ada").await;
        let refusal = rig.refused(1, ["send", "ada", "Hello"]).await;
        assert_eq!(refusal["code"], "storage_failed", "{refusal}");
        rig.run(["down", "--force"]).await;
        processes::ended(ada).await;
    }
}

#[tokio::test]
async fn a_database_that_lost_its_wal_is_refused() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    processes::end(rig.root()).await;
    let database = database(&rig);
    fs::remove_file(database.with_extension("db-wal")).unwrap();
    for verb in ["up", "ps"] {
        rig.run([verb])
            .await
            .expect(1)
            .assert_prints("has lost its newest events")
            .assert_prints("truncate -s 0");
    }
    rig.run(["team", "list"])
        .await
        .expect(0)
        .assert_prints("demo");
    // Follow the hint of the error.
    fs::write(database.with_file_name("team.lock"), "").unwrap();
    rig.ok(["up"]).await;
}

#[tokio::test]
async fn a_full_disk_still_allows_reads_and_down() {
    let rig = headless(&["ada", "bob"], &task("Long", "mkfifo gate; cat gate", ""));
    let Some(disk) = SmallDisk::mount(&rig.directories().state, 16 << 20) else {
        return;
    };
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    disk.fill();
    let user = rig.user().await;
    let mut refused = None;
    while refused.is_none() {
        let spec = TaskSpec {
            key: "More".to_owned(),
            title: "More".to_owned(),
            description: "x".repeat(60_000),
            ..TaskSpec::default()
        };
        // Send both calls at once, so that the supervisor reads them together.
        let (added, shown) = tokio::join!(
            user.call::<TaskAdd>(AddTask { spec }, None),
            user.call::<TeamShow>(Nothing {}, None)
        );
        assert_eq!(shown.unwrap().members.len(), 2);
        refused = added.err();
    }
    assert!(
        matches!(&refused, Some(CallError::Refused(refusal)) if refusal.code == ErrorCode::StorageFull),
        "{refused:?}"
    );
    drop(user);
    let down = rig.json(["down", "--force"]).await;
    let receipts = down["receipts"].as_array().unwrap();
    let processes: Vec<&str> = receipts
        .iter()
        .filter(|receipt| receipt["kind"] == "process")
        .map(|receipt| receipt["what"].as_str().unwrap())
        .collect();
    let mut pids: Vec<&str> = processes
        .iter()
        .map(|what| what.split(' ').next().unwrap())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), processes.len(), "{processes:?}");
    for member in ["(ada)", "(bob)"] {
        let named = processes.iter().any(|what| what.ends_with(member));
        assert!(named, "{member} in {processes:?}");
    }
    drop(disk);
}
