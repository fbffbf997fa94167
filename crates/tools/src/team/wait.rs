//! `wait`: blocks a member until an event on which it must act, or a timeout. A teammate waits for messages, tasks and
//! the decision about its plan. The lead waits for messages, tasks and members.
//!
//! ```text
//! poll ──► changes? ─► returned
//!   ▲        │ none
//!   └────────┴── a message or a request to decide arrives, 2 s have passed (not for messages), or the time is up
//! ```
//! The end of a task, and other events for the lead, arrive as messages, which end the wait at once. Polling covers
//! changes without a message: a member's connection receives no event stream.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_team_protocol::method::{MemberShow, Nothing, OneMember, OneTask, TaskShow, TeamShow};
use agent_team_protocol::view::{MemberState, MemberView, PlanView, TaskState, TaskView};
use agent_team_protocol::{MemberName, Party, TaskId};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::board::{open_tasks, whole_board};
use super::context::{TeamContext, changing};
use super::lines::{is_open, member_line, task_line};
use super::plan::plan_status;
use crate::tool::{Tool, ToolError};

pub const NAME: &str = "wait";

/// The end of the result of a wait that messages have ended.
pub const IN_NEXT_STEP: &str = "; they are in your next step.";

/// The default and the longest timeout, in seconds.
const DEFAULT_S: u64 = 300;
pub(super) const MAX_S: u64 = 3600;

/// After this many waits for messages without an arrival, another wait is refused, unless the member has asked a
/// question.
const QUIET_WAITS: u32 = 2;

/// The interval between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Above this many open tasks, one request for the whole board is cheaper than a request for each task.
const POLLED_SINGLY_MAX: usize = 16;

pub(super) fn tool(team_context: &Arc<TeamContext>) -> Box<dyn Tool> {
    if team_context.client.lead {
        return changing(
            team_context,
            NAME,
            "Wait until there is something for you to act on; this costs nothing. tasks: one of them is completed, \
             failed, cancelled or released. members: one of them becomes idle, held, stopped or unresponsive. \
             messages: one arrives. A message to you, and a teammate's request for permission, ends every wait. If \
             nothing happens within the time, the result is the current state.",
            wait,
        );
    }
    changing(
        team_context,
        NAME,
        "Wait for a message to you, such as the answer to your question, for the end of other tasks, or for the \
         decision about your plan; this costs nothing. tasks: one of them is completed, failed, cancelled or released. \
         requests: your plan is approved or sent back. A message to you ends every wait. If nothing happens within \
         the time, the result is the current state. Your task stays yours.",
        wait_as_teammate,
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum For {
    Tasks,
    Members,
    Messages,
    // The schema omits the teammate's plan: the lead has none.
    #[serde(skip)]
    Plan,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(rename = "for")]
    subject: For,
    /// Tasks such as T-3, or members' names. Default: all open tasks, all teammates. Not for messages.
    #[serde(default)]
    ids: Vec<String>,
    /// Default: 300.
    #[schemars(range(min = 1, max = 3600))]
    timeout_s: Option<u64>,
}

/// The objects for which a teammate can wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ForTeammate {
    #[default]
    Messages,
    Tasks,
    Requests,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WaitAsTeammate {
    /// Default: `messages`.
    #[serde(rename = "for", default)]
    #[schemars(with = "ForTeammate")]
    subject: ForTeammate,
    /// With `tasks`: these tasks, such as T-3.
    #[serde(default)]
    ids: Vec<String>,
    /// Default: 300.
    #[schemars(range(min = 1, max = 3600))]
    timeout_s: Option<u64>,
}

async fn wait_as_teammate(
    team_context: Arc<TeamContext>,
    args: WaitAsTeammate,
) -> Result<String, ToolError> {
    let subject = match args.subject {
        ForTeammate::Messages => For::Messages,
        ForTeammate::Tasks if args.ids.is_empty() => {
            let text = "`ids`: name the tasks to wait for, such as T-3";
            return Err(ToolError::Input(text.to_owned()));
        }
        ForTeammate::Tasks => For::Tasks,
        ForTeammate::Requests => For::Plan,
    };
    let WaitAsTeammate { ids, timeout_s, .. } = args;
    wait(
        team_context,
        Wait {
            subject,
            ids,
            timeout_s,
        },
    )
    .await
}

/// The subject of the wait, with the state at the last poll.
enum WaitSubject {
    Tasks(Vec<TaskView>),
    Members(Vec<MemberView>),
    Messages,
    Plan(Option<PlanView>),
}

async fn wait(team_context: Arc<TeamContext>, args: Wait) -> Result<String, ToolError> {
    let seconds = args.timeout_s.unwrap_or(DEFAULT_S);
    if !(1..=MAX_S).contains(&seconds) {
        let text = format!("`timeout_s` must be between 1 and {MAX_S}");
        return Err(ToolError::Input(text));
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut subject = WaitSubject::of(&team_context, args.subject, &args.ids).await?;
    let is_empty = &team_context.had_nothing_to_wait_for;
    if let Some(result) = subject.nothing_left() {
        // A model that waits again and does nothing else would call this tool without end.
        return match is_empty.swap(true, Ordering::Relaxed) {
            false => Ok(format!("{result}\n{}", advice(&team_context))),
            true => Err(ToolError::Failed(format!(
                "There is nothing to wait for. {result}\n{}",
                advice(&team_context)
            ))),
        };
    }
    is_empty.store(false, Ordering::Relaxed);
    subject.refuse_quiet_wait(&team_context)?;
    loop {
        // Register for arrivals before polling, so that an arrival in between is not missed.
        let arrived = team_context.shared.arrivals.arrived();
        let mut changes = subject.poll(&team_context).await?;
        let senders = team_context.shared.arrivals.senders();
        if !senders.is_empty() {
            changes.push(message_notice(&senders));
        }
        changes.extend(team_context.shared.arrivals.requests());
        if !changes.is_empty() {
            return Ok(changes.join("\n"));
        }
        let now = Instant::now();
        if now >= until {
            let unchanged = subject.unchanged(seconds, &team_context.client.member);
            return Ok(match subject.is_last_quiet_wait(&team_context) {
                true => format!("{unchanged}\n{}", advice(&team_context)),
                false => unchanged,
            });
        }
        let next_poll = match subject {
            WaitSubject::Messages => until,
            WaitSubject::Tasks(_) | WaitSubject::Members(_) | WaitSubject::Plan(_) => {
                until.min(now + POLL_INTERVAL)
            }
        };
        // Poll again after an arrival and after a timeout.
        let _arrived = tokio::time::timeout_at(next_poll, arrived).await;
    }
}

/// The advice for a model that has nothing to wait for.
fn advice(team_context: &TeamContext) -> &'static str {
    match team_context.client.lead {
        true => {
            "Do not wait again: create or change tasks, call finish, ask the user, or end your turn. A message starts \
             your next turn."
        }
        false => {
            "Do not wait again: continue with your work. If you cannot continue, call fail_task or release_task with \
             the reason."
        }
    }
}

impl WaitSubject {
    async fn of(
        team_context: &TeamContext,
        subject: For,
        ids: &[String],
    ) -> Result<Self, ToolError> {
        match subject {
            For::Tasks if ids.is_empty() => open_tasks(team_context).await.map(Self::Tasks),
            For::Tasks => {
                let mut tasks = Vec::new();
                for task in parsed::<TaskId>(ids)? {
                    if team_context.shared.claims.generation(task).is_some() {
                        let text = format!(
                            "`ids`: {task} is yours: only you can end it, with complete_task, fail_task or \
                             release_task"
                        );
                        return Err(ToolError::Input(text));
                    }
                    tasks.push(team_context.call::<TaskShow>(OneTask { task }).await?);
                }
                Ok(Self::Tasks(tasks))
            }
            For::Members => {
                let names = parsed::<MemberName>(ids)?;
                let members = members(team_context).await?;
                if let Some(unknown) = names.iter().find(|name| !contains(&members, name)) {
                    let known: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
                    let text = format!(
                        "`ids`: there is no teammate {unknown}. Teammates: {}",
                        known.join(", ")
                    );
                    return Err(ToolError::Input(text));
                }
                let mut members = members;
                members.retain(|member| names.is_empty() || names.contains(&member.name));
                Ok(Self::Members(members))
            }
            For::Messages | For::Plan if !ids.is_empty() => {
                let text = "`ids` is only for tasks or members: any message ends a wait";
                Err(ToolError::Input(text.to_owned()))
            }
            For::Messages => Ok(Self::Messages),
            For::Plan => own_plan(team_context).await.map(Self::Plan),
        }
    }

    /// Refuses a wait for messages after [`QUIET_WAITS`] such waits without an arrival.
    fn refuse_quiet_wait(&self, team_context: &TeamContext) -> Result<(), ToolError> {
        let arrivals = &team_context.shared.arrivals;
        let has_arrivals = arrivals.unread() > 0 || !arrivals.requests().is_empty();
        if !matches!(self, Self::Messages) || has_arrivals || arrivals.has_question() {
            return Ok(());
        }
        match arrivals.quiet_waits() {
            waits if waits < QUIET_WAITS => Ok(()),
            waits => Err(ToolError::Failed(format!(
                "There is nothing to wait for: no message has arrived in {waits} waits.\n{}",
                advice(team_context)
            ))),
        }
    }

    /// Counts this wait if it was for messages, and returns whether the next wait for messages will be refused.
    fn is_last_quiet_wait(&self, team_context: &TeamContext) -> bool {
        let arrivals = &team_context.shared.arrivals;
        matches!(self, Self::Messages)
            && arrivals.count_quiet_wait() >= QUIET_WAITS
            && !arrivals.has_question()
    }

    /// The result if there are no items to wait for.
    fn nothing_left(&self) -> Option<String> {
        let lines: Vec<_> = match self {
            Self::Tasks(tasks) if !tasks.iter().any(is_open) => {
                tasks.iter().map(task_line).collect()
            }
            Self::Members(members) if members.is_empty() => {
                return Some("You have no teammates.".to_owned());
            }
            Self::Plan(plan) if !is_pending(plan.as_ref()) => {
                let status = plan.as_ref().map(plan_status);
                return Some(match status {
                    Some(status) => format!("No request of yours is pending: {status}"),
                    None => "No request of yours is pending.".to_owned(),
                });
            }
            Self::Tasks(_) | Self::Members(_) | Self::Messages | Self::Plan(_) => return None,
        };
        if lines.is_empty() {
            return Some("There are no open tasks.".to_owned());
        }
        Some(format!(
            "None of these tasks is open:\n{}",
            lines.join("\n")
        ))
    }

    /// Polls the items, and returns a line for each change that ends the wait.
    async fn poll(&mut self, team_context: &TeamContext) -> Result<Vec<String>, ToolError> {
        let mut changes = Vec::new();
        match self {
            Self::Tasks(tasks) => {
                for now in refreshed(team_context, tasks).await? {
                    let Some(task) = tasks.iter_mut().find(|task| task.id == now.id) else {
                        continue;
                    };
                    if is_task_change(task, &now) {
                        changes.push(task_line(&now));
                    }
                    *task = now;
                }
            }
            Self::Members(known) => {
                let members = members(team_context).await?;
                for member in known {
                    let Some(now) = members.iter().find(|now| now.name == member.name) else {
                        continue;
                    };
                    if now.state != member.state && ends_wait(now.state) {
                        changes.push(member_line(now, &team_context.client.member));
                    }
                    *member = now.clone();
                }
            }
            Self::Messages => {}
            Self::Plan(plan) => {
                *plan = own_plan(team_context).await?;
                if !is_pending(plan.as_ref()) {
                    changes.extend(plan.as_ref().map(plan_status));
                }
            }
        }
        Ok(changes)
    }

    fn unchanged(&self, seconds: u64, me: &MemberName) -> String {
        let lines: Vec<_> = match self {
            Self::Tasks(tasks) => tasks.iter().map(task_line).collect(),
            Self::Members(members) => members
                .iter()
                .map(|member| member_line(member, me))
                .collect(),
            Self::Plan(plan) => plan.iter().map(plan_status).collect(),
            Self::Messages => return format!("No message within {seconds} s."),
        };
        format!(
            "None of that happened within {seconds} s. Current state:\n{}",
            lines.join("\n")
        )
    }
}

fn parsed<T: std::str::FromStr>(ids: &[String]) -> Result<Vec<T>, ToolError>
where
    T::Err: std::fmt::Display,
{
    ids.iter()
        .map(|id| {
            id.parse()
                .map_err(|error| ToolError::Input(format!("`ids`: {error}")))
        })
        .collect()
}

/// Requests the current state of the tasks that were open.
async fn refreshed(
    team_context: &TeamContext,
    tasks: &[TaskView],
) -> Result<Vec<TaskView>, ToolError> {
    let open: Vec<_> = tasks.iter().filter(|task| is_open(task)).collect();
    if open.len() > POLLED_SINGLY_MAX {
        let ids: BTreeSet<_> = open.iter().map(|task| task.id).collect();
        let mut board = whole_board(team_context).await?;
        board.retain(|task| ids.contains(&task.id));
        return Ok(board);
    }
    let mut now = Vec::new();
    for task in open {
        now.push(
            team_context
                .call::<TaskShow>(OneTask { task: task.id })
                .await?,
        );
    }
    Ok(now)
}

/// The member's own plan. `None`: the member needs no plan.
async fn own_plan(team_context: &TeamContext) -> Result<Option<PlanView>, ToolError> {
    let member = team_context.client.member.clone();
    let shown = team_context
        .call::<MemberShow>(OneMember { member })
        .await?;
    Ok(shown.member.plan)
}

fn is_pending(plan: Option<&PlanView>) -> bool {
    matches!(plan, Some(PlanView::Waiting { .. }))
}

/// All members but this one.
async fn members(team_context: &TeamContext) -> Result<Vec<MemberView>, ToolError> {
    let mut members = team_context.call::<TeamShow>(Nothing {}).await?.members;
    members.retain(|member| member.name != team_context.client.member);
    Ok(members)
}

fn contains(members: &[MemberView], name: &MemberName) -> bool {
    members.iter().any(|member| member.name == *name)
}

/// Returns whether a task has ended or was released. A claim does not end a wait: it requires no action.
fn is_task_change(before: &TaskView, now: &TaskView) -> bool {
    match now.state {
        TaskState::InProgress => false,
        TaskState::Pending => before.state == TaskState::InProgress,
        TaskState::Completed | TaskState::Failed | TaskState::Cancelled | TaskState::Unknown => {
            before.state != now.state
        }
    }
}

/// Returns whether a change to this state ends a wait for the member. In these states, the member has stopped working,
/// so the lead can act.
fn ends_wait(state: MemberState) -> bool {
    match state {
        MemberState::Idle
        | MemberState::Held
        | MemberState::Stopped
        | MemberState::Unresponsive => true,
        MemberState::Planned
        | MemberState::Launching
        | MemberState::Working
        | MemberState::Waiting
        | MemberState::Draining
        | MemberState::Cooling
        | MemberState::Unknown => false,
    }
}

pub(super) fn message_notice(senders: &[Party]) -> String {
    let senders: Vec<_> = senders.iter().map(ToString::to_string).collect();
    format!(
        "You have messages from {}{IN_NEXT_STEP}",
        senders.join(", ")
    )
}
