//! The worker of the native engine: owns the process's state while a model works in it. Called by `lib.rs`, once.
//!
//! ```text
//! supervisor ◄─► link ──tasks, messages, stop──► inbox ──► agent_loop ◄─► model
//!                 ▲                                         │  └─► tools
//!                 └── calls ◄── supervisor_client ◄─────────┤
//! pane, log ◄── lines ◄── output_sink ◄─────────────────────┘
//! ```
//! A reader who looks for …
//! - a turn: `agent_loop`; one answer: `step`; its tool calls: `calls`; the end of a turn: `ending`
//! - what the model sees, and how it is stored: `conversation`
//! - engines of an embedding program: `custom`
//! - inputs for the model, and interruptions: `inbox`; their texts: `prompts`
//! - a lead without tools, asked round by round: `rounds`; the text of its questions: `question`
//! - live output for connected clients: `live_output`
//! - the stored conversation: `transcript`; its summaries: `compact`
//! - requests to the supervisor, stopping, reconnecting: `pending_call`
//!
//! Everything arrives here as an [`Event`] and is applied without waiting. Only the agent loop waits.

mod agent_loop;
mod calls;
mod compact;
mod conversation;
mod custom;
pub(crate) mod deps;
mod ending;
mod inbox;
mod live_output;
pub(crate) mod output_sink;
mod pending_call;
mod prompts;
mod question;
mod rounds;
mod step;
mod transcript;
mod verify;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_team_llm::Model;
use agent_team_protocol::RequestId;
use agent_team_protocol::notification::{Assignment, Inform, MemberWaits, ShowPane, TaskOutput};
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::view::Waiting;
use agent_team_system::signals::SignalEvent;
use agent_team_terminal_ui::Tone;
use agent_team_tools::confine::Confinement;
use agent_team_tools::supervisor_client::{ClientCall, SupervisorClient};
use agent_team_tools::team::{Arrivals, Claims, PendingRequest, Shared};
use agent_team_tools::{Permission, Tool, ToolContext};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::agent_loop::AgentLoop;
use self::calls::Toolbox;
use self::conversation::{Conversation, End};
use self::custom::{Custom, Inputs};
use self::inbox::{Inbox, Input};
use self::live_output::LiveOutput;
use self::output_sink::{EndedCall, OutputEvent, OutputSink, whole_lines};
use self::pending_call::{Life, PendingCall};
use self::transcript::Transcript;
use self::verify::Verifier;
use crate::engine::output::Coalescer;
use crate::hosted::{Engine, TeamHandle};
use crate::link::{LinkEvent, Notice, Over, Ticket};
use crate::pane::{AgentEvent, AgentPane};
use crate::sleep_until;
use crate::typed::{Action, ActionOutcome, ActionResult};
use crate::worker::{
    OUTPUT_PAUSE, TERM_GRACE, WorkerConfig, next_signal, not_shown, output_due, refused,
};

/// The configuration of an agent.
pub(crate) struct AgentConfig<T> {
    pub(crate) agent: AgentSpec,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) client: SupervisorClient,
    pub(crate) calls: mpsc::UnboundedReceiver<ClientCall>,
    pub(crate) context: ToolContext,
    /// The sandbox of its commands. `None`: commands run without one.
    pub(crate) confinement: Option<Arc<Confinement>>,
    /// Creates the tools from the state that they share with the loop.
    pub(crate) tools: T,
}

/// Runs the `verify` lines of the member's tasks.
struct VerifySandbox {
    project: PathBuf,
    confinement: Option<Arc<Confinement>>,
    permission: Permission,
}

pub(crate) struct Agent {
    config: WorkerConfig,
    pane: AgentPane,
    /// Text for the log that does not form a complete line yet.
    log_text: String,
    life: Life,
    /// `None` after it has ended.
    agent_loop: Option<JoinHandle<End>>,
    inputs: mpsc::UnboundedSender<Input>,
    shown: mpsc::UnboundedReceiver<OutputEvent>,
    calls: mpsc::UnboundedReceiver<ClientCall>,
    shared: Shared,
    /// The claim that this member holds according to the supervisor.
    assignment: Option<Assignment>,
    /// Requests that are not answered yet.
    pending_calls: HashMap<Ticket, PendingCall>,
    /// Output that is not sent to the supervisor yet, and the time at which it may be sent.
    output: Coalescer,
    live: LiveOutput,
    output_at: Instant,
    /// The wait that was last reported to the supervisor.
    waits: Option<Waiting>,
    /// The permission request on which a tool is waiting.
    asks: Option<RequestId>,
}

enum Event {
    Link(LinkEvent),
    Call(ClientCall),
    Output(OutputEvent),
    Ended(End),
    OutputDue(mpsc::OwnedPermit<TaskOutput>),
    Pane(AgentEvent),
    Acted(ActionOutcome),
    Signal(SignalEvent),
    Deadline,
}

impl Agent {
    /// Must be called within the worker's runtime.
    pub(crate) fn new<T>(
        worker_config: WorkerConfig,
        pane: AgentPane,
        config: AgentConfig<T>,
    ) -> Self
    where
        T: FnOnce(&SupervisorClient, &Shared) -> Vec<Box<dyn Tool>>,
    {
        let AgentConfig {
            agent,
            model,
            client,
            calls,
            context,
            confinement,
            tools,
        } = config;
        let verify_sandbox = VerifySandbox {
            project: context.project.clone(),
            confinement: confinement.clone(),
            permission: deps::permission_of(&agent, &client),
        };
        Self::around(
            worker_config,
            pane,
            calls,
            verify_sandbox,
            |inputs, shared, sink| {
                let tools = match agent.strategy {
                    Some(_) => Vec::new(),
                    None => tools(&client, &shared),
                };
                let toolbox = Toolbox::new(tools, context);
                let agent_loop = AgentLoop {
                    agent,
                    confinement,
                    lead: None,
                    conversation: Conversation {
                        model,
                        specs: toolbox.specs(),
                        search: false,
                        system: String::new(),
                        client,
                        inbox: Inbox::new(inputs, shared.arrivals.clone(), shared.claims.clone()),
                        shared,
                        transcript: Transcript::default(),
                        sink,
                    },
                    toolbox,
                };
                agent_loop.run()
            },
        )
    }

    /// Creates a worker whose engine is code of the embedding program.
    pub(crate) fn with_engine(
        worker_config: WorkerConfig,
        pane: AgentPane,
        client: SupervisorClient,
        calls: mpsc::UnboundedReceiver<ClientCall>,
        engine: Box<dyn Engine>,
    ) -> Self {
        // The embedding program also supplied the lines, so they need neither sandbox nor permission.
        let verify_sandbox = VerifySandbox {
            project: worker_config.program_context.cwd.clone(),
            confinement: None,
            permission: Permission::Bypass,
        };
        Self::around(
            worker_config,
            pane,
            calls,
            verify_sandbox,
            |inputs, shared, sink| {
                let custom = Custom {
                    engine,
                    team: TeamHandle {
                        client,
                        shared,
                        sink,
                    },
                    inputs: Inputs::new(inputs),
                };
                custom.run()
            },
        )
    }

    fn around<F>(
        worker_config: WorkerConfig,
        pane: AgentPane,
        calls: mpsc::UnboundedReceiver<ClientCall>,
        verify_sandbox: VerifySandbox,
        agent_loop: impl FnOnce(mpsc::UnboundedReceiver<Input>, Shared, OutputSink) -> F,
    ) -> Self
    where
        F: Future<Output = End> + Send + 'static,
    {
        let (inputs, heard) = mpsc::unbounded_channel();
        let live = LiveOutput::new(&worker_config.program_context.marker);
        let (sink, shown) = OutputSink::new(live.clone());
        let shared = Shared {
            claims: Claims::default(),
            arrivals: Arrivals::default(),
            verify: Arc::new(Verifier {
                program_context: Arc::clone(&worker_config.program_context),
                project: verify_sandbox.project,
                sink: sink.clone(),
                confinement: verify_sandbox.confinement,
                permission: verify_sandbox.permission,
            }),
        };
        let agent_loop = agent_loop(heard, shared.clone(), sink);
        Self {
            config: worker_config,
            pane,
            log_text: String::new(),
            life: Life::Working,
            agent_loop: Some(tokio::spawn(agent_loop)),
            inputs,
            shown,
            calls,
            shared,
            assignment: None,
            pending_calls: HashMap::new(),
            output: Coalescer::default(),
            live,
            output_at: Instant::now(),
            waits: None,
            asks: None,
        }
    }

    /// Runs until the member is stopped or its launch is over. Returns the exit code.
    pub(crate) async fn run(mut self) -> u8 {
        let code = loop {
            if let Life::Gone { code } = self.life {
                break code;
            }
            let event = self.next().await;
            self.apply(event);
        };
        if let Some(agent_loop) = &self.agent_loop {
            agent_loop.abort();
            // Wait for the loop: the programs that it started must be terminated before this process exits.
            end_of(&mut self.agent_loop).await;
        }
        self.pane.close().await;
        code
    }

    async fn next(&mut self) -> Event {
        let output = self.config.link.output.clone();
        let (waits, output_at) = (!self.output.is_empty(), self.output_at);
        let due = async {
            if !waits {
                self.live.changed().await;
            }
            output_due(Some(output_at), output).await
        };
        let deadline = self.life.deadline();
        let WorkerConfig {
            link,
            typed,
            signals,
            ..
        } = &mut self.config;
        let pane = &mut self.pane;
        tokio::select! {
            biased;
            signal = next_signal(signals) => Event::Signal(signal),
            event = link.next() => Event::Link(event),
            Some(call) = self.calls.recv() => Event::Call(call),
            event = pane.next() => Event::Pane(event),
            Some(acted) = typed.outcomes.recv() => Event::Acted(acted),
            () = sleep_until(deadline) => Event::Deadline,
            Some(permit) = due => Event::OutputDue(permit),
            Some(told) = self.shown.recv() => Event::Output(told),
            end = end_of(&mut self.agent_loop) => Event::Ended(end),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Link(event) => self.link_event(event),
            Event::Call(call) => self.make(call),
            Event::Output(told) => self.show(told),
            Event::Ended(end) => self.loop_ended(end),
            Event::OutputDue(permit) => {
                permit.send(self.output());
            }
            Event::Pane(event) => self.pane_event(event),
            Event::Acted(Ok(ActionResult::Accepted | ActionResult::Task(_))) => {}
            Event::Acted(Ok(ActionResult::Shown(view))) => self.show_request(*view),
            Event::Acted(Ok(ActionResult::Printed(text))) => {
                self.pane.view.lines(Tone::Plain, &text)
            }
            Event::Acted(Err(failed)) => self.note(&refused(failed.what, &failed.refusal)),
            Event::Signal(SignalEvent::Shutdown) => self.stop(TERM_GRACE, "terminated".into()),
            Event::Signal(SignalEvent::Hangup) => self.lose_pane(),
            Event::Signal(SignalEvent::WindowChanged) => self.pane.fit(),
            // ^C is a keystroke in an agent's pane.
            Event::Signal(SignalEvent::Interrupt | SignalEvent::Info) => {}
            Event::Deadline => self.deadline(),
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected(welcome) => self.connected(welcome),
            LinkEvent::Start(assignment) => self.start(assignment),
            LinkEvent::Abandon(abandon) => self.abandon(abandon),
            LinkEvent::Deliver(deliver) => {
                let urgent = deliver.messages.iter().any(|message| message.urgent);
                self.shared.arrivals.deliver(deliver.messages);
                self.send_input(Input::Arrived { urgent });
            }
            LinkEvent::Inform(inform) => self.inform(inform),
            LinkEvent::Allowance(allowance) => self.send_input(Input::Allowance(allowance)),
            LinkEvent::Show(show) => {
                self.move_pane(&show);
                self.look_up_request();
            }
            LinkEvent::Stop(stop) => self.stop(Duration::from_millis(stop.grace_ms), stop.reason),
            LinkEvent::Answered(ticket, outcome) => self.answered(ticket, outcome),
            LinkEvent::Unreachable(why) => {
                self.note(&format!("no connection to the supervisor, retrying: {why}"));
            }
            LinkEvent::Over(Over::Stopped) => self.vanish("the supervisor was stopped"),
            LinkEvent::Over(Over::Retired(why)) => self.vanish(&format!("retired: {why}")),
        }
    }

    /// Shows an event of a teammate's request, and passes it to the agent loop. A pending request that has already
    /// arrived over an earlier connection is skipped.
    fn inform(&mut self, inform: Inform) {
        let shown = visible_line(&inform.text).into_owned();
        match inform.request.or(inform.decide) {
            Some(id) if inform.pending || inform.decide.is_some() => {
                let request = PendingRequest {
                    id,
                    line: inform.text,
                    may_allow: inform.decide.is_some(),
                };
                if self.shared.arrivals.add_request(request) {
                    self.note(&shown);
                    self.send_input(Input::Arrived { urgent: false });
                }
            }
            over => {
                if let Some(id) = over {
                    self.shared.arrivals.end_request(id);
                    self.send_input(Input::RequestOver(id));
                }
                self.note(&shown);
                self.send_input(Input::Informed(inform.text));
            }
        }
    }

    /// The text that was shown since the last call.
    fn output(&mut self) -> TaskOutput {
        self.output_at = Instant::now() + OUTPUT_PAUSE;
        TaskOutput {
            task: self.assignment.as_ref().map(|held| held.task),
            text: self.output.take(),
            said: self.live.take(),
        }
    }

    fn send_input(&self, input: Input) {
        // A loop that has ended has already reported its end.
        let _ended = self.inputs.send(input);
    }

    fn show(&mut self, told: OutputEvent) {
        let now = std::time::Instant::now();
        match told {
            OutputEvent::Said(of, piece) => {
                self.pane.view.say(of, &piece);
                self.log_text.push_str(&piece);
                let whole = whole_lines(&self.log_text);
                let lines: String = self.log_text.drain(..whole).collect();
                self.log_and_stream(&lines);
            }
            OutputEvent::Paused => {
                self.pane.view.pause();
                let rest = std::mem::take(&mut self.log_text);
                self.log_and_stream(&rest);
            }
            OutputEvent::Lines { tone, text } => {
                self.pane.view.lines(tone, &text);
                self.log_and_stream(&text);
            }
            OutputEvent::Thinks(thinks) => {
                let thinking = thinks.then(|| ("thinking".to_owned(), now));
                self.pane.view.works(thinking);
            }
            OutputEvent::Begun { call, header } => {
                self.pane.view.begin_call(&call, &header, now);
                self.log_and_stream(&header);
            }
            OutputEvent::Printed { call, text, weight } => {
                match call {
                    Some(call) => self.pane.view.printed(&call, &text),
                    None => self.pane.view.lines(Tone::Dim, &text),
                }
                self.log_and_stream(&text);
                drop(weight);
            }
            OutputEvent::EndedCall(EndedCall {
                call,
                diff,
                first_line,
                unseen,
                all,
            }) => {
                self.pane
                    .view
                    .end_call(&call, &first_line, diff.as_deref(), &all);
                for text in diff.iter().chain(&unseen) {
                    self.log_and_stream(text);
                }
            }
            OutputEvent::Waits(on) => {
                self.waits.clone_from(&on);
                self.show_waits();
                self.config.link.notify(Notice::Waits(MemberWaits { on }));
            }
        }
    }

    /// Writes complete lines to the log and sends them to connected clients.
    fn log_and_stream(&mut self, text: &str) {
        let text = text.trim_end_matches('\n');
        if text.trim().is_empty() {
            return;
        }
        self.write_log(text);
        self.output.push(text);
        self.output.push("\n");
    }

    fn show_waits(&mut self) {
        let waits = self.waits.is_some() || self.asks.is_some();
        self.pane.view.waits(waits, std::time::Instant::now());
    }

    fn pane_event(&mut self, event: AgentEvent) {
        // The task that receives them runs until the process exits.
        let _ended = match event {
            AgentEvent::Said(text) => self.config.typed.actions.send(Action::Line(text)),
            AgentEvent::Decided(decide) => self.config.typed.actions.send(Action::Decide(decide)),
            AgentEvent::Verb(report) => return self.config.typed.verb(report),
            AgentEvent::Gone => return self.lose_pane(),
        };
    }

    fn lose_pane(&mut self) {
        if self.pane.surface.is_open() {
            self.config.log_loss(&self.pane.surface);
            self.pane.lose();
            self.config.report_surface(&self.pane.surface);
        }
    }

    /// Moves the pane to a lent terminal.
    fn move_pane(&mut self, show: &ShowPane) {
        let Some(recent) = self.config.recent() else {
            return;
        };
        if let Err(error) = self.pane.move_to(show, &recent) {
            not_shown(show, &error);
        }
        self.config.report_surface(&self.pane.surface);
    }

    /// Writes a line of the runtime to the pane and the log. `line` must be free of control characters.
    fn note(&mut self, line: &str) {
        self.write_log(line);
        self.pane.view.lines(Tone::Accent, line);
    }

    fn write_log(&mut self, line: &str) {
        // The log reports its own write errors; the worker continues without it.
        let _logged = self.config.log.line(line);
    }
}

/// Cancel-safe. Never returns after it has returned once.
async fn end_of(agent_loop: &mut Option<JoinHandle<End>>) -> End {
    let Some(task) = agent_loop else {
        return std::future::pending().await;
    };
    let ended = task.await;
    *agent_loop = None;
    match ended {
        Ok(end) => end,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The task was aborted.
        Err(_) => End::Stopped,
    }
}
