//! The messages between one shared server and its members: a state machine without I/O. Called by the parent module.
//!
//! | from | message | passed on |
//! |---|---|---|
//! | member | `initialize` | the first one to the server; later ones are answered with the server's result |
//! | member | request | to the server, with an id and a progress token that are unique among all members |
//! | member | `notifications/cancelled` | to the server; other notifications are dropped |
//! | member | response | to the server, if the request went to this member |
//! | server | response, progress | to the member that made the request |
//! | server | `ping` | answered |
//! | server | `roots/list` | to any initialized member: all have the same root |
//! | server | other request | to the member whose call is in flight; refused if there is not exactly one |
//! | server | other notification | to all initialized members |

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::mcp::shared::SERVER_GONE;

/// A message with its newline.
pub(super) type Line = Rc<str>;

/// The size of the messages that may wait for one member, in bytes. Progress and logs are dropped from half of it on. A
/// member that exceeds it with other messages is disconnected.
const QUEUE_BYTES: usize = 32 << 20;

/// Counted for each message in addition to its length.
const OVERHEAD: usize = 256;

/// The largest number of requests of a server that wait for members.
const ASKED_MAX: usize = 64;

/// The error code of a refused request of the server: the first of those that servers define.
const REFUSED: i32 = -32000;

const PING: &str = "ping";
const CANCELLED: &str = "notifications/cancelled";
const PROGRESS: &str = "notifications/progress";
const LOG: &str = "notifications/message";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientId(u64);

#[derive(Default)]
pub(super) struct Router {
    /// The last number that was used, for a member or for a request.
    last: u64,
    initialization: Initialization,
    clients: BTreeMap<ClientId, Outbox>,
    /// The requests of members that the server has not answered, by the id that the server knows.
    pending: HashMap<u64, Pending>,
    /// The requests of the server that a member has not answered, by the [`key`] of the id.
    asked: HashMap<String, ClientId>,
}

#[derive(Default)]
enum Initialization {
    #[default]
    NotSent,
    Sent {
        id: u64,
        /// The members that wait for the result, and the ids of their requests.
        waiting: Vec<(ClientId, Box<RawValue>)>,
    },
    Done(Box<RawValue>),
}

struct Pending {
    client: ClientId,
    id: Box<RawValue>,
    token: Option<Value>,
    /// During a call of a tool, the server may send requests to the member.
    is_call: bool,
}

/// The messages that wait for a member.
struct Outbox {
    lines: mpsc::UnboundedSender<Line>,
    bytes: Rc<Cell<usize>>,
    /// Before the result of `initialize`, the SDK ignores requests and notifications: a request would stay unanswered.
    is_initialized: bool,
}

/// The other end of an [`Outbox`].
pub(super) struct Inbox {
    lines: mpsc::UnboundedReceiver<Line>,
    bytes: Rc<Cell<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Required,
    /// Dropped if the member reads slowly.
    Optional,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl Inbox {
    /// The next message; `None` after the last one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Line> {
        self.lines.recv().await
    }

    /// Records that the member has read a message.
    pub(super) fn sent(&self, line: &Line) {
        self.bytes.set(self.bytes.get() - size(line));
    }
}

impl Outbox {
    /// Queues a message. Returns false if the queue is full.
    fn push(&self, line: Line, delivery: Delivery) -> bool {
        let waiting = self.bytes.get();
        if delivery == Delivery::Optional && waiting > QUEUE_BYTES / 2 {
            return true;
        }
        let total = waiting + size(&line);
        self.bytes.set(total);
        // One message of any size fits.
        (waiting == 0 || total <= QUEUE_BYTES) && self.lines.send(line).is_ok()
    }
}

fn size(line: &str) -> usize {
    line.len() + OVERHEAD
}

impl Router {
    pub(super) fn attach(&mut self) -> (ClientId, Inbox) {
        let client = ClientId(self.number());
        let (sender, lines) = mpsc::unbounded_channel();
        let bytes = Rc::new(Cell::new(0));
        let outbox = Outbox {
            lines: sender,
            bytes: Rc::clone(&bytes),
            is_initialized: false,
        };
        self.clients.insert(client, outbox);
        (client, Inbox { lines, bytes })
    }

    pub(super) fn is_unused(&self) -> bool {
        self.clients.is_empty()
    }

    /// Handles a member's message. Returns the message for the server.
    pub(super) fn handle_client(&mut self, client: ClientId, line: &str) -> Option<Line> {
        let message: Message<'_> = serde_json::from_str(line).ok()?;
        match (message.method.as_deref(), message.id) {
            (Some("initialize"), Some(id)) => self.initialize(client, id, message.params),
            (Some(method), Some(id)) => Some(self.request(client, id, method, message.params)),
            (Some(CANCELLED), None) => self.cancel(client, message.params?),
            (None, Some(id)) => {
                // A member can answer only its own requests.
                let key = key(id);
                (self.asked.get(&key) == Some(&client)).then(|| {
                    self.asked.remove(&key);
                    line.into()
                })
            }
            (Some(_) | None, None) => None,
        }
    }

    fn initialize(
        &mut self,
        client: ClientId,
        id: &RawValue,
        params: Option<&RawValue>,
    ) -> Option<Line> {
        match &mut self.initialization {
            Initialization::Done(result) => {
                let line = response(id, "result", result);
                self.initialized(client, line);
                None
            }
            Initialization::Sent { waiting, .. } => {
                waiting.push((client, id.to_owned()));
                None
            }
            Initialization::NotSent => {
                let number = self.number();
                self.initialization = Initialization::Sent {
                    id: number,
                    waiting: vec![(client, id.to_owned())],
                };
                Some(request(number, "initialize", params.map(RawValue::get)))
            }
        }
    }

    fn request(
        &mut self,
        client: ClientId,
        id: &RawValue,
        method: &str,
        params: Option<&RawValue>,
    ) -> Line {
        let number = self.number();
        let params = params.map(RawValue::get);
        let mut params: Option<Value> = params.and_then(|params| serde_json::from_str(params).ok());
        let token = params
            .as_mut()
            .and_then(|params| params.pointer_mut("/_meta/progressToken"));
        // The request's number is its progress token as well.
        let token = token.map(|token| std::mem::replace(token, number.into()));
        let pending = Pending {
            client,
            id: id.to_owned(),
            token,
            is_call: method == "tools/call",
        };
        self.pending.insert(number, pending);
        let params = params.map(|params| params.to_string());
        request(number, method, params.as_deref())
    }

    fn cancel(&mut self, client: ClientId, params: &RawValue) -> Option<Line> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Cancelled<'a> {
            #[serde(borrow)]
            request_id: &'a RawValue,
        }
        let cancelled: Cancelled<'_> = serde_json::from_str(params.get()).ok()?;
        let id = cancelled.request_id.get();
        let is_this = |pending: &Pending| pending.client == client && pending.id.get() == id;
        let mut all = self.pending.iter();
        let number = *all.find(|(_, pending)| is_this(pending))?.0;
        self.pending.remove(&number);
        Some(cancellation(number))
    }

    /// Handles a message of the server. Returns a reply for the server.
    pub(super) fn handle_server(&mut self, line: &str) -> Option<Line> {
        let message: Message<'_> = serde_json::from_str(line).ok()?;
        match (message.method.as_deref(), message.id) {
            (None, Some(id)) => self.answered(id, &message),
            (Some(PING), Some(id)) => {
                let reply = json!({"jsonrpc": "2.0", "id": id, "result": {}});
                Some(line_of(&reply))
            }
            (Some(method), Some(id)) => self.ask(method, id, line),
            (Some(PROGRESS), None) => {
                self.progress(message.params?);
                None
            }
            (Some(CANCELLED), None) => {
                let params: Value = serde_json::from_str(message.params?.get()).ok()?;
                let client = self.asked.remove(&params["requestId"].to_string())?;
                self.send(client, line.into(), Delivery::Required);
                None
            }
            (Some(method), None) => {
                let line: Line = line.into();
                let delivery = match method {
                    LOG => Delivery::Optional,
                    _ => Delivery::Required,
                };
                let clients: Vec<_> = self.initialized_clients().collect();
                for client in clients {
                    self.send(client, Rc::clone(&line), delivery);
                }
                None
            }
            (None, None) => None,
        }
    }

    fn answered(&mut self, id: &RawValue, message: &Message<'_>) -> Option<Line> {
        let number: u64 = id.get().parse().ok()?;
        let (kind, value) = match (message.error, message.result) {
            (Some(error), _) => ("error", error),
            (None, Some(result)) => ("result", result),
            (None, None) => return None,
        };
        if let Some(pending) = self.pending.remove(&number) {
            let line = response(&pending.id, kind, value);
            self.send(pending.client, line, Delivery::Required);
            return None;
        }
        let waiting = match &mut self.initialization {
            Initialization::Sent { id, waiting } if *id == number => std::mem::take(waiting),
            Initialization::NotSent | Initialization::Sent { .. } | Initialization::Done(_) => {
                return None;
            }
        };
        let has_failed = message.error.is_some();
        self.initialization = match has_failed {
            true => Initialization::NotSent,
            false => Initialization::Done(value.to_owned()),
        };
        for (client, id) in waiting {
            let line = response(&id, kind, value);
            match has_failed {
                true => self.send(client, line, Delivery::Required),
                false => self.initialized(client, line),
            }
        }
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        (!has_failed).then(|| line_of(&initialized))
    }

    /// Passes a request of the server on to a member, or refuses it.
    fn ask(&mut self, method: &str, id: &RawValue, line: &str) -> Option<Line> {
        let client = match method {
            _ if self.asked.len() >= ASKED_MAX => Err("too many requests wait for an answer"),
            "roots/list" => self
                .initialized_clients()
                .next()
                .ok_or("no member is connected"),
            _ => self.caller(),
        };
        match client {
            Ok(client) => {
                self.asked.insert(key(id), client);
                self.send(client, line.into(), Delivery::Required);
                None
            }
            Err(why) => Some(failure(id, REFUSED, why)),
        }
    }

    /// The only member whose call is in flight.
    fn caller(&self) -> Result<ClientId, &'static str> {
        let calls = self.pending.values().filter(|pending| pending.is_call);
        let callers: BTreeSet<_> = calls.map(|pending| pending.client).collect();
        match (callers.first(), callers.len()) {
            (Some(caller), 1) => Ok(*caller),
            (Some(_), _) => {
                Err("calls of several members are in flight, so the request has no addressee")
            }
            (None, _) => Err("no call is in flight"),
        }
    }

    fn progress(&mut self, params: &RawValue) {
        let mut params: Value = serde_json::from_str(params.get()).unwrap_or_default();
        let number = params["progressToken"].as_u64();
        let pending = number.and_then(|number| self.pending.get(&number));
        let Some(Pending {
            client,
            token: Some(token),
            ..
        }) = pending
        else {
            return;
        };
        let client = *client;
        params["progressToken"] = token.clone();
        let line = json!({"jsonrpc": "2.0", "method": PROGRESS, "params": params});
        self.send(client, line_of(&line), Delivery::Optional);
    }

    /// Removes a member. Returns the messages for the server: its calls are cancelled, and requests to it fail.
    pub(super) fn detach(&mut self, client: ClientId) -> Vec<Line> {
        self.clients.remove(&client);
        let mut lines = Vec::new();
        self.pending.retain(|number, pending| {
            let is_kept = pending.client != client;
            if !is_kept {
                lines.push(cancellation(*number));
            }
            is_kept
        });
        self.asked.retain(|id, asked| {
            let is_kept = *asked != client;
            if !is_kept && let Ok(id) = RawValue::from_string(id.clone()) {
                lines.push(failure(&id, REFUSED, "the member has disconnected"));
            }
            is_kept
        });
        lines
    }

    /// Answers all requests with the reason why the server is gone, and disconnects all members.
    pub(super) fn server_gone(&mut self, why: &str) {
        let pending = std::mem::take(&mut self.pending).into_values();
        let mut requests: Vec<_> = pending.map(|it| (it.client, it.id)).collect();
        if let Initialization::Sent { waiting, .. } = &mut self.initialization {
            requests.append(waiting);
        }
        for (client, id) in requests {
            let line = failure(&id, SERVER_GONE.0, why);
            self.send(client, line, Delivery::Required);
        }
        self.clients.clear();
    }

    /// Sends a member the result of `initialize`.
    fn initialized(&mut self, client: ClientId, line: Line) {
        if let Some(outbox) = self.clients.get_mut(&client) {
            outbox.is_initialized = true;
        }
        self.send(client, line, Delivery::Required);
    }

    fn initialized_clients(&self) -> impl Iterator<Item = ClientId> {
        let clients = self.clients.iter();
        let initialized = clients.filter(|(_, outbox)| outbox.is_initialized);
        initialized.map(|(client, _)| *client)
    }

    fn send(&mut self, client: ClientId, line: Line, delivery: Delivery) {
        let outbox = self.clients.get(&client);
        if outbox.is_some_and(|outbox| !outbox.push(line, delivery)) {
            // Its connection ends after the messages that it still reads, and then detaches.
            self.clients.remove(&client);
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// The id of a server's request in one spelling. A member's answer can spell a string with other escapes.
fn key(id: &RawValue) -> String {
    let value: Result<Value, _> = serde_json::from_str(id.get());
    value.map_or_else(|_| id.get().to_owned(), |value| value.to_string())
}

fn request(id: u64, method: &str, params: Option<&str>) -> Line {
    let method = Value::from(method);
    let params = params.map_or(String::new(), |params| format!(r#","params":{params}"#));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method}{params}}}\n").into()
}

/// A response with the server's own text, in which no number is rounded.
fn response(id: &RawValue, kind: &str, value: &RawValue) -> Line {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{kind}\":{value}}}\n").into()
}

fn failure(id: &RawValue, code: i32, why: &str) -> Line {
    let error = json!({"code": code, "message": why});
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n").into()
}

fn cancellation(number: u64) -> Line {
    let params = json!({"requestId": number});
    line_of(&json!({"jsonrpc": "2.0", "method": CANCELLED, "params": params}))
}

fn line_of(message: &Value) -> Line {
    format!("{message}\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &Value) -> String {
        line_of(message).to_string()
    }

    fn call(id: u64) -> String {
        let params = json!({"name": "x", "_meta": {"progressToken": id}});
        line(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
    }

    fn server_sends(router: &mut Router, message: &Value) -> Option<Value> {
        let reply = router.handle_server(&line(message));
        reply.map(|reply| serde_json::from_str(&reply).unwrap())
    }

    /// Sends a member's call. Returns the id that the server receives.
    fn calls(router: &mut Router, client: ClientId, id: u64) -> u64 {
        let sent = router.handle_client(client, &call(id)).unwrap();
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(sent["params"]["_meta"]["progressToken"], sent["id"]);
        sent["id"].as_u64().unwrap()
    }

    fn received(inbox: &mut Inbox) -> Vec<Value> {
        let lines = std::iter::from_fn(|| {
            let line = inbox.lines.try_recv().ok()?;
            inbox.sent(&line);
            Some(line)
        });
        lines
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect()
    }

    /// Connects a member that has received the result of `initialize`.
    fn joined(router: &mut Router) -> (ClientId, Inbox) {
        let (client, mut inbox) = router.attach();
        router.initialized(client, line(&json!({"id": 0, "result": {}})).into());
        received(&mut inbox);
        (client, inbox)
    }

    fn form(id: &str) -> Value {
        json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {}})
    }

    #[test]
    fn members_receive_the_answers_to_their_own_ids() {
        let mut router = Router::default();
        let ((ada, mut to_ada), (ben, mut to_ben)) = (router.attach(), router.attach());
        let (of_ada, of_ben) = (calls(&mut router, ada, 7), calls(&mut router, ben, 7));
        assert_ne!(of_ada, of_ben);
        let progress =
            json!({"method": PROGRESS, "params": {"progressToken": of_ben, "progress": 1}});
        assert_eq!(server_sends(&mut router, &progress), None);
        // A number that no type of Rust can hold.
        let big = "123456789012345678901234567890";
        let answer = format!("{{\"id\":{of_ben},\"result\":{{\"n\":{big}}}}}\n");
        assert!(router.handle_server(&answer).is_none());
        let error = json!({"id": of_ada, "error": {"code": 1, "message": "no"}});
        assert_eq!(server_sends(&mut router, &error), None);
        let received_by_ada = received(&mut to_ada);
        assert_eq!(received_by_ada.len(), 1);
        assert_eq!(received_by_ada[0]["id"], 7);
        assert_eq!(received_by_ada[0]["error"]["message"], "no");
        let progress = to_ben.lines.try_recv().unwrap();
        assert!(progress.contains("\"progressToken\":7"), "{progress}");
        let answer = to_ben.lines.try_recv().unwrap();
        assert!(
            answer.contains("\"id\":7") && answer.contains(big),
            "{answer}"
        );
        assert!(server_sends(&mut router, &error).is_none() && received(&mut to_ada).is_empty());
    }

    #[test]
    fn a_server_is_initialized_once() {
        let mut router = Router::default();
        let initialize = line(&json!({"id": 0, "method": "initialize", "params": {"a": 1}}));
        let ((ada, mut to_ada), (ben, mut to_ben)) = (router.attach(), router.attach());
        let sent = router.handle_client(ada, &initialize).unwrap();
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(sent["params"], json!({"a": 1}));
        assert!(router.handle_client(ben, &initialize).is_none());
        let result = json!({"id": sent["id"], "result": {"serverInfo": {}}});
        let reply = server_sends(&mut router, &result).unwrap();
        assert_eq!(reply["method"], "notifications/initialized");
        let (cleo, mut to_cleo) = router.attach();
        assert!(router.handle_client(cleo, &initialize).is_none());
        for inbox in [&mut to_ada, &mut to_ben, &mut to_cleo] {
            let received = received(inbox);
            assert_eq!(received[0]["result"], json!({"serverInfo": {}}));
        }
        let initialized = line(&json!({"method": "notifications/initialized"}));
        assert!(router.handle_client(ada, &initialized).is_none());
    }

    #[test]
    fn requests_wait_for_no_member_in_its_handshake() {
        let mut router = Router::default();
        let (_ada, mut to_ada) = router.attach();
        let roots = |id: u64| json!({"id": id, "method": "roots/list"});
        let refused = server_sends(&mut router, &roots(1)).unwrap();
        assert_eq!(refused["error"]["message"], "no member is connected");
        let (_ben, mut to_ben) = joined(&mut router);
        assert_eq!(server_sends(&mut router, &roots(2)), None);
        let changed = json!({"method": "notifications/tools/list_changed"});
        assert_eq!(server_sends(&mut router, &changed), None);
        assert_eq!(received(&mut to_ben), [roots(2), changed]);
        assert!(received(&mut to_ada).is_empty());
    }

    #[test]
    fn an_answer_can_spell_the_id_with_other_escapes() {
        let mut router = Router::default();
        let (ada, _to_ada) = joined(&mut router);
        let roots = "{\"id\":\"\\u0061\\/1\",\"method\":\"roots/list\"}\n";
        assert!(router.handle_server(roots).is_none());
        let answer = line(&json!({"id": "a/1", "result": {}}));
        assert!(router.handle_client(ada, &answer).is_some());
    }

    #[test]
    fn a_form_goes_to_the_only_member_with_a_call() {
        let mut router = Router::default();
        let ((ada, mut to_ada), (ben, mut to_ben)) = (joined(&mut router), joined(&mut router));
        let refused = server_sends(&mut router, &form("one")).unwrap();
        assert_eq!(refused["error"]["message"], "no call is in flight");
        let of_ben = calls(&mut router, ben, 1);
        calls(&mut router, ben, 2);
        assert_eq!(server_sends(&mut router, &form("two")), None);
        assert_eq!(received(&mut to_ben)[0]["method"], "elicitation/create");
        let answer = line(&json!({"id": "two", "result": {"action": "accept"}}));
        assert!(
            router.handle_client(ada, &answer).is_none(),
            "ada was not asked"
        );
        assert_eq!(
            router.handle_client(ben, &answer).as_deref(),
            Some(&*answer)
        );
        assert!(router.handle_client(ben, &answer).is_none(), "one answer");
        calls(&mut router, ada, 1);
        let refused = server_sends(&mut router, &form("three")).unwrap();
        let why = refused["error"]["message"].as_str().unwrap();
        assert!(why.starts_with("calls of several members"), "{why}");
        let roots = json!({"id": 5, "method": "roots/list"});
        assert_eq!(server_sends(&mut router, &roots), None);
        assert_eq!(received(&mut to_ada).len(), 1);
        let answer = json!({"id": of_ben, "result": {}});
        assert_eq!(server_sends(&mut router, &answer), None);
        assert!(received(&mut to_ada).is_empty());
    }

    #[test]
    fn a_disconnected_member_cancels_only_its_calls() {
        let mut router = Router::default();
        let ((ada, _to_ada), (ben, mut to_ben)) = (router.attach(), router.attach());
        let of_ada = calls(&mut router, ada, 1);
        assert_eq!(server_sends(&mut router, &form("one")), None);
        let of_ben = calls(&mut router, ben, 1);
        let cancel = |id: u64| {
            let params = json!({"requestId": id});
            line(&json!({"method": CANCELLED, "params": params}))
        };
        assert!(router.handle_client(ben, &cancel(of_ada)).is_none());
        let lines = router.detach(ada).join("");
        assert!(
            lines.contains(&format!("\"requestId\":{of_ada}")),
            "{lines}"
        );
        assert!(lines.contains("the member has disconnected"), "{lines}");
        assert!(!router.is_unused());
        let answer = |id: u64| json!({"id": id, "result": {}});
        assert_eq!(server_sends(&mut router, &answer(of_ada)), None);
        assert_eq!(server_sends(&mut router, &answer(of_ben)), None);
        assert_eq!(received(&mut to_ben).len(), 1);
        let of_ben = calls(&mut router, ben, 2);
        let cancelled = router.handle_client(ben, &cancel(2)).unwrap();
        assert!(cancelled.contains(&format!("\"requestId\":{of_ben}")));
        router.server_gone("it exited");
        assert!(received(&mut to_ben).is_empty() && router.is_unused());
    }

    #[test]
    fn a_member_that_does_not_read_is_disconnected() {
        let mut router = Router::default();
        let ((_ada, mut to_ada), (_ben, mut to_ben)) = (joined(&mut router), joined(&mut router));
        let text = "x".repeat(1 << 20);
        let log = line(&json!({"method": LOG, "params": {"data": text}}));
        let changed = line(&json!({"method": "notifications/tools/list_changed", "params": text}));
        let read = |inbox: &mut Inbox| {
            let mut lines = 0;
            while let Ok(line) = inbox.lines.try_recv() {
                inbox.sent(&line);
                lines += 1;
            }
            lines
        };
        let mut of_ben = 0;
        for _ in 0..40 {
            router.handle_server(&log);
            of_ben += read(&mut to_ben);
        }
        assert_eq!(of_ben, 40);
        assert!((16..20).contains(&to_ada.lines.len()), "logs are dropped");
        for _ in 0..40 {
            router.handle_server(&changed);
            of_ben += read(&mut to_ben);
        }
        assert_eq!(of_ben, 80, "another member receives everything");
        assert_eq!(router.clients.len(), 1);
        assert!(read(&mut to_ada) < 40);
        assert!(to_ada.lines.is_closed(), "ada is disconnected");
    }

    #[test]
    fn pending_requests_name_the_reason_when_a_server_dies() {
        let mut router = Router::default();
        let (ada, mut to_ada) = router.attach();
        let initialize = line(&json!({"id": 0, "method": "initialize"}));
        router.handle_client(ada, &initialize);
        calls(&mut router, ada, 1);
        router.server_gone("the program exited (exit 3)");
        let received = received(&mut to_ada);
        assert_eq!(received.len(), 2);
        for message in received {
            assert_eq!(message["error"]["code"], SERVER_GONE.0);
            assert_eq!(message["error"]["message"], "the program exited (exit 3)");
        }
    }

    #[test]
    fn invalid_messages_are_dropped() {
        let mut router = Router::default();
        let (ada, mut to_ada) = router.attach();
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "{\"id\":1}",
            "{\"id\":1,\"result\":{}}",
            "{\"method\":3}",
            "{\"method\":\"notifications/progress\",\"params\":[1]}",
            "{\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":{}}}",
            "{\"id\":1,\"id\":2,\"method\":\"ping\"}",
            &deep,
        ] {
            assert!(router.handle_server(text).is_none(), "{text}");
            assert!(router.handle_client(ada, text).is_none(), "{text}");
        }
        assert!(received(&mut to_ada).is_empty());
    }
}
