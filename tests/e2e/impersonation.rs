//! Calls methods as callers that may not use them, and as members with ids that belong to other members: a member may
//! act only on its own state, the lead only as its role permits, and no member may do what is reserved for the user.

use agent_team_client::{CallError, Client};
use agent_team_protocol::method::{
    AddTask, CallerRole, ClaimTask, METHODS, MessageSend, RequestAsk, RequestShow, SendMessage,
    TaskAdd, TaskClaim,
};
use agent_team_protocol::request::{AskRequest, OneRequest, Permission, RequestState};
use agent_team_protocol::rpc::Call;
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_protocol::{ErrorCode, Recipient, RequestId};
use agent_team_tests::stub::{Member, Stubs};
use agent_team_tests::{Rig, within};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::teams::assigned;

/// The expected result of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The call is refused, and nothing changes.
    Never,
    /// The call may fail, but is not refused because of its caller.
    May,
    /// The call is not made here: it would end bob's claim of T-1, or the table of methods does not permit it.
    Skipped,
}

use Rule::{May, Never, Skipped};

/// Calls with arguments that name objects of bob, and the expected results for ada and for the lead. [`refuse_callers`]
/// tests the methods that the table of methods does not permit to a role.
fn calls(rig: &Rig) -> Vec<(&'static str, Value, Rule, Rule)> {
    let bob = json!({ "member": "bob" });
    let task = json!({ "task": "T-1" });
    let claim = json!({ "task": "T-1", "generation": 1, "text": "mine" });
    let request = json!({ "request": "P-1" });
    let allow = json!({ "request": "P-1", "decision": { "kind": "allow", "scope": "once" } });
    let ask = json!({
        "tool": "bash", "arguments": { "command": "x" }, "directory": rig.project(),
    });
    vec![
        ("team/show", json!({}), May, May),
        ("member/spawn", json!({ "role": "nobody" }), Skipped, May),
        ("stop/answer", json!({ "objection": "no" }), May, May),
        ("member/show", bob, May, May),
        (
            "message/send",
            json!({ "to": "bob", "text": "hello", "urgent": false }),
            May,
            May,
        ),
        ("message/read", json!({ "messages": ["M-2"] }), May, May),
        (
            "message/list",
            json!({ "of": "bob", "limit": 10 }),
            Never,
            Never,
        ),
        (
            "task/add",
            json!({ "spec": { "key": "k", "title": "t" } }),
            May,
            May,
        ),
        ("task/list", json!({}), May, May),
        ("task/show", task.clone(), May, May),
        (
            "task/update",
            json!({ "task": "T-1", "changes": { "title": "x" } }),
            Never,
            May,
        ),
        ("task/claim", json!({ "task": "T-1" }), Never, Never),
        (
            "task/assign",
            json!({ "task": "T-1", "member": "ada" }),
            Never,
            Never,
        ),
        ("task/complete", claim.clone(), Never, Skipped),
        ("task/fail", claim.clone(), Never, Skipped),
        ("task/release", claim, Never, Skipped),
        ("task/retry", task.clone(), Never, Never),
        ("task/cancel", task, Never, Skipped),
        ("run/rounds", json!({ "run": "R-1", "after": 0 }), May, May),
        ("request/ask", ask, May, May),
        ("plan/propose", json!({ "text": "t" }), May, May),
        ("request/wait", request.clone(), Never, Never),
        ("request/begin", request.clone(), Never, Never),
        ("request/end", request.clone(), Never, Never),
        ("request/withdraw", request.clone(), Never, Never),
        ("request/list", json!({ "all": true }), Skipped, May),
        ("request/show", request.clone(), Skipped, May),
        ("request/decide", allow, Skipped, Never),
        ("transcript/append", json!({ "items": [] }), May, May),
        (
            "transcript/read",
            json!({ "member": "bob", "after": 0 }),
            Never,
            Never,
        ),
        ("memory/put", json!({ "key": "k", "value": 1 }), May, May),
        ("memory/get", json!({ "key": "k" }), May, May),
    ]
}

/// Asserts that each role is refused each method that the table does not permit to it.
async fn refuse_callers(rig: &Rig, lead: &Member, teammate: &Member) {
    let user = rig.user().await;
    for method in METHODS {
        for (client, role) in [
            (&user.client, CallerRole::User),
            (&lead.client, CallerRole::Lead),
            (&teammate.client, CallerRole::Teammate),
        ] {
            let Err(expected) = method.check(role) else {
                continue;
            };
            let code = outcome(client, method.name, &json!({})).await;
            assert_eq!(code, Some(expected.code), "{role:?}: {}", method.name);
        }
    }
}

/// Runs this verb and returns the member that it launches.
pub(crate) async fn launched<const N: usize>(rig: &Rig, stubs: &Stubs, verb: [&str; N]) -> Member {
    let mut verb = rig.start(verb);
    let stub = stubs.next().await;
    let hello = stub.hello();
    let member = stub.send(&hello).await.expect("the handshake succeeds");
    assert!(verb.wait().await.success());
    member
}

async fn outcome(client: &Client, method: &str, args: &Value) -> Option<ErrorCode> {
    let call = Call {
        team: None,
        key: None,
        args,
    };
    match within(method, client.call_named(method, &call)).await {
        Ok(_) => None,
        Err(CallError::Refused(refusal)) => Some(refusal.code),
        Err(error) => panic!("{method}: {error}"),
    }
}

#[tokio::test]
async fn no_member_acts_as_another_or_as_the_user() {
    let mut rig = assigned(&[], "[lead]\n");
    let stubs = rig.stub_workers("wire::stub_for_another_test");
    let lead = launched(&rig, &stubs, ["up", "--detach"]).await;
    let bob = launched(&rig, &stubs, ["spawn", "worker", "--name=bob"]).await;
    let ada = launched(&rig, &stubs, ["spawn", "worker", "--name=ada"]).await;
    for (member, name) in [(&lead, "lead"), (&bob, "bob"), (&ada, "ada")] {
        let welcome = member
            .client
            .initialized()
            .member
            .clone()
            .expect("a member");
        assert_eq!(welcome.name.as_str(), name);
    }

    // Objects of bob.
    let spec = TaskSpec {
        key: "t".into(),
        title: "t".into(),
        ..TaskSpec::default()
    };
    bob.call::<TaskAdd>(AddTask { spec }, "1")
        .await
        .expect("added");
    let claim = ClaimTask {
        task: "T-1".parse().ok(),
    };
    bob.call::<TaskClaim>(claim, "2").await.expect("claimed");
    let ask = AskRequest {
        tool: "bash".into(),
        arguments: to_raw_value(&json!({ "command": "make" })).expect("JSON"),
        directory: rig.project(),
        confined: true,
        containment: Default::default(),
        paths: Vec::new(),
        hook: None,
    };
    let asked = bob.call::<RequestAsk>(ask, "3").await.expect("asked");
    let request = RequestId(1);
    assert_eq!(asked, Permission::Asked { request });
    let message = SendMessage {
        to: Recipient::Member("bob".parse().expect("a name")),
        text: "for you alone".into(),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    rig.ask::<MessageSend>(message).await;

    let unread = rig.member("bob").await.unread;
    assert!(unread > 0);

    refuse_callers(&rig, &lead, &ada).await;
    for (method, args, of_ada, of_lead) in &calls(&rig) {
        for (member, rule, who) in [(&ada, of_ada, "ada"), (&lead, of_lead, "the lead")] {
            if *rule == Skipped {
                continue;
            }
            let code = outcome(&member.client, method, args).await;
            let is_malformed = matches!(
                code,
                Some(ErrorCode::InvalidParams | ErrorCode::Internal | ErrorCode::MethodNotFound)
            );
            assert!(
                !is_malformed,
                "{who}: {method}: {code:?}: the arguments in `calls` are wrong"
            );
            match rule {
                Never => assert!(code.is_some(), "{who} may not {method}"),
                May => assert_ne!(code, Some(ErrorCode::NotPermitted), "{who}: {method}"),
                Skipped => {}
            }
        }
    }

    let task = rig.task("T-1").await;
    assert_eq!(task.state, TaskState::InProgress);
    assert_eq!(task.owner, Some("bob".parse().expect("a name")));
    let shown = rig.ask::<RequestShow>(OneRequest { request }).await;
    assert_eq!(shown.state, RequestState::Pending);
    for name in ["lead", "bob", "ada"] {
        let member = rig.member(name).await;
        assert_ne!(member.state, MemberState::Stopped, "{name}");
    }
    assert!(
        rig.member("bob").await.unread >= unread,
        "no other member read bob's message"
    );
}
