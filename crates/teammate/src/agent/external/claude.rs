//! Claude Code in its own terminal interface, with its hooks as the side channel. Called by the loop of external agents.
//!
//! ```text
//! SessionStart, UserPromptSubmit ──► a hook program waits for a message (mail) ◄── prompts, messages of the loop
//! UserPromptSubmit ──► a prompt was taken, or the user has begun a turn
//! PreToolUse ──► allowed or denied by a rule, or `ask` ──► dialog on the screen, and PermissionRequest
//! PermissionRequest ──► the decision of a client. The user may answer the dialog first: PostToolUse, or the end of the hook
//! Stop, StopFailure, a denied dialog, Esc ──► the end of the turn
//! ```
//! One hook program always waits for a message. It exits with the message, which starts a turn or joins the running
//! turn; `UserPromptSubmit` then starts the next waiting hook program. The worker types nothing and reads no screen.
//! Esc calls no hook. Therefore, during a turn, the worker reads the end of the conversation's file, where Claude Code
//! records the interruption.
//!
//! A call whose hook cannot reach the worker is blocked. `calls` lists the tools that need no decision.

mod calls;
mod open_calls;
mod settings;

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::external::CLAUDE_TESTED;
use agent_team_protocol::text::visible_line;
use agent_team_system::process::ProcessId;
use agent_team_system::socket::Listener;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use self::open_calls::{OpenCalls, Verdict};
use super::agent_socket::AgentSocket;
use super::channel::{
    AgentProgram, Began, BoxFuture, Event, OpenError, Opened, SideChannel, TurnError, why_unusable,
};
use super::hook_socket::{self, HookAnswer, HookCall, HookEvent, MAIL};
use super::hooks::{SessionToOpen, invalid};
use super::terminal::{RunningTerminal, TerminalHandle};
use super::version::{version_of, warning};
use super::wire::{ContentBlock, PromptEnd, SessionUpdate, StopReason};

/// The time limit of the start. The user may have to answer dialogs first: to log in, or to trust the directory.
const START_LIMIT: Duration = Duration::from_secs(600);

/// The interval at which the end of the conversation's file is read during a turn.
const INTERRUPTION_INTERVAL: Duration = Duration::from_secs(1);

/// The number of bytes that are read at the end of the file.
const FILE_END: u64 = 16 << 10;

/// The record of an interruption in the conversation's file.
const INTERRUPTION: &str = "\"text\":\"[Request interrupted by user";

/// The exit code with which a waiting hook program passes its message.
const MESSAGE: u8 = 2;

/// The mode of a session if its start names no mode.
const MODE: &str = "default";

/// The events of the hooks, and the texts that their inputs must have.
const EVENTS: &[(&str, &[&str])] = &[
    ("SessionStart", &["session_id"]),
    ("UserPromptSubmit", &["prompt"]),
    ("PreToolUse", &["tool_use_id", "tool_name"]),
    ("PermissionRequest", &["tool_name"]),
    ("PostToolUse", &[]),
    ("PostToolUseFailure", &[]),
    ("MessageDisplay", &[]),
    ("Stop", &[]),
    ("StopFailure", &[]),
];

pub(super) struct Claude {
    terminal: RunningTerminal,
    events: mpsc::UnboundedReceiver<HookEvent>,
    verdicts: mpsc::UnboundedReceiver<(String, Verdict)>,
    _hook_socket: AgentSocket,
    /// The session with which the program was started, until the program has opened the session.
    starting: Option<SessionToOpen>,
    session: String,
    description: String,
    /// The file of the conversation.
    file: PathBuf,
    /// Events that the loop has not received yet.
    ready: VecDeque<Event>,
    outbox: VecDeque<Outgoing>,
    /// The text that was passed to Claude Code, until Claude Code reports it.
    in_flight: Option<Outgoing>,
    /// The hook that waits for a message.
    waiter: Option<HookCall>,
    turn: Option<Turn>,
    calls: OpenCalls,
    /// The loop has asked for the end of the turn.
    is_cancelled: bool,
}

/// A text for Claude Code.
struct Outgoing {
    text: String,
    kind: OutgoingKind,
    /// The hook program that has received the text.
    connection: Option<u64>,
}

enum OutgoingKind {
    /// A prompt of the loop. The sender reports the end of its turn.
    Prompt(TurnEnd),
    /// A message during a turn. The sender reports that Claude Code has taken the message.
    Message(oneshot::Sender<bool>),
}

type TurnEnd = oneshot::Sender<Result<PromptEnd, TurnError>>;

struct Turn {
    end: TurnEnd,
    /// The text that was shown last.
    shown: String,
    /// The length of the conversation's file at the beginning of the turn.
    file_length: u64,
}

impl Claude {
    /// Starts the program with this session, or with a new one.
    pub(super) async fn start(
        terminal: &TerminalHandle,
        program: &AgentProgram,
        hook: &Path,
        socket: &Path,
        earlier: Option<&str>,
    ) -> std::io::Result<Self> {
        let session = SessionToOpen::of(earlier);
        let (path, env, cwd) = (&program.program, &program.env, &program.cwd);
        let version = version_of(path.clone(), env.clone(), cwd.clone()).await;
        let mode = program.mode.as_deref().unwrap_or(MODE);
        let mut command = vec![path.to_string_lossy().into_owned()];
        command.extend(program.args.iter().cloned());
        let (tools, rules) = (&program.team_tools, &program.rules);
        command.extend(settings::arguments(
            &session,
            (hook, socket),
            tools,
            mode,
            rules,
        ));
        // Bind before the start: the first hook runs at once.
        let listener = Listener::bind_own(socket)?;
        let terminal = terminal.start(command, env.clone(), true).await?;
        let agent = terminal.process();
        let agent = agent.ok_or_else(|| std::io::Error::other("it has exited"))?;
        let (hook_socket, events) = hook_socket::open(listener, socket, agent);
        let (verdict_sender, verdicts) = mpsc::unbounded_channel();
        let warning = warning(version.as_deref(), CLAUDE_TESTED).map(Event::Notice);
        let version = version.as_deref().unwrap_or("of an unknown version");
        Ok(Self {
            terminal,
            events,
            verdicts,
            _hook_socket: hook_socket,
            session: session.id().to_owned(),
            starting: Some(session),
            description: format!("Claude Code {version}"),
            file: PathBuf::new(),
            ready: warning.into_iter().collect(),
            outbox: VecDeque::new(),
            in_flight: None,
            waiter: None,
            turn: None,
            calls: OpenCalls::new(verdict_sender),
            is_cancelled: false,
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
                Some(event) = self.events.recv() => self.hook_event(event),
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
        let call = match event {
            HookEvent::Called(call) => call,
            HookEvent::Gone(connection) => return self.gone(connection),
        };
        if call.purpose == MAIL {
            if let Some(earlier) = self.waiter.replace(call) {
                earlier.pass();
            }
            return self.pass_message();
        }
        if let Some(why) = invalid(&call.input, EVENTS) {
            // A call that must not be executed without an answer is blocked.
            call.answer_nothing();
            return self.ready.push_back(Event::Unusable(why));
        }
        let input = &call.input;
        if let Some(file) = input["transcript_path"].as_str() {
            self.file = PathBuf::from(file);
        }
        let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
        match text("hook_event_name").as_str() {
            "SessionStart" => self.session_started(text("session_id")),
            "UserPromptSubmit" => self.prompted(text("prompt")),
            "PreToolUse" => return self.call_begins(call),
            "PermissionRequest" => {
                let (tool, input) = (text("tool_name"), input["tool_input"].clone());
                let question = self.calls.dialog(&tool, &input, call);
                return self.ready.extend(question.map(Event::Permission));
            }
            name @ ("PostToolUse" | "PostToolUseFailure") => {
                let is_failed = name == "PostToolUseFailure";
                let is_interrupted = is_failed && input["is_interrupt"] == true;
                let id = text("tool_use_id");
                let ended = calls::ended(&id, is_failed, input);
                let update = SessionUpdate::ToolCallUpdate(ended);
                self.ready.push_back(Event::Update(update));
                let notice = self.calls.ended(&id, &input["tool_input"]);
                self.ready.extend(notice.map(Event::Notice));
                if is_interrupted {
                    self.finish(Ok(StopReason::Interrupted));
                } else if self.is_cancelled {
                    call.print(&open_calls::stop(None));
                    return self.finish(Ok(StopReason::Cancelled));
                }
            }
            "MessageDisplay" => {
                if let Some(turn) = &mut self.turn {
                    if input["index"] == 0 {
                        turn.shown.clear();
                    }
                    turn.shown.push_str(&text("delta"));
                    self.show(text("delta"));
                }
            }
            "Stop" => self.stopped(text("last_assistant_message")),
            "StopFailure" => {
                let why = text("last_assistant_message");
                let why = match why.is_empty() {
                    true => text("error"),
                    false => why,
                };
                self.finish(Err(TurnError::Failed(visible_line(&why).into_owned())));
            }
            _ => {}
        }
        call.pass();
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
        // The program may have dropped a message with the earlier session.
        self.outbox.extend(self.in_flight.take());
    }

    /// Handles a prompt that Claude Code has taken.
    fn prompted(&mut self, prompt: String) {
        let in_flight = self.in_flight.take_if(|it| prompt.contains(it.text.trim()));
        match in_flight.map(|outgoing| outgoing.kind) {
            Some(OutgoingKind::Prompt(end)) => {
                self.begin_turn(end);
                self.ready.push_back(Event::Accepted);
            }
            Some(OutgoingKind::Message(taken)) => {
                // The receiver is gone if the loop has ended its turn.
                let _ended = taken.send(true);
                if self.turn.is_none() {
                    self.turn_began(String::new());
                }
            }
            None if self.turn.is_none() => self.turn_began(prompt),
            // The user has added to the running turn.
            None => {}
        }
        self.pass_message();
    }

    fn begin_turn(&mut self, end: TurnEnd) {
        let length = std::fs::metadata(&self.file).map(|metadata| metadata.len());
        self.turn = Some(Turn {
            end,
            shown: String::new(),
            file_length: length.unwrap_or(0),
        });
    }

    /// Reports a turn that the loop has not begun.
    fn turn_began(&mut self, text: String) {
        let (end, ended) = oneshot::channel();
        self.begin_turn(end);
        let end = Box::pin(async move { ended.await.unwrap_or(Err(TurnError::Closed)) });
        self.ready.push_back(Event::Began(Began { text, end }));
    }

    fn call_begins(&mut self, hook: HookCall) {
        let input = &hook.input;
        let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
        let (id, tool) = (text("tool_use_id"), text("tool_name"));
        let arguments = input["tool_input"].clone();
        if self.is_cancelled {
            hook.print(&open_calls::stop(Some("the turn is cancelled")));
            return self.finish(Ok(StopReason::Cancelled));
        }
        if self.turn.is_none() {
            self.turn_began(String::new());
        }
        let call = calls::call(&id, &tool, &arguments, &hook.cwd());
        let update = SessionUpdate::ToolCall(call);
        self.ready.push_back(Event::Update(update));
        if calls::is_dialog(&tool) {
            let line = "it asks the user in its own dialog".to_owned();
            self.ready.push_back(Event::Notice(line));
        }
        let question = self.calls.begin(&id, &tool, &arguments, hook);
        self.ready.extend(question.map(Event::Permission));
    }

    fn stopped(&mut self, last: String) {
        let shown = self.turn.as_ref().map(|turn| turn.shown.trim());
        // `MessageDisplay` of the last text may arrive later.
        if shown.is_some_and(|shown| shown != last.trim()) {
            self.show(last);
        }
        self.finish(Ok(match self.is_cancelled {
            true => StopReason::Cancelled,
            false => StopReason::EndTurn,
        }));
    }

    fn show(&mut self, text: String) {
        let content = ContentBlock::Text { text };
        let update = SessionUpdate::AgentMessageChunk {
            content,
            meta: Value::Null,
        };
        self.ready.push_back(Event::Update(update));
    }

    fn finish(&mut self, result: Result<StopReason, TurnError>) {
        let by_user = matches!(result, Ok(StopReason::Interrupted));
        let contradiction = self.calls.clear(by_user).map(str::to_owned);
        self.ready.extend(contradiction.map(Event::Notice));
        self.is_cancelled = false;
        if let Some(turn) = self.turn.take() {
            // The receiver is gone if the loop does not follow this turn, because it has joined another turn.
            let _unfollowed = turn.end.send(result.map(PromptEnd::without_usage));
        }
    }

    fn gone(&mut self, connection: u64) {
        if self
            .waiter
            .take_if(|hook| hook.connection == connection)
            .is_some()
        {
            return;
        }
        let is_lost = |it: &mut Outgoing| it.connection == Some(connection);
        if let Some(lost) = self.in_flight.take_if(is_lost) {
            self.outbox.push_front(lost);
            return self.pass_message();
        }
        self.calls.gone(connection);
    }

    fn send(&mut self, text: &str, kind: OutgoingKind) {
        self.outbox.push_back(Outgoing {
            text: text.to_owned(),
            kind,
            connection: None,
        });
        self.pass_message();
    }

    /// Passes the next message to the hook that waits for it.
    fn pass_message(&mut self) {
        if self.in_flight.is_some() || self.outbox.is_empty() {
            return;
        }
        let Some(hook) = self.waiter.take() else {
            return;
        };
        self.in_flight = self.outbox.pop_front().map(|outgoing| Outgoing {
            connection: Some(hook.connection),
            ..outgoing
        });
        let text = self
            .in_flight
            .as_ref()
            .map(|outgoing| outgoing.text.clone());
        hook.answer(HookAnswer {
            exit: MESSAGE,
            stdout: String::new(),
            stderr: text.unwrap_or_default(),
        });
    }

    /// Whether the user has ended the turn with Esc.
    fn is_interrupted(&self) -> bool {
        let begin = self.turn.as_ref().map_or(0, |turn| turn.file_length);
        let read = || -> std::io::Result<String> {
            let mut file = std::fs::File::open(&self.file)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(begin.max(length.saturating_sub(FILE_END))))?;
            let mut end = Vec::new();
            file.take(FILE_END).read_to_end(&mut end)?;
            Ok(String::from_utf8_lossy(&end).into_owned())
        };
        // If the file is unreadable or has the format of another version, the turn only stays open until the next prompt.
        let end = read().unwrap_or_default();
        let mut records = end.lines().rev();
        // Check only the last record of the user. The record of an earlier interruption can be written after this turn has
        // begun, but the prompt of this turn then follows it.
        let last = records.find(|record| record.contains("\"type\":\"user\""));
        last.is_some_and(|record| record.contains(INTERRUPTION))
    }
}

impl SideChannel for Claude {
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

    /// Claude Code stores the tools of a conversation with its first prompt. A hook can pass this prompt before the MCP
    /// servers are connected; their tools are then missing in all turns of the conversation (2.1.331).
    fn needs_tools(&self) -> bool {
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
                let has_turn = self.turn.is_some();
                tokio::select! {
                    biased;
                    // A decision that has been made counts before a report of the user's answer.
                    Some((id, verdict)) = self.verdicts.recv() => {
                        if self.calls.decided(&id, verdict) {
                            self.finish(Ok(StopReason::Cancelled));
                        }
                    }
                    Some(event) = self.events.recv() => self.hook_event(event),
                    why = self.terminal.ended() => return Event::Closed(why),
                    () = tokio::time::sleep(INTERRUPTION_INTERVAL), if has_turn => {
                        if self.is_interrupted() {
                            self.finish(Ok(StopReason::Interrupted));
                        }
                    }
                }
            }
        })
    }

    /// Handles no further hooks: they can begin the next turn.
    fn try_next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn prompt(&mut self, text: &str) -> BoxFuture<'static, Result<PromptEnd, TurnError>> {
        self.is_cancelled = false;
        let (end, ended) = oneshot::channel();
        self.send(text, OutgoingKind::Prompt(end));
        Box::pin(async move { ended.await.unwrap_or(Err(TurnError::Closed)) })
    }

    fn steers(&self) -> bool {
        true
    }

    fn steer(&mut self, text: &str) -> BoxFuture<'static, bool> {
        let (taken, is_taken) = oneshot::channel();
        self.send(text, OutgoingKind::Message(taken));
        Box::pin(async move { is_taken.await.unwrap_or(false) })
    }

    /// Requests the end of the turn: the next call, or the end of the running call, ends it.
    fn cancel(&mut self) {
        let is_prompt = |outgoing: &Outgoing| matches!(outgoing.kind, OutgoingKind::Prompt(_));
        match self.outbox.iter().position(is_prompt) {
            Some(index) => {
                if let Some(OutgoingKind::Prompt(end)) = self.outbox.remove(index).map(|it| it.kind)
                {
                    let why = "the prompt was cancelled".to_owned();
                    let _unfollowed = end.send(Err(TurnError::Failed(why)));
                }
            }
            None => self.is_cancelled = true,
        }
    }

    /// Returns no last line: the reason of the end already contains the last line of the screen.
    fn stop(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            self.terminal.stop().await;
            self.outbox.clear();
            self.in_flight = None;
            None
        })
    }
}
