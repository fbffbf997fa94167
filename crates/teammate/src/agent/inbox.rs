//! Inputs that the model has not received yet. The worker's loop adds the inputs; the agent loop takes them at its next
//! step.
//!
//! Most inputs wait for that step. An urgent message, the loss of a task, the user and a stop interrupt the current
//! step. After an interruption by the user, the turn continues only for a message of the user, an urgent message, or a
//! new or lost task.

use std::collections::VecDeque;

use agent_team_protocol::notification::{Abandon, Allowance, Assignment, DeliveredMessage};
use agent_team_protocol::value::Effort;
use agent_team_protocol::{Party, RequestId};
use agent_team_tools::team::{Arrivals, Claims, PendingRequest};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::allowances::Allowances;
use crate::engine::Claim;

/// Sends inputs to an agent loop.
#[derive(Debug, Clone)]
pub(super) struct InputSender(mpsc::UnboundedSender<Input>);

impl InputSender {
    pub(super) fn channel() -> (Self, mpsc::UnboundedReceiver<Input>) {
        let (inputs, receiver) = mpsc::unbounded_channel();
        (Self(inputs), receiver)
    }

    pub(super) fn send(&self, input: Input) {
        // A loop that has ended has already reported its end.
        let _ended = self.0.send(input);
    }
}

/// An input from the worker's loop to the agent loop.
#[derive(Debug)]
pub(super) enum Input {
    /// New messages or pending requests are in the arrivals.
    Arrived {
        urgent: bool,
    },
    Task(Assignment),
    Abandoned(Abandon),
    /// A teammate's request was decided or withdrawn.
    RequestOver(RequestId),
    /// A note for the next step.
    Informed(String),
    /// The allowance that the supervisor sent over a new connection.
    Welcomed(Allowance),
    Allowance(Allowance),
    /// The user interrupts the current step.
    Interrupt,
    /// The user asks to compact the conversation.
    Compact,
    /// Stop. A running call may continue until this time.
    Stop {
        finish_at: Instant,
    },
}

/// An input for the model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ModelInput {
    Message(DeliveredMessage),
    Task(Assignment),
    Request(PendingRequest),
    /// A note of the runtime.
    Note(String),
}

impl ModelInput {
    /// Returns whether an idle member starts a turn for this input. A turn costs tokens, so inputs that the member
    /// cannot act on wait for the next turn.
    fn wakes(&self) -> bool {
        match self {
            Self::Message(message) => !message.can_wait,
            Self::Task(_) => true,
            Self::Request(request) => request.may_allow,
            Self::Note(_) => false,
        }
    }

    /// Returns whether a member that the user has interrupted continues its turn for this input.
    fn continues(&self) -> bool {
        match self {
            Self::Message(message) => message.urgent || message.from == Party::User,
            Self::Task(_) => true,
            Self::Request(_) | Self::Note(_) => false,
        }
    }
}

/// The reason for interrupting the current step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Interruption {
    /// The model must be called again; the text names the reason to the model and in the pane.
    NewInput(&'static str),
    /// The user has interrupted the step. The model is called again after an input that
    /// [continues](ModelInput::continues) the turn.
    ByUser,
    Stop {
        finish_at: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Inbox {
    inputs: mpsc::UnboundedReceiver<Input>,
    arrivals: Arrivals,
    claims: Claims,
    waiting: VecDeque<ModelInput>,
    /// The arrivals may contain new messages or requests.
    arrived: bool,
    interruption: Option<Interruption>,
    /// The user has asked to compact the conversation.
    wants_compaction: bool,
    /// The last task about which the model was notified.
    known_task: Option<Assignment>,
    allowances: Allowances,
}

impl Inbox {
    pub(super) fn new(
        inputs: mpsc::UnboundedReceiver<Input>,
        arrivals: Arrivals,
        claims: Claims,
    ) -> Self {
        Self {
            inputs,
            arrivals,
            claims,
            waiting: VecDeque::new(),
            arrived: false,
            interruption: None,
            wants_compaction: false,
            known_task: None,
            allowances: Allowances::default(),
        }
    }

    /// The allowances that this inbox receives.
    pub(super) fn allowances(&self) -> Allowances {
        self.allowances.clone()
    }

    /// How much the model thinks for the current goal. `None`: as configured.
    pub(super) fn effort(&self) -> Option<Effort> {
        self.allowances.effort()
    }

    /// Updates the allowance. An update with an older revision is ignored.
    pub(super) fn allow(&mut self, allowance: Allowance) {
        self.allowances.update(allowance);
    }

    /// Waits until the model may be called. Calls `on_wait` with each new reason to wait. Returns whether it has
    /// waited. Cancel-safe.
    ///
    /// # Errors
    /// On a stop.
    pub(super) async fn until_allowed(
        &mut self,
        on_wait: impl Fn(&str),
    ) -> Result<bool, Interruption> {
        let mut waited = None;
        loop {
            self.drain();
            if let Some(stop @ Interruption::Stop { .. }) = &self.interruption {
                return Err(stop.clone());
            }
            let Some(why) = self.allowances.waits() else {
                return Ok(waited.is_some());
            };
            if waited.as_ref() != Some(&why) {
                on_wait(&why);
                waited = Some(why);
            }
            self.receive().await;
        }
    }

    pub(super) fn note(&mut self, text: String) {
        self.waiting.push_back(ModelInput::Note(text));
    }

    /// The task about which the model was notified, while this member owns the task.
    pub(super) fn task(&self) -> Option<&Assignment> {
        self.known_task.as_ref().filter(|known_task| {
            self.claims.generation(known_task.task) == Some(known_task.generation)
        })
    }

    /// Returns whether a task is queued that the model has not received.
    pub(super) fn has_task(&mut self) -> bool {
        self.drain();
        let task = |model_input: &ModelInput| matches!(model_input, ModelInput::Task(_));
        self.waiting.iter().any(task)
    }

    /// Takes all queued inputs, in order.
    pub(super) fn take(&mut self) -> Vec<ModelInput> {
        self.drain();
        self.pull();
        if let Some(Interruption::NewInput(_)) = self.interruption {
            self.interruption = None;
        }
        let model_inputs: Vec<ModelInput> = self.waiting.drain(..).collect();
        for model_input in &model_inputs {
            if let ModelInput::Task(task) = model_input {
                self.known_task = Some(task.clone());
            }
        }
        model_inputs
    }

    /// Returns whether the user has asked to compact the conversation since the previous call.
    pub(super) fn takes_compaction(&mut self) -> bool {
        self.drain();
        std::mem::take(&mut self.wants_compaction)
    }

    /// Waits for an input that starts a turn, or until the user asks to compact the conversation. Cancel-safe.
    ///
    /// # Errors
    /// On a stop.
    pub(super) async fn wait_for_work(&mut self) -> Result<(), Interruption> {
        loop {
            self.drain();
            self.pull();
            if let Some(stop @ Interruption::Stop { .. }) = &self.interruption {
                return Err(stop.clone());
            }
            // The user interrupted a turn that had already ended.
            self.interruption
                .take_if(|interruption| *interruption == Interruption::ByUser);
            if self.wants_compaction || self.waiting.iter().any(ModelInput::wakes) {
                return Ok(());
            }
            self.receive().await;
        }
    }

    pub(super) fn is_interrupted_by_user(&mut self) -> bool {
        self.drain();
        self.interruption == Some(Interruption::ByUser)
    }

    /// Waits after an interruption by the user, until an input continues the turn. Cancel-safe.
    ///
    /// # Errors
    /// On a stop.
    pub(super) async fn wait_for_user(&mut self) -> Result<(), Interruption> {
        loop {
            self.drain();
            self.pull();
            match &self.interruption {
                Some(stop @ Interruption::Stop { .. }) => return Err(stop.clone()),
                Some(Interruption::NewInput(_)) => return Ok(()),
                Some(Interruption::ByUser) => self.interruption = None,
                None => {}
            }
            if self.waiting.iter().any(ModelInput::continues) {
                return Ok(());
            }
            self.receive().await;
        }
    }

    /// Waits for the next input. Returns whether it added inputs for the model. Cancel-safe.
    ///
    /// # Errors
    /// On a stop.
    pub(super) async fn next_input(&mut self) -> Result<bool, Interruption> {
        if let Some(stop @ Interruption::Stop { .. }) = &self.interruption {
            return Err(stop.clone());
        }
        self.receive().await;
        let before = self.waiting.len();
        self.pull();
        match &self.interruption {
            Some(stop @ Interruption::Stop { .. }) => Err(stop.clone()),
            Some(Interruption::NewInput(_) | Interruption::ByUser) | None => {
                Ok(self.waiting.len() > before)
            }
        }
    }

    /// Returns an interruption that is already queued.
    pub(super) fn interrupted(&mut self) -> Option<Interruption> {
        self.drain();
        self.interruption.clone()
    }

    /// Waits for an interruption. Cancel-safe. Returns the same interruption again until it is cleared: `NewInput` by
    /// [`Inbox::take`], `ByUser` by a wait for the next input. A stop is never cleared.
    pub(super) async fn interruption(&mut self) -> Interruption {
        loop {
            if let Some(interruption) = &self.interruption {
                return interruption.clone();
            }
            self.receive().await;
        }
    }

    /// Waits for a stop; other inputs stay queued. Cancel-safe.
    pub(super) async fn stop_requested(&mut self) {
        while !matches!(self.interruption, Some(Interruption::Stop { .. })) {
            self.receive().await;
        }
    }

    async fn receive(&mut self) {
        match self.inputs.recv().await {
            Some(input) => self.accept(input),
            // The worker's loop has ended.
            None => self.stop(Instant::now()),
        }
    }

    fn drain(&mut self) {
        while let Ok(input) = self.inputs.try_recv() {
            self.accept(input);
        }
    }

    fn accept(&mut self, input: Input) {
        match input {
            Input::Arrived { urgent } => {
                self.arrived = true;
                if urgent {
                    // The arrivals omit a message that was already delivered, so such a message does not interrupt
                    // again.
                    self.pull();
                    let urgent = |input: &ModelInput| matches!(input, ModelInput::Message(message) if message.urgent);
                    if self.waiting.iter().any(urgent) {
                        self.interrupt("an urgent message has arrived");
                    }
                }
            }
            Input::Task(task) => self.waiting.push_back(ModelInput::Task(task)),
            Input::Abandoned(abandon) => self.abandoned(&abandon),
            Input::RequestOver(id) => {
                let is_over = |input: &ModelInput| matches!(input, ModelInput::Request(request) if request.id == id);
                self.waiting.retain(|model_input| !is_over(model_input));
            }
            Input::Informed(text) => self.note(text),
            Input::Welcomed(allowance) => self.allowances.replace(allowance),
            Input::Allowance(allowance) => self.allow(allowance),
            Input::Interrupt => {
                self.interruption.get_or_insert(Interruption::ByUser);
            }
            Input::Compact => self.wants_compaction = true,
            Input::Stop { finish_at } => self.stop(finish_at),
        }
    }

    fn abandoned(&mut self, abandon: &Abandon) {
        let claim = Claim {
            task: abandon.task,
            generation: abandon.generation,
        };
        let is_lost = |task: &Assignment| Claim::from(task) == claim;
        self.waiting
            .retain(|model_input| !matches!(model_input, ModelInput::Task(task) if is_lost(task)));
        if self.known_task.as_ref().is_some_and(is_lost) {
            self.known_task = None;
            self.note(format!(
                "{} is no longer yours: {}. Your running tool calls were terminated; do not continue work on the task.",
                abandon.task, abandon.reason
            ));
            self.interrupt("its task was taken away");
        }
    }

    fn interrupt(&mut self, why: &'static str) {
        self.interruption.get_or_insert(Interruption::NewInput(why));
    }

    fn stop(&mut self, finish_at: Instant) {
        let finish_at = match self.interruption {
            Some(Interruption::Stop { finish_at: earlier }) => earlier.min(finish_at),
            Some(Interruption::NewInput(_) | Interruption::ByUser) | None => finish_at,
        };
        self.interruption = Some(Interruption::Stop { finish_at });
    }

    /// Moves new arrivals to the queue.
    fn pull(&mut self) {
        if std::mem::take(&mut self.arrived) {
            let messages = self.arrivals.take();
            self.waiting
                .extend(messages.into_iter().map(ModelInput::Message));
            let requests = self.arrivals.take_requests();
            self.waiting
                .extend(requests.into_iter().map(ModelInput::Request));
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::{Generation, MessageId, Revision, TaskId};

    use super::*;

    fn inbox() -> (mpsc::UnboundedSender<Input>, Arrivals, Claims, Inbox) {
        let (inputs, receiver) = mpsc::unbounded_channel();
        let (arrivals, claims) = (Arrivals::default(), Claims::default());
        let inbox = Inbox::new(receiver, arrivals.clone(), claims.clone());
        (inputs, arrivals, claims, inbox)
    }

    fn message(id: u64, urgent: bool) -> DeliveredMessage {
        DeliveredMessage {
            id: MessageId(id),
            from: Party::User,
            text: "hi".into(),
            urgent,
            reply_to: None,
            summary: None,
            wants_reply: false,
            can_wait: false,
            redelivered: false,
            attach_outside: false,
        }
    }

    fn request(id: u64, may_allow: bool) -> PendingRequest {
        PendingRequest {
            id: RequestId(id),
            line: format!("P-{id} ada asks for permission: bash"),
            may_allow,
        }
    }

    fn task(generation: u64) -> Assignment {
        Assignment {
            task: TaskId(3),
            generation: Generation(generation),
            title: "Build".into(),
            description: String::new(),
            run: None,
            verify: None,
            attempt: 1,
            files: Vec::new(),
        }
    }

    fn abandon(generation: u64) -> Input {
        Input::Abandoned(Abandon {
            task: TaskId(3),
            generation: Generation(generation),
            reason: "released".into(),
        })
    }

    #[tokio::test]
    async fn only_urgent_messages_interrupt() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        arrivals.deliver(vec![message(1, false)]);
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.wait_for_work().await.unwrap();
        assert_eq!(inbox.interruption, None);
        arrivals.deliver(vec![message(2, true)]);
        inputs.send(Input::Arrived { urgent: true }).unwrap();
        assert!(matches!(
            inbox.interruption().await,
            Interruption::NewInput(_)
        ));
        let model_inputs = [message(1, false), message(2, true)].map(ModelInput::Message);
        assert_eq!(inbox.take(), model_inputs);
        // Deliver the message again, over a new connection.
        arrivals.deliver(vec![message(2, true)]);
        inputs.send(Input::Arrived { urgent: true }).unwrap();
        assert_eq!(inbox.take(), []);
        assert_eq!(inbox.interruption, None);
    }

    #[tokio::test]
    async fn a_teammate_does_not_continue_an_interrupted_turn() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        inputs.send(Input::Interrupt).unwrap();
        assert!(inbox.is_interrupted_by_user());
        assert_eq!(inbox.interruption().await, Interruption::ByUser);
        let from_ben = DeliveredMessage {
            from: Party::Member("ben".parse().unwrap()),
            ..message(1, false)
        };
        arrivals.deliver(vec![from_ben.clone()]);
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        let waits = tokio::time::timeout(std::time::Duration::ZERO, inbox.wait_for_user());
        assert!(waits.await.is_err(), "a teammate continues the turn");
        arrivals.deliver(vec![message(2, false)]);
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.wait_for_user().await.unwrap();
        assert_eq!(inbox.take().len(), 2, "the teammate's message is kept");
        assert!(!inbox.is_interrupted_by_user());
    }

    #[tokio::test]
    async fn an_interruption_between_turns_is_dropped() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        inputs.send(Input::Interrupt).unwrap();
        arrivals.deliver(vec![message(1, false)]);
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.wait_for_work().await.unwrap();
        assert!(!inbox.is_interrupted_by_user());
    }

    #[test]
    fn a_task_lost_before_its_notification_is_dropped() {
        let (inputs, _, claims, mut inbox) = inbox();
        claims.note(TaskId(3), Generation(1));
        inputs.send(Input::Task(task(1))).unwrap();
        inputs.send(abandon(1)).unwrap();
        assert_eq!(inbox.take(), []);
        assert_eq!(inbox.task(), None);
    }

    #[test]
    fn the_end_of_an_older_claim_interrupts_nothing() {
        let (inputs, _, claims, mut inbox) = inbox();
        claims.note(TaskId(3), Generation(2));
        inputs.send(Input::Task(task(2))).unwrap();
        inbox.take();
        assert_eq!(inbox.task(), Some(&task(2)));
        inputs.send(abandon(1)).unwrap();
        assert_eq!(inbox.take(), []);
        assert_eq!(inbox.task(), Some(&task(2)));
        claims.forget(TaskId(3), Generation(2));
        assert_eq!(inbox.task(), None);
    }

    #[tokio::test]
    async fn an_exhausted_budget_blocks_until_raised_or_stopped() {
        let (inputs, _, _, mut inbox) = inbox();
        let allowance = |as_of, waits: Option<&str>| Allowance {
            as_of: Revision(as_of),
            waits: waits.map(str::to_owned),
            effort: None,
        };
        assert_eq!(inbox.until_allowed(|_| {}).await, Ok(false));
        inbox.allow(allowance(7, Some("the budget")));
        let raised = async {
            tokio::task::yield_now().await;
            // An older revision changes nothing.
            inputs.send(Input::Allowance(allowance(6, None))).unwrap();
            tokio::task::yield_now().await;
            inputs.send(Input::Allowance(allowance(8, None))).unwrap();
        };
        let (waited, ()) = tokio::join!(inbox.until_allowed(|_| {}), raised);
        assert_eq!(waited, Ok(true));
        // After a reconnection, the allowance applies regardless of its revision.
        inbox.allow(allowance(9, Some("the budget")));
        inputs.send(Input::Welcomed(allowance(3, None))).unwrap();
        assert_eq!(inbox.until_allowed(|_| {}).await, Ok(false));
        inbox.allow(allowance(10, Some("the budget")));
        let finish_at = Instant::now();
        inputs.send(Input::Stop { finish_at }).unwrap();
        let stopped = inbox.until_allowed(|_| {}).await;
        assert_eq!(stopped, Err(Interruption::Stop { finish_at }));
    }

    #[tokio::test]
    async fn a_request_that_the_lead_may_allow_wakes_it_once() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        assert!(arrivals.add_request(request(1, true)));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.wait_for_work().await.unwrap();
        assert_eq!(inbox.take(), [ModelInput::Request(request(1, true))]);
        assert!(!arrivals.add_request(request(1, true)));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        assert_eq!(inbox.take(), []);
    }

    #[tokio::test]
    async fn a_request_that_only_the_user_may_allow_does_not_wake() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        arrivals.add_request(request(1, false));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        let finish_at = Instant::now();
        inputs.send(Input::Stop { finish_at }).unwrap();
        assert_eq!(
            inbox.wait_for_work().await,
            Err(Interruption::Stop { finish_at })
        );
        assert_eq!(inbox.take(), [ModelInput::Request(request(1, false))]);
    }

    #[tokio::test]
    async fn a_message_that_can_wait_starts_no_turn() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        let notice = DeliveredMessage {
            can_wait: true,
            ..message(1, false)
        };
        arrivals.deliver(vec![notice.clone()]);
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        let finish_at = Instant::now();
        inputs.send(Input::Stop { finish_at }).unwrap();
        assert_eq!(
            inbox.wait_for_work().await,
            Err(Interruption::Stop { finish_at })
        );
        assert_eq!(inbox.take(), [ModelInput::Message(notice)]);
    }

    #[tokio::test]
    async fn a_decided_request_is_dropped_unless_the_model_saw_it() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        // The model has seen neither request: request 1 is in the inbox, request 2 in the arrivals.
        arrivals.add_request(request(1, true));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.wait_for_work().await.unwrap();
        arrivals.add_request(request(2, true));
        for id in [RequestId(1), RequestId(2)] {
            arrivals.end_request(id);
            inputs.send(Input::RequestOver(id)).unwrap();
        }
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        assert_eq!(inbox.take(), []);
    }

    #[tokio::test]
    async fn a_new_connection_repeats_only_unseen_requests() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        arrivals.add_request(request(1, true));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.take();
        for id in [2, 3] {
            arrivals.add_request(request(id, false));
        }
        // P-2 is decided while this member is disconnected.
        arrivals.reconnected();
        assert!(!arrivals.add_request(request(1, true)), "P-1 was seen");
        assert!(arrivals.add_request(request(3, false)));
        assert_eq!(arrivals.take_requests(), [request(3, false)]);
        // The next connection repeats the same requests.
        arrivals.reconnected();
        for id in [1, 3] {
            assert!(!arrivals.add_request(request(id, true)));
        }
    }

    #[tokio::test]
    async fn notes_do_not_wake_and_a_stop_comes_first() {
        let (inputs, _, _, mut inbox) = inbox();
        inbox.note("by the way".into());
        let finish_at = Instant::now();
        inputs.send(Input::Stop { finish_at }).unwrap();
        assert_eq!(
            inbox.wait_for_work().await,
            Err(Interruption::Stop { finish_at })
        );
    }
}
