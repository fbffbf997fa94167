//! The change of a file by a call of Claude Code or Qwen Code, whose calls have the same names of inputs. Called by
//! `claude` and `qwen`.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::wire::CallContent;

/// The largest file whose change is shown as a difference, in bytes.
const FILE_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct Change {
    file_path: PathBuf,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    old_string: Option<String>,
    #[serde(default)]
    new_string: Option<String>,
    #[serde(default)]
    replace_all: bool,
}

/// The difference that the call makes. `None`: the pane shows the input instead, for example for several changes at
/// once.
pub(super) fn difference(input: &Value) -> Option<CallContent> {
    let change: Change = Deserialize::deserialize(input).ok()?;
    let (old_text, new_text) = match change {
        Change {
            replace_all: true, ..
        } => return None,
        Change {
            content: Some(content),
            ..
        } => {
            let metadata = std::fs::metadata(&change.file_path);
            if metadata.is_ok_and(|metadata| !metadata.is_file() || metadata.len() > FILE_MAX) {
                return None;
            }
            (std::fs::read_to_string(&change.file_path).ok(), content)
        }
        Change {
            old_string,
            new_string: Some(new),
            ..
        } => (old_string, new),
        Change { .. } => return None,
    };
    Some(CallContent::Diff {
        path: change.file_path,
        old_text,
        new_text,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_of_every_occurrence_is_shown_as_its_input() {
        let input = json!({ "file_path": "/p/a", "old_string": "a", "new_string": "b" });
        assert!(difference(&input).is_some());
        let input = json!({ "file_path": "/p/a", "old_string": "a", "new_string": "b", "replace_all": true });
        assert!(difference(&input).is_none());
    }
}
