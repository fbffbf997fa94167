//! Reads many sockets in one thread, and counts the events that each socket receives.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The bytes that end an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Line,
    /// An empty line, as in server-sent events.
    EmptyLine,
}

pub(super) struct Readers<S> {
    streams: Vec<S>,
    end: End,
    counts: Vec<Count>,
    /// Bytes received by the first stream.
    first_bytes: usize,
}

/// The events that one stream has received.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    events: usize,
    /// The number of bytes of the incomplete last line.
    line: usize,
    /// Whether the last line is a comment of server-sent events.
    is_comment: bool,
    /// Whether the incomplete last event has a field.
    has_field: bool,
}

impl<S: Read + AsFd> Readers<S> {
    /// The streams must be in non-blocking mode.
    pub(super) fn new(streams: Vec<S>, end: End) -> Self {
        let counts = vec![Count::default(); streams.len()];
        Self {
            streams,
            end,
            counts,
            first_bytes: 0,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.streams.len()
    }

    /// Reads until each stream has received `count` events. Returns the times at which the first and the last stream
    /// had received them.
    pub(super) fn read(&mut self, count: usize) -> Result<(Instant, Instant)> {
        self.counts.fill(Count::default());
        self.first_bytes = 0;
        let mut first = None;
        let mut buffer = vec![0; 64 * 1024];
        let mut behind = self.streams.len();
        while behind > 0 {
            let mut polled: Vec<PollFd<'_>> = self
                .streams
                .iter()
                .map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN))
                .collect();
            if poll(&mut polled, PollTimeout::from(30_000_u16))? == 0 {
                bail!("{behind} subscribers are missing events");
            }
            let ready: Vec<bool> = polled.iter().map(|fd| fd.any() == Some(true)).collect();
            for (index, _) in ready.into_iter().enumerate().filter(|(_, ready)| *ready) {
                let read = match self.streams[index].read(&mut buffer) {
                    Ok(0) => bail!("a subscriber was cut off"),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error.into()),
                };
                let received = &mut self.counts[index];
                let before = received.events;
                received.add(&buffer[..read], self.end);
                if before < count && received.events >= count {
                    behind -= 1;
                    first.get_or_insert_with(Instant::now);
                }
                if index == 0 {
                    self.first_bytes += read;
                }
            }
        }
        let last = Instant::now();
        Ok((first.unwrap_or(last), last))
    }

    /// The average length of the events that the first stream received in the last read.
    pub(super) fn event_length(&self) -> usize {
        let events = self.counts.first().map_or(0, |count| count.events);
        self.first_bytes.checked_div(events).unwrap_or(0)
    }
}

impl Count {
    fn add(&mut self, bytes: &[u8], end: End) {
        for byte in bytes {
            if *byte != b'\n' {
                let is_colon = *byte == b':';
                self.is_comment |= is_colon && self.line == 0;
                // The length of a chunk is a line without a colon.
                self.has_field |= is_colon && !self.is_comment;
                self.line += 1;
                continue;
            }
            let is_end = match end {
                End::Line => true,
                End::EmptyLine => self.line == 0 && self.has_field,
            };
            self.events += usize::from(is_end);
            self.has_field &= !is_end;
            self.is_comment = false;
            self.line = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_ends_an_event_also_between_two_reads() {
        let mut count = Count::default();
        for bytes in [
            "data: 1\n",
            "\ndata: 2",
            "\n\n\r\n3\r\n:\n\n\r\n",
            "5\r\nid: 3\ndata: 3\n\n",
        ] {
            count.add(bytes.as_bytes(), End::EmptyLine);
        }
        assert_eq!(count.events, 3);
    }
}
