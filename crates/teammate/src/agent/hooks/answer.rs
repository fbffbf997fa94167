//! Reads the answer of a hook from its exit code and its output, in the form of Claude Code. Pure. Called by `hooks`.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | stdout is JSON, or text for the model at `session_start` and `user_prompt` |
//! | 2 | blocks; stderr is the reason |
//! | 126, 127 | the shell could not start the program: no answer |
//! | any other | a warning for the user |
//!
//! A `pre_tool` hook without a readable answer blocks the call: the hook may have meant to deny the call. At the other
//! events, a missing answer is a warning for the user.

use agent_team_protocol::hook::{HookDecision, HookEvent};
use agent_team_tools::secret::Secrets;
use agent_team_tools::team::without_middle;
use agent_team_tools::vt::Plain;
use serde_json::{Map, Value};

use super::program::HookExit;

/// The largest number of bytes that are kept of each text of a hook.
const TEXT_MAX: usize = 10_000;

const BLOCKS: i32 = 2;

/// The codes with which the shell reports that it cannot start a program.
const NOT_STARTED: [i32; 2] = [126, 127];

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) blocked: Option<String>,
    pub(super) stopped: Option<String>,
    pub(super) decision: Option<HookDecision>,
    /// The field `updatedInput`.
    pub(super) input: Option<Map<String, Value>>,
    /// Texts for the model.
    pub(super) context: Vec<String>,
    /// The message for the user.
    pub(super) message: Option<String>,
    pub(super) warning: Option<String>,
}

impl Answer {
    pub(super) fn read(event: HookEvent, exit: HookExit, secrets: &Secrets) -> Self {
        let clean = |bytes: &[u8]| clean(bytes, secrets);
        let (code, stdout, stderr) = match exit {
            HookExit::Exited {
                code,
                stdout,
                stderr,
            } => (code, stdout, stderr),
            HookExit::Failed(why) => return Self::unanswered(event, why),
        };
        match code {
            0 => Self::of_output(event, &stdout, &clean),
            BLOCKS => Self {
                blocked: Some(or(clean(&stderr), "it gave no reason")),
                ..Self::default()
            },
            code => {
                let why = format!("exit {code}: {}", clean(&stderr));
                match NOT_STARTED.contains(&code) {
                    true => Self::unanswered(event, why),
                    false => Self::warns(why),
                }
            }
        }
    }

    fn warns(why: String) -> Self {
        Self {
            warning: Some(why),
            ..Self::default()
        }
    }

    fn unanswered(event: HookEvent, why: String) -> Self {
        match event {
            HookEvent::PreTool => Self {
                blocked: Some(format!("the hook gave no answer: {why}")),
                ..Self::default()
            },
            HookEvent::SessionStart
            | HookEvent::UserPrompt
            | HookEvent::PostTool
            | HookEvent::PreCompact
            | HookEvent::Stop
            | HookEvent::Notification => Self::warns(why),
        }
    }

    fn of_output(event: HookEvent, stdout: &[u8], clean: &dyn Fn(&[u8]) -> String) -> Self {
        let is_json = stdout.trim_ascii_start().starts_with(b"{");
        if !is_json {
            let text = clean(stdout);
            let is_context = matches!(event, HookEvent::SessionStart | HookEvent::UserPrompt);
            return Self {
                context: (is_context && !text.is_empty())
                    .then_some(text)
                    .into_iter()
                    .collect(),
                ..Self::default()
            };
        }
        match serde_json::from_slice(stdout) {
            Ok(Value::Object(fields)) => Self::of_json(event, &fields, clean),
            Ok(_) => Self::unanswered(event, "its answer is not a JSON object".to_owned()),
            Err(error) => Self::unanswered(event, format!("its answer is not JSON: {error}")),
        }
    }

    fn of_json(
        event: HookEvent,
        fields: &Map<String, Value>,
        clean: &dyn Fn(&[u8]) -> String,
    ) -> Self {
        let specific = fields.get("hookSpecificOutput");
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).unwrap_or_default();
            clean(text.as_bytes())
        };
        let of = |name: &str| text(fields.get(name));
        let of_specific = |name: &str| text(specific.and_then(|specific| specific.get(name)));
        let mut answer = Self::default();
        if fields.get("continue") == Some(&Value::Bool(false)) {
            answer.stopped = Some(or(of("stopReason"), "it gave no reason"));
        }
        answer.message = Some(of("systemMessage")).filter(|message| !message.is_empty());
        let context = of_specific("additionalContext");
        answer.context = (!context.is_empty())
            .then_some(context)
            .into_iter()
            .collect();
        let reason = of_specific("permissionDecisionReason");
        let is_call = event == HookEvent::PreTool;
        match (
            of_specific("permissionDecision").as_str(),
            of("decision").as_str(),
        ) {
            ("deny", _) if is_call => {
                answer.blocked = Some(or(reason, "it gave no reason"));
            }
            (_, "block") => answer.blocked = Some(or(of("reason"), "it gave no reason")),
            ("ask", _) if is_call => answer.decision = Some(HookDecision::Ask { reason }),
            // `approve` is the older spelling of Claude Code.
            ("allow", _) | ("", "approve") if is_call => {
                answer.decision = Some(HookDecision::Allow);
            }
            ("", "") => {}
            (decision, other) if is_call => {
                let unknown = if decision.is_empty() { other } else { decision };
                return Self::unanswered(event, format!("its decision {unknown:?} is unknown"));
            }
            _ => {}
        }
        if is_call {
            let input = specific.and_then(|specific| specific.get("updatedInput"));
            answer.input = input.and_then(Value::as_object).cloned();
        }
        answer
    }

    /// The warning and the message for the user, without the reason of a block or stop.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.warning.iter().chain(&self.message);
        lines.map(String::as_str)
    }
}

/// The text without escapes and secrets, cut to about [`TEXT_MAX`] bytes.
fn clean(bytes: &[u8], secrets: &Secrets) -> String {
    let mut text = String::new();
    Plain::default().feed(bytes, &mut text);
    let text = secrets.redact(text.trim());
    without_middle(text.into_owned(), TEXT_MAX)
}

fn or(text: String, other: &str) -> String {
    match text.is_empty() {
        true => other.to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(event: HookEvent, code: i32, stdout: &str, stderr: &str) -> Answer {
        let secrets = Secrets::new(&BTreeMap::from([(
            "TOKEN".to_owned(),
            "hunter2hunter2".to_owned(),
        )]));
        let exit = HookExit::Exited {
            code,
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        Answer::read(event, exit, &secrets)
    }

    fn pre_tool(stdout: &str) -> Answer {
        read(HookEvent::PreTool, 0, stdout, "")
    }

    fn decision(decision: &str) -> Answer {
        pre_tool(&format!(
            r#"{{"hookSpecificOutput": {{"hookEventName": "PreToolUse",
                "permissionDecision": "{decision}", "permissionDecisionReason": "why"}}}}"#
        ))
    }

    #[test]
    fn exit_codes_decide_as_in_claude_code() {
        let blocked = read(HookEvent::PreTool, 2, "{}", "not \x1b[31mthis\x1b[0m\n");
        assert_eq!(blocked.blocked.as_deref(), Some("not this"));
        let warned = read(HookEvent::PreTool, 1, "", "oops");
        assert_eq!(warned.blocked, None);
        assert_eq!(warned.lines().collect::<Vec<_>>(), ["exit 1: oops"]);
        let accepted = read(HookEvent::PreTool, 0, "fine", "");
        assert_eq!(accepted, Answer::default());
    }

    #[test]
    fn output_is_context_only_where_claude_code_adds_it() {
        for event in HookEvent::ALL {
            let adds = matches!(event, HookEvent::SessionStart | HookEvent::UserPrompt);
            let answer = read(event, 0, "branch main\n", "");
            assert_eq!(!answer.context.is_empty(), adds, "{event:?}");
        }
    }

    #[test]
    fn current_and_older_decisions_are_understood() {
        assert_eq!(decision("allow").decision, Some(HookDecision::Allow));
        let reason = "why".to_owned();
        assert_eq!(decision("ask").decision, Some(HookDecision::Ask { reason }));
        assert_eq!(decision("deny").blocked.as_deref(), Some("why"));
        let old = pre_tool(r#"{"decision": "block", "reason": "no"}"#);
        assert_eq!(old.blocked.as_deref(), Some("no"));
        let old = pre_tool(r#"{"decision": "approve"}"#);
        assert_eq!(old.decision, Some(HookDecision::Allow));
    }

    #[test]
    fn an_unreadable_answer_blocks_a_call_and_nothing_else() {
        for stdout in [r#"{"decision": "bl"#, r#"{"decision": "perhaps"}"#] {
            assert!(pre_tool(stdout).blocked.is_some(), "{stdout}");
            assert_eq!(read(HookEvent::Stop, 0, stdout, "").blocked, None);
        }
        assert!(decision("defer").blocked.is_some());
        for code in NOT_STARTED {
            assert!(read(HookEvent::PreTool, code, "", "").blocked.is_some());
        }
    }

    #[test]
    fn texts_lose_secrets_and_escapes_and_are_limited() {
        let long = "x".repeat(200_000);
        for text in ["\\u001b[2J\\u0007hunter2hunter2", long.as_str()] {
            let json = format!(r#"{{"hookSpecificOutput": {{"additionalContext": "{text}"}}}}"#);
            let answer = read(HookEvent::PostTool, 0, &json, "");
            let context = answer.context.concat();
            assert!(context.len() < TEXT_MAX + 200, "{}", context.len());
            assert!(!context.contains(['\x1b', '\x07']), "{context:?}");
            assert!(!context.contains("hunter2"), "{context}");
        }
    }

    #[test]
    fn a_hook_can_end_the_turn_and_change_the_call() {
        let stops = pre_tool(r#"{"continue": false, "stopReason": "enough"}"#);
        assert_eq!(stops.stopped.as_deref(), Some("enough"));
        let changes = pre_tool(
            r#"{"systemMessage": "changed", "hookSpecificOutput": {"updatedInput": {"command": "ls"}}}"#,
        );
        assert_eq!(changes.input.as_ref().unwrap()["command"], "ls");
        assert_eq!(changes.lines().collect::<Vec<_>>(), ["changed"]);
    }
}
