//! A permission request that is open for an answer. Used by [`super::state`]; pure.
//!
//! This page uses the same dialog as a pane: no key allows the request before all of its lines have been on the screen
//! and a moment has passed without a key.

use std::time::Instant;

use agent_team_protocol::RequestId;
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};
use agent_team_terminal_ui::dialog::{Dialog, KeyEffect, Screen};
use agent_team_terminal_ui::keys::{Key, Scroll};

#[derive(Debug)]
pub(super) struct RequestDialog {
    dialog: Dialog,
}

/// The effect of a key on the dialog.
#[derive(Debug)]
pub(super) enum KeyResult {
    Decided(DecideRequest),
    /// Close the dialog; the request stays pending.
    Later,
    /// Keep the dialog open.
    Open,
}

impl RequestDialog {
    pub(super) fn of(view: RequestView) -> Self {
        Self {
            dialog: Dialog::of(view, Channel::Top),
        }
    }

    pub(super) fn request(&self) -> RequestId {
        self.dialog.request()
    }

    /// Whether some lines have not been on the screen yet.
    pub(super) fn has_unread_lines(&self) -> bool {
        !self.dialog.is_read()
    }

    /// Whether the user types the reason of a denial.
    pub(super) fn is_typing(&self) -> bool {
        self.dialog.is_typing()
    }

    /// The card and its keys, for a screen of this size.
    pub(super) fn screen(&self, columns: usize, rows: usize) -> Screen {
        self.dialog
            .screen(&self.dialog.rows(columns), columns, rows)
    }

    /// Must be called when a frame with the dialog in this size is on the screen.
    pub(super) fn on_shown(&mut self, columns: usize, rows: usize, now: Instant) {
        let total = self.dialog.rows(columns).len();
        self.dialog.was_shown(total, columns, rows, now);
    }

    /// Makes all lines unread: in another size, the pages contain other lines.
    pub(super) fn on_resize(&mut self) {
        self.dialog.resized();
    }

    /// Handles a key. `is_only_key`: the read of the terminal returned no other key.
    pub(super) fn on_key(&mut self, key: &Key, is_only_key: bool, now: Instant) -> KeyResult {
        if *key == Key::Escape && !self.dialog.is_typing() {
            return KeyResult::Later;
        }
        match self.dialog.press(key, is_only_key, now) {
            KeyEffect::Decided(decide) => KeyResult::Decided(decide),
            KeyEffect::Later => KeyResult::Later,
            KeyEffect::Nothing => KeyResult::Open,
        }
    }

    /// Scrolls by a step of the wheel.
    pub(super) fn on_wheel(&mut self, by: Scroll) {
        self.dialog.scroll(by);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agent_team_protocol::request::{Decision, Scope};
    use serde_json::json;

    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    /// A dialog of nine lines: eight of the command, and the directory.
    fn dialog() -> RequestDialog {
        let command: Vec<String> = (1..=8).map(|line| format!("line {line}")).collect();
        let view = json!({
            "id": "P-4", "member": "ada", "tool": "bash", "input": {"command": command.join("\n")},
            "directory": "/project", "state": "pending", "digest": "d", "asked_at": 0, "why": [],
            "offers": [],
        });
        RequestDialog::of(serde_json::from_value(view).unwrap())
    }

    fn decides(dialog: &mut RequestDialog, now: Instant) -> bool {
        matches!(
            dialog.on_key(&Key::Char('y'), true, now),
            KeyResult::Decided(DecideRequest {
                decision: Decision::Allow {
                    scope: Scope::Once,
                    ..
                },
                ..
            })
        )
    }

    #[test]
    fn no_key_allows_before_the_last_line_was_shown() {
        let (mut dialog, start) = (dialog(), Instant::now());
        assert!(!decides(&mut dialog, start));
        dialog.on_shown(40, 10, start);
        assert!(dialog.has_unread_lines());
        assert!(!decides(&mut dialog, start + LONG));
        dialog.on_key(&Key::PageDown, true, start + LONG);
        assert!(
            !decides(&mut dialog, start + 2 * LONG),
            "the last line was not shown"
        );
        dialog.on_shown(40, 10, start + 2 * LONG);
        assert!(!dialog.has_unread_lines());
        assert!(!decides(&mut dialog, start + 2 * LONG));
        // The key that came too early restarted the delay.
        assert!(decides(&mut dialog, start + 3 * LONG));
    }

    #[test]
    fn page_keys_do_not_skip_unread_lines() {
        let (mut dialog, start) = (dialog(), Instant::now());
        dialog.on_shown(40, 6, start);
        for _ in 0..4 {
            dialog.on_key(&Key::PageDown, true, start);
        }
        // Scrolling stopped at the first line that has not been on the screen, so the last lines are still unread.
        dialog.on_shown(40, 6, start);
        assert!(dialog.has_unread_lines());
        assert!(!decides(&mut dialog, start + LONG));
    }

    #[test]
    fn a_resize_makes_all_lines_unread() {
        let (mut dialog, start) = (dialog(), Instant::now());
        dialog.on_shown(40, 20, start);
        dialog.on_resize();
        assert!(!decides(&mut dialog, start + LONG));
        dialog.on_shown(10, 5, start + LONG);
        assert!(!decides(&mut dialog, start + 2 * LONG));
    }

    #[test]
    fn pasted_and_batched_keys_decide_nothing() {
        let (mut dialog, start) = (dialog(), Instant::now());
        dialog.on_shown(40, 20, start);
        for (key, is_only_key) in [
            (Key::Char('y'), false),
            (Key::Paste("y".into()), true),
            (Key::Enter, true),
        ] {
            let result = dialog.on_key(&key, is_only_key, start + LONG);
            assert!(matches!(result, KeyResult::Open), "{key:?}");
        }
        let later = dialog.on_key(&Key::Escape, true, start);
        assert!(matches!(later, KeyResult::Later));
    }

    #[test]
    fn a_reason_is_typed_and_escape_decides_nothing() {
        let (mut dialog, start) = (dialog(), Instant::now());
        dialog.on_shown(40, 20, start);
        let mut now = start + LONG;
        dialog.on_key(&Key::Char('e'), true, now);
        assert!(dialog.is_typing());
        dialog.on_key(&Key::Char('y'), true, now);
        let back = dialog.on_key(&Key::Escape, true, now);
        assert!(matches!(back, KeyResult::Open) && !dialog.is_typing());
        now += LONG;
        dialog.on_key(&Key::Char('e'), true, now);
        dialog.on_key(&Key::Paste("use make".into()), true, now);
        let result = dialog.on_key(&Key::Enter, true, now);
        let KeyResult::Decided(decide) = result else {
            panic!("{result:?}");
        };
        let reason = "use make".to_owned();
        assert_eq!(decide.decision, Decision::Deny { reason });
    }
}
