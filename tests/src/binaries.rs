//! Locates the binaries. Called by the rig.
//!
//! `cargo xtask test` builds the binaries before the tests. For tests that are run without `cargo xtask test`, this
//! module builds the binaries if one is missing or older than the sources.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

pub(crate) const NAMES: [&str; 4] = [
    "agent-team",
    "agent-teamd",
    "agent-teammate",
    "agent-teammate-native",
];

/// The file that contains all programs.
pub(crate) const ONE_FILE: &str = "agent-team-programs";

/// The directory of the binaries, built from the current sources.
///
/// # Panics
/// When they cannot be built.
pub fn directory() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    // A test is built into target/PROFILE/deps, a program into target/PROFILE.
    let directory = own.parent().expect("a file has a directory");
    let profile = match directory.parent() {
        Some(profile) if directory.ends_with("deps") => profile.to_owned(),
        Some(_) | None => directory.to_owned(),
    };
    let stamp = profile.join(".agent-team-binaries");
    if !is_current(&profile, &stamp) {
        let lock = File::create(profile.join(".agent-team-binaries.lock"))
            .expect("the target directory can be written");
        lock.lock().expect("a lock can be waited for");
        if !is_current(&profile, &stamp) {
            build(&profile, &stamp);
        }
    }
    profile
}

/// Whether the binaries were built after their sources last changed.
fn is_current(profile: &Path, stamp: &Path) -> bool {
    let Ok(built) = fs::metadata(stamp).and_then(|stamp| stamp.modified()) else {
        return false;
    };
    let workspace = workspace();
    let newest = newest_source(&workspace.join("crates")).expect("the sources can be read");
    let lock = fs::metadata(workspace.join("Cargo.lock")).and_then(|lock| lock.modified());
    let mut files = NAMES.iter().chain([&ONE_FILE]);
    files.all(|name| profile.join(name).is_file())
        && newest <= built
        && lock.is_ok_and(|lock| lock <= built)
}

fn build(profile: &Path, stamp: &Path) {
    // The stamp's time is the start of the build: a source that changes during the build is newer.
    let began = stamp.with_extension("new");
    File::create(&began).expect("the target directory can be written");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(workspace())
        .args(["build", "--workspace", "--bins"]);
    // The test runner sets these variables to the values of the tests' package. Remove them: cargo reruns the build
    // script of ring when one of these variables changes.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the binaries cannot be built");
    fs::rename(began, stamp).expect("the target directory can be written");
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is in the workspace")
}

fn newest_source(directory: &Path) -> io::Result<SystemTime> {
    let mut newest = fs::metadata(directory)?.modified()?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let changed = if entry.file_type()?.is_dir() {
            if name == "tests" {
                continue;
            }
            newest_source(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        newest = newest.max(changed);
    }
    Ok(newest)
}
