//! The journal: it holds what was acknowledged, nothing that was refused, and the words of one writer.

use std::collections::BTreeMap;

use super::super::history::{Call, Evidence, FaultKind, Operation, Outcome};
use super::number;

pub(super) fn storage(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut added: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for event in evidence
        .journal
        .iter()
        .filter(|event| event.kind == "task_added")
    {
        let key = event.data["plan"]["key"].as_str().unwrap_or_default();
        added
            .entry(key)
            .or_default()
            .push(number(event, "task", "T-"));
    }
    for operation in &evidence.operations {
        let Call::AddTask { key } = &operation.call else {
            continue;
        };
        let stored = added.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        match (&operation.outcome, stored) {
            (Outcome::Done(answer), [id]) if answer.id == *id => {}
            (Outcome::Refused(_) | Outcome::Unknown, []) | (Outcome::Unknown, [_]) => {}
            (Outcome::Refused(code), [_]) if code == "storage_failed" => {}
            (outcome, stored) => {
                found.push(format!("{key} was {outcome:?} and is stored as {stored:?}"))
            }
        }
    }
    for task in &evidence.tasks {
        if !added.contains_key(task.key.as_str()) {
            found.push(format!(
                "T-{} is on the board and not in the journal",
                task.id
            ));
        }
    }
    found
}

pub(super) fn one_writer(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for operation in &evidence.operations {
        if operation.outcome == Outcome::Refused("storage_failed".to_owned())
            && !explains_failed_storage(evidence, operation)
        {
            found.push(format!(
                "{:?} was refused with storage_failed at {:.3} s on a sound disk",
                operation.call,
                operation.ended.as_secs_f64()
            ));
        }
    }
    for (place, event) in (1..).zip(&evidence.journal) {
        if event.revision != place {
            found.push(format!(
                "the journal has revision {} at place {place}",
                event.revision
            ));
            break;
        }
    }
    let mut last = 0;
    for event in &evidence.published {
        if event.revision != last + 1 {
            found.push(format!(
                "a subscriber received {} after {last}",
                event.revision
            ));
        }
        last = event.revision;
        let stored = usize::try_from(event.revision - 1)
            .ok()
            .and_then(|at| evidence.journal.get(at));
        if stored != Some(event) {
            found.push(format!(
                "published and stored differ: {event:?}, {stored:?}"
            ));
        }
    }
    found
}

fn explains_failed_storage(evidence: &Evidence, operation: &Operation) -> bool {
    let kinds = [FaultKind::FailedSync, FaultKind::FullDisk];
    evidence
        .faults_in(&kinds, operation.began, operation.ended)
        .count()
        > 0
}
