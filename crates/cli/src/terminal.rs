//! The user's terminal in raw mode: writes bytes, reads keys, and restores the terminal on every exit, even after a
//! panic. Used by the full-screen view (`top`) and by the single-terminal view.
//!
//! Writes of a running view do not block: a terminal that accepts no output delays neither keys nor signals. Only
//! [`restore`] uses blocking writes.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_team_system::terminal::{RawMode, Tty};
use agent_team_terminal_ui::background;
use agent_team_terminal_ui::keys::{Key, KeyDecoder, REST_OF_KEY};
use agent_team_terminal_ui::style::Theme;
use anstream::AutoStream;
use rustix::process::{Signal, getpid, kill_process};

use crate::output::style;

/// The size of a terminal that reports no size.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// Timeout for the answer of a terminal. It exceeds the delay of a slow connection, because a shell would read a late
/// answer as keystrokes. Only a terminal that does not answer causes a wait of this length.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The byte of `^C`.
const INTERRUPT: u8 = 0x03;

/// The number of bytes without an answer after which reading stops.
const ANSWER_MAX: usize = 4096;

/// Timeout for the last write before the view ends.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// The guard that restores the terminal's modes from before raw mode, and the bytes that end the view. Global, because
/// the panic hook must restore the terminal too; `take` ensures that the terminal is restored only once.
static ACTIVE: Mutex<Option<(RawMode, &'static [u8])>> = Mutex::new(None);

/// Restores the terminal if it is in raw mode.
pub(crate) fn restore() {
    let mut active = ACTIVE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((modes, end)) = active.take() {
        // The modes come first: the write blocks while the terminal accepts no output, and only outside raw mode can
        // `^C` end a blocked process.
        drop(modes);
        let mut stdout = io::stdout();
        // A closed terminal needs no restoring.
        let _gone = stdout.write_all(end).and_then(|()| stdout.flush());
    }
}

/// The theme of a view on stdout; no colours if they are switched off. Must be called before [`Terminal::enter`].
pub(crate) async fn theme() -> Theme {
    if AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
        return Theme::None;
    }
    match style::named_theme() {
        Some(theme) => theme,
        None => theme_of_background().await.unwrap_or_default(),
    }
}

/// Asks the terminal for its background colour. `None` without a terminal that can answer, or if it does not answer in
/// time. Discards keys that are typed meanwhile: a key must not answer a dialog that the user has not seen. `^C` still
/// interrupts the program.
pub(crate) async fn theme_of_background() -> Option<Theme> {
    if std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb") {
        return None;
    }
    let mut tty = Tty::open().ok()?;
    // Dropping `tty` restores the modes.
    tty.enter_raw_mode().ok()?;
    let mut input = Vec::new();
    let answer = async {
        tty.write_all(background::QUESTION).await.ok()?;
        let mut buffer = [0; 256];
        while !background::is_answered(&input)
            && !input.contains(&INTERRUPT)
            && input.len() < ANSWER_MAX
        {
            match tty.read(&mut buffer).await {
                Ok(read @ 1..) => input.extend_from_slice(&buffer[..read]),
                Ok(0) | Err(_) => return None,
            }
        }
        background::theme(&input)
    };
    let theme = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    drop(tty);
    if input.contains(&INTERRUPT) {
        // In raw mode the terminal sends no signal.
        kill_process(getpid(), Signal::INT).ok()?;
    }
    theme.ok()?
}

#[derive(Debug)]
pub(crate) enum TerminalEvent {
    /// The keys of one read.
    Keys(Vec<Key>),
    /// All pending output was written.
    Written,
    /// The terminal was closed.
    Closed,
}

/// The terminal in raw mode. Dropping this value restores the terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    tty: Tty,
    keys: KeyDecoder,
    /// Output that is not written yet.
    pending: Vec<u8>,
}

impl Terminal {
    /// Enters raw mode. `begin` is the first pending output; `end` is written when the terminal is restored. Must be
    /// called within a tokio runtime; only one instance may exist at a time.
    pub(crate) fn enter(begin: &[u8], end: &'static [u8]) -> io::Result<Self> {
        let tty = Tty::open()?;
        let modes = RawMode::enter(io::stdin())?;
        *ACTIVE.lock().unwrap_or_else(PoisonError::into_inner) = Some((modes, end));
        Ok(Self {
            tty,
            keys: KeyDecoder::default(),
            pending: begin.to_vec(),
        })
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (u16, u16) {
        self.tty.size().unwrap_or(DEFAULT_SIZE)
    }

    pub(crate) fn is_written(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Writes pending output and reads keys. Cancel-safe.
    pub(crate) async fn next(&mut self) -> TerminalEvent {
        let Self { tty, keys, pending } = self;
        let has_output = !pending.is_empty();
        // Poll keys first: a terminal that accepts output all the time must not delay `^C`.
        tokio::select! {
            biased;
            keys = read(tty, keys) => keys.map_or(TerminalEvent::Closed, TerminalEvent::Keys),
            written = write(tty, pending), if has_output => {
                written.map_or(TerminalEvent::Closed, |()| TerminalEvent::Written)
            }
        }
    }

    /// Writes pending output and then `last`, and restores the terminal.
    pub(crate) async fn leave(mut self, last: &[u8]) {
        self.write(last);
        let Self { tty, pending, .. } = &mut self;
        // A terminal that accepts no output must not delay the exit for longer.
        let _late = tokio::time::timeout(LAST_WRITE_TIMEOUT, write(tty, pending)).await;
    }
}

/// Returns when all pending output is written. Written bytes are removed from `pending`, so after a cancellation the
/// next call continues.
async fn write(tty: &Tty, pending: &mut Vec<u8>) -> io::Result<()> {
    while !pending.is_empty() {
        let written = tty.write(pending).await?;
        pending.drain(..written);
    }
    Ok(())
}

/// Returns the keys of one read; `None` when the terminal is closed. Cancel-safe.
///
/// An escape byte may be the Escape key or the start of a sequence. If no further byte arrives within [`REST_OF_KEY`],
/// the escape byte counts as the Escape key.
async fn read(tty: &Tty, decoder: &mut KeyDecoder) -> Option<Vec<Key>> {
    let mut buffer = [0; 4096];
    loop {
        let read = if decoder.is_unsettled() {
            tokio::time::timeout(REST_OF_KEY, tty.read(&mut buffer)).await
        } else {
            Ok(tty.read(&mut buffer).await)
        };
        let keys = match read {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(read)) => decoder.read(&buffer[..read]),
            Err(_elapsed) => decoder.settle(),
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

    /// Set when this test runs itself as a child process on a terminal.
    const PANICS: &str = "AGENT_TEAM_TEST_PANICS";

    #[tokio::test]
    async fn a_panic_restores_the_terminal_before_its_message() {
        if std::env::var_os(PANICS).is_some() {
            std::panic::set_hook(Box::new(|_| {
                restore();
                let _printed = io::stdout().write_all(b"panicked\n");
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
        let (_, after) = seen
            .split_once("\u{1b}[?1049l")
            .expect("the end sequence was written");
        // Outside raw mode the terminal writes a carriage return before the newline.
        assert!(after.contains("panicked\r\n"), "{seen:?}");
    }
}
