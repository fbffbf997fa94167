//! The built-in list of protected paths: files and directories that other programs later run or obey, as the user. A
//! [`RuleContext`](crate::RuleContext) adds paths of one project.
//!
//! The judge allows no edit tool to change a protected path without a decision. In mode bypass, agents do not call the
//! judge. The worker passes the same list to the sandbox of commands. SECURITY.md contains the list, and a test
//! compares the two lists.
//!
//! A name belongs in the list if it takes effect when the user opens the project, enters it in a shell, commits,
//! installs packages, or starts an agent there. Files that take effect only when the user builds, tests or runs the
//! project are its code and do not belong in the list.

use std::ffi::OsStr;

/// The placeholder for a path that does not exist, so that a sandboxed command cannot create it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An empty directory.
    Directory,
    /// A file with this content, which has no effect on the programs that read it.
    File(&'static str),
}

/// One protected path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protected {
    /// The path relative to the project, the home directory, or git's directory.
    pub path: &'static str,
    pub kind: Kind,
}

const fn directory(path: &'static str) -> Protected {
    let kind = Kind::Directory;
    Protected { path, kind }
}

const fn file(path: &'static str) -> Protected {
    file_of(path, "")
}

const fn file_of(path: &'static str, content: &'static str) -> Protected {
    let kind = Kind::File(content);
    Protected { path, kind }
}

/// Names in a project. The edit tools protect them at any depth, with everything below them.
pub const PROJECT: [Protected; 20] = [
    directory(".agent-team"),
    directory(".claude"),
    directory(".codex"),
    directory(".cursor"),
    directory(".devcontainer"),
    file_of(".devcontainer.json", "{}\n"),
    file(".envrc"),
    directory(".gemini"),
    file(".gitmodules"),
    directory(".husky"),
    directory(".idea"),
    file_of(".mcp.json", "{\"mcpServers\": {}}\n"),
    file(".npmrc"),
    directory(".nyzhi"),
    directory(".opencode"),
    file_of("opencode.json", "{}\n"),
    file_of("opencode.jsonc", "{}\n"),
    file_of(".pre-commit-config.yaml", "repos: []\n"),
    directory(".qwen"),
    directory(".vscode"),
];

/// Names in a home directory. The edit tools protect them at any depth. The sandbox always protects the home directory,
/// so it uses this list only if the project is or contains the home directory.
pub const HOME: [Protected; 13] = [
    file(".bash_aliases"),
    file(".bash_login"),
    file(".bash_logout"),
    file(".bash_profile"),
    file(".bashrc"),
    file(".gitconfig"),
    file(".profile"),
    directory(".ssh"),
    file(".zlogin"),
    file(".zlogout"),
    file(".zprofile"),
    file(".zshenv"),
    file(".zshrc"),
];

/// Paths in git's directory. The edit tools protect the whole directory. Commands must be able to commit, so the
/// sandbox protects only these paths.
pub const GIT: [Protected; 6] = [
    // Contains the path of the directory with git's other files.
    file_of("commondir", ".\n"),
    file("config"),
    file("config.worktree"),
    directory("hooks"),
    file("info/attributes"),
    directory("modules"),
];

/// Paths in the directory of a linked working tree, below `worktrees/*/`: they point git to its configuration. The
/// sandbox protects existing files only, without placeholders.
pub const GIT_WORKTREE: [&str; 3] = ["commondir", "config.worktree", "gitdir"];

/// Git's directory, or the file that points to it.
pub const GIT_DIRECTORY: &str = ".git";

/// Whether the edit tools protect this component of a path. Ignores case, as some file systems do.
pub fn is_protected_name(name: &OsStr) -> bool {
    let known = PROJECT.iter().chain(&HOME).map(|protected| protected.path);
    known
        .chain([GIT_DIRECTORY])
        .any(|known| name.eq_ignore_ascii_case(known))
}
