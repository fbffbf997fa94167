//! `edit`: replaces one text in a file. The file's line endings are kept.

mod nearest;

use agent_team_protocol::text::is_text;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::adapter::{Access, Call, tool};
use crate::context::Version;
use crate::file::{Change, Existing};
use crate::permission::Permission;
use crate::resolved_path::{Purpose, ResolvedPath};
use crate::tool::{Output, Tool, ToolError, off_thread};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the working directory or absolute.
    path: String,
    /// The text to replace, exactly as in the file, including indentation. Include enough context to make it unique.
    old: String,
    /// The new text.
    new: String,
    /// Replace every occurrence of `old`. Default: false.
    #[serde(default)]
    all: bool,
}

pub(super) fn edit(permission: Permission) -> Box<dyn Tool> {
    let description = "Replace a text in a file of the project. `old` must occur exactly once unless `all` is \
                       set. The file must have been read, and not have changed since. Line numbers shown by read \
                       are not part of the text.";
    tool("edit", description, Access::Changes, permission, run)
}

async fn run(
    permission: &Permission,
    arguments: Arguments,
    call: Call<'_>,
) -> Result<Output, ToolError> {
    if arguments.old.is_empty() {
        return Err(ToolError::Input(
            "`old` is empty: use write to create a file or replace its whole content".to_owned(),
        ));
    }
    if arguments.old == arguments.new {
        return Err(ToolError::Input("`old` and `new` are the same".to_owned()));
    }
    let resolved = ResolvedPath::find(call.context, &arguments.path, Purpose::Writing)?;
    let known = call.context.known(&resolved);
    let given = arguments.path.clone();
    let change = off_thread(move || replace(resolved, known, &arguments)).await?;
    change.apply(call, &given, permission).await
}

fn replace(
    resolved: ResolvedPath,
    known: Option<Version>,
    arguments: &Arguments,
) -> Result<Change, ToolError> {
    let name = resolved.display();
    let Some(file) = Existing::read(&resolved, known)? else {
        return Err(ToolError::Failed(format!(
            "{name} does not exist: use write to create it"
        )));
    };
    if !is_text(&file.bytes) {
        return Err(ToolError::Failed(format!(
            "{name} is binary and cannot be edited as text"
        )));
    }
    let Found { old, new, offsets } = find(&file.bytes, &arguments.old, &arguments.new);
    let lines: Vec<String> = offsets
        .iter()
        .take(20)
        .map(|&at| line_at(&file.bytes, at).to_string())
        .collect();
    let lines = lines.join(", ");
    match offsets.len() {
        0 => {
            let hint = nearest::hint(&file.bytes, &arguments.old);
            return Err(ToolError::Failed(format!("`old` is not in {name}. {hint}")));
        }
        1 => {}
        count if !arguments.all => {
            return Err(ToolError::Failed(format!(
                "`old` occurs {count} times in {name} (lines {lines}): include more context to make it unique, or set \
                 `all`"
            )));
        }
        _ => {}
    }
    let mut bytes = Vec::with_capacity(file.bytes.len() + new.len());
    let mut from = 0;
    for &at in &offsets {
        bytes.extend_from_slice(&file.bytes[from..at]);
        bytes.extend_from_slice(new.as_bytes());
        from = at + old.len();
    }
    bytes.extend_from_slice(&file.bytes[from..]);
    let done = match offsets.len() {
        1 => format!("edited {name} at line {lines}"),
        count => format!("edited {name} at {count} places: lines {lines}"),
    };
    Ok(Change::new(resolved, Some(file), bytes, done))
}

/// `old` and `new` with the file's line endings, and the offsets of `old`.
struct Found {
    old: String,
    new: String,
    offsets: Vec<usize>,
}

fn find(bytes: &[u8], old: &str, new: &str) -> Found {
    let newlines = count(bytes, b"\n");
    let crlf = count(bytes, b"\r\n");
    let with_lf = |text: &str| text.replace("\r\n", "\n");
    let with_crlf = |text: &str| with_lf(text).replace('\n', "\r\n");
    // Write `new` with the file's line ending. In a file with mixed endings, mostly LF, write it as given.
    let mostly_crlf = crlf * 2 > newlines;
    let new = if mostly_crlf {
        with_crlf(new)
    } else if crlf == 0 {
        with_lf(new)
    } else {
        new.to_owned()
    };
    // Look for `old` as given first, then with each line ending.
    let mut candidates = vec![old.to_owned(), with_lf(old), with_crlf(old)];
    candidates.dedup();
    let mut found = Found {
        old: old.to_owned(),
        new,
        offsets: Vec::new(),
    };
    for candidate in candidates {
        found.offsets = offsets(bytes, candidate.as_bytes());
        found.old = candidate;
        if !found.offsets.is_empty() {
            break;
        }
    }
    found
}

fn count(bytes: &[u8], text: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, text).count()
}

fn offsets(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, text).collect()
}

/// The line number, counted from 1.
fn line_at(bytes: &[u8], at: usize) -> usize {
    count(&bytes[..at], b"\n") + 1
}
