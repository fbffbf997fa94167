//! The journal's format, frozen per version in `tests/fixtures/journal/`: every later version reads what an old
//! supervisor wrote.

use std::collections::BTreeSet;

use agent_team_core::{Event, Record, Team};
use agent_team_protocol::id::{Generation, TaskId};

/// The lines of all fixtures. The fixture of a later version contains only the events that this version added or
/// changed.
fn lines() -> Vec<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/journal");
    let mut lines = Vec::new();
    for file in std::fs::read_dir(directory).expect("the fixtures are there") {
        let file = file.expect("the directory can be read").path();
        let text = std::fs::read_to_string(file).expect("the fixture can be read");
        lines.extend(text.lines().map(str::to_owned));
    }
    assert!(!lines.is_empty());
    lines
}

/// All kinds of events, taken from the parser's error about an unknown kind.
fn kinds() -> BTreeSet<String> {
    let unknown = serde_json::from_str::<Event>(r#"{"kind": "?", "data": {}}"#);
    let error = unknown.expect_err("there is no such kind").to_string();
    let (_, listed) = error
        .split_once("expected one of")
        .expect("the error lists the known kinds");
    listed
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn read(line: &str) -> Record {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn journals_of_all_versions_round_trip() {
    for line in lines() {
        let now: serde_json::Value =
            serde_json::to_value(read(&line)).expect("a record is plain data");
        let then: serde_json::Value = serde_json::from_str(&line).expect("the fixture is JSON");
        assert_eq!(now, then);
    }
}

#[test]
fn the_fixtures_have_every_kind_of_event() {
    let present: BTreeSet<String> = lines()
        .iter()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("the fixture is JSON");
            line["event"]["kind"].as_str().expect("a kind").to_owned()
        })
        .collect();
    assert!(kinds().contains("task_claimed"), "{:?}", kinds());
    assert_eq!(present, kinds());
}

#[test]
fn unknown_fields_are_ignored() {
    for line in lines() {
        let mut newer: serde_json::Value =
            serde_json::from_str(&line).expect("the fixture is JSON");
        newer["from_the_future"] = true.into();
        newer["event"]["data"]["from_the_future"] = true.into();
        let read_anew: Record = serde_json::from_value(newer).expect("the record can be read");
        assert_eq!(read_anew, read(&line));
    }
}

#[test]
fn snapshots_of_version_1_restore_the_same_tasks() {
    let records = [
        r#"{"at":0,"tick":0,"event":{"kind":"task_added","data":{"task":"T-2","plan":{"key":"Test","title":"Test","priority":0,"rerun":true,"from_file":false},"created_by":"user"}}}"#,
        r#"{"at":0,"tick":0,"event":{"kind":"task_kept","data":{"task":"T-2","generation":3,"attempts":2,"refusals":1,"outcome":{"in_progress":{"owner":"ada"}},"created_at":7,"changed_at":9,"revision":20}}}"#,
        r#"{"at":0,"tick":0,"event":{"kind":"counted","data":{"revision":41,"tasks":2,"messages":0,"completed":1,"spawned":[]}}}"#,
    ]
    .map(read);
    let mut team = Team::default();
    team.extend(records);
    let task = team.board().get(TaskId(2)).expect("T-2 is on the board");
    assert_eq!((task.generation, task.attempts), (Generation(3), 2));
    assert_eq!((task.created_at, task.changed_at), (7, 9));
    let mut again = Team::default();
    again.extend(team.snapshot());
    assert_eq!(again, team);
}
