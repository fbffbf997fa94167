//! Warnings for the user about a call: a program that runs outside the sandbox, a change outside the project, or a
//! change of a protected path. Called by the supervisor for the view of a request. Warnings decide nothing.

use super::call::{Action, ToolCall};
use super::path::RuleContext;

/// The warnings about a call, as phrases without a subject.
pub fn warnings(call: &ToolCall, context: &RuleContext) -> Vec<String> {
    let mut warnings = Vec::new();
    match call.action() {
        Action::Run(_) if !call.confined => {
            warnings.push("runs outside the sandbox, with all your rights".to_owned());
        }
        Action::Edit(paths) => {
            let call_paths: Vec<_> = paths.iter().map(|path| call.path_of(path)).collect();
            for call_path in call_paths.iter().filter(|path| !path.is_inside(context)) {
                let resolved = call_path.resolved.display();
                warnings.push(format!("changes a file outside the project: {resolved}"));
            }
            if call.changes_user_note() {
                warnings.push("changes what agents in all your projects read".to_owned());
            }
            if call_paths
                .iter()
                .any(|path| call.is_protected(path, context))
            {
                warnings.push("changes a file that other programs run or obey".to_owned());
            }
        }
        Action::Run(_)
        | Action::Read(_)
        | Action::Fetch(_)
        | Action::Search
        | Action::Mcp(_)
        | Action::Own
        | Action::Unknown => {
            if call.runs_git() && !call.confined {
                warnings.push("runs git outside the sandbox".to_owned());
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{CallPath, CallPaths, Containment};

    fn of(tool: &str, input: serde_json::Value, confined: bool, resolved: &str) -> Vec<String> {
        let project = std::path::PathBuf::from("/project");
        let given = input["path"].as_str().unwrap_or_default().to_owned();
        let call = ToolCall {
            tool: tool.to_owned(),
            arguments: input,
            directory: CallPath {
                given: ".".to_owned(),
                path: project.clone(),
                resolved: project.clone(),
            },
            confined,
            containment: Containment::default(),
            environment: Default::default(),
            paths: CallPaths(vec![CallPath {
                path: CallPath::lexical(&project, &given),
                given,
                resolved: resolved.into(),
            }]),
        };
        let context = RuleContext {
            project,
            protected: Vec::new(),
            home: None,
        };
        warnings(&call, &context)
    }

    #[test]
    fn unconfined_commands_and_risky_edits_warn() {
        let none: [&str; 0] = [];
        let run = json!({ "command": "ls" });
        assert_eq!(of("bash", run.clone(), true, ""), none);
        assert!(of("bash", run, false, "")[0].contains("outside the sandbox"));
        let edit =
            |path: &str, resolved: &str| of("edit", json!({ "path": path }), false, resolved);
        assert_eq!(edit("src/a.rs", "/project/src/a.rs"), none);
        // The path contains a link that leads out of the project.
        assert_eq!(
            edit("src/a.rs", "/etc/passwd"),
            ["changes a file outside the project: /etc/passwd"]
        );
        assert_eq!(
            edit("../x", "/x"),
            ["changes a file outside the project: /x"]
        );
        let hook = edit(".envrc", "/project/.envrc");
        assert_eq!(hook, ["changes a file that other programs run or obey"]);
        assert_eq!(
            of("fetch", json!({ "url": "https://x.org" }), false, ""),
            none
        );
    }
}
