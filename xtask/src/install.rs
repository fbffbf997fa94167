//! `cargo xtask install` and `uninstall`. Install records its files in a manifest before it writes them; uninstall
//! removes only files of the manifest.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::{built, check, output};
use crate::{dist, programs};

/// The path of the completions of each shell, below the prefix.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/agent-team"),
    ("fish", "share/fish/vendor_completions.d/agent-team.fish"),
    ("zsh", "share/zsh/site-functions/_agent-team"),
];

/// The manifest of installed files and directories: one path per line, relative to the prefix.
const MANIFEST: &str = "share/agent-team/installed";

/// The list of SHA-256 sums in an archive of `dist`.
pub(crate) const SUMS: &str = "share/doc/agent-team/SHA256SUMS";

/// The origin of the programs.
#[derive(Debug)]
pub(crate) enum Source {
    /// A build with this profile.
    Profile(&'static str),
    /// A directory with the programs, or with `bin/`.
    Prebuilt(PathBuf),
}

impl Source {
    /// Builds the programs for this machine, unless they are prebuilt; returns a directory that contains them under
    /// their names. `stage` is a directory for temporary files.
    fn programs(&self, stage: &Path) -> Result<PathBuf> {
        match self {
            Self::Profile(profile) => {
                check(&mut programs::build(profile))?;
                programs::name(&built(profile)?, stage.join("programs"))
            }
            Self::Prebuilt(directory) => prebuilt(directory, stage),
        }
    }
}

/// Finds the programs in `bin` of this directory, or in this directory itself: four files, or one file with all
/// programs. Checks the sums of an archive of `dist`.
pub(crate) fn prebuilt(directory: &Path, stage: &Path) -> Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    let sums = directory.join(SUMS);
    match sums.try_exists()? {
        true => dist::verify(&directory, &fs::read_to_string(sums)?)?,
        false => eprintln!("{}", unverified(&directory)),
    }
    let bin = directory.join("bin");
    let found = if bin.is_dir() { bin } else { directory };
    if programs::is_build(&found) {
        return programs::name(&found, stage.join("programs"));
    }
    for name in programs::NAMES {
        let program = found.join(name);
        ensure!(program.is_file(), "{} does not exist", program.display());
    }
    Ok(found)
}

/// The note about prebuilt programs without sums.
fn unverified(directory: &Path) -> String {
    format!(
        "note: {} contains no {SUMS}: the programs are installed without verification",
        directory.display()
    )
}

/// A file to install: the file, and its path below the prefix.
pub(crate) struct Item {
    pub(crate) from: PathBuf,
    pub(crate) to: String,
}

/// Installs the programs, with the man pages and completions that they generate.
pub(crate) fn install(prefix: Option<PathBuf>, source: Source) -> Result<()> {
    let option = match &prefix {
        Some(prefix) => format!(" --prefix {}", prefix.display()),
        None => String::new(),
    };
    let prefix = prefix_or_default(prefix)?;
    let stage = tempfile::tempdir().context("cannot create a directory")?;
    let programs = source.programs(stage.path())?;
    let items = gather(&programs, stage.path())?;
    // Prebuilt programs can be debug builds.
    if let Source::Profile(_) = source {
        programs::check_size(&items).context("cannot install")?;
    }
    install_items(&prefix, &items)?;
    println!(
        "installed in {}; remove it with: cargo xtask uninstall{option}",
        prefix.display()
    );
    let bin = prefix.join("bin");
    if !std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir == bin) {
        println!("add {} to your PATH", bin.display());
    }
    println!("if a supervisor is running, replace it with: agent-team supervisor restart");
    Ok(())
}

pub(crate) fn uninstall(prefix: Option<PathBuf>) -> Result<()> {
    let prefix = prefix_or_default(prefix)?;
    for path in remove_installed(&prefix)? {
        println!("removed {}", prefix.join(path).display());
    }
    Ok(())
}

fn prefix_or_default(prefix: Option<PathBuf>) -> Result<PathBuf> {
    let prefix = match prefix {
        Some(prefix) => prefix,
        None => PathBuf::from(
            std::env::var_os("HOME").context("HOME is not set: give a directory with --prefix")?,
        )
        .join(".local"),
    };
    std::path::absolute(&prefix).with_context(|| format!("cannot resolve {}", prefix.display()))
}

/// Collects the binaries, and the man pages and completions that they generate into `stage`.
pub(crate) fn gather(built: &Path, stage: &Path) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = programs::NAMES
        .iter()
        .map(|name| Item {
            from: built.join(name),
            to: format!("bin/{name}"),
        })
        .collect();
    let program = built.join("agent-team");
    let pages = stage.join("man");
    fs::create_dir(&pages)?;
    // `output` discards the program's message about the temporary directory.
    output(Command::new(&program).args(["man", "--out"]).arg(&pages))?;
    for page in fs::read_dir(&pages)? {
        let page = page?;
        let name = page
            .file_name()
            .into_string()
            .ok()
            .context("a man page has an unreadable name")?;
        let section = name
            .rsplit('.')
            .next()
            .context("a man page has no section")?;
        items.push(Item {
            from: page.path(),
            to: format!("share/man/man{section}/{name}"),
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

/// Installs the items. Overwrites only files of an earlier installation.
fn install_items(prefix: &Path, items: &[Item]) -> Result<()> {
    let before = read_manifest(prefix)?;
    for item in items {
        let to = prefix.join(&item.to);
        let may_write = before.contains(&item.to) || !to.try_exists()?;
        ensure!(
            may_write,
            "{} exists and was not installed by this command: nothing was changed",
            to.display()
        );
    }
    let mut now: BTreeSet<String> = items.iter().map(|item| item.to.clone()).collect();
    now.extend(before.iter().filter(|path| is_directory(path)).cloned());
    now.extend(missing_directories(prefix, &now)?);
    // List old and new files until the old files are removed, so that uninstall knows all files even if the
    // installation crashes in between.
    write_manifest(prefix, &before.union(&now).cloned().collect())?;
    for (at, item) in items.iter().enumerate() {
        let to = prefix.join(&item.to);
        fs::create_dir_all(to.parent().context("every item has a directory")?)?;
        // Writing to a running program fails with ETXTBSY; renaming another file over it works. Remove a temporary file
        // of an interrupted installation first: it may be a hard link to an installed program.
        let temporary = format!("{}.agent-team-new", item.to);
        remove(prefix, &temporary)?;
        let temporary = prefix.join(temporary);
        programs::place(item, &items[..at], prefix, &temporary)
            .with_context(|| format!("cannot install {}", to.display()))?;
        fs::rename(&temporary, &to).with_context(|| format!("cannot install {}", to.display()))?;
    }
    for old in before.difference(&now) {
        remove(prefix, old)?;
    }
    write_manifest(prefix, &now)
}

/// The directories of these files and of the manifest that do not exist yet.
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

/// Whether this path of the manifest is a directory: such a path ends with a slash.
fn is_directory(path: &str) -> bool {
    path.ends_with('/')
}

/// Removes the files of the manifest and the manifest; returns the removed files. Removes a directory only when it is
/// empty.
fn remove_installed(prefix: &Path) -> Result<Vec<String>> {
    let listed = read_manifest(prefix)?;
    ensure!(
        !listed.is_empty(),
        "nothing is installed in {}",
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
    // Remove the directories in reverse order, so that each is removed before its parent.
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
                "{} lists {path}, which is outside the prefix: nothing was changed",
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
    let temporary = manifest.with_extension("new");
    fs::write(&temporary, text).with_context(|| temporary.display().to_string())?;
    fs::rename(&temporary, &manifest).with_context(|| manifest.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// Items whose contents are their names.
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
    fn uninstall_removes_only_installed_files() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::write(prefix.join("bin/theirs"), "").unwrap();
        install_items(
            &prefix,
            &items(dir.path(), &["bin/a", "share/man/man1/a.1"]),
        )
        .unwrap();
        assert_eq!(
            files(&prefix),
            ["bin/a", "bin/theirs", MANIFEST, "share/man/man1/a.1"]
        );
        assert_eq!(
            remove_installed(&prefix).unwrap(),
            ["bin/a", "share/man/man1/a.1"]
        );
        assert_eq!(files(&prefix), ["bin/theirs"]);
        assert!(!prefix.join("share").exists() && prefix.join("bin").exists());
        assert!(remove_installed(&prefix).is_err());
    }

    #[test]
    fn a_second_install_removes_obsolete_files() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        install_items(&prefix, &items(dir.path(), &["bin/a", "bin/old"])).unwrap();
        install_items(&prefix, &items(dir.path(), &["bin/a", "bin/new"])).unwrap();
        assert_eq!(files(&prefix), ["bin/a", "bin/new", MANIFEST]);
        remove_installed(&prefix).unwrap();
        assert_eq!(fs::read_dir(&prefix).unwrap().count(), 0);
    }

    #[test]
    fn equal_programs_are_hard_links_to_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        let items = items(dir.path(), &["bin/a", "bin/b", "bin/c"]);
        fs::copy(&items[0].from, &items[2].from).unwrap();
        install_items(&prefix, &items).unwrap();
        let inode = |name: &str| fs::metadata(prefix.join(name)).unwrap().ino();
        let first = inode("bin/a");
        assert!(first == inode("bin/c") && first != inode("bin/b"));
        // The open file is like a supervisor that runs the old program during the installation. The link is left from
        // an interrupted installation.
        let _running = fs::File::open(prefix.join("bin/a")).unwrap();
        fs::hard_link(prefix.join("bin/a"), prefix.join("bin/c.agent-team-new")).unwrap();
        install_items(&prefix, &items).unwrap();
        assert!(inode("bin/a") == inode("bin/c") && inode("bin/a") != first);
        assert_eq!(files(&prefix), ["bin/a", "bin/b", "bin/c", MANIFEST]);
    }

    #[test]
    fn install_does_not_overwrite_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::write(prefix.join("bin/b"), "theirs").unwrap();
        assert!(install_items(&prefix, &items(dir.path(), &["bin/a", "bin/b"])).is_err());
        assert_eq!(files(&prefix), ["bin/b"]);
        assert_eq!(fs::read_to_string(prefix.join("bin/b")).unwrap(), "theirs");
    }

    #[test]
    fn a_manifest_with_outside_paths_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("prefix");
        install_items(&prefix, &items(dir.path(), &["bin/a"])).unwrap();
        fs::write(dir.path().join("theirs"), "").unwrap();
        fs::write(prefix.join(MANIFEST), "bin/a\n../theirs\n").unwrap();
        assert!(remove_installed(&prefix).is_err());
        assert!(dir.path().join("theirs").exists() && prefix.join("bin/a").exists());
    }
}
