//! `{{name}}` in prompts, filled from `--var name=value`.
//!
//! Braces around anything but a plain name are text like any other.

use std::collections::BTreeMap;

/// Values by name.
pub type Variables = BTreeMap<String, String>;

/// A `{{name}}` that has no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown<'a> {
    /// Byte of the text.
    pub(super) at: usize,
    pub(super) name: &'a str,
}

/// The text with every variable filled in, or those that have no value.
pub(super) fn fill<'a>(text: &'a str, variables: &Variables) -> Result<String, Vec<Unknown<'a>>> {
    let (mut filled, mut unknown, mut done) = (String::with_capacity(text.len()), Vec::new(), 0);
    for place in places(text) {
        filled.push_str(&text[done..place.at]);
        done = place.end;
        match variables.get(place.name) {
            Some(value) => filled.push_str(value),
            None => unknown.push(Unknown {
                at: place.at,
                name: place.name,
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

/// The same where an unknown one is no fault: it stays as it is.
pub(super) fn fill_known(text: &str, variables: &Variables) -> String {
    let (mut filled, mut done) = (String::with_capacity(text.len()), 0);
    for place in places(text) {
        if let Some(value) = variables.get(place.name) {
            filled.push_str(&text[done..place.at]);
            filled.push_str(value);
            done = place.end;
        }
    }
    filled.push_str(&text[done..]);
    filled
}

/// Whether a text can be a variable's name.
pub fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

struct Place<'a> {
    at: usize,
    end: usize,
    name: &'a str,
}

fn places(text: &str) -> impl Iterator<Item = Place<'_>> {
    text.match_indices("{{").filter_map(|(at, _)| {
        let (inside, _) = text[at + 2..].split_once("}}")?;
        let name = inside.trim();
        is_variable(name).then(|| Place {
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
    fn a_value_is_put_in_as_it_is() {
        assert_eq!(
            fill("a {{k}}, {{ k }}.", &variables()).unwrap(),
            "a {{v}}, {{v}}."
        );
    }

    #[test]
    fn what_has_no_value_is_named_with_its_place() {
        assert_eq!(
            fill("{{k}} {{x}}", &variables()).unwrap_err(),
            [Unknown { at: 6, name: "x" }]
        );
        assert_eq!(fill_known("{{k}} {{x}}", &variables()), "{{v}} {{x}}");
    }

    #[test]
    fn other_braces_are_text() {
        for text in ["{{", "{{}}", "{{ a.b }}", "{k}", "{{\"k\": 1}}", "é{{"] {
            assert_eq!(fill(text, &variables()).unwrap(), text);
        }
    }
}
