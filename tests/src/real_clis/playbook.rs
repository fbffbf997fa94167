//! The script of the models. The last order in the user's texts selects the answer of a model:
//!
//! - `RUN{line}`: runs the shell line, then completes the task
//! - `TRY{line}`: the same, then fails the task: the line is denied
//! - `DONE{}`: completes the task
//! - `LOOP{}`: calls a team tool again and again, until a text or result contains [`MAIL`]
//! - `ANSWER{text}`: answers
//!
//! A request without the team's tools, such as for a title or for the agent's own notes, gets a text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::wire::{Answer, Exchange, Item, Tool};
use crate::fake_model_server::{Reply, Request};

/// A message with this text ends a loop.
pub(super) const MAIL: &str = "Mail during the turn.";

/// The number of calls after which a loop ends without the message.
const LOOP_MAX: usize = 25;

const ORDERS: [&str; 5] = ["RUN{", "TRY{", "DONE{", "LOOP{", "ANSWER{"];

/// The requests that the model of one agent has received.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) requests: usize,
    /// The calls of a loop so far.
    pub(super) loops: usize,
    /// Whether the message arrived within the loop, once the loop is over.
    pub(super) joined: Option<bool>,
    /// Each text of `ANSWER{text}` that was answered, and whether the request contained an earlier order.
    pub(super) answered: HashMap<String, bool>,
}

/// The script, and the requests that it has seen, by the words of the agents.
#[derive(Debug, Clone, Default)]
pub(super) struct Playbook(Arc<Mutex<HashMap<String, Seen>>>);

impl Playbook {
    pub(super) fn seen(&self, word: &str) -> Seen {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(word).cloned().unwrap_or_default()
    }

    /// The reply to a request of any agent.
    pub(super) fn reply(&self, request: &Request) -> Reply {
        let word = request.path.trim_start_matches('/').split('/').next();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.entry(word.unwrap_or_default().to_owned()).or_default();
        // Ignore other requests: agents also count tokens and list models.
        let Some(exchange) = Exchange::of(request) else {
            let counts =
                json!({ "input_tokens": 100, "totalTokens": 100, "data": [], "models": [] });
            return Reply::json(200, &counts);
        };
        seen.requests += 1;
        let answer = answer(&exchange, seen);
        let answer = answer.unwrap_or_else(|| Answer::Text("{\"title\": \"A title\"}".to_owned()));
        exchange.reply(answer, seen.requests)
    }
}

/// An order, and the position of its text in the conversation.
struct Order<'a> {
    at: usize,
    kind: &'static str,
    argument: &'a str,
    /// The task that the text assigns, such as `T-1`.
    task: &'a str,
}

fn order(items: &[Item]) -> Option<Order<'_>> {
    let mut texts = items.iter().enumerate().rev();
    texts.find_map(|(at, item)| {
        let Item::User(text) = item else {
            return None;
        };
        let last = |kind: &'static str| Some((text.rfind(kind)?, kind));
        let (start, kind) = ORDERS.into_iter().filter_map(last).max()?;
        let (argument, _) = text[start + kind.len()..].split_once('}')?;
        let task = text[..start].rsplit_once("own the task ");
        let task = task.map_or("", |(_, rest)| rest.split(':').next().unwrap_or_default());
        Some(Order {
            at,
            kind,
            argument,
            task,
        })
    })
}

/// The answer by the order. `None`: there is no order, or the tools for it are not offered.
fn answer(exchange: &Exchange, seen: &mut Seen) -> Option<Answer> {
    let text = |text: &str| Some(Answer::Text(text.to_owned()));
    let order = self::order(&exchange.items)?;
    // Requests for the agent's own purposes repeat the conversation, but do not offer the team's tools.
    find(&exchange.tools, "complete_task")?;
    let after = &exchange.items[order.at + 1..];
    let calls = after
        .iter()
        .filter(|item| matches!(item, Item::Call))
        .count();
    let result = after.iter().rev().find_map(|item| match item {
        Item::Result(text) => Some(text.as_str()),
        Item::User(_) | Item::Call => None,
    });
    let result = result.unwrap_or("no result");
    let tool = |name: &str| find(&exchange.tools, name);
    let end = |name: &str, field: &str, text: &str| {
        Some(Answer::Call {
            tool: tool(name)?,
            input: json!({ "task": order.task, field: text }),
        })
    };
    match (order.kind, calls) {
        ("RUN{" | "TRY{", 0) => shell(&exchange.tools, order.argument),
        ("RUN{", 1) => end("complete_task", "result", result),
        ("TRY{", 1) => end("fail_task", "reason", result),
        ("DONE{", 0) => end("complete_task", "result", "done"),
        ("LOOP{", _) => {
            let has_mail = |item: &Item| match item {
                Item::User(text) | Item::Result(text) => text.contains(MAIL),
                Item::Call => false,
            };
            let joined = after.iter().any(has_mail);
            if joined || calls >= LOOP_MAX {
                // Only the first end counts: the order stays in the conversation.
                seen.joined.get_or_insert(joined);
                return text("The loop is over.");
            }
            seen.loops = calls + 1;
            let states = ["pending", "in_progress", "completed", "failed"];
            let owners = ["user", "claude", "codex"];
            // Agents stop a model that repeats the same call.
            let input = json!({ "state": states[calls % 4], "owner": owners[calls % 3] });
            let tool = tool("list_tasks")?;
            Some(Answer::Call { tool, input })
        }
        ("ANSWER{", _) => {
            let has_earlier = self::order(&exchange.items[..order.at]).is_some();
            seen.answered.insert(order.argument.to_owned(), has_earlier);
            text(order.argument)
        }
        _ => text("The task is over."),
    }
}

fn find(tools: &[Tool], name: &str) -> Option<Tool> {
    let mut tools = tools.iter();
    tools.find(|tool| tool.name.ends_with(name)).cloned()
}

/// A call of the agent's own tool for shell lines.
fn shell(tools: &[Tool], line: &str) -> Option<Answer> {
    let known = ["Bash", "bash", "run_shell_command", "exec_command"];
    let tool = tools.iter().find(|tool| known.contains(&&*tool.name))?;
    let input = match tool.name.as_str() {
        // Codex asks only about lines that leave its sandbox.
        "exec_command" => json!({ "cmd": line, "sandbox_permissions": "require_escalated",
            "justification": "May the line change a file?" }),
        _ => json!({ "command": line, "description": "Run the line" }),
    };
    Some(Answer::Call {
        tool: tool.clone(),
        input,
    })
}
