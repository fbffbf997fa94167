//! Tests of the conversion of notices to envelopes.

use agent_team_protocol::envelope::state_snapshot::StateSnapshot;
use agent_team_protocol::envelope::{AgUi, Envelope};
use agent_team_protocol::notification::{EventNotice, OutputFragment, TransientNotice};
use agent_team_protocol::{MemberName, Revision, TeamId};
use serde_json::{Value, json};

use super::Envelopes;

fn team() -> TeamId {
    serde_json::from_value(json!("demo-12345678")).unwrap()
}

fn ada() -> MemberName {
    "ada".parse().unwrap()
}

fn notice(revision: u64, event: &Value) -> EventNotice {
    let event = serde_json::from_value(event.clone()).unwrap();
    EventNotice {
        team: team(),
        revision: Revision(revision),
        at: 7,
        event,
    }
}

fn added(name: &str) -> Value {
    json!({"kind": "member_added", "data": {"plan": {"name": name, "role": "worker", "lead": false}}})
}

fn with_ada() -> Envelopes {
    let mut envelopes = Envelopes::new(team());
    envelopes.event(&notice(1, &added("ada")));
    envelopes
}

fn live(fragments: &[OutputFragment]) -> TransientNotice {
    TransientNotice {
        team: team(),
        after: Revision(1),
        member: ada(),
        task: None,
        text: String::new(),
        fragments: fragments.to_vec(),
        notify: None,
        at: 9,
    }
}

fn text(message: &str, delta: &str) -> OutputFragment {
    OutputFragment::Text {
        message: message.into(),
        delta: delta.into(),
    }
}

fn types(envelopes: &[Envelope]) -> Vec<String> {
    let name = |envelope| serde_json::to_value(envelope).unwrap()["event"]["type"].clone();
    let names = envelopes.iter().map(name);
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn events_match_ag_ui() {
    let mut envelopes = with_ada();
    let run = json!({"kind": "run_started", "data": {"run": "R-1", "goal": "g", "then_down": true, "memory": []}});
    let started = envelopes.event(&notice(2, &run));
    assert_eq!(
        serde_json::to_value(&started[0]).unwrap(),
        json!({
            "team_id": "demo-12345678", "run_id": "R-1", "revision": 2,
            "event": {"type": "RUN_STARTED", "threadId": "demo-12345678", "runId": "R-1", "timestamp": 7},
        })
    );
    let call = |kind: fn(String) -> OutputFragment| kind("c1".into());
    let output = envelopes.transient(&live(&[
        text("m1", "Hel"),
        OutputFragment::Call {
            call: "c1".into(),
            tool: "read".into(),
            message: Some("m1".into()),
        },
        OutputFragment::Input {
            call: "c1".into(),
            delta: "{}".into(),
        },
        call(|call| OutputFragment::CallEnded { call }),
        OutputFragment::TextEnded {
            message: "m1".into(),
        },
        call(|call| OutputFragment::Returned {
            call,
            text: "ok".into(),
            failed: false,
        }),
    ]));
    let output = serde_json::to_value(&output).unwrap();
    let events: Vec<&Value> = output
        .as_array()
        .unwrap()
        .iter()
        .map(|envelope| &envelope["event"])
        .collect();
    let expected = [
        json!({"type": "TEXT_MESSAGE_START", "messageId": "ada/m1", "role": "assistant", "timestamp": 9}),
        json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": "ada/m1", "delta": "Hel", "timestamp": 9}),
        json!({"type": "TOOL_CALL_START", "toolCallId": "ada/c1", "toolCallName": "read", "parentMessageId": "ada/m1", "timestamp": 9}),
        json!({"type": "TOOL_CALL_ARGS", "toolCallId": "ada/c1", "delta": "{}", "timestamp": 9}),
        json!({"type": "TOOL_CALL_END", "toolCallId": "ada/c1", "timestamp": 9}),
        json!({"type": "TEXT_MESSAGE_END", "messageId": "ada/m1", "timestamp": 9}),
        json!({"type": "TOOL_CALL_RESULT", "messageId": "ada/c1/result", "toolCallId": "ada/c1", "content": "ok", "role": "tool", "timestamp": 9}),
    ];
    assert_eq!(events, expected.iter().collect::<Vec<_>>());
    assert_eq!(output[0]["agent_id"], "ada@demo-12345678");
    assert_eq!(output[0]["role_name"], "worker");
    assert_eq!(output[0]["run_id"], "R-1");
}

#[test]
fn lost_notices_leave_no_unbalanced_events() {
    let mut envelopes = with_ada();
    // The end of m1 and the beginning of c1 were lost.
    let output = envelopes.transient(&live(&[
        text("m1", "a"),
        text("m2", "b"),
        OutputFragment::Input {
            call: "c1".into(),
            delta: "{".into(),
        },
        OutputFragment::CallEnded { call: "c1".into() },
        OutputFragment::Call {
            call: "c2".into(),
            tool: "bash".into(),
            message: None,
        },
    ]));
    assert_eq!(
        types(&output),
        [
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TOOL_CALL_START",
        ]
    );
    let run = json!({"kind": "run_finished", "data": {"run": "R-1", "answer": "done"}});
    let output = envelopes.event(&notice(3, &run));
    assert_eq!(
        types(&output),
        ["TEXT_MESSAGE_END", "TOOL_CALL_END", "RUN_FINISHED"]
    );
    let resumes_from: Vec<_> = output.iter().map(|envelope| envelope.revision).collect();
    assert_eq!(resumes_from, [None, None, Some(Revision(3))]);
    let AgUi::RunFinished { result, .. } = &output[2].event else {
        panic!("{output:?}");
    };
    assert_eq!(result, &json!({"final_answer": "done"}));
}

#[test]
fn a_crash_ends_open_texts_and_calls() {
    let mut envelopes = with_ada();
    envelopes.transient(&live(&[text("m1", "a")]));
    let ended = json!({"kind": "launch_ended", "data": {
        "member": "ada", "launch": "0".repeat(32), "next": {"cool": {}},
    }});
    let output = envelopes.event(&notice(3, &ended));
    assert_eq!(types(&output), ["TEXT_MESSAGE_END", "STATE_DELTA"]);
}

/// Applies the patches of the envelopes.
fn patched(mut state: Value, envelopes: &[Envelope]) -> Value {
    for envelope in envelopes {
        let AgUi::StateDelta { delta, .. } = &envelope.event else {
            continue;
        };
        for operation in serde_json::to_value(delta).unwrap().as_array().unwrap() {
            let path = operation["path"].as_str().unwrap();
            let (parent, field) = path.rsplit_once('/').unwrap();
            let parent = state
                .pointer_mut(parent)
                .unwrap_or_else(|| panic!("no {path}"));
            let parent = parent.as_object_mut().unwrap();
            match operation["op"].as_str().unwrap() {
                "add" => drop(parent.insert(field.to_owned(), operation["value"].clone())),
                "remove" => drop(parent.remove(field).unwrap_or_else(|| panic!("no {path}"))),
                other => panic!("{other}"),
            }
        }
    }
    state
}

#[test]
fn patches_rebuild_board_and_members() {
    let mut envelopes = Envelopes::new(team());
    let AgUi::StateSnapshot { snapshot, .. } = envelopes.snapshot().event else {
        panic!("`snapshot` does not return a STATE_SNAPSHOT");
    };
    let events = [
        added("ada"),
        added("ben"),
        json!({"kind": "member_wanted", "data": {"member": "ada"}}),
        json!({"kind": "task_added", "data": {"task": "T-1", "created_by": "ada", "plan": {
            "key": "k", "title": "t",
        }}}),
        json!({"kind": "task_claimed", "data": {"task": "T-1", "owner": "ada", "generation": 1, "attempts": 1}}),
        json!({"kind": "task_released", "data": {"task": "T-1", "note": "half done"}}),
        json!({"kind": "task_changed", "data": {"task": "T-1", "plan": {
            "key": "k", "title": "better",
        }}}),
        json!({"kind": "task_claimed", "data": {"task": "T-1", "owner": "ada", "generation": 2, "attempts": 2}}),
        json!({"kind": "task_completed", "data": {"task": "T-1", "result": "ok", "unverified": false}}),
        json!({"kind": "member_removed", "data": {"member": "ben"}}),
    ];
    let mut state = serde_json::to_value(snapshot).unwrap();
    for (revision, event) in (1..).zip(&events) {
        let output = envelopes.event(&notice(revision, event));
        assert!(!output.is_empty(), "{event}");
        state = patched(state, &output);
    }
    assert_eq!(
        state["members"],
        json!({"ada": {"role": "worker", "lead": false, "state": "planned", "why": null}})
    );
    let task = &state["tasks"]["T-1"];
    assert_eq!(
        (&task["title"], &task["state"]),
        (&json!("better"), &json!("completed"))
    );
    assert_eq!(
        (&task["owner"], &task["attempts"]),
        (&json!("ada"), &json!(2))
    );
    // The patched state has every field of the documented form.
    serde_json::from_value::<StateSnapshot>(state).unwrap();
}

#[test]
fn a_failed_task_keeps_its_owner_until_retried() {
    let mut envelopes = with_ada();
    let mut state = json!({"members": {}, "tasks": {"T-1": {}}});
    let mut owner_after = |revision: u64, event: Value| {
        let changes = envelopes.event(&notice(revision, &event));
        state = patched(state.take(), &changes);
        let task = &state["tasks"]["T-1"];
        (task["owner"].clone(), task["state"].clone())
    };
    let claimed = json!({"kind": "task_claimed", "data": {"task": "T-1", "owner": "ada", "generation": 1, "attempts": 1}});
    owner_after(2, claimed);
    let failed = json!({"kind": "task_failed", "data": {"task": "T-1", "reason": "exit 3"}});
    assert_eq!(owner_after(3, failed), (json!("ada"), json!("failed")));
    let retried = json!({"kind": "task_retried", "data": {"task": "T-1"}});
    assert_eq!(owner_after(4, retried), (Value::Null, json!("pending")));
}

#[test]
fn unknown_events_are_ignored() {
    let unknown = json!({"kind": "unknown"});
    assert_eq!(with_ada().event(&notice(2, &unknown)), []);
}

#[test]
fn envelopes_round_trip() {
    let mut envelopes = with_ada();
    let mut output = vec![envelopes.snapshot()];
    output.extend(envelopes.event(&notice(2, &added("ben"))));
    output.extend(envelopes.transient(&live(&[text("m1", "a")])));
    for envelope in output {
        let line = serde_json::to_string(&envelope).unwrap();
        assert_eq!(serde_json::from_str::<Envelope>(&line).unwrap(), envelope);
    }
}
