//! Teams of agents inside your own program.
//!
//! ```text
//!  your program                            thread "agent-team"            a thread per member
//!  Team::run, run_streaming ──┐                                        ┌── boss ── Model
//!  board, messages, members ──┼── private socket ── supervisor ────────┼── ada ─── Model, tools
//!  on_envelope ◄──────────────┘                        │               └── ben ─── your Engine
//!                                    a journal in SQLite, private or in your store
//! ```
//! It is the same supervisor, protocol and agents as the programs `agent-teamd` and `agent-teammate` have, in one
//! process: what is answered is stored, whatever panics ends one member alone, who is killed is started again by the
//! same rules. No daemon and no worker's process is started, no signal handler is installed, and neither the user's
//! settings nor their teams are touched. Everything ends with the [`Team`].
//!
//! # A goal and its answer
//!
//! A model is named (`.model("anthropic/claude-sonnet-4-6")`, with its key in the environment), or it is your own
//! [`Model`], as here, where it needs no key:
//!
//! ```
//! use std::sync::Arc;
//!
//! use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
//! use agent_team::{Member, Team};
//!
//! /// Finishes whatever it is asked to do.
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
//!         _told: &'a mut (dyn FnMut(Delta) + Send),
//!     ) -> Answering<'a> {
//!         let is_asked = matches!(prompt.items.last(), Some(Item::Said { .. }));
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
//! // The next goal, as it goes on. Dropping the stream would not stop the run.
//! let mut stream = team.run_streaming("And tests").await?;
//! while let Some(envelope) = stream.next().await {
//!     println!("{}", serde_json::to_string(&envelope)?);
//! }
//! team.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Work of your own
//!
//! An [`Engine`] does a member's work in place of a model. Tasks, claims, dependencies, restarts and messages are the
//! team's:
//!
//! ```
//! use agent_team::protocol::view::TaskState;
//! use agent_team::{Assignment, Engine, Member, Mode, Seat, TaskSpec, Team, Worked, Working};
//!
//! struct Counter;
//!
//! impl Engine for Counter {
//!     fn work<'a>(&'a mut self, task: &'a Assignment, seat: &'a Seat) -> Working<'a, Worked> {
//!         Box::pin(async move {
//!             seat.say("counting");
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
//! # What lasts
//!
//! Nothing, unless [`TeamBuilder::store`] names a directory; [`TeamBuilder::session`] then finds the team again, with
//! its board, messages, memory and conversations.
//!
//! # What it costs
//!
//! A thread for the team, and two for each member: one works, the other answers the supervisor however busy the first
//! is. A member that blocks its thread for ever cannot be taken off it: it is reported as surviving, and nobody is
//! started in its place. A program that is built with `panic = "abort"` ends with the first member that panics.
//!
//! A reader who looks for …
//! - how a builder becomes a team: `builder`, `member`
//! - the thread that everything lives on, and its end: `home`; the members' threads: `hosting`; their files: `place`
//! - what a caller holds: `team`; what it is told: `heard`, `stream`, `result`

mod builder;
mod heard;
mod home;
mod hosting;
mod member;
mod place;
mod result;
mod stream;
mod team;

pub use builder::{BuildError, Mode, TeamBuilder};
pub use home::CallFailed;
pub use hosting::MemberInfo;
pub use member::{Member, ModelChoice, Role};
pub use stream::RunStream;
pub use team::{Board, Members, Messages, RunError, Team};

pub use agent_team_protocol as protocol;
pub use agent_team_protocol::envelope::{AgUi, Envelope};
pub use agent_team_protocol::notification::{Assignment, DeliveredMessage};
pub use agent_team_protocol::permissions::Mode as PermissionMode;
pub use agent_team_protocol::result::{Durations, Outputs, RoundOutput, RunResult};
pub use agent_team_protocol::spec::{Budget, TaskSpec};
pub use agent_team_teammate::hosted::{Engine, Seat, Worked, Working};
pub use agent_team_teammate::model::{self, Model};
