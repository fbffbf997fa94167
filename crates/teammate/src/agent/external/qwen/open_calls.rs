//! Calls of Qwen Code that have not ended, and the decisions about them. Called by `qwen`.
//!
//! ```text
//! PermissionRequest ──► a rule allows or denies: printed
//!                   └─► pending: nothing is printed ──► dialog, can_use_tool ──► confirmation, or the user answers
//! PreToolUse ──► the decision above; otherwise Qwen Code does not ask about the call: a rule allows or denies,
//!            └─► pending: `ask` ──► dialog, as above
//! ```
//! `PermissionRequest` names no call: it belongs to the call with the same tool and input. A helper of Qwen Code has no
//! dialog that can be answered: `PermissionRequest` waits for its decision, and without one, `PreToolUse` denies.

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::super::channel::{PermissionAnswer, PermissionQuestion, Withdrawn};
use super::super::hook_door::HookCall;
use super::super::hooks::{call_decision, dialog_decision};
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
pub(super) struct Reported {
    /// Empty: it is unknown.
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
    /// Why the call is denied: the dialog takes no reason.
    pub(super) reason: Option<String>,
}

pub(super) struct OpenCalls {
    calls: Vec<OpenCall>,
    verdicts: mpsc::UnboundedSender<(u64, Verdict)>,
    last: u64,
}

struct OpenCall {
    key: u64,
    reported: Reported,
    /// The hook that waits for a decision.
    hook: Option<HookCall>,
    /// The request of the dialog on the screen.
    dialog: Option<String>,
    /// The question to the loop, while it is open.
    withdraw: Option<oneshot::Sender<Withdrawn>>,
    is_asked: bool,
    is_pending: bool,
    answer: Option<PermissionAnswer>,
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
    pub(super) fn announced(&mut self, reported: Reported) {
        if self.calls.len() < CALLS_MAX {
            self.add(reported);
        }
    }

    fn add(&mut self, reported: Reported) -> usize {
        self.last += 1;
        self.calls.push(OpenCall {
            key: self.last,
            reported,
            hook: None,
            dialog: None,
            withdraw: None,
            is_asked: false,
            is_pending: false,
            answer: None,
        });
        self.calls.len() - 1
    }

    /// The call with the id, or else a call with the same tool and input for which `is_it` holds.
    fn find(&self, reported: &Reported, is_it: impl Fn(&OpenCall) -> bool) -> Option<usize> {
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

    /// Handles `PermissionRequest`: Qwen Code is about to ask. Returns the question about the call. `is_cancelled`: its
    /// dialog is opened and denied, which ends the turn.
    pub(super) fn requested(
        &mut self,
        reported: Reported,
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

    /// Handles `PreToolUse`: Qwen Code is about to make the call. Returns the question about it, if it needs a decision that
    /// it has not got yet.
    pub(super) fn begins(
        &mut self,
        reported: Reported,
        hook: HookCall,
        is_cancelled: bool,
    ) -> Option<PermissionQuestion> {
        let is_helper = reported.is_helper;
        let found = self.find(&reported, |it| it.is_asked);
        if found.is_none() && self.calls.len() >= CALLS_MAX {
            // Dropping the hook blocks the call.
            return None;
        }
        let index = found.unwrap_or_else(|| self.add(reported));
        let open = &mut self.calls[index];
        let question = match open.answer.clone() {
            Some(PermissionAnswer::Allow) => {
                hook.print(&call_decision("allow", "agent-team"));
                None
            }
            Some(PermissionAnswer::Deny(why)) => {
                hook.print(&call_decision("deny", &why));
                None
            }
            Some(PermissionAnswer::Cancel) => {
                hook.print(&call_decision("deny", CANCELLED));
                None
            }
            // The user has allowed the call in its dialog.
            None if open.dialog.is_some() => {
                open.settle(true);
                hook.print(&call_decision("allow", "the user"));
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
        (open.is_asked, open.hook) = (true, Some(hook));
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
        let Reported {
            id, tool, input, ..
        } = &open.reported;
        let id = match id.is_empty() {
            true => format!("asked-{key}"),
            false => id.clone(),
        };
        let (verdicts, pending) = (self.verdicts.clone(), self.verdicts.clone());
        let question = PermissionQuestion::new(call(&id, tool, input), withdrawn, move |answer| {
            // Without a receiver, the channel has ended, and its hooks with it.
            let _ended = verdicts.send((key, Verdict::Answered(answer)));
        });
        question.with_reason_and_pending(move || {
            let _ended = pending.send((key, Verdict::Pending));
        })
    }

    /// Passes a verdict to the hook that waits for it, or to the dialog on the screen.
    pub(super) fn decided(&mut self, key: u64, verdict: Verdict) -> Option<Confirmation> {
        let index = self.calls.iter().position(|open| open.key == key)?;
        let open = &mut self.calls[index];
        let is_last = open.hook.as_ref().is_some_and(is_call);
        let confirmation = match verdict {
            Verdict::Pending => {
                open.open_dialog();
                None
            }
            // The user has answered first. The dropped question answers `Cancel`.
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

    /// Handles a dialog on the screen. Returns the question about its call, unless there is one already, and the answer to the
    /// dialog, if the decision precedes it.
    pub(super) fn dialog_opened(
        &mut self,
        request: String,
        reported: Reported,
    ) -> (Option<PermissionQuestion>, Option<Confirmation>) {
        let found = self.find(&reported, |it| it.is_asked && it.dialog.is_none());
        let is_decided = found.is_some_and(|index| self.calls[index].answer.is_some());
        if is_dialog(&reported.tool) && !is_decided {
            return (None, None);
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
        // Its hook has failed.
        (open.is_asked, open.is_pending) = (true, true);
        (Some(self.question(index)), None)
    }

    /// Handles the answer to a dialog, which agent-team or the user has given.
    pub(super) fn dialog_closed(&mut self, request: &str, allowed: bool) {
        let mut calls = self.calls.iter_mut();
        if let Some(open) = calls.find(|open| open.dialog.as_deref() == Some(request)) {
            open.settle(allowed);
        }
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

    /// Handles the end of a hook program whose answer Qwen Code no longer needs.
    pub(super) fn gone(&mut self, connection: u64) {
        let waits = |open: &OpenCall| {
            let hook = open.hook.as_ref();
            hook.is_some_and(|hook| hook.connection == connection)
        };
        if let Some(index) = self.calls.iter().position(waits) {
            self.calls.remove(index).withdraw(Withdrawn::Gone);
        }
    }

    /// Withdraws all questions: the turn has ended. The user has denied the dialogs that were open. The helpers of Qwen Code
    /// continue.
    pub(super) fn clear(&mut self) {
        let (helpers, calls) = std::mem::take(&mut self.calls)
            .into_iter()
            .partition(|open| open.reported.is_helper);
        self.calls = helpers;
        let calls: Vec<OpenCall> = calls;
        for open in calls {
            let withdrawn = match open.dialog.is_some() {
                true => Withdrawn::Answered { allowed: false },
                false => Withdrawn::Gone,
            };
            open.withdraw(withdrawn);
        }
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
                    .for_each(|hook| hook.print(&call_decision("deny", HELPER)));
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
            (false, answer) => hook.print(&dialog_decision(answer)),
            (true, PermissionAnswer::Allow) => hook.print(&call_decision("allow", "agent-team")),
            (true, PermissionAnswer::Deny(why)) => hook.print(&call_decision("deny", why)),
            (true, PermissionAnswer::Cancel) => hook.print(&call_decision("deny", CANCELLED)),
        }
        None
    }

    fn reason(&self, why: &str) -> String {
        let Reported { tool, input, .. } = &self.reported;
        let title = call("", tool, input).title.unwrap_or_default();
        format!("Your call `{title}` was denied. {why}")
    }

    /// The dialog is closed.
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
            // The loop no longer waits for the question if it has been answered meanwhile.
            let _answered = withdraw.send(Withdrawn::Answered { allowed });
        }
    }

    fn withdraw(self, withdrawn: Withdrawn) {
        if let Some(withdraw) = self.withdraw {
            let _answered = withdraw.send(withdrawn);
        }
        // A hook that decides about a call blocks it.
        drop(self.hook);
    }
}

fn is_call(hook: &HookCall) -> bool {
    hook.input["hook_event_name"] == "PreToolUse"
}

fn ask() -> Value {
    call_decision("ask", "agent-team asks for the permission, too")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::super::super::hook_door::HookAnswer;
    use super::*;

    type Printed = oneshot::Receiver<HookAnswer>;

    fn calls() -> (OpenCalls, UnboundedReceiver<(u64, Verdict)>) {
        let (sender, verdicts) = mpsc::unbounded_channel();
        (OpenCalls::new(sender), verdicts)
    }

    fn reported(id: &str, is_helper: bool) -> Reported {
        Reported {
            id: id.to_owned(),
            tool: "run_shell_command".to_owned(),
            input: json!({ "command": "ls" }),
            is_helper,
        }
    }

    fn hook(event: &str) -> (HookCall, Printed) {
        let (mut hook, printed) = HookCall::for_test(1);
        hook.input = json!({ "hook_event_name": event });
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
        assert_eq!(decision(printed).await["permissionDecision"], "allow");
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
        // Should the call begin nevertheless, it is blocked.
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
        for expected in ["allow", "deny"] {
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
