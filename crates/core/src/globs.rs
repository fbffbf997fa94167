//! Whether two globs can match the same file. Called to warn about tasks that declare overlapping files.

/// Whether some path may match both globs. `*` and `?` do not match a `/`; `**` does. Each `[…]` and `{…}`, up to its
/// first closing bracket, counts as any text, so the result can be true although no path matches both globs. It can be
/// wrongly false only if braces are nested, `[…]` contains a `]`, or a character is escaped.
pub(crate) fn may_overlap(one: &str, other: &str) -> bool {
    let (one, other) = (tokens(one), tokens(other));
    // reach[i][j]: some text is matched by the first i tokens of `one` and the first j tokens of `other`.
    let mut reach = vec![vec![false; other.len() + 1]; one.len() + 1];
    reach[0][0] = true;
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            if !reach[i][j] {
                continue;
            }
            if let Some(token) = one.get(i) {
                reach[i + 1][j] |= token.repeats();
            }
            if let Some(token) = other.get(j) {
                reach[i][j + 1] |= token.repeats();
            }
            if let (Some(a), Some(b)) = (one.get(i), other.get(j))
                && a.meets(*b)
            {
                reach[i + 1][j + 1] = true;
                reach[i + 1][j] |= b.repeats();
                reach[i][j + 1] |= a.repeats();
            }
        }
    }
    reach[one.len()][other.len()]
}

#[derive(Clone, Copy)]
enum Token {
    Char(char),
    /// One character of a path component.
    One,
    /// Any characters of a path component.
    Star,
    /// Any characters.
    Deep,
}

impl Token {
    fn repeats(self) -> bool {
        matches!(self, Self::Star | Self::Deep)
    }

    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::Char('/'), Self::One | Self::Star)
            | (Self::One | Self::Star, Self::Char('/')) => false,
            _ => true,
        }
    }
}

fn tokens(glob: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = glob.trim_start_matches("./").chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // `**/` also matches the empty path.
                chars.next_if_eq(&'/');
                Token::Deep
            }
            '*' => Token::Star,
            '?' => Token::One,
            '[' | '{' => {
                let close = if c == '[' { ']' } else { '}' };
                for inner in chars.by_ref() {
                    if inner == close {
                        break;
                    }
                }
                Token::Deep
            }
            c => Token::Char(c),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_overlap_when_a_path_matches_both() {
        for (one, other) in [
            ("src/**", "src/main.rs"),
            ("src/*.rs", "src/m*"),
            ("**/*.rs", "lib.rs"),
            ("a/**/z", "a/z"),
            ("docs/?.md", "docs/a.md"),
            ("src/{a,b}.rs", "src/b.rs"),
            ("./x", "x"),
            ("*", "**"),
        ] {
            assert!(
                may_overlap(one, other) && may_overlap(other, one),
                "{one} and {other}"
            );
        }
        for (one, other) in [
            ("src/*.rs", "src/*.md"),
            ("src/*", "src/a/b"),
            ("a/**", "b/**"),
            ("docs/?.md", "docs/ab.md"),
            ("x", "xy"),
        ] {
            assert!(
                !may_overlap(one, other) && !may_overlap(other, one),
                "{one} and {other}"
            );
        }
    }
}
