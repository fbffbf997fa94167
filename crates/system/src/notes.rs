//! The notes of a team, of its project and of its user: one Markdown file per note, in one directory per level. Called
//! by the tools of agents and by the command line. Decides no permission.
//!
//! The project's directory can come from a hostile repository. So each file is opened below the directory of its level
//! without following a symlink, and only a regular file of limited size is read. A note is replaced as a whole:
//! temporary file, sync, rename. Writers of one level exclude each other by a lock of its directory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use agent_team_protocol::note::{NOTE_MAX, NOTES_MAX, NoteLevel, NoteName, PROJECT_NOTES};
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath::{Beneath, regular_at};
use crate::directories::Directories;
use crate::path::resolve;
use crate::random;

/// The directory of notes in the state of a team and in the user's settings.
const DIRECTORY: &str = "notes";

/// Prefix of the name of a temporary file.
const TEMPORARY: &str = ".note-";

/// Maximum number of entries that are read of a directory.
const ENTRIES_MAX: usize = 4096;

/// How long a writer waits for another writer. Any process that can read a directory can lock it.
const LOCK_LIMIT: Duration = Duration::from_secs(2);

const LOCK_POLL: Duration = Duration::from_millis(10);

/// Where the notes of each level are. The default value has no levels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// The team's state directory. `None`: there is no team.
    pub team: Option<PathBuf>,
    /// The directory of the project.
    pub project: Option<PathBuf>,
    /// The directory of the user's settings, resolved.
    pub user: Option<PathBuf>,
    /// The path by which the user knows this directory, if it leads through a link. Rules can name either path.
    pub user_link: Option<PathBuf>,
}

/// A note as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub text: String,
    pub modified: SystemTime,
}

/// The names of the notes at one level, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// At most [`NOTES_MAX`] names.
    pub names: Vec<NoteName>,
    /// The number of Markdown files with an invalid name, and of notes above the limit.
    pub ignored: usize,
}

/// Why a note cannot be read or changed. The text completes "cannot read the note X: ".
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    #[error("the team has not been started yet")]
    NoTeam,
    #[error("there is no directory for notes of this level")]
    NoLevel,
    #[error("it or a directory above it is a symbolic link")]
    Link,
    #[error("{0} is not a directory")]
    NotADirectory(String),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it is larger than {} KiB", NOTE_MAX >> 10)]
    TooLarge,
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("it is empty")]
    Empty,
    #[error("there are {NOTES_MAX} notes of this level already")]
    TooMany,
    #[error("it has changed meanwhile")]
    Changed,
    #[error("another program is changing the notes of this level")]
    Busy,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for NoteError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP => NoteError::Link,
            // `EINVAL`: `Beneath` refuses another type of file. `ENXIO`: a socket, or a device without a driver.
            Errno::INVAL | Errno::NXIO => NoteError::NotAFile,
            error => NoteError::Io(error.into()),
        }
    }
}

impl Notes {
    /// The notes that the user and the members of a team share. `team`: the id of the team. `project` is canonical.
    pub fn new(directories: &Directories, team: Option<&str>, project: &Path) -> Self {
        // The directory of the settings may be a link of the user, for example into a repository of such files.
        let named = &directories.config;
        let config = resolve(named).unwrap_or_else(|_| named.clone());
        Self {
            team: team.map(|team| directories.team(team)),
            project: Some(project.to_owned()),
            user_link: (config != *named).then(|| named.clone()),
            user: Some(config),
        }
    }

    /// The resolved path of a note's file. `None`: the level has no directory.
    pub fn path(&self, level: NoteLevel, name: &NoteName) -> Option<PathBuf> {
        let (base, relative) = self.place(level).ok()?;
        Some(base.join(relative).join(name.file()))
    }

    /// The path of a note's file as the user knows it. It differs from [`Notes::path`] if the user's settings are
    /// behind a link.
    pub fn known_path(&self, level: NoteLevel, name: &NoteName) -> Option<PathBuf> {
        match (level, &self.user, &self.user_link) {
            (NoteLevel::User, Some(_), Some(link)) => Some(link.join(DIRECTORY).join(name.file())),
            (NoteLevel::Team | NoteLevel::Project | NoteLevel::User, ..) => self.path(level, name),
        }
    }

    /// A base directory, and the relative path from it to the level's directory.
    fn place(&self, level: NoteLevel) -> Result<(&Path, &'static str), NoteError> {
        match level {
            NoteLevel::Team => Ok((self.team.as_deref().ok_or(NoteError::NoTeam)?, DIRECTORY)),
            NoteLevel::Project => {
                let project = self.project.as_deref().ok_or(NoteError::NoLevel)?;
                Ok((project, PROJECT_NOTES))
            }
            NoteLevel::User => Ok((self.user.as_deref().ok_or(NoteError::NoLevel)?, DIRECTORY)),
        }
    }

    /// The names of the notes at a level; none if its directory does not exist.
    ///
    /// # Errors
    /// The directory cannot be read, or is a link.
    pub fn names(&self, level: NoteLevel) -> Result<Names, NoteError> {
        match self.directory(level)? {
            Some(directory) => names_in(&directory),
            None => Ok(Names::default()),
        }
    }

    /// The names of the notes at all levels, sorted. A level that cannot be read adds none.
    pub fn all_names(&self) -> Vec<NoteName> {
        let of_levels = NoteLevel::ALL.map(|level| self.names(level).unwrap_or_default().names);
        let mut names = of_levels.concat();
        names.sort();
        names.dedup();
        names
    }

    /// The levels that have a note of this name, readable or not.
    pub fn levels_of(&self, name: &NoteName) -> Vec<NoteLevel> {
        let has = |level: &NoteLevel| {
            let directory = self.directory(*level).ok().flatten();
            directory.is_some_and(|directory| exists(&directory, &name.file()))
        };
        NoteLevel::ALL.into_iter().filter(has).collect()
    }

    /// Reads a note. `None`: the note does not exist.
    ///
    /// # Errors
    /// The note is a link, is not a regular file, is too large or is not text; or it cannot be read.
    pub fn read(&self, level: NoteLevel, name: &NoteName) -> Result<Option<Note>, NoteError> {
        match self.directory(level)? {
            Some(directory) => read_in(&directory, name),
            None => Ok(None),
        }
    }

    /// Writes a note if its text is still `old`, or if `old` is `None` and the note does not exist.
    ///
    /// # Errors
    /// The text is empty or too large, the note has another text now, the level has too many notes, another program
    /// holds the lock, or the file cannot be written.
    pub fn write(
        &self,
        level: NoteLevel,
        name: &NoteName,
        old: Option<&str>,
        text: &str,
    ) -> Result<(), NoteError> {
        check(text)?;
        let directory = self.make(level)?;
        let _lock = lock(&directory)?;
        remove_temporary(&directory)?;
        let now = read_in(&directory, name)?;
        if now.as_ref().map(|note| note.text.as_str()) != old {
            return Err(NoteError::Changed);
        }
        if now.is_none() && names_in(&directory)?.names.len() >= NOTES_MAX {
            return Err(NoteError::TooMany);
        }
        let mode = match level {
            NoteLevel::Team | NoteLevel::User => 0o600,
            NoteLevel::Project => 0o666,
        };
        let temporary = format!("{TEMPORARY}{}", random::id());
        let written = write_new(&directory, &temporary, mode, text).and_then(|()| {
            rustix::fs::renameat(&directory, &temporary, &directory, name.file())?;
            Ok(rustix::fs::fsync(&directory)?)
        });
        if written.is_err() {
            // The temporary file may not exist. Report the first error.
            let _removed = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
        }
        written
    }

    /// Removes a note if its text is still `old`. If `old` is `None`, removes the note without reading it. Returns
    /// whether the note existed.
    ///
    /// # Errors
    /// The file cannot be removed, is a directory, or does not have the text `old`; or another program holds the lock.
    pub fn remove(
        &self,
        level: NoteLevel,
        name: &NoteName,
        old: Option<&str>,
    ) -> Result<bool, NoteError> {
        let Some(directory) = self.directory(level)? else {
            return Ok(false);
        };
        let _lock = lock(&directory)?;
        if old.is_some() {
            let now = read_in(&directory, name)?;
            if now.as_ref().map(|note| note.text.as_str()) != old {
                return Err(NoteError::Changed);
            }
        }
        match rustix::fs::unlinkat(&directory, name.file(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            // For a directory, Linux returns `EISDIR` and macOS `EPERM`.
            Err(Errno::ISDIR | Errno::PERM) => Err(NoteError::NotAFile),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the level's directory. `None`: the directory does not exist.
    fn directory(&self, level: NoteLevel) -> Result<Option<OwnedFd>, NoteError> {
        let (base, relative) = match self.place(level) {
            Ok(place) => place,
            Err(_) => return Ok(None),
        };
        let opened = Beneath::new(base).and_then(|base| base.directory(Path::new(relative)));
        match opened {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(of_directory(error, base, relative)),
        }
    }

    /// Opens the level's directory, and creates it if it does not exist.
    fn make(&self, level: NoteLevel) -> Result<OwnedFd, NoteError> {
        let (base, relative) = self.place(level)?;
        let mode = match level {
            NoteLevel::Team | NoteLevel::User => 0o700,
            NoteLevel::Project => 0o777,
        };
        if level == NoteLevel::User {
            create_private(base)?;
        }
        let opened = Beneath::new(base)
            .and_then(|base| base.make_directory(Path::new(relative), Mode::from(mode)));
        opened.map_err(|error| match (error, level) {
            // The supervisor creates the team's directory at the first start of the team.
            (Errno::NOENT, NoteLevel::Team) => NoteError::NoTeam,
            _ => of_directory(error, base, relative),
        })
    }
}

/// The first line that is not blank; empty if there is none.
pub fn first_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| !line.is_empty()).unwrap_or_default()
}

/// The text `old` with `more` at its end. The result ends with a line feed.
pub fn extended(old: &str, more: &str) -> String {
    let (old, more) = (old.trim_end(), more.trim_end());
    match old.is_empty() {
        true => format!("{more}\n"),
        false => format!("{old}\n{more}\n"),
    }
}

/// Creates the directory of the user's settings if it does not exist.
fn create_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}

fn of_directory(error: Errno, base: &Path, relative: &str) -> NoteError {
    match error {
        // The component is a symlink or a file: opening by component reports both as ENOTDIR.
        Errno::NOTDIR => NoteError::NotADirectory(base.join(relative).display().to_string()),
        error => error.into(),
    }
}

fn check(text: &str) -> Result<(), NoteError> {
    if text.trim().is_empty() {
        return Err(NoteError::Empty);
    }
    match text.len() > NOTE_MAX {
        true => Err(NoteError::TooLarge),
        false => Ok(()),
    }
}

fn exists(directory: &OwnedFd, file: &str) -> bool {
    rustix::fs::statat(directory, file, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn names_in(directory: &OwnedFd) -> Result<Names, NoteError> {
    let mut found = Names::default();
    for entry in Dir::read_from(directory)?.take(ENTRIES_MAX) {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy();
        match NoteName::of_file(&file) {
            Some(name) => found.names.push(name),
            None => found.ignored += usize::from(file.ends_with(".md")),
        }
    }
    found.names.sort();
    found.ignored += found.names.len().saturating_sub(NOTES_MAX);
    found.names.truncate(NOTES_MAX);
    Ok(found)
}

/// Removes the temporary files of writers that were killed. The caller holds the lock, so no writer uses one of them.
fn remove_temporary(directory: &OwnedFd) -> Result<(), NoteError> {
    for entry in Dir::read_from(directory)?.take(ENTRIES_MAX) {
        let entry = entry?;
        if entry
            .file_name()
            .to_bytes()
            .starts_with(TEMPORARY.as_bytes())
        {
            // A directory of this name, or a file that another user owns, does not keep the note from being written.
            let _removed = rustix::fs::unlinkat(directory, entry.file_name(), AtFlags::empty());
        }
    }
    Ok(())
}

fn read_in(directory: &OwnedFd, name: &NoteName) -> Result<Option<Note>, NoteError> {
    let file = match regular_at(directory, &name.file()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let modified = file.metadata()?.modified()?;
    let mut bytes = Vec::new();
    file.take(NOTE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > NOTE_MAX {
        return Err(NoteError::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
    Ok(Some(Note { text, modified }))
}

fn write_new(directory: &OwnedFd, name: &str, mode: u32, text: &str) -> Result<(), NoteError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(directory, name, flags, Mode::from(mode))?;
    let mut file = File::from(opened);
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// Locks a directory until the result is dropped.
fn lock(directory: &OwnedFd) -> Result<OwnedFd, NoteError> {
    // A lock belongs to an open file description; a new description excludes other threads of this process too.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        match rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(opened),
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => {
                thread::sleep(LOCK_POLL);
            }
            Err(Errno::AGAIN | Errno::INTR) => return Err(NoteError::Busy),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
