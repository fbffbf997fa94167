//! Permissions: a member asks before it runs a command that neither a rule nor the mode allows, and waits until the
//! request is decided.

use agent_team_protocol::method::{
    Method, MethodEntry, Nothing, RequestDecide, RequestShow, TeamShow,
};
use agent_team_protocol::request::{
    DecideRequest, Decision, OneRequest, RequestState, RequestView, Scope,
};
use agent_team_protocol::view::{MemberState, MemberView, TaskState, Waiting};
use agent_team_protocol::{ErrorCode, Party, RequestId};
use agent_team_system::process::Signal;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, by_model};
use agent_team_tests::{Rig, tmux, until, within};
use serde_json::{Value, json};

use crate::agents::rig_with_requests as rig;

fn bash(command: &str) -> Reply {
    Reply::call("bash", json!({ "command": command }))
}

/// Starts a team and sends ada a message. The lead calls no tool; ada's model returns these replies.
async fn team(replies: Vec<Reply>) -> (FakeModelServer, Rig) {
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    (server, rig)
}

fn asks(member: &MemberView) -> bool {
    member.requests > 0
}

async fn request(rig: &Rig, id: u64) -> RequestView {
    let request = RequestId(id);
    rig.ask::<RequestShow>(OneRequest { request }).await
}

#[tokio::test]
async fn a_command_waits_until_it_is_allowed_and_runs_once() {
    let (server, rig) = team(vec![bash("echo ran >> ran.txt"), Reply::text("Done.")]).await;
    let ada = rig.until_member("ada", asks).await;
    let logged = rig.ok(["logs", "ada"]).await.stdout;
    let notice = match there_is_a_sandbox().await {
        true => "commands run in a sandbox (",
        false => "every command needs permission",
    };
    assert!(logged.contains(notice), "{logged}");
    assert_eq!(ada.state, MemberState::Waiting);
    assert_eq!(
        ada.waiting,
        Some(Waiting::Permission {
            request: RequestId(1)
        })
    );
    let listed = rig.json(["requests"]).await;
    assert_eq!(listed["requests"][0]["id"], "P-1");
    assert_eq!(
        listed["requests"][0]["input"]["command"],
        "echo ran >> ran.txt"
    );
    let shown = rig.ok(["requests", "show", "P-1"]).await;
    assert!(
        shown.stdout.contains("echo ran >> ran.txt"),
        "{}",
        shown.stdout
    );
    // Only the part that needs the decision is a reason: `echo ran` alone would run without a request.
    let why = request(&rig, 1).await.why;
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(why[0].starts_with("write "), "{why:?}");
    assert_eq!(rig.read("ran.txt"), None);

    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 2).await;
    assert_eq!(rig.read("ran.txt").as_deref(), Some("ran\n"));
    rig.until_member_is("ada", MemberState::Idle).await;
    let ended = request(&rig, 1).await;
    assert_eq!(ended.state, RequestState::Ended);
    rig.refused(4, ["requests", "allow", "P-1"]).await;

    let audit = rig.ok(["audit", "--member", "ada"]).await.stdout;
    let lines: Vec<&str> = audit.lines().collect();
    let line_has = |line: usize, what: &str| {
        let expected = format!("P-1  ada  {what}  bash: echo ran >> ran.txt");
        assert!(lines[line].ends_with(&expected), "{audit}");
    };
    line_has(0, "asked");
    line_has(1, "allowed by user for once");
    line_has(2, "begun");
    line_has(3, "ended");
    assert_eq!(lines.len(), 4, "{audit}");
}

#[tokio::test]
async fn a_denial_reaches_the_model_as_text_and_nothing_runs() {
    let (server, rig) = team(vec![bash("echo ran > ran.txt"), Reply::text("Very well.")]).await;
    rig.until_member("ada", asks).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "use the write tool"])
        .await;
    server.until_asked("ada", 2).await;
    let requests = server.requests();
    let results = requests.last().expect("the model was called").results();
    let shown = results[0].1.lines().next();
    let expected = "error: Not permitted: P-1 was denied by user: use the write tool.";
    assert_eq!(shown, Some(expected));
    assert_eq!(rig.read("ran.txt"), None);
}

/// Whether commands run in a sandbox here; prints a note if not. Without a sandbox, no rule can allow a command.
pub(crate) async fn there_is_a_sandbox() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let none = agent_team_system::sandbox::find(&path).await.err();
    none.inspect(|none| eprintln!("skipped: {none}")).is_none()
}

fn allow_all(rule: &str) -> [&str; 7] {
    ["requests", "allow", "P-1", "--for", "team", "--as", rule]
}

fn waits_for(member: &MemberView, id: u64) -> bool {
    let request = RequestId(id);
    member.waiting == Some(Waiting::Permission { request })
}

#[tokio::test]
async fn a_fetch_asks_and_offers_a_rule_for_its_host() {
    let url = "http://127.0.0.1:9/page";
    let fetch = Reply::call("fetch", json!({ "url": url }));
    let (server, rig) = team(vec![fetch, Reply::text("Done.")]).await;
    rig.until_member("ada", asks).await;
    let shown = request(&rig, 1).await;
    let offered = shown.offers.iter().flat_map(|offer| &offer.rules);
    assert!(offered.eq(["WebFetch(domain:127.0.0.1)"]), "{shown:?}");
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 2).await;
    let requests = server.requests();
    let results = requests.last().expect("the model was called").results();
    assert!(results[0].1.contains("of this machine"), "{results:?}");
}

#[tokio::test]
async fn a_team_rule_allows_matching_commands() {
    if !there_is_a_sandbox().await {
        return;
    }
    let (_server, rig) = team(vec![
        bash("touch one"),
        bash("touch 'two $HOME' && touch two"),
        bash("touch three && echo said > three"),
        bash("touch four; touch $HOME"),
        Reply::text("Done."),
    ])
    .await;
    rig.until_member("ada", asks).await;
    rig.refused(2, allow_all("Bash(ls:*)")).await;
    rig.ok(allow_all("Bash(touch:*)")).await;
    // The third command also redirects its output into a file, which no rule allows.
    rig.until_member("ada", |ada| waits_for(ada, 2)).await;
    assert!(rig.read("one").is_some());
    assert!(rig.read("two $HOME").is_some() && rig.read("two").is_some());
    assert_eq!(rig.read("three"), None);
    rig.ok(["requests", "deny", "P-2"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 3)).await;
    assert_eq!(rig.read("four"), None);

    let explained = rig
        .ok(["rules", "check", "--", "touch five && rm six"])
        .await;
    assert_eq!(
        explained.stdout,
        "ask\n  allow  touch five: allowed by Bash(touch:*) (grant P-1)\n  ask    rm six: no rule allows it\n"
    );
    rig.ok(["rules", "revoke", "P-1"]).await;
    let rules = rig.json(["rules", "list"]).await;
    assert_eq!(rules["rules"], json!([]));
}

#[tokio::test]
async fn a_covered_command_still_asks_outside_the_sandbox() {
    if !there_is_a_sandbox().await {
        return;
    }
    let outside = json!({ "command": "touch two", "outside_sandbox": true });
    let (server, rig) = team(vec![
        bash("touch one"),
        Reply::call("bash", outside),
        Reply::text("Done."),
    ])
    .await;
    rig.until_member("ada", asks).await;
    rig.ok(allow_all("Bash(touch:*)")).await;
    rig.until_member("ada", |ada| waits_for(ada, 2)).await;
    let shown = rig.ok(["requests", "show", "P-2"]).await.stdout;
    assert!(shown.contains("no sandbox"), "{shown}");
    let line = "bash (outside the sandbox): touch two";
    for list in ["requests", "audit"] {
        let listed = rig.ok([list]).await.stdout;
        assert!(listed.contains(line), "{list}: {listed}");
    }
    assert_eq!(rig.read("two"), None);
    rig.ok(["requests", "allow", "P-2"]).await;
    server.until_asked("ada", 3).await;
    assert!(rig.read("two").is_some());
}

#[tokio::test]
async fn a_request_outlives_the_supervisor() {
    let (server, rig) = team(vec![bash("echo ran >> ran.txt"), Reply::text("Done.")]).await;
    rig.until_member("ada", asks).await;
    rig.supervisor()
        .await
        .signal(Signal::SIGKILL)
        .expect("the signal is sent");
    let team = rig.ask::<TeamShow>(Nothing {}).await;
    assert!(team.members.iter().any(asks));
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 2).await;
    assert_eq!(rig.read("ran.txt").as_deref(), Some("ran\n"));
}

#[tokio::test]
async fn a_member_killed_while_blocked_repeats_its_request() {
    let again = || bash("echo ran >> ran.txt");
    let (server, rig) = team(vec![again(), again(), Reply::text("Done.")]).await;
    rig.until_member("ada", asks).await;
    let ada = rig.worker("ada").await;
    ada.signal(Signal::SIGKILL).expect("the signal is sent");
    server.until_asked("ada", 2).await;
    rig.until_member("ada", asks).await;
    let listed = rig.json(["requests", "list", "--all"]).await;
    let requests = listed["requests"].as_array().expect("a list");
    assert_eq!(requests.len(), 1, "{listed}");
    assert_eq!(rig.read("ran.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 3).await;
    assert_eq!(rig.read("ran.txt").as_deref(), Some("ran\n"));
}

#[tokio::test]
async fn a_call_interrupted_by_a_dead_worker_is_not_repeated() {
    let line = "echo ran >> ran.txt; sleep 1000";
    let (server, rig) = team(vec![bash(line), Reply::text("Hm.")]).await;
    rig.until_member("ada", asks).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    rig.until_written("ran.txt").await;
    let ada = rig.worker("ada").await;
    ada.signal(Signal::SIGKILL).expect("the signal is sent");
    server.until_asked("ada", 2).await;
    assert_eq!(request(&rig, 1).await.state, RequestState::Lost);
    assert_eq!(rig.read("ran.txt").as_deref(), Some("ran\n"));
    let shown = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(shown.contains("unknown whether it ran"), "{shown}");
}

#[tokio::test]
async fn a_decision_with_another_digest_is_refused() {
    let (_server, rig) = team(vec![bash("echo ran > ran.txt"), Reply::text("Done.")]).await;
    rig.until_member("ada", asks).await;
    let decide = DecideRequest {
        request: RequestId(1),
        digest: Some("0".repeat(64)),
        decision: Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        },
        via: None,
    };
    let refusal = rig.user().await.refused::<RequestDecide>(decide).await;
    assert_eq!(refusal.code, ErrorCode::WrongState);
    assert_eq!(request(&rig, 1).await.state, RequestState::Pending);
    assert_eq!(rig.read("ran.txt"), None);
}

/// `request/decide` with arguments that no client of agent-team sends.
enum DecideAsSent {}

impl Method for DecideAsSent {
    const ENTRY: MethodEntry = RequestDecide::ENTRY;
    type Args = Value;
    type Answer = Nothing;
}

#[tokio::test]
async fn a_malformed_decision_allows_nothing() {
    let (_server, rig) = team(vec![bash("echo ran > ran.txt"), Reply::text("Done.")]).await;
    rig.until_member("ada", asks).await;
    let user = rig.user().await;
    for malformed in [
        json!({ "request": "P-1" }),
        json!({ "request": "P-1", "decision": "allow" }),
        json!({ "request": "P-1", "decision": { "kind": "allow" } }),
        json!({ "request": "P-1", "decision": { "kind": "allow", "scope": "forever" } }),
        json!({ "request": ["P-1"], "decision": { "kind": "allow", "scope": "once" } }),
    ] {
        let refusal = user.refused::<DecideAsSent>(malformed.clone()).await;
        assert_eq!(refusal.code, ErrorCode::InvalidParams, "{malformed}");
        assert_eq!(request(&rig, 1).await.state, RequestState::Pending);
    }
    let newer = json!({ "request": "P-1", "decision": { "kind": "perhaps", "scope": "team" } });
    user.ask::<DecideAsSent>(newer).await;
    assert_eq!(request(&rig, 1).await.state, RequestState::Denied);
    assert_eq!(rig.read("ran.txt"), None);
}

#[tokio::test]
async fn a_key_decides_and_a_decision_elsewhere_closes_the_prompt() {
    if !tmux::is_here() {
        return;
    }
    let replies = vec![
        bash("echo elsewhere >> ran.txt"),
        bash("echo here >> ran.txt"),
        Reply::text("Done."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    let pane = rig.until_member("ada", asks).await.pane.expect("a pane");
    let tmux = rig.tmux();
    let shown = tmux.until_read(&pane, "[y] once").await;
    assert!(shown.contains("echo elsewhere >> ran.txt"), "{shown}");
    let label = format!("{pane} #{{@agent_team_label}}");
    until("the border to show the waiting member", async || {
        let labels = tmux.panes(&label.replace(&pane, "#{pane_id}")).await;
        let label = labels.iter().find(|label| label.starts_with(&pane))?;
        label.contains("waiting").then_some(())
    })
    .await;
    rig.ok(["requests", "allow", "P-1"]).await;

    let shown = tmux.until_shown(&pane, "? P-2 bash").await;
    let folded = "✓ P-1 bash: echo elsewhere";
    assert!(
        shown.contains(folded) && !shown.contains("? P-1 bash"),
        "{shown}"
    );
    tmux.until_read(&pane, "[y] once").await;
    assert_eq!(rig.read("ran.txt").as_deref(), Some("elsewhere\n"));
    // A key that arrives while the request is new is not an answer and restarts the pause.
    let once = std::time::Duration::from_millis(600);
    within("the key to be taken", async {
        loop {
            tmux.ask(["send-keys", "-t", &pane, "y"]).await;
            let decided = tokio::time::timeout(once, server.until_asked("ada", 3)).await;
            if decided.is_ok() {
                return;
            }
        }
    })
    .await;
    assert_eq!(rig.read("ran.txt").as_deref(), Some("elsewhere\nhere\n"));
    let second = request(&rig, 2).await;
    assert_eq!(second.state, RequestState::Ended);
    tmux.until_shown(&pane, "ada ▸").await;
}

#[tokio::test]
async fn team_file_rules_override_allowed_requests() {
    let replies = vec![
        bash("echo no; rm -rf src"),
        bash("touch asked"),
        bash("touch asked"),
        Reply::text("Done."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    let rules = "[permissions]\ndeny = [\"Bash(rm:*)\"]\nask = [\"Bash(touch:*)\"]\n";
    rig.set_team(&format!("{file}{rules}"));
    rig.refused(2, ["up", "--detach", "--bypass"]).await;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    rig.until_member("ada", asks).await;
    let denied = server.requests().iter().rev().find_map(|request| {
        let (_, result) = request.results().into_iter().next()?;
        Some(result)
    });
    let denied = denied.expect("the first call has a result");
    assert!(
        denied.contains("rm -rf src: denied by Bash(rm:*) (the team file)"),
        "{denied}"
    );
    // A grant does not override an ask rule of the team file.
    let allow = [
        "requests",
        "allow",
        "P-1",
        "--for",
        "team",
        "--as",
        "Bash(touch:*)",
    ];
    let refusal = rig.refused(2, allow).await;
    assert_eq!(refusal["code"], "not_covered");
    rig.ok(["requests", "allow", "P-1"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 2)).await;
    assert!(rig.read("asked").is_some());
    let audit = rig.ok(["audit"]).await.stdout;
    let first = audit.lines().next().expect("a line");
    assert!(
        first.contains("ada  denied by rule  bash: echo no; rm -rf src"),
        "{audit}"
    );
    assert!(!audit.contains("\\n"), "{audit}");
}

#[tokio::test]
async fn one_team_grant_unblocks_eight_members_and_not_the_ninth() {
    let replies = |request: &Request| {
        let (model, done) = (request.model(), !request.results().is_empty());
        match model {
            "ninth" if !done => bash("echo other >> ran.txt"),
            "one" if !done => bash("echo same >> ran.txt"),
            _ => Reply::text("Done."),
        }
    };
    let server = FakeModelServer::start(replies).await;
    let rig = rig(&server);
    let mut file = String::from("name = \"demo\"\nmode = \"lead\"\n");
    file.push_str("[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n");
    for number in 1..=9 {
        let model = if number == 9 { "ninth" } else { "one" };
        file.push_str(&format!(
            "[[member]]\nname = \"w{number}\"\nengine = \"native\"\nmodel = \"openai/{model}\"\n"
        ));
    }
    rig.set_team(&file);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "all", "Go on"]).await;
    let listed = until("nine requests", async || {
        let listed = rig.json(["requests"]).await;
        let all = listed["requests"].as_array().expect("a list").len() == 9;
        all.then_some(listed)
    })
    .await;
    let same = |request: &&Value| request["input"]["command"] == "echo same >> ran.txt";
    let requests = listed["requests"].as_array().expect("a list");
    let first = requests.iter().find(same).expect("one of the eight");
    let first = first["id"].as_str().expect("an id").to_owned();
    rig.ok(["requests", "allow", &first, "--for", "team"]).await;
    let left = rig.json(["requests"]).await;
    let left = left["requests"].as_array().expect("a list").clone();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["member"], "w9");
    server.until_asked("one", 16).await;
    assert_eq!(rig.read("ran.txt"), Some("same\n".repeat(8)));

    // The decision is one transaction: no event separates the grants.
    let mut events = rig.events().await;
    events.until("request_allowed", &[]).await;
    for _ in 1..8 {
        let next = events.next().await.expect("the connection lasts");
        assert_eq!(next.kind, "request_allowed");
    }
}

#[tokio::test]
async fn requests_watch_reports_each_request_once() {
    let (_server, rig) = team(vec![
        bash("echo one > ran.txt"),
        bash("echo two > ran.txt"),
        Reply::text("Done."),
    ])
    .await;
    rig.until_member("ada", asks).await;
    let exec = "cat >> watched.json; echo >> watched.json; echo $AGENT_TEAM_REQUEST >> watched.txt";
    let mut watch = rig.start(["requests", "watch", "--exec", exec]);
    watch.line_with("P-1 ada").await;
    rig.ok(["requests", "deny", "P-1"]).await;
    watch.line_with("P-2 ada").await;
    until("the program to receive both requests", async || {
        (rig.read("watched.txt")? == "P-1\nP-2\n").then_some(())
    })
    .await;
    let item = rig.read("watched.json").expect("the program ran");
    let item: Value = serde_json::from_str(item.lines().next().expect("a line")).expect("JSON");
    assert_eq!(item["kind"], "request");
    assert_eq!(item["input"]["command"], "echo one > ran.txt");
}

#[tokio::test]
async fn the_lead_allows_only_delegated_requests() {
    let allow = |request: &str| Reply::call("allow_request", json!({ "id": request }));
    let lead = vec![
        bash("touch theirs"),
        allow("P-1"),
        Reply::text("Done."),
        allow("P-3"),
        Reply::text("Done."),
    ];
    let ada = vec![bash("touch one"), bash("rm two"), Reply::text("Done.")];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
    let rig = rig(&server);
    if !there_is_a_sandbox().await {
        return;
    }
    let approve = "[permissions]\napprove = [\"Bash(touch:*)\"]\n";
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&format!("{file}{approve}"));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 1)).await;
    until("the lead's log to show the request", async || {
        let shown = rig.ok(["logs", "lead"]).await.stdout;
        let notice = "P-1 ada asks for permission: bash: touch one";
        shown.contains(notice).then_some(())
    })
    .await;
    rig.ok(["send", "lead", "Go on"]).await;
    // The lead's own command also needs permission.
    rig.until_member("lead", |lead| waits_for(lead, 2)).await;
    rig.ok(["requests", "deny", "P-2"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 3)).await;
    rig.until_member_is("lead", MemberState::Idle).await;
    rig.ok(["send", "lead", "Go on"]).await;
    server.until_asked("lead", 5).await;
    let requests = server.requests();
    let of_lead = requests.iter().rfind(|request| request.model() == "lead");
    let results = of_lead.expect("its model was called").results();
    let refused = &results.last().expect("a result").1;
    assert!(refused.contains("the lead may not allow P-3"), "{refused}");
    let audit = rig.ok(["audit", "export"]).await.stdout;
    assert!(rig.read("one").is_some());
    assert_eq!(rig.read("theirs"), None);
    assert_eq!(request(&rig, 3).await.state, RequestState::Pending);
    let of = |request: &str| {
        let mut lines = audit.lines().map(serde_json::from_str::<Value>);
        let line = lines.find_map(|line| line.ok().filter(|line| line["request"] == request));
        line.unwrap_or_else(|| panic!("{request}: {audit}"))
    };
    for (key, value) in [
        ("decision", json!("allowed")),
        ("by", json!("lead")),
        ("channel", json!("lead")),
        ("scope", json!("once")),
        ("outcome", json!("carried_out")),
        ("input", json!({ "command": "touch one" })),
    ] {
        assert_eq!(of("P-1")[key], value, "{audit}");
    }
    let denied = of("P-2");
    assert_eq!(denied["channel"], "cli");
    assert_eq!(denied["outcome"], "not_carried_out");
}

#[tokio::test]
async fn a_permanent_grant_stays_in_the_user_settings_until_revoked() {
    if !there_is_a_sandbox().await {
        return;
    }
    let rule = "Bash(touch one)";
    let always = ["requests", "allow", "P-1", "--for", "always", "--as", rule];
    let check = ["rules", "check", "--", "touch one"];
    let replies = vec![bash("touch one"), bash("touch two"), Reply::text("Done.")];
    let (_server, rig) = team(replies).await;
    rig.until_member("ada", asks).await;
    rig.refused(2, ["requests", "allow", "P-1", "--for", "always"])
        .await;
    rig.ok(always).await;
    rig.until_member("ada", |ada| waits_for(ada, 2)).await;
    let listed = rig.json(["rules", "list"]).await;
    assert_eq!(listed["rules"][0]["scope"], "always");
    let committed = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    assert!(!committed.contains("touch"), "{committed}");

    rig.ok(["down"]).await;
    rig.ok(["up", "--detach"]).await;
    let listed = rig.json(["rules", "list"]).await;
    assert_eq!(listed["rules"][0]["rule"], rule);
    let from = listed["rules"][0]["from"].as_str().expect("a file");
    assert!(
        from.starts_with(rig.home().to_str().expect("text")),
        "{from}"
    );
    let explained = rig.ok(check).await.stdout;
    assert!(explained.contains("(the user's settings)"), "{explained}");

    rig.ok(["rules", "revoke", rule]).await;
    assert_eq!(rig.json(["rules", "list"]).await["rules"], json!([]));
    let explained = rig.ok(check).await.stdout;
    assert!(explained.starts_with("ask"), "{explained}");
    rig.refused(3, ["rules", "revoke", rule]).await;
}

#[tokio::test]
async fn an_unanswered_request_is_denied_with_a_reason() {
    let lead = ("lead", vec![Reply::text("I see.")]);
    let ada = ("ada", vec![bash("touch ran"), Reply::text("Done.")]);
    let server = FakeModelServer::start(by_model([lead, ada])).await;
    let rig = rig(&server);
    rig.set_settings("[permissions]\nexpire_minutes = 0.02\n");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    server.until_asked("ada", 2).await;
    let requests = server.requests();
    let last = requests.iter().rfind(|request| request.model() == "ada");
    let text = &last.expect("the model was called").results()[0].1;
    assert!(text.contains("not answered in time"), "{text}");
    let expired = request(&rig, 1).await;
    assert_eq!(expired.state, RequestState::Denied);
    assert_eq!(expired.decided_by, Some(Party::System));
    rig.refused(4, ["requests", "allow", "P-1"]).await;
    assert_eq!(rig.read("ran"), None);
}

#[tokio::test]
async fn an_agents_shell_line_in_a_task_needs_permission() {
    let create = |title: &str, run: &str| {
        let task = json!({ "title": title, "run": run, "verify": "test -e made", "for": "ben" });
        Reply::call("create_task", task)
    };
    let lead = vec![
        create("Make it", "touch made"),
        create("Break it", "rm made"),
        Reply::text("Done."),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let rig = rig(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&(file + "[[member]]\nname = \"ben\"\nengine = \"command\"\n"));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "lead", "Go on"]).await;
    rig.until_member("lead", |lead| waits_for(lead, 1)).await;
    let listed = rig.json(["task", "list"]).await;
    assert_eq!(
        listed["tasks"],
        json!([]),
        "the task is not on the board before the decision"
    );
    rig.run(["requests", "show", "P-1"])
        .await
        .expect(0)
        .assert_prints("touch made")
        .assert_prints("a task, without a sandbox");
    rig.ok(["requests", "allow", "P-1"]).await;
    rig.until_member("lead", |lead| waits_for(lead, 2)).await;
    rig.ok(["requests", "allow", "P-2", "--for", "team"]).await;
    // The grant covers this `verify` line in every task, but not another `run` line.
    rig.until_member("lead", |lead| waits_for(lead, 3)).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    assert!(rig.read("made").is_some());
    rig.ok(["requests", "deny", "P-3", "--reason", "keep it"])
        .await;
    rig.until_member_is("lead", MemberState::Idle).await;
    let listed = rig.json(["task", "list"]).await;
    assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(1));
    let requests = server.requests();
    let results = requests.last().expect("its model was called").results();
    assert!(results.last().expect("a result").1.contains("keep it"));
    for id in [1, 2] {
        assert_eq!(request(&rig, id).await.state, RequestState::Ended);
    }
}

#[tokio::test]
async fn a_lead_is_woken_by_a_request_that_it_may_decide() {
    let allow = || Reply::call("allow_request", json!({ "id": "P-1" }));
    let wait = Reply::call("wait", json!({ "for": "messages", "timeout_s": 3600 }));
    let leads = [
        vec![wait, allow(), Reply::text("Allowed.")],
        vec![Reply::text("I see."), allow(), Reply::text("Allowed.")],
    ];
    for lead in leads {
        let waits = lead[0].clone();
        let ada = vec![bash("touch ran"), Reply::text("Done.")];
        let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
        let rig = rig(&server);
        let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
        rig.set_team(&format!(
            "{file}[permissions]\napprove = [\"Bash(touch:*)\"]\n"
        ));
        rig.ok(["up", "--detach"]).await;
        rig.ok(["send", "lead", "Go on"]).await;
        let is_blocked_or_idle = |lead: &MemberView| {
            let waits = matches!(lead.waiting, Some(Waiting::Reply { .. }));
            waits || (lead.state == MemberState::Idle && lead.usage.tokens() > 0)
        };
        rig.until_member("lead", is_blocked_or_idle).await;
        rig.ok(["send", "ada", "Go on"]).await;
        until("the command to run", async || rig.read("ran")).await;
        let requests = server.requests();
        let woken = requests.iter().filter(|it| it.model() == "lead").nth(1);
        let messages = woken.expect("the lead was woken").body["messages"].to_string();
        assert!(
            messages.contains("P-1 ada asks for permission"),
            "{waits:?}: {messages}"
        );
    }
}

#[tokio::test]
async fn a_teammate_waits_for_the_reply_to_its_message() {
    let ada = vec![
        Reply::call("send_message", json!({ "to": "lead", "text": "Tabs?" }))
            .and_call("wait", json!({ "timeout_s": 3600 })),
        Reply::call(
            "complete_task",
            json!({ "task": "T-1", "result": "With tabs." }),
        ),
        Reply::text("Done."),
    ];
    let lead = vec![
        Reply::hang(),
        Reply::call("send_message", json!({ "to": "ada", "text": "Yes, tabs." })),
        Reply::text("Answered."),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["task", "add", "Indent it"]).await;
    let waits = |ada: &MemberView| matches!(ada.waiting, Some(Waiting::Reply { .. }));
    let ada = rig.until_member("ada", waits).await;
    assert_eq!(ada.state, MemberState::Waiting);
    assert!(ada.why.contains("has T-1") && ada.why.contains("waits for messages"));
    server.until_asked("lead", 1).await;
    rig.ok(["send", "--urgent", "lead", "Answer ada."]).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("With tabs."));
}
