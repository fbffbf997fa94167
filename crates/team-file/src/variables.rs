//! Replaces `{{name}}` in prompts and descriptions by the values of `--var name=value`. Called while files are read.
//!
//! Braces around anything but a plain name are ordinary text.

use std::collections::BTreeMap;

/// The values of variables by name.
pub type Variables = BTreeMap<String, String>;

/// A `{{name}}` without a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown<'a> {
    /// The byte offset in the text.
    pub(super) at: usize,
    pub(super) name: &'a str,
}

/// Replaces every variable. Fails if variables have no value, and returns them.
pub(super) fn fill<'a>(text: &'a str, variables: &Variables) -> Result<String, Vec<Unknown<'a>>> {
    let (mut filled, mut unknown, mut done) = (String::with_capacity(text.len()), Vec::new(), 0);
    for placeholder in placeholders(text) {
        filled.push_str(&text[done..placeholder.at]);
        done = placeholder.end;
        match variables.get(placeholder.name) {
            Some(value) => filled.push_str(value),
            None => unknown.push(Unknown {
                at: placeholder.at,
                name: placeholder.name,
            }),
        }
    }
    filled.push_str(&text[done..]);
    if unknown.is_empty() {
        Ok(filled)
    } else {
        Err(unknown)
    }
}

/// Replaces the variables that have a value and leaves all other variables unchanged.
pub(super) fn fill_known(text: &str, variables: &Variables) -> String {
    let (mut filled, mut done) = (String::with_capacity(text.len()), 0);
    for placeholder in placeholders(text) {
        if let Some(value) = variables.get(placeholder.name) {
            filled.push_str(&text[done..placeholder.at]);
            filled.push_str(value);
            done = placeholder.end;
        }
    }
    filled.push_str(&text[done..]);
    filled
}

/// Separates the braces of every variable, so that the text contains no variable. Returns the names of the variables.
pub(super) fn escape(text: &str) -> (String, Vec<&str>) {
    let (mut escaped, mut names, mut done) = (String::with_capacity(text.len()), Vec::new(), 0);
    for placeholder in placeholders(text) {
        escaped.push_str(&text[done..placeholder.at]);
        escaped.push_str("{ {");
        done = placeholder.at + 2;
        names.push(placeholder.name);
    }
    escaped.push_str(&text[done..]);
    (escaped, names)
}

/// Whether a text is a valid variable name.
pub fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

struct Placeholder<'a> {
    at: usize,
    end: usize,
    name: &'a str,
}

fn placeholders(text: &str) -> impl Iterator<Item = Placeholder<'_>> {
    text.match_indices("{{").filter_map(|(at, _)| {
        // A name contains no brace. Searching for `}}` up to the end of the text would take quadratic time.
        let rest = &text[at + 2..];
        let inside = &rest[..rest.find(['{', '}'])?];
        if !rest[inside.len()..].starts_with("}}") {
            return None;
        }
        let name = inside.trim();
        is_variable(name).then(|| Placeholder {
            at,
            end: at + inside.len() + 4,
            name,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        [("k".to_owned(), "{{v}}".to_owned())].into()
    }

    #[test]
    fn values_are_not_expanded_again() {
        assert_eq!(
            fill("a {{k}}, {{ k }}.", &variables()).unwrap(),
            "a {{v}}, {{v}}."
        );
    }

    #[test]
    fn a_variable_without_a_value_is_reported_with_its_offset() {
        assert_eq!(
            fill("{{k}} {{x}}", &variables()).unwrap_err(),
            [Unknown { at: 6, name: "x" }]
        );
        assert_eq!(fill_known("{{k}} {{x}}", &variables()), "{{v}} {{x}}");
    }

    #[test]
    fn an_escaped_text_contains_no_variable() {
        let (escaped, names) = escape("a {{k}}, {{ x }} {{{{k}}}} {{");
        assert_eq!(escaped, "a { {k}}, { { x }} {{{ {k}}}} {{");
        assert_eq!(names, ["k", "x", "k"]);
        assert_eq!(fill(&escaped, &variables()).unwrap(), escaped);
    }

    #[test]
    fn other_braces_are_ordinary_text() {
        for text in ["{{", "{{}}", "{{ a.b }}", "{k}", "{{\"k\": 1}}", "é{{"] {
            assert_eq!(fill(text, &variables()).unwrap(), text);
        }
    }
}
