//! Qwen Code in its own terminal interface, with its dual output and its hooks as the side channel. Called by the loop of
//! external agents.
//!
//! ```text
//! worker ── input file: prompts, messages, answers to dialogs ──► Qwen Code
//!   ▲ ▲◄── output pipe: prompts taken, text, calls, dialogs ─────────┤
//!   │ └─── hooks: session, prompts taken, calls, ends of turns ──────┘
//!   └───── the record of the session: messages that joined the end of a turn
//! ```
//! The worker types nothing and reads no screen. The output reports no end of a turn: the hooks `Stop` and `StopFailure` do,
//! and `Notification` reports that Qwen Code is idle, such as after Esc. Qwen Code takes a submitted text within half a
//! second; a text that it has not taken when the user ends the turn returns to its prompt line.
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

use self::files::{Directory, Input, Output};
use self::open_calls::{Confirmation, OpenCalls, Reported, Verdict};
use self::settings::Files;
use self::turn::{Sent, SentKind, Turn};
use super::Sockets;
use super::agent_socket::AgentSocket;
use super::channel::{AgentProgram, BoxFuture, Event, OpenError, Opened, SideChannel, TurnError};
use super::hook_door::{self, HookCall, HookEvent};
use super::hooks::Session;
use super::terminal::{RunningTerminal, TerminalHandle};
use super::version::{check, version_of};
use super::wire::{ContentBlock, PromptEnd, SessionUpdate, StopReason};
use crate::timer::sleep_until;

/// The time limit of the start. The user may have to answer dialogs first: to connect a provider of models, or to trust the
/// directory.
const START_LIMIT: Duration = Duration::from_secs(600);

/// The time for which the end of the program is awaited after the end of its events.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// The mode of a session if its start names no mode.
const MODE: &str = "default";

pub(super) struct Qwen {
    terminal: RunningTerminal,
    hooks: mpsc::UnboundedReceiver<HookEvent>,
    output: Output,
    input: Input,
    verdicts: mpsc::UnboundedReceiver<(u64, Verdict)>,
    _door: AgentSocket,
    _directory: Directory,
    /// The session that the program was started with, until the program has opened it.
    starting: Option<Session>,
    session: String,
    description: String,
    /// The record of the session.
    record: PathBuf,
    /// Events that the loop has not received yet.
    ready: VecDeque<Event>,
    /// Texts that Qwen Code has not taken yet.
    sent: Vec<Sent>,
    turn: Option<Turn>,
    calls: OpenCalls,
    /// The reasons of denials, which Qwen Code receives as a message.
    reasons: Vec<String>,
    /// The loop has asked for the end of the turn.
    is_cancelled: bool,
    /// The last turn has ended before Qwen Code has reported that it is idle.
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
        let session = Session::of(earlier);
        let (path, mut env, cwd) = (&program.program, program.env.clone(), &program.cwd);
        let version = version_of(path.clone(), env.clone(), cwd.clone()).await;
        let warning = check(version.as_deref(), QWEN_TESTED, "set engine = \"qwen\"")?;
        let defaults = settings::defaults(&env, hook, &sockets.hooks)?;
        let directory = Directory::create(&sockets.files, &defaults)?;
        env.retain(|(name, _)| name != settings::DEFAULTS);
        env.push((settings::DEFAULTS.into(), directory.settings().into()));
        let mode = program.mode.as_deref().unwrap_or(MODE);
        let mut command = vec![path.to_string_lossy().into_owned()];
        command.extend(program.args.iter().cloned());
        let files = Files {
            output: &directory.output(),
            input: &directory.input(),
        };
        let (tools, rules) = (&program.team_tools, &program.rules);
        command.extend(settings::arguments(&session, &files, tools, mode, rules));
        // Open the pipe and bind before the start: the first hook runs at once.
        let output = Output::open(&directory.output())?;
        let input = Input::open(&directory.input())?;
        let listener = Listener::bind_own(&sockets.hooks)?;
        let terminal = terminal.start(command, env, true).await?;
        let agent = terminal.process();
        let agent = agent.ok_or_else(|| std::io::Error::other("it has exited"))?;
        let (door, hooks) = hook_door::open(listener, &sockets.hooks, agent);
        let (verdict_sender, verdicts) = mpsc::unbounded_channel();
        let version = version.as_deref().unwrap_or("of an unknown version");
        Ok(Self {
            terminal,
            hooks,
            output,
            input,
            verdicts,
            _door: door,
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
        let is_resumed = matches!(self.starting, Some(Session::Earlier(_)));
        while self.starting.is_some() {
            tokio::select! {
                biased;
                event = self.output.next() => match event {
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
            Reported,
            HookCall,
            bool,
        ) -> Option<super::channel::PermissionQuestion>,
    ) {
        let input = &hook.input;
        let is_helper = !text(&input["agent_id"]).is_empty();
        let reported = Reported {
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
            // Of a helper.
            return;
        }
        match text(&event["type"]) {
            "system" if event["subtype"] == "session_start" => self.output.is_connected(),
            "user" => self.user_reported(&event["message"]["content"]),
            "assistant" => self.answer_reported(&event["message"]),
            "stream_event" => self.streamed(&event["event"]),
            "control_request" => {
                let request = &event["request"];
                let reported = Reported {
                    id: text(&request["tool_use_id"]).to_owned(),
                    tool: text(&request["tool_name"]).to_owned(),
                    input: request["input"].clone(),
                    is_helper: false,
                };
                if calls::is_dialog(&reported.tool) {
                    let line = "Qwen Code asks you in its own dialog".to_owned();
                    self.ready.push_back(Event::Notice(line));
                }
                let id = text(&event["request_id"]).to_owned();
                let (question, confirmation) = self.calls.dialog_opened(id, reported);
                self.ready.extend(question.map(Event::Permission));
                self.confirm(confirmation);
            }
            "control_response" => {
                let response = &event["response"];
                if let Some(allowed) = response["response"]["allowed"].as_bool() {
                    let id = text(&response["request_id"]);
                    self.calls.dialog_closed(id, allowed);
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
            )));
            self.calls.announced(Reported {
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
            .input
            .confirm(&confirmation.request, confirmation.allowed);
        self.written(written);
    }

    fn submit(&mut self, text: &str, kind: SentKind) {
        let text = settings::message(text);
        let written = self.input.submit(&text);
        self.sent.push(Sent {
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
                    // A hook follows the events that Qwen Code has written before it.
                    biased;
                    event = self.output.next() => match event {
                        Ok(event) => self.reported(&event),
                        Err(error) => {
                            let exited = tokio::time::timeout(EXIT_LIMIT, self.terminal.ended()).await;
                            return Event::Closed(exited.unwrap_or_else(|_| error.to_string()));
                        }
                    },
                    Some((key, verdict)) = self.verdicts.recv() => {
                        let confirmation = self.calls.decided(key, verdict);
                        self.confirm(confirmation);
                    }
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

    /// The denial of a dialog ends the turn: of the open one, or of one that the next call opens.
    fn cancel(&mut self) {
        self.is_cancelled = true;
    }

    /// The reason of the end contains the last line of the screen already.
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
