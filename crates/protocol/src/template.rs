//! The text that a coordinator's model is asked with, in which `{task}` and its like stand for what is known when it is
//! asked. Read by who loads a team file, filled by who asks.
//!
//! Braces around anything but a word of small letters are text like any other, and two of them are a variable's.

use std::ops::Range;

/// What may stand between braces.
pub const PLACEHOLDERS: [&str; 3] = ["worker_descriptions", "task", "prior_outputs"];

/// Every `{word}`, known or not, with the bytes that it takes.
pub fn placeholders(template: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    template.match_indices('{').filter_map(|(at, _)| {
        let (word, _) = template[at + 1..].split_once('}')?;
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_variable = template[..at].ends_with('{');
        (!is_variable && !word.is_empty() && word.chars().all(is_word))
            .then(|| (at..at + word.len() + 2, word))
    })
}

/// The template with what `value` has for each placeholder; the others stay. What is put in is not looked into again.
pub fn fill<'a>(template: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let (mut filled, mut done) = (String::with_capacity(template.len()), 0);
    for (place, word) in placeholders(template) {
        if let Some(value) = value(word) {
            filled.push_str(&template[done..place.start]);
            filled.push_str(value);
            done = place.end;
        }
    }
    filled.push_str(&template[done..]);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_braces_are_found_and_nothing_else() {
        let found: Vec<_> =
            placeholders("{task}, {\"a\": {b_c}}, {Task}, {}, {x y}, {{v}}, é{z").collect();
        assert_eq!(found, [(0..6, "task"), (14..19, "b_c")]);
    }

    #[test]
    fn what_is_put_in_is_not_looked_into() {
        let value = |word: &str| match word {
            "task" => Some("say {prior_outputs}"),
            "prior_outputs" => Some("nothing"),
            _ => None,
        };
        assert_eq!(
            fill("é {task}/{prior_outputs} {other}", value),
            "é say {prior_outputs}/nothing {other}"
        );
    }
}
