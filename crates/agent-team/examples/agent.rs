//! An agent in this process: a custom model calls a real tool and answers a goal. The example needs no key.
//!
//! `cargo run -p agent-team --example agent`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
use agent_team::{Member, Team};
use serde_json::{Value, json};

/// Writes a file, then finishes the goal.
#[derive(Debug)]
struct Greeter;

impl Model for Greeter {
    fn name(&self) -> &str {
        "example/greeter"
    }

    /// The size of the context window, in tokens.
    fn window(&self) -> u64 {
        8_000
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        _on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let is_result = |item: &&Item| matches!(item, Item::Returned { .. });
        let answer = match prompt.items.iter().filter(is_result).count() {
            0 => call(
                "write",
                json!({ "path": "greeting.txt", "content": "hello\n" }),
            ),
            1 => call("finish", json!({ "answer": "greeting.txt contains hello" })),
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
    let project = tempfile::tempdir()?;
    let team = Team::builder()
        .project(project.path())
        .lead(Member::new("ada").role("worker").model(Arc::new(Greeter)))
        .build()
        .await?;
    let result = team.run("Greet the world").await?;
    println!("answer: {}", result.final_answer.unwrap_or_default());
    let file = std::fs::read_to_string(project.path().join("greeting.txt"))?;
    println!("file: {}", file.trim_end());
    team.shutdown().await?;
    Ok(())
}
