//! The events of OpenCode's server. Called by `opencode`.
//!
//! Only messages of the member's conversation are shown. For the conversations of OpenCode's helpers, the requests and
//! the tokens count, too: the server has no other conversations.

use serde_json::{Value, json};

use super::super::channel::{Event, PermissionQuestion};
use super::super::wire::{ContentBlock, PlanEntry, SessionUpdate, ToolCall};
use super::OpenCode;
use super::calls::{call, text};
use super::permissions::Asked;
use super::turn::Text;

/// The largest number of messages of the user and of the worker whose ids are known.
const USERS_MAX: usize = 16;

/// Three limits: of the calls whose inputs are kept, of the texts of a turn, and of its open answers.
pub(super) const KEPT_MAX: usize = 1024;

impl OpenCode {
    pub(super) fn event(&mut self, event: &Value) {
        let properties = &event["properties"];
        let session = text(&properties["sessionID"]);
        match text(&event["type"]) {
            "server.heartbeat" => return self.heartbeat(),
            "session.created" | "session.updated" => {
                return self.session_reported(&properties["info"]);
            }
            "permission.asked" => return self.permission_asked(properties),
            "permission.replied" => {
                if self.permissions.is_foreign(properties) {
                    // A command of the agent can also call the server: the environment of the command contains the
                    // password.
                    let why = "a program has allowed a call of the agent at the server of OpenCode, without a key in its interface";
                    return self.ready.push_back(Event::Unusable(why.to_owned()));
                }
                let (is_rejected, line) = self.permissions.replied(properties);
                if let Some(turn) = &mut self.turn {
                    turn.is_rejected |= is_rejected;
                }
                return self.ready.extend(line.map(Event::Notice));
            }
            "message.part.updated" => self.any_part(&properties["part"]),
            "message.updated" if properties["info"]["role"] == "user" => {
                let message = &properties["info"];
                self.users_message(text(&message["id"]));
                // If a message has a summary, this is a report of an earlier message, not a new text.
                if session != self.session && message["summary"].is_null() {
                    self.writes_elsewhere(session);
                }
                return;
            }
            _ => {}
        }
        if session != self.session {
            return;
        }
        match text(&event["type"]) {
            "message.updated" if properties["info"]["role"] == "assistant" => {
                self.answer_updated(&properties["info"]);
            }
            "message.part.updated" => self.part(&properties["part"]),
            "message.part.delta" => {
                let (part, delta) = (text(&properties["partID"]), text(&properties["delta"]));
                self.show(part, delta);
            }
            "question.asked" => {
                // Only the user can answer.
                let line = "OpenCode asks you in its own dialog".to_owned();
                self.ready.push_back(Event::Notice(line));
            }
            "todo.updated" => {
                let steps = properties["todos"].as_array().into_iter().flatten();
                let entries = steps.map(|step| PlanEntry {
                    content: text(&step["content"]).to_owned(),
                });
                let entries = entries.collect();
                self.update(SessionUpdate::Plan { entries });
            }
            "session.error" => self.failed(&properties["error"]),
            "session.idle" => self.idle(),
            "session.status" => self.status(&properties["status"]),
            _ => {}
        }
    }

    fn status(&mut self, status: &Value) {
        match text(&status["type"]) {
            "idle" => self.idle(),
            "busy" => {
                if let Some(turn) = &mut self.turn {
                    (turn.settles_at, turn.idle_beats) = (None, 0);
                }
            }
            "retry" => {
                let line = format!("OpenCode retries: {}", text(&status["message"]));
                self.ready.push_back(Event::Notice(line));
            }
            _ => {}
        }
    }

    fn permission_asked(&mut self, asked: &Value) {
        let call = text(&asked["tool"]["callID"]);
        let asked = self.permissions.asked(asked, self.inputs.get(call));
        match asked {
            Ok(Asked::Question(question)) => self.ask(question),
            Ok(Asked::Reply(reply)) => self.reply_to(reply),
            Ok(Asked::Later) => {}
            Err(why) => self.ready.push_back(Event::Unusable(why)),
        }
    }

    /// Passes a question to the loop. The loop must then follow a turn.
    pub(super) fn ask(&mut self, question: PermissionQuestion) {
        self.follow(String::new());
        self.ready.push_back(Event::Permission(question));
    }

    /// Stores the id of a message of the user or of the worker.
    fn users_message(&mut self, id: &str) {
        if self.users.iter().any(|known| known == id) {
            return;
        }
        if self.users.len() >= USERS_MAX {
            self.users.pop_front();
        }
        self.users.push_back(id.to_owned());
    }

    /// Handles a part of a message of any conversation.
    fn any_part(&mut self, part: &Value) {
        match text(&part["type"]) {
            "tool" => {
                let (id, state) = (text(&part["callID"]), &part["state"]);
                match text(&state["status"]) {
                    "running" if !self.inputs.contains_key(id) => {
                        if self.inputs.len() < KEPT_MAX {
                            self.inputs.insert(id.to_owned(), state["input"].clone());
                        }
                        for question in self.permissions.input_known(id, &state["input"]) {
                            self.ask(question);
                        }
                    }
                    "completed" | "error" => {
                        self.inputs.remove(id);
                    }
                    _ => {}
                }
            }
            "step-finish" => self.used(part),
            _ => {}
        }
    }

    /// Handles a part of a message of the conversation.
    fn part(&mut self, part: &Value) {
        let id = text(&part["id"]);
        let message = text(&part["messageID"]);
        let is_users = self.users.iter().any(|users| users == message);
        match text(&part["type"]) {
            // The text is not synthetic: OpenCode adds the content of files as synthetic texts.
            "text" if is_users && part["synthetic"] != true => {
                self.taken(id, text(&part["text"]));
            }
            kind @ ("text" | "reasoning") if !is_users => {
                self.text(id, kind == "reasoning", part);
            }
            "tool" => {
                if let Some(call) = call(part) {
                    self.call(call);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, id: &str, is_thought: bool, part: &Value) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        if !turn.texts.contains_key(id) {
            if turn.texts.len() >= KEPT_MAX {
                turn.texts.clear();
            }
            let shown = 0;
            turn.texts.insert(id.to_owned(), Text { is_thought, shown });
            if !is_thought && std::mem::take(&mut turn.has_text) {
                // Separate the texts of a turn.
                self.chunk(is_thought, "\n\n");
            }
        }
        // Show the text that did not arrive in parts.
        let shown = self.turn.as_ref().and_then(|turn| turn.texts.get(id));
        let shown = shown.map_or(0, |text| text.shown);
        let rest = text(&part["text"])
            .get(shown..)
            .unwrap_or_default()
            .to_owned();
        self.show(id, &rest);
    }

    /// Shows more of a text or a thought.
    fn show(&mut self, part: &str, more: &str) {
        let turn = self.turn.as_mut();
        let Some(turn) = turn.filter(|_| !more.is_empty()) else {
            return;
        };
        let Some(text) = turn.texts.get_mut(part) else {
            return;
        };
        text.shown += more.len();
        let is_thought = text.is_thought;
        turn.has_text |= !is_thought;
        self.chunk(is_thought, more);
    }

    fn chunk(&mut self, is_thought: bool, text: &str) {
        let content = ContentBlock::Text {
            text: text.to_owned(),
        };
        self.update(match is_thought {
            true => SessionUpdate::AgentThoughtChunk { content },
            false => SessionUpdate::AgentMessageChunk {
                content,
                meta: Value::Null,
            },
        });
    }

    fn call(&mut self, call: ToolCall) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        let is_over = call.status.as_deref() != Some("in_progress");
        let is_new = turn.calls.insert(call.tool_call_id.clone());
        if is_over {
            turn.calls.remove(&call.tool_call_id);
        }
        turn.has_text = false;
        match (is_new, is_over) {
            // The server repeats the output of a running call.
            (false, false) => {}
            (true, _) => self.update(SessionUpdate::ToolCall(call)),
            (false, true) => self.update(SessionUpdate::ToolCallUpdate(call)),
        }
    }

    /// Counts the tokens and the cost of one answer of the model.
    fn used(&mut self, part: &Value) {
        let tokens = &part["tokens"];
        let counts = json!({
            "inputTokens": tokens["input"],
            "outputTokens": tokens["output"],
            "totalTokens": tokens["total"],
            "thoughtTokens": tokens["reasoning"],
            "cachedReadTokens": tokens["cache"]["read"],
            "cachedWriteTokens": tokens["cache"]["write"],
        });
        // Without a cost, the tokens count as unpriced.
        let usd = part["cost"].as_f64().unwrap_or(f64::NAN);
        self.update(SessionUpdate::Spent {
            tokens: counts,
            usd,
        });
        let total = tokens["total"].as_u64();
        if let (Some(used), Some(size), true) =
            (total, self.window, part["sessionID"] == *self.session)
        {
            let cost = None;
            self.update(SessionUpdate::UsageUpdate { used, size, cost });
        }
    }

    fn update(&mut self, update: SessionUpdate) {
        self.ready.push_back(Event::Update(update));
    }
}
