//! Subscribes to a team and yields its envelopes in order. Used by streams and by the builder's callback.

use agent_team_client::{Envelopes, Incoming, Notice};
use agent_team_protocol::Revision;
use agent_team_protocol::envelope::Envelope;
use agent_team_protocol::method::{EventSubscribe, Nothing, Subscribe, TeamShow};

use crate::team_thread::{SupervisorClient, TeamCallError};

pub(crate) type EnvelopeCallback = Box<dyn Fn(&Envelope) + Send + Sync>;

/// A subscription that resumes when it has fallen behind: it reads the stored events that it missed, and loses only
/// transient events.
pub(crate) struct Subscription {
    supervisor: SupervisorClient,
    incoming: Incoming,
    envelopes: Envelopes,
    /// The last stored event that was received.
    last: Revision,
    /// The `STATE_SNAPSHOT` to which the first `STATE_DELTA` applies; `None` after it was returned.
    snapshot: Option<Envelope>,
}

impl Subscription {
    /// Subscribes from the current state on.
    pub(crate) async fn start(supervisor: &SupervisorClient) -> Result<Self, TeamCallError> {
        let (supervisor, incoming) = supervisor.connect_again().await?;
        let last = supervisor.ask::<TeamShow>(Nothing {}).await?.revision;
        subscribe(&supervisor, last).await?;
        // Read the state after subscribing: a change between the two calls is then in the state and also arrives as an
        // event, which `Envelopes` skips. In the other order, this change would be lost. Read the tasks after the team,
        // as `Envelopes::from_views` requires.
        let team = supervisor.ask::<TeamShow>(Nothing {}).await?;
        let tasks = supervisor.tasks().await?;
        let mut envelopes = Envelopes::from_views(&team, &tasks);
        Ok(Self {
            supervisor,
            incoming,
            snapshot: Some(envelopes.snapshot()),
            envelopes,
            last,
        })
    }

    /// The envelopes of the next notice, possibly none. `None` once the team has ended.
    pub(crate) async fn next(&mut self) -> Option<Vec<Envelope>> {
        if let Some(snapshot) = self.snapshot.take() {
            return Some(vec![snapshot]);
        }
        loop {
            let Some(arrival) = self.incoming.next().await else {
                // The supervisor has closed the connection because this subscriber was too slow, or the team has ended.
                // In the second case, `resume` fails.
                self.resume().await.ok()?;
                continue;
            };
            if let Some(notice) = Notice::of(&arrival) {
                if let Notice::Event(event) = &notice {
                    self.last = event.revision;
                }
                return Some(self.envelopes.notice(&notice));
            }
        }
    }

    /// The last stored event that was received; before the first event, the revision at the start.
    pub(crate) fn last(&self) -> Revision {
        self.last
    }

    pub(crate) fn supervisor(&self) -> &SupervisorClient {
        &self.supervisor
    }

    async fn resume(&mut self) -> Result<(), TeamCallError> {
        let (supervisor, incoming) = self.supervisor.connect_again().await?;
        subscribe(&supervisor, self.last).await?;
        (self.supervisor, self.incoming) = (supervisor, incoming);
        Ok(())
    }
}

async fn subscribe(supervisor: &SupervisorClient, after: Revision) -> Result<(), TeamCallError> {
    let transient = true;
    supervisor
        .ask::<EventSubscribe>(Subscribe { after, transient })
        .await?;
    Ok(())
}
