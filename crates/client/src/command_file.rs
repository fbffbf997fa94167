//! Makes a message from the text of a command file: checks that the file has not changed since the team file was read,
//! and replaces the variables in its text by the user's arguments. Called by the workers, by the single-terminal view
//! and by the verb `acp`.

use std::io;

use agent_team_protocol::method::TEXT_MAX;
use agent_team_protocol::spec::CommandFile;
use agent_team_protocol::text::visible;
use agent_team_system::regular_file::read_unchanged;

const ARGUMENTS: &str = "ARGUMENTS";

/// A slash command that the user has entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledCommand {
    /// The whole line.
    pub typed: String,
    pub name: String,
    /// The arguments.
    pub words: Vec<String>,
}

/// Reads the file of a command, and returns the message.
///
/// # Errors
/// The file has changed or cannot be read, or the message is too large.
pub async fn message(file: CommandFile, called: CalledCommand) -> Result<String, String> {
    let path = file.file.path.clone();
    let read = tokio::task::spawn_blocking(move || {
        let bytes = read_unchanged(&file.file, CommandFile::MAX_BYTES)?;
        let text_at = usize::try_from(file.text_at).unwrap_or(usize::MAX);
        let text = bytes.get(text_at..).unwrap_or_default();
        String::from_utf8(text.to_vec()).map_err(io::Error::other)
    });
    let read = read.await.map_err(io::Error::other).flatten();
    let text = read.map_err(|error| {
        format!(
            "{}: {error}; review it, then run agent-team up to use it",
            path.display()
        )
    })?;
    // The user agreed to the text that an editor shows. Escape invisible characters, because they could hide text.
    let text = visible(&text.replace("\r\n", "\n")).into_owned();
    expand(&text, &called).ok_or_else(|| format!("the message is larger than {TEXT_MAX} bytes"))
}

/// Replaces the variables `$ARGUMENTS` and `$1` to `$9`. If the text has no variable, adds the arguments at the end.
/// Returns `None` if the result is larger than the largest message.
fn expand(text: &str, called: &CalledCommand) -> Option<String> {
    let typed = called.typed.trim().split_once(char::is_whitespace);
    let arguments = typed.map_or("", |(_name, arguments)| arguments.trim());
    let mut pieces = text.trim().split('$');
    let mut expanded = pieces.next().unwrap_or_default().to_owned();
    let mut is_used = arguments.is_empty();
    for piece in pieces {
        let position = piece.chars().next().and_then(|c| c.to_digit(10));
        if let Some(rest) = piece.strip_prefix(ARGUMENTS) {
            expanded.push_str(arguments);
            expanded.push_str(rest);
            is_used = true;
        } else if let Some(position @ 1..) = position {
            let word = called.words.get(position as usize - 1);
            expanded.push_str(word.map_or("", String::as_str));
            expanded.push_str(&piece[1..]);
            is_used = true;
        } else {
            expanded.push('$');
            expanded.push_str(piece);
        }
        // Check each step, not only the end: a short text can repeat long arguments many times.
        if expanded.len() > TEXT_MAX {
            return None;
        }
    }
    if !is_used {
        expanded.push_str("\n\n");
        expanded.push_str(arguments);
    }
    (expanded.len() <= TEXT_MAX).then_some(expanded)
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::spec::FileDigest;

    use super::*;

    fn called(arguments: &str, words: &[&str]) -> CalledCommand {
        CalledCommand {
            typed: format!("/fix {arguments}"),
            name: "fix".into(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, arguments, words, expanded) in [
            (
                "Fix $ARGUMENTS now.",
                "issue 7",
                &["issue", "7"][..],
                "Fix issue 7 now.",
            ),
            (
                "$2 before $1: $3.",
                "'a b' $1",
                &["a b", "$1"],
                "$1 before a b: .",
            ),
            ("Costs $5.", "", &[], "Costs ."),
            ("Costs $ and $x.", "", &[], "Costs $ and $x."),
            (
                "Review.",
                "the  parser",
                &["the", "parser"],
                "Review.\n\nthe  parser",
            ),
        ] {
            let called = called(arguments, words);
            assert_eq!(expand(text, &called).as_deref(), Some(expanded), "{text}");
        }
    }

    #[test]
    fn a_message_has_a_maximum_size() {
        let long = "x".repeat(1000);
        let called = called(&long, &[&long]);
        for text in [
            "$ARGUMENTS ".repeat(100),
            "$1".repeat(100),
            "y".repeat(TEXT_MAX),
        ] {
            assert_eq!(expand(&text, &called), None);
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_not_sent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("fix.md");
        std::fs::write(&path, "Fix it.").unwrap();
        let file = CommandFile {
            name: "fix".into(),
            arguments: String::new(),
            description: String::new(),
            file: FileDigest {
                path: path.clone(),
                // SHA-256 of `x`.
                sha256: "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881".into(),
            },
            text_at: 0,
        };
        let error = message(file.clone(), called("", &[])).await.unwrap_err();
        assert!(error.contains("fix.md: it changed since"), "{error}");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(message(file, called("", &[])).await.unwrap(), "x");
    }
}
