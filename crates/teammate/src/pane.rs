//! What the person sees of this member, and what they type to it. Called by the worker.
//!
//! Between tasks the terminal edits lines at a prompt; while a task runs it is raw, and every key is the task's; while a
//! request of this member waits for somebody, one key answers it. The
//! pane is a view: it may be lost at any time, and everything here does nothing then. No write of ours can fail aloud.

mod holder;
pub(crate) mod paint;
mod terminal;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::dialog::{self, Dialog, Pressed};
use agent_team_protocol::notification::{Hold, PaneShown, ShowPane};
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};
use agent_team_protocol::{MemberName, MessageId, RequestId};
use agent_team_system::terminal::{self as tty, Tty};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::holder::Holder;
use self::paint::{Paint, Style};
use self::terminal::{Command, Event, Terminal};
use crate::engine::Size;
use crate::link::Notice;
use crate::vt::Position;

pub(crate) use self::terminal::Room;

/// How long a task waits for a terminal that takes no output, before the terminal misses some.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the person did, or what became of the pane.
#[derive(Debug)]
pub(crate) enum PaneEvent {
    /// Lines typed at the prompt, in order.
    Lines(Vec<String>),
    /// Keys for the task.
    Keys(Vec<u8>),
    /// These messages are in the pane now.
    Shown(Vec<MessageId>),
    /// One key, at a request.
    Decided(DecideRequest),
    Gone,
}

#[derive(Debug)]
pub(crate) struct Pane {
    member: MemberName,
    paint: Paint,
    view: View,
    terminal: Option<Terminal>,
    /// Handed over and not yet seen to be shown.
    unshown: Vec<MessageId>,
    /// The terminal takes nothing, and output passes it by.
    behind: bool,
    whereabouts: Whereabouts,
}

/// Where this is shown, as the supervisor is to know it.
#[derive(Debug, Clone)]
enum Whereabouts {
    /// Where it was started.
    AsStarted,
    /// On a terminal that somebody lends.
    Lent(PaneShown, Hold),
    Lost,
}

#[derive(Debug)]
enum View {
    /// Before the first connection, and on the way out.
    Quiet,
    Prompt {
        /// The beginning of a line whose end has not come: more than the terminal edits at once.
        typed: Vec<u8>,
    },
    /// A request takes the prompt's place, and every key is for it.
    Request {
        dialog: Dialog,
        /// Since when all of it is on the screen and no key has come.
        quiet: Option<Instant>,
    },
    Task {
        position: Position,
        /// Lines of ours that would land in the middle of something.
        held: Vec<Held>,
    },
}

#[derive(Debug)]
struct Held {
    text: String,
    messages: Vec<MessageId>,
}

impl Held {
    /// Where the terminal missed some output.
    fn left_out() -> Self {
        Self {
            text: "… output left out above …".into(),
            messages: Vec::new(),
        }
    }
}

impl Pane {
    /// The terminal that this process was started in, or none.
    pub(crate) fn open(member: MemberName) -> Self {
        let terminal = tty::is_terminal(std::io::stdin()).then(Tty::open);
        let terminal = terminal.and_then(|opened| {
            opened
                .and_then(|tty| Terminal::start(tty, None))
                .inspect_err(|error| tracing::warn!(%error, "the pane's terminal cannot be opened"))
                .ok()
        });
        Self {
            terminal,
            ..Self::none(member)
        }
    }

    /// No terminal.
    pub(crate) fn none(member: MemberName) -> Self {
        Self {
            member,
            paint: Paint::default(),
            view: View::Quiet,
            terminal: None,
            unshown: Vec::new(),
            behind: false,
            whereabouts: Whereabouts::AsStarted,
        }
    }

    /// Moves to a terminal that somebody lends; `recent` is what was shown last, as harmless text. Returns the messages
    /// that the terminal before never came to show. Must be called within the worker's [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When there is no such terminal any more. Nothing has changed then.
    pub(crate) fn move_to(&mut self, show: &ShowPane, recent: &str) -> io::Result<Vec<MessageId>> {
        let holder = Holder::of(show)?;
        let tty = Tty::open_path(&show.terminal)?;
        let shown = holder.shown();
        let terminal = Terminal::start(tty, Some(holder))?;
        let unshown = self.lose();
        self.terminal = Some(terminal);
        self.whereabouts = Whereabouts::Lent(shown, show.hold);
        self.show(recent.replace('\n', "\r\n").into_bytes(), Vec::new(), None);
        match &self.view {
            View::Quiet => {}
            // Who asks is asked for the request again.
            View::Prompt { .. } | View::Request { .. } => {
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
        if show.hold != Hold::Pane {
            self.line(&format!(
                "{} is here until ^\\ (Control and backslash)",
                self.member
            ));
        }
        Ok(unshown)
    }

    /// What the supervisor is to be told of where this is shown; `None` when that is where it was started.
    pub(crate) fn whereabouts(&self) -> Option<Notice> {
        match &self.whereabouts {
            Whereabouts::AsStarted => None,
            Whereabouts::Lent(shown, _) => Some(Notice::PaneShown(shown.clone())),
            Whereabouts::Lost => Some(Notice::PaneLost),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.terminal.is_some()
    }

    pub(crate) fn size(&self) -> Option<Size> {
        self.terminal.as_ref().and_then(Terminal::size)
    }

    pub(crate) fn set_paint(&mut self, paint: Paint) {
        self.paint = paint;
    }

    /// The next event. Safe to cancel. Never returns without a terminal.
    pub(crate) async fn next(&mut self) -> PaneEvent {
        loop {
            let Some(terminal) = &mut self.terminal else {
                return std::future::pending().await;
            };
            match (terminal.next().await, &mut self.view) {
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
                    self.line("to leave this pane, detach: the prefix key, then d (in tmux: ^B d)");
                }
                (Event::Typed(keys), View::Request { dialog, quiet }) => {
                    let quiet_for = quiet.as_ref().map(Instant::elapsed);
                    match dialog.pressed(&keys, quiet_for) {
                        Pressed::Decided(decide) => {
                            self.end_request(decide.request);
                            return PaneEvent::Decided(decide);
                        }
                        Pressed::Later => {
                            let request = dialog.request();
                            self.end_request(request);
                            self.line(&format!("{request} goes on waiting: agent-team requests"));
                        }
                        // Who is still typing what they began before is not answering.
                        Pressed::Nothing => *quiet = quiet.map(|_| Instant::now()),
                    }
                }
                (Event::Raw, View::Request { quiet, .. }) => *quiet = Some(Instant::now()),
                (Event::Raw, View::Quiet | View::Prompt { .. } | View::Task { .. })
                | (Event::Typed(_), View::Quiet)
                | (Event::EndOfInput, View::Quiet | View::Request { .. } | View::Task { .. }) => {}
                (Event::Shown(messages), _) => {
                    self.unshown.retain(|message| !messages.contains(message));
                    return PaneEvent::Shown(messages);
                }
                (Event::Gone, _) => return PaneEvent::Gone,
            }
        }
    }

    /// Whether it is the member's own, rather than a person's terminal for a while.
    pub(crate) fn is_own(&self) -> bool {
        !matches!(
            self.whereabouts,
            Whereabouts::Lent(_, Hold::Attached | Hold::ReadOnly)
        )
    }

    /// Goes on without a terminal. Returns the messages that it never came to show.
    pub(crate) fn lose(&mut self) -> Vec<MessageId> {
        if let Some(terminal) = self.terminal.take() {
            terminal.abandon();
        }
        self.behind = false;
        self.whereabouts = Whereabouts::Lost;
        std::mem::take(&mut self.unshown)
    }

    /// Shows the prompt where there is nothing else.
    pub(crate) fn open_prompt(&mut self) {
        if let View::Quiet = self.view {
            self.prompt();
        }
    }

    /// Shows the prompt again, or for the first time.
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

    /// After ^C: the terminal has dropped the line that was being typed.
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
        let prompt = match &self.view {
            View::Request { dialog, .. } => dialog.prompt(),
            View::Quiet | View::Prompt { .. } | View::Task { .. } => format!("{} ▸ ", self.member),
        };
        self.paint.accent(&prompt)
    }

    /// Asks about this request in the prompt's place. What was typed there and not sent is dropped.
    pub(crate) fn ask(&mut self, view: RequestView) {
        if self.terminal.is_none() {
            return;
        }
        let text = self.paint.styled(Style::Accent, &dialog::text(&view));
        let text = text.replace('\n', "\r\n");
        self.view = View::Request {
            dialog: Dialog::of(view, Channel::Pane),
            quiet: None,
        };
        let bytes = self.above_prompt(&text);
        self.show(bytes, Vec::new(), None);
        self.command(Command::Raw);
    }

    /// Nobody needs to answer it any more.
    pub(crate) fn end_request(&mut self, request: RequestId) {
        if matches!(&self.view, View::Request { dialog, .. } if dialog.request() == request) {
            self.command(Command::Cooked);
            self.prompt();
        }
    }

    /// Shows one line of ours; `text` is harmless already.
    pub(crate) fn line(&mut self, text: &str) {
        self.put(text, Vec::new());
    }

    /// Shows messages, each as a line. They count as shown when [`PaneEvent::Shown`] says so; without a terminal they
    /// are returned, since there is nothing to wait for.
    pub(crate) fn messages(&mut self, text: &str, messages: Vec<MessageId>) -> Vec<MessageId> {
        if self.terminal.is_none() {
            return messages;
        }
        self.unshown.extend(&messages);
        self.put(text, messages);
        Vec::new()
    }

    fn put(&mut self, text: &str, messages: Vec<MessageId>) {
        let text = self.paint.accent(text).replace('\n', "\r\n");
        let bytes = match &mut self.view {
            View::Quiet | View::Prompt { .. } | View::Request { .. } => self.above_prompt(&text),
            View::Task { position, held } => {
                if !fits(position) {
                    held.push(Held { text, messages });
                    return;
                }
                between(position, &text)
            }
        };
        self.show(bytes, messages, None);
    }

    fn above_prompt(&self, text: &str) -> Vec<u8> {
        match self.view {
            View::Prompt { .. } | View::Request { .. } => {
                format!("\r\x1b[K{text}\r\n{}", self.prompt_text()).into_bytes()
            }
            View::Quiet | View::Task { .. } => format!("{text}\r\n").into_bytes(),
        }
    }

    /// Shows whole lines of what a thinking member says and does; `text` is harmless already. Without room they pass
    /// the terminal by.
    pub(crate) fn lines(&mut self, style: Style, text: &str, room: Option<Room>) {
        let missed = std::mem::replace(&mut self.behind, room.is_none() && self.terminal.is_some());
        if room.is_none() {
            return;
        }
        let mut text = self.paint.styled(style, text).replace('\n', "\r\n");
        if missed {
            text.insert_str(0, "… output left out above …\r\n");
        }
        let bytes = self.above_prompt(&text);
        self.show(bytes, Vec::new(), room);
    }

    /// Gives the terminal to a task's programs.
    pub(crate) fn begin_task(&mut self, header: &str) {
        self.view = View::Quiet;
        self.show(b"\r\x1b[K".to_vec(), Vec::new(), None);
        self.line(header);
        self.command(Command::Raw);
        self.view = View::Task {
            position: Position::default(),
            held: Vec::new(),
        };
    }

    /// Takes the terminal back from one of the task's programs, which has ended.
    pub(crate) fn end_program(&mut self) {
        let View::Task { position, held } = &mut self.view else {
            return;
        };
        let position = std::mem::take(position);
        let mut held = std::mem::take(held);
        if std::mem::take(&mut self.behind) {
            held.insert(0, Held::left_out());
        }
        let mut bytes = position.reset_sequence();
        if !position.at_line_start() {
            bytes.extend_from_slice(b"\r\n");
        }
        self.show(bytes, Vec::new(), None);
        self.show_held(held);
    }

    /// Takes the terminal back from the task.
    pub(crate) fn end_task(&mut self) {
        self.end_program();
        self.command(Command::Cooked);
        self.view = View::Quiet;
    }

    /// What the next piece of output needs first; `None` when it is to pass the terminal by.
    pub(crate) fn room(&self) -> impl Future<Output = Option<Room>> + use<> {
        let terminal = self.terminal.as_ref();
        let room = terminal.map(|terminal| Arc::clone(&terminal.room));
        let behind = self.behind;
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

    /// Shows what a program printed.
    pub(crate) fn output(&mut self, bytes: Vec<u8>, room: Option<Room>) {
        let View::Task { position, held } = &mut self.view else {
            return;
        };
        position.follow(&bytes);
        let missed = std::mem::replace(&mut self.behind, room.is_none() && self.terminal.is_some());
        if room.is_none() {
            return;
        }
        if missed && fits(position) {
            held.insert(0, Held::left_out());
        }
        let held = if fits(position) {
            std::mem::take(held)
        } else {
            Vec::new()
        };
        self.show(bytes, Vec::new(), room);
        self.show_held(held);
    }

    fn show_held(&mut self, held: Vec<Held>) {
        for Held { text, messages } in held {
            if let View::Task { position, .. } = &mut self.view {
                let bytes = between(position, &text);
                self.show(bytes, messages, None);
            }
        }
    }

    fn show(&self, bytes: Vec<u8>, shown: Vec<MessageId>, room: Option<Room>) {
        self.command(Command::Show { bytes, shown, room });
    }

    fn command(&self, command: Command) {
        if let Some(terminal) = &self.terminal {
            // A terminal that has just gone says so itself.
            let _gone = terminal.commands.send(command);
        }
    }

    /// Shows what is still on its way, and gives the terminal back as it was.
    pub(crate) async fn close(&mut self) {
        self.end_task();
        if let Some(terminal) = self.terminal.take() {
            terminal.close().await;
        }
    }
}

/// Whether a line of ours may be put where a program has left the terminal.
fn fits(position: &Position) -> bool {
    !position.alternate_screen && position.between_characters()
}

/// A line of ours amid a program's output.
fn between(position: &mut Position, text: &str) -> Vec<u8> {
    let before = if position.at_line_start() { "" } else { "\r\n" };
    let bytes = format!("{before}{text}\r\n").into_bytes();
    position.follow(&bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane() -> Pane {
        Pane {
            member: "ada".parse().unwrap(),
            paint: Paint::default(),
            view: View::Task {
                position: Position::default(),
                held: Vec::new(),
            },
            terminal: None,
            unshown: Vec::new(),
            behind: false,
            whereabouts: Whereabouts::AsStarted,
        }
    }

    fn held(pane: &Pane) -> usize {
        match &pane.view {
            View::Task { held, .. } => held.len(),
            View::Quiet | View::Prompt { .. } | View::Request { .. } => 0,
        }
    }

    #[test]
    fn a_line_of_ours_waits_for_the_end_of_a_full_screen_program() {
        let mut pane = pane();
        pane.output(b"\x1b[?1049h".to_vec(), None);
        pane.line("hello");
        assert_eq!(held(&pane), 1);
        pane.end_program();
        assert_eq!(held(&pane), 0);
    }

    #[test]
    fn a_line_of_ours_starts_where_a_line_starts() {
        let mut position = Position::default();
        position.follow(b"Password: ");
        assert_eq!(between(&mut position, "hello"), b"\r\nhello\r\n");
        assert_eq!(between(&mut position, "again"), b"again\r\n");
    }

    #[test]
    fn messages_count_at_once_where_there_is_no_terminal() {
        assert_eq!(pane().messages("hi", vec![MessageId(1)]), [MessageId(1)]);
    }
}
