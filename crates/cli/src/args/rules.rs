//! `agent-team rules …`.

use agent_team_protocol::MemberName;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// What lets pass and what holds back, in the order in which it is looked at
    List,
    /// What would be decided about a command, part by part, and why
    Check {
        /// With what was granted to this member
        #[arg(long)]
        member: Option<MemberName>,
        /// As a member would give it to bash, run where you are
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Take back what a decision granted
    Revoke {
        /// The request that was decided, or a rule that you allowed always
        what: String,
    },
}
