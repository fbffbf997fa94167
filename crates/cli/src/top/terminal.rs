//! The terminal that `top` takes over: frames to it, keys from it, and back as it was, whatever ends the program.
//! Used by [`super`].
//!
//! Frames are made in memory and written without blocking, one at a time: a terminal that takes nothing holds up
//! neither keys nor signals.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_team_system::terminal::{RawMode, Tty};
use anstream::AutoStream;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::crossterm::{queue, style};
use ratatui::layout::Rect;
use ratatui::{Frame, TerminalOptions, Viewport};

use agent_team_face::keys::{self, Key};

/// In which the rest of a key arrives that begins as the escape key does.
const REST_OF_KEY: Duration = Duration::from_millis(25);

/// What a terminal is that does not say.
const SIZE: (u16, u16) = (80, 24);

/// The modes of the terminal that is taken over now: to be put back by whoever comes first.
static TAKEN: Mutex<Option<RawMode>> = Mutex::new(None);

/// Puts the terminal back as it was, if `top` has it.
pub(crate) fn restore() {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(modes) = taken.take() {
        let mut stdout = io::stdout();
        // A terminal that is gone needs nothing.
        let _gone = queue!(stdout, DisableBracketedPaste, LeaveAlternateScreen, Show)
            .and_then(|()| stdout.flush());
        drop(modes);
    }
}

/// What is on its way to the terminal.
#[derive(Debug, Clone, Default)]
struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether colours are wanted on stdout.
pub(crate) fn has_colours() -> bool {
    AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// What came from the terminal.
#[derive(Debug)]
pub(super) enum Happened {
    /// At once.
    Typed(Vec<Key>),
    /// All that was drawn is on the screen.
    Written,
    Gone,
}

/// See the module. Dropping it restores the terminal.
pub(super) struct Screen {
    tty: Tty,
    terminal: ratatui::Terminal<CrosstermBackend<Bytes>>,
    bytes: Bytes,
    /// The beginning of a key.
    typed: Vec<u8>,
}

impl Screen {
    /// Takes the terminal over. Must be called within a tokio runtime.
    pub(super) fn enter() -> io::Result<Self> {
        let tty = Tty::open()?;
        let (columns, rows) = tty.size().unwrap_or(SIZE);
        let bytes = Bytes::default();
        // Ours is the decision, and it is made already.
        style::force_color_output(true);
        let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
        let backend = CrosstermBackend::new(bytes.clone());
        let terminal = ratatui::Terminal::with_options(backend, TerminalOptions { viewport })?;
        let modes = RawMode::enter(io::stdin())?;
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(modes);
        let mut screen = Self {
            tty,
            terminal,
            bytes,
            typed: Vec::new(),
        };
        queue!(
            screen.bytes,
            EnterAlternateScreen,
            EnableBracketedPaste,
            Hide
        )?;
        Ok(screen)
    }

    /// Columns and rows now, as the next frame has them.
    pub(super) fn fit(&mut self) -> io::Result<(u16, u16)> {
        let (columns, rows) = self.tty.size().unwrap_or(SIZE);
        let area = Rect::new(0, 0, columns, rows);
        if self.terminal.get_frame().area() != area {
            self.terminal.resize(area)?;
        }
        Ok((columns, rows))
    }

    /// Makes a frame, to be written by [`Screen::write`].
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Whether the last frame is on the terminal.
    pub(super) fn is_written(&self) -> bool {
        self.bytes.0.borrow().is_empty()
    }

    /// Writes on at what was made, and hears what is typed. Safe to cancel.
    pub(super) async fn next(&mut self) -> Happened {
        let Self {
            tty, bytes, typed, ..
        } = self;
        let writes = !bytes.0.borrow().is_empty();
        tokio::select! {
            biased;
            keys = read(tty, typed) => keys.map_or(Happened::Gone, Happened::Typed),
            written = write(tty, bytes), if writes => {
                written.map_or(Happened::Gone, |()| Happened::Written)
            }
        }
    }
}

/// Returns when all of it is on the terminal. Cancelled, it goes on from there with the next call.
async fn write(tty: &Tty, bytes: &Bytes) -> io::Result<()> {
    loop {
        let rest = bytes.0.borrow().clone();
        if rest.is_empty() {
            return Ok(());
        }
        let written = tty.write(&rest).await?;
        bytes.0.borrow_mut().drain(..written);
    }
}

/// What was typed at once; `None` when the terminal has gone. Safe to cancel.
pub(crate) async fn read(tty: &Tty, typed: &mut Vec<u8>) -> Option<Vec<Key>> {
    const ESCAPE: u8 = 0x1b;
    let mut buffer = [0; 4096];
    loop {
        let read = if typed.last() == Some(&ESCAPE) {
            // What follows tells whether that was a key.
            tokio::time::timeout(REST_OF_KEY, tty.read(&mut buffer)).await
        } else {
            Ok(tty.read(&mut buffer).await)
        };
        match read {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(read)) => {
                typed.extend_from_slice(&buffer[..read]);
                if typed.last() == Some(&ESCAPE) {
                    continue;
                }
            }
            Err(_elapsed) => {}
        }
        let keys = keys::take(typed);
        if !keys.is_empty() {
            return Some(keys);
        }
    }
}

impl Drop for Screen {
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
            let _screen = Screen::enter().unwrap();
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
