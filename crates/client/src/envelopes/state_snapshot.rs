//! Converts the supervisor's views to the snapshot of a team's state, and builds patch operations for changes. Called
//! by `envelopes`.

use agent_team_protocol::envelope::state_snapshot::{
    LaunchState, MemberSnapshot, Operation, StateSnapshot, TaskSnapshot,
};
use agent_team_protocol::view::{MemberState, MemberView, TaskView, TeamView};
use serde::Serialize;

/// The state at the revision of `team`; the tasks may be newer.
pub(super) fn of(team: &TeamView, tasks: &[TaskView]) -> StateSnapshot {
    let members = team.members.iter();
    StateSnapshot {
        members: members
            .map(|view| (view.name.clone(), member(view)))
            .collect(),
        tasks: tasks.iter().map(|view| (view.id, task(view))).collect(),
    }
}

fn member(view: &MemberView) -> MemberSnapshot {
    let (state, is_explained) = match view.state {
        MemberState::Planned => (LaunchState::Planned, false),
        MemberState::Launching => (LaunchState::Launching, false),
        MemberState::Idle
        | MemberState::Working
        | MemberState::Waiting
        | MemberState::Unresponsive
        | MemberState::Unknown => (LaunchState::Ready, false),
        MemberState::Draining => (LaunchState::Draining, true),
        MemberState::Cooling => (LaunchState::Cooling, true),
        MemberState::Held => (LaunchState::Held, true),
        MemberState::Stopped => (LaunchState::Stopped, false),
    };
    MemberSnapshot {
        role: view.role.clone(),
        lead: view.lead,
        state,
        why: is_explained.then(|| view.why.clone()),
    }
}

fn task(view: &TaskView) -> TaskSnapshot {
    let view = view.clone();
    TaskSnapshot {
        key: view.key,
        title: view.title,
        description: view.description,
        priority: view.priority,
        labels: view.labels,
        after: view.after,
        role: view.role,
        assignee: view.assignee,
        files: view.files,
        run: view.run,
        verify: view.verify,
        active_form: view.active_form,
        metadata: view.metadata,
        created_by: view.created_by,
        state: view.state,
        owner: view.owner,
        generation: view.generation,
        attempts: view.attempts,
        result: view.result,
    }
}

/// `path` needs no escaping: names and ids contain no character that a JSON Pointer must escape.
pub(super) fn add(path: String, value: impl Serialize) -> Operation {
    let value = serde_json::to_value(value).expect("bare data has a JSON form");
    Operation::Add { path, value }
}
