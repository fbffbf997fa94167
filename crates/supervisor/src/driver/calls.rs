//! What clients and members ask for: changes go to the core, questions wait until what they may see is stored.

use agent_team_core::input::UpPlan;
use agent_team_core::refusal::PLAN_FIRST;
use agent_team_core::{
    Answer, Call, CallKey, Caller, Context, Effect, Input, Origin, ReplyTo, Team,
};
use agent_team_protocol::method::{
    Attach, Change, ChangeKind, GetMemory, HoldPane, ListMessages, ListRounds, ListTasks, Nothing,
    ReadTranscript, RunAnswer, SendAnswer, Spawn, Subscribe, TaskAnswer, TranscriptAnswer,
    UpAnswer,
};
use agent_team_protocol::request::{
    AskRequest, DecideRequest, Decision, ListRequests, OneRequest, Permission, ProposePlan,
};
use agent_team_protocol::rule::CheckRules;
use agent_team_protocol::spec::TeamSpec;
use agent_team_protocol::view::Placement;
use agent_team_protocol::{ErrorCode, MemberName, Refusal, RequestId, RunId, TaskId, TeamId};
use agent_team_system::private_file;

use super::waiters::{Shape, Waiter};
use super::{After, Driver, WantedTeam, now};
use crate::convert;
use crate::outbox::Reply;
use crate::permission;
use crate::settings::{Place, TeamSettings, Terminal};

/// One call for one team.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) by: Origin,
    /// Who repeats its keys.
    pub(crate) caller: Caller,
    pub(crate) key: Option<String>,
    /// Of the method and its arguments.
    pub(crate) digest: u64,
    pub(crate) reply: Reply,
    pub(crate) asked: Asked,
}

#[derive(Debug)]
pub(crate) enum Asked {
    Change(Box<Call>),
    Up(Box<WantedTeam>),
    Spawn(Spawn),
    ShowTeam,
    ShowMember(MemberName),
    FindLog(MemberName),
    ListMessages(ListMessages),
    ListTasks(ListTasks),
    ShowTask(TaskId),
    Wait,
    WaitForRun(RunId),
    WaitForQuestion,
    Ask(Box<AskRequest>),
    Propose(ProposePlan),
    WaitForRequest(RequestId),
    Decide(Box<DecideRequest>),
    ForgetRule(String),
    ListRequests(ListRequests),
    ShowRequest(RequestId),
    ListRules,
    CheckRules(Box<CheckRules>),
    ListRounds(ListRounds),
    ReadTranscript(ReadTranscript),
    Recall(GetMemory),
    Attach(Attach),
    Reopen(Option<MemberName>),
    Hold(HoldPane),
    Subscribe(Subscribe),
}

impl Request {
    /// Whether it ends something, so that it is taken whatever the disk says.
    pub(super) fn is_urgent(&self) -> bool {
        match &self.asked {
            Asked::Change(call) => {
                matches!(
                    **call,
                    Call::Stop { .. }
                        | Call::Kill { .. }
                        | Call::Down { .. }
                        | Call::LastWords { .. }
                )
            }
            Asked::Decide(decide) => !matches!(decide.decision, Decision::Allow { .. }),
            Asked::ForgetRule(_) => true,
            Asked::Up(_) | Asked::Spawn(_) | Asked::Ask(_) | Asked::Propose(_) => false,
            Asked::WaitForRequest(_)
            | Asked::ListRequests(_)
            | Asked::ShowRequest(_)
            | Asked::ListRules
            | Asked::CheckRules(_)
            | Asked::ShowTeam
            | Asked::ShowMember(_)
            | Asked::FindLog(_)
            | Asked::ListMessages(_)
            | Asked::ListTasks(_)
            | Asked::ShowTask(_)
            | Asked::Wait
            | Asked::WaitForRun(_)
            | Asked::WaitForQuestion
            | Asked::ListRounds(_)
            | Asked::ReadTranscript(_)
            | Asked::Recall(_)
            | Asked::Attach(_)
            | Asked::Reopen(_)
            | Asked::Hold(_)
            | Asked::Subscribe(_) => false,
        }
    }

    pub(super) fn is_read(&self) -> bool {
        !matches!(
            self.asked,
            Asked::Change(_)
                | Asked::Up(_)
                | Asked::Spawn(_)
                | Asked::Ask(_)
                | Asked::Propose(_)
                | Asked::Decide(_)
                | Asked::ForgetRule(_)
        )
    }
}

impl Driver {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is no change is a question"
    )]
    pub(super) fn called(&mut self, request: Request) {
        if let Origin::Member { launch, .. } = &request.by {
            self.heard(&launch.clone());
        }
        let Some(request) = self.admit(request) else {
            return;
        };
        let urgent = request.is_urgent();
        let Request {
            by,
            caller,
            key,
            digest,
            reply,
            asked,
        } = request;
        let key = key.map(|key| CallKey {
            caller: caller.clone(),
            key,
            digest,
        });
        match asked {
            Asked::Change(call) => {
                let shape = match (&*call, &by) {
                    (Call::Down { .. }, _) => Shape::Down,
                    (Call::Append(_), Origin::Member { name, .. }) => Shape::Append(name.clone()),
                    _ => Shape::Plain,
                };
                if let (Call::Read { .. } | Call::Append(_), Origin::Member { name, .. }) =
                    (&*call, &by)
                {
                    self.turn.after.push(After::Pump(name.clone()));
                }
                self.turn.urgent |= urgent;
                self.call(by, key, reply, shape, *call);
            }
            Asked::Up(wanted) => self.up(by, key, reply, *wanted),
            Asked::Ask(ask) => self.ask_permission(by, key, reply, &ask),
            Asked::ForgetRule(rule) => self.forget_rule(by, key, reply, &rule),
            Asked::Propose(plan) => self.propose_plan(by, key, reply, plan),
            Asked::Decide(decide) => {
                self.turn.urgent |= urgent;
                self.decide(by, key, reply, *decide);
            }
            Asked::Spawn(spawn) => {
                let allowed = match &by {
                    Origin::Member { name, .. } => {
                        convert::check_may_spawn(name, &spawn.role, &self.team)
                    }
                    Origin::User => Ok(()),
                };
                let plan = allowed
                    .and_then(|()| convert::spawn_plan(spawn, &self.identity.project, &self.team));
                match plan {
                    Ok(plan) => self.call(by, key, reply, Shape::Plain, Call::Spawn { plan }),
                    Err(refusal) => reply.refuse(refusal),
                }
            }
            question => {
                let request = Request {
                    by,
                    caller,
                    key: None,
                    digest,
                    reply,
                    asked: question,
                };
                self.turn.after.push(After::Read(request));
            }
        }
    }

    pub(super) fn call(
        &mut self,
        by: Origin,
        key: Option<CallKey>,
        reply: Reply,
        shape: Shape,
        call: Call,
    ) {
        let to = ReplyTo(self.next_reply);
        self.next_reply += 1;
        self.pending.insert(to, (reply, shape));
        self.step(Input::Called {
            by,
            key,
            reply: to,
            call: Box::new(call),
        });
    }

    fn up(&mut self, by: Origin, key: Option<CallKey>, reply: Reply, wanted: WantedTeam) {
        let WantedTeam {
            mut spec,
            environment,
            mut place,
            dry_run,
        } = wanted;
        if !self.team.is_down()
            && let Some(settings) = TeamSettings::of(self.team.plan())
        {
            // A team that is up stays where it is.
            place = settings.place;
        }
        if let Err(refusal) = permission::check(&spec) {
            return reply.refuse(refusal);
        }
        permission::tell(&mut spec);
        let plan = convert::up_plan(spec, place.clone(), &self.team);
        // What is refused must leave no environment behind: that is what marks a team as up.
        let answer = match would_answer(&self.team, &self.identity.team, &place, plan.clone()) {
            Ok(answer) => answer,
            Err(refusal) => return reply.refuse(refusal),
        };
        if dry_run {
            return reply.ok(&answer);
        }
        let environment = serde_json::to_vec(&environment).expect("an environment has string keys");
        let file = self
            .directories
            .environment_file(self.identity.team.as_str());
        if let Err(error) = private_file::replace(&file, &environment) {
            let text = format!(
                "cannot keep the team's environment in {}: {error}",
                file.display()
            );
            reply.refuse(Refusal::new(ErrorCode::StorageFull, text));
            return;
        }
        let shape = Shape::Up {
            placement: answer.placement,
            placement_reason: answer.placement_reason,
        };
        self.call(by, key, reply, shape, Call::Up(Box::new(plan)));
        // Before any launch of this turn is carried out.
        self.place();
    }

    /// Answers a call that was decided.
    pub(super) fn answer(
        &mut self,
        to: ReplyTo,
        outcome: Result<Answer, agent_team_core::Refused>,
    ) {
        let Some((reply, shape)) = self.pending.remove(&to) else {
            return;
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(refused) => return reply.refuse(convert::refusal(&refused)),
        };
        match (answer, shape) {
            (Answer::Done, Shape::Down) => self.begin_down(reply),
            (Answer::Done, _) => reply.ok(&Nothing {}),
            (
                Answer::Task {
                    task,
                    generation,
                    overlaps,
                },
                _,
            ) => {
                reply.ok(&TaskAnswer {
                    task,
                    generation,
                    overlaps,
                });
            }
            (Answer::Request { request }, Shape::Plan) => reply.ok(&OneRequest { request }),
            (Answer::Request { request }, _) => reply.ok(&Permission::Asked { request }),
            (Answer::CallAllowed, Shape::Permit(permission @ Permission::Allowed { .. }))
            | (Answer::CallDenied, Shape::Permit(permission @ Permission::Denied { .. })) => {
                reply.ok(&permission);
            }
            (Answer::CallAllowed | Answer::CallDenied, _) => {
                let text = "the rules have changed since this was first asked: ask anew";
                reply.refuse(Refusal::new(ErrorCode::NotAllowed, text));
            }
            (Answer::PlanFirst, _) => reply.ok(&Permission::Denied {
                why: PLAN_FIRST.to_owned(),
            }),
            (Answer::Run { run }, _) => reply.ok(&RunAnswer { run }),
            (Answer::Length { length }, Shape::Append(member)) => reply.ok(&TranscriptAnswer {
                length,
                allowance: self.allowance(&member),
            }),
            (Answer::Length { .. }, _) => {
                reply.refuse(Refusal::internal("a transcript is a member's"));
            }
            (Answer::Sent { message, to }, _) => reply.ok(&SendAnswer { id: message, to }),
            (Answer::Member { member }, _) => self.waiters.push(Waiter::Member { reply, member }),
            (
                Answer::Up { changes },
                Shape::Up {
                    placement,
                    placement_reason,
                },
            ) => {
                let answer = UpAnswer {
                    team: self.identity.team.clone(),
                    revision: self.team.revision(),
                    placement,
                    placement_reason,
                    changes: changes.into_iter().map(change).collect(),
                };
                self.reopen_all();
                self.waiters.push(Waiter::Up { reply, answer });
            }
            (Answer::Up { .. }, _) => {
                reply.refuse(Refusal::internal("up was asked for as something else"))
            }
        }
    }
}

/// What `up` would tell of a team that begins with it.
pub(crate) fn preview(spec: &TeamSpec, place: &Place) -> Result<UpAnswer, Refusal> {
    let nobody = Team::default();
    let plan = convert::up_plan(spec.clone(), place.clone(), &nobody);
    would_answer(
        &nobody,
        &TeamId::new(&spec.name, &spec.project),
        place,
        plan,
    )
}

/// What `up` would tell of a team as it is now. It is done on a copy.
fn would_answer(
    team: &Team,
    id: &TeamId,
    place: &Place,
    plan: UpPlan,
) -> Result<UpAnswer, Refusal> {
    let context = Context {
        now: now(),
        wall: 0,
        seed: [0; 32],
    };
    let step = team.clone().step(
        &context,
        Input::Called {
            by: Origin::User,
            key: None,
            reply: ReplyTo(0),
            call: Box::new(Call::Up(Box::new(plan))),
        },
    );
    let outcome = step.effects.into_iter().find_map(|effect| {
        if let Effect::Reply { outcome, .. } = effect {
            Some(outcome)
        } else {
            None
        }
    });
    match outcome {
        Some(Ok(Answer::Up { changes })) => Ok(UpAnswer {
            team: id.clone(),
            revision: team.revision(),
            placement: placement(&place.terminal),
            placement_reason: place.reason.clone(),
            changes: changes.into_iter().map(change).collect(),
        }),
        Some(Err(refused)) => Err(convert::refusal(&refused)),
        Some(Ok(_)) | None => Err(Refusal::internal("up was answered as something else")),
    }
}

fn placement(terminal: &Terminal) -> Placement {
    match terminal {
        Terminal::Headless => Placement::Headless,
        Terminal::Hosted => Placement::Hosted,
        Terminal::Tmux(_) => Placement::Tmux,
    }
}

fn change(change: agent_team_core::Change) -> Change {
    use agent_team_core::{ChangeKind as Core, Changed};
    let what = match change.what {
        Changed::Member(name) => format!("member {name}"),
        Changed::Task(key) => format!("task {key}"),
    };
    let (kind, note) = match change.change {
        Core::Started => (ChangeKind::Started, None),
        Core::Restarted => (ChangeKind::Restarted, None),
        Core::Stopped => (ChangeKind::Stopped, None),
        Core::Added => (ChangeKind::Added, None),
        Core::Updated => (ChangeKind::Updated, None),
        Core::Cancelled => (ChangeKind::Cancelled, None),
        Core::LeftInProgress => (ChangeKind::Left, Some("it is in progress".to_owned())),
    };
    Change {
        what,
        change: kind,
        note,
    }
}
