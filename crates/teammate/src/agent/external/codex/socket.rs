//! The WebSocket connection to the app-server of Codex: one JSON message in each text frame. Called by `codex`.
//!
//! `json_rpc` reads and writes lines, so a task converts frames to lines and lines to frames.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

/// The time limit of the connection. The server listens within half a second on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);

/// The interval of attempts while the server does not listen yet.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(20);

/// The largest message, in bytes: the limit of `json_rpc`.
const MESSAGE_MAX: usize = 16 << 20;

/// The number of unread bytes between the connection and `json_rpc`.
const BUFFER: usize = 64 << 10;

/// Connects to the server, once it listens. Returns a stream of lines. Must be called within a tokio runtime.
///
/// # Errors
/// If the server does not accept the connection within the time limit.
pub(super) async fn connect(socket: &Path) -> io::Result<DuplexStream> {
    let connected = tokio::time::timeout(LIMIT, async {
        let mut attempts = tokio::time::interval(ATTEMPT_INTERVAL);
        loop {
            attempts.tick().await;
            if let Ok(stream) = UnixStream::connect(socket).await {
                return open(stream).await;
            }
        }
    });
    let connected = connected.await.map_err(|_elapsed| {
        let limit = LIMIT.as_secs();
        io::Error::other(format!("its app-server does not listen within {limit} s"))
    })?;
    let (lines, other) = tokio::io::duplex(BUFFER);
    tokio::spawn(convert(connected?, other));
    Ok(lines)
}

async fn open(stream: UnixStream) -> io::Result<WebSocketStream<UnixStream>> {
    let request = "ws://localhost/".into_client_request();
    let request = request.map_err(io::Error::other)?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    let (stream, _response) = opened.map_err(io::Error::other)?;
    Ok(stream)
}

/// Converts in both directions until one side closes its connection, then closes the other connection.
async fn convert(stream: WebSocketStream<UnixStream>, lines: DuplexStream) {
    let (to_server, from_server) = stream.split();
    let (read, written) = tokio::io::split(lines);
    let closed = tokio::select! {
        closed = to_frames(read, to_server) => closed,
        closed = to_lines(from_server, written) => closed,
    };
    if let Err(error) = closed {
        tracing::warn!(%error, "the connection to the app-server of Codex has failed");
    }
}

async fn to_frames(
    lines: ReadHalf<DuplexStream>,
    mut server: impl SinkExt<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin,
) -> io::Result<()> {
    let mut lines = BufReader::new(lines).lines();
    while let Some(line) = lines.next_line().await? {
        let message = Message::Text(line.into());
        server.send(message).await.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn to_lines(
    mut server: impl StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
    mut lines: WriteHalf<DuplexStream>,
) -> io::Result<()> {
    while let Some(message) = server.next().await {
        // The library answers pings.
        let Message::Text(text) = message.map_err(io::Error::other)? else {
            continue;
        };
        // Within JSON, a line break is white space.
        let mut line = text.replace('\n', " ");
        line.push('\n');
        lines.write_all(line.as_bytes()).await?;
    }
    Ok(())
}
