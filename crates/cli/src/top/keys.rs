//! Key handling of [`Top`]. Called by the event loop; pure.

use std::time::Instant;

use agent_team_protocol::attention;
use agent_team_protocol::request::RequestView;
use agent_team_protocol::{MemberName, Recipient};

use super::question::{KeyResult, Question};
use super::state::{Action, Effect, Mode, Prompt, Top, View};
use agent_team_terminal_ui::keys::Key;

/// Lines that a page key scrolls.
const PAGE: usize = 10;

impl Top {
    /// Handles the keys of one read.
    pub(super) fn on_keys(&mut self, keys: &[Key], now: Instant) -> Vec<Effect> {
        self.changed = true;
        let is_only_key = keys.len() == 1;
        let effects = keys
            .iter()
            .filter_map(|key| self.on_key(key, is_only_key, now));
        effects.collect()
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other keys do nothing here"
    )]
    fn on_key(&mut self, key: &Key, is_only_key: bool, now: Instant) -> Option<Effect> {
        if *key == Key::Control('c') {
            return Some(Effect::Quit);
        }
        self.status = None;
        match &mut self.mode {
            Mode::Browse => self.browse(key),
            Mode::Help => {
                self.mode = Mode::Browse;
                None
            }
            Mode::Confirm(action) => {
                let action = action.clone();
                self.mode = Mode::Browse;
                // Ignore keys from the same read: they were typed before the question appeared.
                (*key == Key::Char('y') && is_only_key).then_some(Effect::Perform(action))
            }
            Mode::Prompt { prompt, typed } => match key {
                Key::Enter => {
                    let (prompt, typed) = (prompt.clone(), std::mem::take(typed));
                    self.mode = Mode::Browse;
                    self.on_line(prompt, &typed)
                }
                Key::Escape => {
                    self.mode = Mode::Browse;
                    None
                }
                _ => {
                    edit(typed, key);
                    None
                }
            },
            Mode::Question(question) => match question.on_key(key, is_only_key, now) {
                KeyResult::Decided(decide) => {
                    self.mode = Mode::Browse;
                    Some(Effect::Perform(Action::Decide(decide)))
                }
                KeyResult::Later => {
                    self.mode = Mode::Browse;
                    None
                }
                KeyResult::Open => None,
            },
        }
    }

    fn browse(&mut self, key: &Key) -> Option<Effect> {
        let selected = self.selected().cloned();
        match key {
            Key::Char('q') => return Some(Effect::Quit),
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Up | Key::Char('k') => self.select(-1),
            Key::Down | Key::Char('j') => self.select(1),
            Key::Tab => self.switch_view(1),
            Key::BackTab => self.switch_view(View::ALL.len() - 1),
            Key::Char(c @ '1'..='4') => {
                let index = c.to_digit(10).map_or(0, |digit| digit as usize - 1);
                self.show(View::ALL[index]);
            }
            Key::PageUp => self.scroll(self.is_newest_last(), PAGE),
            Key::PageDown => self.scroll(!self.is_newest_last(), PAGE),
            Key::Home => self.scroll(self.is_newest_last(), usize::MAX),
            Key::End => self.scroll(!self.is_newest_last(), usize::MAX),
            Key::Char('g') => self.select_next(),
            Key::Char('r') => self.open_request(),
            Key::Char('d') => self.toggle_decisions(),
            Key::Char('/') => {
                let typed = self.filter.clone();
                let prompt = Prompt::Filter;
                self.mode = Mode::Prompt { prompt, typed };
            }
            Key::Escape => self.filter.clear(),
            Key::Char('n') => self.open_prompt(Prompt::Spawn),
            Key::Char('S') => self.open_prompt(Prompt::Send {
                to: Recipient::All,
                urgent: false,
            }),
            Key::Char('Q') => self.mode = Mode::Confirm(Action::Down),
            Key::Char(c) => {
                let member = selected?;
                let to = Recipient::Member(member.clone());
                match c {
                    'a' => return Some(Effect::Attach(member)),
                    's' => self.open_prompt(Prompt::Send { to, urgent: false }),
                    '!' => self.open_prompt(Prompt::Send { to, urgent: true }),
                    'x' => self.mode = Mode::Confirm(Action::Stop(member)),
                    'K' => self.mode = Mode::Confirm(Action::Kill(member)),
                    'R' => self.mode = Mode::Confirm(Action::Restart(member)),
                    _ => {}
                }
            }
            Key::Enter => return selected.map(Effect::Attach),
            Key::Control(_)
            | Key::NewLine
            | Key::Backspace
            | Key::Delete
            | Key::DeleteWord
            | Key::Left
            | Key::Right
            | Key::WordLeft
            | Key::WordRight
            | Key::Paste(_)
            | Key::Other => {}
        }
        None
    }

    fn open_prompt(&mut self, prompt: Prompt) {
        self.mode = Mode::Prompt {
            prompt,
            typed: String::new(),
        };
    }

    /// Handles the line that was entered at a prompt.
    fn on_line(&mut self, prompt: Prompt, typed: &str) -> Option<Effect> {
        let text = typed.trim();
        match prompt {
            Prompt::Filter => {
                text.clone_into(&mut self.filter);
                self.scroll = 0;
                self.keep_selection();
                None
            }
            _ if text.is_empty() => None,
            Prompt::Send { to, urgent } => Some(Effect::Perform(Action::Send {
                to,
                text: text.to_owned(),
                urgent,
            })),
            Prompt::Spawn => match parse_spawn(text) {
                Ok(action) => Some(Effect::Perform(action)),
                Err(why) => {
                    self.set_error(why);
                    None
                }
            },
        }
    }

    fn select(&mut self, by: isize) {
        let names: Vec<_> = self.members().iter().map(|it| it.name.clone()).collect();
        let current = names.iter().position(|name| Some(name) == self.selected());
        let last = names.len().saturating_sub(1);
        let next = current.map_or(0, |at| at.saturating_add_signed(by).min(last));
        self.select_member(names.into_iter().nth(next));
    }

    fn select_next(&mut self) {
        match attention::next(&self.team.members, &self.requests) {
            Some(member) => {
                let member = member.name.clone();
                self.filter.clear();
                self.select_member(Some(member));
            }
            None => self.set_status("no member waits for you".into()),
        }
    }

    /// Opens the oldest request of the selected member, or else the oldest of all.
    fn open_request(&mut self) {
        let of_selected = |it: &&RequestView| Some(&it.member) == self.selected();
        let request = self.requests.iter().find(of_selected);
        match request.or(self.requests.first()).cloned() {
            Some(request) => {
                self.select_member(Some(request.member.clone()));
                self.mode = Mode::Question(Question::of(request));
            }
            None => self.set_status("no pending requests".into()),
        }
    }

    /// Switches between pending and decided requests.
    fn toggle_decisions(&mut self) {
        let is_shown = self.view == View::Requests && self.decided.is_some();
        self.show(View::Requests);
        self.decided = (!is_shown).then(Vec::new);
        self.more_decided = !is_shown;
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.scroll = 0;
    }

    fn switch_view(&mut self, by: usize) {
        let current = View::ALL.iter().position(|view| *view == self.view);
        let next = (current.unwrap_or(0) + by) % View::ALL.len();
        self.show(View::ALL[next]);
    }

    /// Scrolls `away` from the initial position of the view, or back to it. The next frame limits the position to the
    /// existing lines, in [`Top::on_frame_shown`].
    fn scroll(&mut self, away: bool, lines: usize) {
        self.scroll = if away {
            self.scroll.saturating_add(lines)
        } else {
            self.scroll.saturating_sub(lines)
        };
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other keys do nothing here"
)]
fn edit(typed: &mut String, key: &Key) {
    match key {
        Key::Char(c) => typed.push(*c),
        // The prompt is a single line, so newlines of a paste become blanks.
        Key::Paste(text) => typed.push_str(&text.replace(['\r', '\n'], " ")),
        Key::Backspace => drop(typed.pop()),
        Key::Control('u') => typed.clear(),
        Key::Control('w') => {
            let rest = typed.trim_end();
            let word = rest.rfind(' ').map_or(0, |blank| blank + 1);
            typed.truncate(word);
        }
        _ => {}
    }
}

/// Parses `worker` or `worker ada`.
fn parse_spawn(text: &str) -> Result<Action, String> {
    let mut words = text.split_whitespace();
    let role = words.next().unwrap_or_default();
    let role = role.parse().map_err(|why| format!("{role}: {why}"))?;
    let name = words.next().map(|name| {
        let parsed = name.parse::<MemberName>();
        parsed.map_err(|why| format!("{name}: {why}"))
    });
    match words.next() {
        Some(_) => Err("expected a role and an optional name".into()),
        None => Ok(Action::Spawn {
            role,
            name: name.transpose()?,
        }),
    }
}
