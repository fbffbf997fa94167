//! The styles of the screen, with or without colours. No information is in a colour alone.

use agent_team_protocol::spec::Colour;
use agent_team_protocol::view::{MemberState, TaskState, TaskView};
use ratatui::style::{Color, Modifier, Style};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::top) struct Palette {
    pub(in crate::top) colours: bool,
}

impl Palette {
    fn coloured(self, style: Style, colour: Color) -> Style {
        if self.colours {
            style.fg(colour)
        } else {
            style
        }
    }

    pub(super) fn name(self, colour: Colour) -> Style {
        self.coloured(Style::new().bold(), Color::Indexed(colour.ansi256()))
    }

    pub(super) fn plain(self) -> Style {
        Style::new()
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().bold()
    }

    pub(super) fn selected(self) -> Style {
        Style::new().reversed()
    }

    /// The user must act.
    pub(super) fn attention(self) -> Style {
        self.coloured(Style::new().bold(), Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.coloured(Style::new().bold(), Color::Red)
    }

    pub(super) fn good(self) -> Style {
        self.coloured(Style::new(), Color::Green)
    }

    pub(super) fn state(self, state: MemberState) -> Style {
        match state {
            MemberState::Working => self.good(),
            MemberState::Unresponsive | MemberState::Held => self.bad(),
            MemberState::Waiting
            | MemberState::Launching
            | MemberState::Draining
            | MemberState::Cooling => self.coloured(Style::new(), Color::Yellow),
            MemberState::Stopped => self.title(),
            MemberState::Planned | MemberState::Idle | MemberState::Unknown => Style::new(),
        }
    }

    pub(super) fn task(self, task: &TaskView) -> Style {
        match task.state {
            TaskState::Pending if task.blocked => self.title(),
            TaskState::InProgress => self.coloured(Style::new(), Color::Yellow),
            TaskState::Completed => self.good(),
            TaskState::Failed => self.bad(),
            TaskState::Cancelled => self.title(),
            TaskState::Pending | TaskState::Unknown => Style::new(),
        }
    }
}
