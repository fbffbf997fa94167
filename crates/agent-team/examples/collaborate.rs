//! Members work on a goal one after another; the lead's model writes a synthesis. The example needs no key.
//!
//! `cargo run -p agent-team --example collaborate`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
use agent_team::{Member, Mode, Outputs, Team};
use serde_json::json;

/// The lead's model. It has no tools: its reply is the answer.
#[derive(Debug)]
struct Editor;

impl Model for Editor {
    fn name(&self) -> &str {
        "example/editor"
    }

    fn window(&self) -> u64 {
        8_000
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        _on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let question = prompt.items.iter().rev().find_map(input);
        let names = ["Otter", "Heron"].map(|name| question.is_some_and(|it| it.contains(name)));
        let text = format!(
            "It has read about Otter: {}, about Heron: {}.",
            names[0], names[1]
        );
        Box::pin(async move {
            Ok(Answer {
                text,
                ..Answer::default()
            })
        })
    }
}

/// A member's model: completes the task of its round with this result.
#[derive(Debug)]
struct Namer {
    name: &'static str,
    task: &'static str,
    result: &'static str,
}

impl Model for Namer {
    fn name(&self) -> &str {
        self.name
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
            input: json!({ "task": self.task, "result": self.result }).to_string(),
        };
        let answer = match prompt.items.last().and_then(input) {
            Some(_) => Answer {
                calls: vec![complete],
                stop: Stop::Calls,
                ..Answer::default()
            },
            None => Answer {
                text: "Done.".to_owned(),
                ..Answer::default()
            },
        };
        Box::pin(async move { Ok(answer) })
    }
}

fn input(item: &Item) -> Option<&str> {
    match item {
        Item::Input { text } => Some(text),
        Item::Shown { .. } | Item::Answered(_) | Item::Returned { .. } => None,
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let member = |member, name, task, result| {
        let model = Arc::new(Namer { name, task, result });
        Member::new(member).model(model)
    };
    let team = Team::builder()
        .mode(Mode::Collaborate)
        .lead(Member::new("boss").model(Arc::new(Editor)))
        .member(member("ada", "example/ada", "T-1", "Otter"))
        .member(member("ben", "example/ben", "T-2", "Heron"))
        .build()
        .await?;
    let result = team.run("Find names for the program").await?;
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
