//! `edit`: replaces texts in a file: all of them, or none. The file's line endings are kept.
//!
//! If a text does not occur in the file, a second search ignores indentation and trailing blanks. If this search finds
//! exactly one place, the place is replaced, and the new text is re-indented like the file: see `white_space`.

pub(super) mod nearest;

use agent_team_protocol::text::is_text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::adapter::{Access, Call, tool};
use crate::file::{Change, Existing, WHOLE_MAX, apply};
use crate::permission::Permission;
use crate::resolved_path::{Purpose, ResolvedPath};
use crate::seen_files::Version;
use crate::tool::{Output, Tool, ToolError, off_thread};
use crate::white_space::{
    Difference, collapsed, differ_in_white_space_alone, is_blank, places, trimmed, trimmed_end,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the working directory or absolute.
    path: String,
    /// The text to replace, exactly as in the file, including indentation. Include enough context to make it unique.
    old: Option<String>,
    /// The new text.
    new: Option<String>,
    /// Replace every occurrence of `old`. Default: false.
    #[serde(default)]
    all: bool,
    /// Several edits, instead of `old` and `new`. They apply in order; if one fails, none is made.
    edits: Option<Vec<Replacement>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replacement {
    old: String,
    new: String,
    #[serde(default)]
    all: bool,
}

pub(super) fn edit(permission: Permission) -> Box<dyn Tool> {
    let description = "Replace a text in a file of the project, or several with `edits`. `old` must occur exactly \
                       once unless `all` is set. The file must have been read, and not have changed since. Line \
                       numbers shown by read are not part of the text.";
    tool("edit", description, Access::Changes, permission, run)
}

async fn run(
    permission: &Permission,
    arguments: Arguments,
    call: Call<'_>,
) -> Result<Output, ToolError> {
    let given = arguments.path.clone();
    let replacements = replacements(arguments)?;
    let resolved = ResolvedPath::find(call.context, &given, Purpose::Writing)?;
    let known = call.context.seen.version(&resolved.path());
    let (change, done) = off_thread(move || replace(resolved, known, &replacements)).await?;
    let request = json!({ "path": given });
    apply(vec![change], done, request, call, permission).await
}

/// The edits of a call, in order.
fn replacements(arguments: Arguments) -> Result<Vec<Replacement>, ToolError> {
    let wrong = |text: &str| Err(ToolError::Input(text.to_owned()));
    let replacements = match (arguments.old, arguments.new, arguments.edits) {
        (Some(old), Some(new), None) => vec![Replacement {
            old,
            new,
            all: arguments.all,
        }],
        (None, None, Some(edits)) if !edits.is_empty() => edits,
        _ => return wrong("set either `old` and `new`, or `edits` with at least one edit"),
    };
    for Replacement { old, new, .. } in &replacements {
        if old.is_empty() {
            let text = "`old` is empty: use write to create a file or replace its whole content";
            return wrong(text);
        }
        if old == new {
            return wrong("`old` and `new` are the same");
        }
    }
    Ok(replacements)
}

fn replace(
    resolved: ResolvedPath,
    known: Option<Version>,
    replacements: &[Replacement],
) -> Result<(Change, String), ToolError> {
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
    let count = replacements.len();
    let mut bytes = file.bytes.clone();
    let (mut lines, mut reindented) = (Vec::new(), Vec::new());
    for (number, replacement) in (1..).zip(replacements) {
        let edited = edited(&name, &bytes, replacement).map_err(|why| {
            ToolError::Failed(match count {
                1 => why,
                _ => format!("edit {number} of {count}: {why}\nNo edit was made."),
            })
        })?;
        bytes = edited.bytes;
        lines.extend(edited.lines);
        if edited.reindented {
            reindented.push(number.to_string());
        }
    }
    if bytes == file.bytes {
        let text = "the edits leave the file unchanged";
        return Err(ToolError::Input(text.to_owned()));
    }
    let mut done = match lines.as_slice() {
        [line] => format!("edited {name} at line {line}"),
        lines => format!(
            "edited {name} at {} places: lines {}",
            lines.len(),
            listed(lines)
        ),
    };
    if !reindented.is_empty() {
        let of = match count {
            1 => String::new(),
            _ => format!(" of edit {}", reindented.join(", ")),
        };
        done.push_str(&format!(
            ". `old`{of} differed from the file in white space; `new` was indented like the file"
        ));
    }
    Ok((Change::new(resolved, Some(file), bytes), done))
}

/// The file after one edit.
struct Edited {
    bytes: Vec<u8>,
    /// The numbers of the lines at which the replaced texts began before the edit.
    lines: Vec<usize>,
    /// Whether the replaced text differs from `old` in white space.
    reindented: bool,
}

fn edited(name: &str, bytes: &[u8], replacement: &Replacement) -> Result<Edited, String> {
    let Found { old, new, offsets } = find(bytes, &replacement.old, &replacement.new);
    let lines = lines_at(bytes, &offsets);
    match offsets.len() {
        0 => return similar(name, bytes, &replacement.old, &new),
        1 => {}
        count if !replacement.all => {
            return Err(format!(
                "`old` occurs {count} times in {name} (lines {}): include more context to make it unique, or set `all`",
                listed(&lines)
            ));
        }
        _ => {}
    }
    // Several edits can multiply the size: check it before the allocation.
    let size = bytes.len() - offsets.len() * old.len();
    let size = size.saturating_add(offsets.len().saturating_mul(new.len()));
    if size as u64 > WHOLE_MAX {
        return Err(format!(
            "the edit would make {name} larger than {WHOLE_MAX} bytes"
        ));
    }
    let mut edited = Vec::with_capacity(size);
    let mut from = 0;
    for &at in &offsets {
        edited.extend_from_slice(&bytes[from..at]);
        edited.extend_from_slice(new.as_bytes());
        from = at + old.len();
    }
    edited.extend_from_slice(&bytes[from..]);
    Ok(Edited {
        bytes: edited,
        lines,
        reindented: false,
    })
}

/// Replaces the lines that differ from `old` only in white space, if exactly one place has such lines. `new` has the
/// file's line endings.
fn similar(name: &str, bytes: &[u8], old: &str, new: &str) -> Result<Edited, String> {
    let wanted: Vec<&[u8]> = old
        .strip_suffix('\n')
        .unwrap_or(old)
        .split('\n')
        .map(str::as_bytes)
        .collect();
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if bytes.ends_with(b"\n") {
        lines.pop();
    }
    let mut found = Vec::new();
    let mut differs_within = false;
    if !wanted.iter().all(|line| is_blank(line)) {
        found = places(&lines, &wanted, 0, trimmed);
        if found.is_empty() {
            found = places(&lines, &wanted, 0, collapsed);
            differs_within = true;
        }
    }
    let missing = || format!("`old` is not in {name}. {}", nearest::hint(bytes, old));
    if differ_in_white_space_alone(old.lines(), new.lines()) {
        return Err(missing());
    }
    let at = match found.as_slice() {
        [at] => *at,
        [] => return Err(missing()),
        all => {
            let numbers: Vec<usize> = all.iter().map(|at| at + 1).collect();
            return Err(format!(
                "`old` is not in {name}, and {} places differ from it only in white space (lines {}): copy the text \
                 exactly, with more context",
                all.len(),
                listed(&numbers)
            ));
        }
    };
    let end = at + wanted.len();
    let pairs = wanted.iter().copied().zip(lines[at..end].iter().copied());
    let difference = Difference::between(pairs).ok_or_else(missing)?;
    let (new, crlf) = (new.as_bytes(), lines[end - 1].ends_with(b"\r"));
    let mut text = Vec::new();
    for (index, line) in new.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            text.push(b'\n');
        }
        // A line that the edit does not change keeps its white space.
        let is_kept = |want: &&[u8]| trimmed_end(want) == trimmed_end(line);
        if differs_within && wanted.get(index).is_some_and(is_kept) {
            text.extend_from_slice(trimmed_end(lines[at + index]));
            text.extend_from_slice(&line[trimmed_end(line).len()..]);
            continue;
        }
        text.extend(difference.apply(line).ok_or_else(missing)?);
        if is_blank(line) && line.ends_with(b"\r") {
            text.push(b'\r');
        }
    }
    let start: usize = lines[..at].iter().map(|line| line.len() + 1).sum();
    let length: usize = lines[at..end].iter().map(|line| line.len() + 1).sum();
    let mut stop = start + length;
    // If `old` does not end with a newline, it does not contain the line ending of its last line.
    if !old.ends_with('\n') {
        stop -= if crlf { 2 } else { 1 };
    } else if stop > bytes.len() {
        // The last line of the file has no newline. Add none.
        let ending = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
        text.truncate(ending.map_or(0, |at| at + 1));
    }
    let stop = stop.min(bytes.len());
    Ok(Edited {
        bytes: [&bytes[..start], &text, &bytes[stop..]].concat(),
        lines: vec![at + 1],
        reindented: true,
    })
}

/// At most twenty line numbers.
fn listed(lines: &[usize]) -> String {
    let shown: Vec<String> = lines.iter().take(20).map(usize::to_string).collect();
    let more = if lines.len() > 20 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
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
    // Write `new` with the file's line ending. In a file with mixed endings, mostly LF, write `new` as given.
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

/// The line numbers of these ascending offsets, counted from 1.
fn lines_at(bytes: &[u8], offsets: &[usize]) -> Vec<usize> {
    let (mut from, mut line) = (0, 1);
    let lines = offsets.iter().map(|&at| {
        line += count(&bytes[from..at], b"\n");
        from = at;
        line
    });
    lines.collect()
}
