//! The terminal that the members are shown in, which stays the person's: its scrollback is used, its screen is not
//! cleared, and it is as it was when this is dropped. Used by [`super`].

use std::io;

use agent_team_face::keys::Key;
use agent_team_system::terminal::{RawMode, Tty};

pub(super) use crate::top::has_colours;
use crate::top::read_keys;

/// What a terminal is that does not say.
const SIZE: (u16, u16) = (80, 24);

/// What is pasted comes marked, as long as this is here.
const BEGIN: &[u8] = b"\x1b[?2004h";
const END: &[u8] = b"\x1b[?2004l\x1b[?25h";

/// How long the last bytes may take.
const LEAVING: std::time::Duration = std::time::Duration::from_millis(500);

#[derive(Debug)]
pub(super) enum Happened {
    /// At once.
    Typed(Vec<Key>),
    /// All that was to be written is.
    Written,
    Gone,
}

#[derive(Debug)]
pub(super) struct Terminal {
    tty: Tty,
    /// The beginning of a key.
    typed: Vec<u8>,
    /// On their way there.
    bytes: Vec<u8>,
    _modes: RawMode,
}

impl Terminal {
    /// Must be called within a tokio runtime.
    pub(super) fn enter() -> io::Result<Self> {
        Ok(Self {
            tty: Tty::open()?,
            typed: Vec::new(),
            bytes: BEGIN.to_vec(),
            _modes: RawMode::enter(io::stdin())?,
        })
    }

    pub(super) fn size(&self) -> (u16, u16) {
        self.tty.size().unwrap_or(SIZE)
    }

    pub(super) fn is_written(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes on, and hears what is typed. Safe to cancel.
    pub(super) async fn next(&mut self) -> Happened {
        let Self {
            tty, typed, bytes, ..
        } = self;
        let writes = !bytes.is_empty();
        tokio::select! {
            biased;
            keys = read_keys(tty, typed) => keys.map_or(Happened::Gone, Happened::Typed),
            written = write(tty, bytes), if writes => {
                written.map_or(Happened::Gone, |()| Happened::Written)
            }
        }
    }

    /// Writes these last, and what is still on its way before them.
    pub(super) async fn leave(mut self, last: &[u8]) {
        self.write(last);
        let Self { tty, bytes, .. } = &mut self;
        // Who leaves does not wait for a terminal that takes nothing.
        let _late = tokio::time::timeout(LEAVING, write(tty, bytes)).await;
    }
}

/// Returns when all of it is on the terminal. Cancelled, it goes on from there with the next call.
async fn write(tty: &Tty, bytes: &mut Vec<u8>) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = tty.write(bytes).await?;
        bytes.drain(..written);
    }
    Ok(())
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Where it cannot be written the terminal has gone.
        let _gone = self.tty.write_now(END);
    }
}
