//! The pane of a member that thinks: the [`TranscriptView`] on a [`Surface`]. Called by the agent's loop.
//!
//! Every key comes here as it is typed. A frame is written when something changed, one at a time, and no sooner than
//! 50 ms after the one before; at rest nothing wakes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_team_protocol::MemberName;
use agent_team_protocol::notification::ShowPane;
use agent_team_protocol::request::DecideRequest;
use agent_team_system::history::History;
use agent_team_terminal_ui::keys::{Key, REST_OF_KEY, Reader};
use agent_team_terminal_ui::{Act, Tone, TranscriptView};

use super::HOW_TO_DETACH;
use super::surface::{Surface, how_to_leave};
use super::terminal::{Command, Event};
use crate::engine::{Place, Size};
use crate::sleep_until;

/// Between two frames, at least.
const FRAME: Duration = Duration::from_millis(50);

/// What a terminal is that does not say.
const SIZE: Size = (80, 24);

/// What the person wants, or what became of the pane.
#[derive(Debug)]
pub(crate) enum AgentEvent {
    /// A message to the member.
    Said(String),
    /// `agent-team` with these arguments.
    Verb(Vec<String>),
    /// One key, at a request.
    Decided(DecideRequest),
    Gone,
}

#[derive(Debug)]
pub(crate) struct AgentPane {
    member: MemberName,
    pub(crate) surface: Surface,
    pub(crate) view: TranscriptView,
    history: History,
    /// Knows the secrets.
    place: Arc<Place>,
    typed: Reader,
    /// When what was typed last is settled.
    settled_at: Option<Instant>,
    acts: VecDeque<Act>,
    /// A frame is on its way.
    painting: bool,
    next_frame: Instant,
}

impl AgentPane {
    pub(crate) fn on(
        surface: Surface,
        member: MemberName,
        colours: bool,
        history: History,
        place: Arc<Place>,
    ) -> Self {
        let mut view = TranscriptView::new(member.clone(), colours);
        view.remember(history.read());
        let mut pane = Self {
            member,
            surface,
            view,
            history,
            place,
            typed: Reader::default(),
            settled_at: None,
            acts: VecDeque::new(),
            painting: false,
            next_frame: Instant::now(),
        };
        if pane.surface.is_open() {
            pane.begin();
        } else {
            pane.view.lost();
        }
        pane
    }

    /// Moves to a terminal that somebody lends; `recent` is what was shown last. Must be called within the worker's
    /// [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When there is no such terminal any more. Nothing has changed then.
    pub(crate) fn move_to(&mut self, show: &ShowPane, recent: &str) -> io::Result<()> {
        self.surface.move_to(show)?;
        self.begin();
        self.view.lines(Tone::Plain, recent);
        if let Some(line) = how_to_leave(&self.member, show.hold) {
            self.view.lines(Tone::Accent, &line);
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.painting = false;
        self.typed = Reader::default();
        self.view.moved(self.size());
        self.surface.command(Command::Keys);
    }

    /// Goes on without a terminal.
    pub(crate) fn lose(&mut self) {
        self.surface.lose();
        self.view.lost();
    }

    /// The terminal has another size.
    pub(crate) fn fit(&mut self) {
        self.view.fit(self.size());
    }

    fn size(&self) -> Size {
        self.surface.size().unwrap_or(SIZE)
    }

    /// The next event. Safe to cancel. Never returns without a terminal.
    pub(crate) async fn next(&mut self) -> AgentEvent {
        loop {
            if let Some(act) = self.acts.pop_front() {
                match self.acted(act) {
                    Some(event) => return event,
                    None => continue,
                }
            }
            let frame_at = self.frame_at();
            let settled_at = self.settled_at;
            tokio::select! {
                biased;
                event = self.surface.next() => if let Some(event) = self.event(event) {
                    return event;
                },
                () = sleep_until(settled_at.map(Into::into)) => {
                    let keys = self.typed.settle();
                    self.press(&keys);
                }
                () = sleep_until(frame_at.map(Into::into)) => self.paint(),
            }
        }
    }

    fn frame_at(&self) -> Option<Instant> {
        if self.painting || !self.surface.is_open() {
            return None;
        }
        let wanted = self.view.next_paint(Instant::now());
        wanted.map(|at| at.max(self.next_frame))
    }

    fn event(&mut self, event: Event) -> Option<AgentEvent> {
        match event {
            Event::Typed(bytes) => {
                let keys = self.typed.read(&bytes);
                self.press(&keys);
            }
            Event::Written => {
                self.painting = false;
                self.view.was_painted(Instant::now());
            }
            // No message waits for the terminal here, and it never edits lines.
            Event::Shown(_) | Event::EndOfInput => {}
            Event::Gone => return Some(AgentEvent::Gone),
        }
        None
    }

    fn press(&mut self, keys: &[Key]) {
        let now = Instant::now();
        self.settled_at = self.typed.is_unsettled().then(|| now + REST_OF_KEY);
        if !keys.is_empty() {
            self.acts.extend(self.view.press(keys, now));
        }
    }

    fn acted(&mut self, act: Act) -> Option<AgentEvent> {
        Some(match act {
            Act::Typed(text) => {
                self.keep(&text);
                AgentEvent::Said(text)
            }
            Act::Run(typed, words) => {
                self.keep(&typed);
                AgentEvent::Verb(words)
            }
            Act::Decide(decide) => AgentEvent::Decided(decide),
            Act::Leave if self.surface.is_own() => {
                self.view.lines(Tone::Accent, HOW_TO_DETACH);
                return None;
            }
            Act::Leave => AgentEvent::Gone,
        })
    }

    fn keep(&self, typed: &str) {
        self.history.add(&self.place.secrets.hide(typed));
    }

    fn paint(&mut self) {
        let now = Instant::now();
        let bytes = self.view.paint(now);
        self.next_frame = now + FRAME;
        self.painting = true;
        self.surface.show(bytes, Vec::new(), None);
        self.surface.command(Command::Tell);
    }

    /// Shows all that is finished, and gives the terminal back as it was.
    pub(crate) async fn close(&mut self) {
        let bytes = self.view.leave(Instant::now());
        self.surface.show(bytes, Vec::new(), None);
        self.surface.close().await;
    }
}
