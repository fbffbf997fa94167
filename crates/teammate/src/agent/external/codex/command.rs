//! Reads the shell line from a command that Codex reports: Codex quotes the words of `/bin/bash -lc LINE` into one
//! text. Called by `codex`.

/// The characters that Codex leaves without quotes.
const PLAIN: &str = "_-./:=@%+^,]";

/// The line that bash executes. Returns another command, or a text that cannot be parsed, unchanged.
pub(super) fn shell_line(command: &str) -> String {
    let words = words(command);
    match words.iter().flatten().collect::<Vec<_>>().as_slice() {
        [shell, flag, line]
            if [
                "/bin/bash",
                "/usr/bin/bash",
                "bash",
                "/bin/sh",
                "/usr/bin/sh",
                "sh",
            ]
            .contains(&shell.as_str())
                && ["-lc", "-c"].contains(&flag.as_str()) =>
        {
            (*line).clone()
        }
        _ => command.to_owned(),
    }
}

/// The words of a quoted command. `None`: the text contains more than quoted words, so a shell would expand it.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        if character == ' ' {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        match character {
            '\'' => loop {
                match characters.next()? {
                    '\'' => break,
                    inner => word.push(inner),
                }
            },
            '"' => loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => match characters.next()? {
                        escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                        _ => return None,
                    },
                    '$' | '`' => return None,
                    inner => word.push(inner),
                }
            },
            '\\' => word.push(characters.next()?),
            plain if plain.is_alphanumeric() || PLAIN.contains(plain) => word.push(plain),
            _ => return None,
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_shell_is_unquoted() {
        for (command, line) in [
            (
                "/bin/bash -lc 'echo made > made.txt'",
                "echo made > made.txt",
            ),
            ("bash -c ls", "ls"),
            (r#"/bin/sh -c 'it'"'"'s; rm -rf x'"#, "it's; rm -rf x"),
            (r#"/bin/bash -lc "echo \"\$HOME\"""#, "echo \"$HOME\""),
            ("/bin/bash -lc ''", ""),
        ] {
            assert_eq!(shell_line(command), line, "{command}");
        }
    }

    #[test]
    fn another_command_stays_whole() {
        for command in [
            "ls -l",
            "/bin/zsh -lc 'ls'",
            "/bin/bash -lc 'ls' extra",
            "/bin/bash -lc ls; rm x",
            "/bin/bash -lc \"$(rm x)\"",
            "/bin/bash -lc 'open",
            "/bin/bash -lc 'a'\nrm x",
            "X=1 /bin/bash -lc 'ls'",
        ] {
            assert_eq!(shell_line(command), command);
        }
    }
}
