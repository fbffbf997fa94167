//! A team in rounds: the lead's model chooses the member of each round, or gives the answer. The example needs no key.
//!
//! `cargo run -p agent-team --example coordinator`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
use agent_team::{Member, Mode, Outputs, Team};
use serde_json::json;

/// The lead's model. It has no tools: the first line of its reply is `ROUTE: <member>` or `DONE: <answer>`.
#[derive(Debug, Default)]
struct Coordinator {
    rounds: AtomicUsize,
}

impl Model for Coordinator {
    fn name(&self) -> &str {
        "example/coordinator"
    }

    fn window(&self) -> u64 {
        8_000
    }

    fn answer<'a>(
        &'a self,
        _prompt: Prompt<'a>,
        _on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let text = match self.rounds.fetch_add(1, Ordering::Relaxed) {
            0 => "ROUTE: ada\nFind a name.",
            _ => "DONE: The name is Otter.",
        };
        let text = text.to_owned();
        Box::pin(async move {
            Ok(Answer {
                text,
                ..Answer::default()
            })
        })
    }
}

/// The model of `ada`: completes the task of the round.
#[derive(Debug)]
struct Namer;

impl Model for Namer {
    fn name(&self) -> &str {
        "example/namer"
    }

    fn window(&self) -> u64 {
        8_000
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        _on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let complete = ToolCall {
            id: "call-1".to_owned(),
            name: "complete_task".to_owned(),
            input: json!({ "task": "T-1", "result": "Otter" }).to_string(),
        };
        let answer = match prompt.items.last() {
            Some(Item::Input { .. }) => Answer {
                calls: vec![complete],
                stop: Stop::Calls,
                ..Answer::default()
            },
            _ => Answer {
                text: "Done.".to_owned(),
                ..Answer::default()
            },
        };
        Box::pin(async move { Ok(answer) })
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let team = Team::builder()
        .mode(Mode::Coordinator)
        .lead(Member::new("boss").model(Arc::new(Coordinator::default())))
        .member(Member::new("ada").model(Arc::new(Namer)))
        .build()
        .await?;
    let result = team.run("Find a name for the program").await?;
    if let Outputs::ByRound(members) = result.outputs {
        for (member, rounds) in members {
            for round in rounds {
                println!("round {}: {member}: {}", round.round, round.output);
            }
        }
    }
    println!("answer: {}", result.final_answer.unwrap_or_default());
    team.shutdown().await?;
    Ok(())
}
