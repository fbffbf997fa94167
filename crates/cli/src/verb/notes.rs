//! `notes …`: lists, shows, edits, extends and removes the notes of the team, of the project and of the user. Contacts
//! the supervisor only to find another team (`-t`), so the verbs work while the team is down.

mod editor;

use std::io::Read;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use agent_team_protocol::TeamId;
use agent_team_protocol::exit::ExitCode as Exit;
use agent_team_protocol::note::{NOTE_MAX, NoteLevel, NoteName};
use agent_team_protocol::text::{visible, visible_label};
use agent_team_system::directories::Directories;
use agent_team_system::notes::{Note, NoteError, Notes, extended, first_line};
use serde::Serialize;

use super::{config, role, up};
use crate::args::{Global, NotesCommand};
use crate::caller;
use crate::error::Failure;
use crate::output::table::{Cell, Column, Table, elastic_to, fixed, optional};
use crate::output::{Output, columns, text, time};

/// Maximum length of a first line in a list, in characters.
const FIRST_LINE: usize = 200;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NoteList {
    notes: Vec<ListedNote>,
    /// Levels that cannot be listed, and files that are not notes.
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ListedNote {
    /// `team`, `project` or `user`.
    level: &'static str,
    name: String,
    file: String,
    first_line: String,
    /// Absent if the note cannot be read, like `modified_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    /// Unix time in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_at: Option<u64>,
    /// Why the note cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NoteText {
    /// `team`, `project` or `user`.
    level: &'static str,
    name: String,
    file: String,
    text: String,
    /// Unix time in milliseconds.
    modified_at: u64,
}

/// The result of `edit`, `add` and `remove`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangedNote {
    /// `team`, `project` or `user`.
    level: &'static str,
    name: String,
    file: String,
    /// `created`, `changed`, `unchanged` or `removed`.
    change: &'static str,
}

/// The notes that the command is about.
struct FoundNotes {
    notes: Notes,
    /// Why the team is unknown: its file has a fault.
    no_team: Option<String>,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    command: Option<NotesCommand>,
) -> Result<ExitCode, Failure> {
    let found = find(global).await?;
    match command.unwrap_or(NotesCommand::List) {
        NotesCommand::List => list(output, &found)?,
        NotesCommand::Show { name, level } => show(output, &found, &name, level)?,
        NotesCommand::Edit { name, level } => edit(output, &found, &name, level)?,
        NotesCommand::Add { name, text, level } => add(output, &found, &name, &text, level)?,
        NotesCommand::Remove { name, level } => remove(output, &found, &name, level)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(global: &Global) -> Result<FoundNotes, Failure> {
    let directories = Directories::from_environment()?;
    if let Some(name) = &global.team {
        let team = up::known_team(global, name).await?;
        return Ok(FoundNotes {
            notes: Notes::new(&directories, Some(team.team.as_str()), &team.project),
            no_team: None,
        });
    }
    Ok(match config::load(global, None).await {
        Ok(loaded) => {
            let team = TeamId::new(&loaded.spec.name, &loaded.spec.project);
            FoundNotes {
                notes: Notes::new(&directories, Some(team.as_str()), &loaded.spec.project),
                no_team: None,
            }
        }
        // The notes of project and user do not depend on the team file.
        Err(fault) => FoundNotes {
            notes: Notes::new(
                &directories,
                None,
                role::project(&caller::current_directory()?),
            ),
            no_team: Some(fault.one_line()),
        },
    })
}

impl FoundNotes {
    /// The level that the user chose, or else the only level that has the note, or else the project.
    fn level(&self, name: &NoteName, chosen: Option<NoteLevel>) -> NoteLevel {
        let only = || match self.notes.levels_of(name).as_slice() {
            [level] => *level,
            _ => NoteLevel::Project,
        };
        chosen.unwrap_or_else(only)
    }

    fn read(&self, level: NoteLevel, name: &NoteName) -> Result<Option<Note>, Failure> {
        let note = self.notes.read(level, name);
        note.map_err(|error| self.failure("read", level, name, error))
    }

    fn failure(&self, verb: &str, level: NoteLevel, name: &NoteName, error: NoteError) -> Failure {
        let hint = match (&error, &self.no_team) {
            (NoteError::NoTeam, Some(fault)) => format!("repair the team file: {fault}"),
            (NoteError::NoTeam, None) => "start the team with: agent-team up".to_owned(),
            (NoteError::TooMany, _) => "remove one with: agent-team notes remove NAME".to_owned(),
            (NoteError::Empty, _) => format!("remove it with: agent-team notes remove {name}"),
            _ => String::new(),
        };
        let text = format!("cannot {verb} the {level} note {name}: {error}");
        let failure = Failure::new("note_refused", Exit::Refused, text::line(&text));
        match hint.is_empty() {
            true => failure,
            false => failure.hint(text::line(&hint)),
        }
    }

    fn unknown(&self, verb: &str, level: NoteLevel, name: &NoteName) -> Failure {
        let elsewhere = self.notes.levels_of(name);
        let text = format!("cannot {verb} the {level} note {name}: it does not exist");
        let known = self.notes.all_names();
        let known: Vec<_> = known.iter().map(NoteName::as_str).collect();
        let hint = match elsewhere.first() {
            Some(other) => format!("choose another level: --level {other}"),
            None if known.is_empty() => format!("write it with: agent-team notes edit {name}"),
            None => agent_team_file::suggest(name.as_str(), &known),
        };
        Failure::new("unknown_note", Exit::NotFound, text).hint(hint)
    }

    fn file(&self, level: NoteLevel, name: &NoteName) -> String {
        let path = self.notes.path(level, name).unwrap_or_default();
        path.to_string_lossy().into_owned()
    }

    fn changed(&self, level: NoteLevel, name: &NoteName, change: &'static str) -> ChangedNote {
        ChangedNote {
            level: level.word(),
            name: name.to_string(),
            file: self.file(level, name),
            change,
        }
    }

    fn write(
        &self,
        level: NoteLevel,
        name: &NoteName,
        old: Option<&str>,
        new: &str,
    ) -> Result<ChangedNote, Failure> {
        let change = match old {
            Some(old) if old == new => return Ok(self.changed(level, name, "unchanged")),
            Some(_) => "changed",
            None => "created",
        };
        let written = self.notes.write(level, name, old, new);
        written.map_err(|error| self.failure("write", level, name, error))?;
        Ok(self.changed(level, name, change))
    }
}

fn list(output: Output, found: &FoundNotes) -> Result<(), Failure> {
    let mut listing = NoteList {
        notes: Vec::new(),
        warnings: Vec::new(),
    };
    if let Some(fault) = &found.no_team {
        let warning = format!("the notes of the team are not listed: {fault}");
        listing.warnings.push(text::line(&warning));
    }
    for level in NoteLevel::ALL {
        match found.notes.names(level) {
            Ok(names) => {
                let listed = names.names.iter().map(|name| listed(found, level, name));
                listing.notes.extend(listed);
                if names.ignored > 0 {
                    let files = text::count(names.ignored as u64, "file");
                    listing.warnings.push(format!(
                        "ignored {files} of the level {level}: a name has at most 64 lower-case letters, digits and \
                         hyphens, and a level has at most 64 notes"
                    ));
                }
            }
            Err(error) => {
                let warning = format!("cannot list the notes of the level {level}: {error}");
                listing.warnings.push(text::line(&warning));
            }
        }
    }
    for warning in &listing.warnings {
        output.note(&format!("warning: {warning}"));
    }
    output.show(&listing, || table(&listing.notes))
}

fn listed(found: &FoundNotes, level: NoteLevel, name: &NoteName) -> ListedNote {
    let read = found.notes.read(level, name);
    let (note, fault) = match read {
        Ok(note) => (note, None),
        Err(error) => (None, Some(text::line(&format!("cannot be read: {error}")))),
    };
    let text = note.as_ref().map_or("", |note| &note.text);
    ListedNote {
        level: level.word(),
        name: name.to_string(),
        file: found.file(level, name),
        first_line: visible_label(first_line(text), FIRST_LINE),
        bytes: note.as_ref().map(|note| note.text.len()),
        modified_at: note.as_ref().map(|note| unix_ms(note.modified)),
        fault,
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn table(notes: &[ListedNote]) -> String {
    const COLUMNS: &[Column] = &[
        fixed("LEVEL"),
        fixed("NAME"),
        elastic_to("FIRST LINE", 20),
        optional("SIZE", 1),
        optional("CHANGED", 2),
    ];
    if notes.is_empty() {
        return "no notes\n".to_owned();
    }
    let mut table = Table::new(COLUMNS);
    for note in notes {
        let first = note.fault.as_ref().unwrap_or(&note.first_line);
        table.row([
            Cell::new(note.level),
            Cell::new(&note.name),
            Cell::new(first),
            Cell::new(
                note.bytes
                    .map(|bytes| format!("{bytes} B"))
                    .unwrap_or_default(),
            ),
            Cell::new(note.modified_at.map(time::ago).unwrap_or_default()),
        ]);
    }
    table.render(columns())
}

fn show(
    output: Output,
    found: &FoundNotes,
    name: &NoteName,
    level: Option<NoteLevel>,
) -> Result<(), Failure> {
    let level = found.level(name, level);
    let note = found.read(level, name)?;
    let note = note.ok_or_else(|| found.unknown("show", level, name))?;
    let shown = NoteText {
        level: level.word(),
        name: name.to_string(),
        file: found.file(level, name),
        modified_at: unix_ms(note.modified),
        text: note.text,
    };
    output.show(&shown, || format!("{}\n", visible(shown.text.trim_end())))
}

fn add(
    output: Output,
    found: &FoundNotes,
    name: &NoteName,
    words: &[String],
    level: Option<NoteLevel>,
) -> Result<(), Failure> {
    let level = found.level(name, level);
    let more = match words {
        [word] if word == "-" => stdin()?,
        words => words.join(" "),
    };
    if more.trim().is_empty() {
        return Err(Failure::usage("cannot add to the note: the text is empty"));
    }
    let old = found.read(level, name)?.map(|note| note.text);
    let new = extended(old.as_deref().unwrap_or_default(), &more);
    let changed = found.write(level, name, old.as_deref(), &new)?;
    output.show(&changed, || text_of(&changed))
}

/// Reads stdin up to one byte more than the limit of a note, and refuses a longer text: it would be cut, possibly
/// within a character.
fn stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin()
        .take(NOTE_MAX as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| Failure::io("cannot read stdin", &error))?;
    if bytes.len() > NOTE_MAX {
        let limit = NOTE_MAX >> 10;
        return Err(Failure::usage(format!(
            "cannot add the text: it is larger than {limit} KiB"
        )));
    }
    String::from_utf8(bytes)
        .map_err(|error| Failure::usage("cannot read stdin: it is not UTF-8 text").because(&error))
}

fn edit(
    output: Output,
    found: &FoundNotes,
    name: &NoteName,
    level: Option<NoteLevel>,
) -> Result<(), Failure> {
    let level = found.level(name, level);
    let old = found.read(level, name)?.map(|note| note.text);
    let copy = editor::NoteCopy::of(old.as_deref().unwrap_or_default(), name)?;
    let new = copy.edit(output)?;
    let is_new_and_empty = old.is_none() && new.trim().is_empty();
    let changed = match is_new_and_empty {
        true => found.changed(level, name, "unchanged"),
        false => match found.write(level, name, old.as_deref(), &new) {
            Ok(changed) => changed,
            Err(failure) => return Err(copy.keep(failure)),
        },
    };
    output.show(&changed, || text_of(&changed))
}

fn remove(
    output: Output,
    found: &FoundNotes,
    name: &NoteName,
    level: Option<NoteLevel>,
) -> Result<(), Failure> {
    let level = found.level(name, level);
    let removed = found.notes.remove(level, name, None);
    let removed = removed.map_err(|error| found.failure("remove", level, name, error))?;
    if !removed {
        return Err(found.unknown("remove", level, name));
    }
    let changed = found.changed(level, name, "removed");
    output.show(&changed, || text_of(&changed))
}

fn text_of(changed: &ChangedNote) -> String {
    let ChangedNote {
        level,
        name,
        file,
        change,
    } = changed;
    format!("{change} the {level} note {name}: {}\n", text::line(file))
}
