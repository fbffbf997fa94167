//! Finds and opens the files of a team and of its user: their paths, their project and their text.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use agent_team_protocol::text::position;
use agent_team_protocol::with_causes;
use toml::de::DeTable;

use super::source::{Fault, Source};
use super::table::Table;
use super::unsupported::Level;

/// The directory in a project's root that contains the team file.
pub const DIRECTORY: &str = ".agent-team";
pub const FILE: &str = "team.toml";

/// Maximum size of a file, in bytes.
pub(super) const FILE_MAX: u64 = 1 << 20;

/// Why a file could not be read as text.
#[derive(Debug, thiserror::Error)]
pub enum ReadTextError {
    #[error("not a regular file")]
    NotAFile,
    #[error("larger than 1 MiB")]
    TooLarge,
    #[error("line {line}, column {column} is not valid UTF-8")]
    NotText { line: usize, column: usize },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Why a team file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadTeamError {
    #[error("there is no file {0}")]
    Missing(String),
    #[error("cannot read {0}")]
    Unreadable(String, #[source] ReadTextError),
    #[error("cannot determine the project directory of {file}")]
    Project {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the team file has {} faults", .0.len())]
    Faults(Vec<Fault>),
}

/// Finds the team file of `directory`. If there is none, finds the team file of the nearest parent directory that has
/// one.
pub fn find(directory: &Path) -> Option<PathBuf> {
    let candidates = directory
        .ancestors()
        .map(|ancestor| ancestor.join(DIRECTORY).join(FILE));
    candidates.into_iter().find(|file| file.exists())
}

/// Opens a team file. Returns its name for messages, its text, and its project.
pub(super) fn open(file: &Path, here: &Path) -> Result<(String, String, PathBuf), LoadTeamError> {
    let shown = file
        .strip_prefix(here)
        .unwrap_or(file)
        .display()
        .to_string();
    let text = match read_text(file) {
        Ok(text) => text,
        Err(ReadTextError::Io(error)) if error.kind() == ErrorKind::NotFound => {
            return Err(LoadTeamError::Missing(shown));
        }
        Err(error) => return Err(LoadTeamError::Unreadable(shown, error)),
    };
    let project = project_of(file).map_err(|source| LoadTeamError::Project {
        file: shown.clone(),
        source,
    })?;
    Ok((shown, text, project))
}

/// The project of a team file: the parent of `.agent-team`, or the directory of a file that is not in `.agent-team`.
fn project_of(file: &Path) -> std::io::Result<PathBuf> {
    let file = file.canonicalize()?;
    let directory = file.parent().unwrap_or(&file);
    let project = match directory.file_name() {
        Some(name) if name == DIRECTORY => directory.parent().unwrap_or(directory),
        Some(_) | None => directory,
    };
    Ok(project.to_owned())
}

/// Reads a regular UTF-8 file of at most [`FILE_MAX`] bytes.
pub(super) fn read_text(path: &Path) -> Result<String, ReadTextError> {
    // Check before opening: opening a FIFO would block until a writer opens it.
    if !path.metadata()?.is_file() {
        return Err(ReadTextError::NotAFile);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(ReadTextError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let (line, column) = position(&String::from_utf8_lossy(valid), valid.len());
        ReadTextError::NotText { line, column }
    })
}

/// Parses the text of a TOML file.
///
/// # Errors
/// The syntax errors, at most one for each line.
pub(super) fn parse_toml<'a>(
    source: &Source<'_>,
    text: &'a str,
) -> Result<toml::Spanned<DeTable<'a>>, Vec<Fault>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(document);
    }
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        source.fault(at, error.message());
    }
    let mut faults = source.take_faults();
    // A single typing error can cause several parser errors in one line; keep the first.
    faults.dedup_by_key(|fault| fault.line);
    Err(faults)
}

/// Reads a file of the user, which may be absent, and returns the faults of the file. A file that cannot be read is a
/// fault: otherwise its `deny` rules would not be enforced.
pub(super) fn read_user_file(
    file: &Path,
    read: impl FnOnce(&Source<'_>, &mut Table<'_>),
) -> Vec<Fault> {
    let shown = file.display().to_string();
    let text = match read_text(file) {
        Ok(text) => text,
        Err(ReadTextError::Io(error)) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let source = Source::new(shown, "");
            source.fault(0, with_causes(&error));
            return source.into_faults();
        }
    };
    let source = Source::new(shown, &text);
    match DeTable::parse(&text) {
        Ok(document) => {
            let mut root = Table::new(&source, document.get_ref(), Level::Root, 0);
            read(&source, &mut root);
        }
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            source.fault(at, error.message());
        }
    }
    source.into_faults()
}
