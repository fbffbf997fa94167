//! Parses the front matter of a role file or a `SKILL.md`: a subset of YAML with top-level keys whose values are
//! strings or lists of strings. Nested keys are not read; their top-level key gets the value [`Value::Nested`]. Called
//! by [`super::file`] and by the search for skills.

use super::super::table::At;

/// A file, split into front matter and body.
#[derive(Debug)]
pub(crate) struct RoleText<'a> {
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) body: At<&'a str>,
}

/// One top-level key.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) key: At<&'a str>,
    pub(crate) value: Value,
    /// For a block scalar (`|` or `>`): the separator of its lines, which are always text.
    block: Option<char>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    List(Vec<At<String>>),
    /// The value consists of nested keys.
    Nested,
}

/// A syntax error with its position.
pub(crate) type Unreadable = At<String>;

/// Splits a file. A text without front matter has only a body.
pub(crate) fn read(text: &str) -> Result<RoleText<'_>, Unreadable> {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == "---") else {
        let body = At { value: text, at: 0 };
        return Ok(RoleText {
            fields: Vec::new(),
            body,
        });
    };
    let (mut fields, mut at) = (Vec::new(), first.len());
    for line in lines {
        if line.trim_end() == "---" {
            let at = at + line.len();
            let body = At {
                value: &text[at..],
                at,
            };
            return Ok(RoleText { fields, body });
        }
        read_line(&mut fields, At { value: line, at })?;
        at += line.len();
    }
    Err(At {
        value: "the front matter has no closing line `---`".to_owned(),
        at: 0,
    })
}

fn read_line<'a>(fields: &mut Vec<Field<'a>>, line: At<&'a str>) -> Result<(), Unreadable> {
    let text = line.value.trim();
    let indent = line.value.len() - line.value.trim_start().len();
    let in_block = indent > 0 && fields.last().is_some_and(|field| field.block.is_some());
    if text.is_empty() || (text.starts_with('#') && !in_block) {
        return Ok(());
    }
    let at = line.at + indent;
    if indent > 0 || text.starts_with("- ") || text == "-" {
        let Some(field) = fields.last_mut() else {
            return Err(no_field(at));
        };
        field.add_line(At { value: text, at });
        return Ok(());
    }
    let Some((key, value)) = text.split_once(':') else {
        return Err(no_field(at));
    };
    let value_at = at + key.len() + 1 + (value.len() - value.trim_start().len());
    let value = value.trim();
    let block = match value {
        ">" | ">-" | ">+" => Some(' '),
        "|" | "|-" | "|+" => Some('\n'),
        _ => None,
    };
    fields.push(Field {
        key: At {
            value: key.trim_end(),
            at,
        },
        value: match block {
            Some(_) => Value::Text(String::new()),
            None => value_of(At {
                value,
                at: value_at,
            }),
        },
        block,
    });
    Ok(())
}

fn no_field(at: usize) -> Unreadable {
    At {
        value: "a line of the front matter must be `key: value`".to_owned(),
        at,
    }
}

fn value_of(found: At<&str>) -> Value {
    let text = found.value;
    let Some(inside) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    else {
        return Value::Text(scalar(text).to_owned());
    };
    Value::List(split(At {
        value: inside,
        at: found.at + 1,
    }))
}

pub(super) fn split(list: At<&str>) -> Vec<At<String>> {
    let (mut parts, mut at) = (Vec::new(), list.at);
    for part in list.value.split(',') {
        let value = scalar(part.trim());
        if !value.is_empty() {
            parts.push(At {
                value: value.to_owned(),
                at: at + (part.len() - part.trim_start().len()),
            });
        }
        at += part.len() + 1;
    }
    parts
}

/// Removes quotes, or a trailing comment.
fn scalar(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inside) = text.strip_prefix(quote)
            && let Some((inside, _)) = inside.rsplit_once(quote)
        {
            return inside;
        }
    }
    match text.find(" #") {
        Some(comment) => text[..comment].trim_end(),
        None if text.starts_with('#') => "",
        None => text,
    }
}

impl Field<'_> {
    /// Adds a continuation line to this key's value.
    fn add_line(&mut self, line: At<&str>) {
        if let (Some(join), Value::Text(text)) = (self.block, &mut self.value) {
            if !text.is_empty() {
                text.push(join);
            }
            text.push_str(line.value);
            return;
        }
        if let Some(item) = line.value.strip_prefix('-') {
            let item = At {
                value: scalar(item.trim()).to_owned(),
                at: line.at + 1 + (item.len() - item.trim_start().len()),
            };
            match &mut self.value {
                Value::List(items) => items.push(item),
                Value::Text(text) if text.is_empty() => self.value = Value::List(vec![item]),
                Value::Text(_) | Value::Nested => self.value = Value::Nested,
            }
            return;
        }
        match &mut self.value {
            Value::Text(text) if !text.is_empty() => {
                // In a list in brackets, a comment would hide the items of the next lines.
                let value = match text.starts_with('[') {
                    true => line.value.split(" #").next().unwrap_or_default(),
                    false => line.value,
                };
                text.push(' ');
                text.push_str(value);
            }
            Value::Text(text) if !is_key(line.value) => text.push_str(line.value),
            Value::Text(_) | Value::List(_) | Value::Nested => self.value = Value::Nested,
        }
    }
}

/// Whether a line has the form `word:` or `word: …`.
fn is_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(key, value)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        key.chars().all(plain) && (value.is_empty() || value.starts_with(' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, Value)> {
        let read = read(text).unwrap();
        let pair = |field: Field<'_>| (field.key.value.to_owned(), field.value);
        read.fields.into_iter().map(pair).collect()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn all_spellings_of_strings_and_lists_are_read() {
        let head = "---\na: x # why\nb: \"y: # z\"\nc: >\n  one\n  two\n# no\nd: 'q'\n---\nBody\n";
        let expected = [("a", "x"), ("b", "y: # z"), ("c", "one two"), ("d", "q")];
        let expected = expected.map(|(key, value)| (key.to_owned(), text(value)));
        assert_eq!(values(head), expected);
        assert_eq!(read(head).unwrap().body.value, "Body\n");

        for list in ["l: [a, 'b']", "l:\n  - a\n  - b # x", "l:\n- a\n- \"b\""] {
            let read = values(&format!("---\n{list}\n---\n"));
            let Value::List(items) = &read[0].1 else {
                panic!("{list}: {read:?}");
            };
            let items: Vec<_> = items.iter().map(|item| item.value.as_str()).collect();
            assert_eq!(items, ["a", "b"], "{list}");
        }
        assert_eq!(
            values("---\nh:\n  Stop:\n    - x\n---\n")[0].1,
            Value::Nested
        );
    }

    #[test]
    fn lines_of_a_block_scalar_are_text() {
        let head = "---\na: |\n  Use it:\n  - here\n  # there\nb: >-\n  x: y\n  z\n---\n";
        let expected = [("a", "Use it:\n- here\n# there"), ("b", "x: y z")];
        let expected = expected.map(|(key, value)| (key.to_owned(), text(value)));
        assert_eq!(values(head), expected);
    }

    #[test]
    fn list_items_have_positions() {
        let text = "---\nl: [a, bc]\nm:\n  - d\n---\n";
        for field in read(text).unwrap().fields {
            let Value::List(items) = field.value else {
                panic!("a list");
            };
            for item in items {
                assert!(text[item.at..].starts_with(&item.value), "{item:?}");
            }
        }
    }

    #[test]
    fn a_text_without_front_matter_is_only_a_body() {
        let read = read("# You\n---\nx: y\n").unwrap();
        assert!(read.fields.is_empty());
        assert_eq!(read.body.value, "# You\n---\nx: y\n");
    }

    #[test]
    fn syntax_errors_have_positions() {
        for (text, at) in [
            ("---\na: b\n", 0),
            ("---\n  a\n---\n", 6),
            ("---\na: b\nc\n---\n", 9),
        ] {
            assert_eq!(read(text).unwrap_err().at, at, "{text:?}");
        }
    }
}
