//! The objects of the server with all fields that OpenCode's schema requires. The worker reads few of these fields.

use serde_json::{Value, json};

use super::cwd;

/// A conversation. `parent`: the conversation whose helper has this one.
pub(super) fn session(id: &str, parent: Option<&str>, permission: &Value) -> Value {
    let mut session = json!({
        "id": id, "slug": "fake", "projectID": "global", "directory": cwd(), "title": "Fake",
        "version": "1.18.33", "time": { "created": 1, "updated": 1 },
    });
    if let Some(parent) = parent {
        session["parentID"] = parent.into();
    }
    if !permission.is_null() {
        session["permission"] = permission.clone();
    }
    session
}

/// A message of the user.
pub(super) fn user_message(id: &str, session: &str) -> Value {
    json!({
        "id": id, "sessionID": session, "role": "user", "time": { "created": 1 }, "agent": "build",
        "model": { "providerID": "fake", "modelID": "scripted" },
    })
}

/// An answer of the model that is not complete.
pub(super) fn answer(id: &str, session: &str) -> Value {
    json!({
        "id": id, "sessionID": session, "role": "assistant", "time": { "created": 1 },
        "parentID": "msg_0", "modelID": "scripted", "providerID": "fake", "mode": "build", "agent": "build",
        "path": { "cwd": cwd(), "root": cwd() }, "cost": 0,
        "tokens": { "input": 0, "output": 0, "reasoning": 0, "cache": { "read": 0, "write": 0 } },
    })
}

/// The state of a call of a tool.
pub(super) enum CallState<'a> {
    Pending,
    Running,
    Completed { output: &'a str },
    Failed { error: &'a str },
}

/// Changes the state of a call. The input stays as it is.
pub(super) fn set_state(call: &mut Value, state: &CallState<'_>) {
    let input = call["state"]["input"].clone();
    let ended = json!({ "start": 1, "end": 2 });
    call["state"] = match state {
        CallState::Pending => json!({ "status": "pending", "input": input, "raw": "" }),
        CallState::Running => {
            json!({ "status": "running", "input": input, "time": { "start": 1 } })
        }
        CallState::Completed { output } => json!({
            "status": "completed", "input": input, "output": output, "title": "", "metadata": {}, "time": ended,
        }),
        CallState::Failed { error } => {
            json!({ "status": "error", "input": input, "error": error, "time": ended })
        }
    };
}

/// The providers of models: the provider `fake` with the model `scripted`.
pub(super) fn providers() -> Value {
    let media =
        json!({ "text": true, "audio": false, "image": false, "video": false, "pdf": false });
    let model = json!({
        "id": "scripted", "providerID": "fake", "name": "Scripted",
        "api": { "id": "scripted", "url": "", "npm": "@ai-sdk/openai-compatible" },
        "capabilities": {
            "temperature": false, "reasoning": false, "attachment": false, "toolcall": true,
            "input": media, "output": media, "interleaved": false,
        },
        "cost": { "input": 0, "output": 0, "cache": { "read": 0, "write": 0 } },
        "limit": { "context": 1000, "output": 100 },
        "status": "active", "options": {}, "headers": {}, "release_date": "",
    });
    json!({
        "providers": [{
            "id": "fake", "name": "Fake", "source": "config", "env": [], "options": {},
            "models": { "scripted": model },
        }],
        "default": { "fake": "scripted" },
    })
}
