//! The pane of this member: its output and the user's input. Called by the worker.
//!
//! - the pane of a member with the command engine: [`Pane`]; the member's tasks use its terminal
//! - the pane of an agent: [`AgentPane`]
//! - the terminal of both panes: [`Surface`]
//!
//! Between tasks the terminal edits lines at a prompt. While a task runs, the terminal is raw and every keystroke goes
//! to the task. The pane may be lost at any time; its methods then do nothing. Write errors are never reported.

mod agent;
pub(crate) mod paint;
mod surface;
mod terminal;
mod terminal_lender;

use std::io;

use agent_team_protocol::notification::ShowPane;
use agent_team_protocol::spec::Colour;
use agent_team_protocol::{MemberName, MessageId};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Ink, Style, Theme};
use agent_team_tools::vt::Position;

use self::terminal::{Command, Event};

pub(crate) use self::agent::{AgentEvent, AgentPane};
pub(crate) use self::surface::Surface;
pub(crate) use self::terminal::Room;

/// Shown when the user sends EOF in a pane.
const HOW_TO_DETACH: &str = "to leave this pane, detach: the prefix key, then d (in tmux: ^B d)";

/// A member's pane, as its worker uses it.
pub(crate) trait MemberPane {
    fn surface(&self) -> &Surface;

    /// Shows one line of the runtime. `text` must be free of control characters.
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
    /// Lines typed at the prompt, in order.
    Lines(Vec<String>),
    /// Keystrokes for the task.
    Keys(Vec<u8>),
    /// These messages are now visible in the pane.
    Shown(Vec<MessageId>),
    Gone,
}

#[derive(Debug)]
pub(crate) struct Pane {
    member: MemberName,
    theme: Theme,
    /// The member's colour. `None` before the first connection.
    colour: Option<Colour>,
    view: View,
    pub(crate) surface: Surface,
    /// Messages passed to the terminal that are not confirmed as visible yet.
    unconfirmed: Vec<MessageId>,
    /// The terminal is stalled, so output skips it.
    behind: bool,
}

#[derive(Debug)]
enum View {
    /// Before the first connection, and while exiting.
    Quiet,
    Prompt {
        /// The beginning of an incomplete line: it is longer than the terminal's line buffer.
        typed: Vec<u8>,
    },
    Task {
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
        Self {
            member,
            theme,
            colour: None,
            view: View::Quiet,
            surface,
            unconfirmed: Vec::new(),
            behind: false,
        }
    }

    pub(crate) fn set_colour(&mut self, colour: Option<Colour>) {
        self.colour = colour;
    }

    /// The next event. Cancel-safe. Never returns without a terminal.
    pub(crate) async fn next(&mut self) -> PaneEvent {
        loop {
            match (self.surface.next().await, &mut self.view) {
                (Event::Typed(bytes), View::Prompt { typed }) => {
                    typed.extend_from_slice(&bytes);
                    if typed.ends_with(b"\n") {
                        let lines = String::from_utf8_lossy(typed);
                        let lines = lines.lines().map(str::to_owned).collect();
                        typed.clear();
                        return PaneEvent::Lines(lines);
                    }
                }
                (Event::Typed(bytes), View::Task { .. }) => return PaneEvent::Keys(bytes),
                (Event::EndOfInput, View::Prompt { .. }) => {
                    self.line(HOW_TO_DETACH);
                }
                (Event::Typed(_), View::Quiet)
                | (Event::EndOfInput, View::Quiet | View::Task { .. })
                | (Event::Written, _) => {}
                (Event::Shown(messages), _) => {
                    self.unconfirmed
                        .retain(|message| !messages.contains(message));
                    return PaneEvent::Shown(messages);
                }
                (Event::Gone, _) => return PaneEvent::Gone,
            }
        }
    }

    /// Returns the messages that the previous terminal did not show.
    fn take_unconfirmed(&mut self) -> Vec<MessageId> {
        self.behind = false;
        std::mem::take(&mut self.unconfirmed)
    }

    /// Shows the prompt if nothing else is shown.
    pub(crate) fn open_prompt(&mut self) {
        if let View::Quiet = self.view {
            self.prompt();
        }
    }

    /// Shows the prompt.
    pub(crate) fn prompt(&mut self) {
        if !matches!(self.view, View::Prompt { .. }) {
            self.view = View::Prompt { typed: Vec::new() };
        }
        self.show(
            format!("\r\x1b[K{}", self.prompt_text()).into_bytes(),
            Vec::new(),
            None,
        );
    }

    /// Shows a new prompt after ^C: the terminal has discarded the line that was being typed.
    pub(crate) fn interrupt(&mut self) {
        if let View::Prompt { typed } = &mut self.view {
            typed.clear();
            self.show(
                format!("\r\n{}", self.prompt_text()).into_bytes(),
                Vec::new(),
                None,
            );
        }
    }

    fn prompt_text(&self) -> String {
        let ink = self.colour.map_or(Ink::Plain, Ink::Member);
        let prompt = format!("{} ▸ ", self.member);
        self.theme.paint(Style::of(ink), &prompt)
    }

    /// Shows messages, each as a line. They count as shown at [`PaneEvent::Shown`]. Without a terminal they are
    /// returned at once.
    pub(crate) fn messages(&mut self, text: &str, messages: Vec<MessageId>) -> Vec<MessageId> {
        if !self.surface.is_open() {
            return messages;
        }
        self.unconfirmed.extend(&messages);
        self.put(text, messages);
        Vec::new()
    }

    fn put(&mut self, text: &str, messages: Vec<MessageId>) {
        let text = self.runtime_lines(text);
        let bytes = match &mut self.view {
            View::Quiet | View::Prompt { .. } => self.above_prompt(&text),
            View::Task { position, queued } => {
                if !fits(position) {
                    queued.push(QueuedLine { text, messages });
                    return;
                }
                inserted_line(position, &text)
            }
        };
        self.show(bytes, messages, None);
    }

    /// The lines of a text, each in the style of its sign, without a newline at the end.
    fn runtime_lines(&self, text: &str) -> String {
        let lines = text
            .lines()
            .map(|line| Line::runtime(line).ansi(self.theme));
        lines.collect::<Vec<_>>().join("\r\n")
    }

    fn above_prompt(&self, text: &str) -> Vec<u8> {
        match self.view {
            View::Prompt { .. } => format!("\r\x1b[K{text}\r\n{}", self.prompt_text()).into_bytes(),
            View::Quiet | View::Task { .. } => format!("{text}\r\n").into_bytes(),
        }
    }

    /// Hands the terminal to a task's programs.
    pub(crate) fn begin_task(&mut self, header: &str) {
        self.view = View::Quiet;
        self.show(b"\r\x1b[K".to_vec(), Vec::new(), None);
        self.line(header);
        self.command(Command::Raw);
        self.view = View::Task {
            position: Position::default(),
            queued: Vec::new(),
        };
    }

    /// Takes the terminal back from a program of the task, which has exited.
    pub(crate) fn end_program(&mut self) {
        let View::Task { position, queued } = &mut self.view else {
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

    /// Takes the terminal back from the task.
    pub(crate) fn end_task(&mut self) {
        self.end_program();
        self.command(Command::Cooked);
        self.view = View::Quiet;
    }

    /// Waits for room for the next piece of output; `None` if it must skip the terminal.
    pub(crate) fn room(&self) -> impl Future<Output = Option<Room>> + use<> {
        self.surface.room(self.behind)
    }

    /// Shows a program's output.
    pub(crate) fn output(&mut self, bytes: Vec<u8>, room: Option<Room>) {
        let View::Task { position, queued } = &mut self.view else {
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
            if let View::Task { position, .. } = &mut self.view {
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

/// Returns whether a line of the runtime can be inserted at this position.
fn fits(position: &Position) -> bool {
    !position.alternate_screen && position.between_characters()
}

/// Formats a line of the runtime for insertion into a program's output.
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
            View::Quiet => {}
            View::Prompt { .. } => {
                self.view = View::Quiet;
                self.prompt();
            }
            View::Task { position, .. } => {
                let full_screen = position.alternate_screen;
                self.command(Command::Raw);
                if full_screen {
                    self.show(b"\x1b[?1049h".to_vec(), Vec::new(), None);
                }
            }
        }
        if let Some(line) = surface::how_to_leave(&self.member, show.hold) {
            self.line(&line);
        }
        Ok(unconfirmed)
    }

    fn lose(&mut self) -> Vec<MessageId> {
        self.surface.lose();
        self.take_unconfirmed()
    }

    async fn close(&mut self) {
        self.end_task();
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
            View::Task { queued, .. } => queued.len(),
            View::Quiet | View::Prompt { .. } => 0,
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
