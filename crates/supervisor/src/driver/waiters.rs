//! Calls that are answered when a condition holds: `wait`, `up`, `stop`, `down` and the like. Answers follow the
//! commit.

use std::collections::BTreeMap;

use agent_team_core::member::Life;
use agent_team_core::task::Outcome as TaskOutcome;
use agent_team_protocol::method::{DownAnswer, Outcome, RemoveAnswer, UpAnswer, WaitAnswer};
use agent_team_protocol::request::Permission;
use agent_team_protocol::view::{Fate, Placement, Receipt, ReceiptKind};
use agent_team_protocol::{ErrorCode, LaunchId, MemberName, Refusal, RequestId, RunId};
use agent_team_system::private_file;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use super::launches::LaunchRuntime;
use super::{Driver, Message};
use crate::launch::Order;
use crate::outbox::Reply;
use crate::view;

/// How the core's answer is turned into the method's answer.
#[derive(Debug)]
pub(super) enum ReplyShape {
    Plain,
    Up {
        placement: Placement,
        placement_reason: String,
    },
    Down,
    /// The answer of `transcript/append` of this member.
    Append(MemberName),
    /// The answer of a permission call that the rules decided.
    Permit(Permission),
    /// The answer of a plan proposal.
    Plan,
}

/// A condition that callers wait for. Checked once per batch, however many callers wait for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Until {
    /// The member's state is not transitional.
    Member(MemberName),
    /// The member has left the team.
    Removed(MemberName),
    /// No member's state is transitional.
    Up,
    /// The run has ended.
    Run(RunId),
    /// The request is decided.
    Request(RequestId),
    /// The run has a question for the lead's model.
    Question,
    /// No task is in progress and none can be claimed.
    Quiet,
}

#[derive(Debug)]
struct Waiter {
    reply: Reply,
    /// Set for callers of `up`.
    up: Option<Box<UpAnswer>>,
}

/// Waiting callers by condition.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by: BTreeMap<Until, Vec<Waiter>>,
    count: usize,
    /// At this number of callers those that disconnected are dropped.
    sweep_at: usize,
}

/// Below this number of callers no sweep takes place.
const SWEEP_MIN: usize = 64;

impl Waiters {
    pub(super) fn add(&mut self, until: Until, reply: Reply) {
        self.insert(until, Waiter { reply, up: None });
    }

    pub(super) fn add_up(&mut self, answer: UpAnswer, reply: Reply) {
        let up = Some(Box::new(answer));
        self.insert(Until::Up, Waiter { reply, up });
    }

    fn insert(&mut self, until: Until, waiter: Waiter) {
        if self.count >= self.sweep_at.max(SWEEP_MIN) {
            self.sweep();
        }
        self.by.entry(until).or_default().push(waiter);
        self.count += 1;
    }

    /// Drops disconnected callers. Amortised: each sweep follows at least as many insertions as it keeps callers.
    fn sweep(&mut self) {
        self.by.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.reply.is_abandoned());
            !waiters.is_empty()
        });
        self.count = self.by.values().map(Vec::len).sum();
        self.sweep_at = 2 * self.count;
    }

    /// Whether a connected caller waits for this condition.
    fn has_caller(&self, until: &Until) -> bool {
        let waiters = self.by.get(until).into_iter().flatten();
        waiters
            .into_iter()
            .any(|waiter| !waiter.reply.is_abandoned())
    }

    fn take(&mut self, until: &Until) -> Vec<Waiter> {
        let waiters = self.by.remove(until).unwrap_or_default();
        self.count -= waiters.len();
        waiters
    }

    fn take_all(&mut self) -> impl Iterator<Item = Waiter> + use<> {
        self.count = 0;
        std::mem::take(&mut self.by).into_values().flatten()
    }
}

/// A `down` in progress.
#[derive(Debug, Default)]
pub(super) struct PendingDown {
    replies: Vec<Reply>,
    receipts: Vec<Receipt>,
    closing: bool,
}

impl PendingDown {
    /// One receipt for each process: after a failed commit its end is carried out, and reported, a second time.
    fn note(&mut self, pid: u32, member: &str, fate: Fate) {
        let begins = format!("{pid} (");
        let known = self.receipts.iter_mut().find(|receipt| {
            receipt.kind == ReceiptKind::Process && receipt.what.starts_with(&begins)
        });
        match known {
            Some(receipt) => receipt.fate = fate,
            None => self.receipts.push(Receipt {
                kind: ReceiptKind::Process,
                what: format!("{begins}{member})"),
                fate,
            }),
        }
    }
}

impl Driver {
    /// Registers a caller for a condition that may never hold. Such calls are limited per connection.
    pub(super) fn wait(&mut self, reply: Reply, until: Until) {
        if let Some(reply) = reply.waiting() {
            self.waiters.add(until, reply);
        }
    }

    /// Ends a run that can no longer end by itself, if a caller waits for it. The caller is answered when the end is
    /// stored.
    fn end_stuck_run(&mut self) {
        let run = self.team.run().filter(|run| run.is_under_way());
        let Some(run) = run.map(|run| run.id) else {
            return;
        };
        if self.waiters.has_caller(&Until::Run(run))
            && let Some(reason) = self.stuck()
        {
            self.send_to_self(Message::RunStuck { run, reason });
        }
    }

    pub(super) fn check_waiters(&mut self) {
        self.end_stuck_run();
        let waited_for = self.waiters.by.keys();
        let settled: Vec<(Until, Answer)> = waited_for
            .filter_map(|until| Some((until.clone(), self.settled(until)?)))
            .collect();
        for (until, answer) in settled {
            for waiter in self.waiters.take(&until) {
                self.answer_waiter(waiter, &answer);
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

    fn answer_waiter(&self, waiter: Waiter, answer: &Answer) {
        let Waiter { reply, up } = waiter;
        match (answer, up) {
            (Ok(_), Some(mut answer)) => {
                answer.revision = self.team.revision();
                reply.ok(&answer);
            }
            (Ok(answer), None) => reply.ok(answer),
            (Err(refusal), _) => reply.refuse(refusal.clone()),
        }
    }

    /// The answer once the condition holds, `None` before.
    fn settled(&self, until: &Until) -> Option<Answer> {
        match until {
            Until::Member(member) => {
                let there = self.team.member(member);
                if there.is_some_and(|there| there.life.is_transient()) {
                    return None;
                }
                if let Some(reason) = there.and_then(|there| there.objection.as_ref()) {
                    let text = format!("{member} objects: {reason}");
                    let hint = format!("stop it anyway with: agent-team stop {member} --force");
                    return Some(Err(Refusal::new(ErrorCode::Objected, text).hint(hint)));
                }
                let answer = self.member_answer(member);
                let unknown = || super::queries::unknown_member(member);
                Some(answer.ok_or_else(unknown).and_then(|answer| raw(&answer)))
            }
            Until::Removed(member) => {
                let Some(there) = self.team.member(member) else {
                    let (revision, member) = (self.team.revision(), member.clone());
                    return Some(raw(&RemoveAnswer { revision, member }));
                };
                if there.life.is_transient() {
                    return None;
                }
                let why = match &there.objection {
                    Some(reason) => format!("{member} objects: {reason}"),
                    None => format!("{member} was started again"),
                };
                let hint =
                    format!("remove it anyway with: agent-team member remove {member} --force");
                Some(Err(Refusal::new(ErrorCode::Objected, why).hint(hint)))
            }
            Until::Up => {
                let passing = self.team.members().any(|member| member.life.is_transient());
                // Each caller of `up` has its own answer.
                (!passing).then(|| raw(&()))
            }
            Until::Run(run) => match self.team.run() {
                Some(last) if last.id == *run && last.is_under_way() => None,
                Some(last) if last.id == *run => Some(raw(&view::run(last))),
                Some(_) | None => {
                    let text = format!("run {run} was replaced by another goal");
                    Some(Err(Refusal::new(ErrorCode::UnknownRun, text)))
                }
            },
            Until::Request(request) => {
                let decided = super::permissions::decided(self.team.requests().get(*request));
                decided.map(|decided| raw(&decided))
            }
            Until::Question => view::question(&self.team).map(|question| raw(&question)),
            Until::Quiet => (!self.team.can_progress()).then(|| raw(&self.quiet())),
        }
    }

    fn quiet(&self) -> WaitAnswer {
        // Completed tasks are not on the board.
        let mut left = self.team.board().iter();
        let all = left.all(|task| task.outcome == TaskOutcome::Cancelled);
        WaitAnswer {
            team: self.identity.team.clone(),
            outcome: if all {
                Outcome::Completed
            } else {
                Outcome::Failed
            },
            members: self.member_views(),
        }
    }

    /// Why the current run can no longer end by itself, if so.
    fn stuck(&self) -> Option<String> {
        match self.team.lead().map(|lead| &lead.life) {
            Some(Life::Held { reason }) => Some(format!("the lead is held: {reason}")),
            Some(Life::Stopped) => Some("the lead was stopped".to_owned()),
            None => Some("the team has no lead".to_owned()),
            Some(Life::Ready { .. }) if self.team.is_stalled() => {
                Some("all members are idle, and the lead has not finished the run".to_owned())
            }
            Some(
                Life::Planned
                | Life::Launching { .. }
                | Life::Ready { .. }
                | Life::StopRequested { .. }
                | Life::Draining { .. }
                | Life::Ending { .. }
                | Life::Cooling { .. },
            ) => None,
        }
    }

    pub(super) fn begin_down(&mut self, reply: Reply) {
        self.down.get_or_insert_default().replies.push(reply);
    }

    /// Adds receipts if the team is going down.
    pub(super) fn note_ended(&mut self, launch: &LaunchId, pids: &[u32], fate: Fate) {
        let runtime = self.launches.get(launch).map(LaunchRuntime::member);
        let member = self.team.member_of(launch).map(|member| &member.plan.name);
        let member = runtime
            .or(member)
            .map_or_else(|| launch.to_string(), ToString::to_string);
        if let Some(down) = &mut self.down {
            for pid in pids {
                down.note(*pid, &member, fate);
            }
        }
    }

    /// A process survives SIGKILL: callers of `down` are answered now, while the end is retried.
    pub(super) fn report_survivors(&mut self) {
        if let Some(down) = self.down.take() {
            answer_down(down);
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
            // Another `up` came first: the members were stopped, so the callers of `down` get their receipts; the
            // environment of the new `up` is kept.
            down.receipts.extend(receipts);
            return answer_down(down);
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
        answer_down(down);
        self.watch_for_down();
    }

    /// Answers all waiting callers of a deleted team. When the supervisor only stops they get no answer: they see the
    /// connection end, and repeat the call at the next supervisor.
    pub(super) fn dismiss_waiters(&mut self) {
        let refusal = super::deleted();
        for waiter in self.waiters.take_all() {
            waiter.reply.refuse(refusal.clone());
        }
    }
}

/// The answer to all callers that wait for one condition.
type Answer = Result<Box<RawValue>, Refusal>;

fn raw(answer: &impl Serialize) -> Answer {
    to_raw_value(answer).map_err(|error| Refusal::internal(error.to_string()))
}

fn answer_down(down: PendingDown) {
    let answer = DownAnswer {
        receipts: down.receipts,
    };
    for reply in down.replies {
        reply.ok(&answer);
    }
}

#[cfg(test)]
mod tests {
    use agent_team_system::connection::FrameWriter;
    use agent_team_system::socket::Stream;
    use serde_json::value::RawValue;

    use super::*;
    use crate::outbox::Outbox;

    #[test]
    fn waiting_calls_of_closed_connections_are_dropped() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut waiters = Waiters::default();
            for _ in 0..100 {
                let (ours, _theirs) = Stream::pair().unwrap();
                let outbox = Outbox::start(FrameWriter::new(ours.into_halves().1));
                for _ in 0..10 {
                    let reply = Reply::new(&outbox, RawValue::NULL).waiting().unwrap();
                    waiters.add(Until::Quiet, reply);
                }
                outbox.close();
            }
            assert!(waiters.count <= 2 * SWEEP_MIN, "{}", waiters.count);
        });
    }
}
