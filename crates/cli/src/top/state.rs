//! The state of `top`, pure. Its input is refreshed data and notifications (here) and keys ([`super::keys`], which
//! returns [`Effect`]s); [`super::draw`] draws it.
//!
//! ```text
//!            ? ──▶ Help           r ──▶ Question ── y n 1-9 ──▶ Action
//!   Browse ──┤                       └── esc ──▶ Browse
//!            ├── K x R Q ──▶ Confirm ── y ──▶ Action
//!            └── s S ! n / ──▶ Prompt ── enter ──▶ Action
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_team_client::Notice;
use agent_team_protocol::attention::Need;
use agent_team_protocol::notification::TransientNotice;
use agent_team_protocol::request::{DecideRequest, RequestView};
use agent_team_protocol::view::{MemberView, MessageView, TaskState, TaskView, TeamView};
use agent_team_protocol::{MemberName, Recipient, RoleName, TaskId};

use super::question::Question;
use super::stale::Stale;
use crate::output::{text, time};
use crate::verb::audit::DecisionEntry;

/// Maximum number of bytes of a member's output to keep.
const OUTPUT_MAX: usize = 256 << 10;

/// The views below or beside the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Output,
    Board,
    Requests,
    Messages,
}

impl View {
    pub(super) const ALL: [Self; 4] = [Self::Output, Self::Board, Self::Requests, Self::Messages];
}

#[derive(Debug)]
pub(super) enum Mode {
    Browse,
    Help,
    Confirm(Action),
    Prompt { prompt: Prompt, typed: String },
    Question(Question),
}

/// The purpose of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prompt {
    Send { to: Recipient, urgent: bool },
    Spawn,
    Filter,
}

/// The effect of a key, for the event loop.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    Quit,
    Attach(MemberName),
    Perform(Action),
}

/// A call that changes the team.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Decide(DecideRequest),
    Send {
        to: Recipient,
        text: String,
        urgent: bool,
    },
    Spawn {
        role: RoleName,
        name: Option<MemberName>,
    },
    Stop(MemberName),
    Kill(MemberName),
    Restart(MemberName),
    Down,
}

/// The status line, such as the result of an action or an error; shown until the next key.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) text: String,
    pub(super) is_error: bool,
}

/// Data that was read again.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) team: TeamView,
    /// All tasks, or only the changed ones.
    pub(super) tasks: Vec<TaskView>,
    /// Whether `tasks` are all tasks.
    pub(super) board: bool,
    pub(super) requests: Option<Vec<RequestView>>,
    pub(super) messages: Option<Vec<MessageView>>,
}

/// The state of the view.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) team: TeamView,
    /// When `team` was received.
    received_at: Instant,
    tasks: BTreeMap<TaskId, TaskView>,
    /// Pending, oldest first.
    pub(super) requests: Vec<RequestView>,
    /// The newest decisions, newest first; `None` while they are not shown.
    pub(super) decided: Option<Vec<DecisionEntry>>,
    /// There may be newer decisions.
    pub(super) more_decided: bool,
    /// Newest last.
    pub(super) messages: Vec<MessageView>,
    selected: Option<MemberName>,
    /// The output of the selected member, without control characters.
    pub(super) output: String,
    pub(super) view: View,
    /// Scrolled lines, counted from the initial position: the end of output and messages, the start of board and
    /// requests.
    pub(super) scroll: usize,
    pub(super) mode: Mode,
    pub(super) status: Option<Status>,
    pub(super) filter: String,
    /// The connection is lost, and the client reconnects.
    pub(super) disconnected: bool,
    pub(super) stale: Stale,
    /// The selected member may have printed more.
    pub(super) more_output: bool,
    /// The state differs from the last frame.
    pub(super) changed: bool,
}

impl Top {
    pub(super) fn new(team: TeamView, now: Instant) -> Self {
        let selected = team.members.first().map(|member| member.name.clone());
        Self {
            team,
            received_at: now,
            tasks: BTreeMap::new(),
            requests: Vec::new(),
            decided: None,
            more_decided: false,
            messages: Vec::new(),
            selected,
            output: String::new(),
            view: View::Output,
            scroll: 0,
            mode: Mode::Browse,
            status: None,
            filter: String::new(),
            disconnected: false,
            stale: Stale::all(),
            more_output: false,
            changed: true,
        }
    }

    // Queries.

    /// The members that match the filter.
    pub(super) fn members(&self) -> Vec<&MemberView> {
        let members = self.team.members.iter();
        members
            .filter(|member| {
                let task = member.task.and_then(|task| self.tasks.get(&task));
                let title = task.map_or("", |task| &task.title);
                self.passes(&[member.name.as_str(), member.role.as_str(), title])
            })
            .collect()
    }

    /// The tasks that match the filter, the most relevant ones first.
    pub(super) fn board(&self) -> Vec<&TaskView> {
        let shown = |task: &&TaskView| {
            let owner = task.owner.as_ref().map(ToString::to_string);
            let id = task.id.to_string();
            self.passes(&[&id, &task.title, &owner.unwrap_or_default()])
        };
        let mut tasks: Vec<&TaskView> = self.tasks.values().filter(shown).collect();
        tasks.sort_by_key(|task| {
            let rank = match task.state {
                TaskState::InProgress => 0,
                TaskState::Failed => 1,
                TaskState::Pending if !task.blocked => 2,
                TaskState::Pending => 3,
                TaskState::Completed => 4,
                TaskState::Cancelled | TaskState::Unknown => 5,
            };
            // The newest of the finished tasks first.
            let age = u64::MAX - task.changed_at;
            (rank, if rank > 3 { age } else { task.id.0 })
        });
        tasks
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&TaskView> {
        self.tasks.get(&id)
    }

    pub(super) fn selected(&self) -> Option<&MemberName> {
        self.selected.as_ref()
    }

    /// Whether one of the parts contains the filter text.
    pub(super) fn passes(&self, parts: &[&str]) -> bool {
        let wanted = self.filter.to_lowercase();
        wanted.is_empty()
            || parts
                .iter()
                .any(|part| part.to_lowercase().contains(&wanted))
    }

    /// How long a member has been in its state, in milliseconds.
    pub(super) fn age_ms(&self, member: &MemberView, now: Instant) -> u64 {
        let since = u64::try_from((now - self.received_at).as_millis()).unwrap_or(u64::MAX);
        member.for_ms.saturating_add(since)
    }

    /// The time until the displayed age of a member's state changes. The ages of messages and requests need no timer:
    /// each frame computes them.
    pub(super) fn next_age(&self, now: Instant) -> Option<Duration> {
        let ages = self.team.members.iter().map(|it| self.age_ms(it, now));
        let until_next = ages.map(|age| {
            let step = time::age_step(age);
            step - age % step
        });
        until_next.min().map(Duration::from_millis)
    }

    // Input.

    pub(super) fn on_refresh(&mut self, refresh: Refresh, now: Instant) {
        self.team = refresh.team;
        self.received_at = now;
        if refresh.board {
            self.tasks.clear();
        }
        self.tasks
            .extend(refresh.tasks.into_iter().map(|task| (task.id, task)));
        if let Some(requests) = refresh.requests {
            self.requests = requests;
            if let Mode::Question(question) = &self.mode
                && !self.requests.iter().any(|it| it.id == question.request())
            {
                self.set_status(format!("{} was decided elsewhere", question.request()));
                self.mode = Mode::Browse;
            }
        }
        if let Some(messages) = refresh.messages {
            self.messages = messages;
        }
        self.keep_selection();
        self.changed = true;
    }

    pub(super) fn on_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Event(event) => {
                let tasks = &self.tasks;
                let waiters = |task| {
                    tasks
                        .get(&task)
                        .map_or_else(Vec::new, |it| it.blocks.clone())
                };
                self.stale.on_event(&event.event, waiters);
                self.more_decided |= self.decided.is_some() && self.stale.requests;
            }
            Notice::Transient(TransientNotice {
                member,
                text,
                fragments,
                ..
            }) => {
                self.stale.team |= text.is_empty() && fragments.is_empty();
                self.more_output |= Some(member) == self.selected.as_ref();
            }
        }
    }

    /// The connection was lost or restored. When it is restored, all data counts as outdated.
    pub(super) fn set_disconnected(&mut self, disconnected: bool) {
        self.disconnected = disconnected;
        if !disconnected {
            self.stale = Stale::all();
            self.more_decided = self.decided.is_some();
            self.set_status("reconnected".into());
        }
        self.changed = true;
    }

    /// Appends raw output of the selected member.
    pub(super) fn append_output(&mut self, printed: &str) {
        if printed.is_empty() {
            return;
        }
        self.output.push_str(&text::of_program(printed));
        if self.output.len() > OUTPUT_MAX {
            let from = self
                .output
                .floor_char_boundary(self.output.len() - OUTPUT_MAX / 2);
            let line = self.output[from..].find('\n').map_or(0, |end| end + 1);
            self.output.drain(..from + line);
        }
        self.changed = true;
    }

    /// Replaces the shown decisions; ignored while they are not shown.
    pub(super) fn set_decisions(&mut self, decided: Vec<DecisionEntry>) {
        if let Some(shown) = &mut self.decided {
            *shown = decided;
            self.changed = true;
        }
    }

    pub(super) fn set_status(&mut self, text: String) {
        self.status = Some(Status {
            text,
            is_error: false,
        });
        self.changed = true;
    }

    pub(super) fn set_error(&mut self, text: String) {
        self.status = Some(Status {
            text,
            is_error: true,
        });
        self.changed = true;
    }

    /// The size of the terminal has changed.
    pub(super) fn on_resize(&mut self) {
        if let Mode::Question(question) = &mut self.mode {
            question.on_resize();
        }
        self.changed = true;
    }

    pub(super) fn select_member(&mut self, member: Option<MemberName>) {
        if self.selected != member {
            self.selected = member;
            self.output.clear();
            if self.view == View::Output {
                self.scroll = 0;
            }
        }
    }

    /// Selects the first member when the selected member is filtered out or gone.
    pub(super) fn keep_selection(&mut self) {
        let members = self.members();
        let is_shown = members
            .iter()
            .any(|it| Some(&it.name) == self.selected.as_ref());
        if !is_shown {
            let first = members.first().map(|it| it.name.clone());
            self.select_member(first);
        }
    }

    /// Whether the view appends new entries at its end and starts there.
    pub(super) fn is_newest_last(&self) -> bool {
        matches!(self.view, View::Output | View::Messages)
    }

    /// Must be called when a frame is on the screen. `max_scroll`: the number of lines by which the view can be
    /// scrolled; `question`: columns and rows of the question.
    pub(super) fn on_frame_shown(
        &mut self,
        max_scroll: usize,
        question: Option<(usize, usize)>,
        now: Instant,
    ) {
        self.scroll = self.scroll.min(max_scroll);
        if let (Mode::Question(open), Some((columns, rows))) = (&mut self.mode, question) {
            let had_unread = open.has_unread_lines();
            open.on_shown(columns, rows, now);
            self.changed |= open.has_unread_lines() != had_unread;
        }
    }
}

/// The number of members that wait for the user, for the first line.
pub(super) fn waiting(members: &[MemberView]) -> usize {
    let waiting = members.iter().filter(|member| Need::of(member).is_some());
    waiting.count()
}
