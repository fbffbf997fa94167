//! The pane of a member with a terminal program: frames of the program's screen on a [`Surface`], and the keystrokes for
//! the program. Called by the worker and by `terminal_program`.
//!
//! Frames are written one at a time. Output that arrives meanwhile is in the next frame, so a flood of output on a slow
//! terminal costs frames, not memory. Messages and runtime lines appear as a notice over the last rows; they are never
//! typed into the program. After some time, a keystroke removes the notice.

use std::io;
use std::time::{Duration, Instant};

use agent_team_protocol::notification::{Attachment, ShowPane};
use agent_team_protocol::{MemberName, MessageId};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::{Style, Theme};

use super::MemberPane;
use super::event::Event;
use super::frame::Painter;
use super::surface::{Surface, how_to_leave};
use super::terminal::{Command, RESET_SCREEN};
use crate::engine::{HEADLESS_SIZE, Size};
use crate::inner_pty::screen::Screen;
use crate::link::Notice;
use crate::timer::sleep_until;

/// The minimum interval between two frames.
const FRAME: Duration = Duration::from_millis(16);

/// The largest number of rows of a notice.
const NOTICE_ROWS: usize = 6;

/// A keystroke removes a notice only after this time: the user may be typing when the notice appears.
const NOTICE_LEAST: Duration = Duration::from_secs(3);

/// A notice disappears after this time.
const NOTICE_MOST: Duration = Duration::from_secs(60);

/// An action of the user, or the loss of the pane.
#[derive(Debug)]
pub(crate) enum ProgramEvent {
    /// Keystrokes for the program.
    Keys(Vec<u8>),
    /// A frame is due.
    Frame,
    /// These messages are now visible in the pane.
    Shown(Vec<MessageId>),
    Gone,
}

#[derive(Debug)]
pub(crate) struct ProgramPane {
    member: MemberName,
    theme: Theme,
    pub(crate) surface: Surface,
    /// `None` before the program starts and after its end: lines are then printed without a frame.
    painter: Option<Painter>,
    /// The latest rows of the notice, and the time at which the notice appeared. Further rows do not extend the time of
    /// the notice, so that a member cannot cover the program permanently with messages.
    notice: Option<(String, Instant)>,
    /// The screen or the notice has changed since the last frame.
    is_changed: bool,
    /// A frame is being written.
    painting: bool,
    next_frame: Instant,
    /// Messages of the notice that no frame has shown yet.
    unpainted: Vec<MessageId>,
    /// Messages passed to the terminal that are not confirmed as visible yet.
    unconfirmed: Vec<MessageId>,
}

impl ProgramPane {
    pub(crate) fn on(surface: Surface, member: MemberName, theme: Theme) -> Self {
        Self {
            member,
            theme,
            surface,
            painter: None,
            notice: None,
            is_changed: false,
            painting: false,
            next_frame: Instant::now(),
            unpainted: Vec::new(),
            unconfirmed: Vec::new(),
        }
    }

    /// Whether a program has the terminal.
    pub(super) fn shows_program(&self) -> bool {
        self.painter.is_some()
    }

    /// Hands the terminal to the program.
    pub(crate) fn begin_program(&mut self) {
        self.painter = Some(Painter::new(true));
        self.is_changed = true;
        // This pane received no confirmation of the last frame of an earlier program.
        self.painting = false;
        self.surface.command(Command::Screen);
    }

    /// Takes the terminal back from the program, which has ended. If the last screen is the main screen, it stays
    /// visible.
    pub(crate) fn end_program(&mut self, screen: &Screen) {
        // Messages that no frame has shown are printed after the program's screen.
        let unpainted = std::mem::take(&mut self.unpainted);
        let notice = self.notice.take().filter(|_| !unpainted.is_empty());
        self.paint(screen);
        self.painter = None;
        let mut bytes = Vec::new();
        if !screen.modes().alternate_screen {
            let (_, rows) = screen.size();
            bytes.extend_from_slice(format!("\x1b[{rows};1H").as_bytes());
        }
        bytes.extend_from_slice(RESET_SCREEN);
        self.surface.show(bytes, Vec::new(), None);
        self.surface.command(Command::Cooked);
        self.unpainted = unpainted;
        if let Some((text, _)) = notice {
            self.line(&text);
        }
    }

    /// Called when the program's screen may have changed.
    pub(crate) fn change(&mut self) {
        self.is_changed = true;
    }

    /// Called after the terminal has been resized.
    pub(crate) fn resize(&mut self) {
        if let Some(painter) = &mut self.painter {
            painter.resized();
        }
        self.is_changed = true;
    }

    /// The size of the terminal; `None` without one.
    pub(crate) fn size(&self) -> Option<Size> {
        self.surface.size()
    }

    /// Shows messages. Without a terminal, returns all of them: they count as shown. With a terminal, returns no
    /// messages; they count as shown at [`ProgramEvent::Shown`].
    pub(crate) fn messages(&mut self, text: &str, messages: Vec<MessageId>) -> Vec<MessageId> {
        if !self.surface.is_open() {
            return messages;
        }
        self.unconfirmed.extend(&messages);
        self.unpainted.extend(messages);
        self.line(text);
        Vec::new()
    }

    /// The next event. Cancel-safe. Never returns without a terminal.
    pub(crate) async fn next(&mut self) -> ProgramEvent {
        loop {
            let frame_at = self.frame_at();
            let event = tokio::select! {
                biased;
                event = self.surface.next() => event,
                () = sleep_until(frame_at.map(Into::into)) => return ProgramEvent::Frame,
            };
            match event {
                Event::Typed { bytes, .. } => {
                    self.dismiss_notice(NOTICE_LEAST);
                    return ProgramEvent::Keys(bytes);
                }
                Event::Written => self.painting = false,
                Event::Shown(messages) => {
                    self.unconfirmed.retain(|it| !messages.contains(it));
                    return ProgramEvent::Shown(messages);
                }
                // This pane has no prompt.
                Event::Pressed(_) => {}
                Event::Gone => return ProgramEvent::Gone,
            }
        }
    }

    fn frame_at(&self) -> Option<Instant> {
        if self.painting || !self.surface.is_open() || self.painter.is_none() {
            return None;
        }
        if self.is_changed {
            return Some(self.next_frame);
        }
        self.notice.as_ref().map(|(_, since)| *since + NOTICE_MOST)
    }

    fn dismiss_notice(&mut self, least: Duration) {
        if !self.unpainted.is_empty() {
            return;
        }
        let is_old = |(_, since): &(String, Instant)| since.elapsed() >= least;
        if self.notice.as_ref().is_some_and(is_old) {
            self.notice = None;
            self.is_changed = true;
        }
    }

    /// Shows the changes since the previous frame.
    pub(crate) fn paint(&mut self, screen: &Screen) {
        self.dismiss_notice(NOTICE_MOST);
        let (columns, _) = self.size().unwrap_or(HEADLESS_SIZE);
        let notice = match &self.notice {
            Some((text, _)) => notice_rows(text, columns.into()),
            None => Vec::new(),
        };
        let Some(painter) = &mut self.painter else {
            return;
        };
        let bytes = painter.frame(screen, notice);
        let messages = std::mem::take(&mut self.unpainted);
        self.surface.show(bytes, messages, None);
        self.surface.command(Command::Confirm);
        self.is_changed = false;
        self.painting = self.surface.is_open();
        self.next_frame = Instant::now() + FRAME;
    }

    /// Begins to paint on the current terminal of the surface.
    fn take_terminal(&mut self, attachment: Attachment) {
        self.painting = false;
        self.is_changed = true;
        if self.painter.is_none() {
            return;
        }
        // If the user has attached the terminal, its history belongs to the user.
        let is_pane = attachment == Attachment::Pane;
        self.painter = Some(Painter::new(is_pane));
        if !is_pane {
            let (_, rows) = self.size().unwrap_or(HEADLESS_SIZE);
            let blank = "\r\n".repeat(rows.into());
            self.surface.show(blank.into_bytes(), Vec::new(), None);
        }
        self.surface.command(Command::Screen);
    }
}

/// The last rows of a notice, in reverse video.
fn notice_rows(text: &str, columns: usize) -> Vec<String> {
    // Cut the lines: a wrapped row would not name the sender of its message.
    let rows = text
        .lines()
        .map(|line| Line::of(Style::PLAIN, line).cut(columns));
    let rows: Vec<String> = rows
        .map(|row| {
            let blanks = " ".repeat(columns.saturating_sub(row.width()));
            format!("\x1b[7m{}{blanks}", row.text())
        })
        .collect();
    let first = rows.len().saturating_sub(NOTICE_ROWS);
    rows.into_iter().skip(first).collect()
}

impl MemberPane for ProgramPane {
    fn surface(&self) -> &Surface {
        &self.surface
    }

    fn size_notice(&mut self) -> Option<Notice> {
        self.surface.size_notice()
    }

    fn line(&mut self, text: &str) {
        if self.painter.is_none() {
            let lines = text
                .lines()
                .map(|line| Line::runtime(line).ansi(self.theme) + "\r\n");
            let messages = std::mem::take(&mut self.unpainted);
            let bytes = lines.collect::<String>().into_bytes();
            return self.surface.show(bytes, messages, None);
        }
        let (mut notice, since) = match self.notice.take() {
            Some((before, since)) => (format!("{before}\n{text}"), since),
            None => (text.to_owned(), Instant::now()),
        };
        // Only the last rows are shown.
        let lines: Vec<&str> = notice.lines().collect();
        let first = lines.len().saturating_sub(NOTICE_ROWS);
        notice = lines[first..].join("\n");
        self.notice = Some((notice, since));
        self.is_changed = true;
    }

    /// Moves to a lent terminal, which shows the program's screen instead of `recent`.
    fn move_to(&mut self, show: &ShowPane, _recent: &str) -> io::Result<Vec<MessageId>> {
        self.surface.move_to(show)?;
        let unconfirmed = self.take_unconfirmed();
        self.take_terminal(show.attachment);
        if let Some(line) = how_to_leave(&self.member, show.attachment) {
            self.line(&line);
        }
        Ok(unconfirmed)
    }

    fn lose(&mut self) -> Vec<MessageId> {
        self.surface.lose();
        self.painting = false;
        self.take_unconfirmed()
    }

    async fn close(&mut self) {
        self.surface.command(Command::Cooked);
        self.surface.close().await;
    }
}

impl ProgramPane {
    /// Returns the messages that the previous terminal did not show.
    fn take_unconfirmed(&mut self) -> Vec<MessageId> {
        self.unpainted.clear();
        std::mem::take(&mut self.unconfirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane() -> ProgramPane {
        let mut pane = ProgramPane::on(Surface::none(), "ada".parse().unwrap(), Theme::Dark);
        pane.begin_program();
        pane
    }

    #[test]
    fn each_row_of_a_notice_is_a_line_with_its_sender() {
        let long = format!("✉ eve: {}1. Yes", " ".repeat(40));
        let rows = notice_rows(&long, 30);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].starts_with("\x1b[7m✉ eve:"), "{rows:?}");
    }

    #[test]
    fn further_lines_do_not_extend_the_time_of_a_notice() {
        let mut pane = pane();
        pane.line("one");
        let since = pane.notice.as_ref().unwrap().1;
        std::thread::sleep(Duration::from_millis(1));
        pane.line("two");
        assert_eq!(pane.notice, Some(("one\ntwo".to_owned(), since)));
    }

    #[test]
    fn a_second_program_does_not_wait_for_a_frame_of_the_first() {
        let mut pane = pane();
        pane.end_program(&Screen::new((20, 4)));
        // The confirmation of the last frame has been lost.
        pane.painting = true;
        pane.begin_program();
        assert!(pane.is_changed);
        assert!(!pane.painting, "the first frame is due");
    }

    #[test]
    fn a_notice_stays_until_a_frame_has_shown_its_messages() {
        let mut pane = pane();
        pane.line("✉ you: hi");
        pane.unpainted.push(MessageId(1));
        pane.dismiss_notice(Duration::ZERO);
        assert!(pane.notice.is_some());
        pane.paint(&Screen::new((20, 4)));
        pane.dismiss_notice(Duration::ZERO);
        assert!(pane.notice.is_none());
    }
}
