//! A pseudo-terminal, and programs that have it as their controlling terminal. Called by the command engine and by the
//! inner pty of a terminal program.
//!
//! The master side is asynchronous and never blocks the runtime. Reads return the program's output as bytes; writes
//! arrive as if typed, so a ^C byte interrupts the program. One pty serves one program at a time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use rustix::termios::{InputModes, OptionalActions, Winsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::os;
use crate::readiness::register;
use crate::spawn::{Child, ProgramSpec, before_exec};

/// The master side of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    master: AsyncFd<OwnedFd>,
}

impl Pty {
    /// Opens a pseudo-terminal of this size. Must be called within a tokio runtime.
    ///
    /// The master must not be read before [`Pty::spawn`]. This function closes the terminal again after it has set the
    /// modes. Linux then reports EIO on the master until a process opens the terminal, so a read would look like the
    /// end of the program's output. The modes stay, because the master keeps the terminal alive.
    pub fn open(columns: u16, rows: u16) -> io::Result<Pty> {
        let master = os::open_pty_master()?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let pty = Pty {
            master: register(master, Interest::READABLE | Interest::WRITABLE)?,
        };
        let terminal = os::open_pty_terminal(pty.master.get_ref().as_fd())?;
        let mut modes = rustix::termios::tcgetattr(&terminal)?;
        // With IUTF8 the kernel's line editing erases a whole UTF-8 character instead of its last byte.
        modes.input_modes.insert(InputModes::IUTF8);
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &modes)?;
        pty.resize(columns, rows)?;
        Ok(pty)
    }

    /// Starts a program as the leader of a new session whose controlling terminal, stdin, stdout and stderr are this
    /// pty.
    pub fn spawn(&self, spec: &ProgramSpec) -> io::Result<Child> {
        let terminal = os::open_pty_terminal(self.master.get_ref().as_fd())?;
        let mut command = spec.command();
        command
            .stdin(Stdio::from(terminal.try_clone()?))
            .stdout(Stdio::from(terminal.try_clone()?))
            .stderr(Stdio::from(terminal));
        before_exec(&mut command, || {
            Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
        });
        Child::start(&mut command)
    }

    /// Reads the program's output. Returns 0 once every process has closed the terminal and all output was read: the
    /// kernel then reports EIO on the master. Cancel-safe.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.master.async_io(Interest::READABLE, |master| {
            Ok(rustix::io::read(master, &mut *buffer)?)
        });
        match read.await {
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => Ok(0),
            result => result,
        }
    }

    /// Writes all of these bytes as keyboard input; waits while the terminal's input queue is full. If cancelled, some
    /// bytes may have been written.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.write(bytes).await?..];
        }
        Ok(())
    }

    /// Waits until the terminal's input queue has room, writes as many of these bytes as it takes, and returns their
    /// number. If cancelled, nothing was written.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let write = |master: &OwnedFd| Ok(rustix::io::write(master, bytes)?);
        self.master.async_io(Interest::WRITABLE, write).await
    }

    /// Sets the size. The kernel sends SIGWINCH to the foreground program.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(self.master.get_ref(), size)?)
    }
}
