//! Tests of judgements and decisions, on a team without processes.

use agent_team_core::{Answer, Tick};
use agent_team_protocol::permissions::Permissions as Rules;
use agent_team_protocol::request::ResolvedCallPath;
use agent_team_protocol::view::Waiting;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::testing::{TestTeam, name};
use super::super::views::Views;
use super::*;

/// A team of a lead and ada with these rules of the team file.
fn team(rules: &Rules) -> TestTeam {
    let mut team = TestTeam::with(&["ada"], json!({ "permissions": rules }));
    let _frames = (team.hello("lead", 6), team.hello("ada", 7));
    team
}

fn rules(list: &[&str]) -> Vec<String> {
    list.iter().map(|rule| (*rule).to_owned()).collect()
}

fn bash(line: &str) -> AskRequest {
    let arguments = json!({ "command": line }).to_string();
    AskRequest {
        tool: "bash".to_owned(),
        arguments: RawValue::from_string(arguments).unwrap(),
        directory: "/w".into(),
        confined: true,
        containment: Default::default(),
        paths: Vec::new(),
        hook: None,
    }
}

fn ruling(team: &TestTeam, line: &str) -> input::Ruling {
    let asked = team.permissions().ask(&name("ada"), &bash(line));
    let Call::Ask { ruling, .. } = asked.unwrap().0 else {
        panic!("not a call of the core");
    };
    ruling
}

/// Lets ada request permission to run this line; returns the pending request.
fn asks(team: &mut TestTeam, line: &str) -> RequestId {
    let (call, _) = team.permissions().ask(&name("ada"), &bash(line)).unwrap();
    let Ok(Answer::Request { request }) = team.call(team.origin("ada"), call) else {
        panic!("not a request");
    };
    request
}

fn allow(request: RequestId, scope: Scope, rule: &[&str]) -> DecideRequest {
    DecideRequest {
        request,
        digest: None,
        decision: Decision::Allow {
            scope,
            rules: rules(rule),
        },
        via: None,
    }
}

/// The code with which a decision is refused.
fn refused(team: &TestTeam, by: &Origin, decide: DecideRequest) -> ErrorCode {
    team.permissions().decide(by, decide).unwrap_err().code
}

#[test]
fn rules_allow_deny_or_ask() {
    let team = team(&Rules {
        allow: rules(&["Bash(make:*)"]),
        deny: rules(&["Bash(make deploy:*)"]),
        ..Rules::default()
    });
    assert!(matches!(
        ruling(&team, "make test"),
        input::Ruling::Allow { .. }
    ));
    assert!(matches!(
        ruling(&team, "make deploy"),
        input::Ruling::Deny { .. }
    ));
    assert!(matches!(ruling(&team, "curl x.y"), input::Ruling::Ask));
    assert_eq!(team.permissions().rules().unwrap().rules.len(), 2);
}

#[test]
fn a_decision_covers_other_requests_that_its_rules_allow() {
    let mut team = team(&Rules::default());
    let first = asks(&mut team, "make one");
    let second = asks(&mut team, "make two");
    let other = asks(&mut team, "curl x.y");
    let decide = allow(first, Scope::Team, &["Bash(make:*)"]);
    let call = team.permissions().decide(&Origin::User, decide).unwrap();
    let Call::Decide { covers, .. } = &call else {
        panic!("{call:?}");
    };
    assert_eq!(covers, &[second]);
    team.call(Origin::User, call).unwrap();
    assert!(matches!(
        ruling(&team, "make three"),
        input::Ruling::Allow { .. }
    ));
    let pending = ListRequests { all: false };
    let pending = team.permissions().list(&pending).unwrap().requests;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].id, other);
}

#[test]
fn rules_that_do_not_cover_the_request_are_refused() {
    let mut team = team(&Rules::default());
    let request = asks(&mut team, "make one");
    let other = allow(request, Scope::Team, &["Bash(cargo:*)"]);
    assert_eq!(refused(&team, &Origin::User, other), ErrorCode::NotCovered);
    let invalid = allow(request, Scope::Team, &["Bash("]);
    assert_eq!(refused(&team, &Origin::User, invalid), ErrorCode::Invalid);
}

#[test]
fn a_decision_with_another_digest_is_refused() {
    let mut team = team(&Rules::default());
    let request = asks(&mut team, "make one");
    let decide = DecideRequest {
        digest: Some("another".into()),
        ..allow(request, Scope::Once, &[])
    };
    assert_eq!(refused(&team, &Origin::User, decide), ErrorCode::WrongState);
}

#[test]
fn the_lead_may_allow_only_delegated_requests() {
    let mut team = team(&Rules {
        approve: rules(&["Bash(make:*)"]),
        ..Rules::default()
    });
    let delegated = asks(&mut team, "make one");
    let other = asks(&mut team, "curl x.y");
    let permissions = team.permissions();
    assert_eq!(permissions.pending_for(&name("lead")), [delegated, other]);
    assert!(permissions.pending_for(&name("ada")).is_empty());
    let decide = |id| permissions.inform(id).unwrap().decide;
    assert_eq!([decide(delegated), decide(other)], [Some(delegated), None]);
    let lead = team.origin("lead");
    let decide = allow(other, Scope::Once, &[]);
    assert_eq!(refused(&team, &lead, decide), ErrorCode::NotPermitted);
    let decide = allow(delegated, Scope::Once, &[]);
    let call = team.permissions().decide(&lead, decide).unwrap();
    team.call(lead, call).unwrap();
}

#[test]
fn unreadable_settings_deny_every_call() {
    let mut team = team(&Rules::default());
    let call = Call::ReplaceSettings {
        settings: "{}".into(),
    };
    team.call(Origin::User, call).unwrap();
    assert!(matches!(ruling(&team, "ls"), input::Ruling::Deny { .. }));
    assert!(team.permissions().rules().is_err());
    assert!(team.permissions().forget_rule("Bash(make:*)").is_err());
}

#[test]
fn no_rule_allows_a_task_line_without_a_sandbox() {
    let team = team(&Rules {
        allow: rules(&["Bash(make:*)"]),
        ..Rules::default()
    });
    let spec = agent_team_protocol::spec::TaskSpec {
        title: "build".to_owned(),
        run: Some("make all".to_owned()),
        verify: Some("curl x.y".to_owned()),
        ..Default::default()
    };
    let mut call = Call::AddTask {
        spec: convert::task_spec(spec),
        after: Vec::new(),
        lines: Vec::new(),
    };
    let permissions = team.permissions();
    permissions.judge_task_lines(&name("ada"), &mut call);
    let Call::AddTask { lines, .. } = call else {
        panic!("{call:?}");
    };
    let allowed: Vec<bool> = lines.iter().map(|line| line.allowed).collect();
    assert_eq!(allowed, [false, false]);
}

#[test]
fn a_changed_mode_decides_the_next_call_of_every_member() {
    let mut team = team(&Rules::default());
    let write = |team: &TestTeam, member: &str| {
        let arguments = json!({ "path": "a" }).to_string();
        let ask = AskRequest {
            tool: "write".to_owned(),
            arguments: RawValue::from_string(arguments).unwrap(),
            paths: vec![ResolvedCallPath {
                given: "a".to_owned(),
                path: "/w/a".into(),
                resolved: "/w/a".into(),
            }],
            ..bash("")
        };
        let (call, _) = team.permissions().ask(&name(member), &ask).unwrap();
        let Call::Ask { ruling, .. } = call else {
            panic!("not a call of the core");
        };
        matches!(ruling, input::Ruling::Allow { .. })
    };
    let set = |member: Option<&str>, mode| SetMode {
        member: member.map(name),
        mode,
    };
    assert!(!write(&team, "ada") && !write(&team, "lead"));
    let call = team
        .permissions()
        .set_mode(set(None, Mode::AcceptEdits))
        .unwrap();
    team.call(Origin::User, call).unwrap();
    assert!(write(&team, "ada") && write(&team, "lead"));
    let call = team
        .permissions()
        .set_mode(set(Some("ada"), Mode::Plan))
        .unwrap();
    team.call(Origin::User, call).unwrap();
    assert!(!write(&team, "ada") && write(&team, "lead"));
    let bypass = team
        .permissions()
        .set_mode(set(None, Mode::Bypass))
        .unwrap_err();
    assert_eq!(bypass.code, ErrorCode::WrongState);
}

#[test]
fn a_hook_widens_no_rule_and_its_ask_always_counts() {
    let team = team(&Rules {
        allow: rules(&["Bash(make:*)"]),
        ask: rules(&["Bash(make test:*)"]),
        deny: rules(&["Bash(make deploy:*)"]),
        ..Rules::default()
    });
    let ruling = |line: &str, hook: HookDecision| {
        let hook = Some(hook);
        let ask = AskRequest { hook, ..bash(line) };
        let (call, _) = team.permissions().ask(&name("ada"), &ask).unwrap();
        let Call::Ask { ruling, .. } = call else {
            panic!("{call:?}");
        };
        ruling
    };
    let allows = |line| ruling(line, HookDecision::Allow);
    assert!(matches!(allows("curl x.y"), input::Ruling::Allow { .. }));
    assert!(matches!(allows("make test"), input::Ruling::Ask));
    assert!(matches!(allows("make deploy"), input::Ruling::Deny { .. }));
    let asks = |line| {
        let reason = "it costs money".to_owned();
        ruling(line, HookDecision::Ask { reason })
    };
    assert!(matches!(asks("make all"), input::Ruling::Ask));
    assert!(matches!(asks("make deploy"), input::Ruling::Deny { .. }));
}

#[test]
fn a_new_rule_does_not_cover_a_call_that_a_hook_asks_about() {
    let mut team = team(&Rules::default());
    let first = asks(&mut team, "make one");
    let reason = "\x1b[2Jlook".to_owned();
    let ask = AskRequest {
        hook: Some(HookDecision::Ask { reason }),
        ..bash("make two")
    };
    let (call, _) = team.permissions().ask(&name("ada"), &ask).unwrap();
    let Ok(Answer::Request { request }) = team.call(team.origin("ada"), call) else {
        panic!("not a request");
    };
    let decide = allow(first, Scope::Team, &["Bash(make:*)"]);
    let call = team.permissions().decide(&Origin::User, decide).unwrap();
    let Call::Decide { covers, .. } = &call else {
        panic!("{call:?}");
    };
    assert_eq!(covers, &[]);
    team.call(Origin::User, call).unwrap();
    let why = team.permissions().show(request).unwrap().why.join("\n");
    assert!(why.contains("a hook requires a decision"), "{why}");
    assert!(!why.contains('\x1b'), "{why}");
}

#[test]
fn a_jump_of_the_wall_clock_does_not_lengthen_a_wait() {
    let mut team = team(&Rules::default());
    asks(&mut team, "make");
    team.now = Tick(4_000);
    let views = Views {
        wall_ms: 18 * 3_600_000,
        ..team.views()
    };
    let ada = views.member_answer(&name("ada")).unwrap().member;
    assert!(matches!(ada.waiting, Some(Waiting::Permission { .. })));
    assert_eq!(
        ada.for_ms, 3_000,
        "the wait includes the jump of the wall clock"
    );
}
