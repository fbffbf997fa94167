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
        let paths = rules.iter();
        let paths = paths.map(|rule| named(rule, &project, home.as_deref()));
        let named = paths.collect();
        let rule_context = (!rules.is_empty()).then_some(RuleContext {
            project,
            home,
            protected: Vec::new(),
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

    /// Returns whether the guard can cover a file below this directory, although it does not cover the directory. A
    /// program that searches the directory would read such a file.
    pub fn may_cover_below(&self, directory: &Path) -> bool {
        let directory = resolve(directory).unwrap_or_else(|_| directory.to_owned());
        let mut named = self.named.iter();
        let is_below = named.any(|named| {
            let is_in = named.starts_with(&directory) && named.exists();
            is_in || directory.starts_with(named)
        });
        is_below && !self.covers(&directory)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rule_context.is_none()
    }

    /// Returns whether the guard covers the path `given` in a call, or the path after its links are resolved. A
    /// relative path starts in `directory`.
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

/// Returns the absolute path of a rule's components before the first one with a wildcard: `PROJECT/src/keys` for
/// `Read(src/keys/*.pem)`.
fn named(rule: &str, project: &Path, home: Option<&Path>) -> PathBuf {
    let pattern = rule.split_once('(').map_or("", |(_, pattern)| pattern);
    let pattern = pattern.strip_suffix(')').unwrap_or(pattern);
    let (mut path, pattern) = match (pattern.strip_prefix("~/"), home) {
        (Some(pattern), Some(home)) => (home.to_owned(), pattern),
        _ if pattern.starts_with("//") => (PathBuf::from("/"), pattern),
        _ => (project.to_owned(), pattern),
    };
    let names = pattern.split('/').filter(|name| !matches!(*name, "" | "."));
    path.extend(names.take_while(|name| !name.contains(['*', '?', '[', '{', '~'])));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_can_read_files_that_the_guard_covers() {
        let (project, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [project, home] = [&project, &home].map(|it| it.path().canonicalize().unwrap());
        for directory in ["src/keys", "docs"] {
            std::fs::create_dir_all(project.join(directory)).unwrap();
        }
        std::fs::write(project.join("src/secret.txt"), "").unwrap();
        let may_cover = |rule: &str, directory: &Path| {
            let guard = Guard::new(&[rule.to_owned()], project.clone(), Some(home.clone()));
            guard.may_cover_below(directory)
        };
        for (rule, directory, expected) in [
            ("Read(src/secret.txt)", "", true),
            ("Read(src/secret.txt)", "src", true),
            ("Read(src/secret.txt)", "docs", false),
            ("Read(src/other.txt)", "src", false),
            ("Read(src/keys/**)", "", true),
            ("Read(**/*.pem)", "docs", true),
            ("Read(~/.ssh/**)", "", false),
            // A rule that covers the searched path decides.
            ("Read(src/secret.txt)", "src/secret.txt", false),
        ] {
            let directory = project.join(directory);
            assert_eq!(
                may_cover(rule, &directory),
                expected,
                "{rule} {directory:?}"
            );
        }
        assert!(may_cover("Read(~/*.pem)", &home));
        assert!(!Guard::default().may_cover_below(&project));
    }
}
