//! The profile keys that a new session overrides: command, name, badge and colour. Used by the other files of the
//! iTerm2 backend.
//!
//! The command is split by the app's own word splitter, without a shell. Before that the app replaces `$$NAME$$` in
//! the command by a value that it asks the user for, and it evaluates `\(…)` in commands, names and badges. Therefore
//! commands, names and badges never contain a backslash, and commands never contain two adjacent dollar signs: text
//! from a model or a file name could otherwise run code in the app.

use std::ffi::OsStr;

use agent_team_protocol::spec::Colour;
use agent_team_protocol::text::visible_label;
use serde_json::{Value, json};

use super::connection::ItermError;
use super::wire::Property;
use crate::launch::order::{Label, LaunchOrder};

/// Maximum characters of a session's name.
const NAME_CHARACTERS: usize = 80;

pub(super) fn properties(order: &LaunchOrder) -> Result<Vec<Property>, ItermError> {
    let property = |key: &str, value: Value| Property {
        key: Some(key.to_owned()),
        json_value: Some(value.to_string()),
    };
    Ok(vec![
        property("Custom Command", json!("Yes")),
        property("Command", json!(command(order)?)),
        // The worker changes to its member's directory itself.
        property("Custom Directory", json!("Yes")),
        property("Working Directory", json!("/")),
        property("Name", json!(name(order.member.as_str(), &order.label))),
        property("Badge Text", json!(order.member.as_str())),
        property("Use Tab Color", json!(true)),
        property("Tab Color", colour(order.label.colour)),
        // Keep the session open after the worker exits, so that its last output can be read.
        property("Close Sessions On End", json!(0)),
    ])
}

/// The name of a session: member and label.
pub(super) fn name(member: &str, label: &Label) -> String {
    let name = visible_label(&format!("{member} · {}", label.text), NAME_CHARACTERS);
    // `visible_label` writes control characters as escapes with a backslash.
    name.replace('\\', "/")
}

/// The program and its arguments. The app gives sessions its own environment, so `env` adds the launch's marker.
fn command(order: &LaunchOrder) -> Result<String, ItermError> {
    let mut words = Vec::new();
    if let Some(marker) = order.marker() {
        words.extend(["/usr/bin/env".to_owned(), quoted(marker.as_ref())?]);
    }
    words.push(quoted(order.program.as_os_str())?);
    for argument in order.arguments() {
        words.push(quoted(&argument)?);
    }
    Ok(words.join(" "))
}

/// Quotes one word so that the app's splitter returns it unchanged.
pub(super) fn quoted(word: &OsStr) -> Result<String, ItermError> {
    let text = word
        .to_str()
        .filter(|text| !text.is_empty() && !text.contains(|c: char| c == '\\' || c.is_control()));
    let Some(text) = text else {
        return Err(ItermError::Unquotable(word.to_string_lossy().into_owned()));
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("'\"'\"'"),
            '$' => quoted.push_str("'$'"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

fn colour(colour: Colour) -> Value {
    let component = |value: u8| f64::from(value) / 255.0;
    let (red, green, blue) = rgb(colour.ansi256());
    json!({
        "Red Component": component(red),
        "Green Component": component(green),
        "Blue Component": component(blue),
        "Alpha Component": 1.0,
        "Color Space": "sRGB",
    })
}

/// Converts a number of the 256-colour palette: after the 16 theme colours a 6 × 6 × 6 cube, then greys.
fn rgb(number: u8) -> (u8, u8, u8) {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let step = |at: u8| STEPS[usize::from(at % 6)];
    match number {
        232.. => {
            let grey = 8 + 10 * (number - 232);
            (grey, grey, grey)
        }
        number => {
            let cube = number.saturating_sub(16);
            (step(cube / 36), step(cube / 6), step(cube))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_contain_no_substitutions() {
        let quoted = |word: &str| quoted(word.as_ref()).unwrap();
        assert_eq!(quoted("/opt/agent-team_1.0/x"), "/opt/agent-team_1.0/x");
        assert_eq!(quoted("/a b/it's"), "'/a b/it'\"'\"'s'");
        assert_eq!(quoted("/$$A$$"), "'/'$''$'A'$''$''");
        assert!(!quoted("$$$").contains("$$"));
        for bad in ["", "a\\(b)", "a\nb", "\u{1b}"] {
            assert!(super::quoted(bad.as_ref()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_session_name_contains_no_substitutions() {
        let label = Label {
            colour: Colour::Blue,
            text: "worker · \\(app.evil()) \u{1b}[2J\u{202e}".to_owned(),
            asks: false,
        };
        let name = name("ada", &label);
        assert!(name.starts_with("ada · worker · "), "{name}");
        assert!(!name.contains(['\\', '\u{1b}', '\u{202e}']), "{name}");
    }

    #[test]
    fn colours_match_the_256_colour_palette() {
        assert_eq!(rgb(Colour::Blue.ansi256()), (95, 175, 255));
        assert_eq!(rgb(Colour::Grey.ansi256()), (168, 168, 168));
        assert_eq!((rgb(16), rgb(231)), ((0, 0, 0), (255, 255, 255)));
    }
}
