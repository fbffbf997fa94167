//! One sentence per event, for `events` without `--json`. The sentence depends on the event alone, so that
//! `events --after` prints the same line as `events`. Texts of members, models and programs are shortened to one line.

use std::fmt::Display;

use agent_team_policy::call_line;
use agent_team_protocol::event::{ClientEvent, MemberSummary, Next};
use agent_team_protocol::value::{
    BudgetState, Measure, MessageNote, ProposedPlan, RoundChoice, RoundEnd, Scope, result_line,
};
use agent_team_protocol::{MemberName, Party, RequestId, TaskId};
use serde_json::Value;

use crate::output::request::plan_line;
use crate::output::{text, usage};

/// `ada started T-3`. On one line, without control characters.
pub(super) fn sentence(event: &ClientEvent) -> String {
    text::line(&unescaped(event))
}

fn unescaped(event: &ClientEvent) -> String {
    use ClientEvent as E;
    match event {
        E::TeamPlanned { .. } => "the settings of the team were set".into(),
        E::ModeChanged { member, mode } => {
            let subject = member.as_ref().map_or("the team", MemberName::as_str);
            format!("you changed the permission mode of {subject} to {mode}")
        }
        E::Booted {} => "the team runs for the first time since the machine started".into(),

        E::MemberAdded { spec } => format!("{} joined as {}", spec.name, duty(spec)),
        E::MemberChanged { spec } => format!("the settings of {} changed", spec.name),
        E::MemberRemoved { member } => format!("{member} was removed"),
        E::MemberWanted { member } => format!("{member} is to start"),
        E::LaunchStarted { member, .. } => format!("{member} is starting"),
        E::LaunchReady {
            member, process, ..
        } => format!("{member} is ready (process {})", process.pid),
        E::LaunchAsked { member, .. } => format!("{member} was asked to stop"),
        E::LaunchObjected { member, reason, .. } => {
            because(format_args!("{member} objects to the stop"), reason)
        }
        E::LaunchDraining { member, .. } => format!("{member} is stopping"),
        E::LaunchEnding { member, reason, .. } => {
            because(format_args!("{member}'s processes are terminated"), reason)
        }
        E::LaunchEnded { member, next, .. } => match next {
            Next::Launch => format!("{member} exited and starts again"),
            Next::Cool {} => format!("{member} exited and starts again after a pause"),
            Next::Hold { reason } => because(format_args!("{member} exited and is held"), reason),
            Next::Stop => format!("{member} stopped"),
        },
        E::MemberParked { member, next } => match next {
            Next::Launch => format!("{member} is to start"),
            Next::Cool {} => format!("{member} starts after a pause"),
            Next::Hold { reason } => because(format_args!("{member} is held"), reason),
            Next::Stop => format!("{member} is stopped"),
        },
        E::MembersSuspended { members } => {
            format!("until the next `agent-team up`, stopped: {}", list(members))
        }
        E::MemberIdle { member } => format!("{member} is idle and found no task"),

        E::TaskAdded {
            task,
            spec,
            created_by,
        } => format!("{} added {task}: {}", created_by.shown(), spec.title),
        E::TaskChanged { task, spec } => format!("{task} was changed: {}", spec.title),
        E::TaskClaimed {
            task,
            owner,
            attempts,
            ..
        } => {
            let attempt = match attempts {
                0 | 1 => String::new(),
                again => format!(" (attempt {again})"),
            };
            format!("{} started {task}{attempt}", owner.shown())
        }
        E::TaskReleased {
            task,
            note,
            taken_from,
        } => match taken_from {
            Some(member) => because(format_args!("{task} was taken from {member}"), note),
            None => because(format_args!("{task} was released"), note),
        },
        E::TaskCompleted {
            task,
            result,
            unverified,
        } => {
            let unverified = if *unverified { ", not verified" } else { "" };
            let result = result_line(true, result);
            because(format_args!("{task} completed{unverified}"), result)
        }
        E::TaskRefused { task, reason, .. } => because(
            format_args!("a hook refused that {task} is completed"),
            reason,
        ),
        E::TaskFailed { task, reason } => {
            because(format_args!("{task} failed"), result_line(false, reason))
        }
        E::TaskCancelled { task } => format!("{task} was cancelled"),
        E::TaskRetried { task } => format!("{task} is pending again"),

        E::MessageAccepted {
            message,
            from,
            to,
            text,
            urgent,
            reply_to: _,
            note,
        } => {
            let to: Vec<&str> = to.iter().map(Party::shown).collect();
            let urgently = if *urgent { " urgently" } else { "" };
            let wrote = format_args!("{} wrote{urgently} to {}", from.shown(), list(&to));
            format!("{} ({message})", because(wrote, short(text, note)))
        }
        E::MessagesRead { member, messages } => format!("{member} read {}", list(messages)),
        E::UserRead { messages } => format!("you read {}", list(messages)),

        E::RunStarted { run, goal, .. } => because(format_args!("goal {run} started"), goal),
        E::RunFinished { run, answer } => because(format_args!("goal {run} is answered"), answer),
        E::RunFailed { run, reason, .. } => {
            because(format_args!("goal {run} ended without an answer"), reason)
        }
        E::RunAbandoned { run } => format!("goal {run} was replaced by another goal"),
        E::RunIdle { run } => {
            format!("the lead was notified that all members are idle (goal {run})")
        }
        E::CoordinatorDecided {
            round, decision, ..
        } => match decision {
            RoundChoice::Member(member) => format!("round {round}: the lead chose {member}"),
            RoundChoice::Done => format!("round {round}: the lead answered"),
            RoundChoice::Unclear(why) => because(
                format_args!("round {round}: the lead's reply is unclear"),
                why,
            ),
        },
        E::RoundStarted {
            round,
            member,
            task,
            ..
        } => match task {
            Some(task) => format!("round {round}: {member} receives {task}"),
            None => format!("round {round}: {member} cannot work"),
        },
        E::RoundEnded {
            round,
            member,
            end,
            output,
            ..
        } => {
            let (how, is_completed) = match end {
                RoundEnd::Completed => ("completed its task", true),
                RoundEnd::Failed => ("failed", false),
            };
            let output = result_line(is_completed, output);
            because(format_args!("round {round}: {member} {how}"), output)
        }
        E::TranscriptGrown { member, transcript } => {
            let items = text::count(transcript.length, "item");
            let spent = usage::sentence(&transcript.spent);
            let spent = spent.map_or_else(String::new, |spent| format!(", {spent}"));
            format!("the conversation of {member} has {items}{spent}")
        }
        E::TurnFailed { member, reason } => {
            because(format_args!("{member} cannot continue its turn"), reason)
        }
        E::FilesChanged { member, files, .. } => format!("{member} changed {}", list(files)),
        E::Remembered { key, value } => because(format_args!("the memory has a new {key}"), value),
        E::BudgetStateChanged {
            member,
            measure,
            state,
        } => budget(member.as_ref(), *measure, *state),

        E::CallAllowed {
            member, call, why, ..
        } => format!(
            "{member} may without asking: {}{}",
            called(call),
            reason(why)
        ),
        E::CallDenied {
            member, call, why, ..
        } => format!("{member} may not: {}{}", called(call), reason(why)),
        E::RequestAsked {
            request,
            member,
            call,
            plan,
            ..
        } => asked(*request, member, call, *plan),
        E::RequestAllowed {
            request,
            scope,
            by,
            rules,
            through,
            task,
            via: _,
        } => match through {
            Some(through) => format!("{request} is allowed, as {through} was"),
            None => {
                let rules = match rules.as_slice() {
                    [] => String::new(),
                    rules => format!(": {}", list(rules)),
                };
                format!(
                    "{} allowed {request} {}{rules}",
                    by.shown(),
                    extent(*scope, *task)
                )
            }
        },
        E::RequestDenied {
            request,
            by,
            reason,
            via: _,
        } => because(format_args!("{} denied {request}", by.shown()), reason),
        E::RequestWithdrawn {
            request,
            allowed_in_agent,
        } => match allowed_in_agent {
            Some(true) => format!("{request} was allowed in the agent's own terminal interface"),
            Some(false) => format!("{request} was denied in the agent's own terminal interface"),
            None => format!("{request} was withdrawn"),
        },
        E::RequestBegun { request, .. } => format!("the call of {request} runs"),
        E::RequestEnded { request } => format!("the call of {request} ended"),
        E::GrantRevoked { request } => format!("you revoked what {request} allowed"),
        E::GrantsEnded {} => "the team went down: all grants ended".into(),
        E::Unknown => "an event that this version of agent-team cannot read".into(),
    }
}

/// The text and the first line of the reason, if there is a reason.
fn because(what: impl Display, why: &str) -> String {
    match text::first_line(why).as_str() {
        "" => what.to_string(),
        why => format!("{what}: {why}"),
    }
}

fn list(items: &[impl Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

fn duty(spec: &MemberSummary) -> String {
    match spec.lead {
        true => format!("lead ({})", spec.role),
        false => spec.role.to_string(),
    }
}

fn short<'a>(text: &'a str, note: &'a MessageNote) -> &'a str {
    note.summary.as_deref().unwrap_or(text)
}

fn budget(member: Option<&MemberName>, measure: Measure, state: BudgetState) -> String {
    let key = measure.key();
    let subject = member.map_or("the team", MemberName::as_str);
    match state {
        BudgetState::Within => format!("{subject} is within {key} again"),
        BudgetState::Warned => format!("{subject} has used 80 % of {key}"),
        BudgetState::Spent => format!("{subject} has used up {key}"),
    }
}

/// The line of a call that an event contains as a JSON text.
fn called(call: &str) -> String {
    let call: Value = serde_json::from_str(call).unwrap_or_default();
    call_line(call["tool"].as_str().unwrap_or("?"), &call["arguments"])
}

fn asked(
    request: RequestId,
    member: &MemberName,
    call: &str,
    plan: Option<ProposedPlan>,
) -> String {
    match plan {
        Some(ProposedPlan { number, .. }) => {
            let call: Value = serde_json::from_str(call).unwrap_or_default();
            let plan = plan_line(number, &call["arguments"]);
            format!("{member} proposes {plan} ({request})")
        }
        None => format!("{member} asks: {} ({request})", called(call)),
    }
}

/// The last part of a decision's reason, which names the rule or the mode.
fn reason(why: &str) -> String {
    match why.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(why) => format!(" ({why})"),
        None => String::new(),
    }
}

fn extent(scope: Scope, task: Option<TaskId>) -> String {
    match (scope, task) {
        (Scope::Once, _) => "once".into(),
        (Scope::Task, Some(task)) => format!("for {task}"),
        (Scope::Task, None) => "for the member's task".into(),
        (Scope::Member, _) => "for the member".into(),
        (Scope::Team, _) => "for all members".into(),
        (Scope::Always, _) => "for all members, always".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The sentence of an event in its form on the wire.
    fn of(kind: &str, data: &Value) -> String {
        sentence(&serde_json::from_value(json!({"kind": kind, "data": data})).unwrap())
    }

    #[test]
    fn each_event_of_the_sample_is_one_plain_sentence() {
        let call = json!({"tool": "edit", "arguments": {"path": "src/lib.rs"}}).to_string();
        let launch = "0".repeat(32);
        let cases = [
            (
                "task_claimed",
                json!({"task": "T-3", "owner": "ada", "generation": 2, "attempts": 1}),
                "ada started T-3",
            ),
            (
                "task_claimed",
                json!({"task": "T-3", "owner": "user", "generation": 3, "attempts": 2}),
                "you started T-3 (attempt 2)",
            ),
            (
                "task_failed",
                json!({"task": "T-3", "reason": "exit code 1\nmore"}),
                "T-3 failed: exit code 1",
            ),
            (
                "task_completed",
                json!({"task": "T-4", "result": "a\n12 passed\n", "unverified": true}),
                "T-4 completed, not verified: 12 passed",
            ),
            (
                "task_cancelled",
                json!({"task": "T-3"}),
                "T-3 was cancelled",
            ),
            (
                "message_accepted",
                json!({"message": "M-4", "from": "ada", "to": ["ben", "user"], "text": "hi\nyou", "urgent": false}),
                "ada wrote to ben, you: hi (+1 line) (M-4)",
            ),
            (
                "request_asked",
                json!({"request": "P-2", "member": "ben", "digest": "d", "call": call}),
                "ben asks: edit: src/lib.rs (P-2)",
            ),
            (
                "request_asked",
                json!({"request": "P-3", "member": "ben", "digest": "d", "plan": {"number": 1},
                    "call": json!({"tool": "plan", "arguments": {"text": "First\nthen"}}).to_string()}),
                "ben proposes plan 1: First (+1 line) (P-3)",
            ),
            (
                "request_allowed",
                json!({"request": "P-2", "scope": "team", "by": "user", "rules": ["Edit(src/**)"]}),
                "you allowed P-2 for all members: Edit(src/**)",
            ),
            (
                "request_denied",
                json!({"request": "P-2", "by": "lea", "reason": "tests first"}),
                "lea denied P-2: tests first",
            ),
            (
                "call_denied",
                json!({"member": "ben", "digest": "d", "call": call, "why": "deny\n  edit: mode plan\n"}),
                "ben may not: edit: src/lib.rs (edit: mode plan)",
            ),
            (
                "launch_ended",
                json!({"member": "ada", "launch": launch, "next": {"hold": {"reason": "it failed 5 times"}}}),
                "ada exited and is held: it failed 5 times",
            ),
            (
                "budget_stands",
                json!({"member": "ada", "measure": "usd", "standing": "spent"}),
                "ada has used up limits.usd",
            ),
            (
                "member_removed",
                json!({"member": "ada"}),
                "ada was removed",
            ),
        ];
        for (kind, data, expected) in &cases {
            assert_eq!(of(kind, data), *expected);
        }
    }

    #[test]
    fn hostile_texts_stay_on_their_line() {
        let data = json!({"task": "T-1", "note": "\u{1b}[2J\rgone"});
        let line = of("task_released", &data);
        assert_eq!(line, "T-1 was released: \\e[2J\\rgone");
    }
}
