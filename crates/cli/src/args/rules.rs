//! The arguments of `agent-team rules …`.

use agent_team_protocol::MemberName;
use clap::Subcommand;

use crate::complete;

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// List permission rules in evaluation order
    List,
    /// Show the decision about a shell command, part by part, and the reasons
    Check {
        /// Include the permissions granted to this member
        #[arg(long, add = complete::members())]
        member: Option<MemberName>,
        /// The command, as a member would run it in this directory, with all of its options
        #[arg(
            required = true,
            value_name = "COMMAND",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        command: Vec<String>,
    },
    /// Revoke a granted permission
    Revoke {
        /// The id of the request, or the text of a rule stored by an "always" decision
        what: String,
    },
}
