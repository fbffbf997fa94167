//! The stub programs of `cargo xtask bench`: minimal replacements for the programs of agent-team.
//!
//! - `line SOCKET`: connects, writes a line and waits: the start-up cost of a minimal worker.
//! - `relay SOCKET [FILE]`: forwards lines between its first two connections; with FILE, first appends them to FILE and
//!   syncs it.
//! - `answer`: answers every line of all clients of the listener on its stdin.
//! - `echo SOCKET` and `ping SOCKET CONTROL`: the two ends of a relay.
//! - `--launch FILE`: a worker without an engine that sends and reads messages as fast as possible.
//!
//! Both ends of every conversation run this program, so that measurement and limit differ only in the programs between
//! the ends.

mod answerer;
mod conversation;
mod member;
mod relay;
mod transport;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::transport::SocketTransport;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["line", socket] => announce_and_wait(socket.as_ref()),
        ["answer"] => answerer::run(),
        ["relay", socket] => relay::run(socket.as_ref(), None),
        ["relay", socket, file] => relay::run(socket.as_ref(), Some(file.as_ref())),
        ["echo", socket] => conversation::echo(&mut SocketTransport::connect(socket.as_ref())?),
        ["ping", socket, control] => conversation::run_commands(
            &mut SocketTransport::connect(socket.as_ref())?,
            control.as_ref(),
        ),
        ["--launch", file] => member::run(file.as_ref()),
        _ => bail!("this program is started by cargo xtask bench"),
    }
}

/// Writes this process's pid to the socket, and waits until the listener closes the connection.
fn announce_and_wait(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("cannot connect to the socket")?;
    writeln!(stream, "{}", std::process::id())?;
    BufReader::new(stream).read_line(&mut String::new())?;
    Ok(())
}
