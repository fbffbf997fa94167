//! The settings with which Codex asks the user. Called by `codex`.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};

/// The only mode that is used: in other modes, Codex changes files without asking.
pub(super) const MODE: &str = "read-only";

pub(super) const APPROVALS: &str = "on-request";

/// The only reviewer that is used: other reviewers let a model decide.
pub(super) const REVIEWER: &str = "user";

/// The arguments of the server. The settings apply to conversations that the user begins in the interface, too.
pub(super) fn server_arguments(socket: &Path, tools: &[OsString]) -> Vec<OsString> {
    let words = tools
        .iter()
        .map(|word| Value::from(word.to_string_lossy()).to_string());
    let words: Vec<_> = words.collect();
    let (command, args) = match words.split_first() {
        Some((command, args)) => (command.as_str(), args.join(", ")),
        None => ("\"\"", String::new()),
    };
    let settings = [
        format!("mcp_servers.team={{command={command}, args=[{args}]}}"),
        format!("sandbox_mode={MODE:?}"),
        format!("approval_policy={APPROVALS:?}"),
        format!("approvals_reviewer={REVIEWER:?}"),
    ];
    let settings = settings.into_iter().flat_map(|it| ["-c".to_owned(), it]);
    let arguments = ["app-server".to_owned()].into_iter().chain(settings);
    let listen = format!("unix://{}", socket.display());
    let arguments = arguments.chain(["--listen".to_owned(), listen]);
    arguments.map(OsString::from).collect()
}

/// The settings with which Codex asks the user.
pub(super) fn settings() -> Value {
    json!({
        "approvalPolicy": APPROVALS,
        "approvalsReviewer": REVIEWER,
        "sandboxPolicy": { "type": "readOnly", "networkAccess": false },
    })
}

/// Whether Codex asks the user with these settings.
pub(super) fn is_asking(settings: &Value, sandbox: &Value) -> bool {
    settings["approvalPolicy"] == APPROVALS
        && settings["approvalsReviewer"] == REVIEWER
        && sandbox["type"] == "readOnly"
        && sandbox["networkAccess"] != true
}

/// The request that adds an item to a conversation.
pub(super) fn first_item(thread: &str, text: &str) -> Value {
    let content = json!([{ "type": "input_text", "text": text }]);
    json!({
        "threadId": thread,
        "items": [{ "type": "message", "role": "developer", "content": content }],
    })
}
