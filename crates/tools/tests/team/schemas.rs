//! Tests of the offered tools, of their schemas, and of errors for invalid arguments.

use serde_json::json;

use super::rig::{Rig, refusal, unexpected};
use agent_team_protocol::ErrorCode;

const COMMON: [&str; 14] = [
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
    "ask",
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
async fn tools_outside_the_role_are_not_offered() {
    assert_eq!(
        Rig::new(false, |method, _| unexpected(method)).names(),
        COMMON
    );
    let lead = Rig::new(true, |method, _| unexpected(method));
    assert_eq!(lead.names(), [LEAD.as_slice(), COMMON.as_slice()].concat());
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
        for unsupported in ["\"$ref\"", "\"null\"", "\"anyOf\"", "\"title\":\""] {
            assert!(!text.contains(unsupported), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn invalid_arguments_name_the_field_and_send_nothing() {
    let rig = Rig::new(true, |method, _| unexpected(method));
    for (tool, input, expected) in [
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
            "`note` requires `state`",
        ),
        (
            "wait",
            json!({"for": "tasks", "timeout_s": 0}),
            "`timeout_s` must be between 1 and 3600",
        ),
        (
            "wait",
            json!({"for": "tasks", "ids": ["ada"]}),
            "`ids`: \"ada\" is not a task's id",
        ),
        (
            "wait",
            json!({"for": "messages", "ids": ["ada"]}),
            "`ids` is only for tasks or members",
        ),
        (
            "ask",
            json!({"to": "all", "question": "Tabs?"}),
            "`to`: ask one member",
        ),
        ("ask", json!({"to": "lead", "question": " "}), "is empty"),
        (
            "wait",
            json!({"for": "rain"}),
            "`for`: unknown variant `rain`",
        ),
        (
            "read_messages",
            json!({"limit": 3}),
            "`limit` requires `all`",
        ),
        (
            "send_message",
            json!({"to": "Bob", "text": "x"}),
            "`to`: \"Bob\" is not a member's name",
        ),
    ] {
        let result = rig.refused(tool, input.clone()).await;
        assert!(result.contains(expected), "{tool} {input}: {result}");
    }
    assert_eq!(rig.calls(), []);
}

#[tokio::test]
async fn a_refusal_has_a_reason_and_a_hint() {
    for (code, hint) in [
        (ErrorCode::RunUnderWay, "do something else"),
        // The hint for users is a shell command.
        (
            ErrorCode::UnknownMember,
            "call list_teammates to see the members",
        ),
    ] {
        let rig = Rig::new(true, move |_, _| Err(refusal(code, "it cannot be")));
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
