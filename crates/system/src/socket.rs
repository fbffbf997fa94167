//! Unix-domain sockets: byte streams with the peer's credentials. Called by the client, the supervisor, the workers and
//! hosts, the MCP server of a chat session, and the HTTP service.
//!
//! Both sides accept only peers of the same user; the credentials come from the kernel. This module does not decide the
//! permissions of a peer: the supervisor derives them from the peer's token.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as StdListener;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;

use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::Listener as NamedListener;
use tokio::io::Interest;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use crate::lock::FileLock;
use crate::readiness::register;

pub type ReadHalf = OwnedReadHalf;
pub type WriteHalf = OwnedWriteHalf;

/// Credentials of the peer. On Linux, SO_PEERCRED returns them (unix(7)): those of the process that called connect(2),
/// or, for the connecting side, those of the process that called listen(2). A process that serves a socket of
/// [`bind_for`] did not call listen(2), so its clients see the pid of the process that bound the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None` if the system does not provide the pid.
    pub pid: Option<u32>,
    pub uid: u32,
}

#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
}

impl Listener {
    /// Binds with mode 0600, and replaces a socket file that a previous holder of the lock left behind. Holding the
    /// lock guarantees that no other process listens there. The socket file is not removed on drop. Must be called
    /// within a tokio runtime.
    pub fn bind_replacing_stale(_held: &FileLock, path: &Path) -> io::Result<Listener> {
        Listener::from_std(bind(path)?)
    }

    /// Binds with mode 0600 at a path that the user named. Replaces a socket file at which no process listens. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// `AddrInUse` when the path is another file, or a process listens there.
    pub fn bind_new(path: &Path) -> io::Result<Listener> {
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            let refuses = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            // Only ECONNREFUSED proves that no process listens. After any other error, such as EACCES, the path counts
            // as in use: removing the socket of a running process would cut off its clients. Two processes that find
            // the same stale file can both replace it, because the path has no lock; the later process then serves.
            let is_stale =
                metadata.file_type().is_socket() && StdStream::connect(path).is_err_and(refuses);
            if !is_stale {
                return Err(io::ErrorKind::AddrInUse.into());
            }
        }
        Listener::from_std(bind(path)?)
    }

    /// Binds with mode 0600, and replaces an existing file. Only for a path that no other process binds. Must be called
    /// within a tokio runtime.
    pub fn bind_own(path: &Path) -> io::Result<Listener> {
        Listener::from_std(bind(path)?)
    }

    /// The listening socket that the parent created with [`bind_for`] and passed as stdin.
    pub fn inherited() -> io::Result<Listener> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Listener::from_std(StdListener::from(stdin))
    }

    fn from_std(listener: StdListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener {
            listener: UnixListener::from_std(listener)?,
        })
    }

    /// The next connection of the same user; connections of other users are closed. Cancel-safe. After an error, such
    /// as too many open files, the listener is still usable.
    pub async fn accept(&self) -> io::Result<Stream> {
        loop {
            let (stream, _address) = self.listener.accept().await?;
            match Stream::checked(stream) {
                Ok(stream) => return Ok(stream),
                Err(error) => tracing::warn!(%error, "connection refused"),
            }
        }
    }
}

/// Binds a socket for a process that is about to start and that takes it with [`Listener::inherited`]. Clients can
/// connect at once and wait until the process accepts. Replaces a stale socket file; only for a path that no other
/// process binds.
pub fn bind_for(path: &Path) -> io::Result<OwnedFd> {
    bind(path).map(OwnedFd::from)
}

/// Waits until a client connects to a socket of [`bind_for`] that no process accepts from. Accepts no connection. Must
/// be called within a tokio runtime.
pub async fn has_client(listener: &OwnedFd) -> io::Result<()> {
    // A new registration reports connections that arrived before.
    let watched = register(listener.try_clone()?, Interest::READABLE)?;
    let _ready = watched.readable().await?;
    Ok(())
}

/// Binds with mode 0600 and replaces an existing file.
///
/// bind(2) fails with EADDRINUSE if the file exists, even when no process listens there, so the file is removed first.
/// The mode is part of the creation: after a later chmod(2), a process of another user could already have connected.
/// With `reclaim_name`, the listener would remove the path on drop; a supervisor that exits late would then remove the
/// socket that its successor has bound at the same path.
fn bind(path: &Path) -> io::Result<StdListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = path.to_fs_name::<GenericFilePath>()?;
    let options = ListenerOptions::new()
        .name(name)
        .mode(0o600)
        .reclaim_name(false);
    Ok(StdListener::from(
        options.create_sync_as::<NamedListener>()?,
    ))
}

/// One connection.
#[derive(Debug)]
pub struct Stream {
    stream: UnixStream,
    peer: Peer,
}

impl Stream {
    /// Connects; waits while the listener's queue is full.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` when no process listens; `PermissionDenied` when a process of another user
    /// listens.
    pub async fn connect(path: &Path) -> io::Result<Stream> {
        let stream = match UnixStream::connect(path).await {
            // A non-blocking connect to a full queue fails with EAGAIN, and no event reports when the queue has room. A
            // blocking connect waits for room, so connect on another thread.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let path = path.to_owned();
                let connect = move || StdStream::connect(path);
                let stream = tokio::task::spawn_blocking(connect).await??;
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)?
            }
            result => result?,
        };
        Stream::checked(stream)
    }

    /// The two ends of a connection within this process. Must be called within a tokio runtime.
    pub fn pair() -> io::Result<(Stream, Stream)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Stream::checked(one)?, Stream::checked(other)?))
    }

    fn checked(stream: UnixStream) -> io::Result<Stream> {
        let credentials = stream.peer_cred()?;
        // Linux reports 0 for a process of another PID namespace.
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.filter(|pid| *pid != 0);
        let peer = Peer {
            pid,
            uid: credentials.uid(),
        };
        if peer.uid != nix::unistd::geteuid().as_raw() {
            let text = format!("the peer belongs to user {}, not to this user", peer.uid);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(Stream { stream, peer })
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Splits the stream. Dropping the write half ends the stream for the peer.
    pub fn into_halves(self) -> (ReadHalf, WriteHalf) {
        self.stream.into_split()
    }
}
