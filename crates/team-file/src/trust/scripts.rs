//! The scripts of a project that a line starts by name: its command, or the file that an interpreter is given. Called
//! for lines that run outside a sandbox, so that a script that changed since it was trusted is not started.
//!
//! Only files of text count. A program that a build makes changes with every build; it is as indirect as what
//! `cargo test` or `make check` start, which no digest covers either.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use agent_team_protocol::spec::FileDigest;

/// Programs whose first argument that is no option is a script.
const INTERPRETERS: [&str; 25] = [
    ".", "ash", "awk", "bash", "bun", "busybox", "dash", "deno", "fish", "ksh", "lua", "node",
    "perl", "php", "pwsh", "python", "python2", "python3", "ruby", "sh", "source", "tclsh", "tsx",
    "uv", "zsh",
];

/// Programs and words that another command follows.
const WRAPPERS: [&str; 22] = [
    "!", "command", "do", "else", "env", "exec", "if", "ionice", "nice", "nohup", "npx", "pnpm",
    "poetry", "run", "setsid", "stdbuf", "sudo", "then", "time", "timeout", "until", "while",
];

/// Bytes at the beginning of a file that are searched for a NUL.
const LOOKED_AT: usize = 8 << 10;

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

    /// Of a shell line that is run in any of these directories.
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

    /// Of a program with its arguments, which is started in the project.
    pub(super) fn of_program(&mut self, command: &str, args: &[String]) -> Vec<FileDigest> {
        let mut files = Vec::new();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let project = self.project;
        self.of_command(&[&[command], args.as_slice()].concat(), project, &mut files);
        // A launcher that is unknown here is given its script as an argument, too.
        for arg in args {
            let known = Path::new(arg).extension().and_then(|known| known.to_str());
            let is_script = known.is_some_and(|known| {
                let known_scripts = [
                    "cjs", "js", "lua", "mjs", "php", "pl", "py", "rb", "sh", "ts",
                ];
                known_scripts.contains(&known)
            });
            if is_script {
                files.extend(self.look_at(arg, project));
            }
        }
        sorted(files)
    }

    /// Each once, in the order of their paths.
    pub(super) fn found(&self) -> impl Iterator<Item = &FileDigest> {
        self.found.values()
    }

    fn of_command(&mut self, words: &[&str], directory: &Path, files: &mut Vec<FileDigest>) {
        let is_prefix = |word: &&&str| {
            let is_number = word.starts_with(|c: char| c.is_ascii_digit());
            let name = name_of(word);
            WRAPPERS.contains(&name) || word.starts_with('-') || is_number || word.contains('=')
        };
        let mut words = words.iter().skip_while(is_prefix);
        let Some(command) = words.next() else { return };
        if command.contains('/') {
            files.extend(self.look_at(command, directory));
        }
        let name = name_of(command).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let is_interpreter =
            INTERPRETERS.contains(&name_of(command)) || INTERPRETERS.contains(&name);
        if is_interpreter || command == &"." {
            let file = words.find_map(|word| self.look_at(word, directory));
            files.extend(file);
        }
    }

    /// The script of this path, if it is one of the project.
    fn look_at(&mut self, word: &str, directory: &Path) -> Option<FileDigest> {
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
        if bytes[..bytes.len().min(LOOKED_AT)].contains(&0) {
            return None;
        }
        let file = FileDigest {
            path: real.clone(),
            sha256: agent_team_policy::Digest::of_bytes(&bytes).to_string(),
        };
        self.found.insert(real, file.clone());
        Some(file)
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
    fn the_script_that_a_line_starts_is_found() {
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
            assert_eq!(names(&project, found), expected, "{line}");
        }
    }

    #[test]
    fn the_script_of_a_server_is_found_behind_any_launcher() {
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
