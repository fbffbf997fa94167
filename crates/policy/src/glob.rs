//! Path patterns in rules: gitignore syntax, relative to the project, to `~` or to the root. Called by the rules.
//!
//! Deny and ask rules also match everything below the path that they name, and ignore case. An allow rule is
//! case-sensitive. It matches everything below the path only if its pattern ends with `/`, or with a component without
//! a wildcard.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::path::{CallPath, RuleContext};
use super::pattern::{Fault, Reach};

#[derive(Debug, Clone)]
pub(crate) struct PathPattern {
    base: Base,
    narrow: Vec<GlobMatcher>,
    wide: Vec<GlobMatcher>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Project,
    Home,
    Root,
}

impl PathPattern {
    /// Parses the text between the parentheses.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let (base, begin) = if text.starts_with("//") {
            (Base::Root, 2)
        } else if text == "~" {
            (Base::Home, 1)
        } else if text.starts_with("~/") {
            (Base::Home, 2)
        } else if let Some(rest) = text.strip_prefix('/') {
            let instead = format!("`//{rest}` from the root, or `{rest}` from the project");
            let what = "a single leading `/` is ambiguous";
            return Err(Fault::new(0, what, instead));
        } else if text.starts_with('~') {
            let what = "other users' home directories are not supported";
            return Err(Fault::new(0, what, "`//` and the full path"));
        } else {
            (Base::Project, 0)
        };
        let body = &text[begin..];
        check(text, begin)?;
        let anchored = base != Base::Project
            || body.starts_with("./")
            || body.trim_end_matches('/').contains('/');
        let body = body.strip_prefix("./").unwrap_or(body);
        let below_only = body.ends_with('/');
        let body = body.trim_end_matches('/');
        let body = if body.is_empty() || body == "." {
            "**"
        } else {
            body
        };
        let itself = if anchored || body == "**" {
            body.to_owned()
        } else {
            format!("**/{body}")
        };
        let below = format!("{itself}/**");
        // In a deny or ask rule, a pattern for everything below a directory also matches the directory itself.
        let whole = itself.strip_suffix("/**").unwrap_or(&itself).to_owned();
        let last = body.rsplit('/').next().unwrap_or(body);
        let spelt_out = !last.contains(['*', '?', '[', '{']);
        let narrow = match (below_only, spelt_out) {
            (true, _) => vec![&below],
            (false, true) => vec![&itself, &below],
            (false, false) => vec![&itself],
        };
        let compile = |patterns: Vec<&String>, fold: bool| {
            patterns
                .into_iter()
                .map(|pattern| {
                    GlobBuilder::new(pattern)
                        .literal_separator(true)
                        .backslash_escape(false)
                        .case_insensitive(fold)
                        .build()
                        .map(|glob| glob.compile_matcher())
                })
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| {
                    Fault::new(
                        begin,
                        format!("invalid pattern: {}", error.kind()),
                        "a path, with `*` or `**` as wildcards",
                    )
                })
        };
        Ok(Self {
            base,
            narrow: compile(narrow, false)?,
            wide: compile(vec![&itself, &below, &whole], true)?,
        })
    }

    pub(crate) fn begins_in_project(&self) -> bool {
        matches!(self.base, Base::Project)
    }

    /// An allow rule must match both the path as written and the resolved path. A deny or ask rule must match at least
    /// one of them.
    pub(crate) fn matches(
        &self,
        call_path: &CallPath,
        context: &RuleContext,
        reach: Reach,
    ) -> bool {
        let matches = |path: &PathBuf| self.matches_path(path, context, reach);
        match reach {
            Reach::Narrow => matches(&call_path.path) && matches(&call_path.resolved),
            Reach::Wide => matches(&call_path.path) || matches(&call_path.resolved),
        }
    }

    pub(crate) fn matches_path(&self, path: &Path, context: &RuleContext, reach: Reach) -> bool {
        let base = match self.base {
            Base::Project => &context.project,
            Base::Home => match &context.home {
                Some(home) => home,
                None => return false,
            },
            Base::Root => Path::new("/"),
        };
        let Ok(relative) = path.strip_prefix(base) else {
            return false;
        };
        let globs = match reach {
            Reach::Narrow => &self.narrow,
            Reach::Wide => &self.wide,
        };
        globs.iter().any(|glob| glob.is_match(relative))
    }
}

fn check(text: &str, begin: usize) -> Result<(), Fault> {
    let mut at = begin;
    for part in text[begin..].split('/') {
        let fault = |what: &str, instead: &str| Err(Fault::new(at, what, instead));
        if part == ".." {
            return fault(
                "`..` never matches: paths are compared without it",
                "`//` and the full path",
            );
        }
        if part == "." && at > begin {
            return fault("`.` never matches within a path", "the path without it");
        }
        if part.contains("**") && part != "**" {
            return fault(
                "`**` matches whole path components only",
                "`src/**` for everything below src, `src*` for names that start with src",
            );
        }
        if let Some(odd) = part.find('\\') {
            return Err(Fault::new(
                at + odd,
                "a backslash never matches",
                "`[*]` for a plain `*`",
            ));
        }
        if part.starts_with('!') {
            return fault("rules cannot be negated", "a rule under `deny` or `ask`");
        }
        at += part.len() + 1;
    }
    if text[begin..].contains("//") {
        return Err(Fault::new(
            begin,
            "`//` never matches within a path",
            "one `/`",
        ));
    }
    Ok(())
}
