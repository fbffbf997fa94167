//! The history that a report shows. `reader.rs` reads it. The text of members is kept as it is; the files that show it
//! escape it.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_client::spans::{Outcome, Span, Work, union_length};
use agent_team_protocol::value::Usage;
use agent_team_protocol::view::TaskState;
use agent_team_protocol::{MemberName, Party, RequestId, RoleName, RunId, TaskId};

/// The data of a report.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) members: BTreeMap<MemberName, Member>,
    /// All spans within the window, in the order of their ends; open spans have no end.
    pub(super) spans: Vec<Span>,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) requests: BTreeMap<RequestId, Request>,
    pub(super) messages: Vec<Message>,
    pub(super) entries: Vec<Entry>,
    /// The number of entries that were dropped.
    pub(super) dropped: usize,
    pub(super) unreadable: u64,
    /// Tokens and cost over time, after each change.
    pub(super) spending: Vec<(u64, Usage)>,
}

#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) role: Option<RoleName>,
    pub(super) lead: bool,
    /// The usage within the window.
    pub(super) usage: Usage,
    pub(super) completed: u64,
    /// The usage of all time, from which the usage within the window is computed.
    pub(super) spent: Usage,
    /// The member has done something within the window.
    pub(super) is_seen: bool,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) goal: Arc<str>,
    pub(super) from: u64,
    pub(super) to: Option<u64>,
    pub(super) outcome: Outcome,
    /// The answer, or the reason why there is none.
    pub(super) text: Arc<str>,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) state: TaskState,
    pub(super) owner: Option<Party>,
    pub(super) attempts: u32,
    pub(super) result: Arc<str>,
    pub(super) is_seen: bool,
}

/// A permission request or a plan.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) member: MemberName,
    /// A JSON text without the secrets of a running team.
    pub(super) call: String,
    pub(super) plan: Option<u64>,
    pub(super) asked: u64,
    pub(super) decided: Option<u64>,
    /// `allowed`, `denied` or `withdrawn`; `pending` without a decision.
    pub(super) state: &'static str,
    pub(super) by: Option<Party>,
    pub(super) reason: Arc<str>,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) at: u64,
    pub(super) from: Party,
    pub(super) to: Vec<Party>,
    pub(super) text: Arc<str>,
}

/// An event in words.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: u64,
    pub(super) member: Option<MemberName>,
    pub(super) text: String,
}

/// The times of a member within the window, in milliseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// The time in a turn or on a task, without the time in which the member waited.
    pub(super) worked: u64,
    /// The time in which the member waited for decisions and replies.
    pub(super) waited: u64,
    pub(super) held: u64,
    pub(super) up: u64,
}

impl History {
    /// The spans of a member.
    pub(super) fn of<'a>(&'a self, name: &'a MemberName) -> impl Iterator<Item = &'a Span> {
        self.spans
            .iter()
            .filter(move |span| span.member.as_ref() == Some(name))
    }

    pub(super) fn times(&self, name: &MemberName) -> Times {
        let length = |wanted: fn(&Work) -> bool| {
            let spans = self.of(name).filter(|span| wanted(&span.work));
            union_length(spans.map(|span| self.window(span)))
        };
        let waited = length(|work| matches!(work, Work::Wait(_)));
        let busy =
            length(|work| matches!(work, Work::Turn { .. } | Work::Task { .. } | Work::Wait(_)));
        Times {
            worked: busy - waited,
            waited,
            held: length(|work| matches!(work, Work::Held { .. })),
            up: length(|work| matches!(work, Work::Up { .. })),
        }
    }

    /// The part of a span that is within the window.
    pub(super) fn window(&self, span: &Span) -> (u64, u64) {
        let to = span.to.unwrap_or(self.to).min(self.to);
        (span.from.max(self.from).min(to), to)
    }

    pub(super) fn title(&self, task: TaskId) -> &str {
        self.tasks.get(&task).map_or("", |task| &task.title)
    }

    pub(super) fn usage(&self) -> Usage {
        self.members.values().map(|member| member.usage).sum()
    }

    pub(super) fn took(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}
