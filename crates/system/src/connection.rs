//! Frames over a socket, or over any other pair of byte streams. Called by the crate `client`, by the supervisor, by
//! the host process of hosted members, and by both sides of a joined member's socket.
//!
//! Frames are not interpreted here. The protocol's decoder checks their size, encoding and nesting depth.

use std::fmt;
use std::io;

use agent_team_protocol::codec::{Decoder, FrameError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The incoming bytes of a connection.
pub type ByteReader = Box<dyn AsyncRead + Send + Unpin>;

/// The outgoing bytes of a connection.
pub type ByteWriter = Box<dyn AsyncWrite + Send + Unpin>;

/// Buffer space for one read: enough for many small frames, small enough for many idle connections.
const READ_BYTES: usize = 8 * 1024;

/// Buffer capacity that a writer keeps after it has sent everything.
const KEPT_BYTES: usize = 64 * 1024;

/// Why a connection delivers no more frames. A closed connection is not an error.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// The receiving side of a connection.
pub struct FrameReader {
    stream: ByteReader,
    decoder: Decoder,
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reader = f.debug_struct("FrameReader");
        reader
            .field("decoder", &self.decoder)
            .finish_non_exhaustive()
    }
}

impl FrameReader {
    /// Creates a reader of frames of at most `limit` bytes.
    pub fn new(stream: impl AsyncRead + Send + Unpin + 'static, limit: usize) -> FrameReader {
        FrameReader {
            stream: Box::new(stream),
            decoder: Decoder::new(limit),
        }
    }

    pub fn set_limit(&mut self, limit: usize) {
        self.decoder.set_limit(limit);
    }

    /// The next frame, without its newline; `None` when the peer has closed the connection. An incomplete last frame is
    /// dropped. Cancel-safe.
    ///
    /// # Errors
    /// The stream cannot be read, or the received bytes are not a valid frame. No further frame can be read then.
    pub async fn next(&mut self) -> Result<Option<String>, ReadFrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            let buffer = self.decoder.buffer();
            buffer.reserve(READ_BYTES);
            match self.stream.read_buf(buffer).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // The kernel reports a reset instead of EOF when the peer closes the connection before it has read all
                // data.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next complete frame that is already buffered; does not read from the stream.
    ///
    /// # Errors
    /// The buffered bytes are not a valid frame. No further frame can be read then.
    pub fn buffered(&mut self) -> Result<Option<String>, ReadFrameError> {
        Ok(self.decoder.next_frame()?.map(str::to_owned))
    }
}

/// The sending side of a connection: frames are queued, then sent with as few system calls as the socket allows.
pub struct FrameWriter {
    stream: ByteWriter,
    queued: Vec<u8>,
    sent: usize,
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = f.debug_struct("FrameWriter");
        writer
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl FrameWriter {
    pub fn new(stream: impl AsyncWrite + Send + Unpin + 'static) -> FrameWriter {
        FrameWriter {
            stream: Box::new(stream),
            queued: Vec::new(),
            sent: 0,
        }
    }

    /// Queues one or more frames, each with its newline.
    pub fn queue(&mut self, lines: &str) {
        self.queued.extend_from_slice(lines.as_bytes());
    }

    /// Bytes that are queued and not yet sent.
    pub fn queued(&self) -> usize {
        self.queued.len() - self.sent
    }

    /// Sends all queued frames; waits while the peer does not read. After a cancellation the next call continues with
    /// the first unsent byte.
    pub async fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.queued.len() {
            self.sent += self.stream.write(&self.queued[self.sent..]).await?;
        }
        self.queued.clear();
        self.queued.shrink_to(KEPT_BYTES);
        self.sent = 0;
        Ok(())
    }
}
