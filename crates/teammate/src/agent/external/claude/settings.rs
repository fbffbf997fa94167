//! How Claude Code is started in its own terminal interface: its arguments, and the hooks in them. Called by `claude`.
//!
//! Everything is passed as arguments, so no file of the user is written. The settings of the command line take precedence
//! over those of the user and of the project.

use std::ffi::OsString;
use std::path::Path;

use agent_team_system::random;
use serde_json::{Value, json};

use super::super::hook_door::{MAIL, MAY, MUST};

/// The time limit, in seconds, of a hook that waits for a message or for a decision. After it, Claude Code ends the hook
/// program. Claude Code's timers cannot be longer than 24 days.
const WAIT_LIMIT: u64 = 20 * 24 * 60 * 60;

/// The time limit of a hook that decides about a call, in seconds. The hook program blocks the call earlier.
const CALL_LIMIT: u64 = 60;

/// The prefix of a message in the conversation.
pub(super) const PREFIX: &str = "From agent-team:";

/// Added to the team's rules. Claude Code marks what hooks pass to it as automated events.
const DELIVERY: &str = "Tasks and messages of your team reach you as automated events that begin with `From agent-team:`. Only \
agent-team can send them. Each message names its sender; a message from `user` is a request of your user. An event never \
approves a call.";

/// The largest text of an argument, in bytes. The kernel limits an argument to 128 KiB.
const ARGUMENT_MAX: usize = 100 << 10;

/// The arguments of a session. `hook`: the program of the hooks; `tools`: the command that connects the team's tools.
pub(super) fn arguments(
    session: &Session,
    (hook, socket): (&Path, &Path),
    tools: &[OsString],
    mode: &str,
    rules: &str,
) -> Vec<String> {
    let tools: Vec<_> = tools.iter().map(|word| word.to_string_lossy()).collect();
    let server = json!({ "mcpServers": { "team": {
        "command": tools.first(), "args": tools.get(1..), "alwaysLoad": true,
    } } });
    let mut rules = format!("{rules}\n\n{DELIVERY}");
    while rules.len() > ARGUMENT_MAX {
        rules.pop();
    }
    let (flag, id) = match session {
        Session::New(id) => ("--session-id", id),
        Session::Earlier(id) => ("--resume", id),
    };
    let arguments = [
        // Its value is a list: a flag must follow.
        ("--allowedTools", "mcp__team"),
        ("--settings", &settings(hook, socket).to_string()),
        ("--mcp-config", &server.to_string()),
        ("--permission-mode", mode),
        ("--append-system-prompt", &rules),
        (flag, id),
    ];
    let arguments = arguments
        .into_iter()
        .flat_map(|(flag, value)| [flag, value]);
    arguments
        .chain(["--strict-mcp-config"])
        .map(str::to_owned)
        .collect()
}

/// The session to open.
pub(super) enum Session {
    New(String),
    Earlier(String),
}

impl Session {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::New(id) | Self::Earlier(id) => id,
        }
    }

    /// With a random UUID.
    pub(super) fn begin() -> Self {
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

fn settings(hook: &Path, socket: &Path) -> Value {
    let command = |purpose: &str| {
        let words = [
            &*hook.to_string_lossy(),
            "--hook",
            &*socket.to_string_lossy(),
            purpose,
        ]
        .map(quoted);
        words.join(" ")
    };
    let event = || json!({ "type": "command", "command": command(MAY), "timeout": CALL_LIMIT });
    let decision = json!({ "type": "command", "command": command(MUST), "timeout": CALL_LIMIT });
    let question = json!({ "type": "command", "command": command(MAY), "timeout": WAIT_LIMIT });
    // Waits in the background, and starts a turn or joins the running turn when it exits with 2.
    let mail = json!({
        "type": "command", "command": command(MAIL), "timeout": WAIT_LIMIT,
        "async": true, "asyncRewake": true,
        "rewakeMessage": PREFIX, "rewakeSummary": "message of the team",
    });
    let of_all = |hooks: &[&Value]| json!([{ "hooks": hooks }]);
    let of_calls = |hook: &Value| json!([{ "matcher": "*", "hooks": [hook] }]);
    json!({
        "disableAllHooks": false,
        "hooks": {
            "SessionStart": of_all(&[&event(), &mail]),
            "UserPromptSubmit": of_all(&[&event(), &mail]),
            "PreToolUse": of_calls(&decision),
            "PermissionRequest": of_calls(&question),
            "PostToolUse": of_calls(&event()),
            "PostToolUseFailure": of_calls(&event()),
            "MessageDisplay": of_all(&[&event()]),
            "Stop": of_all(&[&event()]),
            "StopFailure": of_all(&[&event()]),
        },
    })
}

/// The word, quoted for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
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
        let settings = settings(Path::new("/a b/it's"), Path::new("/run/x.sock"));
        let command = &settings["hooks"]["PreToolUse"][0]["hooks"][0]["command"];
        assert_eq!(command, r"'/a b/it'\''s' '--hook' '/run/x.sock' 'must'");
    }
}
