//! A pending request on a terminal: its text, its prompt, and the effect of each key. Called by the transcript view and
//! by `top`, so that each key has the same effect in both. Pure.
//!
//! The text comes from the request that the supervisor has stored, never from the model's words, and a decision is
//! bound to the digest of the shown request. A request with more rows than the screen is shown in pages.

mod shown_rows;

use std::ops::Range;
use std::time::{Duration, Instant};

use agent_team_protocol::RequestId;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::request::{
    Channel, DecideRequest, Decision, OfferView, RequestView, Scope,
};
use agent_team_protocol::text::visible_line;

use self::shown_rows::ShownRows;
pub use self::shown_rows::Turn;

/// Keys that decide or postpone a request are ignored until the request has been on the screen for this time without a
/// keystroke: a user who is typing when the request appears would otherwise answer it by accident. Keys that decide are
/// also ignored until every row of the request has been on the screen.
pub const QUIET: Duration = Duration::from_millis(300);

/// The maximum number of offers: each is chosen with a digit key.
const OFFERS: usize = 9;

const ESCAPE: u8 = 0x1b;
const CONTROL_C: u8 = 0x03;

/// One request that the user is asked to decide.
#[derive(Debug)]
pub struct Dialog {
    request: RequestId,
    digest: String,
    is_plan: bool,
    offers: Vec<OfferView>,
    /// The scope of a decision with `y`.
    scope: Scope,
    /// The channel that a decision reports.
    via: Channel,
    shown: ShownRows,
}

/// The effect of a keystroke.
#[derive(Debug)]
pub enum Pressed {
    Decided(DecideRequest),
    /// Postponed: the request stays pending.
    Later,
    /// The key has no meaning, or came too early to be an answer.
    Nothing,
}

impl Dialog {
    pub fn of(view: RequestView, via: Channel) -> Self {
        Self {
            request: view.id,
            digest: view.digest,
            scope: view.default_scope,
            via,
            is_plan: view.plan.is_some(),
            offers: view.offers.into_iter().take(OFFERS).collect(),
            shown: ShownRows::default(),
        }
    }

    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The rows to show, out of `total` rows, on a screen of this size.
    pub fn visible(&self, columns: usize, height: usize, total: usize) -> Range<usize> {
        self.shown.visible(columns, height, total)
    }

    /// Call when the [visible](Self::visible) rows are on the screen and the user is not typing.
    pub fn was_shown(&mut self, columns: usize, height: usize, total: usize, now: Instant) {
        self.shown.was_shown(columns, height, total, now);
    }

    /// Returns whether every row has been on the screen.
    pub fn is_read(&self) -> bool {
        self.shown.is_complete()
    }

    /// Scrolls the request.
    pub fn turn(&mut self, turn: Turn) {
        self.shown.turn(turn);
    }

    /// Call when another view covers the screen.
    pub fn hidden(&mut self) {
        self.shown.hidden();
    }

    /// Call when the screen was resized: all rows must be shown again.
    pub fn resized(&mut self) {
        self.shown = ShownRows::default();
    }

    /// Handles a keystroke. `keys`: the bytes of one read from the terminal.
    pub fn pressed(&mut self, keys: &[u8], now: Instant) -> Pressed {
        let quiet = self.shown.quiet(now).filter(|quiet| *quiet >= QUIET);
        let pressed = match (keys, quiet) {
            (&[key], Some(_)) => self.answer(key),
            _ => Pressed::Nothing,
        };
        self.shown.disturbed(now);
        pressed
    }

    fn answer(&self, key: u8) -> Pressed {
        if !self.is_read() && !matches!(key, ESCAPE | CONTROL_C) {
            return Pressed::Nothing;
        }
        let decision = match key {
            b'y' => Decision::Allow {
                scope: self.scope,
                rules: Vec::new(),
            },
            b'n' => Decision::Deny {
                reason: String::new(),
            },
            ESCAPE | CONTROL_C => return Pressed::Later,
            digit => {
                let offer = usize::from(digit).checked_sub(usize::from(b'1'));
                let Some(offer) = offer.and_then(|offer| self.offers.get(offer)) else {
                    return Pressed::Nothing;
                };
                Decision::Allow {
                    scope: Scope::Team,
                    rules: offer.rules.clone(),
                }
            }
        };
        Pressed::Decided(DecideRequest {
            request: self.request,
            digest: Some(self.digest.clone()),
            decision,
            via: Some(self.via),
        })
    }

    /// The prompt while `below` rows have not been shown.
    pub fn pager(&self, below: usize) -> String {
        let request = self.request;
        let lines = if below == 1 { "line" } else { "lines" };
        format!("{request}: {below} more {lines} · space for more · esc later ▸ ")
    }

    /// The prompt of a screen on which no row of the request fits.
    pub fn no_room(&self) -> String {
        let request = self.request;
        let show = CommandLine::ShowRequest(request);
        format!("{request}: does not fit here · {show} ▸ ")
    }

    /// The prompt once every row has been shown.
    pub fn prompt(&self) -> String {
        if self.is_plan {
            let request = self.request;
            return format!("{request}? y approve · n send back · esc later ▸ ");
        }
        let offers = match self.offers.len() {
            0 => "",
            1 => "1 team · ",
            _ => "1-9 team · ",
        };
        let scope = self.scope.name();
        format!("{}? y {scope} · {offers}n no · esc later ▸ ", self.request)
    }
}

/// The text of the request and its offers.
pub fn text(view: &RequestView) -> String {
    let does = if view.plan.is_some() {
        "proposes"
    } else {
        "asks"
    };
    let mut text = format!("── {} {} {does}: {}", view.id, view.member, view.whole());
    if view.plan.is_some() {
        text.push_str(&format!(
            "\n  to ask for changes: {}",
            CommandLine::DenyRequest(view.id)
        ));
    }
    for (number, offer) in (1..).zip(view.offers.iter().take(OFFERS)) {
        let rules = offer.rules.join(" ");
        let rules = match rules.as_str() {
            "" => String::new(),
            rules => format!("  {}", visible_line(rules)),
        };
        text.push_str(&format!(
            "\n  {number}  for the team: {}{rules}",
            visible_line(&offer.covers)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::request::RequestState;
    use serde_json::value::to_raw_value;

    use super::*;

    fn view() -> RequestView {
        let input = serde_json::json!({ "command": "ls\x1b[2J\nrm -rf build" });
        RequestView {
            id: RequestId(4),
            member: "ada".parse().unwrap(),
            tool: "bash".into(),
            input: to_raw_value(&input).unwrap(),
            directory: "/project".into(),
            plan: None,
            state: RequestState::Pending,
            digest: "d".repeat(64),
            scope: None,
            decided_by: None,
            reason: None,
            asked_at: 0,
            why: vec!["rm: no rule allows it".into()],
            offers: vec![
                OfferView {
                    rules: Vec::new(),
                    covers: "exactly this".into(),
                },
                OfferView {
                    rules: vec!["Bash(rm:*)".into()],
                    covers: "every rm".into(),
                },
            ],
            default_scope: Scope::Once,
        }
    }

    /// The decision of a key that is pressed `quiet` after all ten rows of the request were shown. `None`: the key is
    /// pressed before the rows are shown.
    fn decision(key: &str, quiet: Option<Duration>) -> Option<Decision> {
        let (mut dialog, start) = (Dialog::of(view(), Channel::Pane), Instant::now());
        if quiet.is_some() {
            dialog.was_shown(80, 10, 10, start);
        }
        match dialog.pressed(key.as_bytes(), start + quiet.unwrap_or_default()) {
            Pressed::Decided(decide) => {
                assert_eq!(decide.digest, Some("d".repeat(64)));
                Some(decide.decision)
            }
            Pressed::Later | Pressed::Nothing => None,
        }
    }

    #[test]
    fn keys_decide_after_all_rows_and_a_pause() {
        let once = Some(Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        });
        assert_eq!(decision("y", Some(QUIET)), once);
        assert_eq!(decision("y", Some(QUIET - Duration::from_millis(1))), None);
        assert_eq!(decision("y", None), None);
    }

    #[test]
    fn keys_are_ignored_until_the_last_row_was_shown() {
        let mut now = Instant::now();
        let mut dialog = Dialog::of(view(), Channel::Pane);
        for page in 0..3 {
            dialog.was_shown(80, 4, 10, now);
            now += QUIET;
            let last = page == 2;
            assert_eq!(dialog.is_read(), last);
            for key in ["y", "n", "1"] {
                let decided = matches!(dialog.pressed(key.as_bytes(), now), Pressed::Decided(_));
                assert_eq!(decided, last, "{key} on page {page}");
                now += QUIET;
            }
            dialog.turn(Turn::PageDown);
        }
        // Another width wraps the text differently, so it must be shown again.
        dialog.was_shown(40, 4, 20, now);
        assert!(matches!(
            dialog.pressed(b"y", now + QUIET),
            Pressed::Nothing
        ));
    }

    #[test]
    fn an_unread_request_can_be_postponed() {
        let (mut dialog, start) = (Dialog::of(view(), Channel::Pane), Instant::now());
        dialog.was_shown(80, 4, 10, start);
        assert!(matches!(dialog.pressed(&[ESCAPE], start), Pressed::Nothing));
        let later = dialog.pressed(&[ESCAPE], start + QUIET);
        assert!(matches!(later, Pressed::Later));
    }

    #[test]
    fn pasted_and_unknown_keys_decide_nothing() {
        for keys in ["yes", "yy", "Y", "0", "3", "\r", " ", ""] {
            assert_eq!(decision(keys, Some(QUIET)), None, "{keys:?}");
        }
    }

    #[test]
    fn a_digit_chooses_its_offer() {
        let rules = |key| match decision(key, Some(QUIET)) {
            Some(Decision::Allow {
                scope: Scope::Team,
                rules,
            }) => rules,
            other => panic!("{other:?}"),
        };
        assert_eq!(rules("1"), [""; 0]);
        assert_eq!(rules("2"), ["Bash(rm:*)"]);
        let text = text(&view());
        assert!(
            text.contains("2  for the team: every rm  Bash(rm:*)"),
            "{text}"
        );
    }

    #[test]
    fn the_whole_request_is_shown_escaped() {
        let text = text(&view());
        assert!(text.contains("ls\\e[2J\n      rm -rf build"), "{text}");
        assert!(!text.contains('\x1b'));
    }
}
