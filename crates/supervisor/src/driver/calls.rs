//! What clients and members ask for: changes go to the core, reads are answered from the state.

use agent_team_core::{Answer, Call, CallKey, Caller, Effect, Input, Origin, ReplyTo};
use agent_team_protocol::method::{
    Attach, Change, ChangeKind, ListMessages, ListTasks, LogAnswer, MemberAnswer,
    MessageListAnswer, Nothing, SendAnswer, Spawn, Subscribe, TaskAnswer, TaskListAnswer, UpAnswer,
};
use agent_team_protocol::view::{
    MessageState, MessageView, Placement, TaskView, TeamState, TeamView,
};
use agent_team_protocol::{ErrorCode, MemberName, Party, Refusal, TaskId};
use agent_team_store::StoredMessage;
use agent_team_system::private_file;

use super::waiters::{Shape, Waiter};
use super::{After, Driver, WantedTeam, now};
use crate::launch::Order;
use crate::outbox::Reply;
use crate::settings::{TeamSettings, Terminal};
use crate::{convert, view};

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
    Attach(Attach),
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
            Asked::Up(_) | Asked::Spawn(_) => false,
            Asked::ShowTeam
            | Asked::ShowMember(_)
            | Asked::FindLog(_)
            | Asked::ListMessages(_)
            | Asked::ListTasks(_)
            | Asked::ShowTask(_)
            | Asked::Wait
            | Asked::Attach(_)
            | Asked::Subscribe(_) => false,
        }
    }

    pub(super) fn is_read(&self) -> bool {
        !matches!(
            self.asked,
            Asked::Change(_) | Asked::Up(_) | Asked::Spawn(_)
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
                let shape = if let Call::Down { .. } = &*call {
                    Shape::Down
                } else {
                    Shape::Plain
                };
                if let (Call::Read { .. }, Origin::Member { name, .. }) = (&*call, &by) {
                    self.turn.after.push(After::Pump(name.clone()));
                }
                self.turn.urgent |= urgent;
                self.call(by, key, reply, shape, *call);
            }
            Asked::Up(wanted) => self.up(by, key, reply, *wanted),
            Asked::Spawn(spawn) => {
                match convert::spawn_plan(spawn, &self.identity.project, &self.team) {
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

    fn call(&mut self, by: Origin, key: Option<CallKey>, reply: Reply, shape: Shape, call: Call) {
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
            spec,
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
        let placement = placement(&place.terminal);
        let placement_reason = place.reason.clone();
        let plan = convert::up_plan(spec, place, &self.team);
        // What is refused must leave no environment behind: that is what marks a team as up.
        let changes = match self.would_change(plan.clone()) {
            Ok(changes) => changes,
            Err(refusal) => return reply.refuse(refusal),
        };
        if dry_run {
            let (team, revision) = (self.identity.team.clone(), self.team.revision());
            return reply.ok(&UpAnswer {
                team,
                revision,
                placement,
                placement_reason,
                changes,
            });
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
            placement,
            placement_reason,
        };
        self.call(by, key, reply, shape, Call::Up(Box::new(plan)));
        // Before any launch of this turn is carried out.
        self.place();
    }

    fn would_change(&self, plan: agent_team_core::input::UpPlan) -> Result<Vec<Change>, Refusal> {
        let mut copy = self.team.clone();
        let context = agent_team_core::Context {
            now: now(),
            wall: 0,
            seed: [0; 32],
        };
        let reply = ReplyTo(0);
        let call = Box::new(Call::Up(Box::new(plan)));
        let step = copy.step(
            &context,
            Input::Called {
                by: Origin::User,
                key: None,
                reply,
                call,
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
            Some(Ok(Answer::Up { changes })) => Ok(changes.into_iter().map(change).collect()),
            Some(Err(refused)) => Err(convert::refusal(&refused)),
            Some(Ok(_)) | None => Err(Refusal::internal("up was answered as something else")),
        }
    }

    /// Answers a call that was decided.
    pub(super) fn answer(
        &mut self,
        to: ReplyTo,
        outcome: Result<Answer, agent_team_core::Refused>,
    ) {
        let Some((reply, shape)) = self.pending_reply(to) else {
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
                self.waiters.push(Waiter::Up { reply, answer });
            }
            (Answer::Up { .. }, _) => {
                reply.refuse(Refusal::internal("up was asked for as something else"))
            }
        }
    }

    /// Answers a question from the state, which is what is stored.
    pub(super) fn read(&mut self, request: Request) {
        let reply = request.reply;
        match request.asked {
            Asked::ShowTeam => reply.ok(&self.team_view()),
            Asked::ShowMember(name) => match self.member_view(&name) {
                Some(member) => reply.ok(&MemberAnswer {
                    revision: self.team.revision(),
                    member,
                }),
                None => reply.refuse(unknown_member(&name)),
            },
            Asked::FindLog(name) => {
                let path = self.log_of(&name);
                // The log of a member who left is still there to be read.
                if self.team.member(&name).is_some() || path.exists() {
                    reply.ok(&LogAnswer { path });
                } else {
                    reply.refuse(unknown_member(&name));
                }
            }
            Asked::ListMessages(list) => self.list_messages(reply, list),
            Asked::ListTasks(list) => self.list_tasks(reply, list),
            Asked::ShowTask(task) => self.show_task(reply, task),
            Asked::Wait => self.waiters.push(Waiter::Quiet { reply }),
            Asked::Attach(attach) => self.attach(reply, attach),
            Asked::Subscribe(subscribe) => self.subscribe(reply, subscribe),
            Asked::Change(_) | Asked::Up(_) | Asked::Spawn(_) => {
                reply.refuse(Refusal::internal("a change came as a question"));
            }
        }
    }

    pub(super) fn team_view(&self) -> TeamView {
        let settings = TeamSettings::of(self.team.plan());
        TeamView {
            team: self.identity.team.clone(),
            name: self.identity.name.clone(),
            project: self.identity.project.clone(),
            state: if self.team.is_down() {
                TeamState::Down
            } else {
                TeamState::Up
            },
            revision: self.team.revision(),
            members: self.member_views(),
            tasks: view::counts(&self.team),
            roles: settings.as_ref().map(view::roles).unwrap_or_default(),
            placement: settings.map_or_else(
                || "never brought up".to_owned(),
                |settings| settings.place.reason,
            ),
        }
    }

    fn list_tasks(&self, reply: Reply, list: ListTasks) {
        let after = TaskId(list.after);
        let board = self.team.board().after(after).take(PAGE_TASKS);
        let live: Vec<TaskView> = board.map(|task| view::task(&self.team, task)).collect();
        let revision = self.team.revision();
        self.read_history(reply, move |history| {
            let (tasks, more) = page(live, history, after)?;
            Ok(TaskListAnswer {
                revision,
                tasks,
                more,
            })
        });
    }

    fn show_task(&self, reply: Reply, id: TaskId) {
        match self.team.board().get(id) {
            Some(task) => reply.ok(&view::task(&self.team, task)),
            None if self.team.board().is_completed(id) => {
                self.read_history(reply, move |history| {
                    let archived = history.archived(id).map_err(|error| error.to_string())?;
                    let view = archived.ok_or_else(|| format!("the archive has no {id}"))?;
                    serde_json::from_str::<TaskView>(&view).map_err(|error| error.to_string())
                })
            }
            None => reply.refuse(convert::refusal(&agent_team_core::Refused::UnknownTask(id))),
        }
    }

    fn list_messages(&self, reply: Reply, list: ListMessages) {
        if let Some(Party::Member(name)) = &list.of
            && self.team.member(name).is_none()
        {
            return reply.refuse(unknown_member(name));
        }
        let unread: std::collections::BTreeMap<_, _> = self
            .team
            .members()
            .map(|member| {
                let name = member.plan.name.clone();
                let states: std::collections::BTreeMap<_, _> = member
                    .inbox
                    .iter()
                    .map(|(id, _)| (id, self.message_state(&name, id)))
                    .collect();
                (name, states)
            })
            .collect();
        self.read_history(reply, move |history| {
            let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
            let stored = history
                .messages(list.of.as_ref(), limit)
                .map_err(|error| error.to_string())?;
            let state = |to: &Party, message: &StoredMessage| match to {
                Party::Member(name) => unread
                    .get(name)
                    .and_then(|states| states.get(&message.id))
                    .copied()
                    .unwrap_or(MessageState::Read),
                // What the user was told is shown to whoever asks.
                Party::User | Party::System => MessageState::Delivered,
            };
            let of = list.of.as_ref();
            let concerns = |message: &StoredMessage, to: &Party| {
                of.is_none_or(|of| *of == message.from || of == to)
            };
            let messages = stored
                .iter()
                .flat_map(|message| message.to.iter().map(move |to| (message, to)))
                .filter(|(message, to)| concerns(message, to))
                .map(|(message, to)| MessageView {
                    id: message.id,
                    from: message.from.clone(),
                    to: to.clone(),
                    text: message.text.to_string(),
                    state: state(to, message),
                    urgent: message.urgent,
                    at: message.at,
                })
                .collect();
            Ok(MessageListAnswer {
                messages: newest_that_fit(messages),
            })
        });
    }

    /// Answers from history, off the driver.
    fn read_history<A: serde::Serialize + Send + 'static>(
        &self,
        reply: Reply,
        read: impl FnOnce(&agent_team_store::History) -> Result<A, String> + Send + 'static,
    ) {
        let history = self.history.clone();
        tokio::task::spawn_local(async move {
            match tokio::task::spawn_blocking(move || read(&history)).await {
                Ok(Ok(answer)) => reply.ok(&answer),
                Ok(Err(error)) => reply.refuse(Refusal::new(ErrorCode::StorageFailed, error)),
                Err(panic) => reply.refuse(Refusal::internal(panic.to_string())),
            }
        });
    }

    fn attach(&self, reply: Reply, attach: Attach) {
        if let Some(name) = &attach.member
            && self.team.member(name).is_none()
        {
            return reply.refuse(unknown_member(name));
        }
        let (answered, answer) = tokio::sync::oneshot::channel();
        self.launcher.order(Order::Attach {
            member: attach.member,
            read_only: attach.read_only,
            tmux: attach.terminal.tmux,
            reply: answered,
        });
        tokio::task::spawn_local(async move {
            match answer.await {
                Ok(Ok(answer)) => reply.ok(&answer),
                Ok(Err(refusal)) => reply.refuse(refusal),
                Err(_) => reply.refuse(Refusal::internal("the launcher is gone")),
            }
        });
    }
}

/// The newest of these that fit into a frame however their texts are escaped; one at least.
fn newest_that_fit(mut messages: Vec<MessageView>) -> Vec<MessageView> {
    let mut bytes = 0;
    let fitting = messages.iter().rev().take_while(|message| {
        let fits = bytes < PAGE_BYTES / 8;
        bytes += message.text.len();
        fits
    });
    let left_out = messages.len() - fitting.count();
    messages.drain(..left_out);
    messages
}

/// Tasks of one page, at most.
const PAGE_TASKS: usize = 512;

/// Bytes of one page, at most; one task may exceed it.
const PAGE_BYTES: usize = 512 << 10;

/// A page of the board by number, what has left memory included, and whether more follows.
fn page(
    live: Vec<TaskView>,
    history: &agent_team_store::History,
    after: TaskId,
) -> Result<(Vec<TaskView>, bool), String> {
    let archived = history
        .archived_after(after, PAGE_TASKS)
        .map_err(|error| error.to_string())?;
    let mut more = live.len() == PAGE_TASKS || archived.len() == PAGE_TASKS;
    let mut tasks = live;
    for view in &archived {
        tasks.push(serde_json::from_str(view).map_err(|error| error.to_string())?);
    }
    tasks.sort_unstable_by_key(|task| task.id);
    tasks.dedup_by_key(|task| task.id);
    let mut bytes = 0;
    let fitting = tasks.iter().take(PAGE_TASKS).take_while(|task| {
        let fits = bytes < PAGE_BYTES;
        bytes += serde_json::to_string(task).map_or(0, |text| text.len());
        fits
    });
    let fitting = fitting.count();
    more |= fitting < tasks.len();
    tasks.truncate(fitting);
    Ok((tasks, more))
}

pub(super) fn unknown_member(name: &MemberName) -> Refusal {
    convert::refusal(&agent_team_core::Refused::UnknownMember(name.to_string()))
}

fn placement(terminal: &Terminal) -> Placement {
    match terminal {
        Terminal::Headless => Placement::Headless,
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
