//! The names that complete the user's text in a prompt: members, tasks, and files of the workspace. Called by the panes
//! and by the single-terminal view.
//!
//! A completion must not block: names that are not found within [`TIMEOUT`] are not offered. If the supervisor or the
//! directory cannot be read, no name is offered. This module reads only names of files in the workspace, and ignore
//! files such as `.gitignore`.

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::text::visible_label;
use ignore::WalkBuilder;

use crate::session::Session;

/// Time limit of a completion.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Maximum number of names that are offered.
const NAMES_MAX: usize = 2_000;

/// Maximum length of a description, in characters.
const DESCRIPTION_MAX: usize = 60;

/// A name that completes the user's text, with a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Unescaped: a file name can contain control characters.
    pub name: String,
    /// One line without control characters; may be empty.
    pub description: String,
}

/// The members of the session's team.
pub async fn members(mut session: Session) -> Vec<Name> {
    let answer = tokio::time::timeout(TIMEOUT, session.query::<TeamShow>(Nothing {})).await;
    let Ok(Ok(team)) = answer else {
        return Vec::new();
    };
    let members = team.members.into_iter();
    members
        .map(|member| name(member.name.to_string(), member.role.as_str()))
        .collect()
}

/// The tasks of the session's team.
pub async fn tasks(mut session: Session) -> Vec<Name> {
    let Ok(Ok(board)) = tokio::time::timeout(TIMEOUT, session.board()).await else {
        return Vec::new();
    };
    let tasks = board.into_iter();
    tasks
        .map(|task| name(task.id.to_string(), &task.title))
        .collect()
}

fn name(name: String, description: &str) -> Name {
    let description = visible_label(description, DESCRIPTION_MAX)
        .trim_end()
        .to_owned();
    Name { name, description }
}

/// The entries of a directory below `root` that no ignore file excludes, as paths relative to `root`; directories end
/// with a slash. Follows no link out of `root`.
pub async fn files(root: PathBuf, directory: PathBuf) -> Vec<Name> {
    let (finished, found) = tokio::sync::oneshot::channel();
    // Use a separate thread, not the runtime's blocking pool: a shutdown of the runtime would wait for a thread that is
    // blocked by the file system.
    let thread = std::thread::Builder::new().name("files".to_owned());
    let started = thread.spawn(move || {
        // Sending fails if the time limit has passed: the receiver was dropped.
        let _sent = finished.send(entries(&root, &directory, Instant::now() + TIMEOUT));
    });
    if started.is_err() {
        return Vec::new();
    }
    match tokio::time::timeout(TIMEOUT, found).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn entries(root: &Path, directory: &Path, until: Instant) -> Vec<Name> {
    let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let listed = root.join(directory);
    let (Ok(real_root), Ok(real)) = (root.canonicalize(), listed.canonicalize()) else {
        return Vec::new();
    };
    if !directory.components().all(is_below) || !real.starts_with(real_root) {
        return Vec::new();
    }
    let walk = WalkBuilder::new(&listed)
        .max_depth(Some(1))
        .hidden(false)
        .require_git(false)
        .follow_links(false)
        .build();
    let mut names = Vec::new();
    for entry in walk {
        if Instant::now() > until || names.len() >= NAMES_MAX {
            break;
        }
        let Ok(entry) = entry else { continue };
        if entry.depth() == 0 || entry.file_name() == ".git" {
            continue;
        }
        let path = directory.join(entry.file_name());
        // A name that is not UTF-8 cannot be typed.
        let Some(path) = path.to_str() else { continue };
        let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
        let end = if is_directory { "/" } else { "" };
        names.push(name(format!("{path}{end}"), ""));
    }
    names.sort_by(|a, b| a.name.cmp(&b.name));
    names
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn listed(root: &Path, directory: &str) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(60);
        let names = entries(root, Path::new(directory), until).into_iter();
        names.map(|name| name.name).collect()
    }

    #[test]
    fn ignored_files_are_not_offered() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        fs::create_dir_all(path.join("src/deep")).unwrap();
        fs::create_dir_all(path.join("target")).unwrap();
        fs::create_dir_all(path.join(".git")).unwrap();
        fs::write(path.join(".gitignore"), "target/\n*.log\n").unwrap();
        for file in ["a.rs", "a.log", ".env", "src/lib.rs", "src/b.log", "x\ny"] {
            fs::write(path.join(file), "").unwrap();
        }
        let root = listed(path, "");
        assert_eq!(root, [".env", ".gitignore", "a.rs", "src/", "x\ny"]);
        assert_eq!(listed(path, "src/"), ["src/deep/", "src/lib.rs"]);
    }

    #[test]
    fn no_path_and_no_link_leads_out_of_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "").unwrap();
        let root = outside.path().join("project");
        fs::create_dir(&root).unwrap();
        symlink(outside.path(), root.join("link")).unwrap();
        assert_eq!(listed(&root, ""), ["link"]);
        for directory in ["link/", "../", "/", "missing/"] {
            assert_eq!(listed(&root, directory), [""; 0], "{directory}");
        }
    }

    #[test]
    fn the_list_ends_at_its_time_limit() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "").unwrap();
        let past = Instant::now() - Duration::from_millis(1);
        assert_eq!(entries(root.path(), Path::new(""), past), []);
    }
}
