//! Finds skills: directories with a file `SKILL.md`, whose front matter has a name and a description. Called when the
//! team is read. Agents see names and descriptions, and read the text with the tool `skill`.
//!
//! The project may be hostile: each of its skills must be within the project, and the trust question contains a digest
//! of all its files, because a skill can contain scripts.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agent_team_policy::Digest;
use agent_team_protocol::spec::Skill;
use agent_team_protocol::text::{visible_label, visible_line};

use super::role::front_matter::{self, Value};
use super::source::Fault;

/// The directories of skills in the project, and in the user's home directory.
const DIRECTORIES: [&str; 2] = [".agents/skills", ".claude/skills"];

const FILE: &str = "SKILL.md";

/// The maximum number of skills of the user, and of the project. A prompt lists all of them.
const MAX_SKILLS: usize = 16;

/// The maximum length of a description, in characters.
const DESCRIPTION: usize = 250;

/// Limits of the files of a project's skill, which are read for the digest.
const MAX_FILES: usize = 200;
const MAX_BYTES: u64 = 4 << 20;
const MAX_DEPTH: usize = 8;

/// The largest `SKILL.md`, in bytes.
const MAX_TEXT: u64 = 256 << 10;

/// The skills of a user and of a project.
#[derive(Debug, Clone, Default)]
pub(super) struct FoundSkills {
    own: Vec<Skill>,
    /// With the digest of all files of each skill.
    project: Vec<(Skill, String)>,
    /// Skills that are not loaded.
    pub(super) warnings: Vec<Fault>,
}

impl FoundSkills {
    /// Finds the skills. `settings`: the directory of the user's settings; `None`: the user has no skills.
    pub(super) fn find(project: &Path, settings: Option<&Path>, home: Option<&Path>) -> Self {
        let mut found = Self::default();
        if let Some(settings) = settings {
            let of_home = home
                .into_iter()
                .flat_map(|home| DIRECTORIES.map(|name| home.join(name)));
            for directory in std::iter::once(settings.join("skills")).chain(of_home) {
                found.add_directory(&directory, None, project);
            }
        }
        let own = std::iter::once(".agent-team/skills");
        for name in own.chain(DIRECTORIES) {
            found.add_directory(&project.join(name), Some(project), project);
        }
        found
    }

    /// All skills; those of the user first.
    pub(super) fn all(&self) -> Vec<Skill> {
        let of_project = self.project.iter().map(|(skill, _)| skill);
        self.own.iter().chain(of_project).cloned().collect()
    }

    /// Whether the skill is the user's own, so that it needs no trust.
    pub(super) fn is_own(&self, skill: &Skill) -> bool {
        self.own.contains(skill)
    }

    /// The skills of the project, with the digests of their files.
    pub(super) fn of_project(&self) -> &[(Skill, String)] {
        &self.project
    }

    /// Adds the skills in a directory. `root`: the project, for its own skills.
    fn add_directory(&mut self, directory: &Path, root: Option<&Path>, project: &Path) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        let mut skills: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        skills.retain(|skill| fs::symlink_metadata(skill.join(FILE)).is_ok());
        skills.sort();
        for skill in skills {
            if let Err(why) = self.add(&skill, root) {
                let file = skill.join(FILE);
                let file = file.strip_prefix(project).unwrap_or(&file);
                self.warnings.push(Fault {
                    file: file.display().to_string(),
                    line: 1,
                    column: 1,
                    message: format!("cannot use the skill: {why}"),
                    hint: None,
                });
            }
        }
    }

    fn add(&mut self, directory: &Path, root: Option<&Path>) -> Result<(), Unusable> {
        let directory = directory.canonicalize()?;
        let file = directory.join(FILE).canonicalize()?;
        let is_outside = |root: &&Path| !file.starts_with(root);
        if let Some(root) = root.filter(is_outside) {
            return Err(Unusable::Outside(root.to_owned()));
        }
        if file.parent() != Some(&directory) {
            return Err(Unusable::Link);
        }
        let text = String::from_utf8(read(&file, MAX_TEXT)?).map_err(|_| Unusable::NotText)?;
        let (name, description) = front_matter_of(&text)?;
        let name = match name {
            Some(name) => name,
            None => {
                let name = directory.file_name().unwrap_or_default();
                name.to_string_lossy().into_owned()
            }
        };
        if !is_name(&name) {
            return Err(Unusable::Name(visible_label(&name, 64)));
        }
        if self.all().iter().any(|known| known.name == name) {
            return Err(Unusable::Known(name));
        }
        let skill = Skill {
            name,
            description: visible_label(&description, DESCRIPTION),
            directory,
        };
        let count = match root {
            Some(_) => self.project.len(),
            None => self.own.len(),
        };
        if count == MAX_SKILLS {
            return Err(Unusable::TooMany);
        }
        match root {
            Some(_) => {
                let digest = digest(&skill.directory)?;
                self.project.push((skill, digest));
            }
            None => self.own.push(skill),
        }
        Ok(())
    }
}

/// Why a skill is not loaded.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it leads out of {}", .0.display())]
    Outside(PathBuf),
    #[error("{FILE} is a link")]
    Link,
    #[error("{FILE} is not UTF-8 text")]
    NotText,
    #[error("{0}")]
    FrontMatter(String),
    #[error("the front matter has no `description`")]
    NoDescription,
    #[error("the name {0:?} is not 1 to 64 lower-case letters, digits and `-`")]
    Name(String),
    #[error("another skill has the name {0}")]
    Known(String),
    #[error("there are more than {MAX_SKILLS} skills")]
    TooMany,
    #[error("it has more than {MAX_FILES} files, {} MiB, or {MAX_DEPTH} levels", MAX_BYTES >> 20)]
    TooLarge,
    #[error("it contains {}, which is neither a file nor a directory", .0.display())]
    Special(PathBuf),
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) fn is_name(name: &str) -> bool {
    let is_valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=64).contains(&name.len()) && name.chars().all(is_valid)
}

/// The name and the description in the front matter.
fn front_matter_of(text: &str) -> Result<(Option<String>, String), Unusable> {
    let read = front_matter::read(text);
    let read = read.map_err(|unreadable| Unusable::FrontMatter(unreadable.value))?;
    let field = |key: &str| {
        let field = read.fields.iter().find(|field| field.key.value == key)?;
        match &field.value {
            Value::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::List(_) | Value::Nested => None,
        }
    };
    let description = field("description").ok_or(Unusable::NoDescription)?;
    Ok((field("name"), description))
}

/// Reads a regular file. Checks it before opening it: opening a FIFO would block.
fn read(path: &Path, max: u64) -> Result<Vec<u8>, Unusable> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(Unusable::Special(path.to_owned()));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(max + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max {
        true => Err(Unusable::TooLarge),
        false => Ok(bytes),
    }
}

/// The digest of the names and contents of all files of a skill. Links count with their targets; the tool `skill` does
/// not follow a link out of the skill.
fn digest(directory: &Path) -> Result<String, Unusable> {
    let mut files = Vec::new();
    list(directory, 0, &mut files)?;
    files.sort();
    let mut text = String::new();
    let mut remaining = MAX_BYTES;
    for path in files {
        let name = path.strip_prefix(directory).unwrap_or(&path);
        let content = if fs::symlink_metadata(&path)?.is_symlink() {
            format!("link to {:?}", fs::read_link(&path)?)
        } else {
            let bytes = read(&path, remaining)?;
            remaining -= bytes.len() as u64;
            Digest::of_bytes(&bytes).to_string()
        };
        text.push_str(&format!("{name:?} {content}\n"));
    }
    Ok(Digest::of_bytes(text.as_bytes()).to_string())
}

fn list(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Unusable> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if depth == MAX_DEPTH {
                return Err(Unusable::TooLarge);
            }
            list(&entry.path(), depth + 1, files)?;
        } else if kind.is_file() || kind.is_symlink() {
            files.push(entry.path());
        } else {
            let name = entry.file_name().to_string_lossy().into_owned();
            return Err(Unusable::Special(visible_line(&name).into_owned().into()));
        }
        if files.len() > MAX_FILES {
            return Err(Unusable::TooLarge);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
