//! JSON-RPC over the pipes of another program, with requests in both directions. Carries the Agent Client Protocol: the
//! workers of external agents connect to agents, and the verb `acp` serves editors.
//!
//! Two tokio tasks own the pipes. The reading task waits while the queue of received messages is full, so a program
//! that sends too fast is slowed down. The number and the bytes of queued messages are bounded. [`Rpc::notify`],
//! [`Rpc::request`], [`Responder::answer`] and [`Responder::refuse`] do not wait: a program that does not read its
//! input loses the connection. [`Rpc::notify_when_read`], [`Rpc::ask`] and [`Responder::reply`] wait.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// The notification that cancels a request.
const CANCEL: &str = "$/cancel_request";

/// Maximum length of a message, in bytes.
const LINE_MAX: u32 = 16 << 20;

/// Maximum number of messages in each of the two queues: received messages that are not handled, and messages to write.
const QUEUED_MAX: usize = 256;

/// Maximum total length of the received messages that are not handled yet, in bytes.
const QUEUED_BYTES_MAX: u32 = 2 * LINE_MAX;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RpcError {
    /// The other side answered with an error. The text is for the user.
    Refused { code: i64, text: String },
    /// The connection is closed, or the other side does not read its input.
    Closed,
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcFault {
    pub code: i64,
    pub message: String,
}

/// The treatment of a line that is not a JSON-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InvalidLine {
    /// Some agents print other lines before the first message.
    Skipped,
    Refused,
}

/// A request or a notification of the other side.
#[derive(Debug)]
pub struct Incoming {
    pub method: String,
    pub params: Value,
    /// `None`: a notification.
    pub responder: Option<Responder>,
    /// The message's share of [`QUEUED_BYTES_MAX`].
    _bytes: OwnedSemaphorePermit,
}

/// Answers one request. Dropping the responder without an answer sends an internal error.
#[derive(Debug)]
pub struct Responder {
    id: Value,
    rpc: Rpc,
    /// Completes when the other side cancels the request.
    cancelled: Option<oneshot::Receiver<()>>,
    is_answered: bool,
}

impl Responder {
    pub fn answer(mut self, result: Value) {
        self.is_answered = true;
        let answer = json!({ "jsonrpc": "2.0", "id": self.id, "result": result });
        self.rpc.write(&answer);
    }

    pub fn refuse(mut self, code: i64, message: &str) {
        self.send_error(code, message);
    }

    /// The id of the request.
    pub fn id(&self) -> &Value {
        &self.id
    }

    /// Sends no answer: another client of the other side has answered the request, or will answer it.
    pub fn leave_unanswered(mut self) {
        self.is_answered = true;
    }

    /// The returned future completes when the other side cancels the request. A second call returns a future that never
    /// completes.
    pub fn take_cancelled(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let cancelled = self.cancelled.take();
        async move {
            let is_cancelled = match cancelled {
                Some(cancelled) => cancelled.await.is_ok(),
                None => false,
            };
            if !is_cancelled {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Answers the request. Waits while the other side does not read its input.
    pub async fn reply(mut self, outcome: Result<Value, RpcFault>) {
        self.is_answered = true;
        let answer = match outcome {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": self.id, "result": result }),
            Err(RpcFault { code, message }) => error_response(&self.id, code, &message),
        };
        self.rpc.write_when_read(&answer).await;
    }

    fn send_error(&mut self, code: i64, message: &str) {
        self.is_answered = true;
        self.rpc.write(&error_response(&self.id, code, message));
    }
}

/// A request to the other side. Dropping the value before the answer arrives cancels the request.
#[derive(Debug)]
pub struct PendingRequest {
    id: u64,
    rpc: Rpc,
    given: oneshot::Receiver<Result<Value, RpcError>>,
}

impl PendingRequest {
    /// # Errors
    /// The error of the other side, or the end of the connection.
    pub async fn answer(mut self) -> Result<Value, RpcError> {
        (&mut self.given).await.unwrap_or(Err(RpcError::Closed))
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        if self.rpc.lock().outgoing.remove(&self.id).is_some() {
            let cancel =
                json!({ "jsonrpc": "2.0", "method": CANCEL, "params": { "requestId": self.id } });
            // If the queue is full, the cancellation is lost. The other side still answers, and the answer is ignored.
            let _full = self.rpc.lines.try_send(cancel.to_string());
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.rpc.lock().incoming.remove(&self.id.to_string());
        if !self.is_answered {
            self.send_error(-32603, "the request was not answered");
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { text, .. } => formatter.write_str(text),
            Self::Closed => formatter.write_str("it has closed the connection"),
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    /// Requests to the other side that are not answered.
    outgoing: HashMap<u64, oneshot::Sender<Result<Value, RpcError>>>,
    is_closed: bool,
    /// Requests of the other side that are not answered, by their ids.
    incoming: HashMap<String, oneshot::Sender<()>>,
}

/// The writing side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rpc {
    lines: mpsc::Sender<String>,
    open: Arc<Mutex<Open>>,
    last_id: Arc<AtomicU64>,
}

/// The tokio tasks of a connection. Dropping the value aborts them.
#[derive(Debug)]
pub struct Tasks([JoinHandle<()>; 2]);

impl Tasks {
    /// Stops reading. Waits until the queued messages are written, for at most `limit`. The caller must have dropped
    /// every [`Rpc`] of the connection.
    pub async fn finish(mut self, limit: Duration) {
        let [writing, reading] = &mut self.0;
        reading.abort();
        let _too_slow = tokio::time::timeout(limit, writing).await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Rpc {
    /// Connects to the pipes of a program. The receiver ends when the program closes its output. Must be called within
    /// a tokio runtime.
    pub fn connect(
        stdin: impl AsyncWrite + Send + Unpin + 'static,
        stdout: impl AsyncRead + Send + Unpin + 'static,
    ) -> (Self, mpsc::Receiver<Incoming>, Tasks) {
        Self::open(stdin, stdout, InvalidLine::Skipped)
    }

    /// Like [`Rpc::connect`], for a program that uses this process as its server. A line that is not a JSON-RPC message
    /// gets an error response.
    pub fn serve(
        output: impl AsyncWrite + Send + Unpin + 'static,
        input: impl AsyncRead + Send + Unpin + 'static,
    ) -> (Self, mpsc::Receiver<Incoming>, Tasks) {
        Self::open(output, input, InvalidLine::Refused)
    }

    fn open(
        stdin: impl AsyncWrite + Send + Unpin + 'static,
        stdout: impl AsyncRead + Send + Unpin + 'static,
        invalid_line: InvalidLine,
    ) -> (Self, mpsc::Receiver<Incoming>, Tasks) {
        let (lines, to_write) = mpsc::channel(QUEUED_MAX);
        let (to_loop, incoming) = mpsc::channel(QUEUED_MAX);
        let rpc = Self {
            lines,
            open: Arc::default(),
            last_id: Arc::default(),
        };
        let writing = tokio::spawn(write(stdin, to_write));
        let reading = tokio::spawn({
            let rpc = rpc.clone();
            async move {
                if let Err(error) = rpc.read(stdout, to_loop, invalid_line).await {
                    tracing::warn!(%error, "cannot read the messages of the other program");
                }
                rpc.close();
            }
        });
        (rpc, incoming, Tasks([writing, reading]))
    }

    /// Sends a request. The future completes with the answer.
    ///
    /// # Errors
    /// The error of the other side, or the end of the connection.
    pub fn request(
        &self,
        method: &str,
        params: Value,
    ) -> impl Future<Output = Result<Value, RpcError>> + Send + use<> {
        let (id, given) = self.new_request();
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        async move { given.await.unwrap_or(Err(RpcError::Closed)) }
    }

    pub fn notify(&self, method: &str, params: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Like [`Rpc::notify`], but waits while the other side does not read its input.
    pub async fn notify_when_read(&self, method: &str, params: Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.write_when_read(&message).await;
    }

    /// Like [`Rpc::request`], but waits while the other side does not read its input, and the request can be cancelled.
    pub async fn ask(&self, method: &str, params: Value) -> PendingRequest {
        let (id, given) = self.new_request();
        let pending = PendingRequest {
            id,
            rpc: self.clone(),
            given,
        };
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.write_when_read(&message).await;
        pending
    }

    fn new_request(&self) -> (u64, oneshot::Receiver<Result<Value, RpcError>>) {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (give, given) = oneshot::channel();
        let mut open = self.lock();
        if !open.is_closed {
            open.outgoing.insert(id, give);
        }
        (id, given)
    }

    async fn write_when_read(&self, message: &Value) {
        // Sending fails when the connection is closed. The reading task detects this, too.
        let _closed = self.lines.send(message.to_string()).await;
    }

    fn write(&self, message: &Value) {
        // The queue is full if the other side does not read its input. Close the connection, because the other side
        // would wait for a lost answer.
        if let Err(error) = self.lines.try_send(message.to_string()) {
            tracing::warn!(%error, "cannot send a message to the other program");
            self.close();
        }
    }

    /// Makes all open and all later requests to the other side fail.
    pub fn close(&self) {
        let mut open = self.lock();
        open.is_closed = true;
        open.outgoing.clear();
    }

    async fn read(
        &self,
        stdout: impl AsyncRead + Unpin,
        to_loop: mpsc::Sender<Incoming>,
        invalid_line: InvalidLine,
    ) -> io::Result<()> {
        let mut stdout = BufReader::new(stdout);
        let room = Arc::new(Semaphore::new(QUEUED_BYTES_MAX as usize));
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut stdout).take(u64::from(LINE_MAX));
            let read = limited.read_until(b'\n', &mut line).await?;
            if read == 0 {
                return Ok(());
            }
            if !line.ends_with(b"\n") && read == LINE_MAX as usize {
                let text = format!("a message has more than {LINE_MAX} bytes");
                if invalid_line == InvalidLine::Skipped {
                    return Err(io::Error::other(text));
                }
                drop(line);
                skip_line(&mut stdout).await?;
                let refusal = error_response(&Value::Null, -32600, &text);
                self.write_when_read(&refusal).await;
                continue;
            }
            let bytes = u32::try_from(read).unwrap_or(LINE_MAX);
            let bytes = Arc::clone(&room).acquire_many_owned(bytes).await;
            let bytes = bytes.map_err(io::Error::other)?;
            let message = match serde_json::from_slice::<Value>(&line) {
                Ok(message) if message.is_object() => message,
                invalid => {
                    if invalid_line == InvalidLine::Refused && !line.trim_ascii().is_empty() {
                        let (code, text) = match invalid {
                            Ok(_) => (-32600, "the line is not a JSON-RPC message"),
                            Err(_) => (-32700, "the line is not JSON"),
                        };
                        let refusal = error_response(&Value::Null, code, text);
                        self.write_when_read(&refusal).await;
                    }
                    continue;
                }
            };
            drop(line);
            let Some(incoming) = self.handle(message, bytes) else {
                continue;
            };
            if to_loop.send(incoming).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Handles responses and cancellations. Returns any other message.
    fn handle(&self, mut message: Value, bytes: OwnedSemaphorePermit) -> Option<Incoming> {
        let id = message["id"].take();
        let Some(method) = message["method"].as_str().map(str::to_owned) else {
            let waiting = self.lock().outgoing.remove(&id.as_u64()?)?;
            let answer = match message["error"].is_null() {
                true => Ok(message["result"].take()),
                false => Err(error_of(&message["error"])),
            };
            // The caller may have dropped the future of the request.
            let _given_up = waiting.send(answer);
            return None;
        };
        let params = message["params"].take();
        if method == CANCEL {
            let id = params["requestId"].to_string();
            if let Some(cancel) = self.lock().incoming.remove(&id) {
                let _answered = cancel.send(());
            }
            return None;
        }
        let responder = (!id.is_null()).then(|| {
            let (cancel, cancelled) = oneshot::channel();
            self.lock().incoming.insert(id.to_string(), cancel);
            Responder {
                id,
                rpc: self.clone(),
                cancelled: Some(cancelled),
                is_answered: false,
            }
        });
        Some(Incoming {
            method,
            params,
            responder,
            _bytes: bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and discards the rest of the line.
async fn skip_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    loop {
        let available = input.fill_buf().await?;
        let newline = available.iter().position(|byte| *byte == b'\n');
        let length = newline.map_or(available.len(), |newline| newline + 1);
        input.consume(length);
        if newline.is_some() || length == 0 {
            return Ok(());
        }
    }
}

async fn write(mut stdin: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<String>) {
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if let Err(error) = stdin.write_all(line.as_bytes()).await {
            tracing::debug!(%error, "cannot write to the other program");
            return;
        }
    }
    if let Err(error) = stdin.flush().await {
        tracing::debug!(%error, "cannot write to the other program");
    }
}

fn error_response(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

fn error_of(error: &Value) -> RpcError {
    let message = error["message"]
        .as_str()
        .unwrap_or("an error without a text");
    let text = match &error["data"] {
        Value::Null => message.to_owned(),
        Value::String(data) => format!("{message}: {data}"),
        data @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            format!("{message}: {data}")
        }
    };
    RpcError::Refused {
        code: error["code"].as_i64().unwrap_or_default(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// A connection, and the other side's input and output.
    fn connected() -> (
        Rpc,
        mpsc::Receiver<Incoming>,
        Tasks,
        BufReader<DuplexStream>,
        DuplexStream,
    ) {
        let (stdin, read) = duplex(1 << 10);
        let (written, stdout) = duplex(1 << 10);
        let (rpc, incoming, tasks) = Rpc::connect(stdin, stdout);
        (rpc, incoming, tasks, BufReader::new(read), written)
    }

    #[tokio::test]
    async fn lines_without_a_json_object_are_skipped() {
        let (_rpc, mut incoming, _tasks, _read, mut written) = connected();
        let lines = b"Loading...\n5\n[1]\nnull\n{\"method\":\"hello\"}\n";
        written.write_all(lines).await.unwrap();
        assert_eq!(incoming.recv().await.unwrap().method, "hello");
    }

    #[tokio::test]
    async fn a_dropped_request_gets_an_error_response() {
        let (_rpc, mut incoming, _tasks, mut read, mut written) = connected();
        let request = b"{\"id\":\"a\",\"method\":\"ask\"}\n";
        written.write_all(request).await.unwrap();
        drop(incoming.recv().await.unwrap());
        let mut answer = String::new();
        read.read_line(&mut answer).await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["id"], "a");
        assert_eq!(answer["error"]["code"], -32603);
    }

    #[tokio::test]
    async fn a_request_can_be_left_to_another_client() {
        let (rpc, mut incoming, _tasks, mut read, mut written) = connected();
        let request = b"{\"id\":\"a\",\"method\":\"ask\"}\n";
        written.write_all(request).await.unwrap();
        let responder = incoming.recv().await.unwrap().responder.unwrap();
        assert_eq!(responder.id(), "a");
        responder.leave_unanswered();
        rpc.notify("end", Value::Null);
        let mut first = String::new();
        read.read_line(&mut first).await.unwrap();
        assert!(first.contains("\"end\""), "{first}");
    }

    #[tokio::test]
    async fn the_end_of_the_output_fails_open_requests() {
        let (rpc, mut incoming, _tasks, _read, written) = connected();
        let open = rpc.request("first", Value::Null);
        drop(written);
        assert_eq!(open.await, Err(RpcError::Closed));
        assert_eq!(
            rpc.request("next", Value::Null).await,
            Err(RpcError::Closed)
        );
        assert!(incoming.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_server_refuses_lines_without_a_message() {
        let (stdin, read) = duplex(1 << 10);
        let (mut written, stdout) = duplex(1 << 10);
        let (_rpc, mut incoming, _tasks) = Rpc::serve(stdin, stdout);
        written
            .write_all(b"{\n\n[1]\n{\"method\":\"hello\"}\n")
            .await
            .unwrap();
        assert_eq!(incoming.recv().await.unwrap().method, "hello");
        let mut read = BufReader::new(read).lines();
        for code in [-32700, -32600] {
            let line = read.next_line().await.unwrap().unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (&answer["id"], &answer["error"]["code"]),
                (&Value::Null, &json!(code))
            );
        }
    }

    #[tokio::test]
    async fn a_server_refuses_a_long_line_and_continues() {
        let (stdin, read) = duplex(1 << 10);
        let (mut written, stdout) = duplex(1 << 20);
        let (_rpc, mut incoming, _tasks) = Rpc::serve(stdin, stdout);
        let mut lines = vec![b' '; LINE_MAX as usize + 5];
        lines.extend(b"\n{\"method\":\"hello\"}\n");
        written.write_all(&lines).await.unwrap();
        assert_eq!(incoming.recv().await.unwrap().method, "hello");
        let mut read = BufReader::new(read).lines();
        let line = read.next_line().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&Value::Null, &json!(-32600))
        );
    }

    #[tokio::test]
    async fn a_dropped_request_is_cancelled_once() {
        let (rpc, _incoming, _tasks, read, mut written) = connected();
        let mut read = read.lines();
        let first = rpc.ask("ask", Value::Null).await;
        let second = rpc.ask("ask", Value::Null).await;
        written
            .write_all(b"{\"id\":1,\"result\":7}\n")
            .await
            .unwrap();
        assert_eq!(first.answer().await, Ok(json!(7)));
        drop(second);
        rpc.notify("end", Value::Null);
        let mut seen = Vec::new();
        while seen
            .last()
            .is_none_or(|last: &Value| last["method"] != "end")
        {
            let line = read.next_line().await.unwrap().unwrap();
            seen.push(serde_json::from_str::<Value>(&line).unwrap());
        }
        let cancelled = seen.iter().filter(|seen| seen["method"] == CANCEL);
        let ids: Vec<_> = cancelled.map(|seen| &seen["params"]["requestId"]).collect();
        assert_eq!(ids, [&json!(2)]);
    }

    #[tokio::test]
    async fn a_side_that_does_not_read_loses_the_connection() {
        let (rpc, _incoming, _tasks, _read, _written) = connected();
        let open = rpc.request("first", Value::Null);
        for _ in 0..=QUEUED_MAX {
            rpc.notify("more", json!("x".repeat(1 << 10)));
        }
        assert_eq!(open.await, Err(RpcError::Closed));
    }
}
