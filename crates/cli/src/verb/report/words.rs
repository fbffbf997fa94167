//! Events in words, for the last part of a report.

use agent_team_policy::call_line;
use agent_team_protocol::event::{ClientEvent as E, Next};
use agent_team_protocol::{MemberName, Party, TaskId};
use serde_json::Value;

use super::history::History;
use crate::output::text;

/// The member and the words of an event; `None` for events that a reader does not need.
pub(super) fn of(event: &E, history: &History) -> Option<(Option<MemberName>, String)> {
    let task = |task: &TaskId| format!("{task} {}", text::first_line(history.title(*task)));
    let owner = |task: &TaskId| {
        let owner = history.tasks.get(task).and_then(|task| task.owner.as_ref());
        owner.and_then(member)
    };
    let first = |text: &str| text::first_line(text);
    let with = |words: String, reason: &str| match reason.trim() {
        "" => words,
        reason => format!("{words}: {}", first(reason)),
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other events contain no news for a reader"
    )]
    Some(match event {
        E::MemberAdded { spec } => (Some(spec.name.clone()), "joins the team".to_owned()),
        E::MemberRemoved { member } => (Some(member.clone()), "leaves the team".to_owned()),
        E::LaunchReady { member, .. } => (Some(member.clone()), "is ready".to_owned()),
        E::LaunchEnding { member, reason, .. } => {
            (Some(member.clone()), with("is ended".to_owned(), reason))
        }
        E::LaunchEnded { member, next, .. } | E::MemberParked { member, next } => {
            let words = match next {
                Next::Hold { reason } => with("is held".to_owned(), reason),
                Next::Cool {} => "restarts after a pause".to_owned(),
                Next::Stop => "is stopped".to_owned(),
                Next::Launch => return None,
            };
            (Some(member.clone()), words)
        }
        E::ModeChanged { member, mode } => (member.clone(), format!("mode {mode}")),
        E::Booted {} => (None, "the machine was started".to_owned()),

        E::TaskAdded {
            task: id,
            created_by,
            ..
        } => (member(created_by), format!("adds {}", task(id))),
        E::TaskClaimed {
            task: id, owner, ..
        } => (member(owner), format!("claims {}", task(id))),
        E::TaskCompleted {
            task: id, result, ..
        } => (owner(id), with(format!("completes {}", task(id)), result)),
        E::TaskFailed { task: id, reason } => {
            (owner(id), with(format!("fails {}", task(id)), reason))
        }
        E::TaskReleased { task: id, note, .. } => {
            (owner(id), with(format!("releases {}", task(id)), note))
        }
        E::TaskRefused {
            task: id, reason, ..
        } => (owner(id), with(format!("is refused {}", task(id)), reason)),
        E::TaskCancelled { task: id } => (None, format!("cancels {}", task(id))),
        E::TaskRetried { task: id } => (None, format!("retries {}", task(id))),

        E::MessageAccepted {
            from,
            to,
            text,
            note,
            ..
        } => {
            let to: Vec<_> = to.iter().map(ToString::to_string).collect();
            let summary = note.summary.as_deref().unwrap_or(text);
            (
                member(from),
                format!("to {}: {}", to.join(", "), first(summary)),
            )
        }
        E::RunStarted { run, goal, .. } => (None, with(format!("{run} begins"), goal)),
        E::RunFinished { run, answer } => (None, with(format!("{run} is answered"), answer)),
        E::RunFailed { run, reason, .. } => (None, with(format!("{run} fails"), reason)),
        E::RunAbandoned { run } => (None, format!("{run} is replaced by another goal")),
        E::RoundStarted { round, member, .. } => (Some(member.clone()), format!("round {round}")),
        E::TurnFailed { member, reason } => (
            Some(member.clone()),
            with("cannot continue".to_owned(), reason),
        ),
        E::FilesChanged { member, files, .. } => (
            Some(member.clone()),
            format!("changes {}", files.join(", ")),
        ),

        E::RequestAsked {
            request,
            member,
            call,
            plan,
            ..
        } => {
            let words = match plan {
                Some(plan) => format!("proposes plan {}, {request}", plan.number),
                None => format!("asks for permission, {request}: {}", first(&line_of(call))),
            };
            (Some(member.clone()), words)
        }
        E::RequestAllowed {
            request, by, scope, ..
        } => (
            None,
            format!("{request} allowed by {by} for {}", scope.name()),
        ),
        E::RequestDenied {
            request,
            by,
            reason,
            ..
        } => (None, with(format!("{request} denied by {by}"), reason)),
        E::RequestWithdrawn {
            request,
            allowed_in_agent,
        } => {
            let how = match allowed_in_agent {
                None => "withdrawn",
                Some(true) => "allowed in the agent's own terminal interface",
                Some(false) => "denied in the agent's own terminal interface",
            };
            (None, format!("{request} {how}"))
        }
        E::CallDenied { member, call, .. } => {
            let words = format!("is denied by a rule or the mode: {}", first(&line_of(call)));
            (Some(member.clone()), words)
        }
        E::GrantRevoked { request } => (None, format!("grant of {request} revoked")),
        _ => return None,
    })
}

/// `bash: cargo test`, from the JSON text of a call.
pub(super) fn line_of(call: &str) -> String {
    let call: Value = serde_json::from_str(call).unwrap_or_default();
    call_line(call["tool"].as_str().unwrap_or("?"), &call["arguments"])
}

fn member(party: &Party) -> Option<MemberName> {
    match party {
        Party::Member(name) => Some(name.clone()),
        Party::User | Party::System => None,
    }
}
