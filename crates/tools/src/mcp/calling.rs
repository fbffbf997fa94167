//! One call of a server's tool: its time limit, its progress and its forms. Called by `connection`.
//!
//! ```text
//!  ┌──► sent ──► waits ──► response
//!  │              ├─ progress that increases: the time limit begins again, up to LONGEST times the limit
//!  │              ├─ form: the user is asked; the time limit begins again after the answer
//!  │              ├─ time limit, or dropped: notifications/cancelled
//!  └── answers ◄──┴─ input required: the user is asked, as for a form
//! ```
//! Up to revision 2025-11-25 of MCP, a server sends a form as a request during the call. From 2026-07-28 on, a server
//! ends the call with the result `input_required`, and the client repeats the call with the answers. A call is sent at
//! most ROUNDS_MAX times.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, CallToolResult,
    CancelledNotificationParam, ClientRequest, ElicitRequestParams, ElicitResult,
    ElicitationAction, InputRequest, InputRequiredResult, InputResponses, RequestId, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RoleClient, ServiceError};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::elicitation::{FormCaller, UserForms};
use super::server_events::{FormRequest, Progress, ServerEvents};
use crate::adapter;

/// The longest duration of a call with progress, as a multiple of its time limit.
const LONGEST: u32 = 12;

/// The largest number of forms of a call. Later forms are declined.
const FORMS_MAX: usize = 5;

/// The largest number of times that a call is sent: it is repeated while the server requires input.
const ROUNDS_MAX: usize = 10;

/// The pause before a call is repeated without input: the server asks the client to try again later.
const ROUND_PAUSE: Duration = Duration::from_millis(250);

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

/// The result of a call, after all its rounds.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) result: CallToolResult,
    /// Notes for the model about forms that were not filled in, with the reasons.
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) enum CallError {
    Service(ServiceError),
    TimedOut(Duration),
    /// The server requires a feature that this client does not support. The text continues a sentence that begins with
    /// the server's name.
    Unsupported(String),
}

impl From<ServiceError> for CallError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

type Asking<'a> = Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>>;

/// A call over all its rounds.
struct Rounds<'a> {
    events: &'a Arc<ServerEvents>,
    caller: Caller<'a>,
    timeout: Timeout,
    forms: usize,
    notes: Vec<String>,
}

pub(super) async fn call(
    peer: &Peer<RoleClient>,
    events: &Arc<ServerEvents>,
    mut params: CallToolRequestParams,
    caller: Caller<'_>,
) -> Result<Called, CallError> {
    let mut rounds = Rounds {
        events,
        caller,
        timeout: Timeout::new(caller.limit),
        forms: 0,
        notes: Vec::new(),
    };
    for _ in 0..ROUNDS_MAX {
        let required = match rounds.send(peer, params.clone()).await? {
            CallToolResponse::Complete(result) => {
                let notes = rounds.notes;
                return Ok(Called { result, notes });
            }
            CallToolResponse::InputRequired(required) => required,
            CallToolResponse::Task(_) | _ => {
                return Err(unsupported("started a task, which is not supported"));
            }
        };
        params.request_state = required.request_state.clone();
        params.input_responses = rounds.answer(required).await?;
    }
    Err(unsupported(&format!(
        "required input {ROUNDS_MAX} times for one call"
    )))
}

impl Rounds<'_> {
    /// Sends the call once.
    async fn send(
        &mut self,
        peer: &Peer<RoleClient>,
        params: CallToolRequestParams,
    ) -> Result<CallToolResponse, CallError> {
        let Self {
            caller, timeout, ..
        } = self;
        let mut events = self.events.begin_call();
        if self.forms >= FORMS_MAX {
            events.decline_forms();
        }
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::no_options();
        let handle = peer.send_request_with_option(request, options).await?;
        events.set_token(handle.progress_token.clone());
        let mut cancels = CancelOnDrop {
            peer,
            request: Some(handle.id.clone()),
        };
        let mut response = pin!(handle.await_response());
        let mut shown = ShownProgress::default();
        let mut asking: Option<Asking<'_>> = None;
        loop {
            tokio::select! {
                // A response that has arrived takes precedence over a time limit that has passed in the meantime.
                biased;
                result = &mut response => {
                    cancels.request = None;
                    return response_of(result?);
                }
                note = next_answer(&mut asking) => {
                    asking = None;
                    timeout.resume();
                    self.notes.extend(note);
                }
                Some(form) = events.forms.recv(), if asking.is_none() => {
                    timeout.pause();
                    self.forms += 1;
                    if self.forms == FORMS_MAX {
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

    /// The answers to the requests of a result, for the next round.
    async fn answer(
        &mut self,
        required: InputRequiredResult,
    ) -> Result<Option<InputResponses>, CallError> {
        let requests = required.input_requests.unwrap_or_default();
        if requests.is_empty() {
            sleep(ROUND_PAUSE).await;
            return Ok(None);
        }
        let mut responses = InputResponses::new();
        for (key, request) in requests {
            let response = match request {
                InputRequest::Elicitation(form) => json!(self.fill_in(form.params).await),
                InputRequest::ListRoots(_) => match self.events.roots() {
                    Ok(roots) => json!(roots),
                    Err(error) => return Err(ServiceError::McpError(error).into()),
                },
                InputRequest::CreateMessage(_) | _ => {
                    let why = "required an answer of a model (sampling), which is not supported";
                    return Err(unsupported(why));
                }
            };
            responses.insert(key, response);
        }
        Ok(Some(responses))
    }

    /// Asks the user to fill in a form.
    async fn fill_in(&mut self, params: ElicitRequestParams) -> ElicitResult {
        if self.forms >= FORMS_MAX {
            return ElicitResult::new(ElicitationAction::Decline);
        }
        self.forms += 1;
        self.timeout.pause();
        let (answer, answered) = oneshot::channel();
        let form = FormRequest { params, answer };
        let note = self.caller.forms.answer(self.caller.form_caller, form);
        self.notes.extend(note.await);
        self.timeout.resume();
        let cancelled = ElicitResult::new(ElicitationAction::Cancel);
        answered.await.unwrap_or(cancelled)
    }
}

fn unsupported(why: &str) -> CallError {
    CallError::Unsupported(why.to_owned())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other result is invalid here"
)]
fn response_of(result: ServerResult) -> Result<CallToolResponse, CallError> {
    match result {
        ServerResult::CallToolResult(result) => Ok(CallToolResponse::Complete(result)),
        ServerResult::InputRequiredResult(result) => Ok(CallToolResponse::InputRequired(result)),
        ServerResult::CreateTaskResult(result) => Ok(CallToolResponse::Task(result)),
        ServerResult::CustomResult(result) if result.0["resultType"] == "input_required" => {
            Err(unsupported("required input of an unknown kind"))
        }
        _ => Err(ServiceError::UnexpectedResponse.into()),
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
    /// The line of progress that is not shown yet.
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn received(result: Value) -> Result<CallToolResponse, CallError> {
        response_of(serde_json::from_value(result).unwrap())
    }

    #[test]
    fn input_of_an_unknown_kind_is_an_error() {
        let of_kind = |method: &str| {
            json!({
                "resultType": "input_required",
                "inputRequests": {"a": {"method": method, "params": {}}}
            })
        };
        let roots = received(of_kind("roots/list")).unwrap();
        assert!(
            matches!(roots, CallToolResponse::InputRequired(_)),
            "{roots:?}"
        );
        let unknown = received(of_kind("secrets/list")).unwrap_err();
        assert!(
            matches!(&unknown, CallError::Unsupported(why) if why.contains("unknown kind")),
            "{unknown:?}"
        );
    }
}
