//! Goals with memory, variables and an effort of their own, in one team. The example needs no key.
//!
//! `cargo run -p agent-team --example goals`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
use agent_team::{Effort, Goal, Member, Team};
use serde_json::{Value, json};

/// A model that reads the memory of the goal, and answers with what it has received.
#[derive(Debug)]
struct Clerk;

impl Model for Clerk {
    fn name(&self) -> &str {
        "example/clerk"
    }

    /// With a smaller window, the model would not be offered `recall`.
    fn window(&self) -> u64 {
        32_000
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        _on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let tone = match prompt.system.contains("Be polite.") {
            true => "polite",
            false => "terse",
        };
        // A model of a provider receives the effort in a field of the request.
        let effort = prompt.effort.map_or("as configured", Effort::name);
        let answer = match prompt.items.last() {
            Some(Item::Input { .. }) => call("recall", json!({ "key": "customer" })),
            Some(Item::Returned { results }) if results[0].text.starts_with('"') => {
                let customer = &results[0].text;
                let answer = format!("{customer}, tone {tone}, effort {effort}");
                call("finish", json!({ "answer": answer }))
            }
            _ => Answer::default(),
        };
        Box::pin(async move { Ok(answer) })
    }
}

fn call(name: &str, input: Value) -> Answer {
    let call = ToolCall {
        id: format!("call-{name}"),
        name: name.to_owned(),
        input: input.to_string(),
    };
    Answer {
        calls: vec![call],
        stop: Stop::Calls,
        ..Answer::default()
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let lead = Member::new("ada").prompt("Be {{tone}}.");
    let team = Team::builder()
        .variable("tone", "terse")
        .lead(lead.model(Arc::new(Clerk)))
        .build()
        .await?;
    for goal in [
        Goal::new("Answer the first customer").memory("customer", "Otter Ltd"),
        Goal::new("Answer the second customer")
            .memory("customer", "Heron Ltd")
            .variable("tone", "polite")
            .effort(Effort::High),
        Goal::new("Answer the third customer").memory("customer", "Crane Ltd"),
    ] {
        let result = team.run(goal).await?;
        println!("answer: {}", result.final_answer.unwrap_or_default());
    }
    team.shutdown().await?;
    Ok(())
}
