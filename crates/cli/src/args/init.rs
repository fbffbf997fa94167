//! The options of `init`.

use agent_team_file::OtherProgram;
use clap::Args;

/// Write a team file for this project
///
/// With `--from`, the file contains the agents of another program, those of this project and your own: Claude Code
/// (`.claude/agents`, `~/.claude/agents`, `~/.claude/teams`), Qwen Code (`.qwen`), nyzhi (`.nyzhi`, `~/.config/nyzhi`) or
/// Codex (`.codex`). The output lists what is changed or not imported. An imported agent has at most the rights that it
/// had, and mailboxes stay where they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  agent-team init --from claude --dry-run
  agent-team init --from qwen --from-team review")]
pub(crate) struct Init {
    /// Template to use [default: detected from the files of the project]
    #[arg(long, value_name = "NAME")]
    pub(crate) template: Option<String>,
    /// List the templates
    #[arg(long, conflicts_with = "template")]
    pub(crate) list: bool,
    /// Import the agents and teams of this program: claude, qwen, nyzhi or codex
    #[arg(long, value_name = "PROGRAM", value_parser = program, conflicts_with_all = ["template", "list"])]
    pub(crate) from: Option<OtherProgram>,
    /// Import the members of this team [default: the only team with a member in this project, else all agents]
    #[arg(long, value_name = "NAME", requires = "from", conflicts_with_all = ["template", "list"])]
    pub(crate) from_team: Option<String>,
    /// Print the imported team file instead of writing it
    #[arg(long, requires = "from", conflicts_with_all = ["template", "list"])]
    pub(crate) dry_run: bool,
}

fn program(name: &str) -> Result<OtherProgram, String> {
    let found = OtherProgram::NAMES.iter().find(|(known, _)| *known == name);
    found.map(|(_, program)| *program).ok_or_else(|| {
        let names = OtherProgram::NAMES.map(|(name, _)| name);
        format!("expected one of {}", names.join(", "))
    })
}
