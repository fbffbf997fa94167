//! The lifecycle hooks of an agent: shell lines of the user and of the trusted team file that run at events of the
//! agent. Called by the agent loop, by `calls`, by `supervisor_calls` and by `delegate`.
//!
//! ```text
//! event ── hooks of the team file, then of the user, one after the other
//!            └── program: JSON on stdin ──► exit code, stdout, stderr ──► answer ──► outcome
//! ```
//! - running the program of a hook: `program`; reading its answer: `answer`
//! - names of tools and arguments in Claude Code: `claude`
//! - a tool call between its hooks: `call`; the other events of the agent loop: `lifecycle`
//!
//! A hook runs with the user's rights, outside the sandbox. The texts in its answer are untrusted: escapes and secrets
//! are removed, and the length is limited. Text for the model is added at the end of the conversation.

mod answer;
mod call;
mod claude;
mod lifecycle;
mod program;

use std::sync::{Arc, Mutex, PoisonError};

use agent_team_protocol::MemberName;
use agent_team_protocol::hook::{HookDecision, HookEvent, matches};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::spec::HookSpec;
use agent_team_protocol::text::visible_label;
use agent_team_terminal_ui::Tone;
use agent_team_tools::ToolContext;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::Claims;
use serde_json::{Map, Value, json};

use self::answer::Answer;
pub(super) use self::call::HookedCall;
pub(super) use self::lifecycle::{SessionStart, StopBlocks};
use super::output_sink::OutputSink;
use crate::launch::TEAM_VARIABLE;

/// The largest width of a hook's shell line in a notice of the pane.
const LINE_WIDTH: usize = 60;

/// The hooks of one agent, and its permission mode once the mode is known. Clones share both.
#[derive(Debug, Clone)]
pub(super) struct Hooks {
    context: Arc<HookContext>,
    mode: Arc<Mutex<Option<Mode>>>,
}

#[derive(Debug)]
pub(super) struct HookContext {
    pub(super) specs: Vec<HookSpec>,
    pub(super) tool_context: Arc<ToolContext>,
    pub(super) client: SupervisorClient,
    pub(super) claims: Claims,
    pub(super) sink: OutputSink,
}

/// The combined answers of the hooks of one event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CombinedAnswer {
    /// The reason of a hook that blocks. The effect of a block depends on the event; at some events, it has no effect.
    pub(super) blocked: Option<String>,
    /// The reason of a hook that requests the end of the turn.
    pub(super) stopped: Option<String>,
    pub(super) decision: Option<HookDecision>,
    /// The new arguments of the call, under the argument names of Claude Code.
    pub(super) input: Option<Map<String, Value>>,
    /// Texts for the model.
    pub(super) texts: Vec<String>,
}

impl CombinedAnswer {
    /// Adds the answer of the next hook. An earlier `ask` is kept. An earlier `allow` is dropped if this hook changes
    /// the arguments: the `allow` was for other arguments.
    fn add(&mut self, answer: Answer) {
        if answer.input.is_some() {
            self.decision.take_if(|it| *it == HookDecision::Allow);
            self.input = answer.input;
        }
        let asks = matches!(self.decision, Some(HookDecision::Ask { .. }));
        if let (Some(decision), false) = (answer.decision, asks) {
            self.decision = Some(decision);
        }
        self.blocked = answer.blocked;
        self.stopped = answer.stopped;
        self.texts.extend(answer.context);
    }

    /// Combines the answers for two files of a patch. The decision is `ask` if at least one decision is `ask`, and
    /// `allow` only if both are `allow`.
    fn and_file(mut self, other: Self) -> Self {
        self.decision = match (self.decision.take(), other.decision) {
            (Some(ask @ HookDecision::Ask { .. }), _)
            | (_, Some(ask @ HookDecision::Ask { .. })) => Some(ask),
            (Some(HookDecision::Allow), Some(HookDecision::Allow)) => Some(HookDecision::Allow),
            _ => None,
        };
        self.blocked = match (self.blocked.take(), other.blocked) {
            (Some(first), Some(other)) if first != other => Some(format!("{first}\n{other}")),
            (first, other) => first.or(other),
        };
        self.stopped = self.stopped.take().or(other.stopped);
        self.texts.extend(other.texts);
        self
    }

    /// The texts for the model as one text.
    pub(super) fn text(&self) -> Option<String> {
        (!self.texts.is_empty()).then(|| self.texts.join("\n\n"))
    }
}

impl Hooks {
    pub(super) fn new(context: HookContext) -> Self {
        Self {
            context: Arc::new(context),
            mode: Arc::default(),
        }
    }

    /// Sets the permission mode that hooks receive. Called when the supervisor reports a change.
    pub(super) fn set_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = Some(mode);
    }

    /// Sets the mode with which the launch starts, unless [`Self::set_mode`] has set a mode: a reported change can
    /// arrive before the answer that contains the initial mode.
    pub(super) fn set_initial_mode(&self, mode: Mode) {
        let mut known = self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert(mode);
    }

    /// Returns the same hooks for the calls of a helper, whose tools run in `tool_context`.
    pub(super) fn with_tool_context(&self, tool_context: Arc<ToolContext>) -> Self {
        let HookContext {
            specs,
            client,
            claims,
            sink,
            ..
        } = &*self.context;
        let context = HookContext {
            specs: specs.clone(),
            tool_context,
            client: client.clone(),
            claims: claims.clone(),
            sink: sink.clone(),
        };
        Self {
            context: Arc::new(context),
            mode: Arc::clone(&self.mode),
        }
    }

    /// Returns whether the agent has a hook for this event.
    pub(super) fn has(&self, event: HookEvent) -> bool {
        self.context.specs.iter().any(|spec| spec.event == event)
    }

    /// Runs the hooks of the event in order, until a hook blocks or asks to end the turn. Skips a hook whose matcher
    /// selects none of the subjects; without subjects, skips no hook. Dropping the future terminates the running hook.
    async fn run(
        &self,
        event: HookEvent,
        subjects: &[&str],
        fields: &[(&str, Value)],
    ) -> CombinedAnswer {
        let mut outcome = CombinedAnswer::default();
        let HookContext {
            specs,
            tool_context,
            sink,
            ..
        } = &*self.context;
        let selects = |matcher: &str| {
            subjects.is_empty() || subjects.iter().any(|subject| matches(matcher, subject))
        };
        for spec in specs {
            if spec.event != event || !selects(&spec.matcher) {
                continue;
            }
            let mut document = self.document(event);
            let fields = fields.iter();
            document.extend(fields.map(|(name, value)| ((*name).to_owned(), value.clone())));
            if let Some(input) = &outcome.input {
                document.insert("tool_input".to_owned(), Value::Object(input.clone()));
            }
            let exit = program::run(spec, tool_context, &Value::Object(document)).await;
            let answer = Answer::read(event, exit, &tool_context.secrets);
            for line in answer.lines() {
                let run = visible_label(&spec.run, LINE_WIDTH);
                let line = format!("… hook {} ({run}): {line}", event.name());
                sink.lines(Tone::Runtime, &line);
            }
            outcome.add(answer);
            if outcome.blocked.is_some() || outcome.stopped.is_some() {
                break;
            }
        }
        outcome
    }

    /// The fields that every hook receives.
    fn document(&self, event: HookEvent) -> Map<String, Value> {
        let HookContext {
            tool_context,
            client,
            claims,
            ..
        } = &*self.context;
        let member: &MemberName = &client.member;
        let mut variables = tool_context.env.iter();
        let team = variables.find(|(name, _)| name == TEAM_VARIABLE);
        let team = team.map_or_else(Default::default, |(_, team)| team.to_string_lossy());
        let mode = *self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let task = claims.tasks().first().map(ToString::to_string);
        let fields = [
            ("session_id", format!("{team}-{member}").into()),
            // The path is empty: the conversation is in the team's journal, not in a file.
            ("transcript_path", "".into()),
            ("cwd", json!(tool_context.cwd)),
            (
                "permission_mode",
                claude::mode_name(mode.unwrap_or_default()).into(),
            ),
            ("hook_event_name", event.claude_name().into()),
            ("team", team.into()),
            ("member", member.as_str().into()),
            ("task", task.into()),
        ];
        let named = fields.map(|(name, value): (&str, Value)| (name.to_owned(), value));
        named.into_iter().collect()
    }

    /// Runs the `notification` hooks in a separate tokio task, so that a slow hook does not delay the agent. The
    /// decisions of these hooks have no effect.
    pub(super) fn notify(&self, kind: &'static str, message: String) {
        if !self.has(HookEvent::Notification) {
            return;
        }
        let hooks = self.clone();
        tokio::spawn(async move {
            let fields = [
                ("notification_type", kind.into()),
                ("message", message.into()),
            ];
            hooks.run(HookEvent::Notification, &[kind], &fields).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decides(decision: HookDecision) -> Answer {
        Answer {
            decision: Some(decision),
            ..Answer::default()
        }
    }

    fn changes() -> Answer {
        Answer {
            input: Some(Map::new()),
            ..Answer::default()
        }
    }

    #[test]
    fn an_allow_ends_when_a_later_hook_changes_the_call() {
        let mut outcome = CombinedAnswer::default();
        outcome.add(decides(HookDecision::Allow));
        assert_eq!(outcome.decision, Some(HookDecision::Allow));
        outcome.add(changes());
        assert_eq!(outcome.decision, None);
        outcome.add(decides(HookDecision::Allow));
        assert_eq!(outcome.decision, Some(HookDecision::Allow));
    }

    #[test]
    fn an_ask_of_one_hook_outlasts_an_allow_of_another() {
        let reason = "it costs money".to_owned();
        let asks = HookDecision::Ask { reason };
        let mut outcome = CombinedAnswer::default();
        outcome.add(decides(HookDecision::Allow));
        outcome.add(decides(asks.clone()));
        outcome.add(decides(HookDecision::Allow));
        outcome.add(changes());
        assert_eq!(outcome.decision, Some(asks));
    }
}
