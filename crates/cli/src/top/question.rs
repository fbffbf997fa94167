//! A permission request that is open for an answer. Used by [`super::state`]; pure.
//!
//! Uses the same dialog as a pane: no key allows the request before all of its lines have been on the screen and a
//! moment has passed without a key.

use std::time::Instant;

use agent_team_protocol::RequestId;
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};
use agent_team_terminal_ui::dialog::{Dialog, KeyEffect, Screen};
use agent_team_terminal_ui::keys::{Key, Scroll};

#[derive(Debug)]
pub(super) struct Question {
    dialog: Dialog,
}

/// The effect of a key on the question.
#[derive(Debug)]
pub(super) enum KeyResult {
    Decided(DecideRequest),
    /// Close the question; the request stays pending.
    Later,
    /// Keep the question open.
    Open,
}

impl Question {
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

    /// Must be called when a frame with the question in this size is on the screen.
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

    /// Nine lines: eight of the command, and the directory.
    fn question() -> Question {
        let command: Vec<String> = (1..=8).map(|line| format!("line {line}")).collect();
        let view = json!({
            "id": "P-4", "member": "ada", "tool": "bash", "input": {"command": command.join("\n")},
            "directory": "/project", "state": "pending", "digest": "d", "asked_at": 0, "why": [],
            "offers": [],
        });
        Question::of(serde_json::from_value(view).unwrap())
    }

    fn decides(question: &mut Question, now: Instant) -> bool {
        matches!(
            question.on_key(&Key::Char('y'), true, now),
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
        let (mut question, start) = (question(), Instant::now());
        assert!(!decides(&mut question, start));
        question.on_shown(40, 10, start);
        assert!(question.has_unread_lines());
        assert!(!decides(&mut question, start + LONG));
        question.on_key(&Key::PageDown, true, start + LONG);
        assert!(!decides(&mut question, start + 2 * LONG), "not shown yet");
        question.on_shown(40, 10, start + 2 * LONG);
        assert!(!question.has_unread_lines());
        assert!(!decides(&mut question, start + 2 * LONG));
        // The key that came too early restarted the delay.
        assert!(decides(&mut question, start + 3 * LONG));
    }

    #[test]
    fn page_keys_do_not_skip_unread_lines() {
        let (mut question, start) = (question(), Instant::now());
        question.on_shown(40, 6, start);
        for _ in 0..4 {
            question.on_key(&Key::PageDown, true, start);
        }
        // Scrolling stopped at the first line that has not been on the screen, so the last lines are still unread.
        question.on_shown(40, 6, start);
        assert!(question.has_unread_lines());
        assert!(!decides(&mut question, start + LONG));
    }

    #[test]
    fn a_resize_makes_all_lines_unread() {
        let (mut question, start) = (question(), Instant::now());
        question.on_shown(40, 20, start);
        question.on_resize();
        assert!(!decides(&mut question, start + LONG));
        question.on_shown(10, 5, start + LONG);
        assert!(!decides(&mut question, start + 2 * LONG));
    }

    #[test]
    fn pasted_and_batched_keys_decide_nothing() {
        let (mut question, start) = (question(), Instant::now());
        question.on_shown(40, 20, start);
        for (key, is_only_key) in [
            (Key::Char('y'), false),
            (Key::Paste("y".into()), true),
            (Key::Enter, true),
        ] {
            let result = question.on_key(&key, is_only_key, start + LONG);
            assert!(matches!(result, KeyResult::Open), "{key:?}");
        }
        let later = question.on_key(&Key::Escape, true, start);
        assert!(matches!(later, KeyResult::Later));
    }

    #[test]
    fn a_reason_is_typed_and_escape_decides_nothing() {
        let (mut question, start) = (question(), Instant::now());
        question.on_shown(40, 20, start);
        let mut now = start + LONG;
        question.on_key(&Key::Char('e'), true, now);
        assert!(question.is_typing());
        question.on_key(&Key::Char('y'), true, now);
        let back = question.on_key(&Key::Escape, true, now);
        assert!(matches!(back, KeyResult::Open) && !question.is_typing());
        now += LONG;
        question.on_key(&Key::Char('e'), true, now);
        question.on_key(&Key::Paste("use make".into()), true, now);
        let result = question.on_key(&Key::Enter, true, now);
        let KeyResult::Decided(decide) = result else {
            panic!("{result:?}");
        };
        let reason = "use make".to_owned();
        assert_eq!(decide.decision, Decision::Deny { reason });
    }
}
