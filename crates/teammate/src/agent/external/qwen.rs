//! Qwen Code in its own terminal interface, with its dual output and its hooks as the side channel. Called by the loop of
//! external agents.
//!
//! ```text
//! worker ── input file: prompts, messages, answers to dialogs ──► Qwen Code
//!   ▲ ▲◄── output pipe: prompts taken, text, calls, dialogs ─────────┤
//!   │ └─── hooks: session, prompts taken, calls, ends of turns ──────┘
//!   └───── the record of the session: messages that joined the end of a turn
//! ```
//! The worker types nothing and reads no screen. The output does not report the end of a turn. The hooks `Stop` and
//! `StopFailure` report it, and `Notification` reports that Qwen Code is idle, for example after Esc. Qwen Code takes a
//! submitted text within half a second. If the user ends the turn before Qwen Code has taken a text, the text returns
//! to its prompt line.
//!
//! A call whose hook cannot reach the worker is blocked. `calls` lists the tools that need no decision.

mod calls;
mod files;
mod open_calls;
mod settings;
mod turn;
mod turns;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::external::QWEN_TESTED;
use agent_team_system::process::ProcessId;
use agent_team_system::socket::Listener;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::files::{ChannelDirectory, CommandFile, EventPipe};
use self::open_calls::{Confirmation, OpenCalls, ReportedCall, Verdict};
use self::settings::Files;
use self::turn::{SentKind, SentText, Turn};
use super::Sockets;
use super::agent_socket::AgentSocket;
use super::channel::{
    AgentProgram, BoxFuture, Event, OpenError, Opened, SideChannel, TurnError, why_unusable,
};
use super::hook_socket::{self, HookCall, HookEvent};
use super::hooks::{SessionToOpen, invalid};
use super::terminal::{RunningTerminal, TerminalHandle};
use super::version::{check, version_of};
use super::wire::{ContentBlock, PromptEnd, SessionUpdate, StopReason};
use crate::timer::sleep_until;

/// The time limit of the start. The user may have to answer dialogs first: to connect a provider of models, or to trust the
/// directory.
const START_LIMIT: Duration = Duration::from_secs(600);

/// How long to wait for the exit of the program after the end of its events.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// The mode of a session if its start names no mode.
const MODE: &str = "default";

/// The events of the hooks, and the texts that their inputs must have.
const EVENTS: &[(&str, &[&str])] = &[
    ("SessionStart", &["session_id"]),
    ("UserPromptSubmit", &["prompt"]),
    ("PreToolUse", &["tool_name"]),
    ("PermissionRequest", &["tool_name"]),
    ("Stop", &[]),
    ("StopFailure", &[]),
    ("Notification", &["notification_type"]),
];

pub(super) struct Qwen {
    terminal: RunningTerminal,
    hooks: mpsc::UnboundedReceiver<HookEvent>,
    events: EventPipe,
    commands: CommandFile,
    verdicts: mpsc::UnboundedReceiver<(u64, Verdict)>,
    _hook_socket: AgentSocket,
    _directory: ChannelDirectory,
    /// The session with which the program was started, until the program has opened the session.
    starting: Option<SessionToOpen>,
    session: String,
    description: String,
    /// The record of the session.
    record: PathBuf,
    /// Events that the loop has not received yet.
    ready: VecDeque<Event>,
    /// Texts that Qwen Code has not taken yet.
    sent: Vec<SentText>,
    turn: Option<Turn>,
    calls: OpenCalls,
    /// The reasons of denials. The worker submits them to Qwen Code as a message.
    reasons: Vec<String>,
    /// The loop has asked for the end of the turn.
    is_cancelled: bool,
    /// The last turn has ended, and Qwen Code has not reported since then that it is idle.
    awaits_idle: bool,
}

impl Qwen {
    /// Starts the program with this session, or with a new one.
    pub(super) async fn start(
        terminal: &TerminalHandle,
        program: &AgentProgram,
        hook: &Path,
        sockets: &Sockets,
        earlier: Option<&str>,
    ) -> std::io::Result<Self> {
        let session = SessionToOpen::of(earlier);
        let (path, mut env, cwd) = (&program.program, program.env.clone(), &program.cwd);
        let version = version_of(path.clone(), env.clone(), cwd.clone()).await;
        let warning = check(version.as_deref(), QWEN_TESTED, "set engine = \"qwen\"")?;
        let defaults = settings::defaults(&env, hook, &sockets.hooks)?;
        let directory = ChannelDirectory::create(&sockets.files, &defaults)?;
        env.retain(|(name, _)| name != settings::DEFAULTS);
        env.push((settings::DEFAULTS.into(), directory.settings().into()));
        let mode = program.mode.as_deref().unwrap_or(MODE);
        let mut command = vec![path.to_string_lossy().into_owned()];
        command.extend(program.args.iter().cloned());
        let files = Files {
            output: &directory.events(),
            input: &directory.commands(),
        };
        let (tools, rules) = (&program.team_tools, &program.rules);
        command.extend(settings::arguments(&session, &files, tools, mode, rules));
        // Open the pipe and bind before the start: the first hook runs at once.
        let events = EventPipe::open(&directory.events())?;
        let commands = CommandFile::open(&directory.commands())?;
        let listener = Listener::bind_own(&sockets.hooks)?;
        let terminal = terminal.start(command, env, true).await?;
        let agent = terminal.process();
        let agent = agent.ok_or_else(|| std::io::Error::other("it has exited"))?;
        let (hook_socket, hooks) = hook_socket::open(listener, &sockets.hooks, agent);
        let (verdict_sender, verdicts) = mpsc::unbounded_channel();
        let version = version.as_deref().unwrap_or("of an unknown version");
        Ok(Self {
            terminal,
            hooks,
            events,
            commands,
            verdicts,
            _hook_socket: hook_socket,
            _directory: directory,
            session: session.id().to_owned(),
            starting: Some(session),
            description: format!("Qwen Code {version}"),
            record: PathBuf::new(),
            ready: warning.map(Event::Notice).into_iter().collect(),
            sent: Vec::new(),
            turn: None,
            calls: OpenCalls::new(verdict_sender),
            reasons: Vec::new(),
            is_cancelled: false,
            awaits_idle: false,
        })
    }

    /// Waits until the program has opened its session.
    async fn open_session(&mut self) -> Result<Opened, OpenError> {
        let is_resumed = matches!(self.starting, Some(SessionToOpen::Earlier(_)));
        while self.starting.is_some() {
            if let Some(why) = why_unusable(&self.ready) {
                return Err(OpenError::Other(why));
            }
            tokio::select! {
                biased;
                event = self.events.next() => match event {
                    Ok(event) => self.reported(&event),
                    Err(error) => return Err(OpenError::Other(error.to_string())),
                },
                Some(event) = self.hooks.recv() => self.hook_event(event),
                why = self.terminal.ended() => return Err(match is_resumed {
                    true => OpenError::SessionLost(why),
                    false => OpenError::Other(why),
                }),
            }
        }
        Ok(match is_resumed {
            true => Opened::Resumed,
            false => Opened::New,
        })
    }

    fn hook_event(&mut self, event: HookEvent) {
        let hook = match event {
            HookEvent::Called(hook) => hook,
            HookEvent::Gone(connection) => return self.calls.gone(connection),
        };
        if let Some(why) = invalid(&hook.input, EVENTS) {
            // A call that must not be executed without an answer is blocked.
            hook.answer_nothing();
            return self.ready.push_back(Event::Unusable(why));
        }
        let input = &hook.input;
        let text = |field: &str| text(&input[field]).to_owned();
        if let Some(record) = input["transcript_path"].as_str() {
            self.record = PathBuf::from(record);
        }
        match &*text("hook_event_name") {
            "SessionStart" => self.session_started(text("session_id")),
            "UserPromptSubmit" => self.prompted(&text("prompt"), text("timestamp")),
            "PermissionRequest" => return self.call(hook, OpenCalls::requested),
            "PreToolUse" => return self.call(hook, OpenCalls::begins),
            "Stop" => self.stopped(input),
            "StopFailure" => {
                let why = match text("error_details") {
                    why if why.is_empty() => text("error"),
                    why => why,
                };
                self.failed(&why);
            }
            "Notification" if input["notification_type"] == "idle_prompt" => {
                self.idle(&text("timestamp"));
            }
            _ => {}
        }
        hook.pass();
    }

    /// Handles a hook about a call.
    fn call(
        &mut self,
        hook: HookCall,
        handle: fn(
            &mut OpenCalls,
            ReportedCall,
            HookCall,
            bool,
        ) -> Option<super::channel::PermissionQuestion>,
    ) {
        let input = &hook.input;
        let is_helper = !text(&input["agent_id"]).is_empty();
        let reported = ReportedCall {
            id: text(&input["tool_call_id"]).to_owned(),
            tool: text(&input["tool_name"]).to_owned(),
            input: input["tool_input"].clone(),
            is_helper,
        };
        if self.turn.is_none() && !is_helper {
            self.turn_began(String::new());
        }
        let question = handle(&mut self.calls, reported, hook, self.is_cancelled);
        self.ready.extend(question.map(Event::Permission));
    }

    fn session_started(&mut self, id: String) {
        let is_new = id != self.session && !id.is_empty();
        if is_new {
            self.session.clone_from(&id);
        }
        if self.starting.take().is_none() && is_new {
            self.ready.push_back(Event::Session(id));
            self.finish(Ok(StopReason::Interrupted));
        }
    }

    /// Handles an event of the output.
    fn reported(&mut self, event: &Value) {
        if !event["parent_tool_use_id"].is_null() {
            // The event belongs to a helper.
            return;
        }
        match text(&event["type"]) {
            "system" if event["subtype"] == "session_start" => self.events.close_own_writer(),
            "user" => self.user_reported(&event["message"]["content"]),
            "assistant" => self.answer_reported(&event["message"]),
            "stream_event" => self.streamed(&event["event"]),
            "control_request" => {
                let request = &event["request"];
                let reported = ReportedCall {
                    id: text(&request["tool_use_id"]).to_owned(),
                    tool: text(&request["tool_name"]).to_owned(),
                    input: request["input"].clone(),
                    is_helper: false,
                };
                let id = text(&event["request_id"]).to_owned();
                if request["subtype"] == "can_use_tool"
                    && (id.is_empty() || reported.tool.is_empty())
                {
                    let why = "it sent an invalid message: a dialog without its request or tool";
                    return self.ready.push_back(Event::Unusable(why.to_owned()));
                }
                if calls::is_dialog(&reported.tool) {
                    let line = "Qwen Code asks you in its own dialog".to_owned();
                    self.ready.push_back(Event::Notice(line));
                }
                let (question, confirmation) = self.calls.dialog_opened(id, reported);
                self.ready.extend(question.map(Event::Permission));
                self.confirm(confirmation);
            }
            "control_response" => {
                let response = &event["response"];
                if let Some(allowed) = response["response"]["allowed"].as_bool() {
                    let id = text(&response["request_id"]);
                    let contradiction = self.calls.dialog_closed(id, allowed);
                    self.contradicted(contradiction);
                }
            }
            _ => {}
        }
    }

    fn user_reported(&mut self, content: &Value) {
        let blocks = content.as_array().into_iter().flatten();
        let mut texts = Vec::new();
        for block in blocks {
            match text(&block["type"]) {
                "tool_result" => {
                    let id = text(&block["tool_use_id"]);
                    self.calls.ended(id);
                    self.update(SessionUpdate::ToolCallUpdate(calls::ended(id, block)));
                }
                "text" => texts.push(text(&block["text"])),
                _ => {}
            }
        }
        if !texts.is_empty() {
            self.submitted(&texts.join("\n"));
        }
    }

    fn answer_reported(&mut self, message: &Value) {
        for block in message["content"].as_array().into_iter().flatten() {
            if block["type"] != "tool_use" {
                continue;
            }
            let (id, tool) = (text(&block["id"]), text(&block["name"]));
            self.update(SessionUpdate::ToolCall(calls::call(
                id,
                tool,
                &block["input"],
                Path::new(""),
            )));
            self.calls.announced(ReportedCall {
                id: id.to_owned(),
                tool: tool.to_owned(),
                input: block["input"].clone(),
                is_helper: false,
            });
        }
        let usage = &message["usage"];
        let tokens = json!({
            "inputTokens": usage["input_tokens"],
            "outputTokens": usage["output_tokens"],
            "totalTokens": usage["total_tokens"],
            "cachedReadTokens": usage["cache_read_input_tokens"],
        });
        self.update(SessionUpdate::AgentMessageChunk {
            content: ContentBlock::Other,
            meta: json!({ "usage": tokens }),
        });
        self.answered();
    }

    fn streamed(&mut self, event: &Value) {
        let delta = &event["delta"];
        let content = |field: &str| ContentBlock::Text {
            text: text(&delta[field]).to_owned(),
        };
        match (text(&event["type"]), text(&delta["type"])) {
            ("message_start", _) => self.answers(),
            ("content_block_delta", "text_delta") => {
                self.update(SessionUpdate::AgentMessageChunk {
                    content: content("text"),
                    meta: Value::Null,
                });
            }
            ("content_block_delta", "thinking_delta") => {
                self.update(SessionUpdate::AgentThoughtChunk {
                    content: content("thinking"),
                });
            }
            _ => {}
        }
    }

    /// Shows a line about a decision that the user has contradicted.
    fn contradicted(&mut self, line: Option<&'static str>) {
        self.ready
            .extend(line.map(|line| Event::Notice(line.to_owned())));
    }

    fn update(&mut self, update: SessionUpdate) {
        self.ready.push_back(Event::Update(update));
    }

    /// Answers a dialog.
    fn confirm(&mut self, confirmation: Option<Confirmation>) {
        let Some(confirmation) = confirmation else {
            return;
        };
        self.reasons.extend(confirmation.reason);
        let written = self
            .commands
            .confirm(&confirmation.request, confirmation.allowed);
        self.written(written);
    }

    fn submit(&mut self, text: &str, kind: SentKind) {
        let text = settings::message(text);
        let written = self.commands.submit(&text);
        self.sent.push(SentText {
            text,
            kind,
            lost_at: None,
        });
        self.written(written);
    }

    fn written(&mut self, written: std::io::Result<()>) {
        if let Err(error) = written {
            let why = format!("its input file cannot be written: {error}");
            self.ready.push_back(Event::Unusable(why));
        }
    }
}

impl SideChannel for Qwen {
    fn process(&self) -> Option<ProcessId> {
        self.terminal.process()
    }

    fn start_limit(&self) -> Duration {
        START_LIMIT
    }

    fn has_rules(&self) -> bool {
        true
    }

    fn reports_acceptance(&self) -> bool {
        true
    }

    fn open<'a>(
        &'a mut self,
        _program: &'a AgentProgram,
        _earlier: Option<String>,
    ) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(self.open_session())
    }

    fn session(&self) -> &str {
        &self.session
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async {
            loop {
                if let Some(event) = self.ready.pop_front() {
                    return event;
                }
                let deadline = self.deadline();
                tokio::select! {
                    // A decision that has been made counts before a report of the user's answer, and a hook follows the
                    // events that Qwen Code has written before it.
                    biased;
                    Some((key, verdict)) = self.verdicts.recv() => {
                        let confirmation = self.calls.decided(key, verdict);
                        self.confirm(confirmation);
                    }
                    event = self.events.next() => match event {
                        Ok(event) => self.reported(&event),
                        Err(error) => {
                            let exited = tokio::time::timeout(EXIT_LIMIT, self.terminal.ended()).await;
                            return Event::Closed(exited.unwrap_or_else(|_| error.to_string()));
                        }
                    },
                    Some(event) = self.hooks.recv() => self.hook_event(event),
                    why = self.terminal.ended() => return Event::Closed(why),
                    () = sleep_until(deadline) => self.overdue(Instant::now()),
                }
            }
        })
    }

    /// Handles no further events: they can begin the next turn.
    fn try_next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn prompt(&mut self, text: &str) -> BoxFuture<'static, Result<PromptEnd, TurnError>> {
        self.is_cancelled = false;
        let (end, ended) = oneshot::channel();
        self.submit(text, SentKind::Prompt(end));
        Box::pin(async move { ended.await.unwrap_or(Err(TurnError::Closed)) })
    }

    fn steers(&self) -> bool {
        true
    }

    fn steer(&mut self, text: &str) -> BoxFuture<'static, bool> {
        let (taken, is_taken) = oneshot::channel();
        self.submit(text, SentKind::Message(taken));
        Box::pin(async move { is_taken.await.unwrap_or(false) })
    }

    /// Requests the end of the turn, which the denial of a dialog causes: of the open dialog, or of a dialog that the
    /// next call opens.
    fn cancel(&mut self) {
        self.is_cancelled = true;
    }

    /// Returns no last line: the reason of the end already contains the last line of the screen.
    fn stop(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            self.terminal.stop().await;
            self.sent.clear();
            None
        })
    }
}

/// The text of a field. Empty if there is none.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
