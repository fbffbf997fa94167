//! All rules that hold for a member, each with where it comes from. Called by the supervisor, which fills it.

use std::fmt;

use super::digest::Digest;
use super::place::{Ground, Place};
use super::rule::{Reach, Rule, RuleError};

/// What a rule does. They are looked at in this order, whatever their sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    Deny,
    Ask,
    Allow,
}

/// Who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    BuiltIn,
    TeamFile,
    UserSettings,
    /// The decision of request P-n.
    Grant(u64),
    /// What the user lets the lead allow others.
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

/// A rule at work.
#[derive(Debug, Clone)]
pub struct Entry {
    pub effect: Effect,
    pub rule: Rule,
    pub source: Source,
}

/// Rules and exact grants. What is not in it is decided by the mode.
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
    /// When it is no rule, or could never decide anything.
    pub fn add(&mut self, effect: Effect, text: &str, source: Source) -> Result<(), RuleError> {
        let rule = Rule::parse(text, effect)?;
        self.entries.push(Entry {
            effect,
            rule,
            source,
        });
        Ok(())
    }

    /// Allows one exact request, also where a rule would ask, and although it is complex: somebody has seen just this.
    pub fn grant(&mut self, digest: Digest, source: Source) {
        self.exact.push((digest, source));
    }

    /// In the order in which they were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Some rule that forbids, or wants to be asked, is about reading this file.
    pub fn holds_back_reading(&self, place: &Place, ground: &Ground) -> bool {
        self.entries.iter().any(|entry| {
            entry.effect != Effect::Allow && entry.rule.fits_read(place, ground, Reach::Wide)
        })
    }

    /// The first rule of an effect that fits.
    pub(crate) fn find(&self, effect: Effect, fits: impl Fn(&Rule) -> bool) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.effect == effect && fits(&entry.rule))
    }

    pub(crate) fn granted(&self, digest: &Digest) -> Option<Source> {
        self.exact
            .iter()
            .find(|(granted, _)| granted == digest)
            .map(|(_, source)| *source)
    }
}
