//! The journal's format, frozen per version in `tests/fixtures/journal/`: what an old supervisor wrote is read for ever.

use std::collections::BTreeSet;

use agent_team_core::{Event, Record};

/// What each version wrote; a later one holds only what is new in it.
const VERSIONS: [&str; 2] = [
    include_str!("../../../tests/fixtures/journal/v1.jsonl"),
    include_str!("../../../tests/fixtures/journal/v2.jsonl"),
];

fn lines() -> impl Iterator<Item = &'static str> {
    VERSIONS.into_iter().flat_map(str::lines)
}

/// Every kind of event there is, from the list with which its parser answers an unknown one.
fn kinds() -> BTreeSet<String> {
    let unknown = serde_json::from_str::<Event>(r#"{"kind": "?", "data": {}}"#);
    let error = unknown.expect_err("there is no such kind").to_string();
    let (_, listed) = error
        .split_once("expected one of")
        .expect("a list of what is known");
    listed
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn records() -> Vec<Record> {
    let records = lines().enumerate().map(|(n, line)| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("line {}: {error}", n + 1))
    });
    records.collect()
}

#[test]
fn what_any_version_wrote_is_read_and_written_the_same() {
    for (record, line) in records().iter().zip(lines()) {
        let now: serde_json::Value = serde_json::to_value(record).expect("a record is plain data");
        let then: serde_json::Value = serde_json::from_str(line).expect("the fixture is JSON");
        assert_eq!(now, then);
    }
}

#[test]
fn the_fixtures_have_every_kind_of_event() {
    let there: BTreeSet<String> = lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("the fixture is JSON");
            line["event"]["kind"].as_str().expect("a kind").to_owned()
        })
        .collect();
    assert!(kinds().contains("task_claimed"), "{:?}", kinds());
    assert_eq!(there, kinds());
}

#[test]
fn fields_that_this_version_does_not_know_are_ignored() {
    for line in lines() {
        let mut newer: serde_json::Value = serde_json::from_str(line).expect("the fixture is JSON");
        newer["from_the_future"] = true.into();
        newer["event"]["data"]["from_the_future"] = true.into();
        let read: Record = serde_json::from_value(newer).expect("it can be read");
        assert_eq!(
            read,
            serde_json::from_str(line).expect("the fixture is JSON")
        );
    }
}
