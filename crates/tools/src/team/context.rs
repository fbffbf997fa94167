//! The context that the team tools of one member share, and the constructors of these tools. Called by every team tool.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use agent_team_protocol::method::Method;
use agent_team_protocol::{ErrorCode, Refusal, RoleName, TaskId};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::arrivals::Arrivals;
use super::claims::Claims;
use super::lines::within;
use crate::adapter::{Access, Call, tool};
use crate::supervisor_client::SupervisorClient;
use crate::tool::{Tool, ToolError};

/// State shared by a member's agent loop and its team tools. Cheap to clone; all clones share one state.
#[derive(Debug, Clone)]
pub struct Shared {
    pub claims: Claims,
    pub arrivals: Arrivals,
    pub verify: Arc<dyn Verify>,
}

/// A running check. The error of the check is the tail of its output, for the model.
pub type Verifying<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Runs a task's `verify` line, which must exit 0 before the task counts as completed. The user has written the line,
/// or the member that created the task had permission for the line.
pub trait Verify: Send + Sync + fmt::Debug {
    fn verify<'a>(&'a self, task: TaskId, line: &'a str) -> Verifying<'a>;
}

/// The context of one member's team tools.
#[derive(Debug)]
pub(crate) struct TeamContext {
    pub(super) client: SupervisorClient,
    pub(super) shared: Shared,
    /// The roles that the member may spawn; `None`: every role.
    pub(super) may_spawn: Option<Vec<RoleName>>,
    /// Whether the last `wait` found nothing to wait for and reported this to the model.
    pub(super) had_nothing_to_wait_for: AtomicBool,
}

impl TeamContext {
    pub(super) fn new(
        client: &SupervisorClient,
        shared: &Shared,
        may_spawn: Option<&[RoleName]>,
    ) -> Arc<Self> {
        Arc::new(Self {
            client: client.clone(),
            shared: shared.clone(),
            may_spawn: may_spawn.map(<[RoleName]>::to_vec),
            had_nothing_to_wait_for: AtomicBool::new(false),
        })
    }

    pub(super) async fn call<M: Method>(&self, args: M::Args) -> Result<M::Answer, ToolError> {
        self.ask::<M>(args)
            .await
            .map_err(|refusal| refused(&refusal))
    }

    /// Like `call`, but returns the refusal itself.
    pub(super) async fn ask<M: Method>(&self, args: M::Args) -> Result<M::Answer, Refusal> {
        self.client.call::<M>(&args).await
    }
}

/// Creates a tool that changes state or waits.
pub(super) fn changing<A, F>(
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
pub(super) fn reading<A, F>(
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

/// Creates a tool whose function needs only the team context. The result is cut to the size for a model.
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
        async move { Ok(within(text.await?, room)) }
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
pub(super) fn refused(refusal: &Refusal) -> ToolError {
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
