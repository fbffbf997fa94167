//! The Unix-domain socket between supervisor, workers and clients: bytes and who sent them.
//! Called by [`crate::connection`] and by the supervisor's server.
//!
//! Only processes of our own user are talked to, in both directions; the kernel says who they are.
//! What a peer may do is decided above, from its token.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;

use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::Listener as NamedListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use crate::lock::FileLock;

pub type ReadHalf = OwnedReadHalf;
pub type WriteHalf = OwnedWriteHalf;

/// Who is at the other end, as it was when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None` where the system does not say.
    pub pid: Option<u32>,
    pub uid: u32,
}

#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
}

impl Listener {
    /// Binds with mode 0600, in place of a socket that a dead holder of the lock left behind. The
    /// lock is what makes it certain that nobody listens there. The socket is not removed on drop.
    /// Must be called within a tokio runtime.
    pub fn bind_replacing_stale(_held: &FileLock, path: &Path) -> io::Result<Listener> {
        Listener::over(bind(path)?)
    }

    /// The socket that this process was given as its stdin by who used [`bind_for`].
    pub fn inherited() -> io::Result<Listener> {
        let given = io::stdin().as_fd().try_clone_to_owned()?;
        Listener::over(StdListener::from(given))
    }

    fn over(listener: StdListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener {
            listener: UnixListener::from_std(listener)?,
        })
    }
    /// The next connection of our own user; others are closed. Safe to cancel. An error (too many
    /// open files) leaves the listener usable.
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

/// A socket for a process that is about to be started, which takes it with [`Listener::inherited`]: who connects waits
/// for it. Only for a path that nobody else binds, in place of what a dead one left there.
pub fn bind_for(path: &Path) -> io::Result<OwnedFd> {
    bind(path).map(OwnedFd::from)
}

/// With mode 0600.
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
    /// Waits while the listener's queue is full. `NotFound` or `ConnectionRefused` when nobody
    /// listens, `PermissionDenied` when somebody else does.
    pub async fn connect(path: &Path) -> io::Result<Stream> {
        let stream = match UnixStream::connect(path).await {
            // Nothing tells when a full queue has room again, but a blocking connect waits for it.
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

    /// Two ends of one connection within this process. Must be called within a tokio runtime.
    pub fn pair() -> io::Result<(Stream, Stream)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Stream::checked(one)?, Stream::checked(other)?))
    }

    fn checked(stream: UnixStream) -> io::Result<Stream> {
        let credentials = stream.peer_cred()?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        let peer = Peer {
            pid,
            uid: credentials.uid(),
        };
        if peer.uid != nix::unistd::geteuid().as_raw() {
            let text = format!("the other end belongs to user {}, not to us", peer.uid);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(Stream { stream, peer })
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Dropping the write half ends the stream for the peer.
    pub fn into_halves(self) -> (ReadHalf, WriteHalf) {
        self.stream.into_split()
    }
}
