//! The loop of a member with an engine of the embedding program: passes the engine one task or one batch of messages at
//! a time, and reports the result. Replaces `agent_loop`; started by the worker's loop.
//!
//! ```text
//! idle ──messages──► receive ──► acknowledged ──┐
//!   ▲ └────task────► work ──► verified ──► reported
//!   └───────────────────────────────────────────┘
//! ```
//! A call to the engine is dropped when the call's task is taken away, or when the call does not finish in time after a
//! stop was requested.

use std::pin::pin;

use agent_team_protocol::method::{EndTask, MessageRead, ReadMessages, TaskComplete, TaskFail};
use agent_team_protocol::notification::{Assignment, DeliveredMessage};
use agent_team_protocol::{ErrorCode, MessageId, Refusal};
use agent_team_terminal_ui::Tone;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::conversation::End;
use super::inbox::Input;
use crate::engine::Claim;
use crate::hosted::engine::{Engine, TaskResult};
use crate::hosted::team_handle::TeamHandle;
use crate::pane::paint;

pub(super) struct Custom {
    pub(super) engine: Box<dyn Engine>,
    pub(super) team: TeamHandle,
    pub(super) inputs: Inputs,
}

/// Inputs from the worker's loop that are not handled yet.
pub(super) struct Inputs {
    inputs: mpsc::UnboundedReceiver<Input>,
    task: Option<Assignment>,
    finish_at: Option<Instant>,
}

/// The outcome of one call to the engine.
enum CallEnd<T> {
    Returned(T),
    /// The call's task was taken away.
    Abandoned,
}

impl Custom {
    /// Runs until the member is stopped.
    pub(super) async fn run(mut self) -> End {
        while !self.inputs.must_stop() {
            let messages = self.team.shared.arrivals.take();
            let done = if !messages.is_empty() {
                self.receive(messages).await
            } else if let Some(task) = self.inputs.task.take() {
                self.work(task).await
            } else {
                self.inputs.receive().await;
                Ok(())
            };
            if let Err(end) = done {
                return end;
            }
        }
        End::Stopped
    }

    async fn receive(&mut self, messages: Vec<DeliveredMessage>) -> Result<(), End> {
        for message in &messages {
            self.team
                .sink
                .lines(Tone::Runtime, &paint::message(message));
        }
        let handled = self.engine.receive(&messages, &self.team);
        self.inputs.while_held(None, handled).await?;
        let mut read: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
        // Include the messages that the engine has read itself.
        read.extend(self.team.shared.arrivals.taken_by_tool());
        acknowledge(&self.team, read).await;
        Ok(())
    }

    async fn work(&mut self, task: Assignment) -> Result<(), End> {
        self.team.sink.lines(Tone::Runtime, &paint::header(&task));
        let Self {
            engine,
            team,
            inputs,
        } = self;
        let work = async {
            let worked = engine.work(&task, team).await;
            let worked = verified(team, &task, worked).await;
            report(team, &task, worked).await;
        };
        match inputs.while_held(Some(Claim::from(&task)), work).await? {
            CallEnd::Returned(()) => {}
            CallEnd::Abandoned => self.team.sink.lines(
                Tone::Runtime,
                &paint::abandoned(task.task, "it was taken away"),
            ),
        }
        Ok(())
    }
}

impl Inputs {
    pub(super) fn new(inputs: mpsc::UnboundedReceiver<Input>) -> Self {
        Self {
            inputs,
            task: None,
            finish_at: None,
        }
    }

    /// Accepts all queued inputs, and returns whether a stop was requested.
    fn must_stop(&mut self) -> bool {
        while let Ok(input) = self.inputs.try_recv() {
            self.accept(input);
        }
        self.finish_at.is_some()
    }

    /// Waits for an input. Returns the claim that the input takes away, if any. Cancel-safe.
    async fn receive(&mut self) -> Option<Claim> {
        match self.inputs.recv().await {
            Some(input) => self.accept(input),
            // The worker has exited.
            None => {
                self.finish_at = Some(Instant::now());
                None
            }
        }
    }

    fn accept(&mut self, input: Input) -> Option<Claim> {
        match input {
            // `run` takes messages from the arrivals. Allowances do not apply: the embedding program accounts for its
            // engine's costs.
            Input::Arrived { .. }
            | Input::RequestOver(_)
            | Input::Informed(_)
            | Input::Interrupt
            | Input::Compact
            | Input::Welcomed(_)
            | Input::Allowance(_) => None,
            Input::Task(task) => {
                self.task = Some(task);
                None
            }
            Input::Abandoned(abandon) => {
                let claim = Claim {
                    task: abandon.task,
                    generation: abandon.generation,
                };
                self.task.take_if(|task| Claim::from(&*task) == claim);
                Some(claim)
            }
            Input::Stop { finish_at } => {
                let earlier = self.finish_at.map_or(finish_at, |at| at.min(finish_at));
                self.finish_at = Some(earlier);
                None
            }
        }
    }

    /// Waits for a call to the engine. Drops the call if its claim is taken away, or at the `finish_at` of a stop.
    async fn while_held<T>(
        &mut self,
        claim: Option<Claim>,
        call: impl Future<Output = T>,
    ) -> Result<CallEnd<T>, End> {
        let mut call = pin!(call);
        loop {
            if let Some(finish_at) = self.finish_at {
                let returned = timeout_at(finish_at, call).await;
                return returned.map(CallEnd::Returned).map_err(|_| End::Stopped);
            }
            tokio::select! {
                returned = &mut call => return Ok(CallEnd::Returned(returned)),
                taken = self.receive() => {
                    if taken.is_some() && taken == claim {
                        return Ok(CallEnd::Abandoned);
                    }
                }
            }
        }
    }
}

pub(super) async fn acknowledge(team: &TeamHandle, messages: Vec<MessageId>) {
    if messages.is_empty() {
        return;
    }
    let read = ReadMessages { messages };
    match team.call::<MessageRead>(&read).await {
        Ok(_) => team.shared.arrivals.acknowledged(&read.messages),
        // The supervisor delivers unacknowledged messages again.
        Err(refusal) => note(team, "cannot acknowledge messages", &refusal),
    }
}

/// Runs the task's `verify` line after the engine has succeeded: an engine cannot skip this check.
async fn verified(team: &TeamHandle, task: &Assignment, worked: TaskResult) -> TaskResult {
    let result = worked?;
    let Some(line) = &task.verify else {
        return Ok(result);
    };
    match team.shared.verify.verify(task.task, line).await {
        Ok(()) => Ok(result),
        Err(output) => Err(format!("verify failed: {output}")),
    }
}

/// Completes or fails the task. If the supervisor refuses the result, the task fails as well: the member must not keep
/// a task that it no longer works on.
async fn report(team: &TeamHandle, task: &Assignment, worked: TaskResult) {
    let messages = team.shared.arrivals.taken_by_tool();
    acknowledge(team, messages).await;
    let end = |text: String| EndTask {
        task: task.task,
        generation: Some(task.generation),
        text,
    };
    let reason = match worked {
        Ok(result) => match team.call::<TaskComplete>(&end(result)).await {
            Ok(_) => return,
            Err(refusal) if is_over(&refusal) => return,
            Err(refusal) => refusal.message,
        },
        Err(reason) => reason,
    };
    team.sink
        .lines(Tone::Runtime, &paint::failed(task.task, &reason));
    let kept = reason.floor_char_boundary(agent_team_protocol::method::TEXT_MAX);
    let failed = team.call::<TaskFail>(&end(reason[..kept].to_owned())).await;
    if let Err(refusal) = failed
        && !is_over(&refusal)
    {
        note(team, "cannot end the task", &refusal);
    }
}

/// Whether the refusal means that the claim is over, or that the supervisor is shutting down.
fn is_over(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        ErrorCode::StaleClaim | ErrorCode::ShuttingDown
    )
}

fn note(team: &TeamHandle, what: &str, refusal: &Refusal) {
    team.sink
        .lines(Tone::Runtime, &format!("{what}: {}", refusal.message));
}
