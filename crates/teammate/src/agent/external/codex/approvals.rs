//! Requests of Codex for an approval that are not decided. Called by `codex`.
//!
//! ```text
//! request ──► question to the loop ──► answered with its decision
//!         └─► serverRequest/resolved: the user has answered in the terminal interface
//!             ──► the item was declined, or the turn continues: the question is withdrawn
//! ```
//! The server sends `serverRequest/resolved` after an answer of this client, too. The notification does not contain the
//! decision of the user.

use std::collections::HashMap;
use std::time::Duration;

use agent_team_client::json_rpc::Responder;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::channel::{PermissionAnswer, PermissionQuestion, Withdrawn};
use super::super::wire::ToolCall;
use super::command::shell_line;
use super::items::{Change, change_call};

/// The largest number of open requests. Further requests are declined.
const OPEN_MAX: usize = 64;

/// After this time, a request that the user has answered was allowed: a declined item ends at once.
const DECLINED_LIMIT: Duration = Duration::from_millis(500);

/// Fields of a request that do not change what Codex does after the approval.
const NEUTRAL: &[&str] = &[
    "threadId",
    "turnId",
    "itemId",
    "startedAtMs",
    "approvalId",
    "commandActions",
    "proposedExecpolicyAmendment",
    "proposedNetworkPolicyAmendments",
    "availableDecisions",
];

/// The number of a question, and its answer.
pub(super) type Answer = (u64, PermissionAnswer);

pub(super) struct Approvals {
    open: Vec<Open>,
    resolved: Vec<Resolved>,
    /// What the loop has decided about an item that has not ended.
    decided: HashMap<String, bool>,
    answers: mpsc::UnboundedSender<Answer>,
    number: u64,
}

struct Open {
    number: u64,
    item: String,
    kind: Kind,
    responder: Responder,
    withdraw: oneshot::Sender<Withdrawn>,
}

/// The user has answered in the terminal interface.
struct Resolved {
    item: String,
    kind: Kind,
    withdraw: oneshot::Sender<Withdrawn>,
    deadline: Instant,
}

/// What a request asks for.
enum Kind {
    /// To execute a command, or to change files.
    Item,
    /// Permissions for the rest of the turn.
    Permissions(Value),
    /// To call a tool of an MCP server.
    McpCall,
}

impl Approvals {
    pub(super) fn new(answers: mpsc::UnboundedSender<Answer>) -> Self {
        Self {
            open: Vec::new(),
            resolved: Vec::new(),
            decided: HashMap::new(),
            answers,
            number: 0,
        }
    }

    /// Asks the loop about a command.
    pub(super) fn command(
        &mut self,
        params: &Value,
        responder: Responder,
    ) -> Option<PermissionQuestion> {
        let call = command_call(params);
        self.ask(call, Kind::Item, responder)
    }

    /// Asks the loop about changes of files.
    ///
    /// # Errors
    /// A line for the user: the request was declined without a question.
    pub(super) fn change(
        &mut self,
        params: &Value,
        changes: Option<&[Change]>,
        responder: Responder,
    ) -> Result<Option<PermissionQuestion>, &'static str> {
        let changes = match changes_to_ask(params, changes) {
            Ok(changes) => changes,
            Err(line) => {
                responder.answer(json!({ "decision": "decline" }));
                return Err(line);
            }
        };
        let id = params["itemId"].as_str().unwrap_or_default();
        let mut call = change_call(id, changes);
        call.raw_input = Some(asked(params));
        Ok(self.ask(call, Kind::Item, responder))
    }

    /// Asks the loop about permissions for the rest of the turn.
    pub(super) fn permissions(
        &mut self,
        params: &Value,
        responder: Responder,
    ) -> Option<PermissionQuestion> {
        let call = ToolCall {
            tool_call_id: params["itemId"].as_str().unwrap_or_default().to_owned(),
            title: Some("more permissions until the end of the turn".to_owned()),
            kind: Some("other".to_owned()),
            raw_input: Some(asked(params)),
            ..ToolCall::default()
        };
        let kind = Kind::Permissions(params["permissions"].clone());
        self.ask(call, kind, responder)
    }

    /// Asks the loop about a call of a tool of an MCP server. `item`: the item of the call.
    pub(super) fn mcp_call(
        &mut self,
        params: &Value,
        item: Option<String>,
        responder: Responder,
    ) -> Option<PermissionQuestion> {
        let (server, meta) = (&params["serverName"], &params["_meta"]);
        let title = format!(
            "{}.{}",
            server.as_str().unwrap_or_default(),
            meta["tool_name"].as_str().unwrap_or_default()
        );
        let input = json!({
            "server": server, "tool": meta["tool_name"], "arguments": meta["tool_params"],
        });
        let call = ToolCall {
            tool_call_id: item.unwrap_or_else(|| format!("request-{}", responder.id())),
            title: Some(title),
            kind: Some("other".to_owned()),
            raw_input: Some(input),
            ..ToolCall::default()
        };
        self.ask(call, Kind::McpCall, responder)
    }

    fn ask(
        &mut self,
        call: ToolCall,
        kind: Kind,
        responder: Responder,
    ) -> Option<PermissionQuestion> {
        if self.open.len() >= OPEN_MAX {
            responder.answer(kind.answer(&PermissionAnswer::Deny(String::new())));
            return None;
        }
        self.number += 1;
        let (withdraw, withdrawn) = oneshot::channel();
        self.open.push(Open {
            number: self.number,
            item: call.tool_call_id.clone(),
            kind,
            responder,
            withdraw,
        });
        let (number, answers) = (self.number, self.answers.clone());
        let withdrawn = async move { withdrawn.await.unwrap_or(Withdrawn::Gone) };
        Some(PermissionQuestion::new(call, withdrawn, move |answer| {
            // Without a receiver, the channel has ended, and the connection with it.
            let _ended = answers.send((number, answer));
        }))
    }

    /// Passes a decision of the loop to Codex, unless the user has decided before.
    pub(super) fn answered(&mut self, (number, answer): Answer) {
        let mut open = self.open.iter();
        let Some(index) = open.position(|open| open.number == number) else {
            return;
        };
        let open = self.open.remove(index);
        if self.decided.len() < OPEN_MAX {
            let is_allowed = answer == PermissionAnswer::Allow;
            self.decided.insert(open.item, is_allowed);
        }
        open.responder.answer(open.kind.answer(&answer));
    }

    /// The request needs no answer any longer. Codex reports this after each answer.
    pub(super) fn resolved(&mut self, request: &Value) {
        let mut open = self.open.iter();
        let Some(index) = open.position(|open| open.responder.id() == request) else {
            return;
        };
        let open = self.open.remove(index);
        open.responder.leave_unanswered();
        self.resolved.push(Resolved {
            item: open.item,
            kind: open.kind,
            withdraw: open.withdraw,
            deadline: Instant::now() + DECLINED_LIMIT,
        });
    }

    /// Handles the end of an item. Returns a line for the user if its end contradicts the decision of the loop.
    pub(super) fn item_ended(&mut self, item: &str, status: &str) -> Option<&'static str> {
        let is_declined = |kind: &Kind| match kind {
            Kind::McpCall => status == "failed",
            Kind::Item | Kind::Permissions(_) => status == "declined",
        };
        let (ended, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.resolved)
            .into_iter()
            .partition(|resolved| resolved.item == item);
        self.resolved = rest;
        for resolved in ended {
            let allowed = !is_declined(&resolved.kind);
            resolved.withdraw(allowed);
        }
        let allowed = self.decided.remove(item)?;
        match (allowed, status) {
            (true, "declined") => {
                Some("the user had denied the call in its dialog before it was allowed")
            }
            (false, "completed") => {
                Some("the user had allowed the call in its dialog before it was denied")
            }
            _ => None,
        }
    }

    /// When [`Approvals::settle`] must be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resolved.iter().map(|it| it.deadline).min()
    }

    /// Withdraws the questions that the user has answered, and whose items continue.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        let (over, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.resolved)
            .into_iter()
            .partition(|resolved| resolved.deadline <= now);
        self.resolved = rest;
        for resolved in over {
            resolved.withdraw(true);
        }
    }

    /// Withdraws all questions: the turn has ended.
    pub(super) fn clear(&mut self) {
        for open in self.open.drain(..) {
            // Codex answers the request itself.
            open.responder.leave_unanswered();
            let _answered = open.withdraw.send(Withdrawn::Gone);
        }
        for resolved in std::mem::take(&mut self.resolved) {
            resolved.withdraw(true);
        }
        self.decided.clear();
    }
}

impl Resolved {
    fn withdraw(self, allowed: bool) {
        // The loop no longer waits for the question if it has been answered meanwhile.
        let _answered = self.withdraw.send(Withdrawn::Answered { allowed });
    }
}

impl Kind {
    /// The answer to the request. It concerns this one call, and never changes the rules of Codex.
    fn answer(&self, answer: &PermissionAnswer) -> Value {
        let word = match answer {
            PermissionAnswer::Allow => "accept",
            PermissionAnswer::Deny(_) => "decline",
            PermissionAnswer::Cancel => "cancel",
        };
        match self {
            Self::Item => json!({ "decision": word }),
            Self::Permissions(asked) if *answer == PermissionAnswer::Allow => {
                let mut granted = asked.clone();
                if let Some(granted) = granted.as_object_mut() {
                    granted.retain(|_, value| !value.is_null());
                }
                json!({ "permissions": granted, "scope": "turn" })
            }
            Self::Permissions(_) => json!({ "permissions": {}, "scope": "turn" }),
            Self::McpCall if *answer == PermissionAnswer::Allow => {
                json!({ "action": word, "content": {} })
            }
            Self::McpCall => json!({ "action": word }),
        }
    }
}

/// The changes that a request asks for. `Err`: why the request is declined, for the user.
fn changes_to_ask<'a>(
    params: &Value,
    changes: Option<&'a [Change]>,
) -> Result<&'a [Change], &'static str> {
    // Writing below a directory for the rest of the session is not one call.
    if !params["grantRoot"].is_null() {
        return Err(
            "Codex asks to write below a directory for the rest of the session: agent-team has declined",
        );
    }
    // A decision about unknown changes would allow any change.
    let changes = changes.filter(|changes| !changes.is_empty());
    changes.ok_or("Codex asks for a change of files that it does not show: agent-team has declined")
}

/// The call of a command, with all inputs that matter for the decision.
fn command_call(params: &Value) -> ToolCall {
    let mut input = asked(params);
    let line = params["command"].as_str().map(shell_line);
    if let Some(fields) = input.as_object_mut() {
        // Codex names the kind and the place of each command.
        for (field, usual) in [("kind", "command"), ("environmentId", "local")] {
            if fields.get(field).is_some_and(|value| value == usual) {
                fields.remove(field);
            }
        }
        if let Some(line) = &line {
            fields.insert("command".to_owned(), line.clone().into());
        }
    }
    let host = params["networkApprovalContext"]["host"].as_str();
    let title = match (line, host) {
        (_, Some(host)) => format!("connect to {host}"),
        (Some(line), None) => line,
        (None, None) => "a command that Codex does not name".to_owned(),
    };
    ToolCall {
        tool_call_id: params["itemId"].as_str().unwrap_or_default().to_owned(),
        title: Some(title),
        kind: Some("execute".to_owned()),
        raw_input: Some(input),
        ..ToolCall::default()
    }
}

/// The fields of a request that matter for the decision.
fn asked(params: &Value) -> Value {
    let mut asked = params.clone();
    if let Some(fields) = asked.as_object_mut() {
        fields.retain(|name, value| !value.is_null() && !NEUTRAL.contains(&name.as_str()));
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inputs_of_a_command_that_matter_are_kept() {
        let plain = json!({ "kind": "command", "environmentId": "local", "threadId": "t", "itemId": "i",
            "reason": "May it?", "command": "/bin/bash -lc 'ls'", "cwd": "/project",
            "availableDecisions": ["accept"], "additionalPermissions": null });
        let call = command_call(&plain);
        assert_eq!(call.title.as_deref(), Some("ls"));
        let expected = json!({ "reason": "May it?", "command": "ls", "cwd": "/project" });
        assert_eq!(call.raw_input, Some(expected));
        let more = json!({ "kind": "writeStdin", "command": null,
            "additionalPermissions": { "network": { "enabled": true } } });
        let input = command_call(&more).raw_input.unwrap();
        assert_eq!(input["kind"], "writeStdin");
        assert_eq!(input["additionalPermissions"]["network"]["enabled"], true);
    }

    #[test]
    fn a_change_without_its_content_is_declined() {
        let item = json!({ "changes": [{ "path": "/a", "kind": { "type": "add" }, "diff": "a" }] });
        let known = super::super::items::changes(&item).unwrap();
        let params = json!({ "itemId": "i", "grantRoot": null });
        assert_eq!(changes_to_ask(&params, Some(&known)).unwrap().len(), 1);
        assert!(changes_to_ask(&params, None).is_err());
        assert!(changes_to_ask(&params, Some(&[])).is_err());
        let root = json!({ "itemId": "i", "grantRoot": "/" });
        assert!(changes_to_ask(&root, Some(&known)).is_err());
    }

    #[test]
    fn an_answer_concerns_only_one_call() {
        let (allow, deny) = (
            PermissionAnswer::Allow,
            PermissionAnswer::Deny(String::new()),
        );
        assert_eq!(Kind::Item.answer(&allow), json!({ "decision": "accept" }));
        assert_eq!(Kind::Item.answer(&deny), json!({ "decision": "decline" }));
        let network = json!({ "network": { "enabled": true }, "fileSystem": null });
        let permissions = Kind::Permissions(network);
        let granted = json!({ "permissions": { "network": { "enabled": true } }, "scope": "turn" });
        assert_eq!(permissions.answer(&allow), granted);
        assert_eq!(permissions.answer(&deny)["permissions"], json!({}));
        assert_eq!(Kind::McpCall.answer(&deny), json!({ "action": "decline" }));
    }
}
