//! Converts the core's events into the events that clients receive. This is the only such conversion. Called for live
//! events and for history.
//!
//! This file does not compile until it publishes or leaves out each event of the core and each field of an event. It
//! leaves out settings, token hashes, times of the monotonic clock, and counters of the core.

use agent_team_core::{Event, member, run::TranscriptSummary, spec};
use agent_team_protocol::event::{ClientEvent, MemberSummary, Next, TranscriptSize};
use agent_team_protocol::spec::{Limits, TaskSpec};

/// Matches an event. A line `Kind { fields };` converts the event to the same kind with the same fields, and leaves out
/// the fields after `without`. Ordinary match arms follow after `else`.
macro_rules! convert {
    ($event:expr, {
        $($kind:ident { $($field:ident),* } $(without { $($hidden:ident),* })?;)*
    } else { $($arms:tt)* }) => {
        match $event {
            $(Event::$kind { $($field,)* $($($hidden: _,)*)? } => ClientEvent::$kind { $($field,)* },)*
            $($arms)*
        }
    };
}

pub(crate) fn client_event(event: Event) -> ClientEvent {
    convert!(event, {
        Booted {} without { boot };

        ModeChanged { member, mode };
        MemberRemoved { member };
        MemberWanted { member };
        LaunchStarted { member, launch } without { token_hash, give_up_at };
        LaunchReady { member, launch, process };
        LaunchAsked { member, launch } without { stop_request };
        LaunchObjected { member, launch, reason };
        LaunchDraining { member, launch } without { kill_at, then, reason };
        LaunchEnding { member, launch, reason } without { then };
        MembersSuspended { members };
        MemberIdle { member };

        TaskClaimed { task, owner, generation, attempts };
        TaskReleased { task, note, taken_from } without { releases };
        TaskCompleted { task, result, unverified };
        TaskRefused { task, reason, refusals };
        TaskFailed { task, reason };
        TaskCancelled { task };
        TaskRetried { task };

        MessageAccepted { message, from, to, text, urgent, reply_to, note };
        MessagesRead { member, messages };
        UserRead { messages };

        RunStarted { run, goal, then_down, memory } without { first_task, effort };
        RunFinished { run, answer } without { totals };
        RunFailed { run, failure, reason } without { totals };
        FilesChanged { run, member, files };
        RunAbandoned { run };
        RunIdle { run };
        CoordinatorDecided { run, round, decision, text };
        RoundStarted { run, round, member, task };
        RoundEnded { run, round, member, end, output };
        TurnFailed { member, reason };
        Remembered { key, value };
        BudgetStateChanged { member, measure, state };

        CallAllowed { member, digest, call, why };
        CallDenied { member, digest, call, why };
        RequestAsked { request, member, digest, call, plan } without { expires_at };
        RequestAllowed { request, scope, by, rules, through, task, via };
        RequestDenied { request, by, reason, via };
        RequestWithdrawn { request, allowed_in_agent };
        RequestBegun { request, launch };
        RequestEnded { request };
        GrantRevoked { request };
        GrantsEnded {};
    } else {
        Event::TeamPlanned { spec } => ClientEvent::TeamPlanned { limits: limits(&spec) },
        Event::MemberAdded { spec } => ClientEvent::MemberAdded { spec: member_summary(spec) },
        Event::MemberChanged { spec } => ClientEvent::MemberChanged { spec: member_summary(spec) },
        Event::LaunchEnded { member, launch, restarts: _, next } => {
            ClientEvent::LaunchEnded { member, launch, next: next_state(next) }
        }
        Event::MemberParked { member, next } => {
            ClientEvent::MemberParked { member, next: next_state(next) }
        }
        Event::TaskAdded { task, spec, created_by } => {
            ClientEvent::TaskAdded { task, spec: task_spec(spec), created_by }
        }
        Event::TaskChanged { task, spec } => ClientEvent::TaskChanged { task, spec: task_spec(spec) },
        Event::TranscriptGrown { member, summary } => {
            let TranscriptSummary { length, spent, active, reported: _ } = summary;
            ClientEvent::TranscriptGrown { member, transcript: TranscriptSize { length, spent, active } }
        }
        // Only snapshots contain these events, and subscribers read the journal.
        Event::UserMailKept { .. }
        | Event::RequestKept { .. }
        | Event::GrantKept { .. }
        | Event::Counted { .. }
        | Event::KeyCompleted { .. }
        | Event::TasksKept { .. }
        | Event::TaskKept { .. }
        | Event::MemberKept { .. }
        | Event::AccountKept { .. }
        | Event::TeamAccountKept { .. }
        | Event::LockKept { .. }
        | Event::MessageKept { .. }
        | Event::CallAnswered { .. } => ClientEvent::Unknown,
    })
}

fn limits(spec: &spec::TeamSpec) -> Limits {
    Limits {
        teammates: spec.teammates,
        starting: spec.starting,
        budget: spec.budget,
    }
}

fn member_summary(spec: spec::MemberSpec) -> MemberSummary {
    MemberSummary {
        name: spec.name,
        role: spec.role,
        lead: spec.lead,
        budget: spec.budget,
    }
}

fn next_state(next: member::Next) -> Next {
    match next {
        member::Next::Launch => Next::Launch,
        member::Next::Cool { restart_at: _ } => Next::Cool {},
        member::Next::Hold { reason } => Next::Hold { reason },
        member::Next::Stop => Next::Stop,
    }
}

fn task_spec(spec: spec::TaskSpec) -> Box<TaskSpec> {
    let text = |text: std::sync::Arc<str>| text.as_ref().to_owned();
    let texts = |texts: Vec<_>| texts.into_iter().map(text).collect();
    Box::new(TaskSpec {
        key: text(spec.key),
        title: text(spec.title),
        description: text(spec.description),
        priority: spec.priority,
        labels: texts(spec.labels),
        after: spec.after.iter().map(ToString::to_string).collect(),
        role: spec.role,
        assignee: spec.assignee,
        files: texts(spec.files),
        run: spec.run.map(text),
        verify: spec.verify.map(text),
        rerun: spec.rerun,
        active_form: spec.active_form.map(text),
        metadata: spec
            .metadata
            .and_then(|object| serde_json::from_str(&object).ok()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use agent_team_core::Record;
    use serde_json::Value;

    use super::*;

    /// The records of the journals of all versions, each with its JSON. The core's tests prove that every kind of event
    /// occurs in them.
    fn journals() -> Vec<(Record, Value)> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/journal");
        let files = fs::read_dir(directory).unwrap();
        let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let read = |text: String| -> Vec<_> {
            let record = |line| {
                (
                    serde_json::from_str(line).unwrap(),
                    serde_json::from_str(line).unwrap(),
                )
            };
            text.lines().map(record).collect()
        };
        texts.flat_map(read).collect()
    }

    #[test]
    fn client_events_keep_the_kinds_of_the_journal() {
        for (record, stored) in journals() {
            let client_event = client_event(record.event);
            let published = serde_json::to_value(&client_event).unwrap();
            let kind = stored["event"]["kind"].as_str().unwrap();
            let in_snapshots = kind.ends_with("_kept")
                || ["counted", "key_completed", "call_answered"].contains(&kind);
            let expected = if in_snapshots { "unknown" } else { kind };
            assert_eq!(published["kind"], expected, "{stored}");
            let received: ClientEvent = serde_json::from_value(published).unwrap();
            assert_eq!(received, client_event);
        }
    }

    #[test]
    fn internals_stay_in_the_supervisor() {
        let internals = [
            "token_hash",
            "give_up_at",
            "kill_at",
            "restart_at",
            "settings",
            "boot\"",
            "restarts",
            "from_file",
            "first_task",
        ];
        let stored: String = journals()
            .iter()
            .map(|(_, stored)| stored.to_string())
            .collect();
        for internal in internals {
            assert!(stored.contains(internal), "{internal}");
        }
        for (record, _) in journals() {
            let published = serde_json::to_string(&client_event(record.event)).unwrap();
            for internal in internals {
                assert!(!published.contains(internal), "{published}");
            }
        }
    }
}
