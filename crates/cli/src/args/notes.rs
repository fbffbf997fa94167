//! The arguments of `notes`.

use agent_team_protocol::note::{NoteLevel, NoteName};
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::complete;

#[derive(Debug, Subcommand)]
pub(crate) enum NotesCommand {
    /// List the notes of all levels
    List,
    /// Print a note
    Show {
        /// Name of the note, as `notes list` lists it
        #[arg(add = complete::notes())]
        name: NoteName,
        /// team, project or user [default: the only level that has the note, else project]
        #[arg(long, value_parser = level(), hide_possible_values = true)]
        level: Option<NoteLevel>,
    },
    /// Open a note in your editor, or write a new one
    ///
    /// The editor is `$VISUAL`, else `$EDITOR`, else `vi`. It edits a private copy, which replaces the note when the editor
    /// exits with 0.
    Edit {
        /// Name of the note: lower-case letters, digits and hyphens
        #[arg(add = complete::notes())]
        name: NoteName,
        /// team, project or user [default: the only level that has the note, else project]
        #[arg(long, value_parser = level(), hide_possible_values = true)]
        level: Option<NoteLevel>,
    },
    /// Add a text to the end of a note, or to a new one
    Add {
        /// Name of the note: lower-case letters, digits and hyphens
        #[arg(add = complete::notes())]
        name: NoteName,
        /// The text, as one or more words; `-` reads stdin
        #[arg(required = true)]
        text: Vec<String>,
        /// team, project or user [default: the only level that has the note, else project]
        #[arg(long, value_parser = level(), hide_possible_values = true)]
        level: Option<NoteLevel>,
    },
    /// Remove a note
    Remove {
        /// Name of the note, as `notes list` lists it
        #[arg(add = complete::notes())]
        name: NoteName,
        /// team, project or user [default: the only level that has the note, else project]
        #[arg(long, value_parser = level(), hide_possible_values = true)]
        level: Option<NoteLevel>,
    },
}

fn level() -> impl TypedValueParser<Value = NoteLevel> {
    PossibleValuesParser::new(NoteLevel::ALL.map(NoteLevel::word))
        .map(|word| NoteLevel::named(&word).expect("one of the possible values"))
}
