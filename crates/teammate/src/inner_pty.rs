//! A program on its own pseudo-terminal, which does not end with a pane. Called by `terminal_program` and by
//! `agent/own_terminal`.
//!
//! ```text
//! program ──► pty ──► redaction ──► Screen ── frames ──► pane, if there is one
//!    ▲          keystrokes, answers to queries ◄───────── pane
//!    └───────────┘
//!
//! Running ── exited, or end ──► Ending: HUP ── TERM ── KILL ──► Draining ──► Over
//! ```
//! The worker owns the pty, so the program survives its pane, tmux and every attached terminal. All work happens in
//! [`InnerPty::next`], which the worker polls after its other events: a program that floods its output delays neither a
//! stop nor a keystroke. The speed of the output is also limited, because no terminal slows the program down.
//!
//! When the program has exited, its remaining children are terminated.

pub(crate) mod screen;

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use agent_team_system::process::{ProcessId, Signal};
use agent_team_system::pty::Pty;
use agent_team_system::spawn::{Child, ProgramSpec};
use agent_team_system::tree::Tree;
use agent_team_tools::secret::RedactedStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::screen::Screen;
use crate::engine::{ProgramContext, Size};
use crate::timer::sleep_until;

/// The terminal type of the program. The model of the screen reads the sequences of this type.
pub(crate) const TERM: &str = "xterm-256color";

/// The largest read, in bytes.
const READ_BYTES: usize = 16 << 10;

/// The time for which the worker reads output before it pauses. A program that floods its terminal gets a third of a
/// processor for its screen.
const BUSY_LIMIT: Duration = Duration::from_millis(4);

/// The number of bytes that the model of the screen reads between two checks of [`BUSY_LIMIT`]. A few bytes can cost
/// milliseconds: `CSI 65535 b` repeats a character.
const PIECE_BYTES: usize = 16;

/// The length of the pause after [`BUSY_LIMIT`].
const PAUSE: Duration = Duration::from_millis(8);

/// The largest number of bytes that wait for a program that does not read its terminal. Further keystrokes are dropped.
const INPUT_MAX: usize = 256 << 10;

/// Bytes that may be the beginning of a secret are shown when no output has followed for this time.
const HELD_LIMIT: Duration = Duration::from_millis(30);

/// The time between HUP and TERM.
const HANGUP_GRACE: Duration = Duration::from_millis(300);

/// The time between TERM and KILL.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// The time limit for a killed process to exit.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The time limit for reading the rest of the output.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum PtyEvent {
    /// The screen may have changed.
    Output,
    /// The program and its children have exited. `None`: the exit status is unknown. This is the last event.
    Ended(Option<ExitStatus>),
}

pub(crate) struct InnerPty {
    pty: Pty,
    child: Child,
    /// The program has exited, or its exit cannot be observed.
    is_reaped: bool,
    status: Option<ExitStatus>,
    phase: Phase,
    /// All processes that are terminated with the program.
    tree: Tree,
    screen: Screen,
    redaction: RedactedStream,
    /// Redacted output that the model has not read yet.
    unread: Vec<u8>,
    /// The time at which held-back bytes must be shown.
    held_until: Option<Instant>,
    /// Keystrokes and answers that the program has not taken yet.
    input: Vec<u8>,
    /// A process still has the terminal open.
    is_open: bool,
    /// The time that output has taken since the last pause.
    busy: Duration,
    /// The time at which the pause of the reading ends.
    paused_until: Option<Instant>,
    buffer: Vec<u8>,
}

enum Phase {
    Running,
    Ending(JoinHandle<()>),
    Draining(Instant),
    Over,
}

/// A completed step of [`InnerPty::next`].
enum Step {
    Exited(io::Result<ExitStatus>),
    TreeEnded,
    Drained,
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    HeldTooLong,
    PauseOver,
}

impl InnerPty {
    /// Starts a program with its arguments. With `is_alone`, this worker runs no other program: together with the
    /// program, all processes below the worker and all processes with the launch marker are terminated. Must be called
    /// within the worker's runtime.
    ///
    /// # Errors
    /// If there is no pty, or the program cannot be started.
    pub(crate) fn spawn(
        context: &ProgramContext,
        command: &[String],
        env: Vec<(OsString, OsString)>,
        size: Size,
        is_alone: bool,
    ) -> io::Result<Self> {
        let (program, args) = command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let (columns, rows) = size;
        let pty = Pty::open(columns, rows)?;
        let child = pty.spawn(&ProgramSpec {
            program: program.into(),
            args: args.iter().map(OsString::from).collect(),
            env,
            cwd: context.cwd.clone(),
        })?;
        let sessions = vec![child.process];
        let tree = match is_alone {
            true => Tree {
                root: ProcessId::current().ok(),
                sessions,
                marker: context.marker.clone(),
            },
            false => Tree {
                root: Some(child.process),
                sessions,
                marker: String::new(),
            },
        };
        Ok(Self {
            pty,
            child,
            is_reaped: false,
            status: None,
            phase: Phase::Running,
            tree,
            screen: Screen::new(size),
            redaction: context.secrets.stream(),
            unread: Vec::new(),
            held_until: None,
            input: Vec::new(),
            is_open: true,
            busy: Duration::ZERO,
            paused_until: None,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// The next event. Cancel-safe. Never returns after [`PtyEvent::Ended`].
    pub(crate) async fn next(&mut self) -> PtyEvent {
        loop {
            let step = self.step().await;
            if let Some(event) = self.apply(step) {
                return event;
            }
        }
    }

    /// Waits for the next step.
    ///
    /// The branches are polled in order. Keystrokes precede output: otherwise, a program that never stops printing
    /// would never receive the ^C that must stop it. While output is unread or paused, the pty is not read. Its buffer
    /// in the kernel then fills, and the program blocks in `write`, as on a slow terminal.
    async fn step(&mut self) -> Step {
        let Self {
            pty,
            child,
            is_reaped,
            phase,
            held_until,
            input,
            is_open,
            paused_until,
            unread,
            buffer,
            ..
        } = self;
        let (is_over, may_read) = (
            matches!(phase, Phase::Over),
            *is_open && paused_until.is_none() && unread.is_empty(),
        );
        let phase_ended = async {
            match phase {
                Phase::Running | Phase::Over => pending().await,
                Phase::Ending(task) => {
                    if let Err(error) = task.await
                        && error.is_panic()
                    {
                        std::panic::resume_unwind(error.into_panic());
                    }
                    Step::TreeEnded
                }
                Phase::Draining(until) => {
                    sleep_until(Some(*until)).await;
                    Step::Drained
                }
            }
        };
        tokio::select! {
            biased;
            step = phase_ended => step,
            exited = child.wait(), if !*is_reaped && !is_over => Step::Exited(exited),
            written = pty.write(input), if !input.is_empty() && !is_over => Step::Written(written),
            () = sleep_until(*held_until) => Step::HeldTooLong,
            read = pty.read(buffer), if may_read => Step::Read(read),
            () = sleep_until(*paused_until) => Step::PauseOver,
        }
    }

    fn apply(&mut self, step: Step) -> Option<PtyEvent> {
        match step {
            Step::Exited(status) => {
                self.is_reaped = true;
                match status {
                    Ok(status) => self.status = Some(status),
                    Err(error) => tracing::warn!(%error, "cannot wait for the program"),
                }
                // A child in the background keeps the terminal open, so the output has no end while the child runs.
                // Terminate the children first; only then does the limit for the rest of the output begin.
                self.end();
                None
            }
            Step::TreeEnded => {
                self.phase = Phase::Draining(Instant::now() + DRAIN_LIMIT);
                self.drained()
            }
            Step::Drained => {
                self.is_open = false;
                self.unread.clear();
                self.drained()
            }
            Step::Read(Ok(0)) => {
                self.is_open = false;
                self.drained()
            }
            Step::Read(Ok(read)) => {
                let shown = self.redaction.bytes(&self.buffer[..read]);
                self.held_until = Some(Instant::now() + HELD_LIMIT);
                self.unread.extend_from_slice(&shown);
                self.show();
                Some(PtyEvent::Output)
            }
            Step::Read(Err(error)) => {
                tracing::warn!(%error, "cannot read the program's terminal");
                self.is_open = false;
                self.drained()
            }
            Step::Written(Ok(written)) => {
                self.input.drain(..written);
                None
            }
            Step::Written(Err(error)) => {
                tracing::debug!(%error, "cannot type into the program's terminal");
                self.input.clear();
                None
            }
            Step::HeldTooLong => {
                self.held_until = None;
                let held = self.redaction.rest();
                self.unread.extend_from_slice(&held);
                if self.paused_until.is_none() {
                    self.show();
                }
                (!held.is_empty()).then_some(PtyEvent::Output)
            }
            Step::PauseOver => {
                self.paused_until = None;
                if self.unread.is_empty() {
                    return None;
                }
                self.show();
                self.drained().or(Some(PtyEvent::Output))
            }
        }
    }

    /// Returns the last event if all processes have exited and the output is read.
    fn drained(&mut self) -> Option<PtyEvent> {
        if self.is_open || !self.unread.is_empty() || !matches!(self.phase, Phase::Draining(_)) {
            return None;
        }
        self.phase = Phase::Over;
        self.held_until = None;
        let held = self.redaction.rest();
        self.screen.feed(&held);
        Some(PtyEvent::Ended(self.status))
    }

    /// Passes output to the model until the output is read or the pause is due.
    fn show(&mut self) {
        let (began, busy) = (Instant::now(), self.busy);
        let is_due = || busy + began.elapsed() >= BUSY_LIMIT;
        let answers = feed_pieces(&mut self.screen, &mut self.unread, is_due);
        self.type_in(&answers);
        self.busy += began.elapsed();
        if self.busy >= BUSY_LIMIT || !self.unread.is_empty() {
            self.busy = Duration::ZERO;
            self.paused_until = Some(Instant::now() + PAUSE);
        }
    }

    /// Passes keystrokes to the program.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        if self.input.len() + bytes.len() <= INPUT_MAX {
            self.input.extend_from_slice(bytes);
        } else {
            tracing::debug!("dropped keystrokes: the program does not read its terminal");
        }
    }

    /// Resizes the screen. The kernel notifies the program.
    pub(crate) fn resize(&mut self, size: Size) {
        self.screen.resize(size);
        let (columns, rows) = size;
        if let Err(error) = self.pty.resize(columns, rows) {
            tracing::debug!(%error, "cannot resize the program's terminal");
        }
    }

    pub(crate) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// The process of the program, which leads the session of the pty.
    pub(crate) fn process(&self) -> ProcessId {
        self.child.process
    }

    /// Terminates the program and its children. [`PtyEvent::Ended`] follows.
    pub(crate) fn end(&mut self) {
        if let Phase::Running = self.phase {
            self.phase = Phase::Ending(tokio::spawn(end_tree(self.tree.clone())));
        }
    }
}

/// Passes pieces of `unread` to the model until the pause is due, and removes these pieces. Returns the answers to the
/// queries.
fn feed_pieces(screen: &mut Screen, unread: &mut Vec<u8>, is_due: impl Fn() -> bool) -> Vec<u8> {
    let (mut answers, mut read) = (Vec::new(), 0);
    for piece in unread.chunks(PIECE_BYTES) {
        answers.extend(screen.feed(piece));
        read += piece.len();
        if is_due() {
            break;
        }
    }
    unread.drain(..read);
    answers
}

/// Sends HUP to all processes, as a closed terminal does; then TERM, then KILL.
async fn end_tree(tree: Tree) {
    for (signal, grace) in [
        (Signal::SIGHUP, HANGUP_GRACE),
        (Signal::SIGTERM, TERM_GRACE),
    ] {
        if let Err(error) = tree.signal_all(signal) {
            tracing::warn!(%error, "cannot list the program's processes");
        }
        if tree.gone(grace).await {
            return;
        }
    }
    if let Err(error) = tree.end(KILL_LIMIT).await {
        // The supervisor terminates processes with the launch's marker before the next launch of this member.
        tracing::warn!(%error, "some processes of the program remain");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expensive_output_is_read_in_pieces_with_pauses() {
        let mut screen = Screen::new((20, 4));
        let flood = b"x\x1b[65535b".repeat(400);
        let mut unread = flood.clone();
        feed_pieces(&mut screen, &mut unread, || true);
        assert_eq!(unread, flood[PIECE_BYTES..]);
        // A sequence that is cut between two pieces has its full effect.
        let mut unread = b"\x1b[2J\x1b[H0123456789\x1b[2;5Hend\x1b[6n".to_vec();
        let answers = feed_pieces(&mut screen, &mut unread, || false);
        assert!(unread.is_empty());
        assert_eq!(screen.text(), "0123456789\n    end");
        assert_eq!(answers, b"\x1b[2;8R");
    }
}
