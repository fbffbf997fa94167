//! Characters that no line may contain, also within quotes: those that a reader does not see, or sees as another. The
//! list is the display's: `agent_team_protocol::text`.

use agent_team_protocol::text::is_deceptive;

use super::{Complex, LINE_MAX};

/// The text, when every character in it can be seen for what it is.
pub(super) fn check(bytes: &[u8]) -> Result<&str, Complex> {
    if bytes.len() > LINE_MAX {
        return Err(Complex {
            at: LINE_MAX,
            why: "the line is longer than 16 KiB",
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Complex {
        at: error.valid_up_to(),
        why: "it is not UTF-8",
    })?;
    for (at, c) in text.char_indices() {
        let why = match c {
            '\n' | '\t' => continue,
            '\0' => "a NUL",
            c if c.is_control() => "a control character",
            c if c.is_whitespace() && c != ' ' => "white space other than a space",
            c if is_deceptive(c) => "an invisible character, or one that changes the order of text",
            _ => continue,
        };
        return Err(Complex { at, why });
    }
    Ok(text)
}
