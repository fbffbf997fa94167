//! Hand-written histories, each with the guarantees that the checkers must report as violated.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::history::{
    Answer, Call, Evidence, Fault, FaultKind, Mark, MemberAtEnd, Operation, Outcome, Pane, Probe,
    Stall, Task, Unlisted,
};
use super::{Guarantee, check};
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

/// Evidence with this journal, and with a board of the tasks that the journal adds.
fn of_journal(events: &[(&str, Value)]) -> Evidence {
    let journal = journal(events);
    let added = journal.iter().filter(|event| event.kind == "task_added");
    let task = |event: &Event| Task {
        id: super::number(event, "task", "T-"),
        key: event.data["plan"]["key"].as_str().unwrap().to_owned(),
        state: "failed".to_owned(),
        rerun: true,
        runs: true,
    };
    Evidence {
        tasks: added.map(task).collect(),
        journal,
        ..Evidence::default()
    }
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

/// The guarantees that the evidence breaks.
fn broken(evidence: &Evidence) -> Vec<Guarantee> {
    let mut broken: Vec<Guarantee> = check(evidence).into_iter().map(|it| it.guarantee).collect();
    broken.dedup();
    broken
}

fn delivery(operations: Vec<Operation>, events: &[(&str, Value)]) -> Vec<Guarantee> {
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
        assert_eq!(
            delivery(one(), &events),
            [Guarantee::Delivery],
            "{events:?}"
        );
    }
}

#[test]
fn a_call_may_be_stored_unless_it_was_refused() {
    let events = [stored(1, "a"), read(1)];
    assert_eq!(delivery(vec![sent("a", Outcome::Unknown)], &events), []);
    assert_eq!(delivery(vec![sent("a", Outcome::Unknown)], &[]), []);
    let refused = Outcome::Refused("inbox_full".to_owned());
    assert_eq!(
        delivery(vec![sent("a", refused)], &events),
        [Guarantee::Delivery]
    );
    assert_eq!(
        delivery(vec![], &events),
        [Guarantee::Delivery],
        "never sent"
    );
}

#[test]
fn messages_of_one_sender_keep_their_order() {
    let operations = vec![sent("a", accepted(2)), sent("b", accepted(1))];
    let events = [stored(1, "b"), stored(2, "a"), read(1), read(2)];
    assert_eq!(delivery(operations, &events), [Guarantee::Delivery]);
}

fn released() -> (&'static str, Value) {
    ("task_released", json!({ "task": "T-1" }))
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
    assert_eq!(of(&[claimed("m0", 1), released(), claimed("m1", 2)]), []);
    assert_eq!(
        of(&[claimed("m0", 1), claimed("m1", 2)]),
        [Guarantee::Claims]
    );
    assert_eq!(
        of(&[claimed("m0", 2), claimed("m0", 2)]),
        [Guarantee::Claims]
    );
}

#[test]
fn a_stale_generation_ends_nothing() {
    let answer = |generation| {
        Outcome::Done(Answer {
            generation,
            ..Answer::default()
        })
    };
    let of = |generation| {
        let end = Call::Complete {
            task: 1,
            generation,
        };
        let claims = [claimed("user", 1), released(), claimed("user", 2)];
        let completed = ("task_completed", json!({ "task": "T-1" }));
        broken(&Evidence {
            operations: vec![
                operation(Call::Claim { task: 1 }, answer(1)),
                operation(Call::Claim { task: 1 }, answer(2)),
                operation(end, answer(0)),
            ],
            ..of_journal(&[&claims[..], &[completed]].concat())
        })
    };
    assert_eq!(of(2), []);
    assert_eq!(of(1), [Guarantee::Claims, Guarantee::Storage]);
}

#[test]
fn a_claim_and_its_end_are_stored_once() {
    let done = |generation| {
        Outcome::Done(Answer {
            generation,
            ..Answer::default()
        })
    };
    let release = Call::Release {
        task: 1,
        generation: 1,
    };
    let of = |outcome, events: &[(&str, Value)]| {
        broken(&Evidence {
            operations: vec![
                operation(Call::Claim { task: 1 }, done(1)),
                operation(release.clone(), outcome),
            ],
            ..of_journal(events)
        })
    };
    let both = [claimed("user", 1), released()];
    let claim = &both[..1];
    assert_eq!(of(done(0), &both), []);
    assert_eq!(of(done(0), &[]), [Guarantee::Storage], "neither");
    assert_eq!(of(done(0), claim), [Guarantee::Storage], "no end");
    assert_eq!(of(Outcome::Unknown, claim), []);
    let refused = || Outcome::Refused("stale_claim".to_owned());
    assert_eq!(of(refused(), claim), []);
    assert_eq!(of(refused(), &both), [Guarantee::Storage]);
}

#[test]
fn a_decision_is_stored_once_and_as_it_was_made() {
    let decision = |kind: &'static str| (kind, json!({ "request": "P-4", "by": "user" }));
    let of = |events: &[(&str, Value)]| {
        let id = Answer {
            id: 4,
            ..Answer::default()
        };
        let allow = operation(Call::Allow { command: 3 }, Outcome::Done(id));
        broken(&Evidence {
            operations: vec![allow],
            ..of_journal(events)
        })
    };
    let (allowed, denied) = (decision("request_allowed"), decision("request_denied"));
    let twice = [allowed.clone(), allowed];
    assert_eq!(of(&twice[..1]), []);
    assert_eq!(of(&[]), [Guarantee::Storage]);
    assert_eq!(of(&[denied]), [Guarantee::Storage]);
    assert_eq!(of(&twice), [Guarantee::Storage]);
}

#[test]
fn a_request_is_listed_until_it_is_decided() {
    let of = |events: &[(&str, Value)]| {
        let at = Duration::from_secs(1);
        broken(&Evidence {
            unlisted: vec![Unlisted { request: 4, at }],
            ..of_journal(events)
        })
    };
    let asked = (
        "request_asked",
        json!({ "request": "P-4", "member": "ada" }),
    );
    let withdrawn = ("request_withdrawn", json!({ "request": "P-4" }));
    let ended = |next: &str| {
        let data = json!({ "member": "ada", "launch": "one", "next": next });
        ("member_parked", data)
    };
    assert_eq!(of(&[asked.clone(), withdrawn]), []);
    assert_eq!(of(&[asked.clone(), ended("stop")]), []);
    let restarted = [asked.clone(), ended("launch")];
    assert_eq!(of(&restarted), [Guarantee::Requests]);
    assert_eq!(of(&[asked]), [Guarantee::Requests]);
}

#[test]
fn a_stopped_member_keeps_no_task() {
    let ended = |next: Value| {
        let data = json!({ "member": "m0", "launch": "one", "next": next });
        ("launch_ended", data)
    };
    let started = |launch: &str| {
        (
            "launch_started",
            json!({ "member": "m0", "launch": launch }),
        )
    };
    let of = |next: Value, rest: &[(&str, Value)]| {
        let begin = [started("one"), claimed("m0", 1), ended(next)];
        broken(&of_journal(&[&begin[..], rest].concat()))
    };
    let held = json!({ "hold": { "reason": "crashes" } });
    for next in [json!("stop"), held] {
        assert_eq!(of(next.clone(), &[released(), started("two")]), []);
        assert_eq!(of(next, &[started("two")]), [Guarantee::Claims]);
    }
    assert_eq!(of(json!("launch"), &[started("two")]), [], "a crash");
}

#[test]
fn each_running_member_has_one_pane() {
    let member = |runs, pane: Option<&str>| MemberAtEnd {
        member: "m0".to_owned(),
        pane: pane.map(str::to_owned),
        runs,
    };
    let pane = |id: &str, member: &str, lives| Pane {
        id: id.to_owned(),
        member: member.to_owned(),
        lives,
    };
    let of = |member, panes: &[Pane]| {
        broken(&Evidence {
            panes: Some((vec![member], panes.to_vec())),
            ..Evidence::default()
        })
    };
    let shown = || member(true, Some("%1"));
    assert_eq!(of(shown(), &[pane("%1", "m0", true)]), []);
    assert_eq!(of(member(false, None), &[]), []);
    for panes in [
        vec![],
        vec![pane("%1", "m0", false)],
        vec![pane("%2", "m0", true)],
        vec![pane("%1", "m0", true), pane("%2", "m0", true)],
        vec![pane("%1", "m0", true), pane("%2", "m7", true)],
    ] {
        assert_eq!(of(shown(), &panes), [Guarantee::Panes], "{panes:?}");
    }
    let stopped = member(false, None);
    assert_eq!(of(stopped, &[pane("%1", "m0", true)]), [Guarantee::Panes]);
}

#[test]
fn a_clock_jump_changes_no_age_and_expires_no_request() {
    let of = |longest| {
        let at = Duration::from_secs(10);
        broken(&Evidence {
            probes: vec![Probe {
                began: at,
                ended: at,
                supervisor: 1,
                longest,
            }],
            ..Evidence::default()
        })
    };
    assert_eq!(of(Duration::from_secs(12)), []);
    assert_eq!(of(Duration::from_secs(86_400)), [Guarantee::Time]);
    let expired = (
        "request_denied",
        json!({ "request": "P-1", "by": "system" }),
    );
    assert_eq!(broken(&of_journal(&[expired])), [Guarantee::Time]);
}

#[test]
fn after_a_reboot_a_recorded_launch_is_void() {
    let event = |kind: &'static str| (kind, json!({ "member": "m0", "launch": "one" }));
    let booted = ("booted", json!({ "boot": "two" }));
    let started = event("launch_started");
    assert_eq!(broken(&of_journal(&[started.clone(), booted.clone()])), []);
    let trusted = broken(&of_journal(&[started, booted, event("launch_draining")]));
    assert_eq!(trusted, [Guarantee::Time]);
}

#[test]
fn leftovers_of_a_killed_member_are_a_violation() {
    let evidence = Evidence {
        kept: vec!["m0 was killed and has T-1".to_owned()],
        ..Evidence::default()
    };
    assert_eq!(broken(&evidence), [Guarantee::Stopping]);
}

#[test]
fn unreadable_evidence_is_a_violation() {
    let mut evidence = Evidence {
        unread: vec!["the board".to_owned()],
        ..Evidence::default()
    };
    assert_eq!(broken(&evidence), [Guarantee::Storage]);
    let added = json!({ "task": "T-1", "plan": { "key": "k" } });
    evidence = of_journal(&[("task_added", added)]);
    assert_eq!(broken(&evidence), []);
    evidence.tasks.clear();
    assert_eq!(broken(&evidence), [Guarantee::Storage], "an empty board");
}

fn runs(marks: &[(&str, bool)], rerun: bool, attempts: u64) -> Vec<Guarantee> {
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
            state: "completed".to_owned(),
            rerun,
            runs: true,
        }],
        runs: [("k".to_owned(), marks.iter().map(mark).collect())].into(),
        ..Evidence::default()
    })
}

#[test]
fn a_completed_task_has_run() {
    assert_eq!(runs(&[("1", true), ("1", false)], true, 1), []);
    assert_eq!(runs(&[], true, 1), [Guarantee::Rerun], "an empty log");
    let added = json!({ "task": "T-1", "plan": { "key": "k" } });
    let mut evidence = of_journal(&[("task_added", added)]);
    evidence.tasks[0].state = "completed".to_owned();
    assert_eq!(broken(&evidence), [Guarantee::Rerun], "no log");
    evidence.tasks[0].runs = false;
    assert_eq!(broken(&evidence), [], "the user completed it");
}

#[test]
fn a_task_runs_once_per_attempt_and_alone() {
    assert_eq!(runs(&[("1", true), ("2", true), ("2", false)], true, 2), []);
    assert_eq!(
        runs(&[("1", true), ("2", true)], true, 1),
        [Guarantee::Rerun]
    );
    assert_eq!(
        runs(&[("1", true), ("2", true)], false, 2),
        [Guarantee::Rerun]
    );
    let both = [("1", true), ("2", true), ("1", false)];
    assert_eq!(runs(&both, true, 2), [Guarantee::Claims], "side by side");
}

#[test]
fn a_command_runs_only_when_it_was_allowed() {
    let of = |operations, decision: &[(&str, Value)]| {
        broken(&Evidence {
            operations,
            commands: [(3, 1)].into(),
            ..of_journal(decision)
        })
    };
    let allow = || Call::Allow { command: 3 };
    let done = || accepted(4);
    let decided = json!({ "request": "P-4", "by": "user" });
    let allowed = [("request_allowed", decided.clone())];
    assert_eq!(of(vec![operation(allow(), done())], &allowed), []);
    assert_eq!(of(vec![operation(allow(), Outcome::Unknown)], &[]), []);
    let denied = operation(Call::Deny { command: 3 }, done());
    let denial = [("request_denied", decided)];
    assert_eq!(of(vec![denied], &denial), [Guarantee::Requests]);
    let refused = Outcome::Refused("already_decided".to_owned());
    let refused = vec![operation(allow(), refused)];
    assert_eq!(of(refused, &[]), [Guarantee::Requests]);
    let failed = Outcome::Refused("storage_failed".to_owned());
    let failed = of(vec![operation(allow(), failed)], &allowed);
    assert!(
        !failed.contains(&Guarantee::Requests),
        "a stored decision counts as a violation"
    );
}

/// The guarantees that are broken when a supervisor is killed at 10 s and the next one answers after `answered_ms`.
/// `stalled_ms` is the duration of a stall at 10 s. `before_ms` is the time between an earlier kill and this one.
fn recovery(answered_ms: Option<u64>, stalled_ms: u64, before_ms: Option<u64>) -> Vec<Guarantee> {
    let at = Duration::from_secs(10);
    let fault = |at, pids| Fault {
        kind: FaultKind::KillSupervisor,
        began: at,
        ended: at,
        pids,
    };
    let probe = |at, supervisor| Probe {
        began: at,
        ended: at,
        supervisor,
        longest: Duration::ZERO,
    };
    let before = before_ms.map(|ms| at - Duration::from_millis(ms));
    let answered = answered_ms.map(|ms| at + Duration::from_millis(ms));
    let mut faults: Vec<Fault> = before.map(|at| fault(at, vec![0])).into_iter().collect();
    faults.push(fault(at, vec![1]));
    let between = before.map(|at| probe(at + Duration::from_millis(1), 1));
    broken(&Evidence {
        faults,
        probes: between
            .into_iter()
            .chain(answered.map(|at| probe(at, 2)))
            .collect(),
        stalls: vec![Stall {
            at,
            lasted: Duration::from_millis(stalled_ms),
        }],
        ..Evidence::default()
    })
}

#[test]
fn recovery_takes_2_s_plus_stalls_of_the_machine() {
    let supervisor = [Guarantee::Supervisor];
    assert_eq!(recovery(Some(1_900), 0, None), []);
    assert_eq!(recovery(Some(2_600), 0, None), supervisor);
    assert_eq!(recovery(Some(2_600), 700, None), [], "the machine was busy");
    assert_eq!(
        recovery(Some(2_600), 0, Some(500)),
        [],
        "the second kill of a series"
    );
    assert_eq!(recovery(Some(10_100), 0, Some(500)), supervisor);
    assert_eq!(recovery(Some(2_600), 0, Some(5_000)), supervisor);
    assert_eq!(recovery(None, 0, None), supervisor, "never");
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
    assert_eq!(of(8), [Guarantee::Worker]);
    let twice = [events[0].clone(), events[0].clone()];
    let evidence = Evidence {
        journal: journal(&twice),
        ..Evidence::default()
    };
    assert_eq!(broken(&evidence), [Guarantee::Worker]);
}

#[test]
fn acknowledged_changes_are_stored_by_one_writer() {
    let key = || "k".to_owned();
    let of = |outcome, events: &[(&str, Value)]| {
        broken(&Evidence {
            operations: vec![operation(Call::AddTask { key: key() }, outcome)],
            ..of_journal(events)
        })
    };
    let added = || {
        (
            "task_added",
            json!({ "task": "T-1", "plan": { "key": "k" } }),
        )
    };
    assert_eq!(of(accepted(1), &[added()]), []);
    assert_eq!(of(accepted(1), &[]), [Guarantee::Storage]);
    assert_eq!(of(accepted(1), &[added(), added()]), [Guarantee::Storage]);
    let full = || Outcome::Refused("storage_full".to_owned());
    assert_eq!(of(full(), &[]), []);
    assert_eq!(of(full(), &[added()]), [Guarantee::Storage]);
    let failed = Outcome::Refused("storage_failed".to_owned());
    assert_eq!(
        of(failed, &[]),
        [Guarantee::OneWriter],
        "no disk fault was injected"
    );
    let mut evidence = of_journal(&[added()]);
    evidence.published = evidence.journal.clone();
    assert_eq!(broken(&evidence), []);
    evidence.published[0].revision = 2;
    assert_eq!(broken(&evidence), [Guarantee::OneWriter]);
}
