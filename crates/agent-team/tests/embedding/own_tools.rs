//! Tools of the embedding program.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_team::{BuildError, CustomTool, Member, PermissionMode, Team};
use serde_json::{Value, json};

use crate::scripted::{ScriptedModel, call, lead_that_calls, results, text, within};

fn object() -> Value {
    json!({ "type": "object", "properties": { "of": { "type": "string" } } })
}

#[tokio::test]
async fn a_custom_tool_receives_the_call_and_hides_secrets() {
    let project = tempfile::tempdir().unwrap();
    let directory = project.path().canonicalize().unwrap();
    let tool = CustomTool::new(
        "look_up",
        "Look up a value.",
        object(),
        move |input, call| {
            let is_here = call.directory == directory;
            async move {
                Ok(format!(
                    "{} {is_here} {}: open-sesame-42",
                    call.member, input["of"]
                ))
            }
        },
    );
    let calls = vec![("look_up", json!({ "of": "door" }))];
    let team = Team::builder()
        .project(project.path())
        .secret("TOKEN", "open-sesame-42")
        .lead(Member::new("boss").model(lead_that_calls(calls)))
        .tool(tool);
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("look it up")).await.unwrap();
    assert_eq!(
        result.final_answer.as_deref(),
        Some("boss true \"door\": [secret TOKEN]")
    );
}

#[tokio::test]
async fn errors_and_panics_of_custom_tools_reach_the_model() {
    let fails = CustomTool::new("fails", "Fail.", object(), |_, _| async {
        Err("no such door".to_owned())
    });
    let panics = CustomTool::new("panics", "Panic.", object(), |input, _| async move {
        Ok(input["of"].as_str().unwrap().to_owned())
    });
    let model = ScriptedModel::new("scripted/unlucky", |prompt| match results(prompt)[..] {
        [] => call("fails", json!({})),
        [_] => call("panics", json!({})),
        [error, panic] => call("finish", json!({ "answer": format!("{error}; {panic}") })),
        _ => text("Done."),
    });
    let team = Team::builder().model(model).tool(fails).tool(panics);
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("try")).await.unwrap();
    let answer = result.final_answer.unwrap();
    assert!(
        answer.starts_with("no such door; the tool panicked"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_custom_tool_can_need_permission() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let deploy = CustomTool::new("deploy", "Deploy.", object(), move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok("deployed".to_owned()) }
    });
    let deploy = deploy.needs_permission();
    for (mode, expected) in [
        (PermissionMode::AcceptEdits, "unattended: no user to ask"),
        (PermissionMode::Bypass, "deployed"),
    ] {
        let model = lead_that_calls(vec![("deploy", json!({}))]);
        let team = Team::builder()
            .model(model)
            .permission_mode(mode)
            .tool(deploy.clone());
        let team = within("the team", team.build()).await.unwrap();
        let result = within("the answer", team.run("deploy")).await.unwrap();
        let answer = result.final_answer.unwrap();
        assert!(answer.contains(expected), "{answer}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the denied call ran");
}

#[tokio::test]
async fn a_custom_tool_is_offered_to_chosen_members() {
    let model = ScriptedModel::new("scripted/lister", |prompt| {
        let offered = prompt.tools.iter().any(|tool| tool.name == "look_up");
        match results(prompt)[..] {
            [] => call("finish", json!({ "answer": offered.to_string() })),
            _ => text("Done."),
        }
    });
    for lead in ["ada", "boss"] {
        let tool = CustomTool::new("look_up", "Look up.", object(), |_, _| async {
            Ok(String::new())
        });
        let team = Team::builder()
            .lead(Member::new(lead).model(model.clone()))
            .tool_for(tool, |member| member.name.as_str() == "ada");
        let team = within("the team", team.build()).await.unwrap();
        let result = within("the answer", team.run("list")).await.unwrap();
        let expected = (lead == "ada").to_string();
        assert_eq!(result.final_answer, Some(expected));
    }
}

#[tokio::test]
async fn a_custom_tool_must_not_replace_a_team_tool() {
    let tool = CustomTool::new("complete_task", "Mine.", object(), |_, _| async {
        Ok(String::new())
    });
    let error = Team::builder().tool(tool).build().await.unwrap_err();
    let BuildError::Invalid(faults) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        faults[..],
        ["the tool name \"complete_task\" is already used"]
    );
}
