//! Finds the instruction files that agents receive in their system prompts: `AGENTS.md`, `CLAUDE.md` and `GEMINI.md` of
//! the project, of its parent directories and of the user, and the files that they import. Called when the team is
//! read; the members read the texts when they start.
//!
//! The project may be hostile. Each of its files must be a Markdown or text file within the repository, even after
//! symlinks are resolved, and the trust question lists each file.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agent_team_protocol::spec::InstructionFile;
use agent_team_protocol::text::visible_line;

use super::source::{Fault, Source};
use super::table::At;
use super::trust::git_config::{files_of_project, repository_around};

/// The names of instruction files. In a directory, a file is skipped if it has the same text as an earlier file.
const NAMES: [&str; 3] = ["AGENTS.md", "CLAUDE.md", "GEMINI.md"];

/// The files of other programs in the user's home directory.
const OF_HOME: [&str; 3] = [".codex/AGENTS.md", ".claude/CLAUDE.md", ".gemini/GEMINI.md"];

/// The extensions of files that can be instructions. Other files, such as `.env`, may contain secrets.
const EXTENSIONS: [&str; 5] = ["markdown", "md", "mdc", "rst", "txt"];

/// The maximum number of bytes of a file, and of all files of an agent, that a prompt contains.
const FILE_BYTES: u64 = 32 << 10;
const TOTAL_BYTES: u64 = 64 << 10;

/// The maximum number of files of the user, and of the project.
const MAX_FILES: usize = 16;

/// The maximum number of files that are read for the user, and for the project. A file that only imports other files is
/// read without being one of the [`MAX_FILES`].
const MAX_READ: usize = 4 * MAX_FILES;

/// The maximum number of warnings about the user's files, and about the project's files. Further warnings are dropped.
const MAX_WARNINGS: usize = 20;

/// The maximum number of imports between an instruction file and a file that it imports indirectly.
const MAX_DEPTH: usize = 5;

/// The value of the key `instructions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InstructionsKey {
    Off,
    /// All files that are found without the key.
    On,
    /// The user's files, and these files of the project.
    Files(Vec<FoundFile>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// The canonical path of the file.
    path: PathBuf,
    bytes: u64,
}

/// The instruction files of a user and of a project.
#[derive(Debug, Clone, Default)]
pub(super) struct FoundInstructions {
    own: Vec<FoundFile>,
    project: Vec<FoundFile>,
    /// The project's directory, and the user's home directory.
    directory: PathBuf,
    home: Option<PathBuf>,
    /// Reports about files and imports that are not loaded.
    pub(super) warnings: Vec<Fault>,
    /// Reports like `warnings`, for the directories of members below the project.
    warnings_below: RefCell<Vec<Fault>>,
}

impl FoundInstructions {
    /// Finds the files. `settings`: the directory of the user's settings; `None`: the user has no files.
    pub(super) fn find(project: &Path, settings: Option<&Path>, home: Option<&Path>) -> Self {
        let mut of_user = Search::new(project, None, home);
        if let Some(settings) = settings {
            let of_home = home
                .into_iter()
                .flat_map(|home| OF_HOME.map(|name| home.join(name)));
            let replacement = settings.join(NAMES[0]);
            match exists(&replacement) {
                true => of_user.add_alternatives([replacement]),
                false => of_user.add_alternatives(of_home),
            }
        }
        let directories = directories(project, home);
        let mut of_project = Search::new(project, directories.first().copied(), home);
        for directory in directories {
            of_project.add_alternatives(NAMES.map(|name| directory.join(name)));
        }
        let mut warnings = of_user.warnings;
        warnings.extend(of_project.warnings);
        Self {
            own: of_user.found,
            project: of_project.found,
            directory: project.to_owned(),
            home: home.map(Path::to_owned),
            warnings,
            warnings_below: RefCell::default(),
        }
    }

    /// The files of an agent with this key, from the lowest to the highest precedence. `cwd`: the canonical directory of
    /// a member.
    pub(super) fn of_agent(
        &self,
        key: Option<&InstructionsKey>,
        cwd: Option<&Path>,
    ) -> Vec<InstructionFile> {
        let below = match key {
            Some(InstructionsKey::Off | InstructionsKey::Files(_)) => Vec::new(),
            Some(InstructionsKey::On) | None => cwd.map(|cwd| self.below(cwd)).unwrap_or_default(),
        };
        let of_project = match key {
            Some(InstructionsKey::Off) => return Vec::new(),
            Some(InstructionsKey::Files(files)) => files,
            Some(InstructionsKey::On) | None => &self.project,
        };
        let of_project = of_project.iter().filter(|file| !self.own.contains(file));
        let mut remaining = TOTAL_BYTES;
        let mut files: Vec<InstructionFile> = Vec::new();
        // Start at the highest precedence, so that the limit cuts the files of the lowest precedence first.
        for file in self.own.iter().chain(of_project).chain(&below).rev() {
            let max_bytes = remaining.min(FILE_BYTES);
            remaining -= max_bytes.min(file.bytes);
            files.push(InstructionFile {
                path: file.path.clone(),
                max_bytes,
            });
        }
        files.reverse();
        files
    }

    /// The files of the directories below the project, down to `cwd`. They need trust as all files of the project do.
    fn below(&self, cwd: &Path) -> Vec<FoundFile> {
        if !cwd.starts_with(&self.directory) {
            return Vec::new();
        }
        let ancestors = cwd.ancestors();
        let mut below: Vec<_> = ancestors
            .take_while(|directory| *directory != self.directory)
            .collect();
        below.reverse();
        let home = self.home.as_deref();
        let root = directories(&self.directory, home).first().copied();
        let mut search = Search::new(&self.directory, root, home);
        let found = self.project.iter().map(|file| file.path.clone());
        search.seen.extend(found);
        for directory in below {
            search.add_alternatives(NAMES.map(|name| directory.join(name)));
        }
        let mut warnings = self.warnings_below.borrow_mut();
        for warning in search.warnings {
            // Several members can have the same directory.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        search.found
    }

    /// Takes the warnings about the directories of members.
    pub(super) fn take_warnings_below(&self) -> Vec<Fault> {
        self.warnings_below.take()
    }

    /// Whether the file is the user's own, so that it needs no trust.
    pub(super) fn is_own(&self, file: &InstructionFile) -> bool {
        self.own.iter().any(|own| own.path == file.path)
    }
}

/// Finds the files of a list in the team file or in a role, and the files that they import.
pub(super) fn of_list(source: &Source<'_>, names: &[At<&str>], project: &Path) -> InstructionsKey {
    let directories = directories(project, None);
    let mut search = Search::new(project, directories.first().copied(), None);
    for name in names {
        search.add(&project.join(name.value), None, 0, &mut Vec::new());
        for warning in std::mem::take(&mut search.warnings) {
            let Fault { file, message, .. } = warning;
            source.fault(name.at, format!("`instructions`: {file}: {message}"));
        }
    }
    InstructionsKey::Files(search.found)
}

/// The directories whose files apply to a project, the outermost first, down to the project. The first directory is the
/// root of the project's repository, or else the directory directly below the home directory. If the project is in
/// neither, it is the only directory.
fn directories<'a>(project: &'a Path, home: Option<&Path>) -> Vec<&'a Path> {
    let ancestors = project.ancestors();
    let mut directories: Vec<&Path> = match (repository_around(project), home) {
        (Some(top), _) => ancestors.take_while(|it| it.starts_with(top)).collect(),
        (None, Some(home)) if project.starts_with(home) && project != home => {
            ancestors.take_while(|it| *it != home).collect()
        }
        (None, _) => vec![project],
    };
    directories.reverse();
    directories
}

/// Whether a directory entry exists at the path, even if it cannot be read.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Why a file is not loaded.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it leads out of {}", .0.display())]
    Outside(PathBuf),
    #[error("it is in the project or its repository, whose files need trust")]
    InProject,
    #[error("it is not a Markdown or text file (.md, .mdc, .markdown, .rst, .txt)")]
    NotADocument,
    #[error("it is not a regular file")]
    NotAFile,
    #[error(transparent)]
    Io(#[from] io::Error),
}

struct Search<'a> {
    project: &'a Path,
    /// The directory that must contain all files. `None` for the user's own files.
    root: Option<&'a Path>,
    /// The directory that must contain no file of the user, because its files need trust.
    untrusted: &'a Path,
    home: Option<&'a Path>,
    /// The canonical paths of all files that were read, so that cycles of imports end.
    seen: BTreeSet<PathBuf>,
    found: Vec<FoundFile>,
    warnings: Vec<Fault>,
}

/// The position of an import, and the path as written.
#[derive(Debug, Clone, Copy)]
struct Import<'a> {
    file: &'a Path,
    line: usize,
    target: &'a str,
}

impl<'a> Search<'a> {
    fn new(project: &'a Path, root: Option<&'a Path>, home: Option<&'a Path>) -> Self {
        Self {
            project,
            root,
            untrusted: files_of_project(project, home),
            home,
            seen: BTreeSet::new(),
            found: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds the files that exist. Skips a file with the same text as an earlier file.
    fn add_alternatives(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut texts = Vec::new();
        for path in paths {
            if exists(&path) {
                self.add(&path, None, 0, &mut texts);
            }
        }
    }

    /// Adds a file and the files that it imports, unless `texts` contains the text of the file.
    fn add(
        &mut self,
        path: &Path,
        import: Option<Import<'_>>,
        depth: usize,
        texts: &mut Vec<String>,
    ) {
        let canonical = match self.check(path) {
            Ok(canonical) => canonical,
            Err(why) => return self.warn(path, import, &why.to_string()),
        };
        if self.seen.contains(&canonical) {
            return;
        }
        if self.found.len() >= MAX_FILES {
            let why = format!("there are more than {MAX_FILES} instruction files");
            return self.warn(path, import, &why);
        }
        if self.seen.len() >= MAX_READ {
            let why = format!("there are more than {MAX_READ} files with imports");
            return self.warn(path, import, &why);
        }
        self.seen.insert(canonical.clone());
        let (text, bytes) = match read(&canonical) {
            Ok(read) => read,
            Err(error) => return self.warn(path, import, &error.to_string()),
        };
        if texts.iter().any(|known| known.trim() == text.trim()) {
            return;
        }
        let imports = imports(&text);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        if lines.count() > imports.len() {
            self.found.push(FoundFile {
                path: canonical.clone(),
                bytes,
            });
        }
        for (line, target) in imports.into_iter().take(MAX_READ) {
            let import = Import {
                file: &canonical,
                line,
                target,
            };
            if depth == MAX_DEPTH {
                let why = format!("imports are nested more than {MAX_DEPTH} levels deep");
                self.warn(&canonical, Some(import), &why);
                continue;
            }
            match self.resolve(&canonical, target) {
                Ok(path) => self.add(&path, Some(import), depth + 1, &mut Vec::new()),
                Err(why) => self.warn(&canonical, Some(import), &why.to_string()),
            }
        }
        texts.push(text);
    }

    /// The path that an import names. Only a file of the user may import a path with `~/`.
    fn resolve(&self, file: &Path, target: &str) -> Result<PathBuf, Unusable> {
        let directory = file.parent().unwrap_or(file);
        match (target.strip_prefix("~/"), self.root, self.home) {
            (None, ..) => Ok(directory.join(target)),
            (Some(rest), None, Some(home)) => Ok(home.join(rest)),
            (Some(_), Some(root), _) => Err(Unusable::Outside(root.to_owned())),
            (Some(_), None, None) => Err(Unusable::NotAFile),
        }
    }

    /// Resolves a path, and checks the file without opening it: opening a FIFO would block.
    fn check(&self, path: &Path) -> Result<PathBuf, Unusable> {
        let canonical = path.canonicalize()?;
        if let Some(root) = self.root.filter(|root| !canonical.starts_with(root)) {
            return Err(Unusable::Outside(root.to_owned()));
        }
        if self.root.is_none() && canonical.starts_with(self.untrusted) {
            return Err(Unusable::InProject);
        }
        let extension = canonical.extension().and_then(|name| name.to_str());
        let extension = extension.map(str::to_lowercase).unwrap_or_default();
        if !EXTENSIONS.contains(&extension.as_str()) {
            return Err(Unusable::NotADocument);
        }
        match canonical.metadata()?.is_file() {
            true => Ok(canonical),
            false => Err(Unusable::NotAFile),
        }
    }

    fn warn(&mut self, path: &Path, import: Option<Import<'_>>, why: &str) {
        if self.warnings.len() == MAX_WARNINGS {
            return;
        }
        let (file, line, message) = match import {
            Some(Import { file, line, target }) => {
                let target = visible_line(target).into_owned();
                (file, line, format!("cannot import {target}: {why}"))
            }
            None => (path, 1, format!("cannot use the instructions: {why}")),
        };
        let file = file.strip_prefix(self.project).unwrap_or(file);
        self.warnings.push(Fault {
            file: file.display().to_string(),
            line,
            column: 1,
            message,
            hint: None,
        });
    }
}

/// Reads the beginning of a file that [`Search::check`] accepted. Also returns the size of the whole file.
fn read(path: &Path) -> io::Result<(String, u64)> {
    let file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), size))
}

/// The lines `@path` outside code blocks, with their line numbers. Such a line may be an item of a list. A name without
/// a dot or a slash, such as `@alice`, is not an import.
fn imports(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut imports = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            is_code = !is_code;
        }
        let item = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
        let target = item.unwrap_or(line).trim().strip_prefix('@');
        let is_path =
            |target: &&str| target.contains(['.', '/']) && !target.contains(char::is_whitespace);
        imports.extend(
            target
                .filter(is_path)
                .filter(|_| !is_code)
                .map(|it| (number, it)),
        );
    }
    imports
}

#[cfg(test)]
mod tests;
