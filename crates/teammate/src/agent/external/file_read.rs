//! The path that a call of Claude Code or Qwen Code reads. The calls of both have the same names of inputs. Called by
//! `claude` and `qwen`.
//!
//! The rules judge such a call by its path. Both programs change some paths, such as `~/a`, before they open the file:
//! a call with such a path gets no location, so it needs a decision.

use std::path::Path;

use serde_json::Value;

use super::wire::Location;

/// The input that names the directory that a tool reads.
const DIRECTORY: &str = "path";

/// A tool that only reads.
pub(super) struct ReadTool {
    pub(super) name: &'static str,
    /// The input that names the path. Without this input, a tool that reads a directory reads the working directory.
    pub(super) path: &'static str,
    /// The inputs that contain patterns of file names. A pattern can leave the searched directory.
    pub(super) globs: &'static [&'static str],
}

impl ReadTool {
    pub(super) const fn file(name: &'static str) -> Self {
        let (path, globs) = ("file_path", &[] as &[_]);
        Self { name, path, globs }
    }

    pub(super) const fn directory(name: &'static str, globs: &'static [&'static str]) -> Self {
        let path = DIRECTORY;
        Self { name, path, globs }
    }
}

/// The input with an absolute path, and the location that the rules judge, if the call reads nothing else. `cwd`: the
/// working directory of the program; empty if it is unknown.
pub(super) fn located(
    tool: &ReadTool,
    input: &Value,
    cwd: &Path,
) -> (Value, Option<Vec<Location>>) {
    let mut input = input.clone();
    let path = match &input[tool.path] {
        Value::String(path) if is_plain(path) => cwd.join(path),
        Value::Null if tool.path == DIRECTORY => cwd.to_owned(),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => return (input, None),
    };
    let mut globs = tool.globs.iter().map(|name| &input[*name]);
    let is_below = globs.all(|glob| glob.as_str().map_or(glob.is_null(), stays_below));
    if !is_below || !path.is_absolute() || !input.is_object() {
        return (input, None);
    }
    input[tool.path] = path.to_string_lossy().into();
    (input, Some(vec![Location { path }]))
}

/// Whether the programs open this path unchanged. They expand `~`, and remove white space and backslashes.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('~') && path.trim() == path && !path.contains('\\')
}

/// Whether a pattern of file names matches only files below the searched directory.
fn stays_below(glob: &str) -> bool {
    let mut alternatives = glob.split(['{', ',', '|', '(']);
    is_plain(glob)
        && !glob.contains("..")
        && alternatives.all(|alternative| !alternative.starts_with(['/', '~']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SEARCH: ReadTool = ReadTool::directory("Glob", &["pattern"]);

    fn path_of(tool: &ReadTool, input: &Value) -> Option<String> {
        let (input, locations) = located(tool, input, Path::new("/p/src"));
        let path = locations?.remove(0).path.to_string_lossy().into_owned();
        assert_eq!(input[tool.path], *path);
        Some(path)
    }

    #[test]
    fn a_relative_path_begins_in_the_directory_of_the_program() {
        let read = ReadTool::file("Read");
        for (tool, input, path) in [
            (&read, json!({ "file_path": "a.txt" }), "/p/src/a.txt"),
            (&read, json!({ "file_path": "/etc/hosts" }), "/etc/hosts"),
            (&SEARCH, json!({ "pattern": "**/*.{rs,toml}" }), "/p/src"),
            (&SEARCH, json!({ "pattern": "*", "path": "a" }), "/p/src/a"),
        ] {
            assert_eq!(path_of(tool, &input).as_deref(), Some(path), "{input}");
        }
        let (_, unknown) = located(&read, &json!({ "file_path": "a.txt" }), Path::new(""));
        assert_eq!(unknown, None);
    }

    #[test]
    fn a_path_that_the_programs_change_has_no_location() {
        let read = ReadTool::file("Read");
        for path in ["~/.ssh/id", " a.txt", "a.txt ", "a\\.txt", ""] {
            assert_eq!(
                path_of(&read, &json!({ "file_path": path })),
                None,
                "{path}"
            );
        }
        assert_eq!(path_of(&read, &json!({})), None);
    }

    #[test]
    fn a_pattern_that_leaves_the_directory_has_no_location() {
        for pattern in [
            "/etc/*",
            "../*",
            "a/../../*",
            "{/etc/*,a}",
            "@(a|/etc/*)",
            "~/*",
        ] {
            let input = json!({ "pattern": pattern });
            assert_eq!(path_of(&SEARCH, &input), None, "{pattern}");
        }
    }
}
