//! Finds the scripts of a project that a shell line or the command of an MCP server starts: the command itself, or the
//! file argument of an interpreter. Called for the lines and servers that need the user's trust, so that a script is
//! not started if it has changed since.
//!
//! Only text files have digests. A built program has none, because it changes with every build. The programs that
//! `cargo test` or `make check` start have none either.
//!
//! A script that does not exist is recorded as absent: otherwise an agent could create it after the user trusted the
//! line. A name that only looks like a script merely adds a line to the trust question.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use agent_team_protocol::spec::FileDigest;
use agent_team_protocol::text::is_text;

/// Programs whose first non-option argument is a script.
const INTERPRETERS: [&str; 25] = [
    ".", "ash", "awk", "bash", "bun", "busybox", "dash", "deno", "fish", "ksh", "lua", "node",
    "perl", "php", "pwsh", "python", "python2", "python3", "ruby", "sh", "source", "tclsh", "tsx",
    "uv", "zsh",
];

/// Programs and shell words that are followed by another command.
const WRAPPERS: [&str; 22] = [
    "!", "command", "do", "else", "env", "exec", "if", "ionice", "nice", "nohup", "npx", "pnpm",
    "poetry", "run", "setsid", "stdbuf", "sudo", "then", "time", "timeout", "until", "while",
];

/// Interpreters whose scripts often have names without a dot.
const SHELLS: [&str; 9] = [
    ".", "ash", "bash", "dash", "fish", "ksh", "sh", "source", "zsh",
];

/// The scripts found so far, by their canonical paths.
pub(super) struct Scripts<'a> {
    project: &'a Path,
    found: BTreeMap<PathBuf, FileDigest>,
}

impl<'a> Scripts<'a> {
    pub(super) fn new(project: &'a Path) -> Self {
        Self {
            project,
            found: BTreeMap::new(),
        }
    }

    /// The scripts of a shell line that runs in any of these directories.
    pub(super) fn of_line(&mut self, line: &str, directories: &[&Path]) -> Vec<FileDigest> {
        let mut files = Vec::new();
        for directory in directories {
            let mut directory = directory.to_path_buf();
            for command in line.split([';', '&', '|', '(', ')', '{', '}', '\n', '`']) {
                let words: Vec<&str> = command.split_whitespace().map(unquoted).collect();
                if let ["cd", to] = words.as_slice() {
                    directory = directory.join(to);
                }
                self.of_command(&words, &directory, &mut files);
            }
        }
        sorted(files)
    }

    /// The scripts of a program with arguments that starts in the project directory.
    pub(super) fn of_program(&mut self, command: &str, args: &[String]) -> Vec<FileDigest> {
        let mut files = Vec::new();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let project = self.project;
        self.of_command(&[&[command], args.as_slice()].concat(), project, &mut files);
        // An unknown launcher may also receive its script as an argument.
        for arg in args {
            let extension = Path::new(arg).extension().and_then(|name| name.to_str());
            let is_script = extension.is_some_and(|extension| {
                let of_scripts = [
                    "cjs", "js", "lua", "mjs", "php", "pl", "py", "rb", "sh", "ts",
                ];
                of_scripts.contains(&extension)
            });
            if is_script {
                files.extend(
                    self.existing(arg, project)
                        .or_else(|| self.absent(arg, project)),
                );
            }
        }
        sorted(files)
    }

    /// All scripts found, ordered by path.
    pub(super) fn found(&self) -> impl Iterator<Item = &FileDigest> {
        self.found.values()
    }

    fn of_command(&mut self, words: &[&str], directory: &Path, files: &mut Vec<FileDigest>) {
        let project = self.project;
        let is_prefix = |word: &&&str| {
            let is_number = word.starts_with(|c: char| c.is_ascii_digit());
            // A script of the project can have a wrapper's name: `./run`.
            let in_project = word.contains('/') && directory.join(word).starts_with(project);
            let is_wrapper = WRAPPERS.contains(&name_of(word)) && !in_project;
            is_wrapper || word.starts_with('-') || is_number || word.contains('=')
        };
        let mut words = words.iter().skip_while(is_prefix);
        let Some(command) = words.next() else { return };
        if command.contains('/') {
            let script = self.existing(command, directory);
            files.extend(script.or_else(|| self.absent(command, directory)));
        }
        let name = name_of(command).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let is_interpreter =
            INTERPRETERS.contains(&name_of(command)) || INTERPRETERS.contains(&name);
        if is_interpreter || command == &"." {
            let is_shell = SHELLS.contains(&name_of(command));
            self.of_interpreter(is_shell, words, directory, files);
        }
    }

    /// Adds the first argument that names an existing script of the project, and ends there. Also adds the arguments
    /// before it that may name an absent script, which look like a file. The search for absent scripts ends after the
    /// first argument that does not follow an option, and at an option whose value is code.
    fn of_interpreter<'w>(
        &mut self,
        is_shell: bool,
        words: impl Iterator<Item = &'w &'w str>,
        directory: &Path,
        files: &mut Vec<FileDigest>,
    ) {
        let mut may_be_absent = true;
        let mut is_value = false;
        for word in words {
            if let Some(file) = self.existing(word, directory) {
                files.push(file);
                return;
            }
            if word.starts_with('-') {
                // The next argument is code or a module, not a script.
                may_be_absent &= !gives_code(is_shell, word);
                is_value = true;
                continue;
            }
            let looks_like_file = word.contains(['.', '/']) || (is_shell && !is_value);
            if may_be_absent && looks_like_file {
                files.extend(self.absent(word, directory));
            }
            // If this word is an option's value, the script is a later argument.
            may_be_absent &= is_value;
            is_value = false;
        }
    }

    /// The existing script at this path, if it is in the project.
    fn existing(&mut self, word: &str, directory: &Path) -> Option<FileDigest> {
        let real = directory.join(word).canonicalize().ok()?;
        if !real.starts_with(self.project) {
            return None;
        }
        if let Some(known) = self.found.get(&real) {
            return Some(known.clone());
        }
        if !real.is_file() {
            return None;
        }
        let bytes = fs::read(&real).ok()?;
        if !is_text(&bytes) {
            return None;
        }
        let file = FileDigest {
            path: real.clone(),
            sha256: agent_team_policy::Digest::of_bytes(&bytes).to_string(),
        };
        self.found.insert(real, file.clone());
        Some(file)
    }

    /// The absent script at this path, if it would be in the project.
    fn absent(&mut self, word: &str, directory: &Path) -> Option<FileDigest> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_./+@%,:-".contains(c);
        if word.is_empty() || !word.chars().all(is_name) {
            return None;
        }
        let path = resolve_absent(&directory.join(word))?;
        if !path.starts_with(self.project) {
            return None;
        }
        let file = FileDigest {
            path: path.clone(),
            sha256: FileDigest::ABSENT.to_owned(),
        };
        self.found.insert(path, file.clone());
        Some(file)
    }
}

/// Resolves the links in the existing directories of a path that does not exist.
fn resolve_absent(path: &Path) -> Option<PathBuf> {
    let (existing, real) = path
        .ancestors()
        .find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)))?;
    let rest = path.strip_prefix(existing).ok()?;
    let mut names = rest.components();
    let is_plain = names.all(|name| matches!(name, Component::Normal(_)));
    (is_plain && existing != path).then(|| real.join(rest))
}

/// Whether an interpreter takes the next argument as code: `sh -ec LINE`, `python -m MODULE`, `node --eval CODE`.
fn gives_code(is_shell: bool, option: &str) -> bool {
    match option.strip_prefix("--") {
        Some(long) => ["eval", "print", "command"].contains(&long),
        None if is_shell => option.contains('c'),
        None => option.contains(['c', 'e', 'm', 'p']),
    }
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '\''])
}

fn name_of(command: &str) -> &str {
    command.rsplit('/').next().unwrap_or(command)
}

fn sorted(mut files: Vec<FileDigest>) -> Vec<FileDigest> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> tempfile::TempDir {
        let project = tempfile::tempdir().unwrap();
        for name in ["check.sh", "tools/mcp.py", "tools/run.mjs", "notes.md"] {
            let path = project.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text\n").unwrap();
        }
        fs::write(project.path().join("built"), b"\x7fELF\0").unwrap();
        project
    }

    fn names(project: &Path, files: Vec<FileDigest>) -> Vec<String> {
        let names = files.iter().map(|file| file.path.strip_prefix(project));
        names
            .map(|path| path.unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn scripts_of_shell_lines_are_found() {
        let project = project();
        let project = project.path().canonicalize().unwrap();
        for (line, expected) in [
            ("./check.sh", &["check.sh"][..]),
            ("sh check.sh notes.md", &["check.sh"]),
            ("bash -eu \"./check.sh\"", &["check.sh"]),
            ("X=1 exec timeout 5 ./check.sh", &["check.sh"]),
            ("cargo build && . ./check.sh; true", &["check.sh"]),
            ("cd tools && python3.12 mcp.py", &["tools/mcp.py"]),
            (
                "(./check.sh; node tools/run.mjs)",
                &["check.sh", "tools/run.mjs"],
            ),
            ("test -s notes.md", &[]),
            ("cargo test --manifest-path notes.md", &[]),
            ("./built", &[]),
            ("sh -c 'true'", &[]),
            ("/bin/sh ../other/check.sh", &[]),
        ] {
            let found = Scripts::new(&project).of_line(line, &[&project]);
            assert!(found.iter().all(|file| !file.is_absent()), "{line}");
            assert_eq!(names(&project, found), expected, "{line}");
        }
    }

    #[test]
    fn missing_scripts_are_recorded_as_absent() {
        let project = project();
        let project = project.path().canonicalize().unwrap();
        for (line, expected) in [
            ("./new.sh", &["new.sh"][..]),
            ("./run --fast", &["run"]),
            ("new/deep/run", &["new/deep/run"]),
            ("sh new.sh notes", &["new.sh"]),
            ("bash -euo pipefail new.sh", &["new.sh"]),
            (". new", &["new"]),
            ("cd tools && python3 new.py data.json", &["tools/new.py"]),
            ("python3 -u tools/new.py", &["tools/new.py"]),
            ("sh -c new.sh", &[]),
            ("python3 -m http.server", &[]),
            ("cargo test --test new.rs", &[]),
            ("sh ../new.sh", &[]),
            ("$HOME/new.sh", &[]),
            ("uv sync", &[]),
            ("new/../../other.sh", &[]),
        ] {
            let found = Scripts::new(&project).of_line(line, &[&project]);
            assert!(found.iter().all(FileDigest::is_absent), "{line}");
            assert_eq!(names(&project, found), expected, "{line}");
        }
        // An existing file in a later argument does not hide an absent script.
        let found = Scripts::new(&project).of_line("sh new.sh notes.md", &[&project]);
        assert_eq!(names(&project, found), ["new.sh", "notes.md"]);
    }

    #[test]
    fn scripts_of_mcp_servers_are_found_after_launchers() {
        let project = project();
        let project = project.path().canonicalize().unwrap();
        for (command, args, expected) in [
            ("tools/mcp.py", &[][..], &["tools/mcp.py"][..]),
            ("python3", &["-u", "tools/mcp.py"], &["tools/mcp.py"]),
            ("launcher", &["serve", "tools/run.mjs"], &["tools/run.mjs"]),
            ("server", &["--notes", "notes.md"], &[]),
        ] {
            let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
            let found = Scripts::new(&project).of_program(command, &args);
            assert_eq!(names(&project, found), expected, "{command}");
        }
    }
}
