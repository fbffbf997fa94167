//! Rules, hooks and MCP servers without a team file.

use std::sync::Arc;

use agent_team::protocol::view::TaskState;
use agent_team::{
    BuildError, HookEvent, McpServer, Member, Mode, PermissionMode, Role, TaskSpec, Team,
};
use serde_json::json;

use crate::scripted::{
    ScriptedEngine, ScriptedModel, call, inputs, lead_that_calls, results, text, within,
};

#[tokio::test]
async fn rules_of_the_builder_decide_calls() {
    let write = |path: &str| ("write", json!({ "path": path, "content": "x" }));
    let calls = vec![write("out/a.txt"), write("out/key.txt"), write("b.txt")];
    let project = tempfile::tempdir().unwrap();
    let team = Team::builder()
        .project(project.path())
        .permission_mode(PermissionMode::Default)
        .allow("Edit(out/**)")
        .deny("Edit(out/key.txt)")
        .ask("WebSearch")
        .model(lead_that_calls(calls));
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("write")).await.unwrap();
    assert!(project.path().join("out/a.txt").exists());
    assert_eq!(result.denied, ["write: out/key.txt", "write: b.txt"]);
}

#[tokio::test]
async fn a_hook_of_the_builder_refuses_a_result() {
    let team = Team::builder()
        .mode(Mode::Manual)
        .member(Member::new("ada"))
        .hook("task_completed", "echo 'no tests' >&2; exit 2")
        .engine(|_| {
            Some(Box::new(ScriptedEngine(Arc::new(
                |_| Ok("done".to_owned()),
            ))))
        });
    let team = within("the team", team.build()).await.unwrap();
    let spec = TaskSpec {
        title: "Build".to_owned(),
        ..TaskSpec::default()
    };
    let task = team.board().add(spec).await.unwrap().task;
    let ended = async {
        loop {
            let task = team.board().show(task).await.unwrap();
            if task.state == TaskState::Failed {
                return task;
            }
            assert_ne!(task.state, TaskState::Completed);
            tokio::task::yield_now().await;
        }
    };
    let failed = within("the refusal", ended).await;
    assert!(format!("{failed:?}").contains("no tests"), "{failed:?}");
}

#[tokio::test]
async fn an_mcp_server_of_the_builder_is_started() {
    // The report about a server that exits contains its error output.
    let server = McpServer::program("local", "/bin/sh")
        .args(["-c", "echo \"started with $MODE\" >&2; exit 3"])
        .env("MODE", "test-mode");
    let model = ScriptedModel::new("scripted/mcp", |prompt| match results(prompt)[..] {
        [] => {
            let seen = inputs(prompt)
                .chain([prompt.system])
                .collect::<Vec<_>>()
                .join("\n");
            call("finish", json!({ "answer": seen }))
        }
        _ => text("Done."),
    });
    let team = Team::builder().model(model).mcp(server);
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("look")).await.unwrap();
    let answer = result.final_answer.unwrap();
    assert!(answer.contains("MCP server local"), "{answer}");
    assert!(answer.contains("started with test-mode"), "{answer}");
}

#[tokio::test]
async fn invalid_settings_fail_the_build() {
    for (team, expected) in [
        (Team::builder().deny("Bash("), "Bash("),
        (Team::builder().hook("no_such", "true"), "no_such"),
        (
            Team::builder().agent_hook(HookEvent::PreTool, "(", "true"),
            "`matcher` is not valid",
        ),
        (
            Team::builder().agent_hook(HookEvent::Stop, "Bash", "true"),
            "has no `matcher`",
        ),
        (
            Team::builder().member(Member::new("ada").compact("no-such/model")),
            "no-such",
        ),
        (
            Team::builder().role(Role::new("helper").compact("no-such/model")),
            "no-such",
        ),
        (Team::builder().mcp(McpServer::program("a__b", "x")), "a__b"),
        (
            Team::builder().mcp(McpServer::http("a", "https://x").header("Authorization", "key")),
            "must not contain the secret",
        ),
    ] {
        let error = team.build().await.unwrap_err();
        assert!(matches!(error, BuildError::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = Team::builder()
        .file("/no/such.toml")
        .allow("Read")
        .build()
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("cannot combine a team file"), "{error}");
}
