//! Histories made by hand: each is one that a checker must object to, or one that it must not.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::history::{
    Answer, Call, Evidence, Fault, FaultKind, Mark, Operation, Outcome, Probe, Stall, Task,
};
use super::{Promise, check};
use crate::Event;

fn journal(events: &[(&str, Value)]) -> Vec<Event> {
    let numbered = (1..).zip(events);
    numbered
        .map(|(revision, (kind, data))| Event {
            revision,
            kind: (*kind).to_owned(),
            data: data.clone(),
        })
        .collect()
}

fn operation(call: Call, outcome: Outcome) -> Operation {
    Operation {
        client: "one".to_owned(),
        began: Duration::from_secs(1),
        ended: Duration::from_secs(2),
        call,
        outcome,
    }
}

fn sent(text: &str, outcome: Outcome) -> Operation {
    let (to, text) = ("m0".to_owned(), text.to_owned());
    operation(Call::Send { to, text }, outcome)
}

fn accepted(id: u64) -> Outcome {
    Outcome::Done(Answer {
        id,
        generation: 0,
        recipients: vec!["m0".to_owned()],
    })
}

fn stored(id: u64, text: &str) -> (&'static str, Value) {
    let message = format!("M-{id}");
    let data = json!({ "message": message, "from": "user", "to": ["m0"], "text": text });
    ("message_accepted", data)
}

fn read(id: u64) -> (&'static str, Value) {
    let messages = [format!("M-{id}")];
    (
        "messages_read",
        json!({ "member": "m0", "messages": messages }),
    )
}

/// The promises that the evidence breaks.
fn broken(evidence: &Evidence) -> Vec<Promise> {
    let mut broken: Vec<Promise> = check(evidence).into_iter().map(|it| it.promise).collect();
    broken.dedup();
    broken
}

fn delivery(operations: Vec<Operation>, events: &[(&str, Value)]) -> Vec<Promise> {
    broken(&Evidence {
        operations,
        journal: journal(events),
        ..Evidence::default()
    })
}

#[test]
fn a_message_is_stored_and_read_once() {
    let one = || vec![sent("a", accepted(1))];
    assert_eq!(delivery(one(), &[stored(1, "a"), read(1)]), []);
    for events in [
        vec![],
        vec![stored(1, "a")],
        vec![stored(1, "a"), read(1), read(1)],
        vec![stored(1, "a"), stored(2, "a"), read(1), read(2)],
        vec![stored(7, "a"), read(7)],
    ] {
        assert_eq!(delivery(one(), &events), [Promise::Delivery], "{events:?}");
    }
}

#[test]
fn an_unknown_outcome_may_be_either_and_a_refusal_may_not() {
    let events = [stored(1, "a"), read(1)];
    assert_eq!(delivery(vec![sent("a", Outcome::Unknown)], &events), []);
    assert_eq!(delivery(vec![sent("a", Outcome::Unknown)], &[]), []);
    let refused = Outcome::Refused("inbox_full".to_owned());
    assert_eq!(
        delivery(vec![sent("a", refused)], &events),
        [Promise::Delivery]
    );
    assert_eq!(delivery(vec![], &events), [Promise::Delivery], "never sent");
}

#[test]
fn messages_of_one_sender_keep_their_order() {
    let operations = vec![sent("a", accepted(2)), sent("b", accepted(1))];
    let events = [stored(1, "b"), stored(2, "a"), read(1), read(2)];
    assert_eq!(delivery(operations, &events), [Promise::Delivery]);
}

fn claimed(owner: &str, generation: u64) -> (&'static str, Value) {
    let data = json!({ "task": "T-1", "owner": owner, "generation": generation, "attempts": 1 });
    ("task_claimed", data)
}

#[test]
fn a_task_has_one_owner() {
    let of = |events: &[(&str, Value)]| {
        broken(&Evidence {
            journal: journal(events),
            ..Evidence::default()
        })
    };
    let released = ("task_released", json!({ "task": "T-1" }));
    assert_eq!(of(&[claimed("m0", 1), released, claimed("m1", 2)]), []);
    assert_eq!(of(&[claimed("m0", 1), claimed("m1", 2)]), [Promise::Claims]);
    assert_eq!(of(&[claimed("m0", 2), claimed("m0", 2)]), [Promise::Claims]);
}

#[test]
fn a_stale_generation_ends_nothing() {
    let answer = |generation| {
        Outcome::Done(Answer {
            generation,
            ..Answer::default()
        })
    };
    let claim = || operation(Call::Claim { task: 1 }, answer(2));
    let end = |generation| {
        operation(
            Call::Complete {
                task: 1,
                generation,
            },
            answer(0),
        )
    };
    let of = |operations| {
        broken(&Evidence {
            operations,
            ..Evidence::default()
        })
    };
    assert_eq!(of(vec![claim(), end(2)]), []);
    assert_eq!(of(vec![claim(), end(1)]), [Promise::Claims]);
}

fn runs(marks: &[(&str, bool)], rerun: bool, attempts: u64) -> Vec<Promise> {
    let mark = |(process, began): &(&str, bool)| match began {
        true => Mark::Began {
            member: "m0".to_owned(),
            process: (*process).to_owned(),
        },
        false => Mark::Ended {
            process: (*process).to_owned(),
        },
    };
    let claim = json!({ "task": "T-1", "owner": "m0", "generation": 1, "attempts": attempts });
    let added = json!({ "task": "T-1", "plan": { "key": "k" } });
    broken(&Evidence {
        journal: journal(&[("task_added", added), ("task_claimed", claim)]),
        tasks: vec![Task {
            id: 1,
            key: "k".to_owned(),
            state: "failed".to_owned(),
            rerun,
        }],
        runs: [("k".to_owned(), marks.iter().map(mark).collect())].into(),
        ..Evidence::default()
    })
}

#[test]
fn a_task_runs_once_per_attempt_and_alone() {
    assert_eq!(runs(&[("1", true), ("2", true), ("2", false)], true, 2), []);
    assert_eq!(runs(&[("1", true), ("2", true)], true, 1), [Promise::Rerun]);
    assert_eq!(
        runs(&[("1", true), ("2", true)], false, 2),
        [Promise::Rerun]
    );
    let both = [("1", true), ("2", true), ("1", false)];
    assert_eq!(runs(&both, true, 2), [Promise::Claims], "side by side");
}

#[test]
fn a_command_runs_only_when_it_was_allowed() {
    let of = |operations| {
        broken(&Evidence {
            operations,
            commands: [(3, 1)].into(),
            ..Evidence::default()
        })
    };
    let allow = || Call::Allow { command: 3 };
    let done = || Outcome::Done(Answer::default());
    assert_eq!(of(vec![operation(allow(), done())]), []);
    assert_eq!(of(vec![operation(allow(), Outcome::Unknown)]), []);
    let denied = operation(Call::Deny { command: 3 }, done());
    assert_eq!(of(vec![denied]), [Promise::Requests]);
    let refused = Outcome::Refused("already_decided".to_owned());
    assert_eq!(of(vec![operation(allow(), refused)]), [Promise::Requests]);
}

/// A kill at 10 s and the next supervisor's answer.
fn recovery(answered_ms: u64, stalled_ms: u64, other: Option<FaultKind>) -> Vec<Promise> {
    let at = Duration::from_secs(10);
    let fault = |kind, pids| Fault {
        kind,
        began: at,
        ended: at,
        pids,
    };
    let mut faults = vec![fault(FaultKind::KillSupervisor, vec![1])];
    faults.extend(other.map(|kind| fault(kind, Vec::new())));
    let answered = at + Duration::from_millis(answered_ms);
    broken(&Evidence {
        faults,
        probes: vec![Probe {
            began: answered,
            ended: answered,
            supervisor: 2,
        }],
        stalls: vec![Stall {
            at,
            lasted: Duration::from_millis(stalled_ms),
        }],
        ..Evidence::default()
    })
}

#[test]
fn a_supervisor_is_back_within_2_s_of_machine_time() {
    assert_eq!(recovery(1_900, 0, None), []);
    assert_eq!(recovery(2_600, 0, None), [Promise::Supervisor]);
    assert_eq!(recovery(2_600, 700, None), [], "the machine was busy");
    let stopped = Some(FaultKind::StopSupervisor);
    assert_eq!(recovery(2_600, 0, stopped), [], "another fault delayed it");
}

#[test]
fn a_launch_ends_only_by_a_fault() {
    let events = [
        ("launch_started", json!({ "member": "m0", "launch": "l" })),
        (
            "launch_ready",
            json!({ "member": "m0", "launch": "l", "process": { "pid": 9 } }),
        ),
        ("launch_ended", json!({ "member": "m0", "launch": "l" })),
    ];
    let of = |pid| {
        let at = Duration::ZERO;
        broken(&Evidence {
            journal: journal(&events),
            faults: vec![Fault {
                kind: FaultKind::KillWorker,
                began: at,
                ended: at,
                pids: vec![pid],
            }],
            ..Evidence::default()
        })
    };
    assert_eq!(of(9), []);
    assert_eq!(of(8), [Promise::Worker]);
    let twice = [events[0].clone(), events[0].clone()];
    let evidence = Evidence {
        journal: journal(&twice),
        ..Evidence::default()
    };
    assert_eq!(broken(&evidence), [Promise::Worker]);
}

#[test]
fn what_is_acknowledged_is_stored_by_one_writer() {
    let key = || "k".to_owned();
    let of = |outcome, events: &[(&str, Value)]| {
        broken(&Evidence {
            operations: vec![operation(Call::AddTask { key: key() }, outcome)],
            journal: journal(events),
            ..Evidence::default()
        })
    };
    let added = || {
        (
            "task_added",
            json!({ "task": "T-1", "plan": { "key": "k" } }),
        )
    };
    assert_eq!(of(accepted(1), &[added()]), []);
    assert_eq!(of(accepted(1), &[]), [Promise::Storage]);
    assert_eq!(of(accepted(1), &[added(), added()]), [Promise::Storage]);
    let full = || Outcome::Refused("storage_full".to_owned());
    assert_eq!(of(full(), &[]), []);
    assert_eq!(of(full(), &[added()]), [Promise::Storage]);
    let failed = Outcome::Refused("storage_failed".to_owned());
    assert_eq!(of(failed, &[]), [Promise::OneWriter], "on a sound disk");
    let mut evidence = Evidence {
        journal: journal(&[added()]),
        ..Evidence::default()
    };
    evidence.published = evidence.journal.clone();
    assert_eq!(broken(&evidence), []);
    evidence.published[0].revision = 2;
    assert_eq!(broken(&evidence), [Promise::OneWriter]);
}
