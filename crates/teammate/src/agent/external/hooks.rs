//! What Claude Code and Qwen Code share: the form of their hooks and of the decisions that hooks print, and the arguments of
//! a session. Called by `claude` and `qwen`.

use agent_team_protocol::text::shell_quoted;
use std::path::Path;

use agent_team_system::random;
use serde_json::{Value, json};

use super::channel::PermissionAnswer;

/// The prefix of a message in the conversation.
pub(super) const PREFIX: &str = "From agent-team:";

/// The time limit of a hook that decides about a call, in seconds. The hook program blocks the call earlier.
pub(super) const CALL_LIMIT: u64 = 60;

/// The time limit, in seconds, of a hook that waits for a message or for a decision. After it, the CLI ends the hook
/// program. Timers of Node.js cannot be longer than 24 days.
pub(super) const WAIT_LIMIT: u64 = 20 * 24 * 60 * 60;

/// The largest text of an argument, in bytes. The kernel limits an argument to 128 KiB.
const ARGUMENT_MAX: usize = 100 << 10;

/// The session to open.
pub(super) enum Session {
    New(String),
    Earlier(String),
}

impl Session {
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

    /// The flag that opens it, and its value.
    pub(super) fn argument(&self) -> (&'static str, &str) {
        match self {
            Self::New(id) => ("--session-id", id),
            Self::Earlier(id) => ("--resume", id),
        }
    }

    /// With a random UUID.
    fn begin() -> Self {
        let mut digits = random::id();
        // The version and the variant of a random UUID.
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

/// What `PreToolUse` prints: `allow`, `deny` or `ask`.
pub(super) fn call_decision(decision: &str, why: &str) -> Value {
    json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": why,
    } })
}

/// What `PermissionRequest` prints. Never a rule for later calls.
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
        let (one, two) = (Session::begin(), Session::begin());
        assert_ne!(one.id(), two.id());
        let parts: Vec<_> = one.id().split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&one.id()[14..15], "4");
    }

    #[test]
    fn a_path_with_a_quote_stays_one_word() {
        let command = command(Path::new("/a b/it's"), Path::new("/run/x.sock"), "must");
        assert_eq!(command, r"'/a b/it'\''s' '--hook' '/run/x.sock' 'must'");
    }
}
