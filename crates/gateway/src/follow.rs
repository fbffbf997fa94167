//! A subscription that waits for the next supervisor. Used by each stream of events.

use std::time::Duration;

use agent_team_client::{Notice, SessionError, Subscription};
use tokio::time::{Instant, sleep};

/// How long a follower waits for the next supervisor: a worker starts a supervisor within seconds.
const SUCCESSOR_LIMIT: Duration = Duration::from_secs(10);
const SUCCESSOR_PAUSE: Duration = Duration::from_millis(50);

/// Follows the events of a team until the user stops the supervisor.
#[derive(Debug)]
pub(crate) struct Follower {
    subscription: Subscription,
    /// The time of the first failed connection since the last notice.
    lost_since: Option<Instant>,
}

impl Follower {
    pub(crate) fn new(subscription: Subscription) -> Self {
        let lost_since = None;
        Self {
            subscription,
            lost_since,
        }
    }

    /// The next notice. Cancel-safe.
    ///
    /// # Errors
    /// The user stopped the supervisor, no next supervisor starts in time, or the subscription fails for another
    /// reason.
    pub(crate) async fn next(&mut self) -> Result<Notice, SessionError> {
        loop {
            match self.subscription.next().await {
                Ok(notice) => {
                    self.lost_since = None;
                    return Ok(notice);
                }
                Err(SessionError::NotRunning | SessionError::Connect(_))
                    if self.lost_since.get_or_insert_with(Instant::now).elapsed()
                        < SUCCESSOR_LIMIT =>
                {
                    sleep(SUCCESSOR_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
