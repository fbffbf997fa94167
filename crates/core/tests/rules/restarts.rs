//! Restarts of members, the order of their starts, and their tasks after a crash.

use agent_team_core::effect::Effect;
use agent_team_core::input::{Call, Input, StartFault};
use agent_team_core::member::{GIVE_UP_MS, Life};
use agent_team_core::task::TaskState;
use agent_team_core::{Event, Refused};
use agent_team_protocol::id::{Generation, Party, TaskId};

use crate::rig::{Rig, file};
use crate::specs::{name, task_spec};

#[test]
fn a_crashed_member_keeps_its_task_under_a_new_generation() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let task = rig.add("Build");
    let owner = rig.owner(task).expect("taken by an idle member");
    let before = rig.task(task).clone();

    rig.exits(&owner);
    assert_eq!(rig.task(task).generation, before.generation);
    let gone = rig.tree_is_gone(&owner);

    assert_eq!(gone.launches(), [owner.as_str()]);
    let claimed = Event::TaskClaimed {
        task,
        owner: Party::Member(name(&owner)),
        generation: Generation(before.generation.0 + 1),
        attempts: before.attempts + 1,
    };
    assert!(gone.events.contains(&claimed), "{:?}", gone.events);
}

#[test]
fn unreadable_settings_hold_running_members() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    rig.kill("bob");
    rig.tree_is_gone("bob");
    for member in ["ada", "bob"] {
        rig.input(Input::UnreadableSettings {
            member: name(member),
            reason: "cannot read".into(),
        });
    }
    assert!(matches!(rig.life("ada"), Life::Draining { .. }));
    rig.dies("ada");
    let held = Life::Held {
        reason: "cannot read".into(),
    };
    assert_eq!(*rig.life("ada"), held);
    assert_eq!(*rig.life("bob"), Life::Stopped);
}

#[test]
fn a_requested_restart_keeps_the_task_and_is_not_counted() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    for _ in 0..10 {
        rig.user(Call::Restart {
            member: name("ada"),
        })
        .answer();
        rig.dies("ada");
        rig.hello("ada");
        assert_eq!(rig.owner(task).as_deref(), Some("ada"));
    }
    assert_eq!(rig.task(task).attempts, 11);
}

#[test]
fn a_claim_does_not_reset_the_time_since_ready() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.dies("ada");
    rig.hello("ada");
    rig.wait(70_000);
    // The member claims a task just before the crash.
    rig.add("Build");
    rig.dies("ada");
    let life = rig.life("ada");
    assert!(
        matches!(life, Life::Launching { .. }),
        "does not restart at once: {life:?}"
    );
}

#[test]
fn a_task_without_rerun_fails_when_its_worker_is_lost() {
    let mut rig = Rig::of(file(&["ada"]));
    let mut spec = task_spec("Publish");
    spec.rerun = false;
    let task = rig
        .user(Call::AddTask {
            spec,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .task();
    rig.exits("ada");
    let gone = rig.tree_is_gone("ada");
    let TaskState::Failed { reason, .. } = &rig.task(task).state else {
        panic!("{:?}", rig.task(task));
    };
    assert!(reason.contains("worker lost"), "{reason}");
    assert_eq!(gone.notices().len(), 1, "not exactly one notice is sent");
}

#[test]
fn a_started_task_without_rerun_fails_at_any_end_of_its_claim() {
    type End = fn(&mut Rig, TaskId);
    let ends: [(&str, End); 9] = [
        ("kill", |rig, _| {
            rig.kill("ada").answer();
            rig.dies("ada");
        }),
        ("stop", |rig, _| {
            let member = name("ada");
            rig.user(Call::Stop {
                member,
                force: true,
            })
            .answer();
            rig.dies("ada");
        }),
        ("restart", |rig, _| {
            let member = name("ada");
            rig.user(Call::Restart { member }).answer();
            rig.dies("ada");
        }),
        ("exit report that holds it", |rig, _| {
            rig.by(
                "ada",
                Call::ReportExit {
                    code: 1,
                    reason: "no key".into(),
                    hold: true,
                },
            )
            .answer();
            rig.dies("ada");
        }),
        ("exit report that stops it", |rig, _| {
            rig.by(
                "ada",
                Call::ReportExit {
                    code: 0,
                    reason: "that is all".into(),
                    hold: false,
                },
            )
            .answer();
            rig.dies("ada");
        }),
        ("down", |rig, _| {
            rig.user(Call::Down { force: true }).answer();
            rig.dies("ada");
            rig.dies("lead");
        }),
        ("reboot", |rig, _| {
            rig.reboot();
        }),
        ("removal from the file", |rig, _| {
            rig.up(file(&[])).answer();
            rig.dies("ada");
        }),
        ("release", |rig, task| {
            let claim = rig.claim_of(task);
            let note = "not now".into();
            rig.user(Call::ReleaseTask { claim, note }).answer();
        }),
    ];
    for (how, end) in ends {
        let mut rig = Rig::of(file(&["ada"]));
        let mut spec = task_spec("Publish");
        spec.rerun = false;
        let task = rig.add_spec(spec);
        assert_eq!(rig.owner(task).as_deref(), Some("ada"));
        end(&mut rig, task);
        rig.up(file(&["ada", "bob"])).answer();
        for name in ["ada", "bob", "lead"] {
            if matches!(rig.life(name), Life::Launching { .. }) {
                rig.hello(name);
            }
        }
        let TaskState::Failed { reason, .. } = &rig.task(task).state else {
            panic!("after {how}: {:?}", rig.task(task));
        };
        let expected = match how {
            "release" => "user released it: not now. The task is not repeated automatically",
            _ => "worker lost: ",
        };
        assert!(reason.starts_with(expected), "after {how}: {reason}");
        assert_eq!(rig.task(task).attempts, 1, "after {how}");
        rig.user(Call::RetryTask { task }).answer();
        assert!(rig.owner(task).is_some(), "after {how} and task retry");
    }
}

#[test]
fn a_held_member_does_not_return_a_task_without_rerun() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    for _ in 0..5 {
        rig.dies("ada");
        rig.wait(8_000);
        rig.hello("ada");
    }
    let mut spec = task_spec("Publish");
    spec.rerun = false;
    spec.assignee = Some(name("ada"));
    let task = rig.add_spec(spec);
    assert_eq!(rig.owner(task).as_deref(), Some("ada"));
    rig.dies("ada");
    assert!(rig.held("ada").is_some());
    assert!(matches!(rig.task(task).state, TaskState::Failed { .. }));
}

#[test]
fn the_users_claim_of_a_task_without_rerun_can_be_released() {
    let mut rig = Rig::of(file(&[]));
    let mut spec = task_spec("Publish");
    spec.rerun = false;
    let task = rig.add_spec(spec);
    rig.user(Call::ClaimTask { task: Some(task) }).answer();
    let claim = rig.claim_of(task);
    let note = "".into();
    rig.user(Call::ReleaseTask { claim, note }).answer();
    assert!(rig.is_pending(task), "nothing ran");
}

#[test]
fn no_successor_starts_before_the_old_tree_is_gone() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.add("Build");
    rig.exits("ada");
    let launch = rig.launch("ada");
    assert_eq!(
        rig.user(Call::Restart {
            member: name("ada")
        })
        .launches(),
        [""; 0]
    );
    rig.wait(3_600_000);
    assert_eq!(rig.up(file(&["ada"])).launches(), [""; 0]);
    assert_eq!(rig.launch("ada"), launch);
    assert_eq!(rig.tree_is_gone("ada").launches(), ["ada"]);
}

#[test]
fn an_unused_worker_is_replaced_at_once() {
    let mut rig = Rig::of(file(&["ada"]));
    let before = rig.launch("ada");
    assert_eq!(rig.exits("ada").launches(), ["ada"]);
    assert_ne!(rig.launch("ada"), before);
}

#[test]
fn a_worker_that_ran_a_task_needs_a_process_scan() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    let claim = rig.claim_of(task);
    rig.by(
        "ada",
        Call::CompleteTask {
            claim,
            result: "done".into(),
            hook: agent_team_core::input::CompletionHook::NotRun,
        },
    )
    .answer();
    assert_eq!(rig.exits("ada").launches(), [""; 0]);
    assert_eq!(rig.tree_is_gone("ada").launches(), ["ada"]);
}

#[test]
fn the_sixth_crash_holds_and_notifies() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    for death in 1..=5 {
        rig.dies("ada");
        assert_eq!(rig.owner(task).as_deref(), Some("ada"), "death {death}");
        rig.wait(9_700);
        rig.hello("ada");
    }
    let elapsed = 5 * 9_700;
    assert!(elapsed < 60_000);
    rig.exits("ada");
    let sixth = rig.tree_is_gone("ada");

    let reason = rig.held("ada").expect("ada is held");
    assert!(reason.contains("6 times"), "{reason}");
    assert!(rig.is_pending(task));
    let notices: Vec<_> = sixth.notices();
    assert_eq!(
        notices
            .iter()
            .map(|(to, _)| to.as_slice())
            .collect::<Vec<_>>(),
        [[Party::Member(name("lead")), Party::User]]
    );
    assert!(
        rig.wait(3_600_000).is_empty(),
        "a held member has a deadline"
    );
}

#[test]
fn crashes_a_minute_apart_never_hold_a_member() {
    let mut rig = Rig::of(file(&["ada"]));
    for _ in 0..20 {
        rig.dies("ada");
        assert!(
            matches!(rig.life("ada"), Life::Launching { .. }),
            "ada does not restart at once"
        );
        rig.hello("ada");
        rig.wait(60_000);
    }
}

#[test]
fn a_held_member_restarts_with_a_new_count() {
    let mut rig = Rig::of(file(&["ada"]));
    while rig.held("ada").is_none() {
        rig.dies("ada");
        while matches!(rig.life("ada"), Life::Cooling { .. }) {
            rig.wait(1_000);
        }
    }
    let restarted = rig.user(Call::Restart {
        member: name("ada"),
    });
    assert_eq!(restarted.launches(), ["ada"]);
    rig.hello("ada");
    assert_eq!(
        rig.dies("ada").launches(),
        ["ada"],
        "earlier crashes still count"
    );
}

#[test]
fn an_untaken_launch_is_repeated_and_not_counted() {
    let mut rig = Rig::planned(file(&["ada"]));
    for _ in 0..10 {
        let launch = rig.launch("ada");
        rig.input(Input::NotStarted {
            launch,
            fault: StartFault::NeverStarted,
        });
        assert_eq!(rig.tree_is_gone("ada").launches(), ["ada"]);
    }
}

#[test]
fn a_start_that_cannot_succeed_holds_at_once() {
    let mut rig = Rig::planned(file(&["ada"]));
    let launch = rig.launch("ada");
    rig.input(Input::NotStarted {
        launch,
        fault: StartFault::Permanent("there is no directory web".into()),
    });
    rig.tree_is_gone("ada");
    assert_eq!(
        rig.held("ada").as_deref(),
        Some("there is no directory web")
    );
}

#[test]
fn a_worker_without_hello_is_replaced() {
    let mut rig = Rig::planned(file(&["ada"]));
    rig.hello("lead");
    rig.wait(GIVE_UP_MS - 1);
    assert!(matches!(rig.life("ada"), Life::Launching { .. }));
    rig.wait(1);
    let late = rig.launch("ada");
    assert!(matches!(rig.life("ada"), Life::Ending { .. }));
    rig.hello("ada");
    assert!(
        matches!(rig.life("ada"), Life::Ending { .. }),
        "the hello comes too late"
    );
    assert_eq!(rig.tree_is_gone("ada").launches(), ["ada"]);
    assert_ne!(rig.launch("ada"), late);
}

#[test]
fn external_agents_start_within_the_start_limit() {
    let mut spec = file(&["ada", "bob", "eve"]);
    spec.team.starting = 1;
    for member in &mut spec.members {
        member.foreign = true;
    }
    let mut rig = Rig::planned(spec);
    for next in ["lead", "ada", "bob", "eve"] {
        assert!(matches!(rig.life(next), Life::Launching { .. }), "{next}");
        let launching = rig
            .team
            .members()
            .filter(|member| matches!(member.life, Life::Launching { .. }));
        assert_eq!(launching.count(), 1);
        rig.hello(next);
    }
}

#[test]
fn the_journal_stores_only_the_token_hash() {
    let mut rig = Rig::of(file(&["ada"]));
    let gone = rig.dies("ada");
    let token = gone.effects.iter().find_map(|effect| {
        if let Effect::Launch { token, .. } = effect {
            Some(token.clone())
        } else {
            None
        }
    });
    let token = token.expect("a launch");
    assert_eq!(token.len(), 64);
    let journal = serde_json::to_string(&gone.events).expect("events are plain data");
    assert!(!journal.contains(&token));
    let hash = agent_team_core::time::TokenHash::of(&token);
    assert_eq!(
        rig.life("ada").launch().expect("launching").token_hash,
        hash
    );
}

#[test]
fn a_spurious_deadline_changes_nothing() {
    let mut rig = Rig::planned(file(&["ada"]));
    let before = rig.team.clone();
    let done = rig.input(Input::DeadlineReached);
    assert!(done.events.is_empty() && done.effects.is_empty());
    assert_eq!(rig.team, before);
}

#[test]
fn an_unresponsive_member_is_reported_and_not_killed() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    let launch = rig.launch("ada");
    let done = rig.input(Input::Unresponsive { launch });
    let notices = done.notices();
    let (to, text) = notices.last().expect("the user is notified");
    assert!(to.contains(&Party::User) && text.contains("agent-team restart ada"));
    let others = &notices[..notices.len() - 1];
    assert!(
        others.iter().all(|(_, text)| !text.contains("agent-team ")),
        "a notice to a model names a command: {others:?}"
    );
    assert!(rig.is_ready("ada"));
    assert_eq!(rig.owner(task).as_deref(), Some("ada"));
}

#[test]
fn a_restart_respects_the_member_limit() {
    let mut spec = file(&["ada"]);
    spec.team.teammates = 1;
    let mut rig = Rig::of(spec);
    rig.kill("ada");
    rig.dies("ada");
    let spawn = Call::Spawn {
        spec: agent_team_core::input::SpawnSpec {
            name: None,
            role: "worker".parse().expect("a role"),
            like: crate::specs::member_spec("any"),
        },
    };
    rig.user(spawn).answer();
    assert_eq!(
        rig.user(Call::Restart {
            member: name("ada")
        })
        .refusal(),
        Refused::TooManyMembers {
            wanted: 2,
            limit: 1
        }
    );
}
