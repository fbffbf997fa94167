//! The mind of a member whose work the embedding program does itself: hands its engine one thing at a time, and reports
//! what came of it. In the place of `mind`, started by the worker's loop.
//!
//! ```text
//! resting ──messages──► hear ──► acknowledged ─┐
//!    ▲ └────task──────► work ──► verified ──► reported
//!    └──────────────────────────────────────────┘
//! ```
//! A task that is taken away and the end of a grace cut the engine off where it stands.

use std::pin::pin;

use agent_team_protocol::method::{EndTask, MessageRead, ReadMessages, TaskComplete, TaskFail};
use agent_team_protocol::notification::{Assignment, DeliveredMessage};
use agent_team_protocol::{ErrorCode, MessageId, Refusal};
use agent_team_terminal_ui::Tone;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::inbox::Input;
use super::mind::End;
use crate::engine::Claim;
use crate::hosted::{Engine, Seat, Worked};
use crate::pane::paint;

pub(super) struct Custom {
    pub(super) engine: Box<dyn Engine>,
    pub(super) seat: Seat,
    pub(super) comes: Comes,
}

/// What the worker's loop has said and is not taken up yet.
pub(super) struct Comes {
    inputs: mpsc::UnboundedReceiver<Input>,
    task: Option<Assignment>,
    finish_at: Option<Instant>,
}

/// How one call of the engine ended.
enum Called<T> {
    Returned(T),
    /// Its task was taken away.
    Abandoned,
}

impl Custom {
    /// Lives until it is told to stop.
    pub(super) async fn run(mut self) -> End {
        while !self.comes.is_to_stop() {
            let messages = self.seat.shared.arrivals.take();
            let done = if !messages.is_empty() {
                self.hear(messages).await
            } else if let Some(task) = self.comes.task.take() {
                self.work(task).await
            } else {
                self.comes.receive().await;
                Ok(())
            };
            if let Err(end) = done {
                return end;
            }
        }
        End::Stopped
    }

    async fn hear(&mut self, messages: Vec<DeliveredMessage>) -> Result<(), End> {
        for message in &messages {
            self.seat
                .screen
                .lines(Tone::Accent, &paint::message(message));
        }
        let heard = self.engine.hear(&messages, &self.seat);
        self.comes.meanwhile(None, heard).await?;
        let mut read: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
        // And those that the engine has taken by itself.
        read.extend(self.seat.shared.arrivals.shown());
        acknowledge(&self.seat, read).await;
        Ok(())
    }

    async fn work(&mut self, task: Assignment) -> Result<(), End> {
        self.seat.screen.lines(Tone::Accent, &paint::header(&task));
        let Self {
            engine,
            seat,
            comes,
        } = self;
        let work = async {
            let worked = engine.work(&task, seat).await;
            let worked = verified(seat, &task, worked).await;
            report(seat, &task, worked).await;
        };
        match comes.meanwhile(Some(Claim::from(&task)), work).await? {
            Called::Returned(()) => {}
            Called::Abandoned => self.seat.screen.lines(
                Tone::Accent,
                &paint::abandoned(task.task, "it was taken away"),
            ),
        }
        Ok(())
    }
}

impl Comes {
    pub(super) fn new(inputs: mpsc::UnboundedReceiver<Input>) -> Self {
        Self {
            inputs,
            task: None,
            finish_at: None,
        }
    }

    fn is_to_stop(&mut self) -> bool {
        while let Ok(input) = self.inputs.try_recv() {
            self.accept(input);
        }
        self.finish_at.is_some()
    }

    /// Waits for something to come. Gives the claim that was taken away with it. Safe to cancel.
    async fn receive(&mut self) -> Option<Claim> {
        match self.inputs.recv().await {
            Some(input) => self.accept(input),
            // The worker has gone.
            None => {
                self.finish_at = Some(Instant::now());
                None
            }
        }
    }

    fn accept(&mut self, input: Input) -> Option<Claim> {
        match input {
            // It is among the arrivals; and what the engine spends is the embedding program's to count.
            Input::Arrived { .. }
            | Input::RequestOver(_)
            | Input::Informed(_)
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

    /// Waits for a call of the engine, for this claim if it is for one, as long as it may go on.
    async fn meanwhile<T>(
        &mut self,
        claim: Option<Claim>,
        call: impl Future<Output = T>,
    ) -> Result<Called<T>, End> {
        let mut call = pin!(call);
        loop {
            if let Some(finish_at) = self.finish_at {
                let returned = timeout_at(finish_at, call).await;
                return returned.map(Called::Returned).map_err(|_| End::Stopped);
            }
            tokio::select! {
                returned = &mut call => return Ok(Called::Returned(returned)),
                taken = self.receive() => {
                    if taken.is_some() && taken == claim {
                        return Ok(Called::Abandoned);
                    }
                }
            }
        }
    }
}

async fn acknowledge(seat: &Seat, messages: Vec<MessageId>) {
    if messages.is_empty() {
        return;
    }
    let read = ReadMessages { messages };
    match seat.call::<MessageRead>(&read).await {
        Ok(_) => seat.shared.arrivals.acknowledged(&read.messages),
        // They are delivered again.
        Err(refusal) => note(seat, "the messages are not read", &refusal),
    }
}

/// The line that must exit 0 before a task counts as completed is the user's, and no engine's to pass over.
async fn verified(seat: &Seat, task: &Assignment, worked: Worked) -> Worked {
    let result = worked?;
    let Some(line) = &task.verify else {
        return Ok(result);
    };
    match seat.shared.verify.verify(task.task, line).await {
        Ok(()) => Ok(result),
        Err(output) => Err(format!("verify failed: {output}")),
    }
}

/// Ends the task one way or the other: it must not stay with a member that does nothing for it.
async fn report(seat: &Seat, task: &Assignment, worked: Worked) {
    let messages = seat.shared.arrivals.shown();
    acknowledge(seat, messages).await;
    let end = |text: String| EndTask {
        task: task.task,
        generation: Some(task.generation),
        text,
    };
    let reason = match worked {
        Ok(result) => match seat.call::<TaskComplete>(&end(result)).await {
            Ok(_) => return,
            Err(refusal) if is_over(&refusal) => return,
            Err(refusal) => refusal.message,
        },
        Err(reason) => reason,
    };
    seat.screen
        .lines(Tone::Accent, &paint::failed(task.task, &reason));
    let kept = reason.floor_char_boundary(agent_team_protocol::method::TEXT_MAX);
    let failed = seat.call::<TaskFail>(&end(reason[..kept].to_owned())).await;
    if let Err(refusal) = failed
        && !is_over(&refusal)
    {
        note(seat, "its task is not taken as ended", &refusal);
    }
}

/// There is no claim to report on any more, or nobody to report to.
fn is_over(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        ErrorCode::StaleClaim | ErrorCode::ShuttingDown
    )
}

fn note(seat: &Seat, what: &str, refusal: &Refusal) {
    seat.screen
        .lines(Tone::Accent, &format!("{what}: {}", refusal.message));
}
