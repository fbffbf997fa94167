//! Where paths lead once links are followed. Called by whoever asks for a permission, or for what the rules say.

use std::io;
use std::path::{Path, PathBuf};

/// Follows every link of what exists; what does not exist yet is appended as it is.
///
/// # Errors
/// When a part cannot be looked at, or a link leads to nothing.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(resolved) => {
                let rest = path.strip_prefix(existing).expect("it is an ancestor");
                if rest.as_os_str().is_empty() {
                    return Ok(resolved);
                }
                return Ok(resolved.join(rest));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if existing.symlink_metadata().is_ok() {
                    return Err(io::Error::other("a symbolic link that leads to nothing"));
                }
                existing = existing.parent().ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
}
