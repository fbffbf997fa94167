//! The hooks of the events of the agent loop: the start, messages of the user, compaction, and the end of a turn.
//! Called by the agent loop.
//!
//! A stop of the member terminates a running hook. A message that was not stored before a crash is delivered again, so
//! its hooks run again.

use agent_team_llm::{Answer, Item};
use agent_team_protocol::Party;
use agent_team_protocol::hook::HookEvent;
use agent_team_protocol::view::Usage;
use agent_team_terminal_ui::Tone;
use serde_json::Value;

use super::super::agent_loop::AgentLoop;
use super::super::conversation::End;
use super::super::inbox::ModelInput;
use super::super::prompts;
use super::CombinedAnswer;

/// The largest number of consecutive times that the `stop` hooks may make an agent continue.
const STOPS_MAX: u32 = 3;

/// Why a session starts: the `source` of Claude Code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum SessionStart {
    New,
    Restart,
    Compaction,
}

impl SessionStart {
    fn name(self) -> &'static str {
        match self {
            SessionStart::New => "startup",
            SessionStart::Restart => "resume",
            SessionStart::Compaction => "compact",
        }
    }
}

/// The number of times that the `stop` hooks have made the agent continue since its last tool call or new work.
#[derive(Debug, Default)]
pub(in crate::agent) struct StopBlocks(u32);

impl AgentLoop {
    /// Runs the hooks of an event. A stop of the member terminates them.
    async fn run_hooks(
        &mut self,
        event: HookEvent,
        subjects: &[&str],
        fields: &[(&str, Value)],
    ) -> Result<CombinedAnswer, End> {
        tokio::select! {
            outcome = self.hooks.run(event, subjects, fields) => Ok(outcome),
            () = self.conversation.inbox.stop_requested() => Err(End::Stopped),
        }
    }

    /// Runs the `session_start` hooks. The model receives their texts with the next input.
    pub(in crate::agent) async fn session_starts(&mut self, why: SessionStart) -> Result<(), End> {
        if !self.hooks.has(HookEvent::SessionStart) {
            return Ok(());
        }
        let source = why.name();
        let fields = [("source", source.into())];
        let outcome = self
            .run_hooks(HookEvent::SessionStart, &[source], &fields)
            .await?;
        self.show_ineffective(HookEvent::SessionStart, &outcome);
        if let Some(text) = outcome.text() {
            self.conversation.inbox.note(prompts::from_hook(&text));
        }
        Ok(())
    }

    /// Runs the `user_prompt` hooks for each message of the user, and stores the inputs. Stores a note in place of each
    /// message that a hook blocks. Returns whether any input passed.
    pub(in crate::agent) async fn store_inputs(
        &mut self,
        inputs: Vec<ModelInput>,
    ) -> Result<bool, End> {
        if !self.hooks.has(HookEvent::UserPrompt) {
            let is_any = !inputs.is_empty();
            self.conversation
                .store_inputs(inputs, self.toolbox.context())
                .await?;
            return Ok(is_any);
        }
        let mut passed = Vec::new();
        for input in inputs {
            let ModelInput::Message(message) = &input else {
                passed.push(input);
                continue;
            };
            if message.from != Party::User {
                passed.push(input);
                continue;
            }
            let fields = [("prompt", message.text.as_str().into())];
            let outcome = self.run_hooks(HookEvent::UserPrompt, &[], &fields).await?;
            let text = outcome.text();
            match outcome.blocked.or(outcome.stopped) {
                None => {
                    passed.push(input);
                    passed.extend(text.map(|text| ModelInput::Note(prompts::from_hook(&text))));
                }
                Some(reason) => {
                    let line = format!("✗ a hook withheld your message: {reason}");
                    self.conversation.sink.lines(Tone::Runtime, &line);
                    let note = prompts::note(prompts::WITHHELD_MESSAGE);
                    let read = vec![message.id];
                    self.conversation
                        .append(vec![Item::Input { text: note }], read, Usage::default())
                        .await?;
                    self.conversation.message_user(&line).await;
                }
            }
        }
        let is_any = !passed.is_empty();
        self.conversation
            .store_inputs(passed, self.toolbox.context())
            .await?;
        Ok(is_any)
    }

    /// Runs the `pre_compact` hooks. `trigger`: `auto` or `manual`. The hooks cannot prevent the compaction: without
    /// it, the conversation can exceed the window.
    pub(in crate::agent) async fn before_compaction(
        &mut self,
        trigger: &'static str,
    ) -> Result<(), End> {
        if !self.hooks.has(HookEvent::PreCompact) {
            return Ok(());
        }
        let fields = [
            ("trigger", trigger.into()),
            ("custom_instructions", "".into()),
        ];
        let outcome = self
            .run_hooks(HookEvent::PreCompact, &[trigger], &fields)
            .await?;
        self.show_ineffective(HookEvent::PreCompact, &outcome);
        Ok(())
    }

    /// Runs the `stop` hooks before the answer ends the turn. If the agent must continue, returns a text for the model.
    pub(in crate::agent) async fn must_continue(
        &mut self,
        answer: &Answer,
        blocks: &mut StopBlocks,
    ) -> Result<Option<String>, End> {
        // An agent that owns a task is reminded of the task, and the hooks do not run.
        if !self.hooks.has(HookEvent::Stop) || self.conversation.inbox.task().is_some() {
            return Ok(None);
        }
        let fields = [
            ("stop_hook_active", (blocks.0 > 0).into()),
            ("last_assistant_message", answer.text.as_str().into()),
        ];
        let outcome = self.run_hooks(HookEvent::Stop, &[], &fields).await?;
        let Some(reason) = outcome.blocked.filter(|_| outcome.stopped.is_none()) else {
            return Ok(None);
        };
        if blocks.0 >= STOPS_MAX {
            let line = format!("… the turn ends although a stop hook refused {STOPS_MAX} times");
            self.conversation.sink.lines(Tone::Runtime, &line);
            return Ok(None);
        }
        blocks.0 += 1;
        let line = format!("… a stop hook makes the agent continue: {reason}");
        self.conversation.sink.lines(Tone::Runtime, &line);
        Ok(Some(prompts::from_hook(&reason)))
    }

    /// Runs the `stop` hooks after the tool `finish`. The goal has ended, so the hooks cannot make the agent continue.
    pub(in crate::agent) async fn finished(&mut self, answer: &str) -> Result<(), End> {
        if !self.hooks.has(HookEvent::Stop) {
            return Ok(());
        }
        let fields = [
            ("stop_hook_active", true.into()),
            ("last_assistant_message", answer.into()),
        ];
        let outcome = self.run_hooks(HookEvent::Stop, &[], &fields).await?;
        self.show_ineffective(HookEvent::Stop, &outcome);
        Ok(())
    }

    /// Shows the reason of a block or stop that has no effect at this event.
    fn show_ineffective(&self, event: HookEvent, outcome: &CombinedAnswer) {
        if let Some(reason) = outcome.blocked.as_ref().or(outcome.stopped.as_ref()) {
            let line = format!("… a {} hook reports: {reason}", event.name());
            self.conversation.sink.lines(Tone::Runtime, &line);
        }
    }
}
