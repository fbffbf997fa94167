//! What an MCP server at a URL is sent with every request, where its values may name variables. Called by `connection`.

use std::collections::{BTreeMap, HashMap};

use reqwest::header::{HeaderName, HeaderValue};

/// The headers, with every variable in their values filled in.
///
/// # Errors
/// Which one cannot be sent, without its value.
pub(super) fn filled<'a>(
    headers: &BTreeMap<String, String>,
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Result<HashMap<HeaderName, HeaderValue>, String> {
    let header = |(name, value): (&String, &String)| {
        let value = fill(value, &variable).map_err(|unknown| {
            format!("the header {name} is to hold ${unknown}, which is not set")
        })?;
        let cannot = |_| format!("the header {name} cannot be sent");
        let mut value = HeaderValue::try_from(value).map_err(|_| cannot(()))?;
        // It may be a key.
        value.set_sensitive(true);
        Ok((HeaderName::try_from(name).map_err(|_| cannot(()))?, value))
    };
    headers.iter().map(header).collect()
}

/// The text with `$NAME` and `${NAME}` filled in, or the name that has no value. Any other `$` is text.
fn fill<'a, 'b>(
    text: &'b str,
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, &'b str> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let (name, after) = match after
            .strip_prefix('{')
            .and_then(|text| text.split_once('}'))
        {
            Some((name, after)) if !name.is_empty() && name_at(name) == name.len() => (name, after),
            Some(_) | None => after.split_at(name_at(after)),
        };
        if name.is_empty() {
            filled.push('$');
        } else {
            filled.push_str(variable(name).ok_or(name)?);
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// How long the name is with which a text begins.
fn name_at(text: &str) -> usize {
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match text.starts_with(|c: char| c.is_ascii_digit()) {
        true => 0,
        false => text.find(|c| !is_in_name(c)).unwrap_or(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_nothing_else_is_touched() {
        let variable = |name: &str| match name {
            "TOKEN" => Some("t-1"),
            "A_2" => Some("$TOKEN"),
            _ => None,
        };
        for (text, filled) in [
            ("Bearer $TOKEN", Ok("Bearer t-1")),
            ("${TOKEN}s and $A_2.", Ok("t-1s and $TOKEN.")),
            ("$ 5 $5 ${} $", Ok("$ 5 $5 ${} $")),
            ("x $NONE", Err("NONE")),
            ("x ${NONE}", Err("NONE")),
            ("${TOKEN", Ok("${TOKEN")),
        ] {
            assert_eq!(fill(text, variable).as_deref(), filled.as_deref(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_said_without_its_value() {
        let headers = [("x-key".to_owned(), "$KEY".to_owned())].into();
        let error = filled(&headers, |_| Some("se\ncret")).unwrap_err();
        assert_eq!(error, "the header x-key cannot be sent");
        let error = filled(&headers, |_| None).unwrap_err();
        assert_eq!(error, "the header x-key is to hold $KEY, which is not set");
    }
}
