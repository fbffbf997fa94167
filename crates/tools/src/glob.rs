//! `glob`: finds files by a path pattern.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::adapter::{Access, Call, tool};
use crate::resolved_path::{Purpose, ResolvedPath};
use crate::tool::{Tool, ToolError};
use crate::walk::{files, pattern, with_deadline};

const LISTED: usize = 200;

/// The largest number of files that are collected and sorted.
const FOUND_MAX: usize = 100_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Such as `*.rs` (at any depth), `src/**/*.{ts,tsx}` or `docs/*`.
    pattern: String,
    /// The directory to search. Default: the working directory.
    path: Option<String>,
}

pub(super) fn glob() -> Box<dyn Tool> {
    let description = "List the files of the project that match a path pattern, most recently changed first. \
                       Files ignored by git are left out.";
    tool("glob", description, Access::Reads, (), run)
}

async fn run(_state: &(), arguments: Arguments, call: Call<'_>) -> Result<String, ToolError> {
    let context = call.context;
    let matcher = pattern("pattern", &arguments.pattern)?;
    let given = arguments.path.as_deref().unwrap_or(".");
    let resolved = ResolvedPath::find(context, given, Purpose::Reading)?;
    if !resolved.is_a_directory() {
        return Err(ToolError::Failed(format!("{given} is not a directory")));
    }
    let (project, guard) = (context.project.clone(), context.guard.clone());
    let room = context.output_max.saturating_sub(200);
    with_deadline(move |deadline| {
        let mut found: Vec<(SystemTime, String)> = Vec::new();
        let whole = files(&resolved, &guard, &deadline, |file| {
            if matcher.is_match(&file.relative) {
                let changed = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let path = file.path.strip_prefix(&project).unwrap_or(&file.path);
                found.push((changed, path.display().to_string()));
            }
            match found.len() {
                FOUND_MAX => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })?;
        found.sort_by(|(a, a_path), (b, b_path)| b.cmp(a).then_with(|| a_path.cmp(b_path)));
        Ok(list(found, whole, room))
    })
    .await
}

fn list(found: Vec<(SystemTime, String)>, whole: bool, room: usize) -> String {
    let count = found.len();
    let mut text = String::new();
    let mut listed = 0;
    for (_, path) in found.into_iter().take(LISTED) {
        if text.len() + path.len() >= room {
            break;
        }
        let _infallible = writeln!(text, "{path}");
        listed += 1;
    }
    if count == 0 && whole {
        text.push_str("(no file matches)\n");
    }
    if listed < count {
        let _infallible = writeln!(text, "({} more match: narrow the pattern)", count - listed);
    }
    if !whole {
        text.push_str(
            "(the search is incomplete: it reached its file or time limit; restrict it with `path`)\n",
        );
    }
    text
}
