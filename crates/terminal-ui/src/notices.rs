//! Notifications of the user through the terminal: the bell, and a desktop notification where the terminal supports OSC
//! 9. tmux passes on only the bell. Used by the pane and by the single-terminal view; pure.

use agent_team_protocol::text::visible_line;

/// The variable that turns notifications off, with the value `off`.
pub const NOTIFY: &str = "AGENT_TEAM_NOTIFY";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notices {
    On,
    Off,
}

impl Notices {
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        match variable(NOTIFY).as_deref() {
            Some("off") => Self::Off,
            Some(_) | None => Self::On,
        }
    }

    /// The bytes for the terminal; empty if notifications are off.
    pub fn sequence(self, text: &str) -> Vec<u8> {
        match self {
            Self::On => format!("\x07\x1b]9;{}\x1b\\", visible_line(text)).into_bytes(),
            Self::Off => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_contain_no_escape_sequences_of_others() {
        let on = Notices::of_environment(|_| None);
        let expected = "\x07\x1b]9;demo: \\e]52;x\\u{7}\x1b\\";
        assert_eq!(on.sequence("demo: \x1b]52;x\x07"), expected.as_bytes());
        let off = Notices::of_environment(|name| (name == NOTIFY).then(|| "off".to_owned()));
        assert_eq!(off.sequence("demo"), b"");
    }
}
