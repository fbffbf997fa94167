//! `notes` and `note`: read and change the notes of the team, of the project and of the user. Also lists their names
//! for the prompt of an agent.
//!
//! A change of a team note needs no permission, like a change of the team's shared memory. A project note is a file of
//! the project: the rules for edits decide. Agents in all projects of the user read a user note. Therefore only a rule
//! that names the path of a user note allows a change; otherwise the user decides.

use std::path::Path;

use agent_team_policy::Digest;
use agent_team_protocol::note::{NOTE_MAX, NOTE_TOOL, NoteLevel, NoteName};
use agent_team_protocol::text::{visible, visible_label};
use agent_team_system::notes::{NoteError, Notes, extended, first_line};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::adapter::{Access, Call, tool};
use crate::change::diff;
use crate::permission::Permission;
use crate::team::quoted;
use crate::tool::{Output, Tool, ToolError, off_thread};

/// The name of the tool that reads notes.
pub const NAME: &str = "notes";

/// The largest first line in a list, in characters.
const FIRST_LINE: usize = 80;

/// The largest number of names of one level in a prompt.
const NAMES_IN_PROMPT: usize = 32;

/// The tool that reads notes.
pub(super) fn notes() -> Box<dyn Tool> {
    let description = "Read a note of the team, the project or the user, or list all notes.";
    tool(NAME, description, Access::Reads, (), read)
}

/// The tool that changes notes.
pub(super) fn note(permission: Permission) -> Box<dyn Tool> {
    let description = "Write, extend or remove a note: Markdown that later runs can read. Store facts that are hard to \
                       find again. Store values of this run with remember instead.";
    tool(NOTE_TOOL, description, Access::Changes, permission, change)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Omit it to list the notes.
    name: Option<String>,
    /// `team`, `project` or `user`. Omit it for all levels.
    #[schemars(with = "Option<String>")]
    level: Option<Level>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    /// Lower-case letters, digits and hyphens, such as `release-steps`.
    name: String,
    /// Its readers: this team, this project, or all projects of the user.
    level: Level,
    /// `write` replaces the whole note.
    action: Kind,
    /// Markdown; a note has at most 16 KiB. Omit it to remove the note.
    text: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Level {
    Team,
    Project,
    User,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Write,
    Append,
    Remove,
}

impl From<Level> for NoteLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Team => NoteLevel::Team,
            Level::Project => NoteLevel::Project,
            Level::User => NoteLevel::User,
        }
    }
}

/// The names of all notes for the prompt of an agent; empty without notes. A hostile repository chooses the names of
/// its notes. A name can contain several words, separated by hyphens, so the prompt must call the names data.
pub fn listed_names(notes: &Notes) -> String {
    let mut text = String::new();
    for level in NoteLevel::ALL {
        // The tool reports the error of a directory that cannot be read.
        let names = notes.names(level).unwrap_or_default().names;
        if names.is_empty() {
            continue;
        }
        let shown: Vec<_> = names
            .iter()
            .take(NAMES_IN_PROMPT)
            .map(NoteName::as_str)
            .collect();
        let more = match names.len().saturating_sub(shown.len()) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        text.push_str(&format!("- {level}: {}{more}\n", shown.join(", ")));
    }
    text
}

async fn read(_: &(), arguments: Wanted, call: Call<'_>) -> Result<String, ToolError> {
    let (notes, guard) = (call.context.notes.clone(), call.context.guard.clone());
    let is_guarded = move |notes: &Notes, level, name: &NoteName| {
        let paths = [notes.path(level, name), notes.known_path(level, name)];
        paths.iter().flatten().any(|path| guard.covers(path))
    };
    let wanted = arguments.level.map(NoteLevel::from);
    let is_wanted = move |level: &NoteLevel| wanted.is_none_or(|wanted| wanted == *level);
    let Some(name) = arguments.name else {
        let levels = NoteLevel::ALL.into_iter().filter(is_wanted).collect();
        return off_thread(move || Ok(list(&notes, levels, &is_guarded))).await;
    };
    let name = parsed(&name)?;
    off_thread(move || {
        let mut levels = notes.levels_of(&name);
        levels.retain(is_wanted);
        let texts = levels
            .iter()
            .map(|level| show(&notes, *level, &name, &is_guarded));
        match levels.is_empty() {
            true => Err(unknown(&notes, &name)),
            false => Ok(texts.collect::<Vec<_>>().join("\n\n")),
        }
    })
    .await
}

fn show(
    notes: &Notes,
    level: NoteLevel,
    name: &NoteName,
    is_guarded: &impl Fn(&Notes, NoteLevel, &NoteName) -> bool,
) -> String {
    if is_guarded(notes, level, name) {
        return format!("Note {name} ({level}): a rule denies reading it or asks about it");
    }
    match notes.read(level, name) {
        // A quoted line begins with `>`, so that the text cannot contain the heading of another note.
        Ok(Some(note)) => {
            let text = quoted(&visible(note.text.trim_end()));
            format!("Note {name} ({level}):\n{text}")
        }
        Ok(None) => format!("Note {name} ({level}): it was removed meanwhile"),
        Err(error) => format!("Note {name} ({level}): cannot be read: {error}"),
    }
}

fn list(
    notes: &Notes,
    levels: Vec<NoteLevel>,
    is_guarded: &impl Fn(&Notes, NoteLevel, &NoteName) -> bool,
) -> String {
    let mut lines = Vec::new();
    for level in levels {
        let names = match notes.names(level) {
            Ok(names) => names.names,
            Err(error) => {
                let error = error.to_string();
                lines.push(format!(
                    "- {level}: cannot be listed: {}",
                    visible_label(&error, 200)
                ));
                continue;
            }
        };
        for name in names {
            let first = match is_guarded(notes, level, &name) {
                true => "a rule denies reading it or asks about it".to_owned(),
                false => match notes.read(level, &name) {
                    Ok(note) => {
                        let text = note.map(|note| note.text).unwrap_or_default();
                        visible_label(first_line(&text), FIRST_LINE)
                    }
                    Err(error) => format!("cannot be read: {error}"),
                },
            };
            lines.push(format!("- {level} {name}: {first}"));
        }
    }
    match lines.is_empty() {
        true => "There are no notes.".to_owned(),
        false => lines.join("\n"),
    }
}

fn parsed(name: &str) -> Result<NoteName, ToolError> {
    name.parse()
        .map_err(|error| ToolError::Input(format!("`name`: {error}")))
}

fn unknown(notes: &Notes, name: &NoteName) -> ToolError {
    let known = listed_names(notes);
    ToolError::Failed(match known.is_empty() {
        true => format!("There is no note {name}, and no other note."),
        false => format!("There is no note {name}. The notes are:\n{known}"),
    })
}

async fn change(
    permission: &Permission,
    arguments: Change,
    call: Call<'_>,
) -> Result<Output, ToolError> {
    let Change {
        name,
        level,
        action,
        text,
    } = arguments;
    let (name, level) = (parsed(&name)?, NoteLevel::from(level));
    let cannot = {
        let name = name.clone();
        move |error: NoteError| {
            let hint = match matches!(error, NoteError::Changed) {
                true => ": repeat the call",
                false => "",
            };
            ToolError::Failed(format!(
                "cannot change the {level} note {name}: {error}{hint}"
            ))
        }
    };
    let notes = call.context.notes.clone();
    let paths = notes.path(level, &name).zip(notes.known_path(level, &name));
    let Some((path, known_path)) = paths else {
        return Err(cannot(match level {
            NoteLevel::Team => NoteError::NoTeam,
            NoteLevel::Project | NoteLevel::User => NoteError::NoLevel,
        }));
    };
    let (old, notes) = {
        let name = name.clone();
        off_thread(move || Ok((notes.read(level, &name), notes))).await?
    };
    let old = old.map_err(&cannot)?.map(|note| note.text);
    let new = new_text(action, old.as_deref(), text, &name, &notes)?;
    let diff = {
        let file = format!("{level}/{}", name.file());
        let before = old.as_deref().map(|text| (file.as_str(), text.as_bytes()));
        let after = new.as_deref().map(|text| (file.as_str(), text.as_bytes()));
        diff(before, after)
    };
    let _permit = match level {
        NoteLevel::Team => None,
        NoteLevel::Project | NoteLevel::User => {
            let mut request = json!({ "path": given(&call, &known_path), "level": level.word() });
            let digest = || Digest::of_bytes(new.as_deref().unwrap_or_default().as_bytes());
            diff.put_into(&mut request, &call.context.secrets, digest);
            let targets = [path.clone()];
            Some(permission.ask_about(call, &request, &targets).await?)
        }
    };
    let done = match (&old, &new) {
        (None, _) => "created",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "removed",
    };
    let done = format!("{done} the {level} note {name}");
    off_thread(move || {
        let changed = match &new {
            Some(new) => notes.write(level, &name, old.as_deref(), new),
            None => notes.remove(level, &name, old.as_deref()).map(drop),
        };
        changed.map_err(cannot)
    })
    .await?;
    Ok(Output {
        text: done,
        diff: Some(diff.text),
        changed: match level {
            NoteLevel::Project => vec![path],
            NoteLevel::Team | NoteLevel::User => Vec::new(),
        },
        media: Vec::new(),
    })
}

/// The path of the note in the request: relative to the working directory if the note is below it.
fn given(call: &Call<'_>, path: &Path) -> Value {
    let relative = path.strip_prefix(&call.context.cwd).unwrap_or(path);
    relative.to_string_lossy().into()
}

/// The text of the note after the change. `None`: the note is removed.
fn new_text(
    action: Kind,
    old: Option<&str>,
    text: Option<String>,
    name: &NoteName,
    notes: &Notes,
) -> Result<Option<String>, ToolError> {
    let text = match (action, text, old) {
        (Kind::Remove, None, Some(_)) => return Ok(None),
        (Kind::Remove, None, None) => return Err(unknown(notes, name)),
        (Kind::Remove, Some(_), _) => {
            return Err(ToolError::Input(
                "`text`: omit it to remove a note".to_owned(),
            ));
        }
        (Kind::Write | Kind::Append, None, _) => {
            return Err(ToolError::Input("`text`: is missing".to_owned()));
        }
        (Kind::Append, Some(text), Some(old)) => extended(old, &text),
        (Kind::Write | Kind::Append, Some(text), _) => extended("", &text),
    };
    if text.trim().is_empty() {
        return Err(ToolError::Input("`text`: is empty".to_owned()));
    }
    if text.len() > NOTE_MAX {
        let (bytes, limit) = (text.len(), NOTE_MAX);
        return Err(ToolError::Input(format!(
            "`text`: the note would have {bytes} bytes; the limit is {limit}: split it or shorten it"
        )));
    }
    Ok(Some(text))
}
