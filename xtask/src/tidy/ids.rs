//! The rule that the core uses only ids, plain values and the user's command lines of the protocol crate.

use std::collections::BTreeSet;

use super::code::{in_a_name, line_at, words};
use super::tree::{Finding, Tree};

/// Finds forbidden uses of the protocol in the core. The core may use `agent_team_protocol::id`, `value`,
/// `command_line` for its notices, and the ids that the crate root re-exports.
pub(super) fn core_uses_only_allowed_modules(tree: &Tree) -> Vec<Finding> {
    const CRATE: &str = "agent_team_protocol";
    let mut allowed = BTreeSet::from(["command_line", "id", "value"]);
    if let Some(root) = tree.find("crates/protocol/src/lib.rs") {
        let reexported = root
            .code
            .split("pub use id::")
            .skip(1)
            .filter_map(|rest| rest.split(';').next());
        allowed.extend(reexported.flat_map(first_segments));
    }
    let mut findings = Vec::new();
    for file in tree
        .rust()
        .filter(|file| file.path.starts_with("crates/core/"))
    {
        for at in words(&file.code, CRATE) {
            let line = line_at(&file.code, at);
            let Some(path) = file.code[at + CRATE.len()..].strip_prefix("::") else {
                findings.push(file.finding(
                    line,
                    "the core must import names of the protocol one by one",
                ));
                continue;
            };
            for segment in first_segments(path)
                .into_iter()
                .filter(|segment| !allowed.contains(segment))
            {
                findings.push(file.finding(
                    line,
                    format!(
                        "the core may use only ids, values and command lines of the protocol, not `{segment}`"
                    ),
                ));
            }
        }
    }
    findings
}

/// Returns the first segment of each path: `id` for `id::A`; `id` and `rpc` for `{id::{A, B}, rpc}`.
fn first_segments(path: &str) -> Vec<&str> {
    let Some(group) = path.trim_start().strip_prefix('{') else {
        return vec![first_name(path)];
    };
    let mut segments = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                segments.push(first_name(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// The name at the start, or the first character if the path does not start with a name.
fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    let end = path.find(|c| !in_a_name(c)).unwrap_or(path.len());
    if end == 0 {
        path.get(..1).unwrap_or("")
    } else {
        &path[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_uses_only_allowed_protocol_modules() {
        let protocol = "//! P.\npub use error::Refusal;\npub use id::{\n    TaskId, TeamId,\n};\n";
        let findings = |core: &str| {
            let tree = Tree::of(&[
                ("crates/protocol/src/lib.rs", protocol),
                ("crates/core/src/a.rs", core),
            ]);
            core_uses_only_allowed_modules(&tree).len()
        };
        for core in [
            "use agent_team_protocol::id::{TaskId, TeamId};",
            "use agent_team_protocol::command_line::CommandLine;",
            "use agent_team_protocol::{TaskId, id::{Party, self}};",
            "use agent_team_protocol::value::Budget;",
            "fn f(t: agent_team_protocol::TaskId) {}",
            "/// See agent_team_protocol::rpc.",
        ] {
            assert_eq!(findings(core), 0, "{core}");
        }
        for core in [
            "use agent_team_protocol::rpc::Request;",
            "use agent_team_protocol::{TaskId,\n    Refusal};",
            "use agent_team_protocol::*;",
            "use agent_team_protocol as wire;",
            "fn f(t: agent_team_protocol::spec::TaskSpec) {}",
        ] {
            assert_eq!(findings(core), 1, "{core}");
        }
    }
}
