//! How launches end, and what happens to the claims of their members.

use agent_team_core::effect::{Effect, Scan};
use agent_team_core::input::{Call, Input, ProcessExit, StartFault};
use agent_team_core::member::{GRACE_MS, Life};
use agent_team_core::task::TaskState;
use agent_team_core::{Event, Refused};
use agent_team_protocol::id::LaunchId;

use crate::rig::{Rig, file};
use crate::specs::{name, task_spec};

fn exited(launch: LaunchId) -> Input {
    let exit = ProcessExit::Unknown;
    Input::Exited { launch, exit }
}

fn stop(member: &str) -> Call {
    Call::Stop {
        member: name(member),
        force: false,
    }
}

fn report_exit(code: i32, hold: bool) -> Call {
    Call::ReportExit {
        code,
        reason: "no key for this model\nand a stack trace".into(),
        hold,
    }
}

fn end_tree(effects: &[Effect]) -> Option<Scan> {
    effects.iter().find_map(|effect| {
        if let Effect::EndTree { scan, .. } = effect {
            Some(*scan)
        } else {
            None
        }
    })
}

#[test]
fn a_killed_members_task_is_freed_after_its_tree_is_gone() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    assert_eq!(rig.owner(task).as_deref(), Some("ada"));

    let killed = rig.kill("ada");
    assert_eq!(end_tree(&killed.effects), Some(Scan::Everything));
    rig.exits("ada");
    rig.wait(600_000);
    assert_eq!(
        rig.owner(task).as_deref(),
        Some("ada"),
        "the death is not confirmed"
    );

    rig.tree_is_gone("ada");
    assert!(rig.is_pending(task));
    assert!(rig.member("ada").is_stopped());
}

#[test]
fn a_member_that_never_worked_needs_no_process_scan() {
    let mut rig = Rig::of(file(&["ada"]));
    assert_eq!(end_tree(&rig.kill("ada").effects), Some(Scan::ProcessAlone));
}

#[test]
fn a_stopping_member_claims_nothing() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.user(stop("ada")).answer();
    let task = rig.add("Build");
    let claim = Call::ClaimTask { task: Some(task) };
    let stopping = Refused::MemberStopping(name("ada"));
    assert_eq!(rig.by("ada", claim.clone()).refusal(), stopping);
    // The kill has chosen how to search for processes. If the second claim succeeded, the search would miss the
    // processes of its task.
    assert_eq!(end_tree(&rig.kill("ada").effects), Some(Scan::ProcessAlone));
    assert_eq!(rig.by("ada", claim).refusal(), stopping);
    assert!(rig.is_pending(task));
}

#[test]
fn a_claim_during_down_is_refused() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.user(Call::Down { force: false }).answer();
    let claim = Call::ClaimTask { task: None };
    assert_eq!(rig.by("ada", claim).refusal(), Refused::TeamStopping);
}

#[test]
fn late_start_reports_do_not_revive_a_killed_member() {
    for fault in [
        StartFault::NeverStarted,
        StartFault::Failed("tmux said no".into()),
        StartFault::Permanent("there is no such program".into()),
    ] {
        let mut rig = Rig::planned(file(&["ada"]));
        let launch = rig.launch("ada");
        rig.kill("ada");
        rig.input(Input::NotStarted {
            launch: launch.clone(),
            fault,
        });
        rig.input(exited(launch));
        rig.tree_is_gone("ada");
        assert_eq!(*rig.life("ada"), Life::Stopped);
    }
}

#[test]
fn late_start_faults_do_not_stop_a_ready_member() {
    let mut rig = Rig::of(file(&["ada"]));
    let launch = rig.launch("ada");
    rig.input(Input::NotStarted {
        launch,
        fault: StartFault::NeverStarted,
    });
    assert!(rig.is_ready("ada"));
}

#[test]
fn a_stopping_member_may_finish_within_its_grace() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    rig.user(stop("ada")).answer();

    let claim = rig.claim_of(task);
    let complete = Call::CompleteTask {
        claim,
        result: "built".into(),
        hook: agent_team_core::input::CompletionHook::NotRun,
    };
    rig.by("ada", complete).answer();
    assert!(rig.team.board().is_completed(task));

    let later = rig.add("Test");
    rig.dies("ada");
    assert!(rig.member("ada").is_stopped() && rig.is_pending(later));
}

#[test]
fn a_member_is_killed_after_its_grace() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.user(stop("ada")).answer();
    rig.wait(GRACE_MS - 1);
    assert!(matches!(rig.life("ada"), Life::Draining { .. }));
    rig.wait(1);
    assert!(matches!(rig.life("ada"), Life::Ending { .. }));
}

#[test]
fn a_kill_does_not_wait_for_the_grace_period_of_a_stop() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.user(stop("ada")).answer();
    let killed = rig.kill("ada");
    assert!(end_tree(&killed.effects).is_some());
}

#[test]
fn a_teammate_that_exits_with_0_is_stopped() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.by("ada", report_exit(0, false)).answer();
    rig.dies("ada");
    assert!(rig.member("ada").is_stopped());
}

#[test]
fn a_teammate_that_exits_with_1_is_restarted() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.by("ada", report_exit(1, false)).answer();
    assert_eq!(rig.dies("ada").launches(), ["ada"]);
}

#[test]
fn the_lead_is_restarted_even_after_exit_0() {
    let mut rig = Rig::of(file(&[]));
    rig.by("lead", report_exit(0, false)).answer();
    assert_eq!(rig.dies("lead").launches(), ["lead"]);
}

#[test]
fn an_exit_report_can_hold_the_member() {
    let mut rig = Rig::of(file(&["ada"]));
    let task = rig.add("Build");
    rig.by("ada", report_exit(78, true)).answer();
    rig.exits("ada");
    let gone = rig.tree_is_gone("ada");
    assert_eq!(gone.launches(), [""; 0]);
    assert_eq!(gone.notices().len(), 1, "not exactly one notice is sent");
    assert_eq!(rig.held("ada").as_deref(), Some("no key for this model"));
    assert!(rig.is_pending(task));
}

#[test]
fn down_stops_all_members_and_frees_their_tasks() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let (build, test) = (rig.add("Build"), rig.add("Test"));
    rig.dies("bob");
    rig.user(Call::Down { force: true }).answer();
    for member in ["ada", "bob", "lead"] {
        rig.dies(member);
    }
    assert!(rig.team.is_down() && rig.is_pending(build) && rig.is_pending(test));
    assert!(!rig.team.can_progress());
    assert_eq!(
        rig.team.next_deadline(),
        None,
        "a team that is down has a deadline"
    );
}

#[test]
fn after_a_reboot_all_members_are_held_until_up() {
    let spec = file(&["ada", "bob"]);
    let mut rig = Rig::of(spec.clone());
    let task = rig.add("Build");
    rig.dies("bob");

    let resumed = rig.reboot();
    assert!(
        resumed.effects.is_empty(),
        "a recorded process is trusted: {:?}",
        resumed.effects
    );
    for member in ["ada", "bob", "lead"] {
        let reason = rig.held(member).expect("the member is held");
        assert!(reason.contains("run agent-team up"), "{reason}");
    }
    assert!(rig.is_pending(task));
    assert!(rig.wait(3_600_000).is_empty());

    assert_eq!(rig.up(spec).launches(), ["lead", "ada", "bob"]);
}

#[test]
fn a_reboot_keeps_decided_stops_and_removals() {
    let mut rig = Rig::of(file(&["ada", "bob", "eve"]));
    rig.up(file(&["ada", "eve"])).answer();
    rig.kill("ada");
    rig.by("eve", report_exit(78, true)).answer();

    rig.reboot();
    assert!(rig.member("ada").is_stopped());
    assert!(rig.team.member(&name("bob")).is_none());
    assert_eq!(rig.held("eve").as_deref(), Some("no key for this model"));
}

#[test]
fn a_new_supervisor_repeats_lost_effects() {
    let mut rig = Rig::of(file(&["ada", "bob", "eve"]));
    rig.kill("ada");
    rig.user(stop("bob")).answer();
    rig.send("user", "eve", "hello");

    let resumed = rig.resume();
    assert_eq!(resumed.events, []);
    let again = |wanted: fn(&Effect) -> bool| resumed.effects.iter().filter(|e| wanted(e)).count();
    assert_eq!(again(|e| matches!(e, Effect::EndTree { .. })), 1);
    assert_eq!(again(|e| matches!(e, Effect::RequestStop { .. })), 1);
    assert_eq!(again(|e| matches!(e, Effect::Deliver { .. })), 1);
}

#[test]
fn a_launch_ends_if_the_commit_of_its_kill_was_lost() {
    let mut rig = Rig::of(file(&["ada"]));
    assert!(rig.is_ready("ada"));
    let launch = rig.launch("ada");
    // The commit of the kill failed, so the restored state does not contain the kill.
    rig.input(Input::TreeGone {
        launch: launch.clone(),
    });
    assert!(!rig.is_ready("ada"));
    rig.hello("ada");
    assert_ne!(rig.launch("ada"), launch);
}

#[test]
fn a_stale_launch_changes_nothing() {
    let mut rig = Rig::of(file(&["ada"]));
    let old = rig.launch("ada");
    let task = rig.add("Build");
    let claim = rig.claim_of(task);
    rig.dies("ada");
    rig.hello("ada");
    let before = rig.team.clone();

    for late in [
        exited(old.clone()),
        Input::TreeGone {
            launch: old.clone(),
        },
        Input::Unresponsive {
            launch: old.clone(),
        },
        Input::NotStarted {
            launch: old.clone(),
            fault: StartFault::NeverStarted,
        },
    ] {
        let done = rig.input(late);
        assert!(done.events.is_empty() && done.effects.is_empty());
    }
    let fail = Call::FailTask {
        claim,
        reason: "late".into(),
    };
    assert_eq!(
        rig.by_launch("ada", old, fail).refusal(),
        Refused::StaleLaunch
    );
    assert_eq!(rig.team, before);
}

#[test]
fn the_lead_may_stop_and_restart_teammates_only() {
    let mut rig = Rig::of(file(&["ada"]));
    let refused = rig.by("lead", stop("lead")).refusal();
    assert!(matches!(refused, Refused::LeadOnly(_)), "{refused}");
    let refused = rig.by("ada", stop("lead")).refusal();
    assert!(matches!(refused, Refused::LeadOnly(_)), "{refused}");

    rig.by("lead", stop("ada")).answer();
    rig.dies("ada");
    assert_eq!(*rig.life("ada"), Life::Stopped);
    let restart = Call::Restart {
        member: name("ada"),
    };
    assert_eq!(rig.by("lead", restart).launches(), ["ada"]);
}

#[test]
fn a_member_marked_for_removal_is_always_removed() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.up(file(&[])).answer();
    assert!(matches!(
        rig.user(Call::Restart {
            member: name("ada")
        })
        .refusal(),
        Refused::UnknownMember(_)
    ));
    rig.kill("ada");
    let gone = rig.tree_is_gone("ada");
    assert!(gone.events.contains(&Event::MemberRemoved {
        member: name("ada")
    }));
}

/// Kills, stops or restarts ada, or ends the process of ada, and returns the note on the board, or why the task failed.
fn end_of_claim(rerun: bool, end: impl Fn(&mut Rig)) -> String {
    let mut rig = Rig::of(file(&["ada"]));
    let mut spec = task_spec("Build");
    spec.rerun = rerun;
    let task = rig.add_spec(spec);
    end(&mut rig);
    if let Life::Draining { .. } = rig.life("ada") {
        rig.exits("ada");
    }
    if let Life::Ending { .. } = rig.life("ada") {
        rig.tree_is_gone("ada");
    }
    match &rig.task(task).state {
        TaskState::Pending { note, .. } => note.as_deref().unwrap_or_default().to_owned(),
        TaskState::Failed { reason, .. } => reason.to_string(),
        other @ (TaskState::InProgress { .. } | TaskState::Cancelled) => panic!("{other:?}"),
    }
}

#[test]
fn the_board_names_the_cause_of_a_launchs_end() {
    let killed = |rig: &mut Rig| {
        rig.kill("ada");
    };
    let stopped = |rig: &mut Rig| {
        rig.user(stop("ada")).answer();
    };
    let restarted = |rig: &mut Rig| {
        rig.user(Call::Restart {
            member: name("ada"),
        })
        .answer();
    };
    let died = |exit: ProcessExit| {
        move |rig: &mut Rig| {
            let launch = rig.launch("ada");
            rig.input(Input::Exited { launch, exit });
        }
    };
    assert_eq!(end_of_claim(true, killed), "ada was killed");
    assert_eq!(end_of_claim(true, stopped), "ada was stopped");
    let lost = |end: &dyn Fn(&mut Rig)| {
        let reason = end_of_claim(false, end);
        let reason = reason.strip_prefix("worker lost: ").unwrap();
        reason.split(". ").next().unwrap().to_owned()
    };
    assert_eq!(lost(&stopped), "ada was stopped");
    assert_eq!(lost(&restarted), "ada was restarted");
    assert_eq!(
        lost(&died(ProcessExit::Signal(9))),
        "ada was killed by signal 9"
    );
    assert_eq!(
        lost(&died(ProcessExit::Status(101))),
        "ada exited unexpectedly with status 101"
    );
    assert_eq!(lost(&died(ProcessExit::Unknown)), "ada exited unexpectedly");
}
