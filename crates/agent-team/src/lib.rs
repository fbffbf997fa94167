//! Teams of agents inside your own program.
//!
//! ```text
//!  your program                            thread "agent-team"            a thread per member
//!  Team::run, run_streaming ──┐                                        ┌── boss ── Model
//!  board, messages, members ──┼── private socket ── supervisor ────────┼── ada ─── Model, tools
//!  on_envelope ◄──────────────┘                        │               └── ben ─── your Engine
//!                                    a journal in SQLite, private or in your store
//! ```
//! The supervisor, the protocol and the agents of the programs `agent-teamd` and `agent-teammate` run in one process,
//! with the same guarantees: an answered call is stored, a panic ends only one member, and a crashed member is
//! restarted by the same rules. No daemon and no worker process is started, no signal handler is installed, and neither
//! the user's settings nor the user's teams are used. When the [`Team`] is dropped or shut down, its threads exit and
//! its private files are removed.
//!
//! # A goal and its answer
//!
//! Choose a model by name (`.model("anthropic/claude-sonnet-5-5")`, with its key in the environment), or implement
//! [`Model`]. This example implements `Model`, so it needs no key:
//!
//! ```
//! use std::sync::Arc;
//!
//! use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
//! use agent_team::{Member, Team};
//!
//! /// Finishes every goal immediately.
//! #[derive(Debug)]
//! struct Optimist;
//!
//! impl Model for Optimist {
//!     fn name(&self) -> &str {
//!         "example/optimist"
//!     }
//!
//!     fn window(&self) -> u64 {
//!         8_000
//!     }
//!
//!     fn answer<'a>(
//!         &'a self,
//!         prompt: Prompt<'a>,
//!         _on_delta: &'a mut (dyn FnMut(Delta) + Send),
//!     ) -> Answering<'a> {
//!         let is_asked = matches!(prompt.items.last(), Some(Item::Input { .. }));
//!         let finish = ToolCall {
//!             id: format!("call-{}", prompt.items.len()),
//!             name: "finish".to_owned(),
//!             input: r#"{"answer": "done"}"#.to_owned(),
//!         };
//!         let answer = if is_asked {
//!             Answer { calls: vec![finish], stop: Stop::Calls, ..Answer::default() }
//!         } else {
//!             Answer { text: "That was all.".to_owned(), ..Answer::default() }
//!         };
//!         Box::pin(async move { Ok(answer) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let team = Team::builder()
//!     .model(Arc::new(Optimist))
//!     .lead(Member::new("boss").prompt("Answer in {{language}}."))
//!     .variable("language", "English")
//!     .build()
//!     .await?;
//! let result = team.run("Add input validation").await?;
//! assert_eq!(result.final_answer.as_deref(), Some("done"));
//!
//! // The next goal, as a stream. The run continues if the stream is dropped.
//! let mut stream = team.run_streaming("And tests").await?;
//! while let Some(envelope) = stream.next().await {
//!     println!("{}", serde_json::to_string(&envelope)?);
//! }
//! team.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Custom engines
//!
//! An [`Engine`] does a member's work instead of a model. The team still handles tasks, claims, dependencies, restarts
//! and messages:
//!
//! ```
//! use agent_team::protocol::view::TaskState;
//! use agent_team::{Assignment, Engine, EngineFuture, Member, Mode, TaskResult, TaskSpec, Team, TeamHandle};
//!
//! struct Counter;
//!
//! impl Engine for Counter {
//!     fn work<'a>(&'a mut self, task: &'a Assignment, team: &'a TeamHandle) -> EngineFuture<'a, TaskResult> {
//!         Box::pin(async move {
//!             team.print("counting");
//!             Ok(format!("{} letters", task.title.len()))
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let team = Team::builder()
//!     .mode(Mode::Manual)
//!     .member(Member::new("ada"))
//!     .engine(|_member| Some(Box::new(Counter)))
//!     .build()
//!     .await?;
//! let spec = TaskSpec { title: "Build".to_owned(), ..TaskSpec::default() };
//! let task = team.board().add(spec).await?.task;
//! let done = loop {
//!     let task = team.board().show(task).await?;
//!     if task.state == TaskState::Completed {
//!         break task;
//!     }
//!     # tokio::task::yield_now().await;
//! };
//! assert_eq!(done.result.as_deref(), Some("5 letters"));
//! # Ok(())
//! # }
//! ```
//!
//! # Examples
//!
//! Complete programs that need no key. Run a program with `cargo run -p agent-team --example NAME`:
//! - `examples/commands.rs`: a command member runs two tasks in order
//! - `examples/agent.rs`: an agent with a custom model uses a tool and answers a goal
//! - `examples/events.rs`: a custom engine does a task; the program prints the events of the run
//! - `examples/own_tool.rs`: a tool of the program, which a model calls
//! - `examples/permission.rs`: a callback decides what a member may do
//! - `examples/spawn.rs`: members of one role with their own prompts and directories
//! - `examples/own_loop.rs`: an agent loop of the program uses the team tools
//! - `examples/coordinator.rs`: the lead's model chooses the member of each round
//! - `examples/collaborate.rs`: members work on a goal one after another; the lead's model writes a synthesis
//! - `examples/goals.rs`: goals with memory, variables and an effort of their own
//! - `examples/guard.rs`: rules, a lifecycle hook and an MCP server decide what a member may do
//!
//! # Persistence
//!
//! Nothing is kept unless [`TeamBuilder::store`] sets a directory. [`TeamBuilder::session`] then reopens the team with
//! its board, messages, memory and conversations.
//!
//! # Threads
//!
//! A team has one thread, and another thread for callbacks that decide or answer as the user. Each member has two: a
//! thread for its work, and a thread that answers the supervisor while the first thread is busy. A member that blocks
//! its thread forever cannot be terminated: it is reported as surviving, and no successor is started. With `panic =
//! "abort"`, the first member that panics aborts the whole program.
//!
//! Where to look:
//! - from a builder to a team: `builder`, `settings`, `member`; rules and MCP servers: `access`
//! - goals: `goal`; the callbacks that decide and answer as the user: `decisions`
//! - start and end of the team's thread: `team_thread`; members' threads: `member_threads`; directories: `team_dirs`
//! - the caller's API: `team`; events: `subscription`, `stream`, `result`

mod access;
mod builder;
mod decisions;
mod goal;
mod member;
mod member_threads;
mod result;
mod settings;
mod stream;
mod subscription;
mod team;
mod team_dirs;
mod team_thread;

/// The tests of the documentation compile this page. Its shell lines must be in fenced blocks: rustdoc compiles
/// indented lines as Rust.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/embedding.md")]
enum GuidePage {}

pub use access::McpServer;
pub use builder::TeamBuilder;
pub use goal::Goal;
pub use member::{Member, ModelChoice, Role};
pub use member_threads::MemberInfo;
pub use settings::{BuildError, Mode};
pub use stream::RunStream;
pub use team::{Board, Members, Messages, RunError, Team};
pub use team_thread::TeamCallError;

pub use agent_team_llm::{self as model, Model};
pub use agent_team_protocol as protocol;
pub use agent_team_protocol::envelope::{AgUi, Envelope};
pub use agent_team_protocol::hook::HookEvent;
pub use agent_team_protocol::method::Spawn;
pub use agent_team_protocol::notification::{Assignment, DeliveredMessage};
pub use agent_team_protocol::permissions::Mode as PermissionMode;
pub use agent_team_protocol::request::{Decision, RequestView, Scope, UserQuestionView};
pub use agent_team_protocol::result::{Durations, Outputs, RoundOutput, RunResult};
pub use agent_team_protocol::spec::{Budget, TaskSpec};
pub use agent_team_protocol::value::Effort;
pub use agent_team_teammate::hosted::{
    CustomCall, CustomTool, Engine, EngineFuture, TaskResult, TeamHandle, TeamTools, ToolError,
};
