//! The user's actions in the pane. At the prompt, a line becomes a task or a message, as the member's engine says; a
//! keystroke at a permission request is a decision. Called by the worker.
//!
//! `verb` runs slash commands through the command line.
//!
//! Actions use their own connection as a client: the member's connection never carries the user's actions.

mod verb;

use std::sync::Arc;

use agent_team_protocol::engine::TypedLine;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::method::{
    AddTask, MessageSend, Method, RequestDecide, RequestShow, SendMessage, TaskAdd,
};
use agent_team_protocol::request::{DecideRequest, OneRequest, RequestView};
use agent_team_protocol::rpc::{Call, TeamRef};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::{MemberName, Recipient, Refusal, RequestId, TaskId, TeamId};
use agent_team_system::client::CallError;
use agent_team_system::daemon;
use agent_team_system::directories::Directories;
use tokio::sync::mpsc;

use self::verb::Verbs;

/// The number of connections on which an action is tried. Its idempotency key makes the repetition safe.
const ATTEMPTS: u32 = 2;

/// An action of the user.
#[derive(Debug)]
pub(crate) enum Action {
    Line(String),
    /// Look up a request on which the user is to decide.
    Show(RequestId),
    Decide(DecideRequest),
}

/// The result of an action.
#[derive(Debug)]
pub(crate) enum ActionResult {
    Task(TaskId),
    /// A message, whose delivery is reported separately, or a decision.
    Accepted,
    Shown(Box<RequestView>),
    /// The output of a slash command.
    Printed(String),
}

/// An action that failed, with the reason.
#[derive(Debug)]
pub(crate) struct FailedAction {
    pub(crate) what: &'static str,
    pub(crate) refusal: Refusal,
}

pub(crate) type ActionOutcome = Result<ActionResult, FailedAction>;

/// The worker's handle. Has no `Debug`, because it contains an environment.
pub(crate) struct Typed {
    // Both unbounded: a user acts rarely.
    pub(crate) actions: mpsc::UnboundedSender<Action>,
    pub(crate) outcomes: mpsc::UnboundedReceiver<ActionOutcome>,
    /// `None`: lines are commands for a shell.
    verbs: Option<Arc<Verbs>>,
    to_worker: mpsc::UnboundedSender<ActionOutcome>,
}

impl Typed {
    /// Must be called within the worker's runtime.
    pub(crate) fn start(directories: Directories, launch: &LaunchFile) -> Self {
        let (actions, worker) = mpsc::unbounded_channel();
        let (to_worker, outcomes) = mpsc::unbounded_channel();
        let typed = launch.engine.typed();
        let verbs = match typed {
            TypedLine::Task => None,
            TypedLine::Message => Some(Arc::new(Verbs::new(launch, &directories))),
        };
        let client = Client {
            directories,
            // The launch id is random and unique to this worker, so the derived client id is unique too.
            id: format!("{}-pane", launch.launch),
            team: launch.team.clone(),
            member: launch.member.clone(),
            typed,
        };
        tokio::spawn(client.run(worker, to_worker.clone()));
        Self {
            actions,
            outcomes,
            verbs,
            to_worker,
        }
    }

    /// Runs a slash command concurrently with other actions, since it may take long.
    pub(crate) fn verb(&self, words: Vec<String>) {
        let Some(verbs) = self.verbs.clone() else {
            return;
        };
        let to_worker = self.to_worker.clone();
        tokio::spawn(async move {
            let done = verbs.run(words).await.map(ActionResult::Printed);
            let what = "cannot run the command";
            let _worker_gone =
                to_worker.send(done.map_err(|refusal| FailedAction { what, refusal }));
        });
    }
}

struct Client {
    directories: Directories,
    id: String,
    team: TeamId,
    member: MemberName,
    typed: TypedLine,
}

impl Client {
    async fn run(
        self,
        mut actions: mpsc::UnboundedReceiver<Action>,
        outcomes: mpsc::UnboundedSender<ActionOutcome>,
    ) {
        let mut count: u64 = 0;
        while let Some(act) = actions.recv().await {
            count += 1;
            let (what, outcome) = self.act(act, count.to_string()).await;
            let outcome = outcome.map_err(|refusal| FailedAction { what, refusal });
            let _worker_gone = outcomes.send(outcome);
        }
    }

    /// Performs the action. Returns the error text for a failure, and the result.
    async fn act(&self, act: Action, key: String) -> (&'static str, Result<ActionResult, Refusal>) {
        match act {
            Action::Line(line) => match self.typed {
                TypedLine::Task => {
                    let spec = TaskSpec::typed(&line, self.member.clone());
                    let added = self.call::<TaskAdd>(key, AddTask { spec }).await;
                    (
                        "cannot add the task",
                        added.map(|added| ActionResult::Task(added.task)),
                    )
                }
                TypedLine::Message => {
                    let message = SendMessage {
                        to: Recipient::Member(self.member.clone()),
                        text: line,
                        urgent: false,
                        reply_to: None,
                        summary: None,
                        wants_reply: false,
                    };
                    let sent = self.call::<MessageSend>(key, message).await;
                    (
                        "cannot send the message",
                        sent.map(|_| ActionResult::Accepted),
                    )
                }
            },
            Action::Show(request) => {
                let shown = self.call::<RequestShow>(key, OneRequest { request }).await;
                (
                    "cannot show the request",
                    shown.map(|view| ActionResult::Shown(Box::new(view))),
                )
            }
            Action::Decide(decide) => {
                let decided = self.call::<RequestDecide>(key, decide).await;
                (
                    "cannot send the decision",
                    decided.map(|_| ActionResult::Accepted),
                )
            }
        }
    }

    async fn call<M: Method>(&self, key: String, args: M::Args) -> Result<M::Answer, Refusal> {
        let call = Call {
            team: Some(TeamRef::Id(self.team.clone())),
            key: Some(key),
            args,
        };
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            let initialize = Initialize::client(self.id.clone());
            let connected = daemon::connect_or_start(&self.directories, &initialize).await;
            // Notifications are dropped with the connection.
            let (client, _incoming) =
                connected.map_err(|error| Refusal::internal(error.to_string()))?;
            match client.call::<M>(&call).await {
                Ok(answer) => return Ok(answer),
                Err(CallError::Refused(refusal)) => return Err(refusal),
                Err(CallError::Disconnected) if attempts > 0 => {}
                Err(error @ (CallError::Disconnected | CallError::Answer { .. })) => {
                    return Err(Refusal::internal(error.to_string()));
                }
            }
        }
    }
}
