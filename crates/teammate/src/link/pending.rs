//! Requests without an answer, kept so that no request is lost with its connection. Called by the link. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::backoff::Backoff;

use super::request::{Request, Ticket};

/// The pauses before repeating a request that the supervisor could not store.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
};

/// The unanswered requests by ticket, and therefore in request order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    requests: BTreeMap<Ticket, UnansweredRequest>,
}

#[derive(Debug)]
struct UnansweredRequest {
    request: Request,
    /// The number of transient refusals.
    refused: u32,
    /// The time at which to repeat the request, after a transient refusal.
    again_at: Option<Instant>,
}

/// The effect of an answer on its request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AnswerEffect {
    /// The request is settled, with success or a refusal.
    Done,
    /// The request is still unanswered; repeat it at [`Pending::next_repetition`].
    Later,
}

impl Pending {
    pub(super) fn add(&mut self, ticket: Ticket, request: Request) {
        let waiting = UnansweredRequest {
            request,
            refused: 0,
            again_at: None,
        };
        self.requests.insert(ticket, waiting);
    }

    /// All unanswered requests, to repeat them on a new connection.
    pub(super) fn replay(&mut self) -> impl Iterator<Item = (Ticket, &Request)> {
        self.requests.iter_mut().map(|(ticket, waiting)| {
            waiting.again_at = None;
            (*ticket, &waiting.request)
        })
    }

    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        refusal: Option<&Refusal>,
        now: Instant,
    ) -> AnswerEffect {
        if let Some(waiting) = self.requests.get_mut(&ticket)
            && refusal.is_some_and(|refusal| is_transient(refusal.code))
        {
            waiting.refused += 1;
            waiting.again_at = Some(now + BACKOFF.after(waiting.refused));
            return AnswerEffect::Later;
        }
        self.requests.remove(&ticket);
        AnswerEffect::Done
    }

    pub(super) fn next_repetition(&self) -> Option<Instant> {
        self.requests
            .values()
            .filter_map(|waiting| waiting.again_at)
            .min()
    }

    /// The requests that are due after their pause.
    pub(super) fn due(&mut self, now: Instant) -> impl Iterator<Item = (Ticket, &Request)> {
        self.requests
            .iter_mut()
            .filter(move |(_, waiting)| waiting.again_at.is_some_and(|at| at <= now))
            .map(|(ticket, waiting)| {
                waiting.again_at = None;
                (*ticket, &waiting.request)
            })
    }
}

/// Returns whether the refusal is transient: nothing was stored, and a repetition can succeed.
fn is_transient(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::StorageFull | ErrorCode::StorageFailed | ErrorCode::ShuttingDown
    )
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::MessageId;
    use agent_team_protocol::method::{MessageRead, ReadMessages};

    use super::*;

    fn read(id: u64) -> Request {
        Request::of::<MessageRead>(&ReadMessages {
            messages: vec![MessageId(id)],
        })
    }

    fn pending() -> Pending {
        let mut pending = Pending::default();
        for id in 1..=3 {
            pending.add(Ticket(id), read(id));
        }
        pending
    }

    fn tickets<'a>(requests: impl Iterator<Item = (Ticket, &'a Request)>) -> Vec<u64> {
        requests.map(|(ticket, _)| ticket.0).collect()
    }

    #[test]
    fn unanswered_requests_are_replayed_in_order() {
        let mut pending = pending();
        assert_eq!(
            pending.answered(Ticket(2), None, Instant::now()),
            AnswerEffect::Done
        );
        assert_eq!(tickets(pending.replay()), [1, 3]);
        assert_eq!(tickets(pending.replay()), [1, 3]);
    }

    #[test]
    fn a_refusal_settles_a_request() {
        let stale = Refusal::new(ErrorCode::StaleClaim, "stale");
        let mut pending = pending();
        assert_eq!(
            pending.answered(Ticket(1), Some(&stale), Instant::now()),
            AnswerEffect::Done
        );
        assert_eq!(pending.next_repetition(), None);
        assert_eq!(tickets(pending.replay()), [2, 3]);
    }

    #[test]
    fn transient_refusals_are_retried_with_backoff() {
        let full = Refusal::new(ErrorCode::StorageFull, "full");
        let (mut pending, now) = (pending(), Instant::now());
        assert_eq!(
            pending.answered(Ticket(2), Some(&full), now),
            AnswerEffect::Later
        );
        assert_eq!(pending.next_repetition(), Some(now + BACKOFF.first));
        assert_eq!(tickets(pending.due(now)), [0; 0]);
        let later = now + BACKOFF.first;
        assert_eq!(tickets(pending.due(later)), [2]);
        assert_eq!(tickets(pending.due(later)), [0; 0]);
        pending.answered(Ticket(2), Some(&full), later);
        assert_eq!(pending.next_repetition(), Some(later + BACKOFF.first * 2));
        assert_eq!(pending.answered(Ticket(2), None, later), AnswerEffect::Done);
        assert_eq!(pending.next_repetition(), None);
    }
}
