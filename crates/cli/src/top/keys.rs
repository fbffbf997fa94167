//! Key handling of [`Top`]. Called by the event loop; pure.

use std::time::Instant;

use agent_team_protocol::attention;
use agent_team_protocol::request::RequestView;
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::TaskState;
use agent_team_protocol::{MemberName, Party, Recipient, TaskId};
use agent_team_terminal_ui::editor::Editor;
use agent_team_terminal_ui::keys::Key;

use super::pages::{why_member, why_task};
use super::request_dialog::{KeyResult, RequestDialog};
use super::rows::searchable_rows;
use super::search::Direction;
use super::state::{Action, Effect, Mode, Page, Prompt, Top};
use super::view::{Clock, TopView};

/// Rows that a page key moves.
const PAGE: isize = 10;

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

    fn on_key(&mut self, key: &Key, is_only_key: bool, now: Instant) -> Option<Effect> {
        if *key == Key::Control('c') {
            return Some(Effect::Quit);
        }
        if let Key::Mouse(mouse) = key {
            return self.on_mouse(*mouse);
        }
        self.status = None;
        match &mut self.mode {
            Mode::Confirm(action) => {
                let action = action.clone();
                self.mode = Mode::Browse;
                // Ignore keys from the same read: they were typed before the dialog appeared.
                (*key == Key::Char('y') && is_only_key).then_some(Effect::Perform(action))
            }
            Mode::Prompt { prompt, editor } => {
                let prompt = prompt.clone();
                if *key == Key::Escape {
                    self.mode = Mode::Browse;
                    if prompt == Prompt::Search {
                        self.search.set_text("");
                    }
                    return None;
                }
                let entered = editor.press(key);
                if prompt == Prompt::Search && entered.is_none() {
                    let typed = editor.text().to_owned();
                    self.search.set_text(&typed);
                    self.find(Direction::First, now);
                    // Report a missing match only when the text is complete.
                    self.status = None;
                }
                let text = entered?;
                self.mode = Mode::Browse;
                self.on_line(prompt, &text, now)
            }
            Mode::Browse => match &mut self.page {
                Some(Page::Request(dialog)) => match dialog.on_key(key, is_only_key, now) {
                    KeyResult::Decided(decide) => {
                        self.close_page();
                        Some(Effect::Perform(Action::Decide(decide)))
                    }
                    KeyResult::Later => {
                        self.close_page();
                        None
                    }
                    KeyResult::Open => None,
                },
                Some(page) => {
                    let is_help = matches!(page, Page::Help);
                    self.on_page(key, is_help, now)
                }
                None => self.browse(key, now),
            },
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other keys do nothing here"
    )]
    fn on_page(&mut self, key: &Key, is_help: bool, now: Instant) -> Option<Effect> {
        match key {
            Key::Escape if !self.search.text().is_empty() => self.search.set_text(""),
            Key::Escape | Key::Char('q') => self.close_page(),
            Key::Char('?') if is_help => self.close_page(),
            Key::Up | Key::Char('k') => self.scroll_page(-1),
            Key::Down | Key::Char('j') => self.scroll_page(1),
            Key::PageUp => self.scroll_page(-PAGE),
            Key::PageDown | Key::Char(' ') => self.scroll_page(PAGE),
            Key::Home => self.page_scroll = 0,
            Key::End => self.page_scroll = usize::MAX,
            Key::Char(c) => return self.on_char(*c, now),
            _ => {}
        }
        None
    }

    /// Handles a key while the views are shown.
    fn browse(&mut self, key: &Key, now: Instant) -> Option<Effect> {
        match key {
            Key::Char('q') => return Some(Effect::Quit),
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp => self.step(-PAGE),
            Key::PageDown => self.step(PAGE),
            Key::Home => self.step(isize::MIN),
            Key::End => self.step(isize::MAX),
            Key::Tab => self.switch_view(1),
            Key::BackTab => self.switch_view(TopView::ALL.len() - 1),
            Key::Enter => self.enter(),
            Key::Escape if !self.search.text().is_empty() => self.search.set_text(""),
            Key::Escape => self.set_focus(TopView::Members),
            Key::Char(c) => return self.on_char(*c, now),
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
            | Key::Mouse(_)
            | Key::Other => {}
        }
        None
    }

    /// Handles a character that means the same everywhere, or acts on the current task or member.
    fn on_char(&mut self, c: char, now: Instant) -> Option<Effect> {
        match c {
            '?' | 'h' => self.open_page(Page::Help),
            '/' => {
                self.search.set_text("");
                self.open_prompt(Prompt::Search);
            }
            'n' => self.find(Direction::Next, now),
            'N' => self.find(Direction::Previous, now),
            '1'..='4' => {
                let index = c.to_digit(10).map_or(0, |digit| digit as usize - 1);
                self.page = None;
                self.set_focus(TopView::NUMBERED[index]);
            }
            'g' => self.select_next(),
            '+' => self.open_prompt(Prompt::Spawn),
            'S' => self.open_prompt(Prompt::Send {
                to: Recipient::All,
                urgent: false,
            }),
            'Q' => self.mode = Mode::Confirm(Action::Down),
            'd' if self.page.is_none() && self.focus == TopView::Requests => {
                self.toggle_decisions()
            }
            'd' => {
                self.open_page(Page::Changes(None));
                return Some(Effect::ReadChanges);
            }
            _ => {
                if let Some(task) = self.current_task().map(|it| it.id) {
                    return self.on_task_char(c, task);
                } else if let Some(member) = self.current_member().map(|it| it.name.clone()) {
                    return self.on_member_char(c, member);
                } else if self.focus == TopView::Board && c == 'a' {
                    self.open_prompt(Prompt::AddTask);
                } else if c == 'r' {
                    self.open_request();
                }
            }
        }
        None
    }

    fn on_task_char(&mut self, c: char, id: TaskId) -> Option<Effect> {
        let task = self.task(id)?;
        match c {
            'a' => self.open_prompt(Prompt::AddTask),
            'r' if can_retry(task.state) => return Some(Effect::Perform(Action::Retry(id))),
            'c' if can_cancel(task.state) => self.mode = Mode::Confirm(Action::Cancel(id)),
            'r' => self.set_error(format!(
                "cannot retry {id}: only failed and cancelled tasks"
            )),
            'c' => self.set_error(format!("cannot cancel {id}: it has ended")),
            'w' => {
                let why = why_task(self, task);
                self.set_status(why);
            }
            'l' => match task.owner.clone() {
                Some(Party::Member(owner)) if self.member(&owner).is_some() => {
                    self.show_output(owner);
                }
                Some(_) | None => self.set_error(format!("no member has worked on {id}")),
            },
            _ => {}
        }
        None
    }

    fn on_member_char(&mut self, c: char, member: MemberName) -> Option<Effect> {
        let to = Recipient::Member(member.clone());
        match c {
            'a' => return Some(Effect::Attach(member)),
            's' => self.open_prompt(Prompt::Send { to, urgent: false }),
            '!' => self.open_prompt(Prompt::Send { to, urgent: true }),
            'x' => self.mode = Mode::Confirm(Action::Stop(member)),
            'K' => self.mode = Mode::Confirm(Action::Kill(member)),
            'R' => self.mode = Mode::Confirm(Action::Restart(member)),
            'l' => self.show_output(member),
            'r' => self.open_request(),
            'w' => {
                if let Some(view) = self.member(&member) {
                    let why = why_member(self, view);
                    self.set_status(why);
                }
            }
            _ => {}
        }
        None
    }

    fn open_prompt(&mut self, prompt: Prompt) {
        self.mode = Mode::Prompt {
            prompt,
            editor: Editor::default(),
        };
    }

    /// Handles the text that was entered at a prompt.
    fn on_line(&mut self, prompt: Prompt, typed: &str, now: Instant) -> Option<Effect> {
        let text = typed.trim();
        match prompt {
            Prompt::Search => {
                // Search again, to report if there is no match.
                if !self.search.text().is_empty() {
                    self.find(Direction::First, now);
                }
                None
            }
            _ if text.is_empty() => None,
            Prompt::Send { to, urgent } => Some(Effect::Perform(Action::Send {
                to,
                text: text.to_owned(),
                urgent,
            })),
            Prompt::AddTask => Some(Effect::Perform(Action::AddTask(Box::new(task_spec(text))))),
            Prompt::Spawn => match parse_spawn(text) {
                Ok(action) => Some(Effect::Perform(action)),
                Err(why) => {
                    self.set_error(why);
                    None
                }
            },
        }
    }

    /// Moves the selection by `by` entries, or scrolls a text by `by` rows.
    fn step(&mut self, by: isize) {
        match self.focus {
            TopView::Members => {
                let ids = self.member_ids();
                self.members_list.step(&ids, by);
                self.on_member_selected();
            }
            TopView::Board => {
                let ids = self.board_ids();
                self.board_list.step(&ids, by);
            }
            TopView::Requests if self.decided.is_none() => {
                let ids = self.request_ids();
                self.requests_list.step(&ids, by);
            }
            TopView::Output | TopView::Requests | TopView::Messages => {
                self.scroll_view(self.focus, by)
            }
        }
    }

    /// Opens the selected entry.
    pub(super) fn enter(&mut self) {
        match self.focus {
            TopView::Members | TopView::Output => {
                if let Some(member) = self.selected().cloned() {
                    self.open_page(Page::Member(member));
                }
            }
            TopView::Board => {
                if let Some(task) = self.board_list.id().copied() {
                    self.open_page(Page::Task(task));
                }
            }
            TopView::Requests if self.decided.is_none() => self.open_request(),
            TopView::Requests | TopView::Messages => {}
        }
    }

    fn show_output(&mut self, member: MemberName) {
        self.page = None;
        self.select_member(member);
        self.set_focus(TopView::Output);
    }

    fn select_next(&mut self) {
        match attention::next(&self.team.members, &self.requests) {
            Some(member) => {
                let member = member.name.clone();
                self.page = None;
                self.set_focus(TopView::Members);
                self.select_member(member);
            }
            None => self.set_status("no member waits for you".into()),
        }
    }

    /// Opens the selected request while the requests have the focus, else the oldest request of the current member, or
    /// else the oldest request of all members.
    fn open_request(&mut self) {
        let member = self.current_member().map(|it| it.name.clone());
        let is_wanted = |it: &&RequestView| match self.focus {
            TopView::Requests => Some(&it.id) == self.requests_list.id(),
            TopView::Members | TopView::Output | TopView::Board | TopView::Messages => {
                Some(&it.member) == member.as_ref()
            }
        };
        let request = self.requests.iter().find(is_wanted);
        match request.or(self.requests.first()).cloned() {
            Some(request) => {
                let ids = self.request_ids();
                self.requests_list.select(request.id, &ids);
                self.select_member(request.member.clone());
                self.open_page(Page::Request(Box::new(RequestDialog::of(request))));
            }
            None => self.set_status("no pending requests".into()),
        }
    }

    /// Switches between pending and decided requests.
    fn toggle_decisions(&mut self) {
        let is_shown = self.decided.is_some();
        self.decided = (!is_shown).then(Vec::new);
        self.decisions_stale = !is_shown;
        self.scroll[TopView::Requests as usize] = 0;
    }

    fn switch_view(&mut self, by: usize) {
        let current = TopView::ALL.iter().position(|view| *view == self.focus);
        let next = (current.unwrap_or(0) + by) % TopView::ALL.len();
        self.set_focus(TopView::ALL[next]);
    }

    /// Scrolls a text by `by` rows towards its end. The next frame limits the position to the existing rows, in
    /// [`Top::on_frame_shown`].
    pub(super) fn scroll_view(&mut self, view: TopView, by: isize) {
        let away = match view.is_newest_last() {
            true => by.checked_neg().unwrap_or(isize::MAX),
            false => by,
        };
        let scroll = &mut self.scroll[view as usize];
        *scroll = scroll.saturating_add_signed(away);
    }

    pub(super) fn scroll_page(&mut self, by: isize) {
        self.page_scroll = self.page_scroll.saturating_add_signed(by);
    }

    /// Goes to a match of the search in the page, or else in the view with the focus.
    fn find(&mut self, direction: Direction, now: Instant) {
        if self.search.text().is_empty() {
            if direction != Direction::First {
                self.set_status(
                    "/ searches; n and N then go to the next and previous match".into(),
                );
            }
            return;
        }
        let rows = searchable_rows(self, Clock { now, wall_ms: 0 });
        let selected = match (&self.page, self.focus) {
            (None, TopView::Members) => row_of(&self.member_ids(), self.members_list.id()),
            (None, TopView::Board) => row_of(&self.board_ids(), self.board_list.id()),
            (None, TopView::Requests) if self.decided.is_none() => {
                row_of(&self.request_ids(), self.requests_list.id())
            }
            (Some(_), _) | (None, TopView::Output | TopView::Requests | TopView::Messages) => {
                self.search.found().map(|found| found.row)
            }
        };
        match self.search.find(rows.iter(), selected, direction) {
            Some(row) => self.show_row(row, rows.len()),
            None => {
                let place = match self.page {
                    Some(_) => "on this page",
                    None => self.focus.name(),
                };
                let text = self.search.text();
                self.set_status(format!(
                    "no match for /{text} in {place} · tab searches another view"
                ));
            }
        }
    }

    /// Selects a row of a list, or makes a row of a text visible.
    fn show_row(&mut self, row: usize, total: usize) {
        if self.page.is_some() {
            let height = self.shown.page.map_or(1, |page| page.height);
            if !(self.page_scroll..self.page_scroll + height).contains(&row) {
                self.page_scroll = row.saturating_sub(height / 2);
            }
            return;
        }
        match self.focus {
            TopView::Members => {
                if let Some(member) = self.member_ids().into_iter().nth(row) {
                    self.select_member(member);
                }
            }
            TopView::Board => {
                let ids = self.board_ids();
                if let Some(id) = ids.get(row) {
                    self.board_list.select(*id, &ids);
                }
            }
            TopView::Requests if self.decided.is_none() => {
                let ids = self.request_ids();
                if let Some(id) = ids.get(row) {
                    self.requests_list.select(*id, &ids);
                }
            }
            TopView::Output | TopView::Requests | TopView::Messages => {
                let pane = self.shown.pane(self.focus);
                let height = pane.map_or(1, |pane| pane.height());
                if pane.is_some_and(|pane| (pane.first..pane.first + height).contains(&row)) {
                    return;
                }
                let last = total.saturating_sub(height);
                let first = row.saturating_sub(height / 2).min(last);
                self.scroll[self.focus as usize] = match self.focus.is_newest_last() {
                    true => last - first,
                    false => first,
                };
            }
        }
    }
}

fn row_of<Id: PartialEq>(ids: &[Id], selected: Option<&Id>) -> Option<usize> {
    ids.iter().position(|id| Some(id) == selected)
}

pub(super) fn can_retry(state: TaskState) -> bool {
    matches!(state, TaskState::Failed | TaskState::Cancelled)
}

pub(super) fn can_cancel(state: TaskState) -> bool {
    matches!(state, TaskState::Pending | TaskState::InProgress)
}

/// A task with this title; the lines after the first line are its description.
fn task_spec(text: &str) -> TaskSpec {
    let (title, description) = text.split_once('\n').unwrap_or((text, ""));
    TaskSpec {
        key: title.trim().to_owned(),
        title: title.trim().to_owned(),
        description: description.trim().to_owned(),
        priority: 0,
        labels: Vec::new(),
        after: Vec::new(),
        role: None,
        assignee: None,
        files: Vec::new(),
        run: None,
        verify: None,
        rerun: true,
        active_form: None,
        metadata: None,
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
