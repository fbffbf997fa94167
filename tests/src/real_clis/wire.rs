//! The wires of the models: Messages, Responses, Chat Completions, and Gemini's. Reads a request into plain items, and
//! encodes an answer.

use serde_json::{Value, json};

use crate::fake_model_server::{Reply, Request};

/// An item of a conversation.
#[derive(Debug, Clone)]
pub(super) enum Item {
    User(String),
    Call,
    Result(String),
}

/// A tool that the model may call.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    /// The namespace in which Codex groups the tools of an MCP server.
    namespace: Option<String>,
    pub(super) name: String,
}

/// An answer of the model.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Text(String),
    Call { tool: Tool, input: Value },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Messages,
    Responses,
    Chat,
    Gemini,
}

/// The request of an agent to its model.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    wire: Wire,
    is_streamed: bool,
    pub(super) items: Vec<Item>,
    pub(super) tools: Vec<Tool>,
}

impl Exchange {
    /// Reads a request. `None`: the request asks for no answer of a model.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let path = request.path.split('?').next().unwrap_or_default();
        let body = &request.body;
        let mut is_streamed = body["stream"] == true;
        let (wire, items, tools) = if path.ends_with("/messages") {
            let mut tools = names(&body["tools"]);
            tools.extend(added_tools(body));
            (Wire::Messages, of_messages(body), tools)
        } else if path.ends_with("/responses") {
            (Wire::Responses, of_responses(body), names(&body["tools"]))
        } else if path.ends_with("/chat/completions") {
            let tools = list(&body["tools"]).iter();
            let tools = tools.map(|tool| tool["function"].clone()).collect();
            (Wire::Chat, of_chat(body), names(&Value::Array(tools)))
        } else if path.ends_with("enerateContent") {
            is_streamed = path.ends_with("streamGenerateContent");
            let groups = list(&body["tools"]).iter();
            let tools = groups.flat_map(|group| names(&group["functionDeclarations"]));
            (Wire::Gemini, of_gemini(body), tools.collect())
        } else {
            return None;
        };
        Some(Self {
            wire,
            is_streamed,
            items,
            tools,
        })
    }

    /// Encodes the answer. `number` makes its ids unique.
    pub(super) fn reply(&self, answer: Answer, number: usize) -> Reply {
        match self.wire {
            Wire::Messages => messages(answer, number, self.is_streamed),
            Wire::Responses => responses(answer, number),
            Wire::Chat => chat(answer, number, self.is_streamed),
            Wire::Gemini => gemini(answer, self.is_streamed),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn names(tools: &Value) -> Vec<Tool> {
    let mut found = Vec::new();
    for tool in list(tools) {
        let name = tool["name"].as_str().unwrap_or_default().to_owned();
        if tool["type"] == "namespace" {
            let inner = names(&tool["tools"]).into_iter();
            found.extend(inner.map(|tool| Tool {
                namespace: Some(name.clone()),
                ..tool
            }));
        } else {
            found.push(Tool {
                namespace: None,
                name,
            });
        }
    }
    found
}

/// Tools that Claude Code adds during a conversation, such as those of an MCP server that was slow to start.
fn added_tools(body: &Value) -> impl Iterator<Item = Tool> {
    let messages = list(&body["messages"]).iter();
    let blocks = messages.flat_map(|message| list(&message["content"]));
    let added = blocks.filter(|block| block["type"] == "tool_addition");
    let added = added.filter_map(|block| block["tool"]["name"].as_str());
    added.map(|name| Tool {
        namespace: None,
        name: name.to_owned(),
    })
}

/// The text of a content: a string, or blocks.
fn text(content: &Value) -> String {
    match content.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let texts = list(content).iter().filter_map(|it| it["text"].as_str());
            texts.collect()
        }
    }
}

fn of_messages(body: &Value) -> Vec<Item> {
    let mut items = Vec::new();
    for message in list(&body["messages"]) {
        // Claude Code passes some texts during a turn as messages of the role `system`.
        let is_user = message["role"] != "assistant";
        if let (true, Some(text)) = (is_user, message["content"].as_str()) {
            items.push(Item::User(text.to_owned()));
        }
        for block in list(&message["content"]) {
            match block["type"].as_str() {
                Some("text") if is_user => items.push(Item::User(text(&json!([block])))),
                Some("tool_use") => items.push(Item::Call),
                Some("tool_result") => items.push(Item::Result(text(&block["content"]))),
                _ => {}
            }
        }
    }
    items
}

fn of_responses(body: &Value) -> Vec<Item> {
    let items = list(&body["input"]).iter().filter_map(|item| {
        let is_user = item["role"] == "user";
        match item["type"].as_str().unwrap_or("message") {
            "message" if is_user => Some(Item::User(text(&item["content"]))),
            "function_call" => Some(Item::Call),
            "function_call_output" => Some(Item::Result(text(&item["output"]))),
            _ => None,
        }
    });
    items.collect()
}

fn of_chat(body: &Value) -> Vec<Item> {
    let mut items = Vec::new();
    for message in list(&body["messages"]) {
        match message["role"].as_str() {
            Some("user") => items.push(Item::User(text(&message["content"]))),
            Some("tool") => items.push(Item::Result(text(&message["content"]))),
            _ => items.extend(list(&message["tool_calls"]).iter().map(|_| Item::Call)),
        }
    }
    items
}

fn of_gemini(body: &Value) -> Vec<Item> {
    let mut items = Vec::new();
    for message in list(&body["contents"]) {
        for part in list(&message["parts"]) {
            if part["functionCall"].is_object() {
                items.push(Item::Call);
            } else if part["functionResponse"].is_object() {
                items.push(Item::Result(part["functionResponse"].to_string()));
            } else if let (true, Some(text)) = (message["role"] == "user", part["text"].as_str()) {
                items.push(Item::User(text.to_owned()));
            }
        }
    }
    items
}

fn messages(answer: Answer, number: usize, is_streamed: bool) -> Reply {
    let (block, empty, delta, stop) = match answer {
        Answer::Text(text) => (
            json!({ "type": "text", "text": text }),
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": text }),
            "end_turn",
        ),
        Answer::Call { tool, input } => {
            let id = format!("toolu_{number}");
            (
                json!({ "type": "tool_use", "id": id, "name": tool.name, "input": input }),
                json!({ "type": "tool_use", "id": id, "name": tool.name, "input": {} }),
                json!({ "type": "input_json_delta", "partial_json": input.to_string() }),
                "tool_use",
            )
        }
    };
    let mut message = json!({
        "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": "scripted", "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": 100, "output_tokens": 1 },
    });
    if !is_streamed {
        message["content"] = json!([block]);
        message["stop_reason"] = stop.into();
        return Reply::json(200, &message);
    }
    Reply::named_events(&[
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": empty }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null },
            "usage": { "output_tokens": 10 } }),
        json!({ "type": "message_stop" }),
    ])
}

fn responses(answer: Answer, number: usize) -> Reply {
    let item = match answer {
        Answer::Text(text) => json!({
            "id": format!("msg_{number}"), "type": "message", "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }],
        }),
        Answer::Call { tool, input } => {
            let mut call = json!({
                "id": format!("fc_{number}"), "type": "function_call", "call_id": format!("call_{number}"),
                "name": tool.name, "arguments": input.to_string(),
            });
            if let Some(namespace) = tool.namespace {
                call["namespace"] = namespace.into();
            }
            call
        }
    };
    let id = format!("resp_{number}");
    let usage = json!({
        "input_tokens": 100, "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": 10, "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 110,
    });
    Reply::named_events(&[
        json!({ "type": "response.created", "response": { "id": id } }),
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed",
            "response": { "id": id, "status": "completed", "output": [item], "usage": usage } }),
    ])
}

fn chat(answer: Answer, number: usize, is_streamed: bool) -> Reply {
    let (message, finish) = match answer {
        Answer::Text(text) => (json!({ "role": "assistant", "content": text }), "stop"),
        Answer::Call { tool, input } => {
            let function = json!({ "name": tool.name, "arguments": input.to_string() });
            let call = json!({ "index": 0, "id": format!("call_{number}"), "type": "function",
                "function": function });
            let message = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
            (message, "tool_calls")
        }
    };
    let usage = json!({ "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110 });
    let id = format!("chatcmpl-{number}");
    if !is_streamed {
        let choice = json!({ "index": 0, "message": message, "finish_reason": finish });
        let completion = json!({ "id": id, "object": "chat.completion", "created": 1,
            "model": "scripted", "choices": [choice], "usage": usage });
        return Reply::json(200, &completion);
    }
    let chunk = |choices: Value, usage: Value| {
        json!({ "id": id, "object": "chat.completion.chunk", "created": 1, "model": "scripted",
            "choices": choices, "usage": usage })
        .to_string()
    };
    let choice = |delta: Value, finish: Value| json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
    let begins = chunk(choice(message, Value::Null), Value::Null);
    let ends = chunk(choice(json!({}), finish.into()), Value::Null);
    let counts = chunk(json!([]), usage);
    Reply::events(&[&begins, &ends, &counts, "[DONE]"])
}

fn gemini(answer: Answer, is_streamed: bool) -> Reply {
    let part = match answer {
        Answer::Text(text) => json!({ "text": text }),
        Answer::Call { tool, input } => {
            json!({ "functionCall": { "name": tool.name, "args": input } })
        }
    };
    let content = json!({ "role": "model", "parts": [part] });
    let usage =
        json!({ "promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110 });
    let response = json!({
        "candidates": [{ "content": content, "finishReason": "STOP", "index": 0 }],
        "usageMetadata": usage,
        "modelVersion": "scripted",
    });
    match is_streamed {
        true => Reply::events(&[&response.to_string()]),
        false => Reply::json(200, &response),
    }
}
