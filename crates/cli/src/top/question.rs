//! A permission request that is open for an answer. Used by [`super::state`]; pure.
//!
//! Keys and guard are those of the dialog in a pane: no key decides before all lines of the request have been on the
//! screen and a moment has passed without a key.

use std::time::Instant;

use agent_team_protocol::RequestId;
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};
use agent_team_terminal_ui::dialog::{self, Dialog, Pressed, Turn};
use agent_team_terminal_ui::keys::Key;

use super::wrap::wrap;

#[derive(Debug)]
pub(super) struct Question {
    dialog: Dialog,
    digest: String,
    text: String,
}

/// The effect of a key on the question.
#[derive(Debug)]
pub(super) enum KeyResult {
    Decided(DecideRequest),
    /// Ask for the reason of a denial.
    Deny {
        request: RequestId,
        digest: String,
    },
    /// Close the question; the request stays pending.
    Later,
    /// Keep the question open.
    Open,
}

/// The role of a line in a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Removed,
    Added,
}

impl Question {
    pub(super) fn of(view: RequestView) -> Self {
        Self {
            text: dialog::text(&view),
            digest: view.digest.clone(),
            dialog: Dialog::of(view, Channel::Top),
        }
    }

    pub(super) fn request(&self) -> RequestId {
        self.dialog.request()
    }

    /// The text that explains the keys.
    pub(super) fn prompt(&self) -> String {
        let prompt = self.dialog.prompt();
        prompt.replace(" · esc later ▸ ", " · e no, with a reason · esc later")
    }

    /// Whether some lines have not been on the screen yet.
    pub(super) fn has_unread_lines(&self) -> bool {
        !self.dialog.is_read()
    }

    /// The visible lines of the current page, for a screen of this size.
    pub(super) fn lines(&self, columns: usize, rows: usize) -> Vec<(Tone, String)> {
        let mut lines = self.all_lines(columns);
        let visible = self.dialog.visible(columns, rows, lines.len());
        lines.drain(visible).collect()
    }

    /// All lines, wrapped. Values are indented deeper than field names, so that no value can look like a field name.
    fn all_lines(&self, columns: usize) -> Vec<(Tone, String)> {
        let mut tone = Tone::Plain;
        let mut lines = Vec::new();
        for line in self.text.lines() {
            if !line.starts_with("      ") {
                tone = match line {
                    "  old" => Tone::Removed,
                    "  new" => Tone::Added,
                    _ => Tone::Plain,
                };
                lines.extend(wrap(line, columns).map(|line| (Tone::Plain, line)));
            } else {
                lines.extend(wrap(line, columns).map(|line| (tone, signed(tone, line))));
            }
        }
        lines
    }

    /// Must be called when a frame with the question in this size is on the screen.
    pub(super) fn on_shown(&mut self, columns: usize, rows: usize, now: Instant) {
        let total = self.all_lines(columns).len();
        self.dialog.was_shown(columns, rows, total, now);
    }

    /// Resets what has been read: in another size, the pages have other lines.
    pub(super) fn on_resize(&mut self) {
        self.dialog.resized();
    }

    /// Handles a key. `is_only_key`: the read of the terminal returned no other key.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other keys do nothing here"
    )]
    pub(super) fn on_key(&mut self, key: &Key, is_only_key: bool, now: Instant) -> KeyResult {
        if *key == Key::Escape {
            return KeyResult::Later;
        }
        if *key == Key::Char('e') && is_only_key && self.dialog.is_read() {
            // Keys at the prompt do not answer the question.
            self.dialog.hidden();
            return KeyResult::Deny {
                request: self.request(),
                digest: self.digest.clone(),
            };
        }
        let mut typed = [0; 4];
        let typed: &[u8] = match key {
            Key::Char(c) if is_only_key => c.encode_utf8(&mut typed).as_bytes(),
            _ => &[],
        };
        match self.dialog.pressed(typed, now) {
            Pressed::Decided(decide) => return KeyResult::Decided(decide),
            Pressed::Later => return KeyResult::Later,
            Pressed::Nothing => {}
        }
        if let Some(turn) = key.turn() {
            self.dialog.turn(turn);
        }
        KeyResult::Open
    }

    /// Scrolls by a step of the wheel.
    pub(super) fn on_wheel(&mut self, turn: Turn) {
        self.dialog.turn(turn);
    }
}

/// Marks a line of a diff with `-` or `+`, so that it is readable without colours.
fn signed(tone: Tone, row: String) -> String {
    let sign = match tone {
        Tone::Plain => return row,
        Tone::Removed => '-',
        Tone::Added => '+',
    };
    match row.strip_prefix("      ") {
        Some(text) => format!("    {sign} {text}"),
        None => row,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agent_team_protocol::request::{Decision, Scope};
    use serde_json::json;

    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    /// Twelve lines: the tool, the name and the eight lines of its argument, and two for the directory.
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
    fn no_key_decides_before_the_last_line_was_shown() {
        let (mut question, start) = (question(), Instant::now());
        assert!(!decides(&mut question, start));
        question.on_shown(40, 7, start);
        assert!(question.has_unread_lines());
        assert!(!decides(&mut question, start + LONG));
        question.on_key(&Key::PageDown, true, start + LONG);
        assert!(!decides(&mut question, start + 2 * LONG), "not shown yet");
        question.on_shown(40, 7, start + 2 * LONG);
        assert!(!question.has_unread_lines());
        assert!(!decides(&mut question, start + 2 * LONG));
        // The key that came too early restarted the delay.
        assert!(decides(&mut question, start + 3 * LONG));
    }

    #[test]
    fn lines_that_were_scrolled_past_are_unread() {
        let (mut question, start) = (question(), Instant::now());
        question.on_shown(40, 3, start);
        for _ in 0..4 {
            question.on_key(&Key::PageDown, true, start);
        }
        // Only the first and the last lines were on the screen.
        question.on_shown(40, 3, start);
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
    fn an_edit_is_shown_as_a_diff() {
        let view = json!({
            "id": "P-4", "member": "ada", "tool": "edit",
            "input": {"new": "b\n  old\nc", "old": "a", "path": "x"},
            "directory": "/project", "state": "pending", "digest": "d", "asked_at": 0, "why": [],
            "offers": [],
        });
        let question = Question::of(serde_json::from_value(view).unwrap());
        let lines = question.lines(40, 40);
        let toned = |tone| {
            let lines = lines.iter().filter(move |(its, _)| *its == tone);
            lines.map(|(_, line)| line.trim()).collect::<Vec<_>>()
        };
        assert_eq!(toned(Tone::Added), ["+ b", "+   old", "+ c"]);
        assert_eq!(toned(Tone::Removed), ["- a"]);
    }
}
