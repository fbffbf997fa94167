//! Decides which files a walk skips because git ignores them. Reads the ignore files through directory descriptors.
//! Called by `walk`.
//!
//! The rules of the `ignore` crate apply. Precedence, highest first: `.ignore`, `.gitignore`, `.git/info/exclude`, the
//! user's global file; among files of one kind, the nearest file. A repository within another repository does not
//! inherit the outer `.gitignore`. The crate itself opens these files by path and blocks on a pipe. Therefore only its
//! matcher is used here: an ignore file that is not a regular file, or larger than [`SIZE_MAX`], is skipped.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use agent_team_system::beneath::{Beneath, directory_at, regular_at};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use rustix::fs::AtFlags;

/// The largest ignore file that is read, in bytes. Typical files have dozens of lines; millions of lines take minutes
/// to compile.
const SIZE_MAX: u64 = 256 << 10;

/// The entries of a directory that [`Level::of`] checks.
pub(super) const IGNORE_FILES: [&str; 3] = [".ignore", ".gitignore", ".git"];

/// The ignore rules that apply in the current directory of a walk: one level per directory, the outermost first.
#[derive(Debug)]
pub(super) struct Ignored {
    levels: Vec<Option<Level>>,
    /// The user's own `core.excludesFile`.
    global: Gitignore,
}

/// The ignore files of one directory.
#[derive(Debug)]
pub(super) struct Level {
    ignore: Gitignore,
    git: Gitignore,
    exclude: Gitignore,
    is_repository: bool,
}

impl Ignored {
    /// Reads the ignore files of the directories above the project, up to the root of the repository that contains it.
    /// Reads none if the project is a repository itself, or not part of one.
    pub(super) fn around(project: &Path) -> Ignored {
        let mut around = Vec::new();
        let is_repository = |directory: &Path| directory.join(".git").symlink_metadata().is_ok();
        if !is_repository(project) {
            let above: Vec<&Path> = project.ancestors().skip(1).collect();
            let repository = above.iter().position(|directory| is_repository(directory));
            let above = repository.map_or(&above[..0], |at| &above[..=at]);
            for directory in above.iter().rev() {
                let opened = Beneath::new(directory).and_then(|root| root.directory(Path::new("")));
                around.push(
                    opened
                        .ok()
                        .and_then(|opened| Level::of(&opened, &IGNORE_FILES, directory)),
                );
            }
        }
        Ignored {
            levels: around,
            global: GitignoreBuilder::new(project).build_global().0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    /// Adds the level of a directory: `None` for a directory without ignore files.
    pub(super) fn push(&mut self, level: Option<Level>) {
        self.levels.push(level);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.levels.truncate(len);
    }

    pub(super) fn covers(&self, path: &Path, is_dir: bool) -> bool {
        let (mut ignore, mut git, mut exclude) = (
            ignore::Match::None,
            ignore::Match::None,
            ignore::Match::None,
        );
        let mut left_repository = false;
        for level in self.levels.iter().rev().flatten() {
            if ignore.is_none() {
                ignore = level.ignore.matched(path, is_dir);
            }
            if git.is_none() && !left_repository {
                git = level.git.matched(path, is_dir);
            }
            if exclude.is_none() && !left_repository {
                exclude = level.exclude.matched(path, is_dir);
            }
            left_repository |= level.is_repository;
        }
        let global = || self.global.matched(path, is_dir);
        let local = ignore.or(git).or(exclude);
        match local.is_none() {
            true => global().is_ignore(),
            false => local.is_ignore(),
        }
    }
}

impl Level {
    /// Reads the existing files of `names` in `opened`, which is the directory at the path `directory`. Returns `None`
    /// if the directory contains no rules and is not a repository.
    pub(super) fn of(opened: &OwnedFd, names: &[&str], directory: &Path) -> Option<Level> {
        let read = |name: &str| match names.contains(&name) {
            true => matcher(directory, regular_at(opened, name).ok()),
            false => Gitignore::empty(),
        };
        let exclude = || {
            let git = directory_at(opened, ".git").ok()?;
            let file = git.regular(Path::new("info/exclude")).ok();
            Some(matcher(directory, file))
        };
        let is_repository = names.contains(&".git")
            && rustix::fs::statat(opened, ".git", AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let level = Level {
            ignore: read(".ignore"),
            git: read(".gitignore"),
            exclude: is_repository
                .then(exclude)
                .flatten()
                .unwrap_or_else(Gitignore::empty),
            is_repository,
        };
        let is_empty = level.ignore.is_empty() && level.git.is_empty() && !is_repository;
        (!is_empty).then_some(level)
    }
}

fn matcher(directory: &Path, file: Option<File>) -> Gitignore {
    let mut text = Vec::new();
    let read = file.and_then(|file| file.take(SIZE_MAX + 1).read_to_end(&mut text).ok());
    if read.is_none() || text.len() as u64 > SIZE_MAX {
        return Gitignore::empty();
    }
    let mut builder = GitignoreBuilder::new(directory);
    let text = String::from_utf8_lossy(&text);
    for line in text.trim_start_matches('\u{feff}').lines() {
        // Like git, skip a pattern that does not parse.
        let _unparsed = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
