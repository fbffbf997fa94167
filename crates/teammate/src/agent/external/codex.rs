//! Codex in its own terminal interface, with its app-server as the side channel. Called by the loop of external agents.
//!
//! ```text
//! worker ── WebSocket, JSON-RPC ──► codex app-server ◄── codex resume --remote ── pane
//!   turn/start, turn/steer, turn/interrupt ──►│◄── the user's turns and answers
//!   turns, items, approvals ◄─────────────────┘──► the same in the interface
//! ```
//! Both clients receive each request for an approval, and the first answer counts, see `approvals`. The worker types
//! nothing and reads no screen. The interface can be opened only once the conversation has an item, so the worker adds
//! the first item of a new conversation.
//!
//! A message counts as taken when the conversation contains it. The worker sets the settings of the conversation at
//! each start and turn, and sets them back when the user changes them in the interface: with other settings, Codex
//! would act without asking.

mod approvals;
mod command;
mod follow;
mod items;
mod messages;
mod settings;
mod socket;
mod threads;
mod turn;
mod turns;

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use agent_team_client::json_rpc::RpcError;
use agent_team_protocol::external::CODEX_TESTED;
use agent_team_system::process::ProcessId;
use agent_team_system::random;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::approvals::{Answer, Approvals};
use self::items::{ItemChanges, McpCall};
use self::settings::{
    APPROVALS, MODE, REVIEWER, first_item, is_asking, server_arguments, settings,
};
use self::threads::Threads;
use self::turn::{Taken, Turn};
use super::channel::{AgentProgram, BoxFuture, Event, OpenError, Opened, SideChannel, TurnError};
use super::connection::Connection;
use super::interface::Interface;
use super::outcome::{Outcome, TurnEnd};
use super::terminal::TerminalHandle;
use super::version::{check, version_of};
use super::wire::PromptEnd;
use crate::timer::sleep_until;

/// The number of times that the settings of a conversation are set back between two prompts.
const RESETS_MAX: u32 = 8;

/// The engine to use without the app-server.
const OTHER: &str = "set engine = \"codex-acp\", which needs the program codex-acp";

/// The first item of a conversation.
const FIRST_ITEM: &str = "agent-team has connected this conversation to a team.";

pub(super) struct Codex {
    server: Connection,
    socket: PathBuf,
    interface: Interface,
    /// The id of the conversation.
    thread: String,
    threads: Threads,
    description: String,
    rules: String,
    /// Events that the loop has not received yet.
    ready: VecDeque<Event>,
    turn: Option<Turn>,
    ended: VecDeque<(String, Outcome)>,
    /// Texts that the conversation does not contain yet, by the ids that the worker has given them.
    sent: HashMap<String, Taken>,
    /// Messages that wait until Codex names the turn.
    unsent: Vec<(String, String)>,
    /// The number of `turn/start` requests without an answer.
    starting: usize,
    replies: JoinSet<Reply>,
    approvals: Approvals,
    answers: mpsc::UnboundedReceiver<Answer>,
    /// The changes of files by items that have not ended.
    changes: HashMap<String, ItemChanges>,
    /// The calls of MCP tools that have not ended.
    mcp_calls: Vec<McpCall>,
    /// The loop has asked for the end of the turn.
    is_cancelled: bool,
    resets: u32,
}

/// The answer to a request of the worker.
enum Reply {
    Turn {
        /// The conversation of the prompt.
        thread: String,
        text: String,
        end: TurnEnd,
        answer: Result<Value, RpcError>,
    },
    Steered {
        text: String,
        answer: Result<Value, RpcError>,
    },
    /// Contains a conversation that the user may have opened in the interface.
    Read(Result<Value, RpcError>),
    /// Contains the conversation that the user has opened in the interface.
    Thread {
        thread: String,
        answer: Result<Value, RpcError>,
    },
    Settings(Result<Value, RpcError>),
    Unused,
}

impl Codex {
    /// Starts the server. The interface is opened once the conversation is open.
    pub(super) async fn start(
        terminal: &TerminalHandle,
        program: &AgentProgram,
        socket: &Path,
    ) -> std::io::Result<Self> {
        let (path, env, cwd) = (&program.program, &program.env, &program.cwd);
        let version = version_of(path.clone(), env.clone(), cwd.clone()).await;
        let warning = check(version.as_deref(), CODEX_TESTED, OTHER)?;
        // A server of an earlier start in this launch may have left its socket.
        let _removed = std::fs::remove_file(socket);
        let mut args: Vec<OsString> = program.args.iter().map(OsString::from).collect();
        args.extend(server_arguments(socket, &program.team_tools));
        let server = Connection::start_server(program, args, socket::connect(socket)).await;
        let server = server.map_err(|error| {
            std::io::Error::other(format!("its app-server does not start: {error}; {OTHER}"))
        })?;
        let mut codex = Self::over(server, terminal, program, socket);
        codex.ready.extend(warning.map(Event::Notice));
        let version = version.as_deref().unwrap_or("of an unknown version");
        codex.description = format!("Codex {version}");
        Ok(codex)
    }

    /// Creates the side channel over this connection to the server.
    fn over(
        server: Connection,
        terminal: &TerminalHandle,
        program: &AgentProgram,
        socket: &Path,
    ) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        Self {
            server,
            socket: socket.to_owned(),
            interface: Interface::new(terminal.clone(), program, program.env.clone()),
            thread: String::new(),
            threads: Threads::default(),
            description: String::new(),
            rules: program.rules.clone(),
            ready: VecDeque::new(),
            turn: None,
            ended: VecDeque::new(),
            sent: HashMap::new(),
            unsent: Vec::new(),
            starting: 0,
            replies: JoinSet::new(),
            approvals: Approvals::new(sender),
            answers,
            changes: HashMap::new(),
            mcp_calls: Vec::new(),
            is_cancelled: false,
            resets: 0,
        }
    }

    async fn open_session(
        &mut self,
        program: &AgentProgram,
        earlier: Option<String>,
    ) -> Result<Opened, OpenError> {
        if let Some(mode) = program.mode.as_deref().filter(|mode| *mode != MODE) {
            let why = format!("its mode {mode} is not supported, only {MODE}");
            return Err(OpenError::Other(why));
        }
        let params = json!({
            "clientInfo": { "name": "agent-team", "title": "agent-team", "version": env!("CARGO_PKG_VERSION") },
            "capabilities": { "experimentalApi": true },
        });
        self.server.request("initialize", params).await?;
        self.server.rpc.notify("initialized", json!({}));
        let account = self.server.request("account/read", json!({})).await?;
        if account["requiresOpenaiAuth"] == true && account["account"].is_null() {
            return Err(OpenError::Login("codex login".to_owned()));
        }
        let params = json!({ "cwd": program.cwd, "includeLayers": false });
        let config = self.server.request("config/read", params).await?;
        let of_user = config["config"]["developer_instructions"].as_str();
        let instructions = [of_user.unwrap_or_default(), &program.rules];
        let instructions = instructions.into_iter().filter(|text| !text.is_empty());
        let params = json!({
            "cwd": program.cwd,
            "approvalPolicy": APPROVALS,
            "approvalsReviewer": REVIEWER,
            "sandbox": MODE,
            "developerInstructions": instructions.collect::<Vec<_>>().join("\n\n"),
        });
        let opened = match earlier {
            None => Opened::New,
            Some(id) => {
                let mut of_earlier = params.clone();
                of_earlier["threadId"] = id.into();
                of_earlier["excludeTurns"] = true.into();
                match self.server.request("thread/resume", of_earlier).await {
                    Ok(answer) => {
                        self.opened(&answer)?;
                        Opened::Resumed
                    }
                    Err(error) => Opened::Lost(error.to_string()),
                }
            }
        };
        if opened != Opened::Resumed {
            let answer = self.server.request("thread/start", params).await?;
            self.opened(&answer)?;
            let params = first_item(&self.thread, FIRST_ITEM);
            self.server.request("thread/inject_items", params).await?;
        }
        self.open_interface();
        Ok(opened)
    }

    /// Reads the opened conversation, and checks its settings: the administrator of the machine can forbid the
    /// requested settings.
    fn opened(&mut self, answer: &Value) -> Result<(), OpenError> {
        let thread = answer["thread"]["id"].as_str();
        let Some(thread) = thread.filter(|id| !id.is_empty()) else {
            let why = "it sent an invalid message: the conversation has no id".to_owned();
            return Err(OpenError::Other(why));
        };
        self.thread = thread.to_owned();
        self.threads.has_rules(thread);
        match is_asking(answer, &answer["sandbox"]) {
            true => Ok(()),
            false => Err(OpenError::Other(format!(
                "it does not accept the settings {MODE}, {APPROVALS} and {REVIEWER}"
            ))),
        }
    }

    /// Sets the settings back if the user has changed them.
    fn keep_settings(&mut self, settings: &Value) {
        if is_asking(settings, &settings["sandboxPolicy"]) {
            return;
        }
        self.resets += 1;
        if self.resets > RESETS_MAX {
            let why = format!("its permissions were changed {} times", self.resets);
            return self.ready.push_back(Event::Unusable(why));
        }
        let line = format!(
            "the permissions of Codex were changed in its terminal interface: they are set back to {MODE}, {APPROVALS}"
        );
        self.ready.push_back(Event::Notice(line));
        self.set_settings();
    }

    fn set_settings(&mut self) {
        let mut params = settings();
        params["threadId"] = self.thread.clone().into();
        self.request("thread/settings/update", params, Reply::Settings);
    }

    /// Sends a request. `next` handles its answer.
    fn request(
        &mut self,
        method: &str,
        params: Value,
        reply: impl FnOnce(Result<Value, RpcError>) -> Reply + Send + 'static,
    ) {
        let answer = self.server.rpc.request(method, params);
        self.replies.spawn(async move { reply(answer.await) });
    }

    fn replied(&mut self, reply: Reply) {
        match reply {
            Reply::Turn {
                thread,
                text,
                end,
                answer,
            } => self.turn_started(&thread, &text, end, answer),
            Reply::Steered {
                text,
                answer: Err(error),
            } => {
                tracing::debug!(%error, "Codex refused a message during its turn");
                self.sent.remove(&text);
            }
            Reply::Read(answer) => self.thread_read(answer),
            Reply::Thread { thread, answer } => self.continue_in(thread, answer),
            Reply::Settings(Err(error)) => {
                let why = format!("its permissions cannot be set back: {error}");
                self.ready.push_back(Event::Unusable(why));
            }
            Reply::Steered { answer: Ok(_), .. } | Reply::Settings(Ok(_)) | Reply::Unused => {}
        }
    }

    fn open_interface(&mut self) {
        let remote = format!("unix://{}", self.socket.display());
        // Without this setting, the question whether to update would cover the conversation.
        let quiet = "check_for_update_on_startup=false";
        let arguments = ["resume", &self.thread, "--remote", &remote, "-c", quiet];
        self.interface.start(&arguments);
    }

    /// Handles the end of the interface. The member works without it.
    fn interface_ended(&mut self, why: &str) {
        let (restarts, line) = self.interface.restarts("Codex", why);
        if restarts {
            self.open_interface();
        }
        self.ready.push_back(Event::Notice(line));
    }
}

impl SideChannel for Codex {
    fn process(&self) -> Option<ProcessId> {
        self.server.process()
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
        &self.thread
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
                    biased;
                    Some(Ok(reply)) = self.replies.join_next() => self.replied(reply),
                    Some(answer) = self.answers.recv() => self.approvals.answered(answer),
                    incoming = self.server.receive() => match incoming {
                        Ok(incoming) => self.incoming(incoming),
                        Err(why) => return Event::Closed(why),
                    },
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
        self.resets = 0;
        let id = message_id();
        self.sent.insert(id.clone(), Taken::Prompt);
        let mut params = settings();
        params["threadId"] = self.thread.clone().into();
        params["clientUserMessageId"] = id.clone().into();
        params["input"] = json!([{ "type": "text", "text": text }]);
        let (end, ended) = oneshot::channel();
        self.starting += 1;
        let thread = self.thread.clone();
        // If the user has just begun a turn, the prompt joins that turn.
        self.request("turn/start", params, |answer| Reply::Turn {
            thread,
            text: id,
            end,
            answer,
        });
        Box::pin(async move { ended.await.unwrap_or(Err(TurnError::Closed)) })
    }

    fn steers(&self) -> bool {
        true
    }

    fn steer(&mut self, text: &str) -> BoxFuture<'static, bool> {
        if self.turn.is_none() && self.starting == 0 {
            // The turn has ended, and the loop is about to receive its end. The loop keeps the message.
            return Box::pin(std::future::ready(false));
        }
        let id = message_id();
        let (taken, is_taken) = oneshot::channel();
        self.sent.insert(id.clone(), Taken::Message(taken));
        self.send_message(id, text);
        Box::pin(async move { is_taken.await.unwrap_or(false) })
    }

    fn cancel(&mut self) {
        self.is_cancelled = true;
        self.interrupt();
    }

    /// Returns no last line: the reason of the end already contains the last line of the program's errors.
    fn stop(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            self.interface.stop().await;
            self.server.stop().await;
            self.unsent.clear();
            self.sent.clear();
            // The server may have removed the socket.
            let _removed = std::fs::remove_file(&self.socket);
            None
        })
    }
}

/// A new id, by which the conversation identifies a text of the worker.
fn message_id() -> String {
    format!("agent-team-{}", random::id())
}
