//! Limits of a member: rules, a lifecycle hook, and the tools of an MCP server. The example needs no key.
//!
//! `cargo run -p agent-team --example guard`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
use agent_team::{HookEvent, McpServer, Member, Team};
use serde_json::{Value, json};

/// Refuses every change of a file named `.env`. The hook receives the call as JSON on stdin.
const HOOK: &str =
    "if grep -q '/[.]env\"'; then echo 'cannot change .env: it contains secrets' >&2; exit 2; fi";

/// An MCP server as a shell script: one JSON object per line. Write a real server with a library of MCP.
const SERVER: &str = r#"
while read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    [ -n "$id" ] || continue
    case $line in
    *'"initialize"'*) answer='"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"stock","version":"1"}}' ;;
    *'"tools/list"'*) answer='"result":{"tools":[{"name":"count","description":"Count apples.","inputSchema":{"type":"object"}}]}' ;;
    *'"tools/call"'*) answer='"result":{"content":[{"type":"text","text":"12 apples"}]}' ;;
    *) answer='"error":{"code":-32601,"message":"unknown method"}' ;;
    esac
    printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$answer"
done
"#;

/// A model that makes four calls, then finishes the goal with the last result.
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
        let write = |path| call("write", json!({ "path": path, "content": "hello\n" }));
        let results: Vec<&str> = prompt.items.iter().filter_map(result).collect();
        let answer = match results[..] {
            [] => write("greeting.txt"),
            [_] => write("release.txt"),
            [_, _] => write(".env"),
            [.., refused] if results.len() == 3 => {
                println!("{}", refused.lines().next().unwrap_or_default());
                call("mcp__stock__count", json!({}))
            }
            [.., stock] if results.len() == 4 => call("finish", json!({ "answer": stock })),
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
        id: format!("call-{name}-{}", input["path"]),
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
    let stock = McpServer::program("stock", "/bin/sh").args(["-c", SERVER]);
    let team = Team::builder()
        .project(project.path())
        .deny("Edit(release.txt)")
        .allow("mcp__stock__count")
        .agent_hook(HookEvent::PreTool, "Edit|Write", HOOK)
        .mcp(stock.timeout_s(30).search(false))
        .lead(Member::new("ada").mcp(["stock"]).model(Arc::new(Clerk)))
        .build()
        .await?;
    let result = team.run("Count the apples").await?;
    for path in ["greeting.txt", "release.txt", ".env"] {
        println!("{path}: {}", project.path().join(path).exists());
    }
    println!("denied: {}", result.denied.join(", "));
    println!("answer: {}", result.final_answer.unwrap_or_default());
    team.shutdown().await?;
    Ok(())
}
