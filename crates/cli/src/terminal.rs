//! The terminal of a person who watches: bytes to it, keys from it, and back as it was, whatever ends the program. Used by
//! the full-screen view and by the one that goes into the scrollback.
//!
//! Bytes are written without blocking: a terminal that takes nothing holds up neither keys nor signals.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_team_system::terminal::{RawMode, Tty};
use agent_team_terminal_ui::keys::{Key, REST_OF_KEY, Reader};
use anstream::AutoStream;

/// What a terminal is that does not say.
const SIZE: (u16, u16) = (80, 24);

/// How long the last bytes may take.
const LEAVING: Duration = Duration::from_millis(500);

/// The terminal that is taken now, to be put back by whoever comes first: its modes, and what ends the view.
static TAKEN: Mutex<Option<(RawMode, &'static [u8])>> = Mutex::new(None);

/// Puts the terminal back as it was, if it is taken.
pub(crate) fn restore() {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((modes, end)) = taken.take() {
        let mut stdout = io::stdout();
        // A terminal that is gone needs nothing.
        let _gone = stdout.write_all(end).and_then(|()| stdout.flush());
        drop(modes);
    }
}

/// Whether colours are wanted on stdout.
pub(crate) fn has_colours() -> bool {
    AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

#[derive(Debug)]
pub(crate) enum Happened {
    /// At once.
    Typed(Vec<Key>),
    /// All that was to be written is.
    Written,
    Gone,
}

/// See the module. Dropping it restores the terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    tty: Tty,
    typed: Reader,
    /// On their way there.
    bytes: Vec<u8>,
}

impl Terminal {
    /// Takes the terminal: `begin` is written to it first, and `end` when it is given back. Must be called within a
    /// tokio runtime, and by one at a time.
    pub(crate) fn enter(begin: &[u8], end: &'static [u8]) -> io::Result<Self> {
        let tty = Tty::open()?;
        let modes = RawMode::enter(io::stdin())?;
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = Some((modes, end));
        Ok(Self {
            tty,
            typed: Reader::default(),
            bytes: begin.to_vec(),
        })
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (u16, u16) {
        self.tty.size().unwrap_or(SIZE)
    }

    pub(crate) fn is_written(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes on, and hears what is typed. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Happened {
        let Self { tty, typed, bytes } = self;
        let writes = !bytes.is_empty();
        tokio::select! {
            biased;
            keys = read(tty, typed) => keys.map_or(Happened::Gone, Happened::Typed),
            written = write(tty, bytes), if writes => {
                written.map_or(Happened::Gone, |()| Happened::Written)
            }
        }
    }

    /// Writes these last, and what is still on its way before them.
    pub(crate) async fn leave(mut self, last: &[u8]) {
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

/// What was typed at once; `None` when the terminal has gone. Safe to cancel.
async fn read(tty: &Tty, typed: &mut Reader) -> Option<Vec<Key>> {
    let mut buffer = [0; 4096];
    loop {
        let read = if typed.is_unsettled() {
            tokio::time::timeout(REST_OF_KEY, tty.read(&mut buffer)).await
        } else {
            Ok(tty.read(&mut buffer).await)
        };
        let keys = match read {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(read)) => typed.read(&buffer[..read]),
            Err(_elapsed) => typed.settle(),
        };
        if !keys.is_empty() {
            return Some(keys);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

#[cfg(test)]
mod tests {
    use agent_team_system::pty::Pty;
    use agent_team_system::spawn::ProgramSpec;

    use super::*;

    /// Set for the program that this test is a second time, on a terminal.
    const PANICS: &str = "AGENT_TEAM_TEST_PANICS";

    #[tokio::test]
    async fn a_panic_puts_the_terminal_back_before_it_is_told_of() {
        if std::env::var_os(PANICS).is_some() {
            std::panic::set_hook(Box::new(|_| {
                restore();
                let _told = io::stdout().write_all(b"told\n");
            }));
            let _terminal = Terminal::enter(b"\x1b[?1049h", b"\x1b[?1049l").unwrap();
            panic!("on purpose");
        }
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let pty = Pty::open(80, 24).unwrap();
        let mut env: Vec<_> = std::env::vars_os().collect();
        env.push((PANICS.into(), "1".into()));
        let spec = ProgramSpec {
            program: std::env::current_exe().unwrap(),
            args: ["--exact", &name, "--nocapture"].map(Into::into).to_vec(),
            env,
            cwd: std::env::temp_dir(),
        };
        let mut child = pty.spawn(&spec).unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = pty.read(&mut buffer).await {
            seen.extend_from_slice(&buffer[..read]);
        }
        assert!(!child.wait().await.unwrap().success());
        let seen = String::from_utf8_lossy(&seen);
        let (_, after) = seen.split_once("\u{1b}[?1049l").expect("it is left");
        // The terminal makes lines of its own again.
        assert!(after.contains("told\r\n"), "{seen:?}");
    }
}
