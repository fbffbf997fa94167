//! What the model may have meant with a text that is not there. Called by `edit`; pure.

use std::fmt::Write as _;

/// Lines of the text that are compared, and lines of the file that are looked at: beyond, no hint is worth the time.
const TEXT_LINES: usize = 40;
const FILE_LINES: usize = 50_000;

/// Bytes of a line that are compared or shown.
const LINE_MAX: usize = 200;

/// How alike two lines must be to be taken for the same one.
const ALIKE: f64 = 0.6;

/// A sentence, and the lines that are most like the text, if any are.
pub(super) fn hint(bytes: &[u8], old: &str) -> String {
    let file = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = file.lines().take(FILE_LINES).collect();
    let wanted: Vec<&str> = old.lines().take(TEXT_LINES).collect();
    let Some((at, same)) = best(&lines, &wanted) else {
        return "Nothing in it is like that: read it again".to_owned();
    };
    let end = (at + wanted.len()).min(lines.len());
    let why = if same == wanted.len() {
        "It differs in white space, or in how its lines begin or end"
    } else {
        "Take the text from there"
    };
    let mut hint = format!("The nearest is at line {}. {why}:\n", at + 1);
    for (number, line) in lines[at..end].iter().enumerate() {
        let _infallible = writeln!(hint, "{:>6}\t{}", at + 1 + number, cut(line));
    }
    hint
}

/// Where the text fits best, and how many of its lines are the same there but for white space.
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
    let count = |line: &String| !line.is_empty();
    let (at, most) = (0..have.len())
        .map(|at| (at, same(at)))
        .max_by_key(|&(at, same)| (same, std::cmp::Reverse(at)))?;
    if most > 0 {
        let whole = want.iter().filter(|line| count(line)).count();
        return Some((at, if most == whole { wanted.len() } else { most }));
    }
    // Not one line is the same: which is most like the first that says something?
    let (offset, first) = want.iter().enumerate().find(|(_, line)| count(line))?;
    let alike = |line: &str| strsim::normalized_levenshtein(cut(line), cut(first));
    let (at, likeness) = have
        .iter()
        .enumerate()
        .filter(|(_, line)| line.len() < first.len() * 2 && line.len() * 2 > first.len())
        .map(|(at, line)| (at, alike(line)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (likeness >= ALIKE).then_some((at.saturating_sub(offset), 0))
}

fn cut(line: &str) -> &str {
    &line[..line.floor_char_boundary(LINE_MAX)]
}
