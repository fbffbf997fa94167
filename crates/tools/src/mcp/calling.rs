//! One call of a server's tool: its time limit, its progress and its forms. Called by `connection`.
//!
//! ```text
//! sent ──► waits ──► response
//!           ├─ progress that increases: the time limit begins again, up to LONGEST times the limit
//!           ├─ form: the user is asked; the time limit begins again after the answer
//!           └─ time limit, or dropped: notifications/cancelled
//! ```

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, CancelledNotificationParam,
    ClientRequest, RequestId, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RoleClient, ServiceError};
use tokio::time::{Instant, sleep_until};

use super::elicitation::{FormCaller, UserForms};
use super::server_events::{Progress, ServerEvents};
use crate::adapter;

/// The longest duration of a call with progress, as a multiple of its time limit.
const LONGEST: u32 = 12;

/// The largest number of forms of a call. Later forms are declined.
const FORMS_MAX: usize = 5;

/// The minimum interval between two lines of progress.
const INTERVAL: Duration = Duration::from_millis(250);

/// The client's part in a call.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) form_caller: FormCaller<'a>,
    pub(super) limit: Duration,
    pub(super) forms: &'a UserForms,
    pub(super) progress: adapter::Progress<'a>,
}

/// The response of a call.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) response: CallToolResponse,
    /// For the model: notes about forms that were not filled in, with the reasons.
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) enum CallError {
    Service(ServiceError),
    TimedOut(Duration),
}

impl From<ServiceError> for CallError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

type Asking<'a> = Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>>;

pub(super) async fn call(
    peer: &Peer<RoleClient>,
    events: &Arc<ServerEvents>,
    params: CallToolRequestParams,
    caller: Caller<'_>,
) -> Result<Called, CallError> {
    let mut events = events.begin_call();
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    let options = PeerRequestOptions::no_options();
    let handle = peer.send_request_with_option(request, options).await?;
    events.set_token(handle.progress_token.clone());
    let mut cancels = CancelOnDrop {
        peer,
        request: Some(handle.id.clone()),
    };
    let mut response = pin!(handle.await_response());
    let mut timeout = Timeout::new(caller.limit);
    let mut shown = ShownProgress::default();
    let mut asking: Option<Asking<'_>> = None;
    let mut notes = Vec::new();
    let mut forms = 0;
    loop {
        tokio::select! {
            biased;
            result = &mut response => {
                cancels.request = None;
                let response = response_of(result?)?;
                return Ok(Called { response, notes });
            }
            note = next_answer(&mut asking) => {
                asking = None;
                timeout.resume();
                notes.extend(note);
            }
            Some(form) = events.forms.recv(), if asking.is_none() => {
                timeout.pause();
                forms += 1;
                if forms == FORMS_MAX {
                    events.decline_forms();
                }
                asking = Some(Box::pin(caller.forms.answer(caller.form_caller, form)));
            }
            Ok(()) = events.progress.changed() => {
                if shown.update(&events.progress.borrow_and_update()) {
                    timeout.extend();
                }
            }
            () = sleep_until(shown.next_at), if shown.line.is_some() => shown.show(caller.progress),
            () = sleep_until(timeout.at), if asking.is_none() => {
                return Err(CallError::TimedOut(timeout.begun.elapsed()));
            }
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other result is invalid here"
)]
fn response_of(result: ServerResult) -> Result<CallToolResponse, ServiceError> {
    match result {
        ServerResult::CallToolResult(result) => Ok(CallToolResponse::Complete(result)),
        ServerResult::InputRequiredResult(result) => Ok(CallToolResponse::InputRequired(result)),
        ServerResult::CreateTaskResult(result) => Ok(CallToolResponse::Task(result)),
        _ => Err(ServiceError::UnexpectedResponse),
    }
}

/// Completes when the open form is answered, declined, cancelled or withdrawn. Never completes while no form is open.
async fn next_answer(asking: &mut Option<Asking<'_>>) -> Option<String> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// Sends `notifications/cancelled` if the call is dropped before its response.
struct CancelOnDrop<'a> {
    peer: &'a Peer<RoleClient>,
    /// `None` after the response.
    request: Option<RequestId>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        let (Some(request), Ok(runtime)) =
            (self.request.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let peer = self.peer.clone();
        runtime.spawn(async move {
            let cancelled = CancelledNotificationParam::new(Some(request), None);
            let _gone = peer.notify_cancelled(cancelled).await;
        });
    }
}

/// The time limit of a call.
struct Timeout {
    limit: Duration,
    begun: Instant,
    at: Instant,
    /// Progress does not extend the limit beyond this moment. An open form postpones the moment.
    last: Instant,
    paused: Option<Instant>,
}

impl Timeout {
    fn new(limit: Duration) -> Self {
        let begun = Instant::now();
        Self {
            limit,
            begun,
            at: begun + limit,
            last: begun + limit * LONGEST,
            paused: None,
        }
    }

    fn extend(&mut self) {
        self.at = (Instant::now() + self.limit).min(self.last);
    }

    fn pause(&mut self) {
        self.paused = Some(Instant::now());
    }

    fn resume(&mut self) {
        if let Some(paused) = self.paused.take() {
            self.last += paused.elapsed();
            self.extend();
        }
    }
}

struct ShownProgress {
    value: f64,
    /// A line that is not shown yet.
    line: Option<String>,
    next_at: Instant,
}

impl Default for ShownProgress {
    fn default() -> Self {
        Self {
            value: f64::NEG_INFINITY,
            line: None,
            next_at: Instant::now(),
        }
    }
}

impl ShownProgress {
    /// Returns whether the progress increased. The protocol requires an increase; a repeated value must not extend the
    /// call.
    fn update(&mut self, progress: &Progress) -> bool {
        self.line = Some(progress.line.clone());
        let increased = progress.value > self.value;
        if increased {
            self.value = progress.value;
        }
        increased
    }

    fn show(&mut self, progress: adapter::Progress<'_>) {
        if let Some(line) = self.line.take() {
            progress(&format!("\r{line}"));
        }
        self.next_at = Instant::now() + INTERVAL;
    }
}
