//! A unified diff as rows with line numbers and marked words. Used by the card of a request and by the transcript; pure.

use std::borrow::Cow;

use agent_team_protocol::text::visible_line;
use similar::{ChangeTag, TextDiff};

use crate::line::Line;
use crate::style::{SemanticColour, Style};

/// The minimum number of columns that leaves room for line numbers.
const NUMBERED_MIN: usize = 30;

/// The longest line, in bytes, whose changed words are marked.
const MARKED_MAX: usize = 400;

/// The name in a header for a file that does not exist.
const NO_FILE: &str = "/dev/null";

/// The minimum similarity of two lines whose changed words are marked.
const SIMILAR: f32 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kept,
    Removed,
    Added,
    /// The name of a file, in a diff of several files or of a renamed file.
    File,
    /// Lines between two hunks are left out.
    Gap,
    /// A remark of the program that made the diff, such as `\ No newline at end of file`.
    Remark,
}

#[derive(Debug)]
struct DiffLine {
    kind: Kind,
    number: usize,
    text: Line,
}

#[derive(Debug)]
pub(crate) struct Diff {
    lines: Vec<DiffLine>,
    added: u64,
    removed: u64,
    /// The diff was cut, and `added` and `removed` count only the lines that are left.
    is_cut: bool,
    /// The diff creates its only file.
    pub(crate) is_new: bool,
    /// The diff removes its only file.
    is_removed: bool,
    /// The name of the only file in the headers; `None` without a header, with several files, or if the file is
    /// renamed.
    pub(crate) file: Option<String>,
}

/// The two lines of a file's header.
#[derive(Clone, Copy)]
struct Header<'a> {
    from: &'a str,
    to: &'a str,
}

impl<'a> Header<'a> {
    fn of(lines: &[&'a str]) -> Option<Self> {
        let [from, to, ..] = lines else { return None };
        let (from, to) = (from.strip_prefix("--- ")?, to.strip_prefix("+++ ")?);
        Some(Self {
            from: from.strip_prefix("a/").unwrap_or(from),
            to: to.strip_prefix("b/").unwrap_or(to),
        })
    }

    fn is_new(self) -> bool {
        self.from == NO_FILE
    }

    fn is_removed(self) -> bool {
        self.to == NO_FILE
    }

    fn is_renamed(self) -> bool {
        !self.is_new() && !self.is_removed() && self.from != self.to
    }

    fn title(self) -> String {
        let Self { from, to } = self;
        match (self.is_new(), self.is_removed(), self.is_renamed()) {
            (true, ..) => format!("{to} (new file)"),
            (_, true, _) => format!("{from} (removed)"),
            (.., true) => format!("{from} → {to}"),
            _ => to.to_owned(),
        }
    }
}

impl Diff {
    pub(crate) fn of(text: &str) -> Self {
        let mut diff = Self {
            lines: Vec::new(),
            added: 0,
            removed: 0,
            is_cut: false,
            is_new: false,
            is_removed: false,
            file: None,
        };
        // `lines` would drop the carriage returns that a change may add.
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        diff.is_cut = lines.last().is_some_and(|line| line.starts_with('…'));
        let mut headers: Vec<Header<'_>> = Vec::new();
        // The numbers of the next line in the old and in the new file, and the numbers of remaining lines in the hunk.
        let (mut old, mut new) = (Side::default(), Side::default());
        let mut all: Vec<(Kind, usize, Cow<'_, str>)> = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            // In a hunk, each line of a file has a sign before it, so a line of a file can look like a header.
            if let (0, 0, Some(header)) = (old.rest, new.rest, Header::of(&lines[at..])) {
                headers.push(header);
                all.push((Kind::File, 0, header.title().into()));
                at += 2;
                continue;
            }
            let line = lines[at];
            at += 1;
            match line.chars().next() {
                Some('@') => {
                    let Some(sides) = hunk(line) else {
                        all.push((Kind::Remark, 0, line.into()));
                        continue;
                    };
                    (old, new) = sides;
                    if all.last().is_some_and(|(kind, ..)| *kind != Kind::File) {
                        all.push((Kind::Gap, 0, "".into()));
                    }
                }
                Some('-') => all.push((Kind::Removed, old.next(), line[1..].into())),
                Some('+') => all.push((Kind::Added, new.next(), line[1..].into())),
                Some(' ') | None => {
                    old.next();
                    let text = line.get(1..).unwrap_or_default();
                    all.push((Kind::Kept, new.next(), text.into()));
                }
                Some(_) => all.push((Kind::Remark, 0, line.into())),
            }
        }
        if let [only] = headers.as_slice()
            && !only.is_renamed()
        {
            all.retain(|(kind, ..)| *kind != Kind::File);
            (diff.is_new, diff.is_removed) = (only.is_new(), only.is_removed());
            let name = if only.is_removed() {
                only.from
            } else {
                only.to
            };
            diff.file = Some(name.to_owned());
        }
        let count = |kind| all.iter().filter(|(it, ..)| *it == kind).count() as u64;
        (diff.added, diff.removed) = (count(Kind::Added), count(Kind::Removed));
        diff.lines = styled(&all);
        diff
    }

    /// Sets the numbers of added and removed lines, which were counted before the diff was cut.
    pub(crate) fn counted(self, added: u64, removed: u64) -> Self {
        Self {
            added,
            removed,
            is_cut: false,
            ..self
        }
    }

    /// `(+1 −1)`, or `(new file, +12)`; with `≥` for a cut diff without numbers, from a worker of an earlier version.
    pub(crate) fn size(&self) -> String {
        let at_least = if self.is_cut { "≥" } else { "" };
        let Self { added, removed, .. } = self;
        match (self.is_new, self.is_removed) {
            (true, _) => format!("(new file, +{at_least}{added})"),
            (_, true) => format!("(removed, −{at_least}{removed})"),
            _ => format!("(+{at_least}{added} −{at_least}{removed})"),
        }
    }

    pub(crate) fn rows(&self, columns: usize) -> Vec<Line> {
        let last = self.lines.iter().map(|line| line.number).max();
        let digits = last.unwrap_or_default().max(1).to_string().len();
        let digits = if columns >= NUMBERED_MIN { digits } else { 0 };
        let mut rows = Vec::new();
        for line in &self.lines {
            let (sign, style) = match line.kind {
                // Without a number, a blank would mean that the row continues the previous line.
                Kind::Kept if digits == 0 => ("=", Style::DIM),
                Kind::Kept => (" ", Style::PLAIN),
                Kind::Removed => ("-", Style::of(SemanticColour::Removed)),
                Kind::Added => ("+", Style::of(SemanticColour::Added)),
                Kind::File => ("•", Style::DIM),
                Kind::Gap => ("⋮", Style::DIM),
                Kind::Remark => ("·", Style::of(SemanticColour::Attention)),
            };
            let number = match line.kind {
                Kind::Kept | Kind::Removed | Kind::Added => line.number.to_string(),
                Kind::File | Kind::Gap | Kind::Remark => String::new(),
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

/// The old or the new side of a hunk: the number of the next line, and the number of remaining lines.
#[derive(Default)]
struct Side {
    number: usize,
    rest: usize,
}

impl Side {
    /// Takes the next line, and returns its number.
    fn next(&mut self) -> usize {
        let number = self.number;
        self.number = number.saturating_add(1);
        self.rest = self.rest.saturating_sub(1);
        number
    }
}

/// Parses the header of a hunk, such as `@@ -1,3 +1,4 @@`, into the old and the new side.
fn hunk(line: &str) -> Option<(Side, Side)> {
    let ranges = line.strip_prefix("@@ -")?.split(" @@").next()?;
    let (old, new) = ranges.split_once(" +")?;
    let side = |text: &str| {
        let (number, rest) = text.split_once(',').unwrap_or((text, "1"));
        Some(Side {
            number: number.parse().ok()?,
            rest: rest.parse().ok()?,
        })
    };
    Some((side(old)?, side(new)?))
}

/// The number of lines of the diff at the start of `lines`, from the header of its first file to the end of its last
/// hunk. 0: a diff does not start here. Only the numbers in the header of a hunk show its end: the text that follows can
/// look like lines of the hunk.
pub(crate) fn length(lines: &[&str]) -> usize {
    let mut end = 0;
    while Header::of(&lines[end..]).is_some() {
        let mut at = end + 2;
        while let Some((mut old, mut new)) = lines.get(at).and_then(|line| hunk(line)) {
            at += 1;
            for line in &lines[at..] {
                let is_open = old.rest > 0 || new.rest > 0;
                match line.chars().next() {
                    Some('-') if is_open => _ = old.next(),
                    Some('+') if is_open => _ = new.next(),
                    Some(' ') | None if is_open => _ = (old.next(), new.next()),
                    Some('\\') => {}
                    _ => break,
                }
                at += 1;
            }
            end = at;
        }
        if end < at {
            break;
        }
    }
    end
}

/// The lines with their styles. The first line of removed lines is compared with the first line of the added lines that
/// follow, the second with the second, and so on.
fn styled(all: &[(Kind, usize, Cow<'_, str>)]) -> Vec<DiffLine> {
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
            if let Some((before, after)) = changed_words(&all[old].2, &all[new].2) {
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
        Kind::File => Style::BOLD,
        Kind::Removed => Style::of(SemanticColour::Removed),
        Kind::Added => Style::of(SemanticColour::Added),
        Kind::Remark => Style::of(SemanticColour::Attention),
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
    fn the_files_of_a_diff_have_their_names() {
        let diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n--- a/y\n+++ b/y\n--- /dev/null\n+++ b/z\n@@ -0,0 +1 @@\n+z\n\
                    --- a/v\n+++ /dev/null\n@@ -1 +0,0 @@\n-v\n--- a/old\n+++ b/new\n";
        let expected = [
            "  • x",
            "1 - -- a/y",
            "1 + ++ b/y",
            "  • z (new file)",
            "1 + z",
            "  • v (removed)",
            "1 - v",
            "  • old → new",
        ];
        assert_eq!(rows(diff, 40), expected);
        let diff = Diff::of(diff);
        assert_eq!((diff.size(), diff.file), ("(+2 −2)".to_owned(), None));
        let removed = Diff::of("--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n");
        assert_eq!(removed.size(), "(removed, −1)");
    }

    #[test]
    fn a_diff_ends_with_its_last_hunk() {
        let length = |text: &str| length(&text.split_terminator('\n').collect::<Vec<_>>());
        let one = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n\\ No newline at end of file\n c\n";
        let result = "  ⎿ x is edited.\n- not a removed line\n";
        assert_eq!(length(&format!("{one}{result}")), 7);
        assert_eq!(
            length(&format!("{one}@@ -9 +9 @@\n--- a/y\n+++ b/y\n{result}")),
            10
        );
        assert_eq!(length(&format!("{one}{one}{result}")), 14);
        assert_eq!(
            length(&format!("{one}--- a/y\n+++ b/y\n{result}")),
            7,
            "no hunk"
        );
        assert_eq!(
            length("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n"),
            4,
            "it was cut"
        );
        for text in ["", "--- a/x\n", "@@ -1 +1 @@\n-a\n+b\n", result] {
            assert_eq!(length(text), 0, "{text}");
        }
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
