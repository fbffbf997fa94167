//! What keys do to [`Top`]. Used by the loop; pure.

use std::time::Instant;

use agent_team_protocol::attention;
use agent_team_protocol::request::RequestView;
use agent_team_protocol::{MemberName, Recipient};

use super::question::{Answered, Question};
use super::state::{Act, Deed, Mode, Prompt, Top, View};
use agent_team_terminal_ui::keys::Key;

/// Lines that one press of a paging key moves.
const PAGE: usize = 10;

impl Top {
    /// `keys` came at once.
    pub(super) fn press(&mut self, keys: &[Key], now: Instant) -> Vec<Act> {
        self.changed = true;
        let alone = keys.len() == 1;
        let acts = keys.iter().filter_map(|key| self.key(key, alone, now));
        acts.collect()
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of all keys only these mean something here"
    )]
    fn key(&mut self, key: &Key, alone: bool, now: Instant) -> Option<Act> {
        if *key == Key::Control('c') {
            return Some(Act::Quit);
        }
        self.said = None;
        match &mut self.mode {
            Mode::Browse => self.browse(key),
            Mode::Help => {
                self.mode = Mode::Browse;
                None
            }
            Mode::Confirm(deed) => {
                let deed = deed.clone();
                self.mode = Mode::Browse;
                // What came with others was not typed in answer to the question.
                (*key == Key::Char('y') && alone).then_some(Act::Do(deed))
            }
            Mode::Prompt { asks, typed } => match key {
                Key::Enter => {
                    let (asks, typed) = (asks.clone(), std::mem::take(typed));
                    self.mode = Mode::Browse;
                    self.entered(asks, &typed)
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
            Mode::Asked(question) => match question.press(key, alone, now) {
                Answered::Decided(decide) => {
                    self.mode = Mode::Browse;
                    Some(Act::Do(Deed::Decide(decide)))
                }
                Answered::Later => {
                    self.mode = Mode::Browse;
                    None
                }
                Answered::NotYet => None,
            },
        }
    }

    fn browse(&mut self, key: &Key) -> Option<Act> {
        let selected = self.selected().cloned();
        match key {
            Key::Char('q') => return Some(Act::Quit),
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Up | Key::Char('k') => self.select(-1),
            Key::Down | Key::Char('j') => self.select(1),
            Key::Tab => self.turn(1),
            Key::BackTab => self.turn(View::ALL.len() - 1),
            Key::Char(c @ '1'..='4') => {
                let index = c.to_digit(10).map_or(0, |digit| digit as usize - 1);
                self.show(View::ALL[index]);
            }
            Key::PageUp => self.scroll(self.grows_at_the_end(), PAGE),
            Key::PageDown => self.scroll(!self.grows_at_the_end(), PAGE),
            Key::Home => self.scroll(self.grows_at_the_end(), usize::MAX),
            Key::End => self.scroll(!self.grows_at_the_end(), usize::MAX),
            Key::Char('g') => self.select_next(),
            Key::Char('r') => self.ask(),
            Key::Char('d') => self.show_decided(),
            Key::Char('/') => {
                let typed = self.filter.clone();
                let asks = Prompt::Filter;
                self.mode = Mode::Prompt { asks, typed };
            }
            Key::Escape => self.filter.clear(),
            Key::Char('n') => self.prompt(Prompt::Spawn),
            Key::Char('S') => self.prompt(Prompt::Send {
                to: Recipient::All,
                urgent: false,
            }),
            Key::Char('Q') => self.mode = Mode::Confirm(Deed::Down),
            Key::Char(c) => {
                let member = selected?;
                let to = Recipient::Member(member.clone());
                match c {
                    'a' => return Some(Act::Attach(member)),
                    's' => self.prompt(Prompt::Send { to, urgent: false }),
                    '!' => self.prompt(Prompt::Send { to, urgent: true }),
                    'x' => self.mode = Mode::Confirm(Deed::Stop(member)),
                    'K' => self.mode = Mode::Confirm(Deed::Kill(member)),
                    'R' => self.mode = Mode::Confirm(Deed::Restart(member)),
                    _ => {}
                }
            }
            Key::Enter => return selected.map(Act::Attach),
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

    fn prompt(&mut self, asks: Prompt) {
        self.mode = Mode::Prompt {
            asks,
            typed: String::new(),
        };
    }

    fn entered(&mut self, asks: Prompt, typed: &str) -> Option<Act> {
        let text = typed.trim();
        match asks {
            Prompt::Filter => {
                text.clone_into(&mut self.filter);
                self.scroll = 0;
                self.keep_selection();
                None
            }
            _ if text.is_empty() => None,
            Prompt::Send { to, urgent } => Some(Act::Do(Deed::Send {
                to,
                text: text.to_owned(),
                urgent,
            })),
            Prompt::Spawn => match spawn(text) {
                Ok(deed) => Some(Act::Do(deed)),
                Err(why) => {
                    self.failed(why);
                    None
                }
            },
        }
    }

    fn select(&mut self, by: isize) {
        let names: Vec<_> = self.members().iter().map(|it| it.name.clone()).collect();
        let here = names.iter().position(|name| Some(name) == self.selected());
        let last = names.len().saturating_sub(1);
        let next = here.map_or(0, |at| at.saturating_add_signed(by).min(last));
        self.select_member(names.into_iter().nth(next));
    }

    fn select_next(&mut self) {
        match attention::next(&self.team.members, &self.requests) {
            Some(member) => {
                let member = member.name.clone();
                self.filter.clear();
                self.select_member(Some(member));
            }
            None => self.say("nobody waits for you".into()),
        }
    }

    /// Opens the oldest request of the selected member, else of anybody.
    fn ask(&mut self) {
        let of_selected = |it: &&RequestView| Some(&it.member) == self.selected();
        let request = self.requests.iter().find(of_selected);
        match request.or(self.requests.first()).cloned() {
            Some(request) => {
                self.select_member(Some(request.member.clone()));
                self.mode = Mode::Asked(Question::of(request));
            }
            None => self.say("nobody asks for a permission".into()),
        }
    }

    /// Turns from the requests that wait to those that are decided, or back.
    fn show_decided(&mut self) {
        let shows = self.view == View::Requests && self.decided.is_some();
        self.show(View::Requests);
        self.decided = (!shows).then(Vec::new);
        self.more_decided = !shows;
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.scroll = 0;
    }

    fn turn(&mut self, by: usize) {
        let here = View::ALL.iter().position(|view| *view == self.view);
        let next = (here.unwrap_or(0) + by) % View::ALL.len();
        self.show(View::ALL[next]);
    }

    /// What there is to scroll the frame tells: [`Top::was_shown`].
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
    reason = "of all keys only these mean something here"
)]
fn edit(typed: &mut String, key: &Key) {
    match key {
        Key::Char(c) => typed.push(*c),
        // A message may have lines; what is typed here has one.
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

/// `worker` or `worker ada`.
fn spawn(text: &str) -> Result<Deed, String> {
    let mut words = text.split_whitespace();
    let role = words.next().unwrap_or_default();
    let role = role.parse().map_err(|why| format!("{role}: {why}"))?;
    let name = words.next().map(|name| {
        let parsed = name.parse::<MemberName>();
        parsed.map_err(|why| format!("{name}: {why}"))
    });
    match words.next() {
        Some(_) => Err("a role, and perhaps a name: no more".into()),
        None => Ok(Deed::Spawn {
            role,
            name: name.transpose()?,
        }),
    }
}
