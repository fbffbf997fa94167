//! `wait`: a member's pause until something happens that it has to act on. A teammate waits for messages and tasks, the
//! lead for members too.
//!
//! ```text
//! look ──► news? ──► returned
//!   ▲        │ none
//!   └────────┴── a message or a request to decide arrives, 2 s have passed, or the time is up
//! ```
//! The end of a task and whatever else matters to the lead comes as a message, which ends the wait at once. Looking
//! again is for changes without a message: a member's connection receives no events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::method::{Nothing, OneTask, TaskShow, TeamShow};
use agent_team_protocol::view::{MemberState, MemberView, TaskState, TaskView};
use agent_team_protocol::{MemberName, Party, TaskId};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::board::{open_tasks, whole_board};
use super::lines::{is_open, member_line, task_line};
use super::{Seat, changing};
use crate::tool::{Tool, ToolError};

pub(crate) const NAME: &str = "wait";

/// Seconds that are waited unless others are given, and at most.
const USUAL_S: u64 = 300;
const LONGEST_S: u64 = 3600;

/// Between two looks, at least.
const PAUSE: Duration = Duration::from_secs(2);

/// From so many open tasks on, reading the board is less to ask for than each of them.
const SHOWN_ONE_BY_ONE: usize = 16;

pub(super) fn tool(seat: &Arc<Seat>) -> Box<dyn Tool> {
    if seat.desk.lead {
        return changing(
            seat,
            NAME,
            "Wait until there is something for you to act on; this costs nothing. tasks: one of them is completed, \
             failed, cancelled or released. members: one of them is idle, held, stopped or unresponsive. messages: one \
             has come. A message to you, and a teammate's request for permission, ends every wait. If nothing happens \
             within the time, the result is the current state.",
            wait,
        );
    }
    changing(
        seat,
        NAME,
        "Wait for a message to you, such as the answer to your question, or for the end of other tasks; this costs \
         nothing. tasks: one of them is completed, failed, cancelled or released. A message to you ends every wait. \
         If nothing happens within the time, the result is the current state. Your task stays yours.",
        wait_as_teammate,
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum For {
    Tasks,
    Members,
    Messages,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(rename = "for")]
    subject: For,
    /// Tasks such as T-3, or members' names; left out: all open tasks, all teammates. Not for messages.
    #[serde(default)]
    ids: Vec<String>,
    /// 300 unless given.
    #[schemars(range(min = 1, max = 3600))]
    timeout_s: Option<u64>,
}

/// What a teammate can wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ForTeammate {
    #[default]
    Messages,
    Tasks,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WaitAsTeammate {
    /// `messages` unless given.
    #[serde(rename = "for", default)]
    #[schemars(with = "ForTeammate")]
    subject: ForTeammate,
    /// With `tasks`: these tasks, such as T-3.
    #[serde(default)]
    ids: Vec<String>,
    /// 300 unless given.
    #[schemars(range(min = 1, max = 3600))]
    timeout_s: Option<u64>,
}

async fn wait_as_teammate(seat: Arc<Seat>, args: WaitAsTeammate) -> Result<String, ToolError> {
    let subject = match args.subject {
        ForTeammate::Messages => For::Messages,
        ForTeammate::Tasks if args.ids.is_empty() => {
            let text = "`ids`: name the tasks to wait for, such as T-3";
            return Err(ToolError::Input(text.to_owned()));
        }
        ForTeammate::Tasks => For::Tasks,
    };
    let WaitAsTeammate { ids, timeout_s, .. } = args;
    wait(
        seat,
        Wait {
            subject,
            ids,
            timeout_s,
        },
    )
    .await
}

/// What is waited for, as it was last seen.
enum Watched {
    Tasks(Vec<TaskView>),
    Members(Vec<MemberView>),
    Messages,
}

async fn wait(seat: Arc<Seat>, args: Wait) -> Result<String, ToolError> {
    let seconds = args.timeout_s.unwrap_or(USUAL_S);
    if !(1..=LONGEST_S).contains(&seconds) {
        let text = format!("`timeout_s` is from 1 to {LONGEST_S}");
        return Err(ToolError::Input(text));
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut watched = Watched::of(&seat, args.subject, &args.ids).await?;
    if let Some(over) = watched.is_over() {
        return Ok(over);
    }
    loop {
        // Made before looking, so that nothing comes in between.
        let arrived = seat.shared.arrivals.arrived();
        let mut news = watched.look(&seat).await?;
        let senders = seat.shared.arrivals.senders();
        if !senders.is_empty() {
            news.push(from(&senders));
        }
        news.extend(seat.shared.arrivals.requests());
        if !news.is_empty() {
            return Ok(news.join("\n"));
        }
        let now = Instant::now();
        if now >= until {
            return Ok(watched.unchanged(seconds, &seat.desk.member));
        }
        let pause = match watched {
            Watched::Messages => until,
            Watched::Tasks(_) | Watched::Members(_) => until.min(now + PAUSE),
        };
        // Either way it is looked at again.
        let _arrived = tokio::time::timeout_at(pause, arrived).await;
    }
}

impl Watched {
    async fn of(seat: &Seat, subject: For, ids: &[String]) -> Result<Self, ToolError> {
        match subject {
            For::Tasks if ids.is_empty() => open_tasks(seat).await.map(Self::Tasks),
            For::Tasks => {
                let mut tasks = Vec::new();
                for task in parsed::<TaskId>(ids)? {
                    if seat.shared.claims.generation(task).is_some() {
                        let text = format!(
                            "`ids`: {task} is yours and ends by your own call alone: complete_task, fail_task or \
                             release_task"
                        );
                        return Err(ToolError::Input(text));
                    }
                    tasks.push(seat.call::<TaskShow>(OneTask { task }).await?);
                }
                Ok(Self::Tasks(tasks))
            }
            For::Members => {
                let names = parsed::<MemberName>(ids)?;
                let members = members(seat).await?;
                if let Some(unknown) = names.iter().find(|name| !holds(&members, name)) {
                    let known: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
                    let text = format!(
                        "`ids`: there is no teammate {unknown}, only {}",
                        known.join(", ")
                    );
                    return Err(ToolError::Input(text));
                }
                let mut members = members;
                members.retain(|member| names.is_empty() || names.contains(&member.name));
                Ok(Self::Members(members))
            }
            For::Messages if ids.is_empty() => Ok(Self::Messages),
            For::Messages => {
                let text = "`ids` goes with tasks or members: any message ends a wait";
                Err(ToolError::Input(text.to_owned()))
            }
        }
    }

    /// What there is to say when there is nothing left to wait for.
    fn is_over(&self) -> Option<String> {
        let lines: Vec<_> = match self {
            Self::Tasks(tasks) if !tasks.iter().any(is_open) => {
                tasks.iter().map(task_line).collect()
            }
            Self::Members(members) if members.is_empty() => {
                return Some("You have no teammates.".to_owned());
            }
            Self::Tasks(_) | Self::Members(_) | Self::Messages => return None,
        };
        if lines.is_empty() {
            return Some("There are no open tasks.".to_owned());
        }
        Some(format!(
            "None of these tasks is open:\n{}",
            lines.join("\n")
        ))
    }

    /// Looks again, and tells what is new.
    async fn look(&mut self, seat: &Seat) -> Result<Vec<String>, ToolError> {
        let mut news = Vec::new();
        match self {
            Self::Tasks(tasks) => {
                for now in as_they_are(seat, tasks).await? {
                    let Some(task) = tasks.iter_mut().find(|task| task.id == now.id) else {
                        continue;
                    };
                    if is_task_news(task, &now) {
                        news.push(task_line(&now));
                    }
                    *task = now;
                }
            }
            Self::Members(known) => {
                let members = members(seat).await?;
                for member in known {
                    let Some(now) = members.iter().find(|now| now.name == member.name) else {
                        continue;
                    };
                    if now.state != member.state && is_resting(now.state) {
                        news.push(member_line(now, &seat.desk.member));
                    }
                    *member = now.clone();
                }
            }
            Self::Messages => {}
        }
        Ok(news)
    }

    fn unchanged(&self, seconds: u64, me: &MemberName) -> String {
        let lines: Vec<_> = match self {
            Self::Tasks(tasks) => tasks.iter().map(task_line).collect(),
            Self::Members(members) => members
                .iter()
                .map(|member| member_line(member, me))
                .collect(),
            Self::Messages => return format!("No message within {seconds} s."),
        };
        format!(
            "Nothing of that within {seconds} s. Now:\n{}",
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

/// Those of these tasks that were open, as they are now.
async fn as_they_are(seat: &Seat, tasks: &[TaskView]) -> Result<Vec<TaskView>, ToolError> {
    let open: Vec<_> = tasks.iter().filter(|task| is_open(task)).collect();
    if open.len() > SHOWN_ONE_BY_ONE {
        let ids: BTreeSet<_> = open.iter().map(|task| task.id).collect();
        let mut board = whole_board(seat).await?;
        board.retain(|task| ids.contains(&task.id));
        return Ok(board);
    }
    let mut now = Vec::new();
    for task in open {
        now.push(seat.call::<TaskShow>(OneTask { task: task.id }).await?);
    }
    Ok(now)
}

/// Everybody but this member.
async fn members(seat: &Seat) -> Result<Vec<MemberView>, ToolError> {
    let mut members = seat.call::<TeamShow>(Nothing {}).await?.members;
    members.retain(|member| member.name != seat.desk.member);
    Ok(members)
}

fn holds(members: &[MemberView], name: &MemberName) -> bool {
    members.iter().any(|member| member.name == *name)
}

/// Being taken up is no news: nobody has to act on it.
fn is_task_news(before: &TaskView, now: &TaskView) -> bool {
    match now.state {
        TaskState::InProgress => false,
        TaskState::Pending => before.state == TaskState::InProgress,
        TaskState::Completed | TaskState::Failed | TaskState::Cancelled | TaskState::Unknown => {
            before.state != now.state
        }
    }
}

fn is_resting(state: MemberState) -> bool {
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

fn from(senders: &[Party]) -> String {
    let senders: Vec<_> = senders.iter().map(ToString::to_string).collect();
    format!(
        "There are messages from {}: you read them next.",
        senders.join(", ")
    )
}
