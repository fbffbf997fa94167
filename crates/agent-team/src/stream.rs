//! Streams the AG-UI events of a run, each in an envelope with its team, member and run.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use agent_team_protocol::envelope::{AgUi, Envelope};
use agent_team_protocol::{Revision, RunId};
use futures_core::Stream;

use crate::result;
use crate::subscription::Subscription;

/// The envelopes of a run, from its `RUN_STARTED` to its last event, `RUN_FINISHED` or `RUN_ERROR`.
///
/// `RUN_FINISHED` contains the result that [`Team::run`] returns. Dropping the stream does not stop the run.
///
/// [`Team::run`]: crate::Team::run
#[must_use = "a stream does nothing unless it is polled; the run continues without it"]
pub struct RunStream {
    run: RunId,
    /// Envelopes to yield next.
    ready: VecDeque<Envelope>,
    /// `None` once the run has ended.
    pending: Option<NextEnvelopes>,
}

/// Returns the next envelopes, and the source of the following ones; no source after the end of the run.
type NextEnvelopes = Pin<Box<dyn Future<Output = (Vec<Envelope>, Option<RunEnvelopes>)> + Send>>;

struct RunEnvelopes {
    subscription: Subscription,
    run: RunId,
    /// The revision of the team before the run.
    before: Revision,
    /// Envelopes that arrived before `RUN_STARTED`; the stream yields them after it. `None`: the run has started.
    early: Option<Vec<Envelope>>,
}

impl RunStream {
    /// `subscription` must have begun before the run starts.
    pub(crate) fn new(run: RunId, subscription: Subscription) -> Self {
        let source = RunEnvelopes {
            before: subscription.last(),
            subscription,
            run,
            early: Some(Vec::new()),
        };
        Self {
            run,
            ready: VecDeque::new(),
            pending: Some(Box::pin(source.next())),
        }
    }

    /// The run whose events this stream yields.
    pub fn run_id(&self) -> RunId {
        self.run
    }

    /// The next envelope; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Envelope> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for RunStream {
    type Item = Envelope;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Envelope>> {
        loop {
            if let Some(envelope) = self.ready.pop_front() {
                return Poll::Ready(Some(envelope));
            }
            let Some(pending) = &mut self.pending else {
                return Poll::Ready(None);
            };
            let Poll::Ready((envelopes, source)) = pending.as_mut().poll(context) else {
                return Poll::Pending;
            };
            self.ready.extend(envelopes);
            self.pending = source.map(|source| Box::pin(source.next()) as NextEnvelopes);
        }
    }
}

impl std::fmt::Debug for RunStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunStream")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

impl RunEnvelopes {
    async fn next(mut self) -> (Vec<Envelope>, Option<Self>) {
        let Some(received) = self.subscription.next().await else {
            return (vec![self.ended_early()], None);
        };
        let mut envelopes = Vec::new();
        for mut envelope in received {
            if envelope.run_id == Some(self.run) {
                if let AgUi::RunStarted { .. } = envelope.event {
                    envelopes.push(envelope);
                    envelopes.extend(self.early.take().unwrap_or_default());
                    continue;
                }
                if let AgUi::RunFinished { result, .. } = &mut envelope.event
                    && let supervisor = self.subscription.supervisor()
                    && let Ok(full) =
                        result::wait_for_result(supervisor, self.run, self.before).await
                    && let Ok(full) = serde_json::to_value(full)
                {
                    *result = full;
                }
                if let AgUi::RunFinished { .. } | AgUi::RunError { .. } = envelope.event {
                    envelopes.push(envelope);
                    return (envelopes, None);
                }
            }
            match &mut self.early {
                Some(early) => early.push(envelope),
                None => envelopes.push(envelope),
            }
        }
        (envelopes, Some(self))
    }

    /// The last envelope if the team ends before the run.
    fn ended_early(&self) -> Envelope {
        Envelope {
            team_id: self.subscription.supervisor().team.clone(),
            agent_id: None,
            role_name: None,
            run_id: Some(self.run),
            event: AgUi::RunError {
                message: "the team has ended".to_owned(),
                code: Some("ended".to_owned()),
                timestamp: None,
            },
            revision: None,
        }
    }
}
