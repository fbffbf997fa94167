//! The transport of a measured conversation, and its simplest implementation: a bare socket, on which each line of text
//! is a message.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

/// A transport of short messages.
pub(crate) trait Transport {
    /// Sends a message, now or with the next [`receive`](Self::receive).
    fn send(&mut self, text: &str) -> Result<()>;

    /// Returns the next message and its time of arrival in nanoseconds; `None` at the end.
    fn receive(&mut self) -> Result<Option<(u64, String)>>;

    /// Sends `count` messages with at most `window` of them unanswered; returns when all are accepted, with the number
    /// of temporary refusals.
    fn flood(&mut self, count: u64, window: u64) -> Result<u64>;

    /// Requests permission for a command with this number, and waits for the decision.
    fn ask(&mut self, number: u64) -> Result<bool>;
}

/// Nanoseconds of a clock that all processes share.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every system has this clock");
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}

pub(crate) struct SocketTransport {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
}

impl SocketTransport {
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let writer = UnixStream::connect(socket).context("cannot connect to the relay")?;
        let reader = BufReader::new(writer.try_clone()?);
        Ok(Self { writer, reader })
    }
}

impl Transport for SocketTransport {
    fn send(&mut self, text: &str) -> Result<()> {
        self.writer.write_all(format!("{text}\n").as_bytes())?;
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<(u64, String)>> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line)?;
        let arrived = now_ns();
        Ok((length > 0).then(|| (arrived, line.trim_end().to_owned())))
    }

    fn flood(&mut self, _count: u64, _window: u64) -> Result<u64> {
        anyhow::bail!("a bare socket does not support floods")
    }

    fn ask(&mut self, _number: u64) -> Result<bool> {
        anyhow::bail!("a bare socket does not support requests")
    }
}
