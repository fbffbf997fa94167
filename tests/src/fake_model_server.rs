//! A model server for the Chat Completions and Anthropic Messages protocols. The test scripts its replies.
//!
//! ```no_run
//! # use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
//! # use serde_json::json;
//! # async fn example() {
//! let server = FakeModelServer::start(in_turn([
//!     Reply::call("read", json!({ "path": "a.txt" })),
//!     Reply::text("It contains 42."),
//! ]))
//! .await;
//! // … run a member with server.base_url() …
//! assert_eq!(server.requests()[1].results()[0].1, "42");
//! # }
//! ```
//! Streams are split into pieces of a few bytes, even within characters. The server stops when it is dropped.

mod reply;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use reply::Reply;
use reply::{Ending, Writing};

use crate::within;

/// The script: makes the reply to each request.
type Script = Box<dyn FnMut(&Request) -> Reply + Send>;

/// The running server.
#[derive(Debug)]
pub struct FakeModelServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    /// The number of requests so far.
    asked: watch::Receiver<usize>,
    hung_up: watch::Receiver<usize>,
    serving: JoinHandle<()>,
}

/// A received request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// The path, such as `/v1/chat/completions`.
    pub path: String,
    /// The headers; their names are in lower case.
    pub headers: BTreeMap<String, String>,
    /// Null when the request has no JSON body.
    pub body: Value,
}

impl FakeModelServer {
    /// Serves on a free port. `script` makes the reply to each request; see [`in_turn`] and [`by_model`].
    pub async fn start(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (asks, asked) = watch::channel(0);
        let (hangs_up, hung_up) = watch::channel(0);
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            seen: Arc::clone(&seen),
            asks,
            hangs_up,
        });
        let serving = tokio::spawn(async move {
            // Dropping this task drops the set, which aborts the connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(async move { shared.serve(stream).await });
            }
        });
        Self {
            address,
            seen,
            asked,
            hung_up,
            serving,
        }
    }

    /// The base URL of this server, for `OPENAI_BASE_URL` and similar variables. Both protocols are served below it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// All requests so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.seen).clone()
    }

    /// Waits until this model has received this many requests.
    pub async fn until_asked(&self, model: &str, times: usize) {
        let is_enough = |_: &usize| {
            let seen = lock(&self.seen);
            let of_it = seen.iter().filter(|request| request.model() == model);
            of_it.count() >= times
        };
        let mut asked = self.asked.clone();
        let waited = within("the model to be asked", asked.wait_for(is_enough)).await;
        waited.expect("the server runs");
    }

    /// Waits until this many clients have disconnected without reading their whole reply.
    pub async fn hung_up(&self, clients: usize) {
        let mut hung_up = self.hung_up.clone();
        let enough = hung_up.wait_for(|left| *left >= clients);
        let waited = within("a client that hangs up", enough).await;
        waited.expect("the server runs");
    }
}

impl Drop for FakeModelServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Request {
    /// The name of the requested model.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or("")
    }

    /// The system text.
    pub fn system(&self) -> String {
        let messages = self.messages();
        let first = messages.iter().find(|message| message["role"] == "system");
        match first {
            Some(message) => text(&message["content"]),
            None => text(&self.body["system"]),
        }
    }

    /// The names of the tools that are offered.
    pub fn tools(&self) -> Vec<String> {
        let tools = self.body["tools"].as_array().into_iter().flatten();
        let name = |tool: &Value| {
            let name = tool["function"]["name"].as_str();
            name.or(tool["name"].as_str()).unwrap_or("").to_owned()
        };
        tools.map(name).collect()
    }

    /// The messages of the request, in the format of its protocol.
    pub fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The text of the first message of the role `user`, which begins with the situation.
    pub fn situation(&self) -> String {
        let mut messages = self.messages().iter();
        let user = messages.find(|message| message["role"] == "user");
        user.map_or_else(String::new, |message| text(&message["content"]))
    }

    /// The text of the last message of the role `user`.
    pub fn last_input(&self) -> String {
        let mut messages = self.messages().iter().rev();
        let user = messages.find(|message| message["role"] == "user");
        user.map_or_else(String::new, |message| text(&message["content"]))
    }

    /// The results of tools since the last answer: the id of the call, and the text.
    pub fn results(&self) -> Vec<(String, String)> {
        let messages = self.messages();
        let answer = messages
            .iter()
            .rposition(|message| message["role"] == "assistant");
        let id = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let mut results = Vec::new();
        for message in &messages[answer.map_or(0, |at| at + 1)..] {
            if message["role"] == "tool" {
                results.push((id(&message["tool_call_id"]), text(&message["content"])));
            }
            for block in message["content"].as_array().into_iter().flatten() {
                if block["type"] == "tool_result" {
                    results.push((id(&block["tool_use_id"]), text(&block["content"])));
                }
            }
        }
        results
    }

    fn is_messages_wire(&self) -> bool {
        self.path.ends_with("/messages")
    }
}

/// The text of a content, which is a string or a list of blocks.
fn text(content: &Value) -> String {
    let blocks = content.as_array().into_iter().flatten();
    let texts = blocks.filter_map(|block| block["text"].as_str());
    match content.as_str() {
        Some(text) => text.to_owned(),
        None => texts.collect(),
    }
}

/// Replies in this order to any client; refuses further requests.
pub fn in_turn(replies: impl IntoIterator<Item = Reply>) -> impl FnMut(&Request) -> Reply + Send {
    let mut replies = replies.into_iter().collect::<Vec<_>>().into_iter();
    move |_| replies.next().unwrap_or_else(script_is_over)
}

/// Replies in order per model, so that members with different models do not get each other's replies.
pub fn by_model<const N: usize>(
    conversations: [(&'static str, Vec<Reply>); N],
) -> impl FnMut(&Request) -> Reply + Send {
    by(|request| request.model().to_owned(), conversations)
}

/// Replies in order per conversation; `key` returns the conversation of a request.
pub fn by<const N: usize>(
    key: impl Fn(&Request) -> String + Send,
    conversations: [(&'static str, Vec<Reply>); N],
) -> impl FnMut(&Request) -> Reply + Send {
    let mut conversations = conversations.map(|(key, replies)| (key, replies.into_iter()));
    move |request| {
        let key = key(request);
        let conversation = conversations.iter_mut().find(|(of, _)| **of == key);
        let reply = conversation.and_then(|(_, replies)| replies.next());
        reply.unwrap_or_else(script_is_over)
    }
}

/// A refusal that clients do not retry, so that a test whose script is too short fails at once.
fn script_is_over() -> Reply {
    Reply::error(400, "the script has no reply to this")
}

struct Shared {
    script: Mutex<Script>,
    seen: Arc<Mutex<Vec<Request>>>,
    asks: watch::Sender<usize>,
    hangs_up: watch::Sender<usize>,
}

impl Shared {
    /// Reads one request and writes its reply.
    async fn serve(&self, stream: TcpStream) {
        // Send each chunk immediately, so that clients read them separately.
        stream.set_nodelay(true).expect("a TCP socket");
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let Ok(request) = receive(&mut read).await else {
            return;
        };
        let number = {
            let mut seen = lock(&self.seen);
            seen.push(request.clone());
            seen.len()
        };
        self.asks.send_replace(number);
        let reply = lock(&self.script)(&request);
        let Writing { pieces, ending } = reply.write(number, request.is_messages_wire());
        for piece in pieces {
            if write.write_all(&piece).await.is_err() {
                self.hangs_up.send_modify(|left| *left += 1);
                return;
            }
        }
        match ending {
            Ending::Whole | Ending::Cut => {
                let _gone = write.shutdown().await;
            }
            Ending::Hangs => {
                // The connection stays open until the client closes it.
                let mut byte = [0];
                let _gone = read.read(&mut byte).await;
                self.hangs_up.send_modify(|left| *left += 1);
            }
        }
    }
}

async fn receive(read: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(read.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or("").split(' ').map(str::to_owned);
    let (method, path) = (first.next(), first.next());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length");
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    read.read_exact(&mut body).await?;
    Ok(Request {
        method: method.unwrap_or_default(),
        path: path.unwrap_or_default(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// Ignores poisoning: a script that panicked has failed its test, but its requests can still be inspected.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
