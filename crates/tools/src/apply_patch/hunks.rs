//! Applies the hunks of one section to a file's content. Pure.
//!
//! Hunks apply in the order of the file: the search for a hunk begins after the previous hunk. The lines of a hunk are
//! compared exactly, then without trailing blanks, then without trailing blanks and indentation. An inexact match is
//! used only if it is the only match.

use super::super::edit::nearest;
use super::parse::{Hunk, Sign};
use crate::white_space::{Difference, differ_in_white_space_alone, places, trimmed, trimmed_end};

#[derive(Debug)]
pub(super) struct Patched {
    pub(super) bytes: Vec<u8>,
    /// The line numbers of the hunks in the file before the patch.
    pub(super) lines: Vec<String>,
    /// Whether a hunk matched only without regard to white space.
    pub(super) differed: bool,
}

/// # Errors
/// If a hunk is not in the file, or matches inexactly at several places.
pub(super) fn apply(name: &str, bytes: &[u8], hunks: &[Hunk]) -> Result<Patched, String> {
    let file = File::new(bytes);
    let mut patched = Patched {
        bytes: Vec::with_capacity(bytes.len()),
        lines: Vec::new(),
        differed: false,
    };
    // The number of the file's lines that are already copied or replaced.
    let mut copied = 0;
    for hunk in hunks {
        let found = file.find(name, bytes, hunk, copied)?;
        file.copy(copied..found.at, &mut patched.bytes);
        copied = file
            .replace(hunk, &found, &mut patched.bytes)
            .ok_or_else(|| {
                let old = hunk.old().join("\n");
                format!("a hunk is not in {name}. {}", nearest::hint(bytes, &old))
            })?;
        patched.lines.push((found.at + 1).to_string());
        patched.differed |= found.difference.is_some();
    }
    file.copy(copied..file.lines.len(), &mut patched.bytes);
    Ok(patched)
}

impl Hunk {
    /// The lines that the file must have.
    fn old(&self) -> Vec<&str> {
        let kept = self.lines.iter().filter(|(sign, _)| *sign != Sign::Added);
        kept.map(|(_, text)| text.as_str()).collect()
    }

    /// Whether the hunk replaces lines by the same lines with other white space.
    fn changes_white_space_alone(&self) -> bool {
        let of = |wanted: Sign| {
            let lines = self.lines.iter().filter(move |(sign, _)| *sign == wanted);
            lines.map(|(_, text)| text.as_str())
        };
        of(Sign::Removed).next().is_some()
            && differ_in_white_space_alone(of(Sign::Removed), of(Sign::Added))
    }

    /// Whether the last line that the file must have is an empty line of context.
    fn ends_with_blank_context(&self) -> bool {
        let last = self.lines.iter().rfind(|(sign, _)| *sign != Sign::Added);
        last.is_some_and(|(sign, text)| *sign == Sign::Context && text.is_empty())
    }
}

/// Where a hunk applies.
struct Found {
    at: usize,
    /// The number of the hunk's lines that are in the file.
    length: usize,
    /// `None`: the lines are equal.
    difference: Option<Difference>,
}

struct File<'a> {
    /// The lines of the file without their endings.
    lines: Vec<&'a [u8]>,
    ending: &'static [u8],
    /// Whether the last line has an ending.
    ends_with_newline: bool,
    crlf: Vec<bool>,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let ends_with_newline = bytes.is_empty() || bytes.ends_with(b"\n");
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        if ends_with_newline {
            lines.pop();
        }
        // The `\r` of a last line without a newline belongs to the line's text.
        let ended = lines.len() - usize::from(!ends_with_newline);
        let crlf: Vec<bool> = (0..)
            .zip(&lines)
            .map(|(at, line)| at < ended && line.ends_with(b"\r"))
            .collect();
        let count = crlf.iter().filter(|crlf| **crlf).count();
        Self {
            ending: if count * 2 > ended { b"\r\n" } else { b"\n" },
            lines: lines
                .into_iter()
                .zip(&crlf)
                .map(|(line, crlf)| &line[..line.len() - usize::from(*crlf)])
                .collect(),
            ends_with_newline,
            crlf,
        }
    }

    fn find(&self, name: &str, bytes: &[u8], hunk: &Hunk, from: usize) -> Result<Found, String> {
        let mut from = from;
        for above in &hunk.above {
            let wanted = [above.as_bytes()];
            let at = places(&self.lines, &wanted, from, trimmed);
            let at = at.first().ok_or_else(|| {
                let hint = nearest::hint(bytes, above);
                format!("`@@ {above}` is not in {name} after line {from}. {hint}")
            })?;
            from = at + 1;
        }
        let old = hunk.old();
        let mut wanted: Vec<&[u8]> = old.iter().map(|line| line.as_bytes()).collect();
        if wanted.is_empty() {
            let at = if hunk.above.is_empty() {
                self.lines.len()
            } else {
                from
            };
            return Ok(Found {
                at,
                length: 0,
                difference: None,
            });
        }
        let found = self.seek(name, hunk, &wanted, from)?;
        // A blank line at the end of a hunk often only separates this hunk from the next hunk.
        let found = match found {
            None if wanted.len() > 1 && hunk.ends_with_blank_context() => {
                wanted.pop();
                self.seek(name, hunk, &wanted, from)?
            }
            found => found,
        };
        found.ok_or_else(|| {
            let hint = nearest::hint(bytes, &old.join("\n"));
            format!("a hunk is not in {name} after line {from}. {hint}")
        })
    }

    fn seek(
        &self,
        name: &str,
        hunk: &Hunk,
        wanted: &[&[u8]],
        from: usize,
    ) -> Result<Option<Found>, String> {
        let at_end = self.lines.len().checked_sub(wanted.len());
        let in_order = |found: Vec<usize>| match hunk.is_at_end {
            true => found.into_iter().filter(|at| Some(*at) == at_end).collect(),
            false => found,
        };
        let found = |at: usize, difference| Found {
            at,
            length: wanted.len(),
            difference,
        };
        let exact = in_order(places(&self.lines, wanted, from, |line| line));
        if let Some(at) = exact.first() {
            return Ok(Some(found(*at, None)));
        }
        if hunk.changes_white_space_alone() {
            return Ok(None);
        }
        for of in [trimmed_end, trimmed] {
            match in_order(places(&self.lines, wanted, from, of)).as_slice() {
                [] => {}
                [at] => {
                    let lines = self.lines[*at..].iter().copied();
                    let difference = Difference::between(wanted.iter().copied().zip(lines));
                    return Ok(difference.map(|difference| found(*at, Some(difference))));
                }
                all => {
                    let lines: Vec<String> =
                        all.iter().take(20).map(|at| (at + 1).to_string()).collect();
                    return Err(format!(
                        "a hunk is not in {name}, and {} places differ from it only in white space (lines {}): copy \
                         the lines exactly, with more context",
                        all.len(),
                        lines.join(", ")
                    ));
                }
            }
        }
        Ok(None)
    }

    fn copy(&self, lines: std::ops::Range<usize>, to: &mut Vec<u8>) {
        for at in lines {
            to.extend_from_slice(self.lines[at]);
            if at + 1 < self.lines.len() || self.ends_with_newline {
                let ending: &[u8] = if self.crlf[at] { b"\r\n" } else { b"\n" };
                to.extend_from_slice(ending);
            }
        }
    }

    /// Writes the new lines of the hunk. Returns the index of the file's first line after the hunk; `None` if an added
    /// line cannot be indented like the file.
    fn replace(&self, hunk: &Hunk, found: &Found, to: &mut Vec<u8>) -> Option<usize> {
        let mut at = found.at;
        let end = found.at + found.length;
        for (sign, text) in &hunk.lines {
            match sign {
                // A blank line of context after the last matching line is not in the file.
                Sign::Context if at == end => {}
                Sign::Context => {
                    self.copy(at..at + 1, to);
                    at += 1;
                }
                Sign::Removed => at += 1,
                Sign::Added => {
                    if !to.is_empty() && !to.ends_with(b"\n") {
                        to.extend_from_slice(self.ending);
                    }
                    match &found.difference {
                        Some(difference) => to.extend(difference.apply(text.as_bytes())?),
                        None => to.extend_from_slice(text.as_bytes()),
                    }
                    to.extend_from_slice(self.ending);
                }
            }
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::{Action, parse};
    use super::*;

    fn patch(file: &str, hunks: &str) -> Result<String, String> {
        let patch = format!("*** Begin Patch\n*** Update File: f\n{hunks}\n*** End Patch");
        let sections = parse(&patch).unwrap();
        let Action::Update { hunks, .. } = &sections[0].action else {
            panic!("{sections:?}");
        };
        let patched = apply("f", file.as_bytes(), hunks)?;
        Ok(String::from_utf8(patched.bytes).unwrap())
    }

    #[test]
    fn hunks_apply_in_the_order_of_the_file() {
        let file = "a\nx = 1\nb\nx = 1\nc\nx = 1\n";
        let second = "@@ b\n-x = 1\n+x = 2";
        assert_eq!(
            patch(file, second).unwrap(),
            "a\nx = 1\nb\nx = 2\nc\nx = 1\n"
        );
        let both = "@@\n-x = 1\n+x = 2\n@@\n-x = 1\n+x = 3";
        assert_eq!(patch(file, both).unwrap(), "a\nx = 2\nb\nx = 3\nc\nx = 1\n");
        let last = "@@\n-x = 1\n+x = 4\n*** End of File";
        assert_eq!(patch(file, last).unwrap(), "a\nx = 1\nb\nx = 1\nc\nx = 4\n");
        let backwards = patch(file, "@@\n-c\n+C\n@@\n-a\n+A").unwrap_err();
        assert!(backwards.contains("after line 5"), "{backwards}");
    }

    #[test]
    fn added_lines_get_the_indentation_of_the_file() {
        let file = "fn a() {\n\tif b {\n\t\tc();\n\t}\n}\n";
        let hunk =
            "@@ fn a() {\n     if b {\n-        c();\n+        d();\n+            e();\n     }";
        assert_eq!(
            patch(file, hunk).unwrap(),
            "fn a() {\n\tif b {\n\t\td();\n\t\t\te();\n\t}\n}\n"
        );
        let twice = patch("  a\n    a\n", "@@\n-a\n+b").unwrap_err();
        assert!(
            twice.contains("2 places") && twice.contains("lines 1, 2"),
            "{twice}"
        );
    }

    #[test]
    fn line_endings_and_the_end_of_the_file_are_kept() {
        assert_eq!(
            patch("a\r\nb\r\n", "@@\n a\n+c\n b").unwrap(),
            "a\r\nc\r\nb\r\n"
        );
        assert_eq!(patch("a\nb", "@@\n-a\n+c\n b").unwrap(), "c\nb");
        assert_eq!(patch("a", "@@\n+b").unwrap(), "a\nb\n");
        assert_eq!(patch("a\r\nb\r", "@@\n-a\n+c").unwrap(), "c\r\nb\r");
        assert_eq!(patch("", "@@\n+b").unwrap(), "b\n");
        assert_eq!(patch("a\nb\n", "@@ a\n+c").unwrap(), "a\nc\nb\n");
        assert_eq!(patch("a\nb\n", "@@\n-a\n+c\n").unwrap(), "c\nb\n");
    }

    #[test]
    fn a_repeated_white_space_change_is_refused() {
        let hunk = "@@\n def f():\n-  return 1\n+    return 1";
        let once = patch("def f():\n  return 1\n", hunk).unwrap();
        assert_eq!(once, "def f():\n    return 1\n");
        let error = patch(&once, hunk).unwrap_err();
        assert!(error.contains("a hunk is not in f"), "{error}");
    }

    #[test]
    fn a_removed_blank_line_must_be_in_the_file() {
        let error = patch("a\nb\n", "@@\n-a\n-\n+c").unwrap_err();
        assert!(error.contains("a hunk is not in f"), "{error}");
    }
}
