//! Finds skills: directories with a file `SKILL.md`, whose front matter has a name and a description. Called when the
//! team is read. Agents see names and descriptions, and read the text with the tool `skill`.
//!
//! The project may be hostile: each of its skills must be within the project. A skill can contain scripts, so the trust
//! question contains a digest of all files of each skill.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agent_team_protocol::spec::Skill;
use agent_team_protocol::text::visible_label;
use agent_team_system::skill_files::{self, Unreadable};

use super::role::front_matter::{self, Value};
use super::source::Fault;
use super::trust::git_config::files_of_project;

/// The directories of skills that other programs also use, in the project and in the user's home directory.
const DIRECTORIES: [&str; 2] = [".agents/skills", ".claude/skills"];

const FILE: &str = "SKILL.md";

/// The maximum number of skills of the user, and of the project. A prompt lists all of them.
const MAX_SKILLS: usize = 16;

/// The maximum length of a description, in characters.
const DESCRIPTION: usize = 250;

/// The maximum number of warnings. Further warnings are dropped.
const MAX_WARNINGS: usize = 20;

/// The largest `SKILL.md`, in bytes.
const MAX_TEXT: u64 = 256 << 10;

/// The skills of a user and of a project.
#[derive(Debug, Clone, Default)]
pub(super) struct FoundSkills {
    own: Vec<Skill>,
    /// The skills of the project, each with the digest of all its files.
    project: Vec<(Skill, String)>,
    /// Reports about skills that are not loaded.
    pub(super) warnings: Vec<Fault>,
}

impl FoundSkills {
    /// Finds the skills. `settings`: the directory of the user's settings; `None`: the user has no skills.
    pub(super) fn find(project: &Path, settings: Option<&Path>, home: Option<&Path>) -> Self {
        let mut found = Self::default();
        let untrusted = files_of_project(project, home);
        if let Some(settings) = settings {
            let of_home = home
                .into_iter()
                .flat_map(|home| DIRECTORIES.map(|name| home.join(name)));
            for directory in std::iter::once(settings.join("skills")).chain(of_home) {
                found.add_directory(&directory, None, untrusted, project);
            }
        }
        let own = std::iter::once(".agent-team/skills");
        for name in own.chain(DIRECTORIES) {
            found.add_directory(&project.join(name), Some(project), untrusted, project);
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

    /// Adds the skills in a directory. `root`: the project, for the project's own skills. `untrusted`: the directory
    /// that must not contain a skill of the user, even through a link.
    fn add_directory(
        &mut self,
        directory: &Path,
        root: Option<&Path>,
        untrusted: &Path,
        project: &Path,
    ) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        let mut skills: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        skills.retain(|skill| fs::symlink_metadata(skill.join(FILE)).is_ok());
        skills.sort();
        for skill in skills {
            if let Err(why) = self.add(&skill, root, untrusted)
                && self.warnings.len() < MAX_WARNINGS
            {
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

    fn add(
        &mut self,
        directory: &Path,
        root: Option<&Path>,
        untrusted: &Path,
    ) -> Result<(), Unusable> {
        let directory = directory.canonicalize()?;
        let file = directory.join(FILE).canonicalize()?;
        if root.is_none() && file.starts_with(untrusted) {
            return Err(Unusable::InProject);
        }
        let is_outside = |root: &&Path| !file.starts_with(root);
        if let Some(root) = root.filter(is_outside) {
            return Err(Unusable::Outside(root.to_owned()));
        }
        if file.parent() != Some(&directory) {
            return Err(Unusable::Link);
        }
        let text = String::from_utf8(skill_files::read(&file, MAX_TEXT)?);
        let text = text.map_err(|_| Unusable::NotText)?;
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
        let mut skill = Skill {
            name,
            description: visible_label(&description, DESCRIPTION),
            directory,
            sha256: None,
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
                let digest = skill_files::digest(&skill.directory)?;
                skill.sha256 = Some(digest.clone());
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
    #[error("it is in the project or its repository, whose files need trust")]
    InProject,
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
    #[error(transparent)]
    Files(#[from] Unreadable),
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

#[cfg(test)]
mod tests;
