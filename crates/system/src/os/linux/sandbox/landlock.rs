//! A profile as Landlock's rules, which the kernel holds a process and its children to. Called by
//! [`super::Sandbox::command`].
//!
//! A rule grants rights to all below a place; nothing takes them back further down. So reading is granted around what is
//! hidden, entry by entry, and nothing within a writable place can be hidden or protected.

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

/// The newest rights that are asked for: 5 has devices, 6 signals and abstract sockets. An older kernel gives what it has.
const LANDLOCK: ABI = ABI::V6;

/// Without these Landlock does not keep what it is asked to: renaming between directories, and truncating.
const LANDLOCK_NEEDED: ABI = ABI::V3;

/// The devices that may be used: the others are disks, and terminals of users.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// What is hidden is not within what is writable.
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

/// The rules, in a descriptor.
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
        let place = open(path)?.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} does not exist", path.display()),
            )
        })?;
        let is_dir = path.is_dir();
        rules = allow(rules, place, is_dir, AccessFs::from_all(LANDLOCK))?;
    }
    for path in DEVICES.map(Path::new) {
        if let Some(device) = open(path)? {
            rules = allow(rules, device, false, AccessFs::from_all(LANDLOCK))?;
        }
    }
    // The names in a directory may be known where what they name may not.
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
        // What hides this place, or one around it, does not count; what is hidden within does.
        let within = |hidden: &&&Path| hidden.starts_with(path) && **hidden != path;
        let within: Vec<&Path> = hidden.iter().filter(within).copied().collect();
        if !within.is_empty() {
            rules = allow_reading(rules, path, &within)?;
        } else if let Some(place) = open(path)? {
            rules = allow(rules, place, path.is_dir(), AccessFs::from_read(LANDLOCK))?;
        }
    }
    let descriptor: Option<OwnedFd> = rules.into();
    descriptor
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this kernel has no Landlock"))
}

/// All below `directory` but what is hidden. As rights cannot be taken back, what leads to something hidden is given
/// entry by entry, and what is made there later cannot be read.
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
        // What a link leads to is allowed where that is.
        if kind.is_symlink() || hidden.iter().any(|hidden| path.starts_with(hidden)) {
            continue;
        }
        if kind.is_dir() && hidden.iter().any(|hidden| hidden.starts_with(&path)) {
            rules = allow_reading(rules, &path, hidden)?;
        } else if let Some(place) = open(&path)? {
            rules = allow(rules, place, kind.is_dir(), AccessFs::from_read(LANDLOCK))?;
        }
    }
    Ok(rules)
}

fn allow(
    rules: RulesetCreated,
    place: OwnedFd,
    is_dir: bool,
    rights: BitFlags<AccessFs>,
) -> io::Result<RulesetCreated> {
    let rights = match is_dir {
        true => rights,
        false => rights & AccessFs::from_file(LANDLOCK),
    };
    rules
        .add_rule(PathBeneath::new(place, rights))
        .map_err(io::Error::other)
}

/// A place itself, not what a link there leads to; `None` when it is gone.
fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(place) => Ok(Some(place)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
