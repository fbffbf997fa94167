//! `init`: writes a team file for this project from a template. It never changes an existing file.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_team_file::{DIRECTORY, FILE, Reading};
use agent_team_system::directories::Directories;
use serde::Serialize;

use super::trust;
use crate::caller;
use crate::error::Failure;
use crate::output::table::{Cell, Column, Table, elastic, fixed};
use crate::output::{Output, columns, text};

struct Template {
    name: &'static str,
    description: &'static str,
    /// The template fits a project that contains any of these files.
    detected_by: &'static [&'static str],
    text: &'static str,
}

/// In order of detection; the last one fits every project.
const TEMPLATES: &[Template] = &[
    Template {
        name: "rust",
        description: "a Cargo project: format, lint, build, test",
        detected_by: &["Cargo.toml"],
        text: include_str!("../../templates/rust.toml"),
    },
    Template {
        name: "node",
        description: "an npm package: install, lint, build, test",
        detected_by: &["package.json"],
        text: include_str!("../../templates/node.toml"),
    },
    Template {
        name: "python",
        description: "a Python project: compile, test",
        detected_by: &["pyproject.toml", "setup.py", "requirements.txt"],
        text: include_str!("../../templates/python.toml"),
    },
    Template {
        name: "make",
        description: "a Makefile: all, check",
        detected_by: &["Makefile", "makefile", "GNUmakefile"],
        text: include_str!("../../templates/make.toml"),
    },
    Template {
        name: "empty",
        description: "two members and no tasks",
        detected_by: &[],
        text: include_str!("../../templates/empty.toml"),
    },
];

#[derive(Serialize)]
struct WrittenFile<'a> {
    path: PathBuf,
    template: &'a str,
}

#[derive(Serialize)]
struct Templates {
    templates: Vec<TemplateEntry>,
}

#[derive(Serialize)]
struct TemplateEntry {
    name: &'static str,
    description: &'static str,
}

pub(super) fn run(
    output: Output,
    template: Option<String>,
    list_them: bool,
) -> Result<ExitCode, Failure> {
    if list_them {
        return list(output);
    }
    let here = caller::current_directory()?;
    let template = match template {
        Some(name) => named(&name)?,
        None => fitting(&here),
    };
    let path = write(&here, template)?;
    trust(&here, &path)?;
    let document = WrittenFile {
        path,
        template: template.name,
    };
    output.show(&document, || {
        let path = text::line(&document.path.to_string_lossy());
        format!("wrote {path} from the template {}\ncheck it, then start the team with: agent-team up\n", template.name)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Trusts the lines of the template: the user asked for them.
fn trust(here: &Path, file: &Path) -> Result<(), Failure> {
    let directories = Directories::from_environment()?;
    let reading = Reading {
        here,
        settings: Some(&directories.config),
        variables: None,
        overrides: None,
    };
    match agent_team_file::load(file, reading) {
        Ok(loaded) => trust::trust_own(&loaded),
        // The template has no faults, so the fault is in another file of the project; `up` reports it.
        Err(_) => Ok(()),
    }
}

fn list(output: Output) -> Result<ExitCode, Failure> {
    const COLUMNS: &[Column] = &[fixed("TEMPLATE"), elastic("FOR")];
    let listed = |template: &Template| TemplateEntry {
        name: template.name,
        description: template.description,
    };
    output.show(
        &Templates {
            templates: TEMPLATES.iter().map(listed).collect(),
        },
        || {
            let mut table = Table::new(COLUMNS);
            for template in TEMPLATES {
                table.row([Cell::new(template.name), Cell::new(template.description)]);
            }
            table.render(columns())
        },
    )?;
    Ok(ExitCode::SUCCESS)
}

fn named(name: &str) -> Result<&'static Template, Failure> {
    TEMPLATES
        .iter()
        .find(|template| template.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = TEMPLATES.iter().map(|template| template.name).collect();
            Failure::usage(format!("unknown template {name:?}"))
                .hint(format!("known templates: {}", names.join(", ")))
        })
}

/// The first template that fits the project.
fn fitting(project: &Path) -> &'static Template {
    let fits = |template: &&Template| {
        template
            .detected_by
            .iter()
            .any(|file| project.join(file).is_file())
    };
    let last = TEMPLATES.last().expect("there are templates");
    TEMPLATES.iter().find(fits).unwrap_or(last)
}

fn write(project: &Path, template: &Template) -> Result<PathBuf, Failure> {
    let directory = project.join(DIRECTORY);
    let path = directory.join(FILE);
    let written = fs::create_dir_all(&directory)
        .and_then(|()| File::create_new(&path))
        .and_then(|mut file| file.write_all(template.text.as_bytes()));
    match written {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("{} already exists", path.display());
            let failure = Failure::new(
                "exists",
                agent_team_protocol::exit::ExitCode::Refused,
                message,
            );
            Err(failure.hint("edit it, or move it away first"))
        }
        Err(error) => Err(Failure::io(
            format!("cannot write {}", path.display()),
            &error,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_a_valid_team_file() {
        for template in TEMPLATES {
            let project = tempfile::tempdir().unwrap();
            let path = write(project.path(), template).unwrap();
            let reading = agent_team_file::Reading {
                here: project.path(),
                settings: None,
                variables: None,
                overrides: None,
            };
            let spec = agent_team_file::load(&path, reading)
                .unwrap_or_else(|error| panic!("{}: {error:?}", template.name))
                .spec;
            assert!(spec.members.len() >= 2, "{}", template.name);
            assert!(
                !spec.tasks.is_empty() || template.name == "empty",
                "{}",
                template.name
            );
        }
    }

    #[test]
    fn the_files_of_the_project_choose_the_template() {
        let project = tempfile::tempdir().unwrap();
        assert_eq!(fitting(project.path()).name, "empty");
        for (file, template) in [
            ("Makefile", "make"),
            ("setup.py", "python"),
            ("Cargo.toml", "rust"),
        ] {
            File::create(project.path().join(file)).unwrap();
            assert_eq!(fitting(project.path()).name, template);
        }
    }
}
