//! What no line may contain, whatever its quotes say: characters that a person does not see, or sees as another.

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
            c if c.is_whitespace() && c != ' ' => "white space that is not a blank",
            c if is_invisible(c) => "a character that is not seen, or that turns the text around",
            _ => continue,
        };
        return Err(Complex { at, why });
    }
    Ok(text)
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}
