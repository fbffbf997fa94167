//! The screen of `top`: draws frames in memory with ratatui and writes them to the [`Terminal`], one at a time. Used by
//! [`super`].

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use agent_team_terminal_ui::keys::MOUSE_ON;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::style;
use ratatui::layout::Rect;
use ratatui::{Frame, TerminalOptions, Viewport};

use crate::terminal::{Terminal, TerminalEvent};

/// Enter and leave the alternate screen, with bracketed paste, a hidden cursor, and reports of the mouse (see
/// [`MOUSE_ON`]).
const BEGIN: &[&str] = &["\x1b[?1049h\x1b[?2004h\x1b[?25l", MOUSE_ON];
const END: &[u8] = b"\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?1049l\x1b[?25h";

/// The buffer that ratatui writes a frame to.
#[derive(Debug, Clone, Default)]
struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The screen. Dropping it restores the terminal.
pub(super) struct Screen {
    terminal: Terminal,
    frames: ratatui::Terminal<CrosstermBackend<Bytes>>,
    frame: Bytes,
}

impl Screen {
    /// Enters raw mode and the alternate screen. Must be called within a tokio runtime.
    pub(super) fn enter() -> io::Result<Self> {
        let terminal = Terminal::enter(BEGIN.concat().as_bytes(), END)?;
        let (columns, rows) = terminal.size();
        let frame = Bytes::default();
        // crossterm would drop colours because of NO_COLOR; the theme has already decided whether to use colours.
        style::force_color_output(true);
        let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
        let backend = CrosstermBackend::new(frame.clone());
        let frames = ratatui::Terminal::with_options(backend, TerminalOptions { viewport })?;
        Ok(Self {
            terminal,
            frames,
            frame,
        })
    }

    /// Draws a frame in the size of the terminal and starts to write it.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let (columns, rows) = self.terminal.size();
        let area = Rect::new(0, 0, columns, rows);
        if self.frames.get_frame().area() != area {
            self.frames.resize(area)?;
        }
        self.frames.draw(draw)?;
        self.terminal.write(&self.frame.0.take());
        Ok(())
    }

    /// Whether the last frame is written completely.
    pub(super) fn is_written(&self) -> bool {
        self.terminal.is_written()
    }

    /// Cancellation-safe.
    pub(super) async fn next(&mut self) -> TerminalEvent {
        self.terminal.next().await
    }
}

#[cfg(test)]
mod tests {
    use agent_team_terminal_ui::keys::MOUSE_OFF;

    use super::*;

    #[test]
    fn the_end_turns_off_what_the_beginning_turned_on() {
        let (begin, end) = (BEGIN.concat(), String::from_utf8_lossy(END));
        assert!(end.contains(MOUSE_OFF));
        let modes = begin
            .split("\x1b[?")
            .filter_map(|mode| mode.strip_suffix('h'));
        let modes: Vec<_> = modes.collect();
        assert_eq!(modes, ["1049", "2004", "1000", "1006"]);
        for mode in modes {
            assert!(end.contains(&format!("\x1b[?{mode}l")), "{mode}");
        }
    }
}
