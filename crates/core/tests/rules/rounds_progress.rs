//! While its lead is ready, a run in rounds always waits for a member or for a reply of the lead's model.

use agent_team_core::input::{Call, UpSpec};
use agent_team_core::member::Life;
use agent_team_core::round::{Round, Strategy, Work};
use agent_team_core::task::TaskState;
use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use crate::rig::Rig;
use crate::rounds::{completes, lead_replies, start, team};
use crate::specs::name;

/// An event that happens to a team during a run.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Replies(&'static str),
    Completes(&'static str),
    Releases(&'static str),
    Dies(&'static str),
    Killed(&'static str),
    Restarted(&'static str),
    DownAndUp,
    Reboot,
    Waits,
}

fn happening() -> impl prop::strategy::Strategy<Value = Happening> {
    let member = || prop::sample::select(vec!["ada", "ben"]);
    let any_member = || prop::sample::select(vec!["ada", "ben", "lead"]);
    let replies = vec!["ROUTE: ada", "ROUTE: ben", "ROUTE: eve", "hm", "DONE: yes"];
    prop_oneof![
        4 => prop::sample::select(replies).prop_map(Happening::Replies),
        4 => member().prop_map(Happening::Completes),
        1 => member().prop_map(Happening::Releases),
        2 => any_member().prop_map(Happening::Dies),
        1 => any_member().prop_map(Happening::Killed),
        2 => any_member().prop_map(Happening::Restarted),
        1 => Just(Happening::DownAndUp),
        1 => Just(Happening::Reboot),
        1 => Just(Happening::Waits),
    ]
}

fn happen(rig: &mut Rig, spec: &UpSpec, what: Happening) {
    match what {
        Happening::Replies(text) => {
            if rig.is_ready("lead") && rig.team.round_prompt().is_some() {
                lead_replies(rig, text).answer();
            }
        }
        Happening::Completes(member) => {
            if rig.is_ready(member) && rig.team.task_of(&name(member)).is_some() {
                completes(rig, member, "done").answer();
            }
        }
        Happening::Releases(member) => {
            if rig.is_ready(member)
                && let Some(task) = rig.team.task_of(&name(member)).map(|task| task.id)
            {
                let claim = rig.claim_of(task);
                let note = "cannot".into();
                rig.by(member, Call::ReleaseTask { claim, note }).answer();
            }
        }
        Happening::Dies(member) => {
            if rig.is_ready(member) {
                rig.dies(member);
            }
        }
        Happening::Killed(member) => {
            rig.kill(member).answer();
        }
        Happening::Restarted(member) => {
            rig.user(Call::Restart {
                member: name(member),
            })
            .answer();
        }
        Happening::DownAndUp => {
            rig.user(Call::Down { force: true }).answer();
            settle(rig);
            rig.up(spec.clone()).answer();
        }
        Happening::Reboot => {
            rig.reboot();
        }
        Happening::Waits => {
            rig.wait(60_000);
        }
    }
    settle(rig);
}

/// Completes all launches and exits that are under way.
fn settle(rig: &mut Rig) {
    for member in ["ada", "ben", "lead"] {
        for _ in 0..2 {
            match rig.life(member) {
                Life::Launching { .. } => {
                    rig.hello(member);
                }
                Life::StopRequested { .. } | Life::Draining { .. } => {
                    rig.dies(member);
                }
                Life::Ending { .. } => {
                    rig.tree_is_gone(member);
                }
                Life::Planned
                | Life::Ready { .. }
                | Life::Cooling { .. }
                | Life::Held { .. }
                | Life::Stopped => {}
            }
        }
    }
}

/// While the lead is ready, a run waits for the lead's model, or for a member that has or can claim the round's task.
fn assert_continues(rig: &Rig) {
    let run = rig.team.run().expect("there is a run");
    if !run.is_under_way() || !rig.is_ready("lead") || rig.team.round_prompt().is_some() {
        return;
    }
    let Some(Round::Worked {
        task: Some(task),
        work: Work::UnderWay,
        ..
    }) = run.rounds.last()
    else {
        panic!("the run waits for no member: {:?}", run.rounds);
    };
    let task = rig.task(*task);
    let assignee = task.spec.assignee.as_ref().expect("an assignee");
    match &task.state {
        TaskState::InProgress { .. } => {}
        TaskState::Pending { .. } => assert!(
            !matches!(
                rig.life(assignee.as_str()),
                Life::Held { .. } | Life::Stopped
            ),
            "no member can claim {task:?}"
        ),
        other @ (TaskState::Failed { .. } | TaskState::Cancelled) => {
            panic!("the round's task is {other:?}")
        }
    }
}

proptest! {
    #[test]
    fn every_open_run_can_progress(
        collaborate in any::<bool>(),
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let strategy = match collaborate {
            true => Strategy::Collaborate { order: vec![name("ben")] },
            false => Strategy::Coordinator { max_rounds: 6 },
        };
        let spec = team(strategy);
        let mut rig = Rig::of(spec.clone());
        start(&mut rig);
        for what in happenings {
            happen(&mut rig, &spec, what);
            assert_continues(&rig);
            prop_assert!(rig.team.run().expect("there is a run").rounds.len() <= 6);
        }
    }
}
