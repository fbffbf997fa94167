//! Slash commands that the program around the view adds and carries out, such as command files and the prompts of
//! MCP servers. Used by the transcript view; pure.

use crate::menu::Candidate;
use crate::slash::words;

/// A command of the program around the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomCommand {
    /// The name without the slash, such as `github:review`.
    pub name: String,
    /// The arguments in the help, such as `NUMBER [FOCUS]`; may be empty.
    pub arguments: String,
    /// One line; may be empty.
    pub description: String,
}

/// Parses a text that begins with one of these commands. Returns the name of the command and its arguments.
pub(crate) fn read(text: &str, commands: &[CustomCommand]) -> Option<(String, Vec<String>)> {
    let typed = text.strip_prefix('/')?;
    let (name, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    let command = commands.iter().find(|command| command.name == name)?;
    Some((command.name.clone(), words(rest)))
}

/// The commands that begin with this text.
pub(crate) fn candidates(typed: &str, commands: &[CustomCommand]) -> Vec<Candidate> {
    let commands = commands.iter().map(|command| {
        let text = format!("/{}", command.name);
        let description = format!("{} {}", command.arguments, command.description);
        Candidate::new(text, description.trim())
    });
    commands
        .filter(|candidate| candidate.text.starts_with(typed))
        .collect()
}

/// The lines for the help text.
pub(crate) fn help(commands: &[CustomCommand]) -> String {
    let line = |command: &CustomCommand| {
        let usage = format!("/{} {}", command.name, command.arguments);
        format!("  {}: {}\n", usage.trim_end(), command.description)
    };
    commands.iter().map(line).collect()
}
