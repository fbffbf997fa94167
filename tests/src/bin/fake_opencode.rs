//! A fake of OpenCode: its server and its terminal interface speak to each other and to the worker as the real program was
//! recorded (1.18.33), and there is no model. What a turn does depends on words in its text:
//!
//! - `own the task`: a command that makes `made.txt`, then `complete_task` or `fail_task` with the outcome
//! - `try it`: the same command, without a task; `helper`: the same command, by a helper
//! - `edit it`: a change of the file `edited.txt`; `try both`: the command and the change at once
//! - `read FILE`: reads the file, which only asks
//! - `list elsewhere`: the command `ls` in another directory
//! - `use a tool`: a call of a tool of another MCP server
//! - `ping`: answers `pong`, with the permissions of the conversation
//! - `slow`: waits for a message during the turn, and repeats it
//! - `endless`: waits for an abort
//! - `broken`: the model fails; `unknown model`: the prompt is accepted, and cannot be added to the conversation
//! - `ask me`: a question that only the user can answer
//! - `crash`: the server exits with 3; `hang up`: the server closes the stream of events
//!
//! A line that is typed in the interface is a prompt of the user; `/new` begins a conversation with the next line, `/quit` ends
//! the interface. In a dialog, `y` allows once, `a` allows always, and Esc rejects. Without a dialog, Esc aborts the turn. The
//! conversations are files in the directory `FAKE_OPENCODE_SESSIONS`. With `FAKE_OPENCODE_VERSION`, it reports this version;
//! with `FAKE_OPENCODE_PASSWORD`, its server wants this password; with `FAKE_OPENCODE_EVENTS`, its events have names of
//! another version; with `FAKE_OPENCODE_ADDRESS`, it reports this address; with `FAKE_OPENCODE_RULES`, it drops the
//! permissions of a conversation.
#![expect(clippy::print_stdout, reason = "it draws on its terminal")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use agent_team_tests::team_tools;
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

const ESCAPE: u8 = 0x1b;

const LINE: &str = "echo made > made.txt";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|word| word == "--version") {
        let version = variable("FAKE_OPENCODE_VERSION");
        return println!("{}", version.as_deref().unwrap_or("1.18.33"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", "--hostname", "127.0.0.1", "--port", "0"] => runtime.block_on(Server::serve()),
        ["attach", url, "--dir", directory, "-s", session] => {
            let client = Client::new(url, directory);
            runtime.block_on(Interface::run(client, session));
        }
        other => panic!("unknown arguments: {other:?}"),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn authorization() -> String {
    let password = variable("OPENCODE_SERVER_PASSWORD").expect("a password");
    let word = format!("opencode:{password}");
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(word))
}

fn cwd() -> PathBuf {
    std::env::current_dir().expect("a directory")
}

struct Server {
    state: Mutex<State>,
    /// The events to clients that are not written yet.
    unwritten: AtomicUsize,
    authorization: String,
    team: Vec<String>,
    rules: String,
}

#[derive(Default)]
struct State {
    clients: Vec<mpsc::UnboundedSender<String>>,
    sessions: HashMap<String, Session>,
    asked: HashMap<String, Asked>,
    last: u64,
}

#[derive(Default)]
struct Session {
    permission: Value,
    turn: Option<mpsc::UnboundedSender<Event>>,
}

struct Asked {
    session: String,
    answer: oneshot::Sender<Answer>,
}

/// A reply to a request, and its reason.
#[derive(Clone)]
enum Answer {
    Allowed,
    Rejected(Option<String>),
}

/// What reaches a running turn.
enum Event {
    Message(String),
    Abort,
}

/// How a turn ended.
enum End {
    Text(String),
    Failed,
    Aborted,
    /// The user has rejected a call.
    Rejected,
}

impl Server {
    async fn serve() {
        let config = variable("OPENCODE_CONFIG_CONTENT").expect("settings");
        let config: Value = serde_json::from_str(&config).expect("JSON");
        assert_eq!(config["permission"]["*"], "ask");
        let words = config["mcp"]["team"]["command"].as_array();
        let words = words.expect("the team's tools").iter();
        let rules = config["instructions"][0].as_str().expect("a file");
        let authorization = match variable("FAKE_OPENCODE_PASSWORD") {
            Some(other) => other,
            None => authorization(),
        };
        let server = Arc::new(Self {
            state: Mutex::default(),
            unwritten: AtomicUsize::new(0),
            authorization,
            team: words
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect(),
            rules: std::fs::read_to_string(rules).expect("the team's rules"),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let address = variable("FAKE_OPENCODE_ADDRESS").unwrap_or(address);
        println!("opencode server listening on {address}");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&server).client(stream));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn id(&self, kind: &str) -> String {
        let mut state = self.state();
        state.last += 1;
        format!("{kind}_{}_{}", std::process::id(), state.last)
    }

    /// Serves one request.
    async fn client(self: Arc<Self>, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let Some((line, headers, body)) = message(&mut stream).await else {
            return;
        };
        let mut words = line.split(' ');
        let (method, target) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let path = target.split('?').next().unwrap_or_default();
        let path: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (status, answer) = match headers.get("authorization") {
            Some(word) if *word == self.authorization => {
                if path == ["event"] {
                    return self.events(stream).await;
                }
                self.answer(method, &path, &body)
            }
            _ => (401, Value::Null),
        };
        let answer = if answer.is_null() {
            String::new()
        } else {
            answer.to_string()
        };
        let response = format!(
            "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
            answer.len()
        );
        let _gone = stream.write_all(response.as_bytes()).await;
    }

    /// Writes the events until the client or the server hangs up.
    async fn events(&self, mut stream: BufReader<TcpStream>) {
        let (sender, mut events) = mpsc::unbounded_channel();
        self.state().clients.push(sender);
        let head = "HTTP/1.1 200 -\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let mut text = head.to_owned();
        while stream.write_all(text.as_bytes()).await.is_ok() {
            let Some(event) = events.recv().await else {
                return;
            };
            self.unwritten.fetch_sub(1, Ordering::Relaxed);
            text = event;
        }
    }

    fn event(&self, kind: &str, session: &str, mut properties: Value) {
        properties["sessionID"] = session.into();
        let kind = match variable("FAKE_OPENCODE_EVENTS") {
            Some(other) => format!("{other}.{kind}"),
            None => kind.to_owned(),
        };
        let event = json!({ "id": "evt", "type": kind, "properties": properties });
        let event = format!("data: {event}\n\n");
        self.state().clients.retain(|client| {
            let is_sent = client.send(event.clone()).is_ok();
            self.unwritten
                .fetch_add(usize::from(is_sent), Ordering::Relaxed);
            is_sent
        });
    }

    fn answer(self: &Arc<Self>, method: &str, path: &[&str], body: &Value) -> (u16, Value) {
        let missing = (
            404,
            json!({ "name": "NotFoundError", "data": { "message": "not found" } }),
        );
        match (method, path) {
            ("POST", ["session"]) => {
                let id = self.id("ses");
                record(&id, "begins");
                (200, self.opened(&id, body))
            }
            (_, ["session", id, ..]) if *id != "status" && !file(id).exists() => missing,
            ("PATCH", ["session", id]) => (200, self.opened(id, body)),
            ("GET", ["session", id, "message"]) => {
                let texts = std::fs::read_to_string(file(id)).unwrap_or_default();
                (200, texts.lines().collect())
            }
            ("POST", ["session", id, "prompt_async"]) => {
                let part = body["parts"][0].clone();
                let (server, session) = (Arc::clone(self), (*id).to_owned());
                tokio::spawn(async move { server.prompt(&session, &part) });
                (204, Value::Null)
            }
            ("POST", ["session", id, "abort"]) => {
                let state = self.state();
                let session = state.sessions.get(*id);
                if let Some(turn) = session.and_then(|session| session.turn.as_ref()) {
                    let _ended = turn.send(Event::Abort);
                }
                (200, true.into())
            }
            ("GET", ["session", "status"]) => {
                let state = self.state();
                let busy = state
                    .sessions
                    .iter()
                    .filter(|(_, session)| session.turn.is_some());
                let busy = busy.map(|(id, _)| (id.clone(), json!({ "type": "busy" })));
                (200, Value::Object(busy.collect()))
            }
            ("GET", ["mcp"]) => (200, json!({ "team": { "status": "connected" } })),
            ("GET", ["config", "providers"]) => {
                let models = json!({ "scripted": { "limit": { "context": 1000 } } });
                (
                    200,
                    json!({ "providers": [{ "id": "fake", "models": models }] }),
                )
            }
            ("POST", ["permission", id, "reply"]) => match self.reply(id, body) {
                true => (200, true.into()),
                false => missing,
            },
            // The real server answers with a page for browsers.
            _ => (200, Value::Null),
        }
    }

    /// Adds rules to a conversation.
    fn opened(&self, id: &str, body: &Value) -> Value {
        let mut state = self.state();
        let session = state.sessions.entry(id.to_owned()).or_default();
        if variable("FAKE_OPENCODE_RULES").is_none() {
            let earlier = session.permission.as_array().cloned().unwrap_or_default();
            let added = body["permission"].as_array().cloned().unwrap_or_default();
            session.permission = earlier.into_iter().chain(added).collect();
        }
        json!({ "id": id, "directory": cwd(), "permission": session.permission })
    }

    /// The action of the last rule of the conversation for this permission.
    fn action(&self, session: &str, permission: &str) -> String {
        let state = self.state();
        let rules = state.sessions[session].permission.as_array();
        let rules = rules.into_iter().flatten().rev();
        let mut rules = rules.filter(|rule| {
            let name = rule["permission"].as_str().unwrap_or_default();
            name.strip_suffix('*')
                .map_or(name == permission, |beginning| {
                    permission.starts_with(beginning)
                })
        });
        let action = rules.next().and_then(|rule| rule["action"].as_str());
        action.unwrap_or("allow").to_owned()
    }

    fn reply(&self, id: &str, body: &Value) -> bool {
        let Some(asked) = self.state().asked.remove(id) else {
            return false;
        };
        let session = asked.session;
        let replied = |id: &str| {
            let reply = json!({ "requestID": id, "reply": body["reply"] });
            self.event("permission.replied", &session, reply);
        };
        replied(id);
        if body["reply"] != "reject" {
            let _ended = asked.answer.send(Answer::Allowed);
            return true;
        }
        let reason = body["message"].as_str().map(str::to_owned);
        let _ended = asked.answer.send(Answer::Rejected(reason));
        // A rejection applies to all requests of the conversation. The others have no reason.
        let others: Vec<_> = {
            let mut state = self.state();
            let others = state.asked.extract_if(|_, other| other.session == session);
            others.collect()
        };
        for (id, other) in others {
            replied(&id);
            let _ended = other.answer.send(Answer::Rejected(None));
        }
        true
    }

    /// Adds a text to the conversation, and starts a turn, or adds to the running one.
    fn prompt(self: Arc<Self>, session: &str, part: &Value) {
        let text = part["text"].as_str().expect("a text").to_owned();
        if text.contains("unknown model") {
            let data = json!({ "message": "the model does not exist" });
            let error = json!({ "name": "UnknownError", "data": data });
            return self.event("session.error", session, json!({ "error": error }));
        }
        let info = json!({ "parentID": null, "id": session });
        self.event("session.updated", session, json!({ "info": info }));
        let message = self.id("msg");
        let info = json!({ "id": message, "role": "user", "sessionID": session });
        self.event("message.updated", session, json!({ "info": info }));
        let id = part["id"]
            .as_str()
            .map_or_else(|| self.id("prt"), str::to_owned);
        self.part(
            session,
            json!({ "id": id, "messageID": message, "type": "text", "text": text }),
        );
        record(session, &text);
        let mut state = self.state();
        let running = state.sessions.entry(session.to_owned()).or_default();
        if let Some(turn) = &running.turn {
            let _ended = turn.send(Event::Message(text));
            return;
        }
        let (sender, events) = mpsc::unbounded_channel();
        running.turn = Some(sender);
        drop(state);
        let run = Run {
            server: Arc::clone(&self),
            session: session.to_owned(),
            message: String::new(),
            events,
        };
        tokio::spawn(run.turn(text));
    }

    fn part(&self, session: &str, mut part: Value) {
        part["sessionID"] = session.into();
        self.event("message.part.updated", session, json!({ "part": part }));
    }

    fn idle(&self, session: &str) {
        let status = json!({ "status": { "type": "idle" } });
        self.event("session.status", session, status);
        self.event("session.idle", session, json!({}));
    }
}

/// A turn of a conversation.
struct Run {
    server: Arc<Server>,
    session: String,
    /// The id of the model's answer.
    message: String,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Run {
    async fn turn(mut self, prompt: String) {
        self.begin();
        let end = self.answer(&prompt).await;
        let (server, session) = (Arc::clone(&self.server), self.session.clone());
        let aborted = json!({ "name": "MessageAbortedError", "data": { "message": "Aborted" } });
        let broken = json!({ "name": "APIError", "data": { "message": "the model is broken" } });
        let (finish, error) = match end {
            End::Text(text) => {
                self.text(&text);
                ("stop", Value::Null)
            }
            End::Rejected => ("tool-calls", Value::Null),
            End::Failed => ("", broken),
            End::Aborted => ("", aborted),
        };
        if !error.is_null() {
            // The server reports that it is idle before the answer is complete, and again after that.
            server.event("session.error", &session, json!({ "error": error }));
            server.idle(&session);
        }
        self.complete(finish, &error);
        let mut state = server.state();
        state
            .sessions
            .get_mut(&session)
            .expect("a conversation")
            .turn = None;
        drop(state);
        server.idle(&session);
    }

    /// Begins an answer of the model.
    fn begin(&mut self) {
        self.message = self.server.id("msg");
        let status = json!({ "status": { "type": "busy" } });
        self.server.event("session.status", &self.session, status);
        self.report("", &Value::Null, false);
    }

    fn complete(&self, finish: &str, error: &Value) {
        if error.is_null() {
            let tokens = json!({ "total": 110, "input": 60, "output": 7, "reasoning": 3,
                "cache": { "read": 40, "write": 0 } });
            self.part(
                json!({ "id": self.server.id("prt"), "type": "step-finish", "tokens": tokens,
                "cost": 0.25 }),
            );
        }
        self.report(finish, error, true);
    }

    fn report(&self, finish: &str, error: &Value, is_complete: bool) {
        let mut info = json!({ "id": self.message, "role": "assistant", "sessionID": self.session,
            "providerID": "fake", "modelID": "scripted", "time": { "created": 1 } });
        if is_complete {
            info["time"]["completed"] = 2.into();
        }
        if !finish.is_empty() {
            info["finish"] = finish.into();
        }
        if !error.is_null() {
            info["error"] = error.clone();
        }
        self.server
            .event("message.updated", &self.session, json!({ "info": info }));
    }

    fn part(&self, mut part: Value) {
        part["messageID"] = self.message.clone().into();
        self.server.part(&self.session, part);
    }

    /// An answer in pieces.
    fn text(&self, text: &str) {
        record(&self.session, text);
        let id = self.server.id("prt");
        let part = |text: &str| json!({ "id": id, "type": "text", "text": text });
        self.part(part(""));
        let delta =
            json!({ "partID": id, "messageID": self.message, "field": "text", "delta": text });
        self.server
            .event("message.part.delta", &self.session, delta);
        self.part(part(text));
    }

    async fn answer(&mut self, prompt: &str) -> End {
        let has = |word: &str| prompt.contains(word);
        if has("crash") {
            // The clients know that the conversation contains the prompt.
            while self.server.unwritten.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
            std::process::exit(3);
        } else if has("hang up") {
            self.server.state().clients.clear();
            return self.aborted().await;
        } else if has("broken") {
            return End::Failed;
        } else if has("ask me") {
            let question = json!({ "id": "que_1", "questions": [{ "question": "Which?" }] });
            self.server.event("question.asked", &self.session, question);
            return self.aborted().await;
        } else if has("slow") {
            let Some(Event::Message(text)) = self.events.recv().await else {
                return End::Aborted;
            };
            self.complete("tool-calls", &Value::Null);
            self.begin();
            return End::Text(format!("During the turn: {text}"));
        } else if has("endless") {
            return self.aborted().await;
        } else if has("edit it") {
            return self.ran(&[edit()], "it is edited", write).await;
        } else if has("use a tool") {
            let asked = json!({ "permission": "other_send", "patterns": ["*"], "metadata": {} });
            let send = call("other_send", json!({ "to": "all" }));
            return self.ran(&[(send, asked)], "the tool ran", || {}).await;
        } else if has("try both") {
            return self.ran(&[made(), edit()], "both ran", || {}).await;
        } else if let Some((_, file)) = prompt.split_once("read ") {
            let path = file.split_whitespace().next().unwrap_or_default();
            let asked = json!({ "permission": "read", "patterns": [path], "metadata": {} });
            let read = (call("read", json!({ "filePath": path })), asked);
            return self.ran(&[read], "it is read", || {}).await;
        } else if has("list elsewhere") {
            let input = json!({ "command": "ls", "workdir": "/elsewhere" });
            let list = (call("bash", input), bash("ls"));
            return self.ran(&[list], "listed", || {}).await;
        } else if has("helper") {
            let helper = self.server.id("ses");
            let info = json!({ "id": helper, "parentID": self.session });
            self.server
                .event("session.created", &helper, json!({ "info": info }));
            let own = std::mem::replace(&mut self.session, helper.clone());
            let info = json!({ "id": self.server.id("msg"), "role": "user", "sessionID": helper });
            self.server
                .event("message.updated", &helper, json!({ "info": info }));
            self.server.opened(
                &helper,
                &json!({ "permission": [
                { "permission": "*", "pattern": "*", "action": "ask" }] }),
            );
            let end = self.ran(&[made()], "the helper ran", make).await;
            self.session = own;
            return end;
        } else if let Some((_, rest)) = prompt.split_once("own the task ") {
            let task = rest.split(':').next().unwrap_or_default().to_owned();
            let (tool, field, text) = match self.ran(&[made()], "it ran", make).await {
                End::Text(text) if text == "it ran" => {
                    ("complete_task", "result", "the fake is done".to_owned())
                }
                End::Text(why) => ("fail_task", "reason", why),
                end => return end,
            };
            let team = self.server.team.clone();
            let arguments = json!({ "task": task, field: text });
            let call = move || team_tools::call(&team, tool, &arguments);
            let text = tokio::task::spawn_blocking(call).await.expect("an answer");
            return End::Text(format!("{tool}: {text}"));
        } else if has("try it") {
            return self.ran(&[made()], "it ran", make).await;
        } else if has("ping") {
            let action = self.server.action(&self.session, "bash");
            let has_rules = self.server.rules.contains("team");
            let rules = if has_rules { "the rules" } else { "no rules" };
            return End::Text(format!("pong with {action} and {rules}"));
        }
        End::Text("I have nothing to do".to_owned())
    }

    async fn aborted(&mut self) -> End {
        while let Some(event) = self.events.recv().await {
            if let Event::Abort = event {
                break;
            }
        }
        End::Aborted
    }

    /// Asks for the calls, and runs them with `run`.
    async fn ran(&mut self, calls: &[(Value, Value)], done: &str, run: impl Fn()) -> End {
        let mut waiting = Vec::new();
        for (call, asked) in calls {
            let mut part = call.clone();
            part["callID"] = self.server.id("call").into();
            part["id"] = self.server.id("prt").into();
            part["state"]["status"] = "pending".into();
            self.part(part.clone());
            let permission = asked["permission"].as_str().expect("a name");
            if self.server.action(&self.session, permission) == "allow" {
                run();
                continue;
            }
            let id = self.server.id("per");
            let (sender, answer) = oneshot::channel();
            let session = self.session.clone();
            let kept = Asked {
                session,
                answer: sender,
            };
            self.server.state().asked.insert(id.clone(), kept);
            let mut asked = asked.clone();
            asked["id"] = id.into();
            asked["tool"] = json!({ "messageID": self.message, "callID": part["callID"] });
            self.server.event("permission.asked", &self.session, asked);
            // The real server reports the input of the call before or after the request.
            part["state"]["status"] = "running".into();
            self.part(part.clone());
            waiting.push((part, answer));
        }
        let mut end = End::Text(done.to_owned());
        for (mut part, answer) in waiting {
            let answer = tokio::select! {
                answer = answer => answer.expect("an answer"),
                // The request stays open.
                Some(_) = self.events.recv() => {
                    part["state"]["status"] = "error".into();
                    part["state"]["error"] = "Tool execution aborted".into();
                    self.part(part);
                    return End::Aborted;
                }
            };
            let error = "The user rejected permission to use this specific tool call";
            match answer {
                Answer::Allowed => {
                    run();
                    part["state"]["status"] = "completed".into();
                    part["state"]["output"] = "(no output)".into();
                }
                Answer::Rejected(Some(reason)) => {
                    let error = format!("{error} with the following feedback: {reason}");
                    part["state"]["status"] = "error".into();
                    part["state"]["error"] = error.clone().into();
                    end = End::Text(error);
                }
                Answer::Rejected(None) => {
                    part["state"]["status"] = "error".into();
                    part["state"]["error"] = format!("{error}.").into();
                    end = End::Rejected;
                }
            }
            self.part(part);
        }
        end
    }
}

fn call(tool: &str, input: Value) -> Value {
    json!({ "type": "tool", "tool": tool, "state": { "input": input } })
}

/// The command, and the request for it.
fn made() -> (Value, Value) {
    let input = json!({ "command": LINE, "description": "Make it" });
    (call("bash", input), bash(LINE))
}

/// The request for a command. It does not name all inputs.
fn bash(line: &str) -> Value {
    json!({ "permission": "bash", "patterns": [line], "metadata": { "command": line },
        "always": ["echo *"] })
}

/// The change of a file, and the request for it.
fn edit() -> (Value, Value) {
    let path = cwd().join("edited.txt");
    let diff = format!(
        "--- {0}\n+++ {0}\n@@ -0,0 +1,1 @@\n+edited\n",
        path.display()
    );
    let metadata = json!({ "filepath": path, "diff": diff });
    let asked = json!({ "permission": "edit", "patterns": ["edited.txt"], "metadata": metadata });
    let input = json!({ "filePath": path, "content": "edited\n" });
    (call("write", input), asked)
}

fn write() {
    std::fs::write(cwd().join("edited.txt"), "edited\n").expect("a file");
}

fn make() {
    let ran = Command::new("/bin/sh").args(["-c", LINE]).status();
    assert!(ran.is_ok_and(|status| status.success()));
}

fn file(session: &str) -> PathBuf {
    let sessions = variable("FAKE_OPENCODE_SESSIONS").expect("a directory");
    PathBuf::from(sessions).join(format!("{session}.session"))
}

fn record(session: &str, text: &str) {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file(session));
    writeln!(file.expect("a file"), "{text:?}").expect("a record");
}

/// Reads a request or a response: the first line, the headers, and the body.
async fn message(
    stream: &mut BufReader<TcpStream>,
) -> Option<(String, HashMap<String, String>, Value)> {
    let mut line = String::new();
    stream
        .read_line(&mut line)
        .await
        .ok()
        .filter(|read| *read > 0)?;
    let first = line.trim_end().to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some((
        first,
        headers,
        serde_json::from_slice(&body).unwrap_or_default(),
    ))
}

/// A client of the server.
#[derive(Clone)]
struct Client {
    address: String,
    directory: String,
}

impl Client {
    fn new(url: &str, directory: &str) -> Self {
        let address = url.strip_prefix("http://").expect("an address").to_owned();
        let directory = directory.to_owned();
        Self { address, directory }
    }

    async fn open(&self, method: &str, path: &str, body: &Value) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.address).await.expect("a server");
        let (body, directory) = (body.to_string(), &self.directory);
        let request = format!(
            "{method} {path}?directory={directory} HTTP/1.1\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
            authorization(),
            body.len()
        );
        let mut stream = BufReader::new(stream);
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a server");
        stream
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let mut stream = self.open(method, path, &body).await;
        message(&mut stream)
            .await
            .map_or(Value::Null, |(_, _, body)| body)
    }
}

/// The terminal interface.
struct Interface {
    client: Client,
    /// `None`: the next line begins a conversation.
    session: Option<String>,
    /// The request of the dialog on the screen.
    dialog: Option<String>,
}

impl Interface {
    async fn run(client: Client, session: &str) {
        let raw = Command::new("stty")
            .args(["raw", "-echo"])
            .stdin(Stdio::inherit())
            .status();
        assert!(raw.is_ok_and(|status| status.success()));
        let (sender, mut keys) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
                if sender.send(key).is_err() {
                    return;
                }
            }
            // The terminal is gone.
            std::process::exit(0);
        });
        let mut events = client.open("GET", "/event", &Value::Null).await;
        assert!(message(&mut events).await.is_some());
        let path = format!("/session/{session}/message");
        for text in client
            .ask("GET", &path, Value::Null)
            .await
            .as_array()
            .into_iter()
            .flatten()
        {
            show(text.as_str().expect("a text"));
        }
        show("Welcome to the fake");
        let (session, dialog) = (Some(session.to_owned()), None);
        let mut interface = Self {
            client,
            session,
            dialog,
        };
        let mut typed = String::new();
        let mut lines = events.lines();
        loop {
            tokio::select! {
                Some(key) = keys.recv() => interface.key(key, &mut typed).await,
                line = lines.next_line() => {
                    let Ok(Some(line)) = line else {
                        show("the server is gone");
                        std::process::exit(1);
                    };
                    if let Some(event) = line.strip_prefix("data: ") {
                        interface.event(&serde_json::from_str(event).expect("JSON"));
                    }
                }
            }
        }
    }

    async fn key(&mut self, key: u8, typed: &mut String) {
        let replies = [(b'y', "once"), (b'a', "always"), (ESCAPE, "reject")];
        let reply = replies.into_iter().find(|(known, _)| *known == key);
        if let (Some((_, reply)), Some(id)) = (reply, &self.dialog) {
            let path = format!("/permission/{id}/reply");
            let body = json!({ "reply": reply });
            self.client.ask("POST", &path, body).await;
            return;
        }
        if key == ESCAPE {
            if let Some(session) = &self.session {
                let path = format!("/session/{session}/abort");
                self.client.ask("POST", &path, json!({})).await;
            }
            return;
        }
        if key != b'\r' {
            return typed.push(key.into());
        }
        let line = std::mem::take(typed);
        match line.as_str() {
            "/quit" => std::process::exit(0),
            "/new" => {
                self.session = None;
                show("a new conversation");
            }
            _ => {
                let session = match self.session.take() {
                    Some(session) => session,
                    None => {
                        let opened = self.client.ask("POST", "/session", json!({})).await;
                        opened["id"].as_str().expect("an id").to_owned()
                    }
                };
                let path = format!("/session/{session}/prompt_async");
                let body = json!({ "parts": [{ "type": "text", "text": line }] });
                self.session = Some(session);
                self.client.ask("POST", &path, body).await;
            }
        }
    }

    fn event(&mut self, event: &Value) {
        let properties = &event["properties"];
        match event["type"].as_str().unwrap_or_default() {
            "permission.asked" => {
                self.dialog = properties["id"].as_str().map(str::to_owned);
                show("Permission required: once (y), always (a), reject (esc)");
            }
            "permission.replied" => {
                let id = properties["requestID"].as_str();
                if self.dialog.take_if(|dialog| id == Some(dialog)).is_some() {
                    show("The dialog is closed");
                }
            }
            "session.status" => show(&format!("the turn is {}", properties["status"]["type"])),
            "message.part.delta" => show(properties["delta"].as_str().expect("a text")),
            _ => {}
        }
    }
}

fn show(line: &str) {
    print!("{line}\r\n");
    std::io::stdout().flush().expect("a terminal");
}
