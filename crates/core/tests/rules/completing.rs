//! The completion hook, and the notices about the end of a task.

use agent_team_core::effect::Effect;
use agent_team_core::input::{Call, ClaimRef, CompletionHook, NewRun};
use agent_team_core::member::Life;
use agent_team_core::task::REFUSALS_MAX;
use agent_team_core::{Event, Refused};
use agent_team_protocol::id::{Party, TaskId};

use crate::rig::{Done, Rig, file};
use crate::specs::{name, task_spec};

fn complete(claim: ClaimRef, hook: CompletionHook) -> Call {
    Call::CompleteTask {
        claim,
        result: "all green".into(),
        hook,
    }
}

fn is_asked(done: &Done) -> bool {
    done.effects
        .iter()
        .any(|effect| matches!(effect, Effect::RunCompletionHook { .. }))
}

fn unverified(done: &Done) -> Option<bool> {
    done.events.iter().find_map(|event| {
        if let Event::TaskCompleted { unverified, .. } = event {
            Some(*unverified)
        } else {
            None
        }
    })
}

/// ada works on a task, in a team with a completion hook.
fn hooked() -> (Rig, TaskId) {
    let mut spec = file(&["ada"]);
    spec.team.asks_before_completing = true;
    let mut rig = Rig::of(spec);
    let task = rig.add("Build");
    (rig, task)
}

#[test]
fn the_hook_runs_before_a_completion() {
    let (mut rig, task) = hooked();
    let claim = rig.claim_of(task);
    let asked = rig.by("ada", complete(claim, CompletionHook::NotRun));
    assert!(is_asked(&asked) && asked.events.is_empty() && asked.outcome.is_none());
    rig.by("ada", complete(claim, CompletionHook::Passed))
        .answer();
    assert!(rig.team.board().is_completed(task));
}

#[test]
fn a_hook_refuses_at_most_three_times_in_a_row() {
    let (mut rig, task) = hooked();
    let claim = rig.claim_of(task);
    for _ in 0..REFUSALS_MAX {
        assert!(is_asked(
            &rig.by("ada", complete(claim, CompletionHook::NotRun))
        ));
        let refused = rig.by(
            "ada",
            complete(claim, CompletionHook::Refused("no tests".into())),
        );
        assert!(matches!(
            refused.outcome,
            Some(Err(Refused::CompletionRefused { .. }))
        ));
        assert_eq!(
            rig.owner(task).as_deref(),
            Some("ada"),
            "the member loses its claim"
        );
    }
    let fourth = rig.by("ada", complete(claim, CompletionHook::NotRun));
    assert!(!is_asked(&fourth));
    fourth.answer();
}

#[test]
fn concurrent_hook_refusals_stop_at_the_limit() {
    let (mut rig, task) = hooked();
    let claim = rig.claim_of(task);
    for _ in 0..REFUSALS_MAX {
        rig.by("ada", complete(claim, CompletionHook::Refused("no".into())));
    }
    rig.by("ada", complete(claim, CompletionHook::Refused("no".into())))
        .answer();
    assert!(rig.team.board().is_completed(task));
}

#[test]
fn a_new_claim_resets_the_refusals() {
    let (mut rig, task) = hooked();
    for _ in 0..REFUSALS_MAX {
        let claim = rig.claim_of(task);
        rig.by("ada", complete(claim, CompletionHook::Refused("no".into())));
    }
    rig.dies("ada");
    rig.hello("ada");
    let claim = rig.claim_of(task);
    assert!(is_asked(
        &rig.by("ada", complete(claim, CompletionHook::NotRun))
    ));
}

#[test]
fn a_completion_by_the_user_is_marked_unverified() {
    let mut rig = Rig::of(file(&["ada", "bob", "eve"]));
    let mut add = |title: &str, verify: Option<&str>| {
        let mut spec = task_spec(title);
        spec.verify = verify.map(Into::into);
        rig.user(Call::AddTask {
            spec,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .task()
    };
    let tasks = [
        add("One", Some("test")),
        add("Two", Some("test")),
        add("Three", None),
    ];
    let [by_owner, by_user, without] = tasks.map(|task| rig.claim_of(task));
    let owner = rig.owner(by_owner.task).expect("taken");
    let done = rig.by(&owner, complete(by_owner, CompletionHook::NotRun));
    assert_eq!(
        unverified(&done),
        Some(false),
        "the owner's worker has run verify"
    );
    let done = rig.user(complete(by_user, CompletionHook::NotRun));
    assert_eq!(unverified(&done), Some(true));
    let done = rig.user(complete(without, CompletionHook::NotRun));
    assert_eq!(
        unverified(&done),
        Some(false),
        "there was nothing to verify"
    );
}

#[test]
fn a_completion_by_the_lead_is_marked_unverified() {
    let mut rig = Rig::of(file(&["ada"]));
    let mut spec = task_spec("Build");
    spec.verify = Some("test".into());
    let task = rig
        .user(Call::AddTask {
            spec,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .task();
    let claim = rig.claim_of(task);
    let done = rig.by("lead", complete(claim, CompletionHook::NotRun));
    assert_eq!(unverified(&done), Some(true));
}

#[test]
fn the_last_result_is_the_useful_line() {
    let mut rig = Rig::of(file(&["ada"]));
    let last = |rig: &Rig| {
        rig.member("ada")
            .last_result
            .clone()
            .expect("ada has a result")
    };
    let build = rig.add("Build");
    let claim = rig.claim_of(build);
    let result = "\nrunning 2 tests\n2 passed\n\n".into();
    rig.by(
        "ada",
        Call::CompleteTask {
            claim,
            result,
            hook: CompletionHook::NotRun,
        },
    )
    .answer();
    assert_eq!(&*last(&rig), "T-1 completed: 2 passed");
    let test = rig.add("Test");
    let claim = rig.claim_of(test);
    let reason = "\nexit 1: no luck\nbacktrace\n".into();
    rig.by("ada", Call::FailTask { claim, reason }).answer();
    assert_eq!(&*last(&rig), "T-2 failed: exit 1: no luck");
    rig.user(Call::CancelTask { task: test }).answer();
    assert_eq!(&*last(&rig), "T-2 cancelled");
}

#[test]
fn a_result_reaches_lead_and_creator_once() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let recipients =
        |done: &Done| -> Vec<Vec<Party>> { done.notices().into_iter().map(|(to, _)| to).collect() };
    let (lead, ada) = (Party::Member(name("lead")), Party::Member(name("ada")));
    let by_user = rig.add("Build");
    let claim = rig.claim_of(by_user);
    let owner = rig.owner(by_user).expect("taken");
    let done = rig.by(&owner, complete(claim, CompletionHook::NotRun));
    assert_eq!(recipients(&done), [vec![lead.clone(), Party::User]]);

    let add = |title: &str| Call::AddTask {
        spec: task_spec(title),
        after: Vec::new(),
        lines: Vec::new(),
    };
    let by_ada = rig.by("ada", add("Review")).task();
    let claim = rig.claim_of(by_ada);
    let done = rig.user(Call::FailTask {
        claim,
        reason: "too hard".into(),
    });
    assert_eq!(recipients(&done), [vec![lead.clone(), ada]]);

    let by_lead = rig.by("lead", add("Plan")).task();
    let claim = rig.claim_of(by_lead);
    let done = rig.user(complete(claim, CompletionHook::NotRun));
    assert_eq!(recipients(&done), [vec![lead]]);
}

/// Whether each notice of this input leaves an idle lead idle.
fn can_wait(done: &Done) -> Vec<bool> {
    let notices = done.events.iter().filter_map(|event| {
        if let Event::MessageAccepted { note, .. } = event {
            Some(note.can_wait)
        } else {
            None
        }
    });
    notices.collect()
}

#[test]
fn without_a_goal_only_notices_for_the_lead_start_a_turn() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let add = || Call::AddTask {
        spec: task_spec("Build"),
        after: Vec::new(),
        lines: Vec::new(),
    };
    let completed = |rig: &mut Rig, task: TaskId| {
        let claim = rig.claim_of(task);
        let owner = rig.owner(task).expect("taken by an idle member");
        can_wait(&rig.by(&owner, complete(claim, CompletionHook::NotRun)))
    };
    let task = rig.add("Build");
    assert_eq!(completed(&mut rig, task), [true]);
    let task = rig.by("lead", add()).task();
    assert_eq!(
        completed(&mut rig, task),
        [false],
        "the lead created the task"
    );
    let task = rig.add("Test");
    let claim = rig.claim_of(task);
    let failed = rig.user(Call::FailTask {
        claim,
        reason: "too hard".into(),
    });
    assert_eq!(can_wait(&failed), [false]);
    let held = |rig: &mut Rig, member: &str| {
        let mut died = None;
        while rig.held(member).is_none() {
            died = Some(rig.dies(member));
            while matches!(rig.life(member), Life::Cooling { .. }) {
                rig.wait(1_000);
            }
        }
        can_wait(&died.expect("the member died"))
    };
    assert_eq!(held(&mut rig, "ada"), [true]);

    rig.user(Call::StartRun(NewRun {
        goal: "Build it".into(),
        ..NewRun::default()
    }));
    let task = rig.add("Build");
    assert_eq!(completed(&mut rig, task), [false]);
    assert_eq!(held(&mut rig, "bob"), [false]);
}

#[test]
fn the_notice_of_a_result_names_its_task_and_owner() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    let claim = rig.claim_of(task);
    rig.by("ada", complete(claim, CompletionHook::NotRun))
        .answer();
    assert_eq!(
        rig.inbox("lead"),
        [format!("{task} Build completed (ada): all green")]
    );
}
