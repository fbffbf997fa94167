//! `cargo xtask install` and `uninstall`: what is placed is written down first, and only that is ever taken away.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::{cargo, check, dev_binaries, output};

/// Each program and the package that makes it.
const BINARIES: [(&str, &str); 4] = [
    ("agent-team", "agent-team-cli"),
    ("agent-teamd", "agent-team-supervisor"),
    ("agent-teammate", "agent-team-teammate"),
    ("agent-teammate-native", "agent-team-teammate"),
];

/// Which shell reads its completions from where, below the prefix.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/agent-team"),
    ("fish", "share/fish/vendor_completions.d/agent-team.fish"),
    ("zsh", "share/zsh/site-functions/_agent-team"),
];

/// The list of what we placed, directories too: one path a line, relative to the prefix.
const MANIFEST: &str = "share/agent-team/installed";

/// A file to be placed, by its path below the prefix.
struct Item {
    from: PathBuf,
    to: String,
}

pub(crate) fn install(prefix: Option<PathBuf>) -> Result<()> {
    let prefix = prefix_or_default(prefix)?;
    let mut build = cargo(&["build", "--release", "--bins"]);
    for (_, package) in BINARIES {
        build.args(["--package", package]);
    }
    check(&mut build)?;
    let stage = tempfile::tempdir().context("cannot make a directory")?;
    let built = dev_binaries()?.with_file_name("release");
    let items = gather(&built, stage.path())?;
    place(&prefix, &items)?;
    println!(
        "installed below {}; `cargo xtask uninstall` takes it away",
        prefix.display()
    );
    let bin = prefix.join("bin");
    if !std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir == bin) {
        println!("{} is not in your PATH yet", bin.display());
    }
    println!(
        "a supervisor that is running goes on with its old build until: agent-team supervisor restart"
    );
    Ok(())
}

pub(crate) fn uninstall(prefix: Option<PathBuf>) -> Result<()> {
    let prefix = prefix_or_default(prefix)?;
    for path in take_away(&prefix)? {
        println!("removed {}", prefix.join(path).display());
    }
    Ok(())
}

fn prefix_or_default(prefix: Option<PathBuf>) -> Result<PathBuf> {
    let prefix = match prefix {
        Some(prefix) => prefix,
        None => {
            PathBuf::from(std::env::var_os("HOME").context("no HOME: say where with --prefix")?)
                .join(".local")
        }
    };
    std::path::absolute(&prefix)
        .with_context(|| format!("cannot tell where {} is", prefix.display()))
}

/// The binaries as built; what they say about themselves goes to `stage`.
fn gather(built: &Path, stage: &Path) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = BINARIES
        .iter()
        .map(|(name, _)| Item {
            from: built.join(name),
            to: format!("bin/{name}"),
        })
        .collect();
    let program = built.join("agent-team");
    let pages = stage.join("man");
    fs::create_dir(&pages)?;
    // What it says of where they are now is of no use to anybody.
    output(Command::new(&program).args(["man", "--out"]).arg(&pages))?;
    for page in fs::read_dir(&pages)? {
        let page = page?;
        let name = page
            .file_name()
            .into_string()
            .ok()
            .context("a man page has an unreadable name")?;
        items.push(Item {
            from: page.path(),
            to: format!("share/man/man1/{name}"),
        });
    }
    for (shell, to) in COMPLETIONS {
        let from = stage.join(shell);
        fs::write(
            &from,
            output(Command::new(&program).args(["completions", shell]))?,
        )?;
        items.push(Item {
            from,
            to: to.to_owned(),
        });
    }
    Ok(items)
}

/// Puts the items in place, over what an earlier install placed and over nothing else.
fn place(prefix: &Path, items: &[Item]) -> Result<()> {
    let before = read_manifest(prefix)?;
    for item in items {
        let to = prefix.join(&item.to);
        let ours = before.contains(&item.to) || !to.try_exists()?;
        ensure!(
            ours,
            "{} is there and not from us: nothing was changed",
            to.display()
        );
    }
    let mut now: BTreeSet<String> = items.iter().map(|item| item.to.clone()).collect();
    now.extend(before.iter().filter(|path| is_directory(path)).cloned());
    now.extend(missing_directories(prefix, &now)?);
    // Both until the old ones are gone, so that a crash in between leaves nothing that uninstall does not know.
    write_manifest(prefix, &before.union(&now).cloned().collect())?;
    for item in items {
        let to = prefix.join(&item.to);
        fs::create_dir_all(to.parent().context("every item has a directory")?)?;
        // A running program cannot be written over, but its name can be given to another file.
        let beside = to.with_extension("agent-team-new");
        fs::copy(&item.from, &beside).with_context(|| format!("cannot place {}", to.display()))?;
        fs::rename(&beside, &to).with_context(|| format!("cannot place {}", to.display()))?;
    }
    for old in before.difference(&now) {
        remove(prefix, old)?;
    }
    write_manifest(prefix, &now)
}

/// The directories that these files need and that are not there yet.
fn missing_directories(prefix: &Path, files: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut missing = BTreeSet::new();
    for file in files.iter().map(String::as_str).chain([MANIFEST]) {
        for (at, _) in file.match_indices('/') {
            if !prefix.join(&file[..at]).try_exists()? {
                missing.insert(file[..=at].to_owned());
            }
        }
    }
    Ok(missing)
}

/// The manifest writes directories with a slash at the end.
fn is_directory(path: &str) -> bool {
    path.ends_with('/')
}

/// Removes what the manifest lists, itself included, and gives the files that were there. A directory goes when nothing
/// of somebody else is in it.
fn take_away(prefix: &Path) -> Result<Vec<String>> {
    let listed = read_manifest(prefix)?;
    ensure!(
        !listed.is_empty(),
        "nothing is installed below {}",
        prefix.display()
    );
    let (directories, files): (Vec<String>, Vec<String>) =
        listed.into_iter().partition(|path| is_directory(path));
    let mut removed = Vec::new();
    for path in files {
        if remove(prefix, &path)? {
            removed.push(path);
        }
    }
    remove(prefix, MANIFEST)?;
    // In reverse, so that a directory comes before the one that it is in.
    for path in directories.iter().rev() {
        match fs::remove_dir(prefix.join(path)) {
            Ok(()) => {}
            Err(error)
                if [ErrorKind::DirectoryNotEmpty, ErrorKind::NotFound].contains(&error.kind()) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot remove {path}")),
        }
    }
    Ok(removed)
}

fn remove(prefix: &Path, path: &str) -> Result<bool> {
    match fs::remove_file(prefix.join(path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => {
            Err(error).with_context(|| format!("cannot remove {}", prefix.join(path).display()))
        }
    }
}

fn read_manifest(prefix: &Path) -> Result<BTreeSet<String>> {
    let manifest = prefix.join(MANIFEST);
    let text = match fs::read_to_string(&manifest) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| manifest.display().to_string()),
    };
    for path in text.lines() {
        let inside = Path::new(path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !inside {
            bail!(
                "{} lists {path}, which is not below it: nothing was changed",
                manifest.display()
            );
        }
    }
    Ok(text.lines().map(str::to_owned).collect())
}

fn write_manifest(prefix: &Path, paths: &BTreeSet<String>) -> Result<()> {
    let manifest = prefix.join(MANIFEST);
    fs::create_dir_all(manifest.parent().context("the manifest has a directory")?)?;
    let text: String = paths.iter().map(|path| format!("{path}\n")).collect();
    let beside = manifest.with_extension("new");
    fs::write(&beside, text).with_context(|| beside.display().to_string())?;
    fs::rename(&beside, &manifest).with_context(|| manifest.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prefix, and items that hold their own names.
    fn items(dir: &Path, names: &[&str]) -> Vec<Item> {
        names
            .iter()
            .map(|name| {
                let from = dir.join(name.replace('/', "_"));
                fs::write(&from, name).unwrap();
                Item {
                    from,
                    to: (*name).to_owned(),
                }
            })
            .collect()
    }

    fn files(prefix: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![prefix.to_path_buf()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(
                        path.strip_prefix(prefix)
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .to_owned(),
                    );
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn uninstall_takes_away_what_install_placed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::write(prefix.join("bin/theirs"), "").unwrap();
        place(
            &prefix,
            &items(dir.path(), &["bin/a", "share/man/man1/a.1"]),
        )
        .unwrap();
        assert_eq!(
            files(&prefix),
            ["bin/a", "bin/theirs", MANIFEST, "share/man/man1/a.1"]
        );
        assert_eq!(take_away(&prefix).unwrap(), ["bin/a", "share/man/man1/a.1"]);
        assert_eq!(files(&prefix), ["bin/theirs"]);
        assert!(!prefix.join("share").exists() && prefix.join("bin").exists());
        assert!(take_away(&prefix).is_err());
    }

    #[test]
    fn a_second_install_replaces_the_first_and_drops_what_it_no_longer_has() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        place(&prefix, &items(dir.path(), &["bin/a", "bin/old"])).unwrap();
        place(&prefix, &items(dir.path(), &["bin/a", "bin/new"])).unwrap();
        assert_eq!(files(&prefix), ["bin/a", "bin/new", MANIFEST]);
        take_away(&prefix).unwrap();
        assert_eq!(fs::read_dir(&prefix).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_somebody_else_stops_the_install_before_it_begins() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::write(prefix.join("bin/b"), "theirs").unwrap();
        assert!(place(&prefix, &items(dir.path(), &["bin/a", "bin/b"])).is_err());
        assert_eq!(files(&prefix), ["bin/b"]);
        assert_eq!(fs::read_to_string(prefix.join("bin/b")).unwrap(), "theirs");
    }

    #[test]
    fn a_manifest_that_points_outside_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        place(&prefix, &items(dir.path(), &["bin/a"])).unwrap();
        fs::write(dir.path().join("theirs"), "").unwrap();
        fs::write(prefix.join(MANIFEST), "bin/a\n../theirs\n").unwrap();
        assert!(take_away(&prefix).is_err());
        assert!(dir.path().join("theirs").exists() && prefix.join("bin/a").exists());
    }
}
