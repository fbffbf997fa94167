//! A minimal server: one `poll` for all callers, and the same short answer to every line.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// An answer that is as long as the supervisor's answer to a claim.
const ANSWER: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1000,\"result\":{\"task\":\"T-1000\",\"generation\":1,\"overlaps\":[]}}\n";

/// Answers all clients of the listener on stdin. Returns when the client that connected first disconnects, or when any
/// client resets its connection.
pub(crate) fn run() -> Result<()> {
    let listener = UnixListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut callers: Vec<UnixStream> = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        let waiting = std::iter::once(listener.as_fd()).chain(callers.iter().map(AsFd::as_fd));
        let mut waiting: Vec<PollFd<'_>> = waiting
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        poll(&mut waiting, PollTimeout::NONE)?;
        let ready: Vec<bool> = waiting.iter().map(|fd| fd.any() == Some(true)).collect();
        for (index, caller) in callers.iter_mut().enumerate() {
            if !ready[index + 1] {
                continue;
            }
            match caller.read(&mut buffer) {
                Ok(0) if index == 0 => return Ok(()),
                Ok(length) => {
                    let calls = buffer[..length].iter().filter(|byte| **byte == b'\n');
                    caller.write_all(&ANSWER.repeat(calls.count()))?;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        if ready[0] {
            callers.push(listener.accept()?.0);
        }
    }
}
