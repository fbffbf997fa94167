//! Finds command files: Markdown files of the user and of the project. Each file is a slash command, whose text is a
//! message to an agent. Called when the team is read.
//!
//! The agent receives the text as a message of the user, so the user must agree to the commands of the project: the
//! trust question contains the digest of each command file of the project. A file that has changed since is not sent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agent_team_policy::Digest;
use agent_team_protocol::spec::{CommandFile, FileDigest};
use agent_team_protocol::text::visible_label;
use agent_team_system::regular_file::read_beginning;

use super::role::front_matter::{self, RoleText, Value};
use super::source::Fault;
use super::trust::git_config::files_of_project;

/// The maximum number of commands of the user, and of the project.
const MAX_COMMANDS: usize = 32;

/// The maximum length of a description, in characters.
const DESCRIPTION: usize = 80;

/// The maximum length of the description of arguments, in characters.
const ARGUMENTS: usize = 40;

/// The maximum number of warnings. Further warnings are dropped.
const MAX_WARNINGS: usize = 20;

/// The commands of a user and of a project.
#[derive(Debug, Clone, Default)]
pub(super) struct FoundCommands {
    own: Vec<CommandFile>,
    project: Vec<CommandFile>,
    /// Reports about files that are not loaded.
    pub(super) warnings: Vec<Fault>,
}

/// The owner of a directory of command files, which determines where the files must be.
#[derive(Debug, Clone, Copy)]
enum Owner<'a> {
    /// The files must not be in this directory, because its files need trust.
    User { untrusted: &'a Path },
    /// The files must be in the project.
    Project,
}

impl FoundCommands {
    /// Finds the commands. `settings`: the directory of the user's settings; `None`: the user has no commands.
    pub(super) fn find(project: &Path, settings: Option<&Path>, home: Option<&Path>) -> Self {
        let mut found = Self::default();
        if let Some(settings) = settings {
            let of_user = Owner::User {
                untrusted: files_of_project(project, home),
            };
            let of_home = home.map(|home| home.join(".claude/commands"));
            for directory in std::iter::once(settings.join("commands")).chain(of_home) {
                found.add_directory(&directory, of_user, project);
            }
        }
        for name in [".agent-team/commands", ".claude/commands"] {
            found.add_directory(&project.join(name), Owner::Project, project);
        }
        found
    }

    /// All commands; those of the user first.
    pub(super) fn all(&self) -> Vec<CommandFile> {
        [self.own.as_slice(), &self.project].concat()
    }

    /// Whether the command is the user's own, so that it needs no trust.
    pub(super) fn is_own(&self, command: &CommandFile) -> bool {
        self.own.contains(command)
    }

    /// The commands of the project.
    pub(super) fn of_project(&self) -> &[CommandFile] {
        &self.project
    }

    fn add_directory(&mut self, directory: &Path, owner: Owner<'_>, project: &Path) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
        files.sort();
        for file in files {
            let Err(why) = self.add(&file, owner, project) else {
                continue;
            };
            if self.warnings.len() < MAX_WARNINGS {
                let shown = file.strip_prefix(project).unwrap_or(&file);
                self.warnings.push(Fault {
                    file: shown.display().to_string(),
                    line: 1,
                    column: 1,
                    message: format!("cannot use the command: {why}"),
                    hint: None,
                });
            }
            if let Unusable::TooMany = why {
                return;
            }
        }
    }

    fn add(&mut self, file: &Path, owner: Owner<'_>, project: &Path) -> Result<(), Unusable> {
        let count = match owner {
            Owner::User { .. } => self.own.len(),
            Owner::Project => self.project.len(),
        };
        if count == MAX_COMMANDS {
            return Err(Unusable::TooMany);
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        if !is_name(&name) {
            return Err(Unusable::Name(visible_label(&name, 64)));
        }
        if self.all().iter().any(|known| known.name == name) {
            return Err(Unusable::Known(name.into_owned()));
        }
        let path = file.canonicalize()?;
        match owner {
            Owner::User { untrusted } if path.starts_with(untrusted) => {
                return Err(Unusable::InProject);
            }
            Owner::Project if !path.starts_with(project) => {
                return Err(Unusable::Outside(project.to_owned()));
            }
            Owner::User { .. } | Owner::Project => {}
        }
        let beginning = read_beginning(&path, CommandFile::MAX_BYTES)?;
        if beginning.is_cut {
            return Err(Unusable::TooLarge);
        }
        let text = String::from_utf8(beginning.bytes).map_err(|_| Unusable::NotText)?;
        let read = front_matter::read(&text);
        let read = read.map_err(|unreadable| Unusable::FrontMatter(unreadable.value))?;
        let mut lines = read.body.value.lines().map(str::trim);
        let first_line = lines.find(|line| !line.is_empty());
        let first_line = first_line.ok_or(Unusable::Empty)?;
        let description = field(&read, "description").unwrap_or_else(|| first_line.to_owned());
        let arguments = field(&read, "argument-hint").unwrap_or_default();
        let command = CommandFile {
            name: name.into_owned(),
            arguments: visible_label(&arguments, ARGUMENTS),
            description: visible_label(&description, DESCRIPTION),
            text_at: read.body.at as u64,
            file: FileDigest {
                path,
                sha256: Digest::of_bytes(text.as_bytes()).to_string(),
            },
        };
        match owner {
            Owner::User { .. } => self.own.push(command),
            Owner::Project => self.project.push(command),
        }
        Ok(())
    }
}

/// Why a command file is not loaded.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it leads out of {}", .0.display())]
    Outside(PathBuf),
    #[error("it is in the project or its repository, whose files need trust")]
    InProject,
    #[error("the name {0:?} is not 1 to 64 lower-case letters, digits, `-` and `_`")]
    Name(String),
    #[error("another command has the name {0}")]
    Known(String),
    #[error("there are more than {MAX_COMMANDS} commands")]
    TooMany,
    #[error("it is larger than {} KiB", CommandFile::MAX_BYTES >> 10)]
    TooLarge,
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("it has no text")]
    Empty,
    #[error("{0}")]
    FrontMatter(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn is_name(name: &str) -> bool {
    let is_valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(is_valid)
}

/// The text of a key of the front matter. Command files contain `argument-hint: [issue] [priority]`, which is parsed as
/// a list.
fn field(text: &RoleText<'_>, key: &str) -> Option<String> {
    let field = text.fields.iter().find(|field| field.key.value == key)?;
    match &field.value {
        Value::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::List(items) => {
            let items: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
            Some(format!("[{}]", items.join(", ")))
        }
        Value::Nested => None,
    }
}

#[cfg(test)]
mod tests;
