//! What an engine of the embedding program's is given to work with: its member's place in the team.
//!
//! Everything here is a call of the supervisor over the member's own connection, so that nobody can speak for another;
//! an answer means done and stored.

use std::collections::BTreeMap;

use agent_team_protocol::method::{
    AddTask, ClaimTask, EndTask, FinishRun, GetMemory, ListTasks, MemoryGet, MemoryPut,
    MessageSend, Method, OneTask, PutMemory, RunFinish, SendAnswer, SendMessage, TaskAdd,
    TaskAnswer, TaskClaim, TaskComplete, TaskFail, TaskList, TaskRelease, TaskShow,
};
use agent_team_protocol::notification::{Assignment, DeliveredMessage};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::TaskView;
use agent_team_protocol::{MemberName, Recipient, Refusal, RoleName, TaskId};
use agent_team_terminal_ui::Tone;
use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::agent::screen::Screen;
use crate::desk::Desk;
use crate::team_tool::Shared;

/// One member's place in the team: who it is, and what it may ask of the supervisor.
#[derive(Debug)]
pub struct Seat {
    pub(crate) desk: Desk,
    pub(crate) shared: Shared,
    pub(crate) screen: Screen,
}

impl Seat {
    pub fn member(&self) -> &MemberName {
        &self.desk.member
    }

    pub fn role(&self) -> &RoleName {
        &self.desk.role
    }

    pub fn is_lead(&self) -> bool {
        self.desk.lead
    }

    /// Shows text to whoever watches the member, and writes it to its log. Nobody is told.
    pub fn say(&self, text: &str) {
        self.screen.lines(Tone::Plain, text);
    }

    /// Waits for messages that came during this call of the engine, and takes all that there are. They are read when the
    /// call returns. Safe to cancel.
    pub async fn messages(&self) -> Vec<DeliveredMessage> {
        loop {
            let mut arrived = std::pin::pin!(self.shared.arrivals.arrived());
            // From here on nothing is missed.
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
    /// When nobody is called that, or the text is too long.
    pub async fn send(&self, to: Recipient, text: &str) -> Result<SendAnswer, Refusal> {
        let message = SendMessage {
            to,
            text: text.to_owned(),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
        };
        self.call::<MessageSend>(&message).await
    }

    /// The whole board.
    ///
    /// # Errors
    /// When this member ends.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, Refusal> {
        let mut tasks = Vec::new();
        let mut wanted = Some(ListTasks::default());
        while let Some(list) = wanted {
            let page = self.call::<TaskList>(&list).await?;
            wanted = page.next();
            tasks.extend(page.tasks);
        }
        Ok(tasks)
    }

    /// Puts a task on the board.
    ///
    /// # Errors
    /// When it names what is not there, or this member may not.
    pub async fn create_task(&self, spec: TaskSpec) -> Result<TaskAnswer, Refusal> {
        self.call::<TaskAdd>(&AddTask { spec }).await
    }

    /// Claims this task, or the ready one of highest priority that the member may take. For members that choose their
    /// tasks themselves; it ends with [`Seat::complete`], [`Seat::fail`] or [`Seat::release`].
    ///
    /// # Errors
    /// When somebody else has it, it is not ready, or there is none.
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

    /// Completes a task that [`Seat::claim`] gave. Its `verify` line is this caller's to respect.
    ///
    /// # Errors
    /// When it is not this member's any more, or a hook of the user's refuses.
    pub async fn complete(&self, task: &Assignment, result: &str) -> Result<TaskAnswer, Refusal> {
        self.end::<TaskComplete>(task, result).await
    }

    /// Fails a task that [`Seat::claim`] gave.
    ///
    /// # Errors
    /// When it is not this member's any more.
    pub async fn fail(&self, task: &Assignment, reason: &str) -> Result<TaskAnswer, Refusal> {
        self.end::<TaskFail>(task, reason).await
    }

    /// Gives a task that [`Seat::claim`] gave back to the board.
    ///
    /// # Errors
    /// When it is not this member's any more.
    pub async fn release(&self, task: &Assignment, note: &str) -> Result<TaskAnswer, Refusal> {
        self.end::<TaskRelease>(task, note).await
    }

    /// Puts JSON into the team's shared memory.
    ///
    /// # Errors
    /// When it is too large, or the memory is full.
    pub async fn remember(&self, key: &str, value: &Value) -> Result<(), Refusal> {
        let value = to_raw_value(value).map_err(|error| Refusal::internal(error.to_string()))?;
        let key = key.to_owned();
        self.call::<MemoryPut>(&PutMemory { key, value }).await?;
        Ok(())
    }

    /// All that the team remembers.
    ///
    /// # Errors
    /// When this member ends.
    pub async fn recall(&self) -> Result<BTreeMap<String, Value>, Refusal> {
        let memory = self.call::<MemoryGet>(&GetMemory { key: None }).await?;
        let values = memory.values.into_iter();
        let parsed = values.map(|(key, value)| Ok((key, serde_json::from_str(value.get())?)));
        parsed
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| Refusal::internal(error.to_string()))
    }

    /// Ends the run with its answer. The lead's; `force` also with tasks that are not finished.
    ///
    /// # Errors
    /// When this is not the lead, there is no run, or tasks are open.
    pub async fn finish(&self, answer: &str, force: bool) -> Result<(), Refusal> {
        let answer = answer.to_owned();
        self.call::<RunFinish>(&FinishRun { answer, force }).await?;
        Ok(())
    }

    /// Any other call that a member may make.
    ///
    /// # Errors
    /// What the supervisor refuses; `shutting_down` when this member ends.
    pub async fn call<M: Method>(&self, args: &M::Args) -> Result<M::Answer, Refusal> {
        self.desk.call::<M>(args).await
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
