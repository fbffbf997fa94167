//! Members that need an approved plan: they change nothing before the latest version of their plan is approved, and a
//! new plan, task or goal locks them again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use agent_team_core::input::{Call, CompletionHook, NewRun, RequestDecision, Ruling};
use agent_team_core::request::RequestState;
use agent_team_core::{Answer, Refused};
use agent_team_protocol::id::RequestId;
use agent_team_protocol::value::Scope;
use proptest::prelude::*;

use crate::rig::{Rig, file};

/// ada must have a plan approved, bob need not.
fn team() -> Rig {
    let mut file = file(&["ada", "bob"]);
    file.members[1].must_plan = true;
    // The members claim nothing by themselves.
    for member in &mut file.members {
        member.claimable.unassigned = false;
    }
    Rig::of(file)
}

fn propose(rig: &mut Rig, text: &str) -> RequestId {
    let call = Call::Propose {
        digest: text.into(),
        call: "{}".into(),
    };
    request(rig.by("ada", call).answer())
}

fn request(answer: Answer) -> RequestId {
    let Answer::Request { request } = answer else {
        panic!("not a request: {answer:?}");
    };
    request
}

fn ask(changes: bool) -> Call {
    Call::Ask {
        digest: "d".into(),
        call: "{}".into(),
        changes,
        ruling: Ruling::Ask,
    }
}

fn decide(request: RequestId, decision: RequestDecision) -> Call {
    Call::Decide {
        request,
        decision,
        covers: Vec::new(),
        via: None,
    }
}

fn allow(scope: Scope, rules: Vec<Arc<str>>) -> RequestDecision {
    RequestDecision::Allow {
        scope,
        rules,
        delegated: false,
    }
}

fn approve(request: RequestId) -> Call {
    decide(request, allow(Scope::Once, Vec::new()))
}

fn send_back(request: RequestId) -> Call {
    let reason = "tests first".into();
    decide(request, RequestDecision::Deny { reason })
}

fn state(rig: &Rig, request: RequestId) -> RequestState {
    let request = rig.team.requests().get(request);
    request.expect("the request is kept").state.clone()
}

fn is_locked(rig: &Rig) -> bool {
    rig.member("ada").is_locked()
}

#[test]
fn a_locked_member_may_only_read() {
    let mut rig = team();
    assert_eq!(rig.by("ada", ask(true)).answer(), Answer::PlanFirst);
    // The lock applies even if the rules allow the call.
    let allowed = Call::Ask {
        digest: "d".into(),
        call: "{}".into(),
        changes: true,
        ruling: Ruling::Allow { why: "rule".into() },
    };
    assert_eq!(rig.by("ada", allowed).answer(), Answer::PlanFirst);
    request(rig.by("ada", ask(false)).answer());
    request(rig.by("bob", ask(true)).answer());

    let plan = propose(&mut rig, "one");
    assert_eq!(rig.by("ada", ask(true)).answer(), Answer::PlanFirst);
    rig.user(approve(plan)).answer();
    request(rig.by("ada", ask(true)).answer());
}

#[test]
fn a_locked_member_does_not_complete_its_task() {
    let mut rig = team();
    let task = rig.add("Build");
    rig.claim("ada", task);
    let complete = |rig: &Rig| Call::CompleteTask {
        claim: rig.claim_of(task),
        result: "done".into(),
        hook: CompletionHook::NotRun,
    };
    let call = complete(&rig);
    assert_eq!(rig.by("ada", call).refusal(), Refused::PlanFirst);
    let plan = propose(&mut rig, "one");
    rig.user(approve(plan)).answer();
    let call = complete(&rig);
    rig.by("ada", call).answer();
}

#[test]
fn a_rejected_plan_opens_nothing() {
    let mut rig = team();
    let first = propose(&mut rig, "one");
    rig.user(send_back(first)).answer();
    assert!(is_locked(&rig));
    let second = propose(&mut rig, "one");
    assert_ne!(first, second);
    let numbers = [first, second].map(|request| {
        let request = rig.team.requests().get(request).expect("a request");
        request.plan.expect("a plan").number
    });
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn a_new_plan_replaces_the_last_and_locks() {
    let mut rig = team();
    let first = propose(&mut rig, "one");
    assert_eq!(propose(&mut rig, "one"), first, "the plan is unchanged");
    let second = propose(&mut rig, "two");
    assert_eq!(state(&rig, first), RequestState::Withdrawn);
    assert!(matches!(
        rig.user(approve(first)).refusal(),
        Refused::Decided { .. }
    ));
    rig.user(approve(second)).answer();
    assert!(!is_locked(&rig));
    propose(&mut rig, "three");
    assert!(is_locked(&rig));
}

#[test]
fn a_new_task_locks_its_owner_again() {
    let mut rig = team();
    let (build, test) = (rig.add("Build"), rig.add("Test"));
    rig.claim("ada", build);
    let plan = propose(&mut rig, "one");
    rig.user(approve(plan)).answer();
    let asked = request(rig.by("ada", ask(true)).answer());
    rig.user(approve(asked)).answer();
    rig.dies("ada");
    rig.hello("ada");
    assert!(!is_locked(&rig), "the member holds the same task again");
    let release = Call::ReleaseTask {
        claim: rig.claim_of(build),
        note: "later".into(),
    };
    rig.by("ada", release).answer();
    rig.claim("ada", test);
    assert!(is_locked(&rig));
    // The permission was for the other task, so it is withdrawn.
    assert_eq!(state(&rig, asked), RequestState::Withdrawn);
}

#[test]
fn a_plan_for_another_task_is_withdrawn() {
    let mut rig = team();
    let plan = propose(&mut rig, "one");
    let task = rig.add("Build");
    rig.claim("ada", task);
    assert_eq!(state(&rig, plan), RequestState::Withdrawn);
    assert!(is_locked(&rig));
}

#[test]
fn plans_and_approvals_survive_the_worker() {
    let mut rig = team();
    let plan = propose(&mut rig, "one");
    rig.dies("ada");
    rig.user(approve(plan)).answer();
    rig.hello("ada");
    assert!(!is_locked(&rig));
}

#[test]
fn a_plan_is_approved_with_scope_once_and_no_rules() {
    let mut rig = team();
    let plan = propose(&mut rig, "one");
    for (scope, rules) in [
        (Scope::Team, Vec::new()),
        (Scope::Member, Vec::new()),
        (Scope::Team, vec!["Read".into()]),
    ] {
        let call = decide(plan, allow(scope, rules));
        assert_eq!(rig.user(call).refusal(), Refused::ApprovedOnce);
    }
    // No grant covers a plan, even if `covers` contains the plan.
    let asked = request(rig.by("bob", ask(true)).answer());
    let grant = Call::Decide {
        request: asked,
        decision: allow(Scope::Team, Vec::new()),
        covers: vec![plan],
        via: None,
    };
    rig.user(grant).answer();
    assert_eq!(state(&rig, plan), RequestState::Pending);
    // An approved plan cannot begin: only calls do.
    rig.user(approve(plan)).answer();
    let begin = Call::BeginRequest { request: plan };
    assert!(matches!(
        rig.by("ada", begin).refusal(),
        Refused::NotAllowed { .. }
    ));
}

#[test]
fn without_delegation_only_the_user_approves_plans() {
    let mut rig = team();
    let plan = propose(&mut rig, "one");
    for by in ["ada", "bob", "lead"] {
        let refusal = rig.by(by, approve(plan)).refusal();
        assert!(matches!(refusal, Refused::NotPermitted(_)));
    }
    let call = || Call::Propose {
        digest: "d".into(),
        call: "{}".into(),
    };
    let refusal = rig.by("bob", call()).refusal();
    assert!(matches!(refusal, Refused::NeedsNoPlan(_)));
    assert!(matches!(rig.user(call()).refusal(), Refused::MemberOnly));
    rig.by("lead", send_back(plan)).answer();
}

#[test]
fn a_new_goal_locks_the_lead() {
    let mut spec = file(&[]);
    spec.members[0].must_plan = true;
    let mut rig = Rig::of(spec);
    let call = Call::Propose {
        digest: "d".into(),
        call: "{}".into(),
    };
    let proposed = request(rig.by("lead", call).answer());
    rig.user(approve(proposed)).answer();
    assert!(!rig.member("lead").is_locked());
    rig.user(Call::StartRun(NewRun {
        goal: "another".into(),
        anew: true,
        ..NewRun::default()
    }))
    .answer();
    assert!(rig.member("lead").is_locked());
}

#[derive(Debug, Clone)]
enum Move {
    Propose(u8),
    Ask,
    Begin(u64),
    /// The first flag selects the user instead of the lead; the second flag selects allow instead of deny.
    Decide(u64, bool, bool),
    Claim(usize),
    Release,
    Die,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let a_move = prop_oneof![
        3 => (0..3_u8).prop_map(Move::Propose),
        3 => Just(Move::Ask),
        3 => (1..8_u64).prop_map(Move::Begin),
        6 => (1..8_u64, any::<bool>(), any::<bool>())
            .prop_map(|(id, user, yes)| Move::Decide(id, user, yes)),
        2 => (0..3_usize).prop_map(Move::Claim),
        1 => Just(Move::Release),
        1 => Just(Move::Die),
    ];
    prop::collection::vec(a_move, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn only_the_last_approved_plan_permits_calls(moves in moves()) {
        let mut rig = team();
        let tasks = ["a", "b", "c"].map(|title| rig.add(title));
        // The task of the approved plan. The outer `None`: no plan is approved, or a newer plan or another task has
        // locked ada again.
        let mut approved = None;
        let mut proposed = BTreeMap::new();
        for a_move in moves {
            let held = rig.team.task_of(&"ada".parse().unwrap()).map(|task| task.id);
            match a_move {
                Move::Propose(text) => {
                    let request = propose(&mut rig, &text.to_string());
                    // Proposing the same text again while it is pending returns the same plan.
                    if let Entry::Vacant(new) = proposed.entry(request) {
                        new.insert(held);
                        approved = None;
                    }
                }
                Move::Ask => {
                    let answer = rig.by("ada", ask(true)).answer();
                    prop_assert_eq!(answer == Answer::PlanFirst, approved.is_none());
                }
                Move::Begin(id) => {
                    let begun = rig.by("ada", Call::BeginRequest { request: RequestId(id) });
                    if matches!(begun.outcome, Some(Ok(_))) {
                        prop_assert!(approved.is_some(), "P-{id} was begun without a plan");
                        prop_assert!(!proposed.contains_key(&RequestId(id)));
                    }
                }
                Move::Decide(id, user, yes) => {
                    let request = RequestId(id);
                    let call = if yes { approve(request) } else { send_back(request) };
                    let done = if user { rig.user(call) } else { rig.by("lead", call) };
                    if yes && matches!(done.outcome, Some(Ok(_))) {
                        prop_assert!(user);
                        if let Some(task) = proposed.get(&request) {
                            approved = Some(*task);
                        }
                    }
                }
                Move::Claim(which) => {
                    let claim = Call::ClaimTask { task: Some(tasks[which]) };
                    if matches!(rig.by("ada", claim).outcome, Some(Ok(_)))
                        && approved != Some(Some(tasks[which]))
                    {
                        approved = None;
                    }
                }
                Move::Release => {
                    if let Some(task) = held {
                        let call = Call::ReleaseTask { claim: rig.claim_of(task), note: "".into() };
                        rig.by("ada", call).answer();
                    }
                }
                Move::Die => {
                    rig.wait(120_000);
                    rig.dies("ada");
                    rig.hello("ada");
                }
            }
            prop_assert_eq!(is_locked(&rig), approved.is_none());
        }
    }
}
