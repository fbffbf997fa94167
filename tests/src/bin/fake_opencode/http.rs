//! The part of HTTP that the fake needs, with one request on each connection.

use std::collections::HashMap;

use base64::Engine as _;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::variable;

pub(super) fn authorization() -> String {
    let password = variable("OPENCODE_SERVER_PASSWORD").expect("a password");
    let word = format!("opencode:{password}");
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(word))
}

/// Reads a request or a response: the first line, the headers, and the body.
pub(super) async fn message(
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
pub(super) struct Client {
    address: String,
    directory: String,
}

impl Client {
    pub(super) fn new(url: &str, directory: &str) -> Self {
        let address = url.strip_prefix("http://").expect("an address").to_owned();
        let directory = directory.to_owned();
        Self { address, directory }
    }

    /// # Panics
    /// Like the real interface, if the environment sends the request to a proxy.
    pub(super) async fn open(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> BufReader<TcpStream> {
        let has_proxy = variable("HTTP_PROXY").is_some();
        let except = variable("NO_PROXY").unwrap_or_default();
        assert!(!has_proxy || except.contains("127.0.0.1"));
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

    pub(super) async fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let mut stream = self.open(method, path, &body).await;
        message(&mut stream)
            .await
            .map_or(Value::Null, |(_, _, body)| body)
    }
}
