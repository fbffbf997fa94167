//! An agent's pane: the [`TranscriptView`] on a [`Surface`]. Called by the worker and by `agent`.
//!
//! The pane receives every keystroke unedited. It writes a frame when something has changed: one frame at a time, at
//! least 50 ms after the previous frame. While nothing changes, the pane sets no timer.
//!
//! While an external agent runs in its own terminal interface, the pane shows the screen of the agent's program, and
//! the program receives every keystroke: see [`ProgramPane`].

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_team_client::command_file::CalledCommand;
use agent_team_protocol::notification::ShowPane;
use agent_team_protocol::request::DecideRequest;
use agent_team_protocol::{MemberName, MessageId};
use agent_team_system::history::History;
use agent_team_terminal_ui::keys::Key;
use agent_team_terminal_ui::style::Theme;
use agent_team_terminal_ui::{Names, Tone, TranscriptView, UserAction};

use super::event::Event;
use super::program::{ProgramEvent, ProgramPane};
use super::surface::{Surface, how_to_leave};
use super::terminal::Command;
use super::{HOW_TO_DETACH, MemberPane, NEXT_MODE};
use crate::engine::{ProgramContext, Size};
use crate::inner_pty::screen::Screen;
use crate::link::Notice;
use crate::timer::sleep_until;

/// The minimum interval between two frames.
const FRAME: Duration = Duration::from_millis(50);

/// The assumed size of a terminal that does not report one.
const SIZE: Size = (80, 24);

/// An action of the user, or the loss of the pane.
#[derive(Debug)]
pub(crate) enum AgentEvent {
    /// A message to the member.
    Message(String),
    /// `agent-team` with these arguments.
    Verb(Vec<String>),
    /// A slash command that is not a verb of the command line.
    Custom(CalledCommand),
    /// Interrupt the current turn.
    Interrupt,
    /// Look up names to complete the prompt.
    Complete(Names),
    /// A decision on a request.
    Decided(DecideRequest),
    /// Keystrokes for the agent's own program.
    Keys(Vec<u8>),
    /// A frame of the screen of the agent's own program is due.
    Frame,
    Gone,
}

#[derive(Debug)]
pub(crate) struct AgentPane {
    member: MemberName,
    /// Contains the terminal. Shows the agent's own program while it runs.
    program: ProgramPane,
    pub(crate) view: TranscriptView,
    history: History,
    /// Contains the secrets to redact.
    program_context: Arc<ProgramContext>,
    actions: VecDeque<UserAction>,
    /// A frame is being written.
    painting: bool,
    next_frame: Instant,
}

impl AgentPane {
    pub(crate) fn on(
        surface: Surface,
        member: MemberName,
        theme: Theme,
        history: History,
        program_context: Arc<ProgramContext>,
    ) -> Self {
        let mut view = TranscriptView::new(member.clone(), theme);
        view.remember(history.read());
        let mut pane = Self {
            program: ProgramPane::on(surface, member.clone(), theme),
            member,
            view,
            history,
            program_context,
            actions: VecDeque::new(),
            painting: false,
            next_frame: Instant::now(),
        };
        if pane.surface().is_open() {
            pane.begin();
        } else {
            pane.view.detach();
        }
        pane
    }

    fn begin(&mut self) {
        self.painting = false;
        self.view.attach(self.size());
        self.program.surface.command(Command::Keys);
    }

    /// Hands the terminal to the agent's own program.
    pub(crate) fn begin_program(&mut self) {
        self.view.detach();
        self.program.begin_program();
    }

    /// Takes the terminal back from the agent's own program, which has ended.
    pub(crate) fn end_program(&mut self, screen: &Screen) {
        self.program.end_program(screen);
        if self.surface().is_open() {
            self.begin();
        }
    }

    /// Called when the screen of the agent's own program may have changed.
    pub(crate) fn change_program(&mut self) {
        self.program.change();
    }

    /// Shows the changes of the screen of the agent's own program.
    pub(crate) fn paint_program(&mut self, screen: &Screen) {
        self.program.paint(screen);
    }

    /// Called after the terminal has been resized.
    pub(crate) fn resize(&mut self) {
        match self.program.shows_program() {
            true => self.program.resize(),
            false => self.view.resize(self.size()),
        }
    }

    fn size(&self) -> Size {
        self.surface().size().unwrap_or(SIZE)
    }

    /// The next event. Cancel-safe. Never returns without a terminal.
    pub(crate) async fn next(&mut self) -> AgentEvent {
        loop {
            if self.program.shows_program() {
                match self.program.next().await {
                    ProgramEvent::Keys(keys) => return AgentEvent::Keys(keys),
                    ProgramEvent::Frame => return AgentEvent::Frame,
                    ProgramEvent::Gone => return AgentEvent::Gone,
                    // The program shows no messages of the team.
                    ProgramEvent::Shown(_) => continue,
                }
            }
            if let Some(action) = self.actions.pop_front() {
                match self.event_of(action) {
                    Some(event) => return event,
                    None => continue,
                }
            }
            let frame_at = self.frame_at();
            tokio::select! {
                biased;
                event = self.program.surface.next() => if let Some(event) = self.event(event) {
                    return event;
                },
                () = sleep_until(frame_at.map(Into::into)) => self.paint(),
            }
        }
    }

    fn frame_at(&self) -> Option<Instant> {
        if self.painting || !self.surface().is_open() {
            return None;
        }
        let wanted = self.view.next_paint(Instant::now());
        wanted.map(|at| at.max(self.next_frame))
    }

    fn event(&mut self, event: Event) -> Option<AgentEvent> {
        match event {
            Event::Pressed(keys) => self.press(&keys),
            Event::Written => {
                self.painting = false;
                self.view.was_painted(Instant::now());
            }
            // The output of an agent's pane contains no messages to confirm, and no program has its terminal.
            Event::Shown(_) | Event::Typed { .. } => {}
            Event::Gone => return Some(AgentEvent::Gone),
        }
        None
    }

    fn press(&mut self, keys: &[Key]) {
        let how_to_leave = self.surface().is_own().then_some(HOW_TO_DETACH);
        self.view.set_how_to_leave(how_to_leave);
        self.actions.extend(self.view.press(keys, Instant::now()));
    }

    fn event_of(&mut self, action: UserAction) -> Option<AgentEvent> {
        Some(match action {
            UserAction::Typed(text) => {
                self.add_to_history(&text);
                AgentEvent::Message(text)
            }
            UserAction::Run(typed, words) => {
                self.add_to_history(&typed);
                AgentEvent::Verb(words)
            }
            UserAction::Custom(typed, name, words) => {
                self.add_to_history(&typed);
                AgentEvent::Custom(CalledCommand { typed, name, words })
            }
            // This action does not occur: only a prompt for shell lines creates tasks.
            UserAction::Task(typed, line) => {
                self.add_to_history(&typed);
                AgentEvent::Verb(["task", "add", &line].map(str::to_owned).to_vec())
            }
            UserAction::Interrupt => AgentEvent::Interrupt,
            // No lines wait in this pane: messages are sent at once.
            UserAction::CancelLines => return None,
            UserAction::Complete(names) => AgentEvent::Complete(names),
            UserAction::Decide(decide) => AgentEvent::Decided(decide),
            UserAction::NextMode => AgentEvent::Verb(NEXT_MODE.map(str::to_owned).into()),
            UserAction::Leave if self.surface().is_own() => {
                self.view.lines(Tone::Runtime, HOW_TO_DETACH);
                return None;
            }
            UserAction::Leave => AgentEvent::Gone,
        })
    }

    fn add_to_history(&self, typed: &str) {
        self.history
            .add(&self.program_context.secrets.redact(typed));
    }

    fn paint(&mut self) {
        let now = Instant::now();
        let bytes = self.view.paint(now);
        self.next_frame = now + FRAME;
        self.painting = true;
        self.program.surface.show(bytes, Vec::new(), None);
        self.program.surface.command(Command::Confirm);
    }
}

impl MemberPane for AgentPane {
    fn surface(&self) -> &Surface {
        &self.program.surface
    }

    fn size_notice(&mut self) -> Option<Notice> {
        self.program.surface.size_notice()
    }

    fn line(&mut self, text: &str) {
        self.view.lines(Tone::Runtime, text);
        if self.program.shows_program() {
            self.program.line(text);
        }
    }

    fn move_to(&mut self, show: &ShowPane, recent: &str) -> io::Result<Vec<MessageId>> {
        if self.program.shows_program() {
            return self.program.move_to(show, recent);
        }
        self.program.surface.move_to(show)?;
        self.begin();
        self.view.log(recent, true);
        if let Some(line) = how_to_leave(&self.member, show.attachment) {
            self.view.lines(Tone::Runtime, &line);
        }
        Ok(Vec::new())
    }

    fn lose(&mut self) -> Vec<MessageId> {
        self.view.detach();
        self.program.lose()
    }

    async fn close(&mut self) {
        if !self.program.shows_program() {
            let bytes = self.view.leave(Instant::now());
            self.program.surface.show(bytes, Vec::new(), None);
        }
        self.program.surface.close().await;
    }
}
