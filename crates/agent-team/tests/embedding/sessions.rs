//! Sessions: teams that are reopened from a store.

use agent_team::model::Item;
use agent_team::{BuildError, Mode, TaskSpec, Team};

use crate::scripted::{ScriptedModel, call, inputs, text, within};
use serde_json::json;

#[tokio::test]
async fn a_session_restores_the_state_of_its_team() {
    let store = tempfile::tempdir().unwrap();
    let team = |goal: &'static str| {
        let model = ScriptedModel::new("scripted/keeper", move |prompt| {
            let results = prompt.items.iter().rev();
            let calls = results
                .take_while(|item| !matches!(item, Item::Input { text } if text.contains(goal)))
                .filter(|item| matches!(item, Item::Returned { .. }))
                .count();
            let goals = inputs(prompt).filter(|text| text.contains("goal-")).count();
            match calls {
                0 => call("remember", json!({ "key": goal, "value": goals })),
                1 => call("finish", json!({ "answer": format!("{goals} goals") })),
                _ => text("Done."),
            }
        });
        let team = Team::builder().model(model).store(store.path());
        team.session("ada", "payments").build()
    };
    let first = within("the team", team("goal-one")).await.unwrap();
    let id = first.id().clone();
    let spec = TaskSpec {
        title: "Later".to_owned(),
        ..TaskSpec::default()
    };
    let result = within("the answer", first.run("goal-one")).await.unwrap();
    assert_eq!(result.final_answer.as_deref(), Some("1 goals"));
    let lead = result.members[0].name.clone();
    first.members().stop(lead.clone()).await.unwrap();
    first.board().add(spec).await.unwrap();
    let in_use = within("the refusal", team("goal-two")).await;
    assert!(matches!(in_use, Err(BuildError::InUse)), "{in_use:?}");
    first.shutdown().await.unwrap();

    let second = within("the team", team("goal-two")).await.unwrap();
    assert_eq!(*second.id(), id);
    let tasks = second.board().list().await.unwrap();
    assert_eq!(tasks[0].title, "Later");
    let cancelled = second.board().cancel(tasks[0].id).await;
    drop(cancelled);
    let result = within("the answer", second.run("goal-two")).await.unwrap();
    assert_eq!(result.final_answer.as_deref(), Some("2 goals"));
    let messages = second.messages().list(None).await.unwrap();
    assert!(messages.iter().any(|message| message.text == "goal-one"));
    let memory = second.memory().await.unwrap();
    assert_eq!(memory.get("goal-two"), Some(&json!(2)), "{memory:?}");
}

#[tokio::test]
async fn sessions_of_one_store_run_concurrently() {
    let store = tempfile::tempdir().unwrap();
    let team = |session: &str| {
        let team = Team::builder().mode(Mode::Manual).store(store.path());
        team.session("ada", session).build()
    };
    let (one, two) = (team("one").await.unwrap(), team("two").await.unwrap());
    let spec = TaskSpec {
        title: "Mine".to_owned(),
        ..TaskSpec::default()
    };
    one.board().add(spec).await.unwrap();
    assert_eq!(one.board().list().await.unwrap().len(), 1);
    assert_eq!(two.board().list().await.unwrap().len(), 0);
    drop(one);
    let again = team("one").await.unwrap();
    assert_eq!(again.board().list().await.unwrap().len(), 1);
    let fresh = Team::builder().mode(Mode::Manual).store(store.path());
    drop(again);
    let fresh = fresh.session("ada", "one").fresh().build().await.unwrap();
    assert_eq!(fresh.board().list().await.unwrap().len(), 0);
}
