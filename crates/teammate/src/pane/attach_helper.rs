//! The attach helper that lends its terminal to this worker. Called only by the pane's surface and terminal.
//!
//! The terminal is not this process's controlling terminal, so the kernel sends the terminal's signals (keys, resizes)
//! to the attach helper, which forwards them. After the attach helper has exited, the worker must not use the terminal.

use std::io;

use agent_team_protocol::notification::{Attachment, PaneShown, ShowPane};
use agent_team_system::process::{ExitWatch, ProcessId, Signal};

/// The key `^\`, with which the user detaches an attached terminal, read-only or not. In cooked mode, the kernel turns
/// this key into a signal for the attach helper.
const LEAVE: u8 = 0x1c;

/// The keys that detach a read-only terminal.
const LEAVE_READING: [u8; 3] = [LEAVE, 0x03, 0x04];

/// The process of the attach helper. Dropping this value terminates the process.
#[derive(Debug)]
pub(super) struct AttachHelper {
    pub(super) attachment: Attachment,
    watch: ExitWatch,
}

impl AttachHelper {
    /// The attach helper that lends the terminal of `show`. Must be called within the worker's runtime.
    pub(super) fn of(show: &ShowPane) -> io::Result<Self> {
        let process = ProcessId {
            pid: show.pid,
            start_time: show.start_time,
        };
        let watch = ExitWatch::open(process)?;
        let ended = || io::Error::new(io::ErrorKind::NotFound, "the attach helper has exited");
        Ok(Self {
            attachment: show.attachment,
            watch: watch.ok_or_else(ended)?,
        })
    }

    pub(super) fn shown(&self) -> PaneShown {
        let ProcessId { pid, start_time } = self.watch.process();
        PaneShown { pid, start_time }
    }

    /// Returns when the attach helper has exited. Cancel-safe.
    pub(super) async fn gone(&mut self) {
        if self.watch.exited().await.is_err() {
            // The helper may still run although its exit cannot be observed. If it exits, the terminal reports a
            // hangup.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for AttachHelper {
    fn drop(&mut self) {
        let _gone = self.watch.signal(Signal::SIGTERM);
    }
}

/// Whether these keystrokes detach the terminal.
pub(super) fn leaves(keys: &[u8], attachment: Attachment) -> bool {
    match attachment {
        Attachment::Pane => false,
        Attachment::Attached => keys.contains(&LEAVE),
        Attachment::ReadOnly => keys.iter().any(|key| LEAVE_READING.contains(key)),
    }
}
