//! What `cargo xtask bench` starts where the real thing would be a program of ours: as small as it can be.
//!
//! - `line SOCKET`: connects, writes a line, and stays. What the least worker costs to start.
//! - `relay SOCKET [FILE]`: passes lines on between its first two connections; with FILE, appends and syncs each first.
//! - `answer`: answers every line of whoever connects to the listener on its standard input.
//! - `echo SOCKET` and `ping SOCKET CONTROL`: the two ends of a relay.
//! - `--launch FILE`: a worker that does no work; it sends and reads messages as fast as it can.
//!
//! Every end of every conversation is this program, so that what is compared is what lies between.

mod answerer;
mod conversation;
mod line;
mod member;
mod relay;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::line::RawLine;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["line", socket] => stay(socket.as_ref()),
        ["answer"] => answerer::run(),
        ["relay", socket] => relay::run(socket.as_ref(), None),
        ["relay", socket, file] => relay::run(socket.as_ref(), Some(file.as_ref())),
        ["echo", socket] => conversation::echo(&mut RawLine::connect(socket.as_ref())?),
        ["ping", socket, control] => {
            conversation::obey(&mut RawLine::connect(socket.as_ref())?, control.as_ref())
        }
        ["--launch", file] => member::run(file.as_ref()),
        _ => bail!("cargo xtask bench starts this by itself"),
    }
}

fn stay(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("nobody waits for the line")?;
    writeln!(stream, "{}", std::process::id())?;
    // Until whoever listens is gone.
    BufReader::new(stream).read_line(&mut String::new())?;
    Ok(())
}
