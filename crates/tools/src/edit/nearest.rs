//! Finds the lines of a file that are most similar to a text that the file does not contain. Called by `edit` and
//! `apply_patch`; pure.

use std::fmt::Write as _;

/// The largest numbers of lines that are compared: of the text, and of the file.
const TEXT_LINES: usize = 40;
const FILE_LINES: usize = 50_000;

/// The similarity of a line is computed from its first `LINE_MAX` bytes, and only these bytes are shown.
const LINE_MAX: usize = 200;

/// If no line is equal, the most similar line is shown only if its similarity has at least this value.
const SIMILARITY_MIN: f64 = 0.6;

/// Returns a hint, with the most similar lines if there are any.
pub(crate) fn hint(bytes: &[u8], old: &str) -> String {
    let file = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = file.lines().take(FILE_LINES).collect();
    let wanted: Vec<&str> = old.lines().take(TEXT_LINES).collect();
    let Some((at, same)) = best(&lines, &wanted) else {
        return "The file contains no similar text: read it again".to_owned();
    };
    let end = (at + wanted.len()).min(lines.len());
    let advice = match same == wanted.len() {
        true if old.lines().nth(TEXT_LINES).is_some() => {
            format!("Its first {TEXT_LINES} lines differ at most in white space")
        }
        true => "It differs only in white space".to_owned(),
        false => "Copy the text from there".to_owned(),
    };
    let mut hint = format!("The most similar text is at line {}. {advice}:\n", at + 1);
    for (number, line) in lines[at..end].iter().enumerate() {
        let _infallible = writeln!(hint, "{:>6}\t{}", at + 1 + number, cut(line));
    }
    hint
}

/// Returns the index of the line at which the text matches best, and the number of lines that are equal there apart
/// from white space. Empty lines of the text count only if all lines of the text are equal there.
fn best(lines: &[&str], wanted: &[&str]) -> Option<(usize, usize)> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let have: Vec<String> = lines.iter().map(|line| words(line)).collect();
    let want: Vec<String> = wanted.iter().map(|line| words(line)).collect();
    let same = |at: usize| {
        let pairs = have[at..].iter().zip(&want);
        pairs
            .filter(|(have, want)| have == want && !want.is_empty())
            .count()
    };
    let is_filled = |line: &String| !line.is_empty();
    let (at, most) = (0..have.len())
        .map(|at| (at, same(at)))
        .max_by_key(|&(at, same)| (same, std::cmp::Reverse(at)))?;
    if most > 0 {
        let is_whole = have[at..].starts_with(&want);
        return Some((at, if is_whole { wanted.len() } else { most }));
    }
    // If no line is equal, use the line most similar to the first non-empty line of the text.
    let (offset, first) = want.iter().enumerate().find(|(_, line)| is_filled(line))?;
    let similarity = |line: &str| strsim::normalized_levenshtein(cut(line), cut(first));
    let (at, likeness) = have
        .iter()
        .enumerate()
        .filter(|(_, line)| line.len() < first.len() * 2 && line.len() * 2 > first.len())
        .map(|(at, line)| (at, similarity(line)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (likeness >= SIMILARITY_MIN).then_some((at.saturating_sub(offset), 0))
}

fn cut(line: &str) -> &str {
    &line[..line.floor_char_boundary(LINE_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_white_space_only_if_all_lines_are_equal() {
        let hint_for = |file: &str| hint(file.as_bytes(), "a\n\nb\n");
        assert!(hint_for("  a\n\nb\n").contains("only in white space"));
        assert!(!hint_for("  a\nx\nb\n").contains("only in white space"));
    }
}
