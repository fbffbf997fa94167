//! Whether the scripts that a trusted line starts are still those that the user trusted. Called right before such a
//! line runs outside the sandbox: agents can write the project's files.

use std::fs;
use std::path::PathBuf;

use agent_team_protocol::spec::FileDigest;
use sha2::{Digest, Sha256};

/// A script that is not what the user trusted.
#[derive(Debug, thiserror::Error)]
#[error(
    "the script {} changed since you trusted it. Look at it, then run agent-team up, which asks again",
    path.display()
)]
pub struct Changed {
    pub path: PathBuf,
}

/// # Errors
/// The first script that changed, is gone or cannot be read.
pub fn check(files: &[FileDigest]) -> Result<(), Changed> {
    for file in files {
        let bytes = fs::read(&file.path).ok();
        let is_same = bytes.is_some_and(|bytes| hex(&Sha256::digest(&bytes)) == file.sha256);
        if !is_same {
            let path = file.path.clone();
            return Err(Changed { path });
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_trusted_until_it_changes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("check.sh");
        fs::write(&path, "").unwrap();
        let files = [FileDigest {
            path: path.clone(),
            // Of no bytes at all.
            sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
        }];
        assert!(check(&[]).is_ok() && check(&files).is_ok());
        fs::write(&path, "x").unwrap();
        assert!(check(&files).unwrap_err().to_string().contains("check.sh"));
        fs::remove_file(&path).unwrap();
        assert!(check(&files).is_err());
    }
}
