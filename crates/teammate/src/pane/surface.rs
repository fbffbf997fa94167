//! Where a member is shown: the terminal that it was started in, one that somebody lends, or none. Used by the panes,
//! which say what stands there.
//!
//! It is a view: it may be lost at any time, and everything here does nothing then.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::notification::{Hold, PaneShown, ShowPane};
use agent_team_protocol::{MemberName, MessageId};
use agent_team_system::terminal::{self as tty, Tty};
use tokio::sync::Semaphore;

use super::holder::Holder;
use super::terminal::{Command, Event, Room, Terminal};
use crate::engine::Size;
use crate::link::Notice;

/// How long a task waits for a terminal that takes no output, before the terminal misses some.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Surface {
    terminal: Option<Terminal>,
    whereabouts: Whereabouts,
}

/// As the supervisor is to know it.
#[derive(Debug, Clone)]
enum Whereabouts {
    /// Where it was started.
    AsStarted,
    /// On a terminal that somebody lends.
    Lent(PaneShown, Hold),
    Lost,
}

impl Surface {
    /// The terminal that this process was started in, or none.
    pub(crate) fn open() -> Self {
        let terminal = tty::is_terminal(std::io::stdin()).then(Tty::open);
        let terminal = terminal.and_then(|opened| {
            opened
                .and_then(|tty| Terminal::start(tty, None))
                .inspect_err(|error| tracing::warn!(%error, "the pane's terminal cannot be opened"))
                .ok()
        });
        Self {
            terminal,
            ..Self::none()
        }
    }

    /// No terminal.
    pub(crate) fn none() -> Self {
        Self {
            terminal: None,
            whereabouts: Whereabouts::AsStarted,
        }
    }

    /// Goes to a terminal that somebody lends. Must be called within the worker's [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When there is no such terminal any more. Nothing has changed then.
    pub(super) fn move_to(&mut self, show: &ShowPane) -> io::Result<()> {
        let holder = Holder::of(show)?;
        let tty = Tty::open_path(&show.terminal)?;
        let shown = holder.shown();
        let terminal = Terminal::start(tty, Some(holder))?;
        self.lose();
        self.terminal = Some(terminal);
        self.whereabouts = Whereabouts::Lent(shown, show.hold);
        Ok(())
    }

    /// Goes on without a terminal.
    pub(super) fn lose(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            terminal.abandon();
        }
        self.whereabouts = Whereabouts::Lost;
    }

    /// What the supervisor is to be told of where this is shown; `None` when that is where it was started.
    pub(crate) fn whereabouts(&self) -> Option<Notice> {
        match &self.whereabouts {
            Whereabouts::AsStarted => None,
            Whereabouts::Lent(shown, _) => Some(Notice::PaneShown(shown.clone())),
            Whereabouts::Lost => Some(Notice::PaneLost),
        }
    }

    /// Whether it is the member's own, rather than a person's terminal for a while.
    pub(crate) fn is_own(&self) -> bool {
        !matches!(
            self.whereabouts,
            Whereabouts::Lent(_, Hold::Attached | Hold::ReadOnly)
        )
    }

    pub(crate) fn is_open(&self) -> bool {
        self.terminal.is_some()
    }

    pub(crate) fn size(&self) -> Option<Size> {
        self.terminal.as_ref().and_then(Terminal::size)
    }

    /// The next event. Safe to cancel. Never returns without a terminal.
    pub(super) async fn next(&mut self) -> Event {
        match &mut self.terminal {
            Some(terminal) => terminal.next().await,
            None => std::future::pending().await,
        }
    }

    /// What the next piece of output needs first; `None` when it is to pass the terminal by, as it does at once where it
    /// did before (`behind`).
    pub(super) fn room(&self, behind: bool) -> impl Future<Output = Option<Room>> + use<> {
        let terminal = self.terminal.as_ref();
        let room = terminal.map(|terminal| Arc::clone(&terminal.room));
        async move {
            let room: Arc<Semaphore> = room?;
            if behind {
                return room.try_acquire_owned().ok();
            }
            tokio::time::timeout(PATIENCE, room.acquire_owned())
                .await
                .ok()?
                .ok()
        }
    }

    pub(super) fn show(&self, bytes: Vec<u8>, shown: Vec<MessageId>, room: Option<Room>) {
        self.command(Command::Show { bytes, shown, room });
    }

    pub(super) fn command(&self, command: Command) {
        if let Some(terminal) = &self.terminal {
            // A terminal that has just gone says so itself.
            let _gone = terminal.commands.send(command);
        }
    }

    /// Shows what is still on its way, and gives the terminal back as it was.
    pub(super) async fn close(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            terminal.close().await;
        }
    }
}

/// What a person is told who looks at a member in their own terminal.
pub(super) fn how_to_leave(member: &MemberName, hold: Hold) -> Option<String> {
    (hold != Hold::Pane).then(|| format!("{member} is here until ^\\ (Control and backslash)"))
}
