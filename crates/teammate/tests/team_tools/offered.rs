//! What a model is offered, and what becomes of arguments that do not fit.

use serde_json::json;

use super::rig::{Rig, no, unexpected};
use agent_team_protocol::ErrorCode;

const EVERYBODY: [&str; 13] = [
    "send_message",
    "read_messages",
    "list_teammates",
    "answer_shutdown",
    "list_tasks",
    "claim_task",
    "update_task",
    "complete_task",
    "fail_task",
    "release_task",
    "remember",
    "recall",
    "wait",
];

const LEAD: [&str; 8] = [
    "spawn_teammate",
    "stop_teammate",
    "resume_teammate",
    "deny_request",
    "finish",
    "create_task",
    "assign_task",
    "cancel_task",
];

#[tokio::test]
async fn what_a_role_lacks_is_not_offered() {
    assert_eq!(
        Rig::new(false, |method, _| unexpected(method)).names(),
        EVERYBODY
    );
    let lead = Rig::new(true, |method, _| unexpected(method));
    assert_eq!(
        lead.names(),
        [LEAD.as_slice(), EVERYBODY.as_slice()].concat()
    );
}

#[tokio::test]
async fn every_schema_is_closed_and_every_tool_is_described() {
    let rig = Rig::new(true, |method, _| unexpected(method));
    for name in rig.names() {
        let spec = rig.tool(&name).spec();
        assert!(spec.description.len() > 40, "{name}");
        assert_eq!(spec.input["type"], "object", "{name}");
        assert_eq!(spec.input["additionalProperties"], false, "{name}");
        let text = spec.input.to_string();
        for alien in ["\"$ref\"", "\"null\"", "\"anyOf\"", "\"title\":\""] {
            assert!(!text.contains(alien), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_told_by_field_and_reach_nobody() {
    let rig = Rig::new(true, |method, _| unexpected(method));
    for (tool, input, says) in [
        ("create_task", json!({}), "missing field `title`"),
        (
            "create_task",
            json!({"title": "A", "owner": "ben"}),
            "unknown field `owner`",
        ),
        (
            "create_task",
            json!({"title": "A", "priority": "high"}),
            "`priority`: invalid type: string \"high\"",
        ),
        (
            "spawn_teammate",
            json!({"name": "Ada!"}),
            "`name`: \"Ada!\" is not a member's name",
        ),
        (
            "spawn_teammate",
            json!({"approved": true}),
            "unknown field `approved`",
        ),
        (
            "claim_task",
            json!({"task": 3}),
            "`task`: invalid type: integer `3`",
        ),
        (
            "claim_task",
            json!({"task": "3"}),
            "`task`: \"3\" is not a task's id: T- and a number",
        ),
        (
            "list_tasks",
            json!({"state": "done"}),
            "`state`: unknown variant `done`, expected one of `pending`",
        ),
        (
            "list_tasks",
            json!({"task": "T-1", "owner": "ada"}),
            "`task` shows one task",
        ),
        ("update_task", json!({"task": "T-1"}), "Nothing to change"),
        (
            "update_task",
            json!({"task": "T-1", "title": "B", "note": "x"}),
            "`note` goes with `state`",
        ),
        (
            "wait",
            json!({"for": "tasks", "timeout_s": 0}),
            "`timeout_s` is from 1 to 3600",
        ),
        (
            "wait",
            json!({"for": "tasks", "ids": ["ada"]}),
            "`ids`: \"ada\" is not a task's id",
        ),
        (
            "wait",
            json!({"for": "messages", "ids": ["ada"]}),
            "`ids` goes with tasks or members",
        ),
        (
            "wait",
            json!({"for": "rain"}),
            "`for`: unknown variant `rain`",
        ),
        (
            "read_messages",
            json!({"limit": 3}),
            "`limit` goes with `all`",
        ),
        (
            "send_message",
            json!({"to": "Bob", "text": "x"}),
            "`to`: \"Bob\" is not a member's name",
        ),
    ] {
        let told = rig.refused(tool, input.clone()).await;
        assert!(told.contains(says), "{tool} {input}: {told}");
    }
    assert_eq!(rig.calls(), []);
}

#[tokio::test]
async fn a_refusal_says_why_and_what_to_do() {
    for (code, hint) in [
        (ErrorCode::RunUnderWay, "do something else"),
        // A person would type a command there.
        (
            ErrorCode::UnknownMember,
            "list_teammates shows who is there",
        ),
    ] {
        let rig = Rig::new(true, move |_, _| Err(no(code, "it cannot be")));
        let name = serde_json::to_value(code).unwrap();
        assert_eq!(
            rig.refused("spawn_teammate", json!({})).await,
            format!(
                "Refused ({}): it cannot be\nWhat to do: {hint}",
                name.as_str().unwrap()
            )
        );
    }
}
