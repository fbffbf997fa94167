//! The team tools of a member's model, and its system prompt. Called by the native engine.
//!
//! Each tool makes one or a few requests over the member's [`SupervisorClient`]. The supervisor makes all decisions; a
//! refusal is returned as text that the model can act on. A tool that the role does not permit is not offered.
//!
//! A reader who looks for …
//! - the list of tools: [`team_tools`]
//! - members and the end of the run: `members`; tasks: `board`; messages: `messages`; shared memory: `memory`
//! - plans that need approval: `plan`
//! - the conditions that end a `wait`: `wait`
//! - state shared by the engine and the tools: [`Claims`], [`Arrivals`], [`Verify`]
//! - the system prompt, and the digest after a cut: [`system_prompt`], [`digest`]

mod arrivals;
mod board;
mod claims;
mod lines;
mod members;
mod memory;
mod messages;
mod plan;
mod requests;
mod system_prompt;
mod wait;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use agent_team_protocol::method::Method;
use agent_team_protocol::{ErrorCode, Refusal, TaskId};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub(crate) use board::ENDS_TASK;
pub(crate) use members::FINISH;
pub(crate) use wait::NAME as WAIT;

pub use arrivals::{Arrivals, PendingRequest};
pub use claims::Claims;
pub use lines::message_line;
pub(crate) use members::role_of;
pub(crate) use plan::{plan_status, plan_tool};
pub use system_prompt::{Briefing, digest, system_prompt};

use crate::supervisor_client::SupervisorClient;
use crate::tool::adapter::{Access, Call, tool};
use crate::tool::{Permission, Tool, ToolError};

/// State shared by a member's agent loop and its team tools. Cheap to clone; all clones share one state.
#[derive(Debug, Clone)]
pub struct Shared {
    pub claims: Claims,
    pub arrivals: Arrivals,
    pub verify: Arc<dyn Verify>,
}

/// A running check; its error is the tail of its output, for the model.
pub type Verifying<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Runs a task's `verify` line, which must exit 0 before the task counts as completed. The line was written or allowed
/// by the user.
pub trait Verify: Send + Sync + fmt::Debug {
    fn verify<'a>(&'a self, task: TaskId, line: &'a str) -> Verifying<'a>;
}

/// Creates the team tools of this member.
pub fn team_tools(
    client: &SupervisorClient,
    shared: &Shared,
    permission: &Permission,
) -> Vec<Box<dyn Tool>> {
    let team_context = Arc::new(TeamContext {
        client: client.clone(),
        shared: shared.clone(),
    });
    let mut tools = Vec::new();
    if client.lead {
        tools.extend(members::tools_of_the_lead(&team_context));
        tools.extend(board::tools_of_the_lead(&team_context, permission));
    }
    tools.extend(messages::tools(&team_context));
    tools.push(members::list(&team_context));
    tools.push(members::answer_shutdown(&team_context));
    tools.extend(board::tools(&team_context));
    tools.extend(memory::tools(&team_context));
    tools.push(wait::tool(&team_context));
    tools
}

/// Additional tools of a lead that the user permits to allow some of the teammates' requests.
pub(crate) fn request_tools(client: &SupervisorClient, shared: &Shared) -> [Box<dyn Tool>; 2] {
    let team_context = Arc::new(TeamContext {
        client: client.clone(),
        shared: shared.clone(),
    });
    requests::tools(&team_context)
}

/// The context of one member's team tools.
#[derive(Debug)]
struct TeamContext {
    client: SupervisorClient,
    shared: Shared,
}

impl TeamContext {
    async fn call<M: Method>(&self, args: M::Args) -> Result<M::Answer, ToolError> {
        self.ask::<M>(args)
            .await
            .map_err(|refusal| refused(&refusal))
    }

    /// Like `call`, but returns the refusal itself.
    async fn ask<M: Method>(&self, args: M::Args) -> Result<M::Answer, Refusal> {
        self.client.call::<M>(&args).await
    }
}

/// Creates a tool that changes state or waits.
fn changing<A, F>(
    team_context: &Arc<TeamContext>,
    name: &str,
    description: &str,
    run: fn(Arc<TeamContext>, A) -> F,
) -> Box<dyn Tool>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    F: Future<Output = Result<String, ToolError>> + Send + 'static,
{
    team_tool(team_context, name, description, Access::Changes, run)
}

/// Creates a tool that only reads.
fn reading<A, F>(
    team_context: &Arc<TeamContext>,
    name: &str,
    description: &str,
    run: fn(Arc<TeamContext>, A) -> F,
) -> Box<dyn Tool>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    F: Future<Output = Result<String, ToolError>> + Send + 'static,
{
    team_tool(team_context, name, description, Access::Reads, run)
}

/// Creates a tool whose function needs only the team. Its result is cut to the size for a model.
fn team_tool<A, F>(
    team_context: &Arc<TeamContext>,
    name: &str,
    description: &str,
    access: Access,
    run: fn(Arc<TeamContext>, A) -> F,
) -> Box<dyn Tool>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    F: Future<Output = Result<String, ToolError>> + Send + 'static,
{
    let run = move |team_context: &Arc<TeamContext>, arguments: A, call: Call<'_>| {
        let text = run(Arc::clone(team_context), arguments);
        let room = call.context.output_max;
        async move { Ok(lines::within(text.await?, room)) }
    };
    tool(name, description, access, Arc::clone(team_context), run)
}

/// Returns whether a hint is a shell command: it contains the program's name or a flag.
fn is_command(hint: &str) -> bool {
    hint.contains("agent-team ") || hint.split_whitespace().any(|word| word.starts_with("--"))
}

fn names_command(refusal: &Refusal, verb: &str) -> bool {
    let hint = refusal.hint.as_deref();
    hint.is_some_and(|hint| hint.contains(&format!("agent-team {verb}")))
}

/// Formats a refusal by the supervisor for a model. Hints name tools, never shell commands: the sandbox of the model's
/// commands cannot reach the supervisor.
fn refused(refusal: &Refusal) -> ToolError {
    let code = serde_json::to_value(refusal.code).unwrap_or_default();
    let code = code.as_str().unwrap_or("refused");
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other hints fit users and models alike"
    )]
    let hint = match refusal.code {
        ErrorCode::UnknownMember => Some("call list_teammates to see the members"),
        ErrorCode::UnknownTask => Some("call list_tasks to see the board"),
        ErrorCode::UnknownMessage => Some("call read_messages with `all` to see the messages"),
        ErrorCode::AlreadyClaimed => Some(
            "call list_tasks to see the owners; end your own task with complete_task, fail_task or release_task",
        ),
        ErrorCode::NameTaken => Some(
            "restart a stopped teammate with resume_teammate, or free the name of a spawned one with stop_teammate and `remove`",
        ),
        ErrorCode::TooManyMembers => Some(
            "assign the work to another teammate, or stop one with stop_teammate; only the user can raise the limit",
        ),
        ErrorCode::UnknownRequest => Some(
            "use the id from the system message about the request; a decided request cannot be decided again",
        ),
        ErrorCode::WrongState if names_command(refusal, "task release") => Some(
            "the task is in progress: its owner ends it with release_task, complete_task or fail_task",
        ),
        ErrorCode::WrongState if names_command(refusal, "task retry") => {
            Some("the task has ended: create a new one with create_task")
        }
        _ => refusal.hint.as_deref().filter(|hint| !is_command(hint)),
    };
    let hint = hint.map(|hint| format!("\nWhat to do: {hint}"));
    let hint = hint.unwrap_or_default();
    ToolError::Failed(format!("Refused ({code}): {}{hint}", refusal.message))
}
