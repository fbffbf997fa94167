//! The files of a directory, as git sees them: without what is ignored and without `.git`. Called by `glob` and `grep`.
//!
//! A walk runs on a thread of its own. It follows no link, and ends when its caller is gone or its time is over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;

use super::guard::Guard;
use super::{ToolError, off_thread};

/// How long a walk may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Says to a walk whether it shall go on.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    given_up: Arc<AtomicBool>,
    until: Instant,
}

impl Patience {
    pub(super) fn is_over(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) || Instant::now() > self.until
    }
}

/// Runs a walk off the runtime's thread; dropping the future ends it.
pub(super) async fn patiently<T: Send + 'static>(
    walk: impl FnOnce(Patience) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    struct GiveUp(Arc<AtomicBool>);
    impl Drop for GiveUp {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let given_up = Arc::new(AtomicBool::new(false));
    let patience = Patience {
        given_up: Arc::clone(&given_up),
        until: Instant::now() + TIMEOUT,
    };
    let _dropped = GiveUp(given_up);
    off_thread(move || walk(patience)).await
}

/// A regular file below the directory walked.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// From the directory walked on.
    pub(super) relative: PathBuf,
}

/// Hands every file that is not guarded to `meet`, sorted by path, until that says to stop. False when the walk was not finished.
pub(super) fn files(
    directory: &Path,
    guard: &Guard,
    patience: &Patience,
    mut meet: impl FnMut(Found) -> std::ops::ControlFlow<()>,
) -> bool {
    let walk = WalkBuilder::new(directory)
        .hidden(false)
        .require_git(false)
        .follow_links(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_name(Ord::cmp)
        .build();
    // A directory that cannot be read has nothing that can be shown.
    for entry in walk {
        if patience.is_over() {
            return false;
        }
        let Ok(entry) = entry else { continue };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        if guard.covers(entry.path()) {
            continue;
        }
        let relative = entry.path().strip_prefix(directory);
        let found = Found {
            relative: relative.unwrap_or(entry.path()).to_owned(),
            path: entry.into_path(),
        };
        if meet(found).is_break() {
            return false;
        }
    }
    true
}

/// A pattern for paths: `*` stays within a directory, `**` does not; without a `/` it is for names alone.
pub(super) fn pattern(field: &str, text: &str) -> Result<GlobMatcher, ToolError> {
    let whole = match text.strip_prefix("./").unwrap_or(text) {
        name if !name.contains('/') => format!("**/{name}"),
        path => path.to_owned(),
    };
    GlobBuilder::new(&whole)
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| ToolError::Input(format!("`{field}`: {}", error.kind())))
}
