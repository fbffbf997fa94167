//! Streams the envelopes of a run.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use agent_team_protocol::RunId;
use agent_team_protocol::envelope::{AgUi, Envelope};
use futures_core::Stream;

use crate::heard::Heard;
use crate::result;

/// The envelopes of a run, from its `RUN_STARTED` to its `RUN_FINISHED` or `RUN_ERROR`, which is the last.
///
/// `RUN_FINISHED` contains what [`Team::run`] returns. Dropping the stream does not stop the run.
///
/// [`Team::run`]: crate::Team::run
#[must_use = "a stream does nothing unless it is polled; the run continues without it"]
pub struct RunStream {
    run: RunId,
    /// Envelopes to yield next.
    ready: VecDeque<Envelope>,
    /// `None` once the run has ended.
    telling: Option<Telling>,
}

/// Fetches the next envelopes, and returns the source of those after them.
type Telling = Pin<Box<dyn Future<Output = (Vec<Envelope>, Option<Teller>)> + Send>>;

struct Teller {
    heard: Heard,
    run: RunId,
    /// Envelopes before the start of the run. `None`: the run has started.
    before: Option<Vec<Envelope>>,
}

impl RunStream {
    /// `heard` must be subscribed before the run starts.
    pub(crate) fn new(run: RunId, heard: Heard) -> Self {
        let teller = Teller {
            heard,
            run,
            before: Some(Vec::new()),
        };
        Self {
            run,
            ready: VecDeque::new(),
            telling: Some(Box::pin(teller.tell())),
        }
    }

    pub fn run_id(&self) -> RunId {
        self.run
    }

    /// The next envelope; `None` after the last. Safe to cancel.
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
            let Some(telling) = &mut self.telling else {
                return Poll::Ready(None);
            };
            let Poll::Ready((told, teller)) = telling.as_mut().poll(context) else {
                return Poll::Pending;
            };
            self.ready.extend(told);
            self.telling = teller.map(|teller| Box::pin(teller.tell()) as Telling);
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

impl Teller {
    async fn tell(mut self) -> (Vec<Envelope>, Option<Self>) {
        let Some(heard) = self.heard.next().await else {
            return (vec![self.cut_off()], None);
        };
        let mut told = Vec::new();
        for mut envelope in heard {
            if envelope.run_id == Some(self.run) {
                if let AgUi::RunStarted { .. } = envelope.event {
                    told.push(envelope);
                    told.extend(self.before.take().unwrap_or_default());
                    continue;
                }
                if let AgUi::RunFinished { result, .. } = &mut envelope.event
                    && let Ok(full) = result::of(self.heard.line(), self.run).await
                    && let Ok(full) = serde_json::to_value(full)
                {
                    *result = full;
                }
                if let AgUi::RunFinished { .. } | AgUi::RunError { .. } = envelope.event {
                    told.push(envelope);
                    return (told, None);
                }
            }
            match &mut self.before {
                Some(before) => before.push(envelope),
                None => told.push(envelope),
            }
        }
        (told, Some(self))
    }

    fn cut_off(&self) -> Envelope {
        Envelope {
            team_id: self.heard.line().team.clone(),
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
