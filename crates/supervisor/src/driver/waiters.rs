//! Callers whose answer means done: they wait for a state, and get it when it is stored.

use agent_team_core::member::Life;
use agent_team_core::task::Outcome as TaskOutcome;
use agent_team_protocol::method::{DownAnswer, Outcome, RemoveAnswer, UpAnswer, WaitAnswer};
use agent_team_protocol::request::Permission;
use agent_team_protocol::view::{Fate, Placement, Receipt, ReceiptKind};
use agent_team_protocol::{ErrorCode, LaunchId, MemberName, Refusal, RequestId, RunId};
use agent_team_system::private_file;
use tokio::sync::oneshot;

use super::{Driver, Message};
use crate::launch::Order;
use crate::outbox::Reply;
use crate::view;

/// What a call's answer looks like, beyond what the core says.
#[derive(Debug)]
pub(super) enum Shape {
    Plain,
    Up {
        placement: Placement,
        placement_reason: String,
    },
    Down,
    /// What this member's model saw and said is stored.
    Append(MemberName),
    /// What the rules say to a call.
    Permit(Permission),
    /// Of a plan.
    Plan,
}

#[derive(Debug)]
pub(super) enum Waiter {
    /// Until her state is no longer a passing one.
    Member { reply: Reply, member: MemberName },
    /// Until it has left the team.
    Removed { reply: Reply, member: MemberName },
    /// Until nobody is on the way any more.
    Up { reply: Reply, answer: UpAnswer },
    /// Until it is not under way any more.
    Run { reply: Reply, run: RunId },
    /// Until somebody decides it.
    Request { reply: Reply, request: RequestId },
    /// Until a run wants to be told something by the lead's model.
    Question { reply: Reply },
    /// Until nothing is in progress and nothing can be taken.
    Quiet { reply: Reply },
}

/// A team on its way down.
#[derive(Debug, Default)]
pub(super) struct Down {
    replies: Vec<Reply>,
    receipts: Vec<Receipt>,
    closing: bool,
}

impl Driver {
    pub(super) fn check_waiters(&mut self) {
        for waiter in std::mem::take(&mut self.waiters) {
            if let Some(still) = self.check(waiter) {
                self.waiters.push(still);
            }
        }
        if self.team.is_down()
            && let Some(down) = &mut self.down
            && !down.closing
        {
            down.closing = true;
            self.close_panes();
        }
    }

    fn check(&self, waiter: Waiter) -> Option<Waiter> {
        match waiter {
            Waiter::Member { reply, member } => {
                let there = self.team.member(&member);
                if there.is_some_and(|there| there.life.is_passing()) {
                    return Some(Waiter::Member { reply, member });
                }
                if let Some(reason) = there.and_then(|there| there.objection.as_ref()) {
                    let text = format!("{member} objects: {reason}");
                    let hint = format!("agent-team stop {member} --force ends it all the same");
                    reply.refuse(Refusal::new(ErrorCode::Objected, text).hint(hint));
                    return None;
                }
                match self.member_answer(&member) {
                    Some(answer) => reply.ok(&answer),
                    None => reply.refuse(super::reads::unknown_member(&member)),
                }
            }
            Waiter::Removed { reply, member } => {
                let Some(there) = self.team.member(&member) else {
                    let revision = self.team.revision();
                    reply.ok(&RemoveAnswer { revision, member });
                    return None;
                };
                if there.life.is_passing() {
                    return Some(Waiter::Removed { reply, member });
                }
                let why = match &there.objection {
                    Some(reason) => format!("{member} objects: {reason}"),
                    None => format!("{member} was started again meanwhile"),
                };
                let hint = format!("agent-team member remove {member} --force removes it anyway");
                reply.refuse(Refusal::new(ErrorCode::Objected, why).hint(hint));
            }
            Waiter::Up { reply, mut answer } => {
                if self.team.members().any(|member| member.life.is_passing()) {
                    return Some(Waiter::Up { reply, answer });
                }
                answer.revision = self.team.revision();
                reply.ok(&answer);
            }
            Waiter::Run { reply, run } => match self.team.run() {
                Some(last) if last.id == run && last.is_under_way() => {
                    // A caller that has gone is told nothing, and so ends nothing.
                    if let Some(reason) = self.stuck().filter(|_| !reply.outbox().is_closed()) {
                        // The caller is answered once the end of the run is stored.
                        self.send_to_self(Message::RunStuck { run, reason });
                    }
                    return Some(Waiter::Run { reply, run });
                }
                Some(last) if last.id == run => reply.ok(&view::run(last)),
                Some(_) | None => {
                    let text = format!("another goal took the place of {run}");
                    reply.refuse(Refusal::new(ErrorCode::UnknownRun, text));
                }
            },
            Waiter::Request { reply, request } => {
                match super::requests::decided(self.team.requests().get(request)) {
                    Some(decided) => reply.ok(&decided),
                    None => return Some(Waiter::Request { reply, request }),
                }
            }
            Waiter::Question { reply } => match view::question(&self.team) {
                Some(question) => reply.ok(&question),
                None => return Some(Waiter::Question { reply }),
            },
            Waiter::Quiet { reply } => {
                if self.team.can_go_on() {
                    return Some(Waiter::Quiet { reply });
                }
                // Completed tasks have left the board.
                let all = self
                    .team
                    .board()
                    .iter()
                    .all(|task| task.outcome == TaskOutcome::Cancelled);
                let outcome = if all {
                    Outcome::Completed
                } else {
                    Outcome::Failed
                };
                let team = self.identity.team.clone();
                reply.ok(&WaitAnswer {
                    team,
                    outcome,
                    members: self.member_views(),
                });
            }
        }
        None
    }

    /// Why the run under way cannot end by itself any more, if so.
    fn stuck(&self) -> Option<String> {
        match self.team.lead().map(|lead| &lead.life) {
            Some(Life::Held { reason }) => Some(format!("the lead is held: {reason}")),
            Some(Life::Stopped) => Some("the lead was stopped".to_owned()),
            None => Some("the team has no lead any more".to_owned()),
            Some(Life::Ready { .. }) if self.team.is_stalled() => {
                Some("everybody is idle, and the lead has not finished the run".to_owned())
            }
            Some(
                Life::Planned
                | Life::Launching { .. }
                | Life::Ready { .. }
                | Life::Asked { .. }
                | Life::Draining { .. }
                | Life::Ending { .. }
                | Life::Cooling { .. },
            ) => None,
        }
    }

    pub(super) fn begin_down(&mut self, reply: Reply) {
        self.down.get_or_insert_default().replies.push(reply);
    }

    /// For the receipts, if the team is on its way down.
    pub(super) fn note_ended(&mut self, launch: &LaunchId, pids: &[u32], fate: Fate) {
        let member = self
            .live
            .get(launch)
            .map_or_else(|| launch.to_string(), |live| live.member.to_string());
        if let Some(down) = &mut self.down {
            down.receipts.extend(pids.iter().map(|pid| Receipt {
                kind: ReceiptKind::Process,
                what: format!("{pid} ({member})"),
                fate,
            }));
        }
    }

    /// Something would not die: the callers of `down` are told now, and it is tried on.
    pub(super) fn tell_survivors(&mut self) {
        if let Some(down) = self.down.take() {
            tell(down);
        }
    }

    fn close_panes(&self) {
        let (closed, receipts) = oneshot::channel();
        self.launcher.order(Order::CloseAll(closed));
        let driver = self.to_self.clone();
        tokio::task::spawn_local(async move {
            let receipts = receipts.await.unwrap_or_default();
            let _driver_gone = driver.send(Message::PanesClosed(receipts));
        });
    }

    pub(super) fn panes_closed(&mut self, receipts: Vec<Receipt>) {
        self.labels.clear();
        self.waiting.clear();
        let Some(mut down) = self.down.take() else {
            return;
        };
        if !self.team.is_down() {
            // Somebody brought it up again meanwhile: what was asked for has happened all the same.
            down.receipts.extend(receipts);
            return tell(down);
        }
        down.receipts.extend(receipts);
        let file = self
            .directories
            .environment_file(self.identity.team.as_str());
        match private_file::discard(&file) {
            Ok(true) => down.receipts.push(Receipt {
                kind: ReceiptKind::File,
                what: file.display().to_string(),
                fate: Fate::Removed,
            }),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "cannot remove the team's environment");
                down.receipts.push(Receipt {
                    kind: ReceiptKind::File,
                    what: file.display().to_string(),
                    fate: Fate::Survived,
                });
            }
        }
        tell(down);
        self.watch_for_down();
    }

    /// The team is being closed under those who wait: only a deleted team's callers can be told so, the others see the
    /// supervisor go and ask the next one.
    pub(super) fn dismiss_waiters(&mut self) {
        let refusal = super::deleted();
        for waiter in self.waiters.drain(..) {
            match waiter {
                Waiter::Member { reply, .. }
                | Waiter::Removed { reply, .. }
                | Waiter::Up { reply, .. }
                | Waiter::Run { reply, .. }
                | Waiter::Request { reply, .. }
                | Waiter::Question { reply }
                | Waiter::Quiet { reply } => {
                    reply.refuse(refusal.clone());
                }
            }
        }
    }
}

fn tell(down: Down) {
    let answer = DownAnswer {
        receipts: down.receipts,
    };
    for reply in down.replies {
        reply.ok(&answer);
    }
}
