//! Opens files and directories below one root directory by descriptor. Called by the tools of agents and by `notes`.
//!
//! A sandboxed command can run at the same time and change the project, so a path that was checked can name another
//! file a moment later. Every open therefore starts at the descriptor of the root and follows no symbolic link in any
//! component: `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS` (Linux 5.6), else one
//! `openat` with `O_NOFOLLOW` for each component. The second way serves macOS, older kernels (`ENOSYS`) and containers
//! whose seccomp filter refuses unknown calls (`EPERM`).
//!
//! Except for the root itself, nothing here may open a path of more than one component in any other way.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// A root directory, open.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
}

/// `NONBLOCK`: a pipe or a device must not block the open before its type is known.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

const NO_LINK: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

impl Beneath {
    /// Opens the root.
    ///
    /// # Errors
    /// The root is a symbolic link, or cannot be opened as a directory.
    pub fn new(root: &Path) -> rustix::io::Result<Beneath> {
        let root = rustix::fs::open(root, DIRECTORY | NO_LINK, Mode::empty())?;
        Ok(Beneath { root })
    }

    /// Opens a file of any type without blocking.
    pub fn any(&self, relative: &Path) -> rustix::io::Result<OwnedFd> {
        self.open(relative, FILE)
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// `EINVAL` for any other type.
    pub fn regular(&self, relative: &Path) -> rustix::io::Result<File> {
        regular(self.any(relative)?)
    }

    /// Opens a directory; an empty path is the root.
    pub fn directory(&self, relative: &Path) -> rustix::io::Result<OwnedFd> {
        self.open(relative, DIRECTORY)
    }

    /// Opens a directory and creates the missing components with this mode, less the umask.
    pub fn make_directory(&self, relative: &Path, mode: Mode) -> rustix::io::Result<OwnedFd> {
        self.open_by_component(relative, DIRECTORY, Some(mode))
    }

    fn open(&self, relative: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let here = Path::new(".");
            let path = match relative.as_os_str().is_empty() {
                true => here,
                false => relative,
            };
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(&self.root, path, flags | NO_LINK, Mode::empty(), resolve) {
                Err(Errno::NOSYS | Errno::PERM) => {}
                opened => return opened,
            }
        }
        self.open_by_component(relative, flags, None)
    }

    /// Opens one component after the other. `make`: create missing directories with this mode.
    fn open_by_component(
        &self,
        relative: &Path,
        flags: OFlags,
        make: Option<Mode>,
    ) -> rustix::io::Result<OwnedFd> {
        let mut opened = rustix::fs::openat(&self.root, ".", DIRECTORY | NO_LINK, Mode::empty())?;
        let mut parts = relative.components().peekable();
        while let Some(part) = parts.next() {
            let name = match part {
                Component::CurDir => continue,
                Component::Normal(name) => name,
                // These components can leave the root.
                Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                    return Err(Errno::XDEV);
                }
            };
            let flags = match parts.peek() {
                Some(_) => DIRECTORY,
                None => flags,
            };
            let open = || rustix::fs::openat(&opened, name, flags | NO_LINK, Mode::empty());
            opened = match (open(), make) {
                (Err(Errno::NOENT), Some(mode)) => match rustix::fs::mkdirat(&opened, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => open()?,
                    Err(error) => return Err(error),
                },
                (result, _) => result?,
            };
        }
        Ok(opened)
    }
}

/// Opens a regular file in an open directory.
///
/// # Errors
/// `EINVAL` for any other type.
pub fn regular_at(directory: &OwnedFd, name: &str) -> rustix::io::Result<File> {
    let flags = FILE | NO_LINK;
    regular(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// Opens a directory in an open directory as a new root.
pub fn directory_at(directory: &OwnedFd, name: &str) -> rustix::io::Result<Beneath> {
    let root = rustix::fs::openat(directory, name, DIRECTORY | NO_LINK, Mode::empty())?;
    Ok(Beneath { root })
}

fn regular(opened: OwnedFd) -> rustix::io::Result<File> {
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    match kind.is_file() {
        true => Ok(File::from(opened)),
        false => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Both ways of opening, one after the other.
    fn open_both(below: &Beneath, path: &str) -> [Result<String, Errno>; 2] {
        let text = |opened: rustix::io::Result<OwnedFd>| {
            let mut text = String::new();
            regular(opened?)?.read_to_string(&mut text).unwrap();
            Ok(text)
        };
        let path = Path::new(path);
        [
            text(below.open(path, FILE)),
            text(below.open_by_component(path, FILE, None)),
        ]
    }

    #[test]
    fn links_and_parents_are_refused_in_every_component() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "inside").unwrap();
        fs::write(outer.path().join("secret"), "outside").unwrap();
        symlink("a", root.join("first")).unwrap();
        symlink("../b", root.join("a/b/middle")).unwrap();
        symlink("file", root.join("a/b/last")).unwrap();
        symlink(outer.path(), root.join("out")).unwrap();
        let below = Beneath::new(&root).unwrap();
        let inside = Ok("inside".to_owned());
        assert_eq!(open_both(&below, "a/b/file"), [inside.clone(), inside]);
        for path in [
            "first/b/file",
            "a/b/middle/b/file",
            "a/b/last",
            "out/secret",
        ] {
            for opened in open_both(&below, path) {
                // `openat` returns ENOTDIR for a link in place of a directory.
                let refused = matches!(opened, Err(Errno::LOOP | Errno::NOTDIR));
                assert!(refused, "{path}: {opened:?}");
            }
        }
        let absolute = outer.path().join("secret");
        for path in ["../secret", "a/../../secret", absolute.to_str().unwrap()] {
            assert_eq!(
                open_both(&below, path),
                [Err(Errno::XDEV), Err(Errno::XDEV)],
                "{path}"
            );
        }
        assert!(Beneath::new(&root.join("out")).is_err());
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_a_writer() {
        let root = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(root.path().join("pipe"))
            .status();
        assert!(made.unwrap().success());
        let below = Beneath::new(root.path()).unwrap();
        let refused = [Err(Errno::INVAL), Err(Errno::INVAL)];
        assert_eq!(open_both(&below, "pipe"), refused);
        let directory = below.directory(Path::new("")).unwrap();
        assert!(regular_at(&directory, "pipe").is_err());
    }
}
