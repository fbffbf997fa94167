//! Whom the terminal shows, what each member's face is told, and what keys come to. Used by [`super`]; pure.
//!
//! Each member has a face of her own, which hears all that she says; the one that is shown is painted, with a strip of
//! all of them above its prompt. What the others have said meanwhile comes when they are turned to.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use agent_team_protocol::notification::{Said, TransientNotice};
use agent_team_protocol::request::{Channel, DecideRequest, RequestView};
use agent_team_protocol::spec::Engine;
use agent_team_protocol::view::{MemberState, MemberView, TeamView, Waiting};
use agent_team_protocol::{MemberName, RequestId, TeamId};
use agent_team_terminal_ui::keys::Key;
use agent_team_terminal_ui::{Act as Typed, Tone, TranscriptView, Words, call};

use super::strip::{self, Mark};
use crate::session::Notice;

/// For who comes here, once.
const HINT: &str = "tab: the next member · ^C: leave, and all goes on · /help";

/// What the loop does next.
#[derive(Debug)]
pub(super) enum Act {
    Leave,
    /// `typed`: what the prompts are to remember.
    Do {
        deed: Deed,
        typed: Option<String>,
    },
}

/// What the person wants of the supervisor.
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
}

#[derive(Debug)]
struct Row {
    view: MemberView,
    face: TranscriptView,
    /// The request that she waits for, and whether it was looked up already.
    asks: Option<(RequestId, bool)>,
    /// She said something since she was shown.
    news: bool,
    /// She is in the team no more.
    gone: bool,
    /// Calls that her model is still saying: the tool, and its arguments so far.
    calls: HashMap<String, (String, String)>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) team: TeamId,
    /// The team is to be looked at.
    pub(super) stale: bool,
    /// Never empty: who is shown stays.
    members: Vec<Row>,
    /// What was typed to any of them, the oldest first.
    typed: Vec<String>,
    shown: usize,
    /// The terminal has the one who is shown, rather than what was there before.
    is_painted: bool,
    /// What takes the one away who was shown before.
    aside: Vec<u8>,
    read_only: bool,
    colours: bool,
    size: (u16, u16),
}

impl State {
    /// `None`: the team has no members.
    pub(super) fn new(
        team: &TeamView,
        first: Option<&MemberName>,
        read_only: bool,
        colours: bool,
        now: Instant,
    ) -> Option<Self> {
        let is_first = |view: &MemberView| first.map_or(view.lead, |first| view.name == *first);
        let shown = team.members.iter().position(is_first).unwrap_or(0);
        let mut state = Self {
            team: team.team.clone(),
            stale: false,
            members: Vec::new(),
            typed: Vec::new(),
            shown,
            is_painted: false,
            aside: Vec::new(),
            read_only,
            colours,
            size: (80, 24),
        };
        for member in &team.members {
            state.add(member.clone(), now);
        }
        let face = &mut state.members.get_mut(shown)?.face;
        face.lines(Tone::Dim, HINT);
        state.mark();
        Some(state)
    }

    fn add(&mut self, view: MemberView, now: Instant) {
        let mut face = TranscriptView::new(view.name.clone(), self.colours);
        face.set_colour(Some(view.colour));
        face.moved(self.size);
        face.remember(self.typed.iter().cloned());
        face.open("");
        let mut row = Row {
            view: view.clone(),
            face,
            asks: None,
            news: false,
            gone: false,
            calls: HashMap::new(),
        };
        row.begin(now);
        row.seen(view, now);
        self.members.push(row);
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
        self.mark();
    }

    /// What a member has shown before.
    pub(super) fn printed(&mut self, member: &MemberName, text: &str) {
        if let Some(row) = self.row(member) {
            row.face.lines(Tone::Plain, text);
        }
    }

    /// What was typed to the team before, the oldest first.
    pub(super) fn remember(&mut self, typed: impl IntoIterator<Item = String>) {
        for text in typed {
            for row in &mut self.members {
                row.face.remember([text.clone()]);
            }
            self.typed.push(text);
        }
    }

    /// The team as it is now.
    pub(super) fn seen(&mut self, team: TeamView, now: Instant) {
        let names: Vec<_> = team.members.iter().map(|view| view.name.clone()).collect();
        for view in team.members {
            match self.row(&view.name) {
                Some(row) => row.seen(view, now),
                None => self.add(view, now),
            }
        }
        let shown = &mut self.members[self.shown];
        let is_gone = !names.contains(&shown.view.name);
        if is_gone && !shown.gone {
            let gone = format!("{} is in the team no more", shown.view.name);
            shown.face.rests();
            shown.face.lines(Tone::Accent, &gone);
        }
        shown.gone = is_gone;
        let name = shown.view.name.clone();
        self.members
            .retain(|row| row.view.name == name || names.contains(&row.view.name));
        self.shown = self.position(&name);
        self.mark();
    }

    fn position(&self, member: &MemberName) -> usize {
        let at = |row: &Row| row.view.name == *member;
        self.members.iter().position(at).unwrap_or(0)
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
                Engine::Native | Engine::Unknown => {
                    for said in said {
                        row.said(said, now);
                    }
                }
            }
        }
        self.mark();
    }

    /// A line of ours, wherever the person is.
    pub(super) fn note(&mut self, text: &str) {
        self.members[self.shown].face.lines(Tone::Accent, text);
    }

    pub(super) fn done(&mut self, member: &MemberName, text: &str) {
        self.printed(member, text);
    }

    /// `keys`: what was typed at once.
    pub(super) fn press(&mut self, keys: &[Key], now: Instant) -> Vec<Act> {
        match keys {
            keys if keys.contains(&Key::Control('\\')) => return vec![Act::Leave],
            [Key::Tab] => self.turn(1),
            [Key::BackTab] => self.turn(self.members.len() - 1),
            keys => {
                let row = &mut self.members[self.shown];
                if self.read_only {
                    let leaves = |key| matches!(key, &Key::Control('c' | 'd'));
                    return keys
                        .iter()
                        .any(leaves)
                        .then_some(Act::Leave)
                        .into_iter()
                        .collect();
                }
                let typed = row.face.press(keys, now);
                let acts: Vec<Act> = typed.into_iter().map(|typed| row.act(typed)).collect();
                for act in &acts {
                    if let Act::Do {
                        typed: Some(typed), ..
                    } = act
                    {
                        self.remember([typed.clone()]);
                    }
                }
                return acts;
            }
        }
        Vec::new()
    }

    fn turn(&mut self, by: usize) {
        if std::mem::take(&mut self.is_painted) {
            self.aside = self.members[self.shown].face.step_aside();
        }
        let next = (self.shown + by) % self.members.len();
        let name = self.members[next].view.name.clone();
        self.members
            .retain(|row| row.view.name == name || !row.gone);
        self.shown = self.position(&name);
        self.members[self.shown].news = false;
        self.mark();
    }

    pub(super) fn next_paint(&self, now: Instant) -> Option<Instant> {
        if !self.is_painted {
            return Some(now);
        }
        self.members[self.shown].face.next_paint(now)
    }

    pub(super) fn paint(&mut self, now: Instant) -> Vec<u8> {
        let many = self.members.len() > 1;
        let row = &mut self.members[self.shown];
        if !std::mem::replace(&mut self.is_painted, true) {
            let title = format!("━━ {} ({}) ━━", row.view.name, row.view.role);
            row.face.step_in(many.then_some(&title));
        }
        let mut bytes = std::mem::take(&mut self.aside);
        bytes.extend(row.face.paint(now));
        bytes
    }

    pub(super) fn was_painted(&mut self, now: Instant) {
        self.members[self.shown].face.was_painted(now);
    }

    /// What leaves the terminal as it should be.
    pub(super) fn leave(&mut self, now: Instant) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.aside);
        bytes.extend(self.members[self.shown].face.leave(now));
        bytes
    }

    /// Brings the strip of all members to what it should be. Of one alone there is none.
    fn mark(&mut self) {
        if self.members.len() < 2 {
            return;
        }
        let marks = self.members.iter().map(|row| Mark {
            name: &row.view.name,
            colour: row.view.colour,
            sign: row.sign(),
            news: row.news,
        });
        let columns = usize::from(self.size.0).saturating_sub(1);
        let strip = strip::strip(&marks.collect::<Vec<_>>(), self.shown, columns);
        self.members[self.shown].face.set_strip(strip);
    }
}

impl Row {
    /// Her state at a glance.
    fn sign(&self) -> &'static str {
        match self.view.state {
            _ if self.gone => "✗",
            _ if self.view.requests > 0 => strip::ASKS,
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

    /// What she works at, since when.
    fn begin(&mut self, now: Instant) {
        let is_for = Duration::from_millis(self.view.for_ms);
        let since = now.checked_sub(is_for).unwrap_or(now);
        let what = match (self.view.engine, self.view.task) {
            (Engine::Command, Some(task)) => task.to_string(),
            (Engine::Command, None) | (Engine::Native | Engine::Unknown, _) => {
                "thinking".to_owned()
            }
        };
        let works = self.view.state == MemberState::Working;
        self.face.works(works.then_some((what, since)));
    }

    fn seen(&mut self, view: MemberView, now: Instant) {
        let before = (self.view.state, self.view.task);
        let is_new = before != (view.state, view.task);
        self.view = view;
        if is_new {
            self.begin(now);
        }
        let works = |state| matches!(state, MemberState::Working | MemberState::Waiting);
        if works(before.0) && !works(self.view.state) {
            // The end of a call may have been missed.
            self.face.rests();
            self.calls.clear();
        }
        self.face
            .waits(self.view.state == MemberState::Waiting, now);
        let asks = match &self.view.waiting {
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

    fn act(&self, typed: Typed) -> Act {
        let member = self.view.name.clone();
        let (deed, typed) = match typed {
            Typed::Typed(text) => {
                let line = text.clone();
                let deed = match self.view.engine {
                    Engine::Command => Deed::Task { member, line },
                    Engine::Native | Engine::Unknown => Deed::Send {
                        to: member,
                        text: line,
                    },
                };
                (deed, Some(text))
            }
            Typed::Run(typed, words) => (Deed::Verb(words), Some(typed)),
            Typed::Decide(decide) => (Deed::Decide(decide), None),
            Typed::Leave => return Act::Leave,
        };
        Act::Do { deed, typed }
    }
}
