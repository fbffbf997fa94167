//! What the person does in the pane: a line at the prompt is for a member that runs commands a task of the board, for
//! one that thinks a message; a key at a request is a decision. Called by the worker.
//!
//! `verb` has a verb of the command line carried out that was typed with a slash.
//!
//! It travels over connections of its own, as a client: a member's connection never carries the user's words.

mod verb;

use std::sync::Arc;

use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::method::{
    AddTask, MessageSend, Method, RequestDecide, RequestShow, SendMessage, TaskAdd,
};
use agent_team_protocol::request::{DecideRequest, OneRequest, RequestView};
use agent_team_protocol::rpc::{Call, TeamRef};
use agent_team_protocol::spec::{Engine, TaskSpec};
use agent_team_protocol::{MemberName, Recipient, Refusal, RequestId, TaskId, TeamId};
use agent_team_system::client::CallError;
use agent_team_system::daemon;
use agent_team_system::directories::Directories;
use tokio::sync::mpsc;

use self::verb::Verbs;

/// Connections that one act is tried over: its key makes that safe.
const ATTEMPTS: u32 = 2;

/// What is to be done for the person.
#[derive(Debug)]
pub(crate) enum Act {
    Line(String),
    /// Look up what they are to decide.
    Show(RequestId),
    Decide(DecideRequest),
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Done {
    Task(TaskId),
    /// A message, which arrives by itself, or a decision.
    Told,
    Shown(Box<RequestView>),
    /// What a verb printed.
    Printed(String),
}

/// What was not done, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) what: &'static str,
    pub(crate) refusal: Refusal,
}

pub(crate) type Acted = Result<Done, Failed>;

/// The worker's side. There is no `Debug`: it holds an environment.
pub(crate) struct Typed {
    // Unbounded both: a person acts.
    pub(crate) acts: mpsc::UnboundedSender<Act>,
    pub(crate) acted: mpsc::UnboundedReceiver<Acted>,
    /// `None`: what is typed is lines for a shell.
    verbs: Option<Arc<Verbs>>,
    to_worker: mpsc::UnboundedSender<Acted>,
}

impl Typed {
    /// Must be called within the worker's runtime.
    pub(crate) fn start(directories: Directories, launch: &LaunchFile) -> Self {
        let (acts, worker) = mpsc::unbounded_channel();
        let (to_worker, acted) = mpsc::unbounded_channel();
        let thinks = launch.engine == Engine::Native;
        let verbs = thinks.then(|| Arc::new(Verbs::new(launch, &directories)));
        let client = Client {
            directories,
            // Random, and this worker's alone, as the launch is.
            id: format!("{}-pane", launch.launch),
            team: launch.team.clone(),
            member: launch.member.clone(),
            engine: launch.engine,
        };
        tokio::spawn(client.run(worker, to_worker.clone()));
        Self {
            acts,
            acted,
            verbs,
            to_worker,
        }
    }

    /// Has `agent-team` do this, beside all that is done for the person otherwise: it may take its time.
    pub(crate) fn verb(&self, words: Vec<String>) {
        let Some(verbs) = self.verbs.clone() else {
            return;
        };
        let to_worker = self.to_worker.clone();
        tokio::spawn(async move {
            let done = verbs.run(words).await.map(Done::Printed);
            let what = "not done";
            let _worker_gone = to_worker.send(done.map_err(|refusal| Failed { what, refusal }));
        });
    }
}

struct Client {
    directories: Directories,
    id: String,
    team: TeamId,
    member: MemberName,
    engine: Engine,
}

impl Client {
    async fn run(
        self,
        mut acts: mpsc::UnboundedReceiver<Act>,
        acted: mpsc::UnboundedSender<Acted>,
    ) {
        let mut count: u64 = 0;
        while let Some(act) = acts.recv().await {
            count += 1;
            let (what, outcome) = self.act(act, count.to_string()).await;
            let outcome = outcome.map_err(|refusal| Failed { what, refusal });
            let _worker_gone = acted.send(outcome);
        }
    }

    /// What it came to, and how to say that it came to nothing.
    async fn act(&self, act: Act, key: String) -> (&'static str, Result<Done, Refusal>) {
        match act {
            Act::Line(line) => match self.engine {
                Engine::Command => {
                    let spec = TaskSpec::typed(&line, self.member.clone());
                    let added = self.call::<TaskAdd>(key, AddTask { spec }).await;
                    ("not added", added.map(|added| Done::Task(added.task)))
                }
                Engine::Native | Engine::Unknown => {
                    let message = SendMessage {
                        to: Recipient::Member(self.member.clone()),
                        text: line,
                        urgent: false,
                        reply_to: None,
                        summary: None,
                        wants_reply: false,
                    };
                    let sent = self.call::<MessageSend>(key, message).await;
                    ("not sent", sent.map(|_| Done::Told))
                }
            },
            Act::Show(request) => {
                let shown = self.call::<RequestShow>(key, OneRequest { request }).await;
                ("not shown", shown.map(|view| Done::Shown(Box::new(view))))
            }
            Act::Decide(decide) => {
                let decided = self.call::<RequestDecide>(key, decide).await;
                ("not decided", decided.map(|_| Done::Told))
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
            // What the supervisor says of its own accord is not for us, and drops with the connection.
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
