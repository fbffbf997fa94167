//! A minimal Rust lexer that separates code from comments and literals. Rules about code use its output, so that a rule
//! may contain a forbidden word in a string.

/// The kind of a part of a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Code,
    Comment,
    Literal,
}

/// The source with every comment and literal replaced by spaces; lines stay where they are.
pub(super) fn code_only(source: &str) -> String {
    only(Part::Code, source)
}

/// The source with everything but these parts replaced by spaces; lines stay where they are.
pub(super) fn only(kept: Part, source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    let mut previous = ' ';
    while let Some(first) = rest.chars().next() {
        let length = prose_length(rest, previous);
        let (part, piece) = match length {
            0 => (Part::Code, &rest[..first.len_utf8()]),
            _ if rest.starts_with("//") || rest.starts_with("/*") => {
                (Part::Comment, &rest[..length])
            }
            _ => (Part::Literal, &rest[..length]),
        };
        if part == kept {
            text.push_str(piece);
        } else {
            text.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        previous = if length == 0 { first } else { ' ' };
        rest = &rest[piece.len()..];
    }
    text
}

/// Byte positions of `word` in the code, not inside a longer name.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            !code[..at].ends_with(in_a_name) && !code[at + word.len()..].starts_with(in_a_name)
        })
}

/// The line of a byte position, counted from 1.
pub(super) fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

pub(super) fn in_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment or literal at this position; 0 for code.
fn prose_length(rest: &str, previous: char) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    if rest.starts_with('\'') {
        // A lifetime has no closing quote after its first character.
        let mut after = rest.chars().skip(1);
        return match (after.next(), after.next()) {
            (Some('\\'), _) | (Some(_), Some('\'')) => quoted_length(rest, '\''),
            (Some(_), _) | (None, _) => 0,
        };
    }
    if in_a_name(previous) {
        0
    } else {
        raw_string_length(rest).unwrap_or(0)
    }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str) -> Option<usize> {
    let after_r = rest
        .strip_prefix(['b', 'c'])
        .unwrap_or(rest)
        .strip_prefix('r')?;
    let content = after_r.trim_start_matches('#');
    let hashes = after_r.len() - content.len();
    let content = content.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = content
        .find(&close)
        .map_or(content.len(), |at| at + close.len());
    Some(rest.len() - content.len() + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_become_blanks() {
        let source = "a // unsafe\nb /* unsafe /* \n */ unsafe */ c \"uns\\\"afe\" d\n";
        let code = code_only(source);
        assert!(!code.contains("unsafe"), "{code}");
        assert_eq!(code.lines().count(), source.lines().count());
        assert_eq!(code.split_whitespace().collect::<String>(), "abcd");
    }

    #[test]
    fn raw_strings_end_at_matching_hashes() {
        assert_eq!(
            code_only("x r#\"a \" b\"# y br\"c\" z")
                .split_whitespace()
                .collect::<String>(),
            "xyz"
        );
        assert!(code_only("r#type").contains("r#type"));
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_literals() {
        let code =
            code_only("fn f<'a>(c: char) -> &'a str { c == '\"' || c == '\\'' || c == 'x' }");
        assert!(code.contains("&'a str"), "{code}");
        assert!(!code.contains('"') && !code.contains('x'), "{code}");
    }

    #[test]
    fn words_are_not_found_inside_names() {
        assert_eq!(
            words("unsafe_code unsafe not_unsafe unsafe{", "unsafe").count(),
            2
        );
    }
}
