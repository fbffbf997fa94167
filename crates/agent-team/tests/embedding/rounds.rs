//! Teams that work in rounds.

use std::sync::{Arc, Mutex};

use agent_team::protocol::view::RunState;
use agent_team::{Member, Mode, Outputs, Team, TeamBuilder};
use serde_json::json;

use crate::scripted::{ScriptedModel, call, inputs, text, within};

type Questions = Arc<Mutex<Vec<String>>>;

/// A lead's model with these replies, and the questions that it was asked.
fn lead(replies: &'static [&'static str]) -> (Member, Questions) {
    let questions = Questions::default();
    let seen = Arc::clone(&questions);
    let model = ScriptedModel::new("scripted/lead", move |prompt| {
        let mut seen = seen.lock().expect("the questions");
        seen.push(inputs(prompt).last().unwrap_or_default().to_owned());
        assert!(
            prompt.tools.is_empty(),
            "the lead of a team in rounds has tools"
        );
        text(
            replies
                .get(seen.len() - 1)
                .copied()
                .unwrap_or("no more replies"),
        )
    });
    (Member::new("boss").model(model), questions)
}

/// A member that completes each task with the name of the member and the id of the task.
fn member(name: &'static str) -> Member {
    let model = ScriptedModel::new(&format!("scripted/{name}"), move |prompt| {
        match prompt.items.last() {
            Some(agent_team::model::Item::Input { text }) if text.contains("T-") => {
                let id: String = text
                    .split("T-")
                    .nth(1)
                    .unwrap_or_default()
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect();
                let result = format!("{name} did T-{id}");
                call(
                    "complete_task",
                    json!({ "task": format!("T-{id}"), "result": result }),
                )
            }
            _ => text("Done."),
        }
    });
    Member::new(name).model(model)
}

fn outputs(result: &agent_team::RunResult) -> Vec<String> {
    let Outputs::ByRound(members) = &result.outputs else {
        panic!("{result:?}")
    };
    let mut outputs: Vec<_> = members.values().flatten().collect();
    outputs.sort_by_key(|output| output.round);
    outputs.iter().map(|output| output.output.clone()).collect()
}

async fn run(builder: TeamBuilder) -> agent_team::RunResult {
    let team = builder.member(member("ada")).member(member("ben"));
    let team = within("the team", team.build()).await.expect("a team");
    let result = within("the answer", team.run("Greet the world")).await;
    result.expect("a result")
}

#[tokio::test]
async fn a_coordinator_routes_rounds_until_it_answers() {
    let (boss, questions) = lead(&["ROUTE: ben\nStart.", "ROUTE: ada", "DONE: hello"]);
    let result = run(Team::builder().mode(Mode::Coordinator).lead(boss)).await;
    assert_eq!(result.final_answer.as_deref(), Some("hello"));
    assert_eq!(outputs(&result), ["ben did T-1", "ada did T-2"]);
    let questions = questions.lock().unwrap();
    assert!(questions[0].contains("Greet the world"), "{questions:?}");
    assert!(questions[2].contains("ada did T-2"), "{questions:?}");
}

#[tokio::test]
async fn a_coordinator_ends_after_its_last_round() {
    let (boss, questions) = lead(&["ROUTE: ada", "ROUTE: eve", "ROUTE: ada"]);
    let team = Team::builder()
        .mode(Mode::Coordinator)
        .max_rounds(2)
        .coordinator_prompt("{task}\n{worker_descriptions}\n{prior_outputs}\nChoose.")
        .lead(boss);
    let result = run(team).await;
    assert_eq!(result.outcome, RunState::MaxRounds);
    assert_eq!(result.final_answer, None);
    assert!(questions.lock().unwrap()[0].contains("Choose."));
}

#[tokio::test]
async fn collaborate_asks_every_member_once_and_summarises() {
    let (boss, questions) = lead(&["Both greeted."]);
    let result = run(Team::builder().mode(Mode::Collaborate).lead(boss)).await;
    assert_eq!(result.final_answer.as_deref(), Some("Both greeted."));
    assert_eq!(outputs(&result), ["ada did T-1", "ben did T-2"]);
    assert!(questions.lock().unwrap()[0].contains("ben did T-2"));
}
