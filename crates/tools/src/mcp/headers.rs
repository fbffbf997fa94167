//! The configured HTTP headers of an MCP server at a URL, with variables expanded. Called by `connection`.

use std::collections::{BTreeMap, HashMap};

use reqwest::header::{HeaderName, HeaderValue};

/// Expands the variables in the headers' values.
///
/// # Errors
/// If a variable is not set, or a header is invalid. The error contains the header's name, never its value.
pub(super) fn expanded<'a>(
    headers: &BTreeMap<String, String>,
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Result<HashMap<HeaderName, HeaderValue>, String> {
    let header = |(name, value): (&String, &String)| {
        let value = expand(value, &variable)
            .map_err(|unknown| format!("the header {name} uses ${unknown}, which is not set"))?;
        let cannot = |_| format!("cannot send the header {name}");
        let mut value = HeaderValue::try_from(value).map_err(|_| cannot(()))?;
        // The value may be a key.
        value.set_sensitive(true);
        Ok((HeaderName::try_from(name).map_err(|_| cannot(()))?, value))
    };
    headers.iter().map(header).collect()
}

/// Expands `$NAME` and `${NAME}`; returns the name of an unset variable as an error. Any other `$` is literal.
fn expand<'a, 'b>(
    text: &'b str,
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, &'b str> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, after) = match after
            .strip_prefix('{')
            .and_then(|text| text.split_once('}'))
        {
            Some((name, after)) if !name.is_empty() && name_len(name) == name.len() => {
                (name, after)
            }
            Some(_) | None => after.split_at(name_len(after)),
        };
        if name.is_empty() {
            expanded.push('$');
        } else {
            expanded.push_str(variable(name).ok_or(name)?);
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The length of the variable name at the start of a text.
fn name_len(text: &str) -> usize {
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
    fn only_variables_are_expanded() {
        let variable = |name: &str| match name {
            "TOKEN" => Some("t-1"),
            "A_2" => Some("$TOKEN"),
            _ => None,
        };
        for (text, expanded) in [
            ("Bearer $TOKEN", Ok("Bearer t-1")),
            ("${TOKEN}s and $A_2.", Ok("t-1s and $TOKEN.")),
            ("$ 5 $5 ${} $", Ok("$ 5 $5 ${} $")),
            ("x $NONE", Err("NONE")),
            ("x ${NONE}", Err("NONE")),
            ("${TOKEN", Ok("${TOKEN")),
        ] {
            assert_eq!(
                expand(text, variable).as_deref(),
                expanded.as_deref(),
                "{text}"
            );
        }
    }

    #[test]
    fn header_errors_do_not_contain_the_value() {
        let headers = [("x-key".to_owned(), "$KEY".to_owned())].into();
        let error = expanded(&headers, |_| Some("se\ncret")).unwrap_err();
        assert_eq!(error, "cannot send the header x-key");
        let error = expanded(&headers, |_| None).unwrap_err();
        assert_eq!(error, "the header x-key uses $KEY, which is not set");
    }
}
