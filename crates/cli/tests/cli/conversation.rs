//! What a command says to the supervisor, and makes of its answers.

use serde_json::{Value, json};

use crate::rig::{self, Peer, Rig, Supervisor};

fn task(id: &str, state: &str, revision: u64) -> Value {
    json!({
        "id": id, "key": id, "title": "Build \u{1b}[2J", "description": "", "state": state, "owner": null,
        "generation": 1, "role": null, "for": null, "after": [], "blocks": [], "blocked": false, "priority": 0,
        "labels": [], "files": [], "run": null, "verify": null, "rerun": true, "attempts": 1, "created_by": "user",
        "created_at": 0, "changed_at": 0, "revision": revision, "result": "it broke",
    })
}

fn event(peer: &mut Peer, revision: u64, kind: &str, data: Value) {
    let event = json!({ "kind": kind, "data": data });
    peer.notify(
        "event",
        &json!({ "team": "p-00000000", "revision": revision, "at": 0, "event": event }),
    );
}

#[test]
fn a_call_that_was_cut_off_is_repeated_with_the_same_key_by_the_same_client() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["send", "ada", "two", "words", "--json"]);
    let mut first = supervisor.accept();
    let cut_off = first.call("message/send");
    drop(first);
    let mut second = supervisor.accept();
    let again = second.call("message/send");
    assert_eq!(cut_off["params"], again["params"]);
    assert_eq!(again["params"]["args"]["text"], "two words");
    assert!(
        again["params"]["key"]
            .as_str()
            .is_some_and(|key| key.len() == 32)
    );
    let project = rig.project().canonicalize().unwrap();
    assert_eq!(
        again["params"]["team"],
        json!({ "by": "directory", "value": project })
    );
    let answer = json!({ "id": "M-1", "to": ["ada"] });
    second.answer(&again, &answer);
    let said = command.said();
    assert_eq!(
        (said.code, rig::json(&said.out)),
        (0, answer),
        "{}",
        said.err
    );
}

#[test]
fn a_call_is_not_repeated_for_ever() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["kill", "ada"]);
    // Each supervisor goes away under the call, until the command gives up.
    std::thread::spawn(move || {
        loop {
            supervisor.accept().call("member/kill");
        }
    });
    let said = command.said();
    assert_eq!(said.code, 6);
    // After a while the command prints what it waits for.
    let (waits, error) = said.err.split_once('\n').unwrap();
    assert_eq!(waits, "waiting for the processes of ada to exit");
    assert!(
        error.starts_with("error: the supervisor exited before it answered\n"),
        "{error}"
    );
}

#[test]
fn a_refusal_is_told_with_its_hint_and_ends_with_its_exit_code() {
    for (code, exit) in [
        ("unknown_member", 3),
        ("already_claimed", 4),
        ("not_permitted", 5),
        ("invalid", 2),
        ("from_later", 1),
    ] {
        let rig = Rig::new();
        let supervisor = Supervisor::start(&rig);
        let command = rig.start(&["task", "claim", "T-1"]);
        let mut peer = supervisor.accept();
        let call = peer.call("task/claim");
        peer.refuse(&call, code, "no \u{1b}[31m");
        let said = command.said();
        assert_eq!((said.code, said.out.as_str()), (exit, ""), "{code}");
        assert_eq!(said.err, "error: no \\e[31m\n  hint: do that\n");
    }
}

#[test]
fn what_survives_down_is_exit_7() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["down", "--force", "-t", "payments"]);
    let mut peer = supervisor.accept();
    let call = peer.call("team/down");
    assert_eq!(
        call["params"]["team"],
        json!({ "by": "name", "value": "payments" })
    );
    assert_eq!(call["params"]["args"]["force"], true);
    let receipts = json!([
        { "kind": "process", "what": "12 (ada)", "fate": "survived" },
        { "kind": "pane", "what": "%3", "fate": "closed" },
    ]);
    peer.answer(&call, &json!({ "receipts": receipts }));
    // Somebody else is connected too, so that the supervisor is not waited for.
    let call = peer.call("supervisor/status");
    peer.answer(
        &call,
        &json!({
            "pid": std::process::id(), "build": "b", "protocol": 1, "socket": "/run/s", "log": "/log",
            "up_ms": 1, "resident_bytes": 1, "connections": 2, "teams": [],
        }),
    );
    let said = command.said();
    assert_eq!(said.code, 7);
    let rows: Vec<Vec<&str>> = said
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let supervisor = std::process::id().to_string();
    assert_eq!(
        rows,
        [
            vec!["KIND", "WHAT", "FATE"],
            vec!["process", "12", "(ada)", "survived"],
            vec!["pane", "%3", "closed"],
            vec!["process", &supervisor, "(supervisor)", "kept"],
            vec!["socket", "/run/s", "kept"],
        ]
    );
}

#[test]
fn events_end_at_the_revision_that_was_the_newest_when_they_began() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["events", "--after", "1", "--json"]);
    let mut peer = supervisor.accept();
    let call = peer.call("event/subscribe");
    assert_eq!(
        call["params"]["args"],
        json!({ "after": 0, "transient": false }),
        "whose an event is follows from those before it"
    );
    assert_eq!(call["params"].get("key"), None, "it changes nothing");
    peer.answer(&call, &json!({ "head": 3 }));
    for revision in 1..=3 {
        event(&mut peer, revision, "run_idle", json!({ "run": "R-1" }));
    }
    let said = command.said();
    let revisions: Vec<_> = said
        .out
        .lines()
        .map(|line| rig::json(line)["revision"].clone())
        .collect();
    assert_eq!((said.code, revisions), (0, vec![json!(2), json!(3)]));
}

#[test]
fn a_follower_goes_on_after_the_supervisor_died_and_ends_when_it_is_stopped() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["events", "-f", "--json"]);
    let mut peer = supervisor.accept();
    let call = peer.call("event/subscribe");
    peer.answer(&call, &json!({ "head": 0 }));
    event(&mut peer, 1, "run_idle", json!({ "run": "R-1" }));
    event(&mut peer, 2, "run_idle", json!({ "run": "R-1" }));
    drop(peer);
    let mut peer = supervisor.accept();
    let call = peer.call("event/subscribe");
    assert_eq!(
        call["params"]["args"]["after"], 2,
        "nothing is told twice, nothing is left out"
    );
    peer.answer(&call, &json!({ "head": 2 }));
    event(&mut peer, 3, "run_idle", json!({ "run": "R-1" }));
    peer.notify("goodbye", &json!({ "reason": "stopped" }));
    drop(peer);
    let said = command.said();
    assert_eq!(
        (said.code, said.out.lines().count()),
        (6, 4),
        "{}",
        said.err
    );
}

#[test]
fn up_sends_the_team_and_the_environment_but_not_the_pane() {
    let rig = Rig::new();
    rig.team_file("name = \"payments\"\n[[member]]\nname = \"ada\"\n");
    let supervisor = Supervisor::start(&rig);
    let mut command = rig.command(&["up", "--env", "EXTRA=1", "--panes", "headless", "--dry-run"]);
    command
        .env("TMUX", "/tmp/t,1,0")
        .env("TMUX_PANE", "%1")
        .env("AGENT_TEAM_LAUNCH", "x")
        .env("PLAIN", "yes");
    let command = Rig::start_command(command);
    let mut peer = supervisor.accept();
    let call = peer.call("team/up");
    let args = &call["params"]["args"];
    assert_eq!(
        (&args["dry_run"], &args["fresh"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        (&args["spec"]["name"], &args["spec"]["placement"]),
        (&json!("payments"), &json!("headless"))
    );
    let environment = &args["environment"];
    assert_eq!(
        (&environment["EXTRA"], &environment["PLAIN"]),
        (&json!("1"), &json!("yes"))
    );
    for kept_back in ["TMUX", "TMUX_PANE", "AGENT_TEAM_LAUNCH"] {
        assert_eq!(environment.get(kept_back), None);
    }
    let terminal = &args["terminal"];
    assert_eq!(
        (&terminal["tmux"], &terminal["tmux_pane"]),
        (&json!("/tmp/t,1,0"), &json!("%1"))
    );
    let changes = json!([{ "what": "member ada", "change": "started" }, { "what": "task \u{202e}x", "change": "left", "note": "in progress" }]);
    let answer = json!({ "team": "payments-00000000", "revision": 1, "placement": "headless", "placement_reason": "as asked", "changes": changes });
    peer.answer(&call, &answer);
    let said = command.said();
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(
        said.out,
        "payments-00000000 would run headless: as asked\n  started   member ada\n  left      task \\u{202e}x: in progress\n"
    );
}

/// `up --wait`, up to where it waits.
fn waiting(rig: &Rig, supervisor: &Supervisor, arguments: &[&str]) -> (rig::Running, Peer) {
    rig.team_file("[[member]]\nname = \"ada\"\n");
    let command = rig.start(&[&["up", "--wait"], arguments].concat());
    let mut peer = supervisor.accept();
    let call = peer.call("team/up");
    let answer = json!({ "team": "p-00000000", "revision": 5, "placement": "headless", "placement_reason": "as asked", "changes": [] });
    peer.answer(&call, &answer);
    (command, peer)
}

/// The board, in two pages.
fn board(supervisor: &Supervisor, tasks: &Value) {
    let mut peer = supervisor.accept();
    let call = peer.call("task/list");
    assert_eq!(call["params"]["args"]["after"], 0);
    let (first, rest) = tasks.as_array().unwrap().split_at(1);
    peer.answer(
        &call,
        &json!({ "revision": 9, "tasks": first, "more": true }),
    );
    let call = peer.call("task/list");
    assert_eq!(call["params"]["args"]["after"], 1, "after T-1");
    peer.answer(&call, &json!({ "revision": 9, "tasks": rest }));
}

#[test]
fn waiting_ends_with_one_document_and_the_outcome_as_exit_code() {
    for (outcome, exit) in [("completed", 0), ("failed", 1)] {
        let rig = Rig::new();
        let supervisor = Supervisor::start(&rig);
        let (command, mut peer) = waiting(&rig, &supervisor, &["--json"]);
        let call = peer.call("team/wait");
        let tasks = json!([task("T-1", outcome, 7)]);
        peer.answer(
            &call,
            &json!({ "team": "p-00000000", "outcome": outcome, "members": [] }),
        );
        board(&supervisor, &tasks);
        let said = command.said();
        let document = rig::json(&said.out);
        assert_eq!((said.code, said.err.as_str()), (exit, ""));
        let mut fields: Vec<_> = document
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "cost",
                "durations",
                "members",
                "outcome",
                "outputs",
                "rounds",
                "tasks",
                "team",
                "tokens",
                "tokens_in",
                "tokens_out"
            ]
        );
        assert_eq!(
            (&document["outcome"], &document["tasks"]),
            (&json!(outcome), &tasks)
        );
    }
}

#[test]
fn every_task_that_ends_while_waiting_is_told_once() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let (command, mut waiter) = waiting(&rig, &supervisor, &[]);
    let mut listener = supervisor.accept();
    let call = listener.call("event/subscribe");
    assert_eq!(call["params"]["args"]["after"], 5, "from what `up` left on");
    listener.answer(&call, &json!({ "head": 5 }));
    let wait = waiter.call("team/wait");
    event(
        &mut listener,
        6,
        "task_completed",
        json!({ "task": "T-1", "result": "" }),
    );
    event(
        &mut listener,
        7,
        "of_a_later_build",
        json!({ "task": ["T-2"] }),
    );
    let mut asker = supervisor.accept();
    let call = asker.call("task/show");
    assert_eq!(call["params"]["args"]["task"], "T-1");
    asker.answer(&call, &task("T-1", "completed", 6));
    let tasks = json!([task("T-1", "completed", 6), task("T-2", "failed", 9)]);
    waiter.answer(
        &wait,
        &json!({ "team": "p-00000000", "outcome": "failed", "members": [] }),
    );
    board(&supervisor, &tasks);
    let said = command.said();
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "✓ T-1 Build \\e[2J\n✗ T-2 Build \\e[2J: it broke\n")
    );
    assert!(
        said.out.contains("p-00000000: 1 completed, 1 failed in "),
        "{}",
        said.out
    );
}

#[test]
fn an_interrupt_ends_the_waiting_and_not_the_team() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let (command, mut peer) = waiting(&rig, &supervisor, &[]);
    let mut listener = supervisor.accept();
    let call = listener.call("event/subscribe");
    listener.answer(&call, &json!({ "head": 5 }));
    peer.call("team/wait");
    command.interrupt();
    let said = command.said();
    assert_eq!(said.code, 130);
    assert!(said.err.contains("the team keeps running"), "{}", said.err);
}
