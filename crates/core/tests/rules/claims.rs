//! Ownership of tasks, and which members may claim them.

use agent_team_core::effect::Effect;
use agent_team_core::input::{Call, ClaimRef, CompletionHook};
use agent_team_core::task::TaskState;
use agent_team_core::{Answer, Event, Refused};
use agent_team_protocol::id::{Generation, Party, TaskId};

use crate::rig::{Rig, file};
use crate::specs::{member_spec, name, task_spec};

/// A team whose workers claim nothing by themselves.
fn passive(workers: &[&str]) -> Rig {
    let mut spec = file(workers);
    for member in &mut spec.members {
        member.claimable.unassigned = false;
    }
    Rig::of(spec)
}

fn complete(claim: ClaimRef) -> Call {
    Call::CompleteTask {
        claim,
        result: "done".into(),
        hook: CompletionHook::NotRun,
    }
}

fn release(claim: ClaimRef) -> Call {
    Call::ReleaseTask {
        claim,
        note: "not mine".into(),
    }
}

fn assign(task: TaskId, member: &str) -> Call {
    Call::AssignTask {
        task,
        member: name(member),
    }
}

#[test]
fn exactly_one_of_many_claims_wins() {
    let mut rig = passive(&["ada", "bob", "eve"]);
    let task = rig.add("Build");
    rig.claim("bob", task);
    let claim = Call::ClaimTask { task: Some(task) };
    let taken = Refused::AlreadyClaimed {
        task,
        owner: Party::Member(name("bob")),
    };
    for other in ["ada", "eve", "lead"] {
        assert_eq!(rig.by(other, claim.clone()).refusal(), taken);
    }
    assert_eq!(rig.user(claim).refusal(), taken);
}

#[test]
fn a_stale_generation_changes_nothing() {
    let mut rig = passive(&["ada", "bob"]);
    let task = rig.add("Build");
    let stale = ClaimRef {
        task,
        generation: Some(rig.claim("ada", task)),
    };
    rig.by("ada", release(stale)).answer();
    let current = rig.claim("ada", task);
    assert!(Some(current) > stale.generation);

    let before = rig.team.clone();
    let refused = Refused::StaleClaim { task, current };
    let fail = Call::FailTask {
        claim: stale,
        reason: "late".into(),
    };
    for call in [complete(stale), release(stale), fail] {
        assert_eq!(rig.by("ada", call.clone()).refusal(), refused);
        assert_eq!(rig.user(call).refusal(), refused);
    }
    assert_eq!(rig.team, before);
}

#[test]
fn a_member_must_give_the_generation() {
    let mut rig = passive(&["ada"]);
    let task = rig.add("Build");
    let current = rig.claim("ada", task);
    let claim = ClaimRef {
        task,
        generation: None,
    };
    assert_eq!(
        rig.by("ada", complete(claim)).refusal(),
        Refused::StaleClaim { task, current }
    );
}

#[test]
fn other_teammates_cannot_end_a_claim() {
    let mut rig = passive(&["ada", "bob"]);
    let task = rig.add("Build");
    rig.claim("ada", task);
    let claim = rig.claim_of(task);
    assert_eq!(
        rig.by("bob", complete(claim)).refusal(),
        Refused::NotOwner {
            task,
            owner: Party::Member(name("ada"))
        }
    );
    rig.by("lead", complete(claim)).answer();
}

#[test]
fn a_task_completes_once() {
    let mut rig = passive(&["ada"]);
    let task = rig.add("Build");
    rig.claim("ada", task);
    let claim = rig.claim_of(task);
    rig.by("ada", complete(claim)).answer();
    assert!(matches!(
        rig.by("ada", complete(claim)).refusal(),
        Refused::WrongState { .. }
    ));
}

#[test]
fn a_claim_that_names_no_task_takes_the_best_one() {
    let mut rig = passive(&["ada"]);
    let mut add = |title: &str, priority| {
        let mut spec = task_spec(title);
        spec.priority = priority;
        rig.user(Call::AddTask {
            spec,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .task()
    };
    let (low, high, same) = (add("Low", -1), add("High", 5), add("Same", 5));
    let mut taken = Vec::new();
    for _ in 0..3 {
        let Answer::Task { task, .. } = rig.user(Call::ClaimTask { task: None }).answer() else {
            panic!("not a task")
        };
        taken.push(task);
    }
    assert_eq!(taken, [high, same, low]);
}

#[test]
fn a_claim_assigns_the_task_to_the_worker() {
    let mut rig = Rig::of(file(&["ada"]));
    let spec = task_spec("Build");
    let added = rig.user(Call::AddTask {
        spec,
        after: Vec::new(),
        lines: Vec::new(),
    });
    assert!(added.effects.iter().any(|effect| matches!(
        effect,
        Effect::Assign { member, task } if *member == name("ada") && *task == TaskId(1)
    )));
}

#[test]
fn role_and_assignee_restrict_claims() {
    let mut spec = file(&["ada"]);
    let mut tester = member_spec("bob");
    tester.role = "tester".parse().expect("a role");
    spec.members.push(tester);
    let mut rig = Rig::of(spec);
    let mut for_testers = task_spec("Test");
    for_testers.role = Some("tester".parse().expect("a role"));
    let mut for_ada = task_spec("Review");
    for_ada.assignee = Some(name("ada"));
    let mut add = |spec| {
        rig.user(Call::AddTask {
            spec,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .task()
    };
    let (first, second, adas) = (add(for_testers.clone()), add(for_testers), add(for_ada));
    assert_eq!(rig.owner(first).as_deref(), Some("bob"));
    assert_eq!(rig.owner(adas).as_deref(), Some("ada"));
    assert!(rig.is_pending(second), "ada does not have the role");
    let claim = rig.claim_of(adas);
    rig.by("ada", release(claim)).answer();
    assert!(rig.is_pending(adas), "bob claims a task for ada");
    assert!(matches!(
        rig.by("ada", Call::ClaimTask { task: Some(second) })
            .refusal(),
        Refused::NotClaimable { .. }
    ));
}

#[test]
fn command_members_skip_tasks_without_a_run_line() {
    let mut spec = file(&["ada"]);
    spec.members[1].claimable.without_run = false;
    let mut rig = Rig::of(spec);
    let thinking = rig.add("Think");
    let mut runs = task_spec("Build");
    runs.run = Some("make".into());
    let runs = rig
        .user(Call::AddTask {
            spec: runs,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .task();
    assert!(rig.is_pending(thinking));
    assert_eq!(rig.owner(runs).as_deref(), Some("ada"));
}

#[test]
fn a_member_holds_one_task() {
    let mut rig = Rig::of(file(&["ada"]));
    let (first, second) = (rig.add("Build"), rig.add("Test"));
    let claim = Call::ClaimTask { task: Some(second) };
    assert_eq!(
        rig.by("ada", claim).refusal(),
        Refused::HasClaim {
            member: name("ada"),
            task: first
        }
    );
}

#[test]
fn a_released_task_is_not_reclaimed_by_its_last_owner() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    let claim = rig.claim_of(task);
    let released = rig.user(release(claim));
    assert!(released.effects.iter().any(|effect| matches!(
        effect,
        Effect::Abandon { member, generation, .. }
            if *member == name("ada") && Some(*generation) == claim.generation
    )));
    assert!(rig.is_pending(task) && !rig.team.can_progress());

    rig.up(file(&["ada", "bob"])).answer();
    rig.hello("bob");
    assert_eq!(rig.owner(task).as_deref(), Some("bob"));
}

#[test]
fn an_assigned_task_can_be_reclaimed_by_its_last_owner() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    let claim = rig.claim_of(task);
    rig.user(release(claim)).answer();
    rig.user(assign(task, "ada")).answer();
    assert_eq!(rig.owner(task).as_deref(), Some("ada"));
}

#[test]
fn the_third_release_by_owners_fails_a_task() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let task = rig.add("Build");
    let mut counts = Vec::new();
    for time in 1..=3 {
        let owner = rig.owner(task).expect("the other member takes the task");
        let claim = rig.claim_of(task);
        let released = rig.by(&owner, release(claim));
        counts.push(released.notices().len());
        assert_ne!(rig.owner(task), Some(owner));
        assert_eq!(rig.owner(task).is_none(), time == 3);
    }
    assert_eq!(counts, [1; 3], "a release does not send exactly one notice");
    let TaskState::Failed { reason, owner } = &rig.task(task).state else {
        panic!("{:?}", rig.task(task));
    };
    assert!(reason.contains("released 3 times") && reason.contains("not mine"));
    assert_eq!(
        owner,
        &Some(Party::Member(name("ada"))),
        "the task names another last owner"
    );
    assert_eq!(rig.owner(task), None, "the claim has not ended");
    rig.user(Call::RetryTask { task }).answer();
    let claim = rig.claim_of(task);
    let owner = rig.owner(task).expect("the task is ready again");
    rig.by(&owner, release(claim)).answer();
    assert!(
        rig.owner(task).is_some(),
        "a retry does not start the count again"
    );
}

#[test]
fn releases_by_the_user_are_not_counted() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let task = rig.add("Build");
    for _ in 0..5 {
        let claim = rig.claim_of(task);
        rig.user(release(claim)).answer();
        assert!(rig.owner(task).is_some());
    }
}

#[test]
fn a_task_in_progress_cannot_be_assigned() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let task = rig.add("Build");
    assert!(matches!(
        rig.user(assign(task, "bob")).refusal(),
        Refused::WrongState { .. }
    ));
}

#[test]
fn a_claim_of_the_user_lasts_until_released() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.kill("ada");
    rig.dies("ada");
    let task = rig.add("Build");
    rig.user(Call::ClaimTask { task: Some(task) }).answer();
    rig.user(Call::Down { force: true }).answer();
    rig.dies("lead");
    rig.reboot();
    assert_eq!(rig.owner(task).as_deref(), Some("user"));
    let claim = rig.claim_of(task);
    rig.user(release(claim)).answer();
    assert!(rig.is_pending(task));
}

#[test]
fn only_a_retry_reopens_a_cancelled_task() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    let cancelled = rig.user(Call::CancelTask { task });
    assert!(
        cancelled
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Abandon { .. }))
    );
    rig.dies("ada");
    rig.hello("ada");
    assert_eq!(rig.owner(task), None);
    rig.user(Call::RetryTask { task }).answer();
    assert_eq!(rig.owner(task).as_deref(), Some("ada"));
    assert_eq!(rig.task(task).generation, Generation(2));
}

#[test]
fn overlapping_files_warn_the_lead() {
    let mut rig = Rig::of(file(&["ada", "bob", "eve"]));
    let mut add = |title: &str, glob: &str| {
        let mut spec = task_spec(title);
        spec.files = vec![glob.into()];
        rig.user(Call::AddTask {
            spec,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .task()
    };
    let one = add("Parser", "src/**");
    add("Docs", "docs/*.md");
    assert!(rig.inbox("lead").is_empty());
    let mut add = |title: &str, glob: &str| {
        let mut spec = task_spec(title);
        spec.files = vec![glob.into()];
        rig.user(Call::AddTask {
            spec,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .answer()
    };
    let Answer::Task { task, overlaps, .. } = add("Lexer", "src/lexer.rs") else {
        panic!("not a task")
    };
    // The task is claimed after the call that adds it, so that call reports no overlap.
    assert_eq!(overlaps, []);
    assert_eq!(
        rig.inbox("lead"),
        [format!("{task} and {one} declare overlapping files")]
    );
}

#[test]
fn idleness_is_reported_once() {
    let mut spec = file(&["ada"]);
    spec.team.asks_when_idle = true;
    let mut rig = Rig::planned(spec);
    let hello = rig.hello("ada");
    assert!(hello.events.contains(&Event::MemberIdle {
        member: name("ada")
    }));
    assert!(
        hello
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::RunIdleHook { .. }))
    );
    let again = rig.hello("lead");
    assert!(!again.events.contains(&Event::MemberIdle {
        member: name("ada")
    }));
}
