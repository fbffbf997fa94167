//! The process that lends its terminal to this worker. Called only by the pane's surface and terminal.
//!
//! The terminal is not this process's controlling terminal, so the kernel sends the terminal's signals (keys, resizes)
//! to the lender, which forwards them. When the lender exits, the terminal belongs to another program again.

use std::io;

use agent_team_protocol::notification::{Hold, PaneShown, ShowPane};
use agent_team_system::process::{ExitWatch, ProcessId, Signal};

/// `^\` returns a lent terminal to the user. In cooked mode the kernel turns this key into a signal for the lender.
const LEAVE: u8 = 0x1c;

/// ^C and ^D return a read-only terminal as well.
const LEAVE_READING: [u8; 3] = [LEAVE, 0x03, 0x04];

/// The lender process. Dropping it terminates the lender.
#[derive(Debug)]
pub(super) struct TerminalLender {
    pub(super) hold: Hold,
    watch: ExitWatch,
}

impl TerminalLender {
    /// Must be called within the worker's runtime.
    pub(super) fn of(show: &ShowPane) -> io::Result<Self> {
        let process = ProcessId {
            pid: show.pid,
            start_time: show.start_time,
        };
        let watch = ExitWatch::open(process)?;
        let ended = || io::Error::new(io::ErrorKind::NotFound, "the terminal lender has exited");
        Ok(Self {
            hold: show.hold,
            watch: watch.ok_or_else(ended)?,
        })
    }

    pub(super) fn shown(&self) -> PaneShown {
        let ProcessId { pid, start_time } = self.watch.process();
        PaneShown { pid, start_time }
    }

    /// Returns when the lender has exited. Cancel-safe.
    pub(super) async fn gone(&mut self) {
        if self.watch.exited().await.is_err() {
            // Unknown does not mean exited: the terminal itself reports a hangup as well.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for TerminalLender {
    fn drop(&mut self) {
        let _gone = self.watch.signal(Signal::SIGTERM);
    }
}

/// Returns whether these keystrokes return the terminal.
pub(super) fn leaves(keys: &[u8], hold: Hold) -> bool {
    match hold {
        Hold::Pane => false,
        Hold::Attached => keys.contains(&LEAVE),
        Hold::ReadOnly => keys.iter().any(|key| LEAVE_READING.contains(key)),
    }
}
