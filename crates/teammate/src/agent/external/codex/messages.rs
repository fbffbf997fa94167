//! The messages and requests of the app-server of Codex. Called by `codex`.

use agent_team_client::json_rpc::{Incoming, Responder};
use serde_json::{Value, json};

use super::super::channel::Event;
use super::super::wire::{ContentBlock, PlanEntry, SessionUpdate, ToolCall};
use super::Codex;
use super::items::{ItemChanges, McpCall, call, changes};
use super::turns::failure;

const METHOD_NOT_FOUND: i64 = -32601;

/// The largest number of items whose changes are kept.
const CHANGES_MAX: usize = 64;

/// The fields of notifications without which a turn cannot be followed.
const FIELDS: &[(&str, &[&str])] = &[
    ("turn/started", &["/threadId", "/turn/id"]),
    ("turn/completed", &["/threadId", "/turn/id"]),
    (
        "item/started",
        &["/threadId", "/turnId", "/item/id", "/item/type"],
    ),
    (
        "item/completed",
        &["/threadId", "/turnId", "/item/id", "/item/type"],
    ),
    ("serverRequest/resolved", &["/requestId"]),
];

impl Codex {
    pub(super) fn incoming(&mut self, incoming: Incoming) {
        let Incoming {
            method,
            mut params,
            responder,
            ..
        } = incoming;
        match responder {
            Some(responder) => {
                // A request of an MCP server may name no turn. Such a request belongs to the turn of the conversation.
                if let (Some(fields), Some(turn)) = (params.as_object_mut(), &self.turn)
                    && fields.get("turnId").is_none_or(Value::is_null)
                {
                    fields.insert("turnId".to_owned(), turn.id.clone().into());
                }
                self.asked(&method, &params, responder);
            }
            None => self.notified(&method, &params),
        }
    }

    fn asked(&mut self, method: &str, params: &Value, responder: Responder) {
        if params["threadId"] == *self.thread {
            self.in_turn(&params["turnId"]);
            self.follow(String::new());
        }
        let item = params["itemId"].as_str().unwrap_or_default();
        let question = match method {
            "item/commandExecution/requestApproval" => self.approvals.command(params, responder),
            "item/fileChange/requestApproval" => {
                let changes = self.changes.get(item).map(|item| &*item.changes);
                match self.approvals.change(params, changes, responder) {
                    Ok(question) => question,
                    Err(line) => return self.ready.push_back(Event::Notice(line.to_owned())),
                }
            }
            "item/permissions/requestApproval" => self.approvals.permissions(params, responder),
            "mcpServer/elicitation/request"
                if params["_meta"]["codex_approval_kind"] == "mcp_tool_call" =>
            {
                let (server, tool) = (&params["serverName"], &params["_meta"]["tool_name"]);
                let mut calls = self.mcp_calls.iter().rev();
                let call = calls.find(|call| call.server == *server && call.tool == *tool);
                let item = call.map(|call| call.item.clone());
                self.approvals.mcp_call(params, item, responder)
            }
            "item/tool/requestUserInput" | "mcpServer/elicitation/request" => {
                // Only the user can answer. An error would count as the first answer.
                responder.leave_unanswered();
                let line = "Codex asks you in its own dialog".to_owned();
                return self.ready.push_back(Event::Notice(line));
            }
            _ => {
                return responder.refuse(METHOD_NOT_FOUND, "this client does not offer the method");
            }
        };
        self.ready.extend(question.map(Event::Permission));
    }

    fn notified(&mut self, method: &str, params: &Value) {
        let fields = FIELDS.iter().find(|(known, _)| *known == method);
        let mut fields = fields.iter().flat_map(|(_, fields)| *fields);
        if let Some(field) = fields.find(|field| params.pointer(field).is_none_or(Value::is_null)) {
            let why = format!(
                "it sent an invalid message: {method} has no {}",
                &field[1..]
            );
            return self.ready.push_back(Event::Unusable(why));
        }
        let item = &params["item"];
        match method {
            "thread/started" => return self.thread_started(&params["thread"]),
            "thread/status/changed" => return self.thread_changed(params),
            "serverRequest/resolved" => return self.approvals.resolved(&params["requestId"]),
            "mcpServer/startupStatus/updated" if params["status"] == "failed" => {
                let name = params["name"].as_str().unwrap_or_default();
                let why = params["error"].as_str().unwrap_or("no reason");
                let line = format!("Codex cannot start its MCP server {name}: {why}");
                return self.ready.push_back(Event::Notice(line));
            }
            // Items of Codex's helpers, too, can need an approval.
            "item/started" => self.item_asks(params),
            "item/completed" => self.item_ended(item),
            "turn/completed" => {
                self.forget_turn(params["turn"]["id"].as_str().unwrap_or_default());
            }
            "item/commandExecution/outputDelta" => {
                let item = params["itemId"].as_str().unwrap_or_default();
                self.approvals.item_runs(item);
            }
            "item/fileChange/patchUpdated" => {
                self.keep_changes(&params["itemId"], params, params);
            }
            _ => {}
        }
        if params["threadId"] != *self.thread {
            return;
        }
        if method.starts_with("turn/") || method.starts_with("item/") {
            self.turn_is_reported();
        }
        match method {
            "turn/started" => self.in_turn(&params["turn"]["id"]),
            "turn/completed" => self.turn_ended(&params["turn"]),
            "thread/settings/updated" => self.keep_settings(&params["threadSettings"]),
            "error" if params["willRetry"] == true => {
                let why = failure(&params["error"]);
                self.ready
                    .push_back(Event::Notice(format!("Codex retries: {why}")));
            }
            "thread/tokenUsage/updated" => self.used(params),
            "item/started" | "item/completed" => {
                self.in_turn(&params["turnId"]);
                self.item(item, method == "item/completed");
            }
            "item/agentMessage/delta" => {
                self.in_turn(&params["turnId"]);
                if let Some(turn) = &mut self.turn {
                    let id = params["itemId"].as_str().unwrap_or_default();
                    turn.message = Some((id.to_owned(), true));
                }
                self.show(&params["delta"], |content| {
                    SessionUpdate::AgentMessageChunk {
                        content,
                        meta: Value::Null,
                    }
                });
            }
            "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" => {
                self.show(&params["delta"], |content| {
                    SessionUpdate::AgentThoughtChunk { content }
                });
            }
            "turn/plan/updated" => {
                let steps = params["plan"].as_array().into_iter().flatten();
                let entries = steps.map(|step| PlanEntry {
                    content: step["step"].as_str().unwrap_or_default().to_owned(),
                });
                let entries = entries.collect();
                self.update(SessionUpdate::Plan { entries });
            }
            _ => {}
        }
    }

    /// Keeps the parts of an item that a later question about it shows.
    fn item_asks(&mut self, params: &Value) {
        let item = &params["item"];
        match item["type"].as_str() {
            Some("fileChange") => self.keep_changes(&item["id"], params, item),
            Some("mcpToolCall") if self.mcp_calls.len() < CHANGES_MAX => {
                self.mcp_calls.push(McpCall {
                    item: item["id"].as_str().unwrap_or_default().to_owned(),
                    turn: params["turnId"].clone(),
                    server: item["server"].clone(),
                    tool: item["tool"].clone(),
                });
            }
            _ => {}
        }
    }

    fn keep_changes(&mut self, id: &Value, params: &Value, item: &Value) {
        if let (Some(id), Some(changes)) = (id.as_str(), changes(item))
            && (self.changes.len() < CHANGES_MAX || self.changes.contains_key(id))
        {
            let turn = params["turnId"].clone();
            self.changes
                .insert(id.to_owned(), ItemChanges { turn, changes });
        }
    }

    /// Drops the questions, changes and calls of a turn that has ended.
    pub(super) fn forget_turn(&mut self, turn: &str) {
        self.approvals.clear(turn);
        self.changes.retain(|_, item| item.turn != turn);
        self.mcp_calls.retain(|call| call.turn != turn);
    }

    fn item_ended(&mut self, item: &Value) {
        let id = item["id"].as_str().unwrap_or_default();
        self.changes.remove(id);
        self.mcp_calls.retain(|call| call.item != id);
        let line = self.approvals.item_ended(id, item);
        self.ready
            .extend(line.map(|line| Event::Notice(line.to_owned())));
    }

    /// Shows an item of the conversation.
    fn item(&mut self, item: &Value, is_over: bool) {
        let id = item["id"].as_str().unwrap_or_default();
        match item["type"].as_str() {
            Some("userMessage") if is_over => return,
            Some("userMessage") => return self.taken(item),
            Some("agentMessage") => {
                let turn = self.turn.as_mut();
                let earlier = turn.and_then(|turn| turn.message.take());
                let is_shown = earlier.as_ref().is_some_and(|(shown, _)| shown == id);
                let has_text = earlier.as_ref().is_some_and(|(_, has_text)| *has_text);
                self.follow(String::new());
                if let Some(turn) = &mut self.turn {
                    turn.message = Some((id.to_owned(), has_text));
                }
                let text = match (is_over, is_shown) {
                    // This text separates the messages of a turn.
                    (false, false) if has_text => "\n\n".into(),
                    // The text did not arrive in parts.
                    (true, true) if !has_text => item["text"].clone(),
                    (true, false) => item["text"].clone(),
                    _ => return,
                };
                return self.show(&text, |content| SessionUpdate::AgentMessageChunk {
                    content,
                    meta: Value::Null,
                });
            }
            _ => {}
        }
        let Some(call) = call(item) else {
            return;
        };
        self.follow(String::new());
        self.shown_call(call, is_over);
    }

    fn shown_call(&mut self, call: ToolCall, is_over: bool) {
        if let Some(turn) = &mut self.turn {
            turn.message = None;
        }
        self.update(match is_over {
            true => SessionUpdate::ToolCallUpdate(call),
            false => SessionUpdate::ToolCall(call),
        });
    }

    /// Counts the tokens of one answer of the model.
    fn used(&mut self, params: &Value) {
        // A resumed conversation repeats its last report.
        let turn = self.turn.as_ref();
        if turn.is_none_or(|turn| params["turnId"] != *turn.id) {
            return;
        }
        let usage = &params["tokenUsage"];
        let last = &usage["last"];
        let counts = json!({
            "inputTokens": last["inputTokens"],
            "outputTokens": last["outputTokens"],
            "totalTokens": last["totalTokens"],
            "thoughtTokens": last["reasoningOutputTokens"],
            "cachedReadTokens": last["cachedInputTokens"],
        });
        self.update(SessionUpdate::AgentMessageChunk {
            content: ContentBlock::Other,
            meta: json!({ "usage": counts }),
        });
        let window = usage["modelContextWindow"].as_u64();
        if let (Some(used), Some(size)) = (last["totalTokens"].as_u64(), window) {
            self.update(SessionUpdate::UsageUpdate {
                used,
                size,
                cost: None,
            });
        }
    }

    fn show(&mut self, text: &Value, update: impl FnOnce(ContentBlock) -> SessionUpdate) {
        let text = text.as_str().unwrap_or_default().to_owned();
        if !text.is_empty() {
            self.follow(String::new());
            self.update(update(ContentBlock::Text { text }));
        }
    }

    pub(super) fn update(&mut self, update: SessionUpdate) {
        self.ready.push_back(Event::Update(update));
    }
}
