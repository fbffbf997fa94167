//! A file system of a few MiB, to be filled and emptied. Called by the storage tests and by the torture.
//!
//! The file system is a tmpfs, which only root may mount. Dropping a [`SmallDisk`] unmounts the file system.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Creates a directory and mounts a disk of `bytes` there; `None` if the process may not mount.
    ///
    /// # Panics
    /// When the directory cannot be created.
    pub fn mount(at: &Path, bytes: u64) -> Option<Self> {
        // The directory remains when the mount fails, so it must be private: agent-team refuses a directory that other
        // users can enter.
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(at).expect("the directory can be created");
        let options = format!("size={bytes},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped: only root can mount a small disk");
        None
    }

    /// Takes all free space.
    ///
    /// # Panics
    /// When the disk cannot be written.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("the disk can be written");
        for size in [64 << 10, 4 << 10, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    /// Frees the space that [`SmallDisk::fill`] took.
    ///
    /// # Panics
    /// When the disk was not filled before.
    pub fn empty(&self) {
        fs::remove_file(self.filler()).expect("the disk was filled");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}
