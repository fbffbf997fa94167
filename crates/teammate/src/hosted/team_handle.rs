//! The interface of an embedding program's engine to its member's team.
//!
//! Requests go to the supervisor over the member's own connection, so an engine can act only as its own member. When an
//! answer arrives, the action is done and stored.

use std::collections::BTreeMap;

use agent_team_protocol::method::{
    AddTask, ClaimTask, EndTask, FinishRun, GetMemory, MemoryGet, MemoryPut, MessageSend, Method,
    OneTask, PutMemory, RunFinish, SendAnswer, SendMessage, TaskAdd, TaskAnswer, TaskClaim,
    TaskComplete, TaskFail, TaskList, TaskListAnswer, TaskRelease, TaskShow,
};
use agent_team_protocol::notification::{Assignment, DeliveredMessage};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::TaskView;
use agent_team_protocol::{MemberName, Recipient, Refusal, RoleName, TaskId};
use agent_team_terminal_ui::Tone;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::Shared;
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::team_tools::TeamTools;
use crate::agent::output_sink::OutputSink;

/// One member's access to its team.
#[derive(Debug)]
pub struct TeamHandle {
    pub(crate) client: SupervisorClient,
    pub(crate) shared: Shared,
    pub(crate) tools: TeamTools,
    pub(crate) sink: OutputSink,
}

impl TeamHandle {
    pub fn member(&self) -> &MemberName {
        &self.client.member
    }

    pub fn role(&self) -> &RoleName {
        &self.client.role
    }

    pub fn is_lead(&self) -> bool {
        self.client.lead
    }

    /// The team tools of this member, for an agent loop of the embedding program.
    pub fn team_tools(&self) -> TeamTools {
        self.tools.clone()
    }

    /// Shows text to connected clients and writes it to the member's log. No member is notified.
    pub fn print(&self, text: &str) {
        self.sink.lines(Tone::Plain, text);
    }

    /// Waits for messages that arrive during a call of the engine, and takes all of them. The messages count as read
    /// when the engine's [`work`](super::Engine::work) or [`receive`](super::Engine::receive) returns. Cancel-safe.
    pub async fn messages(&self) -> Vec<DeliveredMessage> {
        loop {
            let mut arrived = std::pin::pin!(self.shared.arrivals.arrived());
            // Register before reading, so that no arrival is missed.
            arrived.as_mut().enable();
            let messages = self.shared.arrivals.show();
            if !messages.is_empty() {
                return messages;
            }
            arrived.await;
        }
    }

    /// Sends a message in this member's name.
    ///
    /// # Errors
    /// If there is no such recipient, or the text is too long.
    pub async fn send(&self, to: Recipient, text: &str) -> Result<SendAnswer, Refusal> {
        let message = SendMessage {
            to,
            text: text.to_owned(),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
            attach_outside: false,
        };
        self.call::<MessageSend>(&message).await
    }

    /// Lists the whole board.
    ///
    /// # Errors
    /// If this member is ending.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, Refusal> {
        TaskListAnswer::read_all(|list| async move { self.call::<TaskList>(&list).await }).await
    }

    /// Creates a task.
    ///
    /// # Errors
    /// If the task refers to unknown tasks, members or roles, or this member may not create tasks.
    pub async fn create_task(&self, spec: TaskSpec) -> Result<TaskAnswer, Refusal> {
        self.call::<TaskAdd>(&AddTask { spec }).await
    }

    /// Claims this task, or the ready task of highest priority that the member may claim. For members that choose their
    /// tasks themselves. End the claim with [`TeamHandle::complete`], [`TeamHandle::fail`] or [`TeamHandle::release`].
    ///
    /// # Errors
    /// If the task is not ready or has another owner, or no task is ready.
    pub async fn claim(&self, task: Option<TaskId>) -> Result<Assignment, Refusal> {
        let claimed = self.call::<TaskClaim>(&ClaimTask { task }).await?;
        self.shared.claims.note(claimed.task, claimed.generation);
        let task = claimed.task;
        let view = self.call::<TaskShow>(&OneTask { task }).await?;
        Ok(Assignment {
            task,
            generation: claimed.generation,
            title: view.title,
            description: view.description,
            run: view.run,
            verify: view.verify,
            attempt: view.attempts,
            files: Vec::new(),
        })
    }

    /// Completes a claimed task. The caller must run the task's `verify` line first.
    ///
    /// # Errors
    /// If this member no longer owns the task, or a hook of the user refuses.
    pub async fn complete(&self, task: &Assignment, result: &str) -> Result<TaskAnswer, Refusal> {
        self.end::<TaskComplete>(task, result).await
    }

    /// Fails a claimed task.
    ///
    /// # Errors
    /// If this member no longer owns the task.
    pub async fn fail(&self, task: &Assignment, reason: &str) -> Result<TaskAnswer, Refusal> {
        self.end::<TaskFail>(task, reason).await
    }

    /// Returns a claimed task to the board.
    ///
    /// # Errors
    /// If this member no longer owns the task.
    pub async fn release(&self, task: &Assignment, note: &str) -> Result<TaskAnswer, Refusal> {
        self.end::<TaskRelease>(task, note).await
    }

    /// Stores JSON in the team's shared memory.
    ///
    /// # Errors
    /// If the value is too large, or the memory is full.
    pub async fn remember(&self, key: &str, value: &Value) -> Result<(), Refusal> {
        let value = to_raw_value(value).map_err(|error| Refusal::internal(error.to_string()))?;
        let key = key.to_owned();
        self.call::<MemoryPut>(&PutMemory { key, value }).await?;
        Ok(())
    }

    /// Reads the team's shared memory.
    ///
    /// # Errors
    /// If this member is ending.
    pub async fn recall(&self) -> Result<BTreeMap<String, Value>, Refusal> {
        let memory = self.call::<MemoryGet>(&GetMemory { key: None }).await?;
        let values = memory.values.into_iter();
        let parsed = values.map(|(key, value)| Ok((key, serde_json::from_str(value.get())?)));
        parsed
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| Refusal::internal(error.to_string()))
    }

    /// Ends the run with its answer. Only for the lead; `force` ends it even with unfinished tasks.
    ///
    /// # Errors
    /// If this member is not the lead or there is no run; without `force`, also if tasks are unfinished.
    pub async fn finish(&self, answer: &str, force: bool) -> Result<(), Refusal> {
        let answer = answer.to_owned();
        self.call::<RunFinish>(&FinishRun { answer, force }).await?;
        Ok(())
    }

    /// Makes any other request that a member may make.
    ///
    /// # Errors
    /// The supervisor's refusal; `shutting_down` if this member is ending.
    pub async fn call<M: Method>(&self, args: &M::Args) -> Result<M::Answer, Refusal> {
        self.client.call::<M>(args).await
    }

    async fn end<M: Method<Args = EndTask>>(
        &self,
        task: &Assignment,
        text: &str,
    ) -> Result<M::Answer, Refusal> {
        let answer = self
            .call::<M>(&EndTask {
                task: task.task,
                generation: Some(task.generation),
                text: text.to_owned(),
            })
            .await?;
        self.shared.claims.forget(task.task, task.generation);
        Ok(answer)
    }
}
