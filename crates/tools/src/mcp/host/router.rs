//! The messages between one shared server and its members: a state machine without I/O. Called by the parent module.
//!
//! | from | message | passed on |
//! |---|---|---|
//! | member | `initialize` | the first one to the server; later ones are answered with the server's result, or refused |
//! | member | `tools/list`, `prompts/list` | answered with the server's last answer, until the server reports a change |
//! | member | request | to the server, with an id and a progress token that are unique among all members |
//! | member | `notifications/cancelled` | to the server; other notifications are dropped |
//! | member | response | to the server, if the request went to this member |
//! | server | response, progress | to the member that made the request |
//! | server | `ping` | answered |
//! | server | `roots/list` | to any initialized member: all have the same root |
//! | server | other request | to the member whose call the server executes; refused if there is not exactly one |
//! | server | `notifications/cancelled` | to the member that received the request |
//! | server | notification of a subscription | to the member that subscribed |
//! | server | other notification | to all initialized members |
//!
//! A server of revision 2026-07-28 refuses `initialize`; the members then send `server/discover`.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::mcp::shared::{SERVER_GONE, STRAY};

/// A message with its newline.
pub(super) type Line = Rc<str>;

/// The largest size of the messages that wait for one member, in bytes. While more than half of it waits, optional
/// messages are dropped: progress, logs and stray lines. A message that exceeds the size disconnects the member.
const QUEUE_BYTES: usize = 32 << 20;

/// The number of bytes that each message counts in addition to its length.
const OVERHEAD: usize = 256;

/// The largest number of requests of a server that wait for members.
const ASKED_MAX: usize = 64;

/// The time during which a cancelled call counts as running. A server need not stop the call, and need not report that
/// the call has stopped. See [`Router::caller`].
const CANCELLED_LIMIT: Duration = Duration::from_mins(1);

/// The error code with which the router refuses a request of the server. JSON-RPC leaves -32099 to -32000 to
/// implementations.
const REFUSED: i32 = -32000;

const PING: &str = "ping";
const CANCELLED: &str = "notifications/cancelled";
const PROGRESS: &str = "notifications/progress";
const LOG: &str = "notifications/message";

/// The method that begins a connection since revision 2026-07-28.
const DISCOVER: &str = "server/discover";
/// The path of the request id of `subscriptions/listen` to which a notification belongs.
const SUBSCRIPTION: &str = "/_meta/io.modelcontextprotocol~1subscriptionId";
/// The error code of an unsupported revision.
const UNSUPPORTED: i32 = -32022;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientId(u64);

#[derive(Default)]
pub(super) struct Router {
    /// The last number that was used, for a member or for a request.
    last: u64,
    initialization: Initialization,
    /// Whether the server knows `server/discover` instead of `initialize`.
    is_discovered: bool,
    /// Whether the server has refused `initialize`. Such a server may exit at any time.
    has_refused: bool,
    clients: BTreeMap<ClientId, Outbox>,
    /// The requests of members that the server has not answered, by the id that the server has received.
    pending: HashMap<u64, Pending>,
    /// The cancelled calls of tools that the server may still execute.
    cancelled: HashMap<u64, Cancelled>,
    /// The results of lists, by the [`list_key`] of the request. They are kept because a server that handles one call at
    /// a time would otherwise delay the start of a member until the calls of other members have ended.
    lists: HashMap<String, Box<RawValue>>,
    /// The first line of the server that is not JSON-RPC, as a message for members.
    stray: Option<Line>,
    /// The requests of the server that no member has answered, by the [`key`] of the id.
    server_requests: HashMap<String, ClientId>,
    /// The reason why the server has exited.
    gone: Option<String>,
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
    /// Whether this is a call of a tool. During such a call, the server may send requests to the member.
    is_call: bool,
    is_discover: bool,
    /// The [`list_key`] of the request, if its result may be kept.
    list: Option<String>,
}

struct Cancelled {
    client: ClientId,
    at: Instant,
}

impl Cancelled {
    fn may_run(&self) -> bool {
        self.at.elapsed() < CANCELLED_LIMIT
    }
}

/// The messages that wait for a member.
struct Outbox {
    lines: mpsc::UnboundedSender<Line>,
    bytes: Rc<Cell<usize>>,
    /// Whether the result of `initialize` is queued for the member. Before that result, the member's SDK (rmcp 3.9)
    /// ignores requests except `ping`, and notifications except logs: a request would have no answer.
    is_initialized: bool,
    /// Whether the member has sent a message.
    has_sent: bool,
}

/// The receiving end of an [`Outbox`].
pub(super) struct Inbox {
    lines: mpsc::UnboundedReceiver<Line>,
    bytes: Rc<Cell<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Required,
    /// The message is dropped if the member reads slowly.
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

    /// Records that a message was written to the member's connection.
    pub(super) fn sent(&self, line: &Line) {
        self.bytes.set(self.bytes.get() - size(line));
    }
}

impl Outbox {
    /// Queues a message, or drops an optional one. Returns false if the queue is full or the inbox is gone.
    fn push(&self, line: Line, delivery: Delivery) -> bool {
        let waiting = self.bytes.get();
        if delivery == Delivery::Optional && waiting > QUEUE_BYTES / 2 {
            return true;
        }
        let total = waiting + size(&line);
        self.bytes.set(total);
        // An empty queue accepts a message of any size.
        (waiting == 0 || total <= QUEUE_BYTES) && self.lines.send(line).is_ok()
    }
}

fn size(line: &str) -> usize {
    line.len() + OVERHEAD
}

impl Router {
    /// `is_discovered`: whether an earlier process of the server has refused `initialize`.
    pub(super) fn new(is_discovered: bool) -> Self {
        Self {
            is_discovered,
            ..Self::default()
        }
    }

    pub(super) fn is_discovered(&self) -> bool {
        self.is_discovered
    }

    pub(super) fn has_refused(&self) -> bool {
        self.has_refused
    }

    pub(super) fn attach(&mut self) -> (ClientId, Inbox) {
        let client = ClientId(self.number());
        let (sender, lines) = mpsc::unbounded_channel();
        let bytes = Rc::new(Cell::new(0));
        let outbox = Outbox {
            lines: sender,
            bytes: Rc::clone(&bytes),
            is_initialized: false,
            has_sent: false,
        };
        self.clients.insert(client, outbox);
        (client, Inbox { lines, bytes })
    }

    pub(super) fn is_unused(&self) -> bool {
        self.clients.is_empty()
    }

    /// Handles a member's message. Returns the message for the server.
    pub(super) fn handle_client(&mut self, client: ClientId, line: &str) -> Option<Line> {
        if let Some(outbox) = self.clients.get_mut(&client) {
            outbox.has_sent = true;
        }
        let message: Message<'_> = serde_json::from_str(line).ok()?;
        match (message.method.as_deref(), message.id) {
            (Some("initialize"), Some(id)) => self.initialize(client, id, message.params),
            (Some(method), Some(id)) => {
                let list = list_key(method, message.params);
                if let Some(result) = list.as_ref().and_then(|list| self.lists.get(list)) {
                    let line = response(id, "result", result);
                    self.send(client, line, Delivery::Required);
                    return None;
                }
                Some(self.request(client, id, method, message.params, list))
            }
            (Some(CANCELLED), None) => self.cancel(client, message.params?),
            (None, Some(id)) => {
                // A member can answer only its own requests.
                let key = key(id);
                (self.server_requests.get(&key) == Some(&client)).then(|| {
                    self.server_requests.remove(&key);
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
        // Another member has sent `server/discover` to this server. Such a server may exit when it receives
        // `initialize`, which would also end the calls of the other members, so the host refuses it here.
        if self.is_discovered {
            let line = failure(id, UNSUPPORTED, "the server does not know initialize");
            self.send(client, line, Delivery::Required);
            return None;
        }
        match &mut self.initialization {
            Initialization::Done(result) => {
                let line = response(id, "result", result);
                self.finish_initialize(client, line);
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
        list: Option<String>,
    ) -> Line {
        let number = self.number();
        let params = params.map(RawValue::get);
        let mut params: Option<Value> = params.and_then(|params| serde_json::from_str(params).ok());
        let token = params
            .as_mut()
            .and_then(|params| params.pointer_mut("/_meta/progressToken"));
        // Members may choose equal progress tokens. The number of the request is unique, so it replaces the token.
        let token = token.map(|token| std::mem::replace(token, number.into()));
        let pending = Pending {
            client,
            id: id.to_owned(),
            token,
            is_call: method == "tools/call",
            is_discover: method == DISCOVER,
            list,
        };
        self.is_discovered |= pending.is_discover;
        self.pending.insert(number, pending);
        let params = params.map(|params| params.to_string());
        request(number, method, params.as_deref())
    }

    fn cancel(&mut self, client: ClientId, params: &RawValue) -> Option<Line> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Params<'a> {
            #[serde(borrow)]
            request_id: &'a RawValue,
        }
        let cancelled: Params<'_> = serde_json::from_str(params.get()).ok()?;
        let id = cancelled.request_id.get();
        let is_this = |pending: &Pending| pending.client == client && pending.id.get() == id;
        let mut all = self.pending.iter();
        let number = *all.find(|(_, pending)| is_this(pending))?.0;
        self.remove_cancelled(number);
        Some(cancellation(number))
    }

    fn remove_cancelled(&mut self, number: u64) {
        let Some(Pending {
            client,
            is_call: true,
            ..
        }) = self.pending.remove(&number)
        else {
            return;
        };
        self.cancelled.retain(|_, cancelled| cancelled.may_run());
        let at = Instant::now();
        self.cancelled.insert(number, Cancelled { client, at });
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
                let client = self
                    .server_requests
                    .remove(&params["requestId"].to_string())?;
                self.send(client, line.into(), Delivery::Required);
                None
            }
            // Members take this notification for a report of the host, so a server must not send it.
            (Some(STRAY), None) => None,
            (Some(method), None) => {
                self.drop_lists(method);
                if let Some((client, line)) = self.subscribed(method, message.params) {
                    self.send(client, line, Delivery::Required);
                    return None;
                }
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
        self.cancelled.remove(&number);
        let (kind, value) = match (message.error, message.result) {
            (Some(error), _) => ("error", error),
            (None, Some(result)) => ("result", result),
            (None, None) => return None,
        };
        if let Some(pending) = self.pending.remove(&number) {
            if let (Some(list), "result") = (pending.list, kind) {
                self.lists.insert(list, value.to_owned());
            }
            let line = response(&pending.id, kind, value);
            match (pending.is_discover, kind) {
                (true, "result") => self.finish_initialize(pending.client, line),
                (true, _) => {
                    self.is_discovered = false;
                    self.send(pending.client, line, Delivery::Required);
                }
                (false, _) => self.send(pending.client, line, Delivery::Required),
            }
            return None;
        }
        let waiting = match &mut self.initialization {
            Initialization::Sent { id, waiting } if *id == number => std::mem::take(waiting),
            Initialization::NotSent | Initialization::Sent { .. } | Initialization::Done(_) => {
                return None;
            }
        };
        let has_failed = message.error.is_some();
        self.has_refused |= has_failed;
        self.is_discovered |= has_failed;
        self.initialization = match has_failed {
            true => Initialization::NotSent,
            false => Initialization::Done(value.to_owned()),
        };
        for (client, id) in waiting {
            let line = response(&id, kind, value);
            match has_failed {
                true => self.send(client, line, Delivery::Required),
                false => self.finish_initialize(client, line),
            }
        }
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        (!has_failed).then(|| line_of(&initialized))
    }

    /// Passes a request of the server to a member, or refuses the request.
    fn ask(&mut self, method: &str, id: &RawValue, line: &str) -> Option<Line> {
        let client = match method {
            _ if self.server_requests.len() >= ASKED_MAX => {
                Err("too many requests wait for an answer")
            }
            "roots/list" => self
                .initialized_clients()
                .next()
                .ok_or("no member is connected"),
            _ => self.caller(),
        };
        match client {
            Ok(client) => {
                self.server_requests.insert(key(id), client);
                self.send(client, line.into(), Delivery::Required);
                None
            }
            Err(why) => Some(failure(id, REFUSED, why)),
        }
    }

    /// The member whose calls the server executes, if there is exactly one. While a cancelled call may still run, a request
    /// of the server can belong to that call: only the member that made the call may receive the request.
    fn caller(&self) -> Result<ClientId, &'static str> {
        let calls = self.pending.values().filter(|pending| pending.is_call);
        let callers: BTreeSet<_> = calls.map(|pending| pending.client).collect();
        match (callers.first(), callers.len()) {
            (Some(caller), 1) => {
                let mut cancelled = self.cancelled.values().filter(|it| it.may_run());
                match cancelled.all(|it| it.client == *caller) {
                    true => Ok(*caller),
                    false => Err(
                        "a cancelled call of another member may still run, so the request has no recipient",
                    ),
                }
            }
            (Some(_), _) => {
                Err("calls of several members are in flight, so the request has no recipient")
            }
            (None, _) => Err("no call is in flight"),
        }
    }

    /// The recipient of a notification of a subscription, and the notification with the recipient's own id.
    fn subscribed(&self, method: &str, params: Option<&RawValue>) -> Option<(ClientId, Line)> {
        let mut params: Value = serde_json::from_str(params?.get()).ok()?;
        let subscription = params.pointer_mut(SUBSCRIPTION)?;
        let pending = self.pending.get(&subscription.as_u64()?)?;
        *subscription = serde_json::from_str(pending.id.get()).ok()?;
        let line = json!({"jsonrpc": "2.0", "method": method, "params": params});
        Some((pending.client, line_of(&line)))
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

    /// Removes a member. Returns the messages for the server: cancellations of the member's requests, and errors for the
    /// server's requests to the member.
    pub(super) fn detach(&mut self, client: ClientId) -> Vec<Line> {
        self.clients.remove(&client);
        let all = self.pending.iter();
        let of_client = all.filter(|(_, pending)| pending.client == client);
        let numbers: Vec<_> = of_client.map(|(number, _)| *number).collect();
        let mut lines = Vec::new();
        for number in numbers {
            self.remove_cancelled(number);
            lines.push(cancellation(number));
        }
        self.server_requests.retain(|id, receiver| {
            let is_kept = *receiver != client;
            if !is_kept && let Ok(id) = RawValue::from_string(id.clone()) {
                lines.push(failure(&id, REFUSED, "the member has disconnected"));
            }
            is_kept
        });
        lines
    }

    /// Answers a member's message, and the member's other requests, with an error, and then disconnects the member.
    pub(super) fn fail(&mut self, client: ClientId, line: &str, why: &str) {
        let message: Result<Message<'_>, _> = serde_json::from_str(line);
        let request = message.ok().filter(|message| message.method.is_some());
        let mut ids: Vec<_> = request
            .and_then(|it| it.id)
            .map(ToOwned::to_owned)
            .into_iter()
            .collect();
        let pending = self
            .pending
            .values()
            .filter(|pending| pending.client == client);
        ids.extend(pending.map(|pending| pending.id.clone()));
        for id in ids {
            let line = failure(&id, SERVER_GONE.0, why);
            self.send(client, line, Delivery::Required);
        }
        // The inbox ends after these messages, and the connection with it.
        self.clients.remove(&client);
    }

    /// Informs all members, including later ones, about a line of the server that is not JSON-RPC.
    pub(super) fn report_stray(&mut self, text: &str) {
        let params = json!({ "line": text });
        let line = line_of(&json!({"jsonrpc": "2.0", "method": STRAY, "params": params}));
        let clients: Vec<_> = self.initialized_clients().collect();
        for client in clients {
            self.send(client, Rc::clone(&line), Delivery::Optional);
        }
        self.stray = Some(line);
    }

    /// Drops the lists that a notification reports as changed. The answer to a request in flight can be the old list,
    /// so this answer is not kept either.
    fn drop_lists(&mut self, method: &str) {
        let changed = method.strip_prefix("notifications/");
        let Some(changed) = changed.and_then(|it| it.strip_suffix("/list_changed")) else {
            return;
        };
        let is_changed = |list: &String| list.starts_with(&format!("{changed}/list"));
        self.lists.retain(|list, _| !is_changed(list));
        for pending in self.pending.values_mut() {
            pending.list.take_if(|list| is_changed(list));
        }
    }

    /// Answers all pending requests with the reason why the server is gone, and disconnects each member that has sent a
    /// message. Other members stay connected until their first message, which [`Router::refuse`] answers: otherwise they
    /// would see a broken pipe instead of the reason.
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
        self.clients.retain(|_, outbox| !outbox.has_sent);
        self.gone = Some(why.to_owned());
    }

    /// Answers a message for a server that is gone.
    pub(super) fn refuse(&mut self, client: ClientId, line: &str) {
        if let Some(why) = self.gone.clone() {
            self.fail(client, line, &why);
        }
    }

    /// Sends a member the result of `initialize` or `server/discover`.
    fn finish_initialize(&mut self, client: ClientId, line: Line) {
        if let Some(outbox) = self.clients.get_mut(&client) {
            outbox.is_initialized = true;
        }
        self.send(client, line, Delivery::Required);
        if let Some(stray) = self.stray.clone() {
            self.send(client, stray, Delivery::Optional);
        }
    }

    fn initialized_clients(&self) -> impl Iterator<Item = ClientId> {
        let clients = self.clients.iter();
        let initialized = clients.filter(|(_, outbox)| outbox.is_initialized);
        initialized.map(|(client, _)| *client)
    }

    fn send(&mut self, client: ClientId, line: Line, delivery: Delivery) {
        let outbox = self.clients.get(&client);
        if outbox.is_some_and(|outbox| !outbox.push(line, delivery)) {
            // The member's connection ends after the messages that are already queued. `serve_member` then calls `detach`.
            self.clients.remove(&client);
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Identifies a request for a list of tools or prompts: the method and the page. `None`: another request.
fn list_key(method: &str, params: Option<&RawValue>) -> Option<String> {
    if !["tools/list", "prompts/list"].contains(&method) {
        return None;
    }
    let params = params.map_or("null", RawValue::get);
    let params: Value = serde_json::from_str(params).ok()?;
    Some(format!("{method} {}", params["cursor"]))
}

/// The id of a server's request in one spelling. In a member's answer, the same string can have other escapes.
fn key(id: &RawValue) -> String {
    let value: Result<Value, _> = serde_json::from_str(id.get());
    value.map_or_else(|_| id.get().to_owned(), |value| value.to_string())
}

fn request(id: u64, method: &str, params: Option<&str>) -> Line {
    let method = Value::from(method);
    let params = params.map_or(String::new(), |params| format!(r#","params":{params}"#));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method}{params}}}\n").into()
}

/// A response with the original text of `value`, so that no number is rounded.
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
mod tests;
