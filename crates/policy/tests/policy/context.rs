//! Calls in a project `/p` of a user with the home directory `/h/u`, for the corpus, `judging`, `reading` and
//! `shell_lines`.

use std::path::{Path, PathBuf};

use agent_team_policy::{
    Action, CallPath, CallPaths, RuleBook, RuleContext, RuleKind, Source, ToolCall,
};
use serde_json::Value;

pub(crate) fn context() -> RuleContext {
    RuleContext {
        project: PathBuf::from("/p"),
        home: Some(PathBuf::from("/h/u")),
        protected: Vec::new(),
    }
}

/// Resolves a path of the project, in which `link` is a link to `/etc`, and `dotenv` is a link to `.env`.
pub(crate) fn place(given: &str) -> CallPath {
    let path = CallPath::lexical(Path::new("/p"), given);
    let resolved = match path.strip_prefix("/p/link") {
        Ok(rest) => Path::new("/etc").join(rest),
        Err(_) if path == Path::new("/p/dotenv") => PathBuf::from("/p/.env"),
        Err(_) => path.clone(),
    };
    CallPath {
        given: given.to_owned(),
        path,
        resolved,
    }
}

/// A call in the project's directory, whose command runs in a sandbox.
pub(crate) fn call(tool: &str, arguments: Value) -> ToolCall {
    let paths = Action::of(tool, &arguments).paths();
    ToolCall {
        tool: tool.to_owned(),
        arguments,
        directory: place("."),
        confined: true,
        containment: Default::default(),
        environment: Default::default(),
        paths: CallPaths(paths.iter().map(|path| place(path)).collect()),
    }
}

pub(crate) fn book<R: AsRef<str>>(rules: &[(RuleKind, R)]) -> RuleBook {
    let mut book = RuleBook::new();
    for (kind, rule) in rules {
        book.add(*kind, rule.as_ref(), Source::TeamFile)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    book
}
