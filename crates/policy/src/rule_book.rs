//! The rules for a member, each with its source. Filled by the supervisor, by the tools with the rules that guard
//! files, and by the offers.

use std::fmt;

use super::digest::Digest;
use super::path::{CallPath, RuleContext};
use super::pattern::Reach;
use super::rule::{Rule, RuleError};

/// The kind of a rule. The kinds are evaluated in this order, regardless of the rules' sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleKind {
    Deny,
    Ask,
    Allow,
}

/// The origin of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    BuiltIn,
    TeamFile,
    UserSettings,
    /// The decision of request P-n.
    Grant(u64),
    /// The user's delegation to the lead.
    Delegation,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::BuiltIn => f.write_str("built in"),
            Source::TeamFile => f.write_str("the team file"),
            Source::UserSettings => f.write_str("the user's settings"),
            Source::Grant(request) => write!(f, "grant P-{request}"),
            Source::Delegation => f.write_str("the delegation to the lead"),
        }
    }
}

/// A rule with its kind and source.
#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: RuleKind,
    pub rule: Rule,
    pub source: Source,
}

/// Rules and exact grants. A call that matches none of them is decided by the mode.
#[derive(Debug, Clone, Default)]
pub struct RuleBook {
    entries: Vec<Entry>,
    exact: Vec<(Digest, Source)>,
}

impl RuleBook {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// When the text is not a rule, or the rule could never match.
    pub fn add(&mut self, kind: RuleKind, text: &str, source: Source) -> Result<(), RuleError> {
        let rule = Rule::parse(text, kind)?;
        self.entries.push(Entry { kind, rule, source });
        Ok(())
    }

    /// Allows one exact request, even if an ask rule matches it or no rule can allow it: the user has seen exactly this
    /// request.
    pub fn grant(&mut self, digest: Digest, source: Source) {
        self.exact.push((digest, source));
    }

    /// The rules in the order in which they were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether some rule denies or asks about reading this file.
    pub fn restricts_reading(&self, call_path: &CallPath, context: &RuleContext) -> bool {
        self.entries.iter().any(|entry| {
            entry.kind != RuleKind::Allow
                && entry.rule.matches_read(call_path, context, Reach::Wide)
        })
    }

    /// Whether `is_about` holds for some deny or ask rule.
    pub(crate) fn restricts(&self, is_about: impl Fn(&Rule) -> bool) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.kind != RuleKind::Allow && is_about(&entry.rule))
    }

    pub(crate) fn find(&self, kind: RuleKind, matches: impl Fn(&Rule) -> bool) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.kind == kind && matches(&entry.rule))
    }

    pub(crate) fn granted(&self, digest: &Digest) -> Option<Source> {
        self.exact
            .iter()
            .find(|(granted, _)| granted == digest)
            .map(|(_, source)| *source)
    }
}
