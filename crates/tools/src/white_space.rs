//! Finds the lines of a file that differ from a text only in white space, and re-indents the replacement by the same
//! difference. Called by `edit` and `apply_patch`; pure.

/// How the indentation of a file's lines differs from the indentation of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// Each line of the file begins with these additional blanks.
    Added(Vec<u8>),
    /// Each line of the text begins with these additional blanks.
    Removed(Vec<u8>),
    /// The file indents by another unit, such as a tab instead of four blanks.
    Units { text: Vec<u8>, file: Vec<u8> },
}

impl Difference {
    /// `lines`: pairs of a line of the text and a line of the file that are equal apart from white space. `None`: the
    /// lines differ in more than one way, so the right indentation of other lines is unknown.
    pub(super) fn between<'a>(
        lines: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Option<Difference> {
        let pairs: Vec<(&[u8], &[u8])> = lines
            .filter(|(text, _)| !is_blank(text))
            .map(|(text, file)| (indentation(text), indentation(file)))
            .collect();
        let &(text, file) = pairs.first()?;
        let added = file.strip_suffix(text).map(|it| Self::Added(it.to_vec()));
        let removed = text.strip_suffix(file).map(|it| Self::Removed(it.to_vec()));
        let candidates = [added, removed, Self::units(&pairs)];
        candidates.into_iter().flatten().find(|difference| {
            let mut all = pairs.iter();
            all.all(|(text, file)| difference.indent(text).as_deref() == Some(file))
        })
    }

    fn units(pairs: &[(&[u8], &[u8])]) -> Option<Difference> {
        let text = unit(pairs.iter().map(|(text, _)| *text))?;
        let file = unit(pairs.iter().map(|(_, file)| *file))?;
        // The deepest line shows how many blanks correspond to one tab.
        let per_tab = |tabs: &[u8], blanks: &[u8]| {
            let width = blanks.len() / tabs.len().max(1);
            vec![b' '; width.max(1)]
        };
        let deepest = pairs.iter().max_by_key(|(text, _)| text.len())?;
        let (text, file) = match (text[0], file[0]) {
            (b'\t', b' ') => (text, per_tab(deepest.0, deepest.1)),
            (b' ', b'\t') => (per_tab(deepest.1, deepest.0), file),
            _ => (text, file),
        };
        Some(Self::Units { text, file })
    }

    /// The file's indentation for an indentation of the text. `None` if `text` lacks the blanks that must be removed.
    fn indent(&self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Added(blanks) => Some([blanks, text].concat()),
            Self::Removed(blanks) => text.strip_prefix(blanks.as_slice()).map(<[u8]>::to_vec),
            Self::Units { text: unit, file } => {
                let mut rest = text;
                let mut indented = Vec::new();
                while let Some(after) = rest.strip_prefix(unit.as_slice()) {
                    indented.extend_from_slice(file);
                    rest = after;
                }
                indented.extend_from_slice(rest);
                Some(indented)
            }
        }
    }

    /// A line of the replacement, indented like the file. A blank line becomes empty.
    pub(super) fn apply(&self, line: &[u8]) -> Option<Vec<u8>> {
        if is_blank(line) {
            return Some(Vec::new());
        }
        let blanks = indentation(line);
        let mut indented = self.indent(blanks)?;
        indented.extend_from_slice(&line[blanks.len()..]);
        Some(indented)
    }
}

/// The unit of these indentations: one tab, or the greatest number of blanks that divides all of them. `None` if they
/// mix tabs and blanks, or are all empty.
fn unit<'a>(indentations: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let all: Vec<&[u8]> = indentations.filter(|blanks| !blanks.is_empty()).collect();
    let sign = *all.first()?.first()?;
    if all.iter().any(|blanks| blanks.iter().any(|it| *it != sign)) {
        return None;
    }
    match sign {
        b'\t' => Some(vec![sign]),
        _ => {
            let step = all.iter().map(|blanks| blanks.len()).reduce(divisor)?;
            Some(vec![sign; step])
        }
    }
}

/// The greatest common divisor.
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

fn indentation(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    &line[..end.unwrap_or(line.len())]
}

pub(super) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| is_space(*byte))
}

/// The line without trailing blanks.
pub(super) fn trimmed_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !is_space(*byte));
    &line[..end.map_or(0, |at| at + 1)]
}

/// The line without indentation and trailing blanks.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    let line = trimmed_end(line);
    &line[indentation(line).len()..]
}

/// The line without indentation and trailing blanks, with one blank for each run of blanks. A line with quotes or tabs
/// is unchanged: in a string or between columns, white space is part of the value.
pub(super) fn collapsed(line: &[u8]) -> Vec<u8> {
    let line = trimmed(line);
    if line
        .iter()
        .any(|byte| matches!(byte, b'"' | b'\'' | b'`' | b'\t'))
    {
        return line.to_vec();
    }
    let words = line.split(|byte| is_space(*byte));
    let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

/// Whether an edit changes only white space. Callers then require an exact match: if the file contains only an inexact
/// match, it may already have the new indentation.
pub(super) fn differ_in_white_space_alone<'a>(
    old: impl Iterator<Item = &'a str>,
    new: impl Iterator<Item = &'a str>,
) -> bool {
    let old = old.map(|line| collapsed(line.as_bytes()));
    old.eq(new.map(|line| collapsed(line.as_bytes())))
}

/// The indices in `file`, not below `from`, at which the `wanted` lines begin. `of` returns the part of a line that is
/// compared.
pub(super) fn places<'a, T: PartialEq>(
    file: &[&'a [u8]],
    wanted: &[&'a [u8]],
    from: usize,
    of: impl Fn(&'a [u8]) -> T,
) -> Vec<usize> {
    let wanted: Vec<T> = wanted.iter().map(|line| of(line)).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let file: Vec<T> = file.iter().map(|line| of(line)).collect();
    let is_at = |at: usize| file[at..].starts_with(&wanted);
    let last = (file.len() + 1).saturating_sub(wanted.len());
    (from..last).filter(|at| is_at(*at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(text: &[&str], file: &[&str]) -> Option<Difference> {
        let pairs = text.iter().zip(file);
        Difference::between(pairs.map(|(text, file)| (text.as_bytes(), file.as_bytes())))
    }

    fn indented(difference: &Option<Difference>, line: &str) -> Option<String> {
        let line = difference.as_ref()?.apply(line.as_bytes())?;
        Some(String::from_utf8(line).unwrap())
    }

    #[test]
    fn a_line_is_indented_by_the_same_difference() {
        let deeper = between(
            &["a {", "  b", "", "}"],
            &["    a {", "      b", " ", "    }"],
        );
        assert_eq!(indented(&deeper, "    c").unwrap(), "        c");
        assert_eq!(indented(&deeper, "  ").unwrap(), "");
        let shallower = between(&["    a", "      b"], &["  a", "    b"]);
        assert_eq!(indented(&shallower, "        c").unwrap(), "      c");
        assert_eq!(indented(&shallower, "c"), None);
        let tabs = between(&["    a", "        b"], &["\ta", "\t\tb"]);
        assert_eq!(indented(&tabs, "            c").unwrap(), "\t\t\tc");
        let blanks = between(&["a", "\tb"], &["a", "  b"]);
        assert_eq!(indented(&blanks, "\t\tc").unwrap(), "    c");
        let wider = between(&["a", "  b", "    c"], &["a", "    b", "        c"]);
        assert_eq!(indented(&wider, "      d").unwrap(), "            d");
    }

    #[test]
    fn lines_that_differ_in_several_ways_have_no_difference() {
        assert_eq!(between(&["a", "  b"], &["    a", "    b"]), None);
        assert_eq!(between(&[" \ta", "b"], &["\ta", "  b"]), None);
        assert_eq!(between(&["", " "], &["", ""]), None);
    }
}
