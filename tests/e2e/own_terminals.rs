//! Members whose agent of another vendor runs in its own terminal interface, beside a side channel. Fakes replace the
//! agents, which need accounts or models.
//!
//! `agents` is the table of the agents, and `rules` are the tests that each agent must pass. The other files are about one
//! agent.

pub(crate) mod agents;
mod claude;
mod codex;
mod opencode;
mod qwen;
mod rules;
