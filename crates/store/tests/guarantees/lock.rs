//! The lock file beside the database: it excludes a second writer, and contains the newest acknowledged revision, which
//! the journal must reach.

use std::fs;

use agent_team_store::OpenError;

use crate::rig::{Team, batch, commit, identity, records};

const LOCK: &str = "team.lock";

/// Copies only these files of a running team into a new directory, as if the writer had crashed.
fn after_a_crash(team: &Team, files: &[&str]) -> Team {
    let copy = Team::new();
    for name in files {
        fs::copy(team.path(name), copy.path(name)).unwrap();
    }
    copy
}

/// Asserts that opening the journal reports lost events with these two revisions, and does not change the database.
fn assert_lost(team: &Team, stored: u64, acknowledged: u64) {
    let before = team.names();
    let refused = team.try_open().unwrap_err();
    let OpenError::Lost {
        stored: found,
        acknowledged: known,
        ..
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((found, known), (stored, acknowledged));
    let database = fs::read(team.file()).unwrap_or_default();
    team.try_open().unwrap_err();
    assert_eq!(fs::read(team.file()).unwrap_or_default(), database);
    assert!(before.iter().all(|name| team.names().contains(name)));
}

#[test]
fn a_second_writer_is_refused() {
    let team = Team::new();
    let mut first = team.open();
    let refused = team.try_open().unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    commit(&mut first.writer, batch(1, records(1..=2))).unwrap();
    first.writer.close();
    assert_eq!(team.open().restored.revision.0, 2);
}

#[test]
fn a_removed_log_is_reported_until_accepted() {
    let team = Team::new();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=50))).unwrap();
    let whole = after_a_crash(&team, &["team.db", "team.db-wal", LOCK]);
    assert_eq!(whole.open().restored.revision.0, 50);

    let copy = after_a_crash(&team, &["team.db", LOCK]);
    let owner = agent_team_store::identity(&copy.dir).unwrap();
    assert_eq!(
        owner,
        Some(identity("payments")),
        "the identity is not readable without the log"
    );
    assert_lost(&copy, 0, 50);
    // With an empty lock file, opening accepts the loss.
    fs::write(copy.path(LOCK), "").unwrap();
    assert_eq!(copy.open().restored.revision.0, 0);
}

#[test]
fn a_replaced_older_database_is_reported() {
    let team = Team::new();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=10))).unwrap();
    opened.writer.close();
    let older = fs::read(team.file()).unwrap();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(11, records(11..=30))).unwrap();
    opened.writer.close();
    fs::write(team.file(), older).unwrap();
    assert_lost(&team, 10, 30);
}

#[test]
fn a_removed_database_is_not_a_new_team() {
    let team = Team::new();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=5))).unwrap();
    opened.writer.close();
    for name in ["team.db", "team.db-wal", "team.db-shm"] {
        let _absent = fs::remove_file(team.path(name));
    }
    assert_lost(&team, 0, 5);
}

#[test]
fn an_unsynced_journal_may_lose_events_in_a_power_cut() {
    let team = Team::new();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=5))).unwrap();
    opened.writer.close();
    // Write a newer revision, as if it had been acknowledged before the reboot.
    let lock = fs::read_to_string(team.path(LOCK)).unwrap();
    let boot = lock.trim().split_once(' ').unwrap().1;
    let before_reboot = format!("{:020} {}\n", 9, boot.replace(|_| true, "0"));
    fs::write(team.path(LOCK), before_reboot).unwrap();
    assert_eq!(team.open().restored.revision.0, 5);
}

#[test]
fn an_error_names_an_unusable_lock_file() {
    let team = Team::new();
    fs::create_dir(team.path(LOCK)).unwrap();
    let refused = team.try_open().unwrap_err();
    let lock = team.path(LOCK).display().to_string();
    assert!(refused.to_string().contains(&lock), "{refused}");
}
