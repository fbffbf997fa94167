//! The connection to iTerm2's API: a WebSocket over the app's Unix socket, one request at a time. Used by
//! [`super::app`] only.
//!
//! All teams share one connection to an app, because the cookie that authenticates it can be used only once. The cookie
//! comes from the environment of the caller, or else from the app, which may ask the user first. The cookie is never
//! stored. A failed connection is dropped; the next request opens a new connection.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_team_protocol::text::visible_label;
use agent_team_system::inherited_env::is_inherited;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request as Handshake;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};

use super::site::ItermSite;
use super::wire::{Answer, Ask, Request, Response};

/// Time limit of a request.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// How long the app may take to provide a cookie. At the first request it asks the user.
const COOKIE_LIMIT: Duration = Duration::from_secs(30);

/// The app requires a library name and version; it rejects only old versions of its own client library.
const LIBRARY: &str = concat!(
    "agent-team ",
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);

/// AppleScript that requests a cookie.
const REQUEST_COOKIE: &str =
    "tell application \"iTerm2\" to request cookie and key for app named \"agent-team\"";

/// Errors of iTerm2's API.
#[derive(Debug, thiserror::Error)]
pub(super) enum ItermError {
    #[error("cannot connect to {}: iTerm2 is not running, or its Python API is disabled", .0.display())]
    Off(PathBuf),
    #[error("iTerm2 did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("iTerm2 rejects the connection (401): {0}")]
    Unauthorized(String),
    #[error("iTerm2 rejects this client as too old (406)")]
    TooOld,
    #[error("iTerm2 rejects the connection with status {0}")]
    Refused(u16),
    #[error("the connection to iTerm2 was lost: {0}")]
    Lost(String),
    #[error("the session is too small to split")]
    NoRoom,
    #[error("the session, tab or window is gone")]
    Gone,
    #[error("the worker exited at once; its session shows its last output")]
    Ended,
    #[error("iTerm2 cannot {what}: {why}")]
    Failed { what: &'static str, why: String },
    #[error("{0:?} has characters that an iTerm2 command cannot contain")]
    Unquotable(String),
}

impl ItermError {
    /// Whether no session can be shown until the app runs and accepts a connection.
    pub(super) fn is_unavailable(&self) -> bool {
        match self {
            Self::Off(_)
            | Self::TimedOut(_)
            | Self::Unauthorized(_)
            | Self::TooOld
            | Self::Refused(_)
            | Self::Lost(_) => true,
            Self::NoRoom | Self::Gone | Self::Ended | Self::Failed { .. } | Self::Unquotable(_) => {
                false
            }
        }
    }

    /// The remedy that the user can apply.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Off(_) => {
                Some("enable it in iTerm2: Settings > General > Magic > Enable Python API")
            }
            Self::Unauthorized(_) | Self::TimedOut(_) => Some(
                "answer the dialog of iTerm2, or check System Settings > Privacy & Security > Automation",
            ),
            Self::TooOld => Some("install a newer agent-team, or use --panes iterm-tmux"),
            Self::Refused(_)
            | Self::Lost(_)
            | Self::NoRoom
            | Self::Gone
            | Self::Ended
            | Self::Failed { .. }
            | Self::Unquotable(_) => None,
        }
    }
}

/// Authenticates one connection. The key identifies the client to the user.
pub(super) struct Cookie {
    pub(super) cookie: String,
    pub(super) key: Option<String>,
}

/// One connection. The response to a request that timed out is skipped when it arrives.
#[derive(Clone)]
pub(super) struct Connection(Arc<tokio::sync::Mutex<OpenStream>>);

struct OpenStream {
    stream: WebSocketStream<UnixStream>,
    last_id: i64,
}

/// Open connections by socket.
static OPEN: Mutex<BTreeMap<PathBuf, Connection>> = Mutex::new(BTreeMap::new());

fn open_connections() -> std::sync::MutexGuard<'static, BTreeMap<PathBuf, Connection>> {
    // A panic cannot leave the map half-written: no code that can panic runs while the lock is held.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// The open connection, or a new connection. `cookie` is the caller's cookie, if there is one.
    pub(super) async fn get_or_open(
        site: &ItermSite,
        cookie: Option<&Cookie>,
    ) -> Result<Self, ItermError> {
        let known = open_connections().get(&site.socket).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let connection = match handshake(&site.socket, cookie).await {
            Err(error @ ItermError::Unauthorized(_)) => {
                let Some(osascript) = &site.osascript else {
                    return Err(error);
                };
                let cookie = request_cookie(osascript).await?;
                handshake(&site.socket, Some(&cookie)).await?
            }
            other => other?,
        };
        let connection = Self(Arc::new(tokio::sync::Mutex::new(OpenStream {
            stream: connection,
            last_id: 0,
        })));
        open_connections().insert(site.socket.clone(), connection.clone());
        Ok(connection)
    }

    /// Drops the connection, so that the next request connects again.
    pub(super) fn forget(&self, site: &ItermSite) {
        let mut open = open_connections();
        if open
            .get(&site.socket)
            .is_some_and(|known| Arc::ptr_eq(&known.0, &self.0))
        {
            open.remove(&site.socket);
        }
    }

    /// Sends a request and returns its answer. The limit includes the wait for requests of other teams on the same
    /// connection.
    pub(super) async fn call(&self, ask: Ask) -> Result<Answer, ItermError> {
        within(LIMIT, async { self.0.lock().await.call(ask).await }).await
    }
}

impl OpenStream {
    async fn call(&mut self, ask: Ask) -> Result<Answer, ItermError> {
        self.last_id += 1;
        let id = self.last_id;
        let request = Request {
            id: Some(id),
            ask: Some(ask),
        };
        let lost = |error: tungstenite::Error| ItermError::Lost(error.to_string());
        let bytes = request.encode_to_vec();
        self.stream
            .send(Message::Binary(bytes.into()))
            .await
            .map_err(lost)?;
        loop {
            let message = self.stream.next().await;
            let message = message.ok_or_else(|| ItermError::Lost("closed by iTerm2".to_owned()))?;
            // The library answers pings while reading.
            let Message::Binary(bytes) = message.map_err(lost)? else {
                continue;
            };
            let response = Response::decode(bytes)
                .map_err(|error| ItermError::Lost(format!("invalid response: {error}")))?;
            if response.id == Some(id) {
                return match response.answer {
                    Some(Answer::Error(why)) => Err(failed("handle the request", &why)),
                    Some(answer) => Ok(answer),
                    None => Err(failed(
                        "handle the request",
                        "its response has an unknown type",
                    )),
                };
            }
        }
    }
}

/// An error that the app reported, with its text.
pub(super) fn failed(what: &'static str, why: &str) -> ItermError {
    ItermError::Failed {
        what,
        why: visible_label(why, 200),
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ItermError>>,
) -> Result<T, ItermError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or(Err(ItermError::TimedOut(limit)))
}

async fn handshake(
    socket: &Path,
    cookie: Option<&Cookie>,
) -> Result<WebSocketStream<UnixStream>, ItermError> {
    let off = |_: io::Error| ItermError::Off(socket.to_owned());
    let stream = UnixStream::connect(socket).await.map_err(off)?;
    let request = upgrade(cookie).map_err(|error| ItermError::Lost(error.to_string()))?;
    let exchange = async {
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((stream, _)) => Ok(stream),
            Err(tungstenite::Error::Http(answer)) => Err(match answer.status().as_u16() {
                401 => ItermError::Unauthorized(match cookie {
                    Some(_) => "the cookie is invalid".to_owned(),
                    None => "no cookie in your environment".to_owned(),
                }),
                406 => ItermError::TooOld,
                status => ItermError::Refused(status),
            }),
            Err(error) => Err(ItermError::Lost(error.to_string())),
        }
    };
    within(LIMIT, exchange).await
}

/// The handshake request. iTerm2 checks its origin, sub-protocol, client name and version, and cookie.
fn upgrade(cookie: Option<&Cookie>) -> Result<Handshake, tungstenite::Error> {
    let mut request = "ws://localhost/".into_client_request()?;
    let headers = request.headers_mut();
    let fixed = [
        ("origin", "ws://localhost/"),
        ("sec-websocket-protocol", "api.iterm2.com"),
        ("x-iterm2-library-version", LIBRARY),
        ("x-iterm2-advisory-name", "agent-team"),
        ("x-iterm2-disable-auth-ui", "true"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(Cookie { cookie, key }) = cookie {
        headers.insert("x-iterm2-cookie", HeaderValue::from_str(cookie)?);
        if let Some(key) = key {
            headers.insert("x-iterm2-key", HeaderValue::from_str(key)?);
        }
    }
    Ok(request)
}

/// Requests a cookie from the app with osascript. This cannot launch the app: it is running, because it has just
/// rejected the connection.
async fn request_cookie(osascript: &Path) -> Result<Cookie, ItermError> {
    let refused = |why: &str| {
        let why = visible_label(why.trim(), 200);
        ItermError::Unauthorized(format!("iTerm2 did not return a cookie: {why}"))
    };
    let mut script = tokio::process::Command::new(osascript);
    script
        .args(["-e", REQUEST_COOKIE])
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| is_inherited(name)))
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(COOKIE_LIMIT, script.output())
        .await
        .map_err(|_elapsed| ItermError::TimedOut(COOKIE_LIMIT))?
        .map_err(|error| refused(&error.to_string()))?;
    if !output.status.success() {
        return Err(refused(&String::from_utf8_lossy(&output.stderr)));
    }
    let output_text = String::from_utf8_lossy(&output.stdout);
    let mut words = output_text.split_whitespace().map(str::to_owned);
    let cookie = words
        .next()
        .ok_or_else(|| refused("empty output of osascript"))?;
    Ok(Cookie {
        cookie,
        key: words.next(),
    })
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::super::wire::Empty;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_includes_the_wait_for_other_requests() {
        let (ours, _silent_app) = UnixStream::pair().unwrap();
        let stream = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let connection = Connection(Arc::new(tokio::sync::Mutex::new(OpenStream {
            stream,
            last_id: 0,
        })));
        let request = || connection.call(Ask::ListSessions(Empty {}));
        let both = async { tokio::join!(request(), request()) };
        let (first, second) = tokio::time::timeout(LIMIT + Duration::from_secs(1), both)
            .await
            .expect("both requests end within one limit");
        assert!(matches!(first, Err(ItermError::TimedOut(_))), "{first:?}");
        assert!(matches!(second, Err(ItermError::TimedOut(_))), "{second:?}");
    }
}
