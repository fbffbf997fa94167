//! Calls of Qwen Code that have not ended, and the decisions about them. Called by `qwen`.
//!
//! ```text
//! PermissionRequest ──► a rule allows or denies: printed
//!                   └─► pending: nothing is printed ──► dialog, can_use_tool ──► confirmation, or the user answers
//! PreToolUse ──► the decision above; otherwise Qwen Code does not ask about the call: a rule allows or denies,
//!            └─► pending: `ask` ──► dialog, as above
//! ```
//! Qwen Code runs the hooks of the project, of the user, of the system (the hooks of this launch), of extensions and of
//! helpers, in this order. It takes the decision of the last hook of `PreToolUse` that makes a decision (0.24.4).
//! Therefore, for an allowed call, this hook makes no decision, which keeps the denial of another hook. A denial or
//! question also stops the call: see [`blocking`]. Another hook of `PermissionRequest` can allow a call, or change its
//! input: `PreToolUse` then decides about the call again.
//!
//! `PermissionRequest` names no call: it belongs to the call with the same tool and input. A helper of Qwen Code has no
//! dialog that can be answered: its `PermissionRequest` waits for a decision, and without a decision, `PreToolUse`
//! denies the call.

use std::path::PathBuf;

use agent_team_protocol::text::visible_label;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::super::channel::{PermissionAnswer, PermissionQuestion, Withdrawn};
use super::super::hook_socket::HookCall;
use super::super::hooks::{call_decision, dialog_decision};
use super::super::permission::DENIED_BEFORE;
use super::super::permission::TITLE_MAX;
use super::calls::{call, is_dialog, needs_decision};

/// The largest number of open calls. Further calls are blocked.
const CALLS_MAX: usize = 256;

const CANCELLED: &str = "the turn is cancelled";

const HELPER: &str = "no rule of agent-team allows this call of a helper, which cannot ask";

/// The result of a permission question so far.
pub(super) enum Verdict {
    /// No rule decides: the question waits for a decision.
    Pending,
    Answered(PermissionAnswer),
}

/// A call as Qwen Code reports it.
pub(super) struct ReportedCall {
    /// The id of the call. Empty: the id is unknown.
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) input: Value,
    pub(super) is_helper: bool,
}

/// The answer to a dialog on the screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confirmation {
    pub(super) request: String,
    pub(super) allowed: bool,
    /// Why the call is denied. The worker submits the reason separately, because the dialog takes no reason.
    pub(super) reason: Option<String>,
}

pub(super) struct OpenCalls {
    calls: Vec<OpenCall>,
    verdicts: mpsc::UnboundedSender<(u64, Verdict)>,
    last: u64,
}

struct OpenCall {
    key: u64,
    reported: ReportedCall,
    /// The working directory of Qwen Code. Empty until a hook reports it.
    cwd: PathBuf,
    /// The hook program that waits for a decision.
    hook: Option<HookCall>,
    /// The id of the request of the dialog on the screen.
    dialog: Option<String>,
    /// Withdraws the question to the loop, while the question is open.
    withdraw: Option<oneshot::Sender<Withdrawn>>,
    is_asked: bool,
    is_pending: bool,
    answer: Option<PermissionAnswer>,
    /// The input that `PermissionRequest` has allowed.
    allowed: Option<Value>,
}

impl OpenCalls {
    pub(super) fn new(verdicts: mpsc::UnboundedSender<(u64, Verdict)>) -> Self {
        Self {
            calls: Vec::new(),
            verdicts,
            last: 0,
        }
    }

    /// Adds a call that Qwen Code has announced.
    pub(super) fn announced(&mut self, reported: ReportedCall) {
        if self.calls.len() < CALLS_MAX {
            self.add(reported);
        }
    }

    fn add(&mut self, reported: ReportedCall) -> usize {
        self.last += 1;
        self.calls.push(OpenCall {
            key: self.last,
            reported,
            cwd: PathBuf::new(),
            hook: None,
            dialog: None,
            withdraw: None,
            is_asked: false,
            is_pending: false,
            answer: None,
            allowed: None,
        });
        self.calls.len() - 1
    }

    /// The call with the id, or else a call with the same tool and input for which `is_it` holds.
    fn find(&self, reported: &ReportedCall, is_it: impl Fn(&OpenCall) -> bool) -> Option<usize> {
        let by_id = |it: &OpenCall| !reported.id.is_empty() && it.reported.id == reported.id;
        let by_input = |it: &OpenCall| {
            let (this, that) = (&it.reported, reported);
            (this.id.is_empty() || that.id.is_empty())
                && (&this.tool, &this.input, this.is_helper)
                    == (&that.tool, &that.input, that.is_helper)
                && is_it(it)
        };
        let found = self.calls.iter().position(by_id);
        found.or_else(|| self.calls.iter().position(by_input))
    }

    /// Handles `PermissionRequest`: Qwen Code is about to ask. Returns the question about the call. `is_cancelled`:
    /// Qwen Code opens the dialog, and the worker denies it, which ends the turn.
    pub(super) fn requested(
        &mut self,
        reported: ReportedCall,
        hook: HookCall,
        is_cancelled: bool,
    ) -> Option<PermissionQuestion> {
        if is_dialog(&reported.tool) || (self.calls.len() >= CALLS_MAX) {
            // Only the user can answer.
            hook.pass();
            return None;
        }
        let found = self.find(&reported, |it| !it.is_asked);
        let index = found.unwrap_or_else(|| self.add(reported));
        self.ask(index, hook, is_cancelled)
    }

    /// Handles `PreToolUse`: Qwen Code is about to make the call. Returns the question about the call, if the call
    /// still needs a decision.
    pub(super) fn begins(
        &mut self,
        reported: ReportedCall,
        hook: HookCall,
        is_cancelled: bool,
    ) -> Option<PermissionQuestion> {
        let (is_helper, input) = (reported.is_helper, reported.input.clone());
        let found = self.find(&reported, |it| it.is_asked);
        if found.is_none() && self.calls.len() >= CALLS_MAX {
            // Dropping the hook blocks the call.
            return None;
        }
        let index = found.unwrap_or_else(|| self.add(reported));
        let open = &mut self.calls[index];
        if open.allowed.take_if(|allowed| *allowed != input).is_some() {
            // Another hook has changed the input of the allowed call.
            (open.answer, open.reported.input) = (None, input);
        }
        let question = match open.answer.clone() {
            Some(PermissionAnswer::Allow) => {
                hook.pass();
                None
            }
            Some(PermissionAnswer::Deny(why)) => {
                hook.print(&blocking("deny", &why));
                None
            }
            Some(PermissionAnswer::Cancel) => {
                hook.print(&blocking("deny", CANCELLED));
                None
            }
            // The user has allowed the call in its dialog.
            None if open.dialog.is_some() => {
                open.settle(true);
                hook.pass();
                None
            }
            // A hook of the user has allowed the call.
            None if open.is_pending && !is_helper => {
                hook.print(&ask());
                None
            }
            None if open.withdraw.is_some() => {
                open.hook = Some(hook);
                None
            }
            None if is_cancelled || needs_decision(&open.reported.tool) => {
                self.ask(index, hook, is_cancelled)
            }
            None => {
                hook.pass();
                None
            }
        };
        if is_helper && self.calls[index].hook.is_none() {
            // Nothing reports the end of a helper's call.
            self.calls.remove(index);
        }
        question
    }

    fn ask(
        &mut self,
        index: usize,
        hook: HookCall,
        is_cancelled: bool,
    ) -> Option<PermissionQuestion> {
        let open = &mut self.calls[index];
        (open.is_asked, open.cwd, open.hook) = (true, hook.cwd(), Some(hook));
        if is_cancelled {
            open.decide(PermissionAnswer::Cancel);
            return None;
        }
        Some(self.question(index))
    }

    fn question(&mut self, index: usize) -> PermissionQuestion {
        let open = &mut self.calls[index];
        let (withdraw, withdrawn) = oneshot::channel();
        open.withdraw = Some(withdraw);
        let withdrawn = async move { withdrawn.await.unwrap_or(Withdrawn::Gone) };
        let key = open.key;
        let ReportedCall {
            id, tool, input, ..
        } = &open.reported;
        let id = match id.is_empty() {
            true => format!("asked-{key}"),
            false => id.clone(),
        };
        let (verdicts, pending) = (self.verdicts.clone(), self.verdicts.clone());
        let question = PermissionQuestion::new(
            call(&id, tool, input, &open.cwd),
            withdrawn,
            move |answer| {
                // Without a receiver, the side channel and its hook programs have ended.
                let _ended = verdicts.send((key, Verdict::Answered(answer)));
            },
        );
        question.with_reason_and_pending(move || {
            let _ended = pending.send((key, Verdict::Pending));
        })
    }

    /// Passes a verdict to the hook program that waits for it, or to the dialog on the screen.
    pub(super) fn decided(&mut self, key: u64, verdict: Verdict) -> Option<Confirmation> {
        let index = self.calls.iter().position(|open| open.key == key)?;
        let open = &mut self.calls[index];
        let is_last = open.hook.as_ref().is_some_and(is_call);
        let confirmation = match verdict {
            Verdict::Pending => {
                open.open_dialog();
                None
            }
            // The user has answered first. The question was dropped, which answers `Cancel`.
            Verdict::Answered(_) if open.answer.is_some() => None,
            Verdict::Answered(answer) => {
                open.withdraw = None;
                open.decide(answer)
            }
        };
        let is_over =
            is_last || matches!(&open.answer, Some(answer) if *answer != PermissionAnswer::Allow);
        if open.reported.is_helper && open.hook.is_none() && is_over {
            self.calls.remove(index);
        }
        confirmation
    }

    /// Handles a dialog on the screen. Returns the question about its call, unless there is one already. Also returns
    /// the answer to the dialog, if the decision precedes the dialog.
    pub(super) fn dialog_opened(
        &mut self,
        request: String,
        reported: ReportedCall,
    ) -> (Option<PermissionQuestion>, Option<Confirmation>) {
        let found = self.find(&reported, |it| it.is_asked && it.dialog.is_none());
        let is_decided = found.is_some_and(|index| self.calls[index].answer.is_some());
        if is_dialog(&reported.tool) && !is_decided {
            return (None, None);
        }
        if found.is_none() && self.calls.len() >= CALLS_MAX {
            let reason = None;
            let allowed = false;
            return (
                None,
                Some(Confirmation {
                    request,
                    allowed,
                    reason,
                }),
            );
        }
        let index = found.unwrap_or_else(|| self.add(reported));
        let open = &mut self.calls[index];
        open.dialog = Some(request);
        if let Some(answer) = open.answer.clone() {
            return (None, open.decide(answer));
        }
        if open.withdraw.is_some() {
            return (None, None);
        }
        // The hook of this call has failed.
        (open.is_asked, open.is_pending) = (true, true);
        (Some(self.question(index)), None)
    }

    /// Handles the answer to a dialog, which agent-team or the user has given. Returns a line for the user if the user has
    /// denied a call that agent-team has allowed.
    pub(super) fn dialog_closed(&mut self, request: &str, allowed: bool) -> Option<&'static str> {
        let mut calls = self.calls.iter_mut();
        let open = calls.find(|open| open.dialog.as_deref() == Some(request))?;
        let is_allowed = open.answer == Some(PermissionAnswer::Allow);
        open.settle(allowed);
        (is_allowed && !allowed).then_some(DENIED_BEFORE)
    }

    /// Whether a dialog waits for the user.
    pub(super) fn has_dialog(&self) -> bool {
        let mut calls = self.calls.iter();
        calls.any(|open| open.dialog.is_some() && open.answer.is_none())
    }

    /// Removes a call that has ended.
    pub(super) fn ended(&mut self, id: &str) {
        if let Some(index) = self.calls.iter().position(|open| open.reported.id == id) {
            self.calls.remove(index).withdraw(Withdrawn::Gone);
        }
    }

    /// Handles the exit of a hook program whose answer Qwen Code no longer needs.
    pub(super) fn gone(&mut self, connection: u64) {
        let waits = |open: &OpenCall| {
            let hook = open.hook.as_ref();
            hook.is_some_and(|hook| hook.connection == connection)
        };
        if let Some(index) = self.calls.iter().position(waits) {
            self.calls.remove(index).withdraw(Withdrawn::Gone);
        }
    }

    /// Withdraws the questions at the end of the turn. The user has denied the dialogs that were open. The calls of
    /// Qwen Code's helpers continue. Returns a line for the user if the user has denied a call that agent-team has
    /// allowed.
    pub(super) fn clear(&mut self) -> Option<&'static str> {
        let (helpers, calls) = std::mem::take(&mut self.calls)
            .into_iter()
            .partition(|open| open.reported.is_helper);
        self.calls = helpers;
        let calls: Vec<OpenCall> = calls;
        let mut is_contradicted = false;
        for open in calls {
            let is_allowed = open.answer == Some(PermissionAnswer::Allow);
            is_contradicted |= is_allowed && open.dialog.is_some();
            let withdrawn = match open.dialog.is_some() {
                true => Withdrawn::Answered { allowed: false },
                false => Withdrawn::Gone,
            };
            open.withdraw(withdrawn);
        }
        is_contradicted.then_some(DENIED_BEFORE)
    }
}

impl OpenCall {
    /// Lets Qwen Code open the dialog about the call.
    fn open_dialog(&mut self) {
        self.is_pending = true;
        let is_call = self.hook.as_ref().is_some_and(is_call);
        if self.reported.is_helper {
            if is_call {
                self.answer = Some(PermissionAnswer::Deny(HELPER.to_owned()));
                let hook = self.hook.take();
                hook.into_iter()
                    .for_each(|hook| hook.print(&blocking("deny", HELPER)));
                self.withdraw.take().map(|it| it.send(Withdrawn::Gone));
            }
            return;
        }
        match self.hook.take() {
            Some(hook) if is_call => hook.print(&ask()),
            Some(hook) => hook.pass(),
            None => {}
        }
    }

    fn decide(&mut self, answer: PermissionAnswer) -> Option<Confirmation> {
        self.answer = Some(answer.clone());
        if let Some(request) = &self.dialog {
            return Some(Confirmation {
                request: request.clone(),
                allowed: answer == PermissionAnswer::Allow,
                reason: match answer {
                    PermissionAnswer::Deny(why) => Some(self.reason(&why)),
                    PermissionAnswer::Allow | PermissionAnswer::Cancel => None,
                },
            });
        }
        let is_cancelled = answer == PermissionAnswer::Cancel;
        if is_cancelled && !self.reported.is_helper {
            // Only the denial of a dialog ends the turn.
            self.open_dialog();
            return None;
        }
        let hook = self.hook.take()?;
        match (is_call(&hook), &answer) {
            (false, answer) => {
                let is_allowed = *answer == PermissionAnswer::Allow;
                self.allowed = is_allowed.then(|| hook.input["tool_input"].clone());
                hook.print(&dialog_decision(answer));
            }
            (true, PermissionAnswer::Allow) => hook.pass(),
            (true, PermissionAnswer::Deny(why)) => hook.print(&blocking("deny", why)),
            (true, PermissionAnswer::Cancel) => hook.print(&blocking("deny", CANCELLED)),
        }
        None
    }

    fn reason(&self, why: &str) -> String {
        let ReportedCall { tool, input, .. } = &self.reported;
        let title = call("", tool, input, &self.cwd).title.unwrap_or_default();
        let title = visible_label(&title, TITLE_MAX);
        format!("Your call `{title}` was denied. {why}")
    }

    /// Handles the end of the dialog.
    fn settle(&mut self, allowed: bool) {
        self.dialog = None;
        if self.answer.is_some() {
            return;
        }
        self.answer = Some(match allowed {
            true => PermissionAnswer::Allow,
            false => PermissionAnswer::Cancel,
        });
        if let Some(withdraw) = self.withdraw.take() {
            // The receiver is gone if the loop has received an answer meanwhile.
            let _answered = withdraw.send(Withdrawn::Answered { allowed });
        }
    }

    fn withdraw(self, withdrawn: Withdrawn) {
        if let Some(withdraw) = self.withdraw {
            let _answered = withdraw.send(withdrawn);
        }
        // Dropping the hook of a `PreToolUse` blocks the call.
        drop(self.hook);
    }
}

fn is_call(hook: &HookCall) -> bool {
    hook.input["hook_event_name"] == "PreToolUse"
}

fn ask() -> Value {
    blocking("ask", "agent-team asks for the permission, too")
}

/// The output of `PreToolUse` for `deny` or `ask`. A later hook that allows the call replaces the decision; `continue`
/// then still stops the call.
fn blocking(decision: &str, why: &str) -> Value {
    let mut printed = call_decision(decision, why);
    printed["continue"] = false.into();
    printed["stopReason"] = why.into();
    printed
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::super::super::hook_socket::HookAnswer;
    use super::*;

    type Printed = oneshot::Receiver<HookAnswer>;

    fn calls() -> (OpenCalls, UnboundedReceiver<(u64, Verdict)>) {
        let (sender, verdicts) = mpsc::unbounded_channel();
        (OpenCalls::new(sender), verdicts)
    }

    fn reported(id: &str, is_helper: bool) -> ReportedCall {
        ReportedCall {
            id: id.to_owned(),
            tool: "run_shell_command".to_owned(),
            input: json!({ "command": "ls" }),
            is_helper,
        }
    }

    fn hook(event: &str) -> (HookCall, Printed) {
        let (mut hook, printed) = HookCall::for_test(1);
        hook.input = json!({ "hook_event_name": event, "tool_input": { "command": "ls" } });
        (hook, printed)
    }

    async fn decision(printed: Printed) -> Value {
        let printed = printed.await.unwrap().stdout;
        let printed: Value = serde_json::from_str(&printed).unwrap_or_default();
        printed["hookSpecificOutput"].clone()
    }

    fn deny() -> Verdict {
        Verdict::Answered(PermissionAnswer::Deny("not today".to_owned()))
    }

    #[tokio::test]
    async fn an_answer_of_the_user_outlives_the_dropped_question() {
        let (mut calls, mut verdicts) = calls();
        calls.announced(reported("call-1", false));
        let (request, passed) = hook("PermissionRequest");
        let question = calls.requested(reported("", false), request, false);
        calls.decided(1, Verdict::Pending);
        assert!(decision(passed).await.is_null());
        let opened = calls.dialog_opened("r-1".to_owned(), reported("call-1", false));
        assert!(opened.0.is_none() && opened.1.is_none() && calls.has_dialog());
        calls.dialog_closed("r-1", true);
        drop(question);
        let (key, verdict) = verdicts.try_recv().unwrap();
        calls.decided(key, verdict);
        let (begins, printed) = hook("PreToolUse");
        let asked = calls.begins(reported("call-1", false), begins, false);
        assert!(asked.is_none());
        assert!(decision(printed).await.is_null(), "the call passes");
    }

    #[tokio::test]
    async fn an_input_that_another_hook_changes_is_decided_again() {
        let (mut calls, _verdicts) = calls();
        calls.announced(reported("call-1", false));
        let (request, printed) = hook("PermissionRequest");
        let _question = calls.requested(reported("", false), request, false);
        calls.decided(1, Verdict::Answered(PermissionAnswer::Allow));
        assert_eq!(decision(printed).await["decision"]["behavior"], "allow");
        let changed = ReportedCall {
            input: json!({ "command": "rm" }),
            ..reported("call-1", false)
        };
        let (begins, printed) = hook("PreToolUse");
        let question = calls.begins(changed, begins, false).unwrap();
        assert_eq!(question.call.title.as_deref(), Some("rm"));
        calls.decided(1, deny());
        let printed = printed.await.unwrap().stdout;
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let decision = &printed["hookSpecificOutput"]["permissionDecision"];
        assert_eq!(
            (decision.as_str(), &printed["continue"]),
            (Some("deny"), &json!(false))
        );
    }

    #[tokio::test]
    async fn a_decision_before_the_dialog_answers_the_dialog() {
        let (mut calls, _verdicts) = calls();
        let (begins, printed) = hook("PreToolUse");
        let _question = calls.begins(reported("call-1", false), begins, false);
        calls.decided(1, Verdict::Pending);
        assert_eq!(decision(printed).await["permissionDecision"], "ask");
        assert!(calls.decided(1, deny()).is_none());
        let (_, confirmation) = calls.dialog_opened("r-1".to_owned(), reported("call-1", false));
        let expected = Confirmation {
            request: "r-1".to_owned(),
            allowed: false,
            reason: Some("Your call `ls` was denied. not today".to_owned()),
        };
        assert_eq!(confirmation, Some(expected));
        // If the call still begins, it is blocked.
        let (begins, printed) = hook("PreToolUse");
        calls.begins(reported("call-1", false), begins, false);
        assert_eq!(decision(printed).await["permissionDecision"], "deny");
    }

    #[tokio::test]
    async fn a_call_in_a_cancelled_turn_opens_a_dialog_that_is_denied() {
        let (mut calls, _verdicts) = calls();
        let (begins, printed) = hook("PreToolUse");
        let asked = calls.begins(reported("call-1", false), begins, true);
        assert!(asked.is_none());
        assert_eq!(decision(printed).await["permissionDecision"], "ask");
        let (_, confirmation) = calls.dialog_opened("r-1".to_owned(), reported("call-1", false));
        assert!(confirmation.is_some_and(|it| !it.allowed && it.reason.is_none()));
    }

    #[tokio::test]
    async fn a_call_of_a_helper_runs_only_with_a_decision() {
        let (mut calls, _verdicts) = calls();
        let (request, _waits) = hook("PermissionRequest");
        let _question = calls.requested(reported("", true), request, false);
        calls.decided(1, Verdict::Pending);
        let (begins, printed) = hook("PreToolUse");
        let _other = calls.begins(reported("call-2", false), begins, false);
        calls.decided(2, deny());
        assert_eq!(decision(printed).await["permissionDecision"], "deny");
        calls.decided(1, Verdict::Answered(PermissionAnswer::Allow));
        for expected in [json!(null), json!("deny")] {
            let (begins, printed) = hook("PreToolUse");
            let _question = calls.begins(reported("call-3", true), begins, false);
            calls.decided(3, Verdict::Pending);
            assert_eq!(decision(printed).await["permissionDecision"], expected);
        }
    }

    #[tokio::test]
    async fn dropped_calls_are_blocked() {
        let (mut calls, _verdicts) = calls();
        let (begins, printed) = hook("PreToolUse");
        let _question = calls.begins(reported("call-1", false), begins, false);
        calls.clear();
        assert!(printed.await.is_err(), "the hook program blocks the call");
    }
}
