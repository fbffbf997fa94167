//! Follows the user to the conversation on the screen: the user can open another conversation in the interface. Called
//! by `codex` and `messages`.
//!
//! ```text
//! thread/started: /new or /fork ───────────────────────────────────────► rules, thread/resume: followed
//! thread/status/changed: loaded, or its turn begins ──► thread/read ──► the same
//! ```
//! Codex does not report which conversation its interface shows. When a conversation is loaded and when a turn begins,
//! Codex reports this to all clients, even to clients that do not follow the conversation. If the user runs `/resume`
//! for a conversation that is already loaded, the worker therefore notices this only at the user's next turn in it.

use agent_team_client::json_rpc::RpcError;
use serde_json::{Value, json};

use super::super::channel::Event;
use super::super::outcome::Outcome;
use super::super::wire::StopReason;
use super::settings::{APPROVALS, MODE, REVIEWER, first_item, is_asking};
use super::{Codex, FIRST_ITEM, Reply};

impl Codex {
    /// Follows the user to a new conversation.
    pub(super) fn thread_started(&mut self, thread: &Value) {
        let id = thread["id"].as_str().unwrap_or_default();
        self.threads.changed(id, "idle");
        if thread["threadSource"] == "user" && is_conversation(thread) {
            self.follow_to(id);
        }
    }

    /// Handles the status of any conversation of the server.
    pub(super) fn thread_changed(&mut self, params: &Value) {
        let id = params["threadId"].as_str().unwrap_or_default();
        let status = params["status"]["type"].as_str().unwrap_or_default();
        let is_opened = self.threads.changed(id, status);
        if id == self.thread && status != "active" {
            self.turn_must_end();
        }
        // The turn may belong to a prompt that the worker has sent to the earlier conversation.
        if !is_opened || id == self.thread || self.starting > 0 {
            return;
        }
        let params = json!({ "threadId": id, "includeTurns": false });
        self.request("thread/read", params, Reply::Read);
    }

    /// Follows the user to a conversation that has changed, unless it belongs to a helper.
    pub(super) fn thread_read(&mut self, answer: Result<Value, RpcError>) {
        let thread = match answer {
            Ok(answer) => answer["thread"].clone(),
            Err(error) => {
                tracing::debug!(%error, "Codex does not show a conversation");
                return;
            }
        };
        let source = &thread["threadSource"];
        if (source.is_null() || source == "user") && is_conversation(&thread) {
            self.follow_to(thread["id"].as_str().unwrap_or_default());
        }
    }

    fn follow_to(&mut self, id: &str) {
        if id == self.thread {
            return;
        }
        let item = (!self.threads.with_rules.contains(id)).then(|| {
            // A second client cannot open a conversation without items.
            let item = first_item(id, &format!("{FIRST_ITEM}\n\n{}", self.rules));
            self.server.rpc.request("thread/inject_items", item)
        });
        let params = json!({
            "threadId": id,
            "excludeTurns": true,
            "approvalPolicy": APPROVALS,
            "approvalsReviewer": REVIEWER,
            "sandbox": MODE,
        });
        self.threads.has_rules(id);
        let (rpc, thread) = (self.server.rpc.clone(), id.to_owned());
        self.replies.spawn(async move {
            let answer = match item {
                Some(item) => item.await.map(drop),
                None => Ok(()),
            };
            let answer = match answer {
                Ok(()) => rpc.request("thread/resume", params).await,
                Err(error) => Err(error),
            };
            Reply::Thread { thread, answer }
        });
    }

    pub(super) fn continue_in(&mut self, thread: String, answer: Result<Value, RpcError>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.threads.with_rules.remove(&thread);
                let line = format!(
                    "cannot follow the user to another conversation, so the team stays in the earlier one: {error}"
                );
                return self.ready.push_back(Event::Notice(line));
            }
        };
        if thread == self.thread {
            return;
        }
        self.interrupt();
        if let Some(turn) = self.turn.take() {
            self.end(turn, &Outcome::Ended(StopReason::Interrupted));
        }
        let line = format!("the team follows the user to the conversation {thread}");
        self.thread.clone_from(&thread);
        self.ready.push_back(Event::Session(thread));
        self.ready.push_back(Event::Notice(line));
        if !is_asking(&answer, &answer["sandbox"]) {
            self.set_settings();
        }
    }
}

/// Whether this is a conversation of the user. Other conversations belong to helpers, for example to write a title.
fn is_conversation(thread: &Value) -> bool {
    thread["ephemeral"] == false && thread["parentThreadId"].is_null()
}
