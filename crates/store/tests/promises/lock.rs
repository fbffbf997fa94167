//! One writer: the lock beside the database, not the database, keeps a second one out.

use agent_team_store::OpenError;

use crate::rig::{Team, batch, commit, records};

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
