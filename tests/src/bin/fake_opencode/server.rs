//! The server of the fake: its conversations, its requests for permissions, and its routes.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use agent_team_tests::fake_calls;
use agent_team_tests::pinned_schema::{Kind, PinnedSchema};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::http::{authorization, message};
use super::turn::Run;
use super::{shapes, variable};

pub(super) struct Server {
    state: Mutex<State>,
    /// The events to clients that are not written yet.
    pub(super) unwritten: AtomicUsize,
    authorization: String,
    schema: PinnedSchema,
    pub(super) team: Vec<String>,
    pub(super) rules: String,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) clients: Vec<mpsc::UnboundedSender<String>>,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) asked: HashMap<String, Asked>,
    last: u64,
}

#[derive(Default)]
pub(super) struct Session {
    permission: Value,
    pub(super) turn: Option<mpsc::UnboundedSender<Event>>,
}

pub(super) struct Asked {
    pub(super) session: String,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// A reply to a request, and its reason.
#[derive(Clone)]
pub(super) enum Answer {
    Allowed,
    Rejected(Option<String>),
}

/// An input of a running turn.
pub(super) enum Event {
    Message(String),
    Abort,
}

impl Server {
    pub(super) async fn serve() {
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
            schema: PinnedSchema::opencode(),
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    pub(super) fn id(&self, kind: &str) -> String {
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
        if variable("FAKE_OPENCODE_MUTE").is_some() {
            return std::future::pending().await;
        }
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
                let route = route(method, &path);
                self.check(Kind::Request, &route, &body);
                let (status, answer) = self.answer(method, &path, &body);
                if status < 300 {
                    self.check(Kind::Answer, &route, &answer);
                }
                (status, answer)
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

    /// Ends the fake at a message that does not match the schema.
    fn check(&self, kind: Kind, name: &str, value: &Value) {
        if let Err(fault) = self.schema.check(kind, name, value) {
            eprintln!("the fake of OpenCode: {fault}");
            std::process::exit(70);
        }
    }

    pub(super) fn event(&self, kind: &str, session: &str, mut properties: Value) {
        properties["sessionID"] = session.into();
        self.check(Kind::Notification, kind, &properties);
        let kind = match variable("FAKE_OPENCODE_EVENTS") {
            Some(other) => format!("{other}.{kind}"),
            None => kind.to_owned(),
        };
        fake_calls::without_field("FAKE_OPENCODE_WITHOUT", &mut properties);
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
                let messages = texts.lines().map(|text| {
                    let part = json!({ "id": "prt_0", "sessionID": id, "messageID": "msg_0",
                        "type": "text", "text": text });
                    json!({ "info": shapes::user_message("msg_0", id), "parts": [part] })
                });
                (200, messages.collect())
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
            ("GET", ["config", "providers"]) => (200, shapes::providers()),
            ("POST", ["permission", id, "reply"]) => match self.reply(id, body) {
                true => (200, true.into()),
                false => missing,
            },
            _ => unreachable!("the schema has no such route"),
        }
    }

    /// Adds rules to a conversation.
    pub(super) fn opened(&self, id: &str, body: &Value) -> Value {
        let mut state = self.state();
        let session = state.sessions.entry(id.to_owned()).or_default();
        if variable("FAKE_OPENCODE_RULES").is_none() {
            let earlier = session.permission.as_array().cloned().unwrap_or_default();
            let added = body["permission"].as_array().cloned().unwrap_or_default();
            session.permission = earlier.into_iter().chain(added).collect();
        }
        shapes::session(id, None, &session.permission)
    }

    /// The action of the last rule of the conversation for this permission.
    pub(super) fn action(&self, session: &str, permission: &str) -> String {
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

    pub(super) fn reply(&self, id: &str, body: &Value) -> bool {
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
        // A rejection applies to all requests of the conversation. The other requests receive no reason.
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

    /// Adds a text to the conversation. Starts a turn, or adds the text to the running turn.
    fn prompt(self: Arc<Self>, session: &str, part: &Value) {
        let text = part["text"].as_str().expect("a text").to_owned();
        if text.contains("unknown model") {
            let data = json!({ "message": "the model does not exist" });
            let error = json!({ "name": "UnknownError", "data": data });
            return self.event("session.error", session, json!({ "error": error }));
        }
        let info = shapes::session(session, None, &Value::Null);
        self.event("session.updated", session, json!({ "info": info }));
        let message = self.id("msg");
        let info = shapes::user_message(&message, session);
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
            allows_itself: false,
            line: fake_calls::line(&text),
            waiting: Vec::new(),
            events,
        };
        tokio::spawn(run.turn(text));
    }

    pub(super) fn part(&self, session: &str, mut part: Value) {
        part["sessionID"] = session.into();
        self.event(
            "message.part.updated",
            session,
            json!({ "part": part, "time": 1 }),
        );
    }

    pub(super) fn idle(&self, session: &str) {
        let status = json!({ "status": { "type": "idle" } });
        self.event("session.status", session, status);
        self.event("session.idle", session, json!({}));
    }
}

/// The route of a path, as the schema names it.
fn route(method: &str, path: &[&str]) -> String {
    let mut segments: Vec<&str> = path.to_vec();
    match segments.as_mut_slice() {
        ["session", "status"] => {}
        ["session", id, ..] => *id = "{sessionID}",
        ["permission", id, ..] => *id = "{requestID}",
        _ => {}
    }
    format!("{method} /{}", segments.join("/"))
}

fn file(session: &str) -> PathBuf {
    let sessions = variable("FAKE_OPENCODE_SESSIONS").expect("a directory");
    PathBuf::from(sessions).join(format!("{session}.session"))
}

pub(super) fn record(session: &str, text: &str) {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file(session));
    writeln!(file.expect("a file"), "{text:?}").expect("a record");
}
