//! The terminal that shows a member: the terminal in which the worker was started, a lent terminal, or none. Used by
//! the panes, which define the content.
//!
//! The terminal may be lost at any time. All methods then do nothing, except `move_to`, which takes a lent terminal.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::notification::{Attachment, PaneShown, ShowPane};
use agent_team_protocol::placement::MIN_PANE;
use agent_team_protocol::{MemberName, MessageId};
use agent_team_system::terminal::{self as tty, Tty};
use agent_team_terminal_ui::notifications::UserNotifications;
use tokio::sync::Semaphore;

use super::attach_helper::AttachHelper;
use super::event::Event;
use super::terminal::{Command, Room, Terminal};
use crate::engine::Size;
use crate::link::Notice;

/// The time that a task's output waits for a stalled terminal. Then the output skips the terminal.
const STALL_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Surface {
    terminal: Option<Terminal>,
    state: SurfaceState,
    /// The size of the terminal when [`Self::size_notice`] last read it.
    last_size: Option<Size>,
}

/// The state of the terminal, as reported to the supervisor.
#[derive(Debug, Clone)]
enum SurfaceState {
    /// The terminal in which the process was started.
    AsStarted,
    /// A lent terminal.
    Lent(PaneShown, Attachment),
    Lost,
}

impl Surface {
    /// The terminal in which this process was started, or none.
    pub(crate) fn open() -> Self {
        let terminal = tty::is_terminal(std::io::stdin()).then(Tty::open);
        let terminal = terminal.and_then(|opened| {
            opened
                .and_then(|tty| Terminal::start(tty, None))
                .inspect_err(|error| tracing::warn!(%error, "cannot open the pane's terminal"))
                .ok()
        });
        Self {
            last_size: terminal.as_ref().and_then(Terminal::size),
            terminal,
            ..Self::none()
        }
    }

    /// A surface without a terminal.
    pub(crate) fn none() -> Self {
        Self {
            terminal: None,
            state: SurfaceState::AsStarted,
            last_size: None,
        }
    }

    /// Moves to a lent terminal. Must be called within the worker's [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// If the terminal no longer exists; nothing has changed then.
    pub(super) fn move_to(&mut self, show: &ShowPane) -> io::Result<()> {
        let attach_helper = AttachHelper::of(show)?;
        let tty = Tty::open_path(&show.terminal)?;
        let shown = attach_helper.shown();
        let terminal = Terminal::start(tty, Some(attach_helper))?;
        self.lose();
        self.last_size = terminal.size();
        self.terminal = Some(terminal);
        self.state = SurfaceState::Lent(shown, show.attachment);
        Ok(())
    }

    /// Continues without a terminal.
    pub(super) fn lose(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            terminal.abandon();
        }
        self.state = SurfaceState::Lost;
    }

    /// The notification about the current terminal; `None` if the terminal has not changed since the start.
    pub(crate) fn state_notice(&self) -> Option<Notice> {
        match &self.state {
            SurfaceState::AsStarted => None,
            SurfaceState::Lent(shown, _) => Some(Notice::PaneShown(shown.clone())),
            SurfaceState::Lost => Some(Notice::PaneLost),
        }
    }

    /// Returns whether the terminal, if any, is the member's own pane, not a terminal that the user has attached.
    pub(crate) fn is_own(&self) -> bool {
        !matches!(
            self.state,
            SurfaceState::Lent(_, Attachment::Attached | Attachment::ReadOnly)
        )
    }

    /// The notification about the new size of the member's own pane. `None` without a terminal, on an attached
    /// terminal, and if the pane is large enough and has not grown.
    pub(crate) fn size_notice(&mut self) -> Option<Notice> {
        let (columns, rows) = self.size()?;
        let before = self.last_size.replace((columns, rows));
        if !self.is_own() {
            None
        } else if columns < MIN_PANE.0 || rows < MIN_PANE.1 {
            Some(Notice::PaneTooSmall)
        } else if before.is_some_and(|before| columns > before.0 || rows > before.1) {
            Some(Notice::PaneGrown)
        } else {
            None
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.terminal.is_some()
    }

    pub(crate) fn size(&self) -> Option<Size> {
        self.terminal.as_ref().and_then(Terminal::size)
    }

    /// The next event. Cancel-safe. Never returns without a terminal.
    pub(super) async fn next(&mut self) -> Event {
        match &mut self.terminal {
            Some(terminal) => terminal.next().await,
            None => std::future::pending().await,
        }
    }

    /// Waits for room for the next piece of output; `None` if this piece must skip the terminal. Does not wait if the
    /// terminal is already stalled (`behind`).
    pub(super) fn room(&self, behind: bool) -> impl Future<Output = Option<Room>> + use<> {
        let terminal = self.terminal.as_ref();
        let room = terminal.map(|terminal| Arc::clone(&terminal.room));
        async move {
            let room: Arc<Semaphore> = room?;
            if behind {
                return room.try_acquire_owned().ok();
            }
            tokio::time::timeout(STALL_LIMIT, room.acquire_owned())
                .await
                .ok()?
                .ok()
        }
    }

    /// Notifies the user through the terminal.
    pub(crate) fn notify(&self, notifications: UserNotifications, text: &str, desktop: bool) {
        // A terminal that the user has attached is not the tmux pane in which this process was started.
        let in_tmux = self.is_own() && std::env::var_os("TMUX").is_some();
        self.show(
            notifications.sequence(text, desktop, in_tmux),
            Vec::new(),
            None,
        );
    }

    pub(super) fn show(&self, bytes: Vec<u8>, shown: Vec<MessageId>, room: Option<Room>) {
        self.command(Command::Show { bytes, shown, room });
    }

    pub(super) fn command(&self, command: Command) {
        if let Some(terminal) = &self.terminal {
            // The task of a lost terminal has ended, and reports the loss itself.
            let _gone = terminal.commands.send(command);
        }
    }

    /// Shows the queued output and restores the terminal.
    pub(super) async fn close(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            terminal.close().await;
        }
    }
}

/// The hint for a user who has attached their own terminal.
pub(super) fn how_to_leave(member: &MemberName, attachment: Attachment) -> Option<String> {
    (attachment != Attachment::Pane)
        .then(|| format!("{member} is attached; press Ctrl-\\ to detach"))
}
