//! `cargo xtask dist`: an archive and a Debian package of the programs, for machines without Rust.
//!
//! The programs are linked statically with musl if the target and its C compiler are installed; otherwise they use the
//! C library of this machine, and the output reports the reason. Archive and package contain the programs, which are
//! hard links to one file, man pages, completions, documents and licences; the archive also contains their SHA-256 sums.
//! With GNU tar, equal files give equal archives.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use agent_team_protocol::text::hex;
use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::install::{self, Item, SUMS};
use crate::programs;
use crate::run::{built, check, output, root, succeeds};

const PROFILE: &str = "dist";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The documents of the archive, below the repository.
const DOCUMENTS: [&str; 6] = [
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "THIRD-PARTY.md",
];

/// Makes the archive and the Debian package in `target/packages`.
pub(crate) fn run() -> Result<()> {
    let (built_programs, target) = build(&host()?)?;
    let packages = built("packages")?;
    fs::create_dir_all(&packages)?;
    let stage = tempfile::tempdir().context("cannot create a directory")?;
    let name = format!("agent-team-{VERSION}-{target}");
    let tree = stage.path().join(&name);
    let generated = stage.path().join("generated");
    fs::create_dir(&generated)?;
    let programs = programs::name(&built_programs, stage.path().join("programs"))?;
    let items = items(&programs, &generated)?;
    programs::check_size(&items).context("cannot make an archive")?;
    copy_tree(&items, &tree)?;
    let archive = packages.join(format!("{name}.tar.gz"));
    pack_files(stage.path(), &name, &archive)?;
    let mut made = vec![archive];
    if target.contains("linux") {
        made.push(debian_package(&tree, &target, stage.path(), &packages)?);
    }
    let sums = made.iter().map(|file| sum_line(&packages, file));
    let sums: String = sums.collect::<Result<_>>()?;
    fs::write(packages.join(format!("{name}.sha256")), &sums)?;
    for file in made {
        let size = fs::metadata(&file)?.len() / 1_000_000;
        println!("wrote {} ({size} MB)", file.display());
    }
    Ok(())
}

/// Builds the programs, for the musl target if that is possible; returns their directory and the target.
fn build(host: &str) -> Result<(PathBuf, String)> {
    let target = host.replace("-gnu", "-musl");
    let missing = match target.contains("-musl") {
        true => missing_for(&target)?,
        false => Some("only Linux has static programs".to_owned()),
    };
    if let Some(missing) = missing {
        println!("── the programs use the C library of this machine: {missing}");
        check(&mut programs::build(PROFILE))?;
        return Ok((built(PROFILE)?, host.to_owned()));
    }
    println!("── building static programs for {target}");
    let mut build = programs::build(PROFILE);
    build.args(["--target", &target]);
    if target != host {
        build.env(format!("CC_{}", target.replace('-', "_")), "musl-gcc");
    }
    check(&mut build)?;
    Ok((built(&target)?.join(PROFILE), target))
}

/// How to install the part of a static build that is missing; `None` if nothing is missing.
fn missing_for(target: &str) -> Result<Option<String>> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib").join(target);
    if !library.is_dir() {
        return Ok(Some(format!(
            "for static programs, run: rustup target add {target}"
        )));
    }
    let has_compiler = succeeds(Command::new("musl-gcc").arg("--version"));
    Ok((!has_compiler)
        .then(|| "for static programs, install musl-gcc (package musl-tools)".to_owned()))
}

fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not print its host")?.to_owned())
}

/// All packed files. `generated` is a directory for those that the programs generate.
fn items(programs: &Path, generated: &Path) -> Result<Vec<Item>> {
    let mut items = install::gather(programs, generated)?;
    items.extend(DOCUMENTS.map(|name| Item {
        from: root().join(name),
        to: format!("share/doc/agent-team/{name}"),
    }));
    items.sort_by(|one, other| one.to.cmp(&other.to));
    Ok(items)
}

/// Copies the items to `tree`, and writes their SHA-256 sums.
fn copy_tree(items: &[Item], tree: &Path) -> Result<()> {
    let mut sums = String::new();
    for (at, item) in items.iter().enumerate() {
        let to = tree.join(&item.to);
        fs::create_dir_all(to.parent().context("every item has a directory")?)?;
        programs::place(item, &items[..at], tree, &to)?;
        let mode = if item.to.starts_with("bin/") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
        sums += &sum_line(tree, &to)?;
    }
    fs::write(tree.join(SUMS), sums)?;
    Ok(())
}

/// The line of `sha256sum` for a file, with the path of the file relative to this directory.
fn sum_line(directory: &Path, file: &Path) -> Result<String> {
    let path = file.strip_prefix(directory)?.display();
    let content = fs::read(file).with_context(|| format!("cannot read {path}"))?;
    Ok(format!("{}  {path}\n", hex(&Sha256::digest(content))))
}

/// Fails if a file in this list of SHA-256 sums is missing or has another content.
pub(crate) fn verify(directory: &Path, sums: &str) -> Result<()> {
    for line in sums.lines() {
        let (_, path) = line
            .split_once("  ")
            .context("the list of sums is invalid")?;
        ensure!(
            sum_line(directory, &directory.join(path))? == format!("{line}\n"),
            "{path} is not the file of the archive: its SHA-256 sum differs"
        );
    }
    Ok(())
}

/// Packs the files of a directory, without entries for directories: with such entries, unpacking over a prefix such as
/// `/usr/local` would change the modes of its directories.
fn pack_files(directory: &Path, name: &str, archive: &Path) -> Result<()> {
    let mut files = Vec::new();
    list_files(directory, Path::new(name), &mut files)?;
    files.sort();
    let mut tar = tar(directory, archive)?;
    check(tar.args(files))
}

/// Lists the files below `path`, relative to `directory`.
fn list_files(directory: &Path, path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory.join(path))? {
        let entry = entry?;
        let path = path.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => list_files(directory, &path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// Packs a directory with entries for directories, which `dpkg` needs.
fn pack(directory: &Path, name: &str, archive: &Path) -> Result<()> {
    check(tar(directory, archive)?.arg(name))
}

/// The command that packs paths below `directory`. With GNU tar, the order, the owners and the times in the archive do
/// not differ between builds.
fn tar(directory: &Path, archive: &Path) -> Result<Command> {
    let mut tar = Command::new("tar");
    if output(Command::new("tar").arg("--version"))?.contains("GNU tar") {
        tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
        tar.arg("--mtime=@0").arg("--mode=go=rX,u+rw,a-s");
    }
    tar.arg("-czf").arg(archive).arg("-C").arg(directory);
    Ok(tar)
}

/// Makes a Debian package of the tree, without root and without Debian's tools; returns its path.
fn debian_package(tree: &Path, target: &str, stage: &Path, packages: &Path) -> Result<PathBuf> {
    let architecture = match target.split('-').next() {
        Some("x86_64") => "amd64",
        Some("aarch64") => "arm64",
        Some(other) => other,
        None => target,
    };
    let data = stage.join("data");
    fs::create_dir(&data)?;
    fs::rename(tree, data.join("usr"))?;
    let documents = data.join("usr/share/doc/agent-team");
    // The list of sums contains paths of the archive, which differ from the paths of the package.
    fs::remove_file(data.join("usr").join(SUMS))?;
    let mut copyright = fs::read_to_string(documents.join("LICENSE-MIT"))?;
    copyright.insert_str(0, "agent-team is licensed under MIT or Apache-2.0.\n\n");
    fs::write(documents.join("copyright"), copyright)?;
    let control = stage.join("control");
    fs::create_dir(&control)?;
    let depends = match target.contains("musl") {
        true => "",
        false => "Depends: libc6\n",
    };
    let text = format!(
        "Package: agent-team\nVersion: {VERSION}\nArchitecture: {architecture}\n\
         Maintainer: the agent-team authors\nSection: devel\nPriority: optional\n{depends}\
         Recommends: tmux, bubblewrap, git\nInstalled-Size: {}\n\
         Description: supervisor for teams of processes and agents on one repository\n",
        size_in_kib(&data)?
    );
    fs::write(control.join("control"), text)?;
    for part in ["control", "data"] {
        pack(
            &stage.join(part),
            ".",
            &stage.join(format!("{part}.tar.gz")),
        )?;
    }
    let package = packages.join(format!("agent-team_{VERSION}_{architecture}.deb"));
    let mut file = fs::File::create(&package)?;
    file.write_all(b"!<arch>\n")?;
    write_member(&mut file, "debian-binary", b"2.0\n")?;
    for part in ["control.tar.gz", "data.tar.gz"] {
        write_member(&mut file, part, &fs::read(stage.join(part))?)?;
    }
    Ok(package)
}

/// Writes a file of an `ar` archive: a header of 60 characters, and the content at an even offset.
fn write_member(archive: &mut impl std::io::Write, name: &str, content: &[u8]) -> Result<()> {
    let size = content.len();
    writeln!(
        archive,
        "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`",
        0, 0, 0, "100644"
    )?;
    archive.write_all(content)?;
    if size % 2 == 1 {
        archive.write_all(b"\n")?;
    }
    Ok(())
}

/// The size of the files below `directory`. Counts a file with several names once.
fn size_in_kib(directory: &Path) -> Result<u64> {
    let mut files = Vec::new();
    list_files(directory, Path::new(""), &mut files)?;
    let mut sizes = BTreeMap::new();
    for file in files {
        let metadata = fs::metadata(directory.join(file))?;
        sizes.insert((metadata.dev(), metadata.ino()), metadata.len());
    }
    Ok(sizes.values().map(|size| size.div_ceil(1024)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with four copies of a script in place of the programs; their hard links are lost. The script writes
    /// man pages and completions.
    fn programs(directory: &Path) -> PathBuf {
        let bin = directory.join("programs");
        fs::create_dir(&bin).unwrap();
        let script = "#!/bin/sh\ncase $1 in\nman) echo .TH > \"$3/agent-team.1\"; echo .TH > \"$3/agent-team.toml.5\" ;;\n\
            completions) echo \"# $2\" ;;\n--version) echo agent-team 0 ;;\nesac\n";
        for name in programs::NAMES {
            fs::write(bin.join(name), script).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        bin
    }

    fn staged(directory: &Path) -> PathBuf {
        let (tree, generated) = (directory.join("tree"), directory.join("generated"));
        fs::create_dir(&generated).unwrap();
        copy_tree(&items(&programs(directory), &generated).unwrap(), &tree).unwrap();
        tree
    }

    #[test]
    fn a_changed_file_fails_the_checksums() {
        let directory = tempfile::tempdir().unwrap();
        let tree = staged(directory.path());
        let sums = fs::read_to_string(tree.join(SUMS)).unwrap();
        assert!(sums.contains("  bin/agent-teamd\n") && sums.contains("LICENSE-MIT\n"));
        let prebuilt = |tree| install::prebuilt(tree, directory.path());
        assert_eq!(prebuilt(&tree).unwrap(), tree.join("bin"));
        fs::write(tree.join("share/man/man1/agent-team.1"), "changed").unwrap();
        assert!(prebuilt(&tree).is_err());
    }

    /// Asserts that the programs in this directory are one file.
    fn assert_one_file(bin: &Path) {
        let file = |name| {
            let metadata = fs::metadata(bin.join(name)).unwrap();
            (metadata.ino(), metadata.nlink())
        };
        let files = programs::NAMES.map(file);
        assert_eq!(files, [(files[0].0, 4); 4], "{}", bin.display());
    }

    #[test]
    fn an_archive_installs_and_uninstalls() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        staged(path);
        pack_files(path, "tree", &path.join("tree.tar.gz")).unwrap();
        let unpacked = path.join("unpacked");
        let bin = unpacked.join("tree/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o700)).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(path.join("tree.tar.gz"));
        check(tar.arg("-C").arg(&unpacked)).unwrap();
        let mode = fs::metadata(&bin).unwrap().permissions().mode();
        assert_eq!(
            mode & 0o777,
            0o700,
            "unpacking changed the mode of a directory"
        );
        assert_one_file(&bin);
        let stripped = path.join("stripped");
        fs::create_dir(&stripped).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(path.join("tree.tar.gz"));
        check(tar.arg("--strip-components=1").arg("-C").arg(&stripped)).unwrap();
        assert_one_file(&stripped.join("bin"));
        let source = install::Source::Prebuilt(unpacked.join("tree"));
        let prefix = path.join("prefix");
        install::install(Some(prefix.clone()), source).unwrap();
        assert!(prefix.join("share/man/man1/agent-team.1").is_file());
        assert!(prefix.join("share/man/man5/agent-team.toml.5").is_file());
        assert_one_file(&prefix.join("bin"));
        let version = output(Command::new(prefix.join("bin/agent-team")).arg("--version"));
        assert_eq!(version.unwrap(), "agent-team 0\n");
        install::uninstall(Some(prefix.clone())).unwrap();
        assert_eq!(fs::read_dir(&prefix).unwrap().count(), 0);
    }

    #[test]
    fn dpkg_reads_the_debian_package() {
        if !succeeds(Command::new("dpkg-deb").arg("--version")) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let tree = staged(path);
        let package = debian_package(&tree, "x86_64-unknown-linux-musl", path, path).unwrap();
        let mut info = Command::new("dpkg-deb");
        let info = output(info.arg("--field").arg(&package)).unwrap();
        assert!(
            info.contains("Architecture: amd64\n") && !info.contains("Depends"),
            "{info}"
        );
        let contents = output(Command::new("dpkg-deb").arg("--contents").arg(&package)).unwrap();
        let program = contents
            .lines()
            .find(|line| line.ends_with(" ./usr/bin/agent-team"));
        assert!(
            program.is_some_and(|line| line.starts_with("-rwxr-xr-x 0/0")),
            "{contents}"
        );
        let unpacked = path.join("unpacked");
        let mut extract = Command::new("dpkg-deb");
        check(extract.arg("--extract").arg(&package).arg(&unpacked)).unwrap();
        assert_one_file(&unpacked.join("usr/bin"));
    }
}
