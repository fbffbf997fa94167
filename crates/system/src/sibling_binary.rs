//! The search for the programs of agent-team. Called by each program that starts another one.

use std::path::PathBuf;

/// A program of agent-team was not found.
#[derive(Debug, thiserror::Error)]
#[error("cannot find {name}: it is neither beside this program nor in PATH")]
pub struct FindBinaryError {
    name: String,
}

/// Finds a program of agent-team: beside the running program, else in `PATH`.
///
/// # Errors
/// Neither the directory of the running program nor a directory of `PATH` contains a file of this name.
pub fn sibling_binary(name: &str) -> Result<PathBuf, FindBinaryError> {
    let running = std::env::current_exe().ok();
    let beside = running
        .as_deref()
        .and_then(std::path::Path::parent)
        .map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).filter(|directory| directory.is_absolute()))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| FindBinaryError {
            name: name.to_owned(),
        })
}
