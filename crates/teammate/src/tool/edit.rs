//! `edit`: one text of a file put in the place of another. The file's line endings stay as they are.

mod nearest;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::file::{Change, Existing};
use super::permit::Permission;
use super::place::{Place, Purpose};
use super::{Bench, Running, Tool, ToolError, Version, arguments, off_thread};
use crate::model::ToolSpec;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the working directory or absolute.
    path: String,
    /// The text to be replaced, exactly as it is in the file, with its indentation; enough of it to be there only
    /// once.
    old: String,
    /// The text to be put there.
    new: String,
    /// Replace every place where `old` is found, not just a single one. Default: false.
    #[serde(default)]
    all: bool,
}

#[derive(Debug)]
pub(super) struct EditFile {
    spec: ToolSpec,
    permission: Permission,
}

impl EditFile {
    pub(super) fn new(permission: Permission) -> Self {
        let description = "Replaces a text in a file of the project by another. `old` must be found exactly once, or \
            `all` be set. The file must have been read before, and not have changed since. Line numbers shown by \
            read are not part of the text.";
        Self {
            spec: arguments::spec::<Arguments>("edit", description),
            permission,
        }
    }
}

impl Tool for EditFile {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        input: Value,
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let arguments: Arguments = arguments::parse(&self.spec, input)?;
            if arguments.old.is_empty() {
                return Err(ToolError::Input(
                    "`old` is empty: to make a file or replace all of one, use write".to_owned(),
                ));
            }
            if arguments.old == arguments.new {
                return Err(ToolError::Input("`old` and `new` are the same".to_owned()));
            }
            let place = Place::find(bench, &arguments.path, Purpose::Writing)?;
            let known = bench.known(&place);
            let given = arguments.path.clone();
            let change = off_thread(move || edit(place, known, &arguments)).await?;
            change
                .carry_out("edit", &given, &self.permission, bench, shown)
                .await
        })
    }
}

fn edit(place: Place, known: Option<Version>, arguments: &Arguments) -> Result<Change, ToolError> {
    let name = place.shown();
    let Some(file) = Existing::read(&place, known)? else {
        return Err(ToolError::Failed(format!(
            "{name} does not exist: to make it, use write"
        )));
    };
    if file.is_binary() {
        return Err(ToolError::Failed(format!(
            "{name} is binary: it has no text to be edited"
        )));
    }
    let Found { old, new, places } = find(&file.bytes, &arguments.old, &arguments.new);
    let lines: Vec<String> = places
        .iter()
        .take(20)
        .map(|&at| line_at(&file.bytes, at).to_string())
        .collect();
    let lines = lines.join(", ");
    match places.len() {
        0 => {
            let hint = nearest::hint(&file.bytes, &arguments.old);
            return Err(ToolError::Failed(format!("`old` is not in {name}. {hint}")));
        }
        1 => {}
        count if !arguments.all => {
            return Err(ToolError::Failed(format!(
                "`old` is in {name} {count} times (lines {lines}): give more of the text around the one you mean, or \
                 set `all`"
            )));
        }
        _ => {}
    }
    let mut bytes = Vec::with_capacity(file.bytes.len() + new.len());
    let mut from = 0;
    for &at in &places {
        bytes.extend_from_slice(&file.bytes[from..at]);
        bytes.extend_from_slice(new.as_bytes());
        from = at + old.len();
    }
    bytes.extend_from_slice(&file.bytes[from..]);
    let done = match places.len() {
        1 => format!("edited {name} at line {lines}"),
        count => format!("edited {name} at {count} places: lines {lines}"),
    };
    Ok(Change::new(place, Some(file), bytes, done))
}

/// The texts with the file's line endings, and where the old one begins.
struct Found {
    old: String,
    new: String,
    places: Vec<usize>,
}

fn find(bytes: &[u8], old: &str, new: &str) -> Found {
    let newlines = count(bytes, b"\n");
    let crlf = count(bytes, b"\r\n");
    let with_lf = |text: &str| text.replace("\r\n", "\n");
    let with_crlf = |text: &str| with_lf(text).replace('\n', "\r\n");
    // A file with both is mostly the one or the other; the text may be where it is not.
    let mostly_crlf = crlf * 2 > newlines;
    let new = if mostly_crlf {
        with_crlf(new)
    } else if crlf == 0 {
        with_lf(new)
    } else {
        new.to_owned()
    };
    let mut candidates = vec![old.to_owned(), with_lf(old), with_crlf(old)];
    candidates.dedup();
    let mut found = Found {
        old: old.to_owned(),
        new,
        places: Vec::new(),
    };
    for candidate in candidates {
        found.places = places(bytes, candidate.as_bytes());
        found.old = candidate;
        if !found.places.is_empty() {
            break;
        }
    }
    found
}

fn count(bytes: &[u8], text: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, text).count()
}

fn places(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, text).collect()
}

/// Counted from 1.
fn line_at(bytes: &[u8], at: usize) -> usize {
    count(&bytes[..at], b"\n") + 1
}
