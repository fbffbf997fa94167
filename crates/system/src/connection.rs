//! Frames over the socket, or over any other pair of byte streams. Called by [`crate::client`] and by the supervisor's
//! server.
//!
//! What the frames say is not looked at here; limits and text are checked by the protocol's decoder
//! before anything else sees them.

use std::fmt;
use std::io;

use agent_team_protocol::codec::{Decoder, FrameError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that arrive.
pub type ByteReader = Box<dyn AsyncRead + Send + Unpin>;

/// Bytes that leave.
pub type ByteWriter = Box<dyn AsyncWrite + Send + Unpin>;

/// Room that is made for one read: many small frames, and little enough per idle connection.
const READ_BYTES: usize = 8 * 1024;

/// Buffer that a writer keeps once everything is sent.
const KEPT_BYTES: usize = 64 * 1024;

/// Why a connection gives no more frames. Its end is not an error.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    #[error("the connection broke")]
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
    /// Takes frames of at most `limit` bytes.
    pub fn new(stream: impl AsyncRead + Send + Unpin + 'static, limit: usize) -> FrameReader {
        FrameReader {
            stream: Box::new(stream),
            decoder: Decoder::new(limit),
        }
    }

    pub fn set_limit(&mut self, limit: usize) {
        self.decoder.set_limit(limit);
    }

    /// The next frame, without its newline; `None` when the peer has gone. A frame that the peer's
    /// death cut off was never sent. Safe to cancel.
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
                // It went with something from us still unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next frame of those that have arrived together; `None` when the rest is not here yet.
    pub fn buffered(&mut self) -> Result<Option<String>, ReadFrameError> {
        Ok(self.decoder.next_frame()?.map(str::to_owned))
    }
}

/// The sending side of a connection: frames are queued, then sent with as few system calls as the
/// socket allows.
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

    /// Sends all that is queued; waits while the peer does not read. When cancelled, the next call
    /// goes on where this one stopped.
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
