//! The arguments of `agent-team requests …`.

use agent_team_protocol::RequestId;
use clap::{Subcommand, ValueEnum};

use super::id;
use crate::complete;

#[derive(Debug, Subcommand)]
pub(crate) enum RequestsCommand {
    /// List what waits for you now: pending requests, and questions of members
    List {
        /// Also list decided requests
        #[arg(long)]
        all: bool,
    },
    /// Keep printing requests, questions and messages to you as they arrive, until interrupted
    ///
    /// Begins with the pending requests, open questions and unread messages.
    ///
    /// With --json, `kind` is "request", "question" or "message"; the other fields are those of `requests --json` and
    /// `messages --json`.
    Watch {
        /// Shell command to run for each, with the --json line on stdin and the id in AGENT_TEAM_REQUEST or
        /// AGENT_TEAM_MESSAGE
        #[arg(long, value_name = "COMMAND")]
        exec: Option<String>,
    },
    /// Show one request: the full action, why it needs a decision, and the rules you can allow
    Show {
        /// Id of the request, such as P-1
        #[arg(value_parser = id::<RequestId>, add = complete::requests())]
        request: RequestId,
    },
    /// Allow a request
    Allow {
        /// Id of the request, such as P-1
        #[arg(value_parser = id::<RequestId>, add = complete::requests())]
        request: RequestId,
        /// Scope of the permission [default: once, unless `default_scope` is set]
        #[arg(long = "for", value_name = "SCOPE")]
        scope: Option<Scope>,
        /// Allow everything this rule covers, such as 'Bash(cargo test:*)', instead of this action only; repeatable
        #[arg(long = "as", value_name = "RULE")]
        rules: Vec<String>,
    },
    /// Deny a request
    Deny {
        /// Id of the request, such as P-1
        #[arg(value_parser = id::<RequestId>, add = complete::requests())]
        request: RequestId,
        /// Reason to give the member
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Scope {
    /// This request only
    Once,
    /// This member, until its current task ends
    Task,
    /// This member, until the team goes down
    Member,
    /// All members, until the team goes down
    Team,
    /// All members, now and in later runs of this project's team; stored in your own settings
    Always,
}
