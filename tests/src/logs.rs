//! Reads the logs below a state directory: `print` for the rig when a test has failed, `lines` for the torture test.

use std::fs;
use std::path::{Path, PathBuf};

/// The number of bytes that are printed from the end of each log.
const PRINTED_BYTES: usize = 6_000;

pub(crate) fn print(state: &Path) {
    for (path, text) in below(state) {
        let from = text.ceil_char_boundary(text.len().saturating_sub(PRINTED_BYTES));
        eprintln!("--- {}\n{}", path.display(), &text[from..]);
    }
}

/// The lines with `text` in all logs.
pub(crate) fn lines(state: &Path, text: &str) -> Vec<String> {
    let logs = below(state).into_iter();
    logs.flat_map(|(_, log)| log.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.contains(text))
        .collect()
}

fn below(state: &Path) -> Vec<(PathBuf, String)> {
    let mut logs = Vec::new();
    let mut open = vec![state.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                let text = fs::read(&path).unwrap_or_default();
                logs.push((path, String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    logs
}
