//! What a command is started as: a text that somebody decided about, or the words that a rule allowed.

use std::ffi::OsString;
use std::path::PathBuf;

use agent_team_protocol::request::{
    RunnableCommand, RunnableJoin, RunnableRedirect, RunnableTarget, RunnableView,
};

/// For one start of a shell.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) args: Vec<OsString>,
    /// In place of the member's own.
    pub(super) directory: Option<PathBuf>,
}

impl Line {
    /// As it was asked.
    pub(super) fn text(command: &str) -> Self {
        Self {
            args: vec!["-c".into(), command.into()],
            directory: None,
        }
    }

    /// The words that were judged, which no shell reads again: its script has nothing but their numbers.
    pub(super) fn words(run: RunnableView) -> Self {
        let mut script = String::new();
        let mut words: Vec<String> = Vec::new();
        for (index, step) in run.steps.into_iter().enumerate() {
            if index > 0 {
                script.push_str(match step.join {
                    RunnableJoin::Then => " ; ",
                    RunnableJoin::And => " && ",
                    RunnableJoin::Or => " || ",
                });
            }
            for (index, command) in step.pipeline.into_iter().enumerate() {
                if index > 0 {
                    script.push_str(" | ");
                }
                write(&mut script, &mut words, command);
            }
        }
        // Privileged: neither `BASH_ENV` nor functions of the environment come before the words.
        let mut args: Vec<OsString> = vec!["-p".into(), "-c".into(), script.into(), "bash".into()];
        args.extend(words.into_iter().map(OsString::from));
        Self {
            args,
            directory: Some(run.directory),
        }
    }
}

fn write(script: &mut String, words: &mut Vec<String>, command: RunnableCommand) {
    // A program, never a builtin or a function of the shell.
    script.push_str("env --");
    for word in command.argv {
        script.push_str(&place(words, word));
    }
    for RunnableRedirect { fd, to } in command.redirects {
        let (operator, path) = match to {
            RunnableTarget::Read(path) => ("<", path),
            RunnableTarget::Write(path) => (">", path),
            RunnableTarget::Append(path) => (">>", path),
            RunnableTarget::Fd(same) => {
                script.push_str(&format!(" {fd}>&{same}"));
                continue;
            }
        };
        script.push_str(&format!(
            " {fd}{operator}{}",
            place(words, path).trim_start()
        ));
    }
}

/// Takes a word in, and names it.
fn place(words: &mut Vec<String>, word: String) -> String {
    words.push(word);
    format!(" \"${{{}}}\"", words.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &[&str]) -> RunnableCommand {
        RunnableCommand {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            redirects: Vec::new(),
        }
    }

    #[test]
    fn no_word_is_in_the_script() {
        let mut first = command(&["a b", "$(x)", "';'"]);
        first.redirects = vec![
            RunnableRedirect {
                fd: 1,
                to: RunnableTarget::Write("o $x".into()),
            },
            RunnableRedirect {
                fd: 2,
                to: RunnableTarget::Fd(1),
            },
        ];
        let run = RunnableView {
            directory: "/p".into(),
            steps: vec![
                agent_team_protocol::request::RunnableStep {
                    join: RunnableJoin::Then,
                    pipeline: vec![first, command(&["c"])],
                },
                agent_team_protocol::request::RunnableStep {
                    join: RunnableJoin::Or,
                    pipeline: vec![command(&["d"])],
                },
            ],
        };
        let line = Line::words(run);
        let expected = [
            "-p",
            "-c",
            "env -- \"${1}\" \"${2}\" \"${3}\" 1>\"${4}\" 2>&1 | env -- \"${5}\" || env -- \"${6}\"",
            "bash",
            "a b",
            "$(x)",
            "';'",
            "o $x",
            "c",
            "d",
        ];
        assert_eq!(line.args, expected.map(OsString::from));
    }
}
