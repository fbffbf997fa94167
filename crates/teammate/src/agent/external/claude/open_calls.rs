//! Calls of Claude Code that have not ended, and the decisions about them. Called by `claude`.
//!
//! ```text
//! PreToolUse ──► a rule allows or denies: answered at once
//!            └─► pending: answered `ask` ──► dialog, PermissionRequest ──► answered with the decision
//!                                            └─► the user answers the dialog: PermissionRequest ends, or the call ends
//! ```
//! `PermissionRequest` names no call: it belongs to the call with the same tool and input.

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::super::channel::{PermissionAnswer, PermissionQuestion, Withdrawn};
use super::super::hook_door::HookCall;
use super::super::hooks::{call_decision, dialog_decision};
use super::calls::{call, is_dialog, needs_decision};

/// The largest number of open calls. Further calls are blocked.
const CALLS_MAX: usize = 256;

/// The result of a permission question so far.
pub(super) enum Verdict {
    /// No rule decides: the question waits for a decision.
    Pending,
    Answered(PermissionAnswer),
}

pub(super) struct OpenCalls {
    calls: Vec<OpenCall>,
    verdicts: mpsc::UnboundedSender<(String, Verdict)>,
    /// The number of questions about calls without an id.
    unnamed: u64,
}

struct OpenCall {
    id: String,
    tool: String,
    input: Value,
    /// `PreToolUse`, which waits for a rule.
    rule: Option<HookCall>,
    /// `PermissionRequest`, which waits for a decision while the dialog is on the screen.
    dialog: Option<HookCall>,
    /// The decision, until the dialog's hook has received it.
    answer: Option<PermissionAnswer>,
    /// The question to the loop, while it is open.
    withdraw: Option<oneshot::Sender<Withdrawn>>,
    is_denied: bool,
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
        self.add(id, tool, input);
        if !is_asked {
            hook.pass();
            return None;
        }
        self.ask(self.calls.len() - 1, Some(hook), None)
    }

    /// Handles a dialog that Claude Code shows, and returns the question about its call, unless there is one already.
    pub(super) fn dialog(
        &mut self,
        tool: &str,
        input: &Value,
        hook: HookCall,
    ) -> Option<PermissionQuestion> {
        if is_dialog(tool) {
            // Only the user can answer.
            hook.pass();
            return None;
        }
        let mut calls = self.calls.iter();
        let found = calls.position(|call| {
            // A denial can precede the dialog.
            let is_over = call.is_denied && call.answer.is_none();
            call.tool == tool && call.input == *input && call.dialog.is_none() && !is_over
        });
        let index = found.unwrap_or_else(|| {
            self.unnamed += 1;
            let id = format!("dialog-{}", self.unnamed);
            self.add(&id, tool, input);
            self.calls.len() - 1
        });
        let call = &mut self.calls[index];
        if let Some(answer) = call.answer.take() {
            hook.print(&dialog_decision(&answer));
            return None;
        }
        if call.withdraw.is_some() {
            call.dialog = Some(hook);
            return None;
        }
        self.ask(index, None, Some(hook))
    }

    fn add(&mut self, id: &str, tool: &str, input: &Value) {
        self.calls.push(OpenCall {
            id: id.to_owned(),
            tool: tool.to_owned(),
            input: input.clone(),
            rule: None,
            dialog: None,
            answer: None,
            withdraw: None,
            is_denied: false,
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
        let question = call(&open.id, &open.tool, &open.input);
        let question = PermissionQuestion::new(question, withdrawn, move |answer| {
            // Without a receiver, the channel has ended, and its hooks with it.
            let _ended = verdicts.send((id, Verdict::Answered(answer)));
        });
        Some(question.with_reason_and_pending(move || {
            let _ended = pending.send((pending_id.clone(), Verdict::Pending));
        }))
    }

    /// Passes a verdict to the hook that waits for it. Returns whether it ends the turn.
    pub(super) fn decided(&mut self, id: &str, verdict: Verdict) -> bool {
        let Some(open) = self.calls.iter_mut().find(|open| open.id == id) else {
            return false;
        };
        let Verdict::Answered(answer) = verdict else {
            if let Some(hook) = open.rule.take() {
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
                PermissionAnswer::Allow => hook.print(&call_decision("allow", "agent-team")),
                PermissionAnswer::Deny(why) => hook.print(&call_decision("deny", why)),
                PermissionAnswer::Cancel => hook.print(&stop(Some("the turn is cancelled"))),
            }
        } else if let Some(hook) = open.dialog.take() {
            hook.print(&dialog_decision(&answer));
        } else {
            open.answer = Some(answer);
            return false;
        }
        answer == PermissionAnswer::Cancel
    }

    /// Removes a call that has been executed. Returns a line for the user if it was denied by agent-team.
    pub(super) fn ended(&mut self, id: &str) -> Option<String> {
        let index = self.calls.iter().position(|open| open.id == id)?;
        let open = self.calls.remove(index);
        let answered = Withdrawn::Answered { allowed: true };
        let denied = open.is_denied;
        // A dialog of the same call that was asked without an id.
        let mut unnamed = self.calls.iter();
        let unnamed = unnamed.position(|other| {
            other.id.starts_with("dialog-") && other.tool == open.tool && other.input == open.input
        });
        let unnamed = unnamed.map(|index| self.calls.remove(index));
        for open in [Some(open), unnamed].into_iter().flatten() {
            open.withdraw(answered);
        }
        denied
            .then(|| "the user had allowed the call in its dialog before it was denied".to_owned())
    }

    /// Handles the end of a hook program whose answer Claude Code no longer needs: the user has denied the call in the
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

    /// Withdraws all questions: the turn has ended. `by_user`: the user has ended it in the terminal, and so denied the
    /// dialog that was open.
    pub(super) fn clear(&mut self, by_user: bool) {
        for open in self.calls.drain(..) {
            let withdrawn = match by_user && open.dialog.is_some() {
                true => Withdrawn::Answered { allowed: false },
                false => Withdrawn::Gone,
            };
            open.withdraw(withdrawn);
        }
    }
}

impl OpenCall {
    fn withdraw(self, withdrawn: Withdrawn) {
        if let Some(withdraw) = self.withdraw {
            // The loop no longer waits for the question if it has been answered meanwhile.
            let _answered = withdraw.send(withdrawn);
        }
        for hook in [self.rule, self.dialog].into_iter().flatten() {
            hook.answer_nothing();
        }
    }
}

/// Ends the turn. `denied`: why the call is not executed; `continue` alone does not prevent it.
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
    use super::super::super::hook_door::HookAnswer;
    use super::*;

    async fn printed(answer: oneshot::Receiver<HookAnswer>) -> Value {
        let answer = answer.await.unwrap();
        serde_json::from_str::<Value>(&answer.stdout).unwrap()["hookSpecificOutput"].take()
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
