//! Rules as users write them, and their matching. Called by the rule book, the judge and the crate `team-file`.
//!
//! - `Bash(cargo test:*)`: every command with this prefix; `Bash(git status)`: exactly this command
//! - `Edit(src/**)`, `Read`: files
//! - `WebFetch(domain:example.com)`: a host; `WebSearch`
//! - `mcp__server__tool`, `mcp__server`: tools of MCP servers
//! - `Plan`: in `approve`, permits the lead to approve plans
//!
//! A rule that could never match is an error when it is loaded: otherwise it would seem to work.

mod command;
mod parse;

use std::fmt;

use self::command::CommandPattern;
use super::domain::DomainPattern;
use super::glob::PathPattern;
use super::path::{CallPath, RuleContext};
use super::pattern::{CommandContext, Reach};

/// One rule. It prints as it was written.
#[derive(Debug, Clone)]
pub struct Rule {
    text: String,
    pattern: Pattern,
}

#[derive(Debug, Clone)]
enum Pattern {
    Bash(Option<CommandPattern>),
    Read(Option<PathPattern>),
    Edit(Option<PathPattern>),
    Fetch(Option<DomainPattern>),
    Search,
    Plan,
    McpServer(String),
    McpTool(String),
}

/// Why a text is not a valid rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}`, at character {}: {what}; write {instead}", rule.get(..*at).map_or(0, |before| before.chars().count()) + 1)]
pub struct RuleError {
    pub rule: String,
    /// Byte offset in the rule.
    pub at: usize,
    pub what: String,
    /// An alternative that is valid.
    pub instead: String,
}

impl Rule {
    /// Whether the rule is about reading files.
    pub fn is_about_reading(&self) -> bool {
        matches!(self.pattern, Pattern::Read(_))
    }

    pub(crate) fn is_about_edits(&self) -> bool {
        matches!(self.pattern, Pattern::Edit(_))
    }

    pub(crate) fn is_about_commands(&self) -> bool {
        matches!(self.pattern, Pattern::Bash(_))
    }

    /// Whether the rule is about approving plans. A rule alone never approves a plan.
    pub fn is_about_plans(&self) -> bool {
        matches!(self.pattern, Pattern::Plan)
    }

    /// For allow rules: whether the rule covers this command and everything that the command runs.
    pub(crate) fn allows_command(&self, argv: &[String], in_line: CommandContext) -> bool {
        let Pattern::Bash(command) = &self.pattern else {
            return false;
        };
        command
            .as_ref()
            .is_none_or(|command| command.allows(argv, in_line))
    }

    /// For deny and ask rules: whether the rule matches this command, or a command that this command may run.
    /// `evaluated`: another program may execute the output of this command.
    pub(crate) fn catches_command(&self, argv: &[String], evaluated: bool) -> bool {
        let Pattern::Bash(command) = &self.pattern else {
            return false;
        };
        command
            .as_ref()
            .is_none_or(|command| command.catches(argv, evaluated))
    }

    /// For deny and ask rules: whether a text that is not literal contains the rule's words.
    pub(crate) fn catches_text(&self, text: &str) -> bool {
        let Pattern::Bash(command) = &self.pattern else {
            return false;
        };
        command
            .as_ref()
            .is_none_or(|command| command.is_in_text(text))
    }

    pub(crate) fn matches_read(
        &self,
        call_path: &CallPath,
        context: &RuleContext,
        reach: Reach,
    ) -> bool {
        let Pattern::Read(path) = &self.pattern else {
            return false;
        };
        path.as_ref()
            .is_none_or(|path| path.matches(call_path, context, reach))
    }

    /// For deny and ask rules: whether the rule matches this file in a program's arguments.
    pub(crate) fn names_read(&self, call_path: &CallPath, context: &RuleContext) -> bool {
        matches!(&self.pattern, Pattern::Read(Some(path)) if path.matches(call_path, context, Reach::Wide))
    }

    pub(crate) fn matches_edit(
        &self,
        call_path: &CallPath,
        context: &RuleContext,
        reach: Reach,
    ) -> bool {
        let Pattern::Edit(path) = &self.pattern else {
            return false;
        };
        path.as_ref()
            .is_none_or(|path| path.matches(call_path, context, reach))
    }

    /// For allow rules: whether the rule matches this file by a path that does not begin in the project. `Edit` alone
    /// and `Edit(**)` are about the files of the project.
    pub(crate) fn names_edit_outside(&self, call_path: &CallPath, context: &RuleContext) -> bool {
        matches!(&self.pattern, Pattern::Edit(Some(path))
            if !path.begins_in_project() && path.matches(call_path, context, Reach::Narrow))
    }

    /// Whether the rule matches this URL and its host. Only deny and ask rules match a URL whose host is unknown.
    pub(crate) fn matches_host(&self, host: Option<&str>, address: &str, reach: Reach) -> bool {
        let Pattern::Fetch(domain) = &self.pattern else {
            return false;
        };
        match (domain, host) {
            (None, host) => host.is_some() || reach == Reach::Wide,
            (Some(domain), Some(host)) => domain.matches(host, reach),
            (Some(domain), None) => reach == Reach::Wide && domain.may_be_named_in(address),
        }
    }

    pub(crate) fn matches_search(&self) -> bool {
        matches!(self.pattern, Pattern::Search)
    }

    pub(crate) fn matches_mcp(&self, tool: &str, reach: Reach) -> bool {
        if let Pattern::McpTool(name) = &self.pattern {
            return name == tool;
        }
        let Pattern::McpServer(server) = &self.pattern else {
            return false;
        };
        tool.strip_prefix(server.as_str())
            .and_then(|rest| rest.strip_prefix("__"))
            // `mcp__a___b` could belong to the server `a` or to `a_`.
            .is_some_and(|rest| reach == Reach::Wide || !rest.starts_with('_'))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
