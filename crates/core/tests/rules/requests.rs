//! Permission requests: only a decision allows a request, the first decision wins, and no call runs twice.

use agent_team_core::effect::Effect;
use agent_team_core::input::{
    Call, CompletionHook, RequestDecision, Ruling, TaskLine, TurnProgress,
};
use agent_team_core::request::RequestState;
use agent_team_core::spec::TaskSpec;
use agent_team_core::{Answer, Event, Refused};
use agent_team_protocol::id::{LaunchId, RequestId};
use agent_team_protocol::value::Scope;
use proptest::prelude::*;

use crate::rig::{Rig, file};
use crate::specs::{name, task_spec};

fn ask(digest: &str) -> Call {
    Call::Ask {
        digest: digest.into(),
        call: "{}".into(),
        changes: true,
        ruling: Ruling::Ask,
    }
}

fn asked(rig: &mut Rig, member: &str, digest: &str) -> RequestId {
    let answer = rig.by(member, ask(digest)).answer();
    let Answer::Request { request } = answer else {
        panic!("not a request: {answer:?}");
    };
    request
}

#[test]
fn a_notice_names_its_request_in_a_field() {
    let mut rig = Rig::of(file(&["ada"]));
    let done = rig.by("ada", ask("d"));
    let announced = done.events.iter().find_map(|event| {
        if let Event::MessageAccepted { note, .. } = event {
            note.announces
        } else {
            None
        }
    });
    assert_eq!(announced, Some(RequestId(1)));
}

#[test]
fn time_before_a_decision_is_not_working_time() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.add("Build");
    assert!(rig.member("ada").account.working.is_running());
    rig.wait(1_000);
    let first = asked(&mut rig, "ada", "first");
    rig.wait(60_000);
    let second = asked(&mut rig, "ada", "second");
    rig.user(allow(first)).answer();
    rig.wait(60_000);
    assert_eq!(rig.member("ada").account.working.read(rig.now), 1_000);
    assert_eq!(rig.team.account().0.working.read(rig.now), 1_000);
    rig.user(deny(second)).answer();
    rig.wait(500);
    assert_eq!(rig.member("ada").account.working.read(rig.now), 1_500);
}

fn decide(request: RequestId, decision: RequestDecision, covers: &[RequestId]) -> Call {
    Call::Decide {
        request,
        decision,
        covers: covers.to_vec(),
        via: None,
    }
}

fn allow(request: RequestId) -> Call {
    allow_for(request, Scope::Once, &[])
}

fn allow_for(request: RequestId, scope: Scope, covers: &[RequestId]) -> Call {
    let rules = Vec::new();
    let delegated = false;
    let decision = RequestDecision::Allow {
        scope,
        rules,
        delegated,
    };
    decide(request, decision, covers)
}

fn deny(request: RequestId) -> Call {
    let reason = "not now".into();
    decide(request, RequestDecision::Deny { reason }, &[])
}

fn state(rig: &Rig, request: RequestId) -> RequestState {
    let request = rig.team.requests().get(request);
    request.expect("the request is kept").state.clone()
}

#[test]
fn rule_decisions_are_recorded_immediately() {
    let mut rig = Rig::of(file(&["ada"]));
    let ruled = |ruling| Call::Ask {
        digest: "d".into(),
        call: "{}".into(),
        changes: true,
        ruling,
    };
    let why: std::sync::Arc<str> = "a rule".into();
    let allow = ruled(Ruling::Allow { why: why.clone() });
    assert_eq!(rig.by("ada", allow).answer(), Answer::CallAllowed);
    let revision = rig.team.revision();
    let deny = ruled(Ruling::Deny { why });
    assert_eq!(rig.by("ada", deny).answer(), Answer::CallDenied);
    assert!(rig.team.revision() > revision);
    assert_eq!(rig.team.requests().iter().count(), 0);
}

#[test]
fn a_permission_is_consumed_before_the_call_runs() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    assert!(matches!(
        rig.by("ada", Call::BeginRequest { request }).refusal(),
        Refused::NotAllowed { .. }
    ));
    rig.user(allow(request)).answer();
    rig.by("ada", Call::BeginRequest { request }).answer();
    assert!(matches!(
        rig.by("ada", Call::BeginRequest { request }).refusal(),
        Refused::NotAllowed { .. }
    ));
    rig.by("ada", Call::EndRequest { request }).answer();
    assert_eq!(state(&rig, request), RequestState::Ended);
    assert_ne!(
        asked(&mut rig, "ada", "d"),
        request,
        "the permission is used twice"
    );
}

#[test]
fn a_call_begun_by_a_dead_worker_is_not_repeated() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    rig.user(allow(request)).answer();
    rig.by("ada", Call::BeginRequest { request }).answer();
    rig.dies("ada");
    assert_eq!(state(&rig, request), RequestState::Unknown);
    rig.hello("ada");
    assert_ne!(asked(&mut rig, "ada", "d"), request);
}

#[test]
fn requests_and_decisions_survive_the_worker() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    rig.dies("ada");
    rig.user(allow(request)).answer();
    rig.hello("ada");
    assert_eq!(asked(&mut rig, "ada", "d"), request);
    rig.by("ada", Call::BeginRequest { request }).answer();
}

#[test]
fn the_first_decision_wins() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    rig.user(deny(request)).answer();
    assert!(matches!(
        rig.user(allow(request)).refusal(),
        Refused::Decided { .. }
    ));
    assert!(matches!(state(&rig, request), RequestState::Denied { .. }));
}

#[test]
fn members_cannot_decide_and_the_lead_can_only_deny() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let request = asked(&mut rig, "ada", "d");
    let own = asked(&mut rig, "lead", "d");
    for by in ["ada", "bob", "lead"] {
        assert!(matches!(
            rig.by(by, allow(request)).refusal(),
            Refused::NotPermitted(_)
        ));
    }
    assert!(matches!(
        rig.by("lead", deny(own)).refusal(),
        Refused::NotPermitted(_)
    ));
    assert!(matches!(
        rig.by("bob", deny(request)).refusal(),
        Refused::NotPermitted(_)
    ));
    rig.by("lead", deny(request)).answer();
}

#[test]
fn the_lead_allows_delegated_requests_of_others_once() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let request = asked(&mut rig, "ada", "d");
    let own = asked(&mut rig, "lead", "d");
    let delegated = |request, scope, rules: &[&str]| {
        let decision = RequestDecision::Allow {
            scope,
            rules: rules.iter().map(|rule| (*rule).into()).collect(),
            delegated: true,
        };
        decide(request, decision, &[])
    };
    for (by, call) in [
        ("lead", delegated(own, Scope::Once, &[])),
        ("lead", delegated(request, Scope::Member, &[])),
        ("lead", delegated(request, Scope::Team, &["Bash"])),
        ("bob", delegated(request, Scope::Once, &[])),
        ("ada", delegated(request, Scope::Once, &[])),
    ] {
        assert!(matches!(
            rig.by(by, call).refusal(),
            Refused::NotPermitted(_)
        ));
    }
    rig.by("lead", delegated(request, Scope::Once, &[]))
        .answer();
    let allowed = state(&rig, request);
    let lead = name("lead");
    assert!(
        matches!(&allowed, RequestState::Allowed { by, scope: Scope::Once, .. } if by.to_string() == lead.as_str()),
        "{allowed:?}"
    );
    assert_eq!(rig.team.requests().grants(), []);
}

#[test]
fn a_task_grant_ends_with_the_task() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    assert_eq!(
        rig.user(allow_for(request, Scope::Task, &[])).refusal(),
        Refused::NoTask(name("ada"))
    );
    let task = rig.add("One");
    assert_eq!(rig.owner(task).as_deref(), Some("ada"));
    let other = asked(&mut rig, "ada", "e");
    rig.user(allow_for(request, Scope::Task, &[other])).answer();
    assert!(matches!(state(&rig, other), RequestState::Allowed { .. }));
    let grants = rig.team.requests().grants();
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].task, Some(task));
    let mut again = agent_team_core::Team::default();
    again.extend(rig.team.snapshot());
    assert_eq!(again.requests(), rig.team.requests());
    let done = Call::CompleteTask {
        claim: rig.claim_of(task),
        result: "done".into(),
        hook: CompletionHook::NotRun,
    };
    rig.by("ada", done).answer();
    assert_eq!(rig.team.requests().grants(), []);
}

#[test]
fn scope_always_needs_rules() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    assert_eq!(
        rig.user(allow_for(request, Scope::Always, &[])).refusal(),
        Refused::AlwaysWithoutRules
    );
}

#[test]
fn members_cannot_act_for_each_other() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let request = asked(&mut rig, "ada", "d");
    rig.user(allow(request)).answer();
    for call in [
        Call::BeginRequest { request },
        Call::EndRequest { request },
        Call::WithdrawRequest {
            request,
            allowed_in_agent: None,
        },
    ] {
        let refusal = rig.by("bob", call).refusal();
        assert_eq!(refusal, Refused::UnknownRequest(request));
    }
    assert!(matches!(rig.user(ask("d")).refusal(), Refused::MemberOnly));
}

#[test]
fn a_grant_also_allows_the_covered_requests() {
    let mut rig = Rig::of(file(&["ada", "bob", "eve"]));
    let requests = ["ada", "bob", "eve"].map(|member| asked(&mut rig, member, "d"));
    let other = asked(&mut rig, "bob", "other");
    rig.user(allow_for(requests[0], Scope::Team, &requests[1..]))
        .answer();
    for request in requests {
        assert!(matches!(state(&rig, request), RequestState::Allowed { .. }));
    }
    assert_eq!(state(&rig, other), RequestState::Pending);
    assert_eq!(rig.team.requests().grants().len(), 1);
}

#[test]
fn a_member_grant_does_not_cover_other_members() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let request = asked(&mut rig, "ada", "d");
    let other = asked(&mut rig, "bob", "d");
    rig.user(allow_for(request, Scope::Member, &[other]))
        .answer();
    assert_eq!(state(&rig, other), RequestState::Pending);
    let grant = &rig.team.requests().grants()[0];
    assert!(grant.is_for(&name("ada")) && !grant.is_for(&name("bob")));
}

#[test]
fn abandoned_requests_are_withdrawn() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    rig.by(
        "ada",
        Call::WithdrawRequest {
            request,
            allowed_in_agent: None,
        },
    )
    .answer();
    assert_eq!(state(&rig, request), RequestState::Withdrawn);
    let stopped = asked(&mut rig, "ada", "d");
    rig.kill("ada");
    rig.dies("ada");
    assert_eq!(state(&rig, stopped), RequestState::Withdrawn);
    assert!(matches!(
        rig.user(allow(stopped)).refusal(),
        Refused::Decided { .. }
    ));
}

#[test]
fn unused_permissions_end_with_the_turn() {
    let mut rig = Rig::of(file(&["ada"]));
    let waits = asked(&mut rig, "ada", "waits");
    let allowed = asked(&mut rig, "ada", "allowed");
    rig.user(allow(allowed)).answer();
    let turn_end = TurnProgress {
        turn_end: Some("".into()),
        ..TurnProgress::default()
    };
    rig.by("ada", Call::Append(turn_end)).answer();
    for request in [waits, allowed] {
        assert_eq!(state(&rig, request), RequestState::Withdrawn);
    }
}

#[test]
fn a_revoked_grant_leaves_its_request_allowed() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    let revoke = || Call::RevokeGrant { request };
    assert_eq!(rig.user(revoke()).refusal(), Refused::UnknownGrant(request));
    rig.user(allow_for(request, Scope::Team, &[])).answer();
    rig.user(revoke()).answer();
    assert!(rig.team.requests().grants().is_empty());
    assert!(matches!(state(&rig, request), RequestState::Allowed { .. }));
}

#[test]
fn down_ends_all_grants() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    rig.user(allow_for(request, Scope::Team, &[])).answer();
    rig.user(Call::Down { force: true }).answer();
    assert!(rig.team.requests().grants().is_empty());
}

/// The requests that the lead is informed of after this input.
fn informed(done: &crate::rig::Done) -> Vec<RequestId> {
    let informed = done.effects.iter().filter_map(|effect| {
        if let Effect::Inform { member, request } = effect {
            assert_eq!(member.as_str(), "lead");
            Some(*request)
        } else {
            None
        }
    });
    informed.collect()
}

#[test]
fn the_lead_is_informed_of_requests_and_decisions() {
    let mut rig = Rig::of(file(&["ada"]));
    let asked_now = rig.by("ada", ask("d"));
    let request = RequestId(1);
    assert_eq!(informed(&asked_now), [request]);
    assert_eq!(informed(&rig.user(deny(request))), [request]);
    let own = rig.by("lead", ask("d"));
    assert_eq!(
        informed(&own),
        [],
        "the lead is informed of its own requests"
    );
    let other = asked(&mut rig, "ada", "e");
    assert_eq!(
        informed(&rig.by("lead", deny(other))),
        [],
        "the lead is informed of its own decisions"
    );
}

/// A team whose requests expire after this time.
fn expiring(ms: u64) -> Rig {
    let mut file = file(&["ada"]);
    file.team.requests_expire_ms = Some(ms);
    Rig::of(file)
}

#[test]
fn an_expired_request_is_denied() {
    let mut rig = expiring(60_000);
    let request = asked(&mut rig, "ada", "d");
    rig.wait(59_999);
    assert_eq!(state(&rig, request), RequestState::Pending);
    rig.wait(1);
    let RequestState::Denied { by, reason } = state(&rig, request) else {
        panic!("the request is not denied");
    };
    assert_eq!(
        (by.to_string().as_str(), &*reason),
        ("system", "not answered in time")
    );
    assert!(matches!(
        rig.user(allow(request)).refusal(),
        Refused::Decided { .. }
    ));
    // A decided request does not expire.
    let decided = asked(&mut rig, "ada", "e");
    rig.user(allow(decided)).answer();
    rig.wait(600_000);
    assert!(matches!(state(&rig, decided), RequestState::Allowed { .. }));
}

#[test]
fn a_request_without_expiry_stays_pending() {
    let mut rig = Rig::of(file(&["ada"]));
    let request = asked(&mut rig, "ada", "d");
    rig.wait(u64::from(u32::MAX));
    assert_eq!(state(&rig, request), RequestState::Pending);
}

#[test]
fn expiry_times_of_another_boot_are_void() {
    let mut rig = expiring(60_000);
    let request = asked(&mut rig, "ada", "d");
    rig.reboot();
    rig.wait(600_000);
    assert_eq!(state(&rig, request), RequestState::Withdrawn);
}

#[derive(Debug, Clone)]
enum Move {
    Ask(usize, usize),
    Begin(usize, u64),
    End(usize, u64),
    Withdraw(usize, u64),
    /// The party that decides (the highest number is the user), the request, and whether the party allows it.
    Decide(usize, u64, bool),
    Die(usize),
    /// The supervisor crashes, and another one starts.
    Resume,
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let (member, request) = (0..3_usize, 1..6_u64);
    let a_move = prop_oneof![
        3 => (member.clone(), 0..3_usize).prop_map(|(by, what)| Move::Ask(by, what)),
        3 => (member.clone(), request.clone()).prop_map(|(by, id)| Move::Begin(by, id)),
        2 => (member.clone(), request.clone()).prop_map(|(by, id)| Move::End(by, id)),
        1 => (member.clone(), request.clone()).prop_map(|(by, id)| Move::Withdraw(by, id)),
        3 => (0..4_usize, request, any::<bool>())
            .prop_map(|(by, id, yes)| Move::Decide(by, id, yes)),
        1 => member.prop_map(Move::Die),
        1 => Just(Move::Resume),
        1 => (0..400_000_u64).prop_map(Move::Wait),
    ];
    prop::collection::vec(a_move, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn calls_begin_once_and_only_after_approval(moves in moves()) {
        const MEMBERS: [&str; 3] = ["ada", "bob", "lead"];
        let mut file = file(&["ada", "bob"]);
        file.team.requests_expire_ms = Some(600_000);
        let mut rig = Rig::of(file);
        let mut decided = std::collections::BTreeSet::new();
        let mut allowed = std::collections::BTreeSet::new();
        let mut begun = std::collections::BTreeSet::new();
        let mut final_states = std::collections::BTreeMap::new();
        for a_move in moves {
            match a_move {
                Move::Ask(by, what) => {
                    rig.by(MEMBERS[by], ask(["a", "b", "c"][what])).answer();
                }
                Move::Begin(by, id) => {
                    let request = RequestId(id);
                    let done = rig.by(MEMBERS[by], Call::BeginRequest { request });
                    if matches!(done.outcome, Some(Ok(_))) {
                        prop_assert!(allowed.contains(&id), "P-{id} was never allowed");
                        prop_assert!(begun.insert(id), "P-{id} was begun twice");
                    }
                }
                Move::End(by, id) => {
                    let request = RequestId(id);
                    rig.by(MEMBERS[by], Call::EndRequest { request });
                }
                Move::Withdraw(by, id) => {
                    let request = RequestId(id);
                    rig.by(MEMBERS[by], Call::WithdrawRequest { request, allowed_in_agent: None });
                }
                Move::Decide(by, id, yes) => {
                    let request = RequestId(id);
                    let call = if yes { allow(request) } else { deny(request) };
                    let by_user = by == MEMBERS.len();
                    let done = match MEMBERS.get(by) {
                        Some(member) => rig.by(member, call),
                        None => rig.user(call),
                    };
                    if matches!(done.outcome, Some(Ok(_))) {
                        prop_assert!(decided.insert(id), "P-{id} was decided twice");
                        prop_assert!(by_user || !yes, "P-{id} was allowed by a member");
                        if yes {
                            allowed.insert(id);
                        }
                    }
                }
                Move::Die(by) => {
                    // Advance past the restart window, so that the successor starts immediately.
                    rig.wait(120_000);
                    rig.dies(MEMBERS[by]);
                    rig.hello(MEMBERS[by]);
                }
                Move::Resume => {
                    rig.resume();
                    for member in MEMBERS {
                        rig.hello(member);
                    }
                }
                Move::Wait(ms) => {
                    rig.wait(ms);
                }
            }
            for request in rig.team.requests().iter() {
                let is_final = matches!(
                    request.state,
                    RequestState::Ended
                        | RequestState::Unknown
                        | RequestState::Denied { .. }
                        | RequestState::Withdrawn
                );
                match final_states.get(&request.id) {
                    Some(before) => prop_assert_eq!(before, &request.state),
                    None if is_final => {
                        final_states.insert(request.id, request.state.clone());
                    }
                    None => {}
                }
            }
        }
    }
}

#[test]
fn a_stale_launch_cannot_make_requests() {
    let mut rig = Rig::of(file(&["ada"]));
    let gone = LaunchId::from_bits(7);
    assert_eq!(
        rig.by_launch("ada", gone, ask("d")).refusal(),
        Refused::StaleLaunch
    );
}

#[test]
fn a_members_shell_line_needs_a_permission() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let add = |title: &str, allowed: bool| Call::AddTask {
        spec: TaskSpec {
            run: Some("make".into()),
            ..task_spec(title)
        },
        after: Vec::new(),
        lines: vec![TaskLine {
            line: "make".into(),
            digest: "d".into(),
            allowed,
        }],
    };
    let refused = |rig: &mut Rig, member: &str, call: Call| {
        let refused = rig.by(member, call).refusal();
        assert!(matches!(refused, Refused::LineNotAllowed(_)), "{refused:?}");
    };
    let id = asked(&mut rig, "ada", "d");
    refused(&mut rig, "ada", add("pending", false));
    rig.user(allow(id)).answer();
    refused(&mut rig, "ada", add("not begun", false));
    rig.by("ada", Call::BeginRequest { request: id }).answer();
    refused(&mut rig, "bob", add("another's", false));
    let mut other = add("another line", false);
    if let Call::AddTask { lines, .. } = &mut other {
        lines[0].digest = "e".into();
    }
    refused(&mut rig, "ada", other);
    rig.by("ada", add("own", false)).task();
    rig.by("ada", Call::EndRequest { request: id }).answer();
    refused(&mut rig, "ada", add("used up", false));
    rig.by("ada", add("by the rules", true)).task();
}

#[test]
fn the_lead_is_informed_of_every_request_that_ends() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    let (first, covered) = (asked(&mut rig, "ada", "d"), asked(&mut rig, "bob", "e"));
    let allowed = rig.user(Call::Decide {
        request: first,
        decision: RequestDecision::Allow {
            scope: Scope::Team,
            rules: Vec::new(),
            delegated: false,
        },
        covers: vec![covered],
        via: None,
    });
    assert_eq!(informed(&allowed), [covered, first]);
    let withdrawn = asked(&mut rig, "ada", "f");
    let by_itself = rig.by(
        "ada",
        Call::WithdrawRequest {
            request: withdrawn,
            allowed_in_agent: None,
        },
    );
    assert_eq!(informed(&by_itself), [withdrawn]);
    let of_bob = asked(&mut rig, "bob", "g");
    let kill = Call::Kill {
        member: name("bob"),
    };
    assert_eq!(informed(&rig.user(kill)), []);
    assert_eq!(informed(&rig.tree_is_gone("bob")), [of_bob]);
}
