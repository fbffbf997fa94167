//! Recomputes derived values of a team without its indexes, for comparison.

use std::collections::BTreeSet;

use agent_team_core::Team;
use agent_team_core::mail::InboxCursor;
use agent_team_core::member::{AfterLaunch, Life, Member};
use agent_team_core::task::{Task, TaskState};
use agent_team_protocol::id::{Party, TaskId};
use agent_team_protocol::value::TaskCounts;

use crate::model::Model;

/// How many dependencies of this task are open.
pub(crate) fn open(team: &Team, task: &Task) -> usize {
    let waits = task.spec.after.iter();
    waits
        .filter(|after| !team.board().is_completed(**after))
        .count()
}

/// The task that an idle member must claim.
pub(crate) fn best_for(team: &Team, member: &Member) -> Option<TaskId> {
    let name = &member.spec.name;
    let takes = |task: &Task| {
        let TaskState::Pending { taken_from, .. } = &task.state else {
            return false;
        };
        let is_for_member = match (&task.spec.assignee, &task.spec.role) {
            (Some(assignee), _) => assignee == name,
            (None, Some(role)) => member.spec.claimable.unassigned && *role == member.spec.role,
            (None, None) => member.spec.claimable.unassigned,
        };
        let can_run = task.spec.run.is_some() || member.spec.claimable.without_run;
        is_for_member && can_run && taken_from.as_ref() != Some(name) && open(team, task) == 0
    };
    let tasks = team.board().iter().filter(|task| takes(task));
    tasks
        .min_by_key(|task| (-task.spec.priority, task.id))
        .map(|task| task.id)
}

/// How many members with `spec.foreign` are launching; these count against `limits.starting`.
pub(crate) fn starting(team: &Team) -> usize {
    let starts = |it: &&Member| it.spec.foreign && matches!(it.life, Life::Launching { .. });
    team.members().filter(starts).count()
}

pub(crate) fn check(team: &Team, model: &Model) {
    check_board(team, model);
    check_graph(team);
    check_members(team);
    for member in team.members() {
        check_inbox(member, model);
    }
}

fn check_board(team: &Team, model: &Model) {
    let board = team.board();
    assert_eq!(board.completed(), model.completed.len() as u64);
    assert!(model.completed.iter().all(|task| board.is_completed(*task)));
    let mut parties: BTreeSet<Party> = team
        .members()
        .map(|it| Party::Member(it.spec.name.clone()))
        .collect();
    parties.insert(Party::User);
    let mut claims = 0;
    for task in board.iter() {
        assert_eq!(
            task.owner(),
            model.owners.get(&task.id),
            "the owner of {}",
            task.id
        );
        assert_eq!(
            task.is_blocked(),
            open(team, task) > 0,
            "whether {} is blocked",
            task.id
        );
        let waiting = board
            .iter()
            .filter(|it| it.spec.after.contains(&task.id))
            .map(|it| it.id);
        assert!(
            board.blocks(task.id).eq(waiting),
            "tasks that wait for {}",
            task.id
        );
        claims += usize::from(task.owner().is_some());
    }
    assert_eq!(claims, model.owners.len());
    let count = |is: fn(&TaskState) -> bool| board.iter().filter(|it| is(&it.state)).count() as u64;
    let counts = TaskCounts {
        pending: count(|state| matches!(state, TaskState::Pending { .. })),
        in_progress: claims as u64,
        completed: board.completed(),
        failed: count(|state| matches!(state, TaskState::Failed { .. })),
        cancelled: count(|state| matches!(state, TaskState::Cancelled)),
    };
    assert_eq!(board.counts(), counts);
    for party in &parties {
        let owned = board
            .iter()
            .filter(|task| task.owner() == Some(party))
            .map(|task| task.id);
        assert!(
            board.claims(party).map(|task| task.id).eq(owned),
            "the claims of {party} are not the tasks that it owns"
        );
    }
    assert!(
        model.owners.values().all(|owner| parties.contains(owner)),
        "an owner is neither a member nor the user"
    );
}

/// Repeatedly removes a task whose dependencies are all removed or not on the board. The tasks that remain depend on a
/// cycle.
fn check_graph(team: &Team) {
    let mut left: BTreeSet<TaskId> = team.board().iter().map(|task| task.id).collect();
    while let Some(free) = left.iter().copied().find(|task| {
        let task = team.board().get(*task).expect("on the board");
        !task.spec.after.iter().any(|after| left.contains(after))
    }) {
        left.remove(&free);
    }
    assert!(left.is_empty(), "dependencies form a cycle: {left:?}");
}

fn check_members(team: &Team) {
    let leaving = |life: &Life| {
        matches!(
            life,
            Life::Draining {
                then: AfterLaunch::Remove,
                ..
            } | Life::Ending {
                then: AfterLaunch::Remove,
                ..
            }
        )
    };
    let staying = team
        .members()
        .filter(|it| !it.spec.lead && !it.is_stopped() && !leaving(&it.life))
        .count();
    assert!(
        staying <= team.spec().teammates as usize,
        "{staying} teammates are not stopped"
    );

    let idle = team
        .members()
        .filter(|it| matches!(it.life, Life::Ready { .. }));
    for member in idle.filter(|it| team.task_of(&it.spec.name).is_none()) {
        assert_eq!(best_for(team, member), None, "{} is idle", member.spec.name);
    }
    let works_again = |life: &Life| match life {
        Life::Planned | Life::Launching { .. } | Life::Ready { .. } | Life::Cooling { .. } => true,
        Life::Draining { then, .. } | Life::Ending { then, .. } => {
            matches!(then, AfterLaunch::Restart | AfterLaunch::Recover { .. })
        }
        Life::StopRequested { .. } | Life::Held { .. } | Life::Stopped => false,
    };
    let expected = team.board().iter().any(|task| task.owner().is_some())
        || team
            .members()
            .any(|it| works_again(&it.life) && best_for(team, it).is_some());
    assert_eq!(team.can_progress(), expected);
}

fn check_inbox(member: &Member, model: &Model) {
    let name = &member.spec.name;
    let expected = model
        .unread
        .get(name)
        .map(Vec::as_slice)
        .unwrap_or_default();
    assert!(
        member
            .inbox
            .iter()
            .map(|(id, _)| id)
            .eq(expected.iter().map(|mail| mail.id)),
        "unread messages of {name}: {:?} instead of {expected:?}",
        member.inbox
    );
    let mut cursor = InboxCursor::default();
    let offered: Vec<_> =
        std::iter::from_fn(|| cursor.next(&member.inbox).map(|(id, _)| id)).collect();
    for lane in 0..3 {
        let of_lane = |id| {
            expected
                .iter()
                .any(|mail| mail.id == id && mail.lane == lane)
        };
        let offered: Vec<_> = offered.iter().copied().filter(|id| of_lane(*id)).collect();
        let expected: Vec<_> = expected
            .iter()
            .filter(|it| it.lane == lane)
            .map(|it| it.id)
            .collect();
        assert_eq!(
            offered, expected,
            "lane {lane} of {name} is offered in another order"
        );
    }
    if let Some(first) = expected.iter().min_by_key(|mail| mail.lane) {
        assert_eq!(
            offered.first(),
            Some(&first.id),
            "the first offered message is not of the most urgent lane"
        );
    }
}
