//! The permission modes of the team as the modes of a session.

use agent_team_protocol::permissions::Mode;
use serde_json::{Value, json};

use super::super::mode;

/// The modes that an editor can set. As in the panes, mode bypass can only be chosen with `up`.
const SETTABLE: [Mode; 5] = [
    Mode::Default,
    Mode::AcceptEdits,
    Mode::Sandboxed,
    Mode::Plan,
    Mode::DontAsk,
];

/// The current mode and the available modes. Mode sandboxed is available only if a sandbox protects files.
pub(super) async fn state(current: Mode) -> Value {
    let mut available = SETTABLE.to_vec();
    if mode::check_sandbox(Mode::Sandboxed).await.is_err() {
        available.retain(|mode| *mode != Mode::Sandboxed);
    }
    // The current mode must be among the available modes.
    if !available.contains(&current) {
        available.push(current);
    }
    let available = available.into_iter().map(|known| {
        json!({ "id": known.name(), "name": known.name(), "description": mode::effect(known) })
    });
    json!({ "currentModeId": current.name(), "availableModes": available.collect::<Vec<_>>() })
}

pub(super) fn settable(name: &str) -> Option<Mode> {
    SETTABLE.into_iter().find(|mode| mode.name() == name)
}
