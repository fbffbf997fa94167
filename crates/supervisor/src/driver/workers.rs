//! Handles reports of workers, and sends frames to them. Called by the driver.

use agent_team_protocol::method::{CallPrompt, Nothing};
use agent_team_protocol::notification::{
    CompactConversation, Goodbye, InterruptTurn, MemberModel, MemberPrompts, MemberWaits,
    Notification, PromptView, SendPrompt, TaskOutput, TaskSession, TypedShellLine,
};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::view::MessageState;
use agent_team_protocol::{ErrorCode, LaunchId, MemberName, MessageId, Refusal};
use agent_team_system::process::ProcessId;

use super::Driver;
use super::launches::LaunchRuntime;
use super::views::unknown_member;
use crate::outbox::{Outbox, Reply};

/// Maximum number of prompts of a member.
const PROMPTS_MAX: usize = 200;

/// Maximum length of each text of a prompt, in characters.
const PROMPT_TEXT_MAX: usize = 200;

impl Driver {
    pub(super) fn session(&mut self, launch: &LaunchId, session: TaskSession) {
        self.launches.note_activity(launch);
        let leader = ProcessId {
            pid: session.pid,
            start_time: session.start_time,
        };
        self.launches.set_session(launch, leader);
    }

    pub(super) fn set_waiting(&mut self, launch: &LaunchId, waits: MemberWaits) {
        self.launches.note_activity(launch);
        let now = self.now();
        if let Some(member) = self.launches.set_waiting(launch, waits.on, now) {
            self.refresh_labels();
            self.publish_change(&member);
        }
    }

    pub(super) fn set_model(&mut self, launch: &LaunchId, model: MemberModel) {
        self.launches.note_activity(launch);
        if let Some(member) = self.launches.set_model(launch, model) {
            self.refresh_labels();
            self.publish_change(&member);
        }
    }

    /// Keeps the prompts of a worker. Limits and escapes their texts, which MCP servers wrote and the user's terminal
    /// shows.
    pub(super) fn set_prompts(&mut self, launch: &LaunchId, reported: MemberPrompts) {
        self.launches.note_activity(launch);
        let text = |text: &str| visible_label(text, PROMPT_TEXT_MAX);
        let reported = reported.prompts.into_iter().take(PROMPTS_MAX);
        let prompts = reported.map(|prompt| PromptView {
            name: text(&prompt.name),
            arguments: text(&prompt.arguments),
            description: text(&prompt.description),
        });
        if let Some(member) = self.launches.set_prompts(launch, prompts.collect()) {
            self.publish_change(&member);
        }
    }

    pub(super) fn output(&mut self, launch: &LaunchId, output: TaskOutput) {
        self.launches.note_activity(launch);
        if let Some(runtime) = self.launches.get(launch) {
            let member = runtime.member().clone();
            self.publish_output(&member, output);
        }
    }

    pub(super) fn notify<N: Notification>(&mut self, member: &MemberName, notification: &N) {
        let now = self.now();
        self.launches.notify(&self.team, member, notification, now);
    }

    /// Asks a member to end its current turn. The call is not stored: the member stores the interruption in its
    /// transcript.
    pub(crate) fn interrupt(&mut self, reply: Reply, member: &MemberName) {
        if self.team.member(member).is_none() {
            return reply.refuse(unknown_member(&self.team, member));
        }
        if !self.has_connection(member) {
            let why = format!("cannot interrupt {member}: its worker is not connected");
            return reply.refuse(Refusal::new(ErrorCode::WrongState, why));
        }
        self.notify(member, &InterruptTurn {});
        reply.ok(&Nothing {});
    }

    /// Sends a shell line of the user to an idle command member. The call is not stored: the line is in the member's
    /// log.
    pub(crate) fn run_line(&mut self, reply: Reply, member: &MemberName, line: String) {
        if self.team.member(member).is_none() {
            return reply.refuse(unknown_member(&self.team, member));
        }
        let settings = self.settings.member(member);
        let runs_lines = settings.is_ok_and(|settings| settings.engine.runs_lines());
        let why = match (runs_lines, self.team.task_of(member)) {
            (false, _) => "it is not a command member".to_owned(),
            (true, Some(task)) => format!("it works on {}", task.id),
            (true, None) if !self.has_connection(member) => "its worker is not connected".into(),
            (true, None) => {
                self.notify(member, &TypedShellLine { line });
                return reply.ok(&Nothing {});
            }
        };
        let why = format!("cannot run the line in {member}: {why}");
        reply.refuse(Refusal::new(ErrorCode::WrongState, why));
    }

    /// Asks an agent to compact its conversation. The call is not stored: the agent stores the compaction in its
    /// transcript.
    pub(crate) fn compact(&mut self, reply: Reply, member: &MemberName) {
        if self.team.member(member).is_none() {
            return reply.refuse(unknown_member(&self.team, member));
        }
        let settings = self.settings.member(member);
        let has_conversation = settings.is_ok_and(|settings| settings.engine.uses_model());
        let why = match (has_conversation, self.has_connection(member)) {
            (false, _) => "it has no model, and no conversation",
            (true, false) => "its worker is not connected",
            (true, true) => {
                self.notify(member, &CompactConversation {});
                return self.show_member(reply, member);
            }
        };
        let why = format!("cannot compact the conversation of {member}: {why}");
        reply.refuse(Refusal::new(ErrorCode::WrongState, why));
    }

    /// Asks an agent to send itself a prompt of its MCP servers as the user's message. The call is not stored, but the
    /// message is.
    pub(crate) fn send_prompt(&mut self, reply: Reply, prompt: CallPrompt) {
        let CallPrompt {
            member,
            name,
            words,
        } = prompt;
        if self.team.member(&member).is_none() {
            return reply.refuse(unknown_member(&self.team, &member));
        }
        let runtime = self.launches.of(&self.team, &member);
        let prompts = runtime.map_or(&[][..], |(_, runtime)| runtime.prompts());
        if !self.has_connection(&member) || !prompts.iter().any(|it| it.name == name) {
            let why = format!("{member} has no prompt /{} now", visible_label(&name, 80));
            return reply.refuse(Refusal::new(ErrorCode::WrongState, why));
        }
        self.notify(&member, &SendPrompt { name, words });
        reply.ok(&Nothing {});
    }

    fn has_connection(&self, member: &MemberName) -> bool {
        let runtime = self.launches.of(&self.team, member);
        runtime.is_some_and(|(_, runtime)| LaunchRuntime::process(runtime).is_some())
    }

    pub(super) fn deliver_messages(&mut self, name: &MemberName) {
        let now = self.now();
        if let Some(member) = self.team.member(name) {
            self.launches.deliver(member, now);
        }
    }

    pub(super) fn message_state(&self, member: &MemberName, message: MessageId) -> MessageState {
        match self.team.member(member) {
            Some(member) if self.launches.was_sent(member, message) => MessageState::Delivered,
            Some(_) | None => MessageState::Accepted,
        }
    }

    /// Sends a goodbye to the members and subscribers of a deleted team, closes their connections, and waits until each
    /// is flushed or has failed.
    pub(super) async fn disconnect_all(&self) {
        let members = self.launches.outboxes();
        let outboxes: Vec<Outbox> = members
            .chain(self.subscribers.outboxes())
            .cloned()
            .collect();
        for outbox in &outboxes {
            outbox.send_goodbye(&Goodbye::CLOSED);
        }
        for outbox in &outboxes {
            outbox.flushed().await;
        }
    }
}
