//! Every method by every kind of caller with the ids of others: a member may act only on its own state, the lead
//! only as its role permits, and no member may do what is reserved for the user.

use agent_team_protocol::method::{
    AddTask, ClaimTask, METHODS, MessageSend, RequestAsk, RequestShow, SendMessage, TaskAdd,
    TaskClaim,
};
use agent_team_protocol::request::{AskRequest, OneRequest, Permission, RequestState};
use agent_team_protocol::rpc::Call;
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_protocol::{ErrorCode, Recipient, RequestId};
use agent_team_system::client::CallError;
use agent_team_tests::stub::{Member, Stubs};
use agent_team_tests::{Rig, within};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::teams::assigned;

/// The expected result of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It is refused, and nothing changes.
    Never,
    /// It may fail, but is not refused because of its caller.
    May,
    /// This member may do it; not called here, since it would block or end the member.
    Own,
}

use Rule::{May, Never, Own};

/// Each method with arguments that name objects of other members, and the results for ada and for the lead.
fn calls(rig: &Rig) -> Vec<(&'static str, Value, Rule, Rule)> {
    let spec = json!({
        "name": "demo",
        "project": rig.project(),
        "placement": "headless",
        "layout": "main-vertical",
        "limits": { "teammates": 10, "starting": 4 },
        "hooks": {},
        "roles": [],
        "members": [],
        "tasks": [],
    });
    let terminal = json!({ "path": "" });
    let up = json!({
        "spec": spec, "environment": {}, "terminal": terminal, "dry_run": false, "fresh": true,
    });
    let bob = json!({ "member": "bob" });

    let task = json!({ "task": "T-1" });
    let claim = json!({ "task": "T-1", "generation": 1, "text": "mine" });
    let request = json!({ "request": "P-1" });
    let allow = json!({ "request": "P-1", "decision": { "kind": "allow", "scope": "once" } });
    let ask = json!({
        "tool": "bash", "arguments": { "command": "x" }, "directory": rig.project(),
    });
    let show = json!({ "terminal": "/dev/tty", "pid": 1, "start_time": 1, "as": "pane" });
    let hold = json!({ "launch": "0".repeat(32), "show": show });
    vec![
        ("team/up", up, Never, Never),
        ("team/down", json!({ "force": true }), Never, Never),
        ("team/list", json!({}), Never, Never),
        ("team/show", json!({}), May, May),
        (
            "team/budget",
            json!({ "budget": { "tokens": 1 } }),
            Never,
            Never,
        ),
        ("team/delete", json!({}), Never, Never),
        ("team/wait", json!({}), Never, Never),
        (
            "team/attach",
            json!({ "read_only": true, "terminal": terminal }),
            Never,
            Never,
        ),
        ("pane/reopen", json!({}), Never, Never),
        ("pane/hold", hold, Never, Never),
        ("member/spawn", json!({ "role": "nobody" }), Never, May),
        ("member/stop", json!({ "member": "ada" }), Never, Own),
        ("member/remove", json!({ "member": "ada" }), Never, Own),
        ("stop/answer", json!({ "objection": "no" }), May, May),
        ("member/kill", bob.clone(), Never, Never),
        ("member/restart", bob.clone(), Never, Own),
        ("member/show", bob.clone(), May, May),
        ("member/log", bob, Never, Never),
        ("member/exit", json!({ "code": 0, "reason": "" }), Own, Own),
        ("member/ping", json!({}), Never, Never),
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
        ("task/complete", claim.clone(), Never, Own),
        ("task/fail", claim.clone(), Never, Own),
        ("task/release", claim, Never, Own),
        ("task/retry", task.clone(), Never, Never),
        ("task/cancel", task, Never, Own),
        (
            "run/start",
            json!({ "goal": "g", "then_down": true, "anew": true }),
            Never,
            Never,
        ),
        (
            "run/finish",
            json!({ "answer": "a", "force": true }),
            Never,
            Own,
        ),
        ("run/cancel", json!({ "reason": "no" }), Never, Never),
        ("run/wait", json!({ "run": "R-1" }), Never, Never),
        ("run/question", json!({}), Never, Own),
        (
            "run/reply",
            json!({ "run": "R-1", "round": 1, "text": "t" }),
            Never,
            Own,
        ),
        ("run/rounds", json!({ "run": "R-1", "after": 0 }), May, May),
        ("request/ask", ask.clone(), May, May),
        ("plan/propose", json!({ "text": "t" }), May, May),
        ("request/wait", request.clone(), Never, Never),
        ("request/begin", request.clone(), Never, Never),
        ("request/end", request.clone(), Never, Never),
        ("request/withdraw", request.clone(), Never, Never),
        ("request/list", json!({ "all": true }), Never, May),
        ("request/show", request.clone(), Never, May),
        ("request/decide", allow, Never, Never),
        ("rule/list", json!({}), Never, Never),
        ("rule/check", json!({ "call": ask }), Never, Never),
        ("rule/revoke", request.clone(), Never, Never),
        ("rule/forget", json!({ "rule": "Bash(ls)" }), Never, Never),
        ("transcript/append", json!({ "items": [] }), May, May),
        (
            "transcript/read",
            json!({ "member": "bob", "after": 0 }),
            Never,
            Never,
        ),
        ("memory/put", json!({ "key": "k", "value": 1 }), May, May),
        ("memory/get", json!({ "key": "k" }), May, May),
        (
            "event/subscribe",
            json!({ "after": 0, "transient": true }),
            Never,
            Never,
        ),
        ("supervisor/status", json!({}), Never, Never),
        ("supervisor/stop", json!({}), Never, Never),
        ("supervisor/restart", json!({}), Never, Never),
    ]
}

/// The member that this verb launches.
async fn launched<const N: usize>(rig: &Rig, stubs: &Stubs, verb: [&str; N]) -> Member {
    let mut verb = rig.start(verb);
    let stub = stubs.next().await;
    let hello = stub.hello();
    let member = stub.say(&hello).await.expect("it is the member");
    assert!(verb.wait().await.success());
    member
}

async fn outcome(member: &Member, method: &str, args: &Value) -> Option<ErrorCode> {
    let call = Call {
        team: None,
        key: None,
        args,
    };
    match within(method, member.client.call_named(method, &call)).await {
        Ok(_) => None,
        Err(CallError::Refused(refusal)) => Some(refusal.code),
        Err(error) => panic!("{method}: {error}"),
    }
}

#[tokio::test]
async fn no_member_acts_as_another_or_as_the_user() {
    let mut rig = assigned(&[], "[lead]\n");
    let stubs = rig.stub_workers("wire::carries_the_words_of_another_test");
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
        places: Vec::new(),
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
    };
    rig.ask::<MessageSend>(message).await;

    let unread = rig.member("bob").await.unread;
    assert!(unread > 0);

    let calls = calls(&rig);
    let named: Vec<&str> = calls.iter().map(|(method, ..)| *method).collect();
    assert_eq!(named, METHODS, "each method has a line");
    for (method, args, of_ada, of_lead) in &calls {
        for (member, rule, who) in [(&ada, of_ada, "ada"), (&lead, of_lead, "the lead")] {
            if *rule == Own {
                continue;
            }
            let code = outcome(member, method, args).await;
            let unread = matches!(code, Some(ErrorCode::InvalidParams | ErrorCode::Internal));
            assert!(!unread, "{who}: {method}: {code:?}: the line is wrong");
            match rule {
                Never => assert!(code.is_some(), "{who} may not {method}"),
                May => assert_ne!(code, Some(ErrorCode::NotPermitted), "{who}: {method}"),
                Own => {}
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
        "no other member read it"
    );
}
