//! The parts that Claude Code and Qwen Code share: the form of their hooks and of the decisions that hooks print, and
//! the arguments of a session. Called by `claude` and `qwen`.

use std::path::Path;

use agent_team_protocol::text::{shell_quoted, visible_label};
use agent_team_system::random;
use serde_json::{Value, json};

use super::channel::PermissionAnswer;

/// The prefix of a message in the conversation.
pub(super) const PREFIX: &str = "From agent-team:";

/// The time limit of a hook that decides about a call, in seconds. The hook program blocks the call before this limit.
pub(super) const CALL_LIMIT: u64 = 60;

/// The time limit, in seconds, of a hook that waits for a message or for a decision. After this limit, the CLI ends the
/// hook program. Timers of Node.js cannot be longer than 24 days.
pub(super) const WAIT_LIMIT: u64 = 20 * 24 * 60 * 60;

/// The largest text of an argument, in bytes. The kernel limits an argument to 128 KiB.
const ARGUMENT_MAX: usize = 100 << 10;

/// The longest name of an unknown event that is shown, in characters.
const EVENT_NAME_MAX: usize = 60;

/// The session to open.
pub(super) enum SessionToOpen {
    New(String),
    Earlier(String),
}

impl SessionToOpen {
    pub(super) fn of(earlier: Option<&str>) -> Self {
        match earlier {
            Some(id) => Self::Earlier(id.to_owned()),
            None => Self::begin(),
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::New(id) | Self::Earlier(id) => id,
        }
    }

    /// The flag that opens the session, and its value.
    pub(super) fn argument(&self) -> (&'static str, &str) {
        match self {
            Self::New(id) => ("--session-id", id),
            Self::Earlier(id) => ("--resume", id),
        }
    }

    /// Creates a session with a random UUID.
    fn begin() -> Self {
        let mut digits = random::id();
        // Set the version and the variant of a random UUID.
        digits.replace_range(12..13, "4");
        digits.replace_range(16..17, "8");
        let parts = [
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..],
        ];
        Self::New(parts.join("-"))
    }
}

/// The team's rules with `more`, as an argument.
pub(super) fn rules_argument(rules: &str, more: &str) -> String {
    let mut rules = format!("{rules}\n\n{more}");
    while rules.len() > ARGUMENT_MAX {
        rules.pop();
    }
    rules
}

/// The shell line of a hook. `hook`: the program of the hooks.
pub(super) fn command(hook: &Path, socket: &Path, purpose: &str) -> String {
    let (hook, socket) = (hook.to_string_lossy(), socket.to_string_lossy());
    let words = [&*hook, "--hook", &*socket, purpose].map(shell_quoted);
    words.join(" ")
}

/// Why the input of a hook cannot be used: another version may have other fields. `event_fields` lists the events, and
/// the texts that their inputs must have.
pub(super) fn invalid(input: &Value, event_fields: &[(&str, &[&str])]) -> Option<String> {
    let event = input["hook_event_name"].as_str().unwrap_or_default();
    let Some((_, fields)) = event_fields.iter().find(|(known, _)| *known == event) else {
        let event = visible_label(event, EVENT_NAME_MAX);
        return Some(format!(
            "it sent an invalid message: a hook with the unknown event {event:?}"
        ));
    };
    let missing = fields.iter().find(|field| !input[**field].is_string());
    missing.map(|field| format!("it sent an invalid message: the hook {event} has no {field}"))
}

/// The output of `PreToolUse`. `decision`: `allow`, `deny` or `ask`.
pub(super) fn call_decision(decision: &str, why: &str) -> Value {
    json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": why,
    } })
}

/// The output of `PermissionRequest`. It never contains a rule for later calls.
pub(super) fn dialog_decision(answer: &PermissionAnswer) -> Value {
    let decision = match answer {
        PermissionAnswer::Allow => json!({ "behavior": "allow" }),
        PermissionAnswer::Deny(why) => json!({ "behavior": "deny", "message": why }),
        PermissionAnswer::Cancel => {
            json!({ "behavior": "deny", "message": "the turn is cancelled", "interrupt": true })
        }
    };
    json!({ "hookSpecificOutput": {
        "hookEventName": "PermissionRequest", "decision": decision,
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_session_has_a_random_uuid() {
        let (one, two) = (SessionToOpen::begin(), SessionToOpen::begin());
        assert_ne!(one.id(), two.id());
        let parts: Vec<_> = one.id().split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&one.id()[14..15], "4");
    }

    #[test]
    fn an_unknown_event_or_a_missing_field_is_invalid() {
        let fields: &[(&str, &[&str])] = &[("Stop", &[]), ("UserPromptSubmit", &["prompt"])];
        let why = |input: Value| invalid(&input, fields).unwrap_or_default();
        assert_eq!(why(json!({ "hook_event_name": "Stop" })), "");
        let prompt = json!({ "hook_event_name": "UserPromptSubmit", "prompt": "" });
        assert_eq!(why(prompt), "");
        let other = why(json!({ "hook_event_name": "UserPromptSubmit", "prompt": 1 }));
        assert!(other.ends_with("UserPromptSubmit has no prompt"), "{other}");
        assert!(why(json!({})).ends_with("the unknown event \"\""));
    }

    #[test]
    fn a_path_with_a_quote_stays_one_word() {
        let command = command(Path::new("/a b/it's"), Path::new("/run/x.sock"), "must");
        assert_eq!(command, r"'/a b/it'\''s' '--hook' '/run/x.sock' 'must'");
    }
}
