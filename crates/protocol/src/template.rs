//! The template of the question to a coordinator's model, with placeholders such as `{task}`. Called when a team file
//! is loaded, to check the placeholders, and when the question is asked, to fill them.
//!
//! Braces around anything but a lower-case word are plain text, and double braces belong to `--var` variables.

use std::ops::Range;

/// The known placeholders.
pub const PLACEHOLDERS: [&str; 3] = ["worker_descriptions", "task", "prior_outputs"];

/// Every `{word}`, known or not, with its byte range.
pub fn placeholders(template: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    template.match_indices('{').filter_map(|(at, _)| {
        let (word, _) = template[at + 1..].split_once('}')?;
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_variable = template[..at].ends_with('{');
        (!is_variable && !word.is_empty() && word.chars().all(is_word))
            .then(|| (at..at + word.len() + 2, word))
    })
}

/// Replaces each placeholder for which `value` returns a text. Other placeholders remain. Does not expand inserted
/// text.
pub fn fill<'a>(template: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let (mut filled, mut done) = (String::with_capacity(template.len()), 0);
    for (range, word) in placeholders(template) {
        if let Some(value) = value(word) {
            filled.push_str(&template[done..range.start]);
            filled.push_str(value);
            done = range.end;
        }
    }
    filled.push_str(&template[done..]);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_words_are_placeholders() {
        let found: Vec<_> =
            placeholders("{task}, {\"a\": {b_c}}, {Task}, {}, {x y}, {{v}}, é{z").collect();
        assert_eq!(found, [(0..6, "task"), (14..19, "b_c")]);
    }

    #[test]
    fn inserted_text_is_not_expanded() {
        let value = |word: &str| match word {
            "task" => Some("print {prior_outputs}"),
            "prior_outputs" => Some("nothing"),
            _ => None,
        };
        assert_eq!(
            fill("é {task}/{prior_outputs} {other}", value),
            "é print {prior_outputs}/nothing {other}"
        );
    }
}
