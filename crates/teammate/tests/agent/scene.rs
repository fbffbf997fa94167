//! An agent in this process. The test scripts its supervisor, model and tools.

use std::path::PathBuf;
use std::sync::Arc;

use agent_team_llm::Item;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::method::{
    AppendTranscript, Exit, MemberExit, MessageSend, Nothing, ReadTranscript, SendAnswer,
    TaskAnswer, TeamShow, TranscriptAnswer, TranscriptAppend, TranscriptPage, TranscriptRead,
};
use agent_team_protocol::notification::{Allowance, Assignment, Deliver, DeliveredMessage};
use agent_team_protocol::spec::{AgentSpec, Notify};
use agent_team_protocol::view::{TaskCounts, TeamState, TeamView, Usage};
use agent_team_protocol::{
    ErrorCode, Generation, MessageId, Party, Recipient, Refusal, Revision, TaskId,
};
use agent_team_teammate::hosted::HostedLaunch;
use agent_team_teammate::{RunError, RunOutcome};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::rig::{ScriptedSupervisor, within};
use crate::scripted::{ModelRequest, PendingCall, ScriptedModel, ScriptedTool};
use crate::wire::{self, Connection};

pub(crate) const WINDOW: u64 = 100_000;

pub(crate) struct Scene {
    pub(crate) supervisor: ScriptedSupervisor,
    pub(crate) member: Connection,
    model: mpsc::UnboundedReceiver<ModelRequest>,
    tools: mpsc::UnboundedReceiver<PendingCall>,
    agent: JoinHandle<Result<RunOutcome, RunError>>,
    /// The transcript that the supervisor has stored.
    pub(crate) stored: Vec<Box<RawValue>>,
}

/// The initial state of a scene.
pub(crate) struct Opening {
    pub(crate) agent: AgentSpec,
    pub(crate) window: u64,
    pub(crate) stored: Vec<Box<RawValue>>,
    pub(crate) holds: Option<Assignment>,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            agent: AgentSpec::default(),
            window: WINDOW,
            stored: Vec::new(),
            holds: None,
        }
    }
}

impl Scene {
    /// An idle member with an empty transcript.
    pub(crate) async fn new() -> Self {
        Self::open(Opening::default()).await
    }

    pub(crate) async fn open(opening: Opening) -> Self {
        Self::open_with(ScriptedSupervisor::new(), opening).await
    }

    pub(crate) async fn open_with(supervisor: ScriptedSupervisor, opening: Opening) -> Self {
        let mut scene = Self::begin(supervisor, opening).await;
        let shown = scene.member.asked::<TeamShow>().await;
        let view = team_view(&scene.supervisor);
        scene.member.answer(&shown, &view).await;
        scene
    }

    /// Starts a member whose stored transcript contains an entry that the member cannot decode, so the member exits.
    /// Returns its exit report and its outcome.
    pub(crate) async fn refusing(
        supervisor: ScriptedSupervisor,
        opening: Opening,
    ) -> (Exit, RunOutcome) {
        Self::begin(supervisor, opening).await.exits().await
    }

    /// Starts the member and answers until its transcript is read.
    pub(crate) async fn begin(supervisor: ScriptedSupervisor, opening: Opening) -> Self {
        let Opening {
            agent,
            window,
            stored,
            holds,
        } = opening;
        let launch_file = launch_file(&supervisor, agent);
        let (asked, model) = mpsc::unbounded_channel();
        let (called, tools) = mpsc::unbounded_channel();
        let scripted_model = Arc::new(ScriptedModel { asked, window });
        let agent = tokio::spawn(async move {
            let launch = HostedLaunch::take(&launch_file)?.expect("the launch is not taken");
            let tools = |_: &_, _: &_| ScriptedTool::all(&called);
            Ok(RunOutcome::Exited(
                launch.run_with_tools(scripted_model, tools).await?,
            ))
        });
        let mut member = supervisor.member(holds).await;
        let read = member.asked::<TranscriptRead>().await;
        let page = page(&stored, read.args());
        member.answer(&read, &page).await;
        Self {
            supervisor,
            member,
            model,
            tools,
            agent,
            stored,
        }
    }

    pub(crate) fn team_view(&self) -> TeamView {
        team_view(&self.supervisor)
    }

    /// Kills the member by aborting its task. Returns its supervisor and its stored transcript.
    pub(crate) async fn dies(self) -> (ScriptedSupervisor, Vec<Box<RawValue>>) {
        self.agent.abort();
        assert!(self.agent.await.unwrap_err().is_cancelled());
        drop(self.member);
        (self.supervisor, self.stored)
    }

    /// Kills the member, and starts it again with the stored transcript.
    pub(crate) async fn restart(self, holds: Option<Assignment>) -> Self {
        let (supervisor, stored) = self.dies().await;
        let opening = Opening {
            stored,
            holds,
            ..Opening::default()
        };
        Self::open_with(supervisor, opening).await
    }

    pub(crate) async fn deliver(&mut self, id: u64, text: &str, urgent: bool) {
        let messages = vec![DeliveredMessage {
            id: MessageId(id),
            from: Party::User,
            text: text.into(),
            urgent,
            reply_to: None,
            summary: None,
            wants_reply: false,
            can_wait: false,
            redelivered: false,
            attach_outside: false,
        }];
        self.member.notify(&Deliver { messages }).await;
    }

    /// The next request to the model.
    pub(crate) async fn asked(&mut self) -> ModelRequest {
        within("the model to be asked", self.model.recv())
            .await
            .unwrap()
    }

    pub(crate) fn nothing_is_asked(&mut self) {
        assert!(self.model.try_recv().is_err(), "the model was asked");
    }

    /// The next executed call.
    pub(crate) async fn called(&mut self) -> PendingCall {
        within("a call", self.tools.recv()).await.unwrap()
    }

    pub(crate) fn nothing_is_called(&mut self) {
        assert!(self.tools.try_recv().is_err(), "a tool was called");
    }

    /// The next append, without an answer.
    pub(crate) async fn append(&mut self) -> wire::ReceivedCall<AppendTranscript> {
        self.member.asked::<TranscriptAppend>().await
    }

    pub(crate) async fn accept(
        &mut self,
        append: wire::ReceivedCall<AppendTranscript>,
    ) -> AppendTranscript {
        self.stored.extend(append.args().items.iter().cloned());
        let answer = stored(self.stored.len() as u64);
        self.member.answer(&append, &answer).await;
        append.call.args
    }

    /// The next append, accepted.
    pub(crate) async fn stores(&mut self) -> AppendTranscript {
        let append = self.append().await;
        self.accept(append).await
    }

    /// The report at the end of the turn.
    pub(crate) async fn rests(&mut self) -> String {
        loop {
            if let Some(end) = self.stores().await.turn_end {
                return end.report;
            }
        }
    }

    /// The next message to the user, accepted.
    pub(crate) async fn messages_the_user(&mut self) -> String {
        let sent = self.member.asked::<MessageSend>().await;
        assert_eq!(sent.args().to, Recipient::User);
        let answer = SendAnswer {
            id: MessageId(9),
            to: vec![Party::User],
            only_shown: Vec::new(),
            in_turn: Vec::new(),
            after_turn: Vec::new(),
            in_or_after_turn: Vec::new(),
        };
        self.member.answer(&sent, &answer).await;
        sent.args().text.clone()
    }

    /// Answers the request for a summary with this text. Refuses the member's next `team/show`, and accepts the append.
    pub(crate) async fn summarises(&mut self, text: &str) {
        let summary = self.asked().await;
        assert!(summary.tools.is_empty());
        summary.answer_text(text);
        let shown = self.member.asked::<TeamShow>().await;
        let refusal = Refusal::new(ErrorCode::UnknownTeam, "gone");
        self.member.refuse(&shown, refusal).await;
        self.stores().await;
    }

    /// Assigns a task and accepts the append that stores it.
    pub(crate) async fn assign(&mut self, assignment: &Assignment) {
        self.member.notify(assignment).await;
        self.stores().await;
    }

    /// Waits until the log contains this text.
    pub(crate) async fn logs(&self, text: &str) {
        let logged = async {
            while !self.supervisor.log().contains(text) {
                tokio::task::yield_now().await;
            }
        };
        within("a line of the log", logged).await;
    }

    /// Accepts the exit report. Returns the report and the outcome of the worker.
    pub(crate) async fn exits(mut self) -> (Exit, RunOutcome) {
        let report = self.member.asked::<MemberExit>().await;
        self.member.answer(&report, &Nothing {}).await;
        let ran = within("the end of the agent", self.agent)
            .await
            .unwrap()
            .unwrap();
        (report.call.args, ran)
    }
}

/// The launch file of an agent.
pub(crate) fn launch_file(of: &ScriptedSupervisor, agent: AgentSpec) -> PathBuf {
    of.launch_with(&of.path("project"), Engine::Native, agent)
}

/// The answer to an append: the transcript's length, and the allowance to continue.
pub(crate) fn stored(length: u64) -> TranscriptAnswer {
    TranscriptAnswer {
        length,
        allowance: Allowance::default(),
    }
}

/// An empty team.
pub(crate) fn team_view(of: &ScriptedSupervisor) -> TeamView {
    TeamView {
        team: of.team(),
        name: "demo".parse().unwrap(),
        project: of.path("project"),
        state: TeamState::Up,
        storage_error: None,
        revision: Revision(1),
        mode: None,
        members: Vec::new(),
        roles: Vec::new(),
        tasks: TaskCounts::default(),
        usage: Usage::default(),
        up_ms: 0,
        working_ms: 0,
        unread: 0,
        placement: String::new(),
        goal: None,
        notify: Notify::default(),
    }
}

fn page(stored: &[Box<RawValue>], read: &ReadTranscript) -> TranscriptPage {
    let after = usize::try_from(read.after).unwrap();
    TranscriptPage {
        items: stored[after..].to_vec(),
        more: false,
    }
}

pub(crate) fn entries(items: &[Item]) -> Vec<Box<RawValue>> {
    items
        .iter()
        .map(|item| to_raw_value(item).unwrap())
        .collect()
}

pub(crate) fn items(append: &AppendTranscript) -> Vec<Item> {
    let items = append.items.iter();
    items
        .map(|item| serde_json::from_str(item.get()).unwrap())
        .collect()
}

/// The first claim of `T-3`.
pub(crate) fn task() -> Assignment {
    Assignment {
        task: TaskId(3),
        generation: Generation(1),
        title: "Validate".into(),
        description: "Every endpoint.".into(),
        run: None,
        verify: None,
        attempt: 1,
        files: Vec::new(),
    }
}

pub(crate) fn changed() -> TaskAnswer {
    TaskAnswer {
        task: TaskId(3),
        generation: Generation(1),
        overlaps: Vec::new(),
    }
}
