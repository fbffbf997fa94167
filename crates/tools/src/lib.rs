//! The tools of a member's model, the permissions of their calls, and the programs that they run. Used by the native
//! engine; the command engine uses only redaction, plain text, output tails and descriptions of exit statuses.
//!
//! A tool receives the model's arguments as parsed JSON and returns text for the model. A failure is returned as text
//! that the model can act on; a tool never panics and never ends its member. Nothing here knows the agent loop, a
//! connection or a pane: the worker serves the calls of a [`SupervisorClient`](supervisor_client::SupervisorClient).
//!
//! Where to look:
//! - the trait: `tool`; the constructor of tools: `adapter`; schemas and parsing of arguments: `arguments`
//! - the built-in tools: `built_in`; skills: [`skill`]; notes: [`notes`]; the team tools: [`team`]; MCP tools: [`mcp`];
//!   web search: [`web_search`]
//! - tools of an embedding program: [`custom`]
//! - path checks: `resolved_path`; changing files: `file`; diffs: `change`
//! - texts that differ from a file in white space: `white_space`
//! - images and PDFs for the model: `media`
//! - directory walks: `walk`; git's ignore rules: `ignored`
//! - child processes: [`program`]; their output: `capture`, [`tail`], as plain text: [`vt`], without secrets: [`secret`]
//! - permission requests: `permission`; `Read` rules: [`guard`]; the sandbox: [`confine`]

mod adapter;
mod apply_patch;
mod arguments;
mod bash;
mod built_in;
mod capture;
mod change;
pub mod confine;
mod context;
pub mod custom;
mod edit;
mod fetch;
mod file;
mod git;
mod glob;
mod grep;
pub mod guard;
mod ignored;
pub mod mcp;
mod media;
pub mod notes;
mod permission;
pub mod program;
mod read;
mod resolved_path;
pub mod secret;
mod seen_files;
pub mod skill;
pub mod supervisor_client;
pub mod tail;
pub mod team;
#[cfg(test)]
mod tests;
mod todo;
mod tool;
pub mod vt;
mod walk;
pub mod web_search;
mod white_space;
mod write;

pub use apply_patch::patched_paths;
pub use bash::BASH;
pub use built_in::{Options, domain_tools};
pub use change::unified_diff;
pub use context::ToolContext;
pub use media::attached;
pub use permission::{Permission, Permit, TerminalDecision, allowed_by_hook, without_hook};
pub use seen_files::{SeenFile, SeenFiles, Version};
pub use tool::{APPLY_PATCH, Output, Tool, ToolError, ToolFuture, may_use};
