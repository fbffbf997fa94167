//! What `top` shows. A pure machine: answers and events come in here, keys in [`super::press`], which gives [`Act`]s out;
//! [`super::draw`] turns it into a frame.
//!
//! ```text
//!            ? ──▶ Help           r ──▶ Asked ── y n 1-9 ──▶ Deed
//!   Browse ──┤                       └── esc ──▶ Browse
//!            ├── K x R Q ──▶ Confirm ── y ──▶ Deed
//!            └── s S ! n / ──▶ Prompt ── enter ──▶ Deed
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_team_protocol::attention::Need;
use agent_team_protocol::notification::TransientNotice;
use agent_team_protocol::request::{DecideRequest, RequestView};
use agent_team_protocol::view::{MemberView, MessageView, TaskState, TaskView, TeamView};
use agent_team_protocol::{MemberName, Recipient, RoleName, TaskId};

use super::question::Question;
use super::stale::Stale;
use crate::output::{text, time};
use crate::session::Notice;
use crate::verb::audit::Decided;

/// Bytes of a member's output that are kept.
const OUTPUT_MAX: usize = 256 << 10;

/// What is shown below the members, or beside them.
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
    Confirm(Deed),
    Prompt { asks: Prompt, typed: String },
    Asked(Question),
}

/// What a typed line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prompt {
    Send { to: Recipient, urgent: bool },
    Spawn,
    Filter,
}

/// What the loop does next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    Quit,
    Attach(MemberName),
    Do(Deed),
}

/// A call that changes something.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Deed {
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

/// What became of a deed, or of an attempt to look, until the next key.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) failed: bool,
}

/// What was looked up, in the parts that were asked for.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) team: TeamView,
    /// All of it, or only those that changed.
    pub(super) tasks: Vec<TaskView>,
    pub(super) board: bool,
    pub(super) requests: Option<Vec<RequestView>>,
    pub(super) messages: Option<Vec<MessageView>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) team: TeamView,
    /// When that was.
    told_at: Instant,
    tasks: BTreeMap<TaskId, TaskView>,
    /// Pending, oldest first.
    pub(super) requests: Vec<RequestView>,
    /// The newest that are decided, newest first; `None`: they are not shown.
    pub(super) decided: Option<Vec<Decided>>,
    /// There may be more of them.
    pub(super) more_decided: bool,
    /// Newest last.
    pub(super) messages: Vec<MessageView>,
    selected: Option<MemberName>,
    /// What the selected member printed, as harmless lines.
    pub(super) output: String,
    pub(super) view: View,
    /// Lines away from where the view begins by itself: the newest output and messages, the first task and request.
    pub(super) scroll: usize,
    pub(super) mode: Mode,
    pub(super) said: Option<Said>,
    pub(super) filter: String,
    /// The supervisor is being looked for.
    pub(super) lost: bool,
    pub(super) stale: Stale,
    /// The selected member may have printed more.
    pub(super) more_output: bool,
    /// The screen is not what this is.
    pub(super) changed: bool,
}

impl Top {
    pub(super) fn new(team: TeamView, now: Instant) -> Self {
        let selected = team.members.first().map(|member| member.name.clone());
        Self {
            team,
            told_at: now,
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
            said: None,
            filter: String::new(),
            lost: false,
            stale: Stale::all(),
            more_output: false,
            changed: true,
        }
    }

    // What is there.

    /// Those that the filter lets through.
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

    /// What concerns a person most comes first.
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
            // Of those that are over the newest.
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

    /// Whether a text is to be shown that has these parts.
    pub(super) fn passes(&self, parts: &[&str]) -> bool {
        let wanted = self.filter.to_lowercase();
        wanted.is_empty()
            || parts
                .iter()
                .any(|part| part.to_lowercase().contains(&wanted))
    }

    /// How long a member has been as it is, in milliseconds.
    pub(super) fn age_ms(&self, member: &MemberView, now: Instant) -> u64 {
        let since = u64::try_from((now - self.told_at).as_millis()).unwrap_or(u64::MAX);
        member.for_ms.saturating_add(since)
    }

    /// When an age that is shown reads differently, if nothing else happens.
    pub(super) fn next_age(&self, now: Instant) -> Option<Duration> {
        let ages = self.team.members.iter().map(|it| self.age_ms(it, now));
        let until_next = ages.map(|age| {
            let step = time::age_step(age);
            step - age % step
        });
        until_next.min().map(Duration::from_millis)
    }

    // What was told.

    pub(super) fn seen(&mut self, seen: Seen, now: Instant) {
        self.team = seen.team;
        self.told_at = now;
        if seen.board {
            self.tasks.clear();
        }
        self.tasks
            .extend(seen.tasks.into_iter().map(|task| (task.id, task)));
        if let Some(requests) = seen.requests {
            self.requests = requests;
            if let Mode::Asked(question) = &self.mode
                && !self.requests.iter().any(|it| it.id == question.request())
            {
                self.say(format!("{} was decided elsewhere", question.request()));
                self.mode = Mode::Browse;
            }
        }
        if let Some(messages) = seen.messages {
            self.messages = messages;
        }
        self.keep_selection();
        self.changed = true;
    }

    pub(super) fn heard(&mut self, notice: &Notice) {
        match notice {
            Notice::Event(event) => {
                let tasks = &self.tasks;
                let waiters = |task| {
                    tasks
                        .get(&task)
                        .map_or_else(Vec::new, |it| it.blocks.clone())
                };
                self.stale.event(event, waiters);
                self.more_decided |= self.decided.is_some() && self.stale.requests;
            }
            Notice::Transient(TransientNotice {
                member, text, said, ..
            }) => {
                self.stale.team |= text.is_empty() && said.is_empty();
                self.more_output |= Some(member) == self.selected.as_ref();
            }
        }
    }

    /// The supervisor has gone, and another one is looked for; or it was found.
    pub(super) fn lost(&mut self, lost: bool) {
        self.lost = lost;
        if !lost {
            self.stale = Stale::all();
            self.more_decided = self.decided.is_some();
            self.say("connected again".into());
        }
        self.changed = true;
    }

    /// More of what the selected member printed; `text` as it printed it.
    pub(super) fn printed(&mut self, printed: &str) {
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

    /// The newest decisions.
    pub(super) fn were_decided(&mut self, decided: Vec<Decided>) {
        if let Some(shown) = &mut self.decided {
            *shown = decided;
            self.changed = true;
        }
    }

    pub(super) fn say(&mut self, text: String) {
        self.said = Some(Said {
            text,
            failed: false,
        });
        self.changed = true;
    }

    pub(super) fn failed(&mut self, text: String) {
        self.said = Some(Said { text, failed: true });
        self.changed = true;
    }

    /// The terminal has another size.
    pub(super) fn resized(&mut self) {
        if let Mode::Asked(question) = &mut self.mode {
            question.resized();
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

    /// Somebody who is shown stays selected; else the first is.
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

    /// Whether what comes last is shown first.
    pub(super) fn grows_at_the_end(&self) -> bool {
        matches!(self.view, View::Output | View::Messages)
    }

    /// A frame is on the screen; it could be scrolled by so many lines, and the question stood in so many columns and
    /// rows.
    pub(super) fn was_shown(
        &mut self,
        scrolls: usize,
        question: Option<(usize, usize)>,
        now: Instant,
    ) {
        self.scroll = self.scroll.min(scrolls);
        if let (Mode::Asked(asked), Some((columns, rows))) = (&mut self.mode, question) {
            let hid_some = asked.hides_some();
            asked.was_shown(columns, rows, now);
            self.changed |= asked.hides_some() != hid_some;
        }
    }
}

/// Who waits for the person, as the head of the screen counts them.
pub(super) fn waiting(members: &[MemberView]) -> usize {
    let waits = members.iter().filter(|member| Need::of(member).is_some());
    waits.count()
}
