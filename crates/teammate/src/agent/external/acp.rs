//! A session of an external agent over the Agent Client Protocol, version 1. Called by the loop of external agents.
//!
//! The agent is offered neither files nor terminals: it uses its own tools.

use std::ffi::OsString;
use std::time::Duration;

use agent_team_client::json_rpc::{Incoming, Responder, RpcError};
use agent_team_protocol::spec::Steering;
use agent_team_system::process::ProcessId;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::announced::Announced;
use super::channel::{
    AgentProgram, BoxFuture, Event, OpenError, Opened, PermissionAnswer, PermissionQuestion,
    SideChannel, TurnError, Withdrawn,
};
use super::connection::{Connection, parse};
use super::version::warning;
use super::wire::{
    Handshake, Modes, OpenedSession, PermissionAsked, PermissionOption, PromptEnd, SessionUpdate,
    Updated, VERSION,
};

/// The time limit for the agent's answer to a message during a turn. Afterwards, the message waits for the end of the
/// turn.
const STEER_LIMIT: Duration = Duration::from_secs(30);

/// The time limit for the agent's answer to a change of the mode.
const MODE_LIMIT: Duration = Duration::from_secs(10);

/// The number of times that an agent may leave the mode of its session after a prompt.
const MODE_CHANGES_MAX: u32 = 8;

/// The code of the error that a session needs a login.
pub(super) const LOGIN_REQUIRED: i64 = -32000;

const METHOD_NOT_FOUND: i64 = -32601;

const INVALID_PARAMS: i64 = -32602;

/// Qwen's request for messages between two calls of a turn.
const DRAIN: &str = "craft/drainMidTurnQueue";

const STEER: &str = "_session/steering";

/// A running agent, and its session.
pub(super) struct Acp {
    connection: Connection,
    steering: Steering,
    session: String,
    /// The mode to which the session was set. `None`: the agent's own mode.
    mode: Option<String>,
    /// How often the agent has left the mode since the last prompt.
    mode_changes: u32,
    /// Requests to set the mode again.
    mode_requests: JoinSet<Result<(), String>>,
    /// The fields that the agent has announced about its open calls.
    announced: Announced,
    /// The beginning of the titles of the agent's questions about the team's tools.
    team_titles: Option<&'static str>,
    /// The agent declares the request `_session/steering`.
    declares_steering: bool,
    description: String,
    warning: Option<String>,
}

impl SideChannel for Acp {
    fn process(&self) -> Option<ProcessId> {
        self.connection.process()
    }

    fn open<'a>(
        &'a mut self,
        program: &'a AgentProgram,
        earlier: Option<String>,
    ) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(self.open_session(program, earlier))
    }

    fn session(&self) -> &str {
        &self.session
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async {
            loop {
                let incoming = tokio::select! {
                    biased;
                    Some(Ok(set)) = self.mode_requests.join_next() => match set {
                        Ok(()) => continue,
                        Err(why) => return Event::Unusable(why),
                    },
                    incoming = self.connection.receive() => incoming,
                };
                match incoming {
                    Ok(incoming) => {
                        if let Some(event) = self.event(incoming) {
                            return event;
                        }
                    }
                    Err(why) => return Event::Closed(why),
                }
            }
        })
    }

    fn try_next(&mut self) -> Option<Event> {
        while let Some(incoming) = self.connection.try_receive() {
            if let Some(event) = self.event(incoming) {
                return Some(event);
            }
        }
        None
    }

    fn prompt(&mut self, text: &str) -> BoxFuture<'static, Result<PromptEnd, TurnError>> {
        self.mode_changes = 0;
        let params = json!({
            "sessionId": self.session,
            "prompt": [{ "type": "text", "text": text }],
        });
        let answer = self.connection.rpc.request("session/prompt", params);
        Box::pin(async move { parse(answer.await?).map_err(TurnError::Failed) })
    }

    fn steers(&self) -> bool {
        match self.steering {
            Steering::Declared => self.declares_steering,
            Steering::Prompt => true,
            // With `Drain`, the agent asks for messages.
            Steering::Drain | Steering::AfterTurn => false,
        }
    }

    fn steer(&mut self, text: &str) -> BoxFuture<'static, bool> {
        if self.steering == Steering::Prompt {
            let prompt = self.prompt(text);
            return Box::pin(async move { prompt.await.is_ok() });
        }
        let params = json!({
            "sessionId": self.session,
            "prompt": [{ "type": "text", "text": text }],
            "_meta": { "steering": { "idleBehavior": "promptRequired" } },
        });
        let answer = self.connection.rpc.request(STEER, params);
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

    fn cancel(&mut self) {
        let params = json!({ "sessionId": self.session });
        self.connection.rpc.notify("session/cancel", params);
    }

    fn stop(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(self.connection.stop())
    }
}

impl Acp {
    /// Starts the program. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(super) fn start(program: &AgentProgram) -> std::io::Result<Self> {
        Ok(Self {
            connection: Connection::start(program)?,
            steering: program.steering,
            session: String::new(),
            mode: None,
            mode_changes: 0,
            mode_requests: JoinSet::new(),
            announced: Announced::default(),
            team_titles: program.team_titles,
            declares_steering: false,
            description: String::new(),
            warning: None,
        })
    }

    async fn open_session(
        &mut self,
        program: &AgentProgram,
        earlier: Option<String>,
    ) -> Result<Opened, OpenError> {
        let params = initialize_params();
        let answer = self.connection.request("initialize", params).await?;
        let handshake: Handshake = parse(answer).map_err(OpenError::Other)?;
        if handshake.protocol_version != VERSION {
            return Err(OpenError::Other(format!(
                "it speaks version {} of the Agent Client Protocol, not version {VERSION}",
                handshake.protocol_version
            )));
        }
        self.declares_steering = handshake.declares_steering();
        self.description = match &handshake.agent_info {
            Some(info) => format!("{} {}", info.name, info.version),
            None => "an unnamed agent".to_owned(),
        };
        let version = handshake.agent_info.as_ref().map(|info| &*info.version);
        self.warning = program
            .tested
            .and_then(|tested| warning(version, [tested, tested]));
        let servers = team_server(&program.team_tools);
        let (modes, opened) = match earlier {
            None => (
                self.begin(&handshake, program, &servers).await?,
                Opened::New,
            ),
            Some(id) => match self.reopen(&handshake, id, program, &servers).await {
                Ok(modes) => (modes, Opened::Resumed),
                Err(why) => {
                    let modes = self.begin(&handshake, program, &servers).await?;
                    (modes, Opened::Lost(why))
                }
            },
        };
        self.set_mode(modes, program.mode.as_deref()).await?;
        Ok(opened)
    }

    /// Opens a new session, and returns its modes.
    async fn begin(
        &mut self,
        handshake: &Handshake,
        program: &AgentProgram,
        servers: &Value,
    ) -> Result<Option<Modes>, OpenError> {
        let params = session_params(program, servers);
        let answer = self.connection.request("session/new", params).await;
        let answer = answer.map_err(|error| match error {
            RpcError::Refused { code, .. } if code == LOGIN_REQUIRED => {
                let methods = handshake.auth_methods.iter();
                let methods: Vec<_> = methods.map(|it| it.offer()).collect();
                OpenError::Login(methods.join(", "))
            }
            RpcError::Refused { .. } | RpcError::Closed => OpenError::from(error),
        })?;
        let session: OpenedSession = parse(answer).map_err(OpenError::Other)?;
        self.session = session.session_id;
        Ok(session.modes)
    }

    /// Opens an earlier session, and returns its modes. The error states why the agent cannot continue the session.
    async fn reopen(
        &mut self,
        handshake: &Handshake,
        id: String,
        program: &AgentProgram,
        servers: &Value,
    ) -> Result<Option<Modes>, String> {
        let capabilities = &handshake.agent_capabilities;
        let method = match (
            &capabilities.session_capabilities.resume,
            capabilities.load_session,
        ) {
            (Some(_), _) => "session/resume",
            (None, true) => "session/load",
            (None, false) => return Err("it cannot resume sessions".to_owned()),
        };
        let mut params = session_params(program, servers);
        params["sessionId"] = json!(id);
        match self.connection.request(method, params).await {
            Ok(answer) => {
                self.session = id;
                let session: OpenedSession = parse(answer).unwrap_or_default();
                Ok(session.modes)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Sets the mode of the session. An agent in another mode could act without asking.
    async fn set_mode(
        &mut self,
        modes: Option<Modes>,
        mode: Option<&str>,
    ) -> Result<(), OpenError> {
        let Some(mode) = mode else {
            return Ok(());
        };
        // The answer to a resumed session may omit the modes.
        if let Some(modes) = modes {
            let offered = modes.available_modes.iter();
            let offered: Vec<_> = offered.map(|it| it.id.as_str()).collect();
            if !offered.contains(&mode) {
                return Err(OpenError::Other(format!(
                    "it does not offer the mode {mode}; its modes: {}",
                    offered.join(", ")
                )));
            }
        }
        self.mode = Some(mode.to_owned());
        let set = self
            .connection
            .request("session/set_mode", self.mode_params(mode))
            .await;
        set.map(drop)
            .map_err(|error| OpenError::Other(format!("cannot set its mode: {error}")))
    }

    fn mode_params(&self, mode: &str) -> Value {
        json!({ "sessionId": self.session, "modeId": mode })
    }

    /// Sets the mode again if the agent has left it. Returns an event if it leaves the mode too often.
    fn keep_mode(&mut self, current: &str) -> Option<Event> {
        let mode = self.mode.as_deref().filter(|mode| *mode != current)?;
        self.mode_changes += 1;
        if self.mode_changes > MODE_CHANGES_MAX {
            return Some(Event::Unusable(format!(
                "it has left the mode {mode} {} times",
                self.mode_changes
            )));
        }
        let params = self.mode_params(mode);
        let set = self.connection.rpc.request("session/set_mode", params);
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

    /// Converts a message of the agent to an event. `None`: the message does not concern the loop. If such a message is a
    /// request, this function has answered it.
    fn event(&mut self, incoming: Incoming) -> Option<Event> {
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
                if let SessionUpdate::ToolCall(call) | SessionUpdate::ToolCallUpdate(call) =
                    &updated.update
                {
                    self.announced.follow(call);
                }
                Some(Event::Update(updated.update))
            }
            ("session/request_permission", Some(responder)) => {
                let Ok(mut asked) = parse::<PermissionAsked>(params) else {
                    responder.refuse(INVALID_PARAMS, "invalid parameters");
                    return None;
                };
                // Compare the title in the question, not an announced title: the model may choose the text of an
                // announcement.
                if is_team_call(self.team_titles, asked.tool_call.title.as_deref()) {
                    question(asked, responder).answer(PermissionAnswer::Allow);
                    return None;
                }
                self.announced.complete(&mut asked.tool_call);
                Some(Event::Permission(question(asked, responder)))
            }
            (DRAIN, Some(responder)) => Some(Event::Drain(Box::new(|messages| {
                responder.answer(json!({ "messages": messages, "hasQueuedPrompt": false }));
            }))),
            (_, Some(responder)) => {
                responder.refuse(METHOD_NOT_FOUND, "this client does not offer the method");
                None
            }
            (_, None) => None,
        }
    }
}

/// Whether a question with this title is about one of the team's tools: after the beginning, the title contains only
/// the name of a tool.
fn is_team_call(team_titles: Option<&str>, title: Option<&str>) -> bool {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let rest = team_titles.and_then(|beginning| title?.strip_prefix(beginning));
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_name))
}

/// Creates a permission question. Its answer selects an option by kind, because ids and names differ between agents.
fn question(asked: PermissionAsked, mut responder: Responder) -> PermissionQuestion {
    let PermissionAsked { tool_call, options } = asked;
    let cancelled = responder.take_cancelled();
    let withdrawn = async move {
        cancelled.await;
        Withdrawn::Gone
    };
    PermissionQuestion::new(tool_call, withdrawn, move |answer| {
        let outcome = match chosen(&options, &answer) {
            Some(option) => json!({ "outcome": "selected", "optionId": option.option_id }),
            None => json!({ "outcome": "cancelled" }),
        };
        responder.answer(json!({ "outcome": outcome }));
    })
}

/// The option that concerns only this call, never an option that changes the agent's own rules.
fn chosen<'a>(
    options: &'a [PermissionOption],
    answer: &PermissionAnswer,
) -> Option<&'a PermissionOption> {
    let kind = match answer {
        PermissionAnswer::Allow => "allow_once",
        PermissionAnswer::Deny(_) => "reject_once",
        PermissionAnswer::Cancel => return None,
    };
    options.iter().find(|option| option.kind == kind)
}

/// The parameters of `initialize`.
pub(super) fn initialize_params() -> Value {
    json!({
        "protocolVersion": VERSION,
        "clientInfo": { "name": "agent-team", "version": env!("CARGO_PKG_VERSION") },
        "clientCapabilities": { "fs": { "readTextFile": false, "writeTextFile": false } },
    })
}

/// The parameters of the requests that open a session. `_meta` contains the rule by which Claude does not ask about
/// calls of the team's tools; other agents ignore this field.
fn session_params(program: &AgentProgram, servers: &Value) -> Value {
    json!({
        "cwd": program.cwd,
        "mcpServers": servers,
        "_meta": { "claudeCode": { "options": { "allowedTools": ["mcp__team"] } } },
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_call_has_a_title_of_exactly_its_tool() {
        let is_team_call = |title| is_team_call(Some("mcp__team__"), Some(title));
        assert!(is_team_call("mcp__team__complete_task"));
        for title in [
            "Bash",
            "mcp__team__",
            "mcp__team__a; rm b",
            "mcp__teams__a",
            "x mcp__team__a",
        ] {
            assert!(!is_team_call(title), "{title}");
        }
        assert!(!super::is_team_call(None, Some("mcp__team__a")));
        assert!(!super::is_team_call(Some("mcp__team__"), None));
    }
}
