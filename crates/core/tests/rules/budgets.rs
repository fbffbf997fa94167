//! Budgets: warnings, and the blocking and unblocking of members.

use std::sync::Arc;

use agent_team_core::effect::Effect;
use agent_team_core::input::{Call, NewRun, TurnProgress, UpSpec};
use agent_team_core::{Event, Refused};
use agent_team_protocol::id::Party;
use agent_team_protocol::value::{Budget, BudgetState, Measure, Usage};

use crate::rig::{Done, Rig, file};
use crate::specs::name;

const MINUTE: u64 = 60_000;

fn tokens(limit: u64) -> Budget {
    Budget {
        tokens: Some(limit),
        ..Budget::default()
    }
}

fn minutes(limit: u64) -> Budget {
    Budget {
        work_ms: Some(limit * MINUTE),
        ..Budget::default()
    }
}

/// A lead and two members, all with a model. `team` and `ada` are the budgets of the team and of the member ada.
fn with_models(team: Budget, ada: Budget) -> UpSpec {
    let mut spec = file(&["ada", "ben"]);
    spec.team.budget = team;
    for member in &mut spec.members {
        member.budget = Some(match member.name.as_str() {
            "ada" => ada,
            _ => Budget::default(),
        });
    }
    spec
}

/// Reports a reply of the member's model, with this number of input tokens.
fn spends(rig: &mut Rig, member: &str, input: u64) -> Done {
    let progress = TurnProgress {
        items: vec!["1".into()],
        spent: Usage {
            input,
            micro_usd: input * 10,
            ..Usage::default()
        },
        ..TurnProgress::default()
    };
    rig.by(member, Call::Append(progress))
}

fn ends_turn(rig: &mut Rig, member: &str) {
    let progress = TurnProgress {
        turn_end: Some(Arc::from("")),
        ..TurnProgress::default()
    };
    rig.by(member, Call::Append(progress)).answer();
}

fn set_budget(rig: &mut Rig, member: Option<&str>, budget: Budget) -> Done {
    let member = member.map(name);
    rig.user(Call::SetBudget { member, budget })
}

fn blocked_by(rig: &Rig, member: &str) -> Option<Measure> {
    let out = rig.team.out_of_budget(rig.member(member));
    out.map(|out| out.measure)
}

/// The members that receive their allowance after this input.
fn informed(done: &Done) -> Vec<&str> {
    let informed = done.effects.iter().filter_map(|effect| {
        if let Effect::SendAllowance { member } = effect {
            Some(member.as_str())
        } else {
            None
        }
    });
    informed.collect()
}

#[test]
fn at_80_percent_lead_and_user_are_warned_once() {
    let mut rig = Rig::of(with_models(Budget::default(), tokens(100)));
    assert_eq!(spends(&mut rig, "ada", 79).notices(), []);
    let reply = spends(&mut rig, "ada", 1);
    let lead = Party::Member(name("lead"));
    let (to, text) = reply.notices().pop().expect("a notice is sent");
    assert_eq!(to, [lead, Party::User]);
    assert!(text.contains("80 of 100"), "{text}");
    assert_eq!(blocked_by(&rig, "ada"), None);
    assert_eq!(spends(&mut rig, "ada", 5).notices(), []);
}

#[test]
fn only_the_member_at_its_limit_is_blocked() {
    let mut rig = Rig::of(with_models(Budget::default(), tokens(100)));
    let task = rig.add("Build");
    let owner = rig.owner(task);
    assert_eq!(owner.as_deref(), Some("ada"));
    let done = spends(&mut rig, "ada", 250);
    assert_eq!(informed(&done), ["ada"]);
    let (to, text) = done.notices().pop().expect("the user is notified");
    assert!(to.contains(&Party::User));
    assert!(
        text.contains("agent-team config set members.ada.limits.tokens"),
        "{text}"
    );
    assert_eq!(blocked_by(&rig, "ada"), Some(Measure::Tokens));
    assert_eq!(blocked_by(&rig, "ben"), None);
    assert_eq!(rig.owner(task), owner, "the member loses its claim");
}

#[test]
fn the_team_limit_includes_former_members() {
    let mut rig = Rig::of(with_models(tokens(100), Budget::default()));
    spends(&mut rig, "ben", 60).answer();
    let mut without = with_models(tokens(100), Budget::default());
    without
        .members
        .retain(|member| member.name.as_str() != "ben");
    rig.up(without).answer();
    rig.exits("ben");
    rig.tree_is_gone("ben");
    assert!(rig.team.member(&name("ben")).is_none());
    let done = spends(&mut rig, "ada", 40);
    assert_eq!(informed(&done), ["ada", "lead"]);
    let (to, _) = done.notices().pop().expect("the user is notified");
    assert_eq!(to, [Party::User], "the lead is blocked too");
    assert_eq!(blocked_by(&rig, "lead"), Some(Measure::Tokens));
}

#[test]
fn raising_the_limit_unblocks_a_member() {
    let mut rig = Rig::of(with_models(Budget::default(), tokens(100)));
    spends(&mut rig, "ada", 100).answer();
    let done = set_budget(&mut rig, Some("ada"), tokens(200));
    assert_eq!(informed(&done), ["ada"]);
    assert_eq!(done.notices(), [], "a notice is sent, but none is needed");
    assert_eq!(blocked_by(&rig, "ada"), None);

    spends(&mut rig, "ada", 100).answer();
    assert_eq!(blocked_by(&rig, "ada"), Some(Measure::Tokens));
    let done = rig.up(with_models(Budget::default(), tokens(1_000)));
    assert_eq!(informed(&done), ["ada"]);
    assert!(rig.is_ready("ada"), "the launch has not stayed ready");
    assert_eq!(blocked_by(&rig, "ada"), None);
}

#[test]
fn a_new_goal_resets_the_usage() {
    let mut rig = Rig::of(with_models(tokens(100), Budget::default()));
    spends(&mut rig, "ada", 100).answer();
    assert_eq!(blocked_by(&rig, "ada"), Some(Measure::Tokens));
    let start = Call::StartRun(NewRun {
        goal: "goal".into(),
        ..NewRun::default()
    });
    let done = rig.user(start);
    assert_eq!(informed(&done), ["ada", "ben", "lead"]);
    assert_eq!(blocked_by(&rig, "ada"), None);
    assert_eq!(spends(&mut rig, "ada", 79).notices(), []);
    assert_eq!(spends(&mut rig, "ada", 1).notices().len(), 1);
}

#[test]
fn an_exhausted_budget_survives_restarts() {
    let mut rig = Rig::of(with_models(Budget::default(), tokens(100)));
    spends(&mut rig, "ada", 100).answer();
    rig.dies("ada");
    rig.hello("ada");
    rig.resume();
    assert_eq!(blocked_by(&rig, "ada"), Some(Measure::Tokens));
    rig.reboot();
    rig.up(with_models(Budget::default(), tokens(100))).answer();
    rig.hello("ada");
    assert_eq!(blocked_by(&rig, "ada"), Some(Measure::Tokens));
}

#[test]
fn a_blocked_member_claims_no_tasks() {
    let mut rig = Rig::of(with_models(Budget::default(), tokens(100)));
    spends(&mut rig, "ada", 100).answer();
    ends_turn(&mut rig, "ada");
    let first = rig.add("Build");
    let second = rig.add("Test");
    assert_eq!(rig.owner(first).as_deref(), Some("ben"));
    assert!(rig.is_pending(second));
    set_budget(&mut rig, Some("ada"), Budget::default()).answer();
    assert_eq!(rig.owner(second).as_deref(), Some("ada"));
}

#[test]
fn a_members_minutes_count_only_work() {
    let mut rig = Rig::of(with_models(Budget::default(), minutes(10)));
    assert_eq!(
        rig.wait(60 * MINUTE),
        [],
        "the budget of an idle member changes"
    );
    spends(&mut rig, "ada", 1).answer();
    assert_eq!(rig.wait(8 * MINUTE - 1), []);
    let changed_to = |state| Event::BudgetStateChanged {
        member: Some(name("ada")),
        measure: Measure::Minutes,
        state,
    };
    assert!(rig.wait(1).contains(&changed_to(BudgetState::Warned)));
    ends_turn(&mut rig, "ada");
    assert_eq!(rig.wait(60 * MINUTE), []);
    spends(&mut rig, "ada", 1).answer();
    assert!(
        rig.wait(2 * MINUTE)
            .contains(&changed_to(BudgetState::Spent))
    );
    assert_eq!(blocked_by(&rig, "ada"), Some(Measure::Minutes));
    let worked = rig.member("ada").account.working.read(rig.now);
    rig.wait(60 * MINUTE);
    let account = rig.member("ada").account;
    assert_eq!(account.working.read(rig.now), worked, "blocked time counts");
    assert!(account.up.read(rig.now) > worked);
}

#[test]
fn team_minutes_count_while_any_member_works() {
    let mut rig = Rig::of(with_models(minutes(10), Budget::default()));
    spends(&mut rig, "ada", 1).answer();
    spends(&mut rig, "ben", 1).answer();
    rig.wait(6 * MINUTE);
    ends_turn(&mut rig, "ada");
    rig.wait(4 * MINUTE - 1);
    assert_eq!(blocked_by(&rig, "ben"), None);
    rig.wait(1);
    assert_eq!(blocked_by(&rig, "ben"), Some(Measure::Minutes));
    assert_eq!(blocked_by(&rig, "ada"), Some(Measure::Minutes));
    let (account, spent) = rig.team.account();
    assert_eq!(account.working.read(rig.now), 10 * MINUTE);
    assert_eq!(spent.input, 2);
}

#[test]
fn unpriced_tokens_do_not_count_as_spent_money() {
    let usd = Budget {
        micro_usd: Some(1_000),
        ..Budget::default()
    };
    let mut rig = Rig::of(with_models(Budget::default(), usd));
    let progress = TurnProgress {
        items: vec!["1".into()],
        spent: Usage {
            input: 1_000_000,
            unpriced: 1_000_000,
            ..Usage::default()
        },
        ..TurnProgress::default()
    };
    rig.by("ada", Call::Append(progress)).answer();
    assert_eq!(blocked_by(&rig, "ada"), None);
    spends(&mut rig, "ada", 100).answer();
    assert_eq!(blocked_by(&rig, "ada"), Some(Measure::Usd));
}

#[test]
fn only_members_with_a_model_have_limits() {
    let mut rig = Rig::of(file(&["ada"]));
    assert_eq!(
        set_budget(&mut rig, Some("ada"), tokens(1)).refusal(),
        Refused::NoBudget(name("ada"))
    );
}
