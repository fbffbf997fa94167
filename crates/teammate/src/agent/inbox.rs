//! What has come for the model and is not among what it was told yet. The worker's loop puts it in, the mind takes it
//! at its next step.
//!
//! Most of it waits for that step. An urgent message, a task that is taken away and the wish to stop do not: they
//! interrupt what is under way.

use std::collections::VecDeque;

use agent_team_protocol::RequestId;
use agent_team_protocol::notification::{Abandon, Allowance, Assignment, DeliveredMessage};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::Claim;
use crate::team_tool::{Arrivals, Claims, PendingRequest};

/// What the worker's loop tells the mind.
#[derive(Debug)]
pub(super) enum Input {
    /// There are new messages, or pending requests, among the arrivals.
    Arrived {
        urgent: bool,
    },
    Task(Assignment),
    Abandoned(Abandon),
    /// A teammate's request was decided or withdrawn.
    RequestOver(RequestId),
    /// Something to know at the next step.
    Informed(String),
    /// As the supervisor said over a new connection.
    Welcomed(Allowance),
    Allowance(Allowance),
    /// Come to an end: a call that runs may take until then.
    Stop {
        finish_at: Instant,
    },
}

/// Something that the model is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Message(DeliveredMessage),
    Task(Assignment),
    Request(PendingRequest),
    /// The runtime's own words.
    Note(String),
}

impl Heard {
    /// Whether an idle member begins a turn for it. A turn costs: what the member cannot bring forward waits for the
    /// next one.
    fn wakes(&self) -> bool {
        match self {
            Self::Message(_) | Self::Task(_) => true,
            Self::Request(request) => request.may_allow,
            Self::Note(_) => false,
        }
    }
}

/// Why what is under way does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Interruption {
    /// Something must be heard first: what, for the model.
    Hear(&'static str),
    Stop {
        finish_at: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Inbox {
    inputs: mpsc::UnboundedReceiver<Input>,
    arrivals: Arrivals,
    claims: Claims,
    waiting: VecDeque<Heard>,
    /// There may be something new among the arrivals.
    arrived: bool,
    interruption: Option<Interruption>,
    /// The task that the model was told of last.
    told: Option<Assignment>,
    allowance: Allowance,
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
            told: None,
            allowance: Allowance::default(),
        }
    }

    /// Whether the model may be asked, as somebody heard it. What is older than what is known changes nothing.
    pub(super) fn allow(&mut self, allowance: Allowance) {
        if allowance.as_of >= self.allowance.as_of {
            self.allowance = allowance;
        }
    }

    /// Waits until the model may be asked, and tells why it may not. True if there was anything to wait for. Safe to
    /// cancel.
    ///
    /// # Errors
    /// When it is to stop instead.
    pub(super) async fn until_allowed(
        &mut self,
        told: impl Fn(&str),
    ) -> Result<bool, Interruption> {
        let mut waited = None;
        loop {
            self.drain();
            if let Some(stop @ Interruption::Stop { .. }) = &self.interruption {
                return Err(stop.clone());
            }
            let Some(why) = &self.allowance.waits else {
                return Ok(waited.is_some());
            };
            if waited.as_ref() != Some(why) {
                told(why);
                waited = Some(why.clone());
            }
            self.receive().await;
        }
    }

    pub(super) fn note(&mut self, text: String) {
        self.waiting.push_back(Heard::Note(text));
    }

    /// The task that the model was told of, while it is this member's.
    pub(super) fn task(&self) -> Option<&Assignment> {
        self.told
            .as_ref()
            .filter(|told| self.claims.generation(told.task) == Some(told.generation))
    }

    /// A task waits that the model has not been told of.
    pub(super) fn has_task(&mut self) -> bool {
        self.drain();
        let task = |heard: &Heard| matches!(heard, Heard::Task(_));
        self.waiting.iter().any(task)
    }

    /// Everything that waits, in order.
    pub(super) fn take(&mut self) -> Vec<Heard> {
        self.drain();
        self.pull();
        if let Some(Interruption::Hear(_)) = self.interruption {
            self.interruption = None;
        }
        let heard: Vec<Heard> = self.waiting.drain(..).collect();
        for heard in &heard {
            if let Heard::Task(task) = heard {
                self.told = Some(task.clone());
            }
        }
        heard
    }

    /// Waits for something that a member with nothing to do takes up. Safe to cancel.
    ///
    /// # Errors
    /// When it is to stop instead.
    pub(super) async fn work(&mut self) -> Result<(), Interruption> {
        loop {
            self.drain();
            self.pull();
            if let Some(stop @ Interruption::Stop { .. }) = &self.interruption {
                return Err(stop.clone());
            }
            if self.waiting.iter().any(Heard::wakes) {
                return Ok(());
            }
            self.receive().await;
        }
    }

    /// Waits for the next thing to come. Whether it is something new that the model is to be told. Safe to cancel.
    ///
    /// # Errors
    /// When it is to stop instead.
    pub(super) async fn news(&mut self) -> Result<bool, Interruption> {
        if let Some(stop @ Interruption::Stop { .. }) = &self.interruption {
            return Err(stop.clone());
        }
        self.receive().await;
        let before = self.waiting.len();
        self.pull();
        match &self.interruption {
            Some(stop @ Interruption::Stop { .. }) => Err(stop.clone()),
            Some(Interruption::Hear(_)) | None => Ok(self.waiting.len() > before),
        }
    }

    /// Something has come already that cannot wait.
    pub(super) fn interrupted(&mut self) -> Option<Interruption> {
        self.drain();
        self.interruption.clone()
    }

    /// Waits for something that cannot wait. Safe to cancel; what is not taken by [`Inbox::take`] interrupts again.
    pub(super) async fn interruption(&mut self) -> Interruption {
        loop {
            if let Some(interruption) = &self.interruption {
                return interruption.clone();
            }
            self.receive().await;
        }
    }

    /// Waits for the wish to stop; everything else stays for later. Safe to cancel.
    pub(super) async fn told_to_stop(&mut self) {
        while !matches!(self.interruption, Some(Interruption::Stop { .. })) {
            self.receive().await;
        }
    }

    async fn receive(&mut self) {
        match self.inputs.recv().await {
            Some(input) => self.accept(input),
            // The worker has gone.
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
                    // A message that was offered again is not here any more.
                    self.pull();
                    let urgent =
                        |heard: &Heard| matches!(heard, Heard::Message(message) if message.urgent);
                    if self.waiting.iter().any(urgent) {
                        self.hear("an urgent message has come");
                    }
                }
            }
            Input::Task(task) => self.waiting.push_back(Heard::Task(task)),
            Input::Abandoned(abandon) => self.abandoned(&abandon),
            Input::RequestOver(id) => {
                let is =
                    |heard: &Heard| matches!(heard, Heard::Request(request) if request.id == id);
                self.waiting.retain(|heard| !is(heard));
            }
            Input::Informed(text) => self.note(text),
            Input::Welcomed(allowance) => self.allowance = allowance,
            Input::Allowance(allowance) => self.allow(allowance),
            Input::Stop { finish_at } => self.stop(finish_at),
        }
    }

    fn abandoned(&mut self, abandon: &Abandon) {
        let claim = Claim {
            task: abandon.task,
            generation: abandon.generation,
        };
        let is = |task: &Assignment| Claim::from(task) == claim;
        self.waiting
            .retain(|heard| !matches!(heard, Heard::Task(task) if is(task)));
        if self.told.as_ref().is_some_and(is) {
            self.told = None;
            self.note(format!(
                "{} is not yours any more: {}. What ran for it was ended; leave it as it is.",
                abandon.task, abandon.reason
            ));
            self.hear("its task was taken away");
        }
    }

    fn hear(&mut self, why: &'static str) {
        self.interruption.get_or_insert(Interruption::Hear(why));
    }

    fn stop(&mut self, finish_at: Instant) {
        let finish_at = match self.interruption {
            Some(Interruption::Stop { finish_at: earlier }) => earlier.min(finish_at),
            Some(Interruption::Hear(_)) | None => finish_at,
        };
        self.interruption = Some(Interruption::Stop { finish_at });
    }

    fn pull(&mut self) {
        if std::mem::take(&mut self.arrived) {
            let messages = self.arrivals.take();
            self.waiting
                .extend(messages.into_iter().map(Heard::Message));
            let requests = self.arrivals.take_requests();
            self.waiting
                .extend(requests.into_iter().map(Heard::Request));
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::{Generation, MessageId, Party, Revision, TaskId};

    use super::*;

    fn inbox() -> (mpsc::UnboundedSender<Input>, Arrivals, Claims, Inbox) {
        let (inputs, mind) = mpsc::unbounded_channel();
        let (arrivals, claims) = (Arrivals::default(), Claims::default());
        let inbox = Inbox::new(mind, arrivals.clone(), claims.clone());
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
            redelivered: false,
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
    async fn a_message_is_heard_once_and_only_an_urgent_one_interrupts() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        arrivals.deliver(vec![message(1, false)]);
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.work().await.unwrap();
        assert_eq!(inbox.interruption, None);
        arrivals.deliver(vec![message(2, true)]);
        inputs.send(Input::Arrived { urgent: true }).unwrap();
        assert!(matches!(inbox.interruption().await, Interruption::Hear(_)));
        let heard = [message(1, false), message(2, true)].map(Heard::Message);
        assert_eq!(inbox.take(), heard);
        // Offered again, on a new connection.
        arrivals.deliver(vec![message(2, true)]);
        inputs.send(Input::Arrived { urgent: true }).unwrap();
        assert_eq!(inbox.take(), []);
        assert_eq!(inbox.interruption, None);
    }

    #[test]
    fn a_task_that_is_taken_away_before_it_was_told_is_never_heard_of() {
        let (inputs, _, claims, mut inbox) = inbox();
        claims.note(TaskId(3), Generation(1));
        inputs.send(Input::Task(task(1))).unwrap();
        inputs.send(abandon(1)).unwrap();
        assert_eq!(inbox.take(), []);
        assert_eq!(inbox.task(), None);
    }

    #[test]
    fn an_older_claims_end_interrupts_nothing() {
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
    async fn who_may_not_ask_waits_until_she_may_and_a_stop_ends_it() {
        let (inputs, _, _, mut inbox) = inbox();
        let allowance = |as_of, waits: Option<&str>| Allowance {
            as_of: Revision(as_of),
            waits: waits.map(str::to_owned),
        };
        assert_eq!(inbox.until_allowed(|_| {}).await, Ok(false));
        inbox.allow(allowance(7, Some("the budget")));
        let raised = async {
            tokio::task::yield_now().await;
            // What is older is no longer so.
            inputs.send(Input::Allowance(allowance(6, None))).unwrap();
            tokio::task::yield_now().await;
            inputs.send(Input::Allowance(allowance(8, None))).unwrap();
        };
        let (waited, ()) = tokio::join!(inbox.until_allowed(|_| {}), raised);
        assert_eq!(waited, Ok(true));
        // A new supervisor counts as it finds.
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
    async fn a_request_to_decide_ends_idleness_once() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        assert!(arrivals.add_request(request(1, true)));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.work().await.unwrap();
        assert_eq!(inbox.take(), [Heard::Request(request(1, true))]);
        assert!(!arrivals.add_request(request(1, true)));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        assert_eq!(inbox.take(), []);
    }

    #[tokio::test]
    async fn a_request_that_only_the_user_may_allow_leaves_the_lead_idle() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        arrivals.add_request(request(1, false));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        let finish_at = Instant::now();
        inputs.send(Input::Stop { finish_at }).unwrap();
        assert_eq!(inbox.work().await, Err(Interruption::Stop { finish_at }));
        assert_eq!(inbox.take(), [Heard::Request(request(1, false))]);
    }

    #[tokio::test]
    async fn a_decided_request_is_dropped_unless_the_model_saw_it() {
        let (inputs, arrivals, _, mut inbox) = inbox();
        // One among the arrivals, one that the inbox has pulled.
        arrivals.add_request(request(1, true));
        inputs.send(Input::Arrived { urgent: false }).unwrap();
        inbox.work().await.unwrap();
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
        // P-2 is decided while no supervisor is connected.
        arrivals.reconnected();
        assert!(!arrivals.add_request(request(1, true)), "it was seen");
        assert!(arrivals.add_request(request(3, false)));
        assert_eq!(arrivals.take_requests(), [request(3, false)]);
        // Over the next connection as well.
        arrivals.reconnected();
        for id in [1, 3] {
            assert!(!arrivals.add_request(request(id, true)));
        }
    }

    #[tokio::test]
    async fn notes_alone_wake_nobody_and_a_stop_goes_before_all() {
        let (inputs, _, _, mut inbox) = inbox();
        inbox.note("by the way".into());
        let finish_at = Instant::now();
        inputs.send(Input::Stop { finish_at }).unwrap();
        assert_eq!(inbox.work().await, Err(Interruption::Stop { finish_at }));
    }
}
