//! A subscription to the events of a team that survives restarts of the supervisor. Used by `events`, `logs -f`, `top`,
//! `requests watch` and everything that waits.

use agent_team_protocol::Revision;
use agent_team_protocol::method::{EventSubscribe, Subscribe};
use agent_team_protocol::notification::{EventNotice, Goodbye, Notification, TransientNotice};
use agent_team_system::client::Arrival;

use super::{OnStop, Session, goodbye, may_reconnect};
use crate::error::Failure;

/// A notification about the team.
#[derive(Debug)]
pub(crate) enum Notice {
    Event(EventNotice),
    Transient(TransientNotice),
}

/// One step of a subscription.
#[derive(Debug)]
pub(crate) enum Step {
    Notice(Notice),
    /// The connection was lost; the next step reconnects.
    Lost,
    /// Reconnected. Stored events continue without a gap; transient notifications from in between are lost.
    Resumed,
}

/// The events of a team from a revision on, without a gap, across restarts of the supervisor.
#[derive(Debug)]
pub(crate) struct Subscription {
    session: Session,
    transient: bool,
    /// The newest revision when the subscription began.
    head: Revision,
    last: Revision,
    /// Whether the current connection of the session is subscribed.
    is_subscribed: bool,
    goodbye: Option<Goodbye>,
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
            goodbye: None,
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
        // This function may have been cancelled between connecting and the answer. Such a connection is in an unknown
        // state: not subscribed, or subscribed with events that would arrive a second time. So start with a new one.
        self.session.connection = None;
        let head = self
            .session
            .wait_for::<EventSubscribe>(subscribe)
            .await?
            .head;
        self.is_subscribed = true;
        Ok(head)
    }

    /// Returns the next notification. Cancellation-safe.
    ///
    /// # Errors
    /// The supervisor was stopped, or no other one can be started.
    pub(crate) async fn next(&mut self) -> Result<Notice, Failure> {
        loop {
            if let Step::Notice(notice) = self.step().await? {
                return Ok(notice);
            }
        }
    }

    /// Returns the next notification or change of the connection. Cancellation-safe.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub(crate) async fn step(&mut self) -> Result<Step, Failure> {
        loop {
            let connection = self.session.connection.as_mut();
            let Some(connection) = connection.filter(|_| self.is_subscribed) else {
                // The connection was lost, or a previous call was cancelled while it reconnected.
                self.subscribe().await?;
                return Ok(Step::Resumed);
            };
            let Some(arrival) = connection.incoming.next().await else {
                self.is_subscribed = false;
                may_reconnect(self.goodbye.take(), OnStop::End)?;
                return Ok(Step::Lost);
            };
            if let Some(goodbye) = goodbye(&arrival) {
                self.goodbye = Some(goodbye);
            }
            if let Some(notice) = notice(&arrival) {
                if let Notice::Event(event) = &notice {
                    self.last = event.revision;
                }
                return Ok(Step::Notice(notice));
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
