//! Turns a subscriber's notices into envelopes. Called by the command line, the library and the HTTP service; pure.
//!
//! The output is valid AG-UI even if notices are missing: a text or a call starts before its content, and ends before
//! its run ends.

mod live_output;
mod state_snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use agent_team_protocol::envelope::state_snapshot::{LaunchState, Operation, StateSnapshot};
use agent_team_protocol::envelope::{AgUi, CUSTOM, Envelope};
use agent_team_protocol::event::{ClientEvent, MemberSummary, Next};
use agent_team_protocol::notification::{EventNotice, TransientNotice};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::value::RoundChoice;
use agent_team_protocol::view::{MemberView, TaskState, TaskView, TeamView, Usage};
use agent_team_protocol::{MemberName, Party, Revision, RoleName, RunId, TaskId, TeamId};
use serde_json::{Value, json};

use self::state_snapshot::add;
use crate::session::Notice;

/// Turns the notices of one team, in order, into envelopes.
#[derive(Debug)]
pub struct Envelopes {
    team: TeamId,
    members: BTreeMap<MemberName, MemberProgress>,
    /// The owner of each task in progress, if the owner is a member.
    owners: BTreeMap<TaskId, MemberName>,
    run: Option<RunId>,
    /// The state at the start. [`Envelopes::snapshot`] takes it.
    start: StateSnapshot,
    /// Changes up to this revision are already part of `start`, so they are not sent again.
    start_at: Revision,
}

#[derive(Debug)]
struct MemberProgress {
    role: RoleName,
    usage: Usage,
    /// The id of the text message that has begun and not ended.
    text: Option<String>,
    /// The ids of the calls whose arguments have begun and not ended.
    calls: BTreeSet<String>,
}

impl MemberProgress {
    fn new(role: RoleName) -> Self {
        Self {
            role,
            usage: Usage::default(),
            text: None,
            calls: BTreeSet::new(),
        }
    }
}

/// Revision and time of the notice that an envelope is made from.
#[derive(Clone, Copy)]
struct Origin {
    revision: Option<Revision>,
    timestamp: Option<u64>,
}

impl Envelopes {
    /// Creates the conversion for a subscriber that reads from revision 0.
    pub fn new(team: TeamId) -> Self {
        Self {
            team,
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            run: None,
            start: StateSnapshot::default(),
            start_at: Revision(0),
        }
    }

    /// Creates the conversion for a subscriber that starts at the revision of `team` or at an older revision. `tasks`
    /// must be read after `team`.
    pub fn from_views(team: &TeamView, tasks: &[TaskView]) -> Self {
        let progress = |member: &MemberView| {
            let progress = MemberProgress {
                usage: member.usage,
                ..MemberProgress::new(member.role.clone())
            };
            (member.name.clone(), progress)
        };
        let owner = |task: &TaskView| match (&task.owner, task.state) {
            (Some(Party::Member(owner)), TaskState::InProgress) => Some((task.id, owner.clone())),
            _ => None,
        };
        Self {
            members: team.members.iter().map(progress).collect(),
            owners: tasks.iter().filter_map(owner).collect(),
            start: state_snapshot::of(team, tasks),
            start_at: team.revision,
            ..Self::new(team.team.clone())
        }
    }

    /// Sets the run that is under way when the subscriber begins.
    #[must_use]
    pub fn in_run(mut self, run: Option<RunId>) -> Self {
        self.run = run;
        self
    }

    /// The state to which all later changes apply. Call this method once: a second call returns an empty state.
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

    /// The envelopes of a notice, possibly none.
    pub fn notice(&mut self, notice: &Notice) -> Vec<Envelope> {
        match notice {
            Notice::Event(event) => self.event(event),
            Notice::Transient(transient) => self.transient(transient),
        }
    }

    fn event(&mut self, notice: &EventNotice) -> Vec<Envelope> {
        let origin = Origin {
            revision: Some(notice.revision),
            timestamp: Some(notice.at),
        };
        self.convert(&notice.event, origin)
    }

    fn transient(&mut self, notice: &TransientNotice) -> Vec<Envelope> {
        let origin = Origin {
            revision: None,
            timestamp: (notice.at > 0).then_some(notice.at),
        };
        let mut envelopes = Vec::new();
        for fragment in &notice.fragments {
            self.add_fragment(&notice.member, fragment, origin, &mut envelopes);
        }
        if !notice.text.is_empty() {
            let value = json!({"task": notice.task, "text": notice.text});
            envelopes.push(self.custom(Some(&notice.member), "output", value, origin));
        }
        envelopes
    }

    fn convert(&mut self, event: &ClientEvent, origin: Origin) -> Vec<Envelope> {
        match event {
            ClientEvent::MemberAdded { spec } => {
                let MemberSummary {
                    name, role, lead, ..
                } = spec;
                self.members
                    .insert(name.clone(), MemberProgress::new(role.clone()));
                let value =
                    json!({"role": role, "lead": lead, "state": LaunchState::Stopped, "why": null});
                let added = add(format!("/members/{name}"), value);
                self.change(Some(name), vec![added], origin)
            }
            ClientEvent::MemberChanged { spec } => {
                let MemberSummary {
                    name, role, lead, ..
                } = spec;
                if let Some(progress) = self.members.get_mut(name) {
                    progress.role = role.clone();
                }
                let path = format!("/members/{name}");
                let changed = vec![
                    add(format!("{path}/role"), role),
                    add(format!("{path}/lead"), lead),
                ];
                self.change(Some(name), changed, origin)
            }
            ClientEvent::MemberRemoved { member } => {
                let mut envelopes = self.end_open_output(member, origin);
                let path = format!("/members/{member}");
                let removed = vec![Operation::Remove { path }];
                envelopes.extend(self.change(Some(member), removed, origin));
                self.members.remove(member);
                envelopes
            }
            ClientEvent::MemberWanted { member } => {
                self.life(member, LaunchState::Planned, None, origin)
            }
            ClientEvent::LaunchStarted { member, .. } => {
                self.life(member, LaunchState::Launching, None, origin)
            }
            ClientEvent::LaunchReady { member, .. } => {
                self.life(member, LaunchState::Ready, None, origin)
            }
            ClientEvent::LaunchDraining { member, .. } => {
                self.life(member, LaunchState::Draining, None, origin)
            }
            ClientEvent::LaunchEnding { member, reason, .. } => {
                self.life(member, LaunchState::Draining, Some(reason), origin)
            }
            ClientEvent::LaunchEnded { member, next, .. } => {
                let mut envelopes = self.end_open_output(member, origin);
                envelopes.extend(self.next(member, next, origin));
                envelopes
            }
            ClientEvent::MemberParked { member, next } => self.next(member, next, origin),

            ClientEvent::TaskAdded {
                task,
                spec,
                created_by,
            } => {
                let added = add(format!("/tasks/{task}"), new_task(spec, created_by));
                self.change(member(created_by), vec![added], origin)
            }
            ClientEvent::TaskChanged { task, spec } => {
                let Value::Object(fields) = task_fields(spec) else {
                    return Vec::new();
                };
                let changed = fields
                    .into_iter()
                    .map(|(field, value)| add(format!("/tasks/{task}/{field}"), value));
                self.change(None, changed.collect(), origin)
            }
            ClientEvent::TaskClaimed {
                task,
                owner,
                generation,
                attempts,
            } => {
                if let Party::Member(owner) = owner {
                    self.owners.insert(*task, owner.clone());
                }
                let path = format!("/tasks/{task}");
                let claimed = vec![
                    add(format!("{path}/state"), TaskState::InProgress),
                    add(format!("{path}/owner"), owner),
                    add(format!("{path}/generation"), generation),
                    add(format!("{path}/attempts"), attempts),
                    add(format!("{path}/result"), Value::Null),
                ];
                self.change(member(owner), claimed, origin)
            }
            ClientEvent::TaskReleased { task, note, .. } => {
                self.owner_removed(*task, TaskState::Pending, Some(note), origin)
            }
            ClientEvent::TaskCompleted { task, result, .. } => {
                self.task_ended(*task, TaskState::Completed, result, origin)
            }
            ClientEvent::TaskFailed { task, reason } => {
                self.task_ended(*task, TaskState::Failed, reason, origin)
            }
            ClientEvent::TaskCancelled { task } => {
                self.owner_removed(*task, TaskState::Cancelled, None, origin)
            }
            ClientEvent::TaskRetried { task } => {
                self.owner_removed(*task, TaskState::Pending, None, origin)
            }
            ClientEvent::TaskRefused {
                task,
                reason,
                refusals,
            } => {
                let value = json!({"task": task, "reason": reason, "refusals": refusals});
                vec![self.custom(self.owners.get(task), "task_refused", value, origin)]
            }

            ClientEvent::MessageAccepted {
                message,
                from,
                to,
                text,
                urgent,
                reply_to,
                note,
            } => {
                let sender = member(from);
                let value = json!({
                    "id": message, "from": from, "to": to, "text": text, "urgent": urgent,
                    "reply_to": reply_to, "summary": note.summary,
                });
                vec![self.custom(sender, "message", value, origin)]
            }
            ClientEvent::MessagesRead { member, messages } => {
                let value = json!({"messages": messages});
                vec![self.custom(Some(member), "messages_read", value, origin)]
            }
            ClientEvent::UserRead { messages } => {
                let value = json!({ "messages": messages });
                vec![self.custom(None, "messages_read", value, origin)]
            }

            ClientEvent::RunStarted { run, memory, .. } => {
                self.run = Some(*run);
                let started = AgUi::RunStarted {
                    thread_id: self.team.clone(),
                    run_id: *run,
                    timestamp: origin.timestamp,
                };
                let mut envelopes = vec![self.wrap(None, started, origin)];
                envelopes.extend(
                    memory
                        .iter()
                        .map(|(key, value)| self.memory(key, value, origin)),
                );
                envelopes
            }
            ClientEvent::RunFinished { run, answer } => {
                let finished = AgUi::RunFinished {
                    thread_id: self.team.clone(),
                    run_id: *run,
                    result: json!({"final_answer": answer}),
                    timestamp: origin.timestamp,
                };
                self.run_ended(*run, finished, origin)
            }
            ClientEvent::RunFailed {
                run,
                failure,
                reason,
            } => {
                let failed = AgUi::RunError {
                    message: reason.to_string(),
                    code: Some(failure.name().to_owned()),
                    timestamp: origin.timestamp,
                };
                self.run_ended(*run, failed, origin)
            }
            ClientEvent::CoordinatorDecided {
                round,
                decision,
                text,
                ..
            } => {
                let value = match decision {
                    RoundChoice::Member(member) => {
                        json!({"member": member, "text": text, "round": round})
                    }
                    RoundChoice::Done => json!({"done": true, "text": text, "round": round}),
                    RoundChoice::Unclear(why) => {
                        json!({"unclear": why, "text": text, "round": round})
                    }
                };
                vec![self.custom(None, "coordinator_decision", value, origin)]
            }
            ClientEvent::RoundStarted { round, member, .. } => {
                let started = AgUi::StepStarted {
                    step_name: format!("round {round}: {member}"),
                    member: member.clone(),
                    round: *round,
                    timestamp: origin.timestamp,
                };
                vec![self.wrap(Some(member), started, origin)]
            }
            ClientEvent::RoundEnded { round, member, .. } => {
                let finished = AgUi::StepFinished {
                    step_name: format!("round {round}: {member}"),
                    member: member.clone(),
                    round: *round,
                    timestamp: origin.timestamp,
                };
                vec![self.wrap(Some(member), finished, origin)]
            }
            ClientEvent::RunAbandoned { run } => {
                let abandoned = AgUi::RunError {
                    message: format!("{run} was replaced by another goal"),
                    code: Some("abandoned".to_owned()),
                    timestamp: origin.timestamp,
                };
                self.run_ended(*run, abandoned, origin)
            }
            ClientEvent::RunIdle { .. } => vec![self.custom(None, "idle", Value::Null, origin)],
            ClientEvent::TranscriptGrown { member, transcript } => {
                match self.members.get_mut(member) {
                    Some(progress) if progress.usage != transcript.spent => {
                        progress.usage = transcript.spent;
                        let value = json!(transcript.spent);
                        vec![self.custom(Some(member), "usage", value, origin)]
                    }
                    Some(_) | None => Vec::new(),
                }
            }
            ClientEvent::FilesChanged { member, files, .. } => {
                let value = json!({ "files": files });
                vec![self.custom(Some(member), "files_changed", value, origin)]
            }
            ClientEvent::Remembered { key, value } => vec![self.memory(key, value, origin)],

            ClientEvent::BudgetStateChanged {
                member,
                measure,
                state,
            } => {
                let value = json!({ "measure": measure, "standing": state });
                vec![self.custom(member.as_ref(), "budget", value, origin)]
            }

            ClientEvent::RequestAsked {
                request,
                member,
                call,
                plan,
                ..
            } => {
                let mut value =
                    json!({ "request": request, "state": "pending", "call": parsed(call) });
                if let Some(plan) = plan {
                    value["plan"] = plan.number.into();
                }
                vec![self.custom(Some(member), "permission", value, origin)]
            }
            ClientEvent::RequestAllowed {
                request,
                by,
                scope,
                rules,
                ..
            } => {
                let state = "allowed";
                let value = json!({ "request": request, "state": state, "by": by, "scope": scope, "rules": rules });
                vec![self.custom(None, "permission", value, origin)]
            }
            ClientEvent::RequestDenied {
                request,
                by,
                reason,
                ..
            } => {
                let state = "denied";
                let value =
                    json!({ "request": request, "state": state, "by": by, "reason": reason });
                vec![self.custom(None, "permission", value, origin)]
            }
            ClientEvent::ModeChanged { member, mode } => {
                vec![self.custom(member.as_ref(), "mode", json!({ "mode": mode }), origin)]
            }
            ClientEvent::RequestWithdrawn {
                request,
                allowed_in_agent,
            } => {
                let mut value = json!({ "request": request, "state": "withdrawn" });
                if let Some(allowed) = allowed_in_agent {
                    value["allowed_in_agent"] = (*allowed).into();
                }
                vec![self.custom(None, "permission", value, origin)]
            }

            ClientEvent::TeamPlanned { .. }
            | ClientEvent::Booted {}
            | ClientEvent::LaunchAsked { .. }
            | ClientEvent::LaunchObjected { .. }
            | ClientEvent::MembersSuspended { .. }
            | ClientEvent::MemberIdle { .. }
            | ClientEvent::TurnFailed { .. }
            | ClientEvent::CallAllowed { .. }
            | ClientEvent::CallDenied { .. }
            | ClientEvent::RequestBegun { .. }
            | ClientEvent::RequestEnded { .. }
            | ClientEvent::GrantRevoked { .. }
            | ClientEvent::GrantsEnded {}
            | ClientEvent::Unknown => Vec::new(),
        }
    }

    fn run_ended(&mut self, run: RunId, end: AgUi, origin: Origin) -> Vec<Envelope> {
        let names: Vec<_> = self.members.keys().cloned().collect();
        let mut envelopes: Vec<_> = names
            .iter()
            .flat_map(|name| self.end_open_output(name, origin))
            .collect();
        self.run = Some(run);
        envelopes.push(self.wrap(None, end, origin));
        self.run = None;
        envelopes
    }

    fn next(&mut self, name: &MemberName, next: &Next, origin: Origin) -> Vec<Envelope> {
        let (life, why) = match next {
            Next::Launch => (LaunchState::Planned, None),
            Next::Cool {} => (LaunchState::Cooling, None),
            Next::Hold { reason } => (LaunchState::Held, Some(&**reason)),
            Next::Stop => (LaunchState::Stopped, None),
        };
        self.life(name, life, why, origin)
    }

    fn life(
        &self,
        name: &MemberName,
        life: LaunchState,
        why: Option<&str>,
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
    fn task_ended(
        &mut self,
        task: TaskId,
        state: TaskState,
        result: &str,
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

    fn owner_removed(
        &mut self,
        task: TaskId,
        state: TaskState,
        result: Option<&str>,
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
        let value = json!({"key": key, "value": parsed(value)});
        self.custom(None, "memory", value, origin)
    }

    fn change(
        &self,
        member: Option<&MemberName>,
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
        vec![self.wrap(member, AgUi::StateDelta { delta, timestamp }, origin)]
    }

    fn custom(
        &self,
        member: Option<&MemberName>,
        name: &str,
        value: Value,
        origin: Origin,
    ) -> Envelope {
        debug_assert!(
            CUSTOM.iter().any(|event| event.name == name),
            "{name} is not in the list of CUSTOM events"
        );
        let custom = AgUi::Custom {
            name: name.to_owned(),
            value,
            timestamp: origin.timestamp,
        };
        self.wrap(member, custom, origin)
    }

    fn wrap(&self, member: Option<&MemberName>, event: AgUi, origin: Origin) -> Envelope {
        Envelope {
            team_id: self.team.clone(),
            agent_id: member.map(|name| format!("{name}@{}", self.team)),
            role_name: member.and_then(|name| Some(self.members.get(name)?.role.clone())),
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

fn task_fields(spec: &TaskSpec) -> Value {
    let TaskSpec {
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
        rerun: _,
        active_form,
        metadata,
    } = spec;
    json!({
        "key": key, "title": title, "description": description, "priority": priority,
        "labels": labels, "after": after, "role": role, "for": assignee, "files": files,
        "run": run, "verify": verify, "active_form": active_form, "metadata": metadata,
    })
}

fn new_task(spec: &TaskSpec, created_by: &Party) -> Value {
    let mut task = task_fields(spec);
    task["created_by"] = json!(created_by);
    task["state"] = json!(TaskState::Pending);
    task["owner"] = Value::Null;
    task["generation"] = json!(0);
    task["attempts"] = json!(0);
    task["result"] = Value::Null;
    task
}

/// Parses a text as JSON; a text that is not JSON becomes a JSON string.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
