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
    /// Print each request as soon as it waits, and each message of a member to you, until interrupted
    ///
    /// With --json, `kind` is "request" or "message"; the other fields are those of `requests --json` and
    /// `messages --json`.
    Watch {
        /// Run by `sh` for each, with the line of --json on standard input and the id in AGENT_TEAM_REQUEST or
        /// AGENT_TEAM_MESSAGE
        #[arg(long, value_name = "COMMAND")]
        exec: Option<String>,
    },
    /// One request whole: what would be done, why it is asked, and what can be allowed
    Show { request: RequestId },
    /// Let it be carried out
    Allow {
        request: RequestId,
        /// How far this reaches [default: once, or default_scope of your settings]
        #[arg(long = "for", value_name = "SCOPE")]
        scope: Option<Scope>,
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
    /// Whenever this member asks it, as long as it works on the task that it has
    Task,
    /// Whenever this member asks it, until the team goes down
    Member,
    /// Whoever asks it, until the team goes down
    Team,
    /// The same, and every time that this project's team is up: kept in your own settings
    Always,
}
