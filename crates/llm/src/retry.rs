//! Retries requests to a model. Wraps every model behind HTTP.
//!
//! Retries after [`ModelError::Busy`] and [`ModelError::Unreachable`] with backoff; returns all other errors
//! immediately. Dropping the future cancels the retries.

use std::time::Duration;

use agent_team_protocol::with_causes;
use agent_team_system::backoff::Backoff;
use agent_team_system::random;
use tokio::time::{Instant, sleep};

use crate::layer::ModelLayer;
use crate::model::{Answer, Delta, Model, ModelError, Prompt};

/// The largest number of attempts for one answer. If the server requests no pauses, the backoff between all attempts
/// takes 1.5 to 3 minutes in total.
const ATTEMPTS: u32 = 10;

const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(60),
};

/// The longest pause that a server may request. If a server requests a longer pause, its error is returned: the
/// member's turn ends, and the user sees the reason.
const REQUESTED_MAX: Duration = Duration::from_secs(3_600);

/// Returns a random number in 0..1.
type Chance = fn() -> f64;

/// A model with retries.
#[derive(Debug)]
pub struct RetryingModel {
    inner: Box<dyn Model>,
    chance: Chance,
    /// The longest time for the retries of one answer.
    limit: Option<Duration>,
}

impl RetryingModel {
    pub fn new(inner: Box<dyn Model>) -> Self {
        Self {
            inner,
            chance: random::fraction,
            limit: None,
        }
    }

    /// Returns the last error if the next pause would end more than `limit` after the start of the first attempt.
    /// `None`: no limit.
    #[must_use]
    pub fn for_at_most(self, limit: Option<Duration>) -> Self {
        Self { limit, ..self }
    }
}

impl ModelLayer for RetryingModel {
    fn inner(&self) -> &dyn Model {
        &*self.inner
    }

    async fn ask(
        &self,
        prompt: Prompt<'_>,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let mut attempt = 0;
        let first = Instant::now();
        loop {
            attempt += 1;
            let began = Instant::now();
            let answered = self.inner.answer(prompt, on_delta).await;
            log(self.inner.name(), attempt, began.elapsed(), &answered);
            let error = match answered {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(pause) = pause(&error, attempt, (self.chance)()) else {
                return Err(error);
            };
            let is_over = |limit: Duration| first.elapsed() + pause > limit;
            if self.limit.is_some_and(is_over) {
                return Err(error);
            }
            on_delta(Delta::Waiting {
                pause,
                why: with_causes(&error),
            });
            sleep(pause).await;
        }
    }
}

/// Logs one request. The texts of prompts, answers and errors are never logged: they may contain secrets.
fn log(model: &str, attempt: u32, took: Duration, answered: &Result<Answer, ModelError>) {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match answered {
        Ok(Answer { usage, stop, .. }) => tracing::debug!(
            model,
            attempt,
            ms,
            outcome = ?stop,
            input = usage.input,
            output = usage.output,
            cache_read = usage.cache_read,
            cache_write = usage.cache_write,
            "model request"
        ),
        Err(error) => {
            tracing::debug!(model, attempt, ms, outcome = error.kind(), "model request");
        }
    }
}

/// The pause before the next attempt; `None` if the error is final.
fn pause(error: &ModelError, attempt: u32, chance: f64) -> Option<Duration> {
    let requested = match error {
        ModelError::Busy { after, .. } => *after,
        ModelError::Unreachable { .. } => None,
        ModelError::Unauthenticated { .. }
        | ModelError::UnknownModel { .. }
        | ModelError::TooLong(_)
        | ModelError::InvalidResponse { .. }
        | ModelError::Refused { .. }
        | ModelError::Unrecorded(_) => return None,
    };
    if attempt >= ATTEMPTS || requested > Some(REQUESTED_MAX) {
        return None;
    }
    // Add jitter, so that the members of a team do not retry at the same moment.
    Some(match requested {
        Some(requested) => requested + BACKOFF.first.mul_f64(chance),
        None => BACKOFF.jittered(attempt, chance),
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::Answering;

    const PROMPT: Prompt<'static> = Prompt {
        system: "",
        items: &[],
        tools: &[],
        search: false,
        effort: None,
    };

    /// A model that fails with these errors, the last one first, and then answers.
    #[derive(Debug, Default)]
    struct Failing {
        errors: Mutex<Vec<ModelError>>,
        attempts: Mutex<usize>,
    }

    impl Model for &'static Failing {
        fn name(&self) -> &str {
            "test/failing"
        }

        fn window(&self) -> u64 {
            1
        }

        fn answer<'a>(
            &'a self,
            _: Prompt<'a>,
            on_delta: &'a mut (dyn FnMut(Delta) + Send),
        ) -> Answering<'a> {
            *self.attempts.lock().expect("no panic") += 1;
            let error = self.errors.lock().expect("no panic").pop();
            on_delta(Delta::Text("so".to_owned()));
            Box::pin(async { error.map_or(Ok(Answer::default()), Err) })
        }
    }

    fn failing(errors: impl IntoIterator<Item = ModelError>) -> (&'static Failing, RetryingModel) {
        let failing: &Failing = Box::leak(Box::new(Failing {
            errors: Mutex::new(errors.into_iter().collect()),
            ..Failing::default()
        }));
        let retrying = RetryingModel {
            inner: Box::new(failing),
            chance: || 0.5,
            limit: None,
        };
        (failing, retrying)
    }

    fn busy(after: Option<u64>) -> ModelError {
        ModelError::Busy {
            provider: "test".to_owned(),
            status: 429,
            message: "slow down".to_owned(),
            after: after.map(Duration::from_secs),
        }
    }

    fn cut() -> ModelError {
        ModelError::Unreachable {
            url: "http://127.0.0.1".to_owned(),
            source: "cut off".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_wait_as_requested_or_with_backoff() {
        let (_, retrying) = failing([busy(Some(20)), cut(), busy(None)]);
        let mut deltas = Vec::new();
        let before = Instant::now();
        let answer = retrying
            .answer(PROMPT, &mut |delta| deltas.push(delta))
            .await;
        answer.expect("the model answers");
        let text = || Delta::Text("so".to_owned());
        let waiting = |milliseconds, why: &str| Delta::Waiting {
            pause: Duration::from_millis(milliseconds),
            why: why.to_owned(),
        };
        assert_eq!(
            deltas,
            [
                text(),
                waiting(375, "test is busy (429): slow down"),
                text(),
                waiting(
                    750,
                    "cannot get a complete response from http://127.0.0.1: cut off"
                ),
                text(),
                waiting(20_250, "test is busy (429): slow down"),
                text(),
            ]
        );
        assert_eq!(before.elapsed(), Duration::from_millis(21_375));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_after_the_last_attempt() {
        let (model, retrying) = failing((0..99).map(|_| cut()));
        let answer = retrying.answer(PROMPT, &mut drop).await;
        assert!(matches!(answer, Err(ModelError::Unreachable { .. })));
        assert_eq!(*model.attempts.lock().expect("no panic"), ATTEMPTS as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_at_the_time_limit() {
        let (model, retrying) = failing((0..99).map(|_| busy(Some(60))));
        let retrying = retrying.for_at_most(Some(Duration::from_secs(180)));
        let answer = retrying.answer(PROMPT, &mut drop).await;
        answer.expect_err("the server stays busy");
        assert_eq!(*model.attempts.lock().expect("no panic"), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn final_errors_are_returned_at_once() {
        let refused = ModelError::TooLong("9 > 8".to_owned());
        for error in [refused, busy(Some(3_601))] {
            let (model, retrying) = failing([busy(None), error]);
            retrying
                .answer(PROMPT, &mut drop)
                .await
                .expect_err("the error is final");
            assert_eq!(*model.attempts.lock().expect("no panic"), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_answer_cancels_retries() {
        let (model, retrying) = failing([cut(), cut()]);
        let mut on_delta = drop;
        let answer = retrying.answer(PROMPT, &mut on_delta);
        let dropped = tokio::time::timeout(Duration::from_millis(1), answer).await;
        assert!(dropped.is_err(), "the retry waits");
        tokio::time::advance(BACKOFF.longest * 10).await;
        assert_eq!(*model.attempts.lock().expect("no panic"), 1);
    }

    /// Collects the output of a subscriber.
    #[derive(Debug, Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_is_logged_without_its_texts() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let (_, retrying) = failing([busy(None)]);
        let prompt = Prompt {
            system: "a secret plan",
            ..PROMPT
        };
        let answer = retrying.answer(prompt, &mut drop).await;
        answer.expect("the model answers");
        let text = lines.0.lock().expect("no panic").clone();
        let text = String::from_utf8(text).expect("UTF-8 text");
        let requests: Vec<_> = text.lines().collect();
        let [first, second] = requests[..] else {
            panic!("two requests: {text}");
        };
        for expected in ["test/failing", "attempt=1", "outcome=\"busy\""] {
            assert!(first.contains(expected), "{expected}: {first}");
        }
        for expected in [
            "attempt=2",
            "outcome=Finished",
            "input=0",
            "output=0",
            "ms=0",
        ] {
            assert!(second.contains(expected), "{expected}: {second}");
        }
        for text_of_model in ["secret", "slow down"] {
            assert!(!text.contains(text_of_model), "{text_of_model}: {text}");
        }
    }
}
