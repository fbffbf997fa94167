//! The user's actions in the pane. The line of a slash command `/task` becomes a task, a text at an agent's prompt becomes
//! a message, and a keystroke at a permission request is a decision. Called by the worker.
//!
//! `verb` runs slash commands through the command line; `names` finds the names that Tab can complete.
//!
//! Actions use a separate connection as a client: the member's connection never carries the user's actions.

mod names;
mod verb;

use std::sync::Arc;

use agent_team_client::command_file::{self, CalledCommand};
use agent_team_client::{Session, SessionError};
use agent_team_protocol::engine::TypedLine;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::method::{
    AddTask, MessageSend, RequestDecide, RequestShow, SendMessage, TaskAdd,
};
use agent_team_protocol::request::{DecideRequest, OneRequest, RequestView};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::spec::{CommandFile, TaskSpec};
use agent_team_protocol::{MemberName, Recipient, Refusal, RequestId, TaskId, TeamId};
use agent_team_system::directories::Directories;
use agent_team_terminal_ui::{Candidate, Names};
use agent_team_tools::mcp::Prompts;
use tokio::sync::mpsc;

use self::names::NameFinder;
use self::verb::Verbs;
use crate::engine::Size;

/// An action of the user.
#[derive(Debug)]
pub(crate) enum Action {
    /// The line of `/task` or a message, depending on the member's engine.
    Line(String),
    /// A message whose text comes from a command file or from a prompt of an MCP server.
    Expanded(String),
    /// Look up a request that the user must decide.
    Show(RequestId),
    Decide(DecideRequest),
}

/// The result of an action.
#[derive(Debug)]
pub(crate) enum ActionResult {
    Task(TaskId),
    NotAdded(Refusal),
    /// A message or a decision. The delivery of a message is reported separately.
    Accepted,
    Shown(Box<RequestView>),
    /// A decision that the supervisor did not accept: the request may still be pending.
    NotDecided(Refusal),
    /// The output of a slash command.
    Printed(String),
    /// Names for the completion of the prompt.
    Found(Names, Vec<Candidate>),
}

/// An action that failed, with the reason.
#[derive(Debug)]
pub(crate) struct FailedAction {
    pub(crate) what: &'static str,
    pub(crate) refusal: Refusal,
}

pub(crate) type ActionOutcome = Result<ActionResult, FailedAction>;

/// The worker's handle. It has no `Debug`, because it contains an environment.
pub(crate) struct PaneActions {
    // Both channels are unbounded: a user acts rarely.
    pub(crate) actions: mpsc::UnboundedSender<Action>,
    pub(crate) outcomes: mpsc::UnboundedReceiver<ActionOutcome>,
    verbs: Arc<Verbs>,
    names: NameFinder,
    to_worker: mpsc::UnboundedSender<ActionOutcome>,
}

impl PaneActions {
    /// Starts the connection for actions. Must be called within the worker's runtime.
    pub(crate) fn start(directories: Directories, launch: &LaunchFile) -> Self {
        let (actions, worker) = mpsc::unbounded_channel();
        let (to_worker, outcomes) = mpsc::unbounded_channel();
        let verbs = Arc::new(Verbs::new(launch, &directories));
        let names = NameFinder {
            directories: directories.clone(),
            team: launch.team.clone(),
            cwd: launch.cwd.clone(),
        };
        let performer = ActionPerformer {
            directories,
            team: launch.team.clone(),
            member: launch.member.clone(),
            typed: launch.engine.typed(),
        };
        tokio::spawn(performer.run(worker, to_worker.clone()));
        Self {
            actions,
            outcomes,
            verbs,
            names,
            to_worker,
        }
    }

    /// Looks up names concurrently with other actions. Finds none if the supervisor does not answer in time.
    pub(crate) fn complete(&self, names: Names) {
        let (finder, to_worker) = (self.names.clone(), self.to_worker.clone());
        tokio::spawn(async move {
            let found = finder.candidates(&names).await;
            let _worker_gone = to_worker.send(Ok(ActionResult::Found(names, found)));
        });
    }

    /// Sends the text of an MCP server's prompt as the user's message. Runs concurrently with other actions: the server
    /// may be slow.
    pub(crate) fn prompt(&self, prompts: &Prompts, name: String, words: Vec<String>) {
        let prompts = prompts.clone();
        let text = async move { prompts.text(&name, &words).await };
        self.send("cannot send the prompt", text);
    }

    /// Sends the text of a command file as the user's message.
    pub(crate) fn command_file(&self, file: CommandFile, called: CalledCommand) {
        self.send(
            "cannot use the command",
            command_file::message(file, called),
        );
    }

    /// Sends a text as the user's message when it is ready. `what`: the error text for a failure.
    fn send(
        &self,
        what: &'static str,
        text: impl Future<Output = Result<String, String>> + Send + 'static,
    ) {
        let (actions, to_worker) = (self.actions.clone(), self.to_worker.clone());
        tokio::spawn(async move {
            let _worker_gone = match text.await {
                Ok(text) => actions.send(Action::Expanded(text)).is_ok(),
                Err(why) => {
                    let refusal = Refusal::internal(why);
                    to_worker.send(Err(FailedAction { what, refusal })).is_ok()
                }
            };
        });
    }

    /// Runs a slash command concurrently with other actions, because it may take long. `pane`: the size of the pane.
    pub(crate) fn verb(&self, words: Vec<String>, pane: Option<Size>) {
        let verbs = Arc::clone(&self.verbs);
        let to_worker = self.to_worker.clone();
        tokio::spawn(async move {
            let columns = pane.map(|(columns, _)| columns);
            let done = verbs.run(words, columns).await.map(ActionResult::Printed);
            let what = "cannot run the command";
            let _worker_gone =
                to_worker.send(done.map_err(|refusal| FailedAction { what, refusal }));
        });
    }
}

struct ActionPerformer {
    directories: Directories,
    team: TeamId,
    member: MemberName,
    typed: TypedLine,
}

impl ActionPerformer {
    async fn run(
        self,
        mut actions: mpsc::UnboundedReceiver<Action>,
        outcomes: mpsc::UnboundedSender<ActionOutcome>,
    ) {
        while let Some(action) = actions.recv().await {
            let (what, outcome) = self.perform(action).await;
            let outcome = outcome.map_err(|error| FailedAction {
                what,
                refusal: error.into(),
            });
            let _worker_gone = outcomes.send(outcome);
        }
    }

    /// Performs the action. Returns the error text for a failure, and the result.
    async fn perform(&self, action: Action) -> (&'static str, Result<ActionResult, SessionError>) {
        // A connected client keeps an idle supervisor running, so the session ends with the action.
        let team = TeamRef::Id(self.team.clone());
        let mut session = Session::to_create_in(self.directories.clone(), team);
        match action {
            Action::Line(line) => match self.typed {
                TypedLine::Shell => {
                    let spec = TaskSpec::typed(&line, self.member.clone());
                    let result = match session.call::<TaskAdd>(AddTask { spec }).await {
                        Ok(added) => ActionResult::Task(added.task),
                        Err(error) => ActionResult::NotAdded(error.into()),
                    };
                    ("cannot add the task", Ok(result))
                }
                TypedLine::Message => self.send(&mut session, line, true).await,
            },
            Action::Expanded(text) => self.send(&mut session, text, false).await,
            Action::Show(request) => {
                let shown = session.query::<RequestShow>(OneRequest { request }).await;
                (
                    "cannot show the request",
                    shown.map(|view| ActionResult::Shown(Box::new(view))),
                )
            }
            Action::Decide(decide) => {
                let decided = session.call::<RequestDecide>(decide).await;
                let result = match decided {
                    Ok(_) => ActionResult::Accepted,
                    Err(error) => ActionResult::NotDecided(error.into()),
                };
                ("cannot send the decision", Ok(result))
            }
        }
    }

    async fn send(
        &self,
        session: &mut Session,
        text: String,
        attach_outside: bool,
    ) -> (&'static str, Result<ActionResult, SessionError>) {
        let message = SendMessage {
            to: Recipient::Member(self.member.clone()),
            text,
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
            attach_outside,
        };
        let sent = session.call::<MessageSend>(message).await;
        (
            "cannot send the message",
            sent.map(|_| ActionResult::Accepted),
        )
    }
}
