//! Tests of the spans of short histories.

use agent_team_protocol::RunId;
use agent_team_protocol::event::{ClientEvent, TranscriptSize};
use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::value::Usage;
use serde_json::{Value, json};

use super::*;

/// The spans of these events, each with its time; the open spans last.
fn spans(events: &[(u64, Value)]) -> (Vec<Span>, Spans) {
    let mut spans = Spans::default();
    let mut ended = Vec::new();
    for (revision, (at, event)) in events.iter().enumerate() {
        let notice =
            json!({"team": "demo-12345678", "revision": revision + 1, "at": at, "event": event});
        let notice: EventNotice = serde_json::from_value(notice).expect("a notice");
        assert_ne!(notice.event, ClientEvent::Unknown, "{event}");
        ended.extend(spans.add(&notice));
    }
    ended.extend(spans.take_ended());
    (ended, spans)
}

fn event(kind: &str, data: Value) -> Value {
    json!({"kind": kind, "data": data})
}

const LAUNCH: &str = "0123456789abcdef0123456789abcdef";

fn ready(member: &str) -> Value {
    let process = json!({"pid": 1, "start_time": 1});
    event(
        "launch_ready",
        json!({"member": member, "launch": LAUNCH, "process": process}),
    )
}

fn grown(length: u64, output: u64, active: bool) -> Value {
    let size = json!({"length": length, "active": active, "spent": {"input": 0, "output": output, "cached": 0}});
    event("transcript_grown", json!({"member": "ada", "mind": size}))
}

/// The kind, start, end and outcome of a span.
fn short(span: &Span) -> (String, u64, Option<u64>, Outcome) {
    let kind = match &span.work {
        Work::Up { .. } => "up".to_owned(),
        Work::Held { reason } => format!("held {reason}"),
        Work::Turn { first, length } => format!("turn {first}..{length}"),
        Work::Task { task, .. } => task.to_string(),
        Work::Wait(Awaited::Decision(request)) => request.to_string(),
        Work::Wait(Awaited::Reply(message)) => message.to_string(),
        Work::Run { run } => run.to_string(),
    };
    (kind, span.from, span.to, span.outcome)
}

#[test]
fn a_run_contains_turns_tasks_and_waits() {
    let run = json!({"run": "R-1", "goal": "Fix", "then_down": false, "memory": []});
    let claimed = json!({"task": "T-1", "owner": "ada", "generation": 1, "attempts": 1});
    let asked = json!({"request": "P-1", "member": "ada", "digest": "d", "call": "{}"});
    let allowed = json!({"request": "P-1", "scope": "once", "by": "user"});
    let completed = json!({"task": "T-1", "result": "ok", "unverified": false});
    let (ended, open) = spans(&[
        (10, ready("ada")),
        (20, event("run_started", run)),
        (30, grown(1, 0, true)),
        (40, event("task_claimed", claimed)),
        (50, event("request_asked", asked)),
        (70, event("request_allowed", allowed)),
        (80, event("task_completed", completed)),
        (85, grown(4, 7, true)),
        (90, grown(5, 9, false)),
        (
            95,
            event("run_finished", json!({"run": "R-1", "answer": "done"})),
        ),
    ]);
    let found: Vec<_> = ended.iter().map(short).collect();
    use Outcome::Done;
    assert_eq!(
        found,
        [
            ("P-1".into(), 50, Some(70), Done),
            ("T-1".into(), 40, Some(80), Done),
            ("turn 0..5".into(), 30, Some(90), Done),
            ("R-1".into(), 20, Some(95), Done),
        ]
    );
    assert_eq!(&*ended[0].note, "allowed by user");
    assert_eq!(ended[2].usage.output, 9);
    assert!(ended.iter().all(|span| span.run == Some(RunId(1))));
    let [wait, task, turn, run] = &ended[..] else {
        panic!("expected four spans");
    };
    assert_eq!(wait.position.parent.as_ref(), Some(&turn.position.key));
    assert_eq!(turn.position.parent.as_ref(), Some(&run.position.key));
    assert_eq!(task.position.parent.as_ref(), Some(&run.position.key));
    assert_eq!(run.position.parent, None);
    assert!(
        ended
            .iter()
            .all(|span| span.position.root == run.position.key)
    );
    let open: Vec<_> = open.open().map(short).collect();
    assert_eq!(open, [("up".into(), 10, None, Outcome::UnderWay)]);
}

#[test]
fn the_end_of_a_launch_ends_its_turn() {
    let crash = event(
        "launch_ended",
        json!({"member": "ada", "launch": LAUNCH, "next": {"hold": {"reason": "it crashed"}}}),
    );
    let question = event(
        "message_accepted",
        json!({"message": "M-1", "from": "ada", "to": ["user"], "text": "Which?", "urgent": false,
            "note": {"wants_reply": true}}),
    );
    let (ended, open) = spans(&[
        (10, ready("ada")),
        (20, grown(1, 0, true)),
        (25, question),
        (30, crash),
        (40, event("member_wanted", json!({"member": "ada"}))),
    ]);
    let found: Vec<_> = ended.iter().map(short).collect();
    use Outcome::{Done, Stopped};
    assert_eq!(
        found,
        [
            ("M-1".into(), 25, Some(30), Stopped),
            ("turn 0..1".into(), 20, Some(30), Stopped),
            ("up".into(), 10, Some(30), Stopped),
            ("held it crashed".into(), 30, Some(40), Done),
        ]
    );
    assert_eq!(open.open().count(), 0);
}

#[test]
fn a_turn_that_failed_has_the_reason() {
    let failed = json!({"member": "ada", "reason": "the model refused"});
    let (ended, _) = spans(&[
        (10, grown(1, 0, true)),
        (20, grown(2, 1, false)),
        (20, event("turn_failed", failed)),
    ]);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].outcome, Outcome::Failed);
    assert_eq!(&*ended[0].note, "the model refused");
}

#[test]
fn a_restart_of_the_machine_ends_launches_at_the_last_event() {
    let (ended, _) = spans(&[
        (10, ready("ada")),
        (20, grown(1, 0, true)),
        (9_000, event("booted", json!({}))),
    ]);
    let ends: Vec<_> = ended.iter().map(|span| span.to).collect();
    assert_eq!(ends, [Some(20), Some(20)]);
}

#[test]
fn a_clock_that_was_set_back_makes_no_negative_span() {
    let released = json!({"task": "T-1", "note": "later"});
    let claimed = json!({"task": "T-1", "owner": "ada", "generation": 1, "attempts": 1});
    let (ended, _) = spans(&[
        (50, event("task_claimed", claimed)),
        (20, event("task_released", released)),
    ]);
    assert_eq!((ended[0].from, ended[0].to), (50, Some(50)));
    assert_eq!(ended[0].outcome, Outcome::Stopped);
}

#[test]
fn intervals_are_merged() {
    let all = [(5, 9), (0, 2), (8, 12), (12, 13), (20, 20)];
    assert_eq!(union(all), [(0, 2), (5, 13)]);
    assert_eq!(union_length(all), 10);
}

#[test]
fn an_older_supervisor_reports_no_turns() {
    let size: TranscriptSize = serde_json::from_value(json!({"length": 3})).unwrap();
    assert!(!size.active && size.spent == Usage::default());
}
