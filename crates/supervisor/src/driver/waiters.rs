//! Callers that are answered when a condition holds: `wait`, `up`, `stop` and the like. Called by the driver after each
//! commit.

use std::collections::BTreeMap;

use agent_team_core::Team;
use agent_team_core::member::Life;
use agent_team_core::request::{Request, RequestState};
use agent_team_core::task::TaskState;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::method::{RemoveAnswer, UpAnswer, WaitAnswer, WaitResult};
use agent_team_protocol::request::Decided;
use agent_team_protocol::{ErrorCode, MemberName, Refusal, RequestId, Revision, RunId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::views::{Views, unknown_member};
use crate::outbox::Reply;
use crate::view;

/// A condition that callers wait for. Checked once after each commit, regardless of the number of callers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// The member's state is not transient.
    Member(MemberName),
    /// The member has left the team.
    Removed(MemberName),
    /// No member's state is transient.
    Up,
    /// The run has ended.
    Run(RunId),
    /// The request is no longer pending.
    Request(RequestId),
    /// The run waits for the lead's model to answer a question.
    Question,
    /// No task is in progress, and no member can claim a task.
    Quiet,
}

/// The answer to all callers that wait for one condition.
type Answer = Result<Box<RawValue>, Refusal>;

#[derive(Debug)]
struct Waiter {
    reply: Reply,
    /// Set for callers of `up`.
    up: Option<Box<UpAnswer>>,
}

/// Waiting callers by condition.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_condition: BTreeMap<Condition, Vec<Waiter>>,
    count: usize,
    /// From this number of callers on, an insertion first drops the disconnected callers.
    sweep_at: usize,
}

/// No sweep takes place below this number of callers.
const SWEEP_MIN: usize = 64;

impl Waiters {
    /// Adds a caller for a condition that holds after a bounded time.
    pub(super) fn add(&mut self, condition: Condition, reply: Reply) {
        self.insert(condition, Waiter { reply, up: None });
    }

    /// Adds a caller for a condition that may never hold. Such calls are limited per connection.
    pub(super) fn wait(&mut self, condition: Condition, reply: Reply) {
        if let Some(reply) = reply.waiting() {
            self.add(condition, reply);
        }
    }

    pub(super) fn add_up(&mut self, answer: UpAnswer, reply: Reply) {
        let up = Some(Box::new(answer));
        self.insert(Condition::Up, Waiter { reply, up });
    }

    fn insert(&mut self, condition: Condition, waiter: Waiter) {
        if self.count >= self.sweep_at.max(SWEEP_MIN) {
            self.sweep();
        }
        self.by_condition.entry(condition).or_default().push(waiter);
        self.count += 1;
    }

    /// Drops disconnected callers. After a sweep that keeps N callers, at least N insertions precede the next sweep, so
    /// the cost of an insertion is constant on average.
    fn sweep(&mut self) {
        self.by_condition.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.reply.is_abandoned());
            !waiters.is_empty()
        });
        self.count = self.by_condition.values().map(Vec::len).sum();
        self.sweep_at = 2 * self.count;
    }

    /// The run and the reason, if the run cannot end by itself and a connected caller waits for it.
    pub(super) fn stuck_run(&self, team: &Team) -> Option<(RunId, String)> {
        let run = team.run().filter(|run| run.is_under_way())?.id;
        let mut waiters = self
            .by_condition
            .get(&Condition::Run(run))
            .into_iter()
            .flatten();
        if !waiters.any(|waiter| !waiter.reply.is_abandoned()) {
            return None;
        }
        Some((run, stuck(team)?))
    }

    /// The conditions that hold now, with their answers.
    pub(super) fn settled(&self, views: &Views<'_>) -> Vec<(Condition, Answer)> {
        let waited_for = self.by_condition.keys();
        waited_for
            .filter_map(|condition| Some((condition.clone(), settled(condition, views)?)))
            .collect()
    }

    /// Answers the callers of these conditions.
    pub(super) fn answer(&mut self, settled: Vec<(Condition, Answer)>, revision: Revision) {
        for (condition, answer) in settled {
            let waiters = self.by_condition.remove(&condition).unwrap_or_default();
            self.count -= waiters.len();
            for Waiter { reply, up } in waiters {
                match (&answer, up) {
                    (Ok(_), Some(mut answer)) => {
                        answer.revision = revision;
                        reply.ok(&answer);
                    }
                    (Ok(answer), None) => reply.ok(answer),
                    (Err(refusal), _) => reply.refuse(refusal.clone()),
                }
            }
        }
    }

    /// Refuses all callers. Used only when the team was deleted. When the supervisor stops, the callers get no answer:
    /// they see the connection end, and repeat the call at the next supervisor.
    pub(super) fn refuse_all(&mut self, refusal: &Refusal) {
        self.count = 0;
        for waiter in std::mem::take(&mut self.by_condition)
            .into_values()
            .flatten()
        {
            waiter.reply.refuse(refusal.clone());
        }
    }
}

/// The answer once the condition holds, `None` before.
fn settled(condition: &Condition, views: &Views<'_>) -> Option<Answer> {
    let team = views.team;
    match condition {
        Condition::Member(member) => {
            let found = team.member(member);
            if found.is_some_and(|found| found.life.is_transient()) {
                return None;
            }
            if let Some(reason) = found.and_then(|found| found.objection.as_ref()) {
                let text = format!("{member} objects: {reason}");
                let hint = format!("stop it anyway with: {}", CommandLine::StopForced(member));
                return Some(Err(Refusal::new(ErrorCode::Objected, text).hint(hint)));
            }
            let answer = views.member_answer(member);
            let unknown = || unknown_member(team, member);
            Some(answer.ok_or_else(unknown).and_then(|answer| raw(&answer)))
        }
        Condition::Removed(member) => {
            let Some(found) = team.member(member) else {
                let (revision, member) = (team.revision(), member.clone());
                return Some(raw(&RemoveAnswer { revision, member }));
            };
            if found.life.is_transient() {
                return None;
            }
            let why = match &found.objection {
                Some(reason) => format!("{member} objects: {reason}"),
                None => format!("{member} was started again"),
            };
            let forced = CommandLine::RemoveForced(member);
            let hint = format!("remove it anyway with: {forced}");
            Some(Err(Refusal::new(ErrorCode::Objected, why).hint(hint)))
        }
        Condition::Up => {
            let any_transient = team.members().any(|member| member.life.is_transient());
            // Each caller of `up` has its own answer.
            (!any_transient).then(|| raw(&()))
        }
        Condition::Run(run) => match team.run() {
            Some(last) if last.id == *run && last.is_under_way() => None,
            Some(last) if last.id == *run => Some(raw(&view::run(last))),
            Some(_) | None => {
                let text = format!("run {run} was replaced by another goal");
                Some(Err(Refusal::new(ErrorCode::UnknownRun, text)))
            }
        },
        Condition::Request(request) => {
            decided(team.requests().get(*request)).map(|decided| raw(&decided))
        }
        Condition::Question => view::question(team).map(|question| raw(&question)),
        Condition::Quiet => (!team.can_progress()).then(|| raw(&quiet(views))),
    }
}

fn quiet(views: &Views<'_>) -> WaitAnswer {
    // Completed tasks are not on the board. Cancelled tasks do not count as failed.
    let mut tasks = views.team.board().iter();
    let is_completed = tasks.all(|task| task.state == TaskState::Cancelled);
    WaitAnswer {
        team: views.identity.team.clone(),
        outcome: if is_completed {
            WaitResult::Completed
        } else {
            WaitResult::Failed
        },
        members: views.members(),
    }
}

/// The answer for a caller that waits for a request; `None` while the request is pending.
fn decided(request: Option<&Request>) -> Option<Decided> {
    Some(match request.map(|request| &request.state) {
        Some(RequestState::Pending) => return None,
        Some(RequestState::Allowed { scope, by, .. }) => Decided::Allowed {
            by: Some(by.clone()),
            scope: Some(*scope),
        },
        Some(RequestState::Denied { by, reason }) => Decided::Denied {
            by: by.clone(),
            reason: reason.to_string(),
        },
        Some(
            RequestState::Begun { .. }
            | RequestState::Ended
            | RequestState::Unknown
            | RequestState::Withdrawn,
        )
        | None => Decided::Over,
    })
}

/// Why the current run can no longer end by itself; `None` if it can.
fn stuck(team: &Team) -> Option<String> {
    match team.lead().map(|lead| &lead.life) {
        Some(Life::Held { reason }) => Some(format!("the lead is held: {reason}")),
        Some(Life::Stopped) => Some("the lead was stopped".to_owned()),
        None => Some("the team has no lead".to_owned()),
        Some(Life::Ready { .. }) if team.is_stalled() => Some(stalled(team)),
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

/// Why the run is stalled, with the reasons of the turns that could not continue.
fn stalled(team: &Team) -> String {
    let mut text = "all members are idle, and the lead has not finished the run".to_owned();
    for member in team.members() {
        if let Some(reason) = &member.turn_failure {
            text.push_str(&format!("; {} {reason}", member.spec.name));
        }
    }
    text
}

fn raw(answer: &impl Serialize) -> Answer {
    to_raw_value(answer).map_err(|error| Refusal::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use agent_team_core::input::{ClaimRef, CompletionHook, NewRun};
    use agent_team_core::{Answer as CoreAnswer, Call, Input, Origin};
    use agent_team_protocol::placement::Placement;
    use agent_team_protocol::spec::TaskSpec;

    use super::super::testing::{Frames, TestTeam, caller, name};
    use super::*;

    fn check(waiters: &mut Waiters, team: &TestTeam) {
        let settled = waiters.settled(&team.views());
        waiters.answer(settled, team.team.revision());
    }

    fn waiting(waiters: &mut Waiters, condition: Condition) -> Frames {
        let (reply, frames) = caller();
        waiters.wait(condition, reply);
        frames
    }

    #[test]
    fn waiting_calls_of_closed_connections_are_dropped() {
        let mut waiters = Waiters::default();
        for _ in 0..100 {
            let (outbox, _frames) = Frames::pair();
            for _ in 0..10 {
                let reply = Reply::new(&outbox, RawValue::NULL);
                waiters.wait(Condition::Quiet, reply);
            }
            outbox.close();
        }
        assert!(waiters.count <= 2 * SWEEP_MIN, "{}", waiters.count);
    }

    #[test]
    fn a_caller_waits_until_its_member_has_settled() {
        let mut team = TestTeam::of(&["ada"]);
        let mut waiters = Waiters::default();
        let mut ada = waiting(&mut waiters, Condition::Member(name("ada")));
        let mut unknown = waiting(&mut waiters, Condition::Member(name("unknown")));
        check(&mut waiters, &team);
        assert!(ada.next().is_none(), "ada is launching");
        assert!(unknown.next().unwrap()["error"].is_object());
        team.hello("ada", 7);
        check(&mut waiters, &team);
        assert_eq!(ada.next().unwrap()["result"]["member"]["pid"], 7);
        check(&mut waiters, &team);
        assert!(
            ada.next().is_none() && waiters.count == 0,
            "the caller is answered twice or still waits"
        );
    }

    #[test]
    fn up_gets_its_own_answer_with_the_new_revision() {
        let mut team = TestTeam::of(&["ada"]);
        let mut waiters = Waiters::default();
        let (reply, mut frames) = caller();
        let answer = UpAnswer {
            team: team.identity.team.clone(),
            revision: Revision(1),
            placement: Placement::Headless,
            placement_reason: "a test".to_owned(),
            changes: Vec::new(),
        };
        waiters.add_up(answer, reply);
        team.hello("lead", 6);
        check(&mut waiters, &team);
        assert!(frames.next().is_none(), "ada is launching");
        team.hello("ada", 7);
        check(&mut waiters, &team);
        let answer = frames.next().unwrap()["result"].take();
        assert_eq!(answer["placement_reason"], "a test");
        assert_eq!(answer["revision"], team.team.revision().0);
    }

    #[test]
    fn a_wait_for_quiet_ends_with_the_last_task() {
        let mut team = TestTeam::of(&[]);
        team.hello("lead", 6);
        let spec = TaskSpec {
            title: "build".to_owned(),
            ..TaskSpec::default()
        };
        let call = Call::AddTask {
            spec: crate::convert::task_spec(spec),
            after: Vec::new(),
            lines: Vec::new(),
        };
        let Ok(CoreAnswer::Task { task, .. }) = team.call(Origin::User, call) else {
            panic!("not a task");
        };
        let claim = Call::ClaimTask { task: Some(task) };
        let Ok(CoreAnswer::Task { generation, .. }) = team.call(Origin::User, claim) else {
            panic!("not a claim");
        };
        let mut waiters = Waiters::default();
        let mut quiet = waiting(&mut waiters, Condition::Quiet);
        check(&mut waiters, &team);
        assert!(quiet.next().is_none());
        let claim = ClaimRef {
            task,
            generation: Some(generation),
        };
        let call = Call::CompleteTask {
            claim,
            result: "done".into(),
            hook: CompletionHook::NotRun,
        };
        team.call(Origin::User, call).unwrap();
        check(&mut waiters, &team);
        assert_eq!(quiet.next().unwrap()["result"]["outcome"], "completed");
    }

    #[test]
    fn remove_is_refused_if_the_member_was_started_again() {
        let mut team = TestTeam::of(&["ada"]);
        let mut waiters = Waiters::default();
        let mut ada = waiting(&mut waiters, Condition::Removed(name("ada")));
        let mut gone = waiting(&mut waiters, Condition::Removed(name("gone")));
        check(&mut waiters, &team);
        assert!(ada.next().is_none(), "the state of ada is transient");
        assert_eq!(gone.next().unwrap()["result"]["member"], "gone");
        team.hello("ada", 7);
        check(&mut waiters, &team);
        let refusal = ada.next().unwrap();
        let text = refusal["error"]["message"].as_str().unwrap();
        assert!(text.contains("ada was started again"), "{text}");
    }

    #[test]
    fn a_run_with_a_stopped_lead_is_stuck_if_awaited() {
        let mut team = TestTeam::of(&[]);
        team.hello("lead", 6);
        let call = Call::StartRun(NewRun {
            goal: "ship".into(),
            ..NewRun::default()
        });
        let Ok(CoreAnswer::Run { run }) = team.call(Origin::User, call) else {
            panic!("not a run");
        };
        let mut waiters = Waiters::default();
        let mut frames = waiting(&mut waiters, Condition::Run(run));
        assert_eq!(waiters.stuck_run(&team.team), None, "the lead works");
        let launch = team.launch_of("lead");
        let call = Call::Kill {
            member: name("lead"),
        };
        team.call(Origin::User, call).unwrap();
        team.input(Input::TreeGone { launch });
        let stuck = waiters.stuck_run(&team.team);
        assert_eq!(stuck, Some((run, "the lead was stopped".to_owned())));
        frames.close();
        assert_eq!(waiters.stuck_run(&team.team), None, "no caller waits");
    }
}
