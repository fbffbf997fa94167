//! The diff of a change, for the user. Called by `file` and `notes`.

use std::time::Duration;

use agent_team_policy::Digest;
use serde_json::Value;
use similar::{Algorithm, DiffTag, TextDiff};

use crate::secret::Secrets;

/// The largest diff that is shown, in bytes.
const DIFF_MAX: usize = 64 << 10;

/// The time limit of the search for the shortest diff. After this time, a longer diff is used.
const SEARCH: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Diff {
    pub(super) text: String,
    /// The numbers of added and removed lines of the whole change, even if the text is truncated.
    pub(super) added: usize,
    pub(super) removed: usize,
    /// Whether the diff is not truncated and the new content is valid UTF-8.
    pub(super) whole: bool,
}

/// The diff of a file. `old` and `new`: its name and content before and after the change; `None`: the file
/// does not exist at that time.
pub(super) fn diff(old: Option<(&str, &[u8])>, new: Option<(&str, &[u8])>) -> Diff {
    let content = |side: Option<(&str, &[u8])>| {
        let bytes = side.map_or(&[][..], |(_, bytes)| bytes);
        String::from_utf8_lossy(bytes).into_owned()
    };
    let (before, after) = (content(old), content(new));
    let name = |letter: char, side: Option<(&str, &[u8])>| match side {
        Some((name, _)) => format!("{letter}/{name}"),
        None => "/dev/null".to_owned(),
    };
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .timeout(SEARCH)
        .diff_lines(&before, &after);
    let hunks = diff.unified_diff().context_radius(3).to_string();
    // The diff of a new empty file, or of a file that is only renamed, is a header without hunks.
    let mut text = format!("--- {}\n+++ {}\n{hunks}", name('a', old), name('b', new));
    let (mut added, mut removed) = (0, 0);
    for op in diff.ops() {
        if op.tag() != DiffTag::Equal {
            added += op.new_range().len();
            removed += op.old_range().len();
        }
    }
    let is_utf8 = new.is_none_or(|(_, bytes)| std::str::from_utf8(bytes).is_ok());
    let whole = is_utf8 && !cut(&mut text);
    Diff {
        text,
        added,
        removed,
        whole,
    }
}

/// The unified diff of a change of one file. `None`: the diff is too large to be shown as a whole.
pub fn unified_diff(path: &str, old: &str, new: &str) -> Option<String> {
    let diff = diff(Some((path, old.as_bytes())), Some((path, new.as_bytes())));
    diff.whole.then_some(diff.text)
}

impl Diff {
    /// Adds the diff to a permission request. A truncated or redacted diff does not show every change, so the request's
    /// digest then also covers the new content, and `added` and `removed` count the lines of the whole change.
    pub(super) fn put_into(
        &self,
        request: &mut Value,
        secrets: &Secrets,
        digest: impl FnOnce() -> Digest,
    ) {
        let shown = secrets.redact(&self.text);
        request["diff"] = shown.as_ref().into();
        if !self.whole || shown != self.text {
            request["added"] = self.added.into();
            request["removed"] = self.removed.into();
            request["sha256"] = digest().to_string().into();
        }
    }

    /// Joins the diffs of several files into one.
    pub(super) fn joined(diffs: impl IntoIterator<Item = Diff>) -> Diff {
        let mut all = Diff {
            text: String::new(),
            added: 0,
            removed: 0,
            whole: true,
        };
        for diff in diffs {
            all.text.push_str(&diff.text);
            all.added += diff.added;
            all.removed += diff.removed;
            all.whole &= diff.whole;
        }
        all.whole &= !cut(&mut all.text);
        all
    }
}

/// Truncates a diff that is too large to be shown. Returns whether it has truncated the diff.
fn cut(text: &mut String) -> bool {
    if text.len() <= DIFF_MAX {
        return false;
    }
    let end = text[..text.floor_char_boundary(DIFF_MAX)]
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let rest = text[end..].lines().count();
    text.truncate(end);
    text.push_str(&format!("… {rest} more lines of the diff are not shown\n"));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_diff_counts_the_lines_of_the_whole_change() {
        let old: String = (0..10).map(|line| format!("old {line}\n")).collect();
        let new: String = (0..20_000).map(|line| format!("new {line}\n")).collect();
        let change = diff(Some(("a", old.as_bytes())), Some(("a", new.as_bytes())));
        assert!(!change.whole && change.text.len() < DIFF_MAX + 100);
        assert!(change.text.lines().count() < 10_000);
        assert_eq!((change.added, change.removed), (20_000, 10));
        let change = diff(Some(("a", b"1\n2\n3\n")), Some(("a", b"1\ntwo\n3\n4")));
        assert!(change.whole);
        assert_eq!((change.added, change.removed), (2, 1));
    }
}
