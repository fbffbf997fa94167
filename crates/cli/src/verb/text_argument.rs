//! Reads a text from an argument or from stdin. Called by the verbs that send a text.

use std::io::Read;

use agent_team_protocol::ErrorCode;
use agent_team_protocol::method::TEXT_MAX;

use crate::error::Failure;

/// Returns the argument, or stdin when the argument is `-`. Refuses a text that is too long with the code `too_large`,
/// before anything is sent.
pub(super) fn text_or_stdin(typed: String, too_large: ErrorCode) -> Result<String, Failure> {
    let text = match is_typed(&typed) {
        true => typed.into_bytes(),
        false => stdin()?,
    };
    if text.len() > TEXT_MAX {
        let failure = Failure::of(
            too_large,
            format!("cannot send the text: it is longer than {TEXT_MAX} bytes"),
        );
        return Err(failure.hint("put the text in a file and send the name of the file"));
    }
    String::from_utf8(text)
        .map_err(|error| Failure::usage("cannot read stdin: it is not UTF-8 text").because(&error))
}

/// Whether the argument itself is the text. The text of stdin may be from a file or a page.
pub(super) fn is_typed(argument: &str) -> bool {
    argument != "-"
}

/// Reads stdin up to one byte more than the limit, so that the caller can detect a text that is too long.
fn stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin()
        .take(TEXT_MAX as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| Failure::io("cannot read stdin", &error))?;
    Ok(bytes)
}
