//! The arguments with which a shell is started: the command text as requested, or the parsed words that the
//! supervisor has permitted instead.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use agent_team_protocol::request::{
    RunnableCommand, RunnableJoin, RunnableRedirect, RunnableTarget, RunnableView,
};

use crate::confine::SYSTEM_PATH;
use crate::git;
use crate::program::is_outside;

/// The arguments and the environment of one shell.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    /// The working directory of the shell, if it is not the member's.
    pub(super) directory: Option<PathBuf>,
}

impl Line {
    /// The command text as requested, with the environment of the member.
    pub(super) fn text(command: &str, env: &[(OsString, OsString)]) -> Self {
        Self {
            args: vec!["-c".into(), command.into()],
            env: env.to_vec(),
            directory: None,
        }
    }

    /// The parsed words against which the rules were matched. The shell does not parse them again: its script contains
    /// only positional parameters such as `"${1}"`. `env` is the environment of the member.
    ///
    /// A command that a built-in rule allowed runs no program of the project, although the project may be in `PATH`. In
    /// a line that only reads, no command runs a program of the project or a program that a repository names.
    pub(super) fn words(run: RunnableView, env: &[(OsString, OsString)], project: &Path) -> Self {
        let mut env: Vec<_> = env
            .iter()
            .filter(|(name, _)| !runs_code(name))
            .cloned()
            .collect();
        let outside = outside(&env, project);
        let mut words = Words(vec![outside.clone()]);
        let mut script = String::new();
        for (index, pipeline) in run.pipelines.into_iter().enumerate() {
            if index > 0 {
                script.push_str(match pipeline.join {
                    RunnableJoin::Then => " ; ",
                    RunnableJoin::And => " && ",
                    RunnableJoin::Or => " || ",
                });
            }
            for (index, mut command) in pipeline.commands.into_iter().enumerate() {
                if index > 0 {
                    script.push_str(" | ");
                }
                if run.reads_only {
                    git::without_external_diff(&mut command.argv);
                }
                write(&mut script, &mut words, command);
            }
        }
        if run.reads_only {
            let replaced = ["PATH", "LD_LIBRARY_PATH", "LD_PRELOAD"];
            env.retain(|(name, _)| !replaced.iter().any(|it| name == it));
            env.push(("PATH".into(), outside));
            env.extend(git::settings_of_environment());
        }
        let mut args: Vec<OsString> = vec!["-c".into(), script.into(), "bash".into()];
        args.extend(words.0);
        Self {
            args,
            env,
            directory: Some(run.directory),
        }
    }
}

/// Whether bash runs the value of a variable. Before the command, bash runs the script that `BASH_ENV` names; an
/// interactive POSIX shell runs the script that `ENV` names. Instead of the program NAME, bash runs a function that it
/// imports from `BASH_FUNC_NAME%%`.
fn runs_code(name: &OsString) -> bool {
    let name = name.as_encoded_bytes();
    name == b"BASH_ENV" || name == b"ENV" || name.starts_with(b"BASH_FUNC_")
}

/// The directories of `PATH` outside the project, or the directories of the system if there are none. An empty `PATH`
/// would mean the current directory.
fn outside(env: &[(OsString, OsString)], project: &Path) -> OsString {
    let path = env.iter().find(|(name, _)| name == "PATH");
    let all = path.map(|(_, path)| std::env::split_paths(path));
    let outside = all
        .into_iter()
        .flatten()
        .filter(|it| is_outside(project, it));
    // `join_paths` fails only if a directory contains a colon, and these directories were split at colons.
    let outside = std::env::join_paths(outside).unwrap_or_default();
    match outside.is_empty() {
        true => SYSTEM_PATH.into(),
        false => outside,
    }
}

fn write(script: &mut String, words: &mut Words, command: RunnableCommand) {
    if command.built_in {
        // The shell finds `env`, and `env` finds the program, in this `PATH`. Dynamic linkers ignore empty variables.
        script.push_str("PATH=\"${1}\" LD_LIBRARY_PATH= LD_PRELOAD= ");
    }
    // Run a program through `env`, never a shell builtin or function of the same name.
    script.push_str("env --");
    for word in command.argv {
        script.push_str(&format!(" {}", words.parameter(word)));
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
        script.push_str(&format!(" {fd}{operator}{}", words.parameter(path)));
    }
}

/// The positional parameters of a script. The first is the `PATH` of commands that a built-in rule allowed.
struct Words(Vec<OsString>);

impl Words {
    /// Adds a word and returns its parameter.
    fn parameter(&mut self, word: String) -> String {
        self.0.push(word.into());
        format!("\"${{{}}}\"", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &[&str]) -> RunnableCommand {
        RunnableCommand {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            redirects: Vec::new(),
            built_in: false,
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
            pipelines: Vec::new(),
            reads_only: false,
        };
        let line = Line::words(run, &env, Path::new("/project"));
        assert_eq!(line.env, env[..1]);
        assert_eq!(Line::text("ls", &env).env, env);
    }

    #[test]
    fn reading_lines_run_no_external_diff() {
        let run = |argv: &[&str], reads_only| {
            let pipeline = agent_team_protocol::request::RunnablePipeline {
                join: RunnableJoin::Then,
                commands: vec![command(argv)],
            };
            let run = RunnableView {
                directory: "/p".into(),
                pipelines: vec![pipeline],
                reads_only,
            };
            // The words follow `-c`, the script, `bash` and the path.
            let line = Line::words(run, &[], Path::new("/project"));
            line.args[4..].to_vec()
        };
        assert_eq!(
            run(&["git", "diff", "a"], true),
            ["git", "diff", "--no-ext-diff", "a"]
        );
        assert_eq!(
            run(&["git", "--no-pager", "diff"], true),
            ["git", "--no-pager", "diff", "--no-ext-diff"]
        );
        assert_eq!(run(&["git", "log", "diff"], true), ["git", "log", "diff"]);
        assert_eq!(run(&["git", "diff"], false), ["git", "diff"]);
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
        let mut last = command(&["d"]);
        last.built_in = true;
        let run = RunnableView {
            directory: "/p".into(),
            pipelines: vec![
                agent_team_protocol::request::RunnablePipeline {
                    join: RunnableJoin::Then,
                    commands: vec![first, command(&["c"])],
                },
                agent_team_protocol::request::RunnablePipeline {
                    join: RunnableJoin::Or,
                    commands: vec![last],
                },
            ],
            reads_only: false,
        };
        let env = [("PATH".into(), "/project/bin:/usr/bin:.:/".into())];
        let line = Line::words(run, &env, Path::new("/project"));
        let expected = [
            "-c",
            "env -- \"${2}\" \"${3}\" \"${4}\" 1>\"${5}\" 2>&1 | env -- \"${6}\" || \
             PATH=\"${1}\" LD_LIBRARY_PATH= LD_PRELOAD= env -- \"${7}\"",
            "bash",
            "/usr/bin:/",
            "a b",
            "$(x)",
            "';'",
            "o $x",
            "c",
            "d",
        ];
        assert_eq!(line.args, expected.map(OsString::from));
        let of_project = [("PATH".into(), "/project/bin:.:".into())];
        assert_eq!(outside(&of_project, Path::new("/project")), SYSTEM_PATH);
    }
}
