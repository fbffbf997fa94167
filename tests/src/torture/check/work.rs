//! Checks claims, runs of tasks, and commands that need permission: one owner, one end, no command without permission.

use std::collections::{BTreeMap, BTreeSet};

use super::super::history::{Call, Evidence, Mark, Outcome};
use super::number;

pub(super) fn claims(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut owners: BTreeMap<u64, (String, u64)> = BTreeMap::new();
    // Members that were stopped or held when their last launch ended.
    let mut stopped: BTreeSet<&str> = BTreeSet::new();
    for event in &evidence.journal {
        let task = number(event, "task", "T-");
        let member = event.text("member");
        match event.kind.as_str() {
            "launch_ended" if event.data["next"] == "stop" => drop(stopped.insert(member)),
            "launch_ended" if event.data["next"]["hold"].is_object() => {
                stopped.insert(member);
            }
            "launch_started" if stopped.remove(member) => {
                let kept = owners.iter().filter(|(_, (owner, _))| owner == member);
                found.extend(kept.map(|(task, _)| {
                    format!("T-{task} was kept by {member}, which had been stopped")
                }));
            }
            "task_claimed" => {
                let owner = event.text("owner").to_owned();
                let generation = event.data["generation"].as_u64().unwrap_or_default();
                if let Some((before, last)) = owners.insert(task, (owner.clone(), generation)) {
                    if generation <= last {
                        found.push(format!("T-{task}: generation {generation} follows {last}"));
                    }
                    if !before.is_empty() && before != owner {
                        found.push(format!("T-{task} of {before} was given to {owner}"));
                    }
                }
            }
            "task_released" | "task_completed" | "task_failed" | "task_cancelled" => {
                if let Some((owner, _)) = owners.get_mut(&task) {
                    owner.clear();
                }
            }
            _ => {}
        }
    }
    found.extend(stale_owners(evidence));
    for (key, marks) in &evidence.runs {
        found.extend(overlaps(key, marks));
    }
    found
}

/// A client that ends a claim with a stale generation must be refused. A claim whose answer was lost is not checked:
/// its generation is unknown.
fn stale_owners(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in &evidence.operations {
        match (&operation.call, &operation.outcome) {
            (Call::Claim { task }, Outcome::Done(answer)) => {
                newest.insert(*task, answer.generation);
            }
            (
                Call::Complete { task, generation } | Call::Release { task, generation },
                Outcome::Done(_),
            ) => {
                let current = newest.get(task).copied().unwrap_or(*generation);
                if *generation < current {
                    found.push(format!(
                        "T-{task} was changed by generation {generation} at {:.3} s, when generation {current} was current",
                        operation.ended.as_secs_f64()
                    ));
                }
            }
            _ => {}
        }
    }
    found
}

/// Finds concurrent runs of one task: a run that began before an earlier one ended. A killed run leaves no end mark, so
/// it is not compared with runs that begin later.
fn overlaps(key: &str, marks: &[Mark]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<(&str, &str)> = Vec::new();
    for mark in marks {
        match mark {
            Mark::Began { member, process } => open.push((process, member)),
            Mark::Ended { process } => {
                let place = open.iter().position(|(pid, _)| pid == process);
                let Some(place) = place else { continue };
                for (_, other) in &open[place + 1..] {
                    found.push(format!(
                        "{key} ran on {} and on {other} at once",
                        open[place].1
                    ));
                }
                open.remove(place);
            }
        }
    }
    found
}

pub(super) fn runs(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut attempts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut ended: BTreeSet<u64> = BTreeSet::new();
    for event in &evidence.journal {
        let task = number(event, "task", "T-");
        match event.kind.as_str() {
            "task_claimed" => {
                attempts.insert(task, event.data["attempts"].as_u64().unwrap_or_default());
                if ended.contains(&task) {
                    found.push(format!("T-{task} was claimed after it had ended"));
                }
            }
            "task_completed" | "task_failed" if !ended.insert(task) => {
                found.push(format!("T-{task} ended twice"));
            }
            "task_retried" => drop(ended.remove(&task)),
            _ => {}
        }
    }
    for task in &evidence.tasks {
        let marks = evidence.runs.get(&task.key).map_or(&[][..], Vec::as_slice);
        let began = |mark: &&Mark| matches!(mark, Mark::Began { .. });
        let begun = marks.iter().filter(began).count() as u64;
        let limit = match task.rerun {
            true => attempts.get(&task.id).copied().unwrap_or_default(),
            false => 1,
        };
        if begun > limit {
            found.push(format!(
                "T-{} ran {begun} times, {limit} allowed: {marks:?}",
                task.id
            ));
        }
        if task.runs && task.state == "completed" && begun == 0 {
            found.push(format!("T-{} is completed and never ran", task.id));
        }
    }
    found
}

pub(super) fn requests(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut allowed: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in &evidence.operations {
        let Call::Allow { command } = operation.call else {
            continue;
        };
        // A decision that was refused with `storage_failed` may have been stored.
        let is_refused = |code: &String| code != "storage_failed";
        if !matches!(&operation.outcome, Outcome::Refused(code) if is_refused(code)) {
            *allowed.entry(command).or_default() += 1;
        }
    }
    for (command, times) in &evidence.commands {
        match allowed.get(command) {
            None => found.push(format!("command {command} ran and was never allowed")),
            Some(allowed) if times > allowed => found.push(format!(
                "command {command} ran {times} times and was allowed {allowed} times"
            )),
            Some(_) => {}
        }
    }
    found.extend(unlisted(evidence));
    let mut decided: BTreeSet<&str> = BTreeSet::new();
    for event in &evidence.journal {
        let request = event.text("request");
        match event.kind.as_str() {
            "request_allowed" => {
                if event.text("by") != "user" {
                    found.push(format!("{request} was allowed by {:?}", event.text("by")));
                }
                decided.insert(request);
            }
            "request_begun" if !decided.contains(request) => {
                found.push(format!("{request} was begun before it was allowed"));
            }
            _ => {}
        }
    }
    found
}

/// A request must be listed until it is decided or withdrawn. Stopping or holding the member withdraws its requests.
fn unlisted(evidence: &Evidence) -> Vec<String> {
    let mut open: BTreeMap<u64, &str> = BTreeMap::new();
    for event in &evidence.journal {
        let (member, request) = (event.text("member"), number(event, "request", "P-"));
        let next = &event.data["next"];
        match event.kind.as_str() {
            "request_asked" => drop(open.insert(request, member)),
            "request_allowed" | "request_denied" | "request_withdrawn" => {
                open.remove(&request);
            }
            "launch_ended" | "member_parked" if next == "stop" || next["hold"].is_object() => {
                open.retain(|_, of| *of != member);
            }
            _ => {}
        }
    }
    let lost = evidence.unlisted.iter();
    lost.filter(|lost| open.contains_key(&lost.request))
        .map(|lost| {
            let at = lost.at.as_secs_f64();
            format!(
                "P-{} was undecided at {at:.3} s but not listed",
                lost.request
            )
        })
        .collect()
}
