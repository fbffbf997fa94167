//! Rejects characters that a user cannot see or would mistake for others, even inside quotes. The display uses the same
//! list: `agent_team_protocol::text`.

use agent_team_protocol::text::is_deceptive;

use super::{Complex, LINE_MAX};

/// Returns the text if it is short enough, is UTF-8, and contains no such character.
pub(super) fn check(bytes: &[u8]) -> Result<&str, Complex> {
    if bytes.len() > LINE_MAX {
        return Err(Complex {
            at: LINE_MAX,
            why: "more than 16 KiB",
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Complex {
        at: error.valid_up_to(),
        why: "bytes that are not UTF-8",
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
