//! The screen that `top` draws on: frames are made in memory, and go to the [`Terminal`] one at a time. Used by [`super`].

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::style;
use ratatui::layout::Rect;
use ratatui::{Frame, TerminalOptions, Viewport};

use crate::terminal::{Happened, Terminal};

/// The other screen, without a cursor, on which what is pasted comes marked; and the person's own again.
const BEGIN: &[u8] = b"\x1b[?1049h\x1b[?2004h\x1b[?25l";
const END: &[u8] = b"\x1b[?2004l\x1b[?1049l\x1b[?25h";

/// What a frame is made of.
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

/// See the module. Dropping it restores the terminal.
pub(super) struct Screen {
    terminal: Terminal,
    frames: ratatui::Terminal<CrosstermBackend<Bytes>>,
    frame: Bytes,
}

impl Screen {
    /// Takes the terminal over. Must be called within a tokio runtime.
    pub(super) fn enter() -> io::Result<Self> {
        let terminal = Terminal::enter(BEGIN, END)?;
        let (columns, rows) = terminal.size();
        let frame = Bytes::default();
        // Ours is the decision, and it is made already.
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

    /// Makes a frame of the terminal's size and sends it on its way.
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

    /// Whether the last frame is on the terminal.
    pub(super) fn is_written(&self) -> bool {
        self.terminal.is_written()
    }

    /// Safe to cancel.
    pub(super) async fn next(&mut self) -> Happened {
        self.terminal.next().await
    }
}
