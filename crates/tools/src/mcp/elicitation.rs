//! A server's form as a question to the user. Called by `calling`, while a call of the server runs.
//!
//! The question is a message with an id, like the questions of `ask`. Only a valid reply in the syntax of the form is
//! sent to the server. After an invalid reply, the user is asked again. Any other new message of the user cancels the
//! form, and the model receives the message. A reply to a message other than the question is ignored here.
//!
//! Three kinds of requests are declined without a question: a form for a secret, which the protocol forbids; a form
//! that cannot be shown; and a visit to a URL, which the client does not support. In an unattended run the supervisor
//! refuses the question, and the form is declined.

mod fields;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::method::{MessageSend, SendMessage};
use agent_team_protocol::text::visible;
use agent_team_protocol::{MessageId, Party, Recipient};
use rmcp::model::{ElicitRequestParams, ElicitResult, ElicitationAction};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::fields::{Form, Reply};
use super::server_events::FormRequest;
use crate::secret::Secrets;
use crate::supervisor_client::SupervisorClient;
use crate::team::Arrivals;

/// The time limit of one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3600);

/// The largest number of questions about one form: after an invalid reply, the user is asked again.
const ATTEMPTS_MAX: usize = 3;

/// Shows an open question of a call in the member's pane.
pub trait QuestionDisplay: Send + Sync + fmt::Debug {
    fn question(&self, text: &str);

    /// Shows the cause of the member's wait, such as "your answer". `None`: the member continues.
    fn set_waiting(&self, what: Option<String>);
}

/// The call during which a form is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct FormCaller<'a> {
    pub(super) server: &'a str,
    /// The tool's name for the model.
    pub(super) tool: &'a str,
    pub(super) secrets: &'a Secrets,
}

/// Asks the user to fill in the forms of servers.
#[derive(Debug, Clone)]
pub struct UserForms {
    pub client: SupervisorClient,
    pub arrivals: Arrivals,
    pub display: Arc<dyn QuestionDisplay>,
    /// Locked while a form is open, so that a reply cannot answer another form.
    pub open: Arc<Mutex<()>>,
}

impl UserForms {
    /// Asks the user and sends the result to the server. Returns a note for the model if the form was not filled in.
    pub(super) async fn answer(&self, caller: FormCaller<'_>, form: FormRequest) -> Option<String> {
        let FormRequest { params, mut answer } = form;
        if answer.is_closed() {
            // The server has withdrawn the form.
            return None;
        }
        let asked = tokio::select! {
            asked = self.ask(caller, &params) => asked,
            () = answer.closed() => Err(Unanswered::cancelled("the server withdrew it")),
        };
        let (result, why) = match asked {
            Ok(content) => {
                let result = ElicitResult::new(ElicitationAction::Accept);
                (result.with_content(content), None)
            }
            Err(Unanswered { action, why }) => (ElicitResult::new(action), Some(why)),
        };
        // If the receiver is gone, the server has withdrawn the form or exited.
        let _gone = answer.send(result);
        why.map(|why| {
            format!(
                "A form of the MCP server {} was not filled in: {why}.",
                caller.server
            )
        })
    }

    async fn ask(
        &self,
        caller: FormCaller<'_>,
        params: &ElicitRequestParams,
    ) -> Result<serde_json::Value, Unanswered> {
        let form = match params {
            ElicitRequestParams::FormElicitationParams {
                message,
                requested_schema,
                ..
            } => Form::read(message, requested_schema).map_err(Unanswered::declined)?,
            ElicitRequestParams::UrlElicitationParams { .. } | _ => {
                return Err(Unanswered::declined("only forms are supported"));
            }
        };
        let _open = self.open.lock().await;
        let mut text = form.question(caller.server, caller.tool);
        for _ in 0..ATTEMPTS_MAX {
            // The form is text of the server, which may know secrets from its environment.
            let question = caller.secrets.redact(&text).into_owned();
            match self.reply(&form, question).await? {
                Reply::Accepted(content) => return Ok(content),
                Reply::Declined => return Err(Unanswered::declined("the user declined it")),
                Reply::Cancelled => return Err(Unanswered::cancelled("the user cancelled it")),
                Reply::Unrelated => {
                    return Err(Unanswered::cancelled("the user sent another message"));
                }
                Reply::Invalid(why) => {
                    text = format!("{why}\n{}", form.question(caller.server, caller.tool));
                }
            }
        }
        Err(Unanswered::cancelled("the answers were invalid"))
    }

    /// Asks the question, and waits for the reply.
    async fn reply(&self, form: &Form, text: String) -> Result<Reply, Unanswered> {
        let question = SendMessage {
            to: Recipient::User,
            text: text.clone(),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: true,
            attach_outside: false,
        };
        let sent = self.client.call::<MessageSend>(&question).await;
        let sent = sent.map_err(|refusal| Unanswered::declined(refusal.message))?;
        self.display.question(&format!("? {}", visible(&text)));
        let _waiting = Waiting::begin(&*self.display);
        let until = Instant::now() + ANSWER_LIMIT;
        loop {
            // Register for arrivals before reading them, so that an arrival in between is not missed.
            let arrived = self.arrivals.arrived();
            if let Some((id, text)) = self.message_since(sent.id) {
                let reply = form.parse(&text);
                if !matches!(reply, Reply::Unrelated) {
                    self.arrivals.take_one_for_tool(id);
                }
                return Ok(reply);
            }
            if tokio::time::timeout_at(until, arrived).await.is_err() {
                return Err(Unanswered::cancelled("the user did not answer"));
            }
        }
    }

    fn message_since(&self, sent: MessageId) -> Option<(MessageId, String)> {
        self.arrivals.first_since(&Party::User, sent)
    }
}

/// Why a form has no answer.
#[derive(Debug)]
struct Unanswered {
    action: ElicitationAction,
    why: String,
}

impl Unanswered {
    fn declined(why: impl Into<String>) -> Self {
        Self {
            action: ElicitationAction::Decline,
            why: why.into(),
        }
    }

    fn cancelled(why: impl Into<String>) -> Self {
        Self {
            action: ElicitationAction::Cancel,
            why: why.into(),
        }
    }
}

/// Shows the member as waiting until the value is dropped.
struct Waiting<'a>(&'a dyn QuestionDisplay);

impl<'a> Waiting<'a> {
    fn begin(display: &'a dyn QuestionDisplay) -> Self {
        display.set_waiting(Some("your answer".to_owned()));
        Self(display)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set_waiting(None);
    }
}
