//! The events of a run: a custom engine creates a task, does it, and answers the goal.
//!
//! `cargo run -p agent-team --example events`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;

use agent_team::protocol::Party;
use agent_team::{
    Assignment, DeliveredMessage, Engine, EngineFuture, Member, Mode, TaskResult, TaskSpec, Team,
    TeamHandle,
};

/// Counts the letters of each task's title. As the lead it turns a goal into a task.
struct Counter;

impl Engine for Counter {
    fn work<'a>(
        &'a mut self,
        task: &'a Assignment,
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, TaskResult> {
        Box::pin(async move {
            let letters = format!("{} letters", task.title.len());
            team.finish(&letters, true)
                .await
                .map_err(|refusal| refusal.to_string())?;
            Ok(letters)
        })
    }

    fn receive<'a>(
        &'a mut self,
        messages: &'a [DeliveredMessage],
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            for goal in messages
                .iter()
                .filter(|message| message.from == Party::User)
            {
                let task = TaskSpec {
                    title: goal.text.clone(),
                    assignee: Some(team.member().clone()),
                    ..TaskSpec::default()
                };
                if let Err(refusal) = team.create_task(task).await {
                    team.print(&refusal.to_string());
                }
            }
        })
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let team = Team::builder()
        .mode(Mode::Manual)
        .lead(Member::new("ada"))
        .engine(|_member| Some(Box::new(Counter)))
        .build()
        .await?;
    let mut events = team.run_streaming("Hello").await?;
    while let Some(envelope) = events.next().await {
        let event = serde_json::to_value(&envelope.event)?;
        let name = event["name"].as_str().unwrap_or_default();
        println!("{} {name}", event["type"].as_str().unwrap_or_default());
    }
    team.shutdown().await?;
    Ok(())
}
