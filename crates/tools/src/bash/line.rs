//! The arguments with which a shell is started: the command text as requested, or the parsed words of a line that
//! needed no decision.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use agent_team_protocol::request::{
    RunnableCommand, RunnableJoin, RunnableRedirect, RunnableTarget, RunnableView,
};

use crate::git;
use crate::program::is_outside;

#[derive(Debug)]
pub(super) struct Line {
    pub(super) args: Vec<OsString>,
    /// Replaces the member's working directory.
    pub(super) directory: Option<PathBuf>,
    /// Remove the environment variables with which bash would run other code than these words.
    strict: bool,
    /// The line consists of reading commands: run no program of the project, and no program that a repository names.
    reads_only: bool,
}

impl Line {
    pub(super) fn text(command: &str) -> Self {
        Self {
            args: vec!["-c".into(), command.into()],
            directory: None,
            strict: false,
            reads_only: false,
        }
    }

    /// The words of a line that needed no decision: rules were matched against exactly these words. The shell does not
    /// parse them again: its script contains only positional parameters such as `"${1}"`.
    pub(super) fn words(run: RunnableView) -> Self {
        let mut script = String::new();
        let mut words: Vec<String> = Vec::new();
        let reads_only = run.reads_only;
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
            reads_only,
        }
    }

    pub(super) fn env(
        &self,
        env: &[(OsString, OsString)],
        project: &Path,
    ) -> Vec<(OsString, OsString)> {
        // Before the command, bash runs the script that `BASH_ENV` names; an interactive POSIX shell runs the script
        // that `ENV` names. Instead of the program NAME, bash runs a function that it imports from `BASH_FUNC_NAME%%`.
        let runs_code = |name: &OsString| {
            let name = name.as_encoded_bytes();
            name == b"BASH_ENV" || name == b"ENV" || name.starts_with(b"BASH_FUNC_")
        };
        let kept = env
            .iter()
            .filter(|(name, _)| !self.strict || !runs_code(name));
        let mut kept: Vec<_> = kept.cloned().collect();
        if self.reads_only {
            kept.retain(|(name, _)| name != "LD_LIBRARY_PATH" && name != "LD_PRELOAD");
            for (_, path) in kept.iter_mut().filter(|(name, _)| name == "PATH") {
                let outside = std::env::split_paths(path).filter(|it| is_outside(project, it));
                // The directories were separated by colons, so they contain none.
                *path = std::env::join_paths(outside).unwrap_or_default();
            }
            kept.extend(git::settings_of_environment());
        }
        kept
    }
}

fn write(script: &mut String, words: &mut Vec<String>, command: RunnableCommand) {
    // Run a program through `env`, never a shell builtin or function of the same name.
    script.push_str("env --");
    for word in command.argv {
        script.push_str(&parameter(words, word));
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
            parameter(words, path).trim_start()
        ));
    }
}

/// Adds a word and returns its positional parameter.
fn parameter(words: &mut Vec<String>, word: String) -> String {
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
    fn variables_that_run_code_are_removed() {
        let env = [
            ("PATH", "/bin"),
            ("BASH_ENV", "/x"),
            ("BASH_FUNC_ls%%", "() { :; }"),
        ];
        let env = env.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let run = RunnableView {
            directory: "/p".into(),
            steps: Vec::new(),
            reads_only: false,
        };
        assert_eq!(Line::words(run).env(&env, Path::new("/project")), env[..1]);
        assert_eq!(Line::text("ls").env(&env, Path::new("/project")), env);
    }

    #[test]
    fn the_script_refers_to_words_by_position() {
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
            reads_only: false,
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
