//! A writer whose database is no longer at its path acknowledges no batch.

use std::fs;

use agent_team_protocol::id::Revision;
use agent_team_store::{CommitError, ReadError};

use crate::rig::{Team, batch, commit, records};

fn assert_later_commits_are_refused(
    team: &Team,
    interfere: impl FnOnce(&Team),
    undo: impl FnOnce(&Team),
) {
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=1))).unwrap();
    interfere(team);
    let refused = commit(&mut opened.writer, batch(2, records(2..=2))).unwrap_err();
    assert!(
        matches!(refused, CommitError::Moved(_)) && refused.is_final(),
        "{refused:?}"
    );
    undo(team);
    let refused = commit(&mut opened.writer, batch(2, records(2..=2))).unwrap_err();
    assert!(matches!(refused, CommitError::Moved(_)), "{refused:?}");
}

#[test]
fn commits_to_an_unlinked_database_are_refused() {
    assert_later_commits_are_refused(
        &Team::new(),
        |team| fs::remove_file(team.file()).unwrap(),
        |_| (),
    );
}

#[test]
fn commits_to_an_unlinked_log_are_refused() {
    assert_later_commits_are_refused(
        &Team::new(),
        |team| fs::remove_file(team.path("team.db-wal")).unwrap(),
        |_| (),
    );
}

#[test]
fn commits_are_refused_after_a_moved_database_returns() {
    assert_later_commits_are_refused(
        &Team::new(),
        |team| fs::rename(team.file(), team.path("elsewhere")).unwrap(),
        |team| fs::rename(team.path("elsewhere"), team.file()).unwrap(),
    );
}

#[test]
fn a_replacement_database_is_untouched() {
    let (team, other) = (Team::new(), Team::new());
    let mut theirs = other.open();
    commit(&mut theirs.writer, batch(1, records(50..=59))).unwrap();
    let mut opened = team.open();
    commit(&mut opened.writer, batch(1, records(1..=1))).unwrap();
    for name in ["team.db", "team.db-wal"] {
        fs::copy(other.path(name), team.path("new")).unwrap();
        fs::rename(team.path("new"), team.path(name)).unwrap();
    }
    fs::remove_file(team.path("team.db-shm")).unwrap();

    assert!(matches!(
        commit(&mut opened.writer, batch(2, records(2..=2))),
        Err(CommitError::Moved(_))
    ));
    assert!(matches!(
        opened.history.events_after(Revision(0), 9),
        Err(ReadError::Moved(_))
    ));
    drop(opened);
    assert_eq!(team.open().restored.state, records(50..=59));
}
