//! The pane of this member: its output and the user's input. Called by the worker.
//!
//! - the pane of a member with the command engine: [`Pane`]; the member's tasks use its terminal
//! - the pane of an agent: [`AgentPane`]
//! - the pane of a member with a terminal program: [`ProgramPane`]; `frame` paints the program's screen
//! - the terminal of all panes: [`Surface`]
//!
//! Between programs, the pane of a command member shows a prompt, like an agent's pane. While a task or a typed line
//! runs, the program of the task or line receives every keystroke; the text at the prompt is kept. `keyboard` separates
//! keystrokes for the prompt from keystrokes for programs. The terminal may be lost at any time; the pane then shows
//! nothing. Write errors are never reported.

mod agent;
mod attach_helper;
mod event;
mod frame;
mod keyboard;
pub(crate) mod paint;
mod program;
mod surface;
mod terminal;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use agent_team_protocol::notification::ShowPane;
use agent_team_protocol::spec::Colour;
use agent_team_protocol::{MemberName, MessageId};
use agent_team_system::history::History;
use agent_team_terminal_ui::keys::Key;
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::Theme;
use agent_team_terminal_ui::{Candidate, Names, PromptKind, Tone, TranscriptView, UserAction};
use agent_team_tools::vt::Position;

use self::event::Event;
use self::terminal::{Command, ProgramOf};
use crate::engine::{HEADLESS_SIZE, ProgramContext, Size};
use crate::link::Notice;
use crate::timer::sleep_until;

/// The byte of ^C.
const INTERRUPT: u8 = 0x03;

/// The arguments of `agent-team` that Shift-Tab runs.
const NEXT_MODE: [&str; 2] = ["mode", "next"];

pub(crate) use self::agent::{AgentEvent, AgentPane};
pub(crate) use self::program::{ProgramEvent, ProgramPane};
pub(crate) use self::surface::Surface;
pub(crate) use self::terminal::{RESET_MODES, Room};

/// The hint that appears when the user presses ^D, or ^C twice, in the member's own pane.
const HOW_TO_DETACH: &str = "to leave, detach: ^B d (in tmux; or your own prefix key, then d)";

/// The line above the first prompt.
const HINT: &str = "/help lists the keys and commands";

/// A member's pane, as its worker uses it.
pub(crate) trait MemberPane {
    fn surface(&self) -> &Surface;

    /// Returns the notification about the size of the pane: see [`Surface::size_notice`].
    fn size_notice(&mut self) -> Option<Notice>;

    /// Shows a runtime line: a line of agent-team itself, as opposed to a program's output. `text` must be free of
    /// control characters.
    fn line(&mut self, text: &str);

    /// Moves to a lent terminal; `recent` is the latest output, free of control characters. Returns the messages that
    /// the previous terminal did not show. Must be called within the worker's [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// If the terminal no longer exists; nothing has changed then.
    fn move_to(&mut self, show: &ShowPane, recent: &str) -> io::Result<Vec<MessageId>>;

    /// Continues without a terminal. Returns the messages that the lost terminal did not show.
    fn lose(&mut self) -> Vec<MessageId>;

    /// Shows the queued output and restores the terminal.
    async fn close(&mut self);
}

/// An action of the user, or the loss of the pane.
#[derive(Debug)]
pub(crate) enum PaneEvent {
    /// A shell line to run in the pane.
    Line(String),
    /// A shell line that becomes a task.
    Task(String),
    /// `agent-team` with these arguments.
    Verb(Vec<String>),
    /// Look up names to complete the prompt.
    Complete(Names),
    /// Keystrokes for the running program.
    Keys(Vec<u8>),
    /// These messages are now visible in the pane.
    Shown(Vec<MessageId>),
    Gone,
}

#[derive(Debug)]
pub(crate) struct Pane {
    member: MemberName,
    theme: Theme,
    view: PaneMode,
    /// The prompt, painted only in [`PaneMode::Prompt`].
    prompt: TranscriptView,
    /// Actions that the user entered before the current program started. The actions wait until the task or the typed
    /// line has ended.
    actions: VecDeque<UserAction>,
    /// The number of programs that were given the terminal so far, which is the id of the current or last program.
    programs: u64,
    history: Option<TypedHistory>,
    pub(crate) surface: Surface,
    /// Messages passed to the terminal that are not confirmed as visible yet.
    unconfirmed: Vec<MessageId>,
    /// The terminal is stalled, so output skips it.
    behind: bool,
}

/// The file in which entered lines are stored, without secrets.
#[derive(Debug)]
struct TypedHistory {
    file: History,
    program_context: Arc<ProgramContext>,
}

#[derive(Debug)]
enum PaneMode {
    /// The pane shows nothing: before the first connection, and while the worker exits.
    Quiet,
    Prompt,
    /// A program of a task or of a typed line has the terminal.
    Program {
        position: Position,
        /// Runtime lines that wait until they can be inserted between the program's output.
        queued: Vec<QueuedLine>,
    },
}

#[derive(Debug)]
struct QueuedLine {
    text: String,
    messages: Vec<MessageId>,
}

impl QueuedLine {
    /// Marks a gap in the terminal's output.
    fn gap() -> Self {
        Self {
            text: "… output omitted above …".into(),
            messages: Vec::new(),
        }
    }
}

impl Pane {
    pub(crate) fn on(surface: Surface, member: MemberName, theme: Theme) -> Self {
        let mut prompt = TranscriptView::new(member.clone(), theme);
        prompt.set_prompt(PromptKind::Shell);
        Self {
            member,
            theme,
            view: PaneMode::Quiet,
            prompt,
            actions: VecDeque::new(),
            programs: 0,
            history: None,
            surface,
            unconfirmed: Vec::new(),
            behind: false,
        }
    }

    /// Reads the prompt's history from this file, and adds entered lines to the file.
    pub(crate) fn with_history(
        mut self,
        file: History,
        program_context: Arc<ProgramContext>,
    ) -> Self {
        self.prompt.remember(file.read());
        self.history = Some(TypedHistory {
            file,
            program_context,
        });
        self
    }

    pub(crate) fn set_colour(&mut self, colour: Option<Colour>) {
        self.prompt.set_colour(colour);
    }

    /// Offers names for the completion of the prompt.
    pub(crate) fn offer(&mut self, names: &Names, candidates: Vec<Candidate>) {
        self.prompt.offer(names, candidates);
        self.paint(Vec::new());
    }

    /// Called after the terminal has been resized.
    pub(crate) fn resize(&mut self) {
        self.prompt.resize(self.size());
        self.paint(Vec::new());
    }

    fn size(&self) -> Size {
        self.surface.size().unwrap_or(HEADLESS_SIZE)
    }

    /// The next event. Cancel-safe. Without a terminal, returns only actions that are already queued.
    pub(crate) async fn next(&mut self) -> PaneEvent {
        loop {
            if let PaneMode::Prompt = self.view
                && let Some(action) = self.actions.pop_front()
            {
                match self.event_of(action) {
                    Some(event) => return event,
                    None => continue,
                }
            }
            let paint_at = match self.view {
                PaneMode::Prompt => self.prompt.next_paint(Instant::now()),
                PaneMode::Quiet | PaneMode::Program { .. } => None,
            };
            let event = tokio::select! {
                biased;
                event = self.surface.next() => event,
                () = sleep_until(paint_at.map(Into::into)) => {
                    self.paint(Vec::new());
                    continue;
                }
            };
            match (event, &self.view) {
                // Keys that were typed before a program started edit the text at the prompt, which is kept.
                (Event::Pressed(keys), _) => self.press(&keys),
                (Event::Typed { program, bytes }, PaneMode::Program { .. })
                    if program == self.programs =>
                {
                    if bytes.contains(&INTERRUPT) {
                        self.cancel_lines();
                    }
                    return PaneEvent::Keys(bytes);
                }
                // The program of these keystrokes has ended.
                (Event::Typed { .. }, _) | (Event::Written, _) => {}
                (Event::Shown(messages), _) => {
                    self.unconfirmed
                        .retain(|message| !messages.contains(message));
                    return PaneEvent::Shown(messages);
                }
                (Event::Gone, _) => return PaneEvent::Gone,
            }
        }
    }

    fn press(&mut self, keys: &[Key]) {
        let how_to_leave = self.surface.is_own().then_some(HOW_TO_DETACH);
        self.prompt.set_how_to_leave(how_to_leave);
        for action in self.prompt.press(keys, Instant::now()) {
            if let UserAction::CancelLines = action {
                self.cancel_lines();
            } else {
                self.actions.push_back(action);
            }
        }
        self.paint(Vec::new());
    }

    /// Cancels the lines that were typed ahead.
    fn cancel_lines(&mut self) {
        let cancelled = self.take_lines().len();
        if cancelled > 0 {
            self.line(&paint::cancelled(cancelled));
        }
    }

    /// Removes and returns the lines that were typed ahead and have not begun. They may contain secrets.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        let actions = std::mem::take(&mut self.actions).into_iter();
        let (lines, others) = actions.partition::<VecDeque<_>, _>(|action| action.line().is_some());
        self.actions = others;
        lines
            .iter()
            .filter_map(UserAction::line)
            .map(str::to_owned)
            .collect()
    }

    fn event_of(&mut self, action: UserAction) -> Option<PaneEvent> {
        if let (Some(history), Some(line)) = (&self.history, action.line()) {
            let secrets = &history.program_context.secrets;
            history.file.add(&secrets.redact(line));
        }
        Some(match action {
            UserAction::Typed(line) => PaneEvent::Line(line),
            UserAction::Task(_, line) => PaneEvent::Task(line),
            UserAction::Run(_, words) => PaneEvent::Verb(words),
            UserAction::NextMode => PaneEvent::Verb(NEXT_MODE.map(str::to_owned).into()),
            UserAction::Complete(names) => PaneEvent::Complete(names),
            UserAction::Leave if self.surface.is_own() => {
                self.line(HOW_TO_DETACH);
                return None;
            }
            UserAction::Leave => PaneEvent::Gone,
            // This pane shows no requests and no custom commands, its prompt interrupts nothing, and `press` has
            // cancelled the lines.
            UserAction::Interrupt
            | UserAction::CancelLines
            | UserAction::Decide(_)
            | UserAction::Custom(..) => return None,
        })
    }

    /// Updates the prompt on the terminal.
    fn paint(&mut self, messages: Vec<MessageId>) {
        if let PaneMode::Prompt = self.view {
            let bytes = self.prompt.paint(Instant::now());
            self.show(bytes, messages, None);
        }
    }

    /// Returns the messages that the previous terminal did not show.
    fn take_unconfirmed(&mut self) -> Vec<MessageId> {
        self.behind = false;
        std::mem::take(&mut self.unconfirmed)
    }

    /// Shows the prompt if nothing else is shown.
    pub(crate) fn open_prompt(&mut self) {
        if let PaneMode::Quiet = self.view {
            self.prompt();
        }
    }

    pub(crate) fn prompt(&mut self) {
        if !matches!(self.view, PaneMode::Prompt) {
            self.view = PaneMode::Prompt;
            self.prompt.attach(self.size());
            self.prompt.open(HINT);
            self.command(Command::Keys);
        }
        self.paint(Vec::new());
    }

    /// Shows messages. Without a terminal, returns all of them: they count as shown. With a terminal, returns no
    /// messages; they count as shown at [`PaneEvent::Shown`].
    pub(crate) fn messages(&mut self, text: &str, messages: Vec<MessageId>) -> Vec<MessageId> {
        if !self.surface.is_open() {
            return messages;
        }
        self.unconfirmed.extend(&messages);
        self.put(text, messages);
        Vec::new()
    }

    fn put(&mut self, text: &str, messages: Vec<MessageId>) {
        let lines = self.runtime_lines(text);
        let bytes = match &mut self.view {
            PaneMode::Prompt => {
                self.prompt.lines(Tone::Runtime, text);
                return self.paint(messages);
            }
            PaneMode::Quiet => format!("{lines}\r\n").into_bytes(),
            PaneMode::Program { position, queued } => {
                if !fits(position) {
                    let text = lines;
                    queued.push(QueuedLine { text, messages });
                    return;
                }
                inserted_line(position, &lines)
            }
        };
        self.show(bytes, messages, None);
    }

    /// The lines of a text, each in the style that its leading sign selects (see [`Line::runtime`]), without a newline
    /// at the end.
    fn runtime_lines(&self, text: &str) -> String {
        let lines = text
            .lines()
            .map(|line| Line::runtime(line).ansi(self.theme));
        lines.collect::<Vec<_>>().join("\r\n")
    }

    /// Hands the terminal to a task's programs.
    pub(crate) fn begin_task(&mut self, header: &str) {
        self.begin_program(header, ProgramOf::Task);
    }

    /// Hands the terminal to the program of a line that the user has typed.
    pub(crate) fn begin_line(&mut self, line: &str) {
        self.begin_program(line, ProgramOf::TypedLine);
    }

    fn begin_program(&mut self, header: &str, program_of: ProgramOf) {
        if let PaneMode::Prompt = self.view {
            let bytes = self.prompt.hide();
            self.show(bytes, Vec::new(), None);
        }
        self.view = PaneMode::Quiet;
        self.line(header);
        self.programs += 1;
        self.hand_to_program(program_of);
        self.view = PaneMode::Program {
            position: Position::default(),
            queued: Vec::new(),
        };
    }

    fn hand_to_program(&self, program_of: ProgramOf) {
        self.command(Command::Raw {
            program: self.programs,
            program_of,
        });
    }

    /// Takes the terminal back from a program that has exited.
    pub(crate) fn end_program(&mut self) {
        let PaneMode::Program { position, queued } = &mut self.view else {
            return;
        };
        let position = std::mem::take(position);
        let mut queued = std::mem::take(queued);
        if std::mem::take(&mut self.behind) {
            queued.insert(0, QueuedLine::gap());
        }
        let mut bytes = position.reset_sequence();
        if !position.at_line_start() {
            bytes.extend_from_slice(b"\r\n");
        }
        self.show(bytes, Vec::new(), None);
        self.show_queued(queued);
    }

    /// Takes the terminal back from the task or the typed line.
    pub(crate) fn end_task(&mut self) {
        self.end_program();
        self.view = PaneMode::Quiet;
    }

    /// Waits for room for the next piece of output; `None` if this piece must skip the terminal.
    pub(crate) fn room(&self) -> impl Future<Output = Option<Room>> + use<> {
        self.surface.room(self.behind)
    }

    /// Shows a program's output.
    pub(crate) fn output(&mut self, bytes: Vec<u8>, room: Option<Room>) {
        let PaneMode::Program { position, queued } = &mut self.view else {
            return;
        };
        position.follow(&bytes);
        let missed = std::mem::replace(&mut self.behind, room.is_none() && self.surface.is_open());
        if room.is_none() {
            return;
        }
        if missed && fits(position) {
            queued.insert(0, QueuedLine::gap());
        }
        let queued = if fits(position) {
            std::mem::take(queued)
        } else {
            Vec::new()
        };
        self.show(bytes, Vec::new(), room);
        self.show_queued(queued);
    }

    fn show_queued(&mut self, queued: Vec<QueuedLine>) {
        for QueuedLine { text, messages } in queued {
            if let PaneMode::Program { position, .. } = &mut self.view {
                let bytes = inserted_line(position, &text);
                self.show(bytes, messages, None);
            }
        }
    }

    fn show(&self, bytes: Vec<u8>, shown: Vec<MessageId>, room: Option<Room>) {
        self.surface.show(bytes, shown, room);
    }

    fn command(&self, command: Command) {
        self.surface.command(command);
    }
}

/// Returns whether a runtime line can be inserted at this position.
fn fits(position: &Position) -> bool {
    !position.alternate_screen && position.between_characters()
}

/// Formats a runtime line for insertion into a program's output.
fn inserted_line(position: &mut Position, text: &str) -> Vec<u8> {
    let before = if position.at_line_start() { "" } else { "\r\n" };
    let bytes = format!("{before}{text}\r\n").into_bytes();
    position.follow(&bytes);
    bytes
}

impl MemberPane for Pane {
    fn surface(&self) -> &Surface {
        &self.surface
    }

    fn size_notice(&mut self) -> Option<Notice> {
        self.surface.size_notice()
    }

    fn line(&mut self, text: &str) {
        self.put(text, Vec::new());
    }

    fn move_to(&mut self, show: &ShowPane, recent: &str) -> io::Result<Vec<MessageId>> {
        self.surface.move_to(show)?;
        let unconfirmed = self.take_unconfirmed();
        let mut recent = self.runtime_lines(recent);
        recent.push_str("\r\n");
        self.show(recent.into_bytes(), Vec::new(), None);
        match &self.view {
            PaneMode::Quiet => {}
            PaneMode::Prompt => {
                self.view = PaneMode::Quiet;
                self.prompt();
            }
            PaneMode::Program { position, .. } => {
                let full_screen = position.alternate_screen;
                self.hand_to_program(ProgramOf::TypedLine);
                if full_screen {
                    self.show(b"\x1b[?1049h".to_vec(), Vec::new(), None);
                }
            }
        }
        if let Some(line) = surface::how_to_leave(&self.member, show.attachment) {
            self.line(&line);
        }
        Ok(unconfirmed)
    }

    fn lose(&mut self) -> Vec<MessageId> {
        self.surface.lose();
        self.take_unconfirmed()
    }

    async fn close(&mut self) {
        if let PaneMode::Prompt = self.view {
            let bytes = self.prompt.leave(Instant::now());
            self.show(bytes, Vec::new(), None);
        }
        self.end_task();
        self.command(Command::Cooked);
        self.surface.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane() -> Pane {
        let mut pane = Pane::on(Surface::none(), "ada".parse().unwrap(), Theme::Dark);
        pane.begin_task("a task");
        pane
    }

    fn queued(pane: &Pane) -> usize {
        match &pane.view {
            PaneMode::Program { queued, .. } => queued.len(),
            PaneMode::Quiet | PaneMode::Prompt => 0,
        }
    }

    #[test]
    fn lines_wait_for_a_full_screen_program_to_end() {
        let mut pane = pane();
        pane.output(b"\x1b[?1049h".to_vec(), None);
        pane.line("hello");
        assert_eq!(queued(&pane), 1);
        pane.end_program();
        assert_eq!(queued(&pane), 0);
    }

    #[test]
    fn runtime_lines_start_at_a_line_start() {
        let mut position = Position::default();
        position.follow(b"Password: ");
        assert_eq!(inserted_line(&mut position, "hello"), b"\r\nhello\r\n");
        assert_eq!(inserted_line(&mut position, "again"), b"again\r\n");
    }

    #[test]
    fn messages_count_as_shown_without_a_terminal() {
        assert_eq!(pane().messages("hi", vec![MessageId(1)]), [MessageId(1)]);
    }
}
