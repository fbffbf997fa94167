//! Faults of the machine, injected at the C library: wall clock jumps, failing syncs and reads, another boot id. Called
//! by the torture and by tests of storage and time.
//!
//! `shim.c` is built with the machine's C compiler and preloaded into the product's processes by
//! [`Rig::preload_shim`](crate::Rig::preload_shim). Its settings are a mapped file, so a change takes effect at once in
//! running processes. Linux only. The product contains no code for the shim.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("shim.c");

/// The variable with the path of the settings file, for preloaded processes.
pub(crate) const VARIABLE: &str = "AGENT_TEAM_TEST_SHIM";

/// The variable that prevents preloading the shim into child processes.
pub(crate) const ALONE: &str = "AGENT_TEAM_TEST_SHIM_ALONE";

/// Offsets in the settings file, each of an `i64`: see `struct settings`.
const CLOCK: u64 = 0;
const SYNCS: u64 = 8;
const READS: u64 = 16;
const BOOT: u64 = 24;
const SIZE: u64 = 32;

/// The built library and its settings.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    settings: PathBuf,
    file: File,
}

impl Shim {
    /// Builds the library in a directory; `None` if the system is not Linux or has no C compiler.
    ///
    /// # Panics
    /// When the directory cannot be written, or `shim.c` does not compile.
    pub(crate) fn build(directory: &Path) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            eprintln!("skipped: libraries are preloaded on Linux only");
            return None;
        }
        let (source, library) = (directory.join("shim.c"), directory.join("shim.so"));
        fs::write(&source, SOURCE).expect("the directory can be written");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output();
        match built {
            Ok(built) if built.status.success() => {}
            Ok(built) => panic!("shim.c: {}", String::from_utf8_lossy(&built.stderr)),
            Err(_) => {
                eprintln!("skipped: there is no C compiler to build the shim with");
                return None;
            }
        }
        let settings = directory.join("shim.settings");
        let file = File::create(&settings).expect("the directory can be written");
        file.set_len(SIZE).expect("the directory can be written");
        Some(Self {
            library,
            settings,
            file,
        })
    }

    pub(crate) fn library(&self) -> &Path {
        &self.library
    }

    pub(crate) fn settings(&self) -> &Path {
        &self.settings
    }

    /// Moves the wall clock by this many seconds from the true time.
    pub fn set_clock(&self, seconds: i64) {
        self.write(CLOCK, seconds);
    }

    /// Makes every sync of a team's database fail with EIO, or succeed again.
    pub fn fail_syncs(&self, fail: bool) {
        self.write(SYNCS, fail.into());
    }

    /// Makes every read of a team's database fail with EIO, or succeed again.
    pub fn fail_reads(&self, fail: bool) {
        self.write(READS, fail.into());
    }

    /// Gives processes that start from now on this boot id.
    ///
    /// # Panics
    /// When the settings cannot be written.
    pub fn set_boot_id(&self, id: &str) {
        let mut path = self.settings.clone().into_os_string();
        path.push(".boot");
        fs::write(path, format!("{id}\n")).expect("the settings can be written");
        self.write(BOOT, 1);
    }

    fn write(&self, at: u64, value: i64) {
        self.file
            .write_all_at(&value.to_ne_bytes(), at)
            .expect("the settings can be written");
    }
}
