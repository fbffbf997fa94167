//! The state of `top`, pure. This file handles refreshed data and notifications; [`super::keys`] and [`super::mouse`]
//! handle input and return [`Effect`]s. [`super::draw`] draws the state.
//!
//! ```text
//!   panes ── enter, second click ──▶ page: a task, a member, a request; d: changes, ?: help
//!     ▲                               │
//!     └───────────── esc ─────────────┘
//!   on both, the last line:
//!   Browse ──┬── K x R Q c ──▶ Confirm ── y ──▶ Action
//!            └── s S ! + a e / ──▶ Prompt ── enter ──▶ Action
//! ```
//! The focus is on one view; keys act on this view and on its selected entry.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_team_client::Notice;
use agent_team_protocol::attention::Need;
use agent_team_protocol::notification::TransientNotice;
use agent_team_protocol::request::{DecideRequest, RequestView};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{MemberView, MessageView, TaskState, TaskView, TeamView};
use agent_team_protocol::{MemberName, Recipient, RequestId, RoleName, TaskId};
use agent_team_terminal_ui::editor::Editor;

use super::claims::ClaimEntry;
use super::diff::Changes;
use super::message_bodies::MessageBodies;
use super::output::Output;
use super::request_dialog::RequestDialog;
use super::search::Search;
use super::selection::Selection;
use super::stale::Stale;
use super::view::{FrameLayout, TopView};
use crate::output::time;
use crate::verb::audit::DecisionEntry;

/// A text that covers the views.
#[derive(Debug)]
pub(super) enum Page {
    Help,
    Member(MemberName),
    Task(TaskId),
    Request(Box<RequestDialog>),
    /// The uncommitted changes of the project; `None` until they are read.
    Changes(Option<Changes>),
}

/// The use of the last line of the screen.
#[derive(Debug)]
pub(super) enum Mode {
    Browse,
    Confirm(Action),
    Prompt { prompt: Prompt, editor: Editor },
}

/// The purpose of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prompt {
    Send { to: Recipient, urgent: bool },
    Spawn,
    AddTask,
    Search,
}

/// The effect of a key, for the event loop.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    Quit,
    Attach(MemberName),
    Perform(Action),
    /// Read the uncommitted changes, for [`Page::Changes`].
    ReadChanges,
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
    AddTask(Box<TaskSpec>),
    Retry(TaskId),
    Cancel(TaskId),
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

#[derive(Debug)]
pub(super) struct Top {
    pub(super) team: TeamView,
    /// When `team` was received.
    received_at: Instant,
    tasks: BTreeMap<TaskId, TaskView>,
    /// The pending requests, oldest first.
    pub(super) requests: Vec<RequestView>,
    /// The newest decisions, newest first; `None` while they are not shown.
    pub(super) decided: Option<Vec<DecisionEntry>>,
    /// There may be newer decisions.
    pub(super) decisions_stale: bool,
    /// Newest last.
    pub(super) messages: Vec<MessageView>,
    pub(super) message_bodies: MessageBodies,
    pub(super) members_list: Selection<MemberName>,
    pub(super) board_list: Selection<TaskId>,
    pub(super) requests_list: Selection<RequestId>,
    /// The output of the selected member.
    pub(super) output: Output,
    pub(super) focus: TopView,
    /// The views that had the focus, the last one first. If several views share a place, the first of them in this list
    /// is shown.
    recent: Vec<TopView>,
    /// Scrolled rows of output, messages and decisions, counted from their initial position: the end of output and
    /// messages, the start of decisions.
    pub(super) scroll: [usize; TopView::ALL.len()],
    pub(super) page: Option<Page>,
    /// Scrolled rows of the page.
    pub(super) page_scroll: usize,
    /// The history of the task of the page, oldest first; `None` until it is read.
    pub(super) claims: Option<Vec<ClaimEntry>>,
    /// There may be newer claims of the task of the page.
    pub(super) more_claims: bool,
    pub(super) mode: Mode,
    pub(super) status: Option<Status>,
    pub(super) search: Search,
    /// The connection is lost, and the client reconnects.
    pub(super) disconnected: bool,
    pub(super) stale: Stale,
    /// The selected member may have printed more.
    pub(super) more_output: bool,
    /// The state differs from the last frame.
    pub(super) changed: bool,
    /// The layout of the last frame.
    pub(super) shown: FrameLayout,
}

impl Top {
    pub(super) fn new(team: TeamView, now: Instant) -> Self {
        let mut top = Self {
            team,
            received_at: now,
            tasks: BTreeMap::new(),
            requests: Vec::new(),
            decided: None,
            decisions_stale: false,
            messages: Vec::new(),
            message_bodies: MessageBodies::default(),
            members_list: Selection::default(),
            board_list: Selection::default(),
            requests_list: Selection::default(),
            output: Output::default(),
            focus: TopView::Members,
            recent: TopView::NUMBERED.into(),
            scroll: [0; TopView::ALL.len()],
            page: None,
            page_scroll: 0,
            claims: None,
            more_claims: false,
            mode: Mode::Browse,
            status: None,
            search: Search::default(),
            disconnected: false,
            stale: Stale::all(),
            more_output: false,
            changed: true,
            shown: FrameLayout::default(),
        };
        top.keep_selections();
        top
    }

    // Queries.

    /// All tasks, the most relevant tasks first.
    pub(super) fn board(&self) -> Vec<&TaskView> {
        let mut tasks: Vec<&TaskView> = self.tasks.values().collect();
        tasks.sort_by_key(|task| {
            let rank = match task.state {
                TaskState::InProgress => 0,
                TaskState::Failed => 1,
                TaskState::Pending if !task.blocked => 2,
                TaskState::Pending => 3,
                TaskState::Completed => 4,
                TaskState::Cancelled | TaskState::Unknown => 5,
            };
            // Sort the newest finished tasks first.
            let age = u64::MAX - task.changed_at;
            (rank, if rank > 3 { age } else { task.id.0 })
        });
        tasks
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&TaskView> {
        self.tasks.get(&id)
    }

    pub(super) fn member(&self, name: &MemberName) -> Option<&MemberView> {
        self.team.members.iter().find(|it| it.name == *name)
    }

    pub(super) fn member_ids(&self) -> Vec<MemberName> {
        let members = self.team.members.iter();
        members.map(|it| it.name.clone()).collect()
    }

    pub(super) fn board_ids(&self) -> Vec<TaskId> {
        self.board().iter().map(|it| it.id).collect()
    }

    pub(super) fn request_ids(&self) -> Vec<RequestId> {
        self.requests.iter().map(|it| it.id).collect()
    }

    /// The selected member.
    pub(super) fn selected(&self) -> Option<&MemberName> {
        self.members_list.id()
    }

    /// The task that keys act on: the task of the page, or the selected task while the board has the focus.
    pub(super) fn current_task(&self) -> Option<&TaskView> {
        let id = match &self.page {
            Some(Page::Task(task)) => Some(*task),
            None if self.focus == TopView::Board => self.board_list.id().copied(),
            Some(_) | None => None,
        };
        self.task(id?)
    }

    /// The member that keys act on: the member of the page, or the selected member while members or output have the
    /// focus.
    pub(super) fn current_member(&self) -> Option<&MemberView> {
        let name = match &self.page {
            Some(Page::Member(member)) => Some(member),
            None if matches!(self.focus, TopView::Members | TopView::Output) => self.selected(),
            Some(_) | None => None,
        };
        self.member(name?)
    }

    /// The view in this group that had the focus last. It is the visible view if the group shares a place.
    pub(super) fn front(&self, group: &[TopView]) -> TopView {
        let front = self.recent.iter().find(|view| group.contains(view));
        front.copied().unwrap_or(TopView::Output)
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
            self.close_decided_request();
        }
        if let Some(messages) = refresh.messages {
            self.message_bodies.keep(&messages);
            self.messages = messages;
        }
        self.keep_selections();
        self.changed = true;
    }

    /// Closes the page of a request that is no longer pending.
    fn close_decided_request(&mut self) {
        let Some(Page::Request(dialog)) = &self.page else {
            return;
        };
        let request = dialog.request();
        if self.requests.iter().any(|it| it.id == request) {
            return;
        }
        self.page = None;
        self.set_status(format!("{request} was decided elsewhere"));
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
                self.decisions_stale |= self.decided.is_some() && self.stale.requests;
                if let Some(Page::Task(task)) = &self.page {
                    self.more_claims |= event.event.task() == Some(*task);
                }
            }
            Notice::Transient(TransientNotice {
                member,
                text,
                fragments,
                ..
            }) => {
                self.stale.team |= text.is_empty() && fragments.is_empty();
                self.more_output |= Some(member) == self.selected();
            }
        }
    }

    /// The connection was lost or restored. When it is restored, all data counts as outdated.
    pub(super) fn set_disconnected(&mut self, disconnected: bool) {
        self.disconnected = disconnected;
        if !disconnected {
            self.stale = Stale::all();
            self.decisions_stale = self.decided.is_some();
            self.more_claims = matches!(self.page, Some(Page::Task(_)));
            self.set_status("reconnected".into());
        }
        self.changed = true;
    }

    /// Appends raw output of the selected member.
    pub(super) fn append_output(&mut self, printed: &str) {
        if printed.is_empty() {
            return;
        }
        self.output.push(printed);
        self.changed = true;
    }

    /// Replaces the shown decisions; ignored while they are not shown.
    pub(super) fn set_decisions(&mut self, decided: Vec<DecisionEntry>) {
        if let Some(shown) = &mut self.decided {
            *shown = decided;
            self.changed = true;
        }
    }

    /// Sets the history of a task; ignored while its page is not open.
    pub(super) fn set_claims(&mut self, task: TaskId, claims: Vec<ClaimEntry>) {
        if matches!(&self.page, Some(Page::Task(open)) if *open == task) {
            self.claims = Some(claims);
            self.changed = true;
        }
    }

    /// Sets the uncommitted changes; ignored while their page is not open.
    pub(super) fn set_changes(&mut self, changes: Changes) {
        if let Some(Page::Changes(shown)) = &mut self.page {
            *shown = Some(changes);
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
        if let Some(Page::Request(dialog)) = &mut self.page {
            dialog.on_resize();
        }
        self.changed = true;
    }

    pub(super) fn set_focus(&mut self, view: TopView) {
        self.focus = view;
        if view != TopView::Members {
            self.recent.retain(|recent| *recent != view);
            self.recent.insert(0, view);
        }
        self.search.restart();
    }

    pub(super) fn open_page(&mut self, page: Page) {
        self.claims = None;
        self.more_claims = matches!(page, Page::Task(_));
        self.page = Some(page);
        self.page_scroll = 0;
        self.search.restart();
    }

    pub(super) fn close_page(&mut self) {
        self.page = None;
        self.search.restart();
    }

    pub(super) fn select_member(&mut self, member: MemberName) {
        let ids = self.member_ids();
        self.members_list.select(member, &ids);
        self.on_member_selected();
    }

    /// Must be called when the selection of members may have changed.
    pub(super) fn on_member_selected(&mut self) {
        let member = self.members_list.id().cloned();
        if self.output.member() != member.as_ref() {
            let is_agent = member
                .as_ref()
                .and_then(|name| self.member(name))
                .is_some_and(|it| it.engine.is_agent());
            self.output = Output::of_member(member, is_agent);
            self.scroll[TopView::Output as usize] = 0;
        }
    }

    /// Keeps the selection of each list on its entry after the lists have changed.
    fn keep_selections(&mut self) {
        self.members_list.on_list(&self.member_ids());
        self.board_list.on_list(&self.board_ids());
        self.requests_list.on_list(&self.request_ids());
        self.on_member_selected();
    }

    /// Must be called when a frame is on the screen.
    pub(super) fn on_frame_shown(&mut self, shown: FrameLayout, now: Instant) {
        for pane in &shown.panes {
            let (total, height) = (pane.total, pane.height());
            match pane.view {
                TopView::Members => self.members_list.on_shown(total, height),
                TopView::Board => self.board_list.on_shown(total, height),
                TopView::Requests if self.decided.is_none() => {
                    self.requests_list.on_shown(total, height);
                }
                TopView::Output | TopView::Requests | TopView::Messages => {
                    let scroll = &mut self.scroll[pane.view as usize];
                    *scroll = (*scroll).min(total.saturating_sub(height));
                }
            }
        }
        if let Some(page) = &shown.page {
            self.page_scroll = self.page_scroll.min(page.max_scroll());
        }
        if let (Some(Page::Request(open)), Some((columns, rows))) = (&mut self.page, shown.dialog)
            && matches!(self.mode, Mode::Browse)
        {
            let had_unread = open.has_unread_lines();
            open.on_shown(columns, rows, now);
            self.changed |= open.has_unread_lines() != had_unread;
        }
        self.shown = shown;
    }
}

/// The number of members that wait for the user, for the first line.
pub(super) fn waiting(members: &[MemberView]) -> usize {
    let waiting = members.iter().filter(|member| Need::of(member).is_some());
    waiting.count()
}
