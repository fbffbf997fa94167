//! The tools that concern members. Every member has `list_teammates` and `answer_shutdown`. The lead also has
//! `spawn_teammate`, `stop_teammate`, `resume_teammate`, `deny_request` and `finish`.

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
use super::context::{TeamContext, changing, reading};
use super::lines::{member_line, member_word};
use crate::tool::{Tool, ToolError};

/// The tool that ends a run.
pub const FINISH: &str = "finish";

/// The role of a teammate that is spawned without one.
const WORKER: &str = "worker";

/// The width of a role's description, in columns.
const DESCRIPTION: usize = 240;

pub(super) fn tools_of_the_lead(team_context: &Arc<TeamContext>) -> [Box<dyn Tool>; 5] {
    [
        changing(
            team_context,
            "spawn_teammate",
            "Add a teammate of a role. It works independently and claims ready tasks from the board by itself. It \
             knows its role, the team and its task, and nothing of your conversation.",
            spawn,
        ),
        changing(
            team_context,
            "stop_teammate",
            "Ask a teammate to stop; its task returns to the board. A teammate in the middle of a turn may object; the \
             call then fails with its reason. Its conversation is kept: resume_teammate starts it again. `remove` also \
             removes a spawned teammate: its conversation is dropped and its name becomes free.",
            stop,
        ),
        changing(
            team_context,
            "resume_teammate",
            "Restart a stopped or held teammate with its previous conversation.",
            resume,
        ),
        changing(
            team_context,
            "deny_request",
            "Deny a teammate's permission request or reject its plan. You are notified of each request. Only the user \
             can allow a request, unless you have allow_request.",
            deny,
        ),
        changing(
            team_context,
            FINISH,
            "End the run with the answer for the user. Refused with a list of the unfinished tasks, if there are any; \
             set `force` to finish anyway.",
            finish,
        ),
    ]
}

pub(super) fn answer_shutdown(team_context: &Arc<TeamContext>) -> Box<dyn Tool> {
    changing(
        team_context,
        "answer_shutdown",
        "Answer a request to stop: accept it, or object with the reason why you should continue. The request arrives \
         as a message; call this only after one.",
        answer,
    )
}

pub(super) fn list(team_context: &Arc<TeamContext>) -> Box<dyn Tool> {
    reading(
        team_context,
        "list_teammates",
        "List the members of the team, including you: role, state and its reason, task, last report.",
        teammates,
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewTeammate {
    /// One of the team's roles. Default: `worker`.
    #[schemars(with = "Option<String>")]
    role: Option<RoleName>,
    /// Lower-case letters, digits and hyphens, such as `ada`. Default: the role and a number.
    #[schemars(with = "Option<String>")]
    name: Option<MemberName>,
    /// Additional instructions, appended to the role's own prompt.
    instructions: Option<String>,
    /// `provider/model`. Default: the role's model.
    model: Option<String>,
    /// Restrict the teammate to these of the role's tools, such as `read`, `grep`, `edit`.
    tools: Option<Vec<String>>,
    /// The teammate's working directory, within the project. Default: the project's directory.
    cwd: Option<PathBuf>,
    /// A task of the board to assign to it, such as T-3.
    #[schemars(with = "Option<String>")]
    task: Option<TaskId>,
    /// The teammate must have a plan approved before it changes anything.
    #[serde(default)]
    plan: bool,
}

async fn spawn(team_context: Arc<TeamContext>, args: NewTeammate) -> Result<String, ToolError> {
    let worker = || WORKER.parse().expect("a plain word is a name");
    let spawn = Spawn {
        model: args.model,
        prompt: args.instructions,
        tools: args.tools,
        cwd: args.cwd,
        must_plan: args.plan,
        ..Spawn::of(args.role.unwrap_or_else(worker), args.name)
    };
    let member = team_context.call::<MemberSpawn>(spawn).await?.member;
    let mut text = format!(
        "{} ({}) is {}.",
        member.name,
        member.role,
        member_word(member.state)
    );
    if let Some(task) = args.task {
        // The teammate exists even if the task cannot be assigned, so this is not an error.
        match give(&team_context, task, member.name).await {
            Ok(()) => text.push_str(&format!(" {task} is assigned to it.")),
            Err(error) => {
                text.push_str(&format!(" But {task} could not be assigned to it. {error}"))
            }
        }
    }
    Ok(text)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StopOne {
    /// The teammate's name.
    #[schemars(with = "String")]
    name: MemberName,
    /// Also remove it from the team.
    #[serde(default)]
    remove: bool,
}

async fn stop(team_context: Arc<TeamContext>, args: StopOne) -> Result<String, ToolError> {
    if args.remove {
        let remove = RemoveMember {
            member: args.name,
            force: false,
        };
        let removed = team_context.call::<MemberRemove>(remove).await?;
        return Ok(format!("{} has left the team.", removed.member));
    }
    let stop = Stop {
        member: args.name,
        force: false,
    };
    let member = team_context.call::<MemberStop>(stop).await?.member;
    Ok(format!("{} is {}.", member.name, member_word(member.state)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShutdownAnswer {
    /// What would be lost if you stopped now; sent to the requester. Omit it to accept.
    objection: Option<String>,
}

async fn answer(team_context: Arc<TeamContext>, args: ShutdownAnswer) -> Result<String, ToolError> {
    let objection = args.objection.filter(|text| !text.trim().is_empty());
    let objects = objection.is_some();
    team_context
        .call::<StopAnswer>(AnswerStop { objection })
        .await?;
    Ok(match objects {
        true => "Your objection is sent. Continue with what you were doing.".to_owned(),
        false => "You are stopping now: make no further call.".to_owned(),
    })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Resume {
    /// The teammate's name.
    #[schemars(with = "String")]
    name: MemberName,
    /// The first message to it.
    message: Option<String>,
}

async fn resume(team_context: Arc<TeamContext>, args: Resume) -> Result<String, ToolError> {
    let one = OneMember {
        member: args.name.clone(),
    };
    let member = team_context.call::<MemberRestart>(one).await?.member;
    let mut text = format!("{} is {}.", member.name, member_word(member.state));
    if let Some(message) = args.message {
        let message = SendMessage {
            to: Recipient::Member(args.name),
            text: message,
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
            attach_outside: false,
        };
        match team_context.call::<MessageSend>(message).await {
            Ok(sent) => match sent.shown_not_delivered() {
                Some(note) => text.push_str(&format!(" {} is {note}.", sent.id)),
                None => text.push_str(&format!(" {} is in its inbox.", sent.id)),
            },
            Err(error) => text.push_str(&format!(" But the message was not sent. {error}")),
        }
    }
    Ok(text)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Denial {
    /// The request, such as P-4.
    #[schemars(with = "String")]
    id: RequestId,
    /// Why it is denied, so that the teammate can find another way.
    reason: String,
}

async fn deny(team_context: Arc<TeamContext>, args: Denial) -> Result<String, ToolError> {
    let request = args.id;
    let decide = DecideRequest {
        request,
        digest: None,
        decision: Decision::Deny {
            reason: args.reason,
        },
        via: None,
    };
    team_context.call::<RequestDecide>(decide).await?;
    Ok(format!("{request} is denied."))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Finish {
    /// For the user: what was done and where, how it was checked, what is left open.
    answer: String,
    /// Finish even with unfinished tasks.
    #[serde(default)]
    force: bool,
}

async fn finish(team_context: Arc<TeamContext>, args: Finish) -> Result<String, ToolError> {
    let finish = FinishRun {
        answer: args.answer,
        force: args.force,
    };
    let run = team_context.call::<RunFinish>(finish).await?.run;
    Ok(format!(
        "{run} is finished.\nThere is nothing more to do until the user sets a new goal."
    ))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

async fn teammates(
    team_context: Arc<TeamContext>,
    _args: NoArguments,
) -> Result<String, ToolError> {
    let team = team_context.call::<TeamShow>(Nothing {}).await?;
    let mut lines = member_lines(&team, &team_context.client.member);
    if team_context.client.lead {
        let roles = spawnable(&team, team_context.may_spawn.as_deref());
        let names: Vec<_> = roles.map(|role| role.name.as_str()).collect();
        lines.push(format!("Roles that you can spawn: {}", names.join(", ")));
    }
    Ok(lines.join("\n"))
}

pub(super) fn member_lines(team: &TeamView, me: &MemberName) -> Vec<String> {
    let members = team.members.iter();
    members.map(|member| member_line(member, me)).collect()
}

/// The roles that the lead can spawn: the roles in `may_spawn` except the lead's own, since a team has one lead.
pub(super) fn spawnable<'a>(
    team: &'a TeamView,
    may_spawn: Option<&'a [RoleName]>,
) -> impl Iterator<Item = &'a RoleView> {
    let mut leads = team.members.iter().filter(|member| member.lead);
    let of_lead = leads.next().map(|lead| &lead.role);
    team.roles
        .iter()
        .filter(move |role| Some(&role.name) != of_lead)
        .filter(move |role| may_spawn.is_none_or(|may| may.contains(&role.name)))
}

/// The member's role with its description, or only the name if the team does not define the role.
pub fn role_of(member: &MemberView, team: &TeamView) -> String {
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
    // A description may be pages long; one line is enough to choose a role.
    format!(
        "{}: {}",
        role.name,
        visible_label(&role.description, DESCRIPTION)
    )
}
