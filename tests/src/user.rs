//! A client of the supervisor that makes calls and receives events. Created by the rig.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use agent_team_client::{Arrival, CallError, Client, Incoming};
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{EventSubscribe, Method, Subscribe};
use agent_team_protocol::notification::{EventNotice, Notification};
use agent_team_protocol::rpc::{Call, TeamRef};
use agent_team_protocol::{Refusal, Revision};
use agent_team_system::announcement::Announced;
use serde_json::Value;

use crate::{until, within};

/// A connection of the user, for the team of one directory.
#[derive(Debug)]
pub struct User {
    pub client: Client,
    pub incoming: Incoming,
    project: PathBuf,
}

impl User {
    /// Connects to the running supervisor, or to the next one that another process starts. Starts no supervisor itself.
    pub(crate) async fn connect(lock: &Path, project: PathBuf) -> User {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("test-{}-{count}", std::process::id());
        Self::connect_as(lock, project, &id).await
    }

    /// Like [`User::connect`], with a client id of the test's choice.
    pub(crate) async fn connect_as(lock: &Path, project: PathBuf, id: &str) -> User {
        let initialize = Initialize::client(id);
        until("a supervisor", async || {
            let socket = Announced::read(lock).ok()??.socket;
            let connected = Client::connect(&socket, &initialize).await;
            let (client, incoming) = connected.ok()?;
            Some(User {
                client,
                incoming,
                project: project.clone(),
            })
        })
        .await
    }

    /// Calls a method about the team, with or without a key.
    ///
    /// # Errors
    /// When the supervisor refuses the call, or the connection has closed.
    pub async fn call<M: Method>(
        &self,
        args: M::Args,
        key: Option<&str>,
    ) -> Result<M::Answer, CallError> {
        let call = Call {
            team: Some(TeamRef::Directory(self.project.clone())),
            key: key.map(str::to_owned),
            args,
        };
        within(M::NAME, self.client.call::<M>(&call)).await
    }

    /// Calls a method that must succeed.
    ///
    /// # Panics
    /// When the supervisor refuses the call.
    pub async fn ask<M: Method>(&self, args: M::Args) -> M::Answer {
        match self.call::<M>(args, None).await {
            Ok(answer) => answer,
            Err(error) => panic!("{}: {error}", M::NAME),
        }
    }

    /// Calls a method that must be refused.
    ///
    /// # Panics
    /// When the call succeeds.
    pub async fn refused<M: Method>(&self, args: M::Args) -> Refusal {
        match self.call::<M>(args, None).await {
            Err(CallError::Refused(refusal)) => refusal,
            Err(error) => panic!("{}: {error}", M::NAME),
            Ok(_) => panic!("{} was carried out", M::NAME),
        }
    }

    /// Subscribes to the team's events after a revision.
    ///
    /// # Errors
    /// As [`User::call`].
    pub async fn events(self, after: u64) -> Result<Events, CallError> {
        let subscribe = Subscribe {
            after: Revision(after),
            transient: false,
        };
        self.call::<EventSubscribe>(subscribe, None).await?;
        Ok(Events {
            user: self,
            last: after,
        })
    }
}

/// One event as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub revision: u64,
    pub kind: String,
    pub data: Value,
}

impl Event {
    /// The event that a notification carries, if it carries one.
    pub(crate) fn of(arrival: &Arrival) -> Option<Self> {
        let Arrival::Notification { method, params } = arrival else {
            return None;
        };
        if method != EventNotice::NAME {
            return None;
        }
        let notice: EventNotice = serde_json::from_str(params.get()).expect("an event");
        let event = serde_json::to_value(notice.event).expect("an event");
        Some(Self {
            revision: notice.revision.0,
            kind: event["kind"].as_str().expect("a kind").to_owned(),
            data: event["data"].clone(),
        })
    }

    /// Whether the event is of this kind and has these values.
    pub fn is(&self, kind: &str, values: &[(&str, &str)]) -> bool {
        self.kind == kind && values.iter().all(|(name, value)| self.data[name] == *value)
    }

    pub fn text(&self, name: &str) -> &str {
        self.data[name].as_str().unwrap_or_default()
    }
}

/// The events of a team, in order.
#[derive(Debug)]
pub struct Events {
    user: User,
    last: u64,
}

impl Events {
    /// The next event; `None` when the connection has closed.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let Some(event) = Event::of(&self.user.incoming.next().await?) else {
                continue;
            };
            assert_eq!(
                event.revision,
                self.last + 1,
                "an event is missing or repeated"
            );
            self.last = event.revision;
            return Some(event);
        }
    }

    /// The next event of this kind with these values; earlier events are skipped.
    ///
    /// # Panics
    /// When the connection closes, or the event does not arrive in time.
    pub async fn until(&mut self, kind: &str, values: &[(&str, &str)]) -> Event {
        let what = format!("{kind} {values:?}");
        within(&what, async {
            loop {
                let event = self.next().await;
                let event = event.unwrap_or_else(|| panic!("disconnected, waiting for {what}"));
                if event.is(kind, values) {
                    return event;
                }
            }
        })
        .await
    }

    /// The revision of the last event that was returned.
    pub fn last(&self) -> u64 {
        self.last
    }
}
