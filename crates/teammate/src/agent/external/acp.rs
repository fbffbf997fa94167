//! A session of an external agent over the Agent Client Protocol, version 1. Called by the loop of external agents.
//!
//! The agent is offered neither files nor terminals: it uses its own tools.

use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_team_protocol::spec::Steering;
use agent_team_system::process::ProcessId;
use agent_team_tools::program::{Program, ProgramEnd, describe_exit};
use agent_team_tools::tail::Tail;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::rpc::{Incoming, Responder, Rpc, RpcError, Tasks};
use super::wire::{
    Handshake, Modes, OpenedSession, PermissionAsked, PermissionOption, PromptEnd, SessionUpdate,
    StopReason, ToolCall, Updated, VERSION,
};

/// The time limit of the start: some programs look for updates first.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The number of bytes of the program's last errors that are kept for the user.
const TAIL_BYTES: usize = 1 << 10;

/// The time for which the exit of a program is awaited after the end of its output.
const EXIT_LIMIT: Duration = Duration::from_millis(500);

/// The time limit of the answer to a message during a turn. Afterwards, the message waits for the end of the turn.
const STEER_LIMIT: Duration = Duration::from_secs(30);

/// The time limit of the answer to a change of the mode.
const MODE_LIMIT: Duration = Duration::from_secs(10);

/// The number of times that an agent may leave the mode of its session after a prompt.
const MODE_CHANGES_MAX: u32 = 8;

/// The code of the error that a session needs a login.
const LOGIN_REQUIRED: i64 = -32000;

const METHOD_NOT_FOUND: i64 = -32601;

const INVALID_PARAMS: i64 = -32602;

/// Qwen's request for messages between two calls of a turn.
const DRAIN: &str = "craft/drainMidTurnQueue";

const STEER: &str = "_session/steering";

/// How to start an agent.
pub(super) struct AcpProgram {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) cwd: PathBuf,
    /// The command that connects the agent to its team's tools.
    pub(super) team_tools: Vec<OsString>,
}

/// A message or request of the agent.
pub(super) enum AcpEvent {
    Update(SessionUpdate),
    Permission(PermissionQuestion),
    /// The agent asks for messages that have arrived during the turn.
    Drain(DrainQuestion),
    /// The agent left the mode of its session, and the mode could not be set again. For the user.
    LeftMode(String),
    /// The program has exited, or closed the connection. For the user.
    Closed(String),
}

/// Whether the agent may execute a call. Dropping it answers that the user has cancelled.
pub(super) struct PermissionQuestion {
    pub(super) call: ToolCall,
    options: Vec<PermissionOption>,
    /// `None` once the question is answered.
    responder: Option<Responder>,
}

impl Drop for PermissionQuestion {
    fn drop(&mut self) {
        self.respond(&json!({ "outcome": "cancelled" }));
    }
}

impl PermissionQuestion {
    /// Completes when the agent withdraws the question. Can be taken once.
    pub(super) fn take_withdrawn(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let withdrawn = self.responder.as_mut().map(Responder::take_cancelled);
        async move {
            match withdrawn {
                Some(withdrawn) => withdrawn.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Allows or denies this one call. Never chooses an option that changes the agent's own rules.
    pub(super) fn answer(mut self, is_allowed: bool) {
        let kind = match is_allowed {
            true => "allow_once",
            false => "reject_once",
        };
        let option = self.options.iter().find(|option| option.kind == kind);
        let outcome = match option {
            Some(option) => json!({ "outcome": "selected", "optionId": option.option_id }),
            None => json!({ "outcome": "cancelled" }),
        };
        self.respond(&outcome);
    }

    fn respond(&mut self, outcome: &Value) {
        if let Some(responder) = self.responder.take() {
            responder.answer(json!({ "outcome": outcome }));
        }
    }
}

pub(super) struct DrainQuestion(Responder);

impl DrainQuestion {
    pub(super) fn answer(self, messages: &[String]) {
        self.0
            .answer(json!({ "messages": messages, "hasQueuedPrompt": false }));
    }
}

/// Why an agent cannot be used.
#[derive(Debug)]
pub(super) enum AcpError {
    /// The user must log in first. The text names the ways to do so.
    Login(String),
    Other(String),
}

impl From<RpcError> for AcpError {
    fn from(error: RpcError) -> Self {
        Self::Other(error.to_string())
    }
}

/// How a session was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    New,
    Resumed,
}

/// A running agent, and its session. Dropping it kills the program and every process that it started.
pub(super) struct Acp {
    rpc: Rpc,
    incoming: mpsc::Receiver<Incoming>,
    _tasks: Tasks,
    program: RunningProgram,
    session: String,
    /// The mode that the session was set to.
    mode: Option<String>,
    /// How often the agent has left the mode since the last prompt.
    mode_changes: u32,
    /// Requests to set the mode again.
    mode_requests: JoinSet<Result<(), String>>,
    /// The agent declares the request `_session/steering`.
    steers: bool,
    /// Such as `Gemini CLI 0.61.0`.
    pub(super) description: String,
}

impl Acp {
    /// Starts the program. [`Acp::open`] must follow. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(super) fn start(program: &AcpProgram) -> std::io::Result<Self> {
        let (running, stdin, stdout) = Program::start_with_stdio(
            program.program.clone(),
            program.args.iter().map(OsString::from).collect(),
            program.env.clone(),
            program.cwd.clone(),
        )?;
        let (rpc, incoming, tasks) = Rpc::connect(stdin, stdout);
        Ok(Self {
            rpc,
            incoming,
            _tasks: tasks,
            program: RunningProgram::watch(running),
            session: String::new(),
            mode: None,
            mode_changes: 0,
            mode_requests: JoinSet::new(),
            steers: false,
            description: String::new(),
        })
    }

    /// The process of the program, if it has not ended.
    pub(super) fn process(&self) -> Option<ProcessId> {
        self.program.process
    }

    /// Opens a session: the earlier session, if the agent still has it. `mode`: the mode that the session is set to.
    ///
    /// # Errors
    /// If the agent cannot be used.
    pub(super) async fn open(
        &mut self,
        program: &AcpProgram,
        earlier: Option<String>,
        mode: Option<&str>,
    ) -> Result<Opened, AcpError> {
        let opened = self.open_session(program, earlier, mode);
        let opened = match tokio::time::timeout(START_LIMIT, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(AcpError::Other(format!(
                "no session within {} s",
                START_LIMIT.as_secs()
            ))),
        };
        match opened {
            Err(AcpError::Other(why)) => {
                // The last errors explain more than a closed connection.
                self.program.stop().await;
                Err(AcpError::Other(self.program.with_last_line(why)))
            }
            opened => opened,
        }
    }

    pub(super) fn session(&self) -> String {
        self.session.clone()
    }

    /// The next message of the agent that concerns the loop. Cancel-safe.
    pub(super) async fn next(&mut self) -> AcpEvent {
        loop {
            let incoming = tokio::select! {
                biased;
                Some(Ok(set)) = self.mode_requests.join_next() => match set {
                    Ok(()) => continue,
                    Err(why) => return AcpEvent::LeftMode(why),
                },
                incoming = self.incoming.recv() => incoming,
                // An escaped process can hold the output open. The last messages are read within the limit.
                () = self.program.ended() => {
                    let last = tokio::time::timeout(EXIT_LIMIT, self.incoming.recv()).await;
                    last.ok().flatten()
                }
            };
            let Some(incoming) = incoming else {
                return AcpEvent::Closed(self.program.exit_within(EXIT_LIMIT).await);
            };
            if let Some(event) = self.event(incoming) {
                return event;
            }
        }
    }

    /// A message that has already arrived.
    pub(super) fn try_next(&mut self) -> Option<AcpEvent> {
        while let Ok(incoming) = self.incoming.try_recv() {
            if let Some(event) = self.event(incoming) {
                return Some(event);
            }
        }
        None
    }

    /// Sends a prompt. The future completes at the end of the turn.
    ///
    /// # Errors
    /// The agent's refusal, or the end of the connection.
    pub(super) fn prompt(
        &mut self,
        text: &str,
    ) -> impl Future<Output = Result<StopReason, RpcError>> + Send + use<> {
        self.mode_changes = 0;
        let params = json!({
            "sessionId": self.session,
            "prompt": [{ "type": "text", "text": text }],
        });
        let answer = self.rpc.request("session/prompt", params);
        async move {
            let end: Result<PromptEnd, _> = parse(answer.await?);
            match end {
                Ok(end) => Ok(end.stop_reason),
                Err(text) => Err(RpcError::Refused { code: 0, text }),
            }
        }
    }

    /// Whether a message can be added to the running turn in this way.
    pub(super) fn steers(&self, steering: Steering) -> bool {
        match steering {
            Steering::Declared => self.steers,
            Steering::Prompt => true,
            // With `Drain`, the agent asks for messages.
            Steering::Drain | Steering::AfterTurn => false,
        }
    }

    /// Adds a message to the running turn. The future returns whether the agent has accepted it.
    pub(super) fn steer(
        &mut self,
        text: &str,
        steering: Steering,
    ) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        if steering == Steering::Prompt {
            let prompt = self.prompt(text);
            return Box::pin(async move { prompt.await.is_ok() });
        }
        let params = json!({
            "sessionId": self.session,
            "prompt": [{ "type": "text", "text": text }],
            "_meta": { "steering": { "idleBehavior": "promptRequired" } },
        });
        let answer = self.rpc.request(STEER, params);
        Box::pin(async move {
            match tokio::time::timeout(STEER_LIMIT, answer).await {
                Ok(Ok(answer)) => {
                    answer["outcome"] == "injected" || answer["outcome"] == "startedNewTurn"
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the agent refused a message during its turn");
                    false
                }
                Err(_) => {
                    tracing::debug!("the agent did not answer to a message during its turn");
                    false
                }
            }
        })
    }

    /// Asks the agent to end its turn.
    pub(super) fn cancel(&self) {
        let params = json!({ "sessionId": self.session });
        self.rpc.notify("session/cancel", params);
    }

    /// Terminates the program: TERM, then KILL.
    pub(super) async fn stop(&mut self) {
        self.program.stop().await;
        // An escaped process can hold the pipes open.
        self.rpc.close();
    }

    async fn open_session(
        &mut self,
        program: &AcpProgram,
        earlier: Option<String>,
        mode: Option<&str>,
    ) -> Result<Opened, AcpError> {
        let client = json!({ "name": "agent-team", "version": env!("CARGO_PKG_VERSION") });
        let capabilities = json!({ "fs": { "readTextFile": false, "writeTextFile": false } });
        let params = json!({
            "protocolVersion": VERSION,
            "clientInfo": client,
            "clientCapabilities": capabilities,
        });
        let answer = self.request("initialize", params).await?;
        let handshake: Handshake = parse(answer).map_err(AcpError::Other)?;
        if handshake.protocol_version != VERSION {
            return Err(AcpError::Other(format!(
                "it speaks version {} of the Agent Client Protocol, not version {VERSION}",
                handshake.protocol_version
            )));
        }
        let capabilities = &handshake.agent_capabilities.meta;
        self.steers = [capabilities, &handshake.meta]
            .iter()
            .any(|meta| meta["steering"]["supported"] == true);
        self.description = match &handshake.agent_info {
            Some(info) => format!("{} {}", info.name, info.version),
            None => "an unnamed agent".to_owned(),
        };
        let servers = team_server(&program.team_tools);
        let reopened = match earlier {
            Some(id) => self.reopen(&handshake, id, program, &servers).await,
            None => None,
        };
        let (modes, opened) = match reopened {
            Some(modes) => (modes, Opened::Resumed),
            None => {
                let params = json!({ "cwd": program.cwd, "mcpServers": servers });
                let answer = self.request("session/new", params).await;
                let answer = answer.map_err(|error| match error {
                    RpcError::Refused { code, .. } if code == LOGIN_REQUIRED => {
                        let methods = handshake.auth_methods.iter();
                        let methods: Vec<_> = methods.map(|it| it.name.as_str()).collect();
                        AcpError::Login(methods.join(", "))
                    }
                    RpcError::Refused { .. } | RpcError::Closed => AcpError::from(error),
                })?;
                let session: OpenedSession = parse(answer).map_err(AcpError::Other)?;
                self.session = session.session_id;
                (session.modes, Opened::New)
            }
        };
        self.set_mode(modes, mode).await?;
        Ok(opened)
    }

    /// Opens an earlier session, and returns its modes. `None`: the agent cannot do this, or no longer has the session.
    async fn reopen(
        &mut self,
        handshake: &Handshake,
        id: String,
        program: &AcpProgram,
        servers: &Value,
    ) -> Option<Option<Modes>> {
        let capabilities = &handshake.agent_capabilities;
        let method = match (
            &capabilities.session_capabilities.resume,
            capabilities.load_session,
        ) {
            (Some(_), _) => "session/resume",
            (None, true) => "session/load",
            (None, false) => return None,
        };
        let params = json!({ "sessionId": id, "cwd": program.cwd, "mcpServers": servers });
        match self.request(method, params).await {
            Ok(answer) => {
                self.session = id;
                let session: OpenedSession = parse(answer).unwrap_or_default();
                Some(session.modes)
            }
            Err(error) => {
                tracing::info!(%error, "the agent does not have the earlier session");
                None
            }
        }
    }

    /// Sets the mode of the session. An agent in another mode could act without asking.
    async fn set_mode(&mut self, modes: Option<Modes>, mode: Option<&str>) -> Result<(), AcpError> {
        let Some(mode) = mode else {
            return Ok(());
        };
        // The answer to a resumed session may omit the modes.
        if let Some(modes) = modes {
            let offered = modes.available_modes.iter();
            let offered: Vec<_> = offered.map(|it| it.id.as_str()).collect();
            if !offered.contains(&mode) {
                return Err(AcpError::Other(format!(
                    "it does not offer the mode {mode}; its modes: {}",
                    offered.join(", ")
                )));
            }
        }
        self.mode = Some(mode.to_owned());
        let set = self
            .request("session/set_mode", self.mode_params(mode))
            .await;
        set.map(drop)
            .map_err(|error| AcpError::Other(format!("cannot set its mode: {error}")))
    }

    fn mode_params(&self, mode: &str) -> Value {
        json!({ "sessionId": self.session, "modeId": mode })
    }

    /// Sets the mode again if the agent has left it. Returns an event if it leaves the mode too often.
    fn keep_mode(&mut self, current: &str) -> Option<AcpEvent> {
        let mode = self.mode.as_deref().filter(|mode| *mode != current)?;
        self.mode_changes += 1;
        if self.mode_changes > MODE_CHANGES_MAX {
            return Some(AcpEvent::LeftMode(format!(
                "it has left the mode {mode} {} times",
                self.mode_changes
            )));
        }
        let params = self.mode_params(mode);
        let set = self.rpc.request("session/set_mode", params);
        let failed =
            format!("it has left the mode {mode} for {current}, and the mode cannot be set again");
        self.mode_requests.spawn(async move {
            match tokio::time::timeout(MODE_LIMIT, set).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("{failed}: {error}")),
                Err(_) => Err(format!("{failed} within {} s", MODE_LIMIT.as_secs())),
            }
        });
        None
    }

    /// Sends a request of the start. Drops the messages that arrive before the answer: a resumed session repeats its
    /// history.
    async fn request(&mut self, method: &str, params: Value) -> Result<Value, RpcError> {
        let mut answer = std::pin::pin!(self.rpc.request(method, params));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                Some(history) = self.incoming.recv() => drop(history),
            }
        }
    }

    /// The event of a message. `None`: it does not concern the loop, and is answered if it is a request.
    fn event(&mut self, incoming: Incoming) -> Option<AcpEvent> {
        let Incoming {
            method,
            params,
            responder,
            ..
        } = incoming;
        match (method.as_str(), responder) {
            ("session/update", None) => {
                let updated: Updated = parse(params).ok()?;
                if let SessionUpdate::CurrentModeUpdate { current_mode_id } = &updated.update {
                    return self.keep_mode(current_mode_id);
                }
                Some(AcpEvent::Update(updated.update))
            }
            ("session/request_permission", Some(responder)) => {
                let Ok(asked) = parse::<PermissionAsked>(params) else {
                    responder.refuse(INVALID_PARAMS, "invalid parameters");
                    return None;
                };
                Some(AcpEvent::Permission(PermissionQuestion {
                    call: asked.tool_call,
                    options: asked.options,
                    responder: Some(responder),
                }))
            }
            (DRAIN, Some(responder)) => Some(AcpEvent::Drain(DrainQuestion(responder))),
            (_, Some(responder)) => {
                responder.refuse(METHOD_NOT_FOUND, "this client does not offer the method");
                None
            }
            (_, None) => None,
        }
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("it sent an invalid message: {error}"))
}

/// The member's team tools as an MCP server, which the agent starts.
fn team_server(command: &[OsString]) -> Value {
    let Some((program, args)) = command.split_first() else {
        return json!([]);
    };
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let program = program.to_string_lossy();
    json!([{ "name": "team", "command": program, "args": args, "env": [] }])
}

/// The program, which a task follows to its exit. Dropping it kills the program.
struct RunningProgram {
    process: Option<ProcessId>,
    stop: watch::Sender<bool>,
    /// Returns how the program ended, for the user.
    following: JoinHandle<String>,
    /// What `following` returned.
    exit: Option<String>,
    errors: Arc<Mutex<Tail>>,
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl RunningProgram {
    fn watch(mut running: Program) -> Self {
        let process = running.process();
        let (stop, mut stopped) = watch::channel(false);
        let errors = Arc::new(Mutex::new(Tail::new(TAIL_BYTES)));
        let of_program = Arc::clone(&errors);
        let following = tokio::spawn(async move {
            let stop = async move {
                let _stop = stopped.wait_for(|stop| *stop).await;
            };
            let ended = running
                .finish(None, stop, |bytes| {
                    let mut errors = of_program.lock().unwrap_or_else(PoisonError::into_inner);
                    errors.push(&String::from_utf8_lossy(bytes));
                })
                .await;
            match ended {
                Ok(ProgramEnd::Exited(status)) => describe_exit(status),
                Ok(ProgramEnd::Stopped | ProgramEnd::TimedOut(_) | ProgramEnd::Exceeded(_)) => {
                    "stopped".to_owned()
                }
                Err(error) => error.to_string(),
            }
        });
        Self {
            process,
            stop,
            following,
            exit: None,
            errors,
        }
    }

    /// Completes when the program and its processes have ended. Cancel-safe.
    async fn ended(&mut self) {
        if self.exit.is_none() {
            let exit = (&mut self.following).await;
            self.exit = Some(exit.unwrap_or_else(|error| error.to_string()));
        }
    }

    /// Terminates the program.
    async fn stop(&mut self) {
        let _ended = self.stop.send(true);
        self.ended().await;
    }

    /// Waits this long for the exit, and returns why the connection has ended.
    async fn exit_within(&mut self, limit: Duration) -> String {
        let _elapsed = tokio::time::timeout(limit, self.ended()).await;
        let why = self.exit.as_deref().unwrap_or("it has closed its output");
        self.with_last_line(why.to_owned())
    }

    /// Adds the last line of the program's errors.
    fn with_last_line(&self, why: String) -> String {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        match errors.text().trim().lines().last() {
            Some(last) => format!("{why}: {last}"),
            None => why,
        }
    }
}
