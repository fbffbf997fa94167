//! Who lends this worker a terminal: a process of ours in a pane, or in a person's own terminal, that keeps it open.
//! Called by the pane's terminal alone.
//!
//! The terminal is not this worker's own, so the kernel tells it neither of keys nor of sizes: the holder passes those
//! signals on. When the holder ends, the terminal is somebody else's again.

use std::io;

use agent_team_protocol::notification::{Hold, PaneShown, ShowPane};
use agent_team_system::process::{ExitWatch, ProcessId, Signal};

/// `^\`: gives a person's terminal back to them. Where the terminal edits lines, it makes a signal of it for the holder.
const LEAVE: u8 = 0x1c;

/// ^C and ^D, which say the same where nothing can be typed.
const LEAVE_READING: [u8; 3] = [LEAVE, 0x03, 0x04];

/// Dropping it ends the holder: it has nothing to hold any more.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) hold: Hold,
    watch: ExitWatch,
}

impl Holder {
    /// Must be called within the worker's runtime.
    pub(super) fn of(show: &ShowPane) -> io::Result<Self> {
        let process = ProcessId {
            pid: show.pid,
            start_time: show.start_time,
        };
        let watch = ExitWatch::open(process)?;
        let ended = || io::Error::new(io::ErrorKind::NotFound, "who lends it has ended");
        Ok(Self {
            hold: show.hold,
            watch: watch.ok_or_else(ended)?,
        })
    }

    pub(super) fn shown(&self) -> PaneShown {
        let ProcessId { pid, start_time } = self.watch.process();
        PaneShown { pid, start_time }
    }

    /// Returns when it has ended. Safe to cancel.
    pub(super) async fn gone(&mut self) {
        if self.watch.exited().await.is_err() {
            // Unknown is not gone: the terminal itself says so, too.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _gone = self.watch.signal(Signal::SIGTERM);
    }
}

/// Whether these keys give the terminal back.
pub(super) fn leaves(keys: &[u8], hold: Hold) -> bool {
    match hold {
        Hold::Pane => false,
        Hold::Attached => keys.contains(&LEAVE),
        Hold::ReadOnly => keys.iter().any(|key| LEAVE_READING.contains(key)),
    }
}
