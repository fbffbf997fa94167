//! The key `mode`, which selects the planner of a team's work. Used when the team is read.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A lead that is an agent with tools.
    Lead,
    /// A lead whose model chooses the members of each round.
    Coordinator,
    /// All members in turn, then a summary by the lead.
    Collaborate,
    /// The user, through the board.
    Manual,
}

pub(super) const MODES: &[(&str, Mode)] = &[
    ("lead", Mode::Lead),
    ("coordinator", Mode::Coordinator),
    ("collaborate", Mode::Collaborate),
    ("manual", Mode::Manual),
];

impl Mode {
    pub(super) fn word(self) -> &'static str {
        let word = MODES.iter().find(|(_, mode)| *mode == self);
        word.map_or("", |(word, _)| word)
    }
}
