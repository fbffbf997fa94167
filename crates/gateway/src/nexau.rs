//! `/team/*`: the HTTP routes of NexAU's agent teams, for its clients. A user id and a session id name a team, which
//! `session.rs` starts from the team file; the bodies, answers and frames are those of NexAU.
//!
//! ```text
//! POST /stream, /query ─► team/up ─► run/start ─► frames until the run ends; then the team goes down
//! run under way        ─► message/send to the lead ─► frames of that run
//! ```
//! Only the token of a request grants permissions. A user id separates the sessions of users, but proves no identity:
//! every client with the token can send any user id.

mod body;
mod frames;
mod session;

use std::sync::Arc;

use agent_team_protocol::id::NumberedId;
use agent_team_protocol::method::{
    AddTask, AssignTask, CancelRun, ClaimTask, Down, EndTask, MessageSend, OneTask, RunCancel,
    SendMessage, TaskAdd, TaskAssign, TaskCancel, TaskClaim, TaskComplete, TaskFail, TaskRelease,
    TaskRetry, TaskShow, TeamDown,
};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{MemberState, MemberView, TaskState, TaskView, TeamState};
use agent_team_protocol::{MemberName, Party, Recipient, TaskId};
use agent_team_system::random;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, patch, post};
use serde::Serialize;
use serde_json::{Value, json};

use self::body::{Failure, Fields};
use self::frames::{Frames, Outcome};
use self::session::{LEADER, NexauSession};
use crate::Service;
use crate::access::Permission;
use crate::call;
use crate::problem::Problem;
use crate::sse;

pub(crate) use self::session::Sessions;

type Routed = Result<Response, Failure>;

/// Adds the routes.
pub(crate) fn add_to(router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    let routes: [(&str, MethodRouter<Arc<Service>>); 11] = [
        ("/team/stream", post(stream)),
        ("/team/query", post(query)),
        ("/team/user-message", post(user_message)),
        ("/team/message", post(message)),
        ("/team/stop", post(stop)),
        ("/team/status", get(status)),
        ("/team/teammates", get(teammates)),
        ("/team/tasks", get(tasks).post(create_task)),
        ("/team/tasks/claim", post(claim)),
        ("/team/tasks/{task}", patch(update_task)),
        ("/team/subscribe", get(subscribe)),
    ];
    routes
        .into_iter()
        .fold(router, |router, (path, route)| router.route(path, route))
}

fn document(value: &impl Serialize) -> Response {
    call::json(serde_json::to_string(value).expect("bare data has a JSON form"))
}

async fn stream(State(service): State<Arc<Service>>, request: Request) -> Routed {
    Ok(sse::response(start(&service, request).await?.0.chunks()))
}

async fn query(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let (frames, session) = start(&service, request).await?;
    match frames.outcome().await {
        Outcome::Answered(result) => Ok(document(
            &json!({"session_id": session.id, "result": result}),
        )),
        Outcome::Cancelled => {
            let detail = "the run was cancelled";
            Err(Problem::new(StatusCode::CONFLICT, "cancelled", detail).into())
        }
        Outcome::Failed(why) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(Problem::new(status, "run_failed", why).into())
        }
    }
}

/// Gives the message to the lead of the session's team, which is started if it is down.
async fn start(
    service: &Arc<Service>,
    request: Request,
) -> Result<(Frames, NexauSession), Failure> {
    let permit = frames::permit(service)?;
    let key = call::key(request.headers())?;
    let mut fields = Fields::of_body(request, Permission::Steer).await?;
    let session = session::of(service, &mut fields);
    let text = fields.text("message");
    let memory = fields.variables();
    fields.end()?;
    let session = session?;
    let team = session.ensure_up(service).await?;
    let frames = Frames::of_goal(service, permit, &session, team, text, memory, key).await?;
    Ok((frames, session))
}

async fn subscribe(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let permit = frames::permit(&service)?;
    let headers = request.headers().clone();
    let mut fields = Fields::of_query(&request)?;
    let session = session::of(&service, &mut fields);
    let skip = fields.count("after");
    fields.end()?;
    let session = session?;
    let resume = sse::resume_after(&headers, None)?;
    let Some(team) = session.find(&service).await? else {
        return Ok(sse::response(frames::complete(session.id)));
    };
    let frames = Frames::of_session(&service, permit, &session, team, resume, skip).await?;
    Ok(sse::response(frames.chunks()))
}

async fn user_message(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let key = call::key(request.headers())?;
    let mut fields = Fields::of_body(request, Permission::Steer).await?;
    let session = session::of(&service, &mut fields);
    let text = fields.text("content");
    let to = fields.text_or("to_agent_id", LEADER);
    fields.end()?;
    let session = session?;
    let team = session.find(&service).await?;
    let team = team.filter(|team| team.state == TeamState::Up);
    let team = team.ok_or_else(no_team)?;
    let send = SendMessage {
        to: recipient(&team, &to)?,
        text,
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    service
        .change::<MessageSend>(&session.team, key, &send)
        .await?;
    Ok(document(&json!({"status": "enqueued", "to_agent_id": to})))
}

/// A message within the team. The sender is always the user, not the member that `from_agent_id` names: the connection
/// identifies the sender (I7).
async fn message(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let key = call::key(request.headers())?;
    let mut fields = Fields::of_body(request, Permission::Steer).await?;
    let session = session::of(&service, &mut fields);
    let _claimed = fields.text("from_agent_id");
    let to = fields.optional_text("to_agent_id");
    let text = fields.text("content");
    fields.end()?;
    let session = session?;
    let team = session.find(&service).await?.ok_or_else(no_team)?;
    let (to, status) = match &to {
        Some(to) => (recipient(&team, to)?, "sent"),
        None => (Recipient::All, "broadcast"),
    };
    let send = SendMessage {
        to,
        text,
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    let sent = service
        .change::<MessageSend>(&session.team, key, &send)
        .await?;
    Ok(document(&json!({"message_id": sent.id, "status": status})))
}

async fn stop(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let mut fields = Fields::of_body(request, Permission::Steer).await?;
    let session = session::of(&service, &mut fields);
    fields.end()?;
    let session = session?;
    let team = session.find(&service).await?;
    if team.is_none_or(|team| team.state == TeamState::Down) {
        return Ok(document(&json!({"status": "no_active_team"})));
    }
    if session.run_under_way(&service).await?.is_some() {
        let cancel = CancelRun {
            reason: "stopped by POST /team/stop".to_owned(),
        };
        let cancelled = service
            .change::<RunCancel>(&session.team, random::id(), &cancel)
            .await;
        // Ignore a failure: the run may have ended in the meantime. The team goes down in any case.
        drop(cancelled);
    }
    service
        .change::<TeamDown>(&session.team, random::id(), &Down { force: false })
        .await?;
    Ok(document(&json!({"status": "stopped"})))
}

async fn status(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let mut fields = Fields::of_query(&request)?;
    let session = session::of(&service, &mut fields);
    fields.end()?;
    let session = session?;
    let running = session.run_under_way(&service).await?.is_some();
    Ok(document(
        &json!({"running": running, "session_id": session.id}),
    ))
}

async fn teammates(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let mut fields = Fields::of_query(&request)?;
    let session = session::of(&service, &mut fields);
    fields.end()?;
    let team = session?.find(&service).await?;
    let members = team
        .filter(|team| team.state == TeamState::Up)
        .map_or_else(Vec::new, |team| team.members);
    let others = members.iter().filter(|member| !member.lead);
    Ok(document(&others.map(teammate).collect::<Vec<_>>()))
}

fn teammate(member: &MemberView) -> Value {
    let status = match member.state {
        MemberState::Idle
        | MemberState::Planned
        | MemberState::Launching
        | MemberState::Cooling => "idle",
        MemberState::Working | MemberState::Waiting => "running",
        MemberState::Draining | MemberState::Stopped => "stopped",
        MemberState::Held | MemberState::Unresponsive | MemberState::Unknown => "error",
    };
    json!({"agent_id": member.name, "role_name": member.role, "status": status})
}

async fn tasks(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let mut fields = Fields::of_query(&request)?;
    let session = session::of(&service, &mut fields);
    let status = fields.optional_text("status");
    fields.end()?;
    let session = session?;
    let Some(team) = session.find(&service).await? else {
        return Ok(document(&json!([])));
    };
    let lead = session::lead(&team);
    let tasks = session.board(&service).await?;
    let tasks = tasks.iter().map(|task| task_info(task, lead.as_ref()));
    let wanted = |task: &Value| {
        status
            .as_ref()
            .is_none_or(|status| task["status"] == **status)
    };
    Ok(document(&tasks.filter(wanted).collect::<Vec<_>>()))
}

fn task_info(task: &TaskView, lead: Option<&MemberName>) -> Value {
    let agent = |party: &Party| session::agent_id(party, lead);
    let assignee = task.assignee.clone().map(Party::Member);
    json!({
        "task_id": task.id,
        "title": task.title,
        "description": task.description,
        "status": task.state,
        "priority": task.priority,
        "dependencies": task.after,
        "assignee_agent_id": task.owner.as_ref().or(assignee.as_ref()).map(agent),
        "result_summary": task.result,
        "created_by": agent(&task.created_by),
        "is_blocked": task.blocked,
        "deliverable_path": null,
    })
}

async fn create_task(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let key = call::key(request.headers())?;
    let mut fields = Fields::of_body(request, Permission::Steer).await?;
    let session = session::of(&service, &mut fields);
    let title = fields.text("title");
    let description = fields.text_or("description", "");
    let priority = fields.integer_or_zero("priority");
    let after = fields.texts("dependencies");
    fields.end()?;
    let session = session?;
    let team = session.ensure_up(&service).await?;
    let spec: TaskSpec = serde_json::from_value(json!({
        // NexAU makes a task from each request, even from two requests with the same title.
        "key": key, "title": title, "description": description, "priority": priority, "after": after,
    }))
    .map_err(|error| Problem::new(StatusCode::CONFLICT, "invalid_params", error.to_string()))?;
    let added = service
        .change::<TaskAdd>(&session.team, key, &AddTask { spec })
        .await
        .map_err(conflict)?;
    let task = OneTask { task: added.task };
    let task = service.query::<TaskShow>(&session.team, &task).await?;
    Ok(document(&task_info(&task, session::lead(&team).as_ref())))
}

async fn claim(State(service): State<Arc<Service>>, request: Request) -> Routed {
    let mut fields = Fields::of_body(request, Permission::Steer).await?;
    let session = session::of(&service, &mut fields);
    let id = fields.text("task_id");
    let assignee = fields.optional_text("assignee_agent_id");
    fields.end()?;
    let session = session?;
    let team = session.find(&service).await?.ok_or_else(no_team)?;
    let task = task_id(&id)?;
    let (session, key) = (&session.team, random::id());
    let assignee = match assignee {
        Some(assignee) => {
            let member = session::member(&team, &assignee).ok_or_else(|| unknown(&assignee))?;
            let assign = AssignTask { task, member };
            let assigned = service.change::<TaskAssign>(session, key, &assign).await;
            assigned.map_err(conflict)?;
            assignee
        }
        None => {
            let claim = ClaimTask { task: Some(task) };
            let claimed = service.change::<TaskClaim>(session, key, &claim).await;
            claimed.map_err(conflict)?;
            Party::User.to_string()
        }
    };
    Ok(document(
        &json!({"task_id": task, "status": "claimed", "assignee_agent_id": assignee}),
    ))
}

async fn update_task(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Routed {
    let mut fields = Fields::of_query(&request)?;
    let session = session::of(&service, &mut fields);
    fields.end()?;
    let mut fields = Fields::of_body(request, Permission::Steer).await?;
    let status = fields.state("status");
    let text = fields.optional_text("result_summary").unwrap_or_default();
    fields.end()?;
    let session = session?;
    session.find(&service).await?.ok_or_else(no_team)?;
    let task = task_id(&id)?;
    change_state(&service, &session, task, status, text)
        .await
        .map_err(conflict)?;
    Ok(document(&json!({"task_id": task, "status": status})))
}

/// Makes the calls that bring a task into this state.
async fn change_state(
    service: &Service,
    session: &NexauSession,
    task: TaskId,
    state: TaskState,
    text: String,
) -> Result<(), Problem> {
    let (team, one) = (&session.team, OneTask { task });
    let before = service.query::<TaskShow>(team, &one).await?.state;
    if before == state {
        return Ok(());
    }
    let end = EndTask {
        task,
        generation: None,
        text,
    };
    // Only a claimed task can be completed or can fail.
    let needs_claim =
        before == TaskState::Pending && matches!(state, TaskState::Completed | TaskState::Failed);
    if needs_claim || state == TaskState::InProgress {
        let claim = ClaimTask { task: Some(task) };
        service
            .change::<TaskClaim>(team, random::id(), &claim)
            .await?;
    }
    let key = random::id();
    match (before, state) {
        (_, TaskState::Completed) => drop(service.change::<TaskComplete>(team, key, &end).await?),
        (_, TaskState::Failed) => drop(service.change::<TaskFail>(team, key, &end).await?),
        (_, TaskState::Cancelled) => drop(service.change::<TaskCancel>(team, key, &one).await?),
        (TaskState::InProgress, TaskState::Pending) => {
            drop(service.change::<TaskRelease>(team, key, &end).await?);
        }
        (_, TaskState::Pending) => drop(service.change::<TaskRetry>(team, key, &one).await?),
        (_, TaskState::InProgress | TaskState::Unknown) => {}
    }
    Ok(())
}

fn no_team() -> Failure {
    let detail = "No active team for this session";
    Problem::new(StatusCode::NOT_FOUND, "unknown_team", detail).into()
}

fn unknown(agent: &str) -> Problem {
    let detail = format!("no agent has the id {agent:?}");
    Problem::new(StatusCode::NOT_FOUND, "unknown_member", detail)
}

fn recipient(
    team: &agent_team_protocol::view::TeamView,
    agent: &str,
) -> Result<Recipient, Problem> {
    let member = session::member(team, agent).ok_or_else(|| unknown(agent))?;
    Ok(Recipient::Member(member))
}

fn task_id(text: &str) -> Result<TaskId, Problem> {
    TaskId::from_typed(text).map_err(|_error| {
        let detail = format!("Task {text} not found");
        Problem::new(StatusCode::CONFLICT, "unknown_task", detail)
    })
}

/// NexAU answers each refused change of the board with 409.
fn conflict(problem: Problem) -> Problem {
    problem.with_client_status(StatusCode::CONFLICT)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Invalid(faults) => {
                let mut response = document(&json!({ "detail": faults }));
                *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
                response
            }
        }
    }
}
