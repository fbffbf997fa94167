//! `init`: writes a team file for this project from a template, with tasks for the build steps that the project has. It
//! never changes an existing file. `from` imports the team of another program instead.

pub(crate) mod from;
mod steps;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_team_file::{DIRECTORY, FILE, Reading};
use agent_team_system::directories::Directories;
use serde::Serialize;

use self::steps::Step;
use super::trust;
use crate::args::Init;
use crate::caller;
use crate::error::Failure;
use crate::output::table::{Cell, Column, Table, elastic, fixed};
use crate::output::{Output, columns, text};

struct Template {
    name: &'static str,
    description: &'static str,
    /// The template fits a project that contains any of these files.
    detected_by: &'static [&'static str],
    /// The file without its tasks.
    text: &'static str,
    /// The tasks for a project in this directory.
    steps: fn(&Path) -> Vec<Step>,
}

/// The templates in order of detection. The last template fits every project. `agents` and `commands` are used only if
/// the user names them.
const TEMPLATES: &[Template] = &[
    Template {
        name: "rust",
        description: "a Cargo project: format, lint, build, test",
        detected_by: &["Cargo.toml"],
        text: include_str!("../../templates/rust.toml"),
        steps: steps::cargo,
    },
    Template {
        name: "node",
        description: "an npm package: install, and its lint, build and test scripts",
        detected_by: &["package.json"],
        text: include_str!("../../templates/node.toml"),
        steps: steps::npm,
    },
    Template {
        name: "python",
        description: "a Python project: compile, test",
        detected_by: &["pyproject.toml", "setup.py", "requirements.txt"],
        text: include_str!("../../templates/python.toml"),
        steps: steps::python,
    },
    Template {
        name: "make",
        description: "a Makefile: its first target, and its targets lint and check (or test), if it has them",
        detected_by: &["Makefile", "makefile", "GNUmakefile"],
        text: include_str!("../../templates/make.toml"),
        steps: steps::make,
    },
    Template {
        name: "agents",
        description: "a lead and two agents that work on a goal",
        detected_by: &[],
        text: include_str!("../../templates/agents.toml"),
        steps: |_| Vec::new(),
    },
    Template {
        name: "commands",
        description: "two members that run commands, with the tasks of the detected template",
        detected_by: &[],
        text: include_str!("../../templates/commands.toml"),
        steps: detected,
    },
    Template {
        name: "empty",
        description: "two members and no tasks",
        detected_by: &[],
        text: include_str!("../../templates/empty.toml"),
        steps: |_| Vec::new(),
    },
];

/// The steps of the template that the project's files select; empty if they select no template.
fn detected(project: &Path) -> Vec<Step> {
    let template = fitting(project);
    match template.detected_by {
        [] => Vec::new(),
        [..] => (template.steps)(project),
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WrittenFile<'a> {
    path: PathBuf,
    template: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Templates {
    templates: Vec<TemplateEntry>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct TemplateEntry {
    name: &'static str,
    description: &'static str,
}

pub(super) fn run(output: Output, options: Init) -> Result<ExitCode, Failure> {
    let Init {
        template,
        list: is_list,
        from,
        from_team,
        dry_run,
    } = options;
    if is_list {
        return list(output);
    }
    if let Some(program) = from {
        return from::run(output, program, from_team.as_deref(), dry_run);
    }
    let here = caller::current_directory()?;
    let template = match template {
        Some(name) => named(&name)?,
        None => fitting(&here),
    };
    let path = write(&here, template)?;
    trust_template(&here, &path)?;
    let document = WrittenFile {
        path,
        template: template.name,
    };
    output.show(&document, || {
        let path = text::line(&document.path.to_string_lossy());
        let name = template.name;
        let start = match name {
            "agents" => "agent-team up \"the goal\"",
            _ => "agent-team up",
        };
        format!(
            "wrote {path} from the template {name}\ncheck it, then start the team with: {start}\n"
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Trusts the lines of the template: the user asked for them.
fn trust_template(here: &Path, file: &Path) -> Result<(), Failure> {
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
                .hint(agent_team_file::suggest(name, &names))
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

/// The team file of this template for this project.
fn text_of(template: &Template, project: &Path) -> String {
    let mut text = template.text.to_owned();
    let mut is_explained = false;
    for step in (template.steps)(project) {
        let Step { title, run, after } = step;
        text.push_str(&format!(
            "\n[[task]]\ntitle = \"{title}\"\nrun = \"{run}\"\n"
        ));
        if let Some(after) = after {
            let after = format!("after = [\"{after}\"]");
            match std::mem::replace(&mut is_explained, true) {
                true => text.push_str(&format!("{after}\n")),
                false => text.push_str(&format!("{after:<34} # waits until these are completed\n")),
            }
        }
    }
    text
}

fn write(project: &Path, template: &Template) -> Result<PathBuf, Failure> {
    let directory = project.join(DIRECTORY);
    let path = directory.join(FILE);
    let written = fs::create_dir_all(&directory)
        .and_then(|()| File::create_new(&path))
        .and_then(|mut file| file.write_all(text_of(template, project).as_bytes()));
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
    use agent_team_protocol::spec::Layout;

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
            let layout = match spec.members.iter().any(|member| member.lead) {
                true => Layout::MainVertical,
                false => Layout::Tiled,
            };
            assert_eq!(spec.layout, layout, "{}", template.name);
            assert_eq!(
                spec.tasks.is_empty(),
                ["agents", "commands", "empty"].contains(&template.name),
                "{}",
                template.name
            );
        }
    }

    #[test]
    fn init_adds_tasks_for_the_targets_of_the_project() {
        let project = tempfile::tempdir().unwrap();
        let run_lines = |template: &str| {
            let steps = (named(template).unwrap().steps)(project.path()).into_iter();
            steps.map(|step| step.run).collect::<Vec<_>>()
        };
        let write = |file: &str, text: &str| {
            std::fs::write(project.path().join(file), text).unwrap();
        };
        assert!(run_lines("commands").is_empty());
        write(
            "Makefile",
            "CC := gcc\nall: x\n\techo\ntest unit: all\n\ttrue\n.PHONY: check\n",
        );
        assert_eq!(run_lines("make"), ["make", "make test"]);
        assert_eq!(run_lines("commands"), ["make", "make test"]);
        write("Makefile", "check::\n\ttrue\ntest:\nlint:\n");
        assert_eq!(run_lines("make"), ["make lint", "make check"]);
        write("Makefile", "test:\nbuild:\n");
        assert_eq!(run_lines("make"), ["make build", "make test"]);
        write("Makefile", "all:\ncheck:\nlint:\n");
        assert_eq!(run_lines("make"), ["make", "make lint", "make check"]);
        write("pyproject.toml", "[project]\nname = \"x\"\n");
        assert_eq!(run_lines("python"), ["python3 -m compileall -q ."]);
        std::fs::create_dir(project.path().join("tests")).unwrap();
        assert_eq!(
            run_lines("python")[1..],
            ["python3 -B -m unittest discover"]
        );
        write("pyproject.toml", "[tool.pytest.ini_options]\n");
        assert_eq!(run_lines("python")[1..], ["python3 -B -m pytest"]);
        write("package.json", r#"{"scripts": {"test": "x", "lint": "y"}}"#);
        assert_eq!(
            run_lines("node"),
            ["npm install", "npm run lint", "npm run test"]
        );
        write("package-lock.json", "{}");
        assert_eq!(run_lines("node")[0], "npm ci");
        write("pnpm-lock.yaml", "");
        std::fs::remove_file(project.path().join("package-lock.json")).unwrap();
        assert_eq!(run_lines("node")[0], "pnpm install --frozen-lockfile");
        assert_eq!(run_lines("node")[2], "pnpm run test");
        std::fs::remove_file(project.path().join("pnpm-lock.yaml")).unwrap();
        write(
            "package.json",
            r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#,
        );
        assert_eq!(run_lines("node"), ["npm install"]);
        write("package.json", "not JSON");
        assert_eq!(run_lines("node"), ["npm install"]);
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
