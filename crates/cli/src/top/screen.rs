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

/// The sequences that enter the alternate screen, enable bracketed paste and mouse reports (see [`MOUSE_ON`]), and hide
/// the cursor. `LEAVE` reverses them.
const ENTER: &[&str] = &["\x1b[?1049h\x1b[?2004h\x1b[?25l", MOUSE_ON];
const LEAVE: &[u8] = b"\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?1049l\x1b[?25h";

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

/// The screen. Dropping this value restores the terminal.
pub(super) struct Screen {
    terminal: Terminal,
    renderer: ratatui::Terminal<CrosstermBackend<Bytes>>,
    frame_bytes: Bytes,
}

impl Screen {
    /// Enters raw mode and the alternate screen. Must be called within a tokio runtime.
    pub(super) fn enter() -> io::Result<Self> {
        let terminal = Terminal::enter(ENTER.concat().as_bytes(), LEAVE)?;
        let (columns, rows) = terminal.size();
        let frame_bytes = Bytes::default();
        // crossterm would drop colours because of NO_COLOR; the theme has already decided whether to use colours.
        style::force_color_output(true);
        let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
        let backend = CrosstermBackend::new(frame_bytes.clone());
        let renderer = ratatui::Terminal::with_options(backend, TerminalOptions { viewport })?;
        Ok(Self {
            terminal,
            renderer,
            frame_bytes,
        })
    }

    /// Draws a frame that fills the terminal, and starts to write it.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let (columns, rows) = self.terminal.size();
        let area = Rect::new(0, 0, columns, rows);
        if self.renderer.get_frame().area() != area {
            self.renderer.resize(area)?;
        }
        self.renderer.draw(draw)?;
        self.terminal.write(&self.frame_bytes.0.take());
        Ok(())
    }

    /// Whether the last frame is written completely.
    pub(super) fn is_written(&self) -> bool {
        self.terminal.is_written()
    }

    /// The next event of the terminal. Cancel-safe.
    pub(super) async fn next(&mut self) -> TerminalEvent {
        self.terminal.next().await
    }
}

#[cfg(test)]
mod tests {
    use agent_team_terminal_ui::keys::MOUSE_OFF;

    use super::*;

    #[test]
    fn leaving_disables_each_enabled_mode() {
        let (enter, leave) = (ENTER.concat(), String::from_utf8_lossy(LEAVE));
        assert!(leave.contains(MOUSE_OFF));
        let modes = enter
            .split("\x1b[?")
            .filter_map(|mode| mode.strip_suffix('h'));
        let modes: Vec<_> = modes.collect();
        assert_eq!(modes, ["1049", "2004", "1000", "1006"]);
        for mode in modes {
            assert!(leave.contains(&format!("\x1b[?{mode}l")), "{mode}");
        }
    }
}
