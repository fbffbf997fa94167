//! The files that `Read` rules deny or ask about. Called by the tools that read and by the sandbox: a call that
//! names such a file needs permission, a search skips the file, and bubblewrap hides it from commands.
//!
//! The guard can only restrict; the supervisor decides whether such a file may be read.

use std::path::{Path, PathBuf};

use agent_team_policy::{CallPath, RuleBook, RuleContext, RuleKind, Source};
use agent_team_system::path::resolve;

/// The rules for files that may be read only with permission. The default has no rules.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    book: RuleBook,
    rule_context: Option<RuleContext>,
    /// The paths that rules contain before their first wildcard.
    named: Vec<PathBuf>,
}

impl Guard {
    /// `rules` are `Read` rules that the supervisor has validated.
    pub fn new(rules: &[String], project: PathBuf, home: Option<PathBuf>) -> Self {
        let mut book = RuleBook::new();
        for rule in rules {
            // A newer supervisor may send rules that this version cannot parse; the supervisor still applies them.
            if let Err(error) = book.add(RuleKind::Deny, rule, Source::TeamFile) {
                tracing::warn!(%error, "cannot parse a rule that guards files");
            }
        }
        let named = rules.iter().map(|rule| named(rule, &project)).collect();
        let rule_context = (!rules.is_empty()).then_some(RuleContext {
            project,
            home,
            scripts: Vec::new(),
        });
        Self {
            book,
            rule_context,
            named,
        }
    }

    /// Returns whether the part of a rule before its first wildcard is this path or a path below it.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.named.iter().any(|named| named.starts_with(path))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rule_context.is_none()
    }

    /// Returns whether the guard covers the path `given` in a call, or the target of its links. A relative path starts
    /// in `directory`.
    pub(super) fn covers_given(&self, directory: &Path, given: &str) -> bool {
        let path = CallPath::lexical(directory, given);
        let resolved = resolve(&path).unwrap_or_else(|_| path.clone());
        self.restricts(path, resolved)
    }

    /// Returns whether the guard covers this path. Does not resolve links.
    pub(super) fn covers(&self, path: &Path) -> bool {
        !self.is_empty() && self.restricts(path.to_owned(), path.to_owned())
    }

    fn restricts(&self, path: PathBuf, resolved: PathBuf) -> bool {
        let Some(rule_context) = &self.rule_context else {
            return false;
        };
        let call_path = CallPath {
            given: String::new(),
            path,
            resolved,
        };
        self.book.restricts_reading(&call_path, rule_context)
    }
}

/// Returns the absolute path of a rule's components before the first one with a wildcard or `~`:
/// `PROJECT/src/keys` for `Read(src/keys/*.pem)`.
fn named(rule: &str, project: &Path) -> PathBuf {
    let pattern = rule.split_once('(').map_or("", |(_, pattern)| pattern);
    let pattern = pattern.strip_suffix(')').unwrap_or(pattern);
    let mut path = match pattern.strip_prefix("//") {
        Some(_) => PathBuf::from("/"),
        None => project.to_owned(),
    };
    let names = pattern.split('/').filter(|name| !matches!(*name, "" | "."));
    path.extend(names.take_while(|name| !name.contains(['*', '?', '[', '{', '~'])));
    path
}
