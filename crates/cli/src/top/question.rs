//! A request that is open for an answer. Used by [`super::state`]; pure.
//!
//! The keys are those of the pane's dialog, and so is the guard: none decides before every line of the request has been
//! on the screen, and then been there for a moment without a key.

use std::time::Instant;

use agent_team_protocol::RequestId;
use agent_team_protocol::dialog::{self, Dialog, Pressed};
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};

use super::wrap::wrap;
use agent_team_terminal_ui::keys::Key;

#[derive(Debug)]
pub(super) struct Question {
    dialog: Dialog,
    text: String,
}

/// What a key came to.
#[derive(Debug)]
pub(super) enum Answered {
    Decided(DecideRequest),
    /// It goes on waiting.
    Later,
    /// The question stays.
    NotYet,
}

/// What a line of a change does.
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
            dialog: Dialog::of(view, Channel::Top),
        }
    }

    pub(super) fn request(&self) -> RequestId {
        self.dialog.request()
    }

    /// What the keys mean.
    pub(super) fn prompt(&self) -> String {
        self.dialog.prompt()
    }

    /// Whether there is more below that has not been on the screen.
    pub(super) fn hides_some(&self) -> bool {
        !self.dialog.is_read()
    }

    /// The lines that stand in so many columns and rows.
    pub(super) fn lines(&self, columns: usize, rows: usize) -> Vec<(Tone, String)> {
        let mut lines = self.all_lines(columns);
        let visible = self.dialog.visible(columns, rows, lines.len());
        lines.drain(visible).collect()
    }

    /// Values are indented deeper than the names before them, so that no value can look like a name.
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

    /// A frame with it in so many columns and rows is on the screen.
    pub(super) fn was_shown(&mut self, columns: usize, rows: usize, now: Instant) {
        let total = self.all_lines(columns).len();
        self.dialog.was_shown(columns, rows, total, now);
    }

    /// The terminal has another size: what was seen was something else.
    pub(super) fn resized(&mut self) {
        self.dialog.resized();
    }

    /// `alone`: nothing else was typed at once.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of all keys only these mean something here"
    )]
    pub(super) fn press(&mut self, key: &Key, alone: bool, now: Instant) -> Answered {
        if *key == Key::Escape {
            return Answered::Later;
        }
        let mut typed = [0; 4];
        let typed: &[u8] = match key {
            Key::Char(c) if alone => c.encode_utf8(&mut typed).as_bytes(),
            _ => &[],
        };
        match self.dialog.pressed(typed, now) {
            Pressed::Decided(decide) => return Answered::Decided(decide),
            Pressed::Later => return Answered::Later,
            Pressed::Nothing => {}
        }
        if let Some(turn) = key.turn() {
            self.dialog.turn(turn);
        }
        Answered::NotYet
    }
}

/// A row of a change says without colours what it does.
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

    /// Twelve lines: tool, name, ten of the command.
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
            question.press(&Key::Char('y'), true, now),
            Answered::Decided(DecideRequest {
                decision: Decision::Allow {
                    scope: Scope::Once,
                    ..
                },
                ..
            })
        )
    }

    #[test]
    fn no_key_decides_before_the_end_has_been_on_the_screen_for_a_moment() {
        let (mut question, start) = (question(), Instant::now());
        assert!(!decides(&mut question, start));
        question.was_shown(40, 7, start);
        assert!(question.hides_some());
        assert!(!decides(&mut question, start + LONG));
        question.press(&Key::PageDown, true, start + LONG);
        assert!(!decides(&mut question, start + 2 * LONG), "not shown yet");
        question.was_shown(40, 7, start + 2 * LONG);
        assert!(!question.hides_some());
        assert!(!decides(&mut question, start + 2 * LONG));
        // The one that came too early began the moment anew.
        assert!(decides(&mut question, start + 3 * LONG));
    }

    #[test]
    fn what_was_passed_over_has_not_been_seen() {
        let (mut question, start) = (question(), Instant::now());
        question.was_shown(40, 3, start);
        for _ in 0..4 {
            question.press(&Key::PageDown, true, start);
        }
        // Only the first and the last lines have been there.
        question.was_shown(40, 3, start);
        assert!(question.hides_some());
        assert!(!decides(&mut question, start + LONG));
    }

    #[test]
    fn another_width_is_another_thing_to_see() {
        let (mut question, start) = (question(), Instant::now());
        question.was_shown(40, 20, start);
        question.resized();
        assert!(!decides(&mut question, start + LONG));
        question.was_shown(10, 5, start + LONG);
        assert!(!decides(&mut question, start + 2 * LONG));
    }

    #[test]
    fn a_key_among_others_and_a_paste_decide_nothing() {
        let (mut question, start) = (question(), Instant::now());
        question.was_shown(40, 20, start);
        for (key, alone) in [
            (Key::Char('y'), false),
            (Key::Paste("y".into()), true),
            (Key::Enter, true),
        ] {
            let answered = question.press(&key, alone, start + LONG);
            assert!(matches!(answered, Answered::NotYet), "{key:?}");
        }
        let later = question.press(&Key::Escape, true, start);
        assert!(matches!(later, Answered::Later));
    }

    #[test]
    fn a_change_is_shown_as_one() {
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
