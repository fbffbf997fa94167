//! The work of a member whose engine shows a terminal program. Called by the worker.
//!
//! ```text
//! not started ── connected ──► running on the inner pty ── exited ──► over: the exit status is reported
//!                                        └── stopped: HUP, TERM, KILL ──► over
//! ```
//! The program knows nothing of the team. The member takes no tasks. Messages to the member are logged and shown in the
//! pane, and then count as read. Only the user's keystrokes are typed into the program.
//!
//! The log contains the rows that have left the main screen, and the last screen. A program that draws the whole screen
//! itself leaves only its last screen in the log.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::initialize::Welcome;
use agent_team_protocol::method::{MessageRead, ReadMessages};
use agent_team_protocol::notification::{
    Abandon, Assignment, Deliver, MemberScreen, ShowPane, TaskSession,
};
use agent_team_protocol::spec::ExternalAgent;
use agent_team_protocol::text::{visible_label, visible_line};
use agent_team_protocol::{MessageId, Refusal};
use agent_team_tools::program::describe_exit;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::agent::external::NESTED;
use crate::engine::{Claim, HEADLESS_SIZE, ProgramContext, Size};
use crate::inner_pty::{InnerPty, PtyEvent};
use crate::link::{Notice, Request, Ticket};
use crate::pane::{MemberPane, ProgramEvent, ProgramPane, paint};
use crate::timer::sleep_until;
use crate::typed::ActionResult;
use crate::worker::{ExitReport, Stop, Work};

type WorkerState = crate::worker::WorkerState<ProgramPane>;

/// The largest length of the program's name in a line, in characters.
const NAME: usize = 60;

/// The time between two screens that are sent to the supervisor.
const SCREEN_PAUSE: Duration = Duration::from_millis(250);

/// The largest size of the rows of a screen that are sent, in bytes. Further rows are left out.
const SCREEN_BYTES: usize = 256 << 10;

pub(crate) struct TerminalProgram {
    /// The program and its arguments.
    command: Vec<String>,
    /// Variables in addition to the member's variables.
    env: Vec<(OsString, OsString)>,
    /// The program's name in lines for the user.
    name: String,
    member: String,
    state: State,
    /// The size of the last terminal that showed the program.
    size: Size,
    /// The number of past rows of the screen that are in the log.
    logged: usize,
    /// The time at which the screen must be sent to the supervisor.
    screen_at: Option<Instant>,
    /// The permit for sending a screen. Without a connection, only one screen waits.
    screen_slot: Arc<Semaphore>,
    /// Messages that are being shown or acknowledged. They may be delivered again meanwhile.
    in_progress: BTreeSet<MessageId>,
    acknowledged: HashMap<Ticket, Vec<MessageId>>,
}

enum State {
    NotStarted,
    Running(Box<InnerPty>),
    Over,
}

pub(crate) enum Event {
    Pty(PtyEvent),
    Pane(ProgramEvent),
    SendScreen,
}

impl TerminalProgram {
    /// Creates the work. If the path of the program is relative, the program is in the project.
    pub(crate) fn new(spec: &ExternalAgent, member: &str, project: &Path) -> Self {
        let mut command = spec.command.clone();
        if let Some(program) = command.first_mut()
            && program.contains('/')
        {
            *program = project.join(&*program).to_string_lossy().into_owned();
        }
        let env = spec.env.iter();
        Self {
            command,
            env: env
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            name: visible_label(&spec.name, NAME),
            member: member.to_owned(),
            state: State::NotStarted,
            size: HEADLESS_SIZE,
            logged: 0,
            screen_at: None,
            screen_slot: Arc::new(Semaphore::new(1)),
            in_progress: BTreeSet::new(),
            acknowledged: HashMap::new(),
        }
    }

    fn begin(&mut self, worker: &mut WorkerState) {
        let name = &self.name;
        worker.announce(&format!("── {name}"));
        self.size = worker.pane.size().unwrap_or(self.size);
        let context = &worker.config.program_context;
        let env = environment(context, &self.env);
        match InnerPty::spawn(context, &self.command, env, self.size, true) {
            Ok(pty) => {
                if !worker.pane.surface().is_open() {
                    let member = &self.member;
                    worker.announce(&format!(
                        "… no pane shows {name}: agent-team attach {member}"
                    ));
                }
                self.state = State::Running(Box::new(pty));
                self.report_session(worker);
                self.screen_at = Some(Instant::now());
                worker.pane.begin_program();
            }
            Err(error) => {
                self.state = State::Over;
                let report = cannot_start(name, &error);
                worker.announce(&format!("✗ {}", report.reason));
                worker.ended(Some(report));
            }
        }
    }

    fn report_session(&self, worker: &WorkerState) {
        if let State::Running(pty) = &self.state {
            let leader = pty.process();
            worker.config.link.notify(Notice::Session(TaskSession {
                task: None,
                pid: leader.pid,
                start_time: leader.start_time,
            }));
        }
    }

    fn pty_event(&mut self, event: PtyEvent, worker: &mut WorkerState) {
        match event {
            PtyEvent::Output => {
                self.screen_at.get_or_insert(Instant::now() + SCREEN_PAUSE);
                worker.pane.change();
                self.log_past(worker);
            }
            PtyEvent::Ended(status) => self.ended(status, worker),
        }
    }

    /// Sends the screen to the supervisor, for clients that show it.
    fn send_screen(&mut self, worker: &WorkerState) {
        self.screen_at = None;
        let State::Running(pty) = &self.state else {
            return;
        };
        let Ok(slot) = Arc::clone(&self.screen_slot).try_acquire_owned() else {
            self.screen_at = Some(Instant::now() + SCREEN_PAUSE);
            return;
        };
        let (columns, rows) = pty.screen().size();
        let mut bytes = 0;
        let mut lines = pty.screen().rows();
        lines.retain(|line| {
            bytes += line.len();
            bytes <= SCREEN_BYTES
        });
        let screen = MemberScreen {
            columns,
            rows,
            lines,
        };
        worker.config.link.notify(Notice::Screen(screen, slot));
    }

    /// Logs the rows that have left the screen.
    fn log_past(&mut self, worker: &mut WorkerState) {
        let State::Running(pty) = &self.state else {
            return;
        };
        let screen = pty.screen();
        let text: String = screen
            .past_text_since(self.logged)
            .flat_map(|row| [row, "\n"])
            .collect();
        self.logged = screen.past_rows();
        log(&text, worker);
    }

    fn ended(&mut self, status: Option<ExitStatus>, worker: &mut WorkerState) {
        self.log_past(worker);
        let State::Running(pty) = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let screen = pty.screen();
        let text = screen.text();
        if !text.is_empty() {
            log(&(text + "\n"), worker);
        }
        worker.pane.end_program(screen);
        if !worker.life.is_working() {
            return worker.ended(None);
        }
        let report = exited(&self.name, status);
        let sign = if report.code == 0 { '✓' } else { '✗' };
        worker.announce(&format!("{sign} {}", report.reason));
        worker.ended(Some(report));
    }

    fn pane_event(&mut self, event: ProgramEvent, worker: &mut WorkerState) {
        match (event, &mut self.state) {
            (ProgramEvent::Keys(keys), State::Running(pty)) => pty.type_in(&keys),
            (ProgramEvent::Frame, State::Running(pty)) => worker.pane.paint(pty.screen()),
            (ProgramEvent::Keys(_) | ProgramEvent::Frame, State::NotStarted | State::Over) => {}
            (ProgramEvent::Shown(messages), _) => self.acknowledge(messages, worker),
            (ProgramEvent::Gone, _) => self.lose_pane(worker),
        }
    }

    fn acknowledge(&mut self, messages: Vec<MessageId>, worker: &mut WorkerState) {
        if !messages.is_empty() {
            let request = Request::of::<MessageRead>(&ReadMessages {
                messages: messages.clone(),
            });
            let ticket = worker.config.link.request(request);
            self.acknowledged.insert(ticket, messages);
        }
    }

    fn end_program(&mut self) {
        if let State::Running(pty) = &mut self.state {
            pty.end();
        }
    }
}

/// Logs and streams text of the program's screen, without secrets.
fn log(text: &str, worker: &mut WorkerState) {
    let text = worker.config.program_context.secrets.redact(text);
    // The log reports its own write errors; the program continues.
    let _logged = worker.config.log.append(&text);
    worker.add_output(&text);
}

/// The member's environment with these variables. Omits [`NESTED`] variables: if the team was started inside another
/// vendor's agent, the program would act as a part of that agent.
fn environment(
    context: &ProgramContext,
    added: &[(OsString, OsString)],
) -> Vec<(OsString, OsString)> {
    let is_nested = |name: &OsString| {
        let name = name.to_string_lossy();
        NESTED.iter().any(|prefix| name.starts_with(prefix))
    };
    let is_added = |name: &OsString| added.iter().any(|(ours, _)| ours == name);
    let kept = context.env.iter();
    let kept = kept.filter(|(name, _)| !is_nested(name) && !is_added(name));
    kept.chain(added).cloned().collect()
}

fn cannot_start(name: &str, error: &io::Error) -> ExitReport {
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    let code = if is_missing {
        ExitCode::NotFound
    } else {
        ExitCode::Failed
    };
    ExitReport {
        code: code as u8,
        reason: format!("cannot start {name}: {}", visible_line(&error.to_string())),
        hold: true,
    }
}

/// A program that fails is restarted with a pause; a member whose program succeeds is stopped.
fn exited(name: &str, status: Option<ExitStatus>) -> ExitReport {
    let (code, reason) = match status {
        Some(status) if status.success() => (0, format!("{name} has exited")),
        Some(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            let code = code.unwrap_or(ExitCode::Failed as u8);
            (
                code,
                format!("{name} has failed: {}", describe_exit(status)),
            )
        }
        None => (
            ExitCode::Failed as u8,
            format!("{name} has ended with an unknown status"),
        ),
    };
    ExitReport {
        code,
        reason,
        hold: false,
    }
}

impl Work for TerminalProgram {
    type Pane = ProgramPane;
    type Event = Event;

    async fn next(&mut self, pane: &mut ProgramPane) -> Event {
        let screen_at = self.screen_at;
        let pty_event = async {
            match &mut self.state {
                State::Running(pty) => pty.next().await,
                State::NotStarted | State::Over => std::future::pending().await,
            }
        };
        // The order matters: keystrokes and frames must precede the output of a program that floods its terminal.
        tokio::select! {
            biased;
            event = pane.next() => Event::Pane(event),
            () = sleep_until(screen_at) => Event::SendScreen,
            event = pty_event => Event::Pty(event),
        }
    }

    fn apply(&mut self, event: Event, worker: &mut WorkerState) {
        match event {
            Event::Pty(event) => self.pty_event(event, worker),
            Event::Pane(event) => self.pane_event(event, worker),
            Event::SendScreen => self.send_screen(worker),
        }
    }

    fn welcomed(&mut self, _welcome: &Welcome, worker: &mut WorkerState) {
        match &self.state {
            State::NotStarted if worker.life.is_working() => self.begin(worker),
            State::Running(_) => {
                self.report_session(worker);
                self.screen_at = Some(Instant::now());
            }
            State::NotStarted | State::Over => {}
        }
    }

    /// Returns no claim: the member takes no tasks.
    fn claim(&self) -> Option<Claim> {
        None
    }

    fn is_reported(&self, _claim: Claim) -> bool {
        false
    }

    fn start(&mut self, _assignment: Assignment, _worker: &mut WorkerState) {}

    fn abandon(&mut self, _abandon: Abandon, _worker: &mut WorkerState) {}

    fn lose_claim(&mut self, _worker: &mut WorkerState) {}

    /// Writes messages to the log and the pane. A message counts as read when it is logged and the pane, if any, has
    /// shown it.
    fn deliver(&mut self, deliver: Deliver, worker: &mut WorkerState) {
        for message in deliver.messages {
            // Skip a repeated delivery: the message still waits for the pane, or its acknowledgement is in flight.
            if !self.in_progress.insert(message.id) {
                continue;
            }
            let text = paint::message_over(&message, &self.name);
            if worker.config.log.line(&text).is_err() {
                // A message that is not in the log does not count as read. The supervisor delivers it again.
                self.in_progress.remove(&message.id);
                continue;
            }
            let read = worker.pane.messages(&text, vec![message.id]);
            self.acknowledge(read, worker);
        }
    }

    fn answered(
        &mut self,
        ticket: Ticket,
        _outcome: Result<Box<RawValue>, Refusal>,
        _worker: &mut WorkerState,
    ) {
        for message in self.acknowledged.remove(&ticket).unwrap_or_default() {
            self.in_progress.remove(&message);
        }
    }

    /// Does nothing: the pane has no prompt, so the user causes no action there.
    fn acted(&mut self, _result: ActionResult, _worker: &mut WorkerState) {}

    fn show(&mut self, show: &ShowPane, worker: &mut WorkerState) {
        let unconfirmed = worker.move_pane(show);
        self.acknowledge(unconfirmed, worker);
        self.resize(worker);
    }

    fn lose_pane(&mut self, worker: &mut WorkerState) {
        let unconfirmed = worker.lose_pane();
        self.acknowledge(unconfirmed, worker);
    }

    fn resize(&mut self, worker: &mut WorkerState) {
        let Some(size) = worker.pane.size().filter(|size| *size != self.size) else {
            return;
        };
        self.size = size;
        worker.pane.resize();
        if let State::Running(pty) = &mut self.state {
            pty.resize(size);
        }
    }

    fn is_busy(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Terminates the program at once: the program has no work that it could finish.
    fn stop(&mut self, _stop: &Stop<'_>, _worker: &mut WorkerState) -> Option<Instant> {
        self.end_program();
        None
    }

    fn end(&mut self, _why: &str, _worker: &mut WorkerState) -> bool {
        self.end_program();
        !self.is_busy()
    }

    async fn close(&mut self) {
        self.end_program();
        if let State::Running(pty) = &mut self.state {
            while !matches!(pty.next().await, PtyEvent::Ended(_)) {}
        }
    }
}
