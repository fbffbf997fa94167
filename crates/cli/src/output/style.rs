//! The styles of the verbs' output and of `top`, one style for each meaning. Used by the tables and by the full-screen
//! view.

use std::sync::OnceLock;

use agent_team_protocol::spec::Colour;
use agent_team_protocol::view::{MemberState, TaskState, TaskView};
use agent_team_terminal_ui::style::{SemanticColour, Style, Theme};

pub(crate) const GOOD: Style = Style::of(SemanticColour::Success);
pub(crate) const BAD: Style = Style::of(SemanticColour::Failure).bold();
/// The user must act.
pub(crate) const ATTENTION: Style = Style::of(SemanticColour::Attention).bold();
/// Work is in progress, or something has changed.
pub(crate) const BUSY: Style = Style::of(SemanticColour::Working);

static THEME: OnceLock<Option<Theme>> = OnceLock::new();

/// Stores the theme that the environment names. Only the first call has an effect.
pub(crate) fn set_theme(theme: Option<Theme>) {
    let _set_before = THEME.set(theme);
}

/// The theme that the environment names.
pub(crate) fn named_theme() -> Option<Theme> {
    THEME.get().copied().flatten()
}

/// The theme of the verbs' output. `anstream` strips the styles from output that does not go to a terminal.
pub(crate) fn theme() -> Theme {
    named_theme().unwrap_or_default()
}

/// Returns the text with the escape sequences of its style. The text must be free of control characters.
pub(crate) fn paint(style: Style, text: impl AsRef<str>) -> String {
    theme().paint(style, text.as_ref())
}

pub(crate) fn member_name(colour: Colour) -> Style {
    Style::of(SemanticColour::Member(colour)).bold()
}

pub(crate) fn member_state(state: MemberState) -> Style {
    match state {
        MemberState::Waiting => ATTENTION,
        MemberState::Unresponsive | MemberState::Held => BAD,
        MemberState::Working
        | MemberState::Launching
        | MemberState::Draining
        | MemberState::Cooling => BUSY,
        MemberState::Stopped => Style::DIM,
        MemberState::Planned | MemberState::Idle | MemberState::Unknown => Style::PLAIN,
    }
}

pub(crate) fn task(task: &TaskView) -> Style {
    match task.state {
        TaskState::Pending if task.blocked => Style::DIM,
        TaskState::InProgress => BUSY,
        TaskState::Completed => GOOD,
        TaskState::Failed => BAD,
        TaskState::Cancelled => Style::DIM,
        TaskState::Pending | TaskState::Unknown => Style::PLAIN,
    }
}
