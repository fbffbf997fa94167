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
    /// Nothing of the environment may run or change what a word means.
    strict: bool,
}

impl Line {
    /// As it was asked.
    pub(super) fn text(command: &str) -> Self {
        Self {
            args: vec!["-c".into(), command.into()],
            directory: None,
            strict: false,
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
        let mut args: Vec<OsString> = vec!["-c".into(), script.into(), "bash".into()];
        args.extend(words.into_iter().map(OsString::from));
        Self {
            args,
            directory: Some(run.directory),
            strict: true,
        }
    }

    /// Of the member's environment, what its shell is given.
    pub(super) fn env(&self, env: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
        // A script or a function that bash would read before the words.
        let comes_before = |name: &OsString| {
            let name = name.as_encoded_bytes();
            name == b"BASH_ENV" || name == b"ENV" || name.starts_with(b"BASH_FUNC_")
        };
        let kept = env
            .iter()
            .filter(|(name, _)| !self.strict || !comes_before(name));
        kept.cloned().collect()
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
    fn nothing_of_the_environment_comes_before_the_words() {
        let env = [
            ("PATH", "/bin"),
            ("BASH_ENV", "/x"),
            ("BASH_FUNC_ls%%", "() { :; }"),
        ];
        let env = env.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let run = RunnableView {
            directory: "/p".into(),
            steps: Vec::new(),
        };
        assert_eq!(Line::words(run).env(&env), env[..1]);
        assert_eq!(Line::text("ls").env(&env), env);
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
