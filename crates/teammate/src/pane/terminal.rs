//! The pane's terminal itself, in a task of its own, so that a terminal that does not take its output holds nobody up.
//! Called by [`super::Pane`] alone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::MessageId;
use agent_team_protocol::notification::Hold;
use agent_team_system::terminal::{self as tty, Tty};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::holder::{self, Holder};
use crate::engine::Size;

/// Pieces of output on their way to the terminal, at most.
const OUTPUT_PIECES: usize = 4;

/// Keys read at once, at most: the longest line that a terminal edits.
const READ_BYTES: usize = 4096;

/// In which a half-typed line arrives that was meant for the prompt, when a task takes the terminal.
const LEFTOVER: Duration = Duration::from_millis(5);

const MARK_PASTES: &[u8] = b"\x1b[?2004h";

/// Takes that back, and away what was painted from the cursor on.
const END: &[u8] = b"\x1b[?2004l\x1b[?25h\r\x1b[J";

/// How long the last output may take when the worker exits.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) enum Command {
    Show {
        bytes: Vec<u8>,
        /// Messages that are in the pane once these bytes are.
        shown: Vec<MessageId>,
        room: Option<Room>,
    },
    /// Every key goes to the task from now on.
    Raw,
    /// Every key comes as it is typed, and what is pasted comes marked, from now on.
    Keys,
    /// The terminal edits lines again.
    Cooked,
    /// Say when all that was shown before is on the screen.
    Tell,
}

#[derive(Debug)]
pub(super) enum Event {
    Typed(Vec<u8>),
    /// ^D at the beginning of a line.
    EndOfInput,
    Shown(Vec<MessageId>),
    /// All that was shown before [`Command::Tell`] is on the screen.
    Written,
    Gone,
}

/// Leave to hand over one piece of a program's output.
pub(crate) type Room = OwnedSemaphorePermit;

/// The pane's side. Dropping it restores the terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    // Unbounded: output needs room, and everything else is a few lines of ours.
    pub(super) commands: mpsc::UnboundedSender<Command>,
    // Unbounded: a person typed it.
    events: mpsc::UnboundedReceiver<Event>,
    pub(super) room: Arc<Semaphore>,
    /// Asked for its size alone.
    window: OwnedFd,
    task: JoinHandle<()>,
}

/// A terminal and who lends it. In this order: when it is given back, it is as it was found.
struct Stage {
    tty: Tty,
    /// `None`: it is this process's own.
    holder: Option<Holder>,
    /// What is pasted comes marked.
    marks_pastes: bool,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.marks_pastes {
            // Where it cannot be written the terminal has gone.
            let _gone = self.tty.write_now(END);
        }
    }
}

impl Terminal {
    /// Must be called within the worker's [`tokio::task::LocalSet`].
    pub(super) fn start(tty: Tty, holder: Option<Holder>) -> io::Result<Self> {
        let (commands, pane) = mpsc::unbounded_channel();
        let (to_pane, events) = mpsc::unbounded_channel();
        let window = tty.another()?;
        let stage = Stage {
            tty,
            holder,
            marks_pastes: false,
        };
        Ok(Self {
            commands,
            events,
            room: Arc::new(Semaphore::new(OUTPUT_PIECES)),
            window,
            task: tokio::task::spawn_local(run(stage, pane, to_pane)),
        })
    }

    /// `None` when it does not say.
    pub(super) fn size(&self) -> Option<Size> {
        tty::size(&self.window)
    }

    /// Gives it back at once, whatever is still on its way there.
    pub(super) fn abandon(self) {
        self.task.abort();
    }

    /// Safe to cancel.
    pub(super) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => match (&mut self.task).await {
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Ok(()) | Err(_) => Event::Gone,
            },
        }
    }

    /// Shows what is still on its way, and restores the terminal.
    pub(super) async fn close(self) {
        let Self { commands, task, .. } = self;
        drop(commands);
        if tokio::time::timeout(CLOSE_LIMIT, task).await.is_err() {
            tracing::debug!("the pane did not take the last lines");
        }
    }
}

async fn run(
    mut stage: Stage,
    mut commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<Event>,
) {
    let Stage {
        tty,
        holder,
        marks_pastes,
    } = &mut stage;
    let hold = holder.as_ref().map(|holder| holder.hold);
    // Keys that mean nothing are not to be echoed either.
    let read_only = hold == Some(Hold::ReadOnly);
    let mut raw = read_only;
    if read_only && tty.raw().is_err() {
        let _gone = events.send(Event::Gone);
        return;
    }
    loop {
        let more = tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => return,
                Some(Command::Raw | Command::Keys | Command::Cooked) if read_only => true,
                Some(Command::Keys) => {
                    raw = true;
                    *marks_pastes = true;
                    tty.raw().is_ok() && tty.write_all(MARK_PASTES).await.is_ok()
                }
                Some(Command::Raw) => {
                    raw = true;
                    take_over(tty).await
                }
                Some(Command::Cooked) => {
                    raw = false;
                    tty.cooked();
                    true
                }
                Some(Command::Tell) => {
                    // Without a worker nobody needs to know, here and below.
                    let _gone = events.send(Event::Written);
                    true
                }
                Some(Command::Show { bytes, shown, room }) => {
                    let written = tokio::select! {
                        written = tty.write_all(&bytes) => written.is_ok(),
                        () = read_on(tty, raw, hold, &events) => false,
                        () = gone(holder) => false,
                    };
                    drop(room);
                    if written && !shown.is_empty() {
                        let _gone = events.send(Event::Shown(shown));
                    }
                    written
                }
            },
            () = read_on(tty, raw, hold, &events) => false,
            () = gone(holder) => false,
        };
        if !more {
            // Before anybody hears of it.
            drop(stage);
            let _gone = events.send(Event::Gone);
            return;
        }
    }
}

/// Returns when the terminal is not lent any more. Safe to cancel.
async fn gone(holder: &mut Option<Holder>) {
    match holder {
        Some(holder) => holder.gone().await,
        None => std::future::pending().await,
    }
}

/// Raw mode, without what was typed at the prompt and not sent. False when the terminal has gone.
async fn take_over(tty: &mut Tty) -> bool {
    if tty.raw().is_err() {
        return false;
    }
    let mut leftover = [0; READ_BYTES];
    match tokio::time::timeout(LEFTOVER, tty.read(&mut leftover)).await {
        Ok(Ok(0) | Err(_)) => false,
        Ok(Ok(_)) | Err(_) => true,
    }
}

/// Passes on what is typed; returns when the terminal has gone, or is to be given back. Safe to cancel.
async fn read_on(tty: &Tty, raw: bool, hold: Option<Hold>, events: &mpsc::UnboundedSender<Event>) {
    let mut buffer = [0; READ_BYTES];
    loop {
        let typed = match tty.read(&mut buffer).await {
            // In cooked mode ^D reads like this too; a terminal that has gone has no size.
            Ok(0) if !raw && tty.size().is_some() => None,
            Ok(0) | Err(_) => return,
            Ok(read) => Some(&buffer[..read]),
        };
        let event = match (typed, hold) {
            (Some(keys), Some(hold)) if holder::leaves(keys, hold) => return,
            (None, Some(Hold::Attached | Hold::ReadOnly)) => return,
            (Some(_), Some(Hold::ReadOnly)) => continue,
            (Some(keys), _) => Event::Typed(keys.to_vec()),
            (None, _) => Event::EndOfInput,
        };
        let _gone = events.send(event);
    }
}
