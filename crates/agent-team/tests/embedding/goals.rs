//! Goals with memory and variables of their own, and spawned members.

use std::sync::{Arc, Mutex};

use agent_team::{BuildError, Effort, Goal, Member, Role, RunError, Spawn, TaskSpec, Team};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use serde_json::json;

use crate::scripted::{ScriptedModel, call, inputs, lead_that_calls, results, text, within};

#[tokio::test]
async fn members_read_the_memory_of_a_goal() {
    let team = Team::builder().model(lead_that_calls(vec![("recall", json!({ "key": "issue" }))]));
    let team = within("the team", team.build()).await.unwrap();
    let goal = Goal::new("read it").memory("issue", json!({ "number": 7 }));
    let result = within("the answer", team.run(goal)).await.unwrap();
    assert_eq!(result.final_answer.as_deref(), Some("{\"number\":7}"));
    let large = Goal::new("too large").memory("issue", "x".repeat(70_000));
    let refused = within("the refusal", team.run(large)).await.unwrap_err();
    assert!(matches!(refused, RunError::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn variables_of_a_goal_fill_prompts_for_one_run() {
    let system = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&system);
    let model = ScriptedModel::new("scripted/tone", move |prompt| {
        prompt.system.clone_into(&mut seen.lock().unwrap());
        match prompt.items.last() {
            Some(agent_team::model::Item::Input { .. }) => {
                call("finish", json!({ "answer": "ok" }))
            }
            _ => text("Done."),
        }
    });
    let team = Team::builder()
        .variable("tone", "terse")
        .lead(Member::new("boss").prompt("Be {{tone}}.").model(model));
    let team = within("the team", team.build()).await.unwrap();
    for (goal, expected) in [
        (Goal::new("one"), "Be terse."),
        (Goal::new("two").variable("tone", "polite"), "Be polite."),
        (Goal::new("three"), "Be terse."),
    ] {
        let result = within("the answer", team.run(goal)).await.unwrap();
        assert_eq!(result.final_answer.as_deref(), Some("ok"));
        let system = system.lock().unwrap().clone();
        assert!(system.contains(expected), "{system}");
    }
}

#[tokio::test]
async fn members_are_spawned_with_their_own_settings() {
    let system = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&system);
    let model = ScriptedModel::new("scripted/spawned", move |prompt| {
        prompt.system.clone_into(&mut seen.lock().unwrap());
        let is_asked = inputs(prompt).any(|text| text.contains("T-1"));
        match results(prompt)[..] {
            [] if is_asked => call("write", json!({ "path": "out.txt", "content": "x" })),
            [_] => call("complete_task", json!({ "task": "T-1", "result": "done" })),
            _ => text("Done."),
        }
    });
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir(project.path().join("api")).unwrap();
    let team = Team::builder()
        .project(project.path())
        .role(Role::new("helper").model(ScriptedModel::shouting()))
        .lead(Member::new("boss").model(ScriptedModel::shouting_as("scripted/boss")))
        .role(Role::new("reviewer").model(model));
    let team = within("the team", team.build()).await.unwrap();
    let helper = Spawn::of("helper".parse().unwrap(), Some("eve".parse().unwrap()));
    team.members().spawn_with(helper).await.unwrap();
    let spawn = Spawn {
        prompt: Some("Review only the tests.".to_owned()),
        effort: Some(Effort::High),
        cwd: Some("api".into()),
        ..Spawn::of("reviewer".parse().unwrap(), Some("ben".parse().unwrap()))
    };
    let ben = team.members().spawn_with(spawn).await.unwrap();
    assert_eq!(ben.effort, Some(Effort::High));
    let task = TaskSpec {
        title: "Write".to_owned(),
        assignee: Some(ben.name),
        ..TaskSpec::default()
    };
    let task = team.board().add(task).await.unwrap().task;
    let done = async {
        while team.board().show(task).await.unwrap().result.is_none() {
            tokio::task::yield_now().await;
        }
    };
    within("the task", done).await;
    assert!(project.path().join("api/out.txt").exists());
    let has_model = async {
        loop {
            let members = team.members().list().await.unwrap();
            let eve = members.iter().find(|member| member.name.as_str() == "eve");
            if let Some(model) = eve.and_then(|eve| eve.model.clone()) {
                return model;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(within("the model", has_model).await, "scripted/shouting");
    let system = system.lock().unwrap().clone();
    assert!(system.contains("Review only the tests."), "{system}");

    let unknown = Spawn {
        model: Some("no-such/model".to_owned()),
        ..Spawn::of("helper".parse().unwrap(), None)
    };
    let error = team.members().spawn_with(unknown).await.unwrap_err();
    assert!(error.to_string().contains("no-such"), "{error}");
}

#[tokio::test]
async fn a_spawned_member_uses_its_own_model() {
    let server = FakeModelServer::start(by_model([(
        "gpt-own",
        vec![
            Reply::call(
                "complete_task",
                json!({ "task": "T-1", "result": "by wire" }),
            ),
            Reply::text("Done."),
        ],
    )]));
    let server = server.await;
    let team = Team::builder()
        .clear_env()
        .env("OPENAI_BASE_URL", server.base_url())
        .env("OPENAI_API_KEY", "sk-test")
        .lead(Member::new("boss").model(ScriptedModel::shouting_as("scripted/boss")))
        .role(Role::new("helper").model(ScriptedModel::shouting()));
    let team = within("the team", team.build()).await.unwrap();
    let spawn = Spawn {
        model: Some("openai/gpt-own".to_owned()),
        ..Spawn::of("helper".parse().unwrap(), Some("eve".parse().unwrap()))
    };
    let eve = team.members().spawn_with(spawn).await.unwrap();
    assert_eq!(eve.model.as_deref(), Some("openai/gpt-own"));
    let task = TaskSpec {
        title: "Write".to_owned(),
        assignee: Some(eve.name),
        ..TaskSpec::default()
    };
    let task = team.board().add(task).await.unwrap().task;
    let result = async {
        loop {
            if let Some(result) = team.board().show(task).await.unwrap().result {
                return result;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(within("the task", result).await, "by wire");
}

#[tokio::test]
async fn two_models_of_one_name_are_refused() {
    let member = |name| Member::new(name).model(ScriptedModel::shouting());
    let build = Team::builder()
        .lead(member("boss"))
        .member(member("ada"))
        .build();
    let error = build.await.unwrap_err();
    let BuildError::Invalid(faults) = &error else {
        panic!("{error:?}")
    };
    assert!(faults[0].contains("two models have the name"), "{faults:?}");
}
