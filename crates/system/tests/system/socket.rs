//! Tests of binding, of connecting, and of the check of the peer's user.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use agent_team_system::lock::FileLock;
use agent_team_system::socket::{Listener, Stream};
use tempfile::TempDir;

struct Fixture {
    _directory: TempDir,
    lock: FileLock,
    socket: PathBuf,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let lock = FileLock::try_acquire(&directory.path().join("lock"))
        .unwrap()
        .unwrap();
    let socket = directory.path().join("socket");
    Fixture {
        _directory: directory,
        lock,
        socket,
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced_by_a_private_one() {
    let fixture = fixture();
    drop(Listener::bind_replacing_stale(&fixture.lock, &fixture.socket).unwrap());
    let error = Stream::connect(&fixture.socket).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

    let listener = Listener::bind_replacing_stale(&fixture.lock, &fixture.socket).unwrap();
    let mode = std::fs::metadata(&fixture.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let (client, server) = tokio::join!(Stream::connect(&fixture.socket), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap());
    let own_user = nix::unistd::geteuid().as_raw();
    for peer in [client.peer(), server.peer()] {
        assert_eq!((peer.pid, peer.uid), (Some(std::process::id()), own_user));
    }
}

#[tokio::test]
async fn connecting_without_a_listener_fails() {
    let fixture = fixture();
    let error = Stream::connect(&fixture.socket).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn connect_waits_while_the_accept_queue_is_full() {
    let fixture = fixture();
    let listener = Listener::bind_replacing_stale(&fixture.lock, &fixture.socket).unwrap();
    let connects: Vec<_> = (0..300)
        .map(|_| {
            let socket = fixture.socket.clone();
            tokio::spawn(async move { Stream::connect(&socket).await })
        })
        .collect();
    let mut accepted = Vec::new();
    while accepted.len() < connects.len() {
        accepted.push(listener.accept().await.unwrap());
    }
    for connect in connects {
        connect.await.unwrap().unwrap();
    }
}

/// Only root can connect as another user; the test does nothing for other users.
#[tokio::test]
async fn connections_of_other_users_are_closed() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let fixture = fixture();
    let set_mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let listener = Listener::bind_replacing_stale(&fixture.lock, &fixture.socket).unwrap();
    set_mode(&fixture.socket, 0o666);
    set_mode(fixture.socket.parent().unwrap(), 0o755);
    let socket = fixture.socket.clone();
    let other_user = std::thread::spawn(move || {
        let user = rustix::thread::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        io::Read::read(&mut stream, &mut [0]).unwrap()
    });
    // The other user's connection is first in the queue; `accept` closes it and waits for the connection of this
    // process.
    let (accepted, connected) = tokio::join!(listener.accept(), async {
        let closed = tokio::task::spawn_blocking(|| other_user.join().unwrap())
            .await
            .unwrap();
        assert_eq!(closed, 0);
        Stream::connect(&fixture.socket).await
    });
    assert_eq!(accepted.unwrap().peer().uid, 0);
    connected.unwrap();
}
