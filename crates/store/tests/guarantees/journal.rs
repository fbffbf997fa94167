//! Committed records are read back in order, and each batch is atomic.

use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use agent_team_core::{Answer, AnsweredCall, CallKey, Caller, Record};
use agent_team_protocol::id::{Revision, TaskId};
use agent_team_store::{Archived, Batch, CommitError, Store};

use crate::rig::{Team, batch, commit, record, records};

#[test]
fn committed_records_are_restored_in_order() {
    let team = Team::new();
    let mut opened = team.open();
    assert_eq!(
        (opened.restored.revision, opened.restored.state.len()),
        (Revision(0), 0)
    );
    let mut answered = record(3);
    answered.call = Some(Box::new(AnsweredCall {
        key: CallKey {
            caller: Caller::Client("c".into()),
            key: "k".into(),
            digest: u64::MAX,
        },
        answer: Answer::Done,
    }));
    commit(&mut opened.writer, batch(1, records(1..=2))).unwrap();
    let committed = commit(&mut opened.writer, batch(3, vec![answered.clone()])).unwrap();
    assert_eq!(committed.revision, Revision(3));
    drop(opened);

    let restored = team.open().restored;
    assert_eq!(restored.state, [record(1), record(2), answered]);
    assert_eq!(
        (restored.revision, restored.since_snapshot),
        (Revision(3), 3)
    );
}

#[test]
fn published_entries_equal_stored_entries() {
    let team = Team::new();
    let mut opened = team.open();
    let committed = commit(&mut opened.writer, batch(1, records(1..=4))).unwrap();
    assert_eq!(
        opened.history.events_after(Revision(0), 10).unwrap(),
        committed.entries
    );
    let first = &committed.entries[0];
    assert_eq!((first.revision, first.at), (Revision(1), 1_001));
    assert_eq!(first.event, Some(record(1).event));
}

#[test]
fn a_snapshot_replaces_the_records_before_it() {
    let team = Team::new();
    let mut opened = team.open();
    let first = Batch {
        snapshot: Some(vec![record(90), record(91)]),
        ..batch(1, records(1..=5))
    };
    commit(&mut opened.writer, first).unwrap();
    let committed = commit(&mut opened.writer, batch(6, records(6..=7))).unwrap();
    assert_eq!(committed.since_snapshot, 2);
    let restored = opened.history.restore::<Vec<Record>>().unwrap();
    assert_eq!(
        restored.state,
        [record(90), record(91), record(6), record(7)]
    );

    // The next snapshot replaces all of these records.
    let second = Batch {
        snapshot: Some(vec![record(92)]),
        ..batch(8, records(8..=8))
    };
    commit(&mut opened.writer, second).unwrap();
    drop(opened);
    let restored = team.open().restored;
    assert_eq!(restored.state, [record(92)]);
    assert_eq!(
        (restored.revision, restored.since_snapshot),
        (Revision(8), 0)
    );
}

#[test]
fn a_batch_is_atomic() {
    let team = Team::new();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=1))).unwrap();
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON archive BEGIN SELECT raise(ABORT, 'no'); END";
    team.sqlite().execute_batch(refuse).unwrap();
    let whole = || Batch {
        archived: vec![Archived {
            task: TaskId(1),
            view: "{}".into(),
        }],
        snapshot: Some(vec![record(90)]),
        ..batch(2, records(2..=9))
    };

    let refused = commit(&mut opened.writer, whole()).unwrap_err();
    assert!(
        matches!(refused, CommitError::Failed { .. }) && !refused.is_final(),
        "{refused:?}"
    );
    assert_eq!(
        opened.history.restore::<Vec<Record>>().unwrap().state,
        [record(1)]
    );

    team.sqlite().execute_batch("DROP TRIGGER refuse").unwrap();
    commit(&mut opened.writer, whole()).unwrap();
    assert_eq!(
        opened.history.restore::<Vec<Record>>().unwrap().state,
        [record(90)]
    );
    assert_eq!(
        opened.history.archived(TaskId(1)).unwrap().as_deref(),
        Some("{}")
    );
}

#[test]
fn a_batch_out_of_sequence_is_refused() {
    let team = Team::new();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=3))).unwrap();
    for wrong in [1, 3, 5] {
        let refused = commit(&mut opened.writer, batch(wrong, records(4..=4))).unwrap_err();
        assert!(
            matches!(refused, CommitError::OutOfOrder { expected: 4, found } if found == wrong)
        );
    }
    commit(&mut opened.writer, batch(4, records(4..=4))).unwrap();
}

#[test]
fn a_foreign_lock_refuses_batches_temporarily() {
    let team = Team::new();
    let mut opened = team.open();
    let other_program = team.sqlite();
    other_program.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let refused = commit(&mut opened.writer, batch(1, records(1..=1))).unwrap_err();
    assert!(matches!(refused, CommitError::Locked(_)), "{refused:?}");
    assert!(!refused.is_final());
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "the commit waits too long: the calls of clients wait for it"
    );
    other_program.execute_batch("ROLLBACK").unwrap();
    commit(&mut opened.writer, batch(1, records(1..=1))).unwrap();
}

#[test]
fn every_batch_gets_one_result_in_order() {
    let team = Team::new();
    let opened = team.open();
    let (sender, answers) = mpsc::channel();
    let store = Store::start(
        opened.writer,
        Box::new(move |answer| sender.send(answer).unwrap()),
    )
    .unwrap();
    for n in 1..=50 {
        store.submit(batch(n, vec![record(n)]));
    }
    store.submit(batch(7, vec![record(7)]));
    store.close();

    let answers: Vec<_> = answers.iter().collect();
    let stored: Vec<_> = answers[..50]
        .iter()
        .map(|answer| answer.as_ref().unwrap().revision.0)
        .collect();
    assert_eq!(stored, (1..=50).collect::<Vec<_>>());
    assert!(matches!(
        answers[50..],
        [Err(CommitError::OutOfOrder { .. })]
    ));
    assert_eq!(
        std::fs::metadata(team.path("team.db-wal")).unwrap().len(),
        0
    );
    assert_eq!(team.open().restored.state, records(1..=50));
}

#[test]
fn batches_can_be_committed_on_the_callers_thread() {
    let team = Team::new();
    let opened = team.open();
    let (sender, answers) = mpsc::channel();
    let store = Store::start(
        opened.writer,
        Box::new(move |answer| sender.send(answer).unwrap()),
    )
    .unwrap();
    store.submit(batch(1, vec![record(1)]));
    answers.recv().unwrap().unwrap();
    let mut here = batch(2, vec![record(2)]);
    let stored = loop {
        match store.commit_here(here) {
            Ok(stored) => break stored.unwrap(),
            // The thread has sent its result and is about to release the writer.
            Err(back) => here = back,
        }
    };
    assert_eq!(stored.revision.0, 2);
    store.submit(batch(3, vec![record(3)]));
    store.close();
    let answers: Vec<_> = answers
        .iter()
        .map(|answer| answer.unwrap().revision.0)
        .collect();
    assert_eq!(answers, [3]);
    assert_eq!(team.open().restored.state, records(1..=3));
}

#[test]
fn database_files_are_private_to_the_user() {
    let team = Team::new();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=1))).unwrap();
    assert_eq!(
        team.names(),
        [
            "reserve",
            "team.db",
            "team.db-shm",
            "team.db-wal",
            "team.lock"
        ]
    );
    for name in team.names() {
        let mode = std::fs::metadata(team.path(&name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn the_write_ahead_log_stays_bounded() {
    let team = Team::new();
    let mut opened = team.open();
    for n in 1..=4_000 {
        commit(&mut opened.writer, batch(n, vec![record(n)])).unwrap();
    }
    let log = std::fs::metadata(team.path("team.db-wal")).unwrap().len();
    assert!(log < 8 << 20, "{log} bytes");
}

#[test]
fn a_million_events_open_in_two_seconds() {
    let team = Team::new();
    drop(team.open());
    let mut sqlite = team.sqlite();
    let filling = sqlite.transaction().unwrap();
    filling
        .execute_batch(
            r#"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000)
               INSERT INTO journal SELECT n, n, n, '|user|ada|', n - 1,
                 '{"kind":"message_accepted","data":{"message":"M-' || n ||
                 '","from":"user","to":["ada"],"text":"' || hex(zeroblob(20)) || '","urgent":false}}', NULL FROM n;
               INSERT INTO meta VALUES ('snapshot_revision', 999000);
               INSERT INTO snapshot VALUES (1, 1, 1, '{"kind":"member_idle","data":{"member":"ada"}}', NULL);"#,
        )
        .unwrap();
    filling.commit().unwrap();
    drop(sqlite);

    let started = Instant::now();
    let opened = team.open();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(opened.restored.revision, Revision(1_000_000));
    // The number of restored records depends on the live state, not on the length of the journal.
    assert_eq!(opened.restored.state.len(), 1 + 1_000);

    // Reading the newest page or list does not read earlier events either.
    let started = Instant::now();
    assert_eq!(
        opened
            .history
            .events_after(Revision(999_990), 100)
            .unwrap()
            .len(),
        10
    );
    assert_eq!(opened.history.messages(None, 5).unwrap().len(), 5);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
}
