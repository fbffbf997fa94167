//! What a member's model can do in its team, and what it is told of it. Called by the native engine.
//!
//! Every tool is one or a few calls over the member's [`Desk`]: nothing here decides anything, the supervisor does,
//! and what it refuses comes back as text that the model can act on. What a role lacks is not offered.
//!
//! A reader who looks for …
//! - the names that a model sees: [`team_tools`]
//! - the lead's members and her run: `members`; tasks: `board`; talking: `messages`; shared memory: `memory`
//! - what must be approved before anything is changed: `plan`
//! - what ends a `wait`: `wait`
//! - what the engine and the tools share: [`Claims`], [`Arrivals`], [`Verify`]
//! - what a model is told before anything else, and after its conversation was cut: [`system_prompt`], [`digest`]

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
use serde_json::Value;

pub(crate) use board::ENDS_TASK;
pub(crate) use members::FINISH;
pub(crate) use wait::NAME as WAIT;

pub use arrivals::{Arrivals, PendingRequest};
pub use claims::Claims;
pub use lines::message_line;
pub(crate) use members::role_of;
pub(crate) use plan::{plan_standing, plan_tool};
pub use system_prompt::{Briefing, digest, system_prompt};

use crate::desk::Desk;
use crate::model::ToolSpec;
use crate::tool::{Bench, Output, Permission, Running, Tool, ToolError, arguments};

/// What a member's loop and its team tools share. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Shared {
    pub claims: Claims,
    pub arrivals: Arrivals,
    pub verify: Arc<dyn Verify>,
}

/// A check on its way; the error is the end of what it printed, for the model.
pub type Verifying<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Runs the line of a task that must exit 0 before the task counts as completed: the user's words, or allowed.
pub trait Verify: Send + Sync + fmt::Debug {
    fn verify<'a>(&'a self, task: TaskId, line: &'a str) -> Verifying<'a>;
}

/// The team tools of this member, new.
pub fn team_tools(desk: &Desk, shared: &Shared, permission: &Permission) -> Vec<Box<dyn Tool>> {
    let seat = Arc::new(Seat {
        desk: desk.clone(),
        shared: shared.clone(),
    });
    let mut tools = Vec::new();
    if desk.lead {
        tools.extend(members::tools_of_the_lead(&seat));
        tools.extend(board::tools_of_the_lead(&seat, permission));
    }
    tools.extend(messages::tools(&seat));
    tools.push(members::list(&seat));
    tools.push(members::answer_shutdown(&seat));
    tools.extend(board::tools(&seat));
    tools.extend(memory::tools(&seat));
    tools.push(wait::tool(&seat));
    tools
}

/// What a lead has besides, whom the person lets allow some of what others ask.
pub(crate) fn request_tools(desk: &Desk, shared: &Shared) -> [Box<dyn Tool>; 2] {
    let seat = Arc::new(Seat {
        desk: desk.clone(),
        shared: shared.clone(),
    });
    requests::tools(&seat)
}

/// Where one member's team tools sit.
#[derive(Debug)]
struct Seat {
    desk: Desk,
    shared: Shared,
}

impl Seat {
    async fn call<M: Method>(&self, args: M::Args) -> Result<M::Answer, ToolError> {
        self.ask::<M>(args)
            .await
            .map_err(|refusal| refused(&refusal))
    }

    /// The same for who has to know why it was refused.
    async fn ask<M: Method>(&self, args: M::Args) -> Result<M::Answer, Refusal> {
        self.desk.call::<M>(&args).await
    }
}

/// One team tool: its arguments' type is its schema, and `run` carries a call out.
struct TeamTool<A, F> {
    spec: ToolSpec,
    reads_only: bool,
    seat: Arc<Seat>,
    run: fn(Arc<Seat>, A) -> F,
}

impl<A, F> fmt::Debug for TeamTool<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeamTool")
            .field("name", &self.spec.name)
            .finish_non_exhaustive()
    }
}

impl<A, F> Tool for TeamTool<A, F>
where
    A: DeserializeOwned + Send,
    F: Future<Output = Result<String, ToolError>> + Send,
{
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        self.reads_only
    }

    fn run<'a>(
        &'a self,
        input: Value,
        bench: &'a Bench,
        _shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let arguments = arguments::parse(&self.spec, input)?;
            let text = (self.run)(Arc::clone(&self.seat), arguments).await?;
            Ok(Output {
                text: lines::within(text, bench.output_max),
                diff: None,
            })
        })
    }
}

/// A tool that changes something, or waits.
fn changing<A, F>(
    seat: &Arc<Seat>,
    name: &str,
    description: &str,
    run: fn(Arc<Seat>, A) -> F,
) -> Box<dyn Tool>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    F: Future<Output = Result<String, ToolError>> + Send + 'static,
{
    Box::new(TeamTool {
        spec: arguments::spec::<A>(name, description),
        reads_only: false,
        seat: Arc::clone(seat),
        run,
    })
}

/// A tool that only looks.
fn reading<A, F>(
    seat: &Arc<Seat>,
    name: &str,
    description: &str,
    run: fn(Arc<Seat>, A) -> F,
) -> Box<dyn Tool>
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    F: Future<Output = Result<String, ToolError>> + Send + 'static,
{
    Box::new(TeamTool {
        spec: arguments::spec::<A>(name, description),
        reads_only: true,
        seat: Arc::clone(seat),
        run,
    })
}

/// Whether a hint is for a shell: it names the program, or a flag of it.
fn is_command(hint: &str) -> bool {
    hint.contains("agent-team ") || hint.split_whitespace().any(|word| word.starts_with("--"))
}

fn names_command(refusal: &Refusal, verb: &str) -> bool {
    let hint = refusal.hint.as_deref();
    hint.is_some_and(|hint| hint.contains(&format!("agent-team {verb}")))
}

/// A refusal by the supervisor, for a model. A hint names a tool, never a command of the shell: the sandbox of the
/// model's commands does not reach the supervisor.
fn refused(refusal: &Refusal) -> ToolError {
    let code = serde_json::to_value(refusal.code).unwrap_or_default();
    let code = code.as_str().unwrap_or("refused");
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other hints are for both"
    )]
    let hint = match refusal.code {
        ErrorCode::UnknownMember => Some("list_teammates shows who is there"),
        ErrorCode::UnknownTask => Some("list_tasks shows the board"),
        ErrorCode::UnknownMessage => Some("read_messages with `all` shows them"),
        ErrorCode::AlreadyClaimed => Some(
            "list_tasks shows who has which; complete_task, fail_task or release_task ends what you have yourself",
        ),
        ErrorCode::NameTaken => Some(
            "resume_teammate starts a stopped one again; stop_teammate with `remove` frees the name of a spawned one",
        ),
        ErrorCode::TooManyMembers => Some(
            "assign the work to another teammate, or stop one with stop_teammate; only the user can raise the limit",
        ),
        ErrorCode::UnknownRequest => {
            Some("the system message about a request names its id; a decided request is over")
        }
        ErrorCode::WrongState if names_command(refusal, "task release") => Some(
            "the task is in progress: its owner ends it with release_task, complete_task or fail_task",
        ),
        ErrorCode::WrongState if names_command(refusal, "task retry") => {
            Some("the task has ended: create_task puts a new one on the board")
        }
        _ => refusal.hint.as_deref().filter(|hint| !is_command(hint)),
    };
    let hint = hint.map(|hint| format!("\nWhat to do: {hint}"));
    let hint = hint.unwrap_or_default();
    ToolError::Failed(format!("Refused ({code}): {}{hint}", refusal.message))
}
