//! A model behind an HTTP API: one request, one event stream, one answer. Created by `open`.
//!
//! ```text
//!  Prompt ─► chat | responses | messages (request) ─► POST ─► sse ─► AnswerDecoder of the API ─► draft ─► Answer
//!                                          │
//!                                          └─► failure (maps error responses and broken streams)
//! ```
//! Each attempt is one request, which is repeated without images and PDFs if they may be the cause of an error. `retry`
//! repeats attempts. Keys and headers are never shown.

mod chat;
mod decode;
mod draft;
mod effort;
mod failure;
mod loaded;
mod messages;
mod pause;
mod prefix;
mod reasoning;
mod responses;
pub mod sse;
mod verbatim;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_team_protocol::spec::Wire;
use agent_team_protocol::value::Effort;
use agent_team_providers::Provider;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue,
};
use reqwest::{Certificate, Client, Proxy, Response};
use serde_json::{Map, Value};
use tokio::time::timeout;

use self::decode::{Decode, EventError, Progress};
use self::draft::{Author, Draft, OnDelta};
use self::failure::{Target, looks_like_html};
use self::loaded::Loaded;
use self::sse::Unreadable;
use crate::catalogue::ModelData;
use crate::key::Key;
use crate::media::MediaSupport;
use crate::model::{Answer, Answering, Delta, Model, ModelError, Prompt, SearchSupport};
use crate::usage::Price;

/// The default time without any byte after which the connection counts as dead.
pub(super) const SILENCE: Duration = Duration::from_secs(120);

/// The default for a server on this machine. Without a fast graphics card, such a server may read a long prompt for
/// minutes before it sends the first byte.
pub(super) const LOOPBACK_SILENCE: Duration = Duration::from_secs(600);

/// The largest part of an error response that is read, in bytes.
const REFUSAL_MAX: usize = 64 << 10;

/// The largest answer that is accepted, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// The version of the Messages API.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// The value of the header `anthropic-beta` with which Claude 4.5 and earlier think after each result, and not only
/// before the first call of a turn. Later models do so without it. Sources: see `effort`.
const THINKS_BETWEEN_CALLS: &str = "interleaved-thinking-2025-05-14";

/// The address and authentication of a model. Has no `Debug`: URLs of servers and proxies may contain passwords.
pub(crate) struct Endpoint {
    pub(super) provider: &'static Provider,
    /// The base URL, with the version in its path and without a trailing slash.
    pub(super) base_url: String,
    /// The query of each request, such as Azure's `api-version=2024-10-21`.
    pub(super) query: Option<String>,
    pub(super) search_support: SearchSupport,
    /// The configured API.
    pub(super) wire: Option<Wire>,
    /// Whether later requests repeat the model's reasoning.
    pub(super) takes_thoughts: bool,
    /// Additional fields of the request body.
    pub(super) extra_body: Map<String, Value>,
    /// The certificates that are trusted in addition to the built-in certificates.
    pub(super) certificates: Vec<Certificate>,
    pub(super) key: Option<Key>,
    /// The configured additional headers, in lower case.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) proxies: Vec<Proxy>,
    /// The time without any byte after which the connection counts as dead.
    pub(super) silence: Duration,
}

pub(super) struct HttpModel {
    name: String,
    model: String,
    model_data: ModelData,
    /// The configured effort, for prompts without one.
    effort: Option<Effort>,
    wire: Wire,
    endpoint: Endpoint,
    client: Client,
    headers: HeaderMap,
    /// The URL of requests.
    url: String,
    /// The URL for errors, without credentials.
    shown_url: String,
    /// The digests of images and PDFs that the provider may have refused; they are not sent again.
    refused_media: Mutex<HashSet<String>>,
}

/// Why the client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot send the key in a header")]
    Key(#[from] InvalidHeaderValue),
    #[error("cannot create an HTTP client")]
    Client(#[from] reqwest::Error),
}

impl HttpModel {
    pub(super) fn new(
        name: String,
        model: String,
        model_data: ModelData,
        effort: Option<Effort>,
        endpoint: Endpoint,
    ) -> Result<Self, ClientError> {
        let wire = endpoint.wire_of(&model);
        let path = match wire {
            Wire::ChatCompletions => "/chat/completions",
            Wire::Responses => "/responses",
            Wire::Messages => "/messages",
        };
        Ok(Self {
            name,
            model,
            model_data,
            effort,
            wire,
            client: endpoint.client()?,
            headers: endpoint.headers()?,
            url: endpoint.url(path),
            shown_url: shown(&endpoint.url(path)),
            refused_media: Mutex::default(),
            endpoint,
        })
    }

    /// A provider refuses the whole request if it cannot decode an image, or if the model accepts no images. A request
    /// that may have failed for this reason is repeated: first without the files after the last answer, then without
    /// any file. A file is remembered as refused if the first error was a refusal and a repetition without the file
    /// succeeds. Other errors, such as a server error or an error about the total size, may have another reason. If all
    /// repetitions fail, the result is the first error; the branches below return the exceptions.
    async fn ask(&self, prompt: Prompt<'_>, on_delta: OnDelta<'_>) -> Result<Answer, ModelError> {
        let loaded = {
            let refused = self.refused_media();
            let is_refused = |digest: &str| refused.contains(digest);
            Loaded::of(&prompt, self.model_data.media, is_refused)
        };
        let has_begun = AtomicBool::new(false);
        let mut on_delta = |delta: Delta| {
            has_begun.store(true, Ordering::Relaxed);
            on_delta(delta);
        };
        let answer = self.request(prompt, &loaded, &mut on_delta).await;
        // If deltas of an answer have arrived, do not repeat the request: the user has already seen these deltas.
        let mut failure = match answer {
            Err(error) if !loaded.is_empty() && !has_begun.load(Ordering::Relaxed) => error,
            answer => return answer,
        };
        let Some(cause) = media_as_cause(&failure) else {
            return Err(failure);
        };
        let (all, new) = (loaded.digests(), loaded.new_digests(&prompt));
        let older = loaded.without(&new);
        let mut repetitions = Vec::new();
        if !new.is_empty() && !older.is_empty() {
            repetitions.push((older, new));
        }
        repetitions.push((Loaded::default(), all));
        for (kept, left_out) in repetitions {
            match self.request(prompt, &kept, &mut on_delta).await {
                Ok(answer) => {
                    if cause == Cause::Content {
                        self.refused_media().extend(left_out);
                    }
                    return Ok(answer);
                }
                // A later attempt of `retry` can succeed.
                Err(error @ (ModelError::Busy { .. } | ModelError::Unreachable { .. }))
                    if cause == Cause::Content =>
                {
                    return Err(error);
                }
                Err(error) if has_begun.load(Ordering::Relaxed) => return Err(error),
                // The transcript must be shortened, with or without files.
                Err(error @ ModelError::TooLong(_)) => failure = error,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    fn refused_media(&self) -> MutexGuard<'_, HashSet<String>> {
        let refused = self.refused_media.lock();
        refused.unwrap_or_else(PoisonError::into_inner)
    }

    async fn request(
        &self,
        prompt: Prompt<'_>,
        loaded: &Loaded,
        on_delta: OnDelta<'_>,
    ) -> Result<Answer, ModelError> {
        let provider = self.endpoint.provider;
        let target = Target {
            provider: provider.name,
            model: &self.model,
            url: &self.shown_url,
            key: self.endpoint.key.as_ref(),
        };
        let author = self.author();
        let effort = prompt.effort.or(self.effort);
        let draft = Draft::new(&prompt, author);
        let (mut body, decoder): (Value, Box<dyn Decode>) = match self.wire {
            Wire::ChatCompletions => {
                let chat::Request { body, prefix } =
                    chat::request(&self.dialect(effort), &prompt, loaded);
                let draft = match prefix {
                    Some(prefix) => draft.bound_to(prefix),
                    None => draft,
                };
                (
                    body,
                    Box::new(chat::AnswerDecoder::new(draft, &provider.quirks)),
                )
            }
            Wire::Responses => {
                let effort = effort::of_openai(&self.model, effort.unwrap_or_default());
                (
                    responses::request(&self.model, author, effort, &prompt, loaded),
                    Box::new(responses::AnswerDecoder::new(draft)),
                )
            }
            Wire::Messages => {
                let output = self.model_data.output;
                let effort = effort.unwrap_or_default();
                let thinking = effort::of_messages(&self.model, effort, output);
                let messages::Request { body, prefix } =
                    messages::request(&self.model, author, output, &thinking, &prompt, loaded);
                let draft = draft.bound_to(prefix);
                (body, Box::new(messages::AnswerDecoder::new(draft)))
            }
        };
        for (field, value) in &self.endpoint.extra_body {
            body[field] = value.clone();
        }
        let mut request = self
            .client
            .post(&self.url)
            .headers(self.headers.clone())
            .body(body.to_string());
        // If the user has set this header too, the request contains both values.
        if self.wire == Wire::Messages && body["thinking"].get("budget_tokens").is_some() {
            request = request.header("anthropic-beta", THINKS_BETWEEN_CALLS);
        }
        let response = self.receive(&target, request.send()).await?;
        if response.status().is_success() {
            self.read(&target, response, decoder, on_delta).await
        } else {
            Err(self.refused(&target, response).await)
        }
    }

    fn author(&self) -> Author<'_> {
        Author {
            by: &self.name,
            wire: self.wire,
            default_wire: self.endpoint.default_wire(&self.model),
        }
    }

    fn dialect(&self, effort: Option<Effort>) -> chat::Dialect<'_> {
        chat::Dialect {
            model: &self.model,
            author: self.author(),
            quirks: &self.endpoint.provider.quirks,
            takes_thoughts: self.endpoint.takes_thoughts,
            effort,
            effort_field: self.endpoint.provider.effort_field(&self.model),
        }
    }

    /// Waits for a part of the response: its head, or a chunk of its body. Fails after the silence limit.
    async fn receive<T>(
        &self,
        target: &Target<'_>,
        part: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, ModelError> {
        let silence = self.endpoint.silence;
        match timeout(silence, part).await {
            Ok(Ok(received)) => Ok(received),
            // The URL may contain a password.
            Ok(Err(error)) => Err(target.unreachable(error.without_url())),
            Err(_) => Err(target.unreachable(format!("no data for {silence:?}"))),
        }
    }

    async fn refused(&self, target: &Target<'_>, mut response: Response) -> ModelError {
        let status = response.status();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        // A partial error text is better than none.
        while body.len() < REFUSAL_MAX
            && let Ok(Some(chunk)) = self.receive(target, response.chunk()).await
        {
            body.extend_from_slice(&chunk);
        }
        body.truncate(REFUSAL_MAX);
        target.refusal(status, &headers, &body)
    }

    async fn read(
        &self,
        target: &Target<'_>,
        mut response: Response,
        mut decoder: Box<dyn Decode>,
        on_delta: OnDelta<'_>,
    ) -> Result<Answer, ModelError> {
        let mut events = sse::Reader::default();
        let mut beginning = Vec::new();
        let mut length = 0;
        while let Some(chunk) = self.receive(target, response.chunk()).await? {
            length += chunk.len();
            if beginning.len() < REFUSAL_MAX && !events.any {
                beginning.extend_from_slice(&chunk);
            }
            let data = events.push(&chunk).map_err(|unreadable| {
                let why = match unreadable {
                    Unreadable::TooLong => "an event exceeds the size limit",
                    Unreadable::NotText => "invalid UTF-8",
                };
                target.invalid_response(why, &String::from_utf8_lossy(&beginning))
            })?;
            if length > ANSWER_MAX {
                return Err(target.invalid_response("the answer exceeds the size limit", ""));
            }
            for data in data {
                match decoder.event(&data, on_delta) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Ended) => {
                        return decoder
                            .finish(true)
                            .ok_or_else(|| target.unreachable("the answer was truncated"));
                    }
                    Err(EventError::Error(error)) => return Err(target.stream_error(&error)),
                    Err(EventError::Invalid(why)) => {
                        return Err(target.invalid_response(&why, &data));
                    }
                }
            }
        }
        if !events.any {
            return Err(no_stream(target, &beginning));
        }
        decoder
            .finish(false)
            .ok_or_else(|| target.unreachable("the answer was truncated"))
    }
}

/// How images and PDFs can cause an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The provider cannot decode a file, or the model accepts none.
    Content,
    /// The files are too large together, or the server failed, perhaps for another reason.
    Unsure,
}

/// Returns how images and PDFs may have caused this error. `None`: they did not cause it. OpenRouter reports a model
/// that accepts no images as unknown: "No endpoints found that support image input".
fn media_as_cause(error: &ModelError) -> Option<Cause> {
    match error {
        ModelError::Refused {
            status: 400 | 413 | 422,
            ..
        }
        | ModelError::Unauthenticated { status: 403, .. }
        | ModelError::UnknownModel { .. } => Some(Cause::Content),
        ModelError::TooLong(_) | ModelError::Busy { status: 500, .. } => Some(Cause::Unsure),
        ModelError::Refused { .. }
        | ModelError::Unauthenticated { .. }
        | ModelError::Busy { .. }
        | ModelError::Unreachable { .. }
        | ModelError::InvalidResponse { .. }
        | ModelError::Unrecorded(_) => None,
    }
}

/// Maps a response without any event to an error.
fn no_stream(target: &Target<'_>, body: &[u8]) -> ModelError {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<Value>(&text) {
        Ok(body) if body.get("error").is_some() => target.stream_error(&body),
        Ok(_) => target.invalid_response("JSON instead of an event stream", &text),
        Err(_) if looks_like_html(&text) => {
            target.invalid_response("HTML instead of an event stream", &text)
        }
        Err(_) if text.trim().is_empty() => target.unreachable("the answer was empty"),
        Err(_) => target.invalid_response("not an event stream", &text),
    }
}

impl Endpoint {
    /// The URL of this path of the API.
    pub(super) fn url(&self, path: &str) -> String {
        match &self.query {
            Some(query) => format!("{}{path}?{query}", self.base_url),
            None => format!("{}{path}", self.base_url),
        }
    }

    /// Whether this is Azure's classic API, which has its version in the query and the key in its own header.
    fn is_classic_azure(&self) -> bool {
        let query = self.query.as_deref().unwrap_or("");
        query
            .split('&')
            .any(|pair| pair.starts_with("api-version="))
    }

    /// The API for this model.
    fn wire_of(&self, model: &str) -> Wire {
        self.wire.unwrap_or_else(|| self.default_wire(model))
    }

    /// The API for this model if none is configured. Azure's classic API has no Responses path.
    fn default_wire(&self, model: &str) -> Wire {
        match !self.is_classic_azure()
            && effort::needs_responses(self.provider.effort_field(model), model)
        {
            true => Wire::Responses,
            false => self.provider.wire,
        }
    }

    pub(super) fn client(&self) -> Result<Client, ClientError> {
        let proxies = self.proxies.iter().cloned();
        let builder = proxies.fold(crate::http_client::client(), |builder, proxy| {
            builder.proxy(proxy)
        });
        let certificates = self.certificates.iter().cloned();
        Ok(builder.tls_certs_merge(certificates).build()?)
    }

    pub(super) fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let wire = self.wire.unwrap_or(self.provider.wire);
        if wire == Wire::Messages {
            let version = HeaderValue::from_static(ANTHROPIC_VERSION);
            headers.insert("anthropic-version", version);
        }
        if let Some(key) = &self.key {
            let key = key.reveal();
            let (name, value) = match wire {
                _ if self.is_classic_azure() => {
                    (HeaderName::from_static("api-key"), key.to_owned())
                }
                Wire::ChatCompletions | Wire::Responses => (AUTHORIZATION, format!("Bearer {key}")),
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

/// Omits everything that may contain a secret.
impl fmt::Debug for HttpModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpModel")
            .field("name", &self.name)
            .field("url", &self.shown_url)
            .finish_non_exhaustive()
    }
}

/// A URL without user name, password, query and fragment.
pub(super) fn shown(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else {
        return "(not a URL)".to_owned();
    };
    // URLs that cannot have credentials return an error here.
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
        self.model_data.window
    }

    fn price(&self) -> Option<Price> {
        self.model_data.price.clone()
    }

    fn parses_calls(&self) -> bool {
        self.wire == Wire::Messages
    }

    fn search_support(&self) -> SearchSupport {
        self.endpoint.search_support
    }

    fn media_support(&self) -> MediaSupport {
        self.model_data.media
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        Box::pin(self.ask(prompt, on_delta))
    }
}
