//! Minimal specs for tests: a name, and defaults for everything else.

use agent_team_core::spec::{ClaimableTasks, MemberSpec, TaskSpec, TeamSpec};
use agent_team_protocol::id::MemberName;

pub(crate) fn name(text: &str) -> MemberName {
    text.parse().expect("tests give good names")
}

pub(crate) fn team_spec() -> TeamSpec {
    TeamSpec {
        teammates: 10,
        starting: 4,
        ..TeamSpec::default()
    }
}

/// A worker that claims every task.
pub(crate) fn member_spec(member: &str) -> MemberSpec {
    MemberSpec {
        name: name(member),
        role: "worker".parse().expect("a good name"),
        lead: false,
        claimable: ClaimableTasks {
            unassigned: true,
            without_run: true,
            nothing: false,
        },
        foreign: false,
        by_hand: false,
        settings: "".into(),
        colour: "".into(),
        budget: None,
        must_plan: false,
    }
}

pub(crate) fn task_spec(title: &str) -> TaskSpec {
    TaskSpec {
        key: title.into(),
        title: title.into(),
        description: "".into(),
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
        from_file: false,
    }
}
