//! Whom the terminal shows, what each member's face is told, and what keys come to. Used by [`super`]; pure.
//!
//! Each member has a face of her own, which hears all that she says; the one that is shown is painted, with a strip of
//! all of them above its prompt. What the others have said meanwhile comes when they are turned to.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use agent_team_face::keys::Key;
use agent_team_face::line::{Line, Look};
use agent_team_face::{Act, Face, Tone, Words, call};
use agent_team_protocol::notification::{Said, TransientNotice};
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};
use agent_team_protocol::spec::Engine;
use agent_team_protocol::view::{MemberState, MemberView, TeamView, Waiting};
use agent_team_protocol::{MemberName, RequestId, TeamId};

use crate::session::Notice;

/// What the person wants.
#[derive(Debug)]
pub(super) enum Deed {
    Send {
        to: MemberName,
        text: String,
    },
    /// A line for the shell of a member that runs commands.
    Task {
        member: MemberName,
        line: String,
    },
    Decide(DecideRequest),
    /// `agent-team` with these arguments.
    Verb(Vec<String>),
    Leave,
}

#[derive(Debug)]
struct Row {
    view: MemberView,
    face: Face,
    /// The request that she waits for, and whether it was looked up already.
    asks: Option<(RequestId, bool)>,
    /// She said something since she was shown.
    news: bool,
    /// Calls that her model is still saying: the tool, and its arguments so far.
    calls: HashMap<String, (String, String)>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) team: TeamId,
    /// The team is to be looked at.
    pub(super) stale: bool,
    members: Vec<Row>,
    shown: usize,
    read_only: bool,
    colours: bool,
    size: (u16, u16),
    /// What takes the one away that was shown before.
    aside: Vec<u8>,
}

impl State {
    pub(super) fn new(
        team: &TeamView,
        first: Option<&MemberName>,
        read_only: bool,
        colours: bool,
    ) -> Self {
        let mut state = Self {
            team: team.team.clone(),
            stale: false,
            members: Vec::new(),
            shown: 0,
            read_only,
            colours,
            size: (80, 24),
            aside: Vec::new(),
        };
        for member in &team.members {
            state.add(member.clone());
        }
        let is_first = |row: &Row| first.map_or(row.view.lead, |first| row.view.name == *first);
        state.shown = state.members.iter().position(is_first).unwrap_or(0);
        state
    }

    fn add(&mut self, view: MemberView) {
        let mut face = Face::new(view.name.clone(), self.colours);
        face.set_colour(Some(view.colour));
        face.moved(self.size);
        face.open("tab: the next member · ^C: leave, and all goes on · /help");
        self.members.push(Row {
            view,
            face,
            asks: None,
            news: false,
            calls: HashMap::new(),
        });
    }

    /// Whose face is shown.
    pub(super) fn shown(&self) -> &MemberName {
        &self.members[self.shown].view.name
    }

    fn row(&mut self, member: &MemberName) -> Option<&mut Row> {
        self.members.iter_mut().find(|row| row.view.name == *member)
    }

    pub(super) fn resized(&mut self, size: (u16, u16)) {
        self.size = size;
        for row in &mut self.members {
            row.face.fit(size);
        }
    }

    /// What a member has shown before.
    pub(super) fn printed(&mut self, member: &MemberName, text: &str) {
        if let Some(row) = self.row(member) {
            row.face.lines(Tone::Plain, text);
        }
    }

    /// The team as it is now.
    pub(super) fn seen(&mut self, team: TeamView, now: Instant) {
        self.members.retain(|row| {
            let is_it = |member: &MemberView| member.name == row.view.name;
            // Who is shown stays, with what she said last.
            team.members.iter().any(is_it) || row.view.lead
        });
        self.shown = self.shown.min(self.members.len().saturating_sub(1));
        for view in team.members {
            match self.row(&view.name) {
                Some(row) => row.seen(view, now),
                None => self.add(view),
            }
        }
    }

    /// Requests that are to be looked up now, and whose they are.
    pub(super) fn wanted_requests(&mut self) -> Vec<(MemberName, RequestId)> {
        let wanted = self.members.iter_mut().filter_map(|row| {
            let (request, looked_up) = row.asks.as_mut()?;
            let first = !std::mem::replace(looked_up, true);
            first.then(|| (row.view.name.clone(), *request))
        });
        wanted.collect()
    }

    pub(super) fn asks(&mut self, member: &MemberName, view: RequestView) {
        if let Some(row) = self.row(member)
            && row.asks.is_some_and(|(request, _)| request == view.id)
        {
            row.face.ask(view, Channel::Top);
        }
    }

    pub(super) fn heard(&mut self, notice: Notice, now: Instant) {
        let Notice::Transient(TransientNotice {
            member, text, said, ..
        }) = notice
        else {
            self.stale = true;
            return;
        };
        if text.is_empty() && said.is_empty() {
            self.stale = true;
            return;
        }
        let shown = self.shown().clone();
        if let Some(row) = self.row(&member) {
            row.news = member != shown;
            match row.view.engine {
                Engine::Command => row.face.lines(Tone::Plain, &text),
                Engine::Native => {
                    for said in said {
                        row.said(said, now);
                    }
                }
            }
        }
    }

    /// A line of ours, wherever the person is.
    pub(super) fn note(&mut self, text: &str) {
        self.members[self.shown].face.lines(Tone::Accent, text);
    }

    pub(super) fn done(&mut self, member: &MemberName, text: &str) {
        self.printed(member, text);
    }

    /// `keys`: what was typed at once.
    pub(super) fn press(&mut self, keys: &[Key], now: Instant) -> Vec<Deed> {
        match keys {
            keys if keys.contains(&Key::Control('\\')) => return vec![Deed::Leave],
            [Key::Tab] => self.turn(1),
            [Key::BackTab] => self.turn(self.members.len().saturating_sub(1)),
            keys => {
                let row = &mut self.members[self.shown];
                if self.read_only {
                    let leaves = keys
                        .iter()
                        .any(|key| matches!(key, Key::Control('c' | 'd')));
                    return leaves.then_some(Deed::Leave).into_iter().collect();
                }
                let acts = row.face.press(keys, now);
                return acts.into_iter().map(|act| row.deed(act)).collect();
            }
        }
        Vec::new()
    }

    fn turn(&mut self, by: usize) {
        self.aside
            .extend(self.members[self.shown].face.step_aside());
        self.shown = (self.shown + by) % self.members.len().max(1);
        let row = &mut self.members[self.shown];
        row.news = false;
        let title = format!("━━ {} ({}) ━━", row.view.name, row.view.role);
        row.face.step_in(&title);
    }

    pub(super) fn next_paint(&self, now: Instant) -> Option<Instant> {
        self.members[self.shown].face.next_paint(now)
    }

    pub(super) fn paint(&mut self, size: (u16, u16), now: Instant) -> Vec<u8> {
        let strip = if self.members.len() > 1 {
            self.strip()
        } else {
            Line::default()
        };
        let mut bytes = std::mem::take(&mut self.aside);
        let face = &mut self.members[self.shown].face;
        face.set_strip(strip);
        bytes.extend(face.paint(size, now));
        bytes
    }

    pub(super) fn was_painted(&mut self, now: Instant) {
        self.members[self.shown].face.was_painted(now);
    }

    /// What leaves the terminal as it should be.
    pub(super) fn leave(&mut self, size: (u16, u16)) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.aside);
        bytes.extend(self.members[self.shown].face.leave(size));
        bytes
    }

    /// All members, the one that is shown in brackets.
    fn strip(&self) -> Line {
        let mut strip = Line::default();
        for (number, row) in self.members.iter().enumerate() {
            let is_shown = number == self.shown;
            let look = Look {
                bold: is_shown,
                ..Look::coloured(row.view.colour.ansi256())
            };
            let (open, close) = if is_shown { ("[", "]") } else { (" ", " ") };
            strip.push(Look::DIM, open);
            strip.push(look, row.view.name.as_str());
            strip.push(Look::PLAIN, &format!(" {}", sign(&row.view)));
            if row.news {
                strip.push(look, "•");
            }
            strip.push(Look::DIM, close);
        }
        strip
    }
}

/// Her state at a glance.
fn sign(view: &MemberView) -> &'static str {
    match view.state {
        _ if view.requests > 0 => "?",
        MemberState::Working => "◐",
        MemberState::Idle => "○",
        MemberState::Waiting => "…",
        MemberState::Stopped | MemberState::Held | MemberState::Unresponsive => "✗",
        MemberState::Planned
        | MemberState::Launching
        | MemberState::Draining
        | MemberState::Cooling
        | MemberState::Unknown => "·",
    }
}

impl Row {
    fn seen(&mut self, view: MemberView, now: Instant) {
        let works = view.state == MemberState::Working;
        if works != (self.view.state == MemberState::Working) {
            let since = now
                .checked_sub(Duration::from_millis(view.for_ms))
                .unwrap_or(now);
            self.face.thinks(works.then_some(since));
        }
        self.face.waits(view.state == MemberState::Waiting, now);
        let asks = match &view.waiting {
            Some(Waiting::Permission { request } | Waiting::Plan { request, .. }) => Some(*request),
            Some(_) | None => None,
        };
        let before = self.asks.map(|(request, _)| request);
        if asks != before {
            if let Some(before) = before {
                self.face.end_request(before);
            }
            self.asks = asks.map(|request| (request, false));
        }
        self.view = view;
    }

    fn said(&mut self, said: Said, now: Instant) {
        match said {
            Said::Text { delta, .. } => self.face.say(Words::Spoken, &delta),
            Said::TextEnded { .. } => self.face.pause(),
            Said::Call { call, tool, .. } => {
                self.calls.insert(call, (tool, String::new()));
            }
            Said::Input { call, delta } => {
                if let Some((_, input)) = self.calls.get_mut(&call) {
                    input.push_str(&delta);
                }
            }
            Said::CallEnded { call } => {
                if let Some((tool, input)) = self.calls.remove(&call) {
                    self.face
                        .begin_call(&call, &call::header(&tool, &input), now);
                }
            }
            Said::Returned { call, text } => {
                self.face
                    .end_call(&call, &call::first_line(&text, false), None, &text);
            }
            Said::Lines { text, diff } => {
                let tone = if diff { Tone::Diff } else { Tone::Accent };
                self.face.lines(tone, &text);
            }
            Said::Unknown => {}
        }
    }

    fn deed(&self, act: Act) -> Deed {
        let member = self.view.name.clone();
        match act {
            Act::Typed(text) => match self.view.engine {
                Engine::Command => Deed::Task { member, line: text },
                Engine::Native => Deed::Send { to: member, text },
            },
            Act::Run(_, words) => Deed::Verb(words),
            Act::Decide(decide) => Deed::Decide(decide),
            Act::Leave => Deed::Leave,
        }
    }
}
