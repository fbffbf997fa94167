//! Binds the address of the service, and serves its connections within limits. Called by [`crate::Gateway`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use agent_team_system::socket;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::stall::Unstalled;
use crate::tls::Tls;

/// How long a client may take for the TLS handshake and for the head of a request, and how long a connection without a
/// request stays open.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Maximum size of the buffer of a connection, and so of the head of a request.
const BUFFER_MAX: usize = 64 << 10;

/// Pause after a failed accept, such as with too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Port 0: a free port.
    Tcp(SocketAddr),
    /// A socket with mode 0600 that accepts only processes of the same user.
    Unix(PathBuf),
}

impl Listen {
    /// Whether other machines can reach the service.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().is_loopback())
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp((IpAddr::from(Ipv4Addr::LOCALHOST), 0).into())
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("unix: needs the path of a socket".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let address = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        let address = address.parse().map(Self::Tcp);
        address.map_err(|_error| "use 127.0.0.1:PORT or unix:PATH".to_owned())
    }
}

/// The address of the other side of a connection, in the extensions of each request. `None`: a Unix socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

/// A bound address.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(socket::Listener, SocketFile),
}

/// A bound socket file. Removed on drop, unless another process has replaced it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    pub(crate) path: PathBuf,
    /// `None` if the file was removed before it was inspected.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            identity: identity(path),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && self.identity == identity(&self.path) {
            // The removal fails if another process removes the file at this moment.
            let _removed = std::fs::remove_file(&self.path);
        }
    }
}

/// The device and the inode of a path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

impl Listener {
    pub(crate) async fn bind(listen: &Listen) -> io::Result<Self> {
        Ok(match listen {
            Listen::Tcp(address) => Self::Tcp(TcpListener::bind(address).await?),
            Listen::Unix(path) => {
                let listener = socket::Listener::bind_new(path)?;
                Self::Unix(listener, SocketFile::new(path))
            }
        })
    }

    /// Serves connections until the future is dropped. `connections` limits their number: further connections wait.
    pub(crate) async fn serve(
        &self,
        router: Router,
        connections: Arc<Semaphore>,
        tls: Option<&Tls>,
    ) {
        loop {
            let permit = Arc::clone(&connections).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let accepted: io::Result<(Box<dyn Duplex>, Peer)> = match self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                    // Fails only on a closed connection.
                    let _closed = stream.set_nodelay(true);
                    (Box::new(stream) as Box<dyn Duplex>, Peer(Some(peer.ip())))
                }),
                Self::Unix(listener, _) => listener.accept().await.map(|stream| {
                    let (read, write) = stream.into_halves();
                    let stream = tokio::io::join(read, write);
                    (Box::new(stream) as Box<dyn Duplex>, Peer(None))
                }),
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let router = router.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                router.clone().call(request)
            });
            let tls = tls.cloned();
            tokio::spawn(async move {
                let stream = match encrypted(stream, tls).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::debug!(%error, "TLS handshake failed");
                        return;
                    }
                };
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_LIMIT)
                    .max_buf_size(BUFFER_MAX)
                    .serve_connection(TokioIo::new(Unstalled::new(stream)), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "connection closed");
                }
                drop(permit);
            });
        }
    }
}

/// The stream after the handshake, if connections are encrypted.
async fn encrypted(stream: Box<dyn Duplex>, tls: Option<Tls>) -> io::Result<Box<dyn Duplex>> {
    let Some(Tls(acceptor)) = tls else {
        return Ok(stream);
    };
    let handshake = tokio::time::timeout(HEAD_LIMIT, acceptor.accept(stream)).await;
    let handshake = handshake.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?;
    Ok(Box::new(handshake?))
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_address_or_a_unix_socket() {
        let parse = |text: &str| text.parse::<Listen>();
        assert_eq!(parse("127.0.0.1:0"), Ok(Listen::default()));
        assert_eq!(parse("localhost:0"), Ok(Listen::default()));
        assert_eq!(parse("unix:/a b"), Ok(Listen::Unix("/a b".into())));
        assert!(parse("[::]:80").unwrap().is_public());
        assert!(!parse("[::1]:80").unwrap().is_public());
        for wrong in [
            "",
            "80",
            "unix:",
            "example.org:80",
            "127.0.0.1",
            "127.0.0.1:x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
