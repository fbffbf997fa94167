//! `agent-team requests …`.

use agent_team_protocol::RequestId;
use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum RequestsCommand {
    /// What waits for a decision
    List {
        /// Also what is decided
        #[arg(long)]
        all: bool,
    },
    /// One request whole: what would be done, why it is asked, and what can be allowed
    Show { request: RequestId },
    /// Let it be carried out
    Allow {
        request: RequestId,
        /// How far this reaches, until the team goes down
        #[arg(long = "for", value_name = "SCOPE", default_value = "once")]
        scope: Scope,
        /// Allow all that this rule covers, such as 'Bash(cargo test:*)', in place of exactly this; may be repeated
        #[arg(long = "as", value_name = "RULE")]
        rules: Vec<String>,
    },
    /// Do not let it be carried out
    Deny {
        request: RequestId,
        /// What its member is told
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Scope {
    /// This one time
    Once,
    /// Whenever this member asks it
    Member,
    /// Whoever asks it
    Team,
}
