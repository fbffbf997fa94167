//! A subscription to the events of a team. The subscription survives restarts of the supervisor. Used by commands that
//! follow events or wait for an event.

use agent_team_protocol::Revision;
use agent_team_protocol::method::{EventSubscribe, Subscribe};
use agent_team_protocol::notification::{EventNotice, Goodbye, Notification, TransientNotice};

use super::error::SessionError;
use super::{OnStop, Session, goodbye, may_reconnect};
use crate::client::Arrival;

/// A notification about the team: a stored event, or a transient notice, which is not stored.
#[derive(Debug)]
pub enum Notice {
    Event(EventNotice),
    Transient(TransientNotice),
}

impl Notice {
    /// Decodes a notice. Returns `None` for a frame that is not a notice.
    pub fn of(arrival: &Arrival) -> Option<Self> {
        let Arrival::Notification { method, params } = arrival else {
            return None;
        };
        match method.as_str() {
            EventNotice::NAME => serde_json::from_str(params.get()).ok().map(Self::Event),
            TransientNotice::NAME => serde_json::from_str(params.get()).ok().map(Self::Transient),
            _ => None,
        }
    }
}

/// One update of a subscription.
#[derive(Debug)]
pub enum Update {
    Notice(Notice),
    /// The connection was lost; the next call of [`Subscription::next_update`] reconnects.
    Lost,
    /// Reconnected. Stored events continue without a gap; transient notices sent meanwhile are lost.
    Resumed,
}

/// The events of a team from a revision on, without a gap, across restarts of the supervisor.
#[derive(Debug)]
pub struct Subscription {
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
    /// Subscribes to the events after this revision; with `transient`, also to transient notices.
    ///
    /// # Errors
    /// As [`Session::wait_for`].
    pub async fn new(
        session: Session,
        after: Revision,
        transient: bool,
    ) -> Result<Self, SessionError> {
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

    /// The newest revision when the subscription began.
    pub fn head(&self) -> Revision {
        self.head
    }

    async fn subscribe(&mut self) -> Result<Revision, SessionError> {
        let subscribe = Subscribe {
            after: self.last,
            transient: self.transient,
        };
        // An earlier call of this function may have been cancelled after it connected and before the answer arrived.
        // The connection is then in an unknown state: not subscribed, or subscribed with events that would arrive a
        // second time. Open a new connection.
        self.session.connection = None;
        let head = self
            .session
            .wait_for::<EventSubscribe>(subscribe)
            .await?
            .head;
        self.is_subscribed = true;
        Ok(head)
    }

    /// Returns the next notice. Cancel-safe.
    ///
    /// # Errors
    /// The user stopped the supervisor, the supervisor refuses the subscription, or no supervisor can be reached or
    /// started.
    pub async fn next(&mut self) -> Result<Notice, SessionError> {
        loop {
            if let Update::Notice(notice) = self.next_update().await? {
                return Ok(notice);
            }
        }
    }

    /// Returns the next notice or change of the connection. Cancel-safe.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub async fn next_update(&mut self) -> Result<Update, SessionError> {
        loop {
            let connection = self.session.connection.as_mut();
            let Some(connection) = connection.filter(|_| self.is_subscribed) else {
                // The connection was lost, or a previous call was cancelled while it reconnected.
                self.subscribe().await?;
                return Ok(Update::Resumed);
            };
            let Some(arrival) = connection.incoming.next().await else {
                self.is_subscribed = false;
                may_reconnect(self.goodbye.take(), OnStop::End)?;
                return Ok(Update::Lost);
            };
            if let Some(goodbye) = goodbye(&arrival) {
                self.goodbye = Some(goodbye);
            }
            if let Some(notice) = Notice::of(&arrival) {
                if let Notice::Event(event) = &notice {
                    self.last = event.revision;
                }
                return Ok(Update::Notice(notice));
            }
        }
    }
}
