//! Who is in the team: the list for everybody, and for the lead spawning, stopping, resuming, and the end of her run.

use std::path::PathBuf;
use std::sync::Arc;

use agent_team_protocol::method::{
    AnswerStop, FinishRun, MemberRemove, MemberRestart, MemberSpawn, MemberStop, MessageSend,
    Nothing, OneMember, RemoveMember, RequestDecide, RunFinish, SendMessage, Spawn, Stop,
    StopAnswer, TeamShow,
};
use agent_team_protocol::request::{DecideRequest, Decision};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::view::{MemberView, RoleView, TeamView};
use agent_team_protocol::{MemberName, Recipient, RequestId, RoleName, TaskId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::board::give;
use super::lines::{member_line, member_word};
use super::{Seat, changing, reading};
use crate::tool::{Tool, ToolError};

/// The tool that ends a run.
pub(crate) const FINISH: &str = "finish";

/// The role of who is spawned without one.
const WORKER: &str = "worker";

/// Columns of a role's description.
const DESCRIPTION: usize = 240;

pub(super) fn tools_of_the_lead(seat: &Arc<Seat>) -> [Box<dyn Tool>; 5] {
    [
        changing(
            seat,
            "spawn_teammate",
            "Adds a teammate of a role, who works in a process of her own and takes ready tasks of the board by \
             herself. She knows her role, the team and her task, and nothing of your conversation.",
            spawn,
        ),
        changing(
            seat,
            "stop_teammate",
            "Ask a teammate to end and keep it stopped; its task returns to the board. A teammate in the middle of \
             something may object; its reason is the result. Its conversation is kept: resume_teammate starts it again. \
             `remove` also removes a teammate that was spawned: its conversation is dropped and its name is free again.",
            stop,
        ),
        changing(
            seat,
            "resume_teammate",
            "Starts a teammate that is stopped or held again, with the conversation that she had.",
            resume,
        ),
        changing(
            seat,
            "deny_request",
            "Denies what a teammate asks permission for, or sends her plan back; you are told of each as it comes. \
             Allowing is the person's alone.",
            deny,
        ),
        changing(
            seat,
            FINISH,
            "Ends the run with the answer that the person gets. With tasks that are not finished it is refused once, \
             with their list.",
            finish,
        ),
    ]
}

pub(super) fn answer_shutdown(seat: &Arc<Seat>) -> Box<dyn Tool> {
    changing(
        seat,
        "answer_shutdown",
        "Answers who asked you to end: agree, or object with the reason why you should go on. You are asked in a \
         message; without one there is nothing to answer.",
        answer,
    )
}

pub(super) fn list(seat: &Arc<Seat>) -> Box<dyn Tool> {
    reading(
        seat,
        "list_teammates",
        "The members of the team, you included: role, state and why, task, last report.",
        teammates,
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewTeammate {
    /// One of the team's roles; `worker` unless given.
    #[schemars(with = "Option<String>")]
    role: Option<RoleName>,
    /// Lower-case letters, digits and hyphens, such as `ada`; the role and a number unless given.
    #[schemars(with = "Option<String>")]
    name: Option<MemberName>,
    /// What she is to know besides her role; goes behind the role's own prompt.
    instructions: Option<String>,
    /// `provider/model`; the role's unless given.
    model: Option<String>,
    /// Of the role's tools only these, such as `read`, `grep`, `edit`.
    tools: Option<Vec<String>>,
    /// The directory in which the teammate works, within the project; the project's directory unless given.
    cwd: Option<PathBuf>,
    /// A task of the board that becomes hers, such as T-3.
    #[schemars(with = "Option<String>")]
    task: Option<TaskId>,
    /// She changes nothing before a plan of hers is approved.
    #[serde(default)]
    plan: bool,
}

async fn spawn(seat: Arc<Seat>, args: NewTeammate) -> Result<String, ToolError> {
    let worker = || WORKER.parse().expect("a plain word is a name");
    let spawn = Spawn {
        model: args.model,
        prompt: args.instructions,
        tools: args.tools,
        cwd: args.cwd,
        must_plan: args.plan,
        ..Spawn::of(args.role.unwrap_or_else(worker), args.name)
    };
    let member = seat.call::<MemberSpawn>(spawn).await?.member;
    let mut told = format!(
        "{} ({}) is {}.",
        member.name,
        member.role,
        member_word(member.state)
    );
    if let Some(task) = args.task {
        // She is there, whatever becomes of the task.
        match give(&seat, task, member.name).await {
            Ok(()) => told.push_str(&format!(" {task} is hers.")),
            Err(error) => told.push_str(&format!(" But {task} could not be given to her. {error}")),
        }
    }
    Ok(told)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StopOne {
    /// The teammate's name.
    #[schemars(with = "String")]
    name: MemberName,
    /// Also take it off the roster.
    #[serde(default)]
    remove: bool,
}

async fn stop(seat: Arc<Seat>, args: StopOne) -> Result<String, ToolError> {
    if args.remove {
        let remove = RemoveMember {
            member: args.name,
            force: false,
        };
        let removed = seat.call::<MemberRemove>(remove).await?;
        return Ok(format!("{} has left the team.", removed.member));
    }
    let stop = Stop {
        member: args.name,
        force: false,
    };
    let member = seat.call::<MemberStop>(stop).await?.member;
    Ok(format!("{} is {}.", member.name, member_word(member.state)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// What would be lost if you ended now; who asked you is told. Left out: you agree.
    objection: Option<String>,
}

async fn answer(seat: Arc<Seat>, args: Answer) -> Result<String, ToolError> {
    let objection = args.objection.filter(|text| !text.trim().is_empty());
    let objects = objection.is_some();
    seat.call::<StopAnswer>(AnswerStop { objection }).await?;
    Ok(match objects {
        true => "They are told. Go on with what you were doing.".to_owned(),
        false => "You end now: call nothing more.".to_owned(),
    })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Resume {
    /// The teammate's name.
    #[schemars(with = "String")]
    name: MemberName,
    /// What she is told first.
    message: Option<String>,
}

async fn resume(seat: Arc<Seat>, args: Resume) -> Result<String, ToolError> {
    let one = OneMember {
        member: args.name.clone(),
    };
    let member = seat.call::<MemberRestart>(one).await?.member;
    let mut told = format!("{} is {}.", member.name, member_word(member.state));
    if let Some(text) = args.message {
        let message = SendMessage {
            to: Recipient::Member(args.name),
            text,
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
        };
        match seat.call::<MessageSend>(message).await {
            Ok(sent) => told.push_str(&format!(" {} is in her inbox.", sent.id)),
            Err(error) => told.push_str(&format!(" But the message was not sent. {error}")),
        }
    }
    Ok(told)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Denial {
    /// The request, such as P-4.
    #[schemars(with = "String")]
    id: RequestId,
    /// What the teammate is told, so that she finds another way.
    reason: String,
}

async fn deny(seat: Arc<Seat>, args: Denial) -> Result<String, ToolError> {
    let request = args.id;
    let decide = DecideRequest {
        request,
        digest: None,
        decision: Decision::Deny {
            reason: args.reason,
        },
        via: None,
    };
    seat.call::<RequestDecide>(decide).await?;
    Ok(format!("{request} is denied."))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Finish {
    /// For the person: what was done and where, how it was checked, what is left open.
    answer: String,
    /// Also with tasks that are not finished.
    #[serde(default)]
    force: bool,
}

async fn finish(seat: Arc<Seat>, args: Finish) -> Result<String, ToolError> {
    let finish = FinishRun {
        answer: args.answer,
        force: args.force,
    };
    let run = seat.call::<RunFinish>(finish).await?.run;
    Ok(format!(
        "{run} is finished. There is nothing more to do until the person has a new goal."
    ))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

async fn teammates(seat: Arc<Seat>, _args: NoArguments) -> Result<String, ToolError> {
    let team = seat.call::<TeamShow>(Nothing {}).await?;
    let mut lines = member_lines(&team, &seat.desk.member);
    if seat.desk.lead {
        let names: Vec<_> = spawnable(&team).map(|role| role.name.as_str()).collect();
        lines.push(format!("Roles that you can spawn: {}", names.join(", ")));
    }
    Ok(lines.join("\n"))
}

pub(super) fn member_lines(team: &TeamView, me: &MemberName) -> Vec<String> {
    let members = team.members.iter();
    members.map(|member| member_line(member, me)).collect()
}

/// What the lead may add: there is one lead, so not her own role.
pub(super) fn spawnable(team: &TeamView) -> impl Iterator<Item = &RoleView> {
    let mut leads = team.members.iter().filter(|member| member.lead);
    let of_lead = leads.next().map(|lead| &lead.role);
    team.roles
        .iter()
        .filter(move |role| Some(&role.name) != of_lead)
}

/// The role of a member, as far as the team knows it.
pub(crate) fn role_of(member: &MemberView, team: &TeamView) -> String {
    match team.roles.iter().find(|role| role.name == member.role) {
        Some(role) => role_line(role),
        None => member.role.to_string(),
    }
}

/// `reviewer: Reviews changes`.
pub(super) fn role_line(role: &RoleView) -> String {
    if role.description.is_empty() {
        return role.name.to_string();
    }
    // Some describe a role in pages; who chooses one needs a line.
    format!(
        "{}: {}",
        role.name,
        visible_label(&role.description, DESCRIPTION)
    )
}
