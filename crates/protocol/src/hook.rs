//! Lifecycle hooks: shell lines that a worker runs at an event of its agent. Read by `team-file`, run by `teammate`.
//!
//! The hooks of a task's completion and of an idle member are not here: the supervisor runs them, see
//! `Hooks` in [`spec`](crate::spec).

use serde::{Deserialize, Serialize};

/// The time limit of a hook that sets none, in seconds.
pub const HOOK_SECONDS: u32 = 60;

/// The event at which a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// An agent starts, or continues after an automatic summary.
    SessionStart,
    /// A message of the user reaches the agent.
    UserPrompt,
    /// Before a tool call, and before its permission request.
    PreTool,
    /// After a tool call that succeeded.
    PostTool,
    /// Before a summary replaces the oldest part of the conversation.
    PreCompact,
    /// The agent ends its turn.
    Stop,
    /// The agent waits for a decision or an answer of the user.
    Notification,
}

impl HookEvent {
    pub const ALL: [HookEvent; 7] = [
        HookEvent::SessionStart,
        HookEvent::UserPrompt,
        HookEvent::PreTool,
        HookEvent::PostTool,
        HookEvent::PreCompact,
        HookEvent::Stop,
        HookEvent::Notification,
    ];

    /// The key in the team file.
    pub fn name(self) -> &'static str {
        match self {
            HookEvent::SessionStart => "session_start",
            HookEvent::UserPrompt => "user_prompt",
            HookEvent::PreTool => "pre_tool",
            HookEvent::PostTool => "post_tool",
            HookEvent::PreCompact => "pre_compact",
            HookEvent::Stop => "stop",
            HookEvent::Notification => "notification",
        }
    }

    /// The name of the event in Claude Code: the value of `hook_event_name`.
    pub fn claude_name(self) -> &'static str {
        match self {
            HookEvent::SessionStart => "SessionStart",
            HookEvent::UserPrompt => "UserPromptSubmit",
            HookEvent::PreTool => "PreToolUse",
            HookEvent::PostTool => "PostToolUse",
            HookEvent::PreCompact => "PreCompact",
            HookEvent::Stop => "Stop",
            HookEvent::Notification => "Notification",
        }
    }

    /// Whether the event has a subject, such as a tool's name, that a matcher can select.
    pub fn has_subject(self) -> bool {
        !matches!(self, HookEvent::UserPrompt | HookEvent::Stop)
    }
}

/// The decision of a `pre_tool` hook about a call. The member does not make a call that a hook denies, so the
/// supervisor receives no denials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HookDecision {
    /// Allows the call if no rule decides about it, like an allow rule.
    Allow,
    /// The user must decide, even if a rule or the mode allows the call. The reason is shown to the user.
    Ask { reason: String },
}

/// Why a matcher is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it contains {0:?}: use names, `|` between names, and `*` or `.*` for any characters")]
pub struct InvalidMatcher(pub char);

/// Checks a matcher.
///
/// # Errors
/// The matcher contains a character that neither names nor wildcards contain. A matcher of another syntax must not be
/// accepted: it would select nothing, and the hook would seem to work.
pub fn check_matcher(matcher: &str) -> Result<(), InvalidMatcher> {
    let plain = matcher.replace(".*", "*");
    let is_known = |c: char| c.is_alphanumeric() || "_-|* ".contains(c);
    match plain.chars().find(|c| !is_known(*c)) {
        Some(c) => Err(InvalidMatcher(c)),
        None => Ok(()),
    }
}

/// Returns whether the matcher selects this subject: one of its alternatives is equal to the subject, where `*` and
/// `.*` match any characters. An empty matcher selects every subject.
pub fn matches(matcher: &str, subject: &str) -> bool {
    let mut alternatives = matcher.split('|').map(str::trim);
    matcher.trim().is_empty()
        || alternatives.any(|pattern| matches_wildcards(&pattern.replace(".*", "*"), subject))
}

/// Returns whether the subject is equal to the pattern, in which each `*` matches any characters.
fn matches_wildcards(pattern: &str, subject: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == subject;
    };
    let Some(rest) = subject.strip_prefix(before) else {
        return false;
    };
    // Match the remaining parts from left to right, each at its first occurrence: an earlier match leaves more of the
    // subject for the parts after it. Only the last part is bound to the end of the subject.
    let mut rest = rest;
    let mut parts = after.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, later)) => rest = later,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_selects_whole_names() {
        for (matcher, subject, selected) in [
            ("", "Bash", true),
            ("*", "Bash", true),
            ("Bash", "Bash", true),
            ("Bash", "BashOutput", false),
            ("bash", "Bash", false),
            ("Edit|Write", "Write", true),
            ("Edit | Write", "Write", true),
            ("Edit|Write", "Read", false),
            ("Notebook.*", "NotebookEdit", true),
            ("mcp__.*__write.*", "mcp__db__write_row", true),
            ("mcp__*__write", "mcp__db__write_row", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(matcher, subject), selected, "{matcher} {subject}");
        }
    }

    #[test]
    fn a_matcher_of_another_syntax_is_refused() {
        for (matcher, wrong) in [("^Bash$", '^'), ("Bash(git:*)", '('), ("Ba.h", '.')] {
            assert_eq!(check_matcher(matcher), Err(InvalidMatcher(wrong)));
        }
        for matcher in ["", "*", "Edit|Write", "mcp__db-1__.*"] {
            assert_eq!(check_matcher(matcher), Ok(()));
        }
    }
}
