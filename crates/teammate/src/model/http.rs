//! A model behind HTTP: one request, one stream of events, one answer. Made by `open`.
//!
//! ```text
//!  Prompt ─► chat | messages (request) ─► POST ─► sse ─► chat | messages (Reading) ─► draft ─► Answer
//!                                          │
//!                                          └─► failure (what refusals and broken streams are)
//! ```
//! One attempt is one request: whoever asks again is `patience`. Neither key nor headers are ever shown.

mod chat;
mod draft;
mod failure;
mod messages;
mod pause;
mod sse;
mod verbatim;

use std::fmt;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
};
use reqwest::{Client, Proxy, Response};
use serde_json::Value;
use tokio::time::timeout;

use self::draft::{Draft, Told};
use self::failure::{Asked, looks_like_html};
use self::sse::Unreadable;
use super::catalogue::{Known, Price};
use super::key::Key;
use super::provider::{Provider, Wire};
use super::{Answer, Answering, Delta, Model, ModelError, Prompt, Searches};

/// Nothing at all for this long is no thinking, but a connection that died; a person may know better.
pub(super) const SILENCE: Duration = Duration::from_secs(120);

/// Bytes of a refusal that are read, and those of an answer that are too many.
const REFUSAL_MAX: usize = 64 << 10;
const ANSWER_MAX: usize = 64 << 20;

/// The version of Messages that is spoken.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Where and how a model is asked. There is no `Debug`: URLs of servers and proxies may hold passwords.
pub(super) struct Endpoint {
    pub(super) provider: &'static Provider,
    /// With the version in its path, without a slash at its end.
    pub(super) base_url: String,
    pub(super) searches: Searches,
    pub(super) key: Option<Key>,
    /// What the person wants to be sent besides, in lower case.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) proxies: Vec<Proxy>,
    /// Without a byte for this long the connection counts as dead.
    pub(super) silence: Duration,
}

/// A model at an endpoint.
pub(super) struct HttpModel {
    name: String,
    model: String,
    known: Known,
    endpoint: Endpoint,
    client: Client,
    headers: HeaderMap,
    /// Where requests go, and the same as errors show it.
    url: String,
    shown_url: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the key cannot be sent in a header")]
    Key(#[from] InvalidHeaderValue),
    #[error("there is no HTTP client")]
    Client(#[from] reqwest::Error),
}

/// Whether more of an answer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    More,
    Ended,
}

/// What is wrong with an event.
#[derive(Debug)]
enum Broken {
    /// It is an error, in the server's words.
    Error(Value),
    /// It is nothing that the wire knows.
    Nonsense(String),
}

/// Makes an answer of a wire's events.
trait Decode: Send {
    fn event(&mut self, data: &str, told: Told<'_>) -> Result<Progress, Broken>;

    /// The answer, unless it was cut off. `ended`: the last event said that it is one.
    fn finish(self: Box<Self>, ended: bool) -> Option<Answer>;
}

impl HttpModel {
    pub(super) fn new(
        name: String,
        model: String,
        known: Known,
        endpoint: Endpoint,
    ) -> Result<Self, ClientError> {
        let path = match endpoint.provider.wire {
            Wire::ChatCompletions => "/chat/completions",
            Wire::Messages => "/messages",
        };
        Ok(Self {
            name,
            model,
            known,
            client: endpoint.client()?,
            headers: endpoint.headers()?,
            url: format!("{}{path}", endpoint.base_url),
            shown_url: shown(&format!("{}{path}", endpoint.base_url)),
            endpoint,
        })
    }

    async fn ask(&self, prompt: Prompt<'_>, told: Told<'_>) -> Result<Answer, ModelError> {
        let provider = self.endpoint.provider;
        let asked = Asked {
            provider: provider.name,
            model: &self.model,
            url: &self.shown_url,
            key: self.endpoint.key.as_ref(),
        };
        let draft = Draft::new(&prompt, &self.name);
        let (body, reading): (Value, Box<dyn Decode>) = match provider.wire {
            Wire::ChatCompletions => (
                chat::request(&self.model, &self.name, &provider.quirks, &prompt),
                Box::new(chat::Reading::new(draft)),
            ),
            Wire::Messages => (
                messages::request(&self.model, &self.name, self.known.output, &prompt),
                Box::new(messages::Reading::new(draft)),
            ),
        };
        let request = self
            .client
            .post(&self.url)
            .headers(self.headers.clone())
            .body(body.to_string());
        let response = self.heard(&asked, request.send()).await?;
        if response.status().is_success() {
            self.read(&asked, response, reading, told).await
        } else {
            Err(self.refused(&asked, response).await)
        }
    }

    /// What was waited for, unless nothing came.
    async fn heard<T>(
        &self,
        asked: &Asked<'_>,
        waited_for: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, ModelError> {
        let silence = self.endpoint.silence;
        match timeout(silence, waited_for).await {
            Ok(Ok(heard)) => Ok(heard),
            // Its URL may hold a password.
            Ok(Err(error)) => Err(asked.unreachable(error.without_url())),
            Err(_) => Err(asked.unreachable(format!("it was silent for {silence:?}"))),
        }
    }

    async fn refused(&self, asked: &Asked<'_>, mut response: Response) -> ModelError {
        let status = response.status();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        // What has come of the reason is better than none.
        while body.len() < REFUSAL_MAX
            && let Ok(Some(chunk)) = self.heard(asked, response.chunk()).await
        {
            body.extend_from_slice(&chunk);
        }
        body.truncate(REFUSAL_MAX);
        asked.refusal(status, &headers, &body)
    }

    async fn read(
        &self,
        asked: &Asked<'_>,
        mut response: Response,
        mut reading: Box<dyn Decode>,
        told: Told<'_>,
    ) -> Result<Answer, ModelError> {
        let mut events = sse::Reader::default();
        let mut beginning = Vec::new();
        let mut length = 0;
        while let Some(chunk) = self.heard(asked, response.chunk()).await? {
            length += chunk.len();
            if beginning.len() < REFUSAL_MAX && !events.any {
                beginning.extend_from_slice(&chunk);
            }
            let data = events.push(&chunk).map_err(|unreadable| {
                let why = match unreadable {
                    Unreadable::TooLong => "an event has no end",
                    Unreadable::NotText => "it is not UTF-8",
                };
                asked.nonsense(why, &String::from_utf8_lossy(&beginning))
            })?;
            if length > ANSWER_MAX {
                return Err(asked.nonsense("the answer has no end", ""));
            }
            for data in data {
                match reading.event(&data, told) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Ended) => {
                        return reading
                            .finish(true)
                            .ok_or_else(|| asked.unreachable("the answer was cut off"));
                    }
                    Err(Broken::Error(error)) => return Err(asked.said_in_stream(&error)),
                    Err(Broken::Nonsense(why)) => return Err(asked.nonsense(&why, &data)),
                }
            }
        }
        if !events.any {
            return Err(no_stream(asked, &beginning));
        }
        reading
            .finish(false)
            .ok_or_else(|| asked.unreachable("the answer was cut off"))
    }
}

/// The failure that an answer without any event is.
fn no_stream(asked: &Asked<'_>, body: &[u8]) -> ModelError {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<Value>(&text) {
        Ok(body) if body.get("error").is_some() => asked.said_in_stream(&body),
        Ok(_) => asked.nonsense("JSON in place of a stream", &text),
        Err(_) if looks_like_html(&text) => asked.nonsense("HTML in place of a stream", &text),
        Err(_) if text.trim().is_empty() => asked.unreachable("the answer was empty"),
        Err(_) => asked.nonsense("no stream of events", &text),
    }
}

impl Endpoint {
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        let proxies = self.proxies.iter().cloned();
        Ok(proxies
            .fold(crate::http::client(), |builder, proxy| builder.proxy(proxy))
            .build()?)
    }

    pub(super) fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let wire = self.provider.wire;
        if wire == Wire::Messages {
            let version = HeaderValue::from_static(ANTHROPIC_VERSION);
            headers.insert("anthropic-version", version);
        }
        if let Some(key) = &self.key {
            let key = key.reveal();
            let (name, value) = match wire {
                Wire::ChatCompletions => (AUTHORIZATION, format!("Bearer {key}")),
                Wire::Messages => (HeaderName::from_static("x-api-key"), key.to_owned()),
            };
            let mut value = HeaderValue::try_from(value)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        Ok(headers)
    }
}

/// Without anything that may hold a secret.
impl fmt::Debug for HttpModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpModel")
            .field("name", &self.name)
            .field("url", &self.shown_url)
            .finish_non_exhaustive()
    }
}

/// A URL without the name and password that may stand in it, and without a query.
pub(super) fn shown(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else {
        return "(not a URL)".to_owned();
    };
    // Those that cannot have them have none.
    let _cannot = url.set_username("");
    let _cannot = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

impl Model for HttpModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn window(&self) -> u64 {
        self.known.window
    }

    fn price(&self) -> Option<Price> {
        self.known.price
    }

    fn searches(&self) -> Searches {
        self.endpoint.searches
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        told: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        Box::pin(self.ask(prompt, told))
    }
}
