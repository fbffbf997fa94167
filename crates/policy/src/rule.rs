//! Rules as people write them, and whether one fits. Called by the book.
//!
//! `Bash(cargo test:*)` every command that begins so · `Bash(git status)` exactly this command · `Edit(src/**)`, `Read`
//! files · `WebFetch(domain:example.com)` a host · `WebSearch` · `mcp__server__tool`, `mcp__server` tools of MCP
//! servers · `Plan` what a member proposes before it may change anything, where the lead may approve it.
//!
//! A rule that could never decide anything is an error when it is loaded: one that is silently dead looks as if it
//! worked.

mod command;
mod parse;

use std::fmt;

use self::command::CommandPattern;
use super::domain::DomainPattern;
use super::glob::PathPattern;
use super::place::{Ground, Place};

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

/// How a rule is read: what allows by the letter, what forbids as far as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Narrow,
    Wide,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}`, at character {}: {what}; write {instead}", rule.get(..*at).map_or(0, |before| before.chars().count()) + 1)]
pub struct RuleError {
    pub rule: String,
    /// Byte of the rule.
    pub at: usize,
    pub what: String,
    /// What to write in its place.
    pub instead: String,
}

/// The same within a part of a rule, at a byte of that part.
#[derive(Debug)]
pub(crate) struct Fault {
    at: usize,
    what: String,
    instead: String,
}

impl Fault {
    pub(crate) fn new(at: usize, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            instead: instead.into(),
        }
    }

    fn after(mut self, bytes: usize) -> Self {
        self.at += bytes;
        self
    }
}

/// What a command's line adds to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// It reads its input from another command.
    pub(crate) piped: bool,
    /// It reads its input from another command or from a file.
    pub(crate) fed: bool,
    /// It runs in another directory than the call.
    pub(crate) moved: bool,
    /// What it prints goes to a program that may run it.
    pub(crate) evaluated: bool,
}

impl Rule {
    /// It speaks of files that are read.
    pub fn is_about_reading(&self) -> bool {
        matches!(self.pattern, Pattern::Read(_))
    }

    /// It lets somebody approve plans. A plan is never approved by a rule alone.
    pub fn is_about_plans(&self) -> bool {
        matches!(self.pattern, Pattern::Plan)
    }

    /// For rules that allow: this command, and nothing else that it would run.
    pub(crate) fn allows_command(&self, argv: &[String], standing: Standing) -> bool {
        let Pattern::Bash(command) = &self.pattern else {
            return false;
        };
        command
            .as_ref()
            .is_none_or(|command| command.allows(argv, standing))
    }

    /// For rules that forbid: this command, or one that it may run. `evaluated`: another program may run what this one
    /// prints.
    pub(crate) fn catches_command(&self, argv: &[String], evaluated: bool) -> bool {
        let Pattern::Bash(command) = &self.pattern else {
            return false;
        };
        command
            .as_ref()
            .is_none_or(|command| command.catches(argv, evaluated))
    }

    /// For rules that forbid: it is spelt out somewhere in a text that is not literal.
    pub(crate) fn catches_text(&self, text: &str) -> bool {
        let Pattern::Bash(command) = &self.pattern else {
            return false;
        };
        command
            .as_ref()
            .is_none_or(|command| command.is_in_text(text))
    }

    pub(crate) fn fits_read(&self, place: &Place, ground: &Ground, reach: Reach) -> bool {
        let Pattern::Read(path) = &self.pattern else {
            return false;
        };
        path.as_ref()
            .is_none_or(|path| path.fits(place, ground, reach))
    }

    /// For rules that forbid: they name this file, which some program is given.
    pub(crate) fn names_read(&self, place: &Place, ground: &Ground) -> bool {
        matches!(&self.pattern, Pattern::Read(Some(path)) if path.fits(place, ground, Reach::Wide))
    }

    pub(crate) fn fits_edit(&self, place: &Place, ground: &Ground, reach: Reach) -> bool {
        let Pattern::Edit(path) = &self.pattern else {
            return false;
        };
        path.as_ref()
            .is_none_or(|path| path.fits(place, ground, reach))
    }

    /// Of an address whose host could not be told, only rules that forbid hold.
    pub(crate) fn fits_host(&self, host: Option<&str>, address: &str, reach: Reach) -> bool {
        let Pattern::Fetch(domain) = &self.pattern else {
            return false;
        };
        match (domain, host) {
            (None, host) => host.is_some() || reach == Reach::Wide,
            (Some(domain), Some(host)) => domain.fits(host, reach),
            (Some(domain), None) => reach == Reach::Wide && domain.may_be_named_in(address),
        }
    }

    pub(crate) fn fits_search(&self) -> bool {
        matches!(self.pattern, Pattern::Search)
    }

    pub(crate) fn fits_mcp(&self, tool: &str, reach: Reach) -> bool {
        if let Pattern::McpTool(name) = &self.pattern {
            return name == tool;
        }
        let Pattern::McpServer(server) = &self.pattern else {
            return false;
        };
        tool.strip_prefix(server.as_str())
            .and_then(|rest| rest.strip_prefix("__"))
            // `mcp__a___b` could be of the server `a` or `a_`.
            .is_some_and(|rest| reach == Reach::Wide || !rest.starts_with('_'))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
