//! An HTTP client that sends exactly the bytes that a test writes, and reads server-sent events.

use std::net::SocketAddr;

use agent_team_tests::{Rig, Running, within};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// A running `agent-team serve` on a TCP address.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    pub(super) token: String,
    /// Ends the service when it is dropped.
    verb: Running,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        let json = serde_json::from_str(&self.body);
        json.unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts the status, and that the answer is a problem document with it.
    #[track_caller]
    pub(super) fn expect_problem(self, status: u16) -> Value {
        let answer = self.expect(status);
        assert!(
            answer.head.contains("application/problem+json"),
            "{answer:?}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(
            problem["code"].is_string() && problem["detail"].is_string(),
            "{problem}"
        );
        problem
    }

    /// The value of a header, in lower case.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().map(str::to_lowercase);
        let mut values = lines.filter_map(|line| {
            let value = line.strip_prefix(&format!("{name}:"))?;
            Some(value.trim().to_owned())
        });
        values.next()
    }
}

impl Service {
    /// Starts the service with these further arguments.
    pub(super) async fn start(rig: &Rig, arguments: &[&str]) -> Self {
        let mut verb = match arguments {
            [] => rig.start(["serve", "--json"]),
            [one] => rig.start(["serve", one, "--json"]),
            [one, two] => rig.start(["serve", one, two, "--json"]),
            [one, two, three, four] => rig.start(["serve", one, two, three, four, "--json"]),
            [one, two, three, four, five] => {
                rig.start(["serve", one, two, three, four, five, "--json"])
            }
            more => panic!("too many arguments: {more:?}"),
        };
        let printed: Value = serde_json::from_str(&verb.line().await).expect("a document");
        let url = printed["url"].as_str().expect("a URL").to_owned();
        let (address, token) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .expect("a URL with a path");
        Self {
            address: address.parse().expect("an address"),
            token: token.trim_start_matches('#').to_owned(),
            verb,
        }
    }

    pub(super) fn pid(&self) -> u64 {
        self.verb.pid()
    }

    /// The head of a valid request, without the final empty line.
    pub(super) fn head(&self, method: &str, target: &str) -> String {
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n",
            self.address, self.token
        )
    }

    /// A valid request with a body.
    pub(super) fn request(&self, method: &str, target: &str, body: &str) -> String {
        format!(
            "{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.head(method, target),
            body.len()
        )
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.send(&format!("{}\r\n", self.head("GET", target)))
            .await
    }

    pub(super) async fn post(&self, target: &str, body: &Value) -> Answer {
        self.send(&self.request("POST", target, &body.to_string()))
            .await
    }

    /// Sends these bytes over a new connection and reads the whole answer.
    pub(super) async fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        // The write fails if the service has refused the request before it read the body.
        let _refused = stream.write_all(request.as_bytes()).await;
        read(stream).await
    }

    /// Follows the events.
    pub(super) async fn events(&self, target: &str, headers: &str) -> Events {
        self.stream("GET", target, headers, "").await
    }

    /// Sends a request whose answer is a stream of events.
    pub(super) async fn stream(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> Events {
        let head = self.head(method, target);
        let socket = TcpSocket::new_v4().expect("a socket");
        // The buffer is small, so that the service notices a stopped reader early.
        socket.set_recv_buffer_size(8 << 10).expect("a buffer");
        let mut stream = socket.connect(self.address).await.expect("a connection");
        let request = format!("{head}{headers}\r\n{body}");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a connection");
        Events {
            stream: BufReader::new(stream),
            text: String::new(),
        }
    }
}

/// Reads an answer until the connection closes.
pub(super) async fn read(mut stream: impl tokio::io::AsyncRead + Unpin) -> Answer {
    let mut bytes = Vec::new();
    // A reset connection also ends the answer.
    let _end = within("an answer", stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// A stream of server-sent events.
pub(super) struct Events {
    stream: BufReader<TcpStream>,
    text: String,
}

/// One event with its id, if it has one.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) id: Option<u64>,
    pub(super) data: Option<Value>,
}

impl Events {
    /// Reads the head of the answer.
    pub(super) async fn status(&mut self) -> u16 {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = within("a head", self.stream.read_line(&mut head)).await;
            assert!(read.is_ok_and(|read| read > 0), "{head}");
        }
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.expect("a status")
    }

    /// The next event with an id or data; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let id = field("id: ").map(|id| id.parse().expect("a revision"));
                let data = field("data: ").map(|data| serde_json::from_str(&data).expect("JSON"));
                self.text = rest.to_owned();
                if id.is_some() || data.is_some() {
                    return Some(Event { id, data });
                }
            }
            let chunk = within("an event", self.chunk()).await?;
            self.text.push_str(&chunk);
        }
    }

    /// The next event that is stored.
    pub(super) async fn stored(&mut self) -> Option<Event> {
        loop {
            let event = self.next().await?;
            if event.id.is_some() {
                return Some(event);
            }
        }
    }

    async fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.stream.read_line(&mut size).await.ok()?;
        let size = usize::from_str_radix(size.trim(), 16)
            .ok()
            .filter(|size| *size > 0)?;
        let mut bytes = vec![0; size + 2];
        self.stream.read_exact(&mut bytes).await.ok()?;
        bytes.truncate(size);
        Some(String::from_utf8(bytes).expect("text"))
    }
}
