//! A pending request on a terminal: its card, and what each key does. Called by the transcript view and by `top`, so
//! that the same keys do the same everywhere; `run` and `up --wait` print the card as lines. Pure.
//!
//! The card shows the request as the supervisor stores it, never a description by the model, and a decision is bound to
//! the digest of the shown request. A request with more rows than the screen is shown in pages. It can be allowed only
//! after its last page was shown, and denied earlier.
//!
//! ```text
//!   shown ── y, digit, n ─────────► decided
//!     │ ▲
//!     e esc
//!     ▼ │
//!   reason ── enter ──────────────► denied with the typed reason
//! ```

mod shown_rows;

use std::ops::Range;
use std::time::{Duration, Instant};

use agent_team_protocol::RequestId;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::request::{
    Channel, DecideRequest, Decided, Decision, OfferView, RequestView, Scope,
};
use agent_team_protocol::text::visible_label;

use self::shown_rows::ShownRows;
use crate::card::Card;
use crate::editor::Editor;
use crate::keys::{Key, Scroll};
use crate::line::Line;
use crate::style::Style;

/// Keys that allow are ignored until every row of the request has been on the screen. All keys that answer are ignored
/// until the request has been on the screen without a keystroke for this long. A user who is typing something else when
/// the request appears would otherwise answer it by accident.
pub const QUIET: Duration = Duration::from_millis(300);

/// The maximum number of offers: each is chosen with a digit key.
pub const OFFERS: usize = 9;

/// The largest number of characters of an offered rule among the keys. A longer rule is shown in full inside the card.
const OFFER_CHARACTERS: usize = 36;

/// The maximum number of rows for the typed reason.
const REASON_ROWS: usize = 3;

/// One request that the user is asked to decide.
#[derive(Debug)]
pub struct Dialog {
    card: Card,
    request: RequestId,
    digest: String,
    is_plan: bool,
    offers: Vec<OfferView>,
    /// The scope of a decision with `y`.
    scope: Scope,
    /// The channel that a decision reports.
    via: Channel,
    shown: ShownRows,
    /// The user has pressed a key that allows the request before its end was visible.
    is_early: bool,
    /// The reason of a denial, while it is typed.
    reason: Option<Editor>,
}

/// The effect of a keystroke.
#[derive(Debug)]
pub enum KeyEffect {
    Decided(DecideRequest),
    /// The user postponed the request, which stays pending.
    Later,
    /// The key has no meaning, came too early to be an answer, or only changes what is shown.
    Nothing,
}

/// The lines of a dialog on a screen.
#[derive(Debug)]
pub struct Screen {
    pub lines: Vec<Line>,
    /// Row and column.
    pub cursor: (usize, usize),
}

/// The number of rows inside the frame, and whether the frame has a bottom border.
struct Layout {
    height: usize,
    has_bottom: bool,
}

impl Dialog {
    pub fn of(view: RequestView, via: Channel) -> Self {
        let card = Card::of(&view);
        // An offer without rules allows only the exact call. It gets a key only if no offer has rules.
        let has_rules = view.offers.iter().any(|offer| !offer.rules.is_empty());
        let offers = view.offers.into_iter();
        let offers = offers.filter(|offer| !has_rules || !offer.rules.is_empty());
        Self {
            card,
            request: view.id,
            digest: view.digest,
            scope: view.default_scope,
            via,
            is_plan: view.plan.is_some(),
            offers: offers.take(OFFERS).collect(),
            shown: ShownRows::default(),
            reason: None,
            is_early: false,
        }
    }

    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The request and its call, on one line.
    pub fn name(&self) -> String {
        self.card.one_line()
    }

    /// The change with its size, on one line. `None`: the request is not about a change.
    pub fn change(&self) -> Option<String> {
        self.card.change()
    }

    /// The line that remains of the decided request. `own`: the decision that this dialog returned.
    pub fn folded(&self, decided: &Decided, own: Option<&Decision>) -> Line {
        self.card.folded(decided, own)
    }

    /// All rows inside the frame, on a screen of this width.
    pub fn rows(&self, columns: usize) -> Vec<Line> {
        let mut rows = self.card.rows(columns);
        let long = (1..).zip(&self.offers).filter(|(_, offer)| {
            let label = label(offer);
            visible_label(&label, OFFER_CHARACTERS) != label
        });
        for (number, offer) in long {
            let rules = offer.rules.join(" ");
            rows.extend(numbered(number, &rules, columns.saturating_sub(4)));
        }
        rows
    }

    /// The whole request for output that scrolls: its card, and the offered rules with their numbers.
    pub fn lines(&self, columns: usize) -> Vec<Line> {
        let mut lines = vec![self.card.top(columns)];
        let rows = self.card.rows(columns);
        lines.extend(rows.iter().map(|row| self.card.side(row, columns)));
        lines.push(self.card.bottom(0, columns));
        for (number, offer) in (1..).zip(&self.offers) {
            lines.extend(numbered(number, &label(offer), columns));
        }
        lines
    }

    /// The rules that the digits allow, the first one for `1`.
    pub fn offers(&self) -> &[OfferView] {
        &self.offers
    }

    /// The dialog on a screen of this size. `rows`: the result of [`Self::rows`] for this width.
    pub fn screen(&self, rows: &[Line], columns: usize, height: usize) -> Screen {
        let Some(layout) = self.layout(rows.len(), columns, height) else {
            return self.no_room(columns, height);
        };
        let visible = self.visible(columns, layout.height, rows.len());
        let hidden = rows.len() - visible.end;
        let mut lines = vec![self.card.top(columns)];
        lines.extend(rows[visible].iter().map(|row| self.card.side(row, columns)));
        if layout.has_bottom {
            lines.push(self.card.bottom(hidden, columns));
        }
        let above = lines.len();
        if let Some(reason) = &self.reason {
            let (rows, (row, column)) = self.reason_rows(reason, columns);
            lines.extend(rows);
            let cursor = (above + row, column);
            return Screen { lines, cursor };
        }
        // Show the keys that allow only if every row has been on the screen, or is on this screen.
        let can_allow = self.is_read() || (hidden == 0 && layout.height == rows.len());
        lines.extend(self.keys(can_allow, columns));
        let last = lines.last().map_or(0, Line::width);
        let cursor = (lines.len() - 1, (last + 1).min(columns));
        Screen { lines, cursor }
    }

    /// The rows to show, out of `total` rows, in a frame of this height.
    fn visible(&self, columns: usize, height: usize, total: usize) -> Range<usize> {
        self.shown.visible(columns, height, total)
    }

    /// `None` if the screen has no room for a row of the request.
    fn layout(&self, total: usize, columns: usize, height: usize) -> Option<Layout> {
        // With the keys that allow, there can be more rows of keys. Reserve these rows, so that the height of the card
        // does not change when the keys appear.
        let keys = [true, false].map(|can_allow| self.keys(can_allow, columns).len());
        let keys = match &self.reason {
            Some(reason) => self.reason_rows(reason, columns).0.len(),
            None => keys[0].max(keys[1]),
        };
        let room = height.checked_sub(1 + keys)?;
        let has_bottom = room > 1;
        let height = room.saturating_sub(usize::from(has_bottom)).min(total);
        (height > 0 && columns >= 10).then_some(Layout { height, has_bottom })
    }

    /// Call when this [screen](Self::screen) is visible and the user is not typing.
    pub fn was_shown(&mut self, total: usize, columns: usize, height: usize, now: Instant) {
        if let Some(layout) = self.layout(total, columns, height) {
            self.shown.was_shown(columns, layout.height, total, now);
        }
    }

    /// Returns whether every row has been on the screen.
    pub fn is_read(&self) -> bool {
        self.shown.is_complete()
    }

    /// Whether the request has more rows than the screen shows.
    pub fn is_cut(&self) -> bool {
        self.shown.is_cut()
    }

    /// Scrolls the request.
    pub fn scroll(&mut self, by: Scroll) {
        self.shown.scroll(by);
    }

    /// Call when another view covers the screen.
    pub fn hidden(&mut self) {
        self.shown.hidden();
    }

    /// Call when the screen was resized: all rows must be shown again.
    pub fn resized(&mut self) {
        self.shown = ShownRows::default();
    }

    /// Whether the user is typing a reason. Each key is then a part of the reason.
    pub fn is_typing(&self) -> bool {
        self.reason.is_some()
    }

    /// Handles a keystroke. `is_only_key`: the read of the terminal returned no other key. Several keys in one read
    /// were not typed as an answer.
    pub fn press(&mut self, key: &Key, is_only_key: bool, now: Instant) -> KeyEffect {
        if self.reason.is_some() {
            return self.press_in_reason(key);
        }
        let is_quiet = self.shown.quiet(now).is_some_and(|quiet| quiet >= QUIET);
        self.shown.disturbed(now);
        if !is_only_key {
            return KeyEffect::Nothing;
        }
        if *key == Key::Control('o') {
            self.shown.scroll(Scroll::PageDown);
            return KeyEffect::Nothing;
        }
        if let Some(by) = key.scroll() {
            self.shown.scroll(by);
            return KeyEffect::Nothing;
        }
        match is_quiet {
            true => self.answer(key),
            false => KeyEffect::Nothing,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other key answers a request"
    )]
    fn answer(&mut self, key: &Key) -> KeyEffect {
        match key {
            Key::Char('y') if self.is_read() => self.decided(Decision::Allow {
                scope: self.scope,
                rules: Vec::new(),
            }),
            Key::Char(digit @ '1'..='9') if self.is_read() => {
                let number = digit
                    .to_digit(10)
                    .and_then(|digit| usize::try_from(digit).ok());
                let offer = number.and_then(|number| self.offers.get(number - 1));
                match offer {
                    Some(offer) => self.decided(Decision::Allow {
                        scope: Scope::Team,
                        rules: offer.rules.clone(),
                    }),
                    None => KeyEffect::Nothing,
                }
            }
            Key::Char('y' | '1'..='9') => {
                self.is_early = true;
                KeyEffect::Nothing
            }
            Key::Char('n') => self.decided(Decision::Deny {
                reason: String::new(),
            }),
            Key::Char('e') => {
                self.reason = Some(Editor::default());
                KeyEffect::Nothing
            }
            Key::Escape | Key::Control('c') => KeyEffect::Later,
            _ => KeyEffect::Nothing,
        }
    }

    /// Handles a key while a reason is typed. Esc and ^C leave the reason and decide nothing.
    fn press_in_reason(&mut self, key: &Key) -> KeyEffect {
        if matches!(key, Key::Escape | Key::Control('c')) {
            self.reason = None;
            return KeyEffect::Nothing;
        }
        let typed = self.reason.as_mut().and_then(|reason| reason.press(key));
        match typed {
            Some(reason) => {
                self.reason = None;
                let reason = reason.trim().to_owned();
                self.decided(Decision::Deny { reason })
            }
            None => KeyEffect::Nothing,
        }
    }

    fn decided(&self, decision: Decision) -> KeyEffect {
        KeyEffect::Decided(DecideRequest {
            request: self.request,
            digest: Some(self.digest.clone()),
            decision,
            via: Some(self.via),
        })
    }

    /// The rows with the keys and what they do.
    fn keys(&self, can_allow: bool, columns: usize) -> Vec<Line> {
        let mut keys = Vec::new();
        if can_allow {
            let what = match self.is_plan {
                true => "approve",
                false => self.scope.name(),
            };
            keys.push(("y".to_owned(), what.to_owned(), ""));
            for (number, offer) in (1..).zip(&self.offers) {
                let before = if number == 1 { "for the team: " } else { "" };
                let label = visible_label(&label(offer), OFFER_CHARACTERS);
                keys.push((number.to_string(), label, before));
            }
        } else {
            let what = match self.is_early {
                true => "read to the end before you allow it",
                false => "read on",
            };
            keys.push(("^O".to_owned(), what.to_owned(), ""));
        }
        let (no, because) = match self.is_plan {
            true => ("send back", "send back, because…"),
            false => ("no", "no, because…"),
        };
        keys.push(("n".to_owned(), no.to_owned(), ""));
        keys.push(("e".to_owned(), because.to_owned(), ""));
        keys.push(("esc".to_owned(), "later".to_owned(), ""));
        let mut rows: Vec<Line> = Vec::new();
        for (key, what, before) in keys {
            let mut gutter = Line::of(self.card.style().bold(), &format!("[{key}]"));
            gutter.push(Style::PLAIN, " ");
            let before = Line::of(Style::DIM, before);
            let mut entry = before.clone();
            entry.append(&gutter);
            entry.push(Style::PLAIN, &what);
            match rows.last_mut() {
                Some(row) if row.width() + 2 + entry.width() <= columns => {
                    row.push(Style::PLAIN, "  ");
                    row.append(&entry);
                }
                Some(_) | None if entry.width() <= columns => rows.push(entry),
                Some(_) | None => {
                    rows.extend((!before.is_empty()).then(|| before.clipped(columns)));
                    rows.extend(Line::of(Style::PLAIN, &what).beside(&gutter, columns));
                }
            }
        }
        rows
    }

    /// The rows of the reason, and the position of the cursor in them.
    fn reason_rows(&self, reason: &Editor, columns: usize) -> (Vec<Line>, (usize, usize)) {
        let prompt = Line::of(self.card.style().bold(), "no, because ▸ ");
        let (mut rows, cursor) = reason.rows(&prompt, columns, REASON_ROWS);
        let hint = match reason.text().trim() {
            "" => "enter: deny without a reason · esc: back",
            _ => "enter: deny · esc: back",
        };
        rows.push(Line::of(Style::DIM, hint).clipped(columns));
        (rows, cursor)
    }

    /// A screen on which no row of the request fits.
    fn no_room(&self, columns: usize, height: usize) -> Screen {
        let (request, show) = (self.request, CommandLine::ShowRequest(self.request));
        let text = format!("{request}: does not fit here · {show} ▸");
        let mut lines = Line::of(self.card.style(), &text).wrapped(columns, 2);
        lines.drain(..lines.len().saturating_sub(height.max(1)));
        let last = lines.last().map_or(0, Line::width);
        let cursor = (lines.len().saturating_sub(1), (last + 1).min(columns));
        Screen { lines, cursor }
    }
}

/// An offer and the digit that allows it.
fn numbered(number: u8, offer: &str, columns: usize) -> Vec<Line> {
    let gutter = Line::of(Style::PLAIN, &format!("[{number}] "));
    Line::of(Style::PLAIN, offer).beside(&gutter, columns)
}

/// The calls that an offer covers: its rules without the tool, which the card shows.
fn label(offer: &OfferView) -> String {
    if offer.rules.is_empty() {
        return "this again".to_owned();
    }
    let rules = offer.rules.iter().map(|rule| {
        let inner = rule
            .split_once('(')
            .and_then(|(_, inner)| inner.strip_suffix(')'));
        let inner = inner.unwrap_or(rule);
        inner.strip_prefix("./").unwrap_or(inner).to_owned()
    });
    rules.collect::<Vec<_>>().join(", ")
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
            warnings: Vec::new(),
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

    fn shown(dialog: &mut Dialog, columns: usize, height: usize, now: Instant) -> Vec<String> {
        let rows = dialog.rows(columns);
        dialog.was_shown(rows.len(), columns, height, now);
        let lines = dialog.screen(&rows, columns, height).lines;
        lines.iter().map(Line::text).collect()
    }

    /// The decision of a key that is pressed `quiet` after the whole request was shown; `None`: the key is pressed
    /// before the request was shown.
    fn decision(key: &Key, quiet: Option<Duration>) -> Option<Decision> {
        let (mut dialog, start) = (Dialog::of(view(), Channel::Pane), Instant::now());
        if quiet.is_some() {
            shown(&mut dialog, 80, 24, start);
        }
        match dialog.press(key, true, start + quiet.unwrap_or_default()) {
            KeyEffect::Decided(decide) => {
                assert_eq!(decide.digest, Some("d".repeat(64)));
                Some(decide.decision)
            }
            KeyEffect::Later | KeyEffect::Nothing => None,
        }
    }

    const Y: Key = Key::Char('y');

    #[test]
    fn keys_decide_after_all_rows_and_a_pause() {
        let once = Some(Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        });
        assert_eq!(decision(&Y, Some(QUIET)), once);
        assert_eq!(decision(&Y, Some(QUIET - Duration::from_millis(1))), None);
        assert_eq!(decision(&Y, None), None);
        let denied = Some(Decision::Deny {
            reason: String::new(),
        });
        let no = Key::Char('n');
        assert_eq!(decision(&no, Some(QUIET)), denied);
        assert_eq!(decision(&no, Some(QUIET - Duration::from_millis(1))), None);
        assert_eq!(decision(&no, None), None);
    }

    /// A command of ten lines.
    fn long() -> Dialog {
        let mut view = view();
        let lines: Vec<String> = (0..10).map(|line| format!("<{line}>")).collect();
        let input = serde_json::json!({ "command": lines.join("\n") });
        view.input = to_raw_value(&input).unwrap();
        (view.why, view.offers) = (Vec::new(), Vec::new());
        Dialog::of(view, Channel::Pane)
    }

    #[test]
    fn keys_allow_only_after_the_last_row_was_shown() {
        let (mut dialog, mut now) = (long(), Instant::now());
        for page in 0..3 {
            let lines = shown(&mut dialog, 80, 7, now);
            now += QUIET;
            let last = page == 2;
            assert_eq!(dialog.is_read(), last, "{lines:?}");
            assert_eq!(lines.iter().any(|line| line.contains("[y] once")), last);
            let decided = matches!(dialog.press(&Y, true, now), KeyEffect::Decided(_));
            assert_eq!(decided, last, "page {page}");
            dialog.press(&Key::Control('o'), true, now);
        }
        // Another width wraps the text differently, so all rows must be shown again.
        shown(&mut dialog, 40, 7, now);
        assert!(matches!(
            dialog.press(&Y, true, now + QUIET),
            KeyEffect::Nothing
        ));
    }

    #[test]
    fn an_unread_request_can_be_denied_or_postponed() {
        let (mut dialog, start) = (long(), Instant::now());
        shown(&mut dialog, 80, 7, start);
        let early = dialog.press(&Key::Escape, true, start);
        assert!(matches!(early, KeyEffect::Nothing));
        let later = dialog.press(&Key::Escape, true, start + QUIET);
        assert!(matches!(later, KeyEffect::Later));
        let denied = dialog.press(&Key::Char('n'), true, start + 2 * QUIET);
        assert!(matches!(denied, KeyEffect::Decided(_)));
    }

    #[test]
    fn pasted_combined_and_unknown_keys_decide_nothing() {
        let keys = ['Y', '0', '3', ' '].map(Key::Char);
        for key in keys.iter().chain([&Key::Paste("y".into()), &Key::Enter]) {
            assert_eq!(decision(key, Some(QUIET)), None, "{key:?}");
        }
        let (mut dialog, start) = (Dialog::of(view(), Channel::Pane), Instant::now());
        shown(&mut dialog, 80, 24, start);
        for key in [
            Y,
            Key::Char('1'),
            Key::Char('n'),
            Key::Char('e'),
            Key::Escape,
        ] {
            let pressed = dialog.press(&key, false, start + QUIET);
            assert!(matches!(pressed, KeyEffect::Nothing), "{key:?}");
        }
        assert!(!dialog.is_typing());
    }

    #[test]
    fn a_digit_chooses_the_rule_that_is_shown_for_it() {
        // The exact call has no key, because a rule is offered.
        let rules = Some(Decision::Allow {
            scope: Scope::Team,
            rules: vec!["Bash(rm:*)".into()],
        });
        assert_eq!(decision(&Key::Char('1'), Some(QUIET)), rules);
        assert_eq!(decision(&Key::Char('2'), Some(QUIET)), None);
        let mut dialog = Dialog::of(view(), Channel::Pane);
        let lines = shown(&mut dialog, 80, 24, Instant::now());
        let keys = "[y] once  for the team: [1] rm:*  [n] no  [e] no, because…  [esc] later";
        assert_eq!(lines.last().map(String::as_str), Some(keys));
    }

    #[test]
    fn a_long_rule_is_shown_in_full() {
        let mut view = view();
        let rule = format!("Bash({} evil:*)", "word ".repeat(20));
        view.offers[1].rules = vec![rule.clone()];
        let mut dialog = Dialog::of(view, Channel::Pane);
        let lines = shown(&mut dialog, 60, 40, Instant::now());
        let text: String = lines.join(" ").replace(['│', ' '], "");
        assert!(text.contains(&rule.replace(' ', "")), "{lines:#?}");
    }

    #[test]
    fn a_denial_has_the_typed_reason() {
        let (mut dialog, start) = (Dialog::of(view(), Channel::Pane), Instant::now());
        shown(&mut dialog, 80, 24, start);
        dialog.press(&Key::Char('e'), true, start + QUIET);
        assert!(dialog.is_typing());
        for key in "use make".chars().map(Key::Char) {
            assert!(matches!(
                dialog.press(&key, true, start),
                KeyEffect::Nothing
            ));
        }
        let lines = shown(&mut dialog, 80, 24, start);
        assert!(
            lines.iter().any(|line| line == "no, because ▸ use make"),
            "{lines:#?}"
        );
        let KeyEffect::Decided(decide) = dialog.press(&Key::Enter, true, start) else {
            panic!("nothing was decided");
        };
        let reason = "use make".to_owned();
        assert_eq!(decide.decision, Decision::Deny { reason });
    }
}
