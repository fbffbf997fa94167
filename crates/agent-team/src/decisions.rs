//! Lets the embedding program decide the permission requests and answer the questions of the members. Started by the
//! builder on a separate thread: a callback that blocks does not block the team.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use agent_team_client::Notice;
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{
    EventSubscribe, MessageSend, Nothing, RequestDecide, RequestList, SendMessage, Subscribe,
    TeamShow,
};
use agent_team_protocol::request::{
    DecideRequest, Decision, ListRequests, RequestView, UserQuestionView,
};
use agent_team_protocol::{MessageId, Party, Recipient, RequestId};

use crate::team_thread::{SupervisorClient, TeamCallError};

/// The answer to a question if the program has no callback for questions, or the callback panics.
const NO_ANSWER: &str =
    "No user can answer. Decide without the user, and state the decision in your result.";

pub(crate) type CallbackFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type OnPermission = Arc<dyn Fn(RequestView) -> CallbackFuture<Decision> + Send + Sync>;
pub(crate) type OnQuestion = Arc<dyn Fn(UserQuestionView) -> CallbackFuture<String> + Send + Sync>;

/// The embedding program's callbacks, which act as the user.
#[derive(Clone, Default)]
pub(crate) struct DecisionCallbacks {
    pub(crate) permission: Option<OnPermission>,
    pub(crate) question: Option<OnQuestion>,
}

impl DecisionCallbacks {
    /// Whether there is a callback. Without callbacks, the members run unattended.
    pub(crate) fn has_callback(&self) -> bool {
        self.permission.is_some() || self.question.is_some()
    }

    /// Starts the thread that decides requests and answers questions until the team ends.
    pub(crate) fn start(self, supervisor: SupervisorClient) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name("agent-team decisions".to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Do not join this thread: a callback may block for longer than the team lasts.
        thread.spawn(move || {
            if let Err(error) = runtime.block_on(self.run(supervisor)) {
                tracing::debug!(%error, "no more decisions: the team has ended");
            }
        })?;
        Ok(())
    }

    async fn run(self, supervisor: SupervisorClient) -> Result<(), TeamCallError> {
        let mut seen = Seen::default();
        loop {
            let (subscriber, mut incoming) = supervisor.connect_again().await?;
            let subscribe = Subscribe {
                after: subscriber.ask::<TeamShow>(Nothing {}).await?.revision,
                transient: false,
            };
            subscriber.ask::<EventSubscribe>(subscribe).await?;
            // Read the list only after subscribing. A request that is made between the two calls is then in the list,
            // or an event announces it, or both. `seen` ensures that each request is handled once.
            self.handle_pending(&supervisor, &mut seen).await?;
            // `None`: the connection fell behind, or the team has ended. If the team has ended, the next connection
            // fails, which ends this loop.
            while let Some(arrival) = incoming.next().await {
                if Notice::of(&arrival).is_some_and(|notice| may_add(&notice)) {
                    self.handle_pending(&supervisor, &mut seen).await?;
                }
            }
        }
    }

    /// Starts a callback for each new request and question.
    async fn handle_pending(
        &self,
        supervisor: &SupervisorClient,
        seen: &mut Seen,
    ) -> Result<(), TeamCallError> {
        let list = ListRequests { all: false };
        let pending = supervisor.ask::<RequestList>(list).await?;
        for request in pending.requests {
            if seen.requests.insert(request.id) {
                tokio::spawn(decide(self.permission.clone(), request, supervisor.clone()));
            }
        }
        for question in pending.questions {
            if seen.questions.insert(question.id) {
                tokio::spawn(answer(self.question.clone(), question, supervisor.clone()));
            }
        }
        Ok(())
    }
}

/// The requests and questions whose handling has started. Each is handled once.
#[derive(Default)]
struct Seen {
    requests: BTreeSet<RequestId>,
    questions: BTreeSet<MessageId>,
}

/// Whether the event may add a request or a question.
fn may_add(notice: &Notice) -> bool {
    let Notice::Event(notice) = notice else {
        return false;
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other event adds a request or a question"
    )]
    match &notice.event {
        ClientEvent::RequestAsked { .. } => true,
        ClientEvent::MessageAccepted { to, .. } => to.contains(&Party::User),
        _ => false,
    }
}

async fn decide(callback: Option<OnPermission>, request: RequestView, to: SupervisorClient) {
    let (id, digest) = (request.id, request.digest.clone());
    let deny = |reason: &str| Decision::Deny {
        reason: reason.to_owned(),
    };
    let decision = match callback {
        // Run the callback in a task of its own: if it panics, only that task ends, and the request is denied.
        Some(callback) => tokio::spawn(async move { callback(request).await })
            .await
            .unwrap_or_else(|_panic| deny("the permission callback panicked")),
        None => deny("unattended: no user to ask"),
    };
    let decide = DecideRequest {
        request: id,
        digest: Some(digest),
        decision,
        via: None,
    };
    if let Err(error) = to.call::<RequestDecide>(decide.clone()).await {
        tracing::warn!(request = %id, %error, "cannot decide a request; denying it instead");
        // Deny the request: the member would otherwise wait forever. If the request is already decided or withdrawn,
        // the supervisor refuses this call, too.
        let decision = deny(&format!("the decision was refused: {error}"));
        drop(
            to.call::<RequestDecide>(DecideRequest { decision, ..decide })
                .await,
        );
    }
}

async fn answer(callback: Option<OnQuestion>, question: UserQuestionView, to: SupervisorClient) {
    let (id, member) = (question.id, question.member.clone());
    let text = match callback {
        Some(callback) => tokio::spawn(async move { callback(question).await })
            .await
            .unwrap_or_else(|_panic| NO_ANSWER.to_owned()),
        None => NO_ANSWER.to_owned(),
    };
    let message = SendMessage {
        to: Recipient::Member(member),
        text,
        urgent: false,
        reply_to: Some(id),
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    if let Err(error) = to.call::<MessageSend>(message).await {
        tracing::warn!(question = %id, %error, "cannot answer a question");
    }
}
