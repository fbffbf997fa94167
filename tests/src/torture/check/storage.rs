//! Checks that the journal contains every acknowledged change and no refused change, that the board has the tasks of
//! the journal, and that only one writer wrote the journal.

use std::collections::BTreeMap;

use super::super::history::{Call, Evidence, FaultKind, Operation, Outcome};
use super::number;
use crate::Event;

pub(super) fn storage(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let stored = Stored::of(&evidence.journal);
    for operation in &evidence.operations {
        // `delivery` checks messages.
        let (times, is_other) = match (&operation.call, &operation.outcome) {
            (Call::Send { .. }, _) => continue,
            (Call::AddTask { key }, outcome) => {
                let ids = stored.added.get(key).map_or(&[][..], Vec::as_slice);
                let other = matches!(outcome, Outcome::Done(answer) if !ids.contains(&answer.id));
                (ids.len(), other)
            }
            (Call::Claim { task }, Outcome::Done(answer)) => {
                let claim = (*task, answer.generation);
                (
                    stored.claimed.iter().filter(|it| **it == claim).count(),
                    false,
                )
            }
            // Such a claim is not checked: only an acknowledgement contains the generation, so no claim in the journal
            // can be attributed to this operation.
            (Call::Claim { .. }, Outcome::Refused(_) | Outcome::Unknown) => continue,
            (Call::Release { task, generation }, _) => {
                let end = (*task, *generation, Ended::Released);
                (stored.ended.iter().filter(|it| **it == end).count(), false)
            }
            (Call::Complete { task, generation }, _) => {
                let end = (*task, *generation, Ended::Completed);
                (stored.ended.iter().filter(|it| **it == end).count(), false)
            }
            (Call::Allow { .. } | Call::Deny { .. }, Outcome::Done(answer)) => {
                let is_allowed = matches!(operation.call, Call::Allow { .. });
                let decisions = stored
                    .decided
                    .get(&answer.id)
                    .map_or(&[][..], Vec::as_slice);
                (decisions.len(), decisions.contains(&!is_allowed))
            }
            // Such a decision is not checked: only an acknowledged operation records the request, so no decision in the
            // journal can be attributed to this operation.
            (Call::Allow { .. } | Call::Deny { .. }, Outcome::Refused(_) | Outcome::Unknown) => {
                continue;
            }
        };
        let is_as_answered = match (&operation.outcome, times) {
            (Outcome::Done(_), 1) => !is_other,
            (Outcome::Unknown, 0 | 1) | (Outcome::Refused(_), 0) => true,
            (Outcome::Refused(code), 1) => code == "storage_failed",
            _ => false,
        };
        if !is_as_answered {
            found.push(format!(
                "{:?} has the outcome {:?}, but the journal contains it {times} times{}",
                operation.call,
                operation.outcome,
                if is_other { ", with other values" } else { "" },
            ));
        }
    }
    let added = stored.added.values().map(Vec::len).sum::<usize>();
    if evidence.tasks.len() != added {
        let listed = evidence.tasks.len();
        found.push(format!("the board has {listed} tasks, the journal {added}"));
    }
    for task in &evidence.tasks {
        if !stored.added.contains_key(&task.key) {
            found.push(format!(
                "T-{} is on the board and not in the journal",
                task.id
            ));
        }
    }
    let unread = evidence.unread.iter();
    found.extend(unread.map(|what| format!("cannot read the evidence: {what}")));
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Released,
    Completed,
}

/// The clients' operations as stored in the journal.
#[derive(Debug, Default)]
struct Stored {
    /// The ids of tasks, by key.
    added: BTreeMap<String, Vec<u64>>,
    /// The user's claims: task and generation.
    claimed: Vec<(u64, u64)>,
    /// How the user's claims ended.
    ended: Vec<(u64, u64, Ended)>,
    /// The decisions of each request; true if the request was allowed.
    decided: BTreeMap<u64, Vec<bool>>,
}

impl Stored {
    fn of(journal: &[Event]) -> Self {
        let mut stored = Self::default();
        // Tasks that the user has claimed, with the generation.
        let mut current: BTreeMap<u64, u64> = BTreeMap::new();
        for event in journal {
            let task = number(event, "task", "T-");
            let kind = event.kind.as_str();
            match kind {
                "task_added" => {
                    let key = event.data["plan"]["key"].as_str().unwrap_or_default();
                    stored.added.entry(key.to_owned()).or_default().push(task);
                }
                "task_claimed" if event.text("owner") == "user" => {
                    let generation = event.data["generation"].as_u64().unwrap_or_default();
                    current.insert(task, generation);
                    stored.claimed.push((task, generation));
                }
                "task_claimed" => drop(current.remove(&task)),
                "task_released" | "task_completed" => {
                    let end = match kind {
                        "task_released" => Ended::Released,
                        _ => Ended::Completed,
                    };
                    let claim = current.remove(&task);
                    stored.ended.extend(claim.map(|claim| (task, claim, end)));
                }
                "request_allowed" | "request_denied" => {
                    let decisions = stored.decided.entry(number(event, "request", "P-"));
                    decisions.or_default().push(kind == "request_allowed");
                }
                _ => {}
            }
        }
        stored
    }
}

pub(super) fn one_writer(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for operation in &evidence.operations {
        if operation.outcome == Outcome::Refused("storage_failed".to_owned())
            && !explains_failed_storage(evidence, operation)
        {
            found.push(format!(
                "{:?} was refused with storage_failed at {:.3} s although no disk fault was injected",
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
                "a subscriber received revision {} after {last}",
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
    let fails_storage = |kind| {
        use FaultKind::{FailedRead, FailedSync, FullDisk};
        matches!(kind, FailedRead | FailedSync | FullDisk)
    };
    evidence
        .faults_in(fails_storage, operation.began, operation.ended)
        .count()
        > 0
}
