//! The worker's side of an external agent in its own terminal interface: the program on the inner pty, and its frames in
//! the pane. Called by `agent`; the loop asks for the start and the end of the program, see `external/terminal`.
//!
//! The program survives its pane. Its keystrokes come only from the user.

use std::process::ExitStatus;

use agent_team_protocol::notification::TaskSession;
use agent_team_protocol::text::visible_line;
use agent_team_tools::program::describe_exit;
use tokio::sync::{mpsc, watch};

use super::external::keystrokes::Keystrokes;
use super::external::terminal::{StartedProgram, TerminalRequest};
use crate::engine::{HEADLESS_SIZE, Size};
use crate::inner_pty::{InnerPty, PtyEvent};
use crate::link::Notice;
use crate::pane::{AgentPane, MemberPane};

type WorkerState = crate::worker::WorkerState<AgentPane>;

pub(super) struct OwnTerminal {
    requests: mpsc::UnboundedReceiver<TerminalRequest>,
    running: Option<Running>,
    keystrokes: Keystrokes,
    /// The size of the last terminal that showed the program.
    size: Size,
}

struct Running {
    pty: Box<InnerPty>,
    /// `None` while the program runs; then the reason of its end.
    ended: watch::Sender<Option<String>>,
}

pub(crate) enum TerminalEvent {
    Requested(TerminalRequest),
    Pty(PtyEvent),
}

impl OwnTerminal {
    pub(super) fn new(
        requests: mpsc::UnboundedReceiver<TerminalRequest>,
        keystrokes: Keystrokes,
    ) -> Self {
        Self {
            requests,
            running: None,
            keystrokes,
            size: HEADLESS_SIZE,
        }
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> TerminalEvent {
        let Self {
            requests, running, ..
        } = self;
        let pty = async {
            match running {
                Some(running) => running.pty.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(request) = requests.recv() => TerminalEvent::Requested(request),
            event = pty => TerminalEvent::Pty(event),
        }
    }

    pub(super) fn apply(&mut self, event: TerminalEvent, worker: &mut WorkerState) {
        match event {
            TerminalEvent::Requested(TerminalRequest::Start {
                command,
                env,
                is_alone,
                started,
            }) => {
                self.size = worker.pane.surface().size().unwrap_or(self.size);
                let context = &worker.config.program_context;
                let spawned = InnerPty::spawn(context, &command, env, self.size, is_alone);
                // Without a receiver, the loop has ended.
                let _ended = started.send(spawned.map(|pty| self.began(pty, worker)));
            }
            // The request may arrive late, when the next program already runs.
            TerminalEvent::Requested(TerminalRequest::End(process)) => {
                let running = self.running.as_ref();
                if running.is_some_and(|running| running.pty.process() == process) {
                    self.end();
                }
            }
            TerminalEvent::Pty(PtyEvent::Output) => worker.pane.change_program(),
            TerminalEvent::Pty(PtyEvent::Ended(status)) => self.ended(status, worker),
        }
    }

    fn began(&mut self, pty: InnerPty, worker: &mut WorkerState) -> StartedProgram {
        let (sender, ended) = watch::channel(None);
        let process = pty.process();
        self.running = Some(Running {
            pty: Box::new(pty),
            ended: sender,
        });
        self.report_session(worker);
        worker.pane.begin_program();
        StartedProgram { process, ended }
    }

    /// Reports the process session of the program to the supervisor.
    pub(super) fn report_session(&self, worker: &WorkerState) {
        if let Some(running) = &self.running {
            let leader = running.pty.process();
            worker.config.link.notify(Notice::Session(TaskSession {
                task: None,
                pid: leader.pid,
                start_time: leader.start_time,
            }));
        }
    }

    fn ended(&mut self, status: Option<ExitStatus>, worker: &mut WorkerState) {
        let Some(running) = self.running.take() else {
            return;
        };
        let screen = running.pty.screen();
        worker.pane.end_program(screen);
        let status = status.map_or("unknown status".to_owned(), describe_exit);
        // If the program could not start, its last row contains the reason.
        let text = worker
            .config
            .program_context
            .secrets
            .redact(&screen.text())
            .into_owned();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        let last = last.map(|line| format!(": {}", visible_line(line.trim())));
        let reason = format!("{status}{}", last.unwrap_or_default());
        running.ended.send_replace(Some(reason));
    }

    /// Passes keystrokes of the user to the program.
    pub(super) fn type_in(&mut self, keys: &[u8]) {
        if let Some(running) = &mut self.running {
            // Record the keystrokes before the program can act on them.
            self.keystrokes.typed();
            running.pty.type_in(keys);
        }
    }

    pub(super) fn paint(&self, worker: &mut WorkerState) {
        if let Some(running) = &self.running {
            worker.pane.paint_program(running.pty.screen());
        }
    }

    pub(super) fn resize(&mut self, worker: &mut WorkerState) {
        let Some(size) = worker
            .pane
            .surface()
            .size()
            .filter(|size| *size != self.size)
        else {
            return;
        };
        self.size = size;
        if let Some(running) = &mut self.running {
            running.pty.resize(size);
        }
    }

    /// Terminates the program. An event reports its exit.
    pub(super) fn end(&mut self) {
        if let Some(running) = &mut self.running {
            running.pty.end();
        }
    }

    /// Terminates the program, and waits for its exit.
    pub(super) async fn close(&mut self) {
        self.requests.close();
        self.end();
        if let Some(running) = &mut self.running {
            while !matches!(running.pty.next().await, PtyEvent::Ended(_)) {}
        }
    }
}
