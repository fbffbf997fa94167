//! Finds the paths of a project that git's configuration names: directories of hooks, and included configuration files.
//! Called when the team is read.
//!
//! A program that can change one of these paths can run code when the user runs git. The list in
//! `agent_team_policy::protected` covers git's own directory; the paths found here can be anywhere in the project.
//!
//! The parser can find more paths than git uses: it also follows a conditional include whose condition is false, and
//! ignores the names of subsections. The parser reports no syntax errors: it also reads a file that git refuses.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use agent_team_policy::CallPath;
use agent_team_protocol::spec::KeptPath;

/// Maximum number of bytes to read of a configuration file.
const FILE_MAX: u64 = 1 << 20;

/// Maximum nesting depth of includes, the same as git's limit.
const DEPTH_MAX: u32 = 10;

const SYSTEM: &str = "/etc/gitconfig";

/// The paths within `project`, even if they do not exist. `home`: the user's home directory, for the user's git
/// configuration.
pub(crate) fn kept(project: &Path, home: Option<&Path>) -> Vec<KeptPath> {
    let top = repository_around(project).unwrap_or(project);
    let mut files = files_of(&top.join(".git"));
    files.push(SYSTEM.into());
    if let Some(home) = home {
        let of_user =
            std::env::var_os("XDG_CONFIG_HOME").filter(|configuration| !configuration.is_empty());
        let of_user = of_user.map_or_else(|| home.join(".config"), PathBuf::from);
        files.extend([home.join(".gitconfig"), of_user.join("git/config")]);
    }
    let mut found = Found {
        project,
        top,
        home,
        paths: Vec::new(),
    };
    for file in files {
        found.read(&file, 0);
    }
    let mut paths = found.paths;
    paths.sort_by(|a, b| a.path.cmp(&b.path));
    paths.dedup_by(|a, b| a.path == b.path);
    paths
}

/// The root of the working tree around `directory`. As in git, an empty `.git` is not a repository: a sandbox creates
/// an empty `.git` as a placeholder in a project that has none, even if the project is a part of a repository.
pub(crate) fn repository_around(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|directory| {
        let git = directory.join(".git");
        git.is_file() || fs::symlink_metadata(git.join("HEAD")).is_ok()
    })
}

/// The directory whose files are not the user's own: the working tree around the project, or else the project. If the
/// working tree contains the home directory, its files are the user's own.
pub(crate) fn files_of_project<'a>(project: &'a Path, home: Option<&Path>) -> &'a Path {
    let home = home.and_then(|home| home.canonicalize().ok());
    let is_of_user = |top: &&Path| home.as_ref().is_some_and(|home| home.starts_with(top));
    let top = repository_around(project).filter(|top| !is_of_user(top));
    top.unwrap_or(project)
}

/// The configuration files of a repository. `.git` is a directory, or a file that names a directory (in a linked
/// worktree).
fn files_of(git: &Path) -> Vec<PathBuf> {
    let named_path = |file: PathBuf, from: &Path| {
        let text = read(&file)?;
        let text = text.strip_prefix("gitdir:").unwrap_or(&text);
        Some(from.join(text.trim()))
    };
    let git_directory = match git.is_dir() {
        true => git.to_owned(),
        false => match git.parent().and_then(|top| named_path(git.to_owned(), top)) {
            Some(directory) => directory,
            None => return Vec::new(),
        },
    };
    let common = named_path(git_directory.join("commondir"), &git_directory)
        .unwrap_or_else(|| git_directory.clone());
    vec![common.join("config"), git_directory.join("config.worktree")]
}

struct Found<'a> {
    project: &'a Path,
    /// The root of the working tree, where git runs hooks.
    top: &'a Path,
    home: Option<&'a Path>,
    paths: Vec<KeptPath>,
}

impl Found<'_> {
    fn read(&mut self, file: &Path, depth: u32) {
        let Some(text) = read(file).filter(|_| depth < DEPTH_MAX) else {
            return;
        };
        for (key, value) in entries(&text) {
            let from = match key.as_str() {
                "core.hookspath" => self.top,
                _ => file.parent().unwrap_or(self.top),
            };
            let Some(path) = self.resolve(from, &value) else {
                continue;
            };
            self.keep(&path, key == "core.hookspath");
            if key != "core.hookspath" {
                self.read(&path, depth + 1);
            }
        }
    }

    fn resolve(&self, from: &Path, value: &str) -> Option<PathBuf> {
        match value.strip_prefix("~/") {
            Some(rest) => Some(CallPath::lexical(self.home?, rest)),
            None if value.is_empty() || value.starts_with(['~', '%']) => None,
            None => Some(CallPath::lexical(from, value)),
        }
    }

    /// Adds the path and the target of its links, if they are in the project. Skips git's own directory, which is
    /// already protected, and the project itself, which must stay writable.
    fn keep(&mut self, path: &Path, is_directory: bool) {
        let target = path.canonicalize().ok();
        for path in [Some(path.to_owned()), target].into_iter().flatten() {
            let in_project = path.starts_with(self.project) && path != self.project;
            if in_project && !path.starts_with(self.project.join(".git")) {
                self.paths.push(KeptPath {
                    path,
                    is_directory,
                    is_absent: false,
                });
            }
        }
    }
}

/// Reads a regular file. Reads nothing else, because another file, such as a FIFO, could block.
fn read(path: &Path) -> Option<String> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(FILE_MAX).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The entries that name paths: `core.hookspath`, `include.path` and `includeif.path`, with their values.
fn entries(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\r\n", "\n").replace("\\\n", "");
    let mut section = String::new();
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut line = line.trim_start();
        if let Some(header) = line.strip_prefix('[') {
            let Some(end) = end_of_header(header) else {
                continue;
            };
            let name = header[..end].split([' ', '\t', '.', '"']).next();
            section = name.unwrap_or_default().to_ascii_lowercase();
            line = header[end + 1..].trim_start();
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let key = format!("{section}.{}", key.trim().to_ascii_lowercase());
        if ["core.hookspath", "include.path", "includeif.path"].contains(&key.as_str()) {
            entries.push((key, unquoted(value)));
        }
    }
    entries
}

/// The position of the `]` that ends a section header; a `]` in a quoted subsection does not end it.
fn end_of_header(header: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    header.char_indices().find_map(|(at, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some(at),
            _ => {}
        }
        None
    })
}

fn unquoted(value: &str) -> String {
    let (mut text, mut quoted, mut escaped) = (String::new(), false, false);
    // Trailing whitespace counts only within quotes.
    let mut length = 0;
    for c in value.trim_start().chars() {
        match c {
            _ if escaped => {
                escaped = false;
                text.push(match c {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                });
            }
            '\\' => {
                escaped = true;
                continue;
            }
            '"' => {
                quoted = !quoted;
                continue;
            }
            '#' | ';' if !quoted => break,
            other => text.push(other),
        }
        if quoted || !c.is_whitespace() {
            length = text.len();
        }
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(project: &Path, home: Option<&Path>) -> Vec<String> {
        let kept = kept(project, home).into_iter();
        kept.map(|kept| {
            let name = kept.path.strip_prefix(project).unwrap().display();
            let slash = if kept.is_directory { "/" } else { "" };
            format!("{name}{slash}")
        })
        .collect()
    }

    #[test]
    fn hooks_and_included_configuration_are_found() {
        let temporary = tempfile::tempdir().unwrap();
        let project = temporary.path().canonicalize().unwrap();
        for (config, expected) in [
            ("[core]\n\thooksPath = .githooks\n", &[".githooks/"][..]),
            (
                "[CORE] HooksPath=\"tools/my hooks\" ; x\n",
                &["tools/my hooks/"],
            ),
            ("[core]\nhooksPath = .git/hooks\n", &[]),
            ("[core]\nhooksPath = .\n[core]\nhooksPath = ../out\n", &[]),
            (
                "[core \"sub\"]\nbare = false\n[a \"]\"]\nhooksPath = x\n",
                &[],
            ),
            ("[include]\npath = ../shared.inc # all\n", &["shared.inc"]),
            (
                "[includeIf \"gitdir:[a]\"]\npath = \\\n../deep/one.inc\n",
                &["deep/hooks/", "deep/one.inc"],
            ),
        ] {
            write(&project, ".git/HEAD", "");
            write(&project, ".git/config", config);
            // The path of hooks is relative to the working tree, even if an included file sets the path.
            write(&project, "deep/one.inc", "[core]\nhooksPath = deep/hooks\n");
            assert_eq!(names(&project, None), expected, "{config}");
        }
    }

    #[test]
    fn user_configuration_and_linked_worktrees_are_read() {
        let temporary = tempfile::tempdir().unwrap();
        let temporary = temporary.path().canonicalize().unwrap();
        write(
            &temporary,
            "home/.gitconfig",
            "[core]\nhooksPath = .hooks\n",
        );
        write(&temporary, "main/.git/HEAD", "");
        write(&temporary, "main/.git/config", "[core]\nhooksPath = ci\n");
        write(&temporary, "main/.git/worktrees/x/commondir", "../..\n");
        write(
            &temporary,
            "main/.git/worktrees/x/config.worktree",
            "[include]\npath = /\n",
        );
        let git = temporary.join("main/.git/worktrees/x");
        write(
            &temporary,
            "tree/.git",
            &format!("gitdir: {}\n", git.display()),
        );
        let project = temporary.join("tree");
        let home = temporary.join("home");
        assert_eq!(names(&project, Some(&home)), [".hooks/", "ci/"]);
        // The project is a directory below the root of a repository.
        write(&temporary, "main/part/file", "");
        write(
            &temporary,
            "main/.git/config",
            "[core]\nhooksPath = part/hooks\n",
        );
        assert_eq!(names(&temporary.join("main/part"), None), ["hooks/"]);
        // The configuration includes itself, and the path of a hook is a symbolic link.
        write(&project, "hooks/pre-push", "");
        std::os::unix::fs::symlink("hooks", project.join("link")).unwrap();
        write(
            &temporary,
            "main/.git/config",
            "[include]\npath = config\n[core]\nhooksPath = link\n",
        );
        assert_eq!(names(&project, None), ["hooks/", "link/"]);
    }

    /// The placeholder that a sandbox creates in a project below the root of a repository.
    #[test]
    fn an_empty_git_directory_is_not_a_repository() {
        let temporary = tempfile::tempdir().unwrap();
        let top = temporary.path().canonicalize().unwrap();
        write(&top, ".git/HEAD", "");
        write(&top, ".git/config", "[core]\nhooksPath = part/hooks\n");
        let project = top.join("part");
        fs::create_dir_all(project.join(".git")).unwrap();
        assert_eq!(names(&project, None), ["hooks/"]);
        assert_eq!(repository_around(&project), Some(top.as_path()));
    }
}
