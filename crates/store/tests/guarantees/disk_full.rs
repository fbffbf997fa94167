//! A full disk, and a disk that fails. The full disk is a small tmpfs in its own mount namespace.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};

use agent_team_core::Record;
use agent_team_protocol::id::{Party, Revision};
use agent_team_store::{Batch, CommitError, Writer};

use crate::rig::{Team, batch, commit, in_child, member, message, record, records, run_in_child};

const SMALL_DISK: &str = r#"exec unshare --user --map-root-user --mount sh -c '
    mount -t tmpfs -o size=12m,mode=700 tmpfs "$AGENT_TEAM_STORE_TEST_DIR" && exec "$@"' sh "$@""#;

/// Files are limited to 1 MiB here; writes beyond that fail as on a broken disk.
const SMALL_FILES: &str = r#"trap '' XFSZ; ulimit -f 2048 && exec "$@""#;

/// The team, in the child process that `script` starts. `None` in the parent, which only waits for the child.
fn team_in_child(test: &str, script: &str) -> Option<Team> {
    if let Some(dir) = in_child() {
        return Some(Team::at(dir));
    }
    let dir = tempfile::TempDir::new().unwrap();
    let ran = run_in_child(test, script, dir.path());
    assert!(
        ran || script == SMALL_DISK,
        "the child did not start, and its script mounts nothing"
    );
    None
}

fn fill(team: &Team) {
    let mut file = File::create(team.path("filler")).unwrap();
    loop {
        match file.write(&[0; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn long(n: u64) -> Vec<Record> {
    vec![message(
        n,
        Party::User,
        vec![member("ada")],
        &"x".repeat(20_000),
    )]
}

/// Commits long records, numbered from `next`, until one is refused.
fn commit_until_refused(writer: &mut Writer, next: &mut u64) -> CommitError {
    loop {
        match commit(writer, batch(*next, long(*next))) {
            Ok(_) => *next += 1,
            Err(error) => return error,
        }
    }
}

#[test]
fn a_full_disk_stores_urgent_batches_and_recovers() {
    let Some(team) = team_in_child(
        "disk_full::a_full_disk_stores_urgent_batches_and_recovers",
        SMALL_DISK,
    ) else {
        return;
    };
    let mut opened = team.open();
    let mut next = 1;
    commit(&mut opened.writer, batch(next, long(next))).unwrap();
    next += 1;
    fill(&team);
    let refused = commit_until_refused(&mut opened.writer, &mut next);
    assert!(matches!(refused, CommitError::Full(_)), "{refused:?}");
    assert!(!team.path("reserve").exists());

    // Many urgent batches are stored, other batches are not, and everything that was stored can be read.
    for _ in 0..50 {
        let urgent = Batch {
            urgent: true,
            snapshot: Some(vec![record(90)]),
            ..batch(next, vec![record(next)])
        };
        commit(&mut opened.writer, urgent).unwrap();
        next += 1;
        let refused = commit(&mut opened.writer, batch(next, vec![record(next)])).unwrap_err();
        assert!(matches!(refused, CommitError::Full(_)), "{refused:?}");
    }
    let restored = opened.history.restore::<Vec<Record>>().unwrap();
    assert_eq!(restored.revision, Revision(next - 1));
    // Snapshots would use the space that urgent batches need.
    assert_eq!(restored.since_snapshot, next - 1);

    // Slightly more space than the reserve needs is not sufficient.
    let filler = File::options()
        .write(true)
        .open(team.path("filler"))
        .unwrap();
    let full = filler.metadata().unwrap().len();
    filler.set_len(full - (1 << 20)).unwrap();
    drop(filler);
    let refused = commit(&mut opened.writer, batch(next, vec![record(next)])).unwrap_err();
    assert!(matches!(refused, CommitError::Full(_)), "{refused:?}");

    // With space available everything works again without a restart.
    fs::remove_file(team.path("filler")).unwrap();
    commit(&mut opened.writer, batch(next, long(next))).unwrap();
    assert_eq!(fs::metadata(team.path("reserve")).unwrap().len(), 4 << 20);
    drop(opened);
    assert_eq!(team.open().restored.revision, Revision(next));
}

#[test]
fn an_urgent_batch_uses_the_reserve_immediately() {
    let Some(team) = team_in_child(
        "disk_full::an_urgent_batch_uses_the_reserve_immediately",
        SMALL_DISK,
    ) else {
        return;
    };
    let mut opened = team.open();
    fill(&team);
    for n in 1..=40 {
        let urgent = Batch {
            urgent: true,
            ..batch(n, long(n))
        };
        commit(&mut opened.writer, urgent).unwrap();
    }
    assert!(!team.path("reserve").exists());
}

#[test]
fn a_team_on_a_full_disk_can_be_opened() {
    let Some(team) = team_in_child("disk_full::a_team_on_a_full_disk_can_be_opened", SMALL_DISK)
    else {
        return;
    };
    let mut opened = team.open();
    let mut next = 1;
    commit(&mut opened.writer, batch(1, long(1))).unwrap();
    next += 1;
    fill(&team);
    commit_until_refused(&mut opened.writer, &mut next);
    drop(opened);
    fill(&team);

    let mut opened = team.open();
    assert_eq!(opened.restored.revision, Revision(next - 1));
    let refused = commit(&mut opened.writer, batch(next, long(next))).unwrap_err();
    assert!(matches!(refused, CommitError::Full(_)), "{refused:?}");
    fs::remove_file(team.path("filler")).unwrap();
    commit(&mut opened.writer, batch(next, long(next))).unwrap();
}

#[test]
fn the_reserve_is_released_for_opening() {
    let Some(team) = team_in_child("disk_full::the_reserve_is_released_for_opening", SMALL_DISK)
    else {
        return;
    };
    commit(&mut team.open().writer, batch(1, records(1..=2))).unwrap();
    // Simulate a reboot: SQLite must then create this file again, which needs space.
    fs::remove_file(team.path("team.db-shm")).unwrap();
    fill(&team);
    assert_eq!(team.open().restored.state, records(1..=2));
}

#[test]
fn a_snapshot_that_does_not_fit_blocks_no_commit() {
    let Some(team) = team_in_child(
        "disk_full::a_snapshot_that_does_not_fit_blocks_no_commit",
        SMALL_DISK,
    ) else {
        return;
    };
    let mut opened = team.open();
    let large = (1..=1_000).flat_map(long).collect();
    commit(
        &mut opened.writer,
        Batch {
            snapshot: Some(large),
            ..batch(1, records(1..=1))
        },
    )
    .unwrap();
    commit(&mut opened.writer, batch(2, records(2..=2))).unwrap();
    assert_eq!(
        opened.history.restore::<Vec<Record>>().unwrap().state,
        records(1..=2)
    );
}

#[test]
fn all_commits_after_a_failed_write_are_refused() {
    let Some(team) = team_in_child(
        "disk_full::all_commits_after_a_failed_write_are_refused",
        SMALL_FILES,
    ) else {
        return;
    };
    let mut opened = team.open();
    let mut next = 1;
    let refused = commit_until_refused(&mut opened.writer, &mut next);
    assert!(
        matches!(refused, CommitError::Broken { .. }) && refused.is_final(),
        "{refused:?}"
    );
    let urgent = Batch {
        urgent: true,
        ..batch(next, vec![record(next)])
    };
    let refused = commit(&mut opened.writer, urgent).unwrap_err();
    assert!(
        matches!(
            refused,
            CommitError::Broken {
                attempted: false,
                ..
            }
        ),
        "{refused:?}"
    );
    drop(opened);
    assert_eq!(team.open().restored.revision, Revision(next - 1));
}
