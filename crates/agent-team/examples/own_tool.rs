//! A tool of the program: a model calls it and answers a goal with its result. The example needs no key.
//!
//! `cargo run -p agent-team --example own_tool`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
use agent_team::{CustomTool, Member, Team};
use serde_json::{Value, json};

/// A model that looks up the stock of apples and reports it.
#[derive(Debug)]
struct Clerk;

impl Model for Clerk {
    fn name(&self) -> &str {
        "example/clerk"
    }

    fn window(&self) -> u64 {
        8_000
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        _on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let results: Vec<&str> = prompt.items.iter().filter_map(result).collect();
        let answer = match results[..] {
            [] => call("stock", json!({ "item": "apples" })),
            [stock] => call("finish", json!({ "answer": stock })),
            _ => Answer::default(),
        };
        Box::pin(async move { Ok(answer) })
    }
}

fn result(item: &Item) -> Option<&str> {
    match item {
        Item::Returned { results } => Some(&results[0].text),
        Item::Input { .. } | Item::Shown { .. } | Item::Answered(_) => None,
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

fn stock() -> CustomTool {
    let stock = Arc::new(BTreeMap::from([("apples", 12), ("pears", 7)]));
    let schema = json!({
        "type": "object",
        "properties": { "item": { "type": "string" } },
        "required": ["item"],
    });
    let tool = CustomTool::new(
        "stock",
        "Look up how many pieces of an item are in stock.",
        schema,
        move |input, call| {
            let stock = Arc::clone(&stock);
            async move {
                let item = input["item"].as_str().unwrap_or_default();
                println!("{} looks up {item}", call.member);
                match stock.get(item) {
                    Some(count) => Ok(format!("{count} {item}")),
                    None => Err(format!("There is no item {item:?}.")),
                }
            }
        },
    );
    tool.reads_only()
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let team = Team::builder()
        .lead(Member::new("ada").model(Arc::new(Clerk)))
        .tool(stock())
        .build()
        .await?;
    let result = team.run("How many apples are in stock?").await?;
    println!("answer: {}", result.final_answer.unwrap_or_default());
    team.shutdown().await?;
    Ok(())
}
