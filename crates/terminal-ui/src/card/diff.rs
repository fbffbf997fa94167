//! A unified diff as rows with line numbers and marked words. Used by the card of a request; pure.

use agent_team_protocol::text::visible_line;
use similar::{ChangeTag, TextDiff};

use crate::line::Line;
use crate::style::{SemanticColour, Style};

/// The fewest columns that have room for line numbers.
const NUMBERED_MIN: usize = 30;

/// The longest line, in bytes, whose changed words are marked.
const MARKED_MAX: usize = 400;

/// The least similarity of two lines whose changed words are marked. Below it the whole line is new.
const SIMILAR: f32 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kept,
    Removed,
    Added,
    /// Lines between two hunks are left out.
    Gap,
    /// A note of the program that made the diff.
    Note,
}

#[derive(Debug)]
struct DiffLine {
    kind: Kind,
    number: usize,
    text: Line,
}

#[derive(Debug)]
pub(super) struct Diff {
    lines: Vec<DiffLine>,
    added: u64,
    removed: u64,
    /// The diff was cut, and the numbers of added and removed lines are those of the rest.
    is_cut: bool,
    /// The diff creates the file.
    pub(super) is_new: bool,
    /// The name of the file in the diff's header.
    pub(super) file: Option<String>,
}

impl Diff {
    pub(super) fn of(text: &str) -> Self {
        let mut diff = Self {
            lines: Vec::new(),
            added: 0,
            removed: 0,
            is_cut: false,
            is_new: false,
            file: None,
        };
        // Not `lines`, which drops the carriage returns that a change may add.
        let mut rest: Vec<&str> = text.split_terminator('\n').collect();
        if let [from, to, ..] = rest.as_slice()
            && from.starts_with("--- ")
            && let Some(to) = to.strip_prefix("+++ ")
        {
            diff.is_new = *from == "--- /dev/null";
            diff.file = Some(to.strip_prefix("b/").unwrap_or(to).to_owned());
            rest.drain(..2);
        }
        diff.is_cut = rest.last().is_some_and(|line| line.starts_with('…'));
        // The numbers of the next line in the old and in the new file.
        let (mut old, mut new) = (1, 1);
        let mut all: Vec<(Kind, usize, &str)> = Vec::new();
        for line in rest {
            // Each line of a file has a sign before it, so that none begins like a hunk.
            match line.chars().next() {
                Some('@') => {
                    let Some(starts) = hunk(line) else {
                        all.push((Kind::Note, 0, line));
                        continue;
                    };
                    (old, new) = starts;
                    if !all.is_empty() {
                        all.push((Kind::Gap, 0, ""));
                    }
                }
                Some('-') => {
                    all.push((Kind::Removed, old, &line[1..]));
                    old = old.saturating_add(1);
                }
                Some('+') => {
                    all.push((Kind::Added, new, &line[1..]));
                    new = new.saturating_add(1);
                }
                Some(' ') | None => {
                    all.push((Kind::Kept, new, line.get(1..).unwrap_or_default()));
                    (old, new) = (old.saturating_add(1), new.saturating_add(1));
                }
                Some(_) => all.push((Kind::Note, 0, line)),
            }
        }
        let count = |kind| all.iter().filter(|(it, ..)| *it == kind).count() as u64;
        (diff.added, diff.removed) = (count(Kind::Added), count(Kind::Removed));
        diff.lines = styled(&all);
        diff
    }

    /// Sets the numbers of added and removed lines, which were counted before the diff was cut.
    pub(super) fn counted(self, added: u64, removed: u64) -> Self {
        Self {
            added,
            removed,
            is_cut: false,
            ..self
        }
    }

    /// `(+1 −1)`, or `(new file, +12)`; with `≥` for the diff of an earlier version that did not count.
    pub(super) fn size(&self) -> String {
        let at_least = if self.is_cut { "≥" } else { "" };
        let Self { added, removed, .. } = self;
        match self.is_new {
            true => format!("(new file, +{at_least}{added})"),
            false => format!("(+{at_least}{added} −{at_least}{removed})"),
        }
    }

    pub(super) fn rows(&self, columns: usize) -> Vec<Line> {
        let last = self.lines.iter().map(|line| line.number).max();
        let digits = last.unwrap_or_default().max(1).to_string().len();
        let digits = if columns >= NUMBERED_MIN { digits } else { 0 };
        let mut rows = Vec::new();
        for line in &self.lines {
            let (sign, style) = match line.kind {
                // Without a number, a blank would mean that the row continues the line before.
                Kind::Kept if digits == 0 => ("=", Style::DIM),
                Kind::Kept => (" ", Style::PLAIN),
                Kind::Removed => ("-", Style::of(SemanticColour::Removed)),
                Kind::Added => ("+", Style::of(SemanticColour::Added)),
                Kind::Gap => ("⋮", Style::DIM),
                Kind::Note => ("·", Style::of(SemanticColour::Attention)),
            };
            let number = match line.kind {
                Kind::Kept | Kind::Removed | Kind::Added => line.number.to_string(),
                Kind::Gap | Kind::Note => String::new(),
            };
            let mut gutter = Line::default();
            if digits > 0 {
                gutter.push(Style::DIM, &format!("{number:>digits$} "));
            }
            gutter.push(style, &format!("{sign} "));
            rows.extend(line.text.beside(&gutter, columns));
        }
        rows
    }
}

/// The first lines of a hunk in the old and in the new file: `@@ -1,3 +1,4 @@`.
fn hunk(line: &str) -> Option<(usize, usize)> {
    let ranges = line.strip_prefix("@@ -")?.split(" @@").next()?;
    let (old, new) = ranges.split_once(" +")?;
    let start = |text: &str| text.split(',').next()?.parse().ok();
    Some((start(old)?, start(new)?))
}

/// The lines with their styles. Each removed line is compared with the added line at the same place after it.
fn styled(all: &[(Kind, usize, &str)]) -> Vec<DiffLine> {
    let mut marked: Vec<Option<Line>> = vec![None; all.len()];
    let end_of = |kind: Kind, from: usize| {
        let run = all[from..].iter().take_while(|(it, ..)| *it == kind);
        from + run.count()
    };
    let mut at = 0;
    while at < all.len() {
        let added = end_of(Kind::Removed, at);
        let end = end_of(Kind::Added, added);
        for (old, new) in (at..added).zip(added..end) {
            if let Some((before, after)) = changed_words(all[old].2, all[new].2) {
                (marked[old], marked[new]) = (Some(before), Some(after));
            }
        }
        at = end.max(at + 1);
    }
    let lines = all.iter().zip(marked);
    let lines = lines.map(|((kind, number, text), marked)| DiffLine {
        kind: *kind,
        number: *number,
        text: marked.unwrap_or_else(|| Line::of(style(*kind), text)),
    });
    lines.collect()
}

fn style(kind: Kind) -> Style {
    match kind {
        Kind::Kept | Kind::Gap => Style::PLAIN,
        Kind::Removed => Style::of(SemanticColour::Removed),
        Kind::Added => Style::of(SemanticColour::Added),
        Kind::Note => Style::of(SemanticColour::Attention),
    }
}

/// Both lines with their changed words marked. `None` if the lines have little in common.
fn changed_words(old: &str, new: &str) -> Option<(Line, Line)> {
    if old.len().max(new.len()) > MARKED_MAX {
        return None;
    }
    let words = TextDiff::from_words(old, new);
    if words.ratio() < SIMILAR {
        return None;
    }
    let mark = |kind| Style {
        underlined: true,
        bold: true,
        ..style(kind)
    };
    let (mut before, mut after) = (Line::default(), Line::default());
    for change in words.iter_all_changes() {
        let text = visible_line(change.value());
        match change.tag() {
            ChangeTag::Equal => {
                before.push(style(Kind::Removed), change.value());
                after.push(style(Kind::Added), change.value());
            }
            ChangeTag::Delete => before.push(mark(Kind::Removed), &text),
            ChangeTag::Insert => after.push(mark(Kind::Added), &text),
        }
    }
    Some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(diff: &str, columns: usize) -> Vec<String> {
        let rows = Diff::of(diff).rows(columns);
        rows.iter().map(Line::text).collect()
    }

    #[test]
    fn lines_have_their_numbers_and_signs() {
        let diff =
            "--- a/x\n+++ b/x\n@@ -8,3 +8,4 @@\n a\n-b\n+c\n+d\n e\n@@ -40 +41 @@\n---- f\n+++ g\n";
        assert_eq!(
            rows(diff, 40),
            [
                " 8   a",
                " 9 - b",
                " 9 + c",
                "10 + d",
                "11   e",
                "   ⋮ ",
                "40 - --- f",
                "41 + ++ g"
            ]
        );
        let diff = Diff::of(diff);
        assert_eq!((diff.size(), diff.is_new), ("(+3 −2)".to_owned(), false));
        assert_eq!(diff.file.as_deref(), Some("x"));
    }

    #[test]
    fn changed_words_are_marked() {
        let diff = Diff::of("@@ -1 +1 @@\n-let a = 1;\n+let b = 1;\n");
        let marked = |at: usize| -> Vec<String> {
            let spans = diff.lines[at].text.spans();
            let marked = spans.filter(|(style, _)| style.underlined);
            marked.map(|(_, text)| text.to_owned()).collect()
        };
        assert_eq!((marked(0), marked(1)), (vec!["a".into()], vec!["b".into()]));
        // Two lines without a common word.
        let diff = Diff::of("@@ -1 +1 @@\n-one two\n+three\n");
        assert!(
            !diff
                .lines
                .iter()
                .any(|line| line.text.spans().any(|(style, _)| style.underlined))
        );
    }

    #[test]
    fn a_changed_line_end_is_visible() {
        assert_eq!(rows("@@ -1 +1 @@\n-a\r\n+a\n", 20), ["- a\\r", "+ a"]);
    }

    #[test]
    fn a_row_that_begins_a_line_has_its_sign() {
        let rows = rows("@@ -1 +1,2 @@\n+aaaa bbbbbbbb\n+- c\n d\n", 8);
        assert_eq!(rows, ["+ aaaa", "  bbbbbb", "↪ bb", "+ - c", "= d"]);
    }
}
