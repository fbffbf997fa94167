//! Your own agent loop as a member of the team: it reads the JSON schemas of the team tools and runs the calls of its
//! model. The example needs no key.
//!
//! `cargo run -p agent-team --example own_loop`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;

use agent_team::{
    Assignment, DeliveredMessage, Engine, EngineFuture, Member, TaskResult, Team, TeamHandle,
    TeamTools,
};
use serde_json::{Value, json};

/// The call that a model makes next, from the results so far. A real loop sends `tools.specs()` and the results to its
/// model here.
fn next_call(results: &[String]) -> Option<(&'static str, Value)> {
    match results.len() {
        0 => Some(("remember", json!({ "key": "language", "value": "Rust" }))),
        1 => Some(("recall", json!({ "key": "language" }))),
        2 => Some(("finish", json!({ "answer": format!("use {}", results[1]) }))),
        _ => None,
    }
}

async fn run_loop(tools: TeamTools) {
    let schemas = tools.specs();
    println!(
        "finish is offered: {}",
        schemas.iter().any(|tool| tool.name == "finish")
    );
    let mut results = Vec::new();
    while let Some((name, input)) = next_call(&results) {
        let result = tools.call(name, input).await;
        // A model reads errors too.
        let result = result.unwrap_or_else(|error| error.to_string());
        println!("{name}: {}", result.lines().next().unwrap_or_default());
        results.push(result);
    }
}

struct ForeignLoop;

impl Engine for ForeignLoop {
    fn work<'a>(
        &'a mut self,
        _task: &'a Assignment,
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, TaskResult> {
        Box::pin(async move {
            run_loop(team.team_tools()).await;
            Ok("done".to_owned())
        })
    }

    fn receive<'a>(
        &'a mut self,
        _messages: &'a [DeliveredMessage],
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, ()> {
        Box::pin(run_loop(team.team_tools()))
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let team = Team::builder()
        .lead(Member::new("ada"))
        .engine(|_member| Some(Box::new(ForeignLoop)))
        .build()
        .await?;
    let result = team.run("Choose a language").await?;
    println!("answer: {}", result.final_answer.unwrap_or_default());
    team.shutdown().await?;
    Ok(())
}
