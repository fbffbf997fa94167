//! Tests of the offered tools, of their schemas, and of errors for invalid arguments.

use agent_team_protocol::spec::{TOOLS, with_parts};
use agent_team_tools::{ToolError, skill, web_search};
use serde_json::{Value, json};

use crate::context::Rig;

#[test]
fn the_built_in_tools_are_complete() {
    let offered = Rig::new().tools;
    let names: Vec<_> = offered.iter().map(|tool| &*tool.spec().name).collect();
    assert_eq!(
        names,
        [
            "read",
            "write",
            "edit",
            "apply_patch",
            "glob",
            "grep",
            "git_status",
            "git_diff",
            "todo",
            "notes",
            "note",
            "bash",
            "bash_output",
            "bash_kill",
            "fetch"
        ]
    );
}

#[test]
fn roles_can_name_every_built_in_tool() {
    let mut named = with_parts(&TOOLS.map(str::to_owned));
    // `web_search` is offered only if a search is configured, and `skill` only if there are skills.
    named.retain(|name| ![web_search::NAME, skill::NAME].contains(&name.as_str()));
    named.sort();
    let offered = Rig::new().tools;
    let mut names: Vec<_> = offered
        .iter()
        .map(|tool| tool.spec().name.clone())
        .collect();
    names.sort();
    assert_eq!(names, named);
}

#[test]
fn every_schema_describes_each_field() {
    for tool in &Rig::new().tools {
        let spec = tool.spec();
        let schema = &spec.input;
        assert_eq!(schema["type"], "object", "{schema}");
        assert_eq!(schema["additionalProperties"], false, "{schema}");
        let text = schema.to_string();
        assert!(!text.contains("null") && !text.contains("$ref"), "{text}");
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            assert!(field["type"].is_string(), "{}.{name}: {field}", spec.name);
            assert!(field["description"].is_string(), "{}.{name}", spec.name);
        }
    }
}

#[tokio::test]
async fn invalid_arguments_name_the_field_and_the_schema() {
    let rig = Rig::new();
    let takes = "read takes {limit?: integer, offset?: integer, path: string}";
    let cases: [(&str, Value, &[&str]); 6] = [
        ("read", json!({}), &["missing field `path`", takes]),
        ("read", json!(null), &["missing field `path`"]),
        (
            "read",
            json!({"pth": "x"}),
            &["unknown field `pth`", "`path`", takes],
        ),
        (
            "read",
            json!({"path": "x", "limit": "ten"}),
            &["`limit`", "\"ten\"", takes],
        ),
        ("read", json!("x"), &["expected struct", takes]),
        (
            "todo",
            json!({"items": [{"text": "x", "state": "begun"}]}),
            &["`items[0].state`", "`begun`", "in_progress"],
        ),
    ];
    for (tool, input, expected) in cases {
        let error = rig.call(tool, input.clone()).await.unwrap_err();
        assert!(matches!(error, ToolError::Input(_)), "{error:?}");
        for part in expected {
            assert!(error.to_string().contains(part), "{input}: {error}");
        }
    }
}
