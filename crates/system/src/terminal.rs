//! The user's terminal. Called by the command line and by the panes.
//!
//! The open file description of stdin is shared with the shell that started this process, and O_NONBLOCK belongs to the
//! description: setting it on stdin would break the shell. So the terminal is opened again, by name, and only that
//! descriptor is non-blocking. The terminal's modes are shared too and are restored when the guard is dropped.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::termios::{FlushArg, SetArg, Termios, cfmakeraw, tcflush, tcgetattr, tcsetattr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::os;
use crate::readiness::register;

pub fn is_terminal(descriptor: impl AsFd) -> bool {
    rustix::termios::isatty(descriptor)
}

/// Columns and rows; `None` if the descriptor is not a terminal, or if the terminal reports no size.
pub fn size(descriptor: impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(descriptor).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Path of this process's controlling terminal; `None` without one.
pub fn controlling_tty_name() -> io::Result<Option<PathBuf>> {
    os::controlling_terminal()
}

/// Path of the terminal behind this descriptor.
pub fn name(descriptor: impl AsFd) -> io::Result<PathBuf> {
    let name = rustix::termios::ttyname(descriptor, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(name.into_bytes())))
}

/// A terminal's modes at the time of creation. Dropping the value restores them.
#[derive(Debug)]
pub struct SavedModes {
    terminal: OwnedFd,
    saved: Termios,
}

impl SavedModes {
    pub fn of(terminal: impl AsFd) -> io::Result<SavedModes> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let saved = tcgetattr(&terminal)?;
        Ok(SavedModes { terminal, saved })
    }
}

impl Drop for SavedModes {
    fn drop(&mut self) {
        // This call fails if the terminal was closed; then there is nothing to restore.
        let _restored = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.saved);
    }
}

/// A terminal in raw mode: keys arrive at once and unchanged, nothing is echoed, output is not translated (lines must
/// end in CR LF). Dropping the value restores the previous modes.
#[derive(Debug)]
pub struct RawMode {
    _previous: SavedModes,
}

impl RawMode {
    pub fn enter(terminal: impl AsFd) -> io::Result<RawMode> {
        let previous = SavedModes::of(terminal)?;
        let mut raw = previous.saved.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&previous.terminal, SetArg::TCSANOW, &raw)?;
        Ok(RawMode {
            _previous: previous,
        })
    }
}

/// A terminal with its own open file description, read and written without blocking.
#[derive(Debug)]
pub struct Tty {
    // Declared before `file`, because fields are dropped in order: the modes are restored while the file is open.
    raw: Option<RawMode>,
    file: AsyncFd<File>,
}

impl Tty {
    /// Opens the controlling terminal. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// This process has no controlling terminal, or the terminal cannot be opened.
    pub fn open() -> io::Result<Tty> {
        let name = controlling_tty_name()?
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no terminal"))?;
        Tty::open_path(&name)
    }

    /// Opens a terminal by name, without making it the controlling terminal. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The path cannot be opened, or is not a terminal.
    pub fn open_path(path: &Path) -> io::Result<Tty> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
            .open(path)?;
        if !is_terminal(&file) {
            let text = format!("{} is not a terminal", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        Ok(Tty {
            raw: None,
            file: register(file, interest)?,
        })
    }

    pub fn size(&self) -> Option<(u16, u16)> {
        size(self.file.get_ref())
    }

    /// A second descriptor of this terminal, for callers that need only its [`size`].
    pub fn another(&self) -> io::Result<OwnedFd> {
        self.file.get_ref().as_fd().try_clone_to_owned()
    }

    /// Switches to raw mode, until [`Tty::leave_raw_mode`] or drop.
    pub fn enter_raw_mode(&mut self) -> io::Result<()> {
        if self.raw.is_none() {
            self.raw = Some(RawMode::enter(self.file.get_ref())?);
        }
        Ok(())
    }

    /// Restores the modes from before [`Tty::enter_raw_mode`].
    pub fn leave_raw_mode(&mut self) {
        self.raw = None;
    }

    /// Discards input that was typed and not read yet, including the beginning of a line.
    pub fn discard_input(&self) -> io::Result<()> {
        Ok(tcflush(self.file.get_ref(), FlushArg::TCIFLUSH)?)
    }

    /// Whether this process may read the terminal: a read in the background would stop the process.
    pub fn is_in_foreground(&self) -> bool {
        rustix::termios::tcgetpgrp(self.file.get_ref())
            .is_ok_and(|group| group == rustix::process::getpgrp())
    }

    /// Reads input. Returns 0 at end of input or when the terminal was closed. Cancel-safe.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.async_io(Interest::READABLE, |file| {
            Ok(rustix::io::read(file, &mut *buffer)?)
        });
        match read.await {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(0),
            result => result,
        }
    }

    /// Writes all of these bytes; waits while the terminal is stopped (^S). Fails if the terminal was closed. If
    /// cancelled, some bytes may have been written.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.write(bytes).await?..];
        }
        Ok(())
    }

    /// Writes as many of these bytes as the terminal accepts without waiting, and returns their number.
    ///
    /// # Errors `WouldBlock` if the terminal accepts no byte now; other errors if the terminal was closed.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.file.get_ref(), bytes)?)
    }

    /// Waits until the terminal accepts output, writes as many of these bytes as possible, and returns their number. If
    /// cancelled, nothing was written.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let write = |file: &File| Ok(rustix::io::write(file, bytes)?);
        self.file.async_io(Interest::WRITABLE, write).await
    }
}
