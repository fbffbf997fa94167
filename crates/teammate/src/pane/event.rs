//! The events of a pane's terminal. Sent by `terminal` and `keyboard`; the panes handle them.

use agent_team_protocol::MessageId;
use agent_team_terminal_ui::keys::Key;

#[derive(Debug)]
pub(super) enum Event {
    /// The keys of one read, for the prompt.
    Pressed(Vec<Key>),
    /// Keystrokes for a program, which may have ended meanwhile.
    Typed {
        program: u64,
        bytes: Vec<u8>,
    },
    Shown(Vec<MessageId>),
    /// All output that was queued before the command `Confirm` has been written.
    Written,
    Gone,
}
