//! OpenCode in its own terminal interface, with its HTTP server as the side channel. Called by the loop of external agents.
//!
//! ```text
//! worker ── HTTP, a password ──► opencode serve ◄── opencode attach ── pane
//!   prompts, messages, abort, replies ──►│◄── the user's turns and answers
//!   stream of events ◄───────────────────┘──► the same in the interface
//! ```
//! Each member has its own server: an answer in one interface of a server applies to all its conversations. Both
//! clients see each request for a permission, and the first answer counts, see `permissions`. The worker types nothing
//! and reads no screen.
//!
//! A text counts as taken when the conversation contains it: the worker chooses the id of the text's part, and the
//! server reports the part. The worker does not choose the id of the message, because OpenCode orders messages by their
//! ids: a message whose id was chosen before an answer began would count as answered.
//!
//! Each wait of the channel has a time limit, because the server accepts a prompt before it processes the prompt. A
//! version with other events would never report the turn of the prompt.

mod calls;
mod messages;
mod permissions;
mod server;
mod settings;
mod turn;
mod turns;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::external::OPENCODE_TESTED;
use agent_team_system::private_file;
use agent_team_system::process::ProcessId;
use agent_team_system::random;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::calls::text;
use self::permissions::{Answer, Permissions};
use self::server::{Events, Refusal, Server};
use self::settings::{CONFIG, PASSWORD, USERNAME, config, permissions, without_proxy};
use self::turn::{Sent, SentKind, Turn};
use super::channel::{AgentProgram, BoxFuture, Event, OpenError, Opened, SideChannel, TurnError};
use super::interface::Interface;
use super::keystrokes::Keystrokes;
use super::running_program::EXIT_LIMIT;
use super::terminal::TerminalHandle;
use super::version::{check, version_of};
use super::wire::PromptEnd;
use crate::timer::sleep_until;

/// The time within which the conversation must contain a text that the server has accepted.
const TAKEN_LIMIT: Duration = Duration::from_secs(15);

pub(super) struct OpenCode {
    server: Server,
    /// `None` before the session is opened.
    events: Option<Events>,
    interface: Interface,
    /// The file with the team's rules.
    rules: PathBuf,
    /// The id of the conversation.
    session: String,
    /// The ids of the conversations of OpenCode's helpers.
    helpers: HashSet<String>,
    directory: String,
    description: String,
    /// The windows of the models, in tokens, by `provider/model`.
    windows: HashMap<String, u64>,
    /// The window of the model that answers.
    window: Option<u64>,
    /// The ids of the last messages of the user and of the worker.
    users: VecDeque<String>,
    /// Events that the loop has not received yet.
    ready: VecDeque<Event>,
    turn: Option<Turn>,
    /// Texts that the conversation does not contain yet, by the ids of their parts.
    sent: HashMap<String, Sent>,
    /// The id of the conversation to which the user has switched, until its permissions are set.
    following: Option<String>,
    replies: JoinSet<Reply>,
    permissions: Permissions,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// The inputs of the calls that have not ended.
    inputs: HashMap<String, Value>,
    /// The loop has asked for the end of the turn.
    is_cancelled: bool,
    /// The worker has asked for the turns that the server runs, and has no answer yet.
    asks_status: bool,
}

/// The answer to a request of the worker.
enum Reply {
    /// The answer to a text. It can arrive after the events of the turn that the text begins.
    Sent {
        part: String,
        answer: Result<Value, Refusal>,
    },
    Permission(Result<Value, Refusal>),
    /// The answer to the request that sets the permissions of the conversation to which the user has switched.
    Followed {
        session: String,
        answer: Result<Value, Refusal>,
    },
    /// Contains the turns that the server runs.
    Status(Result<Value, Refusal>),
    Unused,
}

impl OpenCode {
    /// Starts the server. The interface is opened once the conversation is open. `rules`: the file that is written for
    /// OpenCode with the team's rules.
    pub(super) async fn start(
        terminal: &TerminalHandle,
        keystrokes: &Keystrokes,
        program: &AgentProgram,
        rules: &Path,
    ) -> std::io::Result<Self> {
        let (path, cwd) = (&program.program, &program.cwd);
        let version = version_of(path.clone(), program.env.clone(), cwd.clone()).await;
        let other = "set engine = \"opencode\"";
        let warning = check(version.as_deref(), OPENCODE_TESTED, other)?;
        private_file::replace(rules, program.rules.as_bytes())?;
        let mut env = program.env.clone();
        env.retain(|(name, _)| name != CONFIG);
        env.push((CONFIG.into(), config(&program.team_tools, rules).into()));
        let server = Server::start(program, env.clone()).await?;
        env.retain(|(name, _)| name != PASSWORD && name != USERNAME);
        env.push((PASSWORD.into(), (&server.password).into()));
        without_proxy(&mut env);
        let mut opencode = Self::over(server, Interface::new(terminal.clone(), program, env), cwd);
        opencode.permissions.keystrokes = keystrokes.clone();
        rules.clone_into(&mut opencode.rules);
        let version = version.as_deref().unwrap_or("of an unknown version");
        opencode.description = format!("OpenCode {version}");
        opencode.ready.extend(warning.map(Event::Notice));
        Ok(opencode)
    }

    /// Creates the side channel of this server. `cwd`: the directory of the server.
    fn over(server: Server, interface: Interface, cwd: &Path) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        Self {
            server,
            events: None,
            interface,
            rules: PathBuf::new(),
            session: String::new(),
            helpers: HashSet::new(),
            directory: cwd.to_string_lossy().into_owned(),
            description: String::new(),
            windows: HashMap::new(),
            window: None,
            users: VecDeque::new(),
            ready: VecDeque::new(),
            turn: None,
            sent: HashMap::new(),
            following: None,
            replies: JoinSet::new(),
            permissions: Permissions::new(sender, cwd.to_owned()),
            answers,
            inputs: HashMap::new(),
            is_cancelled: false,
            asks_status: false,
        }
    }

    async fn open_session(
        &mut self,
        program: &AgentProgram,
        earlier: Option<String>,
    ) -> Result<Opened, OpenError> {
        if let Some(mode) = &program.mode {
            let why = format!("its mode {mode} is not supported");
            return Err(OpenError::Other(why));
        }
        let api = self.server.api.clone();
        let opening = async {
            // Open the stream of events first, so that no event of the first turn is missed.
            let events = api.events().await?;
            let permissions = permissions();
            let resumed = match &earlier {
                None => None,
                Some(id) => {
                    let body = json!({ "permission": permissions });
                    match api.patch(&["session", id], body).await {
                        Err(Refusal::Missing) => None,
                        session => Some(session?),
                    }
                }
            };
            let (is_resumed, session) = match resumed {
                Some(session) => (true, session),
                None => {
                    let body = json!({ "permission": permissions });
                    (false, api.post(&["session"], body).await?)
                }
            };
            let mcp = api.get(&["mcp"]).await?;
            let models = api.get(&["config", "providers"]).await?;
            Ok::<_, Refusal>((events, is_resumed, session, mcp, models))
        };
        let opened = tokio::select! {
            opened = opening => opened.map_err(|refusal| refusal.to_string()),
            () = self.server.program.ended() => Err(self.server.program.exit_within(EXIT_LIMIT).await),
        };
        let (events, is_resumed, session, mcp, models) = opened.map_err(OpenError::Other)?;
        self.events = Some(events);
        let id = text(&session["id"]);
        if id.is_empty() {
            let why = "it sent an invalid message: the conversation has no id".to_owned();
            return Err(OpenError::Other(why));
        }
        if !asks(&session) {
            let why = "it does not accept that it asks about each call".to_owned();
            return Err(OpenError::Other(why));
        }
        id.clone_into(&mut self.session);
        if mcp["team"]["status"] != "connected" {
            let why = mcp["team"]["error"].as_str().unwrap_or("no reason");
            let line = format!("OpenCode cannot start its MCP server team: {why}");
            self.ready.push_back(Event::Notice(line));
        }
        self.windows = windows(&models);
        self.open_interface();
        Ok(match earlier {
            Some(_) if is_resumed => Opened::Resumed,
            Some(_) => Opened::Lost("OpenCode does not have it".to_owned()),
            None => Opened::New,
        })
    }

    fn open_interface(&mut self) {
        let url = self.server.api.url().to_owned();
        let arguments = [
            "attach",
            &url,
            "--dir",
            &self.directory,
            "-s",
            &self.session,
        ];
        self.interface.start(&arguments);
    }

    /// Handles the end of the interface. The member works without it.
    fn interface_ended(&mut self, why: &str) {
        let (restarts, line) = self.interface.restarts("OpenCode", why);
        if restarts {
            self.open_interface();
        }
        self.ready.push_back(Event::Notice(line));
    }

    /// Sends a text to the conversation.
    fn send(&mut self, text: &str, kind: SentKind) {
        // The server requires this prefix of ids of parts.
        let part = format!("prt_{}", random::id());
        let deadline = None;
        self.sent.insert(part.clone(), Sent { kind, deadline });
        let body = json!({ "parts": [{ "id": part, "type": "text", "text": text }] });
        let (api, session) = (self.server.api.clone(), self.session.clone());
        self.replies.spawn(async move {
            let answer = api.post(&["session", &session, "prompt_async"], body).await;
            Reply::Sent { part, answer }
        });
    }

    fn replied(&mut self, reply: Reply) {
        match reply {
            Reply::Sent { part, answer } => match answer {
                Ok(_) => {
                    if let Some(sent) = self.sent.get_mut(&part) {
                        sent.deadline = Some(Instant::now() + TAKEN_LIMIT);
                    }
                }
                Err(refusal) => self.refused(&part, &refusal.to_string()),
            },
            Reply::Permission(Err(Refusal::Other(why))) => {
                let why = format!("a request for a permission cannot be answered: {why}");
                self.ready.push_back(Event::Unusable(why));
            }
            Reply::Followed { session, answer } => self.continue_in(session, answer),
            Reply::Status(status) => {
                self.asks_status = false;
                if let Ok(status) = status {
                    self.check_status(&status);
                }
            }
            // If the request is missing, another client has answered first, which the events report, or the turn has
            // ended.
            Reply::Permission(Ok(_) | Err(Refusal::Missing)) | Reply::Unused => {}
        }
    }

    /// Handles a refusal of the server to accept a text.
    fn refused(&mut self, part: &str, why: &str) {
        // Dropping the sender of a message reports that it was not taken.
        if let Some(Sent {
            kind: SentKind::Prompt(end),
            ..
        }) = self.sent.remove(part)
        {
            let _stopped = end.send(Err(TurnError::Failed(why.to_owned())));
        }
    }

    fn reply_to(&mut self, reply: permissions::Reply) {
        let api = self.server.api.clone();
        self.replies.spawn(async move {
            let permissions::Reply { request, body } = reply;
            Reply::Permission(api.post(&["permission", &request, "reply"], body).await)
        });
    }

    /// The time at which [`OpenCode::overdue`] must be called.
    fn deadline(&self) -> Option<Instant> {
        let sent = self.sent.values().filter_map(|sent| sent.deadline).min();
        let settles = self.turn.as_ref().and_then(|turn| turn.settles_at);
        [sent, settles, self.permissions.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn overdue(&mut self) {
        let now = Instant::now();
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.sent.values().any(|sent| is_over(sent.deadline)) {
            let limit = TAKEN_LIMIT.as_secs();
            let why = format!(
                "it has not reported within {limit} s a prompt that its server has accepted; another version may have other \
                 events"
            );
            return self.ready.push_back(Event::Unusable(why));
        }
        for question in self.permissions.overdue() {
            self.ask(question);
        }
        if is_over(self.turn.as_ref().and_then(|turn| turn.settles_at)) {
            self.end_turn();
        }
    }
}

/// Whether the rules of a conversation end with the rules that the worker has set. OpenCode keeps the earlier rules of
/// a conversation, and the last matching rule applies.
fn asks(session: &Value) -> bool {
    let rules = session["permission"].as_array();
    rules.is_some_and(|rules| rules.ends_with(&permissions()))
}

/// The windows of the models, by `provider/model`.
fn windows(models: &Value) -> HashMap<String, u64> {
    let mut windows = HashMap::new();
    for provider in models["providers"].as_array().into_iter().flatten() {
        for (name, model) in provider["models"].as_object().into_iter().flatten() {
            if let Some(window) = model["limit"]["context"].as_u64() {
                windows.insert(format!("{}/{name}", text(&provider["id"])), window);
            }
        }
    }
    windows
}

impl SideChannel for OpenCode {
    fn process(&self) -> Option<ProcessId> {
        self.server.program.process
    }

    fn has_rules(&self) -> bool {
        true
    }

    fn reports_acceptance(&self) -> bool {
        true
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

    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async {
            loop {
                if let Some(event) = self.ready.pop_front() {
                    return event;
                }
                let deadline = self.deadline();
                let Some(events) = &mut self.events else {
                    return Event::Closed("its session is not open".to_owned());
                };
                tokio::select! {
                    biased;
                    Some(Ok(reply)) = self.replies.join_next() => self.replied(reply),
                    Some(answer) = self.answers.recv() => {
                        if let Some(reply) = self.permissions.decided(answer) {
                            self.reply_to(reply);
                        }
                    }
                    event = events.next() => match event {
                        Ok(event) => self.event(&event),
                        Err(why) => return Event::Closed(self.why_closed(why).await),
                    },
                    () = self.server.program.ended() => {
                        return Event::Closed(self.server.program.exit_within(EXIT_LIMIT).await);
                    }
                    why = self.interface.ended() => self.interface_ended(&why),
                    () = sleep_until(deadline) => self.overdue(),
                }
            }
        })
    }

    /// Handles no further messages: they can begin the next turn.
    fn try_next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn prompt(&mut self, text: &str) -> BoxFuture<'static, Result<PromptEnd, TurnError>> {
        self.is_cancelled = false;
        let (end, ended) = oneshot::channel();
        // If the user has just begun a turn, the prompt joins that turn.
        self.send(text, SentKind::Prompt(end));
        Box::pin(async move { ended.await.unwrap_or(Err(TurnError::Closed)) })
    }

    fn steers(&self) -> bool {
        true
    }

    fn steer(&mut self, text: &str) -> BoxFuture<'static, bool> {
        if self.turn.is_none() && self.sent.is_empty() {
            // The turn has ended, and the loop is about to receive its end. The loop keeps the message.
            return Box::pin(std::future::ready(false));
        }
        let (taken, is_taken) = oneshot::channel();
        self.send(text, SentKind::Message(taken));
        Box::pin(async move { is_taken.await.unwrap_or(false) })
    }

    fn cancel(&mut self) {
        self.is_cancelled = true;
        self.abort();
    }

    /// Returns no last line: the reason of the end already contains the last line of the program's errors.
    fn stop(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            self.interface.stop().await;
            self.server.program.stop().await;
            self.sent.clear();
            let _removed = std::fs::remove_file(&self.rules);
            None
        })
    }
}

impl OpenCode {
    /// Why the stream of events has ended. If the server has exited, its exit is the better explanation.
    async fn why_closed(&mut self, why: String) -> String {
        let exited = tokio::time::timeout(EXIT_LIMIT, self.server.program.ended()).await;
        match exited {
            Ok(()) => self.server.program.exit_within(EXIT_LIMIT).await,
            Err(_) => why,
        }
    }
}
