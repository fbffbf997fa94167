//! `init --from`: writes a team file with the agents and teams of another program. Never changes an existing file, and
//! never writes a part of a file: the whole text is read back before the file gets its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_team_file::{Converted, DIRECTORY, FILE, Origin, OtherProgram, Reading};
use agent_team_system::directories::{Directories, user_home};
use serde::Serialize;

use crate::caller;
use crate::error::Failure;
use crate::output::{Output, text};

/// A team file made from the files of another program.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ImportedTeam<'a> {
    /// `None` with `--dry-run`.
    path: Option<PathBuf>,
    from: &'a str,
    members: &'a [String],
    /// The roles that the file defines. Roles that agent-team reads from the other program's files are not among them.
    roles: &'a [String],
    /// The files that were read.
    sources: &'a [String],
    /// One text for each setting that is changed or not imported.
    notes: &'a [String],
    text: &'a str,
}

pub(super) fn run(
    output: Output,
    program: OtherProgram,
    team: Option<&str>,
    is_dry: bool,
) -> Result<ExitCode, Failure> {
    if team.is_some() && program == OtherProgram::Codex {
        return Err(Failure::usage("Codex has no teams").hint("leave out --from-team"));
    }
    let here = caller::current_directory()?;
    let path = here.join(DIRECTORY).join(FILE);
    if !is_dry && path.symlink_metadata().is_ok() {
        return Err(exists(&path));
    }
    let directories = Directories::from_environment()?;
    let converted = convert(&here, program, team, &directories)?;
    if !is_dry {
        write(&here, &path, &converted.text)?;
    }
    let document = ImportedTeam {
        path: (!is_dry).then(|| path.clone()),
        from: program.name(),
        members: &converted.members,
        roles: &converted.roles,
        sources: &converted.sources,
        notes: &converted.notes,
        text: &converted.text,
    };
    output.show(&document, || match is_dry {
        true => document.text.to_owned(),
        false => summary(&document, &path, program),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn convert(
    here: &Path,
    program: OtherProgram,
    team: Option<&str>,
    directories: &Directories,
) -> Result<Converted, Failure> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).map(PathBuf::from);
        value.filter(|path| path.is_absolute())
    };
    let home = variable("HOME").or_else(user_home);
    let home = home.ok_or_else(|| {
        Failure::usage("cannot find the home directory").hint("set HOME to an absolute path")
    })?;
    let origin = Origin {
        program,
        project: here,
        home: &home,
        user: program.variable().and_then(variable),
        team,
    };
    let shown = format!("{DIRECTORY}/{FILE}");
    let reading = Reading {
        here,
        settings: Some(&directories.config),
        variables: None,
        overrides: None,
    };
    Ok(agent_team_file::convert(&origin, &shown, reading)?)
}

fn summary(document: &ImportedTeam<'_>, path: &Path, program: OtherProgram) -> String {
    let path = text::line(&path.to_string_lossy());
    let count = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let mut summary = format!(
        "wrote {path} from {}: {}, {}\n",
        program.title(),
        count(document.members.len(), "member"),
        count(document.roles.len(), "role"),
    );
    for note in document.notes {
        summary.push_str(&format!("  {}\n", text::line(note)));
    }
    summary.push_str("check it, then start the team with: agent-team up \"the goal\"\n");
    summary
}

/// Writes a temporary file, and gives it the name of the team file only if no file has this name.
fn write(here: &Path, path: &Path, text: &str) -> Result<(), Failure> {
    let directory = here.join(DIRECTORY);
    let failed = |error: &io::Error| Failure::io(format!("cannot write {}", path.display()), error);
    fs::create_dir_all(&directory).map_err(|error| failed(&error))?;
    let target = directory.canonicalize().map_err(|error| failed(&error))?;
    if !target.starts_with(here) {
        let message = format!(
            "cannot write {}: {DIRECTORY} is a link to a directory outside of the project",
            path.display()
        );
        return Err(refused("outside", message).hint("replace the link by a directory"));
    }
    let temporary = directory.join(format!(".{FILE}.{}", std::process::id()));
    // A process with the same id may have left the file when it was killed.
    let _removed = fs::remove_file(&temporary);
    write_new(&temporary, text).map_err(|error| {
        let _removed = fs::remove_file(&temporary);
        failed(&error)
    })?;
    let written = fs::hard_link(&temporary, path);
    // Report the first error.
    let _removed = fs::remove_file(&temporary);
    // The name of the file is stored with the directory.
    let written = written.and_then(|()| File::open(&directory)?.sync_all());
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists(path)),
        Err(error) => Err(failed(&error)),
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn exists(path: &Path) -> Failure {
    refused("exists", format!("{} already exists", path.display()))
        .hint("move it away first, or print the imported team file with --dry-run")
}

fn refused(code: &'static str, message: String) -> Failure {
    Failure::new(code, agent_team_protocol::exit::ExitCode::Refused, message)
}
