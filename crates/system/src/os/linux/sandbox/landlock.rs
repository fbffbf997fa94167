//! Translates a profile to Landlock rules, which the kernel enforces on a process and its children. Called by
//! [`super::Sandbox::command`].
//!
//! A rule grants rights for everything below a path, and no rule can revoke them further down. So read access is
//! granted entry by entry in the directories that contain a hidden path, and paths within a writable path can be
//! neither hidden nor protected.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use rustix::fs::{Mode, OFlags};

use crate::sandbox::Profile;

/// The newest ABI that is used: version 5 adds devices, 6 signals and abstract sockets. Older kernels apply the rights
/// that they know.
const LANDLOCK: ABI = ABI::V6;

/// The oldest sufficient ABI: version 2 adds control over renames between directories, 3 over truncation.
const LANDLOCK_NEEDED: ABI = ABI::V3;

/// The devices that may be used. Other devices include disks and users' terminals.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Checks that no hidden path is within a writable path.
pub(super) fn supports(profile: &Profile) -> io::Result<()> {
    let hidden = profile.hidden.iter().chain(&profile.scratch);
    let within = hidden.filter(|hidden| hidden.exists()).find_map(|hidden| {
        let mut writable = profile.writable.iter();
        let around = writable.find(|writable| hidden.starts_with(writable))?;
        Some((hidden, around))
    });
    match within {
        None => Ok(()),
        Some((hidden, writable)) => {
            let (hidden, writable) = (hidden.display(), writable.display());
            let text = format!("Landlock cannot hide {hidden} within {writable}");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

pub(super) fn rules(profile: &Profile) -> io::Result<OwnedFd> {
    supports(profile)?;
    let needed = AccessFs::from_all(LANDLOCK_NEEDED);
    let created = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(needed)
        .and_then(|rules| {
            rules
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(AccessFs::from_all(LANDLOCK))?
                .scope(Scope::from_all(LANDLOCK))?
                .create()
        });
    let mut rules = created.map_err(io::Error::other)?;
    for path in &profile.writable {
        let opened = open(path)?.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} does not exist or is not accessible", path.display()),
            )
        })?;
        let is_dir = path.is_dir();
        rules = allow(rules, opened, is_dir, AccessFs::from_all(LANDLOCK))?;
    }
    for path in DEVICES.map(Path::new) {
        if let Some(device) = open(path)? {
            rules = allow(rules, device, false, AccessFs::from_all(LANDLOCK))?;
        }
    }
    // Directories may be listed everywhere, even where their files may not be read.
    let root = Path::new("/");
    if let Some(root) = open(root)? {
        rules = allow(rules, root, true, AccessFs::ReadDir.into())?;
    }
    let devices = Path::new("/dev");
    let all = profile.hidden.iter().chain(&profile.scratch);
    let mut hidden: Vec<&Path> = all.map(PathBuf::as_path).collect();
    hidden.push(devices);
    rules = allow_reading(rules, root, &hidden)?;
    for path in &profile.readable {
        // Grant a readable path even if a hidden path equals or contains it. Hidden paths within it stay hidden.
        let within = |hidden: &&&Path| hidden.starts_with(path) && **hidden != path;
        let within: Vec<&Path> = hidden.iter().filter(within).copied().collect();
        if !within.is_empty() {
            rules = allow_reading(rules, path, &within)?;
        } else if let Some(opened) = open(path)? {
            rules = allow(rules, opened, path.is_dir(), AccessFs::from_read(LANDLOCK))?;
        }
    }
    let descriptor: Option<OwnedFd> = rules.into();
    descriptor
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this kernel has no Landlock"))
}

/// Grants read access to everything below `directory` except hidden paths. As rights cannot be revoked, an ancestor of
/// a hidden path is granted entry by entry, and entries that are created there later cannot be read.
fn allow_reading(
    mut rules: RulesetCreated,
    directory: &Path,
    hidden: &[&Path],
) -> io::Result<RulesetCreated> {
    // A directory that cannot be listed here cannot be listed by the program.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        // A link's target is granted at the target's own path.
        if kind.is_symlink() || hidden.iter().any(|hidden| path.starts_with(hidden)) {
            continue;
        }
        if kind.is_dir() && hidden.iter().any(|hidden| hidden.starts_with(&path)) {
            rules = allow_reading(rules, &path, hidden)?;
        } else if let Some(opened) = open(&path)? {
            rules = allow(rules, opened, kind.is_dir(), AccessFs::from_read(LANDLOCK))?;
        }
    }
    Ok(rules)
}

fn allow(
    rules: RulesetCreated,
    opened: OwnedFd,
    is_dir: bool,
    rights: BitFlags<AccessFs>,
) -> io::Result<RulesetCreated> {
    let rights = match is_dir {
        true => rights,
        false => rights & AccessFs::from_file(LANDLOCK),
    };
    rules
        .add_rule(PathBeneath::new(opened, rights))
        .map_err(io::Error::other)
}

/// Opens a path without following a link; `None` when it does not exist or is not accessible.
fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => Ok(Some(opened)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
