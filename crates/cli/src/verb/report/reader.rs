//! Reads the stored events once into a [`History`], and cuts it to the window of a run. Secrets of a running team are
//! redacted before anything is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_team_client::spans::{Outcome, Span, Spans};
use agent_team_protocol::event::ClientEvent as E;
use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::value::Usage;
use agent_team_protocol::view::TaskState;
use agent_team_protocol::{Party, RequestId, RunId};

use super::history::{Entry, History, Message, Request, Run, Task};
use super::words;
use crate::secrets::Secrets;

/// Maximum length of one text in a report, in bytes.
const TEXT_MAX: usize = 20_000;

/// Maximum number of events in words. The oldest events are dropped.
const ENTRIES_MAX: usize = 10_000;

/// Reads events into a history.
#[derive(Debug)]
pub(super) struct Reader {
    history: History,
    spans: Spans,
    wanted: Option<RunId>,
    /// The events that are read now are within the window.
    is_within: bool,
    is_over: bool,
    secrets: Secrets,
    known: BTreeSet<RunId>,
}

/// The runs of a team that does not have the wanted run.
#[derive(Debug)]
pub(super) struct UnknownRun(pub(super) Vec<RunId>);

impl Reader {
    pub(super) fn new(wanted: Option<RunId>, secrets: Secrets) -> Self {
        Self {
            history: History::default(),
            spans: Spans::default(),
            wanted,
            is_within: wanted.is_none(),
            is_over: false,
            secrets,
            known: BTreeSet::new(),
        }
    }

    /// Whether the window has ended: further events change nothing.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn add(&mut self, notice: &EventNotice) {
        if self.is_over {
            return;
        }
        let redacted = self.redacted(notice);
        let notice = redacted.as_ref().unwrap_or(notice);
        if let E::RunStarted { run, .. } = &notice.event {
            self.known.insert(*run);
            if Some(*run) == self.wanted {
                self.is_within = true;
                self.history.from = notice.at;
            }
        }
        let ended = self.spans.add(notice);
        self.keep(ended);
        self.apply(notice);
        if !self.is_within {
            return;
        }
        if self.history.from == 0 {
            self.history.from = notice.at;
        }
        self.history.to = self.history.to.max(notice.at);
        self.history.unreadable += u64::from(matches!(notice.event, E::Unknown));
        if let Some((member, text)) = words::of(&notice.event, &self.history) {
            let at = notice.at;
            self.history.entries.push(Entry { at, member, text });
        }
        if self.history.entries.len() >= 2 * ENTRIES_MAX {
            self.drop_entries();
        }
        let ends = |run: &RunId| Some(*run) == self.wanted;
        self.is_over = matches!(&notice.event,
            E::RunFinished { run, .. } | E::RunFailed { run, .. } | E::RunAbandoned { run } if ends(run));
    }

    /// The event without the secrets of a running team; `None`: it is unchanged.
    fn redacted(&self, notice: &EventNotice) -> Option<EventNotice> {
        if self.secrets.is_empty() {
            return None;
        }
        let text = serde_json::to_string(notice).expect("bare data has a JSON form");
        let hidden = self.secrets.redact_json(&text);
        serde_json::from_str(&hidden).ok()
    }

    /// Keeps the spans within the window, and drops spans that end before it.
    fn keep(&mut self, spans: Vec<Span>) {
        if self.is_within {
            let from = self.history.from;
            let within = spans
                .into_iter()
                .filter(|span| span.to.is_none_or(|to| to >= from));
            self.history.spans.extend(within);
        }
    }

    fn drop_entries(&mut self) {
        let excess = self.history.entries.len().saturating_sub(ENTRIES_MAX);
        self.history.entries.drain(..excess);
        self.history.dropped += excess;
    }

    /// The history. `now`: the end of the window if the team still works.
    ///
    /// # Errors
    /// The team does not have the wanted run.
    pub(super) fn finish(mut self, now: Option<u64>) -> Result<History, UnknownRun> {
        if let Some(run) = self.wanted
            && !self.known.contains(&run)
        {
            return Err(UnknownRun(self.known.into_iter().collect()));
        }
        let last = self.spans.take_ended();
        let open: Vec<Span> = last.into_iter().chain(self.spans.open().cloned()).collect();
        self.keep(open);
        self.drop_entries();
        let mut history = self.history;
        if !self.is_over {
            history.to = history.to.max(now.unwrap_or(0));
        }
        for span in &history.spans {
            if let Some(name) = &span.member {
                history.members.entry(name.clone()).or_default().is_seen = true;
            }
        }
        history.members.retain(|_, member| member.is_seen);
        history.tasks.retain(|_, task| task.is_seen);
        Ok(history)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other events change nothing that a report shows"
    )]
    fn apply(&mut self, notice: &EventNotice) {
        let (at, is_within) = (notice.at, self.is_within);
        let history = &mut self.history;
        let mut end_run = |run: &RunId, outcome, text: &Arc<str>| {
            if let Some(run) = history.runs.get_mut(run) {
                (run.to, run.outcome, run.text) = (Some(at), outcome, cut(text));
            }
        };
        match &notice.event {
            E::RunStarted { run, goal, .. } if is_within => {
                let run_of = Run {
                    goal: cut(goal),
                    from: at,
                    to: None,
                    outcome: Outcome::UnderWay,
                    text: "".into(),
                };
                history.runs.insert(*run, run_of);
            }
            E::RunFinished { run, answer } => end_run(run, Outcome::Done, answer),
            E::RunFailed { run, reason, .. } => end_run(run, Outcome::Failed, reason),
            E::RunAbandoned { run } => {
                end_run(run, Outcome::Stopped, &"replaced by another goal".into());
            }
            E::MemberAdded { spec } | E::MemberChanged { spec } => {
                let member = history.members.entry(spec.name.clone()).or_default();
                (member.role, member.lead) = (Some(spec.role.clone()), spec.lead);
            }
            E::TranscriptGrown { member, transcript } => {
                let member = history.members.entry(member.clone()).or_default();
                let more = transcript.spent.minus(member.spent);
                member.spent = transcript.spent;
                if is_within && more != Usage::default() {
                    member.usage = member.usage.plus(more);
                    let before = history
                        .spending
                        .last()
                        .map_or_else(Usage::default, |it| it.1);
                    history.spending.push((at, before.plus(more)));
                }
            }
            E::TaskAdded { task, spec, .. } | E::TaskChanged { task, spec } => {
                let known = history.tasks.entry(*task).or_insert_with(|| Task {
                    title: String::new(),
                    description: String::new(),
                    state: TaskState::Pending,
                    owner: None,
                    attempts: 0,
                    result: "".into(),
                    is_seen: false,
                });
                known.title.clone_from(&spec.title);
                known.description = cut(&spec.description).to_string();
                known.is_seen |= is_within;
            }
            E::TaskClaimed {
                task,
                owner,
                attempts,
                ..
            } => {
                if let Some(task) = history.tasks.get_mut(task) {
                    task.owner = Some(owner.clone());
                    task.attempts = *attempts;
                    task.change(TaskState::InProgress, "", is_within);
                }
            }
            E::TaskCompleted { task, result, .. } => {
                if let Some(task) = history.tasks.get_mut(task) {
                    task.change(TaskState::Completed, result, is_within);
                    if is_within && let Some(Party::Member(owner)) = &task.owner {
                        history.members.entry(owner.clone()).or_default().completed += 1;
                    }
                }
            }
            E::TaskFailed { task, reason } => {
                if let Some(task) = history.tasks.get_mut(task) {
                    task.change(TaskState::Failed, reason, is_within);
                }
            }
            E::TaskReleased { task, note, .. } => {
                if let Some(task) = history.tasks.get_mut(task) {
                    task.owner = None;
                    task.change(TaskState::Pending, note, is_within);
                }
            }
            E::TaskCancelled { task } => {
                if let Some(task) = history.tasks.get_mut(task) {
                    task.change(TaskState::Cancelled, "", is_within);
                }
            }
            E::TaskRetried { task } => {
                if let Some(task) = history.tasks.get_mut(task) {
                    task.owner = None;
                    task.change(TaskState::Pending, "", is_within);
                }
            }
            E::RequestAsked {
                request,
                member,
                call,
                plan,
                ..
            } if is_within => {
                // The call is JSON within a string.
                let call = self.secrets.redact_json(call);
                let request_of = Request {
                    member: member.clone(),
                    call,
                    plan: plan.map(|plan| plan.number),
                    asked: at,
                    decided: None,
                    state: "pending",
                    by: None,
                    reason: "".into(),
                };
                history.requests.insert(*request, request_of);
            }
            E::RequestAllowed { request, by, .. } => {
                decide(history, *request, at, "allowed", Some(by), "");
            }
            E::RequestDenied {
                request,
                by,
                reason,
                ..
            } => decide(history, *request, at, "denied", Some(by), reason),
            E::RequestWithdrawn {
                request,
                allowed_in_agent,
            } => {
                let reason = match allowed_in_agent {
                    None => "",
                    Some(true) => "allowed in the agent's own terminal interface",
                    Some(false) => "denied in the agent's own terminal interface",
                };
                decide(history, *request, at, "withdrawn", None, reason);
            }
            E::MessageAccepted { from, to, text, .. } if is_within => {
                history.messages.push(Message {
                    at,
                    from: from.clone(),
                    to: to.clone(),
                    text: cut(text),
                });
            }
            _ => {}
        }
    }
}

impl Task {
    fn change(&mut self, state: TaskState, result: &str, is_within: bool) {
        self.state = state;
        self.result = cut(result);
        self.is_seen |= is_within;
    }
}

fn decide(
    history: &mut History,
    request: RequestId,
    at: u64,
    state: &'static str,
    by: Option<&Party>,
    reason: &str,
) {
    if let Some(request) = history.requests.get_mut(&request) {
        (request.decided, request.state) = (Some(at), state);
        (request.by, request.reason) = (by.cloned(), reason.into());
    }
}

/// The beginning of a text that is too long for the report, with a note.
fn cut(text: &str) -> Arc<str> {
    if text.len() <= TEXT_MAX {
        return text.into();
    }
    let kept = &text[..text.floor_char_boundary(TEXT_MAX)];
    format!("{kept}\n… {} bytes omitted …", text.len() - kept.len()).into()
}
