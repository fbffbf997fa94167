//! Notifications of the user through the terminal: the bell, and a desktop notification with the sequence that the
//! terminal supports. Used by the pane, by the single-terminal view and by `attach`; pure.
//!
//! tmux marks the window of a pane that rings the bell. tmux forwards a desktop notification to its terminal only
//! inside a passthrough sequence, and only if the option `allow-passthrough` is on.

use agent_team_protocol::text::visible_line;

/// The variable that changes the notifications of a terminal: `off`, or `bell` for the bell only.
pub const NOTIFY: &str = "AGENT_TEAM_NOTIFY";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNotifications {
    Desktop(Protocol),
    Bell,
    Off,
}

/// The sequence for desktop notifications. Terminals that do not know a sequence ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// iTerm2, WezTerm, Ghostty and others.
    Osc9,
    /// kitty.
    Osc99,
    /// foot, rxvt-unicode, and terminals that use VTE.
    Osc777,
}

impl UserNotifications {
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        match variable(NOTIFY).as_deref() {
            Some("off") => Self::Off,
            Some("bell") => Self::Bell,
            Some(_) | None => Self::Desktop(Protocol::of_environment(variable)),
        }
    }

    /// The bytes of a desktop notification without the bell, for a terminal that is not a pane of tmux. `None` if
    /// desktop notifications are off.
    pub fn desktop(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Desktop(protocol) => Some(protocol.sequence(text).into_bytes()),
            Self::Bell | Self::Off => None,
        }
    }

    /// The bytes for the terminal; empty if notifications are off. `desktop`: the team permits desktop notifications.
    /// `in_tmux`: the terminal is a pane of tmux.
    pub fn sequence(self, text: &str, desktop: bool, in_tmux: bool) -> Vec<u8> {
        let protocol = match self {
            Self::Off => return Vec::new(),
            Self::Desktop(protocol) if desktop => protocol,
            Self::Desktop(_) | Self::Bell => return b"\x07".to_vec(),
        };
        let sequence = protocol.sequence(text);
        match in_tmux {
            false => format!("\x07{sequence}"),
            true => format!(
                "\x07\x1bPtmux;{}\x1b\\",
                sequence.replace('\x1b', "\x1b\x1b")
            ),
        }
        .into_bytes()
    }
}

impl Protocol {
    fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let terminal = variable("TERM").unwrap_or_default();
        let is = |name: &str| terminal.starts_with(name);
        let uses_vte = variable("VTE_VERSION").is_some_and(|version| !version.is_empty());
        if is("xterm-kitty") {
            Self::Osc99
        } else if is("foot") || is("rxvt-unicode") || uses_vte {
            Self::Osc777
        } else {
            Self::Osc9
        }
    }

    fn sequence(self, text: &str) -> String {
        let text = visible_line(text);
        match self {
            Self::Osc9 => format!("\x1b]9;{text}\x1b\\"),
            Self::Osc99 => format!("\x1b]99;;{text}\x1b\\"),
            // A semicolon separates the title from the body.
            Self::Osc777 => format!("\x1b]777;notify;agent-team;{text}\x1b\\"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "demo: \x1b]52;x\x07";

    fn notifications(variables: &[(&str, &str)]) -> UserNotifications {
        UserNotifications::of_environment(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_text_adds_no_escape_sequence_to_a_notification() {
        let on = notifications(&[]);
        let expected = "\x07\x1b]9;demo: \\e]52;x\\u{7}\x1b\\";
        assert_eq!(on.sequence(HOSTILE, true, false), expected.as_bytes());
        let expected = "\x07\x1bPtmux;\x1b\x1b]9;demo: \\e]52;x\\u{7}\x1b\x1b\\\x1b\\";
        assert_eq!(on.sequence(HOSTILE, true, true), expected.as_bytes());
    }

    #[test]
    fn the_setting_reduces_notifications_and_never_adds_one() {
        for (variables, desktop, expected) in [
            (&[][..], false, &b"\x07"[..]),
            (&[(NOTIFY, "bell")], true, b"\x07"),
            (&[(NOTIFY, "off")], true, b""),
            (&[(NOTIFY, "desktop")], false, b"\x07"),
        ] {
            let sequence = notifications(variables).sequence("demo", desktop, true);
            assert_eq!(sequence, expected, "{variables:?}");
        }
    }

    #[test]
    fn each_terminal_receives_one_protocol() {
        for (variables, expected) in [
            (&[("TERM", "xterm-kitty")][..], "\x07\x1b]99;;demo\x1b\\"),
            (
                &[("TERM", "foot-extra")],
                "\x07\x1b]777;notify;agent-team;demo\x1b\\",
            ),
            (
                &[("TERM", "xterm-256color"), ("VTE_VERSION", "7600")],
                "\x07\x1b]777;notify;agent-team;demo\x1b\\",
            ),
            (&[("TERM", "xterm-256color")], "\x07\x1b]9;demo\x1b\\"),
        ] {
            let sequence = notifications(variables).sequence("demo", true, false);
            assert_eq!(sequence, expected.as_bytes(), "{variables:?}");
        }
    }
}
