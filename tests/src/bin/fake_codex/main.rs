//! A fake of Codex. Its app-server and its terminal interface speak to their clients as in recordings of the real
//! program (0.169.0), and there is no model. The fake exits with 70 at a message, of itself or of a client, that does
//! not match the schema of that version. Words in the text of a turn select its behaviour:
//!
//! - `own the task`: a command that makes `made.txt`, then `complete_task` or `fail_task` with the outcome
//! - `try it`: the same command, without a task; `large`, `huge`: with a long line
//! - `edit it`: a change of the file `edited.txt`
//! - `use a tool`: a call of a tool of another MCP server
//! - `ping`: answers `pong`, with the settings of the conversation
//! - `slow`: waits for a message during the turn, and repeats it
//! - `endless`: waits for an interrupt
//! - `broken`: the model fails
//! - `flood`: writes text without end
//! - `crash`: the server exits with 3; `fork`: the server leaves a process behind, and exits
//!
//! A line that is typed in the interface is a prompt of the user; `/new` begins a conversation, `/resume ID` opens an
//! earlier one, `/full-access` changes the settings, `/quit` ends the interface. In a dialog, `y` allows, and Esc
//! denies and ends the turn. The conversations are files in the directory `FAKE_CODEX_SESSIONS`. With
//! `FAKE_CODEX_VERSION`, the fake reports this version; with `FAKE_CODEX_LOGIN`, its user must log in; with
//! `FAKE_CODEX_POLICY`, it forbids other settings than these; with `FAKE_CODEX_NO_SERVER`, it has no app-server; with
//! `FAKE_CODEX_OTHER_PROTOCOL`, its app-server has other requests; with `FAKE_CODEX_HANG_UP`, it closes each connection
//! at once; with `FAKE_CODEX_MUTE`, it answers no request; with `FAKE_CODEX_WITHOUT`, its messages lack this field;
//! with `FAKE_CODEX_DIALOG`, its interface shows this text until Enter.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the fake draws on its terminal"
)]

mod interface;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use agent_team_tests::fake_calls;
use agent_team_tests::pinned_schema::{Kind, PinnedSchema};
use agent_team_tests::team_tools;
use futures_util::{SinkExt, StreamExt};
use interface::Interface;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of = |flag: &str| {
        let mut words = arguments.iter();
        words.find(|word| *word == flag)?;
        words.next().cloned()
    };
    if arguments.iter().any(|word| word == "status") {
        // The exit code 0 means that the user is logged in.
        return;
    }
    if arguments.iter().any(|word| word == "--version") {
        let version = std::env::var("FAKE_CODEX_VERSION");
        println!("codex-cli {}", version.as_deref().unwrap_or("0.169.0"));
        return;
    }
    let path = |address: String| {
        let path = address.strip_prefix("unix://").expect("a Unix socket");
        PathBuf::from(path)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match arguments.first().map(String::as_str) {
        Some("app-server") if std::env::var_os("FAKE_CODEX_NO_SERVER").is_some() => {
            eprintln!("error: unrecognized subcommand 'app-server'");
            std::process::exit(2);
        }
        Some("app-server") => {
            let socket = path(of("--listen").expect("an address"));
            runtime.block_on(Server::serve(&socket, team(&arguments)));
        }
        Some("resume") => {
            let socket = path(of("--remote").expect("an address"));
            runtime.block_on(Interface::run(&socket, &arguments[1]));
        }
        other => panic!("unknown arguments: {other:?}"),
    }
}

/// The command of the team's tools in the settings.
fn team(arguments: &[String]) -> Vec<String> {
    let setting = arguments
        .iter()
        .find_map(|word| word.strip_prefix("mcp_servers.team="));
    let setting = setting.expect("the team's tools");
    let words = setting.split('"').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// The environment variable with the field that the fake's messages lack.
const WITHOUT: &str = "FAKE_CODEX_WITHOUT";

struct Server {
    schema: PinnedSchema,
    state: Mutex<State>,
    /// The messages to clients that are not written yet.
    unwritten: AtomicUsize,
}

#[derive(Default)]
struct State {
    team: Vec<String>,
    clients: HashMap<u64, mpsc::UnboundedSender<String>>,
    threads: HashMap<String, Thread>,
    /// The methods of the requests to the clients that have no answer.
    asked: HashMap<u64, (String, oneshot::Sender<Value>)>,
    last: u64,
}

#[derive(Default)]
struct Thread {
    clients: Vec<u64>,
    settings: Value,
    turn: Option<Turn>,
}

struct Turn {
    id: String,
    events: mpsc::UnboundedSender<Event>,
}

/// An input of a running turn.
enum Event {
    Message { id: Value, text: String },
    Interrupt,
}

/// How a turn ended.
enum End {
    Text(String),
    Failed,
    Interrupted,
}

impl Server {
    async fn serve(socket: &Path, team: Vec<String>) {
        let state = State {
            team,
            ..State::default()
        };
        let server = Arc::new(Self {
            schema: PinnedSchema::codex(),
            state: Mutex::new(state),
            unwritten: AtomicUsize::new(0),
        });
        let listener = UnixListener::bind(socket).expect("a socket");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&server).client(stream));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    async fn client(self: Arc<Self>, stream: UnixStream) {
        if std::env::var_os("FAKE_CODEX_HANG_UP").is_some() {
            return;
        }
        let stream = tokio_tungstenite::accept_async(stream).await;
        let (mut write, mut read) = stream.expect("a handshake").split();
        let (sender, mut outgoing) = mpsc::unbounded_channel::<String>();
        let client = self.next_id();
        self.state().clients.insert(client, sender);
        let server = Arc::clone(&self);
        tokio::spawn(async move {
            while let Some(text) = outgoing.recv().await {
                let is_written = write.send(Message::Text(text.into())).await;
                server.unwritten.fetch_sub(1, Ordering::Relaxed);
                if is_written.is_err() {
                    return;
                }
            }
        });
        while let Some(Ok(message)) = read.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            if std::env::var_os("FAKE_CODEX_MUTE").is_some() {
                continue;
            }
            let message: Value = serde_json::from_str(&text).expect("JSON");
            let id = &message["id"];
            match message["method"].as_str() {
                Some(method) if !id.is_null() => {
                    self.check(Kind::Request, method, &message["params"]);
                    let answer = match self.answer(client, method, &message["params"]) {
                        Ok(result) => {
                            self.check(Kind::Answer, method, &result);
                            json!({ "id": id, "result": result })
                        }
                        Err(why) => {
                            json!({ "id": id, "error": { "code": -32600, "message": why } })
                        }
                    };
                    self.send(client, &answer);
                }
                Some(_) => {}
                None => {
                    let number = id.as_u64().expect("a number");
                    let asked = self.state().asked.remove(&number);
                    if let Some((method, asked)) = asked {
                        self.check(Kind::Decision, &method, &message["result"]);
                        let _ended = asked.send(message["result"].clone());
                    }
                }
            }
        }
        let mut state = self.state();
        state.clients.remove(&client);
        for thread in state.threads.values_mut() {
            thread.clients.retain(|other| *other != client);
        }
    }

    /// Ends the fake at a message that does not match the schema.
    fn check(&self, kind: Kind, method: &str, value: &Value) {
        if let Err(fault) = self.schema.check(kind, method, value) {
            eprintln!("the fake of Codex: {fault}");
            std::process::exit(70);
        }
    }

    fn next_id(&self) -> u64 {
        let mut state = self.state();
        state.last += 1;
        state.last
    }

    fn send(&self, client: u64, message: &Value) {
        if let Some(client) = self.state().clients.get(&client) {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            let _closed = client.send(message.to_string());
        }
    }

    /// Sends a message to all clients of a conversation.
    fn notify(&self, thread: &str, method: &str, mut params: Value) {
        params["threadId"] = thread.into();
        self.check(Kind::Notification, method, &params);
        fake_calls::without_field(WITHOUT, &mut params);
        let message = json!({ "method": method, "params": params });
        let clients = self.state().threads[thread].clients.clone();
        for client in clients {
            self.send(client, &message);
        }
    }

    /// Sends a message to all clients.
    fn broadcast(&self, method: &str, params: &Value) {
        self.check(Kind::Notification, method, params);
        let message = json!({ "method": method, "params": params });
        let clients: Vec<_> = self.state().clients.keys().copied().collect();
        for client in clients {
            self.send(client, &message);
        }
    }

    fn status(&self, thread: &str, status: &Value) {
        let params = json!({ "threadId": thread, "status": status });
        self.broadcast("thread/status/changed", &params);
    }

    fn answer(
        self: &Arc<Self>,
        client: u64,
        method: &str,
        params: &Value,
    ) -> Result<Value, String> {
        let thread = params["threadId"].as_str().unwrap_or_default().to_owned();
        match method {
            "initialize" => {
                assert_eq!(params["capabilities"]["experimentalApi"], true);
                Ok(
                    json!({ "userAgent": "fake/0.169.0", "codexHome": directory(),
                    "platformFamily": "unix", "platformOs": "linux" }),
                )
            }
            "account/read" if std::env::var_os("FAKE_CODEX_OTHER_PROTOCOL").is_none() => {
                let is_missing = std::env::var_os("FAKE_CODEX_LOGIN").is_some();
                Ok(json!({ "account": null, "requiresOpenaiAuth": is_missing }))
            }
            "config/read" => Ok(json!({ "config": { "developer_instructions": "Be brief." },
                "origins": {} })),
            "thread/start" => {
                let thread = format!("thread-{}-{}", std::process::id(), self.next_id());
                let source = params["threadSource"].clone();
                if source.is_null() {
                    let rules = params["developerInstructions"].as_str().unwrap_or_default();
                    assert!(rules.starts_with("Be brief.\n\n"), "{rules}");
                }
                let opened = self.open(client, &thread, params);
                let started = json!({ "thread": thread_of(&thread, &source, &[]) });
                self.broadcast("thread/started", &started);
                Ok(opened)
            }
            "thread/inject_items" => {
                if params["items"].as_array().is_none_or(Vec::is_empty) {
                    return Err("items must not be empty".to_owned());
                }
                record(&thread, "injected");
                Ok(json!({}))
            }
            "thread/resume" if !file(&thread).exists() => {
                Err(format!("no rollout found for thread id {thread}"))
            }
            "thread/resume" => {
                let is_loaded = self.state().threads.contains_key(&thread);
                let opened = self.open(client, &thread, params);
                if !is_loaded {
                    self.status(&thread, &idle());
                }
                Ok(opened)
            }
            "thread/read" => Ok(json!({ "thread": thread_of(&thread, &Value::Null, &[]) })),
            "thread/settings/update" => {
                let mut state = self.state();
                let settings = &mut state.threads.get_mut(&thread).expect("a thread").settings;
                for field in ["approvalPolicy", "approvalsReviewer", "sandboxPolicy"] {
                    settings[field] = params[field].clone();
                }
                let settings = settings.clone();
                drop(state);
                let update = json!({ "threadSettings": settings });
                self.notify(&thread, "thread/settings/updated", update);
                Ok(json!({}))
            }
            "thread/backgroundTerminals/clean" => Ok(json!({})),
            "turn/start" => {
                let turn = self.start_turn(&thread, params);
                Ok(json!({ "turn": turn_of(&turn, "inProgress", &[]) }))
            }
            "turn/steer" | "turn/interrupt" => {
                let state = self.state();
                let expected = &params[match method {
                    "turn/steer" => "expectedTurnId",
                    _ => "turnId",
                }];
                let turn = state.threads[&thread].turn.as_ref();
                let turn = turn.filter(|turn| *expected == *turn.id);
                let turn = turn.ok_or("no active turn to steer")?;
                let event = match method {
                    "turn/steer" => message_of(params),
                    _ => Event::Interrupt,
                };
                let _ended = turn.events.send(event);
                Ok(json!({ "turnId": turn.id }))
            }
            other => Err(format!("the fake does not know {other}")),
        }
    }

    fn open(&self, client: u64, thread: &str, params: &Value) -> Value {
        let mut state = self.state();
        let opened = state.threads.entry(thread.to_owned()).or_default();
        if !opened.clients.contains(&client) {
            opened.clients.push(client);
        }
        if opened.settings.is_null() {
            let policy = std::env::var("FAKE_CODEX_POLICY").ok();
            let policy = policy.map_or(params["approvalPolicy"].clone(), Value::from);
            let or = |value: &Value, default: &str| {
                let default = value.is_null().then(|| Value::from(default));
                default.unwrap_or_else(|| value.clone())
            };
            let is_read_only = params["sandbox"] == "read-only";
            let sandbox = if is_read_only {
                "readOnly"
            } else {
                "workspaceWrite"
            };
            let collaboration = json!({ "mode": "default", "settings": { "model": "fake" } });
            opened.settings = json!({ "approvalPolicy": or(&policy, "untrusted"),
                "approvalsReviewer": or(&params["approvalsReviewer"], "user"), "cwd": directory(),
                "model": "fake", "modelProvider": "fake", "collaborationMode": collaboration,
                "sandboxPolicy": { "type": sandbox, "networkAccess": false } });
        }
        let mut answer = opened.settings.clone();
        answer["sandbox"] = answer["sandboxPolicy"].take();
        let turns = std::fs::read_to_string(file(thread)).unwrap_or_default();
        let turns = turns.lines().enumerate().map(|(at, line)| {
            let item = message_item(&format!("item-{at}"), &Value::Null, line);
            turn_of(&format!("earlier-{at}"), "completed", &[item])
        });
        let turns: Vec<_> = turns.collect();
        answer["thread"] = thread_of(thread, &Value::Null, &turns);
        answer
    }

    /// Starts a turn, or adds the message to the running turn. Returns the id of the turn.
    fn start_turn(self: &Arc<Self>, thread: &str, params: &Value) -> String {
        let id = format!("turn-{}", self.next_id());
        let mut state = self.state();
        let running = state.threads.get_mut(thread).expect("a thread");
        if let Some(turn) = &running.turn {
            let _ended = turn.events.send(message_of(params));
            return turn.id.clone();
        }
        for field in ["approvalPolicy", "approvalsReviewer", "sandboxPolicy"] {
            if !params[field].is_null() {
                running.settings[field] = params[field].clone();
            }
        }
        let (events, receiver) = mpsc::unbounded_channel();
        let turn = id.clone();
        running.turn = Some(Turn { id: turn, events });
        drop(state);
        let server = Arc::clone(self);
        let (thread, turn, message) = (thread.to_owned(), id.clone(), message_of(params));
        tokio::spawn(async move { server.turn(&thread, &turn, message, receiver).await });
        id
    }

    async fn turn(
        &self,
        thread: &str,
        turn: &str,
        message: Event,
        mut events: mpsc::UnboundedReceiver<Event>,
    ) {
        let active = json!({ "type": "active", "activeFlags": [] });
        self.status(thread, &active);
        let started = turn_of(turn, "inProgress", &[]);
        self.notify(thread, "turn/started", json!({ "turn": started }));
        let Event::Message { id, text } = message else {
            panic!("a turn begins with a message");
        };
        self.taken(thread, turn, &id, &text);
        record(thread, &text);
        let mut run = Run {
            server: self,
            thread,
            turn,
            events: &mut events,
            waiting: Vec::new(),
        };
        let mut end = run.answer(&text).await;
        while let (End::Text(answer), Some((id, text))) = (&end, run.waiting.pop()) {
            let answer = answer.clone();
            self.taken(thread, turn, &id, &text);
            end = match run.answer(&text).await {
                End::Text(text) => End::Text(format!("{answer}\n{text}")),
                end @ (End::Failed | End::Interrupted) => end,
            };
        }
        let (status, error) = match end {
            End::Text(text) => {
                record(thread, &text);
                let item = self.next_id().to_string();
                let message =
                    |text: &str| json!({ "type": "agentMessage", "id": item, "text": text });
                self.item(thread, turn, "item/started", message(""));
                let delta = json!({ "turnId": turn, "itemId": item, "delta": text });
                self.notify(thread, "item/agentMessage/delta", delta);
                self.item(thread, turn, "item/completed", message(&text));
                let tokens = json!({ "inputTokens": 100, "cachedInputTokens": 40, "outputTokens": 10,
                    "reasoningOutputTokens": 3, "totalTokens": 110 });
                let usage = json!({ "last": tokens, "total": tokens, "modelContextWindow": 1000 });
                let usage = json!({ "turnId": turn, "tokenUsage": usage });
                self.notify(thread, "thread/tokenUsage/updated", usage);
                ("completed", Value::Null)
            }
            End::Failed => {
                let why = json!({ "error": { "message": "the model is broken" } });
                ("failed", json!({ "message": why.to_string() }))
            }
            End::Interrupted => ("interrupted", Value::Null),
        };
        self.state().threads.get_mut(thread).expect("a thread").turn = None;
        self.status(thread, &idle());
        let mut turn = turn_of(turn, status, &[]);
        turn["error"] = error;
        self.notify(thread, "turn/completed", json!({ "turn": turn }));
    }

    fn item(&self, thread: &str, turn: &str, method: &str, item: Value) {
        let time = if method == "item/started" {
            "startedAtMs"
        } else {
            "completedAtMs"
        };
        self.notify(
            thread,
            method,
            json!({ "turnId": turn, "item": item, time: 1 }),
        );
    }

    /// Reports a message that the model has received.
    fn taken(&self, thread: &str, turn: &str, id: &Value, text: &str) {
        let item = message_item("user", id, text);
        for method in ["item/started", "item/completed"] {
            self.item(thread, turn, method, item.clone());
        }
    }
}

struct Run<'a> {
    server: &'a Server,
    thread: &'a str,
    turn: &'a str,
    events: &'a mut mpsc::UnboundedReceiver<Event>,
    /// Messages that have arrived while a dialog was open: the id and the text.
    waiting: Vec<(Value, String)>,
}

impl Run<'_> {
    async fn answer(&mut self, prompt: &str) -> End {
        let has = |word: &str| prompt.contains(word);
        if has("crash") || has("fork") {
            // The clients know that the model has the prompt.
            while self.server.unwritten.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
            if has("fork") {
                fake_calls::leave_process();
                std::process::exit(0);
            }
            std::process::exit(3);
        } else if has("flood") {
            self.flood().await;
        } else if has("broken") {
            return End::Failed;
        } else if has("slow") {
            if let Some(Event::Message { id, text }) = self.events.recv().await {
                self.server.taken(self.thread, self.turn, &id, &text);
                return End::Text(format!("During the turn: {text}"));
            }
            return End::Interrupted;
        } else if has("endless") {
            while let Some(event) = self.events.recv().await {
                if let Event::Interrupt = event {
                    return End::Interrupted;
                }
            }
        } else if has("edit it") {
            let path = directory().join("edited.txt");
            let change = json!([{ "path": path, "kind": { "type": "add" }, "diff": "edited\n" }]);
            let item = json!({ "type": "fileChange", "changes": change });
            return match self
                .approved(
                    "item/fileChange/requestApproval",
                    item,
                    json!({ "startedAtMs": 1 }),
                )
                .await
            {
                Ok(true) => {
                    std::fs::write(path, "edited\n").expect("a file");
                    End::Text("it is edited".to_owned())
                }
                Ok(false) => End::Text("rejected by user".to_owned()),
                Err(end) => end,
            };
        } else if has("use a tool") {
            let item = json!({ "type": "mcpToolCall", "server": "other", "tool": "send",
                "arguments": { "to": "all" } });
            let meta = json!({ "codex_approval_kind": "mcp_tool_call", "tool_name": "send",
                "tool_params": { "to": "all" } });
            let params = json!({ "serverName": "other", "mode": "form", "_meta": meta,
                "message": "Allow it?", "requestedSchema": { "type": "object", "properties": {} } });
            return match self
                .approved("mcpServer/elicitation/request", item, params)
                .await
            {
                Ok(true) => End::Text("the tool ran".to_owned()),
                Ok(false) => End::Text("the tool was rejected".to_owned()),
                Err(end) => end,
            };
        } else if let Some((_, rest)) = prompt.split_once("own the task ") {
            let task = rest.split(':').next().unwrap_or_default().to_owned();
            let (tool, field, text) = match self.made(prompt).await {
                Ok(true) => ("complete_task", "result", "the fake is done"),
                Ok(false) => ("fail_task", "reason", "rejected by user"),
                Err(end) => return end,
            };
            let team = self.server.state().team.clone();
            let arguments = json!({ "task": task, field: text });
            let call = move || team_tools::call(&team, tool, &arguments);
            let text = tokio::task::spawn_blocking(call).await.expect("an answer");
            return End::Text(format!("{tool}: {text}"));
        } else if has("try it") {
            return match self.made(prompt).await {
                Ok(true) => End::Text("it ran".to_owned()),
                Ok(false) => End::Text("rejected by user".to_owned()),
                Err(end) => end,
            };
        } else if has("ping") {
            let settings = self.server.state().threads[self.thread].settings.clone();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return End::Text(format!(
                "pong with {}, {}",
                text(&settings["sandboxPolicy"]["type"]),
                text(&settings["approvalPolicy"])
            ));
        }
        End::Text("I have nothing to do".to_owned())
    }

    async fn flood(&self) -> ! {
        loop {
            let delta =
                json!({ "turnId": self.turn, "itemId": "flood", "delta": "flood ".repeat(1000) });
            self.server
                .notify(self.thread, "item/agentMessage/delta", delta);
            while self.server.unwritten.load(Ordering::Relaxed) > 100 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Runs a command that creates a file. Returns whether the command was executed.
    async fn made(&mut self, prompt: &str) -> Result<bool, End> {
        let line = fake_calls::line(prompt);
        let cwd = directory();
        let command = format!("/bin/bash -lc '{line}'");
        let actions = json!([{ "type": "unknown", "command": line }]);
        let item = json!({ "type": "commandExecution", "command": command, "cwd": cwd,
            "commandActions": actions });
        let params = json!({ "kind": "command", "environmentId": "local", "reason": "May it?",
            "command": command, "cwd": cwd, "startedAtMs": 1,
            "commandActions": actions,
            "proposedExecpolicyAmendment": ["echo", "made"],
            "availableDecisions": ["accept", "cancel"] });
        let method = "item/commandExecution/requestApproval";
        let is_allowed = self.approved(method, item, params).await?;
        if is_allowed {
            fake_calls::run(&line);
        }
        Ok(is_allowed)
    }

    /// Asks all clients of the conversation for an approval. The first answer counts.
    async fn approved(
        &mut self,
        method: &str,
        mut item: Value,
        mut params: Value,
    ) -> Result<bool, End> {
        let (server, thread, turn) = (self.server, self.thread, self.turn);
        item["id"] = format!("call-{}", server.next_id()).into();
        item["status"] = "inProgress".into();
        server.item(thread, turn, "item/started", item.clone());
        let request = server.next_id();
        (params["threadId"], params["turnId"]) = (thread.into(), turn.into());
        params["itemId"] = item["id"].clone();
        server.check(Kind::Question, method, &params);
        let (asked, answer) = oneshot::channel();
        let asked = (method.to_owned(), asked);
        server.state().asked.insert(request, asked);
        let message = json!({ "id": request, "method": method, "params": params });
        let clients = server.state().threads[thread].clients.clone();
        for client in clients {
            server.send(client, &message);
        }
        let mut answer = answer;
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer.expect("an answer"),
                event = self.events.recv() => match event {
                    Some(Event::Message { id, text }) => self.waiting.push((id, text)),
                    Some(Event::Interrupt) | None => break json!({ "decision": "cancel" }),
                }
            }
        };
        server.state().asked.remove(&request);
        let resolved = json!({ "requestId": request });
        server.notify(thread, "serverRequest/resolved", resolved);
        let word = answer["decision"].as_str().or(answer["action"].as_str());
        let word = word.expect("a decision").to_owned();
        item["status"] = match word.as_str() {
            "accept" => "completed",
            _ if item["type"] == "mcpToolCall" => "failed",
            _ => "declined",
        }
        .into();
        if item["status"] == "failed" {
            item["error"] = json!({ "message": "user rejected MCP tool call" });
        }
        server.item(thread, turn, "item/completed", item);
        match word.as_str() {
            "accept" => Ok(true),
            "decline" => Ok(false),
            _ => Err(End::Interrupted),
        }
    }
}

fn directory() -> PathBuf {
    std::env::current_dir().expect("a directory")
}

fn idle() -> Value {
    json!({ "type": "idle" })
}

fn thread_of(id: &str, source: &Value, turns: &[Value]) -> Value {
    json!({ "id": id, "sessionId": id, "cliVersion": "0.169.0", "createdAt": 1, "updatedAt": 1,
        "cwd": directory(), "ephemeral": false, "modelProvider": "fake", "preview": "", "projectId": null,
        "source": "appServer", "threadSource": source, "parentThreadId": null, "status": idle(),
        "turns": turns })
}

fn turn_of(id: &str, status: &str, items: &[Value]) -> Value {
    json!({ "id": id, "status": status, "items": items })
}

fn message_item(id: &str, client: &Value, text: &str) -> Value {
    let content = json!([{ "type": "text", "text": text }]);
    json!({ "type": "userMessage", "id": id, "clientId": client, "content": content })
}

fn message_of(params: &Value) -> Event {
    Event::Message {
        id: params["clientUserMessageId"].clone(),
        text: params["input"][0]["text"]
            .as_str()
            .expect("a text")
            .to_owned(),
    }
}

fn file(thread: &str) -> PathBuf {
    let sessions = std::env::var_os("FAKE_CODEX_SESSIONS").expect("a directory");
    PathBuf::from(sessions).join(format!("{thread}.rollout"))
}

fn record(thread: &str, text: &str) {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file(thread));
    writeln!(file.expect("a file"), "{text:?}").expect("a record");
}
