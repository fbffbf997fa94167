//! Calls of Claude Code that have not ended, and the decisions about them. Called by `claude`.
//!
//! ```text
//! PreToolUse ──► a rule allows or denies: answered at once
//!            └─► pending: answered `ask` ──► dialog, PermissionRequest ──► answered with the decision
//!                                            └─► the user answers the dialog: PermissionRequest ends, or the call ends
//! ```
//! `PermissionRequest` names no call: it belongs to the call with the same tool and input.
//!
//! Hooks of other settings run beside these (2.1.331). A denial or question of one `PreToolUse` hook takes precedence over
//! the permission of another. The first `PermissionRequest` hook with a decision answers the dialog, as the user does.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::super::channel::{PermissionAnswer, PermissionQuestion, Withdrawn};
use super::super::hook_socket::HookCall;
use super::super::hooks::{call_decision, dialog_decision};
use super::super::permission::{ALLOWED_BEFORE, DENIED_BEFORE};
use super::calls::{call, is_dialog, needs_decision, reads};

/// The largest number of open calls. Further calls are blocked.
const CALLS_MAX: usize = 256;

/// A call was executed with an input that agent-team has not judged.
const CHANGED: &str = "Claude Code has changed the call after agent-team judged it: another hook can change a call, \
    see `/hooks` in Claude Code";

/// The result of a permission question so far.
pub(super) enum Verdict {
    /// No rule decides: the question waits for a decision.
    Pending,
    Answered(PermissionAnswer),
}

pub(super) struct OpenCalls {
    calls: Vec<OpenCall>,
    verdicts: mpsc::UnboundedSender<(String, Verdict)>,
    /// The number of dialogs so far that belong to no known call.
    unnamed: u64,
}

struct OpenCall {
    id: String,
    tool: String,
    input: Value,
    /// The working directory of Claude Code.
    cwd: PathBuf,
    /// The hook program of `PreToolUse`, while it waits for a rule.
    rule: Option<HookCall>,
    /// Claude Code shows its dialog. Set before `PermissionRequest` arrives.
    has_dialog: bool,
    /// The hook program of `PermissionRequest`, while it waits for a decision and the dialog is on the screen.
    dialog: Option<HookCall>,
    /// The decision, until the hook program of the dialog has received it.
    answer: Option<PermissionAnswer>,
    /// Withdraws the question to the loop, while the question is open.
    withdraw: Option<oneshot::Sender<Withdrawn>>,
    is_denied: bool,
    /// The dialog has received the decision to allow the call.
    is_allowed: bool,
}

impl OpenCalls {
    pub(super) fn new(verdicts: mpsc::UnboundedSender<(String, Verdict)>) -> Self {
        Self {
            calls: Vec::new(),
            verdicts,
            unnamed: 0,
        }
    }

    /// Adds a call, and returns the question about it, if it needs a decision.
    pub(super) fn begin(
        &mut self,
        id: &str,
        tool: &str,
        input: &Value,
        hook: HookCall,
    ) -> Option<PermissionQuestion> {
        if self.calls.len() >= CALLS_MAX {
            // Dropping the hook blocks the call.
            return None;
        }
        let is_asked = needs_decision(tool);
        self.add(id, tool, input, &hook);
        if !is_asked {
            hook.pass();
            return None;
        }
        self.ask(self.calls.len() - 1, Some(hook), None)
    }

    /// Handles a dialog that Claude Code shows. Returns the question about the dialog's call, unless there is one
    /// already.
    pub(super) fn dialog(
        &mut self,
        tool: &str,
        input: &Value,
        hook: HookCall,
    ) -> Option<PermissionQuestion> {
        if is_dialog(tool) || self.calls.len() >= CALLS_MAX {
            // Only the user can answer.
            hook.pass();
            return None;
        }
        let mut calls = self.calls.iter();
        let found = calls.position(|call| {
            // A denied call without an answer for a dialog is over: this dialog is about another call.
            let is_over = call.is_denied && call.answer.is_none();
            call.tool == tool && call.input == *input && call.dialog.is_none() && !is_over
        });
        let index = found.unwrap_or_else(|| {
            self.unnamed += 1;
            let id = format!("dialog-{}", self.unnamed);
            self.add(&id, tool, input, &hook);
            self.calls.len() - 1
        });
        let call = &mut self.calls[index];
        if let Some(answer) = call.answer.take() {
            call.is_allowed = answer == PermissionAnswer::Allow;
            hook.print(&dialog_decision(&answer));
            return None;
        }
        if call.withdraw.is_some() {
            call.dialog = Some(hook);
            return None;
        }
        self.ask(index, None, Some(hook))
    }

    fn add(&mut self, id: &str, tool: &str, input: &Value, hook: &HookCall) {
        self.calls.push(OpenCall {
            id: id.to_owned(),
            tool: tool.to_owned(),
            input: input.clone(),
            cwd: hook.cwd(),
            rule: None,
            has_dialog: false,
            dialog: None,
            answer: None,
            withdraw: None,
            is_denied: false,
            is_allowed: false,
        });
    }

    fn ask(
        &mut self,
        index: usize,
        rule: Option<HookCall>,
        dialog: Option<HookCall>,
    ) -> Option<PermissionQuestion> {
        let open = self.calls.get_mut(index)?;
        let (withdraw, withdrawn) = oneshot::channel();
        (open.rule, open.dialog, open.withdraw) = (rule, dialog, Some(withdraw));
        let withdrawn = async move { withdrawn.await.unwrap_or(Withdrawn::Gone) };
        let sender = |id: &str| (id.to_owned(), self.verdicts.clone());
        let ((id, verdicts), (pending_id, pending)) = (sender(&open.id), sender(&open.id));
        let question = call(&open.id, &open.tool, &open.input, &open.cwd);
        let question = PermissionQuestion::new(question, withdrawn, move |answer| {
            // Without a receiver, the side channel and its hook programs have ended.
            let _ended = verdicts.send((id, Verdict::Answered(answer)));
        });
        Some(question.with_reason_and_pending(move || {
            let _ended = pending.send((pending_id.clone(), Verdict::Pending));
        }))
    }

    /// Passes a verdict to the hook program that waits for it. Returns whether the verdict ends the turn.
    pub(super) fn decided(&mut self, id: &str, verdict: Verdict) -> bool {
        let Some(open) = self.calls.iter_mut().find(|open| open.id == id) else {
            return false;
        };
        let Verdict::Answered(answer) = verdict else {
            if let Some(hook) = open.rule.take() {
                open.has_dialog = true;
                hook.print(&call_decision(
                    "ask",
                    "agent-team asks for the permission, too",
                ));
            }
            return false;
        };
        open.withdraw = None;
        open.is_denied = answer != PermissionAnswer::Allow;
        if let Some(hook) = open.rule.take() {
            match &answer {
                PermissionAnswer::Allow if reads(&open.tool).is_some() => {
                    // This answers the dialog if Claude Code shows one.
                    open.answer = Some(PermissionAnswer::Allow);
                    hook.pass();
                }
                PermissionAnswer::Allow => hook.print(&call_decision("allow", "agent-team")),
                PermissionAnswer::Deny(why) => hook.print(&call_decision("deny", why)),
                PermissionAnswer::Cancel => hook.print(&stop(Some("the turn is cancelled"))),
            }
        } else if let Some(hook) = open.dialog.take() {
            open.is_allowed = !open.is_denied;
            hook.print(&dialog_decision(&answer));
        } else {
            open.answer = Some(answer);
            return false;
        }
        answer == PermissionAnswer::Cancel
    }

    /// Removes a call that has been executed with this input. Returns a line for the user if agent-team has denied the
    /// call, or has not judged this input.
    pub(super) fn ended(&mut self, id: &str, executed: &Value) -> Option<String> {
        let index = self.calls.iter().position(|open| open.id == id)?;
        let open = self.calls.remove(index);
        let answered = Withdrawn::Answered { allowed: true };
        let denied = open.is_denied;
        // The dialog of the same call, if `dialog` has not found the call. The dialog shows an input that a hook has
        // changed.
        let mut unnamed = self.calls.iter();
        let unnamed = unnamed.position(|other| {
            let is_its_input = other.input == open.input || other.input == *executed;
            other.id.starts_with("dialog-") && other.tool == open.tool && is_its_input
        });
        let unnamed = unnamed.map(|index| self.calls.remove(index));
        let is_changed = unnamed.is_none() && differs(executed, &open.input, &open.cwd);
        for open in [Some(open), unnamed].into_iter().flatten() {
            open.withdraw(answered);
        }
        // Claude Code does not report whether the user or another hook has allowed the call.
        match denied {
            true => Some(format!("{ALLOWED_BEFORE}, or a hook of other settings had")),
            false => is_changed.then(|| CHANGED.to_owned()),
        }
    }

    /// Handles the exit of a hook program whose answer Claude Code no longer needs: the user has denied the call in the
    /// dialog, or has ended the turn.
    pub(super) fn gone(&mut self, connection: u64) {
        let is_it = |hook: &Option<HookCall>| {
            hook.as_ref()
                .is_some_and(|hook| hook.connection == connection)
        };
        let mut calls = self.calls.iter();
        let found = calls.position(|open| is_it(&open.dialog) || is_it(&open.rule));
        if let Some(index) = found {
            let open = self.calls.remove(index);
            let withdrawn = match open.dialog {
                Some(_) => Withdrawn::Answered { allowed: false },
                None => Withdrawn::Gone,
            };
            open.withdraw(withdrawn);
        }
    }

    /// Withdraws all questions at the end of the turn. `by_user`: the user has ended the turn in the terminal, which
    /// denies an open dialog. Returns a line for the user if the user has denied a call that agent-team has allowed.
    pub(super) fn clear(&mut self, by_user: bool) -> Option<&'static str> {
        let is_allowed =
            |open: &OpenCall| open.is_allowed || open.answer == Some(PermissionAnswer::Allow);
        let is_contradicted = by_user && self.calls.iter().any(is_allowed);
        for open in self.calls.drain(..) {
            let withdrawn = match by_user && (open.has_dialog || open.dialog.is_some()) {
                true => Withdrawn::Answered { allowed: false },
                false => Withdrawn::Gone,
            };
            open.withdraw(withdrawn);
        }
        is_contradicted.then_some(DENIED_BEFORE)
    }
}

impl OpenCall {
    fn withdraw(self, withdrawn: Withdrawn) {
        if let Some(withdraw) = self.withdraw {
            // The receiver is gone if the loop has received an answer meanwhile.
            let _answered = withdraw.send(withdrawn);
        }
        for hook in [self.rule, self.dialog].into_iter().flatten() {
            hook.answer_nothing();
        }
    }
}

/// Whether the executed input differs in a field that rules judge. Claude Code itself completes and corrects the other
/// fields: for example, it adapts the quotation marks of an edit to the file. `cwd`: the base of the paths.
fn differs(executed: &Value, judged: &Value, cwd: &Path) -> bool {
    let texts = |field: &str| Some((executed[field].as_str()?, judged[field].as_str()?));
    let mut lines = ["command", "url"].into_iter().filter_map(texts);
    let paths = ["file_path", "notebook_path", "path"].into_iter();
    let mut paths = paths.filter_map(texts);
    lines.any(|(executed, judged)| executed != judged)
        || paths.any(|(executed, judged)| cwd.join(executed) != cwd.join(judged))
}

/// The hook output that ends the turn. `denied`: why the call is not executed. The field `continue` alone does not
/// prevent the call.
pub(super) fn stop(denied: Option<&str>) -> Value {
    let mut decision = match denied {
        Some(why) => call_decision("deny", why),
        None => json!({}),
    };
    decision["continue"] = false.into();
    decision["stopReason"] = "interrupted by agent-team".into();
    decision
}

#[cfg(test)]
mod tests {
    use super::super::super::hook_socket::HookAnswer;
    use super::*;

    async fn printed(answer: oneshot::Receiver<HookAnswer>) -> Value {
        let answer = answer.await.unwrap();
        serde_json::from_str::<Value>(&answer.stdout).unwrap()["hookSpecificOutput"].take()
    }

    #[tokio::test]
    async fn a_dialog_that_is_denied_before_its_hook_is_answered() {
        let mut calls = OpenCalls::new(mpsc::unbounded_channel().0);
        let input = json!({ "command": "ls" });
        let (rule, _asked) = HookCall::for_test(1);
        let mut question = calls.begin("call-1", "Bash", &input, rule).unwrap();
        calls.decided("call-1", Verdict::Pending);
        assert_eq!(calls.clear(true), None);
        let withdrawn = question.take_withdrawn().await;
        assert_eq!(withdrawn, Withdrawn::Answered { allowed: false });
    }

    #[tokio::test]
    async fn a_call_that_another_hook_changes_is_reported() {
        let (judged, executed) = (json!({ "command": "ls" }), json!({ "command": "ls /" }));
        let completed = json!({ "command": "ls", "timeout": 1000 });
        for (executed, is_asked_again, is_reported) in [
            (&judged, false, false),
            (&completed, false, false),
            (&executed, false, true),
            (&executed, true, false),
        ] {
            let mut calls = OpenCalls::new(mpsc::unbounded_channel().0);
            let (rule, _decision) = HookCall::for_test(1);
            let _question = calls.begin("call-1", "Bash", &judged, rule).unwrap();
            calls.decided("call-1", Verdict::Answered(PermissionAnswer::Allow));
            if is_asked_again {
                let (dialog, _decision) = HookCall::for_test(2);
                assert!(calls.dialog("Bash", executed, dialog).is_some());
            }
            let line = calls.ended("call-1", executed);
            assert_eq!(line.is_some(), is_reported, "{executed}");
            assert!(calls.calls.is_empty());
        }
    }

    #[tokio::test]
    async fn a_denial_before_the_dialog_answers_the_dialog() {
        let mut calls = OpenCalls::new(mpsc::unbounded_channel().0);
        let input = json!({ "command": "ls" });
        let (rule, asked) = HookCall::for_test(1);
        let _question = calls.begin("call-1", "Bash", &input, rule).unwrap();
        calls.decided("call-1", Verdict::Pending);
        assert_eq!(printed(asked).await["permissionDecision"], "ask");

        let denied = PermissionAnswer::Deny("not today".to_owned());
        calls.decided("call-1", Verdict::Answered(denied));
        let (dialog, decided) = HookCall::for_test(2);
        assert!(calls.dialog("Bash", &input, dialog).is_none());
        let expected = json!({ "behavior": "deny", "message": "not today" });
        assert_eq!(printed(decided).await["decision"], expected);

        // The denied call is over: the next dialog is about another call.
        let (dialog, _decided) = HookCall::for_test(3);
        assert!(calls.dialog("Bash", &input, dialog).is_some());
    }
}
