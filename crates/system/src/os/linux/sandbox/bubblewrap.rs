//! Builds the arguments of `bwrap` for a profile. Called by [`super::Sandbox::command`].
//!
//! bubblewrap builds a view of the file system: first it mounts the whole file system read-only, then each path of the
//! profile. A later mount covers an earlier one, so paths are mounted from the root down.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use crate::sandbox::{Network, Profile};
use crate::spawn::ProgramSpec;

#[cfg(test)]
#[path = "bubblewrap_tests.rs"]
mod tests;

/// Directories of /proc through which the kernel's settings can be changed. bwrap (0.8) leaves a directory of /proc
/// unprotected if the user of bwrap may not write to the directory. Root can write to files in such a directory, and
/// `core_pattern` names a program that the kernel runs outside the sandbox.
const KERNEL: [&str; 7] = [
    "/proc/sys",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/acpi",
    "/proc/dynamic_debug",
    "/proc/mtrr",
];

enum Mount<'a> {
    /// Empty and read-only.
    Empty,
    /// Empty and writable; its content is lost when the program exits.
    Scratch,
    Link(&'a Path),
    ReadOnly,
    Writable,
}

/// The arguments of `bwrap` for `spec`.
///
/// - `sizes`: this bubblewrap supports `--size`.
/// - `namespaces`: descriptor of the filter that bubblewrap applies to the program only.
/// - `lock`: descriptor that bubblewrap keeps open.
/// - `replaced`: paths, each with a descriptor of the content that the program sees there.
pub(super) fn arguments(
    profile: &Profile,
    sizes: bool,
    spec: &ProgramSpec,
    namespaces: RawFd,
    lock: Option<RawFd>,
    replaced: &[(&Path, OwnedFd)],
) -> Vec<OsString> {
    let mut args: Vec<OsString> = [
        "--unshare-user-try",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--seccomp",
    ]
    .map(OsString::from)
    .into();
    args.push(namespaces.to_string().into());
    if let Some(lock) = lock {
        args.extend(["--sync-fd".into(), lock.to_string().into()]);
    }
    args.extend(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"].map(OsString::from));
    for directory in KERNEL {
        args.extend(["--ro-bind-try", directory, directory].map(OsString::from));
    }
    if profile.network == Network::None {
        args.push("--unshare-net".into());
    }
    let mounts = mounts(profile);
    let mut empty: Vec<OsString> = Vec::new();
    for (path, mount) in mounts {
        match mount {
            Mount::Empty if path.is_dir() => {
                args.extend(["--tmpfs".into(), path.into()]);
                // Skip the remount if a writable mount at the same path covers this mount: the remount, which comes
                // after all mounts, would make the writable mount read-only.
                if !profile.writable.iter().any(|writable| writable == path) {
                    empty.extend(["--remount-ro".into(), path.into()]);
                }
            }
            Mount::Empty => args.extend(["--ro-bind".into(), "/dev/null".into(), path.into()]),
            Mount::Scratch => {
                if let Some(bytes) = profile.limits.scratch_bytes.filter(|_| sizes) {
                    args.extend(["--size".into(), bytes.to_string().into()]);
                }
                args.extend(["--tmpfs".into(), path.into()]);
            }
            Mount::Link(target) => args.extend(["--symlink".into(), target.into(), path.into()]),
            Mount::ReadOnly => args.extend(["--ro-bind".into(), path.into(), path.into()]),
            Mount::Writable => args.extend(["--bind".into(), path.into(), path.into()]),
        }
    }
    for (path, content) in replaced {
        let content = content.as_raw_fd().to_string();
        args.extend(["--ro-bind-data".into(), content.into(), path.into()]);
    }
    // The remounts come after all mounts within these directories: bwrap cannot create mount points in a read-only
    // directory.
    args.extend(empty);
    args.extend(["--chdir".into(), spec.cwd.clone().into(), "--".into()]);
    args.push(spec.program.clone().into());
    args.extend(spec.args.iter().cloned());
    args
}

/// The mounts of a profile, from the root down. At the same path a later kind covers an earlier one.
fn mounts(profile: &Profile) -> Vec<(&Path, Mount<'_>)> {
    fn existing(paths: &[PathBuf]) -> impl Iterator<Item = &Path> + Clone {
        paths
            .iter()
            .map(PathBuf::as_path)
            .filter(|path| path.exists())
    }
    let in_writable = |path: &Path| {
        let mut writable = profile.writable.iter();
        writable.any(|writable| path.starts_with(writable))
    };
    let absent = profile.absent.iter().flat_map(|absent| &absent.all);
    let absent = absent.filter(|absent| absent.path.exists());
    // Do not mount protected paths within a hidden path: the mounts would reveal them. Compare depths, because a
    // writable path within the hidden path is visible again.
    let depth = |parents: &[PathBuf], path: &Path| {
        let around = parents.iter().filter(|parent| path.starts_with(parent));
        around.map(|parent| parent.components().count()).max()
    };
    let is_hidden = |path: &Path| {
        let hidden = depth(&profile.hidden, path).max(depth(&profile.scratch, path));
        hidden > depth(&profile.writable, path)
    };
    // A symbolic link cannot be a mount point.
    let absent = absent.map(|absent| absent.path.as_path());
    let absent = absent.filter(|path| !path.is_symlink() && !is_hidden(path));
    let protected = existing(&profile.protected).filter(|path| !is_hidden(path));
    let kept: Vec<&Path> = protected.chain(absent).collect();
    // A mount point cannot be renamed, but its parent directories can: the program could move the protected path away
    // with its parent and create another file or directory in its place. So each writable ancestor becomes a mount
    // point too. A protected ancestor must not get a writable mount, which would cover its read-only mount.
    let below_writable = |path: &&Path| {
        let mut writable = profile.writable.iter();
        writable.any(|writable| path.starts_with(writable) && path != writable)
    };
    let is_kept = |path: &&Path| kept.iter().any(|kept| path.starts_with(kept));
    let ancestors = kept.iter().flat_map(|path| path.ancestors().skip(1));
    let ancestors =
        ancestors.filter(|path| below_writable(path) && !is_kept(path) && !is_hidden(path));
    let readable = existing(&profile.readable).filter(|path| !in_writable(path));
    let links = profile.links.iter().filter(|(path, _)| !in_writable(path));
    let mut mounts: Vec<(&Path, Mount<'_>)> = Vec::new();
    mounts.extend(existing(&profile.hidden).map(|path| (path, Mount::Empty)));
    mounts.extend(existing(&profile.scratch).map(|path| (path, Mount::Scratch)));
    mounts.extend(links.map(|(path, target)| (path.as_path(), Mount::Link(target))));
    mounts.extend(readable.map(|path| (path, Mount::ReadOnly)));
    // Writable paths are not filtered: bwrap fails if one does not exist, which is intended.
    mounts.extend(
        profile
            .writable
            .iter()
            .map(|path| (path.as_path(), Mount::Writable)),
    );
    mounts.extend(ancestors.map(|path| (path, Mount::Writable)));
    // `kept` includes placeholders, and absent paths that the user has created since the profile was made.
    mounts.extend(kept.iter().map(|path| (*path, Mount::ReadOnly)));
    // The sort is stable: at the same path the order of the kinds above remains.
    mounts.sort_by_key(|(path, _)| path.components().count());
    mounts
}
