//! Events as they happen. Called by `events`, `logs -f`, `top` and `up --wait`.

use agent_team_protocol::Revision;
use agent_team_protocol::method::{EventSubscribe, Subscribe};
use agent_team_protocol::notification::{EventNotice, Goodbye, Notification, TransientNotice};
use agent_team_system::client::Arrival;

use super::{OnStop, Session, goodbye, may_resume};
use crate::error::Failure;

/// One thing that was told.
#[derive(Debug)]
pub(crate) enum Notice {
    Event(EventNotice),
    Transient(TransientNotice),
}

/// One step of a subscription.
#[derive(Debug)]
pub(crate) enum Step {
    Told(Notice),
    /// The supervisor has gone; the next step looks for another one.
    Lost,
    /// It was found. What is not stored and was told meanwhile is missed.
    Resumed,
}

/// A team's events from a revision on, without a gap, also over supervisors that come and go.
#[derive(Debug)]
pub(crate) struct Subscription {
    session: Session,
    transient: bool,
    /// The newest revision when it began.
    head: Revision,
    last: Revision,
    /// On the connection that the session has.
    is_subscribed: bool,
    last_words: Option<Goodbye>,
}

impl Subscription {
    pub(crate) async fn new(
        session: Session,
        after: Revision,
        transient: bool,
    ) -> Result<Self, Failure> {
        let mut subscription = Self {
            session,
            transient,
            head: after,
            last: after,
            is_subscribed: false,
            last_words: None,
        };
        subscription.head = subscription.subscribe().await?;
        Ok(subscription)
    }

    pub(crate) fn head(&self) -> Revision {
        self.head
    }

    async fn subscribe(&mut self) -> Result<Revision, Failure> {
        let subscribe = Subscribe {
            after: self.last,
            transient: self.transient,
        };
        // Whoever cancelled this between the connection and the answer has one that tells nothing, or everything twice.
        self.session.connection = None;
        let head = self
            .session
            .wait_for::<EventSubscribe>(subscribe)
            .await?
            .head;
        self.is_subscribed = true;
        Ok(head)
    }

    /// The next thing that is told. Safe to cancel.
    ///
    /// # Errors
    /// The supervisor was stopped, or no other one can be started.
    pub(crate) async fn next(&mut self) -> Result<Notice, Failure> {
        loop {
            if let Step::Told(notice) = self.step().await? {
                return Ok(notice);
            }
        }
    }

    /// The next thing that is told, or that becomes of the connection. Safe to cancel.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub(crate) async fn step(&mut self) -> Result<Step, Failure> {
        loop {
            let connection = self.session.connection.as_mut();
            let Some(connection) = connection.filter(|_| self.is_subscribed) else {
                // Either it ended, or this was cancelled while it was being replaced.
                self.subscribe().await?;
                return Ok(Step::Resumed);
            };
            let Some(arrival) = connection.incoming.next().await else {
                self.is_subscribed = false;
                may_resume(self.last_words.take(), OnStop::End)?;
                return Ok(Step::Lost);
            };
            if let Some(goodbye) = goodbye(&arrival) {
                self.last_words = Some(goodbye);
            }
            if let Some(notice) = notice(&arrival) {
                if let Notice::Event(event) = &notice {
                    self.last = event.revision;
                }
                return Ok(Step::Told(notice));
            }
        }
    }
}

fn notice(arrival: &Arrival) -> Option<Notice> {
    match arrival {
        Arrival::Notification { method, params } if method == EventNotice::NAME => {
            serde_json::from_str(params.get()).ok().map(Notice::Event)
        }
        Arrival::Notification { method, params } if method == TransientNotice::NAME => {
            serde_json::from_str(params.get())
                .ok()
                .map(Notice::Transient)
        }
        Arrival::Notification { .. } | Arrival::Request { .. } => None,
    }
}
