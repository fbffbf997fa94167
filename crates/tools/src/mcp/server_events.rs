//! The client side of a connection: its capabilities, and its reactions to requests and notifications of the server.
//! Called by the SDK; the events are read by the parent module and by `calling`.
//!
//! A server sends requests and notifications at any time and at any rate. Notifications are coalesced, and the number
//! of forms is limited. Only the handler of a form waits: for the user's answer.

#![expect(
    deprecated,
    reason = "current servers use roots; a later version of the protocol removes them"
)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_protocol::text::visible_label;
use rmcp::ClientHandler;
use rmcp::model::{
    ClientCapabilities, ClientConfig, CustomNotification, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationCapability, ErrorData, FormElicitationCapability, Implementation,
    ListRootsResult, ProgressNotificationParam, ProgressToken, Root, RootsCapabilities,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use tokio::sync::{mpsc, oneshot, watch};

use super::shared::STRAY;

/// The largest number of characters of a line that is shown.
const LINE_MAX: usize = 160;

/// The events of one server, over all its connections.
#[derive(Debug)]
pub(super) struct ServerEvents {
    /// The directory that the client declares as its root.
    root: PathBuf,
    tools_changed: AtomicBool,
    prompts_changed: AtomicBool,
    /// The first line that the host of a shared server has reported. `None` after it was taken.
    stray: Mutex<Option<String>>,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    /// The running calls, in the order of their start.
    running: Vec<RunningCall>,
}

/// The senders to a running call.
#[derive(Debug)]
struct RunningCall {
    number: u64,
    token: Option<ProgressToken>,
    progress: watch::Sender<Progress>,
    forms: mpsc::Sender<FormRequest>,
}

/// The last progress of a call.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) value: f64,
    /// The text for the user, on one line.
    pub(super) line: String,
}

/// A form that the server asks the user to fill in. Dropping this value cancels the form.
#[derive(Debug)]
pub(super) struct FormRequest {
    pub(super) params: ElicitRequestParams,
    pub(super) answer: oneshot::Sender<ElicitResult>,
}

/// The receivers of a running call. Dropping this value ends the call's events.
#[derive(Debug)]
pub(super) struct CallEvents {
    events: Arc<ServerEvents>,
    number: u64,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) forms: mpsc::Receiver<FormRequest>,
}

impl ServerEvents {
    pub(super) fn new(root: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            root,
            tools_changed: AtomicBool::new(false),
            prompts_changed: AtomicBool::new(false),
            stray: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    /// Begins to receive the events of a call. Must be called before the call is sent.
    pub(super) fn begin_call(self: &Arc<Self>) -> CallEvents {
        let (progress_sender, progress) = watch::channel(Progress::default());
        // While a form is open, one more form of the call can wait. A further form is declined.
        let (forms_sender, forms) = mpsc::channel(1);
        let mut calls = self.calls();
        let number = calls.next;
        calls.next += 1;
        calls.running.push(RunningCall {
            number,
            token: None,
            progress: progress_sender,
            forms: forms_sender,
        });
        CallEvents {
            events: Arc::clone(self),
            number,
            progress,
            forms,
        }
    }

    /// Marks the tools and prompts as changed.
    pub(super) fn set_changed(&self) {
        self.set_tools_changed();
        self.set_prompts_changed();
    }

    pub(super) fn set_tools_changed(&self) {
        self.tools_changed.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_prompts_changed(&self) {
        self.prompts_changed.store(true, Ordering::Relaxed);
    }

    /// Returns whether the tools are marked as changed, and clears the mark.
    pub(super) fn take_tools_changed(&self) -> bool {
        self.tools_changed.swap(false, Ordering::Relaxed)
    }

    /// Returns whether the prompts are marked as changed, and clears the mark.
    pub(super) fn take_prompts_changed(&self) -> bool {
        self.prompts_changed.swap(false, Ordering::Relaxed)
    }

    /// Returns the line on the stdout of a shared server that is not JSON-RPC; returns it only once.
    pub(super) fn take_stray(&self) -> Option<String> {
        let mut stray = self.stray.lock().unwrap_or_else(PoisonError::into_inner);
        stray.take()
    }

    pub(super) fn roots(&self) -> Result<ListRootsResult, ErrorData> {
        let url = reqwest::Url::from_file_path(&self.root);
        let url = url.map_err(|()| ErrorData::internal_error("the root has no URL", None))?;
        Ok(ListRootsResult::new(vec![Root::new(url)]))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallEvents {
    /// Sets the token with which the server reports the progress of this call.
    pub(super) fn set_token(&self, token: ProgressToken) {
        let mut calls = self.events.calls();
        let mut running = calls.running.iter_mut();
        if let Some(call) = running.find(|call| call.number == self.number) {
            call.token = Some(token);
        }
    }

    /// Declines all forms from now on.
    pub(super) fn decline_forms(&mut self) {
        self.forms.close();
        while let Ok(form) = self.forms.try_recv() {
            // If the receiver is gone, the server has withdrawn the form.
            let _gone = form
                .answer
                .send(ElicitResult::new(ElicitationAction::Decline));
        }
    }
}

impl Drop for CallEvents {
    fn drop(&mut self) {
        let mut calls = self.events.calls();
        calls.running.retain(|call| call.number != self.number);
    }
}

/// The handler of one connection.
#[derive(Debug)]
pub(super) struct Handler(pub(super) Arc<ServerEvents>);

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.roots = Some(RootsCapabilities::default());
        let form = FormElicitationCapability::default();
        capabilities.elicitation = Some(ElicitationCapability::new().with_form(form));
        let implementation = Implementation::new("agent-team", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(capabilities, implementation)
    }

    async fn list_roots(
        &self,
        _context: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        self.0.roots()
    }

    /// Passes the form to the oldest running call: the protocol does not name the call to which a form belongs.
    async fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let (answer, answered) = oneshot::channel();
        let form = FormRequest { params, answer };
        let sent = match self.0.calls().running.first() {
            Some(call) => call.forms.try_send(form).is_ok(),
            // Without a running call, the user could not know what the form is for.
            None => false,
        };
        if !sent {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        }
        let cancelled = ElicitResult::new(ElicitationAction::Cancel);
        tokio::select! {
            answered = answered => Ok(answered.unwrap_or(cancelled)),
            () = context.ct.cancelled() => Ok(cancelled),
        }
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        let calls = self.0.calls();
        let of_call = |call: &&RunningCall| call.token.as_ref() == Some(&params.progress_token);
        if let Some(call) = calls.running.iter().find(of_call) {
            call.progress.send_replace(Progress {
                value: params.progress,
                line: line_of(&params),
            });
        }
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.0.set_tools_changed();
    }

    async fn on_prompt_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.0.set_prompts_changed();
    }

    async fn on_custom_notification(
        &self,
        notification: CustomNotification,
        _context: NotificationContext<RoleClient>,
    ) {
        let line = notification
            .params
            .as_ref()
            .and_then(|it| it["line"].as_str());
        if let (STRAY, Some(line)) = (notification.method.as_str(), line) {
            let mut stray = self.0.stray.lock().unwrap_or_else(PoisonError::into_inner);
            *stray = Some(visible_label(line, LINE_MAX));
        }
    }
}

fn line_of(params: &ProgressNotificationParam) -> String {
    let message = params.message.as_deref().unwrap_or_default();
    let count = match params.total {
        Some(total) if total > 0.0 => format!("{}/{total} ", params.progress),
        Some(_) | None if message.is_empty() => params.progress.to_string(),
        Some(_) | None => String::new(),
    };
    visible_label(format!("{count}{message}").trim(), LINE_MAX)
}

#[cfg(test)]
mod tests {
    use rmcp::model::NumberOrString;

    use super::*;

    #[tokio::test]
    async fn forms_beyond_the_limit_are_declined() {
        let events = ServerEvents::new(PathBuf::from("/"));
        let mut call = events.begin_call();
        let sender = events.calls().running[0].forms.clone();
        let params: ElicitRequestParams = serde_json::from_value(serde_json::json!({
            "mode": "form", "message": "x", "requestedSchema": {"type": "object", "properties": {}}
        }))
        .unwrap();
        let (answer, answered) = oneshot::channel();
        let form = FormRequest {
            params: params.clone(),
            answer,
        };
        sender.try_send(form).unwrap();
        call.decline_forms();
        let action = answered.await.unwrap().action;
        assert!(matches!(action, ElicitationAction::Decline));
        let (answer, _answered) = oneshot::channel();
        assert!(sender.try_send(FormRequest { params, answer }).is_err());
    }

    #[test]
    fn progress_is_shown_on_one_line_without_escapes() {
        let token = || ProgressToken(NumberOrString::Number(1));
        let params = |value| ProgressNotificationParam::new(token(), value);
        assert_eq!(line_of(&params(3.0)), "3");
        assert_eq!(line_of(&params(3.0).with_total(8.0)), "3/8");
        let two_lines = params(0.5).with_message("one\n\x1b[2Jtwo");
        assert_eq!(line_of(&two_lines), "one\\n\\e[2Jtwo");
        let long = params(1.0).with_message("x".repeat(1 << 20));
        assert!(line_of(&long).chars().count() <= LINE_MAX);
    }
}
