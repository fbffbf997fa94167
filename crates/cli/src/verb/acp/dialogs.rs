//! Shows permission requests of members as dialogs of the editor. The first decision wins: a decision elsewhere cancels
//! the dialog. An editor that answers `cancelled`, or not at all, decides nothing.
//!
//! The options are `once` and `no`. A wider scope is not offered: some editors choose the widest option by themselves.

use std::collections::BTreeMap;
use std::path::Path;

use agent_team_client::json_rpc::{Rpc, RpcError};
use agent_team_protocol::RequestId;
use agent_team_protocol::request::{
    Channel, DecideRequest, Decision, RequestState, RequestView, Scope, changed_paths, summary,
};
use agent_team_protocol::text::visible_label;
use serde_json::{Value, json};
use tokio::task::{AbortHandle, JoinSet};

use super::diffs;
use super::wire::{code_block, text_content};

const ONCE: &str = "once";
const NO: &str = "no";

/// The longest title, in characters.
const TITLE_MAX: usize = 300;

#[derive(Default)]
pub(super) struct Dialogs {
    questions: JoinSet<DialogAnswer>,
    /// The dialogs of this session, open and closed.
    asked: BTreeMap<RequestId, EditorDialog>,
}

struct EditorDialog {
    /// `None`: the dialog is closed.
    open: Option<AbortHandle>,
    is_plan: bool,
}

/// The editor's answer to a dialog.
pub(super) struct DialogAnswer {
    pub(super) request: RequestId,
    /// `None`: the editor has not decided.
    pub(super) decide: Option<DecideRequest>,
}

impl Dialogs {
    /// Opens the dialog of a pending request, unless the dialog is open.
    pub(super) fn ask(&mut self, rpc: &Rpc, session: &str, view: &RequestView, project: &Path) {
        let request = view.id;
        let is_open = self
            .asked
            .get(&request)
            .is_some_and(|known| known.open.is_some());
        if view.state != RequestState::Pending || is_open {
            return;
        }
        let params = json!({
            "sessionId": session,
            "toolCall": tool_call(view, project),
            "options": options(view),
        });
        let (rpc, digest) = (rpc.clone(), view.digest.clone());
        // Aborting this task drops the call to the editor, which cancels the dialog.
        let question = self.questions.spawn(async move {
            let question = rpc.ask("session/request_permission", params).await;
            let decision = decision(&question.answer().await);
            let decide = decision.map(|decision| DecideRequest {
                request,
                digest: Some(digest),
                decision,
                via: Some(Channel::Other),
            });
            DialogAnswer { request, decide }
        });
        let question = EditorDialog {
            open: Some(question),
            is_plan: view.plan.is_some(),
        };
        self.asked.insert(request, question);
    }

    /// The next answer. Pends while no dialog is open. Cancel-safe.
    pub(super) async fn next_answer(&mut self) -> DialogAnswer {
        loop {
            match self.questions.join_next().await {
                Some(Ok(answer)) => {
                    if let Some(question) = self.asked.get_mut(&answer.request) {
                        question.open = None;
                    }
                    return answer;
                }
                // The dialog was cancelled.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Sets the status of a request's tool call. Returns the update for the editor, and cancels the open dialog.
    pub(super) fn set_status(
        &mut self,
        request: RequestId,
        status: &str,
        why: &str,
    ) -> Option<Value> {
        let question = self.asked.get_mut(&request)?;
        if let Some(open) = question.open.take() {
            open.abort();
        }
        // An approved plan is not executed as a call.
        let status = match status {
            "in_progress" if question.is_plan => "completed",
            status => status,
        };
        let mut update = json!({
            "sessionUpdate": "tool_call_update",
            "toolCallId": request,
            "status": status,
        });
        if !why.is_empty() {
            update["content"] = json!([text_content(why)]);
        }
        Some(update)
    }
}

/// The complete call, so that the user sees everything that runs.
fn tool_call(view: &RequestView, project: &Path) -> Value {
    let input: Value = serde_json::from_str(view.input.get()).unwrap_or_default();
    let subject = match view.plan {
        Some(number) => format!("plan {number}"),
        None => summary(&view.tool, &input),
    };
    // Editors show text as Markdown, which hides comments and the addresses of links. A code block shows everything.
    let mut content = vec![text_content(&code_block(&view.whole()))];
    // An argument `diff` of an MCP tool can have any meaning, so it is not shown as a change of files.
    let diff = match changed_paths(&view.tool, &input) {
        Some(_) => input["diff"].as_str().unwrap_or_default(),
        None => "",
    };
    let hunks = diffs::hunks(diff, project);
    content.extend(hunks.iter().map(diffs::Hunk::content));
    json!({
        "toolCallId": view.id,
        "title": visible_label(&format!("{}: {subject}", view.member), TITLE_MAX),
        "kind": kind(&view.tool),
        "status": "pending",
        "content": content,
        "locations": diffs::locations(&hunks),
        "rawInput": input,
    })
}

/// The kind of a tool's calls.
pub(super) fn kind(tool: &str) -> &'static str {
    match tool {
        "read" | "list" => "read",
        "write" | "edit" | "apply_patch" => "edit",
        "glob" | "grep" | "search" => "search",
        "bash" => "execute",
        "fetch" | "web_fetch" | "web_search" => "fetch",
        _ => "other",
    }
}

fn options(view: &RequestView) -> Value {
    let (once, no) = match view.plan {
        Some(_) => ("Approve this plan", "Send it back"),
        None => ("Allow once", "No"),
    };
    json!([
        { "optionId": ONCE, "name": once, "kind": "allow_once" },
        { "optionId": NO, "name": no, "kind": "reject_once" },
    ])
}

fn decision(answer: &Result<Value, RpcError>) -> Option<Decision> {
    let outcome = &answer.as_ref().ok()?["outcome"];
    if outcome["outcome"] != "selected" {
        return None;
    }
    match outcome["optionId"].as_str()? {
        ONCE => Some(Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        }),
        NO => Some(Decision::Deny {
            reason: String::new(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_offered_options_decide() {
        let answer =
            |option: &str| Ok(json!({ "outcome": { "outcome": "selected", "optionId": option } }));
        let once = Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        };
        let no = Decision::Deny {
            reason: String::new(),
        };
        assert_eq!(decision(&answer(ONCE)), Some(once));
        assert_eq!(decision(&answer(NO)), Some(no));
        for other in [
            answer("always"),
            Ok(json!({ "outcome": { "outcome": "cancelled", "optionId": ONCE } })),
            Ok(json!({ "optionId": ONCE })),
            Ok(json!(null)),
            Err(RpcError::Closed),
        ] {
            assert_eq!(decision(&other), None, "{other:?}");
        }
    }

    #[test]
    fn a_dialog_shows_the_whole_call_and_its_diff() {
        let diff = "--- a/a.rs\n+++ b/a.rs\n@@ -1 +1 @@\n-one\n+1\n";
        let view = json!({
            "id": "P-4", "member": "ada", "tool": "edit", "input": { "path": "a.rs", "diff": diff, "x": "```\n<!--" },
            "directory": "/p", "state": "pending", "digest": "d", "asked_at": 0, "why": ["no rule"], "offers": [],
            "warnings": ["changes a file outside the project"],
        });
        let view: RequestView = serde_json::from_value(view).unwrap();
        let call = tool_call(&view, Path::new("/p"));
        assert_eq!(call["title"], "ada: edit: a.rs");
        assert_eq!(call["kind"], "edit");
        assert_eq!(call["locations"], json!([{ "path": "/p/a.rs" }]));
        let content = call["content"].as_array().unwrap();
        let whole = content[0]["content"]["text"].as_str().unwrap();
        assert!(whole.contains("+1") && whole.contains("no rule"), "{whole}");
        assert!(whole.contains("outside the project"), "{whole}");
        assert!(
            whole.starts_with("````\n") && whole.ends_with("\n````\n"),
            "{whole}"
        );
        let expected =
            json!({ "type": "diff", "path": "/p/a.rs", "oldText": "one\n", "newText": "1\n" });
        assert_eq!(content[1], expected);
        let kinds: Vec<_> = options(&view)
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["kind"].clone())
            .collect();
        assert_eq!(kinds, ["allow_once", "reject_once"]);
    }

    #[test]
    fn a_call_of_an_mcp_server_has_no_diff() {
        let diff = "--- a/a.rs\n+++ b/a.rs\n@@ -1 +1 @@\n-one\n+1\n";
        let view = json!({
            "id": "P-4", "member": "ada", "tool": "mcp__files__run", "directory": "/p", "state": "pending",
            "input": { "path": "a.rs", "diff": diff, "command": "rm -r /" }, "digest": "d", "asked_at": 0,
            "why": ["no rule"], "offers": [],
        });
        let view: RequestView = serde_json::from_value(view).unwrap();
        let call = tool_call(&view, Path::new("/p"));
        let content = call["content"].as_array().unwrap();
        assert_eq!(content.len(), 1, "{content:?}");
        assert_eq!(call["locations"], json!([]));
        let whole = content[0]["content"]["text"].as_str().unwrap();
        assert!(whole.contains("rm -r /") && whole.contains("+1"), "{whole}");
    }
}
