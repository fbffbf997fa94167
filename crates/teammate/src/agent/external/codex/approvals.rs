//! Requests of Codex for an approval that are not decided. Called by `codex`.
//!
//! ```text
//! request ──► question to the loop ──► answered with its decision
//!         └─► serverRequest/resolved ──► the item shows what the user decided in the terminal interface: withdrawn as
//!             │                          allowed or denied
//!             └─► the item shows nothing within the limit, or the turn ends: withdrawn without a decision
//! ```
//! The server sends `serverRequest/resolved` after the first answer of any client, and when it no longer needs an answer,
//! such as after an interrupt. The notification does not contain the decision. An item shows that it was allowed when it
//! has output or is completed, and that it was denied when it is declined.

use std::collections::HashMap;
use std::time::Duration;

use agent_team_client::json_rpc::Responder;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::channel::{PermissionAnswer, PermissionQuestion, Withdrawn};
use super::super::permission::{ALLOWED_BEFORE, DENIED_BEFORE};
use super::super::wire::ToolCall;
use super::command::shell_line;
use super::items::{Change, change_call};

/// The largest number of open requests. Further requests are declined.
const OPEN_MAX: usize = 64;

/// How long to wait for the item that shows the decision about a resolved request. A declined item ends at once.
const DECISION_LIMIT: Duration = Duration::from_millis(500);

/// The error of a call of an MCP tool that the user has denied. Codex has no separate status for this error.
const MCP_DENIED: &str = "user rejected MCP tool call";

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
    /// The loop's decisions about items that have not ended, and their turns.
    decided: HashMap<String, (Option<String>, bool)>,
    answers: mpsc::UnboundedSender<Answer>,
    number: u64,
}

struct Open {
    number: u64,
    /// The id of the turn. `None`: the request belongs to no turn, so only Codex ends it.
    turn: Option<String>,
    item: String,
    kind: Kind,
    responder: Responder,
    withdraw: oneshot::Sender<Withdrawn>,
}

/// A request that needs no answer: the user has answered in the terminal interface, or the call no longer needs
/// permission.
struct Resolved {
    turn: Option<String>,
    item: String,
    kind: Kind,
    withdraw: oneshot::Sender<Withdrawn>,
    deadline: Instant,
}

/// The subject of a request.
enum Kind {
    /// The agent asks to execute a command, or to change files.
    Item,
    /// The agent asks to send input to a running command, or to let it connect to a host.
    Running,
    /// The agent asks for permissions for the rest of the turn.
    Permissions(Value),
    /// The agent asks to call a tool of an MCP server.
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
        self.ask(params, call, command_kind(params), responder)
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
        Ok(self.ask(params, call, Kind::Item, responder))
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
        self.ask(params, call, kind, responder)
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
        self.ask(params, call, Kind::McpCall, responder)
    }

    fn ask(
        &mut self,
        params: &Value,
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
            turn: params["turnId"].as_str().map(str::to_owned),
            item: call.tool_call_id.clone(),
            kind,
            responder,
            withdraw,
        });
        let (number, answers) = (self.number, self.answers.clone());
        let withdrawn = async move { withdrawn.await.unwrap_or(Withdrawn::Gone) };
        Some(PermissionQuestion::new(call, withdrawn, move |answer| {
            // Without a receiver, the side channel and its connection have ended.
            let _ended = answers.send((number, answer));
        }))
    }

    /// Passes a decision of the loop to Codex, unless the user has already decided.
    pub(super) fn answered(&mut self, (number, answer): Answer) {
        let mut open = self.open.iter();
        let Some(index) = open.position(|open| open.number == number) else {
            return;
        };
        let open = self.open.remove(index);
        if open.kind.is_shown_by_item() && self.decided.len() < OPEN_MAX {
            let is_allowed = answer == PermissionAnswer::Allow;
            self.decided.insert(open.item, (open.turn, is_allowed));
        }
        open.responder.answer(open.kind.answer(&answer));
    }

    /// Handles the report that a request needs no answer. Codex sends it after each answer.
    pub(super) fn resolved(&mut self, request: &Value) {
        let mut open = self.open.iter();
        let Some(index) = open.position(|open| open.responder.id() == request) else {
            return;
        };
        let open = self.open.remove(index);
        open.responder.leave_unanswered();
        if !open.kind.is_shown_by_item() {
            return withdraw(open.withdraw, None);
        }
        self.resolved.push(Resolved {
            turn: open.turn,
            item: open.item,
            kind: open.kind,
            withdraw: open.withdraw,
            deadline: Instant::now() + DECISION_LIMIT,
        });
    }

    /// Handles output of an item, which shows that the item runs.
    pub(super) fn item_runs(&mut self, item: &str) {
        for resolved in self.resolved.extract_if(.., |it| it.item == item) {
            withdraw(resolved.withdraw, Some(true));
        }
    }

    /// Handles the end of an item. Returns a line for the user if its end contradicts the decision of the loop.
    pub(super) fn item_ended(&mut self, id: &str, item: &Value) -> Option<&'static str> {
        for resolved in self.resolved.extract_if(.., |it| it.item == id) {
            withdraw(resolved.withdraw, resolved.kind.decision_of(item));
        }
        let (_, allowed) = self.decided.remove(id)?;
        match (allowed, item["status"].as_str()) {
            (true, Some("declined")) => Some(DENIED_BEFORE),
            (false, Some("completed")) => Some(ALLOWED_BEFORE),
            _ => None,
        }
    }

    /// The time at which [`Approvals::settle`] must be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resolved.iter().map(|it| it.deadline).min()
    }

    /// Withdraws the questions whose items have not shown a decision within the limit.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        for resolved in self.resolved.extract_if(.., |it| it.deadline <= now) {
            withdraw(resolved.withdraw, None);
        }
    }

    /// Withdraws the questions of a turn that has ended. Keeps the questions of helpers' turns, which may continue.
    pub(super) fn clear(&mut self, turn: &str) {
        let is_over = |of: &Option<String>| of.as_deref() == Some(turn);
        for open in self.open.extract_if(.., |open| is_over(&open.turn)) {
            // Codex answers the request itself.
            open.responder.leave_unanswered();
            withdraw(open.withdraw, None);
        }
        for resolved in self.resolved.extract_if(.., |it| is_over(&it.turn)) {
            withdraw(resolved.withdraw, None);
        }
        self.decided.retain(|_, (of, _)| !is_over(of));
    }
}

/// Withdraws a question. `allowed`: the decision of the user in the terminal interface, if it is known.
fn withdraw(question: oneshot::Sender<Withdrawn>, allowed: Option<bool>) {
    let withdrawn = match allowed {
        Some(allowed) => Withdrawn::Answered { allowed },
        None => Withdrawn::Gone,
    };
    // The receiver is gone if the loop has received an answer meanwhile.
    let _answered = question.send(withdrawn);
}

impl Kind {
    /// Whether the end of the item shows the decision about the request.
    fn is_shown_by_item(&self) -> bool {
        matches!(self, Self::Item | Self::McpCall)
    }

    /// The user's decision that the end of the item shows. `None`: the item shows no decision; the call may have
    /// failed.
    fn decision_of(&self, item: &Value) -> Option<bool> {
        let is_run = item["status"] == "completed" || item["exitCode"].is_i64();
        let is_denied = match self {
            Self::McpCall => item["error"]["message"] == MCP_DENIED,
            Self::Item | Self::Running | Self::Permissions(_) => item["status"] == "declined",
        };
        match (is_denied, is_run) {
            (true, _) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        }
    }

    /// The answer to the request. The answer concerns only this call, and never changes the rules of Codex.
    fn answer(&self, answer: &PermissionAnswer) -> Value {
        let word = match answer {
            PermissionAnswer::Allow => "accept",
            PermissionAnswer::Deny(_) => "decline",
            PermissionAnswer::Cancel => "cancel",
        };
        match self {
            Self::Item | Self::Running => json!({ "decision": word }),
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
    // A permission to write below a directory for the rest of the session would concern more than one call.
    if !params["grantRoot"].is_null() {
        return Err(
            "Codex asks to write below a directory for the rest of the session: agent-team has declined",
        );
    }
    // A decision about unknown changes would allow any change.
    let changes = changes.filter(|changes| !changes.is_empty());
    changes.ok_or("Codex asks for a change of files that it does not show: agent-team has declined")
}

/// The subject of a request about a command.
fn command_kind(params: &Value) -> Kind {
    let is_start = params["kind"].is_null() || params["kind"] == "command";
    match is_start && params["networkApprovalContext"].is_null() {
        true => Kind::Item,
        false => Kind::Running,
    }
}

/// The call of a command, with all inputs that matter for the decision.
fn command_call(params: &Value) -> ToolCall {
    let mut input = asked(params);
    let line = params["command"].as_str().map(shell_line);
    if let Some(fields) = input.as_object_mut() {
        // Codex names the kind and the environment of each command; leave out the usual values.
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
    use agent_team_client::json_rpc::{Incoming, Rpc, Tasks};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// The approvals, with a connection over which the test sends requests as Codex.
    struct Asking {
        approvals: Approvals,
        codex: DuplexStream,
        incoming: mpsc::Receiver<Incoming>,
        _rpc: (Rpc, Tasks),
        last: u64,
    }

    impl Asking {
        fn new() -> Self {
            let (codex, other) = duplex(1 << 16);
            let (read, written) = tokio::io::split(other);
            let (rpc, incoming, tasks) = Rpc::connect(written, read);
            Self {
                approvals: Approvals::new(mpsc::unbounded_channel().0),
                codex,
                incoming,
                _rpc: (rpc, tasks),
                last: 0,
            }
        }

        async fn responder(&mut self) -> Responder {
            self.last += 1;
            let request = json!({ "id": self.last, "method": "request", "params": {} });
            let line = format!("{request}\n");
            self.codex.write_all(line.as_bytes()).await.unwrap();
            self.incoming.recv().await.unwrap().responder.unwrap()
        }

        async fn ask(&mut self, params: &Value) -> PermissionQuestion {
            let responder = self.responder().await;
            self.approvals.command(params, responder).unwrap()
        }

        fn resolve(&mut self) {
            self.approvals.resolved(&self.last.into());
        }

        /// Resolves the request, ends its item with this status, and returns how the question was withdrawn.
        async fn end(&mut self, mut question: PermissionQuestion, status: Value) -> Withdrawn {
            self.resolve();
            self.approvals.item_ended("i", &json!({ "status": status }));
            question.take_withdrawn().await
        }
    }

    fn allowed() -> Withdrawn {
        Withdrawn::Answered { allowed: true }
    }

    fn denied() -> Withdrawn {
        Withdrawn::Answered { allowed: false }
    }

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

    #[tokio::test]
    async fn a_resolved_request_is_allowed_only_if_its_item_shows_it() {
        let mut asking = Asking::new();
        let run = json!({ "kind": "command", "itemId": "i" });
        let question = asking.ask(&run).await;
        assert_eq!(asking.end(question, json!("completed")).await, allowed());
        let question = asking.ask(&run).await;
        assert_eq!(asking.end(question, json!("declined")).await, denied());
        // The request itself has failed.
        let question = asking.ask(&run).await;
        assert_eq!(asking.end(question, json!("failed")).await, Withdrawn::Gone);

        let mut question = asking.ask(&run).await;
        asking.resolve();
        asking.approvals.item_runs("i");
        assert_eq!(question.take_withdrawn().await, allowed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolved_request_without_a_sign_has_no_decision() {
        let mut asking = Asking::new();
        let run = json!({ "kind": "command", "itemId": "i", "turnId": "1" });
        let mut question = asking.ask(&run).await;
        asking.resolve();
        tokio::time::sleep_until(asking.approvals.deadline().unwrap()).await;
        asking.approvals.settle();
        assert_eq!(question.take_withdrawn().await, Withdrawn::Gone);
        assert_eq!(asking.approvals.deadline(), None);

        let mut question = asking.ask(&run).await;
        asking.resolve();
        asking.approvals.clear("1");
        assert_eq!(question.take_withdrawn().await, Withdrawn::Gone);
    }

    #[tokio::test]
    async fn the_end_of_a_turn_withdraws_only_its_questions() {
        let mut asking = Asking::new();
        let run = |turn: &str| json!({ "kind": "command", "itemId": "i", "turnId": turn });
        let mut ended = asking.ask(&run("1")).await;
        let mut of_helper = asking.ask(&run("2")).await;
        asking.approvals.clear("1");
        assert_eq!(ended.take_withdrawn().await, Withdrawn::Gone);
        asking.resolve();
        asking.approvals.item_runs("i");
        assert_eq!(of_helper.take_withdrawn().await, allowed());
    }

    #[tokio::test]
    async fn a_request_about_a_running_command_has_no_decision() {
        let mut asking = Asking::new();
        for params in [
            json!({ "kind": "writeStdin", "itemId": "i" }),
            json!({ "itemId": "i", "networkApprovalContext": { "host": "a.example" } }),
        ] {
            let mut question = asking.ask(&params).await;
            asking.resolve();
            assert_eq!(question.take_withdrawn().await, Withdrawn::Gone);
        }
        let responder = asking.responder().await;
        let permissions = json!({ "itemId": "i", "permissions": {} });
        let mut question = asking
            .approvals
            .permissions(&permissions, responder)
            .unwrap();
        asking.resolve();
        assert_eq!(question.take_withdrawn().await, Withdrawn::Gone);
    }

    #[test]
    fn a_failed_call_of_a_tool_is_not_a_denied_one() {
        let decision = |item: Value| Kind::McpCall.decision_of(&item);
        let failed = |why: &str| json!({ "status": "failed", "error": { "message": why } });
        assert_eq!(decision(failed(MCP_DENIED)), Some(false));
        assert_eq!(decision(failed("the server has exited")), None);
        let ran = json!({ "status": "failed", "exitCode": 1 });
        assert_eq!(Kind::Item.decision_of(&ran), Some(true));
        assert_eq!(
            decision(json!({ "status": "completed", "error": null })),
            Some(true)
        );
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
