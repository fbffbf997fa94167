//! Unified diffs as the diffs of the protocol: one for each hunk, with the lines of the hunk before and after. Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The maximum number of bytes of the hunks that are kept for a tool call.
const KEPT_MAX: usize = 256 << 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) path: PathBuf,
    /// `None`: the file is new.
    old: Option<String>,
    new: String,
}

impl Hunk {
    fn bytes(&self) -> usize {
        let lines = self.old.as_ref().map_or(0, String::len) + self.new.len();
        lines + self.path.as_os_str().len()
    }

    pub(super) fn content(&self) -> Value {
        json!({ "type": "diff", "path": self.path, "oldText": self.old, "newText": self.new })
    }
}

/// Adds hunks. Removes the oldest hunks above [`KEPT_MAX`].
pub(super) fn keep_newest(kept: &mut Vec<Hunk>, more: Vec<Hunk>) {
    kept.extend(more);
    let mut bytes = 0;
    let fits = |hunk: &Hunk| {
        bytes += hunk.bytes();
        bytes <= KEPT_MAX
    };
    let newest = kept.iter().rev().map(fits).take_while(|fits| *fits).count();
    kept.drain(..kept.len() - newest);
}

/// The files of the hunks, as locations of a tool call.
pub(super) fn locations(hunks: &[Hunk]) -> Vec<Value> {
    let paths: BTreeSet<_> = hunks.iter().map(|hunk| &hunk.path).collect();
    paths
        .into_iter()
        .map(|path| json!({ "path": path }))
        .collect()
}

/// The hunks of a diff of files below `project`. Lines outside hunks are skipped.
pub(super) fn hunks(diff: &str, project: &Path) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let (mut is_new, mut path) = (false, None);
    // The remaining lines of the hunk, before and after: a removed line can look like the header of a file.
    let (mut before, mut after) = (0_usize, 0_usize);
    for line in diff.lines() {
        if before == 0 && after == 0 {
            if let Some(old) = line.strip_prefix("--- ") {
                (is_new, path) = (old == "/dev/null", old.strip_prefix("a/"));
            } else if let Some(new) = line.strip_prefix("+++ ") {
                path = new.strip_prefix("b/").or(path);
            } else if let (Some(ranges), Some(path)) = (line.strip_prefix("@@ -"), path) {
                let mut ranges = ranges.split(' ');
                before = ranges.next().map_or(0, length);
                after = ranges.next().map_or(0, length);
                hunks.push(Hunk {
                    path: project.join(path),
                    old: (!is_new).then(String::new),
                    new: String::new(),
                });
            }
            continue;
        }
        let Some(hunk) = hunks.last_mut() else {
            continue;
        };
        let (sign, text) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        if sign != "+" && sign != "\\" {
            before = before.saturating_sub(1);
            if let Some(old) = &mut hunk.old {
                old.push_str(text);
                old.push('\n');
            }
        }
        if sign != "-" && sign != "\\" {
            after = after.saturating_sub(1);
            hunk.new.push_str(text);
            hunk.new.push('\n');
        }
    }
    hunks
}

/// The number of lines of a range such as `+3,7`.
fn length(range: &str) -> usize {
    match range.split_once(',') {
        Some((_start, length)) => length.parse().unwrap_or(0),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_hunks_are_kept() {
        let hunk = |new: String| Hunk {
            path: "/p/a".into(),
            old: None,
            new,
        };
        let large = || hunk("x".repeat(KEPT_MAX / 2));
        let mut kept = vec![large()];
        keep_newest(&mut kept, vec![large(), hunk("2".to_owned())]);
        assert_eq!(kept, [large(), hunk("2".to_owned())]);
        assert_eq!(locations(&kept), [json!({ "path": "/p/a" })]);
    }

    #[test]
    fn each_hunk_has_its_lines_before_and_after() {
        let diff = "--- a/a.rs\n+++ b/a.rs\n@@ -1,2 +1,2 @@\n one\n--- a/x\n+++ b/y\n@@ -9 +9 @@\n-two\n+2\n\
            --- /dev/null\n+++ b/new.rs\n@@ -0,0 +1,1 @@\n+new\nother\n";
        let hunk = |path: &str, old: Option<&str>, new: &str| Hunk {
            path: Path::new("/p").join(path),
            old: old.map(str::to_owned),
            new: new.to_owned(),
        };
        let expected = [
            hunk("a.rs", Some("one\n-- a/x\n"), "one\n++ b/y\n"),
            hunk("a.rs", Some("two\n"), "2\n"),
            hunk("new.rs", None, "new\n"),
        ];
        assert_eq!(hunks(diff, Path::new("/p")), expected);
        assert_eq!(hunks("@@ -1,9 +1,9 @@\n-a\n", Path::new("/p")), []);
    }
}
