//! The programs as users get them: one file with four names, which are hard links. Called by `install`, `dist` and
//! `bench`. In debug builds, which `demo` and the tests use, the programs are four separate files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::install::Item;
use crate::run::cargo;

pub(crate) const NAMES: [&str; 4] = [
    "agent-team",
    "agent-teamd",
    "agent-teammate",
    "agent-teammate-native",
];

/// The package of all programs in one file, and the name of this file in the directory of a build.
const PACKAGE: &str = "agent-team-programs";

/// The limit for the installed files, in bytes.
const SIZE_LIMIT: u64 = 40_000_000;

/// The command that builds the programs with this profile.
pub(crate) fn build(profile: &str) -> Command {
    cargo(&[
        "build",
        "--profile",
        profile,
        "--bins",
        "--package",
        PACKAGE,
    ])
}

/// Whether this directory contains all programs in one file.
pub(crate) fn is_build(directory: &Path) -> bool {
    directory.join(PACKAGE).is_file()
}

/// Links the file of a build to the names of the programs, in the new directory `to`. Returns `to`.
pub(crate) fn name(build: &Path, to: PathBuf) -> Result<PathBuf> {
    fs::create_dir(&to).with_context(|| format!("cannot create {}", to.display()))?;
    let [first, others @ ..] = NAMES.map(|name| to.join(name));
    link(&build.join(PACKAGE), &first)?;
    for other in others {
        link(&first, &other)?;
    }
    Ok(to)
}

/// Makes a hard link, or a copy where hard links are impossible, such as between file systems.
fn link(file: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(file, to).is_err() {
        copy(file, to)?;
    }
    Ok(())
}

fn copy(file: &Path, to: &Path) -> Result<()> {
    fs::copy(file, to)
        .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    Ok(())
}

/// Writes `item` to the new file `to`. If the content of an item in `done` is equal, `to` becomes a hard link to the
/// file of that item below `root`.
pub(crate) fn place(item: &Item, done: &[Item], root: &Path, to: &Path) -> Result<()> {
    match equal_item(item, done)? {
        Some(equal) => link(&root.join(&equal.to), to),
        None => copy(&item.from, to),
    }
}

/// The first of these items whose content is equal. Compares contents, because programs that were copied without their
/// hard links are four files.
fn equal_item<'a>(item: &Item, items: &'a [Item]) -> Result<Option<&'a Item>> {
    for other in items {
        if is_equal(&item.from, &other.from)? {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

fn is_equal(one: &Path, other: &Path) -> Result<bool> {
    let cannot = |path: &Path| format!("cannot read {}", path.display());
    let first = fs::metadata(one).with_context(|| cannot(one))?;
    let second = fs::metadata(other).with_context(|| cannot(other))?;
    if (first.dev(), first.ino()) == (second.dev(), second.ino()) {
        return Ok(true);
    }
    Ok(first.len() == second.len()
        && fs::read(one).with_context(|| cannot(one))?
            == fs::read(other).with_context(|| cannot(other))?)
}

/// Fails if the installed items exceed the size limit.
pub(crate) fn check_size(items: &[Item]) -> Result<()> {
    let mut size = 0;
    for (at, item) in items.iter().enumerate() {
        if equal_item(item, &items[..at])?.is_none() {
            size += fs::metadata(&item.from)?.len();
        }
    }
    ensure!(
        size <= SIZE_LIMIT,
        "the files have {} MB, more than the limit of {} MB (SIZE_LIMIT in xtask/src/programs.rs): \
         make the programs smaller, or raise the limit",
        megabytes(size),
        megabytes(SIZE_LIMIT)
    );
    Ok(())
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_gets_the_names_of_all_programs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(!is_build(path));
        fs::write(path.join(PACKAGE), "the programs").unwrap();
        assert!(is_build(path));
        let named = name(path, path.join("named")).unwrap();
        for name in NAMES {
            assert_eq!(fs::metadata(named.join(name)).unwrap().nlink(), 5);
        }
    }

    #[test]
    fn the_size_limit_counts_each_file_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let file = |name: &str, size| {
            let from = path.join(name);
            // Create files that have a size but occupy no disk space.
            fs::File::create(&from).unwrap().set_len(size).unwrap();
            let to = name.to_owned();
            Item { from, to }
        };
        let mut items = vec![file("a", SIZE_LIMIT - 1)];
        let second = path.join("b");
        fs::hard_link(&items[0].from, &second).unwrap();
        items.push(Item {
            from: second,
            to: "b".to_owned(),
        });
        check_size(&items).unwrap();
        items.push(file("c", 2));
        let error = check_size(&items).unwrap_err().to_string();
        assert!(
            error.contains("41 MB, more than the limit of 40 MB"),
            "{error}"
        );
    }
}
