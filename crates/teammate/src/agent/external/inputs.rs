//! Inputs that an external agent has not received yet: a task, messages and notes. The worker's loop sends the inputs;
//! the loop of the agent takes them for the agent's next prompt.

use agent_team_protocol::MessageId;
use agent_team_protocol::notification::Assignment;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::allowances::Allowances;
use crate::agent::inbox::Input;
use crate::engine::Claim;

/// A prompt for the agent.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    pub(super) text: String,
    /// The end of the prompt. It is about the task, and applies only while the agent owns the task.
    pub(super) about_task: String,
    /// The messages that the text contains.
    pub(super) read: Vec<MessageId>,
}

impl Prompt {
    pub(super) fn full_text(&self) -> String {
        let parts = [&*self.text, &*self.about_task];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("\n\n")
    }
}

/// Inputs of the worker's loop, and the state that they have changed.
pub(in crate::agent) struct Inputs {
    inputs: mpsc::UnboundedReceiver<Input>,
    /// The task that the agent owns.
    pub(super) task: Option<Assignment>,
    /// The agent has not received `task` yet.
    pub(super) is_new: bool,
    /// Notes for the next prompt.
    pub(super) notes: Vec<String>,
    /// Messages that the agent did not accept during a turn.
    pub(super) kept: Vec<Prompt>,
    /// A prompt that failed before the agent accepted it. The prompt is repeated with the next one, and starts no turn
    /// itself: the agent would fail again at once.
    pub(super) undelivered: Option<Prompt>,
    /// The task of the running turn was taken away.
    pub(super) is_abandoned: bool,
    /// The user interrupts the turn.
    pub(super) is_interrupted: bool,
    /// An urgent message has arrived.
    pub(super) is_urgent: bool,
    /// Whether a limit allows the agent to work.
    pub(super) allowances: Allowances,
    /// A turn was cut: the next prompt continues it.
    pub(super) continues: bool,
    pub(super) finish_at: Option<Instant>,
}

impl Inputs {
    pub(in crate::agent) fn new(inputs: mpsc::UnboundedReceiver<Input>) -> Self {
        Self {
            inputs,
            task: None,
            is_new: false,
            notes: Vec::new(),
            kept: Vec::new(),
            undelivered: None,
            is_abandoned: false,
            is_interrupted: false,
            is_urgent: false,
            allowances: Allowances::default(),
            continues: false,
            finish_at: None,
        }
    }

    /// Keeps a prompt that the agent did not accept.
    pub(super) fn keep(&mut self, prompt: Option<Prompt>) {
        if let Some(prompt) = prompt.filter(|prompt| !prompt.text.is_empty()) {
            self.undelivered = Some(prompt);
        }
    }

    /// Makes the next prompt continue a turn that was cut. `why`: the reason, for the agent.
    pub(super) fn continue_with(&mut self, why: &str) {
        self.continues = true;
        self.notes.push(why.to_owned());
    }

    /// Accepts all queued inputs.
    pub(super) fn accept_queued(&mut self) {
        while let Ok(input) = self.inputs.try_recv() {
            self.accept(input);
        }
    }

    /// Waits for an input. Cancel-safe.
    pub(super) async fn receive(&mut self) {
        match self.inputs.recv().await {
            Some(input) => self.accept(input),
            // The worker has exited.
            None => self.finish_at = Some(Instant::now()),
        }
    }

    fn accept(&mut self, input: Input) {
        match input {
            Input::Arrived { urgent } => self.is_urgent |= urgent,
            Input::Task(task) => {
                self.task = Some(task);
                self.is_new = true;
            }
            Input::Abandoned(abandon) => {
                let claim = Claim {
                    task: abandon.task,
                    generation: abandon.generation,
                };
                if self
                    .task
                    .take_if(|task| Claim::from(&*task) == claim)
                    .is_some()
                {
                    self.is_abandoned = true;
                    let text = format!("{} is no longer yours: stop working on it.", claim.task);
                    self.notes.push(text);
                }
            }
            Input::Informed(text) => self.notes.push(text),
            Input::Interrupt => self.is_interrupted = true,
            Input::Stop { finish_at } => {
                let earlier = self.finish_at.map_or(finish_at, |at| at.min(finish_at));
                self.finish_at = Some(earlier);
            }
            Input::Welcomed(allowance) => self.allowances.replace(allowance),
            Input::Allowance(allowance) => self.allowances.update(allowance),
            // The agent compacts its own conversation.
            Input::RequestOver(_) | Input::Compact => {}
        }
    }
}

/// Waits until a stop is requested. Keeps all other inputs.
pub(super) async fn stop_requested(inputs: &mut Inputs) {
    while inputs.finish_at.is_none() {
        inputs.receive().await;
    }
}
