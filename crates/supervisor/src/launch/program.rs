//! Finds programs that the caller has installed. Called by the probes of terminal backends.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Directories searched in addition to the caller's PATH, because the PATH of a desktop or a daemon can be minimal.
const PROGRAM_DIRECTORIES: [&str; 6] = [
    "/opt/homebrew/bin",
    "/usr/local/bin",
    "/opt/local/bin",
    "/run/current-system/sw/bin",
    "/usr/bin",
    "/bin",
];

/// Finds a program in the caller's PATH or in the usual directories.
pub(super) fn find(program: &str, path: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .chain(PROGRAM_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|binary| is_executable(binary))
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
