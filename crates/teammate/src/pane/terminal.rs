//! The pane's terminal, in its own tokio task, so that a stalled terminal does not block the worker. Called only by
//! [`super::Surface`].

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::MessageId;
use agent_team_protocol::notification::Attachment;
use agent_team_system::terminal::{self as tty, Tty};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::attach_helper::AttachHelper;
use super::event::Event;
use super::keyboard::{Keyboard, Route};
use crate::engine::Size;

/// The largest number of queued pieces of output.
const OUTPUT_PIECES: usize = 4;

/// Turns bracketed paste on.
const BRACKETED_PASTE: &[u8] = b"\x1b[?2004h";

/// Turns bracketed paste off.
const END_BRACKETED_PASTE: &[u8] = b"\x1b[?2004l";

/// Turns bracketed paste off, shows the cursor, and clears its line and everything below.
const RESTORE: &[u8] = b"\x1b[?2004l\x1b[?25h\r\x1b[J";

/// Resets the state that the frames of a terminal program set: attributes, alternate screen, modes, cursor. Saving the
/// cursor first keeps its position on the main screen.
pub(super) const RESET_SCREEN: &[u8] =
    b"\x1b[m\x1b7\x1b[?1049l\x1b[?1l\x1b>\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\
      \x1b[?1004l\x1b[?2004l\x1b[0 q\x1b[?25h\r\n";

/// [`RESET_SCREEN`] without the newline at its end.
pub(crate) const RESET_MODES: &[u8] = RESET_SCREEN.split_at(RESET_SCREEN.len() - 2).0;

/// The time limit for the last output when the worker exits.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) enum Command {
    Show {
        bytes: Vec<u8>,
        /// These messages are visible once the bytes are written.
        shown: Vec<MessageId>,
        room: Option<Room>,
    },
    /// Pass every keystroke to the program of a task, or of the line that was just typed.
    Raw {
        /// The id of the program, for [`Event::Typed`].
        program: u64,
        program_of: ProgramOf,
    },
    /// Pass every keystroke to a terminal program, whose frames the pane shows. The terminal is reset when it is returned.
    Screen,
    /// Report every keystroke to the prompt, with bracketed paste.
    Keys,
    /// Let the terminal edit lines.
    Cooked,
    /// Report [`Event::Written`] when all previous output has been written.
    Confirm,
}

/// The reason why a program takes over the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgramOf {
    /// A task may begin at any time: unread keystrokes are for the prompt.
    Task,
    /// The user has just entered the line: unread keystrokes are for its program.
    TypedLine,
}

/// A permit for one piece of a program's output.
pub(crate) type Room = OwnedSemaphorePermit;

/// The pane's handle. Dropping it restores the terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    // Unbounded: output needs a permit, and the other commands are a few runtime lines.
    pub(super) commands: mpsc::UnboundedSender<Command>,
    // Unbounded: the events contain only keystrokes of a user.
    events: mpsc::UnboundedReceiver<Event>,
    pub(super) room: Arc<Semaphore>,
    /// Used only to read the size.
    window: OwnedFd,
    task: JoinHandle<()>,
}

/// A terminal and its attach helper. The field order matters: the terminal must be restored before the attach helper is
/// terminated.
struct TtyGuard {
    tty: Tty,
    /// `None`: the terminal is the worker's own.
    attach_helper: Option<AttachHelper>,
    /// Bracketed paste is on.
    has_bracketed_paste: bool,
    /// The terminal shows frames of a terminal program.
    has_screen: bool,
}

impl Drop for TtyGuard {
    fn drop(&mut self) {
        if self.has_bracketed_paste {
            // A write error means that the terminal is closed.
            let _gone = self.tty.write_now(RESTORE);
        }
        if self.has_screen {
            let _gone = self.tty.write_now(RESET_SCREEN);
        }
    }
}

impl Terminal {
    /// Starts the task of this terminal. Must be called within the worker's [`tokio::task::LocalSet`].
    pub(super) fn start(tty: Tty, attach_helper: Option<AttachHelper>) -> io::Result<Self> {
        let (commands, pane) = mpsc::unbounded_channel();
        let (to_pane, events) = mpsc::unbounded_channel();
        let window = tty.another()?;
        let guard = TtyGuard {
            tty,
            attach_helper,
            has_bracketed_paste: false,
            has_screen: false,
        };
        Ok(Self {
            commands,
            events,
            room: Arc::new(Semaphore::new(OUTPUT_PIECES)),
            window,
            task: tokio::task::spawn_local(run(guard, pane, to_pane)),
        })
    }

    /// The size of the terminal. `None` if the terminal does not report a size.
    pub(super) fn size(&self) -> Option<Size> {
        tty::size(&self.window)
    }

    /// Returns the terminal at once, dropping queued output.
    pub(super) fn abandon(self) {
        self.task.abort();
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => match (&mut self.task).await {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Ok(()) | Err(_) => Event::Gone,
            },
        }
    }

    /// Writes the queued output and restores the terminal.
    pub(super) async fn close(self) {
        let Self { commands, task, .. } = self;
        drop(commands);
        if tokio::time::timeout(CLOSE_LIMIT, task).await.is_err() {
            tracing::debug!("timed out writing the last lines to the pane");
        }
    }
}

async fn run(
    mut guard: TtyGuard,
    mut commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<Event>,
) {
    let TtyGuard {
        tty,
        attach_helper,
        has_bracketed_paste,
        has_screen,
    } = &mut guard;
    let attachment = attach_helper
        .as_ref()
        .map(|attach_helper| attach_helper.attachment);
    // A read-only terminal is always in raw mode, so that it does not echo keystrokes.
    let read_only = attachment == Some(Attachment::ReadOnly);
    if read_only && tty.enter_raw_mode().is_err() {
        let _gone = events.send(Event::Gone);
        return;
    }
    let mut keyboard = Keyboard::new(attachment, events.clone());
    loop {
        let more = tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => return,
                Some(Command::Screen) => {
                    *has_screen = true;
                    let route = Route::Program(0);
                    read_only
                        || tty.enter_raw_mode().is_ok()
                            && hand_over(&mut keyboard, tty, attach_helper, route, false).await
                }
                Some(Command::Cooked) if *has_screen => {
                    *has_screen = false;
                    keyboard.discard();
                    if !read_only {
                        tty.leave_raw_mode();
                    }
                    true
                }
                Some(Command::Raw { .. } | Command::Keys | Command::Cooked) if read_only => true,
                Some(Command::Keys) => {
                    let pauses = keyboard.is_for_program();
                    *has_bracketed_paste = true;
                    tty.enter_raw_mode().is_ok()
                        && hand_over(&mut keyboard, tty, attach_helper, Route::Prompt, pauses).await
                        && tty.write_all(BRACKETED_PASTE).await.is_ok()
                }
                Some(Command::Raw { program, program_of }) => {
                    let pauses = program_of == ProgramOf::Task;
                    let route = Route::Program(program);
                    // Turn bracketed paste off only after the hand-over: while it is off, tmux drops the end marker of
                    // a paste.
                    tty.enter_raw_mode().is_ok()
                        && hand_over(&mut keyboard, tty, attach_helper, route, pauses).await
                        && (!std::mem::take(has_bracketed_paste)
                            || tty.write_all(END_BRACKETED_PASTE).await.is_ok())
                }
                Some(Command::Cooked) => {
                    keyboard.discard();
                    tty.leave_raw_mode();
                    true
                }
                Some(Command::Confirm) => {
                    // A send fails only if the receiver is gone, because the worker is exiting.
                    let _gone = events.send(Event::Written);
                    true
                }
                // Read keystrokes while the output is written: on a stalled terminal, the write may never complete.
                // Then ^C for the program, or the key that detaches, would not arrive.
                Some(Command::Show { bytes, shown, room }) => {
                    let written = tokio::select! {
                        written = tty.write_all(&bytes) => written.is_ok(),
                        () = keyboard.forward(tty) => false,
                        () = gone(attach_helper) => false,
                    };
                    drop(room);
                    if written && !shown.is_empty() {
                        let _gone = events.send(Event::Shown(shown));
                    }
                    written
                }
            },
            () = keyboard.forward(tty) => false,
            () = gone(attach_helper) => false,
        };
        if !more {
            // Restore the terminal before reporting the loss.
            drop(guard);
            let _gone = events.send(Event::Gone);
            return;
        }
    }
}

/// Changes the route of keystrokes. Returns false when the terminal is closed, or must be returned to the attach
/// helper.
async fn hand_over(
    keyboard: &mut Keyboard,
    tty: &Tty,
    attach_helper: &mut Option<AttachHelper>,
    route: Route,
    pauses: bool,
) -> bool {
    tokio::select! {
        is_open = keyboard.hand_over(tty, route, pauses) => is_open,
        () = gone(attach_helper) => false,
    }
}

/// Returns when the terminal is no longer lent. Cancel-safe.
async fn gone(attach_helper: &mut Option<AttachHelper>) {
    match attach_helper {
        Some(attach_helper) => attach_helper.gone().await,
        None => std::future::pending().await,
    }
}
