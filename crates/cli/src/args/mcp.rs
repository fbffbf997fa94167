//! The arguments of `mcp`.

use clap::{Args, ValueEnum};

/// Connect a chat session of another program to a team, over MCP
///
/// Serves MCP on stdin and stdout. The other program starts this command; `--how` prints how to set that up. The chat
/// session can create a team and lead it, join a team as a member, and delete a team. The server asks you before it
/// creates or deletes a team.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// Print how to add this server to a program, and exit [default: every known program]
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, require_equals = false, conflicts_with = "create")]
    #[expect(clippy::option_option, reason = "the flag, and its optional value")]
    pub(crate) how: Option<Option<McpProgram>>,
    /// Start a team in this directory for a chat session to lead, and exit
    #[arg(long)]
    pub(crate) create: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum McpProgram {
    Claude,
    Codex,
    Gemini,
    Qwen,
    Opencode,
}
