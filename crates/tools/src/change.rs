//! The diff of a change, for the user. Called by `file`, for `write` and `edit`.

use std::time::Duration;

use similar::{Algorithm, DiffTag, TextDiff};

/// The largest diff that is shown, in bytes.
const DIFF_MAX: usize = 64 << 10;

/// The time limit of the search for the shortest diff; after it, a longer diff is used.
const SEARCH: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Diff {
    pub(super) text: String,
    /// The numbers of lines of the whole change, also if the text is truncated.
    pub(super) added: usize,
    pub(super) removed: usize,
    /// The diff is not truncated, and the new content is valid UTF-8.
    pub(super) whole: bool,
}

pub(super) fn diff(name: &str, old: Option<&[u8]>, new: &[u8]) -> Diff {
    let before = String::from_utf8_lossy(old.unwrap_or_default());
    let after = String::from_utf8_lossy(new);
    let from = match old {
        Some(_) => format!("a/{name}"),
        None => "/dev/null".to_owned(),
    };
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .timeout(SEARCH)
        .diff_lines(before.as_ref(), after.as_ref());
    let mut text = diff
        .unified_diff()
        .context_radius(3)
        .header(&from, &format!("b/{name}"))
        .to_string();
    let (mut added, mut removed) = (0, 0);
    for op in diff.ops() {
        if op.tag() != DiffTag::Equal {
            added += op.new_range().len();
            removed += op.old_range().len();
        }
    }
    let whole = text.len() <= DIFF_MAX && std::str::from_utf8(new).is_ok();
    if text.len() > DIFF_MAX {
        let end = text[..text.floor_char_boundary(DIFF_MAX)]
            .rfind('\n')
            .map_or(0, |at| at + 1);
        let rest = text[end..].lines().count();
        text.truncate(end);
        text.push_str(&format!("… {rest} more lines of the diff are not shown\n"));
    }
    Diff {
        text,
        added,
        removed,
        whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_diff_has_the_size_of_the_whole_change() {
        let old: String = (0..10).map(|line| format!("old {line}\n")).collect();
        let new: String = (0..20_000).map(|line| format!("new {line}\n")).collect();
        let change = diff("a", Some(old.as_bytes()), new.as_bytes());
        assert!(!change.whole && change.text.len() < DIFF_MAX + 100);
        assert!(change.text.lines().count() < 10_000);
        assert_eq!((change.added, change.removed), (20_000, 10));
        let change = diff("a", Some(b"1\n2\n3\n"), b"1\ntwo\n3\n4");
        assert!(change.whole);
        assert_eq!((change.added, change.removed), (2, 1));
    }
}
