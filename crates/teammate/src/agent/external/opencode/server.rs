//! The HTTP server of OpenCode: its program, requests, and the stream of events. Called by `opencode`.
//!
//! Each member has its own server at a port of this machine. The server accepts only requests with a password, which
//! the worker creates for each start.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_team_llm::http_client;
use agent_team_llm::sse;
use agent_team_system::random;
use reqwest::{Client, Method, Response, Url};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::channel::AgentProgram;
use super::super::running_program::{EXIT_LIMIT, RunningProgram};
use super::settings::{HOST, PASSWORD, USER, USERNAME};

/// The beginning of the line with which the server reports its address.
const LISTENING: &str = "opencode server listening on ";

/// The time limit of the start. The program first checks for a new version and loads its plugins.
const START_LIMIT: Duration = Duration::from_secs(45);

/// The largest number of bytes of output in which the worker searches for the address.
const ADDRESS_MAX: u64 = 64 << 10;

/// The time limit of a request. The first request of a directory loads the settings and connects the MCP servers.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// The largest answer, in bytes. The list of models is the largest.
const ANSWER_MAX: usize = 16 << 20;

/// The largest text of a refusal that is shown, in characters.
const REFUSAL_MAX: usize = 300;

/// The time after which a stream without events counts as closed. The server sends an event every 10 seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// The largest number of events that wait for the loop. When it is reached, the server must wait.
const EVENTS_MAX: usize = 256;

/// A running server. Dropping it kills the program.
pub(super) struct Server {
    pub(super) program: RunningProgram,
    pub(super) api: Api,
    pub(super) password: String,
}

/// Requests to the server, about one directory.
#[derive(Clone)]
pub(super) struct Api(Arc<Address>);

struct Address {
    client: Client,
    url: Url,
    password: String,
    directory: String,
}

/// Why a request failed. The text is for the user.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The resource of the request does not exist, or no longer exists.
    Missing,
    Other(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("its server does not have what was asked for (404)"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// The events of the server. Dropping it closes the stream.
pub(super) struct Events {
    receiver: mpsc::Receiver<Value>,
    /// Returns why the stream has ended.
    reading: JoinHandle<String>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Server {
    /// Starts the server with this environment. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the server does not report an address of this machine within the time limit.
    pub(super) async fn start(
        program: &AgentProgram,
        mut env: Vec<(OsString, OsString)>,
    ) -> std::io::Result<Self> {
        let password = format!("{}{}", random::id(), random::id());
        env.retain(|(name, _)| name != PASSWORD && name != USERNAME);
        env.push((PASSWORD.into(), (&password).into()));
        let mut args: Vec<OsString> = program.args.iter().map(OsString::from).collect();
        // Arguments take precedence over the user's settings, which could name an address of another network.
        args.extend(["serve", "--hostname", HOST, "--port", "0"].map(OsString::from));
        let (mut running, stdout) = RunningProgram::start(program, args, env)?;
        let url = tokio::select! {
            url = tokio::time::timeout(START_LIMIT, address(stdout)) => url.unwrap_or_else(|_| {
                let limit = START_LIMIT.as_secs();
                Err(format!("its server does not report its address within {limit} s"))
            }),
            () = running.ended() => Err(running.exit_within(EXIT_LIMIT).await),
        };
        let url = url.map_err(std::io::Error::other)?;
        Ok(Self {
            program: running,
            api: Api::new(url, &password, directory(&program.cwd)?)?,
            password,
        })
    }
}

fn directory(path: &Path) -> std::io::Result<String> {
    let text = path.to_str();
    let text = text.ok_or_else(|| std::io::Error::other("the path of its directory is not UTF-8"));
    text.map(str::to_owned)
}

/// The address that the server prints. A task reads and drops the rest of the output: a full pipe would stop the
/// server.
async fn address(stdout: pipe::Receiver) -> Result<Url, String> {
    let mut lines = BufReader::new(stdout.take(ADDRESS_MAX)).lines();
    let url = loop {
        match lines.next_line().await {
            Ok(Some(line)) => {
                if let Some(address) = line.trim().strip_prefix(LISTENING) {
                    break address.to_owned();
                }
            }
            Ok(None) | Err(_) => return Err("its server does not report its address".to_owned()),
        }
    };
    let mut rest = lines.into_inner().into_inner().into_inner();
    tokio::spawn(async move { tokio::io::copy(&mut rest, &mut tokio::io::sink()).await });
    let shown = agent_team_protocol::text::visible_label(&url, REFUSAL_MAX);
    let url = Url::parse(&url).ok();
    let is_here = |url: &Url| url.scheme() == "http" && url.host_str() == Some(HOST);
    url.filter(is_here)
        .ok_or_else(|| format!("its server listens at {shown}, which is not this machine"))
}

impl Api {
    /// # Errors
    /// If no client can be made.
    pub(super) fn new(url: Url, password: &str, directory: String) -> std::io::Result<Self> {
        let client = http_client::client().build();
        Ok(Self(Arc::new(Address {
            client: client.map_err(std::io::Error::other)?,
            url,
            password: password.to_owned(),
            directory,
        })))
    }

    pub(super) fn url(&self) -> &str {
        self.0.url.as_str().trim_end_matches('/')
    }

    /// # Errors
    /// The server's refusal, or no answer.
    pub(super) async fn get(&self, path: &[&str]) -> Result<Value, Refusal> {
        self.request(Method::GET, path, None).await
    }

    /// # Errors
    /// The server's refusal, or no answer.
    pub(super) async fn post(&self, path: &[&str], body: Value) -> Result<Value, Refusal> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// # Errors
    /// The server's refusal, or no answer.
    pub(super) async fn patch(&self, path: &[&str], body: Value) -> Result<Value, Refusal> {
        self.request(Method::PATCH, path, Some(body)).await
    }

    async fn request(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
    ) -> Result<Value, Refusal> {
        let answered = tokio::time::timeout(REQUEST_LIMIT, async {
            let response = self.send(method, path, body.as_ref()).await?;
            let status = response.status();
            let text = content(response).await?;
            if status.as_u16() == 404 {
                return Err(Refusal::Missing);
            }
            if !status.is_success() {
                return Err(Refusal::Other(refusal(status.as_u16(), &text)));
            }
            // The answer to an accepted prompt is empty. For an unknown path, the server answers with an HTML page.
            match text.is_empty() {
                true => Ok(Value::Null),
                false => serde_json::from_slice(&text).map_err(|_| {
                    let path = path.join("/");
                    Refusal::Other(format!(
                        "it sent an invalid message: the answer to /{path} is not JSON"
                    ))
                }),
            }
        });
        answered.await.unwrap_or_else(|_| {
            let limit = REQUEST_LIMIT.as_secs();
            let why = format!("its server does not answer within {limit} s");
            Err(Refusal::Other(why))
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Response, Refusal> {
        let mut url = self.0.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        url.query_pairs_mut()
            .append_pair("directory", &self.0.directory);
        let mut request = self
            .0
            .client
            .request(method, url)
            .basic_auth(USER, Some(&self.0.password));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        request.send().await.map_err(unreachable)
    }

    /// Opens the stream of events. It contains every event after this future has completed.
    ///
    /// # Errors
    /// If the server refuses the stream.
    pub(super) async fn events(&self) -> Result<Events, Refusal> {
        let opened =
            tokio::time::timeout(REQUEST_LIMIT, self.send(Method::GET, &["event"], None)).await;
        let mut response = opened.unwrap_or_else(|_| {
            let why = "its server does not open its stream of events".to_owned();
            Err(Refusal::Other(why))
        })?;
        let status = response.status().as_u16();
        if status != 200 {
            let text = content(response).await?;
            return Err(Refusal::Other(refusal(status, &text)));
        }
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let reading = tokio::spawn(async move {
            let mut reader = sse::Reader::default();
            loop {
                let chunk = tokio::time::timeout(SILENCE_LIMIT, response.chunk()).await;
                let chunk = match chunk {
                    Ok(Ok(Some(chunk))) => chunk,
                    Ok(Ok(None)) => return "its server has closed the stream of events".to_owned(),
                    Ok(Err(error)) => return unreachable(error).to_string(),
                    Err(_) => return "its server sends no events".to_owned(),
                };
                let Ok(events) = reader.push(&chunk) else {
                    return "it sent an invalid message: an event is too long, or not text"
                        .to_owned();
                };
                for event in events {
                    let Ok(event) = serde_json::from_str(&event) else {
                        return "it sent an invalid message: an event is not JSON".to_owned();
                    };
                    if sender.send(event).await.is_err() {
                        return "stopped".to_owned();
                    }
                }
            }
        });
        Ok(Events { receiver, reading })
    }
}

impl Events {
    /// The next event. `Err`: why the stream has ended. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Value, String> {
        if let Some(event) = self.receiver.recv().await {
            return Ok(event);
        }
        if self.reading.is_finished() {
            // The handle is not polled again afterwards: the loop ends with the stream.
            return Err((&mut self.reading)
                .await
                .unwrap_or_else(|error| error.to_string()));
        }
        Err("its stream of events has ended".to_owned())
    }
}

/// The body of a response, up to the limit.
async fn content(mut response: Response) -> Result<Vec<u8>, Refusal> {
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        text.extend_from_slice(&chunk);
        if text.len() > ANSWER_MAX {
            let why = "it sent an invalid message: an answer is too long".to_owned();
            return Err(Refusal::Other(why));
        }
    }
    Ok(text)
}

/// The error without the address, which is the same for all requests.
fn unreachable(error: reqwest::Error) -> Refusal {
    Refusal::Other(format!(
        "its server cannot be reached: {}",
        error.without_url()
    ))
}

/// The text of a refusal. Errors have the text in `message`, or in `data.message`.
fn refusal(status: u16, body: &[u8]) -> String {
    if status == 401 {
        return "its server refuses the password (401)".to_owned();
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body["data"]["message"].as_str();
    let message = message
        .or(body["message"].as_str())
        .unwrap_or("it gives no reason");
    let message = agent_team_protocol::text::visible_label(message, REFUSAL_MAX);
    format!("its server answers {status}: {message}")
}
