//! The names, levels and limits of notes. Called by `system`, which reads and writes their files, by the policy, the
//! tools and the command line. Reads no file.

use std::fmt;
use std::str::FromStr;

/// Maximum size of a note, in bytes.
pub const NOTE_MAX: usize = 16 << 10;

/// Maximum number of notes at one level.
pub const NOTES_MAX: usize = 64;

/// Maximum length of a name, in bytes.
const NAME_MAX: usize = 64;

/// The directory of the project's notes, relative to the project.
pub const PROJECT_NOTES: &str = ".agent-team/notes";

/// The tool that changes notes.
pub const NOTE_TOOL: &str = "note";

/// The readers of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteLevel {
    /// The members of one team.
    Team,
    /// All teams of one project.
    Project,
    /// All projects of the user.
    User,
}

impl NoteLevel {
    pub const ALL: [NoteLevel; 3] = [NoteLevel::Team, NoteLevel::Project, NoteLevel::User];

    /// The word in commands, in calls of tools and in output.
    pub fn word(self) -> &'static str {
        match self {
            NoteLevel::Team => "team",
            NoteLevel::Project => "project",
            NoteLevel::User => "user",
        }
    }

    /// The level with this word.
    pub fn named(word: &str) -> Option<NoteLevel> {
        NoteLevel::ALL
            .into_iter()
            .find(|level| level.word() == word)
    }
}

impl fmt::Display for NoteLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The name of a note: the name of its file without `.md`. A valid name is safe in a path and on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteName(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a note's name: use at most {NAME_MAX} lower-case letters, digits and hyphens, and no hyphen first"
)]
pub struct InvalidNoteName(String);

impl NoteName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the note's file.
    pub fn file(&self) -> String {
        format!("{}.md", self.0)
    }

    /// The name of the note in the file with this name. `None`: the file is not a note.
    pub fn of_file(file: &str) -> Option<NoteName> {
        file.strip_suffix(".md")?.parse().ok()
    }
}

impl FromStr for NoteName {
    type Err = InvalidNoteName;

    fn from_str(text: &str) -> Result<Self, InvalidNoteName> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_valid = (1..=NAME_MAX).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(known);
        match is_valid {
            true => Ok(NoteName(text.to_owned())),
            false => Err(InvalidNoteName(text.to_owned())),
        }
    }
}

impl fmt::Display for NoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths_and_on_terminals() {
        for name in ["a", "7", "release-steps", &"x".repeat(64)] {
            assert_eq!(
                NoteName::of_file(&format!("{name}.md")).unwrap().as_str(),
                name
            );
        }
        for name in [
            "", "-a", "A", "a.b", "../a", "a/b", "a b", "ä", "a\u{1b}", "a\n",
        ] {
            assert!(name.parse::<NoteName>().is_err(), "{name:?}");
        }
        assert!("x".repeat(65).parse::<NoteName>().is_err());
        assert_eq!(NoteName::of_file("a.txt"), None);
    }

    #[test]
    fn each_level_has_a_word() {
        for level in NoteLevel::ALL {
            assert_eq!(NoteLevel::named(level.word()), Some(level));
        }
        assert_eq!(NoteLevel::named("all"), None);
    }
}
