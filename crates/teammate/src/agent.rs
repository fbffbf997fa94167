//! An agent in its worker: spawns a task for the agent loop, or for the loop of an embedding program's engine, and
//! passes inputs, calls and output between this task and the worker. Called by the worker.
//!
//! ```text
//! supervisor ◄─► link ──tasks, messages, stop──► inbox ──► agent_loop ◄─► model
//!                 ▲                                         │  └─► tools
//!                 └── calls ◄── supervisor_client ◄─────────┤
//! pane, log ◄── lines ◄── output_sink ◄─────────────────────┘
//! ```
//! Where to look:
//! - a turn: `agent_loop`; one answer: `step`; its tool calls: `calls`; the end of a turn: `ending`
//! - calls that a model writes as text: `text_calls`; a model that repeats itself: `repetition`
//! - what the model sees, and how it is stored: `conversation`
//! - engines of an embedding program: `custom`; agents of other vendors: `external`; chat sessions: `joined`
//! - an agent of another vendor in its own terminal interface: `own_terminal`
//! - shell lines of the user at events of the agent: `hooks`
//! - inputs for the model, and interruptions: `inbox`; their texts: `prompts`
//! - commands of the pane beside the verbs of the command line: `slash_commands`
//! - a lead without tools, whose model is asked once in each round of a run: `rounds`; the text of the questions:
//!   `question`
//! - the stored conversation: `transcript`; what the member has done in it: `work_record`
//! - room in the window of the model: `compact`
//! - texts of instruction files: `instructions`
//! - questions that helpers of the member answer: `delegate`; whether models may be called: `allowances`
//! - calls to the supervisor, and the task that the member owns: `supervisor_calls`
//!
//! Only the loop's task waits for the model and for the supervisor's answers, so the worker always responds to events.

mod agent_loop;
mod allowances;
pub(crate) mod calls;
mod compact;
mod conversation;
mod custom;
mod delegate;
mod delegate_models;
pub(crate) mod deps;
mod ending;
pub(crate) mod external;
mod hooks;
mod inbox;
mod instructions;
mod joined;
pub(crate) mod output_sink;
mod own_terminal;
mod prompts;
mod question;
mod repetition;
mod rounds;
mod slash_commands;
mod step;
mod supervisor_calls;
mod text_calls;
mod transcript;
mod verify;
mod work_record;

use std::path::PathBuf;
use std::sync::Arc;

use agent_team_protocol::Refusal;
use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::notification::{
    Abandon, Allowance, Assignment, Deliver, GoalEnded, RequestNotice, SendPrompt, ShowPane,
};
use agent_team_protocol::spec::{AgentSpec, Colour};
use agent_team_protocol::text::{visible, visible_line};
use agent_team_terminal_ui::{TextKind, Tone};
use agent_team_tools::confine::Confinement;
use agent_team_tools::supervisor_client::{ClientCall, SupervisorClient};
use agent_team_tools::team::{Arrivals, Claims, PendingRequest, Shared};
use agent_team_tools::{Permission, Tool, ToolContext};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::agent_loop::AgentLoop;
use self::calls::Toolbox;
use self::conversation::{Conversation, End};
use self::custom::{Custom, Inputs};
use self::delegate::Delegation;
use self::deps::Models;
use self::external::keystrokes::Keystrokes;
use self::external::terminal::TerminalHandle;
use self::external::{External, Sockets};
use self::hooks::{HookContext, Hooks};
use self::inbox::{Inbox, Input, InputSender};
use self::joined::Joined;
use self::output_sink::{EndedCall, OutputEvent, OutputSink, escaped, showable_bytes};
use self::own_terminal::{OwnTerminal, TerminalEvent};
use self::slash_commands::SlashCommands;
use self::supervisor_calls::SupervisorCalls;
use self::transcript::Transcript;
use self::verify::Verifier;
use crate::engine::Claim;
use crate::hosted::engine::Engine;
use crate::hosted::team_handle::TeamHandle;
use crate::hosted::team_tools::TeamTools;
use crate::link::Ticket;
use crate::pane::{AgentEvent, AgentPane, MemberPane};
use crate::typed::{Action, ActionResult};
use crate::worker::{Life, Stop, Work, WorkerConfig, refused};

/// The line that the pane shows when it opens.
const HINT: &str = "/help lists the commands";

/// The configuration of an agent.
pub(crate) struct AgentConfig<T> {
    pub(crate) agent: AgentSpec,
    pub(crate) models: Models,
    pub(crate) client: SupervisorClient,
    pub(crate) calls: mpsc::UnboundedReceiver<ClientCall>,
    pub(crate) context: ToolContext,
    /// The sandbox of the agent's commands. `None`: they run without a sandbox.
    pub(crate) confinement: Option<Arc<Confinement>>,
    /// Creates the tools from the state that they share with the loop.
    pub(crate) tools: T,
}

/// The directory, sandbox and permission with which the `verify` lines of the member's tasks run.
struct VerifySandbox {
    project: PathBuf,
    confinement: Option<Arc<Confinement>>,
    permission: Permission,
}

type WorkerState = crate::worker::WorkerState<AgentPane>;

pub(crate) struct Agent {
    /// Text for the log that does not form a complete line yet.
    log_text: String,
    commands: SlashCommands,
    /// The task of the loop. `None` after the loop has ended.
    agent_loop: Option<JoinHandle<End>>,
    inputs: InputSender,
    output: mpsc::UnboundedReceiver<OutputEvent>,
    calls: mpsc::UnboundedReceiver<ClientCall>,
    arrivals: Arrivals,
    supervisor_calls: SupervisorCalls,
    /// The terminal of an external agent that runs in its own terminal interface.
    terminal: Option<OwnTerminal>,
}

pub(crate) enum Event {
    Call(ClientCall),
    Output(OutputEvent),
    Ended(End),
    Pane(AgentEvent),
    Terminal(TerminalEvent),
}

/// The access of code outside of the agent loop to the member's team.
fn team_handle(
    agent: &AgentSpec,
    client: SupervisorClient,
    shared: Shared,
    context: Arc<ToolContext>,
    sink: OutputSink,
) -> TeamHandle {
    let tools = deps::team_tools_of(agent, &client, &shared);
    TeamHandle {
        client,
        shared,
        tools: TeamTools::new(tools, context, sink.clone()),
        sink,
    }
}

impl Agent {
    /// Creates the agent of a native member. Must be called within the worker's runtime.
    pub(crate) fn new<T>(worker_config: &WorkerConfig, config: AgentConfig<T>) -> Self
    where
        T: FnOnce(&SupervisorClient, &Shared) -> Vec<Box<dyn Tool>>,
    {
        let AgentConfig {
            agent,
            models,
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
        let files = agent.commands.clone();
        let mut member = Self::spawn(
            worker_config,
            calls,
            verify_sandbox,
            |inputs, shared, sink| {
                let mut tools = match agent.strategy {
                    Some(_) => Vec::new(),
                    None => tools(&client, &shared),
                };
                tools.retain(|tool| {
                    deps::suits_model(&agent, models.main.name(), &tool.spec().name)
                });
                let context = Arc::new(context);
                let hooks = Hooks::new(HookContext {
                    specs: agent.hooks.clone(),
                    tool_context: Arc::clone(&context),
                    client: client.clone(),
                    claims: shared.claims.clone(),
                    sink: sink.clone(),
                });
                let inbox = Inbox::new(inputs, shared.arrivals.clone(), shared.claims.clone());
                let delegation = Delegation {
                    agent: agent.clone(),
                    models: models.helpers,
                    client: client.clone(),
                    confinement: confinement.clone(),
                    hooks: hooks.clone(),
                    allowances: inbox.allowances(),
                    sink: sink.clone(),
                };
                tools.extend(delegate::tool_for(delegation, models.main.window()));
                let toolbox = Toolbox::new(tools, context, hooks.clone());
                let agent_loop = AgentLoop {
                    agent,
                    confinement,
                    hooks: hooks.clone(),
                    lead: None,
                    servers: None,
                    conversation: Conversation {
                        model: models.main,
                        compact: models.compact,
                        specs: toolbox.specs(),
                        search: false,
                        system: String::new(),
                        situation: String::new(),
                        client,
                        inbox,
                        shared,
                        transcript: Transcript::default(),
                        sink,
                    },
                    toolbox,
                };
                (Some(hooks), agent_loop.run())
            },
        );
        member.commands.files = files;
        member
    }

    /// Creates the agent of a member with an engine of the embedding program.
    pub(crate) fn with_engine(
        worker_config: &WorkerConfig,
        agent: &AgentSpec,
        context: ToolContext,
        client: SupervisorClient,
        calls: mpsc::UnboundedReceiver<ClientCall>,
        engine: Box<dyn Engine>,
    ) -> Self {
        // These `verify` lines need no sandbox and no permission: the embedding program or the user has written the
        // line, or a member has created the task with a permission for the line.
        let verify_sandbox = VerifySandbox {
            project: worker_config.program_context.cwd.clone(),
            confinement: None,
            permission: Permission::Bypass,
        };
        Self::spawn(
            worker_config,
            calls,
            verify_sandbox,
            |inputs, shared, sink| {
                let custom = Custom {
                    engine,
                    team: team_handle(agent, client, shared, Arc::new(context), sink),
                    inputs: Inputs::new(inputs),
                };
                (None, custom.run())
            },
        )
    }

    /// Creates the agent of a member whose work another vendor's agent does. `in_terminal`: that agent runs in its own
    /// terminal interface. Must be called within the worker's runtime.
    pub(crate) fn with_external(
        worker_config: &WorkerConfig,
        agent: AgentSpec,
        context: ToolContext,
        (client, calls): (SupervisorClient, mpsc::UnboundedReceiver<ClientCall>),
        sockets: Sockets,
        in_terminal: bool,
    ) -> Self {
        let external = agent.external.clone().unwrap_or_default();
        let permission = deps::permission_of(&agent, &client);
        let verify_sandbox = VerifySandbox {
            project: context.project.clone(),
            confinement: None,
            permission: permission.clone(),
        };
        let (handle, requests) = TerminalHandle::channel();
        let keystrokes = Keystrokes::default();
        let typed = keystrokes.clone();
        let mut member = Self::spawn(
            worker_config,
            calls,
            verify_sandbox,
            |inputs, shared, sink| {
                let context = Arc::new(context);
                let external = External {
                    external,
                    team: team_handle(&agent, client, shared, Arc::clone(&context), sink),
                    agent,
                    context,
                    permission,
                    sockets,
                    terminal: in_terminal.then_some(handle),
                    keystrokes,
                    tools_socket: None,
                    unstored_session: None,
                    meter: external::Meter::default(),
                    inputs: external::Inputs::new(inputs),
                };
                (None, external.run())
            },
        );
        member.terminal = in_terminal.then(|| OwnTerminal::new(requests, typed));
        member
    }

    /// Creates the agent of a joined member. Its chat session calls the team tools through `socket`. Must be called
    /// within the worker's runtime.
    pub(crate) fn with_chat_session(
        worker_config: &WorkerConfig,
        agent: &AgentSpec,
        context: ToolContext,
        client: SupervisorClient,
        calls: mpsc::UnboundedReceiver<ClientCall>,
        socket: PathBuf,
    ) -> Self {
        let verify_sandbox = VerifySandbox {
            project: context.project.clone(),
            confinement: None,
            permission: deps::permission_of(agent, &client),
        };
        Self::spawn(
            worker_config,
            calls,
            verify_sandbox,
            |inputs, shared, sink| {
                let joined = Joined {
                    team: team_handle(agent, client, shared, Arc::new(context), sink),
                    socket,
                    inputs,
                };
                (None, joined.run())
            },
        )
    }

    /// Spawns the agent's loop. `agent_loop` creates it, and returns it with the hooks of the agent.
    fn spawn<F>(
        worker_config: &WorkerConfig,
        calls: mpsc::UnboundedReceiver<ClientCall>,
        verify_sandbox: VerifySandbox,
        agent_loop: impl FnOnce(
            mpsc::UnboundedReceiver<Input>,
            Shared,
            OutputSink,
        ) -> (Option<Hooks>, F),
    ) -> Self
    where
        F: Future<Output = End> + Send + 'static,
    {
        let (inputs, receiver) = InputSender::channel();
        let (sink, output) = OutputSink::new(worker_config.live.clone());
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
        let (hooks, agent_loop) = agent_loop(receiver, shared.clone(), sink);
        Self {
            log_text: String::new(),
            commands: SlashCommands::default(),
            agent_loop: Some(tokio::spawn(agent_loop)),
            supervisor_calls: SupervisorCalls::new(inputs.clone(), shared.claims, hooks),
            arrivals: shared.arrivals,
            inputs,
            output,
            calls,
            terminal: None,
        }
    }

    fn output(&mut self, event: OutputEvent, worker: &mut WorkerState) {
        let now = std::time::Instant::now();
        match event {
            OutputEvent::Text(kind, piece) => {
                worker.pane.view.push_text(kind, &piece);
                self.log_text.push_str(&piece);
                let showable = showable_bytes(&self.log_text);
                let lines: String = self.log_text.drain(..showable).collect();
                Self::log_and_stream(&lines, worker);
            }
            OutputEvent::TextEnded => {
                worker.pane.view.end_text();
                let rest = std::mem::take(&mut self.log_text);
                Self::log_and_stream(&rest, worker);
            }
            OutputEvent::Lines { tone, text } => {
                worker.pane.view.lines(tone, &text);
                Self::log_and_stream(&text, worker);
            }
            OutputEvent::Work(work) => worker.pane.view.set_work(work.map(|what| (what, now))),
            OutputEvent::Begun { call, header } => {
                worker.pane.view.begin_call(&call, &header, now);
                Self::log_and_stream(&header, worker);
            }
            OutputEvent::Printed { call, text, size } => {
                match call {
                    Some(call) => worker.pane.view.push_call_output(&call, &text),
                    None => worker.pane.view.lines(Tone::Dim, &text),
                }
                Self::log_and_stream(&text, worker);
                drop(size);
            }
            OutputEvent::EndedCall(EndedCall {
                call,
                diff,
                first_line,
                unseen,
                all,
            }) => {
                worker
                    .pane
                    .view
                    .end_call(&call, &first_line, diff.as_deref(), &all);
                for text in diff.iter().chain(&unseen) {
                    Self::log_and_stream(text, worker);
                }
            }
            OutputEvent::Status { call, text } => worker.pane.view.set_call_status(&call, &text),
            OutputEvent::Commands(prompts) => {
                self.commands.prompts = prompts;
                worker.pane.view.set_commands(self.commands.offered());
                self.supervisor_calls
                    .set_prompts(self.commands.reported(), worker);
            }
            OutputEvent::Waiting(on) => self.supervisor_calls.set_wait(on, worker),
            OutputEvent::Model(model) => self.supervisor_calls.set_model(model, worker),
        }
    }

    /// Writes complete lines to the log and sends them to connected clients.
    fn log_and_stream(text: &str, worker: &mut WorkerState) {
        let text = text.trim_end_matches('\n');
        if text.trim().is_empty() {
            return;
        }
        worker.write_log(text);
        worker.add_output(text);
        worker.add_output("\n");
    }

    fn pane_event(&mut self, event: AgentEvent, worker: &mut WorkerState) {
        // The receiver of the actions exists until the process exits.
        let _ended = match event {
            AgentEvent::Message(text) => worker.config.typed.actions.send(Action::Line(text)),
            AgentEvent::Decided(decide) => worker.config.typed.actions.send(Action::Decide(decide)),
            AgentEvent::Verb(words) => {
                return worker
                    .config
                    .typed
                    .verb(words, worker.pane.surface().size());
            }
            AgentEvent::Custom(called) => return self.commands.run(called, &worker.config.typed),
            AgentEvent::Complete(names) => return worker.config.typed.complete(names),
            AgentEvent::Interrupt => return self.inputs.send(Input::Interrupt),
            AgentEvent::Keys(keys) => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.type_in(&keys);
                }
                return;
            }
            AgentEvent::Frame => {
                if let Some(terminal) = &self.terminal {
                    terminal.paint(worker);
                }
                return;
            }
            AgentEvent::Gone => return self.lose_pane(worker),
        };
    }

    fn loop_ended(&mut self, end: End, worker: &mut WorkerState) {
        while let Ok(output) = self.output.try_recv() {
            // Output that the loop sent just before its end can still be queued.
            self.output(output, worker);
        }
        match (&worker.life, end) {
            (Life::Working | Life::Stopping { .. }, End::Report(report)) => {
                worker.note(&format!("✗ {}", visible(&report.reason)));
                worker.ended(Some(report));
            }
            // The loop received a stop, or was aborted, or the worker was already ending when the loop ended.
            (_, End::Report(_) | End::Stopped) => worker.ended(None),
        }
    }
}

impl Work for Agent {
    type Pane = AgentPane;
    type Event = Event;

    async fn next(&mut self, pane: &mut AgentPane) -> Event {
        tokio::select! {
            biased;
            Some(call) = self.calls.recv() => Event::Call(call),
            event = pane.next() => Event::Pane(event),
            Some(output) = self.output.recv() => Event::Output(output),
            end = end_of(&mut self.agent_loop) => Event::Ended(end),
            // Poll the terminal last: a program that floods it must delay nothing else.
            event = next_of(&mut self.terminal) => Event::Terminal(event),
        }
    }

    fn apply(&mut self, event: Event, worker: &mut WorkerState) {
        match event {
            Event::Call(call) => self.supervisor_calls.send(call, worker),
            Event::Output(output) => self.output(output, worker),
            Event::Ended(end) => self.loop_ended(end, worker),
            Event::Pane(event) => self.pane_event(event, worker),
            Event::Terminal(event) => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.apply(event, worker);
                }
            }
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, worker: &mut WorkerState) {
        worker.pane.view.set_colour(Colour::named(&welcome.colour));
        self.arrivals.reconnected();
        // Accept the allowance even if its revision is smaller than the last: the supervisor may have lost its last
        // events in a crash of the machine, and it then assigns their revisions again.
        self.inputs.send(Input::Welcomed(welcome.allowance.clone()));
        self.supervisor_calls.report_again(worker);
        if let Some(terminal) = &self.terminal {
            terminal.report_session(worker);
        }
        worker.pane.view.set_commands(self.commands.offered());
        worker.pane.view.open(HINT);
    }

    fn claim(&self) -> Option<Claim> {
        self.supervisor_calls.claim()
    }

    fn is_reported(&self, claim: Claim) -> bool {
        self.supervisor_calls.is_reported(claim)
    }

    fn start(&mut self, assignment: Assignment, worker: &mut WorkerState) {
        if let Life::Working | Life::Stopping { .. } = worker.life {
            self.supervisor_calls.start(assignment);
        }
    }

    fn abandon(&mut self, abandon: Abandon, _worker: &mut WorkerState) {
        self.supervisor_calls.abandon(abandon);
    }

    fn lose_claim(&mut self, _worker: &mut WorkerState) {
        let why = "the supervisor reports another owner, or none";
        self.supervisor_calls.lose_claim(why);
    }

    fn deliver(&mut self, deliver: Deliver, _worker: &mut WorkerState) {
        let urgent = deliver.messages.iter().any(|message| message.urgent);
        self.arrivals.deliver(deliver.messages);
        self.inputs.send(Input::Arrived { urgent });
    }

    /// Shows an event of a teammate's request, and passes it to the agent loop. A pending request that has already
    /// arrived over an earlier connection is skipped.
    fn inform(&mut self, inform: RequestNotice, worker: &mut WorkerState) {
        let shown = visible_line(&inform.text).into_owned();
        if let Some(mode) = inform.mode {
            self.supervisor_calls.set_mode(mode);
        }
        match inform.request.or(inform.decide) {
            Some(id) if inform.pending || inform.decide.is_some() => {
                let request = PendingRequest {
                    id,
                    line: inform.text,
                    may_allow: inform.decide.is_some(),
                };
                if self.arrivals.add_request(request) {
                    worker.note(&shown);
                    self.inputs.send(Input::Arrived { urgent: false });
                }
            }
            ended => {
                if let Some(id) = ended {
                    self.arrivals.end_request(id);
                    self.inputs.send(Input::RequestOver(id));
                }
                worker.note(&shown);
                self.inputs.send(Input::Informed(inform.text));
            }
        }
    }

    fn goal_ended(&mut self, ended: &GoalEnded, worker: &mut WorkerState) {
        let status = ending::status_of(ended.goal.state);
        let headline = format!("{} {}", status.sign(), ended.goal.headline());
        let text = escaped(&ended.text);
        for text in [&headline, &text] {
            worker.config.live.lines(text.clone(), false);
        }
        self.output(
            OutputEvent::Lines {
                tone: Tone::Runtime,
                text: headline,
            },
            worker,
        );
        self.output(OutputEvent::Text(TextKind::Answer, text), worker);
        self.output(OutputEvent::TextEnded, worker);
    }

    fn allow(&mut self, allowance: Allowance) {
        self.inputs.send(Input::Allowance(allowance));
    }

    fn answered(
        &mut self,
        ticket: Ticket,
        outcome: Result<Box<RawValue>, Refusal>,
        worker: &mut WorkerState,
    ) {
        self.supervisor_calls.answered(ticket, outcome, worker);
    }

    fn acted(&mut self, result: ActionResult, worker: &mut WorkerState) {
        match result {
            ActionResult::Accepted | ActionResult::Task(_) | ActionResult::NotAdded(_) => {}
            ActionResult::NotDecided(refusal) => {
                worker.note(&refused("cannot send the decision", &refusal));
                worker.pane.view.reopen_request();
            }
            ActionResult::Shown(view) => self.supervisor_calls.show_request(*view, worker),
            ActionResult::Printed(text) => worker.pane.view.lines(Tone::Plain, &text),
            ActionResult::Found(names, candidates) => worker.pane.view.offer(&names, candidates),
        }
    }

    fn show(&mut self, show: &ShowPane, worker: &mut WorkerState) {
        // The list of messages that the previous terminal did not show is always empty for an agent.
        let _none = worker.move_pane(show);
        if let Some(terminal) = &mut self.terminal {
            terminal.resize(worker);
        }
        self.supervisor_calls.look_up_request(worker);
    }

    fn lose_pane(&mut self, worker: &mut WorkerState) {
        let _none = worker.lose_pane();
    }

    fn resize(&mut self, worker: &mut WorkerState) {
        worker.pane.resize();
        if let Some(terminal) = &mut self.terminal {
            terminal.resize(worker);
        }
    }

    fn interrupt(&mut self, _worker: &mut WorkerState) {
        self.inputs.send(Input::Interrupt);
    }

    fn compact(&mut self, _worker: &mut WorkerState) {
        self.inputs.send(Input::Compact);
    }

    fn send_prompt(&mut self, prompt: SendPrompt, worker: &mut WorkerState) {
        let SendPrompt { name, words } = prompt;
        let typed = &worker.config.typed;
        typed.prompt(&self.commands.prompts, name, words);
    }

    fn is_busy(&self) -> bool {
        self.agent_loop.is_some()
    }

    fn stop(&mut self, stop: &Stop<'_>, worker: &mut WorkerState) -> Option<Instant> {
        if worker.life.is_working() {
            worker.note(&format!("stopping: {}", visible_line(stop.reason)));
        }
        self.inputs.send(Input::Stop {
            finish_at: stop.finish_at,
        });
        Some(stop.over_at)
    }

    /// Does not wait for the loop: work without a stored result counts as not done.
    fn end(&mut self, _why: &str, worker: &mut WorkerState) -> bool {
        // Send the calls that the loop has already made: they must precede the exit report.
        while let Ok(call) = self.calls.try_recv() {
            self.supervisor_calls.send(call, worker);
        }
        if let Some(agent_loop) = &self.agent_loop {
            agent_loop.abort();
        }
        true
    }

    async fn close(&mut self) {
        if let Some(agent_loop) = &self.agent_loop {
            agent_loop.abort();
            // Wait for the loop: the programs that it started must be terminated before this process exits.
            end_of(&mut self.agent_loop).await;
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.close().await;
        }
    }
}

/// Returns the next event of the terminal; waits forever without a terminal. Cancel-safe.
async fn next_of(terminal: &mut Option<OwnTerminal>) -> TerminalEvent {
    match terminal {
        Some(terminal) => terminal.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of the loop. Cancel-safe. Returns once; later calls wait forever.
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
