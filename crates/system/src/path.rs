//! Resolution of paths. Called before a path is checked against permission rules, and for the directory of the user's
//! notes.

use std::io;
use std::path::{Path, PathBuf};

/// Resolves every symbolic link in the existing part of a path and appends the rest, which does not exist yet.
///
/// # Errors
/// A part cannot be inspected, or a link dangles: its target could be created later, outside the directory that the
/// caller checked.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(resolved) => {
                let rest = path.strip_prefix(existing).expect("a parent is a prefix");
                if rest.as_os_str().is_empty() {
                    return Ok(resolved);
                }
                return Ok(resolved.join(rest));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if existing.symlink_metadata().is_ok() {
                    return Err(io::Error::other("a dangling symbolic link"));
                }
                existing = existing.parent().ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
}
