//! Turns a subscriber's notices into envelopes. Called by the command line and by the library; pure.
//!
//! The output is valid AG-UI even if notices are missing: a text or a call starts before its content, and ends before
//! its run ends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::document::{Document, Life, Operation, add};
use super::fact::{Decision, Fact, MemberPlan, Next, TaskPlan, json};
use super::{AgUi, Envelope};
use crate::id::{MemberName, Party, Revision, RoleName, RunId, TaskId, TeamId};
use crate::notification::{EventNotice, TransientNotice};
use crate::view::{TaskState, TaskView, TeamView, Usage};

/// Turns the notices of one team, in order, into envelopes.
#[derive(Debug)]
pub struct Envelopes {
    team: TeamId,
    pub(super) members: BTreeMap<MemberName, Known>,
    /// The owner of each task.
    owners: BTreeMap<TaskId, MemberName>,
    run: Option<RunId>,
    start: Document,
    /// Changes up to this revision are already part of `start`, so they are not sent again.
    start_at: Revision,
}

/// State of one member.
#[derive(Debug)]
pub(super) struct Known {
    role: RoleName,
    usage: Usage,
    /// The message that has begun and not ended.
    pub(super) text: Option<String>,
    /// The calls whose arguments have begun and not ended.
    pub(super) calls: BTreeSet<String>,
}

impl Known {
    fn new(role: RoleName) -> Self {
        Self {
            role,
            usage: Usage::default(),
            text: None,
            calls: BTreeSet::new(),
        }
    }
}

/// The notice that an envelope is made from.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) revision: Option<Revision>,
    pub(super) timestamp: Option<u64>,
}

impl Envelopes {
    /// For a subscriber that reads from the beginning.
    pub fn new(team: TeamId) -> Self {
        Self {
            team,
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            run: None,
            start: Document::default(),
            start_at: Revision(0),
        }
    }

    /// For a subscriber that reads from a revision before `team` was fetched; `tasks` was fetched after it.
    pub fn standing(team: &TeamView, tasks: &[TaskView]) -> Self {
        let known = |member: &crate::view::MemberView| {
            let known = Known {
                usage: member.usage,
                ..Known::new(member.role.clone())
            };
            (member.name.clone(), known)
        };
        let owner = |task: &TaskView| match (&task.owner, task.state) {
            (Some(Party::Member(owner)), TaskState::InProgress) => Some((task.id, owner.clone())),
            _ => None,
        };
        Self {
            members: team.members.iter().map(known).collect(),
            owners: tasks.iter().filter_map(owner).collect(),
            start: Document::of(team, tasks),
            start_at: team.revision,
            ..Self::new(team.team.clone())
        }
    }

    /// The state that all changes build on. Call it once: later the state would be out of date.
    pub fn snapshot(&mut self) -> Envelope {
        let snapshot = std::mem::take(&mut self.start);
        let origin = Origin {
            revision: None,
            timestamp: None,
        };
        let timestamp = None;
        self.wrap(
            None,
            AgUi::StateSnapshot {
                snapshot,
                timestamp,
            },
            origin,
        )
    }

    /// The envelopes of a stored event.
    pub fn event(&mut self, notice: &EventNotice) -> Vec<Envelope> {
        let origin = Origin {
            revision: Some(notice.revision),
            timestamp: Some(notice.at),
        };
        match serde_json::from_str(notice.event.get()) {
            Ok(fact) => self.fact(fact, origin),
            Err(_) => vec![self.custom(None, "event", json(notice.event.get()), origin)],
        }
    }

    /// The envelopes of a transient event.
    pub fn transient(&mut self, notice: &TransientNotice) -> Vec<Envelope> {
        let origin = Origin {
            revision: None,
            timestamp: (notice.at > 0).then_some(notice.at),
        };
        let mut told = Vec::new();
        for said in &notice.said {
            self.said(&notice.member, said, origin, &mut told);
        }
        if !notice.text.is_empty() {
            let value = json!({"task": notice.task, "text": notice.text});
            told.push(self.custom(Some(&notice.member), "output", value, origin));
        }
        told
    }

    fn fact(&mut self, fact: Fact, origin: Origin) -> Vec<Envelope> {
        match fact {
            Fact::MemberAdded { plan } => {
                let MemberPlan { name, role, lead } = plan;
                self.members.insert(name.clone(), Known::new(role.clone()));
                let value =
                    json!({"role": role, "lead": lead, "state": Life::Stopped, "why": null});
                let added = add(format!("/members/{name}"), value);
                self.change(Some(&name), vec![added], origin)
            }
            Fact::MemberChanged { plan } => {
                let MemberPlan { name, role, lead } = plan;
                if let Some(known) = self.members.get_mut(&name) {
                    known.role = role.clone();
                }
                let path = format!("/members/{name}");
                let changed = vec![
                    add(format!("{path}/role"), role),
                    add(format!("{path}/lead"), lead),
                ];
                self.change(Some(&name), changed, origin)
            }
            Fact::MemberRemoved { member } => {
                let mut told = self.fall_silent(&member, origin);
                let path = format!("/members/{member}");
                let removed = vec![Operation::Remove { path }];
                told.extend(self.change(Some(&member), removed, origin));
                self.members.remove(&member);
                told
            }
            Fact::MemberWanted { member } => self.life(&member, Life::Planned, None, origin),
            Fact::LaunchStarted { member } => self.life(&member, Life::Launching, None, origin),
            Fact::LaunchReady { member } => self.life(&member, Life::Ready, None, origin),
            Fact::LaunchDraining { member } => self.life(&member, Life::Draining, None, origin),
            Fact::LaunchEnding { member, reason } => {
                self.life(&member, Life::Draining, Some(reason), origin)
            }
            Fact::LaunchEnded { member, next } => {
                let mut told = self.fall_silent(&member, origin);
                told.extend(self.next(&member, next, origin));
                told
            }
            Fact::MemberParked { member, next } => self.next(&member, next, origin),

            Fact::TaskAdded {
                task,
                plan,
                created_by,
            } => {
                let added = add(format!("/tasks/{task}"), new_task(plan, &created_by));
                self.change(member(&created_by), vec![added], origin)
            }
            Fact::TaskChanged { task, plan } => {
                let Value::Object(fields) = planned(plan) else {
                    return Vec::new();
                };
                let changed = fields
                    .into_iter()
                    .map(|(field, value)| add(format!("/tasks/{task}/{field}"), value));
                self.change(None, changed.collect(), origin)
            }
            Fact::TaskClaimed {
                task,
                owner,
                generation,
                attempts,
            } => {
                if let Party::Member(owner) = &owner {
                    self.owners.insert(task, owner.clone());
                }
                let path = format!("/tasks/{task}");
                let claimed = vec![
                    add(format!("{path}/state"), TaskState::InProgress),
                    add(format!("{path}/owner"), &owner),
                    add(format!("{path}/generation"), generation),
                    add(format!("{path}/attempts"), attempts),
                    add(format!("{path}/result"), Value::Null),
                ];
                self.change(member(&owner), claimed, origin)
            }
            Fact::TaskReleased { task, note } => {
                self.left(task, TaskState::Pending, Some(note), origin)
            }
            Fact::TaskCompleted { task, result } => {
                self.ended(task, TaskState::Completed, result, origin)
            }
            Fact::TaskFailed { task, reason } => {
                self.ended(task, TaskState::Failed, reason, origin)
            }
            Fact::TaskCancelled { task } => self.left(task, TaskState::Cancelled, None, origin),
            Fact::TaskRetried { task } => self.left(task, TaskState::Pending, None, origin),
            Fact::TaskRefused {
                task,
                reason,
                refusals,
            } => {
                let value = json!({"task": task, "reason": reason, "refusals": refusals});
                vec![self.custom(self.owners.get(&task), "task_refused", value, origin)]
            }

            Fact::MessageAccepted {
                message,
                from,
                to,
                text,
                urgent,
                reply_to,
                note,
            } => {
                let sender = member(&from);
                let value = json!({
                    "id": message, "from": from, "to": to, "text": text, "urgent": urgent,
                    "reply_to": reply_to, "summary": note.summary,
                });
                vec![self.custom(sender, "message", value, origin)]
            }
            Fact::MessagesRead { member, messages } => {
                let value = json!({"messages": messages});
                vec![self.custom(Some(&member), "messages_read", value, origin)]
            }
            Fact::UserRead { messages } => {
                let value = serde_json::json!({ "messages": messages });
                vec![self.custom(None, "messages_read", value, origin)]
            }

            Fact::RunStarted { run, memory } => {
                self.run = Some(run);
                let started = AgUi::RunStarted {
                    thread_id: self.team.clone(),
                    run_id: run,
                    timestamp: origin.timestamp,
                };
                let mut told = vec![self.wrap(None, started, origin)];
                told.extend(
                    memory
                        .iter()
                        .map(|(key, value)| self.memory(key, value, origin)),
                );
                told
            }
            Fact::RunFinished { run, answer } => {
                let finished = AgUi::RunFinished {
                    thread_id: self.team.clone(),
                    run_id: run,
                    result: json!({"final_answer": answer}),
                    timestamp: origin.timestamp,
                };
                self.run_ended(run, finished, origin)
            }
            Fact::RunFailed {
                run,
                failure,
                reason,
            } => {
                let failed = AgUi::RunError {
                    message: reason,
                    code: Some(failure),
                    timestamp: origin.timestamp,
                };
                self.run_ended(run, failed, origin)
            }
            Fact::CoordinatorDecided {
                round,
                decision,
                text,
            } => {
                let value = match decision {
                    Decision::Member(member) => {
                        json!({"member": member, "text": text, "round": round})
                    }
                    Decision::Done => json!({"done": true, "text": text, "round": round}),
                    Decision::Unclear(why) => json!({"unclear": why, "text": text, "round": round}),
                };
                vec![self.custom(None, "coordinator_decision", value, origin)]
            }
            Fact::RoundStarted { round, member } => {
                let started = AgUi::StepStarted {
                    step_name: format!("round {round}: {member}"),
                    member: member.clone(),
                    round,
                    timestamp: origin.timestamp,
                };
                vec![self.wrap(Some(&member), started, origin)]
            }
            Fact::RoundEnded { round, member } => {
                let finished = AgUi::StepFinished {
                    step_name: format!("round {round}: {member}"),
                    member: member.clone(),
                    round,
                    timestamp: origin.timestamp,
                };
                vec![self.wrap(Some(&member), finished, origin)]
            }
            Fact::RunAbandoned { run } => {
                let abandoned = AgUi::RunError {
                    message: format!("{run} was replaced by another goal"),
                    code: Some("abandoned".to_owned()),
                    timestamp: origin.timestamp,
                };
                self.run_ended(run, abandoned, origin)
            }
            Fact::RunIdle {} => vec![self.custom(None, "idle", Value::Null, origin)],
            Fact::TranscriptGrown { member, mind } => match self.members.get_mut(&member) {
                Some(known) if known.usage != mind.spent => {
                    known.usage = mind.spent;
                    let value = json!(mind.spent);
                    vec![self.custom(Some(&member), "usage", value, origin)]
                }
                Some(_) | None => Vec::new(),
            },
            Fact::Remembered { key, value } => vec![self.memory(&key, &value, origin)],

            Fact::BudgetStands {
                member,
                measure,
                standing,
            } => {
                let value = json!({ "measure": measure, "standing": standing });
                vec![self.custom(member.as_ref(), "budget", value, origin)]
            }

            Fact::RequestAsked {
                request,
                member,
                call,
                plan,
            } => {
                let mut value =
                    json!({ "request": request, "state": "pending", "call": json(&call) });
                if let Some(plan) = plan {
                    value["plan"] = plan.number.into();
                }
                vec![self.custom(Some(&member), "permission", value, origin)]
            }
            Fact::RequestAllowed {
                request,
                by,
                scope,
                rules,
            } => {
                let state = "allowed";
                let value = json!({ "request": request, "state": state, "by": by, "scope": scope, "rules": rules });
                vec![self.custom(None, "permission", value, origin)]
            }
            Fact::RequestDenied {
                request,
                by,
                reason,
            } => {
                let state = "denied";
                let value =
                    json!({ "request": request, "state": state, "by": by, "reason": reason });
                vec![self.custom(None, "permission", value, origin)]
            }
            Fact::RequestWithdrawn { request } => {
                let value = json!({ "request": request, "state": "withdrawn" });
                vec![self.custom(None, "permission", value, origin)]
            }

            Fact::CallAllowed {}
            | Fact::CallDenied {}
            | Fact::LaunchAsked {}
            | Fact::LaunchObjected {}
            | Fact::RequestBegun {}
            | Fact::RequestEnded {}
            | Fact::GrantRevoked {}
            | Fact::GrantsEnded {}
            | Fact::RequestKept {}
            | Fact::GrantKept {}
            | Fact::LockKept {}
            | Fact::TeamPlanned {}
            | Fact::Booted {}
            | Fact::MemberIdle {}
            | Fact::Counted {}
            | Fact::KeyCompleted {}
            | Fact::TasksKept {}
            | Fact::TaskKept {}
            | Fact::MemberKept {}
            | Fact::MembersSuspended {}
            | Fact::AccountKept {}
            | Fact::TeamAccountKept {}
            | Fact::MessageKept {}
            | Fact::UserMailKept {}
            | Fact::CallAnswered {} => Vec::new(),
        }
    }

    fn run_ended(&mut self, run: RunId, end: AgUi, origin: Origin) -> Vec<Envelope> {
        let names: Vec<_> = self.members.keys().cloned().collect();
        let mut told: Vec<_> = names
            .iter()
            .flat_map(|name| self.fall_silent(name, origin))
            .collect();
        self.run = Some(run);
        told.push(self.wrap(None, end, origin));
        self.run = None;
        told
    }

    fn next(&mut self, name: &MemberName, next: Next, origin: Origin) -> Vec<Envelope> {
        let (life, why) = match next {
            Next::Launch => (Life::Planned, None),
            Next::Cool {} => (Life::Cooling, None),
            Next::Hold { reason } => (Life::Held, Some(reason)),
            Next::Stop => (Life::Stopped, None),
        };
        self.life(name, life, why, origin)
    }

    fn life(
        &self,
        name: &MemberName,
        life: Life,
        why: Option<String>,
        origin: Origin,
    ) -> Vec<Envelope> {
        let path = format!("/members/{name}");
        let changed = vec![
            add(format!("{path}/state"), life),
            add(format!("{path}/why"), why),
        ];
        self.change(Some(name), changed, origin)
    }

    /// The task was completed or failed; it keeps its owner.
    fn ended(
        &mut self,
        task: TaskId,
        state: TaskState,
        result: String,
        origin: Origin,
    ) -> Vec<Envelope> {
        let owner = self.owners.remove(&task);
        let path = format!("/tasks/{task}");
        let changed = vec![
            add(format!("{path}/state"), state),
            add(format!("{path}/result"), result),
        ];
        self.change(owner.as_ref(), changed, origin)
    }

    /// The task loses its owner.
    fn left(
        &mut self,
        task: TaskId,
        state: TaskState,
        result: Option<String>,
        origin: Origin,
    ) -> Vec<Envelope> {
        let owner = self.owners.remove(&task);
        let path = format!("/tasks/{task}");
        let changed = vec![
            add(format!("{path}/state"), state),
            add(format!("{path}/owner"), Value::Null),
            add(format!("{path}/result"), result),
        ];
        self.change(owner.as_ref(), changed, origin)
    }

    fn memory(&self, key: &str, value: &str, origin: Origin) -> Envelope {
        let value = json!({"key": key, "value": json(value)});
        self.custom(None, "memory", value, origin)
    }

    fn change(
        &self,
        whose: Option<&MemberName>,
        delta: Vec<Operation>,
        origin: Origin,
    ) -> Vec<Envelope> {
        if origin
            .revision
            .is_some_and(|revision| revision <= self.start_at)
        {
            return Vec::new();
        }
        let timestamp = origin.timestamp;
        vec![self.wrap(whose, AgUi::StateDelta { delta, timestamp }, origin)]
    }

    fn custom(
        &self,
        whose: Option<&MemberName>,
        name: &str,
        value: Value,
        origin: Origin,
    ) -> Envelope {
        debug_assert!(
            super::CUSTOM.iter().any(|event| event.name == name),
            "{name} is not in the list of CUSTOM events"
        );
        let custom = AgUi::Custom {
            name: name.to_owned(),
            value,
            timestamp: origin.timestamp,
        };
        self.wrap(whose, custom, origin)
    }

    pub(super) fn wrap(&self, whose: Option<&MemberName>, event: AgUi, origin: Origin) -> Envelope {
        Envelope {
            team_id: self.team.clone(),
            agent_id: whose.map(|name| format!("{name}@{}", self.team)),
            role_name: whose.and_then(|name| Some(self.members.get(name)?.role.clone())),
            run_id: self.run,
            event,
            revision: origin.revision,
        }
    }
}

fn member(party: &Party) -> Option<&MemberName> {
    match party {
        Party::Member(name) => Some(name),
        Party::User | Party::System => None,
    }
}

fn planned(plan: TaskPlan) -> Value {
    let TaskPlan {
        key,
        title,
        description,
        priority,
        labels,
        after,
        role,
        assignee,
        files,
        run,
        verify,
        active_form,
        metadata,
    } = plan;
    let metadata = metadata.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    json!({
        "key": key, "title": title, "description": description, "priority": priority,
        "labels": labels, "after": after, "role": role, "for": assignee, "files": files,
        "run": run, "verify": verify, "active_form": active_form, "metadata": metadata,
    })
}

fn new_task(plan: TaskPlan, created_by: &Party) -> Value {
    let mut task = planned(plan);
    task["created_by"] = json!(created_by);
    task["state"] = json!(TaskState::Pending);
    task["owner"] = Value::Null;
    task["generation"] = json!(0);
    task["attempts"] = json!(0);
    task["result"] = Value::Null;
    task
}
